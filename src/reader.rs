//! Reads secrets where blocking is allowed, with a limit in time and in number.
//!
//! A secret may stand on a network file system that hangs. Such a read must cost neither the loop nor, one thread a try, the pool that the
//! store works on; and it must never make a secret look unreadable that stands elsewhere. So each place has a time limit of its own, and a
//! path that hangs is remembered and not read again before it came back.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use std::{fmt, fs};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use crate::secret::Secret;
use crate::settings::source::Sources;
use crate::settings::value::SecretRef;

/// Reads secrets. One serves the whole process, over every reload, because what hangs goes on hanging.
#[derive(Clone, Debug)]
pub struct Reader {
    sources: Arc<Sources>,
    look: Look,
    /// How long a place may take.
    patience: Duration,
    permits: Arc<Semaphore>,
    hanging: Arc<Mutex<Hanging>>,
}

/// What looks at one place; it may block.
#[derive(Clone)]
struct Look(Arc<dyn Fn(&SecretRef) -> Reading + Send + Sync>);

impl fmt::Debug for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Look")
    }
}

/// The paths that did not answer in time, each with the permit of the thread that reads it. It hangs for as long as the thread has that.
type Hanging = HashMap<PathBuf, Weak<OwnedSemaphorePermit>>;

/// What one place holds, or why it cannot be read: the place, never the content.
pub type Reading = Result<Secret, String>;

impl Reader {
    /// A reader over these sources.
    pub fn new(sources: Sources) -> Self {
        let sources = Arc::new(sources);
        let look = {
            let sources = Arc::clone(&sources);
            Look(Arc::new(move |place| sources.read(place).map_err(|error| error.to_string())))
        };
        let permits = Arc::new(Semaphore::new(AT_ONCE));
        Self { sources, look, patience: PATIENCE, permits, hanging: Arc::default() }
    }

    /// The sources themselves, for what reads on its own.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// What each place holds, in order. Each has five seconds of its own.
    pub async fn read(&self, places: Vec<SecretRef>) -> Vec<Reading> {
        // What is in memory cannot hang, and a thread a check costs more than the rest of it.
        if places.iter().all(|place| place.path().is_none()) {
            return places.iter().map(|place| (self.look.0)(place)).collect();
        }
        let mut read = Vec::with_capacity(places.len());
        while read.len() < places.len() {
            self.read_on(&places, &mut read).await;
        }
        read
    }

    /// The same of many places at once, for who can do without some of them: `None` is what was not looked at. At the first place that turns out
    /// to hang it stops, for of a thousand each would be waited for; and a mount that answers, but slowly, has ten seconds for all of them.
    pub async fn glance(&self, places: Vec<SecretRef>) -> Vec<Option<Reading>> {
        let mut read = Vec::with_capacity(places.len());
        let reading = async { while read.len() < places.len() && !self.read_on(&places, &mut read).await {} };
        // What was read until then counts.
        let _ = timeout(2 * self.patience, reading).await;
        let mut seen: Vec<Option<Reading>> = read.into_iter().map(Some).collect();
        seen.resize_with(places.len(), || None);
        seen
    }

    /// What one place holds.
    ///
    /// # Errors
    /// When it cannot be read; the error names the place, never the content.
    pub async fn read_one(&self, place: &SecretRef) -> Reading {
        let read = self.read(vec![place.clone()]).await.pop();
        read.unwrap_or_else(|| Err("an internal fault of tokenwatch: nothing was read".to_owned()))
    }

    /// The same where there may be no place at all.
    ///
    /// # Errors
    /// As for one that must be there.
    pub async fn read_where(&self, place: Option<&SecretRef>) -> Result<Option<Secret>, String> {
        match place {
            Some(place) => self.read_one(place).await.map(Some),
            None => Ok(None),
        }
    }

    /// Reads on from where `read` ends, at least one more. Returns whether the last of them did not answer in time.
    async fn read_on(&self, places: &[SecretRef], read: &mut Vec<Reading>) -> bool {
        let Some(place) = places.get(read.len()) else { return false };
        // A path whose last read has not come back gets no second thread.
        if place.path().is_some_and(|path| self.hangs(path)) {
            read.push(stuck(place));
            return false;
        }
        let Ok(Ok(permit)) = timeout(self.patience, Arc::clone(&self.permits).acquire_owned()).await else {
            read.push(Err(format!("{place}: too many others do not answer; is a network mount away?")));
            return true;
        };
        let permit = Arc::new(permit);
        let (look, held) = (self.look.clone(), Arc::downgrade(&permit));
        let (first, rest) = (read.len(), &places[read.len()..]);
        let fit = rest.iter().skip(1).take_while(|place| !place.path().is_some_and(|path| self.hangs(path))).count();
        let rest = rest[..=fit].to_vec();
        let end = first + rest.len();
        let (results, mut arriving) = mpsc::unbounded_channel();
        tokio::task::spawn_blocking(move || {
            // Whoever waited may have given up; then the rest is not wanted any more.
            let _ = rest.iter().try_for_each(|place| results.send((look.0)(place)));
            drop(permit);
        });
        while read.len() < end
            && let Some(place) = places.get(read.len())
        {
            match timeout(self.patience, arriving.recv()).await {
                Ok(Some(reading)) => read.push(reading),
                Ok(None) => read.push(Err("an internal fault of tokenwatch: the read broke off".to_owned())),
                Err(_) => {
                    locked(&self.hanging).extend(place.path().map(|path| (path.to_owned(), held)));
                    read.push(stuck(place));
                    return true;
                }
            }
        }
        false
    }

    fn hangs(&self, path: &Path) -> bool {
        let mut hanging = locked(&self.hanging);
        hanging.retain(|_, held| held.strong_count() > 0);
        if hanging.contains_key(path) || hanging.len() < MANY {
            return hanging.contains_key(path);
        }
        // Each of them costs a thread; where so many hang on the same mount, this one is not tried.
        let mounts = mounts(&fs::read_to_string(MOUNTS).unwrap_or_default());
        let place = mount_of(path, &mounts);
        hanging.keys().filter(|other| mount_of(other, &mounts) == place).count() >= MANY
    }
}

/// It cannot be left half-changed.
fn locked(paths: &Mutex<Hanging>) -> MutexGuard<'_, Hanging> {
    paths.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stuck(place: &SecretRef) -> Reading {
    Err(format!("{place}: no answer from the file system in {} s; is a network mount away?", PATIENCE.as_secs()))
}

/// The mount that a path is on, by its name alone, for to ask could hang as well; what is on the root's is told apart by its folder, since links may
/// lead from there to anywhere.
fn mount_of<'a>(path: &'a Path, mounts: &'a [PathBuf]) -> Option<&'a Path> {
    let around = mounts.iter().filter(|mount| mount.parent().is_some() && path.starts_with(mount));
    around.max_by_key(|mount| mount.components().count()).map(PathBuf::as_path).or_else(|| path.parent())
}

/// The mounts of this process (proc(5): the fifth field of `mountinfo`, with white space and backslashes as octal numbers). Elsewhere there are none.
fn mounts(table: &str) -> Vec<PathBuf> {
    let plain = |text: &str| {
        [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
            .iter()
            .fold(text.to_owned(), |text, (code, plain)| text.replace(code, plain))
    };
    table.lines().filter_map(|line| line.split(' ').nth(4)).map(|text| PathBuf::from(plain(text))).collect()
}

/// Each is a thread with memory of its own, and local files keep few of them busy; but a mount that hangs must not take them all at once.
const AT_ONCE: usize = 64;
/// So many of one mount may hang before no other of it is tried: a quarter of the threads.
const MANY: usize = AT_ONCE / 4;
const MOUNTS: &str = "/proc/self/mountinfo";
/// A local file takes microseconds.
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Condvar;

    use zeroize::Zeroizing;

    use super::*;

    /// A disk on which some folders are mounts that hang until they are let go.
    #[derive(Default)]
    struct Disk {
        dead: Mutex<BTreeSet<&'static str>>,
        freed: Condvar,
        /// What is read now and was read before.
        asked: Mutex<Vec<String>>,
    }

    impl Disk {
        fn with(dead: &[&'static str]) -> (Arc<Self>, Reader) {
            let disk = Arc::new(Self { dead: Mutex::new(dead.iter().copied().collect()), ..Self::default() });
            let seen = Arc::clone(&disk);
            (
                disk,
                Reader { look: Look(Arc::new(move |place| Ok(seen.read(place)))), ..Reader::new(Sources::default()) },
            )
        }

        fn read(&self, place: &SecretRef) -> Secret {
            let path = place.path().expect("a file").display().to_string();
            self.asked.lock().expect("the tests do not panic there").push(path.clone());
            let dead = self.dead.lock().expect("the tests do not panic there");
            let hangs = |dead: &mut BTreeSet<&str>| dead.iter().any(|folder| path.starts_with(folder));
            drop(self.freed.wait_while(dead, hangs).expect("the tests do not panic there"));
            Secret::new(Zeroizing::new(path))
        }

        fn free(&self) {
            self.dead.lock().expect("the tests do not panic there").clear();
            self.freed.notify_all();
        }

        fn times(&self, path: &str) -> usize {
            self.asked.lock().expect("the tests do not panic there").iter().filter(|asked| *asked == path).count()
        }
    }

    fn places(paths: &[&str]) -> Vec<SecretRef> {
        paths.iter().map(|path| SecretRef::File(PathBuf::from(path))).collect()
    }

    fn which(read: &[Reading]) -> Vec<bool> {
        read.iter().map(Result::is_ok).collect()
    }

    /// Time has to be real: threads are waited for, and a paused clock stands still meanwhile.
    #[tokio::test]
    async fn a_place_that_hangs_is_the_only_one_that_cannot_be_read() {
        let (disk, mut reader) = Disk::with(&["/mnt"]);
        reader.patience = Duration::from_secs(3);
        let all = places(&["/etc/a", "/mnt/b", "/etc/c", "/mnt/b", "/etc/d"]);
        assert_eq!(which(&reader.read(all.clone()).await), [true, false, true, false, true]);
        assert_eq!(disk.times("/mnt/b"), 1, "it gets no second thread");
        assert_eq!(which(&reader.read(all[..1].to_vec()).await), [true], "those that were read with it are read on");
        disk.free();
        let again = async {
            while which(&reader.read(all.clone()).await) != [true; 5] {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(30), again).await.expect("what came back is read again");
    }

    #[tokio::test]
    async fn who_glances_at_many_waits_for_one_of_them() {
        let (disk, mut reader) = Disk::with(&["/mnt"]);
        reader.patience = Duration::from_secs(3);
        let began = tokio::time::Instant::now();
        let many: Vec<String> = (0..500).map(|n| format!("/mnt/{n}")).collect();
        let many: Vec<&str> = ["/etc/a"].into_iter().chain(many.iter().map(String::as_str)).collect();
        let seen = reader.glance(places(&many)).await;
        let words: Vec<Option<bool>> = seen[..3].iter().map(|seen| seen.as_ref().map(Result::is_ok)).collect();
        assert_eq!(words, [Some(true), Some(false), None], "read, hanging, and not looked at");
        assert_eq!((seen.len(), seen.iter().flatten().count()), (501, 2));
        assert!(began.elapsed() < Duration::from_secs(60), "each was waited for: {:?}", began.elapsed());
        disk.free();
    }

    #[tokio::test]
    async fn a_folder_that_hangs_leaves_threads_for_the_others() {
        let (disk, mut reader) = Disk::with(&["/mnt"]);
        reader.patience = Duration::from_millis(20);
        for n in 0..2 * AT_ONCE {
            assert_eq!(which(&reader.read(places(&[&format!("/mnt/{n}")])).await), [false]);
        }
        // A thread may begin after it was given up.
        let asked = || disk.asked.lock().expect("the tests do not panic there").len();
        let begun = async {
            while asked() < MANY {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(30), begun).await.expect("so many are tried");
        assert_eq!(asked(), MANY, "and no more");
        reader.patience = Duration::from_secs(30);
        assert_eq!(which(&reader.read(places(&["/etc/a"])).await), [true]);
        disk.free();
    }

    #[test]
    fn what_hangs_together_is_on_one_mount() {
        let table = "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                     40 21 0:35 / /srv/my\\040files rw,relatime shared:9 - nfs4 host:/x rw\n\
                     41 40 0:36 / /srv/my\\040files/inner rw - tmpfs t rw\n";
        let mounts = mounts(table);
        for (path, mount) in [
            ("/srv/my files/app/a/token", "/srv/my files"),
            ("/srv/my files/inner/token", "/srv/my files/inner"),
            ("/srv/my filesystem/token", "/srv/my filesystem"),
            ("/etc/tokenwatch/token", "/etc/tokenwatch"),
        ] {
            assert_eq!(mount_of(Path::new(path), &mounts), Some(Path::new(mount)), "{path}");
        }
    }
}
