//! LinkedIn. Reference §3.3.

use super::*;
use crate::pages::Said;
use crate::pages::linkedin::{ACCESS_SECONDS, Authorization, LinkedIn, REFRESH_SECONDS};

use tokenwatch::domain::inspection::{AppFault, Cause, Expiry, TokenKind, Validity};
use tokenwatch::ports::{ExchangeError, Given};

const CONFIG: &str = "[provider.linkedin]\nbase_url = \"{url}\"\n\
    [apps.ads]\nprovider = \"linkedin\"\nid = \"86simulated0id\"\nsecret = { env = \"APP\" }\n\
    [[tokens]]\nname = \"ads\"\nprovider = \"linkedin\"\napp = \"ads\"\nsecret = { env = \"TOKEN\" }\n\
    parameters.refresh_token = { env = \"REFRESH\" }\n";

async fn bench() -> (Bench<LinkedIn>, String, String) {
    let mut bench = Bench::new(LinkedIn::new(), CONFIG).await;
    let (access, refresh) = bench.site.page().make(Authorization::ThreeLegged, &["r_ads", "rw_ads"], NOW);
    let secret = bench.site.page().client_secret.clone();
    for (name, value) in [("TOKEN", &access), ("REFRESH", &refresh), ("APP", &secret)] {
        bench.set(name, value);
    }
    (bench, access, refresh)
}

#[tokio::test]
async fn a_token_that_works_is_told_by_introspection() {
    let (bench, access, _) = bench().await;
    let facts = bench.facts().await;
    assert_eq!((facts.validity, facts.kind), (Validity::Valid, TokenKind::parse("access_token")));
    assert_eq!(facts.expires, Expiry::At(Timestamp::from_unix(NOW + ACCESS_SECONDS)));
    assert_eq!((facts.issued_at, facts.app_id.as_deref()), (Some(Timestamp::from_unix(NOW)), Some("86simulated0id")));
    let scopes: Vec<Box<str>> = facts.grants.expect("scopes").into_iter().map(|grant| grant.scope).collect();
    assert_eq!(scopes, ["r_ads".into(), "rw_ads".into()]);
    let call = bench.site.calls().pop().expect("a request");
    assert_eq!((&*call.method, &*call.path), ("POST", "/oauth/v2/introspectToken"));
    assert_eq!(call.form("token"), Some(access));
    let (answer, told) = bench.rehearsed().await;
    assert!(answer.facts.is_ok() && told.iter().any(|line| line.text.contains("client_secret=***")));
}

#[tokio::test]
async fn a_dead_token_is_told_with_its_cause() {
    type Fate = fn(&mut LinkedIn, &str);
    let rows: [(Fate, Validity); 3] = [
        (|page, token| page.expire_access(token, NOW), Validity::Expired),
        (|page, token| page.revoke_access(token), Validity::Revoked(Cause::Unstated)),
        (|page, _| page.access_tokens.clear(), Validity::Unreadable),
    ];
    for (fate, validity) in rows {
        for brief in [false, true] {
            let (bench, access, _) = bench().await;
            bench.site.page().dead_is_brief = brief;
            fate(&mut bench.site.page(), &access);
            let facts = bench.facts().await;
            assert_eq!(facts.validity, validity);
            assert!(facts.message.expect("words").starts_with("LinkedIn"));
        }
    }
}

#[tokio::test]
async fn what_says_nothing_of_the_token_is_no_verdict() {
    let (mut bench, ..) = bench().await;
    // Whether a token that was never there is a 400 is not established, so a 400 is no proof.
    bench.site.page().unknown_is_400 = true;
    bench.set("TOKEN", "AQVsimulatedTokenThatWasNeverThere0001");
    assert_eq!(bench.error().await.reason(), "refused");
    bench.site.page().throttled = true;
    assert_eq!(bench.error().await, CheckError::Throttled(Timestamp::from_unix(NOW + 60)));
    bench.site.page().throttled = false;
    bench.site.page().broken = Some(500);
    assert_eq!(bench.error().await.reason(), "unavailable");
    bench.site.page().broken = None;
    bench.set("APP", "anotherSecretOfAnotherApp0001");
    let checked = bench.checked().await;
    assert_eq!(checked.telemetry.error_codes, ["invalid_client"]);
    let error = checked.outcome.answer.expect_err("a wrong app is no dead token");
    assert!(matches!(error, CheckError::App(AppFault::WrongSecret, _)), "{error}");
}

#[tokio::test]
async fn a_refresh_gives_no_more_time_than_the_refresh_token_has() {
    for single_use in [true, false] {
        let (mut bench, _, refresh) = bench().await;
        {
            let mut page = bench.site.page();
            page.refresh_is_single_use = single_use;
            // Five days are left, as on day 360.
            page.refresh_mut(&refresh).expires_at = NOW + 5 * 86_400;
        }
        let Given { secret, ends, refresh_token } = bench.exchanged().await.given.expect("a token");
        let end = Timestamp::from_unix(NOW + 5 * 86_400);
        assert_eq!(ends, Some(end));
        let next = refresh_token.expect("a refresh token");
        assert_eq!(next.expose() == refresh, !single_use);
        bench.set("TOKEN", secret.expose());
        assert_eq!(bench.facts().await.expires, Expiry::At(end));
        let again = bench.exchanged().await.given;
        assert_eq!(again.is_err(), single_use);
        bench.set("REFRESH", next.expose());
        assert!(bench.exchanged().await.given.is_ok());
    }
}

#[tokio::test]
async fn a_refusal_of_a_refresh_is_told_with_who_is_at_fault() {
    type Fate = fn(&mut LinkedIn, &str);
    let fates: [Fate; 3] = [
        |page, refresh| page.revoke_refresh(refresh),
        |page, refresh| page.expire_refresh(refresh, NOW - REFRESH_SECONDS),
        |page, _| page.refresh_tokens.clear(),
    ];
    for fate in fates {
        let (bench, _, refresh) = bench().await;
        fate(&mut bench.site.page(), &refresh);
        let dead = bench.exchanged().await.given.expect_err("it is dead");
        assert!(matches!(dead, ExchangeError::Dead(Validity::Revoked(Cause::Unstated), _)), "{dead}");
    }
    let (mut bench, ..) = bench().await;
    bench.site.page().partner = false;
    let error = bench.exchanged().await.given.expect_err("it may not");
    assert!(error.to_string().contains("approved partners"), "{error}");
    assert_eq!(bench.unanswered().await, ("app_fault", false));
    bench.site.page().partner = true;
    bench.set("APP", "anotherSecretOfAnotherApp0001");
    assert_eq!(bench.unanswered().await, ("app_fault", false));
    let secret = bench.site.page().client_secret.clone();
    bench.set("APP", &secret);
    bench.site.page().throttled = true;
    assert_eq!(bench.unanswered().await, ("throttled", false));
    bench.site.page().throttled = false;
    bench.site.lose_answer_once(Said::text(504, "too late"));
    assert_eq!(bench.unanswered().await, ("unavailable", true));
}
