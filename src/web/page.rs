//! The status page: a list by urgency, and a page for each token, for each app and for the watcher. Server-rendered, no scripts, nothing from elsewhere.
//!
//! Everything that came from outside is only ever text: the templates escape it, and the content-security policy allows nothing else. What the
//! pages say of a finding is what a mail about it would say.

use std::sync::LazyLock;

use askama::Template;
use base64::Engine as _;
use sha2::{Digest as _, Sha256};

use crate::advice::{self, Links, Piece, pieces};
use crate::board::Row;
use crate::domain::alert::{Notice, Subject, WATCHER};
use crate::domain::answer::Answer;
use crate::domain::finding::Severity;
use crate::domain::inspection::Expiry;
use crate::domain::renewal::Origin;
use crate::domain::status::TokenStatus;
use crate::domain::time::{Timestamp, relative};
use crate::domain::token::{AppName, ProviderName, ReceiverName, TokenSpec};
use crate::domain::verdict::Verdict;
use crate::explain::Explanation;
use crate::ports::{AnswerRecord, DeliveryRecord, History, IncidentRecord};
use crate::settings::Settings;
use crate::web::find::{Found, Wanted};
use crate::web::json::StandingJson;
use crate::web::lifetime::Lifetime;
use crate::zone::Zone;

/// The looks of every page; it stands in each, so that a page that was saved keeps its looks.
pub const STYLE: &str = include_str!("../../templates/style.css");

/// What the content-security policy says of [`STYLE`]: this text and no other.
pub static STYLE_HASH: LazyLock<String> = LazyLock::new(|| {
    let digest = Sha256::digest(STYLE.as_bytes());
    format!("'sha256-{}'", base64::engine::general_purpose::STANDARD.encode(digest))
});

/// A sign for a browser's tab.
pub const ICON: &str = include_str!("../../templates/icon.svg");

/// A moment, for people and for programs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moment {
    /// As `<time>` wants it; absent for years that it cannot write.
    pub iso: Option<String>,
    /// In the configured zone.
    pub date: String,
    /// Counted from now.
    pub ago: String,
}

impl Moment {
    fn new(at: Timestamp, zone: &Zone, now: Timestamp) -> Self {
        let iso = Some(at.to_string()).filter(|text| text.len() == "2025-07-15T08:00:00Z".len());
        Self { iso, date: zone.long(at), ago: relative(at, now) }
    }
}

/// How old the truth of a page is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Truth {
    /// When the page was made.
    pub as_of: Moment,
    /// When nothing that was due was left to do.
    pub last_pass: Option<Moment>,
    /// What is not true any more because the daemon stands still.
    pub stale: Option<String>,
}

impl Truth {
    /// How old it is now; `silent` says that the watch loop has not been seen for too long.
    pub fn new(last_pass: Option<Timestamp>, silent: Option<String>, zone: &Zone, now: Timestamp) -> Self {
        Self {
            as_of: Moment::new(now, zone, now),
            last_pass: last_pass.map(|at| Moment::new(at, zone, now)),
            stale: silent,
        }
    }
}

/// The list.
#[derive(Template)]
#[template(path = "status.html")]
pub struct StatusPage {
    /// How bad it is.
    pub severity: &'static str,
    /// What is wrong now, in words.
    pub headline: String,
    /// What else is to be said of all tokens.
    pub more: Vec<String>,
    /// How old this is.
    pub truth: Truth,
    /// Whose answer is the oldest.
    pub oldest: Option<(String, Moment)>,
    /// What is wrong with the watcher itself.
    pub troubles: Vec<String>,
    /// The apps, and the watcher itself, that have something to tell.
    pub subjects: Vec<Standing>,
    /// How many tokens have each verdict.
    pub tally: Vec<(&'static str, usize)>,
    /// What was looked for.
    pub wanted: Wanted,
    /// What can be chosen: the key, what it is called, and the choices.
    pub choices: Vec<Choice>,
    /// How many were found, and which of them are shown.
    pub found: Found,
    /// The first that is shown, counted from 1.
    pub first: usize,
    /// Other pages of what was found.
    pub pages: Pages,
    /// The tokens of this page, the most urgent first.
    pub lines: Vec<Line>,
}

/// Where other pages of a list are.
#[derive(Debug)]
pub struct Pages {
    /// The first.
    pub first: String,
    /// The one before.
    pub previous: String,
    /// The one after.
    pub next: String,
    /// The last.
    pub last: String,
}

impl Pages {
    fn new(wanted: &Wanted, found: &Found) -> Self {
        Self {
            first: wanted.address(1),
            previous: wanted.address(found.page.saturating_sub(1)),
            next: wanted.address(found.page + 1),
            last: wanted.address(found.pages),
        }
    }
}

/// Something to choose by.
#[derive(Debug)]
pub struct Choice {
    /// The name in the address.
    pub key: &'static str,
    /// What it is called.
    pub label: &'static str,
    /// What is chosen.
    pub chosen: String,
    /// What can be; empty where there is too much of it.
    pub values: Vec<String>,
}

/// How an app or the watcher stands.
#[derive(Debug)]
pub struct Standing {
    /// What to call it.
    pub name: String,
    /// Where its page is.
    pub page: String,
    /// How bad.
    pub severity: &'static str,
    /// What is wrong, open, acknowledged and silenced.
    pub lines: Vec<String>,
    /// Where its tokens are listed.
    pub tokens: Option<String>,
}

impl Standing {
    fn new(standing: &StandingJson, zone: &Zone, now: Timestamp) -> Self {
        let subject = &standing.subject;
        let (name, tokens) = match subject.split_once('/') {
            Some(("app", name)) => (format!("App {name}"), Some(format!("/?app={name}"))),
            Some((_, name)) => (name.to_owned(), None),
            None => (subject.clone(), None),
        };
        let severity = standing.severity().map_or("fine", Severity::as_str);
        Self { name, page: format!("/subjects/{subject}"), severity, lines: standing.in_words(zone, now), tokens }
    }
}

/// An app, the watcher itself, or what people answered about a token.
#[derive(Template)]
#[template(path = "subject.html")]
pub struct SubjectPage {
    /// How it stands.
    pub standing: Standing,
    /// What happened to it.
    pub past: Past,
    /// How old this is.
    pub truth: Truth,
}

impl SubjectPage {
    /// The page of a subject.
    pub fn new(standing: &StandingJson, history: &History, truth: Truth, zone: &Zone, now: Timestamp) -> Self {
        Self { standing: Standing::new(standing, zone, now), past: Past::new(history, zone, now), truth }
    }
}

/// Something went wrong, or is not there.
#[derive(Template)]
#[template(path = "fault.html")]
pub struct FaultPage {
    /// The number of the answer.
    pub code: u16,
    /// What it means.
    pub title: &'static str,
    /// What is wrong, in words.
    pub words: String,
}

/// One line of the list.
#[derive(Debug)]
pub struct Line {
    /// The token.
    pub name: String,
    /// The one word.
    pub verdict: &'static str,
    /// How bad.
    pub severity: &'static str,
    /// What is wrong, in words.
    pub says: String,
    /// How people answered what was told.
    pub on_call: String,
    /// What is left, in large letters.
    pub left: String,
    /// What the date is, and it.
    pub ends: Option<(&'static str, Moment)>,
    /// Who issued it.
    pub provider: String,
    /// Its app.
    pub app: Option<String>,
    /// Who is told.
    pub receivers: String,
    /// When there last was an answer.
    pub answered: String,
    /// Its life.
    pub life: Lifetime,
}

/// A token.
#[derive(Template)]
#[template(path = "token.html")]
pub struct TokenPage {
    /// It in one line of a list.
    pub line: Line,
    /// Why this verdict.
    pub explanation: Explanation,
    /// What to do about what is wrong.
    pub remedies: Vec<Remedy>,
    /// What is open, and who knows.
    pub open: Vec<Entry>,
    /// Who is not told, until when and why.
    pub silence: Option<String>,
    /// Pages elsewhere.
    pub elsewhere: Vec<(&'static str, String)>,
    /// Commands that are of use.
    pub commands: Vec<(&'static str, String)>,
    /// What happened to it.
    pub past: Past,
    /// How old this is.
    pub truth: Truth,
}

/// What to do about one finding.
#[derive(Debug)]
pub struct Remedy {
    /// The finding, in one line.
    pub headline: String,
    /// How bad.
    pub severity: &'static str,
    /// What happens, and what breaks.
    pub words: Vec<String>,
    /// What to do, in order.
    pub steps: Vec<Vec<Piece>>,
    /// How to answer.
    pub answer: Vec<Piece>,
}

impl Remedy {
    fn new(notice: &Notice, links: &Links<'_>, zone: &Zone) -> Self {
        let answer = advice::acknowledgement(notice, links).unwrap_or_default();
        Self {
            headline: advice::headline(notice),
            severity: notice.severity.as_str(),
            words: vec![advice::what_happens(notice, zone), advice::what_breaks(notice, links)],
            steps: advice::steps(notice, links).iter().map(|step| pieces(step)).collect(),
            answer: pieces(&answer),
        }
    }
}

/// What a token's page is made of.
#[derive(Debug)]
pub struct Known<'a> {
    /// What everyone may see.
    pub row: &'a Row,
    /// What is wanted.
    pub spec: &'a TokenSpec,
    /// What was observed.
    pub status: &'a TokenStatus,
    /// What is wrong, as mails would say it; the worst first.
    pub notices: &'a [Notice],
    /// Its past.
    pub history: &'a History,
}

impl TokenPage {
    /// The page of a token.
    pub fn new(known: &Known<'_>, explanation: Explanation, settings: &Settings, truth: Truth, now: Timestamp) -> Self {
        let zone = &settings.daemon.zone;
        let subject = Subject::Token(known.spec.id.clone());
        let links = Links::of(settings, &subject);
        let open = known.status.ledger.incidents.iter().map(|incident| {
            let record = IncidentRecord { incident: incident.clone(), ended: None };
            incident_entry(&record, zone, now)
        });
        let silence = known.status.ledger.silence.as_ref().filter(|silence| silence.holds(now)).map(|silence| {
            let why = silence.signed.why.as_deref().map(|why| format!(": {}", advice::plain(why))).unwrap_or_default();
            let hides = if silence.even_critical { "everything, even critical" } else { "all but the end of a token" };
            let (until, by) = (zone.long(silence.until), advice::plain(&silence.signed.by));
            format!("Silenced until {until} by {by}, which holds back {hides}{why}")
        });
        let name = &known.spec.id;
        let mut commands = vec![
            ("Look again now", format!("tokenwatch check {name}")),
            ("The whole guide", format!("tokenwatch doctor {name}")),
        ];
        if known.spec.renew.is_some() {
            commands.push(("What a renewal would do", format!("tokenwatch renew {name} --dry-run")));
        }
        if links.replaceable {
            commands.push(("Put a new one in place", format!("tokenwatch replace {name}")));
        }
        Self {
            line: Line::new(known.row, Some((known.spec, known.status)), zone, now),
            explanation,
            remedies: known.notices.iter().map(|notice| Remedy::new(notice, &links, zone)).collect(),
            open: open.collect(),
            silence,
            elsewhere: advice::pages::of_token(&known.spec.provider, &known.row.kind, &links),
            commands,
            past: Past::new(&over(known.history), zone, now),
            truth,
        }
    }
}

/// A past without what is still open.
fn over(history: &History) -> History {
    let incidents = history.incidents.iter().filter(|record| record.ended.is_some()).cloned().collect();
    History { incidents, ..history.clone() }
}

/// One thing that happened.
#[derive(Debug)]
pub struct Entry {
    /// When.
    pub when: Moment,
    /// How bad; empty where that means nothing.
    pub severity: &'static str,
    /// What.
    pub title: String,
    /// The rest.
    pub words: Vec<String>,
}

/// What happened to a subject, the newest first.
#[derive(Debug)]
pub struct Past {
    /// What it is called, and what happened.
    pub parts: Vec<(&'static str, Vec<Entry>)>,
}

impl Past {
    /// The past in words.
    pub fn new(history: &History, zone: &Zone, now: Timestamp) -> Self {
        let ago = |at: Timestamp| format!("{} ({})", zone.long(at), relative(at, now));
        let incidents = history.incidents.iter().map(|record| incident_entry(record, zone, now)).collect();
        let answers = history.answers.iter().map(|AnswerRecord { at, answer }| {
            let what = match answer {
                Answer::Acknowledge(_) => "acknowledged".to_owned(),
                Answer::Unsilence(_) => "ended the silence".to_owned(),
                Answer::Silence { lasts, even_critical: false, .. } => format!("silenced for {lasts}"),
                Answer::Silence { lasts, even_critical: true, .. } => format!("silenced for {lasts}, even critical"),
            };
            let signed = answer.signed();
            Entry {
                when: Moment::new(*at, zone, now),
                severity: "",
                title: format!("{} {what}", advice::plain(&signed.by)),
                words: signed.why.as_deref().map(advice::plain).into_iter().collect(),
            }
        });
        let deliveries = history.deliveries.iter().map(|delivery| {
            let DeliveryRecord { notice, lane, .. } = delivery;
            let went = match (&delivery.delivered, &delivery.failure) {
                (Some((at, channel)), _) if channel == "rerouted" => format!("handed on, {}", ago(*at)),
                (Some((at, channel)), _) if channel == "none" => format!("there was nobody to reach, {}", ago(*at)),
                (Some((at, channel)), _) => format!("delivered by {channel}, {}", ago(*at)),
                (None, Some(failure)) => {
                    format!("waiting; tried {} times: {}", delivery.attempts, advice::plain(failure))
                }
                (None, None) => "waiting".to_owned(),
            };
            Entry {
                when: Moment::new(notice.at, zone, now),
                severity: notice.severity.as_str(),
                title: format!("{} ({})", notice.reason.as_str(), notice.why.as_str()),
                words: vec![lane.to_string(), went],
            }
        });
        let renewals = history.renewals.iter().map(|ended| {
            let by = match &ended.origin {
                Origin::Schedule => "it was due".to_owned(),
                Origin::Asked(by) => format!("asked for by {}", advice::plain(by)),
                Origin::Replaced(by) => format!("replaced by {}", advice::plain(by)),
            };
            Entry {
                when: Moment::new(ended.at, zone, now),
                severity: "",
                title: ended.outcome.as_str().replace('_', " "),
                words: vec![by, advice::plain(&ended.text)],
            }
        });
        let mut parts = vec![
            ("What happened", incidents),
            ("What was answered", answers.collect()),
            ("Who was told", deliveries.collect()),
            ("Renewals and replacements", renewals.collect::<Vec<_>>()),
        ];
        parts.retain(|(_, entries): &(_, Vec<Entry>)| !entries.is_empty());
        Self { parts }
    }
}

fn incident_entry(record: &IncidentRecord, zone: &Zone, now: Timestamp) -> Entry {
    let IncidentRecord { incident, ended } = record;
    let mut words = vec![match ended {
        Some((at, ending)) => format!("{}, {} ({})", ending.as_str(), zone.long(*at), relative(*at, now)),
        None => format!("open, worst so far: {}", incident.severity.as_str()),
    }];
    words.push(match incident.told_at {
        Some(at) => {
            let receivers: Vec<&str> = incident.told.iter().map(ReceiverName::as_str).collect();
            format!("last told {} ({}) to {}", zone.long(at), relative(at, now), receivers.join(", "))
        }
        None => "told to nobody, by a silence".to_owned(),
    });
    words.extend(incident.acknowledged.as_ref().map(|signed| {
        let why = signed.why.as_deref().map(|why| format!(": {}", advice::plain(why))).unwrap_or_default();
        format!("acknowledged by {}, {}{why}", advice::plain(&signed.by), zone.long(signed.at))
    }));
    words.extend(incident.damped.as_ref().map(|_| "it comes and goes, so little of it is told".to_owned()));
    Entry {
        when: Moment::new(incident.opened_at, zone, now),
        severity: incident.severity.as_str(),
        title: format!("{}: {}", incident.reason.as_str(), advice::reason_in_words(incident.reason)),
        words,
    }
}

/// What one pass over all tokens finds out.
#[derive(Clone, Debug, Default)]
pub struct Census {
    all: usize,
    severities: [usize; 3],
    acknowledged: usize,
    verdicts: [usize; Verdict::ALL.len()],
    next: Option<(Timestamp, String)>,
    oldest: Option<(Timestamp, String)>,
    unanswered: usize,
}

impl Census {
    /// Counts.
    pub fn of(rows: &[Row], now: Timestamp) -> Self {
        let mut census = Self { all: rows.len(), ..Self::default() };
        let (mut next, mut oldest): (Option<&Row>, Option<&Row>) = (None, None);
        let ahead = |row: &Row| row.deadline().filter(|at| *at > now);
        for row in rows {
            if let Some(severity) = row.severity() {
                let place = Severity::ALL.iter().position(|known| *known == severity).unwrap_or(0);
                if let Some(count) = census.severities.get_mut(place) {
                    *count += 1;
                }
                let known = row.answered.as_ref().is_some_and(|answered| answered.acknowledged);
                census.acknowledged += usize::from(severity == Severity::Critical && known);
            }
            let place = Verdict::ALL.iter().position(|known| *known == row.verdict).unwrap_or(0);
            if let Some(count) = census.verdicts.get_mut(place) {
                *count += 1;
            }
            if ahead(row).is_some_and(|at| next.and_then(ahead).is_none_or(|next| at < next)) {
                next = Some(row);
            }
            match row.last_answer {
                None => census.unanswered += 1,
                Some(at) if oldest.and_then(|row| row.last_answer).is_none_or(|oldest| at < oldest) => {
                    oldest = Some(row);
                }
                Some(_) => {}
            }
        }
        census.next = next.and_then(|row| Some((ahead(row)?, row.id.to_string())));
        census.oldest = oldest.and_then(|row| Some((row.last_answer?, row.id.to_string())));
        census
    }

    const fn count(&self, severity: Severity) -> usize {
        let [info, warning, critical] = self.severities;
        match severity {
            Severity::Info => info,
            Severity::Warning => warning,
            Severity::Critical => critical,
        }
    }

    /// What is wrong now, in words: the worst first, and then the next date. `others` are apps and the watcher that need somebody now.
    fn headline(&self, others: &[&str], first_pass_done: bool, now: Timestamp) -> String {
        let tokens = |n: usize, one: &str, many: &str| {
            if n == 1 { format!("1 token {one}") } else { format!("{n} tokens {many}") }
        };
        let needs = |n: usize| tokens(n, "needs", "need");
        let (critical, warning) = (self.count(Severity::Critical), self.count(Severity::Warning));
        let [.., unverified] = self.verdicts;
        let own = match (self.all, critical, warning) {
            (0, _, _) => Some("No tokens are watched".to_owned()),
            (_, 0, 0) if !others.is_empty() => None,
            (all, 0, 0) if !first_pass_done => Some(format!("The first look at {} under way", tokens(all, "is", "is"))),
            (_, 0, 0) if unverified > 0 => Some(tokens(unverified, "could not be verified", "could not be verified")),
            (1, 0, 0) => Some("The only token is in order".to_owned()),
            (all, 0, 0) => Some(format!("All {all} tokens are in order")),
            (_, 0, warning) => Some(format!("{} somebody within days", needs(warning))),
            (_, critical, _) if critical == self.acknowledged => {
                Some(format!("{} somebody, and somebody knows", needs(critical)))
            }
            (_, critical, _) => Some(format!("{} somebody now", needs(critical))),
        };
        let others = match others {
            [] => None,
            [one] => Some(format!("{one} needs somebody now")),
            [one, rest @ ..] => Some(format!("{one} and {} more need somebody now", rest.len())),
        };
        let next = self.next.as_ref().map(|(at, _)| {
            let which = if self.all > 1 { "the next one" } else { "it" };
            format!("{which} ends {}", relative(*at, now))
        });
        others.into_iter().chain(own).chain(next).collect::<Vec<_>>().join("; ")
    }

    /// What else is to be said.
    fn more(&self, zone: &Zone) -> Vec<String> {
        let (critical, warning) = (self.count(Severity::Critical), self.count(Severity::Warning));
        let mut more = Vec::new();
        if critical > 0 && warning > 0 {
            more.push(format!("{warning} more within days."));
        }
        if self.acknowledged > 0 {
            more.push(format!("{} of {critical} acknowledged.", self.acknowledged));
        }
        if let Some((at, name)) = &self.next {
            more.push(format!("Next: {name}, {}.", zone.long(*at)));
        }
        match self.unanswered {
            0 => {}
            1 => more.push("Of 1 token there never was an answer.".to_owned()),
            n => more.push(format!("Of {n} tokens there never was an answer.")),
        }
        more
    }

    const fn severity(&self) -> &'static str {
        match (self.count(Severity::Critical), self.count(Severity::Warning)) {
            (0, 0) => "fine",
            (0, _) => "warning",
            (_, _) => "critical",
        }
    }
}

/// The state that the list is drawn over.
#[derive(Debug)]
pub struct Scene {
    /// What one pass over all tokens found out.
    pub census: Census,
    /// Whether every token was looked at once.
    pub first_pass_done: bool,
    /// What is wrong with the watcher itself.
    pub troubles: Vec<String>,
    /// The apps, and the watcher itself, that have something to tell.
    pub subjects: Vec<StandingJson>,
    /// How old all of it is.
    pub truth: Truth,
}

impl StatusPage {
    /// The list of these lines.
    pub fn new(
        scene: Scene,
        wanted: Wanted,
        found: Found,
        lines: Vec<Line>,
        settings: &Settings,
        now: Timestamp,
    ) -> Self {
        let (zone, census) = (&settings.daemon.zone, &scene.census);
        let subjects: Vec<Standing> =
            scene.subjects.iter().map(|standing| Standing::new(standing, zone, now)).collect();
        let critical = subjects.iter().filter(|standing| standing.severity == Severity::Critical.as_str());
        let mut others: Vec<&str> = critical.map(|standing| standing.name.as_str()).collect();
        let is_ill = !scene.troubles.is_empty() || scene.truth.stale.is_some();
        if is_ill && !others.contains(&WATCHER) {
            others.push(WATCHER);
        }
        let is_bad = !others.is_empty();
        let headline = census.headline(&others, scene.first_pass_done, now);
        let tally = Verdict::ALL.iter().zip(census.verdicts).map(|(verdict, count)| (verdict.as_str(), count));
        Self {
            severity: if is_bad { "critical" } else { census.severity() },
            headline,
            more: census.more(zone),
            oldest: census.oldest.as_ref().map(|(at, name)| (name.clone(), Moment::new(*at, zone, now))),
            tally: tally.filter(|(_, count)| *count > 0).collect(),
            troubles: scene.troubles,
            subjects,
            truth: scene.truth,
            choices: choices(settings, &wanted),
            pages: Pages::new(&wanted, &found),
            wanted,
            first: (found.page - 1) * PAGE + 1,
            found,
            lines,
        }
    }
}

fn choices(settings: &Settings, wanted: &Wanted) -> Vec<Choice> {
    let choice = |key, label, chosen: &str, values: &mut dyn Iterator<Item = &str>| {
        let mut values: Vec<String> = values.take(MOST_CHOICES + 1).map(ToOwned::to_owned).collect();
        if values.len() > MOST_CHOICES {
            values.clear();
        } else if !chosen.is_empty() && !values.iter().any(|value| value == chosen) {
            values.push(chosen.to_owned());
        }
        Choice { key, label, chosen: chosen.to_owned(), values }
    };
    let verdict = wanted.verdict.map_or("", Verdict::as_str);
    let mut choices = vec![
        choice("verdict", "Verdict", verdict, &mut Verdict::ALL.iter().map(|verdict| verdict.as_str())),
        choice("provider", "Provider", &wanted.provider, &mut settings.providers.keys().map(ProviderName::as_str)),
        choice("app", "App", &wanted.app, &mut settings.apps.keys().map(AppName::as_str)),
        choice("receiver", "Receiver", &wanted.receiver, &mut settings.receivers.keys().map(ReceiverName::as_str)),
    ];
    // Where there is one at most, there is nothing to choose; where there are too many to list, one can be written.
    choices.retain(|choice| choice.values.len() != 1 || !choice.chosen.is_empty());
    choices
}

impl Line {
    /// A token in one line; its status adds the rungs of its life and who is told.
    pub fn new(row: &Row, known: Option<(&TokenSpec, &TokenStatus)>, zone: &Zone, now: Timestamp) -> Self {
        let worst = row.findings.iter().max_by_key(|(_, severity)| *severity);
        let others = row.findings.len().saturating_sub(1);
        let says = match (worst, others) {
            (None, _) if row.verdict == Verdict::Unverified => "nothing is known of it yet".to_owned(),
            (None, _) => "nothing is wrong".to_owned(),
            (Some((reason, _)), 0) => format!("{} ({})", advice::reason_in_words(*reason), reason.as_str()),
            (Some((reason, _)), n) => {
                format!("{} ({}), and {n} more", advice::reason_in_words(*reason), reason.as_str())
            }
        };
        let deadline = row.deadline();
        let what = if deadline == row.expires.date() { "Ends" } else { "Data access ends" };
        let dead = row.verdict == Verdict::Invalid;
        let left = match (deadline, row.expires) {
            _ if dead => "not valid".to_owned(),
            (Some(at), _) if at > now => at.since(now).to_string(),
            (Some(at), _) => relative(at, now),
            (None, Expiry::Never) => "never ends".to_owned(),
            (None, Expiry::Unknown | Expiry::At(_)) => "end unknown".to_owned(),
        };
        let ends = deadline.map(|at| {
            let what = match (dead, at > now, what) {
                (true, true, _) => "Would have ended",
                (_, true, _) => what,
                (_, false, "Ends") => "Ended",
                (_, false, _) => "Data access ended",
            };
            (what, Moment::new(at, zone, now))
        });
        let receivers = known.map(|(spec, _)| spec.receivers.iter().map(ReceiverName::as_str).collect::<Vec<_>>());
        Self {
            name: row.id.to_string(),
            verdict: row.verdict.as_str(),
            severity: row.severity().map_or("fine", Severity::as_str),
            says,
            on_call: on_call(row, zone),
            left,
            ends,
            provider: advice::provider_in_words(&row.provider).to_owned(),
            app: row.app.as_ref().map(ToString::to_string),
            receivers: receivers.unwrap_or_default().join(", "),
            answered: row.last_answer.map_or_else(|| "never".to_owned(), |at| relative(at, now)),
            life: Lifetime::new(row, known, zone, now),
        }
    }
}

/// How people answered what was told of a token.
fn on_call(row: &Row, zone: &Zone) -> String {
    let Some(answered) = &row.answered else { return String::new() };
    let known = answered.acknowledged.then(|| "acknowledged".to_owned());
    let silenced = answered.silenced_until.map(|at| format!("silenced until {}", zone.short(at)));
    known.into_iter().chain(silenced).collect::<Vec<_>>().join(", ")
}

/// The word beside the sign of a severity.
pub fn in_words(severity: impl AsRef<str>) -> &'static str {
    match severity.as_ref() {
        "critical" => "Critical",
        "warning" => "Warning",
        "info" => "Notice",
        _ => "In order",
    }
}

/// The sign of a severity: each has a shape of its own, because not everybody sees colours.
pub fn shape(severity: impl AsRef<str>) -> &'static str {
    match severity.as_ref() {
        "critical" => r#"<path d="M5 1h6l4 4v6l-4 4H5l-4-4V5z"/><path class="on" d="M8 4v5M8 11v1"/>"#,
        "warning" => r#"<path d="M8 1l7.5 14H.5z"/><path class="on" d="M8 6v4M8 12v1"/>"#,
        "info" => r#"<circle cx="8" cy="8" r="7"/><path class="on" d="M8 7v5M8 4v1"/>"#,
        _ => r#"<circle cx="8" cy="8" r="7"/><path class="on" d="M4.5 8.5l2.5 2.5 4.5-5"/>"#,
    }
}

/// Lines on one page.
pub const PAGE: usize = 50;
/// As many as a list to choose from can have.
const MOST_CHOICES: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Span;

    const NOW: Timestamp = Timestamp::from_unix(1_752_566_400);

    fn census(all: usize, severities: [usize; 3], acknowledged: usize) -> Census {
        let next = (all > 0).then(|| (NOW.plus(Span::days(3)), "t".to_owned()));
        Census { all, severities, acknowledged, next, ..Census::default() }
    }

    #[test]
    fn the_head_line_says_the_worst_first() {
        for (census, others, line) in [
            (census(0, [0; 3], 0), &[][..], "No tokens are watched"),
            (census(1, [0; 3], 0), &[], "The only token is in order; it ends in 3 days"),
            (census(9, [2, 0, 0], 0), &[], "All 9 tokens are in order; the next one ends in 3 days"),
            (census(9, [0, 1, 0], 0), &[], "1 token needs somebody within days; the next one ends in 3 days"),
            (census(9, [0, 4, 2], 0), &[], "2 tokens need somebody now; the next one ends in 3 days"),
            (census(9, [0, 4, 2], 2), &[], "2 tokens need somebody, and somebody knows; the next one ends in 3 days"),
            (census(9, [0; 3], 0), &["App shop"], "App shop needs somebody now; the next one ends in 3 days"),
            (
                census(9, [0, 0, 1], 0),
                &["App shop", "tokenwatch"],
                "App shop and 1 more need somebody now; 1 token needs somebody now; the next one ends in 3 days",
            ),
        ] {
            assert_eq!(census.headline(others, true, NOW), line);
        }
        let new = Census { verdicts: [0, 0, 0, 0, 9], next: None, ..census(9, [0; 3], 0) };
        assert_eq!(new.headline(&[], false, NOW), "The first look at 9 tokens is under way");
        assert_eq!(new.headline(&[], true, NOW), "9 tokens could not be verified");
    }
}
