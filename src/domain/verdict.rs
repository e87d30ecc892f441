//! From facts to findings: a chain of small rules, each with a stable reason code.
//!
//! Rules look at what is known and what time it is, and at nothing else. They never decide who is told (that is `alert`) and
//! never let doubt hide a known date: a deadline stands while checks fail.

use super::finding::{Detail, Finding, Reason, Severity, Stage};
use super::inspection::{AppFault, Cause, CheckError, Expiry, Grant, Inspection, Validity};
use super::number::{Sending, Subscription};
use super::renewal;
use super::status::TokenStatus;
use super::time::{Span, Timestamp};
use super::token::{Required, SHORT_LIFETIME, TokenSpec};

/// The one word about a token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Verdict {
    /// It works and no rung is crossed.
    Healthy,
    /// It works and its end is near.
    Expiring,
    /// Its end has passed.
    Expired,
    /// It was killed early, or cannot be read by the provider.
    Invalid,
    /// We could not tell.
    Unverified,
}

impl Verdict {
    /// Every verdict, in label order of the metric.
    pub const ALL: [Self; 5] = [Self::Healthy, Self::Expiring, Self::Expired, Self::Invalid, Self::Unverified];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Expiring => "expiring",
            Self::Expired => "expired",
            Self::Invalid => "invalid",
            Self::Unverified => "unverified",
        }
    }
}

/// The verdict and all findings at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judgement {
    /// The one word.
    pub verdict: Verdict,
    /// All that is wrong, in the order of the rules.
    pub findings: Vec<Finding>,
    /// The next moment at which the clock alone changes the judgement.
    pub next: Option<Timestamp>,
}

impl Judgement {
    /// The worst severity of all findings.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }

    /// The finding of that reason.
    pub fn find(&self, reason: Reason) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.reason == reason)
    }
}

/// All that a rule may look at.
#[derive(Clone, Copy)]
pub struct Case<'a> {
    /// What is wanted.
    pub spec: &'a TokenSpec,
    /// What was observed.
    pub status: &'a TokenStatus,
    /// The time.
    pub now: Timestamp,
}

/// A link of the chain.
pub struct Rule {
    /// Its name, as `explain` prints it.
    pub name: &'static str,
    /// What it looks for, as the end of "is there …".
    pub asks: &'static str,
    /// The rule itself: a finding, or nothing to say; and when the clock alone may change that.
    pub judge: fn(Case<'_>) -> Ruling,
}

/// What a rule says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ruling {
    /// Nothing is wrong here.
    Clear,
    /// Nothing is wrong here before that moment.
    ClearUntil(Timestamp),
    /// Something is wrong.
    Holds(Finding),
}

/// The chain, in the order in which `explain` tells it.
pub const RULES: [Rule; 12] = [
    Rule { name: "source", asks: "a secret that cannot be read", judge: source },
    Rule { name: "blind", asks: "too long a time without an authoritative answer", judge: blind },
    Rule { name: "foreign", asks: "a token of another app", judge: foreign },
    Rule { name: "validity", asks: "a token killed early or not readable", judge: validity },
    Rule { name: "expiry", asks: "an end that is near or past", judge: expiry },
    Rule { name: "data-access", asks: "a data-access window that closes", judge: data_access },
    Rule { name: "expiry-known", asks: "a token without a known deadline", judge: expiry_known },
    Rule { name: "scopes", asks: "a required permission that is not granted", judge: scopes },
    Rule { name: "targets", asks: "a required object that is not covered", judge: targets },
    Rule { name: "number", asks: "a WhatsApp number that cannot send", judge: number },
    Rule { name: "webhooks", asks: "what arrives at the number reaching nobody", judge: webhooks },
    Rule { name: "renewal", asks: "a renewal that failed, gained nothing or is overdue", judge: renewal },
];

/// Runs the whole chain.
pub fn judge(case: Case<'_>) -> Judgement {
    let mut findings = Vec::new();
    let mut next: Option<Timestamp> = None;
    for rule in &RULES {
        let at = match (rule.judge)(case) {
            Ruling::Clear => None,
            Ruling::ClearUntil(at) => Some(at),
            Ruling::Holds(finding) => {
                let at = finding.next;
                findings.push(finding);
                at
            }
        };
        next = earliest(next, at.filter(|at| *at > case.now));
    }
    Judgement { verdict: verdict(case, &findings), findings, next }
}

/// The earlier of two optional moments.
pub fn earliest(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// The lifetime that a ladder is measured against: from issue, or from the first time this generation was seen. A secret that was renewed and
/// stayed the same lives anew from there; else its life, and with it every share of it, would grow without end.
pub fn lifetime(status: &TokenStatus, facts: &Inspection, deadline: Timestamp) -> Span {
    let born = facts.issued_at.unwrap_or(status.generation.since);
    let renewed = status.renewal.renewed_at.filter(|at| *at > status.generation.since);
    deadline.since(renewed.map_or(born, |at| at.max(born)))
}

/// The same for the window in which an app may use a person's data: it opens with the person's login, for 90 days (reference §2.4), and no token
/// that is issued meanwhile makes it shorter.
pub fn data_access_window(status: &TokenStatus, facts: &Inspection, deadline: Timestamp) -> Span {
    lifetime(status, facts, deadline).max(DATA_ACCESS_WINDOW)
}

/// A date already crossed beats doubt; proof of death beats a date to come; doubt beats everything else.
fn verdict(case: Case<'_>, findings: &[Finding]) -> Verdict {
    let has = |reason: Reason| findings.iter().any(|finding| finding.reason == reason);
    if has(Reason::Expired) || has(Reason::DataAccessExpired) {
        Verdict::Expired
    } else if has(Reason::Revoked) || has(Reason::Unreadable) {
        Verdict::Invalid
    } else if has(Reason::Expiring) || has(Reason::DataAccessExpiring) {
        Verdict::Expiring
    } else if case.status.current_facts().is_none() || blind_from(case).is_some_and(|(since, _)| case.now >= since) {
        Verdict::Unverified
    } else {
        Verdict::Healthy
    }
}

fn source(case: Case<'_>) -> Ruling {
    match &case.status.source_fault {
        Some(text) => holds(Reason::SourceUnreadable, Severity::Critical, Detail::Text(text.clone())),
        None => Ruling::Clear,
    }
}

/// Blindness is a finding of its own only where nothing better explains it: a fault of the app, the secret or the token's owner is
/// told as such, once.
fn blind(case: Case<'_>) -> Ruling {
    let status = case.status;
    let Some((warning, critical)) = blind_from(case) else { return Ruling::Clear };
    let explained =
        matches!(status.last_error, Some(CheckError::App(..) | CheckError::ForeignToken(_) | CheckError::Source(_)));
    if explained {
        return Ruling::Clear;
    }
    let detail = || Detail::Text(status.last_error.as_ref().map(ToString::to_string).unwrap_or_default().into());
    if case.now >= critical {
        Ruling::Holds(Finding { stage: Stage(2), ..finding(Reason::Blind, Severity::Critical, detail()) })
    } else if case.now >= warning {
        Ruling::Holds(Finding { next: Some(critical), ..finding(Reason::Blind, Severity::Warning, detail()) })
    } else {
        Ruling::ClearUntil(warning)
    }
}

/// The moments from which a token without answers counts as blind, and as critically so; `None` while answers come.
///
/// They count from the last answer, unless that was old already when the first check failed, as it is on a slow schedule or after the
/// daemon was stopped: an answer that nobody asked for is not missing.
fn blind_from(case: Case<'_>) -> Option<(Timestamp, Timestamp)> {
    let failing_since = case.status.failing_since?;
    let blind_after = case.spec.policy.blind_after;
    let since =
        case.status.last_answer.filter(|last| failing_since.since(*last) < blind_after).unwrap_or(failing_since);
    let critical_after = Span::seconds(blind_after.as_seconds().saturating_mul(BLIND_CRITICAL_FACTOR));
    Some((since.plus(blind_after), since.plus(critical_after)))
}

fn foreign(case: Case<'_>) -> Ruling {
    match &case.status.foreign {
        Some(text) => holds(Reason::AppFault, Severity::Critical, Detail::Text(text.clone())),
        None => Ruling::Clear,
    }
}

fn validity(case: Case<'_>) -> Ruling {
    let Some(facts) = case.status.current_facts() else { return Ruling::Clear };
    match facts.validity {
        Validity::Valid | Validity::Expired => Ruling::Clear,
        Validity::Revoked(Cause::Inactive) if window_passed(facts, case.now) => Ruling::Clear,
        Validity::Revoked(cause) => {
            let dead = finding(Reason::Revoked, Severity::Critical, Detail::Cause(cause));
            Ruling::Holds(Finding { last_call: true, ..dead })
        }
        Validity::Unreadable => {
            let text = facts.message.clone().unwrap_or_default();
            let dead = finding(Reason::Unreadable, Severity::Critical, Detail::Text(text));
            Ruling::Holds(Finding { last_call: true, ..dead })
        }
    }
}

fn expiry(case: Case<'_>) -> Ruling {
    let Some(facts) = case.status.current_facts() else { return Ruling::Clear };
    if matches!(facts.validity, Validity::Revoked(_) | Validity::Unreadable) {
        // Dead already: its date no longer says when something breaks, and the revoked incident is the one to act on.
        return Ruling::Clear;
    }
    if facts.validity == Validity::Expired {
        return Ruling::Holds(ended(Reason::Expired, facts.expires.date(), Detail::None));
    }
    match facts.expires {
        Expiry::At(at) => climb(case, at, lifetime(case.status, facts, at), Reason::Expiring, Reason::Expired),
        Expiry::Never | Expiry::Unknown => Ruling::Clear,
    }
}

/// A closed window and Meta's 493 are one fact seen from two sides, so they are one incident (contract §10.6).
fn data_access(case: Case<'_>) -> Ruling {
    let Some(facts) = case.status.current_facts() else { return Ruling::Clear };
    let Expiry::At(at) = facts.data_access else { return Ruling::Clear };
    match facts.validity {
        Validity::Valid => {
            let window = data_access_window(case.status, facts, at);
            climb(case, at, window, Reason::DataAccessExpiring, Reason::DataAccessExpired)
        }
        Validity::Revoked(cause @ Cause::Inactive) if at <= case.now => {
            Ruling::Holds(ended(Reason::DataAccessExpired, Some(at), Detail::Cause(cause)))
        }
        Validity::Expired | Validity::Revoked(_) | Validity::Unreadable => Ruling::Clear,
    }
}

/// Where `now` stands on the ladder to `deadline`, the end of a life of that length.
fn climb(case: Case<'_>, deadline: Timestamp, lifetime: Span, near: Reason, past: Reason) -> Ruling {
    if deadline <= case.now {
        return Ruling::Holds(ended(past, Some(deadline), Detail::None));
    }
    let rungs = case.spec.policy.ladder.rungs(lifetime);
    let left = deadline.since(case.now);
    let crossed = rungs.iter().filter(|rung| left <= **rung).count();
    let urgent_from = (lifetime > SHORT_LIFETIME).then_some(URGENT_LEAD);
    let next_rung = rungs.get(crossed).map(|rung| deadline.minus(*rung));
    let Some(reached) = crossed.checked_sub(1).and_then(|last| rungs.get(last)) else {
        return next_rung.map_or(Ruling::Clear, Ruling::ClearUntil);
    };
    let turns_urgent = urgent_from.map(|lead| deadline.minus(lead)).filter(|at| *at > case.now);
    Ruling::Holds(Finding {
        reason: near,
        severity: rung_severity(crossed, rungs.len(), left, urgent_from),
        stage: Stage::rung(*reached),
        deadline: Some(deadline),
        next: earliest(earliest(next_rung, turns_urgent), Some(deadline)),
        last_call: next_rung.is_none(),
        detail: Detail::None,
    })
}

/// By the rung's place: the first is info, the last two are critical, others warn; and three days before the end of a life of more
/// than seven days everything is critical (contract §3 and §10.1).
fn rung_severity(crossed: usize, rungs: usize, left: Span, urgent_from: Option<Span>) -> Severity {
    if urgent_from.is_some_and(|lead| left <= lead) {
        Severity::Critical
    } else if crossed == 1 {
        Severity::Info
    } else if crossed + 2 > rungs {
        Severity::Critical
    } else {
        Severity::Warning
    }
}

fn expiry_known(case: Case<'_>) -> Ruling {
    match case.status.current_facts() {
        Some(facts) if facts.validity == Validity::Valid && facts.expires == Expiry::Unknown => {
            holds(Reason::ExpiryUnknown, Severity::Info, Detail::None)
        }
        _ => Ruling::Clear,
    }
}

fn scopes(case: Case<'_>) -> Ruling {
    let Some(facts) = case.status.current_facts().filter(|facts| facts.validity == Validity::Valid) else {
        return Ruling::Clear;
    };
    let mut missing = missing_scopes(&case.spec.required, facts);
    missing.extend(facts.lacking.clone());
    if missing.is_empty() {
        return Ruling::Clear;
    }
    holds(Reason::ScopeMissing, Severity::Warning, Detail::Missing(missing))
}

fn targets(case: Case<'_>) -> Ruling {
    let Some(facts) = case.status.current_facts().filter(|facts| facts.validity == Validity::Valid) else {
        return Ruling::Clear;
    };
    let mut missing = missing_targets(&case.spec.required, facts);
    let unseen = case.status.number.as_ref().filter(|number| number.refused.is_some());
    missing.extend(unseen.map(|number| format!("phone number {}", number.id).into()));
    if missing.is_empty() {
        return Ruling::Clear;
    }
    holds(Reason::TargetMissing, Severity::Warning, Detail::Missing(missing))
}

/// The required permissions that are not granted; none where the provider did not say which are.
pub fn missing_scopes(required: &Required, facts: &Inspection) -> Vec<Box<str>> {
    let Some(grants) = &facts.grants else { return Vec::new() };
    let granted = |scope: &str| grants.iter().any(|grant| *grant.scope == *scope);
    required.scopes.iter().filter(|scope| !granted(scope)).cloned().collect()
}

/// The required objects that are not covered. Only the `whatsapp_*` permissions carry WhatsApp Business Account ids, and a grant without targets
/// covers all of them.
pub fn missing_targets(required: &Required, facts: &Inspection) -> Vec<Box<str>> {
    let Some(grants) = &facts.grants else { return Vec::new() };
    let whatsapp = |grant: &&Grant| grant.scope.starts_with(WHATSAPP_SCOPES);
    let covers = |grant: &Grant, target: &str| {
        grant.targets.as_ref().is_none_or(|targets| targets.iter().any(|covered| **covered == *target))
    };
    let covered = |target: &str| {
        grants.iter().any(|grant| whatsapp(&grant)) && grants.iter().filter(whatsapp).all(|grant| covers(grant, target))
    };
    required.targets.iter().filter(|target| !covered(target)).cloned().collect()
}

/// The health of the number, the account, the business and the app together; what has to do with calls is no part of it (reference §9.3).
fn number(case: Case<'_>) -> Ruling {
    let seen = case.status.number.as_ref().filter(|_| sees_number(case.status));
    let Some(number) = seen.and_then(|status| status.number.as_ref()) else { return Ruling::Clear };
    let detail = || Detail::Obstacles(number.in_the_way().into());
    match number.can_send() {
        None | Some(Sending::Available) => Ruling::Clear,
        Some(Sending::Limited) => holds(Reason::NumberLimited, Severity::Warning, detail()),
        Some(Sending::Blocked) => {
            let blocked = finding(Reason::NumberBlocked, Severity::Critical, detail());
            Ruling::Holds(Finding { stage: Stage(2), ..blocked })
        }
    }
}

/// Where nobody said that something must arrive, only the end of a subscription is told: an application may send and never listen.
fn webhooks(case: Case<'_>) -> Ruling {
    let Some(number) = case.status.number.as_ref().filter(|_| sees_number(case.status)) else { return Ruling::Clear };
    let wanted = case.spec.required.webhooks.unwrap_or(number.was_subscribed);
    match number.subscription {
        Some(Subscription::Others | Subscription::Nobody) if wanted => {
            holds(Reason::WebhooksMissing, Severity::Warning, Detail::None)
        }
        Some(Subscription::Ours | Subscription::Others | Subscription::Somebody | Subscription::Nobody) | None => {
            Ruling::Clear
        }
    }
}

/// Whether what is known of the number can still be judged: it is seen, and asked about with a token that works.
pub fn sees_number(status: &TokenStatus) -> bool {
    let seen = status.number.as_ref().is_some_and(|number| number.refused.is_none());
    seen && status.current_facts().is_some_and(|facts| facts.validity == Validity::Valid)
}

/// Whether the token may read what WhatsApp says of accounts and numbers.
pub fn manages_whatsapp(facts: &Inspection) -> bool {
    facts.grants.iter().flatten().any(|grant| *grant.scope == *WHATSAPP_MANAGEMENT)
}

/// Of a dead token its end is told; that it was not renewed is part of that.
fn renewal(case: Case<'_>) -> Ruling {
    let Case { spec, status, now } = case;
    let run = status.renewal.run.as_ref();
    if let Some(text) = run.and_then(|run| run.stuck.as_ref()) {
        let stuck = finding(Reason::RenewalFailed, Severity::Critical, Detail::Text(text.clone()));
        return Ruling::Holds(Finding { stage: Stage(2), ..stuck });
    }
    let alive =
        |facts: &&Inspection| facts.validity == Validity::Valid && facts.expires.date().is_none_or(|end| end > now);
    let Some(facts) = status.current_facts().filter(alive) else { return Ruling::Clear };
    let due = renewal::due(spec, status);
    let urgent = due.zip(facts.expires.date()).map(|(due, end)| {
        let long = lifetime(status, facts, end) > SHORT_LIFETIME;
        let share = Span::seconds(end.since(due).as_seconds().max(0) / URGENT_SHARE);
        end.minus(if long { URGENT_LEAD } else { share })
    });
    let holds = |reason: Reason, text: Box<str>| match urgent {
        Some(at) if now >= at => {
            let late = finding(reason, Severity::Critical, Detail::Text(text));
            Ruling::Holds(Finding { stage: Stage(2), ..late })
        }
        next => Ruling::Holds(Finding { next, ..finding(reason, Severity::Warning, Detail::Text(text)) }),
    };
    if let Some((reason, ended)) = renewal::in_vain(status) {
        return holds(reason, ended.text.clone());
    }
    let Some(due) = due else { return Ruling::Clear };
    if now < due {
        return Ruling::ClearUntil(due);
    }
    // A run that began late is given its time, too, and so is a secret that came late.
    let began = run.map(|run| run.since).max(status.renewal.renewed_at).max(Some(status.generation.since));
    let since = began.map_or(due, |at| at.max(due));
    let lead = facts.expires.date().map_or(OVERDUE_AFTER, |end| end.since(due));
    let overdue = since.plus(Span::seconds(lead.as_seconds() / OVERDUE_SHARE).min(OVERDUE_AFTER).max(OVERDUE_AT_LEAST));
    if now < overdue {
        return Ruling::ClearUntil(overdue);
    }
    let why = renewal::may_renew(spec, status, now).err().map(|refusal| refusal.to_string()).unwrap_or_default();
    holds(Reason::RenewalOverdue, why.into())
}

fn window_passed(facts: &Inspection, now: Timestamp) -> bool {
    facts.data_access.date().is_some_and(|at| at <= now)
}

fn ended(reason: Reason, deadline: Option<Timestamp>, detail: Detail) -> Finding {
    Finding { stage: Stage::ENDED, deadline, last_call: true, ..finding(reason, Severity::Critical, detail) }
}

fn holds(reason: Reason, severity: Severity, detail: Detail) -> Ruling {
    Ruling::Holds(finding(reason, severity, detail))
}

pub(super) const fn finding(reason: Reason, severity: Severity, detail: Detail) -> Finding {
    Finding { reason, severity, stage: Stage(1), deadline: None, next: None, last_call: false, detail }
}

/// Everything is critical this close to the end of a long life (contract §3).
const URGENT_LEAD: Span = Span::days(3);
/// Reference §2.4.
const DATA_ACCESS_WINDOW: Span = Span::days(90);
/// Of a short life a renewal in vain is critical in the last quarter of the time that there was for it.
const URGENT_SHARE: i64 = 4;
/// A renewal is overdue after a tenth of the time that there is for it, …
const OVERDUE_SHARE: i64 = 10;
/// … at most after a day, …
const OVERDUE_AFTER: Span = Span::days(1);
/// … and not before a second try could have been made.
const OVERDUE_AT_LEAST: Span = Span::minutes(2);
/// A blindness this many times longer than `blind_after` is critical.
const BLIND_CRITICAL_FACTOR: i64 = 4;
/// The permissions whose `target_ids` are WhatsApp Business Account ids (reference §10).
const WHATSAPP_SCOPES: &str = "whatsapp_";
const WHATSAPP_MANAGEMENT: &str = "whatsapp_business_management";

/// The app's own finding, for an app at fault.
pub fn app_finding(fault: AppFault, text: &str) -> Finding {
    let reason = match fault {
        AppFault::SecretUnreadable => Reason::SourceUnreadable,
        AppFault::WrongSecret
        | AppFault::UnknownApp
        | AppFault::Deleted
        | AppFault::Blocked
        | AppFault::NotPrivileged => Reason::AppFault,
    };
    finding(reason, Severity::Critical, Detail::App(fault, text.into()))
}

/// Whether that many consecutive answers are enough to believe bad news.
pub const fn is_confirmed(streak: u32, needed: u32) -> bool {
    streak >= needed && streak > 0
}
