//! Client secrets of applications in Microsoft Entra. Reference §3.5.

use super::*;
use crate::pages::Said;
use crate::pages::entra::{Entra, Permission};

use tokenwatch::domain::inspection::{Basis, Cause, Expiry, TokenKind, Validity};

const CONFIG: &str = "[provider.entra]\nbase_url = \"{url}\"\n\
    [[tokens]]\nname = \"app\"\nprovider = \"entra\"\nsecret = { env = \"TOKEN\" }\n\
    parameters.authority = \"{url}\"\nparameters.tenant = \"00000000-1111-4222-8333-444444444444\"\n";
const END: i64 = NOW + 180 * 86_400;

/// An application with two secrets, of which the second is watched: the bench, the app's id, and the secret's key id.
async fn bench() -> (Bench<Entra>, String, String) {
    bench_of(Entra::new(), None).await
}

async fn bench_of(mut page: Entra, key_id: Option<&str>) -> (Bench<Entra>, String, String) {
    let app = page.app("watched");
    let _ = page.secret(&app, NOW - 86_400, NOW + 86_400);
    let (key, secret) = page.secret(&app, NOW - 86_400, END);
    let config =
        format!("{CONFIG}parameters.application = \"{app}\"\nparameters.key_id = \"{}\"\n", key_id.unwrap_or(&key));
    let mut bench = Bench::new(page, &config).await;
    bench.set("TOKEN", &secret);
    (bench, app, key)
}

#[tokio::test]
async fn a_secret_that_logs_in_is_found_among_those_of_its_application() {
    for fraction in ["1234567", ""] {
        let mut page = Entra::new();
        page.fraction = fraction.to_owned();
        let (bench, app, _) = bench_of(page, None).await;
        let facts = bench.facts().await;
        assert_eq!((facts.validity, facts.basis), (Validity::Valid, Basis::Told));
        assert_eq!(facts.expires, Expiry::At(Timestamp::from_unix(END)), "the end of this one, not of the other");
        assert_eq!(facts.issued_at, Some(Timestamp::from_unix(NOW - 86_400)));
        assert_eq!((facts.kind, facts.grants), (TokenKind::parse("client_secret"), None));
        let calls = bench.site.calls();
        assert_eq!(calls[0].path, "/00000000-1111-4222-8333-444444444444/oauth2/v2.0/token");
        assert_eq!(calls[0].form("client_id"), Some(app));
        assert_eq!(calls[1].query("$select"), Some("id,appId,displayName,passwordCredentials"));
    }
}

#[tokio::test]
async fn a_secret_that_works_but_is_not_in_the_list_has_no_known_end() {
    let (bench, ..) = bench_of(Entra::new(), Some("00000000-0000-4000-8000-000000000000")).await;
    let (answer, told) = bench.rehearsed().await;
    let facts = answer.facts.expect("facts");
    assert_eq!((facts.validity, facts.expires), (Validity::Valid, Expiry::Unknown));
    assert!(told.iter().any(|line| &*line.what == "entry" && line.text == "not in the list"));
    assert!(told.iter().all(|line| !line.text.contains("eyJ")), "what the login gives is a secret as well");
}

#[tokio::test]
async fn a_dead_secret_is_told_by_the_login() {
    let (bench, app, _) = bench().await;
    for password in &mut bench.site.page().apps.get_mut(&app).expect("the app").passwords {
        password.end = NOW;
    }
    let checked = bench.checked().await;
    assert_eq!(checked.telemetry.error_codes, ["invalid_client"]);
    assert_eq!(checked.outcome.answer.expect("facts").validity, Validity::Expired);
    let (bench, app, key) = self::bench().await;
    bench.site.page().remove(&app, &key);
    let facts = bench.facts().await;
    assert_eq!(facts.validity, Validity::Revoked(Cause::Unstated));
    assert!(facts.message.expect("words").contains("it was removed, or is newer than some minutes"));
}

#[tokio::test]
async fn without_the_right_to_read_it_works_and_tells_no_end() {
    let (bench, app, _) = bench().await;
    bench.site.page().withdraw(&app, Permission::Read);
    let facts = bench.facts().await;
    assert_eq!((facts.validity, facts.expires), (Validity::Valid, Expiry::Unknown));
    assert!(facts.lacking.expect("words").starts_with("Application.Read.All at Microsoft Graph"));
}

#[tokio::test]
async fn what_says_nothing_of_the_secret_is_no_verdict() {
    let (bench, app, _) = bench().await;
    bench.site.page().graph_trouble = Some(Entra::throttled(150));
    assert_eq!(bench.error().await, CheckError::Throttled(Timestamp::from_unix(NOW + 150)));
    bench.site.page().graph_trouble = Some(Entra::server_error());
    assert_eq!(bench.error().await.reason(), "unavailable");
    bench.site.page().graph_trouble = None;
    for (said, reason) in [
        (Said::text(429, ""), "throttled"),
        (Said::text(503, ""), "unavailable"),
        (Said::text(401, "<html>log in first</html>"), "garbled"),
        // A client that may not log in so says nothing of its secret.
        (Said::json(401, serde_json::json!({ "error": "invalid_client", "error_description": "other" })), "refused"),
        (Said::json(200, serde_json::json!({})), "refused"),
    ] {
        bench.site.refuse_once(said);
        assert_eq!(bench.error().await.reason(), reason);
    }
    // A tenant or an application that is not there is a slip in the configuration.
    bench.site.page().tenant = "another".to_owned();
    assert_eq!(bench.error().await.reason(), "refused");
    bench.site.page().tenant = "00000000-1111-4222-8333-444444444444".to_owned();
    bench.site.page().apps.remove(&app);
    assert_eq!(bench.error().await.reason(), "refused");
}
