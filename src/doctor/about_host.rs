//! What all tokens share: the relays, the API version and its budget, our clock, the numbers that are told.

use super::guide::{Bad, Found, Wrong};
use super::phone;
use super::remedy::Commands;
use crate::advice::plain;
use crate::channel::mail::NotTaken;
use crate::domain::time::{Span, Timestamp};
use crate::domain::watcher::{Version, is_off};
use crate::provider::meta::versions::{Life, RECOMMENDED, life};
use crate::redact::without_numbers;
use crate::settings::value::SecretRef;
use crate::settings::{Relay, Settings};
use crate::zone::Zone;

/// Whether our clock agrees with the provider's.
pub(super) fn clock(offset: Option<Span>) -> Found {
    let Some(offset) = offset else {
        return Found::NotTried("no answer told the provider's time".to_owned());
    };
    if !is_off(Some(offset)) {
        return Found::Right(format!("{} s from the provider's", offset.as_seconds()));
    }
    let way = if offset > Span::ZERO { "ahead of" } else { "behind" };
    Found::Wrong(Wrong {
        bad: Bad::Warning,
        saw: format!("{} {way} the provider's", offset.abs()),
        remedy: vec!["Let the clock be set by NTP (timedatectl set-ntp true): dates are judged by it.".to_owned()],
        next: "timedatectl".to_owned(),
    })
}

/// Whether the API version that is asked for is alive, and is the one that runs.
pub(super) fn version(asked: &str, served: Option<&str>, zone: &Zone, now: Timestamp, commands: &Commands) -> Found {
    let wrong = |saw: String| {
        Found::Wrong(Wrong {
            bad: Bad::Warning,
            saw,
            remedy: vec![format!(
                "Set version = \"{RECOMMENDED}\" under [provider.meta]; calls of a version that has ended run as another one, without a word."
            )],
            next: commands.doctor_for_all(),
        })
    };
    let version = Version { asked: asked.into(), served: served.map(Into::into), ends: life(asked).end() };
    if let Some(fault) = version.fault(now) {
        return wrong(fault);
    }
    Found::Right(match life(asked) {
        Life::Until(end) => format!("{asked}, usable until {}", zone.date(end)),
        Life::Open => format!("{asked}, the newest; its end is not set yet"),
        Life::Unknown | Life::Over => format!("{asked}, which this program does not know: its end is not known here"),
    })
}

/// What was heard of whoever keeps the budget.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Heard {
    /// Nothing.
    Nothing,
    /// That it is used up.
    Enough,
    /// Some answer.
    Something,
}

/// How much of an API budget is used.
pub(super) fn budget(usage: &[(&'static str, f64)], heard: Heard, commands: &Commands) -> Found {
    match heard {
        Heard::Nothing => return Found::NotTried("there was no answer".to_owned()),
        Heard::Enough => {
            return Found::NotTried("the provider answers that a limit is reached, and tells no share".to_owned());
        }
        Heard::Something => {}
    }
    let Some((resource, used)) = usage.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1)) else {
        return Found::Right(
            "no usage is reported: providers do so only after a fair number of calls, or not at all".to_owned(),
        );
    };
    let percent = used * 100.0;
    if used < NEARLY {
        return Found::Right(format!("{percent:.0} % used at most ({resource})"));
    }
    Found::Wrong(Wrong {
        bad: Bad::Warning,
        saw: format!("{percent:.0} % of the budget is used ({resource}); beyond it calls are refused"),
        remedy: vec![
            "Find who calls so much: the application's log, or the dashboard of the app. tokenwatch slows down by itself, and its own calls are few."
                .to_owned(),
        ],
        next: commands.doctor_for_all(),
    })
}

/// What came of a relay.
pub(super) enum Tried {
    /// It would take a message for so many addresses, or says why not.
    Asked(Result<usize, NotTaken>),
    /// Its password cannot be read.
    NoPassword(String),
}

/// Whether a relay takes mail; `others` says whether another one does.
pub(super) fn relay(relay: &Relay, tried: &Tried, others: bool, commands: &Commands) -> Found {
    let name = format!("{}:{}", relay.url.host, relay.url.port);
    let place = relay.password.as_ref().map_or_else(|| "its password".to_owned(), ToString::to_string);
    let (problem, step, bad) = match tried {
        Tried::Asked(Ok(0)) => return Found::Right(format!("{name} answers; no receiver has an address")),
        Tried::Asked(Ok(1)) => return Found::Right(format!("{name} takes mail for the one address; nothing was sent")),
        Tried::Asked(Ok(n)) => {
            return Found::Right(format!("{name} takes mail for all {n} addresses; nothing was sent"));
        }
        Tried::NoPassword(_) if matches!(relay.password, Some(SecretRef::Credential(_))) => {
            return Found::NotTried(format!(
                "{name}: its password is {place}, which is there within the unit only; `tokenwatch test-alert` tries it there"
            ));
        }
        Tried::NoPassword(problem) => (
            format!("its password cannot be read: {problem}"),
            format!("See that {place} can be read by the user that asks."),
            Bad::Unknown,
        ),
        Tried::Asked(Err(said)) => {
            let bad = match (said.later, others) {
                (true, _) => Bad::Unknown,
                (false, true) => Bad::Warning,
                (false, false) => Bad::Critical,
            };
            (said.words.clone(), cure(said, &name, &place), bad)
        }
    };
    Found::Wrong(Wrong {
        bad,
        saw: format!("{name}: {}", plain(&problem)),
        remedy: vec![step],
        next: commands.doctor_for_all(),
    })
}

fn cure(said: &NotTaken, name: &str, place: &str) -> String {
    match said.at {
        _ if said.later => "It asks to try again later, as relays do with senders they do not know yet: try again in some minutes.".to_owned(),
        "logging in" => format!("Put the right password there ({place}), or correct the user in the relay's url."),
        "starting TLS" => {
            "See that its certificate is for this name; for a private authority name ca_file. Perhaps it speaks TLS at once (smtps://…:465).".to_owned()
        }
        "naming the sender" | "naming the receivers" => {
            "See that the relay lets this host send from smtp.from to these addresses.".to_owned()
        }
        _ if said.words.contains("STARTTLS") => "It offers no TLS: try smtps://…:465, or another relay.".to_owned(),
        _ => format!("See that {name} is right and can be reached from here (name service, firewall, a provider that blocks outgoing mail)."),
    }
}

/// The numbers that notices are sent to.
pub(super) fn typed_numbers(settings: &Settings, commands: &Commands) -> Vec<Found> {
    let typed =
        settings.receivers.iter().flat_map(|(name, receiver)| receiver.whatsapp.iter().map(move |it| (name, it)));
    let wrong = |name: &str, why: &str| {
        Found::Wrong(Wrong {
            bad: Bad::Warning,
            // The numbers are those of people, so none is repeated.
            saw: format!("receiver {name}: {}", without_numbers(why)),
            remedy: vec![format!("Correct it in [receivers.{name}] whatsapp.to.")],
            next: commands.doctor_for_all(),
        })
    };
    let mut found = Vec::new();
    for (name, target) in typed {
        let faults: Vec<String> = target.to.iter().filter_map(|number| phone::parse(number).err()).collect();
        if faults.is_empty() {
            found.push(Found::Right(format!("receiver {name}: {} in E.164 form", target.to.len())));
        }
        found.extend(faults.iter().map(|fault| wrong(name.as_str(), fault)));
    }
    found
}

/// From this share on the daemon slows down (reference §7).
const NEARLY: f64 = 0.9;
