//! What can be wrong with a token or an app: codes, severities, and how far it has come.
//!
//! Words only; which of them hold is decided by the rules in `verdict`, and who hears of it in `alert`.

use super::inspection::{AppFault, Cause};
use super::number::Obstacle;
use super::summary::Summary;
use super::time::{Span, Timestamp};

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Severity {
    /// Good to know.
    Info,
    /// Act within days.
    Warning,
    /// Act now.
    Critical,
}

impl Severity {
    /// Every severity, mildest first.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// The severity of that name.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.as_str() == word)
    }
}

/// What is wrong, as a stable code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Reason {
    /// The token's end is near.
    Expiring,
    /// The token's end has passed.
    Expired,
    /// The token was killed early.
    Revoked,
    /// The provider cannot make sense of the token.
    Unreadable,
    /// The data-access window closes soon.
    DataAccessExpiring,
    /// The data-access window is closed.
    DataAccessExpired,
    /// It works, and no deadline can be learned.
    ExpiryUnknown,
    /// A required permission is not granted.
    ScopeMissing,
    /// A required object is not covered.
    TargetMissing,
    /// The app is at fault, or the token belongs to another app.
    AppFault,
    /// No authoritative answer for too long.
    Blind,
    /// The secret cannot be read.
    SourceUnreadable,
    /// WhatsApp sends nothing from the number.
    NumberBlocked,
    /// WhatsApp sends only some of the messages from the number.
    NumberLimited,
    /// What arrives at the number no longer reaches the app.
    WebhooksMissing,
    /// A renewal was tried in vain, or taken back.
    RenewalFailed,
    /// A renewal is long due, and nothing was tried.
    RenewalOverdue,
    /// The provider renewed it, and its end did not move.
    RenewalWithoutGain,
    /// About the watcher: notices cannot be delivered for long.
    Undeliverable,
    /// About the watcher: notices pile up.
    OutboxGrowing,
    /// About the watcher: its clock is off.
    ClockOff,
    /// About the watcher: the folder of its state is nearly full.
    StateNearlyFull,
    /// About the watcher: the API version that it asks for ends soon, or has.
    VersionRetiring,
    /// Nothing is wrong: the regular summary, which proves the way to people.
    Digest,
    /// Nothing is wrong: somebody tries the way to people.
    Test,
    /// Nothing is wrong: the token was renewed or replaced.
    Renewed,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 26] = [
        Self::Expiring,
        Self::Expired,
        Self::Revoked,
        Self::Unreadable,
        Self::DataAccessExpiring,
        Self::DataAccessExpired,
        Self::ExpiryUnknown,
        Self::ScopeMissing,
        Self::TargetMissing,
        Self::AppFault,
        Self::Blind,
        Self::SourceUnreadable,
        Self::NumberBlocked,
        Self::NumberLimited,
        Self::WebhooksMissing,
        Self::RenewalFailed,
        Self::RenewalOverdue,
        Self::RenewalWithoutGain,
        Self::Undeliverable,
        Self::OutboxGrowing,
        Self::ClockOff,
        Self::StateNearlyFull,
        Self::VersionRetiring,
        Self::Digest,
        Self::Test,
        Self::Renewed,
    ];

    /// What can be wrong with the watcher itself.
    pub const OF_WATCHER: [Self; 5] =
        [Self::Undeliverable, Self::OutboxGrowing, Self::ClockOff, Self::StateNearlyFull, Self::VersionRetiring];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expiring => "expiring",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Unreadable => "unreadable",
            Self::DataAccessExpiring => "data_access_expiring",
            Self::DataAccessExpired => "data_access_expired",
            Self::ExpiryUnknown => "expiry_unknown",
            Self::ScopeMissing => "scope_missing",
            Self::TargetMissing => "target_missing",
            Self::AppFault => "app_fault",
            Self::Blind => "blind",
            Self::SourceUnreadable => "source_unreadable",
            Self::NumberBlocked => "number_blocked",
            Self::NumberLimited => "number_limited",
            Self::WebhooksMissing => "webhooks_missing",
            Self::RenewalFailed => "renewal_failed",
            Self::RenewalOverdue => "renewal_overdue",
            Self::RenewalWithoutGain => "renewal_without_gain",
            Self::Undeliverable => "undeliverable",
            Self::OutboxGrowing => "outbox_growing",
            Self::ClockOff => "clock_off",
            Self::StateNearlyFull => "state_nearly_full",
            Self::VersionRetiring => "version_retiring",
            Self::Digest => "digest",
            Self::Test => "test",
            Self::Renewed => "renewed",
        }
    }

    /// The reason of that name.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }

    /// The thread an incident of this reason belongs to: `expired` continues `expiring` (contract §10.6).
    pub const fn thread(self) -> Thread {
        match self {
            Self::Expiring | Self::Expired => Thread::Expiry,
            Self::DataAccessExpiring | Self::DataAccessExpired => Thread::DataAccess,
            Self::Revoked => Thread::Revoked,
            Self::Unreadable => Thread::Unreadable,
            Self::ExpiryUnknown => Thread::ExpiryUnknown,
            Self::ScopeMissing => Thread::ScopeMissing,
            Self::TargetMissing => Thread::TargetMissing,
            Self::AppFault => Thread::AppFault,
            Self::Blind => Thread::Blind,
            Self::SourceUnreadable => Thread::SourceUnreadable,
            Self::NumberBlocked | Self::NumberLimited => Thread::Number,
            Self::WebhooksMissing => Thread::Webhooks,
            Self::RenewalFailed | Self::RenewalOverdue | Self::RenewalWithoutGain => Thread::Renewal,
            Self::Undeliverable => Thread::Undeliverable,
            Self::OutboxGrowing => Thread::OutboxGrowing,
            Self::ClockOff => Thread::ClockOff,
            Self::StateNearlyFull => Thread::StateNearlyFull,
            Self::VersionRetiring => Thread::Version,
            Self::Digest => Thread::Digest,
            Self::Test => Thread::Test,
            Self::Renewed => Thread::Renewed,
        }
    }

    /// Whether it says that something is wrong. The digest, a test and a renewal say that all is in order, as far as they came.
    pub const fn is_a_finding(self) -> bool {
        !matches!(self, Self::Digest | Self::Test | Self::Renewed)
    }
}

/// What an incident is about, while its finding may change: one incident, one mail thread.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Thread {
    /// The token's own end.
    Expiry,
    /// The end of the data-access window.
    DataAccess,
    /// Killed early.
    Revoked,
    /// Makes no sense to the provider.
    Unreadable,
    /// No deadline can be learned.
    ExpiryUnknown,
    /// Permissions.
    ScopeMissing,
    /// Objects.
    TargetMissing,
    /// The app.
    AppFault,
    /// No answers.
    Blind,
    /// No secret.
    SourceUnreadable,
    /// The WhatsApp number.
    Number,
    /// What arrives at it.
    Webhooks,
    /// Renewals in vain.
    Renewal,
    /// The watcher is not heard.
    Undeliverable,
    /// The watcher's notices pile up.
    OutboxGrowing,
    /// The watcher's clock.
    ClockOff,
    /// The watcher's disk.
    StateNearlyFull,
    /// The provider's API version.
    Version,
    /// The regular summary.
    Digest,
    /// A test.
    Test,
    /// A renewal that succeeded.
    Renewed,
}

impl Thread {
    /// A stable code, part of every Message-ID.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expiry => "expiry",
            Self::DataAccess => "data-access",
            Self::Revoked => "revoked",
            Self::Unreadable => "unreadable",
            Self::ExpiryUnknown => "expiry-unknown",
            Self::ScopeMissing => "scope",
            Self::TargetMissing => "target",
            Self::AppFault => "app",
            Self::Blind => "blind",
            Self::SourceUnreadable => "source",
            Self::Number => "number",
            Self::Webhooks => "webhooks",
            Self::Renewal => "renewal",
            Self::Undeliverable => "undeliverable",
            Self::OutboxGrowing => "outbox",
            Self::ClockOff => "clock",
            Self::StateNearlyFull => "disk",
            Self::Version => "version",
            Self::Digest => "digest",
            Self::Test => "test",
            Self::Renewed => "renewed",
        }
    }

    /// Whether incidents of this thread climb a ladder towards a date. Such a rung is told once per date, whatever the clock does.
    pub const fn has_ladder(self) -> bool {
        matches!(self, Self::Expiry | Self::DataAccess)
    }

    /// Whether incidents of this thread end with the secret they are about.
    pub const fn is_about_the_secret(self) -> bool {
        match self {
            Self::Expiry
            | Self::DataAccess
            | Self::Revoked
            | Self::Unreadable
            | Self::ExpiryUnknown
            | Self::ScopeMissing
            | Self::TargetMissing
            | Self::Renewal => true,
            Self::AppFault
            | Self::Blind
            | Self::SourceUnreadable
            | Self::Number
            | Self::Webhooks
            | Self::Undeliverable
            | Self::OutboxGrowing
            | Self::ClockOff
            | Self::StateNearlyFull
            | Self::Version
            | Self::Digest
            | Self::Test
            | Self::Renewed => false,
        }
    }
}

/// How far an incident has come; only ever compared within one thread.
///
/// A rung is the seconds that its lead counts down, below zero, so that a nearer rung is a higher stage and a ladder that is edited keeps
/// its meaning; what has no ladder counts its levels from 1; the end is above them all.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Stage(pub i64);

impl Stage {
    /// The deadline has passed.
    pub const ENDED: Self = Self(i64::MAX);

    /// This far before the deadline.
    pub const fn rung(lead: Span) -> Self {
        Self(-lead.as_seconds())
    }
}

/// `r3d` for a rung, `r2` for a level, `end` for the end: a part of every key.
impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            i64::MAX => f.write_str("end"),
            level @ 0.. => write!(f, "r{level}"),
            lead => write!(f, "r{}", Span::seconds(-lead).terse()),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Its code.
    pub reason: Reason,
    /// How bad.
    pub severity: Severity,
    /// How far it has come.
    pub stage: Stage,
    /// The date it is about.
    pub deadline: Option<Timestamp>,
    /// When this finding will get worse by the clock alone.
    pub next: Option<Timestamp>,
    /// Whether a silence cannot hide it: the token has ended, or stands on the last rung before its end.
    pub last_call: bool,
    /// What exactly.
    pub detail: Detail,
}

/// The particulars of a finding.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Detail {
    /// Nothing more to say.
    None,
    /// Why the token was killed.
    Cause(Cause),
    /// Which permissions or objects are missing.
    Missing(Vec<Box<str>>),
    /// What is wrong with the app.
    App(AppFault, Box<str>),
    /// Text from outside, redacted.
    Text(Box<str>),
    /// What keeps a number from sending, the worst first.
    Obstacles(Box<[Obstacle]>),
    /// The regular summary.
    Summary(Box<Summary>),
}
