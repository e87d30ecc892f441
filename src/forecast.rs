//! What will be told, when and to whom, if nothing changes but the clock: the user's own configuration under simulated time.
//!
//! It runs the very functions that decide about a token (`step`, `digest`, quiet hours). Every check is answered as the last one was; a token
//! whose last check failed goes on failing. It is not the whole daemon: it leaves out what is told about apps and about tokenwatch itself,
//! summaries, the pacing of many messages, the longer wait of warnings that a token could not be asked about, and messages that fail; it
//! treats all ways to a receiver alike, though quiet hours hold back only what people read, and WhatsApp tells nothing about its own sender.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::advice;
use crate::domain::alert::{Notice, Subject};
use crate::domain::digest::{self, Bundle};
use crate::domain::inspection::{CheckOutcome, Expiry, Inspection};
use crate::domain::renewal::{Outcome, Report};
use crate::domain::route::Route;
use crate::domain::status::TokenStatus;
use crate::domain::step::{Observation, step};
use crate::domain::time::{Span, Timestamp};
use crate::domain::token::{Fingerprint, ReceiverName, TokenSpec};
use crate::domain::verdict::{self, Case};
use crate::ports::SlotStatus;
use crate::settings::{Receiver, Settings, Token};

/// What will be told.
#[derive(Clone, Debug, Serialize)]
pub struct Forecast {
    /// When it was made.
    pub from: i64,
    /// How far it looks; not as far as it was asked to, when there would be too much to tell.
    pub to: i64,
    /// The zone of dates for people.
    pub timezone: String,
    /// What is taken for granted.
    pub assumes: &'static str,
    /// The messages, in order.
    pub messages: Vec<Message>,
    /// The renewals, in order.
    pub renewals: Vec<Renewal>,
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

/// One renewal.
#[derive(Clone, Debug, Serialize)]
pub struct Renewal {
    /// When it begins, in unix seconds.
    pub at: i64,
    /// The token.
    pub name: String,
    /// When the token then ends.
    pub until: Option<i64>,
    /// How the try before it ended, where that was not well.
    pub after: Option<&'static str>,
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
    let mut outlook = Outlook::new(now, span);
    outlook.add(&settings.tokens, known);
    outlook.finish(settings)
}

/// A forecast in the making. Tokens are added a few at a time, so that not all statuses need be in memory at once.
#[derive(Debug)]
pub struct Outlook {
    now: Timestamp,
    end: Timestamp,
    notices: Vec<Notice>,
    renewals: Vec<Renewal>,
    unknown: Vec<String>,
    cut: bool,
}

impl Outlook {
    /// Nothing is added yet.
    pub const fn new(now: Timestamp, span: Span) -> Self {
        Self { now, end: now.plus(span), notices: Vec::new(), renewals: Vec::new(), unknown: Vec::new(), cut: false }
    }

    /// Lives the future of these tokens through, of which this is known.
    pub fn add(&mut self, tokens: &[Token], known: Vec<(Subject, SlotStatus)>) {
        let mut statuses: HashMap<Subject, SlotStatus> = known.into_iter().collect();
        for token in tokens {
            match statuses.remove(&Subject::Token(token.spec.id.clone())) {
                Some(SlotStatus::Token(status)) if status.last_check.is_some() => self.live(token, *status),
                _ => self.unknown.push(token.spec.id.to_string()),
            }
        }
    }

    /// What will be told.
    pub fn finish(mut self, settings: &Settings) -> Forecast {
        self.bound(MOST_NOTICES);
        let mut messages = post(settings, &self.notices, self.end);
        self.cut |= messages.len() > MOST_MESSAGES;
        messages.truncate(MOST_MESSAGES);
        let end = self.end.unix();
        self.renewals.retain(|renewal| renewal.at <= end);
        self.renewals.sort_by(|a, b| (a.at, &a.name).cmp(&(b.at, &b.name)));
        self.cut |= self.renewals.len() > MOST_MESSAGES;
        self.renewals.truncate(MOST_MESSAGES);
        Forecast {
            from: self.now.unix(),
            to: self.end.unix(),
            timezone: settings.daemon.zone.name().to_owned(),
            assumes: ASSUMES,
            messages,
            renewals: self.renewals,
            unknown: self.unknown,
            cut: self.cut,
        }
    }

    fn live(&mut self, token: &Token, mut status: TokenStatus) {
        let spec = &token.spec;
        let mut seen = CheckOutcome {
            fingerprint: status.generation.fingerprint,
            answer: match (&status.last_error, status.current_facts()) {
                (Some(error), _) => Err(error.clone()),
                (None, Some(facts)) => Ok(facts.clone()),
                (None, None) => return,
            },
            beside: None,
        };
        let mut at = self.now;
        for _ in 0..MOST_STEPS {
            let look = step(spec, status, Observation::Checked(seen.clone()), at);
            status = look.status;
            self.notices.extend(look.notices);
            if let Some(number) = status.renewal.run.as_ref().map(|run| run.number)
                && let Ok(facts) = &mut seen.answer
            {
                *facts = renewed(spec, facts, at);
                let last = status.renewal.last.as_ref().map(|last| last.outcome);
                self.renewals.push(Renewal {
                    at: at.unix(),
                    name: spec.id.to_string(),
                    until: facts.expires.date().map(Timestamp::unix),
                    after: last.filter(|last| *last != Outcome::Renewed).map(Outcome::as_str),
                });
                // The secret is told apart by its date: only that there is another one matters here.
                let fingerprint = fingerprint(at);
                seen.fingerprint = Some(fingerprint);
                let proved = Some((fingerprint, facts.clone()));
                let report = Report {
                    number,
                    outcome: Outcome::Renewed,
                    text: SUCCEEDS.into(),
                    proved,
                    error: None,
                    kept: None,
                };
                let end = step(spec, status, Observation::Ended(report), at);
                status = end.status;
                self.notices.extend(end.notices);
            }
            // Checks at which nothing can change are passed over: only the clock does anything here.
            let judgement = verdict::judge(Case { spec, status: &status, now: at });
            let unchecked = TokenStatus { next_check: FAR, ..status.clone() };
            let next = crate::domain::step::wake(spec, &unchecked, &judgement, at).max(at.plus(Span::seconds(1)));
            if next > self.end {
                self.tidy();
                return;
            }
            at = next;
        }
        self.cut = true;
        self.tidy();
    }

    /// Not at every notice: what is thrown away is as much as what is kept.
    fn tidy(&mut self) {
        if self.notices.len() > 2 * MOST_NOTICES {
            self.bound(MOST_NOTICES);
        }
    }

    /// With more notices than that it looks less far ahead: the near future is complete, whichever tokens it is about.
    fn bound(&mut self, most: usize) {
        if self.notices.len() <= most {
            return;
        }
        self.cut = true;
        let (_, first_too_many, _) = self.notices.select_nth_unstable_by_key(most, |notice| notice.at);
        let horizon = first_too_many.at;
        self.notices.truncate(most);
        // Even one moment may be too much; then it is told in part.
        let earlier = self.notices.iter().any(|notice| notice.at < horizon);
        if earlier {
            self.notices.retain(|notice| notice.at < horizon);
        }
        self.end = if earlier { horizon.minus(Span::seconds(1)) } else { horizon }.min(self.end);
    }
}

/// The facts after a renewal: 60 days from then, whatever it was before (reference §3.1, §3.2, §3.4, §4); where the provider is another, as
/// long as the token now in the slot lives, as far as that is known.
fn renewed(spec: &TokenSpec, facts: &Inspection, at: Timestamp) -> Inspection {
    let rotation = spec.renew.as_ref().and_then(|policy| policy.rotation);
    let life = match (rotation.filter(|rotation| !rotation.teaches), facts.issued_at, facts.expires) {
        (Some(_), Some(issued), Expiry::At(end)) if end > issued => end.since(issued),
        _ => LONG_LIFE,
    };
    Inspection {
        issued_at: Some(at),
        expires: match facts.expires {
            Expiry::Unknown if rotation.is_some_and(|rotation| rotation.teaches) => Expiry::At(at.plus(life)),
            Expiry::At(_) => Expiry::At(at.plus(life)),
            Expiry::Never | Expiry::Unknown => facts.expires,
        },
        ..facts.clone()
    }
}

fn fingerprint(at: Timestamp) -> Fingerprint {
    Fingerprint((i128::from(at.unix())).to_be_bytes())
}

/// Folds notices into messages as the outbox does: each receiver on its own, quiet hours held, those that come together in one.
fn post(settings: &Settings, notices: &[Notice], end: Timestamp) -> Vec<Message> {
    let mut queues: BTreeMap<&ReceiverName, Vec<(Timestamp, &Notice)>> = BTreeMap::new();
    for notice in notices {
        for receiver in notice.receivers.iter() {
            let Some(known) = settings.receivers.get(receiver) else { continue };
            let hours = known.quiet_hours.filter(|hours| notice.severity < hours.except);
            let until = hours.and_then(|hours| settings.daemon.zone.quiet_until(hours.from, hours.to, notice.at));
            queues.entry(receiver).or_default().push((until.unwrap_or(notice.at), notice));
        }
    }
    let mut messages = Vec::new();
    for (receiver, mut queue) in queues {
        queue.sort_by_key(|(at, _)| *at);
        let mut queue = queue.into_iter().peekable();
        // One more than is listed shows that there are more.
        let most = messages.len() + MOST_MESSAGES + 1;
        while let Some((first, notice)) = queue.next().filter(|(first, _)| *first <= end && messages.len() < most) {
            let mut group = Group::of(notice);
            let (mut together, mut held) = (vec![notice.clone()], first > notice.at);
            while let Some((at, notice)) = queue.next_if(|(at, _)| *at <= group.leaves(first)) {
                group.add(notice);
                held |= at > notice.at;
                together.push(notice.clone());
            }
            let Some(bundle) = Bundle::new(receiver.clone(), together) else { continue };
            messages.push(message(settings, &bundle, first, held));
        }
    }
    messages.sort_by(|a, b| (a.at, &a.receiver).cmp(&(b.at, &b.receiver)));
    messages
}

/// Of the notices that leave together those that decide when: a few stand for all, however many there are.
#[derive(Clone, Copy)]
struct Group<'a> {
    oldest: &'a Notice,
    newest: &'a Notice,
    worst: &'a Notice,
    alone: bool,
}

impl<'a> Group<'a> {
    const fn of(notice: &'a Notice) -> Self {
        Self { oldest: notice, newest: notice, worst: notice, alone: true }
    }

    fn add(&mut self, notice: &'a Notice) {
        self.alone = false;
        if notice.at < self.oldest.at {
            self.oldest = notice;
        }
        if notice.at > self.newest.at {
            self.newest = notice;
        }
        if notice.severity > self.worst.severity {
            self.worst = notice;
        }
    }

    /// When they leave. What is held until the morning leaves then; the rest as soon as the outbox lets it go.
    fn leaves(&self, first: Timestamp) -> Timestamp {
        let few = [self.oldest, self.newest, self.worst];
        let few = if self.alone { &few[..1] } else { &few[..] };
        digest::send_at(few.iter().copied(), false).map_or(first, |at| at.max(first))
    }
}

fn message(settings: &Settings, bundle: &Bundle, at: Timestamp, held: bool) -> Message {
    let routes = settings.receivers.get(&bundle.receiver).map(Receiver::routes).unwrap_or_default();
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
/// It bounds the memory and the time that many tokens in trouble take.
const MOST_NOTICES: usize = 100_000;
const ASSUMES: &str = "every check is answered as the last one was; every renewal that is configured succeeds and gives 60 days; nothing is \
                       replaced, acknowledged or silenced; every message gets through at once, without pacing or the longer wait of warnings that a token could not be asked about; what is told \
                       about apps and about tokenwatch itself, and summaries, are left out";
/// What a renewal says of itself here.
const SUCCEEDS: &str = "it is taken for granted that this renewal succeeds";
/// What an exchange or a refresh gives.
const LONG_LIFE: Span = Span::days(60);
/// Notices of one message that are listed.
const MOST_LINES: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::finding::Severity;
    use crate::domain::inspection::Validity;
    use crate::domain::status::{Facts, Generation};

    const NOW: Timestamp = Timestamp::from_unix(1_752_566_400);

    fn settings(tokens: usize) -> Settings {
        let mut text = "[smtp]\nfrom = \"t@example.com\"\nrelays = [{ url = \"smtp://127.0.0.1:1?tls=none\" }]\n\
                        [receivers.default]\nemail = [\"a@example.com\"]\n"
            .to_owned();
        for n in 0..tokens {
            text += &format!("[[tokens]]\nname = \"t{n}\"\nsecret = {{ env = \"X\" }}\n");
        }
        crate::settings::from_text(&text, "test", &[]).expect("a valid configuration").settings
    }

    /// What is known of a token that ends then, and was fine so far.
    fn ends(token: &Token, end: Timestamp) -> (Subject, SlotStatus) {
        let inspection = Inspection {
            expires: Expiry::At(end),
            issued_at: Some(NOW.minus(Span::days(30))),
            ..Inspection::bare(Validity::Valid)
        };
        let status = TokenStatus {
            generation: Generation { number: 1, fingerprint: None, since: NOW.minus(Span::days(30)) },
            facts: Some(Facts::new(1, inspection, None, NOW)),
            last_check: Some(NOW),
            last_answer: Some(NOW),
            ..TokenStatus::new(NOW)
        };
        (Subject::Token(token.spec.id.clone()), SlotStatus::Token(Box::new(status)))
    }

    fn known(settings: &Settings, days: impl Fn(usize) -> i64) -> Vec<(Subject, SlotStatus)> {
        settings.tokens.iter().enumerate().map(|(n, token)| ends(token, NOW.plus(Span::days(days(n))))).collect()
    }

    fn notices(settings: &Settings) -> Vec<Notice> {
        let mut outlook = Outlook::new(NOW, Span::days(60));
        outlook.add(&settings.tokens, known(settings, |n| 3 + i64::try_from(n % 40).unwrap_or(0)));
        outlook.notices
    }

    #[test]
    fn tokens_may_be_added_a_few_at_a_time() {
        let settings = settings(7);
        let days = |n: usize| 10 * i64::try_from(n).unwrap_or(0) + 3;
        let whole = forecast(&settings, known(&settings, days), NOW, Span::days(60));
        let mut outlook = Outlook::new(NOW, Span::days(60));
        let mut rest = known(&settings, days);
        for tokens in settings.tokens.chunks(3) {
            let later = rest.split_off(tokens.len());
            outlook.add(tokens, std::mem::replace(&mut rest, later));
        }
        let parts = outlook.finish(&settings);
        let json = |forecast: &Forecast| serde_json::to_value(forecast).expect("JSON");
        assert_eq!(json(&whole), json(&parts));
        assert!(whole.messages.len() > 10 && !whole.cut && whole.unknown.is_empty());
        assert_eq!(forecast(&settings, Vec::new(), NOW, Span::days(1)).unknown.len(), 7);
    }

    #[test]
    fn too_many_notices_bring_the_end_nearer() {
        let settings = settings(40);
        let mut outlook = Outlook::new(NOW, Span::days(60));
        outlook.add(&settings.tokens, known(&settings, |n| 3 + i64::try_from(n).unwrap_or(0)));
        let mut all: Vec<Timestamp> = outlook.notices.iter().map(|notice| notice.at).collect();
        all.sort_unstable();
        outlook.bound(all.len());
        assert!(!outlook.cut && outlook.end == NOW.plus(Span::days(60)));
        outlook.bound(100);
        assert!(outlook.cut && outlook.end < all[100] && outlook.end >= all[0]);
        let near = all.iter().filter(|at| **at <= outlook.end).count();
        assert!(near > 50, "{near}");
        assert_eq!(outlook.notices.len(), near, "the near future is complete");
        // So many at once that not even the present is.
        let mut crowd = Outlook::new(NOW, Span::days(60));
        crowd.add(&settings.tokens, known(&settings, |_| 2));
        crowd.bound(10);
        assert!(crowd.cut && crowd.notices.len() == 10);
    }

    #[test]
    fn a_few_notices_stand_for_all_that_leave_together() {
        let settings = settings(12);
        let some = notices(&settings);
        assert!(some.len() > 50);
        // Groups of any size, in any order, with and without something critical in them.
        for start in 0..some.len() {
            for size in 1..=12.min(some.len() - start) {
                for critical in [None, Some(0), Some(size - 1)] {
                    let mut together = some[start..start + size].to_vec();
                    for (n, notice) in together.iter_mut().enumerate() {
                        notice.severity = if critical == Some(n) { Severity::Critical } else { Severity::Warning };
                        notice.at = NOW.plus(Span::seconds(i64::try_from((n * 7 + start) % 5).unwrap_or(0)));
                    }
                    let mut group = Group::of(&together[0]);
                    together[1..].iter().for_each(|notice| group.add(notice));
                    let whole = digest::send_at(together.iter(), false);
                    assert_eq!(Some(group.leaves(Timestamp::from_unix(0))), whole, "{start} {size} {critical:?}");
                }
            }
        }
    }

    #[test]
    fn a_great_crowd_is_one_message_and_no_trouble() {
        let settings = settings(3_000);
        let told = forecast(&settings, known(&settings, |_| 5), NOW, Span::days(1));
        assert_eq!((told.messages.len(), told.messages[0].notices.len()), (1, MOST_LINES));
        assert!(told.messages[0].subject.starts_with("3000 tokens: "), "{}", told.messages[0].subject);
    }
}
