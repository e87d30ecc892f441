//! Thousands of tokens for two years, on heaps of events, and every notice counted against the model.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use tokenwatch::domain::alert::NotifyReason::{self, First, Reminded, Repeated, Resolved};
use tokenwatch::domain::finding::{Reason, Severity};
use tokenwatch::domain::token::Policy;

use super::fates::{Absence, Birth, Event, Life, policy, told};
use super::model::{Reply, State, relive};
use super::{DAY, HOUR};

#[test]
fn thousands_of_tokens_for_two_years() {
    let mut tally = Tally::new();
    let mut looks = 0;
    // In cohorts, so that the histories of all need not be remembered at once.
    for cohort in 0..TOKENS / COHORT {
        looks += live(cohort * COHORT..(cohort + 1) * COHORT, &mut tally);
    }
    assert!(looks > TOKENS * 365, "each token was looked at every other day at least: {looks}");
    let count = |why: NotifyReason, reason: Reason| -> usize {
        tally.iter().filter(|((w, r, _), _)| (*w, *r) == (why, reason)).map(|(_, n)| n).sum()
    };
    let all = |why| Reason::ALL.into_iter().map(|reason| count(why, reason)).sum::<usize>();
    assert!(
        all(First) > 30 * TOKENS && all(Resolved) > 20 * TOKENS && all(Repeated) > 10 * TOKENS,
        "a busy world: {tally:?}"
    );
    assert!(all(Resolved) <= all(First));
    assert!(all(Reminded) > 0, "silences end: {tally:?}");
    for reason in [Reason::Expired, Reason::Revoked, Reason::Unreadable, Reason::Blind, Reason::ScopeMissing] {
        assert!(count(Resolved, reason) > 0, "{reason:?} was never resolved");
    }
}

type Tally = BTreeMap<(NotifyReason, Reason, Severity), usize>;

fn live(names: std::ops::Range<usize>, tally: &mut Tally) -> usize {
    let mut lives: Vec<Life> = names.map(life).collect();
    let mut heard: Vec<Vec<_>> = lives.iter().map(|_| Vec::new()).collect();
    let mut heap: BinaryHeap<_> = lives.iter().enumerate().map(|(n, life)| Reverse((life.due(), n))).collect();
    while let Some(Reverse((now, n))) = heap.pop() {
        if now >= YEARS {
            break;
        }
        if let Some(look) = lives[n].advance() {
            heard[n].extend(look.notices.iter().map(told));
        }
        heap.push(Reverse((lives[n].due(), n)));
    }
    for (life, heard) in lives.iter().zip(&mut heard) {
        let mut due: Vec<_> = relive(&policy(life), &life.history).into_iter().flat_map(|page| page.told).collect();
        due.sort_unstable();
        heard.sort_unstable();
        assert_eq!(*heard, due, "{}", life.spec.id);
        for told in heard {
            *tally.entry((told.why, told.reason, told.severity)).or_default() += 1;
        }
    }
    lives.iter().map(|life| life.history.len()).sum()
}

/// A life of its own for each number: most are renewed in time, some too late, and now and then something befalls them.
fn life(number: usize) -> Life {
    let mut dice = Dice(u64::try_from(number).expect("a small number") + 1);
    let days = dice.pick(&[5, 30, 60, 60, 60, 90]);
    let birth = Birth {
        age: 0,
        lasts: (!dice.one_in(20)).then_some(days * DAY),
        window: dice.one_in(3).then_some(90 * DAY),
        tells_issue: !dice.one_in(4),
        tells_end: !dice.one_in(40),
    };
    let mut script = Vec::new();
    let mut now = 0;
    while now < YEARS {
        // Renewed somewhere between two thirds of its life and a tenth too late.
        let renewed = now + days * DAY * dice.between(66, 110) / 100;
        while now < renewed {
            now += dice.between(5, 60) * DAY + dice.between(0, DAY);
            script.push((now.min(renewed), mishap(&mut dice)));
        }
        now = renewed;
        script.push((now, Event::Reissue(birth)));
    }
    script.sort_by_key(|(at, _)| *at);
    Life::new(&format!("token-{number}"), Policy::default(), 2 * DAY, birth, script)
}

fn mishap(dice: &mut Dice) -> Event {
    let hours = |dice: &mut Dice, most| dice.between(1, most) * HOUR;
    match dice.between(0, 19) {
        0..=3 => Event::Trouble(Absence::Line, hours(dice, 60)),
        4 => Event::Trouble(Absence::Pause(hours(dice, 3)), hours(dice, 12)),
        5 => Event::Trouble(Absence::PutOff(hours(dice, 3)), hours(dice, 48)),
        6 => Event::Trouble(Absence::App, hours(dice, 30)),
        7 => Event::Trouble(Absence::NoSecret, hours(dice, 30)),
        8 => Event::Kill(dice.pick(&[State::Revoked, State::Gibberish, State::Inactive])),
        9 => Event::Glitch(1, State::Revoked),
        10 => Event::Glitch(1, State::RanOut),
        11 => Event::Clock(dice.between(-5, 5) * HOUR),
        12 => Event::Stop(hours(dice, 100)),
        13 => Event::Poor(dice.one_in(2)),
        14 => Event::Prolong(dice.between(-3, 20) * DAY),
        15 => Event::Say(Reply::Acknowledge),
        16 => Event::Say(Reply::Silence { lasts: hours(dice, 400), even_critical: dice.one_in(3) }),
        17 => Event::Say(Reply::Unsilence),
        _ => Event::Look,
    }
}

/// A linear congruential generator (Knuth's MMIX constants): the same fates for ever, on every machine.
struct Dice(u64);

impl Dice {
    fn between(&mut self, low: i64, high: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // The low bits of such a generator have short cycles.
        let high_bits = i64::try_from(self.0 >> 33).expect("31 bits");
        low + high_bits % (high - low)
    }

    fn one_in(&mut self, n: i64) -> bool {
        self.between(0, n) == 0
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        let last = i64::try_from(list.len()).expect("a short list");
        list[usize::try_from(self.between(0, last)).expect("not negative")]
    }
}

/// Fewer where nothing is optimised: there a step takes ten times as long.
const TOKENS: usize = if cfg!(debug_assertions) { 800 } else { 2_000 };
const COHORT: usize = 200;
const YEARS: i64 = 2 * 365 * DAY;
