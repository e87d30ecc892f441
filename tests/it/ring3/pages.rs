//! The pages and the calendar in the hands of others: Chromium and axe-core look at the pages, the W3C's checker reads their HTML, and the icalendar
//! library reads the calendar.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tokenwatch::sim::{Fault, FaultKind, GranularScope, GranularScopes, Lifetime, Match, User};

use crate::support::house::APP;
use crate::support::process::{ADA, Daemon, PATIENCE, Stage, program, quoted, unix_now, wait_for, wait_until};

const DAY: i64 = 86_400;
const MACHINE: &str = "104160000000001";
const EVIL: &str = "</bdi><script>alert(1)</script><img src=x onerror=alert(2)>\u{202e}\u{2067}\u{0}\r\n\"'&";

/// Everything that a page can show: each verdict, a renewal to come, answers, a receiver of its own, a provider that means harm, and more tokens
/// than fit on one page.
fn colourful() -> Stage {
    let stage = Stage::new();
    let mut tokens = String::new();
    let mut lines: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, token: String, more: &str| {
        let key = name.to_uppercase().replace('-', "_");
        tokens.push_str(&stage.token(name, &key));
        tokens.push_str(more);
        lines.push((key, token));
    };
    add(
        "soon",
        stage.issue(-50 * DAY, 2 * DAY),
        "receivers = [\"default\", \"night\"]\nrunbook = \"https://wiki.example.com/soon\"\n",
    );
    add("week", stage.issue(-50 * DAY, 10 * DAY), "");
    add("month", stage.issue(-40 * DAY, 19 * DAY), "");
    add("over", stage.issue(-60 * DAY, -DAY), "");
    let publish = quoted(&stage.path("config.env"));
    add(
        "renewed",
        stage.issue(-10 * DAY, 50 * DAY),
        &format!("[tokens.renew]\nbefore = \"20d\"\npublish = [{{ env_file = {publish}, key = \"RENEWED\" }}]\n"),
    );
    for n in 0..70 {
        add(&format!("customer-{n:02}"), stage.issue(-DAY * n / 4, (60 + n) * DAY), "");
    }
    let hostile = stage.issue_healthy();
    add("hostile", hostile.clone(), "");
    let (never, revoked) = stage.sim().with_world(|world| {
        world.add_user(User::new(APP, MACHINE, "Machine"));
        let never = world.issue_system_user(MACHINE, &["public_profile"], Lifetime::Never, unix_now());
        world.set_granular_scopes(&never, GranularScopes::Listed(vec![GranularScope::all("public_profile")]));
        let body = json!({"data": {
            "app_id": APP, "type": EVIL, "user_id": EVIL, "application": EVIL, "is_valid": false,
            "scopes": [EVIL], "granular_scopes": [{"scope": EVIL.repeat(20), "target_ids": ["x".repeat(300)]}],
            "error": {"code": 190, "subcode": 460, "message": format!("{EVIL}{}", "w".repeat(300))},
        }});
        let raw = FaultKind::Raw { status: 200, headers: vec![], body: body.to_string().into_bytes() };
        world.faults.add(Fault::always(Match::Token(hostile), raw));
        let revoked = world.issue_long_user(ADA, &[], unix_now());
        world.revoke(&revoked, unix_now());
        (never, revoked)
    });
    add("never", never, "");
    add("revoked", revoked, "");
    tokens.push_str(&stage.token("lost", "LOST"));
    let lines: Vec<(&str, &str)> = lines.iter().map(|(key, token)| (key.as_str(), token.as_str())).collect();
    stage.write_env(&lines);
    let text = stage.config("", &tokens).replace("check = \"1s\"", "check = \"5s\"");
    let text = text.replacen("[receivers.default]\n", "[receivers.default]\n[receivers.night]\n", 1);
    stage.configure(&text.replacen("[schedule]", "timezone = \"Asia/Kolkata\"\n[schedule]", 1));
    stage
}

fn settled(stage: &Stage) -> Daemon {
    let daemon = stage.start_ready();
    for (token, verdict) in [
        ("soon", "expiring"),
        ("over", "expired"),
        ("revoked", "invalid"),
        ("hostile", "invalid"),
        ("lost", "unverified"),
        ("never", "healthy"),
    ] {
        daemon.wait_verdict(token, verdict);
    }
    let said = stage.run(&["ack", "over", "--why", "a new one is on its way"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let said = stage.run(&["silence", "week", "--for", "4h", "--why", "we <b>move</b>"]);
    assert_eq!(said.code, 0, "{}", said.err);
    daemon
}

#[test]
fn people_and_judges_look_at_the_pages() {
    let stage = colourful();
    let daemon = settled(&stage);
    // For whoever wants to see them too.
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pages");
    fs::create_dir_all(&pictures).expect("a folder");
    let seen = Command::new(tools("node/node"))
        .arg(root().join("tests/it/browser/look.js"))
        .arg(tools("browser/node_modules"))
        .arg(format!("http://127.0.0.1:{}", stage.port))
        .arg(pictures)
        .env("CHROMIUM", program(&["chromium"]))
        .output()
        .expect("node runs");
    let words = words(&seen);
    assert!(seen.status.success(), "{words}");
    assert!(words.matches("ok      ").count() > 60, "all was looked at: {words}");

    // The same pages, read as HTML.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pages = [
        "/",
        "/?q=soon&open=1&verdict=expiring&receiver=night",
        "/?page=2",
        "/tokens/soon",
        "/tokens/over",
        "/tokens/hostile",
        "/tokens/never",
        "/tokens/renewed",
        "/subjects/app/helpdesk",
        "/subjects/watcher/tokenwatch",
        "/tokens/nobody",
    ];
    for (n, page) in pages.iter().enumerate() {
        let text = browsed(&daemon, page);
        assert!(text.starts_with("<!doctype html>"), "{page}: {text}");
        fs::write(folder.path().join(format!("{n}.html")), text).expect("a page is written");
    }
    // That the checker finds faults is seen by one.
    fs::write(folder.path().join("faulty.html"), "<!doctype html><title>x</title><p><div></p>").expect("written");
    let judged = Command::new(program(&["java"]))
        .args(["-Xss2m", "-jar"])
        .arg(tools("browser/node_modules/vnu-jar/build/dist/vnu.jar"))
        .args(["--format", "json", "--exit-zero-always"])
        .arg(folder.path())
        .output()
        .expect("java runs");
    let report: Value = serde_json::from_slice(&judged.stderr).expect("a report in JSON");
    let messages = report["messages"].as_array().expect("a list");
    let (own, planted): (Vec<&Value>, Vec<&Value>) =
        messages.iter().partition(|message| !message["url"].as_str().is_some_and(|url| url.ends_with("faulty.html")));
    assert!(!planted.is_empty(), "the checker finds nothing at all: {report:#}");
    let own: BTreeSet<String> =
        own.iter().map(|message| format!("{} at {}", message["message"], message["extract"])).collect();
    assert!(own.is_empty(), "{own:#?}");
    assert_eq!(daemon.stop(), 0);
}

/// A page as a browser asks for it.
fn browsed(daemon: &Daemon, path: &str) -> String {
    let answer = wait_for(path, PATIENCE, || daemon.get_as(path, "Accept: text/html,application/xhtml+xml\r\n"));
    answer.split_once("\r\n\r\n").expect("a head and a body").1.to_owned()
}

fn tools(path: &str) -> PathBuf {
    let path = root().join("target/tools").join(path);
    assert!(path.exists(), "{} is not there; run tests/tools.sh, which installs it", path.display());
    path
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn words(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

/// What the icalendar library reads in a calendar.
fn read(calendar: &str) -> Value {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("calendar.ics");
    fs::write(&file, calendar).expect("a file is written");
    let read = Command::new(tools("python/bin/python"))
        .arg(root().join("tests/it/browser/read_calendar.py"))
        .stdin(fs::File::open(&file).expect("a file"))
        .output()
        .expect("python runs");
    assert!(read.status.success(), "{}\n{calendar}", words(&read));
    serde_json::from_slice(&read.stdout).expect("JSON")
}

fn events(calendar: &Value) -> &[Value] {
    calendar["events"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The event of that summary.
fn of<'a>(calendar: &'a Value, summary: &str) -> &'a Value {
    let found: Vec<&Value> = events(calendar).iter().filter(|event| event["summary"] == summary).collect();
    let [event] = found.as_slice() else { unreachable!("one event is called {summary:?}: {calendar:#}") };
    event
}

#[test]
fn a_calendar_follows_the_dates() {
    let stage = Stage::new();
    let now = unix_now();
    let (first, second) = (stage.issue(-40 * DAY, 20 * DAY), stage.issue(-30 * DAY, 30 * DAY));
    stage.write_env(&[("FIRST", &first), ("SECOND", &second), ("THIRD", "")]);
    let renew = format!(
        "receivers = [\"default\", \"night\"]\n[tokens.policy]\nalert_before = [\"9d\", \"12h\"]\n\
         [tokens.renew]\nbefore = \"10d\"\npublish = [{{ env_file = {}, key = \"SECOND\" }}]\n",
        quoted(&stage.path("config.env"))
    );
    let both = [stage.token("first", "FIRST"), stage.token("second", "SECOND"), renew].concat();
    let configured = |tokens: &str| {
        let text =
            stage.config("", tokens).replacen("[receivers.default]\n", "[receivers.default]\n[receivers.night]\n", 1);
        text.replacen("[schedule]", "external_url = \"https://tw.example.com/x\"\n[schedule]", 1)
    };
    stage.configure(&configured(&both));
    let daemon = stage.start_ready();
    daemon.wait_verdict("first", "expiring");
    daemon.wait_verdict("second", "healthy");

    let text = daemon.page("/calendar.ics");
    for secret in [first.as_str(), second.as_str(), crate::support::house::SECRET] {
        assert!(!text.contains(secret), "a secret is in the calendar");
    }
    let calendar = read(&text);
    assert_eq!(calendar["errors"], json!([]));
    assert_eq!(
        (&calendar["method"], &calendar["name"], &calendar["x_name"], &calendar["refresh"]),
        (&json!("PUBLISH"), &json!("tokenwatch"), &json!("tokenwatch"), &json!(3600.0))
    );
    let one = of(&calendar, "first: access token expires");
    assert_eq!(one["start"].as_i64(), Some(now + 20 * DAY), "{one:#}");
    assert_eq!(one["status"], "CONFIRMED");
    let days = |list: &[f64]| json!(list.iter().map(|days| -days * 86_400.0).collect::<Vec<_>>());
    assert_eq!(one["alarms"], days(&[21.0, 14.0, 7.0, 3.0, 1.0]), "the default ladder");
    assert_eq!(one["url"], "https://tw.example.com/x/tokens/first");
    assert!(
        one["description"].as_str().is_some_and(|text| text.contains("1. ") && text.contains("tokenwatch check first"))
    );
    let two = of(&calendar, "second: access token expires");
    assert_eq!(two["alarms"], days(&[9.0, 0.5]), "its own ladder");
    let renewal = of(&calendar, "second: access token is renewed");
    let due = daemon.metric("tokenwatch_token_renewal_timestamp_seconds{token=\"second\"}");
    assert_eq!((renewal["start"].as_f64(), renewal["alarms"].as_array().map(Vec::len)), (due, Some(1)));
    assert!(events(&calendar).iter().any(|event| event["summary"] == "first: data access ends"));
    let mut uids: Vec<&str> = events(&calendar).iter().filter_map(|event| event["uid"].as_str()).collect();
    uids.sort_unstable();
    uids.dedup();
    assert_eq!(uids.len(), events(&calendar).len(), "each event has a UID of its own: {calendar:#}");

    // The same state, the same bytes: more checks change nothing, and neither does a restart.
    let checked = "tokenwatch_token_last_check_timestamp_seconds{token=\"first\"}";
    let before = daemon.metric(checked);
    wait_until("another check", PATIENCE, || daemon.metric(checked) > before);
    let answer = daemon.get_as("/calendar.ics", "").expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert_eq!(body, text);
    let head = head.to_ascii_lowercase();
    assert!(
        head.contains("content-type: text/calendar; charset=utf-8")
            && head.contains("cache-control: private, no-cache")
    );
    let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).expect("a tag").to_owned();
    let again = daemon.get_as("/calendar.ics", &format!("If-None-Match: \"x\", W/{tag}\r\n")).expect("an answer");
    assert!(again.starts_with("HTTP/1.0 304") || again.starts_with("HTTP/1.1 304"), "{again}");
    assert_eq!(daemon.stop(), 0);
    let daemon = stage.start_ready();
    assert_eq!(daemon.page("/calendar.ics"), text, "a restart moves nothing");

    // Only what somebody wants; a name that nobody has is no empty calendar.
    let narrow = |query: &str| {
        let calendar = read(&daemon.page(&format!("/calendar.ics?{query}")));
        let mut names: Vec<String> = events(&calendar)
            .iter()
            .filter_map(|event| Some(event["summary"].as_str()?.split_once(':')?.0.to_owned()))
            .collect();
        names.sort();
        names.dedup();
        names
    };
    assert_eq!(narrow("receiver=night"), ["second"]);
    assert_eq!(narrow("token=first"), ["first"]);
    assert_eq!(narrow("provider=meta"), ["first", "second"]);
    for query in ["receiver=nights", "provider=metas", "token=nobody", "app=none"] {
        let (code, words) = daemon.get(&format!("/calendar.ics?{query}")).expect("an answer");
        assert!(code == 404 && words.contains("would warn of nothing"), "{query}: {words}");
    }
    assert_eq!(
        read(&daemon.page("/calendar.ics?verdict=unverified"))["events"],
        json!([]),
        "an empty calendar can be read"
    );

    // A date moves: the same event, a higher number.
    stage.sim().with_world(|world| world.set_expiry(&first, Some(now + 40 * DAY)));
    daemon.wait_verdict("first", "healthy");
    let moved = read(&daemon.page("/calendar.ics"));
    let later = of(&moved, "first: access token expires");
    assert_eq!((&later["uid"], later["start"].as_i64()), (&one["uid"], Some(now + 40 * DAY)));
    assert!(later["sequence"].as_i64() > one["sequence"].as_i64() && later["stamp"].as_f64() > one["stamp"].as_f64());
    assert_eq!(of(&moved, "second: access token expires"), two, "nothing else moves");

    // A date is no longer one: what calendars have of it is taken back.
    stage.sim().with_world(|world| world.set_expiry(&first, None));
    let over = wait_for("a cancellation", PATIENCE, || {
        let calendar = read(&daemon.page("/calendar.ics"));
        (of(&calendar, "first: access token expires")["status"] == "CANCELLED").then_some(calendar)
    });
    let over = of(&over, "first: access token expires");
    assert_eq!((&over["uid"], &over["start"], &over["alarms"]), (&one["uid"], &later["start"], &json!([])));
    assert!(over["sequence"].as_i64() > later["sequence"].as_i64());

    // So is that of a token which nobody watches any more, where people were told of it.
    stage.sim().with_world(|world| world.set_expiry(&first, Some(now + 2 * DAY)));
    daemon.wait_verdict("first", "expiring");
    let told = read(&daemon.page("/calendar.ics"));
    let told = of(&told, "first: access token expires");
    assert_eq!(told["status"], "CONFIRMED");
    stage.configure(&configured(&both.replacen(&stage.token("first", "FIRST"), "", 1)));
    daemon.hup();
    let gone = wait_for("a cancellation", PATIENCE, || {
        let calendar = read(&daemon.page("/calendar.ics"));
        let found = events(&calendar).iter().find(|event| event["uid"] == one["uid"]).cloned();
        found.filter(|event| event["status"] == "CANCELLED")
    });
    assert!(gone["sequence"].as_i64() >= told["sequence"].as_i64() && gone["start"] == told["start"], "{gone:#}");
    assert_eq!(daemon.stop(), 0);
}
