//! `check --provider-debug`: one question to a provider that is described as data, in full: what was sent, what came back, which rule fitted, how
//! each fact was read. Secrets are hidden in all of it; nothing is judged or kept.

use std::fmt::Write as _;
use std::sync::Arc;

use super::check::{exit_of, named};
use super::{Context, Exit, fail, io};
use crate::clock::System;
use crate::daemon::wiring::Wiring;
use crate::domain::inspection::{CheckError, CheckOutcome, Expiry, Inspection};
use crate::domain::status::TokenStatus;
use crate::domain::step::{Observation, step};
use crate::domain::time::Timestamp;
use crate::domain::token::{Fingerprint, TokenSpec};
use crate::papers::Papers;
use crate::ports::Clock;
use crate::reader::Reader;
use crate::settings::Token;
use crate::settings::source::Sources;

/// Runs the command; the exit code is that of `check`.
pub async fn run(context: &Context, name: &str) -> Result<Exit, Exit> {
    let settings = context.load()?.settings;
    let place = named(&settings, &[name.to_owned()])?.first().copied().unwrap_or_default();
    let clock: Arc<dyn Clock> = Arc::new(System);
    let reader = Reader::new(Sources::new(context.environment.iter().cloned()));
    let wiring = Wiring::new(settings, &reader, &clock).map_err(|error| fail(Exit::BadConfiguration, error))?;
    let Some(token) = wiring.settings.tokens.get(place) else { return Err(Exit::Warning) };
    if wiring.settings.described(&token.spec.provider).is_none() {
        let provider = &token.spec.provider;
        return Err(fail(
            Exit::Warning,
            format_args!("{provider} is not described as data; `tokenwatch doctor {name}` says what it answers"),
        ));
    }
    let app = token.spec.app.as_ref().and_then(|name| wiring.app(name));
    let papers = Papers::read(wiring.reader(), token, app).await;
    let secret = papers.secret.as_ref().map_err(|problem| fail(Exit::Unknown, problem))?;
    let question = papers.question(secret).map_err(|error| fail(Exit::Unknown, error))?;
    let (answer, told) = wiring.provider(token).rehearse(&question).await;
    let now = clock.now();
    let mut text = String::new();
    for part in &told {
        let indented: Vec<String> = part.text.lines().map(|line| format!("    {line}").trim_end().to_owned()).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}\n{}", part.what, indented.join("\n"));
    }
    let exit = judged(token, answer.facts, now, &mut text);
    let printed = io::print(&text);
    Ok(if printed == Exit::Fine { exit } else { printed })
}

/// What the daemon would know and think of it, if it never saw the token before.
fn judged(token: &Token, answer: Result<Inspection, CheckError>, now: Timestamp, text: &mut String) -> Exit {
    let outcome = CheckOutcome { fingerprint: Some(Fingerprint([0; 16])), answer, beside: None };
    let spec = TokenSpec { policy: Arc::new(token.spec.policy.at_once()), ..token.spec.clone() };
    let step = step(&spec, TokenStatus::new(now), Observation::Checked(outcome), now);
    if let Some(Inspection { expires: Expiry::At(at), basis, .. }) = step.status.current_facts()
        && !basis.in_words().is_empty()
    {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "end\n    {at}: {}", basis.in_words());
    }
    let findings: Vec<&str> = step.judgement.findings.iter().map(|finding| finding.reason.as_str()).collect();
    let findings = if findings.is_empty() { "no findings".to_owned() } else { findings.join(", ") };
    let _ = writeln!(text, "verdict\n    {} ({findings})", step.judgement.verdict.as_str());
    exit_of(&step)
}
