//! How long each version of the Graph API can be used (reference §12).
//!
//! A version that has ended does not fail: its calls silently run as the oldest one alive, so only a calendar and the header of the version that
//! really ran can tell. The dates are Meta's as of August 2026; a version that is not in the table is newer than it.

use crate::domain::time::Timestamp;

/// What is known of a version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Life {
    /// It can be used until then.
    Until(Timestamp),
    /// It is the newest that the table knows; its end is not set yet.
    Open,
    /// It is newer than the table, or no version at all.
    Unknown,
    /// It is older than the table, so its end has passed.
    Over,
}

impl Life {
    /// When it ends, or ended, as far as is known.
    pub fn end(self) -> Option<Timestamp> {
        match self {
            Self::Until(end) => Some(end),
            Self::Over => VERSIONS.iter().filter_map(|(_, end)| *end).min().map(Timestamp::from_unix),
            Self::Open | Self::Unknown => None,
        }
    }
}

/// What is known of that version, `v25.0`.
pub fn life(version: &str) -> Life {
    if let Some((_, end)) = VERSIONS.iter().find(|(name, _)| *name == version) {
        return end.map_or(Life::Open, |unix| Life::Until(Timestamp::from_unix(unix)));
    }
    let number = |version: &str| version.strip_prefix('v')?.split('.').next()?.parse::<u32>().ok();
    let oldest = VERSIONS.last().and_then(|(name, _)| number(name));
    match (number(version), oldest) {
        (Some(number), Some(oldest)) if number < oldest => Life::Over,
        _ => Life::Unknown,
    }
}

/// The version with the farthest known end.
pub const RECOMMENDED: &str = "v25.0";

/// Each version with the moment (00:00 UTC) from which it cannot be used.
const VERSIONS: [(&str, Option<i64>); 9] = [
    ("v26.0", None),
    // 2028-07-29
    ("v25.0", Some(1_848_441_600)),
    // 2028-02-18
    ("v24.0", Some(1_834_444_800)),
    // 2027-10-08
    ("v23.0", Some(1_822_953_600)),
    // 2027-05-20
    ("v22.0", Some(1_810_771_200)),
    // 2027-01-21
    ("v21.0", Some(1_800_489_600)),
    // 2026-09-24
    ("v20.0", Some(1_790_208_000)),
    // 2026-05-21
    ("v19.0", Some(1_779_321_600)),
    // 2026-01-26
    ("v18.0", Some(1_769_385_600)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_holds_the_dates_of_the_reference() {
        let dates: Vec<String> =
            VERSIONS.iter().filter_map(|(_, end)| *end).map(|unix| Timestamp::from_unix(unix).to_string()).collect();
        assert_eq!(
            dates,
            [
                "2028-07-29T00:00:00Z",
                "2028-02-18T00:00:00Z",
                "2027-10-08T00:00:00Z",
                "2027-05-20T00:00:00Z",
                "2027-01-21T00:00:00Z",
                "2026-09-24T00:00:00Z",
                "2026-05-21T00:00:00Z",
                "2026-01-26T00:00:00Z",
            ]
        );
    }

    #[test]
    fn versions_that_are_not_in_it() {
        assert_eq!(
            [life("v26.0"), life("v27.0"), life("v9.0"), life("latest")],
            [Life::Open, Life::Unknown, Life::Over, Life::Unknown]
        );
        assert!(matches!(life(RECOMMENDED), Life::Until(_)));
    }
}
