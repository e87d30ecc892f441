//! iCalendar (RFC 5545): dates that any calendar takes over. The part of a mail and the feed that calendars subscribe to write their events here,
//! so both call one deadline by one UID.
//!
//! Pure. Nobody is invited and nothing is asked (METHOD:PUBLISH). It knows how an event is written, and nothing of when there is one.

use std::fmt::Write as _;

use crate::advice;
use crate::domain::alert::Subject;
use crate::domain::finding::Thread;
use crate::domain::time::{Span, Timestamp};
use crate::ids;

/// One date.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Its identity; see [`uid`].
    pub uid: String,
    /// When it last became what it is: later is newer, and takes the place of what a calendar has.
    pub moved: Timestamp,
    /// The date.
    pub at: Timestamp,
    /// It in one line.
    pub summary: String,
    /// The rest, over several lines.
    pub description: String,
    /// A page about it.
    pub url: Option<String>,
    /// Whether it is no longer so: calendars strike it out or remove it.
    pub cancelled: bool,
    /// How long before the date somebody is reminded.
    pub alarms: Vec<Span>,
}

/// What a feed calls itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Feed {
    /// Its name.
    pub name: String,
    /// What is in it.
    pub description: String,
}

/// The identity of a date: what it is about, and which of its dates. It stays when the date moves.
pub fn uid(subject: &Subject, thread: Thread, domain: &str) -> String {
    format!("{}@{}", ids::identifier(&format!("{subject}/{}", thread.as_str())), ids::safe_domain(domain))
}

/// What an event about that date of that subject is called.
pub fn summary(subject: &Subject, thread: Thread) -> String {
    let what = match thread {
        Thread::DataAccess => "data access ends",
        Thread::Renewal => "access token is renewed",
        _ => "access token expires",
    };
    format!("{}: {what}", subject.name())
}

/// A list of steps, numbered.
pub fn numbered(steps: &[String]) -> String {
    steps.iter().enumerate().map(|(n, step)| format!("{}. {step}", n + 1)).collect::<Vec<_>>().join("\n")
}

/// Begins a calendar; one that is read again and again has a name.
pub fn begin(out: &mut String, feed: Option<&Feed>) {
    line(out, "BEGIN:VCALENDAR");
    line(out, "VERSION:2.0");
    line(out, "PRODID:-//tokenwatch//tokenwatch//EN");
    line(out, "CALSCALE:GREGORIAN");
    line(out, "METHOD:PUBLISH");
    let Some(feed) = feed else { return };
    let (name, description) = (escaped(&feed.name), escaped(&feed.description));
    // Each twice: as RFC 7986 has it, and as programs older than that know it.
    for text in [
        format!("NAME:{name}"),
        format!("X-WR-CALNAME:{name}"),
        format!("DESCRIPTION:{description}"),
        format!("X-WR-CALDESC:{description}"),
        format!("REFRESH-INTERVAL;VALUE=DURATION:{REFRESH}"),
        format!("X-PUBLISHED-TTL:{REFRESH}"),
    ] {
        line(out, &text);
    }
}

/// Writes an event; false where its date lies in a year that the format cannot write.
pub fn event(out: &mut String, event: &Event) -> bool {
    let (Some(start), Some(stamp)) = (utc(event.at), utc(event.moved)) else { return false };
    line(out, "BEGIN:VEVENT");
    line(out, &format!("UID:{}", event.uid));
    line(out, &format!("SEQUENCE:{}", sequence(event.moved)));
    line(out, &format!("DTSTAMP:{stamp}"));
    line(out, &format!("LAST-MODIFIED:{stamp}"));
    line(out, &format!("DTSTART:{start}"));
    line(out, &format!("DURATION:{LENGTH}"));
    line(out, &format!("SUMMARY:{}", escaped(&event.summary)));
    line(out, &format!("DESCRIPTION:{}", escaped(&event.description)));
    if let Some(url) = &event.url {
        line(out, &format!("URL:{url}"));
    }
    line(out, if event.cancelled { "STATUS:CANCELLED" } else { "STATUS:CONFIRMED" });
    line(out, "TRANSP:TRANSPARENT");
    for lead in event.alarms.iter().filter(|_| !event.cancelled) {
        line(out, "BEGIN:VALARM");
        line(out, "ACTION:DISPLAY");
        line(out, &format!("DESCRIPTION:{}", escaped(&event.summary)));
        line(out, &format!("TRIGGER:{}", before(*lead)));
        line(out, "END:VALARM");
    }
    line(out, "END:VEVENT");
    true
}

/// Ends a calendar.
pub fn end(out: &mut String) {
    if !out.contains("BEGIN:VEVENT") {
        // A calendar without any component is none (RFC 5545, section 3.6); the zone that all its dates would be in is one that shows nothing.
        for text in [
            "BEGIN:VTIMEZONE",
            "TZID:Etc/UTC",
            "BEGIN:STANDARD",
            "DTSTART:19700101T000000",
            "TZOFFSETFROM:+0000",
            "TZOFFSETTO:+0000",
            "END:STANDARD",
            "END:VTIMEZONE",
        ] {
            line(out, text);
        }
    }
    line(out, "END:VCALENDAR");
}

/// Seconds, so that two moves of a minute are two; counted from 2020, so that the number fits into 31 bits until 2088.
fn sequence(moved: Timestamp) -> i64 {
    moved.unix().saturating_sub(EPOCH_2020).clamp(0, i64::from(i32::MAX))
}

/// `20250715T080000Z`; `None` for years that the format cannot write.
fn utc(at: Timestamp) -> Option<String> {
    let text: String = at.to_string().chars().filter(|c| !matches!(c, '-' | ':')).collect();
    (text.len() == "20250715T080000Z".len()).then_some(text)
}

/// `-P3D`, `-PT90S`: one unit, the largest that is exact.
fn before(lead: Span) -> String {
    let n = lead.as_seconds().max(0);
    match n {
        0 => "PT0S".to_owned(),
        _ if n % 86_400 == 0 => format!("-P{}D", n / 86_400),
        _ if n % 3_600 == 0 => format!("-PT{}H", n / 3_600),
        _ if n % 60 == 0 => format!("-PT{}M", n / 60),
        _ => format!("-PT{n}S"),
    }
}

/// RFC 5545 §3.3.11.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (n, part) in text.split('\n').enumerate() {
        if n > 0 {
            out.push_str("\\n");
        }
        for c in advice::plain(part).chars() {
            if matches!(c, '\\' | ';' | ',') {
                out.push('\\');
            }
            out.push(c);
        }
    }
    out
}

/// RFC 5545 §3.1: no line is longer than 75 octets, and no character is cut in two.
fn line(out: &mut String, line: &str) {
    let mut room = LONGEST_LINE;
    for c in line.chars() {
        if c.len_utf8() > room {
            out.push_str("\r\n ");
            room = LONGEST_LINE - 1;
        }
        out.push(c);
        room -= c.len_utf8();
    }
    // Writing to a String cannot fail.
    let _ = out.write_str("\r\n");
}

const LONGEST_LINE: usize = 75;
/// A moment would be shown as a line without height.
const LENGTH: &str = "PT15M";
/// How often a feed is worth reading again.
const REFRESH: &str = "PT1H";
/// 2020-01-01T00:00:00Z.
const EPOCH_2020: i64 = 1_577_836_800;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_752_566_400);

    fn dated(at: Timestamp) -> Event {
        Event {
            uid: "x@example.com".to_owned(),
            moved: NOW,
            at,
            summary: "a; b, c\\d".to_owned(),
            description: "é".repeat(200) + "\nsecond line\u{202e}\u{0}",
            url: None,
            cancelled: false,
            alarms: vec![Span::days(3), Span::hours(36), Span::minutes(90), Span::seconds(61), Span::ZERO],
        }
    }

    #[test]
    fn an_event_is_folded_and_escaped() {
        let mut text = String::new();
        assert!(event(&mut text, &dated(NOW.plus(Span::days(3)))));
        for line in text.split("\r\n") {
            assert!(line.len() <= 75 && !line.contains(['\r', '\n', '\u{0}', '\u{202e}']), "{line:?}");
        }
        let whole = text.replace("\r\n ", "");
        for part in [
            "SUMMARY:a\\; b\\, c\\\\d\r\n",
            "é\\nsecond line\r\n",
            "DTSTART:20250718T080000Z\r\n",
            "SEQUENCE:174729600\r\n",
            "TRIGGER:-P3D\r\n",
            "TRIGGER:-PT36H\r\n",
            "TRIGGER:-PT90M\r\n",
            "TRIGGER:-PT61S\r\n",
            "TRIGGER:PT0S\r\n",
            "STATUS:CONFIRMED\r\n",
        ] {
            assert!(whole.contains(part), "{part:?} is not in {whole}");
        }
        let mut text = String::new();
        assert!(event(&mut text, &Event { cancelled: true, ..dated(NOW) }));
        assert!(text.contains("STATUS:CANCELLED") && !text.contains("VALARM"), "nobody is reminded of it: {text}");
    }

    #[test]
    fn what_the_format_cannot_write_is_left_out_whole() {
        let mut text = String::new();
        assert!(!event(&mut text, &dated(Timestamp::from_unix(i64::MAX))));
        assert_eq!(text, "");
        begin(&mut text, None);
        end(&mut text);
        assert!(text.contains("BEGIN:VTIMEZONE"), "a calendar has a component");
    }

    #[test]
    fn later_is_a_higher_number() {
        assert!(sequence(NOW.plus(Span::seconds(1))) > sequence(NOW));
        assert_eq!(
            (sequence(Timestamp::from_unix(0)), sequence(Timestamp::from_unix(i64::MAX))),
            (0, i64::from(i32::MAX))
        );
    }
}
