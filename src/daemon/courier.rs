//! Takes messages to their channels: seals them, sends them, and settles what left.
//!
//! A message is sealed in the store before it is sent, so a crash in between sends the same message again under the same id, never another one.
//! What certainly did not leave is opened again, to be folded with what came since.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;
use tracing::{error, info, warn};

use super::wiring::Wiring;
use crate::board::Board;
use crate::domain::digest::Bundle;
use crate::domain::finding::Reason;
use crate::domain::route::{ChannelKind, Route};
use crate::domain::token::ReceiverName;
use crate::metrics::Counters;
use crate::ports::{Channel, Clock, Delivery, DeliveryError, Lane, Settlement, Store, StoreError};

/// Who sends. One serves the whole process, over every reload.
pub struct Courier {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What is durable.
    pub store: Arc<dyn Store>,
    /// Where troubles are shown.
    pub board: Arc<Board>,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// Messages that left while the store could not write. They are not sent again by this process.
    late: Mutex<HashMap<(Lane, Arc<str>), Settlement>>,
    /// Conversations at once, by kind of channel: one kind that hangs leaves the others alone.
    permits: [Semaphore; ChannelKind::ALL.len()],
    gates: Mutex<HashMap<ReceiverName, Gate>>,
}

/// Whoever tells an Alertmanager holds its gate, so that what is told again never overtakes what is over.
pub type Gate = Arc<tokio::sync::Mutex<()>>;

/// One message and the rows it carries.
pub struct Parcel {
    /// The rows.
    pub rows: Vec<i64>,
    /// What is told.
    pub bundle: Bundle,
    /// The message that it was tied to before.
    pub sealed: Option<Arc<str>>,
}

/// How a lane's messages fared.
#[derive(Debug, Default)]
pub struct Run {
    /// How many left, tests aside.
    pub sent: usize,
    /// Nothing gets through.
    pub closed: bool,
    /// Messages that may have left: only they wait, the way itself may be open.
    pub doubtful: Vec<Arc<str>>,
}

/// How one message fared.
enum Sent {
    /// It left.
    Yes,
    /// There was nobody to reach.
    Nobody,
    /// It certainly did not leave.
    No,
    /// It may have.
    Perhaps(Arc<str>),
}

impl Courier {
    /// A courier with these parts.
    pub fn new(clock: Arc<dyn Clock>, store: Arc<dyn Store>, board: Arc<Board>, counters: Arc<Counters>) -> Self {
        let permits = ChannelKind::ALL.map(|_| Semaphore::new(CONNECTIONS));
        Self { clock, store, board, counters, late: Mutex::default(), permits, gates: Mutex::default() }
    }

    /// The gate of a receiver's Alertmanager.
    pub fn gate(&self, receiver: &ReceiverName) -> Gate {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(gates.entry(receiver.clone()).or_default())
    }

    /// Whether that message has left, and only the note of it waits for the store.
    pub fn has_left(&self, lane: &Lane, message: &Arc<str>) -> bool {
        self.late().contains_key(&(lane.clone(), Arc::clone(message)))
    }

    /// Sends one lane's messages in order, until one does not leave.
    ///
    /// # Errors
    /// When the store fails; then nothing more is sent.
    pub async fn run(&self, wiring: &Wiring, lane: &Lane, parcels: Vec<Parcel>) -> Result<Run, StoreError> {
        let mut run = Run::default();
        for parcel in parcels {
            let only_tests = parcel.bundle.notices.iter().all(|notice| notice.reason == Reason::Test);
            match self.send(wiring, lane, parcel).await? {
                Sent::Yes if only_tests => {}
                Sent::Yes => run.sent += 1,
                Sent::Nobody => {}
                Sent::Perhaps(message) => run.doubtful.push(message),
                Sent::No => {
                    run.closed = true;
                    break;
                }
            }
        }
        Ok(run)
    }

    /// Seals, sends and settles one message.
    async fn send(&self, wiring: &Wiring, lane: &Lane, parcel: Parcel) -> Result<Sent, StoreError> {
        let channels = channels_of(wiring, lane);
        let Some(first) = channels.first() else { return Ok(Sent::No) };
        // Sealed before this attempt: an earlier one, perhaps of a process that died, may have got through.
        let may_have_left = parcel.sealed.is_some();
        let message = parcel.sealed.unwrap_or_else(|| Arc::from(first.message_id(&parcel.bundle)));
        let letter = (lane.clone(), Arc::clone(&message));
        let late = self.late().get(&letter).cloned();
        if let Some(settlement) = late {
            self.store.settle(parcel.rows, settlement).await?;
            self.late().remove(&letter);
            return Ok(Sent::Yes);
        }
        self.store.seal(parcel.rows.clone(), Arc::clone(&message)).await?;
        match self.offer(lane, &channels, &parcel.bundle, &message).await {
            Ok((_, delivery)) if delivery.addresses == 0 => {
                self.store.settle(parcel.rows, self.settlement("none")).await?;
                Ok(Sent::Nobody)
            }
            Ok((kind, delivery)) => {
                self.delivered(lane, kind, &delivery, parcel.rows.len(), &message);
                let settlement = self.settlement(kind.as_str());
                if let Err(failure) = self.store.settle(parcel.rows, settlement.clone()).await {
                    self.late().insert(letter, settlement);
                    return Err(failure);
                }
                Ok(Sent::Yes)
            }
            Err(failure) => {
                let notices = parcel.rows.len();
                if self.board.vitals.way_is(&lane.to_string(), Some(failure.to_string())) {
                    error!(way = %lane, notices, error = %failure, "could not deliver; keeping it and trying again");
                }
                let untie = matches!(failure, DeliveryError::NotSent(_)) && !may_have_left;
                self.store.failed(parcel.rows, failure.to_string(), untie, self.clock.now()).await?;
                Ok(match failure {
                    // One that may have left before, and is refused now, must not keep the others waiting.
                    DeliveryError::NotSent(_) if may_have_left => Sent::Perhaps(message),
                    DeliveryError::Unknown(_) => Sent::Perhaps(message),
                    DeliveryError::NotSent(_) => Sent::No,
                })
            }
        }
    }

    /// Offers a message to the channels of its lane, one after the other, until one takes it.
    async fn offer(
        &self,
        lane: &Lane,
        channels: &[&Arc<dyn Channel>],
        bundle: &Bundle,
        sealed: &str,
    ) -> Result<(ChannelKind, Delivery), DeliveryError> {
        let mut failures = Vec::new();
        let mut doubt = false;
        let mut nobody = None;
        for channel in channels {
            let kind = channel.kind();
            // Of several channels each names the message in its own way; of one, the seal is the name.
            let own;
            let message = if lane.route == Some(Route::Preferred) {
                own = channel.message_id(bundle);
                &own
            } else {
                sealed
            };
            let place = ChannelKind::ALL.iter().position(|known| *known == kind).unwrap_or_default();
            // The semaphores are never closed.
            let permit = self.permits[place].acquire().await;
            let gate = (kind == ChannelKind::Alertmanager).then(|| self.gate(&lane.receiver));
            let held = match &gate {
                Some(gate) => Some(gate.lock().await),
                None => None,
            };
            let outcome = channel.deliver(bundle, message).await;
            drop((held, permit));
            match outcome {
                // This channel has nobody for it; another may have.
                Ok(delivery) if delivery.addresses == 0 => nobody = Some((kind, delivery)),
                Ok(mut delivery) => {
                    self.counters.failed(kind.as_str(), u64::try_from(delivery.failures.len()).unwrap_or(u64::MAX));
                    delivery.failures.extend(failures);
                    return Ok((kind, delivery));
                }
                Err(failure) => {
                    self.counters.failed(kind.as_str(), 1);
                    doubt |= matches!(failure, DeliveryError::Unknown(_));
                    failures.push(if channels.len() == 1 {
                        failure.to_string()
                    } else {
                        format!("{}: {failure}", kind.as_str())
                    });
                }
            }
        }
        if let Some(nobody) = nobody.filter(|_| failures.is_empty()) {
            return Ok(nobody);
        }
        let text = failures.join("; ");
        Err(if doubt { DeliveryError::Unknown(text) } else { DeliveryError::NotSent(text) })
    }

    fn delivered(&self, lane: &Lane, kind: ChannelKind, delivery: &Delivery, notices: usize, message: &str) {
        self.counters.delivered(kind.as_str(), u64::try_from(notices).unwrap_or(u64::MAX));
        self.board.vitals.way_is(&lane.to_string(), delivery.failures.first().cloned());
        for failure in &delivery.failures {
            warn!(way = %lane, failure, "delivered, but not without trouble");
        }
        info!(way = %lane, channel = kind.as_str(), notices, message, "delivered");
    }

    fn settlement(&self, channel: &'static str) -> Settlement {
        Settlement { at: self.clock.now(), channel }
    }

    /// Nothing that is kept under this lock can be left half-changed.
    fn late(&self) -> MutexGuard<'_, HashMap<(Lane, Arc<str>), Settlement>> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The channels of a lane, the one to try first in front.
pub fn channels_of<'a>(wiring: &'a Wiring, lane: &Lane) -> Vec<&'a Arc<dyn Channel>> {
    wiring.kinds_of(lane).into_iter().filter_map(|kind| wiring.channels.get(&kind)).collect()
}

/// Conversations of one kind at once; many relays allow few from one client.
const CONNECTIONS: usize = 8;
