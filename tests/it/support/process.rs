//! The real binary as a real process: its own folder, a simulated provider on real time, an environment that holds what the test set and
//! nothing else, and patience that polls.
//!
//! Nothing here sleeps in the hope that something has happened by then: every wait has a question and an end.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokenwatch::clock::System;
use tokenwatch::ports::Clock as _;
use tokenwatch::sim::{App, Sim, User, World};
use tokio::net::TcpSocket;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::house::{APP, SECRET};

/// Long enough for a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Whom the tokens of most stories belong to.
pub const ADA: &str = "10001";
/// The binary under test.
pub const TOKENWATCH: &str = env!("CARGO_BIN_EXE_tokenwatch");

/// Unix seconds, as the daemon sees them.
pub fn unix_now() -> i64 {
    System.now().unix()
}

/// Asks until there is an answer.
pub fn wait_for<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "waited {} s in vain for {what}", limit.as_secs());
        thread::sleep(Duration::from_millis(20));
    }
}

/// The same for a yes or no.
pub fn wait_until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    wait_for(what, limit, || holds().then_some(()));
}

/// An address that refuses every connection, for as long as the socket is kept: bound, so that nobody else gets it, and listening to nobody.
pub fn refusing() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
    let address = socket.local_addr().expect("bound");
    (socket, address)
}

/// A port that nothing listens on. Ports below the range from which systems give out their own are used, each once, so that nobody
/// takes it between this moment and the one at which it is bound.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 400).unwrap_or_default() * 25;
    let mut ports = (0..PORTS).map(|_| LOWEST_PORT + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % PORTS);
    ports.find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()).expect("a port that nobody listens on")
}

/// Writes a program that anybody may run. Another process writes it: whatever is started by a test meanwhile would inherit the open file, and
/// what is open for writing cannot be run.
pub fn write_program(path: &Path, text: &str) {
    let mut copy =
        Command::new("/bin/sh").args(["-c", "cat >\"$0\" && chmod 755 \"$0\""]).arg(path).stdin(Stdio::piped()).spawn();
    let copy = copy.as_mut().expect("a shell");
    copy.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it is read");
    assert!(copy.wait().expect("a child").success(), "{} is not written", path.display());
}

/// A path as TOML writes it.
pub fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}

/// The simulated provider, served by a thread with a runtime of its own.
pub struct Backstage {
    /// The provider.
    pub sim: Sim,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Backstage {
    fn new() -> Self {
        Self::on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port"))
    }

    /// The same where a test has bound it.
    pub fn on(listener: TcpListener) -> Self {
        let sim = Sim::new(World::new(), Arc::new(unix_now));
        sim.with_world(|world| {
            world.add_app(App::new(APP, "Help desk", SECRET));
            world.add_user(User::new(APP, ADA, "Ada"));
        });
        let address = listener.local_addr().expect("bound");
        listener.set_nonblocking(true).expect("a socket");
        let (stop, stopped) = oneshot::channel();
        let served = sim.clone();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                tokio::select! {
                    () = served.serve(listener) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { sim, address, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Backstage {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// What one command said.
#[derive(Debug)]
pub struct Said {
    /// Its exit code; −1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// A folder, a provider and a configuration: what a daemon needs around it.
pub struct Stage {
    /// The provider.
    pub backstage: Backstage,
    /// Everything on disk.
    pub folder: TempDir,
    /// Where the daemon listens.
    pub port: u16,
    /// The environment of every process started here.
    pub environment: BTreeMap<String, String>,
}

impl Stage {
    /// A stage with the app [`APP`] and the user [`ADA`].
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(folder.path().join("state")).expect("a folder");
        let environment = [("TOKENWATCH_CONFIG", "tokenwatch.toml"), ("HOME", "home")]
            .map(|(name, file)| (name.to_owned(), folder.path().join(file).display().to_string()));
        Self { backstage: Backstage::new(), port: free_port(), environment: environment.into(), folder }
    }

    /// The provider.
    pub fn sim(&self) -> &Sim {
        &self.backstage.sim
    }

    /// A place in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file so that nobody ever reads half of it.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let (path, draft) = (self.path(name), self.path(&format!("{name}.draft")));
        fs::write(&draft, text).and_then(|()| fs::rename(&draft, &path)).expect("a file is written");
        path
    }

    /// Writes `config.env`; the app's secret is always in it.
    pub fn write_env(&self, lines: &[(&str, &str)]) {
        let mut text = format!("META_APP_SECRET={SECRET}\n");
        for (key, value) in lines {
            text.push_str(&format!("{key}={value}\n"));
        }
        self.write("config.env", &text);
    }

    /// A token of Ada's that was issued at `issued` and ends at `ends`, both in seconds from now.
    pub fn issue(&self, issued: i64, ends: i64) -> String {
        let now = unix_now();
        self.sim().with_world(|world| {
            let token = world.issue_long_user(ADA, &[], now + issued);
            world.set_expiry(&token, Some(now + ends));
            token
        })
    }

    /// A token of Ada's with sixty days to live.
    pub fn issue_healthy(&self) -> String {
        self.issue(0, 60 * 86_400)
    }

    /// A configuration with a check each second; `smtp` is the inline table of a relay, or empty for no mail at all.
    pub fn config(&self, relay: &str, rest: &str) -> String {
        let (state, env) = (self.state(), quoted(&self.path("config.env")));
        let mail = if relay.is_empty() {
            "[receivers.default]\n".to_owned()
        } else {
            format!(
                "[smtp]\nfrom = \"tokenwatch@example.com\"\nretry = \"2s\"\ntimeout = \"10s\"\nrelays = [{relay}]\n\
                 [receivers.default]\nemail = [\"oncall@example.com\"]\n"
            )
        };
        format!(
            "[daemon]\nlisten = \"127.0.0.1:{}\"\nstate = \"sqlite://{}\"\ngrace = \"5s\"\n\
             [schedule]\ncheck = \"1s\"\n[policy]\nrepeat = \"0s\"\n\
             [provider.meta]\nbase_url = \"{}\"\n\
             [apps.helpdesk]\nid = \"{APP}\"\nsecret = {{ env_file = {env}, key = \"META_APP_SECRET\" }}\n{mail}{rest}",
            self.port,
            state.display(),
            self.base_url(),
        )
    }

    /// A `[[tokens]]` entry that reads `key` from `config.env`.
    pub fn token(&self, name: &str, key: &str) -> String {
        let env = quoted(&self.path("config.env"));
        format!("[[tokens]]\nname = {name:?}\napp = \"helpdesk\"\nsecret = {{ env_file = {env}, key = {key:?} }}\n")
    }

    /// Writes the configuration.
    pub fn configure(&self, text: &str) {
        self.write("tokenwatch.toml", text);
    }

    /// Where the provider answers.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.backstage.address)
    }

    /// The state file.
    pub fn state(&self) -> PathBuf {
        self.path("state/tokenwatch.db")
    }

    /// What the daemon wrote to standard error, over all its lives.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("stderr")).unwrap_or_default()
    }

    /// Gives this environment, and no other, to a command.
    pub fn dress<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env_clear().envs(&self.environment).current_dir(self.folder.path()).stdin(Stdio::null())
    }

    /// Runs one command to its end.
    pub fn run(&self, arguments: &[&str]) -> Said {
        self.run_with(arguments, "")
    }

    /// The same with text on standard input.
    pub fn run_with(&self, arguments: &[&str], input: &str) -> Said {
        let mut command = Command::new(TOKENWATCH);
        let command = self.dress(command.args(arguments)).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
        // One that does not want it closes the pipe.
        let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
        let output = child.wait_with_output().expect("it ends");
        Said {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Starts the daemon.
    pub fn start(&self) -> Daemon {
        self.start_as(Command::new(TOKENWATCH).arg("run"))
    }

    /// Starts the daemon by a command that ends up being it.
    pub fn start_as(&self, command: &mut Command) -> Daemon {
        let open = |name: &str| -> File {
            OpenOptions::new().create(true).append(true).open(self.path(name)).expect("a log file")
        };
        let child = self.dress(command).stdout(open("stdout")).stderr(open("stderr")).spawn();
        Daemon { child: child.expect("the binary starts"), port: self.port, log: self.path("stderr"), ended: None }
    }

    /// Starts the daemon and waits until it is ready.
    pub fn start_ready(&self) -> Daemon {
        let daemon = self.start();
        daemon.wait_ready();
        daemon
    }
}

/// A running daemon. One that is still running when the test ends is killed.
pub struct Daemon {
    child: Child,
    port: u16,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Daemon {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Reads a page of its listener: status and body; `None` while nobody answers.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        get(self.port, path)
    }

    /// The same with more headers, each with its line's end: the whole answer.
    pub fn get_as(&self, path: &str, headers: &str) -> Option<String> {
        get_with(self.port, path, headers)
    }

    /// Reads a page that must be there.
    pub fn page(&self, path: &str) -> String {
        wait_for(path, PATIENCE, || self.get(path).filter(|(status, _)| *status == 200).map(|(_, body)| body))
    }

    /// The value of a series, written as in the exposition.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let (_, text) = self.get("/metrics")?;
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        line.trim().parse().ok()
    }

    /// Waits until the first pass is done and the state is writable.
    pub fn wait_ready(&self) {
        wait_until("readiness", PATIENCE, || self.get("/readyz").is_some_and(|(status, _)| status == 200));
    }

    /// Waits for a verdict on a token.
    pub fn wait_verdict(&self, token: &str, verdict: &str) {
        let series = format!("tokenwatch_token_verdict{{token=\"{token}\",verdict=\"{verdict}\"}}");
        wait_until(&series, PATIENCE, || self.metric(&series) == Some(1.0));
    }

    /// SIGKILL: no goodbye. Returns when the process is gone.
    pub fn kill9(mut self) {
        self.child.kill().expect("a process of ours");
        self.ended = Some(self.child.wait().expect("a child of ours"));
    }

    /// SIGTERM.
    pub fn term(&self) {
        self.signal(Signal::TERM);
    }

    /// SIGHUP.
    pub fn hup(&self) {
        self.signal(Signal::HUP);
    }

    /// SIGSTOP: it stands still, and its sockets stay open.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.poll().is_none()
    }

    /// Waits for its end and returns the exit code; −1 when a signal ended it.
    pub fn wait(mut self) -> i32 {
        wait_for("the daemon's end", PATIENCE, || self.poll()).code().unwrap_or(-1)
    }

    /// SIGTERM, and the exit code.
    pub fn stop(self) -> i32 {
        self.term();
        self.wait()
    }

    fn poll(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("a child of ours");
        }
        self.ended
    }

    fn signal(&self, signal: Signal) {
        assert!(self.ended.is_none(), "the daemon has ended");
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("a process of ours");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.ended.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if thread::panicking() {
            let text = fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let tail = lines[lines.len().saturating_sub(40)..].join("\n");
            let _ = writeln!(std::io::stderr(), "--- the daemon's last words\n{tail}\n---");
        }
    }
}

/// One GET over a connection of its own: status and body.
pub fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let answer = get_raw(port, path)?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// The same with its headers.
pub fn get_raw(port: u16, path: &str) -> Option<String> {
    get_with(port, path, "")
}

fn get_with(port: u16, path: &str, headers: &str) -> Option<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    // Version 1.0, because its answers end with the connection.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n{headers}\r\n").as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer).into_owned())
}

/// A program of the machine, or a clear word about where it comes from.
pub fn program(names: &[&str]) -> PathBuf {
    let folders = ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/bin", "/usr/local/sbin"];
    let places = names.iter().flat_map(|name| folders.iter().map(move |folder| Path::new(folder).join(name)));
    let found = places.into_iter().find(|place| place.exists());
    assert!(found.is_some(), "{} is not installed; run tests/tools.sh, which installs it", names.join(" or "));
    found.expect("it was found")
}

/// The lowest of the ports that tests use.
const LOWEST_PORT: u16 = 20_000;
/// How many there are; systems give out their own from 32768 on.
const PORTS: u16 = 12_000;
