//! API tokens of Cloudflare: verify for user tokens and for account tokens, and the roll of a token's value, after
//! reference §3.6 (Cloudflare).
//!
//! It never says `active` of a token that is disabled or expired, though HTTP says 200; it keeps no value that was
//! rolled; it has no `POST …/roll`, which a third party says is not there.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::spelling::{ALPHANUMERIC, HEXADECIMAL, drawn, rfc_3339};
use super::{Asked, Page, Said};

/// Cloudflare's API.
pub struct Cloudflare {
    /// Tokens by their id.
    pub tokens: BTreeMap<String, Token>,
    /// The status beside code 1000: 401 [U], or the 400 of a third party's fixture.
    pub refusal_status: u16,
    /// What verify says of an expired token.
    pub expired_answer: ExpiredAnswer,
    /// Requests that a token may do in five minutes.
    pub limit: u32,
    /// Said to every request while it is set.
    pub trouble: Option<Said>,
}

/// A token and its fate.
#[derive(Clone, Debug)]
pub struct Token {
    /// Its value, which a roll changes.
    pub value: String,
    /// Who has it.
    pub owner: Owner,
    /// Whether it was disabled.
    pub disabled: bool,
    /// When it ends; the field is absent where it never does.
    pub expires_on: Option<i64>,
    /// When it begins; the field is absent where that is not set.
    pub not_before: Option<i64>,
    /// Whether it may change API tokens [U].
    pub may_edit_tokens: bool,
    /// When its five minutes began, and how many requests it did since.
    pub window: (i64, u32),
    /// Until when it is blocked for having asked too often.
    pub blocked_until: i64,
}

/// Who has a token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Owner {
    /// A user.
    User,
    /// An account, by its id.
    Account(String),
}

/// What verify says of an expired token; the reference (§7) does not know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExpiredAnswer {
    /// 200 and `status: "expired"`.
    Status,
    /// The same as for a token that is not known.
    Refused,
}

impl Cloudflare {
    /// An API without tokens.
    pub fn new() -> Self {
        Self {
            tokens: BTreeMap::new(),
            refusal_status: 401,
            expired_answer: ExpiredAnswer::Status,
            limit: 1200,
            trouble: None,
        }
    }

    /// A new user token: `cfut_…`. Not sourced: which of the documented prefixes is whose, and how long the checksum
    /// is.
    pub fn user_token(&mut self, seed: &str) -> String {
        self.make(seed, "cfut_", Owner::User)
    }

    /// A new token of [`ACCOUNT_ID`]: `cfat_…`.
    pub fn account_token(&mut self, seed: &str) -> String {
        self.make(seed, "cfat_", Owner::Account(ACCOUNT_ID.to_owned()))
    }

    /// A new user token of the older shape, 40 bare characters.
    pub fn older_user_token(&mut self, seed: &str) -> String {
        self.make(seed, "", Owner::User)
    }

    /// The fate of a token, by its present value.
    pub fn token(&mut self, value: &str) -> &mut Token {
        self.tokens.values_mut().find(|token| token.value == value).expect("a token of this page")
    }

    /// The id of a token, by its present value.
    pub fn id(&self, value: &str) -> String {
        let (id, _) = self.tokens.iter().find(|(_, token)| token.value == value).expect("a token of this page");
        id.clone()
    }

    /// Disables a token.
    pub fn disable(&mut self, value: &str) {
        self.token(value).disabled = true;
    }

    /// Lets a token end at `at`.
    pub fn expire(&mut self, value: &str, at: i64) {
        self.token(value).expires_on = Some(at);
    }

    /// Deletes a token.
    pub fn delete(&mut self, value: &str) {
        let id = self.id(value);
        self.tokens.remove(&id);
    }

    /// Blocks a token for five minutes, as too many requests do.
    pub fn block(&mut self, value: &str, now: i64) {
        self.token(value).blocked_until = now + WINDOW;
    }

    /// An answer of a server that is not well.
    pub fn server_error() -> Said {
        // Not sourced: the body.
        Said { kind: "text/html", ..Said::text(502, "<html><title>502 Bad Gateway</title></html>") }
    }

    /// Counts a request; the headers of the limit, or the refusal.
    fn count(&mut self, id: &str, now: i64) -> Result<(String, String), Said> {
        let limit = self.limit;
        let token = self.tokens.get_mut(id).expect("a token of this page");
        if now >= token.window.0 + WINDOW {
            token.window = (now, 0);
        }
        if now >= token.blocked_until {
            token.window.1 += 1;
            if token.window.1 > limit {
                token.blocked_until = now + WINDOW;
            }
        }
        // Not sourced: the form of the policy; quota and window in the manner of the other header.
        let policy = format!("\"default\";q={limit};w={WINDOW}");
        let left = token.blocked_until - now;
        if left > 0 {
            // Not sourced: code and text.
            let said = failure(429, 10_429, "Too many requests").with("ratelimit", format!("\"default\";r=0;t={left}"));
            return Err(said.with("ratelimit-policy", policy).with("retry-after", left));
        }
        let rest = limit - token.window.1;
        Ok((format!("\"default\";r={rest};t={}", token.window.0 + WINDOW - now), policy))
    }

    fn verify(&self, id: &str, owner: &Owner, now: i64) -> Said {
        let token = &self.tokens[id];
        // Not sourced: a token of the other owner is refused like one that is not known.
        if token.owner != *owner {
            return self.refusal();
        }
        let expired = token.expires_on.is_some_and(|at| now >= at);
        if expired && self.expired_answer == ExpiredAnswer::Refused {
            return self.refusal();
        }
        // Not sourced: which of the two is said of a token that is both, and that one before its time is active.
        let status = match (token.disabled, expired) {
            (true, _) => "disabled",
            (false, true) => "expired",
            (false, false) => "active",
        };
        let mut result = json!({ "id": id, "status": status });
        if let Some(at) = token.expires_on {
            result["expires_on"] = json!(rfc_3339(at));
        }
        if let Some(at) = token.not_before {
            result["not_before"] = json!(rfc_3339(at));
        }
        success(result)
    }

    fn roll(&mut self, asked: &Asked, caller: &str, id: &str) -> Said {
        if !self.tokens[caller].may_edit_tokens {
            // Not sourced: status, code and text.
            return failure(403, 9109, "Unauthorized to access requested resource");
        }
        if asked.json() != Some(json!({})) {
            // Not sourced: code and text.
            return failure(400, 6006, "the body must be {}");
        }
        let Some(token) = self.tokens.get_mut(id).filter(|token| token.owner == Owner::User) else {
            // Not sourced: code and text.
            return failure(404, 1003, "Token not found");
        };
        let prefix = ["cfut_", "cfat_"].into_iter().find(|prefix| token.value.starts_with(prefix)).unwrap_or_default();
        token.value = shape(&format!("after {}", token.value), prefix);
        success(json!(token.value))
    }

    fn refusal(&self) -> Said {
        // Code and text are [3p].
        failure(self.refusal_status, 1000, "Invalid API Token")
    }

    fn make(&mut self, seed: &str, prefix: &str, owner: Owner) -> String {
        let value = shape(seed, prefix);
        let token = Token {
            value: value.clone(),
            owner,
            disabled: false,
            expires_on: None,
            not_before: None,
            may_edit_tokens: false,
            window: (0, 0),
            blocked_until: 0,
        };
        // Not sourced: the shape of ids.
        self.tokens.insert(drawn(&format!("id {prefix}{seed}"), HEXADECIMAL, 32), token);
        value
    }
}

impl Page for Cloudflare {
    fn answer(&mut self, asked: &Asked, now: i64) -> Said {
        asked.insist_on_clean_url(self.tokens.values().map(|token| &token.value), &[]);
        if let Some(said) = &self.trouble {
            return said.clone();
        }
        // Not sourced: code and text of a path and of a method that are not there.
        let nowhere = failure(404, 7003, "No route for that URI");
        let Some(path) = asked.path.strip_prefix("/client/v4/") else { return nowhere };
        let route: Vec<&str> = path.split('/').collect();
        let method = match route[..] {
            ["user", "tokens", "verify"] | ["accounts", _, "tokens", "verify"] => "GET",
            ["user", "tokens", _, "value"] => "PUT",
            _ => return nowhere,
        };
        if asked.method != method {
            return failure(405, 7001, "Method not allowed");
        }
        // Not sourced: a request without a token is refused like one with a bad one.
        let Some(value) = asked.bearer() else { return self.refusal() };
        let Some(caller) = self.tokens.iter().find(|(_, token)| token.value == value).map(|(id, _)| id.clone()) else {
            return self.refusal();
        };
        let (limit, policy) = match self.count(&caller, now) {
            Ok(headers) => headers,
            Err(said) => return said,
        };
        let said = match route[..] {
            ["user", "tokens", "verify"] => self.verify(&caller, &Owner::User, now),
            ["accounts", account, "tokens", "verify"] => self.verify(&caller, &Owner::Account(account.to_owned()), now),
            ["user", "tokens", id, "value"] if self.tokens[&caller].lives(now) => self.roll(asked, &caller, id),
            _ => self.refusal(),
        };
        said.with("ratelimit", limit).with("ratelimit-policy", policy)
    }
}

impl Token {
    /// Whether it may do anything.
    pub fn lives(&self, now: i64) -> bool {
        let begun = self.not_before.is_none_or(|at| now >= at);
        !self.disabled && begun && self.expires_on.is_none_or(|at| now < at)
    }
}

fn success(result: Value) -> Said {
    Said::json(200, json!({ "success": true, "errors": [], "messages": [], "result": result }))
}

fn failure(status: u16, code: u32, message: &str) -> Said {
    let errors = json!([{ "code": code, "message": message }]);
    Said::json(status, json!({ "success": false, "errors": errors, "messages": [], "result": null }))
}

/// A value: 40 characters, and a checksum where there is a prefix.
fn shape(seed: &str, prefix: &str) -> String {
    let body = drawn(&format!("value {prefix}{seed}"), ALPHANUMERIC, 40);
    let checksum = if prefix.is_empty() { String::new() } else { drawn(&body, HEXADECIMAL, 8) };
    format!("{prefix}{body}{checksum}")
}

/// The account of account tokens.
pub const ACCOUNT_ID: &str = "0123456789abcdef0123456789abcdef";
/// Seconds in which requests are counted, and for which excess blocks.
pub const WINDOW: i64 = 300;
