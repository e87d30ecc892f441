//! What a reload does: it reads the whole configuration beside the watch, says what changes, and puts it in force, or keeps the old one and says why.
//!
//! Whatever can fail fails before anything is changed. Files are read one reload at a time and within a limit, for they may lie on a mount that is away.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::{error, info, warn};

use super::lifecycle::{Start, make_room_for_connections, warn_of_clear_text, warn_of_idle_settings};
use super::openness::warn_of_open_files;
use super::wiring::Wiring;
use super::{Reloader, unit};
use crate::ports::Clock;
use crate::reader::Reader;
use crate::settings::diff::{Difference, InForce, Picture, Sort};
use crate::settings::{self, Fault, Faults};
use crate::web::gate::Policy;
use crate::web::{NoPreview, Preview};

/// Everything that a reload needs.
pub struct Reloads {
    source: Source,
    in_force: InForce,
    reloader: Reloader,
    /// Where the listener is; that changes with a restart only.
    listen: Option<SocketAddr>,
    /// Held by whoever reads. A second read of a file that does not answer would only hang beside the first.
    turn: Arc<Semaphore>,
    /// How that goes.
    reading: Arc<Mutex<Reading>>,
}

/// How far whoever reads has come.
#[derive(Default)]
struct Reading {
    /// What is being read.
    at: String,
    /// Nobody waits for it any more.
    given_up: bool,
}

/// Why there is no new configuration.
enum Unprepared {
    /// The files could not be read in time; another time they may.
    Late(String),
    /// What is wrong with it, each fault in a line of its own.
    Faulty(Vec<String>),
}

/// Where a configuration comes from.
#[derive(Clone)]
struct Source {
    start: Start,
    reader: Reader,
    clock: Arc<dyn Clock>,
}

/// A configuration that holds in every part, not yet in force.
struct Prepared {
    wiring: Wiring,
    policy: Policy,
    picture: Picture,
    warnings: Vec<Fault>,
}

impl Reloads {
    /// For a daemon that was started like that.
    pub fn new(
        start: Start,
        reader: Reader,
        clock: Arc<dyn Clock>,
        in_force: InForce,
        reloader: Reloader,
        listen: Option<SocketAddr>,
    ) -> Self {
        let source = Source { start, reader, clock };
        let turn = Arc::new(Semaphore::new(1));
        Self { source, in_force, reloader, listen, turn, reading: Arc::default() }
    }

    /// Tells what a reload would change now.
    pub fn preview(self: &Arc<Self>) -> Preview {
        let reloads = Arc::clone(self);
        Arc::new(move || {
            let reloads = Arc::clone(&reloads);
            Box::pin(async move {
                match reloads.prepare().await {
                    Ok(prepared) => Ok(reloads.compare(&prepared)),
                    Err(Unprepared::Late(why)) => Err(NoPreview::Later(why)),
                    Err(Unprepared::Faulty(faults)) => Err(NoPreview::Refused(faults.join("\n"))),
                }
            })
        })
    }

    /// Validates the whole configuration, then swaps and says what changed; or keeps the old one and says why.
    pub async fn reload(&self) {
        if let Ok(began) = NotifyState::monotonic_usec_now() {
            unit::tell(&[NotifyState::Reloading, began]);
        }
        match self.prepare().await {
            Ok(prepared) => {
                let difference = self.compare(&prepared);
                let Prepared { wiring, policy, picture, warnings } = prepared;
                warn_of_idle_settings(&warnings);
                warn_of_open_files(&wiring.settings, policy.secret_files()).await;
                make_room_for_connections(&wiring.settings);
                if let Some(address) = self.listen {
                    warn_of_clear_text(address, &policy);
                }
                if let Some((key, words)) = policy.opens(&self.reloader.policy()) {
                    warn!(key, "the listener lets in more than before: {key} {words}");
                }
                self.in_force.put(picture);
                self.reloader.put_in_force(wiring, policy);
                say_what_changed(&difference);
            }
            Err(why) => {
                for fault in why.into_lines() {
                    error!(fault, "the new configuration is refused; the old one stays in force");
                }
                self.reloader.refused();
            }
        }
        unit::tell(&[NotifyState::Ready]);
    }

    /// What would change: in the configuration, and in whom the listener lets in.
    fn compare(&self, new: &Prepared) -> Difference {
        let listener = new.policy.changes(&self.reloader.policy());
        self.in_force.compare(&new.picture).with_file(WEB_CONFIG, listener)
    }

    /// Reads and validates the configuration and all files that it names, and makes every adapter.
    async fn prepare(&self) -> Result<Prepared, Unprepared> {
        let late = |what: &str| {
            let advice =
                "is a network mount away? What was a pipe, say, and was put right, is given up with a restart only";
            Unprepared::Late(format!("{what}; {advice}"))
        };
        {
            let reading = lock(&self.reading);
            if reading.given_up && self.turn.available_permits() == 0 {
                return Err(late(&format!("{} is still being read since the last time", reading.at)));
            }
        }
        let preparing = async {
            let turn = Arc::clone(&self.turn).acquire_owned().await;
            let (source, reading) = (self.source.clone(), Arc::clone(&self.reading));
            // A long configuration takes a second to read, and the watch has only this thread.
            spawn_blocking(move || {
                let _turn = turn;
                lock(&reading).given_up = false;
                source.prepare(|what| lock(&reading).at = what)
            })
            .await
        };
        match timeout(LONGEST, preparing).await {
            Ok(Ok(prepared)) => prepared.map_err(Unprepared::Faulty),
            Ok(Err(broken)) => Err(Unprepared::Faulty(vec![format!("an internal fault of tokenwatch: {broken}")])),
            Err(_) => {
                let mut reading = lock(&self.reading);
                reading.given_up = true;
                Err(late(&format!("{} cannot be read within {LONGEST:?}", reading.at)))
            }
        }
    }
}

impl Unprepared {
    fn into_lines(self) -> Vec<String> {
        match self {
            Self::Late(why) => vec![why],
            Self::Faulty(faults) => faults,
        }
    }
}

fn lock(reading: &Mutex<Reading>) -> MutexGuard<'_, Reading> {
    reading.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Source {
    fn prepare(&self, mut tell: impl FnMut(String)) -> Result<Prepared, Vec<String>> {
        let each = |faults: Faults| faults.0.iter().map(ToString::to_string).collect::<Vec<_>>();
        tell(format!("{}, or a file beside it", self.start.config.display()));
        let loaded = settings::load(&self.start.config, &self.start.environment).map_err(each)?;
        if let Some(file) = &loaded.settings.daemon.web_config {
            tell(format!("{}, or a file that it names", file.display()));
        }
        let policy = Policy::of(&loaded.settings).map_err(each)?;
        let picture = Picture::of(&loaded.tree);
        drop(loaded.tree);
        tell("a file of certificate authorities (ca_file)".to_owned());
        let wiring =
            Wiring::new(loaded.settings, &self.reader, &self.clock).map_err(|error| vec![error.to_string()])?;
        Ok(Prepared { wiring, policy, picture, warnings: loaded.warnings })
    }
}

/// A line for each part that changed, few of each kind; one for each setting that waits for a restart; and a line for all.
fn say_what_changed(difference: &Difference) {
    let (named, left) = difference.shortened(MOST_NAMED);
    for entry in named {
        let (name, words) = (&*entry.name, entry.for_log());
        match entry.sort {
            Sort::Table => info!(table = name, "configuration: {words}"),
            Sort::Receiver => info!(receiver = name, "configuration: {words}"),
            Sort::Provider | Sort::Description => info!(provider = name, "configuration: {words}"),
            Sort::App => info!(app = name, "configuration: {words}"),
            Sort::Token => info!(token = name, "configuration: {words}"),
        }
    }
    for more in left {
        info!("configuration: {more}");
    }
    for waiting in &difference.waiting {
        warn!(key = &*waiting.key, "{waiting}");
    }
    let [added, changed, removed] = difference.counts();
    info!(added, changed, removed, "reloaded: {}", difference.summary());
}

/// What the web configuration file is called where changes are told.
const WEB_CONFIG: &str = "web_config";
/// So many parts of each kind are named.
const MOST_NAMED: usize = 20;
/// How long the files of a new configuration may take to be read, waiting for the turn included. A hundred thousand tokens take a second.
const LONGEST: Duration = Duration::from_secs(30);
