//! Exchange, refresh and revocation (reference §3): another token in the place of this one.

use super::Meta;
use crate::domain::inspection::CheckError;
use crate::ports::{Credentials, Exchange, ExchangeError, Exchanged, Telemetry};
use crate::secret::Secret;

/// Asks for another token.
pub(super) async fn exchange(_meta: &Meta, _request: Exchange<'_>) -> Exchanged {
    let error = CheckError::Refused("not built yet".into());
    Exchanged { given: Err(ExchangeError::Unanswered { error, may_be_done: false }), telemetry: Telemetry::default() }
}

/// Revokes a token.
pub(super) async fn revoke(_meta: &Meta, _token: &Secret, _app: Credentials<'_>) -> Result<(), CheckError> {
    Err(CheckError::Refused("not built yet".into()))
}
