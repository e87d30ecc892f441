//! The status page: a list by urgency, and a page for each token. Server-rendered, no scripts, nothing from elsewhere.
//!
//! Everything that came from outside is only ever text: the templates escape it, and the content-security policy allows nothing else.

use askama::Template;

use crate::board::Row;
use crate::domain::time::Timestamp;
use crate::explain::Explanation;
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
    /// Faults of apps.
    pub apps: Vec<(String, String)>,
    /// The tokens, the most urgent first.
    pub lines: Vec<Line>,
    /// How many are not shown.
    pub more: usize,
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
}

/// A token.
#[derive(Template)]
#[template(path = "token.html")]
pub struct TokenPage {
    /// Why this verdict.
    pub explanation: Explanation,
    /// When this was true.
    pub as_of: String,
}

impl StatusPage {
    /// The page of these rows.
    pub fn new(rows: &[Row], apps: Vec<(String, String)>, troubles: Vec<String>, zone: &Zone, now: Timestamp) -> Self {
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
            apps,
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
        answered: row.last_answer.map_or_else(|| "never".to_owned(), |at| crate::domain::time::relative(at, now)),
    }
}

/// Lines on one page.
const PAGE: usize = 500;
