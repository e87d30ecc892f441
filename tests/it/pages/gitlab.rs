//! GitLab: personal, project and group access tokens that show themselves and rotate themselves (reference §3.1).
//!
//! It never rotates or shows a token by its number, never lets an administrator act, never takes a token in the URL,
//! and knows no path of the API beside the four that it serves.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::spelling::{URL_SAFE, drawn, written};
use super::{Asked, Page, Said};

/// The page: one installation with its tokens.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own between two documented variants")]
pub struct GitLab {
    /// Every token that was ever made, oldest first.
    pub tokens: Vec<Token>,
    /// What stands before `/api/v4` in the path, such as `/gitlab`; the `{base}` of the reference may have one.
    pub root: String,
    /// Major and minor version. `…/self` is known from 15.5 on and `…/self/rotate` from 16.10 on.
    pub version: (u32, u32),
    /// What personal access tokens begin with; an administrator can change it.
    pub prefix: String,
    /// Makes the newer, longer tokens with dots ([U]).
    pub routable: bool,
    /// Takes `Authorization: Bearer` as well ([U]).
    pub takes_bearer: bool,
    /// `personal_access_tokens/self` answers for project and group tokens too ([U]).
    pub self_takes_bots: bool,
    /// Answers for expired and revoked tokens with `{"error":"invalid_token",…}` ([U]) instead of `{"message":"401
    /// Unauthorized"}`.
    pub explains_401: bool,
    /// Every token must expire, so that one rotated without a date lasts one week.
    pub expiry_is_mandatory: bool,
    /// The longest life that a token may be given.
    pub maximum_lifetime_days: i64,
    /// Sends the `RateLimit-…` headers.
    pub sends_rate_headers: bool,
    /// Requests per hour and user.
    pub limit: i64,
    /// Answers everything with 429, to be tried again after so many seconds.
    pub throttled: Option<i64>,
    /// Answers everything with this status, as a proxy before it would.
    pub broken: Option<u16>,
    /// Answers every rotation with this status (400 failed, 403 not allowed, 404, 405) and leaves the token as it was.
    pub rotation_refused: Option<u16>,
    /// Seconds until every server knows a token that was just given. Not sourced: that this happens.
    pub known_after: i64,
    used: BTreeMap<(u64, i64), i64>,
}

/// One token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token {
    /// The secret.
    pub text: String,
    /// Its number; a rotation gives a new one.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub kind: Kind,
    /// What it may do.
    pub scopes: Vec<String>,
    /// When it was made, in seconds since 1970.
    pub created_at: i64,
    /// When it was used last.
    pub last_used_at: Option<i64>,
    /// `YYYY-MM-DD`: it dies when this date begins, in UTC.
    pub expires_at: Option<String>,
    /// It was revoked, by a person, by its rotation or with its family.
    pub revoked: bool,
    /// Its user is blocked.
    pub blocked: bool,
    /// The number of the first token of its family: those that came out of one another by rotation.
    pub family: u64,
}

/// Whose a token is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A person's.
    Personal,
    /// The bot user's of the project with this number.
    Project(u64),
    /// The bot user's of the group with this number.
    Group(u64),
}

impl GitLab {
    /// A present-day installation without tokens.
    pub fn new() -> Self {
        Self {
            tokens: Vec::new(),
            root: String::new(),
            version: (17, 0),
            prefix: "glpat-".to_owned(),
            routable: false,
            takes_bearer: false,
            self_takes_bots: true,
            explains_401: false,
            expiry_is_mandatory: true,
            maximum_lifetime_days: 365,
            sends_rate_headers: true,
            limit: 7200,
            throttled: None,
            broken: None,
            rotation_refused: None,
            known_after: 0,
            used: BTreeMap::new(),
        }
    }

    /// Makes a token that dies when the date `expires_at` (`YYYY-MM-DD`) begins, or never, and tells its secret.
    pub fn make(&mut self, kind: Kind, scopes: &[&str], expires_at: Option<&str>, now: i64) -> String {
        assert!(expires_at.is_none_or(|date| day_of(date).is_some()), "a date is YYYY-MM-DD");
        let id = self.next_id();
        let text = self.secret(id);
        self.tokens.push(Token {
            text: text.clone(),
            id,
            name: format!("token {id}"),
            kind,
            scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
            created_at: now,
            last_used_at: None,
            expires_at: expires_at.map(str::to_owned),
            revoked: false,
            blocked: false,
            family: id,
        });
        text
    }

    /// The token with this secret.
    pub fn token(&self, text: &str) -> &Token {
        self.tokens.iter().find(|token| token.text == text).expect("a token of this page")
    }

    /// The token with this secret, to change its fate.
    pub fn token_mut(&mut self, text: &str) -> &mut Token {
        self.tokens.iter_mut().find(|token| token.text == text).expect("a token of this page")
    }

    /// Revokes the token with this secret.
    pub fn revoke(&mut self, text: &str) {
        self.token_mut(text).revoked = true;
    }

    /// Lets the token with this secret be expired: its date is the present one, which has begun.
    pub fn expire(&mut self, text: &str, now: i64) {
        self.token_mut(text).expires_at = Some(date_of(now.div_euclid(DAY)));
    }

    /// The secrets that would be taken now.
    pub fn alive(&self, now: i64) -> Vec<String> {
        self.tokens.iter().filter(|token| death(token, now).is_none()).map(|token| token.text.clone()).collect()
    }

    fn next_id(&self) -> u64 {
        FIRST_ID + u64::try_from(self.tokens.len()).expect("few tokens")
    }

    fn secret(&self, id: u64) -> String {
        let body = drawn(&format!("gitlab {id}"), URL_SAFE, 20);
        if self.routable {
            // Not sourced: that the parts after the dots are two letters and nine characters.
            format!(
                "{}{body}{}.01.{}",
                self.prefix,
                drawn("routable", URL_SAFE, 7),
                drawn(&format!("end {id}"), URL_SAFE, 9)
            )
        } else {
            format!("{}{body}", self.prefix)
        }
    }
}

impl Page for GitLab {
    fn answer(&mut self, asked: &Asked, now: i64) -> Said {
        asked.insist_on_clean_url(self.tokens.iter().map(|token| &token.text), &["private_token", "access_token"]);
        if let Some(status) = self.broken {
            // Not sourced: the page that a proxy shows. It bears no rate headers, as GitLab has not seen the request.
            return Said {
                kind: "text/html",
                ..Said::text(status, "<html><body><h1>GitLab is not responding</h1></body></html>")
            };
        }
        let user =
            self.sent(asked).and_then(|text| self.position(text)).map_or(0, |index| user_id(&self.tokens[index]));
        let window = now.div_euclid(HOUR);
        let observed = self.used.entry((user, window)).or_default();
        *observed += 1;
        let observed = *observed;
        if let Some(seconds) = self.throttled {
            return self.too_many(observed.max(self.limit + 1), now + seconds, now);
        }
        let reset = (window + 1) * HOUR;
        if observed > self.limit {
            return self.too_many(observed, reset, now);
        }
        let said = self.serve(asked, now);
        self.with_rate(said, observed, reset)
    }
}

impl GitLab {
    fn serve(&mut self, asked: &Asked, now: i64) -> Said {
        let Some(path) = asked.path.strip_prefix(&format!("{}/api/v4/", self.root)) else { return not_found() };
        let segments: Vec<&str> = path.split('/').collect();
        let (method, rotated) = match segments[..] {
            ["personal_access_tokens", "self"] if self.version >= (15, 5) => ("GET", None),
            // "self since 16.10" is read as the version of the path; the bodies and the reuse detection are older than
            // it.
            _ if self.version < (16, 10) => return not_found(),
            ["personal_access_tokens", "self", "rotate"] => ("POST", Some(Kind::Personal)),
            // Not sourced: whether a path such as `group%2Fproject` is taken instead of the number. Here it is not.
            ["projects", id, "access_tokens", "self", "rotate"] => match id.parse() {
                Ok(id) => ("POST", Some(Kind::Project(id))),
                Err(_) => return not_found(),
            },
            ["groups", id, "access_tokens", "self", "rotate"] => match id.parse() {
                Ok(id) => ("POST", Some(Kind::Group(id))),
                Err(_) => return not_found(),
            },
            _ => return not_found(),
        };
        if asked.method != method {
            return refused(405, "405 Method Not Allowed");
        }
        let known = |index: &usize| now >= self.tokens[*index].created_at + self.known_after;
        let Some(index) = self.sent(asked).and_then(|text| self.position(text)).filter(known) else {
            return refused(401, "401 Unauthorized");
        };
        if let Some(death) = death(&self.tokens[index], now) {
            if death == Death::Revoked && rotated.is_some() {
                self.revoke_family(self.tokens[index].family);
            }
            return self.unauthorized(death);
        }
        if self.tokens[index].blocked {
            // Not sourced: what is said for a blocked user. Rule 1 knows a blocked account as a key that is alive but
            // limited.
            return refused(403, "403 Forbidden - Your account has been blocked.");
        }
        match rotated {
            None => self.show(index, asked, now),
            Some(kind) => self.rotate(index, kind, asked, now),
        }
    }

    fn show(&mut self, index: usize, asked: &Asked, now: i64) -> Said {
        if !asked.query.is_empty() || !asked.body.is_empty() {
            // Not sourced: the answer to what is not documented.
            return refused(400, "400 Bad request - nothing is taken beside the token");
        }
        let token = &mut self.tokens[index];
        if token.kind != Kind::Personal && !self.self_takes_bots {
            // Not sourced: what an old version says for a bot's token (§7); "not yours" is among the documented reasons
            // of a 401.
            return refused(401, "401 Unauthorized");
        }
        // Not sourced: that showing needs no scope, and that the use is noted at once and shown by the next answer.
        let said = Said::json(200, shown(token));
        token.last_used_at = Some(now);
        said
    }

    fn rotate(&mut self, index: usize, kind: Kind, asked: &Asked, now: i64) -> Said {
        let old = self.tokens[index].clone();
        if std::mem::discriminant(&old.kind) != std::mem::discriminant(&kind) {
            return refused(405, "405 Method Not Allowed");
        }
        if old.kind != kind {
            // Not sourced: the status; "not yours" is among the documented reasons of a 401.
            return refused(401, "401 Unauthorized");
        }
        if !old.scopes.iter().any(|scope| scope == "api" || scope == "self_rotate") {
            return refused(403, "403 Forbidden");
        }
        if let Some(status) = self.rotation_refused {
            return refused(status, &format!("{status} {}", reason(status)));
        }
        let expires_at = match self.wished_expiry(asked, now) {
            Ok(expires_at) => expires_at,
            Err(said) => return said,
        };
        let id = self.next_id();
        let token =
            Token { text: self.secret(id), id, created_at: now, last_used_at: None, expires_at, revoked: false, ..old };
        let mut body = shown(&token);
        body["token"] = json!(token.text);
        if kind != Kind::Personal {
            body["access_level"] = json!(ACCESS_LEVEL);
        }
        self.tokens[index].revoked = true;
        self.tokens.push(token);
        Said::json(200, body)
    }

    /// The date of expiry that a rotation asks for, from the query or the body, or else the default.
    fn wished_expiry(&self, asked: &Asked, now: i64) -> Result<Option<String>, Said> {
        let today = now.div_euclid(DAY);
        let mut wishes = asked.query.clone();
        wishes.extend(body_values(asked)?);
        match &wishes[..] {
            [] if self.expiry_is_mandatory => Ok(Some(date_of(today + 7))),
            // Not sourced: that a token rotated without a date never expires where no expiry is mandatory.
            [] => Ok(None),
            [(name, date)] if name == "expires_at" => match day_of(date) {
                // Not sourced: that dates that have begun or lie beyond the longest life are a 400 which leaves the old
                // token alive.
                Some(day) if day > today && day <= today + self.maximum_lifetime_days => Ok(Some(date.clone())),
                _ => Err(refused(400, "400 Bad request - expires_at is invalid")),
            },
            _ => Err(refused(400, "400 Bad request - only expires_at is taken, and once")),
        }
    }

    fn revoke_family(&mut self, family: u64) {
        for token in self.tokens.iter_mut().filter(|token| token.family == family) {
            token.revoked = true;
        }
    }

    /// The token that was sent, where exactly one was.
    fn sent<'a>(&self, asked: &'a Asked) -> Option<&'a str> {
        match (asked.header("private-token"), asked.header("authorization")) {
            (Some(text), None) => Some(text),
            (None, Some(_)) if self.takes_bearer => asked.bearer(),
            // Not sourced: what wins where two are sent. Here nothing does.
            _ => None,
        }
    }

    fn position(&self, text: &str) -> Option<usize> {
        self.tokens.iter().position(|token| token.text == text)
    }

    fn unauthorized(&self, death: Death) -> Said {
        if !self.explains_401 {
            return refused(401, "401 Unauthorized");
        }
        let description = match death {
            Death::Expired => "Token is expired. You can either do re-authorization or token refresh.",
            // Not sourced: the words for a revoked one.
            Death::Revoked => "Token was revoked. You have to re-authorize from the user.",
        };
        Said::json(401, json!({ "error": "invalid_token", "error_description": description }))
    }

    fn too_many(&self, observed: i64, reset: i64, now: i64) -> Said {
        let said = Said::text(429, "Retry later\n").with("Retry-After", reset - now);
        // Not sourced: the layout of RateLimit-ResetTime; here that of an HTTP date.
        let said = if self.sends_rate_headers { said.with("RateLimit-ResetTime", http_date(reset)) } else { said };
        self.with_rate(said, observed, reset)
    }

    fn with_rate(&self, said: Said, observed: i64, reset: i64) -> Said {
        if !self.sends_rate_headers {
            return said;
        }
        said.with("RateLimit-Limit", self.limit)
            // Not sourced: the value.
            .with("RateLimit-Name", "throttle_authenticated_api")
            .with("RateLimit-Observed", observed)
            .with("RateLimit-Remaining", (self.limit - observed).max(0))
            .with("RateLimit-Reset", reset)
    }
}

/// Why a token is not taken any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Death {
    Expired,
    Revoked,
}

fn death(token: &Token, now: i64) -> Option<Death> {
    if token.revoked {
        return Some(Death::Revoked);
    }
    let date = token.expires_at.as_deref()?;
    let dies = day_of(date).expect("dates of tokens are YYYY-MM-DD") * DAY;
    (now >= dies).then_some(Death::Expired)
}

fn shown(token: &Token) -> Value {
    json!({
        "id": token.id,
        "name": token.name,
        // Not sourced: whether a token without description has an empty one.
        "description": "",
        "revoked": token.revoked,
        "created_at": instant(token.created_at),
        "scopes": token.scopes,
        "user_id": user_id(token),
        "last_used_at": token.last_used_at.map(instant),
        "active": true,
        "expires_at": token.expires_at,
    })
}

fn user_id(token: &Token) -> u64 {
    match token.kind {
        Kind::Personal => 1,
        Kind::Project(id) => 1_000_000 + id,
        Kind::Group(id) => 2_000_000 + id,
    }
}

/// The values of a body of either kind that is documented for parameters: a form or JSON.
fn body_values(asked: &Asked) -> Result<Vec<(String, String)>, Said> {
    if asked.body.is_empty() {
        return Ok(Vec::new());
    }
    if let Some(values) = asked.form_values() {
        return Ok(values);
    }
    if !asked.header("content-type").unwrap_or_default().starts_with("application/json") {
        // Not sourced: which kinds of body are taken, and the status for others.
        return Err(refused(415, "415 Unsupported Media Type"));
    }
    let Some(Value::Object(values)) = asked.json() else { return Err(refused(400, "400 Bad request")) };
    let text = |value: Value| value.as_str().map(str::to_owned).ok_or_else(|| refused(400, "400 Bad request"));
    values.into_iter().map(|(name, value)| Ok((name, text(value)?))).collect()
}

/// Not sourced: the bodies other than that of a 401, which is typical only.
fn refused(status: u16, message: &str) -> Said {
    Said::json(status, json!({ "message": message }))
}

fn not_found() -> Said {
    // Not sourced: the body.
    Said::json(404, json!({ "error": "404 Not Found" }))
}

fn reason(status: u16) -> &'static str {
    match status {
        400 => "Bad request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        _ => "Error",
    }
}

/// RFC 3339 with milliseconds and `Z`.
fn instant(seconds: i64) -> String {
    written(seconds, "%Y-%m-%dT%H:%M:%S.000Z")
}

fn http_date(seconds: i64) -> String {
    written(seconds, "%a, %d %b %Y %H:%M:%S GMT")
}

/// `YYYY-MM-DD` of a number of days since 1970.
fn date_of(days: i64) -> String {
    written(days * DAY, "%Y-%m-%d")
}

/// The days since 1970 of `YYYY-MM-DD`; `None` for everything else, also for days that do not exist.
fn day_of(date: &str) -> Option<i64> {
    let begin = Date::strptime("%Y-%m-%d", date).ok()?.to_zoned(TimeZone::UTC).ok()?;
    let days = begin.timestamp().as_second().div_euclid(DAY);
    // Reading takes more than the one way to write a date.
    (date_of(days) == date).then_some(days)
}

const FIRST_ID: u64 = 4001;
/// That of a maintainer. Not sourced: the number.
const ACCESS_LEVEL: u64 = 40;
const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

#[test]
fn a_token_dies_as_its_date_begins_and_a_rotation_lasts_a_week() {
    let mut page = GitLab::new();
    // 2024-02-23 23:59:59 UTC: the week goes over a leap day.
    let now = 1_708_732_799;
    let old = page.make(Kind::Personal, &["self_rotate"], Some("2024-02-24"), now);
    assert_eq!(page.answer(&ask("GET", "personal_access_tokens/self", &old), now).status, 200);
    assert_eq!(page.answer(&ask("GET", "personal_access_tokens/self", &old), now + 1).status, 401);

    let said = page.answer(&ask("POST", "personal_access_tokens/self/rotate", &old), now);
    let body = said.document();
    assert_eq!(body["expires_at"], "2024-03-01");
    assert_eq!(body["created_at"], "2024-02-23T23:59:59.000Z");
    assert_eq!(page.alive(now), [body["token"].as_str().expect("a text")]);
    assert_eq!(http_date(now), "Fri, 23 Feb 2024 23:59:59 GMT");
}

#[test]
fn a_second_rotation_of_the_same_token_kills_the_family_and_no_other() {
    let mut page = GitLab::new();
    let old = page.make(Kind::Project(7), &["api"], None, 0);
    let stranger = page.make(Kind::Project(7), &["api"], None, 0);
    let rotate = ask("POST", "projects/7/access_tokens/self/rotate", &old);
    assert_eq!(page.answer(&ask("POST", "projects/8/access_tokens/self/rotate", &old), 0).status, 401);
    assert_eq!(page.answer(&ask("POST", "personal_access_tokens/self/rotate", &old), 0).status, 405);
    assert_eq!(page.answer(&rotate, 0).status, 200);
    assert_eq!(page.answer(&ask("GET", "personal_access_tokens/self", &old), 0).status, 401);
    assert_eq!(page.alive(0).len(), 2);
    assert_eq!(page.answer(&rotate, 0).status, 401);
    assert_eq!(page.alive(0), [stranger]);
}

#[cfg(test)]
fn ask(method: &str, path: &str, token: &str) -> Asked {
    Asked::new(method, &format!("/api/v4/{path}")).with_header("private-token", token)
}
