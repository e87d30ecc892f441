//! What a reload would change, as the control socket tells it.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::control::declined;
use super::{NoPreview, Web};
use crate::settings::diff::{Change, Difference, Entry, Waiting, What};

/// The route.
pub(super) fn router(web: Web) -> Router {
    Router::new().route("/control/v1/config-diff", get(config_diff)).with_state(web)
}

/// What a reload would change.
#[derive(Debug, Serialize, Deserialize)]
pub struct DifferenceJson {
    /// In a few words.
    pub summary: String,
    /// Part by part.
    pub entries: Vec<DifferenceEntryJson>,
    /// What would wait for a restart.
    pub waiting: Vec<WaitingJson>,
}

/// A part that differs.
#[derive(Debug, Serialize, Deserialize)]
pub struct DifferenceEntryJson {
    /// `token`, `app`, …
    pub kind: String,
    /// Its name.
    pub name: String,
    /// `added`, `changed` or `removed`.
    pub what: String,
    /// The keys that differ.
    pub keys: Vec<DifferenceKeyJson>,
    /// All of it in words.
    pub text: String,
}

/// A key that differs. Values are as `config show` prints them.
#[derive(Debug, Serialize, Deserialize)]
pub struct DifferenceKeyJson {
    /// The key, within its part.
    pub key: String,
    /// What is in force.
    pub from: Option<String>,
    /// What is written now.
    pub to: Option<String>,
    /// Whether only a restart acts on it.
    pub needs_restart: bool,
}

/// A setting that waits for a restart.
#[derive(Debug, Serialize, Deserialize)]
pub struct WaitingJson {
    /// Its dotted key.
    pub key: String,
    /// What the daemon runs with.
    pub running: Option<String>,
    /// In words.
    pub text: String,
}

impl DifferenceJson {
    fn of(difference: &Difference) -> Self {
        let key = |change: &Change| DifferenceKeyJson {
            key: change.key.to_string(),
            from: change.from.as_deref().map(str::to_owned),
            to: change.to.as_deref().map(str::to_owned),
            needs_restart: change.needs_restart,
        };
        let entry = |entry: &Entry| {
            let (what, keys) = match &entry.what {
                What::Added => ("added", Vec::new()),
                What::Removed => ("removed", Vec::new()),
                What::Changed(changes) => ("changed", changes.iter().map(key).collect()),
            };
            let (kind, name) = (entry.sort.as_str().to_owned(), entry.name.to_string());
            DifferenceEntryJson { kind, name, what: what.to_owned(), keys, text: entry.in_full() }
        };
        let waiting = |waiting: &Waiting| WaitingJson {
            key: waiting.key.to_string(),
            running: waiting.running.as_deref().map(str::to_owned),
            text: waiting.to_string(),
        };
        Self {
            summary: difference.summary(),
            entries: difference.entries.iter().map(entry).collect(),
            waiting: difference.waiting.iter().map(waiting).collect(),
        }
    }
}

/// What a reload would change.
async fn config_diff(State(web): State<Web>) -> Response {
    let Some(preview) = &web.preview else {
        return declined(StatusCode::CONFLICT, "this daemon was not started with a configuration file");
    };
    match preview().await {
        Ok(difference) => Json(DifferenceJson::of(&difference)).into_response(),
        Err(NoPreview::Refused(faults)) => declined(StatusCode::UNPROCESSABLE_ENTITY, &faults),
        Err(NoPreview::Later(why)) => declined(StatusCode::SERVICE_UNAVAILABLE, &why),
    }
}
