//! A real PostgreSQL server: on a port of its own, with passwords, with TLS for who asks for it, and a socket in its folder.
//!
//! Where it is missing the test fails and says what to do; it is never skipped.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::exim::{Owner, certify};
use super::process::{PATIENCE, free_port, wait_for, wait_until};

/// Who may do everything, and by which password.
pub const LOGIN: (&str, &str) = ("boss", "open-sesame-1001");

/// A server.
pub struct Postgres {
    /// Where it listens, on 127.0.0.1 and 127.0.0.2. Its certificate knows only the first.
    pub port: u16,
    folder: TempDir,
    running: Child,
}

impl Postgres {
    /// The one that the tests running now have in common; each has tables of its own in it.
    pub fn shared() -> Arc<Self> {
        static SERVER: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
        let mut server = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
        server.upgrade().unwrap_or_else(|| {
            let started = Arc::new(Self::start());
            *server = Arc::downgrade(&started);
            started
        })
    }

    /// A server that takes logins.
    pub fn start() -> Self {
        let (folder, owner, port) = (tempfile::tempdir().expect("a temporary folder"), Owner::choose(), free_port());
        let path = |name: &str| folder.path().join(name).display().to_string();
        certify(folder.path());
        fs::write(folder.path().join("password"), LOGIN.1).expect("a file is written");
        owner.give(folder.path(), 0o755);
        let data = path("data");
        let mut init = owner.command(&program("initdb"));
        init.args(["-D", &data, "-U", LOGIN.0, "--pwfile", &path("password"), "-A", "scram-sha-256"]);
        init.args(["--no-sync", "--no-locale", "-E", "UTF8"]).current_dir(folder.path());
        let output = init.output().expect("initdb runs");
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        let log = File::create(folder.path().join("log")).expect("a log file");
        let errors = log.try_clone().expect("a log file");
        let mut command = owner.command(&program("postgres"));
        command.args(["-D", &data, "-p", &port.to_string(), "-k", &folder.path().display().to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1,127.0.0.2",
            "fsync=off",
            "ssl=on",
            &format!("ssl_cert_file={}", path("srv.pem")),
            &format!("ssl_key_file={}", path("srv.key")),
        ] {
            command.args(["-c", setting]);
        }
        let child = command.stdin(Stdio::null()).stdout(log).stderr(errors).current_dir(folder.path()).spawn();
        let mut server = Self { port, folder, running: child.expect("postgres starts") };
        wait_until("PostgreSQL to take logins", PATIENCE, || {
            let ended = server.running.try_wait().expect("a child of ours");
            assert!(ended.is_none(), "PostgreSQL ended at once: {}", server.log());
            server.psql("SELECT 1").output().is_ok_and(|output| output.status.success())
        });
        server
    }

    /// Runs statements as [`LOGIN`] and gives what they answer, by PostgreSQL's own client.
    pub fn sql(&self, statements: &str) -> String {
        let output = self.psql(statements).output().expect("psql runs");
        assert!(output.status.success(), "{statements}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Holds a lock in a session of its own until the child is killed: `statement` has run when this returns.
    pub fn hold(&self, statement: &str) -> Child {
        let text = format!("BEGIN; {statement}; SET application_name = 'holder'; SELECT pg_sleep(600)");
        let child = self.psql(&text).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("psql runs");
        let asked = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'holder'";
        wait_until("the lock", PATIENCE, || self.sql(asked) != "0");
        child
    }

    /// Waits until so many sessions of tokenwatch wait for a lock.
    pub fn wait_blocked(&self, count: usize) {
        let asked =
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tokenwatch' AND wait_event_type = 'Lock'";
        wait_for("a session that waits for a lock", PATIENCE, || (self.sql(asked) == count.to_string()).then_some(()));
    }

    /// Ends it at once, as by a crash.
    pub fn crash(&self) {
        self.signal(Signal::QUIT);
    }

    /// The folder of its socket.
    pub fn socket(&self) -> String {
        self.folder.path().display().to_string()
    }

    /// The authority that signed its certificate.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn psql(&self, statements: &str) -> Command {
        let mut command = Command::new(program("psql"));
        command.env_clear().env("PGPASSWORD", LOGIN.1).env("PGSSLMODE", "disable").stdin(Stdio::null());
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", &self.socket(), "-U", LOGIN.0]);
        command.args(["-p", &self.port.to_string(), "-d", "postgres", "-c", statements]);
        command
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.running.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("a process of ours");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // The processes that it started end with it, but not by SIGKILL.
        if self.running.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.signal(Signal::QUIT);
        }
        let _ = self.running.wait();
    }
}

/// A program of the newest PostgreSQL on the machine, or a clear word about where it comes from.
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(Result::ok);
    let mut found: Vec<PathBuf> =
        versions.map(|entry| entry.path().join("bin").join(name)).filter(|path| path.exists()).collect();
    found.sort();
    assert!(!found.is_empty(), "PostgreSQL is not installed; run tests/tools.sh, which installs it");
    found.pop().expect("it was found")
}
