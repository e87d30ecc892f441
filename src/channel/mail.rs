//! Mail over SMTP: the relays in their order, each reply taken for what it says.
//!
//! It never reports as sent what no relay has accepted, never lets one bad address silence the others, and puts neither a password nor
//! a mail address into an error. The conversation is held step by step rather than by lettre's one-call transport, because only then
//! it is known whether a broken connection lost the message or only the answer.
//!
//! A relay that fails after the message was handed over may have taken it. The next relay is tried all the same: at least once is
//! promised, and a second copy carries the same Message-ID.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use lettre::Address;
use lettre::message::Mailbox;
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};

use super::compose::{self, Context};
use super::mime;
use crate::domain::digest::Bundle;
use crate::domain::route::ChannelKind;
use crate::domain::token::ReceiverName;
use crate::ports::{Channel, Delivery, DeliveryError};
use crate::reader::Reader;
use crate::redact::redact;
use crate::secret::Secret;
use crate::settings::value::{RelayTls, SecretRef, is_loopback};
use crate::settings::{Relay, Settings, Smtp};
use crate::tls;

/// Reaches people by mail.
pub struct MailChannel {
    settings: Arc<Settings>,
    smtp: Smtp,
    reader: Reader,
    from: Mailbox,
    domain: String,
    hello: ClientId,
    /// Failures that nobody was told of yet.
    unreported: Mutex<Vec<String>>,
    /// Messages that some addresses have and others not yet. Two receivers may be told the same under one message id.
    partial: Mutex<BTreeMap<(ReceiverName, String), Partial>>,
}

/// A message on its way to the last of its addresses.
#[derive(Clone, Default)]
struct Partial {
    delivered: BTreeSet<String>,
    tries: u32,
}

/// What became of the message at one address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// No relay has said anything about this address.
    Open,
    /// A relay refused it for good.
    Refused,
    /// A relay asked to try again later.
    Deferred,
    /// A relay was given the message and did not answer.
    Unclear,
    /// A relay took it.
    Delivered,
}

struct Addressee {
    address: Address,
    fate: Fate,
}

impl MailChannel {
    /// The channel of these settings; `None` when they have no `[smtp]`. After a reload it is made anew.
    pub fn new(settings: Arc<Settings>, reader: Reader) -> Option<Self> {
        let smtp = settings.smtp.clone()?;
        let from: Mailbox = smtp.from.parse().expect("a validated configuration has a mail address in smtp.from");
        Some(Self {
            domain: crate::ids::id_domain(&smtp.from),
            hello: greeting(),
            settings,
            smtp,
            reader,
            from,
            unreported: Mutex::default(),
            partial: Mutex::default(),
        })
    }

    /// Holds a conversation with one relay up to where a message would begin, with every address of every receiver, and takes leave: nothing is
    /// sent. Returns for how many addresses it would take one.
    ///
    /// # Errors
    /// What the relay said, or that it said nothing, without secrets and addresses.
    pub async fn rehearse(&self, relay: &Relay, password: Option<&Secret>) -> Result<usize, NotTaken> {
        let receivers = self.settings.receivers.values();
        let everybody = receivers.flat_map(|receiver| {
            let added = receiver.escalate.iter().flat_map(|escalate| &escalate.email);
            receiver.email.iter().chain(added)
        });
        let addresses: BTreeMap<String, Address> = everybody
            .filter_map(|text| text.parse::<Mailbox>().ok())
            .map(|mailbox| (key(&mailbox.email), mailbox.email))
            .collect();
        let addresses: Vec<Address> = addresses.into_values().collect();
        let mut talk = self.talk(relay, password, addresses.len());
        let bound = talk.step * STEPS_IN_BOUND;
        let outcome = match tokio::time::timeout(bound, talk.rehearse(&addresses)).await {
            Ok((connection, outcome)) => {
                part(connection, false, PARTING.min(talk.step)).await;
                outcome
            }
            Err(_) => Err(format!("took longer than {} s, at last {}", bound.as_secs(), talk.now)),
        };
        let clean = |text: &str| without_secrets(text, password);
        let at = talk.now;
        outcome.map_err(|text| NotTaken { at, later: false, words: clean(&text) })?;
        let refusals: Vec<String> = talk.refusals().collect();
        if refusals.is_empty() {
            return Ok(addresses.len());
        }
        let later = !talk.replies.iter().any(|reply| matches!(reply, Reply::Never(_)));
        Err(NotTaken { at, later, words: clean(&refusals.join("; ")) })
    }

    fn talk<'a>(&'a self, relay: &'a Relay, password: Option<&'a Secret>, addresses: usize) -> Talk<'a> {
        Talk {
            relay,
            password,
            from: &self.from.email,
            hello: &self.hello,
            reader: &self.reader,
            step: self.smtp.timeout.as_limit(),
            now: "connecting",
            replies: vec![Reply::None; addresses],
            handed_over: false,
            accepted: false,
        }
    }

    /// Remembers a failure until a message has told it.
    fn report(&self, failure: String) {
        let mut unreported = locked(&self.unreported);
        if !unreported.contains(&failure) && unreported.len() < MOST_FAILURES {
            unreported.push(failure);
        }
    }

    async fn send(&self, bundle: &Bundle, message: &str) -> Result<Delivery, DeliveryError> {
        let Some(mailboxes) = self.recipients(bundle) else {
            let failure = format!(
                "the receiver {} is no longer configured, so {} notices for it reached nobody",
                bundle.receiver,
                bundle.notices.len()
            );
            self.report(failure.clone());
            return Err(DeliveryError::NotSent(failure));
        };
        if mailboxes.is_empty() {
            // Somebody is told from a higher severity on only, and this is not it.
            return Ok(Delivery::default());
        }
        let told = locked(&self.unreported).clone();
        let context = Context { settings: &self.settings, domain: &self.domain, failures: &told };
        let bytes = mime::encode(&compose::compose(bundle, message, &context), &self.from, &mailboxes);
        let letter = (bundle.receiver.clone(), message.to_owned());
        let mut addressees = self.addressees(&letter, mailboxes);
        let mut failures = Vec::new();
        for relay in &self.smtp.relays {
            if addressees.iter().all(|addressee| addressee.fate == Fate::Delivered) {
                break;
            }
            failures.extend(self.attempt(relay, &bytes, &mut addressees).await);
        }
        self.conclude(letter, &addressees, &told, failures)
    }

    /// Who is told of this bundle; `None` when its receiver is gone from the configuration.
    fn recipients(&self, bundle: &Bundle) -> Option<Vec<Mailbox>> {
        let receiver = self.settings.receivers.get(&bundle.receiver)?;
        let worst = bundle.notices.iter().map(|notice| notice.severity).max();
        let escalated = receiver.escalate.as_ref().filter(|escalate| worst >= Some(escalate.from));
        let mut known = BTreeSet::new();
        let mut mailboxes = Vec::new();
        for text in receiver.email.iter().chain(escalated.iter().flat_map(|escalate| &escalate.email)) {
            let mailbox: Mailbox = text.parse().expect("a validated configuration has mail addresses in receivers");
            if known.insert(key(&mailbox.email)) {
                mailboxes.push(mailbox);
            }
        }
        Some(mailboxes)
    }

    fn addressees(&self, letter: &(ReceiverName, String), mailboxes: Vec<Mailbox>) -> Vec<Addressee> {
        let partial = locked(&self.partial);
        let has_it =
            |address: &Address| partial.get(letter).is_some_and(|known| known.delivered.contains(&key(address)));
        let fate = |address: &Address| if has_it(address) { Fate::Delivered } else { Fate::Open };
        mailboxes.into_iter().map(|Mailbox { email, .. }| Addressee { fate: fate(&email), address: email }).collect()
    }

    /// Offers the message to one relay, for everyone who does not have it yet. Returns what went wrong.
    async fn attempt(&self, relay: &Relay, bytes: &[u8], addressees: &mut [Addressee]) -> Vec<String> {
        let name = format!("relay {}:{}", relay.url.host, relay.url.port);
        let password = match self.reader.read_where(relay.password.as_ref()).await {
            Ok(password) => password,
            Err(error) => return vec![format!("{name}: its password cannot be read: {error}")],
        };
        let mut open: Vec<&mut Addressee> =
            addressees.iter_mut().filter(|addressee| addressee.fate != Fate::Delivered).collect();
        let addresses: Vec<Address> = open.iter().map(|addressee| addressee.address.clone()).collect();
        let mut talk = self.talk(relay, password.as_ref(), addresses.len());
        // A relay that answers each step in time can still take for ever over all of them.
        let bound = talk.step * STEPS_IN_BOUND;
        let held = tokio::time::timeout(bound, talk.hold(&addresses, bytes)).await;
        let problem = if let Ok((connection, outcome)) = held {
            part(connection, outcome.is_ok(), PARTING.min(talk.step)).await;
            outcome.err()
        } else {
            let doubt = if talk.handed_over { MAY_HAVE } else { "" };
            Some(format!("took longer than {} s, at last {}{doubt}", bound.as_secs(), talk.now))
        };
        for (addressee, reply) in open.iter_mut().zip(&talk.replies) {
            addressee.fate = addressee.fate.after(reply, talk.accepted, talk.handed_over);
        }
        let mut failures: Vec<String> = problem.map(|problem| format!("{name}: {problem}")).into_iter().collect();
        failures.extend(talk.refusals().map(|refusal| format!("{name}: {refusal}")));
        let password = password.as_ref();
        failures.iter().map(|failure| without_secrets(failure, password)).collect()
    }

    fn conclude(
        &self,
        letter: (ReceiverName, String),
        addressees: &[Addressee],
        told: &[String],
        failures: Vec<String>,
    ) -> Result<Delivery, DeliveryError> {
        let count = |fate: Fate| addressees.iter().filter(|addressee| addressee.fate == fate).count();
        let delivered = count(Fate::Delivered);
        let undecided = count(Fate::Open) + count(Fate::Deferred) + count(Fate::Unclear);
        let mut partial = locked(&self.partial);
        let tries = partial.remove(&letter).map_or(0, |known| known.tries) + 1;
        if delivered > 0 && (undecided == 0 || tries >= MOST_TRIES) {
            drop(partial);
            locked(&self.unreported).retain(|failure| !told.contains(failure));
            for failure in &failures {
                self.report(failure.clone());
            }
            return Ok(Delivery { addresses: delivered, failures });
        }
        let mut text = failures.join("; ");
        if delivered > 0 {
            text = format!("{delivered} of {} addresses have it; {text}", addressees.len());
            let has_it = addressees.iter().filter(|addressee| addressee.fate == Fate::Delivered);
            let delivered = has_it.map(|addressee| key(&addressee.address)).collect();
            if partial.len() < MOST_PARTIAL {
                partial.insert(letter, Partial { delivered, tries });
            }
        }
        drop(partial);
        for failure in failures {
            self.report(failure);
        }
        if delivered > 0 || count(Fate::Unclear) > 0 {
            Err(DeliveryError::Unknown(text))
        } else {
            Err(DeliveryError::NotSent(text))
        }
    }
}

impl Channel for MailChannel {
    /// After [`DeliveryError::Unknown`] the same bundle is to be delivered again under the same message id: whoever has it by then is
    /// passed over.
    fn deliver<'a>(&'a self, bundle: &'a Bundle, message: &'a str) -> BoxFuture<'a, Result<Delivery, DeliveryError>> {
        Box::pin(self.send(bundle, message))
    }

    fn message_id(&self, bundle: &Bundle) -> String {
        compose::message_id(bundle, &self.domain)
    }

    fn kind(&self) -> ChannelKind {
        ChannelKind::Mail
    }
}

impl Fate {
    /// The fate after one more relay. A relay that could not be talked to says nothing about an address.
    fn after(self, reply: &Reply, accepted: bool, handed_over: bool) -> Self {
        match reply {
            Reply::Taken if accepted => Self::Delivered,
            Reply::Taken if handed_over => Self::Unclear,
            Reply::Taken | Reply::None => self,
            Reply::Later(_) | Reply::Never(_) if self == Self::Unclear => self,
            Reply::Later(_) => Self::Deferred,
            Reply::Never(_) => Self::Refused,
        }
    }
}

/// Why a relay would not take a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotTaken {
    /// What was under way, in words: `connecting`, `logging in`.
    pub at: &'static str,
    /// It asked to try again later, and said no more.
    pub later: bool,
    /// What it said, without secrets and addresses.
    pub words: String,
}

/// What a relay said about one address.
#[derive(Clone, Debug)]
enum Reply {
    None,
    Taken,
    Later(String),
    Never(String),
}

/// One conversation with one relay. It lives outside the future that holds it, so what was reached is known when time runs out.
struct Talk<'a> {
    relay: &'a Relay,
    password: Option<&'a Secret>,
    from: &'a Address,
    hello: &'a ClientId,
    reader: &'a Reader,
    /// How long one step may take.
    step: Duration,
    /// What is under way, in words.
    now: &'static str,
    /// One per address.
    replies: Vec<Reply>,
    /// The message is on the wire, and nothing was answered to it yet.
    handed_over: bool,
    /// The relay has taken it.
    accepted: bool,
}

/// How a step failed.
enum Broken {
    Late,
    Smtp(SmtpError),
}

impl Talk<'_> {
    /// The connection comes back, where there is one, to be closed when the outcome stands already.
    async fn hold(&mut self, addresses: &[Address], bytes: &[u8]) -> (Option<AsyncSmtpConnection>, Result<(), String>) {
        match self.connect().await {
            Ok(mut connection) => {
                let outcome = self.converse(&mut connection, addresses, bytes).await;
                (Some(connection), outcome)
            }
            Err(problem) => (None, Err(problem)),
        }
    }

    /// The same without a message. A relay that is asked for nobody is greeted only.
    async fn rehearse(&mut self, addresses: &[Address]) -> (Option<AsyncSmtpConnection>, Result<(), String>) {
        match self.connect().await {
            Ok(mut connection) => {
                let outcome = if addresses.is_empty() { Ok(()) } else { self.offer(&mut connection, addresses).await };
                (Some(connection), outcome)
            }
            Err(problem) => (None, Err(problem)),
        }
    }

    async fn connect(&mut self) -> Result<AsyncSmtpConnection, String> {
        let url = &self.relay.url;
        let trust = match url.tls {
            RelayTls::None => None,
            RelayTls::Implicit | RelayTls::Required | RelayTls::Opportunistic => {
                self.now = "reading the authorities that it is trusted by";
                Some(trust(self.relay, self.step, self.reader).await?)
            }
        };
        let implicit = trust.clone().filter(|_| url.tls == RelayTls::Implicit);
        // The limit within lettre is per address that the name resolves to: a dead IPv6 route must leave time for IPv4.
        let limit = self.step / 2;
        let connecting =
            AsyncSmtpConnection::connect_tokio1((url.host.as_str(), url.port), Some(limit), self.hello, implicit, None);
        let mut connection = self.step("connecting", connecting).await?;
        if let Some(trust) = trust.filter(|_| url.tls != RelayTls::Implicit) {
            if connection.can_starttls() {
                let hello = self.hello.clone();
                self.step("starting TLS", connection.starttls(trust, &hello)).await?;
            } else if url.tls == RelayTls::Required {
                return Err("it offers no STARTTLS, and tls=required is set".to_owned());
            }
        }
        self.log_in(&mut connection).await?;
        Ok(connection)
    }

    async fn log_in(&mut self, connection: &mut AsyncSmtpConnection) -> Result<(), String> {
        let url = &self.relay.url;
        let (Some(user), Some(password)) = (&url.user, self.password) else { return Ok(()) };
        if !connection.is_encrypted() && !is_loopback(&url.host) {
            return Err("it offers no TLS, and the password is not sent in the clear".to_owned());
        }
        let credentials = Credentials::new(user.clone(), password.expose().to_owned());
        self.now = "logging in";
        let login = connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials);
        match within(self.step, login).await {
            Ok(_) => Ok(()),
            // Some relays echo what they were sent, so of a refused login only the number is told.
            Err(Broken::Smtp(error)) if error.status().is_some() => {
                let code = error.status().map(|code| code.to_string()).unwrap_or_default();
                Err(format!("refused the login ({code})"))
            }
            Err(Broken::Smtp(error)) if error.is_client() => {
                Err("it offers no way to log in that this program knows (PLAIN, LOGIN)".to_owned())
            }
            Err(broken) => Err(broken.in_words(self.now)),
        }
    }

    async fn converse(
        &mut self,
        connection: &mut AsyncSmtpConnection,
        addresses: &[Address],
        bytes: &[u8],
    ) -> Result<(), String> {
        self.offer(connection, addresses).await?;
        if !self.replies.iter().any(|reply| matches!(reply, Reply::Taken)) {
            return Err("took none of the addresses".to_owned());
        }
        self.step("starting the message", connection.command(Data)).await?;
        self.now = "handing over the message";
        self.handed_over = true;
        // Relays scan a message before they answer for it; RFC 5321 §4.5.3.2.6 gives them ten minutes, we four steps.
        match within(self.step * LAST_STEP, connection.message(bytes)).await {
            Ok(_) => {
                self.accepted = true;
                Ok(())
            }
            Err(Broken::Smtp(error)) if error.status().is_some() => {
                self.handed_over = false;
                Err(in_words(&error))
            }
            Err(broken) => Err(format!("{}{MAY_HAVE}", broken.in_words(self.now))),
        }
    }

    /// Names the sender and each address, and notes what is said to each.
    async fn offer(&mut self, connection: &mut AsyncSmtpConnection, addresses: &[Address]) -> Result<(), String> {
        let international = connection.server_info().supports_feature(Extension::SmtpUtfEight);
        let exotic = |address: &Address| !AsRef::<str>::as_ref(address).is_ascii();
        let needed = exotic(self.from) || addresses.iter().any(exotic);
        let parameters = if international && needed { vec![MailParameter::SmtpUtfEight] } else { Vec::new() };
        let sender = MailFrom::new(Some(self.from.clone()), parameters);
        self.step("naming the sender", connection.command(sender)).await?;
        for (n, address) in addresses.iter().enumerate() {
            self.replies[n] = if exotic(address) && !international {
                Reply::Never("it takes no address outside ASCII".to_owned())
            } else {
                self.now = "naming the receivers";
                match within(self.step, connection.command(Rcpt::new(address.clone(), Vec::new()))).await {
                    Ok(_) => Reply::Taken,
                    Err(Broken::Smtp(error)) if error.is_permanent() => Reply::Never(in_words(&error)),
                    Err(Broken::Smtp(error)) if error.is_transient() => Reply::Later(in_words(&error)),
                    Err(broken) => return Err(broken.in_words(self.now)),
                }
            };
        }
        Ok(())
    }

    async fn step<T>(
        &mut self,
        now: &'static str,
        future: impl Future<Output = Result<T, SmtpError>>,
    ) -> Result<T, String> {
        self.now = now;
        within(self.step, future).await.map_err(|broken| broken.in_words(now))
    }

    /// The addresses that were turned away, by what was said. They are counted, not named: this text is logged.
    fn refusals(&self) -> impl Iterator<Item = String> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for reply in &self.replies {
            match reply {
                Reply::None | Reply::Taken => {}
                Reply::Later(text) | Reply::Never(text) => *counts.entry(text).or_default() += 1,
            }
        }
        let all = self.replies.len();
        let words: Vec<String> =
            counts.into_iter().map(|(text, n)| format!("turned away {n} of {all} addresses: {text}")).collect();
        words.into_iter()
    }
}

impl Broken {
    fn in_words(&self, now: &str) -> String {
        match self {
            Self::Late => format!("no answer in time while {now}"),
            Self::Smtp(error) if error.status().is_some() => in_words(error),
            Self::Smtp(error) => format!("{} while {now}", in_words(error)),
        }
    }
}

/// Says good-bye. The relay has all it needs; whether it answers in time is of no interest.
async fn part(connection: Option<AsyncSmtpConnection>, well: bool, limit: Duration) {
    let Some(mut connection) = connection else { return };
    let parting = async {
        if well {
            connection.quit().await.map(drop).unwrap_or_default();
        } else {
            connection.abort().await;
        }
    };
    tokio::time::timeout(limit, parting).await.unwrap_or_default();
}

async fn within<T>(limit: Duration, future: impl Future<Output = Result<T, SmtpError>>) -> Result<T, Broken> {
    match tokio::time::timeout(limit, future).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Broken::Smtp(error)),
        Err(_) => Err(Broken::Late),
    }
}

/// What lettre says, without its own categories and without mail addresses, which relays like to repeat.
fn in_words(error: &SmtpError) -> String {
    let words = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    let words = without_addresses(words.trim_start_matches("Connection error: "));
    match error.status() {
        Some(code) => format!("{code} {words}"),
        None if error.is_tls() => format!("TLS failed: {words}"),
        None if error.is_response() => "the connection ended, or the answer was not SMTP".to_owned(),
        None => words,
    }
}

fn without_addresses(text: &str) -> String {
    let bare = |word: &str| if word.contains('@') { "(address)".to_owned() } else { word.to_owned() };
    text.split_whitespace().map(bare).collect::<Vec<_>>().join(" ")
}

fn without_secrets(text: &str, password: Option<&Secret>) -> String {
    match password {
        Some(password) => redact(text, &[password]),
        None => redact(text, &[]),
    }
}

/// Whom this relay's certificate is checked by. Its file may stand where it hangs: that costs one thread, and no other relay anything.
async fn trust(relay: &Relay, limit: Duration, reader: &Reader) -> Result<TlsParameters, String> {
    let (host, ca_file) = (relay.url.host.clone(), relay.ca_file.clone());
    reader.read_where(ca_file.clone().map(SecretRef::File).as_ref()).await?;
    let reading = tokio::task::spawn_blocking(move || trusted(host, ca_file.as_deref()));
    let late = |_| format!("its authorities cannot be read: no answer from the file system in {} s", limit.as_secs());
    let read = tokio::time::timeout(limit, reading).await.map_err(late)?;
    read.map_err(|_| "TLS cannot be set up: an internal fault of tokenwatch".to_owned())?
}

fn trusted(host: String, ca_file: Option<&Path>) -> Result<TlsParameters, String> {
    // The same checks, and the same words, as for every other connection.
    tls::client_config(ca_file).map_err(|error| error.to_string())?;
    let mut builder = TlsParameters::builder(host);
    if let Some(path) = ca_file {
        let pem = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let authorities = Certificate::from_pem(&pem).map_err(|error| format!("{}: {error}", path.display()))?;
        builder = builder.certificate_store(CertificateStore::None).add_root_certificate(authorities);
    }
    builder.build_rustls().map_err(|error| format!("TLS cannot be set up: {error}"))
}

/// What to greet with: this host's full name, else an address literal (RFC 5321 §4.1.3), because strict relays refuse a bare name.
fn greeting() -> ClientId {
    let host = rustix::system::uname();
    let name = host.nodename().to_str().unwrap_or_default();
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    if name.contains('.') && name.chars().all(fine) {
        ClientId::Domain(name.to_owned())
    } else {
        ClientId::Ipv4(std::net::Ipv4Addr::LOCALHOST)
    }
}

/// Addresses that differ in case only are one person.
fn key(address: &Address) -> String {
    AsRef::<str>::as_ref(address).to_lowercase()
}

/// Nothing that is kept under these locks can be left half-changed, so a poisoned one is as good as any.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A relay has this many times the limit of one step for all of them, the last one included.
const STEPS_IN_BOUND: u32 = 6;
/// The last step may take this many times as long as any other.
const LAST_STEP: u32 = 4;
const MAY_HAVE: &str = ", so it may have taken the message";
/// For QUIT.
const PARTING: Duration = Duration::from_secs(2);
/// After so many tries a message that others have is no longer offered to an address that keeps putting it off. The outbox tries at
/// 2 s, 4 s, 8 s … up to each minute, so the last one comes after five minutes, which outlasts common greylisting (postgrey: 300 s).
const MOST_TRIES: u32 = 10;
/// Messages on their way to their last addresses. When there are more, some addresses get a second copy.
const MOST_PARTIAL: usize = 1_000;
/// Failures waiting to be told.
const MOST_FAILURES: usize = 20;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::JoinSet;

    use super::super::compose::tests::{notice, receiver};
    use super::*;
    use crate::domain::finding::{Reason, Severity};
    use crate::settings::source::Sources;

    /// How a relay of these tests behaves.
    #[derive(Clone, Copy)]
    struct Script {
        hello: &'static str,
        auth: &'static str,
        mail: &'static str,
        /// The answer to one address, and to all others.
        rcpt: (&'static str, &'static str),
        end: End,
    }

    #[derive(Clone, Copy)]
    enum End {
        Say(&'static str),
        Drop,
        Hang,
        /// A continuation line every 200 ms, for ever.
        Drip,
    }

    const FINE: Script = Script {
        hello: "250-test\r\n250 SIZE",
        auth: "235 welcome",
        mail: "250 ok",
        rcpt: ("", "250 ok"),
        end: End::Say("250 taken"),
    };

    #[derive(Default, Debug)]
    struct Seen {
        connections: usize,
        receivers: Vec<Vec<String>>,
        messages: Vec<String>,
    }

    struct Server {
        port: u16,
        seen: Arc<Mutex<Seen>>,
        _tasks: JoinSet<()>,
    }

    impl Server {
        async fn start(scripts: &'static [Script]) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
            let port = listener.local_addr().expect("a bound listener has an address").port();
            let seen = Arc::new(Mutex::new(Seen::default()));
            let log = Arc::clone(&seen);
            let mut tasks = JoinSet::new();
            tasks.spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let n = {
                        let mut log = locked(&log);
                        log.connections += 1;
                        log.connections - 1
                    };
                    let script = scripts[n.min(scripts.len() - 1)];
                    let _ = serve(stream, script, &log).await;
                }
            });
            Self { port, seen, _tasks: tasks }
        }

        fn seen(&self) -> MutexGuard<'_, Seen> {
            locked(&self.seen)
        }
    }

    async fn serve(mut stream: TcpStream, script: Script, log: &Mutex<Seen>) -> std::io::Result<()> {
        let (read, mut write) = stream.split();
        let mut lines = BufReader::new(read).lines();
        write.write_all(b"220 test\r\n").await?;
        let mut receivers = Vec::new();
        while let Some(line) = lines.next_line().await? {
            let upper = line.to_uppercase();
            let reply = match upper.split([' ', ':']).next().unwrap_or_default() {
                "EHLO" => script.hello,
                "AUTH" => script.auth,
                "MAIL" => script.mail,
                "RCPT" if !script.rcpt.0.is_empty() && line.contains("bad@") => script.rcpt.0,
                "RCPT" => {
                    receivers.push(line.clone());
                    script.rcpt.1
                }
                "DATA" => {
                    write.write_all(b"354 go on\r\n").await?;
                    let mut message = String::new();
                    while let Some(line) = lines.next_line().await?.filter(|line| line != ".") {
                        message.push_str(&line);
                        message.push('\n');
                    }
                    match script.end {
                        End::Say(reply) => {
                            let mut log = locked(log);
                            log.receivers.push(std::mem::take(&mut receivers));
                            log.messages.push(message);
                            reply
                        }
                        End::Drop => return Ok(()),
                        End::Hang => {
                            let mut rest = String::new();
                            lines.into_inner().read_to_string(&mut rest).await?;
                            return Ok(());
                        }
                        End::Drip => loop {
                            write.write_all(b"250-wait\r\n").await?;
                            tokio::time::sleep(Duration::from_millis(200)).await;
                        },
                    }
                }
                "QUIT" => {
                    write.write_all(b"221 bye\r\n").await?;
                    return Ok(());
                }
                _ => "500 what",
            };
            write.write_all(format!("{reply}\r\n").as_bytes()).await?;
        }
        Ok(())
    }

    fn channel(servers: &[&Server], emails: &str) -> MailChannel {
        let relays: Vec<String> =
            servers.iter().map(|server| format!("{{ url = \"smtp://127.0.0.1:{}?tls=none\" }}", server.port)).collect();
        with_relays(&relays.join(", "), emails)
    }

    fn with_relays(relays: &str, emails: &str) -> MailChannel {
        let text = format!(
            r#"
            [smtp]
            from = "Token Watch <tokenwatch@example.com>"
            timeout = "1s"
            relays = [ {relays} ]
            [receivers.default]
            email = [{emails}]
            escalate = {{ from = "critical", email = ["lead@example.com", "A@example.com"] }}
            "#
        );
        let settings =
            crate::settings::from_text(&text, "test", &[]).unwrap_or_else(|faults| unreachable!("{faults}")).settings;
        let reader = Reader::new(Sources::new([("SMTP_PASSWORD".to_owned(), "hunter2hunter2".to_owned())]));
        MailChannel::new(Arc::new(settings), reader).expect("there is an [smtp]")
    }

    fn bundle(severity: Severity) -> Bundle {
        let mut notice = notice("helpdesk-whatsapp", Reason::Expired);
        notice.severity = severity;
        Bundle::new(receiver("default"), vec![notice]).expect("there is a notice")
    }

    async fn deliver(channel: &MailChannel) -> Result<Delivery, DeliveryError> {
        let bundle = bundle(Severity::Warning);
        channel.deliver(&bundle, &channel.message_id(&bundle)).await
    }

    /// A delivery without trouble to so many addresses.
    fn to(addresses: usize) -> Delivery {
        Delivery { addresses, failures: Vec::new() }
    }

    #[tokio::test]
    async fn a_message_arrives_once_for_all() {
        let server = Server::start(&[FINE]).await;
        let channel = channel(&[&server], r#""a@example.com", "B <b@example.com>""#);
        assert_eq!(deliver(&channel).await, Ok(to(2)));
        let seen = server.seen();
        assert_eq!(seen.receivers, [["RCPT TO:<a@example.com>", "RCPT TO:<b@example.com>"]]);
        let message = &seen.messages[0];
        let id = channel.message_id(&bundle(Severity::Warning));
        assert!(message.contains(&format!("Message-ID: {id}\n")), "{message}");
        assert_eq!(message.matches("Message-ID:").count(), 1);
        assert!(message.contains("Date: Tue, 15 Jul 2025 08:00:00 +0000\n"), "{message}");
        assert!(message.contains("From: \"Token Watch\" <tokenwatch@example.com>\n"), "{message}");
        assert!(message.contains("Subject: [tokenwatch] WARNING helpdesk-whatsapp has expired\n"), "{message}");
    }

    #[tokio::test]
    async fn worse_news_reach_more_people_and_nobody_twice() {
        let server = Server::start(&[FINE]).await;
        let channel = channel(&[&server], r#""a@example.com""#);
        let mut bundle = bundle(Severity::Critical);
        for why in [crate::domain::alert::NotifyReason::First, crate::domain::alert::NotifyReason::Resolved] {
            bundle.notices[0].why = why;
            assert_eq!(channel.deliver(&bundle, "<x@example.com>").await, Ok(to(2)));
            let receivers = server.seen().receivers.pop();
            assert_eq!(
                receivers,
                Some(["RCPT TO:<a@example.com>", "RCPT TO:<lead@example.com>"].map(str::to_owned).to_vec())
            );
        }
        let silent = self::channel(&[&server], "");
        assert_eq!(deliver(&silent).await, Ok(to(0)));
        assert_eq!(server.seen().connections, 2, "nobody is told of a warning, so nobody is called");
    }

    #[tokio::test]
    async fn a_receiver_that_is_gone_is_not_forgotten_silently() {
        let server = Server::start(&[FINE]).await;
        let channel = channel(&[&server], r#""a@example.com""#);
        let mut lost = bundle(Severity::Warning);
        lost.receiver = receiver("gone");
        let error = channel.deliver(&lost, "<x@example.com>").await.expect_err("nobody is there");
        assert!(matches!(&error, DeliveryError::NotSent(text) if text.contains("gone is no longer configured")));
        assert_eq!(deliver(&channel).await, Ok(to(1)));
        assert!(server.seen().messages[0].contains("Trouble with earlier messages"));
    }

    #[tokio::test]
    async fn the_next_relay_takes_what_the_first_does_not() {
        const LATER: Script = Script { mail: "451 4.3.0 try <tokenwatch@example.com> later", ..FINE };
        const NEVER: Script = Script { mail: "550 5.7.1 no", ..FINE };
        const NOT_THIS: Script = Script { end: End::Say("554 5.6.0 spam"), ..FINE };
        const LATER_THIS: Script = Script { end: End::Say("451 4.6.0 busy"), ..FINE };
        for (script, words) in [
            (&[LATER] as &[Script], "451 4.3.0 try (address) later"),
            (&[NEVER], "550 5.7.1 no"),
            (&[NOT_THIS], "554 5.6.0 spam"),
            (&[LATER_THIS], "451 4.6.0 busy"),
        ] {
            let first = Server::start(script).await;
            let second = Server::start(&[FINE]).await;
            let both = channel(&[&first, &second], r#""a@example.com""#);
            let delivery = deliver(&both).await.expect("the second relay takes it");
            assert_eq!(delivery.failures, [format!("relay 127.0.0.1:{}: {words}", first.port)]);
            assert_eq!(second.seen().messages.len(), 1);
            assert!(!second.seen().messages[0].contains("Trouble"), "told in the next one");
            assert!(deliver(&both).await.is_ok());
            assert!(second.seen().messages[1].contains("Trouble with earlier messages"));
            let alone = channel(&[&first], r#""a@example.com""#);
            assert!(matches!(deliver(&alone).await, Err(DeliveryError::NotSent(text)) if text.contains(words)));
        }
    }

    #[tokio::test]
    async fn a_relay_that_is_away_or_unsafe_is_passed_over() {
        // Taken and not listened on, so that no other test gets it and answers.
        let away = tokio::net::TcpSocket::new_v4().expect("a socket");
        away.bind((std::net::Ipv4Addr::LOCALHOST, 0).into()).expect("loopback has a free port");
        let port = away.local_addr().expect("a bound socket has an address").port();
        let gone = format!("{{ url = \"smtp://127.0.0.1:{port}?tls=none\" }}");
        let plain = Server::start(&[FINE]).await;
        let required = format!("{{ url = \"smtp://127.0.0.1:{}\" }}", plain.port);
        let channel = with_relays(&format!("{gone}, {required}"), r#""a@example.com""#);
        let text = deliver(&channel).await.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(text.contains("while connecting") && text.contains("offers no STARTTLS"), "{text}");
        assert!(plain.seen().messages.is_empty());
    }

    #[tokio::test]
    async fn one_bad_address_does_not_silence_the_others() {
        const PICKY: Script = Script { rcpt: ("550 5.1.1 <bad@example.com>: unknown", "250 ok"), ..FINE };
        let server = Server::start(&[PICKY]).await;
        let channel = channel(&[&server], r#""a@example.com", "bad@example.com", "c@example.com""#);
        let delivery = deliver(&channel).await.expect("two of three have it");
        let words = "turned away 1 of 3 addresses: 550 5.1.1 (address) unknown";
        assert_eq!(delivery.failures, [format!("relay 127.0.0.1:{}: {words}", server.port)]);
        assert_eq!(server.seen().receivers, [["RCPT TO:<a@example.com>", "RCPT TO:<c@example.com>"]]);
    }

    #[tokio::test]
    async fn an_address_that_is_put_off_is_tried_again_alone() {
        const GREY: Script = Script { rcpt: ("450 4.2.0 greylisted", "250 ok"), ..FINE };
        let server = Server::start(&[GREY, GREY, FINE]).await;
        let channel = channel(&[&server], r#""a@example.com", "bad@example.com""#);
        for _ in 0..2 {
            let error = deliver(&channel).await.expect_err("one address is put off");
            assert!(
                matches!(&error, DeliveryError::Unknown(text) if text.starts_with("1 of 2 addresses have it")),
                "{error}"
            );
        }
        assert_eq!(deliver(&channel).await, Ok(to(2)));
        assert_eq!(server.seen().receivers, [["RCPT TO:<a@example.com>"], ["RCPT TO:<bad@example.com>"]]);
    }

    #[tokio::test]
    async fn nobody_knows_what_became_of_it() {
        const DROP: Script = Script { end: End::Drop, ..FINE };
        const HANG: Script = Script { end: End::Hang, ..FINE };
        const DRIP: Script = Script { end: End::Drip, ..FINE };
        const NEVER: Script = Script { mail: "550 5.7.1 no", ..FINE };
        for script in [&[DROP] as &[Script], &[HANG], &[DRIP]] {
            let server = Server::start(script).await;
            let alone = channel(&[&server], r#""a@example.com""#);
            let outcome =
                tokio::time::timeout(Duration::from_secs(15), deliver(&alone)).await.expect("within the bound");
            let error = outcome.expect_err("there was no answer");
            assert!(matches!(&error, DeliveryError::Unknown(text) if text.contains("may have taken")), "{error}");
        }
        let first = Server::start(&[DROP]).await;
        let second = Server::start(&[FINE]).await;
        let both = channel(&[&first, &second], r#""a@example.com""#);
        let delivery = deliver(&both).await.expect("the second relay takes it");
        assert_eq!((delivery.failures.len(), second.seen().messages.len()), (1, 1));
        let refusing = Server::start(&[NEVER]).await;
        let both = channel(&[&first, &refusing], r#""a@example.com""#);
        assert!(matches!(deliver(&both).await, Err(DeliveryError::Unknown(_))), "the first may still have taken it");
    }

    #[tokio::test]
    async fn passwords_stay_out_of_errors() {
        const ECHO: Script = Script {
            hello: "250-test\r\n250 AUTH PLAIN",
            auth: "535 5.7.8 hunter2hunter2 AGFsZXJ0cwBodW50ZXIyaHVudGVyMg== is wrong",
            ..FINE
        };
        let server = Server::start(&[ECHO]).await;
        let url = format!("smtp://alerts@127.0.0.1:{}?tls=none", server.port);
        let with = |place: &str| {
            let relay = format!("{{ url = \"{url}\", password = {{ {place} }} }}");
            with_relays(&relay, r#""a@example.com""#)
        };
        let text =
            deliver(&with("env = \"SMTP_PASSWORD\"")).await.err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(text, format!("relay 127.0.0.1:{}: refused the login (535)", server.port));
        let text = deliver(&with("env = \"NOPE\"")).await.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(text.ends_with("its password cannot be read: the environment has no variable NOPE"), "{text}");
    }
}
