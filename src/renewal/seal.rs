//! Seals secrets that must outlive a crash: authenticated encryption under a key of this installation.

use std::path::Path;

use crate::secret::Secret;

/// The key.
#[derive(Debug)]
pub struct SealingKey(());

/// Why.
#[derive(Debug, thiserror::Error)]
#[error("not built yet")]
pub struct SealError;

impl SealingKey {
    /// Opens.
    pub fn open_at(_credential: Option<&Path>, _file: &Path) -> Result<Self, SealError> {
        Ok(Self(()))
    }

    /// Seals.
    pub fn seal(&self, _context: &str, _secret: &Secret) -> Vec<u8> {
        Vec::new()
    }

    /// Opens.
    pub fn open(&self, _context: &str, _sealed: &[u8]) -> Result<Secret, SealError> {
        Err(SealError)
    }
}
