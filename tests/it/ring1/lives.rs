//! Random lives: whatever befalls a secret, its provider, the network and our clock, the promises hold.
//!
//! The seed is fixed, so a run can be repeated. Most properties are stated over the history alone or over what was true (`model`'s
//! truths); one compares every single notice and verdict with the model.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::{Union, ValueTree};
use proptest::test_runner::{RngSeed, TestRunner};
use tokenwatch::domain::alert::NotifyReason::{self, Repeated, Resolved};
use tokenwatch::domain::finding::{Reason, Severity, Thread};
use tokenwatch::domain::time::Span;
use tokenwatch::domain::token::{Ladder, Lead, Policy};
use tokenwatch::domain::verdict::Verdict;

use super::fates::{Absence, Birth, Event, Life, Look, again, told};
use super::model::{Ends, Page, Seen, State, Story, Trouble, relive, story_of};
use super::{DAY, HOUR, MINUTE, days};

proptest! {
    #![proptest_config(ProptestConfig { cases: 4 * CASES, ..config() })]

    /// All of them at once: every notice of every look, and every verdict.
    #[test]
    fn what_is_told_is_what_the_model_tells(fate in fates(ALL)) {
        let Lived { looks, pages, life } = fate.lived();
        for (n, (look, page)) in looks.iter().zip(&pages).enumerate() {
            let mut heard: Vec<_> = look.notices.iter().map(told).collect();
            let mut due = page.told.clone();
            heard.sort_unstable();
            due.sort_unstable();
            prop_assert_eq!(heard, due, "look {}: {:?}", n, life.history[n]);
            prop_assert_eq!(look.judgement.verdict, page.verdict, "look {}: {:?}", n, life.history[n]);
        }
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_rung_is_lost(fate in fates(ALL)) {
        let Lived { looks, pages, .. } = fate.lived();
        for (n, page) in pages.iter().enumerate() {
            for story in [Story::End, Story::Window] {
                let Some(truth) = page.truth(story) else { continue };
                let heard = (0..=n).any(|j| {
                    let as_deep = pages[j].truth(story).is_some_and(|then| then.depth >= truth.depth);
                    as_deep && pages[j].generation == page.generation && looks[j].notices.iter().map(told).any(|notice| {
                        story_of(notice.reason) == story && notice.deadline == truth.deadline && notice.why != Resolved
                    })
                });
                prop_assert!(heard, "look {}: {:?}", n, truth);
            }
        }
    }

    #[test]
    fn the_end_is_always_told(fate in fates(ALL)) {
        let Lived { looks, pages, .. } = fate.lived();
        for (n, page) in pages.iter().enumerate() {
            for reason in [Reason::Expired, Reason::DataAccessExpired] {
                let Some(truth) = page.truths.iter().find(|truth| truth.reason == reason) else { continue };
                let heard = (0..=n).any(|j| pages[j].generation == page.generation && looks[j].notices.iter().map(told)
                    .any(|notice| notice.reason == reason && notice.deadline == truth.deadline));
                prop_assert!(heard, "look {}: {:?}", n, truth);
            }
        }
    }

    #[test]
    fn nothing_is_told_twice(fate in fates(ALL)) {
        let Lived { looks, pages, .. } = fate.lived();
        let mut keys = BTreeSet::new();
        let mut incidents: BTreeMap<String, (i64, Severity)> = BTreeMap::new();
        for (look, page) in looks.iter().zip(&pages) {
            for notice in &look.notices {
                prop_assert!(keys.insert(notice.key.clone()), "{} was used before", notice.key);
                if matches!(notice.why, Repeated | Resolved) {
                    continue;
                }
                let depth = page.truth(story_of(notice.reason)).expect("a notice of something true").depth;
                let now = (depth, notice.severity);
                let incident = notice.key.incident().to_owned();
                if let Some(before) = incidents.insert(incident, now) {
                    prop_assert!(now.0 > before.0 || now.1 > before.1, "{}: {:?} after {:?}", notice.key, now, before);
                }
            }
        }
    }

    #[test]
    fn after_an_outage_only_the_most_urgent_rung_is_told(fate in fates(ALL)) {
        let Lived { looks, pages, .. } = fate.lived();
        for (look, page) in looks.iter().zip(&pages) {
            let mut stories = Vec::new();
            for notice in look.notices.iter().map(told).filter(|notice| notice.why != Resolved) {
                let story = story_of(notice.reason);
                prop_assert!(!stories.contains(&story), "two notices of one thing in one look: {:?}", notice);
                stories.push(story);
                let truth = page.truth(story).expect("a notice of something true");
                let most_urgent = (truth.reason, truth.severity, truth.deadline);
                prop_assert_eq!((notice.reason, notice.severity, notice.deadline), most_urgent);
            }
        }
    }

    #[test]
    fn resolved_is_told_exactly_once(fate in fates(ALL)) {
        let Lived { looks, pages, .. } = fate.lived();
        let mut open: Vec<(Thread, u32)> = Vec::new();
        for (look, page) in looks.iter().zip(&pages) {
            let resolved: Vec<_> = look.notices.iter().filter(|notice| notice.why == Resolved).collect();
            let mut matched = 0;
            for ended @ (thread, number) in open.iter().filter(|incident| !look.open.contains(incident)) {
                let name = format!("token/life/{}.{number}.", thread.as_str());
                let told = resolved.iter().filter(|notice| notice.key.as_str().starts_with(&name)).count();
                let another = look.open.iter().any(|(other, n)| other == thread && n != number);
                prop_assert!(told == 1 || told == 0 && (page.dead() || another), "{:?} ended, told {} times", ended, told);
                matched += told;
            }
            prop_assert_eq!(matched, resolved.len(), "only what was open is resolved");
            open.clone_from(&look.open);
        }
    }

    #[test]
    fn never_resolved_while_the_token_is_dead_or_unknown(fate in fates(ALL)) {
        let Lived { looks, life, .. } = fate.lived();
        for (look, moment) in looks.iter().zip(&life.history) {
            for notice in look.notices.iter().filter(|notice| notice.why == Resolved) {
                if matches!(notice.reason, Reason::Blind | Reason::SourceUnreadable) {
                    continue;
                }
                prop_assert!(!matches!(look.judgement.verdict, Verdict::Expired | Verdict::Invalid | Verdict::Unverified));
                let works = matches!(moment.seen, Seen::Answer(_, says) if says.state == State::Works);
                prop_assert!(works, "{} on {:?}", notice.key, moment);
            }
        }
    }

    #[test]
    fn doubt_never_hides_a_known_date(fate in fates(Taste { clocks: true, terse: false, deaths: false })) {
        let Lived { looks, life, .. } = fate.lived();
        for (n, moment) in life.history.iter().enumerate() {
            let secret = match moment.seen {
                Seen::Answer(..) => continue,
                Seen::Trouble(secret, _) => Some(secret),
                Seen::NoSecret | Seen::PutOff(_) => None,
            };
            let known = life.history[..n].iter().rev().find_map(|earlier| match earlier.seen {
                Seen::Answer(about, says) => Some((about, says)),
                _ => None,
            });
            // A secret that was seen after the last answer has no known date yet.
            let newest = life.history[..=n].iter().rev().find_map(|earlier| match earlier.seen {
                Seen::Answer(secret, _) | Seen::Trouble(secret, _) => Some(secret),
                _ => None,
            });
            let Some((about, says)) = known else { continue };
            if Some(about) != secret.or(newest) || Some(about) != newest {
                continue;
            }
            if let (State::Works, Ends::At(end)) = (says.state, says.ends) {
                let verdict = looks[n].judgement.verdict;
                if end <= moment.at {
                    prop_assert_eq!(verdict, Verdict::Expired);
                } else if looks[n].judgement.find(Reason::Expiring).is_some() {
                    prop_assert!(matches!(verdict, Verdict::Expiring | Verdict::Expired), "{:?}", verdict);
                }
                // The last rung of every ladder is at least one second; a day is within the ladder of any longer life here.
                if end - moment.at <= 1 {
                    prop_assert!(matches!(verdict, Verdict::Expiring | Verdict::Expired), "{:?}", verdict);
                }
            }
        }
    }

    #[test]
    fn bad_news_is_confirmed(fate in fates(ALL)) {
        let Lived { looks, life, .. } = fate.lived();
        let needed = usize::try_from(fate.policy.confirm_invalid).expect("a small number");
        for (n, look) in looks.iter().enumerate() {
            let bad_news = |notice: &&_| matches!(told(notice).reason, Reason::Revoked | Reason::Unreadable);
            if !look.notices.iter().filter(bad_news).any(|notice| notice.why == NotifyReason::First) {
                continue;
            }
            let row = life.history[..=n].iter().rev().filter_map(|moment| match moment.seen {
                Seen::Answer(secret, says) => Some((secret, says.state)),
                Seen::Trouble(..) | Seen::NoSecret | Seen::PutOff(_) => None,
            });
            let row: Vec<_> = row.take(needed).collect();
            let bad = |state| matches!(state, State::Revoked | State::Inactive | State::Gibberish);
            prop_assert!(row.len() == needed && row.iter().all(|(secret, state)| bad(*state) && *secret == row[0].0), "{:?}", row);
        }
    }

    #[test]
    fn severity_is_never_understated(fate in fates(ALL)) {
        let Lived { looks, pages, .. } = fate.lived();
        for (n, page) in pages.iter().enumerate() {
            for truth in &page.truths {
                let heard = looks[..=n].iter().flat_map(|look| &look.notices).any(|notice| {
                    story_of(notice.reason) == story_of(truth.reason) && notice.severity >= truth.severity
                });
                prop_assert!(heard, "look {}: {:?}", n, truth);
                let found = looks[n].judgement.find(truth.reason).map(|finding| finding.severity);
                prop_assert!(found >= Some(truth.severity), "look {}: {:?} found as {:?}", n, truth, found);
            }
        }
    }

    #[test]
    fn a_look_is_always_due_within_a_period_or_the_pause_asked_for(fate in fates(ALL)) {
        let Lived { looks, life, .. } = fate.lived();
        for (look, moment) in looks.iter().zip(&life.history) {
            // Tokens that were sent away together come back within a minute of each other.
            let latest = match moment.seen {
                Seen::PutOff(until) | Seen::Trouble(_, Trouble::Pause(until)) => until.max(look.at) + MINUTE,
                Seen::Answer(..) | Seen::Trouble(..) | Seen::NoSecret => look.at + fate.period,
            };
            prop_assert!(look.wake > look.at, "{:?}", moment);
            prop_assert!(look.wake <= latest, "{} s late: {:?}", look.wake - latest, moment);
        }
    }

    #[test]
    fn a_clock_moved_back_resends_nothing(
        fate in fates(Taste { terse: false, ..ALL }),
        limit in 1_usize..300,
        jumps in prop::collection::vec(1_i64..200 * DAY, 1..6),
    ) {
        // Repeats are promised by the clock as it is; here only what is told once is at stake.
        let fate = Fate { policy: Policy { repeat: Span::ZERO, ..fate.policy }, limit, ..fate };
        let Lived { looks, life, .. } = fate.lived();
        let (Some(last), Some(moment)) = (looks.last(), life.history.last()) else { return Ok(()) };
        if !matches!(moment.seen, Seen::Answer(_, says) if matches!(says.state, State::Works | State::RanOut)) {
            return Ok(());
        }
        let mut status = life.status.clone();
        for shown in jumps.iter().flat_map(|jump| [last.at - jump, last.at - jump / 2, last.at]) {
            let step = again(&life, &status, shown, moment.seen);
            prop_assert!(step.notices.is_empty(), "{} s before: {:?}", last.at - shown, step.notices);
            status = step.status;
        }
        prop_assert_eq!(status.incidents.len(), life.status.incidents.len(), "and ends nothing");
    }

    #[test]
    fn a_status_without_news_is_silent(fate in fates(ALL), limit in 1_usize..300) {
        let Lived { looks, life, .. } = Fate { limit, ..fate }.lived();
        let (Some(last), Some(moment)) = (looks.last(), life.history.last()) else { return Ok(()) };
        let mut status = life.status.clone();
        // Bad news is believed after some answers: looking again is news until then.
        for _ in 0..life.spec.policy.confirm_invalid {
            status = again(&life, &status, last.at, moment.seen).status;
        }
        for _ in 0..3 {
            let step = again(&life, &status, last.at, moment.seen);
            prop_assert!(step.notices.is_empty(), "{:?}", step.notices);
            prop_assert_eq!(&step.status.incidents, &status.incidents);
            status = step.status;
        }
    }

    #[test]
    fn repeats_are_critical_and_no_more_often_than_asked(fate in fates(Taste { clocks: false, ..ALL })) {
        let Lived { looks, .. } = fate.lived();
        let repeat = fate.policy.repeat.as_seconds();
        let mut heard: BTreeMap<String, i64> = BTreeMap::new();
        for notice in looks.iter().flat_map(|look| &look.notices) {
            let now = told(notice).at;
            let before = heard.insert(notice.key.incident().to_owned(), now);
            if notice.why == Repeated {
                prop_assert_eq!(notice.severity, Severity::Critical);
                prop_assert!(repeat > 0, "repeats are turned off");
                prop_assert!(before.is_some_and(|before| now - before >= repeat), "{} after {:?}", notice.key, before);
            }
        }
    }
}

/// A random life that never comes upon something proves nothing about it.
#[test]
fn random_lives_come_upon_everything() {
    let mut runner = TestRunner::new(config());
    let mut seen = BTreeSet::new();
    for _ in 0..2 * CASES {
        let fate = fates(ALL).new_tree(&mut runner).expect("a fate").current();
        seen.extend(fate.lived().looks.iter().flat_map(|look| &look.notices).map(|notice| (notice.reason, notice.why)));
    }
    for reason in Reason::ALL {
        // Objects are judged in `findings`; the rest of their life is that of permissions.
        let reached = seen.iter().filter(|(other, _)| *other == reason).count();
        assert!(reached > 0 || reason == Reason::TargetMissing, "{reason:?} never comes up");
    }
    for why in NotifyReason::ALL {
        assert!(seen.iter().any(|(_, other)| *other == why), "{why:?} never comes up");
    }
}

/// What befalls a slot, from the start to the horizon.
#[derive(Clone, Debug)]
struct Fate {
    policy: Policy,
    period: i64,
    birth: Birth,
    script: Vec<(i64, Event)>,
    horizon: i64,
    limit: usize,
}

struct Lived {
    life: Life,
    looks: Vec<Look>,
    pages: Vec<Page>,
}

impl Fate {
    fn lived(&self) -> Lived {
        let mut life = Life::new("life", self.policy.clone(), self.period, self.birth, self.script.clone());
        let looks = life.live(self.horizon, self.limit);
        let pages = relive(&self.policy, &life.history);
        Lived { life, looks, pages }
    }
}

/// What may be part of a life.
#[derive(Clone, Copy)]
struct Taste {
    /// Our clock jumps.
    clocks: bool,
    /// The provider leaves dates out.
    terse: bool,
    /// Secrets die early, or seem to.
    deaths: bool,
}

const ALL: Taste = Taste { clocks: true, terse: true, deaths: true };

/// Lives of hours, of days and of months: of each the same shape, so that the looks at a life are some hundreds at most.
fn fates(taste: Taste) -> impl Strategy<Value = Fate> {
    let scales = [(10 * MINUTE, HOUR), (3 * HOUR, DAY), (12 * HOUR, 8 * DAY)];
    select(scales.to_vec()).prop_flat_map(move |(period, unit)| {
        let gaps = prop_oneof![1..unit / 4, unit / 2..3 * unit];
        let script = prop::collection::vec((gaps, events(unit, taste)), 0..14);
        (policies(), period / 2..=2 * period, births(unit, taste), script).prop_map(
            move |(policy, period, birth, gaps)| {
                let mut now = 0;
                let script = gaps.into_iter().map(|(gap, event)| {
                    now += gap;
                    (now, event)
                });
                Fate { policy, period, birth, script: script.collect(), horizon: 20 * unit, limit: 400 }
            },
        )
    })
}

fn policies() -> impl Strategy<Value = Policy> {
    let shares = |list: &[u32]| Ladder::new(list.iter().map(|n| Lead::Share(*n)).collect()).expect("a rung at least");
    let mixed = Ladder::new(vec![Lead::Share(3_300), Lead::Before(Span::days(5)), Lead::Before(Span::hours(12))]);
    let ladders = vec![
        Ladder::default(),
        days(&[7, 3, 1]),
        days(&[30]),
        days(&[1]),
        days(&[10, 5]),
        days(&[40, 30, 20, 10, 8, 6, 4, 2]),
        shares(&[3_300, 1_000, 500]),
        shares(&[5_000, 2_500, 1_000, 100]),
        mixed.expect("three rungs"),
    ];
    let repeats = vec![Span::ZERO, Span::hours(1), Span::hours(24)];
    let patience = vec![Span::hours(1), Span::hours(6), Span::days(2)];
    (select(ladders), select(repeats), select(patience), 1_u32..=3).prop_map(
        |(ladder, repeat, blind_after, confirm_invalid)| Policy { ladder, repeat, blind_after, confirm_invalid },
    )
}

fn births(unit: i64, taste: Taste) -> impl Strategy<Value = Birth> {
    let lasts = prop_oneof![1 => Just(None), 6 => (unit / 3..10 * unit).prop_map(Some)];
    let window = prop_oneof![2 => Just(None), 1 => (unit..10 * unit).prop_map(Some)];
    let tells = move |often| prop::bool::weighted(often).prop_map(move |tells| tells || !taste.terse);
    let age = prop_oneof![2 => Just(0), 1 => 0..4 * unit];
    (age, lasts, window, tells(0.6), tells(0.9)).prop_map(|(age, lasts, window, tells_issue, tells_end)| Birth {
        age,
        lasts,
        window,
        tells_issue,
        tells_end,
    })
}

fn events(unit: i64, taste: Taste) -> impl Strategy<Value = Event> {
    let pauses = 1..unit;
    let absences = prop_oneof![
        2 => Just(Absence::Line),
        1 => pauses.clone().prop_map(Absence::Pause),
        1 => pauses.prop_map(Absence::PutOff),
        1 => Just(Absence::App),
        1 => Just(Absence::Foreign),
        1 => Just(Absence::NoSecret),
    ];
    let deaths = select(vec![State::Revoked, State::Inactive, State::Gibberish]);
    let glitches = select(vec![State::Revoked, State::Gibberish, State::RanOut]);
    let jumps = prop_oneof![-60_i64..60, -2 * HOUR..2 * HOUR, -2 * unit..2 * unit, Just(400 * DAY), Just(-400 * DAY)];
    let mut kinds = vec![
        (3, births(unit, taste).prop_map(Event::Reissue).boxed()),
        (2, prop_oneof![-unit / 4..unit / 4, -unit..4 * unit].prop_map(Event::Prolong).boxed()),
        (4, (absences, 1..2 * unit).prop_map(|(absence, lasts)| Event::Trouble(absence, lasts)).boxed()),
        (2, (1..3 * unit).prop_map(Event::Stop).boxed()),
        (1, any::<bool>().prop_map(Event::Poor).boxed()),
        (2, Just(Event::Look).boxed()),
    ];
    if taste.deaths {
        kinds.push((2, deaths.prop_map(Event::Kill).boxed()));
        kinds.push((1, Just(Event::Revive).boxed()));
        kinds.push((2, (1_u8..4, glitches).prop_map(|(count, state)| Event::Glitch(count, state)).boxed()));
    }
    if taste.clocks {
        kinds.push((3, jumps.prop_map(Event::Clock).boxed()));
    }
    if taste.terse {
        kinds.push((1, any::<bool>().prop_map(Event::Terse).boxed()));
    }
    Union::new_weighted(kinds)
}

/// The same lives every time, and no file that remembers failures: a failure stays until it is mended.
fn config() -> ProptestConfig {
    ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(0x0070_6b65_6e77),
        ..ProptestConfig::default()
    }
}

const CASES: u32 = 96;
