//! What Meta's error codes ask of whoever gets them (reference §6.2 and §7). The provider, a channel and a confirmation all meet them.
//!
//! It knows codes and nothing else: what follows from one for a token, a message or a renewal is each reader's own matter.

/// Slow down.
pub const fn is_throttle(code: i64) -> bool {
    matches!(code, 4 | 17 | 32 | 341 | 613 | 80_000..=80_014 | 130_429 | 131_048 | 131_056 | 133_016)
}

/// Trouble of Meta's own, which passes. A wrong secret has code 1, too, and says so in words (reference §3.5).
pub const fn is_trouble(code: i64) -> bool {
    matches!(code, 1 | 2 | 131_000 | 131_016 | 131_057 | 133_004)
}

/// The token itself is refused.
pub const fn refuses_the_token(code: i64) -> bool {
    matches!(code, 0 | 102 | 190)
}

/// A permission, or access to the object, is missing.
pub const fn lacks_a_permission(code: i64) -> bool {
    matches!(code, 3 | 10 | 200..=299 | 131_005)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_code_asks_for_two_things() {
        let kinds = [is_throttle, is_trouble, refuses_the_token, lacks_a_permission];
        for code in (0..=1_000).chain(80_000..=80_020).chain(130_000..=134_000) {
            assert!(kinds.iter().filter(|is| is(code)).count() <= 1, "{code}");
        }
        assert!(is_throttle(80_014) && !is_throttle(80_015) && is_trouble(131_057) && lacks_a_permission(299));
    }
}
