//! Docker Hub: the exchange of a personal access token for a short-lived JWT, the list of access tokens, and the
//! making of one, after reference §3.6 (Docker Hub).
//!
//! It never shows a token after the answer that made it (the list has `"***"`), never marks which entry is the one
//! that asks, and deletes no token over HTTP, because no such request is in the reference.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::spelling::{ALPHANUMERIC, HEXADECIMAL, drawn, written};
use super::{Asked, Page, Said};

/// Docker Hub.
pub struct DockerHub {
    /// Access tokens, of users and of organizations, in the order in which the list has them.
    pub tokens: Vec<Token>,
    /// JWTs of the exchange: whose it is, and when it ends.
    pub bearers: BTreeMap<String, (String, i64)>,
    /// Seconds that a JWT lasts. Not sourced: how long.
    pub bearer_lifetime: i64,
    /// What stands before the path in `next`; none for the host that was asked.
    pub next_base: Option<String>,
    /// Said to every request while it is set.
    pub trouble: Option<Said>,
    made: u32,
}

/// An access token and its fate.
#[derive(Clone, Debug)]
pub struct Token {
    /// The token itself.
    pub text: String,
    /// The name of its user or organization.
    pub owner: String,
    /// Its id.
    pub uuid: String,
    /// What people call it; need not be the only one of that name.
    pub label: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// Whether it works.
    pub is_active: bool,
    /// When it was made.
    pub created_at: i64,
    /// When it was last used.
    pub last_used: Option<i64>,
    /// When it ends; never where there is none.
    pub expires_at: Option<i64>,
}

impl DockerHub {
    /// A Docker Hub without tokens.
    pub fn new() -> Self {
        Self {
            tokens: Vec::new(),
            bearers: BTreeMap::new(),
            bearer_lifetime: 600,
            next_base: None,
            trouble: None,
            made: 0,
        }
    }

    /// A new personal access token of [`USER`]: `dckr_pat_…`.
    pub fn personal_token(&mut self, label: &str, expires_at: Option<i64>, now: i64) -> String {
        self.make("dckr_pat_", USER, label, expires_at, now)
    }

    /// A new access token of [`ORGANIZATION`]: `dckr_oat_…` [U].
    pub fn organization_token(&mut self, label: &str, expires_at: Option<i64>, now: i64) -> String {
        self.make("dckr_oat_", ORGANIZATION, label, expires_at, now)
    }

    /// The fate of a token.
    pub fn token(&mut self, text: &str) -> &mut Token {
        self.tokens.iter_mut().find(|token| token.text == text).expect("a token of this page")
    }

    /// Makes a token inactive.
    pub fn deactivate(&mut self, text: &str) {
        self.token(text).is_active = false;
    }

    /// Lets a token end at `at`.
    pub fn expire(&mut self, text: &str, at: i64) {
        self.token(text).expires_at = Some(at);
    }

    /// Deletes a token, as a person does.
    pub fn delete(&mut self, text: &str) {
        self.tokens.retain(|token| token.text != text);
    }

    /// The answer to a caller that asks too often.
    pub fn throttled(retry_after: Option<u32>) -> Said {
        // Not sourced: the body, and whether Retry-After is sent.
        failure(429, "too many requests").with_retry_after(retry_after)
    }

    /// An answer of a server that is not well.
    pub fn server_error() -> Said {
        // Not sourced: the body.
        failure(500, "internal server error")
    }

    fn exchange(&mut self, asked: &Asked, now: i64) -> Said {
        let body = asked.json().unwrap_or_default();
        let (Some(identifier), Some(secret)) = (body["identifier"].as_str(), body["secret"].as_str()) else {
            return failure(400, "identifier and secret are needed");
        };
        let known = self.tokens.iter_mut().find(|token| token.text == secret && token.owner == identifier);
        let Some(token) = known.filter(|token| token.is_active && token.expires_at.is_none_or(|at| now < at)) else {
            return failure(401, "incorrect authentication credentials");
        };
        token.last_used = Some(now);
        let end = now + self.bearer_lifetime;
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let head = part(json!({ "alg": "RS256", "typ": "JWT" }));
        let claims = part(json!({ "sub": identifier, "iat": now, "exp": end, "jti": self.bearers.len() }));
        let bearer = format!("{head}.{claims}.{}", drawn(&format!("signature {claims}"), ALPHANUMERIC, 86));
        self.bearers.insert(bearer.clone(), (identifier.to_owned(), end));
        // Not sourced: the name of the field.
        Said::json(200, json!({ "access_token": bearer }))
    }

    fn list(&self, asked: &Asked, owner: &str) -> Said {
        let number = |name, default| asked.query(name).map_or(Some(default), |text| text.parse().ok());
        // Not sourced: the parameter `page`, the default, the limit of 100, and that anything else is refused.
        let (Some(size @ 1..=100), Some(page @ 1_usize..)) = (number("page_size", 10_usize), number("page", 1)) else {
            return failure(400, "page or page_size is wrong");
        };
        if asked.query.iter().any(|(name, _)| !["page", "page_size"].contains(&name.as_str())) {
            return failure(400, "unknown parameter");
        }
        let owned: Vec<&Token> = self.tokens.iter().filter(|token| token.owner == owner).collect();
        let results: Vec<Value> =
            owned.iter().skip((page - 1) * size).take(size).map(|token| token.shown("***")).collect();
        let base = match &self.next_base {
            Some(base) => base.clone(),
            // Plain HTTP, because pages are served on loopback.
            None => format!("http://{}", asked.header("host").unwrap_or_default()),
        };
        let link = |page: usize| format!("{base}{}?page={page}&page_size={size}", asked.path);
        // Not sourced: count, next and previous.
        Said::json(
            200,
            json!({
                "count": owned.len(),
                "next": (page * size < owned.len()).then(|| link(page + 1)),
                "previous": (page > 1).then(|| link(page - 1)),
                "results": results,
            }),
        )
    }

    fn create(&mut self, asked: &Asked, owner: &str, now: i64) -> Said {
        // Not sourced: the fields of the body, and which of them are needed.
        let body = asked.json().unwrap_or_default();
        let (Some(label), Some(scopes)) = (body["token_label"].as_str(), body["scopes"].as_array()) else {
            return failure(400, "token_label and scopes are needed");
        };
        let expires_at = match &body["expires_at"] {
            Value::Null => None,
            value => match value.as_str().and_then(|text| text.parse::<Timestamp>().ok()) {
                Some(at) => Some(at.as_second()),
                None => return failure(400, "expires_at is no instant"),
            },
        };
        let text = self.make("dckr_pat_", owner, label, expires_at, now);
        let token = self.token(&text);
        token.scopes = scopes.iter().filter_map(|scope| scope.as_str().map(str::to_owned)).collect();
        Said::json(201, token.shown(&text))
    }

    fn make(&mut self, prefix: &str, owner: &str, label: &str, expires_at: Option<i64>, now: i64) -> String {
        self.made += 1;
        let seed = format!("{owner} {label} {}", self.made);
        // Not sourced: what follows the prefix.
        let text = format!("{prefix}{}", drawn(&seed, ALPHANUMERIC, 27));
        let hex = drawn(&format!("uuid {seed}"), HEXADECIMAL, 30);
        let token = Token {
            text: text.clone(),
            owner: owner.to_owned(),
            uuid: format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[12..15], &hex[15..18], &hex[18..]),
            label: label.to_owned(),
            scopes: vec!["repo:read".to_owned()],
            is_active: true,
            created_at: now,
            last_used: None,
            expires_at,
        };
        self.tokens.push(token);
        text
    }
}

impl Token {
    /// The entry of the list, with `token` as given.
    fn shown(&self, token: &str) -> Value {
        json!({
            "uuid": self.uuid,
            "token_label": self.label,
            "scopes": self.scopes,
            "is_active": self.is_active,
            "created_at": instant(self.created_at),
            "last_used": self.last_used.map(instant),
            "expires_at": self.expires_at.map(instant),
            "token": token,
        })
    }
}

impl Page for DockerHub {
    fn answer(&mut self, asked: &Asked, now: i64) -> Said {
        asked.insist_on_clean_url(self.tokens.iter().map(|token| &token.text).chain(self.bearers.keys()), &[]);
        if let Some(said) = &self.trouble {
            return said.clone();
        }
        let route: Vec<&str> = asked.path.split('/').skip(1).collect();
        let organization = match route[..] {
            ["v2", "auth", "token"] if asked.method == "POST" => return self.exchange(asked, now),
            ["v2", "auth", "token"] => return failure(405, "method not allowed"),
            ["v2", "access-tokens"] => None,
            ["v2", "orgs", name, "access-tokens"] => Some(name.to_owned()),
            _ => return failure(404, "not found"),
        };
        let bearer = asked.bearer().and_then(|bearer| self.bearers.get(bearer));
        // Not sourced: a JWT outlives the token that it was exchanged for.
        let Some((user, _)) = bearer.filter(|(_, end)| now < *end).cloned() else {
            return failure(401, "unauthorized");
        };
        match (asked.method.as_str(), organization) {
            ("GET", None) => self.list(asked, &user),
            // Not sourced: who may look at the tokens of an organization, and that their entries look the same.
            ("GET", Some(name)) if name == user || (name == ORGANIZATION && user == USER) => self.list(asked, &name),
            ("GET", Some(_)) => failure(403, "forbidden"),
            ("POST", None) => self.create(asked, &user, now),
            // Not sourced: how a token of an organization is made.
            _ => failure(405, "method not allowed"),
        }
    }
}

/// A failure. Not sourced: the body.
fn failure(status: u16, message: &str) -> Said {
    Said::json(status, json!({ "message": message }))
}

/// RFC 3339 with microseconds.
fn instant(seconds: i64) -> String {
    written(seconds, "%Y-%m-%dT%H:%M:%S.692416Z")
}

/// The user of personal access tokens.
pub const USER: &str = "sampleuser";
/// The organization of organization access tokens.
pub const ORGANIZATION: &str = "sampleorg";
