//! Instagram Login and Threads, against their strict pages: what each answer means, and what a refresh gives.

use super::*;
use crate::pages::instagram::{self, App, Fate, Fault, Instagram, Life, RefreshRefusal, Renewed, Undecodable};
use crate::pages::threads::{THREADS_APP_ID, Threads};

use tokenwatch::domain::inspection::{AppFault, Basis, Cause, Expiry, TokenKind, Validity};
use tokenwatch::ports::ExchangeError;
use tokenwatch::secret::Secret;
use zeroize::Zeroizing;

const DAY: i64 = 86_400;
const INSTAGRAM: &str = "[provider.instagram]\nbase_url = \"{url}\"\n\
    [[tokens]]\nname = \"shop\"\nprovider = \"instagram\"\nsecret = { env = \"TOKEN\" }\n";
const THREADS: &str = "[provider.threads]\nbase_url = \"{url}\"\n\
    [[tokens]]\nname = \"news\"\nprovider = \"threads\"\nsecret = { env = \"TOKEN\" }\n";

fn threads_with_app() -> String {
    format!(
        "{THREADS}app = \"news\"\n[apps.news]\nprovider = \"threads\"\nid = {THREADS_APP_ID:?}\nsecret = {{ env = \"APP\" }}\n"
    )
}

/// A page of Instagram with a token that was made so many days ago.
async fn shop(age: i64) -> (Bench<Instagram>, String) {
    let mut bench = Bench::new(Instagram::new(), INSTAGRAM).await;
    let token = bench.site.page().tokens.make("ada", Life::Long, NOW - age * DAY);
    bench.set("TOKEN", &token);
    (bench, token)
}

/// A page of Threads with a token that was made so many days ago, asked by its app.
async fn news(age: i64) -> (Bench<Threads>, String) {
    let mut bench = Bench::new(Threads::new(), &threads_with_app()).await;
    let token = bench.site.page().tokens.make("ada", Life::Long, NOW - age * DAY);
    bench.set("TOKEN", &token);
    let secret = bench.site.page().secret.clone();
    bench.set("APP", &secret);
    (bench, token)
}

/// What befalls a person, and what is told of it.
const FATES: [(Fate, Validity); 8] = [
    (Fate::Password, Validity::Revoked(Cause::PasswordChanged)),
    (Fate::Logout, Validity::Revoked(Cause::LoggedOut)),
    (Fate::Deauthorized, Validity::Revoked(Cause::AppRemoved)),
    (Fate::Checkpoint, Validity::Revoked(Cause::Checkpointed)),
    (Fate::Unconfirmed, Validity::Revoked(Cause::Unconfirmed)),
    (Fate::Inactive, Validity::Revoked(Cause::Inactive)),
    (Fate::Invalid, Validity::Unreadable),
    (Fate::Live, Validity::Valid),
];

#[tokio::test]
async fn a_token_of_instagram_works_and_nobody_tells_when_it_ends() {
    let (bench, _) = shop(3).await;
    let facts = bench.facts().await;
    assert_eq!((facts.validity, facts.kind, facts.expires), (Validity::Valid, TokenKind::User, Expiry::Unknown));
    assert!(facts.user_id.is_some() && facts.grants.is_none());
    bench.site.page().probe_in_list = true;
    assert_eq!(bench.facts().await.user_id, facts.user_id, "in a list or alone");
    bench.site.page().wire.number_ids = true;
    assert_eq!(bench.facts().await.user_id, facts.user_id, "as text or as a number");
}

#[tokio::test]
async fn every_fate_of_a_person_is_told_by_both() {
    for (fate, validity) in FATES {
        let (shop, token) = shop(3).await;
        shop.site.page().tokens.get_mut(&token).fate = fate;
        assert_eq!(shop.facts().await.validity, validity, "instagram: {fate:?}");
        let (mut news, token) = news(3).await;
        news.site.page().tokens.get_mut(&token).fate = fate;
        let told = news.facts().await.validity;
        // To an app debug_token calls a token invalid that it cannot make sense of.
        assert!(told == validity || (fate == Fate::Invalid && told != Validity::Valid), "threads: {fate:?}: {told:?}");
        news.site.page().wire.subcodes = false;
        news.plant(&token);
        let _ = news.checked().await;
    }
}

#[tokio::test]
async fn an_expired_token_is_told_as_expired() {
    let (bench, token) = shop(3).await;
    bench.site.page().tokens.expire(&token, NOW);
    assert_eq!(bench.facts().await.validity, Validity::Expired);
    let (bench, token) = news(3).await;
    bench.site.page().tokens.expire(&token, NOW);
    let facts = bench.facts().await;
    assert_eq!((facts.validity, facts.expires.date().is_some()), (Validity::Expired, true));
}

#[tokio::test]
async fn a_token_that_lacks_its_permission_works_and_lacks_it() {
    let (bench, token) = shop(3).await;
    bench.site.page().tokens.get_mut(&token).scopes.clear();
    let facts = bench.facts().await;
    assert_eq!((facts.validity, facts.lacking.as_deref()), (Validity::Valid, Some("instagram_business_basic")));
}

#[tokio::test]
async fn a_token_of_one_family_given_to_another_is_recognised() {
    let texts = [("EAA", "meta"), ("THQ", "threads"), ("IGAA", "instagram")];
    for (beginning, family) in texts {
        let token = instagram::token_text(beginning, 7);
        for (own, config) in
            [("instagram", INSTAGRAM.to_owned()), ("threads", threads_with_app()), ("threads", THREADS.to_owned())]
        {
            let facts = if own == "instagram" {
                let mut bench = Bench::new(Instagram::new(), &config).await;
                bench.set("TOKEN", &token);
                bench.facts().await
            } else {
                let mut bench = Bench::new(Threads::new(), &config).await;
                bench.set("TOKEN", &token);
                let secret = bench.site.page().secret.clone();
                bench.set("APP", &secret);
                bench.facts().await
            };
            let words = facts.message.as_deref().unwrap_or_default();
            assert_eq!(facts.validity, Validity::Unreadable, "{beginning} at {own}");
            assert_eq!(
                words.contains(&format!("provider = \"{family}\"")),
                own != family,
                "{beginning} at {own}: {words}"
            );
        }
    }
}

#[tokio::test]
async fn what_says_nothing_about_the_token_is_no_verdict() {
    for (fault, reason) in [
        (Fault::Html503, "unavailable"),
        (Fault::Empty500, "unavailable"),
        (Fault::Down, "unavailable"),
        (Fault::Unknown, "unavailable"),
        (Fault::Throttled { code: 4, status: 400, minutes: None }, "throttled"),
        (Fault::EmptyData, "garbled"),
    ] {
        let (shop, _) = shop(3).await;
        shop.site.page().wire.outage = Some(fault.clone());
        assert_eq!(shop.error().await.reason(), reason, "instagram: {fault:?}");
        let (news, _) = news(3).await;
        news.site.page().wire.outage = Some(fault.clone());
        assert_eq!(news.error().await.reason(), reason, "threads: {fault:?}");
    }
    let (bench, _) = shop(3).await;
    for (app, fault) in [(App::Deleted, AppFault::Deleted), (App::Blocked, AppFault::Blocked)] {
        bench.site.page().app = app;
        assert!(matches!(bench.error().await, CheckError::App(seen, _) if seen == fault));
    }
}

#[tokio::test]
async fn an_echoed_token_is_never_repeated() {
    let (bench, token) = shop(3).await;
    bench.site.page().wire.undecodable = Undecodable::Echoed;
    bench.site.page().tokens.list.retain(|known| known.text != token);
    assert_eq!(bench.facts().await.validity, Validity::Unreadable);
    let (bench, _) = news(3).await;
    bench.site.page().wire.faults.push_back(Fault::Echo);
    let _ = bench.checked().await;
}

#[tokio::test]
async fn threads_tells_an_app_everything_and_a_fault_with_status_500_is_no_outage() {
    let (mut bench, token) = news(3).await;
    let facts = bench.facts().await;
    let ends = bench.site.page().tokens.get_mut(&token).expires_at;
    assert_eq!((facts.validity, facts.expires), (Validity::Valid, Expiry::At(Timestamp::from_unix(ends))));
    assert_eq!((facts.basis, facts.app_id), (Basis::Told, None), "debug_token of Threads names no app");
    assert!(facts.grants.is_some_and(|grants| grants.iter().any(|grant| &*grant.scope == "threads_basic")));
    bench.set("APP", "ffffffffffffffffffffffffffffffff");
    assert!(matches!(bench.error().await, CheckError::App(AppFault::WrongSecret, _)), "HTTP 500 with code 190");
    // Without an app the token asks about itself, and its end stays unknown.
    let mut alone = Bench::new(Threads::new(), THREADS).await;
    let token = alone.site.page().tokens.make("ada", Life::Long, NOW - DAY);
    alone.set("TOKEN", &token);
    let facts = alone.facts().await;
    assert_eq!((facts.validity, facts.expires), (Validity::Valid, Expiry::Unknown));
    alone.site.page().tokens.get_mut(&token).fate = Fate::Password;
    assert_eq!(alone.facts().await.validity, Validity::Revoked(Cause::PasswordChanged), "HTTP 500 with code 190/460");
}

#[tokio::test]
async fn a_refresh_gives_sixty_days_and_tells_them() {
    for renewed in [Renewed::SameString, Renewed::NewString] {
        let (bench, token) = shop(3).await;
        bench.site.page().tokens.renewed = renewed;
        let given = bench.exchanged().await.given.expect("a token");
        assert_eq!(given.ends, Some(Timestamp::from_unix(NOW + 5_183_944)));
        assert_eq!(given.secret.matches(&Secret::new(Zeroizing::new(token))), renewed == Renewed::SameString);
        let (bench, _) = news(3).await;
        bench.site.page().tokens.renewed = renewed;
        assert_eq!(bench.exchanged().await.given.expect("a token").ends, Some(Timestamp::from_unix(NOW + 5_183_944)));
    }
    let (bench, _) = shop(3).await;
    bench.site.page().wire.omitted = vec!["expires_in"];
    assert_eq!(bench.exchanged().await.given.expect("a token").ends, None, "what is not told is not made up");
}

#[tokio::test]
async fn a_refusal_of_a_refresh_alone_buries_nobody() {
    // Younger than a day, the answer looks just as that to a dead token (reference §4).
    let (bench, _) = shop(0).await;
    for refusal in [RefreshRefusal::Usual, RefreshRefusal::UnsupportedRequest] {
        bench.site.page().refresh_refusal = refusal;
        let refused = bench.exchanged().await.given.expect_err("too young");
        assert!(matches!(refused, ExchangeError::Unanswered { may_be_done: false, .. }), "{refused:?}");
    }
    let (bench, token) = news(3).await;
    bench.site.page().tokens.get_mut(&token).fate = Fate::Password;
    let dead = bench.exchanged().await.given.expect_err("dead");
    assert_eq!(dead, ExchangeError::Dead(Validity::Revoked(Cause::PasswordChanged), words(&dead)));
}

fn words(error: &ExchangeError) -> Box<str> {
    match error {
        ExchangeError::Dead(_, words) => words.clone(),
        ExchangeError::Unanswered { .. } => Box::default(),
    }
}
