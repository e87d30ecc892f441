//! Docker Hub's access tokens.

use tokenwatch::domain::inspection::Expiry;

use super::told::{story, told, words};
use super::*;
use crate::pages::Said;
use crate::pages::dockerhub::{DockerHub, ORGANIZATION, USER};

const CONFIG: &str = "[provider.docker-hub]\nbase_url = \"{url}\"\n\
    [[tokens]]\nname = \"pull\"\nprovider = \"docker-hub\"\nsecret = { env = \"TOKEN\" }\n\
    parameters = { user = \"sampleuser\", label = \"robot\" }\n";
const DAY: i64 = 86_400;
/// How the head of every JWT of the page begins: none of them may be told.
const JWT: &str = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9";

async fn bench(expires_at: Option<i64>) -> (Bench<DockerHub>, String) {
    let mut page = DockerHub::new();
    page.personal_token("laptop", Some(NOW + 999 * DAY), NOW - DAY);
    let token = page.personal_token("robot", expires_at, NOW - DAY);
    let mut bench = Bench::new(page, CONFIG).await;
    bench.set("TOKEN", &token);
    bench.plant(JWT);
    (bench, token)
}

#[tokio::test]
async fn the_entry_of_that_label_tells_of_the_token() {
    let (dated, _) = bench(Some(NOW + DAY)).await;
    let facts = dated.facts().await;
    assert_eq!(facts.expires, Expiry::At(Timestamp::from_unix(NOW + DAY)));
    assert_eq!((facts.issued_at, facts.kind.as_str()), (Some(Timestamp::from_unix(NOW - DAY)), "access_token"));
    let scopes: Vec<_> = facts.grants.iter().flatten().map(|grant| grant.scope.to_string()).collect();
    assert_eq!(scopes, ["repo:read"]);
    let (endless, _) = bench(None).await;
    assert_eq!(endless.facts().await.expires, Expiry::Never);
    let (_, parts) = endless.rehearsed().await;
    let story = story(&parts, &["request", "answer", "means", "entry", "expires"]);
    assert!(story.contains("page_size=100") && story.contains("found"), "{story}");
}

#[tokio::test]
async fn every_answer_is_told_apart() {
    type Change = fn(&mut DockerHub, &str);
    let rows: [(&str, Change, &str); 8] = [
        ("inactive", |page, token| page.deactivate(token), "revoked: unstated"),
        ("expired", |page, token| page.expire(token, NOW), "revoked: unstated"),
        ("deleted", |page, token| page.delete(token), "revoked: unstated"),
        ("throttled", |page, _| page.trouble = Some(DockerHub::throttled(Some(9))), "throttled"),
        ("broken", |page, _| page.trouble = Some(DockerHub::server_error()), "unavailable"),
        ("no JSON", |page, _| page.trouble = Some(Said::text(401, "no")), "garbled"),
        // A rule of the list must not praise what something before the login refuses.
        ("a proxy", |page, _| page.trouble = Some(Said::text(403, "<html>no</html>")), "garbled"),
        ("a login without a token", |page, _| page.trouble = Some(Said::text(200, "{}")), "refused"),
    ];
    for (what, change, expected) in rows {
        let (bench, token) = bench(None).await;
        change(&mut bench.site.page(), &token);
        let checked = bench.checked().await;
        assert_eq!(told(&checked), expected, "{what}: {}", words(&checked));
    }
}

#[tokio::test]
async fn a_list_that_is_refused_after_a_login_says_nothing_of_the_token() {
    // The login is well, and what it gave is not taken.
    let (bench, _) = bench(None).await;
    bench.site.page().bearer_lifetime = 0;
    assert_eq!(told(&bench.checked().await), "refused");
}

#[tokio::test]
async fn a_label_that_is_not_on_the_page_leaves_the_end_unknown() {
    let (mut bench, _) = bench(Some(NOW + DAY)).await;
    bench.config = bench.config.replace("robot", "nonesuch");
    let facts = bench.facts().await;
    assert_eq!((facts.expires, facts.issued_at, facts.grants), (Expiry::Unknown, None, None));
    for index in 0..100 {
        bench.site.page().personal_token(&format!("filler {index}"), None, NOW);
    }
    for (label, expires) in [("filler 97", Expiry::Never), ("filler 98", Expiry::Unknown)] {
        bench.config = bench.config.replace("nonesuch", label).replace("filler 97", label);
        assert_eq!(bench.facts().await.expires, expires, "{label}");
    }
}

#[tokio::test]
async fn the_tokens_of_an_organization_are_listed_elsewhere() {
    let mut page = DockerHub::new();
    let token = page.organization_token("robot", Some(NOW + DAY), NOW);
    let (user, list) = (format!("user = \"{ORGANIZATION}\""), format!("list = \"orgs/{ORGANIZATION}/access-tokens\""));
    let config = CONFIG.replace(&format!("user = \"{USER}\""), &format!("{user}, {list}"));
    let mut bench = Bench::new(page, &config).await;
    bench.set("TOKEN", &token);
    assert_eq!(bench.facts().await.expires, Expiry::At(Timestamp::from_unix(NOW + DAY)));
    bench.config = bench.config.replace(&format!("orgs/{ORGANIZATION}"), "orgs/other");
    assert_eq!(told(&bench.checked().await), "forbidden");
}

#[tokio::test]
async fn a_path_that_leads_elsewhere_is_refused() {
    for path in ["/access-tokens", "access-tokens/", "a//b", "../login", "a/./b"] {
        let config =
            CONFIG.replace("{url}", "https://example.com").replace("label", &format!("list = \"{path}\", label"));
        let faults = settings::from_text(&config, "test.toml", &[]).expect_err("faults");
        assert!(faults.to_string().contains("must be a path"), "{path}: {faults}");
    }
}
