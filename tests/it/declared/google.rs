//! Google's access tokens and refresh tokens. Reference §3.5.

use super::*;
use crate::pages::Said;
use crate::pages::google::{
    ACCESS_LIFETIME, CLIENT_ID, CLIENT_SECRET, ExpiryFields, Google, Numbers, SCOPE, TESTING_LIFETIME, UNUSED_LIFETIME,
};

use tokenwatch::domain::inspection::{AppFault, Cause, Expiry, TokenKind, Validity};
use tokenwatch::ports::{ExchangeError, Given};

const ACCESS: &str = "[provider.google]\nbase_url = \"{url}\"\n\
    [apps.client]\nprovider = \"google\"\nid = \"100000000001-sample.apps.googleusercontent.com\"\n\
    secret = { env = \"CLIENT\" }\n\
    [[tokens]]\nname = \"access\"\nprovider = \"google\"\napp = \"client\"\nsecret = { env = \"TOKEN\" }\n\
    parameters.refresh_token = { env = \"REFRESH\" }\n";
const REFRESH: &str = "[provider.google-refresh-token]\nbase_url = \"{url}\"\n\
    [apps.client]\nprovider = \"google-refresh-token\"\nid = \"100000000001-sample.apps.googleusercontent.com\"\n\
    secret = { env = \"CLIENT\" }\n\
    [[tokens]]\nname = \"refresh\"\nprovider = \"google-refresh-token\"\napp = \"client\"\nsecret = { env = \"TOKEN\" }\n";

/// An access token and a refresh token beside it.
async fn access() -> (Bench<Google>, String, String) {
    let mut bench = Bench::new(Google::new(), ACCESS).await;
    let token = bench.site.page().access_token("watched", NOW);
    let refresh = bench.site.page().refresh_token("watched", NOW);
    for (name, value) in [("TOKEN", &*token), ("REFRESH", &*refresh), ("CLIENT", CLIENT_SECRET)] {
        bench.set(name, value);
    }
    (bench, token, refresh)
}

/// A refresh token that is watched itself.
async fn refresh() -> (Bench<Google>, String) {
    let mut bench = Bench::new(Google::new(), REFRESH).await;
    let token = bench.site.page().refresh_token("watched", NOW);
    bench.set("TOKEN", &token);
    bench.set("CLIENT", CLIENT_SECRET);
    (bench, token)
}

#[tokio::test]
async fn an_access_token_is_told_whichever_field_holds_its_end() {
    let end = Expiry::At(Timestamp::from_unix(NOW + ACCESS_LIFETIME));
    for numbers in [Numbers::Text, Numbers::Plain] {
        for fields in [ExpiryFields::Both, ExpiryFields::ExpiresIn, ExpiryFields::Exp] {
            let (bench, token, _) = access().await;
            bench.site.page().numbers = numbers;
            bench.site.page().expiry = fields;
            let facts = bench.facts().await;
            assert_eq!((facts.validity, facts.expires), (Validity::Valid, end), "{numbers:?} {fields:?}");
            assert_eq!((facts.kind, facts.app_id.as_deref()), (TokenKind::parse("access_token"), Some(CLIENT_ID)));
            let scopes: Vec<Box<str>> = facts.grants.expect("scopes").into_iter().map(|grant| grant.scope).collect();
            assert_eq!(scopes, [SCOPE.into()]);
            let call = bench.site.calls().pop().expect("a request");
            assert_eq!((&*call.method, &*call.path, call.query.is_empty()), ("POST", "/tokeninfo", true));
            assert_eq!(call.form("access_token"), Some(token));
        }
    }
}

#[tokio::test]
async fn a_dead_access_token_is_told_as_dead_whatever_the_cause() {
    type Fate = fn(&mut Google, &str);
    let fates: [Fate; 3] =
        [|page, token| page.expire(token, NOW), |page, token| page.revoke(token), |page, _| page.access_tokens.clear()];
    for fate in fates {
        let (bench, token, _) = access().await;
        fate(&mut bench.site.page(), &token);
        let checked = bench.checked().await;
        assert_eq!(checked.telemetry.error_codes, ["invalid_token"]);
        assert_eq!(checked.outcome.answer.expect("facts").validity, Validity::Revoked(Cause::Unstated));
    }
}

#[tokio::test]
async fn what_says_nothing_of_the_token_is_no_verdict() {
    let (bench, ..) = access().await;
    for (said, reason) in [
        (Google::throttled(None), "throttled"),
        (Google::server_error(), "unavailable"),
        (Said::json(400, serde_json::json!({ "error": "invalid_request" })), "refused"),
        (Said::text(200, "<html>log in first</html>"), "garbled"),
        (Said::text(404, ""), "garbled"),
    ] {
        bench.site.refuse_once(said);
        assert_eq!(bench.error().await.reason(), reason);
    }
    bench.site.refuse_once(Google::throttled(Some(20)));
    assert_eq!(bench.error().await, CheckError::Throttled(Timestamp::from_unix(NOW + 20)));
    let (answer, _) = bench.rehearsed().await;
    assert!(answer.facts.is_ok());
}

#[tokio::test]
async fn a_refresh_gives_an_access_token_and_leaves_both_old_tokens_alive() {
    let (mut bench, ..) = access().await;
    let Given { secret, ends, refresh_token } = bench.exchanged().await.given.expect("a token");
    assert_eq!((ends, refresh_token.is_none()), (Some(Timestamp::from_unix(NOW + ACCESS_LIFETIME)), true));
    assert_eq!(bench.facts().await.validity, Validity::Valid);
    bench.set("TOKEN", secret.expose());
    assert_eq!(bench.facts().await.validity, Validity::Valid);
    assert!(bench.exchanged().await.given.is_ok());
}

#[tokio::test]
async fn a_refresh_that_is_refused_is_told_with_who_is_at_fault() {
    let (mut bench, _, refresh) = access().await;
    for (said, reason, may_be_done) in [
        (Google::throttled(Some(5)), "throttled", false),
        (Google::server_error(), "unavailable", false),
        (Said::json(400, serde_json::json!({ "error": "invalid_scope" })), "refused", false),
        (Said::json(400, serde_json::json!({ "error": "unauthorized_client" })), "app_fault", false),
        (Said::text(502, "bad gateway"), "unavailable", true),
        (Said::text(200, "{}"), "garbled", true),
    ] {
        bench.site.refuse_once(said);
        assert_eq!(bench.unanswered().await, (reason, may_be_done));
    }
    bench.set("CLIENT", "anotherGoogleClientSecret01");
    assert_eq!(bench.unanswered().await, ("app_fault", false));
    bench.set("CLIENT", CLIENT_SECRET);
    bench.site.page().revoke(&refresh);
    let dead = bench.exchanged().await.given.expect_err("it is dead");
    assert!(matches!(dead, ExchangeError::Dead(Validity::Revoked(Cause::Unstated), _)), "{dead}");
}

#[tokio::test]
async fn a_refresh_token_is_tried_by_using_it() {
    let (bench, token) = refresh().await;
    let (answer, told) = bench.rehearsed().await;
    let facts = answer.facts.expect("facts");
    assert_eq!((facts.validity, facts.expires), (Validity::Valid, Expiry::Unknown));
    assert_eq!(facts.kind, TokenKind::parse("refresh_token"));
    assert!(
        told.iter().all(|line| !line.text.contains("ya29.")),
        "the access token of the answer is nobody's business"
    );
    // Each use keeps it alive, and leaves it as it is.
    let call = bench.site.calls().pop().expect("a request");
    assert_eq!((&*call.method, &*call.path, call.form("refresh_token")), ("POST", "/token", Some(token)));
    assert_eq!(bench.facts().await.validity, Validity::Valid);
}

#[tokio::test]
async fn a_dead_refresh_token_is_told_as_dead() {
    type Fate = fn(&mut Google, &str);
    let fates: [Fate; 4] = [
        |page, token| page.revoke(token),
        |page, token| {
            page.put_to_testing(token);
            page.refresh_tokens.get_mut(token).expect("it is there").issued_at = NOW - TESTING_LIFETIME;
        },
        |page, token| page.refresh_tokens.get_mut(token).expect("it is there").used_at = NOW - UNUSED_LIFETIME,
        |page, _| page.refresh_tokens.clear(),
    ];
    for fate in fates {
        let (bench, token) = refresh().await;
        fate(&mut bench.site.page(), &token);
        let checked = bench.checked().await;
        assert_eq!(checked.telemetry.error_codes, ["invalid_grant"]);
        let facts = checked.outcome.answer.expect("facts");
        assert_eq!(facts.validity, Validity::Revoked(Cause::Unstated));
        assert!(facts.message.expect("words").contains("it lives 7 days"));
    }
}

#[tokio::test]
async fn a_wrong_client_is_no_dead_refresh_token() {
    let (mut bench, _) = refresh().await;
    bench.set("CLIENT", "anotherGoogleClientSecret01");
    let error = bench.error().await;
    assert!(matches!(error, CheckError::App(AppFault::WrongSecret, _)), "{error}");
    bench.set("CLIENT", CLIENT_SECRET);
    bench.site.page().trouble = Some(Google::server_error());
    assert_eq!(bench.error().await.reason(), "unavailable");
}
