//! What an application's env file says about its tokens: which of the keys that we know stand in it, and settings to check them with.
//!
//! It names keys, places and ids. It must never hand out the value of a token or of an app's secret: it keeps them only to recognise them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{Context, Exit};
use crate::settings::source::{env_keys, env_value, read_text};
use crate::settings::value::is_id;
use crate::settings::{self, Settings};

/// What an env file holds of Meta.
pub struct Found {
    /// The file, as an absolute path.
    pub file: PathBuf,
    /// The tokens, at least one.
    pub tokens: Vec<FoundToken>,
    /// The app, where its id and its secret are both there.
    pub app: Option<FoundApp>,
    /// What is there of an app that is not there as a whole.
    pub half: Option<Half>,
    /// The id of the WhatsApp Business Account, as it is written.
    pub account: Option<String>,
    /// The id of the phone number, as it is written.
    pub number: Option<String>,
    /// The keys that look as if they held tokens of somebody else, whom their names do not tell.
    pub others: Vec<String>,
    /// The values that nobody may see.
    secrets: Vec<Zeroizing<String>>,
}

/// A key that holds a token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FoundToken {
    /// The key.
    pub key: &'static str,
    /// A name for the token, made of the key.
    pub name: String,
}

/// An app with its secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FoundApp {
    /// The id, as it is written.
    pub id: String,
    /// The key that holds the id.
    pub id_key: &'static str,
    /// The key that holds the secret.
    pub secret_key: &'static str,
}

/// One half of an app; alone it is of no use for a check.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Half {
    /// The id, as it is written.
    Id(String),
    /// The key that holds the secret.
    Secret(&'static str),
}

impl Found {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read, or holds no token under any key that we know; why is printed.
    pub fn read(file: &Path) -> Result<Self, Exit> {
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        let text = read_text(&file).map_err(|error| super::fail(Exit::Unknown, error))?;
        let value = |key: &str| env_value(&text, key).filter(|value| !value.is_empty());
        let has = |key: &&&'static str| value(key).is_some();
        let first = |keys: &[&'static str]| keys.iter().find(has).copied();
        let id = |keys: &[&'static str]| first(keys).and_then(value).map(|value| value.to_string());
        let tokens: Vec<FoundToken> = TOKENS.iter().filter(has).map(|key| FoundToken::of(key)).collect();
        if tokens.is_empty() {
            // What stands before a `=` in a file that is none of keys and values may be a part of a secret.
            let (names, odd): (Vec<&str>, Vec<&str>) = env_keys(&text).into_iter().partition(|key| is_name(key));
            let odd = (!odd.is_empty()).then(|| format!("{} of other shapes", odd.len()));
            let found = names.into_iter().map(str::to_owned).chain(odd).collect::<Vec<_>>().join(", ");
            let known = TOKENS.join(", ");
            let empty = TOKENS.iter().find(|key| env_value(&text, key).is_some());
            let why = match (empty, found.is_empty()) {
                (Some(key), _) => format!("{key} in {} is empty", file.display()),
                (None, true) => format!("{} has no lines KEY=value, and none of the keys {known}", file.display()),
                (None, false) => format!("{} has none of the keys {known} (it has: {found})", file.display()),
            };
            return Err(super::fail(Exit::Unknown, why));
        }
        let (app, half) = match (first(&APP_IDS), first(&APP_SECRETS)) {
            (Some(id_key), Some(secret_key)) => {
                (Some(FoundApp { id: id(&[id_key]).unwrap_or_default(), id_key, secret_key }), None)
            }
            (Some(id_key), None) => (None, id(&[id_key]).map(Half::Id)),
            (None, Some(secret_key)) => (None, Some(Half::Secret(secret_key))),
            (None, None) => (None, None),
        };
        let secrets = TOKENS.iter().chain(&APP_SECRETS).copied().filter_map(value).collect();
        let strange =
            |key: &&str| is_name(key) && is_like_a_token(key) && !TOKENS.contains(key) && value(key).is_some();
        let others: BTreeSet<&str> = env_keys(&text).into_iter().filter(strange).collect();
        let others = others.into_iter().map(str::to_owned).collect();
        Ok(Self { tokens, app, half, account: id(&ACCOUNTS), number: id(&NUMBERS), others, secrets, file })
    }

    /// Settings for these tokens, made as text and read like any configuration.
    ///
    /// # Errors
    /// When they are refused, as by something in the environment; the faults are printed.
    pub fn settings(&self, context: &Context) -> Result<Settings, Exit> {
        let mut lines = String::from("[daemon]\nlisten = \"\"\n");
        let app = self.app.as_ref().filter(|app| self.is_an_id(&app.id, app.id_key));
        let account = self.account.as_deref().filter(|id| self.is_an_id(id, "the id of the WhatsApp account"));
        let number = self.number.as_deref().filter(|id| self.is_an_id(id, "the id of the phone number"));
        if let Some(app) = app {
            let (id, secret) = (quote(&app.id), self.place(app.secret_key));
            lines.push_str(&format!("[apps.{APP_NAME}]\nid = {id}\nsecret = {secret}\n"));
        }
        for token in &self.tokens {
            let (name, secret) = (quote(&token.name), self.place(token.key));
            lines.push_str(&format!("[[tokens]]\nname = {name}\nsecret = {secret}\n"));
            if app.is_some() {
                lines.push_str(&format!("app = {}\n", quote(APP_NAME)));
            }
            let account = account.filter(|_| token.is_for_whatsapp());
            let number = number.filter(|_| self.sends_with(token));
            if account.is_some() || number.is_some() {
                lines.push_str("[tokens.whatsapp]\n");
            }
            for (key, id) in [("business_account_id", account), ("phone_number_id", number)] {
                lines.extend(id.map(|id| format!("{key} = {}\n", quote(id))));
            }
        }
        let loaded = settings::from_text(&lines, &self.file.display().to_string(), &context.environment);
        loaded.map(|loaded| loaded.settings).map_err(|faults| super::fail(Exit::BadConfiguration, faults))
    }

    /// What is no id may be a secret in the wrong place: it is passed over, and only its key is named.
    fn is_an_id(&self, text: &str, key: &str) -> bool {
        let is = is_id(text);
        if !is {
            let file = self.file.display();
            let _ = super::fail(Exit::Fine, format_args!("{file}: {key} is not an id (digits only); ignored"));
        }
        is
    }

    /// What keeps a check of these tokens from telling all that could be told.
    pub fn shortcoming(&self) -> Option<&'static str> {
        self.app.is_none().then_some(NO_APP)
    }

    /// Where the value of a key stands, as a configuration says it.
    pub fn place(&self, key: &str) -> String {
        format!("{{ env_file = {}, key = {} }}", quote(&self.file.display().to_string()), quote(key))
    }

    /// Whether the phone number is one that messages are sent from with that token: its key says WhatsApp, or it is the only one there is.
    pub fn sends_with(&self, token: &FoundToken) -> bool {
        token.is_for_whatsapp() || self.tokens.len() == 1
    }

    /// Whether so much of a secret of this file stands in a text that it gives it away.
    pub fn gives_away(&self, text: &str) -> bool {
        self.secrets.iter().map(|secret| secret.as_bytes()).any(|secret| {
            let part = secret.len().min(TELLING);
            part >= SHORTEST
                && secret.windows(part).any(|part| text.as_bytes().windows(part.len()).any(|at| at == part))
        })
    }
}

impl FoundToken {
    fn of(key: &'static str) -> Self {
        Self { key, name: key.to_ascii_lowercase().replace('_', "-") }
    }

    /// Whether the key says what the token is for.
    pub fn is_for_whatsapp(&self) -> bool {
        self.key.starts_with("WHATSAPP")
    }
}

/// Whether it looks like the name of a variable, and not like anything else that may stand before a `=`.
fn is_name(key: &str) -> bool {
    let fine = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    // What is encoded in capitals has digits in it, and no words.
    let is_word = key.contains('_') || !key.contains(|c: char| c.is_ascii_digit()) && key.len() <= LONGEST_WORD;
    key.len() <= LONGEST_NAME && key.chars().all(fine) && is_word && !key.starts_with(|c: char| c.is_ascii_digit())
}

/// Whether the words of a key say that a token or a key of an API stands there. What an application made up for itself never ends.
fn is_like_a_token(key: &str) -> bool {
    let words: Vec<&str> = key.split('_').collect();
    let has = |wanted: &[&str]| wanted.iter().any(|wanted| words.contains(wanted));
    (has(&["TOKEN", "PAT", "APIKEY"]) || words.ends_with(&["API", "KEY"]))
        && !has(&["VERIFY", "CSRF", "XSRF", "JWT", "SESSION"])
}

/// A text as TOML writes it.
pub fn quote(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// What the app of an env file is called.
pub const APP_NAME: &str = "app";

/// The names under which applications keep tokens of Meta.
const TOKENS: [&str; 8] = [
    "WHATSAPP_ACCESS_TOKEN",
    "META_ACCESS_TOKEN",
    "WHATSAPP_TOKEN",
    "WHATSAPP_API_TOKEN",
    "FACEBOOK_ACCESS_TOKEN",
    "FB_ACCESS_TOKEN",
    "PAGE_ACCESS_TOKEN",
    "META_SYSTEM_USER_TOKEN",
];
const APP_IDS: [&str; 4] = ["META_APP_ID", "FACEBOOK_APP_ID", "FB_APP_ID", "WHATSAPP_APP_ID"];
const APP_SECRETS: [&str; 4] = ["META_APP_SECRET", "FACEBOOK_APP_SECRET", "FB_APP_SECRET", "WHATSAPP_APP_SECRET"];
const ACCOUNTS: [&str; 3] = ["WHATSAPP_BUSINESS_ACCOUNT_ID", "WHATSAPP_WABA_ID", "WABA_ID"];
const NUMBERS: [&str; 4] = ["WHATSAPP_PHONE_NUMBER_ID", "PHONE_NUMBER_ID", "WHATSAPP_PHONE_ID", "WA_PHONE_NUMBER_ID"];
const NO_APP: &str =
    "there is no META_APP_ID and META_APP_SECRET beside the token, so only its validity can be probed, not its end";
/// So many characters in a row of a secret are no coincidence.
const TELLING: usize = 12;
/// Names of variables are shorter, and what is encoded is longer.
const LONGEST_NAME: usize = 48;
const LONGEST_WORD: usize = 16;
/// Shorter values are words that stand there until somebody fills them in.
const SHORTEST: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Result<Found, Exit> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("app.env");
        std::fs::write(&file, text).expect("a file is written");
        Found::read(&file)
    }

    fn settings(text: &str) -> Settings {
        let context = Context { config: PathBuf::new(), config_was_named: false, environment: Vec::new() };
        found(text).and_then(|found| found.settings(&context)).unwrap_or_else(|exit| panic!("{exit:?}"))
    }

    #[test]
    fn both_halves_make_an_app() {
        let token = "WHATSAPP_TOKEN=EAAtoken\n";
        let half = |text: &str| found(&format!("{token}{text}")).map(|found| (found.app.is_some(), found.half));
        assert_eq!(half("META_APP_ID=1\nFB_APP_SECRET=s\n"), Ok((true, None)));
        assert_eq!(half("FB_APP_ID=1\nMETA_APP_SECRET=\n"), Ok((false, Some(Half::Id("1".to_owned())))));
        assert_eq!(half("FB_APP_SECRET=s\n"), Ok((false, Some(Half::Secret("FB_APP_SECRET")))));
        assert_eq!(half(""), Ok((false, None)));
        assert_eq!(found("META_APP_ID=1\n").map(|_| ()), Err(Exit::Unknown));
    }

    #[test]
    fn ids_go_with_the_token_that_they_are_for() {
        let ids = "WABA_ID=102\nPHONE_NUMBER_ID=521\nMETA_APP_ID=1\nMETA_APP_SECRET=s\n";
        let whatsapp = |settings: &Settings| -> Vec<_> {
            let ids = |token: &settings::Token| {
                let whatsapp = token.whatsapp.as_deref().cloned().unwrap_or_default();
                (whatsapp.business_account_id, whatsapp.phone_number_id)
            };
            settings.tokens.iter().map(ids).collect()
        };
        let (account, number) = (Some("102".to_owned()), Some("521".to_owned()));
        let both = settings(&format!("META_ACCESS_TOKEN=a\nWHATSAPP_TOKEN=b\n{ids}"));
        assert_eq!(whatsapp(&both), [(None, None), (account.clone(), number.clone())]);
        assert_eq!(whatsapp(&settings(&format!("META_ACCESS_TOKEN=a\n{ids}"))), [(None, number.clone())]);
        let without_app = settings("WHATSAPP_TOKEN=b\nWABA_ID=102\nPHONE_NUMBER_ID=521\n");
        assert_eq!(whatsapp(&without_app), [(account, number)], "what arrives can be asked about without an app");
    }

    #[test]
    fn only_names_of_variables_are_repeated() {
        for (key, is) in [
            ("WHATSAPP_TOKEN", true),
            ("PORT", true),
            ("S3_KEY", true),
            ("JBSWY3DPEHPK3PXP", false),
            ("EAAGm0PX4ZCpsBAJZCsecret", false),
            ("my phrase", false),
            ("1A", false),
            ("A\u{202e}B", false),
            ("QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9w", false),
            ("QUJDREVGRUJDREVGRUJDREVGRUJDREVGRUJDREVGRUJDREVGR", false),
        ] {
            assert_eq!(is_name(key), is, "{key}");
        }
    }

    #[test]
    fn what_may_be_a_token_of_somebody_else_is_named() {
        let keys = [
            ("TWILIO_AUTH_TOKEN", true),
            ("GITLAB_TOKEN", true),
            ("GITHUB_PAT", true),
            ("D360_API_KEY", true),
            ("GITLAB_TOKEN", true),
            ("META_ACCESS_TOKEN", false),
            ("WEBHOOK_VERIFY_TOKEN", false),
            ("CSRF_TOKEN", false),
            ("API_URL", false),
            ("PATH", false),
            ("TOKENS_PER_MINUTE", false),
        ];
        let text: String = keys.iter().map(|(key, _)| format!("{key}=x\n")).collect();
        let found = found(&format!("{text}SLACK_TOKEN=\n")).unwrap_or_else(|exit| panic!("{exit:?}"));
        assert_eq!(found.others, ["D360_API_KEY", "GITHUB_PAT", "GITLAB_TOKEN", "TWILIO_AUTH_TOKEN"]);
    }

    #[test]
    fn a_part_of_a_secret_gives_it_away() {
        let found = found("FB_ACCESS_TOKEN=abcdefghijklmnop\nFB_APP_SECRET=0123456789\nPAGE_ACCESS_TOKEN=todo\n");
        let found = found.unwrap_or_else(|exit| panic!("{exit:?}"));
        for (text, gives_away) in [
            ("", false),
            ("abcdefghijk", false),
            ("..cdefghijklmn..", true),
            ("012345678", false),
            ("x0123456789", true),
            ("a todo list", false),
        ] {
            assert_eq!(found.gives_away(text), gives_away, "{text:?}");
        }
    }
}
