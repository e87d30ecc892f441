//! Bird, after §2.3 of the reference: its three live generations on one page, told apart by path and by the form of the
//! authorization.
//!
//! The first (`api.bird.com`, `AccessKey`) has workspaces, channels and the list of access keys. The second
//! (`api.bird.com/v1`, `Bearer bird_…`) and the third (`{region}.platform.bird.com`, `Bearer bk_…`) have no documented
//! address that tells who one is, so any read counts; the paths that are served are the page's own choice. Where both
//! know a path, a key that begins with `bk_` goes to the third.
//!
//! It never makes or ends a key over the API, since no body for that is documented; never says that a key expires;
//! never takes a key of one generation in another.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::spelling::{ALPHANUMERIC, HEXADECIMAL, drawn, rfc_3339};
use super::{Asked, Page, Said};

/// The organization with its keys of all three generations.
pub struct Bird {
    /// The organization's id.
    pub organization: String,
    /// The ids of its workspaces.
    pub workspaces: Vec<String>,
    /// The names of the channels of the first workspace.
    pub channels: Vec<String>,
    /// The keys of the first generation.
    pub access_keys: Vec<AccessKey>,
    /// The keys of the second generation.
    pub team_keys: Vec<TeamKey>,
    /// The keys of the third generation.
    pub platform_keys: Vec<PlatformKey>,
    /// The region of the third generation's host that this page is, such as `eu1`.
    pub region: String,
    /// The paths that the second generation serves, each with the scope that opens it.
    pub team_reads: BTreeMap<String, String>,
    /// The paths that the third generation serves, each with the scope that opens it.
    pub platform_reads: BTreeMap<String, String>,
    /// The second generation's way to say that something failed.
    pub team_envelope: Envelope,
    /// The third generation's way to say that something failed.
    pub platform_envelope: Envelope,
    /// What the first generation says to a key whose role does not cover the request.
    pub role_refusal: u16,
    /// The last page of a list has no `nextPageToken` at all, instead of `null`.
    pub omits_page_token: bool,
    /// Every request gets 429, to be tried again after so many seconds.
    pub throttled: Option<i64>,
    /// Every request gets this status of a broken server.
    pub broken: Option<u16>,
    seed: String,
    made: u64,
    answered: u64,
}

/// How a failure is told; the documents contradict each other on which generation has which.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Envelope {
    /// `type` and `message` at the top.
    Flat,
    /// All of it below `error`.
    Nested,
}

/// A key of the first generation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccessKey {
    /// The key.
    pub secret: String,
    /// The id of its record.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What its role covers.
    pub roles: Vec<Role>,
    /// It has not been deleted.
    pub alive: bool,
    /// When it was last used.
    pub last_used_at: Option<i64>,
    created_at: i64,
}

/// What a role of the first generation may cover.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// The channels of a workspace.
    Channels,
    /// The workspaces of the organization.
    Workspaces,
    /// The records of access keys.
    AccessKeys,
}

/// A key of the second generation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TeamKey {
    /// The key.
    pub secret: String,
    /// Its scopes, such as `channels:read`.
    pub scopes: Vec<String>,
    /// From this second on it is dead; `None` lives for ever.
    pub ends_at: Option<i64>,
}

/// A key of the third generation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlatformKey {
    /// The key.
    pub secret: String,
    /// Its scopes, fixed when it was made.
    pub scopes: Vec<String>,
    /// It has not been revoked.
    pub alive: bool,
}

impl Bird {
    /// An organization with one workspace of one channel, in `eu1`, without keys.
    pub fn new(seed: &str) -> Self {
        // Not sourced: the paths and the scopes of the second and the third generation; `channels:read` only has the
        // documented form.
        let reads = |path: &str| BTreeMap::from([(path.to_owned(), CHANNELS_READ.to_owned())]);
        let mut page = Self {
            organization: String::new(),
            workspaces: Vec::new(),
            channels: vec!["WhatsApp".to_owned()],
            access_keys: Vec::new(),
            team_keys: Vec::new(),
            platform_keys: Vec::new(),
            region: "eu1".to_owned(),
            team_reads: reads("/v1/channels"),
            platform_reads: reads("/v1/channels"),
            team_envelope: Envelope::Flat,
            platform_envelope: Envelope::Nested,
            role_refusal: 403,
            omits_page_token: false,
            throttled: None,
            broken: None,
            seed: seed.to_owned(),
            made: 0,
            answered: 0,
        };
        page.organization = page.id();
        let workspace = page.id();
        page.workspaces.push(workspace);
        page
    }

    /// A new key of the first generation: 36 letters and digits.
    pub fn add_access_key(&mut self, roles: &[Role], now: i64) -> String {
        let secret = self.letters(ALPHANUMERIC, 36);
        let id = self.id();
        self.access_keys.push(AccessKey {
            secret: secret.clone(),
            id,
            name: format!("key {}", self.access_keys.len() + 1),
            roles: roles.to_vec(),
            alive: true,
            last_used_at: None,
            created_at: now,
        });
        secret
    }

    /// A new key of the second generation, for production or for tests.
    pub fn add_team_key(&mut self, production: bool, scopes: &[&str]) -> String {
        let prefix = if production { "bird_live_" } else { "bird_test_" };
        // Not sourced: the length behind the prefix.
        let secret = format!("{prefix}{}", self.letters(ALPHANUMERIC, 32));
        self.team_keys.push(TeamKey { secret: secret.clone(), scopes: owned(scopes), ends_at: None });
        secret
    }

    /// The dashboard issues a new key for one of the second generation; the old one lives for 24 hours more.
    pub fn replace_team_key(&mut self, old: &str, now: i64) -> String {
        let production = old.starts_with("bird_live_");
        let key = self.team_keys.iter_mut().find(|key| key.secret == old).expect("the key exists");
        key.ends_at = Some(now + DAY);
        let scopes = key.scopes.clone();
        let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
        self.add_team_key(production, &scopes)
    }

    /// A new key of the third generation, of the page's own region.
    pub fn add_platform_key(&mut self, scopes: &[&str]) -> String {
        let region = self.region.clone();
        self.add_platform_key_of(&region, scopes)
    }

    /// A new key of the third generation, of some region.
    pub fn add_platform_key_of(&mut self, region: &str, scopes: &[&str]) -> String {
        // Not sourced: the payload's length; only that it holds 128 bits and more.
        let begin = format!("bk_{region}_{}", self.letters(ALPHANUMERIC, 26));
        let secret = format!("{begin}{}", checksum(&begin));
        self.platform_keys.push(PlatformKey { secret: secret.clone(), scopes: owned(scopes), alive: true });
        secret
    }

    /// A key of any generation is deleted or revoked in the dashboard, at once.
    pub fn revoke(&mut self, secret: &str) {
        if let Some(key) = self.access_keys.iter_mut().find(|key| key.secret == secret) {
            key.alive = false;
        } else if let Some(key) = self.team_keys.iter_mut().find(|key| key.secret == secret) {
            key.ends_at = Some(i64::MIN);
        } else {
            let key = self.platform_keys.iter_mut().find(|key| key.secret == secret);
            key.expect("the key exists").alive = false;
        }
    }

    /// What the dashboard shows of a key of the third generation.
    pub fn key_prefix(secret: &str) -> &str {
        &secret[..12]
    }
}

impl Page for Bird {
    fn answer(&mut self, asked: &Asked, now: i64) -> Said {
        asked.insist_on_clean_url(self.secrets(), &[]);
        self.answered += 1;
        let first = ["workspaces", "organizations"].iter().any(|name| asked.path.split('/').nth(1) == Some(name));
        // A path that none knows belongs to the generation of the key that came with it.
        let third = !first && asked.bearer().is_some_and(|key| key.starts_with("bk_"));
        let third = third || (self.platform_reads.contains_key(&asked.path) && !asked.path.starts_with("/v1/"));
        let second = asked.path.starts_with("/v1/");
        let said = if third {
            Ok(self.third(asked))
        } else if second {
            self.second(asked, now)
        } else {
            self.first(asked, now)
        };
        said.unwrap_or_else(|refusal| refusal)
    }
}

/// The first generation.
impl Bird {
    fn first(&mut self, asked: &Asked, now: i64) -> Result<Said, Said> {
        self.trouble(|status| Said::json(status, json!({ "message": text(status) })))?;
        let path = asked.path.strip_prefix('/').unwrap_or_default();
        let parts: Vec<&str> = path.split('/').collect();
        let place = match parts.as_slice() {
            ["workspaces", _, "channels"] => Role::Channels,
            ["organizations", _, "workspaces"] => Role::Workspaces,
            ["organizations", _, "access-keys"] => Role::AccessKeys,
            _ => return Err(plain_failure(404)),
        };
        if asked.method != "GET" {
            // Making an access key exists, but its body is not documented, so it is not served. Not sourced: the
            // status.
            return Err(plain_failure(405));
        }
        let given =
            asked.header("authorization").and_then(|value| value.strip_prefix("AccessKey ")).unwrap_or_default();
        let key = self.access_keys.iter_mut().find(|key| key.alive && key.secret == given);
        let key = key.ok_or_else(|| plain_failure(401))?;
        key.last_used_at = Some(now);
        if !key.roles.contains(&place) {
            // Not sourced: the status for a role that does not suffice.
            return Err(plain_failure(self.role_refusal));
        }
        let known = match place {
            Role::Channels => self.workspaces.iter().any(|id| id == parts[1]),
            Role::Workspaces | Role::AccessKeys => parts[1] == self.organization,
        };
        if !known {
            return Err(plain_failure(404));
        }
        // Not sourced: the members of channels and workspaces beside these two.
        let all: Vec<Value> = match place {
            Role::Channels if parts[1] != self.workspaces[0] => Vec::new(),
            Role::Channels => self
                .channels
                .iter()
                .enumerate()
                .map(|(at, name)| json!({ "id": at.to_string(), "name": name }))
                .collect(),
            Role::Workspaces => self.workspaces.iter().map(|id| json!({ "id": id, "name": "Workspace" })).collect(),
            Role::AccessKeys => self.access_keys.iter().filter(|key| key.alive).map(|key| self.record(key)).collect(),
        };
        self.list(asked, &all)
    }

    fn list(&self, asked: &Asked, all: &[Value]) -> Result<Said, Said> {
        // Not sourced: the name of the second value; a token that is given out must be taken somehow.
        let known = |name: &str| ["limit", "pageToken"].contains(&name);
        if asked.query.iter().any(|(name, _)| !known(name)) || !asked.body.is_empty() {
            return Err(plain_failure(422));
        }
        let limit = asked.query("limit").unwrap_or("10").parse().ok().filter(|limit| (1..=100).contains(limit));
        // Not sourced: that a limit out of bounds is the 422 of the list of failures.
        let limit: usize = limit.ok_or_else(|| plain_failure(422))?;
        let start = match asked.query("pageToken") {
            Some(token) => token.parse().ok().filter(|at| *at < all.len()).ok_or_else(|| plain_failure(422))?,
            None => 0,
        };
        let end = all.len().min(start + limit);
        let mut body = json!({ "results": all[start..end] });
        if end < all.len() {
            body["nextPageToken"] = json!(end.to_string());
        } else if !self.omits_page_token {
            body["nextPageToken"] = Value::Null;
        }
        Ok(Said::json(200, body))
    }

    /// Not sourced: what comes after `createdAt` (the copy was cut off), how long the suffix is, and how precise times
    /// are.
    fn record(&self, key: &AccessKey) -> Value {
        json!({
            "id": key.id,
            "organizationId": self.organization,
            "name": key.name,
            "type": "user",
            "description": "",
            "suffix": key.secret[32..],
            "lastUsedAt": key.last_used_at.map(rfc_3339),
            "createdAt": rfc_3339(key.created_at),
        })
    }
}

/// The second generation.
impl Bird {
    fn second(&self, asked: &Asked, now: i64) -> Result<Said, Said> {
        let failure = |status| self.failure(self.team_envelope, status);
        if let Some(seconds) = self.throttled {
            return Err(failure(429).with("Retry-After", seconds));
        }
        self.trouble(failure)?;
        // Not sourced: whether this comes before the key is looked at, and the body.
        if asked.header("user-agent").is_none_or(str::is_empty) {
            return Err(failure(403));
        }
        let given = asked.bearer().unwrap_or_default();
        let key = self.team_keys.iter().find(|key| key.secret == given && key.ends_at.is_none_or(|end| now < end));
        let key = key.ok_or_else(|| failure(401))?;
        read(asked, &self.team_reads, &key.scopes, failure)
    }
}

/// The third generation.
impl Bird {
    fn third(&self, asked: &Asked) -> Said {
        let id = self.request_id();
        let failure = |status| self.failure(self.platform_envelope, status);
        let said = self.third_inner(asked, failure).unwrap_or_else(|refusal| refusal);
        // Not sourced: the names of these headers (the copy was cut off); only that each answer names its group and
        // carries them.
        let remaining = if self.throttled.is_some() { 0 } else { 99 };
        let said =
            said.with("RateLimit-Policy", "\"default\";q=100").with("RateLimit", format!("\"default\";r={remaining}"));
        said.with("X-Request-Id", id)
    }

    fn third_inner(&self, asked: &Asked, failure: impl Fn(u16) -> Said) -> Result<Said, Said> {
        self.trouble(&failure)?;
        let given = asked.bearer().unwrap_or_default();
        let region = region_of(given).ok_or_else(|| failure(401))?;
        // Not sourced: that the region is looked at before the key is; a host cannot know the keys of another.
        if region != self.region {
            return Err(failure(421));
        }
        let key = self.platform_keys.iter().find(|key| key.alive && key.secret == given).ok_or_else(|| failure(401))?;
        read(asked, &self.platform_reads, &key.scopes, failure)
    }
}

/// What the second and the third generation share.
impl Bird {
    fn failure(&self, envelope: Envelope, status: u16) -> Said {
        let id = self.request_id();
        match envelope {
            Envelope::Flat => {
                // Not sourced: every type beside the first four.
                let kind = match status {
                    401 => "authentication_failed",
                    403 => "permission_denied",
                    404 => "not_found",
                    429 => "rate_limited",
                    421 => "misdirected_request",
                    _ => "invalid_request",
                };
                let address = format!("https://bird.com/docs/errors#{kind}");
                Said::json(
                    status,
                    json!({ "type": kind, "message": text(status), "doc_url": address, "request_id": id }),
                )
            }
            Envelope::Nested => {
                // Not sourced: every type beside `auth_error`, the digits of the codes, and in which member 421 has its
                // name.
                let (kind, name) = match status {
                    401 => ("auth_error", "unauthenticated"),
                    403 => ("auth_error", "insufficient_scope"),
                    421 => ("auth_error", "misdirected_request"),
                    429 => ("rate_limit_error", "rate_limited"),
                    404 => ("invalid_request_error", "not_found"),
                    _ => ("invalid_request_error", "invalid_request"),
                };
                let code = format!("E{status:05}");
                let address = format!("https://bird.com/docs/errors#{code}");
                let error = json!({
                    "type": kind, "code": code, "name": name, "message": text(status), "doc_url": address,
                    "request_id": id, "details": [],
                });
                Said::json(status, json!({ "error": error }))
            }
        }
    }

    /// Not sourced: that a broken server has no JSON, and that the first and the third generation throttle with 429.
    fn trouble(&self, failure: impl Fn(u16) -> Said) -> Result<(), Said> {
        match (self.broken, self.throttled) {
            (Some(status), _) => Err(Said::text(status, "upstream connect error")),
            (None, Some(_)) => Err(failure(429)),
            (None, None) => Ok(()),
        }
    }

    fn request_id(&self) -> String {
        format!("req_{:08}", self.answered)
    }

    fn secrets(&self) -> impl Iterator<Item = &String> {
        let access = self.access_keys.iter().map(|key| &key.secret);
        let team = self.team_keys.iter().map(|key| &key.secret);
        let platform = self.platform_keys.iter().map(|key| &key.secret);
        access.chain(team).chain(platform)
    }

    /// Not sourced: that ids are UUIDs.
    fn id(&mut self) -> String {
        let hex = self.letters(HEXADECIMAL, 32);
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }

    fn letters(&mut self, alphabet: &[u8], length: usize) -> String {
        self.made += 1;
        drawn(&format!("bird {} {}", self.seed, self.made), alphabet, length)
    }
}

fn read(
    asked: &Asked,
    reads: &BTreeMap<String, String>,
    scopes: &[String],
    failure: impl Fn(u16) -> Said,
) -> Result<Said, Said> {
    // Not sourced: the order of these refusals.
    let scope = reads.get(&asked.path).ok_or_else(|| failure(404))?;
    if asked.method != "GET" {
        return Err(failure(405));
    }
    if !asked.body.is_empty() {
        return Err(failure(400));
    }
    if !scopes.contains(scope) {
        return Err(failure(403));
    }
    // [U] The body of a success is not known.
    Ok(Said::json(200, json!({ "data": [] })))
}

/// The region of a key of the third generation, where the key has the documented form.
fn region_of(key: &str) -> Option<&str> {
    let (region, rest) = key.strip_prefix("bk_")?.split_once('_')?;
    let formed = key.is_ascii() && rest.len() > 6 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let (begin, end) = key.split_at_checked(key.len().checked_sub(6)?)?;
    (formed && checksum(begin) == end).then_some(region)
}

/// Not sourced: how the six characters are reckoned.
fn checksum(begin: &str) -> String {
    drawn(begin, ALPHANUMERIC, 6)
}

fn plain_failure(status: u16) -> Said {
    // Not sourced: the shape of the body; the text of 401 is documented.
    Said::json(status, json!({ "message": text(status) }))
}

fn text(status: u16) -> &'static str {
    match status {
        401 => "unauthorized request",
        403 => "permission denied",
        404 => "not found",
        405 => "method not allowed",
        421 => "this key belongs to another region",
        422 => "unprocessable request",
        429 => "too many requests",
        _ => "invalid request",
    }
}

fn owned(scopes: &[&str]) -> Vec<String> {
    scopes.iter().map(|&scope| scope.to_owned()).collect()
}

/// The scope that opens the paths of the second and the third generation, unless a test says otherwise.
pub const CHANNELS_READ: &str = "channels:read";

const DAY: i64 = 86_400;

#[test]
fn the_generations_do_not_mix() {
    let mut page = Bird::new("mix");
    let first = page.add_access_key(&[Role::Channels], 0);
    let second = page.add_team_key(true, &[CHANNELS_READ]);
    let third = page.add_platform_key(&[CHANNELS_READ]);
    let elsewhere = page.add_platform_key_of("us1", &[CHANNELS_READ]);
    let own = format!("/workspaces/{}/channels", page.workspaces[0]);
    let mut status = |path: &str, authorization: String| {
        let asked = Asked::new("GET", path).with_header("authorization", &authorization);
        page.answer(&asked.with_header("user-agent", "test"), 0).status
    };
    assert_eq!(status(&own, format!("AccessKey {first}")), 200);
    assert_eq!(status(&own, format!("Bearer {second}")), 401);
    assert_eq!(status(&own, format!("Bearer {third}")), 401);
    assert_eq!(status("/v1/channels", format!("AccessKey {first}")), 401);
    assert_eq!(status("/v1/channels", format!("Bearer {second}")), 200);
    assert_eq!(status("/v1/channels", format!("Bearer {third}")), 200);
    assert_eq!(status("/v1/channels", format!("Bearer {elsewhere}")), 421);
    let mut broken = third.clone();
    broken.replace_range(broken.len() - 1.., "_");
    assert_eq!(status("/v1/channels", format!("Bearer {broken}")), 401);
}
