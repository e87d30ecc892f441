//! What a token endpoint has of OAuth 2.0 (RFC 6749) and not of its provider: how a form proves the client and hands
//! in a refresh token, and how a request is refused.

use serde_json::json;

use super::{Asked, Said};

/// A refusal that has a code and no more.
pub fn fault(status: u16, code: &str) -> Said {
    Said::json(status, json!({ "error": code }))
}

/// A refusal that says as well what is wrong, for people.
pub fn described_fault(status: u16, code: &str, description: &str) -> Said {
    Said::json(status, json!({ "error": code, "error_description": description }))
}

/// Whether the form proves this client. Basic authentication does not.
pub fn form_proves(asked: &Asked, client_id: &str, client_secret: &str) -> bool {
    asked.form("client_id").as_deref() == Some(client_id)
        && asked.form("client_secret").as_deref() == Some(client_secret)
}

/// The refresh token of a form that asks for a refresh (§6), or the refusal of a form that does not.
pub fn refresh_token(asked: &Asked) -> Result<String, Said> {
    match asked.form("grant_type").as_deref() {
        Some("refresh_token") => {}
        Some(_) => return Err(fault(400, "unsupported_grant_type")),
        None => return Err(fault(400, "invalid_request")),
    }
    asked.form("refresh_token").ok_or_else(|| fault(400, "invalid_request"))
}
