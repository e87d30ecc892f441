//! A real Alertmanager for one test: on a port of its own, without a cluster, telling one webhook at once.
//!
//! Where it is missing the test fails and says what to do; it is never skipped.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::process::{PATIENCE, free_port, program, wait_for, wait_until};

/// A user that it may ask for, and the password.
pub const LOGIN: (&str, &str) = ("watcher", "barracuda");

/// An Alertmanager.
pub struct Alertmanager {
    /// Where it listens, while it is open.
    pub port: u16,
    folder: TempDir,
    running: Option<Child>,
}

impl Alertmanager {
    /// One that tells everything to this webhook; not started yet.
    pub fn closed(webhook: &str) -> Self {
        Self::configured(&format!(
            "route: {{receiver: team, group_by: [alertname, token, severity], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}\n\
             receivers: [{{name: team, webhook_configs: [{{url: '{webhook}', send_resolved: true}}]}}]\n"
        ))
    }

    /// One with a configuration of the test's own; not started yet.
    pub fn configured(config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("am.yml"), config).expect("a file is written");
        Self { port: free_port(), folder, running: None }
    }

    /// One that is up.
    pub fn start(webhook: &str) -> Self {
        let mut server = Self::closed(webhook);
        server.open();
        server
    }

    /// Lets in only who knows [`LOGIN`]; before it is opened.
    pub fn guarded(self) -> Self {
        fs::write(self.folder.path().join("web.yml"), GUARD).expect("a file is written");
        self
    }

    /// Starts it, and waits until it is ready.
    pub fn open(&mut self) {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let log = fs::File::create(self.folder.path().join("log")).expect("a log file");
        let errors = log.try_clone().expect("a log file");
        let mut command = Command::new(program(&["prometheus-alertmanager", "alertmanager"]));
        command.arg(format!("--config.file={}", path("am.yml"))).arg(format!("--storage.path={}", path("data")));
        command.arg(format!("--web.listen-address=127.0.0.1:{}", self.port)).arg("--cluster.listen-address=");
        if self.folder.path().join("web.yml").exists() {
            command.arg(format!("--web.config.file={}", path("web.yml")));
        }
        let child = command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn();
        self.running = Some(child.expect("the Alertmanager starts"));
        wait_until("the Alertmanager to be ready", PATIENCE, || {
            let ended = self.running.as_mut().and_then(|child| child.try_wait().ok().flatten());
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(ended.is_none(), "the Alertmanager ended at once: {}", log());
            self.ask("/-/ready").is_some_and(|answer| answer.starts_with("HTTP/1.0 200"))
        });
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What fires, as it says itself.
    pub fn alerts(&self) -> Vec<Value> {
        wait_for("the Alertmanager's answer", PATIENCE, || {
            let answer = self.ask("/api/v2/alerts").filter(|answer| answer.starts_with("HTTP/1.0 200"))?;
            serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
        })
    }

    /// Posts alerts to it, as anybody who watches something does.
    pub fn post(&self, alerts: &Value) {
        let body = alerts.to_string();
        let head = format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let answer = self.send(&format!("POST /api/v2/alerts HTTP/1.0\r\nHost: 127.0.0.1\r\n{head}"));
        assert!(answer.as_ref().is_some_and(|answer| answer.starts_with("HTTP/1.0 200")), "{answer:?}");
    }

    fn ask(&self, path: &str) -> Option<String> {
        self.send(&format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nAuthorization: Basic {LOGIN_IN_BASE64}\r\n\r\n"))
    }

    fn send(&self, request: &str) -> Option<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// The alerts about a token that fire.
    pub fn about(&self, token: &str) -> Vec<Value> {
        self.alerts().into_iter().filter(|alert| alert["labels"]["token"] == token).collect()
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        if let Some(mut child) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

const LOGIN_IN_BASE64: &str = "d2F0Y2hlcjpiYXJyYWN1ZGE=";
/// The bcrypt of [`LOGIN`]'s password.
const GUARD: &str = "basic_auth_users: {watcher: '$2b$04$tokenwatchtokenwatcheuC.kYMU8xptMeinMtjeg0Ip0UyO8lp8.'}\n";
