//! Providers that are described as data, each against its strict page: what an answer means, and which facts are read of it.

use std::sync::Arc;

use base64::Engine as _;
use futures_util::future::BoxFuture;
use tokenwatch::daemon::wiring::{Checked, Wanted, Wiring};
use tokenwatch::domain::inspection::{CheckError, Inspection};
use tokenwatch::domain::renewal::Method;
use tokenwatch::domain::time::{Span, Timestamp};
use tokenwatch::papers::Papers;
use tokenwatch::ports::{Answer, Clock, Exchange, ExchangeError, Exchanged, Farewell, Rehearsed};
use tokenwatch::reader::Reader;
use tokenwatch::secret::FingerprintKey;
use tokenwatch::settings;
use tokenwatch::settings::source::Sources;

use crate::pages::{Page, Site};

mod bird;
mod cloudflare;
mod dialog360;
mod docker_hub;
mod entra;
mod github;
mod gitlab;
mod google;
mod hubspot;
mod linkedin;
mod long_lived;
mod messagebird;
mod oauth2;
mod offline;
mod shopify;
mod slack;
mod told;
mod twilio;
mod twilio_api_key;
mod vault;

/// 2026-01-01T00:00:00Z.
pub const NOW: i64 = 1_767_225_600;

/// A page, and a configuration that asks it.
pub struct Bench<P> {
    /// The page.
    pub site: Site<P>,
    /// The time.
    pub clock: Arc<Still>,
    config: String,
    environment: Vec<(String, String)>,
    planted: Vec<String>,
}

/// A clock that stands still: a second more on a slow machine would be a second more in every moment that is reckoned from now.
pub struct Still(Timestamp);

impl Clock for Still {
    fn now(&self) -> Timestamp {
        self.0
    }

    fn sleep(&self, _: Span) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

impl<P: Page> Bench<P> {
    /// A page at [`NOW`]; `config` is a configuration in which `{url}` stands for the page's address.
    pub async fn new(page: P, config: &str) -> Self {
        let clock = Arc::new(Still(Timestamp::from_unix(NOW)));
        let seen = Arc::clone(&clock);
        let site = Site::serve(page, move || seen.now().unix()).await;
        let config = config.replace("{url}", &site.url());
        Self { site, clock, config, environment: Vec::new(), planted: Vec::new() }
    }

    /// Sets a variable of the environment that secrets are read from.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Something else that must never be seen: what a page puts into its answers beside what was asked for.
    pub fn plant(&mut self, secret: &str) {
        self.planted.push(secret.to_owned());
    }

    /// Searches what was told for every secret that was in play, in each of the forms that it travels in.
    fn keeps_quiet(&self, told: &str) {
        let values = self.environment.iter().map(|(_, value)| value);
        for secret in values.chain(&self.planted).filter(|secret| secret.len() >= 8) {
            let coded = base64::engine::general_purpose::STANDARD.encode(secret);
            let escaped: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
            for form in [secret, &coded, &escaped] {
                let half = &form[..form.len().min(16)];
                assert!(!told.contains(half), "a secret was told ({half}…): {told}");
            }
        }
    }

    /// The configuration at work.
    pub fn wiring(&self) -> Wiring {
        let loaded = settings::from_text(&self.config, "test.toml", &[]);
        let settings = loaded.unwrap_or_else(|faults| unreachable!("{faults}\n{}", self.config)).settings;
        let reader = Reader::new(Sources::new(self.environment.iter().cloned()));
        let clock: Arc<dyn Clock> = self.clock.clone();
        Wiring::new(settings, &reader, &clock).expect("the adapters are made")
    }

    /// One check of the first token.
    pub async fn checked(&self) -> Checked {
        let wiring = self.wiring();
        let key = FingerprintKey::new([7; 32]);
        let checked = wiring.check(&wiring.settings.tokens[0], &key, Wanted::EVERYTHING).await;
        let words = match &checked.outcome.answer {
            Ok(facts) => facts.message.as_deref().unwrap_or_default().to_owned(),
            Err(error) => error.to_string(),
        };
        self.keeps_quiet(&format!("{checked:?} {words} {wiring:?}"));
        checked
    }

    /// The facts of the first token.
    pub async fn facts(&self) -> Inspection {
        self.checked().await.outcome.answer.expect("facts")
    }

    /// Why nothing could be told of the first token.
    pub async fn error(&self) -> CheckError {
        self.checked().await.outcome.answer.expect_err("no facts")
    }

    /// What was sent, came back and was read, as `check --provider-debug` prints it.
    pub async fn rehearsed(&self) -> (Answer, Vec<Rehearsed>) {
        let wiring = self.wiring();
        let token = &wiring.settings.tokens[0];
        let app = token.spec.app.as_ref().and_then(|name| wiring.app(name));
        let papers = Papers::read(wiring.reader(), token, app).await;
        let secret = papers.secret.as_ref().expect("a secret");
        let question = papers.question(secret).expect("a question");
        let (answer, told) = wiring.provider(token).rehearse(&question).await;
        self.keeps_quiet(&format!("{answer:?} {told:?}"));
        (answer, told)
    }

    /// Asks for another secret in the place of the first token's.
    pub async fn exchanged(&self) -> Exchanged {
        let wiring = self.wiring();
        let token = &wiring.settings.tokens[0];
        let app = token.spec.app.as_ref().and_then(|name| wiring.app(name));
        let papers = Papers::read(wiring.reader(), token, app).await;
        let secret = papers.secret.as_ref().expect("a secret");
        let (app, parameters) = (papers.credentials().expect("an app"), papers.parameters().expect("parameters"));
        let request = Exchange { method: Method::Rotate, token: secret, app, page: None, parameters };
        let exchanged = wiring.provider(token).exchange(request).await;
        let words = exchanged.given.as_ref().err().map(ToString::to_string).unwrap_or_default();
        self.keeps_quiet(&format!("{exchanged:?} {words}"));
        exchanged
    }

    /// Why no other secret came, and whether one may have been given all the same.
    pub async fn unanswered(&self) -> (&'static str, bool) {
        match self.exchanged().await.given.expect_err("no token") {
            ExchangeError::Unanswered { error, may_be_done } => (error.reason(), may_be_done),
            dead @ ExchangeError::Dead(..) => unreachable!("{dead}"),
        }
    }

    /// Takes leave of the first token; `stays` is read from the environment.
    pub async fn leave(&self, stays: &str) -> Result<(), CheckError> {
        let wiring = self.wiring();
        let token = &wiring.settings.tokens[0];
        let app = token.spec.app.as_ref().and_then(|name| wiring.app(name));
        let papers = Papers::read(wiring.reader(), token, app).await;
        let secret = papers.secret.as_ref().expect("a secret");
        let stays = tokenwatch::secret::Secret::new(zeroize::Zeroizing::new(stays.to_owned()));
        let (app, parameters) = (papers.credentials().expect("an app"), papers.parameters().expect("parameters"));
        let left =
            wiring.provider(token).revoke(&Farewell { token: secret, stays: Some(&stays), app, parameters }).await;
        let words = left.as_ref().err().map(ToString::to_string).unwrap_or_default();
        self.keeps_quiet(&format!("{left:?} {words}"));
        left
    }
}
