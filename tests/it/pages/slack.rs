//! Slack: tokens that are looked at through `auth.test`, and the two rotations, of an app's tokens and of configuration
//! tokens (reference §3.4).
//!
//! It answers with HTTP 200 whatever it thinks of a token. It never installs an app, never exchanges a long-lived token
//! for a rotating one (`oauth.v2.exchange` has no documented request in the reference), never takes a token from a
//! query, though Slack does, and knows nothing of app-level tokens and webhooks.

use serde_json::{Value, json};

use super::spelling::{HEXADECIMAL, drawn};
use super::{Asked, Page, Said};

/// The page: `slack.com/api` with one app and its tokens.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Slack {
    /// The app.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// Every token that `auth.test` can be asked about, oldest first.
    pub tokens: Vec<Token>,
    /// Every refresh token, oldest first.
    pub refresh_tokens: Vec<Refresh>,
    /// `auth.test` tells `expires_in` of a token that expires; the field is optional. [U]: that it means the seconds
    /// left.
    pub shows_expires_in: bool,
    /// `auth.test` tells `is_enterprise_install`, and this; the field is optional.
    pub enterprise_install: Option<bool>,
    /// A refresh kills the access tokens before it; how many stay alive is not established (§7).
    pub refresh_kills_access: bool,
    /// A used refresh token that is sent again revokes all that came from the same installation. Rule 5 has it as a
    /// possibility.
    pub reuse_revokes_family: bool,
    /// The answer to a refresh holds more than the documented fields ([U]), among them a user's token:
    /// [`Slack::bystander`].
    pub refresh_tells_more: bool,
    /// The asker's address is on no allow-list, so each token is `invalid_auth` though it lives (seen by third
    /// parties).
    pub off_allow_list: bool,
    /// Answers everything with 429, to be tried again after so many seconds.
    pub throttled: Option<i64>,
    /// Answers every method with HTTP 200 and this error, such as `internal_error`.
    pub error: Option<String>,
    /// Answers everything with this status.
    pub broken: Option<u16>,
}

/// A token that `auth.test` can be asked about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token {
    /// The secret.
    pub text: String,
    /// Its kind.
    pub kind: Kind,
    /// When it expires, in seconds since 1970; a classic token does not.
    pub expires_at: Option<i64>,
    /// What became of it.
    pub fate: Fate,
    /// The number of its installation.
    pub installation: usize,
}

/// A refresh token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refresh {
    /// The secret.
    pub text: String,
    /// What it gives.
    pub kind: Kind,
    /// It was used up or revoked.
    pub revoked: bool,
    /// The number of its installation.
    pub installation: usize,
}

/// The kinds of tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A bot's: `xoxb-`, and `xoxe.xoxb-1-` where it rotates.
    Bot,
    /// A user's: `xoxp-`, and `xoxe.xoxp-1-` where it rotates.
    User,
    /// For app configurations: `xoxe.xoxp-1-`. Its rotation is another.
    Configuration,
}

/// What became of a token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It is taken until it expires.
    Alive,
    /// `token_revoked` ([U]).
    Revoked,
    /// `account_inactive`: its user or workspace is gone.
    Inactive,
    /// Another error, by its name; the documented list is open.
    Refused(String),
}

/// The life of a rotating token: 12 hours.
pub const ACCESS_SECONDS: i64 = 43_200;

impl Slack {
    /// The service with one app and without tokens.
    pub fn new() -> Self {
        Self {
            client_id: "1111111111.2222222222".to_owned(),
            client_secret: drawn("slack client", HEXADECIMAL, 32),
            tokens: Vec::new(),
            refresh_tokens: Vec::new(),
            shows_expires_in: true,
            enterprise_install: None,
            refresh_kills_access: false,
            reuse_revokes_family: false,
            refresh_tells_more: true,
            off_allow_list: false,
            throttled: None,
            error: None,
            broken: None,
        }
    }

    /// Makes a classic token, which never expires, and tells its secret.
    pub fn make_classic(&mut self, kind: Kind) -> String {
        assert!(kind != Kind::Configuration, "a configuration token always rotates");
        let installation = self.next_installation();
        self.add_token(kind, None, installation)
    }

    /// Makes a rotating token and its refresh token, and tells both secrets.
    pub fn make_rotating(&mut self, kind: Kind, now: i64) -> (String, String) {
        let installation = self.next_installation();
        let access = self.add_token(kind, Some(now + ACCESS_SECONDS), installation);
        (access, self.add_refresh(kind, installation))
    }

    /// The token with this secret, to change its fate.
    pub fn token_mut(&mut self, text: &str) -> &mut Token {
        self.tokens.iter_mut().find(|token| token.text == text).expect("a token of this page")
    }

    /// Gives the token with this secret another fate.
    pub fn condemn(&mut self, text: &str, fate: Fate) {
        self.token_mut(text).fate = fate;
    }

    /// Lets the token with this secret expire now (`token_expired`, [U]).
    pub fn expire(&mut self, text: &str, now: i64) {
        self.token_mut(text).expires_at = Some(now);
    }

    /// Revokes the refresh token with this secret.
    pub fn revoke_refresh(&mut self, text: &str) {
        let found = self.refresh_tokens.iter_mut().find(|token| token.text == text);
        found.expect("a refresh token of this page").revoked = true;
    }

    /// The user's token that stands in the answer to a refresh beside those that are wanted, and must never be seen
    /// again.
    pub fn bystander() -> String {
        format!("xoxp-{}", drawn("slack bystander", ALPHABET, 48))
    }

    fn next_installation(&self) -> usize {
        self.tokens.iter().map(|token| token.installation + 1).max().unwrap_or_default()
    }

    fn add_token(&mut self, kind: Kind, expires_at: Option<i64>, installation: usize) -> String {
        let prefix = match (kind, expires_at) {
            (Kind::Bot, None) => "xoxb-",
            (Kind::User | Kind::Configuration, None) => "xoxp-",
            (Kind::Bot, Some(_)) => "xoxe.xoxb-1-",
            (Kind::User | Kind::Configuration, Some(_)) => "xoxe.xoxp-1-",
        };
        // Not sourced: what follows the prefix, of all kinds.
        let text = format!("{prefix}{}", drawn(&format!("slack token {}", self.tokens.len()), ALPHABET, 64));
        self.tokens.push(Token { text: text.clone(), kind, expires_at, fate: Fate::Alive, installation });
        text
    }

    fn add_refresh(&mut self, kind: Kind, installation: usize) -> String {
        let body = drawn(&format!("slack refresh {}", self.refresh_tokens.len()), ALPHABET, 64);
        let text = format!("xoxe-1-{body}");
        self.refresh_tokens.push(Refresh { text: text.clone(), kind, revoked: false, installation });
        text
    }
}

impl Page for Slack {
    fn answer(&mut self, asked: &Asked, now: i64) -> Said {
        asked.insist_on_clean_url(self.secrets(), &["token", "client_secret", "refresh_token"]);
        if let Some(status) = self.broken {
            // Not sourced: the body.
            return Said::text(status, "upstream request failed");
        }
        if let Some(seconds) = self.throttled {
            // Not sourced: the body.
            return Said::json(429, json!({ "ok": false, "error": "ratelimited" })).with("Retry-After", seconds);
        }
        let Some(method) = asked.path.strip_prefix("/api/") else { return Said::text(404, "Not Found") };
        if asked.method != "POST" {
            // Not sourced: the answer to a method other than the documented POST.
            return Said::text(405, "Method Not Allowed");
        }
        if let Some(error) = &self.error {
            return failed(error);
        }
        if !asked.query.is_empty() {
            // Not sourced: the error for what is not documented, here and below.
            return failed("invalid_arguments");
        }
        match method {
            "auth.test" => self.test(asked, now),
            "oauth.v2.access" => self.refresh(asked, now),
            "tooling.tokens.rotate" => self.rotate(asked, now),
            // Not sourced: the error.
            _ => failed("unknown_method"),
        }
    }
}

impl Slack {
    fn test(&self, asked: &Asked, now: i64) -> Said {
        if !asked.body.is_empty() {
            return failed("invalid_arguments");
        }
        if asked.header("authorization").is_none() {
            return failed("not_authed");
        }
        let Some(token) = self.tokens.iter().find(|token| asked.bearer() == Some(token.text.as_str())) else {
            return failed("invalid_auth");
        };
        if self.off_allow_list {
            return failed("invalid_auth");
        }
        match &token.fate {
            Fate::Alive => {}
            Fate::Revoked => return failed("token_revoked"),
            Fate::Inactive => return failed("account_inactive"),
            Fate::Refused(error) => return failed(error),
        }
        if token.expires_at.is_some_and(|expires| now >= expires) {
            return failed("token_expired");
        }
        let mut body = json!({
            "ok": true,
            "url": "https://simulated.slack.com/",
            "team": "Simulated Workspace",
            "user": "watcher",
            "team_id": TEAM,
            "user_id": USER,
        });
        if token.kind == Kind::Bot {
            body["bot_id"] = json!("B0SIMULATED");
        }
        if let Some(enterprise) = self.enterprise_install {
            body["is_enterprise_install"] = json!(enterprise);
        }
        if let (true, Some(expires)) = (self.shows_expires_in, token.expires_at) {
            body["expires_in"] = json!(expires - now);
        }
        Said::json(200, body)
    }

    fn refresh(&mut self, asked: &Asked, now: i64) -> Said {
        if !is_form_of(asked, &["client_id", "client_secret", "grant_type", "refresh_token"]) {
            return failed("invalid_arguments");
        }
        let value = |name: &str| asked.form(name).expect("the form has all that is wanted");
        // Not sourced: these three errors.
        if value("client_id") != self.client_id {
            return failed("invalid_client_id");
        }
        if value("client_secret") != self.client_secret {
            return failed("bad_client_secret");
        }
        if value("grant_type") != "refresh_token" {
            return failed("invalid_grant_type");
        }
        let Some(used) = self.use_up(&value("refresh_token"), false) else { return failed("invalid_refresh_token") };
        let access = self.add_token(used.kind, Some(now + ACCESS_SECONDS), used.installation);
        let refresh = self.add_refresh(used.kind, used.installation);
        let mut body =
            json!({ "ok": true, "access_token": access, "refresh_token": refresh, "expires_in": ACCESS_SECONDS });
        if self.refresh_tells_more {
            // Not sourced: these fields. They are here so that one who reads too much is noticed.
            body["token_type"] = json!(if used.kind == Kind::Bot { "bot" } else { "user" });
            body["team"] = json!({ "id": TEAM, "name": "Simulated Workspace" });
            body["enterprise"] = Value::Null;
            body["authed_user"] = json!({ "id": USER, "token_type": "user", "access_token": Self::bystander() });
        }
        Said::json(200, body)
    }

    fn rotate(&mut self, asked: &Asked, now: i64) -> Said {
        if !is_form_of(asked, &["refresh_token"]) {
            return failed("invalid_arguments");
        }
        let sent = asked.form("refresh_token").expect("the form has it");
        // Not sourced: the error, and that this refresh token is single-use as well.
        let Some(used) = self.use_up(&sent, true) else { return failed("invalid_refresh_token") };
        let expires_at = now + ACCESS_SECONDS;
        let access = self.add_token(Kind::Configuration, Some(expires_at), used.installation);
        let refresh = self.add_refresh(Kind::Configuration, used.installation);
        Said::json(
            200,
            json!({
                "ok": true,
                "token": access,
                "refresh_token": refresh,
                "team_id": TEAM,
                "user_id": USER,
                "iat": now,
                "exp": expires_at,
            }),
        )
    }

    /// Uses up a refresh token that is still good, of a configuration token or of another.
    fn use_up(&mut self, text: &str, configuration: bool) -> Option<Refresh> {
        let fits = |token: &Refresh| token.text == text && (token.kind == Kind::Configuration) == configuration;
        let index = self.refresh_tokens.iter().position(fits)?;
        let found = self.refresh_tokens[index].clone();
        if found.revoked && self.reuse_revokes_family {
            for token in self.refresh_tokens.iter_mut().filter(|token| token.installation == found.installation) {
                token.revoked = true;
            }
        }
        if self.refresh_kills_access && !found.revoked || self.reuse_revokes_family && found.revoked {
            for token in self.tokens.iter_mut().filter(|token| token.installation == found.installation) {
                token.fate = Fate::Revoked;
            }
        }
        self.refresh_tokens[index].revoked = true;
        (!found.revoked).then_some(found)
    }

    fn secrets(&self) -> impl Iterator<Item = &String> {
        let access = self.tokens.iter().map(|token| &token.text);
        let refresh = self.refresh_tokens.iter().map(|token| &token.text);
        access.chain(refresh).chain([&self.client_secret])
    }
}

/// Whether these values are sent and no other, in a form.
fn is_form_of(asked: &Asked, wanted: &[&str]) -> bool {
    // Not sourced: that an `Authorization` header is refused here, which these methods do not document.
    asked.header("authorization").is_none() && asked.is_form_of(wanted)
}

fn failed(error: &str) -> Said {
    Said::json(200, json!({ "ok": false, "error": error }))
}

const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-";
const TEAM: &str = "T0SIMULATED";
const USER: &str = "U0SIMULATED";

#[test]
fn a_refresh_token_serves_once_and_for_its_own_kind() {
    let mut page = Slack::new();
    let (access, refresh) = page.make_rotating(Kind::Bot, 0);
    let wrong = Asked::new("POST", "/api/tooling.tokens.rotate").with_form(&[("refresh_token", &refresh)]);
    assert!(page.answer(&wrong, 0).body.contains("invalid_refresh_token"));
    let grant = Asked::new("POST", "/api/oauth.v2.access").with_form(&[
        ("client_id", &page.client_id),
        ("client_secret", &page.client_secret),
        ("grant_type", "refresh_token"),
        ("refresh_token", &refresh),
    ]);
    assert!(page.answer(&grant, 100).body.contains(r#""expires_in":43200"#));
    assert_eq!(page.answer(&grant, 100), failed("invalid_refresh_token"));

    let test = Asked::new("POST", "/api/auth.test").with_header("authorization", &format!("Bearer {access}"));
    assert!(page.answer(&test, ACCESS_SECONDS - 1).body.contains(r#""expires_in":1"#));
    assert_eq!(page.answer(&test, ACCESS_SECONDS), failed("token_expired"));
}
