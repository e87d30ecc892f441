//! One token of every provider, each at its page, under the real binary: all of them are told, in one table and one exposition, and none of their
//! secrets is found anywhere afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use serde_json::json;
use tokenwatch::settings::description::builtin;

use super::secrets::{Search, base64};
use crate::pages::bird::{Bird, CHANNELS_READ, Role};
use crate::pages::cloudflare::{ACCOUNT_ID, Cloudflare};
use crate::pages::dialog360::Dialog360;
use crate::pages::dockerhub::{DockerHub, USER};
use crate::pages::entra::{Entra, TENANT};
use crate::pages::github::{self, GitHub};
use crate::pages::gitlab::{self, GitLab};
use crate::pages::google::{self, Google};
use crate::pages::hubspot::{self, HubSpot};
use crate::pages::instagram::{Instagram, Life};
use crate::pages::linkedin::{Authorization, LinkedIn};
use crate::pages::messagebird::{KeyKind, Messagebird};
use crate::pages::oauth2::{self, OAuth2};
use crate::pages::shopify::Shopify;
use crate::pages::slack::{self, Slack};
use crate::pages::threads::{THREADS_APP_ID, Threads};
use crate::pages::twilio::{self, Twilio};
use crate::pages::vault::{Flavour, Vault};
use crate::pages::{Page, Said, Site};
use crate::support::openbao::OpenBao;
use crate::support::process::{PATIENCE, Stage, quoted, unix_now, wait_until};

const DAY: i64 = 86_400;

/// All the pages, one token of each, and the configuration that watches them.
struct Town {
    stage: Stage,
    search: Search,
    config: String,
    /// The secret of each token, by its name, which is that of its provider.
    secrets: BTreeMap<&'static str, String>,
    /// What makes each page answer the next request in these words.
    quoting: Vec<Box<dyn Fn(Said)>>,
}

impl Town {
    fn new() -> Self {
        Self {
            stage: Stage::new(),
            search: Search::default(),
            config: String::new(),
            secrets: BTreeMap::new(),
            quoting: Vec::new(),
        }
    }

    /// Serves a page from a thread of its own, which lasts as long as the tests; its address.
    fn open<P: Page>(&mut self, page: P) -> String {
        let (opened, site) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let site = Arc::new(Site::serve(page, unix_now).await);
                opened.send(Arc::clone(&site)).expect("somebody waits");
                std::future::pending::<()>().await;
            });
        });
        let site: Arc<Site<P>> = site.recv().expect("it is served");
        let url = site.url();
        self.quoting.push(Box::new(move |said| site.refuse_once(said)));
        url
    }

    /// Plants a secret in a file of its own; the file.
    fn plant(&mut self, name: &str, secret: &str) -> String {
        let path = self.stage.write(&format!("{name}.secret"), secret);
        self.search.plant(name, secret);
        self.search.plant(name, &base64(secret.as_bytes()));
        quoted(&path)
    }

    /// A token of that provider: `reach` is what `[provider.NAME]` says, `rest` what the token says beside its secret.
    fn token(&mut self, provider: &'static str, secret: &str, reach: &str, rest: &str) {
        let file = self.plant(provider, secret);
        self.secrets.insert(provider, secret.to_owned());
        self.config.push_str(&format!(
            "[provider.{provider}]\n{reach}\n[[tokens]]\nname = \"{provider}\"\nprovider = \"{provider}\"\nsecret = {{ file = {file} }}\n{rest}\n"
        ));
    }

    /// An app of that name, which is that of its provider.
    fn app(&mut self, provider: &'static str, id: &str, secret: &str) {
        let file = self.plant(&format!("{provider}-app"), secret);
        self.config.push_str(&format!(
            "[apps.{provider}]\nprovider = \"{provider}\"\nid = {id:?}\nsecret = {{ file = {file} }}\n"
        ));
    }

    /// A secret parameter, as a token names it.
    fn secret_parameter(&mut self, provider: &str, name: &str, secret: &str) -> String {
        let file = self.plant(&format!("{provider}-{name}"), secret);
        format!("parameters.{name} = {{ file = {file} }}\n")
    }
}

/// A town in which every built-in provider with a secret has a page.
fn town() -> Town {
    let mut town = Town::new();
    let now = unix_now();
    let base = |url: &str| format!("base_url = {url:?}\n");

    let mut page = Twilio::new("town", now - DAY);
    let (token, account) = (page.primary.clone(), page.account.clone());
    let (key, key_secret) = page.add_key(twilio::KeyKind::Standard, "standard", now);
    let url = town.open(page);
    let reach = format!("{}parameters = {{ accounts_url = {url:?}, messaging_url = {url:?} }}\n", base(&url));
    town.token("twilio", &token, &reach, &format!("parameters = {{ account = {account:?} }}\n"));
    town.token("twilio-api-key", &key_secret, &base(&url), &format!("parameters = {{ key = {key:?} }}\n"));

    let mut page = Messagebird::new("town");
    let key = page.add_key(KeyKind::Live);
    let url = town.open(page);
    town.token("messagebird", &key, &base(&url), "");

    let mut page = Bird::new("town");
    let workspace = page.workspaces[0].clone();
    let first = page.add_access_key(&[Role::Channels], now);
    let second = page.add_team_key(true, &[CHANNELS_READ]);
    let third = page.add_platform_key(&[CHANNELS_READ]);
    let url = town.open(page);
    town.token("bird", &first, &base(&url), &format!("parameters = {{ workspace = {workspace:?} }}\n"));
    town.token("bird-bearer", &second, &base(&url), "");
    town.token("bird-platform", &third, &format!("parameters = {{ host = {url:?} }}\n"), "");

    let mut page = Dialog360::new("town");
    let (_, key) = page.add_channel();
    let url = town.open(page);
    town.token("360dialog", &key, &base(&url), "");

    let mut page = GitLab::new();
    let token = page.make(gitlab::Kind::Personal, &["api"], None, now - DAY);
    let url = town.open(page);
    town.token("gitlab", &token, &base(&url), "");

    let mut page = GitHub::new();
    let token = page.make(github::Kind::FineGrained, Some(now + 90 * DAY));
    let url = town.open(page);
    town.token("github", &token, &base(&url), "");

    let mut page = LinkedIn::new();
    let (access, refresh) = page.make(Authorization::ThreeLegged, &["r_ads"], now);
    let client = page.client_secret.clone();
    let url = town.open(page);
    town.app("linkedin", "86simulated0id", &client);
    let rest = town.secret_parameter("linkedin", "refresh_token", &refresh);
    town.token("linkedin", &access, &base(&url), &format!("app = \"linkedin\"\n{rest}"));

    let mut page = Slack::new();
    let token = page.make_classic(slack::Kind::Bot);
    let url = town.open(page);
    town.token("slack", &token, &base(&url), "");

    let mut page = Google::new();
    let (access, refresh) = (page.access_token("town", now), page.refresh_token("town", now));
    let url = town.open(page);
    town.token("google", &access, &base(&url), "");
    town.app("google-refresh-token", google::CLIENT_ID, google::CLIENT_SECRET);
    town.token("google-refresh-token", &refresh, &base(&url), "app = \"google-refresh-token\"\n");

    let mut page = Entra::new();
    let application = page.app("town");
    let (key_id, secret) = page.secret(&application, now - DAY, now + 180 * DAY);
    let url = town.open(page);
    let rest = format!(
        "parameters = {{ authority = {url:?}, tenant = {TENANT:?}, application = {application:?}, key_id = {key_id:?} }}\n"
    );
    town.token("entra", &secret, &base(&url), &rest);

    let mut page = OAuth2::new();
    let (access, refresh) = page.grant(now);
    let url = town.open(page);
    town.app("oauth2", oauth2::CLIENT_ID, oauth2::CLIENT_SECRET);
    let rest = town.secret_parameter("oauth2", "refresh_token", &refresh);
    let endpoint = format!("parameters.introspection_endpoint = \"{url}{}\"\n", oauth2::INTROSPECTION);
    town.token("oauth2", &access, "", &format!("app = \"oauth2\"\n{endpoint}{rest}"));

    for (provider, flavour) in [("vault", Flavour::Vault), ("openbao", Flavour::OpenBao)] {
        let mut page = Vault::new(flavour);
        let token = page.service_token(provider, 90 * DAY, now);
        let url = town.open(page);
        town.token(provider, &token, &format!("parameters = {{ url = {url:?} }}\n"), "");
    }

    let mut page = Cloudflare::new();
    let (user, account) = (page.user_token("town"), page.account_token("town"));
    let url = town.open(page);
    town.token("cloudflare", &user, &base(&url), "");
    town.token("cloudflare-account", &account, &base(&url), &format!("parameters = {{ account = {ACCOUNT_ID:?} }}\n"));

    let mut page = DockerHub::new();
    let token = page.personal_token("robot", Some(now + 90 * DAY), now - DAY);
    let url = town.open(page);
    town.token("docker-hub", &token, &base(&url), &format!("parameters = {{ user = {USER:?}, label = \"robot\" }}\n"));

    let mut page = Shopify::new();
    let token = page.lasting_token();
    let url = town.open(page);
    town.token("shopify", &token, "", &format!("parameters = {{ shop = {url:?} }}\n"));

    let mut page = HubSpot::new();
    let private = page.private_token();
    let (access, refresh) = page.grant(now);
    let url = town.open(page);
    town.token("hubspot", &private, &base(&url), "");
    town.app("hubspot-oauth", hubspot::CLIENT_ID, hubspot::CLIENT_SECRET);
    let rest = town.secret_parameter("hubspot-oauth", "refresh_token", &refresh);
    town.token("hubspot-oauth", &access, &base(&url), &format!("app = \"hubspot-oauth\"\n{rest}"));

    let part = |text: &str| base64(text.as_bytes()).trim_end_matches('=').replace('+', "-").replace('/', "_");
    let claims = json!({"exp": now + 90 * DAY, "sub": "town"}).to_string();
    let token = format!("{}.{}.{}", part("{\"alg\":\"none\"}"), part(&claims), "c2lnbmF0dXJlLW9mLW5vYm9keQ");
    town.token("jwt", &token, "", "");
    town.token("manual", "a-badge-that-opens-doors-4711", "", "expires = \"2040-01-01\"\n");

    let mut page = Instagram::new();
    let token = page.tokens.make("ada", Life::Long, now - 2 * DAY);
    let url = town.open(page);
    town.token("instagram", &token, &base(&url), "");
    let mut page = Threads::new();
    let token = page.tokens.make("ada", Life::Long, now - 2 * DAY);
    let secret = page.secret.clone();
    let url = town.open(page);
    town.app("threads", THREADS_APP_ID, &secret);
    town.token("threads", &token, &base(&url), "app = \"threads\"\n");
    town
}

#[test]
fn every_provider_is_told_and_no_secret_of_any_is_found() {
    let mut town = town();
    // Meta is in the other search, and a certificate is no secret.
    let missing: Vec<&str> = builtin::names().filter(|name| !town.secrets.contains_key(name)).collect();
    assert_eq!(missing, ["x509", "meta"], "a provider without a page");
    town.stage.environment.insert("RUST_LOG".to_owned(), "trace".to_owned());
    let text = town.stage.config("", &town.config).replace("check = \"1s\"", "check = \"15s\"");
    town.stage.configure(&text);
    let daemon = town.stage.start_ready();
    for name in town.secrets.keys() {
        daemon.wait_verdict(name, "healthy");
    }
    let look = |search: &mut Search| {
        let stage = &town.stage;
        let mut pages: Vec<String> = ["/", "/metrics", "/api/v1/tokens", "/readyz"].map(str::to_owned).to_vec();
        pages
            .extend(town.secrets.keys().flat_map(|name| [format!("/tokens/{name}"), format!("/api/v1/tokens/{name}")]));
        for path in pages {
            search.within(&path, daemon.page(&path).as_bytes());
        }
        for arguments in [&["check"][..], &["check", "--json"], &["doctor"], &["doctor", "--json"], &["config", "show"]]
        {
            search.command(stage, arguments);
        }
        for name in town.secrets.keys() {
            search.command(stage, &["check", "--provider-debug", name]);
            search.command(stage, &["explain", name]);
        }
    };
    let mut search = std::mem::take(&mut town.search);
    // Each page quotes every secret that it knows of, in the body and in a header.
    // But for that of nobody's, which nobody is asked with.
    let known = town.secrets.iter().filter(|(of, _)| **of != "manual").map(|(_, secret)| secret);
    let all: String = known.map(|secret| format!("refused: {secret}; ")).collect();
    for quote in &town.quoting {
        quote(Said::json(400, json!({"error": all, "message": all})).with("WWW-Authenticate", &all[..200]));
    }
    look(&mut search);
    // Of a house without a token of Meta the doctor does not speak as if there were one.
    let doctor = town.stage.run(&["doctor"]);
    assert!(!doctor.out.contains("Meta") && doctor.out.contains("✔"), "{}", doctor.out);
    search.within("the doctor", doctor.out.as_bytes());
    let log = town.stage.log();
    assert!(log.contains("TRACE") || log.contains("DEBUG"), "the search needs a talkative log");
    search.within("the log", log.as_bytes());
    assert_eq!(daemon.stop(), 0);
    for file in fs::read_dir(town.stage.path("state")).expect("the state folder").filter_map(Result::ok) {
        // A socket holds nothing to read.
        if file.file_type().expect("its type").is_file() {
            search.within("a state file", &fs::read(file.path()).expect("a state file"));
        }
    }
    search.report();
}

#[test]
fn a_question_is_shown_in_full_and_says_how_each_fact_was_read() {
    let mut town = Town::new();
    let mut page = GitLab::new();
    let token = page.make(gitlab::Kind::Personal, &["api"], Some("2040-01-01"), unix_now() - DAY);
    let url = town.open(page);
    town.token("gitlab", &token, &format!("base_url = {url:?}\n"), "");
    let text = town.stage.config("", &(town.config.clone() + &town.stage.token("wa", "WA")));
    town.stage.configure(&text);
    town.stage.write_env(&[("WA", &town.stage.issue_healthy())]);
    let said = town.stage.run(&["check", "--provider-debug", "gitlab"]);
    assert_eq!(said.code, 0, "{}", said.err);
    for part in [
        &format!("request\n    GET {url}/api/v4/personal_access_tokens/self\n    private-token: ***\n"),
        "answer\n    HTTP 200\n",
        "\"expires_at\": \"2040-01-01\"",
        "means\n    valid (by rule 3)\n",
        "expires\n    2040-01-01T00:00:00Z\n",
        "scopes\n    api\n",
        "verdict\n    healthy (no findings)\n",
    ] {
        assert!(said.out.contains(part), "{part}\n{}", said.out);
    }
    town.stage.write("gitlab.secret", "glpat-nobody-has-this-one");
    let said = town.stage.run(&["check", "--provider-debug", "gitlab"]);
    assert_eq!(said.code, 2);
    assert!(said.out.contains("verdict\n    invalid (revoked)\n"), "{}", said.out);
    let said = town.stage.run(&["check", "--provider-debug", "wa"]);
    assert!(said.code == 1 && said.err.contains("meta is not described as data"), "{}", said.err);
    let said = town.stage.run(&["check", "--provider-debug", "gitlba"]);
    assert!(said.code == 1 && said.err.contains("did you mean `gitlab`?"), "{}", said.err);
}

#[test]
fn a_token_of_a_real_openbao_is_watched_and_lives_longer_by_its_renewal() {
    let server = OpenBao::shared();
    let made = server.ask(
        "POST",
        "auth/token/create",
        &json!({"ttl": "40s", "explicit_max_ttl": "1h", "policies": ["default"]}),
    );
    let token = made["auth"]["client_token"].as_str().expect("a token").to_owned();
    let accessor = made["auth"]["accessor"].as_str().expect("an accessor").to_owned();
    let stage = Stage::new();
    let file = quoted(&stage.write("bao.token", &token));
    let rest = format!(
        "[provider.openbao.parameters]\nurl = \"http://127.0.0.1:{}\"\n[[tokens]]\nname = \"bao\"\nprovider = \"openbao\"\n\
         secret = {{ file = {file} }}\nscopes = [\"default\"]\nparameters.increment = \"10m\"\n[tokens.renew]\nbefore = \"50%\"\nfloor = \"1s\"\n",
        server.plain
    );
    stage.configure(&stage.config("", &rest));
    let daemon = stage.start_ready();
    daemon.wait_verdict("bao", "healthy");
    let end = || daemon.metric("tokenwatch_token_expiry_timestamp_seconds{token=\"bao\"}").unwrap_or_default();
    let first = end();
    wait_until("the renewal", PATIENCE, || end() > first + 60.0);
    assert_eq!(fs::read_to_string(stage.path("bao.token")).expect("the token"), token, "the same string lives longer");
    let seen = server.ask("POST", "auth/token/lookup-accessor", &json!({ "accessor": accessor }));
    assert!(seen["data"]["ttl"].as_i64().expect("a ttl") > 60, "{seen}");
    // What OpenBao says of a token that is gone cannot be told from a policy that denies it: no verdict, and no silence either.
    server.ask("POST", "auth/token/revoke-accessor", &json!({ "accessor": accessor }));
    wait_until("the refusal", PATIENCE, || {
        let failures = daemon.metric("tokenwatch_check_failures_total{provider=\"openbao\",reason=\"refused\"}");
        failures.is_some_and(|count| count > 0.0)
            || daemon.page("/metrics").contains("tokenwatch_token_verdict{token=\"bao\",verdict=\"invalid\"} 1")
    });
    assert_eq!(daemon.stop(), 0);
}
