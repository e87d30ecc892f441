//! Renewal through the whole daemon: months of it, in vain, taken back, cut off, and by hand.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokenwatch::domain::renewal::Origin;
use tokenwatch::domain::time::Span;
use tokenwatch::domain::token::TokenId;
use tokenwatch::ports::SlotStatus;
use tokenwatch::requests::Declined;
use tokenwatch::secret::Secret;
use tokenwatch::sim::{Event, Fault, FaultKind, Lifetime, Match, Reexchange};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use super::{ADA, DAY, HOUR, House, MACHINE, PAGE, SCOPES, inhabited, seconds, until, world};
use crate::support::house::{SECRET, START};

/// An application that tells how it is.
struct Application {
    address: std::net::SocketAddr,
    says: Arc<Mutex<StatusCode>>,
    _serving: JoinSet<()>,
}

impl Application {
    async fn new() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("bound");
        let says = Arc::new(Mutex::new(StatusCode::OK));
        let app = Router::new().route("/health", get(health)).with_state(Arc::clone(&says));
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(socket, app).await.expect("it serves") });
        Self { address, says, _serving: serving }
    }

    fn is(&self, status: StatusCode) {
        *self.says.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }

    fn confirm(&self) -> String {
        format!("confirm = {{ http = \"http://{}/health\", within = \"30s\" }}\n", self.address)
    }
}

async fn health(State(says): State<Arc<Mutex<StatusCode>>>) -> StatusCode {
    *says.lock().unwrap_or_else(PoisonError::into_inner)
}

fn id(name: &str) -> TokenId {
    TokenId::parse(name).expect("a name")
}

/// A machine's token that is so many days old; it lives sixty.
fn machine_token(house: &House, age: i64) -> String {
    world(house, |world, now| world.issue_system_user(MACHINE, &SCOPES, Lifetime::SixtyDays, now - age * DAY))
}

/// What the env file holds under that key.
fn held(house: &House, key: &str) -> String {
    let text = std::fs::read_to_string(house.env()).expect("the env file");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{key}="))).expect("the key");
    line.to_owned()
}

fn exchanges(house: &House) -> u64 {
    house.sim.requests().iter().filter(|(path, _)| path.contains("oauth/access_token")).map(|(_, count)| count).sum()
}

async fn outcomes(house: &House, name: &str) -> Vec<&'static str> {
    let page = house.get(&format!("/api/v1/tokens/{name}")).await.1;
    let page: serde_json::Value = serde_json::from_str(&page).expect("JSON");
    let words = ["renewed", "without_gain", "refused", "rolled_back", "failed"];
    let ended = page["history"]["renewals"].as_array().expect("a list").iter().rev();
    ended.map(|run| words.into_iter().find(|word| run["outcome"] == *word).expect("a known outcome")).collect()
}

async fn counted(house: &House, outcome: &str) -> f64 {
    let text = house.get("/metrics").await.1;
    let line = format!("tokenwatch_renewals_total{{outcome=\"{outcome}\"}} ");
    text.lines().find_map(|text| text.strip_prefix(&line)).expect("the counter").parse().expect("a number")
}

// promise 57
#[tokio::test(start_paused = true)]
async fn months_of_renewals_and_nobody_is_woken() {
    let mut house = inhabited().await;
    let application = Application::new().await;
    let first = machine_token(&house, 35);
    let text = format!("# kept\nMETA_APP_SECRET={SECRET}\r\nexport OTHER='a b' # kept too\nWA={first}\nLAST=x");
    std::fs::write(house.env(), &text).expect("the env file");
    let renew = format!("[tokens.renew]\nbefore = \"20d\"\n{}", application.confirm());
    house.start(&house.config(&(house.token("wa", "WA") + "check = \"1d\"\n" + &renew))).await;
    let mut secrets = vec![first];
    for period in 0..2 {
        // Each lives 60 days and is renewed 20 days before its end, or up to half a day sooner.
        until(&house, (5 + period * 40) * DAY).await;
        let now = held(&house, "WA");
        assert!(!secrets.contains(&now), "period {period}");
        secrets.push(now);
    }
    let newest = secrets.last().expect("a secret");
    let after = std::fs::read_to_string(house.env()).expect("the env file");
    assert_eq!(after, text.replace(&secrets[0], newest), "every other byte is kept");
    for old in &secrets {
        assert!(world(&house, |world, _| world.token(old).is_some()), "nothing was revoked");
    }
    let told = seconds(&house);
    assert_eq!(told.len(), 4, "an info at 21 days and its end, each time: {told:?}");
    for pair in told.chunks(2) {
        assert_eq!(pair[0].1, "INFO wa expires in 21 days");
        assert!(pair[1].1.starts_with("RESOLVED wa was renewed and now expires in "), "{pair:?}");
        assert!((12 * HOUR..=DAY).contains(&(pair[1].0 - pair[0].0)), "{pair:?}");
    }
    assert_eq!(outcomes(&house, "wa").await, ["renewed"; 2]);
    assert!((counted(&house, "renewed").await - 2.0).abs() < f64::EPSILON);
    assert_eq!(exchanges(&house), 2);
    let metrics = house.get("/metrics").await.1;
    assert!(metrics.contains("tokenwatch_token_renewal_timestamp_seconds{token=\"wa\"} "));
    house.stop().await;
}

// promise 54
#[tokio::test(start_paused = true)]
async fn success_that_moves_no_deadline_is_a_warning_and_then_critical() {
    let mut house = inhabited().await;
    let token = world(&house, |world, now| world.issue_long_user(ADA, &["public_profile"], now - 38 * DAY));
    world(&house, |world, _| world.switches.reexchange = Reexchange::Unchanged);
    house.write_env(&[("T", &token)]);
    let config = house.token("reports", "T") + "check = \"6h\"\n[tokens.renew]\nbefore = \"20d\"\n";
    house.start(&house.config(&config)).await;
    until(&house, 23 * DAY).await;
    let told: Vec<String> = seconds(&house).into_iter().map(|(_, subject)| subject).collect();
    let about = |word: &str| told.iter().filter(|subject| subject.contains(word)).count();
    assert!(told.contains(&"WARNING reports was renewed without gain: its end did not move".to_owned()), "{told:?}");
    // Three days before the end both the ladder and the renewal turn critical: one mail.
    assert!(told.contains(&"CRITICAL reports expires in 3 days, and 1 more".to_owned()), "{told:?}");
    assert!(about("expired") >= 1 && about("now expires") == 0, "{told:?}");
    let tries = outcomes(&house, "reports").await;
    assert!(tries.iter().all(|outcome| *outcome == "without_gain"), "{tries:?}");
    // Spread over the 20 days that are left: once a day at first, and never more than an eighth of what is left apart.
    assert!((30..=80).contains(&tries.len()), "{}", tries.len());
    assert_eq!(held(&house, "T"), token);
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_the_application_does_not_confirm_is_rolled_back_and_tried_again() {
    let mut house = inhabited().await;
    let application = Application::new().await;
    application.is(StatusCode::SERVICE_UNAVAILABLE);
    let old = machine_token(&house, 38);
    house.write_env(&[("WA", &old)]);
    let before = std::fs::read(house.env()).expect("the env file");
    let renew = format!("[tokens.renew]\nbefore = \"20d\"\n{}", application.confirm());
    house.start(&house.config(&(house.token("wa", "WA") + "check = \"6h\"\n" + &renew))).await;
    until(&house, 2 * DAY).await;
    assert_eq!(std::fs::read(house.env()).expect("the env file"), before, "every byte is back");
    let told: Vec<String> = seconds(&house).into_iter().map(|(_, subject)| subject).collect();
    assert_eq!(told[1], "WARNING wa was not renewed: the new token was taken back", "{told:?}");
    let mail = &house.mails()[1].text;
    assert!(mail.contains("Rolled back") && mail.contains("503"), "{mail}");
    let tries = outcomes(&house, "wa").await.len();
    assert!((3..=20).contains(&tries), "tried again, ever later: {tries}");
    assert_eq!(exchanges(&house), 1, "what was given once is kept, sealed, and tried again");
    application.is(StatusCode::NO_CONTENT);
    until(&house, 4 * DAY).await;
    assert_ne!(held(&house, "WA"), old);
    assert_eq!(exchanges(&house), 1);
    assert_eq!(outcomes(&house, "wa").await.last(), Some(&"renewed"));
    let last = seconds(&house).pop().expect("a mail").1;
    assert!(last.contains("now expires in 5") || last.contains("2 tokens") || last.contains("RESOLVED"), "{last}");
    house.stop().await;
}

// promise 56
#[tokio::test(start_paused = true)]
async fn a_published_secret_that_is_not_confirmed_changes_no_incident() {
    let mut house = inhabited().await;
    let application = Application::new().await;
    application.is(StatusCode::SERVICE_UNAVAILABLE);
    let old = machine_token(&house, 38);
    house.write_env(&[("WA", &old)]);
    let config = house.token("wa", "WA")
        + "check = \"10m\"\n[tokens.renew]\nbefore = \"20d\"\n"
        + &application.confirm().replace("30s", "40m");
    let config = house.config(&config);
    house.start(&config).await;
    until(&house, DAY + 11 * HOUR).await;
    while held(&house, "WA") == old {
        house.pass(Span::minutes(5)).await;
    }
    house.pass(Span::minutes(20)).await;
    let told: Vec<String> = seconds(&house).into_iter().map(|(_, subject)| subject).collect();
    assert_eq!(told, ["INFO wa expires in 21 days"], "checks meanwhile saw the new secret and said nothing");
    // The daemon dies, and the run goes on after the next start.
    house.kill().await;
    application.is(StatusCode::OK);
    house.start(&config).await;
    house.pass(Span::minutes(5)).await;
    assert_eq!(outcomes(&house, "wa").await, ["renewed"]);
    assert_eq!(exchanges(&house), 1);
    assert!(seconds(&house).pop().expect("a mail").1.starts_with("RESOLVED wa was renewed"));
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_in_the_renewal_window_costs_nothing() {
    let mut house = inhabited().await;
    let old = machine_token(&house, 38);
    house.write_env(&[("WA", &old)]);
    let config = house.token("wa", "WA") + "check = \"1h\"\n[tokens.renew]\nbefore = \"20d\"\n";
    house.start(&house.config(&config)).await;
    until(&house, DAY).await;
    // The token can be inspected, but not exchanged.
    world(&house, |world, _| {
        world.faults.add(Fault::always(Match::PathPrefix("/oauth/access_token".into()), FaultKind::Html503));
    });
    until(&house, 8 * DAY).await;
    assert_eq!(held(&house, "WA"), old);
    let tries = outcomes(&house, "wa").await;
    assert!(tries.iter().all(|outcome| *outcome == "failed") && tries.len() < 40, "{tries:?}");
    world(&house, |world, _| world.faults.clear());
    until(&house, 10 * DAY).await;
    assert_ne!(held(&house, "WA"), old);
    assert_eq!(outcomes(&house, "wa").await.last(), Some(&"renewed"));
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_never_expires_is_never_exchanged_and_what_has_expired_cannot_be() {
    let mut house = inhabited().await;
    let never = world(&house, |world, now| world.issue_system_user(MACHINE, &SCOPES, Lifetime::Never, now));
    let dying = machine_token(&house, 0);
    world(&house, |world, now| world.set_expiry(&dying, Some(now - 5)));
    house.write_env(&[("NEVER", &never), ("DEAD", &dying)]);
    let renew = "[tokens.renew]\nbefore = \"20d\"\n";
    let monthly = "[tokens.renew]\ncron = \"0 0 3 1 * *\"\n";
    let config = house.token("never", "NEVER")
        + "check = \"6h\"\n"
        + monthly
        + &house.token("dead", "DEAD")
        + "check = \"6h\"\n"
        + renew;
    house.start(&house.config(&config)).await;
    until(&house, 32 * DAY).await;
    for (name, why) in [("never", "never expires"), ("dead", "has expired")] {
        let asked = house.requests().renew(id(name), Origin::Asked("asha".into()), false).await;
        let Err(Declined::NotRenewed(text)) = asked else { panic!("{name}: {asked:?}") };
        assert!(text.contains(why), "{text}");
    }
    assert!((counted(&house, "refused").await - 2.0).abs() < f64::EPSILON);
    assert_eq!(exchanges(&house), 0);
    assert_eq!((held(&house, "NEVER"), held(&house, "DEAD")), (never, dying));
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_monthly_rotation_follows_its_bell_and_the_old_token_is_revoked_after_the_commit() {
    let mut house = inhabited().await;
    let first = machine_token(&house, 0);
    house.write_env(&[("WA", &first)]);
    let renew = "check = \"6h\"\n[tokens.renew]\ncron = \"0 0 3 1 * *\"\nrevoke_old = true\n";
    house.start(&house.config(&(house.token("wa", "WA") + renew))).await;
    // The story begins on the first of January; the bell rings at three on the first of each month.
    until(&house, 3 * HOUR - 1).await;
    assert_eq!(held(&house, "WA"), first);
    until(&house, 4 * HOUR).await;
    let january = held(&house, "WA");
    assert_ne!(january, first);
    until(&house, 31 * DAY + 4 * HOUR).await;
    let february = held(&house, "WA");
    assert_ne!(february, january);
    for (token, lives) in [(&first, false), (&january, false), (&february, true)] {
        let valid = house.sim.with_world(|world| world.token(token).is_some_and(|token| token.ended.is_none()));
        assert_eq!(valid, lives);
    }
    assert_eq!(outcomes(&house, "wa").await, ["renewed", "renewed"]);
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_page_token_is_read_again_with_its_user_token() {
    let mut house = inhabited().await;
    let user = world(&house, |world, now| world.issue_long_user(ADA, &["pages_show_list"], now));
    let page = world(&house, |world, now| world.issue_page(&user, PAGE, now)).expect("a page token");
    house.write_env(&[("USER", &user), ("PAGE", &page)]);
    let renew = "[tokens.renew]\ncron = \"0 0 3 1 * *\"\nuser_token = \"ada\"\n";
    house.start(&house.config(&(house.token("ada", "USER") + &house.token("page", "PAGE") + renew))).await;
    until(&house, 4 * HOUR).await;
    let reads =
        house.sim.requests().iter().filter(|(path, _)| path.contains(PAGE)).map(|(_, count)| count).sum::<u64>();
    assert_eq!(reads, 1, "a living one is read again at each ring, though it may come back as it was");
    assert_eq!(outcomes(&house, "page").await, ["renewed"]);
    until(&house, 10 * DAY).await;
    // Ada changes her password: both tokens die. She logs in again; the page token follows by itself.
    world(&house, |world, now| world.user_event(ADA, Event::PasswordChanged, now));
    until(&house, 11 * DAY).await;
    let again = world(&house, |world, now| world.issue_long_user(ADA, &["pages_show_list"], now));
    house.write_env(&[("USER", &again), ("PAGE", &page)]);
    house.requests().renew(id("page"), Origin::Asked("asha".into()), false).await.expect("it begins");
    until(&house, 11 * DAY + HOUR).await;
    assert_ne!(held(&house, "PAGE"), page);
    assert_eq!(outcomes(&house, "page").await.last(), Some(&"renewed"));
    let told: Vec<String> = seconds(&house).into_iter().map(|(_, subject)| subject).collect();
    assert!(told.iter().any(|subject| subject.starts_with("RESOLVED") && subject.contains("page")), "{told:?}");
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn many_tokens_of_one_file_are_all_renewed_and_none_is_lost() {
    const MANY: usize = 150;
    let mut house = inhabited().await;
    let tokens: Vec<String> = (0..MANY).map(|_| machine_token(&house, 38)).collect();
    let keys: Vec<String> = (0..MANY).map(|n| format!("T{n}")).collect();
    let lines: Vec<(&str, &str)> = keys.iter().map(String::as_str).zip(tokens.iter().map(String::as_str)).collect();
    house.write_env(&lines);
    let one = |n: usize| house.token(&format!("t{n}"), &keys[n]) + "check = \"1d\"\n[tokens.renew]\nbefore = \"20d\"\n";
    let config: String = (0..MANY).map(one).collect();
    house.start(&house.config(&config)).await;
    until(&house, 2 * DAY + HOUR).await;
    let now: Vec<String> = keys.iter().map(|key| held(&house, key)).collect();
    assert!(now.iter().zip(&tokens).all(|(new, old)| new != old));
    let mut different = now.clone();
    different.sort();
    different.dedup();
    assert_eq!(different.len(), MANY, "each has a token of its own");
    assert_eq!(exchanges(&house), u64::try_from(MANY).expect("a small number"));
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_person_hands_over_a_new_token() {
    let mut house = inhabited().await;
    let application = Application::new().await;
    let old = world(&house, |world, now| world.issue_long_user(ADA, &SCOPES, now));
    house.write_env(&[("WA", &old)]);
    let config = house.token("wa", "WA")
        + "scopes = [\"whatsapp_business_messaging\"]\n[tokens.replace]\n"
        + &application.confirm()
        + &house.token("bare", "WA");
    house.start(&house.config(&config)).await;
    until(&house, 5 * DAY).await;
    world(&house, |world, now| world.user_event(ADA, Event::PasswordChanged, now));
    until(&house, 6 * DAY).await;
    let replace = async |secret: &str, anyway: bool| {
        let secret = Secret::new(Zeroizing::new(secret.to_owned()));
        let number = house.requests().replace(id("wa"), Origin::Replaced("asha".into()), secret, anyway).await;
        let number = number.expect("it begins");
        house.pass(Span::minutes(2)).await;
        let run = house.board().runs.of(&id("wa")).expect("a run");
        assert_eq!(run.number, number);
        run.ended.expect("it ended")
    };
    let short = world(&house, |world, now| world.issue_short_user(ADA, &SCOPES, now));
    let poor = world(&house, |world, now| world.issue_long_user(ADA, &["public_profile"], now));
    for (secret, why) in [
        ("EAAnonsense", "cannot make sense of it"),
        (old.as_str(), "not valid: the password changed"),
        (short.as_str(), "a token of the dashboard"),
        (poor.as_str(), "lacks the permissions whatsapp_business_messaging"),
    ] {
        let (outcome, text) = replace(secret, false).await;
        assert_eq!(outcome.as_str(), "refused", "{text}");
        assert!(text.contains(why), "{text}");
        assert_eq!(held(&house, "WA"), old, "nothing was touched");
    }
    application.is(StatusCode::BAD_GATEWAY);
    let good = machine_token(&house, 0);
    let (outcome, text) = replace(&good, false).await;
    assert_eq!((outcome.as_str(), held(&house, "WA")), ("rolled_back", old.clone()), "{text}");
    application.is(StatusCode::OK);
    let (outcome, text) = replace(&good, false).await;
    assert_eq!((outcome.as_str(), held(&house, "WA")), ("renewed", good.clone()), "{text}");
    let told: Vec<String> = seconds(&house).into_iter().map(|(_, subject)| subject).collect();
    assert!(told.iter().any(|subject| subject.contains("wa works again")), "{told:?}");
    let (outcome, _) = replace(&poor, true).await;
    assert_eq!(outcome.as_str(), "renewed", "whoever insists gets it");
    let secret = Secret::new(Zeroizing::new(good));
    let asked = house.requests().replace(id("bare"), Origin::Replaced("asha".into()), secret, false).await;
    assert!(matches!(asked, Err(Declined::NotRenewed(_))), "{asked:?}");
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_exchange_that_extends_the_same_string_writes_nothing() {
    let mut house = inhabited().await;
    let token = world(&house, |world, now| world.issue_long_user(ADA, &["public_profile"], now - 38 * DAY));
    world(&house, |world, _| world.switches.same_string = true);
    house.write_env(&[("T", &token)]);
    let written = std::fs::metadata(house.env()).expect("the env file").modified().expect("a time");
    let config = house.token("t", "T") + "check = \"6h\"\n[tokens.renew]\nbefore = \"20d\"\n";
    house.start(&house.config(&config)).await;
    until(&house, 3 * DAY).await;
    assert_eq!(outcomes(&house, "t").await, ["renewed"]);
    assert_eq!(held(&house, "T"), token);
    assert_eq!(std::fs::metadata(house.env()).expect("the env file").modified().expect("a time"), written);
    let [(_, SlotStatus::Token(status))] = &house.statuses().await[..1] else { panic!("a status") };
    assert!(
        status.current_facts().is_some_and(|facts| facts.expires.date().is_some_and(|at| at.unix() > START + 58 * DAY))
    );
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_look_that_began_within_a_run_and_ends_after_it_is_no_news() {
    let mut house = inhabited().await;
    let application = Application::new().await;
    application.is(StatusCode::SERVICE_UNAVAILABLE);
    let old = machine_token(&house, 39);
    world(&house, |world, now| world.set_expiry(&old, Some(now + 20 * DAY + 60)));
    house.write_env(&[("WA", &old)]);
    let config = house.token("wa", "WA")
        + "check = \"1s\"\n[tokens.renew]\nbefore = \"20d\"\nfloor = \"1d\"\n"
        + &application.confirm();
    house.start(&house.config(&config)).await;
    while held(&house, "WA") == old {
        house.pass(Span::seconds(1)).await;
    }
    // From now on no question about the new token is answered: one is always under way, the moment of the roll-back included.
    let new = held(&house, "WA");
    world(&house, |world, _| world.faults.add(Fault::always(Match::Token(new.clone()), FaultKind::Hang)));
    while held(&house, "WA") == new {
        house.pass(Span::seconds(1)).await;
    }
    house.pass(Span::minutes(5)).await;
    assert_eq!(outcomes(&house, "wa").await, ["rolled_back"]);
    let [(_, SlotStatus::Token(status))] = &house.statuses().await[..1] else { panic!("a status") };
    assert_eq!((status.generation.number, status.failures), (1, 0));
    let told: Vec<String> = seconds(&house).into_iter().map(|(_, subject)| subject).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    house.stop().await;
}
