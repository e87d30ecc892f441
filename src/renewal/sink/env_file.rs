//! Replaces one value in a file of `KEY=value` lines and keeps every other byte.

use std::path::Path;

use super::{Held, Put, SinkError, Swap};
use crate::settings::delivery::Dialect;

/// What the key holds.
///
/// # Errors
/// When the file cannot be read.
pub fn held(_path: &Path, _key: &str) -> Result<Held, SinkError> {
    Err(SinkError::Refused("not built yet".to_owned()))
}

/// Replaces the value.
///
/// # Errors
/// When it holds something else, when it cannot be done safely, or when it failed.
pub fn put(_path: &Path, _key: &str, _dialect: Dialect, _swap: Swap<'_>) -> Result<Put, SinkError> {
    Err(SinkError::Refused("not built yet".to_owned()))
}
