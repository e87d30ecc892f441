//! The outbox loop: looks up the ways of new notices, folds what waits in each lane into messages, and has them sent.
//!
//! A lane is one way to one receiver. Each is held back, paced, sent and retried on its own, so that one that fails or hangs never holds up
//! another. Nothing leaves the outbox undelivered.

use std::collections::{BTreeSet, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::courier::{Courier, Parcel, Run};
use super::wiring::Wiring;
use crate::channel::whatsapp::is_about_the_sender;
use crate::domain::alert::{Notice, NotifyReason, Subject};
use crate::domain::digest::{self, Bundle};
use crate::domain::finding::{Reason, Severity};
use crate::domain::route::{ChannelKind, Route};
use crate::domain::time::{Span, Timestamp};
use crate::domain::token::ReceiverName;
use crate::domain::verdict::earliest;
use crate::domain::watcher::OVERDUE_AFTER;
use crate::ports::{Lane, LaneSummary, OutboxRow, Settlement, StoreError};
use crate::settings::Receiver;

/// The parts that the loop works with.
pub struct Outbox {
    /// Who sends.
    pub courier: Arc<Courier>,
    /// The configuration in force.
    pub wiring: watch::Receiver<Arc<Wiring>>,
    /// Told when there is something to deliver.
    pub nudge: Arc<Notify>,
    /// The end.
    pub stop: CancellationToken,
}

/// What the loop remembers. All of it can be forgotten: the store knows what waits, and when what left.
#[derive(Default)]
struct Memory {
    wiring: Option<Arc<Wiring>>,
    lanes: HashMap<Lane, Traffic>,
    /// The last attempt to write to the store failed.
    cannot_write: bool,
    sending: JoinSet<(Lane, Result<Run, StoreError>)>,
}

/// How a lane fares.
#[derive(Default)]
struct Traffic {
    /// A message is on its way.
    busy: bool,
    /// Nothing gets through.
    closed: Option<Setback>,
    /// Single messages that may have left.
    doubtful: HashMap<Arc<str>, Setback>,
    /// When messages left of late; `None` before the store was asked.
    sent: Option<Vec<Timestamp>>,
}

/// What a pass found when it began.
#[derive(Clone, Copy)]
struct Moment {
    /// Checks are under way, so more of the same may follow at once.
    under_way: bool,
    /// It is the last pass.
    stopping: bool,
}

/// How often something failed in a row, when it last did, and when it is tried again.
#[derive(Clone, Copy)]
struct Setback {
    failures: u32,
    failed_at: Timestamp,
    retry_at: Timestamp,
}

impl Setback {
    /// One more failure than `before`.
    fn after(before: Option<Self>, now: Timestamp, bound: Span) -> Self {
        let failures = before.map_or(0, |setback| setback.failures).saturating_add(1);
        Self { failures, failed_at: now, retry_at: now.plus(backoff(failures, bound)) }
    }

    /// One more, after which it waits so long, and not a little less at first.
    fn waiting(before: Option<Self>, now: Timestamp, wait: Span) -> Self {
        Self { retry_at: now.plus(wait), ..Self::after(before, now, wait) }
    }

    /// Until when it waits. After the clock moved back it does not wait for a time that may be months away.
    fn until(self, now: Timestamp) -> Option<Timestamp> {
        Some(self.retry_at).filter(|at| *at > now && self.failed_at <= now)
    }
}

impl Outbox {
    /// Delivers until told to stop; then makes one last pass.
    pub async fn run(mut self) {
        let mut memory = Memory::default();
        loop {
            let stopping = self.stop.is_cancelled();
            let wiring = Arc::clone(&self.wiring.borrow_and_update());
            if !memory.wiring.as_ref().is_some_and(|known| Arc::ptr_eq(known, &wiring)) {
                memory.heed(&wiring);
                self.courier.board.vitals.keep_ways(|way| every_way(&wiring).any(|known| known == way));
            }
            let next = match self.pass(&wiring, &mut memory, stopping).await {
                Ok(next) => {
                    // Reading works. Whether writing does is seen when something is sealed.
                    if !memory.cannot_write {
                        self.courier.board.vitals.store_is(PART, None);
                    }
                    next
                }
                Err(failure) => Some(self.store_failed(&failure)),
            };
            if stopping {
                while let Some(done) = memory.sending.join_next().await {
                    self.absorb(&wiring, &mut memory, done);
                }
                return;
            }
            let now = self.courier.clock.now();
            let sleep = next.map_or(IDLE, |at| at.since(now).max(Span::ZERO).min(IDLE));
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = self.nudge.notified() => {}
                Some(done) = memory.sending.join_next() => self.absorb(&wiring, &mut memory, done),
                _ = self.wiring.changed() => {}
                () = self.courier.clock.sleep(sleep) => {}
            }
        }
    }

    /// Sends what is due; says when something else will be.
    async fn pass(
        &self,
        wiring: &Arc<Wiring>,
        memory: &mut Memory,
        stopping: bool,
    ) -> Result<Option<Timestamp>, StoreError> {
        let now = self.courier.clock.now();
        // Asked before anything is read: what is under way now may be missing from it.
        let under_way = self.courier.board.vitals.in_flight() > 0;
        let mut lanes = self.courier.store.lanes(now.minus(OVERDUE_AFTER)).await?;
        if self.route(wiring, memory, &lanes, now).await? {
            lanes = self.courier.store.lanes(now.minus(OVERDUE_AFTER)).await?;
        }
        memory.lanes.retain(|lane, traffic| traffic.busy || lanes.iter().any(|known| known.lane == *lane));
        let mut next = None;
        for summary in lanes.iter().filter(|summary| summary.lane.route.is_some()) {
            let traffic = memory.lanes.entry(summary.lane.clone()).or_default();
            if traffic.busy {
                continue;
            }
            if let Some(until) = traffic.closed.and_then(|setback| setback.until(now)).filter(|_| !stopping) {
                next = earliest(next, Some(until));
                continue;
            }
            let (parcels, later) =
                self.due(wiring, traffic, &lanes, &summary.lane, Moment { under_way, stopping }).await?;
            next = earliest(next, later);
            if !parcels.is_empty() {
                traffic.busy = true;
                let (courier, wiring, lane) = (Arc::clone(&self.courier), Arc::clone(wiring), summary.lane.clone());
                memory.sending.spawn(async move {
                    // A fault inside one channel closes its lane for a while, and no other.
                    let run = AssertUnwindSafe(courier.run(&wiring, &lane, parcels)).catch_unwind().await;
                    let run = run.unwrap_or_else(|_| Ok(Run { closed: true, ..Run::default() }));
                    (lane, run)
                });
            }
        }
        Ok(next)
    }

    /// Looks up the ways of notices that have none yet, or whose way is gone from the configuration; true when something moved.
    async fn route(
        &self,
        wiring: &Wiring,
        memory: &Memory,
        lanes: &[LaneSummary],
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut moved = false;
        // What is on its way stays in its lane until it is known what became of it.
        let busy = |lane: &Lane| memory.lanes.get(lane).is_some_and(|traffic| traffic.busy);
        for summary in lanes.iter().filter(|summary| !busy(&summary.lane)) {
            if !wiring.kinds_of(&summary.lane).is_empty() {
                continue;
            }
            let receiver = &summary.lane.receiver;
            let known = wiring.settings.receivers.get(receiver);
            let rows = self.courier.store.pending(summary.lane.clone(), MOST_ROWS).await?;
            let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
            let ways: Vec<Lane> = match known {
                Some(known) if known.routes().is_empty() => {
                    // This receiver is there and wants nothing.
                    self.courier.store.settle(ids, Settlement { at: now, channel: "none" }).await?;
                    moved = true;
                    continue;
                }
                Some(_) => ways_of(wiring, receiver).collect(),
                None => self.heirs(wiring, receiver, &rows),
            };
            if ways.is_empty() {
                // So that the watcher notices that these reach nobody.
                let new = rows.iter().filter(|row| row.failure.is_none()).map(|row| row.id).collect::<Vec<_>>();
                if !new.is_empty() {
                    self.courier.store.failed(new, NOBODY_LEFT.to_owned(), false, now).await?;
                }
            }
            if !ways.is_empty() && !ids.is_empty() {
                self.courier.store.assign(ids, ways, now).await?;
                moved = true;
            }
        }
        Ok(moved)
    }

    /// Who hears instead of a receiver that is gone: those who are told of its subjects now, else everybody. With nobody left it waits.
    fn heirs(&self, wiring: &Wiring, gone: &ReceiverName, rows: &[OutboxRow]) -> Vec<Lane> {
        let reachable = |name: &&ReceiverName| ways_of(wiring, name).next().is_some();
        let told = rows.iter().flat_map(|row| wiring.told_of(&row.notice.subject).iter());
        let mut heirs: BTreeSet<&ReceiverName> = told.filter(reachable).collect();
        if heirs.is_empty() {
            heirs = wiring.settings.receivers.keys().filter(reachable).collect();
        }
        let trouble = heirs.is_empty().then(|| NOBODY_LEFT.to_owned());
        let nobody = trouble.is_some();
        if self.courier.board.vitals.way_is(gone.as_str(), trouble) && nobody {
            error!(receiver = %gone, "the receiver is gone and there is nobody else to tell; keeping its notices");
        } else if !nobody && !rows.is_empty() {
            warn!(receiver = %gone, heirs = heirs.len(), "the receiver is gone; its notices go to others");
        }
        heirs.into_iter().flat_map(|name| ways_of(wiring, name)).collect()
    }

    /// The messages of a lane that are to leave now, in order, and when others will be.
    async fn due(
        &self,
        wiring: &Wiring,
        traffic: &mut Traffic,
        lanes: &[LaneSummary],
        lane: &Lane,
        Moment { under_way, stopping }: Moment,
    ) -> Result<(Vec<Parcel>, Option<Timestamp>), StoreError> {
        let now = self.courier.clock.now();
        let quiet = quiet_until(wiring, lane, now);
        let rows = match quiet {
            // What is held is not even read: among twenty thousand milder ones the critical one must be found.
            Some((_, except)) => self.courier.store.urgent(lane.clone(), except, MOST_ROWS).await?,
            None => self.courier.store.pending(lane.clone(), MOST_ROWS).await?,
        };
        let rows = self.past_the_sender(wiring, lane, rows).await?;
        let (sealed, open): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.message.is_some());
        let (mut parcels, mut next) = (Vec::new(), None);
        for parcel in sealed_parcels(lane, sealed) {
            let in_doubt = parcel.sealed.as_ref().filter(|message| !self.courier.has_left(lane, message));
            let doubt = in_doubt.and_then(|message| traffic.doubt(lane, message, now)?.until(now));
            match doubt.filter(|_| !stopping || is_doubled_by_a_try(lane)) {
                Some(until) => next = earliest(next, Some(until)),
                None => parcels.push(parcel),
            }
        }
        next = earliest(next, quiet.map(|(until, _)| until));
        // A test is neither folded with others nor paced: it would not try the way alone, or use up what a real notice needs.
        let (tests, open): (Vec<_>, Vec<_>) = open.into_iter().partition(|row| row.notice.reason == Reason::Test);
        parcels.extend(parcel(lane, tests, None));
        let folded = fold_until(wiring, lane, &open, under_way, now).map(|at| if stopping { now } else { at });
        let allowed = match folded {
            Some(at) if at <= now => self.allowed(traffic, lane, &open, now).await?,
            later => later,
        };
        match allowed {
            Some(at) if at > now => next = earliest(next, Some(at)),
            Some(_) => {
                // What WhatsApp refuses to carry must not keep it from carrying the rest.
                let refused = |row: &OutboxRow| is_about_the_sender(&wiring.settings, &lane.receiver, &row.notice);
                let (about, rest): (Vec<_>, Vec<_>) =
                    open.into_iter().partition(|row| uses_whatsapp(wiring, lane) && refused(row));
                parcels.extend(parcel(lane, rest, None));
                parcels.extend(parcel(lane, about, None));
            }
            None => {}
        }
        let others = troubles(lanes, lane);
        for parcel in &mut parcels {
            parcel.bundle.troubles.extend(others.iter().cloned());
        }
        Ok((parcels, next))
    }

    /// A notice about the very token that it would be sent with goes by the other channels only; there are others, the configuration sees to that.
    async fn past_the_sender(
        &self,
        wiring: &Wiring,
        lane: &Lane,
        rows: Vec<OutboxRow>,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        if wiring.kinds_of(lane).as_slice() != [ChannelKind::WhatsApp] {
            return Ok(rows);
        }
        let about = |row: &OutboxRow| is_about_the_sender(&wiring.settings, &lane.receiver, &row.notice);
        let (past, rows): (Vec<_>, Vec<_>) = rows.into_iter().partition(about);
        if !past.is_empty() {
            let ids = past.iter().map(|row| row.id).collect();
            let nobody = Settlement { at: self.courier.clock.now(), channel: "none" };
            self.courier.store.settle(ids, nobody).await?;
        }
        Ok(rows)
    }

    /// When the next message may leave, by what left before.
    async fn allowed(
        &self,
        traffic: &mut Traffic,
        lane: &Lane,
        open: &[OutboxRow],
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        if !lane.route.is_some_and(Route::is_read_by_people) {
            return Ok(Some(now));
        }
        let sent = match &mut traffic.sent {
            Some(sent) => sent,
            None => {
                let since = now.minus(Span::seconds(digest::REFILL.as_seconds() * digest::BURST));
                traffic.sent.insert(self.courier.store.messages(lane.clone(), since).await?)
            }
        };
        // What was sent "in the future" was sent before the clock moved back.
        sent.retain(|at| *at <= now);
        let critical = open.iter().any(|row| row.notice.severity == Severity::Critical);
        Ok(Some(digest::paced(sent, critical, now)))
    }

    /// Takes in how a lane's messages fared.
    fn absorb(
        &self,
        wiring: &Wiring,
        memory: &mut Memory,
        done: Result<(Lane, Result<Run, StoreError>), tokio::task::JoinError>,
    ) {
        let now = self.courier.clock.now();
        // Tasks are neither aborted nor can they panic.
        let Ok((lane, run)) = done else { return };
        let bound = wiring.settings.smtp.as_ref().map_or(DEFAULT_RETRY, |smtp| smtp.retry);
        let is_doubled = is_doubled_by_a_try(&lane);
        let traffic = memory.lanes.entry(lane).or_default();
        traffic.busy = false;
        match run {
            Ok(run) => {
                memory.cannot_write = false;
                traffic.closed = run.closed.then(|| Setback::after(traffic.closed, now, bound));
                for message in run.doubtful {
                    let before = traffic.doubtful.get(&message).copied();
                    let doubt = if is_doubled {
                        Setback::waiting(before, now, WHATSAPP_DOUBT)
                    } else {
                        Setback::after(before, now, bound)
                    };
                    traffic.doubtful.insert(message, doubt);
                }
                traffic.doubtful.retain(|_, doubt| now.since(doubt.retry_at) < FORGOTTEN_AFTER);
                let sent = traffic.sent.get_or_insert_default();
                sent.extend(std::iter::repeat_n(now, run.sent));
                sent.drain(..sent.len().saturating_sub(digest::PACE_MEMORY));
            }
            Err(failure) => {
                memory.cannot_write = true;
                let retry_at = self.store_failed(&failure);
                traffic.closed = Some(Setback { failures: 0, failed_at: now, retry_at });
            }
        }
    }

    /// Notes that the store failed; says when it is tried again.
    fn store_failed(&self, failure: &StoreError) -> Timestamp {
        if self.courier.board.vitals.store_is(PART, Some(failure.to_string())) {
            error!(error = %failure, "the outbox cannot be worked on; nothing is lost, trying again");
        }
        self.courier.clock.now().plus(STORE_RETRY)
    }
}

impl Traffic {
    /// What is known of a message that may have left. One that this process knows nothing of was sealed by another, which may have sent it.
    fn doubt(&mut self, lane: &Lane, message: &Arc<str>, now: Timestamp) -> Option<Setback> {
        if is_doubled_by_a_try(lane) {
            let sealed_before = || Setback::waiting(None, now, WHATSAPP_DOUBT);
            return Some(*self.doubtful.entry(Arc::clone(message)).or_insert_with(sealed_before));
        }
        self.doubtful.get(message).copied()
    }
}

impl Memory {
    /// Another configuration may have opened what was closed.
    fn heed(&mut self, wiring: &Arc<Wiring>) {
        self.wiring = Some(Arc::clone(wiring));
        for (lane, traffic) in &mut self.lanes {
            traffic.closed = None;
            if !is_doubled_by_a_try(lane) {
                traffic.doubtful.clear();
            }
        }
    }
}

/// Whether a message that may have arrived is a second message when it is sent again: WhatsApp knows no ids of ours.
fn is_doubled_by_a_try(lane: &Lane) -> bool {
    lane.route == Some(Route::By(ChannelKind::WhatsApp))
}

/// The lanes by which a receiver gets every notice.
fn ways_of<'a>(wiring: &'a Wiring, receiver: &'a ReceiverName) -> impl Iterator<Item = Lane> + use<'a> {
    let routes = wiring.settings.receivers.get(receiver).map(Receiver::routes).unwrap_or_default();
    routes.into_iter().map(|route| Lane { receiver: receiver.clone(), route: Some(route) })
}

/// Until when the lane's receiver wants quiet, and from which severity on it is disturbed all the same.
fn quiet_until(wiring: &Wiring, lane: &Lane, now: Timestamp) -> Option<(Timestamp, Severity)> {
    let hours = wiring.settings.receivers.get(&lane.receiver)?.quiet_hours?;
    lane.route.filter(|route| route.is_read_by_people())?;
    let until = wiring.settings.daemon.zone.quiet_until(hours.from, hours.to, now)?;
    Some((until, hours.except))
}

fn uses_whatsapp(wiring: &Wiring, lane: &Lane) -> bool {
    wiring.kinds_of(lane).contains(&ChannelKind::WhatsApp)
}

/// The names of all ways that a configuration has.
fn every_way(wiring: &Wiring) -> impl Iterator<Item = String> {
    wiring.settings.receivers.keys().flat_map(|receiver| ways_of(wiring, receiver)).map(|lane| lane.to_string())
}

/// Rows that were about to be sent before, grouped as they were.
fn sealed_parcels(lane: &Lane, rows: Vec<OutboxRow>) -> Vec<Parcel> {
    let mut groups: Vec<(Arc<str>, Vec<OutboxRow>)> = Vec::new();
    let mut places: HashMap<Arc<str>, usize> = HashMap::new();
    for row in rows {
        let Some(message) = row.message.clone() else { continue };
        let place = *places.entry(Arc::clone(&message)).or_insert_with(|| {
            groups.push((message, Vec::new()));
            groups.len() - 1
        });
        groups[place].1.push(row);
    }
    groups.into_iter().filter_map(|(message, rows)| parcel(lane, rows, Some(message))).collect()
}

fn parcel(lane: &Lane, rows: Vec<OutboxRow>, sealed: Option<Arc<str>>) -> Option<Parcel> {
    let ids = rows.iter().map(|row| row.id).collect();
    let failures: BTreeSet<String> = rows.iter().filter_map(|row| row.failure.clone()).collect();
    let mut bundle = Bundle::new(lane.receiver.clone(), rows.into_iter().map(|row| row.notice).collect())?;
    bundle.troubles = failures.into_iter().take(MOST_TROUBLES).collect();
    Some(Parcel { rows: ids, bundle, sealed })
}

/// What does not get through elsewhere, in words.
fn troubles(lanes: &[LaneSummary], own: &Lane) -> Vec<String> {
    let others = lanes.iter().filter(|other| other.lane != *own);
    let words = |other: &LaneSummary| {
        let (since, failure) = other.tried.as_ref()?;
        Some(format!("{}: {} notices wait, the oldest since {since}: {failure}", other.lane, other.waiting))
    };
    others.filter_map(words).take(MOST_TROUBLES).collect()
}

/// When the open notices of one lane should go out.
fn fold_until(wiring: &Wiring, lane: &Lane, open: &[OutboxRow], under_way: bool, now: Timestamp) -> Option<Timestamp> {
    let notices = || open.iter().map(|row| &row.notice);
    let read = lane.route.is_some_and(Route::is_read_by_people);
    let patience = |notice: &Notice| patience(wiring, notice).filter(|_| read);
    let prompt = digest::send_at(notices().filter(|notice| patience(notice).is_none()), under_way);
    // A notice "made" in the future was made before the clock moved back; it has waited long enough.
    let prompt = prompt.map(|at| if at > now.plus(digest::FLOOD_WINDOW) { now } else { at });
    let patient = notices().filter_map(|notice| Some(notice.at.min(now).plus(patience(notice)?))).min();
    earliest(prompt, patient)
}

/// How long a notice waits for more of its kind, beyond the window in which all are folded. Tokens that cannot be asked about, and those
/// that can again, show it one by one, each at its own next check: one outage is one mail when that notice waits for a period. After hours
/// without an answer this costs nothing. What is critical never waits.
fn patience(wiring: &Wiring, notice: &Notice) -> Option<Span> {
    let Subject::Token(id) = &notice.subject else { return None };
    let patient = notice.reason == Reason::Blind
        && (notice.why == NotifyReason::Resolved || notice.severity < Severity::Critical);
    let token = wiring.token(id).filter(|_| patient)?;
    Some(token.spec.rhythm.retry_bound().min(LONGEST_PATIENCE).max(digest::FOLD_WINDOW))
}

/// 2 s, 4 s, 8 s …, at most the configured bound.
fn backoff(failures: u32, bound: Span) -> Span {
    let doubled = 1_i64.checked_shl(failures.min(30)).unwrap_or(i64::MAX);
    Span::seconds(doubled).min(bound).max(Span::seconds(1))
}

/// No notice waits longer than this for others of its kind.
const LONGEST_PATIENCE: Span = Span::hours(1);
/// What may have arrived over WhatsApp is sent again after so long at the earliest (docs/alerts.md, promise 45).
const WHATSAPP_DOUBT: Span = Span::hours(1);
/// More than this of one lane is sent in the next pass; it bounds the memory that a flood takes.
const MOST_ROWS: usize = 20_000;
/// A setback that was not renewed for this long is over: its message left.
const FORGOTTEN_AFTER: Span = Span::hours(1);
/// With nothing to do the outbox is looked at this often all the same.
const IDLE: Span = Span::minutes(5);
/// The bound of retries where no mail is configured.
const DEFAULT_RETRY: Span = Span::minutes(1);
const STORE_RETRY: Span = Span::seconds(10);
const NOBODY_LEFT: &str = "it is gone and there is nobody else to tell";
/// Earlier failures that a message names.
const MOST_TROUBLES: usize = 10;
/// Whose trouble with the store it is.
const PART: &str = "outbox";
