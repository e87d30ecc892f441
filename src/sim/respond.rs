//! The one entry point: a request in, a reply out. Finds the endpoint and the caller, and lets faults have their way.
//! Must never answer from an endpoint without having judged the caller first; only `oauth/access_token` has none.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use super::answers::{GraphError, HostFamily, Reply, Request, Stamp};
use super::switches::{Undecodable, UnknownApp};
use super::token::{BASE64URL, Token, stretch};
use super::versions;
use super::world::{App, AppState, World};

/// `appsecret_time` may be this far from the server's clock: 5 minutes (§5).
const PROOF_VALID: u64 = 300;

/// One request on its way through the world.
pub(super) struct Call<'a> {
    pub request: &'a Request,
    pub now: i64,
    /// Usage headers earned so far.
    pub usage: Vec<(String, String)>,
    /// Version asked for, or the one that executes an unversioned call.
    pub version: String,
}

/// Who calls.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// The token as presented.
    pub credential: String,
    /// The app it belongs to.
    pub app: String,
    pub holder: Holder,
}

#[derive(Debug, Clone)]
pub(super) enum Holder {
    App,
    /// An app token of a Native/Desktop app: Meta acts as if none had been sent (§2.3).
    IgnoredApp,
    Token(Token),
}

/// Why a string is no usable token.
pub(super) enum Undecoded {
    /// Nobody's token.
    Garbage,
    /// An app token with a fault, or of an app with one.
    Refused(GraphError),
}

enum Endpoint<'a> {
    DebugToken,
    AccessToken,
    Revoke,
    Node(&'a str),
    Accounts(&'a str),
    PhoneNumbers(&'a str),
    SubscribedApps(&'a str),
    Messages(&'a str),
}

impl World {
    /// Answers a request at `now` (unix seconds, UTC).
    pub fn respond(&mut self, request: &Request, now: i64) -> Reply {
        match request.host {
            HostFamily::Facebook => self.respond_as_facebook(request, now),
        }
    }

    /// The caller, in good standing. App tokens that Meta ignores are no caller.
    pub(super) fn authenticate(&mut self, call: &mut Call<'_>) -> Result<Caller, GraphError> {
        let caller = self.identify(call)?;
        match caller.holder {
            Holder::IgnoredApp => Err(GraphError::no_token()),
            Holder::App | Holder::Token(_) => Ok(caller),
        }
    }

    /// As [`World::authenticate`], for the one endpoint that tells an ignored app token from none.
    pub(super) fn identify(&mut self, call: &mut Call<'_>) -> Result<Caller, GraphError> {
        let credential = call.request.credential().ok_or_else(GraphError::no_token)?;
        let caller = self.decode(credential).map_err(|undecoded| match undecoded {
            Undecoded::Garbage => unparsable(credential),
            Undecoded::Refused(error) => error,
        })?;
        let app = self.living_app(&caller.app)?;
        self.check_proof(call, &caller, app)?;
        let budget = app.calls_per_hour;
        match &caller.holder {
            Holder::App => self.spend_app_call(call, &caller.app, budget)?,
            Holder::IgnoredApp => {}
            Holder::Token(token) => {
                if let Some(error) = token.refusal(&self.switches, call.now) {
                    return Err(error);
                }
            }
        }
        Ok(caller)
    }

    /// Finds out whose string it is; a dead token decodes too.
    pub(super) fn decode(&self, string: &str) -> Result<Caller, Undecoded> {
        let caller = |app: &str, holder| Caller { credential: string.to_owned(), app: app.to_owned(), holder };
        if let Some(token) = self.tokens.get(string) {
            return Ok(caller(&token.app, Holder::Token(token.clone())));
        }
        let id = app_token_id(string).ok_or(Undecoded::Garbage)?;
        let app = self.known_app(id).map_err(Undecoded::Refused)?;
        if string != app.inline_token() && string != app.returned_token() {
            return Err(Undecoded::Refused(GraphError::wrong_signature()));
        }
        let holder = if app.native { Holder::IgnoredApp } else { Holder::App };
        Ok(caller(id, holder))
    }

    /// The app, if Meta lets it call.
    pub(super) fn living_app(&self, id: &str) -> Result<&App, GraphError> {
        let app = self.known_app(id)?;
        match app.state {
            AppState::Blocked => Err(GraphError::new(200, "API access blocked.")),
            AppState::Live | AppState::Deleted => Ok(app),
        }
    }

    fn known_app(&self, id: &str) -> Result<&App, GraphError> {
        let app = self.apps.get(id).ok_or_else(|| unknown_app(self.switches.unknown_app))?;
        if app.state == AppState::Deleted {
            return Err(GraphError::new(190, "Error validating application. Application has been deleted."));
        }
        Ok(app)
    }

    /// §5: a proof is judged whenever it is sent, and must be sent where the app requires it.
    fn check_proof(&self, call: &Call<'_>, caller: &Caller, app: &App) -> Result<(), GraphError> {
        let is_app = !matches!(caller.holder, Holder::Token(_));
        let spared = is_app && self.switches.proof_spares_app_tokens;
        let Some(proof) = call.request.query_param("appsecret_proof") else {
            return if app.require_app_secret && !spared {
                Err(GraphError::proof("API calls from the server require an appsecret_proof argument"))
            } else {
                Ok(())
            };
        };
        let time = call.request.query_param("appsecret_time");
        let message = match time {
            Some(time) => format!("{}|{time}", caller.credential),
            None => caller.credential.clone(),
        };
        let in_time =
            time.is_none_or(|time| time.parse::<i64>().is_ok_and(|time| time.abs_diff(call.now) <= PROOF_VALID));
        if in_time && proof == appsecret_proof(&app.secret, &message) {
            Ok(())
        } else {
            Err(GraphError::proof("Invalid appsecret_proof provided in the API argument"))
        }
    }

    fn spend_app_call(&mut self, call: &mut Call<'_>, app: &str, budget: Option<u32>) -> Result<(), GraphError> {
        let Some(budget) = budget else { return Ok(()) };
        let spent = self.usage.spend_app(app, budget, &self.switches, call.now);
        call.usage.extend(spent.header);
        spent.refusal.map_or(Ok(()), Err)
    }

    fn respond_as_facebook(&mut self, request: &Request, now: i64) -> Reply {
        self.answered += 1;
        let fault = self.faults.strike(request);
        let asked = asked_version(request);
        let executed = versions::executed(asked, now);
        let mut call = Call {
            request,
            now,
            usage: Vec::new(),
            version: asked.or(executed.as_deref()).unwrap_or_default().to_owned(),
        };
        let outcome = match &executed {
            None => Err(GraphError::unknown_path(&request.path)),
            Some(_) if fault.as_ref().is_some_and(super::faults::Fault::stops_the_request) => Ok(Value::Null),
            Some(_) => self.route(&mut call),
        };
        let stamp = Stamp {
            version: (self.switches.executed_version.clone())
                .or(executed)
                .or_else(|| versions::executed(None, now))
                .unwrap_or_default(),
            trace: format!("A{}", stretch(&format!("trace {}", self.answered), BASE64URL, 22)),
            date: now.saturating_add(self.switches.date_skew),
            usage: call.usage,
        };
        let reply = match outcome {
            Ok(body) => Reply::granted(&body, &stamp),
            Err(error) => Reply::refused(&error, &stamp),
        };
        match fault {
            Some(fault) => fault.kind.distort(reply, request, stamp, &self.switches),
            None => reply,
        }
    }

    fn route(&mut self, call: &mut Call<'_>) -> Result<Value, GraphError> {
        let request = call.request;
        let path = request.unversioned_path();
        let endpoint = endpoint(path).ok_or_else(|| GraphError::unknown_path(path))?;
        match (request.method.as_str(), endpoint) {
            ("GET", Endpoint::DebugToken) => self.debug_token(call),
            ("GET", Endpoint::AccessToken) => self.access_token(call),
            ("GET", Endpoint::Revoke) => self.oauth_revoke(call),
            ("GET", Endpoint::Node(id)) => self.node(call, id),
            ("GET", Endpoint::Accounts(id)) => self.accounts(call, id),
            ("GET", Endpoint::PhoneNumbers(id)) => self.phone_numbers(call, id),
            ("GET" | "POST" | "DELETE", Endpoint::SubscribedApps(id)) => self.subscribed_apps(call, id),
            ("POST", Endpoint::Messages(id)) => self.send_message(call, id),
            (method, _) => Err(GraphError::unsupported_method(method)),
        }
    }
}

/// Lower-case hex HMAC-SHA256, keyed with the text of the secret (§5).
pub(super) fn appsecret_proof(secret: &str, message: &str) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    mac.update(message.as_bytes());
    let digest = mac.finalize().into_bytes();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn unknown_app(wording: UnknownApp) -> GraphError {
    let (code, reason) = match wording {
        UnknownApp::InvalidId101 => (101, "Invalid application ID."),
        UnknownApp::InvalidId190 => (190, "Invalid application ID."),
        UnknownApp::SystemError101 => (101, SYSTEM_ERROR),
        UnknownApp::SystemError190 => (190, SYSTEM_ERROR),
    };
    GraphError::new(code, format!("Error validating application. {reason}"))
}

const SYSTEM_ERROR: &str = "Cannot get application info due to a system error.";

/// What debug_token reports, in `data`, of a string nobody issued (§2.2).
pub(super) fn undecodable(wording: Undecodable) -> GraphError {
    GraphError::new(
        190,
        match wording {
            Undecodable::CouldNotBeDecrypted => "The access token could not be decrypted",
            Undecodable::CannotParse => "Invalid OAuth access token - Cannot parse access token",
        },
    )
}

/// What using such a string answers: text of no known shape is echoed (§6.3).
pub(super) fn unparsable(token: &str) -> GraphError {
    let known_shape = ["EAA", "CAA", "IG", "TH"].iter().any(|prefix| token.starts_with(prefix));
    if known_shape && token.bytes().all(|byte| BASE64URL.contains(&byte)) {
        undecodable(Undecodable::CannotParse)
    } else {
        GraphError::new(190, format!("Malformed access token {token}"))
    }
}

fn endpoint(path: &str) -> Option<Endpoint<'_>> {
    let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match segments.as_slice() {
        ["debug_token"] => Some(Endpoint::DebugToken),
        ["oauth", "access_token"] => Some(Endpoint::AccessToken),
        ["oauth", "revoke"] => Some(Endpoint::Revoke),
        [id] if is_id(id) => Some(Endpoint::Node(id)),
        [id, "accounts"] if is_id(id) => Some(Endpoint::Accounts(id)),
        [id, "phone_numbers"] if is_id(id) => Some(Endpoint::PhoneNumbers(id)),
        [id, "subscribed_apps"] if is_id(id) => Some(Endpoint::SubscribedApps(id)),
        [id, "messages"] if is_id(id) => Some(Endpoint::Messages(id)),
        _ => None,
    }
}

fn is_id(segment: &str) -> bool {
    segment == "me" || segment.bytes().all(|byte| byte.is_ascii_digit())
}

/// The id in front of an app token's bar.
fn app_token_id(string: &str) -> Option<&str> {
    let (id, _) = string.split_once('|')?;
    let digits = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
    digits.then_some(id)
}

fn asked_version(request: &Request) -> Option<&str> {
    let rest = request.unversioned_path();
    let versioned = rest.len() < request.path.len();
    versioned.then(|| request.path[..request.path.len() - rest.len()].trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{ADA, APP, NOW, app_token, error, world};
    use super::{Request, appsecret_proof};

    #[test]
    fn only_known_paths_and_methods_are_answered() {
        for (method, target, code) in [
            ("GET", "/nonsense", 2500),
            ("GET", "/", 2500),
            ("GET", "/v25.0", 2500),
            ("GET", "/v99.0/debug_token", 2500),
            ("GET", "/12/unknown_edge", 2500),
            ("POST", "/v25.0/debug_token", 100),
            ("POST", "/oauth/access_token", 100),
            ("DELETE", "/me", 100),
            ("GET", "/12/messages", 100),
            ("GET", "/me", 104),
        ] {
            let reply = world().respond(&Request::new(method, target), NOW);
            let error = error(&(reply.status, reply.json()));
            assert_eq!((error.0, error.1), (400, code), "{method} {target}");
        }
    }

    #[test]
    fn headers_tell_version_trace_and_date() {
        let mut world = world();
        let token = world.issue_long_user(ADA, &[], NOW);
        let me = Request::get(&format!("/v18.0/me?access_token={token}"));
        let granted = world.respond(&me, NOW);
        assert_eq!(granted.header("Facebook-API-Version"), Some("v19.0"));
        assert_eq!(granted.header("Date"), Some("Sun, 01 Mar 2026 12:34:56 GMT"));
        assert_eq!(granted.header("Cache-Control"), Some("private, no-cache, no-store, must-revalidate"));
        assert!(granted.header("ETag").is_some() && granted.header("WWW-Authenticate").is_none());

        world.switches.executed_version = Some("v30.0".to_owned());
        world.switches.date_skew = 600;
        let refused = world.respond(&Request::get("/me?access_token=a%0Ab"), NOW);
        let body = refused.json();
        assert_eq!(refused.header("facebook-api-version"), Some("v30.0"));
        assert_eq!(refused.header("Date"), Some("Sun, 01 Mar 2026 12:44:56 GMT"));
        assert_eq!(refused.header("x-fb-trace-id"), body["error"]["fbtrace_id"].as_str());
        assert_eq!(refused.header("Cache-Control"), Some("no-store"));
        assert_eq!(body["error"]["message"], "Malformed access token a\nb");
        assert_eq!(
            refused.header("WWW-Authenticate"),
            Some("OAuth \"Facebook Platform\" \"invalid_token\" \"Malformed access token a?b\"")
        );
    }

    #[test]
    fn an_app_has_a_budget() {
        let mut world = world();
        if let Some(app) = world.app_mut(APP) {
            app.calls_per_hour = Some(4);
        }
        let me = Request::get(&format!("/me?access_token={}", app_token()));
        for percent in [25, 50, 75, 100] {
            let reply = world.respond(&me, NOW);
            let usage = reply.header("x-app-usage").unwrap_or_default();
            assert!(usage.contains(&format!("\"call_count\":{percent}")), "{usage}");
        }
        let reply = world.respond(&me, NOW);
        assert_eq!(error(&(reply.status, reply.json())).1, 4);
        assert!(reply.header("x-app-usage").is_some());
        assert_eq!(world.respond(&me, NOW + 3600).status, 200);
    }

    #[test]
    fn the_proof_is_an_hmac_of_the_texts() {
        // RFC 4231, test case 2.
        assert_eq!(
            appsecret_proof("Jefe", "what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
