//! Which API version executes a call (§12).
//! Must never refuse a version for its age: core Graph runs an expired one silently on the oldest that still lives.

use super::dates;

/// The version that executes a call asking for `requested` (none: an unversioned path), as `v25.0`; nothing when no
/// such version was ever published.
pub(super) fn executed(requested: Option<&str>, now: i64) -> Option<String> {
    let oldest = oldest_living(now);
    let version = match requested {
        None => oldest,
        Some(text) => parse(text)?.max(oldest),
    };
    Some(format!("v{}.{}", version.0, version.1))
}

/// Whether a path segment is meant as a version: `v` and a digit.
pub(super) fn looks_like_version(segment: &str) -> bool {
    segment.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

fn oldest_living(now: i64) -> (u32, u32) {
    USABLE_UNTIL.iter().find(|(_, until)| now < *until).map_or(NEWEST, |(major, _)| (*major, 0))
}

fn parse(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.strip_prefix('v')?.split_once('.')?;
    let version = (major.parse().ok()?, minor.parse().ok()?);
    // From v4.0 on every version ends in .0.
    let published = version <= NEWEST && (version.0 < 4 || version.1 == 0);
    published.then_some(version)
}

const NEWEST: (u32, u32) = (26, 0);

/// Major version and the moment it stops being usable, oldest first; the days are taken as midnight UTC. The newest
/// has no end yet.
const USABLE_UNTIL: [(u32, i64); 8] = [
    (18, dates::midnight(2026, 1, 26)),
    (19, dates::midnight(2026, 5, 21)),
    (20, dates::midnight(2026, 9, 24)),
    (21, dates::midnight(2027, 1, 21)),
    (22, dates::midnight(2027, 5, 20)),
    (23, dates::midnight(2027, 10, 8)),
    (24, dates::midnight(2028, 2, 18)),
    (25, dates::midnight(2028, 7, 29)),
];

#[cfg(test)]
mod tests {
    use super::{dates, executed};

    #[test]
    fn an_expired_version_runs_on_the_oldest_living_one() {
        let in_march_2026 = dates::midnight(2026, 3, 1);
        let in_2031 = dates::midnight(2031, 1, 1);
        for (requested, now, version) in [
            (Some("v25.0"), in_march_2026, Some("v25.0")),
            (Some("v18.0"), in_march_2026, Some("v19.0")),
            (Some("v2.12"), in_march_2026, Some("v19.0")),
            (None, in_march_2026, Some("v19.0")),
            (Some("v25.0"), in_2031, Some("v26.0")),
            (Some("v25.1"), in_march_2026, None),
            (Some("v99.0"), in_march_2026, None),
            (Some("v25"), in_march_2026, None),
        ] {
            assert_eq!(executed(requested, now).as_deref(), version, "{requested:?}");
        }
    }
}
