//! When each token is due, and since when it is under way.
//!
//! `due` is the truth, one moment a token; the heap only orders it, and its entries that no longer agree with the truth are dropped when they
//! surface. It decides nothing: moments come from the core.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crate::domain::time::Timestamp;

/// The agenda of the tokens of one configuration, by index.
#[derive(Debug, Default)]
pub struct Agenda {
    due: Vec<Option<Timestamp>>,
    heap: BinaryHeap<Reverse<(Timestamp, usize)>>,
    under_way: BTreeMap<usize, Timestamp>,
}

impl Agenda {
    /// Plans a token, instead of whatever was planned for it.
    pub fn push(&mut self, at: Timestamp, index: usize) {
        if self.due.len() <= index {
            self.due.resize(index + 1, None);
        }
        self.due[index] = Some(at);
        self.heap.push(Reverse((at, index)));
        self.under_way.remove(&index);
    }

    /// Makes sure that a planned token is due by `at`; one that is under way plans itself when it comes back, and one that waits for a bell
    /// goes on waiting.
    pub fn bring_forward(&mut self, at: Timestamp, index: usize) {
        if self.due.get(index).copied().flatten().is_some_and(|due| due > at && due.unix() != i64::MAX) {
            self.push(at, index);
        }
    }

    /// Whether a token was taken and has not come back.
    pub fn is_under_way(&self, index: usize) -> bool {
        self.under_way.contains_key(&index)
    }

    /// Takes the token that has been due the longest; it is under way from now on.
    pub fn pop_due(&mut self, now: Timestamp) -> Option<usize> {
        let due = self.next().filter(|at| *at <= now)?;
        let Reverse((_, index)) = self.heap.pop()?;
        self.due[index] = None;
        self.under_way.insert(index, due);
        Some(index)
    }

    /// The earliest moment at which something is due.
    pub fn next(&mut self) -> Option<Timestamp> {
        while let Some(Reverse((at, index))) = self.heap.peek() {
            if self.due[*index] == Some(*at) {
                return Some(*at);
            }
            self.heap.pop();
        }
        None
    }

    /// Whether everything that was due at that moment, or under way then, has been seen to.
    pub fn has_seen_to(&mut self, moment: Timestamp) -> bool {
        self.next().is_none_or(|at| at > moment) && self.under_way.values().all(|since| *since > moment)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(seconds)
    }

    #[test]
    fn the_longest_due_comes_first_and_replanning_replaces() {
        let mut agenda = Agenda::default();
        for (moment, index) in [(30, 0), (10, 1), (20, 2)] {
            agenda.push(at(moment), index);
        }
        agenda.push(at(40), 1);
        assert_eq!(agenda.pop_due(at(35)), Some(2));
        assert_eq!(agenda.pop_due(at(35)), Some(0));
        assert_eq!(agenda.pop_due(at(35)), None);
        assert_eq!(agenda.next(), Some(at(40)));
        agenda.bring_forward(at(36), 1);
        agenda.bring_forward(at(36), 2);
        assert_eq!(agenda.next(), Some(at(36)));
    }

    #[test]
    fn a_pass_is_over_when_all_that_was_due_was_seen_to_however_busy_it_is() {
        let mut agenda = Agenda::default();
        agenda.push(at(10), 0);
        agenda.push(at(10), 1);
        assert!(!agenda.has_seen_to(at(10)));
        assert_eq!(agenda.pop_due(at(10)), Some(0));
        assert_eq!(agenda.pop_due(at(11)), Some(1));
        assert!(!agenda.has_seen_to(at(10)));
        agenda.push(at(20), 0);
        assert!(!agenda.has_seen_to(at(10)), "token 1 was due then and is still under way");
        agenda.push(at(21), 1);
        assert_eq!(agenda.pop_due(at(22)), Some(0));
        assert!(agenda.has_seen_to(at(10)), "what is under way now was due later");
    }
}
