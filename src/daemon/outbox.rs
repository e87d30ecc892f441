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

/// How often delivery to a receiver failed in a row, and when it is tried again.
#[derive(Clone, Copy)]
struct Setback {
    failures: u32,
    retry_at: Timestamp,
}

impl Outbox {
    /// Delivers until told to stop; then makes one last pass.
    pub async fn run(mut self) {
        let mut setbacks: HashMap<ReceiverName, Setback> = HashMap::new();
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
                _ = self.wiring.changed() => setbacks.clear(),
                () = self.clock.sleep(sleep) => {}
            }
        }
    }

    /// Sends what is due; says when something else will be.
    async fn pass(
        &self,
        wiring: &Wiring,
        setbacks: &mut HashMap<ReceiverName, Setback>,
        stopping: bool,
    ) -> Result<Option<Timestamp>, StoreError> {
        let rows = self.store.pending(MOST_ROWS).await?;
        let now = self.clock.now();
        let mut next: Option<Timestamp> = None;
        let mut parcels = Vec::new();
        for (receiver, rows) in digest::by_receiver(rows, |row| &row.receiver) {
            if let Some(setback) = setbacks.get(&receiver)
                && setback.retry_at > now
                && !stopping
            {
                next = earliest(next, Some(setback.retry_at));
                continue;
            }
            let (sealed, open): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.message.is_some());
            parcels.extend(sealed_parcels(&receiver, sealed));
            let under_way = self.board.vitals.in_flight() > 0;
            let send_at = digest::send_at(open.iter().map(|row| &row.notice), under_way);
            match send_at {
                // A notice "made" in the future was made before the clock moved back; it has waited long enough.
                Some(at) if at > now && at <= now.plus(digest::FOLD_WINDOW) && !stopping => {
                    next = earliest(next, Some(at))
                }
                Some(_) => parcels.extend(parcel(&receiver, open, None)),
                None => {}
            }
        }
        let mut by_receiver: HashMap<ReceiverName, Vec<Parcel>> = HashMap::new();
        for parcel in parcels {
            by_receiver.entry(parcel.bundle.receiver.clone()).or_default().push(parcel);
        }
        // Receivers do not wait for each other; the messages of one receiver keep their order.
        let sent = join_all(by_receiver.into_iter().map(|(receiver, parcels)| async move {
            for parcel in parcels {
                if !self.send(wiring, parcel).await? {
                    return Ok((receiver, false));
                }
            }
            Ok::<_, StoreError>((receiver, true))
        }))
        .await;
        let retry = wiring.settings.smtp.as_ref().map_or(DEFAULT_RETRY, |smtp| smtp.retry);
        for result in sent {
            let (receiver, delivered) = result?;
            if delivered {
                setbacks.remove(&receiver);
                continue;
            }
            let failures = setbacks.get(&receiver).map_or(0, |setback| setback.failures).saturating_add(1);
            let retry_at = self.clock.now().plus(backoff(failures, retry));
            next = earliest(next, Some(retry_at));
            setbacks.insert(receiver, Setback { failures, retry_at });
        }
        Ok(next)
    }

    /// Seals, sends and settles one message. False when it did not leave.
    async fn send(&self, wiring: &Wiring, parcel: Parcel) -> Result<bool, StoreError> {
        let receiver = &parcel.bundle.receiver;
        let notices = u64::try_from(parcel.rows.len()).unwrap_or(u64::MAX);
        let Some(channel) = reachable(wiring, receiver) else {
            warn!(receiver = %receiver, notices, "nobody is reached: the receiver has no address");
            self.counters.failed("mail", notices);
            self.store.settle(parcel.rows, self.settlement("none")).await?;
            return Ok(true);
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
                Ok(true)
            }
            Err(failure) => {
                self.counters.failed(channel.name(), 1);
                if self.board.vitals.mail_is(Some(failure.to_string())) {
                    error!(receiver = %receiver, notices, error = %failure, "could not deliver; keeping it and trying again");
                }
                if let DeliveryError::NotSent(_) = failure {
                    self.store.reopen(parcel.rows, failure.to_string()).await?;
                }
                Ok(false)
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
/// With nothing to do the outbox is looked at this often all the same.
const IDLE: Span = Span::minutes(5);
/// The bound of retries where no mail is configured.
const DEFAULT_RETRY: Span = Span::minutes(1);
const STORE_RETRY: Span = Span::seconds(10);
/// Deliveries are remembered for a year.
const HISTORY: Span = Span::days(365);
