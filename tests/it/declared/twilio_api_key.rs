//! Twilio's API keys.

use tokenwatch::domain::inspection::Expiry;
use tokenwatch::domain::number::{NumberError, Sending};

use super::told::{codes, number, story, told, words};
use super::*;
use crate::pages::twilio::{AccountStatus, KeyKind, READ_MESSAGES, READ_SENDERS, Twilio};

const CONFIG: &str = "[provider.twilio-api-key]\nbase_url = \"{url}\"\n\
    [[tokens]]\nname = \"whatsapp\"\nprovider = \"twilio-api-key\"\nsecret = { env = \"TOKEN\" }\n\
    parameters = { key = \"{key}\", sender = \"+15005550001\" }\n";

async fn bench(make: impl FnOnce(&mut Twilio) -> (String, String)) -> Bench<Twilio> {
    let mut page = Twilio::new("golden", NOW - 86_400);
    let (sid, secret) = make(&mut page);
    let (token, config) = (page.primary.clone(), CONFIG.replace("{key}", &sid));
    let mut bench = Bench::new(page, &config).await;
    bench.plant(&token);
    bench.set("TOKEN", &secret);
    bench
}

async fn standard() -> Bench<Twilio> {
    bench(|page| page.add_key(KeyKind::Standard, "standard", NOW)).await
}

#[tokio::test]
async fn each_kind_of_key_is_checked_where_it_may_look() {
    type Make = fn(&mut Twilio) -> (String, String);
    let rows: [(&str, Make, &str); 4] = [
        ("main", |page| page.add_key(KeyKind::Main, "main", NOW), "valid"),
        ("standard", |page| page.add_key(KeyKind::Standard, "standard", NOW), "valid"),
        ("restricted to it", |page| page.add_restricted_key(&[READ_SENDERS], NOW), "valid"),
        ("restricted to other things", |page| page.add_restricted_key(&[READ_MESSAGES], NOW), "forbidden"),
    ];
    for (what, make, expected) in rows {
        let checked = bench(make).await.checked().await;
        assert_eq!(told(&checked), expected, "{what}");
        let facts = checked.outcome.answer.expect("facts");
        assert_eq!(facts.kind.as_str(), "api_key");
        assert_eq!(facts.expires, if expected == "valid" { Expiry::Never } else { Expiry::Unknown });
        assert_eq!(facts.lacking.is_some_and(|lacking| lacking.contains("senders")), expected == "forbidden");
    }
}

#[tokio::test]
async fn every_answer_is_told_apart() {
    type Change = fn(&mut Twilio, &str);
    let rows: [(&str, Change, &str, &[&str]); 6] = [
        ("deleted", |page, key| page.delete_key(key), "revoked: unstated", &["20003"]),
        (
            "of another region",
            |page, key| page.keys.get_mut(key).expect("a key").elsewhere = true,
            "revoked: unstated",
            &["20003"],
        ),
        ("suspended", |page, _| page.status = AccountStatus::Suspended, "revoked: unstated", &["20003"]),
        ("throttled", |page, _| page.throttled = Some(100), "throttled", &["20429"]),
        ("broken", |page, _| page.broken = Some(502), "unavailable", &[]),
        ("no JSON", |page, _| page.broken = Some(200), "garbled", &[]),
    ];
    for (what, change, expected, counted) in rows {
        let bench = standard().await;
        let key = bench.site.page().keys.keys().next().expect("a key").clone();
        change(&mut bench.site.page(), &key);
        let checked = bench.checked().await;
        assert_eq!((&*told(&checked), &*codes(&checked)), (expected, counted), "{what}: {}", words(&checked));
    }
}

#[tokio::test]
async fn the_number_of_a_sender_is_read_with_a_key() {
    let bench = standard().await;
    assert!(matches!(number(&bench.checked().await), Some(Err(NumberError::Missing(_)))));
    bench.site.page().add_sender("ONLINE");
    bench.site.page().add_sender("OFFLINE");
    let seen = number(&bench.checked().await).expect("asked").expect("a number");
    assert_eq!((seen.sending, seen.display.as_deref()), (Some(Sending::Blocked), Some("whatsapp:+15005550001")));
    let (_, parts) = bench.rehearsed().await;
    let story = story(&parts, &["request", "answer", "means", "expires"]);
    assert!(story.contains("PageSize=1\n"), "{story}");
}

#[tokio::test]
async fn the_other_of_the_two_identifiers_is_refused_before_anybody_is_asked() {
    let config = CONFIG.replace("{url}", "https://example.com").replace("{key}", "AC00000000000000000000000000000000");
    let faults = settings::from_text(&config, "test.toml", &[]).expect_err("faults");
    assert!(faults.to_string().contains("must begin with SK"), "{faults}");
}
