//! `demo`: the real daemon in a simulated world, a day per second, told as a story.
//!
//! The provider, the mailbox and the clock are simulated; everything between them is the daemon as it runs in production: HTTP, the state
//! file, SMTP, metrics and pages. Nothing outside a temporary folder is touched.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::doctor::as_text;
use super::{Exit, io};
use crate::clock::{Lens, System};
use crate::daemon::wiring::Wiring;
use crate::daemon::{Daemon, Doors, bind_control, control_path};
use crate::doctor::{Commands, Doctor, Wishes};
use crate::domain::alert::Subject;
use crate::domain::answer::{Answer, Signed};
use crate::domain::time::{Span, Timestamp};
use crate::domain::token::TokenId;
use crate::ports::{Clock, Store};
use crate::reader::Reader;
use crate::renewal::keyring::{KEY_FILE, Keyring};
use crate::requests::Requests;
use crate::settings;
use crate::settings::source::Sources;
use crate::sim::{
    App, AppEvent, Event, Fault, FaultKind, Health, Lifetime, Mailbox, Match, PhoneNumber, Received, Reexchange, Sim,
    User, Waba, World,
};
use crate::store::Sqlite;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Keep running after the story, which ends today, at the pace of the wall clock until interrupted.
    #[arg(long)]
    forever: bool,
    /// Simulated days per second.
    #[arg(long, value_name = "DAYS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=60))]
    speed: u32,
    /// Where the mails and the state are kept: a new folder, or an empty one [default: one for temporary files].
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// Runs the command.
pub async fn run(arguments: &Arguments) -> Exit {
    let folder = match folder(arguments) {
        Ok(folder) => folder,
        Err(why) => return super::fail(Exit::Usage, why),
    };
    match stage(arguments, &folder).await {
        Ok(()) => Exit::Fine,
        Err(error) => super::fail(Exit::Internal, format_args!("the demo broke off: {error:#}")),
    }
}

/// A folder with nothing in it: what somebody keeps there is not written over, and each story begins at its beginning.
fn folder(arguments: &Arguments) -> Result<PathBuf, String> {
    let folder = match &arguments.folder {
        Some(folder) => std::path::absolute(folder).map_err(|error| format!("--folder: {error}"))?,
        None => std::env::temp_dir().join(format!("tokenwatch-demo-{}", std::process::id())),
    };
    let cannot = |error: std::io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(&folder).map_err(cannot)?;
    if fs::read_dir(&folder).map_err(cannot)?.next().is_some() {
        return Err(format!("{} is not empty; name a new folder, and the demo makes it", folder.display()));
    }
    Ok(folder)
}

async fn stage(arguments: &Arguments, folder: &Path) -> anyhow::Result<()> {
    fs::create_dir(folder.join("mails"))?;
    // The story ends today, so that dates are right for whoever stays to look around, browsers and Prometheus included.
    let (today, lasts) = (System.now(), Span::hours(SCENES[SCENES.len() - 1].hour + 24));
    let lens = Lens::catching_up(today.minus(lasts), today, DAY.saturating_mul(arguments.speed));
    let clock: Arc<dyn Clock> = Arc::new(lens);
    let mut backstage = JoinSet::new();

    let api = TcpListener::bind("127.0.0.1:0").await?;
    let api_address = api.local_addr()?;
    let seen_by_world = Arc::clone(&clock);
    let sim = Sim::new(World::new(), Arc::new(move || seen_by_world.now().unix()));
    backstage.spawn(sim.clone().serve(api));

    let relay = TcpListener::bind("127.0.0.1:0").await?;
    let relay_address = relay.local_addr()?;
    let (mailbox, mut arrivals) = Mailbox::new();
    backstage.spawn(mailbox.clone().serve(relay));

    let site = TcpListener::bind("127.0.0.1:0").await?;
    let site_address = site.local_addr()?;
    let works = Arc::new(AtomicBool::new(true));
    backstage.spawn(website(site, Arc::clone(&works)));

    let env = folder.join("config.env");
    let state = folder.join("tokenwatch.db");
    set(&sim, &env, clock.now().unix())?;
    let text = configuration(&env, &state, &Neighbours { api: api_address, relay: relay_address, site: site_address });
    fs::write(folder.join("tokenwatch.toml"), &text)?;
    let loaded = settings::from_text(&text, "demo", &[])?;
    let wiring = Wiring::new(loaded.settings, &Reader::new(Sources::default()), &clock)?;
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(&state)?);
    let listener = match TcpListener::bind("127.0.0.1:9847").await {
        Ok(listener) => listener,
        Err(_) => TcpListener::bind("127.0.0.1:0").await?,
    };
    let page = listener.local_addr()?;
    let (stop, now) = (CancellationToken::new(), CancellationToken::new());
    let daemon = Daemon::new(Arc::clone(&clock), store, wiring, Keyring::new(None, state.with_file_name(KEY_FILE)));
    let (start, requests) = (clock.now(), daemon.requests());
    let stage = Stage { sim, clock, start, folder: folder.to_owned(), env, works, requests };
    let doors =
        Doors { listener: Some(listener), probes: None, control: Some(bind_control(&control_path(None, &state))?) };
    let mut running = JoinSet::new();
    running.spawn(daemon.run(doors, stop.clone(), now));

    let program = std::env::current_exe().map_or_else(|_| "tokenwatch".to_owned(), |path| path.display().to_string());
    let days = 1_f64 / f64::from(arguments.speed);
    tell(&format!(
        "tokenwatch demo: the real daemon, a simulated Graph API, {days:.2} s a day.\n\
         status page  http://{page}/\n\
         metrics      http://{page}/metrics\n\
         mails        {}\n\
         on-call      {program} --config {} status | ack | silence | forecast | test-alert\n",
        folder.join("mails").display(),
        folder.join("tokenwatch.toml").display()
    ));
    let mut count = 0;
    stage.play(&mut arrivals, &mut count, arguments.forever).await?;
    stage.call_the_doctor(&text).await?;
    stop.cancel();
    while running.join_next().await.is_some() {}
    // What the daemon said with its last words.
    while let Ok(mail) = arrivals.try_recv() {
        count += 1;
        stage.read_out(&mail, count)?;
    }
    let days = stage.clock.now().since(stage.start).as_seconds() / Span::days(1).as_seconds();
    let (days, mails) = (io::counted(days.unsigned_abs(), "day"), io::counted(count.into(), "mail"));
    tell(&format!("\nThe end: {days}, {mails}, kept in {}", folder.join("mails").display()));
    tell(&format!("All of it is simulated and has stopped. To look around: {program} demo --forever"));
    Ok(())
}

/// The world and its props.
struct Stage {
    sim: Sim,
    clock: Arc<dyn Clock>,
    start: Timestamp,
    folder: PathBuf,
    env: PathBuf,
    works: Arc<AtomicBool>,
    requests: Requests,
}

/// Something that happens at a time, in hours from the start.
struct Scene {
    hour: i64,
    says: &'static str,
    happens: fn(&Stage) -> std::io::Result<()>,
    /// The token whose open incidents on-call acknowledges.
    acknowledges: Option<&'static str>,
}

impl Scene {
    /// A scene that only tells.
    const fn told(hour: i64, says: &'static str) -> Self {
        Self { hour, says, happens: |_| Ok(()), acknowledges: None }
    }

    /// A scene in which something happens.
    const fn played(hour: i64, says: &'static str, happens: fn(&Stage) -> std::io::Result<()>) -> Self {
        Self { hour, says, happens, acknowledges: None }
    }
}

impl Stage {
    /// Lets the scenes happen, and reads out every mail that arrives.
    async fn play(
        &self,
        arrivals: &mut UnboundedReceiver<Received>,
        count: &mut u32,
        forever: bool,
    ) -> anyhow::Result<()> {
        let mut scenes = SCENES.iter().peekable();
        loop {
            let next = scenes.peek().map(|scene| self.start.plus(Span::hours(scene.hour)));
            let now = self.clock.now();
            let wait = match next {
                Some(at) => at.since(now).max(Span::ZERO),
                None if forever => Span::days(3_650),
                None => return Ok(()),
            };
            tokio::select! {
                biased;
                Some(mail) = arrivals.recv() => {
                    *count += 1;
                    self.read_out(&mail, *count)?;
                }
                _ = tokio::signal::ctrl_c() => return Ok(()),
                () = self.clock.sleep(wait) => {
                    if let Some(scene) = scenes.next() {
                        (scene.happens)(self)?;
                        tell(&format!("{}  {}", self.day(self.clock.now()), scene.says));
                        if let Some(name) = scene.acknowledges {
                            self.acknowledge(name).await?;
                        }
                    }
                }
            }
        }
    }

    fn read_out(&self, mail: &Received, number: u32) -> std::io::Result<()> {
        fs::write(self.folder.join("mails").join(format!("{number:03}.eml")), &mail.text)?;
        let subject = mail.header("Subject").unwrap_or_default();
        tell(&format!("{}      mail to {}: {subject}", self.day(self.clock.now()), mail.recipients.join(", ")));
        Ok(())
    }

    /// Whoever was woken runs `tokenwatch doctor`, while the daemon goes on.
    async fn call_the_doctor(&self, text: &str) -> anyhow::Result<()> {
        let config = self.folder.join("tokenwatch.toml");
        tell(&format!("\n$ tokenwatch --config {} doctor {BROKEN}\n", config.display()));
        let loaded = settings::from_text(text, "demo", &[])?;
        let wiring = Wiring::new(loaded.settings, &Reader::new(Sources::default()), &self.clock)?;
        let id = TokenId::parse(BROKEN).map_err(|fault| anyhow::anyhow!("{fault}"))?;
        let places: Vec<usize> = wiring.index(&id).into_iter().collect();
        let commands = Commands::over(Some(&config));
        let doctor = Doctor::new(&wiring, &*self.clock, commands, Wishes::default(), &|_| {});
        // The demo knows nothing of the environment, so only the terminal decides about colours.
        tell(&as_text(&doctor.walk(&places).await, io::Paint::new(&[])));
        Ok(())
    }

    /// On-call answers, as `tokenwatch ack` does.
    async fn acknowledge(&self, name: &str) -> anyhow::Result<()> {
        let id = TokenId::parse(name).map_err(|fault| anyhow::anyhow!("{fault}"))?;
        let signed = Signed { by: "asha".into(), at: self.clock.now(), why: Some("I am on it".into()) };
        let said = match self.requests.answer(Subject::Token(id), Answer::Acknowledge(signed)).await {
            Ok(ledger) => {
                let open: Vec<&str> = ledger.incidents.iter().map(|incident| incident.reason.as_str()).collect();
                format!("acknowledged by asha: {}", open.join(", "))
            }
            // At a high speed on a slow machine the daemon may not have come so far.
            Err(declined) => format!("not acknowledged: {declined}"),
        };
        tell(&format!("{}      {said}", self.day(self.clock.now())));
        Ok(())
    }

    fn day(&self, now: Timestamp) -> String {
        format!("day {:>2}", now.since(self.start).as_seconds() / 86_400)
    }

    /// What WhatsApp says of the help desk's account from now on.
    fn account_is(&self, health: &Health) {
        self.sim
            .with_world(|world| world.waba_mut(WABA).into_iter().for_each(|account| account.health = health.clone()));
    }

    /// What the application reads.
    fn reads(&self, key: &str) -> std::io::Result<String> {
        let text = fs::read_to_string(&self.env)?;
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        Ok(value.unwrap_or_default().trim_matches('"').to_owned())
    }

    /// Somebody edits the env file by hand.
    fn edit(&self, key: &str, value: &str) -> std::io::Result<()> {
        let text = fs::read_to_string(&self.env)?;
        let lines: Vec<String> = text
            .lines()
            .map(|line| if line.starts_with(&format!("{key}=")) { format!("{key}={value}") } else { line.to_owned() })
            .collect();
        // As editors save: nobody reads half of it.
        let whole = self.env.with_extension("new");
        fs::write(&whole, lines.join("\n") + "\n")?;
        fs::set_permissions(&whole, Permissions::from_mode(0o600))?;
        fs::rename(whole, &self.env)
    }
}

/// Day 0: an app, five tokens, an env file.
fn set(sim: &Sim, env: &Path, now: i64) -> std::io::Result<()> {
    let tokens = sim.with_world(|world| {
        world.add_app(App::new(APP, "Help desk", SECRET));
        for (user, name) in [(MACHINE, "helpdesk machine"), (PERSON, "Asha"), (ETERNAL, "status machine")] {
            world.add_user(User::new(APP, user, name));
        }
        let mut account = Waba::new(WABA, "Help desk", BUSINESS, &[MACHINE]);
        account.subscribed_apps.insert(APP.to_owned());
        world.add_waba(account);
        world.add_phone_number(PhoneNumber::new(WABA, NUMBER, "+1 650-253-0000", "Help desk"));
        // A person's login is not extended by another exchange, as some have seen.
        world.switches.reexchange = Reexchange::Unchanged;
        [
            ("WHATSAPP_ACCESS_TOKEN", world.issue_system_user(MACHINE, SCOPES, Lifetime::SixtyDays, now)),
            ("REPORTS_TOKEN", world.issue_long_user(PERSON, &["pages_show_list"], now)),
            ("STATUS_TOKEN", world.issue_system_user(ETERNAL, SCOPES, Lifetime::Never, now)),
            ("SHOP_TOKEN", world.issue_system_user(MACHINE, SCOPES, Lifetime::SixtyDays, now - 24 * i64::from(DAY))),
            ("SITE_TOKEN", world.issue_system_user(MACHINE, SCOPES, Lifetime::SixtyDays, now - 4 * i64::from(DAY))),
        ]
    });
    let lines: String = tokens.iter().map(|(key, token)| format!("{key}=\"{token}\"\n")).collect();
    fs::write(env, format!("# what the help desk reads\nMETA_APP_SECRET={SECRET}\n{lines}"))?;
    fs::set_permissions(env, Permissions::from_mode(0o600))
}

/// The application that uses the site's token. Its health says whether it works with what it reads.
async fn website(listener: TcpListener, works: Arc<AtomicBool>) {
    let health = move || async move {
        if works.load(Ordering::Relaxed) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
    };
    // It ends with the demo.
    let _ = axum::serve(listener, Router::new().route("/health", get(health))).await;
}

/// A reader that went away early does not end the demo.
fn tell(line: &str) {
    let _ = io::print(&format!("{line}\n"));
}

const SCENES: [Scene; 19] = [
    Scene::told(
        1,
        "five tokens are watched: one never ends, one is a person's login, and shop and website may be renewed by tokenwatch itself",
    ),
    Scene::played(12 * 24, "Asha changes her password; her token dies 48 days early", |stage| {
        stage.sim.with_world(|world| world.user_event(PERSON, Event::PasswordChanged, stage.clock.now().unix()));
        Ok(())
    }),
    Scene {
        acknowledges: Some("reports"),
        ..Scene::told(
            12 * 24 + 6,
            "on-call answers: `tokenwatch ack reports`. It is not repeated any more; what gets worse would be",
        )
    },
    Scene::played(
        14 * 24,
        "somebody follows the steps of the mail and pastes a new token into the env file",
        |stage| {
            let now = stage.clock.now().unix();
            let token = stage.sim.with_world(|world| world.issue_long_user(PERSON, &["pages_show_list"], now));
            stage.edit("REPORTS_TOKEN", &token)
        },
    ),
    Scene::told(
        15 * 24,
        "shop ends in three weeks, and 20 days before it is renewed: exchanged, proved, published, confirmed",
    ),
    Scene::told(17 * 24, "shop has a new token, in the same place of the env file; every other byte is as it was"),
    Scene::played(
        20 * 24,
        "a payment fails, so WhatsApp sends nothing for helpdesk-whatsapp any more; its token is fine",
        |stage| {
            stage.account_is(&Health::blocked(
                141_006,
                "There is an error with the payment method.",
                "Add a valid payment method.",
            ));
            Ok(())
        },
    ),
    Scene::played(21 * 24, "it is paid", |stage| {
        stage.account_is(&Health::available());
        Ok(())
    }),
    Scene::played(
        25 * 24,
        "Meta has an outage: every call answers 503. Known deadlines stay; after six hours we are blind, and say so",
        |stage| {
            stage.sim.with_world(|world| world.faults.add(Fault::always(Match::Any, FaultKind::Html503)));
            Ok(())
        },
    ),
    Scene::played(25 * 24 + 18, "the outage is over", |stage| {
        stage.sim.with_world(|world| world.faults.clear());
        Ok(())
    }),
    Scene::played(
        32 * 24,
        "Meta blocks the app until an admin verifies it: one fault, five tokens, one mail",
        |stage| {
            stage.sim.with_world(|world| world.app_event(APP, AppEvent::Blocked, stage.clock.now().unix()));
            Ok(())
        },
    ),
    Scene::played(33 * 24, "the admin has verified it", |stage| {
        stage.sim.with_world(|world| world.app_event(APP, AppEvent::Unblocked, stage.clock.now().unix()));
        Ok(())
    }),
    Scene::played(
        34 * 24 + 1,
        "a bad release: the website does not answer any more. Its token is renewed all the same, and rolled back",
        |stage| {
            stage.works.store(false, Ordering::Relaxed);
            Ok(())
        },
    ),
    Scene::played(37 * 24, "the website works again; the token that was taken back is tried once more", |stage| {
        stage.works.store(true, Ordering::Relaxed);
        Ok(())
    }),
    Scene::told(
        38 * 24,
        "from here on the ladder: 21, 14, 7, 3 and 1 days before the end of helpdesk-whatsapp, and nobody acts",
    ),
    Scene::told(
        53 * 24,
        "reports is a person's login: Meta answers its renewal with success, and its end does not move",
    ),
    Scene::played(61 * 24, "now that it is dead, somebody fetches a new token", |stage| {
        let now = stage.clock.now().unix();
        let token = stage.sim.with_world(|world| world.issue_system_user(MACHINE, SCOPES, Lifetime::SixtyDays, now));
        stage.edit("WHATSAPP_ACCESS_TOKEN", &token)
    }),
    Scene::told(62 * 24 + 12, "all is well again"),
    Scene::played(62 * 24 + 14, "until somebody withdraws the new token; whoever is woken calls the doctor", |stage| {
        let token = stage.reads("WHATSAPP_ACCESS_TOKEN")?;
        stage.sim.with_world(|world| world.revoke(&token, stage.clock.now().unix()));
        Ok(())
    }),
];

/// Where the others live.
struct Neighbours {
    api: SocketAddr,
    relay: SocketAddr,
    site: SocketAddr,
}

fn configuration(env: &Path, state: &Path, Neighbours { api, relay, site }: &Neighbours) -> String {
    let env = toml::Value::String(env.display().to_string());
    let token = |name: &str, key: &str, scopes: &str| {
        format!(
            "[[tokens]]\nname = \"{name}\"\napp = \"helpdesk\"\nsecret = {{ env_file = {env}, key = \"{key}\" }}\nscopes = [{scopes}]\n\n"
        )
    };
    let mut text = format!(
        "[daemon]\nstate = \"sqlite://{}\"\n\n[schedule]\ncheck = \"1h\"\n\n[smtp]\nfrom = \"tokenwatch@example.com\"\nrelays = [{{ url = \"smtp://{relay}?tls=none\" }}]\n\n\
         [receivers.default]\nemail = [\"oncall@example.com\"]\nescalate = {{ from = \"critical\", email = [\"lead@example.com\"] }}\n\n\
         [provider.meta]\nbase_url = \"http://{api}\"\n\n\
         [apps.helpdesk]\nid = \"{APP}\"\nsecret = {{ env_file = {env}, key = \"META_APP_SECRET\" }}\n\n",
        state.display()
    );
    text.push_str(&token("helpdesk-whatsapp", "WHATSAPP_ACCESS_TOKEN", "\"whatsapp_business_messaging\""));
    text.push_str(&format!("[tokens.whatsapp]\nphone_number_id = \"{NUMBER}\"\nbusiness_account_id = \"{WABA}\"\n\n"));
    text.push_str(&token("status-page", "STATUS_TOKEN", ""));
    let confirm = format!("confirm = {{ http = \"http://{site}/health\", within = \"1s\" }}\n");
    for (name, key, confirm) in
        [("reports", "REPORTS_TOKEN", ""), ("shop", "SHOP_TOKEN", &confirm), ("website", "SITE_TOKEN", &confirm)]
    {
        text.push_str(&token(name, key, ""));
        text.push_str(&format!("[tokens.renew]\nbefore = \"20d\"\n{confirm}\n"));
    }
    text
}

const DAY: u32 = 86_400;
const APP: &str = "634900000000001";
const MACHINE: &str = "104160000000001";
const PERSON: &str = "104160000000002";
const ETERNAL: &str = "104160000000003";
const WABA: &str = "102290000000001";
const BUSINESS: &str = "2729063490586005";
const NUMBER: &str = "521803094347148";
/// The token that the doctor is called for.
const BROKEN: &str = "helpdesk-whatsapp";
const SCOPES: &[&str] = &["whatsapp_business_messaging", "whatsapp_business_management"];
/// Not a secret: it exists in the simulated world only.
const SECRET: &str = "0123456789abcdef0123456789abcdef";
