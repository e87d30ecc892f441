//! Instants and spans in whole seconds, and their plain UTC text.
//!
//! Values are truncated once, at the edge of the program; nothing in here reads a clock. Zone-aware dates for people are
//! made in `crate::zone`, which knows the time-zone database; this file knows only UTC.

use std::fmt;
use std::time::Duration;

/// A moment, in whole seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Timestamp(i64);

/// A signed length of time in whole seconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Span(i64);

impl Timestamp {
    /// The moment `seconds` after (or before, when negative) the Unix epoch.
    pub const fn from_unix(seconds: i64) -> Self {
        Self(seconds)
    }

    /// Seconds since the Unix epoch.
    pub const fn unix(self) -> i64 {
        self.0
    }

    /// This moment moved by `span`; saturates instead of wrapping, so hostile dates cannot turn the past into the future.
    #[must_use]
    pub const fn plus(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// This moment moved back by `span`.
    #[must_use]
    pub const fn minus(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }

    /// How long after `earlier` this moment is; negative when it is before.
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }

    /// Midnight UTC of a civil date (proleptic Gregorian), or `None` when there is no such day.
    pub fn from_civil(year: i64, month: u32, day: u32) -> Option<Self> {
        if !(1..=12).contains(&month) || day == 0 || day > days_in_month(year, month) {
            return None;
        }
        Some(Self(days_from_civil(year, month, day) * DAY))
    }
}

/// RFC 3339 in UTC: `2026-01-02T03:04:05Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.0.div_euclid(DAY));
        let second = self.0.rem_euclid(DAY);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
            second / HOUR,
            second % HOUR / MINUTE,
            second % MINUTE
        )
    }
}

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// A span of `n` seconds.
    pub const fn seconds(n: i64) -> Self {
        Self(n)
    }

    /// A span of `n` minutes.
    pub const fn minutes(n: i64) -> Self {
        Self(n.saturating_mul(MINUTE))
    }

    /// A span of `n` hours.
    pub const fn hours(n: i64) -> Self {
        Self(n.saturating_mul(HOUR))
    }

    /// A span of `n` days of 24 hours.
    pub const fn days(n: i64) -> Self {
        Self(n.saturating_mul(DAY))
    }

    /// Whole seconds.
    pub const fn as_seconds(self) -> i64 {
        self.0
    }

    /// This span as a time limit: one second at the least, for a limit of nothing would let nothing be done.
    pub fn as_limit(self) -> Duration {
        Duration::from_secs(u64::try_from(self.0).unwrap_or(1).max(1))
    }

    /// This span times a share given in basis points (1/100 of a percent), rounded down.
    #[must_use]
    pub fn share(self, basis_points: u32) -> Self {
        let part = i128::from(self.0) * i128::from(basis_points) / 10_000;
        Self(i64::try_from(part).unwrap_or(i64::MAX))
    }

    /// The length without its sign.
    #[must_use]
    pub const fn abs(self) -> Self {
        Self(self.0.saturating_abs())
    }

    /// The shortest exact way to write this span in a configuration: `21d`, `90s`, `36h`.
    pub fn terse(self) -> String {
        let n = self.0;
        match n {
            0 => "0s".to_owned(),
            _ if n % DAY == 0 => format!("{}d", n / DAY),
            _ if n % HOUR == 0 => format!("{}h", n / HOUR),
            _ if n % MINUTE == 0 => format!("{}m", n / MINUTE),
            _ => format!("{n}s"),
        }
    }
}

/// Words for people: `3 days`, `2 days 12 hours`, `15 minutes`. The sign is dropped; the sentence around it says which way.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.saturating_abs();
        if seconds < 2 * MINUTE {
            return words(f, seconds, "second");
        }
        if seconds < 2 * HOUR - MINUTE / 2 {
            return words(f, rounded(seconds, MINUTE), "minute");
        }
        let hours = rounded(seconds, HOUR);
        if hours < 24 {
            return words(f, hours, "hour");
        }
        if hours >= 7 * 24 {
            return words(f, rounded(hours, 24), "day");
        }
        words(f, hours / 24, "day")?;
        match hours % 24 {
            0 => Ok(()),
            rest => {
                f.write_str(" ")?;
                words(f, rest, "hour")
            }
        }
    }
}

/// The nearest whole number of units; safe at the ends of the range.
const fn rounded(amount: i64, unit: i64) -> i64 {
    amount / unit + if amount % unit >= unit / 2 { 1 } else { 0 }
}

fn words(f: &mut fmt::Formatter<'_>, n: i64, unit: &str) -> fmt::Result {
    let plural = if n == 1 { "" } else { "s" };
    write!(f, "{n} {unit}{plural}")
}

/// `in 3 days`, `2 hours ago`, `just now`.
pub fn relative(at: Timestamp, now: Timestamp) -> String {
    let span = at.since(now);
    match span.as_seconds() {
        0 => "just now".to_owned(),
        1.. => format!("in {span}"),
        _ => format!("{span} ago"),
    }
}

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

fn days_in_month(year: i64, month: u32) -> u32 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since the epoch. The year is shifted to begin in March, so the leap day is its last day and months have a closed form.
fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let month = i64::from(month);
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_limit_leaves_time_to_do_something() {
        for (span, limit) in [(5, 5), (1, 1), (0, 1), (-9, 1), (i64::MIN, 1)] {
            assert_eq!(Span::seconds(span).as_limit(), Duration::from_secs(limit));
        }
    }

    #[test]
    fn timestamps_read_as_rfc_3339() {
        for (unix, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_639_227_600, "2021-12-11T13:00:00Z"),
            (4_102_444_799, "2099-12-31T23:59:59Z"),
        ] {
            assert_eq!(Timestamp::from_unix(unix).to_string(), text);
        }
    }

    #[test]
    fn civil_dates_go_both_ways() {
        for day in (-800_000..800_000).step_by(97) {
            let (year, month, dom) = civil_from_days(day);
            let month = u32::try_from(month).unwrap_or_default();
            let dom = u32::try_from(dom).unwrap_or_default();
            assert_eq!(Timestamp::from_civil(year, month, dom), Some(Timestamp(day * DAY)));
        }
        assert_eq!(Timestamp::from_civil(2025, 2, 29), None);
        assert_eq!(Timestamp::from_civil(2025, 13, 1), None);
    }

    #[test]
    fn spans_read_as_words() {
        for (span, text) in [
            (Span::seconds(1), "1 second"),
            (Span::seconds(119), "119 seconds"),
            (Span::minutes(15), "15 minutes"),
            (Span::hours(23), "23 hours"),
            (Span::days(3), "3 days"),
            (Span::seconds(3 * DAY - 900), "3 days"),
            (Span::hours(60), "2 days 12 hours"),
            (Span::hours(24 * 20 + 13), "21 days"),
            (Span::hours(-25), "1 day 1 hour"),
            (Span::seconds(i64::MIN), "106751991167301 days"),
        ] {
            assert_eq!(span.to_string(), text);
        }
    }

    #[test]
    fn hostile_dates_saturate() {
        let end = Timestamp::from_unix(i64::MAX);
        assert_eq!(end.plus(Span::days(1)), end);
        assert_eq!(end.since(Timestamp::from_unix(i64::MIN)), Span::seconds(i64::MAX));
    }
}
