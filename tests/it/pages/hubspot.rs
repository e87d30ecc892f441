//! HubSpot: introspection and refresh of OAuth tokens, and two pages that any good token may read, after reference
//! §3.6 (HubSpot).
//!
//! It never takes a token in the URL, although `GET /oauth/v1/access-tokens/{token}` is documented: the page fails
//! the test instead. It tells no end of a private app's token, because there is none, and changes none over HTTP:
//! people do that.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::grants::{fault, form_proves, refresh_token};
use super::spelling::{ALPHANUMERIC, HEXADECIMAL, drawn};
use super::{Asked, Page, Said};

/// HubSpot's API.
pub struct HubSpot {
    /// OAuth access tokens that were ever issued.
    pub access_tokens: BTreeMap<String, AccessToken>,
    /// Refresh tokens, and whether each was revoked.
    pub refresh_tokens: BTreeMap<String, bool>,
    /// Tokens of private apps that were ever issued.
    pub private_tokens: BTreeMap<String, PrivateToken>,
    /// Which field of introspection tells the end.
    pub expiry: ExpiryField,
    /// Said to every request while it is set.
    pub trouble: Option<Said>,
}

/// An OAuth access token and its fate.
#[derive(Clone, Debug)]
pub struct AccessToken {
    /// When it ends.
    pub expires_at: i64,
    /// Whether it was revoked.
    pub revoked: bool,
    /// What it may do.
    pub scopes: Vec<String>,
}

/// A private app's token and its fate.
#[derive(Clone, Debug)]
pub struct PrivateToken {
    /// From when it is dead: after a rotation by a person, or because it was found in public.
    pub dead_from: Option<i64>,
    /// What it may do.
    pub scopes: Vec<String>,
}

/// Which field of introspection tells the end. Not sourced: the reference knows `expires_in` of the older endpoint
/// only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExpiryField {
    /// The seconds that are left.
    ExpiresIn,
    /// The instant, as RFC 7662 has it.
    Exp,
    /// None.
    Absent,
}

impl HubSpot {
    /// An account whose OAuth app is [`CLIENT_ID`].
    pub fn new() -> Self {
        Self {
            access_tokens: BTreeMap::new(),
            refresh_tokens: BTreeMap::new(),
            private_tokens: BTreeMap::new(),
            expiry: ExpiryField::ExpiresIn,
            trouble: None,
        }
    }

    /// A new access token of the OAuth app and its refresh token; the former is as long as they can be.
    pub fn grant(&mut self, now: i64) -> (String, String) {
        // Not sourced: the shape of both.
        let refresh_token =
            format!("na1-{}", drawn(&format!("refresh {}", self.refresh_tokens.len()), ALPHANUMERIC, 60));
        self.refresh_tokens.insert(refresh_token.clone(), false);
        (self.issue(now), refresh_token)
    }

    /// A new private app's token, `pat-na1-…` [U], that may read contacts.
    pub fn private_token(&mut self) -> String {
        let token = private_shape(self.private_tokens.len());
        let scopes = vec![CONTACTS_SCOPE.to_owned()];
        self.private_tokens.insert(token.clone(), PrivateToken { dead_from: None, scopes });
        token
    }

    /// A person rotates a private app's token; the old one dies at once, or after seven days [U].
    pub fn rotate_private_token(&mut self, token: &str, overlap: bool, now: i64) -> String {
        let scopes = self.private_tokens[token].scopes.clone();
        self.deactivate(token, if overlap { now + OVERLAP } else { now });
        let token = private_shape(self.private_tokens.len());
        self.private_tokens.insert(token.clone(), PrivateToken { dead_from: None, scopes });
        token
    }

    /// A private app's token is dead from `at`, as when it was found on GitHub.
    pub fn deactivate(&mut self, token: &str, at: i64) {
        self.private_tokens.get_mut(token).expect("a token of this page").dead_from = Some(at);
    }

    /// Takes every scope from a private app's token.
    pub fn withdraw_scopes(&mut self, token: &str) {
        self.private_tokens.get_mut(token).expect("a token of this page").scopes.clear();
    }

    /// Revokes an OAuth token of either kind.
    pub fn revoke(&mut self, token: &str) {
        if let Some(fate) = self.access_tokens.get_mut(token) {
            fate.revoked = true;
        } else {
            *self.refresh_tokens.get_mut(token).expect("a token of this page") = true;
        }
    }

    /// Lets an OAuth access token end at `at`.
    pub fn expire(&mut self, token: &str, at: i64) {
        self.access_tokens.get_mut(token).expect("a token of this page").expires_at = at;
    }

    /// The answer to a caller that asks too often.
    pub fn throttled(retry_after: Option<u32>) -> Said {
        // Not sourced: status, text, and whether Retry-After is sent.
        failure(429, "RATE_LIMITS", "You have reached your secondly limit.").with_retry_after(retry_after)
    }

    /// An answer of a server that is not well.
    pub fn server_error() -> Said {
        // Not sourced: the body.
        failure(500, "INTERNAL_ERROR", "internal error")
    }

    fn introspect(&self, asked: &Asked, now: i64) -> Said {
        // Not sourced: basic authentication, which is not taken, here and in a refresh.
        if !form_proves(asked, CLIENT_ID, CLIENT_SECRET) {
            return fault(401, "invalid_client");
        }
        // Not sourced: whether the hint is needed; it is listed without a mark, so it is.
        let hint =
            asked.form("token_type_hint").filter(|hint| ["access_token", "refresh_token"].contains(&hint.as_str()));
        let (Some(token), Some(_)) = (asked.form("token"), hint) else { return fault(400, "invalid_request") };
        let access = self.access_tokens.get(&token).filter(|fate| !fate.revoked && now < fate.expires_at);
        if let Some(fate) = access {
            // Not sourced: the fields other than `active`.
            let mut body = json!({
                "active": true,
                "token_type": "bearer",
                "client_id": CLIENT_ID,
                "hub_id": PORTAL_ID,
                "scopes": fate.scopes,
            });
            match self.expiry {
                ExpiryField::ExpiresIn => body["expires_in"] = json!(fate.expires_at - now),
                ExpiryField::Exp => body["exp"] = json!(fate.expires_at),
                ExpiryField::Absent => {}
            }
            return Said::json(200, body);
        }
        if self.refresh_tokens.get(&token) == Some(&false) {
            return Said::json(200, json!({ "active": true, "client_id": CLIENT_ID, "hub_id": PORTAL_ID }));
        }
        // Not sourced: what is said of a token that is not good; RFC 7662 is followed, also for tokens of private apps.
        Said::json(200, json!({ "active": false }))
    }

    fn refresh(&mut self, asked: &Asked, now: i64) -> Said {
        // Not sourced: the paths, which follow from those of introspection, and every failure, which are those of RFC
        // 6749.
        if !form_proves(asked, CLIENT_ID, CLIENT_SECRET) {
            return fault(401, "invalid_client");
        }
        let token = match refresh_token(asked) {
            Ok(token) => token,
            Err(said) => return said,
        };
        if self.refresh_tokens.get(&token) != Some(&false) {
            return fault(400, "invalid_grant");
        }
        // Not sourced: access tokens of before stay good until they end, and the refresh token stays the same.
        let access_token = self.issue(now);
        Said::json(
            200,
            json!({
                "access_token": access_token,
                "expires_in": ACCESS_LIFETIME,
                "refresh_token": token,
                "token_type": "bearer",
            }),
        )
    }

    /// A page that a token of either kind may read; `scope` is what it needs.
    fn read(&self, asked: &Asked, scope: Option<&str>, body: Value, now: i64) -> Said {
        let token = asked.bearer().unwrap_or_default();
        let access = self.access_tokens.get(token).filter(|fate| !fate.revoked && now < fate.expires_at);
        let private = self.private_tokens.get(token).filter(|fate| fate.dead_from.is_none_or(|at| now < at));
        let scopes = access.map(|fate| &fate.scopes).or(private.map(|fate| &fate.scopes));
        match scopes {
            // Not sourced: category and text, for a request without a token as well.
            None => failure(401, "INVALID_AUTHENTICATION", "Authentication credentials not found or not valid."),
            Some(scopes) if scope.is_none_or(|scope| scopes.iter().any(|known| known == scope)) => {
                Said::json(200, body)
            }
            // Not sourced: status, category and text.
            Some(_) => failure(403, "MISSING_SCOPES", "This app hasn't been granted all required scopes."),
        }
    }

    fn issue(&mut self, now: i64) -> String {
        let token = drawn(&format!("access {}", self.access_tokens.len()), ALPHANUMERIC, 300);
        let scopes = vec!["oauth".to_owned(), CONTACTS_SCOPE.to_owned()];
        let fate = AccessToken { expires_at: now + ACCESS_LIFETIME, revoked: false, scopes };
        self.access_tokens.insert(token.clone(), fate);
        token
    }
}

impl Page for HubSpot {
    fn answer(&mut self, asked: &Asked, now: i64) -> Said {
        let tokens = self.access_tokens.keys().chain(self.refresh_tokens.keys()).chain(self.private_tokens.keys());
        asked.insist_on_clean_url(tokens, &["client_secret"]);
        if let Some(said) = &self.trouble {
            return said.clone();
        }
        match (asked.method.as_str(), asked.path.as_str()) {
            ("POST", "/oauth/2026-03/token/introspect" | "/oauth/v3/token/introspect") => self.introspect(asked, now),
            ("POST", "/oauth/2026-03/token" | "/oauth/v3/token") => self.refresh(asked, now),
            // "Any GET" is documented; that these two are among them is [U]. Not sourced: the bodies.
            ("GET", "/crm/v3/objects/contacts") if asked.query.iter().all(|(name, _)| name == "limit") => {
                self.read(asked, Some(CONTACTS_SCOPE), contacts(), now)
            }
            ("GET", "/account-info/v3/details") if asked.query.is_empty() => self.read(
                asked,
                None,
                json!({ "portalId": PORTAL_ID, "accountType": "STANDARD", "timeZone": "UTC" }),
                now,
            ),
            _ => failure(404, "OBJECT_NOT_FOUND", "resource not found"),
        }
    }
}

/// One contact of the customer: nobody may see it beside the service itself.
fn contacts() -> Value {
    json!({
        "results": [{
            "id": "1",
            "properties": { "email": CONTACT_EMAIL, "firstname": "Sample", "hs_object_id": "1" },
            "archived": false,
        }],
        "paging": { "next": { "after": "1" } },
    })
}

/// A failure of the API. Not sourced: the shape.
fn failure(status: u16, category: &str, message: &str) -> Said {
    let id = "00000000-0000-4000-8000-000000000002";
    Said::json(status, json!({ "status": "error", "message": message, "correlationId": id, "category": category }))
}

fn private_shape(made: usize) -> String {
    let hex = drawn(&format!("private {made}"), HEXADECIMAL, 32);
    format!("pat-na1-{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// The OAuth app.
pub const CLIENT_ID: &str = "00000000-0000-4000-8000-0000000000c1";
/// Its secret.
pub const CLIENT_SECRET: &str = "5ecc2e70-9d0b-4a3e-b1f6-7704c0ffee41";
/// What reading contacts needs. Not sourced.
pub const CONTACTS_SCOPE: &str = "crm.objects.contacts.read";
/// The mail address of a customer's contact, which a body holds and no output may.
pub const CONTACT_EMAIL: &str = "contact@customer.example";
/// The account.
pub const PORTAL_ID: u64 = 1_234_567;
/// Seconds that an OAuth access token lasts, as in the sample.
pub const ACCESS_LIFETIME: i64 = 1800;
/// Seconds that the old token of a private app may live beside the new one.
pub const OVERLAP: i64 = 7 * 86_400;
