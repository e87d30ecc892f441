//! Changes one row of a database.

use super::{Put, SinkError, Swap};
use crate::settings::delivery::Sql;
use crate::settings::source::Sources;

/// Changes the row.
///
/// # Errors
/// When it holds something else, when it cannot be done safely, or when it failed.
pub async fn put(_place: &Sql, _swap: Swap<'_>, _sources: &Sources) -> Result<Put, SinkError> {
    Err(SinkError::Refused("not built yet".to_owned()))
}
