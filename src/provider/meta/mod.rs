//! Meta's Graph API: asks `debug_token` about a token, or probes the token with itself where no app secret is at hand; `exchange` has
//! another one given in its place.
//!
//! It turns answers into facts and failures into reasons (reference §2, §6, §7). It decides nothing about verdicts, and every text
//! that leaves it is redacted.

mod classify;
mod exchange;
mod long_lived;
mod session_end;
mod usage;
pub mod versions;
mod whatsapp;
mod wire;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::Value;
use zeroize::Zeroizing;

use self::classify::{Fate, Refusal};
use self::wire::{DebugData, Envelope, GranularScope, GraphError};
use super::http::{Http, clock_offset, started};
use super::values::{as_text, label, word};
use crate::domain::inspection::{Cause, CheckError, Expiry, Grant, Inspection, TokenKind, Validity};
use crate::domain::number::{Number, Subscription};
use crate::domain::time::Timestamp;
use crate::outgoing::{ClientError, Reply};
use crate::ports::{
    Answer, Clock, Credentials, Exchange, Exchanged, Farewell, Heard, Listed, Message, Provider, Question, Sent,
    Telemetry, Unsent,
};
use crate::redact::redact;
use crate::secret::{Secret, hmac_sha256};
use crate::settings;

pub use self::classify::KNOWN_CODES;
pub use self::long_lived::{Family, LongLived};

/// The Graph API.
pub struct Meta {
    http: Http,
    base_url: url::Url,
    version: String,
    clock: Arc<dyn Clock>,
}

impl Meta {
    /// A client for the API at the configured place.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(settings: &settings::Graph, clock: Arc<dyn Clock>) -> Result<Self, ClientError> {
        let http = Http::new(&settings.base_url, settings.timeout, settings.ca_file.as_deref())?;
        Ok(Self { http, base_url: settings.base_url.clone(), version: settings.version.clone(), clock })
    }

    async fn ask(&self, question: &Question<'_>) -> Answer {
        let started = started();
        let url = match &question.app {
            Some(app) => self.debug_url(question.token, app),
            None => self.probe_url(question.token),
        };
        let mut telemetry = Telemetry::default();
        let facts = match self.http.get(url).await {
            Ok(reply) => {
                let now = self.clock.now();
                self.note(&reply, now, &mut telemetry);
                let read = Reading { reply: &reply, question, now };
                read.facts(&mut telemetry).map(|facts| known_by_its_beginning(facts, question.token, "EAA"))
            }
            Err(error) => Err(error),
        };
        telemetry.seconds = started.elapsed().as_secs_f64();
        Answer { facts, number: None, telemetry }
    }

    /// What the headers tell beside the answer.
    fn note(&self, reply: &Reply, now: Timestamp, telemetry: &mut Telemetry) {
        telemetry.clock_offset = clock_offset(&reply.headers, now);
        telemetry.usage = usage::ratios(&reply.headers);
        telemetry.other_version = usage::other_version(&reply.headers, &self.version);
    }

    /// `GET /vNN.0/debug_token?input_token=…&access_token=APP_ID|APP_SECRET`, with the proof over the caller (reference §2 and §5).
    fn debug_url(&self, token: &Secret, app: &Credentials<'_>) -> url::Url {
        let caller = app_token(app);
        let mut url = self.endpoint("debug_token");
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("input_token", token.expose());
            query.append_pair("access_token", &caller);
            if app.proof {
                query.append_pair("appsecret_proof", &proof(app, &caller));
            }
        }
        url
    }

    /// `GET /vNN.0/me` with the token itself: tells whether it works, and nothing about its end.
    fn probe_url(&self, token: &Secret) -> url::Url {
        let mut url = self.endpoint("me");
        url.query_pairs_mut().append_pair("fields", "id").append_pair("access_token", token.expose());
        url
    }

    fn endpoint(&self, name: &str) -> url::Url {
        let mut url = self.base_url.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/{}/{name}", self.version));
        url
    }
}

impl Provider for Meta {
    fn error_codes(&self) -> Vec<&str> {
        KNOWN_CODES.iter().map(|(_, label)| *label).collect()
    }

    fn inspect<'a>(&'a self, question: &'a Question<'a>) -> BoxFuture<'a, Answer> {
        Box::pin(self.ask(question))
    }

    fn exchange<'a>(&'a self, request: Exchange<'a>) -> BoxFuture<'a, Exchanged> {
        Box::pin(exchange::exchange(self, request))
    }

    fn revoke<'a>(&'a self, farewell: &'a Farewell<'a>) -> BoxFuture<'a, Result<(), CheckError>> {
        Box::pin(exchange::revoke(self, farewell))
    }

    fn number<'a>(&'a self, question: &'a Question<'a>, id: &'a str) -> BoxFuture<'a, Heard<Number>> {
        Box::pin(whatsapp::number(self, question, id))
    }

    fn subscription<'a>(
        &'a self,
        question: &'a Question<'a>,
        account: &'a str,
        app_id: Option<&'a str>,
    ) -> BoxFuture<'a, Heard<Subscription>> {
        Box::pin(whatsapp::subscription(self, question, account, app_id))
    }

    fn numbers_of<'a>(&'a self, question: &'a Question<'a>, account: &'a str) -> BoxFuture<'a, Heard<Vec<Listed>>> {
        Box::pin(whatsapp::numbers_of(self, question, account))
    }

    fn send<'a>(&'a self, question: &'a Question<'a>, message: &'a Message<'a>) -> BoxFuture<'a, Result<Sent, Unsent>> {
        Box::pin(whatsapp::send(self, question, message))
    }
}

/// What a token that Meta cannot read looks like, by how it begins (reference §11); a name for people, with its article.
pub fn family(token: &Secret) -> Option<&'static str> {
    let text = token.expose();
    let begins = |start: &str| text.starts_with(start);
    match () {
        () if begins("IG") => Some("a token of Instagram Login"),
        () if begins("TH|") => Some("an app token of Threads"),
        () if begins("TH") => Some("a token of Threads"),
        () if text.contains('|') => Some("an app token"),
        () if text.len() == APP_SECRET && text.bytes().all(|byte| byte.is_ascii_hexdigit()) => Some("an app secret"),
        () => None,
    }
}

/// The same in a sentence, with the name under which its provider is configured.
fn hint(token: &Secret) -> Option<String> {
    let provider = match () {
        () if token.begins_with("IG") => " (provider = \"instagram\")",
        () if token.begins_with("TH") && !token.begins_with("TH|") => " (provider = \"threads\")",
        () if token.begins_with("EAA") => {
            return Some("by how it begins it is a token of Facebook or WhatsApp (provider = \"meta\")".to_owned());
        }
        () => "",
    };
    family(token).map(|family| format!("by how it begins it is {family}{provider}"))
}

/// A token that cannot be read here may be one of another family: how it begins tells, and that is said.
fn known_by_its_beginning(facts: Inspection, token: &Secret, own: &str) -> Inspection {
    let strange = facts.validity == Validity::Unreadable && !token.begins_with(own);
    let Some(hint) = hint(token).filter(|_| strange) else { return facts };
    let message = match facts.message.as_deref() {
        None | Some("") => hint,
        Some(words) => format!("{words}; {hint}"),
    };
    Inspection { message: Some(message.into()), ..facts }
}

impl std::fmt::Debug for Meta {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meta").field("base_url", &self.base_url.as_str()).finish_non_exhaustive()
    }
}

/// One reply, being read.
struct Reading<'a> {
    reply: &'a Reply,
    question: &'a Question<'a>,
    now: Timestamp,
}

impl Reading<'_> {
    fn facts(&self, telemetry: &mut Telemetry) -> Result<Inspection, CheckError> {
        let Some(mut envelope) = Envelope::read(&self.reply.body) else {
            return Err(self.not_json());
        };
        if let Some(error) = envelope.refusal() {
            telemetry.error_codes.push(error.code.map_or("other", classify::code_label).into());
            return self.refused(&error);
        }
        if self.reply.status != 200 {
            return Err(self.of(classify::by_status(self.reply.status), &format!("HTTP {}", self.reply.status)));
        }
        match (envelope.data, &self.question.app) {
            (Some(data @ Value::Object(_)), Some(_)) => self.debugged(data, telemetry),
            (Some(_) | None, Some(_)) => Err(CheckError::Garbled("debug_token answered without facts".into())),
            (_, None) => envelope
                .id
                .map(|id| Inspection { user_id: Some(word(&id)), ..Inspection::bare(Validity::Valid) })
                .ok_or_else(|| CheckError::Garbled("the probe answered without an id".into())),
        }
    }

    /// A top-level error. Where the token itself asked, it is about the token; else about the app that asked.
    fn refused(&self, error: &GraphError) -> Result<Inspection, CheckError> {
        let probed = self.question.app.is_none();
        if let Some(fate) = classify::token_fate(error).filter(|_| probed && !is_app_message(error)) {
            return Ok(self.dead(fate, error, DebugData::default()));
        }
        Err(self.of(classify::refusal(error, self.reply.status), &error.message))
    }

    fn debugged(&self, data: Value, telemetry: &mut Telemetry) -> Result<Inspection, CheckError> {
        let Ok(data) = serde_json::from_value::<DebugData>(data) else {
            return Err(CheckError::Garbled("debug_token answered in an unknown form".into()));
        };
        if let (Some(app), Some(owner)) = (&self.question.app, &data.app_id)
            && app.id != owner
        {
            return Err(CheckError::ForeignToken(self.clean(&format!("it belongs to app {owner}"))));
        }
        match (data.is_valid, &data.error) {
            (Some(true), _) => Ok(living(data)),
            (_, Some(error)) => {
                telemetry.error_codes.push(error.code.map_or("other", classify::code_label).into());
                let error = error.clone();
                let unstated = Fate { validity: Validity::Revoked(Cause::Unstated), ended_at: None };
                let fate = classify::token_fate(&error).unwrap_or(unstated);
                Ok(self.dead(fate, &error, data))
            }
            (Some(false), None) => {
                let past = data.expires_at.is_some_and(|at| at > 0 && at <= self.now.unix());
                let validity = if past { Validity::Expired } else { Validity::Revoked(Cause::Unstated) };
                Ok(Inspection { validity, ..living(data) })
            }
            (None, None) => Err(CheckError::Garbled("debug_token did not say whether the token is valid".into())),
        }
    }

    /// An invalid token, with whatever facts came along.
    fn dead(&self, fate: Fate, error: &GraphError, data: DebugData) -> Inspection {
        let facts = living(data);
        let ended = fate.ended_at.map_or(Expiry::Unknown, Expiry::At);
        let expires = if fate.validity == Validity::Expired { facts.expires.or(ended) } else { facts.expires };
        Inspection { validity: fate.validity, expires, message: Some(self.clean(&error.message)), ..facts }
    }

    fn of(&self, refusal: Refusal, text: &str) -> CheckError {
        let text = self.clean(text);
        match refusal {
            Refusal::App(fault) => CheckError::App(fault, text),
            Refusal::ForeignToken => CheckError::ForeignToken(text),
            Refusal::Unavailable => CheckError::Unavailable(text),
            Refusal::Refused => CheckError::Refused(text),
            Refusal::Throttled => {
                let pause = usage::pause(&self.reply.headers, self.now).unwrap_or(classify::DEFAULT_PAUSE);
                CheckError::Throttled(self.now.plus(pause))
            }
        }
    }

    /// An outage page, a proxy's page, half a document, a redirect.
    fn not_json(&self) -> CheckError {
        let status = self.reply.status;
        match classify::by_status(status) {
            Refusal::Throttled => self.of(Refusal::Throttled, ""),
            Refusal::Unavailable => CheckError::Unavailable(format!("HTTP {status} without a Graph error").into()),
            _ if (300..400).contains(&status) => {
                CheckError::Garbled(format!("HTTP {status}: a redirect, which is not followed").into())
            }
            _ => CheckError::Garbled(format!("HTTP {status} with a body that is not JSON").into()),
        }
    }

    fn clean(&self, text: &str) -> Box<str> {
        let mut secrets = vec![self.question.token];
        secrets.extend(self.question.app.iter().map(|app| app.secret));
        redact(text, &secrets).into()
    }
}

/// The facts as told, taken as those of a valid token.
fn living(data: DebugData) -> Inspection {
    Inspection {
        kind: data.kind.map_or(TokenKind::Unknown, |kind| TokenKind::parse(&label(&kind))),
        app_id: data.app_id.map(|id| word(&id)),
        user_id: data.user_id.map(|id| word(&id)),
        profile_id: data.profile_id.map(|id| word(&id)),
        issued_at: data.issued_at.filter(|at| *at > 0).map(Timestamp::from_unix),
        expires: expiry(data.expires_at),
        data_access: expiry(data.data_access_expires_at),
        grants: grants(data.scopes, data.granular_scopes),
        ..Inspection::bare(Validity::Valid)
    }
}

/// 0 is "never"; missing is "unknown", which is not the same (reference §15.4).
fn expiry(at: Option<i64>) -> Expiry {
    match at {
        Some(0) => Expiry::Never,
        // No token ended before there were any: nonsense is not a date.
        None | Some(..0) => Expiry::Unknown,
        Some(at) => Expiry::At(Timestamp::from_unix(at)),
    }
}

/// `scopes` names all permissions; `granular_scopes` narrows some of them. Where only the narrow list came, it stands alone.
fn grants(scopes: Option<Vec<Value>>, granular: Option<Vec<Value>>) -> Option<Vec<Grant>> {
    if scopes.is_none() && granular.is_none() {
        return None;
    }
    let mut grants: Vec<Grant> = granular
        .unwrap_or_default()
        .into_iter()
        .filter_map(|value| serde_json::from_value::<GranularScope>(value).ok())
        .take(MOST_GRANTS)
        .map(|narrow| Grant {
            scope: word(&narrow.scope),
            targets: narrow.target_ids.map(|ids| ids.iter().filter_map(as_text).map(|id| word(&id)).collect()),
        })
        .collect();
    for scope in scopes.unwrap_or_default().iter().filter_map(as_text).take(MOST_GRANTS) {
        let scope = word(&scope);
        if !grants.iter().any(|grant| grant.scope == scope) {
            grants.push(Grant { scope, targets: None });
        }
    }
    Some(grants)
}

/// The app's token in the form that anybody can write who knows its secret.
fn app_token(app: &Credentials<'_>) -> Zeroizing<String> {
    Zeroizing::new(format!("{}|{}", app.id, app.secret.expose()))
}

/// The proof that whoever sends this token knows the app's secret (reference §5).
fn proof(app: &Credentials<'_>, token: &str) -> String {
    hex(&hmac_sha256(app.secret.expose().as_bytes(), token.as_bytes()))
}

/// A 190 whose message speaks of the application is about the app even when the token itself asked.
fn is_app_message(error: &GraphError) -> bool {
    error.message.contains("validating application") || error.message.contains("API access blocked")
}

/// The same over a token that asks for itself.
fn proof_of(app: &Credentials<'_>, token: &Secret) -> String {
    proof(app, token.expose())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Meta has about a hundred permissions.
const MOST_GRANTS: usize = 300;
/// 32 hexadecimal digits (reference §11).
const APP_SECRET: usize = 32;
