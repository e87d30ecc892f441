//! What was sent, what came back and what was read of it, for whoever describes a provider. Every secret in it is hidden: those that are known by
//! their value, whatever looks like one, and whatever a document keeps under a name that says so.

use http::HeaderMap;
use serde_json::Value;

use super::answer::Document;
use super::request::{Filled, Papers};
use crate::domain::inspection::{Expiry, Inspection, TokenKind};
use crate::outgoing::{Failure, Reply};
use crate::ports::Rehearsed;
use crate::redact::redact;
use crate::settings::description::Means;

/// The story of one question, where anybody listens.
pub(super) struct Rehearsal(Option<Vec<Rehearsed>>);

impl Rehearsal {
    /// Nobody listens.
    pub(super) const fn off() -> Self {
        Self(None)
    }

    /// Somebody does.
    pub(super) const fn on() -> Self {
        Self(Some(Vec::new()))
    }

    pub(super) fn told(self) -> Vec<Rehearsed> {
        self.0.unwrap_or_default()
    }

    pub(super) fn fact(&mut self, what: &str, text: impl Into<String>) {
        if let Some(told) = &mut self.0 {
            told.push(Rehearsed { what: what.into(), text: text.into() });
        }
    }

    pub(super) fn request(&mut self, filled: &Filled, papers: &Papers<'_>) {
        if self.0.is_none() {
            return;
        }
        let clean = |text: &str| redact(text, &papers.secrets());
        let mut lines = vec![format!("{} {}", filled.method, clean(filled.url.as_str()))];
        lines.extend(header_lines(&filled.headers, &clean));
        if !filled.body.is_empty() {
            lines.push(String::new());
            lines.push(clean(&String::from_utf8_lossy(&filled.body)));
        }
        self.fact("request", lines.join("\n"));
    }

    pub(super) fn reply(&mut self, reply: &Result<Reply, Failure>, papers: &Papers<'_>) {
        let Err(failure) = reply else { return };
        let text = redact(&failure.to_string(), &papers.secrets());
        self.fact("answer", format!("none: {text}"));
    }

    pub(super) fn document(&mut self, document: &Document, papers: &Papers<'_>) {
        if self.0.is_none() {
            return;
        }
        let clean = |text: &str| redact(text, &papers.secrets());
        let mut lines = vec![format!("HTTP {}", document.status)];
        lines.extend(header_lines(&document.headers, &clean));
        lines.push(String::new());
        match &document.json {
            Some(json) => {
                let shown = serde_json::to_string_pretty(&hidden(json, &clean)).unwrap_or_default();
                lines.extend(shown.lines().take(MOST_LINES).map(str::to_owned));
            }
            None => lines.push(clean(&String::from_utf8_lossy(&document.body))),
        }
        self.fact("answer", lines.join("\n"));
    }

    pub(super) fn means(&mut self, rule: Option<usize>, means: Means) {
        let means = match means {
            Means::Revoked(cause) => format!("revoked ({})", cause.as_str()),
            Means::AppFault(fault) => format!("app_fault ({})", fault.as_str()),
            Means::Valid => "valid".to_owned(),
            Means::Forbidden => "forbidden: it works, but may not ask this".to_owned(),
            Means::Expired => "expired".to_owned(),
            Means::Unreadable => "unreadable".to_owned(),
            Means::Throttled => "throttled".to_owned(),
            Means::Unavailable => "unavailable".to_owned(),
            Means::Unknown => "unknown: it says nothing about the token".to_owned(),
            Means::Foreign => "foreign: the token of another app".to_owned(),
        };
        let by = rule.map_or_else(|| "by its status, for no rule fits".to_owned(), |at| format!("by rule {}", at + 1));
        self.fact("means", format!("{means} ({by})"));
    }

    pub(super) fn facts(&mut self, facts: &Inspection, kind: Option<&TokenKind>) {
        let known = |text: Option<&str>| text.unwrap_or("not told").to_owned();
        self.fact(
            "expires",
            match facts.expires {
                Expiry::Never => "never".to_owned(),
                Expiry::At(at) => at.to_string(),
                Expiry::Unknown => "not told".to_owned(),
            },
        );
        self.fact("issued", facts.issued_at.map_or_else(|| "not told".to_owned(), |at| at.to_string()));
        let scopes =
            facts.grants.as_ref().map(|grants| grants.iter().map(|grant| &*grant.scope).collect::<Vec<_>>().join(", "));
        self.fact("scopes", known(scopes.as_deref()));
        self.fact("kind", known(kind.map(TokenKind::as_str)));
        self.fact("user", known(facts.user_id.as_deref()));
        self.fact("app", known(facts.app_id.as_deref()));
    }

    pub(super) fn result(&mut self, facts: &Result<Inspection, crate::domain::inspection::CheckError>) {
        let Err(error) = facts else { return };
        self.fact("verdict", format!("none: {error}"));
    }
}

fn header_lines(headers: &HeaderMap, clean: &impl Fn(&str) -> String) -> Vec<String> {
    let line = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        let hides = value.is_sensitive() || names_a_secret(name.as_str());
        let shown = if hides { STARS.to_owned() } else { clean(&String::from_utf8_lossy(value.as_bytes())) };
        format!("{name}: {shown}")
    };
    headers.iter().map(line).collect()
}

/// A document without its secrets.
fn hidden(value: &Value, clean: &impl Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(clean(text)),
        Value::Array(items) => Value::Array(items.iter().take(MOST_ITEMS).map(|item| hidden(item, clean)).collect()),
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(name, field)| {
                    let hides = names_a_secret(name) && field.is_string();
                    let shown = if hides { Value::String(STARS.to_owned()) } else { hidden(field, clean) };
                    (clean(name), shown)
                })
                .collect(),
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// Whether a field or a header of that name may hold a secret.
fn names_a_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let whole = ["id", "token_type", "hint"].contains(&name.as_str());
    let part = ["token", "secret", "password", "api_key", "apikey", "cookie", "authorization", "auth_token"];
    !whole && part.iter().any(|part| name.contains(part))
}

const STARS: &str = "***";
/// More lines than anybody reads.
const MOST_LINES: usize = 200;
const MOST_ITEMS: usize = 20;
