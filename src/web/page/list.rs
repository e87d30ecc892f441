//! The list of tokens: what is wrong in one line, what can be looked for, and the tokens by urgency.

use askama::Template;

use super::line::Line;
use super::{FINE, Moment, Standing, Truth, UNKNOWN};
use crate::board::Row;
use crate::domain::alert::WATCHER;
use crate::domain::finding::Severity;
use crate::domain::time::{Timestamp, relative};
use crate::domain::token::{AppName, ProviderName, ReceiverName};
use crate::domain::verdict::Verdict;
use crate::settings::Settings;
use crate::web::find::{Found, Wanted};
use crate::web::json::StandingJson;
use crate::zone::Zone;

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
    /// What can be; `None` where it is too much to list.
    pub values: Option<Vec<String>>,
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
        let ahead = |row: &Row| row.next_end(now);
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

    /// What is wrong now, in words: the worst first, and then the next date.
    fn headline(&self, others: &Others<'_>, first_pass_done: bool, now: Timestamp) -> String {
        let tokens = |n: usize, one: &str, many: &str| {
            if n == 1 { format!("1 token {one}") } else { format!("{n} tokens {many}") }
        };
        let needs = |n: usize| tokens(n, "needs", "need");
        let (critical, warning) = (self.count(Severity::Critical), self.count(Severity::Warning));
        let [.., unverified] = self.verdicts;
        let own = match (self.all, critical, warning) {
            (0, _, _) => Some("No tokens are watched".to_owned()),
            (_, 0, 0) if others.is_bad() => None,
            (all, 0, 0) if !first_pass_done => Some(format!("The first look at {} under way", tokens(all, "is", "is"))),
            (_, 0, 0) if unverified > 0 => Some(tokens(unverified, "could not be verified", "could not be verified")),
            (1, 0, 0) => Some("The only token is in order".to_owned()),
            (all, 0, 0) => Some(format!("All {all} tokens are in order")),
            (_, 0, warning) => Some(format!("{} somebody soon", needs(warning))),
            (_, critical, _) if critical == self.acknowledged => {
                Some(format!("{} somebody, and somebody knows", needs(critical)))
            }
            (_, critical, _) => Some(format!("{} somebody now", needs(critical))),
        };
        let next = self.next.as_ref().map(|(at, _)| {
            let which = match (self.all, own.is_some() && others.is_empty()) {
                (1, true) => "it",
                (1, false) => "the token",
                (_, true) => "the next one",
                (_, false) => "the next token",
            };
            format!("{which} ends {}", relative(*at, now))
        });
        let (own, others) = (own.into_iter(), others.in_words().into_iter());
        others.chain(own).chain(next).collect::<Vec<_>>().join("; ")
    }

    /// What else is to be said.
    fn more(&self, zone: &Zone) -> Vec<String> {
        let (critical, warning) = (self.count(Severity::Critical), self.count(Severity::Warning));
        let mut more = Vec::new();
        if critical > 0 && warning > 0 {
            more.push(format!("{warning} more soon."));
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
        let [.., unverified] = self.verdicts;
        match (self.count(Severity::Critical), self.count(Severity::Warning)) {
            (0, 0) if unverified > 0 => UNKNOWN,
            (0, 0) => FINE,
            (0, _) => "warning",
            (_, _) => "critical",
        }
    }
}

/// Apps, and the watcher itself, that need somebody.
#[derive(Debug, Default)]
struct Others<'a> {
    /// Now.
    now: Vec<&'a str>,
    /// Now, and somebody knows.
    known: Vec<&'a str>,
    /// Some time.
    later: Vec<&'a str>,
}

impl<'a> Others<'a> {
    fn of(subjects: &'a [Standing], watcher_is_ill: bool) -> Self {
        let mut others = Self::default();
        for standing in subjects {
            let name = standing.name.as_str();
            match standing.severity {
                "critical" if standing.known => others.known.push(name),
                "critical" => others.now.push(name),
                "warning" => others.later.push(name),
                _ => {}
            }
        }
        if watcher_is_ill && !others.now.contains(&WATCHER) {
            others.known.retain(|name| *name != WATCHER);
            others.later.retain(|name| *name != WATCHER);
            others.now.push(WATCHER);
        }
        others
    }

    /// Whether one of them is as bad as can be.
    const fn is_bad(&self) -> bool {
        !self.now.is_empty() || !self.known.is_empty()
    }

    const fn is_empty(&self) -> bool {
        !self.is_bad() && self.later.is_empty()
    }

    fn in_words(&self) -> Vec<String> {
        let named = |names: &[&str], one: &str, many: &str| match names {
            [] => None,
            [name] => Some(format!("{name} {one}")),
            [name, rest @ ..] => Some(format!("{name} and {} more {many}", rest.len())),
        };
        let now = named(&self.now, "needs somebody now", "need somebody now");
        let known = named(&self.known, "needs somebody, and somebody knows", "need somebody, and somebody knows");
        let later = named(&self.later, "needs a look", "need a look");
        [now, known, later].into_iter().flatten().collect()
    }

    /// The worse of how bad these are and how bad the tokens are.
    fn worse_than(&self, tokens: &'static str) -> &'static str {
        match tokens {
            _ if self.is_bad() => "critical",
            FINE | UNKNOWN if !self.later.is_empty() => "warning",
            tokens => tokens,
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
        let is_ill = !scene.troubles.is_empty() || scene.truth.stale.is_some();
        let others = Others::of(&subjects, is_ill);
        let headline = census.headline(&others, scene.first_pass_done, now);
        let tally = Verdict::ALL.iter().zip(census.verdicts).map(|(verdict, count)| (verdict.as_str(), count));
        Self {
            severity: others.worse_than(census.severity()),
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
        let fits = values.len() <= MOST_CHOICES;
        if fits && !chosen.is_empty() && !values.iter().any(|value| value == chosen) {
            values.push(chosen.to_owned());
        }
        Choice { key, label, chosen: chosen.to_owned(), values: Some(values).filter(|_| fits) }
    };
    let verdict = wanted.verdict.map_or("", Verdict::as_str);
    let mut choices = vec![
        choice("verdict", "Verdict", verdict, &mut Verdict::ALL.iter().map(|verdict| verdict.as_str())),
        choice("provider", "Provider", &wanted.provider, &mut settings.providers.keys().map(ProviderName::as_str)),
        choice("app", "App", &wanted.app, &mut settings.apps.keys().map(AppName::as_str)),
        choice("receiver", "Receiver", &wanted.receiver, &mut settings.receivers.keys().map(ReceiverName::as_str)),
    ];
    // Where there is one at most, there is nothing to choose; where there are too many to list, one can be written.
    choices.retain(|choice| choice.values.as_ref().is_none_or(|values| values.len() > 1) || !choice.chosen.is_empty());
    choices
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
        let none = Others::default;
        let now = |names: &'static [&'static str]| Others { now: names.to_vec(), ..none() };
        let fine = "in 3 days";
        for (census, others, line) in [
            (census(0, [0; 3], 0), none(), "No tokens are watched".to_owned()),
            (census(1, [0; 3], 0), none(), format!("The only token is in order; it ends {fine}")),
            (census(9, [2, 0, 0], 0), none(), format!("All 9 tokens are in order; the next one ends {fine}")),
            (census(9, [0, 1, 0], 0), none(), format!("1 token needs somebody soon; the next one ends {fine}")),
            (census(9, [0, 4, 2], 0), none(), format!("2 tokens need somebody now; the next one ends {fine}")),
            (
                census(9, [0, 4, 2], 2),
                none(),
                format!("2 tokens need somebody, and somebody knows; the next one ends {fine}"),
            ),
            (
                census(9, [0; 3], 0),
                now(&["App shop"]),
                format!("App shop needs somebody now; the next token ends {fine}"),
            ),
            (
                census(1, [0; 3], 0),
                now(&["tokenwatch"]),
                format!("tokenwatch needs somebody now; the token ends {fine}"),
            ),
            (
                census(9, [0, 0, 1], 0),
                now(&["App shop", "tokenwatch"]),
                format!(
                    "App shop and 1 more need somebody now; 1 token needs somebody now; the next token ends {fine}"
                ),
            ),
            (
                census(9, [0; 3], 0),
                Others { known: vec!["App shop"], ..none() },
                format!("App shop needs somebody, and somebody knows; the next token ends {fine}"),
            ),
            (
                census(9, [0; 3], 0),
                Others { later: vec!["tokenwatch"], ..none() },
                format!("tokenwatch needs a look; All 9 tokens are in order; the next token ends {fine}"),
            ),
        ] {
            assert_eq!(census.headline(&others, true, NOW), line);
        }
        let new = Census { verdicts: [0, 0, 0, 0, 9], next: None, ..census(9, [0; 3], 0) };
        assert_eq!(new.headline(&none(), false, NOW), "The first look at 9 tokens is under way");
        assert_eq!(new.headline(&none(), true, NOW), "9 tokens could not be verified");
        let warned = Others { later: vec!["tokenwatch"], ..none() };
        assert_eq!((warned.worse_than("fine"), warned.worse_than("critical")), ("warning", "critical"));
        assert_eq!((none().worse_than("fine"), now(&["App shop"]).worse_than("fine")), ("fine", "critical"));
    }
}
