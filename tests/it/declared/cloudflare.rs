//! Cloudflare's API tokens, of users and of accounts.

use serde_json::json;
use tokenwatch::domain::inspection::Expiry;

use super::told::{codes, given, secret, story, told, words};
use super::*;
use crate::pages::Said;
use crate::pages::cloudflare::{ACCOUNT_ID, Cloudflare, ExpiredAnswer, WINDOW};

const USER: &str = "[provider.cloudflare]\nbase_url = \"{url}\"\n\
    [[tokens]]\nname = \"dns\"\nprovider = \"cloudflare\"\nsecret = { env = \"TOKEN\" }\n";
const ACCOUNT: &str = "[provider.cloudflare-account]\nbase_url = \"{url}\"\n\
    [[tokens]]\nname = \"dns\"\nprovider = \"cloudflare-account\"\nsecret = { env = \"TOKEN\" }\n\
    parameters = { account = \"{account}\" }\n";
const DAY: i64 = 86_400;

/// A page with a token, of a user or of an account.
async fn bench(of_account: bool) -> (Bench<Cloudflare>, String) {
    let mut page = Cloudflare::new();
    let token = if of_account { page.account_token("golden") } else { page.user_token("golden") };
    let config = if of_account { ACCOUNT.replace("{account}", ACCOUNT_ID) } else { USER.to_owned() };
    let mut bench = Bench::new(page, &config).await;
    bench.set("TOKEN", &token);
    (bench, token)
}

/// A page whose token may roll itself.
async fn editor() -> (Bench<Cloudflare>, String) {
    let (mut bench, token) = bench(false).await;
    bench.site.page().token(&token).may_edit_tokens = true;
    let id = bench.site.page().id(&token);
    bench.config += &format!("parameters = {{ token_id = \"{id}\" }}\n");
    (bench, token)
}

#[tokio::test]
async fn every_answer_is_told_apart() {
    type Change = fn(&mut Cloudflare, &str);
    let later = |days: i64| Expiry::At(Timestamp::from_unix(NOW + days * DAY));
    let rows: [(&str, Change, &str, Expiry, &[&str]); 12] = [
        ("without an end", |_, _| (), "valid", Expiry::Never, &[]),
        ("with an end", |page, token| page.expire(token, NOW + DAY), "valid", later(1), &[]),
        ("before its time", |page, token| page.token(token).not_before = Some(NOW + DAY), "valid", Expiry::Never, &[]),
        ("expired", |page, token| page.expire(token, NOW), "expired", Expiry::Unknown, &[]),
        (
            "expired, and refused like a stranger",
            |page, token| {
                page.expire(token, NOW);
                page.expired_answer = ExpiredAnswer::Refused;
            },
            "revoked: unstated",
            Expiry::Unknown,
            &["1000"],
        ),
        ("disabled", |page, token| page.disable(token), "revoked: disabled", Expiry::Unknown, &[]),
        ("deleted", |page, token| page.delete(token), "revoked: unstated", Expiry::Unknown, &["1000"]),
        (
            "deleted, with the other status",
            |page, token| {
                page.delete(token);
                page.refusal_status = 400;
            },
            "revoked: unstated",
            Expiry::Unknown,
            &["1000"],
        ),
        ("blocked", |page, token| page.block(token, NOW), "throttled", Expiry::Unknown, &["other"]),
        ("broken", |page, _| page.trouble = Some(Cloudflare::server_error()), "unavailable", Expiry::Unknown, &[]),
        ("no JSON", |page, _| page.trouble = Some(Said::text(401, "no")), "garbled", Expiry::Unknown, &[]),
        (
            "a status that nobody described",
            |page, _| {
                let body = json!({ "success": true, "errors": [], "messages": [], "result": { "status": "asleep" } });
                page.trouble = Some(Said::json(200, body));
            },
            "refused",
            Expiry::Unknown,
            &[],
        ),
    ];
    for of_account in [false, true] {
        for (what, change, expected, expires, counted) in &rows {
            let (bench, token) = bench(of_account).await;
            change(&mut bench.site.page(), &token);
            let checked = bench.checked().await;
            assert_eq!((&*told(&checked), &*codes(&checked)), (*expected, *counted), "{what}: {}", words(&checked));
            let seen = checked.outcome.answer.as_ref().map_or(Expiry::Unknown, |facts| facts.expires);
            assert_eq!(seen, *expires, "{what}");
        }
    }
}

#[tokio::test]
async fn the_rate_limit_is_read_from_the_drafts_headers() {
    let (bench, token) = bench(false).await;
    bench.site.page().limit = 4;
    let usage = bench.checked().await.telemetry.usage;
    assert_eq!(usage, [("requests", 0.25)]);
    bench.site.page().block(&token, NOW);
    let until = Timestamp::from_unix(NOW + WINDOW);
    assert!(matches!(bench.error().await, CheckError::Throttled(at) if at == until));
}

#[tokio::test]
async fn a_token_of_the_other_owner_is_not_taken() {
    let (mut bench, _) = bench(false).await;
    let other = bench.site.page().account_token("other");
    bench.set("TOKEN", &other);
    let checked = bench.checked().await;
    assert_eq!(told(&checked), "revoked: unstated");
    assert!(words(&checked).contains("belongs to an account"), "{}", words(&checked));
    let older = bench.site.page().older_user_token("older");
    bench.set("TOKEN", &older);
    assert_eq!(told(&bench.checked().await), "valid");
}

#[tokio::test]
async fn a_roll_ends_the_old_value_at_once() {
    let (mut bench, old) = editor().await;
    bench.site.page().expire(&old, NOW + DAY);
    let new = secret(&bench.exchanged().await);
    bench.plant(&new);
    assert_eq!(told(&bench.checked().await), "revoked: unstated", "the old one died");
    assert_eq!(given(&bench.exchanged().await), "dead", "and cannot be rolled again");
    bench.set("TOKEN", &new);
    let facts = bench.facts().await;
    assert_eq!(facts.expires, Expiry::At(Timestamp::from_unix(NOW + DAY)), "its end stays");
    assert_eq!(given(&bench.exchanged().await), "given");
}

#[tokio::test]
async fn a_lost_answer_may_have_ended_the_value() {
    for (status, body) in [(502, ""), (500, "{}"), (200, r#"{"success":true,"result":null}"#)] {
        let (bench, _) = editor().await;
        bench.site.lose_answer_once(Said::text(status, body));
        assert_eq!(given(&bench.exchanged().await), "may be done", "{status}");
        assert_eq!(told(&bench.checked().await), "revoked: unstated", "it was carried out");
    }
}

#[tokio::test]
async fn a_refused_roll_changes_nothing() {
    let (mut bench, token) = editor().await;
    bench.site.page().token(&token).may_edit_tokens = false;
    let exchanged = bench.exchanged().await;
    let text = exchanged.given.as_ref().expect_err("refused").to_string();
    assert!(given(&exchanged) == "not done" && text.contains("edit API tokens"), "{text}");
    bench.site.page().token(&token).may_edit_tokens = true;
    let id = bench.site.page().id(&token);
    bench.config = bench.config.replace(&id, "nonesuch");
    assert_eq!(given(&bench.exchanged().await), "not done", "another token's id");
    bench.config = bench.config.replace("parameters = { token_id = \"nonesuch\" }\n", "");
    let text = bench.exchanged().await.given.expect_err("nothing to ask with").to_string();
    assert!(text.contains("the parameter token_id is not given"), "{text}");
    bench.site.page().trouble = Some(Said::text(503, ""));
    assert_eq!(given(&bench.exchanged().await), "not done");
    bench.site.page().trouble = None;
    assert_eq!(told(&bench.checked().await), "valid");
}

#[tokio::test]
async fn the_story_of_a_check_hides_the_token_and_what_looks_like_one() {
    for of_account in [false, true] {
        let (bench, token) = bench(of_account).await;
        let (_, parts) = bench.rehearsed().await;
        let story = story(&parts, &["request", "answer", "means", "expires"]);
        let id = bench.site.page().id(&token);
        assert!(story.contains("authorization: ***"), "{story}");
        assert!(!story.contains(&id), "32 digits are hidden as what may be a secret");
    }
}
