//! What a reload does to what is under way: slots, apps and receivers that go and come back, with incidents open, notices waiting, runs at work.

use std::collections::BTreeSet;

use tokenwatch::domain::time::Span;
use tokenwatch::ports::Clock as _;
use tokenwatch::sim::{Fault, FaultKind, Match};

use super::{ADA, DAY, HOUR, House, SCOPES, findings, inhabited, metrics, put_never, put_old, until, verdict, world};
use crate::support::house::START;
use crate::support::process::refusing;

/// Everything that the listener says to anybody, in one text.
async fn everything(house: &House) -> String {
    let mut text = String::new();
    for path in ["/", "/metrics", "/api/v1/tokens", "/api/v1/status", "/readyz"] {
        let (status, page) = house.get(path).await;
        assert_eq!(status, 200, "{path}: {page}");
        text.push_str(&page);
    }
    text
}

/// The journal of the state, as the file says.
fn runs(house: &House) -> Vec<String> {
    column(house, "SELECT subject FROM runs ORDER BY subject")
}

pub(super) fn column(house: &House, sql: &str) -> Vec<String> {
    let copy = tempfile::tempdir().expect("a temporary folder");
    for part in ["", "-wal"] {
        let name = format!("tokenwatch.db{part}");
        // Once the state is closed in order, there is no log.
        let _ = std::fs::copy(house.folder.path().join(&name), copy.path().join(&name));
    }
    let state = rusqlite::Connection::open(copy.path().join("tokenwatch.db")).expect("the copy opens");
    let mut statement = state.prepare(sql).expect("a statement");
    let rows = statement.query_map([], |row| row.get(0)).expect("rows");
    rows.map(|row| row.expect("a text")).collect()
}

// promise 28
#[tokio::test(start_paused = true)]
async fn a_removed_token_is_nowhere_and_its_incidents_end_by_what_is_true() {
    let mut house = inhabited().await;
    put_old(&house, "leaver", 10 * DAY);
    let gone = put_old(&house, "leaver-2", 60 * DAY);
    put_never(&house, "stays");
    let slots = ["leaver", "leaver-2", "stays"].map(|name| house.slot(name)).concat();
    house.start(&house.config(&slots)).await;
    until(&house, HOUR).await;
    world(&house, |world, now| world.revoke(&gone, now));
    until(&house, 3 * HOUR).await;
    assert!(everything(&house).await.contains("leaver"));
    assert_eq!(house.subjects().len(), 2, "{:#?}", house.subjects());
    house.reload(&house.config(&house.slot("stays")));
    until(&house, 3 * HOUR + 60).await;
    let shown = everything(&house).await;
    assert!(!shown.contains("leaver"), "{shown}");
    // A calendar that subscribed to it is told that its dates are none any more.
    let calendar = house.get("/calendar.ics").await.1;
    let events: Vec<&str> = calendar.split("BEGIN:VEVENT").filter(|event| event.contains("leaver")).collect();
    assert!(!events.is_empty() && events.iter().all(|event| event.contains("STATUS:CANCELLED")), "{calendar}");
    for path in ["/tokens/leaver", "/api/v1/tokens/leaver", "/api/v1/subjects/token/leaver"] {
        assert_eq!(house.get(path).await.0, 404, "{path}");
    }
    let scrape = metrics::parse(&house.get("/metrics").await.1);
    let healthy = scrape.value("tokenwatch_tokens", &[("provider", "meta"), ("verdict", "healthy")]);
    assert_eq!(healthy, Some(1.0));
    assert!(
        scrape.total("tokenwatch_tokens") < 1.5 && scrape.total("tokenwatch_findings") < 0.5,
        "nothing else counts"
    );
    // One mail for both, and it does not say that anything is well.
    let mails = house.mails();
    assert_eq!(mails.len(), 3, "{:#?}", house.subjects());
    let text = mails[2].text.replace("=\n", "");
    assert!(house.subjects()[2].starts_with("RESOLVED"), "{:#?}", house.subjects());
    assert!(text.contains("no longer watched") && !text.to_lowercase().contains("healthy"), "{text}");
    assert!(text.contains("X-Tokenwatch-Token: leaver\n") || text.contains("X-Tokenwatch-Token: leaver\r\n"), "{text}");
    assert!(text.contains("X-Tokenwatch-Token: leaver-2"), "{text}");
    // And nothing more is ever heard of them.
    let secrets = house.sim.requests().values().sum::<u64>();
    until(&house, 12 * DAY).await;
    assert_eq!(house.mails().len(), 3, "{:#?}", house.subjects());
    assert!(house.sim.requests().values().sum::<u64>() > secrets, "the other is still asked about");
    house.stop().await;
    assert_eq!(column(&house, "SELECT key FROM incidents WHERE ended_at IS NULL"), Vec::<String>::new());
}

/// What was still on its way is told together with the news that it is over; and a token that is renamed, or comes back, starts anew.
#[tokio::test(start_paused = true)]
async fn what_waits_of_a_removed_token_arrives_with_its_end() {
    let mut house = inhabited().await;
    put_old(&house, "first", 10 * DAY);
    put_never(&house, "stays");
    let good = |house: &House, tokens: &str| house.config(tokens).replace("relays = ", "retry = \"1m\"\nrelays = ");
    let (_closed, closed) = refusing();
    let bad = |text: String, house: &House| text.replace(&house.relay().to_string(), &closed.to_string());
    let both = [house.slot("first"), house.slot("stays")].concat();
    house.start(&bad(good(&house, &both), &house)).await;
    until(&house, HOUR).await;
    assert!(house.mails().is_empty());
    // Another name for the same place, and in between everything waits.
    std::fs::copy(house.folder.path().join("first.token"), house.folder.path().join("second.token")).expect("copied");
    let renamed = [house.slot("second"), house.slot("stays")].concat();
    house.reload(&bad(good(&house, &renamed), &house));
    until(&house, HOUR + 120).await;
    house.reload(&good(&house, &renamed));
    until(&house, HOUR + 600).await;
    let told = house.mails().iter().map(|mail| mail.text.replace("=\n", "")).collect::<String>();
    for name in ["first", "second"] {
        assert!(told.contains(&format!("X-Tokenwatch-Token: {name}")), "{name}: {told}");
    }
    assert!(told.contains("no longer watched"), "{told}");
    let scrape = metrics::parse(&house.get("/metrics").await.1);
    assert_eq!(scrape.value("tokenwatch_outbox_pending", &[]), Some(0.0));
    // Back under its first name, with a history and a ladder that is told again under keys of its own.
    let mails = house.mails().len();
    house.reload(&good(&house, &both));
    until(&house, 2 * HOUR).await;
    let subjects = house.subjects().split_off(mails);
    assert!(subjects.iter().any(|subject| subject.contains("first expires in")), "{subjects:#?}");
    house.stop().await;
    let keys = house.notice_keys();
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len(), "{keys:#?}");
    let began = column(&house, "SELECT key FROM incidents WHERE subject = 'token/first' ORDER BY began_at");
    assert_eq!(began.len(), 2, "what was is still known: {began:#?}");
}

// promise 28
#[tokio::test(start_paused = true)]
async fn an_app_that_goes_ends_its_fault() {
    let mut house = inhabited().await;
    put_never(&house, "a");
    put_never(&house, "b");
    std::fs::write(house.folder.path().join("wrong.secret"), "not the secret").expect("a secret");
    let wrong = format!(
        "[apps.mistaken]\nid = \"{}\"\nsecret = {{ file = \"{}\" }}\n",
        crate::support::house::APP,
        house.folder.path().join("wrong.secret").display()
    );
    let both = house.config(&[house.slot("a"), house.slot("b").replace("helpdesk", "mistaken"), wrong].concat());
    house.start(&both).await;
    until(&house, HOUR).await;
    assert!(house.subjects()[0].starts_with("CRITICAL app mistaken"), "{:#?}", house.subjects());
    house.reload(&house.config(&house.slot("a")));
    until(&house, HOUR + 60).await;
    let subjects = house.subjects();
    assert!(subjects.len() == 2 && subjects[1].starts_with("RESOLVED app mistaken"), "{subjects:#?}");
    let shown = everything(&house).await;
    assert!(!shown.contains("mistaken"), "{shown}");
    house.stop().await;
}

// promise 45
#[tokio::test(start_paused = true)]
async fn what_a_removed_receiver_was_not_told_others_are_told() {
    let mut house = inhabited().await;
    put_old(&house, "t", 10 * DAY);
    let (_closed, closed) = refusing();
    let night = "[receivers.night]\nemail = [\"night@example.com\"]\n";
    let of_night = house.config(&format!("{night}{}receivers = [\"night\"]\n", house.slot("t")));
    house.start(&of_night.replace(&house.relay().to_string(), &closed.to_string())).await;
    until(&house, HOUR).await;
    assert!(house.mails().is_empty());
    house.reload(&house.config(&house.slot("t")));
    until(&house, 2 * HOUR).await;
    let subjects = house.subjects();
    assert!(subjects.iter().any(|subject| subject.contains("t expires in 10 days")), "{subjects:#?}");
    assert!(house.mails().iter().all(|mail| !mail.text.contains("night@example.com")), "nobody is at night");
    let scrape = metrics::parse(&house.get("/metrics").await.1);
    assert_eq!(scrape.value("tokenwatch_outbox_pending", &[]), Some(0.0));
    house.stop().await;
}

/// A token is taken out while the application is asked whether it works with the new secret: the run ends well, and nothing is left of it.
#[tokio::test(start_paused = true)]
async fn a_run_whose_token_goes_comes_to_its_end_and_leaves_nothing() {
    let mut house = inhabited().await;
    let old = world(&house, |world, now| world.issue_long_user(ADA, &SCOPES, now - 10 * DAY));
    house.put("t", &old);
    put_never(&house, "stays");
    let (_nobody, address) = refusing();
    let renew = format!(
        "{}[tokens.renew]\nbefore = \"55d\"\nconfirm = {{ http = \"http://{address}/\", within = \"1h\" }}\n",
        house.slot("t")
    );
    house.start(&house.config(&[house.slot("stays"), renew].concat())).await;
    until(&house, 600).await;
    assert_eq!(runs(&house), ["token/t"], "it waits for the application");
    let new = std::fs::read_to_string(house.folder.path().join("t.token")).expect("a secret");
    assert_ne!(new, old);
    house.reload(&house.config(&house.slot("stays")));
    until(&house, 3 * HOUR).await;
    assert_eq!(runs(&house), Vec::<String>::new());
    // The application never answered: what stood there is back, and it still works.
    let now = std::fs::read_to_string(house.folder.path().join("t.token")).expect("a secret");
    assert_eq!(now, old, "the run took its work back, as it would have with its token in place");
    assert!(house.mails().is_empty(), "{:#?}", house.subjects());
    house.stop().await;
}

/// Reload upon reload, while everything hangs, mails wait and a token comes and goes: in the end it is as if there had been one.
#[tokio::test(start_paused = true)]
async fn reloads_in_a_row_end_in_the_last_one() {
    let mut house = inhabited().await;
    put_old(&house, "comes-and-goes", 10 * DAY);
    put_old(&house, "stays", 20 * DAY);
    let here = house.config(&[house.slot("comes-and-goes"), house.slot("stays")].concat());
    let gone = house.config(&house.slot("stays"));
    house.start(&here).await;
    for n in 0..20_i64 {
        house.sim.with_world(|world| world.faults.add(Fault::times(1, Match::Any, FaultKind::Hang)));
        house.reload(if n % 2 == 0 { &gone } else { &here });
        house.pass(Span::seconds(n % 7)).await;
    }
    house.sim.with_world(|world| world.faults.clear());
    until(&house, HOUR).await;
    assert_eq!((verdict(&house, "stays"), verdict(&house, "comes-and-goes")), ("expiring", "expiring"));
    assert!(house.clock.now().unix() >= START + HOUR);
    house.reload(&gone);
    until(&house, 2 * HOUR).await;
    house.stop().await;
    assert_eq!(
        column(&house, "SELECT subject FROM incidents WHERE ended_at IS NULL"),
        ["token/stays"],
        "what is gone has nothing open"
    );
    let keys = house.notice_keys();
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len(), "{keys:#?}");
    let stays = house.subjects().iter().filter(|subject| subject.contains("stays expires in")).count();
    assert_eq!(stays, 1, "who stayed was told once: {:#?}", house.subjects());
}

/// Whoever follows the mail and writes another date sees what came of it, and not an hour later.
#[tokio::test(start_paused = true)]
async fn a_date_that_is_written_anew_counts_at_once() {
    let mut house = inhabited().await;
    let place = house.folder.path().join("badge");
    std::fs::write(&place, "a badge").expect("the secret");
    let dated = |house: &House, date: &str| {
        let place = place.display();
        house.config(&format!(
            "[[tokens]]\nname = \"badge\"\nprovider = \"manual\"\ncheck = \"6h\"\nsecret = {{ file = \"{place}\" }}\n{date}"
        ))
    };
    house.start(&dated(&house, "expires = \"2026-01-02\"\n")).await;
    until(&house, 3 * DAY).await;
    assert_eq!(findings(&house, "badge"), ["expired"]);
    house.reload(&dated(&house, "expires = \"2026-06-01\"\n"));
    house.pass(Span::seconds(2)).await;
    assert_eq!(findings(&house, "badge"), Vec::<&str>::new());
    // Also where it was written while nobody ran.
    house.kill().await;
    house.start(&dated(&house, "expires = \"2026-01-02\"\n")).await;
    house.pass(Span::seconds(2)).await;
    assert_eq!(findings(&house, "badge"), ["expired"]);
    house.stop().await;
}
