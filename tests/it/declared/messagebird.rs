//! MessageBird's legacy keys.

use serde_json::json;
use tokenwatch::domain::inspection::Expiry;

use super::told::{codes, story, told, words};
use super::*;
use crate::pages::Said;
use crate::pages::messagebird::{Codes, KeyKind, Messagebird};

const CONFIG: &str = "[provider.messagebird]\nbase_url = \"{url}\"\n\
    [[tokens]]\nname = \"sms\"\nprovider = \"messagebird\"\nsecret = { env = \"TOKEN\" }\n";

async fn bench(make: impl FnOnce(&mut Messagebird) -> String) -> (Bench<Messagebird>, String) {
    let mut page = Messagebird::new("golden");
    let key = make(&mut page);
    let mut bench = Bench::new(page, CONFIG).await;
    bench.set("TOKEN", &key);
    (bench, key)
}

async fn live() -> (Bench<Messagebird>, String) {
    bench(|page| page.add_key(KeyKind::Live)).await
}

#[tokio::test]
async fn keys_of_every_shape_work_and_never_end() {
    let makers: [fn(&mut Messagebird) -> String; 4] = [
        |page| page.add_key(KeyKind::Live),
        |page| page.add_key(KeyKind::Test),
        |page| page.add_prefixed_key(KeyKind::Live),
        |page| page.add_prefixed_key(KeyKind::Test),
    ];
    for make in makers {
        let (bench, _) = bench(make).await;
        let facts = bench.facts().await;
        assert_eq!((facts.expires, facts.kind.as_str(), facts.grants), (Expiry::Never, "api_key", None));
    }
    let (bench, _) = live().await;
    bench.site.page().amount = -0.5;
    let (_, parts) = bench.rehearsed().await;
    assert!(story(&parts, &["request", "answer", "means", "expires"]).contains("\"amount\": -0.5"));
}

#[tokio::test]
async fn every_answer_is_told_apart() {
    type Change = fn(&mut Messagebird, &str);
    let rows: [(&str, Change, &str, &[&str]); 9] = [
        ("deleted", |page, key| page.revoke(key), "revoked: unstated", &["2"]),
        (
            "deleted, with the other code",
            |page, key| {
                page.revoke(key);
                page.codes = Codes::Voice;
            },
            "revoked: unstated",
            &["15"],
        ),
        ("throttled", |page, _| page.throttled = true, "throttled", &["other"]),
        (
            "throttled, with headers",
            |page, _| (page.throttled, page.rate_headers) = (true, true),
            "throttled",
            &["other"],
        ),
        ("broken", |page, _| page.broken = Some(500), "unavailable", &[]),
        ("no JSON in a refusal", |page, _| page.broken = Some(401), "garbled", &[]),
        ("no JSON", |page, _| page.broken = Some(200), "garbled", &[]),
        ("a page on the way", |page, _| page.broken = Some(403), "garbled", &[]),
        ("gone", |page, _| page.broken = Some(404), "garbled", &[]),
    ];
    for (what, change, expected, counted) in rows {
        let (bench, key) = live().await;
        change(&mut bench.site.page(), &key);
        let checked = bench.checked().await;
        assert_eq!((&*told(&checked), &*codes(&checked)), (expected, counted), "{what}: {}", words(&checked));
        assert!(checked.telemetry.usage.is_empty(), "no header of a limit is documented");
    }
}

#[tokio::test]
async fn codes_that_nobody_knows_do_not_hide_a_refusal() {
    let error = |code: u32| json!({ "errors": [{ "code": code, "description": "x", "parameter": null }] });
    let rows = [
        (401, error(99), "revoked: unstated", "other"),
        (401, error(11), "refused", "11"),
        (404, error(20), "refused", "20"),
        (403, error(2), "refused", "2"),
    ];
    for (status, body, expected, code) in rows {
        let (bench, _) = live().await;
        bench.site.refuse_once(Said::json(status, body));
        let checked = bench.checked().await;
        assert_eq!((&*told(&checked), &*codes(&checked)), (expected, &[code][..]), "{status}");
    }
    let (bench, key) = live().await;
    bench.site.page().revoke(&key);
    assert_eq!(words(&bench.checked().await), "Request not allowed (incorrect access_key)");
}
