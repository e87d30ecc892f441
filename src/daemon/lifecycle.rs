//! The life of the process: configuration, state, doors, ready; signals; the end.
//!
//! Everything that can fail fails before READY=1, with an error that names the place. SIGHUP validates the whole configuration before it
//! changes anything; SIGTERM ends in order, a second one at once.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sd_notify::NotifyState;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::openness::warn_of_open_files;
use super::reload::Reloads;
use super::wiring::Wiring;
use super::{Daemon, Doors, Fatal, bind_control, control_path, unit};
use crate::clock::System;
use crate::domain::time::Span;
use crate::ports::{Clock, Store, StoreError};
use crate::reader::Reader;
use crate::renewal::keyring::{KEY_FILE, Keyring};
use crate::settings::diff::{InForce, Picture};
use crate::settings::source::Sources;
use crate::settings::{Fault, Loaded, Settings};
use crate::store::Sqlite;
use crate::web::gate::Policy;

/// How the process was started. It holds the environment, which may hold secrets, so it cannot be printed.
#[derive(Clone)]
pub struct Start {
    /// The main configuration file.
    pub config: PathBuf,
    /// The environment, captured once.
    pub environment: Vec<(String, String)>,
}

/// Runs the daemon until a signal ends it.
///
/// # Errors
/// When it cannot start, or had to end.
pub async fn run(start: Start, loaded: Loaded) -> Result<(), Fatal> {
    let clock: Arc<dyn Clock> = Arc::new(System);
    let reader = Reader::new(Sources::new(start.environment.iter().cloned()));
    let Loaded { settings, warnings, tree } = loaded;
    warn_of_idle_settings(&warnings);
    let in_force = InForce::new(Picture::of(&tree));
    // Both may be larger than all else in memory, and nobody asks for them again.
    drop((warnings, tree));
    let state = state_path(&settings, &start.environment)?;
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(&state)?);
    let policy = Policy::of(&settings).map_err(Fatal::Web)?;
    let doors = open_doors(&settings, &policy, &state, &start.environment)?;
    make_room_for_connections(&settings);
    let (tokens, listen) = (settings.tokens.len(), settings.daemon.listen);
    warn_of_open_files(&settings, policy.secret_files()).await;
    let wiring = Wiring::new(settings, &reader, &clock)?;
    let mut signals = Signals::new().map_err(|problem| Fatal::Listen { address: "signals".to_owned(), problem })?;
    let keyring = keyring(&state, &start.environment);
    let config = start.config.clone();
    let is_notified = variable(&start.environment, "NOTIFY_SOCKET").is_some();
    let daemon = Daemon::new(Arc::clone(&clock), store, wiring, keyring)
        .with_folder(state.parent().map(Path::to_path_buf))
        .with_policy(policy);
    let (board, reloader) = (daemon.board(), daemon.reloader());
    let reloads = Arc::new(Reloads::new(start, reader, Arc::clone(&clock), in_force, reloader.clone(), listen));
    let daemon = daemon.with_preview(reloads.preview());
    let (stop, now) = (CancellationToken::new(), CancellationToken::new());
    info!(
        version = env!("CARGO_PKG_VERSION"),
        tokens,
        state = %state.display(),
        config = %config.display(),
        "watching"
    );
    unit::tell(&[NotifyState::Ready]);
    let report = unit::report(board, clock.clone(), move || reloader.settings().daemon.zone.clone());
    let mut report = std::pin::pin!(async {
        if is_notified {
            report.await;
        } else {
            std::future::pending::<()>().await;
        }
    });
    let mut running = std::pin::pin!(daemon.run(doors, stop.clone(), now.clone()));
    // One at a time, beside everything else: files that do not answer must not keep signs of life and signals waiting.
    let (mut reloading, mut again) = (None, false);
    loop {
        if again && reloading.is_none() && !stop.is_cancelled() {
            reloading = Some(Box::pin(reloads.reload()));
            again = false;
        }
        tokio::select! {
            how = &mut running => return how,
            () = &mut report => {}
            () = ended(&mut reloading) => reloading = None,
            told = signals.next() => match told {
                Told::Reload => again = true,
                Told::Stop => {
                    unit::tell(&[NotifyState::Stopping]);
                    if stop.is_cancelled() { now.cancel() } else { stop.cancel() }
                }
            },
        }
    }
}

/// Ends with that work; where there is none, never.
async fn ended(work: &mut Option<impl Future<Output = ()> + Unpin>) {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}

/// What is understood but has no effect.
pub(super) fn warn_of_idle_settings(warnings: &[Fault]) {
    for warning in warnings {
        warn!(origin = warning.origin, key = warning.key, "{}", warning.what);
    }
}

fn open_doors(
    settings: &Settings,
    policy: &Policy,
    state: &Path,
    environment: &[(String, String)],
) -> Result<Doors, Fatal> {
    let listener = bind(settings.daemon.listen)?;
    let probes = bind(settings.daemon.probe_listen)?;
    if let Some(address) = settings.daemon.listen {
        warn_of_clear_text(address, policy);
    }
    let path = control_path(variable(environment, "RUNTIME_DIRECTORY"), state);
    let control = match bind_control(&path) {
        Ok(control) => Some(control),
        Err(problem) => {
            warn!(path = %path.display(), error = %problem, "no control socket: `tokenwatch status` will not reach this daemon");
            None
        }
    };
    Ok(Doors { listener, probes, control })
}

fn bind(address: Option<SocketAddr>) -> Result<Option<TcpListener>, Fatal> {
    let Some(address) = address else { return Ok(None) };
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A restart need not wait for connections of the last run to be forgotten.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bind().map(Some).map_err(|problem| Fatal::Listen { address: address.to_string(), problem })
}

/// That a listener which others reach is told passwords in the clear.
pub(super) fn warn_of_clear_text(address: SocketAddr, policy: &Policy) {
    if !address.ip().is_loopback() && policy.tls.is_none() && !policy.users.is_everybody() {
        warn!(%address, "passwords cross the network in the clear; name a certificate in tls_server_config of daemon.web_config");
    }
}

/// How many files may be open at once, where there is a listener.
pub fn open_files(settings: &Settings) -> Option<u64> {
    settings.daemon.listen?;
    Some(u64::try_from(settings.daemon.max_connections).unwrap_or(u64::MAX).saturating_add(OTHER_FILES))
}

/// The drains together may take this long: the grace for renewals, for checks, and for the last mails.
pub fn longest_stop(grace: Span) -> std::time::Duration {
    std::time::Duration::from_secs(u64::try_from(grace.as_seconds()).unwrap_or(0).saturating_mul(3).saturating_add(1))
}

/// A process may have so many files open, and every connection is one. The usual limit is raised where more are asked for and the system allows it.
pub(super) fn make_room_for_connections(settings: &Settings) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Some(wanted) = open_files(settings) else { return };
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return;
    }
    let possible = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(possible), maximum: limit.maximum });
    if raised.is_err() || possible < wanted {
        let connections = possible.saturating_sub(OTHER_FILES);
        warn!(
            wanted,
            possible,
            "so many connections cannot be kept open: raise LimitNOFILE= in the unit, or set daemon.max_connections to {connections}"
        );
    }
}

/// The state file: as configured, else in systemd's state folder, else in the user's. The folder is made when it is missing.
///
/// # Errors
/// When there is no place, or the folder cannot be made.
pub fn state_path(settings: &Settings, environment: &[(String, String)]) -> Result<PathBuf, StoreError> {
    let path = state_place(settings.daemon.state.as_deref(), environment).ok_or_else(|| StoreError::Open {
        path: "the state file".to_owned(),
        problem: "no place is known for it; set [daemon] state".to_owned(),
    })?;
    if let Some(folder) = path.parent() {
        use std::os::unix::fs::DirBuilderExt as _;
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|error| StoreError::Open { path: path.display().to_string(), problem: error.to_string() })?;
    }
    Ok(path)
}

/// Where the state file is, whether or not it is there: as configured, else in systemd's state folder, else in the user's.
pub fn state_place(configured: Option<&Path>, environment: &[(String, String)]) -> Option<PathBuf> {
    let folder = || {
        let user = |name: &str, below: &str| variable(environment, name).map(|home| Path::new(home).join(below));
        variable(environment, "STATE_DIRECTORY")
            .and_then(|folders| folders.split(':').next())
            .map(PathBuf::from)
            .or_else(|| user("XDG_STATE_HOME", "tokenwatch"))
            .or_else(|| user("HOME", ".local/state/tokenwatch"))
    };
    configured.map(Path::to_path_buf).or_else(|| folder().map(|folder| folder.join(STATE_FILE)))
}

/// The key that seals secrets: a systemd credential, else a file beside the state.
pub fn keyring(state: &Path, environment: &[(String, String)]) -> Keyring {
    let credentials = variable(environment, "CREDENTIALS_DIRECTORY").map(PathBuf::from);
    Keyring::new(credentials, state.with_file_name(KEY_FILE))
}

/// A variable of the captured environment.
pub fn variable<'a>(environment: &'a [(String, String)], name: &str) -> Option<&'a str> {
    environment.iter().find(|(known, value)| known == name && !value.is_empty()).map(|(_, value)| value.as_str())
}

/// The usual name of the state file.
pub const STATE_FILE: &str = "tokenwatch.db";
/// How many connections the system keeps until they are accepted. With the usual 128 a thousand that come at once overflow it, and whoever
/// is turned away tries again only after a second: a probe, too.
const BACKLOG: u32 = 4_096;
/// What is open beside connections: the state, questions to providers, mails, renewals.
const OTHER_FILES: u64 = 256;

/// What the process was told.
enum Told {
    Reload,
    Stop,
}

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.hangup.recv() => Told::Reload,
            _ = self.terminate.recv() => Told::Stop,
            _ = self.interrupt.recv() => Told::Stop,
        }
    }
}
