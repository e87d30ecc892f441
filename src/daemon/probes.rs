//! When WhatsApp is asked about a number again: every question is a call, and a budget may be two hundred an hour.
//!
//! What it remembers is not kept over a restart: then each is asked once more, which costs one call and forgets nothing.

use std::collections::HashMap;

use super::wiring::Wanted;
use crate::domain::inspection::CheckError;
use crate::domain::number::{Beside, NumberError};
use crate::domain::time::{Span, Timestamp};
use crate::settings::{Schedule, Token};

/// When each may be asked again, by the place of the token in the configuration.
#[derive(Debug, Default)]
pub struct Probes {
    numbers: HashMap<usize, Wait>,
    subscriptions: HashMap<usize, Wait>,
}

/// How long an answer stands.
#[derive(Clone, Copy, Debug)]
struct Wait {
    since: Timestamp,
    until: Timestamp,
    /// It is our own rhythm, and nobody asked us to wait.
    may_be_cut_short: bool,
}

impl Probes {
    /// What a check of this token should ask beside.
    pub fn wanted(&self, index: usize, token: &Token, now: Timestamp) -> Wanted {
        let Some(whatsapp) = &token.whatsapp else { return Wanted::NOTHING };
        let number = whatsapp.phone_number_id.is_some();
        Wanted {
            number: number && is_due(self.numbers.get(&index), now),
            // Without a number there is nothing to keep the answer with.
            subscription: number
                && whatsapp.business_account_id.is_some()
                && is_due(self.subscriptions.get(&index), now),
        }
    }

    /// Takes in what was asked, once it is committed. What was not answered is asked again at the next check, unless WhatsApp asked to be left
    /// alone, or its budget is nearly used: its budgets are those of a number and an account, not of the app, so nothing else waits for them.
    pub fn note(&mut self, index: usize, seen: &Beside, used: f64, schedule: &Schedule, now: Timestamp) {
        let strained = (used >= GO_EASY_FROM).then(|| now.plus(BUDGET_WINDOW));
        let note = |waits: &mut HashMap<usize, Wait>, error: Option<&NumberError>, every: Span| {
            let until = match error {
                Some(NumberError::Unanswered(CheckError::Throttled(until))) => (*until).min(now.plus(LONGEST_PAUSE)),
                Some(NumberError::Unanswered(_)) => now,
                Some(NumberError::Missing(_) | NumberError::Forbidden(_) | NumberError::Token(_)) | None => {
                    now.plus(every)
                }
            };
            let throttled = matches!(error, Some(NumberError::Unanswered(CheckError::Throttled(_))));
            let until = strained.map_or(until, |strained| until.max(strained));
            let may_be_cut_short = !throttled && strained.is_none();
            waits.insert(index, Wait { since: now, until, may_be_cut_short });
        };
        if let Some(said) = &seen.number {
            note(&mut self.numbers, said.as_ref().err(), schedule.numbers);
        }
        if let Some(said) = &seen.subscription {
            note(&mut self.subscriptions, said.as_ref().err(), schedule.webhooks);
        }
    }

    /// Who gets what arrives is asked at the next check: something is wrong with it, or another secret asks.
    pub fn ask_for_subscription(&mut self, index: usize) {
        // What WhatsApp asked for, or its budget, stands.
        if self.subscriptions.get(&index).is_some_and(|wait| wait.may_be_cut_short) {
            self.subscriptions.remove(&index);
        }
    }
}

/// An answer of the future was given before the clock moved back.
fn is_due(wait: Option<&Wait>, now: Timestamp) -> bool {
    wait.is_none_or(|wait| wait.since > now || wait.until <= now)
}

/// From this share of a budget on we go easy (reference §7).
const GO_EASY_FROM: f64 = 0.9;
/// Budgets roll over an hour.
const BUDGET_WINDOW: Span = Span::hours(1);
/// No pause outlasts this, whatever a header says.
const LONGEST_PAUSE: Span = Span::days(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::number::{Number, Subscription};
    use crate::settings;

    // promise 62
    #[test]
    fn the_least_calls_that_keep_a_number_watched() {
        let text = "[schedule]\nnumbers = \"1h\"\n[[tokens]]\nname = \"a\"\nsecret = { env = \"X\" }\n\
                    [tokens.whatsapp]\nphone_number_id = \"1\"\nbusiness_account_id = \"2\"\n\
                    [[tokens]]\nname = \"b\"\nsecret = { env = \"X\" }\n";
        let settings = settings::from_text(text, "test", &[]).expect("a valid configuration").settings;
        let at = |seconds: i64| Timestamp::from_unix(seconds);
        let wanted = |probes: &Probes, index: usize, seconds: i64| {
            let wanted = probes.wanted(index, &settings.tokens[index], at(seconds));
            (wanted.number, wanted.subscription)
        };
        let mut probes = Probes::default();
        let note = |probes: &mut Probes, seen: Beside, used: f64, seconds: i64| {
            probes.note(0, &seen, used, &settings.schedule, at(seconds));
        };
        assert_eq!(wanted(&probes, 0, 0), (true, true));
        assert_eq!(wanted(&probes, 1, 0), (false, false), "no number, no call");
        let number = || Some(Ok(Number::default()));
        let lost = || NumberError::Unanswered(CheckError::Refused("".into()));
        note(&mut probes, Beside { number: number(), subscription: Some(Err(lost())) }, 0.0, 0);
        assert_eq!(wanted(&probes, 0, 10), (false, true), "what was not answered is asked again");
        note(&mut probes, Beside { number: None, subscription: Some(Ok(Subscription::Nobody)) }, 0.0, 10);
        assert_eq!(wanted(&probes, 0, 3_599), (false, false));
        assert_eq!(wanted(&probes, 0, 3_600), (true, false));
        assert_eq!(wanted(&probes, 0, 86_410), (true, true));
        assert_eq!(wanted(&probes, 0, -1), (true, true), "the clock moved back");
        probes.ask_for_subscription(0);
        assert_eq!(wanted(&probes, 0, 20), (false, true));
        let until = at(9_000);
        let throttled = Some(Err(NumberError::Unanswered(CheckError::Throttled(until))));
        note(&mut probes, Beside { number: throttled, subscription: None }, 0.0, 4_000);
        assert_eq!(
            (wanted(&probes, 0, 8_999).0, wanted(&probes, 0, 9_000).0),
            (false, true),
            "as long as it was asked for"
        );
        note(&mut probes, Beside { number: Some(Err(lost())), subscription: None }, 0.95, 10_000);
        assert_eq!(
            (wanted(&probes, 0, 13_599).0, wanted(&probes, 0, 13_600).0),
            (false, true),
            "a budget rolls over an hour"
        );
    }
}
