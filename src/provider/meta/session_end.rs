//! The moment a session ended, read from Meta's message: a fallback for answers that leave `expires_at` out (reference §6.3).
//!
//! The text is locale dependent, so a miss is no error: the token is still expired, the time is just not known.

use crate::domain::time::{Span, Timestamp};

/// Reads `Session has expired on Tuesday, 15-Jul-25 01:00:00 PDT` or `… at unix time 1752566400`.
pub fn parse(message: &str) -> Option<Timestamp> {
    let rest = message.split_once("Session has expired ")?.1;
    if let Some(number) = rest.strip_prefix("at unix time ") {
        let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
        return digits.parse().ok().map(Timestamp::from_unix);
    }
    let rest = rest.strip_prefix("on ")?;
    let (_weekday, rest) = rest.split_once(", ")?;
    let mut parts = rest.split([' ', '.']);
    let (date, time, zone) = (parts.next()?, parts.next()?, parts.next()?);
    let midnight = parse_date(date)?;
    Some(midnight.plus(parse_time(time)?).plus(zone_offset(zone)?))
}

/// `15-Jul-25`: two-digit years are of this century.
fn parse_date(text: &str) -> Option<Timestamp> {
    let mut parts = text.split('-');
    let day = parts.next()?.parse().ok()?;
    let month = parts.next()?;
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let year: i64 = parts.next()?.parse().ok()?;
    Timestamp::from_civil(2_000 + year, u32::try_from(month).ok()?, day)
}

fn parse_time(text: &str) -> Option<Span> {
    let mut parts = text.split(':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let in_range = (0..24).contains(&hour) && (0..60).contains(&minute) && (0..=60).contains(&second);
    in_range.then(|| Span::seconds(hour * 3_600 + minute * 60 + second))
}

/// What must be added to reach UTC. All samples from 2014 to 2026 are US Pacific.
fn zone_offset(zone: &str) -> Option<Span> {
    match zone {
        "PST" => Some(Span::hours(8)),
        "PDT" => Some(Span::hours(7)),
        "UTC" | "GMT" => Some(Span::ZERO),
        _ => None,
    }
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use super::*;

    /// The first two vectors are those of the reference.
    #[test]
    fn known_messages() {
        let prefix = "Error validating access token: Session has expired";
        for (text, expected) in [
            (
                "on Tuesday, 05-Apr-16 23:00:00 PDT. The current time is Wednesday, 06-Apr-16 01:00:00 PDT.",
                Some(1_459_922_400),
            ),
            (
                "on Saturday, 11-Dec-21 05:00:00 PST. The current time is Saturday, 11-Dec-21 10:13:30 PST.",
                Some(1_639_227_600),
            ),
            ("on Tuesday, 15-Jul-25 01:00:00 PDT", Some(1_752_566_400)),
            ("at unix time 1752566400. The current unix time is 1752566401.", Some(1_752_566_400)),
            ("on 2014\u{5e74}7\u{6708}1\u{65e5} 12:00", None),
            ("on Tuesday, 31-Feb-25 01:00:00 PDT", None),
            ("on Tuesday, 15-Jul-25 25:00:00 PDT", None),
            ("on Tuesday, 15-Jul-25 01:00:00 CEST", None),
            ("", None),
        ] {
            let at = parse(&format!("{prefix} {text}")).map(Timestamp::unix);
            assert_eq!(at, expected, "{text}");
        }
    }
}
