//! The world that a slot lives in: a true time, a provider that keeps it, our own clock that may not, and what befalls a secret.
//!
//! A life looks at its token when the core asks for it, as the daemon would, and keeps the whole history for the judges.

use std::sync::Arc;

use tokenwatch::domain::alert::Notice;
use tokenwatch::domain::answer::Answer;
use tokenwatch::domain::finding::Thread;
use tokenwatch::domain::inspection::{
    AppFault, Cause, CheckError, CheckOutcome, Expiry, Grant, Inspection, Unreachable, Validity,
};
use tokenwatch::domain::status::TokenStatus;
use tokenwatch::domain::step::{Observation, Step, step};
use tokenwatch::domain::time::{Span, Timestamp};
use tokenwatch::domain::token::{Fingerprint, Policy, TokenSpec};
use tokenwatch::domain::verdict::Judgement;

use super::model::{Ends, Moment, Reply, Says, Seen, State, Told, Trouble};
use super::{SCOPE, START, at, signed, spec};

/// How a secret is made.
#[derive(Clone, Copy, Debug)]
pub struct Birth {
    /// How old it is when it is put into the slot.
    pub age: i64,
    /// How long it lives from issue; `None` is for ever.
    pub lasts: Option<i64>,
    /// How long it may read its user's data, from issue.
    pub window: Option<i64>,
    pub tells_issue: bool,
    pub tells_end: bool,
}

/// What befalls a slot.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// A new secret is put into the slot.
    Reissue(Birth),
    /// The secret's end moves by so much; a past end may so come back to life.
    Prolong(i64),
    /// The secret dies before its time.
    Kill(State),
    /// It was no death after all.
    Revive,
    /// For so long there is no answer.
    Trouble(Absence, i64),
    /// The next few answers are false.
    Glitch(u8, State),
    /// Our clock jumps.
    Clock(i64),
    /// The daemon is stopped for so long; the status survives.
    Stop(i64),
    /// Permissions are taken away, or given back.
    Poor(bool),
    /// The provider leaves dates out of its answers, or states them again.
    Terse(bool),
    /// Somebody looks, though nothing is due.
    Look,
    /// Somebody answers what was told.
    Say(Reply),
}

/// Why there is no answer. A pause is asked for, for so long each time.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Absence {
    Line,
    Pause(i64),
    PutOff(i64),
    App,
    Foreign,
    NoSecret,
}

/// All that one step brought.
pub struct Look {
    pub at: i64,
    pub wake: i64,
    pub notices: Vec<Notice>,
    pub judgement: Judgement,
    /// The incidents that were open after it, as the thread and number that keys are made of.
    pub open: Vec<(Thread, u32)>,
    /// Those of them that come and go.
    pub damped: Vec<(Thread, u32)>,
    /// Whether an answer was given and taken.
    pub taken: bool,
}

/// One slot from its first look on.
pub struct Life {
    pub spec: TokenSpec,
    pub status: TokenStatus,
    pub history: Vec<Moment>,
    script: Vec<(i64, Event)>,
    next_event: usize,
    /// When the next look is due, in true time.
    due: i64,
    /// What our clock shows beyond the true time.
    ahead: i64,
    period: i64,
    secret: u32,
    birth: Birth,
    born: i64,
    end: Option<i64>,
    killed: Option<State>,
    absence: Option<(Absence, i64)>,
    glitches: (u8, State),
    poor: bool,
    terse: bool,
}

impl Life {
    /// `script` is in order of true time, counted from the start.
    pub fn new(name: &str, policy: Policy, period: i64, birth: Birth, script: Vec<(i64, Event)>) -> Self {
        Self {
            spec: spec(name, policy, period),
            status: TokenStatus::new(START),
            history: Vec::new(),
            script,
            next_event: 0,
            due: 0,
            ahead: 0,
            period,
            secret: 1,
            birth,
            born: -birth.age,
            end: birth.lasts.map(|lasts| lasts - birth.age),
            killed: None,
            absence: None,
            glitches: (0, State::Works),
            poor: false,
            terse: false,
        }
    }

    /// The next thing to happen, in true time.
    pub fn due(&self) -> i64 {
        self.script.get(self.next_event).map_or(self.due, |(at, _)| self.due.min(*at))
    }

    /// Lets the next thing happen; a look, when it was one.
    pub fn advance(&mut self) -> Option<Look> {
        match self.script.get(self.next_event) {
            Some((at, event)) if *at <= self.due => {
                let (at, event) = (*at, *event);
                self.next_event += 1;
                self.befall(at, event)
            }
            _ => Some(self.look(self.due, None)),
        }
    }

    /// Lives on until then, or until there were so many looks.
    pub fn live(&mut self, until: i64, limit: usize) -> Vec<Look> {
        let mut looks = Vec::new();
        while self.due() < until && looks.len() < limit {
            looks.extend(self.advance());
        }
        looks
    }

    fn befall(&mut self, now: i64, event: Event) -> Option<Look> {
        match event {
            Event::Reissue(birth) => {
                self.secret += 1;
                self.birth = birth;
                self.born = now - birth.age;
                self.end = birth.lasts.map(|lasts| self.born + lasts);
                self.killed = None;
                self.glitches.0 = 0;
            }
            Event::Prolong(by) => self.end = self.end.map(|end| end + by),
            Event::Kill(state) => self.killed = Some(state),
            Event::Revive => self.killed = None,
            Event::Trouble(absence, lasts) => self.absence = Some((absence, now + lasts)),
            Event::Glitch(count, state) => self.glitches = (count, state),
            Event::Clock(by) => {
                let shown = self.due + self.ahead;
                self.ahead += by;
                // The loop sleeps by the wall clock; after a step back it looks again within a period.
                self.due = (shown - self.ahead).clamp(now, now + self.period);
            }
            Event::Stop(lasts) => self.due = self.due.max(now + lasts),
            Event::Poor(poor) => self.poor = poor,
            Event::Terse(terse) => self.terse = terse,
            Event::Look => return Some(self.look(now, None)),
            Event::Say(reply) => return Some(self.look(now, Some(reply))),
        }
        None
    }

    fn look(&mut self, now: i64, said: Option<Reply>) -> Look {
        let shown = now + self.ahead;
        let seen = said.map_or_else(|| self.see(now, shown), Seen::Said);
        self.history.push(Moment { at: shown, seen });
        let before = std::mem::replace(&mut self.status, TokenStatus::new(START));
        let Step { status, judgement, notices, refused, wake, .. } =
            step(&self.spec, before, observation(seen), at(shown));
        self.status = status;
        let wake = seconds(wake);
        self.due = wake - self.ahead;
        assert!(self.due > now, "a wake in the past would spin");
        let ledger = &self.status.ledger;
        let open = ledger.incidents.iter().map(|incident| (incident.thread, incident.number)).collect();
        let damped = ledger.incidents.iter().filter(|incident| incident.damped.is_some());
        let damped = damped.map(|incident| (incident.thread, incident.number)).collect();
        Look { at: shown, wake, notices, judgement, open, damped, taken: said.is_some() && refused.is_none() }
    }

    fn see(&mut self, now: i64, shown: i64) -> Seen {
        match self.absence.filter(|(_, until)| now < *until).map(|(absence, _)| absence) {
            Some(Absence::Line) => Seen::Trouble(self.secret, Trouble::Line),
            Some(Absence::Pause(lasts)) => Seen::Trouble(self.secret, Trouble::Pause(shown + lasts)),
            Some(Absence::PutOff(lasts)) => Seen::PutOff(shown + lasts),
            Some(Absence::App) => Seen::Trouble(self.secret, Trouble::App),
            Some(Absence::Foreign) => Seen::Trouble(self.secret, Trouble::Foreign),
            Some(Absence::NoSecret) => Seen::NoSecret,
            None => Seen::Answer(self.secret, self.answer(now)),
        }
    }

    fn answer(&mut self, now: i64) -> Says {
        let state = match self.glitches {
            (0, _) => match (self.killed, self.end) {
                (Some(state), _) => state,
                (None, Some(end)) if end <= now => State::RanOut,
                (None, _) => State::Works,
            },
            (left, state) => {
                self.glitches.0 = left - 1;
                state
            }
        };
        let ends = match self.end {
            _ if self.terse || !self.birth.tells_end || state == State::Gibberish => Ends::Untold,
            Some(end) => Ends::At(end),
            None => Ends::Never,
        };
        let window = match self.birth.window {
            Some(lasts) if !self.terse && state != State::Gibberish => Ends::At(self.born + lasts),
            _ => Ends::Untold,
        };
        let issued = (self.birth.tells_issue && !self.terse).then_some(self.born);
        Says { state, issued, ends, window, poor: (!self.terse).then_some(self.poor) }
    }
}

/// What was seen, in the core's words.
pub fn observation(seen: Seen) -> Observation {
    let (secret, answer) = match seen {
        Seen::Answer(secret, says) => (Some(secret), Ok(inspection(says))),
        Seen::Trouble(secret, trouble) => (Some(secret), Err(error(trouble))),
        Seen::NoSecret => (None, Err(CheckError::Source("no such file".into()))),
        Seen::PutOff(until) => return Observation::Deferred(at(until)),
        Seen::Said(reply) => return Observation::Answered(answer(reply)),
    };
    Observation::Checked(CheckOutcome { fingerprint: secret.map(fingerprint), answer, beside: None })
}

fn answer(reply: Reply) -> Answer {
    match reply {
        Reply::Acknowledge => Answer::Acknowledge(signed()),
        Reply::Silence { lasts, even_critical } => {
            Answer::Silence { signed: signed(), lasts: Span::seconds(lasts), even_critical }
        }
        Reply::Unsilence => Answer::Unsilence(signed()),
    }
}

fn inspection(says: Says) -> Inspection {
    let expiry = |ends: Ends| match ends {
        Ends::Never => Expiry::Never,
        Ends::At(end) => Expiry::At(at(end)),
        Ends::Untold => Expiry::Unknown,
    };
    let validity = match says.state {
        State::Works => Validity::Valid,
        State::RanOut => Validity::Expired,
        State::Revoked => Validity::Revoked(Cause::PasswordChanged),
        State::Inactive => Validity::Revoked(Cause::Inactive),
        State::Gibberish => Validity::Unreadable,
    };
    let grants =
        says.poor.map(|poor| if poor { Vec::new() } else { vec![Grant { scope: SCOPE.into(), targets: None }] });
    Inspection {
        issued_at: says.issued.map(at),
        expires: expiry(says.ends),
        data_access: expiry(says.window),
        grants,
        ..Inspection::bare(validity)
    }
}

fn error(trouble: Trouble) -> CheckError {
    match trouble {
        Trouble::Line => CheckError::Unreachable(Unreachable::Connect, "refused".into()),
        Trouble::Pause(until) => CheckError::Throttled(at(until)),
        Trouble::App => CheckError::App(AppFault::Blocked, "blocked".into()),
        Trouble::Foreign => CheckError::ForeignToken("another app".into()),
    }
}

fn fingerprint(secret: u32) -> Fingerprint {
    let mut hash = [0; 16];
    hash[..4].copy_from_slice(&secret.to_be_bytes());
    Fingerprint(hash)
}

/// A notice in the model's words.
pub fn told(notice: &Notice) -> Told {
    Told {
        at: seconds(notice.at),
        why: notice.why,
        reason: notice.reason,
        severity: notice.severity,
        deadline: notice.deadline.map(seconds),
        damped: notice.flaps.is_some(),
        acknowledged: notice.acknowledged.is_some(),
    }
}

/// Seconds after the start.
pub fn seconds(at: Timestamp) -> i64 {
    at.since(START).as_seconds()
}

/// The policy of a slot, shared with its model.
pub fn policy(life: &Life) -> Arc<Policy> {
    Arc::clone(&life.spec.policy)
}

/// A step that would change nothing but the time, for judges who want to know what a status still says.
pub fn again(life: &Life, status: &TokenStatus, shown: i64, seen: Seen) -> Step {
    step(&life.spec, status.clone(), observation(seen), START.plus(Span::seconds(shown)))
}
