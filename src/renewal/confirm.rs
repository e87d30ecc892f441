//! Proves that the application works with the secret that is now in place.

use crate::secret::Secret;
use crate::settings::Meta;
use crate::settings::delivery::Confirm;

/// Asks again and again until the answer is good or the time is over. `token` is what the first sink holds now.
///
/// # Errors
/// What the last answer was, redacted; reads well after "NAME did not confirm: ".
pub async fn confirm(_confirm: &Confirm, _token: &Secret, _meta: &Meta) -> Result<(), String> {
    Err("not built yet".to_owned())
}
