//! What providers ask of us: to stay away for a while, and to go easy on a budget that is nearly used.
//!
//! The two are kept apart. A pause was asked for, so whoever is due meanwhile is put off and knows why. Going easy is our own doing: tokens
//! then take turns at a distance, in the order in which they were due, and every one gets its turn; once the budget has recovered nobody
//! waits for it.

use std::collections::HashMap;

use tracing::warn;

use crate::domain::alert::Subject;
use crate::domain::inspection::{CheckError, Inspection};
use crate::domain::time::{Span, Timestamp};
use crate::ports::Telemetry;

/// The courtesies in force, by whose budget it is: an app's, or that of a token without one.
#[derive(Debug, Default)]
pub struct Courtesy {
    pauses: HashMap<Subject, Timestamp>,
    paces: HashMap<Subject, Pace>,
    turns: HashMap<Subject, HashMap<usize, Timestamp>>,
}

/// A distance between questions.
#[derive(Debug)]
struct Pace {
    gap: Span,
    next_turn: Timestamp,
}

/// Whether a question may be asked.
#[derive(Debug, PartialEq, Eq)]
pub enum Leave {
    /// Now.
    Ask,
    /// The provider asked us to stay away until then.
    Paused(Timestamp),
    /// Its turn is then.
    Turn(Timestamp),
}

impl Courtesy {
    /// Whether this token may be asked about now.
    pub fn leave(&mut self, budget: &Subject, index: usize, now: Timestamp) -> Leave {
        if let Some(until) = self.pauses.get(budget).filter(|until| **until > now) {
            return Leave::Paused(*until);
        }
        let turns = self.turns.entry(budget.clone()).or_default();
        match turns.get(&index) {
            // What woke it was the clock: a rung, a silence.
            Some(turn) if *turn > now => return Leave::Turn(*turn),
            Some(_) => {
                turns.remove(&index);
                return Leave::Ask;
            }
            None => {}
        }
        match self.paces.get_mut(budget) {
            Some(pace) if pace.next_turn > now => {
                let turn = pace.next_turn;
                pace.next_turn = turn.plus(pace.gap);
                turns.insert(index, turn);
                Leave::Turn(turn)
            }
            Some(pace) => {
                pace.next_turn = now.plus(pace.gap);
                Leave::Ask
            }
            None => Leave::Ask,
        }
    }

    /// Whether the budget is so nearly used that only what must be asked is asked.
    pub fn is_strained(&self, budget: &Subject) -> bool {
        self.paces.contains_key(budget)
    }

    /// Whether this token waits for its turn.
    pub fn waits(&self, budget: &Subject, index: usize) -> bool {
        self.turns.get(budget).is_some_and(|turns| turns.contains_key(&index))
    }

    /// Takes in what an answer showed of the budget. Returns the tokens that need not wait for their turn any more.
    pub fn heed(
        &mut self,
        budget: &Subject,
        answer: Result<&Inspection, &CheckError>,
        telemetry: &Telemetry,
        now: Timestamp,
    ) -> Vec<usize> {
        if let Err(CheckError::Throttled(until)) = answer {
            let until = (*until).min(now.plus(LONGEST_PAUSE));
            let pause = self.pauses.entry(budget.clone()).or_insert(now);
            if *pause <= now {
                warn!(budget = %budget, until = %until, "keeping away from the provider for a while");
            }
            *pause = until.max(*pause);
        }
        let used = telemetry.usage.iter().map(|(_, ratio)| *ratio).fold(0.0, f64::max);
        if used < GO_EASY_FROM {
            // The headers come only once there is something to tell (reference §7), so an answer without them is good news as well.
            let recovered = answer.is_ok() || !telemetry.usage.is_empty();
            let turns = recovered.then(|| {
                self.paces.remove(budget);
                self.turns.remove(budget)
            });
            return turns.flatten().into_iter().flat_map(HashMap::into_keys).collect();
        }
        let gap = if used < 1.0 { GAP } else { WIDE_GAP };
        let pace = self.paces.entry(budget.clone()).or_insert_with(|| {
            warn!(budget = %budget, used, "the API budget is nearly used; asking one at a time");
            Pace { gap, next_turn: now.plus(gap) }
        });
        pace.gap = gap;
        Vec::new()
    }

    /// After the clock moved back no pause reaches further than any may.
    pub fn clock_moved_back(&mut self, now: Timestamp) {
        for until in self.pauses.values_mut() {
            *until = (*until).min(now.plus(LONGEST_PAUSE));
        }
        self.paces.clear();
        self.turns.clear();
    }
}

/// From this share of a budget on we go easy (reference §7).
const GO_EASY_FROM: f64 = 0.9;
/// Budgets roll over an hour; the smallest is 200 calls, one in 18 seconds.
const GAP: Span = Span::seconds(20);
/// Beyond the budget.
const WIDE_GAP: Span = Span::minutes(1);
/// No pause outlasts this, whatever a header says.
const LONGEST_PAUSE: Span = Span::days(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::inspection::Validity;
    use crate::domain::token::AppName;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(seconds)
    }

    fn app() -> Subject {
        AppName::parse("a").map_or_else(|fault| unreachable!("{fault}"), Subject::App)
    }

    #[test]
    fn on_a_budget_nearly_used_everyone_gets_a_turn() {
        let mut courtesy = Courtesy::default();
        let valid = Inspection::bare(Validity::Valid);
        let nearly = Telemetry { usage: vec![("call_count", 0.95)], ..Telemetry::default() };
        courtesy.heed(&app(), Ok(&valid), &nearly, at(0));
        let turns: Vec<Leave> = (0..4).map(|index| courtesy.leave(&app(), index, at(1))).collect();
        assert_eq!(turns, [20, 40, 60, 80].map(|second| Leave::Turn(at(second))));
        for (index, second) in [(0, 20), (1, 40), (2, 60)] {
            assert_eq!(courtesy.leave(&app(), index, at(second)), Leave::Ask);
            courtesy.heed(&app(), Ok(&valid), &nearly, at(second));
        }
        assert_eq!(
            courtesy.leave(&app(), 3, at(61)),
            Leave::Turn(at(80)),
            "the clock woke it, and its turn is what it was"
        );
        let fine = Telemetry { usage: vec![("call_count", 0.5)], ..Telemetry::default() };
        assert!(courtesy.waits(&app(), 3));
        assert_eq!(courtesy.heed(&app(), Ok(&valid), &fine, at(61)), [3], "nobody waits any longer");
        assert!(!courtesy.waits(&app(), 3));
        for index in [3, 9] {
            assert_eq!(courtesy.leave(&app(), index, at(62)), Leave::Ask);
        }
    }

    #[test]
    fn a_pause_holds_for_the_time_named_and_no_longer_than_a_day() {
        let mut courtesy = Courtesy::default();
        courtesy.heed(&app(), Err(&CheckError::Throttled(at(100))), &Telemetry::default(), at(0));
        assert_eq!(courtesy.leave(&app(), 0, at(99)), Leave::Paused(at(100)));
        assert_eq!(courtesy.leave(&app(), 0, at(100)), Leave::Ask);
        courtesy.heed(&app(), Err(&CheckError::Throttled(at(i64::MAX))), &Telemetry::default(), at(0));
        assert_eq!(courtesy.leave(&app(), 0, at(1)), Leave::Paused(at(86_400)));
    }
}
