//! Random lives: whatever befalls a secret, its provider, the network and our clock, the promises hold.
//!
//! The seed is fixed, so a run can be repeated. Most properties are stated over the history alone or over what was true (`model`'s
//! truths); one compares every single notice and verdict with the model.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::{Union, ValueTree};
use proptest::test_runner::{RngSeed, TestRunner};
use tokenwatch::domain::alert::Notice;
use tokenwatch::domain::alert::NotifyReason::{self, First, Reminded, Repeated, Resolved};
use tokenwatch::domain::finding::{Reason, Severity, Thread};
use tokenwatch::domain::time::Span;
use tokenwatch::domain::token::{Ladder, Lead, Policy};
use tokenwatch::domain::verdict::Verdict;

use super::fates::{Absence, Birth, Event, Life, Look, again, told};
use super::model::{Ends, Page, Reply, Seen, State, Story, Told, Trouble, Truth, relive, story_of};
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
            prop_assert_eq!(look.taken, page.taken, "look {}: {:?}", n, life.history[n]);
        }
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_rung_is_lost(fate in fates(ALL)) {
        let lived = fate.lived();
        for (n, page) in lived.pages.iter().enumerate() {
            for story in [Story::End, Story::Window] {
                let Some(truth) = page.truth(story) else { continue };
                // A silence keeps it until it ends; what comes and goes was told as something worse.
                let kept = page.silence.is_some_and(|silence| silence.hides(truth));
                let heard = lived.heard_until(n, story).any(|(j, notice, then)| {
                    let same = lived.pages[j].generation == page.generation && notice.deadline == truth.deadline;
                    then.depth >= truth.depth && (same || lived.is_of_open(n, j, truth.reason.thread()))
                });
                prop_assert!(heard || kept, "look {}: {:?}", n, truth);
            }
        }
    }

    #[test]
    fn the_end_is_always_told(fate in fates(ALL)) {
        let lived = fate.lived();
        for (n, page) in lived.pages.iter().enumerate() {
            for truth in page.truths.iter().filter(|truth| truth.last_call) {
                // Whatever comes and goes, and in spite of a silence, unless it was asked for by name.
                let kept = page.silence.is_some_and(|silence| silence.hides(*truth));
                let heard = lived.heard_until(n, story_of(truth.reason)).any(|(j, notice, then)| {
                    let same = lived.pages[j].generation == page.generation && notice.deadline == truth.deadline;
                    same && then.depth >= truth.depth
                });
                prop_assert!(heard || kept, "look {}: {:?}", n, truth);
            }
        }
    }

    // promises 7, 33
    #[test]
    fn nothing_is_told_twice(fate in fates(ALL)) {
        let Lived { looks, pages, .. } = fate.lived();
        let mut keys = BTreeSet::new();
        let mut incidents: BTreeMap<String, (i64, Severity)> = BTreeMap::new();
        for (look, page) in looks.iter().zip(&pages) {
            for notice in &look.notices {
                prop_assert!(keys.insert(notice.key.clone()), "{} was used before", notice.key);
                if matches!(notice.why, Reminded | Repeated | Resolved) {
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
            for notice in look.notices.iter().map(told).filter(|notice| !matches!(notice.why, Reminded | Resolved)) {
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
    fn resolved_is_told_exactly_once_of_what_was_told(fate in fates(ALL)) {
        let Lived { looks, pages, .. } = fate.lived();
        let mut open: Vec<(Thread, u32)> = Vec::new();
        let mut heard_of: BTreeSet<String> = BTreeSet::new();
        for (look, page) in looks.iter().zip(&pages) {
            let resolved: Vec<_> = look.notices.iter().filter(|notice| notice.why == Resolved).collect();
            let mut matched = 0;
            for ended @ (thread, number) in open.iter().filter(|incident| !look.open.contains(incident)) {
                let told = resolved.iter().filter(|notice| is_of(notice, *ended)).count();
                let another = look.open.iter().any(|(other, n)| other == thread && n != number);
                prop_assert!(told == 1 || told == 0 && (page.dead() || another || !heard_of.iter().any(|key| key.starts_with(&name(*ended)))),
                    "{:?} ended, told {} times", ended, told);
                matched += told;
            }
            prop_assert_eq!(matched, resolved.len(), "only what was open is resolved");
            for notice in resolved {
                prop_assert!(heard_of.contains(notice.key.incident()), "nobody knows of {}", notice.key);
            }
            let told = look.notices.iter().filter(|notice| !matches!(notice.why, Reminded | Resolved));
            heard_of.extend(told.map(|notice| notice.key.incident().to_owned()));
            open.clone_from(&look.open);
        }
    }

    #[test]
    fn what_is_acknowledged_is_not_repeated_and_says_so(fate in fates(ALL)) {
        let Lived { looks, life, .. } = fate.lived();
        let mut known: BTreeSet<(Thread, u32)> = BTreeSet::new();
        let mut before: &[(Thread, u32)] = &[];
        for (look, moment) in looks.iter().zip(&life.history) {
            if moment.seen == Seen::Said(Reply::Acknowledge) {
                prop_assert_eq!(look.taken, !before.is_empty(), "there is something to know of, or there is not");
                known.extend(before);
            }
            for notice in &look.notices {
                let is_known = known.iter().any(|incident| is_of(notice, *incident));
                prop_assert_eq!(notice.acknowledged.is_some(), is_known, "{}", notice.key);
                prop_assert!(!is_known || notice.why != Repeated, "{}", notice.key);
            }
            before = &look.open;
        }
    }

    #[test]
    fn a_silence_holds_back_all_but_the_end_and_the_word_that_it_is_over(fate in fates(ALL)) {
        let Lived { looks, pages, .. } = fate.lived();
        for (look, page) in looks.iter().zip(&pages) {
            let Some(silence) = page.silence else { continue };
            for notice in look.notices.iter().filter(|notice| !matches!(notice.why, Reminded | Resolved)) {
                let truth = page.truth(story_of(notice.reason)).expect("a notice of something true");
                prop_assert!(notice.why != Repeated && !silence.hides(truth), "{} during {:?}", notice.key, silence);
            }
        }
    }

    #[test]
    fn a_silence_is_reminded_of_once_and_only_while_something_is_open(fate in fates(ALL)) {
        let Lived { looks, pages, life } = fate.lived();
        let mut reminded = true;
        for ((look, page), moment) in looks.iter().zip(&pages).zip(&life.history) {
            if look.taken && matches!(moment.seen, Seen::Said(Reply::Silence { .. })) {
                reminded = false;
            }
            let due = page.silence.is_some_and(|silence| look.at >= silence.reminds(&fate.policy)) && !reminded;
            let reminders = look.notices.iter().filter(|notice| notice.why == Reminded);
            let of: BTreeSet<&str> = reminders.clone().map(|notice| notice.key.incident()).collect();
            prop_assert_eq!(of.len(), reminders.count(), "an incident is named once");
            prop_assert_eq!(of.len(), if due { look.open.len() } else { 0 }, "at {}", look.at);
            reminded |= due;
        }
    }

    #[test]
    fn a_look_is_due_when_a_silence_ends_and_one_rung_before(fate in fates(ALL)) {
        let Lived { looks, pages, .. } = fate.lived();
        for (look, page) in looks.iter().zip(&pages) {
            let Some(silence) = page.silence else { continue };
            prop_assert!(look.wake <= silence.until(), "{} s late", look.wake - silence.until());
            let reminds = silence.reminds(&fate.policy);
            prop_assert!(look.at >= reminds || look.wake <= reminds, "{} s late", look.wake - reminds);
        }
    }

    #[test]
    fn a_look_is_due_when_what_comes_and_goes_may_be_calm(fate in fates(Taste { clocks: false, ..ALL })) {
        let Lived { looks, pages, .. } = fate.lived();
        // Of each: since when what is found has not changed, and what it is about.
        let mut changed = BTreeMap::new();
        for (look, page) in looks.iter().zip(&pages) {
            for incident in &look.damped {
                let truth = page.truths.iter().find(|truth| truth.reason.thread() == incident.0);
                let found = truth.map(|truth| (page.generation, truth.deadline));
                let (since, before) = *changed.entry(*incident).or_insert((look.at, found));
                let since = if before == found { since } else { look.at };
                changed.insert(*incident, (since, found));
                // An hour after the change it is calm, and what is left of it waits for evidence.
                prop_assert!(look.at >= since + HOUR || look.wake <= since + HOUR, "{:?} at {}", incident, look.at);
            }
        }
    }

    #[test]
    fn the_loop_never_spins(fate in fates(ALL)) {
        let Lived { looks, .. } = fate.lived();
        for three in looks.windows(4) {
            let hasty = three.windows(2).all(|pair| pair[0].wake == pair[0].at + 1 && pair[1].at == pair[0].wake);
            let idle = three[1..].iter().all(|look| look.notices.is_empty());
            prop_assert!(!(hasty && idle), "three looks for nothing, at {}", three[0].at);
        }
    }

    /// In 24 hours three incidents of a thread begin as any other does. Each further one begins an hour after the one before at the earliest,
    /// or is the end of another secret or date; the first of them may follow an undamped one at once. Each is told once and resolved
    /// once at most, whatever comes and goes in between.
    #[test]
    fn what_comes_and_goes_is_told_a_bounded_number_of_times(fate in fates(Taste { clocks: false, ..ALL })) {
        let Lived { looks, pages, .. } = fate.lived();
        let mut began: BTreeMap<Thread, Vec<Beginning>> = BTreeMap::new();
        let mut before: &[(Thread, u32)] = &[];
        for (look, page) in looks.iter().zip(&pages) {
            for incident @ (thread, number) in look.open.iter().filter(|incident| !before.contains(incident)) {
                let of_thread = began.entry(*thread).or_default();
                let of_late = of_thread.iter().filter(|other| look.at - other.at < DAY).count();
                let damped = look.damped.contains(incident);
                prop_assert_eq!(damped, of_late >= 3, "{:?} {} at {}", thread, number, look.at);
                let is_end = page.truths.iter().any(|truth| truth.reason.thread() == *thread && truth.last_call);
                if let Some(last) = of_thread.last()
                    && last.damped
                    && !is_end
                {
                    prop_assert!(look.at - last.at >= HOUR, "{:?} {} at {}", thread, number, look.at);
                }
                of_thread.push(Beginning { at: look.at, damped, is_end });
            }
            before = &look.open;
            for (thread, of_thread) in &began {
                let today = |at: i64| look.at - at < DAY;
                let ends = of_thread.iter().filter(|one| today(one.at) && one.damped && one.is_end).count();
                let begun = of_thread.iter().filter(|one| today(one.at)).count();
                prop_assert!(begun <= 3 + 3 + 24 + ends, "{:?} began {} times", thread, begun);
                let once = looks.iter().filter(|other| other.at <= look.at && today(other.at)).flat_map(|other| &other.notices)
                    .filter(|notice| matches!(notice.why, First | Resolved) && notice.reason.thread() == *thread).count();
                // One that began the day before may be told, and another resolved.
                prop_assert!(once <= 2 * begun + 2, "{:?} was told and resolved {} times", thread, once);
            }
        }
    }

    #[test]
    fn never_resolved_while_the_token_is_dead_or_unknown(fate in fates(ALL)) {
        let Lived { looks, life, .. } = fate.lived();
        let mut damped: &[(Thread, u32)] = &[];
        for (look, moment) in looks.iter().zip(&life.history) {
            let came_and_went = std::mem::replace(&mut damped, &look.damped);
            for notice in look.notices.iter().filter(|notice| notice.why == Resolved) {
                if matches!(notice.reason, Reason::Blind | Reason::SourceUnreadable) {
                    continue;
                }
                prop_assert!(!matches!(look.judgement.verdict, Verdict::Expired | Verdict::Invalid));
                // What comes and goes ends by the clock, long after the answer that it ends by.
                if came_and_went.iter().any(|incident| is_of(notice, *incident)) {
                    continue;
                }
                prop_assert!(look.judgement.verdict != Verdict::Unverified);
                let works = matches!(moment.seen, Seen::Answer(_, says) if says.state == State::Works);
                prop_assert!(works, "{} on {:?}", notice.key, moment);
            }
        }
    }

    #[test]
    fn doubt_never_hides_a_known_date(fate in fates(Taste { terse: false, deaths: false, ..ALL })) {
        let Lived { looks, life, .. } = fate.lived();
        for (n, moment) in life.history.iter().enumerate() {
            let secret = match moment.seen {
                Seen::Answer(..) => continue,
                Seen::Trouble(secret, _) => Some(secret),
                Seen::NoSecret | Seen::PutOff(_) | Seen::Said(_) => None,
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
                Seen::Trouble(..) | Seen::NoSecret | Seen::PutOff(_) | Seen::Said(_) => None,
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
                let kept = page.silence.is_some_and(|silence| silence.hides(*truth));
                prop_assert!(heard || kept, "look {}: {:?}", n, truth);
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
                // An answer changes nothing about the next check.
                Seen::Said(_) => continue,
            };
            prop_assert!(look.wake > look.at, "{:?}", moment);
            prop_assert!(look.wake <= latest, "{} s late: {:?}", look.wake - latest, moment);
        }
    }

    #[test]
    fn a_clock_moved_back_resends_nothing(
        // A silence and the calm end by the clock, wherever it goes; here only rungs and endings are at stake.
        fate in fates(Taste { terse: false, answers: false, flaps: false, ..ALL }),
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
        if !last.damped.is_empty() {
            return Ok(());
        }
        let mut status = life.status.clone();
        for shown in jumps.iter().flat_map(|jump| [last.at - jump, last.at - jump / 2, last.at]) {
            let step = again(&life, &status, shown, moment.seen);
            prop_assert!(step.notices.is_empty(), "{} s before: {:?}", last.at - shown, step.notices);
            status = step.status;
        }
        prop_assert_eq!(status.ledger.incidents.len(), life.status.ledger.incidents.len(), "and ends nothing");
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
            prop_assert_eq!(&step.status.ledger.incidents, &status.ledger.incidents);
            status = step.status;
        }
    }

    #[test]
    fn repeats_are_critical_and_no_more_often_than_asked(fate in fates(Taste { clocks: false, ..ALL })) {
        let Lived { looks, .. } = fate.lived();
        let repeat = fate.policy.repeat.as_seconds();
        let mut heard: BTreeMap<String, i64> = BTreeMap::new();
        // A reminder is about the silence: repeats do not count from it.
        for notice in looks.iter().flat_map(|look| &look.notices).filter(|notice| notice.why != Reminded) {
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
    let (mut seen, mut damped) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..2 * CASES {
        let fate = fates(ALL).new_tree(&mut runner).expect("a fate").current();
        let looks = fate.lived().looks;
        seen.extend(looks.iter().flat_map(|look| &look.notices).map(|notice| (notice.reason, notice.why)));
        damped.extend(looks.iter().flat_map(|look| &look.damped).map(|(thread, _)| *thread));
    }
    for reason in Reason::ALL {
        // Objects and numbers are judged in `findings`, the watcher in `watcher`, renewals in `renewals`; the rest of an object's life is that of permissions.
        let reached = seen.iter().filter(|(other, _)| *other == reason).count();
        let elsewhere = [Reason::TargetMissing, Reason::Digest, Reason::Test, Reason::Renewed];
        let threads = [Thread::Renewal, Thread::Number, Thread::Webhooks];
        let of_others = Reason::OF_WATCHER.contains(&reason) || threads.contains(&reason.thread());
        let judged_elsewhere = elsewhere.contains(&reason) || of_others;
        assert!(reached > 0 || judged_elsewhere, "{reason:?} never comes up");
    }
    assert!(damped.len() > 6, "too little comes and goes: {damped:?}");
    for why in NotifyReason::ALL {
        assert!(seen.iter().any(|(_, other)| *other == why), "{why:?} never comes up");
    }
}

/// When an incident began, whether it was damped, and whether it was the end of a token.
struct Beginning {
    at: i64,
    damped: bool,
    is_end: bool,
}

/// What the keys of an incident begin with.
fn name((thread, number): (Thread, u32)) -> String {
    format!("token/life/{}.{number}.", thread.as_str())
}

fn is_of(notice: &Notice, incident: (Thread, u32)) -> bool {
    notice.key.as_str().starts_with(&name(incident))
}

/// What befalls a slot, from the start to the horizon.
#[derive(Clone, Debug)]
pub struct Fate {
    policy: Policy,
    period: i64,
    birth: Birth,
    script: Vec<(i64, Event)>,
    pub horizon: i64,
    pub limit: usize,
}

struct Lived {
    life: Life,
    looks: Vec<Look>,
    pages: Vec<Page>,
}

impl Lived {
    /// What was told of a story up to that look, beside reminders and endings: at which look, and what was true then.
    fn heard_until(&self, n: usize, story: Story) -> impl Iterator<Item = (usize, Told, Truth)> {
        (0..=n).flat_map(move |j| {
            let notices = self.looks[j].notices.iter().map(told);
            let news = notices.filter(move |notice| !matches!(notice.why, Reminded | Resolved));
            let of_story = news.filter(move |notice| story_of(notice.reason) == story);
            of_story.filter_map(move |notice| Some((j, notice, self.pages[j].truth(story)?)))
        })
    }

    /// Whether the incident of that thread that was open at look `j` is still open at look `n`.
    fn is_of_open(&self, n: usize, j: usize, thread: Thread) -> bool {
        let of = |n: usize| self.looks[n].open.iter().find(|(other, _)| *other == thread);
        of(n).is_some() && of(n) == of(j)
    }
}

impl Fate {
    pub fn life(&self, name: &str) -> Life {
        Life::new(name, self.policy.clone(), self.period, self.birth, self.script.clone())
    }

    fn lived(&self) -> Lived {
        let mut life = self.life("life");
        let looks = life.live(self.horizon, self.limit);
        let pages = relive(&self.policy, &life.history);
        Lived { life, looks, pages }
    }
}

/// What may be part of a life.
#[expect(clippy::struct_excessive_bools, reason = "each is a matter of taste, and none excludes another")]
#[derive(Clone, Copy)]
pub struct Taste {
    /// Our clock jumps.
    pub clocks: bool,
    /// The provider leaves dates out.
    pub terse: bool,
    /// Secrets die early, or seem to.
    pub deaths: bool,
    /// People answer what they are told.
    pub answers: bool,
    /// Things come and go, so quickly that it is damped.
    pub flaps: bool,
}

pub const ALL: Taste = Taste { clocks: true, terse: true, deaths: true, answers: true, flaps: true };

/// Lives of hours, of days and of months: of each the same shape, so that the looks at a life are some hundreds at most.
pub fn fates(taste: Taste) -> impl Strategy<Value = Fate> {
    let scales = [(10 * MINUTE, HOUR), (3 * HOUR, DAY), (12 * HOUR, 8 * DAY)];
    select(scales.to_vec()).prop_flat_map(move |(period, unit)| {
        let gaps = prop_oneof![1..unit / 4, unit / 2..3 * unit];
        let once = (gaps, events(unit, taste)).prop_map(|once| vec![once]);
        let often = prop_oneof![8 => once, u32::from(taste.flaps) => flapping(unit, taste)];
        let script = prop::collection::vec(often, 0..14);
        (policies(), period / 2..=2 * period, births(unit, taste), script).prop_map(
            move |(policy, period, birth, gaps)| {
                let mut now = 0;
                let script = gaps.into_iter().flatten().map(|(gap, event)| {
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

/// Two events take turns, again and again, each soon after the other and mostly looked at.
fn flapping(unit: i64, taste: Taste) -> impl Strategy<Value = Vec<(i64, Event)>> {
    let absences = select(vec![Absence::Foreign, Absence::NoSecret, Absence::Line]);
    let deaths = select(vec![State::Revoked, State::Gibberish]);
    let pair = prop_oneof![
        2 => (births(unit, taste), births(unit, taste)).prop_map(|(a, b)| (Event::Reissue(a), Event::Reissue(b))),
        1 => (1..unit).prop_map(|by| (Event::Prolong(by), Event::Prolong(-by))),
        1 => Just((Event::Poor(true), Event::Poor(false))),
        1 => Just((Event::Glitch(1, State::RanOut), Event::Look)),
        1 => deaths.prop_map(|state| (Event::Kill(state), Event::Revive)),
        1 => (absences, 1..HOUR).prop_map(|(absence, lasts)| (Event::Trouble(absence, lasts), Event::Look)),
        1 => (events(unit, taste), events(unit, taste)),
    ];
    let gaps = prop_oneof![3 => 1..10 * MINUTE, 1 => 1..70 * MINUTE, 1 => 1..5 * HOUR];
    (pair, 2_usize..9, gaps, 1..MINUTE).prop_map(|((one, other), times, gap, wait)| {
        let turn = [(gap, one), (wait, Event::Look), (wait, Event::Look), (gap, other), (wait, Event::Look)];
        turn.repeat(times)
    })
}

fn replies(unit: i64) -> impl Strategy<Value = Reply> {
    let lengths = prop_oneof![8 => MINUTE..3 * unit, 1 => Just(MINUTE), 1 => 1..MINUTE, 1 => 80 * DAY..100 * DAY];
    prop_oneof![
        2 => Just(Reply::Acknowledge),
        4 => (lengths, any::<bool>()).prop_map(|(lasts, even_critical)| Reply::Silence { lasts, even_critical }),
        1 => Just(Reply::Unsilence),
    ]
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
    if taste.answers {
        kinds.push((5, replies(unit).prop_map(Event::Say).boxed()));
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
pub fn config() -> ProptestConfig {
    ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(0x0070_6b65_6e77),
        ..ProptestConfig::default()
    }
}

const CASES: u32 = 96;
