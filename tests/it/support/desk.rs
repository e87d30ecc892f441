//! The Meta client and the strict simulator that it asks over real HTTP, with the people and the app whose tokens they speak of.

use std::net::SocketAddr;
use std::sync::Arc;

use tokenwatch::clock::Lens;
use tokenwatch::domain::inspection::Expiry;
use tokenwatch::domain::time::{Span, Timestamp};
use tokenwatch::ports::Clock as _;
use tokenwatch::provider::meta::Meta;
use tokenwatch::secret::Secret;
use tokenwatch::settings;
use tokenwatch::sim::{App, Fault, FaultKind, Match, Page, Sim, User, World};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

/// 2026-03-01T12:34:56Z.
pub const NOW: i64 = 1_772_368_496;
pub const APP: &str = "634900000000001";
pub const SECRET: &str = "0123456789abcdef0123456789abcdef";
pub const OTHER_APP: &str = "634900000000002";
pub const ADA: &str = "10001";
pub const BOB: &str = "10002";
pub const MACHINE: &str = "104160000000001";
/// Of the other app.
pub const STRANGER: &str = "20001";
pub const PAGE: &str = "30001";
pub const SCOPES: [&str; 2] = ["whatsapp_business_management", "whatsapp_business_messaging"];

/// A simulated world behind a listener, and a client that asks it.
pub struct Desk {
    pub sim: Sim,
    pub clock: Arc<Lens>,
    pub settings: settings::Graph,
    pub meta: Meta,
    _server: JoinSet<()>,
}

impl Desk {
    pub async fn new() -> Self {
        let clock = Arc::new(Lens::new(Timestamp::from_unix(NOW), 1));
        let seen = Arc::clone(&clock);
        let sim = Sim::new(people(), Arc::new(move || seen.now().unix()));
        let (address, listener) = listen().await;
        let mut server = JoinSet::new();
        server.spawn(sim.clone().serve(listener));
        let settings = plain_settings(address);
        let meta = Meta::new(&settings, clock.clone()).expect("a client");
        Self { sim, clock, settings, meta, _server: server }
    }

    pub fn world<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        self.sim.with_world(act)
    }

    /// A long-lived token of Ada that was issued then.
    pub fn long_user(&self, issued: i64) -> String {
        self.world(|world| world.issue_long_user(ADA, &["public_profile"], issued))
    }

    /// The next request meets this fault.
    pub fn strike(&self, kind: FaultKind) {
        self.world(|world| world.faults.add(Fault::times(1, Match::Any, kind)));
    }

    /// The next request is answered so.
    pub fn strike_with(&self, status: u16, headers: &[(&str, &str)], body: &str) {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.strike(FaultKind::Raw { status, headers, body: body.as_bytes().to_vec() });
    }
}

fn people() -> World {
    let mut world = World::new();
    world.add_app(App::new(APP, "Help desk", SECRET));
    world.add_app(App::new(OTHER_APP, "Other", "00000000000000000000000000000000"));
    world.add_user(User::new(APP, ADA, "Ada"));
    world.add_user(User::new(APP, BOB, "Bob"));
    world.add_user(User::new(APP, MACHINE, "Machine"));
    world.add_user(User::new(OTHER_APP, STRANGER, "Stranger"));
    world.add_page(Page::new(PAGE, "Tea House", &[ADA]));
    world
}

/// Settings for a server in plain text.
pub fn plain_settings(address: SocketAddr) -> settings::Graph {
    let base_url = format!("http://{address}").parse().expect("an address is a url");
    settings::Graph { base_url, version: "v25.0".to_owned(), timeout: Span::seconds(10), ca_file: None }
}

pub async fn listen() -> (SocketAddr, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    (listener.local_addr().expect("bound"), listener)
}

pub fn secret(text: &str) -> Secret {
    Secret::new(Zeroizing::new(text.to_owned()))
}

pub fn at(unix: i64) -> Expiry {
    Expiry::At(Timestamp::from_unix(unix))
}
