//! How pages spell what they make up: the letters of secrets and ids, and instants.

use jiff::Timestamp;

/// So many letters of this alphabet, always the same for the same seed.
pub fn drawn(seed: &str, alphabet: &[u8], length: usize) -> String {
    // FNV-1a mixes the seed, and a linear congruence goes on from there; nothing here is meant to be hard to guess.
    let mut state = seed
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |state, byte| (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let count = u64::try_from(alphabet.len()).expect("an alphabet is short");
    let mut letter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let place = usize::try_from((state >> 33) % count).expect("less than the alphabet is long");
        char::from(alphabet[place])
    };
    (0..length).map(|_| letter()).collect()
}

/// `YYYY-MM-DDThh:mm:ssZ` of a number of seconds since 1970.
pub fn rfc_3339(seconds: i64) -> String {
    written(seconds, "%Y-%m-%dT%H:%M:%SZ")
}

/// A number of seconds since 1970 in this layout, in UTC.
pub fn written(seconds: i64, layout: &str) -> String {
    Timestamp::from_second(seconds).expect("a time of the calendar").strftime(layout).to_string()
}

/// Digits of small hexadecimal numbers.
pub const HEXADECIMAL: &[u8] = b"0123456789abcdef";
/// Letters and digits.
pub const ALPHANUMERIC: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// The same with the two signs that need no escape in a URL.
pub const URL_SAFE: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
