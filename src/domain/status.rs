//! What was observed of a token or an app, and what people were told: all that outlives a decision.
//!
//! Only `step` changes a status; the store keeps it.

use super::inspection::{AppFault, CheckError, Inspection, Validity};
use super::ledger::Ledger;
use super::number::NumberStatus;
use super::renewal::RenewalStatus;
use super::time::{Span, Timestamp};
use super::token::Fingerprint;

/// One secret in the slot, from the first time it was seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Generation {
    /// Counts from 1; 0 means that no secret was ever read.
    pub number: u32,
    /// The secret's keyed hash.
    pub fingerprint: Option<Fingerprint>,
    /// When it was first seen.
    pub since: Timestamp,
}

/// The last authoritative answer that was believed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// Which generation it is about.
    pub generation: u32,
    /// What was said.
    pub inspection: Inspection,
    /// Since when its dates are what they are.
    pub dated: Dated,
}

/// Since when the dates to come stand as they do, and which they took the place of: what stands in people's calendars.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dated {
    /// When one of them last moved, came or went.
    pub since: Timestamp,
    /// The end that was known before the last move of it.
    pub end_before: Option<Timestamp>,
    /// The same of data access.
    pub data_access_before: Option<Timestamp>,
}

impl Dated {
    /// Nobody noted when the dates last moved; any move to come is later than this.
    pub const UNKNOWN: Self = Self { since: Timestamp::from_unix(0), end_before: None, data_access_before: None };
}

impl Facts {
    /// What is known from now on, after what was known before.
    pub fn new(generation: u32, inspection: Inspection, before: Option<&Self>, now: Timestamp) -> Self {
        let fresh = Dated { since: now, end_before: None, data_access_before: None };
        let dated = before.map_or(fresh, |before| {
            let (old, new) = (before.inspection.dates_to_come(), inspection.dates_to_come());
            if old == new {
                return before.dated;
            }
            let moved = |old: Option<Timestamp>, new, earlier| if old == new { earlier } else { old };
            Dated {
                // A clock that was moved back makes no move older than the one before it.
                since: now.max(before.dated.since.plus(Span::seconds(1))),
                end_before: moved(old.0, new.0, before.dated.end_before),
                data_access_before: moved(old.1, new.1, before.dated.data_access_before),
            }
        });
        Self { generation, inspection, dated }
    }
}

/// What was observed of one token, and what people were told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokenStatus {
    /// The secret now in the slot.
    pub generation: Generation,
    /// What is known, perhaps still of the generation before.
    pub facts: Option<Facts>,
    /// The last attempt.
    pub last_check: Option<Timestamp>,
    /// The last authoritative answer.
    pub last_answer: Option<Timestamp>,
    /// Consecutive answers that said "invalid".
    pub invalid_streak: u32,
    /// Consecutive checks without an authoritative answer.
    pub failures: u32,
    /// The first attempt since the last authoritative answer that brought none, a check put off included; `None` while answers come.
    pub failing_since: Option<Timestamp>,
    /// Why the last check failed; `None` when it did not.
    pub last_error: Option<CheckError>,
    /// Why the secret could not be read, until it can.
    pub source_fault: Option<Box<str>>,
    /// What said that the token belongs to another app, until an answer says otherwise.
    pub foreign: Option<Box<str>>,
    /// What is open, and how people answered.
    pub ledger: Ledger,
    /// What became of its renewals.
    pub renewal: RenewalStatus,
    /// The WhatsApp number that it sends from.
    pub number: Option<Box<NumberStatus>>,
    /// When to look again.
    pub next_check: Timestamp,
}

impl TokenStatus {
    /// A slot that was never looked at; it is due at once.
    pub const fn new(now: Timestamp) -> Self {
        Self {
            generation: Generation { number: 0, fingerprint: None, since: now },
            facts: None,
            last_check: None,
            last_answer: None,
            invalid_streak: 0,
            failures: 0,
            failing_since: None,
            last_error: None,
            source_fault: None,
            foreign: None,
            ledger: Ledger { incidents: Vec::new(), count: 0, silence: None, openings: Vec::new() },
            renewal: RenewalStatus {
                count: 0,
                run: None,
                last: None,
                failures: 0,
                next_try: None,
                renewed_at: None,
                given_at: None,
                kept: None,
            },
            number: None,
            next_check: now,
        }
    }

    /// Draws moments that lie in the future back to the present: they were noted before the clock moved back, and neither a lifetime nor
    /// blindness may be measured from them.
    pub(super) fn draw_back(&mut self, now: Timestamp) {
        self.generation.since = self.generation.since.min(now);
        for moment in [&mut self.last_check, &mut self.last_answer, &mut self.failing_since] {
            *moment = moment.map(|at| at.min(now));
        }
        self.ledger.draw_back(now);
        self.renewal.draw_back(now);
        if let Some(number) = &mut self.number {
            number.answered = number.answered.map(|at| at.min(now));
        }
    }

    /// Whether the provider says that the secret now in the slot has run out.
    pub(super) fn said_expired(&self) -> bool {
        self.current_facts().is_some_and(|facts| facts.validity == Validity::Expired)
    }

    /// What is known of the secret that is in the slot now.
    pub fn current_facts(&self) -> Option<&Inspection> {
        self.facts.as_ref().filter(|facts| facts.generation == self.generation.number).map(|facts| &facts.inspection)
    }
}

/// What was observed of one app, and what people were told.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AppStatus {
    /// What is wrong with it.
    pub fault: Option<(AppFault, Box<str>)>,
    /// Consecutive reports of a fault.
    pub streak: u32,
    /// What is open, and how people answered.
    pub ledger: Ledger,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::inspection::{Cause, Expiry};

    const NOW: Timestamp = Timestamp::from_unix(1_752_566_400);

    #[test]
    fn it_is_known_since_when_dates_stand_and_what_stood_before() {
        let hour = |n| NOW.plus(Span::hours(n));
        let dated = |expires, validity| Inspection { expires, ..Inspection::bare(validity) };
        let until = |n| dated(Expiry::At(hour(n)), Validity::Valid);
        let first = Facts::new(1, until(10), None, NOW);
        assert_eq!(first.dated, Dated { since: NOW, end_before: None, data_access_before: None });
        let same = Facts::new(2, until(10), Some(&first), hour(1));
        assert_eq!(same.dated, first.dated, "another secret with the same end moves nothing");
        let moved = Facts::new(2, until(20), Some(&same), hour(2));
        assert_eq!((moved.dated.since, moved.dated.end_before), (hour(2), Some(hour(10))));
        let never = Facts::new(3, dated(Expiry::Never, Validity::Valid), Some(&moved), hour(3));
        assert_eq!((never.dated.since, never.dated.end_before), (hour(3), Some(hour(20))));
        let still = Facts::new(3, dated(Expiry::Unknown, Validity::Valid), Some(&never), hour(4));
        assert_eq!(still.dated, never.dated);
        let killed =
            Facts::new(2, dated(Expiry::At(hour(20)), Validity::Revoked(Cause::Unstated)), Some(&moved), hour(5));
        assert_eq!(killed.dated.end_before, Some(hour(20)), "the end of a dead token is none to wait for");
        let back = Facts::new(2, until(30), Some(&moved), hour(1));
        assert_eq!(
            back.dated.since,
            hour(2).plus(Span::seconds(1)),
            "whatever the clock did, a move is later than the one before"
        );
    }
}
