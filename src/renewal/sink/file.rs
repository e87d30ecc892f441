//! Replaces a file that holds nothing but the secret.

use std::path::Path;

use super::{Held, Put, SinkError, Swap};

/// What the file holds.
///
/// # Errors
/// When it cannot be read.
pub fn held(_path: &Path) -> Result<Held, SinkError> {
    Err(SinkError::Refused("not built yet".to_owned()))
}

/// Replaces it.
///
/// # Errors
/// When it holds something else, when it cannot be done safely, or when it failed.
pub fn put(_path: &Path, _swap: Swap<'_>) -> Result<Put, SinkError> {
    Err(SinkError::Refused("not built yet".to_owned()))
}
