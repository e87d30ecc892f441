//! The one decision point: what is wanted, what was known, what was seen now, and the time, to what is known next and who is told.
//!
//! `step` is a pure function and the only one that changes a status. Everything around it is plumbing, and the plumbing may be
//! stopped at any moment: a status and its notices are stored together, or neither is.

use std::sync::Arc;

use super::alert::{Ending, Incident, Notice, NoticeFacts, NotifyReason, RenewalNote, Subject};
use super::answer::{Answer, Refused};
use super::cadence;
use super::finding::{Detail, Finding, Reason, Severity, Thread};
use super::inspection::{AppFault, Basis, CheckError, CheckOutcome, Expiry, Inspection, TokenKind, Validity};
use super::ledger::{Circumstances, Entry, Fate, Ledger, Teller, Told};
use super::number::{Beside, NumberStatus};
use super::renewal::{self, Ended, Origin, Outcome, Refusal, RenewalStatus, Report, Run};
use super::status::{AppStatus, Facts, Generation, TokenStatus};
use super::time::{Span, Timestamp};
use super::token::{AppSpec, Policy, ProviderName, ReceiverName, TokenSpec};
use super::verdict::{self, Case, Judgement, earliest};
use super::watcher::{self, Signs, WatcherStatus};

/// What happened since the last step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Observation {
    /// The token was checked.
    Checked(CheckOutcome),
    /// It was due, but its provider asked everyone of that app to stay away until then.
    Deferred(Timestamp),
    /// It was due, but the budget of its app is nearly used, and its turn is then. Nobody kept us away, so it does not count as a failure.
    Queued(Timestamp),
    /// Somebody answered what was told.
    Answered(Answer),
    /// Somebody asks for a renewal, or brings a new secret.
    Asked(Origin),
    /// A run cannot come to its end at present: which one, and why; without a reason it goes on again.
    Stuck(u32, Option<Box<str>>),
    /// A run came to its end.
    Ended(Report),
}

/// What happened to an app since the last step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AppObservation {
    /// One of its tokens was checked.
    Reported(AppReport),
    /// Somebody answered what was told.
    Answered(Answer),
}

/// What happened to the watcher since the last step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WatcherObservation {
    /// Its signs of life were taken.
    Seen(Signs),
    /// Somebody answered what was told.
    Answered(Answer),
    /// A word that is about no finding is to be said to these: [`Reason::Digest`] or [`Reason::Test`].
    Saying(Finding, Arc<[ReceiverName]>),
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
    /// What to keep for those who ask later, stored together with the status.
    pub entries: Vec<Entry>,
    /// Why an answer was not taken.
    pub refused: Option<Refused>,
    /// What this says about the app.
    pub app: Option<AppReport>,
    /// A renewal or replacement that begins; it is put into the journal together with the status.
    pub run: Option<Run>,
    /// Why none begins, where somebody asked for one.
    pub declined: Option<Refusal>,
    /// When the next step is due: the next check, or the moment at which the clock alone changes the judgement.
    pub wake: Timestamp,
}

/// The outcome of a decision about an app, or about the watcher.
#[derive(Clone, PartialEq, Debug)]
pub struct SideStep<S> {
    /// The status to store.
    pub status: S,
    /// What is wrong, once it is believed.
    pub findings: Vec<Finding>,
    /// What to tell.
    pub notices: Vec<Notice>,
    /// What to keep for those who ask later.
    pub entries: Vec<Entry>,
    /// Why an answer was not taken.
    pub refused: Option<Refused>,
}

/// Whom the watcher tells about itself, and by which rules.
#[derive(Clone, PartialEq, Debug)]
pub struct WatcherSpec {
    /// Who is told.
    pub receivers: Arc<[ReceiverName]>,
    /// By which rules.
    pub policy: Arc<Policy>,
}

/// Decides about one token.
pub fn step(spec: &TokenSpec, mut status: TokenStatus, observation: Observation, now: Timestamp) -> Step {
    status.draw_back(now);
    if status.number.as_ref().is_some_and(|known| Some(&known.id) != spec.required.number.as_ref()) {
        status.number = None;
    }
    if let Some(number) = &mut status.number {
        number.is_about_account(spec.required.targets.first().map(|account| &**account));
    }
    let said_expired = status.said_expired().then_some(status.generation.number);
    let mut reply = Reply::default();
    let (mut run, mut declined, mut ended) = (None, None, None);
    // A run asks its provider, too, so it waits like a check does.
    let away = matches!(observation, Observation::Deferred(until) | Observation::Queued(until) if until > now);
    let app = match observation {
        Observation::Checked(outcome) if is_unconfirmed(&status, &outcome, now) => {
            // What a run published says nothing before it is confirmed (contract §10.8).
            status.last_check = Some(now);
            status.next_check = cadence::regular(&spec.id, spec.rhythm, now);
            None
        }
        Observation::Checked(outcome) => {
            let report = app_report(&outcome);
            absorb(spec, &mut status, outcome, now);
            report
        }
        Observation::Deferred(until) => {
            status.failing_since.get_or_insert(now);
            put_off(&mut status.last_error, until);
            status.next_check = cadence::deferred(&spec.id, until, now);
            None
        }
        Observation::Queued(turn) => {
            status.next_check = turn.max(now);
            None
        }
        Observation::Answered(answer) => {
            reply = Reply::to(&mut status.ledger, answer, now);
            None
        }
        Observation::Asked(origin) => {
            match asked(spec, &status, &origin, now) {
                Ok(()) => run = Some(renewal::begin(&mut status, &spec.id, origin, now)),
                Err(refusal) => declined = Some(refusal),
            }
            None
        }
        Observation::Stuck(number, why) => {
            if let Some(mark) = status.renewal.run.as_mut().filter(|mark| mark.number == number) {
                mark.stuck = why;
            }
            None
        }
        Observation::Ended(report) => {
            ended = renewal::end(spec, &mut status, &report, now);
            ended.as_ref().and_then(|_| absorb_report(spec, &mut status, report, now))
        }
    };
    if ended.is_none() && !away && renewal::next_run(spec, &status).is_some_and(|at| at <= now) {
        let begins = renewal::may_renew(spec, &status, now).is_ok();
        run = run.or_else(|| begins.then(|| renewal::begin(&mut status, &spec.id, Origin::Schedule, now)));
    }
    let judgement = verdict::judge(Case { spec, status: &status, now });
    let taken_back = said_expired == Some(status.generation.number)
        && !status.said_expired()
        && judgement.find(Reason::Expired).is_none();
    let teller = Teller {
        subject: Subject::Token(spec.id.clone()),
        provider: &spec.provider,
        app: spec.app.as_ref(),
        receivers: &spec.receivers,
        facts: notice_facts(spec, &status, now),
        when: Circumstances { policy: &spec.policy, generation: status.generation.number, taken_back, now },
    };
    let mut ledger = std::mem::take(&mut status.ledger);
    let fate = |incident: &Incident, finding: Option<&Finding>, withdrawn: bool| {
        fate(incident, finding, &status, &judgement, withdrawn, now)
    };
    let Told { mut notices, mut entries } = reply.with(teller.reconcile(&mut ledger, &judgement.findings, fate));
    for notice in &mut notices {
        of_what_is_wanted(spec, &status, notice);
    }
    if let Some(ended) = ended {
        notices.extend(renewed(&teller, &mut ledger, &judgement.findings, &notices, &ended));
        entries.push(Entry::Renewal(ended));
    }
    status.ledger = ledger;
    let wake = wake(spec, &status, &judgement, now).max(now.plus(Span::seconds(1)));
    Step { status, judgement, notices, entries, refused: reply.refused, app, run, declined, wake }
}

/// Decides about one app.
pub fn step_app(spec: &AppSpec, mut status: AppStatus, seen: AppObservation, now: Timestamp) -> SideStep<AppStatus> {
    status.ledger.draw_back(now);
    let mut reply = Reply::default();
    match seen {
        AppObservation::Reported(AppReport::Fine) => {
            status.fault = None;
            status.streak = 0;
        }
        AppObservation::Reported(AppReport::Fault(fault, text)) => {
            status.streak = status.streak.saturating_add(1);
            status.fault = Some((fault, text));
        }
        AppObservation::Answered(answer) => reply = Reply::to(&mut status.ledger, answer, now),
    }
    let confirmed = verdict::is_confirmed(status.streak, spec.policy.confirm_invalid);
    let findings: Vec<Finding> = status
        .fault
        .iter()
        .filter(|_| confirmed || !status.ledger.incidents.is_empty())
        .map(|(fault, text)| verdict::app_finding(*fault, text))
        .collect();
    let teller = Teller {
        subject: Subject::App(spec.name.clone()),
        provider: &spec.provider,
        app: Some(&spec.name),
        receivers: &spec.receivers,
        facts: NoticeFacts::NONE,
        when: Circumstances { policy: &spec.policy, generation: 0, taken_back: false, now },
    };
    let fate = |_: &Incident, _: Option<&Finding>, _: bool| {
        Fate::End(if findings.is_empty() { Ending::Resolved } else { Ending::Superseded })
    };
    let Told { notices, entries } = reply.with(teller.reconcile(&mut status.ledger, &findings, fate));
    SideStep { status, findings, notices, entries, refused: reply.refused }
}

/// Decides about the watcher itself.
pub fn step_watcher(
    spec: &WatcherSpec,
    mut status: WatcherStatus,
    seen: WatcherObservation,
    now: Timestamp,
) -> SideStep<WatcherStatus> {
    status.ledger.draw_back(now);
    status.last_digest = status.last_digest.map(|at| at.min(now));
    let nobody = ProviderName::meta();
    let teller = |receivers| Teller {
        subject: Subject::Watcher,
        provider: &nobody,
        app: None,
        receivers,
        facts: NoticeFacts::NONE,
        when: Circumstances { policy: &spec.policy, generation: 0, taken_back: false, now },
    };
    let (mut reply, mut findings, mut notices, mut entries) = (Reply::default(), Vec::new(), Vec::new(), Vec::new());
    match seen {
        WatcherObservation::Seen(signs) => {
            // A look without news of the clock changes nothing: one strange date is counted once.
            if let Some(offset) = signs.clock_offset {
                let off = watcher::is_off(Some(offset));
                status.clock_off = if off { status.clock_off.saturating_add(1) } else { 0 };
                status.clock_offset = Some(offset);
            }
            status.last_digest.get_or_insert(now);
            findings = watcher::findings(&status, &signs, now);
            let fate = |_: &Incident, _: Option<&Finding>, _: bool| Fate::End(Ending::Resolved);
            let told = teller(&spec.receivers).reconcile(&mut status.ledger, &findings, fate);
            (notices, entries) = (told.notices, told.entries);
        }
        WatcherObservation::Answered(answer) => {
            // What is found is not known at this moment; the next look, within minutes, draws the conclusions.
            reply = Reply::to(&mut status.ledger, answer, now);
            entries = reply.with(Told::default()).entries;
        }
        WatcherObservation::Saying(finding, receivers) => {
            status.ledger.count = status.ledger.count.saturating_add(1);
            if finding.reason == Reason::Digest {
                status.last_digest = Some(now);
            }
            notices.push(teller(&receivers).say(status.ledger.count, &finding));
        }
    }
    SideStep { status, findings, notices, entries, refused: reply.refused }
}

/// A word that is about no finding.
pub fn saying(reason: Reason, severity: Severity, detail: Detail) -> Finding {
    verdict::finding(reason, severity, detail)
}

/// What came of an answer.
#[derive(Default)]
struct Reply {
    taken: Vec<Entry>,
    refused: Option<Refused>,
}

impl Reply {
    fn to(ledger: &mut Ledger, answer: Answer, now: Timestamp) -> Self {
        if let Err(refused) = ledger.answer(&answer, now) {
            return Self { refused: Some(refused), ..Self::default() };
        }
        // Who acknowledged stands with the incident from this moment on, not only once something else happens to it.
        let acknowledged = matches!(answer, Answer::Acknowledge(_)).then_some(&ledger.incidents);
        let seen = acknowledged.into_iter().flatten().map(|incident| Entry::Incident(incident.clone(), None));
        Self { taken: std::iter::once(Entry::Answer(answer)).chain(seen).collect(), refused: None }
    }

    /// An answer that was taken is kept before what follows from it.
    fn with(&mut self, mut told: Told) -> Told {
        told.entries.splice(0..0, self.taken.drain(..));
        told
    }
}

/// When a token is to be looked at: at once when something is to be told, as after a time in which nobody looked; else at the next check, or at
/// the moment at which the clock alone changes the judgement or makes a notice due.
pub fn wake(spec: &TokenSpec, status: &TokenStatus, judgement: &Judgement, now: Timestamp) -> Timestamp {
    let when = Circumstances { policy: &spec.policy, generation: status.generation.number, taken_back: false, now };
    let by_clock = earliest(judgement.next, status.ledger.wake(&judgement.findings, &when));
    let by_clock = earliest(by_clock, renewal::next_run(spec, status).filter(|at| *at > now));
    by_clock.map_or(status.next_check, |at| at.min(status.next_check))
}

/// Ends every incident of a slot that is no longer watched.
pub fn retire(subject: &Subject, incidents: Vec<Incident>, now: Timestamp) -> Told {
    let (policy, nobody) = (Policy::default(), ProviderName::meta());
    let teller = Teller {
        subject: subject.clone(),
        provider: &nobody,
        app: None,
        receivers: &Arc::from([]),
        facts: NoticeFacts::NONE,
        when: Circumstances { policy: &policy, generation: 0, taken_back: false, now },
    };
    let told = incidents.iter().filter(|incident| incident.told_at.is_some());
    let notices = told.map(|incident| teller.resolve(incident, Detail::Text(NO_LONGER_WATCHED.into()))).collect();
    let ended = |incident| Entry::Incident(incident, Some((now, Ending::Resolved)));
    Told { notices, entries: incidents.into_iter().map(ended).collect() }
}

/// What a notice says about a slot that was taken out of the configuration.
pub const NO_LONGER_WATCHED: &str = "no longer watched";

/// Whether somebody's wish for a run can be granted. What a person brings needs no permission of the token that it replaces.
fn asked(spec: &TokenSpec, status: &TokenStatus, origin: &Origin, now: Timestamp) -> Result<(), Refusal> {
    match origin {
        Origin::Replaced(_) if status.renewal.run.is_some() => Err(Refusal::UnderWay),
        Origin::Replaced(_) => Ok(()),
        Origin::Schedule | Origin::Asked(_) => renewal::may_renew(spec, status, now).map(drop),
    }
}

/// Whether, while a run is under way, another secret stands in the slot, or the same one with a later end: both are the run's to tell. An end
/// that has come is no reason to wait: whether the secret outlived it must be known.
fn is_unconfirmed(status: &TokenStatus, outcome: &CheckOutcome, now: Timestamp) -> bool {
    let gained = match (&outcome.answer, status.current_facts()) {
        (Ok(seen), Some(known)) => {
            renewal::gains(known.expires, seen.expires) && known.expires.date().is_some_and(|end| end > now)
        }
        _ => false,
    };
    let another = outcome.fingerprint.is_some_and(|seen| status.generation.fingerprint != Some(seen));
    status.renewal.run.is_some() && (another || gained)
}

/// Until when the provider is left alone; a failure that has another name keeps it.
fn put_off(error: &mut Option<CheckError>, until: Timestamp) {
    match error {
        Some(CheckError::Throttled(known)) => *known = until,
        _ => {
            error.get_or_insert(CheckError::Throttled(until));
        }
    }
}

/// What ends because nobody wants to know it any more did not come right, and is not called so.
fn of_what_is_wanted(spec: &TokenSpec, status: &TokenStatus, notice: &mut Notice) {
    let was_subscribed = status.number.as_ref().is_some_and(|number| number.was_subscribed);
    let wanted = match notice.reason.thread() {
        Thread::Number => spec.required.number.is_some(),
        Thread::Webhooks => spec.required.webhooks.unwrap_or(was_subscribed) && !spec.required.targets.is_empty(),
        _ => true,
    };
    if notice.why == NotifyReason::Resolved && !wanted {
        notice.detail = Detail::Text(NO_LONGER_WATCHED.into());
    }
}

/// That it was renewed is told once: where an incident ended by it, that is the word.
fn renewed(
    teller: &Teller<'_>,
    ledger: &mut Ledger,
    findings: &[Finding],
    told: &[Notice],
    ended: &Ended,
) -> Option<Notice> {
    let found = |incident: &Incident| findings.iter().any(|finding| finding.reason.thread() == incident.thread);
    let by_it = |incident: &&Incident| matches!(incident.thread, Thread::Expiry | Thread::Renewal);
    // What comes and goes is over when it stays away, and that is told then.
    let ends_later = |incident: &Incident| incident.damped.is_some() && incident.told_at.is_some() && !found(incident);
    let resolved = told.iter().any(|notice| notice.why == NotifyReason::Resolved);
    if ended.outcome != Outcome::Renewed || resolved || ledger.incidents.iter().filter(by_it).any(ends_later) {
        return None;
    }
    ledger.count = ledger.count.saturating_add(1);
    Some(teller.say(ledger.count, &saying(Reason::Renewed, Severity::Info, Detail::Text(ended.text.clone()))))
}

/// Takes in what a run brought.
fn absorb_report(spec: &TokenSpec, status: &mut TokenStatus, report: Report, now: Timestamp) -> Option<AppReport> {
    if let Some((fingerprint, inspection)) = report.proved {
        let outcome = CheckOutcome { fingerprint: Some(fingerprint), answer: Ok(inspection), beside: None };
        let report = app_report(&outcome);
        absorb(spec, status, outcome, now);
        return report;
    }
    // Whatever went wrong, the token in the slot is looked at soon.
    status.next_check = status.next_check.min(cadence::confirming(spec.rhythm, now));
    match report.error {
        Some(CheckError::App(fault, text)) => Some(AppReport::Fault(fault, text)),
        _ => None,
    }
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
            // What was tried in vain was tried with the secret before.
            status.renewal.failures = 0;
            status.renewal.next_try = None;
        }
    }
    let beside = outcome.beside;
    match outcome.answer {
        Ok(inspection) => {
            absorb_answer(spec, status, inspection, now);
            absorb_beside(spec, status, beside, now);
        }
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
    let known = status.current_facts();
    let inspection = match known {
        Some(known) => merged(seen, known),
        None => seen,
    };
    // What somebody typed is about the secret that they know, and not about one that a run gave.
    let typed = spec.expires.filter(|typed| typed.alone || renewal::given_at(status).is_none());
    let inspection = inspection.with_typed_end(typed, now);
    if known.is_some_and(|known| renewal::gains(known.expires, inspection.expires)) {
        // What was tried in vain has come, whoever brought it.
        status.renewal.failures = 0;
        status.renewal.next_try = None;
    }
    status.facts = Some(Facts::new(status.generation.number, inspection, status.facts.as_ref(), now));
    status.next_check = cadence::regular(&spec.id, spec.rhythm, now);
}

/// What is known of a number that is no longer the token's is forgotten.
fn absorb_beside(spec: &TokenSpec, status: &mut TokenStatus, beside: Option<Box<Beside>>, now: Timestamp) {
    let Some(seen) = beside else { return };
    let manages = status.current_facts().is_some_and(verdict::manages_whatsapp);
    let Some(id) = &spec.required.number else { return };
    let known = status.number.get_or_insert_with(|| {
        let account = spec.required.targets.first().map(|account| &**account);
        Box::new(NumberStatus::new(id.clone(), account))
    });
    known.absorb(*seen, manages, now);
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

/// A new answer about the same secret, completed by what was known: an answer that leaves a date out does not erase it, and one that repeats
/// it in other words (a provider that tells the seconds left tells another date at every check) does not move it.
fn merged(seen: Inspection, known: &Inspection) -> Inspection {
    let (expires, basis) = end_of(&seen, known);
    Inspection {
        kind: if seen.kind == TokenKind::Unknown { known.kind.clone() } else { seen.kind },
        app_id: seen.app_id.or_else(|| known.app_id.clone()),
        user_id: seen.user_id.or_else(|| known.user_id.clone()),
        profile_id: seen.profile_id.or_else(|| known.profile_id.clone()),
        issued_at: seen.issued_at.or(known.issued_at),
        expires,
        basis,
        data_access: seen.data_access.or(known.data_access),
        grants: seen.grants.or_else(|| known.grants.clone()),
        ..seen
    }
}

/// Which end counts, and who says so. What somebody typed is not known of the token: it is read again each time.
fn end_of(seen: &Inspection, known: &Inspection) -> (Expiry, Basis) {
    match seen.expires {
        Expiry::Unknown if known.basis != Basis::Typed && known.expires != Expiry::Unknown => {
            (known.expires, known.basis)
        }
        same if renewal::is_the_same_end(known.expires, same) => (known.expires, seen.basis),
        other => (other, seen.basis),
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
    now: Timestamp,
) -> Fate {
    match incident.thread {
        Thread::AppFault if is_dead(judgement) => Fate::End(Ending::Superseded),
        Thread::Renewal if !is_dead(judgement) && goes_on(incident, &status.renewal, status.generation.number, now) => {
            Fate::Stay
        }
        Thread::Blind if status.failing_since.is_some() => Fate::Stay,
        // Of a number that is not seen, or is asked about with a dead token, nobody knows whether it is well again.
        Thread::Number | Thread::Webhooks if status.number.is_some() && !verdict::sees_number(status) => Fate::Stay,
        thread if !thread.is_about_the_secret() => Fate::End(Ending::Resolved),
        _ => {
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

/// Whether nothing has come of it yet: that a run begins is no success, and neither is a clock that moved back behind the incident.
fn goes_on(incident: &Incident, renewal: &RenewalStatus, generation: u32, now: Timestamp) -> bool {
    let succeeded = renewal.last.as_ref().is_some_and(|last| last.outcome == Outcome::Renewed);
    incident.generation == generation && (renewal.run.is_some() || (incident.opened_at > now && !succeeded))
}

fn is_dead(judgement: &Judgement) -> bool {
    [Reason::Expired, Reason::DataAccessExpired, Reason::Revoked, Reason::Unreadable]
        .into_iter()
        .any(|reason| judgement.find(reason).is_some())
}

fn notice_facts(spec: &TokenSpec, status: &TokenStatus, now: Timestamp) -> NoticeFacts {
    let renewal = renewal_note(spec, status, now);
    let Some(Facts { inspection, .. }) = &status.facts else {
        return NoticeFacts { last_answer: status.last_answer, renewal, ..NoticeFacts::NONE };
    };
    NoticeFacts {
        kind: inspection.kind.clone(),
        issued_at: inspection.issued_at,
        expires: inspection.expires,
        basis: inspection.basis,
        last_answer: status.last_answer,
        message: inspection.message.clone(),
        renewal,
    }
}

/// What was done to renew it, for whoever is told anything about it.
fn renewal_note(spec: &TokenSpec, status: &TokenStatus, now: Timestamp) -> Option<Box<RenewalNote>> {
    let last = status.renewal.last.clone();
    if spec.renew.is_none() && last.is_none() {
        return None;
    }
    let refusal = match renewal::may_renew(spec, status, now) {
        Ok(_) | Err(Refusal::NotConfigured | Refusal::TooSoon(_) | Refusal::UnderWay) => None,
        Err(refusal) => Some(refusal.to_string().into()),
    };
    Some(Box::new(RenewalNote { last, next: renewal::next_run(spec, status), refusal }))
}

/// The notice that a finding would be told with at this moment, for whoever shows what is to be done about it. Nobody is told, and nothing is
/// counted.
pub fn as_notice(spec: &TokenSpec, status: &TokenStatus, finding: &Finding, now: Timestamp) -> Notice {
    let teller = Teller {
        subject: Subject::Token(spec.id.clone()),
        provider: &spec.provider,
        app: spec.app.as_ref(),
        receivers: &spec.receivers,
        facts: notice_facts(spec, status, now),
        when: Circumstances { policy: &spec.policy, generation: status.generation.number, taken_back: false, now },
    };
    teller.shown(&status.ledger, finding)
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
