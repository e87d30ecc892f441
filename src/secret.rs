//! A secret and its fingerprint.
//!
//! [`Secret`] has no `Display`, no `Serialize` and no `Clone`, and its memory is wiped when it is dropped. `expose()` is legal in the
//! few files that the tidy test lists: where a request is signed or sent, and nowhere else.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::domain::token::Fingerprint;

/// A value that must not be seen.
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a value. Surrounding white space is removed: it comes from editors and `echo`, and no provider issues it.
    pub fn new(text: Zeroizing<String>) -> Self {
        if text.trim().len() == text.len() { Self(text) } else { Self(Zeroizing::new(text.trim().to_owned())) }
    }

    /// The value itself, for the one call that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The same once more, where two owners need it. Secrets are not cloned by accident, so this is no `Clone`.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self(self.0.clone())
    }

    /// Whether both are the same, told in a time that does not depend on where they differ.
    pub fn matches(&self, other: &Self) -> bool {
        let (a, b) = (self.0.as_bytes(), other.0.as_bytes());
        a.len() == b.len() && a.iter().zip(b).fold(0, |differs, (x, y)| differs | (x ^ y)) == 0
    }

    /// Whether it begins like this.
    pub fn begins_with(&self, beginning: &str) -> bool {
        self.0.starts_with(beginning)
    }

    /// Whether it is plain printable text without spaces, as every token is; anything else would garble the file that it is written to.
    pub fn is_one_word(&self) -> bool {
        !self.0.is_empty() && self.0.bytes().all(|byte| byte.is_ascii_graphic())
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The key that makes fingerprints of this installation useless anywhere else.
#[derive(Clone)]
pub struct FingerprintKey([u8; 32]);

impl FingerprintKey {
    /// A key as stored.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The fingerprint of a secret: HMAC-SHA256 (RFC 2104), cut to 128 bits.
    pub fn fingerprint(&self, secret: &Secret) -> Fingerprint {
        let mac = hmac_sha256(&self.0, secret.expose().as_bytes());
        let mut cut = [0; 16];
        cut.copy_from_slice(&mac[..16]);
        Fingerprint(cut)
    }
}

impl fmt::Debug for FingerprintKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// HMAC-SHA256 over `message` (RFC 2104).
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_as_stars_and_loses_its_line_feed() {
        let secret = Secret::new(Zeroizing::new("  EAAB\r\n".to_owned()));
        assert_eq!(secret.expose(), "EAAB");
        assert_eq!(format!("{secret:?}"), "***");
    }

    /// RFC 4231, test case 2.
    #[test]
    fn hmac_matches_the_rfc() {
        let mac = hmac_sha256(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(mac[..4], [0x5b, 0xdc, 0xc1, 0x46]);
    }
}
