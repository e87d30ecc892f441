//! The regular summary: how all tokens stand, in numbers and in the nearest dates. It proves the way to people while nothing is wrong.

use super::finding::Reason;
use super::time::Timestamp;
use super::token::TokenId;
use super::verdict::Verdict;

/// How all tokens stand. Complete in itself, so that it can be delivered later and still say what was true.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// How many tokens have each verdict; those that none has are left out.
    pub verdicts: Vec<(Verdict, u64)>,
    /// The nearest deadlines to come.
    pub nearest: Vec<(TokenId, Reason, Timestamp)>,
    /// What is open now, the most urgent first, as name and finding.
    pub open: Vec<(Box<str>, Reason)>,
    /// How many incidents are open; the list above is bounded.
    pub open_count: u64,
    /// Incidents that began since the summary before.
    pub opened: u64,
    /// Incidents that ended since then.
    pub ended: u64,
    /// Since when those are counted.
    pub since: Option<Timestamp>,
}

/// Dates and incidents that a summary names.
pub const MOST_NAMED: usize = 20;
