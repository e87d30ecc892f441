//! The HTTP/1.1 skin over the world: reads requests, writes replies, and misbehaves on the wire where a reply says so.
//! Must never decide what is answered, never panic on what a client sends, and never set a timer a fault did not ask
//! for: it has to work under paused time.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::answers::{Reply, Request, Transport, decode_pairs};
use super::world::World;

/// The largest request line and headers read.
const MAX_HEAD: usize = 64 * 1024;
/// The largest request body read.
const MAX_BODY: usize = 1024 * 1024;

/// A shared handle to a world and the clock it lives by.
#[derive(Clone)]
pub struct Sim {
    shared: Arc<Mutex<Shared>>,
    clock: Clock,
}

/// Unix seconds, UTC.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

struct Shared {
    world: World,
    requests: BTreeMap<String, u64>,
}

impl Sim {
    /// A handle to a new home of this world.
    pub fn new(world: World, clock: Clock) -> Self {
        let requests = BTreeMap::new();
        Self { shared: Arc::new(Mutex::new(Shared { world, requests })), clock }
    }

    /// Serves until dropped; open connections end with it. A fault on accept never ends it.
    pub async fn serve(self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(self.clone().converse(stream));
                    }
                    Err(_) => tokio::task::yield_now().await,
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }

    /// Reads or changes the world between two requests; `now` for its methods is [`Sim::now`].
    pub fn with_world<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        act(&mut self.lock().world)
    }

    /// The time of the world, unix seconds.
    pub fn now(&self) -> i64 {
        (self.clock)()
    }

    /// Requests received so far, by path without its version segment.
    pub fn requests(&self) -> BTreeMap<String, u64> {
        self.lock().requests.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn respond(&self, request: &Request) -> Reply {
        let now = self.now();
        let mut shared = self.lock();
        let path = request.unversioned_path().to_owned();
        *shared.requests.entry(path).or_default() += 1;
        shared.world.respond(request, now)
    }

    async fn converse(self, stream: TcpStream) {
        // Whatever breaks a connection, the client sees it broken: there is nobody else to tell.
        let _ = self.answer_all(stream).await;
    }

    async fn answer_all(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut buffer = Vec::new();
        loop {
            let incoming = match read_request(&mut stream, &mut buffer).await? {
                Read::Request(incoming) => incoming,
                Read::Closed => return Ok(()),
                Read::Refused(status) => return refuse(&mut stream, status).await,
            };
            let reply = self.respond(&incoming.request);
            match write_reply(&mut stream, &incoming, &reply).await? {
                Next::KeepAlive => {}
                Next::Close => return stream.shutdown().await,
                Next::Reset => return reset(&stream),
                Next::Hang => return until_closed(&mut stream).await,
            }
        }
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sim").finish_non_exhaustive()
    }
}

struct Incoming {
    request: Request,
    keep_alive: bool,
}

enum Read {
    Request(Incoming),
    Closed,
    /// What is read is no HTTP this server speaks; the status says why.
    Refused(u16),
}

enum Next {
    KeepAlive,
    Close,
    Reset,
    Hang,
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Read> {
    let head_end = loop {
        if let Some(at) = find(buffer, b"\r\n\r\n") {
            break at;
        }
        if buffer.len() > MAX_HEAD {
            return Ok(Read::Refused(431));
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(Read::Closed);
        }
    };
    let Some(head) = Head::parse(&buffer[..head_end]) else {
        return Ok(Read::Refused(400));
    };
    let length = match head.body_length() {
        Ok(length) if length > MAX_BODY => return Ok(Read::Refused(413)),
        Ok(length) => length,
        Err(status) => return Ok(Read::Refused(status)),
    };
    if head.expects_continue() {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let end = head_end + 4 + length;
    while buffer.len() < end {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(Read::Closed);
        }
    }
    let incoming = head.into_request(&buffer[head_end + 4..end]);
    buffer.drain(..end);
    Ok(Read::Request(incoming))
}

struct Head {
    method: String,
    target: String,
    is_http_1_0: bool,
    headers: Vec<(String, String)>,
}

impl Head {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        if words.next().is_some() || !target.starts_with('/') {
            return None;
        }
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        });
        Some(Self {
            method: method.to_owned(),
            target: target.to_owned(),
            is_http_1_0: match version {
                "HTTP/1.1" => false,
                "HTTP/1.0" => true,
                _ => return None,
            },
            headers: headers.collect::<Option<_>>()?,
        })
    }

    fn header(&self, name: &str) -> Option<&str> {
        let named = self.headers.iter().find(|(key, _)| key == name);
        named.map(|(_, value)| value.as_str())
    }

    /// Bodies come with their length; chunked ones are refused.
    fn body_length(&self) -> Result<usize, u16> {
        if self.header("transfer-encoding").is_some() {
            return Err(411);
        }
        self.header("content-length").map_or(Ok(0), |text| text.parse().map_err(|_| 400))
    }

    fn expects_continue(&self) -> bool {
        self.header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
    }

    fn into_request(self, body: &[u8]) -> Incoming {
        let mut request = Request::new(&self.method, &self.target);
        let content_type = self.header("content-type").unwrap_or_default();
        if content_type.starts_with("application/x-www-form-urlencoded") {
            request.form = decode_pairs(&String::from_utf8_lossy(body));
        } else if content_type.starts_with("application/json") {
            request.json = serde_json::from_slice(body).ok();
        }
        let scheme_and_token = self.header("authorization").and_then(|value| value.split_once(' '));
        request.bearer = scheme_and_token
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim().to_owned());
        let keep_alive = match self.header("connection") {
            Some(value) if value.eq_ignore_ascii_case("close") => false,
            Some(value) if value.eq_ignore_ascii_case("keep-alive") => true,
            _ => !self.is_http_1_0,
        };
        Incoming { request, keep_alive }
    }
}

async fn write_reply(stream: &mut TcpStream, incoming: &Incoming, reply: &Reply) -> io::Result<Next> {
    let cut = match reply.transport {
        Transport::Hang => return Ok(Next::Hang),
        Transport::Reset => return Ok(Next::Reset),
        Transport::Truncate { after } => after,
        Transport::Normal | Transport::Drip { .. } => usize::MAX,
    };
    let keep_alive = incoming.keep_alive && cut == usize::MAX;
    let mut message = head_of(reply, keep_alive);
    let has_body = incoming.request.method != "HEAD";
    let body = if has_body { reply.body.as_slice() } else { &[] };
    let body = body.get(..cut).unwrap_or(body);
    if let Transport::Drip { bytes_per_second } = reply.transport {
        stream.write_all(&message).await?;
        drip(stream, body, bytes_per_second).await?;
    } else {
        message.extend_from_slice(body);
        stream.write_all(&message).await?;
    }
    stream.flush().await?;
    Ok(if keep_alive { Next::KeepAlive } else { Next::Close })
}

fn head_of(reply: &Reply, keep_alive: bool) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {} {}\r\n", reply.status, reason(reply.status));
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let connection = if keep_alive { "keep-alive" } else { "close" };
    head.push_str(&format!("Content-Length: {}\r\nConnection: {connection}\r\n\r\n", reply.body.len()));
    head.into_bytes()
}

async fn drip(stream: &mut TcpStream, body: &[u8], bytes_per_second: usize) -> io::Result<()> {
    for drop in body.chunks(bytes_per_second.max(1)) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        stream.write_all(drop).await?;
    }
    Ok(())
}

/// Breaks the connection off with a RST at once. Closing it would do the same only where nobody else holds the socket, and a process that is
/// being started by another thread holds everything for a moment: long enough for a client under paused time to give up first.
fn reset(stream: &TcpStream) -> io::Result<()> {
    Ok(rustix::net::connect_unspec(stream)?)
}

async fn refuse(stream: &mut TcpStream, status: u16) -> io::Result<()> {
    let reply = Reply { status, ..Reply::default() };
    stream.write_all(&head_of(&reply, false)).await?;
    stream.shutdown().await
}

/// Keeps a connection open, deaf, for as long as the client does.
async fn until_closed(stream: &mut TcpStream) -> io::Result<()> {
    let mut ignored = [0; 1024];
    while stream.read(&mut ignored).await? > 0 {}
    Ok(())
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        302 => "Found",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        411 => "Length Required",
        413 => "Content Too Large",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Unnamed",
    }
}

#[cfg(test)]
mod tests {
    use super::super::faults::{Fault, FaultKind, Match};
    use super::super::fixture::{ADA, NOW, app_token, world};
    use std::os::fd::AsFd as _;
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::JoinSet;

    use super::{Sim, World};

    const UNANSWERED: &str = "GET /me HTTP/1.1\r\nHost: x\r\n\r\n";

    /// The server stops when its set is dropped.
    async fn served() -> (Sim, TcpStream, JoinSet<()>) {
        let sim = Sim::new(world(), Arc::new(|| NOW));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let mut server = JoinSet::new();
        server.spawn(sim.clone().serve(listener));
        let stream = TcpStream::connect(address).await.expect("listening");
        (sim, stream, server)
    }

    /// Sends and reads until the other side closes.
    async fn converse(stream: &mut TcpStream, text: &str) -> String {
        stream.write_all(text.as_bytes()).await.expect("connected");
        let mut answer = Vec::new();
        // A reset is an error; what came before it is the answer.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_carries_several_requests() {
        let (sim, mut stream, _server) = served().await;
        let token = sim.with_world(|world| world.issue_long_user(ADA, &[], NOW));
        let text = format!(
            "GET /v25.0/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n\
             POST /v25.0/me HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na=b\
             GET /v25.0/debug_token?input_token={token}&access_token={} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            app_token().replace('|', "%7C")
        );
        let answer = converse(&mut stream, &text).await;
        let statuses: Vec<&str> = answer.split("HTTP/1.1 ").filter_map(|part| part.get(..3)).collect();
        assert_eq!(statuses, ["200", "400", "200"]);
        let counted: Vec<(String, u64)> = sim.requests().into_iter().collect();
        assert_eq!(counted, [("/debug_token".to_owned(), 1), ("/me".to_owned(), 2)]);
    }

    #[tokio::test(start_paused = true)]
    async fn nonsense_is_refused() {
        for (text, status) in [
            ("HELO there\r\n\r\n", "HTTP/1.1 400 "),
            ("GET /me HTTP/3\r\n\r\n", "HTTP/1.1 400 "),
            ("GET /me HTTP/1.1\r\nno colon\r\n\r\n", "HTTP/1.1 400 "),
            ("GET /me HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 400 "),
            ("GET /me HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", "HTTP/1.1 413 "),
            ("POST /me HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 411 "),
        ] {
            let (_, mut stream, _server) = served().await;
            let answer = converse(&mut stream, text).await;
            assert!(answer.starts_with(status), "{text}: {answer}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn transport_faults_show_on_the_wire() {
        let strike = |kind| move |world: &mut World| world.faults.add(Fault::always(Match::Any, kind));

        let (sim, mut stream, _server) = served().await;
        sim.with_world(strike(FaultKind::Reset));
        assert_eq!(converse(&mut stream, UNANSWERED).await, "");

        let (sim, mut stream, _server) = served().await;
        sim.with_world(strike(FaultKind::CutOff { after: 7 }));
        let cut = converse(&mut stream, UNANSWERED).await;
        assert!(cut.ends_with("\r\n\r\n{\"error"), "{cut}");

        let (sim, mut stream, _server) = served().await;
        sim.with_world(strike(FaultKind::Hang));
        let patience = Duration::from_secs(600);
        let hung = tokio::time::timeout(patience, converse(&mut stream, UNANSWERED)).await;
        assert!(hung.is_err());
    }

    #[tokio::test]
    async fn a_reset_does_not_wait_for_others_that_hold_the_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let mut client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("listening");
        let (stream, _) = listener.accept().await.expect("a client");
        let _held = stream.as_fd().try_clone_to_owned().expect("another hand on the same socket");
        super::reset(&stream).expect("connected");
        drop(stream);
        let seen = tokio::time::timeout(Duration::from_secs(10), client.read_u8()).await.expect("it is seen");
        assert_eq!(seen.expect_err("broken off").kind(), std::io::ErrorKind::ConnectionReset);
    }

    #[tokio::test(start_paused = true)]
    async fn a_drip_takes_its_time() {
        let (sim, mut stream, _server) = served().await;
        sim.with_world(|world| {
            world.faults.add(Fault::always(Match::Any, FaultKind::Drip { bytes_per_second: 10 }));
        });
        let started = tokio::time::Instant::now();
        let text = "GET /me HTTP/1.0\r\n\r\n";
        let answer = converse(&mut stream, text).await;
        let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
        assert!(body.ends_with('}'));
        let seconds = u64::try_from(body.len().div_ceil(10)).unwrap_or_default();
        assert_eq!(started.elapsed().as_secs(), seconds);
    }
}
