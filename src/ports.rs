//! The seams of the program: what the shell needs from the world, as traits.
//!
//! There are four, and a new one needs a decision record. Adapters implement them and never import each other; only `daemon` and `cli`
//! bring them together.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::OwnedSemaphorePermit;

use crate::domain::alert::{Ending, Incident, Notice, Subject};
use crate::domain::answer;
use crate::domain::digest::Bundle;
use crate::domain::finding::Severity;
use crate::domain::inspection::{CheckError, Inspection, Validity};
use crate::domain::ledger::Entry;
use crate::domain::number::{Number, NumberError, Subscription};
use crate::domain::renewal::{Ended, Method, Phase, Run};
use crate::domain::route::{ChannelKind, Route};
use crate::domain::status::{AppStatus, TokenStatus};
use crate::domain::time::{Span, Timestamp};
use crate::domain::token::{ProviderName, ReceiverName, TokenId};
use crate::domain::watcher::WatcherStatus;
use crate::secret::{FingerprintKey, Secret};

/// Wall time, in whole seconds. Time-outs do not use it: they belong to the runtime.
pub trait Clock: Send + Sync {
    /// What time it is.
    fn now(&self) -> Timestamp;

    /// Returns after that long on this clock, or earlier.
    fn sleep(&self, span: Span) -> BoxFuture<'_, ()>;

    /// Whether a second of it is a second, so that it can be compared with other people's clocks.
    fn keeps_pace(&self) -> bool {
        true
    }
}

/// Somebody who can be asked about a token. What a provider has nothing to say about it need not know: it then says that.
pub trait Provider: Send + Sync {
    /// The error codes that it may answer with, as labels; every other one is counted as `other`.
    fn error_codes(&self) -> Vec<&str>;

    /// Asks about one token. Never fails: what went wrong is part of the answer.
    fn inspect<'a>(&'a self, question: &'a Question<'a>) -> BoxFuture<'a, Answer>;

    /// The same, with everything that was sent, that came back and that was read of it, redacted, for whoever describes a provider.
    fn rehearse<'a>(&'a self, question: &'a Question<'a>) -> BoxFuture<'a, (Answer, Vec<Rehearsed>)> {
        Box::pin(async move { (self.inspect(question).await, Vec::new()) })
    }

    /// Asks for another token in the place of this one. What comes back is not believed before it was inspected.
    fn exchange<'a>(&'a self, request: Exchange<'a>) -> BoxFuture<'a, Exchanged> {
        let _ = request;
        Box::pin(async { Exchanged::refused("this provider gives no other token", Telemetry::default()) })
    }

    /// Takes leave of the old token: it is revoked at once and for good, or the new one is put in its place for good.
    ///
    /// # Errors
    /// Why it was not, as far as is known. A token that is dead already counts as revoked.
    fn revoke<'a>(&'a self, farewell: &'a Farewell<'a>) -> BoxFuture<'a, Result<(), CheckError>> {
        let _ = farewell;
        Box::pin(async { Err(CheckError::Refused("this provider revokes no token when it is asked to".into())) })
    }

    /// Asks about a WhatsApp number, with the token itself.
    fn number<'a>(&'a self, question: &'a Question<'a>, id: &'a str) -> BoxFuture<'a, Heard<Number>> {
        let _ = (question, id);
        Box::pin(async { Heard::nothing() })
    }

    /// Asks who gets what arrives at a WhatsApp account; `app_id` is ours, where it is known.
    fn subscription<'a>(
        &'a self,
        question: &'a Question<'a>,
        account: &'a str,
        app_id: Option<&'a str>,
    ) -> BoxFuture<'a, Heard<Subscription>> {
        let _ = (question, account, app_id);
        Box::pin(async { Heard::nothing() })
    }

    /// Asks which numbers a WhatsApp account has; the first of them.
    fn numbers_of<'a>(&'a self, question: &'a Question<'a>, account: &'a str) -> BoxFuture<'a, Heard<Vec<Listed>>> {
        let _ = (question, account);
        Box::pin(async { Heard::nothing() })
    }

    /// Sends a WhatsApp message: it costs money and reaches a person.
    fn send<'a>(&'a self, question: &'a Question<'a>, message: &'a Message<'a>) -> BoxFuture<'a, Result<Sent, Unsent>> {
        let _ = (question, message);
        let why = NumberError::Unanswered(CheckError::Refused(NO_WHATSAPP.into()));
        Box::pin(async { Err(Unsent { code: None, words: NO_WHATSAPP.into(), why }) })
    }
}

/// What a provider says that knows no WhatsApp.
const NO_WHATSAPP: &str = "this provider tells nothing of WhatsApp numbers";

impl<T> Heard<T> {
    fn nothing() -> Self {
        let said = Err(NumberError::Unanswered(CheckError::Refused(NO_WHATSAPP.into())));
        Self { said, telemetry: Telemetry::default() }
    }
}

/// One thing that was sent, that came back, or that was read of it; redacted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rehearsed {
    /// What it is: `request`, `answer`, `expires`, …
    pub what: Box<str>,
    /// It, perhaps over several lines.
    pub text: String,
}

/// Whoever can be asked, by name.
pub type Providers = BTreeMap<ProviderName, Arc<dyn Provider>>;

/// What a token is asked about with, beside itself and its app: the values of its parameters.
#[derive(Debug, Default)]
pub struct Parameters {
    /// Those that everybody may see.
    pub open: BTreeMap<Box<str>, Box<str>>,
    /// Those that are secrets themselves.
    pub secret: BTreeMap<Box<str>, Secret>,
}

impl Parameters {
    /// None.
    pub const NONE: &'static Self = &Self { open: BTreeMap::new(), secret: BTreeMap::new() };
}

/// What WhatsApp said.
#[derive(Debug)]
pub struct Heard<T> {
    /// It, or why it said nothing.
    pub said: Result<T, NumberError>,
    /// What the exchange showed beside it.
    pub telemetry: Telemetry,
}

/// A number in the list of an account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// Its id.
    pub id: Box<str>,
    /// As people write it.
    pub display: Box<str>,
}

/// A template message without parameters.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The id of the number it is sent from.
    pub from: &'a str,
    /// To whom, in E.164 form.
    pub to: &'a str,
    /// The template.
    pub template: &'a str,
    /// Its language.
    pub language: &'a str,
}

/// A message that was accepted, which is not to say delivered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sent {
    /// Its id.
    pub id: Box<str>,
    /// `accepted`, `held_for_quality_assessment`, `paused`.
    pub status: Option<Box<str>>,
}

/// A message that was not accepted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unsent {
    /// Meta's code.
    pub code: Option<i64>,
    /// Meta's words, redacted, without the number.
    pub words: Box<str>,
    /// What kind of refusal it is.
    pub why: NumberError,
}

impl Telemetry {
    /// Takes in what another exchange showed beside its answer; of a budget the higher share counts, of clock and version what was seen first.
    pub fn also(&mut self, other: Self) {
        for (resource, ratio) in other.usage {
            match self.usage.iter_mut().find(|(known, _)| *known == resource) {
                Some((_, known)) => *known = known.max(ratio),
                None => self.usage.push((resource, ratio)),
            }
        }
        self.error_codes.extend(other.error_codes);
        self.clock_offset = self.clock_offset.or(other.clock_offset);
        self.other_version = self.other_version.take().or(other.other_version);
    }
}

/// What another token is asked for with.
#[derive(Debug)]
pub struct Exchange<'a> {
    /// How.
    pub method: Method,
    /// The token to exchange; to read a page token again, its user token.
    pub token: &'a Secret,
    /// The app that asks.
    pub app: Option<Credentials<'a>>,
    /// The page whose token is read.
    pub page: Option<&'a str>,
    /// The rest of what is asked with.
    pub parameters: &'a Parameters,
}

/// What is left to do once a new token is in place and confirmed.
#[derive(Debug)]
pub struct Farewell<'a> {
    /// The token that goes.
    pub token: &'a Secret,
    /// The token that stays.
    pub stays: Option<&'a Secret>,
    /// The app that asks.
    pub app: Option<Credentials<'a>>,
    /// The rest of what is asked with.
    pub parameters: &'a Parameters,
}

/// What came back.
#[derive(Debug)]
pub struct Exchanged {
    /// The new token, or why there is none.
    pub given: Result<Given, ExchangeError>,
    /// What the exchange showed beside it.
    pub telemetry: Telemetry,
}

/// A new token, as the provider gives it.
#[derive(Debug)]
pub struct Given {
    /// The token. It may be the old string, with a later end or without.
    pub secret: Secret,
    /// When it ends, where the provider says so; the inspection knows better.
    pub ends: Option<Timestamp>,
    /// The refresh token that takes the place of the one that was used up.
    pub refresh_token: Option<Secret>,
}

impl Exchanged {
    /// Nothing was asked, for this reason.
    pub fn refused(why: &str, telemetry: Telemetry) -> Self {
        let error = CheckError::Refused(why.into());
        Self { given: Err(ExchangeError::Unanswered { error, may_be_done: false }), telemetry }
    }
}

/// Why there is no new token.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ExchangeError {
    /// This says nothing about the token.
    #[error("{error}")]
    Unanswered {
        /// What went wrong.
        error: CheckError,
        /// Whether the provider may have given one all the same.
        may_be_done: bool,
    },
    /// The token that was to be exchanged is dead; the text is the provider's, redacted.
    #[error("the token is dead: {1}")]
    Dead(Validity, Box<str>),
}

/// What is asked.
#[derive(Debug)]
pub struct Question<'a> {
    /// The token in question.
    pub token: &'a Secret,
    /// The app that asks; without one the token is probed with itself.
    pub app: Option<Credentials<'a>>,
    /// The rest of what is asked with.
    pub parameters: &'a Parameters,
}

/// An app's credentials.
#[derive(Clone, Copy, Debug)]
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
    /// The WhatsApp number behind the token, where the same answer told of it, so that nobody need ask again.
    pub number: Option<Number>,
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
    /// The error codes it answered with, as labels of a closed set.
    pub error_codes: Vec<Cow<'static, str>>,
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

    /// The runs that have not come to their end.
    fn runs(&self) -> BoxFuture<'_, Result<Vec<Journaled>, StoreError>>;

    /// The run of that token, whatever its phase.
    fn run_of(&self, token: TokenId) -> BoxFuture<'_, Result<Option<Journaled>, StoreError>>;

    /// Removes that run of that token and its secrets; another run of the token is left alone.
    fn end_run(&self, token: TokenId, number: u32) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Notes how far a run has come, with what must outlive a crash. It is durable when this returns.
    fn journal(&self, entry: Journaled) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The ways to people on which something waits, with what is known of each. Notices made before `late` count as late.
    fn lanes(&self, late: Timestamp) -> BoxFuture<'_, Result<Vec<LaneSummary>, StoreError>>;

    /// What waits in a lane, in the order in which it was committed; at most `limit`.
    fn pending(&self, lane: Lane, limit: usize) -> BoxFuture<'_, Result<Vec<OutboxRow>, StoreError>>;

    /// The same without what is milder than `from`; what was tied to a message before, and tests, are never left out.
    fn urgent(&self, lane: Lane, from: Severity, limit: usize) -> BoxFuture<'_, Result<Vec<OutboxRow>, StoreError>>;

    /// Hands rows to these lanes instead of the one they are in; a lane that has a notice already does not get it twice. Without a lane to go
    /// to they stay.
    fn assign(&self, rows: Vec<i64>, lanes: Vec<Lane>, at: Timestamp) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Ties rows to the message that carries them, before it is sent: after a crash the same message is sent again, not another one. A row
    /// that is tied already keeps its message. It always writes, so that a store which cannot write lets nothing leave.
    fn seal(&self, rows: Vec<i64>, message: Arc<str>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Notes that rows could not be delivered. Those of a message that certainly did not leave are untied from it.
    fn failed(
        &self,
        rows: Vec<i64>,
        failure: String,
        untie: bool,
        at: Timestamp,
    ) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Marks rows as delivered.
    fn settle(&self, rows: Vec<i64>, delivery: Settlement) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Counts of the outbox.
    fn outbox(&self) -> BoxFuture<'_, Result<OutboxSummary, StoreError>>;

    /// When messages left by that lane after `since`, oldest first.
    fn messages(&self, lane: Lane, since: Timestamp) -> BoxFuture<'_, Result<Vec<Timestamp>, StoreError>>;

    /// Of each incident that is open, the last notice that went by that lane, or is on its way.
    fn firing(&self, lane: Lane) -> BoxFuture<'_, Result<Vec<Notice>, StoreError>>;

    /// What happened to a subject, the newest first; at most `limit` of each sort.
    fn history(&self, subject: Subject, limit: usize) -> BoxFuture<'_, Result<History, StoreError>>;

    /// How many incidents began, and how many ended, after that moment.
    fn activity(&self, since: Timestamp) -> BoxFuture<'_, Result<(u64, u64), StoreError>>;

    /// Forgets deliveries, incidents that ended, answers, and slots that nobody looked at any more, from before that moment; and the oldest of
    /// them where there are too many.
    fn prune(&self, before: Timestamp) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Copies all of it, as it is at one moment, into a file that has no name and goes with the last who reads it. There is one at a time, and it is
    /// made to its end even if nobody waits for it any more.
    fn snapshot(&self) -> BoxFuture<'_, Result<Snapshot, StoreError>>;

    /// Reads all of it and says whether it is whole. Commits go on in between.
    fn verify(&self) -> BoxFuture<'_, Result<StateReport, StoreError>>;
}

/// A copy of a state.
#[derive(Debug)]
pub struct Snapshot {
    /// To be read from its beginning.
    pub file: File,
    /// Its length in bytes.
    pub length: u64,
    /// While this lives no other is made: there may not be room for more than one.
    pub turn: OwnedSemaphorePermit,
}

/// What a state holds, and what is wrong with it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StateReport {
    /// Its schema.
    pub schema: i64,
    /// The schema of this program.
    pub known: i64,
    /// How many rows each table has.
    pub rows: BTreeMap<String, u64>,
    /// How many incidents are open.
    pub open_incidents: u64,
    /// How many notices wait.
    pub waiting: u64,
    /// When the oldest of them was made.
    pub oldest_waiting: Option<Timestamp>,
    /// The runs in the journal.
    pub runs: Vec<RunReport>,
    /// What is wrong: what the database says of its file, what is missing, which rows cannot be read.
    pub faults: Vec<String>,
    /// How many faults there are beyond those.
    pub more_faults: u64,
}

/// A run in the journal of a state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunReport {
    /// Whose.
    pub subject: String,
    /// How far it came.
    pub phase: String,
    /// How many secrets are sealed with it.
    pub sealed: usize,
}

impl StateReport {
    /// Whether nothing is wrong.
    pub fn is_whole(&self) -> bool {
        self.faults.is_empty()
    }

    /// Notes a fault; of very many only the first are kept.
    pub fn fault(&mut self, what: String) {
        if self.faults.len() < MOST_FAULTS {
            self.faults.push(what);
        } else {
            self.more_faults += 1;
        }
    }
}

/// Faults that are named one by one.
const MOST_FAULTS: usize = 50;

/// The status of a slot, token or app.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SlotStatus {
    /// A token's.
    Token(Box<TokenStatus>),
    /// An app's.
    App(AppStatus),
    /// The watcher's own.
    Watcher(WatcherStatus),
}

/// A run with what it must not lose.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Journaled {
    /// The run.
    pub run: Run,
    /// Its secrets, sealed, each by what it is.
    pub sealed: Sealed,
}

impl Journaled {
    /// Takes over what an earlier run of the token sealed, though it was thought to be over: it may be the only living secret.
    pub fn take_over(&mut self, earlier: &Self) {
        // Before it begins a run has nothing of its own but what a person brought: the rest is what the earlier one had sealed a while ago.
        let has_begun = self.run.phase != Phase::Ordered;
        let own = std::mem::replace(&mut self.sealed, earlier.sealed.clone());
        self.sealed.extend(own.into_iter().filter(|(name, _)| has_begun || name == BROUGHT));
        self.run.only_copy |= earlier.run.only_copy;
        self.run.given_end = self.run.given_end.or(earlier.run.given_end);
    }
}

/// Under that name a run keeps what a person brought.
pub const BROUGHT: &str = "brought";

/// Sealed secrets, by what they are.
pub type Sealed = BTreeMap<String, Vec<u8>>;

/// What a change does to the journal of a token's runs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum JournalChange {
    /// Nothing.
    #[default]
    None,
    /// A run begins. What is sealed of the run before it is kept beside what this one brings.
    Begin(Journaled),
    /// The run goes on to this phase; what is sealed is replaced.
    Go(Journaled),
    /// The run is over and its secrets are removed.
    End,
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
    /// What is kept of it for those who ask later.
    pub entries: Vec<Entry>,
    /// What happens to the journal.
    pub journal: JournalChange,
}

/// A way to one receiver. Before its channels are looked up a notice waits in the lane without a route.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Lane {
    /// To whom.
    pub receiver: ReceiverName,
    /// By which way.
    pub route: Option<Route>,
}

/// `mail to oncall`: for people and logs.
impl std::fmt::Display for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} to {}", self.route.map_or("notices", Route::as_str), self.receiver)
    }
}

/// What waits in a lane.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LaneSummary {
    /// Which.
    pub lane: Lane,
    /// How many rows.
    pub waiting: u64,
    /// How many of them are late.
    pub late: u64,
    /// The oldest row that was tried in vain: when it was first tried, and how the last try failed.
    pub tried: Option<(Timestamp, String)>,
}

/// What happened to a subject.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct History {
    /// Its incidents.
    pub incidents: Vec<IncidentRecord>,
    /// What people answered.
    pub answers: Vec<AnswerRecord>,
    /// What was sent, or is to be.
    pub deliveries: Vec<DeliveryRecord>,
    /// The renewals and replacements.
    pub renewals: Vec<Ended>,
}

/// An incident that was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IncidentRecord {
    /// As it stood last.
    pub incident: Incident,
    /// When and how it ended.
    pub ended: Option<(Timestamp, Ending)>,
}

/// An answer that was given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AnswerRecord {
    /// When.
    pub at: Timestamp,
    /// What.
    pub answer: answer::Answer,
}

/// A notice on its way, or arrived.
#[derive(Clone, PartialEq, Debug)]
pub struct DeliveryRecord {
    /// The notice.
    pub notice: Notice,
    /// To whom and by which way.
    pub lane: Lane,
    /// The channel that took it and when; `none` where there was nobody to reach.
    pub delivered: Option<(Timestamp, String)>,
    /// How often it was tried.
    pub attempts: u64,
    /// How the last try failed.
    pub failure: Option<String>,
}

/// A notice on its way.
#[derive(Clone, PartialEq, Debug)]
pub struct OutboxRow {
    /// Its number; they count up.
    pub id: i64,
    /// What.
    pub notice: Notice,
    /// The message it was tied to, when one was about to be sent.
    pub message: Option<Arc<str>>,
    /// How the last try failed.
    pub failure: Option<String>,
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
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OutboxSummary {
    /// Undelivered rows.
    pub pending: u64,
    /// When the oldest of them was made.
    pub oldest: Option<Timestamp>,
    /// The last delivery by each channel.
    pub last: Vec<(ChannelKind, Timestamp)>,
}

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the state file.
    #[error("{0} is in use by another tokenwatch; stop that one, or name another state file")]
    InUse(String),
    /// The file was written by a newer version.
    #[error(
        "{path} was written by a newer tokenwatch (schema {found}, this one knows {known}); it was left untouched. Start the newer version again, or {}",
        way_back(copy.as_deref(), *known)
    )]
    Newer {
        /// Which file.
        path: String,
        /// Its schema.
        found: i64,
        /// The newest that this program knows.
        known: i64,
        /// The copy that was made before it became that, where it is still there.
        copy: Option<String>,
    },
    /// It cannot be opened.
    #[error("cannot open {path}: {problem}")]
    Open {
        /// Which file.
        path: String,
        /// What the system says.
        problem: String,
    },
    /// It holds something else.
    #[error("{0} is not a state file of tokenwatch; name another, or move it away to begin anew")]
    Foreign(String),
    /// It is damaged.
    #[error("{path} is damaged: {problem}; restore a copy, or without one move it away and begin anew (docs/state.md)")]
    Damaged {
        /// Which file.
        path: String,
        /// What the library says.
        problem: String,
    },
    /// A statement failed: disk full, read-only, damaged.
    #[error("the state file failed: {0}")]
    Failed(String),
    /// It is at work for somebody else; what that is, and what to do.
    #[error("{0}")]
    Busy(&'static str),
    /// A later run of that subject has its place in the journal; what was sealed went to that one.
    #[error("a later run of {0} has its place in the journal")]
    Overtaken(String),
}

/// What to do with a state that is too new. Whatever was learned since the copy is not in it.
fn way_back(copy: Option<&str>, known: i64) -> String {
    match copy {
        Some(copy) => format!("put back the copy from before the upgrade: {copy} (docs/state.md)"),
        None => format!("restore a backup of schema {known} or older (docs/state.md)"),
    }
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

    /// What kind of channel it is.
    fn kind(&self) -> ChannelKind;

    /// Tells again of what is open, where the other side forgets what is not told again. The notices are the last ones of open incidents.
    ///
    /// # Errors
    /// When it was not taken.
    fn sustain<'a>(
        &'a self,
        _receiver: &'a ReceiverName,
        _open: &'a [Notice],
    ) -> BoxFuture<'a, Result<(), DeliveryError>> {
        Box::pin(std::future::ready(Ok(())))
    }
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
