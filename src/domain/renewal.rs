//! Renewal: whether a token may be renewed, when that is due, how far a run has come, and what became of the tries.
//!
//! Decisions only. What a run does to the world is done by `renewal`, step by step, and each step is in the journal before the next begins.

use std::fmt;
use std::sync::Arc;

use super::cadence;
use super::finding::Reason;
use super::inspection::{CheckError, Expiry, Inspection, TokenKind, Validity};
use super::status::TokenStatus;
use super::time::{Span, Timestamp};
use super::token::{Fingerprint, Lead, TokenId, TokenSpec};
use super::verdict;

/// A calendar that knows when a bell rings next: a cron expression in the configured zone.
#[derive(Clone)]
pub struct Bell {
    text: Arc<str>,
    next: Arc<dyn Fn(Timestamp) -> Option<Timestamp> + Send + Sync>,
}

impl Bell {
    /// A bell of that expression; `next` gives the first ring after a moment, and always the same one.
    pub fn new(text: &str, next: impl Fn(Timestamp) -> Option<Timestamp> + Send + Sync + 'static) -> Self {
        Self { text: text.into(), next: Arc::new(next) }
    }

    /// The first ring after that moment.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        (self.next)(after)
    }

    /// The expression.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Two bells of one expression ring alike.
impl PartialEq for Bell {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bell({})", self.text)
    }
}

/// When a renewal is due.
#[derive(Clone, PartialEq, Debug)]
pub enum When {
    /// So long before the token's end.
    Before(Lead),
    /// At the first ring after the last renewal.
    OnBell(Bell),
}

/// How a token is renewed, as far as the core must know.
#[derive(Clone, PartialEq, Debug)]
pub struct RenewPolicy {
    /// When it is due.
    pub when: When,
    /// The least time between two tries (contract §10.9).
    pub floor: Span,
    /// The watched user token that a page token is read with again.
    pub user_token: Option<TokenId>,
    /// How its provider gives another secret; `None` is Meta, where that depends on the kind of the token.
    pub rotation: Option<Rotation>,
}

/// How a provider other than Meta gives another secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rotation {
    /// What becomes of the old secret once there is a new one.
    pub old: OldSecret,
    /// Whether it is asked for with a refresh token (RFC 6749, section 6), so that even a token that has ended can be renewed.
    pub by_refresh_token: bool,
    /// Whether the same request may be sent again where its answer was lost and nobody can tell what became of it.
    pub replayable: bool,
    /// How old a token must be before it is renewed.
    pub youngest: Span,
    /// Whether a token whose end nobody knows is renewed in order to learn it.
    pub teaches: bool,
}

impl Rotation {
    /// How it is called.
    pub const fn method(self) -> Method {
        match self {
            Self { by_refresh_token: true, .. } => Method::RefreshToken,
            Self { old: OldSecret::StaysTheSame, .. } | Self { teaches: true, .. } => Method::Extend,
            Self { .. } => Method::Rotate,
        }
    }
}

/// What becomes of a secret once there is another in its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OldSecret {
    /// It works on, to its own end or until somebody ends it.
    Lives,
    /// It is dead as soon as the provider has answered, so there is no way back to it.
    DiesAtOnce,
    /// There is no other: the same secret works for longer.
    StaysTheSame,
}

/// How a provider gives another token for this one (reference §3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// A user token for a long-lived one: `fb_exchange_token`.
    Exchange,
    /// A system user's token for one of 60 days: the same with `set_token_expires_in_60_days=true`.
    Refresh,
    /// A page token, read again with the user token it comes from.
    Reread,
    /// The provider lets the token live longer; the string may stay the same.
    Extend,
    /// The provider gives another secret.
    Rotate,
    /// The provider gives another token for a refresh token.
    RefreshToken,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 6] =
        [Self::Exchange, Self::Refresh, Self::Reread, Self::Extend, Self::Rotate, Self::RefreshToken];

    /// A stable code.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exchange => "exchange",
            Self::Refresh => "refresh",
            Self::Reread => "reread",
            Self::Extend => "extend",
            Self::Rotate => "rotate",
            Self::RefreshToken => "refresh_token",
        }
    }

    /// The method of that name.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == word)
    }
}

/// Why a token is not renewed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The configuration says nothing about it.
    NotConfigured,
    /// No app with a secret is configured, and an exchange needs both.
    NoApp,
    /// Nothing is known of the secret in the slot yet.
    NotVerified,
    /// It never expires: an exchange could only give it an end.
    NeverExpires,
    /// No deadline is known, so no gain could be proved.
    UnknownExpiry,
    /// It has expired, and what has expired cannot be exchanged.
    Expired,
    /// It was killed, or makes no sense to the provider.
    Dead,
    /// It belongs to another app than the one configured.
    Foreign,
    /// The app is at fault.
    App(Box<str>),
    /// The secret cannot be read.
    Source(Box<str>),
    /// The provider asked to stay away until then.
    Throttled(Timestamp),
    /// Tokens of this kind cannot be renewed.
    Kind(Box<str>),
    /// A page token is read again with its user token, and none is named.
    NoUserToken,
    /// The provider renews no token as young as this one is; from then on it does.
    TooYoung(Timestamp),
    /// A run is under way.
    UnderWay,
    /// The last try was a moment ago.
    TooSoon(Timestamp),
}

/// A fragment that reads well after "not renewed: ".
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConfigured => f.write_str("the token has no [tokens.renew]"),
            Self::NoApp => f.write_str("an exchange needs an app with its secret; name one with `app`"),
            Self::NotVerified => f.write_str("the token in the slot is not verified yet"),
            Self::NeverExpires => f.write_str("it never expires, and an exchange could only give it an end"),
            Self::UnknownExpiry => f.write_str("its deadline is not known, so no gain could be proved"),
            Self::Expired => {
                f.write_str("it has expired, and an expired token cannot be exchanged; a person must fetch a new one")
            }
            Self::Dead => f.write_str("it is not valid any more; a person must fetch a new one"),
            Self::Foreign => f.write_str("it belongs to another app than the one configured"),
            Self::App(text) => write!(f, "the app is at fault: {text}"),
            Self::Source(text) => write!(f, "the secret cannot be read: {text}"),
            Self::Throttled(until) => write!(f, "the provider asked to stay away until {until}"),
            Self::Kind(kind) => write!(f, "a token of the kind {kind} cannot be renewed"),
            Self::NoUserToken => {
                f.write_str("a page token is read again with its user token; name that one with renew.user_token")
            }
            Self::TooYoung(until) => {
                write!(f, "the provider renews no token as young as this one; from {until} on it does")
            }
            Self::UnderWay => f.write_str("a renewal or replacement of it is under way"),
            Self::TooSoon(until) => write!(f, "the last try was a moment ago; the next may begin at {until}"),
        }
    }
}

/// Who wanted a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// It was due.
    Schedule,
    /// Somebody asked for it.
    Asked(Box<str>),
    /// Somebody handed over a new secret.
    Replaced(Box<str>),
}

impl Origin {
    /// Whether a person brought the new secret.
    pub const fn is_replacement(&self) -> bool {
        matches!(self, Self::Replaced(_))
    }
}

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The new secret is in place and proved.
    Renewed,
    /// The provider said yes, and nothing was gained by it.
    WithoutGain,
    /// It was not even tried, or what came was refused by the proof; nothing was touched.
    Refused,
    /// What was put in place was taken back.
    RolledBack,
    /// No new secret could be had; nothing was touched.
    Failed,
}

impl Outcome {
    /// Every outcome, in label order of the metric.
    pub const ALL: [Self; 5] = [Self::Renewed, Self::WithoutGain, Self::Refused, Self::RolledBack, Self::Failed];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Renewed => "renewed",
            Self::WithoutGain => "without_gain",
            Self::Refused => "refused",
            Self::RolledBack => "rolled_back",
            Self::Failed => "failed",
        }
    }

    /// The outcome of that name.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == word)
    }
}

/// A run under way, as the status shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mark {
    /// Its number among the runs of this token, from 1.
    pub number: u32,
    /// Since when.
    pub since: Timestamp,
    /// Who wanted it.
    pub origin: Origin,
    /// Why it cannot come to its end at present; it goes on trying.
    pub stuck: Option<Box<str>>,
}

/// A run that ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ended {
    /// When.
    pub at: Timestamp,
    /// How.
    pub outcome: Outcome,
    /// What was done and why it ended so; redacted, reads well on its own.
    pub text: Box<str>,
    /// Who wanted it.
    pub origin: Origin,
    /// The generation that was in the slot when it began.
    pub generation: u32,
}

/// What is known of a token's renewals.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RenewalStatus {
    /// The last number that was given to a run.
    pub count: u32,
    /// The run under way.
    pub run: Option<Mark>,
    /// How the last run ended.
    pub last: Option<Ended>,
    /// Runs in a row that did not renew it.
    pub failures: u32,
    /// Not before then; `None` where nothing was tried in vain.
    pub next_try: Option<Timestamp>,
    /// The last success, of a run or a replacement.
    pub renewed_at: Option<Timestamp>,
    /// When a run gave a secret last, where no person brought another one since.
    pub given_at: Option<Timestamp>,
    /// What ended the secret in the slot, is kept, and waits to be put in place.
    pub kept: Option<Kept>,
}

/// A secret that is kept sealed because it exists nowhere else.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Kept {
    /// When it ends, as the provider said when it gave it.
    pub ends: Option<Timestamp>,
}

/// How far a run has come. What a phase names is done, unless it says that it is being done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Phase {
    /// It is wanted; nothing was done.
    Ordered,
    /// The provider is being asked; after a crash its answer is lost.
    Exchanging,
    /// The new secret is here, sealed.
    Exchanged,
    /// The new secret was inspected and found good.
    Proved,
    /// What stands in the sinks is kept, sealed, and they are being written.
    Publishing,
    /// Every sink holds the new secret.
    Published,
    /// The application was restarted.
    Restarted,
    /// The application works with the new secret. There is no way back from here.
    Confirmed,
    /// It is over, and the old secret is to be revoked.
    Revoking,
    /// The sinks get back what they held, and the application is restarted; the text says why.
    RollingBack(Box<str>),
    /// It was rolled back. The new secret, should it be good, is kept for the next run.
    SetAside,
}

impl Phase {
    /// A stable code.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Ordered => "ordered",
            Self::Exchanging => "exchanging",
            Self::Exchanged => "exchanged",
            Self::Proved => "proved",
            Self::Publishing => "publishing",
            Self::Published => "published",
            Self::Restarted => "restarted",
            Self::Confirmed => "confirmed",
            Self::Revoking => "revoking",
            Self::RollingBack(_) => "rolling_back",
            Self::SetAside => "set_aside",
        }
    }

    /// The phase of that name.
    pub fn parse(word: &str, why: Option<Box<str>>) -> Option<Self> {
        Some(match word {
            "ordered" => Self::Ordered,
            "exchanging" => Self::Exchanging,
            "exchanged" => Self::Exchanged,
            "proved" => Self::Proved,
            "publishing" => Self::Publishing,
            "published" => Self::Published,
            "restarted" => Self::Restarted,
            "confirmed" => Self::Confirmed,
            "revoking" => Self::Revoking,
            "rolling_back" => Self::RollingBack(why.unwrap_or_default()),
            "set_aside" => Self::SetAside,
            _ => return None,
        })
    }
}

/// A run, as the journal keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// Of which token.
    pub token: TokenId,
    /// Its number among the runs of this token.
    pub number: u32,
    /// Who wanted it.
    pub origin: Origin,
    /// The generation that was in the slot when it began.
    pub generation: u32,
    /// When it began.
    pub began_at: Timestamp,
    /// What was known of the old secret.
    pub old: Option<Inspection>,
    /// What was proved of the new one.
    pub proved: Option<Inspection>,
    /// When the new secret ends, as the provider said when it gave it.
    pub given_end: Option<Timestamp>,
    /// Whether what it was given, or what was kept for it, ended what it was given for, so that it exists nowhere else.
    pub only_copy: bool,
    /// What speaks against the run, but not hard, does not count: whoever wanted it said so.
    pub anyway: bool,
    /// How many sinks were tried: written, or perhaps written. A roll-back leaves the others alone.
    pub tried: u32,
    /// Whether all of them were written, so that the application may have been restarted.
    pub published: bool,
    /// The sinks whose contents are kept, in the order in which they are written.
    pub sinks: Vec<Box<str>>,
    /// How far it has come.
    pub phase: Phase,
}

impl RenewalStatus {
    /// Nothing is remembered from a clock that ran ahead, and no try is put off by it.
    pub(super) fn draw_back(&mut self, now: Timestamp) {
        if let Some(run) = &mut self.run {
            run.since = run.since.min(now);
        }
        if let Some(last) = self.last.as_mut().filter(|last| last.at > now) {
            self.next_try = self.next_try.map(|at| now.plus(at.since(last.at)));
            last.at = now;
        }
        self.renewed_at = self.renewed_at.map(|at| at.min(now));
        self.given_at = self.given_at.map(|at| at.min(now));
    }
}

/// What a run brought, told by those who carried it out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// Which run.
    pub number: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// What was done and why it ended so; redacted.
    pub text: Box<str>,
    /// The secret now in place and what was proved of it, after a success.
    pub proved: Option<(Fingerprint, Inspection)>,
    /// Why the provider gave nothing, where that says something about the app.
    pub error: Option<CheckError>,
    /// What ended the old secret and is kept for the next run.
    pub kept: Option<Kept>,
}

/// Whether the token may be renewed now, and how. The first reason against it wins.
///
/// # Errors
/// Why not.
pub fn may_renew(spec: &TokenSpec, status: &TokenStatus, now: Timestamp) -> Result<Method, Refusal> {
    let policy = spec.renew.as_deref().ok_or(Refusal::NotConfigured)?;
    if status.renewal.run.is_some() {
        return Err(Refusal::UnderWay);
    }
    if spec.app.is_none() && policy.rotation.is_none() {
        return Err(Refusal::NoApp);
    }
    if let Some(text) = &status.source_fault {
        return Err(Refusal::Source(text.clone()));
    }
    if status.foreign.is_some() {
        return Err(Refusal::Foreign);
    }
    match &status.last_error {
        Some(error @ CheckError::App(..)) => return Err(Refusal::App(error.to_string().into())),
        Some(CheckError::Throttled(until)) if *until > now => return Err(Refusal::Throttled(*until)),
        _ => {}
    }
    let facts = status.current_facts().ok_or(Refusal::NotVerified)?;
    let method = method_of(&facts.kind, policy)?;
    match can_be_asked_for(facts, method, policy, now) {
        // There is another one already, which only has to be put in place.
        Err(Refusal::Expired | Refusal::Dead) if status.renewal.kept.is_some() => {}
        asked => asked?,
    }
    if let Some(until) = old_enough(policy, status, facts).filter(|until| *until > now) {
        return Err(Refusal::TooYoung(until));
    }
    match not_before(spec, status).filter(|until| *until > now) {
        Some(until) => Err(Refusal::TooSoon(until)),
        None => Ok(method),
    }
}

/// How this token is renewed, as the provider describes it now: the last look before it is exchanged.
///
/// # Errors
/// Why it is not.
pub fn method(spec: &TokenSpec, seen: &Inspection, now: Timestamp) -> Result<Method, Refusal> {
    let policy = spec.renew.as_deref().ok_or(Refusal::NotConfigured)?;
    let method = method_of(&seen.kind, policy)?;
    can_be_asked_for(seen, method, policy, now)?;
    Ok(method)
}

fn method_of(kind: &TokenKind, policy: &RenewPolicy) -> Result<Method, Refusal> {
    if let Some(rotation) = policy.rotation {
        return Ok(rotation.method());
    }
    match kind {
        TokenKind::User => Ok(Method::Exchange),
        TokenKind::SystemUser => Ok(Method::Refresh),
        TokenKind::Page if policy.user_token.is_some() => Ok(Method::Reread),
        TokenKind::Page => Err(Refusal::NoUserToken),
        TokenKind::App | TokenKind::Other(_) | TokenKind::Unknown => Err(Refusal::Kind(kind.as_str().into())),
    }
}

/// Whether the provider can give another one for this token, as it is.
fn can_be_asked_for(facts: &Inspection, method: Method, policy: &RenewPolicy, now: Timestamp) -> Result<(), Refusal> {
    match method {
        // A page token that was killed lives again when its user token does, and an access token when its refresh token does.
        Method::Reread | Method::RefreshToken => return Ok(()),
        Method::Exchange | Method::Refresh | Method::Extend | Method::Rotate => {}
    }
    let rotates = method == Method::Rotate && matches!(policy.when, When::OnBell(_));
    let teaches = policy.rotation.is_some_and(|rotation| rotation.teaches);
    match (facts.validity, facts.expires) {
        (Validity::Expired, _) => Err(Refusal::Expired),
        (Validity::Revoked(_) | Validity::Unreadable, _) => Err(Refusal::Dead),
        (Validity::Valid, Expiry::At(at)) if at <= now => Err(Refusal::Expired),
        // Who names the days on which a secret is rotated wants another one, whatever its end.
        (Validity::Valid, Expiry::Never | Expiry::Unknown) if rotates => Ok(()),
        (Validity::Valid, Expiry::Never) => Err(Refusal::NeverExpires),
        (Validity::Valid, Expiry::Unknown) if teaches => Ok(()),
        (Validity::Valid, Expiry::Unknown) => Err(Refusal::UnknownExpiry),
        (Validity::Valid, Expiry::At(_)) => Ok(()),
    }
}

/// When the token is old enough for its provider to renew it; `None` where that does not matter. Where nobody knows when it was issued, it counts
/// from when it was first seen.
fn old_enough(policy: &RenewPolicy, status: &TokenStatus, facts: &Inspection) -> Option<Timestamp> {
    let youngest = policy.rotation.map(|rotation| rotation.youngest).filter(|youngest| *youngest > Span::ZERO)?;
    let born = facts.issued_at.unwrap_or(status.generation.since);
    Some(status.renewal.renewed_at.map_or(born, |at| at.max(born)).plus(youngest))
}

/// When the renewal of the secret now in the slot is due; `None` where it never is.
///
/// Before a deadline the moment is drawn forward by a stable share of the lead, so that tokens issued together are not exchanged together and
/// none later than asked; after a bell it is put off by as little.
pub fn due(spec: &TokenSpec, status: &TokenStatus) -> Option<Timestamp> {
    let policy = spec.renew.as_deref()?;
    let facts = status.current_facts()?;
    let method = method_of(&facts.kind, policy).ok()?;
    if facts.validity != Validity::Valid {
        // It could have been renewed before it ended, if anybody had looked; now is the time.
        return status.last_answer.filter(|_| method == Method::RefreshToken || status.renewal.kept.is_some());
    }
    let old_enough = old_enough(policy, status, facts);
    match &policy.when {
        When::Before(_) if facts.expires == Expiry::Unknown && policy.rotation.is_some_and(|it| it.teaches) => {
            old_enough
        }
        When::Before(lead) => {
            let end = facts.expires.date()?;
            let lead = lead.resolve(verdict::lifetime(status, facts, end));
            let jitter = Span::seconds(lead.as_seconds() / JITTER_SHARE).min(LONGEST_JITTER);
            let due = end.minus(lead).minus(Span::seconds(cadence::spread(&spec.id, jitter.as_seconds().max(1))));
            // Where a run gives less life than the lead asks for, the token would be renewed without end: half of what was given passes first.
            match given_at(status).filter(|given| due <= *given) {
                Some(given) => Some(given.plus(Span::seconds(end.since(given).as_seconds() / 2))),
                None => Some(old_enough.map_or(due, |at| at.max(due))),
            }
        }
        When::OnBell(_) if facts.expires == Expiry::Unknown && policy.rotation.is_none() => None,
        When::OnBell(_)
            if facts.expires == Expiry::Never && facts.kind != TokenKind::Page && method != Method::Rotate =>
        {
            None
        }
        When::OnBell(bell) => {
            let since = status.renewal.renewed_at.map_or(status.generation.since, |at| at.max(status.generation.since));
            let spread = cadence::spread(&spec.id, BELL_SPREAD.as_seconds());
            bell.next(since).map(|ring| ring.plus(Span::seconds(spread)))
        }
    }
}

/// When a run gave what is in the slot now; `None` where a person did.
pub(super) fn given_at(status: &TokenStatus) -> Option<Timestamp> {
    status.renewal.given_at.filter(|at| *at >= status.generation.since)
}

/// When the next run may begin by itself: when it is due, not before the next try, and never within the floor after whatever was tried last.
pub fn next_run(spec: &TokenSpec, status: &TokenStatus) -> Option<Timestamp> {
    if status.renewal.run.is_some() {
        return None;
    }
    let due = due(spec, status)?;
    let next = status.renewal.next_try.map_or(due, |at| at.max(due));
    Some(not_before(spec, status).map_or(next, |at| at.max(next)))
}

/// The end of the least time after the last try.
fn not_before(spec: &TokenSpec, status: &TokenStatus) -> Option<Timestamp> {
    let floor = spec.renew.as_deref()?.floor;
    status.renewal.last.as_ref().map(|last| last.at.plus(floor))
}

/// When it is tried again after `failures` runs in vain: soon, then ever later, spread over the time that is left, never faster than the floor
/// and never longer than what is left (contract §7).
pub fn retry_at(spec: &TokenSpec, status: &TokenStatus, outcome: Outcome, failures: u32, now: Timestamp) -> Timestamp {
    let floor = spec.renew.as_deref().map_or(DEFAULT_FLOOR, |policy| policy.floor);
    let left = status.current_facts().and_then(|facts| facts.expires.date()).map(|end| end.since(now));
    // After the end nothing is urgent any more.
    let left = left.filter(|left| *left > Span::ZERO);
    let ceiling = left.map_or(LONGEST_RETRY, |left| Span::seconds(left.as_seconds() / RETRY_SHARE)).min(LONGEST_RETRY);
    let doublings = failures.saturating_sub(1).min(MOST_DOUBLINGS);
    let least = floor.max(Span::seconds(1));
    // Up to a quarter later, so that tokens which failed together do not stay together; the ceiling has room for it.
    let highest = Span::seconds(ceiling.as_seconds() / 5 * 4);
    let backoff = match outcome {
        // Whatever said yes without giving anything will not change its mind within minutes.
        Outcome::WithoutGain => highest,
        Outcome::Renewed | Outcome::Refused | Outcome::RolledBack | Outcome::Failed => {
            Span::seconds(least.as_seconds().saturating_mul(1 << doublings)).min(highest)
        }
    }
    .max(least);
    let spread = cadence::spread(&spec.id, backoff.as_seconds() / 4 + 1);
    let wait = Span::seconds(backoff.as_seconds() + spread);
    // In the very second of the end there is nothing left to exchange.
    let last_chance = left.map(|left| Span::seconds(left.as_seconds() - 1)).filter(|last| *last >= floor);
    now.plus(last_chance.map_or(wait, |last| wait.min(last)))
}

/// The last run of the secret now in the slot, where it was in vain, and what that is called. A replacement that came to nothing is told to whoever
/// brought it; one that was taken back is told to everybody.
pub fn in_vain(status: &TokenStatus) -> Option<(Reason, &Ended)> {
    let last = status.renewal.last.as_ref().filter(|last| last.generation == status.generation.number)?;
    if status.renewal.failures == 0 && !last.origin.is_replacement() {
        // What it tried to reach was reached on another way.
        return None;
    }
    let reason = match last.outcome {
        Outcome::Renewed => return None,
        Outcome::WithoutGain => Reason::RenewalWithoutGain,
        Outcome::Refused | Outcome::Failed if last.origin.is_replacement() => return None,
        Outcome::Refused | Outcome::RolledBack | Outcome::Failed => Reason::RenewalFailed,
    };
    Some((reason, last))
}

/// Notes that a run begins.
pub(super) fn begin(status: &mut TokenStatus, token: &TokenId, origin: Origin, now: Timestamp) -> Run {
    let old = status.current_facts().cloned();
    let renewal = &mut status.renewal;
    renewal.count = renewal.count.saturating_add(1);
    let number = renewal.count;
    renewal.run = Some(Mark { number, since: now, origin: origin.clone(), stuck: None });
    Run {
        token: token.clone(),
        number,
        origin,
        generation: status.generation.number,
        began_at: now,
        old,
        proved: None,
        given_end: renewal.kept.and_then(|kept| kept.ends),
        only_copy: renewal.kept.is_some(),
        anyway: false,
        tried: 0,
        published: false,
        sinks: Vec::new(),
        phase: Phase::Ordered,
    }
}

/// Notes how a run ended; `None` when it is not the one under way.
pub(super) fn end(spec: &TokenSpec, status: &mut TokenStatus, report: &Report, now: Timestamp) -> Option<Ended> {
    let mark = status.renewal.run.take_if(|run| run.number == report.number)?;
    let (outcome, text, generation) = (report.outcome, report.text.clone(), status.generation.number);
    let ended = Ended { at: now, outcome, text, origin: mark.origin, generation };
    status.renewal.kept = report.kept;
    if outcome == Outcome::Renewed {
        status.renewal.failures = 0;
        status.renewal.next_try = None;
        status.renewal.renewed_at = Some(now);
        status.renewal.given_at = (!ended.origin.is_replacement()).then_some(now);
    } else if !ended.origin.is_replacement() {
        status.renewal.failures = status.renewal.failures.saturating_add(1);
        status.renewal.next_try = Some(retry_at(spec, status, outcome, status.renewal.failures, now));
    }
    let nothing_came = matches!(outcome, Outcome::Refused | Outcome::Failed);
    if ended.origin.is_replacement() && nothing_came && status.renewal.last.is_some() {
        // It touched nothing, so what the last run left behind stands: what that failed to do is not done by it.
        return Some(ended);
    }
    status.renewal.last = Some(ended.clone());
    Some(ended)
}

/// A deadline later by less than this is the same one: a provider rounds.
pub const LEAST_GAIN: Span = Span::seconds(60);

/// Whether two dates name one end. Seconds left, or a date within a fraction of a minute of the known one, are the end that was told before:
/// what people were told once is not told again for them.
pub fn is_the_same_end(known: Expiry, seen: Expiry) -> bool {
    match (known, seen) {
        (Expiry::At(known), Expiry::At(seen)) => seen.since(known).abs() < LEAST_GAIN,
        (Expiry::Never, Expiry::Never) => true,
        (Expiry::Unknown, _)
        | (_, Expiry::Unknown)
        | (Expiry::At(_), Expiry::Never)
        | (Expiry::Never, Expiry::At(_)) => false,
    }
}

/// Whether the new end is later than the old one.
pub fn gains(old: Expiry, new: Expiry) -> bool {
    match (old, new) {
        (Expiry::At(old), Expiry::At(new)) => new.since(old) >= LEAST_GAIN,
        (Expiry::At(_) | Expiry::Unknown, Expiry::Never) | (Expiry::Unknown, Expiry::At(_)) => true,
        (Expiry::Never, _) | (_, Expiry::Unknown) => false,
    }
}

/// The least time between two tries, unless the configuration says otherwise (contract §10.9).
pub const DEFAULT_FLOOR: Span = Span::minutes(1);
/// A renewal is drawn forward by at most a tenth of its lead …
const JITTER_SHARE: i64 = 10;
/// … and at most by half a day.
const LONGEST_JITTER: Span = Span::hours(12);
/// After a bell the runs are spread over this time.
const BELL_SPREAD: Span = Span::minutes(10);
/// An eighth of the time left is never waited away at once.
const RETRY_SHARE: i64 = 8;
/// However much time is left, once a day is tried.
const LONGEST_RETRY: Span = Span::days(1);
/// A minute doubled twelve times is longer than a day.
const MOST_DOUBLINGS: u32 = 12;
