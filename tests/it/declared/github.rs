//! GitHub. Reference §3.2.

use super::*;
use crate::pages::Said;
use crate::pages::github::{GitHub, Kind, Layout, Limited};

use tokenwatch::domain::inspection::{Basis, Cause, Expiry, TokenKind, Validity};

const CONFIG: &str = "[provider.github]\nbase_url = \"{url}\"\n\
    [[tokens]]\nname = \"ci\"\nprovider = \"github\"\nsecret = { env = \"TOKEN\" }\n";
const END: i64 = NOW + 30 * 86_400;

async fn bench(kind: Kind, expires_at: Option<i64>) -> (Bench<GitHub>, String) {
    let mut bench = Bench::new(GitHub::new(), CONFIG).await;
    let token = bench.site.page().make(kind, expires_at);
    bench.set("TOKEN", &token);
    (bench, token)
}

#[tokio::test]
async fn the_end_is_read_in_every_layout() {
    for layout in [Layout::ZoneName, Layout::Offset(-420), Layout::Offset(330)] {
        let (bench, token) = bench(Kind::FineGrained, Some(END)).await;
        bench.site.page().layout = layout;
        let checked = bench.checked().await;
        let facts = checked.outcome.answer.expect("facts");
        assert_eq!((facts.validity, facts.basis), (Validity::Valid, Basis::Told));
        assert_eq!(facts.expires, Expiry::At(Timestamp::from_unix(END)), "{layout:?}");
        assert_eq!((facts.kind, facts.user_id.as_deref()), (TokenKind::parse("access_token"), Some("1")));
        assert_eq!((facts.grants, facts.issued_at), (None, None));
        assert_eq!(checked.telemetry.usage, [("requests", 1.0 - 4999.0 / 5000.0)]);
        let call = bench.site.calls().pop().expect("a request");
        assert_eq!((&*call.method, &*call.path, call.bearer()), ("GET", "/user", Some(&*token)));
        assert_eq!(call.header("x-github-api-version"), Some("2022-11-28"));
    }
}

#[tokio::test]
async fn without_the_header_a_personal_token_never_ends_and_an_app_s_ends_some_time() {
    for (kind, expires_at, expires) in [
        (Kind::Classic, None, Expiry::Never),
        (Kind::FineGrained, None, Expiry::Never),
        (Kind::OAuth, None, Expiry::Never),
        (Kind::AppUser, Some(NOW + 8 * 3600), Expiry::Unknown),
    ] {
        let (bench, _) = bench(kind, expires_at).await;
        assert_eq!(bench.facts().await.expires, expires, "{kind:?}");
    }
}

#[tokio::test]
async fn a_dead_token_is_told_as_dead() {
    let (bench, token) = bench(Kind::Classic, Some(END)).await;
    bench.site.page().revoke(&token);
    let facts = bench.facts().await;
    assert_eq!(facts.validity, Validity::Revoked(Cause::Unstated));
    assert_eq!(facts.message.as_deref(), Some("Bad credentials"));
    let (bench, token) = self::bench(Kind::Classic, Some(END)).await;
    bench.site.page().expire(&token, NOW);
    assert_eq!(bench.facts().await.validity, Validity::Revoked(Cause::Unstated), "GitHub does not tell which");
}

#[tokio::test]
async fn a_refusal_that_is_no_death_is_told_as_what_it_lacks() {
    let (bench, token) = bench(Kind::Classic, None).await;
    bench.site.page().suspend(&token);
    let facts = bench.facts().await;
    assert_eq!((facts.validity, facts.lacking.as_deref()), (Validity::Valid, Some("a user who is not suspended")));
    let (bench, _) = self::bench(Kind::Installation, Some(END)).await;
    let facts = bench.facts().await;
    assert!(facts.validity == Validity::Valid && facts.lacking.expect("words").contains("an installation"));
}

#[tokio::test]
async fn limits_and_troubles_say_nothing_of_the_token() {
    let (bench, _) = bench(Kind::Classic, None).await;
    let hour = Timestamp::from_unix(NOW + 3600);
    let minute = Timestamp::from_unix(NOW + 90);
    for (limited, until) in [
        (Limited::Primary(403), hour),
        (Limited::Primary(429), hour),
        (Limited::Secondary(403, 90), minute),
        (Limited::Secondary(429, 90), minute),
    ] {
        bench.site.page().limited = Some(limited);
        assert_eq!(bench.error().await, CheckError::Throttled(until), "{limited:?}");
    }
    bench.site.page().limited = None;
    bench.site.page().broken = Some(502);
    assert_eq!(bench.error().await.reason(), "unavailable");
    bench.site.page().broken = None;
    let page = "Request forbidden by administrative rules.";
    for (said, reason) in [
        (Said::text(403, page), "garbled"),
        (Said::text(401, page), "garbled"),
        (Said::json(401, serde_json::json!({ "message": "Requires authentication" })), "refused"),
        (Said::json(404, serde_json::json!({ "message": "Not Found" })), "refused"),
    ] {
        bench.site.refuse_once(said);
        assert_eq!(bench.error().await.reason(), reason);
    }
}

#[tokio::test]
async fn a_rehearsal_shows_what_was_read_and_no_token() {
    let (bench, _) = bench(Kind::FineGrained, Some(END)).await;
    let (answer, told) = bench.rehearsed().await;
    assert_eq!(answer.facts.expect("facts").expires, Expiry::At(Timestamp::from_unix(END)));
    let request = told.iter().find(|line| &*line.what == "request").expect("it is told");
    assert!(request.text.contains("authorization: ***"), "{}", request.text);
}
