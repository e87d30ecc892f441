//! A copy of the state of a running daemon, and whether its state is whole, as the control socket hands them out.
//!
//! All of it reads. What takes long is done one at a time, and beside the watch.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, Stream};
use serde::{Deserialize, Serialize};
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Web;
use super::control::declined;
use crate::domain::time::Timestamp;
use crate::ports::{RunReport, Snapshot, StateReport};

/// The routes.
pub(super) fn router(web: Web) -> Router {
    Router::new()
        .route("/control/v1/state/backup", get(backup))
        .route("/control/v1/state/verify", get(verify))
        .with_state(web)
}

/// What a state holds, and whether it is whole.
#[derive(Debug, Serialize, Deserialize)]
pub struct StateJson {
    /// Whether nothing is wrong.
    pub whole: bool,
    /// Its schema.
    pub schema: i64,
    /// The newest schema that the program knows which read it.
    pub known: i64,
    /// How many rows each table has.
    pub rows: BTreeMap<String, u64>,
    /// How many incidents are open.
    pub open_incidents: u64,
    /// How many notices wait.
    pub waiting: u64,
    /// When the oldest of them was made.
    pub oldest_waiting: Option<i64>,
    /// The runs in the journal.
    pub runs: Vec<StateRunJson>,
    /// What is wrong.
    pub faults: Vec<String>,
    /// How much more is wrong.
    pub more_faults: u64,
}

/// A run in the journal.
#[derive(Debug, Serialize, Deserialize)]
pub struct StateRunJson {
    /// Whose.
    pub subject: String,
    /// How far it came.
    pub phase: String,
    /// How many secrets are sealed with it.
    pub sealed: usize,
}

impl StateJson {
    /// As it is shown.
    pub fn of(report: &StateReport) -> Self {
        let run = |run: &RunReport| StateRunJson {
            subject: run.subject.clone(),
            phase: run.phase.clone(),
            sealed: run.sealed,
        };
        Self {
            whole: report.is_whole(),
            schema: report.schema,
            known: report.known,
            rows: report.rows.clone(),
            open_incidents: report.open_incidents,
            waiting: report.waiting,
            oldest_waiting: report.oldest_waiting.map(Timestamp::unix),
            runs: report.runs.iter().map(run).collect(),
            faults: report.faults.clone(),
            more_faults: report.more_faults,
        }
    }
}

/// A copy of the state: whoever asks writes it where they may.
async fn backup(State(web): State<Web>) -> Response {
    match web.store.snapshot().await {
        Ok(Snapshot { file, length, turn }) => {
            let kind = [(CONTENT_TYPE, "application/vnd.sqlite3".to_owned()), (CONTENT_LENGTH, length.to_string())];
            (kind, Body::from_stream(pieces(File::from_std(file), turn))).into_response()
        }
        Err(failure) => declined(StatusCode::SERVICE_UNAVAILABLE, &failure.to_string()),
    }
}

/// The copy, a piece at a time. The turn is kept until all of it was taken.
fn pieces(file: File, turn: OwnedSemaphorePermit) -> impl Stream<Item = std::io::Result<Bytes>> {
    stream::try_unfold((file, turn), async |(mut file, turn)| {
        let mut piece = BytesMut::with_capacity(PIECE);
        let read = file.read_buf(&mut piece).await?;
        Ok((read > 0).then(|| (piece.freeze(), (file, turn))))
    })
}

/// Whether the state is whole.
async fn verify(State(web): State<Web>) -> Response {
    static TURN: Semaphore = Semaphore::const_new(1);
    let Ok(_turn) = TURN.try_acquire() else {
        return declined(StatusCode::SERVICE_UNAVAILABLE, "the state is being read; try again");
    };
    match web.store.verify().await {
        Ok(report) => Json(StateJson::of(&report)).into_response(),
        Err(failure) => declined(StatusCode::SERVICE_UNAVAILABLE, &failure.to_string()),
    }
}

/// Bytes of a copy that are read at a time.
const PIECE: usize = 256 << 10;
