//! What will be told, when and to whom, if nothing changes but the clock: the user's own configuration under simulated time.
//!
//! It runs the very functions that decide (`step`, `digest`, quiet hours), so what it says cannot differ from what would happen. Every check is
//! answered as the last one was; a token whose last check failed goes on failing.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

use serde::Serialize;

use crate::advice;
use crate::domain::alert::{Notice, Subject};
use crate::domain::digest::{self, Bundle};
use crate::domain::inspection::CheckOutcome;
use crate::domain::route::Route;
use crate::domain::status::TokenStatus;
use crate::domain::step::{Observation, step};
use crate::domain::time::{Span, Timestamp};
use crate::domain::token::ReceiverName;
use crate::domain::verdict::{self, Case};
use crate::ports::SlotStatus;
use crate::settings::{Settings, Token};

/// What will be told.
#[derive(Clone, Debug, Serialize)]
pub struct Forecast {
    /// When it was made.
    pub from: i64,
    /// How far it looks.
    pub to: i64,
    /// The zone of dates for people.
    pub timezone: String,
    /// What is taken for granted.
    pub assumes: &'static str,
    /// The messages, in order.
    pub messages: Vec<Message>,
    /// Tokens about which nothing is known yet.
    pub unknown: Vec<String>,
    /// Whether there would be more messages than are listed.
    pub cut: bool,
}

/// One message.
#[derive(Clone, Debug, Serialize)]
pub struct Message {
    /// When it leaves, in unix seconds.
    pub at: i64,
    /// To whom.
    pub receiver: String,
    /// By which ways.
    pub ways: Vec<&'static str>,
    /// How bad: the worst of what is in it; absent when all of it is good news.
    pub severity: Option<&'static str>,
    /// Its one line.
    pub subject: String,
    /// What is in it, the most urgent first.
    pub notices: Vec<Line>,
    /// Held back by quiet hours.
    pub held: bool,
}

/// One notice.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// The subject.
    pub name: String,
    /// What is wrong, or was.
    pub finding: &'static str,
    /// How bad.
    pub severity: &'static str,
    /// Why it is sent: first, escalated, repeated, resolved, reminded.
    pub why: &'static str,
    /// In words.
    pub headline: String,
    /// The date it is about.
    pub deadline: Option<i64>,
}

/// Looks ahead from `now` for `span`.
pub fn forecast(settings: &Settings, known: Vec<(Subject, SlotStatus)>, now: Timestamp, span: Span) -> Forecast {
    let end = now.plus(span);
    let mut statuses: HashMap<Subject, SlotStatus> = known.into_iter().collect();
    let (mut notices, mut unknown, mut cut) = (Vec::new(), Vec::new(), false);
    for token in &settings.tokens {
        match statuses.remove(&Subject::Token(token.spec.id.clone())) {
            Some(SlotStatus::Token(status)) if status.last_check.is_some() => {
                cut |= live(token, *status, now, end, &mut notices);
            }
            _ => unknown.push(token.spec.id.to_string()),
        }
    }
    let mut messages = post(settings, notices, end);
    cut |= messages.len() > MOST_MESSAGES;
    messages.truncate(MOST_MESSAGES);
    Forecast {
        from: now.unix(),
        to: end.unix(),
        timezone: settings.daemon.zone.name().to_owned(),
        assumes: "every check is answered as the last one was; nothing is renewed, replaced, acknowledged or silenced",
        messages,
        unknown,
        cut,
    }
}

/// Lives one token's future through; true when it was cut short.
fn live(token: &Token, mut status: TokenStatus, now: Timestamp, end: Timestamp, notices: &mut Vec<Notice>) -> bool {
    let spec = &token.spec;
    let seen = Observation::Checked(CheckOutcome {
        fingerprint: status.generation.fingerprint,
        answer: match (&status.last_error, status.current_facts()) {
            (Some(error), _) => Err(error.clone()),
            (None, Some(facts)) => Ok(facts.clone()),
            (None, None) => return false,
        },
    });
    let mut at = now;
    for _ in 0..MOST_STEPS {
        let step = step(spec, status, seen.clone(), at);
        status = step.status;
        notices.extend(step.notices);
        // Checks at which nothing can change are passed over: only the clock does anything here.
        let judgement = verdict::judge(Case { spec, status: &status, now: at });
        let unchecked = TokenStatus { next_check: FAR, ..status.clone() };
        let next = crate::domain::step::wake(spec, &unchecked, &judgement, at).max(at.plus(Span::seconds(1)));
        if next > end {
            return false;
        }
        at = next;
    }
    true
}

/// Folds notices into messages as the outbox does: each receiver on its own, quiet hours held, those that come together in one.
fn post(settings: &Settings, notices: Vec<Notice>, end: Timestamp) -> Vec<Message> {
    let mut queues: BTreeMap<ReceiverName, BinaryHeap<Reverse<(Timestamp, usize)>>> = BTreeMap::new();
    let mut held = vec![false; notices.len()];
    for (place, notice) in notices.iter().enumerate() {
        for receiver in notice.receivers.iter() {
            let Some(known) = settings.receivers.get(receiver) else { continue };
            let hours = known.quiet_hours.filter(|hours| notice.severity < hours.except);
            let until = hours.and_then(|hours| settings.daemon.zone.quiet_until(hours.from, hours.to, notice.at));
            held[place] |= until.is_some();
            queues.entry(receiver.clone()).or_default().push(Reverse((until.unwrap_or(notice.at), place)));
        }
    }
    let mut messages = Vec::new();
    for (receiver, mut queue) in queues {
        while let Some(Reverse((first, place))) = queue.pop() {
            let mut places = vec![place];
            // What is held until the morning leaves then; the rest as soon as the outbox lets it go.
            let leaves = |places: &[usize]| {
                let together = places.iter().map(|place| &notices[*place]);
                digest::send_at(together, false).map_or(first, |at| at.max(first))
            };
            while let Some(Reverse((at, place))) = queue.peek().copied()
                && at <= leaves(&places)
            {
                queue.pop();
                places.push(place);
            }
            if first > end {
                break;
            }
            let together = places.iter().map(|place| notices[*place].clone()).collect();
            let Some(bundle) = Bundle::new(receiver.clone(), together) else { continue };
            let waited = places.iter().any(|place| held[*place]);
            messages.push(message(settings, &bundle, first, waited));
        }
    }
    messages.sort_by(|a, b| (a.at, &a.receiver).cmp(&(b.at, &b.receiver)));
    messages
}

fn message(settings: &Settings, bundle: &Bundle, at: Timestamp, held: bool) -> Message {
    let routes = settings.receivers.get(&bundle.receiver).map(super::settings::Receiver::routes).unwrap_or_default();
    let line = |notice: &Notice| Line {
        name: notice.subject.name().to_owned(),
        finding: notice.reason.as_str(),
        severity: notice.severity.as_str(),
        why: notice.why.as_str(),
        headline: advice::headline(notice),
        deadline: notice.deadline.map(Timestamp::unix),
    };
    let shared = advice::shared(&bundle.notices, settings);
    Message {
        at: at.unix(),
        receiver: bundle.receiver.to_string(),
        ways: routes.into_iter().map(Route::as_str).collect(),
        severity: bundle.severity().map(super::domain::finding::Severity::as_str),
        subject: advice::title(bundle, &shared),
        notices: bundle.notices.iter().take(MOST_LINES).map(line).collect(),
        held,
    }
}

/// No look is planned.
const FAR: Timestamp = Timestamp::from_unix(i64::MAX);
/// Ten years of a token that is critical and repeats each day.
const MOST_STEPS: usize = 4_000;
/// More than anybody reads.
const MOST_MESSAGES: usize = 10_000;
/// Notices of one message that are listed.
const MOST_LINES: usize = 50;
