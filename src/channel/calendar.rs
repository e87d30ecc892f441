//! The deadline of a notice as an event, so that it can be taken over into any calendar.
//!
//! Pure. A date that is past is never announced, and one that was announced and is no longer true is taken back.

use crate::domain::alert::{Notice, NotifyReason};
use crate::domain::finding::Thread;
use crate::domain::inspection::Expiry;
use crate::domain::time::{Span, Timestamp};
use crate::ical::{self, Event};

/// The calendar for a notice, or `None` when no date lies ahead.
///
/// One slot's deadline of one kind is one event: its UID stays, and a later notice moves it (SEQUENCE grows with time).
pub fn event(notice: &Notice, steps: &[String], domain: &str) -> Option<String> {
    let (at, cancelled) = deadline(notice)?;
    let thread = notice.reason.thread();
    let event = Event {
        uid: ical::uid(&notice.subject, thread, domain),
        moved: notice.at,
        at,
        summary: ical::summary(&notice.subject, thread),
        description: ical::numbered(steps),
        url: None,
        cancelled,
        alarms: ALARMS.to_vec(),
    };
    let mut out = String::new();
    ical::begin(&mut out, None);
    let written = ical::event(&mut out, &event);
    ical::end(&mut out);
    written.then_some(out)
}

/// The date to announce, or to take back. When an incident is over its own date is history, and the new one, if any, is the token's.
fn deadline(notice: &Notice) -> Option<(Timestamp, bool)> {
    let ahead = |at: Option<Timestamp>| at.filter(|at| *at > notice.at);
    let old = ahead(notice.deadline);
    match (notice.why, notice.reason.thread(), notice.facts.expires) {
        (NotifyReason::Resolved, Thread::Expiry, Expiry::At(at)) if at > notice.at => Some((at, false)),
        (NotifyReason::Resolved, Thread::Expiry | Thread::DataAccess, _) => old.map(|at| (at, true)),
        (NotifyReason::Resolved, _, _) => None,
        (NotifyReason::First | NotifyReason::Escalated | NotifyReason::Repeated | NotifyReason::Reminded, _, _) => {
            old.map(|at| (at, false))
        }
    }
}

/// The day before, and in time to act.
const ALARMS: [Span; 2] = [Span::days(1), Span::hours(2)];

#[cfg(test)]
mod tests {
    use super::super::compose::tests::{notice, token};
    use super::*;
    use crate::domain::finding::Reason;

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
        let taken_back = event(&notice, &[], "example.com").expect("it was announced");
        assert!(taken_back.contains("STATUS:CANCELLED") && taken_back.contains("DTSTART:20250718T080000Z"));
        notice.deadline = Some(notice.at.minus(Span::days(3)));
        assert_eq!(event(&notice, &[], "example.com"), None, "the old date is history");
        notice.facts.expires = Expiry::At(notice.at.plus(Span::days(60)));
        assert!(event(&notice, &[], "example.com").is_some_and(|text| text.contains("DTSTART:20250913T080000Z")));
    }
}
