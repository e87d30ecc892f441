//! Replaces one field of a secret in a key-value engine, version 2, of Vault or OpenBao.
//!
//! A write names the version that was read (check-and-set), so what somebody else wrote in between is never lost; the other fields go back
//! letter by letter as they came. Where the engine is of version 1 nothing is written: it has no versions to check.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method};
use serde::Deserialize;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::{Held, Put, SinkError, Swap, blocking};
use crate::domain::inspection::Unreachable;
use crate::outgoing::{Client, Failure, sensitive};
use crate::redact::redact;
use crate::secret::Secret;
use crate::settings::delivery::{Vault, VaultLogin};
use crate::settings::source::Sources;

/// What the field holds.
///
/// # Errors
/// When it cannot be read.
pub async fn held(place: &Vault, sources: &Sources) -> Result<Held, SinkError> {
    let session = Session::begin(place, sources).await?;
    let held = session.read().await.and_then(|seen| seen.held(&place.field));
    session.end().await;
    held
}

/// Replaces the field. One that is to hold nothing is left out of the secret; a secret without any field stays as an empty version, for
/// deleting one takes a permission more and changes nothing for who reads it.
///
/// # Errors
/// When it holds something else, when it cannot be done safely, or when it failed.
pub async fn put(place: &Vault, swap: Swap<'_>, sources: &Sources) -> Result<Put, SinkError> {
    let new = match swap.to {
        Held::Secret(new) => Some(new),
        Held::Nothing => None,
        Held::Unknown => return Err(SinkError::Refused("it is not known what is to be written".to_owned())),
    };
    let session = Session::begin(place, sources).await?;
    let put = session.swap(swap, new).await;
    session.end().await;
    put
}

/// One operation: logged in, and for an AppRole logged out again.
struct Session<'a> {
    place: &'a Vault,
    client: Client,
    token: Secret,
    /// Whether the token was given for this operation alone.
    own: bool,
}

impl<'a> Session<'a> {
    async fn begin(place: &'a Vault, sources: &Sources) -> Result<Self, SinkError> {
        let reference = match &place.login {
            VaultLogin::Token(reference) => reference.clone(),
            VaultLogin::AppRole { secret_id, .. } => secret_id.clone(),
        };
        let (url, within, ca_file) = (place.url.clone(), place.within, place.ca_file.clone());
        let sources = sources.clone();
        let ready = blocking(move || {
            let key = sources.read(&reference);
            let key = key.map_err(|error| SinkError::Refused(format!("its login cannot be read: {error}")))?;
            let client = Client::new(&url, within, ca_file.as_deref());
            Ok((key, client.map_err(|error| SinkError::Refused(error.to_string()))?))
        });
        let (key, client) = ready.await?;
        let session = Self { place, client, token: key, own: false };
        match &place.login {
            VaultLogin::Token(_) => Ok(session),
            VaultLogin::AppRole { role_id, .. } => session.log_in(role_id).await,
        }
    }

    async fn log_in(self, role_id: &str) -> Result<Self, SinkError> {
        let mut body = Body::new(role_id.len() + self.token.expose().len());
        body.raw("{\"role_id\":").text(role_id).raw(",\"secret_id\":").text(self.token.expose()).raw("}");
        let url = self.url(["auth", "approle", "login"].into_iter())?;
        let answer = self.ask(Method::POST, url, self.headers(false)?, body.bytes(), &[]).await?;
        match answer.status {
            200 => {}
            400 | 403 => {
                let text = format!("the login is not taken{}; see role_id and secret_id", self.words(&answer, &[]));
                return Err(SinkError::Refused(text));
            }
            _ => return Err(self.unexpected("the login", &answer, &[])),
        }
        let login: Login = serde_json::from_slice(&answer.body).map_err(|_| strange("the login"))?;
        let token = Secret::new(Zeroizing::new(login.auth.client_token));
        Ok(Self { token, own: true, ..self })
    }

    /// A token that serves no more is taken back. Where that fails it runs out by itself.
    async fn end(self) {
        if !self.own {
            return;
        }
        if let (Ok(url), Ok(headers)) = (self.url(["auth", "token", "revoke-self"].into_iter()), self.headers(true)) {
            let _ = self.client.send(Method::POST, url, headers, Bytes::new()).await;
        }
    }

    async fn swap(&self, swap: Swap<'_>, new: Option<&Secret>) -> Result<Put, SinkError> {
        for _ in 0..TRIES {
            let seen = self.read().await?;
            let held = seen.held(&self.place.field)?;
            if held.is(swap.to) {
                return Ok(Put::AlreadyThere);
            }
            if !matches!(swap.from, Held::Unknown) && !held.is(swap.from) {
                return Err(SinkError::Conflict("the field holds neither the token before nor the new one".to_owned()));
            }
            if self.write(&seen, new, [swap.from, swap.to]).await? {
                return Ok(Put::Written);
            }
        }
        let text = format!("somebody else wrote this secret between our reading and writing, {TRIES} times in a row");
        Err(SinkError::Failed(text))
    }

    /// The newest version of the secret.
    async fn read(&self) -> Result<Seen, SinkError> {
        let answer = self.ask(Method::GET, self.data_url()?, self.headers(true)?, Bytes::new(), &[]).await?;
        match answer.status {
            // What was deleted comes with 404 and its version.
            200 | 404 => {}
            403 => return Err(self.forbidden("\"read\"", &answer, &[])),
            _ => return Err(self.unexpected("reading", &answer, &[])),
        }
        let found: Option<Found<'_>> = serde_json::from_slice(&answer.body).ok();
        if let Some(metadata) = found.and_then(|found| found.data.metadata) {
            return Ok(Seen { version: metadata.version, body: answer.body });
        }
        self.must_be_of_version_2().await?;
        if answer.status == 404 {
            return Ok(Seen { version: 0, body: Zeroizing::default() });
        }
        Err(strange("reading"))
    }

    /// What is not there is answered alike by both versions of the engine, and where there is no engine at all.
    async fn must_be_of_version_2(&self) -> Result<(), SinkError> {
        let path = ["sys", "internal", "ui", "mounts"].into_iter().chain(self.place.mount.split('/'));
        let answer = self.ask(Method::GET, self.url(path)?, self.headers(true)?, Bytes::new(), &[]).await?;
        let mount = &self.place.mount;
        match answer.status {
            200 => {}
            403 | 404 => {
                let text = format!("there is no key-value engine at {mount} that this login may see; see `mount`");
                return Err(SinkError::Refused(text));
            }
            _ => return Err(self.unexpected(&format!("asking what {mount} is"), &answer, &[])),
        }
        let found: Mount = serde_json::from_slice(&answer.body).map_err(|_| strange("asking what the mount is"))?;
        let engine = found.data;
        match (&*engine.kind, engine.options.and_then(|options| options.version).as_deref()) {
            ("kv", Some("2")) => Ok(()),
            ("kv" | "generic", _) => Err(SinkError::Refused(format!(
                "the key-value engine at {mount} is of version 1, which cannot check what it overwrites; \
                 upgrade it with `vault kv enable-versioning {mount}`"
            ))),
            (other, _) => {
                let kind = redact(other, &[&self.token]);
                Err(SinkError::Refused(format!("{mount} is no key-value engine but {kind}; see `mount`")))
            }
        }
    }

    /// Writes the next version; `false` where it is not the next one any more.
    async fn write(&self, seen: &Seen, new: Option<&Secret>, pair: [&Held; 2]) -> Result<bool, SinkError> {
        let hide: Vec<&Secret> = pair.into_iter().filter_map(secret_in).collect();
        let field: &str = &self.place.field;
        let mut body = Body::new(seen.body.len() + field.len() + new.map_or(0, |new| new.expose().len()));
        body.raw("{\"options\":{\"cas\":").raw(&seen.version.to_string()).raw("},\"data\":{");
        let mut first = true;
        for (name, value) in seen.fields()? {
            if name != field {
                body.raw(if std::mem::take(&mut first) { "" } else { "," }).text(&name).raw(":").raw(value.get());
            }
        }
        if let Some(new) = new {
            body.raw(if first { "" } else { "," }).text(field).raw(":").text(new.expose());
        }
        body.raw("}}");
        let answer = self.ask(Method::POST, self.data_url()?, self.headers(true)?, body.bytes(), &hide).await?;
        match answer.status {
            200 | 204 => Ok(true),
            400 if String::from_utf8_lossy(&answer.body).contains("check-and-set") => Ok(false),
            403 if seen.version == 0 => Err(self.forbidden("\"create\"", &answer, &hide)),
            403 => Err(self.forbidden("\"update\"", &answer, &hide)),
            _ => Err(self.unexpected("writing", &answer, &hide)),
        }
    }

    async fn ask(
        &self,
        method: Method,
        url: url::Url,
        headers: HeaderMap,
        body: Bytes,
        hide: &[&Secret],
    ) -> Result<Answer, SinkError> {
        let writes = method == Method::POST;
        let reply = self
            .client
            .send(method, url, headers, body)
            .await
            .map_err(|failure| self.broken(&failure, writes, hide))?;
        Ok(Answer { status: reply.status, body: Zeroizing::new(reply.body) })
    }

    fn broken(&self, failure: &Failure, writes: bool, hide: &[&Secret]) -> SinkError {
        let text = redact(&failure.to_string(), &self.all(hide));
        match failure.how {
            None => SinkError::Refused(text),
            Some(Unreachable::Tls) => {
                SinkError::Refused(format!("{text}; see that ca_file names who signed its certificate"))
            }
            Some(_) if writes && failure.may_have_arrived => {
                SinkError::Failed(format!("{text}; it may have been written"))
            }
            Some(_) => SinkError::Failed(text),
        }
    }

    fn forbidden(&self, capability: &str, answer: &Answer, hide: &[&Secret]) -> SinkError {
        let (mount, path) = (&self.place.mount, &self.place.path);
        let words = self.words(answer, hide);
        SinkError::Refused(format!(
            "not permitted{words}; the login must be valid, and its policy must grant {capability} on {mount}/data/{path}"
        ))
    }

    fn unexpected(&self, what: &str, answer: &Answer, hide: &[&Secret]) -> SinkError {
        let text = format!("{what} was answered with {}{}", answer.status, self.words(answer, hide));
        match answer.status {
            // Standbys send to who is active, and a server that has not caught up says 412; both may pass.
            300..=399 | 408 | 412 | 429 | 500..=599 => SinkError::Failed(text),
            _ => SinkError::Refused(text),
        }
    }

    /// What the server says of an error, to stand behind it.
    fn words(&self, answer: &Answer, hide: &[&Secret]) -> String {
        let errors: Option<Errors> = serde_json::from_slice(&answer.body).ok();
        let text = errors.map(|errors| errors.errors.join("; ")).unwrap_or_default();
        let words = redact(text.trim(), &self.all(hide));
        if words.is_empty() { words } else { format!(": {words}") }
    }

    fn all<'b>(&'b self, hide: &[&'b Secret]) -> Vec<&'b Secret> {
        std::iter::once(&self.token).chain(hide.iter().copied()).collect()
    }

    fn headers(&self, logged_in: bool) -> Result<HeaderMap, SinkError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // Who forwards requests to Vault must not be taken in by a page that makes a browser send them.
        headers.insert("x-vault-request", HeaderValue::from_static("true"));
        if let Some(namespace) = &self.place.namespace {
            let value = HeaderValue::from_str(namespace);
            let value = value.map_err(|_| SinkError::Refused("its namespace fits into no header".to_owned()))?;
            headers.insert("x-vault-namespace", value);
        }
        if logged_in {
            let value = sensitive(self.token.expose())
                .ok_or_else(|| SinkError::Refused("its token fits into no header: is it the right one?".to_owned()))?;
            headers.insert("x-vault-token", value);
        }
        Ok(headers)
    }

    fn data_url(&self) -> Result<url::Url, SinkError> {
        self.url(self.place.mount.split('/').chain(["data"]).chain(self.place.path.split('/')))
    }

    /// An address of the API; each part is encoded.
    fn url<'b>(&self, parts: impl Iterator<Item = &'b str>) -> Result<url::Url, SinkError> {
        let mut url = self.place.url.clone();
        let wrong = || SinkError::Refused("its mount and path must be names with slashes between them".to_owned());
        let mut segments = url.path_segments_mut().map_err(|()| wrong())?;
        segments.pop_if_empty().push("v1");
        for part in parts {
            // A url leaves out dots, so the request would go elsewhere.
            if matches!(part, "" | "." | "..") {
                return Err(wrong());
            }
            segments.push(part);
        }
        drop(segments);
        Ok(url)
    }
}

/// What the server answered; it may hold secrets, others' too.
struct Answer {
    status: u16,
    body: Zeroizing<Vec<u8>>,
}

/// A version of the secret. Without a body there is none yet.
struct Seen {
    version: u64,
    body: Zeroizing<Vec<u8>>,
}

impl Seen {
    /// The fields as they stand in the answer, not copied: they may be secrets of others.
    fn fields(&self) -> Result<BTreeMap<String, &RawValue>, SinkError> {
        if self.body.is_empty() {
            return Ok(BTreeMap::new());
        }
        let found: Found<'_> = serde_json::from_slice(&self.body).map_err(|_| strange("reading"))?;
        Ok(found.data.data.unwrap_or_default())
    }

    fn held(&self, field: &str) -> Result<Held, SinkError> {
        let fields = self.fields()?;
        let Some(value) = fields.get(field) else { return Ok(Held::Nothing) };
        let text: String = serde_json::from_str(value.get()).map_err(|_| {
            SinkError::Refused(format!("the field {field} holds no text, so it is something else; see `field`"))
        })?;
        Ok(Held::Secret(Secret::new(Zeroizing::new(text))))
    }
}

/// JSON that is written by hand, so that no copy of a secret is left behind.
struct Body(Zeroizing<Vec<u8>>);

impl Body {
    /// Room for that many characters of values, escaped at worst, and for what stands between them.
    fn new(values: usize) -> Self {
        Self(Zeroizing::new(Vec::with_capacity(values * LONGEST_ESCAPE + 128)))
    }

    fn raw(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        serde_json::to_writer(&mut *self.0, text).expect("a text is JSON, and memory takes it");
        self
    }

    fn bytes(self) -> Bytes {
        Bytes::from_owner(self.0)
    }
}

fn secret_in(held: &Held) -> Option<&Secret> {
    match held {
        Held::Secret(secret) => Some(secret),
        Held::Nothing | Held::Unknown => None,
    }
}

fn strange(what: &str) -> SinkError {
    SinkError::Failed(format!("{what} was answered with something that is not Vault's"))
}

#[derive(Deserialize)]
struct Found<'a> {
    #[serde(borrow)]
    data: Version<'a>,
}

#[derive(Deserialize)]
struct Version<'a> {
    /// Nothing, where the version was deleted.
    #[serde(borrow)]
    data: Option<BTreeMap<String, &'a RawValue>>,
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Metadata {
    version: u64,
}

#[derive(Deserialize)]
struct Mount {
    data: Engine,
}

#[derive(Deserialize)]
struct Engine {
    #[serde(rename = "type")]
    kind: Box<str>,
    options: Option<EngineOptions>,
}

#[derive(Deserialize)]
struct EngineOptions {
    version: Option<Box<str>>,
}

#[derive(Deserialize)]
struct Login {
    auth: Auth,
}

#[derive(Deserialize)]
struct Auth {
    client_token: String,
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<String>,
}

/// Races that are tried again; more of them are no coincidence.
const TRIES: usize = 3;
/// `\u001f`.
const LONGEST_ESCAPE: usize = 6;
