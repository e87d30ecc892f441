//! What others ask of the watch loop: it alone changes a status, so answers, signs and words to say all go through it.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::domain::alert::{AlertKey, Subject};
use crate::domain::answer::{Answer, Refused};
use crate::domain::finding::Finding;
use crate::domain::ledger::Ledger;
use crate::domain::renewal::{Origin, Report};
use crate::domain::token::{ReceiverName, TokenId};
use crate::domain::watcher::Signs;
use crate::ports::JournalChange;
use crate::secret::Secret;

/// A request, and where its outcome goes.
#[derive(Debug)]
pub enum Request {
    /// Somebody answers what was told of a subject.
    Answer(Subject, Answer, oneshot::Sender<Result<Ledger, Declined>>),
    /// The watcher's signs of life were taken.
    Signs(Signs, oneshot::Sender<Result<(), Declined>>),
    /// Somebody asks for a renewal.
    Renew(TokenId, Origin, bool, oneshot::Sender<Result<u32, Declined>>),
    /// Somebody brings a new secret; the flag says that what speaks against it, but not hard, does not count.
    Replace(TokenId, Origin, Secret, bool, oneshot::Sender<Result<u32, Declined>>),
    /// A run cannot go on at present, and why; without a reason it goes on again.
    Stuck(TokenId, u32, Option<String>, oneshot::Sender<Result<(), Declined>>),
    /// A run came to its end; with what becomes of its journal.
    Ended(TokenId, Report, Box<JournalChange>, oneshot::Sender<Result<(), Declined>>),
    /// A word that is about no finding is to be said to these receivers.
    Say(Finding, Arc<[ReceiverName]>, oneshot::Sender<Result<AlertKey, Declined>>),
}

/// Why a request was not carried out.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Declined {
    /// Nothing of that name is watched.
    #[error("nothing of that name is watched")]
    Unknown,
    /// The answer does not fit.
    #[error("{0}")]
    Refused(Refused),
    /// No renewal begins, or no replacement.
    #[error("{0}")]
    NotRenewed(String),
    /// A run was cut off; the journal knows how far it came.
    #[error("{0}")]
    CutOff(String),
    /// The state could not be written, so nothing was changed.
    #[error("the state could not be written: {0}")]
    Store(String),
    /// The daemon is stopping.
    #[error("the daemon is stopping")]
    Stopping,
}

/// The way to the watch loop.
#[derive(Clone, Debug)]
pub struct Requests(mpsc::Sender<Request>);

/// The watch loop's end of it.
pub type Inbox = mpsc::Receiver<Request>;

impl Requests {
    /// A way, and its end.
    pub fn new() -> (Self, Inbox) {
        let (sender, inbox) = mpsc::channel(WAITING);
        (Self(sender), inbox)
    }

    /// Passes on what somebody answers; the ledger as it stands then.
    ///
    /// # Errors
    /// Why it was not taken.
    pub async fn answer(&self, subject: Subject, answer: Answer) -> Result<Ledger, Declined> {
        let (sender, outcome) = oneshot::channel();
        self.send(Request::Answer(subject, answer, sender)).await?;
        outcome.await.map_err(|_| Declined::Stopping)?
    }

    /// Has a word said; the key under which it is on its way.
    ///
    /// # Errors
    /// Why it is not.
    pub async fn say(&self, finding: Finding, receivers: Arc<[ReceiverName]>) -> Result<AlertKey, Declined> {
        let (sender, outcome) = oneshot::channel();
        self.send(Request::Say(finding, receivers, sender)).await?;
        outcome.await.map_err(|_| Declined::Stopping)?
    }

    /// Passes signs of life on; returns when they are noted.
    ///
    /// # Errors
    /// Why they were not.
    pub async fn signs(&self, signs: Signs) -> Result<(), Declined> {
        let (sender, outcome) = oneshot::channel();
        self.send(Request::Signs(signs, sender)).await?;
        outcome.await.map_err(|_| Declined::Stopping)?
    }

    /// Asks for a renewal; `anyway` as in [`crate::domain::renewal::Run`]; the number of the run that begins.
    ///
    /// # Errors
    /// Why none begins.
    pub async fn renew(&self, id: TokenId, origin: Origin, anyway: bool) -> Result<u32, Declined> {
        let (sender, outcome) = oneshot::channel();
        self.send(Request::Renew(id, origin, anyway, sender)).await?;
        outcome.await.map_err(|_| Declined::Stopping)?
    }

    /// Hands over a new secret; the number of the run that puts it in place.
    ///
    /// # Errors
    /// Why none begins.
    pub async fn replace(&self, id: TokenId, origin: Origin, secret: Secret, anyway: bool) -> Result<u32, Declined> {
        let (sender, outcome) = oneshot::channel();
        self.send(Request::Replace(id, origin, secret, anyway, sender)).await?;
        outcome.await.map_err(|_| Declined::Stopping)?
    }

    /// Tells that a run cannot go on at present, or, without a reason, that it goes on again.
    ///
    /// # Errors
    /// Why that was not noted.
    pub async fn stuck(&self, id: TokenId, number: u32, why: Option<String>) -> Result<(), Declined> {
        let (sender, outcome) = oneshot::channel();
        self.send(Request::Stuck(id, number, why, sender)).await?;
        outcome.await.map_err(|_| Declined::Stopping)?
    }

    /// Tells how a run ended; returns when that is stored, together with what becomes of its journal.
    ///
    /// # Errors
    /// Why it was not.
    pub async fn ended(&self, id: TokenId, report: Report, journal: JournalChange) -> Result<(), Declined> {
        let (sender, outcome) = oneshot::channel();
        self.send(Request::Ended(id, report, Box::new(journal), sender)).await?;
        outcome.await.map_err(|_| Declined::Stopping)?
    }

    async fn send(&self, request: Request) -> Result<(), Declined> {
        self.0.send(request).await.map_err(|_| Declined::Stopping)
    }
}

/// Requests that may wait; whoever comes later waits at the door.
const WAITING: usize = 64;
