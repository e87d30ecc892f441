//! Gives a checked tree its meaning, and judges what only makes sense together: duplicate names, receivers and apps that nobody
//! defined, mail without a relay.
//!
//! Values that the schema check refused are passed over here, so one slip is told once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::check::{did_you_mean, is_environment, item_path, join};
use super::delivery::{self, Slot};
use super::description::OWN_NUMBER;
use super::layers::{Node, Value};
use super::providers::{Asked, META, Providers, graph, is_special};
use super::value::{self, Plan, SecretRef};
use super::{
    Alertmanager, App, Daemon, Escalate, Fault, Heartbeat, Login, PerToken, QuietHours, Receiver, Relay, Schedule,
    Settings, Smtp, Token, Values, Webhook, WhatsApp, WhatsAppTarget,
};
use crate::domain::finding::Severity;
use crate::domain::route::ChannelKind;
use crate::domain::time::Span;
use crate::domain::token::{
    AppName, AppSpec, Ladder, Policy, ProviderName, ReceiverName, Required, Rhythm, TokenId, TokenSpec, TypedEnd,
};
use crate::zone::Zone;

/// The settings, or `None` when a part without a default is missing (its fault is in the list already).
pub fn resolve(tree: &Node, faults: &mut Vec<Fault>, warnings: &mut Vec<Fault>) -> Option<Settings> {
    let root = At::root(tree);
    let schedule_at = root.child("schedule");
    let digest = schedule_at.text("digest").unwrap_or(DEFAULT_DIGEST);
    let schedule = Schedule {
        check: schedule_at.parsed("check", value::plan).unwrap_or(Plan::Every(DEFAULT_CHECK)),
        digest: Some(digest).filter(|text| !text.is_empty()).map(|text| text.trim().to_owned()),
        heartbeat: schedule_at.parsed("heartbeat", value::period).unwrap_or(DEFAULT_HEARTBEAT),
        numbers: schedule_at.parsed("numbers", value::span).unwrap_or(Span::ZERO),
        webhooks: schedule_at.parsed("webhooks", value::period).unwrap_or(DEFAULT_WEBHOOKS),
    };
    let spread = schedule_at.parsed("spread", value::period).unwrap_or(DEFAULT_SPREAD);
    let policy = Arc::new(policy(&root.child("policy"), &Policy::default()));
    let smtp = smtp(&root.child("smtp"));
    let ca_file = root.child("tls").parsed("ca_file", value::path);
    let receivers = receivers(&root.child("receivers"), ca_file.as_ref(), faults);
    let zone = root.child("daemon").parsed("timezone", Zone::parse).unwrap_or(Zone::UTC);
    let apps_at = root.child("apps");
    let mut providers = Providers::read(&root, ca_file.as_ref(), faults);
    let mut apps = apps(&apps_at, &policy, &providers, faults);
    passwords_have_users(&root.child("smtp").child("relays"), faults);
    let mut tokens = Tokens {
        faults,
        warnings,
        receivers: &receivers,
        apps: &apps,
        apps_at: &apps_at,
        providers: &mut providers,
        rhythm: schedule.check.rhythm(spread),
        policy: &policy,
        ca_file: ca_file.as_ref(),
        zone: &zone,
        shared: Shared::default(),
    }
    .read(&root.child("tokens"));
    tokens.shrink_to_fit();
    let by_name = super::by_name(&tokens);
    give_apps_their_receivers(&mut apps, &tokens);
    mail_has_a_relay(&root, &receivers, smtp.as_ref(), faults);
    whatsapp_has_a_sender(&root, &receivers, (&tokens, &by_name), faults);
    user_tokens_are_watched(&root.child("tokens"), (&tokens, &by_name), faults);
    let watcher_receivers = told_of_the_watcher(&root.child("daemon"), &receivers, faults);
    if tokens.is_empty() && faults.is_empty() {
        warnings.push(Fault::file(&tree.origin, "watches nothing: there is no [[tokens]]".to_owned()));
    }
    Some(Settings {
        daemon: daemon(&root.child("daemon"), faults),
        schedule,
        smtp: smtp.map(|smtp| trusting(smtp, ca_file.as_ref())),
        receivers,
        watcher_receivers,
        heartbeat: heartbeat(&root.child("heartbeat"), ca_file.as_ref()),
        apps,
        tokens,
        meta: graph(&root.child("provider").child("meta"), META, ca_file.as_ref())?,
        providers: providers.used,
        per_token: match root.child("metrics").text("per_token") {
            Some("all") => PerToken::All,
            Some("none") => PerToken::None,
            _ => PerToken::Auto,
        },
        policy,
        by_name,
    })
}

/// A place in the tree that may be empty.
pub(super) struct At<'a> {
    pub(super) node: Option<&'a Node>,
    path: String,
}

impl<'a> At<'a> {
    /// The whole tree.
    pub(super) fn root(tree: &'a Node) -> Self {
        At { node: Some(tree), path: String::new() }
    }

    pub(super) fn child(&self, name: &str) -> Self {
        At { node: self.node.and_then(|node| node.get(name)), path: join(&self.path, name) }
    }

    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.node?.get(name)?.text()
    }

    pub(super) fn owned(&self, name: &str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }

    pub(super) fn parsed<T>(&self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        parse(self.text(name)?).ok()
    }

    pub(super) fn count(&self, name: &str) -> Option<i64> {
        match &self.node?.get(name)?.value {
            Value::Integer(number) => Some(*number),
            Value::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        match &self.node?.get(name)?.value {
            Value::Bool(flag) => Some(*flag),
            Value::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// A list of texts; one set by the environment is written with commas.
    pub(super) fn list(&self, name: &str) -> Option<Vec<&'a str>> {
        let node = self.node?.get(name)?;
        match &node.value {
            Value::List(items) => Some(items.iter().filter_map(Node::text).collect()),
            Value::Text(text) if is_environment(node) => Some(text.split(',').map(str::trim).collect()),
            _ => None,
        }
    }

    /// A text that must stand beside another key.
    pub(super) fn needed(&self, name: &str, beside: &str, faults: &mut Vec<Fault>) -> Option<&'a str> {
        let text = self.text(name);
        if self.child(name).node.is_none() {
            faults.push(self.absence(name, format!("is missing: {beside} needs it")));
        }
        text
    }

    /// The keys that are written here.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let table = match self.node.map(|node| &node.value) {
            Some(Value::Table(table)) => Some(table),
            _ => None,
        };
        table.into_iter().flatten().map(|(name, _)| name.as_str())
    }

    /// A text, a number or a flag, as text.
    pub(super) fn scalar(&self, name: &str) -> Option<String> {
        as_text(self.node?.get(name)?)
    }

    /// The same, or a list of them.
    pub(super) fn scalars(&self, name: &str) -> Vec<String> {
        match self.node.and_then(|node| node.get(name)) {
            Some(Node { value: Value::List(items), .. }) => items.iter().filter_map(as_text).collect(),
            Some(node) => as_text(node).into_iter().collect(),
            None => Vec::new(),
        }
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a String, At<'a>)> + use<'a> {
        let path = self.path.clone();
        let table = match self.node.map(|node| &node.value) {
            Some(Value::Table(table)) => Some(table),
            _ => None,
        };
        table.into_iter().flatten().map(move |(name, node)| (name, At { node: Some(node), path: join(&path, name) }))
    }

    pub(super) fn each_item(&self, mut visit: impl FnMut(&At<'_>)) {
        let Some(list) = self.node else { return };
        list.each_item(|index, node| visit(&At { node: Some(node), path: item_path(&self.path, index, node) }));
    }

    pub(super) fn is_an_empty_list(&self) -> bool {
        matches!(self.node.map(|node| &node.value), Some(Value::List(items)) if items.is_empty())
    }

    /// Whether there is a table; what else may stand here was refused already.
    pub(super) fn is_a_table(&self) -> bool {
        matches!(self.node.map(|node| &node.value), Some(Value::Table(_)))
    }

    pub(super) fn secret(&self, name: &str) -> Option<SecretRef> {
        let at = self.child(name);
        if let Some(name) = at.text("env") {
            Some(SecretRef::Env(name.into()))
        } else if let Some(name) = at.text("credential") {
            Some(SecretRef::Credential(name.into()))
        } else if let Some(path) = at.parsed("file", value::path) {
            Some(SecretRef::File(path))
        } else {
            Some(SecretRef::EnvFile { path: at.parsed("env_file", value::path)?, key: at.text("key")?.into() })
        }
    }

    pub(super) fn absence(&self, name: &str, what: String) -> Fault {
        Fault { absence: true, ..self.fault(name, what) }
    }

    pub(super) fn fault(&self, name: &str, what: String) -> Fault {
        let node = self.node.and_then(|node| node.get(name)).or(self.node);
        Fault {
            origin: node.map(|node| node.origin.to_string()).unwrap_or_default(),
            key: if name.is_empty() { self.path.clone() } else { join(&self.path, name) },
            what,
            absence: false,
        }
    }
}

fn as_text(node: &Node) -> Option<String> {
    match &node.value {
        Value::Text(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Float(_) | Value::List(_) | Value::Group(_) | Value::Table(_) => None,
    }
}

fn daemon(at: &At<'_>, faults: &mut Vec<Fault>) -> Daemon {
    let listen = value::listen(at.text("listen").unwrap_or(DEFAULT_LISTEN)).ok().flatten();
    let probe_listen = at.parsed("probe_listen", value::listen).flatten();
    if listen.zip(probe_listen).is_some_and(|(one, other)| cannot_both_be_bound(one, other)) {
        faults.push(
            at.fault("probe_listen", "is where daemon.listen is; give the probes a port of their own".to_owned()),
        );
    }
    Daemon {
        listen,
        web_config: at.parsed("web_config", value::path),
        open_probes: at.flag("open_probes").unwrap_or(false),
        probe_listen,
        max_connections: at
            .count("max_connections")
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or(DEFAULT_MAX_CONNECTIONS),
        client_timeout: at.parsed("client_timeout", value::period).unwrap_or(DEFAULT_CLIENT_TIMEOUT),
        state: at.parsed("state", value::state),
        zone: at.parsed("timezone", Zone::parse).unwrap_or(Zone::UTC),
        concurrency: at.count("concurrency").and_then(|n| usize::try_from(n).ok()).unwrap_or(DEFAULT_CONCURRENCY),
        grace: at.parsed("grace", value::span).unwrap_or(DEFAULT_GRACE),
        external_url: at.parsed("external_url", value::http_url),
        history: at.parsed("history", value::period).unwrap_or(DEFAULT_HISTORY),
    }
}

/// Whether the one takes the address of the other: it is the same, or one of them is every address of its family.
fn cannot_both_be_bound(one: SocketAddr, other: SocketAddr) -> bool {
    let is_every = |address: SocketAddr| address.ip().is_unspecified();
    let meet = one.ip() == other.ip() || is_every(one) || is_every(other);
    one.port() == other.port() && one.port() != 0 && one.is_ipv4() == other.is_ipv4() && meet
}

fn policy(at: &At<'_>, base: &Policy) -> Policy {
    let rungs = at.list("alert_before").map(|list| list.iter().filter_map(|text| value::lead(text).ok()).collect());
    Policy {
        ladder: rungs.and_then(Ladder::new).unwrap_or_else(|| base.ladder.clone()),
        repeat: at.parsed("repeat", value::span).unwrap_or(base.repeat),
        blind_after: at.parsed("blind_after", value::period).unwrap_or(base.blind_after),
        confirm_invalid: at
            .count("confirm_invalid")
            .and_then(|n| u32::try_from(n).ok())
            .unwrap_or(base.confirm_invalid),
    }
}

fn smtp(at: &At<'_>) -> Option<Smtp> {
    let relay = |at: &At<'_>| {
        Some(Relay {
            url: at.parsed("url", value::relay_url)?,
            password: at.secret("password"),
            ca_file: at.parsed("ca_file", value::path),
        })
    };
    let mut relays = Vec::new();
    at.child("relays").each_item(|at| relays.extend(relay(at)));
    Some(Smtp {
        from: at.owned("from")?,
        relays,
        timeout: at.parsed("timeout", value::period).unwrap_or(DEFAULT_RELAY_TIMEOUT),
        retry: at.parsed("retry", value::period).unwrap_or(DEFAULT_RETRY),
    })
}

fn trusting(mut smtp: Smtp, ca_file: Option<&PathBuf>) -> Smtp {
    for relay in &mut smtp.relays {
        relay.ca_file = relay.ca_file.take().or_else(|| ca_file.cloned());
    }
    smtp
}

fn receivers(at: &At<'_>, ca_file: Option<&PathBuf>, faults: &mut Vec<Fault>) -> BTreeMap<ReceiverName, Receiver> {
    at.entries()
        .filter_map(|(name, at)| Some((ReceiverName::parse(name).ok()?, receiver(&at, ca_file, faults))))
        .collect()
}

fn receiver(at: &At<'_>, ca_file: Option<&PathBuf>, faults: &mut Vec<Fault>) -> Receiver {
    let texts = |at: &At<'_>, name: &str| -> Vec<String> {
        at.list(name).unwrap_or_default().into_iter().map(str::to_owned).collect()
    };
    let escalate = at.child("escalate");
    let receiver = Receiver {
        email: texts(at, "email"),
        escalate: escalate.node.map(|_| Escalate {
            from: escalate.text("from").and_then(Severity::parse).unwrap_or(Severity::Critical),
            email: texts(&escalate, "email"),
        }),
        webhook: webhook(&at.child("webhook"), ca_file),
        alertmanager: alertmanager(&at.child("alertmanager"), ca_file, faults),
        whatsapp: whatsapp_target(&at.child("whatsapp"), |at| texts(at, "to")),
        prefer: at.list("prefer").unwrap_or_default().into_iter().filter_map(ChannelKind::parse).collect(),
        quiet_hours: quiet_hours(&at.child("quiet_hours"), faults),
    };
    for kind in &receiver.prefer {
        if !receiver.has(*kind) {
            let what = format!("names {}, by which this receiver cannot be reached", kind.as_str());
            faults.push(at.absence("prefer", what));
        }
    }
    receiver
}

fn webhook(at: &At<'_>, ca_file: Option<&PathBuf>) -> Option<Webhook> {
    Some(Webhook {
        url: at.parsed("url", value::http_url)?,
        secret: at.secret("secret"),
        ca_file: at.parsed("ca_file", value::path).or_else(|| ca_file.cloned()),
        timeout: at.parsed("timeout", value::period).unwrap_or(DEFAULT_CHANNEL_TIMEOUT),
    })
}

fn alertmanager(at: &At<'_>, ca_file: Option<&PathBuf>, faults: &mut Vec<Fault>) -> Option<Alertmanager> {
    let url = at.parsed("url", value::http_url)?;
    let login = match (at.owned("user"), at.secret("password"), at.secret("bearer")) {
        (None, None, None) => None,
        (Some(user), Some(password), None) => Some(Login::Basic { user, password }),
        (None, None, Some(bearer)) => Some(Login::Bearer(bearer)),
        _ => {
            faults.push(at.fault("", "needs user and password together, or bearer alone".to_owned()));
            None
        }
    };
    if login.is_some() && url.scheme() == "http" && !value::is_loopback(url.host_str().unwrap_or_default()) {
        faults.push(at.fault("url", "would send its login in the clear; use https".to_owned()));
    }
    Some(Alertmanager {
        url,
        login,
        ca_file: at.parsed("ca_file", value::path).or_else(|| ca_file.cloned()),
        resend: at.parsed("resend", value::period).unwrap_or(DEFAULT_RESEND),
    })
}

fn whatsapp_target(at: &At<'_>, numbers: impl Fn(&At<'_>) -> Vec<String>) -> Option<WhatsAppTarget> {
    Some(WhatsAppTarget {
        token: at.parsed("token", |name| TokenId::parse(name).map_err(|fault| fault.to_string()))?,
        to: numbers(at),
        template: at.owned("template")?,
        language: at.owned("language").unwrap_or_else(|| DEFAULT_LANGUAGE.to_owned()),
    })
}

fn quiet_hours(at: &At<'_>, faults: &mut Vec<Fault>) -> Option<QuietHours> {
    let hours = QuietHours {
        from: at.parsed("from", value::time_of_day)?,
        to: at.parsed("to", value::time_of_day)?,
        except: at.text("except").and_then(Severity::parse).unwrap_or(Severity::Critical),
    };
    if hours.from == hours.to {
        faults.push(at.fault("to", "is the same as from: nothing but the urgent would ever get through".to_owned()));
    }
    Some(hours)
}

fn heartbeat(at: &At<'_>, ca_file: Option<&PathBuf>) -> Option<Heartbeat> {
    Some(Heartbeat {
        url: at.parsed("url", value::http_url)?,
        ca_file: at.parsed("ca_file", value::path).or_else(|| ca_file.cloned()),
        timeout: at.parsed("timeout", value::period).unwrap_or(DEFAULT_CHANNEL_TIMEOUT),
    })
}

/// A message over WhatsApp may be refused, or accepted and never delivered, and is sent with a token that may itself be the trouble: beside
/// it there must be another way.
fn whatsapp_has_a_sender(
    root: &At<'_>,
    receivers: &BTreeMap<ReceiverName, Receiver>,
    (tokens, by_name): (&[Token], &[u32]),
    faults: &mut Vec<Fault>,
) {
    for (name, receiver) in receivers {
        let Some(target) = &receiver.whatsapp else { continue };
        let at = root.child("receivers").child(name.as_str()).child("whatsapp");
        match super::find(tokens, by_name, &target.token).and_then(|place| tokens.get(place)) {
            None => {
                let hint = did_you_mean(target.token.as_str(), tokens.iter().map(|token| token.spec.id.as_str()));
                faults.push(at.absence("token", format!("names a token that is not in [[tokens]]{hint}")));
            }
            Some(token) if token.whatsapp.as_ref().is_none_or(|number| number.phone_number_id.is_none()) => {
                faults
                    .push(at.fault("token", "names a token without whatsapp.phone_number_id to send from".to_owned()));
            }
            Some(_) => {}
        }
        if target.to.is_empty() {
            faults.push(at.fault("to", "names nobody".to_owned()));
        }
        // Mail that is only for escalation is no other way for what is milder.
        let other = |kind: ChannelKind| match kind {
            ChannelKind::WhatsApp => false,
            ChannelKind::Mail => !receiver.email.is_empty(),
            ChannelKind::Webhook | ChannelKind::Alertmanager => true,
        };
        if !receiver.channels().any(other) {
            let what =
                "needs another channel beside it, such as email: an accepted message may never arrive".to_owned();
            faults.push(at.fault("", what));
        }
    }
}

/// A page token is read again with a user token that is watched as well.
fn user_tokens_are_watched(at: &At<'_>, (tokens, by_name): (&[Token], &[u32]), faults: &mut Vec<Fault>) {
    at.each_item(|at| {
        let at = at.child("renew");
        let Some(name) = at.text("user_token").and_then(|name| TokenId::parse(name).ok()) else { return };
        if super::find(tokens, by_name, &name).is_none() {
            let hint = did_you_mean(name.as_str(), tokens.iter().map(|token| token.spec.id.as_str()));
            faults.push(at.absence("user_token", format!("names a token that is not in [[tokens]]{hint}")));
        }
    });
}

/// Who hears of trouble with the watcher itself: those it names, else `default`, else everybody.
fn told_of_the_watcher(
    at: &At<'_>,
    receivers: &BTreeMap<ReceiverName, Receiver>,
    faults: &mut Vec<Fault>,
) -> Arc<[ReceiverName]> {
    let Some(named) = at.list("receivers") else {
        let default = receivers.keys().find(|name| name.as_str() == "default");
        return default.map_or_else(|| receivers.keys().cloned().collect(), |name| Arc::from([name.clone()]));
    };
    let mut told = BTreeSet::new();
    for text in named {
        let Ok(name) = ReceiverName::parse(text) else { continue };
        if receivers.contains_key(&name) {
            told.insert(name);
        } else {
            let hint = did_you_mean(text, receivers.keys().map(ReceiverName::as_str));
            faults.push(at.absence("receivers", format!("names {text:?}, which is not in [receivers]{hint}")));
        }
    }
    told.into_iter().collect()
}

fn apps(
    at: &At<'_>,
    policy: &Arc<Policy>,
    providers: &Providers<'_>,
    faults: &mut Vec<Fault>,
) -> BTreeMap<AppName, App> {
    let mut apps = BTreeMap::new();
    for (name, at) in at.entries() {
        let (Ok(name), Some(id)) = (AppName::parse(name), at.owned("id")) else { continue };
        let provider =
            at.text("provider").map_or_else(|| Some(ProviderName::meta()), |name| providers.name(&at, name, faults));
        let Some(provider) = provider else { continue };
        if let Err(what) = if is_special(&provider) { value::id(&id) } else { value::foreign_id(&id) } {
            faults.push(at.fault("id", what));
            continue;
        }
        let spec = AppSpec { name: name.clone(), provider, receivers: Arc::from([]), policy: Arc::clone(policy) };
        let proof = at.flag("proof").unwrap_or(true);
        apps.insert(name, App { spec, id, secret: at.secret("secret"), proof });
    }
    apps
}

/// Parts that thousands of tokens have in common stand in memory once.
#[derive(Default)]
struct Shared {
    policies: Vec<Arc<Policy>>,
    required: Vec<Arc<Required>>,
    parameters: Vec<Arc<Values>>,
    receivers: Vec<Arc<[ReceiverName]>>,
    texts: HashMap<String, Arc<str>>,
}

fn share<T: PartialEq + ?Sized>(pool: &mut Vec<Arc<T>>, item: Arc<T>) -> Arc<T> {
    // Newest first: neighbours in a file resemble each other, and a hundred thousand different ones must not be compared with each other.
    match pool.iter().rev().take(NEIGHBOURS).find(|known| **known == item) {
        Some(known) => Arc::clone(known),
        None => {
            pool.push(Arc::clone(&item));
            item
        }
    }
}

/// Reads the tokens.
struct Tokens<'a, 'p> {
    faults: &'a mut Vec<Fault>,
    warnings: &'a mut Vec<Fault>,
    receivers: &'a BTreeMap<ReceiverName, Receiver>,
    apps: &'a BTreeMap<AppName, App>,
    apps_at: &'a At<'a>,
    providers: &'a mut Providers<'p>,
    rhythm: Rhythm,
    policy: &'a Arc<Policy>,
    ca_file: Option<&'a PathBuf>,
    zone: &'a Zone,
    shared: Shared,
}

impl Tokens<'_, '_> {
    fn read(mut self, at: &At<'_>) -> Vec<Token> {
        let mut seen: HashMap<TokenId, Option<Arc<str>>> = HashMap::new();
        let mut tokens = Vec::new();
        at.each_item(|at| {
            let Some(token) = self.token(at) else { return };
            if let Some(other) = seen.get(&token.spec.id) {
                let other = other.as_deref().unwrap_or_default();
                self.faults.push(at.fault("name", format!("is used twice; the other one stands in {other}")));
            } else {
                seen.insert(token.spec.id.clone(), at.node.map(|node| Arc::clone(&node.origin)));
                tokens.push(token);
            }
        });
        tokens
    }

    fn token(&mut self, at: &At<'_>) -> Option<Token> {
        let provider = self.providers.of(at, self.faults);
        if at.is_a_table() && provider.has_secret() && at.child("secret").node.is_none() {
            self.faults.push(at.absence("secret", "is missing: where the token stands".to_owned()));
        }
        let id = at.parsed("name", |name| TokenId::parse(name).map_err(|fault| fault.to_string()))?;
        let app = self.app(at);
        let receivers = self.told(at);
        let own = at.child("policy");
        let policy = if own.node.is_some() { Arc::new(policy(&own, self.policy)) } else { Arc::clone(self.policy) };
        let whatsapp_at = at.child("whatsapp");
        let whatsapp = whatsapp_at.node.map(|_| WhatsApp {
            phone_number_id: whatsapp_at.owned("phone_number_id"),
            business_account_id: whatsapp_at.owned("business_account_id"),
            phone_number: whatsapp_at.owned("phone_number"),
        });
        self.whatsapp_fits(&whatsapp_at, whatsapp.as_ref(), &provider);
        let parameters = self.providers.values(at, &provider, self.faults);
        let secret = match at.secret("secret") {
            None if !provider.has_secret() => Some(SecretRef::Nowhere),
            secret => secret,
        };
        let expires = at.parsed("expires", value::date).map(|at| TypedEnd { at, alone: provider.is_typed() });
        if provider.is_typed() && at.child("expires").node.is_none() {
            self.faults.push(at.absence("expires", "is missing: nobody else tells when it ends".to_owned()));
        }
        let number = match &provider {
            Asked::Special(_) | Asked::Unknown => {
                whatsapp.as_ref().and_then(|whatsapp| whatsapp.phone_number_id.as_deref()).map(Box::from)
            }
            Asked::Declared(described) => described.number.as_ref().and_then(|number| match &number.by {
                Some(name) => parameters.open.get(name).cloned(),
                None => Some(OWN_NUMBER.into()),
            }),
        };
        let required = Required {
            scopes: at.list("scopes").unwrap_or_default().into_iter().map(Box::from).collect(),
            targets: whatsapp
                .iter()
                .filter_map(|whatsapp| whatsapp.business_account_id.as_deref())
                .map(Box::from)
                .collect(),
            number,
            webhooks: whatsapp_at.flag("webhooks"),
        };
        let rhythm = at.parsed("check", value::period).map_or(self.rhythm, Rhythm::Every);
        let renewal = provider.renewal(&parameters);
        let renew_at = at.child("renew");
        if renew_at.node.is_some() && renewal.is_none() && !provider.renews_by_kind() {
            let what = format!("has no meaning here: {} gives no other token over its API", provider.title());
            self.faults.push(renew_at.fault("", what));
        }
        let slot = Slot {
            secret: secret.as_ref(),
            whatsapp: whatsapp.as_ref(),
            renewal: renewal.as_ref(),
            ca_file: self.ca_file,
            zone: self.zone,
        };
        let renew = delivery::renew(&renew_at, &slot, self.faults, self.warnings);
        let replace = delivery::replace(&at.child("replace"), &slot, self.faults, self.warnings);
        let probe = delivery::probe(&at.child("probe"), self.ca_file, self.faults);
        let renewal_needs_app = renew.is_some() && (provider.is_meta() || provider.renewal_needs_app());
        if renewal_needs_app || provider.needs_app() {
            self.exchange_has_an_app(at, &provider);
        }
        if renew.is_some() {
            self.renewal_is_whole(at, &provider, &parameters);
        }
        self.app_is_of(at, app.as_ref(), &provider);
        let spec = TokenSpec {
            id,
            provider: provider.name(),
            app,
            receivers: share(&mut self.shared.receivers, receivers),
            policy: share(&mut self.shared.policies, policy),
            required: share(&mut self.shared.required, Arc::new(required)),
            rhythm,
            renew: renew.as_ref().map(|renew| Arc::clone(&renew.policy)),
            expires,
        };
        let replace = replace.or_else(|| renew.as_ref().map(|renew| Arc::clone(&renew.delivery)));
        let runbook = at.text("runbook").map(|text| self.shared_text(text));
        Some(Token {
            spec,
            secret: secret?,
            parameters: share(&mut self.shared.parameters, Arc::new(parameters)),
            runbook,
            whatsapp: whatsapp.map(Arc::new),
            renew: renew.map(Arc::new),
            replace,
            probe: probe.map(Arc::new),
        })
    }

    fn whatsapp_fits(&mut self, at: &At<'_>, whatsapp: Option<&WhatsApp>, provider: &Asked) {
        let Some(whatsapp) = whatsapp else { return };
        if !provider.renews_by_kind() {
            let what = format!("is about numbers at Meta itself; of {} see docs/providers.md", provider.title());
            self.faults.push(at.fault("", what));
        }
        let whole = whatsapp.phone_number_id.is_some() && whatsapp.business_account_id.is_some();
        if at.flag("webhooks") == Some(true) && !whole {
            let what = "can be asked only with phone_number_id and business_account_id beside it".to_owned();
            self.faults.push(at.fault("webhooks", what));
        }
    }

    /// An app is known to one provider only.
    fn app_is_of(&mut self, at: &At<'_>, app: Option<&AppName>, provider: &Asked) {
        let Some(app) = app.and_then(|name| self.apps.get(name)) else { return };
        if !matches!(provider, Asked::Unknown) && app.spec.provider != provider.name() {
            let what = format!(
                "names an app that is registered at {}; write provider = \"{}\" in [apps.{}], or name another",
                app.spec.provider,
                provider.name(),
                app.spec.name
            );
            self.faults.push(at.fault("app", what));
        }
    }

    /// An exchange is asked for with the app's id and secret.
    fn exchange_has_an_app(&mut self, at: &At<'_>, provider: &Asked) {
        let fine = match at.text("app") {
            None => false,
            Some(name) => self.apps.iter().all(|(known, app)| known.as_str() != name || app.secret.is_some()),
        };
        if !fine {
            let why = if provider.needs_app() { "its provider is asked with both" } else { "a renewal needs both" };
            self.faults.push(at.absence("app", format!("must name an app with a secret: {why}")));
        }
    }

    /// What a check can do without, a renewal may need.
    fn renewal_is_whole(&mut self, at: &At<'_>, provider: &Asked, parameters: &Values) {
        let own = at.child("parameters");
        // What must be given in any case was missed before.
        let Asked::Declared(described) = provider else { return };
        let optional = |name: &&str| described.parameters.get(*name).is_some_and(|parameter| parameter.optional);
        for name in provider.renewal_lacks(parameters).into_iter().filter(optional) {
            let what = format!("is missing: a renewal needs it ({})", described.parameters[name].doc);
            self.faults.push(own.absence(name, what).or_at(at));
        }
    }

    fn shared_text(&mut self, text: &str) -> Arc<str> {
        Arc::clone(self.shared.texts.entry(text.to_owned()).or_insert_with(|| Arc::from(text)))
    }

    fn app(&mut self, at: &At<'_>) -> Option<AppName> {
        let name = AppName::parse(at.text("app")?).ok()?;
        if let Some((known, _)) = self.apps.get_key_value(&name) {
            return Some(known.clone());
        }
        // An app that is there and has a fault of its own is not missing.
        if self.apps_at.entries().any(|(known, _)| known == name.as_str()) {
            return None;
        }
        let hint = did_you_mean(name.as_str(), self.apps.keys().map(AppName::as_str));
        self.faults
            .push(at.absence("app", format!("names {}, which is not in [apps]{hint}", value::quoted(name.as_str()))));
        None
    }

    /// The receivers of a token: those it names, else `default` where there is one.
    fn told(&mut self, at: &At<'_>) -> Arc<[ReceiverName]> {
        let named = at.list("receivers");
        if named.is_none() && !self.receivers.keys().any(|name| name.as_str() == "default") {
            self.warnings.push(
                at.fault("receivers", "is missing and there is no [receivers.default]: nobody will be told".to_owned()),
            );
        }
        let mut told = BTreeSet::new();
        for text in named.clone().unwrap_or_else(|| vec!["default"]) {
            let Ok(name) = ReceiverName::parse(text) else { continue };
            if let Some((known, _)) = self.receivers.get_key_value(&name) {
                told.insert(known.clone());
            } else if named.is_some() {
                let hint = did_you_mean(text, self.receivers.keys().map(ReceiverName::as_str));
                self.faults.push(at.absence("receivers", format!("names {text:?}, which is not in [receivers]{hint}")));
            }
        }
        told.into_iter().collect()
    }
}

/// A password that no user stands beside would silently never be used.
fn passwords_have_users(relays: &At<'_>, faults: &mut Vec<Fault>) {
    relays.each_item(|relay| {
        let user = relay.parsed("url", value::relay_url).map(|url| url.user);
        if relay.secret("password").is_some() && user == Some(None) {
            faults.push(relay.fault("password", "needs a user in the url: smtps://user@host".to_owned()));
        }
    });
}

/// Who is told of a token is told of its app.
fn give_apps_their_receivers(apps: &mut BTreeMap<AppName, App>, tokens: &[Token]) {
    let mut told: BTreeMap<&AppName, BTreeSet<ReceiverName>> = BTreeMap::new();
    for token in tokens {
        if let Some(app) = &token.spec.app {
            told.entry(app).or_default().extend(token.spec.receivers.iter().cloned());
        }
    }
    for (name, receivers) in told {
        if let Some(app) = apps.get_mut(name) {
            app.spec.receivers = receivers.into_iter().collect();
        }
    }
}

fn mail_has_a_relay(
    root: &At<'_>,
    receivers: &BTreeMap<ReceiverName, Receiver>,
    smtp: Option<&Smtp>,
    faults: &mut Vec<Fault>,
) {
    let wants_mail = |receiver: &Receiver| receiver.has(ChannelKind::Mail);
    let Some((name, _)) = receivers.iter().find(|(_, receiver)| wants_mail(receiver)) else { return };
    let smtp_at = root.child("smtp");
    match smtp {
        None if smtp_at.node.is_none() => {
            let at = root.child("receivers").child(name.as_str());
            faults.push(at.absence("email", "needs a relay: there is no [smtp]".to_owned()));
        }
        Some(smtp) if smtp.relays.is_empty() && smtp_at.child("relays").is_an_empty_list() => {
            faults.push(smtp_at.fault("relays", "is empty: mail has no way out".to_owned()));
        }
        _ => {}
    }
}

/// How many of the last different parts a new one is compared with.
const NEIGHBOURS: usize = 32;
const DEFAULT_CHECK: Span = Span::minutes(15);
const DEFAULT_SPREAD: Span = Span::minutes(1);
/// Monday morning, before the work of the week.
const DEFAULT_DIGEST: &str = "0 0 9 * * Mon";
const DEFAULT_WEBHOOKS: Span = Span::hours(24);
const DEFAULT_HEARTBEAT: Span = Span::minutes(5);
const DEFAULT_HISTORY: Span = Span::days(365);
const DEFAULT_CHANNEL_TIMEOUT: Span = Span::seconds(10);
/// Prometheus resends at this pace.
const DEFAULT_RESEND: Span = Span::minutes(1);
const DEFAULT_LANGUAGE: &str = "en";
const DEFAULT_LISTEN: &str = "127.0.0.1:9847";
const DEFAULT_CONCURRENCY: usize = 32;
/// Half of the files that a process may have open where nobody says otherwise.
const DEFAULT_MAX_CONNECTIONS: usize = 512;
const DEFAULT_CLIENT_TIMEOUT: Span = Span::seconds(30);
const DEFAULT_GRACE: Span = Span::seconds(10);
const DEFAULT_RELAY_TIMEOUT: Span = Span::seconds(30);
const DEFAULT_RETRY: Span = Span::seconds(60);
