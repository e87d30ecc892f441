//! The status page: a list by urgency, and a page for each token, for each app and for the watcher. Server-rendered, no scripts, nothing from elsewhere.
//!
//! Everything that came from outside is only ever text: the templates escape it, and the content-security policy allows nothing else.

use askama::Template;

use crate::advice;
use crate::board::Row;
use crate::domain::answer::Answer;
use crate::domain::renewal::Origin;
use crate::domain::time::Timestamp;
use crate::explain::Explanation;
use crate::ports::{AnswerRecord, History, IncidentRecord};
use crate::web::json::StandingJson;
use crate::zone::Zone;

/// The list.
#[derive(Template)]
#[template(path = "status.html")]
pub struct StatusPage {
    /// What to call it.
    pub headline: String,
    /// How old its truth is.
    pub as_of: String,
    /// What is wrong with the watcher itself.
    pub troubles: Vec<String>,
    /// The apps, and the watcher itself, that have something to tell.
    pub subjects: Vec<Standing>,
    /// The tokens, the most urgent first.
    pub lines: Vec<Line>,
    /// How many are not shown.
    pub more: usize,
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
}

impl Standing {
    fn new(standing: &StandingJson, zone: &Zone, now: Timestamp) -> Self {
        let subject = &standing.subject;
        let name = match subject.split_once('/') {
            Some(("app", name)) => format!("App {name}"),
            Some((_, name)) => name.to_owned(),
            None => subject.clone(),
        };
        let severity = standing.severity().map_or("fine", |severity| severity.as_str());
        Self { name, page: format!("/subjects/{subject}"), severity, lines: standing.in_words(zone, now) }
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
    /// When this was true.
    pub as_of: String,
}

impl SubjectPage {
    /// The page of a subject.
    pub fn new(standing: &StandingJson, history: &History, zone: &Zone, now: Timestamp) -> Self {
        let (standing, past) = (Standing::new(standing, zone, now), Past::new(history, zone, now));
        Self { standing, past, as_of: zone.long(now) }
    }
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
    /// What is wrong.
    pub findings: String,
    /// When it ends.
    pub ends: String,
    /// In how long.
    pub left: String,
    /// The last answer.
    pub answered: String,
    /// How people answered what was told.
    pub on_call: String,
}

/// A token.
#[derive(Template)]
#[template(path = "token.html")]
pub struct TokenPage {
    /// Why this verdict.
    pub explanation: Explanation,
    /// What happened to it.
    pub past: Past,
    /// When this was true.
    pub as_of: String,
}

/// What happened to a subject, the newest first.
#[derive(Debug)]
pub struct Past {
    /// Incidents: when, what, how bad, how it ended, who said that they know.
    pub incidents: Vec<[String; 5]>,
    /// Answers: when, who, what, why.
    pub answers: Vec<[String; 4]>,
    /// Deliveries: when made, what, to whom, how it went.
    pub deliveries: Vec<[String; 4]>,
    /// Renewals and replacements: when, how it ended, who wanted it, what was done.
    pub renewals: Vec<[String; 4]>,
}

impl Past {
    /// The past in words.
    pub fn new(history: &History, zone: &Zone, now: Timestamp) -> Self {
        let ago = |at: Timestamp| format!("{} ({})", zone.long(at), crate::domain::time::relative(at, now));
        let incidents = history.incidents.iter().map(|IncidentRecord { incident, ended }| {
            let ended = match ended {
                Some((at, ending)) => format!("{}, {}", ending.as_str(), ago(*at)),
                None => "open".to_owned(),
            };
            let known = incident.acknowledged.as_ref().map(|signed| advice::plain(&signed.by)).unwrap_or_default();
            let (reason, severity) = (incident.reason.as_str().to_owned(), incident.severity.as_str().to_owned());
            [ago(incident.opened_at), reason, severity, ended, known]
        });
        let answers = history.answers.iter().map(|AnswerRecord { at, answer }| {
            let what = match answer {
                Answer::Acknowledge(_) => "acknowledged".to_owned(),
                Answer::Unsilence(_) => "ended the silence".to_owned(),
                Answer::Silence { lasts, even_critical: false, .. } => format!("silenced for {lasts}"),
                Answer::Silence { lasts, even_critical: true, .. } => format!("silenced for {lasts}, even critical"),
            };
            let signed = answer.signed();
            let why = signed.why.as_deref().map(advice::plain).unwrap_or_default();
            [ago(*at), advice::plain(&signed.by), what, why]
        });
        let deliveries = history.deliveries.iter().map(|delivery| {
            let (notice, lane) = (&delivery.notice, &delivery.lane);
            let went = match (&delivery.delivered, &delivery.failure) {
                (Some((at, channel)), _) if channel == "rerouted" => format!("handed on, {}", ago(*at)),
                (Some((at, channel)), _) => format!("{channel}, {}", ago(*at)),
                (None, Some(failure)) => {
                    format!("waiting; tried {} times: {}", delivery.attempts, advice::plain(failure))
                }
                (None, None) => "waiting".to_owned(),
            };
            [ago(notice.at), format!("{} ({})", notice.reason.as_str(), notice.why.as_str()), lane.to_string(), went]
        });
        let renewals = history.renewals.iter().map(|ended| {
            let by = match &ended.origin {
                Origin::Schedule => "it was due".to_owned(),
                Origin::Asked(by) => format!("asked for by {}", advice::plain(by)),
                Origin::Replaced(by) => format!("replaced by {}", advice::plain(by)),
            };
            [ago(ended.at), ended.outcome.as_str().replace('_', " "), by, advice::plain(&ended.text)]
        });
        Self {
            incidents: incidents.collect(),
            answers: answers.collect(),
            deliveries: deliveries.collect(),
            renewals: renewals.collect(),
        }
    }
}

impl StatusPage {
    /// The page of these rows.
    pub fn new(rows: &[Row], subjects: &[StandingJson], troubles: Vec<String>, zone: &Zone, now: Timestamp) -> Self {
        let mut urgent: Vec<&Row> = rows.iter().collect();
        urgent.sort_by_key(|row| {
            let deadline = row.deadline().map_or(i64::MAX, Timestamp::unix);
            (std::cmp::Reverse(row.severity()), deadline, row.id.as_str())
        });
        let wrong = rows.iter().filter(|row| row.severity().is_some()).count();
        let headline = match (rows.len(), wrong) {
            (0, _) => "no tokens are watched".to_owned(),
            (all, 0) => format!("{all} watched, all fine"),
            (all, wrong) => format!("{all} watched, {wrong} with findings"),
        };
        Self {
            headline,
            as_of: zone.long(now),
            troubles,
            subjects: subjects.iter().map(|standing| Standing::new(standing, zone, now)).collect(),
            more: rows.len().saturating_sub(PAGE),
            lines: urgent.into_iter().take(PAGE).map(|row| line(row, zone, now)).collect(),
        }
    }
}

fn line(row: &Row, zone: &Zone, now: Timestamp) -> Line {
    let findings: Vec<&str> = row.findings.iter().map(|(reason, _)| reason.as_str()).collect();
    let deadline = row.deadline();
    Line {
        name: row.id.to_string(),
        verdict: row.verdict.as_str(),
        severity: row.severity().map_or("fine", |severity| severity.as_str()),
        findings: findings.join(", "),
        ends: deadline.map_or_else(|| crate::web::end_in_words(row), |at| zone.date(at)),
        left: deadline.map(|at| crate::domain::time::relative(at, now)).unwrap_or_default(),
        on_call: on_call(row, zone),
        answered: row.last_answer.map_or_else(|| "never".to_owned(), |at| crate::domain::time::relative(at, now)),
    }
}

/// How people answered what was told of a token.
fn on_call(row: &Row, zone: &Zone) -> String {
    let Some(answered) = &row.answered else { return String::new() };
    let known = answered.acknowledged.then(|| "acknowledged".to_owned());
    let silenced = answered.silenced_until.map(|at| format!("silenced until {}", zone.short(at)));
    known.into_iter().chain(silenced).collect::<Vec<_>>().join(", ")
}

/// Lines on one page.
const PAGE: usize = 500;
