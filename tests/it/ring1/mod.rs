//! The first ring of simulated time: the pure core alone, judged by the promises of `docs/alerts.md`.
//!
//! `promises` tries them one by one on the smallest life that shows each; `lives` tries them on random lives, beside a naive `model`
//! that was written from the promises; `crowd` does so for thousands of tokens over years; `apps` is about faults of apps;
//! `findings` has a table for every reason; `renewals` is about tokens that are renewed; `watcher` is about tokenwatch itself; `post`
//! folds, paces and holds back what the lives tell. `fates` is the world they live in. What is here are the words they share.

mod apps;
mod crowd;
mod fates;
mod findings;
mod lives;
mod model;
mod post;
mod promises;
mod renewals;
mod watcher;

use std::sync::Arc;

use tokenwatch::domain::alert::{Notice, NotifyReason};
use tokenwatch::domain::answer::Signed;
use tokenwatch::domain::finding::{Reason, Severity};
use tokenwatch::domain::inspection::{
    Cause, CheckError, CheckOutcome, Expiry, Grant, Inspection, Unreachable, Validity,
};
use tokenwatch::domain::status::TokenStatus;
use tokenwatch::domain::step::{Observation, Step, step};
use tokenwatch::domain::time::{Span, Timestamp};
use tokenwatch::domain::token::{
    Fingerprint, Ladder, Lead, Policy, ProviderName, ReceiverName, Required, Rhythm, TokenId, TokenSpec,
};

pub const MINUTE: i64 = 60;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;
/// The day on which every simulated life begins.
pub const START: Timestamp = Timestamp::from_unix(1_800_000_000);

/// `seconds` after the start.
pub fn at(seconds: i64) -> Timestamp {
    START.plus(Span::seconds(seconds))
}

pub fn spec(name: &str, policy: Policy, period: i64) -> TokenSpec {
    let oncall = ReceiverName::parse("oncall").expect("a good name");
    TokenSpec {
        id: TokenId::parse(name).expect("a good name"),
        provider: ProviderName::meta(),
        app: None,
        receivers: Arc::from([oncall]),
        policy: Arc::new(policy),
        required: Arc::new(Required { scopes: vec![SCOPE.into()], targets: Vec::new(), ..Required::default() }),
        rhythm: Rhythm::Every(Span::seconds(period)),
        renew: None,
        expires: None,
    }
}

/// A ladder of so many days.
pub fn days(rungs: &[i64]) -> Ladder {
    Ladder::new(rungs.iter().map(|n| Lead::Before(Span::days(*n))).collect()).expect("a rung at least")
}

/// An answer of this validity by a token that may do what is required.
pub fn answer(validity: Validity, expires: Expiry) -> Inspection {
    let grants = Some(vec![Grant { scope: SCOPE.into(), targets: None }]);
    Inspection { expires, grants, ..Inspection::bare(validity) }
}

/// A working token that ends `seconds` after the start and was issued then.
pub fn valid_until(seconds: i64) -> Inspection {
    Inspection { issued_at: Some(START), ..answer(Validity::Valid, Expiry::At(at(seconds))) }
}

pub fn revoked() -> Inspection {
    Inspection::bare(Validity::Revoked(Cause::LoggedOut))
}

pub fn checked(secret: u8, answer: Inspection) -> Observation {
    Observation::Checked(CheckOutcome {
        fingerprint: Some(Fingerprint([secret; 16])),
        answer: Ok(answer),
        beside: None,
    })
}

pub fn failed(secret: u8, error: CheckError) -> Observation {
    Observation::Checked(CheckOutcome {
        fingerprint: Some(Fingerprint([secret; 16])),
        answer: Err(error),
        beside: None,
    })
}

pub fn unreachable(secret: u8) -> Observation {
    failed(secret, CheckError::Unreachable(Unreachable::Timeout, "slow".into()))
}

pub fn no_secret() -> Observation {
    Observation::Checked(CheckOutcome {
        fingerprint: None,
        answer: Err(CheckError::Source("no such file".into())),
        beside: None,
    })
}

/// Somebody, at a time that does not matter: an answer counts from when it is taken.
pub fn signed() -> Signed {
    Signed { by: "ada (uid 1000)".into(), at: START, why: Some("renewing it".into()) }
}

/// One slot under a hand-held clock.
pub struct Slot {
    pub spec: TokenSpec,
    pub status: TokenStatus,
}

impl Slot {
    pub fn new(policy: Policy) -> Self {
        Self { spec: spec("slot", policy, 15 * MINUTE), status: TokenStatus::new(START) }
    }

    /// One step, `seconds` after the start by our clock.
    pub fn see(&mut self, seconds: i64, seen: Observation) -> Step {
        let step = step(&self.spec, self.status.clone(), seen, at(seconds));
        self.status = step.status.clone();
        step
    }

    /// What one step tells.
    pub fn tells(&mut self, seconds: i64, seen: Observation) -> Vec<Word> {
        words(&self.see(seconds, seen).notices)
    }
}

/// The part of a notice that most promises are about.
pub type Word = (NotifyReason, Reason, Severity);

pub fn words(notices: &[Notice]) -> Vec<Word> {
    notices.iter().map(|notice| (notice.why, notice.reason, notice.severity)).collect()
}

/// The permission that every simulated token must have.
pub const SCOPE: &str = "whatsapp_business_messaging";
