//! Hands a secret to a command on its standard input.
//!
//! What the command does with it is not known here: it can neither be looked into nor told to take something away.

use super::{Held, Put, SinkError, Swap};
use crate::renewal::command;
use crate::settings::delivery::Command;

/// Runs the command.
///
/// # Errors
/// When it failed; it may have written all the same. When there is nothing to hand over.
pub async fn put(command: &Command, swap: Swap<'_>) -> Result<Put, SinkError> {
    let Held::Secret(secret) = swap.to else {
        return Err(SinkError::Refused("a command cannot be told to take a secret away; do it by hand".to_owned()));
    };
    let mut hide = vec![secret];
    if let Held::Secret(before) = swap.from {
        hide.push(before);
    }
    command::run(command, Some(secret), &[], &hide).await.map_err(SinkError::Failed)?;
    Ok(Put::Written)
}
