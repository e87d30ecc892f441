//! Tokens of Vault and of OpenBao.

use tokenwatch::domain::inspection::Expiry;
use tokenwatch::domain::time::Timestamp;

use super::told::{given, secret, story, told, words};
use super::*;
use crate::pages::Said;
use crate::pages::vault::{Flavour, LOOKUP_SELF, RENEW_SELF, Vault};

const CONFIG: &str = "[provider.vault.parameters]\nurl = \"{url}\"\n\
    [[tokens]]\nname = \"robot\"\nprovider = \"vault\"\nsecret = { env = \"TOKEN\" }\n";

const HOUR: i64 = 3600;

async fn bench(make: impl FnOnce(&mut Vault) -> String) -> Bench<Vault> {
    let mut page = Vault::new(Flavour::Vault);
    let token = make(&mut page);
    let mut bench = Bench::new(page, CONFIG).await;
    bench.set("TOKEN", &token);
    bench
}

fn token(bench: &Bench<Vault>) -> String {
    bench.environment[0].1.clone()
}

async fn service() -> Bench<Vault> {
    bench(|page| page.service_token("golden", HOUR, NOW - 600)).await
}

fn scopes(facts: &Inspection) -> Vec<&str> {
    facts.grants.iter().flatten().map(|grant| &*grant.scope).collect()
}

#[tokio::test]
async fn the_end_is_read_in_every_zone_and_none_is_never() {
    for hours in [0, -4, 5] {
        let bench = service().await;
        bench.site.page().offset_hours = hours;
        let facts = bench.facts().await;
        assert_eq!(facts.expires, Expiry::At(Timestamp::from_unix(NOW - 600 + HOUR)), "{hours}");
        assert_eq!(facts.issued_at, Some(Timestamp::from_unix(NOW - 600)));
        assert_eq!((facts.kind.as_str(), scopes(&facts)), ("service", vec!["default", "sample"]));
    }
    let root = bench(|page| page.root_token("golden", NOW)).await.facts().await;
    assert_eq!((root.expires, scopes(&root)), (Expiry::Never, vec!["root"]));
    let batch = bench(|page| page.batch_token("golden", HOUR, NOW)).await.facts().await;
    assert_eq!((batch.kind.as_str(), batch.expires), ("batch", Expiry::At(Timestamp::from_unix(NOW + HOUR))));
}

#[tokio::test]
async fn openbao_is_asked_alike() {
    let mut page = Vault::new(Flavour::OpenBao);
    let token = page.service_token("golden", HOUR, NOW);
    let mut bench = Bench::new(page, &CONFIG.replace("vault", "openbao")).await;
    bench.set("TOKEN", &token);
    assert_eq!(told(&bench.checked().await), "valid");
}

#[tokio::test]
async fn a_bare_refusal_is_no_proof_of_death_and_invalid_token_is() {
    type Change = fn(&mut Vault, &str);
    let rows: [(&str, Change, &str); 9] = [
        ("as it is", |_, _| (), "valid"),
        ("revoked", |page, token| page.revoke(token), "refused"),
        ("denied", |page, token| page.deny(token, LOOKUP_SELF), "refused"),
        ("another namespace", |page, _| page.namespace = Some("team".to_owned()), "refused"),
        (
            "dead, as newer servers say it",
            |page, _| page.trouble = Some(denied("2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n")),
            "revoked: unstated",
        ),
        ("sealed", |page, _| page.trouble = Some(Vault::sealed()), "unavailable"),
        ("throttled", |page, _| page.trouble = Some(Vault::throttled(Some(7))), "throttled"),
        ("broken", |page, _| page.trouble = Some(Vault::server_error()), "unavailable"),
        ("something else", |page, _| page.trouble = Some(Said::json(200, serde_json::json!({}))), "refused"),
    ];
    for (what, change, expected) in rows {
        let bench = service().await;
        change(&mut bench.site.page(), &token(&bench));
        let checked = bench.checked().await;
        assert_eq!(told(&checked), expected, "{what}: {}", words(&checked));
    }
    let bench = service().await;
    bench.site.page().trouble = Some(Vault::sealed());
    assert!(words(&bench.checked().await).contains("Vault is sealed"));
    bench.site.page().trouble = Some(Vault::throttled(Some(7)));
    let until = Timestamp::from_unix(NOW + 7);
    assert!(matches!(bench.error().await, CheckError::Throttled(at) if at == until));
}

fn denied(text: &str) -> Said {
    Said::json(403, serde_json::json!({ "errors": [text] }))
}

/// The header is sent where it is given, and left out where it is not.
#[tokio::test]
async fn a_namespace_is_named_where_there_is_one() {
    let mut bench = service().await;
    bench.facts().await;
    let named = |bench: &Bench<Vault>| {
        bench.site.calls().last().and_then(|asked| asked.header("x-vault-namespace").map(str::to_owned))
    };
    assert_eq!(named(&bench), None);
    bench.site.page().namespace = Some("team/a".to_owned());
    bench.config += "parameters = { namespace = \"team/a\" }\n";
    assert_eq!(told(&bench.checked().await), "valid");
    assert_eq!(named(&bench).as_deref(), Some("team/a"));
    assert_eq!(given(&bench.exchanged().await), "given");
    assert_eq!(named(&bench).as_deref(), Some("team/a"));
}

#[tokio::test]
async fn a_renewal_keeps_the_token_and_moves_its_end() {
    let mut bench = service().await;
    let old = token(&bench);
    let end = |exchanged: &Exchanged| exchanged.given.as_ref().expect("given").ends;
    let first = bench.exchanged().await;
    assert_eq!((secret(&first), end(&first)), (old.clone(), Some(Timestamp::from_unix(NOW + HOUR))));
    assert_eq!(bench.facts().await.expires, Expiry::At(Timestamp::from_unix(NOW + HOUR)));
    bench.config += "parameters = { increment = \"2h\" }\n";
    let second = bench.exchanged().await;
    assert_eq!(end(&second), Some(Timestamp::from_unix(NOW + 2 * HOUR)));
    // At its limit it is given no more, and what was given is told.
    bench.site.page().token(&old).explicit_max_ttl = 600 + 9_000;
    assert_eq!(end(&bench.exchanged().await), Some(Timestamp::from_unix(NOW + 2 * HOUR)));
    bench.config = bench.config.replace("2h", "4h");
    assert_eq!(end(&bench.exchanged().await), Some(Timestamp::from_unix(NOW + 9_000)));
    bench.site.lose_answer_once(Said::text(502, ""));
    assert_eq!(given(&bench.exchanged().await), "may be done");
    assert_eq!(told(&bench.checked().await), "valid", "and no harm was done");
}

#[tokio::test]
async fn a_periodic_token_gets_its_period_whatever_is_asked() {
    let mut bench = bench(|page| page.periodic_token("golden", HOUR, NOW - 60)).await;
    bench.config += "parameters = { increment = \"24h\" }\n";
    let ends = bench.exchanged().await.given.expect("given").ends;
    assert_eq!(ends, Some(Timestamp::from_unix(NOW + HOUR)));
}

#[tokio::test]
async fn what_cannot_be_renewed_is_told_in_the_servers_words() {
    let batch = bench(|page| page.batch_token("golden", HOUR, NOW)).await;
    let exchanged = batch.exchanged().await;
    let text = exchanged.given.as_ref().expect_err("refused").to_string();
    assert!(given(&exchanged) == "not done" && text.contains("batch tokens cannot be renewed"), "{text}");
    assert_eq!(told(&batch.checked().await), "valid");
    let root = bench(|page| page.root_token("golden", NOW)).await;
    assert_eq!(given(&root.exchanged().await), "not done");
    let barred = service().await;
    barred.site.page().deny(&token(&barred), RENEW_SELF);
    assert_eq!(given(&barred.exchanged().await), "not done");
    assert_eq!(told(&barred.checked().await), "valid");
    barred.site.refuse_once(denied("invalid token"));
    assert_eq!(given(&barred.exchanged().await), "dead");
    barred.site.page().trouble = Some(Vault::sealed());
    assert_eq!(given(&barred.exchanged().await), "not done");
}

/// The answer holds the token itself as `data.id`; the harness looks for it in all that is told.
#[tokio::test]
async fn the_story_of_a_check_hides_the_token() {
    let bench = service().await;
    let (_, parts) = bench.rehearsed().await;
    let story = story(&parts, &["request", "answer", "means", "expires", "scopes"]);
    assert!(story.contains("x-vault-token: ***") && story.contains("\"creation_ttl\": 3600"), "{story}");
}

#[tokio::test]
async fn a_check_spends_a_use_where_uses_are_counted() {
    let bench = service().await;
    bench.site.page().token(&token(&bench)).num_uses = 2;
    assert_eq!(told(&bench.checked().await), "valid");
    assert_eq!(bench.site.page().token(&token(&bench)).num_uses, 1);
}
