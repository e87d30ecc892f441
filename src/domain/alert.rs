//! From findings to notices: incidents, and the one rule about when people are told.
//!
//! An incident lives as long as its finding, is told once per rung, and ends with one "resolved". How the incidents of a subject are kept in
//! line with its findings is decided in `ledger`; who reads the notice and by which channel, elsewhere.

use std::fmt;
use std::sync::Arc;

use super::answer::{Signed, Silence};
use super::finding::{Detail, Finding, Reason, Severity, Stage, Thread};
use super::inspection::{Basis, Expiry, TokenKind};
use super::renewal::Ended;
use super::time::{Span, Timestamp};
use super::token::{AppName, ProviderName, ReceiverName, TokenId};

/// What an incident is about: a token, an app for all of its tokens, or the watcher itself.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Subject {
    /// One token slot.
    Token(TokenId),
    /// One app.
    App(AppName),
    /// tokenwatch itself.
    Watcher,
}

impl Subject {
    /// The operator's name for it.
    pub fn name(&self) -> &str {
        match self {
            Self::Token(id) => id.as_str(),
            Self::App(name) => name.as_str(),
            Self::Watcher => WATCHER,
        }
    }
}

/// `token/helpdesk-whatsapp`, `app/helpdesk`: the storage key, and the start of every [`AlertKey`].
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(id) => write!(f, "token/{id}"),
            Self::App(name) => write!(f, "app/{name}"),
            Self::Watcher => write!(f, "watcher/{WATCHER}"),
        }
    }
}

/// Something that is wrong, from the first moment to the last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Incident {
    /// What it is about; the finding may change within it.
    pub thread: Thread,
    /// Its number among the incidents of its subject, from 1. Numbers are never used twice.
    pub number: u32,
    /// Whose token it was when somebody last looked. That outlives the configuration that said so, for who watches alerts knows them by it.
    pub provider: ProviderName,
    /// Which generation of the secret it belongs to.
    pub generation: u32,
    /// When it began.
    pub opened_at: Timestamp,
    /// The finding as it was last told.
    pub reason: Reason,
    /// The worst severity told so far.
    pub severity: Severity,
    /// The farthest stage told so far.
    pub stage: Stage,
    /// The date that the stage counts towards.
    pub deadline: Option<Timestamp>,
    /// When people were last told; `None` while a silence has kept all of it from them.
    pub told_at: Option<Timestamp>,
    /// How often it was repeated at this stage.
    pub repeats: u32,
    /// Who was told of it, so that they hear when it is over.
    pub told: Arc<[ReceiverName]>,
    /// Who said that they know.
    pub acknowledged: Option<Signed>,
    /// It comes and goes, so that only what is worse than before is told.
    pub damped: Option<Damped>,
}

/// How an incident that comes and goes stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damped {
    /// When what is found last came, went or moved.
    pub changed_at: Timestamp,
    /// What was found last: of which secret (0 where that does not matter), and towards which date; `None` is nothing.
    pub seen: Option<(u32, Option<Timestamp>)>,
    /// The provider took back that the token has expired.
    pub withdrawn: bool,
}

/// Why a notice is sent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum NotifyReason {
    /// A new incident.
    First,
    /// The same incident, worse.
    Escalated,
    /// The same incident, as bad, unanswered for long.
    Repeated,
    /// It is over.
    Resolved,
    /// A silence over it ends soon.
    Reminded,
}

impl NotifyReason {
    /// Every reason.
    pub const ALL: [Self; 5] = [Self::First, Self::Escalated, Self::Repeated, Self::Resolved, Self::Reminded];

    /// A stable code.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Escalated => "escalated",
            Self::Repeated => "repeated",
            Self::Resolved => "resolved",
            Self::Reminded => "reminded",
        }
    }
}

/// The identity of a notice: the key of deduplication and of the Message-ID.
///
/// It names the subject, the incident, the generation, the rung and how often that rung was repeated, so one rung can never be
/// sent under two names, and an old generation can never mute a new one. The time at which the incident began sets it apart from one of a
/// slot of the same name that was removed and forgotten: numbers start over there, and the outbox still knows the old keys.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AlertKey(Box<str>);

impl AlertKey {
    /// A key as it was stored.
    pub fn from_stored(text: &str) -> Self {
        Self(text.into())
    }

    /// The text of the key.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The incident this key belongs to: all but its last two parts.
    pub fn incident(&self) -> &str {
        let mut ends = self.0.rmatch_indices('/').map(|(at, _)| at);
        ends.nth(1).map_or(&*self.0, |at| &self.0[..at])
    }
}

impl fmt::Display for AlertKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A message to people, before it is written: what happened, to what, how bad, and what comes next. It is complete in itself, so
/// that it can be delivered hours later, or after a restart, and still say what was true when it was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// Its identity.
    pub key: AlertKey,
    /// What it is about.
    pub subject: Subject,
    /// Who issued the token.
    pub provider: ProviderName,
    /// The app concerned.
    pub app: Option<AppName>,
    /// Why it is sent.
    pub why: NotifyReason,
    /// What is wrong, or was.
    pub reason: Reason,
    /// How bad it is, or was.
    pub severity: Severity,
    /// The particulars.
    pub detail: Detail,
    /// The date it is about.
    pub deadline: Option<Timestamp>,
    /// When the incident began.
    pub since: Timestamp,
    /// When this notice was made; relative times in it count from here.
    pub at: Timestamp,
    /// When people will hear of it next, if nothing changes.
    pub next: Option<Timestamp>,
    /// What was known of the token.
    pub facts: NoticeFacts,
    /// Who said that they know.
    pub acknowledged: Option<Signed>,
    /// The silence that ends soon, in a reminder.
    pub silence: Option<Silence>,
    /// It comes and goes, so often within a day; from now on only what is worse than before is told.
    pub flaps: Option<u32>,
    /// Who is told.
    pub receivers: Arc<[ReceiverName]>,
}

/// The facts that a reader of a notice needs to believe it and to act on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NoticeFacts {
    /// What sort of token it is.
    pub kind: TokenKind,
    /// When it was issued.
    pub issued_at: Option<Timestamp>,
    /// When it ends.
    pub expires: Expiry,
    /// How that is known.
    pub basis: Basis,
    /// When the provider last gave an authoritative answer.
    pub last_answer: Option<Timestamp>,
    /// The provider's own words, redacted.
    pub message: Option<Box<str>>,
    /// What was done to renew it; `None` where nothing ever is.
    pub renewal: Option<Box<RenewalNote>>,
}

/// What was done to renew a token, and what will be.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RenewalNote {
    /// How the last run ended.
    pub last: Option<Ended>,
    /// When the next one may begin.
    pub next: Option<Timestamp>,
    /// Why none can begin now.
    pub refusal: Option<Box<str>>,
}

impl NoticeFacts {
    /// Nothing is known.
    pub const NONE: Self = Self {
        kind: TokenKind::Unknown,
        issued_at: None,
        expires: Expiry::Unknown,
        basis: Basis::Told,
        last_answer: None,
        message: None,
        renewal: None,
    };
}

/// How an incident ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// What was wrong is right again: people are told.
    Resolved,
    /// Something worse took its place, or a new deadline started its ladder anew; that has its own notice.
    Superseded,
}

impl Ending {
    /// Every ending.
    pub const ALL: [Self; 2] = [Self::Resolved, Self::Superseded];

    /// A stable code.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resolved => "resolved",
            Self::Superseded => "superseded",
        }
    }
}

/// Whether a finding of an open incident is told now, and why: the one rule about interrupting people.
///
/// What was kept from people is told as if it had begun now. A higher stage or a worse severity escalates, once. A critical incident that
/// nobody acknowledged repeats while it is critical: after a clock moved back it may not be. Nothing else is told, whatever the clock did.
pub fn should_notify(incident: &Incident, finding: &Finding, now: Timestamp, repeat: Span) -> Option<NotifyReason> {
    if incident.told_at.is_none() {
        return Some(NotifyReason::First);
    }
    if finding.stage > incident.stage || finding.severity > incident.severity {
        return Some(NotifyReason::Escalated);
    }
    repeat_due(incident, finding, repeat).filter(|due| *due <= now).map(|_| NotifyReason::Repeated)
}

/// When an incident whose finding does not change is told again; `None` when it never is.
pub fn repeat_due(incident: &Incident, finding: &Finding, repeat: Span) -> Option<Timestamp> {
    let repeats = finding.severity == Severity::Critical && repeat > Span::ZERO && incident.acknowledged.is_none();
    incident.told_at.filter(|_| repeats).map(|told_at| told_at.plus(repeat))
}

/// The key of the notice that tells this stage of this incident.
pub fn key(subject: &Subject, incident: &Incident, why: NotifyReason) -> AlertKey {
    let Incident { stage, severity, repeats, .. } = incident;
    let tail = match why {
        NotifyReason::First | NotifyReason::Escalated => format!("{stage}/{}", severity.as_str()),
        NotifyReason::Repeated => format!("{stage}/{}.{repeats}", severity.as_str()),
        NotifyReason::Resolved => "closed/resolved".to_owned(),
        NotifyReason::Reminded => "silence/reminded".to_owned(),
    };
    AlertKey(format!("{}/{tail}", incident_key(subject, incident)).into())
}

/// The key of the reminder that a silence over this incident ends soon. Like an incident it has a number of its own: two silences may end in the
/// same second.
pub fn reminder_key(subject: &Subject, incident: &Incident, number: u32) -> AlertKey {
    AlertKey(format!("{}/silence.{number}/reminded", incident_key(subject, incident)).into())
}

/// What all keys of an incident begin with.
pub fn incident_key(subject: &Subject, incident: &Incident) -> String {
    let Incident { thread, number, generation, opened_at, .. } = incident;
    format!("{subject}/{}.{number}.g{generation}.{}", thread.as_str(), opened_at.unix())
}

/// What the watcher calls itself among the subjects.
pub const WATCHER: &str = "tokenwatch";

#[cfg(test)]
mod tests {
    use super::*;

    fn incident(severity: Severity, stage: i64, told_at: i64) -> Incident {
        Incident {
            thread: Thread::Expiry,
            number: 4,
            provider: ProviderName::meta(),
            generation: 2,
            opened_at: Timestamp::from_unix(0),
            reason: Reason::Expiring,
            severity,
            stage: Stage(stage),
            deadline: None,
            told_at: Some(Timestamp::from_unix(told_at)),
            repeats: 0,
            told: Arc::from([]),
            acknowledged: None,
            damped: None,
        }
    }

    fn finding(severity: Severity, stage: i64) -> Finding {
        Finding {
            reason: Reason::Expiring,
            severity,
            stage: Stage(stage),
            deadline: None,
            next: None,
            last_call: false,
            detail: Detail::None,
        }
    }

    // promises 29, 32
    #[test]
    fn people_are_told_when_it_gets_worse_and_when_it_stays_critical() {
        use NotifyReason::{Escalated, Repeated};
        use Severity::{Critical, Info, Warning};
        let day = Span::days(1);
        for (told, seen, now, repeat, expected) in [
            ((Info, 1), (Info, 1), 10, day, None),
            ((Info, 1), (Warning, 2), 10, day, Some(Escalated)),
            ((Info, 1), (Critical, 1), 10, day, Some(Escalated)),
            ((Warning, 2), (Info, 1), 10, day, None),
            ((Warning, 2), (Warning, 2), 1_000_000, day, None),
            ((Critical, 4), (Critical, 4), 86_399, day, None),
            ((Critical, 4), (Critical, 4), 86_400, day, Some(Repeated)),
            ((Critical, 4), (Critical, 4), 9_999_999, Span::ZERO, None),
            ((Critical, 4), (Warning, 3), 9_999_999, day, None),
        ] {
            let told = incident(told.0, told.1, 0);
            let seen = finding(seen.0, seen.1);
            let now = Timestamp::from_unix(now);
            assert_eq!(should_notify(&told, &seen, now, repeat), expected, "{told:?} {seen:?}");
        }
    }

    // promise 33
    #[test]
    fn keys_name_the_incident_and_the_rung() {
        let Ok(id) = TokenId::parse("a.b") else { return };
        let subject = Subject::Token(id);
        let mut incident = incident(Severity::Critical, 3, 0);
        let first = key(&subject, &incident, NotifyReason::Escalated);
        assert_eq!(first.as_str(), "token/a.b/expiry.4.g2.0/r3/critical");
        assert_eq!(first.incident(), "token/a.b/expiry.4.g2.0");
        incident.stage = Stage::rung(Span::days(3));
        assert!(key(&subject, &incident, NotifyReason::First).as_str().ends_with("/r3d/critical"));
        incident.repeats = 2;
        incident.stage = Stage::ENDED;
        assert_eq!(key(&subject, &incident, NotifyReason::Repeated).as_str(), "token/a.b/expiry.4.g2.0/end/critical.2");
        assert_eq!(key(&subject, &incident, NotifyReason::Resolved).incident(), first.incident());
    }
}
