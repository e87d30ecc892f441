//! The whole daemon in one process: real HTTP to the simulator, a real state file, real SMTP to a mailbox, and a clock tied to tokio's own.
//!
//! Under `#[tokio::test(start_paused = true)]` two months pass in about a second. Time is never read from the machine.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::TempDir;
use tokenwatch::board::Board;
use tokenwatch::clock::Lens;
use tokenwatch::daemon::wiring::Wiring;
use tokenwatch::daemon::{Daemon, Doors, Reloader};
use tokenwatch::domain::alert::Subject;
use tokenwatch::domain::time::{Span, Timestamp};
use tokenwatch::ports::{Clock, SlotStatus, Store, StoreError};
use tokenwatch::reader::Reader;
use tokenwatch::renewal::keyring::{KEY_FILE, Keyring};
use tokenwatch::requests::Requests;
use tokenwatch::settings;
use tokenwatch::settings::source::Sources;
use tokenwatch::sim::{App, Mailbox, Received, Sim, World};
use tokenwatch::store::Sqlite;
use tokenwatch::web::gate::Policy;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// When every simulated story begins: 2026-01-01T00:00:00Z.
pub const START: i64 = 1_767_225_600;
/// The app of most stories.
pub const APP: &str = "634900000000001";
/// Its secret; exists in the simulated world only.
pub const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A file system may take a minute over what a kill left undone.
const MOMENT: std::time::Duration = std::time::Duration::from_millis(2);
const MOMENTS: u32 = 30_000;

/// The world around one daemon, and the daemon itself while it runs.
pub struct House {
    /// The provider.
    pub sim: Sim,
    /// Where mail arrives.
    pub mailbox: Mailbox,
    /// The time.
    pub clock: Arc<Lens>,
    /// Everything on disk.
    pub folder: TempDir,
    post: Arc<Mutex<Vec<(Timestamp, Received)>>>,
    api: std::net::SocketAddr,
    relay: std::net::SocketAddr,
    _backstage: JoinSet<()>,
    running: Option<Running>,
}

struct Running {
    board: Arc<Board>,
    reloader: Reloader,
    requests: Requests,
    store: Arc<dyn Store>,
    page: std::net::SocketAddr,
    stop: CancellationToken,
    now: CancellationToken,
    task: JoinSet<Result<(), tokenwatch::daemon::Fatal>>,
}

impl House {
    /// A world with one app, [`APP`], and nobody in it.
    pub async fn new() -> Self {
        let clock = Arc::new(Lens::new(Timestamp::from_unix(START), 1));
        let mut backstage = JoinSet::new();
        let api = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let relay = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (api_address, relay_address) = (api.local_addr().expect("bound"), relay.local_addr().expect("bound"));
        let seen = Arc::clone(&clock);
        let sim = Sim::new(World::new(), Arc::new(move || seen.now().unix()));
        sim.with_world(|world| world.add_app(App::new(APP, "Help desk", SECRET)));
        backstage.spawn(sim.clone().serve(api));
        let (mailbox, mut arrivals) = Mailbox::new();
        backstage.spawn(mailbox.clone().serve(relay));
        let post: Arc<Mutex<Vec<(Timestamp, Received)>>> = Arc::default();
        let (diary, seen) = (Arc::clone(&post), Arc::clone(&clock));
        backstage.spawn(async move {
            while let Some(mail) = arrivals.recv().await {
                diary.lock().unwrap_or_else(PoisonError::into_inner).push((seen.now(), mail));
            }
        });
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self {
            sim,
            mailbox,
            clock,
            folder,
            post,
            api: api_address,
            relay: relay_address,
            _backstage: backstage,
            running: None,
        }
    }

    /// Writes the env file that the tokens are read from; the app's secret is always in it.
    pub fn write_env(&self, lines: &[(&str, &str)]) {
        let mut text = format!("META_APP_SECRET={SECRET}\n");
        for (key, value) in lines {
            text.push_str(&format!("{key}={value}\n"));
        }
        std::fs::write(self.env(), text).expect("the env file is written");
    }

    /// The env file.
    pub fn env(&self) -> PathBuf {
        self.folder.path().join("config.env")
    }

    /// The state file.
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("tokenwatch.db")
    }

    /// Everything a configuration needs but its tokens; `tokens` is appended. Receiver `default` is `oncall@example.com`.
    pub fn config(&self, tokens: &str) -> String {
        let env = quoted(&self.env());
        format!(
            "[provider.meta]\nbase_url = \"http://{}\"\n\
             [smtp]\nfrom = \"tokenwatch@example.com\"\nrelays = [{{ url = \"smtp://{}?tls=none\" }}]\n\
             [receivers.default]\nemail = [\"oncall@example.com\"]\n\
             [apps.helpdesk]\nid = \"{APP}\"\nsecret = {{ env_file = {env}, key = \"META_APP_SECRET\" }}\n\
             {tokens}",
            self.api, self.relay
        )
    }

    /// A `[[tokens]]` entry that reads `key` from the env file.
    pub fn token(&self, name: &str, key: &str) -> String {
        format!(
            "[[tokens]]\nname = {name:?}\napp = \"helpdesk\"\nsecret = {{ env_file = {}, key = {key:?} }}\n",
            quoted(&self.env())
        )
    }

    /// Puts a secret into a slot of its own file.
    pub fn put(&self, name: &str, secret: &str) {
        std::fs::write(self.slot_file(name), secret).expect("the slot is written");
    }

    /// Takes the secret out of a slot.
    pub fn empty(&self, name: &str) {
        std::fs::remove_file(self.slot_file(name)).expect("the slot is emptied");
    }

    /// A `[[tokens]]` entry that reads the slot of that name; more of its keys can follow.
    pub fn slot(&self, name: &str) -> String {
        format!(
            "[[tokens]]\nname = {name:?}\napp = \"helpdesk\"\nsecret = {{ file = {} }}\n",
            quoted(&self.slot_file(name))
        )
    }

    fn slot_file(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.token"))
    }

    /// The keys of all notices that were ever made, from a copy of the state file.
    pub fn notice_keys(&self) -> Vec<String> {
        let copy = tempfile::tempdir().expect("a temporary folder");
        for part in ["", "-wal"] {
            let name = format!("tokenwatch.db{part}");
            // Once the state is closed in order, there is no log.
            let _ = std::fs::copy(self.folder.path().join(&name), copy.path().join(&name));
        }
        let state = rusqlite::Connection::open(copy.path().join("tokenwatch.db")).expect("the copy opens");
        let mut statement = state.prepare("SELECT alert_key FROM outbox ORDER BY id").expect("an outbox");
        let keys = statement.query_map([], |row| row.get(0)).expect("keys");
        keys.map(|key| key.expect("a key")).collect()
    }

    /// Starts the daemon with this configuration.
    pub async fn start(&mut self, config: &str) {
        let wiring = self.wiring(config);
        let store: Arc<dyn Store> = Arc::new(self.open().await);
        let daemon = Daemon::new(
            self.clock.clone(),
            Arc::clone(&store),
            wiring,
            Keyring::new(None, self.state().with_file_name(KEY_FILE)),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let page = listener.local_addr().expect("bound");
        let (stop, now) = (CancellationToken::new(), CancellationToken::new());
        let (board, reloader, requests) = (daemon.board(), daemon.reloader(), daemon.requests());
        let mut task = JoinSet::new();
        task.spawn(daemon.run(Doors { listener: Some(listener), ..Doors::default() }, stop.clone(), now.clone()));
        self.running = Some(Running { board, reloader, requests, store, page, stop, now, task });
    }

    /// After a kill the last statements may still run, as they would not in a process of their own.
    pub async fn open(&self) -> Sqlite {
        for _ in 0..MOMENTS {
            match Sqlite::open(&self.state()) {
                Err(StoreError::InUse(_)) => {
                    // Paused time stands still while a thread is at work.
                    let moment = tokio::task::spawn_blocking(|| std::thread::sleep(MOMENT));
                    moment.await.expect("no panic");
                }
                opened => return opened.expect("the state file opens"),
            }
        }
        unreachable!("the state file stays in use")
    }

    /// Puts another configuration in force, as SIGHUP does.
    pub fn reload(&self, config: &str) {
        self.running().reloader.put_in_force(self.wiring(config), Policy::open());
    }

    /// Stops the daemon in order.
    pub async fn stop(&mut self) {
        let mut running = self.running.take().expect("the daemon runs");
        running.stop.cancel();
        while let Some(ended) = running.task.join_next().await {
            ended.expect("no panic").expect("the daemon ends well");
        }
    }

    /// Ends the daemon without any goodbye, as SIGKILL does.
    pub async fn kill(&mut self) {
        let mut running = self.running.take().expect("the daemon runs");
        running.now.cancel();
        running.task.shutdown().await;
    }

    /// Lets that much time pass.
    pub async fn pass(&self, span: Span) {
        self.clock.sleep(span).await;
    }

    /// What everyone may see.
    pub fn board(&self) -> Arc<Board> {
        Arc::clone(&self.running().board)
    }

    /// The way to the watch loop.
    pub fn requests(&self) -> Requests {
        self.running().requests.clone()
    }

    /// What is known of every token.
    pub async fn statuses(&self) -> Vec<(Subject, SlotStatus)> {
        let store = &self.running().store;
        let subjects = store.subjects().await.expect("the subjects");
        store.load(subjects).await.expect("the statuses")
    }

    /// Where the listener is.
    pub fn page(&self) -> std::net::SocketAddr {
        self.running().page
    }

    /// Reads a page of the listener.
    pub async fn get(&self, path: &str) -> (u16, String) {
        let reply = fetch(self.page(), path).await;
        (reply.status().as_u16(), reply.text().await.expect("a body"))
    }

    /// Every mail so far.
    pub fn mails(&self) -> Vec<Received> {
        self.mailbox.mails()
    }

    /// The subjects of every mail so far, without their prefix.
    pub fn subjects(&self) -> Vec<String> {
        let subject = |mail: &Received| mail.header("Subject").unwrap_or_default();
        self.mails().iter().map(subject).map(|text| text.replace("[tokenwatch] ", "")).collect()
    }

    /// Every mail so far, with the second in which it arrived.
    pub fn post(&self) -> Vec<(Timestamp, Received)> {
        self.post.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Every mail so far as day of the story, counted from 0, and subject.
    pub fn diary(&self) -> Vec<(i64, String)> {
        let day = |at: Timestamp| (at.unix() - START).div_euclid(86_400);
        let days = self.post().into_iter().map(|(at, _)| day(at)).collect::<Vec<_>>();
        days.into_iter().zip(self.subjects()).collect()
    }

    /// The relay's address.
    pub const fn relay(&self) -> std::net::SocketAddr {
        self.relay
    }

    fn wiring(&self, config: &str) -> Wiring {
        // Summaries come only into stories that ask for them.
        let none = ("TOKENWATCH__SCHEDULE__DIGEST".to_owned(), String::new());
        let environment = if config.contains("digest = ") { Vec::new() } else { vec![none] };
        let loaded =
            settings::from_text(config, "test", &environment).unwrap_or_else(|faults| unreachable!("{faults}"));
        let clock: Arc<dyn Clock> = self.clock.clone();
        Wiring::new(loaded.settings, &Reader::new(Sources::default()), &clock).expect("the wiring holds")
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("the daemon runs")
    }
}

/// A path as TOML writes it.
fn quoted(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}

/// Asks a listener for a page.
pub async fn fetch(address: std::net::SocketAddr, path: &str) -> reqwest::Response {
    let client = reqwest::Client::builder().no_proxy().tls_backend_preconfigured(no_tls()).build().expect("a client");
    client.get(format!("http://{address}{path}")).send().await.expect("an answer")
}

fn no_tls() -> rustls::ClientConfig {
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports the default versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}
