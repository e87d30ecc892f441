//! The listener: `/metrics`, health, JSON, the status page and the calendar. All of it reads; nothing changes anything.
//!
//! Changes go through the control socket. A fault on one connection never ends the listener.

pub mod calendar;
pub mod config_diff;
pub mod control;
pub mod exposition;
pub mod find;
pub mod gate;
pub mod json;
pub mod lifetime;
pub mod listener;
mod login;
pub mod page;
pub mod state;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, LazyLock};

use askama::Template as _;
use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::future::BoxFuture;
use futures_util::stream;

use crate::advice;
use crate::board::{Board, Row};
use crate::domain::alert::{Notice, Subject};
use crate::domain::inspection::Expiry;
use crate::domain::ledger::Ledger;
use crate::domain::status::TokenStatus;
use crate::domain::step::as_notice;
use crate::domain::time::{Span, Timestamp};
use crate::domain::token::{TokenId, TokenSpec};
use crate::domain::verdict::{self, Case};
use crate::explain::explain;
use crate::metrics::Counters;
use crate::ports::{Clock, History, OutboxSummary, SlotStatus, Store, StoreError};
use crate::requests::Requests;
use crate::settings::Settings;
use crate::settings::diff::Difference;
use crate::zone::Zone;
use exposition::{Exposition, Scene};
use find::Wanted;
use json::{HistoryJson, StandingJson, StatusJson, SubjectJson, TokenJson, TokenPageJson, TokensJson};
use page::{Census, FaultPage, ICON, Known, Line, PAGE, STYLE_HASH, StatusPage, SubjectPage, TokenPage, Truth};

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
    /// What a reload would change; used by the control socket only.
    pub preview: Option<Preview>,
}

/// Reads the configuration anew and says what it would change, or why it would be refused. It may take a while and asks the disk.
pub type Preview = Arc<dyn Fn() -> BoxFuture<'static, Result<Difference, NoPreview>> + Send + Sync>;

/// Why it cannot be said what a reload would change.
pub enum NoPreview {
    /// The files do not answer; later they may.
    Later(String),
    /// A reload would be refused, too; each fault in a line of its own.
    Refused(String),
}

/// Every page.
pub fn router(web: Web) -> Router {
    Router::new()
        .route("/", get(status_page))
        .route("/tokens/{name}", get(token_page))
        .route("/subjects/{*name}", get(subject_page))
        .route("/favicon.svg", get(icon))
        .route("/calendar.ics", get(calendar::feed))
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/api/v1/tokens", get(tokens))
        .route("/api/v1/tokens/{name}", get(token))
        .route("/api/v1/subjects/{*name}", get(subject))
        .route("/api/v1/status", get(status))
        .fallback(|| async { (StatusCode::NOT_FOUND, "not found\n") })
        .layer(axum::middleware::from_fn(faults_are_pages))
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
    lines.extend(troubles.beside_the_store());
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
    match web.known(&name).await {
        Ok((row, spec, status, history)) => {
            let zone = web.settings.borrow().daemon.zone.clone();
            let explanation = explain(&spec, &status, &zone, web.clock.now());
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

async fn icon() -> Response {
    ([(header::CONTENT_TYPE, "image/svg+xml")], ICON).into_response()
}

async fn status_page(State(web): State<Web>, RawQuery(query): RawQuery) -> Response {
    let wanted = Wanted::parse(query.as_deref());
    html(web.status_page(wanted).await.render())
}

async fn subject_page(State(web): State<Web>, Path(name): Path<String>) -> Response {
    let (now, zone) = (web.clock.now(), web.settings.borrow().daemon.zone.clone());
    match web.stood(&name).await {
        Ok((standing, history)) => {
            html(SubjectPage::new(&standing, &history, web.truth(&zone, now), &zone, now).render())
        }
        Err(missing) => missing.into_response(),
    }
}

async fn token_page(State(web): State<Web>, Path(name): Path<String>) -> Response {
    let settings = Arc::clone(&web.settings.borrow());
    match web.known(&name).await {
        Ok((row, spec, status, history)) => {
            let now = web.clock.now();
            let notices = notices(&spec, &status, now);
            let known = Known { row: &row, spec: &spec, status: &status, notices: &notices, history: &history };
            let explanation = explain(&spec, &status, &settings.daemon.zone, now);
            let truth = web.truth(&settings.daemon.zone, now);
            html(TokenPage::new(&known, explanation, &settings, truth, now).render())
        }
        Err(missing) => missing.into_response(),
    }
}

/// What is wrong with a token, as mails would say it; the worst first.
fn notices(spec: &TokenSpec, status: &TokenStatus, now: Timestamp) -> Vec<Notice> {
    let mut findings = verdict::judge(Case { spec, status, now }).findings;
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings.iter().map(|finding| as_notice(spec, status, finding, now)).collect()
}

impl Web {
    /// A token's row, what is wanted of it, what was observed, and its past.
    async fn known(&self, name: &str) -> Result<(Row, TokenSpec, TokenStatus, History), (StatusCode, String)> {
        let missing = || (StatusCode::NOT_FOUND, format!("no token is called {:?}\n", short(name)));
        let id = TokenId::parse(name).map_err(|_| missing())?;
        let row = self.board.table().rows().iter().find(|row| row.id == id).cloned().ok_or_else(missing)?;
        let spec = self.settings.borrow().token(&id).ok_or_else(missing)?.spec.clone();
        let status = self.status_of(&spec).await.map_err(|text| (StatusCode::SERVICE_UNAVAILABLE, text + "\n"))?;
        let history = self.store.history(Subject::Token(id), MOST_PAST).await;
        let history = history.map_err(|failure| (StatusCode::SERVICE_UNAVAILABLE, format!("{failure}\n")))?;
        Ok((row, spec, status, history))
    }

    /// The list that is wanted. One pass over all rows counts and chooses; of the state only what is shown is read, at once.
    async fn status_page(&self, wanted: Wanted) -> StatusPage {
        let (now, settings) = (self.clock.now(), Arc::clone(&self.settings.borrow()));
        let mut status = self.status(None).await;
        let (census, found, shown) = {
            let table = self.board.table();
            let rows = table.rows();
            let found = find::find(&rows, &wanted, PAGE);
            let shown: Vec<Row> = found.places.iter().filter_map(|place| rows.get(*place)).cloned().collect();
            (Census::of(&rows, now), found, shown)
        };
        let subjects = shown.iter().map(|row| Subject::Token(row.id.clone())).collect();
        let known = self.store.load(subjects).await.unwrap_or_else(|failure| {
            status.troubles.push(format!("the rungs of tokens are not known: {failure}"));
            Vec::new()
        });
        let known: BTreeMap<&str, &TokenStatus> = known
            .iter()
            .filter_map(|(subject, status)| match status {
                SlotStatus::Token(status) => Some((subject.name(), &**status)),
                SlotStatus::App(_) | SlotStatus::Watcher(_) => None,
            })
            .collect();
        let lines = shown.iter().map(|row| {
            let known = settings.token(&row.id).map(|token| &token.spec).zip(known.get(row.id.as_str()).copied());
            Line::new(row, known, &settings.daemon.zone, now)
        });
        let scene = page::Scene {
            census,
            first_pass_done: self.board.vitals.first_pass_done(),
            troubles: status.troubles,
            subjects: status.subjects,
            truth: self.truth(&settings.daemon.zone, now),
        };
        StatusPage::new(scene, wanted, found, lines.collect(), &settings, now)
    }

    /// How old the truth of a page is.
    fn truth(&self, zone: &Zone, now: Timestamp) -> Truth {
        let vitals = &self.board.vitals;
        let silent = match vitals.last_beat().map(|beat| now.since(beat)) {
            Some(silent) if silent <= LONGEST_SILENCE => None,
            Some(silent) => Some(format!("The watch loop was last seen {silent} ago.")),
            None => Some("The watch loop has not started.".to_owned()),
        };
        Truth::new(vitals.last_pass(), silent, zone, now)
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

/// What went wrong is told in text; a browser gets it as a page.
async fn faults_are_pages(request: Request, next: Next) -> Response {
    let wants = |headers: &HeaderMap| {
        headers.get_all(header::ACCEPT).iter().any(|value| value.to_str().is_ok_and(|text| text.contains("text/html")))
    };
    let for_machines =
        ["/api/", "/metrics", "/healthz", "/readyz"].iter().any(|path| request.uri().path().starts_with(path));
    let wants_page = wants(request.headers()) && !for_machines;
    let response = next.run(request).await;
    let code = response.status();
    let is_text = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.to_str().is_ok_and(|kind| kind.starts_with("text/plain")));
    if !wants_page || !is_text || !(code.is_client_error() || code.is_server_error()) {
        return response;
    }
    let words = axum::body::to_bytes(response.into_body(), LONGEST_FAULT).await.unwrap_or_default();
    let words = advice::plain(&String::from_utf8_lossy(&words));
    let title = match code {
        StatusCode::NOT_FOUND => "There is no such page",
        StatusCode::SERVICE_UNAVAILABLE => "This cannot be told at present",
        _ => "That did not work",
    };
    (code, html(FaultPage { code: code.as_u16(), title, words }.render())).into_response()
}

/// Every answer forbids what no page here needs. One that says itself how it may be kept is left that.
async fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in HARDENING {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// No scripts, nothing from elsewhere, no frames; the one style is known by its hash, and forms lead back here.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let policy = format!(
        "default-src 'none'; style-src {}; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        *STYLE_HASH
    );
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

const HARDENING: [(&str, &str); 3] =
    [("x-content-type-options", "nosniff"), ("referrer-policy", "no-referrer"), ("x-frame-options", "DENY")];
/// A fault's text that is shown.
const LONGEST_FAULT: usize = 4_096;
/// Incidents, answers and deliveries of the past that are shown.
const MOST_PAST: usize = 50;
const LONGEST_NAME: usize = 63;
/// The loop sleeps five minutes at most.
const LONGEST_SILENCE: Span = Span::minutes(6);
