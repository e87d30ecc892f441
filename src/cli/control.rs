//! The way to the running daemon: its control socket.

use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::{Context, Exit};
use crate::daemon::lifecycle::{state_place, variable};
use crate::daemon::{CONTROL_SOCKET, control_path};
use crate::settings;

/// The running daemon, seen through its control socket.
pub struct Daemon {
    client: reqwest::Client,
    socket: PathBuf,
    patience: Duration,
}

impl Daemon {
    /// The daemon of this configuration.
    ///
    /// # Errors
    /// When nobody listens on any socket; the text says where it was looked for.
    pub fn find(context: &Context) -> Result<Self, Unreachable> {
        let socket = listening(sockets(context)).map_err(|away| away.of(context))?;
        let client = reqwest::Client::builder().unix_socket(socket.clone()).no_proxy();
        let client = client
            .tls_backend_preconfigured(crate::tls::nobody())
            .build()
            .map_err(|error| Unreachable { why: error.to_string(), shut: false })?;
        Ok(Self { client, socket, patience: PATIENCE })
    }

    /// The same daemon, from which an answer may take so long.
    pub fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
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

    /// Reads what is too large to be held: piece by piece, the whole of it.
    ///
    /// # Errors
    /// When the daemon does not answer, declines, or breaks off; or `take` fails, in its words.
    pub async fn fetch(
        &self,
        path: &str,
        mut take: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<(), FetchTrouble> {
        let mut reply = self.answered(self.client.get(format!("http://tokenwatch{path}"))).await?;
        let broke_off = || Trouble::Away(format!("the daemon at {} broke off", self.socket.display()));
        while let Some(piece) = reply.chunk().await.map_err(|_| broke_off())? {
            take(&piece).map_err(FetchTrouble::Here)?;
        }
        Ok(())
    }

    async fn answered(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response, Trouble> {
        let socket = self.socket.display();
        let reply = request
            .timeout(self.patience)
            .send()
            .await
            .map_err(|_| Trouble::Away(format!("no daemon answers at {socket}; is tokenwatch running?")))?;
        let status = reply.status();
        if !status.is_success() {
            let why = reply.text().await.unwrap_or_default().trim().to_owned();
            return Err(if status.is_client_error() { Trouble::Declined(why) } else { Trouble::Away(why) });
        }
        Ok(reply)
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> Result<Value, Trouble> {
        let reply = self.answered(request).await?;
        let socket = self.socket.display();
        let unknown = format!("the daemon at {socket} gave an answer that is not understood");
        reply.json().await.map_err(|_| Trouble::Away(unknown))
    }
}

/// Why no daemon was found.
#[derive(PartialEq, Eq, Debug)]
pub struct Unreachable {
    /// In words.
    pub why: String,
    /// Somebody may listen, and we are not let in.
    pub shut: bool,
}

impl Unreachable {
    /// Where the configuration cannot be read it says nothing of the socket's place.
    fn of(self, context: &Context) -> Self {
        let known = settings::glimpse_of_state(&context.config, &context.environment);
        let Some(fault) = settings::unread(&context.config, &context.environment).filter(|_| known.is_none()) else {
            return self;
        };
        let why = format!(
            "{} It was looked for at the usual places only, for the configuration cannot be read: {fault}",
            self.why
        );
        Self { why, ..self }
    }

    /// Prints why, and gives the exit code 75 (contract §10.2).
    pub fn fail(self) -> Exit {
        super::fail(Exit::TryAgain, self.why)
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

/// Why something was not fetched.
#[derive(Debug)]
pub enum FetchTrouble {
    /// It was not sent.
    There(Trouble),
    /// It cannot be kept.
    Here(std::io::Error),
}

impl From<Trouble> for FetchTrouble {
    fn from(trouble: Trouble) -> Self {
        Self::There(trouble)
    }
}

impl Trouble {
    /// Prints why, and gives the exit code: 75 to try again, 1 for a refusal (contract §10.2).
    pub fn fail(self) -> Exit {
        match self {
            Self::Away(why) => super::fail(Exit::TryAgain, why),
            Self::Declined(why) => super::fail(Exit::Warning, why),
        }
    }

    /// Why.
    pub fn into_words(self) -> String {
        match self {
            Self::Away(why) | Self::Declined(why) => why,
        }
    }
}

/// The first socket on which somebody listens. A file that a killed daemon left behind does not hide the socket of another.
fn listening(candidates: Vec<PathBuf>) -> Result<PathBuf, Unreachable> {
    let (mut left, mut shut, mut forbidden) = (Vec::new(), false, false);
    for path in &candidates {
        match UnixStream::connect(path) {
            Ok(_) => return Ok(path.clone()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                left.push(path);
                shut |= error.kind() != ErrorKind::ConnectionRefused;
                forbidden |= error.kind() == ErrorKind::PermissionDenied;
            }
        }
    }
    let in_words = |places: Vec<&PathBuf>| {
        places.into_iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ")
    };
    let why = if left.is_empty() {
        let places = in_words(candidates.iter().collect());
        format!("no daemon is reachable: there is no control socket at {places}; is tokenwatch running?")
    } else if forbidden {
        let places = in_words(left);
        format!(
            "you may not use the control socket {places}; run this as root, or as a member of the socket's group (tokenwatch)"
        )
    } else {
        let places = in_words(left);
        format!("no daemon answers at {places}; is tokenwatch running?")
    };
    Err(Unreachable { why, shut })
}

/// Where the socket may be: beside the state, or in systemd's runtime folder.
fn sockets(context: &Context) -> Vec<PathBuf> {
    let mut places = Vec::new();
    if let Some(folder) = variable(&context.environment, "RUNTIME_DIRECTORY") {
        places.push(Path::new(folder).join(CONTROL_SOCKET));
    }
    // Also where a configuration is refused: the daemon may run with the one before.
    let configured = settings::glimpse_of_state(&context.config, &context.environment);
    if let Some(state) = state_place(configured.as_deref(), &context.environment) {
        places.push(control_path(None, &state));
    }
    places.push(Path::new(SYSTEM_FOLDER).join(CONTROL_SOCKET));
    places.dedup();
    places
}

const PATIENCE: Duration = Duration::from_secs(5);
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
        let why = told.why;
        assert!(why.contains("no daemon answers at") && why.contains("stale") && !why.contains("none"), "{why}");
        assert!(!told.shut, "whoever made it is gone");
        let told = listening(vec![none.clone()]).expect_err("nothing is there");
        assert!(told.why.contains("there is no control socket at") && !told.shut, "{told:?}");
        let _listener = UnixListener::bind(&served).expect("a socket");
        assert_eq!(listening(vec![none.clone(), stale.clone(), served.clone()]), Ok(served));
        // What is there and cannot be reached is no proof that nobody is there.
        let odd = stale.join("under-a-file");
        assert!(listening(vec![none, odd]).expect_err("nobody is reached").shut);
    }
}
