//! One bounded question to a provider: GET, a time limit, a size limit, no redirects, TLS verified.
//!
//! What comes back is bytes and headers, or a failure of transport whose text is redacted here: HTTP client errors print URLs, and
//! URLs carry tokens.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::domain::inspection::{CheckError, Unreachable};
use crate::domain::time::Span;
use crate::redact::redact;
use crate::tls::{self, TlsError};

/// A client for one provider. Connections are kept and shared.
#[derive(Debug, Clone)]
pub struct Http {
    client: reqwest::Client,
    last: Arc<Mutex<Option<Instant>>>,
}

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
pub enum HttpError {
    /// No trust.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The library refused its settings.
    #[error("cannot set up the HTTP client: {0}")]
    Client(String),
}

impl Http {
    /// A client whose every answer takes at most `timeout`. On loopback no proxy is used.
    ///
    /// # Errors
    /// When there is no trust to verify certificates by.
    pub fn new(base_url: &url::Url, timeout: Span, ca_file: Option<&Path>) -> Result<Self, HttpError> {
        let timeout = Duration::from_secs(u64::try_from(timeout.as_seconds()).unwrap_or(1).max(1));
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("tokenwatch/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .timeout(timeout)
            .connect_timeout(timeout.min(CONNECT_LIMIT))
            .pool_idle_timeout(IDLE_LIMIT);
        // A plain-text base needs no trust store, and reading the system's takes milliseconds.
        if base_url.scheme() == "https" {
            let mut config = tls::client_config(ca_file)?;
            // One HTTP/2 connection costs half of HTTP/1.1's CPU; a given configuration is taken as it is, so the offer is made here.
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            builder = builder.tls_backend_preconfigured(config).https_only(true);
        } else {
            let config =
                rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                    .with_safe_default_protocol_versions()
                    .map_err(|error| HttpError::Client(error.to_string()))?
                    .with_root_certificates(rustls::RootCertStore::empty())
                    .with_no_client_auth();
            builder = builder.tls_backend_preconfigured(config);
        }
        if crate::settings::value::is_loopback(base_url.host_str().unwrap_or_default()) {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| HttpError::Client(error.to_string()))?;
        Ok(Self { client, last: Arc::default() })
    }

    /// Asks, and reads the whole answer. After a silence one question goes ahead alone: of five hundred that find no connection each would
    /// open its own, though one of HTTP/2 serves them all.
    ///
    /// # Errors
    /// A failure of transport, or an answer that is too large.
    pub async fn get(&self, url: url::Url) -> Result<Reply, CheckError> {
        let last = self.last.lock().await;
        let ahead = last.is_none_or(|at| at.elapsed() >= IDLE_LIMIT).then_some(last);
        let reply = self.ask(url).await;
        match ahead {
            Some(mut last) => *last = Some(Instant::now()),
            None => *self.last.lock().await = Some(Instant::now()),
        }
        reply
    }

    async fn ask(&self, url: url::Url) -> Result<Reply, CheckError> {
        let mut response = self.client.get(url).send().await.map_err(|error| unreachable(&error))?;
        let status = response.status().as_u16();
        let headers = std::mem::take(response.headers_mut());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(&error))? {
            if body.len() + chunk.len() > LARGEST_BODY {
                return Err(CheckError::Garbled(format!("more than {} KiB in one answer", LARGEST_BODY / 1024).into()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Reply { status, headers, body })
    }
}

/// Names the failure by its innermost cause, which says the most and holds no URL.
fn unreachable(error: &reqwest::Error) -> CheckError {
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
    CheckError::Unreachable(how, redact(&innermost.to_string(), &[]).into())
}

/// An I/O error passes over what it wraps when it is asked for its source, so it is looked into.
fn is_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    error.is::<rustls::Error>() || wrapped.is_some_and(|inner| is_tls(inner))
}

/// The largest documented answer is a few KiB.
pub const LARGEST_BODY: usize = 256 * 1024;
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Longer than the gap between two checks of a busy daemon, shorter than the idle limits of load balancers.
const IDLE_LIMIT: Duration = Duration::from_secs(50);
