//! `/calendar.ics`: every deadline and every planned renewal as events, for a calendar that subscribes to it.
//!
//! It says what is so now: the same state gives the same bytes. A date that moved keeps its UID and has a higher SEQUENCE; one that is no longer
//! so, but still lies ahead, is cancelled until it has passed. What a mail announced has the same UID here.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Web;
use super::find::{Wanted, nearest};
use crate::advice::{self, Links};
use crate::domain::alert::Subject;
use crate::domain::finding::{Detail, Finding, Reason, Severity, Stage, Thread};
use crate::domain::renewal;
use crate::domain::status::{Facts, TokenStatus};
use crate::domain::step::as_notice;
use crate::domain::time::{Span, Timestamp};
use crate::domain::token::{AppName, ProviderName, ReceiverName};
use crate::domain::verdict;
use crate::ical::{self, Event, Feed};
use crate::ids;
use crate::ports::{SlotStatus, StoreError};
use crate::settings::{Settings, Token};

/// Serves the feed.
pub async fn feed(State(web): State<Web>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let settings = Arc::clone(&web.settings.borrow());
    let wanted = Wanted::parse(query.as_deref());
    if let Some(what) = unknown(&wanted, &settings) {
        return (StatusCode::NOT_FOUND, format!("{what}; a calendar of nothing would warn of nothing\n"))
            .into_response();
    }
    let text = match web.calendar(&wanted, &settings).await {
        Ok(text) => text,
        Err(failure) => return (StatusCode::SERVICE_UNAVAILABLE, format!("{failure}\n")).into_response(),
    };
    let tag = format!("\"{}\"", ids::identifier(&text));
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let kept = known.flat_map(|value| value.split(',')).any(|value| {
        let value = value.trim();
        value == "*" || value.trim_start_matches("W/") == tag
    });
    // It may be kept, but is asked for each time.
    let common = [(header::ETAG, tag), (header::CACHE_CONTROL, "private, no-cache".to_owned())];
    if kept {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    let kind = [
        (header::CONTENT_TYPE, "text/calendar; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "inline; filename=\"tokenwatch.ics\""),
    ];
    (common, kind, text).into_response()
}

/// A name that is not in the configuration: whoever mistypes one must not get an empty calendar.
fn unknown(wanted: &Wanted, settings: &Settings) -> Option<String> {
    fn is<'a>(name: &str, mut names: impl Iterator<Item = &'a str>) -> bool {
        name.is_empty() || names.any(|known| known == name)
    }
    if !is(&wanted.receiver, settings.receivers.keys().map(ReceiverName::as_str)) {
        return Some(format!("no receiver is called {:?}", wanted.receiver));
    }
    if !is(&wanted.provider, settings.providers.keys().map(ProviderName::as_str)) {
        return Some(format!("no token comes from a provider called {:?}", wanted.provider));
    }
    if !is(&wanted.app, settings.apps.keys().map(AppName::as_str)) {
        return Some(format!("no app is called {:?}", wanted.app));
    }
    if !is(&wanted.token, settings.tokens.iter().map(|token| token.spec.id.as_str())) {
        return Some(format!("no token is called {:?}", wanted.token));
    }
    None
}

impl Web {
    /// The calendar of what is wanted.
    async fn calendar(&self, wanted: &Wanted, settings: &Settings) -> Result<String, StoreError> {
        let now = self.clock.now();
        let (count, names) = {
            let table = self.board.table();
            let rows = table.rows();
            let found = nearest(&rows, wanted, MOST_TOKENS, now);
            let names = found.places.iter().filter_map(|place| rows.get(*place)).map(|row| row.id.clone());
            (found.count, names.collect::<Vec<_>>())
        };
        let mut text = String::new();
        ical::begin(&mut text, Some(&title(wanted, count)));
        let domain = ids::id_domain(settings.smtp.as_ref().map_or("", |smtp| smtp.from.as_str()));
        // In groups, so that the loop has its turn between them.
        for group in names.chunks(GROUP) {
            let subjects = group.iter().cloned().map(Subject::Token).collect();
            for (subject, status) in self.store.load(subjects).await? {
                let (Subject::Token(id), SlotStatus::Token(status)) = (&subject, &status) else { continue };
                let Some(token) = settings.token(id) else { continue };
                let scene = Scene { token, status, settings, domain: &domain, now };
                for event in scene.events() {
                    ical::event(&mut text, &event);
                }
            }
        }
        if !wanted.narrows() {
            for event in self.of_strangers(settings, &domain, now).await? {
                ical::event(&mut text, &event);
            }
        }
        ical::end(&mut text);
        Ok(text)
    }

    /// Dates that people were told of, of tokens that are no longer watched: they are taken back.
    async fn of_strangers(&self, settings: &Settings, domain: &str, now: Timestamp) -> Result<Vec<Event>, StoreError> {
        let is_stranger = |subject: &Subject| matches!(subject, Subject::Token(id) if settings.token(id).is_none());
        let strangers = self.store.subjects().await?.into_iter().filter(is_stranger).take(MOST_STRANGERS);
        let mut events = Vec::new();
        for subject in strangers {
            let history = self.store.history(subject.clone(), MOST_INCIDENTS).await?;
            let mut seen = Vec::new();
            for record in history.incidents {
                let thread = record.incident.thread;
                let Some((ended, _)) = record.ended.filter(|_| thread.has_ladder() && !seen.contains(&thread)) else {
                    continue;
                };
                seen.push(thread);
                let Some(at) = record.incident.deadline.filter(|at| *at > now) else { continue };
                events.push(cancelled(&subject, thread, domain, at, ended, "It is no longer watched."));
            }
        }
        Ok(events)
    }
}

fn title(wanted: &Wanted, count: usize) -> Feed {
    let only: Vec<&str> = [&wanted.receiver, &wanted.provider, &wanted.app, &wanted.token]
        .into_iter()
        .map(String::as_str)
        .filter(|name| !name.is_empty())
        .collect();
    let name = if only.is_empty() { "tokenwatch".to_owned() } else { format!("tokenwatch: {}", only.join(", ")) };
    let mut description = "Ends of access tokens, and planned renewals.".to_owned();
    if count > MOST_TOKENS {
        description.push_str(&format!(
            " These are the {MOST_TOKENS} tokens of {count} with the nearest dates; ?receiver=, ?provider=, ?app= and ?token= choose others."
        ));
    }
    Feed { name, description }
}

fn cancelled(subject: &Subject, thread: Thread, domain: &str, at: Timestamp, moved: Timestamp, why: &str) -> Event {
    Event {
        uid: ical::uid(subject, thread, domain),
        moved,
        at,
        summary: ical::summary(subject, thread),
        description: why.to_owned(),
        url: None,
        cancelled: true,
        alarms: Vec::new(),
    }
}

/// One token and what is known of it.
struct Scene<'a> {
    token: &'a Token,
    status: &'a TokenStatus,
    settings: &'a Settings,
    domain: &'a str,
    now: Timestamp,
}

impl Scene<'_> {
    fn events(&self) -> Vec<Event> {
        let Some(facts) = &self.status.facts else { return Vec::new() };
        let (end, data_access) = facts.inspection.dates_to_come();
        let dates = [
            (Reason::Expiring, end, facts.dated.end_before),
            (Reason::DataAccessExpiring, data_access, facts.dated.data_access_before),
        ];
        let dates = dates.into_iter().filter_map(|(reason, at, before)| match at {
            Some(at) => Some(self.deadline(facts, reason, at)),
            None => {
                let before = before.filter(|at| *at > self.now)?;
                let (subject, why) = (self.subject(), "This date is no longer true.");
                Some(cancelled(&subject, reason.thread(), self.domain, before, self.moved(facts), why))
            }
        });
        dates.chain(self.renewal(facts)).collect()
    }

    fn subject(&self) -> Subject {
        Subject::Token(self.token.spec.id.clone())
    }

    /// When the dates last moved. What was stored before that was noted moved with its secret.
    fn moved(&self, facts: &Facts) -> Timestamp {
        facts.dated.since.max(self.status.generation.since)
    }

    fn deadline(&self, facts: &Facts, reason: Reason, at: Timestamp) -> Event {
        let (spec, subject, thread) = (&self.token.spec, self.subject(), reason.thread());
        let life = if reason == Reason::Expiring { verdict::lifetime } else { verdict::data_access_window };
        let lifetime = life(self.status, &facts.inspection, at);
        let finding = Finding {
            reason,
            severity: Severity::Info,
            stage: Stage(0),
            deadline: Some(at),
            next: None,
            last_call: false,
            detail: Detail::None,
        };
        // Nothing in it counts from now, for else it would change with every look.
        let notice = as_notice(spec, self.status, &finding, self.now);
        let links = Links::of(self.settings, &subject);
        let mut description = advice::what_breaks(&notice, &links);
        description.push_str("\n\n");
        description.push_str(&ical::numbered(&advice::steps(&notice, &links)));
        Event {
            uid: ical::uid(&subject, thread, self.domain),
            moved: self.moved(facts),
            at,
            summary: ical::summary(&subject, thread),
            description,
            url: self.settings.page(&subject),
            cancelled: false,
            alarms: spec.policy.ladder.rungs(lifetime.max(Span::ZERO)),
        }
    }

    fn renewal(&self, facts: &Facts) -> Option<Event> {
        let (spec, subject) = (&self.token.spec, self.subject());
        let at = renewal::next_run(spec, self.status).filter(|at| *at > self.now)?;
        let last = self.status.renewal.last.as_ref().map(|last| last.at);
        let moved =
            [last, self.status.renewal.renewed_at].into_iter().flatten().fold(self.moved(facts), Timestamp::max);
        Some(Event {
            uid: ical::uid(&subject, Thread::Renewal, self.domain),
            moved,
            at,
            summary: ical::summary(&subject, Thread::Renewal),
            description: advice::planned(&spec.id),
            url: self.settings.page(&subject),
            cancelled: false,
            // Nobody has to get ready for what happens by itself; who is at the screen then knows what is going on.
            alarms: vec![Span::ZERO],
        })
    }
}

/// Tokens in one calendar: with two dates and a renewal each it has some megabytes then, and programs take no more.
pub const MOST_TOKENS: usize = 1_000;
/// Statuses that are read at once.
const GROUP: usize = 100;
/// Tokens that are no longer watched of which dates are taken back.
const MOST_STRANGERS: usize = 200;
/// Incidents of such a one that are looked at.
const MOST_INCIDENTS: usize = 20;
