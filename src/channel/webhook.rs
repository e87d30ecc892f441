//! Webhooks: one signed request for each message, after the Standard Webhooks specification (<https://www.standardwebhooks.com>).
//!
//! It never reports as delivered what was not answered with a success, never follows a redirect, and puts neither the url's path nor the
//! key into an error. A repeated delivery has the same id and the same body, so that the other side can tell.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue};
use zeroize::Zeroizing;

use super::json;
use super::post::{self, Place};
use crate::domain::digest::Bundle;
use crate::domain::route::ChannelKind;
use crate::domain::time::Timestamp;
use crate::domain::token::ReceiverName;
use crate::outgoing::ClientError;
use crate::ports::{Channel, Clock, Delivery, DeliveryError};
use crate::reader::Reader;
use crate::secret::{Secret, hmac_sha256};
use crate::settings::Settings;
use crate::settings::value::SecretRef;

/// Reaches machines by signed requests.
pub struct WebhookChannel {
    settings: Arc<Settings>,
    reader: Reader,
    clock: Arc<dyn Clock>,
    hooks: BTreeMap<ReceiverName, Hook>,
}

struct Hook {
    place: Place,
    secret: Option<SecretRef>,
}

impl WebhookChannel {
    /// The channel of these settings; `None` when no receiver has a webhook. After a reload it is made anew.
    ///
    /// # Errors
    /// When no HTTP client can be made for one of them.
    pub fn new(settings: Arc<Settings>, reader: Reader, clock: Arc<dyn Clock>) -> Result<Option<Self>, ClientError> {
        let mut hooks = BTreeMap::new();
        for (name, receiver) in &settings.receivers {
            let Some(webhook) = &receiver.webhook else { continue };
            let place = Place::new(webhook.url.clone(), webhook.timeout, webhook.ca_file.as_deref())?;
            hooks.insert(name.clone(), Hook { place, secret: webhook.secret.clone() });
        }
        Ok((!hooks.is_empty()).then_some(Self { settings, reader, clock, hooks }))
    }

    async fn send(&self, bundle: &Bundle, message: &str) -> Result<Delivery, DeliveryError> {
        let Some(hook) = self.hooks.get(&bundle.receiver) else {
            return Err(DeliveryError::NotSent(format!("the receiver {} has no webhook any more", bundle.receiver)));
        };
        let secret = self.reader.read_where(hook.secret.as_ref()).await.map_err(|error| {
            DeliveryError::NotSent(format!("{}: the key that signs cannot be read: {error}", hook.place.name()))
        })?;
        let id = webhook_id(message);
        let body = json::document(bundle, &id, &self.settings);
        let headers = signed(&id, self.clock.now(), &body, secret.as_ref())
            .map_err(|problem| DeliveryError::NotSent(format!("{}: {problem}", hook.place.name())))?;
        let secrets: Vec<&Secret> = secret.iter().collect();
        match hook.place.post(headers, &body).await {
            Ok(reply) if post::is_success(&reply) => Ok(Delivery { addresses: 1, failures: Vec::new() }),
            Ok(reply) => Err(hook.place.refused(&reply, &secrets)),
            Err(failure) => Err(hook.place.broken(&failure, &secrets)),
        }
    }
}

impl Channel for WebhookChannel {
    fn deliver<'a>(&'a self, bundle: &'a Bundle, message: &'a str) -> BoxFuture<'a, Result<Delivery, DeliveryError>> {
        Box::pin(self.send(bundle, message))
    }

    fn message_id(&self, bundle: &Bundle) -> String {
        json::message_id(bundle)
    }

    fn kind(&self) -> ChannelKind {
        ChannelKind::Webhook
    }
}

/// The id as it travels. One that another channel made may hold a full stop, which separates the parts of what is signed.
fn webhook_id(message: &str) -> String {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !message.is_empty() && message.len() <= LONGEST_ID && message.chars().all(fine) {
        message.to_owned()
    } else {
        crate::ids::identifier(message)
    }
}

/// The headers that say which message it is and whom it comes from; without a key it is not signed.
fn signed(id: &str, at: Timestamp, body: &[u8], secret: Option<&Secret>) -> Result<HeaderMap, &'static str> {
    let seconds = at.unix().to_string();
    let value = |text: &str| HeaderValue::from_str(text).map_err(|_| "its id cannot stand in a header");
    let mut headers = post::headers([(ID, value(id)?), (TIMESTAMP, value(&seconds)?)]);
    if let Some(secret) = secret {
        let mut content = format!("{id}.{seconds}.").into_bytes();
        content.extend_from_slice(body);
        let signature = hmac_sha256(&key(secret)?, &content);
        headers.insert(SIGNATURE, value(&format!("v1,{}", STANDARD.encode(signature)))?);
    }
    Ok(headers)
}

/// The bytes of the key: behind `whsec_` they are written in base64, else they are the text itself.
fn key(secret: &Secret) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    match secret.expose().strip_prefix(PREFIX) {
        Some(encoded) => STANDARD
            .decode(encoded)
            .map(Zeroizing::new)
            .map_err(|_| "the key that signs begins with whsec_, but what follows is not base64"),
        None => Ok(Zeroizing::new(secret.expose().as_bytes().to_vec())),
    }
}

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const PREFIX: &str = "whsec_";
const LONGEST_ID: usize = 128;

#[cfg(test)]
mod tests {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    use sha2::Sha256;

    use super::super::compose::tests::{notice, receiver};
    use super::super::post::tests::{Script, Server};
    use super::*;
    use crate::clock::Lens;
    use crate::domain::finding::Reason;
    use crate::settings::source::Sources;

    const NOW: i64 = 1_752_570_000;

    fn channel(port: u16, secret: &str) -> WebhookChannel {
        let text = format!(
            r#"
            [receivers.default]
            webhook = {{ url = "http://127.0.0.1:{port}/hooks/very-secret-path?key=opensesame", timeout = "1s"{secret} }}
            [receivers.other]
            "#
        );
        let settings =
            crate::settings::from_text(&text, "test", &[]).unwrap_or_else(|faults| unreachable!("{faults}")).settings;
        let reader = Reader::new(Sources::new([
            ("HOOK_KEY".to_owned(), "hunter2hunter2".to_owned()),
            ("HOOK_WHSEC".to_owned(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned()),
            ("HOOK_BROKEN".to_owned(), "whsec_!!!".to_owned()),
        ]));
        let clock = Arc::new(Lens::new(Timestamp::from_unix(NOW), 1));
        WebhookChannel::new(Arc::new(settings), reader, clock)
            .unwrap_or_else(|error| unreachable!("{error}"))
            .expect("there is a webhook")
    }

    fn bundle() -> Bundle {
        Bundle::new(receiver("default"), vec![notice("helpdesk-whatsapp", Reason::Expired)]).expect("a notice")
    }

    async fn deliver(channel: &WebhookChannel) -> Result<Delivery, DeliveryError> {
        let bundle = bundle();
        channel.deliver(&bundle, &channel.message_id(&bundle)).await
    }

    /// The example of the specification's libraries.
    #[test]
    fn the_signature_is_the_published_one() {
        let secret = Secret::new(Zeroizing::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned()));
        let at = Timestamp::from_unix(1_614_265_330);
        let headers = signed("msg_p5jXN8AQM9LWM0D4loKWxJek", at, b"{\"test\": 2432232314}", Some(&secret))
            .unwrap_or_else(|problem| unreachable!("{problem}"));
        assert_eq!(headers["webhook-signature"], "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[tokio::test]
    async fn a_message_arrives_signed_and_the_same_each_time() {
        for (secret, key) in [
            (r#", secret = { env = "HOOK_KEY" }"#, b"hunter2hunter2".to_vec()),
            (
                r#", secret = { env = "HOOK_WHSEC" }"#,
                STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("base64"),
            ),
        ] {
            let server = Server::start(&[Script::Say(204, "")]).await;
            let channel = channel(server.port, secret);
            for _ in 0..2 {
                assert_eq!(deliver(&channel).await, Ok(Delivery { addresses: 1, failures: vec![] }));
            }
            let seen = server.seen();
            assert_eq!((seen.len(), &seen[0].body), (2, &seen[1].body));
            let request = &seen[0];
            assert_eq!(request.target, "/hooks/very-secret-path?key=opensesame");
            let (id, at) = (request.header("webhook-id"), request.header("webhook-timestamp"));
            assert_eq!((id, request.json()["id"].as_str()), (&*channel.message_id(&bundle()), Some(id)));
            assert!((NOW..NOW + 60).contains(&at.parse().unwrap_or_default()), "{at}");
            let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key of any length");
            for part in [id.as_bytes(), b".", at.as_bytes(), b".", &request.body] {
                mac.update(part);
            }
            let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
            assert_eq!(request.header("webhook-signature"), expected);
        }
        let server = Server::start(&[Script::Say(200, "ok")]).await;
        assert!(deliver(&channel(server.port, "")).await.is_ok());
        assert_eq!(server.seen()[0].header("webhook-signature"), "");
    }

    #[tokio::test]
    async fn what_did_not_arrive_is_said_without_secrets() {
        const KEY: &str = r#", secret = { env = "HOOK_KEY" }"#;
        for (script, sent, words) in [
            (
                &[Script::Say(500, "hunter2hunter2 at /hooks/very-secret-path?key=opensesame")] as &[Script],
                false,
                "500",
            ),
            (&[Script::Say(302, "")], false, "redirects are not followed"),
            (&[Script::Say(410, "")], false, "410 Gone"),
            (&[Script::Hang], true, "no answer in time"),
            (&[Script::Drop], true, "may have arrived"),
        ] {
            let server = Server::start(script).await;
            let error = deliver(&channel(server.port, KEY)).await.expect_err("it was not taken");
            assert_eq!(matches!(error, DeliveryError::Unknown(_)), sent, "{error:?}");
            let text = error.to_string();
            assert!(text.starts_with(&format!("127.0.0.1:{}", server.port)) && text.contains(words), "{text}");
            assert!(!["hunter2", "very-secret", "opensesame"].iter().any(|secret| text.contains(secret)), "{text}");
            assert_eq!(server.seen().len(), 1);
        }
        let port = Server::nobody();
        for (secret, words) in [
            (KEY, "no connection"),
            (r#", secret = { env = "NOPE" }"#, "the environment has no variable NOPE"),
            (r#", secret = { env = "HOOK_BROKEN" }"#, "not base64"),
        ] {
            let error = deliver(&channel(port, secret)).await.expect_err("it was not sent");
            assert!(matches!(&error, DeliveryError::NotSent(text) if text.contains(words)), "{error:?}");
            assert!(!error.to_string().contains("!!!"), "{error}");
        }
    }

    #[tokio::test]
    async fn only_receivers_with_a_webhook_are_served() {
        let channel = channel(9, "");
        let lost = Bundle { receiver: receiver("other"), ..bundle() };
        let error = channel.deliver(&lost, "x").await.expect_err("nobody is there");
        assert_eq!(error, DeliveryError::NotSent("the receiver other has no webhook any more".to_owned()));
        let none = crate::settings::from_text("[receivers.default]", "test", &[]).expect("valid").settings;
        let none = WebhookChannel::new(Arc::new(none), Reader::new(Sources::default()), Arc::new(crate::clock::System));
        assert!(none.is_ok_and(|channel| channel.is_none()));
    }

    #[test]
    fn ids_of_other_channels_are_made_fit() {
        assert_eq!(webhook_id("0a1b_-"), "0a1b_-");
        for message in ["<0a1b@example.com>", "", "a\r\nX: y", &"a".repeat(200)] {
            let id = webhook_id(message);
            assert!(id.len() == 32 && id.chars().all(|c| c.is_ascii_hexdigit()), "{id}");
            assert_eq!(id, webhook_id(message));
        }
    }
}
