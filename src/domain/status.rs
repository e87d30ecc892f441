//! What was observed of a token or an app, and what people were told: all that outlives a decision.
//!
//! Only `step` changes a status; the store keeps it.

use super::inspection::{AppFault, CheckError, Inspection, Validity};
use super::ledger::Ledger;
use super::number::NumberStatus;
use super::renewal::RenewalStatus;
use super::time::Timestamp;
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
