//! The listener: health, JSON and pages. Whatever a provider says is text on them and never markup.

use std::sync::Arc;

use serde_json::{Value, json};
use tokenwatch::board::{Board, Table};
use tokenwatch::clock::Lens;
use tokenwatch::domain::alert::Subject;
use tokenwatch::domain::answer::{Answer, Signed};
use tokenwatch::domain::time::{Span, Timestamp};
use tokenwatch::domain::token::AppName;
use tokenwatch::metrics::Counters;
use tokenwatch::ports::Clock as _;
use tokenwatch::settings;
use tokenwatch::sim::{AppEvent, Fault, FaultKind, Match};
use tokenwatch::store::Sqlite;
use tokenwatch::web::{self, Web};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::super::support::house::{APP, SECRET, START, fetch};
use super::{DAY, inhabited, put_never, put_old, until, world};

#[tokio::test(start_paused = true)]
async fn every_page_answers_and_nothing_else_does() {
    let mut house = inhabited().await;
    put_never(&house, "never");
    let token = put_old(&house, "soon", 20 * DAY);
    house.start(&house.config(&[house.slot("never"), house.slot("soon")].concat())).await;
    until(&house, 600).await;
    for (path, status, holds) in [
        ("/", 200, "soon"),
        ("/tokens/soon", 200, "soon: expiring"),
        ("/tokens/nobody", 404, "no token is called"),
        ("/tokens/..%2f..%2fetc", 404, "no token is called"),
        ("/tokens/%3Cscript%3E", 404, "no token is called"),
        ("/healthz", 200, "ok"),
        ("/readyz", 200, "first pass: done"),
        ("/metrics", 200, "tokenwatch_build_info"),
        ("/api/v1/tokens", 200, "\"never\""),
        ("/api/v1/tokens/soon", 200, "explanation"),
        ("/api/v1/tokens/nobody", 404, "no token is called"),
        ("/api/v1/status", 200, "last_pass"),
        ("/subjects/soon", 200, "expiring (info), open, began"),
        ("/subjects/app/helpdesk", 200, "Nothing is wrong, and nothing is silenced."),
        ("/subjects/watcher/tokenwatch", 200, "Nothing is wrong"),
        ("/subjects/app/soon", 404, "nothing is watched by the name"),
        ("/subjects/%3Cscript%3E", 404, "nothing is watched by the name"),
        ("/api/v1/subjects/helpdesk", 200, "\"app/helpdesk\""),
        ("/api/v1/subjects/tokenwatch", 200, "\"watcher/tokenwatch\""),
        ("/api/v1/subjects/token/soon", 200, "\"token/soon\""),
        ("/api/v1/subjects/app/..%2f..%2fetc", 404, "nothing is watched by the name"),
        ("/api/v1/subjects/", 404, ""),
        ("/nothing", 404, "not found"),
        ("/api/v1", 404, "not found"),
    ] {
        let (code, text) = house.get(path).await;
        assert_eq!(code, status, "{path}: {text}");
        assert!(text.contains(holds), "{path}: {text}");
        let markup = text.contains("<!doctype html>");
        assert!(!markup || !text.contains("<script"), "{path}: {text}");
        for hidden in [token.as_str(), SECRET, "oncall@example.com"] {
            assert!(!text.contains(hidden), "{path} shows {hidden}");
        }
    }
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_json_tells_what_the_board_knows() {
    let mut house = inhabited().await;
    put_never(&house, "never");
    put_old(&house, "soon", 20 * DAY);
    house.start(&house.config(&["never", "soon", "lost"].map(|name| house.slot(name)).concat())).await;
    until(&house, 600).await;
    let json = |text: String| serde_json::from_str::<Value>(&text).expect("JSON");
    let all = json(house.get("/api/v1/tokens").await.1);
    assert_eq!(all["now"], START + 600);
    let [never, soon, lost] = all["tokens"].as_array().expect("a list").as_slice() else {
        unreachable!("three tokens")
    };
    assert_eq!(
        (&never["name"], &never["verdict"], &never["never_expires"]),
        (&json!("never"), &json!("healthy"), &json!(true))
    );
    assert_eq!(
        (&never["expires_at"], &never["kind"], &never["app"]),
        (&Value::Null, &json!("system_user"), &json!("helpdesk"))
    );
    assert_eq!((&soon["verdict"], &soon["expires_at"]), (&json!("expiring"), &json!(START + 20 * DAY)));
    assert_eq!(soon["findings"], json!([{"finding": "expiring", "severity": "info"}]));
    assert_eq!((&lost["verdict"], &lost["never_expires"]), (&json!("unverified"), &json!(false)));
    let one = json(house.get("/api/v1/tokens/soon").await.1);
    assert_eq!((&one["name"], &one["explanation"]["verdict"]), (&json!("soon"), &json!("expiring")));
    assert!(one["explanation"]["rules"].as_array().is_some_and(|rules| rules.len() >= 9));
    let status = json(house.get("/api/v1/status").await.1);
    assert_eq!((&status["tokens"], &status["troubles"]), (&json!(3), &json!([])));
    assert!(status["last_pass"].as_i64().is_some_and(|at| at > START));
    house.stop().await;
}

/// The provider is not trusted with the page of whoever looks at its answers.
#[tokio::test(start_paused = true)]
async fn what_a_provider_says_is_only_ever_text() {
    const EVIL: &str = "</td><script>alert(1)</script><img src=x onerror=alert(2)> \u{202e}\u{0} \"'&";
    let mut house = inhabited().await;
    let token = put_never(&house, "t");
    let answer = json!({"data": {
        "app_id": APP, "type": EVIL, "user_id": EVIL, "application": EVIL, "is_valid": false,
        "scopes": [EVIL], "granular_scopes": [{"scope": EVIL, "target_ids": [EVIL]}],
        "error": {"code": 190, "subcode": 460, "message": EVIL},
    }});
    let raw = FaultKind::Raw { status: 200, headers: vec![], body: answer.to_string().into_bytes() };
    world(&house, |world, _| world.faults.add(Fault::always(Match::Token(token), raw)));
    house.start(&house.config(&format!("{}scopes = [\"x\"]\n", house.slot("t")))).await;
    until(&house, 600).await;
    for path in ["/", "/tokens/t"] {
        let (code, text) = house.get(path).await;
        assert_eq!(code, 200);
        for markup in ["<script", "<img", "onerror=alert(2)>", "\u{0}"] {
            assert!(!text.contains(markup), "{path} holds {markup:?}: {text}");
        }
    }
    let (_, text) = house.get("/api/v1/tokens/t").await;
    serde_json::from_str::<Value>(&text).expect("JSON");
    super::metrics::parse(&house.get("/metrics").await.1);
    let mail = &house.mails()[0];
    let html = mail.text.split("Content-Type: text/html").nth(1).expect("a part in HTML").replace("=\n", "");
    assert!(!html.contains("<script") && !html.contains("<img"), "{html}");
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn every_answer_forbids_what_no_page_needs() {
    let mut house = inhabited().await;
    put_never(&house, "t");
    house.start(&house.config(&house.slot("t"))).await;
    until(&house, 60).await;
    for path in ["/", "/tokens/t", "/metrics", "/api/v1/tokens", "/healthz", "/nothing", "/tokens/nobody"] {
        let reply = fetch(house.page(), path).await;
        let header = |name: &str| reply.headers()[name].to_str().expect("text").to_owned();
        assert!(header("content-security-policy").contains("default-src 'none'"), "{path}");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("x-frame-options"), "DENY");
        assert_eq!(header("cache-control"), "no-store");
        assert_eq!(header("referrer-policy"), "no-referrer");
    }
    let kind = |reply: reqwest::Response| reply.headers()["content-type"].to_str().expect("text").to_owned();
    assert!(kind(fetch(house.page(), "/").await).starts_with("text/html"));
    assert_eq!(kind(fetch(house.page(), "/metrics").await), "text/plain; version=0.0.4; charset=utf-8");
    assert!(kind(fetch(house.page(), "/api/v1/tokens").await).starts_with("application/json"));
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_an_app_stands_on_the_page_once() {
    let mut house = inhabited().await;
    let slots: Vec<String> = (0..20).map(|n| format!("t{n}")).collect();
    for slot in &slots {
        put_never(&house, slot);
    }
    world(&house, |world, now| world.app_event(APP, AppEvent::Blocked, now));
    house.start(&house.config(&slots.iter().map(|slot| house.slot(slot)).collect::<String>())).await;
    until(&house, 600).await;
    let (_, text) = house.get("/").await;
    assert_eq!(text.matches("App helpdesk: app_fault").count(), 1, "{text}");
    let scrape = super::metrics::parse(&house.get("/metrics").await.1);
    assert_eq!(scrape.count("tokenwatch_token_finding"), 1);
    house.stop().await;
}

/// Who is not told of an app or of the watcher, until when and why, is never hidden.
#[tokio::test(start_paused = true)]
async fn answers_about_apps_and_about_the_watcher_are_shown() {
    let mut house = inhabited().await;
    put_never(&house, "t");
    house.start(&house.config(&house.slot("t"))).await;
    until(&house, 60).await;
    let json = async |path: &str| serde_json::from_str::<Value>(&house.get(path).await.1).expect("JSON");
    assert_eq!(json("/api/v1/status").await["subjects"], json!([]), "nobody is named without a reason");

    world(&house, |world, now| world.app_event(APP, AppEvent::Blocked, now));
    let app = Subject::App(AppName::parse("helpdesk").expect("a name"));
    let signed = |why: &str| Signed { by: "asha (uid 1000)".into(), at: house.clock.now(), why: Some(why.into()) };
    let silence = |why: &str, days: i64, even_critical: bool| Answer::Silence {
        signed: signed(why),
        lasts: Span::days(days),
        even_critical,
    };
    house.requests().answer(Subject::Watcher, silence("a new relay", 2, false)).await.expect("silenced");
    until(&house, 2 * 3_600).await;
    house.requests().answer(app.clone(), Answer::Acknowledge(signed("<script>on it"))).await.expect("acknowledged");
    house.requests().answer(app, silence("we move", 90, true)).await.expect("silenced");

    let status = json("/api/v1/status").await;
    let [helpdesk, watcher] = status["subjects"].as_array().expect("a list").as_slice() else {
        unreachable!("an app and the watcher: {status:#}")
    };
    assert_eq!(helpdesk["subject"], "app/helpdesk");
    assert_eq!(helpdesk["findings"], json!([{"finding": "app_fault", "severity": "critical"}]));
    assert_eq!(helpdesk["open"][0]["acknowledged"]["by"], "asha (uid 1000)", "{helpdesk:#}");
    assert_eq!((&helpdesk["silence"]["why"], &helpdesk["silence"]["even_critical"]), (&json!("we move"), &json!(true)));
    assert_eq!(helpdesk["silence"]["until"], START + 7_200 + 90 * DAY);
    assert_eq!((&watcher["subject"], &watcher["open"]), (&json!("watcher/tokenwatch"), &json!([])));
    assert_eq!(watcher["silence"]["why"], "a new relay");

    let subject = json("/api/v1/subjects/helpdesk").await;
    for part in ["subject", "findings", "open", "silence"] {
        assert_eq!(subject[part], helpdesk[part], "{part}");
    }
    let history = &subject["history"];
    assert_eq!(
        (&history["incidents"][0]["finding"], &history["answers"][0]["answer"]),
        (&json!("app_fault"), &json!("silence"))
    );
    assert_eq!(history["deliveries"][0]["why"], "first", "{history:#}");
    assert_eq!(json("/api/v1/subjects/tokenwatch").await["history"]["answers"][0]["why"], "a new relay");

    for path in ["/", "/subjects/app/helpdesk"] {
        let (_, text) = house.get(path).await;
        for part in [
            "acknowledged by asha (uid 1000)",
            "on it",
            "silenced until",
            "everything, even critical",
            "by asha (uid 1000)",
            "we move",
        ] {
            assert!(text.contains(part), "{path}, {part}: {text}");
        }
        assert!(!text.contains("<script"), "{path}: {text}");
    }
    let (_, text) = house.get("/").await;
    assert!(text.contains("tokenwatch: silenced until") && text.contains("/subjects/watcher/tokenwatch"), "{text}");
    until(&house, 3 * DAY).await;
    let status = json("/api/v1/status").await;
    assert_eq!(status["subjects"].as_array().map(Vec::len), Some(1), "a silence that is over is not shown: {status:#}");
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn health_and_readiness_follow_the_loop_and_the_store() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clock = Arc::new(Lens::new(Timestamp::from_unix(START), 1));
    let board = Arc::new(Board::default());
    board.replace(Arc::new(Table::default()));
    let loaded = settings::from_text("", "test", &[]).expect("a configuration");
    let (_sender, receiver) = tokio::sync::watch::channel(Arc::new(loaded.settings));
    let router = web::router(Web {
        board: Arc::clone(&board),
        counters: Arc::new(Counters::default()),
        store: Arc::new(Sqlite::open(&folder.path().join("state.db")).expect("a state")),
        clock: clock.clone(),
        settings: receiver,
        requests: tokenwatch::requests::Requests::new().0,
        preview: None,
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let page = listener.local_addr().expect("bound");
    let mut server = JoinSet::new();
    server.spawn(async move { axum::serve(listener, router).await });
    let ask = async |path: &str| {
        let reply = fetch(page, path).await;
        (reply.status().as_u16(), reply.text().await.expect("a body"))
    };
    assert_eq!(ask("/healthz").await, (503, "the watch loop has not started\n".to_owned()));
    let (code, text) = ask("/readyz").await;
    assert!(code == 503 && text.contains("first pass: not done yet"), "{text}");

    board.vitals.beat(clock.now());
    assert_eq!(ask("/healthz").await.0, 200);
    assert_eq!(ask("/readyz").await.0, 503, "alive is not ready");
    board.vitals.pass_done(clock.now());
    assert_eq!(ask("/readyz").await.0, 200);

    // The loop sleeps five minutes at most, so six without a sign of life are too many.
    clock.sleep(Span::minutes(6)).await;
    assert_eq!(ask("/healthz").await.0, 200);
    clock.sleep(Span::seconds(1)).await;
    let (code, text) = ask("/healthz").await;
    assert!(code == 503 && text.contains("6 minutes ago"), "{text}");

    board.vitals.store_is("watch", Some("the disk is full".to_owned()));
    let (code, text) = ask("/readyz").await;
    assert!(code == 503 && text.contains("the disk is full"), "{text}");
    board.vitals.store_is("watch", None);
    // Mail has its own alarm; a daemon that watches is ready.
    board.vitals.way_is("mail to oncall", Some("relay mail.example.com:25: connection refused".to_owned()));
    let (code, text) = ask("/readyz").await;
    assert!(code == 200 && text.contains("connection refused"), "{text}");
    assert!(ask("/").await.1.contains("connection refused"));
}
