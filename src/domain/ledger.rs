//! The incidents of one subject, how people answered, and the bringing of both in line with what is found.
//!
//! Nothing here looks at a token. It is given the findings and says what is open now and what people must be told. It is also the one place
//! where silences, acknowledgements and damping act.

use std::sync::Arc;

use super::alert::{self, Damped, Ending, Incident, Notice, NoticeFacts, NotifyReason, Subject, should_notify};
use super::answer::{Answer, Refused, Signed, Silence};
use super::finding::{Detail, Finding, Reason, Severity, Thread};
use super::renewal::Ended;
use super::time::{Span, Timestamp};
use super::token::{AppName, Policy, ProviderName, ReceiverName};
use super::verdict::earliest;

/// The incidents of one subject.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ledger {
    /// What is open.
    pub incidents: Vec<Incident>,
    /// The last number that was given: to an incident, to the reminders of a silence, or to a word about no finding.
    pub count: u32,
    /// A time in which people are not told.
    pub silence: Option<Silence>,
    /// When incidents began, of late: what comes and goes too often is damped.
    pub openings: Vec<(Thread, Timestamp)>,
}

/// Something that is kept for those who ask later.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry {
    /// An incident as it stands now; it takes the place of what was kept of it before.
    Incident(Incident, Option<(Timestamp, Ending)>),
    /// What somebody answered.
    Answer(Answer),
    /// A renewal or a replacement ended.
    Renewal(Ended),
}

/// What a look at the ledger brings.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Told {
    /// What people are told.
    pub notices: Vec<Notice>,
    /// What is kept.
    pub entries: Vec<Entry>,
}

/// What becomes of an open incident that no finding continues.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It stays open: nothing says that it is over.
    Stay,
    /// It ends.
    End(Ending),
}

impl Ledger {
    /// An empty one that goes on counting.
    #[must_use]
    pub fn fresh(&self) -> Self {
        Self { count: self.count, ..Self::default() }
    }

    /// The open incident of that thread.
    pub fn of(&self, thread: Thread) -> Option<&Incident> {
        self.incidents.iter().find(|incident| incident.thread == thread)
    }

    /// Whether somebody said that they know of all that is as bad as the worst: of what is open, and of what was found and is not told yet.
    pub fn is_known(&self, found: &[(Reason, Severity)]) -> bool {
        let open = || self.incidents.iter().map(|incident| (incident.severity, incident));
        let worst = open().map(|(severity, _)| severity).chain(found.iter().map(|(_, severity)| *severity)).max();
        let signed = |reason: Reason| {
            self.incidents.iter().any(|incident| incident.reason == reason && incident.acknowledged.is_some())
        };
        worst.is_some()
            && open()
                .filter(|(severity, _)| Some(*severity) == worst)
                .all(|(_, incident)| incident.acknowledged.is_some())
            && found.iter().filter(|(_, severity)| Some(*severity) == worst).all(|(reason, _)| signed(*reason))
    }

    /// Takes in what somebody says.
    ///
    /// # Errors
    /// When there is nothing that it could be about.
    pub fn answer(&mut self, answer: &Answer, now: Timestamp) -> Result<(), Refused> {
        let dated = |signed: &Signed| Signed { at: now, ..signed.clone() };
        match answer {
            Answer::Acknowledge(_) if self.incidents.is_empty() => return Err(Refused::NothingOpen),
            Answer::Acknowledge(signed) => {
                for incident in &mut self.incidents {
                    incident.acknowledged.get_or_insert_with(|| dated(signed));
                }
            }
            Answer::Silence { signed, lasts, even_critical } => {
                self.silence = Some(Silence::new(dated(signed), *lasts, *even_critical)?);
            }
            Answer::Unsilence(_) => match self.silence.take().filter(|silence| silence.holds(now)) {
                Some(_) => {}
                None => return Err(Refused::NotSilenced),
            },
        }
        Ok(())
    }

    /// When the clock alone makes a word due: `now` when one is due already.
    pub fn wake(&self, findings: &[Finding], when: &Circumstances<'_>) -> Option<Timestamp> {
        let due = |finding: &Finding| {
            let Some(incident) = self.of(finding.reason.thread()) else { return true };
            when.word(self.silence.as_ref(), incident, finding).is_some()
        };
        if findings.iter().any(due) {
            return Some(when.now);
        }
        let silence = self.silence.as_ref().filter(|silence| silence.holds(when.now));
        let repeat = |incident: &Incident| {
            let finding = findings.iter().find(|finding| finding.reason.thread() == incident.thread)?;
            alert::repeat_due(incident, finding, when.policy.repeat)
        };
        let calm = |incident: &Incident| incident.damped.as_ref().map(|damped| damped.changed_at.plus(CALM));
        let repeats = self.incidents.iter().filter_map(repeat).filter(|_| silence.is_none()).min();
        let calms = self.incidents.iter().filter_map(calm).min();
        let reminder =
            silence.filter(|silence| !silence.reminded).map(|silence| silence.remind_at(&when.policy.ladder));
        // A reminder whose moment nobody saw is due at once; the step that gives it marks it as given.
        let reminder = reminder.map(|at| at.max(when.now));
        let by_silence = earliest(reminder, silence.map(|silence| silence.until));
        earliest(earliest(repeats, calms.filter(|at| *at > when.now)), by_silence)
    }

    /// How often an incident of that thread began within the last day.
    pub fn began_of_late(&self, thread: Thread, now: Timestamp) -> u32 {
        let recent = |(other, at): &&(Thread, Timestamp)| *other == thread && now.since(*at) < FLAP_WINDOW;
        u32::try_from(self.openings.iter().filter(recent).count()).unwrap_or(u32::MAX)
    }

    /// Nothing is remembered from a clock that ran ahead.
    pub(super) fn draw_back(&mut self, now: Timestamp) {
        for incident in &mut self.incidents {
            // Repeats count from the moment of the step back.
            incident.told_at = incident.told_at.map(|at| at.min(now));
            if let Some(damped) = &mut incident.damped {
                damped.changed_at = damped.changed_at.min(now);
            }
        }
        for (_, at) in &mut self.openings {
            *at = (*at).min(now);
        }
        self.openings.retain(|(_, at)| now.since(*at) < FLAP_WINDOW);
        if let Some(silence) = &mut self.silence {
            silence.draw_back(now);
        }
    }
}

/// What a word depends on beside the incident and the finding.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// By which rules.
    pub policy: &'a Policy,
    /// Which secret is in the slot.
    pub generation: u32,
    /// The provider called the token expired and now calls it valid.
    pub taken_back: bool,
    /// The time.
    pub now: Timestamp,
}

impl Circumstances<'_> {
    /// Whether a finding of an open incident is told now, and why.
    fn word(&self, silence: Option<&Silence>, incident: &Incident, finding: &Finding) -> Option<NotifyReason> {
        let why = should_notify(incident, finding, self.now, self.policy.repeat)?;
        let hidden = silence.is_some_and(|silence| silence.hides(finding, why, self.now));
        (!hidden).then_some(why)
    }

    /// Whether a finding is more of the same, and no word was taken back in between.
    fn continues(&self, incident: &Incident, finding: &Finding) -> bool {
        self.concerns(incident, finding) && !(incident.thread == Thread::Expiry && self.taken_back)
    }

    /// Whether a finding is about what the incident is about: the same secret and, on a ladder, the same date. Threads that are not about the
    /// secret itself outlive it.
    fn concerns(&self, incident: &Incident, finding: &Finding) -> bool {
        let thread = incident.thread;
        (!thread.is_about_the_secret() || incident.generation == self.generation)
            && (!thread.has_ladder() || incident.deadline == finding.deadline)
    }
}

/// Everything that a notice needs beside its incident.
pub struct Teller<'a> {
    /// What it is about.
    pub subject: Subject,
    /// Who issued the token.
    pub provider: &'a ProviderName,
    /// The app concerned.
    pub app: Option<&'a AppName>,
    /// Who is told.
    pub receivers: &'a Arc<[ReceiverName]>,
    /// What is known of the token.
    pub facts: NoticeFacts,
    /// The rest.
    pub when: Circumstances<'a>,
}

impl Teller<'_> {
    /// Brings the open incidents in line with the findings: what is open now, and what people must be told. `fate` says what becomes of an
    /// incident that no finding continues; its last argument is whether the provider took back that the token has expired.
    pub fn reconcile(
        &self,
        ledger: &mut Ledger,
        findings: &[Finding],
        fate: impl Fn(&Incident, Option<&Finding>, bool) -> Fate,
    ) -> Told {
        let now = self.when.now;
        let mut told = Told::default();
        ledger.silence = ledger.silence.take().filter(|silence| silence.holds(now));
        let silence = ledger.silence.as_ref();
        let mut kept = Vec::with_capacity(ledger.incidents.len());
        for mut incident in std::mem::take(&mut ledger.incidents) {
            // Whose token it is may have been put right meanwhile; what it was last is remembered for when the slot is gone.
            incident.provider = self.provider.clone();
            let before = incident.clone();
            let finding = findings.iter().find(|finding| finding.reason.thread() == incident.thread);
            let rides_out = self.rides_out(&mut incident, finding);
            let withdrawn = self.takes_back(&incident);
            let fate = match finding {
                _ if rides_out => Fate::Stay,
                Some(finding) if !withdrawn && self.when.continues(&incident, finding) => {
                    incident.damped = None;
                    Fate::Stay
                }
                _ => fate(&incident, finding, withdrawn),
            };
            let follows = |finding: &&Finding| incident.damped.is_some() || self.when.continues(&incident, finding);
            match fate {
                Fate::Stay => {
                    let notice =
                        finding.filter(follows).and_then(|finding| self.follow(silence, &mut incident, finding));
                    told.notices.extend(notice);
                    if incident != before {
                        told.entries.push(Entry::Incident(incident.clone(), None));
                    }
                    kept.push(incident);
                }
                Fate::End(ending) => {
                    // Of what nobody was told of, nobody is told that it is over.
                    if ending == Ending::Resolved && incident.told_at.is_some() {
                        told.notices.push(self.resolve(&incident, Detail::None));
                    }
                    told.entries.push(Entry::Incident(incident, Some((now, ending))));
                }
            }
        }
        for finding in findings {
            let thread = finding.reason.thread();
            if !kept.iter().any(|incident| incident.thread == thread) {
                ledger.count = ledger.count.saturating_add(1);
                let flaps = ledger.began_of_late(thread, now) >= FLAP_LIMIT;
                remember(&mut ledger.openings, (thread, now));
                let mut incident = self.open(ledger.count, finding, flaps);
                told.notices.extend(self.follow(silence, &mut incident, finding));
                told.entries.push(Entry::Incident(incident.clone(), None));
                kept.push(incident);
            }
        }
        ledger.incidents = kept;
        if let Some(silence) = &mut ledger.silence
            && !silence.reminded
            && silence.remind_at(&self.when.policy.ladder) <= now
        {
            silence.reminded = true;
            ledger.count = ledger.count.saturating_add(1);
            let number = ledger.count;
            let found =
                |incident: &Incident| findings.iter().find(|finding| finding.reason.thread() == incident.thread);
            let reminders =
                ledger.incidents.iter().map(|incident| self.remind(number, incident, found(incident), silence));
            told.notices.extend(reminders);
        }
        for notice in &mut told.notices {
            let flaps = ledger.incidents.iter().any(|incident| {
                incident.damped.is_some() && notice.key.incident() == alert::incident_key(&self.subject, incident)
            });
            notice.flaps = flaps.then(|| ledger.began_of_late(notice.reason.thread(), now));
        }
        told
    }

    /// A word that is about no finding: a summary, or a test.
    pub fn say(&self, number: u32, finding: &Finding) -> Notice {
        self.notice(&self.open(number, finding, false), finding, NotifyReason::First)
    }

    /// How a finding would be told now: as that of the open incident, where there is one.
    pub fn shown(&self, ledger: &Ledger, finding: &Finding) -> Notice {
        let new = || self.open(ledger.count.saturating_add(1), finding, false);
        let incident = ledger.of(finding.reason.thread()).cloned().unwrap_or_else(new);
        self.notice(&incident, finding, NotifyReason::First)
    }

    /// Whoever was alarmed hears that it is over, whoever is told of new things by now.
    pub fn resolve(&self, incident: &Incident, detail: Detail) -> Notice {
        Notice {
            severity: incident.severity,
            detail,
            deadline: incident.deadline,
            next: None,
            receivers: Arc::clone(&incident.told),
            ..self.bare(incident, NotifyReason::Resolved)
        }
    }

    /// Whether the provider has taken back that the token has expired, now or while the incident was ridden out.
    fn takes_back(&self, incident: &Incident) -> bool {
        incident.thread == Thread::Expiry
            && (self.when.taken_back || incident.damped.as_ref().is_some_and(|damped| damped.withdrawn))
    }

    /// A damped incident is neither ended nor begun anew before what is found has stayed the same for an hour. The end of another secret, or of
    /// another date, is no part of it.
    fn rides_out(&self, incident: &mut Incident, finding: Option<&Finding>) -> bool {
        let another = finding.is_some_and(|finding| finding.last_call && !self.when.concerns(incident, finding));
        let withdrawn = self.when.taken_back && incident.thread == Thread::Expiry;
        let secret = incident.thread.is_about_the_secret().then_some(self.when.generation);
        let seen = finding.map(|finding| (secret.unwrap_or_default(), finding.deadline));
        let Some(damped) = &mut incident.damped else { return false };
        if damped.seen != seen || withdrawn {
            damped.seen = seen;
            damped.changed_at = self.when.now;
        }
        // A word that was taken back and is given again is not taken back any more.
        let expired = finding.is_some_and(|finding| finding.reason == Reason::Expired);
        damped.withdrawn = withdrawn || (damped.withdrawn && !expired);
        !another && self.when.now.since(damped.changed_at) < CALM
    }

    fn open(&self, number: u32, finding: &Finding, flaps: bool) -> Incident {
        let thread = finding.reason.thread();
        let secret = thread.is_about_the_secret().then_some(self.when.generation);
        let seen = Some((secret.unwrap_or_default(), finding.deadline));
        Incident {
            thread,
            number,
            provider: self.provider.clone(),
            generation: self.when.generation,
            opened_at: self.when.now,
            reason: finding.reason,
            severity: finding.severity,
            stage: finding.stage,
            deadline: finding.deadline,
            told_at: None,
            repeats: 0,
            told: Arc::from([]),
            acknowledged: None,
            damped: flaps.then_some(Damped { changed_at: self.when.now, seen, withdrawn: false }),
        }
    }

    fn follow(&self, silence: Option<&Silence>, incident: &mut Incident, finding: &Finding) -> Option<Notice> {
        let why = self.when.word(silence, incident, finding)?;
        incident.repeats = if why == NotifyReason::Repeated { incident.repeats.saturating_add(1) } else { 0 };
        if why == NotifyReason::First {
            (incident.severity, incident.stage) = (finding.severity, finding.stage);
        }
        incident.reason = finding.reason;
        incident.severity = incident.severity.max(finding.severity);
        incident.stage = incident.stage.max(finding.stage);
        incident.told_at = Some(self.when.now);
        incident.told = union(&incident.told, self.receivers);
        Some(self.notice(incident, finding, why))
    }

    fn notice(&self, incident: &Incident, finding: &Finding, why: NotifyReason) -> Notice {
        let repeat = alert::repeat_due(incident, finding, self.when.policy.repeat);
        Notice {
            reason: finding.reason,
            severity: finding.severity,
            detail: finding.detail.clone(),
            deadline: finding.deadline,
            next: earliest(finding.next, repeat),
            receivers: Arc::clone(self.receivers),
            ..self.bare(incident, why)
        }
    }

    /// The silence over an open incident ends soon. It says how things stand now, which may be worse than what was told.
    fn remind(&self, number: u32, incident: &Incident, finding: Option<&Finding>, silence: &Silence) -> Notice {
        let bare = self.bare(incident, NotifyReason::Reminded);
        let now = match finding {
            Some(Finding { reason, severity, detail, deadline, .. }) => {
                Notice { reason: *reason, severity: *severity, detail: detail.clone(), deadline: *deadline, ..bare }
            }
            None => bare,
        };
        Notice {
            key: alert::reminder_key(&self.subject, incident, number),
            next: Some(silence.until),
            silence: Some(silence.clone()),
            receivers: union(&incident.told, self.receivers),
            ..now
        }
    }

    /// What every notice of an incident says.
    fn bare(&self, incident: &Incident, why: NotifyReason) -> Notice {
        Notice {
            key: alert::key(&self.subject, incident, why),
            subject: self.subject.clone(),
            provider: incident.provider.clone(),
            app: self.app.cloned(),
            why,
            reason: incident.reason,
            severity: incident.severity,
            detail: Detail::None,
            deadline: incident.deadline,
            since: incident.opened_at,
            at: self.when.now,
            next: None,
            facts: self.facts.clone(),
            acknowledged: incident.acknowledged.clone(),
            silence: None,
            flaps: None,
            receivers: Arc::clone(&incident.told),
        }
    }
}

/// An incident begins. Of very many in one thread the oldest are forgotten: the newest still count when those are a day old.
fn remember(openings: &mut Vec<(Thread, Timestamp)>, opening: (Thread, Timestamp)) {
    let same = |(thread, _): &(Thread, Timestamp)| *thread == opening.0;
    if openings.iter().filter(|other| same(other)).count() >= MOST_OPENINGS
        && let Some(oldest) = openings.iter().position(same)
    {
        openings.remove(oldest);
    }
    openings.push(opening);
}

/// Those of both lists, each once.
fn union(a: &Arc<[ReceiverName]>, b: &Arc<[ReceiverName]>) -> Arc<[ReceiverName]> {
    if a == b {
        return Arc::clone(a);
    }
    let more = b.iter().filter(|name| !a.contains(name));
    a.iter().chain(more).cloned().collect()
}

/// After so many beginnings within [`FLAP_WINDOW`] the next incident is damped.
pub const FLAP_LIMIT: u32 = 3;
/// In which beginnings are counted.
pub const FLAP_WINDOW: Span = Span::days(1);
/// What flapped is calm again when nothing changed for so long.
pub const CALM: Span = Span::hours(1);
/// Beginnings of one thread that are remembered.
const MOST_OPENINGS: usize = 64;
