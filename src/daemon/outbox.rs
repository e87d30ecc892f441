//! The outbox loop: folds pending notices into messages, sends them, and settles what left.
//!
//! A message is sealed in the store before it is sent, so a crash in between sends the same message again under the same id, never
//! another one. What certainly did not leave is opened again, to be folded with what came since. Nothing leaves the outbox undelivered.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{StreamExt as _, stream};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::wiring::Wiring;
use crate::board::Board;
use crate::domain::alert::{Notice, NotifyReason, Subject};
use crate::domain::digest::{self, Bundle};
use crate::domain::finding::{Reason, Severity};
use crate::domain::time::{Span, Timestamp};
use crate::domain::token::ReceiverName;
use crate::domain::verdict::earliest;
use crate::metrics::Counters;
use crate::ports::{Channel, Clock, DeliveryError, OutboxRow, Settlement, Store, StoreError};

/// The parts that the loop works with.
pub struct Outbox {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What is durable.
    pub store: Arc<dyn Store>,
    /// Where troubles are shown.
    pub board: Arc<Board>,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// The configuration in force.
    pub wiring: watch::Receiver<Arc<Wiring>>,
    /// Told when there is something to deliver.
    pub nudge: Arc<Notify>,
    /// The end.
    pub stop: CancellationToken,
    /// Messages that left and could not be noted as delivered yet.
    pub late: Late,
}

/// Messages that left while the store could not write, by receiver and message. They are not sent again by this process.
pub type Late = Mutex<HashMap<(ReceiverName, Arc<str>), Settlement>>;

/// One message and the rows it carries.
struct Parcel {
    rows: Vec<i64>,
    bundle: Bundle,
    sealed: Option<Arc<str>>,
}

/// How a message fared.
enum Sent {
    /// It left, or there is nobody to reach.
    Yes,
    /// It certainly did not: the way to this receiver is closed.
    No,
    /// It may have: only this message waits, the way itself may be open.
    Perhaps(Arc<str>),
}

/// What waits after a failure: a receiver to whom nothing gets through, or a single message.
#[derive(Default)]
struct Setbacks(HashMap<Arc<str>, Setback>);

/// How often it failed in a row, and when it is tried again.
#[derive(Clone, Copy)]
struct Setback {
    failures: u32,
    retry_at: Timestamp,
}

impl Setbacks {
    /// Until when this waits, if it does.
    fn until(&self, what: &str, now: Timestamp) -> Option<Timestamp> {
        self.0.get(what).map(|setback| setback.retry_at).filter(|at| *at > now)
    }

    /// Notes one more failure; says when the next try is.
    fn note(&mut self, what: Arc<str>, now: Timestamp, bound: Span) -> Timestamp {
        self.0.retain(|_, setback| now.since(setback.retry_at) < FORGOTTEN_AFTER);
        let failures = self.0.get(&what).map_or(0, |setback| setback.failures).saturating_add(1);
        let retry_at = now.plus(backoff(failures, bound));
        self.0.insert(what, Setback { failures, retry_at });
        retry_at
    }
}

impl Outbox {
    /// Delivers until told to stop; then makes one last pass.
    pub async fn run(mut self) {
        let mut setbacks = Setbacks::default();
        let mut pruned_at: Option<Timestamp> = None;
        loop {
            let stopping = self.stop.is_cancelled();
            let wiring = Arc::clone(&self.wiring.borrow_and_update());
            let next = match self.pass(&wiring, &mut setbacks, stopping).await {
                Ok(next) => {
                    self.board.vitals.store_is(PART, None);
                    next
                }
                Err(failure) => {
                    if self.board.vitals.store_is(PART, Some(failure.to_string())) {
                        error!(error = %failure, "the outbox cannot be worked on; nothing is lost, trying again");
                    }
                    Some(self.clock.now().plus(STORE_RETRY))
                }
            };
            if stopping {
                return;
            }
            self.prune(&mut pruned_at).await;
            let now = self.clock.now();
            let sleep = next.map_or(IDLE, |at| at.since(now).max(Span::ZERO).min(IDLE));
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = self.nudge.notified() => {}
                _ = self.wiring.changed() => setbacks = Setbacks::default(),
                () = self.clock.sleep(sleep) => {}
            }
        }
    }

    /// Sends what is due; says when something else will be.
    async fn pass(
        &self,
        wiring: &Wiring,
        setbacks: &mut Setbacks,
        stopping: bool,
    ) -> Result<Option<Timestamp>, StoreError> {
        let rows = self.store.pending(MOST_ROWS).await?;
        let now = self.clock.now();
        let mut next: Option<Timestamp> = None;
        let mut post = Vec::new();
        for (receiver, rows) in digest::by_receiver(rows, |row| &row.receiver) {
            if let Some(until) = setbacks.until(receiver.as_str(), now).filter(|_| !stopping) {
                next = earliest(next, Some(until));
                continue;
            }
            let (sealed, open): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.message.is_some());
            let mut parcels = Vec::new();
            for parcel in sealed_parcels(&receiver, sealed) {
                let letter = letter(&receiver, parcel.sealed.as_deref().unwrap_or_default());
                match setbacks.until(&letter, now).filter(|_| !stopping) {
                    Some(until) => next = earliest(next, Some(until)),
                    None => parcels.push(parcel),
                }
            }
            let under_way = self.board.vitals.in_flight() > 0;
            match fold_until(wiring, &open, under_way, now) {
                Some(at) if at > now && !stopping => next = earliest(next, Some(at)),
                Some(_) => parcels.extend(parcel(&receiver, open, None)),
                None => {}
            }
            if !parcels.is_empty() {
                post.push((receiver, parcels));
            }
        }
        // Receivers do not wait for each other; the messages of one receiver keep their order.
        let sending = post.into_iter().map(|(receiver, parcels)| self.send_all(wiring, receiver, parcels));
        let sent: Vec<_> = stream::iter(sending).buffer_unordered(CONNECTIONS).collect().await;
        let bound = wiring.settings.smtp.as_ref().map_or(DEFAULT_RETRY, |smtp| smtp.retry);
        let now = self.clock.now();
        for result in sent {
            let (receiver, delivered, waiting) = result?;
            if delivered {
                setbacks.0.remove(receiver.as_str());
            }
            for what in waiting {
                next = earliest(next, Some(setbacks.note(what, now, bound)));
            }
        }
        Ok(next)
    }

    /// Sends one receiver's messages in order. What has to wait is named: the receiver, when nothing gets through; a message, when only it
    /// is in doubt.
    async fn send_all(
        &self,
        wiring: &Wiring,
        receiver: ReceiverName,
        parcels: Vec<Parcel>,
    ) -> Result<(ReceiverName, bool, Vec<Arc<str>>), StoreError> {
        let mut waiting = Vec::new();
        let mut delivered = false;
        for parcel in parcels {
            match self.send(wiring, parcel).await? {
                Sent::Yes => delivered = true,
                Sent::Perhaps(message) => waiting.push(letter(&receiver, &message)),
                Sent::No => {
                    waiting.push(Arc::from(receiver.as_str()));
                    return Ok((receiver, false, waiting));
                }
            }
        }
        Ok((receiver, delivered, waiting))
    }

    /// Seals, sends and settles one message.
    async fn send(&self, wiring: &Wiring, parcel: Parcel) -> Result<Sent, StoreError> {
        let receiver = &parcel.bundle.receiver;
        let notices = u64::try_from(parcel.rows.len()).unwrap_or(u64::MAX);
        let channel = match way_to(wiring, receiver) {
            Way::Open(channel) => channel,
            Way::Nobody => {
                self.store.settle(parcel.rows, self.settlement("none")).await?;
                return Ok(Sent::Yes);
            }
            Way::Gone => return self.reroute(wiring, parcel).await,
        };
        // Sealed before this attempt: an earlier one, perhaps of a process that died, may have got through.
        let may_have_left = parcel.sealed.is_some();
        let message = parcel.sealed.unwrap_or_else(|| Arc::from(channel.message_id(&parcel.bundle)));
        let letter = (receiver.clone(), Arc::clone(&message));
        let late = self.late().get(&letter).cloned();
        if let Some(settlement) = late {
            self.store.settle(parcel.rows, settlement).await?;
            self.late().remove(&letter);
            return Ok(Sent::Yes);
        }
        self.store.seal(parcel.rows.clone(), Arc::clone(&message)).await?;
        match channel.deliver(&parcel.bundle, &message).await {
            Ok(delivery) if delivery.addresses == 0 => {
                self.store.settle(parcel.rows, self.settlement("none")).await?;
                Ok(Sent::Yes)
            }
            Ok(delivery) => {
                self.counters.delivered(channel.name(), notices);
                self.counters.failed(channel.name(), u64::try_from(delivery.failures.len()).unwrap_or(u64::MAX));
                self.board.vitals.mail_is(receiver, delivery.failures.first().cloned());
                for failure in &delivery.failures {
                    warn!(receiver = %receiver, failure, "delivered, but not without trouble");
                }
                info!(receiver = %receiver, notices, message = &*message, "delivered");
                let settlement = self.settlement(channel.name());
                if let Err(failure) = self.store.settle(parcel.rows, settlement.clone()).await {
                    self.late().insert(letter, settlement);
                    return Err(failure);
                }
                Ok(Sent::Yes)
            }
            Err(failure) => {
                self.counters.failed(channel.name(), 1);
                if self.board.vitals.mail_is(receiver, Some(failure.to_string())) {
                    error!(receiver = %receiver, notices, error = %failure, "could not deliver; keeping it and trying again");
                }
                match failure {
                    DeliveryError::Unknown(_) => Ok(Sent::Perhaps(message)),
                    DeliveryError::NotSent(_) if may_have_left => Ok(Sent::No),
                    DeliveryError::NotSent(text) => {
                        self.store.reopen(parcel.rows, text).await?;
                        Ok(Sent::No)
                    }
                }
            }
        }
    }

    /// Hands what waits for a receiver that is gone to those who are told of its subjects now, else to everybody. With nobody left it waits.
    async fn reroute(&self, wiring: &Wiring, parcel: Parcel) -> Result<Sent, StoreError> {
        let gone = parcel.bundle.receiver;
        let reachable = |name: &&ReceiverName| matches!(way_to(wiring, name), Way::Open(_));
        let mut heirs: BTreeSet<ReceiverName> = parcel
            .bundle
            .notices
            .iter()
            .flat_map(|notice| wiring.told_of(&notice.subject).iter())
            .filter(reachable)
            .cloned()
            .collect();
        if heirs.is_empty() {
            heirs = wiring.settings.receivers.keys().filter(reachable).cloned().collect();
        }
        if heirs.is_empty() {
            let trouble = format!("the receiver {gone} is gone and there is nobody else to tell");
            if self.board.vitals.mail_is(&gone, Some(trouble)) {
                error!(receiver = %gone, "the receiver is gone and there is nobody else to tell; keeping its notices");
            }
            return Ok(Sent::No);
        }
        warn!(receiver = %gone, heirs = heirs.len(), "the receiver is gone; its notices go to others");
        self.store.reroute(parcel.rows, heirs.into_iter().collect(), self.clock.now()).await?;
        self.board.vitals.mail_is(&gone, None);
        self.nudge.notify_one();
        Ok(Sent::Yes)
    }

    /// The map holds whole entries only, so a poisoned lock is as good as any.
    fn late(&self) -> MutexGuard<'_, HashMap<(ReceiverName, Arc<str>), Settlement>> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settlement(&self, channel: &'static str) -> Settlement {
        Settlement { at: self.clock.now(), channel }
    }

    /// Once a day, what was delivered more than a year ago is forgotten.
    async fn prune(&self, pruned_at: &mut Option<Timestamp>) {
        let now = self.clock.now();
        if pruned_at.is_some_and(|at| now.since(at) < Span::days(1)) {
            return;
        }
        *pruned_at = Some(now);
        if let Err(failure) = self.store.prune(now.minus(HISTORY)).await {
            warn!(error = %failure, "could not forget old deliveries");
        }
    }
}

/// The way to a receiver.
enum Way<'a> {
    /// By this channel.
    Open(&'a Arc<dyn Channel>),
    /// The configuration gives it no address: nobody wants to be told.
    Nobody,
    /// The configuration does not know it any more.
    Gone,
}

fn way_to<'a>(wiring: &'a Wiring, receiver: &ReceiverName) -> Way<'a> {
    let Some(known) = wiring.settings.receivers.get(receiver) else { return Way::Gone };
    let somebody = !known.email.is_empty() || known.escalate.as_ref().is_some_and(|added| !added.email.is_empty());
    wiring.mail.as_ref().filter(|_| somebody).map_or(Way::Nobody, Way::Open)
}

/// Rows that were about to be sent when the process ended, grouped as they were.
fn sealed_parcels(receiver: &ReceiverName, rows: Vec<OutboxRow>) -> Vec<Parcel> {
    let mut groups: Vec<(Arc<str>, Vec<OutboxRow>)> = Vec::new();
    for row in rows {
        let Some(message) = row.message.clone() else { continue };
        match groups.iter_mut().find(|(known, _)| *known == message) {
            Some((_, group)) => group.push(row),
            None => groups.push((message, vec![row])),
        }
    }
    groups.into_iter().filter_map(|(message, rows)| parcel(receiver, rows, Some(message))).collect()
}

fn parcel(receiver: &ReceiverName, rows: Vec<OutboxRow>, sealed: Option<Arc<str>>) -> Option<Parcel> {
    let ids = rows.iter().map(|row| row.id).collect();
    let bundle = Bundle::new(receiver.clone(), rows.into_iter().map(|row| row.notice).collect())?;
    Some(Parcel { rows: ids, bundle, sealed })
}

/// When the open notices of one receiver should go out.
fn fold_until(wiring: &Wiring, open: &[OutboxRow], under_way: bool, now: Timestamp) -> Option<Timestamp> {
    let notices = || open.iter().map(|row| &row.notice);
    let prompt = digest::send_at(notices().filter(|notice| patience(wiring, notice).is_none()), under_way);
    // A notice "made" in the future was made before the clock moved back; it has waited long enough.
    let prompt = prompt.map(|at| if at > now.plus(digest::FOLD_WINDOW) { now } else { at });
    let patient = notices().filter_map(|notice| Some(notice.at.min(now).plus(patience(wiring, notice)?))).min();
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

/// The same notices have the same message id for every receiver, so a single letter is named by both.
fn letter(receiver: &ReceiverName, message: &str) -> Arc<str> {
    Arc::from(format!("{receiver} {message}"))
}

/// 2 s, 4 s, 8 s …, at most the configured bound.
fn backoff(failures: u32, bound: Span) -> Span {
    let doubled = 1_i64.checked_shl(failures.min(30)).unwrap_or(i64::MAX);
    Span::seconds(doubled).min(bound).max(Span::seconds(1))
}

/// No notice waits longer than this for others of its kind.
const LONGEST_PATIENCE: Span = Span::hours(1);
/// More than this is sent in the next pass; it bounds the memory that a flood takes.
const MOST_ROWS: usize = 20_000;
/// A setback that was not renewed for this long is over: its message left.
const FORGOTTEN_AFTER: Span = Span::hours(1);
/// With nothing to do the outbox is looked at this often all the same.
const IDLE: Span = Span::minutes(5);
/// The bound of retries where no mail is configured.
const DEFAULT_RETRY: Span = Span::minutes(1);
const STORE_RETRY: Span = Span::seconds(10);
/// Conversations with relays at once; many relays allow few from one client.
const CONNECTIONS: usize = 8;
/// Whose trouble with the store it is.
const PART: &str = "outbox";
/// Deliveries are remembered for a year.
const HISTORY: Span = Span::days(365);
