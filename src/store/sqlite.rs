//! The embedded store: one SQLite file in WAL mode, one connection, one process.
//!
//! rusqlite runs in `spawn_blocking`; there is no pool, because one writer needs none. No clock is asked here: every time comes in as an
//! argument. See the contract in the parent module.

use std::fs::{File, OpenOptions};
use std::future::ready;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};
use tokio::sync::Semaphore;

use super::file::{self, Problem, io_words};
use super::{codec, copy, schema, verify};
use crate::domain::alert::{Notice, Subject};
use crate::domain::finding::Severity;
use crate::domain::ledger::Entry;
use crate::domain::renewal::{Phase, Run};
use crate::domain::route::{ChannelKind, Route};
use crate::domain::time::Timestamp;
use crate::domain::token::TokenId;
use crate::ports::{
    Change, DeliveryRecord, History, JournalChange, Journaled, Lane, LaneSummary, OutboxRow, OutboxSummary, Sealed,
    Settlement, SlotStatus, Snapshot, StateReport, Store, StoreError,
};
use crate::secret::FingerprintKey;

/// The store in one SQLite file.
#[derive(Debug, Clone)]
pub struct Sqlite {
    connection: Arc<Mutex<Connection>>,
    path: Arc<Path>,
    /// Of copies there is one at a time.
    copies: Arc<Semaphore>,
}

impl Sqlite {
    /// Opens the file, made with mode 0600 when it is not there, and brings its schema up to date.
    ///
    /// # Errors
    /// When it cannot be opened, is in use, or belongs to a newer version; then it is left untouched.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let fail = |problem: String| file::unopened(path, problem);
        let refused = |error: rusqlite::Error| file::refused(path, &error);
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path)
            .map_err(|error| fail(io_words(&error)))?;
        let mut connection = Connection::open(path).map_err(|error| fail(error.to_string()))?;
        file::hold(&connection).map_err(refused)?;
        let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(refused)?;
        let known = schema::of_today();
        if found > known {
            let copy = copy::kept_before_upgrade(path, known).map(|copy| copy.display().to_string());
            return Err(StoreError::Newer { path: path.display().to_string(), found, known, copy });
        }
        let tables: i64 =
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(refused)?;
        if found == 0 && tables > 0 {
            return Err(StoreError::Foreign(path.display().to_string()));
        }
        connection.pragma_update(None, "journal_mode", "WAL").map_err(refused)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(refused)?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES).map_err(refused)?;
        if (1..known).contains(&found) {
            // Whoever goes back to the version before needs something that it can read. Where there is no room for it, nothing is changed.
            connection
                .transaction_with_behavior(TransactionBehavior::Exclusive)
                .map_err(refused)?
                .commit()
                .map_err(refused)?;
            copy::keep_before_upgrade(&connection, path, found).map_err(|problem| {
                fail(format!(
                    "no copy can be kept from before the upgrade to schema {known}, so nothing was changed: {problem}"
                ))
            })?;
        }
        schema::migrate(&mut connection, found).map_err(refused)?;
        copy::tidy_up(path);
        connection.set_prepared_statement_cache_capacity(32);
        Ok(Self {
            connection: Arc::new(Mutex::new(connection)),
            path: path.into(),
            copies: Arc::new(Semaphore::new(1)),
        })
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
                Ok(result) => result.map_err(|problem| file::failed(&self.path, &problem)),
                Err(error) => Err(StoreError::Failed(format!("{}: {error}", self.path.display()))),
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
                    "INSERT INTO outbox (alert_key, incident, receiver, notice, made_at) SELECT ?1, ?2, ?3, ?4, ?5
                     WHERE NOT EXISTS (SELECT 1 FROM outbox WHERE alert_key = ?1 AND receiver = ?3)",
                )?;
                let mut incident = transaction.prepare_cached(
                    "INSERT INTO incidents (key, subject, began_at, ended_at, record) VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT (key) DO UPDATE SET ended_at = excluded.ended_at, record = excluded.record",
                )?;
                let mut answered =
                    transaction.prepare_cached("INSERT INTO answers (subject, at, record) VALUES (?1, ?2, ?3)")?;
                let mut renewed =
                    transaction.prepare_cached("INSERT INTO renewals (subject, at, record) VALUES (?1, ?2, ?3)")?;
                for change in &changes {
                    note_run(&transaction, &change.subject, &change.journal)?;
                    let seen_at = seen_at(&change.status);
                    let subject = change.subject.to_string();
                    slot.execute(params![subject, codec::encode_status(&change.status)?, seen_at])?;
                    for notice in &change.notices {
                        let (text, key) = (codec::encode_notice(notice)?, &notice.key);
                        for receiver in notice.receivers.iter() {
                            let at = notice.at.unix();
                            row.execute(params![key.as_str(), key.incident(), receiver.as_str(), text, at])?;
                        }
                    }
                    for entry in &change.entries {
                        match entry {
                            Entry::Incident(seen, ended) => {
                                let key = codec::history_key(&change.subject, seen);
                                let record = codec::encode_incident(seen, ended.map(|(_, ending)| ending))?;
                                let ended = ended.map(|(at, _)| at.unix());
                                incident.execute(params![key, subject, seen.opened_at.unix(), ended, record])?;
                            }
                            Entry::Answer(answer) => {
                                let (at, record) = (answer.signed().at.unix(), codec::encode_answer(answer)?);
                                answered.execute(params![subject, at, record])?;
                            }
                            Entry::Renewal(ended) => {
                                let (at, record) = (ended.at.unix(), codec::encode_ended(ended)?);
                                renewed.execute(params![subject, at, record])?;
                            }
                        }
                    }
                }
            }
            transaction.commit()?;
            Ok(())
        })
    }

    fn runs(&self) -> BoxFuture<'_, Result<Vec<Journaled>, StoreError>> {
        self.run(|connection| {
            let mut statement = connection.prepare_cached("SELECT run, sealed FROM runs ORDER BY subject")?;
            let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
            let all: Result<Vec<Journaled>, Problem> = rows.map(|row| journaled(&row?)).collect();
            Ok(all?.into_iter().filter(|entry| entry.run.phase != Phase::SetAside).collect())
        })
    }

    fn run_of(&self, token: TokenId) -> BoxFuture<'_, Result<Option<Journaled>, StoreError>> {
        self.run(move |connection| {
            let mut statement = connection.prepare_cached("SELECT run, sealed FROM runs WHERE subject = ?1")?;
            let subject = Subject::Token(token).to_string();
            let row = statement.query_row([subject], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)));
            row.optional()?.as_ref().map(journaled).transpose()
        })
    }

    fn end_run(&self, token: TokenId, number: u32) -> BoxFuture<'_, Result<(), StoreError>> {
        self.run(move |connection| {
            let sql = "DELETE FROM runs WHERE subject = ?1 AND run ->> 'number' = ?2";
            connection.prepare_cached(sql)?.execute(params![Subject::Token(token).to_string(), number])?;
            Ok(())
        })
    }

    fn journal(&self, entry: Journaled) -> BoxFuture<'_, Result<(), StoreError>> {
        let subject = Subject::Token(entry.run.token.clone());
        let shown = subject.to_string();
        let noted = self.run(move |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let is_later = hand_to_later(&transaction, &subject, &entry)?;
            if !is_later {
                note_run(&transaction, &subject, &JournalChange::Go(entry))?;
            }
            transaction.commit()?;
            Ok(is_later)
        });
        Box::pin(async move { if noted.await? { Err(StoreError::Overtaken(shown)) } else { Ok(()) } })
    }

    fn lanes(&self, late: Timestamp) -> BoxFuture<'_, Result<Vec<LaneSummary>, StoreError>> {
        self.run(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT receiver, route, count(*), sum(made_at < ?1), min(CASE WHEN failure IS NOT NULL THEN id END)
                 FROM outbox WHERE delivered_at IS NULL GROUP BY receiver, route",
            )?;
            let mut tried =
                connection.prepare_cached("SELECT coalesce(tried_at, made_at), failure FROM outbox WHERE id = ?1")?;
            let mut rows = statement.query([late.unix()])?;
            let mut lanes = Vec::new();
            while let Some(row) = rows.next()? {
                let first_tried: Option<i64> = row.get(4)?;
                let known = first_tried.map(|id| tried.query_row([id], |row| Ok((row.get(0)?, row.get(1)?))));
                lanes.push(LaneSummary {
                    lane: lane(&row.get::<_, String>(0)?, &row.get::<_, String>(1)?)?,
                    waiting: unsigned(row.get(2)?),
                    late: unsigned(row.get(3)?),
                    tried: known.transpose()?.map(|(at, text)| (Timestamp::from_unix(at), text)),
                });
            }
            Ok(lanes)
        })
    }

    fn pending(&self, lane: Lane, limit: usize) -> BoxFuture<'_, Result<Vec<OutboxRow>, StoreError>> {
        self.run(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, notice, message, failure FROM outbox
                 WHERE delivered_at IS NULL AND receiver = ?1 AND route = ?2 ORDER BY id LIMIT ?3",
            )?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            outbox_rows(statement.query(params![lane.receiver.as_str(), route_word(&lane), limit])?)
        })
    }

    fn urgent(&self, lane: Lane, from: Severity, limit: usize) -> BoxFuture<'_, Result<Vec<OutboxRow>, StoreError>> {
        self.run(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, notice, message, failure FROM outbox
                 WHERE delivered_at IS NULL AND receiver = ?1 AND route = ?2
                 AND (message IS NOT NULL OR notice ->> 'reason' = 'test'
                      OR CASE notice ->> 'severity' WHEN 'critical' THEN 2 WHEN 'warning' THEN 1 ELSE 0 END >= ?4)
                 ORDER BY id LIMIT ?3",
            )?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let from = Severity::ALL.iter().position(|known| *known == from).unwrap_or_default();
            let from = i64::try_from(from).unwrap_or_default();
            outbox_rows(statement.query(params![lane.receiver.as_str(), route_word(&lane), limit, from])?)
        })
    }

    fn assign(&self, rows: Vec<i64>, lanes: Vec<Lane>, at: Timestamp) -> BoxFuture<'_, Result<(), StoreError>> {
        self.run(move |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            {
                let mut own = transaction
                    .prepare_cached("SELECT receiver, route FROM outbox WHERE id = ?1 AND delivered_at IS NULL")?;
                let mut moved = transaction.prepare_cached(
                    "UPDATE OR IGNORE outbox SET receiver = ?2, route = ?3, message = NULL, attempts = 0, failure = NULL,
                     tried_at = NULL
                     WHERE id = ?1",
                )?;
                let mut copied = transaction.prepare_cached(
                    "INSERT INTO outbox (alert_key, incident, receiver, route, notice, made_at)
                     SELECT alert_key, incident, ?2, ?3, notice, made_at FROM outbox WHERE id = ?1
                     ON CONFLICT (alert_key, receiver, route) DO NOTHING",
                )?;
                let mut closed = transaction
                    .prepare_cached("UPDATE outbox SET delivered_at = ?2, channel = 'rerouted' WHERE id = ?1")?;
                for id in rows {
                    let here = own.query_row([id], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)));
                    let Some((receiver, route)) = here.optional()? else { continue };
                    let here = lane(&receiver, &route)?;
                    // A row with nobody to go to stays where it is.
                    if lanes.is_empty() {
                        continue;
                    }
                    let mut placed = lanes.contains(&here);
                    let mut others = lanes.iter().filter(|lane| **lane != here);
                    // What was tried in vain was tried on the way that it leaves; on another it is a new letter. Only the first lane can take
                    // the row itself: where some rows were moved and others copied, a lane would get them out of order.
                    if !placed && let Some(first) = others.next() {
                        placed = moved.execute(params![id, first.receiver.as_str(), route_word(first)])? == 1;
                    }
                    for lane in others {
                        copied.execute(params![id, lane.receiver.as_str(), route_word(lane)])?;
                    }
                    if !placed {
                        closed.execute(params![id, at.unix()])?;
                    }
                }
            }
            transaction.commit()?;
            Ok(())
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

    fn failed(
        &self,
        rows: Vec<i64>,
        failure: String,
        untie: bool,
        at: Timestamp,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.run(move |connection| {
            let sql = "UPDATE outbox SET failure = ?2, message = CASE WHEN ?3 THEN NULL ELSE message END,
                       tried_at = min(coalesce(tried_at, ?4), ?4)
                       WHERE id = ?1 AND delivered_at IS NULL";
            each(connection, &rows, sql, &[&failure, &untie, &at.unix()])
        })
    }

    fn settle(&self, rows: Vec<i64>, delivery: Settlement) -> BoxFuture<'_, Result<(), StoreError>> {
        self.run(move |connection| {
            // The first settlement stands: what is said of a delivered row later is about something else.
            let sql = "UPDATE outbox SET delivered_at = ?2, channel = ?3 WHERE id = ?1 AND delivered_at IS NULL";
            each(connection, &rows, sql, &[&delivery.at.unix(), &delivery.channel])
        })
    }

    fn outbox(&self) -> BoxFuture<'_, Result<OutboxSummary, StoreError>> {
        self.run(|connection| {
            let (pending, oldest): (i64, Option<i64>) = connection
                .prepare_cached("SELECT count(*), min(made_at) FROM outbox WHERE delivered_at IS NULL")?
                .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let mut statement = connection.prepare_cached(
                "SELECT max(delivered_at) FROM outbox WHERE channel = ?1 AND delivered_at IS NOT NULL",
            )?;
            let mut last = Vec::new();
            for kind in ChannelKind::ALL {
                let at: Option<i64> = statement.query_row([kind.as_str()], |row| row.get(0))?;
                last.extend(at.map(|at| (kind, Timestamp::from_unix(at))));
            }
            Ok(OutboxSummary { pending: unsigned(pending), oldest: oldest.map(Timestamp::from_unix), last })
        })
    }

    fn messages(&self, lane: Lane, since: Timestamp) -> BoxFuture<'_, Result<Vec<Timestamp>, StoreError>> {
        self.run(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT max(delivered_at) AS at FROM outbox
                 WHERE delivered_at > ?3 AND receiver = ?1 AND route = ?2 AND message IS NOT NULL
                   AND channel NOT IN ('none', 'rerouted')
                 GROUP BY message ORDER BY at",
            )?;
            let way = params![lane.receiver.as_str(), route_word(&lane), since.unix()];
            let rows = statement.query_map(way, |row| row.get(0))?;
            rows.map(|at| Ok(Timestamp::from_unix(at?))).collect()
        })
    }

    fn firing(&self, lane: Lane) -> BoxFuture<'_, Result<Vec<Notice>, StoreError>> {
        self.run(move |connection| {
            let mut open = connection.prepare_cached("SELECT key FROM incidents WHERE ended_at IS NULL")?;
            let mut last = connection.prepare_cached(
                "SELECT notice FROM outbox WHERE incident = ?1 AND receiver = ?2 AND route = ?3
                   AND coalesce(channel, '') NOT IN ('none', 'rerouted')
                 ORDER BY id DESC LIMIT 1",
            )?;
            let keys: Vec<String> = open.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
            let mut notices = Vec::new();
            for key in keys {
                let way = params![key, lane.receiver.as_str(), route_word(&lane)];
                let text: Option<String> = last.query_row(way, |row| row.get(0)).optional()?;
                notices.extend(text.map(|text| codec::decode_notice(&text)).transpose()?);
            }
            Ok(notices)
        })
    }

    fn history(&self, subject: Subject, limit: usize) -> BoxFuture<'_, Result<History, StoreError>> {
        self.run(move |connection| {
            let (name, limit) = (subject.to_string(), i64::try_from(limit).unwrap_or(i64::MAX));
            let mut history = History::default();
            let mut incidents = connection.prepare_cached(
                "SELECT record, ended_at FROM incidents WHERE subject = ?1 ORDER BY began_at DESC, rowid DESC LIMIT ?2",
            )?;
            let mut rows = incidents.query(params![name, limit])?;
            while let Some(row) = rows.next()? {
                history.incidents.push(codec::decode_incident(&row.get::<_, String>(0)?, row.get(1)?)?);
            }
            let mut answers = connection
                .prepare_cached("SELECT record, at FROM answers WHERE subject = ?1 ORDER BY id DESC LIMIT ?2")?;
            let mut rows = answers.query(params![name, limit])?;
            while let Some(row) = rows.next()? {
                history.answers.push(codec::decode_answer(&row.get::<_, String>(0)?, row.get(1)?)?);
            }
            let mut renewals = connection
                .prepare_cached("SELECT record FROM renewals WHERE subject = ?1 ORDER BY id DESC LIMIT ?2")?;
            let mut rows = renewals.query(params![name, limit])?;
            while let Some(row) = rows.next()? {
                history.renewals.push(codec::decode_ended(&row.get::<_, String>(0)?)?);
            }
            // All keys of a subject begin with its name and a slash, and '0' follows '/'.
            let mut deliveries = connection.prepare_cached(
                "SELECT notice, receiver, route, delivered_at, channel, attempts, failure FROM outbox
                 WHERE alert_key >= ?1 || '/' AND alert_key < ?1 || '0' ORDER BY id DESC LIMIT ?2",
            )?;
            let mut rows = deliveries.query(params![name, limit])?;
            while let Some(row) = rows.next()? {
                let (at, channel): (Option<i64>, Option<String>) = (row.get(3)?, row.get(4)?);
                history.deliveries.push(DeliveryRecord {
                    notice: codec::decode_notice(&row.get::<_, String>(0)?)?,
                    lane: lane(&row.get::<_, String>(1)?, &row.get::<_, String>(2)?)?,
                    delivered: at.map(|at| (Timestamp::from_unix(at), channel.unwrap_or_default())),
                    attempts: unsigned(row.get(5)?),
                    failure: row.get(6)?,
                });
            }
            Ok(history)
        })
    }

    fn activity(&self, since: Timestamp) -> BoxFuture<'_, Result<(u64, u64), StoreError>> {
        self.run(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT (SELECT count(*) FROM incidents WHERE began_at > ?1),
                        (SELECT count(*) FROM incidents WHERE ended_at > ?1)",
            )?;
            let counts = statement.query_row([since.unix()], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok((unsigned(counts.0), unsigned(counts.1)))
        })
    }

    fn prune(&self, before: Timestamp) -> BoxFuture<'_, Result<(), StoreError>> {
        self.run(move |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            // What a lane was last told of an open incident is kept: `firing` asks for it. And the slot of an open incident is, for else nobody
            // would ever end it.
            let told_last = "EXISTS (SELECT 1 FROM incidents WHERE key = outbox.incident AND ended_at IS NULL)
                AND NOT EXISTS (SELECT 1 FROM outbox AS later WHERE later.incident = outbox.incident AND later.id > outbox.id
                    AND later.receiver = outbox.receiver AND later.route = outbox.route
                    AND coalesce(later.channel, '') NOT IN ('none', 'rerouted'))";
            for sql in [
                &format!("DELETE FROM outbox WHERE delivered_at < ?1 AND NOT ({told_last})"),
                "DELETE FROM incidents WHERE ended_at < ?1",
                "DELETE FROM answers WHERE at < ?1",
                "DELETE FROM renewals WHERE at < ?1",
                "DELETE FROM slots WHERE seen_at < ?1
                   AND NOT EXISTS (SELECT 1 FROM incidents WHERE subject = slots.subject AND ended_at IS NULL)
                   AND NOT EXISTS (SELECT 1 FROM runs WHERE subject = slots.subject)",
            ] {
                transaction.execute(sql, [before.unix()])?;
            }
            for sql in [
                &format!(
                    "DELETE FROM outbox WHERE delivered_at IS NOT NULL AND id <= (SELECT max(id) FROM outbox) - ?1
                       AND NOT ({told_last})"
                ),
                "DELETE FROM incidents WHERE ended_at IS NOT NULL AND rowid <= (SELECT max(rowid) FROM incidents) - ?1",
                "DELETE FROM answers WHERE id <= (SELECT max(id) FROM answers) - ?1",
                "DELETE FROM renewals WHERE id <= (SELECT max(id) FROM renewals) - ?1",
            ] {
                transaction.execute(sql, [MOST_KEPT])?;
            }
            transaction.commit()?;
            Ok(())
        })
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<Snapshot, StoreError>> {
        let Ok(turn) = Arc::clone(&self.copies).try_acquire_owned() else {
            let busy = "a copy of the state is being made for somebody else, or fetched; try again when they have it";
            return Box::pin(ready(Err(StoreError::Busy(busy))));
        };
        let to = copy::snapshot_of(&self.path);
        self.run(move |connection| {
            copy::forget(&to);
            copy::copy_soon(connection, &to)?;
            let unread = |error| Problem::Other(format!("the copy cannot be read: {error}"));
            let file = File::open(&to).map_err(unread)?;
            copy::forget(&to);
            let length = file.metadata().map_err(unread)?.len();
            Ok(Snapshot { file, length, turn })
        })
    }

    fn verify(&self) -> BoxFuture<'_, Result<StateReport, StoreError>> {
        Box::pin(async move {
            let mut reading = verify::Verification::new(false);
            while !reading.is_done() {
                reading = self.run(move |connection| Ok(reading.step(connection))).await?;
            }
            Ok(reading.report)
        })
    }
}

/// A run that was under way while its token was taken out of the configuration and back must not undo the next one, which takes over what it
/// sealed. Whether there is a later run.
fn hand_to_later(connection: &Connection, subject: &Subject, entry: &Journaled) -> Result<bool, Problem> {
    let subject = subject.to_string();
    let sql = "SELECT run, sealed FROM runs WHERE subject = ?1 AND run ->> 'number' > ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let Some(later) = statement.query_row(params![subject, entry.run.number], row).optional()? else {
        return Ok(false);
    };
    let mut later = journaled(&later)?;
    later.take_over(entry);
    write_run(connection, &subject, &later.run, &later.sealed)?;
    Ok(true)
}

/// What a change says about the journal.
fn note_run(connection: &Connection, subject: &Subject, change: &JournalChange) -> Result<(), Problem> {
    let subject = subject.to_string();
    match change {
        JournalChange::None => {}
        JournalChange::Begin(entry) => {
            // What an earlier run left sealed is still there for this one.
            let mut statement = connection.prepare_cached("SELECT sealed FROM runs WHERE subject = ?1")?;
            let before: Option<String> = statement.query_row([&subject], |row| row.get(0)).optional()?;
            let mut sealed = before.map_or_else(|| Ok(Sealed::new()), |text| codec::decode_sealed(&text))?;
            sealed.extend(entry.sealed.clone());
            write_run(connection, &subject, &entry.run, &sealed)?;
        }
        JournalChange::Go(entry) => write_run(connection, &subject, &entry.run, &entry.sealed)?,
        JournalChange::End => {
            connection.prepare_cached("DELETE FROM runs WHERE subject = ?1")?.execute([subject])?;
        }
    }
    Ok(())
}

fn write_run(connection: &Connection, subject: &str, run: &Run, sealed: &Sealed) -> Result<(), Problem> {
    let sql = "INSERT INTO runs (subject, run, sealed) VALUES (?1, ?2, ?3) ON CONFLICT (subject) DO UPDATE
               SET run = excluded.run, sealed = excluded.sealed";
    let row = params![subject, codec::encode_run(run)?, codec::encode_sealed(sealed)?];
    connection.prepare_cached(sql)?.execute(row)?;
    Ok(())
}

fn journaled((run, sealed): &(String, String)) -> Result<Journaled, Problem> {
    Ok(Journaled { run: codec::decode_run(run)?, sealed: codec::decode_sealed(sealed)? })
}

/// Rows of the outbox as they were read: number, notice, message, failure.
fn outbox_rows(mut rows: rusqlite::Rows<'_>) -> Result<Vec<OutboxRow>, Problem> {
    let mut pending = Vec::new();
    while let Some(row) = rows.next()? {
        pending.push(OutboxRow {
            id: row.get(0)?,
            notice: codec::decode_notice(&row.get::<_, String>(1)?)?,
            message: row.get::<_, Option<String>>(2)?.map(Arc::from),
            failure: row.get(3)?,
        });
    }
    Ok(pending)
}

/// The lane of those words.
pub(super) fn lane(receiver: &str, route: &str) -> Result<Lane, Problem> {
    let known = Route::parse(route);
    if known.is_none() && route != NO_ROUTE {
        return Err(Problem::Other(format!("{route:?} is no way to a receiver")));
    }
    Ok(Lane { receiver: codec::decode_receiver(receiver)?, route: known })
}

fn route_word(lane: &Lane) -> &'static str {
    lane.route.map_or(NO_ROUTE, Route::as_str)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
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
        SlotStatus::App(_) | SlotStatus::Watcher(_) => None,
    }
}

/// The log is folded into the file after this many pages (16 MiB); each folding costs two more syncs.
const CHECKPOINT_PAGES: i64 = 4_096;
/// The route of a notice whose ways were not looked up yet.
const NO_ROUTE: &str = "";
/// Deliveries, incidents and answers that are kept at most, however young.
const MOST_KEPT: i64 = 1_000_000;
