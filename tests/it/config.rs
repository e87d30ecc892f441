//! The configuration as operators meet it: all faults at once and each with its remedy, layers that can be told apart, secrets that are
//! never in the text and never in an answer.
//!
//! `tests/bad-config/` holds files that must be refused, each with the words beside it; `fixtures/contract.toml` is the example of the
//! contract with users and must be accepted for ever.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use tempfile::TempDir;
use tokenwatch::domain::time::Span;
use tokenwatch::domain::token::{AppName, Lead, Rhythm};
use tokenwatch::secret::Secret;
use tokenwatch::settings::delivery::{Confirm, Question};
use tokenwatch::settings::source::Sources;
use tokenwatch::settings::value::{Plan, RelayTls, SecretRef};
use tokenwatch::settings::{self, Faults, Loaded, PerToken, show};

/// A small configuration that is right.
const GOOD: &str = r#"
[smtp]
from = "tokenwatch@example.com"
relays = [{ url = "smtp://mail.example.com" }]
[receivers.default]
email = ["oncall@example.com"]
[apps.help-desk]
id = "634900000000001"
secret = { env = "META_APP_SECRET" }
[[tokens]]
name = "helpdesk.whatsapp"
app = "help-desk"
secret = { env_file = "/srv/config.env", key = "T" }
[[tokens]]
name = "shop"
secret = { file = "/run/secrets/shop" }
"#;

fn accept(text: &str) -> Loaded {
    settings::from_text(text, "test.toml", &[]).unwrap_or_else(|faults| unreachable!("{faults}"))
}

fn refuse(text: &str) -> Faults {
    settings::from_text(text, "test.toml", &[]).map(drop).expect_err("a configuration with faults")
}

/// The keys at fault.
fn keys(faults: &Faults) -> Vec<&str> {
    faults.0.iter().map(|fault| fault.key.as_str()).collect()
}

fn environment(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn with_environment(text: &str, pairs: &[(&str, &str)]) -> Result<Loaded, Faults> {
    settings::from_text(text, "test.toml", &environment(pairs))
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(repository(path)).expect("a file of the repository")
}

// ---- faults ---------------------------------------------------------------------------------------------------------------------------

/// After a deliberate change of words, `UPDATE_GOLDEN=1` writes the list anew.
#[test]
fn forty_faults_are_told_at_once() {
    let faults =
        settings::from_text(&read("tests/bad-config/forty.toml"), "forty.toml", &[]).map(drop).expect_err("faults");
    let told: Vec<String> = faults.0.iter().map(ToString::to_string).collect();
    let golden = repository("tests/bad-config/forty.txt");
    if option_env!("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, told.join("\n") + "\n").expect("the list is written");
    }
    let expected = fs::read_to_string(&golden).expect("the list of faults");
    assert_eq!(told, expected.lines().collect::<Vec<_>>());
    assert_eq!(told.len(), 40);
    let text = faults.to_string();
    assert!(text.ends_with("40 faults") && !text.contains("correct-horse"), "{text}");
    for fault in &faults.0 {
        assert_eq!(fault.origin, "forty.toml");
        assert!(!fault.key.is_empty() && fault.what.len() > 10, "{fault}");
    }
}

#[test]
fn every_bad_configuration_is_refused() {
    for entry in fs::read_dir(repository("tests/bad-config")).expect("the folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            assert!(settings::load(&path, &[]).is_err(), "{}", path.display());
        }
    }
}

/// A value that is wrong at that key, and a word that the remedy must hold. Each is told once, and nothing else with it.
const IMPOSSIBLE: [(&str, &str, &str); 69] = [
    ("daemon.listen", "\"localhost:9847\"", "127.0.0.1:9847"),
    ("daemon.listen", "\"127.0.0.1\"", "127.0.0.1:9847"),
    ("daemon.listen", "\"127.0.0.1:99999\"", "127.0.0.1:9847"),
    ("daemon.listen", "9847", "text"),
    ("daemon.state", "\"/var/lib/tokenwatch.db\"", "sqlite:///"),
    ("daemon.state", "\"sqlite://relative.db\"", "absolute"),
    ("daemon.state", "\"sqlite:///\"", "names no file"),
    ("daemon.probe_listen", "\"127.0.0.1:9847\"", "a port of their own"),
    ("daemon.probe_listen", "\"0.0.0.0:9847\"", "a port of their own"),
    ("daemon.timezone", "\"Mars/Olympus\"", "Asia/Kolkata"),
    ("daemon.timezone", "\"\"", "UTC"),
    ("daemon.concurrency", "0", "between 1 and 1000"),
    ("daemon.concurrency", "1001", "between 1 and 1000"),
    ("daemon.concurrency", "-1", "between 1 and 1000"),
    ("daemon.concurrency", "1.5", "whole number"),
    ("daemon.concurrency", "\"32\"", "whole number"),
    ("daemon.grace", "10", "10s"),
    ("daemon.grace", "\"10\"", "90s"),
    ("daemon.grace", "\"-5s\"", "90s"),
    ("daemon.grace", "1979-05-27", "90s"),
    ("daemon.grace", "[\"10s\"]", "duration"),
    ("schedule.check", "\"0s\"", "longer than zero"),
    ("schedule.check", "\"0 9 * * Mon\"", "six fields"),
    ("schedule.check", "\"61 0 9 * * Mon\"", "six fields"),
    ("schedule.check", "\"15min\"", "15m"),
    ("schedule.check", "15", "15m"),
    ("schedule.check", "\"200000d\"", "100 years"),
    ("schedule.spread", "\"0s\"", "longer than zero"),
    ("schedule.digest", "\"weekly\"", "six fields"),
    ("policy.alert_before", "\"21d\"", "list"),
    ("policy.alert_before[1]", "[\"21d\", \"100%\"]", "33%"),
    ("policy.alert_before[0]", "[\"0%\"]", "33%"),
    ("policy.alert_before[0]", "[\"-3%\"]", "33%"),
    ("policy.alert_before[0]", "[21]", "21d"),
    ("policy.alert_before[0]", "[\"0s\"]", "zero"),
    ("policy.repeat", "true", "duration"),
    ("policy.blind_after", "\"0s\"", "longer than zero"),
    ("policy.confirm_invalid", "0", "between 1 and 20"),
    ("policy.confirm_invalid", "21", "between 1 and 20"),
    ("smtp.from", "\"nobody\"", "mail address"),
    ("smtp.from", "\"a@b, c@d\"", "mail address"),
    ("smtp.from", "\"a@example.com\\r\\nBcc: x@example.com\"", "mail address"),
    ("smtp.timeout", "\"0s\"", "longer than zero"),
    ("smtp.retry", "\"soon\"", "90s"),
    ("smtp.relays", "[]", "no way out"),
    ("smtp.relays", "\"smtp://mail.example.com\"", "array of tables"),
    ("smtp.relays[0].url", "[{ url = \"mail.example.com\" }]", "url"),
    ("smtp.relays[0].url", "[{ url = \"http://mail.example.com\" }]", "smtps://"),
    ("smtp.relays[0].url", "[{ url = \"smtp://mail.example.com?tls=none\" }]", "loopback"),
    ("smtp.relays[0].url", "[{ url = \"smtp://mail.example.com?tls=off\" }]", "opportunistic"),
    ("smtp.relays[0].url", "[{ url = \"smtp://mail.example.com?starttls=1\" }]", "tls"),
    ("smtp.relays[0].url", "[{ url = \"smtps://mail.example.com?tls=required\" }]", "leave tls= out"),
    ("smtp.relays[0].url", "[{ url = \"smtp://\" }]", "host"),
    ("smtp.relays[0].ca_file", "[{ url = \"smtp://mail.example.com\", ca_file = \"ca.pem\" }]", "absolute"),
    ("receivers.default.email[0]", "{ email = [\"nobody\"] }", "mail address"),
    ("receivers.default.escalate.from", "{ escalate = { from = \"fatal\", email = [\"a@b.example\"] } }", "critical"),
    ("apps.help-desk.id", "{ id = 634900000000001 }", "text"),
    ("apps.help-desk.id", "{ id = \"\" }", "empty"),
    ("apps.help-desk.proof", "{ id = \"1\", proof = 1 }", "true or false"),
    ("apps.help-desk.secret", "{ id = \"1\", secret = {} }", "env_file"),
    ("provider.meta.base_url", "\"http://graph.facebook.com\"", "https"),
    ("provider.meta.base_url", "\"graph.facebook.com\"", "url"),
    ("provider.meta.base_url", "\"ftp://localhost\"", "http"),
    ("provider.meta.base_url", "\"https://user@graph.facebook.com\"", "password"),
    ("provider.meta.version", "25", "text"),
    ("provider.meta.timeout", "\"0s\"", "longer than zero"),
    ("provider.meta.ca_file", "\"ca.pem\"", "absolute"),
    ("metrics.per_token", "\"some\"", "auto, all, none"),
    ("tls.ca_file", "\"\"", "absolute"),
];

#[test]
fn impossible_values_are_refused_one_by_one() {
    for (key, value, remedy) in IMPOSSIBLE {
        // The key without what the value brings itself.
        let bare = key.split('[').next().unwrap_or(key);
        let path = match bare.split('.').collect::<Vec<_>>()[..] {
            [first @ ("receivers" | "apps"), second, ..] => format!("{first}.{second}"),
            _ => bare.to_owned(),
        };
        let faults = refuse(&overridden(GOOD, &path, value));
        assert_eq!(keys(&faults), [key], "{value}: {faults}");
        assert!(faults.0[0].what.contains(remedy), "{key} = {value}: {faults}");
    }
}

/// A document with one more value, as text; what stood at that path before is gone.
fn overridden(text: &str, path: &str, value: &str) -> String {
    let mut document: toml::Table = text.parse().expect("TOML");
    let value: toml::Table = format!("value = {value}").parse().expect("TOML");
    let mut segments = path.split('.').peekable();
    let mut table = &mut document;
    while let Some(segment) = segments.next() {
        if segments.peek().is_none() {
            table.insert(segment.to_owned(), value["value"].clone());
            break;
        }
        let below = table.entry(segment).or_insert_with(|| toml::Table::new().into());
        table = below.as_table_mut().expect("a table");
    }
    document.to_string()
}

/// The same for keys of the second token.
#[test]
fn impossible_values_of_a_token_are_refused_one_by_one() {
    for (line, key, remedy) in [
        ("name = \"Shop\"", "tokens[1].name", "a-z"),
        ("name = \"\"", "tokens[1].name", "empty"),
        ("name = \"-shop\"", "tokens[1].name", "starts with"),
        ("name = \"shop front\"", "tokens[1].name", "' '"),
        ("name = 7", "tokens[1].name", "text"),
        ("name = \"helpdesk.whatsapp\"", "tokens[helpdesk.whatsapp].name", "used twice"),
        ("provider = \"facebook\"", "tokens[shop].provider", "docs/providers.md"),
        ("provider = \"metas\"", "tokens[shop].provider", "did you mean `meta`?"),
        ("app = \"help-dsk\"", "tokens[shop].app", "did you mean `help-desk`?"),
        ("app = \"Help\"", "tokens[shop].app", "a-z"),
        ("receivers = [\"defaults\"]", "tokens[shop].receivers", "did you mean `default`?"),
        ("receivers = \"default\"", "tokens[shop].receivers", "list"),
        ("receivers = [\"default\", 3]", "tokens[shop].receivers[1]", "text"),
        ("scopes = [\"\"]", "tokens[shop].scopes[0]", "empty"),
        ("runbook = \"wiki/whatsapp\"", "tokens[shop].runbook", "url"),
        ("runbook = \"javascript:alert(1)\"", "tokens[shop].runbook", "http"),
        ("check = \"0 0 9 * * Mon\"", "tokens[shop].check", "15m"),
        ("check = \"0s\"", "tokens[shop].check", "longer than zero"),
        ("policy = { alert_before = [\"soon\"] }", "tokens[shop].policy.alert_before[0]", "21d"),
        ("policy = { confirm = 2 }", "tokens[shop].policy.confirm", "did you mean `confirm_invalid`?"),
        ("whatsapp = { phone_number_id = 521803094347148 }", "tokens[shop].whatsapp.phone_number_id", "text"),
        ("whatsapp = { phone_number_id = \"EAAB\" }", "tokens[shop].whatsapp.phone_number_id", "digits only"),
        ("whatsapp = { business_account_id = \"+1\" }", "tokens[shop].whatsapp.business_account_id", "digits only"),
        ("whatsapp = { phone_number = \"0171\" }", "tokens[shop].whatsapp.phone_number", "E.164"),
        ("whatsapp = { phone_number_id = \"1\", webhooks = true }", "tokens[shop].whatsapp.webhooks", "beside it"),
        ("whatsapp = { phone_id = \"1\" }", "tokens[shop].whatsapp.phone_id", "known here: phone_number_id"),
        ("scope = [\"x\"]", "tokens[shop].scope", "did you mean `scopes`?"),
        ("secrets = { env = \"T\" }", "tokens[shop].secrets", "did you mean `secret`?"),
        ("secret = { environment = \"T\" }", "tokens[shop].secret", "env_file"),
        ("secret = { env = \"T\", file = \"/t\" }", "tokens[shop].secret", "must be one of"),
        ("secret = { env_file = \"/t\" }", "tokens[shop].secret", "must be one of"),
        ("secret = { env = \"\" }", "tokens[shop].secret.env", "text"),
        ("secret = { env = 3 }", "tokens[shop].secret.env", "text"),
        ("secret = { file = \"t\" }", "tokens[shop].secret.file", "absolute"),
        ("secret = { env_file = \"../t\", key = \"K\" }", "tokens[shop].secret.env_file", "absolute"),
        ("secret = { credential = \"../t\" }", "tokens[shop].secret.credential", "not a path"),
        ("secret = [\"EAAB\"]", "tokens[shop].secret", "plain text"),
        ("secret = 3", "tokens[shop].secret", "plain text"),
    ] {
        let name = line.split(' ').next().unwrap_or_default();
        let (head, tail) = GOOD.rsplit_once("[[tokens]]").expect("the second token");
        let kept: Vec<&str> = tail.lines().filter(|old| !old.starts_with(&format!("{name} ="))).collect();
        let faults = refuse(&format!("{head}[[tokens]]\n{line}{}", kept.join("\n")));
        assert_eq!(keys(&faults), [key], "{line}: {faults}");
        assert!(faults.0[0].what.contains(remedy), "{line}: {faults}");
    }
}

#[test]
fn what_is_missing_is_named_with_its_meaning() {
    for (text, key, says) in [
        ("[smtp]\nrelays = []", "smtp.from", "sender"),
        ("[smtp]\nfrom = \"a@b.example\"", "smtp.relays", "tried in this order"),
        ("[apps.x]", "apps.x.id", "id at the provider"),
        ("[[tokens]]\nsecret = { env = \"T\" }", "tokens[0].name", "slot's name"),
        ("[[tokens]]\nname = \"x\"", "tokens[x].secret", "where the token stands"),
        ("[receivers.default]\nemail = [\"a@b.example\"]", "receivers.default.email", "no [smtp]"),
    ] {
        let faults = refuse(text);
        assert_eq!(keys(&faults), [key], "{faults}");
        assert!(faults.0[0].what.contains(says), "{faults}");
    }
}

#[test]
fn a_table_in_the_wrong_form_is_told_once() {
    for (text, key, says) in [
        ("daemon = 3", "daemon", "table"),
        ("tokens = { name = \"x\" }", "tokens", "[[…]]"),
        ("[tokens]\nname = \"x\"", "tokens", "[[…]]"),
        ("tokens = [3]", "tokens[0]", "table"),
        ("[[receivers]]\nemail = []", "receivers", "table"),
        ("receivers = { default = [\"a@b.example\"] }", "receivers.default", "table"),
        ("apps = []", "apps", "table"),
    ] {
        let faults = refuse(text);
        assert_eq!(keys(&faults), [key], "{text}: {faults}");
        assert!(faults.0[0].what.contains(says), "{text}: {faults}");
    }
}

/// The dialog, the contract and the examples of other tools write things in more ways than one.
/// What may stand in `[tokens.renew]`, and what may not; `FILE` is where the token stands.
#[test]
fn renewals_are_held_against_the_place_that_is_watched() {
    let with = |secret: &str, renew: &str| {
        format!(
            "[apps.a]\nid = \"1\"\nsecret = {{ env = \"S\" }}\n[[tokens]]\nname = \"t\"\napp = \"a\"\nsecret = {secret}\n\
             [tokens.whatsapp]\nbusiness_account_id = \"2\"\n[tokens.renew]\n{renew}\n"
        )
    };
    let file = "{ file = \"/srv/t\" }";
    for (secret, renew, told) in [
        (file, "", "needs before"),
        (file, "before = \"20d\"\ncron = \"0 0 3 1 * *\"", "cannot stand beside before"),
        (file, "cron = \"every month\"", "no cron expression"),
        ("{ env = \"T\" }", "before = \"20d\"", "stands in a file"),
        ("{ credential = \"t\" }", "before = \"20d\"", "stands in a file"),
        (file, "before = \"20d\"\npublish = []", "is empty"),
        (file, "before = \"20d\"\npublish = [{ file = \"/srv/other\" }]", "for ever"),
        (file, "before = \"20d\"\npublish = [{ file = \"/srv/t\" }, { file = \"/srv/t\" }]", "a second time"),
        (file, "before = \"20d\"\npublish = [{ file = \"/srv/t\", key = \"T\" }]", "has no meaning beside file"),
        (file, "before = \"20d\"\npublish = [{ key = \"T\" }]", "must be one of"),
        (file, "before = \"20d\"\npublish = [{ file = \"/srv/t\" }, { env_file = \"/srv/e\" }]", "env_file needs it"),
        (file, "before = \"20d\"\npublish = [{ file = \"/srv/t\" }, { sql = \"sqlite:///a.db\" }]", "sql needs it"),
        (
            file,
            "before = \"20d\"\npublish = [{ file = \"/srv/t\" }, { vault = \"https://v\", path = \"p\" }]",
            "log in to vault",
        ),
        (file, "before = \"20d\"\nrestart = { systemd = \"app\" }", "app.service"),
        (file, "before = \"20d\"\nrestart = { run = [] }", "names no program"),
        (file, "before = \"20d\"\nconfirm = { whatsapp = true }", "phone_number_id"),
        (file, "before = \"20d\"\nconfirm = { http = \"http://x\", run = [\"y\"] }", "must be"),
        (
            file,
            "before = \"20d\"\nconfirm = { http = \"http://x\", whatsapp = true }",
            "cannot stand beside http or run",
        ),
        (file, "before = \"20d\"\nconfirm = { http = \"http://x\", json = \"{}\" }", "a GET has no body"),
        (file, "before = \"20d\"\nuser_token = \"u\"", "not in [[tokens]]"),
    ] {
        let faults = refuse(&with(secret, renew)).to_string();
        assert!(faults.contains(told) && faults.contains("tokens[t].renew"), "{renew}: {faults}");
    }
    let text = with(file, "before = \"20d\"").replace("app = \"a\"\n", "");
    assert!(refuse(&text).to_string().contains("needs both"));
    let loaded = accept(&with(file, "before = \"33%\"\nrestart = { systemd = \"app.service\" }"));
    assert!(loaded.warnings.iter().any(|warning| warning.what.contains("nothing proves")), "{:?}", loaded.warnings);
    let token = &loaded.settings.tokens[0];
    assert_eq!(
        token.renew.as_ref().map(|renew| &renew.delivery),
        token.replace.as_ref(),
        "a replacement goes the same way"
    );
}

/// How an application is asked whether it works, and which of three places says so.
#[test]
fn an_application_is_asked_as_it_is_written() {
    let with = |tables: &str| {
        format!(
            "[apps.a]\nid = \"1\"\nsecret = {{ env = \"S\" }}\n[[tokens]]\nname = \"t\"\napp = \"a\"\nreceivers = []\n\
             secret = {{ file = \"/srv/t\" }}\n{tables}\n"
        )
    };
    let send = "http = \"http://localhost:5000/send\", method = \"POST\"";
    for (probe, key, told) in [
        ("{}", "", "must be { http = \"http://…\" } or { run = [\"…\"] }"),
        ("\"http://x\"", "", "must be a table"),
        ("{ http = \"http://x\", run = [\"y\"] }", "", "must be"),
        ("{ http = \"ftp://x\" }", ".http", "not an http"),
        ("{ http = \"http://x\", json = \"{}\" }", ".json", "needs method = \"POST\""),
        ("{ http = \"http://x\", method = \"GET\", json = \"{}\" }", ".json", "a GET has no body"),
        ("{ http = \"http://x\", method = \"PUT\" }", ".method", "none of GET, POST"),
        ("{ http = \"http://x\", method = \"post\" }", ".method", "none of GET, POST"),
        ("{ http = \"http://x\", status = 600 }", ".status", "599"),
        ("{ run = [\"y\"], method = \"POST\" }", ".method", "no meaning without http"),
        ("{ run = [] }", ".run", "names no program"),
        ("{ whatsapp = true, http = \"http://x\" }", ".whatsapp", "not a known key"),
        (&format!("{{ {send}, json = '' }}"), ".json", "no JSON document"),
        (&format!("{{ {send}, json = '{{to: 1}}' }}"), ".json", "no JSON document"),
        (&format!("{{ {send}, json = {{ to = 1 }} }}"), ".json", "must be a text"),
    ] {
        let faults = refuse(&with(&format!("probe = {probe}")));
        assert_eq!(keys(&faults), [format!("tokens[t].probe{key}")], "{probe}: {faults}");
        assert!(faults.0[0].what.contains(told), "{probe}: {faults}");
    }

    let token = |tables: &str| accept(&with(tables)).settings.tokens[0].clone();
    let asked = |tables: &str| token(tables).application_probe().map(ToString::to_string);
    let (probe, renew, replace) = (
        format!("[tokens.probe]\n{}\n", send.replace(", ", "\n")),
        "[tokens.renew]\nbefore = \"20d\"\nconfirm = { http = \"http://x/renewed?a=b\" }\n",
        "[tokens.replace]\nconfirm = { run = [\"asks\"] }\n",
    );
    for (tables, expected) in [
        (String::new(), None),
        ("[tokens.renew]\nbefore = \"20d\"".to_owned(), None),
        (replace.to_owned(), Some("the command asks")),
        (format!("{replace}{renew}"), Some("http://x/renewed")),
        (format!("{replace}{renew}{probe}"), Some("POST http://localhost:5000/send")),
    ] {
        assert_eq!(asked(&tables).as_deref(), expected, "{tables}");
    }
    let body = r#"{"ticketId":"TEST","to":"+15550001111"}"#;
    let token = token(&format!("probe = {{ {send}, json = '{body}', status = 200, within = \"5s\" }}"));
    let Some(Confirm::Http { question, status, within, .. }) = token.application_probe() else {
        unreachable!("{:?}", token.probe)
    };
    assert_eq!(*question, Question::Post { json: Some(body.into()) });
    assert_eq!((*status, *within), (Some(200), Span::seconds(5)));
}

/// What is sent to an application is readable to everyone who may read the configuration.
#[test]
fn a_secret_in_a_body_is_refused_and_never_echoed() {
    let token = format!("EAAB{}", "x9Y".repeat(50));
    let escaped = token.replace('E', "\\u0045");
    for json in [
        format!(r#"{{"t":"{token}"}}"#),
        format!(r#"{{"t":"{escaped}"}}"#),
        format!(r#"{{"list":["{}","{token}"]}}"#, "word ".repeat(2_000)),
        r#"{"password":"correct-horse-battery-staple"}"#.to_owned(),
        r#"{ "access_token" : "correct-horse-battery-staple" }"#.to_owned(),
    ] {
        let text = format!(
            "[[tokens]]\nname = \"t\"\nreceivers = []\nsecret = {{ file = \"/srv/t\" }}\n\
             probe = {{ http = \"http://x\", method = \"POST\", json = '{json}' }}\n"
        );
        let result = settings::from_text(&text, "test.toml", &[]);
        let said = all_output(&result);
        assert!(!said.contains("horse") && !said.contains("x9Yx9Y"), "{said}");
        assert_eq!(keys(&result.map(drop).expect_err("a secret in plain text")), ["tokens[t].probe.json"]);
        assert!(said.contains("in plain text is refused") && said.contains("run = "), "{said}");
    }
}

#[test]
fn what_is_unusual_and_right_is_accepted() {
    for (path, value) in [
        ("daemon.listen", "\"\""),
        ("daemon.listen", "\"[::1]:9847\""),
        ("schedule.check", "\"1h30m\""),
        ("schedule.check", "\"@hourly\""),
        ("schedule.digest", "\"\""),
        ("policy.repeat", "\"0s\""),
        ("policy.alert_before", "[\"33%\", \"1d\", \"21d\", \"0.5%\"]"),
        ("smtp.from", "\"Token Watch <tokenwatch@example.com>\""),
        ("provider.meta.base_url", "\"http://127.0.0.1:8080\""),
        ("provider.meta.base_url", "\"http://[::1]:8080/graph\""),
        ("provider.meta.base_url", "\"http://localhost\""),
        ("receivers.default", "{ escalate = { email = [\"lead@example.com\"] } }"),
    ] {
        accept(&overridden(GOOD, path, value));
    }
    accept(&format!("\u{feff}{}", GOOD.replace('\n', "\r\n")));
}

#[test]
fn an_empty_configuration_is_right_and_watches_nothing() {
    let loaded = accept("");
    assert!(loaded.settings.tokens.is_empty() && loaded.settings.smtp.is_none());
    assert_eq!(loaded.warnings.len(), 1);
    assert!(loaded.warnings[0].what.contains("watches nothing"), "{}", loaded.warnings[0]);
    assert_eq!(loaded.settings.per_token, PerToken::Auto);
}

#[test]
fn a_token_that_tells_nobody_is_warned_of() {
    let loaded = accept("[[tokens]]\nname = \"x\"\nsecret = { env = \"T\" }");
    let warnings: Vec<&str> = loaded.warnings.iter().map(|warning| warning.key.as_str()).collect();
    assert_eq!(warnings, ["tokens[x].receivers"]);
}

// ---- syntax ---------------------------------------------------------------------------------------------------------------------------

/// The parser's messages quote the line, which may be the one with the secret.
#[test]
fn a_syntax_error_names_the_place_and_never_quotes_the_line() {
    const PLANTED: &str = "correct-horse-battery-staple";
    for line in [
        "secret = \"{p}",
        "secret = {p}",
        "secret = '{p}' '{p}'",
        "secret = \"{p}\" x",
        "{p}",
        "{p} {p}",
        "= \"{p}\"",
        "[{p}",
        "[[{p}]",
        "secret = { env = \"{p}\"",
        "secret = \"\\q{p}\"",
        "secret = \"\"\"{p}",
        "secret = [\"{p}\",,]",
        "\"{p}\" = 1\n\"{p}\" = 2",
        "{p} = 1\n{p} = 2",
        "[{p}]\n[{p}]",
        "{p}.x = 1\n{p}.x.y = 2",
        "secret = \"| {p}\" | {p}",
        "{p} | \"{p}\"",
        "password: {p}",
        "{\"password\": \"{p}\"}",
        "secret = 0x{p}",
        "secret = 1979-{p}",
        "secret = \"{p}\u{0}\"",
    ] {
        let text = format!("[daemon]\n\n{}\n", line.replace("{p}", PLANTED));
        let faults = refuse(&text).to_string();
        assert!(!faults.contains("correct-horse") && !faults.contains("battery"), "{faults}");
        assert!(faults.starts_with("test.toml: ") && faults.contains("line "), "{line}: {faults}");
        assert!(faults.ends_with("1 fault") && faults.lines().count() == 2, "one slip is told once: {faults}");
    }
}

// ---- files ----------------------------------------------------------------------------------------------------------------------------

/// A main file and its drop-ins.
fn folder(files: &[(&str, &str)]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("written");
    }
    let main = folder.path().join("tokenwatch.toml");
    (folder, main)
}

#[test]
fn drop_ins_are_laid_over_the_main_file_in_name_order() {
    let token = |name: &str| format!("[[tokens]]\nname = \"{name}\"\nsecret = {{ env = \"T\" }}\n");
    let (folder, main) = folder(&[
        (
            "tokenwatch.toml",
            &format!(
                "[daemon]\ntimezone = \"UTC\"\nconcurrency = 1\n[policy]\nalert_before = [\"9d\", \"8d\"]\n{}",
                token("main")
            ),
        ),
        (
            "conf.d/20-later.toml",
            &format!("[daemon]\nconcurrency = 3\n[policy]\nalert_before = [\"2d\"]\n{}", token("later")),
        ),
        ("conf.d/10-sooner.toml", &format!("[daemon]\nconcurrency = 2\ngrace = \"7s\"\n{}", token("sooner"))),
        ("conf.d/.hidden.toml", "[daemon]\nconcurrency = 99\n"),
        ("conf.d/30-note.txt", "not a configuration"),
        ("conf.d/40-backup.toml~", "[[[["),
        ("other.d/50.toml", "[[[["),
    ]);
    let loaded = settings::load(&main, &[]).expect("a configuration");
    let daemon = &loaded.settings.daemon;
    assert_eq!((daemon.concurrency, daemon.grace), (3, Span::seconds(7)));
    let names: Vec<&str> = loaded.settings.tokens.iter().map(|token| token.spec.id.as_str()).collect();
    assert_eq!(names, ["main", "sooner", "later"], "tokens add up");
    assert_eq!(loaded.settings.policy.ladder.leads(), [Lead::Before(Span::days(2))], "a list of values is replaced");
    // Every value knows where it came from; a list of the environment, too, is one.
    let ladder = ("TOKENWATCH__POLICY__ALERT_BEFORE".to_owned(), "9d, 1d".to_owned());
    let shown = show::effective(&settings::load(&main, &[ladder]).expect("a configuration").tree);
    let list = "policy.alert_before = [\"9d\", \"1d\"]  # environment variable TOKENWATCH__POLICY__ALERT_BEFORE\n";
    assert!(shown.contains(list), "{shown}");
    let shown = show::effective(&loaded.tree);
    let at = |name: &str| folder.path().join(name).display().to_string();
    for (line, origin) in [
        ("daemon.timezone = \"UTC\"", at("tokenwatch.toml")),
        ("daemon.concurrency = 3", at("conf.d/20-later.toml")),
        ("daemon.grace = \"7s\"", at("conf.d/10-sooner.toml")),
        ("tokens[sooner].name = \"sooner\"", at("conf.d/10-sooner.toml")),
        ("daemon.listen = \"127.0.0.1:9847\"", "default".to_owned()),
    ] {
        assert!(shown.contains(&format!("{line}  # {origin}\n")), "{line}\n{shown}");
    }
}

#[test]
fn a_fault_names_the_file_it_stands_in() {
    let token = "[[tokens]]\nname = \"twice\"\nsecret = { env = \"T\" }\n";
    let (folder, main) =
        folder(&[("tokenwatch.toml", token), ("conf.d/10.toml", "[daemon]\nlisten = 3\n"), ("conf.d/20.toml", token)]);
    let faults = settings::load(&main, &[]).map(drop).expect_err("faults");
    let origins: Vec<(String, &str)> =
        faults.0.iter().map(|fault| (fault.origin.clone(), fault.key.as_str())).collect();
    let at = |name: &str| folder.path().join(name).display().to_string();
    assert_eq!(origins, [(at("conf.d/10.toml"), "daemon.listen"), (at("conf.d/20.toml"), "tokens[twice].name")]);
    let says = &faults.0[1].what;
    assert!(says.contains(&at("tokenwatch.toml")), "the other file is named, too: {says}");
}

#[test]
fn files_that_cannot_be_read_are_told_with_the_rest() {
    let (folder, main) = folder(&[("conf.d/10.toml", "[daemon\n"), ("conf.d/20.toml", "x")]);
    fs::write(folder.path().join("conf.d/30.toml"), [0xff, 0xfe, 0x00]).expect("written");
    fs::create_dir(folder.path().join("conf.d/40.toml")).expect("a folder");
    let faults = settings::load(&main, &[]).map(drop).expect_err("faults");
    let text = faults.to_string();
    assert_eq!(faults.0.len(), 5, "{text}");
    for name in ["tokenwatch.toml", "10.toml", "20.toml", "30.toml", "40.toml"] {
        assert!(text.contains(name), "{text}");
    }
    assert!(text.contains("No such file"), "{text}");
}

// ---- the environment ------------------------------------------------------------------------------------------------------------------

#[test]
fn any_scalar_can_be_set_by_the_environment() {
    let loaded = with_environment(
        GOOD,
        &[
            ("TOKENWATCH__DAEMON__LISTEN", ""),
            ("TOKENWATCH__DAEMON__CONCURRENCY", "7"),
            ("TOKENWATCH__DAEMON__TIMEZONE", "Asia/Kolkata"),
            ("TOKENWATCH__SCHEDULE__CHECK", "5m"),
            ("TOKENWATCH__SMTP__FROM", "other@example.com"),
            ("TOKENWATCH__SMTP__RELAYS__0__URL", "smtps://relay.example.com"),
            ("TOKENWATCH__POLICY__ALERT_BEFORE", "9d, 33%,1d"),
            ("TOKENWATCH__RECEIVERS__DEFAULT__EMAIL", "a@example.com,b@example.com"),
            ("TOKENWATCH__APPS__HELP_DESK__ID", "42"),
            ("TOKENWATCH__APPS__HELP_DESK__PROOF", "false"),
            // By name and by place.
            ("TOKENWATCH__TOKENS__HELPDESK_WHATSAPP__CHECK", "3m"),
            ("TOKENWATCH__TOKENS__1__CHECK", "4m"),
            ("TOKENWATCH__TOKENS__SHOP__SECRET__FILE", "/run/secrets/other"),
            ("TOKENWATCH__TOKENS__0__POLICY__CONFIRM_INVALID", "5"),
            ("TOKENWATCH__METRICS__PER_TOKEN", "none"),
            // Not ours.
            ("TOKENWATCH_CONFIG", "/etc/x.toml"),
            ("TOKENWATCHX__DAEMON__GRACE", "1s"),
            ("PATH", "/bin"),
        ],
    )
    .expect("a configuration");
    let settings = &loaded.settings;
    assert_eq!((settings.daemon.listen, settings.daemon.concurrency), (None, 7));
    assert_eq!(
        (settings.daemon.zone.name(), &settings.schedule.check),
        ("Asia/Kolkata", &Plan::Every(Span::minutes(5)))
    );
    let smtp = settings.smtp.as_ref().expect("a relay");
    assert_eq!((smtp.from.as_str(), smtp.relays[0].url.tls), ("other@example.com", RelayTls::Implicit));
    let leads = [Lead::Before(Span::days(9)), Lead::Share(3_300), Lead::Before(Span::days(1))];
    assert_eq!(settings.policy.ladder.leads(), leads);
    let receiver = settings.receivers.values().next().expect("the receiver");
    assert_eq!(receiver.email, ["a@example.com", "b@example.com"]);
    let app = &settings.apps[&AppName::parse("help-desk").expect("a name")];
    assert_eq!((app.id.as_str(), app.proof), ("42", false));
    let [first, second] = &settings.tokens[..] else { unreachable!("two tokens") };
    assert_eq!(first.spec.rhythm, Rhythm::Every(Span::minutes(3)));
    assert_eq!(second.spec.rhythm, Rhythm::Every(Span::minutes(4)));
    assert_eq!((first.spec.policy.confirm_invalid, second.spec.policy.confirm_invalid), (5, 2));
    assert_eq!(second.secret, SecretRef::File("/run/secrets/other".into()));
    assert_eq!(settings.per_token, PerToken::None);
    let shown = show::effective(&loaded.tree);
    assert!(
        shown.contains("smtp.from = \"other@example.com\"  # environment variable TOKENWATCH__SMTP__FROM\n"),
        "{shown}"
    );
}

#[test]
fn parts_that_the_files_leave_out_can_come_from_the_environment() {
    let loaded = with_environment(
        "",
        &[
            ("TOKENWATCH__APPS__SHOP__ID", "1"),
            ("TOKENWATCH__APPS__SHOP__SECRET__ENV", "APP_SECRET"),
            ("TOKENWATCH__PROVIDER__META__VERSION", "v26.0"),
        ],
    )
    .expect("a configuration");
    let (name, app) = loaded.settings.apps.iter().next().expect("the app");
    assert_eq!((name.as_str(), app.id.as_str()), ("shop", "1"));
    assert_eq!(app.secret, Some(SecretRef::Env("APP_SECRET".into())));
    assert_eq!(loaded.settings.meta.version, "v26.0");
}

#[test]
fn variables_that_set_nothing_are_refused() {
    for (name, value, key, says) in [
        ("TOKENWATCH__SMTP__FORM", "x@example.com", "smtp.form", "did you mean `from`?"),
        ("TOKENWATCH__DAEMONS__LISTEN", "", "daemons", "did you mean `daemon`?"),
        ("TOKENWATCH__TOKENS__NOBODY__CHECK", "5m", "", "there is no \"nobody\""),
        ("TOKENWATCH__TOKENS__2__CHECK", "5m", "", "there is no \"2\""),
        ("TOKENWATCH__SMTP__FROM__NAME", "x", "", "there is no \"name\""),
        ("TOKENWATCH__TOKENS", "x", "tokens", "array of tables"),
        ("TOKENWATCH__DAEMON__CONCURRENCY", "many", "daemon.concurrency", "whole number"),
        ("TOKENWATCH__DAEMON__CONCURRENCY", "0", "daemon.concurrency", "between 1 and 1000"),
        ("TOKENWATCH__APPS__HELP_DESK__PROOF", "1", "apps.help-desk.proof", "true or false"),
        ("TOKENWATCH__POLICY__ALERT_BEFORE", "9d,,1d", "policy.alert_before", "90s"),
        ("TOKENWATCH__POLICY__ALERT_BEFORE", "", "policy.alert_before", "90s"),
        ("TOKENWATCH__TOKENS__SHOP__SECRET", "EAABplain", "tokens[shop].secret", "plain text"),
        ("TOKENWATCH__TOKENS__SHOP__SECRET__ENV", "T", "tokens[shop].secret", "must be one of"),
    ] {
        let faults = with_environment(GOOD, &[(name, value)]).map(drop).expect_err(name);
        assert_eq!(keys(&faults), [key], "{name}: {faults}");
        let fault = &faults.0[0];
        assert!(fault.what.contains(says), "{name}: {faults}");
        // What is said of a whole secret is said of the slot, wherever its parts came from.
        assert!(
            fault.origin == format!("environment variable {name}")
                || fault.key.ends_with(".secret")
                || key == "daemons",
            "{faults}"
        );
    }
}

// ---- secrets --------------------------------------------------------------------------------------------------------------------------

#[test]
fn a_secret_can_stand_in_five_kinds_of_places() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    fs::write(path("token"), "EAABfile\n").expect("written");
    fs::write(path("app.env"), "# app\nexport T='EAABenvfile' # old\r\nU=\n").expect("written");
    fs::create_dir(path("credentials")).expect("a folder");
    fs::write(path("credentials/meta"), "EAABcredential").expect("written");
    let sources = Sources::new(environment(&[
        ("T", "EAABenv"),
        ("EMPTY", " "),
        ("CREDENTIALS_DIRECTORY", &path("credentials").display().to_string()),
    ]));
    let exposed = |reference: &SecretRef| sources.read(reference).map(|secret: Secret| secret.expose().to_owned());
    let env_file = |key: &str| SecretRef::EnvFile { path: path("app.env"), key: key.into() };
    for (reference, value) in [
        (SecretRef::Env("T".into()), "EAABenv"),
        (SecretRef::File(path("token")), "EAABfile"),
        (SecretRef::Credential("meta".into()), "EAABcredential"),
        (env_file("T"), "EAABenvfile"),
    ] {
        assert_eq!(exposed(&reference).expect("a secret"), value, "{reference}");
    }
    // Each is read anew at each look.
    fs::write(path("token"), "EAABnew").expect("written");
    assert_eq!(exposed(&SecretRef::File(path("token"))).expect("a secret"), "EAABnew");
    // What cannot be read is told by its place.
    fs::write(path("binary"), [0xff, 0xfe]).expect("written");
    fs::write(path("huge"), "x".repeat(1_100_000)).expect("written");
    fs::write(path("blank"), " \n").expect("written");
    for (reference, says) in [
        (SecretRef::Env("NOPE".into()), "no variable NOPE"),
        (SecretRef::Env("EMPTY".into()), "EMPTY: is empty"),
        (SecretRef::File(path("nowhere")), "No such file"),
        (SecretRef::File(path("credentials")), "not a regular file"),
        (SecretRef::File(path("binary")), "not UTF-8"),
        (SecretRef::File(path("huge")), "larger than"),
        (SecretRef::File(path("blank")), "is empty"),
        (SecretRef::Credential("nobody".into()), "No such file"),
        (env_file("NOPE"), "has no key NOPE"),
        (env_file("U"), "is empty"),
        (SecretRef::EnvFile { path: path("nowhere"), key: "T".into() }, "nowhere"),
    ] {
        let problem = sources.read(&reference).map(drop).expect_err("no secret").to_string();
        assert!(problem.contains(says), "{problem}");
    }
}

#[test]
fn all_places_of_secrets_are_understood() {
    for (written, expected) in [
        ("{ env = \"T\" }", SecretRef::Env("T".into())),
        ("{ file = \"/t\" }", SecretRef::File("/t".into())),
        ("{ credential = \"t\" }", SecretRef::Credential("t".into())),
        ("{ env_file = \"/e\", key = \"T\" }", SecretRef::EnvFile { path: "/e".into(), key: "T".into() }),
    ] {
        let loaded = accept(&format!(
            "[smtp]\nfrom = \"a@example.com\"\nrelays = [{{ url = \"smtp://u@mail.example.com\", password = {written} }}]\n\
             [apps.x]\nid = \"1\"\nsecret = {written}\n[[tokens]]\nname = \"t\"\nreceivers = []\nsecret = {written}\n"
        ));
        assert_eq!(loaded.settings.tokens[0].secret, expected);
        assert_eq!(loaded.settings.apps.values().next().expect("the app").secret.as_ref(), Some(&expected));
        assert_eq!(loaded.settings.smtp.expect("a relay").relays[0].password.as_ref(), Some(&expected));
        let shown = show::effective(&loaded.tree);
        assert_eq!(shown.matches("\"***\" from").count(), 3, "{shown}");
    }
}

/// Everything that a configuration says: faults, warnings, `config show`.
fn all_output(result: &Result<Loaded, Faults>) -> String {
    match result {
        Err(faults) => faults.to_string(),
        Ok(loaded) => {
            let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
            format!("{}\n{}", warnings.join("\n"), show::effective(&loaded.tree))
        }
    }
}

#[test]
fn a_secret_in_plain_text_is_refused_with_the_reason_and_never_echoed() {
    const PLANTED: &str = "correct horse battery staple";
    let quoted = format!("\"{PLANTED}\"");
    for (text, key) in [
        (overridden(GOOD, "apps.help-desk.secret", &quoted), "apps.help-desk.secret"),
        (GOOD.replace("{ file = \"/run/secrets/shop\" }", &quoted), "tokens[shop].secret"),
        (
            GOOD.replace("mail.example.com\" }", &format!("mail.example.com\", password = {quoted} }}")),
            "smtp.relays[0].password",
        ),
        (
            GOOD.replace("mail.example.com", &format!("u:{}@mail.example.com", PLANTED.replace(' ', "-"))),
            "smtp.relays[0].url",
        ),
    ] {
        let result = settings::from_text(&text, "test.toml", &[]);
        let said = all_output(&result);
        assert!(!said.contains("horse"), "{said}");
        let faults = result.map(drop).expect_err("a secret in plain text");
        assert_eq!(keys(&faults), [key]);
        assert!(said.contains("in plain text is refused") && said.contains("credential"), "{said}");
    }
    for name in [
        "TOKENWATCH__TOKENS__SHOP__SECRET",
        "TOKENWATCH__SMTP__RELAYS__0__PASSWORD",
        "TOKENWATCH__APPS__HELP_DESK__SECRET",
    ] {
        let said = all_output(&with_environment(GOOD, &[(name, PLANTED)]));
        assert!(said.contains("in plain text is refused") && !said.contains("horse"), "{said}");
    }
}

/// A token pasted into the wrong line is hidden wherever it lands, by its shape.
#[test]
fn what_has_the_shape_of_a_secret_is_hidden_everywhere() {
    let token = format!("EAAB{}ZD", "x9Y".repeat(50));
    let hex = "0123456789abcdef0123456789abcdef".to_owned();
    let app_token = format!("634900000000001|{hex}");
    let document: toml::Table = read("tests/it/fixtures/contract.toml").parse().expect("TOML");
    let mut paths = Vec::new();
    leaves(&toml::Value::Table(document.clone()), &mut Vec::new(), &mut paths);
    assert!(paths.len() > 50, "{}", paths.len());
    let mut leaks = Vec::new();
    for planted in [&token, &hex, &app_token] {
        for path in &paths {
            let last = path.iter().rev().find(|segment| segment.parse::<usize>().is_err()).expect("a key");
            // A name is the operator's own word, and 32 hexadecimal digits are a good one.
            if planted == &hex && ["name", "app", "receivers"].contains(&last.as_str()) {
                continue;
            }
            let mut changed = toml::Value::Table(document.clone());
            plant(&mut changed, path, planted);
            let text = changed.as_table().expect("a table").to_string();
            let variable = (format!("TOKENWATCH__{}", path.join("__").to_uppercase()), planted.clone());
            for result in [
                settings::from_text(&text, "test.toml", &[]),
                settings::from_text(&document.to_string(), "test.toml", &[variable]),
            ] {
                let said = all_output(&result);
                assert!(result.is_ok() || said.contains(last.as_str()), "it is about this key: {said}");
                if said.contains(planted.as_str()) || said.contains(&planted[4..30]) {
                    leaks.push(format!("{}: {}", path.join("."), said.lines().next().unwrap_or_default()));
                }
            }
        }
    }
    assert!(leaks.is_empty(), "{leaks:#?}");
}

/// A secret that belongs to a part which this version does not act on is a secret all the same.
#[test]
fn show_hides_secrets_of_parts_that_are_not_acted_on_yet() {
    for (path, value) in [
        ("receivers.default.webhook", "{ url = \"https://hooks.example.com/x\", secret = \"correct-horse\" }"),
        ("receivers.default.webhook", "{ url = \"https://u:correct-horse@hooks.example.com/x\" }"),
        ("receivers.default.whatsapp", "{ access_token = \"correct-horse\", to = [\"+491\"] }"),
        ("receivers.default.alertmanager", "{ url = \"http://127.0.0.1:9093\", password = \"correct-horse\" }"),
        ("receivers.default.alertmanager", "[{ basic_auth = { password = \"correct-horse\" } }]"),
        ("heartbeat.url", "\"https://u:correct-horse@hc.example.com/ping\""),
    ] {
        let said = all_output(&settings::from_text(&overridden(GOOD, path, value), "test.toml", &[]));
        assert!(!said.contains("correct-horse"), "{path} = {value}: {said}");
    }
}

/// Whoever knows the whole address of a webhook or of a heartbeat may use it.
#[test]
fn show_tells_of_addresses_that_open_doors_the_host_only() {
    let text = overridden(GOOD, "heartbeat.url", "\"https://hc.example.com:8443/ping/correct-horse\"");
    let text =
        overridden(&text, "receivers.default.webhook", "{ url = \"https://hooks.example.com/x?k=correct-horse\" }");
    for (result, origin) in [
        (settings::from_text(&text, "test.toml", &[]), "test.toml"),
        (
            with_environment(&text, &[("TOKENWATCH__HEARTBEAT__URL", "https://hc.example.com:8443/correct-horse#x")]),
            "environment variable TOKENWATCH__HEARTBEAT__URL",
        ),
    ] {
        let said = all_output(&result);
        assert!(!said.contains("correct-horse"), "{said}");
        assert!(said.contains(&format!("heartbeat.url = \"https://hc.example.com:8443/***\"  # {origin}")), "{said}");
        assert!(said.contains("receivers.default.webhook.url = \"https://hooks.example.com/***\""), "{said}");
    }
    let said = all_output(&settings::from_text(&overridden(GOOD, "heartbeat.url", "\"http://h/x\""), "test.toml", &[]));
    assert!(said.contains("heartbeat.url = \"http://h/***\""), "{said}");
}

/// The paths of all scalars of a document.
fn leaves(value: &toml::Value, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    let children: Vec<(String, &toml::Value)> = match value {
        toml::Value::Table(table) => table.iter().map(|(name, value)| (name.clone(), value)).collect(),
        toml::Value::Array(items) => items.iter().enumerate().map(|(n, value)| (n.to_string(), value)).collect(),
        _ => return found.push(path.clone()),
    };
    for (name, child) in children {
        path.push(name);
        leaves(child, path, found);
        path.pop();
    }
}

fn plant(value: &mut toml::Value, path: &[String], planted: &str) {
    let Some((first, rest)) = path.split_first() else {
        *value = toml::Value::String(planted.to_owned());
        return;
    };
    let child = match value {
        toml::Value::Table(table) => table.get_mut(first),
        toml::Value::Array(items) => first.parse::<usize>().ok().and_then(|index| items.get_mut(index)),
        _ => None,
    };
    plant(child.expect("the path is of this document"), rest, planted);
}

// ---- examples, `show`, schema ---------------------------------------------------------------------------------------------------------

#[test]
fn the_example_of_the_contract_is_accepted() {
    let loaded = accept(&read("tests/it/fixtures/contract.toml"));
    let warned: BTreeSet<&str> = loaded.warnings.iter().map(|warning| warning.key.as_str()).collect();
    let later = [
        "heartbeat",
        "heartbeat.url",
        "receivers.default.alertmanager",
        "receivers.default.quiet_hours",
        "receivers.default.webhook",
        "schedule.digest",
        "schedule.heartbeat",
    ];
    // A part that is acted on one day leaves this list; none may join it.
    assert!(warned.iter().all(|key| later.contains(key)), "{warned:?}");
    let settings = loaded.settings;
    let token = &settings.tokens[0];
    assert_eq!(token.spec.required.targets, ["102290000000001".into()]);
    assert_eq!(token.spec.app.as_ref().map(AppName::as_str), Some("helpdesk"));
    assert_eq!(settings.smtp.expect("relays").relays.len(), 2);
    assert_eq!(settings.daemon.zone.name(), "Asia/Kolkata");
}

#[test]
fn the_example_to_copy_is_accepted_without_a_warning() {
    let path = repository("deploy/tokenwatch.toml");
    let loaded = settings::load(&path, &[]).unwrap_or_else(|faults| unreachable!("{faults}"));
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    assert_eq!(loaded.settings.tokens.len(), 1);
    // So are the tokens of other providers at its end, once somebody takes the comment signs away.
    let text = read("deploy/tokenwatch.toml");
    let (before, others) = text.split_once("\n# Tokens of other providers").expect("the last part");
    let others: String = others.lines().skip(1).map(|line| format!("{}\n", &line[line.len().min(2)..])).collect();
    let loaded = accept(&format!("{before}\n{others}"));
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    assert_eq!(loaded.settings.tokens.len(), 4);
}

#[test]
fn show_tells_every_setting_with_its_origin() {
    let loaded = accept(&read("tests/it/fixtures/contract.toml"));
    let shown = show::effective(&loaded.tree);
    for line in shown.lines() {
        let (setting, origin) = line.rsplit_once("  # ").expect("an origin");
        assert!(["test.toml", "default"].contains(&origin), "{line}");
        assert!(setting.contains(" = "), "{line}");
    }
    // What is written is shown, and what is not written is shown with its default.
    let document: toml::Table = read("tests/it/fixtures/contract.toml").parse().expect("TOML");
    for (table, value) in &document {
        let Some(keys) = value.as_table() else { continue };
        for key in keys.keys() {
            assert!(shown.contains(&format!("{table}.{key}")), "{table}.{key} is not shown:\n{shown}");
        }
    }
    for default in [
        "daemon.grace = \"10s\"  # default",
        "smtp.timeout = \"30s\"  # default",
        "metrics.per_token = \"auto\"  # default",
    ] {
        assert!(shown.contains(default), "{default}:\n{shown}");
    }
    // What is shown of a secret is where it stands.
    assert!(shown.contains(
        "apps.helpdesk.secret = \"***\" from { env_file = \"/srv/itsm/backend/config.env\", key = \"META_APP_SECRET\" }"
    ));
}

/// As an editor would: every table's keys are known, nothing required is missing, every value has its type.
fn fits(schema: &Json, value: &Json, path: &str) {
    if let Some(forms) = schema["oneOf"].as_array() {
        let fitting = forms.iter().filter(|form| {
            let known: BTreeSet<&String> = form["properties"].as_object().expect("properties").keys().collect();
            value.as_object().is_some_and(|object| object.keys().collect::<BTreeSet<_>>() == known)
        });
        assert_eq!(fitting.count(), 1, "{path} fits one form");
        return;
    }
    match schema["type"].as_str() {
        None => {}
        Some("object") => {
            let object = value.as_object().unwrap_or_else(|| unreachable!("{path} is a table"));
            for (name, child) in object {
                let path = format!("{path}.{name}");
                let known = &schema["properties"][name];
                let other = &schema["additionalProperties"];
                assert!(known.is_object() || other.is_object(), "{path} is not in the schema");
                fits(if known.is_object() { known } else { other }, child, &path);
            }
            for name in schema["required"].as_array().into_iter().flatten() {
                assert!(object.contains_key(name.as_str().expect("a name")), "{path} lacks {name}");
            }
        }
        Some("array") => {
            for item in value.as_array().unwrap_or_else(|| unreachable!("{path} is a list")) {
                fits(&schema["items"], item, path);
            }
        }
        Some("string") => {
            let text = value.as_str().unwrap_or_else(|| unreachable!("{path} is a text"));
            if let Some(words) = schema["enum"].as_array() {
                assert!(words.iter().any(|word| word == text), "{path} is one of the words");
            }
        }
        Some("integer") => assert!(value.is_i64(), "{path} is a number"),
        Some("boolean") => assert!(value.is_boolean(), "{path} is a flag"),
        Some(other) => unreachable!("{path}: the schema knows no {other}"),
    }
}

#[test]
fn the_schema_knows_every_key_of_the_examples() {
    let schema = show::json_schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    for example in ["tests/it/fixtures/contract.toml", "deploy/tokenwatch.toml"] {
        let document: toml::Table = read(example).parse().expect("TOML");
        fits(&schema, &serde_json::to_value(document).expect("JSON"), example);
    }
    let good: toml::Table = GOOD.parse().expect("TOML");
    fits(&schema, &serde_json::to_value(good).expect("JSON"), "good");
    // It describes every key, and refuses others as the program does.
    assert!(described(&schema) > 60);
    assert_eq!(schema["additionalProperties"], false);
}

/// How many keys a schema describes.
fn described(schema: &Json) -> usize {
    let properties = schema["properties"].as_object().into_iter().flatten();
    properties
        .map(|(_, property)| {
            let below = [property, &property["items"], &property["additionalProperties"]];
            1 + below.into_iter().map(described).sum::<usize>()
        })
        .sum()
}

/// What a mail relay needs is said where it is missing, and a private authority reaches every part that has none of its own.
#[test]
fn one_authority_for_all_unless_a_part_names_its_own() {
    let loaded = accept(
        "[tls]\nca_file = \"/ca/all.pem\"\n[provider.meta]\nca_file = \"/ca/meta.pem\"\n[smtp]\nfrom = \"a@example.com\"\n\
         relays = [{ url = \"smtps://one.example.com\" }, { url = \"smtps://two.example.com\", ca_file = \"/ca/two.pem\" }]\n",
    );
    let smtp = loaded.settings.smtp.expect("relays");
    let files: Vec<_> = smtp.relays.iter().map(|relay| relay.ca_file.clone().expect("an authority")).collect();
    assert_eq!(files, [PathBuf::from("/ca/all.pem"), PathBuf::from("/ca/two.pem")]);
    assert_eq!(loaded.settings.meta.ca_file, Some("/ca/meta.pem".into()));
}

/// A file of secrets may be private to another user; that is a finding of the check, not a fault of the configuration.
#[test]
fn no_secret_is_read_while_the_configuration_is_checked() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("token");
    fs::write(&path, "EAABfile").expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).expect("closed");
    for place in [path, PathBuf::from("/nonexistent/token")] {
        accept(&format!(
            "[[tokens]]\nname = \"t\"\nreceivers = []\nsecret = {{ file = {:?} }}\n",
            place.display().to_string()
        ));
    }
}
