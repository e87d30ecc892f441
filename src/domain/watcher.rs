//! What can be wrong with the watcher itself: whether it is heard, whether it keeps up, whether its clock and its disk are good.
//!
//! Signs are gathered elsewhere; here they become findings, by rules as plain as those for tokens.

use super::finding::{Detail, Finding, Reason, Severity, Stage};
use super::ledger::Ledger;
use super::time::{Span, Timestamp};
use super::verdict::finding;

/// What was seen of the watcher at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Signs {
    /// Ways to people over which nothing gets out, the longest first.
    pub stuck: Vec<Stuck>,
    /// Undelivered notices that were tried and should have left long ago.
    pub overdue: u64,
    /// Our clock minus that of the provider that it agrees with best, where any was heard since the last look.
    pub clock_offset: Option<Span>,
    /// The folder of the state.
    pub disk: Option<Disk>,
    /// The version of the provider's API.
    pub version: Option<Version>,
}

/// The version of the provider's API that is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Version {
    /// Which.
    pub asked: Box<str>,
    /// The one that really runs, where it is another.
    pub served: Option<Box<str>>,
    /// When it can be used no more, where that is known.
    pub ends: Option<Timestamp>,
}

impl Version {
    /// What is wrong with it. A version that has ended does not fail: another one runs in its place, without a word (reference §12).
    pub fn fault(&self, now: Timestamp) -> Option<String> {
        let Self { asked, served, ends } = self;
        match (served, ends) {
            (Some(served), _) => Some(format!("{asked} is asked for, and {served} runs")),
            (None, Some(ends)) if *ends <= now => Some(format!("{asked} has ended: {ends}")),
            (None, Some(ends)) if ends.since(now) < VERSION_NOTICE => Some(format!("{asked} ends soon: {ends}")),
            (None, Some(_) | None) => None,
        }
    }
}

/// A way to people over which nothing gets out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stuck {
    /// Which: `mail to oncall`.
    pub way: Box<str>,
    /// Since when the oldest notice is tried in vain.
    pub since: Timestamp,
    /// How the last try failed, redacted.
    pub failure: Box<str>,
}

/// Room on a disk, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Disk {
    /// Still free for us.
    pub free: u64,
    /// In all.
    pub total: u64,
}

/// What is known of the watcher, and what people were told.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WatcherStatus {
    /// What is open, and how people answered.
    pub ledger: Ledger,
    /// Looks in a row at which the clock was off.
    pub clock_off: u32,
    /// How far it was off when that was last heard.
    pub clock_offset: Option<Span>,
    /// When the last summary was made.
    pub last_digest: Option<Timestamp>,
}

/// What these signs say.
pub fn findings(status: &WatcherStatus, signs: &Signs, now: Timestamp) -> Vec<Finding> {
    let mut findings = Vec::new();
    let stuck: Vec<&Stuck> = signs.stuck.iter().filter(|stuck| now.since(stuck.since) >= UNDELIVERABLE_AFTER).collect();
    if let Some(longest) = stuck.first() {
        let more = match stuck.len() - 1 {
            0 => String::new(),
            n => format!(", and {n} more ways"),
        };
        let text = format!("{} since {}{more}: {}", longest.way, longest.since, longest.failure);
        findings.push(finding(Reason::Undeliverable, Severity::Critical, Detail::Text(text.into())));
    }
    if signs.overdue >= BACKLOG {
        let text = format!("{} notices should have left more than {OVERDUE_AFTER} ago", signs.overdue);
        findings.push(finding(Reason::OutboxGrowing, Severity::Warning, Detail::Text(text.into())));
    }
    if let Some(offset) = status.clock_offset.filter(|_| status.clock_off >= CLOCK_LOOKS) {
        let way = if offset > Span::ZERO { "ahead of" } else { "behind" };
        let text = format!("{} {way} the provider's", offset.abs());
        findings.push(finding(Reason::ClockOff, Severity::Warning, Detail::Text(text.into())));
    }
    findings.extend(signs.disk.and_then(disk));
    if let Some(text) = signs.version.as_ref().and_then(|version| version.fault(now)) {
        findings.push(finding(Reason::VersionRetiring, Severity::Warning, Detail::Text(text.into())));
    }
    findings
}

/// Whether these signs, whatever was known before, give no reason for any finding.
pub fn is_well(signs: &Signs, now: Timestamp) -> bool {
    signs.stuck.is_empty()
        && signs.overdue < BACKLOG
        && !is_off(signs.clock_offset)
        && signs.disk.is_none_or(|room| disk(room).is_none())
        && signs.version.as_ref().is_none_or(|version| version.fault(now).is_none())
}

/// Whether a clock is off by more than it may.
pub fn is_off(offset: Option<Span>) -> bool {
    offset.is_some_and(|offset| offset.abs() > CLOCK_TOLERANCE)
}

fn disk(disk: Disk) -> Option<Finding> {
    let text = || Detail::Text(format!("{} MiB free of {} MiB", disk.free / MIB, disk.total / MIB).into());
    if disk.free < DISK_CRITICAL {
        let critical = finding(Reason::StateNearlyFull, Severity::Critical, text());
        Some(Finding { stage: Stage(2), ..critical })
    } else if disk.free < DISK_WARNING && disk.free < disk.total / 10 {
        Some(finding(Reason::StateNearlyFull, Severity::Warning, text()))
    } else {
        None
    }
}

/// Notices that cannot be delivered for this long are a finding (issue of every monitor: a dead relay that nobody notices).
pub const UNDELIVERABLE_AFTER: Span = Span::hours(1);
/// A notice that may leave and has not after this long is overdue.
pub const OVERDUE_AFTER: Span = Span::minutes(10);
/// So many overdue notices are a pile.
const BACKLOG: u64 = 100;
/// `appsecret_time` is good for five minutes (reference §5), and dates are told to the minute.
const CLOCK_TOLERANCE: Span = Span::minutes(1);
/// One strange `Date` header is a stranger's fault.
const CLOCK_LOOKS: u32 = 2;
/// Another version has to be tried first, and people need time for that.
const VERSION_NOTICE: Span = Span::days(90);
const MIB: u64 = 1 << 20;
/// Below this the store may fail at any commit.
const DISK_CRITICAL: u64 = 32 * MIB;
/// Below this, and below a tenth of the disk, it is time to act.
const DISK_WARNING: u64 = 512 * MIB;
