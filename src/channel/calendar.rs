//! The deadline of a notice as an iCalendar event (RFC 5545), so that it can be taken over into any calendar.
//!
//! Pure. Nobody is invited and nothing is asked (METHOD:PUBLISH), and a date that is past or no longer true is never announced.

use crate::advice;
use crate::domain::alert::{Notice, NotifyReason};
use crate::domain::finding::Thread;
use crate::domain::inspection::Expiry;
use crate::domain::time::Timestamp;

use super::compose;

/// The calendar for a notice, or `None` when no date lies ahead.
///
/// One slot's deadline of one kind is one event: its UID stays, and a later notice moves it (SEQUENCE grows with time).
pub fn event(notice: &Notice, steps: &[String], domain: &str) -> Option<String> {
    let deadline = deadline(notice)?;
    let thread = notice.reason.thread();
    let uid = compose::identifier(&format!("{}/{}", notice.subject, thread.as_str()));
    let name = notice.subject.name();
    let what = if thread == Thread::DataAccess { "data access ends" } else { "access token expires" };
    let summary = format!("{name}: {what}");
    let numbered: Vec<String> = steps.iter().enumerate().map(|(n, step)| format!("{}. {step}", n + 1)).collect();
    let mut out = String::new();
    let mut line = |text: &str| fold(&mut out, text);
    line("BEGIN:VCALENDAR");
    line("VERSION:2.0");
    line("PRODID:-//tokenwatch//tokenwatch//EN");
    line("CALSCALE:GREGORIAN");
    line("METHOD:PUBLISH");
    line("BEGIN:VEVENT");
    line(&format!("UID:{uid}@{}", compose::safe_domain(domain)));
    line(&format!("SEQUENCE:{}", sequence(notice.at)));
    line(&format!("DTSTAMP:{}", utc(notice.at)?));
    line(&format!("DTSTART:{}", utc(deadline)?));
    line(&format!("DURATION:{LENGTH}"));
    line(&format!("SUMMARY:{}", escaped(&summary)));
    line(&format!("DESCRIPTION:{}", escaped(&numbered.join("\n"))));
    line("TRANSP:TRANSPARENT");
    for lead in ALARMS {
        line("BEGIN:VALARM");
        line("ACTION:DISPLAY");
        line(&format!("DESCRIPTION:{}", escaped(&summary)));
        line(&format!("TRIGGER:{lead}"));
        line("END:VALARM");
    }
    line("END:VEVENT");
    line("END:VCALENDAR");
    Some(out)
}

/// The date to announce. When an incident is over its own date is history, and the new one, if any, is the token's.
fn deadline(notice: &Notice) -> Option<Timestamp> {
    let date = match (notice.why, notice.reason.thread(), notice.facts.expires) {
        (NotifyReason::Resolved, Thread::Expiry, Expiry::At(at)) => Some(at),
        (NotifyReason::Resolved, _, _) => None,
        (NotifyReason::First | NotifyReason::Escalated | NotifyReason::Repeated | NotifyReason::Reminded, _, _) => {
            notice.deadline
        }
    };
    date.filter(|at| *at > notice.at)
}

/// Minutes, because the number must fit into 31 bits for centuries to come.
fn sequence(at: Timestamp) -> i64 {
    (at.unix() / 60).clamp(0, i64::from(i32::MAX))
}

/// `20250715T080000Z`; `None` for years that the format cannot write.
fn utc(at: Timestamp) -> Option<String> {
    let text: String = at.to_string().chars().filter(|c| !matches!(c, '-' | ':')).collect();
    (text.len() == "20250715T080000Z".len()).then_some(text)
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
fn fold(out: &mut String, line: &str) {
    let mut room = LONGEST_LINE;
    for c in line.chars() {
        if c.len_utf8() > room {
            out.push_str("\r\n ");
            room = LONGEST_LINE - 1;
        }
        out.push(c);
        room -= c.len_utf8();
    }
    out.push_str("\r\n");
}

const LONGEST_LINE: usize = 75;
/// A moment would be shown as a line without height.
const LENGTH: &str = "PT15M";
/// The day before, and in time to act.
const ALARMS: [&str; 2] = ["-P1D", "-PT2H"];

#[cfg(test)]
mod tests {
    use super::super::compose::tests::{notice, token};
    use super::*;
    use crate::domain::finding::Reason;
    use crate::domain::time::Span;

    /// A tiny reader of its own: unfolds, and gives the properties in order.
    fn properties(text: &str) -> Vec<(String, String)> {
        assert!(text.ends_with("\r\n"));
        for line in text.split("\r\n") {
            assert!(line.len() <= 75 && !line.contains(['\r', '\n']), "{line:?}");
        }
        let unfolded = text.replace("\r\n ", "");
        let split = |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.to_owned()));
        unfolded.split_terminator("\r\n").map(|line| split(line).expect("a property has a colon")).collect()
    }

    fn value<'a>(properties: &'a [(String, String)], name: &str) -> &'a str {
        properties.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    #[test]
    fn a_deadline_becomes_an_event() {
        let mut notice = notice(&token(7), Reason::Expiring);
        notice.deadline = Some(notice.at.plus(Span::days(3)));
        let steps = vec!["First; do, this\\that: é".repeat(12), "Then that".to_owned()];
        let text = event(&notice, &steps, "example.com").expect("the date lies ahead");
        let event = properties(&text);
        assert_eq!(value(&event, "DTSTART"), "20250718T080000Z");
        assert_eq!(value(&event, "DTSTAMP"), "20250715T080000Z");
        assert_eq!(value(&event, "METHOD"), "PUBLISH");
        assert!(value(&event, "DESCRIPTION").starts_with("1. First\\; do\\, this\\\\that: é"));
        assert!(value(&event, "DESCRIPTION").ends_with("\\n2. Then that"));
        let opened = event.iter().filter(|(name, _)| name == "BEGIN").count();
        assert_eq!(opened, event.iter().filter(|(name, _)| name == "END").count());

        let mut later = notice.clone();
        later.at = notice.at.plus(Span::days(1));
        let later = properties(&super::event(&later, &[], "example.com").expect("the date lies ahead"));
        assert_eq!(value(&later, "UID"), value(&event, "UID"));
        assert!(value(&later, "SEQUENCE").parse::<i64>().ok() > value(&event, "SEQUENCE").parse::<i64>().ok());
    }

    #[test]
    fn only_dates_ahead_are_announced() {
        let mut notice = notice(&token(7), Reason::Expired);
        for deadline in [None, Some(notice.at), Some(notice.at.minus(Span::days(1)))] {
            notice.deadline = deadline;
            assert_eq!(event(&notice, &[], "example.com"), None);
        }
        notice.deadline = Some(Timestamp::from_unix(i64::MAX));
        assert_eq!(event(&notice, &[], "example.com"), None, "a year beyond the calendar");
        notice.why = NotifyReason::Resolved;
        notice.facts.expires = Expiry::Never;
        notice.deadline = Some(notice.at.plus(Span::days(3)));
        assert_eq!(event(&notice, &[], "example.com"), None, "the old date is history");
        notice.facts.expires = Expiry::At(notice.at.plus(Span::days(60)));
        assert!(event(&notice, &[], "example.com").is_some_and(|text| text.contains("DTSTART:20250913T080000Z")));
    }
}
