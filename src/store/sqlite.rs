//! The embedded store: one SQLite file in WAL mode, one connection, one process.
//!
//! rusqlite runs in `spawn_blocking`; there is no pool, because one writer needs none. No clock is asked here: every time comes in as an
//! argument. See the contract in the parent module.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, TransactionBehavior, params};

use super::codec;
use crate::domain::alert::Subject;
use crate::domain::time::Timestamp;
use crate::domain::token::ReceiverName;
use crate::ports::{Change, OutboxRow, OutboxSummary, Settlement, SlotStatus, Store, StoreError};
use crate::secret::FingerprintKey;

/// The store in one SQLite file.
#[derive(Debug, Clone)]
pub struct Sqlite {
    connection: Arc<Mutex<Connection>>,
    shown: Arc<str>,
}

impl Sqlite {
    /// Opens the file, made with mode 0600 when it is not there, and brings its schema up to date.
    ///
    /// # Errors
    /// When it cannot be opened, is in use, or belongs to a newer version; then it is left untouched.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let shown = path.display().to_string();
        let fail = |problem: String| StoreError::Open { path: shown.clone(), problem };
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path)
            .map_err(|error| fail(io_words(&error)))?;
        let mut connection = Connection::open(path).map_err(|error| fail(error.to_string()))?;
        let refused = |error: rusqlite::Error| match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::InUse(shown.clone()),
            Some(ErrorCode::NotADatabase) => fail("it is not a state file of tokenwatch".to_owned()),
            _ => fail(sqlite_words(&error)),
        };
        // Who holds the file holds it for good: waiting for the lock would only put off the message.
        connection.busy_timeout(std::time::Duration::ZERO).map_err(refused)?;
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE").map_err(refused)?;
        let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(refused)?;
        let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
        if found > known {
            return Err(StoreError::Newer { path: shown, found, known });
        }
        let tables: i64 =
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(refused)?;
        if found == 0 && tables > 0 {
            return Err(fail("it is not a state file of tokenwatch".to_owned()));
        }
        connection.pragma_update(None, "journal_mode", "WAL").map_err(refused)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(refused)?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES).map_err(refused)?;
        migrate(&mut connection, found).map_err(refused)?;
        connection.set_prepared_statement_cache_capacity(32);
        Ok(Self { connection: Arc::new(Mutex::new(connection)), shown: shown.into() })
    }

    /// Runs `work` where blocking is allowed.
    fn run<T, F>(&self, work: F) -> BoxFuture<'_, Result<T, StoreError>>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T, Problem> + Send + 'static,
    {
        let connection = Arc::clone(&self.connection);
        Box::pin(async move {
            let done = tokio::task::spawn_blocking(move || {
                // A panic inside a transaction rolled it back; the connection itself is still good.
                let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
                work(&mut connection)
            });
            match done.await {
                Ok(result) => result.map_err(|problem| StoreError::Failed(format!("{}: {problem}", self.shown))),
                Err(error) => Err(StoreError::Failed(format!("{}: {error}", self.shown))),
            }
        })
    }
}

impl Store for Sqlite {
    fn fingerprint_key(&self) -> BoxFuture<'_, Result<FingerprintKey, StoreError>> {
        self.run(|connection| {
            let known =
                connection.query_row("SELECT value FROM meta WHERE name = 'fingerprint_key'", [], |row| row.get(0));
            if let Some(bytes) = known.optional()? {
                return Ok(FingerprintKey::new(bytes));
            }
            let mut bytes = [0_u8; 32];
            getrandom::fill(&mut bytes).map_err(|error| Problem::Other(error.to_string()))?;
            connection.execute("INSERT INTO meta (name, value) VALUES ('fingerprint_key', ?1)", params![bytes])?;
            Ok(FingerprintKey::new(bytes))
        })
    }

    fn load(&self, subjects: Vec<Subject>) -> BoxFuture<'_, Result<Vec<(Subject, SlotStatus)>, StoreError>> {
        self.run(move |connection| {
            let mut statement = connection.prepare_cached("SELECT status FROM slots WHERE subject = ?1")?;
            let mut found = Vec::with_capacity(subjects.len());
            for subject in subjects {
                let text: Option<String> = statement.query_row([subject.to_string()], |row| row.get(0)).optional()?;
                if let Some(text) = text {
                    found.push((subject, codec::decode_status(&text)?));
                }
            }
            Ok(found)
        })
    }

    fn subjects(&self) -> BoxFuture<'_, Result<Vec<Subject>, StoreError>> {
        self.run(|connection| {
            let mut statement = connection.prepare_cached("SELECT subject FROM slots ORDER BY subject")?;
            let keys = statement.query_map([], |row| row.get::<_, String>(0))?;
            keys.map(|key| Ok(codec::decode_subject(&key?)?)).collect()
        })
    }

    fn commit(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.run(move |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            {
                let mut slot = transaction.prepare_cached(
                    "INSERT INTO slots (subject, status, seen_at) VALUES (?1, ?2, ?3)
                     ON CONFLICT (subject) DO UPDATE SET status = excluded.status, seen_at = excluded.seen_at",
                )?;
                let mut row = transaction.prepare_cached(
                    "INSERT INTO outbox (alert_key, receiver, notice, made_at) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (alert_key, receiver) DO NOTHING",
                )?;
                for change in &changes {
                    let seen_at = seen_at(&change.status);
                    slot.execute(params![change.subject.to_string(), codec::encode_status(&change.status)?, seen_at])?;
                    for notice in &change.notices {
                        let text = codec::encode_notice(notice)?;
                        for receiver in notice.receivers.iter() {
                            row.execute(params![notice.key.as_str(), receiver.as_str(), text, notice.at.unix()])?;
                        }
                    }
                }
            }
            transaction.commit()?;
            Ok(())
        })
    }

    fn pending(&self, limit: usize) -> BoxFuture<'_, Result<Vec<OutboxRow>, StoreError>> {
        self.run(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, receiver, notice, message FROM outbox WHERE delivered_at IS NULL ORDER BY id LIMIT ?1",
            )?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let mut rows = statement.query([limit])?;
            let mut pending = Vec::new();
            while let Some(row) = rows.next()? {
                pending.push(OutboxRow {
                    id: row.get(0)?,
                    receiver: codec::decode_receiver(&row.get::<_, String>(1)?)?,
                    notice: codec::decode_notice(&row.get::<_, String>(2)?)?,
                    message: row.get::<_, Option<String>>(3)?.map(Arc::from),
                });
            }
            Ok(pending)
        })
    }

    fn seal(&self, rows: Vec<i64>, message: Arc<str>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.run(move |connection| {
            // A row that is tied already stays tied: its message may be on its way. Counting the attempt makes this a write even then, so a
            // store that cannot write lets nothing leave.
            let sql = "UPDATE outbox SET message = coalesce(message, ?2), attempts = attempts + 1 WHERE id = ?1";
            each(connection, &rows, sql, &[&&*message])
        })
    }

    fn reopen(&self, rows: Vec<i64>, failure: String) -> BoxFuture<'_, Result<(), StoreError>> {
        self.run(move |connection| {
            let sql = "UPDATE outbox SET message = NULL, failure = ?2 WHERE id = ?1";
            each(connection, &rows, sql, &[&failure])
        })
    }

    fn settle(&self, rows: Vec<i64>, delivery: Settlement) -> BoxFuture<'_, Result<(), StoreError>> {
        self.run(move |connection| {
            let sql = "UPDATE outbox SET delivered_at = ?2, channel = ?3 WHERE id = ?1";
            each(connection, &rows, sql, &[&delivery.at.unix(), &delivery.channel])
        })
    }

    fn reroute(
        &self,
        rows: Vec<i64>,
        receivers: Vec<ReceiverName>,
        at: Timestamp,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.run(move |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for id in rows {
                let own: Option<String> = transaction
                    .prepare_cached("SELECT receiver FROM outbox WHERE id = ?1 AND delivered_at IS NULL")?
                    .query_row([id], |row| row.get(0))
                    .optional()?;
                // A row with nobody to go to stays where it is.
                let Some(own) = own.filter(|own| receivers.iter().any(|receiver| receiver.as_str() != own)) else {
                    continue;
                };
                for receiver in receivers.iter().filter(|receiver| receiver.as_str() != own) {
                    transaction
                        .prepare_cached(
                            "INSERT INTO outbox (alert_key, receiver, notice, made_at)
                             SELECT alert_key, ?2, notice, made_at FROM outbox WHERE id = ?1
                             ON CONFLICT (alert_key, receiver) DO NOTHING",
                        )?
                        .execute(params![id, receiver.as_str()])?;
                }
                transaction
                    .prepare_cached("UPDATE outbox SET delivered_at = ?2, channel = 'rerouted' WHERE id = ?1")?
                    .execute(params![id, at.unix()])?;
            }
            transaction.commit()?;
            Ok(())
        })
    }

    fn outbox(&self) -> BoxFuture<'_, Result<OutboxSummary, StoreError>> {
        self.run(|connection| {
            let (pending, oldest): (i64, Option<i64>) = connection
                .prepare_cached("SELECT count(*), min(made_at) FROM outbox WHERE delivered_at IS NULL")?
                .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let last_mail: Option<i64> = connection
                .prepare_cached(
                    "SELECT max(delivered_at) FROM outbox WHERE delivered_at IS NOT NULL AND channel = 'mail'",
                )?
                .query_row([], |row| row.get(0))?;
            Ok(OutboxSummary {
                pending: u64::try_from(pending).unwrap_or(0),
                oldest: oldest.map(Timestamp::from_unix),
                last_mail: last_mail.map(Timestamp::from_unix),
            })
        })
    }

    fn prune(&self, before: Timestamp) -> BoxFuture<'_, Result<(), StoreError>> {
        self.run(move |connection| {
            connection.execute("DELETE FROM outbox WHERE delivered_at < ?1", [before.unix()])?;
            connection.execute("DELETE FROM slots WHERE seen_at < ?1", [before.unix()])?;
            Ok(())
        })
    }
}

/// Runs one statement for each row, all in one transaction. The row's id is the first parameter.
fn each(connection: &mut Connection, rows: &[i64], sql: &str, more: &[&dyn rusqlite::ToSql]) -> Result<(), Problem> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let mut statement = transaction.prepare_cached(sql)?;
        for id in rows {
            let mut parameters: Vec<&dyn rusqlite::ToSql> = vec![id];
            parameters.extend_from_slice(more);
            statement.execute(parameters.as_slice())?;
        }
    }
    transaction.commit()?;
    Ok(())
}

/// When a slot was last alive; an app lives as long as it is configured, so it is never pruned by age.
fn seen_at(status: &SlotStatus) -> Option<i64> {
    match status {
        SlotStatus::Token(status) => status.last_check.map(Timestamp::unix),
        SlotStatus::App(_) => None,
    }
}

/// Applies what is missing, each migration in a transaction of its own together with its number.
fn migrate(connection: &mut Connection, found: i64) -> Result<(), rusqlite::Error> {
    let done = usize::try_from(found).unwrap_or(0);
    for (index, sql) in MIGRATIONS.iter().enumerate().skip(done) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", i64::try_from(index).unwrap_or(0) + 1)?;
        transaction.commit()?;
    }
    // An up-to-date file takes its lock here, so that a second process is refused now and not at its first write.
    connection.transaction_with_behavior(TransactionBehavior::Exclusive)?.commit()
}

/// What can go wrong inside a statement.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("{}", sqlite_words(.0))]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Codec(#[from] codec::Unreadable),
    #[error("{0}")]
    Other(String),
}

/// The system's words, with the remedy where there is one.
fn io_words(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::StorageFull => format!("{error}; free some space"),
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => {
            format!("{error}; make the folder writable for this user, or name another with [daemon] state")
        }
        _ => error.to_string(),
    }
}

/// The library's words, with the remedy where there is one.
fn sqlite_words(error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "the disk is full; free some space".to_owned(),
        Some(ErrorCode::ReadOnly) => "the state folder is read-only; make it writable for this user".to_owned(),
        Some(ErrorCode::DatabaseCorrupt) => {
            format!("the file is damaged ({error}); move it away and restart, or restore a copy")
        }
        _ => error.to_string(),
    }
}

/// The log is folded into the file after this many pages (16 MiB); each folding costs two more syncs.
const CHECKPOINT_PAGES: i64 = 4_096;
/// The schema, step by step. A step is never changed once it was released; a new one is added.
const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE slots (subject TEXT PRIMARY KEY, status TEXT NOT NULL, seen_at INTEGER) WITHOUT ROWID;
    CREATE TABLE outbox (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        alert_key TEXT NOT NULL,
        receiver TEXT NOT NULL,
        notice TEXT NOT NULL,
        made_at INTEGER NOT NULL,
        message TEXT,
        attempts INTEGER NOT NULL DEFAULT 0,
        failure TEXT,
        delivered_at INTEGER,
        channel TEXT,
        UNIQUE (alert_key, receiver)
    );
    CREATE INDEX outbox_pending ON outbox (id) WHERE delivered_at IS NULL;
    CREATE INDEX outbox_delivered ON outbox (delivered_at) WHERE delivered_at IS NOT NULL;
"];
