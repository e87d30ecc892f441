//! States that earlier versions left behind: each is taken over with all that was in it, and the story goes on where it was.
//!
//! The files are in `tests/it/fixtures/state`; its README says how they were made.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use axum::Router;
use axum::routing::get;
use rusqlite::Connection;
use tempfile::TempDir;
use tokenwatch::domain::time::Span;
use tokenwatch::ports::{Store as _, StoreError};
use tokenwatch::sim::App;
use tokenwatch::store::{Sqlite, Stopped};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::{ADA, DAY, HOUR, House, SCOPES, findings, inhabited, put_never, put_old, seconds, until, verdict, world};
use crate::support::house::START;
use crate::support::process::{PATIENCE, refusing, wait_until};

/// The first schema with a journal of renewals.
const RENEWALS_SINCE: i64 = 3;

/// Ends the daemon, and waits for its last write to let go of the state.
async fn stop(house: &mut House) {
    house.stop().await;
    wait_until("the state to be let go", PATIENCE, || Stopped::open(&house.state()).is_ok());
}

fn fixture(schema: i64) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/fixtures/state/schema-{schema}"))
}

/// The schema that this program writes.
fn today() -> i64 {
    let folder = tempfile::tempdir().expect("a temporary folder");
    drop(Sqlite::open(&folder.path().join("state.db")).expect("a new state"));
    schema_of(&folder.path().join("state.db"))
}

fn schema_of(path: &Path) -> i64 {
    let raw = Connection::open(path).expect("the file opens");
    raw.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a number")
}

fn texts(path: &Path, sql: &str) -> Vec<String> {
    let raw = Connection::open(path).expect("the file opens");
    let mut statement = raw.prepare(sql).expect("a statement");
    let rows = statement.query_map([], |row| row.get(0)).expect("rows");
    rows.map(|row| row.expect("a text")).collect()
}

/// A copy of what a version left.
fn left_by(schema: i64) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("tokenwatch.db");
    fs::copy(fixture(schema).join("tokenwatch.db"), &path).expect("a fixture");
    (folder, path)
}

/// Whoever adds a schema adds what a daemon of that schema left, so that the next one can be tried on it.
#[test]
fn every_schema_left_a_state_to_be_tried_on() {
    for schema in 1..=today() {
        let file = fixture(schema).join("tokenwatch.db");
        assert!(file.exists(), "there is no {}: see the README beside it", file.display());
        let (_folder, path) = left_by(schema);
        assert_eq!(schema_of(&path), schema);
        let open = texts(&path, "SELECT alert_key FROM outbox WHERE delivered_at IS NULL");
        assert!(open.iter().any(|key| key.starts_with("token/late/")), "something waits in it: {open:?}");
    }
}

// ---- the story ------------------------------------------------------------------------------------------------------------------------

/// The world of the story, at its beginning. What is issued is the same in every version: the world has no chance in it.
fn furnish(house: &House, schema: i64, application: SocketAddr) -> (String, String) {
    put_never(house, "fresh");
    put_old(house, "ends", 10 * DAY);
    let gone = put_old(house, "gone", 60 * DAY);
    put_old(house, "late", 23 * DAY);
    put_never(house, "stray");
    fs::write(house.folder.path().join("wrong.secret"), "not the secret").expect("a secret");
    house.sim.with_world(|world| world.add_app(App::new("777000000000001", "Other", "another secret")));
    let mut tokens = ["fresh", "ends", "gone", "late"].map(|name| house.slot(name)).concat();
    tokens += &house.slot("stray").replace("helpdesk", "wrong");
    tokens += &format!(
        "[apps.wrong]\nid = \"777000000000001\"\nsecret = {{ file = \"{}\" }}\n",
        house.folder.path().join("wrong.secret").display()
    );
    if schema >= RENEWALS_SINCE {
        let renews = world(house, |world, now| world.issue_long_user(ADA, &SCOPES, now - 38 * DAY));
        house.put("renews", &renews);
        tokens += &house.slot("renews");
        tokens += &format!(
            "[tokens.renew]\nbefore = \"20d\"\nconfirm = {{ http = \"http://{application}/\", within = \"2h\" }}\n"
        );
    }
    (gone, format!("[schedule]\ncheck = \"6h\"\n{}", house.config(&tokens)))
}

/// Each earlier state, taken over by the daemon of today two days into the story, an hour after the relay was lost.
#[tokio::test(start_paused = true)]
async fn the_story_goes_on_where_an_earlier_version_left_it() {
    for schema in 1..=today() {
        let mut house = inhabited().await;
        let application = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (gone, config) = furnish(&house, schema, application.local_addr().expect("bound"));
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(application, Router::new().route("/", get(async || "well"))).await });
        until(&house, HOUR).await;
        world(&house, |world, now| world.revoke(&gone, now));
        until(&house, 2 * DAY + HOUR).await;
        fs::copy(fixture(schema).join("tokenwatch.db"), house.state()).expect("a fixture");
        let renewed = (schema >= RENEWALS_SINCE).then(|| {
            // A run waits for the application: the new secret is in its place, and the old one sealed.
            for file in ["renewal.key", "renews.token"] {
                fs::copy(fixture(schema).join(file), house.folder.path().join(file)).expect("a fixture");
            }
            fs::set_permissions(house.folder.path().join("renewal.key"), fs::Permissions::from_mode(0o600))
                .expect("private");
            let new = world(&house, |world, _| world.issue_long_user(ADA, &SCOPES, START + 2 * DAY));
            assert_eq!(fs::read_to_string(house.folder.path().join("renews.token")).expect("a secret"), new);
            assert_eq!(texts(&house.state(), "SELECT subject FROM runs"), ["token/renews"]);
            new
        });
        let all = "SELECT alert_key || ' ' || receiver FROM outbox ORDER BY id";
        let before = texts(&house.state(), all);
        let told = "SELECT message FROM outbox WHERE delivered_at IS NOT NULL";
        let told: BTreeSet<String> = texts(&house.state(), told).into_iter().collect();
        // The one that is being renewed gets a new secret.
        let generations = "SELECT subject || ' ' || (status ->> '$.token.generation') FROM slots
                           WHERE subject LIKE 'token/%' AND subject <> 'token/renews'";
        let generations_before = texts(&house.state(), generations);

        house.start(&config).await;
        house.pass(Span::minutes(10)).await;
        let verdicts = ["fresh", "ends", "gone", "late"].map(|name| verdict(&house, name));
        assert_eq!(verdicts, ["healthy", "expiring", "invalid", "expiring"], "schema {schema}");
        assert_eq!(findings(&house, "gone"), ["revoked"], "schema {schema}");
        // What waited arrives, once; what was told before is not told again.
        let late =
            seconds(&house).into_iter().filter(|(_, subject)| subject.contains("late") || subject.contains("tokens"));
        let late: Vec<_> = late.collect();
        assert_eq!(late.len(), 1, "schema {schema}: {:#?}", house.subjects());
        for mail in house.mails() {
            let id = mail.header("Message-ID").unwrap_or_default();
            assert!(!told.contains(&id), "schema {schema}: {id} was told before");
        }
        assert_eq!(house.get("/readyz").await.0, 200);
        if let Some(new) = renewed {
            assert_eq!(verdict(&house, "renews"), "healthy");
            assert_eq!(fs::read_to_string(house.folder.path().join("renews.token")).expect("a secret"), new);
            let ended =
                house.subjects().iter().filter(|subject| subject.starts_with("RESOLVED renews was renewed")).count();
            assert_eq!(ended, 1, "the run went on and was confirmed: {:#?}", house.subjects());
        }
        stop(&mut house).await;
        assert_eq!(texts(&house.state(), "SELECT subject FROM runs"), Vec::<String>::new());
        let after = texts(&house.state(), all);
        assert!(after.starts_with(&before), "schema {schema}: nothing is lost: {before:#?} {after:#?}");
        assert_eq!(after.iter().collect::<BTreeSet<_>>().len(), after.len(), "schema {schema}: {after:#?}");
        assert_eq!(
            texts(&house.state(), "SELECT alert_key FROM outbox WHERE delivered_at IS NULL"),
            Vec::<String>::new()
        );
        let generations_after = texts(&house.state(), generations);
        assert_eq!(generations_after, generations_before, "schema {schema}: no secret is taken for another one");
        let open = texts(&house.state(), "SELECT subject FROM incidents WHERE ended_at IS NULL ORDER BY subject");
        assert_eq!(open, ["app/wrong", "token/ends", "token/gone", "token/late"], "schema {schema}");
        // The ladder goes on where it was: the next rung of `ends` is its next one.
        house.start(&config).await;
        until(&house, 3 * DAY + HOUR).await;
        let next = house.subjects().iter().filter(|subject| subject.contains("ends expires in 7 days")).count();
        let silenced = schema >= 2;
        assert_eq!(next, usize::from(!silenced), "schema {schema}: {:#?}", house.subjects());
        stop(&mut house).await;
        let report = Stopped::open(&house.state()).expect("the state").verify();
        assert!(report.is_whole() && report.schema == today(), "schema {schema}: {report:?}");
    }
}

/// The story that made the fixtures, as this version lives it: what it leaves is what lies there. Asked to, it writes the fixture of this
/// schema; see the README.
#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "whoever makes a fixture says so by the environment")]
async fn the_story_leaves_what_lies_there() {
    let mut house = inhabited().await;
    let (_nobody, nobody) = refusing();
    let (gone, good) = furnish(&house, today(), nobody);
    let (_closed, closed) = refusing();
    let bad = good.replace(&house.relay().to_string(), &closed.to_string());
    house.start(&good).await;
    until(&house, HOUR).await;
    world(&house, |world, now| world.revoke(&gone, now));
    until(&house, DAY + HOUR).await;
    let signed = || super::oncall::signed(&house);
    let requests = house.requests();
    let answer = tokenwatch::domain::answer::Answer::Acknowledge(signed());
    requests.answer(super::oncall::token("gone"), answer).await.expect("acknowledged");
    let lasts = Span::days(30);
    let answer = tokenwatch::domain::answer::Answer::Silence { signed: signed(), lasts, even_critical: false };
    requests.answer(super::oncall::token("ends"), answer).await.expect("silenced");
    house.reload(&bad);
    until(&house, 2 * DAY + HOUR).await;
    house.kill().await;
    wait_until("the state to be let go", PATIENCE, || Stopped::open(&house.state()).is_ok());
    // Whoever opens it last folds the log into the file.
    drop(house.open().await);
    if std::env::var_os("TOKENWATCH_WRITE_STATE").is_some() {
        let to = fixture(today());
        fs::create_dir_all(&to).expect("a folder");
        for file in ["tokenwatch.db", "renewal.key", "renews.token"] {
            fs::copy(house.folder.path().join(file), to.join(file)).expect("the fixture");
        }
    }
    let (_folder, there) = left_by(today());
    for (table, what) in [
        ("slots", "subject"),
        ("outbox", "alert_key || ' ' || receiver || ' ' || route || ' ' || made_at || ' ' || (delivered_at IS NULL)"),
        ("incidents", "key || ' ' || began_at || ' ' || coalesce(ended_at, '')"),
        ("answers", "subject || ' ' || at"),
        ("runs", "subject"),
    ] {
        let sql = format!("SELECT {what} FROM {table} ORDER BY 1");
        let left = texts(&house.state(), &sql);
        assert!(!left.is_empty() && left == texts(&there, &sql), "{table}: {left:#?}");
    }
}

// ---- the way there --------------------------------------------------------------------------------------------------------------------

/// Every row of every table, as text.
fn content(path: &Path) -> BTreeMap<String, Vec<String>> {
    let tables = texts(path, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'");
    let raw = Connection::open(path).expect("the file opens");
    let rows = |table: &String| {
        let mut statement = raw.prepare(&format!("SELECT * FROM {table} ORDER BY 1")).expect("a statement");
        let columns = statement.column_count();
        let cells = |row: &rusqlite::Row<'_>| -> rusqlite::Result<Vec<rusqlite::types::Value>> {
            (0..columns).map(|at| row.get(at)).collect()
        };
        let rows = statement.query_map([], |row| cells(row).map(|cells| format!("{cells:?}"))).expect("rows");
        rows.map(|row| row.expect("a row")).collect()
    };
    tables.iter().map(|table| (table.clone(), rows(table))).collect()
}

#[tokio::test]
async fn what_was_there_before_an_upgrade_is_kept_until_the_next_one() {
    for schema in 1..today() {
        let (folder, path) = left_by(schema);
        let before = content(&path);
        // What crashes left, of an upgrade and of a backup, is in nobody's way; and only the last copy is kept.
        for left in ["upgrade.part", "snapshot", "schema-9.bak"] {
            fs::write(folder.path().join(format!("tokenwatch.db.{left}")), "half").expect("written");
        }
        fs::rename(
            folder.path().join("tokenwatch.db.schema-9.bak"),
            folder.path().join(format!("tokenwatch.db.schema-{}.bak", today())),
        )
        .expect("renamed");
        let store = Sqlite::open(&path).expect("brought up to date");
        assert!(!store.subjects().await.expect("subjects").is_empty());
        drop(store);
        let names: BTreeSet<String> = fs::read_dir(folder.path())
            .expect("the folder")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        let copy = format!("tokenwatch.db.schema-{schema}.bak");
        assert_eq!(names, BTreeSet::from(["tokenwatch.db".to_owned(), copy.clone()]));
        let copy = folder.path().join(copy);
        assert_eq!((schema_of(&copy), content(&copy)), (schema, before), "schema {schema}");
        assert_eq!(fs::metadata(&copy).expect("a file").permissions().mode() & 0o777, 0o600);
        let report = Stopped::open(&copy).expect("the copy").verify();
        assert!(report.is_whole() && report.schema == schema, "{report:?}");
        // Going back: the version before refuses, touches nothing, and names it.
        let raw = Connection::open(&path).expect("the file opens");
        raw.pragma_update(None, "user_version", today() + 1).expect("a newer one");
        drop(raw);
        let bytes = fs::read(&path).expect("the state");
        let refused = Sqlite::open(&path).map(drop).expect_err("it is newer");
        assert!(matches!(refused, StoreError::Newer { .. }), "{refused}");
        assert!(refused.to_string().contains(&copy.display().to_string()), "{refused}");
        assert_eq!(fs::read(&path).expect("the state"), bytes);
    }
}

#[test]
fn without_room_for_the_copy_nothing_is_changed() {
    for schema in 1..today() {
        let (folder, path) = left_by(schema);
        let before = fs::read(&path).expect("the state");
        // A folder in the place of the copy that is written first: nothing can be written there, whoever tries.
        fs::create_dir(folder.path().join("tokenwatch.db.upgrade.part")).expect("a folder");
        let refused = Sqlite::open(&path).map(drop).expect_err("there is no place for the copy");
        let words = refused.to_string();
        assert!(matches!(refused, StoreError::Open { .. }) && words.contains("nothing was changed"), "{words}");
        assert_eq!(fs::read(&path).expect("the state"), before, "schema {schema}");
        fs::remove_dir(folder.path().join("tokenwatch.db.upgrade.part")).expect("removed");
        drop(Sqlite::open(&path).expect("now there is"));
        assert_eq!(schema_of(&path), today());
    }
}

/// A power cut leaves some first part of the log: the state is then of the schema before, or of this one, and never of one between.
#[tokio::test]
async fn a_crash_at_any_point_of_an_upgrade_leaves_the_old_state_or_the_new_one() {
    let (folder, path) = left_by(1);
    let before = content(&path);
    let store = Sqlite::open(&path).expect("brought up to date");
    let log = fs::read(folder.path().join("tokenwatch.db-wal")).expect("a log");
    let file = fs::read(&path).expect("the file");
    drop(store);
    let after = content(&path);
    let (mut old, mut new) = (0, 0);
    let step = (log.len() / 60).max(1);
    for cut in (0..=log.len()).step_by(step).chain([log.len() - 1, log.len()]) {
        let wreck = tempfile::tempdir().expect("a temporary folder");
        let path = wreck.path().join("tokenwatch.db");
        fs::write(&path, &file).expect("copied");
        fs::write(wreck.path().join("tokenwatch.db-wal"), &log[..cut]).expect("cut");
        match schema_of(&path) {
            1 => {
                old += 1;
                assert_eq!(content(&path), before, "cut at {cut}");
            }
            schema => {
                new += 1;
                assert_eq!((schema, content(&path)), (today(), after.clone()), "cut at {cut}");
            }
        }
        drop(Sqlite::open(&path).expect("a crash is no reason to refuse"));
        assert_eq!(content(&path), after, "cut at {cut}");
    }
    assert!(old > 30 && new >= 1, "{old} of the old, {new} of the new");
}
