//! When WhatsApp is asked about a number again: every question is a call, and a budget may be two hundred an hour.
//!
//! What it remembers is not kept over a restart: then each is asked once more, which costs one call and forgets nothing.

use std::collections::HashMap;

use super::wiring::Wanted;
use crate::domain::number::{Beside, NumberError};
use crate::domain::time::{Span, Timestamp};
use crate::settings::{Schedule, Token};

/// When what was last answered, by the place of the token in the configuration.
#[derive(Debug, Default)]
pub struct Probes {
    numbers: HashMap<usize, Timestamp>,
    subscriptions: HashMap<usize, Timestamp>,
}

impl Probes {
    /// What a check of this token should ask beside.
    pub fn wanted(&self, index: usize, token: &Token, schedule: &Schedule, now: Timestamp) -> Wanted {
        let Some(whatsapp) = &token.whatsapp else { return Wanted::NOTHING };
        let number = whatsapp.phone_number_id.is_some();
        Wanted {
            number: number && is_due(self.numbers.get(&index), schedule.numbers, now),
            // Without a number there is nothing to keep the answer with.
            subscription: number
                && whatsapp.business_account_id.is_some()
                && is_due(self.subscriptions.get(&index), schedule.webhooks, now),
        }
    }

    /// Notes what was answered. What was not is asked again at the next check.
    pub fn note(&mut self, index: usize, seen: &Beside, now: Timestamp) {
        if is_answered(seen.number.as_ref()) {
            self.numbers.insert(index, now);
        }
        if is_answered(seen.subscription.as_ref()) {
            self.subscriptions.insert(index, now);
        }
    }
}

/// An answer of the future was given before the clock moved back.
fn is_due(last: Option<&Timestamp>, every: Span, now: Timestamp) -> bool {
    last.is_none_or(|last| *last > now || now.since(*last) >= every)
}

fn is_answered<T>(seen: Option<&Result<T, NumberError>>) -> bool {
    seen.is_some_and(|seen| !matches!(seen, Err(NumberError::Unanswered(_))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::inspection::CheckError;
    use crate::domain::number::{Number, Subscription};
    use crate::settings;

    #[test]
    fn the_least_calls_that_keep_a_number_watched() {
        let text = "[schedule]\nnumbers = \"1h\"\n[[tokens]]\nname = \"a\"\nsecret = { env = \"X\" }\n\
                    [tokens.whatsapp]\nphone_number_id = \"1\"\nbusiness_account_id = \"2\"\n\
                    [[tokens]]\nname = \"b\"\nsecret = { env = \"X\" }\n";
        let settings = settings::from_text(text, "test", &[]).expect("a valid configuration").settings;
        let at = |seconds: i64| Timestamp::from_unix(seconds);
        let wanted = |probes: &Probes, index: usize, seconds: i64| {
            let wanted = probes.wanted(index, &settings.tokens[index], &settings.schedule, at(seconds));
            (wanted.number, wanted.subscription)
        };
        let mut probes = Probes::default();
        assert_eq!(wanted(&probes, 0, 0), (true, true));
        assert_eq!(wanted(&probes, 1, 0), (false, false), "no number, no call");
        let unanswered = || Err(NumberError::Unanswered(CheckError::Refused("".into())));
        probes.note(0, &Beside { number: Some(Ok(Number::default())), subscription: Some(unanswered()) }, at(0));
        assert_eq!(wanted(&probes, 0, 10), (false, true), "what was not answered is asked again");
        probes.note(0, &Beside { number: None, subscription: Some(Ok(Subscription::Nobody)) }, at(10));
        assert_eq!(wanted(&probes, 0, 3_599), (false, false));
        assert_eq!(wanted(&probes, 0, 3_600), (true, false));
        assert_eq!(wanted(&probes, 0, 86_410), (true, true));
        assert_eq!(wanted(&probes, 0, -1), (true, true), "the clock moved back");
    }
}
