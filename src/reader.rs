//! Reads secrets where blocking is allowed, with a limit in time and in number.
//!
//! A secret may stand on a network file system that hangs. Such a read must cost neither the loop nor, one thread a try, the pool that the
//! store works on: a path that hangs is remembered and not read again before it came back.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::secret::Secret;
use crate::settings::source::Sources;
use crate::settings::value::SecretRef;

/// Reads secrets. One serves the whole process, over every reload, because what hangs goes on hanging.
#[derive(Clone, Debug)]
pub struct Reader {
    sources: Arc<Sources>,
    permits: Arc<Semaphore>,
    hanging: Arc<Mutex<Hanging>>,
}

/// The paths that did not answer in time, each with the permit of the thread that reads it. It hangs for as long as the thread has that.
type Hanging = HashMap<PathBuf, Weak<OwnedSemaphorePermit>>;

impl Reader {
    /// A reader over these sources.
    pub fn new(sources: Sources) -> Self {
        Self { sources: Arc::new(sources), permits: Arc::new(Semaphore::new(AT_ONCE)), hanging: Arc::default() }
    }

    /// The sources themselves, for what reads on its own.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// What each place holds, in order. An error names the place, never the content.
    pub async fn read(&self, places: Vec<SecretRef>) -> Vec<Result<Secret, String>> {
        let count = places.len();
        let paths: Vec<PathBuf> = places.iter().filter_map(SecretRef::path).map(Path::to_owned).collect();
        // What is in memory cannot hang, and a thread a check costs more than the rest of it.
        if paths.is_empty() {
            return places.iter().map(|place| self.sources.read(place).map_err(|error| error.to_string())).collect();
        }
        // A path whose last read has not come back gets no second thread.
        if self.hangs(&paths) {
            return stuck(count);
        }
        let permit = tokio::time::timeout(PATIENCE, Arc::clone(&self.permits).acquire_owned()).await;
        let Ok(Ok(permit)) = permit else { return stuck(count) };
        let permit = Arc::new(permit);
        let (sources, held) = (Arc::clone(&self.sources), Arc::downgrade(&permit));
        let reading = tokio::task::spawn_blocking(move || {
            let read: Vec<Result<Secret, String>> =
                places.iter().map(|place| sources.read(place).map_err(|error| error.to_string())).collect();
            drop(permit);
            read
        });
        match tokio::time::timeout(PATIENCE, reading).await {
            Ok(Ok(read)) => read,
            Ok(Err(_)) => stuck(count),
            Err(_) => {
                locked(&self.hanging).extend(paths.into_iter().map(|path| (path, Weak::clone(&held))));
                stuck(count)
            }
        }
    }

    /// What one place holds.
    ///
    /// # Errors
    /// When it cannot be read; the error names the place, never the content.
    pub async fn read_one(&self, place: &SecretRef) -> Result<Secret, String> {
        let read = self.read(vec![place.clone()]).await.pop();
        read.unwrap_or_else(|| Err("an internal fault of tokenwatch: nothing was read".to_owned()))
    }

    fn hangs(&self, paths: &[PathBuf]) -> bool {
        let mut hanging = locked(&self.hanging);
        hanging.retain(|_, held| held.strong_count() > 0);
        paths.iter().any(|path| hanging.contains_key(path))
    }
}

/// It cannot be left half-changed.
fn locked(paths: &Mutex<Hanging>) -> MutexGuard<'_, Hanging> {
    paths.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stuck(count: usize) -> Vec<Result<Secret, String>> {
    let problem = || format!("no answer from the file system in {} s", PATIENCE.as_secs());
    (0..count).map(|_| Err(problem())).collect()
}

/// Each is a thread with memory of its own, and local files keep few of them busy; but a mount that hangs must not take them all at once.
const AT_ONCE: usize = 64;
/// A local file takes microseconds.
const PATIENCE: Duration = Duration::from_secs(5);
