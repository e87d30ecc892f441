//! The whole daemon under simulated time: real HTTP to the simulator, a real state file, real SMTP, and no moment of real waiting.
//!
//! What one decision must be is settled in `ring1`; here it is shown that the parts together keep the promises of `docs/alerts.md`: which
//! mails people get and when, over months, restarts, outages and reloads.

mod metrics;
mod numbers;
mod oncall;
mod pages;
mod reloads;
mod renewals;
mod rotations;
mod upgrades;

use std::collections::{BTreeMap, BTreeSet};

use tokenwatch::domain::time::Span;
use tokenwatch::ports::Clock as _;
use tokenwatch::sim::{
    AppEvent, Event, Fault, FaultKind, GranularScope, GranularScopes, Lifetime, Match, Page, User, World,
};

use super::support::house::{APP, House, START};
use super::support::process::refusing;

const ADA: &str = "10001";
const MACHINE: &str = "104160000000001";
const PAGE: &str = "30001";
const DAY: i64 = 86_400;
const HOUR: i64 = 3_600;
const SCOPES: [&str; 2] = ["whatsapp_business_management", "whatsapp_business_messaging"];

/// A house with people in it: Ada, who manages a page, and a machine account.
async fn inhabited() -> House {
    let house = House::new().await;
    house.sim.with_world(|world| {
        world.add_user(User::new(APP, ADA, "Ada"));
        world.add_user(User::new(APP, MACHINE, "Machine"));
        world.add_page(Page::new(PAGE, "Tea House", &[ADA]));
    });
    house.write_env(&[]);
    house
}

/// The simulated platform, at the present second.
fn world<T>(house: &House, act: impl FnOnce(&mut World, i64) -> T) -> T {
    let now = house.clock.now().unix();
    house.sim.with_world(|world| act(world, now))
}

/// Puts a machine's token into that slot; it never ends.
fn put_never(house: &House, name: &str) -> String {
    let token = world(house, |world, now| world.issue_system_user(MACHINE, &SCOPES, Lifetime::Never, now));
    house.put(name, &token);
    token
}

/// Puts a token into that slot which ends that long after the story began.
fn put_until(house: &House, name: &str, end: i64) -> String {
    let token = put_never(house, name);
    world(house, |world, _| world.set_expiry(&token, Some(START + end)));
    token
}

/// The same with a token that is a hundred days old, so that no rung is longer than its life.
fn put_old(house: &House, name: &str, end: i64) -> String {
    let token =
        world(house, |world, now| world.issue_system_user(MACHINE, &SCOPES, Lifetime::SixtyDays, now - 100 * DAY));
    world(house, |world, _| world.set_expiry(&token, Some(START + end)));
    house.put(name, &token);
    token
}

/// Lets time pass until that moment of the story.
async fn until(house: &House, moment: i64) {
    let left = START + moment - house.clock.now().unix();
    assert!(left >= 0, "the story is past {moment}");
    house.pass(Span::seconds(left)).await;
}

/// Subjects with the second of the story in which they arrived.
fn seconds(house: &House) -> Vec<(i64, String)> {
    let subject = |mail: &tokenwatch::sim::Received| mail.header("Subject").unwrap_or_default();
    house.post().iter().map(|(at, mail)| (at.unix() - START, subject(mail).replace("[tokenwatch] ", ""))).collect()
}

/// The findings on the board.
fn findings(house: &House, name: &str) -> Vec<&'static str> {
    let table = house.board().table();
    let rows = table.rows();
    let row = rows.iter().find(|row| row.id.as_str() == name).expect("a row");
    row.findings.iter().map(|(reason, _)| reason.as_str()).collect()
}

fn verdict(house: &House, name: &str) -> &'static str {
    let table = house.board().table();
    let rows = table.rows();
    rows.iter().find(|row| row.id.as_str() == name).expect("a row").verdict.as_str()
}

// ---- sixty days -----------------------------------------------------------------------------------------------------------------------

/// Something that happens in the simulated world. Each is timed so that it is noticed on the same day whether one looks often or seldom.
type Deed = fn(&House);

/// What befalls twenty tokens in 61 days, as moments and deeds.
struct Story {
    tokens: Vec<&'static str>,
    deeds: Vec<(i64, Deed)>,
}

const LAST_DAY: i64 = 61;

fn story() -> Story {
    let mut tokens = vec!["forty", "short", "ten", "page", "password", "scope", "never", "sixty"];
    tokens.extend(QUIET);
    Story {
        tokens,
        deeds: vec![
            (10 * DAY + 12 * HOUR, |house| drop(put_never(house, "ten"))),
            (12 * DAY, |house| world(house, |world, now| world.user_event(ADA, Event::PasswordChanged, now))),
            (14 * DAY, |house| drop(put_never(house, "password"))),
            (20 * DAY, |house| {
                let token = std::fs::read_to_string(house.folder.path().join("scope.token")).expect("the slot");
                world(house, |world, _| {
                    world.set_scopes(&token, &SCOPES[..1]);
                    world.set_granular_scopes(&token, GranularScopes::Absent);
                });
            }),
            (22 * DAY, |house| {
                let token = std::fs::read_to_string(house.folder.path().join("scope.token")).expect("the slot");
                world(house, |world, _| world.set_scopes(&token, &SCOPES));
            }),
            (2 * DAY, |house| drop(put_never(house, "short"))),
            (30 * DAY + 12 * HOUR, |house| {
                let token = std::fs::read_to_string(house.folder.path().join("page.token")).expect("the slot");
                world(house, |world, now| world.set_data_access(&token, Some(now + 90 * DAY)));
            }),
            (41 * DAY, |house| drop(put_never(house, "forty"))),
        ],
    }
}

/// Tokens about which there is nothing to say for 61 days.
const QUIET: [&str; 12] = ["q01", "q02", "q03", "q04", "q05", "q06", "q07", "q08", "q09", "q10", "q11", "q12"];

/// Fills the slots; no two ladders have a rung in the same hour.
fn furnish(house: &House, story: &Story, often: &str, seldom: &str) -> String {
    for name in &story.tokens {
        match *name {
            "sixty" => drop(put_until(house, name, 60 * DAY)),
            "forty" => drop(put_until(house, name, 40 * DAY + 2 * HOUR)),
            "ten" => drop(put_until(house, name, 10 * DAY + 4 * HOUR)),
            "short" => {
                let token = world(house, |world, now| world.issue_api_setup(ADA, &SCOPES, now));
                house.put(name, &token);
            }
            "page" => {
                let page = world(house, |world, now| {
                    // Another person's, so that Ada's password is not its fate.
                    world.add_user(User::new(APP, "10002", "Bob"));
                    world.add_page(Page::new("30002", "Coffee House", &["10002"]));
                    let parent = world.issue_long_user("10002", &["public_profile"], now);
                    let page = world.issue_page(&parent, "30002", now).expect("Bob manages the page");
                    world.set_data_access(&page, Some(now + 30 * DAY + 6 * HOUR));
                    page
                });
                house.put(name, &page);
            }
            "password" => {
                let token = world(house, |world, now| world.issue_long_user(ADA, &["public_profile"], now));
                world(house, |world, now| {
                    world.set_expiry(&token, Some(now + 300 * DAY));
                    world.set_data_access(&token, None);
                });
                house.put(name, &token);
            }
            "never" | "scope" => drop(put_never(house, name)),
            quiet => drop(put_until(house, quiet, 200 * DAY)),
        }
    }
    describe(house, story, often, seldom)
}

/// The configuration of the story. One token is looked at `often`, the others `seldom`.
fn describe(house: &House, story: &Story, often: &str, seldom: &str) -> String {
    let slots = story.tokens.iter().map(|name| {
        let more = match *name {
            "scope" => format!("scopes = {SCOPES:?}\n"),
            "sixty" => format!("check = {often:?}\n"),
            _ => String::new(),
        };
        house.slot(name) + &more
    });
    format!("[schedule]\ncheck = {seldom:?}\n{}", house.config(&slots.collect::<String>()))
}

/// Lives through the story; `night` is what happens at every midnight and one hour.
async fn live(house: &mut House, story: &Story, mut night: impl AsyncFnMut(&mut House)) {
    let mut deeds = story.deeds.clone();
    deeds.sort_by_key(|(at, _)| *at);
    for (at, deed) in deeds {
        nights(house, at, &mut night).await;
        until(house, at).await;
        deed(house);
    }
    nights(house, LAST_DAY * DAY + 12 * HOUR, &mut night).await;
    until(house, LAST_DAY * DAY + 12 * HOUR).await;
}

async fn nights(house: &mut House, end: i64, night: &mut impl AsyncFnMut(&mut House)) {
    loop {
        let now = house.clock.now().unix() - START;
        let next = ((now - HOUR).div_euclid(DAY) + 1) * DAY + HOUR;
        if next > end {
            return;
        }
        until(house, next).await;
        night(house).await;
    }
}

/// Day and subject of every mail of the story. What is critical repeats each day until something is done.
const MAILS: [(i64, &str); 41] = [
    (0, "INFO short expires in 8 hours"),
    (0, "CRITICAL short expires in 2 hours"),
    (0, "CRITICAL short expires in 41 minutes"),
    (0, "CRITICAL short expired just now"),
    (1, "CRITICAL short expired 1 day ago"),
    (2, "RESOLVED short"),
    (3, "INFO ten expires in 7 days"),
    (7, "CRITICAL ten expires in 3 days"),
    (8, "CRITICAL ten expires in 2 days"),
    (9, "CRITICAL ten expires in 1 day"),
    (9, "INFO page loses data access in 21 days"),
    (10, "CRITICAL ten expired just now"),
    (10, "RESOLVED ten"),
    (12, "CRITICAL password was revoked: the password changed"),
    (13, "CRITICAL password was revoked: the password changed"),
    (14, "RESOLVED password"),
    (16, "WARNING page loses data access in 14 days"),
    (19, "INFO forty expires in 21 days"),
    (20, "WARNING scope is missing the permission whatsapp_business_messaging"),
    (22, "RESOLVED scope"),
    (23, "WARNING page loses data access in 7 days"),
    (26, "WARNING forty expires in 14 days"),
    (27, "CRITICAL page loses data access in 3 days"),
    (28, "CRITICAL page loses data access in 2 days"),
    (29, "CRITICAL page loses data access in 1 day"),
    (30, "CRITICAL page lost data access just now"),
    (30, "RESOLVED page"),
    (33, "WARNING forty expires in 7 days"),
    (37, "CRITICAL forty expires in 3 days"),
    (38, "CRITICAL forty expires in 2 days"),
    (39, "INFO sixty expires in 21 days"),
    (39, "CRITICAL forty expires in 1 day"),
    (40, "CRITICAL forty expired just now"),
    (41, "RESOLVED forty"),
    (46, "WARNING sixty expires in 14 days"),
    (53, "WARNING sixty expires in 7 days"),
    (57, "CRITICAL sixty expires in 3 days"),
    (58, "CRITICAL sixty expires in 2 days"),
    (59, "CRITICAL sixty expires in 1 day"),
    (60, "CRITICAL sixty expired just now"),
    (61, "CRITICAL sixty expired 1 day ago"),
];

async fn sixty_days(often: &str, seldom: &str) {
    let mut house = inhabited().await;
    let story = story();
    assert!(story.tokens.len() >= 20);
    let config = furnish(&house, &story, often, seldom);
    house.start(&config).await;
    live(&mut house, &story, async |_| {}).await;
    let metrics = metrics::parse(&house.get("/metrics").await.1);
    house.stop().await;
    assert_mails(&house);
    // Nothing failed: no time-out that was none, no garbled answer, no mail that had to be sent twice.
    assert!(metrics.total("tokenwatch_check_failures_total").abs() < 0.5);
    assert!(metrics.total("tokenwatch_notice_failures_total").abs() < 0.5);
    assert!((metrics.total("tokenwatch_notices_total") - 41.0).abs() < 0.5);
    let asked: u64 = house.sim.requests().values().sum();
    assert!((metrics.total("tokenwatch_checks_total") - f64::from(u32::try_from(asked).expect("few"))).abs() < 0.5);
}

fn assert_mails(house: &House) {
    let diary = house.diary();
    for (told, (day, subject)) in diary.iter().zip(MAILS) {
        assert!(told.0 == day && told.1.starts_with(subject), "{told:?} is not {subject:?} on day {day}");
    }
    assert_eq!(diary.len(), MAILS.len(), "{diary:#?}");
}

#[tokio::test(start_paused = true)]
async fn sixty_days_of_twenty_tokens_bring_exactly_the_promised_mails() {
    sixty_days("3h", "12h").await;
}

/// The same with the default period for all of them: 118,000 questions, which an unoptimised build would need minutes for.
#[cfg(not(debug_assertions))]
#[tokio::test(start_paused = true)]
async fn sixty_days_of_checks_every_quarter_of_an_hour_bring_the_same_mails() {
    sixty_days("15m", "15m").await;
}

/// The keys of all notices of the story, in the order in which they were made.
async fn keys_of(night: impl AsyncFnMut(&mut House)) -> Vec<String> {
    let mut house = inhabited().await;
    let mut story = story();
    story.tokens.retain(|name| !QUIET.contains(name));
    let config = furnish(&house, &story, "12h", "12h");
    house.start(&config).await;
    live(&mut house, &story, night).await;
    house.stop().await;
    assert_mails(&house);
    house.notice_keys()
}

/// Neither an orderly restart nor a kill on any day of the story makes, loses or repeats a notice.
#[tokio::test(start_paused = true)]
async fn a_restart_on_any_day_changes_no_notice() {
    let undisturbed = keys_of(async |_: &mut House| {}).await;
    assert_eq!(undisturbed.len(), MAILS.len());
    assert_eq!(undisturbed.iter().collect::<BTreeSet<_>>().len(), MAILS.len(), "no key is used twice");
    let restarted = keys_of(async |house: &mut House| {
        let mut story = story();
        story.tokens.retain(|name| !QUIET.contains(name));
        let config = describe(house, &story, "12h", "12h");
        house.stop().await;
        house.start(&config).await;
        house.pass(Span::seconds(7)).await;
        house.kill().await;
        house.start(&config).await;
    });
    assert_eq!(restarted.await, undisturbed);
}

/// What became due while nobody looked is told at the start, not at the next check: of several rungs the last, and the repeats go on.
#[tokio::test(start_paused = true)]
async fn what_became_due_while_the_daemon_was_stopped_is_told_at_the_start() {
    let mut house = inhabited().await;
    put_old(&house, "t", 30 * DAY);
    let config = format!("[schedule]\ncheck = \"12h\"\n{}", house.config(&house.slot("t")));
    for (stopped, started, subject) in [
        (8 * DAY, 10 * DAY, "INFO t expires in 20 days"),
        (15 * DAY, 24 * DAY, "WARNING t expires in 6 days"),
        (26 * DAY, 27 * DAY + HOUR, "CRITICAL t expires in 2 days 23 hours"),
        (27 * DAY + 2 * HOUR, 28 * DAY + 5 * HOUR, "CRITICAL t expires in 1 day 19 hours"),
    ] {
        let told = house.subjects().len();
        house.start(&config).await;
        until(&house, stopped).await;
        house.stop().await;
        assert_eq!(house.subjects().len(), told, "{:#?}", house.subjects());
        until(&house, started).await;
        house.start(&config).await;
        house.pass(Span::seconds(30)).await;
        house.stop().await;
        let subjects = house.subjects().split_off(told);
        assert!(subjects.len() == 1 && subjects[0].starts_with(subject), "{subjects:#?} is not {subject:?}");
    }
}

/// With a cron expression the next check may be a week away.
#[tokio::test(start_paused = true)]
async fn what_became_due_between_two_bells_is_told_at_the_start() {
    let mut house = inhabited().await;
    put_old(&house, "t", 22 * DAY);
    let config = format!("[schedule]\ncheck = \"0 0 9 * * Mon\"\n{}", house.config(&house.slot("t")));
    house.start(&config).await;
    house.pass(Span::minutes(10)).await;
    house.stop().await;
    until(&house, DAY + HOUR).await;
    house.start(&config).await;
    house.pass(Span::seconds(30)).await;
    house.stop().await;
    let subjects = house.subjects();
    assert!(subjects.len() == 1 && subjects[0].starts_with("INFO t expires in"), "{subjects:#?}");
}

/// The hardest moments for a kill: the notice is stored and its mail not sent; and the mail is sent and that is not stored yet.
#[tokio::test(start_paused = true)]
async fn a_kill_around_a_mail_neither_loses_nor_doubles_it() {
    for seconds_after in [0, 1, 4, 5, 6] {
        let mut house = inhabited().await;
        put_until(&house, "t", 30 * DAY);
        let config = format!("[schedule]\ncheck = \"12h\"\n{}", house.config(&house.slot("t")));
        house.start(&config).await;
        until(&house, 9 * DAY + seconds_after).await;
        house.kill().await;
        house.start(&config).await;
        until(&house, 9 * DAY + HOUR).await;
        let mails = house.diary();
        assert_eq!(mails, [(9, "INFO t expires in 21 days".to_owned())], "killed {seconds_after} s after the rung");
        house.stop().await;
    }
}

// ---- many tokens, one cause -----------------------------------------------------------------------------------------------------------

/// A house with that many tokens behind one secret, all in the same env file.
async fn crowd(tokens: usize) -> (House, String) {
    let house = inhabited().await;
    let token = world(&house, |world, now| world.issue_system_user(MACHINE, &SCOPES, Lifetime::Never, now));
    house.write_env(&[("T", &token)]);
    let slots: String = (0..tokens).map(|n| house.token(&format!("t{n:03}"), "T")).collect();
    let config = house.config(&slots);
    (house, config)
}

#[tokio::test(start_paused = true)]
async fn a_blocked_app_of_five_hundred_tokens_is_one_mail() {
    let (mut house, config) = crowd(500).await;
    house.start(&format!("[schedule]\ncheck = \"1h\"\n[policy]\nrepeat = \"0s\"\n{config}")).await;
    until(&house, 600).await;
    world(&house, |world, now| world.app_event(APP, AppEvent::Blocked, now));
    until(&house, 600 + 2 * HOUR).await;
    assert_eq!(house.subjects(), ["CRITICAL app helpdesk is blocked by Meta"]);
    assert_eq!(house.board().table().apps().len(), 1);
    assert!((0..500).all(|n| findings(&house, &format!("t{n:03}")).is_empty()), "the fault is not the tokens'");
    world(&house, |world, now| world.app_event(APP, AppEvent::Unblocked, now));
    until(&house, 600 + 4 * HOUR).await;
    assert_eq!(house.subjects()[1..], ["RESOLVED app helpdesk is accepted again"]);
    assert_eq!(house.board().table().apps().len(), 0);
    house.stop().await;
    assert_eq!(house.notice_keys().len(), 2, "one incident");
}

// promise 35
/// Tokens go blind, and see again, at seconds of their own, spread over a period; people are told of the outage, not of the seconds.
#[tokio::test(start_paused = true)]
async fn an_outage_of_the_provider_for_five_hundred_tokens_is_two_mails_and_one_resolved() {
    let (mut house, config) = crowd(500).await;
    house.start(&format!("[schedule]\ncheck = \"5m\"\n[policy]\nblind_after = \"5m\"\n{config}")).await;
    until(&house, 310).await;
    house.sim.with_world(|world| world.faults.add(Fault::always(Match::Any, FaultKind::Empty500)));
    until(&house, 310 + 960).await;
    let told = house.subjects();
    assert!((1..=2).contains(&told.len()), "{told:#?}");
    assert!(told.iter().all(|subject| subject.starts_with("WARNING ")), "{told:#?}");
    assert_eq!(house.board().table().rows().iter().filter(|row| row.findings.len() == 1).count(), 500);
    house.sim.with_world(|world| world.faults.clear());
    until(&house, 310 + 960 + 900).await;
    let ended = house.subjects().split_off(told.len());
    assert!(ended.len() == 1 && ended[0].starts_with("RESOLVED 500 tokens"), "{ended:#?}");
    house.stop().await;
    assert_eq!(house.notice_keys().len(), 1_000, "each was told once, and resolved once");
}

// promise 48
/// One password behind many tokens: each is found dead at its own check, within a period, and each is told once.
#[tokio::test(start_paused = true)]
async fn one_password_behind_many_tokens_is_told_for_each_of_them_once() {
    let (mut house, config) = crowd(100).await;
    house.start(&config).await;
    until(&house, 1_200).await;
    world(&house, |world, now| world.user_event(MACHINE, Event::PasswordChanged, now));
    until(&house, 1_200 + 960).await;
    let told = seconds(&house);
    assert!(told.iter().all(|(_, subject)| subject.starts_with("CRITICAL ")), "{told:#?}");
    // The first one is found at its own turn; all others are looked at in the same moment.
    assert!(told.len() <= 2, "one cause, at most two mails: {told:#?}");
    assert!(told[0].0 <= 1_200 + 60, "the first does not wait for a period: {told:#?}");
    house.stop().await;
    let keys = house.notice_keys();
    assert_eq!((keys.len(), keys.iter().collect::<BTreeSet<_>>().len()), (100, 100));
}

// ---- new secrets, reloads -------------------------------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn a_new_secret_resolves_what_was_wrong_with_the_old_one() {
    let mut house = inhabited().await;
    let old = put_old(&house, "t", 20 * DAY);
    house.start(&house.config(&house.slot("t"))).await;
    until(&house, HOUR).await;
    world(&house, |world, now| world.revoke(&old, now));
    until(&house, 2 * HOUR).await;
    assert_eq!((verdict(&house, "t"), findings(&house, "t")), ("invalid", vec!["revoked"]));
    // The slot holds something new, and nobody knows yet what it is worth: nothing ends.
    house.sim.with_world(|world| world.faults.add(Fault::always(Match::Any, FaultKind::Empty500)));
    put_until(&house, "t", 90 * DAY);
    until(&house, 3 * HOUR).await;
    assert_eq!(house.subjects().len(), 2);
    house.sim.with_world(|world| world.faults.clear());
    until(&house, 4 * HOUR).await;
    assert_eq!((verdict(&house, "t"), findings(&house, "t")), ("healthy", vec![]));
    let subjects = house.subjects();
    assert!(subjects[0].starts_with("INFO t expires in 20 days"), "{subjects:#?}");
    assert!(subjects[1].starts_with("CRITICAL t was revoked"), "{subjects:#?}");
    assert!(subjects[2].starts_with("RESOLVED t") && subjects.len() == 3, "{subjects:#?}");
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_reload_adds_and_removes_tokens_without_a_trace() {
    let mut house = inhabited().await;
    put_old(&house, "old", 10 * DAY);
    put_never(&house, "stays");
    put_never(&house, "new");
    house.start(&house.config(&[house.slot("old"), house.slot("stays")].concat())).await;
    until(&house, HOUR).await;
    let before = metrics::parse(&house.get("/metrics").await.1);
    assert!(before.mentions("old") && before.mentions("stays") && !before.mentions("new"));
    house.reload(&house.config(&[house.slot("new"), house.slot("stays")].concat()));
    until(&house, HOUR + 60).await;
    let after = metrics::parse(&house.get("/metrics").await.1);
    assert!(!after.mentions("old") && after.mentions("stays") && after.mentions("new"));
    assert_eq!((verdict(&house, "new"), house.get("/tokens/old").await.0), ("healthy", 404));
    let subjects = house.subjects();
    assert_eq!(subjects.len(), 2, "{subjects:#?}");
    assert!(subjects[1].starts_with("RESOLVED old"), "{subjects:#?}");
    // It comes back as if never seen: its ladder is told again, under keys of its own.
    house.reload(&house.config(&[house.slot("old"), house.slot("stays")].concat()));
    until(&house, HOUR + 120).await;
    assert!(house.subjects()[2].starts_with("WARNING old expires in 10 days"), "{:#?}", house.subjects());
    house.stop().await;
    let keys = house.notice_keys();
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), 3, "{keys:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_reload_with_checks_under_way_loses_none() {
    let (mut house, config) = crowd(50).await;
    house.start(&format!("[schedule]\ncheck = \"1h\"\n{config}")).await;
    for n in 0..5 {
        // Everything hangs while the next configuration comes in force.
        house.sim.with_world(|world| world.faults.add(Fault::times(20, Match::Any, FaultKind::Hang)));
        house.reload(&format!("[schedule]\ncheck = \"{}m\"\n{config}", 50 + n));
        house.pass(Span::seconds(3)).await;
    }
    house.sim.with_world(|world| world.faults.clear());
    house.pass(Span::hours(2)).await;
    let now = house.clock.now();
    let table = house.board().table();
    let late =
        table.rows().iter().filter(|row| row.last_answer.is_none_or(|at| now.since(at) > Span::hours(1))).count();
    assert_eq!(late, 0, "every token is looked at in its period");
    house.stop().await;
}

// ---- courtesy -------------------------------------------------------------------------------------------------------------------------

fn asked(house: &House) -> u64 {
    house.sim.requests().values().sum()
}

#[tokio::test(start_paused = true)]
async fn a_throttled_provider_is_left_alone_for_the_time_it_names() {
    let (mut house, config) = crowd(40).await;
    house.start(&config).await;
    until(&house, 900).await;
    let id = "102290000000001".to_owned();
    house.sim.with_world(|world| {
        world.faults.add(Fault::times(1, Match::Any, FaultKind::Throttled { id, minutes: 90 }));
    });
    let before = asked(&house);
    house.pass(Span::minutes(5)).await;
    // What was under way at that moment may still have been answered.
    let throttled = asked(&house);
    assert!((1..=33).contains(&(throttled - before)), "{}", throttled - before);
    house.pass(Span::minutes(84)).await;
    assert_eq!(asked(&house), throttled, "not one question while it lasts");
    house.pass(Span::minutes(20)).await;
    assert!(asked(&house) >= throttled + 40, "and everyone's turn after it: {}", asked(&house) - throttled);
    assert!(house.board().table().rows().iter().all(|row| row.findings.is_empty()));
    assert!(house.subjects().is_empty(), "a pause is no reason to wake people");
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_is_nearly_used_is_used_slowly() {
    let (mut house, config) = crowd(50).await;
    // Four hundred questions an hour are wanted, two hundred may be asked.
    house.sim.with_world(|world| world.app_mut(APP).expect("the app").calls_per_hour = Some(200));
    house.start(&format!("[schedule]\ncheck = \"450s\"\n[policy]\nblind_after = \"3h\"\n{config}")).await;
    let mut hours = Vec::new();
    for _ in 0..4 {
        let before = asked(&house);
        house.pass(Span::hours(1)).await;
        hours.push(asked(&house) - before);
    }
    assert!(hours.iter().all(|asked| (100..=240).contains(asked)), "{hours:?}");
    let scrape = metrics::parse(&house.get("/metrics").await.1);
    let failed = [("provider", "meta"), ("reason", "throttled")];
    let throttled = scrape.value("tokenwatch_check_failures_total", &failed).expect("counted");
    assert!(throttled < 40.0, "the budget was overdrawn {throttled} times");
    // Slow is not blind: everyone gets a turn.
    let now = house.clock.now();
    let oldest = house.board().table().rows().iter().filter_map(|row| row.last_answer).min().expect("answers");
    assert!(now.since(oldest) < Span::hours(1), "somebody waited {}", now.since(oldest));
    assert!(house.subjects().is_empty(), "{:#?}", house.subjects());
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn once_a_budget_has_recovered_nobody_waits_for_a_turn() {
    let (mut house, config) = crowd(400).await;
    house.sim.with_world(|world| world.app_mut(APP).expect("the app").calls_per_hour = Some(200));
    house.start(&format!("[schedule]\ncheck = \"6h\"\n{config}")).await;
    until(&house, 600).await;
    let unseen = |house: &House| house.board().table().rows().iter().filter(|row| row.last_answer.is_none()).count();
    assert!(unseen(&house) > 100, "they take turns: {}", unseen(&house));
    house.sim.with_world(|world| world.app_mut(APP).expect("the app").calls_per_hour = None);
    until(&house, 900).await;
    assert_eq!(unseen(&house), 0);
    house.stop().await;
}

// ---- mail that cannot leave -----------------------------------------------------------------------------------------------------------

// promise 45
#[tokio::test(start_paused = true)]
async fn three_days_without_a_relay_lose_no_notice() {
    let mut house = inhabited().await;
    for (name, days) in [("a", 21), ("b", 22), ("c", 15)] {
        put_until(&house, name, days * DAY + HOUR);
    }
    let good = house.config(&["a", "b", "c"].map(|name| house.slot(name)).concat());
    let good = format!("[schedule]\ncheck = \"12h\"\n{good}").replace("relays = ", "retry = \"10m\"\nrelays = ");
    let (_closed, closed) = refusing();
    let bad = good.replace(&house.relay().to_string(), &closed.to_string());
    assert_ne!(good, bad);
    house.start(&bad).await;
    until(&house, 3 * DAY).await;
    assert!(house.mails().is_empty());
    let waiting = house.notice_keys();
    let (own, of_tokens): (Vec<_>, Vec<_>) = waiting.iter().partition(|key| key.starts_with("watcher/"));
    assert_eq!((own.len(), of_tokens.len()), (3, 3), "three rungs, and that nothing leaves, once a day: {waiting:#?}");
    let (code, text) = house.get("/readyz").await;
    assert!(code == 200 && text.contains("mail to default: ") && !text.contains("notices: ok"), "{text}");
    let scrape = metrics::parse(&house.get("/metrics").await.1);
    assert_eq!(
        scrape.value("tokenwatch_outbox_pending", &[]),
        Some(f64::from(u32::try_from(waiting.len()).expect("few")))
    );
    assert!(scrape.total("tokenwatch_notice_failures_total") > 250.0, "it was tried again and again");
    // A restart in between changes nothing.
    house.kill().await;
    house.start(&bad).await;
    house.pass(Span::minutes(1)).await;
    house.reload(&good);
    house.pass(Span::minutes(2)).await;
    let subjects = house.subjects();
    assert_eq!(subjects.len(), 1, "what waited together arrives together: {subjects:#?}");
    assert!(subjects[0].starts_with("CRITICAL tokenwatch itself and 3 tokens: "), "{subjects:#?}");
    let mail = house.mails()[0].text.replace("=\n", "");
    for name in ["a", "b", "c"] {
        assert!(mail.contains(&format!("X-Tokenwatch-Token: {name}")), "{name} is in it");
    }
    let scrape = metrics::parse(&house.get("/metrics").await.1);
    assert_eq!(scrape.value("tokenwatch_outbox_pending", &[]), Some(0.0));
    let ready = house.get("/readyz").await.1;
    assert!(ready.contains("notices: ok") && !ready.contains("mail to"), "{ready}");
    house.stop().await;
}

// ---- findings -------------------------------------------------------------------------------------------------------------------------

/// A single false "invalid" wakes nobody; the second within seconds is believed.
#[tokio::test(start_paused = true)]
async fn bad_news_is_confirmed_within_seconds() {
    let mut house = inhabited().await;
    let token = put_never(&house, "t");
    house.start(&house.config(&house.slot("t"))).await;
    until(&house, 1_800).await;
    let dead = || FaultKind::Raw {
        status: 200,
        headers: vec![],
        body: br#"{"data":{"is_valid":false,"error":{"code":190,"subcode":460,"message":"m"}}}"#.to_vec(),
    };
    house.sim.with_world(|world| world.faults.add(Fault::times(1, Match::Token(token.clone()), dead())));
    until(&house, 2 * HOUR).await;
    assert!(house.subjects().is_empty() && findings(&house, "t").is_empty());
    house.sim.with_world(|world| world.faults.add(Fault::always(Match::Token(token.clone()), dead())));
    let before = asked(&house);
    until(&house, 2 * HOUR + 915).await;
    assert!(house.subjects()[0].starts_with("CRITICAL t was revoked"), "{:#?}", house.subjects());
    assert_eq!(asked(&house) - before, 2, "the second answer was asked for at once");
    house.stop().await;
}

/// One look at every kind of finding, over real HTTP, with the mail that it makes.
#[tokio::test(start_paused = true)]
async fn every_kind_of_finding_is_found_and_told() {
    let mut house = inhabited().await;
    let mut config = String::new();
    let mut slot = |name: &str, more: &str| config.push_str(&format!("{}{more}\n", house.slot(name)));
    let required = format!("scopes = {SCOPES:?}\n[tokens.whatsapp]\nbusiness_account_id = \"102290000000001\"");
    for name in
        ["healthy", "scope", "target", "revoked", "other-family", "foreign", "window", "unknown", "ended", "lost"]
    {
        slot(name, if ["healthy", "scope", "target"].contains(&name) { &required } else { "" });
    }
    put_never(&house, "healthy");
    let scope = put_never(&house, "scope");
    let target = put_never(&house, "target");
    let revoked = put_never(&house, "revoked");
    put_until(&house, "ended", -DAY);
    let unknown = put_never(&house, "unknown");
    world(&house, |world, now| {
        world.set_scopes(&scope, &SCOPES[..1]);
        world.set_granular_scopes(&scope, GranularScopes::Listed(vec![GranularScope::all(SCOPES[0])]));
        let elsewhere = GranularScope::of(SCOPES[1], &["999"]);
        world.set_granular_scopes(&target, GranularScopes::Listed(vec![GranularScope::all(SCOPES[0]), elsewhere]));
        world.revoke(&revoked, now);
        house.put("other-family", &world.issue_other_family(tokenwatch::sim::OtherFamily::Instagram));
        world.add_app(tokenwatch::sim::App::new("634900000000002", "Other", "ffffffffffffffffffffffffffffffff"));
        world.add_user(User::new("634900000000002", "20001", "Stranger"));
        house.put("foreign", &world.issue_long_user("20001", &[], now));
        let window = world.issue_long_user(ADA, &[], now - 100 * DAY);
        world.set_expiry(&window, None);
        house.put("window", &window);
        let raw = FaultKind::Raw {
            status: 200,
            headers: vec![],
            body: format!(r#"{{"data":{{"app_id":"{APP}","is_valid":true,"scopes":[]}}}}"#).into_bytes(),
        };
        world.faults.add(Fault::always(Match::Token(unknown), raw));
    });
    house.start(&house.config(&config)).await;
    until(&house, 120).await;
    let expected = [
        ("healthy", "healthy", ""),
        ("scope", "healthy", "scope_missing"),
        ("target", "healthy", "target_missing"),
        ("revoked", "invalid", "revoked"),
        ("other-family", "invalid", "unreadable"),
        ("foreign", "unverified", "app_fault"),
        ("window", "expired", "data_access_expired"),
        ("unknown", "healthy", "expiry_unknown"),
        ("ended", "expired", "expired"),
        ("lost", "unverified", "source_unreadable"),
    ];
    for (name, judged, finding) in expected {
        assert_eq!(verdict(&house, name), judged, "{name}");
        assert_eq!(findings(&house, name).join(" "), finding, "{name}");
    }
    let mails = house.mails();
    for (name, _, finding) in expected.iter().filter(|(_, _, finding)| !finding.is_empty()) {
        let about: BTreeMap<String, usize> = mails.iter().fold(BTreeMap::new(), |mut about, mail| {
            let told = mail.text.lines().filter(|line| *line == format!("X-Tokenwatch-Token: {name}")).count();
            *about.entry((*name).to_owned()).or_default() += told;
            about
        });
        assert_eq!(about[*name], 1, "{name} is told once, as {finding}");
    }
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_cannot_be_read_is_told_at_once_and_ends_when_it_can() {
    let mut house = inhabited().await;
    let token = put_never(&house, "t");
    house.start(&house.config(&house.slot("t"))).await;
    until(&house, HOUR).await;
    house.empty("t");
    until(&house, 2 * HOUR).await;
    assert_eq!(findings(&house, "t"), ["source_unreadable"]);
    house.put("t", &token);
    until(&house, 3 * HOUR).await;
    let subjects = house.subjects();
    assert!(subjects[0].starts_with("CRITICAL") && subjects[1].starts_with("RESOLVED"), "{subjects:#?}");
    assert_eq!((subjects.len(), findings(&house, "t").len()), (2, 0));
    house.stop().await;
}

/// Blindness is a warning after `blind_after` and critical after four times as long; a date that is known is climbed all the while.
#[tokio::test(start_paused = true)]
async fn doubt_is_told_and_never_hides_a_date() {
    let mut house = inhabited().await;
    put_until(&house, "t", 2 * DAY);
    house
        .start(&format!("[policy]\nalert_before = [\"1d\"]\nrepeat = \"0s\"\n{}", house.config(&house.slot("t"))))
        .await;
    until(&house, HOUR).await;
    house.sim.with_world(|world| world.faults.add(Fault::always(Match::Any, FaultKind::Hang)));
    until(&house, 2 * DAY + HOUR).await;
    let told: Vec<(i64, String)> = seconds(&house);
    let hours: Vec<i64> = told.iter().map(|(at, _)| at / HOUR).collect();
    // Life under seven days: its rungs stand at 33%, 10% and 3% of 48 hours.
    for (hour, subject) in [
        (7, "WARNING t can no longer be checked"),
        (25, "CRITICAL t can no longer be checked"),
        (32, "INFO t expires in 16 hours"),
        (43, "CRITICAL t expires in 5 hours"),
        (46, "CRITICAL t expires in"),
        (48, "CRITICAL t expired"),
    ] {
        let found = told.iter().any(|(at, told)| (hour - 1..=hour).contains(&(at / HOUR)) && told.starts_with(subject));
        assert!(found, "{subject:?} at {hour} h: {told:#?}");
    }
    assert_eq!(hours.len(), 6, "{told:#?}");
    assert_eq!(verdict(&house, "t"), "expired");
    house.stop().await;
}

// ---- the plan -------------------------------------------------------------------------------------------------------------------------

/// A check once in a period for everyone, and not for everyone at once.
#[tokio::test(start_paused = true)]
async fn checks_are_spread_over_the_period() {
    let (mut house, config) = crowd(60).await;
    house.start(&config).await;
    until(&house, 1_800).await;
    let mut minutes = Vec::new();
    for _ in 0..30 {
        let before = asked(&house);
        house.pass(Span::minutes(1)).await;
        minutes.push(asked(&house) - before);
    }
    assert_eq!(minutes[..15].iter().sum::<u64>(), 60, "{minutes:?}");
    assert_eq!(minutes[..15], minutes[15..], "each at the same moment of its period");
    assert!(minutes.iter().all(|asked| *asked <= 15), "{minutes:?}");
    house.stop().await;
}

/// Whatever the configuration accepts as a plan, the bell can be hung up with.
#[test]
fn every_plan_that_is_accepted_can_be_rung() {
    use tokenwatch::settings::value;
    for expression in [
        "0 0 9 * * Mon",
        "0 */15 * * * *",
        "30 59 23 31 12 *",
        "0 0 0 L * *",
        "0 0 12 * * MON-FRI",
        "0 0 12 * * 1#1",
        "0 0 12 15W * *",
        "@hourly",
        "@daily",
        "0 0 9 * * Mon 2027",
        "  0 0 9 * * Mon  ",
        "0 0 9 ? * *",
    ] {
        if let Ok(value::Plan::Cron(accepted)) = value::plan(expression) {
            let job =
                tokio_cron_scheduler::Job::new_async_tz(accepted.as_str(), chrono_tz::UTC, |_, _| Box::pin(async {}));
            assert!(job.is_ok(), "{expression:?} is accepted and rings no bell: {:?}", job.err());
        }
    }
    assert!(value::plan("0 0 9 * * Mon").is_ok());
}

/// With a cron expression the first look is at once, and then nothing is asked before the bell rings.
#[tokio::test(start_paused = true)]
async fn a_cron_expression_is_accepted_as_the_plan() {
    let (mut house, config) = crowd(3).await;
    house.start(&format!("[schedule]\ncheck = \"0 0 9 * * Mon\"\n{config}")).await;
    house.pass(Span::minutes(10)).await;
    assert_eq!(asked(&house), 3);
    assert!(house.board().table().rows().iter().all(|row| row.verdict.as_str() == "healthy"));
    let (_, text) = house.get("/api/v1/tokens").await;
    assert!(text.contains("\"next_check\":"), "{text}");
    house.stop().await;
}
