//! Ids that stay: of messages, and of events in a calendar. They are hashes of what they name and end in the domain of the sender, so they outlive
//! a restart and a move to another host.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// The domain for ids: that of the sender, which stays when the daemon moves to another host.
pub fn id_domain(from: &str) -> String {
    safe_domain(from.rsplit_once('@').map_or("", |(_, domain)| domain.trim_end_matches('>').trim()))
}

/// 128 bits of SHA-256 as hexadecimal digits: short enough to read, long enough to be unique.
pub fn identifier(text: &str) -> String {
    let mut hex = String::with_capacity(32);
    for byte in Sha256::digest(text.as_bytes()).iter().take(16) {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// What may stand to the right of the `@` of an id.
pub fn safe_domain(domain: &str) -> String {
    let safe: String =
        domain.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-')).take(200).collect();
    match safe.trim_matches(['.', '-']) {
        "" => "tokenwatch.invalid".to_owned(),
        safe => safe.to_ascii_lowercase(),
    }
}
