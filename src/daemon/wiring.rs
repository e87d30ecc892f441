//! One configuration at work: its settings, and the adapters made for it. A reload makes another and swaps the two.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::channel::alertmanager::AlertmanagerChannel;
use crate::channel::mail::MailChannel;
use crate::channel::webhook::WebhookChannel;
use crate::channel::whatsapp::WhatsAppChannel;
use crate::domain::alert::Subject;
use crate::domain::inspection::{CheckError, CheckOutcome, Inspection, Validity};
use crate::domain::number::{Beside, NumberError};
use crate::domain::route::ChannelKind;
use crate::domain::token::{AppName, Fingerprint, ReceiverName, TokenId};
use crate::metrics::Counters;
use crate::outgoing::ClientError;
use crate::papers::Papers;
use crate::ports::{Answer, Channel, Clock, Lane, Provider, Providers, Question, Telemetry};
use crate::provider;
use crate::reader::{Reader, Reading};
use crate::renewal::run::Slot;
use crate::secret::FingerprintKey;
use crate::settings::{App, Settings, Token};

/// A configuration at work.
pub struct Wiring {
    /// What is wanted.
    pub settings: Arc<Settings>,
    /// Who is asked, by name: one for each provider that some token comes from.
    pub providers: Arc<Providers>,
    /// How people are reached.
    pub channels: Channels,
    reader: Reader,
    used_apps: BTreeSet<AppName>,
}

/// What one check brought, with what it showed on the way.
#[derive(Debug)]
pub struct Checked {
    /// For the core.
    pub outcome: CheckOutcome,
    /// For the counters.
    pub telemetry: Telemetry,
    /// The same of what was asked beside: other budgets than the app's.
    pub beside: Telemetry,
}

/// What a check asks beside the token's own facts. Both are asked with the token itself, so only of one that works.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// How the WhatsApp number is.
    pub number: bool,
    /// Who gets what arrives at it.
    pub subscription: bool,
}

impl Wanted {
    /// Nothing.
    pub const NOTHING: Self = Self { number: false, subscription: false };
    /// Both.
    pub const EVERYTHING: Self = Self { number: true, subscription: true };
}

impl Checked {
    /// The check broke off inside this program.
    pub fn internal_fault() -> Self {
        failed(None, CheckError::Garbled("an internal fault of tokenwatch; please report it".into()))
    }
}

impl Wiring {
    /// Makes the adapters for these settings.
    ///
    /// # Errors
    /// When an adapter cannot be made, such as a certificate authority that cannot be read.
    pub fn new(settings: Settings, reader: &Reader, clock: &Arc<dyn Clock>) -> Result<Self, WiringError> {
        let settings = Arc::new(settings);
        let providers = provider::all(&settings, clock).map_err(|error| WiringError(error.to_string()))?;
        let channels = channels(&settings, reader, clock)?;
        let used_apps = settings.tokens.iter().filter_map(|token| token.spec.app.clone()).collect();
        Ok(Self { settings, providers: Arc::new(providers), channels, reader: reader.clone(), used_apps })
    }

    /// Who is asked about that token.
    pub fn provider(&self, token: &Token) -> &dyn Provider {
        let known = self.providers.get(&token.spec.provider);
        known.map(|provider| &**provider).expect("there is one for each provider that a token names")
    }

    /// Tells the counters who will be asked.
    pub fn announce(&self, counters: &Counters) {
        for (name, provider) in &*self.providers {
            counters.expect(name, &provider.error_codes());
        }
    }

    /// The place of a token in the configuration.
    pub fn index(&self, id: &TokenId) -> Option<usize> {
        self.settings.index(id)
    }

    /// The token of that name.
    pub fn token(&self, id: &TokenId) -> Option<&Token> {
        self.settings.token(id)
    }

    /// The app of that name.
    pub fn app(&self, name: &AppName) -> Option<&App> {
        self.settings.apps.get(name)
    }

    /// Who is told of the subject now.
    pub fn told_of(&self, subject: &Subject) -> &[ReceiverName] {
        match subject {
            Subject::Token(id) => self.token(id).map_or(&[], |token| &token.spec.receivers),
            Subject::App(name) => self.app(name).map_or(&[], |app| &app.spec.receivers),
            Subject::Watcher => &self.settings.watcher_receivers,
        }
    }

    /// The kinds of channel of a lane, the one to try first in front; none when it is gone from the configuration.
    pub fn kinds_of(&self, lane: &Lane) -> Vec<ChannelKind> {
        let known = self.settings.receivers.get(&lane.receiver).zip(lane.route);
        known.map(|(receiver, route)| receiver.channels_of(route)).unwrap_or_default()
    }

    /// Whether the subject is still wanted. Of an app without tokens nobody would ever hear again.
    pub fn watches(&self, subject: &Subject) -> bool {
        match subject {
            Subject::Token(id) => self.index(id).is_some(),
            Subject::App(name) => self.used_apps.contains(name) && self.settings.apps.contains_key(name),
            Subject::Watcher => true,
        }
    }

    /// The fingerprints of what stands in the slots of these tokens now, each `None` where it cannot be read; and `None` for those that were
    /// not looked at, because one before them hangs.
    pub async fn fingerprints(&self, tokens: &[Token], key: &FingerprintKey) -> Vec<Option<Option<Fingerprint>>> {
        let seen = self.reader.glance(tokens.iter().map(|token| token.secret.clone()).collect()).await;
        let print = |reading: Reading| reading.ok().map(|secret| key.fingerprint(&secret));
        seen.into_iter().map(|reading| reading.map(print)).collect()
    }

    /// What reads secrets.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// What a run of that token works on.
    pub fn slot(&self, id: &TokenId) -> Option<Slot<'_>> {
        let token = self.token(id)?;
        let user_token = token.spec.renew.as_ref().and_then(|policy| policy.user_token.as_ref());
        Some(Slot {
            token,
            app: token.spec.app.as_ref().and_then(|name| self.app(name)),
            user_token: user_token.and_then(|id| self.token(id)).map(|token| &token.secret),
            provider: self.provider(token),
            meta: &self.settings.meta,
        })
    }

    /// One check: read the secrets, ask, and say what came of it. It never fails; what went wrong is the outcome.
    pub async fn check(&self, token: &Token, key: &FingerprintKey, wanted: Wanted) -> Checked {
        let app = token.spec.app.as_ref().and_then(|name| self.app(name));
        let papers = Papers::read(&self.reader, token, app).await;
        let secret = match &papers.secret {
            Ok(secret) => secret,
            Err(problem) => return failed(None, CheckError::Source(problem.as_str().into())),
        };
        let fingerprint = Some(key.fingerprint(secret));
        let question = match papers.question(secret) {
            Ok(question) => question,
            Err(error) => return failed(fingerprint, error),
        };
        let Answer { facts, number, telemetry } = self.provider(token).inspect(&question).await;
        let mut of_number = Telemetry::default();
        let beside = match &facts {
            Ok(facts) if facts.validity == Validity::Valid => {
                // What is known already is not asked for.
                let wanted = Wanted { number: wanted.number && number.is_none(), ..wanted };
                let mut beside = self.beside(token, &question, facts, wanted, &mut of_number).await;
                beside.number = number.map(Ok).or(beside.number);
                Some(beside)
            }
            Ok(_) | Err(_) => None,
        };
        let beside = beside.filter(|beside| *beside != Beside::default()).map(Box::new);
        let outcome = CheckOutcome { fingerprint, answer: facts, beside };
        Checked { outcome, telemetry, beside: of_number }
    }

    /// What is asked beside the facts of a token that works. Where WhatsApp gave no answer about the number, nothing more is asked.
    pub async fn beside(
        &self,
        token: &Token,
        question: &Question<'_>,
        facts: &Inspection,
        wanted: Wanted,
        telemetry: &mut Telemetry,
    ) -> Beside {
        let mut beside = Beside::default();
        let provider = self.provider(token);
        if let Some(id) = token.spec.required.number.as_deref().filter(|_| wanted.number) {
            let heard = provider.number(question, id).await;
            telemetry.also(heard.telemetry);
            beside.number = Some(heard.said);
        }
        let silent = matches!(beside.number, Some(Err(NumberError::Unanswered(_))));
        let account = token.whatsapp.as_ref().and_then(|whatsapp| whatsapp.business_account_id.as_deref());
        if let Some(account) = account.filter(|_| wanted.subscription && !silent) {
            let ours = facts.app_id.as_deref().or(question.app.as_ref().map(|app| app.id));
            let heard = provider.subscription(question, account, ours).await;
            telemetry.also(heard.telemetry);
            beside.subscription = Some(heard.said);
        }
        beside
    }
}

impl std::fmt::Debug for Wiring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wiring").field("tokens", &self.settings.tokens.len()).finish_non_exhaustive()
    }
}

/// Why a configuration cannot be put to work, though it is valid.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WiringError(String);

/// The channels that some receiver has, by kind.
pub type Channels = BTreeMap<ChannelKind, Arc<dyn Channel>>;

fn channels(settings: &Arc<Settings>, reader: &Reader, clock: &Arc<dyn Clock>) -> Result<Channels, WiringError> {
    let settings = || Arc::clone(settings);
    let fault = |error: ClientError| WiringError(error.to_string());
    let webhook = WebhookChannel::new(settings(), reader.clone(), Arc::clone(clock)).map_err(fault)?;
    let alertmanager = AlertmanagerChannel::new(settings(), reader.clone(), Arc::clone(clock)).map_err(fault)?;
    let whatsapp = WhatsAppChannel::new(settings(), reader.clone()).map_err(fault)?;
    let made = [
        MailChannel::new(settings(), reader.clone()).map(|channel| Arc::new(channel) as Arc<dyn Channel>),
        webhook.map(|channel| Arc::new(channel) as Arc<dyn Channel>),
        alertmanager.map(|channel| Arc::new(channel) as Arc<dyn Channel>),
        whatsapp.map(|channel| Arc::new(channel) as Arc<dyn Channel>),
    ];
    Ok(made.into_iter().flatten().map(|channel| (channel.kind(), channel)).collect())
}

fn failed(fingerprint: Option<Fingerprint>, error: CheckError) -> Checked {
    Checked {
        outcome: CheckOutcome { fingerprint, answer: Err(error), beside: None },
        telemetry: Telemetry::default(),
        beside: Telemetry::default(),
    }
}
