//! Strict pages of providers, one a file, each written from the reference alone and sharing no line with the descriptions that it tries.
//!
//! A page answers exactly what is documented and refuses everything else, so a request that a real service would not take is not taken here
//! either. What the reference does not know is marked where it is made up.
//!
//! Three files are no pages but serve them: `asking` (how a page tries itself), `grants` (OAuth 2.0), `spelling` (letters and instants).

pub mod asking;
pub mod bird;
pub mod cloudflare;
pub mod dialog360;
pub mod dockerhub;
pub mod entra;
pub mod github;
pub mod gitlab;
pub mod google;
pub mod grants;
pub mod hubspot;
pub mod instagram;
pub mod linkedin;
pub mod messagebird;
pub mod oauth2;
pub mod shopify;
pub mod slack;
pub mod spelling;
pub mod threads;
pub mod tickets;
pub mod twilio;
pub mod vault;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// One request, as a page sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    /// `GET`, `POST`, …
    pub method: String,
    /// The path, percent-encoded as it came, without the query.
    pub path: String,
    /// The query, decoded, in order.
    pub query: Vec<(String, String)>,
    /// The headers, their names in small letters.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

impl Asked {
    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The token of `Authorization: Bearer …`.
    pub fn bearer(&self) -> Option<&str> {
        self.header("authorization")?.strip_prefix("Bearer ")
    }

    /// User and password of basic authentication.
    pub fn basic(&self) -> Option<(String, String)> {
        use base64::Engine as _;
        let coded = self.header("authorization")?.strip_prefix("Basic ")?;
        let plain = String::from_utf8(base64::engine::general_purpose::STANDARD.decode(coded).ok()?).ok()?;
        plain.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
    }

    /// A value of the query.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A value of a form in the body; `None` as well where the content type is not that of a form.
    pub fn form(&self, name: &str) -> Option<String> {
        self.form_values()?.into_iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// Every value of a form in the body, in order; `None` where the content type is not that of a form.
    pub fn form_values(&self) -> Option<Vec<(String, String)>> {
        let kind = self.header("content-type")?;
        kind.starts_with("application/x-www-form-urlencoded")
            .then(|| url::form_urlencoded::parse(self.body.as_bytes()).into_owned().collect())
    }

    /// Whether the body is a form with these values, each once, and no other.
    pub fn is_form_of(&self, wanted: &[&str]) -> bool {
        let Some(values) = self.form_values() else { return false };
        let mut names: Vec<&str> = values.iter().map(|(name, _)| name.as_str()).collect();
        let mut wanted = wanted.to_vec();
        names.sort_unstable();
        wanted.sort_unstable();
        names == wanted
    }

    /// The body as JSON; `None` as well where the content type is another.
    pub fn json(&self) -> Option<serde_json::Value> {
        let kind = self.header("content-type")?;
        if kind.starts_with("application/json") { serde_json::from_str(&self.body).ok() } else { None }
    }

    /// Fails the test where the URL tells a secret, since proxies and logs keep URLs: where one of these stands anywhere in it, or where the
    /// query has one of these names, under which only a secret is sent.
    pub fn insist_on_clean_url<'a>(&self, secrets: impl IntoIterator<Item = &'a String>, names: &[&str]) {
        for secret in secrets {
            let shows = |text: &str| text.contains(secret.as_str());
            assert!(!shows(&self.path), "a secret stands in the path");
            assert!(
                !self.query.iter().any(|(name, value)| shows(name) || shows(value)),
                "a secret stands in the query"
            );
        }
        for name in names {
            assert!(self.query(name).is_none(), "the query names a secret: {name}");
        }
    }
}

/// What a page says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said {
    /// The status.
    pub status: u16,
    /// Headers beside the content type.
    pub headers: Vec<(String, String)>,
    /// The content type.
    pub kind: &'static str,
    /// The body.
    pub body: String,
}

impl Said {
    /// A JSON document.
    pub fn json(status: u16, body: serde_json::Value) -> Self {
        Self { status, headers: Vec::new(), kind: "application/json", body: body.to_string() }
    }

    /// Plain text; also of an empty body.
    pub fn text(status: u16, body: &str) -> Self {
        Self { status, headers: Vec::new(), kind: "text/plain", body: body.to_owned() }
    }

    /// The same with another header.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    /// The same to one who is told after how many seconds to ask again, if that is told.
    #[must_use]
    pub fn with_retry_after(self, seconds: Option<u32>) -> Self {
        match seconds {
            Some(seconds) => self.with("retry-after", seconds),
            None => self,
        }
    }
}

/// A provider's page.
pub trait Page: Send + 'static {
    /// Answers one request; `now` is in seconds since 1970.
    fn answer(&mut self, asked: &Asked, now: i64) -> Said;
}

/// What is said instead of what the page would say.
struct Instead {
    said: Said,
    /// Whether the page is asked all the same.
    carried_out: bool,
    /// To requests in whose method and path this stands; to any where nothing is named.
    to: Option<&'static str>,
}

/// A request that is on its way for long.
struct Held {
    to: &'static str,
    arrived: oneshot::Sender<()>,
    on: oneshot::Receiver<()>,
}

/// A page that is served over HTTP, on loopback.
pub struct Site<P> {
    /// Where.
    pub address: SocketAddr,
    shared: Arc<Shared<P>>,
    _task: JoinSet<()>,
}

struct Shared<P> {
    page: Mutex<P>,
    calls: Mutex<Vec<Asked>>,
    /// Said once instead of what the page would say.
    instead: Mutex<Option<Instead>>,
    /// The next request that fits waits before the page hears of it.
    held: Mutex<Option<Held>>,
    clock: Box<dyn Fn() -> i64 + Send + Sync>,
}

impl<P: Page> Site<P> {
    /// Serves it; `clock` tells the seconds since 1970.
    pub async fn serve(page: P, clock: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            page: Mutex::new(page),
            calls: Mutex::default(),
            instead: Mutex::default(),
            held: Mutex::default(),
            clock: Box::new(clock),
        });
        let mut task = JoinSet::new();
        let served = Arc::clone(&shared);
        let app = axum::Router::new().fallback(move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
            let served = Arc::clone(&served);
            async move {
                served.wait(&method, &uri).await;
                served.answer(&method, &uri, &headers, &body)
            }
        });
        task.spawn(async move { axum::serve(listener, app).await.expect("it is served") });
        Self { address, shared, _task: task }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes the page.
    pub fn page(&self) -> MutexGuard<'_, P> {
        lock(&self.shared.page)
    }

    /// Every request so far.
    pub fn calls(&self) -> Vec<Asked> {
        lock(&self.shared.calls).clone()
    }

    /// The next request gets this answer, and the page never hears of it.
    pub fn refuse_once(&self, said: Said) {
        *lock(&self.shared.instead) = Some(Instead { said, carried_out: false, to: None });
    }

    /// The next request is carried out, and its answer is lost: this comes instead.
    pub fn lose_answer_once(&self, said: Said) {
        *lock(&self.shared.instead) = Some(Instead { said, carried_out: true, to: None });
    }

    /// The same of the next request in whose method and path this stands.
    pub fn lose_answer_to(&self, to: &'static str, said: Said) {
        *lock(&self.shared.instead) = Some(Instead { said, carried_out: true, to: Some(to) });
    }

    /// The next request in whose method and path this stands is held up on its way. The first one tells when it is, the second lets it go on.
    pub fn hold_next(&self, to: &'static str) -> (oneshot::Receiver<()>, oneshot::Sender<()>) {
        let ((arrived, told), (go, on)) = (oneshot::channel(), oneshot::channel());
        *lock(&self.shared.held) = Some(Held { to, arrived, on });
        (told, go)
    }

    /// The next request in whose method and path this stands gets this answer, and the page never hears of it.
    pub fn refuse_next(&self, to: &'static str, said: Said) {
        *lock(&self.shared.instead) = Some(Instead { said, carried_out: false, to: Some(to) });
    }
}

impl<P: Page> Shared<P> {
    async fn wait(&self, method: &Method, uri: &Uri) {
        let line = format!("{method} {}", uri.path());
        let held = lock(&self.held).take_if(|held| line.contains(held.to));
        if let Some(Held { arrived, on, .. }) = held {
            arrived.send(()).expect("whoever holds it waits for it");
            on.await.expect("it is let go");
        }
    }

    fn answer(&self, method: &Method, uri: &Uri, headers: &HeaderMap, body: &Bytes) -> Response {
        let query = uri.query().unwrap_or_default();
        let asked = Asked {
            method: method.to_string(),
            path: uri.path().to_owned(),
            query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
            headers: headers
                .iter()
                .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
                .collect(),
            body: String::from_utf8_lossy(body).into_owned(),
        };
        lock(&self.calls).push(asked.clone());
        let line = format!("{} {}", asked.method, asked.path);
        let fits = |instead: &mut Instead| instead.to.is_none_or(|to| line.contains(to));
        let said = match lock(&self.instead).take_if(fits) {
            Some(Instead { said, carried_out: false, .. }) => said,
            Some(Instead { said, carried_out: true, .. }) => {
                lock(&self.page).answer(&asked, (self.clock)());
                said
            }
            None => lock(&self.page).answer(&asked, (self.clock)()),
        };
        let status = StatusCode::from_u16(said.status).expect("a status");
        let mut response = (status, said.body).into_response();
        response.headers_mut().insert("content-type", HeaderValue::from_static(said.kind));
        for (name, value) in said.headers {
            let name: axum::http::HeaderName = name.parse().expect("a header's name");
            response.headers_mut().append(name, HeaderValue::from_str(&value).expect("a header's value"));
        }
        response
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
