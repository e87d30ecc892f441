//! Serves the pages to whoever may read them, within limits: how many connections, how large a head, how long a client may take.
//!
//! It never waits for a client with anything but that client's own task, and no number of idle clients keeps a new one out: the idlest of those who
//! hold most connections makes room (docs/decisions/0030). The probes may have an address of their own, with room that nobody else can take.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::gate::{Gate, Policy};
use super::login::Login;
use crate::metrics::{Closed, Counters, Refused};
use crate::settings::Settings;

/// What is served at an address, and to whom.
#[derive(Clone)]
pub enum Kind {
    /// Every page, to those whom the gate lets in.
    Pages(Arc<Gate>),
    /// The probes alone, to everybody.
    Probes,
}

impl Kind {
    /// The label of what is counted there.
    const fn as_str(&self) -> &'static str {
        match self {
            Self::Pages(_) => "pages",
            Self::Probes => PROBES_ALONE,
        }
    }
}

/// Serves until told to stop. A fault of a connection, or of accepting one, ends nothing.
pub async fn serve(
    socket: TcpListener,
    kind: Kind,
    router: Router,
    settings: watch::Receiver<Arc<Settings>>,
    counters: Arc<Counters>,
    stop: CancellationToken,
) {
    counters.connected(kind.as_str(), 0);
    let crowd = Arc::new(Crowd { serves: kind.as_str(), counters, ..Crowd::default() });
    let door = Arc::new(Door { kind, router, settings, crowd });
    let mut connections = JoinSet::new();
    let mut is_short_of_files = false;
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, from)) => {
                is_short_of_files = false;
                let Some(client) = door.crowd.enter(from.ip(), door.room()) else {
                    door.crowd.counters.closed(Closed::Full);
                    continue;
                };
                let (door, stop) = (Arc::clone(&door), stop.clone());
                connections.spawn(async move { door.attend(stream, from, client, stop).await });
            }
            // The client was gone before it was its turn.
            Err(error) if is_of_one_client(&error) => debug!(%error, "a connection broke off before it was accepted"),
            Err(error) => {
                if !std::mem::replace(&mut is_short_of_files, true) {
                    warn!(%error, "no connection can be accepted; the idlest are closed. If files are short, set LimitNOFILE= in the unit");
                }
                door.crowd.make_room();
                sleep(AFTER_A_FAULT).await;
            }
        }
    }
    drop(socket);
    while connections.join_next().await.is_some() {}
}

/// One address, and those who came to it.
struct Door {
    kind: Kind,
    router: Router,
    settings: watch::Receiver<Arc<Settings>>,
    crowd: Arc<Crowd>,
}

impl Door {
    /// How many connections there may be.
    fn room(&self) -> usize {
        match self.kind {
            Kind::Pages(_) => self.settings.borrow().daemon.max_connections,
            Kind::Probes => MOST_PROBES,
        }
    }

    /// Sees a client through: handshake, requests, end.
    async fn attend(self: Arc<Self>, stream: TcpStream, from: SocketAddr, client: Entered, stop: CancellationToken) {
        let patience = self.settings.borrow().daemon.client_timeout.as_limit();
        let served = async {
            let policy = match &self.kind {
                Kind::Pages(gate) => Some(gate.policy()),
                Kind::Probes => None,
            };
            let Some(tls) = policy.as_deref().and_then(|policy| policy.tls.as_ref()) else {
                return self.speak(stream, from.ip(), &client.client, &stop).await;
            };
            let Some(stream) = expect_tls(stream).await? else { return Ok(()) };
            let stream = tls.acceptor.accept(stream).await?;
            if !tls.admits(stream.get_ref().1.peer_certificates()) {
                let without = "its certificate has none of the names in client_allowed_sans";
                return Err(io::Error::other(rustls::Error::General(without.to_owned())));
            }
            client.client.turn(Phase::Arriving);
            self.speak(stream, from.ip(), &client.client, &stop).await
        };
        tokio::select! {
            served = served => {
                if let Err(error) = served {
                    if is_of_tls(&error) {
                        self.crowd.counters.closed(Closed::Tls);
                    }
                    debug!(client = %from, %error, "a connection ended");
                }
            }
            phase = client.client.overdue(patience) => {
                if phase != Phase::Waiting {
                    self.crowd.counters.closed(Closed::Slow);
                }
                debug!(client = %from, ?phase, "a client took too long");
            }
            () = client.client.out.cancelled() => {
                self.crowd.counters.closed(Closed::Displaced);
                debug!(client = %from, "a connection made room for another");
            }
        }
    }

    async fn speak(
        self: &Arc<Self>,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        from: IpAddr,
        client: &Arc<Client>,
        stop: &CancellationToken,
    ) -> io::Result<()> {
        let service = service_fn(|request| {
            let (door, client) = (Arc::clone(self), Arc::clone(client));
            async move { Ok::<_, Infallible>(door.answer(request, from, client).await) }
        });
        let watched = TokioIo::new(Watched { stream, client: Arc::clone(client) });
        let mut conversation = std::pin::pin!(
            http1::Builder::new()
                .max_buf_size(LARGEST_HEAD)
                .max_headers(MOST_HEADERS)
                .serve_connection(watched, service)
        );
        let ended = tokio::select! {
            ended = conversation.as_mut() => ended,
            () = stop.cancelled() => {
                conversation.as_mut().graceful_shutdown();
                conversation.await
            }
        };
        ended.map_err(io::Error::other)
    }

    async fn answer(&self, request: Request<Incoming>, from: IpAddr, client: Arc<Client>) -> Response<Body> {
        client.turn(Phase::Serving);
        let mut response = match &self.kind {
            _ if has_body(request.headers()) => refuse_body(),
            Kind::Probes if is_probe(&request) => briefly(&self.page(request).await),
            Kind::Probes => (StatusCode::NOT_FOUND, "only /healthz and /readyz are here\n").into_response(),
            Kind::Pages(gate) => {
                let policy = gate.policy();
                let mut response = self.guarded(request, from, gate, &policy).await;
                if let Some(value) = &policy.strict_transport_security {
                    response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, value.clone());
                }
                response
            }
        };
        let body = std::mem::take(response.body_mut());
        *response.body_mut() = Body::new(Tracked { body, client });
        response
    }

    /// A page for whoever may read it.
    async fn guarded(
        &self,
        mut request: Request<Incoming>,
        from: IpAddr,
        gate: &Gate,
        policy: &Policy,
    ) -> Response<Body> {
        if policy.users.is_everybody() {
            return self.page(request).await;
        }
        // Nobody behind this place has any use for it.
        let given = request.headers_mut().remove(header::AUTHORIZATION);
        let login = gate.logins.judge(&policy.users, given.as_ref(), from).await;
        match login {
            // A browser asks once without a user, to be asked for one.
            Login::Stranger if given.is_some() => self.crowd.counters.refused_login(Refused::Wrong),
            Login::TooOften(_) => self.crowd.counters.refused_login(Refused::TooOften),
            Login::Busy => self.crowd.counters.refused_login(Refused::Busy),
            Login::Welcome | Login::Stranger => {}
        }
        match login {
            Login::Welcome => self.page(request).await,
            _ if self.settings.borrow().daemon.open_probes && is_probe(&request) => briefly(&self.page(request).await),
            Login::Stranger => {
                let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"tokenwatch\", charset=\"UTF-8\"")];
                (StatusCode::UNAUTHORIZED, challenge, "a user and a password are needed\n").into_response()
            }
            Login::TooOften(wait) => {
                later(StatusCode::TOO_MANY_REQUESTS, wait.as_secs() + 1, "too many wrong passwords came from there\n")
            }
            Login::Busy => later(StatusCode::SERVICE_UNAVAILABLE, 1, "too many logins are being checked\n"),
        }
    }

    async fn page(&self, request: Request<Incoming>) -> Response<Body> {
        match TowerToHyperService::new(self.router.clone()).call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// Those who are connected.
#[derive(Default)]
struct Crowd {
    clients: Mutex<Clients>,
    is_full: AtomicBool,
    counters: Arc<Counters>,
    /// What is served there.
    serves: &'static str,
}

#[derive(Default)]
struct Clients {
    next: u64,
    by_number: BTreeMap<u64, Arc<Client>>,
    /// How many of them come from each address.
    from: HashMap<IpAddr, usize>,
}

impl Crowd {
    /// Lets a client in; where there is no room, the idlest of those from the address with most makes it. `None` when all are being served.
    fn enter(self: &Arc<Self>, from: IpAddr, room: usize) -> Option<Entered> {
        let mut clients = lock(&self.clients);
        let is_full = clients.by_number.len() >= room;
        if is_full && !self.is_full.swap(true, Ordering::Relaxed) {
            let remedy =
                if self.serves == PROBES_ALONE { "nothing sets its limit" } else { "see daemon.max_connections" };
            warn!(
                connections = room,
                serves = self.serves,
                "the listener is full: for each new connection the idlest is closed; {remedy}"
            );
        } else if clients.by_number.len() < room / 2 {
            self.is_full.store(false, Ordering::Relaxed);
        }
        while clients.by_number.len() >= room {
            if !clients.dismiss_idlest() {
                return None;
            }
        }
        let number = clients.next;
        clients.next += 1;
        let state = Mutex::new((Phase::Arriving, Instant::now()));
        let client = Arc::new(Client { from, state, out: CancellationToken::new() });
        clients.by_number.insert(number, Arc::clone(&client));
        *clients.from.entry(from).or_default() += 1;
        self.counters.connected(self.serves, clients.by_number.len());
        Some(Entered { crowd: Arc::clone(self), number, client })
    }

    /// Closes one connection, if there is one to spare.
    fn make_room(&self) {
        lock(&self.clients).dismiss_idlest();
    }
}

impl Clients {
    fn dismiss_idlest(&mut self) -> bool {
        let now = Instant::now();
        let candidates = self.by_number.iter().filter_map(|(number, client)| {
            let (phase, since) = *lock(&client.state);
            let is_served = matches!(phase, Phase::Serving | Phase::Ending);
            let may_go = !is_served || now.duration_since(since) >= STALLED;
            let neighbours = self.from.get(&client.from).copied().unwrap_or_default();
            may_go.then_some(((is_served, std::cmp::Reverse(neighbours), since), *number))
        });
        let Some((_, number)) = candidates.min() else { return false };
        if let Some(client) = self.remove(number) {
            client.out.cancel();
        }
        true
    }

    fn remove(&mut self, number: u64) -> Option<Arc<Client>> {
        let client = self.by_number.remove(&number)?;
        if let Some(count) = self.from.get_mut(&client.from) {
            *count -= 1;
            if *count == 0 {
                self.from.remove(&client.from);
            }
        }
        Some(client)
    }
}

/// A place in the crowd, given back when it is dropped.
struct Entered {
    crowd: Arc<Crowd>,
    number: u64,
    client: Arc<Client>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut clients = lock(&self.crowd.clients);
        clients.remove(self.number);
        self.crowd.counters.connected(self.crowd.serves, clients.by_number.len());
    }
}

/// One connection.
struct Client {
    from: IpAddr,
    /// What is waited for, and since when it got no further.
    state: Mutex<(Phase, Instant)>,
    /// Told to go, because another needs the place.
    out: CancellationToken,
}

/// What a connection is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// The client owes the rest of a handshake or of a request's head.
    Arriving,
    /// Nobody owes anything: the client may ask again.
    Waiting,
    /// An answer is made, or the client owes it to take more of it.
    Serving,
    /// The answer is made to its end, and the client owes it to take the rest.
    Ending,
}

impl Client {
    fn turn(&self, phase: Phase) {
        *lock(&self.state) = (phase, Instant::now());
    }

    /// Bytes came. However slowly they come, the time of a head begins with the first.
    fn heard(&self) {
        let mut state = lock(&self.state);
        if state.0 == Phase::Waiting {
            *state = (Phase::Arriving, Instant::now());
        }
    }

    /// Bytes were taken.
    fn told(&self) {
        let mut state = lock(&self.state);
        if matches!(state.0, Phase::Serving | Phase::Ending) {
            state.1 = Instant::now();
        }
    }

    /// All that was written is taken.
    fn took_all(&self) {
        let mut state = lock(&self.state);
        if state.0 == Phase::Ending {
            *state = (Phase::Waiting, Instant::now());
        }
    }

    /// Ends when the client has taken longer than it may.
    async fn overdue(&self, patience: Duration) -> Phase {
        loop {
            let (phase, since) = *lock(&self.state);
            let allowed = if phase == Phase::Waiting { LONGEST_IDLE.max(patience) } else { patience };
            if Instant::now() >= since + allowed {
                return phase;
            }
            sleep_until(since + allowed).await;
        }
    }
}

/// A stream that notes when something moves.
struct Watched<S> {
    stream: S,
    client: Arc<Client>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, into);
        if read.is_ready() && into.filled().len() > before {
            self.client.heard();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if written.is_ready() {
            self.client.told();
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        if written.is_ready() {
            self.client.told();
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if flushed.is_ready() {
            self.client.took_all();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A body that notes when it is over.
struct Tracked {
    body: Body,
    client: Arc<Client>,
}

impl HttpBody for Tracked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.client.turn(Phase::Ending);
    }
}

/// Looks at the first byte: whoever speaks HTTP to a port of HTTPS is told so in words, as Go's servers do.
async fn expect_tls(mut stream: TcpStream) -> io::Result<Option<TcpStream>> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        return Ok(None);
    }
    if first == [TLS_HANDSHAKE] {
        return Ok(Some(stream));
    }
    let words = "this address speaks HTTPS; write https:// for http://\n";
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{words}",
        words.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    // What was sent and not read would make the system take the answer back.
    let mut rest = [0; 1024];
    let drain =
        async { while tokio::io::AsyncReadExt::read(&mut stream, &mut rest).await.is_ok_and(|read| read > 0) {} };
    let _ = timeout(LAST_WORDS, drain).await;
    Err(io::Error::other(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)))
}

/// Whether TLS is what failed, and not the network: a client that went away, or looked only whether somebody listens, failed at nothing.
fn is_of_tls(error: &io::Error) -> bool {
    error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()).is_some()
}

fn is_probe<B>(request: &Request<B>) -> bool {
    PROBES.contains(&request.uri().path())
}

/// What a probe says to strangers: yes or no, and not why.
fn briefly(response: &Response<Body>) -> Response<Body> {
    let word =
        if response.status().is_success() { "ok\n" } else { "not ok; the log and the page with a user say why\n" };
    (response.status(), [(header::CACHE_CONTROL, "no-store"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")], word)
        .into_response()
}

fn later(status: StatusCode, seconds: u64, words: &'static str) -> Response<Body> {
    (status, [(header::RETRY_AFTER, HeaderValue::from(seconds))], words).into_response()
}

/// No page takes one, and nobody reads what is sent in vain.
fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get(header::CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0")
}

fn refuse_body() -> Response<Body> {
    (StatusCode::PAYLOAD_TOO_LARGE, [(header::CONNECTION, "close")], "no page here takes a body\n").into_response()
}

fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is said of the address that serves the probes alone.
const PROBES_ALONE: &str = "probes";
const PROBES: [&str; 2] = ["/healthz", "/readyz"];
/// Enough for every orchestrator; few enough to count for nothing among the files a process may have open.
const MOST_PROBES: usize = 64;
/// Request line and headers together. Browsers send less than two thousand bytes.
const LARGEST_HEAD: usize = 16 * 1024;
const MOST_HEADERS: usize = 64;
/// Longer than Prometheus waits between two scrapes of most, so that it need not shake hands for each.
const LONGEST_IDLE: Duration = Duration::from_secs(180);
/// An answer of which nothing was taken for this long may make room for another.
const STALLED: Duration = Duration::from_secs(5);
/// Where files are short, the next moment is soon enough.
const AFTER_A_FAULT: Duration = Duration::from_millis(50);
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The first byte of every TLS connection (RFC 8446, 5.1).
const TLS_HANDSHAKE: u8 = 22;

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(room: usize, from: &[u8]) -> (Arc<Crowd>, Vec<Entered>) {
        let crowd = Arc::new(Crowd::default());
        let clients = from.iter().map(|host| crowd.enter(host_of(*host), room).expect("there is room")).collect();
        (crowd, clients)
    }

    fn host_of(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn gone(clients: &[Entered]) -> Vec<usize> {
        (0..clients.len()).filter(|place| clients[*place].client.out.is_cancelled()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_idlest_of_the_address_with_most_makes_room() {
        let (crowd, clients) = crowd(4, &[1, 2, 2, 2]);
        tokio::time::advance(Duration::from_secs(1)).await;
        clients[1].client.heard();
        clients[1].client.turn(Phase::Waiting);
        let newcomer = crowd.enter(host_of(3), 4);
        assert!(newcomer.is_some());
        assert_eq!(gone(&clients), [2], "neither the oldest of all, nor the one that just moved");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_being_served_stays_until_it_takes_nothing() {
        let (crowd, clients) = crowd(2, &[1, 1]);
        clients[0].client.turn(Phase::Serving);
        clients[1].client.turn(Phase::Ending);
        assert!(crowd.enter(host_of(1), 2).is_none());
        tokio::time::advance(STALLED).await;
        clients[0].client.told();
        assert!(crowd.enter(host_of(1), 2).is_some());
        assert_eq!(gone(&clients), [1]);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_leaves_gives_the_place_back() {
        let (crowd, clients) = crowd(3, &[1, 1, 2]);
        drop(clients);
        let clients = lock(&crowd.clients);
        assert!(clients.by_number.is_empty() && clients.from.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn time_runs_from_the_first_byte_and_not_from_the_last() {
        let (_crowd, clients) = crowd(1, &[1]);
        let client = &clients[0].client;
        let patience = Duration::from_secs(30);
        let (began, drip) = (Instant::now(), async {
            loop {
                sleep(Duration::from_secs(1)).await;
                client.heard();
            }
        });
        let phase = tokio::select! {
            phase = client.overdue(patience) => phase,
            () = drip => Phase::Serving,
        };
        assert_eq!((phase, began.elapsed()), (Phase::Arriving, patience));
    }
}
