//! One bounded request over HTTP: a time limit, a size limit, no redirects, TLS verified.
//!
//! What comes back is a status, headers and bytes, or a failure of transport whose text is redacted here: HTTP client errors print URLs, and
//! URLs carry secrets.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method};
use zeroize::Zeroizing;

use crate::domain::inspection::Unreachable;
use crate::domain::time::Span;
use crate::redact::redact;
use crate::secret::Secret;
use crate::settings::value::is_loopback;
use crate::tls::{self, TlsError};

/// A client for one place. Connections are kept and shared.
#[derive(Debug, Clone)]
pub struct Client(reqwest::Client);

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body, at most [`LARGEST_BODY`].
    pub body: Vec<u8>,
}

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No trust.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The library refused its settings.
    #[error("cannot set up the HTTP client: {0}")]
    Client(String),
}

/// Why there is no whole answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// How the other side was out of reach; `None` when its answer was too large.
    pub how: Option<Unreachable>,
    /// In words, redacted.
    pub text: String,
    /// Whether the request may have arrived all the same.
    pub may_have_arrived: bool,
}

impl Client {
    /// A client whose every answer takes at most `timeout`. On loopback no proxy is used.
    ///
    /// # Errors
    /// When there is no trust to verify certificates by.
    pub fn new(base: &url::Url, timeout: Span, ca_file: Option<&Path>) -> Result<Self, ClientError> {
        let loopback = is_loopback(base.host_str().unwrap_or_default());
        let direct = |builder: reqwest::ClientBuilder| if loopback { builder.no_proxy() } else { builder };
        // A plain-text base needs no trust store, and reading the system's takes milliseconds.
        let builder = if base.scheme() == "https" { over_tls(timeout, ca_file)? } else { in_the_clear(timeout) };
        built(direct(builder))
    }

    /// A client for any place that is reached over TLS.
    ///
    /// # Errors
    /// When there is no trust to verify certificates by.
    pub fn secure(timeout: Span, ca_file: Option<&Path>) -> Result<Self, ClientError> {
        built(over_tls(timeout, ca_file)?)
    }

    /// A client for this machine, where nobody listens in.
    ///
    /// # Errors
    /// When the library refuses its settings.
    pub fn on_this_machine(timeout: Span) -> Result<Self, ClientError> {
        built(in_the_clear(timeout).no_proxy())
    }

    /// Asks, and reads the whole answer.
    ///
    /// # Errors
    /// A failure of transport, or an answer that is too large.
    pub async fn get(&self, url: url::Url) -> Result<Reply, Failure> {
        self.send(Method::GET, url, HeaderMap::new(), Bytes::new()).await
    }

    /// Sends `body`, and reads the whole answer.
    ///
    /// # Errors
    /// A failure of transport, or an answer that is too large.
    pub async fn post(&self, url: url::Url, headers: HeaderMap, body: Arc<[u8]>) -> Result<Reply, Failure> {
        self.send(Method::POST, url, headers, Bytes::from_owner(body)).await
    }

    /// Sends any request, and reads the whole answer. The body is not copied: one that is wiped when it is dropped leaves nothing behind.
    ///
    /// # Errors
    /// A failure of transport, or an answer that is too large.
    pub async fn send(&self, method: Method, url: url::Url, headers: HeaderMap, body: Bytes) -> Result<Reply, Failure> {
        let mut request = self.0.request(method, url).headers(headers);
        if !body.is_empty() {
            request = request.body(body);
        }
        let mut response = request.send().await.map_err(|error| failure(&error))?;
        let status = response.status().as_u16();
        let headers = std::mem::take(response.headers_mut());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| failure(&error))? {
            if body.len() + chunk.len() > LARGEST_BODY {
                let text = format!("more than {} KiB in one answer", LARGEST_BODY / 1024);
                return Err(Failure { how: None, text, may_have_arrived: true });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Reply { status, headers, body })
    }
}

fn over_tls(timeout: Span, ca_file: Option<&Path>) -> Result<reqwest::ClientBuilder, ClientError> {
    let mut config = tls::client_config(ca_file)?;
    // One HTTP/2 connection costs half of HTTP/1.1's CPU; a given configuration is taken as it is, so the offer is made here.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(bounded(timeout).tls_backend_preconfigured(config).https_only(true))
}

fn in_the_clear(timeout: Span) -> reqwest::ClientBuilder {
    bounded(timeout).tls_backend_preconfigured(tls::nobody())
}

fn bounded(timeout: Span) -> reqwest::ClientBuilder {
    let timeout = timeout.as_limit();
    reqwest::Client::builder()
        .user_agent(concat!("tokenwatch/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .timeout(timeout)
        .connect_timeout(timeout.min(CONNECT_LIMIT))
        .pool_idle_timeout(IDLE_LIMIT)
}

fn built(builder: reqwest::ClientBuilder) -> Result<Client, ClientError> {
    builder.build().map(Client).map_err(|error| ClientError::Client(error.to_string()))
}

/// A fragment that reads well after "failed: ".
impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.how {
            None => f.write_str(&self.text),
            Some(Unreachable::Timeout) => write!(f, "no answer in time: {}", self.text),
            Some(Unreachable::Connect) => write!(f, "no connection: {}", self.text),
            Some(Unreachable::Tls) => write!(f, "TLS failed: {}", self.text),
            Some(Unreachable::Interrupted) => write!(f, "the connection broke: {}", self.text),
        }
    }
}

/// Names the failure by its innermost cause, which says the most and holds no URL.
fn failure(error: &reqwest::Error) -> Failure {
    let mut innermost: &dyn std::error::Error = error;
    let mut tls = false;
    while let Some(source) = innermost.source() {
        innermost = source;
        tls |= is_tls(innermost);
    }
    let how = if error.is_timeout() {
        Unreachable::Timeout
    } else if tls || innermost.to_string().contains("certificate") {
        Unreachable::Tls
    } else if error.is_connect() {
        Unreachable::Connect
    } else {
        Unreachable::Interrupted
    };
    // A handshake that fails is part of connecting; TLS may also break later, with the request on its way.
    let may_have_arrived = !error.is_connect() && !error.is_builder();
    Failure { how: Some(how), text: redact(&innermost.to_string(), &[]), may_have_arrived }
}

/// An I/O error passes over what it wraps when it is asked for its source, so it is looked into.
fn is_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    error.is::<rustls::Error>() || wrapped.is_some_and(|inner| is_tls(inner))
}

/// `Authorization: Bearer …` (RFC 6750), the only header. In a header a token stays out of URLs, which proxies log. `None` when no header can
/// carry it.
pub fn bearer(token: &Secret) -> Option<HeaderMap> {
    let value = sensitive(&Zeroizing::new(format!("Bearer {}", token.expose())))?;
    Some(HeaderMap::from_iter([(AUTHORIZATION, value)]))
}

/// The value of a header that debug output hides; `None` when no header can carry it.
pub fn sensitive(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The largest documented answer is a few KiB.
pub const LARGEST_BODY: usize = 256 * 1024;
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Longer than the gap between two checks of a busy daemon, shorter than the idle limits of load balancers.
pub const IDLE_LIMIT: Duration = Duration::from_secs(50);
