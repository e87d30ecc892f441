//! One token: what was seen of it, line by line. The rules that judge it are the core's own, so that the guide and the daemon never differ.

use std::path::Path;
use std::sync::Arc;

use super::guide::{Bad, Found, Step, Wrong};
use super::remedy::{self, Case, Look};
use super::walk::Wishes;
use super::{message, phone};
use crate::advice::number::{evidence, in_words};
use crate::advice::{self, pages, plain};
use crate::domain::finding::{Detail, Finding, Reason, Severity};
use crate::domain::inspection::{
    Basis, CheckError, CheckOutcome, Expiry, Inspection, TokenKind, Unreachable, Validity,
};
use crate::domain::number::{Beside, Number, NumberError, Subscription};
use crate::domain::status::TokenStatus;
use crate::domain::step::{self, Observation, step};
use crate::domain::time::{Span, Timestamp, relative};
use crate::domain::token::{Required, TokenSpec};
use crate::hygiene::{self, Exposed};
use crate::ports::{Listed, Message, Parameters, Sent, Telemetry, Unsent};
use crate::provider::meta::family;
use crate::secret::{FingerprintKey, Secret};
use crate::settings::{App, Settings, Token};

/// The secrets of one token.
pub(super) struct Held<'a> {
    /// The token.
    pub token: &'a Token,
    /// Its app.
    pub app: Option<&'a App>,
    /// Its secret, or why it cannot be read.
    pub secret: Result<Secret, String>,
    /// The app's, where it has one.
    pub app_secret: Option<Result<Secret, String>>,
    /// What else its provider is asked with.
    pub parameters: Parameters,
}

/// What the provider said about one token.
pub(super) struct Asked {
    /// To its app, or, without one, to the token itself.
    pub answer: Result<Inspection, CheckError>,
    /// To the token itself, where its app could not ask.
    pub own: Option<Result<Inspection, CheckError>>,
    /// About the number.
    pub beside: Beside,
    /// The numbers of the account, where the configured one is not there.
    pub listed: Option<Vec<Listed>>,
    /// What became of a test message.
    pub message: Option<Result<Sent, Unsent>>,
    /// What the exchanges showed beside.
    pub telemetry: Telemetry,
}

impl Asked {
    /// The answer that says something about the token.
    pub(super) fn verdict(&self) -> &Result<Inspection, CheckError> {
        self.own.as_ref().unwrap_or(&self.answer)
    }

    /// The facts, where there are any.
    pub(super) fn facts(&self) -> Option<&Inspection> {
        self.verdict().as_ref().ok()
    }

    /// Whether the token works, as far as anybody could tell.
    pub(super) fn works(&self) -> bool {
        self.facts().is_some_and(|facts| facts.validity == Validity::Valid)
    }

    /// The number, where it is known.
    pub(super) fn number(&self) -> Option<&Number> {
        self.beside.number.as_ref()?.as_ref().ok()
    }
}

/// What was looked at on this machine.
pub(super) struct Sight<'a> {
    /// The file of the secret, where it stands in one.
    pub file: Option<(&'a Path, &'a Look)>,
    /// Who shows the secret to everybody.
    pub exposed: Vec<&'a Exposed>,
    /// What could not be looked at for that.
    pub unseen: &'a [String],
    /// What came of asking the application.
    pub application: Application,
}

/// What came of asking the application.
pub(super) enum Application {
    /// Nobody said how.
    NotConfigured,
    /// It was not to be asked: why.
    NotAsked(String),
    /// It was: what was seen.
    Asked(Result<String, String>),
}

/// All that is known of one token.
pub(super) struct Scene<'a> {
    /// How remedies are worded.
    pub case: &'a Case<'a>,
    /// Its secrets.
    pub held: &'a Held<'a>,
    /// What the provider said; none where the secret cannot be read.
    pub asked: Option<&'a Asked>,
    /// What was looked at here.
    pub sight: Sight<'a>,
    /// What was asked for.
    pub wishes: &'a Wishes,
    /// The configuration.
    pub settings: &'a Settings,
    /// The time.
    pub now: Timestamp,
}

impl Scene<'_> {
    /// The lines, in any order.
    pub(super) fn lines(&self) -> Vec<(Step, Found)> {
        let mut lines = vec![(Step::Secret, self.secret())];
        let replace = self.case.replace();
        lines.extend(self.sight.file.map(|(path, look)| (Step::File, remedy::file(path, look, &replace))));
        if self.held.secret.is_ok() && self.held.token.secret.is_somewhere() {
            lines.push((Step::Exposure, self.exposure()));
        }
        lines.push((Step::Application, self.application()));
        let Some(asked) = self.asked else {
            let why = "its secret cannot be read";
            lines.push((Step::Token, Found::NotTried(why.to_owned())));
            if self.held.token.whatsapp.is_some() {
                lines.push((Step::Number, Found::NotTried(why.to_owned())));
            }
            lines.extend(self.message(None).map(|found| (Step::Message, found)));
            return lines;
        };
        let judged = self.judged(asked);
        lines.push((Step::Token, self.token(asked, &judged)));
        // As the daemon would know it, if it never saw the token before: with the date that somebody typed, where nobody else told one.
        if let Some(facts) = judged.status.current_facts() {
            if facts.validity == Validity::Valid && (self.case.is_of_meta() || facts.kind != TokenKind::Unknown) {
                lines.push((Step::Kind, self.kind(facts)));
            }
            lines.extend(self.about_facts(facts, &judged));
        }
        if self.held.token.whatsapp.is_some() {
            lines.extend(self.about_whatsapp(asked, &judged));
        } else if !self.case.is_of_meta() {
            lines.extend(self.sender(asked, &judged).map(|found| (Step::Health, found)));
        }
        lines.extend(self.message(Some(asked)).map(|found| (Step::Message, found)));
        lines
    }

    fn secret(&self) -> Found {
        match &self.held.secret {
            Ok(_) if !self.held.token.secret.is_somewhere() => {
                Found::NotTried("there is none: what is watched is no secret, or its date alone".to_owned())
            }
            Ok(_) => Found::Right(format!("read from {}", plain(&self.held.token.secret.to_string()))),
            Err(problem) => Found::Wrong(self.case.unreadable(problem)),
        }
    }

    fn exposure(&self) -> Found {
        let too_short = self.held.secret.as_ref().is_ok_and(|secret| !hygiene::is_searched_for(secret));
        match (self.sight.exposed.as_slice(), self.sight.unseen) {
            ([], _) if too_short => Found::NotTried("it is too short to be searched for".to_owned()),
            ([], [_, ..]) => Found::NotTried(format!("cannot be looked at: {}", plain(&self.sight.unseen.join("; ")))),
            (by, _) => remedy::exposed(by, &self.case.replace()),
        }
    }

    fn application(&self) -> Found {
        match &self.sight.application {
            Application::NotConfigured => Found::NotTried(self.case.commands.no_probe()),
            Application::NotAsked(why) => Found::NotTried(plain(why)),
            Application::Asked(Ok(saw)) => Found::Right(plain(saw)),
            Application::Asked(Err(saw)) => Found::Wrong(self.case.application(saw)),
        }
    }

    /// What the daemon would decide on this answer, without waiting for a second one.
    fn judged(&self, asked: &Asked) -> step::Step {
        let spec = &self.held.token.spec;
        let mut required = Required::clone(&spec.required);
        if required.scopes.is_empty() && self.held.token.whatsapp.is_some() {
            // What sending needs, and what these very questions need (reference §10).
            required.scopes = NEEDED.map(Box::from).to_vec();
        }
        let spec = TokenSpec { policy: Arc::new(spec.policy.at_once()), required: Arc::new(required), ..spec.clone() };
        let fingerprint = self.held.secret.as_ref().ok().map(|secret| FingerprintKey::new([0; 32]).fingerprint(secret));
        let (answer, beside) = (asked.verdict().clone(), Some(Box::new(asked.beside.clone())));
        let outcome = CheckOutcome { fingerprint, answer, beside };
        step(&spec, TokenStatus::new(self.now), Observation::Checked(outcome), self.now)
    }

    /// What is wrong by that finding, with the steps that a mail about it has.
    fn wrong(&self, judged: &step::Step, finding: &Finding, saw: String, next: String) -> Wrong {
        let bad = match (finding.reason, finding.severity) {
            (Reason::AppFault | Reason::SourceUnreadable | Reason::Blind, _) => Bad::Unknown,
            (_, Severity::Critical) => Bad::Critical,
            (_, Severity::Warning | Severity::Info) => Bad::Warning,
        };
        let notice = judged.notices.iter().find(|notice| notice.reason == finding.reason);
        let remedy = notice.map_or_else(
            || vec![advice::reason_in_words(finding.reason).to_owned()],
            |notice| remedy::by_notice(notice, &self.case.links),
        );
        Wrong { bad, saw, remedy, next }
    }

    fn token(&self, asked: &Asked, judged: &step::Step) -> Found {
        let find = |reason| judged.judgement.find(reason);
        let dead = [Reason::Revoked, Reason::Unreadable, Reason::Expired, Reason::AppFault].into_iter().find_map(find);
        if let Some(finding) = dead {
            return Found::Wrong(self.dead(asked, judged, finding));
        }
        match asked.verdict() {
            Ok(facts) => {
                let by = if asked.own.is_some() { " (asked with the token itself; its app cannot ask)" } else { "" };
                let kind = match facts.kind {
                    TokenKind::Unknown => String::new(),
                    ref kind => format!(": {}", plain(advice::kind_in_words(kind))),
                };
                Found::Right(format!("it works{kind}{by}"))
            }
            Err(CheckError::App(fault, _)) => {
                Found::NotTried(format!("{} refuses all questions: the app {}", self.case.provider(), fault.in_words()))
            }
            Err(error) => Found::Wrong(self.unanswered(error)),
        }
    }

    fn dead(&self, asked: &Asked, judged: &step::Step, finding: &Finding) -> Wrong {
        let theirs = asked.facts().and_then(|facts| facts.message.as_deref()).map(plain).unwrap_or_default();
        let theirs = if theirs.is_empty() { String::new() } else { format!(" (\"{theirs}\")") };
        let saw = match &finding.detail {
            Detail::Cause(cause) if !self.case.is_of_meta() => format!("revoked: {}{theirs}", cause.in_words()),
            Detail::Cause(cause) => format!("revoked: {}", cause.in_words()),
            Detail::Text(text) if finding.reason == Reason::AppFault => {
                if text.is_empty() {
                    "it belongs to another app".to_owned()
                } else {
                    format!("it is not of the configured app: {}", plain(text))
                }
            }
            _ if finding.reason == Reason::Expired => match finding.deadline {
                Some(at) => {
                    format!("it expired on {} ({})", self.settings.daemon.zone.long(at), relative(at, self.now))
                }
                None => format!("it has expired{theirs}"),
            },
            _ => format!("{} cannot read it{theirs}", self.case.provider()),
        };
        // Where nobody could ask, the steps may not claim a token to be replaced.
        let next = if finding.reason == Reason::AppFault {
            self.case.commands.doctor(self.case.name)
        } else {
            self.case.replace()
        };
        let mut wrong = self.wrong(judged, finding, saw, next);
        if finding.reason == Reason::Unreadable
            && self.case.is_of_meta()
            && let Some(family) = self.held.secret.as_ref().ok().and_then(family)
        {
            wrong.saw = format!("{}: it begins like {family}", wrong.saw);
            let step = format!(
                "This is {family}, and does not belong here: put the token of a system user of the Meta app there: {}.",
                pages::system_users(&self.case.links)
            );
            wrong.remedy.insert(0, step);
        }
        wrong
    }

    /// No answer that says anything about the token.
    fn unanswered(&self, error: &CheckError) -> Wrong {
        let provider = self.case.provider();
        let name = &self.case.token.spec.provider;
        let host = self.settings.host_of(name).unwrap_or(provider);
        let step = match error {
            CheckError::Unreachable(Unreachable::Tls, _) => format!(
                "Where it speaks no TLS, the port is the wrong one, or something answers in its place. Where the certificate of {host} is not trusted: is there a proxy that breaks TLS open? Name its authority in [provider.{name}] ca_file."
            ),
            CheckError::Unreachable(..) => {
                format!(
                    "See whether this host reaches {host}: name service, firewall, proxy (HTTPS_PROXY), default route."
                )
            }
            CheckError::Throttled(until) => format!(
                "{provider} asks to stay away until {}: wait, for every call lengthens the pause, and look who uses up the budget{}.",
                self.settings.daemon.zone.long(*until),
                if self.case.is_of_meta() {
                    format!(" of the app: {}", pages::app(&self.case.links, "dashboard/"))
                } else {
                    String::new()
                }
            ),
            CheckError::Unavailable(_) if !self.case.is_of_meta() => {
                format!("{provider} is in trouble: wait. Nothing is known to be wrong with the token.")
            }
            CheckError::Unavailable(_) => format!(
                "Meta is in trouble: wait, and see {}. Nothing is known to be wrong with the token.",
                pages::STATUS
            ),
            CheckError::Garbled(_) => format!(
                "Something between here and {host} answers in its place, such as a proxy or a login page; or [provider.{name}] base_url is wrong."
            ),
            CheckError::App(..) | CheckError::ForeignToken(_) | CheckError::Refused(_) | CheckError::Source(_)
                if !self.case.is_of_meta() =>
            {
                format!(
                    "Read the words of {provider} above; `tokenwatch check --provider-debug {}` shows the whole question and its answer.",
                    self.case.name
                )
            }
            CheckError::App(..) | CheckError::ForeignToken(_) | CheckError::Refused(_) | CheckError::Source(_) => {
                format!("Read Meta's words above; see the app: {}.", pages::app(&self.case.links, "dashboard/"))
            }
        };
        Wrong {
            bad: Bad::Unknown,
            saw: format!("no answer about it: {}", plain(&error.to_string())),
            remedy: vec![step],
            next: match error {
                // Every call lengthens the pause.
                CheckError::Throttled(until) => {
                    let wait = until.since(self.now).max(Span::ZERO).as_seconds();
                    format!("sleep {wait} && {}", self.case.commands.doctor(self.case.name))
                }
                _ => self.case.commands.doctor(self.case.name),
            },
        }
    }

    /// A token of the dashboard dies within a day, and is told by its kind and lifetime (reference §3.1).
    fn kind(&self, facts: &Inspection) -> Found {
        let left = facts.expires.date().map(|at| at.since(self.now));
        if let Some(left) = left.filter(|left| self.case.is_of_meta() && facts.was_short_lived() && *left < A_DAY) {
            return Found::Wrong(Wrong {
                bad: Bad::Warning,
                saw: format!(
                    "a short-lived user token that ends in {left}, as the \"API Setup\" page gives it: not for production"
                ),
                remedy: vec![
                    format!(
                        "Generate a token for a system user, which lives 60 days or longer: {}.",
                        pages::system_users(&self.case.links)
                    ),
                    format!("Put it in place of this one ({}).", plain(&self.held.token.secret.to_string())),
                ],
                next: self.case.replace(),
            });
        }
        match (&facts.kind, &self.held.token.whatsapp) {
            (TokenKind::Unknown, _) => Found::NotTried("Meta tells the kind of a token only to its app".to_owned()),
            (TokenKind::User, Some(_)) => Found::Right(
                "a person's login: it dies with that person's password; a system user's token would not".to_owned(),
            ),
            (kind, _) => Found::Right(plain(advice::kind_in_words(kind))),
        }
    }

    fn about_facts(&self, facts: &Inspection, judged: &step::Step) -> Vec<(Step, Found)> {
        let mut lines = Vec::new();
        if facts.validity != Validity::Valid {
            lines.push((Step::Deadline, Found::NotTried("the token does not work any more".to_owned())));
            return lines;
        }
        lines.push((Step::Deadline, self.deadline(facts, judged)));
        if self.case.is_of_meta() || facts.data_access != Expiry::Unknown {
            lines.push((Step::DataAccess, self.data_access(facts, judged)));
        }
        lines.push((Step::Scopes, self.scopes(facts, judged)));
        lines
    }

    fn deadline(&self, facts: &Inspection, judged: &step::Step) -> Found {
        let long = |at| format!("{} ({})", self.settings.daemon.zone.long(at), relative(at, self.now));
        if judged.judgement.find(Reason::Expired).is_some() {
            return Found::NotTried("its end has passed".to_owned());
        }
        match (facts.expires, judged.judgement.find(Reason::Expiring)) {
            (Expiry::At(at), Some(finding)) => {
                Found::Wrong(self.wrong(judged, finding, format!("it ends on {}", long(at)), self.case.renew()))
            }
            (Expiry::At(at), None) if facts.basis != Basis::Told => {
                Found::Right(format!("it ends on {}: {}", long(at), facts.basis.in_words()))
            }
            (Expiry::At(at), None) => Found::Right(format!("it ends on {}", long(at))),
            (Expiry::Never, _) => Found::Right(format!("it never ends, says {}", self.case.provider())),
            (Expiry::Unknown, _) if !self.case.is_of_meta() => Found::NotTried(format!(
                "{} did not tell when it ends; where you know, write expires = … into the configuration",
                self.case.provider()
            )),
            (Expiry::Unknown, _) if self.held.app.is_none_or(|app| app.secret.is_none()) => Found::NotTried(
                "Meta tells the end of a token only to its app: give the app's id and secret".to_owned(),
            ),
            (Expiry::Unknown, _) => Found::NotTried("Meta did not tell when it ends".to_owned()),
        }
    }

    fn data_access(&self, facts: &Inspection, judged: &step::Step) -> Found {
        let long = |at| format!("{} ({})", self.settings.daemon.zone.long(at), relative(at, self.now));
        let find = |reason| judged.judgement.find(reason);
        let again = self.case.commands.doctor(self.case.name);
        match (facts.data_access, find(Reason::DataAccessExpired).or_else(|| find(Reason::DataAccessExpiring))) {
            (Expiry::At(at), Some(finding)) => {
                let verb = if at <= self.now { "ended" } else { "ends" };
                Found::Wrong(self.wrong(judged, finding, format!("it {verb} on {}", long(at)), again))
            }
            (Expiry::At(at), None) => Found::Right(format!("until {}", long(at))),
            (Expiry::Never, _) => Found::Right("no end".to_owned()),
            (Expiry::Unknown, _) => Found::NotTried("Meta did not tell".to_owned()),
        }
    }

    fn scopes(&self, facts: &Inspection, judged: &step::Step) -> Found {
        let missing = judged.judgement.find(Reason::ScopeMissing);
        if facts.grants.is_none() && missing.is_none() && !self.case.is_of_meta() {
            return Found::NotTried(format!("{} does not tell what it may do", self.case.provider()));
        }
        if let (None, Some(finding), Detail::Missing(lacks)) =
            (&facts.grants, missing, missing.map_or(&Detail::None, |it| &it.detail))
        {
            let saw = format!("it lacks: {}", plain(&lacks.join(", ")));
            return Found::Wrong(self.wrong(judged, finding, saw, self.case.replace()));
        }
        let Some(grants) = &facts.grants else {
            return Found::NotTried("Meta tells the permissions of a token only to its app".to_owned());
        };
        if let Some(finding) = judged.judgement.find(Reason::ScopeMissing) {
            let Detail::Missing(missing) = &finding.detail else {
                return Found::NotTried("nothing is known".to_owned());
            };
            let saw = format!("not granted: {}", plain(&missing.join(", ")));
            return Found::Wrong(self.wrong(judged, finding, saw, self.case.replace()));
        }
        let granted: Vec<&str> = grants.iter().map(|grant| &*grant.scope).collect();
        let required = self.held.token.spec.required.scopes.len();
        let whatsapp = self.held.token.whatsapp.is_some();
        Found::Right(match (required, whatsapp) {
            (0, false) => format!("none is required; granted: {}", plain(&granted.join(", "))),
            (0, true) => "what WhatsApp needs is granted".to_owned(),
            (1, _) => "the one that is required is granted".to_owned(),
            (n, _) => format!("all {n} that are required are granted"),
        })
    }

    /// The sender behind a token of a provider between us and Meta.
    fn sender(&self, asked: &Asked, judged: &step::Step) -> Option<Found> {
        let find = |reason| judged.judgement.find(reason);
        let finding = find(Reason::NumberBlocked).or_else(|| find(Reason::NumberLimited));
        let again = self.case.commands.doctor(self.case.name);
        Some(match (asked.beside.number.as_ref()?, finding) {
            (Ok(_), Some(finding)) => {
                let saw = match &finding.detail {
                    Detail::Obstacles(obstacles) => {
                        evidence(obstacles).into_iter().map(|(_, words)| words).collect::<Vec<_>>().join("; ")
                    }
                    _ => "it cannot send".to_owned(),
                };
                Found::Wrong(self.wrong(judged, finding, plain(&saw), again))
            }
            (Ok(number), None) if number.can_send().is_some() => Found::Right("the sender can send".to_owned()),
            (Ok(_), None) => Found::NotTried(format!("{} did not tell whether it can send", self.case.provider())),
            (Err(why), _) => Found::NotTried(plain(&why.to_string())),
        })
    }

    fn about_whatsapp(&self, asked: &Asked, judged: &step::Step) -> Vec<(Step, Found)> {
        let mut lines = Vec::new();
        lines.extend(self.typed_number(asked).map(|found| (Step::Phone, found)));
        if !asked.works() {
            lines.push((
                Step::Number,
                Found::NotTried("the token itself does not work, or could not be asked".to_owned()),
            ));
            return lines;
        }
        lines.push((Step::Account, self.account(asked, judged)));
        lines.push((Step::Number, self.number(asked, judged)));
        lines.extend(self.health(asked, judged).map(|found| (Step::Health, found)));
        lines.push((Step::Webhooks, self.webhooks(asked)));
        lines
    }

    /// The number in the configuration, and whether it is the one behind the id.
    fn typed_number(&self, asked: &Asked) -> Option<Found> {
        let typed = self.held.token.whatsapp.as_ref()?.phone_number.as_deref()?;
        let wrong = |saw: String| {
            Found::Wrong(Wrong {
                bad: Bad::Warning,
                saw,
                remedy: vec!["Correct whatsapp.phone_number, or the id beside it.".to_owned()],
                next: self.case.commands.doctor(self.case.name),
            })
        };
        let display = asked.number().and_then(|number| number.display.as_deref());
        let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
        let phone = match phone::parse(typed) {
            Ok(phone) => phone,
            Err(why) => return Some(wrong(why)),
        };
        Some(match display {
            Some(display) if digits(display) != digits(&phone.e164) => {
                wrong(format!("{} is configured, and the id is that of {}", phone.e164, plain(display)))
            }
            Some(_) => Found::Right(format!("{} is the number behind the id", phone.e164)),
            None => Found::Right(format!("{} is in E.164 form", phone.e164)),
        })
    }

    fn account(&self, asked: &Asked, judged: &step::Step) -> Found {
        let configured = self.case.links.whatsapp.and_then(|whatsapp| whatsapp.business_account_id.as_deref());
        let known = asked.number().and_then(|number| number.account.as_deref());
        let missing =
            asked.facts().map(|facts| crate::domain::verdict::missing_targets(&self.held.token.spec.required, facts));
        let Some(account) = configured else {
            return Found::NotTried(match known {
                Some(account) => format!(
                    "none is configured; the number belongs to {}: whatsapp.business_account_id",
                    plain(account)
                ),
                None => "no whatsapp.business_account_id is configured".to_owned(),
            });
        };
        if missing.is_some_and(|missing| !missing.is_empty())
            && let Some(finding) = judged.judgement.find(Reason::TargetMissing)
        {
            let saw = format!("the token does not cover {}", plain(account));
            return Found::Wrong(self.wrong(judged, finding, saw, self.case.replace()));
        }
        if let Some(Err(error @ (NumberError::Missing(_) | NumberError::Forbidden(_)))) = &asked.beside.subscription
            && judged.judgement.find(Reason::ScopeMissing).is_none()
        {
            return Found::Wrong(Wrong {
                bad: Bad::Warning,
                saw: match error {
                    NumberError::Missing(_) => format!("no account {}, or this token may not see it", plain(account)),
                    _ => format!("{}: {}", plain(account), plain(&error.to_string())),
                },
                remedy: vec![format!(
                    "Compare the id with {}; if it is right, assign the account to the token's user: {}.",
                    pages::whatsapp_accounts(&self.case.links),
                    pages::system_users(&self.case.links)
                )],
                next: self.case.commands.doctor(self.case.name),
            });
        }
        match known.filter(|known| *known != account) {
            Some(other) => Found::Wrong(Wrong {
                bad: Bad::Warning,
                saw: format!("{} is configured, and the number belongs to {}", plain(account), plain(other)),
                remedy: vec![format!(
                    "Compare both ids with {}; put the right ones into whatsapp.business_account_id and whatsapp.phone_number_id.",
                    pages::whatsapp_accounts(&self.case.links)
                )],
                next: self.case.commands.doctor(self.case.name),
            }),
            None if asked.facts().is_some_and(|facts| facts.grants.is_none()) => {
                Found::NotTried("Meta tells what a token covers only to its app".to_owned())
            }
            None => Found::Right(format!("{} is covered", plain(account))),
        }
    }

    fn number(&self, asked: &Asked, judged: &step::Step) -> Found {
        let Some(id) = self.case.links.whatsapp.and_then(|whatsapp| whatsapp.phone_number_id.as_deref()) else {
            return Found::NotTried("no whatsapp.phone_number_id is configured".to_owned());
        };
        let again = self.case.commands.doctor(self.case.name);
        match &asked.beside.number {
            None => Found::NotTried("it was not asked".to_owned()),
            Some(Ok(number)) => self.known_number(number),
            Some(Err(NumberError::Missing(text))) => {
                let others = others(asked);
                // Of Meta's words only those are of use that say what the id is instead.
                let instead = if text.starts_with("it is ") { format!(": {}", plain(text)) } else { String::new() };
                let saw = format!("Meta shows no number {} to this token{instead}{others}", plain(id));
                let mut remedy = vec![format!(
                    "Is the id right? It is the phone number's id, not the number itself: compare with {}.",
                    pages::phone_numbers(&self.case.links)
                )];
                remedy.push(format!(
                    "If it is, assign its account to the token's user: {}, \"Assign assets\", \"WhatsApp accounts\".",
                    pages::system_users(&self.case.links)
                ));
                // As the daemon has it: a required object that is not covered.
                Found::Wrong(Wrong { bad: Bad::Warning, saw, remedy, next: again })
            }
            Some(Err(NumberError::Forbidden(text))) => match judged.judgement.find(Reason::ScopeMissing) {
                Some(_) => Found::NotTried("the token lacks a permission for this question, see above".to_owned()),
                None => Found::Wrong(Wrong {
                    bad: Bad::Warning,
                    saw: format!("the token may not ask: {}", plain(text)),
                    remedy: vec![format!(
                        "Assign the account to the token's user: {}, \"Assign assets\", \"WhatsApp accounts\"; it needs whatsapp_business_management.",
                        pages::system_users(&self.case.links)
                    )],
                    next: again,
                }),
            },
            Some(Err(NumberError::Token(text))) => Found::Wrong(Wrong {
                bad: Bad::Critical,
                saw: format!("WhatsApp refuses the token: {}", plain(text)),
                remedy: vec![self.case.new_token()],
                next: self.case.replace(),
            }),
            Some(Err(NumberError::Unanswered(CheckError::App(fault, _)))) => {
                Found::NotTried(format!("Meta refuses all questions: the app {}", fault.in_words()))
            }
            Some(Err(NumberError::Unanswered(error))) => Found::Wrong(self.unanswered(error)),
        }
    }

    fn known_number(&self, number: &Number) -> Found {
        let mut saw = in_words(number);
        if number.mode.as_deref() == Some("SANDBOX") {
            saw.push_str(" (a test number: it reaches only the recipients on its list)");
        }
        let warning = |step: String| {
            Found::Wrong(Wrong {
                bad: Bad::Warning,
                saw: saw.clone(),
                remedy: vec![step],
                next: self.case.commands.doctor(self.case.name),
            })
        };
        let page = pages::phone_numbers(&self.case.links);
        match (number.status.as_deref(), number.quality.as_deref()) {
            (Some(status), _) if status != "CONNECTED" => warning(format!(
                "Only a number whose status is CONNECTED can send: register it, or see what Meta wants: {page}."
            )),
            (_, Some("RED")) => warning(format!(
                "Its quality is low: people block or report its messages, and Meta limits it next. See which templates: {page}."
            )),
            _ => Found::Right(saw),
        }
    }

    fn health(&self, asked: &Asked, judged: &step::Step) -> Option<Found> {
        let number = asked.number()?;
        let find = |reason| judged.judgement.find(reason);
        let Some(finding) = find(Reason::NumberBlocked).or_else(|| find(Reason::NumberLimited)) else {
            return Some(match number.can_send() {
                Some(_) => Found::Right("number, account, business and app can send".to_owned()),
                None => Found::NotTried("Meta did not tell".to_owned()),
            });
        };
        let obstacles = number.in_the_way();
        let saw = evidence(&obstacles).into_iter().map(|(_, words)| words).collect::<Vec<_>>().join("; ");
        let next = self.case.commands.doctor(self.case.name);
        Some(Found::Wrong(self.wrong(judged, finding, saw, next)))
    }

    fn webhooks(&self, asked: &Asked) -> Found {
        let wanted = self.held.token.spec.required.webhooks;
        let nobody = match &asked.beside.subscription {
            None if self.case.links.whatsapp.is_some_and(|whatsapp| whatsapp.business_account_id.is_some()) => {
                return Found::NotTried("it was not asked, as WhatsApp did not answer about the number".to_owned());
            }
            None => return Found::NotTried("no whatsapp.business_account_id is configured".to_owned()),
            Some(Err(NumberError::Unanswered(error))) => {
                return Found::NotTried(format!("no answer: {}", plain(&error.to_string())));
            }
            Some(Err(error)) => return Found::NotTried(plain(&error.to_string())),
            Some(Ok(Subscription::Ours)) => {
                return Found::Right("what arrives at the account goes to this app".to_owned());
            }
            Some(Ok(Subscription::Somebody)) => {
                return Found::NotTried(
                    "some app gets what arrives; which one is ours Meta tells only to an app".to_owned(),
                );
            }
            Some(Ok(Subscription::Others)) => "what arrives at the account goes to other apps only",
            Some(Ok(Subscription::Nobody)) => "what arrives at the account goes to nobody",
        };
        match wanted {
            Some(false) => Found::Right(format!("{nobody}, as whatsapp.webhooks says")),
            None => Found::NotTried(format!(
                "{nobody}: right for an application that only sends; if not, set whatsapp.webhooks = true"
            )),
            Some(true) => Found::Wrong(Wrong {
                bad: Bad::Warning,
                saw: nobody.to_owned(),
                remedy: advice::number::subscribe(&self.case.links),
                next: self.case.commands.doctor(self.case.name),
            }),
        }
    }

    fn message(&self, asked: Option<&Asked>) -> Option<Found> {
        let phone = self.wishes.send_to.as_ref()?;
        let from = self.case.links.whatsapp.and_then(|whatsapp| whatsapp.phone_number_id.as_deref());
        let Some(from) = from else {
            return Some(Found::NotTried(
                "nothing was sent: there is no whatsapp.phone_number_id to send from".to_owned(),
            ));
        };
        let Some(came) = asked.and_then(|asked| asked.message.as_ref()) else {
            return Some(Found::NotTried(
                "nothing was sent: the token does not work, or could not be asked".to_owned(),
            ));
        };
        let (template, language) = (self.wishes.template.as_str(), self.wishes.language.as_str());
        Some(message::line(self.case, &Message { from, to: &phone.e164, template, language }, came))
    }
}

/// The numbers that the account does have.
fn others(asked: &Asked) -> String {
    let Some(listed) = asked.listed.as_ref().filter(|listed| !listed.is_empty()) else { return String::new() };
    let names = listed.iter().take(5).map(|number| format!("{} ({})", plain(&number.id), plain(&number.display)));
    format!("; the account has {}", names.collect::<Vec<_>>().join(", "))
}

/// What sending needs, and reading of numbers and accounts (reference §10).
const NEEDED: [&str; 2] = ["whatsapp_business_messaging", "whatsapp_business_management"];
/// The "API Setup" page gives tokens for less than 24 hours (reference §3.1).
const A_DAY: Span = Span::hours(25);
