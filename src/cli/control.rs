//! The way to the running daemon: its control socket.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Context, Exit};
use crate::daemon::lifecycle::{state_path, variable};
use crate::daemon::{CONTROL_SOCKET, control_path};
use crate::settings;

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
        let client =
            client.tls_backend_preconfigured(crate::tls::nobody()).build().map_err(|error| error.to_string())?;
        Ok(Self { client, socket })
    }

    /// Reads one document.
    ///
    /// # Errors
    /// When the daemon does not answer, declines, or does not answer as expected.
    pub async fn get(&self, path: &str) -> Result<Value, Trouble> {
        self.ask(self.client.get(format!("http://tokenwatch{path}"))).await
    }

    /// Asks the daemon to do something.
    ///
    /// # Errors
    /// When the daemon does not answer, declines, or does not answer as expected.
    pub async fn post(&self, path: &str, asked: &impl serde::Serialize) -> Result<Value, Trouble> {
        self.ask(self.client.post(format!("http://tokenwatch{path}")).json(asked)).await
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> Result<Value, Trouble> {
        let socket = self.socket.display();
        let reply = request.send().await.map_err(|_| {
            Trouble::Away(format!("no daemon answers at {socket}; is tokenwatch running, and may you use its socket?"))
        })?;
        let status = reply.status();
        if !status.is_success() {
            let why = reply.text().await.unwrap_or_default().trim().to_owned();
            return Err(if status.is_client_error() { Trouble::Declined(why) } else { Trouble::Away(why) });
        }
        let unknown = format!("the daemon at {socket} gave an answer that is not understood");
        reply.json().await.map_err(|_| Trouble::Away(unknown))
    }
}

/// Why the daemon did not do what was asked.
#[derive(Debug)]
pub enum Trouble {
    /// It is not there, or cannot now.
    Away(String),
    /// It says no, and why.
    Declined(String),
}

impl Trouble {
    /// Prints why, and gives the exit code: 75 to try again, 1 for a refusal (contract §10.2).
    pub fn fail(self) -> Exit {
        match self {
            Self::Away(why) => super::fail(Exit::TryAgain, why),
            Self::Declined(why) => super::fail(Exit::Warning, why),
        }
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

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);
/// Where the shipped unit puts its runtime folder.
const SYSTEM_FOLDER: &str = "/run/tokenwatch";
