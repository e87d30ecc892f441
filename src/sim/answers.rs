//! What goes in and out: a request, the reply to it, and the error object in all its parts (§1, §6).
//! Must never touch a socket, a clock or the state of the world.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::dates;
use super::versions;

/// Which of Meta's hosts the request was sent to (§1). Only core Graph lives in this world so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostFamily {
    /// `graph.facebook.com`: Facebook and WhatsApp.
    #[default]
    Facebook,
}

/// One HTTP request, decoded.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Request {
    /// Upper-case method.
    pub method: String,
    /// The path without its query, as sent.
    pub path: String,
    /// Query parameters, decoded, in order.
    pub query: Vec<(String, String)>,
    /// Urlencoded form fields of the body, decoded.
    pub form: Vec<(String, String)>,
    /// A JSON body.
    pub json: Option<Value>,
    /// The token of `Authorization: Bearer`.
    pub bearer: Option<String>,
    /// The host asked.
    pub host: HostFamily,
}

impl Request {
    /// A request for `target`, that is a path with an optional urlencoded query.
    pub fn new(method: &str, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Self { method: method.to_owned(), path: path.to_owned(), query: decode_pairs(query), ..Self::default() }
    }

    /// A GET of `target`.
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// The same request with a bearer token.
    #[must_use]
    pub fn with_bearer(self, token: &str) -> Self {
        Self { bearer: Some(token.to_owned()), ..self }
    }

    /// The same request with a JSON body.
    #[must_use]
    pub fn with_json(self, body: Value) -> Self {
        Self { json: Some(body), ..self }
    }

    /// The path without its version segment: `/debug_token` for `/v25.0/debug_token`.
    pub fn unversioned_path(&self) -> &str {
        let Some(rest) = self.path.strip_prefix('/') else {
            return &self.path;
        };
        let first = rest.split('/').next().unwrap_or_default();
        if versions::looks_like_version(first) { &rest[first.len()..] } else { &self.path }
    }

    /// A parameter of the query, else of the form; an empty value counts as absent.
    pub(super) fn param(&self, name: &str) -> Option<&str> {
        find(&self.query, name).or_else(|| find(&self.form, name))
    }

    /// A parameter that counts only in the query string: `appsecret_proof` in a body is ignored (§5).
    pub(super) fn query_param(&self, name: &str) -> Option<&str> {
        find(&self.query, name)
    }

    /// The token the caller presents: parameter first, then the header.
    pub(super) fn credential(&self) -> Option<&str> {
        self.param("access_token").or_else(|| self.bearer.as_deref().filter(|token| !token.is_empty()))
    }

    /// Whether a token stands anywhere in the request.
    pub(super) fn mentions(&self, token: &str) -> bool {
        let values = self.query.iter().chain(&self.form).map(|(_, value)| value);
        values.chain(&self.bearer).any(|value| value == token)
    }
}

/// Decodes `a=1&b=%7C`; a broken escape stays as it is.
pub(super) fn decode_pairs(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decoded(name), percent_decoded(value))
        })
        .collect()
}

/// How a reply travels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Transport {
    /// Sent whole, connection kept.
    #[default]
    Normal,
    /// Never answered; the connection stays open until the client gives up.
    Hang,
    /// The connection is reset without an answer.
    Reset,
    /// The body trickles, at most this many bytes a second.
    Drip {
        /// Bytes per second; zero counts as one.
        bytes_per_second: usize,
    },
    /// The connection closes after this many bytes of a longer announced body.
    Truncate {
        /// Body bytes sent.
        after: usize,
    },
}

/// One HTTP reply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Headers in order; content length and connection belong to the HTTP skin.
    pub headers: Vec<(String, String)>,
    /// The body, whole.
    pub body: Vec<u8>,
    /// How it travels.
    pub transport: Transport,
}

impl Reply {
    /// A header's value, by its case-insensitive name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let same = |(key, _): &&(String, String)| key.eq_ignore_ascii_case(name);
        self.headers.iter().find(same).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// An answer of the API, in good standing.
    pub(super) fn granted(body: &Value, stamp: &Stamp) -> Self {
        let body = body.to_string().into_bytes();
        let digest = Sha256::digest(&body);
        let etag: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let mut headers = stamp.headers("private, no-cache, no-store, must-revalidate");
        headers.push(pair("ETag", &format!("\"{etag}\"")));
        Self { status: 200, headers, body, transport: Transport::Normal }
    }

    /// An answer of the API that refuses. The message is repeated in `WWW-Authenticate`, tokens included (§1).
    pub(super) fn refused(error: &GraphError, stamp: &Stamp) -> Self {
        let mut headers = stamp.headers("no-store");
        headers.push(pair("WWW-Authenticate", &error.challenge()));
        Self {
            status: error.status,
            headers,
            body: error.body(&stamp.trace).to_string().into_bytes(),
            transport: Transport::Normal,
        }
    }

    pub(super) fn set_header(&mut self, name: &str, value: &str) {
        self.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        self.headers.push(pair(name, value));
    }
}

/// What every reply carries whatever it says (§1).
#[derive(Debug, Clone)]
pub(super) struct Stamp {
    /// Value of `facebook-api-version`.
    pub version: String,
    /// `fbtrace_id` and its header.
    pub trace: String,
    /// The server's idea of now, unix seconds.
    pub date: i64,
    /// Usage headers (§7).
    pub usage: Vec<(String, String)>,
}

impl Stamp {
    fn headers(&self, cache_control: &str) -> Vec<(String, String)> {
        let mut headers = vec![
            pair("Content-Type", "application/json; charset=UTF-8"),
            pair("facebook-api-version", &self.version),
            pair("x-fb-request-id", &format!("{}-r", self.trace)),
            pair("x-fb-trace-id", &self.trace),
            pair("x-fb-rev", "1020304050"),
            pair("X-FB-Debug", &format!("{}==", self.trace)),
            pair("Cache-Control", cache_control),
            pair("Expires", "Sat, 01 Jan 2000 00:00:00 GMT"),
            pair("Pragma", "no-cache"),
            pair("Access-Control-Allow-Origin", "*"),
            pair("Strict-Transport-Security", "max-age=15552000; preload"),
            pair("Date", &dates::http(self.date)),
        ];
        headers.extend(self.usage.iter().cloned());
        headers
    }
}

/// The error object of §6.1, with the status it travels under.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct GraphError {
    pub status: u16,
    pub kind: &'static str,
    pub code: i64,
    pub subcode: Option<i64>,
    pub message: String,
    pub is_transient: Option<bool>,
    pub error_data: Option<Value>,
}

impl GraphError {
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self {
            status: 400,
            kind: "OAuthException",
            code,
            subcode: None,
            message: message.into(),
            is_transient: None,
            error_data: None,
        }
    }

    pub fn subcode(self, subcode: i64) -> Self {
        Self { subcode: Some(subcode), ..self }
    }

    pub fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    pub fn no_token() -> Self {
        Self::new(104, "An access token is required to request this resource.")
    }

    /// Wording of a missing parameter is unsourced (§2.2, tag U).
    pub fn missing(parameter: &str) -> Self {
        Self::new(100, format!("(#100) The parameter {parameter} is required"))
    }

    pub fn wrong_signature() -> Self {
        Self::new(190, "Invalid OAuth access token signature.")
    }

    pub fn foreign_app() -> Self {
        Self::new(100, "(#100) The App_id in the input_token did not match the Viewing App")
    }

    pub fn not_privileged() -> Self {
        Self::new(
            100,
            "(#100) You must provide an app access token, or a user access token that is an owner or developer of the app",
        )
    }

    pub fn unknown_path(rest: &str) -> Self {
        Self::new(2500, format!("Unknown path components: {rest}"))
    }

    pub fn unsupported_method(method: &str) -> Self {
        Self {
            kind: "GraphMethodException",
            ..Self::new(100, format!("Unsupported request - method type: {}", method.to_ascii_lowercase()))
        }
    }

    /// Unknown and unshared look the same from outside (§9.1).
    pub fn no_such_object(method: &str, id: &str) -> Self {
        let error = Self::new(
            100,
            format!(
                "Unsupported {} request. Object with ID '{id}' does not exist, cannot be loaded due to missing permissions, or does not support this operation. Please read the Graph API documentation at https://developers.facebook.com/docs/graph-api",
                method.to_ascii_lowercase()
            ),
        );
        Self { kind: "GraphMethodException", ..error.subcode(33) }
    }

    pub fn no_such_field(field: &str, node: &str) -> Self {
        Self::new(100, format!("(#100) Tried accessing nonexisting field ({field}) on node type ({node})"))
    }

    pub fn proof(message: &str) -> Self {
        Self { kind: "GraphMethodException", ..Self::new(100, message) }
    }

    /// The form inside `data` of debug_token: `subcode`, not `error_subcode` (§2.1).
    pub fn inside_data(&self) -> Value {
        let mut error = Map::new();
        error.insert("code".to_owned(), json!(self.code));
        error.insert("message".to_owned(), json!(self.message));
        if let Some(subcode) = self.subcode {
            error.insert("subcode".to_owned(), json!(subcode));
        }
        Value::Object(error)
    }

    fn body(&self, trace: &str) -> Value {
        let mut error = Map::new();
        error.insert("message".to_owned(), json!(self.message));
        error.insert("type".to_owned(), json!(self.kind));
        error.insert("code".to_owned(), json!(self.code));
        if let Some(subcode) = self.subcode {
            error.insert("error_subcode".to_owned(), json!(subcode));
        }
        if let Some(is_transient) = self.is_transient {
            error.insert("is_transient".to_owned(), json!(is_transient));
        }
        if let Some(error_data) = &self.error_data {
            error.insert("error_data".to_owned(), error_data.clone());
        }
        error.insert("fbtrace_id".to_owned(), json!(trace));
        json!({ "error": error })
    }

    fn challenge(&self) -> String {
        let class = if self.code == 190 { "invalid_token" } else { "invalid_request" };
        // An echoed token is the client's own text: it must not be able to start a header of its own.
        let visible = |c: char| if matches!(c, ' '..='~') { c } else { '?' };
        let message: String = self.message.chars().map(visible).collect();
        format!("OAuth \"Facebook Platform\" \"{class}\" \"{message}\"")
    }
}

pub(super) fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn find<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let named = pairs.iter().find(|(key, _)| key == name);
    named.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let escaped = (*byte == b'%').then(|| hex_pair(bytes.get(at + 1..at + 3)));
        if let Some(Some(value)) = escaped {
            decoded.push(value);
            at += 3;
        } else {
            decoded.push(if *byte == b'+' { b' ' } else { *byte });
            at += 1;
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn hex_pair(digits: Option<&[u8]>) -> Option<u8> {
    let [high, low] = digits? else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{GraphError, Request};

    #[test]
    fn a_target_is_decoded() {
        let request = Request::get("/v25.0/me?access_token=1%7Cab+c&empty=&broken=%zz%4");
        assert_eq!(request.param("access_token"), Some("1|ab c"));
        assert_eq!(request.param("empty"), None);
        assert_eq!(request.param("broken"), Some("%zz%4"));
        assert_eq!(request.unversioned_path(), "/me");
        assert_eq!(Request::get("/me/accounts").unversioned_path(), "/me/accounts");
    }

    #[test]
    fn an_echoed_token_cannot_start_a_header() {
        let error = GraphError::new(190, "Malformed access token a\r\nSet-Cookie: b");
        let challenge = error.challenge();
        assert!(challenge.starts_with("OAuth \"Facebook Platform\" \"invalid_token\""));
        assert!(!challenge.contains(['\r', '\n']));
    }

    #[test]
    fn only_set_parts_of_an_error_are_sent() {
        let bare = GraphError::new(190, "x").body("A1");
        let keys = |value: &Value| -> Vec<String> {
            value["error"].as_object().map(|error| error.keys().cloned().collect()).unwrap_or_default()
        };
        assert_eq!(keys(&bare), ["code", "fbtrace_id", "message", "type"]);
        let full = GraphError::new(190, "x").subcode(463);
        assert_eq!(full.body("A1")["error"]["error_subcode"], 463);
        assert_eq!(full.inside_data()["subcode"], 463);
        assert!(full.inside_data().get("error_subcode").is_none());
    }
}
