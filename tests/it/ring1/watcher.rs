//! What tokenwatch finds wrong with itself, and how it tells of it (promise 50 of `docs/alerts.md`).

use std::sync::Arc;

use tokenwatch::board::Vitals;
use tokenwatch::domain::alert::NotifyReason::{Escalated, First, Repeated, Resolved};
use tokenwatch::domain::alert::Subject;
use tokenwatch::domain::answer::{Answer, Refused};
use tokenwatch::domain::finding::Reason::{
    ClockOff, Digest, OutboxGrowing, StateNearlyFull, Test, Undeliverable, VersionRetiring,
};
use tokenwatch::domain::finding::Severity::{Critical, Info, Warning};
use tokenwatch::domain::finding::{Detail, Finding};
use tokenwatch::domain::step::{SideStep, WatcherObservation, WatcherSpec, saying, step_watcher};
use tokenwatch::domain::time::Span;
use tokenwatch::domain::token::{Policy, ReceiverName};
use tokenwatch::domain::watcher::{Disk, Signs, Stuck, Version, WatcherStatus, findings, is_off};

use super::{DAY, HOUR, MINUTE, Word, at, signed, words};

fn text(finding: &Finding) -> &str {
    match &finding.detail {
        Detail::Text(text) => text,
        _ => "",
    }
}

fn stuck(way: &str, since: i64) -> Stuck {
    Stuck { way: way.into(), since: at(since), failure: "connection refused".into() }
}

fn disk(free_mib: u64, total_mib: u64) -> Signs {
    let disk = Disk { free: free_mib << 20, total: total_mib << 20 };
    Signs { disk: Some(disk), ..Signs::default() }
}

fn version(served: Option<&str>, ends: Option<i64>) -> Signs {
    let version = Version { asked: "v25.0".into(), served: served.map(Into::into), ends: ends.map(at) };
    Signs { version: Some(version), ..Signs::default() }
}

fn offset(seconds: i64) -> Signs {
    Signs { clock_offset: Some(Span::seconds(seconds)), ..Signs::default() }
}

// promise 50
#[test]
fn every_sign_has_its_measure() {
    let way = |since| Signs { stuck: vec![stuck("mail to oncall", since)], ..Signs::default() };
    let overdue = |overdue| Signs { overdue, ..Signs::default() };
    let rows = [
        ("all is well", Signs::default(), None),
        ("tried in vain for less than an hour", way(1), None),
        ("tried in vain for an hour", way(0), Some((Undeliverable, Critical))),
        ("a clock moved back", way(2 * HOUR), None),
        ("ninety-nine are late", overdue(99), None),
        ("a hundred are late", overdue(100), Some((OutboxGrowing, Warning))),
        ("a minute ahead", offset(60), None),
        ("more than a minute ahead", offset(61), Some((ClockOff, Warning))),
        ("a minute behind", offset(-60), None),
        ("more than a minute behind", offset(-61), Some((ClockOff, Warning))),
        ("half of a small disk", disk(200, 400), None),
        ("512 MiB", disk(512, 100_000), None),
        ("less than 512 MiB and than a tenth", disk(511, 100_000), Some((StateNearlyFull, Warning))),
        ("a tenth", disk(50, 500), None),
        ("less than a tenth", disk(49, 500), Some((StateNearlyFull, Warning))),
        ("32 MiB", disk(32, 100_000), Some((StateNearlyFull, Warning))),
        ("less than 32 MiB, though half is free", disk(31, 62), Some((StateNearlyFull, Critical))),
        ("a version without a known end", version(None, None), None),
        ("a version that ends in ninety days", version(None, Some(90 * DAY + HOUR)), None),
        (
            "a version that ends within ninety days",
            version(None, Some(90 * DAY + HOUR - 1)),
            Some((VersionRetiring, Warning)),
        ),
        ("a version that has ended", version(None, Some(HOUR)), Some((VersionRetiring, Warning))),
        ("another version runs", version(Some("v26.0"), None), Some((VersionRetiring, Warning))),
    ];
    for (what, signs, expected) in rows {
        // As at the second look in a row that shows the same.
        let clock_off = if is_off(signs.clock_offset) { 2 } else { 0 };
        let status = WatcherStatus { clock_off, clock_offset: signs.clock_offset, ..WatcherStatus::default() };
        let found = findings(&status, &signs, at(HOUR));
        let found: Vec<_> = found.iter().map(|finding| (finding.reason, finding.severity)).collect();
        assert_eq!(found, Vec::from_iter(expected), "{what}");
    }
}

// promise 50
#[test]
fn findings_say_what_is_stuck_and_how_much_is_left() {
    let signs = Signs {
        stuck: vec![stuck("mail to oncall", 0), stuck("webhook to boss", 60), stuck("mail to boss", 2 * HOUR)],
        overdue: 250,
        ..disk(20, 1_000)
    };
    let status = |offset| WatcherStatus { clock_off: 2, clock_offset: Some(offset), ..WatcherStatus::default() };
    let found = findings(&status(Span::seconds(-90)), &signs, at(2 * HOUR));
    let texts: Vec<&str> = found.iter().map(text).collect();
    assert!(texts[0].starts_with("mail to oncall since ") && texts[0].contains(", and 1 more way"), "{texts:?}");
    assert!(texts[0].ends_with("connection refused"), "{texts:?}");
    assert!(texts[1].starts_with("250 notices"), "{texts:?}");
    assert!(texts[2].ends_with("behind the provider's") && !texts[2].contains('-'), "{texts:?}");
    assert_eq!(texts[3], "20 MiB free of 1000 MiB");
    let ahead = findings(&status(Span::seconds(90)), &Signs::default(), at(0));
    assert!(text(&ahead[0]).ends_with("ahead of the provider's"), "{ahead:?}");
}

/// tokenwatch under a hand-held clock.
struct Watched {
    spec: WatcherSpec,
    status: WatcherStatus,
}

impl Watched {
    fn new() -> Self {
        let boss = ReceiverName::parse("boss").expect("a good name");
        let spec = WatcherSpec { receivers: Arc::from([boss]), policy: Arc::new(Policy::default()) };
        Self { spec, status: WatcherStatus::default() }
    }

    fn step(&mut self, seconds: i64, seen: WatcherObservation) -> SideStep<WatcherStatus> {
        let step = step_watcher(&self.spec, self.status.clone(), seen, at(seconds));
        self.status = step.status.clone();
        step
    }

    fn tells(&mut self, seconds: i64, signs: Signs) -> Vec<Word> {
        words(&self.step(seconds, WatcherObservation::Seen(signs)).notices)
    }
}

const SILENCE: [Word; 0] = [];

// promise 50
/// Our own wrong clock is wrong for every provider. One of them that is wrong alone is a stranger's trouble.
#[test]
fn the_provider_that_agrees_best_is_believed() {
    let vitals = Vitals::default();
    assert_eq!(vitals.take_clock_offset(), None);
    for (heard, believed) in [(&[600, -2, 61][..], -2), (&[-2, 600], -2), (&[-600, 601], -600), (&[70], 70)] {
        for seconds in heard {
            vitals.clock_is(Span::seconds(*seconds));
        }
        assert_eq!(vitals.take_clock_offset(), Some(Span::seconds(believed)), "{heard:?}");
        assert_eq!(vitals.take_clock_offset(), None, "it is told once");
    }
}

// promise 50
#[test]
fn a_clock_is_off_at_two_looks_in_a_row() {
    let mut watched = Watched::new();
    assert_eq!(watched.tells(0, offset(90)), SILENCE, "one strange date is a stranger's fault");
    assert_eq!(watched.tells(60, offset(0)), SILENCE);
    assert_eq!(watched.tells(120, offset(-90)), SILENCE, "the row was broken");
    assert_eq!(watched.tells(180, Signs::default()), SILENCE, "nothing heard says nothing");
    assert_eq!(watched.tells(240, offset(90)), [(First, ClockOff, Warning)], "off is off, to whatever side");
    assert_eq!(watched.tells(300, offset(-90)), SILENCE);
    assert_eq!(watched.tells(360, Signs::default()), SILENCE, "nobody said that it is right again");
    assert_eq!(watched.tells(420, offset(1)), [(Resolved, ClockOff, Warning)]);
}

// promise 50
#[test]
fn a_disk_that_fills_up_escalates_repeats_and_is_resolved() {
    let mut watched = Watched::new();
    let step = watched.step(0, WatcherObservation::Seen(disk(400, 100_000)));
    assert_eq!(words(&step.notices), [(First, StateNearlyFull, Warning)]);
    assert_eq!(step.notices[0].subject, Subject::Watcher);
    assert!(step.notices[0].key.as_str().starts_with("watcher/tokenwatch/disk.1."), "{}", step.notices[0].key);
    assert_eq!(step.notices[0].receivers, watched.spec.receivers);
    assert_eq!(watched.tells(DAY, disk(300, 100_000)), SILENCE);
    assert_eq!(watched.tells(DAY + 60, disk(10, 100_000)), [(Escalated, StateNearlyFull, Critical)]);
    assert_eq!(watched.tells(DAY + 120, disk(400, 100_000)), SILENCE, "better, and not yet good");
    assert_eq!(watched.tells(2 * DAY + 120, disk(10, 100_000)), [(Repeated, StateNearlyFull, Critical)]);
    assert_eq!(watched.tells(2 * DAY + 180, disk(5_000, 100_000)), [(Resolved, StateNearlyFull, Critical)]);
}

// promises 36 to 39
#[test]
fn the_watcher_is_answered_like_a_token() {
    let mut watched = Watched::new();
    let know = || WatcherObservation::Answered(Answer::Acknowledge(signed()));
    assert_eq!(watched.step(0, know()).refused, Some(Refused::NothingOpen));
    let late = || Signs { stuck: vec![stuck("mail to oncall", -HOUR)], ..Signs::default() };
    assert_eq!(watched.tells(0, late()), [(First, Undeliverable, Critical)]);
    let step = watched.step(60, know());
    assert_eq!((step.refused, step.entries.len(), step.notices.len()), (None, 2, 0));
    assert_eq!(watched.tells(2 * DAY, late()), SILENCE, "acknowledged is not repeated");
    assert_eq!(watched.tells(2 * DAY + 60, Signs::default()), [(Resolved, Undeliverable, Critical)]);

    let quiet = Answer::Silence { signed: signed(), lasts: Span::hours(1), even_critical: false };
    watched.step(3 * DAY, WatcherObservation::Answered(quiet));
    // It is critical, and no end of a token: promise 38 is about tokens.
    assert_eq!(watched.tells(3 * DAY + 60, late()), SILENCE);
    assert_eq!(watched.tells(3 * DAY + HOUR, late()), [(First, Undeliverable, Critical)]);
}

// promises 41, 42
#[test]
fn what_comes_and_goes_of_the_watcher_is_damped_too() {
    let mut watched = Watched::new();
    let full = || disk(400, 100_000);
    let mut told = Vec::new();
    for turn in 0..20 {
        told.extend(watched.tells(turn * 10 * MINUTE, full()));
        told.extend(watched.tells((turn * 10 + 5) * MINUTE, Signs::default()));
    }
    assert_eq!(told.len(), 7, "three times, with their ends, and once for the rest: {told:?}");
    assert_eq!(watched.tells(195 * MINUTE + HOUR, Signs::default()), [(Resolved, StateNearlyFull, Warning)]);
}

// promise 52
#[test]
fn a_word_about_no_finding_opens_nothing_and_has_a_key_of_its_own() {
    let mut watched = Watched::new();
    let to: Arc<[ReceiverName]> = Arc::from([ReceiverName::parse("oncall").expect("a good name")]);
    let say = |reason| WatcherObservation::Saying(saying(reason, Info, Detail::None), Arc::clone(&to));
    let test = watched.step(0, say(Test));
    assert_eq!(words(&test.notices), [(First, Test, Info)]);
    assert_eq!(test.notices[0].receivers, to, "those that were asked for, and nobody else");
    assert_eq!(test.status.last_digest, None);
    let digest = watched.step(0, say(Digest));
    let again = watched.step(0, say(Digest));
    assert_eq!(digest.status.last_digest, Some(at(0)));
    assert_ne!(digest.notices[0].key, again.notices[0].key);
    assert!(again.status.ledger.incidents.is_empty());
    assert_eq!(watched.tells(60, Signs::default()), SILENCE, "nothing to resolve");
    watched.step(-DAY, WatcherObservation::Seen(Signs::default()));
    assert_eq!(watched.status.last_digest, Some(at(-DAY)), "no summary is remembered from a clock that ran ahead");
}
