//! The tokens of Vault and OpenBao: `GET /v1/auth/token/lookup-self` and `POST /v1/auth/token/renew-self`, after
//! reference §3.7.
//!
//! It never takes a token elsewhere than in `X-Vault-Token`, never tells a bad token from a policy that denies, and
//! never makes another string of a token that is renewed. Both bodies hold the token itself, as `data.id` and as
//! `auth.client_token`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::Offset;
use serde_json::{Value, json};

use super::spelling::{ALPHANUMERIC, drawn};
use super::{Asked, Page, Said};

/// A Vault or OpenBao.
pub struct Vault {
    /// Whose tokens it makes.
    pub flavour: Flavour,
    /// Tokens that were ever made.
    pub tokens: BTreeMap<String, Token>,
    /// The namespace of all tokens, which requests then have to name in `X-Vault-Namespace` [U].
    pub namespace: Option<String>,
    /// The offset in which instants are written; 0 writes `Z`.
    pub offset_hours: i8,
    /// The nanoseconds of every instant.
    pub nanoseconds: i32,
    /// Seconds that a token without a limit of its own can live with all renewals.
    pub system_max_ttl: i64,
    /// Said to every request while it is set.
    pub trouble: Option<Said>,
}

/// Whose tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flavour {
    /// `hvs.`, and `hvb.` for batch tokens.
    Vault,
    /// `s.`, and `b.` for batch tokens; older Vaults as well.
    OpenBao,
}

/// The kind of a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Stored, and renewable where it is said to be.
    Service,
    /// Not stored, and never renewable.
    Batch,
}

/// A token and its fate.
#[derive(Clone, Debug)]
pub struct Token {
    /// Another handle of it.
    pub accessor: String,
    /// The kind.
    pub kind: Kind,
    /// When it was made.
    pub created_at: i64,
    /// Seconds that it had at first; 0 for one that never expires.
    pub creation_ttl: i64,
    /// When it ends; none is never.
    pub expires_at: Option<i64>,
    /// Its own limit in seconds since it was made; 0 for none.
    pub explicit_max_ttl: i64,
    /// Seconds that every renewal gives to a periodic token.
    pub period: Option<i64>,
    /// Whether it may be renewed.
    pub renewable: bool,
    /// When it was last renewed.
    pub renewed_at: Option<i64>,
    /// Uses that are left; 0 for any number.
    pub num_uses: u32,
    /// Whether it has no parent.
    pub orphan: bool,
    /// The names of its policies.
    pub policies: Vec<String>,
    /// Paths that its policies do not allow.
    pub denied: Vec<&'static str>,
    /// Whether it was revoked.
    pub revoked: bool,
}

impl Vault {
    /// A Vault without tokens that writes instants as in the documented sample.
    pub fn new(flavour: Flavour) -> Self {
        Self {
            flavour,
            tokens: BTreeMap::new(),
            namespace: None,
            offset_hours: -4,
            nanoseconds: 466_476_215,
            system_max_ttl: SYSTEM_MAX_TTL,
            trouble: None,
        }
    }

    /// A renewable service token.
    pub fn service_token(&mut self, seed: &str, ttl: i64, now: i64) -> String {
        self.make(seed, Kind::Service, Some(ttl), now)
    }

    /// A periodic service token.
    pub fn periodic_token(&mut self, seed: &str, period: i64, now: i64) -> String {
        let token = self.make(seed, Kind::Service, Some(period), now);
        self.token(&token).period = Some(period);
        token
    }

    /// A batch token.
    pub fn batch_token(&mut self, seed: &str, ttl: i64, now: i64) -> String {
        let token = self.make(seed, Kind::Batch, Some(ttl), now);
        self.token(&token).renewable = false;
        token
    }

    /// A root token: `ttl` 0, `expire_time` null.
    pub fn root_token(&mut self, seed: &str, now: i64) -> String {
        let token = self.make(seed, Kind::Service, None, now);
        let fate = self.token(&token);
        (fate.renewable, fate.orphan, fate.policies) = (false, true, vec!["root".to_owned()]);
        token
    }

    /// The fate of a token.
    pub fn token(&mut self, token: &str) -> &mut Token {
        self.tokens.get_mut(token).expect("a token of this page")
    }

    /// Revokes a token.
    pub fn revoke(&mut self, token: &str) {
        self.token(token).revoked = true;
    }

    /// Lets the policies of a token deny a path.
    pub fn deny(&mut self, token: &str, path: &'static str) {
        self.token(token).denied.push(path);
    }

    /// The answer of a sealed server; the status is [U].
    pub fn sealed() -> Said {
        // Not sourced: the text.
        errors(503, "Vault is sealed")
    }

    /// The answer to a caller that asks too often; the status is [U].
    pub fn throttled(retry_after: Option<u32>) -> Said {
        // Not sourced: the text, and whether Retry-After is sent.
        errors(429, "rate limit quota exceeded").with_retry_after(retry_after)
    }

    /// An answer of a server that is not well.
    pub fn server_error() -> Said {
        // Not sourced: the text.
        errors(500, "internal error")
    }

    fn lookup(&self, token: &str, now: i64) -> Said {
        let fate = &self.tokens[token];
        let mut data = json!({
            "id": token,
            "accessor": fate.accessor,
            "creation_time": fate.created_at,
            "creation_ttl": fate.creation_ttl,
            "expire_time": fate.expires_at.map(|at| self.instant(at)),
            "ttl": fate.expires_at.map_or(0, |at| at - now),
            "explicit_max_ttl": fate.explicit_max_ttl,
            "renewable": fate.renewable,
            "num_uses": fate.num_uses,
            "orphan": fate.orphan,
            "type": fate.kind.name(),
            "policies": fate.policies,
            "issue_time": self.instant(fate.created_at),
        });
        if let Some(period) = fate.period {
            data["period"] = json!(period);
        }
        if let Some(at) = fate.renewed_at {
            data["last_renewal"] = json!(self.instant(at));
        }
        envelope(data, Value::Null)
    }

    fn renew(&mut self, asked: &Asked, token: &str, now: i64) -> Said {
        // Not sourced: that the body may be left out, and then asks for as much as at first.
        let body = if asked.body.is_empty() { Some(json!({})) } else { asked.json() };
        let Some(body) = body.filter(Value::is_object) else { return errors(400, "failed to parse JSON input") };
        let increment = match &body["increment"] {
            Value::Null => None,
            value => match seconds(value) {
                Some(seconds) => Some(seconds),
                // Not sourced: the text.
                None => return errors(400, "error converting input for field \"increment\""),
            },
        };
        let system_max_ttl = self.system_max_ttl;
        let fate = self.token(token);
        if fate.kind == Kind::Batch {
            // Not sourced: the status.
            return errors(400, "batch tokens cannot be renewed");
        }
        let Some(end) = fate.expires_at.filter(|_| fate.renewable) else {
            // Not sourced: status and text, for a token that never expires as well.
            return errors(400, "lease is not renewable");
        };
        let max_ttl = match (fate.explicit_max_ttl, fate.period) {
            (0, Some(_)) => None,
            (0, None) => Some(system_max_ttl),
            (own, _) => Some(own),
        };
        // Not sourced: an increment below what is left shortens the life, and 0 asks for as much as at first.
        let wanted = fate.period.or(increment.filter(|seconds| *seconds > 0)).unwrap_or(fate.creation_ttl);
        // A token at its limit is renewed without gain, and that is a success; the limit takes nothing that it has.
        let limit = max_ttl.map_or(i64::MAX, |max_ttl| end.max(fate.created_at + max_ttl));
        let end = limit.min(now + wanted);
        (fate.expires_at, fate.renewed_at) = (Some(end), Some(now));
        let auth = json!({
            "client_token": token,
            "accessor": fate.accessor,
            "policies": fate.policies,
            "lease_duration": end - now,
            "renewable": fate.renewable,
            "token_type": fate.kind.name(),
            "orphan": fate.orphan,
            "num_uses": fate.num_uses,
        });
        envelope(Value::Null, auth)
    }

    /// Whether a token may ask for a path; spends a use, as every call does [U].
    fn admit(&mut self, asked: &Asked, now: i64) -> Option<String> {
        let named = asked.header("x-vault-namespace").unwrap_or_default();
        // Not sourced: that slashes at the ends do not matter, and that a wrong namespace is a 403.
        if named.trim_matches('/') != self.namespace.as_deref().unwrap_or_default().trim_matches('/') {
            return None;
        }
        let token = asked.header("x-vault-token")?;
        let fate = self.tokens.get_mut(token)?;
        if fate.revoked || fate.expires_at.is_some_and(|at| now >= at) {
            return None;
        }
        if fate.num_uses > 0 {
            fate.num_uses -= 1;
            // The last use is served, and the token is dead after it.
            fate.revoked = fate.num_uses == 0;
        }
        let allowed = !fate.denied.iter().any(|path| *path == asked.path);
        allowed.then(|| token.to_owned())
    }

    fn make(&mut self, seed: &str, kind: Kind, ttl: Option<i64>, now: i64) -> String {
        let text = drawn(seed, ALPHANUMERIC, 24);
        let token = match (self.flavour, kind) {
            (Flavour::Vault, Kind::Service) => format!("hvs.{text}"),
            (Flavour::Vault, Kind::Batch) => format!("hvb.{text}"),
            (Flavour::OpenBao, Kind::Service) => format!("s.{text}"),
            (Flavour::OpenBao, Kind::Batch) => format!("b.{text}"),
        };
        let fate = Token {
            // Not sourced: the shape of accessors.
            accessor: drawn(&format!("accessor {seed}"), ALPHANUMERIC, 24),
            kind,
            created_at: now,
            creation_ttl: ttl.unwrap_or(0),
            expires_at: ttl.map(|ttl| now + ttl),
            explicit_max_ttl: 0,
            period: None,
            renewable: true,
            renewed_at: None,
            num_uses: 0,
            orphan: false,
            policies: vec!["default".to_owned(), "sample".to_owned()],
            denied: Vec::new(),
            revoked: false,
        };
        self.tokens.insert(token.clone(), fate);
        token
    }

    fn instant(&self, seconds: i64) -> String {
        let at = Timestamp::new(seconds, self.nanoseconds).expect("an instant of this age");
        match self.offset_hours {
            0 => at.to_string(),
            hours => at.display_with_offset(Offset::from_hours(hours).expect("an offset")).to_string(),
        }
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Batch => "batch",
        }
    }
}

impl Page for Vault {
    fn answer(&mut self, asked: &Asked, now: i64) -> Said {
        asked.insist_on_clean_url(self.tokens.keys(), &[]);
        if let Some(said) = &self.trouble {
            return said.clone();
        }
        let method = match asked.path.as_str() {
            LOOKUP_SELF => "GET",
            RENEW_SELF => "POST",
            // Not sourced: the bodies of a path and of a method that are not there.
            _ => return Said::json(404, json!({ "errors": [] })),
        };
        if asked.method != method {
            return errors(405, "unsupported operation");
        }
        // Not sourced: the text, and that a request without a token gets the same.
        let Some(token) = self.admit(asked, now) else { return errors(403, "permission denied") };
        if asked.path == LOOKUP_SELF { self.lookup(&token, now) } else { self.renew(asked, &token, now) }
    }
}

/// What stands around `data` and `auth`. Not sourced; note that `renewable` and `lease_duration` at the top say
/// nothing of the token.
fn envelope(data: Value, auth: Value) -> Said {
    Said::json(
        200,
        json!({
            "request_id": "00000000-0000-4000-8000-000000000001",
            "lease_id": "",
            "renewable": false,
            "lease_duration": 0,
            "data": data,
            "wrap_info": null,
            "warnings": null,
            "auth": auth,
        }),
    )
}

fn errors(status: u16, text: &str) -> Said {
    Said::json(status, json!({ "errors": [text] }))
}

/// Seconds of an increment: a number, digits, or a duration such as `1h30m`. Not sourced, but for `1h`.
fn seconds(value: &Value) -> Option<i64> {
    let Value::String(text) = value else { return value.as_i64() };
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    let (mut sum, mut digits) = (0, String::new());
    for letter in text.chars() {
        let unit = match letter {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            _ => {
                digits.push(letter);
                continue;
            }
        };
        sum += digits.parse::<i64>().ok()?.checked_mul(unit)?;
        digits.clear();
    }
    (digits.is_empty() && !text.is_empty()).then_some(sum)
}

/// Where a token looks at itself.
pub const LOOKUP_SELF: &str = "/v1/auth/token/lookup-self";
/// Where a token renews itself.
pub const RENEW_SELF: &str = "/v1/auth/token/renew-self";
/// The system's limit of a life with all renewals: 32 days.
pub const SYSTEM_MAX_TTL: i64 = 32 * 86_400;

fn ask(page: &mut Vault, method: &str, path: &str, token: &str, body: &str, now: i64) -> (u16, Value) {
    let asked = Asked::new(method, path).with_header("x-vault-token", token).with_json(body);
    let said = page.answer(&asked, now);
    (said.status, said.document())
}

#[test]
fn a_renewal_at_the_limit_succeeds_and_gains_nothing() {
    let mut page = Vault::new(Flavour::OpenBao);
    let token = page.service_token("capped", 3600, 0);
    page.token(&token).explicit_max_ttl = 5000;
    let lease = |page: &mut Vault, now| {
        let (status, body) = ask(page, "POST", RENEW_SELF, &token, r#"{"increment":"1h"}"#, now);
        (status, body["auth"]["lease_duration"].as_i64())
    };
    assert_eq!(lease(&mut page, 1000), (200, Some(3600)));
    assert_eq!(lease(&mut page, 2000), (200, Some(3000)));
    assert_eq!(lease(&mut page, 4000), (200, Some(1000)));
    assert_eq!(lease(&mut page, 5000), (403, None));
}

#[test]
fn instants_are_written_as_in_the_sample_and_a_root_token_has_no_end() {
    let mut page = Vault::new(Flavour::Vault);
    let token = page.service_token("sample", 3600, 1_526_740_554);
    let (_, body) = ask(&mut page, "GET", LOOKUP_SELF, &token, "", 1_526_740_554);
    assert_eq!(body["data"]["expire_time"], "2018-05-19T11:35:54.466476215-04:00");
    assert_eq!((&body["data"]["ttl"], &body["data"]["id"]), (&json!(3600), &json!(token)));
    let root = page.root_token("root", 0);
    let (_, body) = ask(&mut page, "GET", LOOKUP_SELF, &root, "", 100);
    assert_eq!((&body["data"]["ttl"], &body["data"]["expire_time"]), (&json!(0), &Value::Null));
}
