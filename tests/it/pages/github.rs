//! GitHub: tokens that are looked at through `GET /user`, whose expiry stands in a header (reference §3.2).
//!
//! It never rotates a token, as no API for that is documented, never refreshes the tokens of an app, and never takes a
//! token in the URL.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::spelling::{ALPHANUMERIC, drawn, rfc_3339, written};
use super::{Asked, Page, Said};

/// The page: `api.github.com` with its tokens.
pub struct GitHub {
    /// Every token, oldest first.
    pub tokens: Vec<Token>,
    /// How the header tells the expiry.
    pub layout: Layout,
    /// Refuses requests without `User-Agent` ([U]).
    pub needs_user_agent: bool,
    /// Requests per hour and user.
    pub limit: i64,
    /// The status for a user who has used up the hour; 403 and 429 are documented.
    pub limited_status: u16,
    /// Answers every authenticated request as one too many.
    pub limited: Option<Limited>,
    /// Answers everything with this status.
    pub broken: Option<u16>,
    /// The one organization that there is.
    pub organization: String,
    used: BTreeMap<(u64, i64), i64>,
}

/// One token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token {
    /// The secret.
    pub text: String,
    /// Its kind.
    pub kind: Kind,
    /// The number of its user.
    pub user_id: u64,
    /// When it expires, in seconds since 1970.
    pub expires_at: Option<i64>,
    /// It was revoked or deleted.
    pub revoked: bool,
    /// Its user is suspended.
    pub suspended: bool,
}

/// The kinds of tokens, by their prefixes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `ghp_`: a classic personal access token.
    Classic,
    /// `github_pat_`: a fine-grained personal access token.
    FineGrained,
    /// `gho_`: an OAuth app's.
    OAuth,
    /// `ghu_`: a GitHub App's, for a user. It expires, and no header tells so.
    AppUser,
    /// `ghs_`: a GitHub App's installation. It expires, and no header tells so.
    Installation,
}

/// The two layouts of `GitHub-Authentication-Token-Expiration`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layout {
    /// `2021-10-07 19:07:53 UTC`
    ZoneName,
    /// `2021-10-07 19:07:53 -0700`, with so many minutes east of UTC.
    Offset(i64),
}

/// A request too many, which says nothing about the token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limited {
    /// The hour's requests are used up: this status (403 or 429) with `x-ratelimit-remaining: 0`.
    Primary(u16),
    /// Another limit: this status (403 or 429) with `retry-after` of so many seconds.
    Secondary(u16, i64),
}

impl GitHub {
    /// The service without tokens.
    pub fn new() -> Self {
        Self {
            tokens: Vec::new(),
            layout: Layout::ZoneName,
            needs_user_agent: true,
            limit: 5000,
            limited_status: 403,
            limited: None,
            broken: None,
            organization: "octo-org".to_owned(),
            used: BTreeMap::new(),
        }
    }

    /// Makes a token and tells its secret.
    pub fn make(&mut self, kind: Kind, expires_at: Option<i64>) -> String {
        let number = self.tokens.len();
        let text = secret(kind, number);
        // Not sourced: all tokens here are one user's, so that they share the limit.
        self.tokens.push(Token { text: text.clone(), kind, user_id: 1, expires_at, revoked: false, suspended: false });
        text
    }

    /// The token with this secret, to change its fate.
    pub fn token_mut(&mut self, text: &str) -> &mut Token {
        self.tokens.iter_mut().find(|token| token.text == text).expect("a token of this page")
    }

    /// Revokes the token with this secret.
    pub fn revoke(&mut self, text: &str) {
        self.token_mut(text).revoked = true;
    }

    /// Lets the token with this secret expire now.
    pub fn expire(&mut self, text: &str, now: i64) {
        self.token_mut(text).expires_at = Some(now);
    }

    /// Suspends the user of the token with this secret.
    pub fn suspend(&mut self, text: &str) {
        self.token_mut(text).suspended = true;
    }
}

impl Page for GitHub {
    fn answer(&mut self, asked: &Asked, now: i64) -> Said {
        asked.insist_on_clean_url(self.tokens.iter().map(|token| &token.text), &["access_token"]);
        if let Some(status) = self.broken {
            // Not sourced: the body.
            return Said::json(status, json!({ "message": "Server Error" }));
        }
        if self.needs_user_agent && asked.header("user-agent").is_none_or(str::is_empty) {
            // [U]: the requirement. Not sourced: the status and the words.
            return Said::text(403, "Request forbidden by administrative rules. A User-Agent header is required.\n");
        }
        let segments: Vec<&str> = asked.path.split('/').skip(1).collect();
        let known = match segments[..] {
            ["user" | "rate_limit"] => true,
            ["orgs", organization, "personal-access-tokens"] => organization == self.organization,
            _ => false,
        };
        // Not sourced: 404 for a method that a known path does not have.
        if !known || asked.method != "GET" {
            return refused(404, "Not Found");
        }
        if asked.header("x-github-api-version").is_none_or(|version| !is_date(version)) {
            // Not sourced: that the header is required, and how its lack is answered. The reference has it in the
            // request.
            return refused(400, "X-GitHub-Api-Version must be the date of a version");
        }
        if !asked.query.is_empty() || !asked.body.is_empty() {
            // Not sourced: the answer to what is not documented.
            return refused(400, "Nothing is taken beside the headers");
        }
        let free = asked.path == "/rate_limit";
        let token = match (asked.header("authorization"), asked.bearer()) {
            (None, _) if free => return Self::unauthenticated_rate(now),
            // Not sourced: the words.
            (None, _) => return refused(401, "Requires authentication"),
            (Some(_), text) => self.tokens.iter().find(|token| text == Some(token.text.as_str())),
        };
        let alive = |token: &&Token| !token.revoked && token.expires_at.is_none_or(|expires| now < expires);
        let Some(token) = token.filter(alive).cloned() else { return refused(401, "Bad credentials") };
        let said = self.serve(&token, &segments, now);
        match token.expires_at {
            // On any authenticated call, so on those that are refused as well.
            Some(expires) if !matches!(token.kind, Kind::AppUser | Kind::Installation) => {
                said.with("GitHub-Authentication-Token-Expiration", self.layout.write(expires))
            }
            _ => said,
        }
    }
}

impl GitHub {
    fn serve(&mut self, token: &Token, segments: &[&str], now: i64) -> Said {
        let window = now.div_euclid(HOUR);
        let reset = (window + 1) * HOUR;
        let limit = self.limit;
        let used = self.used.entry((token.user_id, window)).or_default();
        let rate = |said: Said, used: i64| {
            said.with("x-ratelimit-limit", limit)
                .with("x-ratelimit-remaining", (limit - used).max(0))
                .with("x-ratelimit-used", used)
                .with("x-ratelimit-reset", reset)
                .with("x-ratelimit-resource", "core")
        };
        if segments == ["rate_limit"] {
            return rate(Said::json(200, rates(limit, *used, reset)), *used);
        }
        let limited = if *used >= limit { Some(Limited::Primary(self.limited_status)) } else { self.limited };
        match limited {
            // Not sourced: the words of both.
            Some(Limited::Primary(status)) => {
                return rate(refused(status, "API rate limit exceeded for user ID 1."), limit);
            }
            Some(Limited::Secondary(status, seconds)) => {
                let said = refused(status, "You have exceeded a secondary rate limit.");
                return rate(said.with("retry-after", seconds), *used);
            }
            None => *used += 1,
        }
        let used = *used;
        rate(self.content(token, segments), used)
    }

    fn content(&self, token: &Token, segments: &[&str]) -> Said {
        if token.suspended {
            // Not sourced: what is said for a suspended user. Rule 1 knows a blocked account as a key that is alive but
            // limited.
            return refused(403, "Sorry. Your account was suspended.");
        }
        match (segments, token.kind) {
            // Not sourced: that an installation, which is no user, is refused so.
            (["user"], Kind::Installation) => refused(403, "Resource not accessible by integration"),
            // Not sourced: the fields.
            (["user"], _) => Said::json(
                200,
                json!({ "login": "octocat", "id": token.user_id, "type": "User", "name": null, "site_admin": false }),
            ),
            (_, Kind::Installation | Kind::AppUser) => Said::json(200, self.listed()),
            // Not sourced: the status for those that are no GitHub App.
            _ => refused(403, "Resource not accessible by personal access token"),
        }
    }

    /// The fine-grained tokens as an organization sees them. Not sourced: every field but `token_expires_at` ([U]).
    fn listed(&self) -> Value {
        let fine_grained = self.tokens.iter().enumerate().filter(|(_, token)| token.kind == Kind::FineGrained);
        let entry = |(number, token): (usize, &Token)| {
            let expires = token.expires_at.map(rfc_3339);
            json!({ "id": number, "owner": { "login": "octocat" }, "token_expires_at": expires })
        };
        fine_grained.map(entry).collect()
    }

    fn unauthenticated_rate(now: i64) -> Said {
        let reset = (now.div_euclid(HOUR) + 1) * HOUR;
        Said::json(200, rates(UNAUTHENTICATED_LIMIT, 0, reset))
    }
}

impl Layout {
    fn write(self, seconds: i64) -> String {
        match self {
            Self::ZoneName => format!("{} UTC", local(seconds)),
            Self::Offset(minutes) => {
                let sign = if minutes < 0 { '-' } else { '+' };
                let size = minutes.abs();
                format!("{} {sign}{:02}{:02}", local(seconds + minutes * 60), size / 60, size % 60)
            }
        }
    }
}

fn secret(kind: Kind, number: usize) -> String {
    let seed = format!("github {number}");
    match kind {
        Kind::Classic => format!("ghp_{}", drawn(&seed, ALPHANUMERIC, 36)),
        // Seen by third parties.
        Kind::FineGrained => format!(
            "github_pat_{}_{}",
            drawn(&seed, ALPHANUMERIC, 22),
            drawn(&format!("{seed} second"), ALPHANUMERIC, 59)
        ),
        // Not sourced: the lengths of these three.
        Kind::OAuth => format!("gho_{}", drawn(&seed, ALPHANUMERIC, 36)),
        Kind::AppUser => format!("ghu_{}", drawn(&seed, ALPHANUMERIC, 36)),
        Kind::Installation => format!("ghs_{}", drawn(&seed, ALPHANUMERIC, 36)),
    }
}

/// [U]: the fields of a 401. Not sourced: that other failures have the same, and where the documentation is.
fn refused(status: u16, message: &str) -> Said {
    let documentation = "https://docs.github.com/rest";
    Said::json(status, json!({ "message": message, "documentation_url": documentation, "status": status.to_string() }))
}

/// Not sourced: the fields.
fn rates(limit: i64, used: i64, reset: i64) -> Value {
    let core = json!({ "limit": limit, "used": used, "remaining": (limit - used).max(0), "reset": reset });
    json!({ "resources": { "core": core }, "rate": core })
}

fn is_date(text: &str) -> bool {
    let shape =
        |(place, byte): (usize, u8)| if place == 4 || place == 7 { byte == b'-' } else { byte.is_ascii_digit() };
    text.len() == 10 && text.bytes().enumerate().all(shape)
}

/// `YYYY-MM-DD hh:mm:ss` of a number of seconds since 1970.
fn local(seconds: i64) -> String {
    written(seconds, "%Y-%m-%d %H:%M:%S")
}

const HOUR: i64 = 3600;
/// Not sourced: the number.
const UNAUTHENTICATED_LIMIT: i64 = 60;

#[test]
fn the_expiry_stands_in_either_layout() {
    // The instant of the reference's examples: 2021-10-07 19:07:53 UTC.
    let expires = 1_633_633_673;
    assert_eq!(Layout::ZoneName.write(expires), "2021-10-07 19:07:53 UTC");
    assert_eq!(Layout::Offset(-420).write(expires), "2021-10-07 12:07:53 -0700");
    assert_eq!(Layout::Offset(330).write(expires), "2021-10-08 00:37:53 +0530");
    assert_eq!(Layout::ZoneName.write(1_709_251_199), "2024-02-29 23:59:59 UTC");
    assert_eq!(Layout::ZoneName.write(1_735_689_599), "2024-12-31 23:59:59 UTC");
}
