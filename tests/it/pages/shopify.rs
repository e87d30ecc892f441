//! One Shopify shop: the scopes of an offline token and the refresh of an expiring one, after reference §3.6 (Shopify).
//!
//! It never issues a first token, never tells when a token ends other than in the answer that issued it, and never
//! takes a secret in the URL.

use std::collections::BTreeMap;

use serde_json::json;

use super::grants::{fault, form_proves, refresh_token};
use super::spelling::{HEXADECIMAL, drawn};
use super::{Asked, Page, Said};

/// A shop, as an app that is installed in it sees it.
pub struct Shopify {
    /// Offline access tokens that were ever issued.
    pub access_tokens: BTreeMap<String, AccessToken>,
    /// Refresh tokens that were ever issued.
    pub refresh_tokens: BTreeMap<String, RefreshToken>,
    /// What the app may do.
    pub scopes: Vec<String>,
    /// Whether the app is installed; without it no token is good.
    pub installed: bool,
    /// What the retry of a refresh answers.
    pub retry: Retry,
    /// Said to every request while it is set.
    pub trouble: Option<Said>,
}

/// An offline access token and its fate.
#[derive(Clone, Debug)]
pub struct AccessToken {
    /// When it ends; the older kind never does.
    pub expires_at: Option<i64>,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// A refresh token and its fate.
#[derive(Clone, Debug)]
pub struct RefreshToken {
    /// When it was issued.
    pub issued_at: i64,
    /// When it was first used.
    pub used_at: Option<i64>,
    /// What replaced it.
    pub replacement: Option<String>,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// What the retry of a refresh answers. Not sourced: which of the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retry {
    /// The refresh token that was issued already, beside a new access token.
    SameReplacement,
    /// Another refresh token; the one that was issued before is dead.
    AnotherReplacement,
}

impl Shopify {
    /// A shop in which the app of [`CLIENT_ID`] is installed.
    pub fn new() -> Self {
        Self {
            access_tokens: BTreeMap::new(),
            refresh_tokens: BTreeMap::new(),
            scopes: vec!["read_orders".to_owned(), "write_customers".to_owned()],
            installed: true,
            retry: Retry::SameReplacement,
            trouble: None,
        }
    }

    /// A new offline token of the kind that never expires.
    pub fn lasting_token(&mut self) -> String {
        self.issue_access(None)
    }

    /// A new expiring offline token and its refresh token.
    pub fn expiring_token(&mut self, now: i64) -> (String, String) {
        (self.issue_access(Some(now + ACCESS_LIFETIME)), self.issue_refresh(now))
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
        self.access_tokens.get_mut(access_token).expect("a token of this page").expires_at = Some(at);
    }

    /// The merchant removes the app.
    pub fn uninstall(&mut self) {
        self.installed = false;
    }

    /// Whether a refresh would find the token good.
    pub fn refreshes(&self, refresh_token: &str, now: i64) -> bool {
        let Some(fate) = self.refresh_tokens.get(refresh_token) else { return false };
        let retryable = fate.used_at.is_none_or(|at| now < at + RETRY_LIFETIME);
        let replacement = fate.replacement.as_ref().map(|token| &self.refresh_tokens[token]);
        let replaced = replacement.is_some_and(|fate| fate.used_at.is_some());
        self.installed && !fate.revoked && retryable && !replaced && now < fate.issued_at + REFRESH_LIFETIME
    }

    /// The answer to a caller that asks too often.
    pub fn throttled(retry_after: Option<u32>) -> Said {
        // Not sourced: status, body, and whether Retry-After is sent.
        errors(429, "Exceeded the rate limit").with_retry_after(retry_after)
    }

    /// An answer of a server that is not well.
    pub fn server_error() -> Said {
        // Not sourced: the body.
        errors(500, "Internal Server Error")
    }

    fn access_scopes(&self, asked: &Asked, now: i64) -> Said {
        let fate = asked.header("x-shopify-access-token").and_then(|token| self.access_tokens.get(token));
        let lives = fate.is_some_and(|fate| !fate.revoked && fate.expires_at.is_none_or(|at| now < at));
        if !lives || !self.installed {
            // Not sourced: status and text, for a request without a token as well.
            return errors(401, "[API] Invalid API key or access token (unrecognized login or wrong password)");
        }
        // The endpoint is [U]. Not sourced: the body.
        let scopes: Vec<_> = self.scopes.iter().map(|scope| json!({ "handle": scope })).collect();
        Said::json(200, json!({ "access_scopes": scopes }))
    }

    fn refresh(&mut self, asked: &Asked, now: i64) -> Said {
        // The endpoint is [U]. Not sourced: every failure; those of RFC 6749 are said.
        if !form_proves(asked, CLIENT_ID, CLIENT_SECRET) {
            return fault(401, "invalid_client");
        }
        let token = match refresh_token(asked) {
            Ok(token) => token,
            Err(said) => return said,
        };
        if !self.refreshes(&token, now) {
            return fault(400, "invalid_grant");
        }
        // Not sourced: access tokens of before stay good until they end.
        let access_token = self.issue_access(Some(now + ACCESS_LIFETIME));
        let earlier = self.refresh_tokens[&token].replacement.clone();
        let replacement = match (earlier, self.retry) {
            (Some(earlier), Retry::SameReplacement) => earlier,
            (earlier, _) => {
                if let Some(earlier) = earlier {
                    self.revoke(&earlier);
                }
                self.issue_refresh(now)
            }
        };
        let left = self.refresh_tokens[&replacement].issued_at + REFRESH_LIFETIME - now;
        let fate = self.refresh_tokens.get_mut(&token).expect("just found");
        fate.used_at = fate.used_at.or(Some(now));
        fate.replacement = Some(replacement.clone());
        // Not sourced: the names of the fields other than `expires_in`.
        Said::json(
            200,
            json!({
                "access_token": access_token,
                "expires_in": ACCESS_LIFETIME,
                "refresh_token": replacement,
                "refresh_token_expires_in": left,
                "scope": self.scopes.join(","),
            }),
        )
    }

    fn issue_access(&mut self, expires_at: Option<i64>) -> String {
        // The prefix is [U].
        let token = format!("shpat_{}", drawn(&format!("access {}", self.access_tokens.len()), HEXADECIMAL, 32));
        self.access_tokens.insert(token.clone(), AccessToken { expires_at, revoked: false });
        token
    }

    fn issue_refresh(&mut self, now: i64) -> String {
        // Not sourced: the shape of refresh tokens.
        let token = format!("shprt_{}", drawn(&format!("refresh {}", self.refresh_tokens.len()), HEXADECIMAL, 32));
        let fate = RefreshToken { issued_at: now, used_at: None, replacement: None, revoked: false };
        self.refresh_tokens.insert(token.clone(), fate);
        token
    }
}

impl Page for Shopify {
    fn answer(&mut self, asked: &Asked, now: i64) -> Said {
        let tokens = self.access_tokens.keys().chain(self.refresh_tokens.keys());
        asked.insist_on_clean_url(tokens, &["client_secret"]);
        if let Some(said) = &self.trouble {
            return said.clone();
        }
        match (asked.method.as_str(), asked.path.as_str()) {
            ("GET", "/admin/oauth/access_scopes.json") => self.access_scopes(asked, now),
            ("POST", "/admin/oauth/access_token") => self.refresh(asked, now),
            (_, "/admin/oauth/access_scopes.json" | "/admin/oauth/access_token") => errors(405, "Method Not Allowed"),
            _ => errors(404, "Not Found"),
        }
    }
}

/// A failure of the admin pages. Not sourced: the shape.
fn errors(status: u16, text: &str) -> Said {
    Said::json(status, json!({ "errors": text }))
}

/// The app.
pub const CLIENT_ID: &str = "00112233445566778899aabbccddeeff";
/// Its secret; the prefix is [U].
pub const CLIENT_SECRET: &str = "shpss_0123456789abcdef0123456789abcdef";
/// Seconds that an expiring access token lasts.
pub const ACCESS_LIFETIME: i64 = 3600;
/// Seconds that a refresh token lasts: 90 days.
pub const REFRESH_LIFETIME: i64 = 90 * 86_400;
/// Seconds after its first use in which a refresh token can be used again: 30 days.
pub const RETRY_LIFETIME: i64 = 30 * 86_400;

#[test]
fn a_refresh_can_be_retried_until_the_replacement_is_used() {
    let mut page = Shopify::new();
    let (_, first) = page.expiring_token(0);
    let refresh = |page: &mut Shopify, token: &str, now| {
        let asked = Asked::new("POST", "/admin/oauth/access_token").with_form(&[
            ("client_id", CLIENT_ID),
            ("client_secret", CLIENT_SECRET),
            ("grant_type", "refresh_token"),
            ("refresh_token", token),
        ]);
        let said = page.answer(&asked, now);
        (said.status, said.document()["refresh_token"].as_str().unwrap_or_default().to_owned())
    };
    let (status, second) = refresh(&mut page, &first, 10);
    assert_eq!(status, 200);
    assert_eq!(refresh(&mut page, &first, 20), (200, second.clone()));
    assert!(page.refreshes(&first, 9 + RETRY_LIFETIME) && !page.refreshes(&first, 10 + RETRY_LIFETIME));
    let (status, third) = refresh(&mut page, &second, 30);
    assert_eq!(status, 200);
    assert_eq!(refresh(&mut page, &first, 40).0, 400);
    page.retry = Retry::AnotherReplacement;
    let (status, fourth) = refresh(&mut page, &second, 50);
    assert_eq!((status, page.refreshes(&third, 50), page.refreshes(&fourth, 50)), (200, false, true));
}
