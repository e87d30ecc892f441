//! On-call answers: the real commands against the real daemon. And what people ask it for: tests of the ways, forecasts, summaries, signs of
//! life.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use rustix::process::getuid;
use serde_json::Value;
use tokenwatch::sim::{Fault, FaultKind, Match};
use tokio::time::Instant;

use crate::support::alertmanager::Alertmanager;
use crate::support::exim::{Exim, Letter};
use crate::support::hook::{Hook, Mood};
use crate::support::process::{Daemon, PATIENCE, Said, Stage, quoted, unix_now, wait_for, wait_until};

#[test]
fn an_acknowledged_incident_is_not_repeated_and_still_escalates() {
    let exim = Exim::start("swordfish");
    let mut stage = Stage::new();
    stage.environment.insert("USER".to_owned(), "ada".to_owned());
    // Of 160 seconds 15 are left when its end is known: it stands on the rung at 10%; the last one is 4.8 seconds before the end.
    let token = stage.issue(-145, 60 * DAY);
    stage.write_env(&[("FIRST", &token)]);
    let text = stage.config(&exim.relay(), &stage.token("first", "FIRST"));
    stage.configure(&text.replace("repeat = \"0s\"", "repeat = \"3s\""));
    let daemon = stage.start_ready();
    let said = stage.run(&["ack", "first"]);
    assert_eq!(said.code, 1, "there is nothing to acknowledge: {}", said.out);
    assert!(said.err.contains("no open incident"), "{}", said.err);
    stage.sim().with_world(|world| world.set_expiry(&token, Some(unix_now() + 15)));
    exim.wait_mail("the rung", |mail| mail.tells("first", "expiring", "first"));
    exim.wait_mail("a repeat", |mail| mail.tells("first", "expiring", "repeated"));

    let said = stage.run(&["ack", "first", "--why", &"because ".repeat(100)]);
    assert!(said.code == 64 && said.err.contains("600 characters"), "{said:?}");
    let said = stage.run(&["ack", "first", "--why", "we rotate it tonight"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains("acknowledged; open: expiring (critical)"), "{}", said.out);
    let who = format!("ada (uid {})", getuid().as_raw());
    let acknowledged = history(&daemon, "first")["incidents"][0]["acknowledged"].clone();
    assert_eq!((&acknowledged["by"], &acknowledged["why"]), (&who.as_str().into(), &"we rotate it tonight".into()));
    let status = stage.run(&["status"]).out;
    assert!(status.contains("(acknowledged)"), "{status}");
    for arguments in [["status", "first"], ["explain", "first"]] {
        let said = stage.run(&arguments);
        assert!(said.out.contains(&who), "{arguments:?}: {}", said.out);
    }
    let page = daemon.page("/tokens/first");
    assert!(page.contains(&who) && page.contains("we rotate it tonight"), "{page}");

    // Both what gets worse and the good end are told; before the former it would have been repeated two times.
    exim.wait_mail("the end", |mail| mail.tells("first", "expired", "escalated"));
    stage.sim().with_world(|world| world.set_expiry(&token, Some(unix_now() + 60 * DAY)));
    exim.wait_mail("RESOLVED", |mail| mail.subject().contains("RESOLVED"));
    let at = acknowledged["at"].as_i64().expect("a moment");
    let past = history(&daemon, "first");
    let later: Vec<&Value> = list(&past["deliveries"]).filter(|told| told["made_at"].as_i64() > Some(at)).collect();
    let escalated = later.iter().filter(|told| told["why"] == "escalated").count();
    assert!(escalated >= 2, "the last rung and the end: {later:?}");
    assert!(later.iter().all(|told| told["why"] != "repeated"), "{later:?}");
    for mail in exim.mails().iter().filter(|mail| mail.header("X-Tokenwatch-Notice") == "escalated") {
        assert!(mail.decoded().contains(&who), "{}", mail.decoded());
    }
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_silence_holds_back_and_always_ends() {
    let exim = Exim::start("swordfish");
    let mut stage = Stage::new();
    stage.environment.insert("USER".to_owned(), "ada".to_owned());
    let names = ["held", "freed", "ended", "even"];
    let secrets = names.map(|_| stage.issue_healthy());
    let mut tokens = String::new();
    for (name, secret) in names.iter().zip(&secrets) {
        let file = quoted(&stage.write(name, secret));
        tokens.push_str(&format!("[[tokens]]\nname = {name:?}\napp = \"helpdesk\"\nsecret = {{ file = {file} }}\n"));
    }
    stage.write_env(&[]);
    stage.configure(&stage.config(&exim.relay(), &tokens));
    let silence = |name: &str, lasts: &str, more: &[&str]| {
        stage.run(&[&["silence", name, "--for", lasts, "--why", "we move"], more].concat())
    };
    for said in [silence("held", "1m", &[]), stage.run(&["ack", "held"]), stage.run(&["unsilence", "held"])] {
        assert_eq!(said.code, 75, "no daemon: {}", said.err);
        assert!(said.err.contains("is tokenwatch running?"), "{}", said.err);
    }
    let daemon = stage.start_ready();
    let mode = fs::metadata(stage.path("state/control.sock")).expect("a socket").permissions().mode() & 0o777;
    assert_eq!(mode, 0o660);
    refused(&silence("held", "59s", &[]), "a silence lasts at least a minute");
    refused(&silence("held", "91d", &[]), "at most");
    refused(&silence("nobody", "1h", &[]), "nothing is watched by the name");
    refused(&stage.run(&["ack", "nobody"]), "nothing is watched by the name");
    refused(&stage.run(&["unsilence", "held"]), "no silence");
    assert_eq!(stage.run(&["silence", "held", "--for", "1h"]).code, 64, "a silence needs a reason");
    the_network_has_no_door(&stage, &daemon);

    let began = Instant::now();
    for (name, lasts, more) in
        [("held", "1m", &[][..]), ("freed", "1h", &[]), ("ended", "1h", &[]), ("even", "1h", &["--even-critical"])]
    {
        let said = silence(name, lasts, more);
        assert_eq!(said.code, 0, "{}", said.err);
        assert!(said.out.contains("silenced until"), "{}", said.out);
    }
    let who = format!("ada (uid {})", getuid().as_raw());
    assert!(stage.run(&["status"]).out.contains("(silenced until "));
    assert!(stage.run(&["explain", "even"]).out.contains(&format!("silenced by {who}")));
    let page = daemon.page("/tokens/held");
    assert!(page.contains("silenced for") && page.contains("we move") && page.contains(&who), "{page}");

    for name in ["held", "freed"] {
        fs::remove_file(stage.path(name)).expect("it was there");
    }
    stage.sim().with_world(|world| {
        world.revoke(&secrets[2], unix_now());
        world.revoke(&secrets[3], unix_now());
    });
    exim.wait_mail("an end, in spite of the silence", |mail| mail.tells("ended", "revoked", "first"));
    for (name, finding) in [("held", "source_unreadable"), ("freed", "source_unreadable"), ("even", "revoked")] {
        wait_until(finding, PATIENCE, || {
            list(&api(&daemon, name)["findings"]).any(|found| found["finding"] == finding)
        });
        assert_eq!(list(&history(&daemon, name)["deliveries"]).count(), 0, "{name} is told to nobody");
    }
    for (name, finding) in [("freed", "source_unreadable"), ("even", "revoked")] {
        let said = stage.run(&["unsilence", name]);
        assert_eq!(said.code, 0, "{}", said.err);
        exim.wait_mail("what was held back", |mail| mail.tells(name, finding, "first"));
    }
    assert!(began.elapsed() < Duration::from_secs(50), "in time to see the silence end");
    assert_eq!(list(&history(&daemon, "held")["deliveries"]).count(), 0, "it is still held back");
    let told = |why: &str| {
        let why = why.to_owned();
        move |mail: &Letter| mail.tells("held", "source_unreadable", &why)
    };
    exim.wait_mail("a word before the silence ends", told("reminded"));
    exim.wait_mail("what was held back", told("first"));
    let past = history(&daemon, "held");
    let first = list(&past["deliveries"]).find(|told| told["why"] == "first").cloned().unwrap_or_default();
    let silenced = list(&past["answers"]).next().cloned().unwrap_or_default();
    let lasted = first["made_at"].as_i64().unwrap_or_default() - silenced["at"].as_i64().unwrap_or_default();
    assert!((60..=62).contains(&lasted), "at the second in which it runs out: {past}");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_test_alert_goes_all_the_way() {
    let (exim, hook, down, pager) = (Exim::start("swordfish"), Hook::start(), Hook::start(), Hook::start());
    let alertmanager = Alertmanager::start(&pager.url("/pager"));
    down.set(Mood::Answer(503));
    let stage = Stage::new();
    stage.write_env(&[("FIRST", &stage.issue_healthy())]);
    let ways = format!(
        "webhook = {{ url = {:?} }}\nalertmanager = {{ url = {:?} }}\n\
         escalate = {{ from = \"critical\", email = [\"lead@example.com\"] }}\n\
         [receivers.dead]\nwebhook = {{ url = {:?} }}\n",
        hook.url("/in"),
        alertmanager.url(),
        down.url("/in")
    );
    stage.configure(&stage.config(&exim.relay(), &(ways + &stage.token("first", "FIRST"))));
    assert_eq!(stage.run(&["test-alert"]).code, 75, "no daemon");
    let daemon = stage.start_ready();
    refused(&stage.run(&["test-alert", "nobody"]), "no receiver has that name");

    let said = stage.run(&["test-alert"]);
    assert_eq!(said.code, 2, "one of the ways is dead: {}", said.err);
    let lines = |mark: char| said.out.lines().filter(move |line| line.starts_with(mark)).collect::<Vec<_>>();
    assert_eq!((lines('✔').len(), lines('✖').len()), (3, 1), "{}", said.out);
    for way in ["mail", "webhook", "alertmanager"] {
        assert!(lines('✔').iter().any(|line| line.contains(&format!("{way} to default"))), "{}", said.out);
    }
    let line = lines('✖')[0];
    assert!(line.contains("webhook to dead") && line.contains("503"), "what the other side answered: {line}");
    let mail = exim.wait_mail("the test", |mail| mail.header("X-Tokenwatch-Finding") == "test");
    assert!(!mail.header("To").contains("lead@example.com"), "{}", mail.raw);
    assert_eq!(hook.taken()[0].json()["notices"][0]["finding"], "test");
    let alerts = alertmanager.alerts();
    assert!(alerts.iter().any(|alert| alert["labels"]["alertname"] == "TokenwatchTest"), "{alerts:?}");

    let said = stage.run(&["test-alert", "dead", "--severity", "critical", "--json"]);
    assert_eq!(said.code, 2, "{}", said.out);
    let deliveries: Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!(list(&deliveries).count(), 1);
    assert!(deliveries[0]["failure"].as_str().is_some_and(|text| text.contains("503")), "{deliveries}");

    let said = stage.run(&["test-alert", "default", "--severity", "critical"]);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    exim.wait_mail("the test to the lead", |mail| mail.header("To").contains("lead@example.com"));

    down.set(Mood::Answer(200));
    wait_until("even a test is not lost", PATIENCE, || daemon.metric("tokenwatch_outbox_pending") == Some(0.0));
    let body = down.taken()[0].json();
    assert!(list(&body["notices"]).all(|notice| notice["finding"] == "test"), "{body}");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_forecast_needs_no_daemon() {
    let stage = Stage::new();
    let token = stage.issue(-50 * DAY, 10 * DAY + 3_600);
    stage.write_env(&[("FIRST", &token)]);
    let text = stage.config("{ url = \"smtp://127.0.0.1:1?tls=none\" }", &stage.token("first", "FIRST"));
    stage.configure(&text);
    let daemon = stage.start_ready();
    let ask = |from: &str| {
        let said = stage.run(&["forecast", "--days", "20"]);
        assert_eq!(said.code, 0, "{}", said.err);
        assert!(said.out.starts_with(&format!("({from}")), "{}", said.out);
        for word in ["WHEN", "first expires in 7 days", "CRITICAL", "critical", "mail", "Assumed: "] {
            assert!(said.out.to_lowercase().contains(&word.to_lowercase()), "{word}: {}", said.out);
        }
        let said = stage.run(&["forecast", "--days", "20", "--json"]);
        assert_eq!(said.code, 0, "{}", said.err);
        let forecast: Value = serde_json::from_str(&said.out).expect("JSON");
        assert_eq!(forecast["cut"], false);
        // What is ahead; the rung that the token stands on is told when somebody is there to tell it.
        let ahead = list(&forecast["messages"]).filter(|message| message["at"].as_i64() > Some(unix_now() + 60));
        ahead.map(|message| (message["at"].as_i64().unwrap_or_default(), message["subject"].to_string())).collect()
    };
    let running: Vec<(i64, String)> = ask("from what the running daemon knows");
    assert!(running.len() >= 4, "7 d, 3 d, 1 d and the end: {running:?}");
    assert!(running.is_sorted());
    let end = stage.sim().with_world(|world| world.token(&token).and_then(|token| token.expires_at));
    assert!(running.iter().any(|(at, text)| Some(*at) >= end && text.contains("expired")), "{running:?}");
    assert_eq!(daemon.stop(), 0);
    assert_eq!(ask("from the state that the daemon left behind"), running);
    fs::remove_dir_all(stage.path("state")).and_then(|()| fs::create_dir(stage.path("state"))).expect("a folder");
    assert_eq!(ask("from one check made now"), running);
}

// promise 52
#[test]
fn the_summary_comes_by_its_bell() {
    let (exim, hook) = (Exim::start("swordfish"), Hook::start());
    let stage = Stage::new();
    let (first, second) = (stage.issue_healthy(), stage.issue_healthy());
    stage.write_env(&[("FIRST", &first), ("SECOND", &second)]);
    let way = format!("webhook = {{ url = {:?} }}\n", hook.url("/in"));
    let tokens = stage.token("first", "FIRST") + &stage.token("second", "SECOND");
    let text = stage.config(&exim.relay(), &(way + &tokens));
    stage.configure(&text.replace("check = \"1s\"\n", "check = \"1s\"\ndigest = \"*/4 * * * * *\"\n"));
    let daemon = stage.start_ready();
    let summaries = || {
        let mails = exim.mails();
        mails.into_iter().filter(|mail| mail.header("X-Tokenwatch-Finding") == "digest").collect::<Vec<_>>()
    };
    let mails = wait_for("two summaries", PATIENCE, || Some(summaries()).filter(|mails| mails.len() >= 2));
    assert_ne!(mails[0].header("Message-ID"), mails[1].header("Message-ID"));
    for mail in &mails {
        let text = mail.decoded();
        assert!(text.contains("first") && text.contains("second") && text.contains("healthy"), "{text}");
    }
    let call = hook.wait_taken("a summary", |call| !call.json()["notices"][0]["digest"].is_null());
    let digest = call.json()["notices"][0]["digest"].clone();
    assert!(list(&digest["nearest"]).any(|end| end["token"] == "first" && end["finding"] == "expiring"), "{digest}");
    assert_eq!(digest["verdicts"][0]["tokens"], 2, "{digest}");
    assert_eq!(digest["open_count"], 0, "{digest}");
    assert_eq!(daemon.stop(), 0);
}

// promise 53
#[test]
fn the_heart_beats_only_after_passes() {
    let (stage, hook) = (Stage::new(), Hook::start());
    stage.write_env(&[("FIRST", &stage.issue_healthy())]);
    let heart = format!("[heartbeat]\nurl = {:?}\n", hook.url("/ping/uuid"));
    let text = stage.config("", &(stage.token("first", "FIRST") + &heart));
    let text = text.replace("check = \"1s\"\n", "check = \"1s\"\nheartbeat = \"1s\"\n");
    stage.configure(&text.replace("[provider.meta]\n", "[provider.meta]\ntimeout = \"2s\"\n"));
    stage.sim().with_world(|world| world.faults.add(Fault::always(Match::Any, FaultKind::Hang)));
    let daemon = stage.start();
    wait_until("the first beat", PATIENCE, || {
        // Looked at in this order: what has beaten by now must have been ready by now.
        let beats = hook.calls().len();
        let ready = daemon.get("/readyz").is_some_and(|(status, _)| status == 200);
        assert!(beats == 0 || ready, "a beat before the first pass was over");
        beats > 0
    });
    assert_eq!(hook.calls()[0].line, "GET /ping/uuid");
    stage.sim().with_world(|world| world.faults.clear());
    wait_until("more beats", PATIENCE, || hook.calls().len() >= 3);

    // Without passes there is nothing to beat for, however short the period is.
    stage.configure(&text.replace("check = \"1s\"", "check = \"1h\""));
    daemon.hup();
    wait_until("the reload", PATIENCE, || stage.log().contains("another configuration"));
    let pass = || daemon.metric("tokenwatch_last_pass_timestamp_seconds");
    let (mut calm, mut before) = (Instant::now(), (pass(), hook.calls().len()));
    wait_until("four periods without a pass and without a beat", PATIENCE, || {
        let now = (pass(), hook.calls().len());
        if now.0 != before.0 || now.1 == before.1 + 1 && calm.elapsed() < Duration::from_millis(2_500) {
            (calm, before) = (Instant::now(), now);
        }
        assert_eq!(now.1, before.1, "a beat without a pass");
        calm.elapsed() > Duration::from_secs(4)
    });
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn what_was_answered_about_an_app_and_about_the_watcher_is_shown() {
    let mut stage = Stage::new();
    stage.environment.insert("USER".to_owned(), "ada".to_owned());
    let soon = stage.issue(-50 * 86_400, 10 * 86_400);
    stage.write_env(&[("FIRST", &stage.issue_healthy()), ("SOON", &soon)]);
    // Whoever is told from critical on is not told of a test, which is info.
    let ways = "escalate = { from = \"critical\", email = [\"lead@example.com\"] }\n".to_owned();
    let text = stage.config(
        "{ url = \"smtp://127.0.0.1:1?tls=none\" }",
        &(ways + &stage.token("first", "FIRST") + &stage.token("soon", "SOON")),
    );
    stage.configure(&text.replace("email = [\"oncall@example.com\"]\n", ""));
    let daemon = stage.start_ready();
    assert!(!stage.run(&["status"]).out.contains("helpdesk"), "nobody is named without a reason");
    for (name, subject, more) in
        [("helpdesk", "app/helpdesk", &["--even-critical"][..]), ("tokenwatch", "watcher/tokenwatch", &[])]
    {
        let said = stage.run(&[&["silence", name, "--for", "90d", "--why", "we move"], more].concat());
        assert_eq!(said.code, 0, "{}", said.err);
        assert!(said.out.starts_with(&format!("{subject}: silenced until")), "{}", said.out);
    }
    let status = stage.run(&["status"]);
    assert_eq!(status.code, 0, "{}", status.err);
    let who = format!("ada (uid {})", getuid().as_raw());
    for subject in ["app/helpdesk", "watcher/tokenwatch"] {
        let line = status.out.lines().find(|line| line.starts_with(&format!("{subject}: silenced until")));
        let line = line.unwrap_or_else(|| panic!("{subject}: {}", status.out));
        assert!(line.contains(&who) && line.ends_with(": we move"), "{line}");
        assert_eq!(line.contains("even critical"), subject == "app/helpdesk", "{line}");
        for name in [subject, subject.rsplit('/').next().unwrap_or_default()] {
            let said = stage.run(&["status", name]);
            assert_eq!(said.code, 0, "{}", said.err);
            for part in [subject, "silenced until", "silence for 90 days", &who, "we move", "Incidents", "Told"] {
                assert!(said.out.contains(part), "{part}: {}", said.out);
            }
        }
    }
    let said = stage.run(&["status", "app/helpdesk", "--json"]);
    let subject: Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!(
        (&subject["silence"]["even_critical"], &subject["history"]["answers"][0]["why"]),
        (&true.into(), &"we move".into())
    );
    for name in ["nobody", "app/first", "../first", "app/helpdesk/x"] {
        refused(&stage.run(&["status", name]), "nothing is watched by the name");
    }
    assert!(stage.run(&["status", "token/first"]).out.starts_with("first: healthy"));
    // And of a warning nobody was told, so nobody is said to have been.
    let said = stage.run(&["explain", "soon"]);
    assert!(said.out.contains("open incident expiring (warning), last notice: "), "{}", said.out);
    wait_until("the notice to be settled", PATIENCE, || {
        let past = stage.run(&["status", "soon"]).out;
        past.contains("to default  there was nobody to reach ")
    });

    let said = stage.run(&["test-alert"]);
    refused(&said, "nobody is told of this severity");
    assert!(said.out.contains("nobody is told of this severity that way"), "{}", said.out);
    assert_eq!(daemon.stop(), 0);
}

/// Answers are given by the socket only: by the listener nothing can be changed or even asked.
fn the_network_has_no_door(stage: &Stage, daemon: &Daemon) {
    for path in ["deliveries?key=x", "forecast?days=3", "ack", "silence", "unsilence", "test-alert"] {
        let path = format!("/control/v1/{path}");
        assert_eq!(daemon.get(&path).map(|(status, _)| status), Some(404), "GET {path}");
        let body = "{\"name\":\"held\",\"why\":\"x\",\"seconds\":3600}";
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, stage.port)).expect("it listens");
        let head = format!(
            "POST {path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        assert!(answer.starts_with("HTTP/1.0 413"), "POST {path}, whose body nobody wants: {answer}");
    }
    assert_eq!(api(daemon, "held")["silenced_until"], Value::Null);
}

fn refused(said: &Said, why: &str) {
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    assert!(said.err.contains(why), "{}", said.err);
}

/// What the daemon knows of a token.
fn api(daemon: &Daemon, token: &str) -> Value {
    serde_json::from_str(&daemon.page(&format!("/api/v1/tokens/{token}"))).expect("JSON")
}

fn history(daemon: &Daemon, token: &str) -> Value {
    api(daemon, token)["history"].clone()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

const DAY: i64 = 86_400;
