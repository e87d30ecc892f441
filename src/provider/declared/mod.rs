//! A provider that is described as data: asks what the description says, and reads the answer as it says.
//!
//! It knows no provider by name. What an answer means is decided by the first rule that fits; what no rule knows is "could not tell", never a
//! verdict. Every text that leaves it is redacted, and a document that holds secrets is read where it must be and dropped.

mod answer;
mod certificate;
mod facts;
mod jwt;
mod limits;
mod number;
mod rehearsal;
mod request;
mod rotate;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use zeroize::Zeroizing;

use self::answer::Document;
use self::rehearsal::Rehearsal;
use self::request::{Filling, Papers};
use super::http::{Http, check_error, clock_offset, started};
use super::values::label;
use crate::domain::inspection::{CheckError, Inspection, TokenKind, Validity};
use crate::domain::number::Number;
use crate::domain::time::Timestamp;
use crate::outgoing::{ClientError, Failure, Reply};
use crate::ports::{Answer, Clock, Exchange, Exchanged, Farewell, Heard, Provider, Question, Rehearsed, Telemetry};
use crate::redact::redact;
use crate::secret::Secret;
use crate::settings;
use crate::settings::description::{Asking, Description, Login, Means, Request, Source, builtin};

/// A described provider.
pub struct DeclaredProvider {
    description: Arc<Description>,
    base_url: Option<url::Url>,
    http: Http,
    tls: certificate::Trust,
    clock: Arc<dyn Clock>,
}

impl DeclaredProvider {
    /// The provider of that description.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(settings: &settings::Declared, clock: Arc<dyn Clock>) -> Result<Self, ClientError> {
        let base_url = settings.base_url.clone();
        // The addresses of parameters may be of either kind, so the client is ready for both.
        let http = Http::anywhere(settings.timeout, settings.ca_file.as_deref())?;
        let tls = certificate::Trust::new(settings.timeout, settings.ca_file.clone());
        Ok(Self { description: Arc::clone(&settings.description), base_url, http, tls, clock })
    }

    async fn ask(&self, question: &Question<'_>, rehearsal: &mut Rehearsal) -> Answer {
        let started = started();
        let mut telemetry = Telemetry::default();
        let mut number = None;
        let facts = match &self.description.source {
            Source::Http(asking) => self.ask_over_http(asking, question, &mut number, &mut telemetry, rehearsal).await,
            Source::Jwt => Ok(jwt::inspect(question.token, self.clock.now())),
            Source::Certificate => self.tls.inspect(question.parameters, self.clock.now()).await,
            Source::Typed => Ok(Inspection { kind: self.kind(), ..Inspection::bare(Validity::Valid) }),
        };
        telemetry.seconds = started.elapsed().as_secs_f64();
        rehearsal.result(&facts);
        Answer { facts, number, telemetry }
    }

    async fn ask_over_http(
        &self,
        asking: &Asking,
        question: &Question<'_>,
        number: &mut Option<Number>,
        telemetry: &mut Telemetry,
        rehearsal: &mut Rehearsal,
    ) -> Result<Inspection, CheckError> {
        let papers = Papers::of(question);
        let login = match self.login(asking, &papers, telemetry, rehearsal).await {
            Ok(login) => login,
            // Where the token itself logs in, a refusal of the login tells of it.
            Err(LoginFailed::Verdict(verdict)) => return Ok(*verdict),
            Err(LoginFailed::Error(error)) => return Err(error),
        };
        let papers = Papers { login: login.as_ref(), ..papers };
        let filling = Filling { papers: &papers, now: self.clock.now() };
        let reply = self.send(&asking.check, &filling, rehearsal).await.map_err(check_error)?;
        let reading = self.reading(asking, &papers, reply, telemetry, rehearsal);
        match reading.means(&[&asking.answers], telemetry, rehearsal) {
            (Means::Valid, _) => {
                *number = number::beside(&reading);
                Ok(reading.facts(&asking.facts, rehearsal))
            }
            (means, words) => reading.verdict(means, words),
        }
    }

    /// What the login gives; `None` where there is none.
    async fn login(
        &self,
        asking: &Asking,
        papers: &Papers<'_>,
        telemetry: &mut Telemetry,
        rehearsal: &mut Rehearsal,
    ) -> Result<Option<Secret>, LoginFailed> {
        let Some(Login { request, token, answers }) = &asking.login else { return Ok(None) };
        let filling = Filling { papers, now: self.clock.now() };
        let reply = self
            .send(request, &filling, rehearsal)
            .await
            .map_err(|failure| LoginFailed::Error(check_error(failure)))?;
        let reading = self.reading(asking, papers, reply, telemetry, &mut Rehearsal::off());
        let given = reading.document().text(token).map(|given| Secret::new(Zeroizing::new(given)));
        rehearsal.document(reading.document(), &Papers { login: given.as_ref(), ..*papers });
        if (200..300).contains(&reading.status()) && given.is_some() {
            return Ok(given);
        }
        // The rules of the check are about another address, and might praise what this one refuses.
        let (means, words) = reading.means(&[answers], telemetry, rehearsal);
        match means {
            Means::Valid => Err(LoginFailed::Error(CheckError::Garbled(
                "the login was answered without what it should give".into(),
            ))),
            means => match reading.verdict(means, words) {
                Ok(verdict) => Err(LoginFailed::Verdict(Box::new(verdict))),
                Err(error) => Err(LoginFailed::Error(error)),
            },
        }
    }

    async fn send(
        &self,
        request: &Request,
        filling: &Filling<'_>,
        rehearsal: &mut Rehearsal,
    ) -> Result<Reply, Failure> {
        let filled = request::fill(request, filling, self.base_url.as_ref()).map_err(|why| Failure {
            how: None,
            text: why,
            may_have_arrived: false,
        })?;
        rehearsal.request(&filled, filling.papers);
        let reply = self.http.send(filled.method, filled.url, filled.headers, filled.body).await;
        rehearsal.reply(&reply, filling.papers);
        reply
    }

    /// Notes what the headers tell, and takes the document in.
    fn reading<'a>(
        &'a self,
        asking: &'a Asking,
        papers: &'a Papers<'a>,
        reply: Reply,
        telemetry: &mut Telemetry,
        rehearsal: &mut Rehearsal,
    ) -> Reading<'a> {
        let now = self.clock.now();
        telemetry.clock_offset = telemetry.clock_offset.or(clock_offset(&reply.headers, now));
        let usage = limits::usage(&self.description.limits, &reply.headers);
        telemetry.usage.extend(usage.map(|ratio| (limits::RESOURCE, ratio)));
        let document = Document::of(reply);
        rehearsal.document(&document, papers);
        Reading { provider: self, asking, papers, document, now }
    }

    fn kind(&self) -> TokenKind {
        self.description.kind.as_deref().map_or(TokenKind::Unknown, |kind| TokenKind::parse(&label(kind)))
    }

    /// A token that looks like one of another provider's, in words.
    fn looks_like(&self, token: &Secret) -> Option<String> {
        let own = |prefix: &str| {
            self.description.prefixes.iter().any(|own| own.starts_with(prefix) || prefix.starts_with(&**own))
        };
        let family = builtin::family(|prefix| !own(prefix) && token.begins_with(prefix))?;
        (*family != self.description.name).then(|| {
            let title = builtin::title(family).unwrap_or(family.as_str());
            format!("; by how it begins it is one of {title} (provider = \"{family}\")")
        })
    }
}

impl Provider for DeclaredProvider {
    fn error_codes(&self) -> Vec<&str> {
        self.description.codes()
    }

    fn inspect<'a>(&'a self, question: &'a Question<'a>) -> BoxFuture<'a, Answer> {
        Box::pin(async { self.ask(question, &mut Rehearsal::off()).await })
    }

    fn rehearse<'a>(&'a self, question: &'a Question<'a>) -> BoxFuture<'a, (Answer, Vec<Rehearsed>)> {
        Box::pin(async {
            let mut rehearsal = Rehearsal::on();
            let answer = self.ask(question, &mut rehearsal).await;
            (answer, rehearsal.told())
        })
    }

    fn exchange<'a>(&'a self, request: Exchange<'a>) -> BoxFuture<'a, Exchanged> {
        Box::pin(rotate::exchange(self, request))
    }

    fn revoke<'a>(&'a self, farewell: &'a Farewell<'a>) -> BoxFuture<'a, Result<(), CheckError>> {
        Box::pin(rotate::take_leave(self, farewell))
    }

    fn number<'a>(&'a self, question: &'a Question<'a>, id: &'a str) -> BoxFuture<'a, Heard<Number>> {
        Box::pin(number::number(self, question, id))
    }
}

impl std::fmt::Debug for DeclaredProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeclaredProvider").field("name", &self.description.name.as_str()).finish_non_exhaustive()
    }
}

/// Why there is no login: it says something of the token, or nothing.
enum LoginFailed {
    Verdict(Box<Inspection>),
    Error(CheckError),
}

/// One answer, being read.
struct Reading<'a> {
    provider: &'a DeclaredProvider,
    asking: &'a Asking,
    papers: &'a Papers<'a>,
    document: Document,
    now: Timestamp,
}

impl Reading<'_> {
    const fn status(&self) -> u16 {
        self.document.status
    }

    const fn document(&self) -> &Document {
        &self.document
    }

    /// What the answer means, and what is said of it: by the first rule that fits, else by its status.
    fn means(
        &self,
        rules: &[&Vec<settings::description::Rule>],
        telemetry: &mut Telemetry,
        rehearsal: &mut Rehearsal,
    ) -> (Means, String) {
        let (at, rule) = rules.iter().copied().flatten().enumerate().find(|(_, rule)| self.document.fits(rule)).unzip();
        let means = rule.map_or_else(|| answer::by_status(self.document.status), |rule| rule.means);
        if means != Means::Valid {
            telemetry.error_codes.extend(self.code());
        }
        let said = self.asking.message.iter().find_map(|pointer| self.document.text(pointer));
        let words = rule.and_then(|rule| rule.words.as_deref()).map(str::to_owned).or(said);
        let words = words.unwrap_or_else(|| format!("HTTP {}", self.document.status));
        rehearsal.means(at, means);
        (means, self.clean(&words))
    }

    /// The error code, as a label of a closed set.
    fn code(&self) -> Option<std::borrow::Cow<'static, str>> {
        let code = self.asking.code.iter().find_map(|pointer| self.document.text(pointer))?;
        let known = self.provider.description.codes().contains(&code.as_str());
        Some(if known { code.into() } else { "other".into() })
    }

    /// An answer that does not say that the token works and may ask this.
    fn verdict(&self, means: Means, words: String) -> Result<Inspection, CheckError> {
        let dead = |validity: Validity, words: String| Inspection {
            kind: self.provider.kind(),
            message: Some(words.into()),
            ..Inspection::bare(validity)
        };
        match means {
            Means::Valid | Means::Forbidden => Ok(Inspection {
                kind: self.provider.kind(),
                lacking: Some(words.into()),
                ..Inspection::bare(Validity::Valid)
            }),
            Means::Expired => Ok(dead(Validity::Expired, words)),
            Means::Revoked(cause) => {
                let hint = self.provider.looks_like(self.papers.token).unwrap_or_default();
                Ok(dead(Validity::Revoked(cause), words + &hint))
            }
            Means::Unreadable => {
                let hint = self.provider.looks_like(self.papers.token).unwrap_or_default();
                Ok(dead(Validity::Unreadable, words + &hint))
            }
            error => Err(self.error(error, words)),
        }
    }

    /// An answer that says nothing about the token.
    fn error(&self, means: Means, words: String) -> CheckError {
        match means {
            Means::Throttled => {
                let pause = limits::pause(&self.provider.description.limits, &self.document.headers, self.now);
                CheckError::Throttled(self.now.plus(pause))
            }
            Means::Unavailable => CheckError::Unavailable(words.into()),
            // A fault of an app is told once for the app; where none is configured it is the token's own trouble.
            Means::AppFault(fault) if self.papers.app.is_some() => CheckError::App(fault, words.into()),
            Means::Foreign => CheckError::ForeignToken(words.into()),
            Means::Unknown if self.document.json.is_none() => CheckError::Garbled(words.into()),
            _ => CheckError::Refused(words.into()),
        }
    }

    /// The facts of a token that works.
    fn facts(&self, wanted: &settings::description::Facts, rehearsal: &mut Rehearsal) -> Inspection {
        let facts = facts::Facts { document: &self.document, now: self.now, papers: self.papers };
        let facts = facts.read(wanted, rehearsal);
        let kind = facts.kind.unwrap_or_else(|| self.provider.kind());
        Inspection { kind, ..facts.inspection }
    }

    fn clean(&self, text: &str) -> String {
        redact(text, &self.papers.secrets())
    }
}

impl From<LoginFailed> for CheckError {
    fn from(failed: LoginFailed) -> Self {
        match failed {
            LoginFailed::Error(error) => error,
            LoginFailed::Verdict(verdict) => {
                Self::Refused(verdict.message.unwrap_or_else(|| "the login was refused".into()))
            }
        }
    }
}
