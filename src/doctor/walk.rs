//! The walk: reads, asks, and looks, as much as possible at the same time, and hands what it saw to those who put it into words.
//!
//! Each question has a time limit of its own, and none waits for another's failure. No secret leaves this walk, and what costs money or reaches a
//! person is done only where it was asked for.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, future, stream};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::about_app;
use super::about_host::{self, Heard, Tried};
use super::about_token::{self, Application, Asked, Held, Sight};
use super::guide::{About, Bad, Found, Line, Report, Step, Wrong};
use super::phone::Phone;
use super::remedy::{Case, Commands, Look};
use crate::advice::Links;
use crate::channel::mail::MailChannel;
use crate::daemon::wiring::{Wanted, Wiring};
use crate::domain::alert::{Notice, Subject};
use crate::domain::digest::Bundle;
use crate::domain::finding::{Detail, Reason, Severity};
use crate::domain::inspection::{AppFault, CheckError};
use crate::domain::number::{Beside, NumberError};
use crate::domain::route::ChannelKind;
use crate::domain::step::{WatcherObservation, WatcherSpec, saying, step_watcher};
use crate::domain::time::Timestamp;
use crate::domain::token::{AppName, TokenId};
use crate::domain::watcher::WatcherStatus;
use crate::hygiene::{self, Exposed, Tracking};
use crate::papers::Papers;
use crate::ports::{Channel as _, Clock, Credentials, Message, Parameters, Question, Telemetry};
use crate::renewal::confirm;
use crate::secret::Secret;
use crate::settings::delivery::{Confirm, Question as Asking};
use crate::settings::value::SecretRef;
use crate::settings::{Settings, Token};

/// What is to be done beyond looking.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wishes {
    /// Whom a test message is sent to; it costs money and reaches a person.
    pub send_to: Option<Phone>,
    /// The template of that message.
    pub template: String,
    /// Its language.
    pub language: String,
    /// Whether a test mail really leaves.
    pub send_mail: bool,
    /// Whether the application is asked in a way that may reach a person.
    pub try_application: bool,
}

/// How far the walk has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Progress {
    /// There is so much to do.
    Begins(usize),
    /// Something was done.
    Did(String),
}

/// Walks the guide.
pub struct Doctor<'a> {
    wiring: &'a Wiring,
    clock: &'a dyn Clock,
    commands: Commands,
    wishes: Wishes,
    progress: &'a dyn Fn(Progress),
    /// The apps that Meta asked to be left alone, and until when.
    paused: RefCell<BTreeMap<AppName, Timestamp>>,
}

impl<'a> Doctor<'a> {
    /// One that works with this configuration.
    pub fn new(
        wiring: &'a Wiring,
        clock: &'a dyn Clock,
        commands: Commands,
        wishes: Wishes,
        progress: &'a dyn Fn(Progress),
    ) -> Self {
        Self { wiring, clock, commands, wishes, progress, paused: RefCell::default() }
    }
}

impl Doctor<'_> {
    /// Walks the guide for these tokens, by their places in the configuration.
    pub async fn walk(&self, places: &[usize]) -> Report {
        let settings = &self.wiring.settings;
        let tokens: Vec<&Token> = places.iter().filter_map(|place| settings.tokens.get(*place)).collect();
        let relays = settings.smtp.as_ref().map_or(0, |smtp| smtp.relays.len());
        (self.progress)(Progress::Begins(2 * tokens.len() + relays + 1));
        let held: Vec<Held<'_>> = self.at_once(tokens.iter().map(|token| self.held(token))).await;
        let (asked, applications, files, (exposed, unseen), relays) = future::join5(
            self.at_once(held.iter().map(|held| self.asked(held))),
            self.at_once(held.iter().map(|held| self.application(held))),
            files(&held),
            self.exposed(&held),
            self.relays(),
        )
        .await;
        let mut lines = about_app::lines(settings, &self.commands, &held, &asked, self.clock.now());
        lines.extend(about_app::secrets(&self.commands, &held, &files, &exposed));
        for (index, ((held, asked), application)) in held.iter().zip(&asked).zip(applications).enumerate() {
            let sight = Sight {
                file: held.token.secret.path().and_then(|path| Some((path, files.get(path)?))),
                exposed: exposed.iter().filter(|it| it.secret == index).collect(),
                unseen: &unseen,
                application,
            };
            lines.extend(self.about_token(held, asked.as_ref(), sight));
        }
        lines.extend(relays);
        lines.extend(self.about_host(&held, &asked));
        let order: Vec<TokenId> = tokens.iter().map(|token| token.spec.id.clone()).collect();
        Report::new(lines, &order)
    }

    /// As many at once as the configuration allows, in their order.
    async fn at_once<T>(&self, work: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
        stream::iter(work).buffered(self.wiring.settings.daemon.concurrency.max(1)).collect().await
    }

    fn did(&self, what: impl Into<String>) {
        (self.progress)(Progress::Did(what.into()));
    }

    /// One secret. A path that hangs keeps nobody else waiting.
    async fn read(&self, place: &SecretRef) -> Result<Secret, String> {
        let read = self.wiring.reader().read(vec![place.clone()]).await.pop();
        read.unwrap_or_else(|| Err("it was not read".to_owned()))
    }

    /// The secret of a token and that of its app.
    async fn held<'a>(&'a self, token: &'a Token) -> Held<'a> {
        let app = token.spec.app.as_ref().and_then(|name| self.wiring.app(name));
        let Papers { secret, app_secret, parameters, .. } = Papers::read(self.wiring.reader(), token, app).await;
        // Without one of them nothing can be asked, just as without the token itself.
        let (secret, parameters) = match parameters {
            Ok(parameters) => (secret, parameters),
            Err(problem) => (secret.and(Err(problem)), Parameters::default()),
        };
        Held { token, app, secret, app_secret, parameters }
    }

    /// Everything that is asked of the provider about one token.
    async fn asked(&self, held: &Held<'_>) -> Option<Asked> {
        let Held { token, app, secret, app_secret, parameters } = held;
        let name = &token.spec.id;
        let Ok(secret) = secret else {
            self.did(format!("{name}: its secret cannot be read"));
            return None;
        };
        let provider = self.wiring.provider(token);
        let credentials = || {
            let secret = app_secret.as_ref()?.as_ref().ok()?;
            app.map(|app| Credentials { id: &app.id, secret, proof: app.proof })
        };
        let mut telemetry = Telemetry::default();
        let mut ask = async |app: Option<Credentials<'_>>| {
            let answer = provider.inspect(&Question { token: secret, app, parameters }).await;
            telemetry.also(answer.telemetry);
            answer.facts
        };
        let paused = token.spec.app.as_ref().and_then(|name| self.paused.borrow().get(name).copied());
        let answer = match (paused, app_secret) {
            // Whoever asks on lengthens the pause (reference §7).
            (Some(until), _) => Err(CheckError::Throttled(until)),
            (None, Some(Err(problem))) => Err(CheckError::App(AppFault::SecretUnreadable, problem.as_str().into())),
            (None, Some(Ok(_)) | None) => ask(credentials()).await,
        };
        if let (Err(CheckError::Throttled(until)), Some(name)) = (&answer, &token.spec.app) {
            self.paused.borrow_mut().insert(name.clone(), *until);
        }
        // An app that is at fault hides nothing: the token can be asked with itself.
        let own = match &answer {
            Err(CheckError::App(..)) => Some(ask(None).await),
            Ok(_) | Err(_) => None,
        };
        let question = Question { token: secret, app: credentials().filter(|_| own.is_none()), parameters };
        let mut asked = Asked { answer, own, beside: Beside::default(), listed: None, message: None, telemetry };
        if asked.works() {
            self.ask_whatsapp(token, &question, &mut asked).await;
        }
        self.did(format!("{name}: asked"));
        Some(asked)
    }

    async fn ask_whatsapp(&self, token: &Token, question: &Question<'_>, asked: &mut Asked) {
        let (Some(whatsapp), Ok(facts)) = (&token.whatsapp, asked.own.as_ref().unwrap_or(&asked.answer)) else {
            return;
        };
        asked.beside = self.wiring.beside(token, question, facts, Wanted::EVERYTHING, &mut asked.telemetry).await;
        let provider = self.wiring.provider(token);
        if let (Some(Err(NumberError::Missing(_))), Some(account)) =
            (&asked.beside.number, &whatsapp.business_account_id)
        {
            // Whoever typed a wrong id is helped most by the right ones.
            asked.listed = provider.numbers_of(question, account).await.said.ok();
        }
        if let (Some(phone), Some(from)) = (&self.wishes.send_to, &whatsapp.phone_number_id) {
            let (template, language) = (self.wishes.template.as_str(), self.wishes.language.as_str());
            let message = Message { from, to: &phone.e164, template, language };
            asked.message = Some(provider.send(question, &message).await);
        }
    }

    /// Asks the application, where that reaches nobody or was asked for.
    async fn application(&self, held: &Held<'_>) -> Application {
        let answer = match held.token.application_probe() {
            None => Application::NotConfigured,
            Some(Confirm::WhatsApp { .. }) => Application::NotAsked(
                "its confirm asks WhatsApp, as was done above; [tokens.probe] says how to ask the application"
                    .to_owned(),
            ),
            Some(probe) if !self.wishes.try_application && !is_harmless(probe) => {
                Application::NotAsked(format!("{probe} may reach a person; --try-application asks it"))
            }
            Some(probe) => Application::Asked(confirm::try_once(probe, None, &self.wiring.settings.meta).await),
        };
        self.did(format!("{}: its application", held.token.spec.id));
        answer
    }

    /// Who shows one of the secrets to everybody: those of the tokens, by their places in `held`, and behind them those of their apps.
    async fn exposed(&self, held: &[Held<'_>]) -> (Vec<Exposed>, Vec<String>) {
        let of_tokens = held.iter().map(|held| Some(&held.secret));
        let of_apps = held.iter().map(|held| held.app_secret.as_ref());
        let (places, secrets): (Vec<usize>, Vec<&Secret>) = of_tokens
            .chain(of_apps)
            .enumerate()
            .filter_map(|(place, secret)| Some((place, secret?.as_ref().ok()?)))
            .unzip();
        let (units, processes) = future::join(
            hygiene::exposed_units("systemctl", &secrets),
            hygiene::exposed_processes(Path::new("/proc"), &secrets),
        )
        .await;
        self.did("looked at units and processes");
        let mut all = Vec::new();
        let mut problems = Vec::new();
        for seen in [units, processes] {
            match seen {
                Ok(seen) => all.extend(seen),
                Err(problem) => problems.push(problem),
            }
        }
        for exposed in &mut all {
            exposed.secret = places.get(exposed.secret).copied().unwrap_or(usize::MAX);
        }
        (all, problems)
    }

    async fn relays(&self) -> Vec<Line> {
        let settings = &self.wiring.settings;
        let line = |found| Line { about: About::Host, step: Step::Relay, found };
        let mail = MailChannel::new(Arc::clone(settings), self.wiring.reader().clone());
        let (Some(smtp), Some(mail)) = (&settings.smtp, mail) else {
            let sent = if self.wishes.send_mail { ", and no test mail was sent" } else { "" };
            return vec![line(Found::NotTried(format!("no [smtp] is configured: nobody is told by mail{sent}")))];
        };
        let said = future::join_all(smtp.relays.iter().map(|relay| async {
            let password = match &relay.password {
                Some(place) => self.read(place).await.map(Some),
                None => Ok(None),
            };
            let said = match password {
                Ok(password) => Tried::Asked(mail.rehearse(relay, password.as_ref()).await),
                Err(problem) => Tried::NoPassword(problem),
            };
            self.did(format!("relay {}:{}", relay.url.host, relay.url.port));
            said
        }))
        .await;
        let working = said.iter().filter(|said| matches!(said, Tried::Asked(Ok(_)))).count();
        let mut lines: Vec<Line> = smtp
            .relays
            .iter()
            .zip(&said)
            .map(|(relay, said)| line(about_host::relay(relay, said, working > 0, &self.commands)))
            .collect();
        if self.wishes.send_mail {
            lines.extend(self.test_mails(&mail).await.into_iter().map(line));
        }
        lines
    }

    /// A real test mail to each receiver that has an address.
    async fn test_mails(&self, mail: &MailChannel) -> Vec<Found> {
        let settings = &self.wiring.settings;
        let mut found = Vec::new();
        for (name, receiver) in settings.receivers.iter().filter(|(_, receiver)| receiver.has(ChannelKind::Mail)) {
            let Some(bundle) = Bundle::new(name.clone(), self.test_notice(settings)) else { continue };
            let message = mail.message_id(&bundle);
            found.push(match mail.deliver(&bundle, &message).await {
                Ok(delivery) if delivery.addresses == 0 => {
                    Found::NotTried(format!("{name} is told of worse things only"))
                }
                Ok(delivery) if delivery.failures.is_empty() => Found::Right(format!(
                    "a test mail to {name} was taken for {} of {} addresses",
                    delivery.addresses,
                    receiver.email.len()
                )),
                Ok(delivery) => Found::Wrong(Wrong {
                    bad: Bad::Warning,
                    saw: format!("a test mail to {name} was taken on the second try: {}", delivery.failures.join("; ")),
                    remedy: vec!["Read what the first relay said, above.".to_owned()],
                    next: self.commands.doctor_for_all(),
                }),
                Err(error) => Found::Wrong(Wrong {
                    bad: Bad::Critical,
                    saw: format!("no test mail reached {name}: {error}"),
                    remedy: vec!["Read what the relays said, above.".to_owned()],
                    next: self.commands.doctor_for_all(),
                }),
            });
        }
        found
    }

    fn test_notice(&self, settings: &Settings) -> Vec<Notice> {
        let spec =
            WatcherSpec { receivers: Arc::clone(&settings.watcher_receivers), policy: Arc::clone(&settings.policy) };
        let said = saying(Reason::Test, Severity::Info, Detail::None);
        let saying = WatcherObservation::Saying(said, Arc::clone(&settings.watcher_receivers));
        step_watcher(&spec, WatcherStatus::default(), saying, self.clock.now()).notices
    }

    fn about_token(&self, held: &Held<'_>, asked: Option<&Asked>, sight: Sight<'_>) -> Vec<Line> {
        let settings = &self.wiring.settings;
        let name = &held.token.spec.id;
        let mut links = Links::of(settings, &Subject::Token(name.clone()));
        let facts = asked.and_then(Asked::facts);
        // The token's own ids lead to the right pages, also where nobody configured them.
        links.app_id = links.app_id.or(facts.and_then(|facts| facts.app_id.as_deref()));
        links.business = asked.and_then(Asked::number).and_then(|number| number.business.as_deref());
        let case = Case { name, token: held.token, commands: &self.commands, links };
        let about = about_token::Scene {
            case: &case,
            held,
            asked,
            sight,
            wishes: &self.wishes,
            settings,
            now: self.clock.now(),
        };
        about.lines().into_iter().map(|(step, found)| Line { about: About::Token(name.clone()), step, found }).collect()
    }

    fn about_host(&self, held: &[Held<'_>], asked: &[Option<Asked>]) -> Vec<Line> {
        let settings = &self.wiring.settings;
        let line = |step, found| Line { about: About::Host, step, found };
        let answers: Vec<&Telemetry> = asked.iter().flatten().map(|asked| &asked.telemetry).collect();
        // A clock that is sped up says nothing about the machine's.
        let offsets = answers.iter().filter(|_| self.clock.keeps_pace()).filter_map(|telemetry| telemetry.clock_offset);
        let offset = offsets.last();
        let served = answers.iter().find_map(|telemetry| telemetry.other_version.as_deref());
        let zone = &settings.daemon.zone;
        let mut lines = vec![line(Step::Clock, about_host::clock(offset))];
        if held.is_empty() || held.iter().any(|held| held.token.spec.provider.is_meta()) {
            let version = about_host::version(&settings.meta.version, served, zone, self.clock.now(), &self.commands);
            lines.push(line(Step::Version, version));
        }
        lines.extend(
            about_host::typed_numbers(settings, &self.commands).into_iter().map(|found| line(Step::Phone, found)),
        );
        // A token without an app has a budget of its own kind.
        let alone: Vec<Option<&Asked>> =
            held.iter().zip(asked).filter(|(held, _)| held.app.is_none()).map(|(_, asked)| asked.as_ref()).collect();
        if !alone.is_empty() {
            let mut all = Telemetry::default();
            alone.iter().flatten().for_each(|asked| all.also(asked.telemetry.clone()));
            let answered = alone.iter().flatten().any(|asked| asked.answer.is_ok());
            let heard = if answered { Heard::Something } else { Heard::Nothing };
            lines.push(line(Step::Budget, about_host::budget(&all.usage, heard, &self.commands)));
        }
        lines
    }
}

/// What was seen of the files that secrets stand in.
pub(super) type Files = BTreeMap<PathBuf, Look>;

/// The files that secrets stand in, each looked at once, however many secrets it holds.
async fn files(held: &[Held<'_>]) -> Files {
    let of_app = |held: &Held<'_>| held.app.and_then(|app| app.secret.clone());
    let places = held.iter().map(|held| Some(held.token.secret.clone())).chain(held.iter().map(of_app));
    let paths: BTreeSet<PathBuf> = places.flatten().filter_map(|place| place.path().map(Path::to_owned)).collect();
    let looks = paths.into_iter().map(|path| async move {
        let looked_at = path.clone();
        let privacy = match timeout(PATIENCE, spawn_blocking(move || hygiene::privacy(&looked_at))).await {
            Ok(Ok(privacy)) => privacy,
            Ok(Err(_)) => Err("an internal fault of tokenwatch; please report it".to_owned()),
            Err(_) => Err("the file system does not answer".to_owned()),
        };
        let tracking = if privacy.is_ok() { hygiene::tracking("git", &path).await } else { Tracking::NoRepository };
        (path, Look { privacy, tracking })
    });
    stream::iter(looks).buffer_unordered(FILES_AT_ONCE).collect().await
}

/// A command may do anything, and a POST may send something.
fn is_harmless(probe: &Confirm) -> bool {
    match probe {
        Confirm::Http { question, .. } => matches!(question, Asking::Get),
        Confirm::WhatsApp { .. } | Confirm::Run(_) => false,
    }
}

/// A file system that takes longer is hanging.
const PATIENCE: Duration = Duration::from_secs(5);
const FILES_AT_ONCE: usize = 8;
