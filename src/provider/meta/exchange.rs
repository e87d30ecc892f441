//! Exchange, refresh and revocation (reference §3): another token in the place of this one.
//!
//! The documented requests are GETs, so the secrets of the app stand in the query. Nothing of a request, and nothing of a body that may hold
//! the new token, is ever put into a text. It never says that a token is good: only an inspection can.

use http::HeaderMap;
use url::Url;
use zeroize::Zeroizing;

use super::classify::{self, Refusal};
use super::wire::{Envelope, GraphError};
use super::{Meta, Reading, app_token, is_app_message, proof, proof_of, started};
use crate::domain::inspection::{CheckError, Validity};
use crate::domain::renewal::Method;
use crate::domain::time::Span;
use crate::outgoing::{Reply, bearer};
use crate::ports::{Credentials, Exchange, ExchangeError, Exchanged, Farewell, Given, Question, Telemetry};
use crate::provider::http::check_error;
use crate::secret::Secret;

/// Asks for another token.
pub(super) async fn exchange(meta: &Meta, request: Exchange<'_>) -> Exchanged {
    let started = started();
    let mut telemetry = Telemetry::default();
    let Some(app) = request.app else {
        return Exchanged::refused("the app has no secret here, and an exchange needs it", telemetry);
    };
    let given = match prepare(meta, &request, &app) {
        Ok((url, headers)) => match meta.http.ask(url, headers).await {
            Ok(reply) => answer(meta, reply, request, &mut telemetry),
            Err(failure) => {
                let may_be_done = failure.may_have_arrived;
                Err(ExchangeError::Unanswered { error: check_error(failure), may_be_done })
            }
        },
        Err(why) => Err(ExchangeError::Unanswered { error: CheckError::Refused(why.into()), may_be_done: false }),
    };
    telemetry.seconds = started.elapsed().as_secs_f64();
    Exchanged { given, telemetry }
}

/// Revokes a token. The app itself asks, so that it needs no other token that is alive.
pub(super) async fn revoke(meta: &Meta, farewell: &Farewell<'_>) -> Result<(), CheckError> {
    let Farewell { token, app, parameters, .. } = farewell;
    let app = app.ok_or_else(|| CheckError::Refused("the app has no secret here, and a revocation needs it".into()))?;
    let mut reply = meta.http.ask(revoke_url(meta, token, &app), HeaderMap::new()).await.map_err(check_error)?;
    let body = Zeroizing::new(std::mem::take(&mut reply.body));
    let question = Question { token, app: Some(app), parameters };
    let reading = Reading { reply: &reply, question: &question, now: meta.clock.now() };
    let Some(mut envelope) = Envelope::read(&body) else { return Err(reading.not_json()) };
    if let Some(error) = envelope.refusal() {
        return match dead(&error) {
            // What cannot be read here may be alive elsewhere.
            Some(Validity::Expired | Validity::Revoked(_)) => Ok(()),
            _ => Err(reading.of(classify::exchange_refusal(&error, reply.status), &error.message)),
        };
    }
    match (reply.status, envelope.success) {
        (200, Some(true)) => Ok(()),
        (200, Some(false)) => Err(CheckError::Refused("the token was not revoked, and no reason was given".into())),
        (200, None) => Err(CheckError::Garbled("the answer does not say whether the token was revoked".into())),
        (status, _) => Err(reading.of(classify::by_status(status), &format!("HTTP {status}"))),
    }
}

/// The request, or why it cannot be made.
fn prepare(meta: &Meta, request: &Exchange<'_>, app: &Credentials<'_>) -> Result<(Url, HeaderMap), &'static str> {
    match request.method {
        Method::Exchange => Ok((exchange_url(meta, request, app, false), HeaderMap::new())),
        Method::Refresh => Ok((exchange_url(meta, request, app, true), HeaderMap::new())),
        Method::Extend | Method::Rotate | Method::RefreshToken => Err("Meta knows no such exchange"),
        Method::Reread => {
            let page = request.page.ok_or("it is not known which page the token belongs to; check the token first")?;
            // An id with a slash in it would ask for something else.
            if page.is_empty() || !page.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err("the id of the page is no number");
            }
            let headers = bearer(request.token).ok_or("the user token holds signs that no token has")?;
            Ok((page_url(meta, request, app, page), headers))
        }
    }
}

/// `GET /vNN.0/oauth/access_token?grant_type=fb_exchange_token&…` (reference §3.2 and §3.4). The app's secret is proof enough.
fn exchange_url(meta: &Meta, request: &Exchange<'_>, app: &Credentials<'_>, sixty_days: bool) -> Url {
    let mut url = meta.endpoint("oauth/access_token");
    {
        let mut query = url.query_pairs_mut();
        query.append_pair("grant_type", "fb_exchange_token");
        query.append_pair("client_id", app.id);
        query.append_pair("client_secret", app.secret.expose());
        if sixty_days {
            query.append_pair("set_token_expires_in_60_days", "true");
        }
        query.append_pair("fb_exchange_token", request.token.expose());
    }
    url
}

/// `GET /vNN.0/PAGE?fields=access_token` (reference §3.6). The user token asks for itself, so the proof is over it.
fn page_url(meta: &Meta, request: &Exchange<'_>, app: &Credentials<'_>, page: &str) -> Url {
    let mut url = meta.endpoint(page);
    {
        let mut query = url.query_pairs_mut();
        query.append_pair("fields", "access_token");
        if app.proof {
            query.append_pair("appsecret_proof", &proof_of(app, request.token));
        }
    }
    url
}

/// `GET /vNN.0/oauth/revoke?…` (reference §3.4).
fn revoke_url(meta: &Meta, token: &Secret, app: &Credentials<'_>) -> Url {
    let caller = app_token(app);
    let mut url = meta.endpoint("oauth/revoke");
    {
        let mut query = url.query_pairs_mut();
        query.append_pair("client_id", app.id);
        query.append_pair("client_secret", app.secret.expose());
        query.append_pair("revoke_token", token.expose());
        query.append_pair("access_token", &caller);
        if app.proof {
            query.append_pair("appsecret_proof", &proof(app, &caller));
        }
    }
    url
}

pub(super) fn answer(
    meta: &Meta,
    mut reply: Reply,
    request: Exchange<'_>,
    telemetry: &mut Telemetry,
) -> Result<Given, ExchangeError> {
    let now = meta.clock.now();
    meta.note(&reply, now, telemetry);
    let body = Zeroizing::new(std::mem::take(&mut reply.body));
    let question = Question { token: request.token, app: request.app, parameters: request.parameters };
    let reading = Reading { reply: &reply, question: &question, now };
    let lost = |error| ExchangeError::Unanswered { error, may_be_done: true };
    let Some(mut envelope) = Envelope::read(&body).or_else(|| Envelope::read_query(&body)) else {
        return Err(lost(reading.not_json()));
    };
    if let Some(error) = envelope.refusal() {
        telemetry.error_codes.push(error.code.map_or("other", classify::code_label).into());
        return Err(refused(&reading, &error));
    }
    if reply.status != 200 {
        return Err(lost(reading.of(classify::by_status(reply.status), &format!("HTTP {}", reply.status))));
    }
    if request.page.is_some_and(|page| envelope.id.as_deref().is_some_and(|id| id != page)) {
        return Err(lost(CheckError::Garbled("the answer is about another page".into())));
    }
    match envelope.access_token.filter(Secret::is_one_word) {
        Some(secret) => {
            let ends = envelope.expires_in.and_then(lasts).map(|lasts| now.plus(lasts));
            Ok(Given { secret, ends, refresh_token: None })
        }
        None => Err(lost(CheckError::Garbled("the answer holds no token".into()))),
    }
}

/// A Graph error: about the token, the app, or neither. It was not carried out, unless the provider speaks of trouble of its own: then nobody
/// knows how far it came.
fn refused(reading: &Reading<'_>, error: &GraphError) -> ExchangeError {
    if let Some(validity) = dead(error) {
        return ExchangeError::Dead(validity, reading.clean(&error.message));
    }
    let refusal = classify::exchange_refusal(error, reading.reply.status);
    let may_be_done = refusal == Refusal::Unavailable;
    ExchangeError::Unanswered { error: reading.of(refusal, &error.message), may_be_done }
}

/// How the token ended, where the error surely says that it did.
fn dead(error: &GraphError) -> Option<Validity> {
    classify::certain_fate(error).filter(|_| !is_app_message(error)).map(|fate| fate.validity)
}

/// Zero and nonsense are no promise, and a token of the far future would be one without an end.
fn lasts(seconds: i64) -> Option<Span> {
    (1..=LONGEST_LIFE.as_seconds()).contains(&seconds).then(|| Span::seconds(seconds))
}

/// Meta gives 60 days.
const LONGEST_LIFE: Span = Span::days(3_650);
