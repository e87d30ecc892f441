//! Why a verdict: each fact, each rule, and what happens next. The words behind `explain` and the page of a token.
//!
//! It runs the very rules that decide, one by one, so what it says cannot differ from what is done.

use serde::Serialize;

use crate::advice;
use crate::domain::alert::repeat_due;
use crate::domain::answer::Signed;
use crate::domain::finding::{Detail, Finding};
use crate::domain::inspection::{Expiry, Inspection};
use crate::domain::ledger::CALM;
use crate::domain::number::{NumberStatus, Subscription};
use crate::domain::renewal::{self, Method, Refusal};
use crate::domain::status::TokenStatus;
use crate::domain::time::{Timestamp, relative};
use crate::domain::token::TokenSpec;
use crate::domain::verdict::{self, Case, RULES, Ruling};
use crate::settings::Token;
use crate::settings::delivery::Renew;
use crate::zone::Zone;

/// A verdict with its reasons.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The token.
    pub name: String,
    /// The one word.
    pub verdict: &'static str,
    /// What is known, as label and value.
    pub facts: Vec<(&'static str, String)>,
    /// What each rule says.
    pub rules: Vec<RuleLine>,
    /// What happens next, and when.
    pub next: Vec<String>,
}

/// One rule.
#[derive(Clone, Debug, Serialize)]
pub struct RuleLine {
    /// Its name.
    pub rule: &'static str,
    /// What it looked for.
    pub looked_for: &'static str,
    /// The finding's code, where something is wrong.
    pub finding: Option<&'static str>,
    /// How bad.
    pub severity: Option<&'static str>,
    /// In words.
    pub says: String,
}

/// Explains the verdict about a token.
pub fn explain(spec: &TokenSpec, status: &TokenStatus, zone: &Zone, now: Timestamp) -> Explanation {
    let case = Case { spec, status, now };
    let judgement = verdict::judge(case);
    let words = Words { zone, now };
    let rules = RULES.iter().map(|rule| words.rule(rule, (rule.judge)(case))).collect();
    let mut next = vec![format!("next check: {}", words.when(status.next_check))];
    if let Some(at) = judgement.next {
        next.push(format!("the clock alone changes this: {}", words.when(at)));
    }
    for incident in &status.ledger.incidents {
        let told = incident.told_at.map_or_else(|| "none yet, by a silence".to_owned(), |at| words.when(at));
        let code = incident.reason.as_str();
        next.push(format!("open incident {code} ({}), last notice: {told}", incident.severity.as_str()));
        if let Some(signed) = &incident.acknowledged {
            next.push(format!("acknowledged by {}: not repeated, told when it gets worse", words.signed(signed)));
        }
        if let Some(damped) = &incident.damped {
            let calm = words.when(damped.changed_at.plus(CALM));
            next.push(format!("it comes and goes, so it is damped; calm again, if nothing changes: {calm}"));
        }
        let finding = judgement.findings.iter().find(|finding| finding.reason.thread() == incident.thread);
        if let Some(at) = finding.and_then(|finding| repeat_due(incident, finding, spec.policy.repeat)) {
            next.push(format!("it is told again: {}", words.when(at)));
        }
    }
    if let Some(silence) = status.ledger.silence.as_ref().filter(|silence| silence.holds(now)) {
        let hides = if silence.even_critical { "everything" } else { "all but the end and the last rung before it" };
        let (signed, until) = (words.signed(&silence.signed), words.when(silence.until));
        next.push(format!("silenced by {signed}, holding back {hides}; it ends: {until}"));
    }
    next.extend(renewal_in_words(spec, status, now, &words));
    Explanation {
        name: spec.id.to_string(),
        verdict: judgement.verdict.as_str(),
        facts: facts(status, spec, &words),
        rules,
        next,
    }
}

/// What a renewal would do now, or why there is none.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The token.
    pub name: String,
    /// Why none would begin.
    pub refused: Option<String>,
    /// When one begins by itself, in unix seconds.
    pub next_run: Option<i64>,
    /// All of it in words.
    pub lines: Vec<String>,
}

/// What a renewal of this token would do now.
pub fn plan(token: &Token, status: &TokenStatus, zone: &Zone, now: Timestamp) -> Plan {
    let spec = &token.spec;
    let words = Words { zone, now };
    let next_run = renewal::next_run(spec, status);
    let may = renewal::may_renew(spec, status, now);
    let mut lines = match &may {
        Ok(method) => vec![format!("{} would be renewed now: {}", spec.id, method_in_words(*method))],
        Err(refusal) => vec![format!("{} would not be renewed now: {refusal}", spec.id)],
    };
    lines.extend(renewal_in_words(spec, status, now, &words));
    if let (Ok(method), Some(renew)) = (&may, &token.renew) {
        lines.extend(
            steps_in_words(*method, status, renew, &words)
                .iter()
                .enumerate()
                .map(|(i, step)| format!("  {}. {step}", i + 1)),
        );
        lines.push(
            "What fails before anything is written changes nothing; what fails after it is rolled back.".to_owned(),
        );
    }
    Plan {
        name: spec.id.to_string(),
        refused: may.err().map(|refusal| refusal.to_string()),
        next_run: next_run.map(Timestamp::unix),
        lines,
    }
}

fn method_in_words(method: Method) -> &'static str {
    match method {
        Method::Exchange => "a user token is exchanged for a long-lived one",
        Method::Refresh => "a system user's token is refreshed for 60 days; the old one lives to its own end",
        Method::Reread => "a page token is read again with its user token",
        Method::Extend => "the provider lets the token live longer; the string may stay the same",
        Method::Rotate => "the provider gives another token in its place",
        Method::RefreshToken => "another token is asked for with the refresh token",
    }
}

fn steps_in_words(method: Method, status: &TokenStatus, renew: &Renew, words: &Words<'_>) -> Vec<String> {
    let end = status.current_facts().and_then(|facts| facts.expires.date()).map(|at| words.zone.long(at));
    let later = end.map_or_else(String::new, |end| format!(" an end later than {end},"));
    let ask = match method {
        Method::Exchange | Method::Refresh | Method::Extend | Method::Rotate | Method::RefreshToken => {
            "ask the provider for another token, and seal it"
        }
        Method::Reread => "read the page's token again, and seal it",
    };
    let mut steps =
        vec![ask.to_owned(), format!("inspect it: valid,{later} the same app and user, permissions no fewer")];
    steps.extend(renew.delivery.publish.iter().map(|sink| format!("write it to {sink}")));
    steps.extend(renew.delivery.restart.iter().map(|restart| format!("restart: {restart}")));
    steps.extend(renew.delivery.confirm.iter().map(|confirm| format!("confirm: {confirm}")));
    if renew.revoke_old {
        steps.push("revoke the old token".to_owned());
    }
    steps
}

/// When it is renewed, and what became of the last try.
fn renewal_in_words(spec: &TokenSpec, status: &TokenStatus, now: Timestamp, words: &Words<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(run) = &status.renewal.run {
        let stuck = run.stuck.as_ref().map(|why| format!("; it is stuck: {}", advice::plain(why))).unwrap_or_default();
        lines.push(format!("a renewal is under way since {}{stuck}", words.when(run.since)));
    } else if spec.renew.is_some() {
        match (renewal::next_run(spec, status), renewal::may_renew(spec, status, now)) {
            (Some(at), Ok(_) | Err(Refusal::TooSoon(_))) => lines.push(format!("it is renewed: {}", words.when(at))),
            (Some(at), Err(refusal)) => {
                lines.push(format!("it is to be renewed {}, but now it cannot be: {refusal}", words.when(at)));
            }
            (None, Err(refusal)) => lines.push(format!("it is not renewed: {refusal}")),
            (None, Ok(_)) => lines.push("no renewal is planned".to_owned()),
        }
    }
    if let Some(last) = &status.renewal.last {
        let outcome = last.outcome.as_str().replace('_', " ");
        lines.push(format!("the last renewal: {outcome}, {}: {}", words.when(last.at), advice::plain(&last.text)));
    }
    lines
}

fn facts(status: &TokenStatus, spec: &TokenSpec, words: &Words<'_>) -> Vec<(&'static str, String)> {
    let mut facts = vec![("provider", spec.provider.as_str().to_owned())];
    if let Some(app) = &spec.app {
        facts.push(("app", app.to_string()));
    }
    match status.generation.number {
        0 => facts.push(("secret", "never read yet".to_owned())),
        number => facts.push(("secret", format!("generation {number}, since {}", words.when(status.generation.since)))),
    }
    if let Some(number) = &status.number {
        facts.extend(number_in_words(number, words));
    }
    facts.push(("last check", words.optional(status.last_check)));
    facts.push(("last answer", words.optional(status.last_answer)));
    if let Some(error) = &status.last_error {
        facts.push(("last failure", format!("{error} ({} in a row)", status.failures)));
    }
    match &status.facts {
        None => facts.push(("facts", "none yet".to_owned())),
        Some(known) => {
            if known.generation != status.generation.number {
                facts.push(("facts", "of the secret before; the new one is not verified yet".to_owned()));
            }
            facts.extend(inspection(&known.inspection, status, spec, words));
        }
    }
    facts
}

fn number_in_words(known: &NumberStatus, words: &Words<'_>) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if let Some(number) = &known.number {
        let sending = number.can_send().map(|sending| format!(", sending {}", sending.as_str())).unwrap_or_default();
        let id = advice::plain(&number.id);
        facts.push(("number", format!("{id}, {}{sending}", advice::number::in_words(number))));
    }
    if let Some(refused) = &known.refused {
        facts.push(("number", format!("{} is not seen: {}", known.id, advice::plain(refused))));
    }
    facts.push(("last answer about it", words.optional(known.answered)));
    if let Some(subscription) = known.subscription {
        let who = match subscription {
            Subscription::Ours => "this app",
            Subscription::Others => "other apps only",
            Subscription::Somebody => "some app; which one is ours is not known",
            Subscription::Nobody => "nobody",
        };
        facts.push(("what arrives goes to", who.to_owned()));
    }
    facts
}

fn inspection(
    known: &Inspection,
    status: &TokenStatus,
    spec: &TokenSpec,
    words: &Words<'_>,
) -> Vec<(&'static str, String)> {
    let mut facts = vec![("kind", known.kind.as_str().to_owned())];
    if let Some(issued) = known.issued_at {
        facts.push(("issued", words.when(issued)));
    }
    let basis = Some(known.basis.in_words()).filter(|basis| !basis.is_empty() && known.expires != Expiry::Unknown);
    let end = words.expiry(known.expires);
    facts.push(("expires", basis.map_or_else(|| end.clone(), |basis| format!("{end}: {basis}"))));
    // Only Meta has such a window.
    if spec.provider.is_meta() || known.data_access != Expiry::Unknown {
        facts.push(("data access ends", words.expiry(known.data_access)));
    }
    if let Some(lacking) = &known.lacking {
        facts.push(("lacks", advice::plain(lacking)));
    }
    if let Some(grants) = &known.grants {
        let list: Vec<String> = grants
            .iter()
            .map(|grant| match &grant.targets {
                None => grant.scope.to_string(),
                Some(targets) => format!("{} (only {})", grant.scope, targets.join(", ")),
            })
            .collect();
        facts.push(("permissions", if list.is_empty() { "none".to_owned() } else { list.join(", ") }));
    }
    if let Expiry::At(deadline) = known.expires {
        let rungs = spec.policy.ladder.rungs(verdict::lifetime(status, known, deadline));
        let rungs: Vec<String> = rungs.iter().map(|rung| words.zone.short(deadline.minus(*rung))).collect();
        facts.push(("rungs", rungs.join(", ")));
    }
    if let Some(message) = &known.message {
        facts.push(("provider's words", message.to_string()));
    }
    facts
}

/// Dates and findings in words.
struct Words<'a> {
    zone: &'a Zone,
    now: Timestamp,
}

impl Words<'_> {
    fn when(&self, at: Timestamp) -> String {
        if at.unix() == i64::MAX {
            return "when the schedule's bell rings".to_owned();
        }
        let relative = relative(at, self.now);
        format!("{} ({relative})", self.zone.long(at))
    }

    /// `asha (uid 1000), Tue 15 Jul 2025, 13:30 IST (2 hours ago): on it`.
    fn signed(&self, signed: &Signed) -> String {
        let why = signed.why.as_deref().map(|why| format!(": {}", advice::plain(why))).unwrap_or_default();
        format!("{}, {}{why}", advice::plain(&signed.by), self.when(signed.at))
    }

    fn optional(&self, at: Option<Timestamp>) -> String {
        at.map_or_else(|| "never".to_owned(), |at| self.when(at))
    }

    fn expiry(&self, expiry: Expiry) -> String {
        match expiry {
            Expiry::Never => "never".to_owned(),
            Expiry::Unknown => "unknown".to_owned(),
            Expiry::At(at) => self.when(at),
        }
    }

    fn rule(&self, rule: &verdict::Rule, ruling: Ruling) -> RuleLine {
        let (finding, says) = match ruling {
            Ruling::Clear => (None, "nothing found".to_owned()),
            Ruling::ClearUntil(at) => (None, format!("nothing found before {}", self.when(at))),
            Ruling::Holds(finding) => {
                let says = self.finding(&finding);
                (Some(finding), says)
            }
        };
        RuleLine {
            rule: rule.name,
            looked_for: rule.asks,
            finding: finding.as_ref().map(|finding| finding.reason.as_str()),
            severity: finding.as_ref().map(|finding| finding.severity.as_str()),
            says,
        }
    }

    fn finding(&self, finding: &Finding) -> String {
        let mut says = advice::reason_in_words(finding.reason).to_owned();
        let detail = match &finding.detail {
            Detail::None | Detail::Summary(_) => None,
            Detail::Cause(cause) => Some(cause.in_words().to_owned()),
            Detail::Missing(names) => Some(names.join(", ")),
            Detail::App(fault, text) if text.is_empty() => Some(fault.in_words().to_owned()),
            Detail::App(fault, text) => Some(format!("{}: {text}", fault.in_words())),
            Detail::Text(text) => Some(text.to_string()).filter(|text| !text.is_empty()),
            Detail::Obstacles(obstacles) => Some(
                advice::number::evidence(obstacles).into_iter().map(|(_, words)| words).collect::<Vec<_>>().join("; "),
            ),
        };
        for part in detail.into_iter().chain(finding.deadline.map(|at| self.when(at))) {
            says.push_str("; ");
            says.push_str(&part);
        }
        says
    }
}
