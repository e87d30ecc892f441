//! The outbox loop: folds pending notices into messages, sends them, and settles what left.
//!
//! A message is sealed in the store before it is sent, so a crash in between sends the same message again under the same id, never
//! another one. What certainly did not leave is opened again, to be folded with what came since. Nothing leaves the outbox undelivered.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::wiring::Wiring;
use crate::board::Board;
use crate::domain::digest::{self, Bundle};
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
}

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
                Ok(next) => next,
                Err(failure) => {
                    if self.board.vitals.store_is(Some(failure.to_string())) {
                        error!(error = %failure, "could not read the outbox; nothing is lost, trying again");
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
                match setbacks.until(parcel.sealed.as_deref().unwrap_or_default(), now).filter(|_| !stopping) {
                    Some(until) => next = earliest(next, Some(until)),
                    None => parcels.push(parcel),
                }
            }
            let under_way = self.board.vitals.in_flight() > 0;
            match digest::send_at(open.iter().map(|row| &row.notice), under_way) {
                // A notice "made" in the future was made before the clock moved back; it has waited long enough.
                Some(at) if at > now && at <= now.plus(digest::FOLD_WINDOW) && !stopping => {
                    next = earliest(next, Some(at));
                }
                Some(_) => parcels.extend(parcel(&receiver, open, None)),
                None => {}
            }
            if !parcels.is_empty() {
                post.push((receiver, parcels));
            }
        }
        // Receivers do not wait for each other; the messages of one receiver keep their order.
        let sent = join_all(post.into_iter().map(|(receiver, parcels)| self.send_all(wiring, receiver, parcels))).await;
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
                Sent::Perhaps(message) => waiting.push(message),
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
        let Some(channel) = reachable(wiring, receiver) else {
            warn!(receiver = %receiver, notices, "nobody is reached: the receiver has no address");
            self.counters.failed("mail", notices);
            self.store.settle(parcel.rows, self.settlement("none")).await?;
            return Ok(Sent::Yes);
        };
        let message = if let Some(message) = parcel.sealed {
            message
        } else {
            let message: Arc<str> = Arc::from(channel.message_id(&parcel.bundle));
            self.store.seal(parcel.rows.clone(), Arc::clone(&message)).await?;
            message
        };
        match channel.deliver(&parcel.bundle, &message).await {
            Ok(delivery) => {
                self.store.settle(parcel.rows, self.settlement(channel.name())).await?;
                self.counters.delivered(channel.name(), notices);
                self.counters.failed(channel.name(), u64::try_from(delivery.failures.len()).unwrap_or(u64::MAX));
                self.board.vitals.mail_is(delivery.failures.first().cloned());
                for failure in &delivery.failures {
                    warn!(receiver = %receiver, failure, "delivered, but not without trouble");
                }
                info!(receiver = %receiver, notices, message = &*message, "delivered");
                Ok(Sent::Yes)
            }
            Err(failure) => {
                self.counters.failed(channel.name(), 1);
                if self.board.vitals.mail_is(Some(failure.to_string())) {
                    error!(receiver = %receiver, notices, error = %failure, "could not deliver; keeping it and trying again");
                }
                match failure {
                    DeliveryError::Unknown(_) => Ok(Sent::Perhaps(message)),
                    DeliveryError::NotSent(text) => {
                        self.store.reopen(parcel.rows, text).await?;
                        Ok(Sent::No)
                    }
                }
            }
        }
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

/// The channel of a receiver, where it has somebody to reach.
fn reachable<'a>(wiring: &'a Wiring, receiver: &ReceiverName) -> Option<&'a Arc<dyn Channel>> {
    let known = wiring.settings.receivers.get(receiver)?;
    let somebody = !known.email.is_empty() || known.escalate.as_ref().is_some_and(|added| !added.email.is_empty());
    wiring.mail.as_ref().filter(|_| somebody)
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

/// 2 s, 4 s, 8 s …, at most the configured bound.
fn backoff(failures: u32, bound: Span) -> Span {
    let doubled = 1_i64.checked_shl(failures.min(30)).unwrap_or(i64::MAX);
    Span::seconds(doubled).min(bound).max(Span::seconds(1))
}

/// More than this is sent in the next pass; it bounds the memory that a flood takes.
const MOST_ROWS: usize = 20_000;
/// A setback that was not renewed for this long is over: its message left.
const FORGOTTEN_AFTER: Span = Span::hours(1);
/// With nothing to do the outbox is looked at this often all the same.
const IDLE: Span = Span::minutes(5);
/// The bound of retries where no mail is configured.
const DEFAULT_RETRY: Span = Span::minutes(1);
const STORE_RETRY: Span = Span::seconds(10);
/// Deliveries are remembered for a year.
const HISTORY: Span = Span::days(365);
