//! `status`: what the running daemon knows, asked over its control socket.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Context, Exit, io};
use crate::daemon::lifecycle::{state_path, variable};
use crate::daemon::{CONTROL_SOCKET, control_path};
use crate::domain::time::{Timestamp, relative};
use crate::settings;

use crate::zone::Zone;

/// Runs the command.
pub async fn run(context: &Context, json: bool) -> Exit {
    let daemon = match Daemon::find(context) {
        Ok(daemon) => daemon,
        Err(why) => return super::fail(Exit::TryAgain, why),
    };
    let (status, tokens) = match (daemon.get("/api/v1/status").await, daemon.get("/api/v1/tokens").await) {
        (Ok(status), Ok(tokens)) => (status, tokens),
        (Err(why), _) | (_, Err(why)) => return super::fail(Exit::TryAgain, why),
    };
    if json {
        let mut whole = status;
        whole["tokens"] = tokens["tokens"].clone();
        return io::print_json(&whole);
    }
    io::print(&text(&status, &tokens, io::Paint::new(&context.environment)))
}

/// The running daemon, seen through its control socket.
pub struct Daemon {
    client: reqwest::Client,
    socket: PathBuf,
}

impl Daemon {
    /// The daemon of this configuration.
    ///
    /// # Errors
    /// When there is no socket; the text says where it was looked for.
    pub fn find(context: &Context) -> Result<Self, String> {
        let candidates = sockets(context);
        let socket = candidates.iter().find(|path| path.exists()).cloned().ok_or_else(|| {
            let places: Vec<String> = candidates.iter().map(|path| path.display().to_string()).collect();
            format!(
                "no daemon is reachable: there is no control socket at {}; is tokenwatch running?",
                places.join(" or ")
            )
        })?;
        let client = reqwest::Client::builder().unix_socket(socket.clone()).timeout(PATIENCE).no_proxy();
        let client = client.tls_backend_preconfigured(no_tls()).build().map_err(|error| error.to_string())?;
        Ok(Self { client, socket })
    }

    /// Reads one document.
    ///
    /// # Errors
    /// When the daemon does not answer, or not as expected.
    pub async fn get(&self, path: &str) -> Result<Value, String> {
        let socket = self.socket.display();
        let reply = self.client.get(format!("http://tokenwatch{path}")).send().await;
        let reply = reply.map_err(|_| {
            format!("no daemon answers at {socket}; is tokenwatch running, and may you use its socket?")
        })?;
        if !reply.status().is_success() {
            return Err(reply.text().await.unwrap_or_default().trim().to_owned());
        }
        reply.json().await.map_err(|_| format!("the daemon at {socket} gave an answer that is not understood"))
    }
}

/// Where the socket may be: beside the state, or in systemd's runtime folder.
fn sockets(context: &Context) -> Vec<PathBuf> {
    let mut places = Vec::new();
    if let Some(folder) = variable(&context.environment, "RUNTIME_DIRECTORY") {
        places.push(Path::new(folder).join(CONTROL_SOCKET));
    }
    let loaded = settings::load(&context.config, &context.environment).ok();
    if let Some(state) = loaded.and_then(|loaded| state_path(&loaded.settings, &context.environment).ok()) {
        places.push(control_path(None, &state));
    }
    places.push(Path::new(SYSTEM_FOLDER).join(CONTROL_SOCKET));
    places.dedup();
    places
}

fn text(status: &Value, tokens: &Value, paint: io::Paint) -> String {
    let now = Timestamp::from_unix(status["now"].as_i64().unwrap_or_default());
    let zone = status["timezone"].as_str().and_then(|name| Zone::parse(name).ok()).unwrap_or(Zone::UTC);
    let ago = |key: &str| {
        status[key].as_i64().map_or_else(|| "never".to_owned(), |at| relative(Timestamp::from_unix(at), now))
    };
    let mut rows = vec![["TOKEN", "VERDICT", "ENDS", "FINDINGS", "LAST ANSWER"].map(str::to_owned).to_vec()];
    for token in tokens["tokens"].as_array().into_iter().flatten() {
        let when = |key: &str| token[key].as_i64().map(Timestamp::from_unix);
        // The nearer of both ends, as `check` shows it.
        let nearest = when("expires_at").into_iter().chain(when("data_access_expires_at")).min();
        let ends = match nearest {
            Some(at) => format!("{} ({})", zone.date(at), relative(at, now)),
            None if token["never_expires"] == true => "never".to_owned(),
            None => "unknown".to_owned(),
        };
        let findings: Vec<&str> = token["findings"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|finding| finding["finding"].as_str())
            .collect();
        rows.push(vec![
            token["name"].as_str().unwrap_or_default().to_owned(),
            token["verdict"].as_str().unwrap_or_default().to_owned(),
            ends,
            if findings.is_empty() { "-".to_owned() } else { findings.join(", ") },
            when("last_answer").map_or_else(|| "never".to_owned(), |at| relative(at, now)),
        ]);
    }
    let mut text = io::table(&rows, |y, x, cell| match (y, x) {
        (0, _) => paint.soft(cell),
        (_, 1) => paint.by_word(cell, cell),
        _ => cell.to_owned(),
    });
    text.push_str(&format!("\nlast pass {}, last mail {}", ago("last_pass"), ago("last_mail")));
    text.push_str(&format!(", {} notices waiting\n", status["outbox_pending"].as_u64().unwrap_or_default()));
    for trouble in status["troubles"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        text.push_str(&paint.by_word(&format!("trouble: {trouble}\n"), "critical"));
    }
    text
}

/// The socket is local and needs no TLS, but the client must be given something that is not the default provider.
fn no_tls() -> rustls::ClientConfig {
    rustls::ClientConfig::builder_with_provider(std::sync::Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports the default protocol versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);
/// Where the shipped unit puts its runtime folder.
const SYSTEM_FOLDER: &str = "/run/tokenwatch";
