//! The ways to people, each against what is really at its other end: Exim, Alertmanager, the library that verifies signatures, relays and
//! hooks that fail in every way that relays and hooks do.
//!
//! Rungs are crossed in real time: a life of a minute or two has its rungs at 33%, 10% and 3% of it.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::time::Duration;

use serde_json::Value;
use tokenwatch::sim::{Lifetime, PhoneNumber, TemplateState, User, Waba};
use tokio::time::Instant;

use super::secrets::{LETTERS, Search, base64, random};
use crate::support::alertmanager::{Alertmanager, LOGIN};
use crate::support::exim::{Exim, Letter};
use crate::support::hook::{Call, Hook, Mood, are_genuine};
use crate::support::house::APP;
use crate::support::process::{Daemon, PATIENCE, Stage, get_raw, quoted, unix_now, wait_until};
use crate::support::relay::{Manner, Relay};

// promises 32, 34, 44, 49
#[test]
fn every_channel_tells_an_incident_from_its_first_word_to_its_last() {
    let (exim, hook, pager) = (Exim::start("swordfish"), Hook::start(), Hook::start());
    let alertmanager = Alertmanager::start(&pager.url("/pager"));
    let stage = Stage::new();
    // It will have lived 52 of its 78 seconds: rungs at 25.7, 7.8 and 2.3 seconds before the end.
    let token = stage.issue(-52, 60 * DAY);
    stage.write_env(&[("FIRST", &token)]);
    let ways =
        webhook(&stage, &hook) + &format!("alertmanager = {{ url = {:?}, resend = \"2s\" }}\n", alertmanager.url());
    let text = stage.config(&exim.relay(), &(ways + &stage.token("first", "FIRST")));
    stage.configure(&text.replace("repeat = \"0s\"", "repeat = \"3s\""));
    let daemon = stage.start_ready();
    stage.sim().with_world(|world| world.set_expiry(&token, Some(unix_now() + 26)));

    let fires = |severity: &str| {
        let alerts = alertmanager.about("first");
        let found: Vec<&str> = alerts.iter().filter_map(|alert| alert["labels"]["severity"].as_str()).collect();
        found == [severity]
    };
    wait_until("the first rung's alert", PATIENCE, || fires("info"));
    let labels = alertmanager.about("first")[0]["labels"].clone();
    for (name, value) in [
        ("alertname", "TokenExpiring"),
        ("finding", "expiring"),
        ("provider", "meta"),
        ("token", "first"),
        ("receiver", "default"),
    ] {
        assert_eq!(labels[name], value, "{labels}");
    }
    let since = Instant::now();
    wait_until("five times `resend`", PATIENCE, || {
        assert!(fires("info"), "what was told once lives eight seconds; it is told again");
        since.elapsed() > Duration::from_secs(10)
    });
    let first = exim.wait_mail("the first rung", |mail| mail.tells("first", "expiring", "first"));
    assert_eq!(first.header("X-Tokenwatch-Severity"), "info");

    exim.wait_mail("the second rung", |mail| mail.tells("first", "expiring", "escalated"));
    wait_until("the milder alert to make room", PATIENCE, || fires("critical"));
    exim.wait_mail("a repeat", |mail| mail.headers("X-Tokenwatch-Notice").contains(&"repeated".to_owned()));
    hook.wait_taken("a repeat", |call| {
        call.tells("first", "expiring", "repeated") || call.tells("first", "expired", "repeated")
    });
    stage.sim().with_world(|world| world.set_expiry(&token, Some(unix_now() + 60 * DAY)));
    let resolved = |call: &Call| call.json()["status"] == "resolved";
    hook.wait_taken("the end", resolved);
    let last = exim.wait_mail("the end", |mail| mail.subject().contains("RESOLVED"));
    assert_eq!(last.header("X-Tokenwatch-Notice"), "resolved");
    wait_until("no alert", PATIENCE, || alertmanager.about("first").is_empty());
    for severity in ["info", "critical"] {
        wait_until("the Alertmanager to tell the end", PATIENCE, || {
            told_by(&pager, "resolved", "first").iter().any(|alert| alert["labels"]["severity"] == severity)
        });
    }
    wait_until("an empty outbox", PATIENCE, || daemon.metric("tokenwatch_outbox_pending") == Some(0.0));
    assert_eq!(daemon.stop(), 0);

    let mails = exim.mails();
    let root = first.header("Message-ID");
    for mail in mails.iter().filter(|mail| mail.header("Message-ID") != root) {
        assert!(mail.header("References").contains(&root), "one thread: {}", mail.raw);
        assert_eq!(mail.header("Auto-Submitted"), "auto-generated");
    }
    let ids: BTreeSet<String> = mails.iter().map(|mail| mail.header("Message-ID")).collect();
    assert_eq!(ids.len(), mails.len(), "each mail once");

    let calls = hook.calls();
    let ids: BTreeSet<&str> = calls.iter().map(|call| call.header("webhook-id")).collect();
    assert_eq!(ids.len(), calls.len(), "each message once");
    let whys: Vec<Value> = calls.iter().map(|call| call.json()["notices"][0]["why"].clone()).collect();
    assert_eq!((&whys[0], &whys[1], whys.last()), (&"first".into(), &"escalated".into(), Some(&"resolved".into())));
    for call in &calls {
        let body = call.json();
        assert_eq!((&body["version"], &body["receiver"]), (&1.into(), &"default".into()), "{body}");
        assert_eq!(body["id"], call.header("webhook-id"));
        assert_eq!(body["status"], if resolved(call) { "resolved" } else { "firing" });
        assert_eq!(body["notices"][0]["provider"], "meta");
        assert!(body["summary"].as_str().is_some_and(|text| text.contains("first")), "{body}");
    }
    assert_eq!(calls[0].json()["severity"], "info");
    assert_eq!(calls[1].json()["severity"], "critical");
    assert_eq!(are_genuine(KEY, &calls), vec![true; calls.len()], "signatures, for others");
    let forged: Vec<Call> =
        calls.iter().map(|call| Call { body: call.body.replace("first", "other"), ..call.clone() }).collect();
    assert_eq!(are_genuine(KEY, &forged), vec![false; calls.len()]);
    assert_eq!(are_genuine(OTHER_KEY, &calls), vec![false; calls.len()]);
}

// promise 49
#[test]
fn an_alert_ends_by_itself_when_tokenwatch_dies() {
    let pager = Hook::start();
    let mut alertmanager = Alertmanager::closed(&pager.url("/pager")).guarded();
    alertmanager.open();
    let stage = Stage::new();
    let token = stage.issue_healthy();
    stage.write_env(&[("FIRST", &token)]);
    let (user, password) = LOGIN;
    let password = quoted(&stage.write("am-password", password));
    let way = format!(
        "alertmanager = {{ url = {:?}, user = {user:?}, password = {{ file = {password} }}, resend = \"1s\" }}\n",
        alertmanager.url()
    );
    stage.configure(&stage.config("", &(way + &stage.token("first", "FIRST"))));
    let daemon = stage.start_ready();
    stage.sim().with_world(|world| world.revoke(&token, unix_now()));
    let fires = || {
        alertmanager
            .about("first")
            .iter()
            .any(|alert| alert["labels"]["alertname"] == "TokenRevoked" && alert["labels"]["severity"] == "critical")
    };
    wait_until("the alert", PATIENCE, fires);
    wait_until("the Alertmanager to page", PATIENCE, || !told_by(&pager, "firing", "first").is_empty());
    let killed = Instant::now();
    daemon.kill9();
    wait_until("the alert to end", PATIENCE, || !fires());
    assert!(killed.elapsed() < Duration::from_secs(10), "four times `resend`, and no more: {:?}", killed.elapsed());
    wait_until("the Alertmanager to say so", PATIENCE, || !told_by(&pager, "resolved", "first").is_empty());

    // And it fires again as soon as somebody watches again.
    let daemon = stage.start_ready();
    wait_until("the alert", PATIENCE, fires);
    assert_eq!(daemon.stop(), 0);
}

// promises 44, 45, 51
#[test]
fn what_is_down_hangs_or_fails_holds_up_nobody_else() {
    let (exim, hook, pager) = (Exim::start("swordfish"), Hook::start(), Hook::start());
    let mut alertmanager = Alertmanager::closed(&pager.url("/pager"));
    hook.set(Mood::Hang);
    let stage = Stage::new();
    let (first, second) = (stage.issue_healthy(), stage.issue_healthy());
    stage.write_env(&[("FIRST", &first), ("SECOND", &second)]);
    let ways = webhook(&stage, &hook).replace(" }\n", ", timeout = \"1s\" }\n")
        + &format!("alertmanager = {{ url = {:?}, resend = \"1s\" }}\n", alertmanager.url());
    let tokens = stage.token("first", "FIRST") + &stage.token("second", "SECOND");
    stage.configure(&stage.config(&exim.relay(), &(ways + &tokens)));
    let daemon = stage.start_ready();

    stage.sim().with_world(|world| world.revoke(&first, unix_now()));
    exim.wait_mail("the first revocation", |mail| mail.tells("first", "revoked", "first"));
    wait_until("the hook to be tried again", PATIENCE, || hook.calls().len() >= 2);
    assert!(hook.taken().is_empty());
    let troubles = ["webhook to default: ", "alertmanager to default: "];
    wait_until("readiness to tell", PATIENCE, || {
        daemon
            .get("/readyz")
            .is_some_and(|(status, text)| status == 200 && troubles.iter().all(|way| text.contains(way)))
    });
    let said = stage.run(&["status"]);
    assert_eq!(said.code, 0, "{}", said.err);
    for way in troubles {
        assert!(said.out.contains(&format!("trouble: {way}")), "{}", said.out);
    }
    stage.sim().with_world(|world| world.revoke(&second, unix_now()));
    let mail = exim.wait_mail("the second revocation", |mail| mail.tells("second", "revoked", "first")).decoded();
    assert!(mail.contains("Trouble with earlier messages"), "{mail}");
    assert!(mail.contains("webhook to default: ") && mail.contains("alertmanager to default: "), "{mail}");

    hook.set(Mood::Answer(500));
    wait_until("the hook to refuse", PATIENCE, || hook.calls().iter().any(|call| call.mood == Mood::Answer(500)));
    wait_until("the refusal to be told", PATIENCE, || {
        daemon.get("/readyz").is_some_and(|(_, text)| text.contains("answered 500"))
    });
    hook.set(Mood::Answer(200));
    hook.wait_taken("the first revocation", |call| call.tells("first", "revoked", "first"));
    hook.wait_taken("the second revocation", |call| call.tells("second", "revoked", "first"));
    alertmanager.open();
    for token in ["first", "second"] {
        wait_until("the alerts", PATIENCE, || alertmanager.about(token).len() == 1);
    }
    wait_until("peace", PATIENCE, || daemon.get("/readyz").is_some_and(|(_, text)| text.contains("notices: ok")));
    wait_until("an empty outbox", PATIENCE, || daemon.metric("tokenwatch_outbox_pending") == Some(0.0));
    assert_eq!(daemon.stop(), 0);

    let mut told = Vec::new();
    for call in hook.taken() {
        let body = call.json();
        let notices = body["notices"].as_array().into_iter().flatten();
        told.extend(notices.filter_map(|notice| notice["key"].as_str().map(str::to_owned)));
    }
    told.sort_unstable();
    assert_eq!(told.len(), 2, "everything arrives, and once: {told:?}");
    assert_ne!(told[0], told[1]);
    // What may have arrived is the same message ever after: the same id, the same notices. Only the troubles are told as they are now.
    let message = |call: &Call| {
        let mut body = call.json();
        body["troubles"].take();
        body
    };
    let calls = hook.calls();
    let again: Vec<&Call> =
        calls.iter().filter(|call| call.header("webhook-id") == calls[0].header("webhook-id")).collect();
    assert!(again.len() >= 3, "hung, hung, taken: {}", again.len());
    assert!(again.iter().all(|call| message(call) == message(&calls[0])));
    assert_eq!(again.last().map(|call| call.mood), Some(Mood::Answer(200)));
    assert_eq!(are_genuine(KEY, &calls), vec![true; calls.len()]);
    assert_eq!(exim.count(), 2, "mail was never told twice");
}

#[test]
fn mail_takes_the_next_relay_whatever_the_others_do() {
    let exim = Exim::start("swordfish");
    let (bare, rude) = (Relay::start(Manner::Takes), Relay::start(Manner::Later));
    let stage = Stage::new();
    let manners = [
        ("later", Manner::Later),
        ("never", Manner::Never),
        ("hangs", Manner::Hangs),
        ("before", Manner::DiesBefore),
        ("unsaid", Manner::DiesUnsaid),
        ("after", Manner::DiesAfter),
    ];
    let secrets: HashMap<&str, String> = manners.iter().map(|(name, _)| (*name, stage.issue_healthy())).collect();
    let keys: Vec<(String, &String)> = secrets.iter().map(|(name, secret)| (name.to_uppercase(), secret)).collect();
    stage.write_env(&keys.iter().map(|(key, secret)| (key.as_str(), secret.as_str())).collect::<Vec<_>>());
    // A receiver for each, so that none waits for the pace of another.
    let mut rest = String::new();
    for (name, _) in &manners {
        rest.push_str(&format!("[receivers.{name}]\nemail = [\"{name}@example.com\"]\n"));
    }
    for (name, _) in &manners {
        rest.push_str(&format!("{}receivers = [{name:?}]\n", stage.token(name, &name.to_uppercase())));
    }
    let relays = [bare.relay("required"), rude.relay("none"), exim.relay()].join(", ");
    stage.configure(&stage.config(&relays, &rest).replace("timeout = \"10s\"", "timeout = \"3s\""));
    let daemon = stage.start_ready();
    let mut before: Option<Letter> = None;
    for (name, manner) in manners {
        rude.set(manner);
        stage.sim().with_world(|world| world.revoke(&secrets[name], unix_now()));
        if manner == Manner::DiesAfter {
            wait_until("the relay to take it", PATIENCE, || rude.messages().len() == 2);
            wait_until("the word that it left", PATIENCE, || daemon.metric("tokenwatch_outbox_pending") == Some(0.0));
            assert!(!exim.mails().iter().any(|mail| mail.tells(name, "revoked", "first")), "a 250 is a 250");
            continue;
        }
        let mail = exim.wait_mail(name, |mail| mail.tells(name, "revoked", "first"));
        assert_eq!(rude.talks(manner), 1, "{name}: the first relays were asked first");
        if before.is_some() {
            let text = mail.decoded();
            assert!(text.contains("Trouble with earlier messages"), "{text}");
            assert!(text.contains(&format!("127.0.0.1:{}", rude.port)), "the relay that failed is named: {text}");
        }
        if manner == Manner::DiesUnsaid {
            let id = mail.header("Message-ID");
            assert!(rude.messages()[0].contains(&format!("Message-ID: {id}")), "two copies, one message");
        }
        before = Some(mail);
    }
    assert!(bare.messages().is_empty(), "nothing goes in the clear where TLS is required");
    assert!(stage.log().contains("it offers no STARTTLS, and tls=required is set"));
    assert_eq!(exim.count(), 5, "each once");
    assert_eq!(daemon.stop(), 0);
}

// promise 45
#[test]
fn with_all_relays_down_nothing_is_lost() {
    let mut exim = Exim::closed("swordfish");
    let rude = Relay::start(Manner::Later);
    let stage = Stage::new();
    let names = ["first", "second", "third"];
    let secrets = names.map(|_| stage.issue_healthy());
    stage.write_env(&[("FIRST", &secrets[0]), ("SECOND", &secrets[1]), ("THIRD", &secrets[2])]);
    let tokens = names.map(|name| stage.token(name, &name.to_uppercase())).concat();
    stage.configure(&stage.config(&[rude.relay("none"), exim.relay()].join(", "), &tokens));
    let daemon = stage.start_ready();
    let waiting = |count: f64| {
        wait_until("the outbox", PATIENCE, || daemon.metric("tokenwatch_outbox_pending") == Some(count));
    };
    stage.sim().with_world(|world| world.revoke(&secrets[0], unix_now()));
    wait_until("a refusal", PATIENCE, || rude.talks(Manner::Later) >= 1);
    waiting(1.0);
    stage.sim().with_world(|world| world.revoke(&secrets[1], unix_now()));
    waiting(2.0);
    // The next attempt may have been put together before the second notice was there; the one after it holds both.
    let before = rude.talks(Manner::Later);
    wait_until("two more refusals", PATIENCE, || rude.talks(Manner::Later) >= before + 2);
    // Now one of them takes the message, and dies before it says so.
    rude.set(Manner::DiesUnsaid);
    wait_until("a message in doubt", PATIENCE, || {
        rude.messages()
            .iter()
            .any(|text| text.contains("X-Tokenwatch-Token: first") && text.contains("X-Tokenwatch-Token: second"))
    });
    rude.set(Manner::Later);
    stage.sim().with_world(|world| world.revoke(&secrets[2], unix_now()));
    waiting(3.0);
    exim.open();
    waiting(0.0);
    wait_until("both mails", PATIENCE, || exim.count() == 2);
    // A message in doubt may have arrived, so it may wait for its own next try while others pass it.
    let mut told: Vec<(Vec<String>, String)> =
        exim.mails().iter().map(|mail| (mail.headers("X-Tokenwatch-Token"), mail.header("Message-ID"))).collect();
    for (tokens, _) in &mut told {
        tokens.sort_unstable();
    }
    told.sort_unstable();
    let tokens: Vec<&[String]> = told.iter().map(|(tokens, _)| tokens.as_slice()).collect();
    assert_eq!(tokens, [&["first".to_owned(), "second".to_owned()][..], &["third".to_owned()]], "each once, folded");
    let doubtful: BTreeSet<String> = rude.messages().iter().map(|text| header(text, "Message-ID")).collect();
    assert!(doubtful.contains(&told[0].1), "what may have arrived keeps its id: {doubtful:?}");
    assert_eq!(daemon.stop(), 0);
}

// promise 44
#[test]
fn a_preferred_channel_is_enough_and_mail_is_there_when_it_fails() {
    let exim = Exim::start("swordfish");
    let stage = Stage::new();
    let sender = whatsapp_world(&stage);
    let names = ["accepted", "held", "missing", "last"];
    let secrets: HashMap<&str, String> = names.iter().map(|name| (*name, stage.issue_healthy())).collect();
    let mut lines = vec![("SENDER".to_owned(), sender.clone())];
    lines.extend(names.iter().map(|name| (name.to_uppercase(), secrets[name].clone())));
    stage.write_env(&lines.iter().map(|(key, secret)| (key.as_str(), secret.as_str())).collect::<Vec<_>>());
    let ways = format!("{WHATSAPP}prefer = [\"whatsapp\", \"email\"]\n");
    let tokens = sending(&stage) + &names.map(|name| stage.token(name, &name.to_uppercase())).concat();
    stage.configure(&stage.config(&exim.relay(), &(ways + &tokens)));
    let daemon = stage.start_ready();
    let revoke = |secret: &String| stage.sim().with_world(|world| world.revoke(secret, unix_now()));
    let template = |state: Option<TemplateState>| {
        stage.sim().with_world(|world| {
            let templates = &mut world.waba_mut(WABA).expect("it was added").templates;
            let key = ("token_alert".to_owned(), "en".to_owned());
            match state {
                Some(state) => drop(templates.insert(key, state)),
                None => drop(templates.remove(&key)),
            }
        });
    };
    let sent = || stage.sim().with_world(|world| world.sent_messages().len());

    revoke(&secrets["accepted"]);
    wait_until("a message over WhatsApp", PATIENCE, || sent() == 1);
    wait_until("an empty outbox", PATIENCE, || daemon.metric("tokenwatch_outbox_pending") == Some(0.0));
    assert_eq!(exim.count(), 0, "one of the preferred is enough");
    let message = stage.sim().with_world(|world| world.sent_messages()[0].clone());
    assert_eq!((message.from.as_str(), message.kind.as_str()), (NUMBER, "template"));
    assert_eq!(message.to.trim_start_matches('+'), "15550001111");

    template(Some(TemplateState::Held));
    revoke(&secrets["held"]);
    exim.wait_mail("what Meta holds back", |mail| mail.tells("held", "revoked", "first"));
    wait_until("the trouble to be told", PATIENCE, || {
        daemon
            .get("/readyz")
            .is_some_and(|(_, text)| text.contains("preferred to default: ") && text.contains("holds the message"))
    });
    template(None);
    revoke(&secrets["missing"]);
    exim.wait_mail("what has no template", |mail| mail.tells("missing", "revoked", "first"));
    template(Some(TemplateState::Approved));
    revoke(&sender);
    exim.wait_mail("the sender's own end", |mail| mail.tells("sender", "revoked", "first"));
    revoke(&secrets["last"]);
    exim.wait_mail("what a dead token cannot send", |mail| mail.tells("last", "revoked", "first"));
    wait_until("an empty outbox", PATIENCE, || daemon.metric("tokenwatch_outbox_pending") == Some(0.0));
    assert_eq!((sent(), exim.count()), (1, 4), "each by one way");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn no_secret_of_a_channel_is_found_anywhere() {
    let mut search = Search::default();
    let (exim, hook, alerts, bearing) = (Exim::start("swordfish"), Hook::start(), Hook::start(), Hook::start());
    let mut stage = Stage::new();
    stage.environment.insert("RUST_LOG".to_owned(), "trace".to_owned());
    stage.environment.insert("USER".to_owned(), "ada".to_owned());
    let sender = whatsapp_world(&stage);
    let first = stage.issue_healthy();
    stage.write_env(&[("SENDER", &sender), ("FIRST", &first)]);
    let [key, path, query, password, bearer] = [(); 5].map(|()| random(32, LETTERS));
    for (what, secret) in [
        ("the webhook's key", &key),
        ("the webhook's path", &path),
        ("the webhook's query", &query),
        ("the Alertmanager's password", &password),
        ("the Alertmanager's bearer", &bearer),
        ("the sending token", &sender),
    ] {
        search.plant(what, secret);
        search.plant(what, &base64(secret.as_bytes()));
    }
    search.plant("the Alertmanager's login", &base64(format!("watcher:{password}").as_bytes()));
    let place = |name: &str, secret: &str| quoted(&stage.write(name, secret));
    let ways = format!(
        "{WHATSAPP}webhook = {{ url = {:?}, secret = {{ file = {} }}, timeout = \"1s\" }}\n\
         alertmanager = {{ url = {:?}, user = \"watcher\", password = {{ file = {} }}, resend = \"1s\" }}\n\
         [receivers.other]\nalertmanager = {{ url = {:?}, bearer = {{ file = {} }}, resend = \"1s\" }}\n",
        hook.url(&format!("/in/{path}?key={query}")),
        place("hook-key", &key),
        alerts.url(""),
        place("am-password", &password),
        bearing.url(""),
        place("am-bearer", &bearer),
    );
    let tokens = sending(&stage) + &stage.token("first", "FIRST") + "receivers = [\"default\", \"other\"]\n";
    stage.configure(&stage.config(&exim.relay(), &(ways + &tokens)));
    let hooks = [&hook, &alerts, &bearing];
    let set = |mood: Mood| {
        for hook in hooks {
            hook.set(mood);
        }
    };
    set(Mood::Quote(403));
    stage.sim().with_world(|world| {
        world.phone_number_mut(NUMBER).expect("it was added").registered = false;
    });
    let daemon = stage.start_ready();
    stage.sim().with_world(|world| world.revoke(&first, unix_now()));
    for mood in [Mood::Quote(403), Mood::Hang, Mood::Answer(500)] {
        set(mood);
        let seen = |hook: &&Hook| hook.calls().iter().any(|call| call.mood == mood);
        wait_until("all to be asked", PATIENCE, || hooks.iter().all(seen));
        look(&stage, &daemon, &mut search);
    }
    set(Mood::Answer(200));
    stage.sim().with_world(|world| {
        world.phone_number_mut(NUMBER).expect("it was added").registered = true;
    });
    wait_until("an empty outbox", PATIENCE, || daemon.metric("tokenwatch_outbox_pending") == Some(0.0));
    search.command(&stage, &["test-alert", "--json"]);
    look(&stage, &daemon, &mut search);
    assert!(hook.taken()[0].line.contains(&path), "the search is for what was used");
    assert!(bearing.taken()[0].header("authorization").contains(&bearer));
    assert_eq!(daemon.stop(), 0);
    for entry in fs::read_dir(stage.path("state")).expect("the state folder").filter_map(Result::ok) {
        if entry.path().is_file() {
            search.within(&entry.path().display().to_string(), &fs::read(entry.path()).expect("a state file"));
        }
    }
    for mail in exim.mails() {
        search.within("a mail", mail.raw.as_bytes());
        search.within("a mail as it is read", mail.decoded().as_bytes());
    }
    for call in hook.calls().iter().chain(&alerts.calls()).chain(&bearing.calls()) {
        search.within("what others are sent", call.body.as_bytes());
    }
    let log = stage.log();
    assert!(log.contains("TRACE") || log.contains("DEBUG"), "the search needs a talkative log");
    search.within("the log", log.as_bytes());
    search.report();
}

/// Everything that can be asked of the daemon.
fn look(stage: &Stage, daemon: &Daemon, search: &mut Search) {
    for path in [
        "/",
        "/metrics",
        "/readyz",
        "/api/v1/status",
        "/api/v1/tokens",
        "/api/v1/tokens/first",
        "/api/v1/tokens/sender",
        "/tokens/first",
        "/tokens/sender",
        "/api/v1/subjects/first",
        "/api/v1/subjects/tokenwatch",
        "/subjects/tokenwatch",
        "/calendar.ics",
    ] {
        assert!(daemon.get("/healthz").is_some());
        search.within(path, get_raw(stage.port, path).expect("an answer").as_bytes());
    }
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["status", "first"],
        &["status", "first", "--json"],
        &["explain", "first"],
        &["ack", "first", "--why", "we know"],
        &["silence", "sender", "--for", "1h", "--why", "we move"],
        &["unsilence", "sender"],
        &["forecast", "--json"],
        &["config", "show"],
        &["config", "check"],
    ] {
        search.command(stage, arguments);
    }
}

/// The webhook of a receiver, signed with [`KEY`].
fn webhook(stage: &Stage, hook: &Hook) -> String {
    let key = quoted(&stage.write("hook-key", KEY));
    format!("webhook = {{ url = {:?}, secret = {{ file = {key} }} }}\n", hook.url("/in"))
}

/// The alerts about a token that an Alertmanager told with this status.
fn told_by(pager: &Hook, status: &str, token: &str) -> Vec<Value> {
    let calls = pager.calls();
    let alerts = calls.iter().flat_map(|call| call.json()["alerts"].as_array().cloned().unwrap_or_default());
    alerts.filter(|alert| alert["status"] == status && alert["labels"]["token"] == token).collect()
}

/// The first value of a header in a message as it travels.
fn header(message: &str, name: &str) -> String {
    let found = message.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    found.unwrap_or_default().to_owned()
}

/// A WhatsApp account with a number and an approved template; returns the token that may send with it.
fn whatsapp_world(stage: &Stage) -> String {
    stage.sim().with_world(|world| {
        world.add_user(User::new(APP, MACHINE, "Machine"));
        let mut account = Waba::new(WABA, "Tea House", "900100", &[MACHINE]);
        account.templates.insert(("token_alert".to_owned(), "en".to_owned()), TemplateState::Approved);
        world.add_waba(account);
        world.add_phone_number(PhoneNumber::new(WABA, NUMBER, "+1 555-000-1111", "Tea House"));
        world.issue_system_user(
            MACHINE,
            &["whatsapp_business_management", "whatsapp_business_messaging"],
            Lifetime::Never,
            unix_now(),
        )
    })
}

/// The entry of the token that sends.
fn sending(stage: &Stage) -> String {
    format!("{}[tokens.whatsapp]\nphone_number_id = {NUMBER:?}\n", stage.token("sender", "SENDER"))
}

/// The WhatsApp of a receiver.
const WHATSAPP: &str =
    "whatsapp = { token = \"sender\", to = [\"+15550001111\"], template = \"token_alert\", language = \"en\" }\n";
const MACHINE: &str = "104160000000001";
const WABA: &str = "102290000000001";
const NUMBER: &str = "521803094347148";
/// What signs, in the form that the library knows.
const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER_KEY: &str = "whsec_AAKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const DAY: i64 = 86_400;
