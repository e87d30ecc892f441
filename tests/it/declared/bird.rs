//! Bird's keys, of all three generations.

use tokenwatch::domain::inspection::Expiry;

use super::told::{codes, story, told, words};
use super::*;
use crate::pages::Said;
use crate::pages::bird::{Bird, CHANNELS_READ, Envelope, Role};

const FIRST: &str = "[provider.bird]\nbase_url = \"{url}\"\n\
    [[tokens]]\nname = \"whatsapp\"\nprovider = \"bird\"\nsecret = { env = \"TOKEN\" }\n\
    parameters = { workspace = \"{workspace}\" }\n";
const SECOND: &str = "[provider.bird-bearer]\nbase_url = \"{url}\"\n\
    [[tokens]]\nname = \"whatsapp\"\nprovider = \"bird-bearer\"\nsecret = { env = \"TOKEN\" }\n";
const THIRD: &str = "[[tokens]]\nname = \"whatsapp\"\nprovider = \"bird-platform\"\nsecret = { env = \"TOKEN\" }\n\
    parameters = { host = \"{url}\" }\n";

async fn bench(config: &str, make: impl FnOnce(&mut Bird) -> String) -> (Bench<Bird>, String) {
    let mut page = Bird::new("golden");
    let key = make(&mut page);
    let config = config.replace("{workspace}", &page.workspaces[0]);
    let mut bench = Bench::new(page, &config).await;
    bench.set("TOKEN", &key);
    (bench, key)
}

async fn generation(config: &str) -> (Bench<Bird>, String) {
    bench(config, |page| match config {
        FIRST => page.add_access_key(&[Role::Channels], NOW),
        SECOND => page.add_team_key(true, &[CHANNELS_READ]),
        _ => page.add_platform_key(&[CHANNELS_READ]),
    })
    .await
}

#[tokio::test]
async fn keys_of_each_generation_work_and_nobody_tells_when_they_end() {
    for (config, kind) in [(FIRST, "access_key"), (SECOND, "api_key"), (THIRD, "api_key")] {
        let (bench, _) = generation(config).await;
        let facts = bench.facts().await;
        assert_eq!((facts.expires, facts.kind.as_str(), facts.lacking), (Expiry::Unknown, kind, None));
        let (_, parts) = bench.rehearsed().await;
        let story = story(&parts, &["request", "answer", "means", "expires"]);
        assert!(story.contains("authorization: ***"), "{story}");
    }
    let (bench, _) = generation(FIRST).await;
    bench.site.page().omits_page_token = true;
    assert_eq!(told(&bench.checked().await), "valid");
}

#[tokio::test]
async fn every_answer_is_told_apart() {
    type Change = fn(&mut Bird, &str);
    let rows: [(&str, Change, &str); 6] = [
        ("revoked", |page, key| page.revoke(key), "revoked: unstated"),
        ("throttled", |page, _| page.throttled = Some(5), "throttled"),
        ("broken", |page, _| page.broken = Some(500), "unavailable"),
        ("no JSON in a refusal", |page, _| page.broken = Some(401), "garbled"),
        ("no JSON", |page, _| page.broken = Some(200), "garbled"),
        (
            "without the right",
            |page, _| {
                page.access_keys.iter_mut().for_each(|key| key.roles.clear());
                page.team_keys.iter_mut().for_each(|key| key.scopes.clear());
                page.platform_keys.iter_mut().for_each(|key| key.scopes.clear());
            },
            "forbidden",
        ),
    ];
    for config in [FIRST, SECOND, THIRD] {
        for envelope in [Envelope::Flat, Envelope::Nested] {
            for (what, change, expected) in &rows {
                let (bench, key) = generation(config).await;
                {
                    let mut page = bench.site.page();
                    (page.team_envelope, page.platform_envelope) = (envelope, envelope);
                    change(&mut page, &key);
                }
                let checked = bench.checked().await;
                assert_eq!(told(&checked), *expected, "{what} {envelope:?}: {config} {}", words(&checked));
            }
        }
    }
}

#[tokio::test]
async fn the_codes_of_both_envelopes_are_counted() {
    for (config, envelope, expected) in [
        (SECOND, Envelope::Flat, "authentication_failed"),
        (SECOND, Envelope::Nested, "auth_error"),
        (THIRD, Envelope::Flat, "authentication_failed"),
        (THIRD, Envelope::Nested, "auth_error"),
    ] {
        let (bench, key) = generation(config).await;
        {
            let mut page = bench.site.page();
            (page.team_envelope, page.platform_envelope) = (envelope, envelope);
            page.revoke(&key);
        }
        let checked = bench.checked().await;
        assert_eq!((codes(&checked), words(&checked)), (vec![expected], "unauthorized request".to_owned()));
    }
}

#[tokio::test]
async fn a_workspace_that_is_not_there_says_nothing_of_the_key() {
    let (bench, _) =
        bench(&FIRST.replace("{workspace}", "nonesuch"), |page| page.add_access_key(&[Role::Channels], NOW)).await;
    let checked = bench.checked().await;
    assert_eq!(told(&checked), "refused");
    assert!(words(&checked).contains("`workspace`"), "{}", words(&checked));
}

#[tokio::test]
async fn another_read_can_be_named_where_the_usual_one_is_not_allowed() {
    for (config, own, full) in [(SECOND, "messages/lists", "/v1/messages/lists"), (THIRD, "v2/lists", "/v2/lists")] {
        let (mut bench, key) = generation(config).await;
        {
            let mut page = bench.site.page();
            let scope = || "lists:read".to_owned();
            page.team_reads.insert(full.to_owned(), scope());
            page.platform_reads.insert(full.to_owned(), scope());
            page.team_keys.iter_mut().filter(|it| it.secret == key).for_each(|it| it.scopes = vec![scope()]);
            page.platform_keys.iter_mut().filter(|it| it.secret == key).for_each(|it| it.scopes = vec![scope()]);
        }
        let checked = bench.checked().await;
        assert_eq!(told(&checked), "forbidden");
        assert!(words(&checked).contains("`path`"), "{}", words(&checked));
        bench.config = match config {
            SECOND => format!("{}parameters = {{ path = \"{own}\" }}\n", bench.config),
            _ => bench.config.replace("host =", &format!("path = \"{own}\", host =")),
        };
        assert_eq!(told(&bench.checked().await), "valid", "{full}");
        bench.config = bench.config.replace("lists\"", "nonesuch\"");
        assert_eq!(told(&bench.checked().await), "refused", "what is not there says nothing of the key");
    }
}

#[tokio::test]
async fn the_old_key_of_the_second_generation_lives_for_a_day() {
    let (bench, key) = generation(SECOND).await;
    bench.site.page().replace_team_key(&key, NOW - 86_399);
    assert_eq!(told(&bench.checked().await), "valid");
    bench.site.page().replace_team_key(&key, NOW - 86_400);
    assert_eq!(told(&bench.checked().await), "revoked: unstated");
}

#[tokio::test]
async fn a_key_of_another_region_is_not_called_dead() {
    for envelope in [Envelope::Flat, Envelope::Nested] {
        let (bench, _) = bench(THIRD, |page| page.add_platform_key_of("us1", &[CHANNELS_READ])).await;
        bench.site.page().platform_envelope = envelope;
        let checked = bench.checked().await;
        assert_eq!(told(&checked), "refused");
        assert!(words(&checked).contains("`host`"), "{}", words(&checked));
    }
}

#[tokio::test]
async fn a_key_of_another_generation_is_told_by_how_it_begins() {
    let (mut bench, _) = generation(FIRST).await;
    let (second, third) = {
        let mut page = bench.site.page();
        (page.add_team_key(false, &[CHANNELS_READ]), page.add_platform_key(&[CHANNELS_READ]))
    };
    for (key, name) in [(second, "bird-bearer"), (third, "bird-platform")] {
        bench.set("TOKEN", &key);
        let checked = bench.checked().await;
        assert_eq!(told(&checked), "revoked: unstated");
        assert!(words(&checked).contains(&format!("provider = \"{name}\"")), "{}", words(&checked));
    }
}

#[tokio::test]
async fn what_stands_between_is_no_verdict() {
    for config in [FIRST, SECOND, THIRD] {
        let (bench, _) = generation(config).await;
        for status in [301, 401, 403, 404, 418] {
            bench.site.refuse_once(Said { kind: "text/html", ..Said::text(status, "<html>") });
            assert_eq!(told(&bench.checked().await), "garbled", "{status}");
        }
    }
}
