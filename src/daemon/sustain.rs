//! Tells those who forget again: an Alertmanager takes an alert for resolved when it is not posted again.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::courier::Courier;
use super::wiring::Wiring;
use crate::domain::route::{ChannelKind, Route};
use crate::domain::time::{Span, Timestamp};
use crate::domain::token::ReceiverName;
use crate::domain::verdict::earliest;
use crate::ports::{Clock, Lane};

/// The parts that it works with.
pub struct Sustain {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who sends, and knows the gates.
    pub courier: Arc<Courier>,
    /// The configuration in force.
    pub wiring: watch::Receiver<Arc<Wiring>>,
    /// The end.
    pub stop: CancellationToken,
}

impl Sustain {
    /// Tells again until told to stop.
    pub async fn run(mut self) {
        let mut told: BTreeMap<ReceiverName, Timestamp> = BTreeMap::new();
        loop {
            let wiring = Arc::clone(&self.wiring.borrow_and_update());
            let mut next: Option<Timestamp> = None;
            let mut telling = Vec::new();
            for (name, receiver) in &wiring.settings.receivers {
                let Some(target) = &receiver.alertmanager else { continue };
                let now = self.clock.now();
                // A moment in the future is from before the clock moved back.
                let due = told.get(name).map_or(now, |at| (*at).min(now).plus(target.resend));
                if due <= now {
                    telling.push(self.tell(&wiring, name));
                    told.insert(name.clone(), now);
                }
                next = earliest(next, Some(if due <= now { now.plus(target.resend) } else { due }));
            }
            // One that hangs must not let the alerts of the others end.
            join_all(telling).await;
            let sleep = next.map_or(IDLE, |at| at.since(self.clock.now()).max(Span::seconds(1)));
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = self.wiring.changed() => {}
                () = self.clock.sleep(sleep) => {}
            }
        }
    }

    async fn tell(&self, wiring: &Wiring, receiver: &ReceiverName) {
        let kind = ChannelKind::Alertmanager;
        let Some(channel) = wiring.channels.get(&kind) else { return };
        let lane = Lane { receiver: receiver.clone(), route: Some(Route::By(kind)) };
        let gate = self.courier.gate(receiver);
        let _held = gate.lock().await;
        let open = match self.courier.store.firing(lane).await {
            Ok(open) => open,
            Err(failure) => return warn!(error = %failure, "what fires could not be read; telling again later"),
        };
        if open.is_empty() {
            return;
        }
        match channel.sustain(receiver, &open).await {
            Ok(()) => debug!(%receiver, alerts = open.len(), "told again"),
            Err(failure) => {
                self.courier.counters.failed(kind.as_str(), 1);
                debug!(%receiver, error = %failure, "could not tell again");
            }
        }
    }
}

/// Without an Alertmanager there is nothing to do before another configuration comes.
const IDLE: Span = Span::hours(1);
