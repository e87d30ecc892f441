//! Changes one row of a database, in a transaction that is rolled back unless it is exactly one.
//!
//! The statement is run as the configuration has it: secrets are bound, never spliced into it, and it is never logged. Of what a server says
//! about the values it was given nothing is kept, for it quotes them.

use std::error::Error as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::{DbError, SqlState};
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{Held, Put, SinkError, Swap, blocking};
use crate::redact::redact;
use crate::secret::Secret;
use crate::settings::delivery::Sql;
use crate::settings::source::Sources;
use crate::settings::value::SqlPlace;
use crate::tls;

/// Changes the row. A statement with `$2` changes it only where the secret before stands in it.
///
/// # Errors
/// When it holds something else, when it cannot be done safely, or when it failed.
pub async fn put(place: &Sql, swap: Swap<'_>, sources: &Sources) -> Result<Put, SinkError> {
    let Held::Secret(new) = swap.to else {
        return Err(SinkError::Refused("a statement can put a token there, and not take one away".to_owned()));
    };
    let old = match swap.from {
        Held::Secret(old) => Some(old.duplicate()),
        Held::Nothing | Held::Unknown => None,
    };
    let pair = Pair { new: new.duplicate(), old };
    let within = place.within.as_limit();
    let committing = AtomicBool::new(false);
    let done = match &place.place {
        SqlPlace::Postgres { .. } => timeout(within, postgres(place, &pair, sources, within, &committing)).await,
        SqlPlace::Sqlite(path) => {
            // A thread cannot be stopped: what it does after the time limit is not known.
            committing.store(true, Ordering::Relaxed);
            let (path, update) = (path.clone(), place.update.clone());
            timeout(within, blocking(move || sqlite(&path, &update, &pair, within))).await
        }
    };
    done.unwrap_or_else(|_| {
        let fate = if committing.load(Ordering::Relaxed) { MAY_BE_CHANGED } else { UNCHANGED };
        Err(SinkError::Failed(format!("no answer in {} s; {fate}", within.as_secs())))
    })
}

/// The secrets of one swap.
struct Pair {
    new: Secret,
    old: Option<Secret>,
}

impl Pair {
    /// What must stand in the row before, for a statement that asks; [`None`] for one that does not.
    fn before(&self, compares: bool) -> Result<Option<&Secret>, SinkError> {
        match (compares, &self.old) {
            (false, _) => Ok(None),
            (true, Some(old)) => Ok(Some(old)),
            (true, None) => Err(SinkError::Refused(
                "its statement uses $2, the token before, and which one that is is not known; a statement without $2 needs none"
                    .to_owned(),
            )),
        }
    }
}

async fn postgres(
    place: &Sql,
    pair: &Pair,
    sources: &Sources,
    within: Duration,
    committing: &AtomicBool,
) -> Result<Put, SinkError> {
    let SqlPlace::Postgres { host, port, user, database, tls } = &place.place else {
        return Err(SinkError::Refused("it is no PostgreSQL server".to_owned()));
    };
    let mut config = Config::new();
    // A host that begins with a slash is the folder of a socket.
    config.host(host).port(*port).user(user).dbname(database).application_name("tokenwatch");
    config.ssl_mode(if *tls { SslMode::Require } else { SslMode::Disable });
    let mut hide = vec![pair.new.duplicate()];
    hide.extend(pair.old.as_ref().map(Secret::duplicate));
    if let Some(reference) = place.password.clone() {
        let sources = sources.clone();
        let password = blocking(move || {
            let refused = |error| SinkError::Refused(format!("its password cannot be read: {error}"));
            sources.read(&reference).map_err(refused)
        });
        let password = password.await?;
        config.password(password.expose());
        hide.push(password);
    }
    let judge = |error: tokio_postgres::Error| judged(&error, user, &hide.iter().collect::<Vec<_>>());
    // It drives the connection, and ends with it.
    let mut driver = JoinSet::new();
    let mut client: Client = if *tls {
        let ca_file = place.ca_file.clone();
        let trust = blocking(move || {
            tls::client_config(ca_file.as_deref()).map_err(|error| SinkError::Refused(error.to_string()))
        });
        let (client, connection) = config.connect(MakeRustlsConnect::new(trust.await?)).await.map_err(judge)?;
        driver.spawn(connection);
        client
    } else {
        let (client, connection) = config.connect(NoTls).await.map_err(judge)?;
        driver.spawn(connection);
        client
    };
    let done = change(&mut client, place, pair, within, committing).await;
    drop(client);
    // The goodbye; and where the connection broke, why it did.
    let ended = driver.join_next().await.and_then(Result::ok).and_then(Result::err);
    match (done, ended) {
        (Ok(done), _) => done,
        (Err(error), Some(cause)) if error.is_closed() => Err(lost(judge(cause), committing)),
        (Err(error), _) => Err(lost(judge(error), committing)),
    }
}

/// The transaction. The outer result is the server's, the inner one the row's.
async fn change(
    client: &mut Client,
    place: &Sql,
    pair: &Pair,
    within: Duration,
    committing: &AtomicBool,
) -> Result<Result<Put, SinkError>, tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    // A server that waits for somebody's lock would go on waiting after we have left.
    let limit = within.as_millis().min(LONGEST_TIMEOUT);
    transaction.batch_execute(&format!("SET LOCAL statement_timeout = {limit}")).await?;
    let statement = transaction.prepare(&place.update).await?;
    let before = match pair.before(statement.params().len() > 1) {
        Ok(before) => before.map(Bound),
        Err(refused) => return Ok(Err(refused)),
    };
    let new = Bound(&pair.new);
    let (rows, there) = match &before {
        None => (transaction.execute(&statement, &[&new]).await?, false),
        Some(old) => match transaction.execute(&statement, &[&new, old]).await? {
            0 => (transaction.execute(&statement, &[&new, &new]).await?, true),
            rows => (rows, false),
        },
    };
    Ok(match rows {
        1 if there => {
            transaction.rollback().await?;
            Ok(Put::AlreadyThere)
        }
        1 => {
            committing.store(true, Ordering::Relaxed);
            transaction.commit().await?;
            Ok(Put::Written)
        }
        rows => {
            transaction.rollback().await?;
            Err(unfit(rows, before.is_some()))
        }
    })
}

/// A secret as a parameter. It goes as text, so that the server reads it into whatever type the column has; and the library, which prints
/// parameters into its log, prints stars.
struct Bound<'a>(&'a Secret);

impl std::fmt::Debug for Bound<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl ToSql for Bound<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(self.0.expose().as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

/// What an error of the server or of the way to it means.
fn judged(error: &tokio_postgres::Error, user: &str, hide: &[&Secret]) -> SinkError {
    if let Some(answer) = error.as_db_error() {
        return answered(answer, user, hide);
    }
    let mut innermost: &dyn std::error::Error = error;
    let (mut untrusted, mut system) = (false, false);
    while let Some(source) = innermost.source().or_else(|| wrapped(innermost)) {
        innermost = source;
        untrusted |= matches!(source.downcast_ref(), Some(rustls::Error::InvalidCertificate(_)));
        system |= source.is::<std::io::Error>();
    }
    let text = redact(&innermost.to_string(), hide);
    if untrusted {
        return SinkError::Refused(format!("TLS failed: {text}; see that ca_file names who signed its certificate"));
    }
    match text.as_str() {
        "password missing" => {
            SinkError::Refused(format!("the server asks {user} for a password; name it with `password`"))
        }
        "server does not support TLS" => {
            SinkError::Refused("the server offers no TLS, and without it the token would go in the clear".to_owned())
        }
        // What the library itself refuses will be refused again.
        _ if error.source().is_some() && !system => SinkError::Refused(text),
        _ if error.source().is_some() => SinkError::Failed(format!("no connection: {text}")),
        _ => SinkError::Failed(format!("the connection broke: {text}")),
    }
}

/// An I/O error passes over what it wraps when it is asked for its source.
fn wrapped<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a (dyn std::error::Error + 'static)> {
    let inner = error.downcast_ref::<std::io::Error>()?.get_ref()?;
    Some(inner)
}

/// What the server's answer means: by its code, because its words are in the server's language.
fn answered(answer: &DbError, user: &str, hide: &[&Secret]) -> SinkError {
    let code = answer.code();
    // DETAIL and CONTEXT quote values, whole or in part; the message does in the class of data exceptions.
    let says = || format!("{} (SQLSTATE {})", redact(answer.message(), hide), code.code());
    let class = code.code().get(..2).unwrap_or_default();
    match (class, code) {
        (_, code) if *code == SqlState::INVALID_PASSWORD => {
            SinkError::Refused(format!("the server does not take the password of {user}"))
        }
        (_, code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => SinkError::Refused(format!(
            "{}; grant {user} UPDATE of the column, and SELECT of those in the WHERE",
            says()
        )),
        (_, code) if *code == SqlState::READ_ONLY_SQL_TRANSACTION => {
            SinkError::Failed(format!("{}; is the server a standby?", says()))
        }
        (_, code) if *code == SqlState::STRING_DATA_RIGHT_TRUNCATION => {
            SinkError::Refused("the column is too short for the token".to_owned())
        }
        ("22", code) => {
            SinkError::Refused(format!("the column does not take the token as a value (SQLSTATE {})", code.code()))
        }
        // Login, database, constraints, syntax, names, a trigger's own objection.
        ("28" | "3D" | "3F" | "0A" | "23" | "42" | "44" | "P0", _) => SinkError::Refused(says()),
        _ => SinkError::Failed(says()),
    }
}

/// Says of a failure after which nothing is known of the row that nothing is.
fn lost(error: SinkError, committing: &AtomicBool) -> SinkError {
    match error {
        SinkError::Failed(text) if committing.load(Ordering::Relaxed) => {
            SinkError::Failed(format!("{text}; {MAY_BE_CHANGED}"))
        }
        error => error,
    }
}

fn sqlite(path: &Path, update: &str, pair: &Pair, within: Duration) -> Result<Put, SinkError> {
    let mut hide = vec![&pair.new];
    hide.extend(&pair.old);
    let judge = |error: rusqlite::Error| sqlite_judged(&error, &hide);
    // Neither made when it is missing, nor read as a url.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(judge)?;
    // It may wait twice: for who writes before us, and at the end for who reads.
    connection.busy_timeout(within / 3).map_err(judge)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(judge)?;
    let put = {
        let mut statement = transaction.prepare(update).map_err(judge)?;
        let second = statement.parameter_index("$2").map_err(judge)?;
        let before = pair.before(second.is_some())?;
        let mut run = |before: Option<&Secret>| -> rusqlite::Result<usize> {
            let bound = [("$1", Some(&pair.new)), ("$2", before)];
            for (name, secret) in bound {
                if let (Some(index), Some(secret)) = (statement.parameter_index(name)?, secret) {
                    statement.raw_bind_parameter(index, secret.expose())?;
                }
            }
            statement.raw_execute()
        };
        let (rows, there) = match run(before).map_err(judge)? {
            0 if before.is_some() => (run(Some(&pair.new)).map_err(judge)?, true),
            rows => (rows, false),
        };
        match rows {
            1 if there => Ok(Put::AlreadyThere),
            1 => Ok(Put::Written),
            rows => Err(unfit(u64::try_from(rows).unwrap_or(u64::MAX), before.is_some())),
        }
    };
    // Whatever is not committed is rolled back when it is dropped.
    if put == Ok(Put::Written) {
        transaction.commit().map_err(judge)?;
    }
    put
}

/// What an error of SQLite means.
fn sqlite_judged(error: &rusqlite::Error, hide: &[&Secret]) -> SinkError {
    let text = match error {
        // The library would repeat the statement.
        rusqlite::Error::SqlInputError { msg, .. } => redact(msg, hide),
        error => redact(&error.to_string(), hide),
    };
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            SinkError::Failed("the database is locked by another program; it was not changed".to_owned())
        }
        Some(ErrorCode::DiskFull) => SinkError::Failed("the disk is full; free some space".to_owned()),
        Some(ErrorCode::SystemIoFailure | ErrorCode::OutOfMemory | ErrorCode::OperationInterrupted) => {
            SinkError::Failed(text)
        }
        Some(ErrorCode::CannotOpen) => SinkError::Refused(
            "it cannot be opened: the file must be there, and it and its folder writable for this user".to_owned(),
        ),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            SinkError::Refused("it is read-only; make the file and its folder writable for this user".to_owned())
        }
        Some(ErrorCode::NotADatabase) => SinkError::Refused("the file is not an SQLite database".to_owned()),
        _ => SinkError::Refused(text),
    }
}

/// Why a statement that changes so many rows was rolled back.
fn unfit(rows: u64, compares: bool) -> SinkError {
    match rows {
        0 if compares => SinkError::Conflict(
            "the row holds neither the token before nor the new one, or no row matches the rest of the WHERE"
                .to_owned(),
        ),
        0 => SinkError::Refused("no row matched; check the WHERE of its statement".to_owned()),
        rows => SinkError::Refused(format!(
            "the statement would change {rows} rows, so nothing was changed; make its WHERE match exactly one"
        )),
    }
}

/// The server counts milliseconds in 31 bits.
const LONGEST_TIMEOUT: u128 = 0x7fff_ffff;
const UNCHANGED: &str = "the row was not changed";
const MAY_BE_CHANGED: &str = "the row may have been changed or not";

#[cfg(test)]
mod tests {
    use rusqlite::ffi;
    use zeroize::Zeroizing;

    use super::*;

    #[test]
    fn a_parameter_is_printed_as_stars_and_sent_as_it_is() {
        let secret = Secret::new(Zeroizing::new("EAAB'; DROP TABLE x".to_owned()));
        let (bound, mut out) = (Bound(&secret), BytesMut::new());
        assert!(matches!(bound.to_sql_checked(&Type::BYTEA, &mut out), Ok(IsNull::No)));
        assert_eq!((&out[..], format!("{bound:?}").as_str()), (&b"EAAB'; DROP TABLE x"[..], "***"));
        assert!(matches!(bound.encode_format(&Type::VARCHAR), Format::Text));
    }

    #[test]
    fn what_may_pass_is_told_from_what_a_person_must_change() {
        for (code, failed, words) in [
            (ffi::SQLITE_BUSY, true, "locked"),
            (ffi::SQLITE_LOCKED, true, "locked"),
            (ffi::SQLITE_FULL, true, "free some space"),
            (ffi::SQLITE_IOERR, true, "saw *** there"),
            (ffi::SQLITE_READONLY, false, "writable"),
            (ffi::SQLITE_PERM, false, "writable"),
            (ffi::SQLITE_CANTOPEN, false, "must be there"),
            (ffi::SQLITE_NOTADB, false, "not an SQLite"),
            (ffi::SQLITE_CORRUPT, false, "saw *** there"),
            (ffi::SQLITE_CONSTRAINT, false, "saw *** there"),
        ] {
            let secret = Secret::new(Zeroizing::new("correct horse".to_owned()));
            let said = "saw correct horse there".to_owned();
            let error = sqlite_judged(&rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some(said)), &[&secret]);
            assert_eq!(matches!(error, SinkError::Failed(_)), failed, "{code}");
            assert!(error.to_string().contains(words), "{code}: {error}");
        }
    }
}
