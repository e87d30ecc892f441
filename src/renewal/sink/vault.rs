//! Replaces one field of a secret in a key-value engine, version 2, of Vault or OpenBao.

use super::{Held, Put, SinkError, Swap};
use crate::settings::delivery::Vault;
use crate::settings::source::Sources;

/// What the field holds.
///
/// # Errors
/// When it cannot be read.
pub async fn held(_place: &Vault, _sources: &Sources) -> Result<Held, SinkError> {
    Err(SinkError::Refused("not built yet".to_owned()))
}

/// Replaces the field.
///
/// # Errors
/// When it holds something else, when it cannot be done safely, or when it failed.
pub async fn put(_place: &Vault, _swap: Swap<'_>, _sources: &Sources) -> Result<Put, SinkError> {
    Err(SinkError::Refused("not built yet".to_owned()))
}
