//! Twilio's auth tokens.

use tokenwatch::domain::inspection::Expiry;
use tokenwatch::domain::number::{NumberError, Sending};

use super::told::{codes, given, number, secret, story, told, words};
use super::*;
use crate::pages::twilio::{AccountStatus, Blocked, Twilio};
use crate::pages::{Asked, Said};

const CONFIG: &str = "[provider.twilio]\nbase_url = \"{url}\"\n\
    parameters = { accounts_url = \"{url}\", messaging_url = \"{url}\" }\n\
    [[tokens]]\nname = \"whatsapp\"\nprovider = \"twilio\"\nsecret = { env = \"TOKEN\" }\n\
    parameters = { account = \"{account}\", sender = \"+15005550000\" }\n";

/// Twilio that loses an answer to the making of a second token when told to.
struct Forgetful {
    page: Twilio,
    loses: bool,
}

impl Page for Forgetful {
    fn answer(&mut self, asked: &Asked, now: i64) -> Said {
        let said = self.page.answer(asked, now);
        if asked.method == "POST" && std::mem::take(&mut self.loses) { Said::text(502, "") } else { said }
    }
}

async fn bench() -> Bench<Forgetful> {
    let page = Twilio::new("golden", NOW - 86_400);
    let (account, token) = (page.account.clone(), page.primary.clone());
    let config = CONFIG.replace("{account}", &account);
    let mut bench = Bench::new(Forgetful { page, loses: false }, &config).await;
    bench.set("TOKEN", &token);
    bench
}

#[tokio::test]
async fn a_token_never_ends_and_belongs_to_its_account() {
    let bench = bench().await;
    let facts = bench.facts().await;
    let account = bench.site.page().page.account.clone();
    assert_eq!((facts.expires, facts.issued_at, facts.kind.as_str()), (Expiry::Never, None, "auth_token"));
    assert_eq!((facts.user_id.as_deref(), facts.grants), (Some(&*account), None));
    assert_eq!((facts.lacking, facts.message), (None, None));
    let (_, parts) = bench.rehearsed().await;
    let story = story(&parts, &["request", "answer", "means", "expires"]);
    assert!(story.contains("auth_token") && story.contains("valid (by rule 3)"), "{story}");
}

#[tokio::test]
async fn every_answer_is_told_apart() {
    type Change = fn(&mut Twilio);
    let block = |page: &mut Twilio, blocked| (page.status, page.blocked) = (AccountStatus::Suspended, blocked);
    let rows: [(&str, Change, &str, &[&str]); 12] = [
        ("as it is", |_| (), "valid", &[]),
        ("suspended", |page| page.status = AccountStatus::Suspended, "revoked: account_suspended", &[]),
        ("closed", |page| page.status = AccountStatus::Closed, "revoked: account_closed", &[]),
        ("replaced", |page| drop(page.replace_auth_token(NOW)), "revoked: unstated", &["20003"]),
        (
            "replaced, in other words",
            |page| {
                page.replace_auth_token(NOW);
                "Permission Denied".clone_into(&mut page.message);
            },
            "revoked: unstated",
            &["20003"],
        ),
        ("another account", |page| page.account = format!("AC{}", "0".repeat(32)), "revoked: unstated", &["20003"]),
        ("trial", |page| page.account_type = "Trial", "valid", &[]),
        ("with a second one", |page| drop(page.add_secondary()), "valid", &[]),
        ("throttled", |page| page.throttled = Some(100), "throttled", &["20429"]),
        ("broken", |page| page.broken = Some(503), "unavailable", &[]),
        ("no JSON", |page| page.broken = Some(200), "garbled", &[]),
        ("no JSON in a refusal", |page| page.broken = Some(401), "garbled", &[]),
    ];
    for (what, change, expected, counted) in rows {
        let bench = bench().await;
        change(&mut bench.site.page().page);
        let checked = bench.checked().await;
        assert_eq!((&*told(&checked), &*codes(&checked)), (expected, counted), "{what}: {}", words(&checked));
    }
    for (blocked, expected) in [
        (Blocked::Told, "revoked: account_suspended"),
        (Blocked::Unauthorized, "revoked: unstated"),
        // Nothing that is only refused for now is called dead.
        (Blocked::Forbidden, "refused"),
    ] {
        let bench = bench().await;
        block(&mut bench.site.page().page, blocked);
        let checked = bench.checked().await;
        assert_eq!(told(&checked), expected, "{blocked:?}");
        assert!(words(&checked).contains("suspended"), "{blocked:?}: {}", words(&checked));
    }
}

#[tokio::test]
async fn a_token_that_was_promoted_a_moment_ago_is_not_dead() {
    let mut bench = bench().await;
    let new = {
        let mut site = bench.site.page();
        site.page.propagation = 60;
        site.page.replace_auth_token(NOW)
    };
    bench.set("TOKEN", &new);
    assert_eq!(told(&bench.checked().await), "refused");
    bench.site.page().page.propagation = 0;
    assert_eq!(told(&bench.checked().await), "valid");
}

#[tokio::test]
async fn a_sender_is_read_from_the_list() {
    for (status, sending) in [
        ("ONLINE", Some(Sending::Available)),
        ("ONLINE:UPDATING", Some(Sending::Available)),
        ("OFFLINE", Some(Sending::Blocked)),
        ("TWILIO_REVIEW", Some(Sending::Blocked)),
        ("STUBBED", None),
        ("SOMETHING_NEW", None),
    ] {
        let bench = bench().await;
        {
            let mut site = bench.site.page();
            let sid = site.page.add_sender(status);
            site.page.add_sender("OFFLINE");
            let reason = ("63020".to_owned(), "the display name was refused".to_owned(), String::new());
            site.page.sender_mut(&sid).offline_reasons = (status == "OFFLINE").then(|| vec![reason]);
        }
        let checked = bench.checked().await;
        let number = number(&checked).expect("asked").expect("a number");
        assert_eq!((told(&checked).as_str(), number.can_send()), ("valid", sending), "{status}");
        assert_eq!(number.display.as_deref(), Some("whatsapp:+15005550000"));
        assert_eq!(number.account.as_deref(), Some("10000000000001"));
        assert_eq!(number.quality.as_deref(), status.starts_with("ONLINE").then_some("HIGH"));
        let ways = number.in_the_way();
        let said: Vec<_> = ways.iter().map(|way| (way.code, &*way.description)).collect();
        match status {
            "OFFLINE" => assert_eq!(said, [(Some(63_020), "the display name was refused")]),
            "TWILIO_REVIEW" => assert_eq!(said, [(None, "its status is TWILIO_REVIEW")]),
            _ => assert_eq!(said, []),
        }
    }
}

#[tokio::test]
async fn a_sender_that_is_not_in_the_list_is_missing_and_says_nothing_of_the_token() {
    let bench = bench().await;
    let checked = bench.checked().await;
    assert_eq!(told(&checked), "valid");
    assert!(matches!(number(&checked), Some(Err(NumberError::Missing(_)))));
    // One among many, on the one page that is read.
    for _ in 0..300 {
        bench.site.page().page.add_sender("ONLINE");
    }
    let mut bench = bench;
    bench.config = bench.config.replace("+15005550000", "+15005550299");
    assert_eq!(number(&bench.checked().await).expect("asked").expect("a number").sending, Some(Sending::Available));
    bench.config = bench.config.replace(", sender = \"+15005550299\"", "");
    assert_eq!(number(&bench.checked().await), None, "nobody asked for one");
}

#[tokio::test]
async fn both_tokens_work_until_the_new_one_is_promoted() {
    let mut bench = bench().await;
    let old = bench.site.page().page.primary.clone();
    // Left by somebody: nobody can read it again, so it has to go first.
    let orphan = bench.site.page().page.add_secondary();
    bench.plant(&orphan);
    let exchanged = bench.exchanged().await;
    let new = secret(&exchanged);
    bench.plant(&new);
    assert!(new != orphan && new != old);
    assert_eq!(told(&bench.checked().await), "valid", "the old one lives");
    bench.set("TOKEN", &new);
    assert_eq!(told(&bench.checked().await), "valid", "the new one lives");
    bench.set("TOKEN", &old);
    bench.leave(&new).await.expect("promoted");
    let called = bench.site.calls().last().map(|asked| (asked.method.clone(), asked.path.clone()));
    assert_eq!(called, Some(("POST".to_owned(), "/v1/AuthTokens/Promote".to_owned())));
    assert_eq!(told(&bench.checked().await), "revoked: unstated", "the old one died");
    bench.leave(&new).await.expect("what is dead has been left");
    assert_eq!(given(&bench.exchanged().await), "dead");
    bench.set("TOKEN", &new);
    assert_eq!(told(&bench.checked().await), "valid");
}

#[tokio::test]
async fn a_lost_answer_may_be_asked_for_again() {
    let bench = bench().await;
    bench.site.page().loses = true;
    assert_eq!(given(&bench.exchanged().await), "may be done");
    let lost = bench.site.page().page.secondary.clone().expect("it was made all the same");
    let new = secret(&bench.exchanged().await);
    assert_ne!(new, lost);
    let again = secret(&bench.exchanged().await);
    let kept = bench.site.page().page.secondary.clone();
    assert_eq!(Some(again), kept, "the last one counts");
    // Where the first of the two requests is lost, nothing was done.
    bench.site.lose_answer_once(Said::text(502, ""));
    assert_eq!(given(&bench.exchanged().await), "not done");
    bench.site.page().page.throttled = Some(100);
    assert_eq!(given(&bench.exchanged().await), "not done");
}

#[tokio::test]
async fn a_promotion_without_a_second_token_is_a_failure() {
    let bench = bench().await;
    let left = bench.leave("nonesuch-nonesuch").await;
    assert!(matches!(left, Err(CheckError::Refused(_))), "{left:?}");
    assert_eq!(told(&bench.checked().await), "valid");
}
