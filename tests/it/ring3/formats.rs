//! What others read is judged by their own tools: Prometheus' promtool reads the metrics, systemd-analyze the unit.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tokenwatch::sim::{AppEvent, GranularScope, GranularScopes};

use crate::support::house::APP;
use crate::support::process::{PATIENCE, Stage, TOKENWATCH, program, unix_now, wait_until};

#[test]
fn promtool_accepts_the_metrics() {
    let stage = colourful();
    let daemon = stage.start_ready();
    for (token, verdict) in [
        ("fine", "healthy"),
        ("ending", "expiring"),
        ("over", "expired"),
        ("revoked", "invalid"),
        ("lost", "unverified"),
    ] {
        daemon.wait_verdict(token, verdict);
    }
    accept(&daemon.page("/metrics"));
    stage.sim().with_world(|world| world.app_event(APP, AppEvent::Blocked, unix_now()));
    wait_until("the app's finding", PATIENCE, || {
        daemon.metric("tokenwatch_token_finding{app=\"helpdesk\",finding=\"app_fault\",severity=\"critical\"}")
            == Some(1.0)
    });
    accept(&daemon.page("/metrics"));
    assert_eq!(daemon.stop(), 0);

    let said = stage.run(&["check", "--prometheus"]);
    assert_eq!(said.code, 3, "the app is blocked: {}", said.err);
    accept(&said.out);
}

#[test]
fn promtool_accepts_the_metrics_of_one_pass() {
    let stage = colourful();
    let said = stage.run(&["check", "--prometheus"]);
    assert_eq!(said.code, 2, "{}", said.err);
    assert!(said.out.contains("tokenwatch_token_verdict{token=\"over\",verdict=\"expired\"} 1"), "{}", said.out);
    accept(&said.out);
    assert_eq!(stage.run(&["check", "--prometheus", "--json"]).code, 64);
}

#[test]
fn json_is_json() {
    let stage = colourful();
    let said = stage.run(&["check", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&said.out).expect("JSON and nothing else");
    assert_eq!(value["tokens"].as_array().map(Vec::len), Some(5));
    let daemon = stage.start_ready();
    for arguments in [&["status", "--json"][..], &["explain", "over", "--json"], &["config", "schema"]] {
        let said = stage.run(arguments);
        assert_eq!(said.code, 0, "{arguments:?}: {}", said.err);
        serde_json::from_str::<serde_json::Value>(&said.out).expect("JSON and nothing else");
    }
    for path in ["/api/v1/tokens", "/api/v1/tokens/over", "/api/v1/status"] {
        serde_json::from_str::<serde_json::Value>(&daemon.page(path)).expect("JSON and nothing else");
    }
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn systemd_accepts_the_unit() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let unit = folder.path().join("tokenwatch.service");
    let text = fs::read_to_string(root().join("systemd/system/tokenwatch.service")).expect("the unit");
    // It is checked that the binary is there; where it will be is not where it was built.
    let built = text.replace("ExecStart=/usr/bin/tokenwatch ", &format!("ExecStart={TOKENWATCH} "));
    assert_ne!(built, text);
    fs::write(&unit, built).expect("a file is written");

    let output = analyze(&["verify", "--man=no"], &unit);
    let words = words(&output);
    assert!(output.status.success(), "{words}");
    assert!(!words.contains("tokenwatch.service"), "{words}");

    let output = analyze(&["security", "--offline=true", "--threshold=20"], &unit);
    assert!(output.status.success(), "more exposed than 2.0: {}", self::words(&output));
}

#[test]
fn systemd_accepts_the_user_and_the_folders() {
    let sysusers = fs::read_to_string(root().join("systemd/sysusers.d/tokenwatch.conf")).expect("the users");
    assert!(sysusers.lines().any(|line| line.starts_with("u tokenwatch ")), "the unit's user is made: {sysusers}");
    let target = tempfile::tempdir().expect("a temporary folder");
    for folder in ["etc", "run", "var/lib"] {
        fs::create_dir_all(target.path().join(folder)).expect("a folder");
    }
    let made = Command::new(program(&["systemd-sysusers"]))
        .arg(format!("--root={}", target.path().display()))
        .arg(root().join("systemd/sysusers.d/tokenwatch.conf"))
        .output()
        .expect("systemd-sysusers runs");
    assert!(made.status.success(), "{}", words(&made));
    let users = fs::read_to_string(target.path().join("etc/passwd")).expect("users");
    assert!(users.contains("tokenwatch:"), "{users}");
}

/// A stage with a token for each verdict.
fn colourful() -> Stage {
    let stage = Stage::new();
    let (fine, ending, over) = (stage.issue_healthy(), stage.issue(-5_000_000, 300_000), stage.issue(-5_000_000, -10));
    let revoked = stage.issue_healthy();
    stage.sim().with_world(|world| {
        world.set_granular_scopes(&fine, GranularScopes::Listed(vec![GranularScope::all("public_profile")]));
        world.revoke(&revoked, unix_now())
    });
    stage.write_env(&[("FINE", &fine), ("ENDING", &ending), ("OVER", &over), ("REVOKED", &revoked)]);
    let tokens: String =
        [("fine", "FINE"), ("ending", "ENDING"), ("over", "OVER"), ("revoked", "REVOKED"), ("lost", "LOST")]
            .map(|(name, key)| stage.token(name, key))
            .concat();
    stage.configure(&stage.config("", &tokens));
    stage
}

/// Judged by Prometheus' own parser and linter.
fn accept(text: &str) {
    let mut promtool = Command::new(program(&["promtool"]));
    let promtool =
        promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = promtool.spawn().expect("promtool runs");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(text.as_bytes()).expect("promtool reads");
    drop(input);
    let output = child.wait_with_output().expect("promtool ends");
    assert_eq!(output.status.code(), Some(0), "{}\n{text}", words(&output));
}

fn analyze(arguments: &[&str], unit: &Path) -> Output {
    Command::new(program(&["systemd-analyze"])).args(arguments).arg(unit).output().expect("systemd-analyze runs")
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
