//! The watch loop: what is due is checked, what was seen is decided, what was decided is committed, and only then shown.
//!
//! It owns the agenda and sleeps in one place. Results that come in together are committed together. A store that fails makes it back
//! off; it never ends the loop, and because expiry is a level nothing is lost by looking again later.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::agenda::Agenda;
use super::bells;
use super::courtesy::{Courtesy, Leave};
use super::kin::{Kin, Suspicion};
use super::probes::Probes;
use super::wiring::{Checked, Wanted, Wiring};
use crate::board::{Board, Row, Table};
use crate::domain::alert::{AlertKey, Notice, Subject};
use crate::domain::answer::Answer;
use crate::domain::cadence;
use crate::domain::finding::{Finding, Reason};
use crate::domain::inspection::CheckError;
use crate::domain::ledger::{Ledger, Told};
use crate::domain::number::Beside;
use crate::domain::renewal::{Kept, Outcome, RenewalStatus, Report, Run};
use crate::domain::status::{AppStatus, TokenStatus};
use crate::domain::step::{
    AppObservation, AppReport, Observation, SideStep, Step, WatcherObservation, WatcherSpec, retire, step, step_app,
    step_watcher, wake,
};
use crate::domain::time::{Span, Timestamp};
use crate::domain::token::{AppName, ProviderName, Rhythm, TokenId, TokenSpec};
use crate::domain::verdict::{self, Case};
use crate::domain::watcher::WatcherStatus;
use crate::metrics::Counters;
use crate::ports::{Change, Clock, JournalChange, Journaled, Sealed, SlotStatus, Store, StoreError, Telemetry};
use crate::renewal::keyring::Keyring;
use crate::renewal::run::{kept, sealed_new};
use crate::requests::{Declined, Inbox, Request};
use crate::secret::{FingerprintKey, Secret};

/// The parts that the loop works with.
pub struct Watch {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What is durable.
    pub store: Arc<dyn Store>,
    /// What everyone may see.
    pub board: Arc<Board>,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// The configuration in force.
    pub wiring: watch::Receiver<Arc<Wiring>>,
    /// Rung when every token is due now: a cron expression said so.
    pub bell: Arc<Notify>,
    /// What others ask of this loop.
    pub inbox: Inbox,
    /// Told when there is something to deliver.
    pub outbox: Arc<Notify>,
    /// Told when a run was put into the journal.
    pub renewals: Arc<Notify>,
    /// The key that seals what a person brings.
    pub keyring: Arc<Keyring>,
    /// The longest sleep; half a watchdog period when systemd watches us.
    pub longest_sleep: Span,
    /// The end.
    pub stop: CancellationToken,
}

/// What an observation does to the journal.
enum Journal {
    /// What the step decides.
    AsDecided,
    /// The run that begins puts this secret in place; the flag is [`Run::anyway`].
    Brings(Secret, bool),
    /// The run that begins is wanted although something speaks against it ([`Run::anyway`]).
    Insists,
    /// A run ends, with this.
    Ends(Box<JournalChange>),
}

/// One check that came back, or was put off.
struct Seen {
    index: usize,
    observation: Observation,
    /// What the question about the token showed, and what those beside it did.
    telemetry: Option<(Telemetry, Telemetry)>,
}

impl Watch {
    /// Watches until told to stop, then lets what is under way finish within `grace`.
    ///
    /// # Errors
    /// When the store cannot even be read at the start.
    pub async fn run(mut self, grace: Span) -> Result<(), StoreError> {
        let key = self.store.fingerprint_key().await?;
        let wiring = Arc::clone(&self.wiring.borrow_and_update());
        let mut round = Round::new(wiring, key, self.clock.now());
        self.open(&mut round).await?;
        loop {
            self.reopen(&mut round).await;
            self.launch(&mut round);
            self.note_progress(&mut round);
            let sleep = round.sleep(self.clock.now(), self.longest_sleep);
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                // What comes seldom goes first: in a backlog there is always another answer.
                changed = self.wiring.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    self.reload(&mut round).await;
                    self.reopen(&mut round).await;
                }
                () = self.bell.notified() => round.ring(self.clock.now()),
                Some(request) = self.inbox.recv() => self.serve(&mut round, request).await,
                Some(seen) = next(&mut round.flying) => self.settle(&mut round, seen).await,
                () = self.clock.sleep(sleep) => {}
            }
        }
        self.drain(&mut round, grace).await;
        Ok(())
    }

    /// Reads what is known, shows it, and plans the first checks. A secret that changed while nobody watched is due at once.
    async fn open(&self, round: &mut Round) -> Result<(), StoreError> {
        let now = self.clock.now();
        let wiring = Arc::clone(&round.wiring);
        let last_ring = bells::last_ring(&wiring.settings, now);
        let mut rows = Vec::with_capacity(wiring.settings.tokens.len());
        round.agenda.clear();
        for (chunk_index, chunk) in wiring.settings.tokens.chunks(LOAD_CHUNK).enumerate() {
            let subjects = chunk.iter().map(|token| Subject::Token(token.spec.id.clone())).collect();
            let mut known: HashMap<Subject, SlotStatus> = self.store.load(subjects).await?.into_iter().collect();
            let fingerprints = wiring.fingerprints(chunk, &round.key).await;
            // The places of many secrets may each take their time: that is slow, and no hang.
            self.board.vitals.beat(self.clock.now());
            for (offset, (token, fingerprint)) in chunk.iter().zip(fingerprints).enumerate() {
                let index = chunk_index * LOAD_CHUNK + offset;
                let mut status = match known.remove(&Subject::Token(token.spec.id.clone())) {
                    Some(SlotStatus::Token(status)) => *status,
                    Some(SlotStatus::App(_) | SlotStatus::Watcher(_)) | None => TokenStatus::new(now),
                };
                let typed = token.spec.expires;
                let is_redated = status.current_facts().is_some_and(|facts| facts.has_another_typed_end(typed, now));
                let is_another = fingerprint.is_some_and(|seen| status.generation.fingerprint != seen);
                if is_another || status.last_check.is_none() || is_redated {
                    status.next_check = now;
                } else if matches!(token.spec.rhythm, Rhythm::OnBell { .. }) && status.last_check < last_ring {
                    // The bell rang while nobody listened.
                    status.next_check = cadence::after_bell(&token.spec.id, token.spec.rhythm, now);
                }
                let judgement = verdict::judge(Case { spec: &token.spec, status: &status, now });
                let regular = cadence::regular(&token.spec.id, token.spec.rhythm, now);
                round.agenda.push(wake(&token.spec, &status, &judgement, now).min(regular), index);
                round.kin.learn(index, &status);
                rows.push(Row::new(&token.spec, &status, &judgement));
            }
        }
        self.board.replace(Arc::new(Table::new(rows)));
        self.show_apps(&wiring).await?;
        self.retire_strangers(&wiring, now).await?;
        round.last_now = now;
        round.pass_began = now;
        round.opened = true;
        Ok(())
    }

    /// What is known of these; what cannot be read is left alone, for nobody waits for it.
    async fn readable(&self, subjects: Vec<Subject>) -> Result<Vec<(Subject, SlotStatus)>, StoreError> {
        match self.store.load(subjects.clone()).await {
            Err(StoreError::Damaged { .. }) => {}
            loaded => return loaded,
        }
        let mut known = Vec::new();
        for subject in subjects {
            match self.store.load(vec![subject.clone()]).await {
                Err(damage @ StoreError::Damaged { .. }) => {
                    warn!(subject = %subject, error = %damage, "what is known of something that is no longer watched cannot be read");
                }
                loaded => known.extend(loaded?),
            }
        }
        Ok(known)
    }

    async fn show_apps(&self, wiring: &Wiring) -> Result<(), StoreError> {
        let subjects = wiring.settings.apps.keys().cloned().map(Subject::App).collect();
        for (subject, status) in self.store.load(subjects).await? {
            if let (Subject::App(name), SlotStatus::App(status)) = (subject, status)
                && let Some((fault, text)) = status.fault.filter(|_| !status.ledger.incidents.is_empty())
            {
                self.board.table().publish_app(&name, vec![verdict::app_finding(fault, &text)]);
            }
        }
        Ok(())
    }

    /// Slots that are no longer configured end their incidents, and whoever was told of them is told; a slot that comes back is as if never
    /// seen, but for its numbers, so that no key is used twice.
    async fn retire_strangers(&self, wiring: &Wiring, now: Timestamp) -> Result<(), StoreError> {
        let strangers: Vec<Subject> =
            self.store.subjects().await?.into_iter().filter(|subject| !wiring.watches(subject)).collect();
        let mut changes = Vec::new();
        for (subject, before) in self.readable(strangers).await? {
            let run = match &subject {
                Subject::Token(id) => match self.store.run_of(id.clone()).await {
                    Err(damage @ StoreError::Damaged { .. }) => {
                        warn!(subject = %subject, error = %damage, "the journal of something that is no longer watched cannot be read");
                        continue;
                    }
                    run => run?,
                },
                Subject::App(_) | Subject::Watcher => None,
            };
            let only_copy = run.as_ref().filter(|entry| entry.run.only_copy);
            let kept_back = only_copy.map(|entry| Kept { ends: entry.run.given_end });
            let (incidents, status) = match before.clone() {
                SlotStatus::Token(status) => {
                    // When it was last looked at is kept, so that it can be forgotten one day.
                    let fresh = TokenStatus {
                        ledger: status.ledger.fresh(),
                        last_check: status.last_check,
                        renewal: RenewalStatus {
                            count: status.renewal.count,
                            kept: kept_back,
                            ..RenewalStatus::default()
                        },
                        ..TokenStatus::new(status.next_check)
                    };
                    (status.ledger.incidents, SlotStatus::Token(Box::new(fresh)))
                }
                SlotStatus::App(status) => {
                    let fresh = AppStatus { ledger: status.ledger.fresh(), ..AppStatus::default() };
                    (status.ledger.incidents, SlotStatus::App(fresh))
                }
                SlotStatus::Watcher(_) => continue,
            };
            if status != before {
                info!(subject = %subject, incidents = incidents.len(), "no longer watched; its incidents end");
                let Told { notices, entries } = retire(&subject, incidents, now);
                let journal = match (run, &subject) {
                    (Some(entry), _) if kept_back.is_some() => {
                        error!(subject = %subject, "its only living secret waits sealed for a place; it stays so until the token comes back");
                        kept(entry)
                    }
                    (_, Subject::Token(_)) => JournalChange::End,
                    (_, Subject::App(_) | Subject::Watcher) => JournalChange::None,
                };
                changes.push(Change { subject, status, notices, entries, journal });
            }
        }
        if !changes.is_empty() {
            self.store.commit(changes).await?;
            self.outbox.notify_one();
        }
        Ok(())
    }

    /// Starts what is due, as far as there is room. A token whose app was asked to stay away is put off without a question. While the store
    /// fails one token at a time probes it, so that no answer is asked for twice in vain.
    fn launch(&self, round: &mut Round) {
        let now = self.clock.now();
        round.notice_clock_jump(now);
        let limit = round.room(now);
        while round.flying.len() < limit
            && let Some(index) = round.agenda.pop_due(now)
        {
            let wiring = Arc::clone(&round.wiring);
            let Some(token) = wiring.settings.tokens.get(index) else { continue };
            let budget = budget_of(&token.spec);
            match round.courtesy.leave(&budget, index, now) {
                Leave::Ask => {}
                // What the clock alone changes is told meanwhile.
                Leave::Turn(turn) => {
                    round.put_off(index, Observation::Queued(turn));
                    continue;
                }
                Leave::Paused(until) => {
                    round.put_off(index, Observation::Deferred(until));
                    continue;
                }
            }
            let wanted = if round.courtesy.is_strained(&budget) {
                Wanted::NOTHING
            } else {
                round.probes.wanted(index, token, now)
            };
            let key = round.key.clone();
            let wiring = Arc::clone(&wiring);
            round.flying.spawn(async move {
                let Some(token) = wiring.settings.tokens.get(index) else {
                    return Seen { index, observation: Observation::Deferred(now), telemetry: None };
                };
                // A fault of ours in one check must not take the token off the agenda, nor the daemon down.
                let checked = AssertUnwindSafe(wiring.check(token, &key, wanted)).catch_unwind().await;
                let Checked { outcome, telemetry, beside } = checked.unwrap_or_else(|_| Checked::internal_fault());
                Seen { index, observation: Observation::Checked(outcome), telemetry: Some((telemetry, beside)) }
            });
        }
        self.board.vitals.set_in_flight(round.flying.len());
    }

    /// A pass is over when everything that was due when it began has been seen to; however busy the loop is, passes end.
    fn note_progress(&self, round: &mut Round) {
        let now = self.clock.now();
        self.board.vitals.beat(now);
        if round.opened && round.store_trouble.is_none() && round.agenda.has_seen_to(round.pass_began) {
            self.board.vitals.pass_done(now);
            round.pass_began = now;
        }
    }

    /// Decides and commits one batch: the check that just came back and all others that are ready.
    async fn settle(&self, round: &mut Round, first: Seen) {
        let now = self.clock.now();
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Some(Ok(seen)) = round.flying.try_join_next()
        {
            batch.push(seen);
        }
        batch.retain(|seen| round.is_of_now(seen.index, now));
        if batch.is_empty() {
            return;
        }
        // Until it is committed it is under way: the outbox must not take the first of several for the only one.
        self.board.vitals.set_in_flight(round.flying.len() + batch.len());
        let indices: Vec<usize> = batch.iter().map(|seen| seen.index).collect();
        match self.decide_and_commit(round, batch, now).await {
            Ok(()) => {
                if self.board.vitals.store_is(PART, None) {
                    info!("the state file works again");
                }
                round.store_trouble = None;
            }
            Err(failure) => {
                if self.board.vitals.store_is(PART, Some(failure.to_string())) {
                    error!(error = %failure, "could not commit; nothing is lost, trying again");
                }
                round.store_failed(now);
                for index in indices {
                    round.agenda.push(now, index);
                }
            }
        }
        self.board.vitals.set_in_flight(round.flying.len());
    }

    async fn decide_and_commit(&self, round: &mut Round, batch: Vec<Seen>, now: Timestamp) -> Result<(), StoreError> {
        let wiring = Arc::clone(&round.wiring);
        let specs = |index: usize| wiring.settings.tokens.get(index).map(|token| &token.spec);
        let subjects = batch.iter().filter_map(|seen| specs(seen.index)).map(|spec| Subject::Token(spec.id.clone()));
        let mut known: HashMap<Subject, SlotStatus> = self.store.load(subjects.collect()).await?.into_iter().collect();
        let mut changes = Vec::with_capacity(batch.len());
        let mut reports: BTreeMap<AppName, Vec<AppReport>> = BTreeMap::new();
        let mut shown = Vec::with_capacity(batch.len());
        let mut wakes = Vec::with_capacity(batch.len());
        let (mut suspects, mut queued) = (Vec::new(), Vec::new());
        let (mut runs, mut probed) = (false, Vec::new());
        for seen in batch {
            let Some(spec) = specs(seen.index) else { continue };
            let subject = Subject::Token(spec.id.clone());
            let status = match known.remove(&subject) {
                Some(SlotStatus::Token(status)) => *status,
                Some(SlotStatus::App(_) | SlotStatus::Watcher(_)) | None => TokenStatus::new(now),
            };
            let before = status.last_error.clone();
            let had_source = status.source_fault.is_none();
            let generation = status.generation.number;
            // What is seen while a run is under way may not count, so it is asked again.
            let beside = beside_of(&seen).filter(|_| status.renewal.run.is_none());
            let index = seen.index;
            if matches!(seen.observation, Observation::Queued(_)) {
                queued.push((index, budget_of(spec)));
            }
            if let Some(version) = round.heed(spec, &seen, now) {
                self.board.vitals.set_served_version(Some(version));
            }
            self.count(&spec.provider, spec.app.as_ref(), &seen);
            let step = step(spec, status, seen.observation, now);
            log_step(spec.id.as_str(), before.as_ref(), &step);
            if let (Some(app), Some(report)) = (&spec.app, step.app.clone()) {
                reports.entry(app.clone()).or_default().push(report);
            }
            let ask_again =
                step.status.generation.number != generation || step.judgement.find(Reason::WebhooksMissing).is_some();
            probed.push((index, beside, ask_again));
            round.kin.learn(seen.index, &step.status);
            if step.status.invalid_streak == 1 {
                suspects.push(Suspicion::Owner(seen.index));
            }
            if had_source != step.status.source_fault.is_none() {
                suspects.push(Suspicion::Place(seen.index));
            }
            wakes.push((step.wake, seen.index));
            shown.push((seen.index, Row::of(spec, &step)));
            let Step { status, notices, entries, run, .. } = step;
            let (status, journal) = (SlotStatus::Token(Box::new(status)), begun(run));
            runs |= journal != JournalChange::None;
            changes.push(Change { subject, status, notices, entries, journal });
        }
        let apps = self.decide_apps(&wiring, reports, now, &mut changes).await?;
        let tells = changes.iter().any(|change| !change.notices.is_empty());
        self.store.commit(changes).await?;
        let table = self.board.table();
        table.publish(shown);
        for (name, findings) in apps {
            table.publish_app(&name, findings);
        }
        for (wake, index) in wakes {
            round.agenda.push(wake, index);
        }
        round.free(&queued, now);
        for (index, beside, ask_again) in probed {
            if let Some((beside, used)) = beside {
                round.probes.note(index, &beside, used, &wiring.settings.schedule, now);
            }
            if ask_again {
                round.probes.ask_for_subscription(index);
            }
        }
        for suspicion in suspects {
            round.suspect(suspicion, now);
        }
        if tells {
            self.outbox.notify_one();
        }
        if runs {
            self.renewals.notify_one();
        }
        Ok(())
    }

    /// Folds the reports of this batch into each app's status. An app about which nothing changed is not written.
    async fn decide_apps(
        &self,
        wiring: &Wiring,
        reports: BTreeMap<AppName, Vec<AppReport>>,
        now: Timestamp,
        changes: &mut Vec<Change>,
    ) -> Result<Vec<(AppName, Vec<Finding>)>, StoreError> {
        let subjects = reports.keys().cloned().map(Subject::App).collect();
        let mut known: HashMap<Subject, SlotStatus> = self.store.load(subjects).await?.into_iter().collect();
        let mut shown = Vec::new();
        for (name, reports) in reports {
            let Some(app) = wiring.app(&name) else { continue };
            let subject = Subject::App(name.clone());
            let before = match known.remove(&subject) {
                Some(SlotStatus::App(status)) => status,
                Some(SlotStatus::Token(_) | SlotStatus::Watcher(_)) | None => AppStatus::default(),
            };
            // Tokens that failed together are one observation of the app, not so many confirmations.
            let Some(report) = reports.into_iter().next_back() else { continue };
            let step = step_app(&app.spec, before.clone(), AppObservation::Reported(report), now);
            let SideStep { status, findings, notices, entries, .. } = step;
            log_notices(&subject, &notices);
            if status != before || !notices.is_empty() {
                changes.push(Change {
                    subject,
                    status: SlotStatus::App(status),
                    notices,
                    entries,
                    journal: JournalChange::None,
                });
            }
            shown.push((name, findings));
        }
        Ok(shown)
    }

    fn count(&self, provider: &ProviderName, app: Option<&AppName>, seen: &Seen) {
        if let (Some((telemetry, beside)), Observation::Checked(outcome)) = (&seen.telemetry, &seen.observation) {
            let app = app.map_or("", AppName::as_str);
            self.counters.asked(provider, app, beside);
            self.counters.checked(provider, app, telemetry, outcome.answer.as_ref().err());
            if let Some(offset) = telemetry.clock_offset.filter(|_| self.clock.keeps_pace()) {
                self.board.vitals.clock_is(offset);
            }
        }
    }

    /// Carries out what others ask: whatever changes a status goes through this loop, so that no two changes cross.
    async fn serve(&self, round: &mut Round, request: Request) {
        match request {
            Request::Answer(subject, answer, reply) => {
                let by = answer.signed().by.clone();
                let outcome = match &subject {
                    Subject::Token(id) => {
                        let step = self.observe(round, id, Observation::Answered(answer), Journal::AsDecided).await;
                        step.map(|step| step.status.ledger)
                    }
                    Subject::App(name) => self.answer_app(round, name, answer).await,
                    Subject::Watcher => {
                        let answered = self.about_watcher(round, WatcherObservation::Answered(answer)).await;
                        answered.map(|(step, _)| step.status.ledger)
                    }
                };
                match &outcome {
                    Ok(_) => info!(subject = %subject, by = &*by, "an answer was given"),
                    Err(why) => info!(subject = %subject, by = &*by, error = %why, "an answer was not taken"),
                }
                // Whoever asked may have gone; what was asked is done all the same.
                let _ = reply.send(outcome);
            }
            Request::Signs(signs, reply) => {
                let seen = self.about_watcher(round, WatcherObservation::Seen(signs)).await;
                let noted = seen.map(|(step, _)| self.board.vitals.set_findings(step.findings));
                let _ = reply.send(noted);
            }
            Request::Renew(id, origin, anyway, reply) => {
                info!(token = id.as_str(), "a renewal was asked for");
                let journal = if anyway { Journal::Insists } else { Journal::AsDecided };
                let step = self.observe(round, &id, Observation::Asked(origin), journal).await;
                let _ = reply.send(step.map(|step| step.status.renewal.count));
            }
            Request::Replace(id, origin, secret, anyway, reply) => {
                info!(token = id.as_str(), "a new secret was brought");
                let brought = Journal::Brings(secret, anyway);
                let step = self.observe(round, &id, Observation::Asked(origin), brought).await;
                let _ = reply.send(step.map(|step| step.status.renewal.count));
            }
            Request::Stuck(id, number, why, reply) => {
                let stuck = Observation::Stuck(number, why.map(Into::into));
                let step = self.observe(round, &id, stuck, Journal::AsDecided).await;
                let _ = reply.send(step.map(drop));
            }
            Request::Ended(id, report, journal, reply) => {
                let step = self.observe(round, &id, Observation::Ended(report), Journal::Ends(journal)).await;
                let _ = reply.send(step.map(drop));
            }
            Request::Say(finding, receivers, reply) => {
                let said = self.about_watcher(round, WatcherObservation::Saying(finding, receivers)).await;
                let key = said.and_then(|(_, keys)| keys.into_iter().next().ok_or(Declined::Unknown));
                let _ = reply.send(key);
            }
        }
    }

    /// Takes in something about one token that is no check.
    async fn observe(
        &self,
        round: &mut Round,
        id: &TokenId,
        observation: Observation,
        journal: Journal,
    ) -> Result<Step, Declined> {
        let wiring = Arc::clone(&round.wiring);
        let index = wiring.index(id).ok_or(Declined::Unknown)?;
        let token = wiring.settings.tokens.get(index).ok_or(Declined::Unknown)?;
        if matches!(journal, Journal::Brings(..)) && token.replace.is_none() {
            return Err(Declined::NotRenewed(NO_PLACE.to_owned()));
        }
        let (subject, now) = (Subject::Token(id.clone()), self.clock.now());
        let status = match self.known(&subject).await? {
            Some(SlotStatus::Token(status)) => *status,
            Some(SlotStatus::App(_) | SlotStatus::Watcher(_)) | None => TokenStatus::new(now),
        };
        // Whoever tells of another run than the one under way is late.
        let under_way = status.renewal.run.as_ref().map(|run| run.number);
        if let Observation::Ended(Report { number, .. }) | Observation::Stuck(number, _) = &observation
            && under_way != Some(*number)
        {
            return Err(Declined::Unknown);
        }
        let ends = matches!(observation, Observation::Ended(_));
        let mut step = step(&token.spec, status, observation, now);
        if let Some(refused) = step.refused {
            return Err(Declined::Refused(refused));
        }
        if let Some(refusal) = &step.declined {
            self.counters.renewed(Outcome::Refused);
            return Err(Declined::NotRenewed(refusal.to_string()));
        }
        let journal = self.journal(step.run.take(), journal).await?;
        let begins = matches!(journal, JournalChange::Begin(_));
        log_notices(&subject, &step.notices);
        let status = SlotStatus::Token(Box::new(step.status.clone()));
        let (notices, entries) = (std::mem::take(&mut step.notices), std::mem::take(&mut step.entries));
        let mut changes = vec![Change { subject, status, notices, entries, journal }];
        let reports = token.spec.app.clone().zip(step.app.take()).map(|(app, report)| (app, vec![report]));
        let apps = self.decide_apps(&wiring, reports.into_iter().collect(), now, &mut changes).await;
        let apps = apps.map_err(|failure| Declined::Store(failure.to_string()))?;
        self.write(changes).await?;
        let table = self.board.table();
        table.publish(vec![(index, Row::of(&token.spec, &step))]);
        for (name, findings) in apps {
            table.publish_app(&name, findings);
        }
        round.kin.learn(index, &step.status);
        // A token that is under way plans itself when it comes back. But what is seen from before the end of a run, or from within it, may be
        // of a secret that is not in the slot any more.
        if !round.agenda.is_under_way(index) {
            round.agenda.push(step.wake, index);
        } else if ends {
            round.outdated.insert(index);
        }
        if begins {
            self.renewals.notify_one();
        }
        Ok(step)
    }

    /// What happens to the journal of a token together with its status.
    async fn journal(&self, run: Option<Run>, journal: Journal) -> Result<JournalChange, Declined> {
        match (run, journal) {
            (Some(run), Journal::Brings(secret, anyway)) => {
                let run = Run { anyway, ..run };
                let sealed = sealed_new(&self.keyring, &run, &secret).await.map_err(Declined::NotRenewed)?;
                Ok(JournalChange::Begin(Journaled { run, sealed }))
            }
            (_, Journal::Ends(change)) => Ok(*change),
            (run, Journal::Insists) => Ok(begun(run.map(|run| Run { anyway: true, ..run }))),
            (run, Journal::AsDecided | Journal::Brings(..)) => Ok(begun(run)),
        }
    }

    async fn answer_app(&self, round: &Round, name: &AppName, answer: Answer) -> Result<Ledger, Declined> {
        let app = round.wiring.app(name).ok_or(Declined::Unknown)?;
        let subject = Subject::App(name.clone());
        let status = match self.known(&subject).await? {
            Some(SlotStatus::App(status)) => status,
            Some(SlotStatus::Token(_) | SlotStatus::Watcher(_)) | None => AppStatus::default(),
        };
        let step = step_app(&app.spec, status, AppObservation::Answered(answer), self.clock.now());
        if let Some(refused) = step.refused {
            return Err(Declined::Refused(refused));
        }
        log_notices(&subject, &step.notices);
        let SideStep { status, notices, entries, .. } = step;
        let ledger = status.ledger.clone();
        let status = SlotStatus::App(status);
        self.write(vec![Change { subject, status, notices, entries, journal: JournalChange::None }]).await?;
        Ok(ledger)
    }

    /// Decides about the watcher itself; the step, and the keys of what is told.
    async fn about_watcher(
        &self,
        round: &Round,
        seen: WatcherObservation,
    ) -> Result<(SideStep<WatcherStatus>, Vec<AlertKey>), Declined> {
        let settings = &round.wiring.settings;
        let spec =
            WatcherSpec { receivers: Arc::clone(&settings.watcher_receivers), policy: Arc::clone(&settings.policy) };
        let before = match self.known(&Subject::Watcher).await? {
            Some(SlotStatus::Watcher(status)) => Some(status),
            Some(SlotStatus::Token(_) | SlotStatus::App(_)) | None => None,
        };
        let mut step = step_watcher(&spec, before.clone().unwrap_or_default(), seen, self.clock.now());
        if let Some(refused) = step.refused {
            return Err(Declined::Refused(refused));
        }
        log_notices(&Subject::Watcher, &step.notices);
        let keys = step.notices.iter().map(|notice| notice.key.clone()).collect();
        let (notices, entries) = (std::mem::take(&mut step.notices), std::mem::take(&mut step.entries));
        if before.as_ref() != Some(&step.status) || !notices.is_empty() || !entries.is_empty() {
            let status = SlotStatus::Watcher(step.status.clone());
            let subject = Subject::Watcher;
            self.write(vec![Change { subject, status, notices, entries, journal: JournalChange::None }]).await?;
        }
        Ok((step, keys))
    }

    async fn known(&self, subject: &Subject) -> Result<Option<SlotStatus>, Declined> {
        let found = self.store.load(vec![subject.clone()]).await;
        let found = found.map_err(|failure| Declined::Store(failure.to_string()))?;
        Ok(found.into_iter().next().map(|(_, status)| status))
    }

    async fn write(&self, changes: Vec<Change>) -> Result<(), Declined> {
        let tells = changes.iter().any(|change| !change.notices.is_empty());
        self.store.commit(changes).await.map_err(|failure| Declined::Store(failure.to_string()))?;
        if tells {
            self.outbox.notify_one();
        }
        Ok(())
    }

    /// Another configuration: what is under way is let go (its answers would belong to the old table), and everything is planned anew.
    async fn reload(&mut self, round: &mut Round) {
        let wiring = Arc::clone(&self.wiring.borrow_and_update());
        round.flying.abort_all();
        while round.flying.join_next().await.is_some() {}
        info!(before = round.wiring.settings.tokens.len(), now = wiring.settings.tokens.len(), "another configuration");
        round.wiring = wiring;
        self.counters.forget();
        round.courtesy = Courtesy::default();
        round.freed.clear();
        round.probes = Probes::default();
        round.served_version = None;
        self.board.vitals.set_served_version(None);
        round.kin = Kin::default();
        round.agenda.clear();
        round.outdated.clear();
        round.opened = false;
    }

    /// Opens the configuration in force, unless it is open. Until that works nothing is checked: rows are shown by their place in it.
    async fn reopen(&self, round: &mut Round) {
        let now = self.clock.now();
        if round.opened || round.store_trouble.is_some_and(|trouble| trouble.retry_at > now) {
            return;
        }
        match self.open(round).await {
            Ok(()) => {
                self.board.vitals.store_is(PART, None);
                round.store_trouble = None;
            }
            Err(failure) => {
                if self.board.vitals.store_is(PART, Some(failure.to_string())) {
                    error!(error = %failure, "could not read the state for the new configuration; trying again");
                }
                round.store_failed(now);
            }
        }
    }

    async fn drain(&self, round: &mut Round, grace: Span) {
        let mut end = std::pin::pin!(self.clock.sleep(grace));
        while !round.flying.is_empty() {
            tokio::select! {
                Some(seen) = next(&mut round.flying) => self.settle(round, seen).await,
                () = &mut end => {
                    warn!(left = round.flying.len(), "stopping with checks still under way");
                    round.flying.abort_all();
                    break;
                }
            }
        }
    }
}

/// The loop's own memory. All of it can be rebuilt from the store.
struct Round {
    wiring: Arc<Wiring>,
    key: FingerprintKey,
    agenda: Agenda,
    flying: JoinSet<Seen>,
    /// Checks under way whose answers do not count.
    outdated: HashSet<usize>,
    courtesy: Courtesy,
    /// Those that need not wait for their turn any more.
    freed: Vec<usize>,
    probes: Probes,
    kin: Kin,
    served_version: Option<String>,
    last_now: Timestamp,
    pass_began: Timestamp,
    opened: bool,
    store_trouble: Option<StoreTrouble>,
}

/// The store fails; it is tried again, ever later.
#[derive(Clone, Copy)]
struct StoreTrouble {
    failures: u32,
    retry_at: Timestamp,
}

impl Round {
    fn new(wiring: Arc<Wiring>, key: FingerprintKey, now: Timestamp) -> Self {
        Self {
            wiring,
            key,
            agenda: Agenda::default(),
            flying: JoinSet::new(),
            outdated: HashSet::new(),
            courtesy: Courtesy::default(),
            freed: Vec::new(),
            probes: Probes::default(),
            kin: Kin::default(),
            served_version: None,
            last_now: now,
            pass_began: now,
            opened: false,
            store_trouble: None,
        }
    }

    /// How many checks may be under way now.
    fn room(&self, now: Timestamp) -> usize {
        match self.store_trouble {
            _ if !self.opened => 0,
            None => self.wiring.settings.daemon.concurrency,
            Some(trouble) => usize::from(trouble.retry_at <= now && self.flying.is_empty()),
        }
    }

    fn store_failed(&mut self, now: Timestamp) {
        let failures = self.store_trouble.map_or(0, |trouble| trouble.failures).saturating_add(1);
        let wait =
            Span::seconds(STORE_RETRY.as_seconds() << failures.saturating_sub(1).min(5)).min(LONGEST_STORE_RETRY);
        self.store_trouble = Some(StoreTrouble { failures, retry_at: now.plus(wait) });
    }

    /// How long to sleep: until something is due that there is room for, and never so long that a wall clock that jumped, or a watchdog,
    /// is noticed late.
    fn sleep(&mut self, now: Timestamp, longest: Span) -> Span {
        let next = match self.store_trouble {
            Some(trouble) if self.flying.is_empty() => Some(trouble.retry_at),
            _ if self.flying.len() >= self.room(now) => None,
            _ => self.agenda.next(),
        };
        next.map_or(longest, |next| next.since(now).max(Span::ZERO).min(longest))
    }

    /// Whether a check that came back is of the secret in the slot now; one that is not is made again.
    fn is_of_now(&mut self, index: usize, now: Timestamp) -> bool {
        let outdated = self.outdated.remove(&index);
        if outdated {
            self.agenda.push(now, index);
        }
        !outdated
    }

    /// Has a token that is due wait without a question.
    fn put_off(&mut self, index: usize, observation: Observation) {
        self.flying.spawn(std::future::ready(Seen { index, observation, telemetry: None }));
    }

    /// Once a budget has recovered all that waited for their turn are due, those that were only just told to wait as well.
    fn free(&mut self, queued: &[(usize, Subject)], now: Timestamp) {
        let late =
            queued.iter().filter(|(index, budget)| !self.courtesy.waits(budget, *index)).map(|(index, _)| *index);
        for index in std::mem::take(&mut self.freed).into_iter().chain(late) {
            self.agenda.bring_forward(now, index);
        }
    }

    /// Takes in what an answer showed beside the facts. Returns the version that really runs, once a second answer has said that it is
    /// another than the one asked for.
    fn heed(&mut self, spec: &TokenSpec, seen: &Seen, now: Timestamp) -> Option<String> {
        let (Some((telemetry, _)), Observation::Checked(outcome)) = (&seen.telemetry, &seen.observation) else {
            return None;
        };
        self.freed.extend(self.courtesy.heed(&budget_of(spec), outcome.answer.as_ref(), telemetry, now));
        let version = telemetry.other_version.as_ref()?;
        if self.served_version.as_ref() == Some(version) {
            return Some(version.clone());
        }
        let asked = &self.wiring.settings.meta.version;
        warn!(
            asked,
            served = version,
            "the API version asked for is not the one that runs; set [provider.meta] version"
        );
        self.served_version = Some(version.clone());
        None
    }

    /// What befell one token may have befallen its kin: they are looked at now and not at their next turn, so that one cause is told once.
    fn suspect(&mut self, suspicion: Suspicion, now: Timestamp) {
        for index in self.kin.of(suspicion, &self.wiring.settings.tokens, now) {
            self.agenda.bring_forward(now, index);
        }
    }

    /// A cron bell: every token that follows it is due, each at its own moment within the spread.
    fn ring(&mut self, now: Timestamp) {
        debug!("the bell rang");
        for (index, token) in self.wiring.settings.tokens.iter().enumerate() {
            if let Rhythm::OnBell { .. } = token.spec.rhythm {
                self.agenda.push(cadence::after_bell(&token.spec.id, token.spec.rhythm, now), index);
            }
        }
    }

    /// A clock that moved back leaves wakes far in the future; they are brought back within a period.
    fn notice_clock_jump(&mut self, now: Timestamp) {
        if now.plus(CLOCK_SLACK) < self.last_now {
            warn!(from = %self.last_now, to = %now, "the clock moved back; planning anew");
            for (index, token) in self.wiring.settings.tokens.iter().enumerate() {
                let bound = now.plus(token.spec.rhythm.retry_bound());
                self.agenda.bring_forward(cadence::regular(&token.spec.id, token.spec.rhythm, now).min(bound), index);
            }
            self.courtesy.clock_moved_back(now);
            if let Some(trouble) = &mut self.store_trouble {
                trouble.retry_at = trouble.retry_at.min(now);
            }
            self.pass_began = now;
        }
        self.last_now = now;
    }
}

/// A run that begins is put into the journal with nothing sealed yet.
fn begun(run: Option<Run>) -> JournalChange {
    run.map_or(JournalChange::None, |run| JournalChange::Begin(Journaled { run, sealed: Sealed::new() }))
}

/// What was asked beside the token's own facts, with the share of a budget that it has used.
fn beside_of(seen: &Seen) -> Option<(Box<Beside>, f64)> {
    let Observation::Checked(outcome) = &seen.observation else { return None };
    let usage = seen.telemetry.iter().flat_map(|(_, beside)| &beside.usage).map(|(_, used)| *used);
    Some((outcome.beside.clone()?, usage.fold(0.0, f64::max)))
}

/// Whose budget a question about this token uses up.
fn budget_of(spec: &TokenSpec) -> Subject {
    match &spec.app {
        Some(app) => Subject::App(app.clone()),
        None => Subject::Token(spec.id.clone()),
    }
}

/// The next check that comes back; never, while none is under way.
async fn next(flying: &mut JoinSet<Seen>) -> Option<Seen> {
    match flying.join_next().await {
        Some(Ok(seen)) => Some(seen),
        // Only a reload aborts checks, and it plans everything anew.
        Some(Err(_)) => None,
        None => std::future::pending().await,
    }
}

/// An error is logged where it is handled, and again only when its text changes.
fn log_step(token: &str, before: Option<&CheckError>, step: &Step) {
    match (&step.status.last_error, before) {
        (Some(now), Some(then)) if now == then || now.reason() == then.reason() => {}
        (Some(failure), _) => warn!(token, reason = failure.reason(), error = %failure, "the check failed"),
        (None, Some(_)) => info!(token, verdict = step.judgement.verdict.as_str(), "checks work again"),
        (None, None) => debug!(token, verdict = step.judgement.verdict.as_str(), "checked"),
    }
    for notice in &step.notices {
        info!(
            token,
            verdict = step.judgement.verdict.as_str(),
            finding = notice.reason.as_str(),
            severity = notice.severity.as_str(),
            why = notice.why.as_str(),
            "notice"
        );
    }
}

fn log_notices(subject: &Subject, notices: &[Notice]) {
    for notice in notices {
        let (finding, severity, why) = (notice.reason.as_str(), notice.severity.as_str(), notice.why.as_str());
        info!(subject = %subject, finding, severity, why, "notice");
    }
}

/// Why a secret that a person brings cannot be put in place.
pub const NO_PLACE: &str = "there is no place to put it: name one with publish in [tokens.replace] or [tokens.renew]";
/// Results committed in one transaction, at most.
const BATCH: usize = 500;
/// Statuses read at once when starting.
const LOAD_CHUNK: usize = 1_000;
/// After a failed commit the store is tried again this much later, then ever later.
const STORE_RETRY: Span = Span::seconds(10);
const LONGEST_STORE_RETRY: Span = Span::minutes(5);
/// Whose trouble with the store it is.
const PART: &str = "watch";
/// Smaller steps back are the work of NTP and change no plan.
const CLOCK_SLACK: Span = Span::seconds(5);
