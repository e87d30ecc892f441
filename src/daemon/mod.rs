//! The composition root: the only place where adapters meet.
//!
//! It builds every part, starts the tasks, and ends them in order: first renewals and the watch loop finish what is under way, then the outbox
//! makes a last pass, then the listeners close. A task that ends early ends the daemon, and the exit code says so.

mod agenda;
mod bells;
mod caretaker;
mod courier;
mod courtesy;
mod heartbeat;
mod kin;
pub mod lifecycle;
mod openness;
mod outbox;
mod probes;
mod reload;
mod renewals;
pub mod single;
mod sustain;
pub mod unit;
mod watch;
pub mod wiring;

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Notify, watch as latest};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::caretaker::Caretaker;
use self::courier::Courier;
use self::heartbeat::Heart;
use self::outbox::Outbox;
use self::renewals::Renewals;
use self::sustain::Sustain;
use self::watch::Watch;
use self::wiring::{Wiring, WiringError};
use crate::board::Board;
use crate::domain::time::Span;
use crate::metrics::Counters;
use crate::ports::{Clock, Store, StoreError};
use crate::renewal::keyring::Keyring;
use crate::requests::{Inbox, Requests};
use crate::settings::{Faults, Settings};
use crate::web::gate::{Gate, Policy};
use crate::web::listener::Kind;
use crate::web::{self, Preview, Web};

/// The daemon, built and not yet running.
pub struct Daemon {
    clock: Arc<dyn Clock>,
    store: Arc<dyn Store>,
    board: Arc<Board>,
    counters: Arc<Counters>,
    wiring: latest::Sender<Arc<Wiring>>,
    settings: latest::Sender<Arc<Settings>>,
    requests: Requests,
    inbox: Inbox,
    folder: Option<PathBuf>,
    keyring: Arc<Keyring>,
    gate: Arc<Gate>,
    preview: Option<Preview>,
}

/// Where the daemon listens. Everything is bound before it says that it is ready.
#[derive(Debug, Default)]
pub struct Doors {
    /// The status page and the metrics.
    pub listener: Option<TcpListener>,
    /// Nothing but the probes.
    pub probes: Option<TcpListener>,
    /// The control socket.
    pub control: Option<UnixListener>,
}

/// Why the daemon cannot start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// The state cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {problem}")]
    Listen {
        /// The address.
        address: String,
        /// What the system says.
        problem: std::io::Error,
    },
    /// The web configuration file, or a file that it names, cannot be used.
    #[error("the listener's files are refused:\n{0}")]
    Web(Faults),
    /// A valid configuration that cannot be put to work.
    #[error(transparent)]
    Wiring(#[from] WiringError),
    /// A part ended that should not have.
    #[error("the {0} task ended unexpectedly")]
    Task(&'static str),
}

/// Puts another configuration in force.
#[derive(Clone)]
pub struct Reloader {
    clock: Arc<dyn Clock>,
    board: Arc<Board>,
    wiring: latest::Sender<Arc<Wiring>>,
    settings: latest::Sender<Arc<Settings>>,
    gate: Arc<Gate>,
}

impl Daemon {
    /// A daemon with these parts.
    pub fn new(clock: Arc<dyn Clock>, store: Arc<dyn Store>, wiring: Wiring, keyring: Keyring) -> Self {
        let board = Arc::new(Board::default());
        board.vitals.reloaded(true, clock.now());
        let counters = Arc::new(Counters::default().with_process());
        wiring.announce(&counters);
        let settings = latest::Sender::new(Arc::clone(&wiring.settings));
        let (requests, inbox) = Requests::new();
        let wiring = latest::Sender::new(Arc::new(wiring));
        let keyring = Arc::new(keyring);
        let gate = Arc::new(Gate::new(Policy::open()));
        Self {
            clock,
            store,
            board,
            counters,
            wiring,
            settings,
            requests,
            inbox,
            folder: None,
            keyring,
            gate,
            preview: None,
        }
    }

    /// Lets in at the listener whom these rules let in.
    #[must_use]
    pub fn with_policy(self, policy: Policy) -> Self {
        self.gate.put(policy);
        self
    }

    /// Can tell what a reload would change.
    #[must_use]
    pub fn with_preview(self, preview: Preview) -> Self {
        Self { preview: Some(preview), ..self }
    }

    /// Keeps an eye on the disk that this folder is on: the state's.
    #[must_use]
    pub fn with_folder(self, folder: Option<PathBuf>) -> Self {
        Self { folder, ..self }
    }

    /// The way to the watch loop.
    pub fn requests(&self) -> Requests {
        self.requests.clone()
    }

    /// What everyone may see.
    pub fn board(&self) -> Arc<Board> {
        Arc::clone(&self.board)
    }

    /// What puts another configuration in force.
    pub fn reloader(&self) -> Reloader {
        Reloader {
            clock: Arc::clone(&self.clock),
            board: Arc::clone(&self.board),
            wiring: self.wiring.clone(),
            settings: self.settings.clone(),
            gate: Arc::clone(&self.gate),
        }
    }

    /// Runs until `stop`, then ends in order; `now` cuts the ending short.
    ///
    /// # Errors
    /// When a part ended that should not have.
    pub async fn run(mut self, doors: Doors, stop: CancellationToken, now: CancellationToken) -> Result<(), Fatal> {
        let grace = self.settings.borrow().daemon.grace;
        let nudge = Arc::new(Notify::new());
        let bell = Arc::new(Notify::new());
        let [stop_renewals, stop_watch, stop_outbox, stop_doors] = [(); 4].map(|()| CancellationToken::new());
        let run_begins = Arc::new(Notify::new());
        let mut parts = Parts::default();
        let watch = Watch {
            clock: Arc::clone(&self.clock),
            store: Arc::clone(&self.store),
            board: Arc::clone(&self.board),
            counters: Arc::clone(&self.counters),
            wiring: self.wiring.subscribe(),
            bell: Arc::clone(&bell),
            inbox: std::mem::replace(&mut self.inbox, Requests::new().1),
            outbox: Arc::clone(&nudge),
            renewals: Arc::clone(&run_begins),
            keyring: Arc::clone(&self.keyring),
            longest_sleep: unit::longest_sleep(LONGEST_SLEEP),
            stop: stop_watch.clone(),
        };
        parts.start(Task::Watch, watch.run(grace));
        let renewals = Renewals {
            clock: Arc::clone(&self.clock),
            store: Arc::clone(&self.store),
            board: Arc::clone(&self.board),
            counters: Arc::clone(&self.counters),
            wiring: self.wiring.subscribe(),
            keyring: Arc::clone(&self.keyring),
            requests: self.requests.clone(),
            nudge: run_begins,
            stop: stop_renewals.clone(),
        };
        parts.start(Task::Renewals, renewals.run(grace));
        let courier = Courier::new(
            Arc::clone(&self.clock),
            Arc::clone(&self.store),
            Arc::clone(&self.board),
            Arc::clone(&self.counters),
        );
        let courier = Arc::new(courier);
        let outbox = Outbox {
            courier: Arc::clone(&courier),
            wiring: self.wiring.subscribe(),
            nudge: Arc::clone(&nudge),
            stop: stop_outbox.clone(),
        };
        parts.start(Task::Outbox, outbox.run());
        parts.start(Task::Bells, bells::run(self.wiring.subscribe(), bell, stop_doors.clone()));
        self.look_after_itself(courier, &mut parts, &stop_doors);
        self.open_doors(doors, &mut parts, &stop_doors);

        let early = tokio::select! {
            () = stop.cancelled() => None,
            ended = parts.next() => ended,
        };
        if let Some((task, ending)) = &early {
            error!(task = task.name(), how = %ending, "a part of the daemon ended; stopping");
        } else {
            info!("stopping: finishing what is under way");
        }
        let ending = async {
            stop_renewals.cancel();
            parts.settle(Task::Renewals).await;
            stop_watch.cancel();
            parts.settle(Task::Watch).await;
            stop_outbox.cancel();
            parts.settle(Task::Outbox).await;
            stop_doors.cancel();
        };
        tokio::select! {
            () = ending => {}
            () = now.cancelled() => warn!("told twice to stop: leaving at once; undelivered mail stays in the outbox"),
            () = tokio::time::sleep(lifecycle::longest_stop(grace)) => warn!("the grace period is over; undelivered mail stays in the outbox"),
        }
        parts.at_work.shutdown().await;
        match early {
            None => Ok(()),
            Some((_, Ending::Store(failure))) => Err(Fatal::Store(failure)),
            Some((task, Ending::Over | Ending::Panicked)) => Err(Fatal::Task(task.name())),
        }
    }

    /// What the watcher does for its own sake, and for those who forget.
    fn look_after_itself(&self, courier: Arc<Courier>, parts: &mut Parts, stop: &CancellationToken) {
        let caretaker = Caretaker {
            clock: Arc::clone(&self.clock),
            store: Arc::clone(&self.store),
            board: Arc::clone(&self.board),
            wiring: self.wiring.subscribe(),
            requests: self.requests.clone(),
            folder: self.folder.clone(),
            stop: stop.clone(),
        };
        parts.start(Task::Caretaker, caretaker.run());
        let heart = Heart {
            clock: Arc::clone(&self.clock),
            store: Arc::clone(&self.store),
            board: Arc::clone(&self.board),
            counters: Arc::clone(&self.counters),
            wiring: self.wiring.subscribe(),
            stop: stop.clone(),
        };
        parts.start(Task::Heart, heart.run());
        let sustain =
            Sustain { clock: Arc::clone(&self.clock), courier, wiring: self.wiring.subscribe(), stop: stop.clone() };
        parts.start(Task::Sustain, sustain.run());
    }

    fn open_doors(&self, doors: Doors, parts: &mut Parts, stop: &CancellationToken) {
        let web = Web {
            board: Arc::clone(&self.board),
            counters: Arc::clone(&self.counters),
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            settings: self.settings.subscribe(),
            requests: self.requests.clone(),
            preview: self.preview.clone(),
        };
        let router = web::router(web.clone());
        let mut open = |task: Task, socket: Option<TcpListener>, kind: Kind| {
            let Some(socket) = socket else { return };
            let (settings, counters) = (self.settings.subscribe(), Arc::clone(&self.counters));
            let served = web::listener::serve(socket, kind, router.clone(), settings, counters, stop.clone());
            parts.start(task, served);
        };
        let has_listener = doors.listener.is_some();
        open(Task::Listener, doors.listener, Kind::Pages(Arc::clone(&self.gate)));
        open(Task::Probes, doors.probes, Kind::Probes);
        if has_listener {
            let (gate, board) = (Arc::clone(&self.gate), Arc::clone(&self.board));
            let (settings, stop) = (self.settings.subscribe(), stop.clone());
            parts.start(Task::Gate, async move { gate.keep(settings, &board, stop).await });
        }
        if let Some(control) = doors.control {
            let stop = stop.clone();
            parts.start(Task::Control, async move {
                log_end(
                    "control socket",
                    web::control::serve(control, router.merge(web::control::router(web)), stop).await,
                );
            });
        }
    }
}

impl Reloader {
    /// Puts the wiring in force, and with it whom the listener lets in.
    pub fn put_in_force(&self, wiring: Wiring, policy: Policy) {
        self.gate.put(policy);
        self.settings.send_replace(Arc::clone(&wiring.settings));
        self.wiring.send_replace(Arc::new(wiring));
        self.board.vitals.reloaded(true, self.clock.now());
    }

    /// Whom the listener lets in now.
    pub fn policy(&self) -> Arc<Policy> {
        self.gate.policy()
    }

    /// What is in force.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }

    /// Notes that another configuration was refused; the old one stays in force.
    pub fn refused(&self) {
        self.board.vitals.reloaded(false, self.clock.now());
    }
}

/// Binds the control socket with mode 0660. A socket left behind by a dead process is removed: the state file's lock has already shown that
/// no other process is alive.
///
/// # Errors
/// When the folder cannot be written or the path is too long for a socket.
pub fn bind_control(path: &Path) -> std::io::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt as _;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// Where the control socket stands: in systemd's runtime folder, else beside the state file.
pub fn control_path(runtime_directory: Option<&str>, state: &Path) -> PathBuf {
    match runtime_directory {
        Some(folder) => Path::new(folder).join(CONTROL_SOCKET),
        None => state.with_file_name(CONTROL_SOCKET),
    }
}

/// The tasks, to tell which one ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Task {
    Watch,
    Renewals,
    Outbox,
    Bells,
    Caretaker,
    Heart,
    Sustain,
    Listener,
    Probes,
    Gate,
    Control,
}

impl Task {
    const fn name(self) -> &'static str {
        match self {
            Self::Watch => "watch",
            Self::Renewals => "renewals",
            Self::Outbox => "outbox",
            Self::Bells => "bells",
            Self::Caretaker => "caretaker",
            Self::Heart => "heartbeat",
            Self::Sustain => "sustain",
            Self::Listener => "listener",
            Self::Probes => "probe listener",
            Self::Gate => "listener's files",
            Self::Control => "control",
        }
    }
}

/// The tasks at work. Each gives its name when it ends, however that is.
#[derive(Default)]
struct Parts {
    at_work: JoinSet<(Task, Ending)>,
    ended: Vec<Task>,
}

/// How a task ended.
enum Ending {
    /// By itself.
    Over,
    /// It could not use the state.
    Store(StoreError),
    /// By a fault of ours.
    Panicked,
}

impl Parts {
    fn start<E: Into<Ending>>(&mut self, task: Task, work: impl Future<Output = E> + Send + 'static) {
        self.at_work.spawn(async move {
            let ended = AssertUnwindSafe(work).catch_unwind().await;
            (task, ended.map_or(Ending::Panicked, E::into))
        });
    }

    /// The next one that ends.
    async fn next(&mut self) -> Option<(Task, Ending)> {
        // None is aborted before all are, and panics end within.
        let ended = self.at_work.join_next().await.and_then(Result::ok);
        self.ended.extend(ended.as_ref().map(|(task, _)| *task));
        ended
    }

    /// Waits for that task, unless it has ended already.
    async fn settle(&mut self, wanted: Task) {
        while !self.ended.contains(&wanted) {
            match self.next().await {
                None => return,
                Some((_, Ending::Over)) => {}
                Some((task, ending)) => error!(task = task.name(), how = %ending, "a part of the daemon ended badly"),
            }
        }
    }
}

impl From<()> for Ending {
    fn from((): ()) -> Self {
        Self::Over
    }
}

impl From<Result<(), StoreError>> for Ending {
    fn from(ended: Result<(), StoreError>) -> Self {
        ended.map_or_else(Self::Store, |()| Self::Over)
    }
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Over => f.write_str("by itself"),
            Self::Store(failure) => write!(f, "the state could not be read: {failure}"),
            Self::Panicked => f.write_str("by a fault of tokenwatch; please report what stands before this line"),
        }
    }
}

fn log_end(what: &str, served: std::io::Result<()>) {
    if let Err(problem) = served {
        error!(what, error = %problem, "stopped serving");
    }
}

/// A wall clock that jumped, or a suspended machine, is noticed within this time.
const LONGEST_SLEEP: Span = Span::minutes(5);
/// The control socket's file name.
pub const CONTROL_SOCKET: &str = "control.sock";

#[cfg(test)]
mod tests {
    use super::*;

    fn breaks() {
        panic!("a fault of ours");
    }

    #[tokio::test]
    async fn a_part_that_panics_says_which_it_was_and_is_not_waited_for() {
        let mut parts = Parts::default();
        parts.start(Task::Outbox, std::future::pending::<()>());
        parts.start(Task::Renewals, async { breaks() });
        let (task, ending) = parts.next().await.expect("one of them ended");
        assert!(task == Task::Renewals && ending.to_string().starts_with("by a fault of tokenwatch"));
        let settled = async {
            parts.settle(Task::Renewals).await;
            parts.start(Task::Watch, async { breaks() });
            parts.start(Task::Bells, async {});
            parts.settle(Task::Bells).await;
            parts.settle(Task::Watch).await;
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), settled).await.expect("none of them is waited for");
    }
}
