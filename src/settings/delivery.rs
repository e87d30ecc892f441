//! How a new secret is put in place: sinks, restart, confirmation; and the reading of `[tokens.renew]` and `[tokens.replace]`.
//!
//! It names places and holds no secret. What only makes sense together is judged here: one kind a sink, a place that the next check will read.

use std::path::PathBuf;
use std::sync::Arc;

use super::resolve::At;
use super::value::{self, SecretRef, SqlPlace};
use super::{Fault, WhatsApp};
use crate::domain::renewal::{Bell, DEFAULT_FLOOR, RenewPolicy, Rotation, When};
use crate::domain::time::{Span, Timestamp};
use crate::domain::token::TokenId;
use crate::redact::redact;
use crate::zone::Zone;

/// How a token is renewed.
#[derive(Clone, PartialEq, Debug)]
pub struct Renew {
    /// What the core knows of it.
    pub policy: Arc<RenewPolicy>,
    /// How the new secret is put in place.
    pub delivery: Arc<Delivery>,
    /// Whether the old one is revoked once the new one is in place.
    pub revoke_old: bool,
    /// Whether the provider must be told once the new one is in place.
    pub takes_leave: bool,
    /// Where the next refresh token is written.
    pub refresh_token: Option<Sink>,
}

/// The parameter that holds a refresh token.
pub const REFRESH_TOKEN: &str = "refresh_token";

/// How a new secret is put in place.
#[derive(Clone, PartialEq, Debug)]
pub struct Delivery {
    /// Where it is written; never empty. All of them, or none.
    pub publish: Vec<Sink>,
    /// How the application is made to read it.
    pub restart: Option<Restart>,
    /// How it is proved that the application works with it.
    pub confirm: Option<Confirm>,
}

/// A place that a secret is written to.
#[derive(Clone, PartialEq, Debug)]
pub enum Sink {
    /// A variable in a file of `KEY=value` lines.
    EnvFile {
        /// The file.
        path: PathBuf,
        /// The variable.
        key: Box<str>,
        /// Who reads it.
        dialect: Dialect,
    },
    /// A file that holds nothing else.
    File(PathBuf),
    /// A row of a database.
    Sql(Sql),
    /// A field of a secret in a key-value engine, version 2, of Vault or OpenBao.
    Vault(Vault),
    /// A command that gets it on standard input.
    Run(Command),
}

/// Who reads an env file. They disagree about quotes, escapes and comments.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Dialect {
    /// Nobody knows: only what all of them read alike is written.
    #[default]
    Any,
    /// The package dotenv of Node, and `node --env-file`.
    Dotenv,
    /// python-dotenv.
    Python,
    /// The gem dotenv of Ruby.
    Ruby,
    /// systemd's `EnvironmentFile=`.
    Systemd,
    /// `docker run --env-file`.
    Docker,
    /// A POSIX shell that sources it.
    Shell,
}

impl Dialect {
    /// Every dialect.
    pub const ALL: [Self; 7] =
        [Self::Any, Self::Dotenv, Self::Python, Self::Ruby, Self::Systemd, Self::Docker, Self::Shell];

    /// The name used in configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Dotenv => "dotenv",
            Self::Python => "python",
            Self::Ruby => "ruby",
            Self::Systemd => "systemd",
            Self::Docker => "docker",
            Self::Shell => "shell",
        }
    }

    /// The dialect of that name.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dialect| dialect.as_str() == word)
    }
}

/// A row of a database.
#[derive(Clone, PartialEq, Debug)]
pub struct Sql {
    /// Which database.
    pub place: SqlPlace,
    /// Where the password stands.
    pub password: Option<SecretRef>,
    /// An UPDATE that changes exactly one row: `$1` is the new secret, `$2`, where it is used, the one that must stand there before.
    pub update: Box<str>,
    /// Trust only these authorities.
    pub ca_file: Option<PathBuf>,
    /// How long it may take.
    pub within: Span,
}

/// A field of a secret in Vault or OpenBao.
#[derive(Clone, PartialEq, Debug)]
pub struct Vault {
    /// The server.
    pub url: url::Url,
    /// Where the key-value engine is mounted.
    pub mount: Box<str>,
    /// The secret's path in it.
    pub path: Box<str>,
    /// The field; the others are kept.
    pub field: Box<str>,
    /// How we say who we are.
    pub login: VaultLogin,
    /// The namespace, where there are any.
    pub namespace: Option<Box<str>>,
    /// Trust only these authorities.
    pub ca_file: Option<PathBuf>,
    /// How long one answer may take.
    pub within: Span,
}

/// How we say to Vault who we are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VaultLogin {
    /// With a token.
    Token(SecretRef),
    /// With an AppRole.
    AppRole {
        /// The role.
        role_id: Box<str>,
        /// Where its secret stands.
        secret_id: SecretRef,
    },
}

/// A command with a time limit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command {
    /// The program, found by PATH unless it is a path, and its arguments.
    pub argv: Vec<String>,
    /// How long it may take.
    pub within: Span,
}

/// How the application is made to read the new secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Restart {
    /// A unit is restarted by systemd.
    Systemd {
        /// Its name, suffix included.
        unit: Box<str>,
        /// How long it may take to be active again.
        within: Span,
    },
    /// A command does it.
    Run(Command),
}

/// How it is proved that the application works with the new secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Confirm {
    /// The application answers.
    Http {
        /// What is asked.
        url: url::Url,
        /// How it is asked.
        question: Question,
        /// The status that it must answer with; any of 200 to 299 without one.
        status: Option<u16>,
        /// Trust only these authorities.
        ca_file: Option<PathBuf>,
        /// How long it may take until it does.
        within: Span,
    },
    /// A command succeeds.
    Run(Command),
    /// WhatsApp tells about the phone number, asked with the secret that is now in the first sink.
    WhatsApp {
        /// The number's id.
        phone_number_id: Box<str>,
        /// How long it may take until it does.
        within: Span,
    },
}

/// How an application is asked over HTTP.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Question {
    /// With GET, which changes nothing.
    #[default]
    Get,
    /// With POST, which may do something each time it is sent: a message may reach a person.
    Post {
        /// A JSON document, as it is written.
        json: Option<Box<str>>,
    },
}

/// Where it stands, for people, logs and the journal: the same place always has the same words. No secret is in it.
impl std::fmt::Display for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::EnvFile { path, key, .. } => write!(f, "{key} in {}", path.display()),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Sql(sql) => write!(f, "{}", sql.place),
            Self::Vault(vault) => {
                let server = vault.url.as_str().trim_end_matches('/');
                write!(f, "{} of {}/{} at {server}", vault.field, vault.mount, vault.path)
            }
            Self::Run(command) => write!(f, "{command}"),
        }
    }
}

/// The program's name: arguments may hold what must not be seen.
impl std::fmt::Display for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the command {}", self.argv.first().map_or("", String::as_str))
    }
}

impl std::fmt::Display for Restart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Systemd { unit, .. } => f.write_str(unit),
            Self::Run(command) => write!(f, "{command}"),
        }
    }
}

impl std::fmt::Display for Confirm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Http { url, question, .. } => {
                let mut shown = url.clone();
                shown.set_query(None);
                match question {
                    Question::Get => write!(f, "{shown}"),
                    Question::Post { .. } => write!(f, "POST {shown}"),
                }
            }
            Self::Run(command) => write!(f, "{command}"),
            Self::WhatsApp { phone_number_id, .. } => write!(f, "the WhatsApp number {phone_number_id}"),
        }
    }
}

/// What a token is, beside its own tables.
pub(super) struct Slot<'a> {
    /// Where it stands.
    pub secret: Option<&'a SecretRef>,
    /// The number it is for.
    pub whatsapp: Option<&'a WhatsApp>,
    /// How its provider gives another secret, where that is not Meta.
    pub renewal: Option<&'a Renewal<'a>>,
    /// Trust for whoever names none.
    pub ca_file: Option<&'a PathBuf>,
    /// The zone of cron expressions.
    pub zone: &'a Zone,
}

/// How a provider other than Meta gives another secret.
pub(super) struct Renewal<'a> {
    /// As the core knows it.
    pub rotation: Rotation,
    /// Whether it must be told once the new one is in place.
    pub takes_leave: bool,
    /// Whether it ends a token when it is asked to.
    pub revokes: bool,
    /// Where the refresh token stands.
    pub refresh_token: Option<&'a SecretRef>,
}

/// Reads `[tokens.renew]`.
pub(super) fn renew(at: &At<'_>, slot: &Slot<'_>, faults: &mut Vec<Fault>, warnings: &mut Vec<Fault>) -> Option<Renew> {
    at.node?;
    let when = match (at.parsed("before", value::lead), at.text("cron").filter(|text| !text.is_empty())) {
        (Some(lead), None) => Some(When::Before(lead)),
        (None, Some(text)) => bell(text, slot.zone).map(When::OnBell),
        (Some(_), Some(_)) => {
            faults.push(at.fault("cron", "cannot stand beside before; choose one".to_owned()));
            None
        }
        (None, None) if at.node.is_some_and(|node| node.get("before").is_some()) => None,
        (None, None) => {
            let what = "needs before (\"20d\", \"33%\") or cron (\"0 0 3 1 * *\")".to_owned();
            faults.push(at.absence("", what));
            None
        }
    };
    let delivery = delivery(at, slot, faults, warnings)?;
    lasting(at, slot, &delivery, faults);
    let policy = RenewPolicy {
        when: when?,
        floor: at.parsed("floor", value::period).unwrap_or(DEFAULT_FLOOR),
        user_token: at.parsed("user_token", |name| TokenId::parse(name).map_err(|fault| fault.to_string())),
        rotation: slot.renewal.map(|renewal| renewal.rotation),
    };
    let revoke_old = at.flag("revoke_old").unwrap_or(false);
    let takes_leave = slot.renewal.is_some_and(|renewal| renewal.takes_leave);
    if revoke_old && slot.renewal.is_some_and(|renewal| !renewal.revokes) {
        let what = "has no meaning here: the provider ends the old token by itself, or does not at all".to_owned();
        faults.push(at.fault("revoke_old", what));
    }
    let refresh_token = match slot.renewal.and_then(|renewal| renewal.refresh_token) {
        None => None,
        Some(SecretRef::EnvFile { path, key }) => {
            Some(Sink::EnvFile { path: path.clone(), key: key.clone(), dialect: Dialect::Any })
        }
        Some(SecretRef::File(path)) => Some(Sink::File(path.clone())),
        Some(SecretRef::Env(_) | SecretRef::Credential(_) | SecretRef::Nowhere) => {
            let what = "needs a refresh token that stands in a file: it may be used up by each renewal, and the next one is written there";
            faults.push(at.fault("", what.to_owned()));
            None
        }
    };
    Some(Renew { policy: Arc::new(policy), delivery: Arc::new(delivery), revoke_old, takes_leave, refresh_token })
}

/// Reads `[tokens.replace]`.
pub(super) fn replace(
    at: &At<'_>,
    slot: &Slot<'_>,
    faults: &mut Vec<Fault>,
    warnings: &mut Vec<Fault>,
) -> Option<Arc<Delivery>> {
    at.node?;
    let delivery = delivery(at, slot, faults, warnings)?;
    lasting(at, slot, &delivery, faults);
    Some(Arc::new(delivery))
}

fn delivery(at: &At<'_>, slot: &Slot<'_>, faults: &mut Vec<Fault>, warnings: &mut Vec<Fault>) -> Option<Delivery> {
    let restart = restart(&at.child("restart"), faults);
    let confirm = confirm(&at.child("confirm"), slot, faults);
    if restart.is_some() && confirm.is_none() && at.child("confirm").node.is_none() {
        let what = "has no confirm: nothing proves that the application works after its restart".to_owned();
        warnings.push(at.fault("", what));
    }
    let publish_at = at.child("publish");
    let publish = match (publish_at.node, slot.secret) {
        (None, Some(SecretRef::EnvFile { path, key })) => {
            vec![Sink::EnvFile { path: path.clone(), key: key.clone(), dialect: Dialect::Any }]
        }
        (None, Some(SecretRef::File(path))) => vec![Sink::File(path.clone())],
        (None, _) => Vec::new(),
        (Some(_), _) => sinks(&publish_at, slot, faults)?,
    };
    Some(Delivery { publish, restart, confirm })
}

/// What is put in place must be what the next check reads, or the old secret would be watched for ever.
fn lasting(at: &At<'_>, slot: &Slot<'_>, delivery: &Delivery, faults: &mut Vec<Fault>) {
    let holds = |sink: &Sink| match (sink, slot.secret) {
        // A command may write anywhere; the run reads the slot after it.
        (Sink::Run(_), _) => true,
        (Sink::EnvFile { path, key, .. }, Some(SecretRef::EnvFile { path: watched, key: name })) => {
            path == watched && key == name
        }
        (Sink::File(path), Some(SecretRef::File(watched))) => path == watched,
        _ => false,
    };
    match slot.secret {
        Some(SecretRef::Nowhere) => {}
        Some(SecretRef::Env(_) | SecretRef::Credential(_)) => {
            let what = "needs a token that stands in a file: an environment variable or a systemd credential keeps its value until a restart; \
                        write secret = { file = … } or { env_file = …, key = … }";
            faults.push(at.fault("", what.to_owned()));
        }
        Some(secret) if !delivery.publish.iter().any(holds) => {
            let place = redact(&secret.to_string(), &[]);
            let what = format!(
                "must hold the env_file and key, or the file, of `secret` ({place}): else the old token would be checked for ever"
            );
            faults.push(at.fault("publish", what));
        }
        Some(_) | None => {}
    }
}

fn sinks(at: &At<'_>, slot: &Slot<'_>, faults: &mut Vec<Fault>) -> Option<Vec<Sink>> {
    if at.is_an_empty_list() {
        faults.push(at.fault("", "is empty: the new token would go nowhere".to_owned()));
        return None;
    }
    let mut sinks: Vec<Sink> = Vec::new();
    let mut whole = true;
    at.each_item(|at| match sink(at, slot, faults) {
        Some(sink)
            if sinks.iter().any(|known| known.to_string() == sink.to_string() && !matches!(known, Sink::Sql(_))) =>
        {
            faults.push(at.fault("", format!("names {} a second time", redact(&sink.to_string(), &[]))));
        }
        Some(sink) => sinks.push(sink),
        None => whole = false,
    });
    whole.then_some(sinks)
}

fn sink(at: &At<'_>, slot: &Slot<'_>, faults: &mut Vec<Fault>) -> Option<Sink> {
    let kinds = SINK_KINDS.iter().filter(|(kind, _)| at.child(kind).node.is_some());
    let mut kinds = kinds.collect::<Vec<_>>().into_iter();
    let (Some((kind, companions)), None) = (kinds.next(), kinds.next()) else {
        faults.push(at.fault("", format!("must be one of {SINK_FORMS}")));
        return None;
    };
    for name in at.names().filter(|name| name != kind && !companions.contains(name)) {
        faults.push(at.fault(name, format!("has no meaning beside {kind}")));
    }
    let within = |default: Span| at.parsed("within", value::period).unwrap_or(default);
    let ca_file = || at.parsed("ca_file", value::path).or_else(|| slot.ca_file.cloned());
    match *kind {
        "env_file" => Some(Sink::EnvFile {
            path: at.parsed("env_file", value::path)?,
            key: at.needed("key", "env_file", faults)?.into(),
            dialect: at.text("dialect").and_then(Dialect::parse).unwrap_or_default(),
        }),
        "file" => Some(Sink::File(at.parsed("file", value::path)?)),
        "sql" => {
            let place = at.parsed("sql", value::sql_place)?;
            let update = at.needed("update", "sql", faults)?;
            if let Err(what) = value::sql_update(update) {
                faults.push(at.fault("update", what));
            }
            let password = at.secret("password");
            if password.is_some() && !place.takes_password() {
                faults.push(at.fault("password", "needs a user in the url: postgres://user@host/database".to_owned()));
            }
            Some(Sink::Sql(Sql { place, password, update: update.into(), ca_file: ca_file(), within: within(ANSWER) }))
        }
        "vault" => {
            let login = match (at.secret("token"), at.text("role_id"), at.secret("secret_id")) {
                (Some(token), None, None) => Some(VaultLogin::Token(token)),
                (None, Some(role_id), Some(secret_id)) => {
                    Some(VaultLogin::AppRole { role_id: role_id.into(), secret_id })
                }
                _ => {
                    faults.push(at.fault("", "needs token, or role_id and secret_id, to log in to vault".to_owned()));
                    None
                }
            };
            Some(Sink::Vault(Vault {
                url: at.parsed("vault", value::provider_url)?,
                mount: at.text("mount").unwrap_or("secret").trim_matches('/').into(),
                path: at.needed("path", "vault", faults)?.trim_matches('/').into(),
                field: at.text("field").unwrap_or("token").into(),
                login: login?,
                namespace: at.text("namespace").map(Into::into),
                ca_file: ca_file(),
                within: within(ANSWER),
            }))
        }
        _ => command(at, faults).map(Sink::Run),
    }
}

fn restart(at: &At<'_>, faults: &mut Vec<Fault>) -> Option<Restart> {
    at.node?;
    let within = at.parsed("within", value::period).unwrap_or(MINUTE);
    match (at.text("systemd"), at.child("run").node) {
        (Some(unit), None) => {
            if let Err(what) = value::unit(unit) {
                faults.push(at.fault("systemd", what));
                return None;
            }
            Some(Restart::Systemd { unit: unit.into(), within })
        }
        (None, Some(_)) => command(at, faults).map(Restart::Run),
        _ => {
            faults.push(at.fault("", "must be { systemd = \"NAME.service\" } or { run = [\"…\"] }".to_owned()));
            None
        }
    }
}

fn confirm(at: &At<'_>, slot: &Slot<'_>, faults: &mut Vec<Fault>) -> Option<Confirm> {
    if !at.is_a_table() {
        return None;
    }
    if !at.flag("whatsapp").unwrap_or(false) {
        return asked(at, slot.ca_file, "{ http = \"http://…\" }, { run = [\"…\"] } or { whatsapp = true }", faults);
    }
    if ["http", "run"].iter().any(|name| at.child(name).node.is_some()) {
        faults.push(at.fault("whatsapp", "cannot stand beside http or run; choose one".to_owned()));
        return None;
    }
    let Some(id) = slot.whatsapp.and_then(|number| number.phone_number_id.as_deref()) else {
        faults.push(at.fault("whatsapp", "needs whatsapp.phone_number_id to ask about".to_owned()));
        return None;
    };
    let within = at.parsed("within", value::period).unwrap_or(MINUTE);
    Some(Confirm::WhatsApp { phone_number_id: id.into(), within })
}

/// Reads `[tokens.probe]`.
pub(super) fn probe(at: &At<'_>, ca_file: Option<&PathBuf>, faults: &mut Vec<Fault>) -> Option<Confirm> {
    if !at.is_a_table() {
        return None;
    }
    asked(at, ca_file, "{ http = \"http://…\" } or { run = [\"…\"] }", faults)
}

/// The application is asked, over HTTP or by a command; `forms` says in how many ways.
fn asked(at: &At<'_>, ca_file: Option<&PathBuf>, forms: &str, faults: &mut Vec<Fault>) -> Option<Confirm> {
    let is_http = at.child("http").node.is_some();
    for name in ["method", "json"].into_iter().filter(|name| !is_http && at.child(name).node.is_some()) {
        faults.push(at.fault(name, "has no meaning without http".to_owned()));
    }
    match (is_http, at.child("run").node) {
        (true, None) => Some(Confirm::Http {
            url: at.parsed("http", value::http_url)?,
            question: question(at, faults)?,
            status: at.count("status").and_then(|status| u16::try_from(status).ok()),
            ca_file: at.parsed("ca_file", value::path).or_else(|| ca_file.cloned()),
            within: at.parsed("within", value::period).unwrap_or(MINUTE),
        }),
        (false, Some(_)) => command(at, faults).map(Confirm::Run),
        (true, Some(_)) | (false, None) => {
            faults.push(at.fault("", format!("must be {forms}")));
            None
        }
    }
}

fn question(at: &At<'_>, faults: &mut Vec<Fault>) -> Option<Question> {
    let json = at.text("json").map(Box::from);
    match (at.text("method"), json) {
        (Some("POST"), json) => Some(Question::Post { json }),
        (None | Some("GET"), None) => Some(Question::Get),
        (None | Some("GET"), Some(_)) => {
            faults.push(at.fault("json", "needs method = \"POST\": a GET has no body".to_owned()));
            None
        }
        // Told already.
        (Some(_), _) => None,
    }
}

fn command(at: &At<'_>, faults: &mut Vec<Fault>) -> Option<Command> {
    let argv: Vec<String> = at.list("run")?.into_iter().map(str::to_owned).collect();
    if argv.first().is_none_or(String::is_empty) {
        faults.push(at.fault("run", "names no program".to_owned()));
        return None;
    }
    Some(Command { argv, within: at.parsed("within", value::period).unwrap_or(MINUTE) })
}

/// The bell of a cron expression in that zone, changes of daylight saving included.
fn bell(text: &str, zone: &Zone) -> Option<Bell> {
    use chrono::TimeZone as _;
    let cron = value::cron_schedule(text).ok()?;
    let zone: chrono_tz::Tz = zone.name().parse().unwrap_or(chrono_tz::UTC);
    Some(Bell::new(text.trim(), move |after: Timestamp| {
        let here = zone.timestamp_opt(after.unix(), 0).single()?;
        Some(Timestamp::from_unix(cron.find_next_occurrence(&here, false).ok()?.timestamp()))
    }))
}

/// The kinds of sink, with the keys that may stand beside each.
const SINK_KINDS: [(&str, &[&str]); 5] = [
    ("env_file", &["key", "dialect"]),
    ("file", &[]),
    ("sql", &["update", "password", "ca_file", "within"]),
    ("vault", &["mount", "path", "field", "token", "role_id", "secret_id", "namespace", "ca_file", "within"]),
    ("run", &["within"]),
];
/// The kinds of sink, for people.
const SINK_FORMS: &str = "{ env_file, key }, { file }, { sql, update }, { vault, path, token } or { run }";
/// A command, a restart and a confirmation may take this long.
const MINUTE: Span = Span::seconds(60);
/// One answer of a database or of Vault.
const ANSWER: Span = Span::seconds(10);
