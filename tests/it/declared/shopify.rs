//! Shopify. Reference §3.6.

use super::*;
use crate::pages::Said;
use crate::pages::shopify::{ACCESS_LIFETIME, CLIENT_SECRET, Retry, Shopify};

use tokenwatch::domain::inspection::{Cause, Expiry, TokenKind, Validity};
use tokenwatch::ports::{ExchangeError, Given};

const LASTING: &str = "[[tokens]]\nname = \"shop\"\nprovider = \"shopify\"\nsecret = { env = \"TOKEN\" }\n\
    parameters.shop = \"{url}\"\n";
const EXPIRING: &str = "[apps.shop]\nprovider = \"shopify\"\nid = \"00112233445566778899aabbccddeeff\"\n\
    secret = { env = \"APP\" }\n\
    [[tokens]]\nname = \"shop\"\nprovider = \"shopify\"\napp = \"shop\"\nsecret = { env = \"TOKEN\" }\n\
    parameters.shop = \"{url}\"\nparameters.refresh_token = { env = \"REFRESH\" }\n";

async fn lasting() -> (Bench<Shopify>, String) {
    let mut bench = Bench::new(Shopify::new(), LASTING).await;
    let token = bench.site.page().lasting_token();
    bench.set("TOKEN", &token);
    (bench, token)
}

async fn expiring() -> (Bench<Shopify>, String, String) {
    let mut bench = Bench::new(Shopify::new(), EXPIRING).await;
    let (token, refresh) = bench.site.page().expiring_token(NOW);
    for (name, value) in [("TOKEN", &*token), ("REFRESH", &*refresh), ("APP", CLIENT_SECRET)] {
        bench.set(name, value);
    }
    (bench, token, refresh)
}

#[tokio::test]
async fn a_token_that_works_tells_no_end_of_either_kind() {
    let (bench, token) = lasting().await;
    let facts = bench.facts().await;
    assert_eq!((facts.validity, facts.expires), (Validity::Valid, Expiry::Unknown));
    assert_eq!((facts.kind, facts.grants), (TokenKind::parse("access_token"), None));
    let call = bench.site.calls().pop().expect("a request");
    assert_eq!((&*call.method, &*call.path), ("GET", "/admin/oauth/access_scopes.json"));
    assert_eq!(call.header("x-shopify-access-token"), Some(&*token));
    let (bench, ..) = expiring().await;
    let (answer, _) = bench.rehearsed().await;
    assert_eq!(answer.facts.expect("facts").expires, Expiry::Unknown);
}

#[tokio::test]
async fn a_dead_token_is_told_as_dead_whatever_the_cause() {
    type Fate = fn(&mut Shopify, &str);
    let fates: [Fate; 4] = [
        |page, token| page.expire(token, NOW),
        |page, token| page.revoke(token),
        |page, _| page.uninstall(),
        |page, _| page.access_tokens.clear(),
    ];
    for fate in fates {
        let (bench, token) = lasting().await;
        fate(&mut bench.site.page(), &token);
        assert_eq!(bench.facts().await.validity, Validity::Revoked(Cause::Unstated));
    }
}

#[tokio::test]
async fn what_says_nothing_of_the_token_is_no_verdict() {
    let (bench, _) = lasting().await;
    for (said, reason) in [
        (Shopify::throttled(None), "throttled"),
        (Shopify::server_error(), "unavailable"),
        (Said::text(401, "<html>log in first</html>"), "garbled"),
        (Said::json(404, serde_json::json!({ "errors": "Not Found" })), "refused"),
        (Said::json(403, serde_json::json!({ "errors": "Forbidden" })), "refused"),
    ] {
        bench.site.refuse_once(said);
        assert_eq!(bench.error().await.reason(), reason);
    }
    bench.site.refuse_once(Shopify::throttled(Some(9)));
    assert_eq!(bench.error().await, CheckError::Throttled(Timestamp::from_unix(NOW + 9)));
}

#[tokio::test]
async fn a_refresh_gives_both_tokens_anew_and_can_be_retried() {
    for retry in [Retry::SameReplacement, Retry::AnotherReplacement] {
        let (mut bench, ..) = expiring().await;
        bench.site.page().retry = retry;
        bench.site.lose_answer_once(Said::text(502, "bad gateway"));
        assert_eq!(bench.unanswered().await, ("unavailable", true));
        let Given { secret, ends, refresh_token } = bench.exchanged().await.given.expect("a retry is as good");
        assert_eq!(ends, Some(Timestamp::from_unix(NOW + ACCESS_LIFETIME)));
        bench.set("TOKEN", secret.expose());
        assert_eq!(bench.facts().await.validity, Validity::Valid);
        let next = refresh_token.expect("another refresh token");
        bench.set("REFRESH", next.expose());
        assert!(bench.exchanged().await.given.is_ok());
    }
}

#[tokio::test]
async fn a_refresh_token_is_dead_once_its_replacement_was_used() {
    let (mut bench, _, first) = expiring().await;
    let next = bench.exchanged().await.given.expect("a token").refresh_token.expect("another refresh token");
    bench.set("REFRESH", next.expose());
    bench.exchanged().await.given.expect("a token");
    bench.set("REFRESH", &first);
    let dead = bench.exchanged().await.given.expect_err("it was replaced");
    assert!(matches!(dead, ExchangeError::Dead(Validity::Revoked(Cause::Unstated), _)), "{dead}");
}

#[tokio::test]
async fn a_refresh_that_is_refused_was_not_carried_out() {
    let (mut bench, _, refresh) = expiring().await;
    for (said, reason) in [(Shopify::throttled(Some(5)), "throttled"), (Said::text(503, ""), "unavailable")] {
        bench.site.refuse_once(said);
        assert_eq!(bench.unanswered().await, (reason, false));
    }
    bench.set("APP", "shpss_ffffffffffffffffffffffffffffffff");
    assert_eq!(bench.unanswered().await, ("app_fault", false));
    assert!(bench.site.page().refreshes(&refresh, NOW));
}
