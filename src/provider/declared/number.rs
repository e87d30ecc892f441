//! The WhatsApp number behind a token, as a provider between us and Meta tells of it.

use serde_json::Value;

use super::answer::{as_text, at};
use super::facts::Facts;
use super::request::Papers;
use super::{DeclaredProvider, Filling, LoginFailed, Reading, Rehearsal, check_error};
use crate::domain::inspection::{CheckError, Validity};
use crate::domain::number::{Entity, Number, NumberError, Obstacle, Sending};
use crate::ports::{Heard, Question, Telemetry};
use crate::provider::meta::{health, word};
use crate::settings::description::{Means, NumberFacts, Pointer, Source};

/// Asks about the number.
pub(super) async fn number(provider: &DeclaredProvider, question: &Question<'_>, id: &str) -> Heard<Number> {
    let mut telemetry = Telemetry::default();
    let said = ask(provider, question, id, &mut telemetry).await;
    Heard { said, telemetry }
}

/// The number, as the answer to the token's own check tells of it; `None` where it takes a request of its own.
pub(super) fn beside(reading: &Reading<'_>) -> Option<Number> {
    let wanted = reading.provider.description.number.as_ref().filter(|wanted| wanted.check.is_none())?;
    let facts = Facts { document: reading.document(), papers: reading.papers, now: reading.now };
    let id = wanted.by.as_ref().and_then(|name| reading.papers.parameters.open.get(name)).map_or(OWN, |id| id);
    facts.entry(wanted.select.as_ref()).map(|entry| read(wanted, entry, id, reading))
}

async fn ask(
    provider: &DeclaredProvider,
    question: &Question<'_>,
    id: &str,
    telemetry: &mut Telemetry,
) -> Result<Number, NumberError> {
    let (Some(wanted), Source::Http(asking)) = (&provider.description.number, &provider.description.source) else {
        return Err(NumberError::Unanswered(CheckError::Refused("it tells nothing of WhatsApp numbers".into())));
    };
    let mut rehearsal = Rehearsal::off();
    let papers = Papers::of(question);
    let unanswered = |failed: LoginFailed| NumberError::Unanswered(failed.into());
    let login = provider.login(asking, &papers, telemetry, &mut rehearsal).await.map_err(unanswered)?;
    let filling = Filling { papers: &papers, login: login.as_ref(), new: None, now: provider.clock.now() };
    let request = wanted.check.as_ref().unwrap_or(&asking.check);
    let reply = provider.send(request, &filling, &mut rehearsal).await;
    let reply = reply.map_err(|failure| NumberError::Unanswered(check_error(failure)))?;
    let reading = provider.reading(asking, &papers, reply, telemetry, &mut rehearsal);
    if !(200..300).contains(&reading.status()) {
        return Err(refused(&reading, telemetry, &mut rehearsal));
    }
    let facts = Facts { document: reading.document(), papers: &papers, now: reading.now };
    let entry = facts.entry(wanted.select.as_ref());
    let entry = entry.ok_or_else(|| NumberError::Missing(format!("there is no sender {id}").into()))?;
    Ok(read(wanted, entry, id, &reading))
}

fn refused(reading: &Reading<'_>, telemetry: &mut Telemetry, rehearsal: &mut Rehearsal) -> NumberError {
    if reading.status() == 404 {
        return NumberError::Missing("there is no such number (HTTP 404)".into());
    }
    let (means, words) = reading.means(&[&reading.asking.answers], telemetry, rehearsal);
    match means {
        Means::Forbidden => NumberError::Forbidden(words.into()),
        means => match reading.verdict(means, words) {
            Ok(facts) if facts.validity == Validity::Valid => NumberError::Forbidden(facts.lacking.unwrap_or_default()),
            Ok(facts) => NumberError::Token(facts.message.unwrap_or_default()),
            Err(error) => NumberError::Unanswered(error),
        },
    }
}

fn read(wanted: &NumberFacts, entry: &Value, id: &str, reading: &Reading<'_>) -> Number {
    let text = |pointer: &Option<Pointer>| pointer.as_ref().and_then(|pointer| at(entry, pointer)).and_then(as_text);
    let words = |pointer: &Option<Pointer>| text(pointer).map(|text| reading.clean(&text).into());
    let status = text(&wanted.sending);
    let [available, limited, blocked] = &wanted.words;
    let among = |list: &[Box<str>]| status.as_ref().is_some_and(|status| list.iter().any(|word| **word == **status));
    let mut number = Number {
        id: word(id),
        display: words(&wanted.display),
        quality: words(&wanted.quality),
        account: text(&wanted.account).map(|text| word(&text)),
        ..Number::default()
    };
    if let Some(found) = wanted.health.as_ref().and_then(|pointer| at(entry, pointer)) {
        let (sending, obstacles) = health(found, &|text| reading.clean(text).into());
        (number.sending, number.obstacles) = (sending, obstacles);
        return number;
    }
    number.sending = match () {
        () if among(blocked) => Some(Sending::Blocked),
        () if among(limited) => Some(Sending::Limited),
        // A word that nobody described is not judged.
        () if among(available) => Some(Sending::Available),
        () => None,
    };
    let Some(sending) = number.sending.filter(|sending| *sending > Sending::Available) else { return number };
    if let Some((list, code, words)) = &wanted.obstacles {
        let entries = at(entry, list).and_then(Value::as_array).into_iter().flatten().take(MOST_OBSTACLES);
        number.obstacles = entries
            .map(|entry| Obstacle {
                entity: Entity::Number,
                id: word(id),
                sending,
                code: code
                    .as_ref()
                    .and_then(|code| at(entry, code))
                    .and_then(as_text)
                    .and_then(|code| code.parse().ok()),
                description: words
                    .as_ref()
                    .and_then(|words| at(entry, words))
                    .and_then(as_text)
                    .map(|text| reading.clean(&text).into())
                    .unwrap_or_default(),
                solution: Box::default(),
            })
            .collect();
    }
    if number.obstacles.is_empty() {
        let status = reading.clean(&status.unwrap_or_default());
        number.obstacles.push(Obstacle {
            entity: Entity::Number,
            id: word(id),
            sending,
            code: None,
            description: format!("its status is {status}").into(),
            solution: Box::default(),
        });
    }
    number
}

/// The number of a token that stands for one number only.
const OWN: &str = "own";
/// More reasons than anybody reads.
const MOST_OBSTACLES: usize = 10;
