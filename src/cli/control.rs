//! The way to the running daemon: its control socket.

use std::os::unix::net::UnixStream;
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
    /// When nobody listens on any socket; the text says where it was looked for.
    pub fn find(context: &Context) -> Result<Self, String> {
        let socket = listening(sockets(context))?;
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

/// The first socket on which somebody listens. A file that a killed daemon left behind does not hide the socket of another.
fn listening(candidates: Vec<PathBuf>) -> Result<PathBuf, String> {
    if let Some(socket) = candidates.iter().find(|path| UnixStream::connect(path).is_ok()) {
        return Ok(socket.clone());
    }
    let in_words = |places: Vec<&PathBuf>| {
        places.into_iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ")
    };
    let left: Vec<&PathBuf> = candidates.iter().filter(|path| path.exists()).collect();
    Err(if left.is_empty() {
        let places = in_words(candidates.iter().collect());
        format!("no daemon is reachable: there is no control socket at {places}; is tokenwatch running?")
    } else {
        let places = in_words(left);
        format!("no daemon answers at {places}; is tokenwatch running, and may you use its socket?")
    })
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

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_socket_that_nobody_serves_hides_no_other() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [none, stale, served] = ["none", "stale", "served"].map(|name| folder.path().join(name));
        drop(UnixListener::bind(&stale).expect("a socket"));
        let told = listening(vec![none.clone(), stale.clone()]).expect_err("nobody listens");
        assert!(told.contains("no daemon answers at") && told.contains("stale") && !told.contains("none"), "{told}");
        let told = listening(vec![none.clone()]).expect_err("nothing is there");
        assert!(told.contains("there is no control socket at"), "{told}");
        let _listener = UnixListener::bind(&served).expect("a socket");
        assert_eq!(listening(vec![none, stale, served.clone()]), Ok(served));
    }
}
