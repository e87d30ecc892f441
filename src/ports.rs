//! The seams of the program: what the shell needs from the world, as traits.
//!
//! There are four, and a new one needs a decision record. Adapters implement them and never import each other; only `daemon` and `cli`
//! bring them together.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::domain::alert::{Notice, Subject};
use crate::domain::digest::Bundle;
use crate::domain::inspection::{CheckError, Inspection};
use crate::domain::status::{AppStatus, TokenStatus};
use crate::domain::time::{Span, Timestamp};
use crate::domain::token::ReceiverName;
use crate::secret::{FingerprintKey, Secret};

/// Wall time, in whole seconds. Time-outs do not use it: they belong to the runtime.
pub trait Clock: Send + Sync {
    /// What time it is.
    fn now(&self) -> Timestamp;

    /// Returns after that long on this clock, or earlier.
    fn sleep(&self, span: Span) -> BoxFuture<'_, ()>;
}

/// Somebody who can be asked about a token.
pub trait Provider: Send + Sync {
    /// Asks about one token. Never fails: what went wrong is part of the answer.
    fn inspect<'a>(&'a self, question: Question<'a>) -> BoxFuture<'a, Answer>;
}

/// What is asked.
#[derive(Debug)]
pub struct Question<'a> {
    /// The token in question.
    pub token: &'a Secret,
    /// The app that asks; without one the token is probed with itself.
    pub app: Option<Credentials<'a>>,
}

/// An app's credentials.
#[derive(Debug)]
pub struct Credentials<'a> {
    /// The provider's id of the app.
    pub id: &'a str,
    /// Its secret.
    pub secret: &'a Secret,
    /// Whether appsecret_proof is sent.
    pub proof: bool,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The facts, or why there are none.
    pub facts: Result<Inspection, CheckError>,
    /// What the exchange showed beside the facts.
    pub telemetry: Telemetry,
}

/// What an exchange with a provider showed about the provider, the app's budget and our clock.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Telemetry {
    /// Seconds from question to answer.
    pub seconds: f64,
    /// Our clock minus the provider's.
    pub clock_offset: Option<Span>,
    /// Shares of budgets used, by resource, 0 to 1.
    pub usage: Vec<(&'static str, f64)>,
    /// The error code it answered with, as a label of a closed set.
    pub error_code: Option<&'static str>,
    /// The API version it really ran, when that is not the one asked for.
    pub other_version: Option<String>,
}

/// Durable state. Its contract is written in `store`, and every store passes the same suite.
pub trait Store: Send + Sync {
    /// The key for fingerprints; made at first use.
    fn fingerprint_key(&self) -> BoxFuture<'_, Result<FingerprintKey, StoreError>>;

    /// The statuses of these subjects; a subject without one is left out.
    fn load(&self, subjects: Vec<Subject>) -> BoxFuture<'_, Result<Vec<(Subject, SlotStatus)>, StoreError>>;

    /// Every subject that has a status.
    fn subjects(&self) -> BoxFuture<'_, Result<Vec<Subject>, StoreError>>;

    /// Stores statuses and puts their notices into the outbox, all in one transaction. A notice whose key is in the outbox already,
    /// delivered or not, is not put there again.
    fn commit(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Undelivered notices, oldest first, each as often as it has receivers; at most `limit`.
    fn pending(&self, limit: usize) -> BoxFuture<'_, Result<Vec<OutboxRow>, StoreError>>;

    /// Ties rows to the message that carries them, before it is sent: after a crash the same message is sent again, not another one. A row
    /// that is tied already keeps its message. It always writes, so that a store which cannot write lets nothing leave.
    fn seal(&self, rows: Vec<i64>, message: Arc<str>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Unties rows from a message that certainly did not leave, and notes the failure.
    fn reopen(&self, rows: Vec<i64>, failure: String) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Marks rows as delivered.
    fn settle(&self, rows: Vec<i64>, delivery: Settlement) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Hands rows of a receiver that is gone to others; who has the notice already does not get it twice.
    fn reroute(
        &self,
        rows: Vec<i64>,
        receivers: Vec<ReceiverName>,
        at: Timestamp,
    ) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Counts of the outbox.
    fn outbox(&self) -> BoxFuture<'_, Result<OutboxSummary, StoreError>>;

    /// Forgets deliveries, and slots that nobody looked at any more, from before that moment.
    fn prune(&self, before: Timestamp) -> BoxFuture<'_, Result<(), StoreError>>;
}

/// The status of a slot, token or app.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SlotStatus {
    /// A token's.
    Token(Box<TokenStatus>),
    /// An app's.
    App(AppStatus),
}

/// One change to be stored.
#[derive(Clone, PartialEq, Debug)]
pub struct Change {
    /// Of what.
    pub subject: Subject,
    /// The new status.
    pub status: SlotStatus,
    /// What people are told because of it.
    pub notices: Vec<Notice>,
}

/// A notice on its way to one receiver.
#[derive(Clone, PartialEq, Debug)]
pub struct OutboxRow {
    /// Its number; they count up.
    pub id: i64,
    /// To whom.
    pub receiver: ReceiverName,
    /// What.
    pub notice: Notice,
    /// The message it was tied to, when one was about to be sent.
    pub message: Option<Arc<str>>,
}

/// How a delivery ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settlement {
    /// When.
    pub at: Timestamp,
    /// By which channel.
    pub channel: &'static str,
}

/// Counts of the outbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OutboxSummary {
    /// Undelivered rows.
    pub pending: u64,
    /// When the oldest of them was made.
    pub oldest: Option<Timestamp>,
    /// The last delivery by mail.
    pub last_mail: Option<Timestamp>,
}

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the state file.
    #[error("{0} is in use by another tokenwatch; stop that one, or name another state file")]
    InUse(String),
    /// The file was written by a newer version.
    #[error("{path} was written by a newer tokenwatch (schema {found}, this one knows {known}); it was left untouched")]
    Newer {
        /// Which file.
        path: String,
        /// Its schema.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// It cannot be opened.
    #[error("cannot open {path}: {problem}")]
    Open {
        /// Which file.
        path: String,
        /// What the system says.
        problem: String,
    },
    /// A statement failed: disk full, read-only, damaged.
    #[error("the state file failed: {0}")]
    Failed(String),
}

/// A way to reach people.
pub trait Channel: Send + Sync {
    /// Delivers a bundle under that message id.
    ///
    /// # Errors
    /// Whether the message certainly did not leave, or may have.
    fn deliver<'a>(&'a self, bundle: &'a Bundle, message: &'a str) -> BoxFuture<'a, Result<Delivery, DeliveryError>>;

    /// The identity of the message that carries this bundle; the same bundle always has the same one.
    fn message_id(&self, bundle: &Bundle) -> String;

    /// The channel's name, the label of its metrics.
    fn name(&self) -> &'static str;
}

/// A message that left.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Delivery {
    /// How many addresses have it. None where the receiver wants to hear of worse things only.
    pub addresses: usize,
    /// Failures on the way to success: relays that refused, addresses that were rejected. They are told in the next notice.
    pub failures: Vec<String>,
}

/// A message that did not leave, as far as we know.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DeliveryError {
    /// It certainly did not.
    #[error("{0}")]
    NotSent(String),
    /// The connection ended before the answer did: it may have.
    #[error("{0}")]
    Unknown(String),
}
