//! One answer: its status, headers and document, and whether a rule fits it.

use http::HeaderMap;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::outgoing::Reply;
use crate::provider::values::as_text;
use crate::settings::description::{Means, Pointer, Rule, Wanted};

/// An answer. Its body is wiped when it is dropped, for it may hold secrets; the document is not shown anywhere as a whole.
pub(super) struct Document {
    /// The status.
    pub(super) status: u16,
    /// The headers.
    pub(super) headers: HeaderMap,
    /// The body.
    pub(super) body: Zeroizing<Vec<u8>>,
    /// The same, where it is JSON.
    pub(super) json: Option<Value>,
}

impl Document {
    pub(super) fn of(reply: Reply) -> Self {
        let body = Zeroizing::new(reply.body);
        let json = serde_json::from_slice(&body).ok();
        Self { status: reply.status, headers: reply.headers, body, json }
    }

    /// What stands at the pointer; null is nothing.
    pub(super) fn at(&self, pointer: &Pointer) -> Option<&Value> {
        at(self.json.as_ref()?, pointer)
    }

    /// The same as text, where it is a text, a number or a flag.
    pub(super) fn text(&self, pointer: &Pointer) -> Option<String> {
        scalar(self.at(pointer)?)
    }

    /// A header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok().map(str::trim)
    }

    /// Whether all that the rule asks for is there.
    pub(super) fn fits(&self, rule: &Rule) -> bool {
        let status = rule.statuses.is_empty() || rule.statuses.iter().any(|statuses| statuses.holds(self.status));
        let json = |(pointer, wanted): &(Pointer, Vec<Wanted>)| is_wanted(wanted, self.at(pointer));
        let header = |(name, wanted): &(Box<str>, Vec<Wanted>)| {
            let value = self.header(name).map(|text| Value::String(text.to_owned()));
            is_wanted(wanted, value.as_ref())
        };
        let body = |wanted: &Wanted| {
            let text = String::from_utf8_lossy(&self.body);
            matches!(wanted, Wanted::Like(pattern) if is_like(pattern, &text))
        };
        status && rule.json.iter().all(json) && rule.headers.iter().all(header) && rule.body.as_ref().is_none_or(body)
    }
}

/// What stands at the pointer in a value; null is nothing.
pub(super) fn at<'v>(value: &'v Value, pointer: &Pointer) -> Option<&'v Value> {
    value.pointer(&pointer.0).filter(|found| !found.is_null())
}

/// A text, a number or a flag as text.
pub(super) fn scalar(value: &Value) -> Option<String> {
    value.as_bool().map(|flag| flag.to_string()).or_else(|| as_text(value))
}

fn is_wanted(wanted: &[Wanted], found: Option<&Value>) -> bool {
    wanted.iter().any(|wanted| match (wanted, found) {
        (Wanted::Absent, found) => found.is_none(),
        (Wanted::Present, found) => found.is_some(),
        (Wanted::Like(pattern), Some(found)) => scalar(found).is_some_and(|text| is_like(pattern, &text)),
        (Wanted::Like(_), None) => false,
    })
}

/// Whether the text is like the pattern, in which `*` stands for any text. Upper and lower case are the same: words for people vary in it.
fn is_like(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_ascii_lowercase(), text.to_ascii_lowercase());
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

/// What an answer means that no rule knows. A refusal without a rule is no proof of death (reference §0).
pub(super) const fn by_status(status: u16) -> Means {
    match status {
        429 => Means::Throttled,
        500..=599 => Means::Unavailable,
        _ => Means::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_matched_whole() {
        for (pattern, text, fits) in [
            ("active", "active", true),
            ("active", "Active", true),
            ("active", "inactive", false),
            ("*expired*", "the token is expired.", true),
            ("*expired", "expired.", false),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "a1c2b", false),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
            ("ac*ca", "aca", false),
        ] {
            assert_eq!(is_like(pattern, text), fits, "{pattern} {text}");
        }
    }
}
