//! Threads on `graph.threads.net`: long-lived user tokens that are exchanged for, refreshed, probed and debugged, and
//! the application's own token (fact sheet of the Graph API §1, §2, §4, §6.1 to §6.3, §11, §13).
//!
//! Its errors have the type `THApiException` and status 500 even where the fault is plainly the client's, so a real
//! outage differs by its code or by its empty body. It never logs anybody in, never takes a secret from a body, never
//! asks for the secret in a refresh, and never tells the application of a token that is debugged.
//! Tokens and the secret in the query are what the fact sheet documents, so they are taken there.
//! The wire habits and the life of tokens that Threads shares with Instagram are in that page.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::instagram::{
    App, INVALID, Life, OAUTH, Refusal, Token, Tokens, Wire, chosen_fields, credential, grant_type, only_get,
    only_known, required, unknown_path,
};
use super::spelling::{HEXADECIMAL, URL_SAFE, drawn};
use super::{Asked, Page, Said};

/// The page: one application and the accounts that have allowed it.
pub struct Threads {
    /// How it words its answers, and what disturbs it.
    pub wire: Wire,
    /// The tokens of everybody.
    pub tokens: Tokens,
    /// The secret of the Threads application: not that of the Meta application.
    pub secret: String,
    /// The name of the application.
    pub name: String,
    /// What has become of the application.
    pub app: App,
    /// The accounts that are testers of the application, so that their tokens may debug.
    pub testers: BTreeSet<String>,
    /// `TH|APP_ID|APP_SECRET` may debug. One project does so; the fact sheet has it as an open point.
    pub inline_app_token: bool,
    /// App tokens are passed over as if none were sent, as for native applications. Not sourced: that Threads does so.
    pub app_tokens_ignored: bool,
    /// The code for a wrong secret: 100 as on Instagram, or 1 as on Facebook. Not sourced: which of both.
    pub wrong_secret_code: i64,
    /// The code for an app token of an unknown application: 101 or 190.
    pub unknown_app_code: i64,
    /// A dead token gets an `OAuthException` when it is to be refreshed, and not a `THApiException`.
    pub refresh_says_oauth: bool,
    resets: u64,
}

impl Threads {
    /// The host with one application, without testers and tokens.
    pub fn new() -> Self {
        Self {
            wire: Wire::new("THApiException", 500),
            // `THQ` is one of the beginnings in §11.
            tokens: Tokens::new("THQ", THREADS_APP_ID, THREADS_SCOPES, 7_700_000_000_000_001),
            secret: drawn("threads secret 0", HEXADECIMAL, 32),
            name: "Demo".to_owned(),
            app: App::Live,
            testers: BTreeSet::new(),
            inline_app_token: true,
            app_tokens_ignored: false,
            wrong_secret_code: 100,
            unknown_app_code: 101,
            refresh_says_oauth: true,
            resets: 0,
        }
    }

    /// The app token that is put together from number and secret.
    pub fn inline_token(&self) -> String {
        format!("TH|{}|{}", self.tokens.app_id, self.secret)
    }

    /// The app token that is asked for with the client's credentials.
    pub fn returned_token(&self) -> String {
        format!("TH|{}|{}", self.tokens.app_id, self.returned_key())
    }

    /// Gives the application another secret, which kills its tokens of all kinds, and tells it.
    pub fn reset_secret(&mut self) -> String {
        self.resets += 1;
        self.secret = drawn(&format!("threads secret {}", self.resets), HEXADECIMAL, 32);
        self.tokens.invalidate_own();
        self.secret.clone()
    }

    fn route(&mut self, asked: &Asked, now: i64) -> (Result<Value, Refusal>, Option<&'static str>) {
        match asked.path.as_str() {
            "/v1.0/me" => (self.probe(asked, now), Some("v1.0")),
            "/v1.0/debug_token" => (self.debug(asked, now), Some("v1.0")),
            "/access_token" => (self.exchange(asked, now), None),
            "/refresh_access_token" => (self.refresh(asked, now), None),
            "/oauth/access_token" => (self.client_credentials(asked), None),
            path => (Err(unknown_path(path)), None),
        }
    }

    fn probe(&self, asked: &Asked, now: i64) -> Result<Value, Refusal> {
        only_get(asked)?;
        only_known(asked, &["fields", "access_token"])?;
        self.app.check()?;
        let token = self.decode(credential(asked).ok_or_else(no_token)?)?;
        token.check(&self.wire, now)?;
        token.needs(THREADS_SCOPES[0])?;
        let found = chosen_fields(asked, &["id", "username"], |field| match field {
            "username" => json!(token.account),
            _ => json!(token.user_id),
        })?;
        Ok(Value::Object(found))
    }

    fn debug(&self, asked: &Asked, now: i64) -> Result<Value, Refusal> {
        only_get(asked)?;
        only_known(asked, &["access_token", "input_token"])?;
        self.app.check()?;
        // Not sourced: that it is this refusal, and not code 104 as on Facebook.
        self.check_caller(credential(asked).ok_or_else(no_token)?, now)?;
        let given = required(asked, "input_token")?;
        if given == self.returned_token() || given == self.inline_token() {
            // [U]: the type `APP`, and what else is told of such a token.
            let data = json!({ "type": "APP", "application": self.name, "is_valid": true, "scopes": [] });
            return Ok(json!({ "data": data }));
        }
        let Some(token) = self.tokens.get(given) else {
            let error = debug_error(&self.wire.undecodable.refusal(given));
            return Ok(json!({ "data": { "error": error, "is_valid": false, "scopes": [] } }));
        };
        if token.app_id != self.tokens.app_id {
            // Sourced for Facebook.
            let words = "(#100) The App_id in the input_token did not match the Viewing App";
            return Err(Refusal::new(100, words));
        }
        Ok(json!({ "data": self.debugged(token, now) }))
    }

    /// What is told of a token: the fields of §4, so no `app_id`.
    fn debugged(&self, token: &Token, now: i64) -> Map<String, Value> {
        // A window of data access that is over is told by its time alone.
        let dead = token.check_itself(&self.wire, now).err();
        let mut data = Map::new();
        let mut put = |name: &str, value: Value| data.insert(name.to_owned(), value);
        put("type", json!("USER"));
        put("application", json!(self.name));
        put("data_access_expires_at", json!(token.data_access_expires_at));
        put("expires_at", json!(token.expires_at));
        put("is_valid", json!(dead.is_none()));
        // Short-lived tokens lack it on Facebook.
        if token.life == Life::Long {
            put("issued_at", json!(token.issued_at));
        }
        put("scopes", json!(token.scopes));
        put("user_id", json!(token.user_id));
        if let Some(refusal) = dead {
            put("error", debug_error(&refusal));
        }
        data
    }

    /// Refuses a caller who may not debug: the usual refusals, and code 100 where the token is good but not privileged.
    fn check_caller(&self, caller: &str, now: i64) -> Result<(), Refusal> {
        let unprivileged = || {
            let words = "(#100) You must provide an app access token, or a user access token that is an owner or \
                         developer of the app";
            Refusal::new(100, words)
        };
        if let Some((app_id, key)) = caller.strip_prefix("TH|").and_then(|rest| rest.split_once('|')) {
            if self.app_tokens_ignored {
                return Err(unprivileged());
            }
            if app_id != self.tokens.app_id {
                return Err(self.unknown_app(self.unknown_app_code));
            }
            if key == self.returned_key() || (key == self.secret && self.inline_app_token) {
                return Ok(());
            }
            // Not sourced: how the inline form is refused where it is not taken.
            let wrong = || Refusal::new(190, "Invalid OAuth access token signature.");
            return Err(if key == self.secret { unprivileged() } else { wrong() });
        }
        let token = self.decode(caller)?;
        token.check(&self.wire, now)?;
        let tester = token.app_id == self.tokens.app_id && self.testers.contains(&token.account);
        if tester { Ok(()) } else { Err(unprivileged()) }
    }

    fn exchange(&mut self, asked: &Asked, now: i64) -> Result<Value, Refusal> {
        only_get(asked)?;
        only_known(asked, &["grant_type", "client_secret", "access_token"])?;
        self.app.check()?;
        grant_type(asked, "th_exchange_token")?;
        let secret = required(asked, "client_secret")?.to_owned();
        // The request names no application, so the token has to be read before its application's secret can be known.
        let token = self.decode(given_token(asked)?)?;
        if secret != self.secret || token.app_id != self.tokens.app_id {
            return Err(self.wrong_secret());
        }
        token.check(&self.wire, now)?;
        if token.life == Life::Long {
            // Not sourced: how a long-lived token is refused in an exchange.
            return Err(no_token());
        }
        let text = token.text.clone();
        Ok(self.tokens.exchange(&text, now))
    }

    fn refresh(&mut self, asked: &Asked, now: i64) -> Result<Value, Refusal> {
        only_get(asked)?;
        // A secret is not needed here, and a secret that is not needed should not travel.
        only_known(asked, &["grant_type", "access_token"])?;
        self.app.check()?;
        grant_type(asked, "th_refresh_token")?;
        let token = self.decode(given_token(asked)?)?;
        if let Err(refusal) = token.check(&self.wire, now) {
            let error_type = self.refresh_says_oauth.then_some(OAUTH);
            return Err(Refusal { error_type, ..refusal });
        }
        if !token.old_enough(now) {
            // Not sourced: how a live token is refused that is too young or short-lived.
            return Err(no_token());
        }
        token.needs(THREADS_SCOPES[0])?;
        let text = token.text.clone();
        Ok(self.tokens.refresh(&text, now))
    }

    fn client_credentials(&self, asked: &Asked) -> Result<Value, Refusal> {
        only_get(asked)?;
        only_known(asked, &["client_id", "client_secret", "grant_type"])?;
        self.app.check()?;
        grant_type(asked, "client_credentials")?;
        // This refusal and the next are sourced for Facebook.
        let missing = || Refusal::new(101, "Missing client_id parameter.");
        let client_id = asked.query("client_id").filter(|id| !id.is_empty()).ok_or_else(missing)?;
        if client_id != self.tokens.app_id {
            return Err(self.unknown_app(101));
        }
        if required(asked, "client_secret")? != self.secret {
            return Err(self.wrong_secret());
        }
        Ok(json!({ "access_token": self.returned_token(), "token_type": "bearer" }))
    }

    fn decode(&self, given: &str) -> Result<&Token, Refusal> {
        // An app token is no user's, so where a user's is wanted it cannot be read either. Not sourced.
        self.tokens.get(given).ok_or_else(|| self.wire.undecodable.refusal(given))
    }

    fn unknown_app(&self, code: i64) -> Refusal {
        let other = self.wire.other_wording;
        let reason =
            if other { "Cannot get application info due to a system error." } else { "Invalid application ID." };
        Refusal::new(code, &format!("Error validating application. {reason}"))
    }

    fn wrong_secret(&self) -> Refusal {
        // With code 1 the words have a full stop, with code 100 they have none.
        let stop = if self.wrong_secret_code == 1 { "." } else { "" };
        Refusal::new(self.wrong_secret_code, &format!("Error validating client secret{stop}"))
    }

    /// The last part of the app token that is asked for: 27 letters, as on Facebook. Not sourced for Threads.
    fn returned_key(&self) -> String {
        drawn(&self.secret, URL_SAFE, 27)
    }
}

impl Page for Threads {
    fn answer(&mut self, asked: &Asked, now: i64) -> Said {
        // Not sourced: the `type` of a business-use-case limit of Threads.
        if let Some(said) = self.wire.disturbed(asked, "threads") {
            return said;
        }
        let (outcome, version) = self.route(asked, now);
        self.wire.say(outcome, version)
    }
}

/// The error inside what is told of a token: `subcode`, and not `error_subcode`.
fn debug_error(refusal: &Refusal) -> Value {
    let mut error = json!({ "code": refusal.code, "message": refusal.message });
    if let Some(subcode) = refusal.subcode {
        error["subcode"] = json!(subcode);
    }
    error
}

fn given_token(asked: &Asked) -> Result<&str, Refusal> {
    asked.query("access_token").filter(|text| !text.is_empty()).ok_or_else(no_token)
}

fn no_token() -> Refusal {
    Refusal::new(190, INVALID)
}

/// The application of the page. Not sourced: how such a number looks.
pub const THREADS_APP_ID: &str = "5432100000000001";

/// What a refresh and the probe need.
pub const THREADS_SCOPES: &[&str] = &["threads_basic"];

#[test]
fn who_may_debug_and_what_is_told() {
    let mut page = Threads::new();
    let now = 1_800_000_000;
    let token = page.tokens.make("demo", Life::Long, now);
    let watcher = page.tokens.make("watcher", Life::Long, now);
    page.testers.insert("watcher".to_owned());
    let debug = |page: &mut Threads, caller: &str, input: &str, now: i64| {
        let asked = Asked::new("GET", "/v1.0/debug_token");
        let said = page.answer(&asked.with_query(&[("access_token", caller), ("input_token", input)]), now);
        (said.status, said.document())
    };
    for caller in [watcher.clone(), page.inline_token(), page.returned_token()] {
        let (status, body) = debug(&mut page, &caller, &token, now);
        assert_eq!((status, &body["data"]["is_valid"]), (200, &json!(true)), "{body}");
        assert_eq!(body["data"]["app_id"], Value::Null);
    }
    // A caller who may not is a fault of the client's, with the status of an outage.
    let inline = page.inline_token();
    page.inline_app_token = false;
    for (caller, code) in [(token.as_str(), 100), (inline.as_str(), 100), ("TH|5432100000000001|wrong", 190)] {
        let (status, body) = debug(&mut page, caller, &token, now);
        assert_eq!((status, &body["error"]["code"]), (500, &json!(code)), "{body}");
    }
    // A dead token is told with status 200.
    let returned = page.returned_token();
    page.tokens.expire(&token, now);
    let (status, body) = debug(&mut page, &returned, &token, now);
    assert_eq!((status, &body["data"]["error"]["subcode"]), (200, &json!(463)), "{body}");
    let (status, body) = debug(&mut page, &returned, "IGAAforeign", now);
    assert_eq!((status, body["data"].as_object().map(Map::len)), (200, Some(3)), "{body}");
}
