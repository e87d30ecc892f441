//! GitLab. Reference §3.1.

use super::*;
use crate::pages::Said;
use crate::pages::gitlab::{GitLab, Kind};

use tokenwatch::domain::inspection::{Basis, Cause, Expiry, TokenKind, Validity};
use tokenwatch::ports::ExchangeError;

const CONFIG: &str = "[provider.gitlab]\nbase_url = \"{url}\"\n\
    [[tokens]]\nname = \"ci\"\nprovider = \"gitlab\"\nsecret = { env = \"TOKEN\" }\n";
/// 2026-03-01T00:00:00Z, the first moment of the date that the tokens below bear.
const END: i64 = 1_772_323_200;

async fn bench(kind: Kind, scopes: &[&str], expires_at: Option<&str>) -> (Bench<GitLab>, String) {
    bench_with(CONFIG, kind, scopes, expires_at).await
}

async fn bench_with(config: &str, kind: Kind, scopes: &[&str], expires_at: Option<&str>) -> (Bench<GitLab>, String) {
    let mut bench = Bench::new(GitLab::new(), config).await;
    let token = bench.site.page().make(kind, scopes, expires_at, NOW - 86_400);
    bench.set("TOKEN", &token);
    (bench, token)
}

#[tokio::test]
async fn a_token_that_works_tells_all_of_itself() {
    let (bench, token) = bench(Kind::Personal, &["api", "read_user"], Some("2026-03-01")).await;
    let checked = bench.checked().await;
    let facts = checked.outcome.answer.expect("facts");
    assert_eq!((facts.validity, facts.basis), (Validity::Valid, Basis::Told));
    assert_eq!(facts.expires, Expiry::At(Timestamp::from_unix(END)), "it dies as its date begins");
    assert_eq!(facts.issued_at, Some(Timestamp::from_unix(NOW - 86_400)));
    assert_eq!(facts.kind, TokenKind::parse("access_token"));
    assert_eq!(facts.user_id.as_deref(), Some("1"));
    let scopes: Vec<Box<str>> = facts.grants.expect("scopes").into_iter().map(|grant| grant.scope).collect();
    assert_eq!(scopes, ["api".into(), "read_user".into()]);
    assert_eq!(checked.telemetry.usage, [("requests", 1.0 - 7199.0 / 7200.0)]);
    let call = bench.site.calls().pop().expect("a request");
    assert_eq!((&*call.method, &*call.path), ("GET", "/api/v4/personal_access_tokens/self"));
    assert_eq!(call.header("private-token"), Some(&*token));
}

#[tokio::test]
async fn a_token_without_a_date_never_expires() {
    let (bench, _) = bench(Kind::Group(3), &["read_api"], None).await;
    let facts = bench.facts().await;
    assert_eq!((facts.expires, facts.user_id.as_deref()), (Expiry::Never, Some("2000003")));
}

#[tokio::test]
async fn a_dead_token_is_told_as_dead() {
    type Fate = fn(&mut GitLab, &str);
    let rows: [(Fate, bool, Validity, &str); 4] = [
        (|page, token| page.expire(token, NOW), true, Validity::Expired, "Token is expired."),
        (|page, token| page.revoke(token), true, Validity::Revoked(Cause::Unstated), "Token was revoked."),
        // Without an explanation nobody can tell an end from a revocation.
        (|page, token| page.expire(token, NOW), false, Validity::Revoked(Cause::Unstated), "401 Unauthorized"),
        (|page, _| page.tokens.clear(), false, Validity::Revoked(Cause::Unstated), "401 Unauthorized"),
    ];
    for (fate, explains, validity, words) in rows {
        let (bench, token) = bench(Kind::Personal, &["api"], Some("2026-03-01")).await;
        {
            let mut page = bench.site.page();
            page.explains_401 = explains;
            fate(&mut page, &token);
        }
        let checked = bench.checked().await;
        let codes: &[&str] = if explains { &["invalid_token"] } else { &[] };
        assert_eq!(checked.telemetry.error_codes, codes);
        let facts = checked.outcome.answer.expect("facts");
        let told = facts.message.as_deref().unwrap_or_default();
        assert_eq!((facts.validity, told.starts_with(words)), (validity, true), "{told}");
    }
}

#[tokio::test]
async fn a_token_of_another_provider_is_known_by_how_it_begins() {
    let (mut bench, _) = bench(Kind::Personal, &["api"], None).await;
    bench.set("TOKEN", "ghp_SimulatedTokenOfAnotherProvider000000");
    let facts = bench.facts().await;
    let told = facts.message.expect("words");
    assert!(told.ends_with("by how it begins it is one of GitHub (provider = \"github\")"), "{told}");
}

#[tokio::test]
async fn a_refusal_that_is_no_death_is_told_as_what_it_lacks() {
    let (bench, token) = bench(Kind::Personal, &["api"], None).await;
    bench.site.page().token_mut(&token).blocked = true;
    let facts = bench.facts().await;
    assert_eq!((facts.validity, facts.lacking.as_deref()), (Validity::Valid, Some("a user who is not blocked")));
    let scope = "read_api or api, which are needed to look at the token itself";
    for (status, body) in [
        (403, serde_json::json!({ "error": "insufficient_scope", "error_description": "more is needed" })),
        (401, serde_json::json!({ "error": "insufficient_scope" })),
        (403, serde_json::json!({ "message": "403 Forbidden" })),
    ] {
        bench.site.refuse_once(Said::json(status, body));
        let facts = bench.facts().await;
        assert_eq!((facts.validity, facts.lacking.as_deref()), (Validity::Valid, Some(scope)));
    }
}

#[tokio::test]
async fn what_says_nothing_of_the_token_is_no_verdict() {
    let (bench, _) = bench(Kind::Personal, &["api"], None).await;
    bench.site.page().throttled = Some(300);
    assert_eq!(bench.error().await, CheckError::Throttled(Timestamp::from_unix(NOW + 300)));
    bench.site.page().throttled = None;
    bench.site.page().broken = Some(502);
    assert_eq!(bench.error().await.reason(), "unavailable");
    bench.site.page().broken = None;
    // A login page of a proxy is no answer of GitLab.
    for status in [401, 403] {
        bench.site.refuse_once(Said::text(status, "<html>log in first</html>"));
        assert_eq!(bench.error().await.reason(), "garbled");
    }
    // Before 15.5 no token could look at itself.
    bench.site.page().version = (15, 4);
    assert_eq!(bench.error().await.reason(), "refused");
}

#[tokio::test]
async fn an_installation_below_a_path_and_a_check_by_rehearsal_work_as_well() {
    let config = CONFIG.replace("{url}", "{url}/gitlab");
    let (bench, _) = bench_with(&config, Kind::Personal, &["api"], Some("2026-03-01")).await;
    assert_eq!(bench.error().await.reason(), "refused");
    bench.site.page().root = "/gitlab".to_owned();
    let (answer, told) = bench.rehearsed().await;
    assert_eq!(answer.facts.expect("facts").expires, Expiry::At(Timestamp::from_unix(END)));
    let expires = told.iter().find(|line| &*line.what == "expires").expect("it is told");
    assert_eq!(expires.text, "2026-03-01T00:00:00Z");
}

#[tokio::test]
async fn a_rotation_gives_a_token_for_the_wanted_time_and_ends_the_old_one() {
    let (mut bench, token) = bench(Kind::Personal, &["self_rotate"], Some("2026-03-01")).await;
    let given = bench.exchanged().await.given.expect("a token");
    // 90 days from 2026-01-01, unless the parameter says otherwise.
    let end = Timestamp::from_unix(NOW + 90 * 86_400);
    assert_eq!(given.ends, Some(end));
    assert_eq!(bench.site.page().alive(NOW), [given.secret.expose().to_owned()]);
    assert_eq!(bench.facts().await.validity, Validity::Revoked(Cause::Unstated));
    bench.set("TOKEN", given.secret.expose());
    let facts = bench.facts().await;
    assert_eq!((facts.validity, facts.expires), (Validity::Valid, Expiry::At(end)));
    // To rotate with the old one again ends the whole family.
    bench.set("TOKEN", &token);
    let again = bench.exchanged().await.given.expect_err("it is dead");
    assert!(matches!(again, ExchangeError::Dead(Validity::Revoked(Cause::Unstated), _)), "{again}");
    assert!(bench.site.page().alive(NOW).is_empty());
}

#[tokio::test]
async fn a_project_s_token_is_rotated_where_its_project_is() {
    let (bench, _) = bench(Kind::Project(7), &["api"], Some("2026-03-01")).await;
    let error = bench.exchanged().await.given.expect_err("it is of another kind");
    assert!(error.to_string().contains("parameters.rotate_at"), "{error}");
    let config =
        format!("{CONFIG}parameters.rotate_at = \"projects/7/access_tokens\"\nparameters.lifetime = \"30d\"\n");
    let (bench, _) = bench_with(&config, Kind::Project(7), &["api"], Some("2026-03-01")).await;
    let given = bench.exchanged().await.given.expect("a token");
    assert_eq!(given.ends, Some(Timestamp::from_unix(NOW + 30 * 86_400)));
}

#[tokio::test]
async fn an_answer_that_is_lost_may_have_been_carried_out_and_a_refusal_was_not() {
    let (bench, _) = bench(Kind::Personal, &["api"], Some("2026-03-01")).await;
    bench.site.page().rotation_refused = Some(400);
    assert_eq!(bench.unanswered().await, ("refused", false));
    bench.site.page().rotation_refused = None;
    bench.site.page().throttled = Some(60);
    assert_eq!(bench.unanswered().await, ("throttled", false));
    bench.site.page().throttled = None;
    bench.site.refuse_once(Said::text(503, "later"));
    assert_eq!(bench.unanswered().await, ("unavailable", false));
    bench.site.lose_answer_once(Said::text(502, "<html>bad gateway</html>"));
    assert_eq!(bench.unanswered().await, ("unavailable", true));
    // It was carried out: a second try with the same token would end its successor.
    assert_eq!(bench.facts().await.validity, Validity::Revoked(Cause::Unstated));

    let (bench, _) = self::bench(Kind::Personal, &["read_api"], Some("2026-03-01")).await;
    let error = bench.exchanged().await.given.expect_err("it may not");
    assert!(error.to_string().contains("api or self_rotate"), "{error}");
}
