//! The web configuration file: TLS, client certificates and users of the listener, in the shape that Prometheus and its exporters use.
//!
//! The part of that format is read that makes sense here, and each key that is not read is refused with what to do instead: a file that was half
//! understood would leave a door open that its owner believes closed. It holds names of files and hashes of passwords, never a password.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde_yaml_ng::{Mapping, Value};
use zeroize::Zeroizing;

use super::check::did_you_mean;
use super::{Fault, Faults};

/// What a web configuration file says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WebFile {
    /// How connections are encrypted; `None` is in the clear.
    pub tls: Option<ServerTls>,
    /// Who may read; with nobody in it everybody may.
    pub users: BTreeMap<String, PasswordHash>,
    /// What browsers are told of later visits (`Strict-Transport-Security`).
    pub strict_transport_security: Option<String>,
}

/// How connections are encrypted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerTls {
    /// The certificate and those that lead to its authority.
    pub cert_file: PathBuf,
    /// Its key.
    pub key_file: PathBuf,
    /// Whose certificates clients must show; `None` asks for none.
    pub client_ca_file: Option<PathBuf>,
    /// Of these names (DNS, IP, mail, URI) a client's certificate must have one; with none in it any will do.
    pub client_allowed_sans: Vec<String>,
    /// The oldest version that is spoken.
    pub oldest: TlsVersion,
    /// The newest.
    pub newest: TlsVersion,
    /// Whether our order of cipher suites counts, and not the client's.
    pub own_order: bool,
}

/// A version of TLS.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TlsVersion {
    /// 1.2.
    Tls12,
    /// 1.3.
    Tls13,
}

/// A password's bcrypt hash. Who has it can guess at leisure, so it is not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(Zeroizing<String>);

impl PasswordHash {
    /// Reads one; what is wrong with it never repeats it, since it may be a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let right = || {
            let (cost, rest) =
                ["$2a$", "$2b$", "$2y$"].iter().find_map(|kind| text.strip_prefix(kind))?.split_once('$')?;
            let cost: u32 = cost.parse().ok().filter(|_| cost.len() == 2)?;
            let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'/';
            (rest.len() == LENGTH_OF_SALT_AND_HASH && rest.bytes().all(is_base64)).then_some(cost)
        };
        match right() {
            None => Err(format!("is no bcrypt hash; make one with: {MAKE_A_HASH}")),
            Some(cost) if !(LEAST_COST..=MOST_COST).contains(&cost) => Err(format!(
                "has cost {cost}, and {LEAST_COST} to {MOST_COST} is possible: each step doubles the time that every wrong password \
                 takes; make one of cost 10 with: {MAKE_A_HASH}"
            )),
            Some(_) => Ok(Self(Zeroizing::new(text.to_owned()))),
        }
    }

    /// The hash itself, for the one call that compares it.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// How much work it is to check a password: each step doubles it.
    pub fn cost(&self) -> u32 {
        self.0.get(4..6).and_then(|cost| cost.parse().ok()).unwrap_or(LEAST_COST)
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Reads the text of the file at `path`; the names of files in it are relative to its folder.
///
/// # Errors
/// All faults at once.
pub fn parse(text: &str, path: &Path) -> Result<WebFile, Faults> {
    let mut reading = Reading { path, faults: Vec::new() };
    let file = reading.file(text);
    if reading.faults.is_empty() { Ok(file) } else { Err(Faults(reading.faults)) }
}

struct Reading<'a> {
    path: &'a Path,
    faults: Vec<Fault>,
}

impl Reading<'_> {
    fn file(&mut self, text: &str) -> WebFile {
        let root = match serde_yaml_ng::from_str::<Value>(text) {
            Ok(Value::Mapping(root)) if !root.is_empty() => root,
            // An editor that empties a file before it writes it must not open the door for a moment.
            Ok(Value::Null | Value::Mapping(_)) => {
                self.fault("", "is empty; to serve without TLS and users, take web_config out of [daemon]".to_owned());
                return WebFile::default();
            }
            Ok(_) => {
                self.fault("", format!("is not a table of these keys: {}", names(ROOT)));
                return WebFile::default();
            }
            Err(problem) => {
                self.fault("", format!("is not YAML: {problem}"));
                return WebFile::default();
            }
        };
        self.keys(&root, "", ROOT);
        let tls = self.table(&root, "", "tls_server_config").and_then(|at| self.tls(&at));
        let http = self.table(&root, "", "http_server_config");
        let strict_transport_security = http.and_then(|at| self.http(&at, tls.is_some()));
        let users = self.table(&root, "", "basic_auth_users").map(|at| self.users(&at)).unwrap_or_default();
        WebFile { tls, users, strict_transport_security }
    }

    fn tls(&mut self, at: &Mapping) -> Option<ServerTls> {
        const AT: &str = "tls_server_config";
        self.keys(at, AT, TLS);
        let cert_file = self.needed_file(at, "cert_file");
        let key_file = self.needed_file(at, "key_file");
        let client_ca_file = self.file_name(at, "client_ca_file");
        let asks = match self.text(at, AT, "client_auth_type").as_deref() {
            None | Some("" | "NoClientCert") => false,
            Some(VERIFIED) => true,
            Some(_) => {
                let what = format!(
                    "must be {VERIFIED} or NoClientCert: with anything else a client gets in without a verified certificate"
                );
                self.fault(&key(AT, "client_auth_type"), what);
                false
            }
        };
        let given = at.contains_key("client_ca_file");
        if asks && !given {
            self.fault(
                &key(AT, "client_ca_file"),
                format!("is missing: {VERIFIED} needs the authorities to verify by"),
            );
        }
        if given && !asks && client_ca_file.is_some() {
            let what = format!("would have no effect; write client_auth_type: {VERIFIED} beside it, or take it out");
            self.fault(&key(AT, "client_ca_file"), what);
        }
        let client_allowed_sans = self.texts(at, AT, "client_allowed_sans");
        if !client_allowed_sans.is_empty() && !asks {
            let what = format!("would have no effect; write client_auth_type: {VERIFIED} beside it, or take it out");
            self.fault(&key(AT, "client_allowed_sans"), what);
        }
        let oldest = self.version(at, "min_version").unwrap_or(TlsVersion::Tls12);
        let newest = self.version(at, "max_version").unwrap_or(TlsVersion::Tls13);
        if newest < oldest {
            self.fault(&key(AT, "max_version"), "is older than min_version".to_owned());
        }
        let own_order = self.flag(at, AT, "prefer_server_cipher_suites").unwrap_or(true);
        Some(ServerTls {
            cert_file: cert_file?,
            key_file: key_file?,
            client_ca_file,
            client_allowed_sans,
            oldest,
            newest,
            own_order,
        })
    }

    fn http(&mut self, at: &Mapping, has_tls: bool) -> Option<String> {
        const AT: &str = "http_server_config";
        const HEADERS: &str = "http_server_config.headers";
        self.keys(at, AT, HTTP);
        if self.flag(at, AT, "http2") == Some(true) {
            let what = "is not spoken: one scrape at a time gains nothing by it; take it out, or write false";
            self.fault(&key(AT, "http2"), what.to_owned());
        }
        let headers = self.table(at, AT, "headers")?;
        self.keys(&headers, HEADERS, HEADER_NAMES);
        let value = self.text(&headers, HEADERS, STRICT)?;
        if value.is_empty() {
            return None;
        }
        if !has_tls {
            self.fault(&key(HEADERS, STRICT), "has no meaning without tls_server_config".to_owned());
        }
        if !value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            self.fault(&key(HEADERS, STRICT), "is no value of a header; write \"max-age=31536000\"".to_owned());
        }
        Some(value)
    }

    fn users(&mut self, at: &Mapping) -> BTreeMap<String, PasswordHash> {
        const AT: &str = "basic_auth_users";
        if at.is_empty() {
            self.fault(AT, "names nobody; take it out to let everybody read, or add a user".to_owned());
        }
        let mut users = BTreeMap::new();
        for (place, (name, hash)) in at.iter().enumerate() {
            let place = format!("{AT}, entry {}", place + 1);
            let Some(name) = name.as_str().filter(|name| !name.is_empty()) else {
                self.fault(&place, "has no name that is a text; write it in quotes".to_owned());
                continue;
            };
            // Whoever swapped the two would find a password in the log.
            if name.contains(':') || name.chars().any(char::is_control) {
                self.fault(
                    &place,
                    "has a name with a colon or a control character, which no client can send".to_owned(),
                );
                continue;
            }
            let parsed = hash.as_str().ok_or_else(|| format!("is no text; make a hash with: {MAKE_A_HASH}"));
            match parsed.and_then(PasswordHash::parse) {
                Ok(hash) => _ = users.insert(name.to_owned(), hash),
                Err(what) => self.fault(&place, what),
            }
        }
        users
    }

    /// Refuses what is not among these keys, and those that are known and not supported, with what to do instead.
    fn keys(&mut self, at: &Mapping, path: &str, known: &[Key]) {
        for name in at.keys() {
            let Some(name) = name.as_str() else {
                self.fault(path, "has a key that is no text".to_owned());
                continue;
            };
            match known.iter().find(|(known, _)| *known == name) {
                Some((_, None)) => {}
                Some((_, Some(instead))) => self.fault(&key(path, name), format!("is not supported; {instead}")),
                None => {
                    let hint = did_you_mean(name, readable(known));
                    self.fault(&key(path, name), format!("is not known; known are {}{hint}", names(known)));
                }
            }
        }
    }

    fn table(&mut self, at: &Mapping, path: &str, name: &str) -> Option<Mapping> {
        match at.get(name)? {
            Value::Mapping(table) => Some(table.clone()),
            Value::Null => {
                self.fault(&key(path, name), "is empty; fill it or take it out".to_owned());
                None
            }
            _ => {
                self.fault(&key(path, name), "must be a table".to_owned());
                None
            }
        }
    }

    fn text(&mut self, at: &Mapping, path: &str, name: &str) -> Option<String> {
        let value = at.get(name)?;
        if value.as_str().is_none() {
            self.fault(&key(path, name), "must be a text".to_owned());
        }
        value.as_str().map(str::to_owned)
    }

    fn texts(&mut self, at: &Mapping, path: &str, name: &str) -> Vec<String> {
        let Some(value) = at.get(name) else { return Vec::new() };
        let items = value.as_sequence().filter(|items| !items.is_empty() && items.iter().all(Value::is_string));
        if items.is_none() {
            self.fault(&key(path, name), "must be a list of texts with something in it".to_owned());
        }
        items.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    fn flag(&mut self, at: &Mapping, path: &str, name: &str) -> Option<bool> {
        let value = at.get(name)?;
        if value.as_bool().is_none() {
            self.fault(&key(path, name), "must be true or false".to_owned());
        }
        value.as_bool()
    }

    fn version(&mut self, at: &Mapping, name: &str) -> Option<TlsVersion> {
        match self.text(at, "tls_server_config", name)?.as_str() {
            "TLS12" => Some(TlsVersion::Tls12),
            "TLS13" => Some(TlsVersion::Tls13),
            "TLS10" | "TLS11" => {
                let what = "is broken and not spoken here; write TLS12 or TLS13";
                self.fault(&key("tls_server_config", name), what.to_owned());
                None
            }
            _ => {
                self.fault(&key("tls_server_config", name), "must be TLS12 or TLS13".to_owned());
                None
            }
        }
    }

    fn needed_file(&mut self, at: &Mapping, name: &str) -> Option<PathBuf> {
        if !at.contains_key(name) {
            self.fault(&key("tls_server_config", name), "is missing".to_owned());
        }
        self.file_name(at, name)
    }

    fn file_name(&mut self, at: &Mapping, name: &str) -> Option<PathBuf> {
        let text = self.text(at, "tls_server_config", name)?;
        if text.is_empty() {
            self.fault(&key("tls_server_config", name), "names no file".to_owned());
            return None;
        }
        Some(self.path.parent().unwrap_or(Path::new("/")).join(text))
    }

    fn fault(&mut self, key: &str, what: String) {
        self.faults.push(Fault { origin: self.path.display().to_string(), key: key.to_owned(), what, absence: false });
    }
}

/// A key, and what to do instead where it is not supported.
type Key = (&'static str, Option<&'static str>);

fn key(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn readable(known: &[Key]) -> impl Iterator<Item = &'static str> {
    known.iter().filter(|(_, instead)| instead.is_none()).map(|(name, _)| *name)
}

fn names(known: &[Key]) -> String {
    readable(known).collect::<Vec<_>>().join(", ")
}

const ROOT: &[Key] = &[
    ("tls_server_config", None),
    ("http_server_config", None),
    ("basic_auth_users", None),
    ("rate_limit", Some("take it out: connections are limited by daemon.max_connections, and wrong passwords always")),
];
const TLS: &[Key] = &[
    ("cert_file", None),
    ("key_file", None),
    ("client_auth_type", None),
    ("client_ca_file", None),
    ("client_allowed_sans", None),
    ("min_version", None),
    ("max_version", None),
    ("prefer_server_cipher_suites", None),
    ("cert", Some("put the certificate into a file of its own and name it in cert_file")),
    ("key", Some("put the key into a file of its own and name it in key_file")),
    ("client_ca", Some("put the authorities into a file of their own and name it in client_ca_file")),
    ("cipher_suites", Some("take it out: only suites with forward secrecy and authenticated encryption are spoken")),
    ("curve_preferences", Some("take it out: X25519, P-256 and P-384 are spoken")),
];
const HTTP: &[Key] = &[("http2", None), ("headers", None)];
const STRICT: &str = "Strict-Transport-Security";
const ALWAYS: Option<&str> = Some("take it out: tokenwatch sends the strictest value with every page");
const HEADER_NAMES: &[Key] = &[
    (STRICT, None),
    ("Content-Security-Policy", ALWAYS),
    ("X-Frame-Options", ALWAYS),
    ("X-Content-Type-Options", ALWAYS),
    ("X-XSS-Protection", Some("take it out: browsers no longer read it")),
];
const VERIFIED: &str = "RequireAndVerifyClientCert";
const MAKE_A_HASH: &str = "htpasswd -nBC 10 \"\" | tr -d ':\\n'";
/// 22 characters of salt and 31 of hash.
const LENGTH_OF_SALT_AND_HASH: usize = 53;
/// What bcrypt can do at least.
const LEAST_COST: u32 = 4;
/// About four seconds of one core for each wrong password.
const MOST_COST: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG";

    fn read(text: &str) -> Result<WebFile, Vec<String>> {
        let path = Path::new("/etc/tokenwatch/web.yml");
        parse(text, path).map_err(|faults| faults.0.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_whole_file_is_read() {
        let text = format!(
            "tls_server_config:\n  cert_file: tls/server.crt\n  key_file: /run/key.pem\n  client_auth_type: {VERIFIED}\n  \
             client_ca_file: ca.pem\n  client_allowed_sans: [prometheus.example.com]\n  min_version: TLS13\n\
             http_server_config:\n  http2: false\n  headers:\n    Strict-Transport-Security: max-age=1\n\
             basic_auth_users:\n  alice: {HASH}\n"
        );
        let file = read(&text).expect("it is right");
        let tls = file.tls.expect("it has TLS");
        assert_eq!(tls.cert_file, Path::new("/etc/tokenwatch/tls/server.crt"));
        assert_eq!(tls.key_file, Path::new("/run/key.pem"));
        assert_eq!(tls.client_ca_file.as_deref(), Some(Path::new("/etc/tokenwatch/ca.pem")));
        assert_eq!(tls.client_allowed_sans, ["prometheus.example.com"]);
        assert_eq!((tls.oldest, tls.newest), (TlsVersion::Tls13, TlsVersion::Tls13));
        assert_eq!(file.users["alice"].cost(), 10);
        assert_eq!(file.strict_transport_security.as_deref(), Some("max-age=1"));
        assert!(!format!("{:?}", file.users).contains("$2y$"));
    }

    #[test]
    fn each_fault_is_told_with_its_key_and_what_to_do() {
        let text = format!(
            "tls_server_configs: {{}}\nrate_limit: {{burst: 1}}\ntls_server_config:\n  cert_file: a\n  min_version: TLS10\n  \
             client_auth_type: RequireAnyClientCert\n  cipher_suites: [x]\n  key: |\n    inline\n\
             http_server_config: {{http2: true, headers: {{X-Frame-Options: deny}}}}\n\
             basic_auth_users:\n  alice: {HASH}\n  bob: correct horse battery staple\n  eve: {}\n",
            HASH.replace("$10$", "$20$")
        );
        let told = read(&text).expect_err("it is wrong");
        let one = |parts: &[&str]| {
            let found = told.iter().filter(|fault| parts.iter().all(|part| fault.contains(part))).count();
            assert_eq!(found, 1, "{parts:?} in {told:#?}");
        };
        one(&["/etc/tokenwatch/web.yml: tls_server_configs is not known", "did you mean `tls_server_config`?"]);
        one(&["rate_limit is not supported", "daemon.max_connections"]);
        one(&["tls_server_config.key_file is missing"]);
        one(&["tls_server_config.min_version", "TLS12 or TLS13"]);
        one(&["tls_server_config.client_auth_type", VERIFIED]);
        one(&["tls_server_config.cipher_suites is not supported", "forward secrecy"]);
        one(&["tls_server_config.key is not supported", "key_file"]);
        one(&["http_server_config.http2"]);
        one(&["http_server_config.headers.X-Frame-Options is not supported"]);
        one(&["basic_auth_users, entry 2 is no bcrypt hash", "htpasswd -nBC 10"]);
        one(&["basic_auth_users, entry 3 has cost 20"]);
        assert_eq!(told.len(), 11, "{told:#?}");
        assert!(!told.iter().any(|fault| fault.contains("horse")), "a password is told");
    }

    #[test]
    fn a_file_that_is_just_being_written_opens_no_door() {
        for text in
            ["", "# nothing yet\n", "{}", "basic_auth_users:\n", "basic_auth_users: {}\n", "tls_server_config:\n"]
        {
            assert!(read(text).is_err(), "{text:?} is accepted");
        }
        let twice = format!("basic_auth_users:\n  alice: {HASH}\n  alice: {HASH}\n");
        assert!(read(&twice).expect_err("it is wrong")[0].contains("is not YAML"));
    }

    #[test]
    fn client_certificates_need_both_halves() {
        let tls = "tls_server_config:\n  cert_file: a\n  key_file: b\n";
        assert!(read(&format!("{tls}  client_ca_file: c\n")).is_err());
        assert!(read(&format!("{tls}  client_auth_type: {VERIFIED}\n")).is_err());
        assert!(read(&format!("{tls}  client_allowed_sans: [a]\n")).is_err());
        assert!(read(&format!("{tls}  client_auth_type: NoClientCert\n")).is_ok());
    }
}
