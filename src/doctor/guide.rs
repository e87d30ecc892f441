//! The steps of the guide, what each found, and which of it comes first. Nothing is asked here.

use std::collections::HashMap;

use crate::domain::token::{AppName, TokenId};

/// A step, in the order in which a person would take it: what everything else rests on comes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Step {
    /// The secret can be read.
    Secret,
    /// The app's id and secret match, and Meta lets the app ask.
    App,
    /// The token works.
    Token,
    /// It is of a kind that is fit for production.
    Kind,
    /// Its end is far.
    Deadline,
    /// The end of data access is far.
    DataAccess,
    /// The required permissions are granted.
    Scopes,
    /// The WhatsApp account is covered.
    Account,
    /// The phone number exists, belongs to the account, and is connected.
    Number,
    /// Nothing keeps the number, the account, the business or the app from sending.
    Health,
    /// A phone number that somebody typed is one.
    Phone,
    /// A message is accepted.
    Message,
    /// What arrives reaches the app.
    Webhooks,
    /// The application answers.
    Application,
    /// The file of the secret is private, and git does not have it.
    File,
    /// The machine shows the secret to nobody.
    Exposure,
    /// There is room in the API budget.
    Budget,
    /// The API version is alive.
    Version,
    /// Our clock is right.
    Clock,
    /// The mail relay takes mail.
    Relay,
}

impl Step {
    /// All steps, in order.
    pub const ALL: [Self; 20] = [
        Self::Secret,
        Self::App,
        Self::Token,
        Self::Kind,
        Self::Deadline,
        Self::DataAccess,
        Self::Scopes,
        Self::Account,
        Self::Number,
        Self::Health,
        Self::Phone,
        Self::Message,
        Self::Webhooks,
        Self::Application,
        Self::File,
        Self::Exposure,
        Self::Budget,
        Self::Version,
        Self::Clock,
        Self::Relay,
    ];

    /// A stable code.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::App => "app",
            Self::Token => "token",
            Self::Kind => "kind",
            Self::Deadline => "deadline",
            Self::DataAccess => "data_access",
            Self::Scopes => "scopes",
            Self::Account => "account",
            Self::Number => "number",
            Self::Health => "health",
            Self::Phone => "phone",
            Self::Message => "message",
            Self::Webhooks => "webhooks",
            Self::Application => "application",
            Self::File => "file",
            Self::Exposure => "exposure",
            Self::Budget => "budget",
            Self::Version => "version",
            Self::Clock => "clock",
            Self::Relay => "relay",
        }
    }
}

/// What a step is about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum About {
    /// An app of the configuration.
    App(AppName),
    /// A token.
    Token(TokenId),
    /// This machine, and what all tokens share.
    Host,
}

impl About {
    /// As a heading.
    pub fn title(&self) -> String {
        match self {
            Self::App(name) => format!("app {name}"),
            Self::Token(_) | Self::Host => self.name().to_owned(),
        }
    }

    /// The name, for people and for machines.
    pub fn name(&self) -> &str {
        match self {
            Self::App(name) => name.as_str(),
            Self::Token(id) => id.as_str(),
            Self::Host => "this host",
        }
    }
}

/// How bad it is, the milder first. What cannot be told is worse than a warning: it may hide anything (contract §10.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Bad {
    /// Act within days.
    Warning,
    /// It could not be told.
    Unknown,
    /// Act now.
    Critical,
}

impl Bad {
    /// A stable code.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Unknown => "unknown",
            Self::Critical => "critical",
        }
    }
}

/// What a step found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    /// It is in order: what was seen.
    Right(String),
    /// It is not.
    Wrong(Wrong),
    /// It could not be tried, or was not to be: why.
    NotTried(String),
}

/// What is not in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wrong {
    /// How bad.
    pub bad: Bad,
    /// What was seen.
    pub saw: String,
    /// What to do, in order; never empty.
    pub remedy: Vec<String>,
    /// The one command to run next.
    pub next: String,
}

/// One step about one thing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// About what.
    pub about: About,
    /// Which step.
    pub step: Step,
    /// What it found.
    pub found: Found,
}

/// Everything that was found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// The lines: apps first, then tokens in their order, then the host; of each the steps in order.
    pub lines: Vec<Line>,
}

impl Report {
    /// The lines in their order; `tokens` is the order of the tokens.
    pub fn new(mut lines: Vec<Line>, tokens: &[TokenId]) -> Self {
        let places: HashMap<&TokenId, usize> = tokens.iter().zip(1..).collect();
        lines.sort_by_cached_key(|line| {
            let place = match &line.about {
                About::App(_) => 0,
                About::Token(id) => places.get(id).copied().unwrap_or(usize::MAX - 1),
                About::Host => usize::MAX,
            };
            (place, line.about.clone(), line.step)
        });
        Self { lines }
    }

    /// What is wrong first: the worst, and of several the one that stands earlier in the guide.
    pub fn first(&self) -> Option<(&Line, &Wrong)> {
        let wrong = self.lines.iter().filter_map(|line| match &line.found {
            Found::Wrong(wrong) => Some((line, wrong)),
            Found::Right(_) | Found::NotTried(_) => None,
        });
        wrong.min_by_key(|(line, wrong)| (std::cmp::Reverse(wrong.bad), line.step))
    }

    /// The worst of all.
    pub fn worst(&self) -> Option<Bad> {
        self.first().map(|(_, wrong)| wrong.bad)
    }

    /// How many of the steps that did not find what is right could only not tell.
    pub fn unsure(&self) -> usize {
        let unsure = |line: &&Line| matches!(&line.found, Found::Wrong(wrong) if wrong.bad == Bad::Unknown);
        self.lines.iter().filter(unsure).count()
    }

    /// How many steps found what is right, what is wrong, and could not be tried.
    pub fn counts(&self) -> (usize, usize, usize) {
        self.lines.iter().fold((0, 0, 0), |(right, wrong, untried), line| match line.found {
            Found::Right(_) => (right + 1, wrong, untried),
            Found::Wrong(_) => (right, wrong + 1, untried),
            Found::NotTried(_) => (right, wrong, untried + 1),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(about: About, step: Step, bad: Option<Bad>) -> Line {
        let found = match bad {
            None => Found::Right("fine".to_owned()),
            Some(bad) => Found::Wrong(Wrong {
                bad,
                saw: String::new(),
                remedy: vec!["do it".to_owned()],
                next: "tokenwatch doctor".to_owned(),
            }),
        };
        Line { about, step, found }
    }

    #[test]
    fn the_worst_comes_first_and_then_what_the_rest_rests_on() {
        let token = |name: &str| About::Token(TokenId::parse(name).expect("a name"));
        let lines = vec![
            line(About::Host, Step::Relay, Some(Bad::Unknown)),
            line(token("b"), Step::Health, Some(Bad::Critical)),
            line(token("a"), Step::File, Some(Bad::Warning)),
            line(token("a"), Step::Token, Some(Bad::Critical)),
            line(token("b"), Step::Secret, None),
        ];
        let order = ["b", "a"].map(|name| TokenId::parse(name).expect("a name"));
        let report = Report::new(lines, &order);
        let names: Vec<_> = report.lines.iter().map(|line| (line.about.name(), line.step.as_str())).collect();
        assert_eq!(names, [("b", "secret"), ("b", "health"), ("a", "token"), ("a", "file"), ("this host", "relay")]);
        let first = report.first().map(|(line, wrong)| (line.about.name(), line.step, wrong.bad));
        assert_eq!(first, Some(("a", Step::Token, Bad::Critical)));
        assert_eq!((report.counts(), report.unsure()), ((1, 4, 0), 1));
        assert_eq!(Report::default().worst(), None);
    }
}
