//! Sinks that are databases: rows of a real PostgreSQL server and of an SQLite file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;
use tokenwatch::domain::time::Span;
use tokenwatch::renewal::sink::{Held, Put, SinkError, Swap, put};
use tokenwatch::secret::Secret;
use tokenwatch::settings::delivery::{Sink, Sql};
use tokenwatch::settings::source::Sources;
use tokenwatch::settings::value::{SecretRef, SqlPlace};
use zeroize::Zeroizing;

use crate::support::postgres::{LOGIN, Postgres};
use crate::support::process::free_port;
use crate::support::server::Server;

/// Neither is JSON, a number or short, and no part of one may show.
const OLD: &str = "EAAB-old-4f7c19d2e8-before";
const NEW: &str = "EAAB-new-a1'b2\"c3\\d4-after";

#[tokio::test]
async fn a_token_goes_into_a_column_of_any_text() {
    let server = Postgres::shared();
    server.sql("CREATE EXTENSION citext; CREATE DOMAIN bearer AS varchar(600) CHECK (value LIKE 'EAAB%')");
    let columns = ["text", "varchar(600)", "citext", "bearer", "char(26)", "name"];
    for (n, kind) in columns.into_iter().enumerate() {
        server.sql(
            &format!("CREATE TABLE kind{n} (id int, token {kind}); INSERT INTO kind{n} VALUES (1, '{OLD}'), (2, 'x')")
                .replace("'x'", "'EAABx'"),
        );
        let place = server.place(&format!("UPDATE kind{n} SET token = $1 WHERE id = 1 AND token = $2"));
        assert_eq!(swap(&place, OLD, NEW).await, Ok(Put::Written), "{kind}");
        assert_eq!(swap(&place, OLD, NEW).await, Ok(Put::AlreadyThere), "{kind}");
        assert_eq!(server.sql(&format!("SELECT token FROM kind{n} WHERE id = 1")), NEW, "{kind}");
        assert_eq!(server.sql(&format!("SELECT token FROM kind{n} WHERE id = 2")), "EAABx", "{kind}");
        // And back, as a roll-back does.
        assert_eq!(swap(&place, NEW, OLD).await, Ok(Put::Written), "{kind}");
        assert_eq!(server.sql(&format!("SELECT token FROM kind{n} WHERE id = 1")), OLD, "{kind}");
    }
    server.sql("CREATE TABLE documents (doc jsonb); INSERT INTO documents VALUES ('{\"a\": 1}')");
    let place =
        server.place("UPDATE documents SET doc = jsonb_set(doc, '{token}', to_jsonb($1::text)) WHERE doc ? 'a'");
    assert_eq!(swap(&place, OLD, NEW).await, Ok(Put::Written));
    assert_eq!(server.sql("SELECT doc ->> 'token' || (doc ->> 'a') FROM documents"), format!("{NEW}1"));
}

#[tokio::test]
async fn exactly_one_row_is_changed_or_none() {
    let server = Postgres::shared();
    server.sql(&format!(
        "CREATE TABLE rows (id int, token text); INSERT INTO rows VALUES (1, '{OLD}'), (2, '{OLD}'), (3, 'theirs')"
    ));
    let all = || server.sql("SELECT string_agg(token, ',' ORDER BY id) FROM rows");
    let before = all();
    for (update, words) in [
        ("UPDATE rows SET token = $1 WHERE id = 4", "no row matched"),
        ("UPDATE rows SET token = $1 WHERE id < 4", "would change 3 rows"),
        ("UPDATE rows SET token = $1 WHERE token = $2", "would change 2 rows"),
    ] {
        let error = refused(swap(&server.place(update), OLD, NEW).await);
        assert!(error.contains(words), "{update}: {error}");
        assert_eq!(all(), before, "{update}");
    }
    // Somebody else wrote: it is left alone.
    let place = server.place("UPDATE rows SET token = $1 WHERE id = 3 AND token = $2");
    let conflict = swap(&place, OLD, NEW).await;
    assert!(matches!(&conflict, Err(SinkError::Conflict(text)) if text.contains("neither")), "{conflict:?}");
    // Which one stood there is not known, and the statement asks.
    let to = Held::Secret(secret(NEW));
    for from in [Held::Unknown, Held::Nothing] {
        let error = refused(put(&place, Swap { from: &from, to: &to }, &sources()).await);
        assert!(error.contains("$2"), "{error}");
    }
    let from = Held::Secret(secret(OLD));
    for to in [Held::Unknown, Held::Nothing] {
        refused(put(&place, Swap { from: &from, to: &to }, &sources()).await);
    }
    assert_eq!(all(), before);
    // A statement that does not ask needs nothing to be known.
    let place = server.place("UPDATE rows SET token = $1 WHERE id = 3");
    for _ in 0..2 {
        let done = put(&place, Swap { from: &Held::Unknown, to: &to }, &sources()).await;
        assert_eq!(done, Ok(Put::Written));
    }
    assert_eq!(server.sql("SELECT token FROM rows WHERE id = 3"), NEW);
}

#[tokio::test]
async fn what_a_person_must_change_is_told_without_the_token() {
    let server = Postgres::shared();
    server.sql(&format!(
        "CREATE TABLE faults (id int, token text UNIQUE CHECK (token <> 'never'), short varchar(9), number int, doc json, part bytea);
         INSERT INTO faults (id, token) VALUES (1, '{OLD}'), (2, '{}');
         CREATE ROLE reader LOGIN PASSWORD '{}'; GRANT SELECT ON faults TO reader;
         CREATE ROLE still LOGIN SUPERUSER PASSWORD '{}'; ALTER ROLE still SET default_transaction_read_only = on;",
        NEW.replace('\'', "''"),
        LOGIN.1,
        LOGIN.1
    ));
    let with = |change: &dyn Fn(&mut Sql)| {
        let mut place = server.sql_place("UPDATE faults SET token = $1 WHERE id = 1");
        change(&mut place);
        Sink::Sql(place)
    };
    let update = |text: &'static str| with(&move |sql: &mut Sql| sql.update = text.into());
    let at = |host: &'static str, port: u16, user: &'static str, database: &'static str| {
        with(&move |sql: &mut Sql| {
            let (host, user, database) = (host.to_owned(), user.to_owned(), database.to_owned());
            sql.place = SqlPlace::Postgres { host, port, user, database, tls: false };
        })
    };
    let port = server.port;
    let wrong = SecretRef::Env("WRONG".into());
    for (sink, failed, words) in [
        (with(&|sql| sql.password = Some(wrong.clone())), false, "does not take the password of boss"),
        (with(&|sql| sql.password = None), false, "asks boss for a password"),
        (with(&|sql| sql.password = Some(SecretRef::Env("NOPE".into()))), false, "no variable NOPE"),
        (at("127.0.0.1", port, "boss", "nowhere"), false, "\"nowhere\" does not exist"),
        (at("127.0.0.1", port, "reader", "postgres"), false, "grant reader UPDATE"),
        (at("127.0.0.1", port, "still", "postgres"), true, "standby"),
        (at("127.0.0.1", free_port(), "boss", "postgres"), true, "Connection refused"),
        (update("UPDATE nothing SET token = $1 WHERE id = 1"), false, "\"nothing\" does not exist"),
        (update("UPDATE faults SET nothing = $1 WHERE id = 1"), false, "\"nothing\""),
        (update("UPDATE faults SET token = $1 WHERE WHERE"), false, "syntax error"),
        (update("UPDATE faults SET token = $1 WHERE id = 1"), false, "unique constraint"),
        (update("UPDATE faults SET token = left($1, 0) || 'never' WHERE id = 1"), false, "check constraint"),
        (update("UPDATE faults SET short = $1 WHERE id = 1"), false, "too short"),
        (update("UPDATE faults SET number = $1 WHERE id = 1"), false, "22P02"),
        (update("UPDATE faults SET doc = $1 WHERE id = 1"), false, "22P02"),
        (update("UPDATE faults SET part = $1 WHERE id = 1"), false, "22P02"),
    ] {
        let error = swap(&sink, OLD, NEW).await.expect_err(words);
        assert_eq!(matches!(error, SinkError::Failed(_)), failed, "{words}: {error:?}");
        assert!(error.to_string().contains(words), "{words}: {error}");
        for part in ["4f7c19", "a1'b2", "c3", LOGIN.1, "not-the-password"] {
            assert!(!error.to_string().contains(part), "{error}");
        }
        assert_eq!(server.sql("SELECT token FROM faults WHERE id = 1"), OLD, "{words}");
    }
}

/// Whoever reads the log of a server that logs every statement's text but no parameters reads no token; nor does the activity show one.
#[tokio::test]
async fn the_server_logs_no_token_through_us() {
    let server = Postgres::shared();
    let (old, new) = ("EAAB-log-0c5e2f8a-before", "EAAB-log-77d0e1c4-after");
    server.sql(
        "CREATE TABLE logged (id int, token text); INSERT INTO logged VALUES (1, 'EAAB-log-' || '0c5e2f8a-before')",
    );
    server.sql(
        "CREATE FUNCTION object() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''not like this''; END'",
    );
    let place = server.place("UPDATE logged SET token = $1 WHERE id = 1 AND token = $2");
    assert_eq!(swap(&place, old, new).await, Ok(Put::Written));
    assert_eq!(swap(&place, old, new).await, Ok(Put::AlreadyThere));
    refused(swap(&server.place("UPDATE logged SET token = $1 WHERE nothing = $2"), new, old).await);
    server.sql("CREATE TRIGGER objects BEFORE UPDATE ON logged FOR EACH ROW EXECUTE FUNCTION object()");
    let error = refused(swap(&place, new, old).await);
    assert!(error.contains("not like this"), "{error}");
    let log = server.log();
    assert!(
        log.contains("UPDATE logged SET token = $1 WHERE id = 1"),
        "the log shows the statements that failed: {log}"
    );
    for part in ["0c5e2f8a", "77d0e1c4"] {
        assert!(!log.contains(part), "{log}");
    }
}

#[tokio::test]
async fn the_certificate_and_the_name_on_it_are_verified() {
    let server = Postgres::shared();
    server.sql(&format!("CREATE TABLE guarded (id int, token text); INSERT INTO guarded VALUES (1, '{OLD}')"));
    let over = |host: &str, port: u16, ca_file: Option<PathBuf>| {
        let mut sql = server.sql_place("UPDATE guarded SET token = $1 WHERE id = 1 AND token = $2");
        let (user, database) = (LOGIN.0.to_owned(), "postgres".to_owned());
        sql.place = SqlPlace::Postgres { host: host.to_owned(), port, user, database, tls: true };
        sql.ca_file = ca_file;
        Sink::Sql(sql)
    };
    let (port, ca_file) = (server.port, Some(server.ca_file()));
    // A server that has no TLS says N and waits for the login.
    let bare = Server::start(|mut stream| {
        use std::io::{Read as _, Write as _};
        let mut asked = [0; 8];
        let _ = stream.read_exact(&mut asked).and_then(|()| stream.write_all(b"N"));
        let mut rest = Vec::new();
        assert!(stream.read_to_end(&mut rest).is_err() || rest.is_empty(), "nothing is said without TLS");
    });
    let none = server.socket();
    let empty = Path::new(&none).join("password");
    for (sink, words) in [
        (over("127.0.0.2", port, ca_file.clone()), "TLS failed"),
        (over("localhost", port, None), "TLS failed"),
        (over("localhost", port, Some(empty)), "certificate authorities"),
        (over("localhost", bare.port, ca_file.clone()), "offers no TLS"),
    ] {
        let error = refused(swap(&sink, OLD, NEW).await);
        assert!(error.contains(words), "{error}");
    }
    for host in ["localhost", "127.0.0.1"] {
        let sink = over(host, port, ca_file.clone());
        assert_eq!(swap(&sink, OLD, NEW).await, Ok(Put::Written), "{host}");
        assert_eq!(swap(&sink, NEW, OLD).await, Ok(Put::Written), "{host}");
    }
    // Over the socket there is nobody to listen.
    let mut sql = server.sql_place("UPDATE guarded SET token = $1 WHERE id = 1 AND token = $2");
    let (user, database) = (LOGIN.0.to_owned(), "postgres".to_owned());
    sql.place = SqlPlace::Postgres { host: none, port, user, database, tls: false };
    assert_eq!(swap(&Sink::Sql(sql), OLD, NEW).await, Ok(Put::Written));
}

#[tokio::test]
async fn a_server_that_does_not_answer_or_dies_is_waited_for_no_longer_than_allowed() {
    let server = Arc::new(Postgres::start());
    server.sql(&format!("CREATE TABLE held (id int, token text); INSERT INTO held VALUES (1, '{OLD}')"));
    let update = "UPDATE held SET token = $1 WHERE id = 1 AND token = $2";
    let mut holder = server.hold("SELECT 1 FROM held FOR UPDATE");
    let quick = |mut sql: Sql| {
        sql.within = Span::seconds(1);
        Sink::Sql(sql)
    };
    let late = failed(swap(&quick(server.sql_place(update)), OLD, NEW).await);
    assert!(late.contains("no answer in 1 s; the row was not changed") || late.contains("57014"), "{late}");
    server.wait_blocked(0);
    assert_eq!(server.sql("SELECT token FROM held"), OLD);
    // One that takes the connection and says nothing.
    let mute = Server::start(|mut stream| {
        let _ = std::io::Read::read_to_end(&mut stream, &mut Vec::new());
    });
    let mut sql = server.sql_place(update);
    let (user, database) = (LOGIN.0.to_owned(), "postgres".to_owned());
    sql.place = SqlPlace::Postgres { host: "127.0.0.1".to_owned(), port: mute.port, user, database, tls: false };
    let late = failed(swap(&quick(sql), OLD, NEW).await);
    assert!(late.contains("no answer in 1 s"), "{late}");
    // One that dies meanwhile.
    let place = server.place(update);
    let dying = Arc::clone(&server);
    let crash = tokio::task::spawn_blocking(move || {
        dying.wait_blocked(1);
        dying.crash();
    });
    let (done, crashed) = tokio::join!(swap(&place, OLD, NEW), crash);
    crashed.expect("no panic");
    failed(done);
    let gone = failed(swap(&place, OLD, NEW).await);
    assert!(gone.contains("no connection") || gone.contains("shut"), "{gone}");
    holder.kill().and_then(|()| holder.wait()).expect("a child of ours");
}

#[tokio::test]
async fn a_row_of_a_file_is_changed_like_one_of_a_server() {
    for mode in ["delete", "wal"] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("app.db");
        let raw = Connection::open(&path).expect("a database");
        raw.pragma_update(None, "journal_mode", mode).expect("a mode");
        raw.execute_batch(
            "CREATE TABLE settings (id INTEGER, token TEXT UNIQUE, other TEXT); INSERT INTO settings VALUES (1, 'x', 'a'), (2, 'theirs', 'a')",
        )
        .expect("a table");
        raw.execute("UPDATE settings SET token = ?1 WHERE id = 1", [OLD]).expect("a row");
        let row = |id: i64| -> String {
            raw.query_row("SELECT token || other FROM settings WHERE id = ?1", [id], |row| row.get(0)).expect("a row")
        };
        let place = file(&path, "UPDATE settings SET token = $1 WHERE id = 1 AND token = $2");
        assert_eq!(swap(&place, OLD, NEW).await, Ok(Put::Written));
        assert_eq!(swap(&place, OLD, NEW).await, Ok(Put::AlreadyThere));
        assert_eq!(row(1), format!("{NEW}a"));
        assert_eq!(swap(&place, NEW, OLD).await, Ok(Put::Written));
        for (update, words) in [
            ("UPDATE settings SET token = $1 WHERE id = 3", "no row matched"),
            ("UPDATE settings SET other = $1 WHERE id < 3", "would change 2 rows"),
            ("UPDATE settings SET token = $1 || '' WHERE id = 2 AND $2 = $2", "UNIQUE"),
            ("UPDATE absent SET token = $1 WHERE id = 1", "no such table"),
            ("UPDATE settings SET token = $1 WHERE WHERE", "syntax error"),
        ] {
            // The token that stands in the first row already may not stand in the second.
            let error = refused(swap(&file(&path, update), NEW, OLD).await);
            assert!(error.contains(words), "{update}: {error}");
            assert!(!error.contains("4f7c19") && !error.contains("UPDATE"), "{error}");
        }
        let theirs = swap(&file(&path, "UPDATE settings SET token = $1 WHERE id = 2 AND token = $2"), OLD, NEW).await;
        assert!(matches!(theirs, Err(SinkError::Conflict(_))), "{theirs:?}");
        assert_eq!((row(1), row(2)), (format!("{OLD}a"), "theirsa".to_owned()));
        // Somebody writes and does not come to an end.
        let (writer, mut sql) = (
            Connection::open(&path).expect("a database"),
            sql_file(&path, "UPDATE settings SET token = $1 WHERE id = 1"),
        );
        writer.execute_batch("BEGIN IMMEDIATE; UPDATE settings SET other = 'b' WHERE id = 1").expect("a lock");
        sql.within = Span::seconds(2);
        let locked = failed(swap(&Sink::Sql(sql.clone()), OLD, NEW).await);
        assert!(locked.contains("locked"), "{locked}");
        writer.execute_batch("COMMIT").expect("committed");
        assert_eq!(swap(&Sink::Sql(sql), OLD, NEW).await, Ok(Put::Written));
        assert_eq!(row(1), format!("{NEW}b"));
    }
}

#[tokio::test]
async fn a_file_is_neither_made_nor_taken_for_a_database() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (missing, text) = (folder.path().join("missing.db"), folder.path().join("notes.txt"));
    let update = "UPDATE settings SET token = $1 WHERE id = 1";
    let error = refused(swap(&file(&missing, update), OLD, NEW).await);
    assert!(error.contains("must be there") && !missing.exists(), "{error}");
    std::fs::write(&text, "no database\n".repeat(99)).expect("a file is written");
    let error = refused(swap(&file(&text, update), OLD, NEW).await);
    assert!(error.contains("not an SQLite database"), "{error}");
    let error = refused(swap(&file(folder.path(), update), OLD, NEW).await);
    assert!(error.contains("cannot be opened"), "{error}");
    assert_eq!(std::fs::read_to_string(&text).expect("a file"), "no database\n".repeat(99));
}

impl Postgres {
    fn sql_place(&self, update: &str) -> Sql {
        let place = SqlPlace::Postgres {
            host: "127.0.0.1".to_owned(),
            port: self.port,
            user: LOGIN.0.to_owned(),
            database: "postgres".to_owned(),
            tls: false,
        };
        let password = Some(SecretRef::Env("PASSWORD".into()));
        Sql { place, password, update: update.into(), ca_file: None, within: Span::seconds(20) }
    }

    fn place(&self, update: &str) -> Sink {
        Sink::Sql(self.sql_place(update))
    }
}

fn sql_file(path: &Path, update: &str) -> Sql {
    let place = SqlPlace::Sqlite(path.to_owned());
    Sql { place, password: None, update: update.into(), ca_file: None, within: Span::seconds(20) }
}

fn file(path: &Path, update: &str) -> Sink {
    Sink::Sql(sql_file(path, update))
}

fn secret(text: &str) -> Secret {
    Secret::new(Zeroizing::new(text.to_owned()))
}

async fn swap(sink: &Sink, from: &str, to: &str) -> Result<Put, SinkError> {
    let (from, to) = (Held::Secret(secret(from)), Held::Secret(secret(to)));
    put(sink, Swap { from: &from, to: &to }, &sources()).await
}

fn sources() -> Sources {
    let variables = [("PASSWORD", LOGIN.1), ("WRONG", "not-the-password")];
    Sources::new(variables.map(|(name, value)| (name.to_owned(), value.to_owned())))
}

fn refused(done: Result<Put, SinkError>) -> String {
    match done {
        Err(SinkError::Refused(text)) => text,
        other => unreachable!("{other:?}"),
    }
}

fn failed(done: Result<Put, SinkError>) -> String {
    match done {
        Err(SinkError::Failed(text)) => text,
        other => unreachable!("{other:?}"),
    }
}
