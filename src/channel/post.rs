//! One POST of JSON to a configured place, and what came of it as the fate of a message.
//!
//! A place is named by its host and port and nothing else: its path or query may be what opens it. So neither of them, nor any secret that
//! was sent, stands in an error, not even when the other side echoes it.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use zeroize::Zeroizing;

use crate::domain::time::Span;
use crate::outgoing::{self, Client, ClientError, Failure, Reply};
use crate::ports::DeliveryError;
use crate::redact::redact;
use crate::secret::Secret;

/// Where requests go.
#[derive(Debug)]
pub(super) struct Place {
    client: Client,
    url: url::Url,
    /// Host and port.
    name: String,
    /// What of the url must not be seen.
    hidden: Vec<Secret>,
}

impl Place {
    /// The place with this url.
    ///
    /// # Errors
    /// When no HTTP client can be made for it.
    pub(super) fn new(url: url::Url, timeout: Span, ca_file: Option<&Path>) -> Result<Self, ClientError> {
        let client = Client::new(&url, timeout, ca_file)?;
        let host = url.host_str().unwrap_or_default();
        let name = url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let hidden = hidden(&url);
        Ok(Self { client, url, name, hidden })
    }

    /// Posts JSON to the place itself.
    pub(super) async fn post(&self, headers: HeaderMap, body: &[u8]) -> Result<Reply, Failure> {
        self.post_to(self.url.clone(), headers, body).await
    }

    /// Posts JSON to an address at this place.
    pub(super) async fn post_to(&self, url: url::Url, mut headers: HeaderMap, body: &[u8]) -> Result<Reply, Failure> {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.client.post(url, headers, Arc::from(body)).await
    }

    /// What a broken exchange means for a message.
    pub(super) fn broken(&self, failure: &Failure, secrets: &[&Secret]) -> DeliveryError {
        let words = self.without_secrets(&failure.to_string(), secrets);
        if failure.may_have_arrived {
            DeliveryError::Unknown(format!("{}: {words}, so it may have arrived", self.name))
        } else {
            DeliveryError::NotSent(format!("{}: {words}", self.name))
        }
    }

    /// What an answer that is no success means for a message.
    pub(super) fn refused(&self, reply: &Reply, secrets: &[&Secret]) -> DeliveryError {
        let mut text = format!("{} answered {}", self.name, status_in_words(reply.status));
        let words = self.their_words(&reply.body, secrets);
        if !words.is_empty() {
            text.extend([": ", &words]);
        }
        let advice = advice(reply.status);
        if !advice.is_empty() {
            text.extend(["; ", advice]);
        }
        match reply.status {
            // A gateway heard nothing from what stands behind it, which may be at work all the same.
            504 => DeliveryError::Unknown(text),
            _ => DeliveryError::NotSent(text),
        }
    }

    /// The host and port.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The beginning of a body, unless it is a page for browsers.
    fn their_words(&self, body: &[u8], secrets: &[&Secret]) -> String {
        let text = String::from_utf8_lossy(&body[..body.len().min(LONGEST_READ)]);
        let text = text.trim();
        if text.starts_with('<') {
            return String::new();
        }
        let clean = self.without_secrets(text, secrets);
        let words = crate::advice::plain(&clean);
        shortened(&words, LONGEST_WORDS)
    }

    fn without_secrets(&self, text: &str, secrets: &[&Secret]) -> String {
        let all: Vec<&Secret> = secrets.iter().copied().chain(&self.hidden).collect();
        redact(text, &all)
    }
}

/// `Authorization: Bearer …` (RFC 6750).
///
/// # Errors
/// When no header can carry it.
pub(super) fn bearer(secret: &Secret) -> Result<HeaderMap, DeliveryError> {
    outgoing::bearer(secret).ok_or_else(unfit)
}

/// `Authorization: Basic …` (RFC 7617).
///
/// # Errors
/// When no header can carry it.
pub(super) fn basic(user: &str, password: &Secret) -> Result<HeaderMap, DeliveryError> {
    let pair = Zeroizing::new(format!("{user}:{}", password.expose()));
    let encoded = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
    let value = outgoing::sensitive(&Zeroizing::new(format!("Basic {}", *encoded))).ok_or_else(unfit)?;
    Ok(headers([(AUTHORIZATION, value)]))
}

fn unfit() -> DeliveryError {
    DeliveryError::NotSent("its login holds characters that no header can carry: is it the right secret?".to_owned())
}

/// These headers.
pub(super) fn headers<const N: usize>(pairs: [(HeaderName, HeaderValue); N]) -> HeaderMap {
    HeaderMap::from_iter(pairs)
}

/// Whether an answer is a success.
pub(super) const fn is_success(reply: &Reply) -> bool {
    reply.status >= 200 && reply.status < 300
}

/// Cuts a text between two characters.
pub(super) fn shortened(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((at, _)) => format!("{}…", text[..at].trim_end()),
        None => text.to_owned(),
    }
}

/// The parts of a url that may open a door: path and query, whole and in pieces, as they are written and as they are meant.
fn hidden(url: &url::Url) -> Vec<Secret> {
    let mut parts = Vec::new();
    let query = url.query().map(|query| format!("{}?{query}", url.path()));
    parts.extend(query);
    parts.push(url.path().to_owned());
    parts.extend(url.query().map(str::to_owned));
    parts.extend(url.path_segments().into_iter().flatten().map(str::to_owned));
    parts.extend(url.query_pairs().map(|(_, value)| value.into_owned()));
    let decoded: Vec<String> =
        parts.iter().map(|part| percent_encoding::percent_decode_str(part).decode_utf8_lossy().into_owned()).collect();
    parts.extend(decoded);
    // The longest first: a piece that is taken out leaves the whole unrecognised.
    parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
    parts.dedup();
    parts.into_iter().map(|part| Secret::new(Zeroizing::new(part))).collect()
}

fn status_in_words(status: u16) -> String {
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    reason.map_or_else(|| format!("HTTP {status}"), |reason| format!("{status} {reason}"))
}

/// What to do about an answer, where that is known.
const fn advice(status: u16) -> &'static str {
    match status {
        300..=399 => "redirects are not followed: configure the address it leads to",
        401 | 403 => "see that the key or login in the configuration is the one it expects",
        404 | 410 => "see that the address in the configuration is still right",
        405 | 415 => "see that the address takes a POST of JSON",
        413 => "see that it takes requests of this size",
        429 => "it asks for fewer requests; it is tried again later",
        504 => "it may have arrived",
        500..=599 => "the trouble is on that side; it is tried again",
        _ => "",
    }
}

/// More of a body is not even looked at. `redact` reads less, and cuts between words, so no half of a secret is left at this end.
const LONGEST_READ: usize = 8_192;
/// Characters of an answer that are repeated in an error.
const LONGEST_WORDS: usize = 200;

#[cfg(test)]
pub(super) mod tests {
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::{TcpListener, TcpSocket, TcpStream};
    use tokio::task::JoinSet;

    use super::*;

    /// What a server of these tests does with a request once it has read it.
    #[derive(Clone, Copy, Debug)]
    pub enum Script {
        /// Answers.
        Say(u16, &'static str),
        /// Closes the connection.
        Drop,
        /// Says nothing.
        Hang,
    }

    /// A request as it was received.
    #[derive(Clone, Debug, Default)]
    pub struct Request {
        pub target: String,
        pub headers: Vec<(String, String)>,
        pub body: Vec<u8>,
    }

    impl Request {
        pub fn header(&self, name: &str) -> &str {
            self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
        }

        pub fn json(&self) -> serde_json::Value {
            serde_json::from_slice(&self.body).expect("the body is JSON")
        }
    }

    /// A server that answers the first request by the first script and so on; the last script stays.
    pub struct Server {
        pub port: u16,
        seen: Arc<Mutex<Vec<Request>>>,
        _tasks: JoinSet<()>,
    }

    impl Server {
        pub async fn start(scripts: &'static [Script]) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
            let port = listener.local_addr().expect("a bound listener has an address").port();
            let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
            let log = Arc::clone(&seen);
            let mut tasks = JoinSet::new();
            tasks.spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    // A client that goes away is part of the tests.
                    let _ = serve(stream, scripts, &log).await;
                }
            });
            Self { port, seen, _tasks: tasks }
        }

        /// A port that nobody listens on. It stays taken, so that no other test gets it and answers.
        pub fn nobody() -> u16 {
            let socket = Box::leak(Box::new(TcpSocket::new_v4().expect("a socket")));
            socket.bind((std::net::Ipv4Addr::LOCALHOST, 0).into()).expect("loopback has a free port");
            socket.local_addr().expect("a bound socket has an address").port()
        }

        pub fn seen(&self) -> MutexGuard<'_, Vec<Request>> {
            self.seen.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    async fn serve(stream: TcpStream, scripts: &[Script], log: &Mutex<Vec<Request>>) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        let mut request = Request::default();
        let mut line = String::new();
        while stream.read_line(&mut line).await? > 2 {
            match line.trim_end().split_once(": ") {
                Some((name, value)) => request.headers.push((name.to_lowercase(), value.to_owned())),
                None => request.target = line.split(' ').nth(1).unwrap_or_default().to_owned(),
            }
            line.clear();
        }
        request.body = vec![0; request.header("content-length").parse().unwrap_or_default()];
        stream.read_exact(&mut request.body).await?;
        let n = {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            log.push(request);
            log.len() - 1
        };
        match scripts[n.min(scripts.len() - 1)] {
            Script::Drop => Ok(()),
            Script::Hang => stream.read_u8().await.map(drop),
            Script::Say(status, body) => {
                let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n", body.len());
                let location = if status == 302 { "location: http://127.0.0.1:1/\r\n" } else { "" };
                stream.write_all(format!("{head}{location}\r\n{body}").as_bytes()).await
            }
        }
    }

    fn place(port: u16, tail: &str) -> Place {
        let url = format!("http://127.0.0.1:{port}{tail}").parse().expect("a valid url");
        Place::new(url, Span::seconds(1), None).unwrap_or_else(|error| unreachable!("{error}"))
    }

    #[tokio::test]
    async fn answers_are_told_without_what_opens_the_door() {
        const TAIL: &str = "/hooks/T0123456/s3cr%2Fet-path?key=opensesame";
        let password = Secret::new(Zeroizing::new("correct horse".to_owned()));
        for (status, body, words) in [
            (400, "no such field", "answered 400 Bad Request: no such field"),
            (302, "", "answered 302 Found; redirects are not followed"),
            (401, "", "answered 401 Unauthorized; see that the key or login"),
            (404, "Cannot POST /hooks/T0123456/s3cr%2Fet-path?key=opensesame", "404 Not Found: Cannot POST ***"),
            (404, "no /hooks/T0123456/s3cr/et-path, no opensesame", "404 Not Found: no ***, no ***;"),
            (410, "<html>\nGone</html>", "answered 410 Gone; see that the address"),
            (
                500,
                "{\"you\":\"said correct horse\"}\r\n\u{202e}",
                "{\"you\":\"said ***\"}; the trouble is on that side",
            ),
            (599, "", "answered HTTP 599"),
        ] {
            let place = place(9, TAIL);
            let reply = Reply { status, headers: HeaderMap::new(), body: body.as_bytes().to_vec() };
            let error = place.refused(&reply, &[&password]);
            let DeliveryError::NotSent(text) = &error else { panic!("{error:?}") };
            assert!(text.starts_with("127.0.0.1:9 answered ") && text.contains(words), "{text}");
            for secret in ["T0123456", "et-path", "opensesame", "correct horse", "\u{202e}", "\n"] {
                assert!(!text.contains(secret), "{text}");
            }
        }
        let long = Reply { status: 400, headers: HeaderMap::new(), body: "word ".repeat(9_999).into_bytes() };
        assert!(place(9, "/").refused(&long, &[]).to_string().len() < 300);
        let late = Reply { status: 504, headers: HeaderMap::new(), body: Vec::new() };
        assert!(matches!(place(9, "/").refused(&late, &[]), DeliveryError::Unknown(_)));
    }

    #[tokio::test]
    async fn it_is_known_what_may_have_arrived() {
        let nobody = place(Server::nobody(), "/secret-path");
        let failure = nobody.post(HeaderMap::new(), b"{}").await.expect_err("nobody is there");
        let error = nobody.broken(&failure, &[]);
        let text =
            format!("127.0.0.1:{}: no connection: Connection refused (os error 111)", nobody.url.port().unwrap_or(0));
        assert_eq!(error, DeliveryError::NotSent(text));
        for (script, words) in
            [(&[Script::Hang] as &[Script], "no answer in time"), (&[Script::Drop], "the connection broke")]
        {
            let server = Server::start(script).await;
            let place = place(server.port, "/secret-path");
            let failure = place.post(HeaderMap::new(), b"{}").await.expect_err("there is no answer");
            let error = place.broken(&failure, &[]);
            let DeliveryError::Unknown(text) = &error else { panic!("{error:?}") };
            assert!(text.contains(words) && !text.contains("secret-path"), "{text}");
            assert_eq!(server.seen().len(), 1);
            assert_eq!(server.seen()[0].header("content-type"), "application/json");
        }
    }

    #[test]
    fn logins_are_headers() {
        let secret = |text: &str| Secret::new(Zeroizing::new(text.to_owned()));
        let value = |headers: HeaderMap| {
            let value = headers.get(AUTHORIZATION).cloned().expect("a header");
            assert!(value.is_sensitive());
            value.to_str().map(str::to_owned).unwrap_or_default()
        };
        // RFC 7617 §2.
        let known = basic("Aladdin", &secret("open sesame")).map(value);
        assert_eq!(known.as_deref(), Ok("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
        assert_eq!(bearer(&secret("abc")).map(value).as_deref(), Ok("Bearer abc"));
        let text = bearer(&secret("a\nb")).expect_err("two lines").to_string();
        assert!(!text.contains("a\nb"), "{text}");
    }
}
