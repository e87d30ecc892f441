//! Who gets in at the listener: the certificate that is shown, the authorities of clients, and the users, as the web configuration file says.
//!
//! The files are looked at again every other second. What changed is put in force for new connections and new requests, when two looks in a row
//! saw the same: a file that is just being written never is, nor is a certificate whose key has not arrived yet. What cannot be used leaves the
//! old in force, and is told.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::http::HeaderValue;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use zeroize::Zeroizing;

use super::login::{Logins, Users};
use crate::board::Board;
use crate::settings::diff::Change;
use crate::settings::web_file::{self, ServerTls, TlsVersion};
use crate::settings::{Fault, Faults, Settings};

/// The rules in force, and what is remembered of those who came.
pub struct Gate {
    policy: RwLock<Arc<Policy>>,
    /// Passwords that were right, and how often wrong ones came.
    pub logins: Logins,
}

/// One web configuration file with all that it names, ready to be used.
pub struct Policy {
    /// How connections are encrypted; `None` is in the clear.
    pub tls: Option<ServerSide>,
    /// Who may read; nobody in it is everybody.
    pub users: Users,
    /// What browsers are told of later visits.
    pub strict_transport_security: Option<HeaderValue>,
    digest: Digest,
    secret_files: Vec<PathBuf>,
}

/// Our side of TLS.
pub struct ServerSide {
    /// What goes through the handshake.
    pub acceptor: TlsAcceptor,
    asks_clients: bool,
    allowed: Vec<String>,
    /// What it was made of: the key that names each file, the path, and what stood there.
    files: Vec<(&'static str, PathBuf, Digest)>,
}

impl Gate {
    /// A gate with these rules.
    pub fn new(policy: Policy) -> Self {
        Self { policy: RwLock::new(Arc::new(policy)), logins: Logins::new() }
    }

    /// The rules in force.
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts other rules in force. Connections that stand go on as they are; their next request is judged by the new users.
    pub fn put(&self, policy: Policy) {
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
    }

    /// Keeps the rules as the files have them, until told to stop.
    pub async fn keep(&self, mut settings: watch::Receiver<Arc<Settings>>, board: &Board, stop: CancellationToken) {
        let mut keeping = Keeping { gate: self, board, seen: None, judged: None };
        let keep = async {
            loop {
                let path = settings.borrow_and_update().daemon.web_config.clone();
                match path {
                    Some(path) => {
                        let open_probes = settings.borrow().daemon.open_probes;
                        keeping.look(path, open_probes).await;
                        sleep(BETWEEN_LOOKS).await;
                    }
                    None => {
                        keeping.fares(None);
                        if settings.changed().await.is_err() {
                            break;
                        }
                    }
                }
            }
            stop.cancelled().await;
        };
        tokio::select! {
            () = keep => {}
            () = stop.cancelled() => {}
        }
    }
}

impl Policy {
    /// Everybody is served, in the clear.
    pub fn open() -> Self {
        Self {
            tls: None,
            users: Users::default(),
            strict_transport_security: None,
            digest: Digest::default(),
            secret_files: Vec::new(),
        }
    }

    /// The rules of these settings: those of the web configuration file, with all that it names.
    ///
    /// # Errors
    /// All faults at once, each with its file and what to do.
    pub fn of(settings: &Settings) -> Result<Self, Faults> {
        let Some(path) = &settings.daemon.web_config else { return Ok(Self::open()) };
        Papers::read(path).judge(settings.daemon.open_probes)
    }

    /// What these rules change in those before, by the keys of the web configuration file. No hash and nothing of a key is in it.
    pub fn changes(&self, before: &Self) -> Vec<Change> {
        let mut changes = Changes(Vec::new());
        let of_tls = |policy: &Self, say: fn(&ServerSide) -> String| policy.tls.as_ref().map(say);
        changes.note("tls_server_config", [before, self].map(|policy| of_tls(policy, |_| "set".to_owned())));
        if let (Some(old), Some(new)) = (&before.tls, &self.tls) {
            let clients = |tls: &ServerSide| Some(if tls.asks_clients { ASKS } else { ASKS_NOT }.to_owned());
            changes.note("tls_server_config.client_auth_type", [clients(old), clients(new)]);
            let allowed = |tls: &ServerSide| (!tls.allowed.is_empty()).then(|| tls.allowed.join(", "));
            changes.note("tls_server_config.client_allowed_sans", [allowed(old), allowed(new)]);
            for (key, path, digest) in &new.files {
                let known = old.files.iter().find(|(known, ..)| known == key);
                let differs = known.is_some_and(|(_, old_path, old_digest)| (old_path, old_digest) != (path, digest));
                if let Some((_, old_path, _)) = known.filter(|_| differs) {
                    changes.push(
                        &format!("tls_server_config.{key}"),
                        [old_path, path].map(|path| Some(path.display().to_string())),
                    );
                }
            }
        }
        let users = |policy: &Self| (!policy.users.is_everybody()).then(|| policy.users.names().join(", "));
        if before.users != self.users {
            changes.push("basic_auth_users", [users(before), users(self)]);
        }
        let strict = |policy: &Self| policy.strict_transport_security.as_ref().map(|value| format!("{value:?}"));
        changes.note("http_server_config.headers.Strict-Transport-Security", [strict(before), strict(self)]);
        if changes.0.is_empty() && before.digest != self.digest {
            changes.push("how it is written, or another key of tls_server_config", [None, None]);
        }
        changes.0
    }

    /// What these rules let in that those before did not: the key that says so, and in words.
    pub fn opens(&self, before: &Self) -> Option<(&'static str, &'static str)> {
        match (&before.tls, &self.tls) {
            (Some(_), None) => {
                Some(("tls_server_config", "is gone, so passwords would cross the network in the clear"))
            }
            (Some(old), Some(new)) if old.asks_clients && !new.asks_clients => {
                Some(("tls_server_config.client_auth_type", "no longer asks clients for a certificate"))
            }
            (Some(old), Some(new)) if !old.allowed.is_empty() && new.allowed.is_empty() => {
                Some(("tls_server_config.client_allowed_sans", "is gone, so a certificate of any name would do"))
            }
            _ if !before.users.is_everybody() && self.users.is_everybody() => {
                Some(("basic_auth_users", "is gone, so everybody could read"))
            }
            _ => None,
        }
    }

    /// The files that only the daemon should be able to read.
    pub fn secret_files(&self) -> &[PathBuf] {
        &self.secret_files
    }
}

/// Keys that differ.
struct Changes(Vec<Change>);

impl Changes {
    fn note(&mut self, key: &str, values: [Option<String>; 2]) {
        if values[0] != values[1] {
            self.push(key, values);
        }
    }

    fn push(&mut self, key: &str, values: [Option<String>; 2]) {
        let [from, to] = values.map(|value| value.map(Into::into));
        self.0.push(Change { key: key.into(), from, to, needs_restart: false, may_be_logged: false });
    }
}

impl ServerSide {
    /// Whether a client with that certificate may come in.
    pub fn admits(&self, shown: Option<&[CertificateDer<'_>]>) -> bool {
        if self.allowed.is_empty() {
            return true;
        }
        let first = shown.and_then(|chain| chain.first());
        let names = first.map(|certificate| names_of(certificate)).unwrap_or_default();
        names.iter().any(|name| self.allowed.contains(name))
    }
}

/// What the keeper remembers from look to look.
struct Keeping<'a> {
    gate: &'a Gate,
    board: &'a Board,
    seen: Option<Digest>,
    judged: Option<Digest>,
}

impl Keeping<'_> {
    async fn look(&mut self, path: PathBuf, open_probes: bool) {
        let mut reading = spawn_blocking({
            let path = path.clone();
            move || Papers::read(&path)
        });
        let papers = match timeout(PATIENCE, &mut reading).await {
            Ok(papers) => papers,
            // A second read of a file system that hangs would only hang beside the first.
            Err(_) => {
                self.fares(Some(format!("{} cannot be read: the file system does not answer", path.display())));
                reading.await
            }
        };
        let Ok(papers) = papers else { return };
        if papers.digest == self.gate.policy().digest {
            if self.judged.is_some() {
                info!(file = %path.display(), "the listener's files are again as they are in force");
            }
            (self.seen, self.judged) = (None, None);
            self.fares(None);
            return;
        }
        let digest = papers.digest;
        if self.seen != Some(digest) {
            self.seen = Some(digest);
            return;
        }
        if self.judged == Some(digest) {
            return;
        }
        self.judged = Some(digest);
        match papers.judge(open_probes).and_then(|policy| self.no_wider(policy, &path)) {
            Ok(policy) => {
                self.gate.put(policy);
                (self.seen, self.judged) = (None, None);
                self.fares(None);
                info!(file = %path.display(), "the listener's certificate and users were read again and are in force");
            }
            Err(faults) => {
                for fault in &faults.0 {
                    error!(%fault, "the listener's new certificate or users cannot be used; the old ones stay in force");
                }
                let told: Vec<String> = faults.0.iter().map(ToString::to_string).collect();
                self.fares(Some(format!("new files are refused, the old ones stay in force: {}", told.join("; "))));
            }
        }
    }

    /// A file that is half edited must not take away what protects; whoever means it says so with a reload.
    fn no_wider(&self, policy: Policy, path: &Path) -> Result<Policy, Faults> {
        let Some((key, opened)) = policy.opens(&self.gate.policy()) else { return Ok(policy) };
        let what = format!("{opened}; if that is meant, reload the daemon: a file alone takes no such protection away");
        let origin = path.display().to_string();
        Err(Faults(vec![Fault { origin, key: key.to_owned(), what, absence: false }]))
    }

    fn fares(&self, trouble: Option<String>) {
        self.board.vitals.listener_is(trouble);
    }
}

/// What stood in the files at one moment.
struct Papers {
    path: PathBuf,
    digest: Digest,
    file: Result<web_file::WebFile, Faults>,
    read: Vec<Result<Zeroizing<Vec<u8>>, String>>,
}

impl Papers {
    fn read(path: &Path) -> Self {
        let mut digest = Sha256::new();
        let mut take = |path: &Path| {
            let content = content(path);
            let bytes = match &content {
                Ok(content) => content.as_slice(),
                Err(problem) => problem.as_bytes(),
            };
            digest.update([u8::from(content.is_ok())]);
            digest.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
            digest.update(bytes);
            content
        };
        let fault = |what: String| Faults(vec![Fault::file(&path.display().to_string(), what)]);
        let unread = |what: String| fault(format!("(daemon.web_config) {what}"));
        let file = take(path).map_err(unread).and_then(|bytes| {
            let text = std::str::from_utf8(&bytes).map_err(|_| fault("is not UTF-8".to_owned()))?;
            web_file::parse(text, path)
        });
        let tls = file.as_ref().ok().and_then(|file| file.tls.as_ref());
        let read = tls.map(|tls| named_by(tls).map(take).collect()).unwrap_or_default();
        Self { path: path.to_owned(), digest: digest.finalize().into(), file, read }
    }

    fn judge(self, open_probes: bool) -> Result<Policy, Faults> {
        let file = self.file?;
        if open_probes && file.tls.as_ref().is_some_and(|tls| tls.client_ca_file.is_some()) {
            let what = "cannot be together with daemon.open_probes: each connection must show a certificate before it can ask for anything; \
                        give the probes an address of their own instead: daemon.probe_listen = \"127.0.0.1:9848\"";
            let (origin, key) = (self.path.display().to_string(), "tls_server_config.client_auth_type".to_owned());
            return Err(Faults(vec![Fault { origin, key, what: what.to_owned(), absence: false }]));
        }
        let (tls, secret_files) = match &file.tls {
            None => (None, vec![self.path]),
            Some(tls) => (Some(server_side(tls, &self.read)?), vec![self.path, tls.key_file.clone()]),
        };
        let strict = file.strict_transport_security.as_deref().and_then(|value| HeaderValue::from_str(value).ok());
        Ok(Policy {
            tls,
            users: Users::new(file.users),
            strict_transport_security: strict,
            digest: self.digest,
            secret_files,
        })
    }
}

fn named_by(tls: &ServerTls) -> impl Iterator<Item = &Path> {
    [&tls.cert_file, &tls.key_file].into_iter().chain(&tls.client_ca_file).map(PathBuf::as_path)
}

fn content(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let problem = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            format!(
                "cannot be read: {error}; let the user that the daemon runs as read it (chgrp tokenwatch, chmod 640)"
            )
        }
        _ => format!("cannot be read: {error}"),
    };
    // Certificates are small; a path that leads to a device or to a picture must not fill the memory.
    let found = fs::metadata(path).map_err(problem)?;
    if !found.is_file() || found.len() > LARGEST_FILE {
        return Err(format!("is no file, or one of more than {LARGEST_FILE} bytes, which no such file is"));
    }
    fs::read(path).map(Zeroizing::new).map_err(problem)
}

fn server_side(tls: &ServerTls, read: &[Result<Zeroizing<Vec<u8>>, String>]) -> Result<ServerSide, Faults> {
    let mut faults = Vec::new();
    let fault = |path: &Path, what: String| Fault::file(&path.display().to_string(), what);
    let mut contents: Vec<&[u8]> = Vec::new();
    for (path, content) in named_by(tls).zip(read) {
        match content {
            Ok(content) => contents.push(content.as_slice()),
            Err(what) => faults.push(fault(path, what.clone())),
        }
    }
    let [certificate, key, rest @ ..] = contents.as_slice() else { return Err(Faults(faults)) };
    if !faults.is_empty() {
        return Err(Faults(faults));
    }
    let chain = certificates(certificate).map_err(|what| faults.push(fault(&tls.cert_file, what)));
    let key = private_key(key).map_err(|what| faults.push(fault(&tls.key_file, what)));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = match (&tls.client_ca_file, rest.first()) {
        (Some(path), Some(content)) => {
            let made = roots(content).and_then(|roots| {
                let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
                builder.build().map_err(|error| format!("cannot be used: {error}"))
            });
            made.map(Some).map_err(|what| faults.push(fault(path, what)))
        }
        _ => Ok(None),
    };
    let (Ok(chain), Ok(key), Ok(verifier)) = (chain, key, verifier) else { return Err(Faults(faults)) };
    let versions: Vec<&'static SupportedProtocolVersion> =
        [(TlsVersion::Tls12, &rustls::version::TLS12), (TlsVersion::Tls13, &rustls::version::TLS13)]
            .into_iter()
            .filter(|(version, _)| (tls.oldest..=tls.newest).contains(version))
            .map(|(_, known)| known)
            .collect();
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .expect("ring supports both versions, and one of them is left");
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| {
        let what = match error {
            rustls::Error::InconsistentKeys(_) => {
                format!(
                    "does not belong to the key in {}; put both in place, the certificate of that key first",
                    tls.key_file.display()
                )
            }
            error => format!("cannot be used: {error}"),
        };
        Faults(vec![fault(&tls.cert_file, what)])
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ignore_client_order = tls.own_order;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let asks_clients = tls.client_ca_file.is_some();
    let keys = ["cert_file", "key_file", "client_ca_file"].into_iter().zip(named_by(tls)).zip(&contents);
    let files = keys.map(|((key, path), content)| (key, path.to_owned(), Sha256::digest(content).into())).collect();
    Ok(ServerSide { acceptor, asks_clients, allowed: tls.client_allowed_sans.clone(), files })
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if chain.is_empty() => {
            Err("holds no certificate; it must be PEM, the server's own first, then those above it".to_owned())
        }
        Ok(chain) => Ok(chain),
        Err(_) => Err("is not PEM as a whole: perhaps a part of it is missing; copy it again".to_owned()),
    }
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    let is_encrypted = pem.windows(ENCRYPTED.len()).any(|part| part == ENCRYPTED);
    match PrivateKeyDer::from_pem_slice(pem) {
        Ok(key) => Ok(key),
        Err(PemError::NoItemsFound) if is_encrypted => {
            Err("holds an encrypted key, and nobody is there to type its password; decrypt it: openssl pkey".to_owned())
        }
        Err(PemError::NoItemsFound) => Err("holds no private key; it must be PEM".to_owned()),
        // The library's word might show what stands there.
        Err(_) => Err("is not PEM".to_owned()),
    }
}

fn roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(|error| format!("holds a certificate that is no authority's: {error}"))?;
    }
    Ok(roots)
}

/// The names in a certificate (subjectAltName), as the web configuration file writes them.
fn names_of(certificate: &[u8]) -> Vec<String> {
    let Ok(certificate) = Certificate::from_der(certificate) else { return Vec::new() };
    let Ok(Some((_, names))) = certificate.tbs_certificate().get_extension::<SubjectAltName>() else {
        return Vec::new();
    };
    let name = |name: &GeneralName| match name {
        GeneralName::DnsName(name) | GeneralName::Rfc822Name(name) | GeneralName::UniformResourceIdentifier(name) => {
            Some(name.as_str().to_owned())
        }
        GeneralName::IpAddress(bytes) => match bytes.as_bytes() {
            four if four.len() == 4 => <[u8; 4]>::try_from(four).ok().map(|bytes| IpAddr::from(bytes).to_string()),
            bytes => <[u8; 16]>::try_from(bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
        },
        _ => None,
    };
    names.0.iter().filter_map(name).collect()
}

type Digest = [u8; 32];

/// As the web configuration file says it.
const ASKS: &str = "RequireAndVerifyClientCert";
const ASKS_NOT: &str = "NoClientCert";
/// A certificate is renewed weeks before its end; a password is taken away within two looks.
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);
/// Some small files.
const PATIENCE: Duration = Duration::from_secs(10);
const LARGEST_FILE: u64 = 1 << 20;
const ENCRYPTED: &[u8] = b"ENCRYPTED";
