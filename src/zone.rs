//! Dates as people read them: in the configured time zone, with its name.
//!
//! The core counts seconds in UTC; this is the only file that asks the time-zone database.

use jiff::tz::TimeZone;

use crate::domain::time::Timestamp;

/// A time zone by its IANA name.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone(TimeZone);

impl Zone {
    /// Coordinated Universal Time.
    pub const UTC: Self = Self(TimeZone::UTC);

    /// The zone of that IANA name, such as `Asia/Kolkata`.
    ///
    /// # Errors
    /// When the database has no such zone.
    pub fn parse(name: &str) -> Result<Self, String> {
        TimeZone::get(name)
            .map(Self)
            .map_err(|_| format!("no time zone is called {name:?}; names look like Asia/Kolkata or UTC"))
    }

    /// The zone's name.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// `Tue 15 Jul 2025, 13:30 IST`.
    pub fn long(&self, at: Timestamp) -> String {
        self.format(at, "%a %-d %b %Y, %H:%M %Z")
    }

    /// `15 Jul 13:30`, for tables.
    pub fn short(&self, at: Timestamp) -> String {
        self.format(at, "%-d %b %H:%M")
    }

    /// `2025-07-15`.
    pub fn date(&self, at: Timestamp) -> String {
        self.format(at, "%Y-%m-%d")
    }

    /// The end of the quiet hours that `at` lies in, `from` to `to` minutes after midnight; `None` outside of them.
    ///
    /// Where the clocks are set, the end is that of the wall clock: a time that is left out is taken as the moment after the gap, and of one
    /// that comes twice the first that is still to come.
    pub fn quiet_until(&self, from: u16, to: u16, at: Timestamp) -> Option<Timestamp> {
        let here = jiff::Timestamp::from_second(at.unix()).ok()?.to_zoned(self.0.clone());
        let minute = u16::try_from(i32::from(here.hour()) * 60 + i32::from(here.minute())).ok()?;
        let quiet = if from < to { (from..to).contains(&minute) } else { minute >= from || minute < to };
        let day = if minute < to { here.date() } else { here.date().tomorrow().ok()? };
        let (hour, minute) = (i8::try_from(to / 60).ok()?, i8::try_from(to % 60).ok()?);
        let end = self.0.to_ambiguous_zoned(day.at(hour, minute, 0, 0));
        let first = end.clone().compatible().ok()?.timestamp().as_second();
        let end = if first > at.unix() { first } else { end.later().ok()?.timestamp().as_second() };
        quiet.then_some(Timestamp::from_unix(end))
    }

    fn format(&self, at: Timestamp, pattern: &str) -> String {
        // A date beyond the calendar (year 9999) comes from a hostile answer; its plain number is still true.
        match jiff::Timestamp::from_second(at.unix()) {
            Ok(instant) => instant.to_zoned(self.0.clone()).strftime(pattern).to_string(),
            Err(_) => format!("unix time {}", at.unix()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_read_in_the_zone() {
        let at = Timestamp::from_unix(1_752_566_400);
        assert_eq!(Zone::UTC.long(at), "Tue 15 Jul 2025, 08:00 UTC");
        let kolkata = Zone::parse("Asia/Kolkata").unwrap_or(Zone::UTC);
        assert_eq!(kolkata.long(at), "Tue 15 Jul 2025, 13:30 IST");
        assert!(Zone::parse("Asia/Atlantis").is_err());
        assert_eq!(Zone::UTC.date(Timestamp::from_unix(i64::MAX)), "unix time 9223372036854775807");
    }

    #[test]
    fn quiet_hours_follow_the_wall_clock() {
        let berlin = Zone::parse("Europe/Berlin").unwrap_or(Zone::UTC);
        let at =
            |text: &str| Timestamp::from_unix(text.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_second));
        let night = |text: &str| berlin.quiet_until(22 * 60, 7 * 60, at(text));
        // In winter midnight is 23:00 UTC, in summer 22:00 UTC.
        assert_eq!(night("2026-01-10T20:59:59Z"), None);
        assert_eq!(night("2026-01-10T21:00:00Z"), Some(at("2026-01-11T06:00:00Z")));
        assert_eq!(night("2026-01-11T05:59:59Z"), Some(at("2026-01-11T06:00:00Z")));
        assert_eq!(night("2026-01-11T06:00:00Z"), None);
        assert_eq!(night("2026-07-10T20:00:00Z"), Some(at("2026-07-11T05:00:00Z")));
        // The night in which clocks go forward, and the one in which they go back.
        assert_eq!(night("2026-03-28T21:30:00Z"), Some(at("2026-03-29T05:00:00Z")));
        assert_eq!(night("2026-10-24T20:30:00Z"), Some(at("2026-10-25T06:00:00Z")));
        // Ends that the clock leaves out, or shows twice.
        let small = |text: &str| berlin.quiet_until(60, 150, at(text));
        assert_eq!(small("2026-03-29T00:30:00Z"), Some(at("2026-03-29T01:30:00Z")));
        assert_eq!(small("2026-10-25T00:10:00Z"), Some(at("2026-10-25T00:30:00Z")));
        assert_eq!(small("2026-10-25T01:10:00Z"), Some(at("2026-10-25T01:30:00Z")));
        let noon = |text: &str| Zone::UTC.quiet_until(12 * 60, 13 * 60, at(text));
        assert_eq!((noon("2026-01-01T11:59:00Z"), noon("2026-01-01T13:00:00Z")), (None, None));
        assert_eq!(noon("2026-01-01T12:00:00Z"), Some(at("2026-01-01T13:00:00Z")));
    }
}
