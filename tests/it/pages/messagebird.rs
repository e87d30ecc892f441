//! MessageBird's legacy API (`rest.messagebird.com`), after §2.2 of the reference: the balance as a check of a key, and
//! the error envelope.
//!
//! It never makes or ends a key over the API, since no such address exists; never says that a key expires, since none
//! does; never sends a message. The real service takes a key from the query too: doing so fails here, since a secret
//! must not stand in an address.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::spelling::{ALPHANUMERIC, drawn};
use super::{Asked, Page, Said};

/// The account and its keys.
pub struct Messagebird {
    /// Every key that was ever made, and whether it lives.
    pub keys: BTreeMap<String, Key>,
    /// How the account pays.
    pub payment: String,
    /// The unit of the balance.
    pub balance_type: String,
    /// The balance; it may be a fraction, and below zero.
    pub amount: f64,
    /// Which codes stand in a refusal.
    pub codes: Codes,
    /// Every request gets 429.
    pub throttled: bool,
    /// 429 carries the headers that a third party claims.
    pub rate_headers: bool,
    /// Every request gets this status of a broken server, with no usable body.
    pub broken: Option<u16>,
    seed: String,
    made: u64,
}

/// A key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    /// Its kind.
    pub kind: KeyKind,
    /// It has not been deleted in the dashboard.
    pub alive: bool,
}

/// The two kinds of keys. [3p] Both answer alike to the check; a test key only pretends to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyKind {
    /// It sends.
    Live,
    /// It pretends to send.
    Test,
}

/// The codes of a 401; the documents of the company differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Codes {
    /// Code 2, as the official client has it.
    Rest,
    /// Code 15 for a bad key and 11 for a missing one, as the voice documents have it.
    Voice,
}

impl Messagebird {
    /// An account without keys.
    pub fn new(seed: &str) -> Self {
        Self {
            keys: BTreeMap::new(),
            payment: "prepaid".to_owned(),
            balance_type: "credits".to_owned(),
            amount: 9.2,
            codes: Codes::Rest,
            throttled: false,
            rate_headers: false,
            broken: None,
            seed: seed.to_owned(),
            made: 0,
        }
    }

    /// A new key of the common shape, 25 letters and digits [U].
    pub fn add_key(&mut self, kind: KeyKind) -> String {
        self.made += 1;
        let key = drawn(&format!("messagebird {} {}", self.seed, self.made), ALPHANUMERIC, 25);
        self.keys.insert(key.clone(), Key { kind, alive: true });
        key
    }

    /// A new key that begins with its kind, as some do [U].
    pub fn add_prefixed_key(&mut self, kind: KeyKind) -> String {
        let bare = self.add_key(kind);
        let key = match kind {
            KeyKind::Live => format!("live_{bare}"),
            KeyKind::Test => format!("test_{bare}"),
        };
        let entry = self.keys.remove(&bare).expect("it was just made");
        self.keys.insert(key.clone(), entry);
        key
    }

    /// A key is deleted in the dashboard.
    pub fn revoke(&mut self, key: &str) {
        self.keys.get_mut(key).expect("the key exists").alive = false;
    }
}

impl Page for Messagebird {
    fn answer(&mut self, asked: &Asked, _now: i64) -> Said {
        asked.insist_on_clean_url(self.keys.keys(), &["access_key"]);
        if let Some(status) = self.broken {
            return Said::text(status, "");
        }
        if self.throttled {
            // Not sourced: the body of a 429.
            let said = Said::json(429, errors(25, "Too many requests", Value::Null));
            return if self.rate_headers {
                // [3p] Claimed, not confirmed.
                said.with("X-RateLimit-Limit", 50).with("X-RateLimit-Remaining", 0)
            } else {
                said
            };
        }
        // Not sourced: a wrong method; here it is as unknown as a wrong path.
        if (asked.method.as_str(), asked.path.as_str()) != ("GET", "/balance") {
            return Said::json(404, errors(20, "Not found", Value::Null));
        }
        // Not sourced: what a request without this header gets; the documented request carries it.
        if asked.header("accept") != Some("application/json") {
            return Said::text(406, "");
        }
        // Not sourced: what happens to anything beyond the documented request; a strict page refuses it.
        if !asked.query.is_empty() || !asked.body.is_empty() {
            return Said::json(422, errors(9, "unknown parameter", Value::Null));
        }
        let given = asked.header("authorization").and_then(|value| value.strip_prefix("AccessKey "));
        let alive = given.and_then(|key| self.keys.get(key)).is_some_and(|key| key.alive);
        match (alive, self.codes, given) {
            (true, ..) => {
                Said::json(200, json!({ "payment": self.payment, "type": self.balance_type, "amount": self.amount }))
            }
            (false, Codes::Rest, _) => {
                Said::json(401, errors(2, "Request not allowed (incorrect access_key)", json!("access_key")))
            }
            // Not sourced: the descriptions and the parameter beside these codes, and that a missing key counts as
            // missing data.
            (false, Codes::Voice, Some(_)) => Said::json(401, errors(15, "Authorization failed", Value::Null)),
            (false, Codes::Voice, None) => Said::json(401, errors(11, "Missing data", Value::Null)),
        }
    }
}

fn errors(code: u32, description: &str, parameter: Value) -> Value {
    json!({ "errors": [{ "code": code, "description": description, "parameter": parameter }] })
}
