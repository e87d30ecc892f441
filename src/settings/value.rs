//! Values as written: the small languages inside a configuration (durations, shares, plans, addresses, secret references).
//!
//! Each parser takes text and gives a value or a sentence that helps; none touches the file system or the environment.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::domain::time::{Span, Timestamp};
use crate::domain::token::{Lead, Rhythm};
use crate::redact::{holds_a_secret, redact};

/// Where a secret stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SecretRef {
    /// An environment variable of the daemon.
    Env(Box<str>),
    /// A file that holds nothing else.
    File(PathBuf),
    /// A systemd credential: a file of that name in `$CREDENTIALS_DIRECTORY`.
    Credential(Box<str>),
    /// A variable in a file of `KEY=value` lines.
    EnvFile {
        /// The file.
        path: PathBuf,
        /// The variable.
        key: Box<str>,
    },
    /// Nowhere: there is no secret. What is watched is a certificate, or a date.
    Nowhere,
}

impl SecretRef {
    /// Whether there is a secret at all.
    pub const fn is_somewhere(&self) -> bool {
        !matches!(self, Self::Nowhere)
    }

    /// The file behind it. A credential is in memory, and so is an environment.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) | Self::EnvFile { path, .. } => Some(path),
            Self::Env(_) | Self::Credential(_) | Self::Nowhere => None,
        }
    }
}

/// Where it stands, for people: `WHATSAPP_ACCESS_TOKEN in /srv/app/config.env`.
impl std::fmt::Display for SecretRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Env(name) => write!(f, "the environment variable {name}"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Credential(name) => write!(f, "the systemd credential {name}"),
            Self::EnvFile { path, key } => write!(f, "{key} in {}", path.display()),
            Self::Nowhere => f.write_str("nowhere, for there is no secret"),
        }
    }
}

/// When tokens are checked.
#[derive(Clone, PartialEq, Debug)]
pub enum Plan {
    /// Once per period.
    Every(Span),
    /// When this cron expression says.
    Cron(String),
}

impl Plan {
    /// What a token's own rhythm is under this plan.
    pub const fn rhythm(&self, spread: Span) -> Rhythm {
        match self {
            Self::Every(period) => Rhythm::Every(*period),
            Self::Cron(_) => Rhythm::OnBell { spread },
        }
    }
}

/// How the connection to a relay is protected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RelayTls {
    /// TLS from the first byte.
    Implicit,
    /// STARTTLS, or no mail.
    Required,
    /// STARTTLS where offered.
    Opportunistic,
    /// In the clear; loopback only.
    None,
}

/// A relay's address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RelayUrl {
    /// Host name or address.
    pub host: String,
    /// Port; 465 for `smtps`, 587 for `smtp`.
    pub port: u16,
    /// The user to log in as.
    pub user: Option<String>,
    /// How it is protected.
    pub tls: RelayTls,
}

/// A database.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SqlPlace {
    /// A PostgreSQL server.
    Postgres {
        /// Host name or address; for a socket, its folder.
        host: String,
        /// Port; 5432.
        port: u16,
        /// The user.
        user: String,
        /// The database.
        database: String,
        /// Whether TLS is used, with the certificate verified. Only this machine may do without.
        tls: bool,
    },
    /// An SQLite file.
    Sqlite(PathBuf),
}

impl SqlPlace {
    /// Whether there is anybody to log in.
    pub const fn takes_password(&self) -> bool {
        matches!(self, Self::Postgres { .. })
    }
}

/// `helpdesk at db.example.com:5432`, `/srv/app/app.db`.
impl std::fmt::Display for SqlPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Postgres { host, port, database, .. } => write!(f, "database {database} at {host}:{port}"),
            Self::Sqlite(path) => write!(f, "database {}", path.display()),
        }
    }
}

/// Reads `90s`, `15m`, `6h`, `21d`, `2w`, and sums of them such as `1h30m`.
pub fn span(text: &str) -> Result<Span, String> {
    let help = || format!("{} is no duration; durations look like 90s, 15m, 6h or 21d", quoted(text));
    let mut total = 0_i64;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(help());
    }
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number: i64 = rest[..digits].parse().map_err(|_| help())?;
        let unit = rest[digits..].chars().next().ok_or_else(help)?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            'w' => 7 * 86_400,
            _ => return Err(help()),
        };
        total = number.checked_mul(seconds).and_then(|part| total.checked_add(part)).ok_or_else(help)?;
        rest = &rest[digits + unit.len_utf8()..];
    }
    if total > LONGEST_SPAN.as_seconds() {
        return Err(format!("{} is longer than 100 years", quoted(text)));
    }
    Ok(Span::seconds(total))
}

/// Reads a duration above zero.
pub fn period(text: &str) -> Result<Span, String> {
    match span(text)? {
        Span::ZERO => Err("must be longer than zero".to_owned()),
        period => Ok(period),
    }
}

/// Reads a duration or a percentage of the lifetime.
pub fn lead(text: &str) -> Result<Lead, String> {
    let Some(number) = text.trim().strip_suffix('%') else {
        return match span(text)? {
            Span::ZERO => Err("a rung stands before the deadline, so it cannot be zero".to_owned()),
            before => Ok(Lead::Before(before)),
        };
    };
    match number.trim().parse::<f64>() {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the range is checked in the guard"
        )]
        Ok(percent) if percent > 0.0 && percent < 100.0 => Ok(Lead::Share((percent * 100.0).round() as u32)),
        _ => Err(format!("{} is no share of a lifetime; shares lie between 0% and 100%, such as 33%", quoted(text))),
    }
}

/// Reads a period or a cron expression.
pub fn plan(text: &str) -> Result<Plan, String> {
    if text.trim().contains(char::is_whitespace) || text.starts_with('@') {
        return cron(text).map(|()| Plan::Cron(text.trim().to_owned()));
    }
    period(text).map(Plan::Every)
}

/// Checks a cron expression with seconds first.
pub fn cron(text: &str) -> Result<(), String> {
    cron_schedule(text).map(drop)
}

/// Reads a cron expression with seconds first.
pub fn cron_schedule(text: &str) -> Result<croner::Cron, String> {
    let parser = croner::parser::CronParser::builder().seconds(croner::parser::Seconds::Required).build();
    parser.parse(text.trim()).map_err(|error| {
        format!(
            "{} is no cron expression ({error}); six fields, seconds first, such as \"0 0 9 * * Mon\"",
            quoted(text)
        )
    })
}

/// Checks `address:port`; names are not taken, because what they mean may change.
pub fn listen(text: &str) -> Result<Option<std::net::SocketAddr>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|_| format!("{} is no address and port; write 127.0.0.1:9847, or \"\" to turn it off", quoted(text)))
}

/// Reads an absolute path.
pub fn path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err(format!("{} is not an absolute path", quoted(text))) }
}

/// Reads `sqlite:///absolute/path`.
pub fn state(text: &str) -> Result<PathBuf, String> {
    match text.strip_prefix("sqlite://") {
        Some(rest) if rest.ends_with('/') => {
            Err(format!("{} names no file; write sqlite:///var/lib/tokenwatch/tokenwatch.db", quoted(text)))
        }
        Some(rest) => path(rest),
        None => Err(format!("{} is no state url; write sqlite:///var/lib/tokenwatch/tokenwatch.db", quoted(text))),
    }
}

/// Reads an `http(s)` url without a password in it. Who knows the address of a webhook may write to it, so it is not repeated.
pub fn http_url(text: &str) -> Result<url::Url, String> {
    let url = url::Url::parse(text).map_err(|error| format!("is no url ({error}); write https://host/path"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("is not an http or https url; write https://host/path".to_owned());
    }
    if url.password().is_some() || !url.username().is_empty() {
        return Err("a url must not carry a user or password".to_owned());
    }
    Ok(url)
}

/// Checks a JSON document that is sent as it is written.
pub fn json(text: &str) -> Result<(), String> {
    let document: serde_json::Value =
        serde_json::from_str(text).map_err(|error| format!("is no JSON document ({error})"))?;
    // Written anew it has no escapes left that something could hide behind.
    if holds_a_secret(text) || holds_a_secret(&document.to_string()) {
        let what = "holds what looks like a secret, and a secret in plain text is refused: it would be readable to everyone who may read the \
                    configuration; ask with run = [\"…\"], a command that reads the secret where it stands";
        return Err(what.to_owned());
    }
    Ok(())
}

/// Reads a provider's base: secrets travel to it, so plain `http` is for loopback only (contract §10.7).
pub fn provider_url(text: &str) -> Result<url::Url, String> {
    let url = http_url(text)?;
    if url.scheme() == "http" && !is_loopback(url.host_str().unwrap_or_default()) {
        return Err(format!(
            "{} would send tokens in the clear; use https (http is allowed for loopback only)",
            quoted(text)
        ));
    }
    Ok(url)
}

/// Reads a relay's url. One that cannot be taken apart may have a password in any place, so it is not repeated.
pub fn relay_url(text: &str) -> Result<RelayUrl, String> {
    let url = url::Url::parse(text).map_err(|error| format!("is no url ({error}); write smtp://host:587"))?;
    // A `#`, `/` or `?` in a password ends the host early, and the password would stand in the rest.
    if url.password().is_some() || url.fragment().is_some() || !matches!(url.path(), "" | "/") || text.ends_with('@') {
        return Err(format!("a password in plain text is refused; write password = {}", super::schema::SECRET_FORMS));
    }
    let host =
        url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| format!("{} names no host", quoted(text)))?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let asked = url.query_pairs().find(|(name, _)| name == "tls").map(|(_, value)| value.into_owned());
    if let Some((name, _)) = url.query_pairs().find(|(name, _)| name != "tls") {
        return Err(format!("{} is no option of a relay url; the only one is tls", quoted(&name)));
    }
    let (port, tls) = match (url.scheme(), asked.as_deref()) {
        ("smtps", None) => (465, RelayTls::Implicit),
        ("smtps", Some(_)) => return Err("smtps is TLS from the first byte; leave tls= out".to_owned()),
        ("smtp", None | Some("required")) => (587, RelayTls::Required),
        ("smtp", Some("opportunistic")) => (587, RelayTls::Opportunistic),
        ("smtp", Some("none")) if is_loopback(&host) => (587, RelayTls::None),
        ("smtp", Some("none")) => return Err("tls=none is allowed for loopback only".to_owned()),
        ("smtp", Some(other)) => return Err(format!("tls={} is none of required, opportunistic, none", quoted(other))),
        (scheme, _) => return Err(format!("{scheme}:// is no relay; use smtps:// or smtp://")),
    };
    let user = percent_encoding::percent_decode_str(url.username()).decode_utf8_lossy().into_owned();
    Ok(RelayUrl { host, port: url.port().unwrap_or(port), user: (!user.is_empty()).then_some(user), tls })
}

/// Reads `postgres://user@host:port/database?sslmode=verify-full` or `sqlite:///path`. A socket is named by its folder:
/// `postgres://user@/database?host=/run/postgresql`.
pub fn sql_place(text: &str) -> Result<SqlPlace, String> {
    if text.starts_with("sqlite:") {
        let path = text.strip_prefix("sqlite://").unwrap_or_default();
        return self::path(path).map(SqlPlace::Sqlite);
    }
    // A url needs a host to have a user; where there is none the socket's folder follows.
    let spelled = text.replacen("@/", "@localhost/", 1);
    let url = url::Url::parse(&spelled).map_err(|error| format!("{} is no url ({error})", quoted(text)))?;
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        return Err(format!("{} is no database; write postgres://user@host/database or sqlite:///path", quoted(text)));
    }
    if url.password().is_some() || url.fragment().is_some() {
        return Err(format!("a password in plain text is refused; write password = {}", super::schema::SECRET_FORMS));
    }
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (user, database) = (decoded(url.username()), decoded(url.path().trim_start_matches('/')));
    if user.is_empty() || database.is_empty() || database.contains('/') {
        return Err(format!("{} must name a user and a database: postgres://user@host/database", quoted(text)));
    }
    let (mut socket, mut sslmode) = (None, None);
    for (name, value) in url.query_pairs() {
        match &*name {
            "host" if value.starts_with('/') => socket = Some(value.into_owned()),
            "sslmode" if matches!(&*value, "disable" | "verify-full") => sslmode = Some(value.into_owned()),
            "sslmode" => {
                return Err(format!("sslmode={} is neither verify-full nor disable", quoted(&value)));
            }
            other => return Err(format!("{} is no option here; known: host (of a socket), sslmode", quoted(other))),
        }
    }
    let host = url.host_str().unwrap_or("localhost").trim_start_matches('[').trim_end_matches(']').to_owned();
    let local = socket.is_some() || is_loopback(&host);
    let tls = match sslmode.as_deref() {
        Some("disable") if local => false,
        Some("disable") => return Err("sslmode=disable is allowed on this machine only".to_owned()),
        Some(_) => true,
        None => !local,
    };
    let port = url.port().unwrap_or(5432);
    Ok(SqlPlace::Postgres { host: socket.unwrap_or(host), port, user, database, tls })
}

/// Checks the statement of a database sink.
pub fn sql_update(text: &str) -> Result<(), String> {
    let statement = text.trim().trim_end_matches(';');
    let verb = statement.split_whitespace().next().unwrap_or_default();
    if !verb.eq_ignore_ascii_case("update") {
        return Err("must be an UPDATE of exactly one row".to_owned());
    }
    if statement.contains(';') {
        return Err("must be one statement".to_owned());
    }
    if !statement.to_ascii_lowercase().split_whitespace().any(|word| word == "where") {
        return Err("has no WHERE: it would change every row".to_owned());
    }
    let numbers: Vec<&str> = statement
        .split('$')
        .skip(1)
        .map(|rest| &rest[..rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len()])
        .collect();
    if !numbers.contains(&"1") {
        return Err("does not use $1, which is the new secret".to_owned());
    }
    match numbers.iter().find(|number| !matches!(**number, "1" | "2")) {
        Some(other) => Err(format!("uses ${other}; there are only $1 (the new secret) and $2 (the one before)")),
        None => Ok(()),
    }
}

/// Checks the name of a systemd unit.
pub fn unit(text: &str) -> Result<(), String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | '.' | '\\' | '@' | '-');
    match text.rsplit_once('.') {
        Some((name, suffix)) if UNIT_SUFFIXES.contains(&suffix) && !name.is_empty() && text.chars().all(fine) => Ok(()),
        Some(_) if !text.chars().all(fine) => Err(format!("{} is no unit name", quoted(text))),
        _ => Err(format!(
            "{} is no unit; write its name in full, such as {:?}",
            quoted(text),
            format!("{}.service", redact(text, &[]))
        )),
    }
}

/// Checks a mail address, perhaps with a name in front. Faults end up in the log, and an address says something of a person, so it is not repeated.
pub fn email(text: &str) -> Result<(), String> {
    let help = "is no mail address; write one, such as ada@example.com or Ada <ada@example.com>";
    text.parse::<lettre::message::Mailbox>().map(drop).map_err(|_| help.to_owned())
}

/// Checks a phone number in E.164 form: `+` and at most fifteen digits, the first of them not zero (ITU-T E.164 §6). It is somebody's, so it is
/// not repeated.
pub fn phone(text: &str) -> Result<(), String> {
    let fine = text.strip_prefix('+').is_some_and(|digits| {
        (7..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0')
    });
    let help = "is no phone number in E.164 form; write + and the country code, such as +919812345678";
    if fine { Ok(()) } else { Err(help.to_owned()) }
}

/// Checks an id at Meta. What is no id may be a secret that stands in the wrong place, so it is not repeated.
pub fn id(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("must not be empty".to_owned());
    }
    if is_id(text) {
        Ok(())
    } else {
        Err("is no id: an id is digits only, and what stands here is something else".to_owned())
    }
}

/// The id of an app that is not Meta's: a word. A secret that was put there by mistake is not repeated.
pub fn foreign_id(text: &str) -> Result<(), String> {
    match text {
        "" => Err("must not be empty".to_owned()),
        text if text.len() > LONGEST_WORD || !text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Err("is no id: an id is one word".to_owned())
        }
        _ => Ok(()),
    }
}

/// Whether it is an id of Meta's: digits, and not too many.
pub fn is_id(text: &str) -> bool {
    (1..=LONGEST_ID).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Reads `2026-12-31`, which is the first moment of that day in UTC, or a moment as RFC 3339 writes it.
pub fn date(text: &str) -> Result<Timestamp, String> {
    let help = || format!("{} is no date; dates look like 2026-12-31 or 2026-12-31T12:00:00Z", quoted(text));
    let alone = text.len() == "2026-12-31".len();
    if let Some(date) = text.parse::<jiff::civil::Date>().ok().filter(|_| alone) {
        let first = date.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| help())?;
        return Ok(Timestamp::from_unix(first.timestamp().as_second()));
    }
    text.parse::<jiff::Timestamp>().map(|at| Timestamp::from_unix(at.as_second())).map_err(|_| help())
}

/// The hundreds of a class of statuses: 4 of `4xx`.
pub fn status_class(text: &str) -> Option<u16> {
    let class = text.strip_suffix("xx")?.parse().ok()?;
    (1..=5).contains(&class).then_some(class)
}

/// Reads a time of day, `22:00`, as minutes after midnight.
pub fn time_of_day(text: &str) -> Result<u16, String> {
    let help = || format!("{} is no time of day; times look like 07:00 or 22:30", quoted(text));
    let (hours, minutes) = text.trim().split_once(':').ok_or_else(help)?;
    let part = |text: &str, below: u16| {
        let fine = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|number| fine && *number < below)
    };
    match (part(hours, 24), part(minutes, 60).filter(|_| minutes.len() == 2)) {
        (Some(hours), Some(minutes)) => Ok(hours * 60 + minutes),
        _ => Err(help()),
    }
}

/// Whether a host is this machine.
pub fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A value as it is shown in an error: short, and without anything that looks like a secret. What stands before an `@` in a url may be a
/// password, even where the url does not parse.
pub fn quoted(text: &str) -> String {
    let hidden = match (text.find("://"), text.rfind('@')) {
        (Some(scheme), Some(at)) if scheme + 3 < at => format!("{}***{}", &text[..scheme + 3], &text[at..]),
        _ => text.to_owned(),
    };
    let short: String = redact(&hidden, &[]).chars().take(60).collect();
    format!("{short:?}")
}

/// What can be restarted (systemd.unit(5)).
const UNIT_SUFFIXES: [&str; 3] = ["service", "socket", "target"];
/// Anything longer is a slip of the keyboard.
const LONGEST_SPAN: Span = Span::days(36_525);

/// Ids have up to 17 digits today.
/// The longest client ids in use have fewer than 100 characters.
const LONGEST_WORD: usize = 200;
const LONGEST_ID: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_number() {
        for (text, is) in [
            ("634900000000001", true),
            ("", false),
            ("12a", false),
            ("\u{661}\u{662}", false),
            (&"1".repeat(21), false),
        ] {
            assert_eq!(is_id(text), is, "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, seconds) in [
            ("90s", 90),
            ("15m", 900),
            ("6h", 21_600),
            ("21d", 1_814_400),
            ("1h30m", 5_400),
            ("0s", 0),
            ("2w", 1_209_600),
        ] {
            assert_eq!(span(text), Ok(Span::seconds(seconds)), "{text}");
        }
        for text in ["", "15", "m", "-5m", "1.5h", "15 m", "9999999999999999d", "99999d", "5µ"] {
            assert!(span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn leads_and_plans() {
        assert_eq!(lead("33%"), Ok(Lead::Share(3_300)));
        assert_eq!(lead("0.5%"), Ok(Lead::Share(50)));
        assert_eq!(lead("21d"), Ok(Lead::Before(Span::days(21))));
        for text in ["0%", "100%", "-1%", "NaN%", "0s", "x%"] {
            assert!(lead(text).is_err(), "{text}");
        }
        assert_eq!(plan("15m"), Ok(Plan::Every(Span::minutes(15))));
        assert_eq!(plan("0 0 9 * * Mon"), Ok(Plan::Cron("0 0 9 * * Mon".to_owned())));
        for text in ["0s", "0 9 * * Mon", "99 * * * * *", "every day"] {
            assert!(plan(text).is_err(), "{text}");
        }
    }

    #[test]
    fn relays() {
        let relay = relay_url("smtps://alerts%40example.com@mail.example.com").unwrap_or_else(|e| unreachable!("{e}"));
        assert_eq!(
            (relay.port, relay.tls, relay.user.as_deref()),
            (465, RelayTls::Implicit, Some("alerts@example.com"))
        );
        let relay = relay_url("smtp://[::1]:2525?tls=none").unwrap_or_else(|e| unreachable!("{e}"));
        assert_eq!((relay.host.as_str(), relay.port, relay.tls), ("::1", 2525, RelayTls::None));
        for text in [
            "smtp://u:hunter2@h",
            "smtp://h?tls=none",
            "smtps://h?tls=none",
            "smtp://h?tls=maybe",
            "smtp://h?x=1",
            "http://h",
            "smtp://",
            "mail",
        ] {
            let fault = relay_url(text).err().unwrap_or_default();
            assert!(!fault.is_empty() && !fault.contains("hunter2"), "{text}: {fault}");
        }
    }

    /// A fault ends up in the log: it must not tell of a person, nor open a door.
    #[test]
    fn what_is_somebodys_is_not_repeated() {
        let key = "b8f1-ping-key";
        for (read, text) in [
            (
                &(|text: &str| http_url(text).map(drop)) as &dyn Fn(&str) -> Result<(), String>,
                "hc.example.com/b8f1-ping-key",
            ),
            (&|text| http_url(text).map(drop), "ftp://hc.example.com/b8f1-ping-key"),
            (&|text| http_url(text).map(drop), "https://hc.example.com:port/b8f1-ping-key"),
            (&|text| relay_url(text).map(drop), "smtp//ada:b8f1-ping-key@mail.example.com"),
            (&email, "b8f1-ping-key@example.com, ada@example.com"),
            (&phone, "b8f1-ping-key"),
            (&phone, "4915112345678"),
        ] {
            let fault = read(text).err().unwrap_or_default();
            assert!(!fault.is_empty() && !fault.contains(key) && !fault.contains("15112345"), "{text}: {fault}");
        }
    }

    #[test]
    fn databases() {
        let postgres = |host: &str, port: u16, tls: bool| SqlPlace::Postgres {
            host: host.to_owned(),
            port,
            user: "app".to_owned(),
            database: "helpdesk".to_owned(),
            tls,
        };
        for (text, place) in [
            ("postgres://app@db.example.com/helpdesk", postgres("db.example.com", 5432, true)),
            ("postgresql://app@[::1]:5433/helpdesk", postgres("::1", 5433, false)),
            ("postgres://app@127.0.0.1/helpdesk?sslmode=verify-full", postgres("127.0.0.1", 5432, true)),
            ("postgres://app@/helpdesk?host=/run/postgresql", postgres("/run/postgresql", 5432, false)),
            ("sqlite:///srv/app.db", SqlPlace::Sqlite("/srv/app.db".into())),
        ] {
            assert_eq!(sql_place(text), Ok(place), "{text}");
        }
        for text in [
            "postgres://app:hunter2@h/d",
            "postgres://app@h/d?sslmode=disable",
            "postgres://app@h/d?sslmode=prefer",
            "postgres://app@h/d?x=1",
            "postgres://app@h",
            "postgres://h/d",
            "sqlite://relative.db",
            "mysql://app@h/d",
        ] {
            let fault = sql_place(text).err().unwrap_or_default();
            assert!(!fault.is_empty() && !fault.contains("hunter2"), "{text}: {fault}");
        }
        assert_eq!(sql_update("UPDATE settings SET token = $1 WHERE name = 'wa' AND token = $2;"), Ok(()));
        assert_eq!(sql_update("update t set x=$1 where y=2"), Ok(()));
        for text in [
            "DELETE FROM t WHERE x = $1",
            "UPDATE t SET x = $1",
            "UPDATE t SET x = 1 WHERE y = 2",
            "UPDATE t SET x = $1 WHERE y = $3",
            "UPDATE t SET x = $11 WHERE y = 2",
            "UPDATE t SET x = $1 WHERE y = 2; DROP TABLE t",
        ] {
            assert!(sql_update(text).is_err(), "{text}");
        }
    }

    #[test]
    fn units() {
        for text in ["itsm-backend.service", "app@1.service", "a.b.socket", "x\\x2dy.service"] {
            assert_eq!(unit(text), Ok(()), "{text}");
        }
        for text in ["itsm-backend", ".service", "a b.service", "a/b.service", "../x.service", "x.timer"] {
            assert!(unit(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_and_times() {
        assert!(phone("+919812345678").is_ok());
        for text in ["919812345678", "+0919812345", "+91 98123 45678", "+123456", "+1234567890123456", "+"] {
            assert!(phone(text).is_err(), "{text}");
        }
        assert_eq!(time_of_day("22:30"), Ok(22 * 60 + 30));
        assert_eq!(time_of_day("7:00"), Ok(7 * 60));
        for text in ["24:00", "7", "07:60", "07:0", "-1:00", "07:00:00", "+7:00"] {
            assert!(time_of_day(text).is_err(), "{text}");
        }
    }

    #[test]
    fn tokens_never_go_in_the_clear() {
        assert!(provider_url("http://127.0.0.1:8080").is_ok());
        assert!(provider_url("http://[::1]:8080").is_ok());
        assert!(provider_url("http://graph.facebook.com").is_err());
        assert!(provider_url("https://graph.facebook.com").is_ok());
        assert!(provider_url("ftp://localhost").is_err());
        assert!(http_url("https://u:p@h").is_err());
    }
}
