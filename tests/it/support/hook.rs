//! An HTTP server that writes down what it is told, and answers as a test wants: a webhook's other end, a heartbeat's, an Alertmanager's.
//!
//! Signatures are judged by the library that Standard Webhooks publishes for Python, not by code of ours.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::process::{PATIENCE, wait_for};
use super::server::Server;

/// How a server takes a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mood {
    /// It answers with this status.
    Answer(u16),
    /// It answers with this status and quotes the whole request.
    Quote(u16),
    /// It listens and never answers.
    Hang,
}

/// One request, whatever became of it.
#[derive(Clone, Debug)]
pub struct Call {
    /// `POST /path`.
    pub line: String,
    /// The headers, their names in small letters.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
    /// How it was answered.
    pub mood: Mood,
}

/// The server.
pub struct Hook {
    /// Where it listens.
    pub port: u16,
    shared: Arc<Shared>,
    _server: Server,
}

struct Shared {
    calls: Mutex<Vec<Call>>,
    mood: Mutex<Mood>,
}

impl Hook {
    /// A server that answers 200.
    pub fn start() -> Self {
        let shared = Arc::new(Shared { calls: Mutex::default(), mood: Mutex::new(Mood::Answer(200)) });
        let served = Arc::clone(&shared);
        let server = Server::start(move |stream| served.serve(stream));
        Self { port: server.port, shared, _server: server }
    }

    /// Its address with this path.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Answers like this from now on.
    pub fn set(&self, mood: Mood) {
        *lock(&self.shared.mood) = mood;
    }

    /// Every request so far.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.shared.calls).clone()
    }

    /// The requests that were answered with 200.
    pub fn taken(&self) -> Vec<Call> {
        self.calls().into_iter().filter(|call| call.mood == Mood::Answer(200)).collect()
    }

    /// Waits for a message that it took.
    pub fn wait_taken(&self, what: &str, wanted: impl Fn(&Call) -> bool) -> Call {
        wait_for(&format!("a webhook: {what}"), PATIENCE, || self.taken().into_iter().find(&wanted))
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream);
        let Some((line, headers, body)) = read(&mut reader) else { return };
        let mood = *lock(&self.mood);
        let quote = format!("you said {line} {headers:?} {body}");
        lock(&self.calls).push(Call { line, headers, body, mood });
        let mut stream = reader.into_inner();
        match mood {
            Mood::Answer(status) => answer(&mut stream, status, "{}"),
            Mood::Quote(status) => answer(&mut stream, status, &quote),
            Mood::Hang => {
                // Until the other side gives up.
                let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
                let _ = stream.read(&mut [0; 64]);
            }
        }
    }
}

fn answer(stream: &mut TcpStream, status: u16, body: &str) {
    let head = format!("HTTP/1.1 {status} So\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = stream.write_all((head + body).as_bytes());
}

type Heard = (String, BTreeMap<String, String>, String);

fn read(reader: &mut BufReader<TcpStream>) -> Option<Heard> {
    let mut first = String::new();
    reader.read_line(&mut first).ok().filter(|count| *count > 0)?;
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|value| value.parse().ok()).unwrap_or_default();
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let line = first.rsplit_once(' ').map_or("", |(line, _)| line).to_owned();
    Some((line, headers, String::from_utf8_lossy(&body).into_owned()))
}

impl Call {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// A header, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(String::as_str).unwrap_or_default()
    }

    /// Whether a notice in it is about this subject and finding, told for this reason.
    pub fn tells(&self, subject: &str, finding: &str, why: &str) -> bool {
        self.json()["notices"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|notice| notice["subject"]["name"] == subject && notice["finding"] == finding && notice["why"] == why)
    }
}

/// Whether each of these is signed with the key, in the eyes of somebody else's library.
pub fn are_genuine(key: &str, calls: &[Call]) -> Vec<bool> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/python/bin/python");
    assert!(python.exists(), "{} is missing; run tests/tools.sh, which installs it", python.display());
    let child = Command::new(python).args(["-c", JUDGE]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.expect("python runs");
    let mut input = child.stdin.take().expect("a pipe");
    for call in calls {
        let line = json!({"key": key, "headers": call.headers, "body": call.body});
        writeln!(input, "{line}").expect("python listens");
    }
    drop(input);
    let output = child.wait_with_output().expect("python ends");
    assert!(output.status.success(), "the library is not installed; run tests/tools.sh");
    String::from_utf8_lossy(&output.stdout).lines().map(|line| line == "yes").collect()
}

/// Nothing that is kept under these locks can be left half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const JUDGE: &str = r#"
import json, sys
from standardwebhooks import Webhook, WebhookVerificationError
for line in sys.stdin:
    call = json.loads(line)
    try:
        Webhook(call["key"]).verify(call["body"], call["headers"])
        print("yes")
    except WebhookVerificationError:
        print("no")
"#;
