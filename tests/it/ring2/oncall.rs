//! What on-call is told, can answer, and is spared: answers, quiet hours, floods, dead relays, the watcher watched, and the forecast.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use tokenwatch::domain::alert::Subject;
use tokenwatch::domain::answer::{Answer, Refused, Signed};
use tokenwatch::domain::time::{Span, Timestamp};
use tokenwatch::domain::token::TokenId;
use tokenwatch::ports::Clock as _;
use tokenwatch::requests::Declined;
use tokenwatch::sim::{Fault, FaultKind, GranularScopes, Match};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::{DAY, HOUR, House, SCOPES, crowd, inhabited, put_never, put_old, seconds, until, world};
use crate::support::house::START;

const MINUTE: i64 = 60;

pub fn token(name: &str) -> Subject {
    Subject::Token(TokenId::parse(name).expect("a name"))
}

pub fn signed(house: &House) -> Signed {
    Signed { by: "asha (uid 1000)".into(), at: house.clock.now(), why: Some("on it".into()) }
}

async fn answer(house: &House, name: &str, answer: Answer) -> Result<usize, Declined> {
    house.requests().answer(token(name), answer).await.map(|ledger| ledger.incidents.len())
}

async fn silence(house: &House, name: &str, hours: i64, even_critical: bool) {
    let lasts = Span::hours(hours);
    answer(house, name, Answer::Silence { signed: signed(house), lasts, even_critical }).await.expect("silenced");
}

/// Kinds of mail (the first word of the subject) with the second of the story in which they came.
fn kinds(house: &House) -> Vec<(i64, String)> {
    let kind = |subject: String| subject.split(' ').next().unwrap_or_default().to_owned();
    seconds(house).into_iter().map(|(at, subject)| (at, kind(subject))).collect()
}

/// Somebody who is told over HTTP: keeps what comes, and answers as told.
struct Listener {
    address: std::net::SocketAddr,
    heard: Arc<Mutex<Vec<(String, HeaderMap, Bytes)>>>,
    says: Arc<Mutex<StatusCode>>,
    _serving: JoinSet<()>,
}

type Ears = (Arc<Mutex<Vec<(String, HeaderMap, Bytes)>>>, Arc<Mutex<StatusCode>>);

impl Listener {
    async fn new() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("bound");
        let ears: Ears = (Arc::default(), Arc::new(Mutex::new(StatusCode::OK)));
        let (heard, says) = ears.clone();
        let hear = async |State((heard, says)): State<Ears>, uri: Uri, headers: HeaderMap, body: Bytes| {
            heard.lock().unwrap_or_else(PoisonError::into_inner).push((uri.to_string(), headers, body));
            *says.lock().unwrap_or_else(PoisonError::into_inner)
        };
        let router = Router::new().fallback(hear).with_state(ears);
        let mut serving = JoinSet::new();
        serving.spawn(async move { drop(axum::serve(socket, router).await) });
        Self { address, heard, says, _serving: serving }
    }

    fn says(&self, code: StatusCode) {
        *self.says.lock().unwrap_or_else(PoisonError::into_inner) = code;
    }

    fn heard(&self) -> Vec<(String, HeaderMap, Bytes)> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn bodies(&self) -> Vec<serde_json::Value> {
        self.heard().iter().map(|(_, _, body)| serde_json::from_slice(body).expect("JSON")).collect()
    }
}

// ---- answers --------------------------------------------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn what_is_acknowledged_is_not_repeated_and_still_gets_worse() {
    let mut house = inhabited().await;
    // The last two rungs are critical: five days and one day before the end.
    put_old(&house, "t", 5 * DAY + HOUR);
    let policy = "[policy]\nalert_before = [\"30d\", \"5d\", \"1d\"]\n";
    house.start(&(policy.to_owned() + &house.config(&house.slot("t")))).await;
    assert_eq!(answer(&house, "nobody", Answer::Acknowledge(signed(&house))).await, Err(Declined::Unknown));
    until(&house, HOUR + DAY + 600).await;
    assert_eq!(kinds(&house).len(), 3, "a rung, a worse one, its repeat: {:#?}", seconds(&house));
    assert_eq!(answer(&house, "t", Answer::Acknowledge(signed(&house))).await, Ok(1));
    until(&house, 4 * DAY).await;
    assert_eq!(kinds(&house).len(), 3, "nothing is repeated: {:#?}", seconds(&house));
    until(&house, 5 * DAY + 2 * HOUR).await;
    let subjects = house.subjects();
    assert_eq!(subjects.len(), 5, "the last rung and the end are told: {subjects:#?}");
    assert!(subjects[3].contains("expires in 1 day") && subjects[4].contains("expired"), "{subjects:#?}");
    assert!(house.mails()[4].text.contains("Acknowledged by asha (uid 1000)"), "{}", house.mails()[4].text);
    put_never(&house, "t");
    until(&house, 6 * DAY).await;
    assert!(house.subjects()[5].starts_with("RESOLVED t"), "{:#?}", house.subjects());
    // An acknowledgement ends with its incident.
    let gone = answer(&house, "t", Answer::Acknowledge(signed(&house))).await;
    assert_eq!(gone, Err(Declined::Refused(Refused::NothingOpen)));
    let page = house.get("/api/v1/tokens/t").await.1;
    let page: serde_json::Value = serde_json::from_str(&page).expect("JSON");
    let incident = &page["history"]["incidents"][0];
    assert_eq!(incident["acknowledged"]["by"], "asha (uid 1000)", "{page:#}");
    assert_eq!(
        (incident["ending"].as_str(), incident["acknowledged"]["why"].as_str()),
        (Some("resolved"), Some("on it"))
    );
    assert_eq!(page["history"]["answers"][0]["answer"], "ack");
    assert_eq!(page["history"]["deliveries"].as_array().map(Vec::len), Some(6));
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_silence_ends_by_itself_reminds_and_never_hides_the_end() {
    let mut house = inhabited().await;
    let old = put_old(&house, "dies", 40 * DAY);
    put_old(&house, "poor", 400 * DAY);
    let poor = house.slot("poor") + "scopes = [\"ads_read\"]\n";
    house.start(&house.config(&[house.slot("dies"), poor].concat())).await;
    until(&house, MINUTE).await;
    assert_eq!(kinds(&house), [(kinds(&house)[0].0, "WARNING".to_owned())], "the permission that is missing");
    silence(&house, "dies", 10 * 24, false).await;
    silence(&house, "poor", 100, false).await;
    // A silence survives a restart, like everything that was answered.
    house.stop().await;
    let poor = house.slot("poor") + "scopes = [\"ads_read\", \"pages_show_list\"]\n";
    house.start(&house.config(&[house.slot("dies"), poor].concat())).await;
    until(&house, DAY).await;
    world(&house, |world, now| world.revoke(&old, now));
    until(&house, 2 * DAY).await;
    let told = seconds(&house);
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[1].1.starts_with("CRITICAL dies was revoked"), "the end is told in spite of it: {told:#?}");
    until(&house, 100 * HOUR).await;
    let told = seconds(&house);
    // Of a hundred hours the last rung is three hours before the end.
    assert_eq!(told.len(), 3, "no repeats, one reminder: {told:#?}");
    assert!(told[2].1.contains("the silence over poor ends soon") && told[2].0 <= 97 * HOUR + 2 * MINUTE, "{told:#?}");
    assert!(house.mails()[2].text.contains("on it"), "who and why: {}", house.mails()[2].text);
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_silence_held_back_is_told_at_its_very_end() {
    let mut house = inhabited().await;
    put_old(&house, "t", 14 * DAY + 2 * HOUR);
    house.start(&house.config(&house.slot("t"))).await;
    until(&house, MINUTE).await;
    assert_eq!(house.subjects().len(), 1, "the rung of 21 days");
    silence(&house, "t", 24, false).await;
    until(&house, 23 * HOUR).await;
    let told = seconds(&house);
    assert_eq!(told.len(), 1, "the rung of 14 days is held back: {told:#?}");
    until(&house, 25 * HOUR).await;
    let told = seconds(&house);
    // The reminder comes before, and the rung at the very end, with what it is worth by then.
    assert_eq!(told.len(), 3, "{told:#?}");
    assert!(told[2].1.starts_with("WARNING t expires in 13 days") && told[2].0 <= MINUTE + DAY + 7, "{told:#?}");
    let lifted = answer(&house, "t", Answer::Unsilence(signed(&house))).await;
    assert_eq!(lifted, Err(Declined::Refused(Refused::NotSilenced)));
    silence(&house, "t", 30 * 24, true).await;
    until(&house, 15 * DAY).await;
    let hidden = seconds(&house);
    assert_eq!(hidden.len(), 3, "even the end is held back when that was asked for: {hidden:#?}");
    answer(&house, "t", Answer::Unsilence(signed(&house))).await.expect("lifted");
    until(&house, 15 * DAY + 10).await;
    let told = seconds(&house);
    assert!(told.len() == 4 && told[3].1.starts_with("CRITICAL t expired"), "{told:#?}");
    house.stop().await;
}

// ---- quiet hours, floods, flapping ----------------------------------------------------------------------------------------------------

// promise 46
#[tokio::test(start_paused = true)]
async fn quiet_hours_hold_back_what_is_not_urgent_until_the_morning() {
    let mut house = inhabited().await;
    // In Kolkata midnight is 18:30 UTC. Rungs of 14 days are crossed at 20:00, 21:00 and 22:00 UTC, deep in the night.
    for (name, hour) in [("a", 20), ("b", 21), ("c", 22)] {
        put_old(&house, name, 14 * DAY + hour * HOUR);
    }
    let doomed = put_never(&house, "d");
    let slots: String = ["a", "b", "c", "d"].iter().map(|name| house.slot(name)).collect();
    let quiet = "email = [\"oncall@example.com\"]\nquiet_hours = { from = \"22:00\", to = \"07:00\" }\n";
    let config = house.config(&slots).replace("email = [\"oncall@example.com\"]\n", quiet);
    let head = "[daemon]\ntimezone = \"Asia/Kolkata\"\n[policy]\nalert_before = [\"14d\", \"7d\", \"3d\", \"1d\"]\n";
    house.start(&(head.to_owned() + &config)).await;
    until(&house, 21 * HOUR + 600).await;
    assert!(house.subjects().is_empty(), "{:#?}", house.subjects());
    world(&house, |world, now| world.revoke(&doomed, now));
    until(&house, 23 * HOUR).await;
    let told = seconds(&house);
    assert!(told.len() == 1 && told[0].1.starts_with("CRITICAL d was revoked"), "critical always: {told:#?}");
    until(&house, 26 * HOUR).await;
    let told = seconds(&house);
    assert_eq!(told.len(), 2, "{told:#?}");
    // 07:00 in Kolkata is 01:30 UTC.
    assert!((DAY + 90 * MINUTE..DAY + 91 * MINUTE).contains(&told[1].0), "{told:#?}");
    assert!(told[1].1.starts_with("INFO 3 tokens"), "one message in the morning: {told:#?}");
    house.stop().await;
}

// promises 35, 48
#[tokio::test(start_paused = true)]
async fn a_thousand_tokens_of_one_file_are_one_mail_that_names_it() {
    let (mut house, config) = crowd(1_000).await;
    house.start(&format!("[daemon]\nconcurrency = 200\n{config}")).await;
    until(&house, 1_000).await;
    let text = std::fs::read_to_string(house.env()).expect("the env file");
    std::fs::write(house.env(), text.replace("\nT=", "\nU=")).expect("the env file is written");
    until(&house, 1_000 + 16 * MINUTE).await;
    let told = seconds(&house);
    assert!((1..=2).contains(&told.len()), "{told:#?}");
    let last = &told.last().expect("a mail").1;
    assert!(last.starts_with("CRITICAL 1000 tokens of the file ") || told.len() == 2, "{told:#?}");
    assert!(last.contains("config.env"), "{told:#?}");
    assert!(told[0].0 <= 1_000 + MINUTE, "nobody waits for a period: {told:#?}");
    std::fs::write(house.env(), text).expect("the env file is written");
    until(&house, 1_000 + 32 * MINUTE).await;
    let ended = seconds(&house).split_off(told.len());
    assert!((1..=2).contains(&ended.len()) && ended[0].1.starts_with("RESOLVED"), "{ended:#?}");
    house.stop().await;
    assert_eq!(house.notice_keys().len(), 2_000, "each was told once, and resolved once");
}

#[tokio::test(start_paused = true)]
async fn one_strange_date_now_and_then_is_no_wrong_clock() {
    let mut house = inhabited().await;
    put_never(&house, "t");
    house.start(&format!("[schedule]\ncheck = \"1h\"\n{}", house.config(&house.slot("t")))).await;
    let skew = |house: &House, seconds| world(house, |world, _| world.switches.date_skew = seconds);
    house.pass(Span::hours(2)).await;
    for _ in 0..4 {
        skew(&house, 600);
        house.pass(Span::hours(1)).await;
        skew(&house, 0);
        house.pass(Span::hours(2)).await;
    }
    assert_eq!(house.subjects(), [""; 0], "there was a right one between any two");
    skew(&house, 600);
    house.pass(Span::hours(3)).await;
    let told = house.subjects();
    assert!(told.len() == 1 && told[0].contains("clock"), "{told:#?}");
    skew(&house, 0);
    house.pass(Span::hours(2)).await;
    let told = house.subjects();
    assert!(told.len() == 2 && told[1].starts_with("RESOLVED"), "{told:#?}");
    house.stop().await;
}

// promises 41, 42
#[tokio::test(start_paused = true)]
async fn what_comes_and_goes_is_damped_and_says_so() {
    let mut house = inhabited().await;
    let flaps = put_never(&house, "t");
    let slot = house.slot("t") + &format!("scopes = {SCOPES:?}\n");
    house.start(&house.config(&slot)).await;
    for round in 0..48 {
        let granted: &[&str] = if round % 2 == 0 { &SCOPES[..1] } else { &SCOPES };
        world(&house, |world, _| {
            world.set_scopes(&flaps, granted);
            world.set_granular_scopes(&flaps, GranularScopes::Absent);
        });
        house.pass(Span::minutes(15)).await;
    }
    let told = seconds(&house);
    assert_eq!(told.len(), 7, "three that came and went, and a fourth that is damped: {told:#?}");
    assert!(house.mails()[6].text.contains("It comes and goes"), "{}", house.mails()[6].text);
    // The last round gave the permission back; after an hour of calm it is over.
    house.pass(Span::hours(2)).await;
    let told = seconds(&house);
    assert!(told.len() == 8 && told[7].1.starts_with("RESOLVED t"), "{told:#?}");
    house.stop().await;
}

// promise 47
#[tokio::test(start_paused = true)]
async fn no_hour_brings_more_mails_than_promised() {
    let mut house = inhabited().await;
    // Thirty tokens that are withdrawn one by one, half a minute after each other.
    let names: Vec<String> = (0..30).map(|n| format!("t{n:02}")).collect();
    let mut tokens = Vec::new();
    for name in &names {
        tokens.push(put_never(&house, name));
    }
    let slots: String = names.iter().map(|name| house.slot(name) + "check = \"2m\"\n").collect();
    house.start(&house.config(&slots)).await;
    until(&house, HOUR).await;
    for dead in &tokens {
        world(&house, |world, now| world.revoke(dead, now));
        house.pass(Span::seconds(30)).await;
    }
    house.pass(Span::hours(1)).await;
    let told = seconds(&house);
    let most = told.iter().map(|(end, _)| told.iter().filter(|(at, _)| at <= end && end - at < HOUR).count()).max();
    assert!(most <= Some(18), "{told:#?}");
    assert!(told[0].0 < HOUR + 3 * MINUTE, "the first comes at its next check: {told:#?}");
    house.stop().await;
    assert_eq!(house.notice_keys().len(), 30, "each was told");
}

// ---- ways that fail -------------------------------------------------------------------------------------------------------------------

// promises 44, 45, 50, 51
#[tokio::test(start_paused = true)]
async fn a_week_without_mail_loses_nothing_and_says_what_happened() {
    let mut house = inhabited().await;
    let hook = Listener::new().await;
    for (name, end) in [("a", 21 * DAY + HOUR), ("b", 14 * DAY + 12 * HOUR), ("c", 7 * DAY + 20 * HOUR)] {
        put_old(&house, name, end);
    }
    let slots: String = ["a", "b", "c"].iter().map(|name| house.slot(name)).collect();
    let hooked = format!("email = [\"oncall@example.com\"]\nwebhook = {{ url = \"http://{}/x\" }}\n", hook.address);
    let config = house.config(&slots).replace("email = [\"oncall@example.com\"]\n", &hooked);
    // Tried seldom, so that the week passes quickly.
    let config = "[schedule]\ncheck = \"1h\"\n".to_owned() + &config.replace("[smtp]\n", "[smtp]\nretry = \"20m\"\n");
    house.mailbox.close(true);
    house.start(&config).await;
    until(&house, 7 * DAY).await;
    assert!(house.mails().is_empty());
    assert!(house.get("/readyz").await.1.contains("mail to default: "), "{}", house.get("/readyz").await.1);
    let page = house.get("/metrics").await.1;
    assert!(page.contains("tokenwatch_watcher_finding{finding=\"undeliverable\"} 1"), "{page}");
    // The other way was not held up, and told that this one is closed.
    let bodies = hook.bodies();
    let notices = bodies.iter().flat_map(|body| body["notices"].as_array().into_iter().flatten());
    let all: Vec<&str> = notices.filter_map(|notice| notice["headline"].as_str()).collect();
    assert!(all.iter().any(|line| line.contains("tokenwatch cannot deliver")), "{all:#?}");
    assert!(all.iter().any(|line| line.contains("a expires")), "{all:#?}");
    // A restart in the middle of it loses nothing either.
    house.stop().await;
    house.start(&config).await;
    until(&house, 7 * DAY + HOUR).await;
    house.mailbox.close(false);
    until(&house, 7 * DAY + 2 * HOUR).await;
    let mails = house.mails();
    assert!((1..=3).contains(&mails.len()), "grouped: {:#?}", house.subjects());
    let first = &mails[0].text;
    assert!(first.contains("Trouble with earlier messages") && first.contains("421"), "{first}");
    let told: usize = mails.iter().map(|mail| mail.text.matches("\nX-Tokenwatch-Notice: ").count()).sum();
    house.stop().await;
    let keys: BTreeSet<String> = house.notice_keys().into_iter().collect();
    assert_eq!(told, keys.len(), "every notice is in one mail");
    let last = house.subjects();
    assert!(mails.iter().any(|mail| mail.text.contains("can deliver its notices again")), "{last:#?}");
}

// promises 44, 45
#[tokio::test(start_paused = true)]
async fn a_webhook_that_fails_holds_up_no_mail_and_gets_the_same_message_later() {
    let mut house = inhabited().await;
    let hook = Listener::new().await;
    put_old(&house, "t", 10 * DAY);
    let hooked = format!("email = [\"oncall@example.com\"]\nwebhook = {{ url = \"http://{}/x\" }}\n", hook.address);
    let config = house.config(&house.slot("t")).replace("email = [\"oncall@example.com\"]\n", &hooked);
    hook.says(StatusCode::INTERNAL_SERVER_ERROR);
    house.start(&config).await;
    until(&house, 10 * MINUTE).await;
    assert_eq!(house.subjects(), ["WARNING t expires in 10 days"]);
    let tried = hook.heard();
    assert!(tried.len() > 5, "it is tried again at least each minute: {}", tried.len());
    hook.says(StatusCode::NO_CONTENT);
    until(&house, 13 * MINUTE).await;
    let heard = hook.heard();
    let ids: BTreeSet<String> =
        heard.iter().map(|(_, headers, _)| headers["webhook-id"].to_str().expect("an id").to_owned()).collect();
    assert_eq!(ids.len(), 1, "one message, however often it is tried");
    let last = heard.len();
    until(&house, HOUR).await;
    assert_eq!(hook.heard().len(), last, "delivered is delivered");
    house.stop().await;
}

// promise 44
#[tokio::test(start_paused = true)]
async fn the_preferred_channel_is_enough_and_the_next_one_takes_over() {
    let mut house = inhabited().await;
    let hook = Listener::new().await;
    put_old(&house, "t", 10 * DAY);
    let ways = format!(
        "email = [\"oncall@example.com\"]\nprefer = [\"webhook\", \"email\"]\nwebhook = {{ url = \"http://{}/x\" }}\n",
        hook.address
    );
    let config = house.config(&house.slot("t")).replace("email = [\"oncall@example.com\"]\n", &ways);
    house.start(&config).await;
    until(&house, HOUR).await;
    assert_eq!((hook.heard().len(), house.mails().len()), (1, 0), "the preferred one is enough");
    hook.says(StatusCode::GONE);
    until(&house, 4 * DAY).await;
    assert_eq!(house.subjects().len(), 1, "the other one takes over: {:#?}", house.subjects());
    assert_eq!(hook.heard().len(), 2, "and then it is told");
    house.stop().await;
}

// ---- the watcher watched --------------------------------------------------------------------------------------------------------------

// promise 52
#[tokio::test(start_paused = true)]
async fn the_summary_comes_on_monday_morning_by_the_wall_clock_and_is_made_up_for() {
    let mut house = inhabited().await;
    put_old(&house, "t", 300 * DAY);
    let head = "[daemon]\ntimezone = \"Europe/Berlin\"\n[schedule]\ndigest = \"0 0 9 * * Mon\"\ncheck = \"6h\"\n";
    let config = head.to_owned() + &house.config(&house.slot("t"));
    house.start(&config).await;
    // The story begins on a Thursday. 09:00 in Berlin is 08:00 UTC in winter, and 07:00 from the 29th of March on.
    until(&house, 4 * DAY + 7 * HOUR).await;
    assert!(house.subjects().is_empty(), "{:#?}", house.subjects());
    until(&house, 5 * DAY).await;
    let told = seconds(&house);
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!((4 * DAY + 8 * HOUR..4 * DAY + 8 * HOUR + MINUTE).contains(&told[0].0), "{told:#?}");
    assert_eq!(told[0].1, "INFO summary: 1 token, 1 healthy");
    house.stop().await;
    house.pass(Span::days(16)).await;
    house.start(&config).await;
    house.pass(Span::hours(7)).await;
    assert_eq!(house.subjects().len(), 2, "two were missed, one is made up for: {:#?}", house.subjects());
    // Into the summer.
    let summer = (31 + 28 + 29 - 1) * DAY;
    until(&house, summer + 2 * DAY).await;
    let told = seconds(&house);
    let hour = |at: i64| at.rem_euclid(DAY) / HOUR;
    assert_eq!(hour(told[told.len() - 2].0), 8, "{told:#?}");
    assert_eq!(hour(told[told.len() - 1].0), 7, "{told:#?}");
    assert!(house.mails()[0].text.contains("Next to end"), "{}", house.mails()[0].text);
    house.stop().await;
}

// promise 53
#[tokio::test(start_paused = true)]
async fn the_heart_beats_after_real_progress_only_and_not_while_nobody_can_be_told() {
    let mut house = inhabited().await;
    let switch = Listener::new().await;
    put_old(&house, "t", 30 * DAY);
    let heart = format!("[heartbeat]\nurl = \"http://{}/ping/uuid\"\n", switch.address);
    house.mailbox.close(true);
    house.start(&(heart.clone() + &house.config(&house.slot("t")))).await;
    until(&house, HOUR).await;
    let beats = switch.heard();
    assert!((11..=14).contains(&beats.len()), "each five minutes: {}", beats.len());
    assert!(beats.iter().all(|(path, _, _)| path == "/ping/uuid"));
    // From here on a rung waits that cannot be told. For an hour that is a bad relay; then it is a watcher that nobody hears.
    until(&house, 9 * DAY + 2 * HOUR).await;
    let before = switch.heard().len();
    until(&house, 9 * DAY + 6 * HOUR).await;
    assert_eq!(switch.heard().len(), before, "the switch is the one who must call");
    house.mailbox.close(false);
    until(&house, 9 * DAY + 7 * HOUR).await;
    assert!(switch.heard().len() > before + 5, "{} after {before}", switch.heard().len());
    let page = house.get("/metrics").await.1;
    assert!(!page.contains("tokenwatch_heartbeats_total{outcome=\"failed\"} 0"), "{page}");
    house.stop().await;
}

// promise 50
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_off_is_a_finding_of_the_watcher() {
    let mut house = inhabited().await;
    put_never(&house, "t");
    house.start(&house.config(&house.slot("t"))).await;
    until(&house, HOUR).await;
    house.sim.with_world(|world| world.faults.add(Fault::always(Match::Any, FaultKind::ClockSkew { seconds: -120 })));
    until(&house, 2 * HOUR).await;
    assert_eq!(house.subjects(), ["WARNING tokenwatch has a clock that is off"]);
    house.sim.with_world(|world| world.faults.clear());
    until(&house, 3 * HOUR).await;
    assert_eq!(house.subjects()[1..], ["RESOLVED tokenwatch has the right time again"]);
    house.stop().await;
}

// promise 42
#[tokio::test(start_paused = true)]
async fn what_comes_and_goes_of_the_watcher_ends_once_it_is_calm() {
    let mut house = inhabited().await;
    put_never(&house, "t");
    house.start(&format!("[schedule]\ncheck = \"5m\"\n{}", house.config(&house.slot("t")))).await;
    for turn in 0..10 {
        let skew = Fault::always(Match::Any, FaultKind::ClockSkew { seconds: -120 });
        house.sim.with_world(|world| world.faults.add(skew));
        until(&house, (2 * turn + 1) * 25 * MINUTE).await;
        house.sim.with_world(|world| world.faults.clear());
        until(&house, (2 * turn + 2) * 25 * MINUTE).await;
    }
    assert_eq!(
        house.subjects().len(),
        7,
        "three times, with their ends, and once for the rest: {:#?}",
        house.subjects()
    );
    until(&house, 10 * HOUR).await;
    assert_eq!(house.subjects()[7..], ["RESOLVED tokenwatch has the right time again"]);
    house.stop().await;
}

// ---- the forecast ---------------------------------------------------------------------------------------------------------------------

/// The forecast is judged by what then really happens: every message, to the second and to the word.
#[tokio::test(start_paused = true)]
async fn what_was_forecast_is_what_happens() {
    let mut house = inhabited().await;
    for (name, end) in [("a", 33 * DAY + HOUR), ("b", 33 * DAY + HOUR + 2), ("c", 12 * DAY), ("d", 90 * DAY)] {
        put_old(&house, name, end);
    }
    put_never(&house, "e");
    let short = world(&house, |world, now| world.issue_long_user(super::ADA, &["public_profile"], now));
    world(&house, |world, now| {
        world.set_expiry(&short, Some(now + 4 * DAY));
    });
    house.put("f", &short);
    let slots: String = ["a", "b", "c", "d", "e", "f"].iter().map(|name| house.slot(name)).collect();
    let quiet = "email = [\"oncall@example.com\"]\nquiet_hours = { from = \"22:00\", to = \"07:00\" }\n";
    let config = house.config(&slots).replace("email = [\"oncall@example.com\"]\n", quiet);
    let config = "[schedule]\ncheck = \"6h\"\ndigest = \"\"\n".to_owned() + &config;
    house.start(&config).await;
    until(&house, 7 * HOUR + MINUTE).await;
    let before = house.subjects().len();
    let loaded = tokenwatch::settings::from_text(&config, "test", &[]).expect("a configuration");
    let known = house.statuses().await;
    let now = house.clock.now();
    let forecast = tokenwatch::forecast::forecast(&loaded.settings, known, now, Span::days(60));
    until(&house, 7 * HOUR + MINUTE + 60 * DAY).await;
    let told = seconds(&house).split_off(before);
    let promised: Vec<(i64, String)> = forecast
        .messages
        .iter()
        .map(|message| {
            let label = message.severity.map_or_else(|| "RESOLVED".to_owned(), str::to_uppercase);
            (message.at - START, format!("{label} {}", message.subject))
        })
        .collect();
    assert!(promised.len() > 40, "{promised:#?}");
    assert_eq!(told.len(), promised.len(), "{promised:#?}\n{told:#?}");
    for ((at, subject), (when, words)) in told.iter().zip(&promised) {
        // A message may wait some seconds for company.
        assert!((0..=10).contains(&(at - when)), "{subject} at {at}, promised for {when}");
        assert_eq!(subject, words, "at {at}");
    }
    assert_eq!(Timestamp::from_unix(forecast.from), now);
    house.stop().await;
}
