//! Questions to a provider over HTTP, and what a failure of transport says about a check.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::domain::inspection::CheckError;
use crate::domain::time::Span;
use crate::outgoing::{Client, ClientError, Failure, IDLE_LIMIT, Reply};

/// A client for one provider. Connections are kept and shared.
#[derive(Debug, Clone)]
pub struct Http {
    client: Client,
    /// For addresses on this machine, which need no TLS; `None` where all of them are at one place.
    plain: Option<Client>,
    last: Arc<Mutex<Option<Instant>>>,
}

impl Http {
    /// A client whose every answer takes at most `timeout`.
    ///
    /// # Errors
    /// When there is no trust to verify certificates by.
    pub fn new(base_url: &url::Url, timeout: Span, ca_file: Option<&Path>) -> Result<Self, ClientError> {
        Ok(Self { client: Client::new(base_url, timeout, ca_file)?, plain: None, last: Arc::default() })
    }

    /// A client for any place: over TLS, or on this machine without.
    ///
    /// # Errors
    /// When there is no trust to verify certificates by.
    pub fn anywhere(timeout: Span, ca_file: Option<&Path>) -> Result<Self, ClientError> {
        let (client, plain) = (Client::secure(timeout, ca_file)?, Client::on_this_machine(timeout)?);
        Ok(Self { client, plain: Some(plain), last: Arc::default() })
    }

    /// Asks, and reads the whole answer.
    ///
    /// # Errors
    /// A failure of transport, or an answer that is too large.
    pub async fn get(&self, url: url::Url) -> Result<Reply, CheckError> {
        self.ask(url, HeaderMap::new()).await.map_err(check_error)
    }

    /// Asks with these headers. After a silence one question goes ahead alone: of five hundred that find no connection each would open its
    /// own, though one of HTTP/2 serves them all.
    ///
    /// # Errors
    /// A failure of transport, or an answer that is too large; it says whether the question may have arrived.
    pub async fn ask(&self, url: url::Url, headers: HeaderMap) -> Result<Reply, Failure> {
        self.send(Method::GET, url, headers, Bytes::new()).await
    }

    /// The same with a method and a body.
    ///
    /// # Errors
    /// A failure of transport, or an answer that is too large; it says whether the request may have arrived.
    pub async fn send(&self, method: Method, url: url::Url, headers: HeaderMap, body: Bytes) -> Result<Reply, Failure> {
        let last = self.last.lock().await;
        let ahead = last.is_none_or(|at| at.elapsed() >= IDLE_LIMIT).then_some(last);
        let client = self.plain.as_ref().filter(|_| url.scheme() == "http").unwrap_or(&self.client);
        let reply = client.send(method, url, headers, body).await;
        match ahead {
            Some(mut last) => *last = Some(Instant::now()),
            None => *self.last.lock().await = Some(Instant::now()),
        }
        reply
    }
}

/// What a failure of transport says about a check.
pub fn check_error(failure: Failure) -> CheckError {
    match failure.how {
        Some(how) => CheckError::Unreachable(how, failure.text.into()),
        None => CheckError::Garbled(failure.text.into()),
    }
}
