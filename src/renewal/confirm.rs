//! Proves that the application works with the secret that is now in place.
//!
//! It asks and never changes anything, unless the operator wrote that a POST is how to ask. The token goes into a header, never into a url,
//! and an application's own words are not kept.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::Value;
use tokio::time::{Instant, sleep_until, timeout};

use super::command;
use crate::domain::time::Span;
use crate::graph::{is_throttle, is_trouble, refuses_the_token};
use crate::outgoing::{Client, Failure, Reply, bearer};
use crate::redact::redact;
use crate::secret::Secret;
use crate::settings::Graph;
use crate::settings::delivery::{Command, Confirm, Question};

/// Asks again and again until the answer is good or the time is over. `token` is what the first sink holds now.
///
/// # Errors
/// What the last answer was, redacted; reads well after "NAME did not confirm: ".
pub async fn confirm(confirm: &Confirm, token: &Secret, meta: &Graph) -> Result<(), String> {
    let within = within(confirm);
    let probe = Probe::new(confirm, Some(token), meta)?;
    let end = Instant::now() + within.as_limit();
    loop {
        let begun = Instant::now();
        let last = match probe.attempt(end.saturating_duration_since(begun)).await {
            Ok(_) => return Ok(()),
            Err(Miss::Lasting(text)) => return Err(text),
            Err(Miss::Passing(text)) => text,
        };
        let next = next(confirm, begun);
        if next >= end {
            return Err(format!("{last} (the last answer within {within})"));
        }
        sleep_until(next).await;
    }
}

/// Asks once, for ten seconds at most, and tells what was seen, redacted: `POST http://localhost:5000/send answers with status 200`. Without a
/// token there is nothing that WhatsApp could be asked with; the others are asked all the same.
///
/// # Errors
/// What was seen instead.
pub async fn try_once(confirm: &Confirm, token: Option<&Secret>, meta: &Graph) -> Result<String, String> {
    let limit = within(confirm).as_limit().min(ONCE);
    let seen = match Probe::new(confirm, token, meta) {
        Ok(probe) => probe.attempt(limit).await.map_err(Miss::into_text),
        Err(text) => Err(text),
    };
    let sentence = |text: String| match text.strip_prefix("it ") {
        Some(does) => format!("{confirm} {does}"),
        None => format!("{confirm}: {text}"),
    };
    seen.map(sentence).map_err(sentence)
}

fn within(confirm: &Confirm) -> Span {
    match confirm {
        Confirm::Http { within, .. } | Confirm::WhatsApp { within, .. } => *within,
        Confirm::Run(command) => command.within,
    }
}

/// When the next try follows on one that has just ended: once a second, but a POST only after a pause.
fn next(confirm: &Confirm, begun: Instant) -> Instant {
    let now = Instant::now();
    match confirm {
        Confirm::Http { question: Question::Post { .. }, .. } => now + POST_PAUSE,
        Confirm::Http { question: Question::Get, .. } | Confirm::Run(_) | Confirm::WhatsApp { .. } => {
            now.max(begun + PACE)
        }
    }
}

/// One way to ask, made ready.
enum Probe<'a> {
    /// The application.
    Http { client: Client, url: &'a url::Url, question: &'a Question, status: Option<u16>, token: Option<&'a Secret> },
    /// A command.
    Run { command: &'a Command, token: Option<&'a Secret> },
    /// WhatsApp.
    WhatsApp { client: Client, url: url::Url, headers: HeaderMap, token: &'a Secret },
}

/// Why a try was not good.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Miss {
    /// The next one may be.
    Passing(String),
    /// No other would be.
    Lasting(String),
}

impl Miss {
    fn into_text(self) -> String {
        match self {
            Self::Passing(text) | Self::Lasting(text) => text,
        }
    }
}

impl<'a> Probe<'a> {
    fn new(confirm: &'a Confirm, token: Option<&'a Secret>, meta: &Graph) -> Result<Self, String> {
        match confirm {
            Confirm::Http { url, question, status, ca_file, within } => {
                let answer = match question {
                    Question::Get => ANSWER,
                    // Whoever is cut off may have done it all the same, and would do it again.
                    Question::Post { .. } => *within,
                };
                let client = Client::new(url, answer, ca_file.as_deref()).map_err(|error| error.to_string())?;
                Ok(Self::Http { client, url, question, status: *status, token })
            }
            Confirm::Run(command) => Ok(Self::Run { command, token }),
            Confirm::WhatsApp { phone_number_id, .. } => {
                let token = token.ok_or("nobody can ask about it without the token")?;
                let client = Client::new(&meta.base_url, meta.timeout, meta.ca_file.as_deref());
                let client = client.map_err(|error| error.to_string())?;
                let headers =
                    bearer(token).ok_or("the token holds characters that no header can carry: is it the right one?")?;
                Ok(Self::WhatsApp { client, url: number(meta, phone_number_id), headers, token })
            }
        }
    }

    /// One try, and what was seen. It takes at most the time that is left.
    async fn attempt(&self, left: Duration) -> Result<String, Miss> {
        match self {
            Self::Http { client, url, question, status, token } => {
                let (method, headers, body) = request(question);
                let request = client.send(method, (*url).clone(), headers, body);
                let reply = in_time(left, request, token.as_slice()).await?;
                expected(reply.status, *status)
            }
            Self::Run { command, token } => {
                let within = Span::seconds(i64::try_from(left.as_secs().max(1)).unwrap_or(1));
                let bounded = Command { argv: command.argv.clone(), within };
                let ended = command::run(&bounded, None, &[], token.as_slice()).await;
                ended.map(|_| "it ended with exit status 0".to_owned()).map_err(Miss::Passing)
            }
            Self::WhatsApp { client, url, headers, token } => {
                let request = client.send(Method::GET, url.clone(), headers.clone(), Bytes::new());
                known(&in_time(left, request, &[token]).await?, token)
            }
        }
    }
}

/// The answer, if it comes before the time is over.
async fn in_time(
    left: Duration,
    request: impl Future<Output = Result<Reply, Failure>>,
    hide: &[&Secret],
) -> Result<Reply, Miss> {
    match timeout(left, request).await {
        Ok(reply) => reply.map_err(|failure| Miss::Passing(redact(&failure.to_string(), hide))),
        Err(_) => Err(Miss::Passing("no answer in time".to_owned())),
    }
}

/// What is sent: GET has no body.
fn request(question: &Question) -> (Method, HeaderMap, Bytes) {
    match question {
        Question::Get => (Method::GET, HeaderMap::new(), Bytes::new()),
        Question::Post { json: None } => (Method::POST, HeaderMap::new(), Bytes::new()),
        Question::Post { json: Some(json) } => {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
            (Method::POST, headers, Bytes::copy_from_slice(json.as_bytes()))
        }
    }
}

fn expected(status: u16, wanted: Option<u16>) -> Result<String, Miss> {
    let seen = format!("it answers with status {status}");
    match wanted {
        None if (200..300).contains(&status) => Ok(seen),
        None => Err(Miss::Passing(seen)),
        Some(wanted) if status == wanted => Ok(seen),
        Some(wanted) => Err(Miss::Passing(format!("it answers with status {status}, not {wanted}"))),
    }
}

/// `GET /vNN.0/{phone-number-id}?fields=…` (reference §9.1).
fn number(meta: &Graph, id: &str) -> url::Url {
    let mut url = meta.base_url.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend([&meta.version, id]);
    }
    url.query_pairs_mut().append_pair("fields", "id,verified_name,status");
    url
}

/// Only an answer with the number's id says that Meta accepts the token for it. The number may be in any state: that is no matter of the token.
fn known(reply: &Reply, token: &Secret) -> Result<String, Miss> {
    let answer: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let has_id = answer["id"].as_str().is_some_and(|id| !id.is_empty()) || answer["id"].is_u64();
    if reply.status == 200 && has_id && answer["error"].is_null() {
        return Ok("it is known to Meta".to_owned());
    }
    let error = &answer["error"];
    let Some(code) = error["code"].as_i64() else {
        let text = format!("Meta answers with status {} and does not tell about the number", reply.status);
        // A refusal without a reason is not Meta's: a proxy, a gateway.
        return Err(Miss::Passing(text));
    };
    let words = redact(error["message"].as_str().unwrap_or("no reason is given"), &[token]);
    let text = format!("Meta refuses (code {code}): {words}");
    Err(if passes(code, error) { Miss::Passing(text) } else { Miss::Lasting(text) })
}

/// Whether an error is one of those that go away (reference §6.2).
fn passes(code: i64, error: &Value) -> bool {
    // A wrong secret has the code of trouble, and its own words (reference §3.5).
    let is_of_the_secret = error["message"].as_str().is_some_and(|words| words.contains("validating client secret"));
    let is_final = refuses_the_token(code) || (code == 1 && is_of_the_secret);
    !is_final && (is_trouble(code) || is_throttle(code) || error["is_transient"].as_bool().unwrap_or(false))
}

/// One answer of the application to a question that does nothing.
const ANSWER: Span = Span::seconds(5);
/// From one try to the next.
const PACE: Duration = Duration::from_secs(1);
/// From the end of one try to the next, where each may reach a person.
const POST_PAUSE: Duration = Duration::from_secs(5);
/// Whoever asks once is waiting at a terminal.
const ONCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::Zeroizing;

    fn secret() -> Secret {
        Secret::new(Zeroizing::new("a token of no known shape".to_owned()))
    }

    #[test]
    fn answers_about_a_number() {
        let answer = |status: u16, body: &str| {
            known(&Reply { status, headers: HeaderMap::new(), body: body.as_bytes().to_vec() }, &secret())
        };
        for body in [r#"{"id":"106540352242922","status":"FLAGGED"}"#, r#"{"id":106540352242922}"#] {
            assert_eq!(answer(200, body), Ok("it is known to Meta".to_owned()));
        }
        for (status, body, word) in [
            (401, r#"{"error":{"code":190,"message":"Malformed access token a token of no known shape"}}"#, "code 190"),
            (401, r#"{"error":{"code":0,"message":"AuthException"}}"#, "code 0"),
            (400, r#"{"error":{"code":100,"error_subcode":33,"message":"Unsupported get request."}}"#, "Unsupported"),
            (400, r#"{"error":{"code":1,"message":"Error validating client secret."}}"#, "client secret"),
        ] {
            let miss = answer(status, body);
            assert!(
                matches!(&miss, Err(Miss::Lasting(text)) if text.contains(word) && !text.contains("known shape")),
                "{body}: {miss:?}"
            );
        }
        for (status, body) in [
            (500, r#"{"error":{"code":2,"message":"Service temporarily unavailable"}}"#),
            (400, r#"{"error":{"code":80008,"message":"slow down"}}"#),
            (400, r#"{"error":{"code":12345,"is_transient":true}}"#),
            (500, r#"{"error":{"code":1}}"#),
            (503, "<html>"),
            (200, r#"{"status":"CONNECTED"}"#),
            (200, r#"{"id":""}"#),
            (200, "[]"),
        ] {
            assert!(matches!(answer(status, body), Err(Miss::Passing(_))), "{body}");
        }
    }

    #[test]
    fn the_token_is_not_in_the_url() {
        let meta = Graph {
            base_url: url::Url::parse("https://graph.facebook.com/").expect("a url"),
            version: "v23.0".to_owned(),
            timeout: Span::seconds(10),
            ca_file: None,
        };
        let url = number(&meta, "1065");
        assert_eq!(url.as_str(), "https://graph.facebook.com/v23.0/1065?fields=id%2Cverified_name%2Cstatus");
    }

    #[test]
    fn statuses() {
        for (status, wanted, fine) in
            [(200, None, true), (299, None, true), (302, None, false), (401, Some(401), true), (200, Some(204), false)]
        {
            assert_eq!(expected(status, wanted).is_ok(), fine, "{status} {wanted:?}");
        }
    }
}
