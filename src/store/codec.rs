//! The stored form of the core's types: JSON with short names.
//!
//! The core knows nothing of serialisation, so its types are mirrored here. A field may be added with a default; the meaning of a field
//! never changes without a migration.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::domain::alert::{
    AlertKey, Damped, Ending, Incident, Notice, NoticeFacts, NotifyReason, RenewalNote, Subject, WATCHER, incident_key,
};
use crate::domain::answer::{Answer, Signed, Silence};
use crate::domain::finding::{Detail, Reason, Severity, Stage, Thread};
use crate::domain::inspection::{
    AppFault, Basis, Cause, CheckError, Expiry, Grant, Inspection, TokenKind, Unreachable, Validity,
};
use crate::domain::ledger::Ledger;
use crate::domain::number::{Entity, Number, NumberStatus, Obstacle, Sending, Subscription};
use crate::domain::renewal::{Ended, Kept, Mark, Origin, Outcome, Phase, RenewalStatus, Run};
use crate::domain::status::{AppStatus, Dated, Facts, Generation, TokenStatus};
use crate::domain::summary::Summary;
use crate::domain::time::{Span, Timestamp};
use crate::domain::token::{AppName, Fingerprint, ProviderName, ReceiverName, TokenId};
use crate::domain::verdict::Verdict;
use crate::domain::watcher::WatcherStatus;
use crate::ports::{AnswerRecord, IncidentRecord, Sealed, SlotStatus};

/// What is stored cannot be understood.
#[derive(Debug, thiserror::Error)]
#[error("a stored record cannot be read: {0}")]
pub struct Unreadable(String);

/// A status as text.
pub fn encode_status(status: &SlotStatus) -> Result<String, Unreadable> {
    let stored = match status {
        SlotStatus::Token(status) => StoredSlot::Token(Box::new(StoredToken::of(status))),
        SlotStatus::App(status) => StoredSlot::App(StoredApp::of(status)),
        SlotStatus::Watcher(status) => StoredSlot::Watcher(StoredWatcher::of(status)),
    };
    serde_json::to_string(&stored).map_err(|error| Unreadable(error.to_string()))
}

/// The status of that text.
pub fn decode_status(text: &str) -> Result<SlotStatus, Unreadable> {
    match serde_json::from_str(text).map_err(|error| Unreadable(error.to_string()))? {
        StoredSlot::Token(stored) => stored.status().map(|status| SlotStatus::Token(Box::new(status))),
        StoredSlot::App(stored) => stored.status().map(SlotStatus::App),
        StoredSlot::Watcher(stored) => stored.status().map(SlotStatus::Watcher),
    }
}

/// A notice as text.
pub fn encode_notice(notice: &Notice) -> Result<String, Unreadable> {
    serde_json::to_string(&StoredNotice::of(notice)).map_err(|error| Unreadable(error.to_string()))
}

/// The notice of that text.
pub fn decode_notice(text: &str) -> Result<Notice, Unreadable> {
    serde_json::from_str::<StoredNotice>(text).map_err(|error| Unreadable(error.to_string()))?.notice()
}

/// The subject of that key.
pub fn decode_subject(key: &str) -> Result<Subject, Unreadable> {
    let bad = || Unreadable(format!("{key:?} is no subject"));
    match key.split_once('/') {
        Some(("token", name)) => TokenId::parse(name).map(Subject::Token).map_err(|_| bad()),
        Some(("watcher", WATCHER)) => Ok(Subject::Watcher),
        Some(("app", name)) => AppName::parse(name).map(Subject::App).map_err(|_| bad()),
        _ => Err(bad()),
    }
}

/// An incident as text, for the history.
pub fn encode_incident(incident: &Incident, ending: Option<Ending>) -> Result<String, Unreadable> {
    let ending = ending.map(|ending| ending.as_str().to_owned());
    let stored = StoredRecord { incident: StoredIncident::of(incident), ending };
    serde_json::to_string(&stored).map_err(|error| Unreadable(error.to_string()))
}

/// The incident of that text.
pub fn decode_incident(text: &str, ended_at: Option<i64>) -> Result<IncidentRecord, Unreadable> {
    let stored: StoredRecord = serde_json::from_str(text).map_err(|error| Unreadable(error.to_string()))?;
    let ending = stored.ending.as_deref().map(ending).transpose()?;
    Ok(IncidentRecord { incident: stored.incident.incident()?, ended: ended_at.map(Timestamp::from_unix).zip(ending) })
}

/// An answer as text, for the history.
pub fn encode_answer(answer: &Answer) -> Result<String, Unreadable> {
    let stored = match answer {
        Answer::Acknowledge(signed) => StoredAnswer::of("ack", signed),
        Answer::Unsilence(signed) => StoredAnswer::of("unsilence", signed),
        Answer::Silence { signed, lasts, even_critical } => StoredAnswer {
            lasts: Some(lasts.as_seconds()),
            even_critical: *even_critical,
            ..StoredAnswer::of("silence", signed)
        },
    };
    serde_json::to_string(&stored).map_err(|error| Unreadable(error.to_string()))
}

/// The answer of that text, given at that moment.
pub fn decode_answer(text: &str, at: i64) -> Result<AnswerRecord, Unreadable> {
    let stored: StoredAnswer = serde_json::from_str(text).map_err(|error| Unreadable(error.to_string()))?;
    let at = Timestamp::from_unix(at);
    let signed = Signed { by: stored.by, at, why: stored.why };
    let answer = match (stored.what.as_str(), stored.lasts) {
        ("ack", _) => Answer::Acknowledge(signed),
        ("unsilence", _) => Answer::Unsilence(signed),
        ("silence", Some(lasts)) => {
            Answer::Silence { signed, lasts: Span::seconds(lasts), even_critical: stored.even_critical }
        }
        (other, _) => return Err(unknown("answer", other)),
    };
    Ok(AnswerRecord { at, answer })
}

/// A run as text, for the journal.
pub fn encode_run(run: &Run) -> Result<String, Unreadable> {
    serde_json::to_string(&StoredRun::of(run)).map_err(|error| Unreadable(error.to_string()))
}

/// The run of that text.
pub fn decode_run(text: &str) -> Result<Run, Unreadable> {
    serde_json::from_str::<StoredRun>(text).map_err(|error| Unreadable(error.to_string()))?.run()
}

/// Sealed secrets as text: base64 by what they are.
pub fn encode_sealed(sealed: &Sealed) -> Result<String, Unreadable> {
    let stored: BTreeMap<&str, String> =
        sealed.iter().map(|(name, bytes)| (name.as_str(), STANDARD.encode(bytes))).collect();
    serde_json::to_string(&stored).map_err(|error| Unreadable(error.to_string()))
}

/// The sealed secrets of that text.
pub fn decode_sealed(text: &str) -> Result<Sealed, Unreadable> {
    let stored: BTreeMap<String, String> = serde_json::from_str(text).map_err(|error| Unreadable(error.to_string()))?;
    let bytes = |text: &str| STANDARD.decode(text).map_err(|error| Unreadable(error.to_string()));
    stored.into_iter().map(|(name, text)| Ok((name, bytes(&text)?))).collect()
}

/// A renewal that ended as text, for the history.
pub fn encode_ended(ended: &Ended) -> Result<String, Unreadable> {
    serde_json::to_string(&StoredEnded::of(ended)).map_err(|error| Unreadable(error.to_string()))
}

/// The renewal of that text.
pub fn decode_ended(text: &str) -> Result<Ended, Unreadable> {
    serde_json::from_str::<StoredEnded>(text).map_err(|error| Unreadable(error.to_string()))?.ended()
}

/// The key of an incident in the history.
pub fn history_key(subject: &Subject, incident: &Incident) -> String {
    incident_key(subject, incident)
}

/// The receiver of that name.
pub fn decode_receiver(name: &str) -> Result<ReceiverName, Unreadable> {
    ReceiverName::parse(name).map_err(|fault| Unreadable(format!("{name:?} is no receiver: {fault}")))
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredSlot {
    Token(Box<StoredToken>),
    App(StoredApp),
    Watcher(StoredWatcher),
}

#[derive(Serialize, Deserialize)]
struct StoredToken {
    generation: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    since: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    facts: Option<StoredFacts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_check: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_answer: Option<i64>,
    #[serde(default, skip_serializing_if = "is_zero")]
    invalid_streak: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    failures: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failing_since: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_error: Option<StoredError>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source_fault: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    foreign: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    incidents: Vec<StoredIncident>,
    #[serde(default, skip_serializing_if = "is_zero")]
    incident_count: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    silence: Option<StoredSilence>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    openings: Vec<(String, i64)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    renewal: Option<StoredRenewal>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    number: Option<Box<StoredNumberStatus>>,
    next_check: i64,
}

impl StoredToken {
    fn of(status: &TokenStatus) -> Self {
        let StoredLedger { incidents, incident_count, silence, openings } = StoredLedger::of(&status.ledger);
        Self {
            generation: status.generation.number,
            fingerprint: status.generation.fingerprint.map(|fingerprint| hex(&fingerprint.0)),
            since: status.generation.since.unix(),
            facts: status.facts.as_ref().map(StoredFacts::of),
            last_check: status.last_check.map(Timestamp::unix),
            last_answer: status.last_answer.map(Timestamp::unix),
            invalid_streak: status.invalid_streak,
            failures: status.failures,
            failing_since: status.failing_since.map(Timestamp::unix),
            last_error: status.last_error.as_ref().map(StoredError::of),
            source_fault: status.source_fault.clone(),
            foreign: status.foreign.clone(),
            incidents,
            incident_count,
            silence,
            openings,
            renewal: StoredRenewal::of(&status.renewal),
            number: status.number.as_deref().map(|number| Box::new(StoredNumberStatus::of(number))),
            next_check: status.next_check.unix(),
        }
    }

    fn status(self) -> Result<TokenStatus, Unreadable> {
        let Self { incidents, incident_count, silence, openings, .. } = self;
        let ledger = StoredLedger { incidents, incident_count, silence, openings };
        Ok(TokenStatus {
            generation: Generation {
                number: self.generation,
                fingerprint: self.fingerprint.as_deref().map(unhex).transpose()?,
                since: Timestamp::from_unix(self.since),
            },
            facts: self.facts.map(StoredFacts::facts).transpose()?,
            last_check: self.last_check.map(Timestamp::from_unix),
            last_answer: self.last_answer.map(Timestamp::from_unix),
            invalid_streak: self.invalid_streak,
            failures: self.failures,
            failing_since: self.failing_since.map(Timestamp::from_unix),
            last_error: self.last_error.map(StoredError::error).transpose()?,
            source_fault: self.source_fault,
            foreign: self.foreign,
            ledger: ledger.ledger()?,
            renewal: self.renewal.map_or(Ok(RenewalStatus::default()), StoredRenewal::renewal)?,
            number: self.number.map(|number| number.status().map(Box::new)).transpose()?,
            next_check: Timestamp::from_unix(self.next_check),
        })
    }
}

#[derive(Serialize, Deserialize)]
struct StoredNumberStatus {
    id: Box<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subscribed_to: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    number: Option<StoredNumber>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refused: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answered: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subscription: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    was_subscribed: bool,
}

impl StoredNumberStatus {
    fn of(status: &NumberStatus) -> Self {
        Self {
            id: status.id.clone(),
            subscribed_to: status.subscribed_to.clone(),
            number: status.number.as_ref().map(StoredNumber::of),
            refused: status.refused.clone(),
            answered: status.answered.map(Timestamp::unix),
            subscription: status.subscription.map(|subscription| subscription.as_str().to_owned()),
            was_subscribed: status.was_subscribed,
        }
    }

    fn status(self) -> Result<NumberStatus, Unreadable> {
        let subscription = |word: String| Subscription::parse(&word).ok_or_else(|| unknown("subscription", &word));
        Ok(NumberStatus {
            id: self.id,
            subscribed_to: self.subscribed_to,
            number: self.number.map(StoredNumber::number).transpose()?,
            refused: self.refused,
            answered: self.answered.map(Timestamp::from_unix),
            subscription: self.subscription.map(subscription).transpose()?,
            was_subscribed: self.was_subscribed,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct StoredNumber {
    id: Box<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    display: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quality: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mode: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sending: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    obstacles: Vec<StoredObstacle>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    account: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    business: Option<Box<str>>,
}

impl StoredNumber {
    fn of(number: &Number) -> Self {
        Self {
            id: number.id.clone(),
            display: number.display.clone(),
            name: number.name.clone(),
            status: number.status.clone(),
            quality: number.quality.clone(),
            mode: number.mode.clone(),
            sending: number.sending.map(|sending| sending.as_str().to_owned()),
            obstacles: number.obstacles.iter().map(StoredObstacle::of).collect(),
            account: number.account.clone(),
            business: number.business.clone(),
        }
    }

    fn number(self) -> Result<Number, Unreadable> {
        Ok(Number {
            id: self.id,
            display: self.display,
            name: self.name,
            status: self.status,
            quality: self.quality,
            mode: self.mode,
            sending: self.sending.as_deref().map(sending).transpose()?,
            obstacles: self.obstacles.into_iter().map(StoredObstacle::obstacle).collect::<Result<_, _>>()?,
            account: self.account,
            business: self.business,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct StoredObstacle {
    entity: String,
    id: Box<str>,
    sending: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<i64>,
    description: Box<str>,
    solution: Box<str>,
}

impl StoredObstacle {
    fn of(obstacle: &Obstacle) -> Self {
        Self {
            entity: obstacle.entity.as_str().to_owned(),
            id: obstacle.id.clone(),
            sending: obstacle.sending.as_str().to_owned(),
            code: obstacle.code,
            description: obstacle.description.clone(),
            solution: obstacle.solution.clone(),
        }
    }

    fn obstacle(self) -> Result<Obstacle, Unreadable> {
        Ok(Obstacle {
            entity: Entity::parse(&self.entity).ok_or_else(|| unknown("part of WhatsApp", &self.entity))?,
            id: self.id,
            sending: sending(&self.sending)?,
            code: self.code,
            description: self.description,
            solution: self.solution,
        })
    }
}

fn sending(word: &str) -> Result<Sending, Unreadable> {
    Sending::parse(word).ok_or_else(|| unknown("state of sending", word))
}

#[derive(Serialize, Deserialize)]
struct StoredRenewal {
    #[serde(default, skip_serializing_if = "is_zero")]
    count: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run: Option<StoredMark>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<StoredEnded>,
    #[serde(default, skip_serializing_if = "is_zero")]
    failures: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next_try: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    renewed_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    given_at: Option<i64>,
    #[serde(default, skip_serializing_if = "is_false")]
    kept: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kept_ends: Option<i64>,
}

impl StoredRenewal {
    /// `None` where nothing was ever tried: a hundred thousand tokens need not say so.
    fn of(renewal: &RenewalStatus) -> Option<Self> {
        (*renewal != RenewalStatus::default()).then(|| Self {
            count: renewal.count,
            run: renewal.run.as_ref().map(StoredMark::of),
            last: renewal.last.as_ref().map(StoredEnded::of),
            failures: renewal.failures,
            next_try: renewal.next_try.map(Timestamp::unix),
            renewed_at: renewal.renewed_at.map(Timestamp::unix),
            given_at: renewal.given_at.map(Timestamp::unix),
            kept: renewal.kept.is_some(),
            kept_ends: renewal.kept.and_then(|kept| kept.ends).map(Timestamp::unix),
        })
    }

    fn renewal(self) -> Result<RenewalStatus, Unreadable> {
        let last = self.last.map(StoredEnded::ended).transpose()?;
        // Before it was noted it followed from the last run.
        let by_a_run = |ended: &&Ended| ended.outcome == Outcome::Renewed && !ended.origin.is_replacement();
        let given_at = self.given_at.or_else(|| last.as_ref().filter(by_a_run).map(|ended| ended.at.unix()));
        Ok(RenewalStatus {
            count: self.count,
            run: self.run.map(StoredMark::mark).transpose()?,
            last,
            failures: self.failures,
            next_try: self.next_try.map(Timestamp::from_unix),
            renewed_at: self.renewed_at.map(Timestamp::from_unix),
            given_at: given_at.map(Timestamp::from_unix),
            kept: self.kept.then(|| Kept { ends: self.kept_ends.map(Timestamp::from_unix) }),
        })
    }
}

#[derive(Serialize, Deserialize)]
struct StoredMark {
    number: u32,
    since: i64,
    origin: StoredOrigin,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stuck: Option<Box<str>>,
}

impl StoredMark {
    fn of(mark: &Mark) -> Self {
        let origin = StoredOrigin::of(&mark.origin);
        Self { number: mark.number, since: mark.since.unix(), origin, stuck: mark.stuck.clone() }
    }

    fn mark(self) -> Result<Mark, Unreadable> {
        let since = Timestamp::from_unix(self.since);
        Ok(Mark { number: self.number, since, origin: self.origin.origin()?, stuck: self.stuck })
    }
}

#[derive(Serialize, Deserialize)]
struct StoredOrigin {
    how: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<Box<str>>,
}

impl StoredOrigin {
    fn of(origin: &Origin) -> Self {
        let (how, by) = match origin {
            Origin::Schedule => ("schedule", None),
            Origin::Asked(by) => ("asked", Some(by.clone())),
            Origin::Replaced(by) => ("replaced", Some(by.clone())),
        };
        Self { how: how.to_owned(), by }
    }

    fn origin(self) -> Result<Origin, Unreadable> {
        let by = self.by.unwrap_or_default();
        match self.how.as_str() {
            "schedule" => Ok(Origin::Schedule),
            "asked" => Ok(Origin::Asked(by)),
            "replaced" => Ok(Origin::Replaced(by)),
            other => Err(unknown("origin", other)),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct StoredEnded {
    at: i64,
    outcome: String,
    text: Box<str>,
    origin: StoredOrigin,
    generation: u32,
}

impl StoredEnded {
    fn of(ended: &Ended) -> Self {
        Self {
            at: ended.at.unix(),
            outcome: ended.outcome.as_str().to_owned(),
            text: ended.text.clone(),
            origin: StoredOrigin::of(&ended.origin),
            generation: ended.generation,
        }
    }

    fn ended(self) -> Result<Ended, Unreadable> {
        Ok(Ended {
            at: Timestamp::from_unix(self.at),
            outcome: Outcome::parse(&self.outcome).ok_or_else(|| unknown("outcome", &self.outcome))?,
            text: self.text,
            origin: self.origin.origin()?,
            generation: self.generation,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct StoredRun {
    token: String,
    number: u32,
    origin: StoredOrigin,
    generation: u32,
    began_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    old: Option<StoredFacts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proved: Option<StoredFacts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    given_end: Option<i64>,
    #[serde(default, skip_serializing_if = "is_false")]
    only_copy: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    anyway: bool,
    #[serde(default, skip_serializing_if = "is_zero")]
    tried: u32,
    #[serde(default, skip_serializing_if = "is_false")]
    published: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sinks: Vec<Box<str>>,
    phase: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    why: Option<Box<str>>,
}

impl StoredRun {
    fn of(run: &Run) -> Self {
        let facts = |inspection: &Inspection| {
            StoredFacts::of(&Facts {
                generation: run.generation,
                inspection: inspection.clone(),
                dated: Dated::UNKNOWN,
            })
        };
        Self {
            token: run.token.to_string(),
            number: run.number,
            origin: StoredOrigin::of(&run.origin),
            generation: run.generation,
            began_at: run.began_at.unix(),
            old: run.old.as_ref().map(facts),
            proved: run.proved.as_ref().map(facts),
            given_end: run.given_end.map(Timestamp::unix),
            only_copy: run.only_copy,
            anyway: run.anyway,
            tried: run.tried,
            published: run.published,
            sinks: run.sinks.clone(),
            phase: run.phase.as_str().to_owned(),
            why: match &run.phase {
                Phase::RollingBack(why) => Some(why.clone()),
                _ => None,
            },
        }
    }

    fn run(self) -> Result<Run, Unreadable> {
        let inspection =
            |stored: Option<StoredFacts>| stored.map(|stored| stored.facts().map(|facts| facts.inspection)).transpose();
        Ok(Run {
            token: TokenId::parse(&self.token).map_err(|_| unknown("token", &self.token))?,
            number: self.number,
            origin: self.origin.origin()?,
            generation: self.generation,
            began_at: Timestamp::from_unix(self.began_at),
            old: inspection(self.old)?,
            proved: inspection(self.proved)?,
            given_end: self.given_end.map(Timestamp::from_unix),
            only_copy: self.only_copy,
            anyway: self.anyway,
            tried: self.tried,
            published: self.published,
            sinks: self.sinks,
            phase: Phase::parse(&self.phase, self.why).ok_or_else(|| unknown("phase", &self.phase))?,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct StoredRenewalNote {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<StoredEnded>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refusal: Option<Box<str>>,
}

impl StoredRenewalNote {
    fn of(note: &RenewalNote) -> Self {
        Self {
            last: note.last.as_ref().map(StoredEnded::of),
            next: note.next.map(Timestamp::unix),
            refusal: note.refusal.clone(),
        }
    }

    fn note(self) -> Result<RenewalNote, Unreadable> {
        Ok(RenewalNote {
            last: self.last.map(StoredEnded::ended).transpose()?,
            next: self.next.map(Timestamp::from_unix),
            refusal: self.refusal,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct StoredApp {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fault: Option<(String, Box<str>)>,
    #[serde(default, skip_serializing_if = "is_zero")]
    streak: u32,
    #[serde(flatten)]
    ledger: StoredLedger,
}

impl StoredApp {
    fn of(status: &AppStatus) -> Self {
        Self {
            fault: status.fault.as_ref().map(|(fault, text)| (fault.as_str().to_owned(), text.clone())),
            streak: status.streak,
            ledger: StoredLedger::of(&status.ledger),
        }
    }

    fn status(self) -> Result<AppStatus, Unreadable> {
        Ok(AppStatus {
            fault: self.fault.map(|(fault, text)| Ok((app_fault(&fault)?, text))).transpose()?,
            streak: self.streak,
            ledger: self.ledger.ledger()?,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct StoredWatcher {
    #[serde(default, skip_serializing_if = "is_zero")]
    clock_off: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    clock_offset: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_digest: Option<i64>,
    #[serde(flatten)]
    ledger: StoredLedger,
}

impl StoredWatcher {
    fn of(status: &WatcherStatus) -> Self {
        Self {
            clock_off: status.clock_off,
            clock_offset: status.clock_offset.map(Span::as_seconds),
            last_digest: status.last_digest.map(Timestamp::unix),
            ledger: StoredLedger::of(&status.ledger),
        }
    }

    fn status(self) -> Result<WatcherStatus, Unreadable> {
        Ok(WatcherStatus {
            clock_off: self.clock_off,
            clock_offset: self.clock_offset.map(Span::seconds),
            last_digest: self.last_digest.map(Timestamp::from_unix),
            ledger: self.ledger.ledger()?,
        })
    }
}

/// Part of every record. In a token's, which is read at each check, its fields are written out: flattened ones are buffered.
#[derive(Serialize, Deserialize)]
struct StoredLedger {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    incidents: Vec<StoredIncident>,
    #[serde(default, skip_serializing_if = "is_zero")]
    incident_count: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    silence: Option<StoredSilence>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    openings: Vec<(String, i64)>,
}

impl StoredLedger {
    fn of(ledger: &Ledger) -> Self {
        Self {
            incidents: ledger.incidents.iter().map(StoredIncident::of).collect(),
            incident_count: ledger.count,
            silence: ledger.silence.as_ref().map(StoredSilence::of),
            openings: ledger.openings.iter().map(|(thread, at)| (thread.as_str().to_owned(), at.unix())).collect(),
        }
    }

    fn ledger(self) -> Result<Ledger, Unreadable> {
        let opening = |(word, at): (String, i64)| Ok((thread(&word)?, Timestamp::from_unix(at)));
        Ok(Ledger {
            incidents: self.incidents.into_iter().map(StoredIncident::incident).collect::<Result<_, _>>()?,
            count: self.incident_count,
            silence: self.silence.map(StoredSilence::silence),
            openings: self.openings.into_iter().map(opening).collect::<Result<_, _>>()?,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct StoredSigned {
    by: Box<str>,
    at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    why: Option<Box<str>>,
}

impl StoredSigned {
    fn of(signed: &Signed) -> Self {
        Self { by: signed.by.clone(), at: signed.at.unix(), why: signed.why.clone() }
    }

    fn signed(self) -> Signed {
        Signed { by: self.by, at: Timestamp::from_unix(self.at), why: self.why }
    }
}

#[derive(Serialize, Deserialize)]
struct StoredSilence {
    signed: StoredSigned,
    until: i64,
    #[serde(default, skip_serializing_if = "is_false")]
    even_critical: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    reminded: bool,
}

impl StoredSilence {
    fn of(silence: &Silence) -> Self {
        Self {
            signed: StoredSigned::of(&silence.signed),
            until: silence.until.unix(),
            even_critical: silence.even_critical,
            reminded: silence.reminded,
        }
    }

    fn silence(self) -> Silence {
        Silence {
            signed: self.signed.signed(),
            until: Timestamp::from_unix(self.until),
            even_critical: self.even_critical,
            reminded: self.reminded,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct StoredDamped {
    changed_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seen: Option<(u32, Option<i64>)>,
    #[serde(default, skip_serializing_if = "is_false")]
    withdrawn: bool,
}

impl StoredDamped {
    fn of(damped: &Damped) -> Self {
        Self {
            changed_at: damped.changed_at.unix(),
            seen: damped.seen.map(|(generation, deadline)| (generation, deadline.map(Timestamp::unix))),
            withdrawn: damped.withdrawn,
        }
    }

    fn damped(self) -> Damped {
        Damped {
            changed_at: Timestamp::from_unix(self.changed_at),
            seen: self.seen.map(|(generation, deadline)| (generation, deadline.map(Timestamp::from_unix))),
            withdrawn: self.withdrawn,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct StoredRecord {
    incident: StoredIncident,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ending: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct StoredAnswer {
    what: String,
    by: Box<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    why: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lasts: Option<i64>,
    #[serde(default, skip_serializing_if = "is_false")]
    even_critical: bool,
}

impl StoredAnswer {
    fn of(what: &str, signed: &Signed) -> Self {
        let (by, why) = (signed.by.clone(), signed.why.clone());
        Self { what: what.to_owned(), by, why, lasts: None, even_critical: false }
    }
}

#[derive(Serialize, Deserialize)]
struct StoredFacts {
    generation: u32,
    validity: String,
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    app_id: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_id: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    profile_id: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issued_at: Option<i64>,
    expires: StoredExpiry,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    basis: Option<Box<str>>,
    data_access: StoredExpiry,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grants: Option<Vec<StoredGrant>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lacking: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<Box<str>>,
    /// Absent in what was written before dates were followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dated: Option<StoredDated>,
}

#[derive(Serialize, Deserialize, Clone, Copy)]
struct StoredDated {
    since: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end_before: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data_access_before: Option<i64>,
}

impl StoredDated {
    fn of(dated: &Dated) -> Self {
        Self {
            since: dated.since.unix(),
            end_before: dated.end_before.map(Timestamp::unix),
            data_access_before: dated.data_access_before.map(Timestamp::unix),
        }
    }

    fn dated(self) -> Dated {
        Dated {
            since: Timestamp::from_unix(self.since),
            end_before: self.end_before.map(Timestamp::from_unix),
            data_access_before: self.data_access_before.map(Timestamp::from_unix),
        }
    }
}

impl StoredFacts {
    fn of(facts: &Facts) -> Self {
        let seen = &facts.inspection;
        Self {
            generation: facts.generation,
            validity: match seen.validity {
                Validity::Valid => "valid".to_owned(),
                Validity::Expired => "expired".to_owned(),
                Validity::Unreadable => "unreadable".to_owned(),
                Validity::Revoked(cause) => format!("revoked:{}", cause.as_str()),
            },
            kind: seen.kind.as_str().to_owned(),
            app_id: seen.app_id.clone(),
            user_id: seen.user_id.clone(),
            profile_id: seen.profile_id.clone(),
            issued_at: seen.issued_at.map(Timestamp::unix),
            expires: StoredExpiry::of(seen.expires),
            basis: stored_basis(seen.basis),
            data_access: StoredExpiry::of(seen.data_access),
            lacking: seen.lacking.clone(),
            grants: seen.grants.as_ref().map(|grants| grants.iter().map(StoredGrant::of).collect()),
            message: seen.message.clone(),
            dated: (facts.dated != Dated::UNKNOWN).then(|| StoredDated::of(&facts.dated)),
        }
    }

    fn facts(self) -> Result<Facts, Unreadable> {
        let validity = match self.validity.as_str() {
            "valid" => Validity::Valid,
            "expired" => Validity::Expired,
            "unreadable" => Validity::Unreadable,
            other => Validity::Revoked(cause(other.strip_prefix("revoked:").unwrap_or(other))?),
        };
        let grants = self.grants.map(|grants| {
            grants.into_iter().map(|grant| Grant { scope: grant.scope, targets: grant.targets }).collect()
        });
        Ok(Facts {
            generation: self.generation,
            inspection: Inspection {
                validity,
                kind: TokenKind::parse(&self.kind),
                app_id: self.app_id,
                user_id: self.user_id,
                profile_id: self.profile_id,
                issued_at: self.issued_at.map(Timestamp::from_unix),
                expires: self.expires.expiry(),
                basis: self.basis.as_deref().map_or(Ok(Basis::Told), basis)?,
                data_access: self.data_access.expiry(),
                grants,
                lacking: self.lacking,
                message: self.message,
            },
            dated: self.dated.map_or(Dated::UNKNOWN, StoredDated::dated),
        })
    }
}

#[derive(Serialize, Deserialize)]
struct StoredGrant {
    scope: Box<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    targets: Option<Vec<Box<str>>>,
}

impl StoredGrant {
    fn of(grant: &Grant) -> Self {
        Self { scope: grant.scope.clone(), targets: grant.targets.clone() }
    }
}

#[derive(Serialize, Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum StoredExpiry {
    Never,
    At(i64),
    Unknown,
}

impl StoredExpiry {
    const fn of(expiry: Expiry) -> Self {
        match expiry {
            Expiry::Never => Self::Never,
            Expiry::At(at) => Self::At(at.unix()),
            Expiry::Unknown => Self::Unknown,
        }
    }

    const fn expiry(self) -> Expiry {
        match self {
            Self::Never => Expiry::Never,
            Self::At(at) => Expiry::At(Timestamp::from_unix(at)),
            Self::Unknown => Expiry::Unknown,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredError {
    Timeout(Box<str>),
    Connect(Box<str>),
    Tls(Box<str>),
    Interrupted(Box<str>),
    Garbled(Box<str>),
    Unavailable(Box<str>),
    Throttled(i64),
    App(String, Box<str>),
    Foreign(Box<str>),
    Refused(Box<str>),
    Source(Box<str>),
}

impl StoredError {
    fn of(error: &CheckError) -> Self {
        match error {
            CheckError::Unreachable(Unreachable::Timeout, text) => Self::Timeout(text.clone()),
            CheckError::Unreachable(Unreachable::Connect, text) => Self::Connect(text.clone()),
            CheckError::Unreachable(Unreachable::Tls, text) => Self::Tls(text.clone()),
            CheckError::Unreachable(Unreachable::Interrupted, text) => Self::Interrupted(text.clone()),
            CheckError::Garbled(text) => Self::Garbled(text.clone()),
            CheckError::Unavailable(text) => Self::Unavailable(text.clone()),
            CheckError::Throttled(until) => Self::Throttled(until.unix()),
            CheckError::App(fault, text) => Self::App(fault.as_str().to_owned(), text.clone()),
            CheckError::ForeignToken(text) => Self::Foreign(text.clone()),
            CheckError::Refused(text) => Self::Refused(text.clone()),
            CheckError::Source(text) => Self::Source(text.clone()),
        }
    }

    fn error(self) -> Result<CheckError, Unreadable> {
        Ok(match self {
            Self::Timeout(text) => CheckError::Unreachable(Unreachable::Timeout, text),
            Self::Connect(text) => CheckError::Unreachable(Unreachable::Connect, text),
            Self::Tls(text) => CheckError::Unreachable(Unreachable::Tls, text),
            Self::Interrupted(text) => CheckError::Unreachable(Unreachable::Interrupted, text),
            Self::Garbled(text) => CheckError::Garbled(text),
            Self::Unavailable(text) => CheckError::Unavailable(text),
            Self::Throttled(until) => CheckError::Throttled(Timestamp::from_unix(until)),
            Self::App(fault, text) => CheckError::App(app_fault(&fault)?, text),
            Self::Foreign(text) => CheckError::ForeignToken(text),
            Self::Refused(text) => CheckError::Refused(text),
            Self::Source(text) => CheckError::Source(text),
        })
    }
}

#[derive(Serialize, Deserialize)]
struct StoredIncident {
    reason: String,
    number: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    provider: Option<String>,
    generation: u32,
    opened_at: i64,
    severity: String,
    stage: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deadline: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    told_at: Option<i64>,
    #[serde(default, skip_serializing_if = "is_zero")]
    repeats: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    told: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    acknowledged: Option<StoredSigned>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    damped: Option<StoredDamped>,
}

impl StoredIncident {
    fn of(incident: &Incident) -> Self {
        Self {
            reason: incident.reason.as_str().to_owned(),
            number: incident.number,
            // What is usual is not written.
            provider: (!incident.provider.is_meta()).then(|| incident.provider.to_string()),
            generation: incident.generation,
            opened_at: incident.opened_at.unix(),
            severity: incident.severity.as_str().to_owned(),
            stage: incident.stage.0,
            deadline: incident.deadline.map(Timestamp::unix),
            told_at: incident.told_at.map(Timestamp::unix),
            repeats: incident.repeats,
            told: incident.told.iter().map(ToString::to_string).collect(),
            acknowledged: incident.acknowledged.as_ref().map(StoredSigned::of),
            damped: incident.damped.as_ref().map(StoredDamped::of),
        }
    }

    fn incident(self) -> Result<Incident, Unreadable> {
        let reason = reason(&self.reason)?;
        Ok(Incident {
            thread: reason.thread(),
            number: self.number,
            provider: self.provider.map_or_else(|| Ok(ProviderName::meta()), |name| provider(&name))?,
            generation: self.generation,
            opened_at: Timestamp::from_unix(self.opened_at),
            reason,
            severity: severity(&self.severity)?,
            stage: Stage(self.stage),
            deadline: self.deadline.map(Timestamp::from_unix),
            told_at: self.told_at.map(Timestamp::from_unix),
            repeats: self.repeats,
            told: self.told.iter().map(|name| decode_receiver(name)).collect::<Result<_, _>>()?,
            acknowledged: self.acknowledged.map(StoredSigned::signed),
            damped: self.damped.map(StoredDamped::damped),
        })
    }
}

#[derive(Serialize, Deserialize)]
struct StoredNotice {
    key: String,
    subject: String,
    provider: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    app: Option<String>,
    why: String,
    reason: String,
    severity: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    detail: Option<StoredDetail>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deadline: Option<i64>,
    since: i64,
    at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<i64>,
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issued_at: Option<i64>,
    expires: StoredExpiry,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    basis: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_answer: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    acknowledged: Option<StoredSigned>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    silence: Option<StoredSilence>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    flaps: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    renewal: Option<StoredRenewalNote>,
    receivers: Vec<String>,
}

impl StoredNotice {
    fn of(notice: &Notice) -> Self {
        Self {
            key: notice.key.as_str().to_owned(),
            subject: notice.subject.to_string(),
            provider: notice.provider.as_str().to_owned(),
            app: notice.app.as_ref().map(ToString::to_string),
            why: notice.why.as_str().to_owned(),
            reason: notice.reason.as_str().to_owned(),
            severity: notice.severity.as_str().to_owned(),
            detail: StoredDetail::of(&notice.detail),
            deadline: notice.deadline.map(Timestamp::unix),
            since: notice.since.unix(),
            at: notice.at.unix(),
            next: notice.next.map(Timestamp::unix),
            kind: notice.facts.kind.as_str().to_owned(),
            issued_at: notice.facts.issued_at.map(Timestamp::unix),
            expires: StoredExpiry::of(notice.facts.expires),
            basis: stored_basis(notice.facts.basis),
            last_answer: notice.facts.last_answer.map(Timestamp::unix),
            message: notice.facts.message.clone(),
            acknowledged: notice.acknowledged.as_ref().map(StoredSigned::of),
            silence: notice.silence.as_ref().map(StoredSilence::of),
            flaps: notice.flaps,
            renewal: notice.facts.renewal.as_deref().map(StoredRenewalNote::of),
            receivers: notice.receivers.iter().map(ToString::to_string).collect(),
        }
    }

    fn notice(self) -> Result<Notice, Unreadable> {
        let app = self.app.map(|name| AppName::parse(&name).map_err(|fault| Unreadable(fault.to_string())));
        let receivers: Vec<ReceiverName> =
            self.receivers.iter().map(|name| decode_receiver(name)).collect::<Result<_, _>>()?;
        Ok(Notice {
            key: AlertKey::from_stored(&self.key),
            subject: decode_subject(&self.subject)?,
            provider: provider(&self.provider)?,
            app: app.transpose()?,
            why: why(&self.why)?,
            reason: reason(&self.reason)?,
            severity: severity(&self.severity)?,
            detail: self.detail.map_or(Ok(Detail::None), StoredDetail::detail)?,
            deadline: self.deadline.map(Timestamp::from_unix),
            since: Timestamp::from_unix(self.since),
            at: Timestamp::from_unix(self.at),
            next: self.next.map(Timestamp::from_unix),
            facts: NoticeFacts {
                kind: TokenKind::parse(&self.kind),
                issued_at: self.issued_at.map(Timestamp::from_unix),
                expires: self.expires.expiry(),
                basis: self.basis.as_deref().map_or(Ok(Basis::Told), basis)?,
                last_answer: self.last_answer.map(Timestamp::from_unix),
                message: self.message,
                renewal: self.renewal.map(|note| note.note().map(Box::new)).transpose()?,
            },
            acknowledged: self.acknowledged.map(StoredSigned::signed),
            silence: self.silence.map(StoredSilence::silence),
            flaps: self.flaps,
            receivers: Arc::from(receivers),
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredDetail {
    Cause(String),
    Missing(Vec<Box<str>>),
    App(String, Box<str>),
    Text(Box<str>),
    Obstacles(Vec<StoredObstacle>),
    Summary(StoredSummary),
}

#[derive(Serialize, Deserialize)]
struct StoredSummary {
    verdicts: Vec<(String, u64)>,
    nearest: Vec<(String, String, i64)>,
    open: Vec<(Box<str>, String)>,
    open_count: u64,
    opened: u64,
    ended: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<i64>,
}

impl StoredSummary {
    fn of(summary: &Summary) -> Self {
        let word = |reason: &Reason| reason.as_str().to_owned();
        Self {
            verdicts: summary.verdicts.iter().map(|(verdict, n)| (verdict.as_str().to_owned(), *n)).collect(),
            nearest: summary.nearest.iter().map(|(id, reason, at)| (id.to_string(), word(reason), at.unix())).collect(),
            open: summary.open.iter().map(|(name, reason)| (name.clone(), word(reason))).collect(),
            open_count: summary.open_count,
            opened: summary.opened,
            ended: summary.ended,
            since: summary.since.map(Timestamp::unix),
        }
    }

    fn summary(self) -> Result<Summary, Unreadable> {
        let token = |name: &str| TokenId::parse(name).map_err(|fault| Unreadable(fault.to_string()));
        let dated =
            |(name, word, at): (String, String, i64)| Ok((token(&name)?, reason(&word)?, Timestamp::from_unix(at)));
        Ok(Summary {
            verdicts: self
                .verdicts
                .into_iter()
                .map(|(word, n)| Ok((verdict(&word)?, n)))
                .collect::<Result<_, Unreadable>>()?,
            nearest: self.nearest.into_iter().map(dated).collect::<Result<_, Unreadable>>()?,
            open: self
                .open
                .into_iter()
                .map(|(name, word)| Ok((name, reason(&word)?)))
                .collect::<Result<_, Unreadable>>()?,
            open_count: self.open_count,
            opened: self.opened,
            ended: self.ended,
            since: self.since.map(Timestamp::from_unix),
        })
    }
}

impl StoredDetail {
    fn of(detail: &Detail) -> Option<Self> {
        match detail {
            Detail::None => None,
            Detail::Cause(cause) => Some(Self::Cause(cause.as_str().to_owned())),
            Detail::Missing(names) => Some(Self::Missing(names.clone())),
            Detail::App(fault, text) => Some(Self::App(fault.as_str().to_owned(), text.clone())),
            Detail::Text(text) => Some(Self::Text(text.clone())),
            Detail::Obstacles(obstacles) => Some(Self::Obstacles(obstacles.iter().map(StoredObstacle::of).collect())),
            Detail::Summary(summary) => Some(Self::Summary(StoredSummary::of(summary))),
        }
    }

    fn detail(self) -> Result<Detail, Unreadable> {
        Ok(match self {
            Self::Cause(word) => Detail::Cause(cause(&word)?),
            Self::Missing(names) => Detail::Missing(names),
            Self::App(fault, text) => Detail::App(app_fault(&fault)?, text),
            Self::Text(text) => Detail::Text(text),
            Self::Obstacles(obstacles) => {
                Detail::Obstacles(obstacles.into_iter().map(StoredObstacle::obstacle).collect::<Result<_, _>>()?)
            }
            Self::Summary(summary) => Detail::Summary(Box::new(summary.summary()?)),
        })
    }
}

fn unknown(what: &str, word: &str) -> Unreadable {
    Unreadable(format!("{word:?} is no {what}"))
}

fn reason(word: &str) -> Result<Reason, Unreadable> {
    Reason::parse(word).ok_or_else(|| unknown("finding", word))
}

fn verdict(word: &str) -> Result<Verdict, Unreadable> {
    Verdict::ALL.into_iter().find(|verdict| verdict.as_str() == word).ok_or_else(|| unknown("verdict", word))
}

fn thread(word: &str) -> Result<Thread, Unreadable> {
    let threads = Reason::ALL.map(Reason::thread);
    threads.into_iter().find(|thread| thread.as_str() == word).ok_or_else(|| unknown("kind of incident", word))
}

fn ending(word: &str) -> Result<Ending, Unreadable> {
    Ending::ALL.into_iter().find(|ending| ending.as_str() == word).ok_or_else(|| unknown("ending", word))
}

fn severity(word: &str) -> Result<Severity, Unreadable> {
    Severity::parse(word).ok_or_else(|| unknown("severity", word))
}

/// What is usual is not written.
fn stored_basis(basis: Basis) -> Option<Box<str>> {
    (basis != Basis::Told).then(|| basis.as_str().into())
}

fn basis(word: &str) -> Result<Basis, Unreadable> {
    Basis::parse(word).ok_or_else(|| unknown("basis", word))
}

fn provider(word: &str) -> Result<ProviderName, Unreadable> {
    ProviderName::parse(word).map_err(|_| unknown("provider", word))
}

fn cause(word: &str) -> Result<Cause, Unreadable> {
    Cause::parse(word).ok_or_else(|| unknown("cause", word))
}

fn app_fault(word: &str) -> Result<AppFault, Unreadable> {
    AppFault::parse(word).ok_or_else(|| unknown("fault of an app", word))
}

fn why(word: &str) -> Result<NotifyReason, Unreadable> {
    NotifyReason::ALL.into_iter().find(|why| why.as_str() == word).ok_or_else(|| unknown("reason to notify", word))
}

fn hex(bytes: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*bytes))
}

fn unhex(text: &str) -> Result<Fingerprint, Unreadable> {
    let number = u128::from_str_radix(text, 16).map_err(|_| unknown("fingerprint", text))?;
    Ok(Fingerprint(number.to_be_bytes()))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}
