//! Every key of the configuration, described once: name, type, default, meaning.
//!
//! Validation, `config schema`, `config show` and `docs/configuration.md` are all read from this table, so they cannot disagree. It
//! holds no values and reads no files.

use super::description;

/// One key.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What may stand there.
    pub kind: Kind,
    /// What it means, in one sentence.
    pub doc: &'static str,
    /// Its default, as it would be written in TOML; empty when there is none.
    pub default: &'static str,
    /// Whether it must be given.
    pub required: bool,
    /// Whether it is read at the start only: a reload takes a change in, and a restart acts on it.
    pub at_start: bool,
}

/// What may stand at a key.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Any text.
    Text,
    /// A name of the operator's: `[a-z0-9][a-z0-9._-]*`, at most 63 characters.
    Name,
    /// A duration, or zero: `90s`, `15m`, `6h`, `21d`, `0s`.
    Span,
    /// A duration above zero.
    Period,
    /// A duration or a share of the lifetime: `21d`, `33%`.
    Lead,
    /// A duration or a cron expression with seconds first.
    Plan,
    /// A cron expression with seconds first, or empty for "never".
    Cron,
    /// `true` or `false`.
    Bool,
    /// A whole number from 1 up to a bound.
    Count(i64),
    /// An absolute path.
    Path,
    /// `http://` or `https://`.
    HttpUrl,
    /// The base of a provider: `https://`, or `http://` on loopback.
    ProviderUrl,
    /// `smtp://` or `smtps://`.
    RelayUrl,
    /// `sqlite:///path`.
    StateUrl,
    /// `postgres://user@host/database` or `sqlite:///path`.
    SqlUrl,
    /// `address:port`, or empty for "off".
    Listen,
    /// A time-zone name.
    Zone,
    /// A mail address, perhaps with a name.
    Email,
    /// A phone number in E.164 form: `+`, country code, number.
    Phone,
    /// An id at Meta: digits. A secret that was put there by mistake is none, and is not repeated.
    Id,
    /// A time of day: `22:00`.
    TimeOfDay,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A JSON document; never one with a secret in it.
    Json,
    /// Where a secret stands; never the secret itself.
    Secret,
    /// A text, or a list of texts.
    Texts,
    /// A table of texts, numbers and flags, or of lists of these; its keys are the operator's.
    Map,
    /// Anything that JSON can hold.
    Tree,
    /// A status of HTTP, a class of them (`"4xx"`), or a list of these.
    Statuses,
    /// The first moment of a day in UTC (`2026-12-31`), or a moment (RFC 3339).
    Date,
    /// The values of a provider's parameters.
    Values,
    /// A list.
    List(&'static Self),
    /// A table with these keys.
    Table(&'static [Key]),
    /// A table of tables, each with a name of the operator's.
    Named(&'static [Key]),
    /// An array of tables.
    Items(&'static [Key]),
}

impl Kind {
    /// Whether a value may stand in a log: it says nothing of a person, and no address that opens a door.
    pub const fn may_be_logged(self) -> bool {
        match self {
            Self::Name
            | Self::Span
            | Self::Period
            | Self::Lead
            | Self::Plan
            | Self::Cron
            | Self::Bool
            | Self::Count(_)
            | Self::Path
            | Self::StateUrl
            | Self::Listen
            | Self::Zone
            | Self::TimeOfDay
            | Self::Word(_)
            | Self::Secret
            | Self::Statuses
            | Self::Date => true,
            Self::List(item) => item.may_be_logged(),
            Self::Text
            | Self::HttpUrl
            | Self::ProviderUrl
            | Self::RelayUrl
            | Self::SqlUrl
            | Self::Email
            | Self::Phone
            | Self::Id
            | Self::Json
            | Self::Texts
            | Self::Map
            | Self::Tree
            | Self::Values
            | Self::Table(_)
            | Self::Named(_)
            | Self::Items(_) => false,
        }
    }
}

/// A key without a default.
pub const fn key(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, kind, doc, default: "", required: false, at_start: false }
}

impl Key {
    /// With this default.
    #[must_use]
    pub const fn or(self, default: &'static str) -> Self {
        Self { default, ..self }
    }

    /// One that must be given.
    #[must_use]
    pub const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    /// One that is read at the start only.
    #[must_use]
    pub const fn at_start(self) -> Self {
        Self { at_start: true, ..self }
    }
}

/// The whole file.
pub const ROOT: &[Key] = &[
    key("daemon", Kind::Table(DAEMON), "The process itself."),
    key("schedule", Kind::Table(SCHEDULE), "When things happen."),
    key("policy", Kind::Table(POLICY), "How tokens are judged, unless a token says otherwise."),
    key("smtp", Kind::Table(SMTP), "How mail leaves."),
    key("receivers", Kind::Named(RECEIVER), "Who is told."),
    key(
        "providers",
        Kind::Named(description::PROVIDER),
        "Providers that are described here, beside those that are built in.",
    ),
    key("apps", Kind::Named(APP), "Provider-side apps; a fault of one alerts once, not per token."),
    key("tokens", Kind::Items(TOKEN), "The watched tokens."),
    key("provider", Kind::Named(REACH), "How a provider is reached, built in or described."),
    key("metrics", Kind::Table(METRICS), "What /metrics shows."),
    key("tls", Kind::Table(TLS), "Trust for every outgoing connection."),
    key("heartbeat", Kind::Table(HEARTBEAT), "The outbound dead man's switch."),
];

const DAEMON: &[Key] = &[
    key("listen", Kind::Listen, "Address of the status page and /metrics; empty turns it off.")
        .or("\"127.0.0.1:9847\"")
        .at_start(),
    key(
        "web_config",
        Kind::Path,
        "TLS and users of the listener: a web configuration file as Prometheus reads it; see docs/listener.md.",
    ),
    key("open_probes", Kind::Bool, "`/healthz` and `/readyz` answer yes or no to those who give no user, too.").or("false"),
    key(
        "probe_listen",
        Kind::Listen,
        "A second address for nothing but `/healthz` and `/readyz`: in the clear, without a user, with connections of its own.",
    )
    .or("\"\"")
    .at_start(),
    key(
        "max_connections",
        Kind::Count(100_000),
        "Connections of the listener at once; a new one beyond takes the place of the idlest.",
    )
    .or("512"),
    key(
        "client_timeout",
        Kind::Period,
        "How long a client may take for a handshake, for the head of a request, and to take in more of an answer.",
    )
    .or("\"30s\""),
    key(
        "state",
        Kind::StateUrl,
        "Where the state is kept. Default: `tokenwatch.db` in $STATE_DIRECTORY, else in the XDG state folder.",
    )
    .at_start(),
    key("timezone", Kind::Zone, "Zone of cron expressions and of dates in mails.").or("\"UTC\""),
    key("concurrency", Kind::Count(1_000), "How many checks may be under way at once.").or("32"),
    key("grace", Kind::Span, "How long a stop waits for what is under way.").or("\"10s\"").at_start(),
    key("external_url", Kind::HttpUrl, "Where people reach the status page; links in messages begin with it."),
    key(
        "receivers",
        Kind::List(&Kind::Name),
        "Who hears of trouble with tokenwatch itself, and gets the summary. Default: `default` where there is one, else everybody.",
    ),
    key("history", Kind::Period, "How long incidents and deliveries are kept.").or("\"365d\""),
];

const SCHEDULE: &[Key] = &[
    key("check", Kind::Plan, "How often each token is checked: a period, or a cron expression (seconds first).")
        .or("\"15m\""),
    key("spread", Kind::Period, "With a cron expression: the checks of one ring are spread over this time.")
        .or("\"1m\""),
    key("digest", Kind::Cron, "When the summary is sent, which proves the way to people; empty turns it off.")
        .or("\"0 0 9 * * Mon\""),
    key("heartbeat", Kind::Period, "How often the heartbeat is sent.").or("\"5m\""),
    key(
        "numbers",
        Kind::Span,
        "How long what WhatsApp said of a number stands before a check asks again; `0s` asks at every check.",
    )
    .or("\"0s\""),
    key("webhooks", Kind::Period, "How often WhatsApp is asked who gets what arrives at a number.").or("\"24h\""),
];

const POLICY: &[Key] = &[
    key(
        "alert_before",
        Kind::List(&Kind::Lead),
        "The ladder: when before a deadline people are told. Rungs longer than the lifetime are skipped.",
    )
    .or("[\"21d\", \"14d\", \"7d\", \"3d\", \"1d\"]"),
    key("repeat", Kind::Span, "An unacknowledged critical incident is told again after this; `0s` means never.")
        .or("\"24h\""),
    key("blind_after", Kind::Period, "No authoritative answer for this long is a finding of its own.").or("\"6h\""),
    key("confirm_invalid", Kind::Count(20), "Consecutive authoritative answers before \"invalid\" is believed.")
        .or("2"),
];

const SMTP: &[Key] = &[
    key("from", Kind::Email, "The sender's address.").required(),
    key("relays", Kind::Items(RELAY), "Mail relays, tried in this order.").required(),
    key("timeout", Kind::Period, "How long a relay may take for one step.").or("\"30s\""),
    key("retry", Kind::Period, "Undelivered mail is tried again at least this often.").or("\"60s\""),
];

const RELAY: &[Key] = &[
    key(
        "url",
        Kind::RelayUrl,
        "`smtps://user@host:465` (TLS at once) or `smtp://user@host:587?tls=required|opportunistic|none` (STARTTLS; `none` on loopback only).",
    )
    .required(),
    key("password", Kind::Secret, "The password of the user named in the url."),
    key("ca_file", Kind::Path, "Trust only the certificate authorities in this PEM file."),
];

const RECEIVER: &[Key] = &[
    key("email", Kind::List(&Kind::Email), "Addresses that get every notice.").or("[]"),
    key("escalate", Kind::Table(ESCALATE), "Who is added from a severity on."),
    key("webhook", Kind::Table(WEBHOOK), "A signed HTTP request for each message."),
    key(
        "alertmanager",
        Kind::Table(ALERTMANAGER),
        "Alerts posted to an Alertmanager, again and again while they fire.",
    ),
    key(
        "whatsapp",
        Kind::Table(WHATSAPP_TARGET),
        "A template message over WhatsApp, sent with a token that is itself watched.",
    ),
    key(
        "prefer",
        Kind::List(&Kind::Word(&["email", "webhook", "whatsapp"])),
        "Of these channels the first one that takes a message is used, in this order; the others get every message.",
    )
    .or("[]"),
    key(
        "quiet_hours",
        Kind::Table(QUIET_HOURS),
        "When only the urgent gets through; the rest arrives as one message after it.",
    ),
];

const WEBHOOK: &[Key] = &[
    key("url", Kind::HttpUrl, "Where it is posted to.").required(),
    key(
        "secret",
        Kind::Secret,
        "The key that signs it (HMAC-SHA256, Standard Webhooks); without one it is not signed.",
    ),
    key("ca_file", Kind::Path, "Trust only the certificate authorities in this PEM file."),
    key("timeout", Kind::Period, "How long an answer may take.").or("\"10s\""),
];

const ALERTMANAGER: &[Key] = &[
    key("url", Kind::HttpUrl, "Where the Alertmanager is; `/api/v2/alerts` is appended.").required(),
    key("user", Kind::Text, "The user of basic authentication."),
    key("password", Kind::Secret, "The password of that user."),
    key("bearer", Kind::Secret, "A bearer token instead of user and password."),
    key("ca_file", Kind::Path, "Trust only the certificate authorities in this PEM file."),
    key("resend", Kind::Period, "How often what fires is posted again; it resolves itself after four times as long.")
        .or("\"1m\""),
];

const WHATSAPP_TARGET: &[Key] = &[
    key("token", Kind::Name, "The watched token it is sent with; it needs a `whatsapp.phone_number_id`.").required(),
    key("to", Kind::List(&Kind::Phone), "The numbers it is sent to, in E.164 form.").required(),
    key("template", Kind::Text, "An approved template with two body parameters: what, and what next.").required(),
    key("language", Kind::Text, "The template's language.").or("\"en\""),
];

const QUIET_HOURS: &[Key] = &[
    key("from", Kind::TimeOfDay, "When they begin, in `daemon.timezone`.").required(),
    key("to", Kind::TimeOfDay, "When they end.").required(),
    key("except", Kind::Word(&["warning", "critical"]), "From this severity on messages go out all the same.")
        .or("\"critical\""),
];

const ESCALATE: &[Key] = &[
    key("from", Kind::Word(&["info", "warning", "critical"]), "The severity from which they are added.")
        .or("\"critical\""),
    key("email", Kind::List(&Kind::Email), "Their addresses.").or("[]"),
];

const APP: &[Key] = &[
    key("provider", Kind::Name, "Where it is registered.").or("\"meta\""),
    key("id", Kind::Text, "The app's id at the provider.").required(),
    key(
        "secret",
        Kind::Secret,
        "The app's secret. Without it a token's validity is probed with the token itself, and its end stays unknown.",
    ),
    key("proof", Kind::Bool, "Send appsecret_proof (needed when the app requires it).").or("true"),
];

const TOKEN: &[Key] = &[
    key("name", Kind::Name, "The slot's name: metric label, mail subject, file name.").required(),
    key("provider", Kind::Name, "Who issued it: one that is built in (docs/providers.md), or one of [providers].")
        .or("\"meta\""),
    key("app", Kind::Name, "The app it belongs to, from [apps]."),
    key("secret", Kind::Secret, "Where the token stands. Only `x509` and `manual` do without."),
    key("parameters", Kind::Values, "What its provider needs beside it, by name; see docs/providers.md."),
    key(
        "expires",
        Kind::Date,
        "When it ends, where no API tells: `2026-12-31` is its first moment in UTC, or RFC 3339. It is about the secret that you know, so it counts no more once a renewal has given another.",
    ),
    key("receivers", Kind::List(&Kind::Name), "Who is told, from [receivers].").or("[\"default\"]"),
    key("scopes", Kind::List(&Kind::Text), "Permissions that must be granted.").or("[]"),
    key("runbook", Kind::HttpUrl, "A page that helps whoever is woken."),
    key("check", Kind::Period, "A period of its own instead of [schedule] check."),
    key("policy", Kind::Table(POLICY), "What this token does differently from [policy]."),
    key("whatsapp", Kind::Table(WHATSAPP), "The WhatsApp number it is for."),
    key("renew", Kind::Table(RENEW), "When and how it is renewed; absent means never touched."),
    key("replace", Kind::Table(REPLACE), "How a replacement is put in place; without it, as `renew` says."),
    key(
        "probe",
        Kind::Table(PROBE),
        "How the application itself is asked whether it works: used by `doctor`; without it `doctor` uses the `confirm` of renew or replace.",
    ),
];

const RENEW: &[Key] = &[
    key("before", Kind::Lead, "How long before its end it is renewed: a duration, or a share of its lifetime."),
    key("cron", Kind::Cron, "Instead of `before`: when it is renewed, as a cron expression (seconds first)."),
    key("publish", Kind::Items(SINK), PUBLISH_DOC),
    key("restart", Kind::Table(RESTART), RESTART_DOC),
    key("confirm", Kind::Table(CONFIRM), CONFIRM_DOC),
    key("revoke_old", Kind::Bool, "Revoke the old token at the provider once the new one is in place and confirmed.")
        .or("false"),
    key("user_token", Kind::Name, "For a page token: the watched user token that it is read again with."),
    key("floor", Kind::Period, "The least time between two tries.").or("\"1m\""),
];

const REPLACE: &[Key] = &[
    key("publish", Kind::Items(SINK), PUBLISH_DOC),
    key("restart", Kind::Table(RESTART), RESTART_DOC),
    key("confirm", Kind::Table(CONFIRM), CONFIRM_DOC),
];

const PUBLISH_DOC: &str = "Where the new token is written, all or none. Default: where `secret` says that it stands.";
const RESTART_DOC: &str = "How the application is made to read it.";
const CONFIRM_DOC: &str = "How it is proved that the application works with it; if not, everything is rolled back.";

const SINK: &[Key] = &[
    key("env_file", Kind::Path, "A file of `KEY=value` lines; one value is replaced, every other byte is kept."),
    key("key", Kind::Text, "The variable in `env_file`."),
    key(
        "dialect",
        Kind::Word(&["any", "dotenv", "python", "ruby", "systemd", "docker", "shell"]),
        "Who reads `env_file`; `any` writes only what all of them read alike.",
    )
    .or("\"any\""),
    key("file", Kind::Path, "A file that holds nothing but the token."),
    key("sql", Kind::SqlUrl, "A database: `postgres://user@host/database` or `sqlite:///path`."),
    key("update", Kind::Text, "An UPDATE of exactly one row; `$1` is the new token, `$2`, if used, the old one."),
    key("password", Kind::Secret, "The password of the user named in `sql`."),
    key("vault", Kind::ProviderUrl, "A Vault or OpenBao server; a KV v2 secret is written with check-and-set."),
    key("mount", Kind::Text, "Where the KV engine is mounted.").or("\"secret\""),
    key("path", Kind::Text, "The secret's path in it."),
    key("field", Kind::Text, "The field that is replaced; the others are kept.").or("\"token\""),
    key("token", Kind::Secret, "The token to log in to `vault` with."),
    key("role_id", Kind::Text, "The AppRole to log in to `vault` with."),
    key("secret_id", Kind::Secret, "The secret id of that AppRole."),
    key("namespace", Kind::Text, "The namespace, where `vault` has any."),
    key("run", Kind::List(&Kind::Text), "A command that gets the token on standard input."),
    key("ca_file", Kind::Path, "Trust only the certificate authorities in this PEM file."),
    key("within", Kind::Period, "How long it may take: 10 s for `sql` and `vault`, 60 s for `run`."),
];

const RESTART: &[Key] = &[
    key("systemd", Kind::Text, "The unit that is restarted, over D-Bus."),
    key("run", Kind::List(&Kind::Text), "A command instead."),
    key("within", Kind::Period, "How long it may take.").or("\"60s\""),
];

const CONFIRM: &[Key] = &[
    key("http", Kind::HttpUrl, "Asked until it answers well."),
    key(
        "method",
        Kind::Word(METHODS),
        "How `http` is asked. POST may reach a person each time, so it is sent again only until the first good answer, with five seconds between.",
    )
    .or("\"GET\""),
    key("json", Kind::Json, JSON_DOC),
    key("status", Kind::Count(599), STATUS_DOC),
    key("ca_file", Kind::Path, "Trust only the certificate authorities in this PEM file."),
    key("run", Kind::List(&Kind::Text), RUN_DOC),
    key(
        "whatsapp",
        Kind::Bool,
        "Instead: WhatsApp answers about `whatsapp.phone_number_id`, asked with the token now in place.",
    )
    .or("false"),
    key("within", Kind::Period, "How long it may take until then.").or("\"60s\""),
];

const PROBE: &[Key] = &[
    key("http", Kind::HttpUrl, "What is asked, once."),
    key("method", Kind::Word(METHODS), "How `http` is asked. POST may reach a person each time.").or("\"GET\""),
    key("json", Kind::Json, JSON_DOC),
    key("status", Kind::Count(599), STATUS_DOC),
    key("ca_file", Kind::Path, "Trust only the certificate authorities in this PEM file."),
    key("run", Kind::List(&Kind::Text), RUN_DOC),
    key("within", Kind::Period, "How long it may take; `doctor` waits 10 s at most.").or("\"60s\""),
];

const METHODS: &[&str] = &["GET", "POST"];
const JSON_DOC: &str = "With POST: the body, a JSON document; a secret in it is refused.";
const STATUS_DOC: &str = "The status that it must answer with; any of 200 to 299 without one.";
const RUN_DOC: &str = "A command instead; it must exit with 0.";

const WHATSAPP: &[Key] = &[
    key("phone_number_id", Kind::Id, "The phone number's id at Meta."),
    key("business_account_id", Kind::Id, "The WhatsApp Business Account that the token must cover."),
    key("phone_number", Kind::Phone, "The number itself, in E.164 form; `doctor` compares it."),
    key(
        "webhooks",
        Kind::Bool,
        "Whether what arrives at the number must reach the app. Without it, that is told only when it was so once and no longer is.",
    ),
];

const REACH: &[Key] = &[
    key(
        "base_url",
        Kind::ProviderUrl,
        "Where it answers, instead of where it usually does (`meta`: https://graph.facebook.com).",
    ),
    key(
        "version",
        Kind::Text,
        "Of `meta`, `instagram` and `threads`: the API version asked for (v25.0; `threads`: v1.0).",
    ),
    key("parameters", Kind::Values, "Values of its parameters for all tokens that do not give their own."),
    key("timeout", Kind::Period, "How long one answer may take.").or("\"10s\""),
    key("ca_file", Kind::Path, "Trust only the certificate authorities in this PEM file."),
];

const METRICS: &[Key] = &[key(
    "per_token",
    Kind::Word(&["auto", "all", "none"]),
    "Series per token: `auto` is all up to 5,000 tokens, beyond that those with an open finding or a deadline within the first rung.",
)
.or("\"auto\"")];

const TLS: &[Key] = &[key(
    "ca_file",
    Kind::Path,
    "Trust only the certificate authorities in this PEM file, unless a part names its own.",
)];

const HEARTBEAT: &[Key] = &[
    key("url", Kind::HttpUrl, "Asked with GET after real progress only, and not while nobody can be told anything.")
        .required(),
    key("ca_file", Kind::Path, "Trust only the certificate authorities in this PEM file."),
    key("timeout", Kind::Period, "How long an answer may take.").or("\"10s\""),
];

/// The ways to say where a secret stands.
pub const SECRET_FORMS: &str =
    "{ env = \"NAME\" }, { file = \"/path\" }, { credential = \"name\" } or { env_file = \"/path\", key = \"NAME\" }";
