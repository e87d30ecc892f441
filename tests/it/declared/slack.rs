//! Slack. Reference §3.4.

use super::*;
use crate::pages::Said;
use crate::pages::slack::{ACCESS_SECONDS, Fate, Kind, Slack};

use tokenwatch::domain::inspection::{AppFault, Cause, Expiry, TokenKind, Validity};
use tokenwatch::ports::{ExchangeError, Given};

const CLASSIC: &str = "[provider.slack]\nbase_url = \"{url}\"\n\
    [[tokens]]\nname = \"bot\"\nprovider = \"slack\"\nsecret = { env = \"TOKEN\" }\n";
const ROTATING: &str = "[provider.slack]\nbase_url = \"{url}\"\n\
    [apps.bot]\nprovider = \"slack\"\nid = \"1111111111.2222222222\"\nsecret = { env = \"APP\" }\n\
    [[tokens]]\nname = \"bot\"\nprovider = \"slack\"\napp = \"bot\"\nsecret = { env = \"TOKEN\" }\n\
    parameters.refresh_token = { env = \"REFRESH\" }\n";

/// A classic token, which needs no app.
async fn classic() -> (Bench<Slack>, String) {
    let mut bench = Bench::new(Slack::new(), CLASSIC).await;
    let token = bench.site.page().make_classic(Kind::Bot);
    bench.set("TOKEN", &token);
    (bench, token)
}

/// A rotating token and its refresh token.
async fn rotating(kind: Kind) -> (Bench<Slack>, String, String) {
    let mut bench = Bench::new(Slack::new(), ROTATING).await;
    let (token, refresh) = bench.site.page().make_rotating(kind, NOW);
    let secret = bench.site.page().client_secret.clone();
    for (name, value) in [("TOKEN", &token), ("REFRESH", &refresh), ("APP", &secret)] {
        bench.set(name, value);
    }
    bench.plant(&Slack::bystander());
    (bench, token, refresh)
}

#[tokio::test]
async fn a_classic_token_never_expires_and_needs_no_app() {
    let (bench, token) = classic().await;
    let facts = bench.facts().await;
    assert_eq!((facts.validity, facts.expires), (Validity::Valid, Expiry::Never));
    assert_eq!((facts.kind, facts.user_id.as_deref()), (TokenKind::parse("access_token"), Some("U0SIMULATED")));
    assert_eq!((facts.grants, facts.issued_at), (None, None));
    let call = bench.site.calls().pop().expect("a request");
    assert_eq!((&*call.method, &*call.path, call.bearer()), ("POST", "/api/auth.test", Some(&*token)));
    let (answer, _) = bench.rehearsed().await;
    assert_eq!(answer.facts.expect("facts").expires, Expiry::Never);
}

#[tokio::test]
async fn of_a_rotating_token_the_seconds_left_are_read_where_they_are_told() {
    for kind in [Kind::Bot, Kind::User] {
        let (bench, ..) = rotating(kind).await;
        assert_eq!(bench.facts().await.expires, Expiry::At(Timestamp::from_unix(NOW + ACCESS_SECONDS)));
        bench.site.page().shows_expires_in = false;
        assert_eq!(bench.facts().await.expires, Expiry::Unknown, "silence is no promise");
    }
}

#[tokio::test]
async fn each_word_of_a_refusal_has_its_meaning() {
    let revoked = |cause| Ok(Validity::Revoked(cause));
    for (fate, meaning, code) in [
        (Fate::Revoked, revoked(Cause::Unstated), "token_revoked"),
        (Fate::Inactive, revoked(Cause::AccountClosed), "account_inactive"),
        (Fate::Refused("internal_error".to_owned()), Err("unavailable"), "internal_error"),
        (Fate::Refused("ratelimited".to_owned()), Err("throttled"), "ratelimited"),
        (Fate::Refused("a_new_word".to_owned()), Err("refused"), "other"),
    ] {
        let (bench, token) = classic().await;
        bench.site.page().condemn(&token, fate);
        let checked = bench.checked().await;
        assert_eq!(checked.telemetry.error_codes, [code]);
        let told = checked.outcome.answer.map(|facts| facts.validity).map_err(|error| error.reason());
        assert_eq!(told, meaning, "{code}");
    }
    let (bench, token, _) = rotating(Kind::Bot).await;
    bench.site.page().expire(&token, NOW);
    assert_eq!(bench.facts().await.validity, Validity::Expired);
}

#[tokio::test]
async fn a_word_that_can_mean_a_wrong_address_is_no_proof_of_death() {
    let (bench, _) = classic().await;
    bench.site.page().off_allow_list = true;
    let error = bench.error().await;
    assert!(error.reason() == "refused" && error.to_string().contains("allow list"), "{error}");
}

#[tokio::test]
async fn what_says_nothing_of_the_token_is_no_verdict() {
    let (bench, _) = classic().await;
    bench.site.page().throttled = Some(30);
    assert_eq!(bench.error().await, CheckError::Throttled(Timestamp::from_unix(NOW + 30)));
    bench.site.page().throttled = None;
    bench.site.page().broken = Some(503);
    assert_eq!(bench.error().await.reason(), "unavailable");
    bench.site.page().broken = None;
    bench.site.refuse_once(Said::text(200, "<html>log in first</html>"));
    assert_eq!(bench.error().await.reason(), "garbled");
}

#[tokio::test]
async fn a_refresh_gives_both_tokens_anew() {
    for kind in [Kind::Bot, Kind::User] {
        let (mut bench, old, refresh) = rotating(kind).await;
        let Given { secret, ends, refresh_token } = bench.exchanged().await.given.expect("a token");
        let next = refresh_token.expect("another refresh token");
        assert_eq!(ends, Some(Timestamp::from_unix(NOW + ACCESS_SECONDS)));
        assert!(secret.expose() != old && next.expose() != refresh);
        assert_eq!(bench.facts().await.validity, Validity::Valid, "the old one lives on, as far as is known");
        bench.set("TOKEN", secret.expose());
        assert_eq!(bench.facts().await.validity, Validity::Valid);
        let used_up = bench.exchanged().await.given.expect_err("it serves once");
        assert!(matches!(used_up, ExchangeError::Dead(Validity::Revoked(Cause::Unstated), _)), "{used_up}");
        bench.set("REFRESH", next.expose());
        assert!(bench.exchanged().await.given.is_ok());
    }
}

#[tokio::test]
async fn a_refusal_with_the_status_of_success_is_a_refusal_and_a_lost_answer_is_not() {
    let (mut bench, _, refresh) = rotating(Kind::Bot).await;
    let refused = |error: &str| Said::json(200, serde_json::json!({ "ok": false, "error": error }));
    for (said, reason, may_be_done) in [
        (refused("bad_client_secret"), "app_fault", false),
        (refused("invalid_client_id"), "app_fault", false),
        (refused("ratelimited"), "throttled", false),
        // Nobody knows how far it came before that.
        (refused("internal_error"), "unavailable", true),
        (refused("a_new_word"), "refused", true),
        (Said::text(200, "<html>signed in</html>"), "garbled", true),
        (Said::text(429, "later"), "throttled", false),
        (Said::text(503, "later"), "unavailable", false),
    ] {
        bench.site.refuse_once(said);
        assert_eq!(bench.unanswered().await, (reason, may_be_done));
    }
    bench.set("APP", "anotherSecretOfAnotherApp000001");
    let exchanged = bench.exchanged().await;
    assert_eq!(exchanged.telemetry.error_codes, ["bad_client_secret"]);
    let error = exchanged.given.expect_err("a wrong app");
    let fault =
        |error| matches!(error, ExchangeError::Unanswered { error: CheckError::App(AppFault::WrongSecret, _), .. });
    assert!(fault(error));
    assert!(bench.site.page().refresh_tokens.iter().any(|known| known.text == refresh && !known.revoked));
    let (bench, ..) = rotating(Kind::Bot).await;
    bench.site.lose_answer_once(Said::text(502, "bad gateway"));
    assert_eq!(bench.unanswered().await, ("unavailable", true));
    assert!(matches!(bench.exchanged().await.given, Err(ExchangeError::Dead(..))), "it was used up");
}

#[test]
fn an_app_is_needed_by_a_renewal_only() {
    let token = "[[tokens]]\nname = \"bot\"\nprovider = \"slack\"\nsecret = { file = \"/etc/bot.token\" }\n";
    let renew = "parameters.refresh_token = { file = \"/etc/bot.refresh\" }\nrenew = { before = \"2h\" }\n";
    let app = "[apps.bot]\nprovider = \"slack\"\nid = \"1.2\"\nsecret = { env = \"APP\" }\n";
    let told = |config: &str| settings::from_text(config, "test.toml", &[]).err().map(|faults| faults.to_string());
    assert_eq!(told(token), None);
    let faults = told(&format!("{token}{renew}")).expect("faults");
    assert!(faults.contains("must name an app with a secret: a renewal needs both"), "{faults}");
    assert_eq!(told(&format!("{app}{token}app = \"bot\"\n{renew}")), None);
}
