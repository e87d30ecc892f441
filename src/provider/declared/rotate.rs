//! Another secret in the place of this one, as the description says; and the leave that is taken of the old one.
//!
//! Whatever comes back may hold the only copy of a secret: it is read from the document and nothing else is done with it here.

use zeroize::Zeroizing;

use super::answer::at;
use super::facts::Facts;
use super::request::Papers;
use super::{DeclaredProvider, Filling, LoginFailed, Reading, Rehearsal};
use crate::domain::inspection::{CheckError, Expiry, Inspection, Validity};
use crate::domain::renewal::OldSecret;
use crate::ports::{Exchange, ExchangeError, Exchanged, Farewell, Given, Question, Telemetry};
use crate::provider::http::{check_error, started};
use crate::secret::Secret;
use crate::settings::description::{Asking, Means, Pointer, Rotate, Source};

/// Asks for another secret.
pub(super) async fn exchange(provider: &DeclaredProvider, request: Exchange<'_>) -> Exchanged {
    let started = started();
    let mut telemetry = Telemetry::default();
    let (Some(rotate), Source::Http(asking)) = (&provider.description.rotate, &provider.description.source) else {
        return Exchanged::refused("this provider gives no other token", telemetry);
    };
    let question = Question { token: request.token, app: request.app, parameters: request.parameters };
    let given = ask(provider, asking, rotate, &question, &mut telemetry).await;
    telemetry.seconds = started.elapsed().as_secs_f64();
    Exchanged { given, telemetry }
}

async fn ask(
    provider: &DeclaredProvider,
    asking: &Asking,
    rotate: &Rotate,
    question: &Question<'_>,
    telemetry: &mut Telemetry,
) -> Result<Given, ExchangeError> {
    let mut rehearsal = Rehearsal::off();
    let papers = Papers::of(question);
    let not_done = |error: CheckError| ExchangeError::Unanswered { error, may_be_done: false };
    let login = provider.login(asking, &papers, telemetry, &mut rehearsal).await.map_err(|failed| match failed {
        LoginFailed::Verdict(verdict) if verdict.validity != Validity::Valid => {
            ExchangeError::Dead(verdict.validity, verdict.message.unwrap_or_default())
        }
        failed => not_done(failed.into()),
    })?;
    let papers = Papers { login: login.as_ref(), ..papers };
    let filling = Filling { papers: &papers, now: provider.clock.now() };
    if let Some(prepare) = &rotate.prepare {
        let reply = provider.send(prepare, &filling, &mut rehearsal).await;
        let reply = reply.map_err(|failure| not_done(check_error(failure)))?;
        let reading = provider.reading(asking, &papers, reply, telemetry, &mut rehearsal);
        // That there was nothing to prepare is as good.
        if !(200..300).contains(&reading.status()) && reading.status() != 404 {
            return Err(refusal(rotate, &reading, telemetry, false));
        }
    }
    let reply = provider.send(&rotate.request, &filling, &mut rehearsal).await.map_err(|failure| {
        let may_be_done = failure.may_have_arrived;
        ExchangeError::Unanswered { error: check_error(failure), may_be_done }
    })?;
    let reading = provider.reading(asking, &papers, reply, telemetry, &mut rehearsal);
    given(rotate, &reading, question.token, telemetry)
}

/// What was given, or why nothing was.
fn given(
    rotate: &Rotate,
    reading: &Reading<'_>,
    token: &Secret,
    telemetry: &mut Telemetry,
) -> Result<Given, ExchangeError> {
    let document = reading.document();
    let secret_at = |pointer: &Pointer| {
        let text = document.json.as_ref().and_then(|json| at(json, pointer)).and_then(serde_json::Value::as_str);
        text.map(|text| Secret::new(Zeroizing::new(text.to_owned()))).filter(Secret::is_one_word)
    };
    let granted = (200..300).contains(&reading.status());
    let secret = match (&rotate.secret, rotate.old) {
        (Some(pointer), _) => secret_at(pointer),
        (None, OldSecret::StaysTheSame) => granted.then(|| token.duplicate()),
        (None, OldSecret::Lives | OldSecret::DiesAtOnce) => None,
    };
    let Some(secret) = secret.filter(|_| granted) else {
        return Err(refusal(rotate, reading, telemetry, true));
    };
    let facts = Facts { document, papers: reading.papers, now: reading.now };
    let ends = rotate.expires.as_ref().map(|read| facts.ends(read, document.json.as_ref()));
    let ends = ends.and_then(Expiry::date);
    Ok(Given { secret, ends, refresh_token: rotate.refresh_token.as_ref().and_then(secret_at) })
}

/// An answer without a new secret. `asked`: it answers the request itself, which may have been carried out all the same where the provider, or
/// something before it, speaks of trouble of its own; one that does not take requests now (503) did not take this one either.
fn refusal(rotate: &Rotate, reading: &Reading<'_>, telemetry: &mut Telemetry, asked: bool) -> ExchangeError {
    let rules = [&rotate.answers, &reading.asking.answers];
    let (means, words) = reading.means(&rules, telemetry, &mut Rehearsal::off());
    let granted = asked && (200..300).contains(&reading.status());
    // There are providers that refuse with a status of success: that counts where a rule of the rotation itself says so.
    let own = rotate.answers.iter().any(|rule| reading.document().fits(rule)).then_some(means);
    let strange = granted && matches!(own, None | Some(Means::Valid));
    let undecided = granted && matches!(own, Some(Means::Unknown | Means::Unavailable));
    let trouble = asked && reading.status() >= 500 && reading.status() != 503;
    let may_be_done = strange || undecided || trouble;
    let unanswered = |error: CheckError| ExchangeError::Unanswered { error, may_be_done };
    match means {
        // An answer that should hold a secret and does not is lost, whatever it says.
        _ if strange => unanswered(CheckError::Garbled("the answer holds no new token".into())),
        Means::Forbidden | Means::Valid => unanswered(CheckError::Refused(words.into())),
        means => match reading.verdict(means, words) {
            Ok(Inspection { validity: Validity::Valid, lacking, .. }) => {
                unanswered(CheckError::Refused(lacking.unwrap_or_default()))
            }
            Ok(dead) => ExchangeError::Dead(dead.validity, dead.message.unwrap_or_default()),
            Err(error) => unanswered(error),
        },
    }
}

/// Ends the old secret, or puts the new one in its place for good.
pub(super) async fn take_leave(provider: &DeclaredProvider, farewell: &Farewell<'_>) -> Result<(), CheckError> {
    let Source::Http(asking) = &provider.description.source else {
        return Err(CheckError::Refused("nobody can be asked to end it".into()));
    };
    let finish = provider.description.rotate.as_ref().and_then(|rotate| rotate.finish.as_ref());
    let Some(request) = finish.or(provider.description.revoke.as_ref()) else {
        return Err(CheckError::Refused("this provider revokes no token when it is asked to".into()));
    };
    let mut telemetry = Telemetry::default();
    let mut rehearsal = Rehearsal::off();
    let question = Question { token: farewell.token, app: farewell.app, parameters: farewell.parameters };
    let papers = Papers::of(&question);
    let login = provider.login(asking, &papers, &mut telemetry, &mut rehearsal).await?;
    let papers = Papers { login: login.as_ref(), new: farewell.stays, ..papers };
    let filling = Filling { papers: &papers, now: provider.clock.now() };
    let reply = provider.send(request, &filling, &mut rehearsal).await.map_err(check_error)?;
    let reading = provider.reading(asking, &papers, reply, &mut telemetry, &mut rehearsal);
    if (200..300).contains(&reading.status()) {
        return Ok(());
    }
    let (means, words) = reading.means(&[&asking.answers], &mut telemetry, &mut rehearsal);
    let facts = reading.verdict(means, words)?;
    match (facts.validity, finish, farewell.stays) {
        (Validity::Valid, ..) => Err(CheckError::Refused(facts.lacking.unwrap_or_default())),
        // A token that is dead already may have been left, or its account may be shut: then nobody can tell whether the new one took its place.
        (_, Some(_), Some(stays)) => {
            let question = Question { token: stays, app: farewell.app, parameters: farewell.parameters };
            match provider.ask(&question, &mut rehearsal).await.facts?.validity {
                Validity::Valid => Ok(()),
                _ => Err(CheckError::Unavailable("neither the old token nor the new one works at present".into())),
            }
        }
        _ => Ok(()),
    }
}
