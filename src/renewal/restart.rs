//! Makes the application read the new secret.
//!
//! It restarts what the configuration names and nothing else.

use super::{command, systemd};
use crate::redact::redact;
use crate::secret::Secret;
use crate::settings::delivery::Restart;

/// Restarts the application and waits until it runs. What it prints is redacted, with `hide` taken out.
///
/// # Errors
/// What went wrong, redacted; reads well after "NAME was not restarted: ".
pub async fn restart(restart: &Restart, hide: &[&Secret]) -> Result<(), String> {
    match restart {
        Restart::Systemd { unit, within } => {
            systemd::restart(None, unit, *within).await.map_err(|text| redact(&text, hide))
        }
        Restart::Run(command) => command::run(command, None, &[], hide).await.map(drop),
    }
}
