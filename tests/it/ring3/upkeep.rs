//! The upkeep of a daemon that runs: what a reload changed and would change, backups of its state, and whether the state is whole.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::Command;

use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::Value;
use tokenwatch::store::Stopped;

use crate::support::process::{PATIENCE, Stage, TOKENWATCH, quoted, wait_until};

/// Two tokens, and mail that cannot leave.
fn stage() -> Stage {
    let stage = Stage::new();
    let (first, second) = (stage.issue_healthy(), stage.issue_healthy());
    stage.write_env(&[("FIRST", &first), ("SECOND", &second)]);
    stage.configure(&stage.config("", &(stage.token("first", "FIRST") + &stage.token("second", "SECOND"))));
    stage
}

#[test]
fn a_backup_of_a_running_daemon_is_whole_and_can_be_started_from() {
    let stage = stage();
    let daemon = stage.start_ready();
    daemon.wait_verdict("second", "healthy");
    let backup = stage.path("backup.db");
    let said = stage.run(&["state", "backup", "backup.db"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("whole") && said.out.contains("No secret is in it"), "{}", said.out);
    assert_eq!(fs::metadata(&backup).expect("a file").permissions().mode() & 0o777, 0o600);
    let again = stage.run(&["state", "backup", "backup.db"]);
    assert!(again.code == 1 && again.err.contains("never writes over a file"), "{again:?}");
    // Nothing else is left, there or beside the state.
    let names = |folder: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(stage.path(folder)).expect("a folder");
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
    };
    assert!(!names("").iter().any(|name| name.contains(".tokenwatch-")), "{:?}", names(""));
    assert!(!names("state").iter().any(|name| name.contains("snapshot")), "{:?}", names("state"));
    let nowhere = stage.run(&["state", "backup", "no-such-folder/backup.db"]);
    assert!(nowhere.code == 75 && nowhere.err.contains("mkdir -p"), "{nowhere:?}");

    // Live, of the copy, and in words for machines.
    for arguments in [&["state", "verify"][..], &["state", "verify", "backup.db"]] {
        let said = stage.run(arguments);
        assert!(said.code == 0 && said.out.contains(": whole, schema ") && said.out.contains("slots"), "{said:?}");
        let said = stage.run(&[arguments, &["--json"]].concat());
        let report: Value = serde_json::from_str(&said.out).expect("JSON");
        assert!(report["whole"] == true && report["rows"]["slots"] == 3, "{report}");
    }
    // The file itself belongs to the daemon, and a backup of it is made by asking the daemon.
    let state = stage.state().display().to_string();
    let said = stage.run(&["state", "verify", &state]);
    assert!(said.code == 75 && said.err.contains("in use by another tokenwatch"), "{said:?}");
    assert_eq!(daemon.stop(), 0);

    // Without a daemon it is the file itself; and from a backup another life begins, as it was.
    let said = stage.run(&["state", "backup", "stopped.db"]);
    assert_eq!(said.code, 0, "{said:?}");
    fs::copy(&backup, stage.state()).expect("restored");
    let daemon = stage.start_ready();
    daemon.wait_verdict("first", "healthy");
    assert_eq!(daemon.stop(), 0);
    let report = Stopped::open(&stage.path("stopped.db")).expect("a copy").verify();
    assert!(report.is_whole() && report.rows["slots"] == 3, "{report:?}");
}

/// One copy at a time, for each costs the disk as much as the state; whoever comes second is told so and may try again.
#[test]
fn a_backup_that_is_fetched_slowly_keeps_the_next_one_waiting_and_no_longer() {
    let stage = stage();
    assert_eq!(stage.start_ready().stop(), 0);
    // More than fits on the way to whoever fetches it.
    let raw = rusqlite::Connection::open(stage.state()).expect("the file opens");
    raw.execute_batch("CREATE TABLE bulk AS SELECT randomblob(16000000) AS bytes").expect("a large state");
    drop(raw);
    let daemon = stage.start_ready();
    let mut slow = UnixStream::connect(stage.path("state/control.sock")).expect("the control socket");
    slow.write_all(b"GET /control/v1/state/backup HTTP/1.1\r\nHost: x\r\n\r\n").expect("it is asked");
    slow.read_exact(&mut [0; 100]).expect("the answer begins");
    let second = stage.run(&["state", "backup", "second.db"]);
    assert!(second.code == 75 && second.err.contains("for somebody else"), "{second:?}");
    assert!(second.err.contains("try again") && !stage.path("second.db").exists(), "{second:?}");
    drop(slow);
    wait_until("the turn", PATIENCE, || stage.run(&["state", "backup", "second.db"]).code == 0);
    assert!(fs::metadata(stage.path("second.db")).is_ok_and(|file| file.len() > 16_000_000));
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn what_is_damaged_newer_or_nothing_of_ours_is_told_apart() {
    let stage = stage();
    assert_eq!(stage.start_ready().stop(), 0);
    let state = stage.state();
    let raw = rusqlite::Connection::open(&state).expect("the file opens");
    raw.execute("UPDATE slots SET status = '{' WHERE subject = 'token/first'", []).expect("damaged");
    drop(raw);
    let said = stage.run(&["state", "verify"]);
    assert!(said.code == 2 && said.out.contains("not whole") && said.out.contains("slots token/first"), "{said:?}");
    let said = stage.run(&["state", "backup", "b.db"]);
    assert!(said.code == 2 && said.err.contains("the copy is not whole") && !stage.path("b.db").exists(), "{said:?}");
    // What is to be watched must be known; of what is not, nobody waits for anything.
    assert_eq!(stage.start().wait(), 78, "it would begin to tell everything anew");
    let log = stage.log();
    assert!(log.contains("is damaged: a stored record cannot be read") && log.contains("docs/state.md"), "{log}");
    let raw = rusqlite::Connection::open(&state).expect("the file opens");
    raw.execute("UPDATE slots SET subject = 'token/gone' WHERE subject = 'token/first'", []).expect("of nobody");
    drop(raw);
    assert_eq!(stage.start_ready().stop(), 0);
    assert!(stage.log().contains("no longer watched cannot be read"), "{}", stage.log());
    let raw = rusqlite::Connection::open(&state).expect("the file opens");
    raw.execute("DELETE FROM slots WHERE subject = 'token/gone'", []).expect("mended");
    let known: i64 = raw.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a number");
    raw.pragma_update(None, "user_version", known + 1).expect("a newer one");
    drop(raw);
    let before = fs::read(&state).expect("the state");
    let said = stage.run(&["state", "verify"]);
    assert!(said.code == 78 && said.out.contains("would refuse it"), "{said:?}");
    assert_eq!(stage.start().wait(), 78, "a downgrade is refused");
    let log = stage.log();
    assert!(log.contains("newer tokenwatch") && log.contains("docs/state.md"), "{log}");
    assert_eq!(fs::read(&state).expect("the state"), before, "byte for byte");
    stage.write("text.db", "no database, but long enough to be taken for one\n");
    let said = stage.run(&["state", "verify", "text.db"]);
    assert!(said.code == 1 && said.err.contains("not a state file"), "{said:?}");
    fs::write(stage.path("half.db"), &before[..before.len() / 2]).expect("a backup that was cut off");
    let said = stage.run(&["state", "verify", "half.db"]);
    assert!(said.code == 2 && said.err.contains("half.db is damaged"), "{said:?}");
    let said = stage.run(&["state", "verify", "nothing.db"]);
    assert!(said.code == 1 && said.err.contains("nothing.db"), "{said:?}");
    let said = stage.run(&["state", "backup", "-"]);
    assert!(said.code == 64 && !stage.path("-").exists(), "{said:?}");
    fs::write(&state, vec![0; 8_192]).expect("a disk that lost it");
    assert_eq!(stage.start().wait(), 78, "{}", stage.log());
    assert!(stage.log().contains("is not a state file of tokenwatch"), "{}", stage.log());
}

/// Whoever cannot be told where the daemon is hears why.
#[test]
fn a_configuration_that_cannot_be_read_is_named_with_what_it_costs() {
    let stage = stage();
    let daemon = stage.start_ready();
    let right = fs::read_to_string(stage.path("tokenwatch.toml")).expect("the configuration");
    for (text, why) in [(&b"[broken"[..], "line 1"), (b"# \xff\n", "is not UTF-8, as TOML is")] {
        fs::write(stage.path("tokenwatch.toml"), text).expect("broken");
        let said = stage.run(&["status"]);
        assert!(
            said.code == 75 && said.err.contains("for the configuration cannot be read: ") && said.err.contains(why),
            "{said:?}"
        );
        let said = stage.run(&["config", "check"]);
        assert!(said.code == 78 && said.err.contains(why), "{said:?}");
    }
    stage.configure(&right);
    assert_eq!(stage.run(&["status"]).code, 0);
    let mut command = Command::new(TOKENWATCH);
    let command = stage.dress(&mut command).env("TOKENWATCH__SMTP__FROM", OsStr::from_bytes(b"\xff@example.com"));
    let said = command.args(["config", "check"]).output().expect("it runs");
    assert_eq!(said.status.code(), Some(78));
    let words = String::from_utf8_lossy(&said.stderr);
    assert!(words.contains("TOKENWATCH__SMTP__FROM is not UTF-8"), "{words}");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_reload_says_what_it_changed_and_config_diff_what_it_would() {
    let stage = stage();
    let config = |tokens: &str| stage.config("", tokens);
    let (first, second) = (stage.token("first", "FIRST"), stage.token("second", "SECOND"));
    let daemon = stage.start_ready();
    let said = stage.run(&["config", "diff"]);
    assert_eq!((said.code, said.out.as_str()), (0, "nothing changed\n"), "{said:?}");
    let new = config(&format!(
        "{first}check = \"2s\"\n[[tokens]]\nname = \"third\"\nsecret = {{ file = {} }}\n",
        quoted(&stage.path("third"))
    ));
    let new = new.replace("grace = \"5s\"", "grace = \"6s\"");
    stage.configure(&new);
    let changes = [
        "[daemon] changed: grace \"5s\" → \"6s\" (needs a restart)",
        "token first changed: check unset → \"2s\"",
        "token second removed",
        "token third added",
    ];
    let said = stage.run(&["config", "diff"]);
    assert!(said.code == 0 && said.out.ends_with("1 added, 2 changed, 1 removed\n"), "{said:?}");
    for change in changes {
        assert!(said.out.contains(change), "{change}: {}", said.out);
    }
    assert!(said.out.contains("daemon.grace needs a restart: until then \"5s\" stays in force"), "{}", said.out);
    daemon.hup();
    wait_until("the summary", PATIENCE, || stage.log().contains("reloaded: 1 added, 2 changed, 1 removed"));
    let log = stage.log();
    for change in changes {
        assert!(log.contains(&format!("configuration: {change}")), "{change}: {log}");
    }
    assert!(log.contains("daemon.grace needs a restart: until then \"5s\" stays in force"), "{log}");
    daemon.hup();
    wait_until("nothing", PATIENCE, || stage.log().contains("reloaded: nothing changed"));

    // A fault in a file that is named by it refuses all of it, and config diff says so before.
    let web = stage.write("web.yml", "tls_server_config: { cert_file: none.crt, key_file: none.key }\n");
    let faulty =
        new.replace("[daemon]\n", &format!("[daemon]\nweb_config = {}\n", quoted(&web))).replace(&first, &second);
    stage.configure(&faulty);
    let said = stage.run(&["config", "diff"]);
    assert!(
        said.code == 78 && said.err.contains("a reload would be refused") && said.err.contains("none.crt"),
        "{said:?}"
    );
    let hook = "[receivers.hook.webhook]\nurl = \"https://localhost/\"\nca_file = \"/no/such.pem\"\n";
    let authority = new.replace(&first, &second) + hook;
    for text in [faulty, authority] {
        let refused = stage.log().matches("the old one stays in force").count();
        stage.configure(&text);
        daemon.hup();
        wait_until("the refusal", PATIENCE, || stage.log().matches("the old one stays in force").count() > refused);
        assert_eq!(daemon.get("/api/v1/tokens/first").map(|(status, _)| status), Some(200), "the old is in force");
        assert_eq!(daemon.get("/api/v1/tokens/second").map(|(status, _)| status), Some(404));
        let refused = || daemon.metric("tokenwatch_config_last_reload_successful") == Some(0.0);
        wait_until("the metric", PATIENCE, refused);
        let told = "configuration: the new configuration was refused, the old one is in force";
        assert!(stage.run(&["status"]).out.contains(told) && daemon.page("/readyz").contains(told));
    }
    assert_eq!(daemon.stop(), 0);
}

/// What a configuration names may lie on a mount that is away.
#[test]
fn a_file_that_does_not_answer_is_told_and_holds_up_nobody() {
    let stage = stage();
    let daemon = stage.start_ready();
    let right = fs::read_to_string(stage.path("tokenwatch.toml")).expect("the configuration");
    let away = stage.path("away.pem");
    mkfifoat(CWD, &away, Mode::RUSR | Mode::WUSR).expect("a pipe that nobody writes to");
    let authority = quoted(&away);
    stage.configure(&format!("{right}[receivers.hook.webhook]\nurl = \"https://localhost/\"\nca_file = {authority}\n"));
    let checks = || daemon.metric("tokenwatch_checks_total{provider=\"meta\"}").unwrap_or_default();
    let said = std::thread::scope(|scope| {
        let asked = scope.spawn(|| stage.run(&["config", "diff"]));
        let before = checks();
        wait_until("checks meanwhile", PATIENCE, || checks() >= before + 4.0);
        assert!(!asked.is_finished(), "the file answers");
        asked.join().expect("it ends")
    });
    assert!(said.code == 75 && said.err.contains("(ca_file) cannot be read within 30s"), "{said:?}");
    // It is read already, and a second read would only hang beside the first.
    daemon.hup();
    let refused = "(ca_file) is still being read since the last time; is a network mount away?";
    wait_until("the refusal", PATIENCE, || stage.log().contains(refused));
    assert_eq!(daemon.metric("tokenwatch_config_last_reload_successful"), Some(0.0));
    // The mount is back, and the file is none that is of use.
    drop(OpenOptions::new().write(true).open(&away).expect("somebody reads it"));
    stage.configure(&right);
    wait_until("a reload", PATIENCE, || {
        daemon.hup();
        daemon.metric("tokenwatch_config_last_reload_successful") == Some(1.0)
    });
    assert_eq!(daemon.stop(), 0);
}
