//! WhatsApp's own part of the Graph API: a number and its health, who is subscribed to an account, and a message to try it (reference §9).
//!
//! Every question is asked with the token itself, in a header. It judges nothing, and whatever text it hands on is redacted and short.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};

use super::wire::{Envelope, GraphError, NumberNode};
use super::{Meta, Reading, classify, is_app_message, proof_of};
use crate::domain::inspection::CheckError;
use crate::domain::number::{Number, NumberError, Subscription};
use crate::graph::lacks_a_permission;
use crate::outgoing::{Reply, bearer};
use crate::ports::{Heard, Listed, Message, Question, Sent, Telemetry, Unsent};
use crate::provider::health::{Health, health};
use crate::provider::http::{check_error, started};
use crate::provider::values::{as_text, short, word};
use crate::redact::without_numbers;

/// `GET /vNN.0/{phone-number-id}`: one call tells about the number, its account, business and app.
pub(super) async fn number(meta: &Meta, question: &Question<'_>, id: &str) -> Heard<Number> {
    ask(meta, question, &[id], &[("fields", NUMBER_FIELDS)], |body, reading| {
        let node: NumberNode = serde_json::from_value(body).ok()?;
        node.id.is_some().then(|| of_node(node, reading))
    })
    .await
}

/// `GET /vNN.0/{waba-id}/subscribed_apps`.
pub(super) async fn subscription(
    meta: &Meta,
    question: &Question<'_>,
    account: &str,
    app_id: Option<&str>,
) -> Heard<Subscription> {
    ask(meta, question, &[account, "subscribed_apps"], &[], |body, _| {
        let apps = body.get("data")?.as_array()?;
        let ids: BTreeSet<String> = apps.iter().filter_map(subscribed_app).collect();
        Some(match app_id {
            _ if apps.is_empty() => Subscription::Nobody,
            None => Subscription::Somebody,
            Some(ours) if ids.contains(ours) => Subscription::Ours,
            Some(_) => Subscription::Others,
        })
    })
    .await
}

/// `GET /vNN.0/{waba-id}/phone_numbers`: the numbers of an account, for whoever configured another one.
pub(super) async fn numbers_of(meta: &Meta, question: &Question<'_>, account: &str) -> Heard<Vec<Listed>> {
    let query = [("fields", "id,display_phone_number"), ("limit", "25")];
    ask(meta, question, &[account, "phone_numbers"], &query, |body, _| {
        let items = body.get("data")?.as_array()?;
        let listed = |item: &Value| {
            let display = item.get("display_phone_number").and_then(as_text).unwrap_or_default();
            Some(Listed { id: word(&as_text(item.get("id")?)?), display: short(&display) })
        };
        Some(items.iter().filter_map(listed).collect())
    })
    .await
}

/// `POST /vNN.0/{phone-number-id}/messages`: a template message. Accepted is not delivered (reference §9.4).
pub(super) async fn send(meta: &Meta, question: &Question<'_>, message: &Message<'_>) -> Result<Sent, Unsent> {
    let unanswered = |error| Unsent { code: None, words: Box::default(), why: NumberError::Unanswered(error) };
    let Some((url, mut headers)) = prepare(meta, question, &[message.from, "messages"], &[]) else {
        return Err(unanswered(CheckError::Refused(UNFIT.into())));
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let body = json!({
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": message.to,
        "type": "template",
        "template": {"name": message.template, "language": {"code": message.language}},
    });
    let sent = meta.http.send(Method::POST, url, headers, Bytes::from(body.to_string())).await;
    let reply = sent.map_err(|failure| unanswered(check_error(failure)))?;
    let reading = Reading { reply: &reply, question, now: meta.clock.now() };
    let Some(mut envelope) = Envelope::read(&reply.body) else { return Err(unanswered(reading.not_json())) };
    if let Some(error) = envelope.refusal() {
        // The number that it goes to is somebody's, and Meta may name it.
        let clean = without_numbers(&reading.clean(&error.in_full()));
        let error = GraphError { message: clean, error_data: None, ..error };
        let words = short(&error.message);
        return Err(Unsent { code: error.code, words, why: denial(&reading, &error) });
    }
    let answer: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let accepted = &answer["messages"][0];
    match accepted["id"].as_str().filter(|id| reply.status == 200 && !id.is_empty()) {
        Some(id) => Ok(Sent { id: word(id), status: accepted["message_status"].as_str().map(short) }),
        None => Err(unanswered(CheckError::Garbled(format!("HTTP {} without a message id", reply.status).into()))),
    }
}

async fn ask<T>(
    meta: &Meta,
    question: &Question<'_>,
    path: &[&str],
    query: &[(&str, &str)],
    read: impl FnOnce(Value, &Reading<'_>) -> Option<T>,
) -> Heard<T> {
    let started = started();
    let mut telemetry = Telemetry::default();
    let said = match prepare(meta, question, path, query) {
        None => Err(NumberError::Unanswered(CheckError::Refused(UNFIT.into()))),
        Some((url, headers)) => match meta.http.ask(url, headers).await {
            Err(failure) => Err(NumberError::Unanswered(check_error(failure))),
            Ok(reply) => answer(meta, question, &reply, &mut telemetry, read),
        },
    };
    telemetry.seconds = started.elapsed().as_secs_f64();
    Heard { said, telemetry }
}

fn answer<T>(
    meta: &Meta,
    question: &Question<'_>,
    reply: &Reply,
    telemetry: &mut Telemetry,
    read: impl FnOnce(Value, &Reading<'_>) -> Option<T>,
) -> Result<T, NumberError> {
    let now = meta.clock.now();
    meta.note(reply, now, telemetry);
    let reading = Reading { reply, question, now };
    let Some(mut envelope) = Envelope::read(&reply.body) else {
        return Err(NumberError::Unanswered(reading.not_json()));
    };
    if let Some(error) = envelope.refusal() {
        telemetry.error_codes.push(error.code.map_or("other", classify::code_label).into());
        return Err(denial(&reading, &error));
    }
    if reply.status != 200 {
        let refusal = classify::by_status(reply.status);
        return Err(NumberError::Unanswered(reading.of(refusal, &format!("HTTP {}", reply.status))));
    }
    let body = serde_json::from_slice(&reply.body).unwrap_or_default();
    let unknown = || NumberError::Unanswered(CheckError::Garbled("WhatsApp answered in an unknown form".into()));
    read(body, &reading).ok_or_else(unknown)
}

/// Where it is asked, and with what; `None` where no header can carry the token.
fn prepare(
    meta: &Meta,
    question: &Question<'_>,
    path: &[&str],
    query: &[(&str, &str)],
) -> Option<(url::Url, HeaderMap)> {
    let mut url = meta.base_url.clone();
    // Segments are escaped: an id with a slash in it asks for nothing else.
    url.path_segments_mut().ok()?.pop_if_empty().push(&meta.version).extend(path);
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    if let Some(app) = question.app.as_ref().filter(|app| app.proof) {
        // The proof belongs into the query, also of a POST (reference §5).
        url.query_pairs_mut().append_pair("appsecret_proof", &proof_of(app, question.token));
    }
    Some((url, bearer(question.token)?))
}

/// What an error says to whoever asked about a number (reference §6.2 and §9.1).
fn denial(reading: &Reading<'_>, error: &GraphError) -> NumberError {
    let text = || reading.clean(&error.in_full());
    let is_of_the_app = is_app_message(error) || error.message.contains("appsecret_proof");
    // Meta drops subcodes in places (reference §6.1), so the words must be able to tell.
    let is_unseen = error.message.contains("does not exist, cannot be loaded due to missing permissions");
    match (error.code, error.error_subcode.or(error.subcode)) {
        _ if is_of_the_app => {
            NumberError::Unanswered(reading.of(classify::refusal(error, reading.reply.status), &error.message))
        }
        (Some(100), Some(33)) | (Some(33 | 803), _) => NumberError::Missing(text()),
        (Some(100), _) if is_unseen => NumberError::Missing(text()),
        (Some(100), _) if error.message.contains("on node type (WhatsAppBusinessAccount)") => {
            NumberError::Missing("it is the id of a WhatsApp account, not of a phone number".into())
        }
        (Some(code), _) if lacks_a_permission(code) => NumberError::Forbidden(text()),
        _ if classify::token_fate(error).is_some() => NumberError::Token(text()),
        _ => NumberError::Unanswered(reading.of(classify::refusal(error, reading.reply.status), &error.message)),
    }
}

fn of_node(node: NumberNode, reading: &Reading<'_>) -> Number {
    let Health { sending, obstacles, account, business } = health(&node.health_status, &|text| reading.clean(text));
    let text = |text: Option<String>| text.map(|text| short(&text)).filter(|text| !text.is_empty());
    Number {
        id: node.id.map(|id| word(&id)).unwrap_or_default(),
        display: text(node.display_phone_number),
        name: text(node.verified_name),
        status: node.status.map(|status| word(&status)),
        quality: node.quality_rating.map(|quality| word(&quality)),
        mode: node.account_mode.map(|mode| word(&mode)),
        sending,
        account,
        business,
        obstacles,
    }
}

fn subscribed_app(item: &Value) -> Option<String> {
    as_text(item.get("whatsapp_business_api_data").unwrap_or(item).get("id")?)
}

const NUMBER_FIELDS: &str = "id,display_phone_number,verified_name,status,quality_rating,account_mode,health_status";
const UNFIT: &str = "the token holds characters that no header can carry: is it the right one?";
