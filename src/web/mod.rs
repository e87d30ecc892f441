//! The listener: `/metrics`, health, JSON and the status page. All of it reads; nothing changes anything.
//!
//! Changes go through the control socket. A fault on one connection never ends the listener.

pub mod control;
pub mod exposition;
pub mod json;
mod page;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use askama::Template as _;
use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;

use crate::advice;
use crate::board::{Board, Row};
use crate::domain::alert::Subject;
use crate::domain::inspection::Expiry;
use crate::domain::ledger::Ledger;
use crate::domain::status::TokenStatus;
use crate::domain::time::Span;
use crate::domain::token::{TokenId, TokenSpec};
use crate::explain::{Explanation, explain};
use crate::metrics::Counters;
use crate::ports::{Clock, History, OutboxSummary, SlotStatus, Store, StoreError};
use crate::requests::Requests;
use crate::settings::Settings;
use exposition::{Exposition, Scene};
use json::{HistoryJson, StandingJson, StatusJson, SubjectJson, TokenJson, TokenPageJson, TokensJson};
use page::{Past, StatusPage, SubjectPage, TokenPage};

/// What the listener reads.
#[derive(Clone)]
pub struct Web {
    /// What is known.
    pub board: Arc<Board>,
    /// What was counted.
    pub counters: Arc<Counters>,
    /// What is durable.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The configuration in force.
    pub settings: tokio::sync::watch::Receiver<Arc<Settings>>,
    /// The way to the watch loop; used by the control socket only.
    pub requests: Requests,
}

/// Every page.
pub fn router(web: Web) -> Router {
    Router::new()
        .route("/", get(status_page))
        .route("/tokens/{name}", get(token_page))
        .route("/subjects/{*name}", get(subject_page))
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/api/v1/tokens", get(tokens))
        .route("/api/v1/tokens/{name}", get(token))
        .route("/api/v1/subjects/{*name}", get(subject))
        .route("/api/v1/status", get(status))
        .fallback(|| async { (StatusCode::NOT_FOUND, "not found\n") })
        .layer(axum::middleware::map_response(harden))
        .with_state(web)
}

/// When something ends that has no date.
pub fn end_in_words(row: &Row) -> String {
    match row.expires {
        Expiry::Never => "never".to_owned(),
        Expiry::Unknown | Expiry::At(_) => "unknown".to_owned(),
    }
}

async fn metrics(State(web): State<Web>) -> Response {
    let scene = Scene {
        now: web.clock.now(),
        counters: web.counters.render(),
        outbox: web.store.outbox().await.ok(),
        last_pass: web.board.vitals.last_pass(),
        reload: Some(web.board.vitals.reload()),
        watcher: web.board.vitals.findings().iter().map(|finding| finding.reason).collect(),
        per_token: web.settings.borrow().per_token,
    };
    let chunks = Exposition::new(web.board.table(), &scene).map(Ok::<_, Infallible>);
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, Body::from_stream(stream::iter(chunks))).into_response()
}

/// The loop makes progress.
async fn healthz(State(web): State<Web>) -> Response {
    let silent = web.board.vitals.last_beat().map(|beat| web.clock.now().since(beat));
    match silent {
        Some(silent) if silent <= LONGEST_SILENCE => (StatusCode::OK, "ok\n").into_response(),
        Some(silent) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("the watch loop was last seen {silent} ago\n")).into_response()
        }
        None => (StatusCode::SERVICE_UNAVAILABLE, "the watch loop has not started\n").into_response(),
    }
}

/// The first pass is done and the store is writable. Trouble with mail is told, but a daemon that watches is ready.
async fn readyz(State(web): State<Web>) -> Response {
    let vitals = &web.board.vitals;
    let troubles = vitals.troubles();
    let mut lines = vec![format!("first pass: {}", if vitals.first_pass_done() { "done" } else { "not done yet" })];
    let store = web.store.outbox().await;
    let failure = troubles.store.values().next().cloned().or_else(|| store.as_ref().err().map(ToString::to_string));
    lines.push(format!("store: {}", failure.as_deref().unwrap_or("ok")));
    if troubles.ways.is_empty() {
        lines.push("notices: ok".to_owned());
    }
    lines.extend(troubles.ways.iter().map(|(way, text)| format!("{way}: {text}")));
    lines.extend(vitals.findings().iter().map(|finding| format!("finding: {}", finding.reason.as_str())));
    if let Ok(outbox) = store {
        lines.push(format!("outbox: {} pending", outbox.pending));
    }
    let ready = vitals.first_pass_done() && failure.is_none();
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, lines.join("\n") + "\n").into_response()
}

async fn tokens(State(web): State<Web>) -> Response {
    let tokens = web.board.table().rows().iter().map(TokenJson::of).collect();
    Json(TokensJson { now: web.clock.now().unix(), tokens }).into_response()
}

async fn token(State(web): State<Web>, Path(name): Path<String>) -> Response {
    match web.explained(&name).await {
        Ok((row, explanation, history)) => {
            let (token, history) = (TokenJson::of(&row), HistoryJson::of(&history));
            Json(TokenPageJson { token, explanation, history }).into_response()
        }
        Err(missing) => missing.into_response(),
    }
}

async fn status(State(web): State<Web>) -> Response {
    Json(web.status(web.store.outbox().await.ok()).await).into_response()
}

async fn subject(State(web): State<Web>, Path(name): Path<String>) -> Response {
    match web.stood(&name).await {
        Ok((standing, history)) => {
            let (now, history) = (web.clock.now().unix(), HistoryJson::of(&history));
            Json(SubjectJson { now, standing, history }).into_response()
        }
        Err(missing) => missing.into_response(),
    }
}

async fn status_page(State(web): State<Web>) -> Response {
    let now = web.clock.now();
    let zone = web.settings.borrow().daemon.zone.clone();
    let status = web.status(None).await;
    let page = StatusPage::new(&web.board.table().rows(), &status.subjects, status.troubles, &zone, now);
    html(page.render())
}

async fn subject_page(State(web): State<Web>, Path(name): Path<String>) -> Response {
    let (now, zone) = (web.clock.now(), web.settings.borrow().daemon.zone.clone());
    match web.stood(&name).await {
        Ok((standing, history)) => html(SubjectPage::new(&standing, &history, &zone, now).render()),
        Err(missing) => missing.into_response(),
    }
}

async fn token_page(State(web): State<Web>, Path(name): Path<String>) -> Response {
    let zone = web.settings.borrow().daemon.zone.clone();
    match web.explained(&name).await {
        Ok((_, explanation, history)) => {
            let now = web.clock.now();
            let past = Past::new(&history, &zone, now);
            html(TokenPage { explanation, past, as_of: zone.long(now) }.render())
        }
        Err(missing) => missing.into_response(),
    }
}

impl Web {
    /// A token's row, the reasons behind it, and its past.
    async fn explained(&self, name: &str) -> Result<(Row, Explanation, History), (StatusCode, String)> {
        let missing = || (StatusCode::NOT_FOUND, format!("no token is called {:?}\n", short(name)));
        let id = TokenId::parse(name).map_err(|_| missing())?;
        let row = self.board.table().rows().iter().find(|row| row.id == id).cloned().ok_or_else(missing)?;
        let (spec, zone) = {
            let settings = self.settings.borrow();
            let token = settings.token(&id).ok_or_else(missing)?;
            (token.spec.clone(), settings.daemon.zone.clone())
        };
        let status = self.status_of(&spec).await.map_err(|text| (StatusCode::SERVICE_UNAVAILABLE, text + "\n"))?;
        let explanation = explain(&spec, &status, &zone, self.clock.now());
        let history = self.store.history(Subject::Token(id), MOST_PAST).await;
        let history = history.map_err(|failure| (StatusCode::SERVICE_UNAVAILABLE, format!("{failure}\n")))?;
        Ok((row, explanation, history))
    }

    /// The state of the daemon, with every app that has something to tell, and the watcher itself. Where the state cannot be read, that is a
    /// trouble: a silence is never left out without a word.
    async fn status(&self, outbox: Option<OutboxSummary>) -> StatusJson {
        let (now, settings) = (self.clock.now(), Arc::clone(&self.settings.borrow()));
        let apps = settings.apps.keys().cloned().map(Subject::App);
        let subjects: Vec<Subject> = apps.chain([Subject::Watcher]).collect();
        let known = self.store.load(subjects.clone()).await;
        let mut status = json::status(&self.board, outbox, &settings.daemon.zone, now);
        let known = known.unwrap_or_else(|failure| {
            status.troubles.push(format!("answers about apps and about tokenwatch are not known: {failure}"));
            Vec::new()
        });
        let known: BTreeMap<_, _> = known.iter().map(|(subject, status)| (subject, ledger(status))).collect();
        let standing = |subject| StandingJson::of(subject, known.get(subject).copied(), &self.board, now);
        status.subjects = subjects.iter().map(standing).filter(|standing| !standing.is_quiet()).collect();
        status
    }

    /// How the subject of that name stands, and its past. It is named as in an answer.
    async fn stood(&self, name: &str) -> Result<(StandingJson, History), (StatusCode, String)> {
        let failed = |failure: StoreError| (StatusCode::SERVICE_UNAVAILABLE, format!("{failure}\n"));
        let settings = Arc::clone(&self.settings.borrow());
        let missing = || (StatusCode::NOT_FOUND, format!("nothing is watched by the name {:?}\n", short(name)));
        let subject = control::subject(&settings, name).ok_or_else(missing)?;
        let known = self.store.load(vec![subject.clone()]).await.map_err(failed)?;
        let ledger = known.first().map(|(_, status)| ledger(status));
        let standing = StandingJson::of(&subject, ledger, &self.board, self.clock.now());
        let history = self.store.history(subject, MOST_PAST).await.map_err(failed)?;
        Ok((standing, history))
    }

    async fn status_of(&self, spec: &TokenSpec) -> Result<TokenStatus, String> {
        let found = self.store.load(vec![Subject::Token(spec.id.clone())]).await.map_err(|error| error.to_string())?;
        match found.into_iter().next() {
            Some((_, SlotStatus::Token(status))) => Ok(*status),
            Some((_, SlotStatus::App(_) | SlotStatus::Watcher(_))) | None => Ok(TokenStatus::new(self.clock.now())),
        }
    }
}

/// What is open of a subject, and how people answered.
const fn ledger(status: &SlotStatus) -> &Ledger {
    match status {
        SlotStatus::Token(status) => &status.ledger,
        SlotStatus::App(status) => &status.ledger,
        SlotStatus::Watcher(status) => &status.ledger,
    }
}

/// As much of a text of others as may be a name.
fn short(name: &str) -> String {
    advice::plain(name).chars().take(LONGEST_NAME).collect()
}

fn html(rendered: Result<String, askama::Error>) -> Response {
    match rendered {
        Ok(text) => ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], text).into_response(),
        Err(error) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("the page could not be written: {error}\n")).into_response()
        }
    }
}

/// Every answer forbids what no page here needs.
async fn harden(mut response: Response) -> Response {
    for (name, value) in HARDENING {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

const HARDENING: [(&str, &str); 5] = [
    (
        "content-security-policy",
        "default-src 'none'; style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("x-frame-options", "DENY"),
    ("cache-control", "no-store"),
];
/// Incidents, answers and deliveries of the past that are shown.
const MOST_PAST: usize = 50;
const LONGEST_NAME: usize = 63;
/// The loop sleeps five minutes at most.
const LONGEST_SILENCE: Span = Span::minutes(6);
