//! Copies of the state file: for a backup, and before a schema is changed.
//!
//! A copy is made by the database itself, so it is of one moment whatever is being written. Nothing here changes what is in a state.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use super::file::{Problem, io_words};
use super::schema::MIGRATIONS;

/// Copies the state into a new file of mode 0600, durable when this returns; where it fails nothing is left of it.
pub fn copy(connection: &Connection, to: &Path) -> Result<(), Problem> {
    let file = fill(connection, to)?;
    let synced = file.sync_all();
    if synced.is_err() {
        forget(to);
    }
    synced.map_err(|error| unwritten(to, &error))
}

/// The same for a copy that is only handed on, so that it need not be durable here. All commits wait for it, and the watchdog for them; what takes
/// too long is given up.
pub fn copy_soon(connection: &Connection, to: &Path) -> Result<(), Problem> {
    // The library syncs a copy as it syncs the file itself, and is deaf while it does.
    let _durable_again = Unsynced::begin(connection)?;
    copy_in_time(connection, to)
}

/// While it lives commits are not durable; after that they are, however it ends.
struct Unsynced<'a>(&'a Connection);

impl<'a> Unsynced<'a> {
    fn begin(connection: &'a Connection) -> Result<Self, Problem> {
        connection.pragma_update(None, "synchronous", "OFF")?;
        Ok(Self(connection))
    }
}

impl Drop for Unsynced<'_> {
    fn drop(&mut self) {
        if let Err(failure) = self.0.pragma_update(None, "synchronous", "FULL") {
            tracing::error!(%failure, "the state is not synced any more as it was: restart the daemon");
        }
    }
}

fn copy_in_time(connection: &Connection, to: &Path) -> Result<(), Problem> {
    let interrupt = connection.get_interrupt_handle();
    let (done, waiting) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            if waiting.recv_timeout(LONGEST_COPY) == Err(RecvTimeoutError::Timeout) {
                interrupt.interrupt();
            }
        });
        let copied = fill(connection, to).map(drop);
        drop(done);
        match copied {
            Err(Problem::Sqlite(error)) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
                let limit = LONGEST_COPY.as_secs();
                let why = format!("a copy takes longer than {limit} s here, and no check can be noted meanwhile");
                Err(Problem::Other(format!("{why}; stop the daemon and back up its file")))
            }
            copied => copied,
        }
    })
}

fn fill(connection: &Connection, to: &Path) -> Result<File, Problem> {
    let file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).map_err(|error| unwritten(to, &error))?;
    let place = to.to_str().ok_or_else(|| Problem::Other(format!("{} is no UTF-8", to.display())));
    // The library fills an empty file that is there already, and so keeps its mode.
    let written = place.and_then(|place| Ok(connection.execute("VACUUM INTO ?1", [place])?));
    if let Err(problem) = written {
        // What matters is why it could not be written.
        forget(to);
        return Err(problem);
    }
    Ok(file)
}

fn unwritten(to: &Path, error: &std::io::Error) -> Problem {
    Problem::Other(format!("cannot write {}: {}", to.display(), io_words(error)))
}

/// Keeps a copy of a state that is about to be brought up to date, so that whoever goes back has something to go back to. Only the last
/// such copy is kept.
pub fn keep_before_upgrade(connection: &Connection, state: &Path, schema: i64) -> Result<PathBuf, Problem> {
    let kept = beside(state, &format!("schema-{schema}.bak"));
    let unfinished = beside(state, UNFINISHED);
    forget(&unfinished);
    copy(connection, &unfinished)?;
    let moved = fs::rename(&unfinished, &kept).and_then(|()| sync_folder(&kept));
    moved.map_err(|error| Problem::Other(format!("cannot write {}: {}", kept.display(), io_words(&error))))?;
    for older in (1..=MIGRATIONS.len()).map(|schema| beside(state, &format!("schema-{schema}.bak"))) {
        if older != kept {
            forget(&older);
        }
    }
    Ok(kept)
}

/// The copy that a program which knows that schema can go back to.
pub fn kept_before_upgrade(state: &Path, known: i64) -> Option<PathBuf> {
    (1..=known).rev().map(|schema| beside(state, &format!("schema-{schema}.bak"))).find(|path| path.exists())
}

/// Where a running daemon puts a copy that is fetched from it. One that nobody fetched is in nobody's way.
pub fn snapshot_of(state: &Path) -> PathBuf {
    beside(state, "snapshot")
}

/// Removes what a crash may have left.
pub fn tidy_up(state: &Path) {
    for left in [beside(state, UNFINISHED), snapshot_of(state)] {
        forget(&left);
    }
}

/// Removes a file that is no longer wanted; that it stays is no reason to stop.
pub fn forget(path: &Path) {
    let _ = fs::remove_file(path);
}

/// `tokenwatch.db.schema-2.bak`.
fn beside(state: &Path, suffix: &str) -> PathBuf {
    let mut name = state.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(suffix);
    state.with_file_name(name)
}

/// Makes the names in a file's folder durable.
pub fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match File::open(folder)?.sync_all() {
        // Some file systems have nothing to do here.
        Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
        done => done,
    }
}

/// A third of the watchdog's period in the unit, for there are two commits to wait for it at the worst.
const LONGEST_COPY: Duration = Duration::from_secs(20);
/// A copy that is being written.
const UNFINISHED: &str = "upgrade.part";
