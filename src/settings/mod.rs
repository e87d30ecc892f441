//! The configuration: from layers of text to one validated [`Settings`].
//!
//! Layers (`layers`) → one tree → held against the schema (`check`) → given meaning (`resolve`). Either everything is right, or all
//! faults are told at once. No secret is read on the way; `source` does that at each check.

pub mod check;
pub mod delivery;
pub mod description;
pub mod diff;
pub mod layers;
pub mod placeholder;
mod providers;
mod resolve;
pub mod schema;
pub mod show;
pub mod source;
pub mod value;
pub mod web_file;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::domain::alert::Subject;
use crate::domain::finding::Severity;
use crate::domain::route::{ChannelKind, Route};
use crate::domain::time::Span;
use crate::domain::token::{AppName, AppSpec, Policy, ProviderName, ReceiverName, TokenId, TokenSpec};
use crate::zone::Zone;
use delivery::{Confirm, Delivery, Renew};
use description::Description;
use layers::Node;
use value::{Plan, RelayUrl, SecretRef};

/// One thing that is wrong with the configuration, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The file, or the environment variable.
    pub origin: String,
    /// The dotted key; empty when it is the file as a whole.
    pub key: String,
    /// What is wrong and what would be right; reads well after the key.
    pub what: String,
    /// Whether it says that something is not there, which may only follow from a file that could not be read.
    pub absence: bool,
}

impl Fault {
    /// A fault of a whole file.
    pub fn file(origin: &str, what: String) -> Self {
        Self { origin: origin.to_owned(), key: String::new(), what, absence: false }
    }

    /// The same with the place of a table around it, where that of its own is not written at all.
    #[must_use]
    fn or_at(self, at: &resolve::At<'_>) -> Self {
        if self.origin.is_empty() { Self { origin: at.fault("", String::new()).origin, ..self } } else { self }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "{}: {}", self.origin, self.what),
            key => write!(f, "{}: {key} {}", self.origin, self.what),
        }
    }
}

/// A configuration that is right in every part.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The process itself.
    pub daemon: Daemon,
    /// When tokens are checked.
    pub schedule: Schedule,
    /// How mail leaves; `None` when nobody is told by mail.
    pub smtp: Option<Smtp>,
    /// Who is told.
    pub receivers: BTreeMap<ReceiverName, Receiver>,
    /// Who hears of trouble with the watcher itself, and gets the summary.
    pub watcher_receivers: Arc<[ReceiverName]>,
    /// The outbound dead man's switch.
    pub heartbeat: Option<Heartbeat>,
    /// The apps.
    pub apps: BTreeMap<AppName, App>,
    /// The tokens, in the order of the files.
    pub tokens: Vec<Token>,
    /// How Meta is reached.
    pub meta: Graph,
    /// The providers that tokens come from, by name.
    pub providers: BTreeMap<ProviderName, Provider>,
    /// What /metrics shows.
    pub per_token: PerToken,
    /// The policy of everything that does not say otherwise.
    pub policy: Arc<Policy>,
    /// Places in `tokens`, in the order of the names.
    by_name: Box<[u32]>,
}

impl Settings {
    /// The page of a subject, where the configuration says how people reach the status page.
    pub fn page(&self, subject: &Subject) -> Option<String> {
        let mut url = self.daemon.external_url.clone()?;
        if let Subject::Token(id) = subject {
            url.path_segments_mut().ok()?.pop_if_empty().extend(["tokens", id.as_str()]);
        }
        Some(url.into())
    }

    /// The token of that name.
    pub fn token(&self, id: &TokenId) -> Option<&Token> {
        self.tokens.get(self.index(id)?)
    }

    /// The description of that provider, where it is described and some token comes from it.
    pub fn described(&self, name: &ProviderName) -> Option<&Description> {
        match self.providers.get(name)? {
            Provider::Declared(declared) => Some(&declared.description),
            Provider::Meta(_) | Provider::Instagram(_) | Provider::Threads(_) => None,
        }
    }

    /// The host that is asked about tokens of that provider, where there is one of its own.
    pub fn host_of(&self, name: &ProviderName) -> Option<&str> {
        match self.providers.get(name)? {
            Provider::Meta(graph) | Provider::Instagram(graph) | Provider::Threads(graph) => graph.base_url.host_str(),
            Provider::Declared(declared) => declared.base_url.as_ref()?.host_str(),
        }
    }

    /// The place of a token in `tokens`.
    pub fn index(&self, id: &TokenId) -> Option<usize> {
        find(&self.tokens, &self.by_name, id)
    }
}

/// The places of these tokens in the order of their names. A hundred thousand are looked up by it for every message, and it takes four
/// bytes a token where a map would take the names once more.
fn by_name(tokens: &[Token]) -> Box<[u32]> {
    let mut places: Box<[u32]> = (0..u32::try_from(tokens.len()).unwrap_or(u32::MAX)).collect();
    places.sort_unstable_by_key(|place| name_at(tokens, *place));
    places
}

fn find(tokens: &[Token], by_name: &[u32], id: &TokenId) -> Option<usize> {
    let found = by_name.binary_search_by_key(&Some(id), |place| name_at(tokens, *place)).ok()?;
    by_name.get(found).and_then(|place| usize::try_from(*place).ok())
}

fn name_at(tokens: &[Token], place: u32) -> Option<&TokenId> {
    tokens.get(usize::try_from(place).ok()?).map(|token| &token.spec.id)
}

/// The process itself.
#[derive(Clone, PartialEq, Debug)]
pub struct Daemon {
    /// Where the status page and the metrics are served.
    pub listen: Option<SocketAddr>,
    /// TLS and users of that listener.
    pub web_config: Option<PathBuf>,
    /// Whether its probes are answered without a user.
    pub open_probes: bool,
    /// Where nothing but the probes is served, in the clear and to everybody.
    pub probe_listen: Option<SocketAddr>,
    /// Connections that the listener keeps at once.
    pub max_connections: usize,
    /// How long a client may take for its part.
    pub client_timeout: Span,
    /// The state file, when the configuration names one.
    pub state: Option<PathBuf>,
    /// Zone of cron expressions and dates.
    pub zone: Zone,
    /// Checks under way at once.
    pub concurrency: usize,
    /// How long a stop waits.
    pub grace: Span,
    /// Where people reach the status page.
    pub external_url: Option<url::Url>,
    /// How long incidents and deliveries are kept.
    pub history: Span,
}

/// When tokens are checked.
#[derive(Clone, PartialEq, Debug)]
pub struct Schedule {
    /// The plan for tokens without a period of their own.
    pub check: Plan,
    /// When the summary is sent, as a cron expression; `None` is never.
    pub digest: Option<String>,
    /// How often the heartbeat is sent.
    pub heartbeat: Span,
    /// How long what WhatsApp said of a number stands; zero asks at every check.
    pub numbers: Span,
    /// How often WhatsApp is asked who gets what arrives at a number.
    pub webhooks: Span,
}

/// The outbound dead man's switch.
#[derive(Clone, PartialEq, Debug)]
pub struct Heartbeat {
    /// What is asked.
    pub url: url::Url,
    /// Trust only these authorities.
    pub ca_file: Option<PathBuf>,
    /// How long an answer may take.
    pub timeout: Span,
}

/// How mail leaves.
#[derive(Clone, PartialEq, Debug)]
pub struct Smtp {
    /// The sender.
    pub from: String,
    /// Tried in this order.
    pub relays: Vec<Relay>,
    /// For one step of the conversation.
    pub timeout: Span,
    /// Undelivered mail is tried again at least this often.
    pub retry: Span,
}

/// One mail relay.
#[derive(Clone, PartialEq, Debug)]
pub struct Relay {
    /// Where it is and how it is protected.
    pub url: RelayUrl,
    /// Where the password stands.
    pub password: Option<SecretRef>,
    /// Trust only these authorities.
    pub ca_file: Option<PathBuf>,
}

/// Who is told.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Receiver {
    /// Told of everything.
    pub email: Vec<String>,
    /// Added from a severity on.
    pub escalate: Option<Escalate>,
    /// Told by a signed request.
    pub webhook: Option<Webhook>,
    /// Told by alerts.
    pub alertmanager: Option<Alertmanager>,
    /// Told over WhatsApp.
    pub whatsapp: Option<WhatsAppTarget>,
    /// Channels of which the first that takes a message is enough.
    pub prefer: Vec<ChannelKind>,
    /// When only the urgent gets through.
    pub quiet_hours: Option<QuietHours>,
}

impl Receiver {
    /// Whether it can be reached by that channel.
    pub fn has(&self, kind: ChannelKind) -> bool {
        match kind {
            ChannelKind::Mail => {
                !self.email.is_empty() || self.escalate.as_ref().is_some_and(|added| !added.email.is_empty())
            }
            ChannelKind::Webhook => self.webhook.is_some(),
            ChannelKind::Alertmanager => self.alertmanager.is_some(),
            ChannelKind::WhatsApp => self.whatsapp.is_some(),
        }
    }

    /// The channels that it can be reached by.
    pub fn channels(&self) -> impl Iterator<Item = ChannelKind> {
        ChannelKind::ALL.into_iter().filter(|kind| self.has(*kind))
    }

    /// The ways that every notice goes: each channel on its own, but of the preferred ones only the first that takes it.
    pub fn routes(&self) -> Vec<Route> {
        let alone = self.channels().filter(|kind| !self.prefer.contains(kind)).map(Route::By);
        let preferred = self.prefer.iter().any(|kind| self.has(*kind)).then_some(Route::Preferred);
        alone.chain(preferred).collect()
    }

    /// The channels of a route, the one to try first in front.
    pub fn channels_of(&self, route: Route) -> Vec<ChannelKind> {
        let wanted = match route {
            Route::By(kind) => vec![kind],
            Route::Preferred => self.prefer.clone(),
        };
        wanted.into_iter().filter(|kind| self.has(*kind)).collect()
    }
}

/// Where signed requests go.
#[derive(Clone, PartialEq, Debug)]
pub struct Webhook {
    /// Where it is posted to.
    pub url: url::Url,
    /// Where the key stands that signs it.
    pub secret: Option<SecretRef>,
    /// Trust only these authorities.
    pub ca_file: Option<PathBuf>,
    /// How long an answer may take.
    pub timeout: Span,
}

/// An Alertmanager.
#[derive(Clone, PartialEq, Debug)]
pub struct Alertmanager {
    /// Its base.
    pub url: url::Url,
    /// How we say who we are.
    pub login: Option<Login>,
    /// Trust only these authorities.
    pub ca_file: Option<PathBuf>,
    /// How often what fires is posted again.
    pub resend: Span,
}

/// How a request says who it comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Login {
    /// Basic authentication (RFC 7617).
    Basic {
        /// The user.
        user: String,
        /// Where the password stands.
        password: SecretRef,
    },
    /// A bearer token (RFC 6750).
    Bearer(SecretRef),
}

/// Who is told over WhatsApp, and with what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WhatsAppTarget {
    /// The watched token it is sent with.
    pub token: TokenId,
    /// The numbers, in E.164 form.
    pub to: Vec<String>,
    /// The approved template.
    pub template: String,
    /// Its language.
    pub language: String,
}

/// When only the urgent gets through, in minutes after midnight of the configured zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QuietHours {
    /// When they begin.
    pub from: u16,
    /// When they end; on the next day, when that is earlier.
    pub to: u16,
    /// From this severity on messages go out all the same.
    pub except: Severity,
}

/// Who is added from a severity on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Escalate {
    /// The severity.
    pub from: Severity,
    /// Their addresses.
    pub email: Vec<String>,
}

/// One app.
#[derive(Clone, PartialEq, Debug)]
pub struct App {
    /// What the core knows of it.
    pub spec: AppSpec,
    /// The provider's id.
    pub id: String,
    /// Where its secret stands.
    pub secret: Option<SecretRef>,
    /// Whether appsecret_proof is sent.
    pub proof: bool,
}

/// One token.
#[derive(Clone, PartialEq, Debug)]
pub struct Token {
    /// What the core knows of it.
    pub spec: TokenSpec,
    /// Where the token stands.
    pub secret: SecretRef,
    /// The values of its provider's parameters.
    pub parameters: Arc<Values>,
    /// A page for whoever is woken.
    pub runbook: Option<Arc<str>>,
    /// The WhatsApp number it is for.
    pub whatsapp: Option<Arc<WhatsApp>>,
    /// How it is renewed; `None` is never.
    pub renew: Option<Arc<Renew>>,
    /// How a secret that a person brings is put in place.
    pub replace: Option<Arc<Delivery>>,
    /// How the application is asked whether it works, where that is configured on its own.
    pub probe: Option<Arc<Confirm>>,
}

/// The values of a provider's parameters.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Values {
    /// Those that everybody may see.
    pub open: BTreeMap<Box<str>, Box<str>>,
    /// Where those stand that are secrets.
    pub secret: BTreeMap<Box<str>, SecretRef>,
}

impl Token {
    /// How the application is asked whether it works: as `probe` says, else as its confirmation after a renewal, else after a replacement.
    pub fn application_probe(&self) -> Option<&Confirm> {
        let renewed = || self.renew.as_ref().and_then(|renew| renew.delivery.confirm.as_ref());
        let replaced = || self.replace.as_ref().and_then(|delivery| delivery.confirm.as_ref());
        self.probe.as_deref().or_else(renewed).or_else(replaced)
    }
}

/// A WhatsApp number.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WhatsApp {
    /// The number's id at Meta.
    pub phone_number_id: Option<String>,
    /// The account that the token must cover.
    pub business_account_id: Option<String>,
    /// The number itself, in E.164 form.
    pub phone_number: Option<String>,
}

/// A provider that tokens come from.
#[derive(Clone, PartialEq, Debug)]
pub enum Provider {
    /// Meta's Graph API.
    Meta(Graph),
    /// Instagram Login.
    Instagram(Graph),
    /// Threads.
    Threads(Graph),
    /// One that is described as data.
    Declared(Declared),
}

/// A provider that is described, and how it is reached.
#[derive(Clone, PartialEq, Debug)]
pub struct Declared {
    /// What it is.
    pub description: Arc<Description>,
    /// Where it answers; `None` where every address is whole.
    pub base_url: Option<url::Url>,
    /// How long one answer may take.
    pub timeout: Span,
    /// Trust only these authorities.
    pub ca_file: Option<PathBuf>,
}

/// How one of Meta's APIs is reached.
#[derive(Clone, PartialEq, Debug)]
pub struct Graph {
    /// Where it answers.
    pub base_url: url::Url,
    /// The version asked for.
    pub version: String,
    /// How long one answer may take.
    pub timeout: Span,
    /// Trust only these authorities.
    pub ca_file: Option<PathBuf>,
}

/// Which tokens have series of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PerToken {
    /// All up to a bound, then the urgent ones.
    Auto,
    /// All.
    All,
    /// None.
    None,
}

/// What loading brought, beside the settings.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The validated settings.
    pub settings: Settings,
    /// What is understood but has no effect.
    pub warnings: Vec<Fault>,
    /// The merged tree, for `config show`.
    pub tree: Node,
}

/// All that is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.0 {
            writeln!(f, "{fault}")?;
        }
        match self.0.len() {
            1 => f.write_str("1 fault"),
            n => write!(f, "{n} faults"),
        }
    }
}

/// Reads and validates the configuration in `main` and beside it.
///
/// # Errors
/// All faults at once.
pub fn load(main: &Path, environment: &[(String, String)]) -> Result<Loaded, Faults> {
    let mut faults = Vec::new();
    let tree = layers::read(main, environment, &mut faults);
    settle(tree, faults)
}

/// Why the configuration cannot even be read, where that is so.
pub fn unread(main: &Path, environment: &[(String, String)]) -> Option<Fault> {
    let mut faults = Vec::new();
    layers::read(main, environment, &mut faults);
    faults.into_iter().next()
}

/// Where the state is, as far as a configuration says so that is perhaps refused: whoever looks after a state must find it also then.
pub fn glimpse_of_state(main: &Path, environment: &[(String, String)]) -> Option<PathBuf> {
    let tree = layers::read(main, environment, &mut Vec::new());
    let written = tree.get("daemon").and_then(|daemon| daemon.get("state")).and_then(Node::text)?;
    value::state(written).ok()
}

/// Validates a configuration given as text, with the environment laid over it; `origin` is its name in faults.
///
/// # Errors
/// All faults at once.
pub fn from_text(text: &str, origin: &str, environment: &[(String, String)]) -> Result<Loaded, Faults> {
    let mut faults = Vec::new();
    let mut tree = Node::empty(origin);
    layers::lay(&mut tree, text, &Arc::from(origin), &mut faults);
    layers::overlay(&mut tree, environment, &mut faults);
    settle(tree, faults)
}

fn settle(tree: Node, mut faults: Vec<Fault>) -> Result<Loaded, Faults> {
    let unread = !faults.is_empty();
    faults.extend(check::check(&tree));
    let mut warnings = Vec::new();
    let settings = resolve::resolve(&tree, &mut faults, &mut warnings);
    // What a file that could not be read would have said looks missing; that file's own fault says enough.
    faults.retain(|fault| !(unread && fault.absence));
    faults.dedup();
    match settings {
        Some(settings) if faults.is_empty() => Ok(Loaded { settings, warnings, tree }),
        _ => Err(Faults(faults)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_by_name() {
        // In the files they stand in no order.
        let names = ["m", "b", "z-1", "a", "z", "z.2"];
        let tokens: String =
            names.iter().map(|name| format!("[[tokens]]\nname = {name:?}\nsecret = {{ env = \"X\" }}\n")).collect();
        let settings = from_text(&tokens, "test", &[]).expect("a valid configuration").settings;
        let id = |name: &str| TokenId::parse(name).expect("a valid name");
        // A copy knows them as well.
        for settings in [&settings.clone(), &settings] {
            for (place, name) in names.into_iter().enumerate() {
                assert_eq!(settings.index(&id(name)), Some(place));
                assert_eq!(settings.token(&id(name)).map(|token| token.spec.id.as_str()), Some(name));
            }
            for stranger in ["0", "c", "zz"] {
                assert!(settings.index(&id(stranger)).is_none() && settings.token(&id(stranger)).is_none());
            }
        }
        assert_eq!(size_of_val(&*settings.by_name), 4 * names.len());
        let none = from_text("", "test", &[]).expect("a valid configuration").settings;
        assert!(none.token(&id("a")).is_none());
    }
}
