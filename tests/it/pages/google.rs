//! Google's OAuth 2.0 host: `POST /tokeninfo` and `POST /token`, after reference §3.5 (Google access token, Google
//! refresh token, RFC 6749 §6).
//!
//! It never takes a secret in the URL, although `GET /tokeninfo?access_token=…` is what Google documents: the page
//! fails the test instead. It never tells when a refresh token ends, and never issues a refresh token by itself.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::grants::fault;
use super::spelling::{ALPHANUMERIC, drawn};
use super::{Asked, Page, Said};

/// Google's OAuth host.
pub struct Google {
    /// Client ids and their secrets.
    pub clients: BTreeMap<String, String>,
    /// Access tokens that were ever issued.
    pub access_tokens: BTreeMap<String, AccessToken>,
    /// Refresh tokens that were ever issued.
    pub refresh_tokens: BTreeMap<String, RefreshToken>,
    /// How tokeninfo writes its numbers.
    pub numbers: Numbers,
    /// Which of the two fields of the expiry tokeninfo has.
    pub expiry: ExpiryFields,
    /// Said to every request while it is set.
    pub trouble: Option<Said>,
}

/// An access token and its fate.
#[derive(Clone, Debug)]
pub struct AccessToken {
    /// The client that it was issued to.
    pub client_id: String,
    /// What it may do, divided by spaces.
    pub scope: String,
    /// When it ends.
    pub expires_at: i64,
    /// Whether it was revoked before that.
    pub revoked: bool,
}

/// A refresh token and its fate; nothing of its end can be read.
#[derive(Clone, Debug)]
pub struct RefreshToken {
    /// The client that it was issued to.
    pub client_id: String,
    /// What its access tokens may do, divided by spaces.
    pub scope: String,
    /// When it was issued.
    pub issued_at: i64,
    /// When it was last used, or else issued.
    pub used_at: i64,
    /// Whether the consent screen is in "Testing": it dies 7 days after it was issued.
    pub testing: bool,
    /// Whether the user, or a policy, revoked it.
    pub revoked: bool,
}

/// How tokeninfo writes `exp` and `expires_in`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Numbers {
    /// `"exp":"1463554322"`, as in the sample of 2016.
    Text,
    /// `"exp":1463554322`.
    Plain,
}

/// Which fields tell the expiry of an access token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExpiryFields {
    /// `expires_in` and `exp`.
    Both,
    /// The seconds that are left alone.
    ExpiresIn,
    /// The instant alone.
    Exp,
}

impl Google {
    /// A host that knows one client, [`CLIENT_ID`].
    pub fn new() -> Self {
        Self {
            clients: BTreeMap::from([(CLIENT_ID.to_owned(), CLIENT_SECRET.to_owned())]),
            access_tokens: BTreeMap::new(),
            refresh_tokens: BTreeMap::new(),
            numbers: Numbers::Text,
            expiry: ExpiryFields::Both,
            trouble: None,
        }
    }

    /// A new access token, good for [`ACCESS_LIFETIME`].
    pub fn access_token(&mut self, seed: &str, now: i64) -> String {
        self.issue(seed, CLIENT_ID, SCOPE, now)
    }

    /// A new refresh token of an app in production.
    pub fn refresh_token(&mut self, seed: &str, now: i64) -> String {
        // Not sourced: the shape of refresh tokens.
        let token = format!("1//0{}", drawn(&format!("refresh {seed}"), ALPHANUMERIC, 60));
        let fate = RefreshToken {
            client_id: CLIENT_ID.to_owned(),
            scope: SCOPE.to_owned(),
            issued_at: now,
            used_at: now,
            testing: false,
            revoked: false,
        };
        self.refresh_tokens.insert(token.clone(), fate);
        token
    }

    /// Puts the consent screen of a refresh token's app to "Testing".
    pub fn put_to_testing(&mut self, refresh_token: &str) {
        self.refresh_tokens.get_mut(refresh_token).expect("a token of this page").testing = true;
    }

    /// Revokes a token of either kind.
    pub fn revoke(&mut self, token: &str) {
        if let Some(fate) = self.access_tokens.get_mut(token) {
            fate.revoked = true;
        } else {
            self.refresh_tokens.get_mut(token).expect("a token of this page").revoked = true;
        }
    }

    /// Lets an access token end at `at`.
    pub fn expire(&mut self, access_token: &str, at: i64) {
        self.access_tokens.get_mut(access_token).expect("a token of this page").expires_at = at;
    }

    /// The answer to a caller that asks too often.
    pub fn throttled(retry_after: Option<u32>) -> Said {
        // Not sourced: the body, and whether Retry-After is sent.
        Said::json(429, json!({ "error": "rate_limit_exceeded" })).with_retry_after(retry_after)
    }

    /// An answer of a host that is not well, and no JSON.
    pub fn server_error() -> Said {
        // Not sourced: the body.
        Said { kind: "text/html", ..Said::text(503, "<html><title>Error 503 (Service Unavailable)</title></html>") }
    }

    fn tokeninfo(&self, asked: &Asked, now: i64) -> Said {
        // The POST form is [U].
        let fate = asked.form("access_token").and_then(|token| self.access_tokens.get(&token));
        let Some(fate) = fate.filter(|fate| !fate.revoked && now < fate.expires_at) else {
            // The status is [U], the body [3p]. Not sourced: that a request without a token, an expired and a revoked
            // one get the same.
            return Said::json(400, json!({ "error": "invalid_token", "error_description": "Invalid Value" }));
        };
        let mut body = json!({
            "azp": fate.client_id,
            "aud": fate.client_id,
            "scope": fate.scope,
            "access_type": "offline",
        });
        if self.expiry != ExpiryFields::Exp {
            body["expires_in"] = self.number(fate.expires_at - now);
        }
        if self.expiry != ExpiryFields::ExpiresIn {
            body["exp"] = self.number(fate.expires_at);
        }
        Said::json(200, body)
    }

    fn token(&mut self, asked: &Asked, now: i64) -> Said {
        // Of the errors of RFC 6749 the code alone is known of Google, and the status is [U].
        let Some(grant_type) = asked.form("grant_type") else { return fault(400, "invalid_request") };
        if grant_type != "refresh_token" {
            return fault(400, "unsupported_grant_type");
        }
        let Some(client_id) = self.client(asked) else { return fault(401, "invalid_client") };
        let Some(token) = asked.form("refresh_token") else { return fault(400, "invalid_request") };
        let known = self.refresh_tokens.get_mut(&token);
        let Some(fate) = known.filter(|fate| fate.client_id == client_id && fate.lives(now)) else {
            return fault(400, "invalid_grant");
        };
        fate.used_at = now;
        let scope = fate.scope.clone();
        let seed = format!("{token} {}", self.access_tokens.len());
        // Not sourced: earlier access tokens stay good, and no new refresh token comes.
        let access_token = self.issue(&seed, &client_id, &scope, now);
        Said::json(
            200,
            json!({
                "access_token": access_token,
                "expires_in": ACCESS_LIFETIME,
                "scope": scope,
                "token_type": "Bearer",
            }),
        )
    }

    /// The client that a request authenticates.
    fn client(&self, asked: &Asked) -> Option<String> {
        // Not sourced: how a client authenticates at Google; a form and basic authentication are taken, both at once
        // are not.
        let pair = match (asked.basic(), asked.form("client_secret")) {
            (Some(pair), None) => pair,
            (None, Some(secret)) => (asked.form("client_id")?, secret),
            _ => return None,
        };
        (self.clients.get(&pair.0) == Some(&pair.1)).then_some(pair.0)
    }

    fn issue(&mut self, seed: &str, client_id: &str, scope: &str, now: i64) -> String {
        // Not sourced: the shape of access tokens.
        let token = format!("ya29.{}", drawn(&format!("access {seed}"), ALPHANUMERIC, 120));
        let fate = AccessToken {
            client_id: client_id.to_owned(),
            scope: scope.to_owned(),
            expires_at: now + ACCESS_LIFETIME,
            revoked: false,
        };
        self.access_tokens.insert(token.clone(), fate);
        token
    }

    fn number(&self, value: i64) -> Value {
        match self.numbers {
            Numbers::Text => json!(value.to_string()),
            Numbers::Plain => json!(value),
        }
    }
}

impl RefreshToken {
    /// Whether it gives access tokens.
    pub fn lives(&self, now: i64) -> bool {
        // Both limits are [3p].
        let tried_out = self.testing && now >= self.issued_at + TESTING_LIFETIME;
        !self.revoked && !tried_out && now < self.used_at + UNUSED_LIFETIME
    }
}

impl Page for Google {
    fn answer(&mut self, asked: &Asked, now: i64) -> Said {
        let tokens = self.access_tokens.keys().chain(self.refresh_tokens.keys());
        asked.insist_on_clean_url(tokens, &["access_token", "refresh_token", "client_secret"]);
        if let Some(said) = &self.trouble {
            return said.clone();
        }
        match (asked.method.as_str(), asked.path.as_str()) {
            ("POST", "/tokeninfo") => self.tokeninfo(asked, now),
            ("POST", "/token") => self.token(asked, now),
            // Not sourced: a GET without a token in the URL.
            (_, "/tokeninfo" | "/token") => Said::text(405, ""),
            _ => Said::text(404, ""),
        }
    }
}

/// The client that a new page knows.
pub const CLIENT_ID: &str = "100000000001-sample.apps.googleusercontent.com";
/// Its secret.
pub const CLIENT_SECRET: &str = "sampleGoogleClientSecret01";
/// What the tokens of a new page may do.
pub const SCOPE: &str = "https://www.googleapis.com/auth/business.manage";
/// Seconds that an access token lasts.
pub const ACCESS_LIFETIME: i64 = 3600;
/// Seconds after which a refresh token of an app in "Testing" is dead.
pub const TESTING_LIFETIME: i64 = 7 * 86_400;
/// Seconds after which an unused refresh token is dead. Not sourced: how long the six months are to the day.
pub const UNUSED_LIFETIME: i64 = 182 * 86_400;
