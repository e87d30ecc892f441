//! The internal API of docs/providers.md: a ticket system with tokens of its own, as an operator would have it. It is written from the words there.

use std::collections::BTreeMap;

use serde_json::json;

use super::spelling::rfc_3339;
use super::{Asked, Page, Said};

/// The ticket system.
#[derive(Debug, Default)]
pub struct Tickets {
    /// Its tokens.
    pub tokens: BTreeMap<String, Token>,
    made: u32,
}

/// A token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token {
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// When it ends.
    pub ends: i64,
    /// Whether somebody withdrew it.
    pub revoked: bool,
    /// What it may do.
    pub scopes: String,
}

impl Tickets {
    /// Makes a token that lives so many days.
    pub fn make(&mut self, days: i64, now: i64) -> String {
        self.made += 1;
        let text = format!("tkt_{:024}", self.made);
        let token = Token { created: now, ends: now + days * DAY, revoked: false, scopes: SCOPES.to_owned() };
        self.tokens.insert(text.clone(), token);
        text
    }
}

impl Page for Tickets {
    fn answer(&mut self, asked: &Asked, now: i64) -> Said {
        let refused = |status: u16, code: &str| {
            Said::json(status, json!({"error": {"code": code, "message": format!("{code}, says the ticket system")}}))
        };
        if asked.header("x-tenant") != Some(TENANT) {
            return refused(400, "tenant_missing");
        }
        let Some(text) = asked.bearer().map(str::to_owned) else { return refused(401, "token_missing") };
        let Some(token) = self.tokens.get(&text).cloned() else { return refused(401, "token_unknown") };
        if token.revoked {
            return refused(401, "token_revoked");
        }
        if token.ends <= now {
            return refused(401, "token_expired");
        }
        match (asked.method.as_str(), asked.path.as_str()) {
            ("GET", "/api/tokens/current") => Said::json(
                200,
                json!({"token": {
                    "state": "active", "owner": 17, "created": token.created, "expires": rfc_3339(token.ends), "scopes": token.scopes,
                }}),
            )
            .with("X-Quota", 600)
            .with("X-Quota-Left", 450),
            ("POST", "/api/tokens/current/rotate") => {
                let Some(days) = asked.json().and_then(|body| body["days"].as_i64()) else {
                    return refused(400, "days_missing");
                };
                let new = self.make(days, now);
                let at = self.tokens[&new].ends;
                Said::json(201, json!({"token": {"value": new, "expires": rfc_3339(at)}}))
            }
            _ => refused(404, "not_found"),
        }
    }
}

/// The tenant.
pub const TENANT: &str = "acme";
const SCOPES: &str = "tickets.read tickets.write";
const DAY: i64 = 86_400;
