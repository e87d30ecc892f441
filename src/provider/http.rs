//! Questions to a provider over HTTP, and what a failure of transport says about a check.

use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use http::header::{DATE, HeaderName, RETRY_AFTER};
use http::{HeaderMap, Method};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::domain::inspection::CheckError;
use crate::domain::time::{Span, Timestamp};
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

/// Our clock minus the provider's.
pub fn clock_offset(headers: &HeaderMap, now: Timestamp) -> Option<Span> {
    date(headers, DATE).map(|theirs| now.since(theirs))
}

/// How long to stay away, as `Retry-After` says (RFC 9110, section 10.2.3): in seconds, or until a date.
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Span> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Span::seconds);
    seconds.or_else(|| date(headers, RETRY_AFTER).map(|until| until.since(now)))
}

fn date(headers: &HeaderMap, name: HeaderName) -> Option<Timestamp> {
    let date = httpdate::parse_http_date(headers.get(name)?.to_str().ok()?.trim()).ok()?;
    let unix = date.duration_since(UNIX_EPOCH).ok()?.as_secs();
    i64::try_from(unix).ok().map(Timestamp::from_unix)
}

/// The start of a stopwatch.
#[expect(clippy::disallowed_methods, reason = "a stopwatch for the duration histogram, never compared with wall time")]
pub fn started() -> std::time::Instant {
    std::time::Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, http::HeaderValue::from_static(value))])
    }

    #[test]
    fn dates_are_compared_with_our_clock() {
        let now = Timestamp::from_unix(1_752_566_390);
        let noon = "Tue, 15 Jul 2025 08:00:00 GMT";
        assert_eq!(clock_offset(&headers(DATE, noon), now), Some(Span::seconds(-10)));
        assert_eq!(clock_offset(&headers(DATE, "yesterday"), now), None);
        assert_eq!(retry_after(&headers(RETRY_AFTER, noon), now), Some(Span::seconds(10)));
        assert_eq!(retry_after(&headers(RETRY_AFTER, " 7 "), now), Some(Span::seconds(7)));
        assert_eq!(retry_after(&headers(RETRY_AFTER, "soon"), now), None);
    }
}
