//! Reads secrets where blocking is allowed, with a limit in time and in number.
//!
//! A secret may stand on a network file system that hangs. Such a read must cost neither the loop nor, one thread a try, the pool that the
//! store works on: reads that hang keep their permits, and when none is left further reads fail at once instead of queueing.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::secret::Secret;
use crate::settings::source::Sources;
use crate::settings::value::SecretRef;

/// Reads secrets.
#[derive(Clone, Debug)]
pub struct Reader {
    sources: Arc<Sources>,
    permits: Arc<Semaphore>,
}

impl Reader {
    /// A reader over these sources.
    pub fn new(sources: Sources) -> Self {
        Self { sources: Arc::new(sources), permits: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// What each place holds, in order. An error names the place, never the content.
    pub async fn read(&self, places: Vec<SecretRef>) -> Vec<Result<Secret, String>> {
        let count = places.len();
        let sources = Arc::clone(&self.sources);
        let permit = tokio::time::timeout(PATIENCE, Arc::clone(&self.permits).acquire_owned()).await;
        let Ok(Ok(permit)) = permit else { return stuck(count) };
        let reading = tokio::task::spawn_blocking(move || {
            let read: Vec<Result<Secret, String>> =
                places.iter().map(|place| sources.read(place).map_err(|error| error.to_string())).collect();
            drop(permit);
            read
        });
        match tokio::time::timeout(PATIENCE, reading).await {
            Ok(Ok(read)) => read,
            Ok(Err(_)) | Err(_) => stuck(count),
        }
    }
}

fn stuck(count: usize) -> Vec<Result<Secret, String>> {
    let problem = || format!("no answer from the file system in {} s", PATIENCE.as_secs());
    (0..count).map(|_| Err(problem())).collect()
}

/// Far below the 512 threads of the pool, far above what local files need.
const AT_ONCE: usize = 64;
/// A local file takes microseconds.
const PATIENCE: Duration = Duration::from_secs(5);
