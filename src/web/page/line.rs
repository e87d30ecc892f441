//! One token in one line: how it is, what is left, and its life as a bar.

use super::{FINE, Moment, UNKNOWN};
use crate::advice;
use crate::board::Row;
use crate::domain::finding::Severity;
use crate::domain::inspection::Expiry;
use crate::domain::status::TokenStatus;
use crate::domain::time::{Timestamp, relative};
use crate::domain::token::{ReceiverName, TokenSpec};
use crate::domain::verdict::Verdict;
use crate::web::lifetime::Lifetime;
use crate::zone::Zone;

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

impl Line {
    /// A token in one line; its status adds the rungs of its life.
    pub fn new(row: &Row, known: Option<(&TokenSpec, &TokenStatus)>, zone: &Zone, now: Timestamp) -> Self {
        let worst = row.findings.iter().max_by_key(|(_, severity)| *severity);
        let others = row.findings.len().saturating_sub(1);
        let says = match (worst, others) {
            (None, _) if row.verdict == Verdict::Unverified => {
                let failure = known.and_then(|(_, status)| status.last_error.as_ref());
                failure.map_or_else(
                    || "nothing is known of it yet".to_owned(),
                    |failure| format!("it could not be checked: {}", advice::plain(&failure.to_string())),
                )
            }
            (None, _) => "nothing is wrong".to_owned(),
            (Some((reason, _)), 0) => format!("{} ({})", advice::reason_in_words(*reason), reason.as_str()),
            (Some((reason, _)), n) => {
                format!("{} ({}), and {n} more", advice::reason_in_words(*reason), reason.as_str())
            }
        };
        let deadline = row.deadline();
        let what = if deadline == row.expires.date() { "Ends" } else { "Data access ends" };
        // What was killed, or has expired before its date, does not wait for it.
        let dead = deadline.is_some_and(|at| at > now) && matches!(row.verdict, Verdict::Expired | Verdict::Invalid);
        let left = match (deadline, row.expires) {
            _ if row.verdict == Verdict::Invalid => "not valid".to_owned(),
            _ if dead => "has expired".to_owned(),
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
        let receivers: Vec<&str> = row.receivers.iter().map(ReceiverName::as_str).collect();
        Self {
            name: row.id.to_string(),
            verdict: row.verdict.as_str(),
            severity: row
                .severity()
                .map_or(if row.verdict == Verdict::Unverified { UNKNOWN } else { FINE }, Severity::as_str),
            says,
            on_call: on_call(row, zone),
            left,
            ends,
            provider: advice::provider_in_words(&row.provider).to_owned(),
            app: row.app.as_ref().map(ToString::to_string),
            receivers: receivers.join(", "),
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
