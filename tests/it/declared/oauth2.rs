//! Any authorization server, after RFC 7662 and RFC 6749. Reference §3.5.

use super::*;
use crate::pages::Said;
use crate::pages::oauth2::{Authentication, CLIENT_ID, CLIENT_SECRET, Introspection, OAuth2, Reuse, Rotation, SCOPE};

use tokenwatch::domain::inspection::{AppFault, Cause, Expiry, TokenKind, Validity};
use tokenwatch::ports::{ExchangeError, Given};

const CONFIG: &str = "[apps.client]\nprovider = \"oauth2\"\nid = \"sample-client\"\nsecret = { env = \"CLIENT\" }\n\
    [[tokens]]\nname = \"api\"\nprovider = \"oauth2\"\napp = \"client\"\nsecret = { env = \"TOKEN\" }\n\
    parameters.introspection_endpoint = \"{url}/oauth2/introspect\"\nparameters.token_endpoint = \"{url}/oauth2/token\"\n\
    parameters.refresh_token = { env = \"REFRESH\" }\n";

/// A bench with a grant: its access token and its refresh token.
async fn bench() -> (Bench<OAuth2>, String, String) {
    let mut bench = Bench::new(OAuth2::new(), CONFIG).await;
    let (access, refresh) = bench.site.page().grant(NOW);
    bench.set("TOKEN", &access);
    bench.set("REFRESH", &refresh);
    bench.set("CLIENT", CLIENT_SECRET);
    (bench, access, refresh)
}

#[tokio::test]
async fn an_active_token_is_told_with_as_much_as_the_server_tells() {
    let (bench, ..) = bench().await;
    let full = bench.facts().await;
    assert_eq!((full.validity, full.kind.clone()), (Validity::Valid, TokenKind::parse("access_token")));
    assert_eq!(full.expires, Expiry::At(Timestamp::from_unix(NOW + 3600)));
    assert_eq!((full.issued_at, full.app_id.as_deref()), (Some(Timestamp::from_unix(NOW)), Some(CLIENT_ID)));
    let scopes: Vec<Box<str>> = full.grants.expect("scopes").into_iter().map(|grant| grant.scope).collect();
    assert_eq!(scopes, SCOPE.split(' ').map(Box::from).collect::<Vec<Box<str>>>());
    bench.site.page().introspection = Introspection::WithoutExp;
    assert_eq!(bench.facts().await.expires, Expiry::Unknown);
    bench.site.page().introspection = Introspection::Bare;
    let bare = bench.facts().await;
    assert_eq!(
        (bare.validity, bare.grants, bare.app_id),
        (Validity::Valid, None, None),
        "what is not said is not none"
    );
    // A server that does not say whether a token is active says nothing.
    bench.site.page().introspection = Introspection::WithoutActive;
    assert!(bench.error().await.to_string().contains("RFC 7662"));
}

#[tokio::test]
async fn a_token_that_is_not_active_is_dead_whatever_the_cause() {
    type Fate = fn(&mut OAuth2, &str);
    let fates: [Fate; 4] = [
        |page, token| page.expire(token, Some(NOW)),
        |page, token| page.revoke(token),
        |page, token| page.revoke_grant(token),
        |page, _| page.access_tokens.clear(),
    ];
    for fate in fates {
        let (bench, access, _) = bench().await;
        fate(&mut bench.site.page(), &access);
        let facts = bench.facts().await;
        assert_eq!(facts.validity, Validity::Revoked(Cause::Unstated));
        assert!(facts.message.expect("words").contains("it has expired, was revoked, or was never a token"));
    }
}

#[tokio::test]
async fn what_says_nothing_of_the_token_is_no_verdict() {
    let (mut bench, ..) = bench().await;
    let throttled = CheckError::Throttled(Timestamp::from_unix(NOW + 40));
    for (said, reason) in [
        (OAuth2::throttled(None), "throttled"),
        (OAuth2::server_error(), "unavailable"),
        (Said::text(403, "no"), "garbled"),
        (Said::json(400, serde_json::json!({ "error": "invalid_request" })), "refused"),
    ] {
        bench.site.refuse_once(said);
        assert_eq!(bench.error().await.reason(), reason);
    }
    bench.site.refuse_once(OAuth2::throttled(Some(40)));
    assert_eq!(bench.error().await, throttled);
    bench.set("CLIENT", "anotherClientSecret000001");
    let checked = bench.checked().await;
    assert_eq!(checked.telemetry.error_codes, ["invalid_client"]);
    let error = checked.outcome.answer.expect_err("a wrong client is no dead token");
    assert!(matches!(error, CheckError::App(AppFault::WrongSecret, _)), "{error}");
    // A client that must prove itself in the form is not taken with basic authentication.
    bench.set("CLIENT", CLIENT_SECRET);
    bench.site.page().clients.get_mut(CLIENT_ID).expect("the client").authentication = Authentication::Form;
    assert_eq!(bench.error().await.reason(), "app_fault");
}

#[tokio::test]
async fn the_secret_of_the_client_and_the_token_stay_out_of_what_is_told() {
    let (bench, access, _) = bench().await;
    let (answer, told) = bench.rehearsed().await;
    assert_eq!(answer.facts.expect("facts").validity, Validity::Valid);
    assert!(told.iter().any(|line| &*line.what == "request" && line.text.contains("POST")));
    let call = bench.site.calls().pop().expect("a request");
    assert_eq!(call.basic(), Some((CLIENT_ID.to_owned(), CLIENT_SECRET.to_owned())));
    assert_eq!((call.form("token"), call.form("token_type_hint")), (Some(access), None));
}

#[tokio::test]
async fn a_refresh_token_can_be_watched_as_well() {
    let config = format!("{CONFIG}parameters.token_type_hint = \"refresh_token\"\n");
    let mut bench = Bench::new(OAuth2::new(), &config).await;
    let (_, refresh) = bench.site.page().grant(NOW);
    for (name, value) in [("TOKEN", &*refresh), ("REFRESH", &*refresh), ("CLIENT", CLIENT_SECRET)] {
        bench.set(name, value);
    }
    assert_eq!(bench.facts().await.expires, Expiry::Unknown);
    assert_eq!(bench.site.calls()[0].form("token_type_hint").as_deref(), Some("refresh_token"));
    bench.site.page().revoke(&refresh);
    assert_eq!(bench.facts().await.validity, Validity::Revoked(Cause::Unstated));
}

#[tokio::test]
async fn a_refresh_gives_an_access_token_and_what_the_server_makes_of_the_refresh_token() {
    let replaced = Rotation::Replaced { grace: 0, reuse: Reuse::RevokesGrant };
    for (rotation, another, kept) in
        [(Rotation::Kept, false, true), (Rotation::Repeated, false, true), (replaced, true, false)]
    {
        let (mut bench, access, refresh) = bench().await;
        bench.site.page().rotation = rotation;
        let Given { secret, ends, refresh_token } = bench.exchanged().await.given.expect("a token");
        assert_eq!(ends, Some(Timestamp::from_unix(NOW + 3600)));
        assert_eq!(refresh_token.is_some(), rotation != Rotation::Kept);
        let next = refresh_token.map(|next| next.expose().to_owned());
        assert_eq!(next.as_ref().is_some_and(|next| *next != refresh), another);
        assert_eq!(bench.site.page().refreshes(&refresh, NOW), kept);
        assert!(bench.site.page().is_active(&access, NOW), "the old access token lives to its own end");
        bench.set("TOKEN", secret.expose());
        assert_eq!(bench.facts().await.validity, Validity::Valid);
        bench.set("REFRESH", &next.unwrap_or(refresh));
        bench.site.page().tells_expires_in = false;
        assert_eq!(bench.exchanged().await.given.expect("a token").ends, None);
    }
}

#[tokio::test]
async fn a_refresh_token_that_is_used_again_is_dead_and_takes_the_grant_with_it() {
    let (bench, access, _) = bench().await;
    bench.exchanged().await.given.expect("a token");
    let again = bench.exchanged().await.given.expect_err("it was used up");
    assert!(matches!(again, ExchangeError::Dead(Validity::Revoked(Cause::Unstated), _)), "{again}");
    assert!(again.to_string().contains("the grant must be given again"));
    assert!(!bench.site.page().is_active(&access, NOW));
}

#[tokio::test]
async fn a_refresh_without_an_answer_may_have_used_the_refresh_token_up() {
    let (mut bench, _, refresh) = bench().await;
    for (said, reason, may_be_done) in [
        (OAuth2::throttled(Some(5)), "throttled", false),
        (Said::text(503, "later"), "unavailable", false),
        (Said::json(400, serde_json::json!({ "error": "invalid_scope" })), "refused", false),
    ] {
        bench.site.refuse_once(said);
        assert_eq!(bench.unanswered().await, (reason, may_be_done));
    }
    bench.set("CLIENT", "anotherClientSecret000001");
    assert_eq!(bench.unanswered().await, ("app_fault", false));
    bench.set("CLIENT", CLIENT_SECRET);
    assert!(bench.site.page().refreshes(&refresh, NOW), "nothing was carried out so far");
    for said in [OAuth2::server_error(), Said::text(200, "<html>signed in</html>")] {
        let (bench, _, refresh) = self::bench().await;
        bench.site.lose_answer_once(said);
        assert!(bench.unanswered().await.1);
        assert!(!bench.site.page().refreshes(&refresh, NOW));
    }
}

#[test]
fn a_renewal_needs_what_a_check_can_do_without() {
    let renewed = "[apps.client]\nprovider = \"oauth2\"\nid = \"sample-client\"\nsecret = { env = \"CLIENT\" }\n\
        [[tokens]]\nname = \"api\"\nprovider = \"oauth2\"\napp = \"client\"\nsecret = { file = \"/etc/api.token\" }\n\
        parameters.introspection_endpoint = \"https://login.example/introspect\"\n";
    let told = |config: &str| settings::from_text(config, "test.toml", &[]).err().map(|faults| faults.to_string());
    assert_eq!(told(renewed), None);
    let faults = told(&format!("{renewed}renew = {{ before = \"10m\" }}\n")).expect("faults");
    for name in ["token_endpoint", "refresh_token"] {
        assert!(faults.contains(&format!("{name} is missing: a renewal needs it")), "{faults}");
    }
    let whole = format!(
        "{renewed}parameters.token_endpoint = \"https://login.example/token\"\n\
         parameters.refresh_token = {{ file = \"/etc/api.refresh\" }}\nrenew = {{ before = \"10m\" }}\n"
    );
    assert_eq!(told(&whole), None);
}
