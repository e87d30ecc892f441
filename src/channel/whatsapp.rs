//! A template message over WhatsApp, sent through Meta's Cloud API with a token that is itself watched.
//!
//! It never sends a notice about that very token or its app, never calls a message accepted that Meta holds back, and puts neither the
//! token nor a number into an error: numbers are counted, not named. Accepted is not delivered, so another channel must stand beside it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use http::HeaderMap;
use serde_json::{Value, json};

use super::json as document;
use super::post::{self, Place};
use crate::advice::{self, Links};
use crate::domain::alert::{Notice, NotifyReason, Subject};
use crate::domain::digest::Bundle;
use crate::domain::route::ChannelKind;
use crate::domain::token::ReceiverName;
use crate::graph::{is_throttle, is_trouble, lacks_a_permission, refuses_the_token};
use crate::outgoing::{ClientError, Reply};
use crate::ports::{Channel, Delivery, DeliveryError};
use crate::reader::Reader;
use crate::redact::{redact, without_numbers};
use crate::secret::{Secret, hmac_sha256};
use crate::settings::{Settings, Token, WhatsAppTarget};

/// Reaches people over WhatsApp.
pub struct WhatsAppChannel {
    settings: Arc<Settings>,
    reader: Reader,
    place: Place,
    /// Which numbers have which message. WhatsApp knows no message ids of ours, so a second request would be a second message.
    taken: Mutex<Taken>,
}

/// The numbers that have a message, of the latest messages.
#[derive(Default)]
struct Taken {
    numbers: BTreeMap<Letter, BTreeSet<String>>,
    order: VecDeque<Letter>,
}

/// Two receivers may be told the same under one message id.
type Letter = (ReceiverName, String);

/// What one message needs beside the number.
struct Errand<'a> {
    target: &'a WhatsAppTarget,
    secret: Secret,
    url: url::Url,
    parameters: [String; 2],
}

/// Why one number does not have it, as far as we know.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Miss {
    words: String,
    /// It may have arrived.
    unclear: bool,
    /// Another number would be answered the same.
    for_all: bool,
}

impl WhatsAppChannel {
    /// The channel of these settings; `None` when nobody is told over WhatsApp. After a reload it is made anew.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(settings: Arc<Settings>, reader: Reader) -> Result<Option<Self>, ClientError> {
        if settings.receivers.values().all(|receiver| receiver.whatsapp.is_none()) {
            return Ok(None);
        }
        // All of them are reached at the same place.
        let meta = &settings.meta;
        let place = Place::new(meta.base_url.clone(), meta.timeout, meta.ca_file.as_deref())?;
        Ok(Some(Self { settings, reader, place, taken: Mutex::default() }))
    }

    async fn send(&self, bundle: &Bundle, message: &str) -> Result<Delivery, DeliveryError> {
        let errand = self.errand(bundle).await?;
        let letter = (bundle.receiver.clone(), message.to_owned());
        let mut misses: Vec<Miss> = Vec::new();
        let mut accepted = 0;
        for number in &errand.target.to {
            if self.taken().has(&letter, number) {
                accepted += 1;
                continue;
            }
            // What is wrong with the token or the template is wrong for every number; asking on would only use up patience.
            if let Some(miss) = misses.last().filter(|miss| accepted == 0 && miss.for_all) {
                misses.push(miss.clone());
                continue;
            }
            match self.attempt(&errand, number).await {
                Ok(()) => {
                    self.taken().note(&letter, number);
                    accepted += 1;
                }
                Err(miss) => misses.push(miss),
            }
        }
        let failures = self.in_words(&misses, errand.target.to.len());
        if accepted > 0 {
            Ok(Delivery { addresses: accepted, failures })
        } else if misses.iter().any(|miss| miss.unclear) {
            Err(DeliveryError::Unknown(failures.join("; ")))
        } else {
            Err(DeliveryError::NotSent(failures.join("; ")))
        }
    }

    /// All that is needed to send, or why it cannot be sent at all.
    async fn errand(&self, bundle: &Bundle) -> Result<Errand<'_>, DeliveryError> {
        let not_sent = |text: String| Err(DeliveryError::NotSent(text));
        let receiver = &bundle.receiver;
        let Some((target, token)) = sender(&self.settings, receiver) else {
            return not_sent(format!("the receiver {receiver} has no whatsapp any more"));
        };
        if let Some(notice) = bundle.notices.iter().find(|notice| concerns(&self.settings, token, &notice.subject)) {
            return not_sent(format!(
                "WhatsApp: a notice about {} would have to be sent with the token it is about, {}; it goes another way",
                notice.subject, target.token
            ));
        }
        let number_id = token.whatsapp.as_ref().and_then(|number| number.phone_number_id.as_deref());
        let Some(number_id) = number_id else {
            return not_sent(format!(
                "WhatsApp: the token {} has no whatsapp.phone_number_id to send from",
                target.token
            ));
        };
        let secret = self.reader.read_one(&token.secret).await.map_err(|error| {
            DeliveryError::NotSent(format!("WhatsApp: the token {} cannot be read: {error}", target.token))
        })?;
        let url = self.address(number_id, token, &secret).await;
        Ok(Errand { target, secret, url, parameters: parameters(bundle, &self.settings) })
    }

    /// `POST /vNN.0/{phone-number-id}/messages`, with the proof in the query where the app is one that proves (reference §5 and §9.4).
    async fn address(&self, number_id: &str, token: &Token, secret: &Secret) -> url::Url {
        let meta = &self.settings.meta;
        let mut url = meta.base_url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend([&meta.version, number_id, "messages"]);
        }
        let app = token.spec.app.as_ref().and_then(|name| self.settings.apps.get(name)).filter(|app| app.proof);
        // Most apps do not ask for a proof, so without their secret it is tried all the same.
        let key = self.reader.read_where(app.and_then(|app| app.secret.as_ref())).await;
        if let Ok(Some(key)) = key {
            let proof = hmac_sha256(key.expose().as_bytes(), secret.expose().as_bytes());
            let hex: String = proof.iter().map(|byte| format!("{byte:02x}")).collect();
            url.query_pairs_mut().append_pair("appsecret_proof", &hex);
        }
        url
    }

    async fn attempt(&self, errand: &Errand<'_>, number: &str) -> Result<(), Miss> {
        let for_all = |words: String| Miss { words, unclear: false, for_all: true };
        let headers: HeaderMap = post::bearer(&errand.secret).map_err(|error| for_all(error.to_string()))?;
        let body = template(errand.target, number, &errand.parameters).to_string();
        let secrets = [&errand.secret];
        match self.place.post_to(errand.url.clone(), headers, body.as_bytes()).await {
            Ok(reply) => confirmed(&reply, errand),
            Err(failure) => {
                let words = redact(&failure.to_string(), &secrets);
                let words = if failure.may_have_arrived { format!("{words}, so it may have arrived") } else { words };
                Err(Miss { words, unclear: failure.may_have_arrived, for_all: !failure.may_have_arrived })
            }
        }
    }

    /// What went wrong, and for how many.
    fn in_words(&self, misses: &[Miss], all: usize) -> Vec<String> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for miss in misses {
            *counts.entry(&miss.words).or_default() += 1;
        }
        let place = self.place.name();
        let numbers = if all == 1 { "number" } else { "numbers" };
        counts.into_iter().map(|(words, n)| format!("WhatsApp ({place}), {n} of {all} {numbers}: {words}")).collect()
    }

    /// The map holds whole entries only, so a poisoned lock is as good as any.
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Channel for WhatsAppChannel {
    /// After an error the same bundle is to be delivered again under the same message id: numbers that have it are passed over.
    fn deliver<'a>(&'a self, bundle: &'a Bundle, message: &'a str) -> BoxFuture<'a, Result<Delivery, DeliveryError>> {
        Box::pin(self.send(bundle, message))
    }

    fn message_id(&self, bundle: &Bundle) -> String {
        document::message_id(bundle)
    }

    fn kind(&self) -> ChannelKind {
        ChannelKind::WhatsApp
    }
}

impl Taken {
    fn has(&self, letter: &Letter, number: &str) -> bool {
        self.numbers.get(letter).is_some_and(|numbers| numbers.contains(number))
    }

    fn note(&mut self, letter: &Letter, number: &str) {
        if !self.numbers.contains_key(letter) {
            self.order.push_back(letter.clone());
        }
        self.numbers.entry(letter.clone()).or_default().insert(number.to_owned());
        if self.order.len() > MOST_LETTERS
            && let Some(oldest) = self.order.pop_front()
        {
            self.numbers.remove(&oldest);
        }
    }
}

/// Whether a notice would have to be sent to this receiver's WhatsApp with the very token that it is about, or with one of the app that
/// it is about. Such a notice is always refused, so it needs another way.
pub fn is_about_the_sender(settings: &Settings, receiver: &ReceiverName, notice: &Notice) -> bool {
    sender(settings, receiver).is_some_and(|(_, token)| concerns(settings, token, &notice.subject))
}

fn sender<'a>(settings: &'a Settings, receiver: &ReceiverName) -> Option<(&'a WhatsAppTarget, &'a Token)> {
    let target = settings.receivers.get(receiver)?.whatsapp.as_ref()?;
    Some((target, settings.token(&target.token)?))
}

fn concerns(settings: &Settings, sender: &Token, subject: &Subject) -> bool {
    match subject {
        // The same secret may be watched under two names.
        Subject::Token(id) => {
            *id == sender.spec.id || settings.token(id).is_some_and(|token| token.secret == sender.secret)
        }
        Subject::App(name) => sender.spec.app.as_ref() == Some(name),
        Subject::Watcher => false,
    }
}

/// The body of the request (reference §9.4).
fn template(target: &WhatsAppTarget, number: &str, parameters: &[String; 2]) -> Value {
    let texts: Vec<Value> = parameters.iter().map(|text| json!({"type": "text", "text": text})).collect();
    json!({
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": number,
        "type": "template",
        "template": {
            "name": target.template,
            "language": {"code": target.language},
            "components": [{"type": "body", "parameters": texts}],
        },
    })
}

/// What happens, and what to do next. Meta refuses parameters that are empty, too long, or hold line breaks, tabs or rows of spaces.
fn parameters(bundle: &Bundle, settings: &Settings) -> [String; 2] {
    let label = bundle.severity().map_or("resolved", |severity| severity.as_str()).to_uppercase();
    let title = advice::title(bundle, &advice::shared(&bundle.notices, settings));
    let lead = bundle.lead();
    let step = lead.and_then(|lead| advice::steps(lead, &Links::of(settings, &lead.subject)).into_iter().next());
    let next = match (lead, step) {
        (_, Some(step)) if bundle.notices.len() > 1 => {
            format!("{} `tokenwatch status` shows the others.", fit(&step, LONGEST_STEP))
        }
        (_, Some(step)) => step,
        (Some(lead), None) if lead.why == NotifyReason::Resolved => "Nothing is left to do.".to_owned(),
        (_, None) => "`tokenwatch status` shows how all tokens stand.".to_owned(),
    };
    [fit(&format!("{label}: {title}"), LONGEST_TITLE), fit(&next, LONGEST_STEP + ROOM_FOR_OTHERS)]
}

fn fit(text: &str, limit: usize) -> String {
    // `plain` leaves single spaces only.
    match post::shortened(&advice::plain(text), limit) {
        empty if empty.is_empty() => "-".to_owned(),
        text => text,
    }
}

/// Only a message with an id that Meta says it accepts is one.
fn confirmed(reply: &Reply, errand: &Errand<'_>) -> Result<(), Miss> {
    let answer: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    if reply.status != 200 || answer.get("error").is_some() {
        return Err(refusal(reply.status, &answer["error"], errand));
    }
    let message = &answer["messages"][0];
    let miss = |words: &str| Err(Miss { words: words.to_owned(), unclear: false, for_all: false });
    if message["id"].as_str().is_none_or(str::is_empty) {
        return miss("answered 200 without a message id, so nothing says that it was taken");
    }
    match message["message_status"].as_str() {
        None | Some("accepted") => Ok(()),
        Some("held_for_quality_assessment") => {
            miss("holds the message until it has judged the template's quality, so it may never come")
        }
        Some("paused") => miss("holds the message: the template is paused for low quality; edit it at Meta"),
        Some(_) => miss("took the message, but does not say that it is accepted"),
    }
}

/// An error of Meta's (reference §6.2): known codes in our words, others in theirs.
fn refusal(status: u16, error: &Value, errand: &Errand<'_>) -> Miss {
    let code = error["code"].as_i64();
    let WhatsAppTarget { token, template, language, .. } = errand.target;
    let (words, for_all) = match code {
        Some(code) if refuses_the_token(code) => {
            (format!("the token {token} is not accepted any more; `tokenwatch check {token}` says why"), true)
        }
        Some(131_030) => (
            "it is not on the list of recipients of a test number; add it in the app's dashboard (WhatsApp, API Setup) or send from a real number"
                .to_owned(),
            false,
        ),
        Some(131_026) => ("it cannot be reached over WhatsApp".to_owned(), false),
        Some(131_047) => {
            ("only a template may be sent to somebody who has not written for 24 hours; see that the template is approved".to_owned(), false)
        }
        Some(132_000 | 132_012) => {
            (format!("the template {template} does not have two text parameters in its body"), true)
        }
        Some(132_001) => (
            format!("there is no approved template {template} in the language {language}; register it, or correct the configuration"),
            true,
        ),
        Some(132_005) => (format!("the text of the template {template} is too long; 500 characters must be left for us"), true),
        Some(132_015) => (format!("the template {template} is paused for low quality; edit it at Meta"), true),
        Some(132_016) => (format!("the template {template} is disabled for low quality; register another"), true),
        Some(133_010) => ("the number it is sent from is not registered with the Cloud API; register it".to_owned(), true),
        Some(131_042) => ("there is a payment problem; see the billing of the WhatsApp account".to_owned(), true),
        Some(131_031) => ("the WhatsApp account is locked; see its page in the Business Manager".to_owned(), true),
        Some(131_056) => ("too many messages went to it in a short time; it is tried again".to_owned(), false),
        Some(code) if is_throttle(code) => {
            ("the limit of messages is reached for now; it is tried again".to_owned(), true)
        }
        Some(368) => ("the account is blocked for a time because of a policy violation; see the Business Manager".to_owned(), true),
        Some(code) if lacks_a_permission(code) => (
            format!(
                "the token {token} may not send for this number; it needs whatsapp_business_messaging, and its user a role in the WhatsApp account"
            ),
            true,
        ),
        Some(33) => ("the number it is sent from was deleted; correct whatsapp.phone_number_id".to_owned(), true),
        Some(100) if error["error_subcode"].as_i64() == Some(33) => {
            (format!("there is no such phone_number_id, or the token {token} does not cover it"), true)
        }
        Some(code) if is_trouble(code) => ("the trouble is at Meta; it is tried again".to_owned(), true),
        Some(100) => (format!("a parameter is not accepted: {}", their_words(error, errand)), false),
        Some(_) => (their_words(error, errand), false),
        None => (String::new(), true),
    };
    let answered = match code {
        Some(code) => format!("answered {status} (error {code})"),
        None => format!("answered {status} without saying why"),
    };
    let words = if words.is_empty() { answered } else { format!("{answered}: {words}") };
    Miss { words, unclear: false, for_all }
}

/// Meta's own words, without secrets and numbers.
fn their_words(error: &Value, errand: &Errand<'_>) -> String {
    let data = match &error["error_data"] {
        // Some answers have it as JSON within a string (reference §6.1).
        Value::String(text) => serde_json::from_str(text).unwrap_or_default(),
        data => data.clone(),
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let message = text(&error["message"]);
    let details = text(&data["details"]);
    let all = if details.is_empty() || message.contains(&details) { message } else { format!("{message}: {details}") };
    let clean = advice::plain(&redact(&all, &[&errand.secret]));
    post::shortened(&without_numbers(&clean), LONGEST_WORDS)
}

/// The body of a message has room for 1,024 characters, the template's own words included.
const LONGEST_TITLE: usize = 250;
const LONGEST_STEP: usize = 350;
const ROOM_FOR_OTHERS: usize = 50;
/// Characters of an answer that are repeated in an error.
const LONGEST_WORDS: usize = 200;
/// Messages of which it is known which numbers have them.
const MOST_LETTERS: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::super::compose::tests::{notice, receiver, token};
    use super::super::post::tests::{Script, Server};
    use super::*;
    use crate::domain::finding::{Reason, Severity};
    use crate::domain::token::AppName;
    use crate::settings::source::Sources;

    const TOKEN: &str = "EAAB0000SecretSecretSecretZD";
    const YES: Script = Script::Say(
        200,
        r#"{"messaging_product":"whatsapp","messages":[{"id":"wamid.1","message_status":"accepted"}]}"#,
    );

    fn channel(port: u16, numbers: &str) -> WhatsAppChannel {
        let text = format!(
            r#"
            [smtp]
            from = "tokenwatch@example.com"
            relays = [ {{ url = "smtp://127.0.0.1:2525?tls=none" }} ]
            [receivers.default]
            email = ["a@example.com"]
            whatsapp = {{ token = "sender", to = [{numbers}], template = "token_alert", language = "en_US" }}
            [receivers.other]
            email = ["b@example.com"]
            [apps.helpdesk]
            id = "634900000000001"
            secret = {{ env = "APP" }}
            [[tokens]]
            name = "sender"
            app = "helpdesk"
            receivers = ["default"]
            secret = {{ env = "SENDER" }}
            [tokens.whatsapp]
            phone_number_id = "521803094347148"
            [[tokens]]
            name = "twin"
            receivers = ["default"]
            secret = {{ env = "SENDER" }}
            [provider.meta]
            base_url = "http://127.0.0.1:{port}"
            version = "v25.0"
            timeout = "1s"
            "#
        );
        let settings =
            crate::settings::from_text(&text, "test", &[]).unwrap_or_else(|faults| unreachable!("{faults}")).settings;
        let reader = Reader::new(Sources::new([
            ("SENDER".to_owned(), TOKEN.to_owned()),
            ("APP".to_owned(), "appsecret0appsecret0".to_owned()),
        ]));
        WhatsAppChannel::new(Arc::new(settings), reader)
            .unwrap_or_else(|error| unreachable!("{error}"))
            .expect("somebody is told over WhatsApp")
    }

    const ONE: &str = r#""+15550001111""#;
    const TWO: &str = r#""+15550001111", "+15550002222""#;

    fn bundle(notices: Vec<Notice>) -> Bundle {
        Bundle::new(receiver("default"), notices).expect("there are notices")
    }

    async fn deliver(channel: &WhatsAppChannel) -> Result<Delivery, DeliveryError> {
        let bundle = bundle(vec![notice("helpdesk-whatsapp", Reason::Expired)]);
        channel.deliver(&bundle, &channel.message_id(&bundle)).await
    }

    fn is_discreet(text: &str) {
        for secret in ["EAAB", "5550001111", "5550002222", "555 000", "appsecret"] {
            assert!(!text.contains(secret), "{text}");
        }
    }

    #[tokio::test]
    async fn each_number_gets_it_once() {
        let server = Server::start(&[YES]).await;
        let channel = channel(server.port, TWO);
        for _ in 0..2 {
            assert_eq!(deliver(&channel).await, Ok(Delivery { addresses: 2, failures: vec![] }));
        }
        let seen = server.seen();
        assert_eq!(seen.len(), 2, "the second time both have it");
        let proof = hmac_sha256(b"appsecret0appsecret0", TOKEN.as_bytes());
        let proof: String = proof.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(seen[0].target, format!("/v25.0/521803094347148/messages?appsecret_proof={proof}"));
        assert_eq!(seen[0].header("authorization"), format!("Bearer {TOKEN}"));
        assert_eq!(
            seen[0].json(),
            json!({
                "messaging_product": "whatsapp", "recipient_type": "individual", "to": "+15550001111", "type": "template",
                "template": {"name": "token_alert", "language": {"code": "en_US"}, "components": [{"type": "body",
                    "parameters": seen[0].json()["template"]["components"][0]["parameters"]}]},
            })
        );
        let texts = &seen[0].json()["template"]["components"][0]["parameters"];
        assert_eq!(texts[0], json!({"type": "text", "text": "CRITICAL: helpdesk-whatsapp has expired"}));
        assert!(texts[1]["text"].as_str().is_some_and(|text| text.len() > 10), "{texts}");
        assert_eq!(seen[1].json()["to"], "+15550002222");
    }

    #[tokio::test]
    async fn what_is_not_accepted_is_no_delivery() {
        for (script, unknown, words) in [
            (Script::Say(200, "{}"), false, "without a message id"),
            (Script::Say(200, "<html>"), false, "without a message id"),
            (Script::Say(200, r#"{"messages":[{"id":""}]}"#), false, "without a message id"),
            (Script::Say(200, r#"{"messages":[{"id":"w","message_status":"paused"}]}"#), false, "is paused"),
            (
                Script::Say(200, r#"{"messages":[{"id":"w","message_status":"held_for_quality_assessment"}]}"#),
                false,
                "holds the message",
            ),
            (Script::Say(200, r#"{"messages":[{"id":"w","message_status":"new"}]}"#), false, "does not say"),
            (Script::Say(200, r#"{"error":{"code":190}}"#), false, "`tokenwatch check sender`"),
            (Script::Say(401, r#"{"error":{"code":190}}"#), false, "(error 190): the token sender is not accepted"),
            (Script::Say(400, r#"{"error":{"code":131030}}"#), false, "list of recipients"),
            (Script::Say(400, r#"{"error":{"code":131047}}"#), false, "24 hours"),
            (
                Script::Say(404, r#"{"error":{"code":132001}}"#),
                false,
                "no approved template token_alert in the language en_US",
            ),
            (Script::Say(400, r#"{"error":{"code":132015}}"#), false, "is paused"),
            (Script::Say(400, r#"{"error":{"code":133010}}"#), false, "not registered"),
            (Script::Say(400, r#"{"error":{"code":131042}}"#), false, "payment"),
            (Script::Say(403, r#"{"error":{"code":131031}}"#), false, "locked"),
            (Script::Say(429, r#"{"error":{"code":130429}}"#), false, "limit"),
            (Script::Say(403, r#"{"error":{"code":368}}"#), false, "policy"),
            (Script::Say(403, r#"{"error":{"code":10}}"#), false, "whatsapp_business_messaging"),
            (Script::Say(403, r#"{"error":{"code":200}}"#), false, "whatsapp_business_messaging"),
            (Script::Say(400, r#"{"error":{"code":100,"error_subcode":33}}"#), false, "no such phone_number_id"),
            (
                Script::Say(
                    400,
                    r#"{"error":{"code":100,"message":"(#100) bad +1 555 000-1111 EAAB0000SecretSecretSecretZD","error_data":"{\"details\":\"x\\ny\"}"}}"#,
                ),
                false,
                "a parameter is not accepted: (#100) bad +(number) ***: x y",
            ),
            (Script::Say(500, "oops"), false, "answered 500 without saying why"),
            (Script::Hang, true, "may have arrived"),
            (Script::Drop, true, "may have arrived"),
        ] {
            let server = Server::start(Box::leak(Box::new([script]))).await;
            let error = deliver(&channel(server.port, ONE)).await.expect_err("it was not accepted");
            assert_eq!(matches!(error, DeliveryError::Unknown(_)), unknown, "{error:?}");
            let text = error.to_string();
            let start = format!("WhatsApp (127.0.0.1:{}), 1 of 1 number: ", server.port);
            assert!(text.starts_with(&start) && text.contains(words), "{text}");
            is_discreet(&text);
        }
        let error = deliver(&channel(Server::nobody(), TWO)).await.expect_err("nobody is there");
        assert!(
            matches!(&error, DeliveryError::NotSent(text) if text.contains("2 of 2 numbers: no connection")),
            "{error:?}"
        );
    }

    #[tokio::test]
    async fn one_bad_number_does_not_silence_the_others() {
        const BAD: Script = Script::Say(400, r#"{"error":{"code":131030}}"#);
        for scripts in [&[BAD, YES] as &[Script], &[YES, BAD], &[Script::Hang, YES]] {
            let server = Server::start(scripts).await;
            let channel = channel(server.port, TWO);
            let delivery = deliver(&channel).await.expect("one of them has it");
            assert_eq!((delivery.addresses, delivery.failures.len()), (1, 1));
            assert!(delivery.failures[0].contains("1 of 2 numbers: "), "{delivery:?}");
            is_discreet(&delivery.failures[0]);
            assert_eq!(server.seen().len(), 2);
        }
        // What is wrong for all is asked once; a retry does not repeat what was accepted.
        let server = Server::start(&[Script::Say(401, r#"{"error":{"code":190}}"#), YES]).await;
        let channel = channel(server.port, TWO);
        let error = deliver(&channel).await.expect_err("the token is dead");
        assert!(error.to_string().contains("2 of 2 numbers"), "{error}");
        assert_eq!(server.seen().len(), 1);
        assert_eq!(deliver(&channel).await, Ok(Delivery { addresses: 2, failures: vec![] }));
    }

    // promise 44
    #[tokio::test]
    async fn bad_news_about_the_sender_go_another_way() {
        let server = Server::start(&[YES]).await;
        let channel = channel(server.port, ONE);
        let app = |name: &str| Notice {
            subject: Subject::App(AppName::parse(name).expect("a valid name")),
            ..notice("x", Reason::AppFault)
        };
        for (own, is_own) in [
            (notice("sender", Reason::Expiring), true),
            (Notice { why: NotifyReason::Resolved, ..notice("sender", Reason::Blind) }, true),
            (notice("twin", Reason::Expired), true),
            (app("helpdesk"), true),
            (app("another"), false),
            (Notice { subject: Subject::Watcher, ..notice("x", Reason::Test) }, false),
            (notice("b", Reason::Expired), false),
        ] {
            assert_eq!(is_about_the_sender(&channel.settings, &receiver("default"), &own), is_own);
            assert!(!is_about_the_sender(&channel.settings, &receiver("other"), &own));
            let bundle = bundle(vec![notice("a", Reason::Blind), own]);
            let outcome = channel.deliver(&bundle, &channel.message_id(&bundle)).await;
            let refused =
                matches!(&outcome, Err(DeliveryError::NotSent(text)) if text.contains("with the token it is about"));
            assert_eq!(refused, is_own, "{outcome:?}");
        }
        assert_eq!(server.seen().len(), 3);
        let lost = Bundle { receiver: receiver("other"), ..bundle(vec![notice("a", Reason::Blind)]) };
        let error = channel.deliver(&lost, "x").await.expect_err("nobody is there");
        assert!(error.to_string().contains("other has no whatsapp"), "{error}");
    }

    #[test]
    fn parameters_are_what_meta_takes() {
        let settings = super::super::compose::tests::settings();
        let hostile = |name: &str| {
            let mut notice = notice(name, Reason::ScopeMissing);
            let missing = (0..50).map(|n| format!("a\r\n\tb      c{n}{}", "x".repeat(500)).into()).collect();
            notice.detail = crate::domain::finding::Detail::Missing(missing);
            notice
        };
        let resolved = Notice { why: NotifyReason::Resolved, ..notice("a", Reason::Blind) };
        let test = Notice { subject: Subject::Watcher, severity: Severity::Info, ..notice("a", Reason::Test) };
        let many = (0..300).map(|n| hostile(&token(n))).collect();
        for (notices, start, next) in [
            (vec![resolved], "RESOLVED: a is being checked again", "Nothing is left to do."),
            (vec![test], "INFO: a test", "`tokenwatch status`"),
            (vec![hostile("a")], "CRITICAL: a is missing 50 permissions", ""),
            (many, "CRITICAL: 300 tokens", "`tokenwatch status` shows the others."),
        ] {
            let [title, step] = parameters(&bundle(notices), &settings);
            assert!(title.starts_with(start) && step.contains(next), "{title} / {step}");
            for text in [title, step] {
                assert!(!text.is_empty() && text.chars().count() <= 401, "{text}");
                assert!(!text.contains(['\n', '\r', '\t']) && !text.contains("    "), "{text:?}");
            }
        }
        assert_eq!(fit(" \r\n", 10), "-");
    }

    #[test]
    fn numbers_are_taken_out_of_words() {
        for (text, clean) in [
            ("to +1 (555) 000-1111, please", "to +(number), please"),
            ("15550001111", "(number)"),
            ("(#131030) Recipient 12 of 34", "(#131030) Recipient 12 of 34"),
            ("", ""),
        ] {
            assert_eq!(without_numbers(text), clean);
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut taken = Taken::default();
        let letter = |n: usize| (receiver("default"), n.to_string());
        for n in 0..2 * MOST_LETTERS {
            taken.note(&letter(n), "+1");
            taken.note(&letter(n), "+2");
        }
        assert_eq!((taken.numbers.len(), taken.order.len()), (MOST_LETTERS, MOST_LETTERS));
        assert!(taken.has(&letter(2 * MOST_LETTERS - 1), "+2") && !taken.has(&letter(0), "+1"));
    }
}
