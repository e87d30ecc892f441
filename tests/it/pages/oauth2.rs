//! An authorization server after the standards alone: token introspection (RFC 7662) and the refresh of a grant (RFC
//! 6749 §6), as reference §3.5 tells them, with the dialects that it names: refresh tokens kept, repeated or
//! replaced, a grace window, and reuse that revokes the grant.
//!
//! It never issues a first token (there is no login), never takes a secret in the URL, and never says why a token is
//! not active.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::grants::described_fault as fault;
use super::spelling::{ALPHANUMERIC, drawn};
use super::{Asked, Page, Said};

/// An authorization server.
pub struct OAuth2 {
    /// Client ids and what is known of them.
    pub clients: BTreeMap<String, Client>,
    /// What users consented to; a token names its grant by the place in here.
    pub grants: Vec<Grant>,
    /// Access tokens that were ever issued.
    pub access_tokens: BTreeMap<String, AccessToken>,
    /// Refresh tokens that were ever issued.
    pub refresh_tokens: BTreeMap<String, RefreshToken>,
    /// How much introspection tells.
    pub introspection: Introspection,
    /// What becomes of a refresh token that is used.
    pub rotation: Rotation,
    /// Seconds that a new access token lasts.
    pub access_lifetime: i64,
    /// Seconds that a new refresh token lasts; none is for ever.
    pub refresh_lifetime: Option<i64>,
    /// Whether the answer to a refresh has `expires_in`.
    pub tells_expires_in: bool,
    /// Said to every request while it is set.
    pub trouble: Option<Said>,
}

/// A client of the server.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its secret.
    pub secret: String,
    /// How it is to prove itself.
    pub authentication: Authentication,
}

/// How a client proves itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Authentication {
    /// Basic authentication alone.
    Basic,
    /// `client_id` and `client_secret` in the form alone.
    Form,
    /// One of the two, never both at once.
    Either,
}

/// What a user consented to.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The client that has it.
    pub client_id: String,
    /// What it allows, divided by spaces.
    pub scope: String,
    /// Whether it was revoked, with every token of it.
    pub revoked: bool,
}

/// An access token and its fate.
#[derive(Clone, Debug)]
pub struct AccessToken {
    /// Its grant.
    pub grant: usize,
    /// What it may do, divided by spaces.
    pub scope: String,
    /// When it was issued.
    pub issued_at: i64,
    /// When it begins.
    pub not_before: i64,
    /// When it ends.
    pub expires_at: Option<i64>,
    /// Whether it was revoked by itself.
    pub revoked: bool,
}

/// A refresh token and its fate.
#[derive(Clone, Debug)]
pub struct RefreshToken {
    /// Its grant.
    pub grant: usize,
    /// When it was issued.
    pub issued_at: i64,
    /// When it ends.
    pub expires_at: Option<i64>,
    /// When it was replaced.
    pub replaced_at: Option<i64>,
    /// Whether it was revoked by itself.
    pub revoked: bool,
}

/// How much introspection tells of an active token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Introspection {
    /// Every documented field.
    Full,
    /// The same without `exp`, which is optional.
    WithoutExp,
    /// `active` and nothing else.
    Bare,
    /// A broken server: the fields without `active`.
    WithoutActive,
}

/// What becomes of a refresh token that is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rotation {
    /// It stays, and the answer does not speak of it.
    Kept,
    /// It stays, and the answer repeats it.
    Repeated,
    /// Another replaces it.
    Replaced {
        /// Seconds for which the replaced one still gives tokens.
        grace: i64,
        /// What its use after that does.
        reuse: Reuse,
    },
}

/// What the use of a replaced refresh token does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reuse {
    /// It is refused, and that is all.
    Refused,
    /// It is refused, and every token of the grant is dead.
    RevokesGrant,
}

impl OAuth2 {
    /// A server that knows one client, [`CLIENT_ID`], replaces refresh tokens and revokes the grant on reuse.
    pub fn new() -> Self {
        let client = Client { secret: CLIENT_SECRET.to_owned(), authentication: Authentication::Either };
        Self {
            clients: BTreeMap::from([(CLIENT_ID.to_owned(), client)]),
            grants: Vec::new(),
            access_tokens: BTreeMap::new(),
            refresh_tokens: BTreeMap::new(),
            introspection: Introspection::Full,
            rotation: Rotation::Replaced { grace: 0, reuse: Reuse::RevokesGrant },
            access_lifetime: 3600,
            refresh_lifetime: None,
            tells_expires_in: true,
            trouble: None,
        }
    }

    /// A new grant of [`CLIENT_ID`] with its first access token and refresh token.
    pub fn grant(&mut self, now: i64) -> (String, String) {
        let grant = self.grants.len();
        self.grants.push(Grant { client_id: CLIENT_ID.to_owned(), scope: SCOPE.to_owned(), revoked: false });
        (self.issue_access(grant, SCOPE, now), self.issue_refresh(grant, now))
    }

    /// Revokes one token of either kind, by itself.
    pub fn revoke(&mut self, token: &str) {
        if let Some(fate) = self.access_tokens.get_mut(token) {
            fate.revoked = true;
        } else {
            self.refresh_tokens.get_mut(token).expect("a token of this page").revoked = true;
        }
    }

    /// Revokes the grant of a token, and so every token of it.
    pub fn revoke_grant(&mut self, token: &str) {
        let grant = match self.access_tokens.get(token) {
            Some(fate) => fate.grant,
            None => self.refresh_tokens.get(token).expect("a token of this page").grant,
        };
        self.grants[grant].revoked = true;
    }

    /// Lets a token of either kind end at `at`; never where that is none.
    pub fn expire(&mut self, token: &str, at: Option<i64>) {
        if let Some(fate) = self.access_tokens.get_mut(token) {
            fate.expires_at = at;
        } else {
            self.refresh_tokens.get_mut(token).expect("a token of this page").expires_at = at;
        }
    }

    /// Whether a refresh would find the token good.
    pub fn refreshes(&self, refresh_token: &str, now: i64) -> bool {
        self.refresh_tokens.get(refresh_token).is_some_and(|fate| self.refresh_lives(fate, now))
    }

    /// Whether introspection would find the access token active.
    pub fn is_active(&self, access_token: &str, now: i64) -> bool {
        self.access_tokens.get(access_token).is_some_and(|fate| self.access_lives(fate, now))
    }

    /// The answer to a caller that asks too often.
    pub fn throttled(retry_after: Option<u32>) -> Said {
        // Not sourced: the standards do not speak of it.
        Said::text(429, "Too Many Requests").with_retry_after(retry_after)
    }

    /// An answer of a server that is not well.
    pub fn server_error() -> Said {
        // Not sourced: the body.
        Said::text(500, "Internal Server Error")
    }

    fn introspect(&self, asked: &Asked, now: i64) -> Said {
        if let Err(said) = self.client(asked) {
            return said;
        }
        let Some(token) = asked.form("token") else { return fault(400, "invalid_request", "token is missing") };
        match self.facts(&token, now) {
            None if self.introspection == Introspection::WithoutActive => Said::json(200, json!({})),
            None => Said::json(200, json!({ "active": false })),
            Some(facts) => Said::json(200, facts),
        }
    }

    /// What introspection tells of an active token, whatever hint came with it.
    fn facts(&self, token: &str, now: i64) -> Option<Value> {
        let mut facts = if let Some(fate) = self.access_tokens.get(token).filter(|fate| self.access_lives(fate, now)) {
            let mut facts = json!({
                "active": true,
                "scope": fate.scope,
                "client_id": self.grants[fate.grant].client_id,
                "token_type": "Bearer",
                "iat": fate.issued_at,
                "nbf": fate.not_before,
            });
            if let Some(at) = fate.expires_at {
                facts["exp"] = json!(at);
            }
            facts
        } else {
            // Not sourced: which fields a refresh token has; those that are not of an access token alone.
            let fate = self.refresh_tokens.get(token).filter(|fate| self.refresh_lives(fate, now))?;
            let grant = &self.grants[fate.grant];
            let mut facts = json!({
                "active": true,
                "scope": grant.scope,
                "client_id": grant.client_id,
                "iat": fate.issued_at,
            });
            if let Some(at) = fate.expires_at {
                facts["exp"] = json!(at);
            }
            facts
        };
        let map = facts.as_object_mut().expect("an object");
        match self.introspection {
            Introspection::Full => {}
            Introspection::WithoutExp => map.retain(|name, _| name != "exp"),
            Introspection::Bare => map.retain(|name, _| name == "active"),
            Introspection::WithoutActive => map.retain(|name, _| name != "active"),
        }
        Some(facts)
    }

    fn refresh(&mut self, asked: &Asked, now: i64) -> Said {
        let client_id = match self.client(asked) {
            Ok(client_id) => client_id,
            Err(said) => return said,
        };
        match asked.form("grant_type").as_deref() {
            Some("refresh_token") => {}
            Some(_) => return fault(400, "unsupported_grant_type", "refresh_token alone is supported"),
            None => return fault(400, "invalid_request", "grant_type is missing"),
        }
        let Some(token) = asked.form("refresh_token") else {
            return fault(400, "invalid_request", "refresh_token is missing");
        };
        let refused = fault(400, "invalid_grant", "the refresh token is invalid, expired or revoked");
        let Some(fate) = self.refresh_tokens.get(&token).cloned() else { return refused };
        let grant = self.grants[fate.grant].clone();
        if grant.client_id != client_id {
            return refused;
        }
        if !self.refresh_lives(&fate, now) {
            let reused = fate.replaced_at.is_some();
            if reused && matches!(self.rotation, Rotation::Replaced { reuse: Reuse::RevokesGrant, .. }) {
                self.grants[fate.grant].revoked = true;
            }
            return refused;
        }
        let scope = asked.form("scope").unwrap_or_else(|| grant.scope.clone());
        if scope.split(' ').any(|wanted| !grant.scope.split(' ').any(|granted| granted == wanted)) {
            return fault(400, "invalid_scope", "more than was granted");
        }
        // Not sourced: access tokens of before stay good until they end.
        let access_token = self.issue_access(fate.grant, &scope, now);
        let mut body = json!({ "access_token": access_token, "token_type": "Bearer" });
        if self.tells_expires_in {
            body["expires_in"] = json!(self.access_lifetime);
        }
        match self.rotation {
            Rotation::Kept => {}
            Rotation::Repeated => body["refresh_token"] = json!(token),
            Rotation::Replaced { .. } => {
                // Not sourced: within the grace each use gives one more refresh token, and all of them are good.
                body["refresh_token"] = json!(self.issue_refresh(fate.grant, now));
                let fate = self.refresh_tokens.get_mut(&token).expect("just found");
                fate.replaced_at = fate.replaced_at.or(Some(now));
            }
        }
        Said::json(200, body)
    }

    /// The client that a request authenticates, or the refusal.
    fn client(&self, asked: &Asked) -> Result<String, Said> {
        let (used, id, secret) = match (asked.basic(), asked.form("client_secret")) {
            (Some(_), Some(_)) => {
                return Err(fault(400, "invalid_request", "more than one way of client authentication"));
            }
            // Not sourced: whether both parts are percent-encoded first; ids and secrets of this page have nothing to
            // encode.
            (Some((id, secret)), None) => (Authentication::Basic, id, secret),
            (None, Some(secret)) => (Authentication::Form, asked.form("client_id").unwrap_or_default(), secret),
            (None, None) => return Err(bad_client()),
        };
        let known = self.clients.get(&id).filter(|client| client.secret == secret);
        match known {
            Some(client) if client.authentication == used || client.authentication == Authentication::Either => Ok(id),
            _ => Err(bad_client()),
        }
    }

    fn access_lives(&self, fate: &AccessToken, now: i64) -> bool {
        let revoked = fate.revoked || self.grants[fate.grant].revoked;
        !revoked && now >= fate.not_before && fate.expires_at.is_none_or(|at| now < at)
    }

    fn refresh_lives(&self, fate: &RefreshToken, now: i64) -> bool {
        let revoked = fate.revoked || self.grants[fate.grant].revoked;
        let grace = if let Rotation::Replaced { grace, .. } = self.rotation { grace } else { 0 };
        let replaced = fate.replaced_at.is_some_and(|at| now >= at + grace);
        !revoked && !replaced && fate.expires_at.is_none_or(|at| now < at)
    }

    fn issue_access(&mut self, grant: usize, scope: &str, now: i64) -> String {
        let token = drawn(&format!("access {}", self.access_tokens.len()), ALPHANUMERIC, 43);
        let fate = AccessToken {
            grant,
            scope: scope.to_owned(),
            issued_at: now,
            not_before: now,
            expires_at: Some(now + self.access_lifetime),
            revoked: false,
        };
        self.access_tokens.insert(token.clone(), fate);
        token
    }

    fn issue_refresh(&mut self, grant: usize, now: i64) -> String {
        let token = drawn(&format!("refresh {}", self.refresh_tokens.len()), ALPHANUMERIC, 43);
        let expires_at = self.refresh_lifetime.map(|lifetime| now + lifetime);
        let fate = RefreshToken { grant, issued_at: now, expires_at, replaced_at: None, revoked: false };
        self.refresh_tokens.insert(token.clone(), fate);
        token
    }
}

impl Page for OAuth2 {
    fn answer(&mut self, asked: &Asked, now: i64) -> Said {
        let tokens = self.access_tokens.keys().chain(self.refresh_tokens.keys());
        asked.insist_on_clean_url(tokens, &["token", "refresh_token", "client_secret"]);
        if let Some(said) = &self.trouble {
            return said.clone();
        }
        match (asked.method.as_str(), asked.path.as_str()) {
            ("POST", INTROSPECTION) => self.introspect(asked, now),
            ("POST", TOKEN) => self.refresh(asked, now),
            // Both places are [U].
            ("GET", "/.well-known/openid-configuration" | "/.well-known/oauth-authorization-server") => {
                discovery(asked)
            }
            (_, INTROSPECTION | TOKEN) => Said::text(405, ""),
            _ => Said::text(404, ""),
        }
    }
}

/// Where the endpoints are, on the host that was asked.
fn discovery(asked: &Asked) -> Said {
    // Not sourced: the names of the fields. Plain HTTP, because pages are served on loopback.
    let issuer = format!("http://{}", asked.header("host").unwrap_or_default());
    Said::json(
        200,
        json!({
            "issuer": issuer,
            "token_endpoint": format!("{issuer}{TOKEN}"),
            "introspection_endpoint": format!("{issuer}{INTROSPECTION}"),
        }),
    )
}

fn bad_client() -> Said {
    // Not sourced: the header, which HTTP asks for beside a 401.
    fault(401, "invalid_client", "client authentication failed").with("www-authenticate", "Basic realm=\"sample\"")
}

/// Where tokens are introspected. Not sourced: the standard leaves the place to the server.
pub const INTROSPECTION: &str = "/oauth2/introspect";
/// Where grants are refreshed. Not sourced: the standard leaves the place to the server.
pub const TOKEN: &str = "/oauth2/token";
/// The client that a new page knows.
pub const CLIENT_ID: &str = "sample-client";
/// Its secret.
pub const CLIENT_SECRET: &str = "sampleOauthClientSecret01";
/// What grants of a new page allow.
pub const SCOPE: &str = "messages.read messages.write";

#[test]
fn a_replayed_refresh_token_is_good_within_the_grace_and_kills_the_grant_after_it() {
    let mut page = OAuth2::new();
    page.rotation = Rotation::Replaced { grace: 30, reuse: Reuse::RevokesGrant };
    let (first, refresh) = page.grant(0);
    let asked = Asked::new("POST", TOKEN).with_form(&[
        ("grant_type", "refresh_token"),
        ("refresh_token", &refresh),
        ("client_id", CLIENT_ID),
        ("client_secret", CLIENT_SECRET),
    ]);
    assert_eq!(page.answer(&asked, 100).status, 200);
    assert_eq!(page.answer(&asked, 129).status, 200);
    assert!(page.is_active(&first, 129));
    let said = page.answer(&asked, 130);
    assert_eq!((said.status, said.body.contains("invalid_grant")), (400, true));
    assert!(!page.is_active(&first, 130));
    assert!(page.refresh_tokens.keys().all(|token| !page.refreshes(token, 130)));
}
