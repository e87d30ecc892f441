//! 360dialog's API keys.

use tokenwatch::domain::inspection::Expiry;
use tokenwatch::domain::number::{Entity, Sending};

use super::told::{codes, given, number, secret, story, told, words};
use super::*;
use crate::pages::Said;
use crate::pages::dialog360::{Dialog360, Envelope, OldKeys, Trouble};

const CONFIG: &str = "[provider.360dialog]\nbase_url = \"{url}\"\nparameters = { hub_url = \"{url}\" }\n\
    [[tokens]]\nname = \"number\"\nprovider = \"360dialog\"\nsecret = { env = \"TOKEN\" }\n";

/// A page with one number, and the id of its channel.
async fn bench() -> (Bench<Dialog360>, String) {
    let mut page = Dialog360::new("golden");
    let (channel, key) = page.add_channel();
    let mut bench = Bench::new(page, CONFIG).await;
    bench.set("TOKEN", &key);
    (bench, channel)
}

/// The same with all that a rotation needs.
async fn partner() -> (Bench<Dialog360>, String) {
    let (mut bench, channel) = bench().await;
    let (partner, key) = {
        let page = bench.site.page();
        (page.partner.clone(), page.partner_key.clone().expect("a key"))
    };
    bench.set("PARTNER", &key);
    bench.config += &format!(
        "parameters = {{ partner = \"{partner}\", channel = \"{channel}\", partner_key = {{ env = \"PARTNER\" }} }}\n"
    );
    (bench, channel)
}

#[tokio::test]
async fn a_key_never_ends() {
    let (bench, _) = bench().await;
    let facts = bench.facts().await;
    assert_eq!((facts.expires, facts.kind.as_str(), facts.grants), (Expiry::Never, "api_key", None));
    let (_, parts) = bench.rehearsed().await;
    let story = story(&parts, &["request", "answer", "means", "expires"]);
    assert!(story.contains("d360-api-key: ***") && story.contains("/health_status\n"), "{story}");
}

#[tokio::test]
async fn a_number_that_is_blocked_has_a_key_that_is_fine() {
    for (word, part, sending, entity) in [
        ("AVAILABLE", "WABA", Sending::Available, None),
        ("LIMITED", "PHONE_NUMBER", Sending::Limited, Some(Entity::Number)),
        ("BLOCKED", "WABA", Sending::Blocked, Some(Entity::Account)),
        ("BLOCKED", "BUSINESS", Sending::Blocked, Some(Entity::Business)),
        ("BLOCKED", "APP", Sending::Blocked, Some(Entity::App)),
    ] {
        let (bench, channel) = bench().await;
        bench.site.page().set_health(&channel, part, word);
        let checked = bench.checked().await;
        let number = number(&checked).expect("asked").expect("a number");
        assert_eq!((told(&checked).as_str(), number.can_send()), ("valid", Some(sending)), "{part} {word}");
        let ways = number.in_the_way();
        let seen = ways.first().map(|way| (way.entity, way.code, &*way.description, &*way.solution));
        let text = ("Messaging is restricted", "See the account's status");
        assert_eq!(seen, entity.map(|entity| (entity, Some(141_010), text.0, text.1)));
    }
}

#[tokio::test]
async fn a_key_that_is_not_known_is_dead_however_that_is_spelled() {
    for envelope in [Envelope::Error, Envelope::MetaSnake, Envelope::MetaCamel] {
        for code in [401, 404] {
            let (bench, channel) = bench().await;
            {
                let mut page = bench.site.page();
                (page.envelope, page.unauthorized_code) = (envelope, code);
                page.revoke_keys(&channel);
            }
            let checked = bench.checked().await;
            assert_eq!(told(&checked), "revoked: unstated", "{envelope:?} {code}");
            assert!(number(&checked).is_none(), "a number is asked about with a key that works only");
        }
    }
}

#[tokio::test]
async fn no_other_trouble_is_taken_for_a_dead_key() {
    let rows: [(Trouble, &str, &[&str]); 14] = [
        (Trouble::ApiDisabled, "refused", &[]),
        (Trouble::RateLimited(10), "throttled", &[]),
        (Trouble::Unpaid, "refused", &[]),
        (Trouble::PathBlocked, "refused", &[]),
        (Trouble::Integrity(368), "refused", &["368"]),
        (Trouble::TooMany, "throttled", &[]),
        (Trouble::TooManyPlain, "throttled", &[]),
        (Trouble::Internal, "unavailable", &[]),
        (Trouble::Unavailable, "unavailable", &[]),
        (Trouble::Meta(400, 100), "refused", &["100"]),
        (Trouble::Meta(401, 190), "refused", &["190"]),
        (Trouble::Meta(400, 7), "refused", &["other"]),
        (Trouble::Odd(401), "garbled", &[]),
        (Trouble::Odd(200), "garbled", &[]),
    ];
    let ways =
        [(Envelope::Error, true), (Envelope::Error, false), (Envelope::MetaSnake, true), (Envelope::MetaCamel, false)];
    for (trouble, expected, counted) in rows {
        // Nobody knows whether the key is looked at before such trouble or after it.
        for (envelope, before) in ways {
            let (bench, channel) = bench().await;
            {
                let mut page = bench.site.page();
                page.envelope = envelope;
                if before {
                    page.trouble = Some(trouble.clone());
                } else {
                    page.channel_mut(&channel).trouble = Some(trouble.clone());
                }
            }
            let checked = bench.checked().await;
            let seen = (&*told(&checked), &*codes(&checked));
            assert_eq!(seen, (expected, counted), "{trouble:?} {envelope:?}: {}", words(&checked));
        }
    }
    let (bench, _) = bench().await;
    bench.site.page().trouble = Some(Trouble::Unpaid);
    assert!(words(&bench.checked().await).contains("unpaid invoices"), "its own words are told");
}

#[tokio::test]
async fn a_new_key_ends_the_old_one_at_once() {
    let (mut bench, channel) = partner().await;
    let new = secret(&bench.exchanged().await);
    bench.plant(&new);
    assert_eq!(told(&bench.checked().await), "revoked: unstated", "the old one died");
    // The partner's key asks, so that even a dead key can be replaced, and a second wish ends the first one's key.
    let second = secret(&bench.exchanged().await);
    assert_ne!(second, new);
    bench.set("TOKEN", &new);
    assert_eq!(told(&bench.checked().await), "revoked: unstated");
    bench.set("TOKEN", &second);
    assert_eq!(told(&bench.checked().await), "valid");
    bench.site.page().old_keys = OldKeys::Kept;
    assert_eq!(given(&bench.exchanged().await), "given");
    assert_eq!(bench.site.page().channel_mut(&channel).keys.len(), 2);
}

#[tokio::test]
async fn a_lost_answer_may_have_ended_the_key() {
    let (bench, _) = partner().await;
    for (status, body) in [(502, ""), (500, ""), (201, "{}"), (200, "<html>")] {
        bench.site.lose_answer_once(Said::text(status, body));
        assert_eq!(given(&bench.exchanged().await), "may be done", "{status}");
    }
    assert_eq!(told(&bench.checked().await), "revoked: unstated", "it was carried out");
}

#[tokio::test]
async fn a_refusal_of_the_hub_says_nothing_of_the_key() {
    type Change = fn(&mut Dialog360, &str);
    let rows: [(&str, Change, &str); 5] = [
        ("the partner's key is dead", |page, _| page.partner_key = None, "not done"),
        ("the channel is not shared", |page, channel| page.channel_mut(channel).shared = false, "not done"),
        ("another partner", |page, _| page.partner = "OTHERPA".to_owned(), "not done"),
        ("the hub takes nothing now", |page, _| page.hub_broken = Some(503), "not done"),
        ("the hub is broken", |page, _| page.hub_broken = Some(500), "may be done"),
    ];
    for (what, change, expected) in rows {
        let (bench, channel) = partner().await;
        change(&mut bench.site.page(), &channel);
        assert_eq!(given(&bench.exchanged().await), expected, "{what}");
        assert_eq!(told(&bench.checked().await), "valid", "{what}");
    }
    let (bench, _) = bench().await;
    let exchanged = bench.exchanged().await;
    let text = exchanged.given.as_ref().expect_err("nothing to ask with").to_string();
    assert!(given(&exchanged) == "not done" && text.contains("the parameter partner is not given"), "{text}");
}
