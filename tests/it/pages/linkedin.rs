//! LinkedIn: access tokens that are introspected and, for approved partners, refreshed (reference §3.3).
//!
//! It never grants consent (a test makes the tokens), never introspects refresh tokens, never takes the client's secret
//! from a header, and never takes a secret in the URL.

use serde_json::{Value, json};

use super::grants::described_fault as failed;
use super::spelling::{URL_SAFE, drawn};
use super::{Asked, Page, Said};

/// The page: `www.linkedin.com/oauth/v2` with one application and its tokens.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct LinkedIn {
    /// The application.
    pub client_id: String,
    /// Its secret. It holds characters that a form must encode.
    pub client_secret: String,
    /// Every access token, oldest first.
    pub access_tokens: Vec<Access>,
    /// Every refresh token, oldest first.
    pub refresh_tokens: Vec<Refresh>,
    /// The application is an approved partner's, so it may refresh.
    pub partner: bool,
    /// The answer to a refresh has `scope`.
    pub shows_scope: bool,
    /// A refresh gives another refresh token and kills the old one, as rule 5 says of OAuth; otherwise the same one
    /// comes back. Not sourced: which of both.
    pub refresh_is_single_use: bool,
    /// A dead refresh token that is sent again revokes all that came from the same consent. Rule 5 has it as a
    /// possibility.
    pub reuse_revokes_family: bool,
    /// A refresh kills the access tokens before it ([U]).
    pub refresh_kills_access: bool,
    /// A token that was never there is a 400 instead of `{"active":false}`, which is expected and not established (§7).
    pub unknown_is_400: bool,
    /// What is said of a dead token has `active` and `status` alone. Not sourced: whether the other fields are there.
    pub dead_is_brief: bool,
    /// Answers everything with 429. Not sourced: limits of these paths, so no header tells when to come again.
    pub throttled: bool,
    /// Answers everything with this status.
    pub broken: Option<u16>,
}

/// An access token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Access {
    /// The secret.
    pub text: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// How it was authorized.
    pub authorization: Authorization,
    /// When it was made, in seconds since 1970.
    pub created_at: i64,
    /// When its consent was given.
    pub authorized_at: i64,
    /// When it expires.
    pub expires_at: i64,
    /// It was revoked; LinkedIn may do so at any time.
    pub revoked: bool,
    /// The number of its consent.
    pub consent: usize,
}

/// A refresh token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refresh {
    /// The secret.
    pub text: String,
    /// When it expires; no use extends this.
    pub expires_at: i64,
    /// It was revoked or used up.
    pub revoked: bool,
    /// The number of its consent.
    pub consent: usize,
}

/// The documented values of `auth_type`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Authorization {
    /// `2L`: the application alone.
    TwoLegged,
    /// `3L`: a member's consent.
    ThreeLegged,
    /// `Enterprise_User`
    EnterpriseUser,
}

/// The life of an access token: 60 days.
pub const ACCESS_SECONDS: i64 = 60 * 86_400;

/// The life of a refresh token: 365 days, whatever its use.
pub const REFRESH_SECONDS: i64 = 365 * 86_400;

impl LinkedIn {
    /// The service with one application of an approved partner and without tokens.
    pub fn new() -> Self {
        Self {
            client_id: "86simulated0id".to_owned(),
            // Not sourced: the shape.
            client_secret: "WPL_AP1.simulated+secret&of=two/parts==".to_owned(),
            access_tokens: Vec::new(),
            refresh_tokens: Vec::new(),
            partner: true,
            shows_scope: true,
            refresh_is_single_use: true,
            reuse_revokes_family: false,
            refresh_kills_access: false,
            unknown_is_400: false,
            dead_is_brief: false,
            throttled: false,
            broken: None,
        }
    }

    /// Makes the tokens of a new consent: the access token and the refresh token.
    pub fn make(&mut self, authorization: Authorization, scopes: &[&str], now: i64) -> (String, String) {
        let consent = self.refresh_tokens.last().map_or(0, |last| last.consent + 1);
        let scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
        let access = self.add_access(Access {
            text: String::new(),
            scopes,
            authorization,
            created_at: now,
            authorized_at: now,
            expires_at: now + ACCESS_SECONDS,
            revoked: false,
            consent,
        });
        (access, self.add_refresh(now + REFRESH_SECONDS, consent))
    }

    /// The access token with this secret, to change its fate.
    pub fn access_mut(&mut self, text: &str) -> &mut Access {
        self.access_tokens.iter_mut().find(|token| token.text == text).expect("an access token of this page")
    }

    /// The refresh token with this secret, to change its fate.
    pub fn refresh_mut(&mut self, text: &str) -> &mut Refresh {
        self.refresh_tokens.iter_mut().find(|token| token.text == text).expect("a refresh token of this page")
    }

    /// Revokes the access token with this secret.
    pub fn revoke_access(&mut self, text: &str) {
        self.access_mut(text).revoked = true;
    }

    /// Revokes the refresh token with this secret.
    pub fn revoke_refresh(&mut self, text: &str) {
        self.refresh_mut(text).revoked = true;
    }

    /// Lets the access token with this secret expire now.
    pub fn expire_access(&mut self, text: &str, now: i64) {
        self.access_mut(text).expires_at = now;
    }

    /// Lets the refresh token with this secret expire now.
    pub fn expire_refresh(&mut self, text: &str, now: i64) {
        self.refresh_mut(text).expires_at = now;
    }

    fn add_access(&mut self, token: Access) -> String {
        // Not sourced: the shape of either kind of token.
        let text = format!("AQV{}", drawn(&format!("linkedin access {}", self.access_tokens.len()), URL_SAFE, 120));
        self.access_tokens.push(Access { text: text.clone(), ..token });
        text
    }

    fn add_refresh(&mut self, expires_at: i64, consent: usize) -> String {
        let text = format!("AQX{}", drawn(&format!("linkedin refresh {}", self.refresh_tokens.len()), URL_SAFE, 120));
        self.refresh_tokens.push(Refresh { text: text.clone(), expires_at, revoked: false, consent });
        text
    }
}

impl Page for LinkedIn {
    fn answer(&mut self, asked: &Asked, now: i64) -> Said {
        asked.insist_on_clean_url(self.secrets(), &["client_secret", "token", "access_token", "refresh_token"]);
        if let Some(status) = self.broken {
            // Not sourced: the body.
            return Said::text(status, "Internal Server Error");
        }
        if self.throttled {
            return failed(429, "too_many_requests", "Resource level throttle limit reached");
        }
        let wanted: &[&str] = match asked.path.as_str() {
            "/oauth/v2/introspectToken" => &["client_id", "client_secret", "token"],
            "/oauth/v2/accessToken" => &["client_id", "client_secret", "grant_type", "refresh_token"],
            _ => return Said::text(404, "Not Found"),
        };
        if asked.method != "POST" {
            return Said::text(405, "Method Not Allowed");
        }
        // Not sourced: every failure from here on but `invalid_grant`, and every description; the names are those of
        // OAuth.
        if !asked.query.is_empty() || !asked.is_form_of(wanted) {
            return failed(
                400,
                "invalid_request",
                "The parameters must be those of the documentation, in a form, each once",
            );
        }
        let value = |name: &str| asked.form(name).expect("the form has all that is wanted");
        if value("client_id") != self.client_id || value("client_secret") != self.client_secret {
            return failed(401, "invalid_client", "Client authentication failed");
        }
        if asked.path == "/oauth/v2/introspectToken" {
            return self.introspect(&value("token"), now);
        }
        if value("grant_type") != "refresh_token" {
            return failed(400, "unsupported_grant_type", "Only refresh_token is known here");
        }
        if !self.partner {
            return failed(400, "unauthorized_client", "The application may not refresh tokens");
        }
        self.refresh(&value("refresh_token"), now)
    }
}

impl LinkedIn {
    fn introspect(&self, text: &str, now: i64) -> Said {
        let Some(token) = self.access_tokens.iter().find(|token| token.text == text) else {
            if self.unknown_is_400 {
                return failed(400, "invalid_request", "The token is not known");
            }
            return Said::json(200, json!({ "active": false }));
        };
        // Not sourced: the status of a token that is both.
        let status = match token {
            Access { revoked: true, .. } => "revoked",
            Access { expires_at, .. } if now >= *expires_at => "expired",
            _ => "active",
        };
        let active = status == "active";
        if !active && self.dead_is_brief {
            return Said::json(200, json!({ "active": active, "status": status }));
        }
        Said::json(
            200,
            json!({
                "active": active,
                "status": status,
                "client_id": self.client_id,
                "scope": token.scopes.join(","),
                "created_at": token.created_at,
                "authorized_at": token.authorized_at,
                "expires_at": token.expires_at,
                "auth_type": token.authorization.name(),
            }),
        )
    }

    fn refresh(&mut self, text: &str, now: i64) -> Said {
        let Some(index) = self.refresh_tokens.iter().position(|token| token.text == text) else {
            return failed(400, "invalid_grant", "The provided refresh token is invalid");
        };
        let Refresh { expires_at: refresh_expires, revoked, consent, .. } = self.refresh_tokens[index];
        if revoked {
            if self.reuse_revokes_family {
                self.revoke_consent(consent);
            }
            return failed(400, "invalid_grant", "The provided refresh token is revoked");
        }
        if now >= refresh_expires {
            return failed(400, "invalid_grant", "The provided refresh token is expired");
        }
        let last = self.access_tokens.iter().rfind(|token| token.consent == consent).cloned();
        let last = last.expect("a consent gave an access token too");
        if self.refresh_kills_access {
            for token in self.access_tokens.iter_mut().filter(|token| token.consent == consent) {
                token.revoked = true;
            }
        }
        // Nothing outlives the refresh token: on day 360 both have five days left.
        let expires_at = refresh_expires.min(now + ACCESS_SECONDS);
        let scope = last.scopes.join(",");
        let access = self.add_access(Access { created_at: now, expires_at, revoked: false, ..last });
        let refresh = if self.refresh_is_single_use {
            self.refresh_tokens[index].revoked = true;
            self.add_refresh(refresh_expires, consent)
        } else {
            text.to_owned()
        };
        let mut body = json!({
            "access_token": access,
            "expires_in": expires_at - now,
            "refresh_token": refresh,
            "refresh_token_expires_in": refresh_expires - now,
        });
        if self.shows_scope {
            // Not sourced: that scopes are separated by commas here as well.
            body["scope"] = Value::String(scope);
        }
        Said::json(200, body)
    }

    fn revoke_consent(&mut self, consent: usize) {
        for token in self.access_tokens.iter_mut().filter(|token| token.consent == consent) {
            token.revoked = true;
        }
        for token in self.refresh_tokens.iter_mut().filter(|token| token.consent == consent) {
            token.revoked = true;
        }
    }

    fn secrets(&self) -> impl Iterator<Item = &String> {
        let access = self.access_tokens.iter().map(|token| &token.text);
        let refresh = self.refresh_tokens.iter().map(|token| &token.text);
        access.chain(refresh).chain([&self.client_secret])
    }
}

impl Authorization {
    fn name(self) -> &'static str {
        match self {
            Self::TwoLegged => "2L",
            Self::ThreeLegged => "3L",
            Self::EnterpriseUser => "Enterprise_User",
        }
    }
}

#[test]
fn no_use_extends_a_refresh_token() {
    let mut page = LinkedIn::new();
    let (old, refresh) = page.make(Authorization::ThreeLegged, &["r_ads", "rw_ads"], 0);
    let form = |page: &LinkedIn, path: &str, values: &[(&str, &str)]| {
        let client = [("client_id", page.client_id.as_str()), ("client_secret", &page.client_secret)];
        Asked::new("POST", path).with_form(&[&client, values].concat())
    };
    let grant = [("grant_type", "refresh_token"), ("refresh_token", refresh.as_str())];
    let asked = form(&page, "/oauth/v2/accessToken", &grant);
    let late = 360 * 86_400;
    let body = page.answer(&asked, late).document();
    assert_eq!((&body["expires_in"], &body["refresh_token_expires_in"]), (&json!(432_000), &json!(432_000)));
    let again = page.answer(&asked, late);
    assert!(again.status == 400 && again.body.contains("invalid_grant"));

    let said = page.answer(&form(&page, "/oauth/v2/introspectToken", &[("token", &old)]), late);
    assert!(said.body.contains(r#""status":"expired""#) && said.body.contains(r#""scope":"r_ads,rw_ads""#));
}
