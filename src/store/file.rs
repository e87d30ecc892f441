//! How the state file is held by one process alone, and what can go wrong with it, in words.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use super::codec;
use crate::ports::StoreError;

/// Lets nobody else in for as long as the connection lives; it is taken with the first reading.
///
/// # Errors
/// When the library declines.
pub fn hold(connection: &Connection) -> Result<(), rusqlite::Error> {
    // Who holds the file holds it for good: waiting for the lock would only put off the message.
    connection.busy_timeout(Duration::ZERO)?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")
}

/// That the file cannot be opened.
pub fn unopened(path: &Path, problem: String) -> StoreError {
    StoreError::Open { path: path.display().to_string(), problem }
}

/// What the library says of a file that is being opened.
pub fn refused(path: &Path, error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::InUse(path.display().to_string()),
        Some(ErrorCode::NotADatabase) => StoreError::Foreign(path.display().to_string()),
        Some(ErrorCode::DatabaseCorrupt) => {
            StoreError::Damaged { path: path.display().to_string(), problem: error.to_string() }
        }
        _ => unopened(path, sqlite_words(error)),
    }
}

/// What can go wrong inside a statement.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("{}", sqlite_words(.0))]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Codec(#[from] codec::Unreadable),
    #[error("{0}")]
    Other(String),
}

/// That a statement failed. What cannot be read now cannot be read at the next try either.
pub fn failed(path: &Path, problem: &Problem) -> StoreError {
    let damaged = |problem: String| StoreError::Damaged { path: path.display().to_string(), problem };
    match problem {
        Problem::Codec(unreadable) => damaged(unreadable.to_string()),
        Problem::Sqlite(error) if is_damage(error) => damaged(error.to_string()),
        Problem::Sqlite(_) | Problem::Other(_) => StoreError::Failed(format!("{}: {problem}", path.display())),
    }
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// The system's words, with the remedy where there is one.
pub fn io_words(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::StorageFull => format!("{error}; free some space"),
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => {
            format!("{error}; make the folder writable for this user, or name another with [daemon] state")
        }
        _ => error.to_string(),
    }
}

/// The library's words, with the remedy where there is one.
pub fn sqlite_words(error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "the disk is full; free some space".to_owned(),
        Some(ErrorCode::ReadOnly) => "the state folder is read-only; make it writable for this user".to_owned(),
        Some(ErrorCode::DatabaseCorrupt) => {
            format!("the file is damaged ({error}); move it away and restart, or restore a copy")
        }
        _ => error.to_string(),
    }
}
