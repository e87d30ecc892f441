//! Instagram Login on `graph.instagram.com`: long-lived user tokens that are exchanged for, refreshed and probed
//! (fact sheet of the Graph API §1, §4, §6.1 to §6.3, §11, §13).
//!
//! What it shares with Threads, the wire habits of the Graph API and the life of a long-lived token, is here as well.
//!
//! It never debugs a token (the host has no such path), never logs anybody in, never reads a token from a form or a
//! body, never asks for the secret in a refresh, and never serves a field that the fact sheet does not name.
//! Tokens and the secret in the query are what the fact sheet documents, so they are taken there.

use std::collections::VecDeque;

use jiff::Timestamp;
use jiff::civil::{Weekday, date};
use jiff::tz::Offset;
use serde_json::{Map, Value, json};

use super::spelling::{ALPHANUMERIC, HEXADECIMAL, drawn, written};
use super::{Asked, Page, Said};

/// The page: one application and the accounts that have allowed it.
pub struct Instagram {
    /// How it words its answers, and what disturbs it.
    pub wire: Wire,
    /// The tokens of everybody.
    pub tokens: Tokens,
    /// The secret of the Instagram application: not that of the Meta application.
    pub secret: String,
    /// What has become of the application.
    pub app: App,
    /// How a refresh refuses a token that is dead, too young or short-lived.
    pub refresh_refusal: RefreshRefusal,
    /// The newest version; a path with a newer one is unknown. Not sourced: what this host says of such a path.
    pub newest_version: u32,
    /// The oldest version that is alive: what is asked of an older one runs on this one.
    pub oldest_version: u32,
    /// The probe answers `{"data":[{…}]}`. Not sourced: the fact sheet says "ids" and shows no body.
    pub probe_in_list: bool,
    resets: u64,
}

/// How a refresh refuses. Both are named in §4.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RefreshRefusal {
    /// The usual shapes of code 190.
    Usual,
    /// `Unsupported request - method type: get`, although GET is right.
    UnsupportedRequest,
}

/// What has become of an application.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum App {
    /// Nothing.
    Live,
    /// Restricted by Meta: code 200 on every endpoint.
    Blocked,
    /// Deleted.
    Deleted,
}

/// A user's token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token {
    /// The secret.
    pub text: String,
    /// Whose it is: the user name.
    pub account: String,
    /// The number of that account.
    pub user_id: String,
    /// The application that it was made for.
    pub app_id: String,
    /// How long it lives.
    pub life: Life,
    /// When it was made or last refreshed, in seconds since 1970.
    pub issued_at: i64,
    /// When it expires.
    pub expires_at: i64,
    /// When the application may no longer read the account's data.
    pub data_access_expires_at: i64,
    /// What it may do.
    pub scopes: Vec<String>,
    /// What has become of it, beside its age.
    pub fate: Fate,
}

/// The two lives of a user's token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Life {
    /// One hour.
    Short,
    /// Sixty days.
    Long,
}

/// What becomes of a token, beside its age.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Nothing.
    Live,
    /// The password was changed, or the session reset: subcode 460.
    Password,
    /// The user logged out: subcode 467.
    Logout,
    /// The user removed the application: subcode 458.
    Deauthorized,
    /// The account has to pass a check: subcode 459.
    Checkpoint,
    /// The user is not confirmed: subcode 464.
    Unconfirmed,
    /// No activity of the user for more than 90 days: subcode 493.
    Inactive,
    /// Plainly invalid, as after a reset of the application's secret: no subcode.
    Invalid,
}

/// What a refresh gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Renewed {
    /// The same string, good for sixty more days.
    SameString,
    /// Another string, good for sixty days.
    NewString,
    /// The same string and the expiry that it had, with an answer of success. Reported of Facebook (§3.3).
    /// Not sourced: that these hosts do it.
    WithoutGain,
}

/// The tokens of a host, and the rules of §13 by which they live.
pub struct Tokens {
    /// Every token, oldest first.
    pub list: Vec<Token>,
    /// The application of the tokens that are made here.
    pub app_id: String,
    /// What the next tokens may do.
    pub scopes: Vec<String>,
    /// What a refresh gives.
    pub renewed: Renewed,
    /// Where a refresh gives another string, the old one dies at once; otherwise it lives to its own expiry.
    /// Not sourced: which of both. It lives on for system users (§3.4).
    pub old_dies: bool,
    /// By how many seconds `expires_in` is less than what is left.
    pub lag: i64,
    prefix: &'static str,
    first_user: u64,
    accounts: Vec<String>,
    made: u64,
}

/// How a host of the Graph API words its answers, and what disturbs it.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Wire {
    /// Which fields an error has.
    pub error_fields: ErrorFields,
    /// What is said of a string that is no token of this host.
    pub undecodable: Undecodable,
    /// How it is said that a session has expired.
    pub expired: ExpiredText,
    /// The other documented wording, where there are two (subcodes 458 and 467, an unknown application).
    pub other_wording: bool,
    /// Errors carry a subcode. It is often absent.
    pub subcodes: bool,
    /// Ids are numbers, as in older versions.
    pub number_ids: bool,
    /// The content type is the older `text/javascript`.
    pub javascript: bool,
    /// Fields that answers of success lack, such as `expires_in`, which is known to be absent at times.
    pub omitted: Vec<&'static str>,
    /// The load that answers tell of. There is none before a fair number of calls.
    pub usage: Option<Usage>,
    /// Disturbances of the next requests, one each; such a request is not carried out.
    pub faults: VecDeque<Fault>,
    /// A disturbance of every request.
    pub outage: Option<Fault>,
    /// The status of an error that is the client's.
    pub fault_status: u16,
    error_type: &'static str,
    said: u64,
}

/// Which fields an error has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorFields {
    /// `message`, `type`, `code`: only these are guaranteed. A subcode comes all the same, if wished.
    Guaranteed,
    /// `fbtrace_id` beside these.
    Usual,
    /// All that are documented, `error_data` as an object.
    All,
    /// All that are documented, `error_data` as a string that holds JSON.
    AllAsText,
}

/// What is said of a string that is no token of this host. No subcode in any of these.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Undecodable {
    /// `Invalid OAuth access token - Cannot parse access token`
    CannotParse,
    /// `The access token could not be decrypted`
    NotDecrypted,
    /// `Malformed access token …` and the string itself.
    Echoed,
    /// `Invalid OAuth 2.0 Access Token`
    Invalid,
}

/// How it is said that a session has expired.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExpiredText {
    /// With the expiry and the time of now, in Pacific time.
    WithNow,
    /// Without the time of now.
    WithoutNow,
    /// In seconds since 1970, as of old.
    UnixTime,
    /// With an East Asian date without seconds and zone.
    Localised,
}

/// The load that an answer tells of, in percent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Usage {
    /// `call_count`, `total_time`, `total_cputime`.
    Graph(u32),
    /// `call_volume`, `cpu_time`, as Instagram Basic had them.
    Basic(u32),
}

/// A disturbance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// A web page with the words "Service Unavailable" and status 503.
    Html503,
    /// Status 500 and nothing else.
    Empty500,
    /// Code 2, which is transient, with status 500.
    Down,
    /// Code 1 with a message that is not that of a wrong secret, with status 500. Not sourced: the status.
    Unknown,
    /// A limit was reached.
    Throttled {
        /// 4, 17, 32, 341 or 613; or a business-use-case limit from 80000.
        code: i64,
        /// 400 and 429 are both documented.
        status: u16,
        /// The minutes to wait, in `x-business-use-case-usage`.
        minutes: Option<u32>,
    },
    /// `{"data":[]}` with status 200.
    EmptyData,
    /// Code 190 with the given token in its message, however good the token is.
    Echo,
    /// The error without its wrapper.
    Flat,
}

/// A refusal: what an error says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The code.
    pub code: i64,
    /// The subcode.
    pub subcode: Option<i64>,
    /// The message.
    pub message: String,
    /// The type, where it is not the usual one of the host.
    pub error_type: Option<&'static str>,
    /// The status, where it is not the usual one of the host.
    pub status: Option<u16>,
    /// `is_transient`, where it is told.
    pub transient: Option<bool>,
}

impl Instagram {
    /// The host with one application and without tokens.
    pub fn new() -> Self {
        Self {
            wire: Wire::new(OAUTH, 400),
            tokens: Tokens::new("IGAA", INSTAGRAM_APP_ID, INSTAGRAM_SCOPES, 17_841_400_000_000_001),
            secret: drawn("instagram secret 0", HEXADECIMAL, 32),
            app: App::Live,
            refresh_refusal: RefreshRefusal::Usual,
            newest_version: 26,
            oldest_version: 21,
            probe_in_list: false,
            resets: 0,
        }
    }

    /// Gives the application another secret, which kills the tokens it has, and tells it.
    pub fn reset_secret(&mut self) -> String {
        self.resets += 1;
        self.secret = drawn(&format!("instagram secret {}", self.resets), HEXADECIMAL, 32);
        self.tokens.invalidate_own();
        self.secret.clone()
    }

    fn route(&mut self, asked: &Asked, now: i64) -> (Result<Value, Refusal>, Option<String>) {
        match asked.path.as_str() {
            "/access_token" => (self.exchange(asked, now), None),
            "/refresh_access_token" => (self.refresh(asked, now), None),
            // Not sourced: that the unversioned probe is refused. The fact sheet shows it with a version.
            path => match self.version_of_probe(path) {
                Some(version) => (self.probe(asked, now), Some(format!("v{version}.0"))),
                None => (Err(unknown_path(path)), None),
            },
        }
    }

    fn version_of_probe(&self, path: &str) -> Option<u32> {
        let digits = path.strip_prefix("/v")?.strip_suffix(".0/me")?;
        let version: u32 = digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        (version > 0 && version <= self.newest_version).then(|| version.max(self.oldest_version))
    }

    fn probe(&self, asked: &Asked, now: i64) -> Result<Value, Refusal> {
        only_get(asked).map_err(as_instagram)?;
        only_known(asked, &["fields", "access_token"])?;
        self.app.check()?;
        let given = credential(asked).ok_or_else(no_token)?;
        let token = self.decode(given)?;
        token.check(&self.wire, now)?;
        token.needs(INSTAGRAM_SCOPES[0])?;
        // Not sourced: that `id` comes unasked.
        let mut found = chosen_fields(asked, &["user_id", "username", "id"], |field| match field {
            "username" => json!(token.account),
            _ => json!(token.user_id),
        })?;
        found.entry("id").or_insert_with(|| json!(token.user_id));
        Ok(if self.probe_in_list { json!({ "data": [found] }) } else { Value::Object(found) })
    }

    fn exchange(&mut self, asked: &Asked, now: i64) -> Result<Value, Refusal> {
        only_get(asked).map_err(as_instagram)?;
        only_known(asked, &["grant_type", "client_secret", "access_token"])?;
        self.app.check()?;
        grant_type(asked, "ig_exchange_token")?;
        let secret = required(asked, "client_secret")?.to_owned();
        let given = asked.query("access_token").filter(|text| !text.is_empty()).ok_or_else(no_token)?;
        // The request names no application, so the token has to be read before its application's secret can be known.
        let token = self.decode(given)?;
        if secret != self.secret || token.app_id != self.tokens.app_id {
            // Code 100 on this host, where Facebook has code 1.
            return Err(Refusal::new(100, "Error validating client secret"));
        }
        token.check(&self.wire, now)?;
        if token.life == Life::Long {
            // Not sourced: how a long-lived token is refused in an exchange.
            return Err(self.unsuitable());
        }
        let text = token.text.clone();
        Ok(self.tokens.exchange(&text, now))
    }

    fn refresh(&mut self, asked: &Asked, now: i64) -> Result<Value, Refusal> {
        only_get(asked).map_err(as_instagram)?;
        // A secret is not needed here, and a secret that is not needed should not travel.
        only_known(asked, &["grant_type", "access_token"])?;
        self.app.check()?;
        grant_type(asked, "ig_refresh_token")?;
        let given = asked.query("access_token").filter(|text| !text.is_empty()).ok_or_else(no_token)?;
        let token = self.decode(given)?;
        if let Err(refusal) = token.check(&self.wire, now) {
            return Err(match self.refresh_refusal {
                RefreshRefusal::Usual => refusal,
                RefreshRefusal::UnsupportedRequest => self.unsuitable(),
            });
        }
        if !token.old_enough(now) {
            return Err(self.unsuitable());
        }
        token.needs(INSTAGRAM_SCOPES[0])?;
        let text = token.text.clone();
        Ok(self.tokens.refresh(&text, now))
    }

    fn decode(&self, given: &str) -> Result<&Token, Refusal> {
        self.tokens.get(given).ok_or_else(|| {
            let refusal = self.wire.undecodable.refusal(given);
            if self.wire.undecodable == Undecodable::Invalid { as_instagram(refusal) } else { refusal }
        })
    }

    fn unsuitable(&self) -> Refusal {
        match self.refresh_refusal {
            // Not sourced: which of the shapes of code 190 a live token gets that is too young or short-lived.
            RefreshRefusal::Usual => no_token(),
            RefreshRefusal::UnsupportedRequest => as_instagram(unsupported("get")),
        }
    }
}

impl Page for Instagram {
    fn answer(&mut self, asked: &Asked, now: i64) -> Said {
        if let Some(said) = self.wire.disturbed(asked, "instagram") {
            return said;
        }
        let (outcome, version) = self.route(asked, now);
        self.wire.say(outcome, version.as_deref())
    }
}

impl App {
    /// Refuses what an application in this state may not do: everything. The tokens of others are not spared.
    pub fn check(self) -> Result<(), Refusal> {
        match self {
            Self::Live => Ok(()),
            Self::Blocked => Err(Refusal::new(200, "API access blocked.")),
            Self::Deleted => Err(Refusal::new(190, "Error validating application. Application has been deleted.")),
        }
    }
}

impl Token {
    /// Refuses a token that is dead.
    pub fn check(&self, wire: &Wire, now: i64) -> Result<(), Refusal> {
        self.check_itself(wire, now)?;
        if now >= self.data_access_expires_at {
            return Err(wire.session_dead(493, INACTIVE));
        }
        Ok(())
    }

    /// The same without the window of data access, which is a matter of its own.
    pub fn check_itself(&self, wire: &Wire, now: i64) -> Result<(), Refusal> {
        let other = wire.other_wording;
        Err(match self.fate {
            Fate::Live if now >= self.expires_at => wire.session_dead(463, &wire.expired.words(self.expires_at, now)),
            Fate::Live => return Ok(()),
            Fate::Password => wire.session_dead(
                460,
                "The session has been invalidated because the user changed their password or Facebook has changed \
                 the session for security reasons.",
            ),
            // Not sourced: what stands before the second wording.
            Fate::Logout if other => {
                wire.session_dead(467, "This may be because the user logged out or may be due to a system error.")
            }
            Fate::Logout => wire.session_dead(467, "The session is invalid because the user logged out."),
            Fate::Deauthorized if other => wire
                .session_dead(458, &format!("User {} has not authorized application {}.", self.user_id, self.app_id)),
            Fate::Deauthorized => {
                wire.session_dead(458, &format!("The user has not authorized application {}.", self.app_id))
            }
            // Not sourced: the words of the next two.
            Fate::Checkpoint => wire.session_dead(459, "The user is enrolled in a blocking, logged-in checkpoint"),
            Fate::Unconfirmed => wire.session_dead(464, "Sessions for the user are not allowed: not confirmed."),
            Fate::Inactive => wire.session_dead(493, INACTIVE),
            Fate::Invalid => Refusal::new(190, "Invalid OAuth access token."),
        })
    }

    /// Refuses a token without this permission.
    pub fn needs(&self, scope: &str) -> Result<(), Refusal> {
        if self.scopes.iter().any(|known| known == scope) {
            return Ok(());
        }
        // Not sourced: the words.
        Err(Refusal::new(10, "(#10) Application does not have permission for this action"))
    }

    /// A refresh takes it: long-lived, and made or last refreshed at least 24 hours ago.
    /// Not sourced: that a refresh begins the 24 hours anew.
    pub fn old_enough(&self, now: i64) -> bool {
        self.life == Life::Long && now - self.issued_at >= MINIMUM_AGE_SECONDS
    }
}

impl Tokens {
    /// None yet; the numbers of their accounts begin with `first_user`.
    pub fn new(prefix: &'static str, app_id: &str, scopes: &[&str], first_user: u64) -> Self {
        Self {
            list: Vec::new(),
            app_id: app_id.to_owned(),
            scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
            renewed: Renewed::SameString,
            old_dies: false,
            lag: 56,
            prefix,
            first_user,
            accounts: Vec::new(),
            made: 0,
        }
    }

    /// Makes a token of this account, as a login and an exchange would; `issued_at` may lie in the past.
    pub fn make(&mut self, account: &str, life: Life, issued_at: i64) -> String {
        let place = self.accounts.iter().position(|known| known == account).unwrap_or_else(|| {
            self.accounts.push(account.to_owned());
            self.accounts.len() - 1
        });
        let user_id = self.first_user + u64::try_from(place).expect("few accounts");
        let expires_at = match life {
            Life::Long => issued_at + LONG_SECONDS,
            // A short-lived token ends on a full hour. Not sourced: that this hour is the next and not the last one.
            Life::Short => (issued_at + SHORT_SECONDS + 3_599).div_euclid(3_600) * 3_600,
        };
        let text = self.unused_text();
        self.list.push(Token {
            text: text.clone(),
            account: account.to_owned(),
            user_id: user_id.to_string(),
            app_id: self.app_id.clone(),
            life,
            issued_at,
            expires_at,
            data_access_expires_at: issued_at + DATA_ACCESS_SECONDS,
            scopes: self.scopes.clone(),
            fate: Fate::Live,
        });
        text
    }

    /// The same for another application, which this host knows as well.
    pub fn make_foreign(&mut self, account: &str, life: Life, issued_at: i64) -> String {
        let text = self.make(account, life, issued_at);
        OTHER_APP_ID.clone_into(&mut self.get_mut(&text).app_id);
        text
    }

    /// The token with this text.
    pub fn get(&self, text: &str) -> Option<&Token> {
        self.list.iter().find(|token| token.text == text)
    }

    /// The token with this text, to change its fate.
    pub fn get_mut(&mut self, text: &str) -> &mut Token {
        self.list.iter_mut().find(|token| token.text == text).expect("a token of this page")
    }

    /// Lets a token expire now.
    pub fn expire(&mut self, text: &str, now: i64) {
        self.get_mut(text).expires_at = now;
    }

    /// Ends the window of data access of a token now.
    pub fn end_data_access(&mut self, text: &str, now: i64) {
        self.get_mut(text).data_access_expires_at = now;
    }

    /// Something happens to an account, and so to all its tokens.
    pub fn strike(&mut self, account: &str, fate: Fate) {
        for token in self.list.iter_mut().filter(|token| token.account == account) {
            token.fate = fate;
        }
    }

    /// Makes every token of the own application invalid.
    pub fn invalidate_own(&mut self) {
        for token in self.list.iter_mut().filter(|token| token.app_id == self.app_id) {
            token.fate = Fate::Invalid;
        }
    }

    /// Gives a long-lived token for a short-lived one, which stays as it is.
    pub fn exchange(&mut self, text: &str, now: i64) -> Value {
        let short = self.get(text).expect("it was decoded").clone();
        let long = self.make(&short.account, Life::Long, now);
        self.get_mut(&long).scopes = short.scopes;
        self.granted(&long, now)
    }

    /// Refreshes a long-lived token.
    pub fn refresh(&mut self, text: &str, now: i64) -> Value {
        let old = self.get(text).expect("it was decoded").clone();
        let renewed = match self.renewed {
            Renewed::WithoutGain => text.to_owned(),
            Renewed::SameString => {
                let token = self.get_mut(text);
                token.issued_at = now;
                token.expires_at = now + LONG_SECONDS;
                token.data_access_expires_at = now + DATA_ACCESS_SECONDS;
                text.to_owned()
            }
            Renewed::NewString => {
                let new = self.make(&old.account, Life::Long, now);
                let token = self.get_mut(&new);
                token.scopes = old.scopes;
                token.app_id = old.app_id;
                if self.old_dies {
                    self.get_mut(text).fate = Fate::Invalid;
                }
                new
            }
        };
        self.granted(&renewed, now)
    }

    fn granted(&self, text: &str, now: i64) -> Value {
        let expires_in = self.get(text).expect("it was just made").expires_at - now - self.lag;
        json!({ "access_token": text, "token_type": "bearer", "expires_in": expires_in.max(0) })
    }

    fn unused_text(&mut self) -> String {
        self.made += 1;
        token_text(self.prefix, self.made)
    }
}

impl Wire {
    /// The usual wording, with the usual type and the usual status of an error of the client's.
    pub fn new(error_type: &'static str, fault_status: u16) -> Self {
        Self {
            error_fields: ErrorFields::Usual,
            undecodable: Undecodable::CannotParse,
            expired: ExpiredText::WithNow,
            other_wording: false,
            subcodes: true,
            number_ids: false,
            javascript: false,
            omitted: Vec::new(),
            usage: None,
            faults: VecDeque::new(),
            outage: None,
            fault_status,
            error_type,
            said: 0,
        }
    }

    /// What is said instead, where a disturbance is due; `family` is the `type` of a business-use-case limit.
    pub fn disturbed(&mut self, asked: &Asked, family: &str) -> Option<Said> {
        let fault = self.faults.pop_front().or_else(|| self.outage.clone())?;
        let outage =
            |code, message: &str, transient| Refusal { status: Some(500), transient, ..Refusal::new(code, message) };
        Some(match fault {
            Fault::Html503 => Said {
                status: 503,
                headers: Vec::new(),
                kind: "text/html; charset=UTF-8",
                body: "<!DOCTYPE html><html><body><h1>Service Unavailable</h1></body></html>".to_owned(),
            },
            Fault::Empty500 => Said::text(500, ""),
            // Not sourced: the words of this one and the next.
            Fault::Down => self.say(Err(outage(2, "Service temporarily unavailable", Some(true))), None),
            Fault::Unknown => self.say(Err(outage(1, "An unknown error occurred", None)), None),
            Fault::Throttled { code, status, minutes } => self.throttled(code, status, minutes, family),
            Fault::EmptyData => self.say(Ok(json!({ "data": [] })), None),
            Fault::Echo => {
                let given = asked.query("input_token").or_else(|| credential(asked)).unwrap_or_default();
                self.say(Err(Undecodable::Echoed.refusal(given)), None)
            }
            // Not sourced: these words with this shape.
            Fault::Flat => {
                let body = json!({ "code": 190, "message": "Invalid OAuth access token." });
                Said { kind: self.content_type(), ..Said::json(self.fault_status, body) }
            }
        })
    }

    /// Says what has come out; `version` is that which was executed, where the path has one.
    pub fn say(&mut self, outcome: Result<Value, Refusal>, version: Option<&str>) -> Said {
        self.said += 1;
        let mut said = match outcome {
            Ok(body) => self.success(body),
            Err(refusal) => self.error(&refusal),
        };
        said.kind = self.content_type();
        let trace = self.trace();
        said = said
            .with("expires", "Sat, 01 Jan 2000 00:00:00 GMT")
            .with("pragma", "no-cache")
            .with("access-control-allow-origin", "*")
            .with("strict-transport-security", "max-age=15552000; preload")
            .with("x-fb-request-id", format!("request-{}", self.said))
            .with("x-fb-trace-id", trace)
            .with("x-fb-rev", "1000000000")
            .with("x-fb-debug", format!("debug-{}", self.said));
        // Not sourced: that an unversioned path has no such header.
        if let Some(version) = version {
            said = said.with("facebook-api-version", version);
        }
        match self.usage {
            None => said,
            Some(usage) => said.with("x-app-usage", usage.header()),
        }
    }

    fn session_dead(&self, subcode: i64, words: &str) -> Refusal {
        let mut refusal = Refusal::new(190, &format!("Error validating access token: {words}"));
        refusal.subcode = self.subcodes.then_some(subcode);
        refusal
    }

    fn success(&self, mut body: Value) -> Said {
        self.adapt(&mut body);
        if let Some(data) = body.get_mut("data") {
            match data {
                Value::Array(items) => items.iter_mut().for_each(|item| self.adapt(item)),
                one => self.adapt(one),
            }
        }
        Said::json(200, body)
            .with("cache-control", "private, no-cache, no-store, must-revalidate")
            .with("etag", format!("\"{:040x}\"", self.said))
    }

    fn adapt(&self, value: &mut Value) {
        let Value::Object(fields) = value else { return };
        for name in &self.omitted {
            fields.remove(*name);
        }
        if self.number_ids {
            for name in ["id", "user_id"] {
                if let Some(number) = fields.get(name).and_then(Value::as_str).and_then(|id| id.parse::<u64>().ok()) {
                    fields.insert(name.to_owned(), json!(number));
                }
            }
        }
    }

    fn error(&self, refusal: &Refusal) -> Said {
        let status = refusal.status.unwrap_or(self.fault_status);
        let said = Said::json(status, json!({ "error": self.error_object(refusal) })).with("cache-control", "no-store");
        // Not sourced: that other codes come without this header.
        let reason = match refusal.code {
            190 => "invalid_token",
            100 => "invalid_request",
            _ => return said,
        };
        // The message is repeated here, with the token in it, if it has one.
        let message: String = refusal.message.chars().filter(|&letter| (' '..='~').contains(&letter)).collect();
        said.with("www-authenticate", format!("OAuth \"Facebook Platform\" \"{reason}\" \"{message}\""))
    }

    fn error_object(&self, refusal: &Refusal) -> Map<String, Value> {
        let mut error = Map::new();
        let mut put = |name: &str, value: Value| error.insert(name.to_owned(), value);
        put("message", json!(refusal.message));
        put("type", json!(refusal.error_type.unwrap_or(self.error_type)));
        put("code", json!(refusal.code));
        if let Some(subcode) = refusal.subcode {
            put("error_subcode", json!(subcode));
        }
        if let Some(transient) = refusal.transient {
            put("is_transient", json!(transient));
        }
        if self.error_fields != ErrorFields::Guaranteed {
            put("fbtrace_id", json!(self.trace()));
        }
        if matches!(self.error_fields, ErrorFields::All | ErrorFields::AllAsText) {
            put("is_transient", json!(refusal.transient.unwrap_or(false)));
            // Localised by the request's locale. Not sourced: the words.
            put("error_user_title", json!("Zugriff nicht möglich"));
            put("error_user_msg", json!("Bitte melde dich erneut an."));
            let data = json!({ "details": "simulated" });
            let as_text = self.error_fields == ErrorFields::AllAsText;
            put("error_data", if as_text { json!(data.to_string()) } else { data });
        }
        error
    }

    fn throttled(&mut self, code: i64, status: u16, minutes: Option<u32>, family: &str) -> Said {
        let message = match code {
            32 => "(#32) Page request limit reached".to_owned(),
            // Not sourced: the words for the other codes.
            80_000.. => format!("(#{code}) There have been too many calls to this account."),
            _ => format!("(#{code}) Application request limit reached"),
        };
        let full = Some(match self.usage {
            Some(Usage::Basic(_)) => Usage::Basic(100),
            Some(Usage::Graph(_)) | None => Usage::Graph(100),
        });
        let usual = std::mem::replace(&mut self.usage, full);
        let said = self.say(Err(Refusal { status: Some(status), ..Refusal::new(code, &message) }), None);
        self.usage = usual;
        let Some(minutes) = minutes else { return said };
        let limit = json!({
            "type": family,
            "call_count": 100,
            "total_cputime": 25,
            "total_time": 25,
            "estimated_time_to_regain_access": minutes,
        });
        said.with("x-business-use-case-usage", json!({ "17841400000000001": [limit] }))
    }

    fn content_type(&self) -> &'static str {
        if self.javascript { "text/javascript; charset=UTF-8" } else { "application/json; charset=UTF-8" }
    }

    fn trace(&self) -> String {
        format!("A{:022}", self.said)
    }
}

impl Undecodable {
    /// The refusal of this string.
    pub fn refusal(self, given: &str) -> Refusal {
        Refusal::new(
            190,
            &match self {
                Self::CannotParse => "Invalid OAuth access token - Cannot parse access token".to_owned(),
                Self::NotDecrypted => "The access token could not be decrypted".to_owned(),
                Self::Echoed => format!("Malformed access token {given}"),
                Self::Invalid => INVALID.to_owned(),
            },
        )
    }
}

impl ExpiredText {
    fn words(self, expires_at: i64, now: i64) -> String {
        match self {
            Self::WithNow => {
                format!("Session has expired on {}. The current time is {}.", pacific(expires_at), pacific(now))
            }
            Self::WithoutNow => format!("Session has expired on {}.", pacific(expires_at)),
            Self::UnixTime => {
                format!("Session has expired at unix time {expires_at}. The current unix time is {now}.")
            }
            // Not sourced: more than that the form is East Asian, without seconds and zone.
            Self::Localised => {
                format!("Session has expired on {}.", written(expires_at, "%Y年%m月%d日 %H:%M"))
            }
        }
    }
}

impl Usage {
    fn header(self) -> Value {
        match self {
            Self::Graph(percent) => json!({ "call_count": percent, "total_time": 25, "total_cputime": 25 }),
            Self::Basic(percent) => json!({ "call_volume": percent, "cpu_time": 25 }),
        }
    }
}

impl Refusal {
    /// With this code and message and what is usual on the host.
    pub fn new(code: i64, message: &str) -> Self {
        Self { code, subcode: None, message: message.to_owned(), error_type: None, status: None, transient: None }
    }
}

/// The text of a token that begins with `prefix`, such as `IGAA`, `THQ` or `EAA`: always the same for the same number.
pub fn token_text(prefix: &str, number: u64) -> String {
    format!("{prefix}{}ZD", drawn(&format!("{prefix} {number}"), ALPHANUMERIC, 172))
}

/// A time as the messages have it: `Tuesday, 05-Apr-16 23:00:00 PDT`. The rule of summer time is that since 2007.
pub fn pacific(seconds: i64) -> String {
    let at = Timestamp::from_second(seconds).expect("a time of the calendar");
    let utc = Offset::UTC.to_datetime(at);
    let sunday = |month, number| {
        date(utc.year(), month, 1).nth_weekday_of_month(number, Weekday::Sunday).expect("every month has two Sundays")
    };
    // Both changes are at two o'clock, local time.
    let summer = sunday(3, 2).at(10, 0, 0, 0)..sunday(11, 1).at(9, 0, 0, 0);
    let (hours, zone) = if summer.contains(&utc) { (-7, "PDT") } else { (-8, "PST") };
    format!("{} {zone}", Offset::constant(hours).to_datetime(at).strftime("%A, %d-%b-%y %H:%M:%S"))
}

/// The caller's token: from the query, or as a bearer.
pub fn credential(asked: &Asked) -> Option<&str> {
    asked.query("access_token").or_else(|| asked.bearer()).filter(|text| !text.is_empty())
}

/// A parameter that must be there.
pub fn required<'a>(asked: &'a Asked, name: &str) -> Result<&'a str, Refusal> {
    // [U]: the words.
    let missing = || Refusal::new(100, &format!("(#100) The parameter {name} is required"));
    asked.query(name).filter(|value| !value.is_empty()).ok_or_else(missing)
}

/// Refuses another kind of grant.
pub fn grant_type(asked: &Asked, wanted: &str) -> Result<(), Refusal> {
    if required(asked, "grant_type")? == wanted {
        return Ok(());
    }
    // Not sourced: the words.
    Err(Refusal::new(100, "(#100) Param grant_type must be one of the supported values"))
}

/// Refuses parameters that are unknown or come twice. Not sourced: the real service may pass over them.
pub fn only_known(asked: &Asked, known: &[&str]) -> Result<(), Refusal> {
    for (place, (name, _)) in asked.query.iter().enumerate() {
        let twice = asked.query[..place].iter().any(|(earlier, _)| earlier == name);
        if twice || !known.contains(&name.as_str()) {
            return Err(Refusal::new(100, &format!("(#100) Unexpected parameter {name}")));
        }
    }
    Ok(())
}

/// Refuses every method but GET, and a body.
pub fn only_get(asked: &Asked) -> Result<(), Refusal> {
    if asked.method == "GET" && asked.body.is_empty() {
        return Ok(());
    }
    Err(unsupported(&asked.method.to_lowercase()))
}

/// The values of the fields that are asked for, and the refusal of one that is not among the known.
pub fn chosen_fields(
    asked: &Asked,
    known: &[&str],
    value: impl Fn(&str) -> Value,
) -> Result<Map<String, Value>, Refusal> {
    // Not sourced: that the fields must be named, and what is said of an unknown one beyond its code.
    let fields = required(asked, "fields")?.split(',');
    fields
        .map(|field| {
            if known.contains(&field) {
                Ok((field.to_owned(), value(field)))
            } else {
                Err(Refusal::new(100, &format!("(#100) Tried accessing nonexisting field ({field})")))
            }
        })
        .collect()
}

/// The refusal of a path that is not there: code 2500. Not sourced: the words.
pub fn unknown_path(path: &str) -> Refusal {
    Refusal::new(2500, &format!("Unknown path components: {path}"))
}

/// The refusal of a method. Not sourced: the code, and that it is said of other methods than GET.
pub fn unsupported(method: &str) -> Refusal {
    Refusal::new(100, &format!("Unsupported request - method type: {method}"))
}

fn no_token() -> Refusal {
    as_instagram(Refusal::new(190, INVALID))
}

fn as_instagram(refusal: Refusal) -> Refusal {
    Refusal { error_type: Some("IGApiException"), ..refusal }
}

/// The application of the page. Not sourced: how such a number looks.
pub const INSTAGRAM_APP_ID: &str = "1234500000000001";

/// Another application that the host knows.
pub const OTHER_APP_ID: &str = "9876500000000009";

/// What a refresh and the probe need.
pub const INSTAGRAM_SCOPES: &[&str] = &["instagram_business_basic"];

/// The life of a short-lived token.
pub const SHORT_SECONDS: i64 = 3_600;

/// The life of a long-lived token: 60 days.
pub const LONG_SECONDS: i64 = 5_184_000;

/// The window of data access: 90 days.
pub const DATA_ACCESS_SECONDS: i64 = 7_776_000;

/// A younger token is not refreshed.
pub const MINIMUM_AGE_SECONDS: i64 = 86_400;

/// The type of most errors.
pub const OAUTH: &str = "OAuthException";

/// What is said of no token at all.
pub const INVALID: &str = "Invalid OAuth 2.0 Access Token";

/// The sense is sourced, the words are not.
const INACTIVE: &str = "The user has not engaged the app for longer than 90 days.";

#[test]
fn the_dates_in_messages_are_the_documented_ones() {
    assert_eq!(pacific(1_459_922_400), "Tuesday, 05-Apr-16 23:00:00 PDT");
    assert_eq!(pacific(1_639_227_600), "Saturday, 11-Dec-21 05:00:00 PST");
}

#[cfg(test)]
fn get(path: &str, query: &[(&str, &str)]) -> Asked {
    Asked::new("GET", path).with_query(query)
}

#[test]
fn a_token_is_refreshed_between_its_first_day_and_its_sixtieth() {
    let mut page = Instagram::new();
    let begin = 1_800_000_000;
    let short = page.tokens.make("demo", Life::Short, begin);
    let secret = page.secret.clone();
    let exchange = get(
        "/access_token",
        &[("grant_type", "ig_exchange_token"), ("client_secret", &secret), ("access_token", &short)],
    );
    let said = page.answer(&exchange, begin);
    let body = said.document();
    assert_eq!((said.status, &body["expires_in"]), (200, &json!(5_183_944)), "{said:?}");
    let long = body["access_token"].as_str().expect("a text").to_owned();
    let refresh = get("/refresh_access_token", &[("grant_type", "ig_refresh_token"), ("access_token", &long)]);
    assert_eq!(page.answer(&refresh, begin + 86_399).status, 400);
    assert_eq!(page.answer(&refresh, begin + 86_400).status, 200);
    page.tokens.renewed = Renewed::NewString;
    let later = begin + 86_400 + LONG_SECONDS;
    let renewed = page.answer(&refresh, later - 1).document();
    assert_ne!(renewed["access_token"], json!(long));
    let late = page.answer(&refresh, later).document();
    assert_eq!(late["error"]["error_subcode"], json!(463), "{late}");
}

#[test]
fn there_is_no_debugging_and_other_hosts_tokens_cannot_be_read() {
    let mut page = Instagram::new();
    let token = page.tokens.make("demo", Life::Long, 1_800_000_000);
    let said = page.answer(&get("/v25.0/debug_token", &[("input_token", &token)]), 1_800_000_001);
    assert!(said.status == 400 && said.body.contains("2500"), "{said:?}");
    for (given, expected) in [(token.as_str(), 200), (&token_text("EAA", 1), 400), (&token_text("THQ", 1), 400)] {
        let asked = get("/v25.0/me", &[("fields", "user_id,username"), ("access_token", given)]);
        assert_eq!(page.answer(&asked, 1_800_000_001).status, expected);
    }
}
