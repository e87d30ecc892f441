//! From notices to messages: folded, paced, held back at night, never lost (promises 35 and 45 to 47 of `docs/alerts.md`).
//!
//! The loop that does it belongs to the daemon. Here stands a naive one for one receiver and one channel, which fails at random: whatever
//! it asks the core for, the promises hold of what leaves.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tokenwatch::domain::alert::Notice;
use tokenwatch::domain::digest::{Bundle, FLOOD_WINDOW, PACE_MEMORY, REFILL, paced, send_at};
use tokenwatch::domain::finding::Severity::Critical;
use tokenwatch::domain::time::{Span, Timestamp};
use tokenwatch::zone::Zone;

use super::lives::{ALL, Fate, Taste, config, fates};
use super::{DAY, HOUR, MINUTE, at};

proptest! {
    #![proptest_config(config())]

    // promises 35, 45 to 47
    #[test]
    fn nothing_is_lost_and_nobody_is_flooded(
        crowd in prop::collection::vec(fates(Taste { clocks: false, ..ALL }), 1..12),
        trouble in troubles(),
        busy in troubles(),
        night in prop::option::of((0_u16..1440, 0_u16..1440)),
    ) {
        let mut notices: Vec<Notice> = crowd.iter().enumerate().flat_map(|(n, fate)| told(n, fate)).collect();
        notices.sort_by_key(|notice| notice.at);
        let zone = Zone::parse("Europe/Berlin").expect("a zone");
        let office = Office { zone, night: night.filter(|(from, to)| from != to), trouble, busy };
        let sent = office.deliver(notices.clone());

        // 45: everything arrives, and once.
        let mut made: Vec<&str> = notices.iter().map(|notice| notice.key.as_str()).collect();
        let mut arrived: Vec<&str> = sent.iter().flat_map(|message| message.bundle.keys()).collect();
        made.sort_unstable();
        arrived.sort_unstable();
        prop_assert_eq!(arrived, made);

        // 45: in the order in which it was made; 46: but for what waits for the morning.
        for critical in [true, false] {
            let of_kind = |notice: &&Notice| (notice.severity == Critical) == critical;
            let mut latest = at(0);
            for message in &sent {
                let times = || message.bundle.notices.iter().filter(of_kind).map(|notice| notice.at);
                prop_assert!(times().all(|made| made >= latest), "something was overtaken at {}", message.at);
                latest = times().fold(latest, Timestamp::max);
            }
        }

        // promise 46
        for message in &sent {
            let is_night = office.morning(message.at).is_some();
            let all_critical = message.bundle.notices.iter().all(|notice| notice.severity == Critical);
            prop_assert!(!is_night || all_critical, "somebody was woken at {}", message.at);
        }
        // What is critical waits for the end of a flood and for the pace, by night as by day.
        let longest = FLOOD_WINDOW.as_seconds() + REFILL.as_seconds() + MINUTE;
        for message in &sent {
            for notice in message.bundle.notices.iter().filter(|notice| notice.severity == Critical) {
                let waited = message.at.since(notice.at).as_seconds();
                let hindered = office.trouble.iter().any(|(from, to)| notice.at < *to && message.at >= *from);
                prop_assert!(hindered || waited <= longest, "{} waited {} s", notice.key, waited);
            }
        }

        // 47: six at once, and one more for each five minutes; two of the six are kept for what is critical.
        for (j, last) in sent.iter().enumerate() {
            let critical = last.bundle.notices.iter().any(|notice| notice.severity == Critical);
            for (i, first) in sent[..=j].iter().enumerate().rev().take(PACE_MEMORY) {
                let refilled = last.at.since(first.at).as_seconds() / REFILL.as_seconds();
                let count = i64::try_from(j - i + 1).expect("a small number");
                let most = if critical { 6 } else { 4 };
                prop_assert!(count <= most + refilled, "{} messages until {}", count, last.at);
            }
            let hour = sent[..=j].iter().filter(|message| last.at.since(message.at) < Span::hours(1)).count();
            prop_assert!(hour <= 18, "{} messages within an hour of {}", hour, last.at);
        }
    }
}

/// What a life told, under a name of its own.
fn told(n: usize, fate: &Fate) -> Vec<Notice> {
    let mut life = fate.life(&format!("life-{n}"));
    life.live(fate.horizon, fate.limit).into_iter().flat_map(|look| look.notices).collect()
}

/// Times in which something is out of order, in order of time.
fn troubles() -> impl Strategy<Value = Vec<(Timestamp, Timestamp)>> {
    let gaps = prop_oneof![1..10 * MINUTE, 1..2 * DAY];
    let lengths = prop_oneof![1..2 * MINUTE, 1..9 * HOUR];
    prop::collection::vec((gaps, lengths), 0..12).prop_map(|spans| {
        let mut now = 0;
        let mut placed = Vec::new();
        for (gap, length) in spans {
            placed.push((at(now + gap), at(now + gap + length)));
            now += gap + length;
        }
        placed
    })
}

/// One receiver and one way to reach them.
struct Office {
    zone: Zone,
    /// Minutes after midnight.
    night: Option<(u16, u16)>,
    /// When the channel is out of order.
    trouble: Vec<(Timestamp, Timestamp)>,
    /// When checks are under way.
    busy: Vec<(Timestamp, Timestamp)>,
}

/// What left, and when.
struct Message {
    at: Timestamp,
    bundle: Bundle,
}

impl Office {
    fn morning(&self, now: Timestamp) -> Option<Timestamp> {
        self.night.and_then(|(from, to)| self.zone.quiet_until(from, to, now))
    }

    /// Goes from one moment at which something may change to the next, until nothing waits. `notices` are in order of time.
    fn deliver(&self, notices: Vec<Notice>) -> Vec<Message> {
        let receiver = notices.first().map(|notice| notice.receivers[0].clone());
        let (Some(receiver), Some(mut now)) = (receiver, notices.first().map(|notice| notice.at)) else {
            return Vec::new();
        };
        let mut to_come = notices.into_iter().peekable();
        let mut waiting: Vec<Notice> = Vec::new();
        let mut sent: Vec<Message> = Vec::new();
        let during = |times: &[(Timestamp, Timestamp)], now| {
            times.iter().find(|(from, to)| (*from..*to).contains(&now)).map(|(_, to)| *to)
        };
        loop {
            while let Some(notice) = to_come.next_if(|notice| notice.at <= now) {
                waiting.push(notice);
            }
            let morning = self.morning(now);
            let busy_until = during(&self.busy, now);
            let may_leave = |notice: &&Notice| morning.is_none() || notice.severity == Critical;
            let free = waiting.iter().filter(may_leave);
            let critical = free.clone().any(|notice| notice.severity == Critical);
            let known: Vec<Timestamp> = sent.iter().rev().take(PACE_MEMORY).rev().map(|message| message.at).collect();
            let due = send_at(free.clone(), busy_until.is_some()).map(|at| at.max(paced(&known, critical, now)));
            let mut next = to_come.peek().map(|notice| notice.at);
            let mut or = |at: Option<Timestamp>| next = [next, at].into_iter().flatten().min();
            match due {
                Some(at) if at <= now && during(&self.trouble, now).is_some() => or(Some(now.plus(Span::minutes(1)))),
                Some(at) if at <= now => {
                    sent.extend(
                        Bundle::new(receiver.clone(), free.cloned().collect())
                            .map(|bundle| Message { at: now, bundle }),
                    );
                    waiting.retain(|notice| !may_leave(&notice));
                    or(morning.filter(|_| !waiting.is_empty()));
                }
                due => {
                    or(due);
                    or(busy_until.filter(|_| !waiting.is_empty()));
                    or(morning.filter(|_| !waiting.is_empty()));
                }
            }
            match next {
                Some(at) => now = at,
                None => return sent,
            }
        }
    }
}

/// A night that comes upon nothing proves nothing.
#[test]
fn random_crowds_come_upon_nights_floods_and_the_pace() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::new(config());
    let crowds = prop::collection::vec(fates(Taste { clocks: false, ..ALL }), 8..9);
    let mut reasons = BTreeSet::new();
    let zone = Zone::parse("Europe/Berlin").expect("a zone");
    let office = Office { zone, night: Some((22 * 60, 7 * 60)), trouble: Vec::new(), busy: Vec::new() };
    for _ in 0..12 {
        let crowd = crowds.new_tree(&mut runner).expect("a crowd").current();
        let mut notices: Vec<Notice> = crowd.iter().enumerate().flat_map(|(n, fate)| told(n, fate)).collect();
        notices.sort_by_key(|notice| notice.at);
        for message in office.deliver(notices) {
            let waited = |notice: &Notice| message.at.since(notice.at).as_seconds();
            if message.bundle.notices.iter().any(|notice| waited(notice) > HOUR) {
                reasons.insert("held until the morning");
            }
            if message.bundle.notices.iter().any(|notice| notice.severity == Critical && waited(notice) > MINUTE) {
                reasons.insert("paced");
            }
            if message.bundle.notices.len() > 3 {
                reasons.insert("folded");
            }
            if office.morning(message.at).is_some() {
                reasons.insert("woken by something critical");
            }
        }
    }
    assert_eq!(reasons.len(), 4, "{reasons:?}");
}
