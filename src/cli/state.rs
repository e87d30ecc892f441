//! `state backup | verify`: a copy of the state that is whole and of one moment, and whether a state or a copy of it is whole.
//!
//! A running daemon holds its state for itself, so it is asked over its control socket; without one the file is opened here. Nothing is
//! changed, and no state is brought up to another schema.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;
use serde::Deserialize as _;

use super::control::{Daemon, FetchTrouble};
use super::{Context, Exit, io, new_file};
use crate::clock::System;
use crate::daemon::lifecycle::{STATE_FILE, state_place, variable};
use crate::domain::time::{Timestamp, relative};
use crate::ports::{Clock as _, StoreError};
use crate::renewal::keyring::KEY_FILE;
use crate::settings;
use crate::store::{Stopped, sync_folder};
use crate::web::state::StateJson;

#[derive(Debug, Subcommand)]
pub enum What {
    /// A copy of the state, whole and of one moment, while the daemon runs or without it; it never writes over a file.
    Backup {
        /// Where to.
        file: PathBuf,
        /// The state file, where no daemon runs and the configuration does not name it.
        #[arg(long, value_name = "PATH")]
        state: Option<PathBuf>,
    },
    /// Whether the state, or a backup, is whole and can be read: file, schema, every row (exit 2 when it is not).
    Verify {
        /// A backup; without one, the state of the daemon, running or not.
        file: Option<PathBuf>,
        /// For machines.
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command.
pub async fn run(context: &Context, what: What) -> Exit {
    match what {
        What::Backup { file, state } => backup(context, &file, state).await,
        What::Verify { file: Some(file), json } => verify_file(context, &file, json).await,
        What::Verify { file: None, json } => verify(context, json).await,
    }
}

async fn backup(context: &Context, file: &Path, state: Option<PathBuf>) -> Exit {
    if file.as_os_str() == "-" {
        return super::fail(Exit::Usage, "a backup is read again before it counts, so it needs a file: name one");
    }
    let taken = format!("{} is there already; a backup never writes over a file", file.display());
    if fs::symlink_metadata(file).is_ok() {
        return super::fail(Exit::Warning, taken);
    }
    let Ok(file) = std::path::absolute(file) else {
        return super::fail(Exit::Usage, format_args!("{} is no name of a file", file.display()));
    };
    if let Some(folder) = file.parent().filter(|folder| !folder.is_dir()) {
        let folder = folder.display();
        return super::fail(
            Exit::TryAgain,
            format_args!("there is no folder {folder}; make it with: mkdir -p {folder}"),
        );
    }
    let part = new_file::beside(&file);
    // Whoever has several should see which one it was.
    let mut source = "the running daemon's state".to_owned();
    let made = match (state, Daemon::find(context)) {
        (None, Ok(daemon)) => fetched(&daemon.patient(PATIENCE), &part).await,
        (None, Err(nobody)) if nobody.shut => return nobody.fail(),
        (state, _) => {
            let state = state.or_else(|| place(context));
            source = state.as_ref().map(|state| state.display().to_string()).unwrap_or_default();
            copied(state, &part).await
        }
    };
    let done = made.and_then(|()| {
        // Whatever comes out of it later: what is handed over now was read once, as it will be then.
        let report = Stopped::open(&part).map_err(|error| unreadable(&file, error))?.verify();
        if report.schema > report.known {
            let (found, known) = (report.schema, report.known);
            let why = format!("the state has schema {found}, and this program knows {known}; back it up with the program that wrote it");
            return Err((Exit::BadConfiguration, why));
        }
        if let Some(fault) = report.faults.first() {
            return Err((
                Exit::Critical,
                format!("the copy is not whole, so the state is not: {fault}; see `tokenwatch state verify`"),
            ));
        }
        put(&part, &file).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => (Exit::Warning, taken),
            _ => (Exit::TryAgain, format!("cannot write {}: {error}", file.display())),
        })?;
        Ok(report)
    });
    // After it was put in its place it has that name alone; what failed leaves nothing.
    let _ = fs::remove_file(&part);
    match done {
        Err((exit, why)) => super::fail(exit, why),
        Ok(report) => {
            let sealed: usize = report.runs.iter().map(|run| run.sealed).sum();
            let size = fs::metadata(&file).map_or(0, |about| about.len());
            let (to, schema) = (file.display(), report.schema);
            let mut text = format!("{to}: {size} bytes, schema {schema}, whole; a copy of {source}\n");
            text.push_str(&match sealed {
                0 => "No secret is in it: the journal of renewals holds none now.\n".to_owned(),
                sealed => format!(
                    "The journal of renewals holds {sealed} sealed secrets. They can be opened with the sealing key alone ({KEY_FILE} beside the state, or \
                     the credential renewal-key), which is not in this file: keep it as well, and somewhere else.\n"
                ),
            });
            io::print(&text)
        }
    }
}

/// The daemon's copy, as it is sent.
async fn fetched(daemon: &Daemon, part: &Path) -> Result<(), (Exit, String)> {
    let here = |error: &std::io::Error| (Exit::TryAgain, format!("cannot write {}: {error}", part.display()));
    let mut out =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(part).map_err(|error| here(&error))?;
    let taken = daemon.fetch("/control/v1/state/backup", |piece| out.write_all(piece)).await;
    taken.map_err(|trouble| match trouble {
        FetchTrouble::There(trouble) => (Exit::TryAgain, trouble.into_words()),
        FetchTrouble::Here(error) => here(&error),
    })?;
    out.sync_all().map_err(|error| here(&error))
}

/// A copy of a state that nobody holds.
async fn copied(state: Option<PathBuf>, part: &Path) -> Result<(), (Exit, String)> {
    let state = state.ok_or_else(|| (Exit::TryAgain, NOWHERE.to_owned()))?;
    let part = part.to_owned();
    let copying = move || {
        let stopped = Stopped::open(&state).map_err(|error| refused(&error))?;
        // A copy fails for want of a place to write to, or because the state cannot be read.
        stopped.copy(&part).map_err(|error| {
            if stopped.verify().is_whole() { (Exit::TryAgain, error.to_string()) } else { refused(&error) }
        })
    };
    tokio::task::spawn_blocking(copying).await.unwrap_or_else(|broken| Err((Exit::Internal, broken.to_string())))
}

async fn verify(context: &Context, json: bool) -> Exit {
    match Daemon::find(context) {
        Ok(daemon) => match daemon.patient(PATIENCE).get("/control/v1/state/verify").await {
            Ok(answer) => match StateJson::deserialize(&answer) {
                Ok(state) => told(context, &state, "the state of the running daemon", json),
                Err(_) => super::fail(Exit::TryAgain, "the daemon gave an answer that is not understood"),
            },
            Err(why) => why.fail(),
        },
        Err(nobody) if nobody.shut => nobody.fail(),
        Err(_) => match place(context) {
            Some(state) => verify_file(context, &state, json).await,
            None => super::fail(Exit::TryAgain, NOWHERE),
        },
    }
}

async fn verify_file(context: &Context, file: &Path, json: bool) -> Exit {
    let path = file.to_owned();
    let done = tokio::task::spawn_blocking(move || Ok(Stopped::open(&path)?.verify())).await;
    match done.unwrap_or_else(|broken| Err(StoreError::Failed(broken.to_string()))) {
        Ok(report) => told(context, &StateJson::of(&report), &file.display().to_string(), json),
        Err(error) => {
            let (exit, why) = refused(&error);
            super::fail(exit, why)
        }
    }
}

/// Prints what was found, and gives the exit code: 0 whole, 2 not whole, 78 of a newer schema than this program knows.
fn told(context: &Context, state: &StateJson, what: &str, json: bool) -> Exit {
    let exit = if state.schema > state.known {
        Exit::BadConfiguration
    } else if state.whole {
        Exit::Fine
    } else {
        Exit::Critical
    };
    let printed = if json {
        io::print_json(state)
    } else {
        io::print(&in_words(state, what, io::Paint::new(&context.environment)))
    };
    if printed == Exit::Fine { exit } else { printed }
}

fn in_words(state: &StateJson, what: &str, paint: io::Paint) -> String {
    let verdict = if state.whole { paint.by_word("whole", "healthy") } else { paint.by_word("not whole", "critical") };
    let age = match state.schema.cmp(&state.known) {
        std::cmp::Ordering::Less => {
            format!(" (this tokenwatch writes schema {}; it brings it up to date at its start)", state.known)
        }
        std::cmp::Ordering::Equal => String::new(),
        std::cmp::Ordering::Greater => {
            format!(" (this tokenwatch knows schema {} at most and would refuse it)", state.known)
        }
    };
    let mut text = format!("{what}: {verdict}, schema {}{age}\n", state.schema);
    for fault in &state.faults {
        text.push_str(&paint.by_word(&format!("  {fault}\n"), "critical"));
    }
    if state.more_faults > 0 {
        text.push_str(&format!("  and {} more\n", state.more_faults));
    }
    let rows: Vec<Vec<String>> =
        state.rows.iter().map(|(table, rows)| vec![format!("  {table}"), rows.to_string()]).collect();
    text.push_str(&io::table(&rows, |_, _, cell| cell.to_owned()));
    let (open, waiting) =
        (io::counted(state.open_incidents, "open incident"), io::counted(state.waiting, "waiting notice"));
    text.push_str(&format!("{open}, {waiting}"));
    if let Some(oldest) = state.oldest_waiting {
        text.push_str(&format!(", the oldest was made {}", relative(Timestamp::from_unix(oldest), System.now())));
    }
    text.push('\n');
    for run in &state.runs {
        text.push_str(&format!(
            "{}: a renewal is {}, with {} sealed secrets\n",
            run.subject,
            run.phase.replace('_', " "),
            run.sealed
        ));
    }
    text
}

/// Where the state is when nobody answers: as it is configured; else where the environment says; else where the package keeps it.
fn place(context: &Context) -> Option<PathBuf> {
    let configured = settings::glimpse_of_state(&context.config, &context.environment);
    let usual = Path::new(SYSTEM_STATE).join(STATE_FILE);
    let said = configured.is_some() || variable(&context.environment, "STATE_DIRECTORY").is_some();
    let own = state_place(configured.as_deref(), &context.environment);
    match own {
        Some(own) if said || own.exists() || !usual.exists() => Some(own),
        Some(_) | None => Some(usual).filter(|usual| usual.exists()),
    }
}

/// Of a copy that has another name than the one that people know.
fn unreadable(file: &Path, error: StoreError) -> (Exit, String) {
    let named = match error {
        StoreError::Open { problem, .. } => StoreError::Open { path: file.display().to_string(), problem },
        StoreError::Foreign(_) => StoreError::Foreign(file.display().to_string()),
        StoreError::Damaged { problem, .. } => StoreError::Damaged { path: file.display().to_string(), problem },
        error => error,
    };
    refused(&named)
}

fn refused(error: &StoreError) -> (Exit, String) {
    let exit = match error {
        StoreError::InUse(_) | StoreError::Busy(_) => Exit::TryAgain,
        StoreError::Open { .. } | StoreError::Foreign(_) => Exit::Warning,
        StoreError::Newer { .. } => Exit::BadConfiguration,
        StoreError::Damaged { .. } | StoreError::Failed(_) | StoreError::Overtaken(_) => Exit::Critical,
    };
    (exit, error.to_string())
}

/// Gives the file its name, unless somebody else has it by now; durable when this returns.
fn put(part: &Path, file: &Path) -> std::io::Result<()> {
    File::open(part)?.sync_all()?;
    new_file::give_name(part, file)?;
    sync_folder(file)
}

/// Reading and copying a hundred thousand tokens takes seconds; a slow disk may take longer.
const PATIENCE: Duration = Duration::from_secs(600);
/// Where the shipped unit keeps its state.
const SYSTEM_STATE: &str = "/var/lib/tokenwatch";
const NOWHERE: &str = "no daemon runs, and no place of a state is known; name it with --state PATH, or as FILE";
