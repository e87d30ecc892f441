//! Takes turns: runs that write the same file or restart the same application go one after the other.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex as Guarded, PoisonError};

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::settings::delivery::{Delivery, Sink};

/// Who is at work on what.
#[derive(Debug, Default)]
pub struct Turns(Guarded<HashMap<String, Arc<Mutex<()>>>>);

/// A turn; it ends when this is dropped.
#[derive(Debug)]
pub struct Turn(#[expect(dead_code, reason = "held, and let go when it is dropped")] Vec<OwnedMutexGuard<()>>);

impl Turns {
    /// Waits for a turn at everything that this delivery touches.
    pub async fn take(&self, delivery: &Delivery) -> Turn {
        // In one order for all, so that no two wait for each other.
        let mut held = Vec::new();
        for name in touched(delivery) {
            let lock = {
                let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                Arc::clone(locks.entry(name).or_default())
            };
            held.push(lock.lock_owned().await);
        }
        Turn(held)
    }
}

fn touched(delivery: &Delivery) -> BTreeSet<String> {
    let sinks = delivery.publish.iter().map(|sink| match sink {
        Sink::EnvFile { path, .. } | Sink::File(path) => path.display().to_string(),
        Sink::Sql(_) | Sink::Vault(_) | Sink::Run(_) => sink.to_string(),
    });
    sinks.chain(delivery.restart.iter().map(ToString::to_string)).collect()
}
