//! The calendar of the simulated API: Pacific time in messages, GMT in headers.
//! Written by hand on purpose: it must never share a formatter with the client that parses these texts.

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// The form of expiry messages (§6.3): `Saturday, 11-Dec-21 05:00:00 PST`.
pub(super) fn pacific(unix: i64) -> String {
    let (offset, zone) = if is_daylight_saving(unix) { (-7 * HOUR, "PDT") } else { (-8 * HOUR, "PST") };
    let local = Civil::at(unix.saturating_add(offset));
    format!(
        "{}, {:02}-{}-{:02} {} {zone}",
        WEEKDAYS[local.weekday],
        local.day,
        MONTHS[local.month - 1],
        local.year.rem_euclid(100),
        local.clock(),
    )
}

/// The form of the `Date` header: `Sat, 11 Dec 2021 13:00:00 GMT`.
pub(super) fn http(unix: i64) -> String {
    let gmt = Civil::at(unix);
    format!(
        "{}, {:02} {} {:04} {} GMT",
        &WEEKDAYS[gmt.weekday][..3],
        gmt.day,
        MONTHS[gmt.month - 1],
        gmt.year,
        gmt.clock(),
    )
}

/// Midnight UTC of a civil date, in unix seconds.
pub(super) const fn midnight(year: i64, month: i64, day: i64) -> i64 {
    days_from_civil(year, month, day) * DAY
}

struct Civil {
    year: i64,
    /// 1 to 12.
    month: usize,
    day: i64,
    /// 0 is Sunday.
    weekday: usize,
    second_of_day: i64,
}

impl Civil {
    fn at(unix: i64) -> Self {
        let days = unix.div_euclid(DAY);
        let (year, month, day) = civil_from_days(days);
        Self { year, month, day, weekday: weekday(days), second_of_day: unix.rem_euclid(DAY) }
    }

    fn clock(&self) -> String {
        let second = self.second_of_day;
        format!("{:02}:{:02}:{:02}", second / HOUR, second % HOUR / MINUTE, second % MINUTE)
    }
}

/// United States rule since 2007: from the second Sunday of March, 02:00 PST, to the first Sunday of November, 02:00
/// PDT. The samples of §6.3 begin in 2014, so the older rules are not needed.
fn is_daylight_saving(unix: i64) -> bool {
    let year = Civil::at(unix).year;
    let begins = sunday(year, 3, 2) * DAY + 10 * HOUR;
    let ends = sunday(year, 11, 1) * DAY + 9 * HOUR;
    (begins..ends).contains(&unix)
}

/// The day number of the `nth` Sunday of a month.
fn sunday(year: i64, month: i64, nth: i64) -> i64 {
    let first = days_from_civil(year, month, 1);
    let until_sunday = (7 - first.wrapping_add(4).rem_euclid(7)) % 7;
    first + until_sunday + 7 * (nth - 1)
}

/// Day 0 (1970-01-01) was a Thursday.
fn weekday(days: i64) -> usize {
    usize::try_from((days + 4).rem_euclid(7)).unwrap_or_default()
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar; years are counted from March, so that the leap day is
/// the last one of its year.
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, usize, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = (shifted_month + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, usize::try_from(month).unwrap_or(1), day)
}

const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use super::{http, midnight, pacific};

    #[test]
    fn pacific_time_matches_the_recorded_vectors() {
        for (unix, text) in
            [(1_459_922_400, "Tuesday, 05-Apr-16 23:00:00 PDT"), (1_639_227_600, "Saturday, 11-Dec-21 05:00:00 PST")]
        {
            assert_eq!(pacific(unix), text);
        }
    }

    #[test]
    fn daylight_saving_turns_at_two_in_the_morning() {
        for (unix, text) in [
            (1_772_963_999, "Sunday, 08-Mar-26 01:59:59 PST"),
            (1_772_964_000, "Sunday, 08-Mar-26 03:00:00 PDT"),
            (1_793_523_599, "Sunday, 01-Nov-26 01:59:59 PDT"),
            (1_793_523_600, "Sunday, 01-Nov-26 01:00:00 PST"),
            (1_798_790_399, "Thursday, 31-Dec-26 23:59:59 PST"),
        ] {
            assert_eq!(pacific(unix), text);
        }
    }

    #[test]
    fn header_dates_are_gmt() {
        assert_eq!(http(1_639_227_600), "Sat, 11 Dec 2021 13:00:00 GMT");
        assert_eq!(http(-1), "Wed, 31 Dec 1969 23:59:59 GMT");
        assert_eq!(http(midnight(2028, 2, 29)), "Tue, 29 Feb 2028 00:00:00 GMT");
    }
}
