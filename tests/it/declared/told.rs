//! What came of a question, in a word or two, for tables.

use tokenwatch::domain::inspection::Validity;
use tokenwatch::domain::number::{Number, NumberError};
use tokenwatch::ports::ExchangeError;

use super::*;

/// What a check came to.
pub fn told(checked: &Checked) -> String {
    match &checked.outcome.answer {
        Ok(facts) => match facts.validity {
            Validity::Valid if facts.lacking.is_some() => "forbidden".to_owned(),
            Validity::Valid => "valid".to_owned(),
            Validity::Expired => "expired".to_owned(),
            Validity::Unreadable => "unreadable".to_owned(),
            Validity::Revoked(cause) => format!("revoked: {}", cause.as_str()),
        },
        Err(error) => error.reason().to_owned(),
    }
}

/// What is said of it.
pub fn words(checked: &Checked) -> String {
    match &checked.outcome.answer {
        Ok(facts) => facts.lacking.as_deref().or(facts.message.as_deref()).unwrap_or_default().to_owned(),
        Err(error) => error.to_string(),
    }
}

/// The error codes that were counted.
pub fn codes(checked: &Checked) -> Vec<&str> {
    checked.telemetry.error_codes.iter().map(|code| &**code).collect()
}

/// What was said of the number; a check that did not ask for it has none.
pub fn number(checked: &Checked) -> Option<Result<Number, NumberError>> {
    checked.outcome.beside.as_ref()?.number.clone()
}

/// What came of the wish for another secret.
pub fn given(exchanged: &Exchanged) -> &'static str {
    match &exchanged.given {
        Ok(_) => "given",
        Err(ExchangeError::Dead(..)) => "dead",
        Err(ExchangeError::Unanswered { may_be_done: true, .. }) => "may be done",
        Err(ExchangeError::Unanswered { may_be_done: false, .. }) => "not done",
    }
}

/// The new secret.
pub fn secret(exchanged: &Exchanged) -> String {
    exchanged.given.as_ref().expect("a new secret").secret.expose().to_owned()
}

/// The story as one text, after a look that it has its parts.
pub fn story(told: &[Rehearsed], parts: &[&str]) -> String {
    let seen: Vec<&str> = told.iter().map(|part| &*part.what).collect();
    for part in parts {
        assert!(seen.contains(part), "there is no {part} in {seen:?}");
    }
    told.iter().map(|part| format!("{}\n{}\n", part.what, part.text)).collect()
}
