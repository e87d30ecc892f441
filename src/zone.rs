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
}
