//! The upkeep of a state file: copies of it, and a reading of all of it that says whether it is whole.
//!
//! A copy is made by the database itself, so it is of one moment whatever is being written. Nothing here changes what is in a state.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use rusqlite::types::Value;
use rusqlite::{Connection, ErrorCode, OpenFlags, Row};

use super::codec;
use super::sqlite::{MIGRATIONS, Problem, io_words, lane, sqlite_words};
use crate::domain::time::Timestamp;
use crate::ports::{RunReport, StateReport, StoreError};

/// The state of a daemon that does not run, or a backup. It is held for as long as this lives, and brought up to no other schema.
#[derive(Debug)]
pub struct Stopped {
    connection: Connection,
    shown: String,
}

impl Stopped {
    /// Opens the file that is there.
    ///
    /// # Errors
    /// When it is not there, a daemon holds it, or it is no database.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let shown = path.display().to_string();
        let fail = |problem: String| StoreError::Open { path: shown.clone(), problem };
        // The library would say only that it cannot.
        File::open(path).map_err(|error| fail(io_words(&error)))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(|error| fail(error.to_string()))?;
        let refused = |error: rusqlite::Error| match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::InUse(shown.clone()),
            Some(ErrorCode::NotADatabase) => fail("it is not a state file of tokenwatch".to_owned()),
            _ => fail(sqlite_words(&error)),
        };
        connection.busy_timeout(std::time::Duration::ZERO).map_err(refused)?;
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE").map_err(refused)?;
        let tables = "SELECT count(*) FROM sqlite_schema WHERE name IN ('meta', 'slots', 'outbox')";
        let tables: i64 = connection.query_row(tables, [], |row| row.get(0)).map_err(refused)?;
        if tables != 3 {
            return Err(fail("it is not a state file of tokenwatch".to_owned()));
        }
        Ok(Self { connection, shown })
    }

    /// Writes a copy into a file that is not there yet, durable when this returns.
    ///
    /// # Errors
    /// When it cannot be written; then nothing is left of it.
    pub fn copy(&self, to: &Path) -> Result<(), StoreError> {
        copy(&self.connection, to).map_err(|problem| StoreError::Failed(format!("{}: {problem}", self.shown)))
    }

    /// Reads all of it.
    pub fn verify(&self) -> StateReport {
        let mut reading = Verification::new(true);
        while !reading.is_done() {
            reading = reading.step(&self.connection);
        }
        reading.report
    }
}

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

/// A reading of all of a state, a part at a time, so that whoever shares its connection gets a turn in between.
#[derive(Debug)]
pub struct Verification {
    /// What was found so far.
    pub report: StateReport,
    whole: bool,
    next: VecDeque<Part>,
}

/// A part of the reading.
#[derive(Debug)]
enum Part {
    /// The schema's number, its tables and columns.
    Shape,
    /// What the database says of its file, or of one table.
    Pages(Option<&'static str>),
    /// So many rows of a table, after that key.
    Rows(&'static Table, Option<Value>),
    /// Counts.
    Facts,
}

impl Verification {
    /// One that begins; `whole` asks about the file as a whole, which takes a while in one go.
    pub fn new(whole: bool) -> Self {
        let report = StateReport { known: schema_of_today(), ..StateReport::default() };
        Self { report, whole, next: VecDeque::from([Part::Shape]) }
    }

    /// Whether all was read.
    pub fn is_done(&self) -> bool {
        self.next.is_empty()
    }

    /// Reads the next part. What cannot be read is a fault of the state.
    pub fn step(mut self, connection: &Connection) -> Self {
        let Some(part) = self.next.pop_front() else { return self };
        let (what, done) = match part {
            Part::Shape => ("schema".to_owned(), self.shape(connection)),
            Part::Pages(table) => (table.unwrap_or("file").to_owned(), self.pages(connection, table)),
            Part::Rows(table, after) => (format!("table {}", table.name), self.rows(connection, table, after)),
            Part::Facts => ("counts".to_owned(), self.facts(connection)),
        };
        if let Err(problem) = done {
            self.report.fault(format!("{what}: {problem}"));
        }
        self
    }

    fn shape(&mut self, connection: &Connection) -> Result<(), Problem> {
        self.report.schema = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let there = columns(connection)?;
        if (1..=self.report.known).contains(&self.report.schema) {
            let model = Connection::open_in_memory()?;
            for sql in MIGRATIONS.iter().take(usize::try_from(self.report.schema).unwrap_or(0)) {
                model.execute_batch(sql)?;
            }
            let wanted = columns(&model)?;
            for column in wanted.difference(&there) {
                self.report.fault(format!("schema {}: {column} is missing", self.report.schema));
            }
        } else if self.report.schema < 1 {
            self.report.fault("it has no schema number".to_owned());
        }
        let tables: BTreeSet<&str> = there.iter().filter_map(|column| column.split('.').next()).collect();
        let known = || TABLES.iter().filter(|table| tables.contains(table.name));
        if self.whole {
            self.next.push_back(Part::Pages(None));
        } else {
            self.next.extend(known().map(|table| Part::Pages(Some(table.name))));
        }
        self.next.extend(known().map(|table| Part::Rows(table, None)));
        self.next.push_back(Part::Facts);
        Ok(())
    }

    fn pages(&mut self, connection: &Connection, table: Option<&str>) -> Result<(), Problem> {
        let sql = table.map_or_else(
            || "PRAGMA integrity_check".to_owned(),
            |table| format!("PRAGMA integrity_check(\"{table}\")"),
        );
        let mut statement = connection.prepare(&sql)?;
        let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
        for line in lines {
            let line = line?;
            if line != "ok" {
                self.report.fault(format!("{}: {line}", table.unwrap_or("file")));
            }
        }
        Ok(())
    }

    fn rows(&mut self, connection: &Connection, table: &'static Table, after: Option<Value>) -> Result<(), Problem> {
        let first = after.is_none();
        // The first schema had one way to each receiver.
        let columns =
            if self.report.schema < 2 { table.columns.replace("route", "''") } else { table.columns.to_owned() };
        let (name, key) = (table.name, table.key);
        let start = if first { "?1 IS NULL".to_owned() } else { format!("{key} > ?1") };
        let sql = format!("SELECT {key}, {columns} FROM {name} WHERE {start} ORDER BY {key} LIMIT {ROWS_AT_ONCE}");
        let mut statement = connection.prepare(&sql)?;
        let mut rows = statement.query([after.unwrap_or(Value::Null)])?;
        let (mut count, mut last) = (0_u64, None);
        while let Some(row) = rows.next()? {
            let key: Value = row.get(0)?;
            match (table.read)(row) {
                Ok(Some(run)) => self.report.runs.push(run),
                Ok(None) => {}
                Err(problem) => self.report.fault(format!("{name} {}: {problem}", in_words(&key))),
            }
            (count, last) = (count + 1, Some(key));
        }
        *self.report.rows.entry(name.to_owned()).or_default() += count;
        if count == ROWS_AT_ONCE {
            self.next.push_front(Part::Rows(table, last));
        }
        Ok(())
    }

    fn facts(&mut self, connection: &Connection) -> Result<(), Problem> {
        let waiting = "SELECT count(*), min(made_at) FROM outbox WHERE delivered_at IS NULL";
        let (count, oldest): (i64, Option<i64>) =
            connection.query_row(waiting, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        self.report.waiting = u64::try_from(count).unwrap_or(0);
        self.report.oldest_waiting = oldest.map(Timestamp::from_unix);
        if self.report.rows.contains_key("incidents") {
            let open = "SELECT count(*) FROM incidents WHERE ended_at IS NULL";
            let open: i64 = connection.query_row(open, [], |row| row.get(0))?;
            self.report.open_incidents = u64::try_from(open).unwrap_or(0);
        }
        Ok(())
    }
}

/// A table, and how a row of it is read.
#[derive(Debug)]
struct Table {
    name: &'static str,
    /// What its rows are ordered by.
    key: &'static str,
    columns: &'static str,
    /// Reads a row; the first column is the key.
    read: fn(&Row<'_>) -> Result<Option<RunReport>, Problem>,
}

/// Every table that holds more than numbers and names.
static TABLES: [Table; 7] = [
    Table { name: "meta", key: "name", columns: "value", read: read_meta },
    Table { name: "slots", key: "subject", columns: "status", read: read_slot },
    Table { name: "outbox", key: "id", columns: "receiver, route, notice", read: read_notice },
    Table { name: "incidents", key: "key", columns: "subject, record, ended_at", read: read_incident },
    Table { name: "answers", key: "id", columns: "subject, record, at", read: read_answer },
    Table { name: "runs", key: "subject", columns: "run, sealed", read: read_run },
    Table { name: "renewals", key: "id", columns: "subject, record", read: read_renewal },
];

fn read_meta(row: &Row<'_>) -> Result<Option<RunReport>, Problem> {
    let name: String = row.get(0)?;
    if name == "fingerprint_key" {
        let _: [u8; 32] = row.get(1)?;
    }
    Ok(None)
}

fn read_slot(row: &Row<'_>) -> Result<Option<RunReport>, Problem> {
    codec::decode_subject(&row.get::<_, String>(0)?)?;
    codec::decode_status(&row.get::<_, String>(1)?)?;
    Ok(None)
}

fn read_notice(row: &Row<'_>) -> Result<Option<RunReport>, Problem> {
    lane(&row.get::<_, String>(1)?, &row.get::<_, String>(2)?)?;
    codec::decode_notice(&row.get::<_, String>(3)?)?;
    Ok(None)
}

fn read_incident(row: &Row<'_>) -> Result<Option<RunReport>, Problem> {
    codec::decode_subject(&row.get::<_, String>(1)?)?;
    codec::decode_incident(&row.get::<_, String>(2)?, row.get(3)?)?;
    Ok(None)
}

fn read_answer(row: &Row<'_>) -> Result<Option<RunReport>, Problem> {
    codec::decode_subject(&row.get::<_, String>(1)?)?;
    codec::decode_answer(&row.get::<_, String>(2)?, row.get(3)?)?;
    Ok(None)
}

fn read_run(row: &Row<'_>) -> Result<Option<RunReport>, Problem> {
    let subject: String = row.get(0)?;
    codec::decode_subject(&subject)?;
    let run = codec::decode_run(&row.get::<_, String>(1)?)?;
    let sealed = codec::decode_sealed(&row.get::<_, String>(2)?)?.len();
    Ok(Some(RunReport { subject, phase: run.phase.as_str().to_owned(), sealed }))
}

fn read_renewal(row: &Row<'_>) -> Result<Option<RunReport>, Problem> {
    codec::decode_subject(&row.get::<_, String>(1)?)?;
    codec::decode_ended(&row.get::<_, String>(2)?)?;
    Ok(None)
}

/// Every column as `table.column TYPE`, and every index as `index.NAME`.
fn columns(connection: &Connection) -> Result<BTreeSet<String>, Problem> {
    let sql = "SELECT t.name || '.' || c.name || ' ' || c.type FROM sqlite_schema AS t, pragma_table_info(t.name) AS c
                   WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'
               UNION ALL SELECT 'index.' || name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL";
    let mut statement = connection.prepare(sql)?;
    let columns = statement.query_map([], |row| row.get(0))?;
    Ok(columns.collect::<Result<_, _>>()?)
}

/// The schema that this program writes.
pub fn schema_of_today() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

fn in_words(key: &Value) -> String {
    match key {
        Value::Text(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Null | Value::Real(_) | Value::Blob(_) => "?".to_owned(),
    }
}

/// For so many rows the connection is held at a time.
const ROWS_AT_ONCE: u64 = 1_000;
/// A third of the watchdog's period in the unit, for there are two commits to wait for it at the worst.
const LONGEST_COPY: Duration = Duration::from_secs(20);
/// A copy that is being written.
const UNFINISHED: &str = "upgrade.part";
