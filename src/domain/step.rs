//! The one decision point: what is wanted, what was known, what was seen now, and the time, to what is known next and who is told.
//!
//! `step` is a pure function and the only one that changes a status. Everything around it is plumbing, and the plumbing may be
//! stopped at any moment: a status and its notices are stored together, or neither is.

use std::sync::Arc;

use super::alert::{self, Ending, Incident, Notice, NoticeFacts, NotifyReason, Subject, should_notify};
use super::cadence;
use super::finding::{Detail, Finding, Reason, Thread};
use super::inspection::{AppFault, CheckError, CheckOutcome, Inspection, TokenKind, Validity};
use super::status::{AppStatus, Facts, Generation, TokenStatus};
use super::time::{Span, Timestamp};
use super::token::{AppName, AppSpec, Policy, ProviderKind, ReceiverName, TokenSpec};
use super::verdict::{self, Case, Judgement, earliest};

/// What happened since the last step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Observation {
    /// The token was checked.
    Checked(CheckOutcome),
    /// It was due, but its provider asked everyone of that app to stay away until then.
    Deferred(Timestamp),
}

/// What a token's check says about its app.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AppReport {
    /// The app's credentials were accepted.
    Fine,
    /// They were not.
    Fault(AppFault, Box<str>),
}

/// The outcome of a decision.
#[derive(Clone, PartialEq, Debug)]
pub struct Step {
    /// The status to store.
    pub status: TokenStatus,
    /// What to think of it.
    pub judgement: Judgement,
    /// What to tell, stored together with the status.
    pub notices: Vec<Notice>,
    /// What this says about the app.
    pub app: Option<AppReport>,
    /// When the next step is due: the next check, or the moment at which the clock alone changes the judgement.
    pub wake: Timestamp,
}

/// The outcome of a decision about an app.
#[derive(Clone, PartialEq, Debug)]
pub struct AppStep {
    /// The status to store.
    pub status: AppStatus,
    /// What is wrong, once it is believed.
    pub findings: Vec<Finding>,
    /// What to tell.
    pub notices: Vec<Notice>,
}

/// Decides about one token.
pub fn step(spec: &TokenSpec, mut status: TokenStatus, observation: Observation, now: Timestamp) -> Step {
    status.draw_back(now);
    let said_expired = status.said_expired().then_some(status.generation.number);
    let app = match observation {
        Observation::Checked(outcome) => {
            let report = app_report(&outcome);
            absorb(spec, &mut status, outcome, now);
            report
        }
        Observation::Deferred(until) => {
            status.failing_since.get_or_insert(now);
            status.last_error.get_or_insert(CheckError::Throttled(until));
            status.next_check = cadence::deferred(&spec.id, until, now);
            None
        }
    };
    let judgement = verdict::judge(Case { spec, status: &status, now });
    let taken_back = said_expired == Some(status.generation.number)
        && !status.said_expired()
        && judgement.find(Reason::Expired).is_none();
    let teller = Teller {
        subject: Subject::Token(spec.id.clone()),
        provider: spec.provider,
        app: spec.app.as_ref(),
        receivers: &spec.receivers,
        policy: &spec.policy,
        generation: status.generation.number,
        taken_back,
        facts: notice_facts(&status),
        now,
    };
    let incidents = std::mem::take(&mut status.incidents);
    let fate =
        |incident: &Incident, finding: Option<&Finding>| fate(incident, finding, &status, &judgement, taken_back);
    let (incidents, notices) = teller.reconcile(incidents, status.incident_count, &judgement.findings, fate);
    status.incident_count = newest(&incidents, status.incident_count);
    status.incidents = incidents;
    let wake = wake(spec, &status, &judgement, now).max(now.plus(Span::seconds(1)));
    Step { status, judgement, notices, app, wake }
}

/// Decides about one app after a report by one of its tokens.
pub fn step_app(spec: &AppSpec, mut status: AppStatus, report: AppReport, now: Timestamp) -> AppStep {
    match report {
        AppReport::Fine => {
            status.fault = None;
            status.streak = 0;
        }
        AppReport::Fault(fault, text) => {
            status.streak = status.streak.saturating_add(1);
            status.fault = Some((fault, text));
        }
    }
    let confirmed = verdict::is_confirmed(status.streak, spec.policy.confirm_invalid);
    let findings: Vec<Finding> = status
        .fault
        .iter()
        .filter(|_| confirmed || !status.incidents.is_empty())
        .map(|(fault, text)| verdict::app_finding(*fault, text))
        .collect();
    let teller = Teller {
        subject: Subject::App(spec.name.clone()),
        provider: ProviderKind::Meta,
        app: Some(&spec.name),
        receivers: &spec.receivers,
        policy: &spec.policy,
        generation: 0,
        taken_back: false,
        facts: NoticeFacts::NONE,
        now,
    };
    let incidents = std::mem::take(&mut status.incidents);
    let fate = |_: &Incident, _: Option<&Finding>| {
        Fate::End(if findings.is_empty() { Ending::Resolved } else { Ending::Superseded })
    };
    let (incidents, notices) = teller.reconcile(incidents, status.incident_count, &findings, fate);
    status.incident_count = newest(&incidents, status.incident_count);
    status.incidents = incidents;
    AppStep { status, findings, notices }
}

/// When a token is to be looked at: at once when something is to be told, as after a time in which nobody looked; else at the next check, or at
/// the moment at which the clock alone changes the judgement or makes a notice due.
pub fn wake(spec: &TokenSpec, status: &TokenStatus, judgement: &Judgement, now: Timestamp) -> Timestamp {
    let untold = |finding: &Finding| {
        let incident = status.incidents.iter().find(|incident| incident.thread == finding.reason.thread());
        incident.is_none_or(|incident| should_notify(incident, finding, now, spec.policy.repeat).is_some())
    };
    if judgement.findings.iter().any(untold) {
        return now;
    }
    let by_clock = earliest(judgement.next, next_repeat(&status.incidents, judgement, spec.policy.repeat));
    by_clock.map_or(status.next_check, |at| at.min(status.next_check))
}

/// Ends every incident of a slot that is no longer watched.
pub fn retire(subject: &Subject, provider: ProviderKind, incidents: Vec<Incident>, now: Timestamp) -> Vec<Notice> {
    let policy = Policy::default();
    let teller = Teller {
        subject: subject.clone(),
        provider,
        app: None,
        receivers: &Arc::from([]),
        policy: &policy,
        generation: 0,
        taken_back: false,
        facts: NoticeFacts::NONE,
        now,
    };
    incidents.iter().map(|incident| teller.resolve(incident, Detail::Text(NO_LONGER_WATCHED.into()))).collect()
}

/// What a notice says about a slot that was taken out of the configuration.
pub const NO_LONGER_WATCHED: &str = "no longer watched";

/// What becomes of an open incident that no finding continues.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It stays open: nothing says that it is over.
    Stay,
    /// It ends.
    End(Ending),
}

/// Takes in what was seen. Nothing is decided here.
fn absorb(spec: &TokenSpec, status: &mut TokenStatus, outcome: CheckOutcome, now: Timestamp) {
    status.last_check = Some(now);
    if let Some(fingerprint) = outcome.fingerprint {
        status.source_fault = None;
        if status.generation.fingerprint != Some(fingerprint) {
            let number = status.generation.number.saturating_add(1);
            status.generation = Generation { number, fingerprint: Some(fingerprint), since: now };
            status.invalid_streak = 0;
        }
    }
    match outcome.answer {
        Ok(inspection) => absorb_answer(spec, status, inspection, now),
        Err(error) => absorb_error(spec, status, error, now),
    }
}

fn absorb_answer(spec: &TokenSpec, status: &mut TokenStatus, seen: Inspection, now: Timestamp) {
    status.last_answer = Some(now);
    status.failures = 0;
    status.failing_since = None;
    status.last_error = None;
    let bad_news = matches!(seen.validity, Validity::Revoked(_) | Validity::Unreadable);
    status.invalid_streak = if bad_news { status.invalid_streak.saturating_add(1) } else { 0 };
    if bad_news && !verdict::is_confirmed(status.invalid_streak, spec.policy.confirm_invalid) {
        status.next_check = cadence::confirming(spec.rhythm, now);
        return;
    }
    status.foreign = None;
    let inspection = match status.current_facts() {
        Some(known) => merged(seen, known),
        None => seen,
    };
    status.facts = Some(Facts { generation: status.generation.number, inspection });
    status.next_check = cadence::regular(&spec.id, spec.rhythm, now);
}

fn absorb_error(spec: &TokenSpec, status: &mut TokenStatus, error: CheckError, now: Timestamp) {
    status.failures = status.failures.saturating_add(1);
    status.failing_since.get_or_insert(now);
    match &error {
        CheckError::Source(text) => status.source_fault = Some(text.clone()),
        CheckError::ForeignToken(text) => status.foreign = Some(text.clone()),
        CheckError::Unreachable(..)
        | CheckError::Garbled(_)
        | CheckError::Unavailable(_)
        | CheckError::Throttled(_)
        | CheckError::App(..)
        | CheckError::Refused(_) => {}
    }
    status.next_check = cadence::after_failure(&spec.id, spec.rhythm, &error, status.failures, now);
    status.last_error = Some(error);
}

/// A new answer about the same secret, completed by what was known: an answer that leaves a date out does not erase it.
fn merged(seen: Inspection, known: &Inspection) -> Inspection {
    Inspection {
        kind: if seen.kind == TokenKind::Unknown { known.kind.clone() } else { seen.kind },
        app_id: seen.app_id.or_else(|| known.app_id.clone()),
        user_id: seen.user_id.or_else(|| known.user_id.clone()),
        issued_at: seen.issued_at.or(known.issued_at),
        expires: seen.expires.or(known.expires),
        data_access: seen.data_access.or(known.data_access),
        grants: seen.grants.or_else(|| known.grants.clone()),
        ..seen
    }
}

fn app_report(outcome: &CheckOutcome) -> Option<AppReport> {
    match &outcome.answer {
        Ok(_) | Err(CheckError::ForeignToken(_)) => Some(AppReport::Fine),
        Err(CheckError::App(fault, text)) => Some(AppReport::Fault(*fault, text.clone())),
        Err(
            CheckError::Unreachable(..)
            | CheckError::Garbled(_)
            | CheckError::Unavailable(_)
            | CheckError::Throttled(_)
            | CheckError::Refused(_)
            | CheckError::Source(_),
        ) => None,
    }
}

/// An incident whose finding is gone ends only on evidence: of the secret, of the provider, or of a new date. While a new secret is
/// not yet verified nothing ends, and a clock that moved back ends nothing.
///
/// A finding of the same thread that starts anew replaces the incident; only where a living token's date moved away was it also resolved.
fn fate(
    incident: &Incident,
    finding: Option<&Finding>,
    status: &TokenStatus,
    judgement: &Judgement,
    taken_back: bool,
) -> Fate {
    match incident.thread {
        Thread::AppFault if is_dead(judgement) => Fate::End(Ending::Superseded),
        Thread::Blind if status.failing_since.is_some() => Fate::Stay,
        Thread::AppFault | Thread::SourceUnreadable | Thread::Blind => Fate::End(Ending::Resolved),
        Thread::Expiry
        | Thread::DataAccess
        | Thread::Revoked
        | Thread::Unreadable
        | Thread::ExpiryUnknown
        | Thread::ScopeMissing
        | Thread::TargetMissing => {
            let Some(facts) = status.current_facts() else { return Fate::Stay };
            let date = match incident.thread {
                Thread::DataAccess => facts.data_access,
                _ => facts.expires,
            };
            let withdrawn = taken_back && incident.thread == Thread::Expiry;
            let moved_away = incident.deadline.is_none_or(|old| date.date().is_some_and(|new| new > old));
            let replaced = finding.is_some() && !(incident.thread.has_ladder() && (moved_away || withdrawn));
            if is_dead(judgement) || replaced {
                Fate::End(Ending::Superseded)
            } else if !withdrawn
                && incident.thread.has_ladder()
                && incident.generation == status.generation.number
                && incident.deadline == date.date()
            {
                Fate::Stay
            } else {
                Fate::End(Ending::Resolved)
            }
        }
    }
}

fn is_dead(judgement: &Judgement) -> bool {
    [Reason::Expired, Reason::DataAccessExpired, Reason::Revoked, Reason::Unreadable]
        .into_iter()
        .any(|reason| judgement.find(reason).is_some())
}

/// Those of both lists, each once.
fn union(a: &Arc<[ReceiverName]>, b: &Arc<[ReceiverName]>) -> Arc<[ReceiverName]> {
    if a == b {
        return Arc::clone(a);
    }
    let more = b.iter().filter(|name| !a.contains(name));
    a.iter().chain(more).cloned().collect()
}

/// The highest number given to an incident so far.
fn newest(incidents: &[Incident], count: u32) -> u32 {
    incidents.iter().map(|incident| incident.number).fold(count, u32::max)
}

/// When the first incident that still has a finding is told again.
fn next_repeat(incidents: &[Incident], judgement: &Judgement, repeat: Span) -> Option<Timestamp> {
    let due = |incident: &Incident| {
        let finding = judgement.findings.iter().find(|finding| finding.reason.thread() == incident.thread)?;
        alert::repeat_due(incident, finding, repeat)
    };
    incidents.iter().filter_map(due).min()
}

fn notice_facts(status: &TokenStatus) -> NoticeFacts {
    let Some(Facts { inspection, .. }) = &status.facts else {
        return NoticeFacts { last_answer: status.last_answer, ..NoticeFacts::NONE };
    };
    NoticeFacts {
        kind: inspection.kind.clone(),
        issued_at: inspection.issued_at,
        expires: inspection.expires,
        last_answer: status.last_answer,
        message: inspection.message.clone(),
    }
}

/// Everything that a notice needs beside its incident.
struct Teller<'a> {
    subject: Subject,
    provider: ProviderKind,
    app: Option<&'a AppName>,
    receivers: &'a Arc<[ReceiverName]>,
    policy: &'a Policy,
    generation: u32,
    /// The provider called the token expired and now calls it valid.
    taken_back: bool,
    facts: NoticeFacts,
    now: Timestamp,
}

impl Teller<'_> {
    /// Brings the open incidents in line with the findings: what is open now, and what people must be told. New incidents are
    /// numbered from `count` on.
    fn reconcile(
        &self,
        incidents: Vec<Incident>,
        mut count: u32,
        findings: &[Finding],
        fate: impl Fn(&Incident, Option<&Finding>) -> Fate,
    ) -> (Vec<Incident>, Vec<Notice>) {
        let mut notices = Vec::new();
        let mut kept = Vec::with_capacity(incidents.len());
        for mut incident in incidents {
            // A notice "told" in the future was told before the clock moved back; repeats count from now.
            incident.told_at = incident.told_at.min(self.now);
            let finding = findings.iter().find(|finding| finding.reason.thread() == incident.thread);
            match finding {
                Some(finding) if self.continues(&incident, finding) => {
                    notices.extend(self.follow(&mut incident, finding));
                    kept.push(incident);
                }
                _ => match fate(&incident, finding) {
                    Fate::Stay => kept.push(incident),
                    Fate::End(Ending::Superseded) => {}
                    Fate::End(Ending::Resolved) => notices.push(self.resolve(&incident, Detail::None)),
                },
            }
        }
        for finding in findings {
            if !kept.iter().any(|incident| incident.thread == finding.reason.thread()) {
                count = count.saturating_add(1);
                let incident = self.open(count, finding);
                notices.push(self.notice(&incident, finding, NotifyReason::First));
                kept.push(incident);
            }
        }
        (kept, notices)
    }

    /// Whether a finding is more of the same: the same secret and, on a ladder, the same date. Threads that are not about the
    /// secret itself outlive it.
    fn continues(&self, incident: &Incident, finding: &Finding) -> bool {
        match incident.thread {
            Thread::Blind | Thread::SourceUnreadable | Thread::AppFault => true,
            Thread::Expiry if self.taken_back => false,
            Thread::Expiry | Thread::DataAccess => {
                incident.generation == self.generation && incident.deadline == finding.deadline
            }
            Thread::Revoked
            | Thread::Unreadable
            | Thread::ExpiryUnknown
            | Thread::ScopeMissing
            | Thread::TargetMissing => incident.generation == self.generation,
        }
    }

    fn open(&self, number: u32, finding: &Finding) -> Incident {
        Incident {
            thread: finding.reason.thread(),
            number,
            generation: self.generation,
            opened_at: self.now,
            reason: finding.reason,
            severity: finding.severity,
            stage: finding.stage,
            deadline: finding.deadline,
            told_at: self.now,
            repeats: 0,
            told: Arc::clone(self.receivers),
        }
    }

    fn follow(&self, incident: &mut Incident, finding: &Finding) -> Option<Notice> {
        let why = should_notify(incident, finding, self.now, self.policy.repeat)?;
        incident.repeats = if why == NotifyReason::Repeated { incident.repeats.saturating_add(1) } else { 0 };
        incident.reason = finding.reason;
        incident.severity = incident.severity.max(finding.severity);
        incident.stage = incident.stage.max(finding.stage);
        incident.told_at = self.now;
        incident.told = union(&incident.told, self.receivers);
        Some(self.notice(incident, finding, why))
    }

    fn notice(&self, incident: &Incident, finding: &Finding, why: NotifyReason) -> Notice {
        let repeat = alert::repeat_due(incident, finding, self.policy.repeat);
        Notice {
            key: alert::key(&self.subject, incident, why),
            subject: self.subject.clone(),
            provider: self.provider,
            app: self.app.cloned(),
            why,
            reason: finding.reason,
            severity: finding.severity,
            detail: finding.detail.clone(),
            deadline: finding.deadline,
            since: incident.opened_at,
            at: self.now,
            next: earliest(finding.next, repeat),
            facts: self.facts.clone(),
            receivers: Arc::clone(self.receivers),
        }
    }

    /// Whoever was alarmed hears that it is over, whoever is told of new things by now.
    fn resolve(&self, incident: &Incident, detail: Detail) -> Notice {
        Notice {
            key: alert::key(&self.subject, incident, NotifyReason::Resolved),
            subject: self.subject.clone(),
            provider: self.provider,
            app: self.app.cloned(),
            why: NotifyReason::Resolved,
            reason: incident.reason,
            severity: incident.severity,
            detail,
            deadline: incident.deadline,
            since: incident.opened_at,
            at: self.now,
            next: None,
            facts: self.facts.clone(),
            receivers: Arc::clone(&incident.told),
        }
    }
}

/// The deadline that matters most: the earlier of the token's own end and the end of data access (reference §15.3).
pub fn effective_deadline(facts: &Inspection) -> Option<(Reason, Timestamp)> {
    let expiry = facts.expires.date().map(|at| (Reason::Expiring, at));
    let data = facts.data_access.date().map(|at| (Reason::DataAccessExpiring, at));
    match (expiry, data) {
        (Some(a), Some(b)) => Some(if b.1 < a.1 { b } else { a }),
        (a, b) => a.or(b),
    }
}
