//! A real OpenBao server, unsealed and in memory: one port with TLS, one without, and a key-value engine of version 2 at `secret`.
//!
//! Where it is missing the test fails and says what to do; it is never skipped.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::exim::Owner;
use super::process::{PATIENCE, free_port, wait_until};

/// The token that may do everything.
pub const ROOT: &str = "root-of-all-2718";

/// A server.
pub struct OpenBao {
    /// Where it listens with TLS.
    pub port: u16,
    /// Where it listens without.
    pub plain: u16,
    folder: TempDir,
    running: Child,
}

impl OpenBao {
    /// The one that the tests running now have in common; each has paths of its own in it.
    pub fn shared() -> Arc<Self> {
        static SERVER: Mutex<Weak<OpenBao>> = Mutex::new(Weak::new());
        let mut server = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
        server.upgrade().unwrap_or_else(|| {
            let started = Arc::new(Self::start());
            *server = Arc::downgrade(&started);
            started
        })
    }

    /// A server that answers.
    pub fn start() -> Self {
        let (folder, owner) = (tempfile::tempdir().expect("a temporary folder"), Owner::choose());
        let (port, plain) = (two_ports(), two_ports());
        let bao = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/openbao/bao");
        assert!(bao.exists(), "OpenBao is not installed; run tests/tools.sh, which installs it");
        let listener = format!("listener \"tcp\" {{\n address = \"127.0.0.1:{plain}\"\n tls_disable = true\n}}\n");
        fs::write(folder.path().join("bao.hcl"), listener).expect("a file is written");
        fs::create_dir(folder.path().join("tls")).expect("a folder");
        owner.give(folder.path(), 0o755);
        let log = File::create(folder.path().join("log")).expect("a log file");
        let errors = log.try_clone().expect("a log file");
        let mut command = owner.command(&reachable(&bao, folder.path()));
        command.args(["server", "-dev", "-dev-tls", "-dev-tls-cert-dir=tls", "-dev-no-store-token", "-config=bao.hcl"]);
        command.arg(format!("-dev-root-token-id={ROOT}")).arg(format!("-dev-listen-address=127.0.0.1:{port}"));
        command.env_clear().env("HOME", folder.path()).current_dir(folder.path()).stdin(Stdio::null());
        let child = command.stdout(log).stderr(errors).spawn().expect("OpenBao starts");
        let mut server = Self { port, plain, folder, running: child };
        wait_until("OpenBao to answer", PATIENCE, || {
            let ended = server.running.try_wait().expect("a child of ours");
            let log = || fs::read_to_string(server.folder.path().join("log")).unwrap_or_default();
            assert!(ended.is_none(), "OpenBao ended at once: {}", log());
            let engine = server.try_ask("GET", "sys/mounts/secret/tune", &[("X-Vault-Token", ROOT)], &Value::Null);
            engine.is_some_and(|(status, answer)| status == 200 && answer["data"]["options"]["version"] == "2")
        });
        server
    }

    /// The authority that signed its certificate.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("tls/vault-ca.pem")
    }

    /// Asks as [`ROOT`], and gives what is answered; it must be a success.
    pub fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.ask_with(method, path, &[("X-Vault-Token", ROOT)], body);
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    /// Asks with these headers.
    pub fn ask_with(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> (u16, Value) {
        self.try_ask(method, path, headers, body).expect("OpenBao answers")
    }

    /// Writes a secret of the engine at `secret`.
    pub fn write(&self, path: &str, fields: &Value) {
        self.ask("POST", &format!("secret/data/{path}"), &json!({ "data": fields }));
    }

    /// The newest version of a secret there, and its number.
    pub fn fields(&self, path: &str) -> (Value, u64) {
        let answer = self.ask("GET", &format!("secret/data/{path}"), &Value::Null);
        (answer["data"]["data"].clone(), answer["data"]["metadata"]["version"].as_u64().expect("a version"))
    }

    fn try_ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Option<(u16, Value)> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.plain)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
        let body = if body.is_null() { String::new() } else { body.to_string() };
        // Version 1.0, because its answers end with the connection.
        let mut request =
            format!("{method} /v1/{path} HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{request}\r\n{body}").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, serde_json::from_str(body).unwrap_or_default()))
    }
}

impl Drop for OpenBao {
    fn drop(&mut self) {
        let _ = self.running.kill();
        let _ = self.running.wait();
    }
}

/// The program by a path that every user may walk: the project may lie in a private folder.
fn reachable(bao: &Path, folder: &Path) -> PathBuf {
    let link = folder.join("bao");
    if fs::hard_link(bao, &link).is_err() {
        fs::copy(bao, &link).expect("the program is copied");
    }
    link
}

/// A port with the one above it, which the server takes for its cluster.
fn two_ports() -> u16 {
    let mut port = free_port();
    loop {
        let next = free_port();
        if next == port + 1 {
            return port;
        }
        port = next;
    }
}
