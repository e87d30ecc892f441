//! Faults on order: which request they strike, how often, and what they do to it (§13).
//! Must never strike by chance: the first fault in order that matches a request is the one.

use serde_json::{Value, json};

use super::answers::{GraphError, Reply, Request, Stamp, Transport, pair};
use super::dates;
use super::switches::Switches;
use super::usage::{business_header, too_many_whatsapp_calls};

/// The faults waiting, in order.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    waiting: Vec<Fault>,
}

/// One fault.
#[derive(Debug, Clone)]
pub struct Fault {
    /// The requests it strikes.
    pub when: Match,
    /// How many of them; none = all.
    pub times: Option<u32>,
    /// The world carries the request out and only its answer is lost. Without it the request never arrives.
    pub carried_out: bool,
    /// What happens.
    pub kind: FaultKind,
}

/// Which requests a fault strikes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// Every one.
    Any,
    /// Those whose path begins so, with or without its version segment.
    PathPrefix(String),
    /// Those that hold this token, whatever the parameter.
    Token(String),
}

/// What a fault does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultKind {
    /// No answer.
    Hang,
    /// Connection reset.
    Reset,
    /// HTTP 500 without a body.
    Empty500,
    /// HTTP 503 with a page that says "Service Unavailable" (§1).
    Html503,
    /// The proper answer cut to this many bytes, in a well-formed HTTP message.
    TruncatedJson {
        /// Bytes left.
        after: usize,
    },
    /// The proper answer, the connection closed after this many bytes of its body.
    CutOff {
        /// Body bytes sent.
        after: usize,
    },
    /// The proper answer at this many bytes a second.
    Drip {
        /// Bytes per second.
        bytes_per_second: usize,
    },
    /// HTTP 200 with a JSON body of at least this size.
    HugeBody {
        /// Bytes.
        bytes: usize,
    },
    /// HTTP 200 with bytes that are no UTF-8.
    NonUtf8,
    /// HTTP 200, `Content-Encoding: gzip`, about 1/150 of this size on the wire.
    GzipBomb {
        /// Bytes when unpacked.
        expanded: usize,
    },
    /// The proper answer under another content type.
    ContentType(String),
    /// HTTP 302.
    Redirect {
        /// Where to.
        location: String,
    },
    /// HTTP 200 `{"data":[]}` (§2.1).
    EmptyData,
    /// 190 `Malformed access token <T>`, echoing the token the request is about (§6.3).
    MalformedEcho,
    /// Code 2 with `is_transient` (§6.2).
    Transient,
    /// A WhatsApp management throttle with its header (§7).
    Throttled {
        /// WABA id in the header.
        id: String,
        /// Minutes to regain access.
        minutes: i64,
    },
    /// The proper answer without `expires_in`.
    MissingExpiresIn,
    /// The proper answer with a `Date` that is off.
    ClockSkew {
        /// Seconds added.
        seconds: i64,
    },
    /// The proper error with its `error_data` as JSON in a string (§6.1).
    ErrorDataAsText,
    /// Anything.
    Raw {
        /// HTTP status.
        status: u16,
        /// Headers.
        headers: Vec<(String, String)>,
        /// Body.
        body: Vec<u8>,
    },
}

impl Fault {
    /// A fault for every matching request, until it is cleared.
    pub fn always(when: Match, kind: FaultKind) -> Self {
        Self { when, times: None, carried_out: false, kind }
    }

    /// A fault for the next matching requests.
    pub fn times(count: u32, when: Match, kind: FaultKind) -> Self {
        Self { times: Some(count), ..Self::always(when, kind) }
    }

    /// The same fault, after the request has had its effect.
    #[must_use]
    pub fn carried_out(self) -> Self {
        Self { carried_out: true, ..self }
    }

    /// Whether the world never hears of the request.
    pub(super) fn stops_the_request(&self) -> bool {
        !self.carried_out && !self.kind.keeps_the_answer()
    }
}

impl Faults {
    /// Adds a fault behind the others.
    pub fn add(&mut self, fault: Fault) {
        self.waiting.push(fault);
    }

    /// Takes all faults away.
    pub fn clear(&mut self) {
        self.waiting.clear();
    }

    /// How many faults still wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The fault that strikes this request, spent once.
    pub(super) fn strike(&mut self, request: &Request) -> Option<Fault> {
        self.waiting.retain(|fault| fault.times != Some(0));
        let at = self.waiting.iter().position(|fault| fault.when.matches(request))?;
        let fault = self.waiting.get_mut(at)?;
        let struck = fault.clone();
        if let Some(times) = &mut fault.times {
            *times -= 1;
        }
        self.waiting.retain(|fault| fault.times != Some(0));
        Some(struck)
    }
}

impl Match {
    fn matches(&self, request: &Request) -> bool {
        match self {
            Self::Any => true,
            Self::PathPrefix(prefix) => {
                request.path.starts_with(prefix) || request.unversioned_path().starts_with(prefix)
            }
            Self::Token(token) => request.mentions(token),
        }
    }
}

impl FaultKind {
    fn keeps_the_answer(&self) -> bool {
        matches!(
            self,
            Self::TruncatedJson { .. }
                | Self::CutOff { .. }
                | Self::Drip { .. }
                | Self::ContentType(_)
                | Self::MissingExpiresIn
                | Self::ClockSkew { .. }
                | Self::ErrorDataAsText
        )
    }

    /// What becomes of the proper reply.
    pub(super) fn distort(&self, mut reply: Reply, request: &Request, mut stamp: Stamp, switches: &Switches) -> Reply {
        match self {
            Self::TruncatedJson { after } => reply.body.truncate(*after),
            Self::CutOff { after } => reply.transport = Transport::Truncate { after: *after },
            Self::Drip { bytes_per_second } => {
                reply.transport = Transport::Drip { bytes_per_second: *bytes_per_second };
            }
            Self::ContentType(content_type) => reply.set_header("Content-Type", content_type),
            Self::ClockSkew { seconds } => {
                let date = dates::http(stamp.date.saturating_add(*seconds));
                reply.set_header("Date", &date);
            }
            Self::MissingExpiresIn => rewrite(&mut reply, without_expires_in),
            Self::ErrorDataAsText => rewrite(&mut reply, with_error_data_as_text),
            Self::Hang => reply = travelling(Transport::Hang),
            Self::Reset => reply = travelling(Transport::Reset),
            Self::Empty500 => reply = raw(500, &[], Vec::new()),
            Self::Html503 => reply = raw(503, &[HTML], SERVICE_UNAVAILABLE.into()),
            Self::HugeBody { bytes } => {
                reply = Reply::granted(&json!({"data": "a".repeat(*bytes)}), &stamp);
            }
            Self::NonUtf8 => reply = raw(200, &[JSON], NON_UTF8.to_vec()),
            Self::GzipBomb { expanded } => {
                reply = raw(200, &[JSON, ("Content-Encoding", "gzip")], gzip_bomb(*expanded));
            }
            Self::Redirect { location } => reply = raw(302, &[("Location", location)], Vec::new()),
            Self::EmptyData => reply = Reply::granted(&json!({"data": []}), &stamp),
            Self::MalformedEcho => reply = Reply::refused(&malformed(subject(request)), &stamp),
            Self::Transient => reply = Reply::refused(&transient(), &stamp),
            Self::Throttled { id, minutes } => {
                stamp.usage.push(business_header(id, 100, *minutes));
                reply = Reply::refused(&too_many_whatsapp_calls(switches), &stamp);
            }
            Self::Raw { status, headers, body } => {
                reply = Reply {
                    status: *status,
                    headers: headers.clone(),
                    body: body.clone(),
                    transport: Transport::Normal,
                };
            }
        }
        reply
    }
}

const JSON: (&str, &str) = ("Content-Type", "application/json; charset=UTF-8");

const HTML: (&str, &str) = ("Content-Type", "text/html; charset=utf-8");

const NON_UTF8: &[u8] = b"{\"data\":{\"application\":\"\xff\xfe\xc3\"}}";

const SERVICE_UNAVAILABLE: &str = "<!DOCTYPE html><html><head><title>Error</title></head>\
<body><h1>Service Unavailable</h1><p>Sorry, something went wrong.</p></body></html>";

fn raw(status: u16, headers: &[(&str, &str)], body: Vec<u8>) -> Reply {
    Reply {
        status,
        headers: headers.iter().map(|(name, value)| pair(name, value)).collect(),
        body,
        transport: Transport::Normal,
    }
}

fn travelling(transport: Transport) -> Reply {
    Reply { transport, ..raw(200, &[], Vec::new()) }
}

fn malformed(token: &str) -> GraphError {
    GraphError::new(190, format!("Malformed access token {token}"))
}

fn transient() -> GraphError {
    GraphError {
        is_transient: Some(true),
        ..GraphError::new(2, "An unexpected error has occurred. Please retry your request later.").status(500)
    }
}

/// The token the request is about; the caller's own when there is no other.
fn subject(request: &Request) -> &str {
    ["input_token", "fb_exchange_token", "revoke_token"]
        .iter()
        .find_map(|name| request.param(name))
        .or_else(|| request.credential())
        .unwrap_or_default()
}

fn rewrite(reply: &mut Reply, change: impl FnOnce(&mut Value)) {
    let mut body = reply.json();
    if !body.is_null() {
        change(&mut body);
        reply.body = body.to_string().into_bytes();
    }
}

fn without_expires_in(body: &mut Value) {
    if let Some(body) = body.as_object_mut() {
        body.remove("expires_in");
    }
}

fn with_error_data_as_text(body: &mut Value) {
    if let Some(error) = body.get_mut("error").and_then(Value::as_object_mut) {
        let data = error.remove("error_data").unwrap_or_else(|| json!({}));
        error.insert("error_data".to_owned(), json!(data.to_string()));
    }
}

/// A gzip file of equal bytes in one block of fixed Huffman codes (RFC 1951, 3.2.6): a literal, then copies of length
/// 258 at distance 1, 13 bits each. The checksum is wrong on purpose: whoever reads so far has swallowed the bomb.
fn gzip_bomb(expanded: usize) -> Vec<u8> {
    let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let mut bits = Bits::default();
    bits.push(0b1, 1); // the final block
    bits.push(0b01, 2); // fixed codes
    bits.push_code(0x30 + u32::from(b' '), 8);
    for _ in 0..expanded / 258 {
        bits.push_code(0b1100_0101, 8); // length 258: symbol 285
        bits.push_code(0, 5); // distance 1
    }
    bits.push_code(0, 7); // end of block
    file.extend(bits.into_bytes());
    file.extend([0; 4]);
    file.extend(u32::try_from(expanded / 258 * 258 + 1).unwrap_or(u32::MAX).to_le_bytes());
    file
}

#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    current: u8,
    filled: u32,
}

impl Bits {
    /// Least significant bit first, as numbers are packed.
    fn push(&mut self, value: u32, count: u32) {
        for at in 0..count {
            self.current |= u8::from(value >> at & 1 == 1) << self.filled;
            self.filled += 1;
            if self.filled == 8 {
                self.bytes.push(std::mem::take(&mut self.current));
                self.filled = 0;
            }
        }
    }

    /// Most significant bit first, as Huffman codes are packed.
    fn push_code(&mut self, code: u32, length: u32) {
        self.push(code.reverse_bits() >> (32 - length), length);
    }

    fn into_bytes(mut self) -> Vec<u8> {
        if self.filled > 0 {
            self.bytes.push(self.current);
        }
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{ADA, APP, NOW, SECRET, WABA, app_token, world};
    use super::super::world::World;
    use super::{Fault, FaultKind, Match, Reply, Request, Transport, gzip_bomb};

    fn ask(world: &mut World, kind: FaultKind) -> Reply {
        let token = world.issue_short_user(ADA, &[], NOW);
        world.faults.add(Fault::times(1, Match::Any, kind));
        let target = format!(
            "/oauth/access_token?grant_type=fb_exchange_token&client_id={APP}&client_secret={SECRET}&fb_exchange_token={token}"
        );
        world.respond(&Request::get(&target), NOW)
    }

    #[test]
    fn each_kind_has_its_face() {
        let mut world = world();
        for (kind, status, starts) in [
            (FaultKind::Empty500, 500, ""),
            (FaultKind::Html503, 503, "<!DOCTYPE html>"),
            (FaultKind::EmptyData, 200, "{\"data\":[]}"),
            (FaultKind::TruncatedJson { after: 9 }, 200, "{\"access_"),
            (FaultKind::MalformedEcho, 400, "{\"error\":{\"code\":190"),
            (FaultKind::Transient, 500, "{\"error\":{\"code\":2,\"fbtrace_id\""),
            (FaultKind::Redirect { location: "https://elsewhere.example/".to_owned() }, 302, ""),
            (FaultKind::Raw { status: 418, headers: vec![], body: b"tea".to_vec() }, 418, "tea"),
        ] {
            let reply = ask(&mut world, kind);
            assert_eq!(reply.status, status);
            assert!(String::from_utf8_lossy(&reply.body).starts_with(starts));
        }
        assert!(world.faults.is_empty());
        for (kind, transport) in [
            (FaultKind::Hang, Transport::Hang),
            (FaultKind::Reset, Transport::Reset),
            (FaultKind::CutOff { after: 5 }, Transport::Truncate { after: 5 }),
            (FaultKind::Drip { bytes_per_second: 1 }, Transport::Drip { bytes_per_second: 1 }),
        ] {
            assert_eq!(ask(&mut world, kind).transport, transport);
        }
    }

    #[test]
    fn an_answer_can_be_disfigured() {
        let mut world = world();
        let echo = ask(&mut world, FaultKind::MalformedEcho);
        let header = echo.header("WWW-Authenticate").unwrap_or_default();
        assert!(header.contains("Malformed access token EAA"));
        assert_eq!(ask(&mut world, FaultKind::Transient).json()["error"]["is_transient"], true);
        assert!(ask(&mut world, FaultKind::MissingExpiresIn).json().get("expires_in").is_none());
        let late = ask(&mut world, FaultKind::ClockSkew { seconds: 4 });
        assert_eq!(late.header("date"), Some("Sun, 01 Mar 2026 12:35:00 GMT"));
        let typed = ask(&mut world, FaultKind::ContentType("text/plain".to_owned()));
        assert_eq!(typed.header("content-type"), Some("text/plain"));
        assert!(ask(&mut world, FaultKind::HugeBody { bytes: 5000 }).body.len() > 5000);
        assert!(String::from_utf8(ask(&mut world, FaultKind::NonUtf8).body).is_err());

        let throttled = ask(&mut world, FaultKind::Throttled { id: WABA.to_owned(), minutes: 17 });
        let usage = throttled.header("x-business-use-case-usage").unwrap_or_default();
        assert_eq!(throttled.json()["error"]["code"], 80_008);
        assert!(usage.contains("\"estimated_time_to_regain_access\":17"));

        world.faults.add(Fault::always(Match::Any, FaultKind::ErrorDataAsText));
        let refused = world.respond(&Request::get("/me"), NOW).json();
        assert_eq!(refused["error"]["error_data"], "{}");
    }

    #[test]
    fn faults_strike_in_order_and_only_where_they_match() {
        let mut world = world();
        let token = world.issue_long_user(ADA, &[], NOW);
        let prefix = |path: &str| Match::PathPrefix(path.to_owned());
        world.faults.add(Fault::times(2, prefix("/debug_token"), FaultKind::Empty500));
        world.faults.add(Fault::times(1, Match::Token(token.clone()), FaultKind::Html503));
        let me = Request::get(&format!("/v25.0/me?access_token={token}"));
        let debug = Request::get(&format!("/v25.0/debug_token?input_token={token}&access_token={}", app_token()));
        let statuses = [&debug, &me, &me, &debug, &debug].map(|request| world.respond(request, NOW).status);
        assert_eq!(statuses, [500, 503, 200, 500, 200]);
    }

    #[test]
    fn an_answer_can_be_lost_after_the_deed() {
        for (carried_out, subcode) in [(false, None), (true, Some(467))] {
            let mut world = world();
            let token = world.issue_long_user(ADA, &[], NOW);
            let fault = Fault::times(1, Match::Any, FaultKind::Hang);
            world.faults.add(if carried_out { fault.carried_out() } else { fault });
            let revoke = format!(
                "/oauth/revoke?client_id={APP}&client_secret={SECRET}&revoke_token={token}&access_token={token}"
            );
            assert_eq!(world.respond(&Request::get(&revoke), NOW).transport, Transport::Hang);
            let me = world.respond(&Request::get(&format!("/me?access_token={token}")), NOW);
            assert_eq!(me.json()["error"]["error_subcode"].as_i64(), subcode);
        }
    }

    #[test]
    fn a_bomb_is_small_before_it_goes_off() {
        let bomb = gzip_bomb(64 * 1024 * 1024);
        assert!(bomb.len() < 512 * 1024);
        assert_eq!(bomb.get(..3), Some(&[0x1f, 0x8b, 8][..]));
        // One space and a copy of 258 of it, as packed by hand.
        let deflated: &[u8] = &[0x53, 0x18, 0x05, 0x00];
        assert_eq!(gzip_bomb(258).get(10..14), Some(deflated));
    }
}
