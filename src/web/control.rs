//! The control socket's own part: answers, renewals, tests and the forecast. It is the only door through which something can be changed.
//!
//! Who asks is known by the system: the user id stands beside the name that was given. Nothing here is reachable over the network.

use std::sync::Arc;

use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::IncomingStream;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::json::{DeliveryJson, IncidentJson, SilenceJson};
use super::{Web, config_diff, short, state};
use crate::advice;
use crate::board::Progress;
use crate::domain::alert::{Subject, WATCHER};
use crate::domain::answer::{Answer, Signed};
use crate::domain::finding::{Detail, Reason, Severity};
use crate::domain::ledger::Ledger;
use crate::domain::renewal::Origin;
use crate::domain::status::TokenStatus;
use crate::domain::step::saying;
use crate::domain::time::Span;
use crate::domain::token::{AppName, ReceiverName, TokenId};
use crate::explain::plan;
use crate::forecast::Outlook;
use crate::ports::SlotStatus;
use crate::requests::Declined;
use crate::secret::Secret;
use crate::settings::Settings;

/// Who is at the other end of the socket, as the system says.
#[derive(Clone, Copy, Debug)]
struct Peer {
    uid: Option<u32>,
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self { uid: stream.io().peer_cred().ok().map(|credentials| credentials.uid()) }
    }
}

/// What the control socket serves beside what every page shows.
pub fn router(web: Web) -> Router {
    Router::new()
        .route("/control/v1/ack", post(ack))
        .route("/control/v1/silence", post(silence))
        .route("/control/v1/unsilence", post(unsilence))
        .route("/control/v1/renew", post(renew))
        .route("/control/v1/replace", post(replace))
        .route("/control/v1/run", get(run))
        .route("/control/v1/plan", get(planned))
        .route("/control/v1/test-alert", post(test_alert))
        .route("/control/v1/deliveries", get(deliveries))
        .route("/control/v1/forecast", get(forecasted))
        .with_state(web.clone())
        .merge(config_diff::router(web.clone()))
        .merge(state::router(web))
}

/// Serves the socket until told to stop.
///
/// # Errors
/// When the socket fails.
pub async fn serve(socket: UnixListener, router: Router, stop: CancellationToken) -> std::io::Result<()> {
    let service = router.into_make_service_with_connect_info::<Peer>();
    axum::serve(socket, service).with_graceful_shutdown(stop.cancelled_owned()).await
}

/// Somebody answers.
#[derive(Debug, Serialize, Deserialize)]
pub struct AnswerJson {
    /// The subject: a token, an app, or `tokenwatch`; `token/NAME` and `app/NAME` where both have one name.
    pub name: String,
    /// Who says so, by their own account.
    pub by: Option<String>,
    /// Why.
    pub why: Option<String>,
    /// For a silence: how long, in seconds.
    pub seconds: Option<i64>,
    /// For a silence: whether even the end of a token is held back.
    #[serde(default)]
    pub even_critical: bool,
}

/// What stands after an answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct AnsweredJson {
    /// The subject, in full.
    pub subject: String,
    /// What is open.
    pub open: Vec<IncidentJson>,
    /// The silence that holds.
    pub silence: Option<SilenceJson>,
}

/// Somebody tries the way to people.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct TestJson {
    /// Only this receiver.
    pub receiver: Option<String>,
    /// With this severity instead of info, so that escalation is tried too.
    pub severity: Option<String>,
}

/// The key under which a test is on its way, and to whom.
#[derive(Debug, Serialize, Deserialize)]
pub struct TestedJson {
    /// The key.
    pub key: String,
    /// The receivers.
    pub receivers: Vec<String>,
}

/// Somebody asks for a renewal.
#[derive(Debug, Serialize, Deserialize)]
pub struct RenewJson {
    /// The token.
    pub name: String,
    /// Who asks, by their own account.
    pub by: Option<String>,
    /// What may be used up already is used all the same.
    #[serde(default)]
    pub anyway: bool,
}

/// Somebody brings a new secret. It cannot be printed.
#[derive(Serialize, Deserialize)]
pub struct ReplaceJson {
    /// The token.
    pub name: String,
    /// Who brings it, by their own account.
    pub by: Option<String>,
    /// What speaks against it, but not hard, does not count.
    pub anyway: bool,
    /// The new secret.
    pub secret: Zeroizing<String>,
}

#[derive(Debug, Deserialize)]
struct NameQuery {
    name: String,
    number: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct DeliveriesQuery {
    key: String,
}

#[derive(Debug, Deserialize)]
struct ForecastQuery {
    days: Option<i64>,
}

async fn ack(State(web): State<Web>, ConnectInfo(peer): ConnectInfo<Peer>, Json(asked): Json<AnswerJson>) -> Response {
    let answer = Answer::Acknowledge(web.signed(peer, &asked));
    web.answer(&asked.name, answer).await
}

async fn silence(
    State(web): State<Web>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Json(asked): Json<AnswerJson>,
) -> Response {
    let signed = web.signed(peer, &asked);
    let (Some(seconds), Some(_)) = (asked.seconds, &signed.why) else {
        return declined(StatusCode::BAD_REQUEST, "a silence needs a length and a reason");
    };
    let answer = Answer::Silence { signed, lasts: Span::seconds(seconds), even_critical: asked.even_critical };
    web.answer(&asked.name, answer).await
}

async fn unsilence(
    State(web): State<Web>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Json(asked): Json<AnswerJson>,
) -> Response {
    let answer = Answer::Unsilence(web.signed(peer, &asked));
    web.answer(&asked.name, answer).await
}

async fn renew(State(web): State<Web>, ConnectInfo(peer): ConnectInfo<Peer>, Json(asked): Json<RenewJson>) -> Response {
    let Some(id) = token(&web, &asked.name) else { return stranger(&asked.name) };
    let origin = Origin::Asked(by(peer, asked.by.as_deref()).into());
    match web.requests.renew(id, origin, asked.anyway).await {
        Ok(number) => Json(json!({"number": number})).into_response(),
        Err(why) => refused(&why),
    }
}

async fn replace(
    State(web): State<Web>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Json(asked): Json<ReplaceJson>,
) -> Response {
    let ReplaceJson { name, by: who, anyway, secret } = asked;
    let Some(id) = token(&web, &name) else { return stranger(&name) };
    let origin = Origin::Replaced(by(peer, who.as_deref()).into());
    match web.requests.replace(id, origin, Secret::new(secret), anyway).await {
        Ok(number) => Json(json!({"number": number})).into_response(),
        Err(why) => refused(&why),
    }
}

/// How far a run has come. Of one that ended before this daemon began the status knows.
async fn run(State(web): State<Web>, Query(query): Query<NameQuery>) -> Response {
    let Some(id) = token(&web, &query.name) else { return stranger(&query.name) };
    let progress = web.board.runs.of(&id).filter(|run| query.number.is_none_or(|number| run.number == number));
    let progress = match progress {
        Some(progress) => progress,
        None => match web.store.load(vec![Subject::Token(id)]).await {
            Ok(found) => match found.into_iter().next() {
                Some((_, SlotStatus::Token(status))) if status.renewal.run.is_none() => Progress {
                    number: status.renewal.count,
                    ended: status.renewal.last.map(|last| (last.outcome, last.text)),
                    ..Progress::default()
                },
                _ => Progress::default(),
            },
            Err(failure) => return declined(StatusCode::SERVICE_UNAVAILABLE, &failure.to_string()),
        },
    };
    let (outcome, text) = progress.ended.map(|(outcome, text)| (outcome.as_str(), text)).unzip();
    Json(json!({"number": progress.number, "steps": progress.steps, "outcome": outcome, "text": text})).into_response()
}

/// What a renewal would do now.
async fn planned(State(web): State<Web>, Query(query): Query<NameQuery>) -> Response {
    let settings = Arc::clone(&web.settings.borrow());
    let known = TokenId::parse(&query.name).ok().and_then(|id| settings.token(&id));
    let Some(token) = known else { return stranger(&query.name) };
    match web.store.load(vec![Subject::Token(token.spec.id.clone())]).await {
        Ok(found) => {
            let now = web.clock.now();
            let status = match found.into_iter().next() {
                Some((_, SlotStatus::Token(status))) => *status,
                _ => TokenStatus::new(now),
            };
            Json(plan(token, &status, &settings.daemon.zone, now)).into_response()
        }
        Err(failure) => declined(StatusCode::SERVICE_UNAVAILABLE, &failure.to_string()),
    }
}

async fn test_alert(State(web): State<Web>, Json(asked): Json<TestJson>) -> Response {
    let settings = Arc::clone(&web.settings.borrow());
    let receivers: Arc<[ReceiverName]> = match &asked.receiver {
        None => settings.receivers.keys().cloned().collect(),
        Some(name) => match settings.receivers.keys().find(|known| known.as_str() == name) {
            Some(known) => Arc::from([known.clone()]),
            None => return declined(StatusCode::NOT_FOUND, "no receiver has that name"),
        },
    };
    if receivers.is_empty() {
        return declined(StatusCode::CONFLICT, "there are no receivers in the configuration");
    }
    let severity = match asked.severity.as_deref().map(Severity::parse) {
        None => Severity::Info,
        Some(Some(severity)) => severity,
        Some(None) => return declined(StatusCode::BAD_REQUEST, "a severity is info, warning or critical"),
    };
    match web.requests.say(saying(Reason::Test, severity, Detail::None), Arc::clone(&receivers)).await {
        Ok(key) => {
            let receivers = receivers.iter().map(ToString::to_string).collect();
            Json(TestedJson { key: key.to_string(), receivers }).into_response()
        }
        Err(why) => refused(&why),
    }
}

/// The deliveries under one key: how a test fared.
async fn deliveries(State(web): State<Web>, Query(query): Query<DeliveriesQuery>) -> Response {
    match web.store.history(Subject::Watcher, MOST_DELIVERIES).await {
        Ok(history) => {
            let wanted = history.deliveries.iter().filter(|delivery| delivery.notice.key.as_str() == query.key);
            Json(wanted.map(DeliveryJson::of).collect::<Vec<_>>()).into_response()
        }
        Err(failure) => declined(StatusCode::SERVICE_UNAVAILABLE, &failure.to_string()),
    }
}

/// One at a time, a part of the tokens at a time: neither the store nor the memory is given to it alone. What it computes is done beside the
/// watch, which has only one thread.
async fn forecasted(State(web): State<Web>, Query(query): Query<ForecastQuery>) -> Response {
    static TURN: Semaphore = Semaphore::const_new(1);
    let Ok(turn) = TURN.try_acquire() else {
        return declined(StatusCode::SERVICE_UNAVAILABLE, "a forecast is being made; try again");
    };
    let settings = Arc::clone(&web.settings.borrow());
    let days = query.days.unwrap_or(FORECAST_DAYS).clamp(1, 3_650);
    let mut outlook = Outlook::new(web.clock.now(), Span::days(days));
    let broken = || declined(StatusCode::INTERNAL_SERVER_ERROR, "the forecast broke off");
    for start in (0..settings.tokens.len()).step_by(TOKENS_AT_ONCE) {
        let part = start..settings.tokens.len().min(start + TOKENS_AT_ONCE);
        let subjects = settings.tokens[part.clone()].iter().map(|token| Subject::Token(token.spec.id.clone()));
        let known = match web.store.load(subjects.collect()).await {
            Ok(known) => known,
            Err(failure) => return declined(StatusCode::SERVICE_UNAVAILABLE, &failure.to_string()),
        };
        let settings = Arc::clone(&settings);
        let done = tokio::task::spawn_blocking(move || {
            outlook.add(&settings.tokens[part], known);
            outlook
        });
        let Ok(added) = done.await else { return broken() };
        outlook = added;
    }
    // Who asked may have gone: the turn ends with the work.
    let written = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        serde_json::to_vec(&outlook.finish(&settings))
    });
    match written.await {
        Ok(Ok(body)) => ([(CONTENT_TYPE, "application/json")], body).into_response(),
        Ok(Err(_)) | Err(_) => broken(),
    }
}

impl Web {
    async fn answer(&self, name: &str, answer: Answer) -> Response {
        let Some(subject) = subject(&self.settings.borrow().clone(), name) else {
            return declined(StatusCode::NOT_FOUND, &format!("nothing is watched by the name {:?}", short(name)));
        };
        match self.requests.answer(subject.clone(), answer).await {
            Ok(ledger) => Json(answered(&subject, &ledger)).into_response(),
            Err(why) => refused(&why),
        }
    }

    fn signed(&self, peer: Peer, asked: &AnswerJson) -> Signed {
        let by = by(peer, asked.by.as_deref());
        let why = asked.why.as_deref().map(advice::plain).filter(|why| !why.is_empty());
        Signed { by: by.into(), at: self.clock.now(), why: why.map(Into::into) }
    }
}

/// Who it is: the name that was given, and the user id that the system vouches for.
fn by(peer: Peer, name: Option<&str>) -> String {
    let uid = peer.uid.map(|uid| format!("uid {uid}"));
    match (name.map(short).filter(|name| !name.is_empty()), uid) {
        (Some(name), Some(uid)) => format!("{name} ({uid})"),
        (Some(name), None) => name,
        (None, Some(uid)) => uid,
        (None, None) => "somebody".to_owned(),
    }
}

fn token(web: &Web, name: &str) -> Option<TokenId> {
    let id = TokenId::parse(name).ok()?;
    web.settings.borrow().token(&id).map(|token| token.spec.id.clone())
}

fn stranger(name: &str) -> Response {
    declined(StatusCode::NOT_FOUND, &format!("no token is called {:?}", short(name)))
}

/// The subject of that name: a token before an app before the watcher, unless the name says which.
pub(super) fn subject(settings: &Settings, name: &str) -> Option<Subject> {
    let token = |name: &str| {
        let id = TokenId::parse(name).ok()?;
        settings.token(&id).is_some().then_some(Subject::Token(id))
    };
    let app = |name: &str| {
        let name = AppName::parse(name).ok()?;
        settings.apps.contains_key(&name).then_some(Subject::App(name))
    };
    match name.split_once('/') {
        Some(("token", name)) => token(name),
        Some(("app", name)) => app(name),
        Some(("watcher", WATCHER)) => Some(Subject::Watcher),
        Some(_) => None,
        None => token(name).or_else(|| app(name)).or_else(|| (name == WATCHER).then_some(Subject::Watcher)),
    }
}

fn answered(subject: &Subject, ledger: &Ledger) -> AnsweredJson {
    AnsweredJson {
        subject: subject.to_string(),
        open: ledger.incidents.iter().map(|incident| IncidentJson::of(incident, None)).collect(),
        silence: ledger.silence.as_ref().map(SilenceJson::of),
    }
}

fn refused(why: &Declined) -> Response {
    let code = match why {
        Declined::Unknown => StatusCode::NOT_FOUND,
        Declined::Refused(_) | Declined::NotRenewed(_) => StatusCode::CONFLICT,
        Declined::Store(_) | Declined::CutOff(_) | Declined::Stopping => StatusCode::SERVICE_UNAVAILABLE,
    };
    declined(code, &why.to_string())
}

pub(super) fn declined(code: StatusCode, why: &str) -> Response {
    (code, format!("{why}\n")).into_response()
}

/// Among so many of the newest a test is found.
const MOST_DELIVERIES: usize = 1_000;
const FORECAST_DAYS: i64 = 60;
/// For so many statuses the store is held at a time.
const TOKENS_AT_ONCE: usize = 1_000;
