//! The WhatsApp number behind a token, as a provider between us and Meta tells of it.

use serde_json::Value;

use super::answer::{at, scalar};
use super::facts::Facts;
use super::request::Papers;
use super::{DeclaredProvider, Filling, LoginFailed, Reading, Rehearsal};
use crate::domain::inspection::{CheckError, Validity};
use crate::domain::number::{Entity, Number, NumberError, Obstacle, Sending};
use crate::ports::{Heard, Question, Telemetry};
use crate::provider::health::health;
use crate::provider::http::check_error;
use crate::provider::values::word;
use crate::settings::description::{Means, NumberFacts, OWN_NUMBER, Pointer, Source};

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
    let id = wanted.by.as_ref().and_then(|name| reading.papers.parameters.open.get(name)).map_or(OWN_NUMBER, |id| id);
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
    let papers = Papers { login: login.as_ref(), ..papers };
    let filling = Filling { papers: &papers, now: provider.clock.now() };
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
    let clean = |text: &str| reading.clean(text).into();
    let text = |pointer: &Option<Pointer>| text_at(entry, pointer.as_ref()?);
    let number = Number {
        id: word(id),
        display: text(&wanted.display).map(|text| clean(&text)),
        quality: text(&wanted.quality).map(|text| clean(&text)),
        account: text(&wanted.account).map(|text| word(&text)),
        ..Number::default()
    };
    if let Some(node) = wanted.health.as_ref().and_then(|pointer| at(entry, pointer)) {
        let health = health(node, &clean);
        return Number { sending: health.sending, obstacles: health.obstacles, ..number };
    }
    let status = text(&wanted.sending).unwrap_or_default();
    let [available, limited, blocked] = &wanted.words;
    let among = |list: &[Box<str>]| list.iter().any(|word| **word == *status);
    let sending = match () {
        () if among(blocked) => Sending::Blocked,
        () if among(limited) => Sending::Limited,
        () if among(available) => return Number { sending: Some(Sending::Available), ..number },
        // A word that nobody described is not judged.
        () => return number,
    };
    let obstacle = |code, description| Obstacle {
        entity: Entity::Number,
        id: word(id),
        sending,
        code,
        description,
        solution: Box::default(),
    };
    let mut obstacles = told(wanted, entry, &clean).map(|(code, words)| obstacle(code, words)).collect::<Vec<_>>();
    if obstacles.is_empty() {
        obstacles.push(obstacle(None, format!("its status is {}", clean(&status)).into()));
    }
    Number { sending: Some(sending), obstacles, ..number }
}

/// Codes and words of what is in the way.
fn told<'v>(
    wanted: &'v NumberFacts,
    entry: &'v Value,
    clean: &'v impl Fn(&str) -> Box<str>,
) -> impl Iterator<Item = (Option<i64>, Box<str>)> + 'v {
    let found = wanted.obstacles.iter().flat_map(|found| {
        let list = at(entry, &found.list).and_then(Value::as_array).into_iter().flatten();
        list.map(move |item| (found, item))
    });
    found.take(MOST_OBSTACLES).map(|(found, item)| {
        let text = |pointer: &Option<Pointer>| text_at(item, pointer.as_ref()?);
        let words = text(&found.words).map(|words| clean(&words)).unwrap_or_default();
        (text(&found.code).and_then(|code| code.parse().ok()), words)
    })
}

fn text_at(value: &Value, pointer: &Pointer) -> Option<String> {
    at(value, pointer).and_then(scalar)
}

/// More reasons than anybody reads.
const MOST_OBSTACLES: usize = 10;
