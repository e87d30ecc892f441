//! The outbound dead man's switch: a sign of life to somebody who calls people when it stays away.
//!
//! It is given only after real progress, never by a timer alone, and withheld while this daemon could not tell anybody anything: then the
//! switch is the one who must call.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::caretaker::stuck;
use super::wiring::Wiring;
use crate::board::Board;
use crate::domain::time::{Span, Timestamp};
use crate::domain::watcher::UNDELIVERABLE_AFTER;
use crate::metrics::Counters;
use crate::outgoing::Client;
use crate::ports::{Clock, Store};
use crate::settings;

/// The parts that the heart works with.
pub struct Heart {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What is durable.
    pub store: Arc<dyn Store>,
    /// Where progress is seen.
    pub board: Arc<Board>,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// The configuration in force.
    pub wiring: watch::Receiver<Arc<Wiring>>,
    /// The end.
    pub stop: CancellationToken,
}

impl Heart {
    /// Beats until told to stop.
    pub async fn run(mut self) {
        let mut told: Option<Timestamp> = None;
        let mut trouble: Option<String> = None;
        // Reading the authorities takes milliseconds of the only thread, so a client lives as long as its configuration.
        let mut client: Option<(Arc<Wiring>, Result<Client, String>)> = None;
        loop {
            let wiring = Arc::clone(&self.wiring.borrow_and_update());
            let Some(target) = &wiring.settings.heartbeat else {
                tokio::select! {
                    () = self.stop.cancelled() => return,
                    changed = self.wiring.changed() => if changed.is_err() { return },
                }
                continue;
            };
            let known = client.take().filter(|(made_for, _)| Arc::ptr_eq(made_for, &wiring));
            let (_, made) = client.insert(known.unwrap_or_else(|| {
                let made = Client::new(&target.url, target.timeout, target.ca_file.as_deref());
                (Arc::clone(&wiring), made.map_err(|error| error.to_string()))
            }));
            let pass = self.board.vitals.last_pass();
            let beat = if pass.is_some() && pass != told { Some(self.beat(target, made).await) } else { None };
            match beat {
                Some(Ok(())) => {
                    told = pass;
                    self.counters.heartbeat(true);
                    if trouble.take().is_some() {
                        info!("the heartbeat is heard again");
                    }
                }
                Some(Err(why)) => {
                    self.counters.heartbeat(false);
                    if trouble.as_ref() != Some(&why) {
                        warn!(error = why, "no heartbeat was given");
                    }
                    trouble = Some(why);
                }
                None => {}
            }
            // Until the first pass is over it is looked for often, so that the switch is armed soon.
            let period = wiring.settings.schedule.heartbeat;
            let sleep = if told.is_some() || trouble.is_some() { period } else { period.min(FIRST) };
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = self.wiring.changed() => {}
                () = self.clock.sleep(sleep) => {}
            }
        }
    }

    /// One sign of life. An error never holds the address: whoever knows it can keep the switch quiet.
    async fn beat(&self, target: &settings::Heartbeat, client: &Result<Client, String>) -> Result<(), String> {
        if let Some(failure) = self.board.vitals.troubles().store.values().next() {
            return Err(format!("withheld, because the state cannot be written: {failure}"));
        }
        let now = self.clock.now();
        let lanes = self.store.lanes(now).await.map_err(|failure| format!("withheld: {failure}"))?;
        if let Some(stuck) = stuck(&lanes).iter().find(|stuck| now.since(stuck.since) >= UNDELIVERABLE_AFTER) {
            return Err(format!("withheld, because notices cannot be delivered: {}: {}", stuck.way, stuck.failure));
        }
        let reply = client.as_ref().map_err(Clone::clone)?.get(target.url.clone()).await;
        let reply = reply.map_err(|failure| failure.to_string())?;
        let host = target.url.host_str().unwrap_or_default();
        if (200..300).contains(&reply.status) { Ok(()) } else { Err(format!("{host} answered HTTP {}", reply.status)) }
    }
}

/// How often a first pass is looked for.
const FIRST: Span = Span::seconds(10);
