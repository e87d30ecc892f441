//! The real program as a process: from exec to the first verdict, what it costs while nothing happens, and how much memory it keeps.
//!
//! The provider is a process of its own. Figures of the program come from `/proc`, so they hold nothing of the bench.

#[expect(dead_code, reason = "each bench uses a part of what they share")]
mod common;

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use common::provider::{Provider, serve_if_asked};
use common::{Stopwatch, aim, kib, least, median, number, plain, title};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tokenwatch");
const STARTS: usize = 20;
/// How long idleness is watched.
const IDLE: Duration = Duration::from_secs(20);
/// Threads that did blocking work leave after ten idle seconds.
const SETTLING: Duration = Duration::from_secs(20);
const SEVERAL_MINUTES: f64 = 300.0;

fn main() {
    serve_if_asked();
    let provider = Provider::start(Duration::ZERO);
    verdicts(&provider);
    idleness(&provider);
    memory(&provider, 100_000, 60.0);
}

/// `check` of ten tokens, from exec to exit: the last thing it does is to print the verdicts.
fn verdicts(provider: &Provider) {
    title("exec to first verdict, ten tokens", "wall time of `check` against a provider without delay, 20 runs");
    let config = provider.folder().join("check.toml");
    std::fs::write(&config, provider.config(10)).expect("a configuration");
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let watch = Stopwatch::start();
        let status = program(&config).args(["check", "--json"]).stdout(Stdio::null()).status().expect("it runs");
        times.push(watch.wall() * 1e3);
        assert!(status.success(), "every token is healthy");
    }
    aim("the least", least(&times), 12.0, "ms");
    aim("the median", median(times), 12.0, "ms");
}

/// Three daemons side by side: with a period, with a cron expression, and under a service manager that wants a status.
fn idleness(provider: &Provider) {
    title(
        "idle, ten tokens",
        "processor time and wake-ups of all threads over 20 s, after the first pass and 20 s of settling",
    );
    let socket = provider.folder().join("notify");
    let listener = std::os::unix::net::UnixDatagram::bind(&socket).expect("a socket");
    let period = Daemon::start(provider, 10, "period", "", None);
    let cron = Daemon::start(provider, 10, "cron", "[schedule]\ncheck = \"0 0 9 * * Mon\"\n", None);
    let managed = Daemon::start(provider, 10, "managed", "", Some(&socket));
    let daemons = [
        ("checks by a period", &period),
        ("checks by a cron expression", &cron),
        ("a period, under a service manager", &managed),
    ];
    sleep(SETTLING);
    let before = daemons.map(|(_, daemon)| daemon.work());
    sleep(IDLE);
    for ((name, daemon), before) in daemons.into_iter().zip(before) {
        let work = between(&before, &daemon.work());
        let seconds = IDLE.as_secs_f64();
        aim(name, work.nanoseconds / 1e3 / seconds, 100.0, "µs/s");
        plain("  wake-ups a second", format!("{:.2}", work.wakes / seconds));
    }
    drop(listener);
    title("resident memory, ten tokens", "VmRSS after the first pass, and after a scrape");
    resident(&period, 15.0);
}

fn memory(provider: &Provider, tokens: usize, limit: f64) {
    title(
        &format!("resident memory, {tokens} tokens"),
        "VmRSS after the first pass, and after a scrape of all series; and the most it ever was, which is while the file is read",
    );
    let daemon = Daemon::start(provider, tokens, "many", "", None);
    resident(&daemon, limit);
    plain("the most it was", format!("{:.1} MiB", kib(&daemon.id(), "VmHWM") / 1_024.0));
}

fn resident(daemon: &Daemon, limit: f64) {
    aim("after the first pass", kib(&daemon.id(), "VmRSS") / 1_024.0, limit, "MiB");
    let bytes = daemon.read("/metrics").len();
    let what = format!("after a scrape of {:.1} MB", number(bytes) / 1e6);
    aim(&what, kib(&daemon.id(), "VmRSS") / 1_024.0, limit, "MiB");
}

/// A daemon after its first pass.
struct Daemon {
    child: Child,
    page: SocketAddr,
}

/// What each thread of a process did so far.
type Work = HashMap<OsString, Thread>;

#[derive(Clone, Copy, Default)]
struct Thread {
    nanoseconds: f64,
    wakes: f64,
}

impl Daemon {
    fn start(provider: &Provider, tokens: usize, name: &str, more: &str, notify: Option<&Path>) -> Self {
        let folder = provider.folder().join(name);
        std::fs::create_dir(&folder).expect("a folder");
        let page = free_address();
        let state = folder.join("state.db");
        let config = folder.join("tokenwatch.toml");
        let head = format!(
            "[daemon]\nlisten = \"{page}\"\nstate = \"sqlite://{}\"\nconcurrency = 500\n{more}",
            state.display()
        );
        std::fs::write(&config, head + &provider.config(tokens)).expect("a configuration");
        let mut command = program(&config);
        if let Some(socket) = notify {
            command.env("NOTIFY_SOCKET", socket);
        }
        let child = command.arg("run").stderr(Stdio::null()).stdout(Stdio::null()).spawn().expect("it runs");
        let daemon = Self { child, page };
        let watch = Stopwatch::start();
        while !daemon.read("/readyz").starts_with("HTTP/1.1 200") {
            assert!(watch.wall() < SEVERAL_MINUTES, "the first pass ends");
            sleep(Duration::from_millis(100));
        }
        daemon
    }

    fn id(&self) -> String {
        self.child.id().to_string()
    }

    /// The whole answer, or nothing while nobody answers.
    fn read(&self, path: &str) -> String {
        let mut text = String::new();
        if let Ok(mut stream) = TcpStream::connect(self.page) {
            let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n");
            let asked = stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_string(&mut text));
            drop(asked);
        }
        text
    }

    /// Time on a processor, and how often each thread gave it up of its own will.
    fn work(&self) -> Work {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("the daemon lives");
        let thread = |task: std::fs::DirEntry| {
            let schedule = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            let nanoseconds = schedule.split_whitespace().next()?.parse().ok()?;
            let path = format!("{}/task/{}", self.child.id(), task.file_name().to_string_lossy());
            Some((task.file_name(), Thread { nanoseconds, wakes: kib(&path, "voluntary_ctxt_switches") }))
        };
        tasks.filter_map(Result::ok).filter_map(thread).collect()
    }
}

/// What happened in between, in the threads that are there at the end; one that left had nothing to do.
fn between(before: &Work, after: &Work) -> Thread {
    after.iter().fold(Thread::default(), |sum, (id, now)| {
        let then = before.get(id).copied().unwrap_or_default();
        Thread {
            nanoseconds: sum.nanoseconds + now.nanoseconds - then.nanoseconds,
            wakes: sum.wakes + now.wakes - then.wakes,
        }
    })
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program with this configuration and an empty environment.
fn program(config: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.env_clear().arg("--config").arg(config);
    command
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port")
}
