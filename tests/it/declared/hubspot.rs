//! HubSpot: tokens of private apps, and of OAuth apps. Reference §3.6.

use super::*;
use crate::pages::Said;
use crate::pages::hubspot::{
    ACCESS_LIFETIME, CLIENT_ID, CLIENT_SECRET, CONTACT_EMAIL, CONTACTS_SCOPE, ExpiryField, HubSpot,
};

use tokenwatch::domain::inspection::{AppFault, Cause, Expiry, TokenKind, Validity};
use tokenwatch::ports::{ExchangeError, Given};

const PRIVATE: &str = "[provider.hubspot]\nbase_url = \"{url}\"\n\
    [[tokens]]\nname = \"crm\"\nprovider = \"hubspot\"\nsecret = { env = \"TOKEN\" }\n";
const OAUTH: &str = "[provider.hubspot-oauth]\nbase_url = \"{url}\"\n\
    [apps.crm]\nprovider = \"hubspot-oauth\"\nid = \"00000000-0000-4000-8000-0000000000c1\"\nsecret = { env = \"APP\" }\n\
    [[tokens]]\nname = \"crm\"\nprovider = \"hubspot-oauth\"\napp = \"crm\"\nsecret = { env = \"TOKEN\" }\n\
    parameters.refresh_token = { env = \"REFRESH\" }\n";
const CONTACTS: &str = "parameters.path = \"crm/v3/objects/contacts\"\n";

async fn private(more: &str) -> (Bench<HubSpot>, String) {
    let mut bench = Bench::new(HubSpot::new(), &format!("{PRIVATE}{more}")).await;
    let token = bench.site.page().private_token();
    bench.set("TOKEN", &token);
    bench.plant(CONTACT_EMAIL);
    (bench, token)
}

async fn oauth(more: &str) -> (Bench<HubSpot>, String, String) {
    let mut bench = Bench::new(HubSpot::new(), &format!("{OAUTH}{more}")).await;
    let (token, refresh) = bench.site.page().grant(NOW);
    for (name, value) in [("TOKEN", &*token), ("REFRESH", &*refresh), ("APP", CLIENT_SECRET)] {
        bench.set(name, value);
    }
    (bench, token, refresh)
}

#[tokio::test]
async fn a_private_app_s_token_never_expires() {
    let (bench, token) = private("").await;
    let facts = bench.facts().await;
    assert_eq!((facts.validity, facts.expires), (Validity::Valid, Expiry::Never));
    assert_eq!((facts.kind, facts.user_id.as_deref()), (TokenKind::parse("access_token"), Some("1234567")));
    let call = bench.site.calls().pop().expect("a request");
    assert_eq!((&*call.method, &*call.path), ("GET", "/account-info/v3/details"));
    assert_eq!(call.bearer(), Some(&*token));
    let (answer, _) = bench.rehearsed().await;
    assert_eq!(answer.facts.expect("facts").expires, Expiry::Never);
}

#[tokio::test]
async fn another_page_can_be_read_with_it() {
    let (bench, token) = private(CONTACTS).await;
    assert_eq!(bench.facts().await.validity, Validity::Valid);
    assert_eq!(bench.site.calls()[0].path, "/crm/v3/objects/contacts");
    bench.site.page().withdraw_scopes(&token);
    let checked = bench.checked().await;
    assert_eq!(checked.telemetry.error_codes, ["MISSING_SCOPES"]);
    let facts = checked.outcome.answer.expect("facts");
    assert!(facts.validity == Validity::Valid && facts.lacking.expect("words").contains("parameters.path"));
    // A page that is not there says nothing of the token.
    let (bench, _) = private("parameters.path = \"crm/v3/nothing\"\n").await;
    assert_eq!(bench.error().await.reason(), "refused");
}

#[tokio::test]
async fn a_rotated_or_deactivated_private_token_is_dead_from_then_on() {
    let (mut bench, token) = private("").await;
    let new = bench.site.page().rotate_private_token(&token, true, NOW);
    assert_eq!(bench.facts().await.validity, Validity::Valid, "it overlaps");
    bench.site.page().deactivate(&token, NOW);
    let checked = bench.checked().await;
    assert_eq!(checked.telemetry.error_codes, ["INVALID_AUTHENTICATION"]);
    assert_eq!(checked.outcome.answer.expect("facts").validity, Validity::Revoked(Cause::Unstated));
    bench.set("TOKEN", &new);
    assert_eq!(bench.facts().await.validity, Validity::Valid);
}

#[tokio::test]
async fn what_says_nothing_of_the_token_is_no_verdict() {
    let (bench, _) = private("").await;
    let (other, ..) = oauth("").await;
    for (said, reason) in [
        (HubSpot::throttled(None), "throttled"),
        (HubSpot::server_error(), "unavailable"),
        (Said::text(401, "<html>log in first</html>"), "garbled"),
        (Said::text(403, "<html>blocked</html>"), "garbled"),
    ] {
        for bench in [&bench, &other] {
            bench.site.refuse_once(said.clone());
            assert_eq!(bench.error().await.reason(), reason);
        }
    }
    bench.site.refuse_once(HubSpot::throttled(Some(9)));
    assert_eq!(bench.error().await, CheckError::Throttled(Timestamp::from_unix(NOW + 9)));
}

#[tokio::test]
async fn an_oauth_token_is_told_by_introspection() {
    let end = Expiry::At(Timestamp::from_unix(NOW + ACCESS_LIFETIME));
    for (field, expires) in
        [(ExpiryField::ExpiresIn, end), (ExpiryField::Exp, end), (ExpiryField::Absent, Expiry::Unknown)]
    {
        let (bench, token, _) = oauth("").await;
        bench.site.page().expiry = field;
        let facts = bench.facts().await;
        assert_eq!((facts.validity, facts.expires), (Validity::Valid, expires), "{field:?}");
        assert_eq!((facts.user_id.as_deref(), facts.app_id.as_deref()), (Some("1234567"), Some(CLIENT_ID)));
        let scopes: Vec<Box<str>> = facts.grants.expect("scopes").into_iter().map(|grant| grant.scope).collect();
        assert_eq!(scopes, ["oauth".into(), CONTACTS_SCOPE.into()]);
        let call = bench.site.calls().pop().expect("a request");
        assert_eq!((&*call.method, &*call.path), ("POST", "/oauth/2026-03/token/introspect"));
        assert_eq!(call.form("token"), Some(token));
        assert!(bench.rehearsed().await.0.facts.is_ok());
    }
    let (bench, ..) = oauth("parameters.version = \"v3\"\n").await;
    assert_eq!(bench.facts().await.validity, Validity::Valid);
    assert_eq!(bench.site.calls()[0].path, "/oauth/v3/token/introspect");
}

#[tokio::test]
async fn a_dead_oauth_token_is_told_as_dead_and_a_wrong_app_is_not() {
    type Fate = fn(&mut HubSpot, &str);
    let fates: [Fate; 3] =
        [|page, token| page.expire(token, NOW), |page, token| page.revoke(token), |page, _| page.access_tokens.clear()];
    for fate in fates {
        let (bench, token, _) = oauth("").await;
        fate(&mut bench.site.page(), &token);
        assert_eq!(bench.facts().await.validity, Validity::Revoked(Cause::Unstated));
    }
    let (mut bench, ..) = oauth("").await;
    bench.set("APP", "bad00000-0000-4000-8000-000000000001");
    let checked = bench.checked().await;
    assert_eq!(checked.telemetry.error_codes, ["invalid_client"]);
    let error = checked.outcome.answer.expect_err("a wrong app is no dead token");
    assert!(matches!(error, CheckError::App(AppFault::WrongSecret, _)), "{error}");
}

#[tokio::test]
async fn a_refresh_gives_an_access_token_and_keeps_the_refresh_token() {
    let (mut bench, _, refresh) = oauth("").await;
    let Given { secret, ends, refresh_token } = bench.exchanged().await.given.expect("a token");
    assert_eq!(ends, Some(Timestamp::from_unix(NOW + ACCESS_LIFETIME)));
    assert_eq!(refresh_token.expect("a refresh token").expose(), refresh);
    assert_eq!(bench.facts().await.validity, Validity::Valid, "the old one lives to its own end");
    bench.set("TOKEN", secret.expose());
    assert_eq!(bench.facts().await.validity, Validity::Valid);
    for (said, reason, may_be_done) in [
        (HubSpot::throttled(Some(5)), "throttled", false),
        (HubSpot::server_error(), "unavailable", true),
        (Said::json(400, serde_json::json!({ "error": "invalid_request" })), "refused", false),
    ] {
        bench.site.refuse_once(said);
        assert_eq!(bench.unanswered().await, (reason, may_be_done));
    }
    bench.site.page().revoke(&refresh);
    let dead = bench.exchanged().await.given.expect_err("it is dead");
    assert!(matches!(dead, ExchangeError::Dead(Validity::Revoked(Cause::Unstated), _)), "{dead}");
    bench.set("APP", "bad00000-0000-4000-8000-000000000001");
    assert_eq!(bench.unanswered().await, ("app_fault", false));
}
