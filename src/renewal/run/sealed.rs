//! What a run keeps sealed in the journal: under which names, for which place, and what of it outlives the run.

use super::super::keyring::Keyring;
use super::super::seal::SealingKey;
use crate::domain::renewal::{Phase, Run};
use crate::ports::{BROUGHT, JournalChange, Journaled, Sealed};
use crate::secret::Secret;

/// What becomes of the journal of a run that is over: what may be of use to the next one is kept.
pub fn kept(mut entry: Journaled) -> JournalChange {
    entry.run.phase = Phase::SetAside;
    entry.sealed.retain(|name, _| OUTLIVES.contains(&name.as_str()));
    if entry.sealed.is_empty() { JournalChange::End } else { JournalChange::Go(entry) }
}

/// Seals a secret that a person brought, for the run that is to put it in place.
///
/// # Errors
/// When there is no key.
pub async fn sealed_new(keyring: &Keyring, run: &Run, secret: &Secret) -> Result<Sealed, String> {
    let key = keyring.key().await?;
    let sealed = key.seal(&context(run, BROUGHT), secret).map_err(|problem| format!("the new secret {problem}"))?;
    Ok([(BROUGHT.to_owned(), sealed)].into())
}

/// Opens what is sealed under that name; `None` where nothing is.
pub(super) fn opened(key: &SealingKey, run: &Run, sealed: &Sealed, name: &str) -> Result<Option<Secret>, String> {
    let Some(bytes) = sealed.get(name).filter(|bytes| !bytes.is_empty()) else { return Ok(None) };
    key.open(&context(run, name), bytes).map(Some).map_err(|error| format!("the sealed secret {error}"))
}

/// A sealed secret opens in the place that it was sealed for, and nowhere else.
pub(super) fn context(run: &Run, name: &str) -> String {
    format!("token/{}/{name}", run.token)
}

/// What a sink held before it was touched.
pub(super) fn sink_name(index: usize) -> String {
    format!("sink/{index}")
}

/// The old secret, in the journal.
pub(super) const OLD: &str = "old";
/// The new one.
pub(super) const NEW: &str = "new";
/// The refresh token that came with the new one.
pub(super) const NEW_REFRESH: &str = "new-refresh";
/// The refresh token that was used up for it.
pub(super) const SPENT: &str = "spent";
/// What was used up by asking, while nobody knows what came of it.
pub(super) const USED: &str = "used";
/// What outlives the run that it was sealed for.
pub(super) const OUTLIVES: [&str; 4] = [NEW, NEW_REFRESH, SPENT, USED];
