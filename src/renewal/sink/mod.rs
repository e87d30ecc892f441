//! The places that a secret is written to: looked into, written, and given back what they held.
//!
//! Each write is a swap: it says what must stand there before and what must stand there after, and doing it twice is doing it once. A sink that
//! holds neither was changed by somebody else and is left alone.

pub mod env_file;
pub mod file;
pub mod readers;
pub mod replace;
pub mod run;
pub mod sql;
pub mod vault;

use crate::secret::Secret;
use crate::settings::delivery::Sink;
use crate::settings::source::Sources;

/// What a sink holds.
#[derive(Debug)]
pub enum Held {
    /// Nothing is there yet.
    Nothing,
    /// This.
    Secret(Secret),
    /// It cannot be looked into: a command, a statement.
    Unknown,
}

/// What must stand in a sink before a write, and what after it.
#[derive(Clone, Copy, Debug)]
pub struct Swap<'a> {
    /// Before. [`Held::Unknown`] is whatever it may be.
    pub from: &'a Held,
    /// After. [`Held::Nothing`] takes away what was written where nothing was before.
    pub to: &'a Held,
}

/// What a write did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Put {
    /// It was written.
    Written,
    /// It stood there already; nothing was touched.
    AlreadyThere,
}

/// Why a sink was not written, or may not have been. The texts are redacted and read well after "KEY in /path: ".
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SinkError {
    /// It holds neither the one secret nor the other: somebody else changed it. It was left alone.
    #[error("{0}")]
    Conflict(String),
    /// It cannot be done safely, now or later, before a person changes something. It was left alone.
    #[error("{0}")]
    Refused(String),
    /// It failed, and may work another time: a full disk, a server that is away. It may or may not have been written.
    #[error("{0}")]
    Failed(String),
}

/// What stands in a sink now.
///
/// # Errors
/// When it cannot be told.
pub async fn held(sink: &Sink, sources: &Sources) -> Result<Held, SinkError> {
    match sink.clone() {
        Sink::EnvFile { path, key, .. } => blocking(move || env_file::held(&path, &key)).await,
        Sink::File(path) => blocking(move || file::held(&path)).await,
        Sink::Vault(place) => vault::held(&place, sources).await,
        Sink::Sql(_) | Sink::Run(_) => Ok(Held::Unknown),
    }
}

/// Writes a sink.
///
/// # Errors
/// When it holds something else, when it cannot be done safely, or when it failed.
pub async fn put(sink: &Sink, swap: Swap<'_>, sources: &Sources) -> Result<Put, SinkError> {
    match sink {
        Sink::EnvFile { path, key, dialect } => {
            let (path, key, dialect) = (path.clone(), key.clone(), *dialect);
            let (from, to) = (swap.from.duplicate(), swap.to.duplicate());
            blocking(move || env_file::put(&path, &key, dialect, Swap { from: &from, to: &to })).await
        }
        Sink::File(path) => {
            let path = path.clone();
            let (from, to) = (swap.from.duplicate(), swap.to.duplicate());
            blocking(move || file::put(&path, Swap { from: &from, to: &to })).await
        }
        Sink::Sql(place) => sql::put(place, swap, sources).await,
        Sink::Vault(place) => vault::put(place, swap, sources).await,
        Sink::Run(command) => run::put(command, swap).await,
    }
}

impl Swap<'_> {
    /// Whether what stands there is what must stand there before.
    fn begins_with(&self, stands: &Held) -> Result<(), SinkError> {
        if matches!(self.from, Held::Unknown) || stands.is(self.from) {
            return Ok(());
        }
        let what = if matches!(stands, Held::Nothing) {
            "is empty where the old token should stand, so somebody else changed it"
        } else {
            "holds neither the old token nor the new one, so somebody else changed it"
        };
        Err(SinkError::Conflict(format!("{what}; it was left alone")))
    }
}

impl Held {
    /// The same once more, for a thread of its own.
    fn duplicate(&self) -> Self {
        match self {
            Self::Nothing => Self::Nothing,
            Self::Unknown => Self::Unknown,
            Self::Secret(secret) => Self::Secret(secret.duplicate()),
        }
    }

    /// Whether both hold the same. What cannot be looked into is never the same.
    pub fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Nothing, Self::Nothing) => true,
            (Self::Secret(a), Self::Secret(b)) => a.matches(b),
            _ => false,
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SinkError> + Send + 'static,
) -> Result<T, SinkError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(broken) => Err(SinkError::Failed(format!("an internal fault of tokenwatch: {broken}"))),
    }
}
