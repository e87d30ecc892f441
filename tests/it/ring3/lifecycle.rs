//! The life of the process: one at a time, ready when it says so, reloading without forgetting, ending in order or at once, and telling
//! systemd the truth all the while.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use tokenwatch::sim::{Fault, FaultKind, Match};
use tokio::time::Instant;

use crate::support::process::{Daemon, PATIENCE, Stage, TOKENWATCH, free_port, wait_for, wait_until};

#[test]
fn a_second_instance_is_told_to_go() {
    let stage = Stage::watching_one();
    let daemon = stage.start_ready();

    let other_port = free_port();
    let second = stage.with_config(|text| text.replace(&stage.port.to_string(), &other_port.to_string()));
    let said = stage.run(&["run", "--config", &second]);
    assert_eq!(said.code, 75, "{}", said.err);
    let place = stage.state().display().to_string();
    assert!(said.err.contains("in use by another tokenwatch") && said.err.contains(&place), "{}", said.err);

    assert_eq!(daemon.metric("tokenwatch_config_last_reload_successful"), Some(1.0), "the first one lives on");
    assert_eq!(stage.run(&["status"]).code, 0, "its control socket is still its own");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_port_in_use_is_worth_another_try() {
    let stage = Stage::watching_one();
    let daemon = stage.start_ready();
    let second = stage.with_config(|text| text.replace("tokenwatch.db", "other.db"));
    let said = stage.run(&["run", "--config", &second]);
    assert_eq!(said.code, 75, "{}", said.err);
    assert!(said.err.contains(&format!("cannot listen on 127.0.0.1:{}", stage.port)), "{}", said.err);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_state_of_a_newer_version_is_left_untouched() {
    let stage = Stage::watching_one();
    assert_eq!(stage.start_ready().stop(), 0);
    let connection = Connection::open(stage.state()).expect("the state file opens");
    connection.pragma_update(None, "user_version", 99).expect("it is written");
    connection.close().expect("it is closed");
    let before = fs::read(stage.state()).expect("the state file");

    let said = stage.run(&["run"]);
    assert_eq!(said.code, 78, "{}", said.err);
    assert!(said.err.contains("was written by a newer tokenwatch (schema 99"), "{}", said.err);
    assert!(fs::read(stage.state()).expect("the state file") == before, "not one byte may change");
}

#[test]
fn the_state_is_private_and_no_core_is_ever_dumped() {
    let stage = Stage::watching_one();
    let daemon = stage.start_ready();
    let mode = |name: &str| fs::metadata(stage.path(name)).expect("a file").permissions().mode() & 0o777;
    assert_eq!(mode("state/tokenwatch.db"), 0o600);
    assert_eq!(mode("state/control.sock"), 0o660);
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.id())).expect("the limits of a child");
    let cores = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit of cores");
    let values: Vec<&str> = cores.split_whitespace().skip(4).take(2).collect();
    assert_eq!(values, ["0", "0"], "{cores}");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_reload_adds_a_token_and_a_bad_one_changes_nothing() {
    let stage = Stage::watching_one();
    let (first, second) = (stage.issue_healthy(), stage.issue_healthy());
    stage.write_env(&[("FIRST", &first), ("SECOND", &second)]);
    let daemon = stage.start_ready();
    let answered = |daemon: &Daemon, token: &str| {
        daemon.metric(&format!("tokenwatch_token_verdict{{token=\"{token}\",verdict=\"healthy\"}}")) == Some(1.0)
    };
    let reloaded = |daemon: &Daemon| daemon.metric("tokenwatch_config_last_reload_successful");
    assert!(!answered(&daemon, "second"));

    let both = stage.config("", &(stage.token("first", "FIRST") + &stage.token("second", "SECOND")));
    stage.configure(&both);
    daemon.hup();
    wait_until("the new token's series", PATIENCE, || answered(&daemon, "second"));
    assert_eq!(reloaded(&daemon), Some(1.0));

    stage.configure(&both.replace("check = \"1s\"", "check = \"never\""));
    daemon.hup();
    wait_until("the refusal", PATIENCE, || reloaded(&daemon) == Some(0.0));
    assert!(answered(&daemon, "first") && answered(&daemon, "second"), "the old configuration stays in force");
    wait_until("the log to name the fault", PATIENCE, || {
        let log = stage.log();
        log.contains("schedule.check") && log.contains("the old one stays in force")
    });
    let before = stage.sim().requests()["/debug_token"];
    wait_until("further checks", PATIENCE, || stage.sim().requests()["/debug_token"] > before + 2);

    stage.configure(&stage.config("", &stage.token("second", "SECOND")));
    daemon.hup();
    wait_until("the old token's series to go", PATIENCE, || {
        daemon.get("/metrics").is_some_and(|(_, text)| !text.contains("token=\"first\""))
    });
    assert_eq!(reloaded(&daemon), Some(1.0));
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn sigterm_ends_in_order_while_a_check_hangs() {
    let stage = Stage::watching_one();
    stage.configure(&stage.config("", &stage.token("first", "FIRST")).replace("grace = \"5s\"", "grace = \"2s\""));
    let daemon = stage.start_hanging();
    let told = Instant::now();
    assert_eq!(daemon.stop(), 0);
    let took = told.elapsed();
    assert!(took >= Duration::from_secs(1), "what is under way gets its grace: {took:?}");
    assert!(took < Duration::from_secs(30), "and not more: {took:?}");
    assert!(stage.log().contains("stopping with checks still under way"), "{}", stage.log());
}

#[test]
fn two_sigterms_mean_now() {
    let stage = Stage::watching_one();
    let patient = stage.config("", &stage.token("first", "FIRST")).replace("grace = \"5s\"", "grace = \"10m\"");
    stage.configure(&patient.replace("[provider.meta]\n", "[provider.meta]\ntimeout = \"10m\"\n"));
    let mut daemon = stage.start_hanging();
    daemon.term();
    wait_until("the first signal to be heard", PATIENCE, || stage.log().contains("finishing what is under way"));
    thread::sleep(Duration::from_millis(500));
    assert!(daemon.runs(), "one signal waits for what is under way");
    assert_eq!(daemon.stop(), 0);
    assert!(stage.log().contains("told twice to stop"), "{}", stage.log());
}

#[test]
fn systemd_is_told_the_truth() {
    let stage = Stage::watching_one();
    let socket = UnixDatagram::bind(stage.path("notify")).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a socket");
    // The watchdog is for one process id, which is known to the shell before it becomes the daemon.
    let script = "WATCHDOG_PID=$$ WATCHDOG_USEC=3000000 NOTIFY_SOCKET=\"$1\" exec \"$0\" run";
    let daemon = stage.start_as(Command::new("/bin/sh").args(["-c", script, TOKENWATCH]).arg(stage.path("notify")));
    let mut heard: Vec<String> = Vec::new();
    listen(&socket, &mut heard, "READY=1", |heard| heard.iter().any(|line| line == "READY=1"));
    assert!(daemon.get("/healthz").is_some(), "what says that it is ready listens");
    listen(&socket, &mut heard, "the status", |heard| {
        heard
            .iter()
            .any(|line| line.starts_with("STATUS=watching 1 token, nearest deadline in ") && line.contains("(first)"))
    });
    let beats = |heard: &[String]| heard.iter().filter(|line| *line == "WATCHDOG=1").count();
    listen(&socket, &mut heard, "three signs of life", |heard| beats(heard) >= 3);

    heard.clear();
    daemon.hup();
    listen(&socket, &mut heard, "RELOADING=1", |heard| heard.iter().any(|line| line == "RELOADING=1"));
    assert!(heard.iter().any(|line| line.starts_with("MONOTONIC_USEC=")), "{heard:?}");
    listen(&socket, &mut heard, "READY=1 after it", |heard| {
        let reloading = heard.iter().position(|line| line == "RELOADING=1");
        let ready = heard.iter().rposition(|line| line == "READY=1");
        reloading.zip(ready).is_some_and(|(reloading, ready)| ready > reloading)
    });

    // A check that hangs is not a loop that hangs.
    stage.sim().with_world(|world| world.faults.add(Fault::always(Match::Any, FaultKind::Hang)));
    heard.clear();
    listen(&socket, &mut heard, "signs of life while a check hangs", |heard| beats(heard) >= 3);

    heard.clear();
    daemon.term();
    listen(&socket, &mut heard, "STOPPING=1", |heard| heard.iter().any(|line| line == "STOPPING=1"));
    assert_eq!(daemon.wait(), 0);
}

#[test]
fn a_configuration_that_cannot_run_ends_with_its_own_code() {
    let stage = Stage::watching_one();
    stage.configure("[schedule]\ncheck = \"sometimes\"\nchekc = \"1m\"\n[[tokens]]\nname = \"A\"\n");
    let said = stage.run(&["run"]);
    assert_eq!(said.code, 78);
    for word in ["schedule.check", "did you mean", "name", "secret"] {
        assert!(said.err.contains(word), "all faults at once, {word} among them: {}", said.err);
    }
    let checked = stage.run(&["config", "check"]);
    assert_eq!((checked.code, checked.err), (78, said.err), "`config check` says what `run` says");

    assert_eq!(stage.run(&["run", "--secret", "x"]).code, 64);
    assert_eq!(stage.run(&["status"]).code, 75, "no daemon, no status");
}

/// Reads datagrams until enough was heard.
fn listen(socket: &UnixDatagram, heard: &mut Vec<String>, what: &str, enough: impl Fn(&[String]) -> bool) {
    wait_for(what, PATIENCE, || {
        if enough(heard) {
            return Some(());
        }
        let mut bytes = [0; 4096];
        if let Ok(count) = socket.recv(&mut bytes) {
            heard.extend(String::from_utf8_lossy(&bytes[..count]).lines().map(str::to_owned));
        }
        enough(heard).then_some(())
    });
}

impl Stage {
    /// A stage whose configuration watches one healthy token, `first`, and mails nobody.
    fn watching_one() -> Self {
        let stage = Self::new();
        let token = stage.issue_healthy();
        stage.write_env(&[("FIRST", &token)]);
        stage.configure(&stage.config("", &stage.token("first", "FIRST")));
        stage
    }

    /// Writes a variant of the configuration and returns its path.
    fn with_config(&self, change: impl Fn(String) -> String) -> String {
        let text = fs::read_to_string(self.path("tokenwatch.toml")).expect("a configuration");
        self.write("second.toml", &change(text)).display().to_string()
    }

    /// A daemon with a check under way that will never be answered.
    fn start_hanging(&self) -> Daemon {
        let daemon = self.start_ready();
        self.sim().with_world(|world| world.faults.add(Fault::always(Match::Any, FaultKind::Hang)));
        let before = self.sim().requests()["/debug_token"];
        wait_until("a check to hang", PATIENCE, || self.sim().requests()["/debug_token"] > before);
        daemon
    }
}
