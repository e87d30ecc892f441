//! WhatsApp numbers through the whole daemon: a number that is blocked while its token is fine, who gets what arrives, and how few calls it takes.

use tokenwatch::sim::{Fault, FaultKind, Health, Match, PhoneNumber, Waba};

use super::{DAY, HOUR, House, MACHINE, findings, inhabited, put_never, put_old, seconds, until, verdict, world};
use crate::support::house::APP;

const WABA: &str = "102290000000001";
const BUSINESS: &str = "2729063490586005";
const NUMBER: &str = "521803094347148";

/// A house with a WhatsApp account that the machine may use, and its app subscribed.
async fn with_whatsapp() -> House {
    let house = inhabited().await;
    world(&house, |world, _| {
        let mut account = Waba::new(WABA, "Tea House", BUSINESS, &[MACHINE]);
        account.subscribed_apps.insert(APP.to_owned());
        world.add_waba(account);
        world.add_phone_number(PhoneNumber::new(WABA, NUMBER, "+1 555-000-1111", "Tea House"));
    });
    put_never(&house, "wa");
    house
}

fn slot(house: &House, more: &str) -> String {
    format!(
        "{}[tokens.whatsapp]\nphone_number_id = {NUMBER:?}\nbusiness_account_id = {WABA:?}\n{more}",
        house.slot("wa")
    )
}

fn account(house: &House, act: impl FnOnce(&mut Waba)) {
    world(house, |world, _| act(world.waba_mut(WABA).expect("the account")));
}

fn number(house: &House, act: impl FnOnce(&mut PhoneNumber)) {
    world(house, |world, _| act(world.phone_number_mut(NUMBER).expect("the number")));
}

fn calls(house: &House, part: &str) -> u64 {
    house.sim.requests().iter().filter(|(path, _)| path.contains(part)).map(|(_, count)| count).sum()
}

// promise 59
#[tokio::test(start_paused = true)]
async fn a_number_is_blocked_while_its_token_is_fine() {
    let mut house = with_whatsapp().await;
    house.start(&house.config(&slot(&house, ""))).await;
    until(&house, HOUR).await;
    assert_eq!((verdict(&house, "wa"), findings(&house, "wa")), ("healthy", vec![]));

    number(&house, |number| number.health = Health::limited("The display name is not approved yet."));
    until(&house, 2 * HOUR).await;
    assert_eq!(findings(&house, "wa"), ["number_limited"]);
    let payment = Health::blocked(141_006, "There is an error with the payment method.", "Add a valid payment method.");
    account(&house, |account| account.health = payment);
    until(&house, 3 * HOUR).await;
    assert_eq!((verdict(&house, "wa"), findings(&house, "wa")), ("healthy", vec!["number_blocked"]));
    let (_, metrics) = house.get("/metrics").await;
    let info = format!(
        "tokenwatch_whatsapp_number_info{{token=\"wa\",phone_number_id=\"{NUMBER}\",status=\"connected\",quality=\"green\",mode=\"live\",\
         sending=\"blocked\",webhooks=\"ours\"}} 1\n"
    );
    assert!(metrics.contains(&info), "{metrics}");
    assert!(metrics.contains("finding=\"number_blocked\",severity=\"critical\"} 1"), "{metrics}");

    number(&house, |number| number.health = Health::available());
    account(&house, |account| account.health = Health::available());
    until(&house, 4 * HOUR).await;
    assert_eq!(findings(&house, "wa"), Vec::<&str>::new());

    let subjects: Vec<String> = seconds(&house).into_iter().map(|(_, subject)| subject).collect();
    assert_eq!(
        subjects,
        [
            "WARNING wa can send only some messages: the phone number is limited",
            "CRITICAL wa cannot send, its token is fine: the payment method (141006)",
            "RESOLVED wa can send again",
        ],
        "{subjects:#?}"
    );
    let mails = house.mails();
    let text = |mail: usize| mails[mail].text.replace("=\r\n", "").replace("=\n", "").replace("=3D", "=");
    for words in ["The display name is not approved yet.", "WARNING"] {
        assert!(text(0).contains(words), "{words}: {}", text(0));
    }
    for words in [
        "the WhatsApp Business Account 102290000000001 is blocked, error 141006: There is an error with the payment method.",
        "Add a valid payment method.",
        "billing_hub/payment_settings?waba_id=102290000000001",
        "A new token does not help.",
        "tokenwatch check wa",
    ] {
        let flat = text(1).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(words) || text(1).contains(words), "{words}: {}", text(1));
    }
    let threads = mails.iter().map(|mail| mail.header("References").unwrap_or_default()).collect::<Vec<_>>();
    assert!(!threads[1].is_empty() && !threads[2].is_empty(), "one incident is one thread: {threads:?}");
}

// promise 59
/// What has to do with calls, and an answer that does not come, change nothing.
#[tokio::test(start_paused = true)]
async fn only_what_keeps_messages_back_is_told() {
    let mut house = with_whatsapp().await;
    number(&house, |number| number.health.sip = Some(tokenwatch::sim::CanSend::Blocked));
    house.start(&house.config(&slot(&house, ""))).await;
    until(&house, HOUR).await;
    assert_eq!(findings(&house, "wa"), Vec::<&str>::new());
    let blocked = Health::blocked(141_014, "The account is banned.", "");
    account(&house, |account| account.health = blocked);
    until(&house, 2 * HOUR).await;
    assert_eq!(findings(&house, "wa"), ["number_blocked"]);
    // Meta has trouble with the number only: what is known stands, and the token's own answers go on.
    world(&house, |world, _| {
        world.faults.add(Fault::always(Match::PathPrefix(format!("/{NUMBER}")), FaultKind::Html503));
    });
    account(&house, |account| account.health = Health::available());
    until(&house, 3 * HOUR).await;
    assert_eq!((verdict(&house, "wa"), findings(&house, "wa")), ("healthy", vec!["number_blocked"]));
    world(&house, |world, _| world.faults.clear());
    until(&house, 4 * HOUR).await;
    assert_eq!(findings(&house, "wa"), Vec::<&str>::new());
    // Another number in the configuration: what was known of this one is forgotten.
    account(&house, |account| account.health = Health::blocked(141_014, "The account is banned.", ""));
    until(&house, 5 * HOUR).await;
    assert_eq!(findings(&house, "wa"), ["number_blocked"]);
    house.reload(&house.config(&house.slot("wa")));
    until(&house, 6 * HOUR).await;
    assert_eq!(findings(&house, "wa"), Vec::<&str>::new());
    let last = house.subjects().pop().unwrap_or_default();
    assert_eq!(last, "RESOLVED wa: no longer watched");
}

// promise 60
#[tokio::test(start_paused = true)]
async fn a_number_that_the_token_may_not_see_is_a_missing_target() {
    let mut house = with_whatsapp().await;
    house.start(&house.config(&slot(&house, ""))).await;
    until(&house, HOUR).await;
    account(&house, |account| account.assigned_users.clear());
    until(&house, 2 * HOUR).await;
    assert_eq!(findings(&house, "wa"), ["target_missing"]);
    let mail = house.mails().pop().expect("a mail").text;
    assert!(mail.contains(&format!("phone number {NUMBER}")), "{mail}");
    account(&house, |account| account.assigned_users.extend([MACHINE.to_owned()]));
    until(&house, 3 * HOUR).await;
    assert_eq!(findings(&house, "wa"), Vec::<&str>::new());
}

// promise 61
/// An application may send and never listen, so only the end of a subscription is told, unless one is wanted.
#[tokio::test(start_paused = true)]
async fn the_end_of_a_subscription_is_told() {
    for (more, subscribed_at_first, expected) in [
        ("", true, &["webhooks_missing"][..]),
        ("", false, &[]),
        ("webhooks = true\n", false, &["webhooks_missing"]),
        ("webhooks = false\n", true, &[]),
    ] {
        let mut house = with_whatsapp().await;
        if !subscribed_at_first {
            account(&house, |account| account.subscribed_apps.clear());
        }
        house.start(&house.config(&slot(&house, more))).await;
        until(&house, HOUR).await;
        account(&house, |account| account.subscribed_apps.clear());
        until(&house, 2 * DAY).await;
        assert_eq!(findings(&house, "wa"), expected, "{more:?} {subscribed_at_first}");
        account(&house, |account| account.subscribed_apps.extend([APP.to_owned()]));
        until(&house, 4 * DAY).await;
        assert_eq!(findings(&house, "wa"), Vec::<&str>::new(), "{more:?}");
    }
}

// promise 62
/// One call a check about the number, one a day about the subscription, none of a token that is dead, none on a budget that is nearly used.
#[tokio::test(start_paused = true)]
async fn as_few_calls_as_possible() {
    let mut house = with_whatsapp().await;
    let hourly = "[schedule]\ncheck = \"1h\"\n";
    house.start(&(hourly.to_owned() + &house.config(&slot(&house, "")))).await;
    until(&house, 10 * DAY + 10).await;
    let checks = calls(&house, "debug_token");
    assert!((240..=242).contains(&checks), "{checks}");
    assert_eq!(calls(&house, NUMBER), checks);
    assert!((10..=11).contains(&calls(&house, "subscribed_apps")), "{:?}", house.sim.requests());

    house.reload(&(hourly.to_owned() + "numbers = \"6h\"\n" + &house.config(&slot(&house, ""))));
    until(&house, 11 * DAY + 10).await;
    let more = calls(&house, NUMBER) - checks;
    assert!((4..=5).contains(&more), "{more}");
    let before = calls(&house, NUMBER);
    world(&house, |world, now| world.user_event(MACHINE, tokenwatch::sim::Event::LoggedOut, now));
    until(&house, 12 * DAY).await;
    assert_eq!(calls(&house, NUMBER), before, "a dead token is not asked with");
}

/// A dead token says nothing about its number: what was told is neither repeated nor called well.
#[tokio::test(start_paused = true)]
async fn a_blocked_number_behind_a_dead_token() {
    let mut house = with_whatsapp().await;
    account(&house, |account| account.health = Health::blocked(141_014, "The account is banned.", ""));
    house.start(&house.config(&slot(&house, ""))).await;
    until(&house, HOUR).await;
    assert_eq!(findings(&house, "wa"), ["number_blocked"]);
    world(&house, |world, now| world.user_event(MACHINE, tokenwatch::sim::Event::LoggedOut, now));
    until(&house, 3 * DAY).await;
    assert_eq!(findings(&house, "wa"), ["revoked"]);
    let told = |house: &House, words: &str| house.subjects().iter().filter(|subject| subject.contains(words)).count();
    assert_eq!(told(&house, "cannot send"), 1, "{:#?}", house.subjects());
    assert_eq!(told(&house, "can send again"), 0, "{:#?}", house.subjects());
    put_never(&house, "wa");
    until(&house, 3 * DAY + HOUR).await;
    assert_eq!(findings(&house, "wa"), ["number_blocked"]);
    account(&house, |account| account.health = Health::available());
    until(&house, 3 * DAY + 2 * HOUR).await;
    assert_eq!((findings(&house, "wa").len(), told(&house, "can send again")), (0, 1), "{:#?}", house.subjects());
}

/// A number's budget is its own: the token, and all others of the app, are checked on.
#[tokio::test(start_paused = true)]
async fn a_throttled_number_blinds_nobody() {
    let mut house = with_whatsapp().await;
    put_never(&house, "other");
    let usage = format!(
        "{{\"{WABA}\":[{{\"type\":\"whatsapp_business_management\",\"call_count\":100,\"total_cputime\":1,\"total_time\":1,\
         \"estimated_time_to_regain_access\":720}}]}}"
    );
    let kind = FaultKind::Raw {
        status: 400,
        headers: vec![("x-business-use-case-usage".to_owned(), usage)],
        body: br#"{"error":{"code":80008,"message":"(#80008) There have been too many calls"}}"#.to_vec(),
    };
    house.start(&house.config(&(slot(&house, "") + &house.slot("other")))).await;
    until(&house, HOUR).await;
    let before = (calls(&house, "debug_token"), calls(&house, NUMBER));
    world(&house, |world, _| world.faults.add(Fault::always(Match::PathPrefix(format!("/{NUMBER}")), kind)));
    until(&house, 11 * HOUR).await;
    assert!(calls(&house, "debug_token") - before.0 >= 78, "{:?}", house.sim.requests());
    assert_eq!(calls(&house, NUMBER) - before.1, 1, "asked once, and then left alone");
    for name in ["wa", "other"] {
        assert_eq!((verdict(&house, name), findings(&house, name)), ("healthy", vec![]));
    }
}

/// What nobody wants to know any more did not come right.
#[tokio::test(start_paused = true)]
async fn a_subscription_that_nobody_wants_any_more() {
    for (after, account_after) in [("webhooks = false\n", WABA), ("", "102290000000002")] {
        let mut house = with_whatsapp().await;
        house.start(&house.config(&slot(&house, ""))).await;
        until(&house, HOUR).await;
        account(&house, |account| account.subscribed_apps.clear());
        until(&house, 2 * DAY).await;
        assert_eq!(findings(&house, "wa"), ["webhooks_missing"]);
        let text = slot(&house, after).replace(WABA, account_after);
        house.reload(&house.config(&text));
        until(&house, 3 * DAY).await;
        assert!(!findings(&house, "wa").contains(&"webhooks_missing"), "{:?}", findings(&house, "wa"));
        let resolved: Vec<String> =
            house.subjects().into_iter().filter(|subject| subject.starts_with("RESOLVED")).collect();
        assert_eq!(resolved, ["RESOLVED wa: no longer watched"], "{after:?}");
    }
}

/// Once it is told that nobody listens, the first check that sees somebody listen again says so.
#[tokio::test(start_paused = true)]
async fn the_return_of_a_subscription_is_told_soon() {
    let mut house = with_whatsapp().await;
    house.start(&house.config(&slot(&house, "webhooks = true\n"))).await;
    account(&house, |account| account.subscribed_apps.clear());
    until(&house, HOUR).await;
    assert_eq!(findings(&house, "wa"), ["webhooks_missing"]);
    account(&house, |account| account.subscribed_apps.extend([APP.to_owned()]));
    until(&house, 2 * HOUR).await;
    assert_eq!(findings(&house, "wa"), Vec::<&str>::new());
}

// promise 45
/// WhatsApp knows no message ids of ours: what may have arrived is not sent again for a reload, a goodbye or a start.
#[tokio::test(start_paused = true)]
async fn a_message_that_may_have_arrived_is_not_repeated_in_a_hurry() {
    let mut house = with_whatsapp().await;
    put_old(&house, "t", 2 * DAY);
    let ways = "email = [\"oncall@example.com\"]\nwhatsapp = { token = \"wa\", to = [\"+15550001111\"], template = \"token_alert\" }\n";
    let text = house.config(&(slot(&house, "") + &house.slot("t"))).replace("email = [\"oncall@example.com\"]\n", ways);
    let lost = Fault::always(Match::PathPrefix(format!("/{NUMBER}/messages")), FaultKind::Reset);
    house.sim.with_world(|world| world.faults.add(lost));
    house.start(&text).await;
    until(&house, 600).await;
    assert_eq!((calls(&house, "/messages"), house.subjects().len()), (1, 1), "{:#?}", house.subjects());
    house.reload(&text);
    until(&house, 900).await;
    assert_eq!(calls(&house, "/messages"), 1, "at the reload");
    house.stop().await;
    assert_eq!(calls(&house, "/messages"), 1, "at the end");
    house.start(&text).await;
    until(&house, 1_800).await;
    assert_eq!(calls(&house, "/messages"), 1, "at a start");
    until(&house, 3 * HOUR).await;
    assert!(calls(&house, "/messages") > 1, "but it is not given up");
    house.stop().await;
}

/// A message that certainly left, and of which only the note could not be written, is no message in doubt: it is noted as soon as that works.
#[tokio::test(start_paused = true)]
async fn a_message_that_has_left_is_noted_once_the_state_can_be_written() {
    let mut house = with_whatsapp().await;
    put_old(&house, "t", 2 * DAY);
    let ways = "email = [\"oncall@example.com\"]\n\
                whatsapp = { token = \"wa\", to = [\"+15550001111\"], template = \"hello_world\", language = \"en_US\" }\n";
    let text = house.config(&(slot(&house, "") + &house.slot("t"))).replace("email = [\"oncall@example.com\"]\n", ways);
    drop(house.open().await);
    // No note of WhatsApp's can be written before one of the mail, and the mailbox is closed.
    rusqlite::Connection::open(house.state())
        .and_then(|state| {
            state.execute_batch(
                "CREATE TRIGGER no_note BEFORE UPDATE OF delivered_at ON outbox
                 WHEN NEW.channel = 'whatsapp' AND NOT EXISTS (SELECT 1 FROM outbox WHERE channel = 'mail')
                 BEGIN SELECT RAISE(ABORT, 'not now'); END",
            )
        })
        .expect("a state that fails in one place");
    house.mailbox.close(true);
    house.start(&text).await;
    until(&house, 300).await;
    assert_eq!((calls(&house, "/messages"), house.subjects().len()), (1, 0));
    house.mailbox.close(false);
    until(&house, 900).await;
    assert_eq!((calls(&house, "/messages"), house.subjects().len()), (1, 1));
    let metrics = house.get("/metrics").await.1;
    assert!(metrics.contains("tokenwatch_outbox_pending 0\n"), "it waits for its note");
    house.stop().await;
}
