//! The walk: reads, asks, and looks, as much as possible at the same time, and hands what it saw to those who put it into words.
//!
//! Each question has a time limit of its own, and none waits for another's failure. No secret leaves this walk, and what costs money or reaches a
//! person is done only where it was asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt as _, future, stream};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::about_host::{self, Heard, Tried};
use super::about_token::{self, Asked, Held, Sight};
use super::guide::{About, Bad, Found, Line, Report, Step, Wrong};
use super::phone::{self, Phone};
use super::remedy::{self, Case, Commands};
use crate::advice::Links;
use crate::channel::mail::MailChannel;
use crate::daemon::wiring::Wiring;
use crate::domain::alert::{Notice, Subject};
use crate::domain::digest::Bundle;
use crate::domain::finding::{Detail, Reason, Severity};
use crate::domain::inspection::{AppFault, CheckError, Inspection, Validity};
use crate::domain::number::{Beside, NumberError};
use crate::domain::route::ChannelKind;
use crate::domain::status::AppStatus;
use crate::domain::step::{AppObservation, AppReport, WatcherObservation, WatcherSpec, saying, step_app, step_watcher};
use crate::domain::time::Timestamp;
use crate::domain::token::{AppName, AppSpec, TokenId};
use crate::domain::watcher::WatcherStatus;
use crate::hygiene::{self, Exposed, Privacy, Tracking};
use crate::ports::{Channel as _, Clock, Credentials, Message, Provider, Question, Telemetry};
use crate::redact::without_numbers;
use crate::renewal::confirm;
use crate::secret::Secret;
use crate::settings::delivery::{Confirm, Question as Asking};
use crate::settings::value::SecretRef;
use crate::settings::{App, Settings, Token};

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
    paused: Mutex<BTreeMap<AppName, Timestamp>>,
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
        Self { wiring, clock, commands, wishes, progress, paused: Mutex::default() }
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
        let mut lines = self.about_apps(&held, &asked);
        lines.extend(self.about_app_secrets(&held, &files, &exposed));
        for (index, ((held, asked), application)) in held.iter().zip(&asked).zip(applications).enumerate() {
            let sight = Sight {
                file: path_of(&held.token.secret).and_then(|path| files.get(path)),
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
        let secret = self.read(&token.secret).await;
        let app_secret = match app.and_then(|app| app.secret.as_ref()) {
            Some(place) => Some(self.read(place).await),
            None => None,
        };
        Held { token, app, secret, app_secret }
    }

    /// Everything that is asked of the provider about one token.
    async fn asked(&self, held: &Held<'_>) -> Option<Asked> {
        let Held { token, app, secret, app_secret } = held;
        let name = &token.spec.id;
        let Ok(secret) = secret else {
            self.did(format!("{name}: its secret cannot be read"));
            return None;
        };
        let provider = &*self.wiring.provider;
        let mut telemetry = Telemetry::default();
        let credentials = app.zip(app_secret.as_ref().and_then(|secret| secret.as_ref().ok()));
        let credentials =
            || credentials.map(|(app, secret): (&App, &Secret)| Credentials { id: &app.id, secret, proof: app.proof });
        let paused = token.spec.app.as_ref().and_then(|name| lock(&self.paused).get(name).copied());
        let answer = match app_secret {
            // Whoever asks on lengthens the pause (reference §7).
            _ if paused.is_some() => Err(CheckError::Throttled(paused.unwrap_or_else(|| self.clock.now()))),
            Some(Err(problem)) => Err(CheckError::App(AppFault::SecretUnreadable, problem.as_str().into())),
            Some(Ok(_)) | None => {
                inspect(provider, &Question { token: secret, app: credentials() }, &mut telemetry).await
            }
        };
        if let (Err(CheckError::Throttled(until)), Some(name)) = (&answer, &token.spec.app) {
            lock(&self.paused).insert(name.clone(), *until);
        }
        // An app that is at fault hides nothing: the token can be asked with itself.
        let own = match &answer {
            Err(CheckError::App(..)) => {
                Some(inspect(provider, &Question { token: secret, app: None }, &mut telemetry).await)
            }
            Ok(_) | Err(_) => None,
        };
        let question = Question { token: secret, app: credentials().filter(|_| own.is_none()) };
        let mut asked = Asked { answer, own, beside: Beside::default(), listed: None, message: None, telemetry };
        if asked.works() {
            self.ask_whatsapp(token, &question, &mut asked).await;
        }
        self.did(format!("{name}: asked"));
        Some(asked)
    }

    async fn ask_whatsapp(&self, token: &Token, question: &Question<'_>, asked: &mut Asked) {
        let Some(whatsapp) = &token.whatsapp else { return };
        let provider = &*self.wiring.provider;
        let ours = asked.facts().and_then(|facts| facts.app_id.clone());
        let ours = ours.as_deref().or(question.app.as_ref().map(|app| app.id));
        let number = async {
            match &whatsapp.phone_number_id {
                Some(id) => Some(provider.number(question, id).await),
                None => None,
            }
        };
        let subscription = async {
            match &whatsapp.business_account_id {
                Some(account) => Some(provider.subscription(question, account, ours).await),
                None => None,
            }
        };
        let (number, subscription) = future::join(number, subscription).await;
        let mut beside = Beside::default();
        if let Some(heard) = number {
            asked.telemetry.also(heard.telemetry);
            beside.number = Some(heard.said);
        }
        if let Some(heard) = subscription {
            asked.telemetry.also(heard.telemetry);
            beside.subscription = Some(heard.said);
        }
        if let (Some(Err(NumberError::Missing(_))), Some(account)) = (&beside.number, &whatsapp.business_account_id) {
            // Whoever typed a wrong id is helped most by the right ones.
            asked.listed = provider.numbers_of(question, account).await.said.ok();
        }
        asked.beside = beside;
        if let (Some(phone), Some(from)) = (&self.wishes.send_to, &whatsapp.phone_number_id) {
            let (template, language) = (self.wishes.template.as_str(), self.wishes.language.as_str());
            let message = Message { from, to: &phone.e164, template, language };
            asked.message = Some(provider.send(question, &message).await);
        }
    }

    /// Asks the application, where that reaches nobody or was asked for.
    async fn application(&self, held: &Held<'_>) -> Option<Result<Result<String, String>, String>> {
        let answer = match held.token.application_probe() {
            None => None,
            Some(Confirm::WhatsApp { .. }) => Some(Err(
                "its confirm asks WhatsApp, as was done above; [tokens.probe] says how to ask the application"
                    .to_owned(),
            )),
            Some(probe) if !self.wishes.try_application && !is_harmless(probe) => {
                Some(Err(format!("{probe} may reach a person; --try-application asks it")))
            }
            Some(probe) => Some(Ok(confirm::try_once(probe, None, &self.wiring.settings.meta).await)),
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
        let mail = MailChannel::new(Arc::clone(settings), self.wiring.reader().sources().clone());
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

    /// The apps of these tokens, each told of once.
    fn about_apps(&self, held: &[Held<'_>], asked: &[Option<Asked>]) -> Vec<Line> {
        let mut seen: BTreeMap<&AppName, (&App, Option<&CheckError>, Telemetry, bool)> = BTreeMap::new();
        for (held, asked) in held.iter().zip(asked) {
            let (Some(name), Some(app), Some(asked)) = (&held.token.spec.app, held.app, asked) else { continue };
            let entry = seen.entry(name).or_insert((app, None, Telemetry::default(), false));
            match &asked.answer {
                Err(error @ CheckError::App(..)) => entry.1 = Some(error),
                Ok(_) | Err(CheckError::ForeignToken(_)) => entry.3 = true,
                Err(_) => {}
            }
            entry.2.also(asked.telemetry.clone());
        }
        let mut lines = Vec::new();
        for (name, (app, fault, telemetry, answered)) in seen {
            let heard = match () {
                () if lock(&self.paused).contains_key(name) => Heard::Enough,
                () if answered || fault.is_some() => Heard::Something,
                () => Heard::Nothing,
            };
            let mut push = |step, found| lines.push(Line { about: About::App(name.clone()), step, found });
            push(Step::App, self.about_app(name, app, fault, answered));
            push(Step::Budget, about_host::budget(&telemetry.usage, heard, &self.commands));
        }
        lines
    }

    /// The app's secret, where it stands elsewhere than the tokens, or is shown to everybody.
    fn about_app_secrets(&self, held: &[Held<'_>], files: &Files, exposed: &[Exposed]) -> Vec<Line> {
        let again = self.commands.doctor_for_all();
        let of_tokens: BTreeSet<&Path> = held.iter().filter_map(|held| path_of(&held.token.secret)).collect();
        let mut lines: BTreeMap<(&AppName, Step), Found> = BTreeMap::new();
        let all = held.len();
        for (index, held) in held.iter().enumerate() {
            let (Some(name), Some(app)) = (&held.token.spec.app, held.app) else { continue };
            let path = app.secret.as_ref().and_then(path_of).filter(|path| !of_tokens.contains(path));
            if let Some((path, (privacy, tracking))) = path.and_then(|path| Some((path, files.get(path)?))) {
                lines.insert((name, Step::File), remedy::file(path, privacy, tracking, &again));
            }
            // Those of the apps come behind those of the tokens.
            let shown: Vec<&Exposed> = exposed.iter().filter(|it| it.secret == all + index).collect();
            if !shown.is_empty() {
                lines.insert((name, Step::Exposure), remedy::exposed(&shown, &again));
            }
        }
        lines.into_iter().map(|((name, step), found)| Line { about: About::App(name.clone()), step, found }).collect()
    }

    fn about_app(&self, name: &AppName, app: &App, fault: Option<&CheckError>, answered: bool) -> Found {
        let Some(CheckError::App(fault, text)) = fault else {
            return match (answered, &app.secret) {
                (true, Some(_)) => Found::Right(format!("the id {} and the secret match", app.id)),
                (_, None) => Found::NotTried(
                    "it has no secret in the configuration, so tokens are asked with themselves".to_owned(),
                ),
                (false, Some(_)) => Found::NotTried("no answer tells; see the tokens below".to_owned()),
            };
        };
        let spec = AppSpec { policy: Arc::new(app.spec.policy.at_once()), ..app.spec.clone() };
        let report = AppObservation::Reported(AppReport::Fault(*fault, text.clone()));
        let told = step_app(&spec, AppStatus::default(), report, self.clock.now());
        let links = Links::of(&self.wiring.settings, &Subject::App(name.clone()));
        let steps = told.notices.first().map(|notice| crate::advice::steps(notice, &links)).unwrap_or_default();
        let steps = steps.into_iter().filter(|step| !step.starts_with("Confirm with ")).collect();
        let saw = format!(
            "the app {}{}",
            fault.in_words(),
            if text.is_empty() { String::new() } else { format!(": {}", crate::advice::plain(text)) }
        );
        Found::Wrong(Wrong { bad: Bad::Unknown, saw, remedy: steps, next: self.commands.doctor_for_all() })
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
        let mut lines = vec![
            line(Step::Clock, about_host::clock(offset)),
            line(
                Step::Version,
                about_host::version(&settings.meta.version, served, zone, self.clock.now(), &self.commands),
            ),
        ];
        lines.extend(self.typed_numbers().into_iter().map(|found| line(Step::Phone, found)));
        // A token without an app has a budget of its own kind.
        if held.iter().any(|held| held.app.is_none()) {
            let mut all = Telemetry::default();
            for (_, asked) in held.iter().zip(asked).filter(|(held, _)| held.app.is_none()) {
                all.also(asked.as_ref().map(|asked| asked.telemetry.clone()).unwrap_or_default());
            }
            let heard = if asked.iter().flatten().any(|asked| asked.answer.is_ok()) {
                Heard::Something
            } else {
                Heard::Nothing
            };
            lines.push(line(Step::Budget, about_host::budget(&all.usage, heard, &self.commands)));
        }
        lines
    }

    /// The numbers that notices are sent to.
    fn typed_numbers(&self) -> Vec<Found> {
        let receivers = self.wiring.settings.receivers.iter();
        let typed = receivers.flat_map(|(name, receiver)| receiver.whatsapp.iter().map(move |target| (name, target)));
        let wrong = |name: &str, why: String| {
            Found::Wrong(Wrong {
                bad: Bad::Warning,
                saw: format!("receiver {name}: {why}"),
                remedy: vec![format!("Correct it in [receivers.{name}] whatsapp.to.")],
                next: self.commands.doctor_for_all(),
            })
        };
        let mut found = Vec::new();
        for (name, target) in typed {
            let faults: Vec<String> = target.to.iter().filter_map(|number| phone::parse(number).err()).collect();
            if faults.is_empty() {
                found.push(Found::Right(format!("receiver {name}: {} in E.164 form", target.to.len())));
            }
            // The numbers are those of people, so none is repeated.
            found.extend(faults.into_iter().map(|fault| wrong(name.as_str(), without_numbers(&fault))));
        }
        found
    }
}

async fn inspect(
    provider: &dyn Provider,
    question: &Question<'_>,
    telemetry: &mut Telemetry,
) -> Result<Inspection, CheckError> {
    let answer = provider.inspect(question).await;
    let Telemetry { clock_offset, other_version, .. } = &answer.telemetry;
    telemetry.clock_offset = telemetry.clock_offset.or(*clock_offset);
    telemetry.other_version = telemetry.other_version.take().or_else(|| other_version.clone());
    telemetry.also(answer.telemetry);
    answer.facts
}

/// What was seen of the files that secrets stand in.
type Files = BTreeMap<PathBuf, (Result<Privacy, String>, Tracking)>;

/// The files that secrets stand in, each looked at once, however many secrets it holds.
async fn files(held: &[Held<'_>]) -> Files {
    let of_app = |held: &Held<'_>| held.app.and_then(|app| app.secret.clone());
    let places = held.iter().map(|held| Some(held.token.secret.clone())).chain(held.iter().map(of_app));
    let paths: BTreeSet<PathBuf> = places.flatten().filter_map(|place| path_of(&place).map(Path::to_owned)).collect();
    let looks = paths.into_iter().map(|path| async move {
        let looked_at = path.clone();
        let privacy = match timeout(PATIENCE, spawn_blocking(move || hygiene::privacy(&looked_at))).await {
            Ok(Ok(privacy)) => privacy,
            Ok(Err(_)) => Err("an internal fault of tokenwatch; please report it".to_owned()),
            Err(_) => Err("the file system does not answer".to_owned()),
        };
        let tracking = if privacy.is_ok() { hygiene::tracking("git", &path).await } else { Tracking::NoRepository };
        (path, (privacy, tracking))
    });
    stream::iter(looks).buffer_unordered(FILES_AT_ONCE).collect().await
}

fn path_of(place: &SecretRef) -> Option<&Path> {
    match place {
        SecretRef::File(path) | SecretRef::EnvFile { path, .. } => Some(path),
        SecretRef::Env(_) | SecretRef::Credential(_) => None,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A command may do anything, and a POST may send something.
fn is_harmless(probe: &Confirm) -> bool {
    match probe {
        Confirm::Http { question, .. } => matches!(question, Asking::Get),
        Confirm::WhatsApp { .. } | Confirm::Run(_) => false,
    }
}

impl Asked {
    /// Whether the token works, as far as anybody could tell.
    fn works(&self) -> bool {
        self.facts().is_some_and(|facts| facts.validity == Validity::Valid)
    }
}

/// A file system that takes longer is hanging.
const PATIENCE: Duration = Duration::from_secs(5);
const FILES_AT_ONCE: usize = 8;
