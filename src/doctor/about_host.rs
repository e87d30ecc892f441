//! What all tokens share: the relays, the API version and its budget, our clock.

use super::guide::{Bad, Found, Wrong};
use super::remedy::Commands;
use crate::domain::time::{Span, Timestamp};
use crate::domain::watcher::{Version, is_off};
use crate::provider::meta::versions::{Life, RECOMMENDED, life};
use crate::settings::Relay;
use crate::zone::Zone;

/// Whether our clock agrees with the provider's.
pub(super) fn clock(offset: Option<Span>) -> Found {
    let Some(offset) = offset else {
        return Found::NotTried("the provider did not tell its time, so there is nothing to compare with".to_owned());
    };
    if !is_off(Some(offset)) {
        return Found::Right(format!("{} from the provider's", seconds(offset)));
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

/// How much of an API budget is used.
pub(super) fn budget(usage: &[(&'static str, f64)], commands: &Commands) -> Found {
    let Some((resource, used)) = usage.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1)) else {
        return Found::Right("nothing to report: Meta tells of a budget only after a fair number of calls".to_owned());
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

/// Whether a relay takes mail; `others` says whether another one does.
pub(super) fn relay(relay: &Relay, said: &Result<usize, String>, others: bool, commands: &Commands) -> Found {
    let name = format!("{}:{}", relay.url.host, relay.url.port);
    let problem = match said {
        Ok(0) => return Found::Right(format!("{name} answers; no receiver has an address")),
        Ok(addresses) => {
            return Found::Right(format!("{name} takes mail for all {addresses} addresses; nothing was sent"));
        }
        Err(problem) => problem,
    };
    let place = relay.password.as_ref().map_or_else(|| "its password".to_owned(), ToString::to_string);
    let step = if problem.contains("password cannot be read") {
        format!("See that {place} can be read by the user that asks; a credential can be read within the unit only.")
    } else if problem.contains("refused the login") {
        format!("Put the right password there ({place}), or correct the user in the relay's url.")
    } else if problem.contains("STARTTLS") || problem.contains("starting TLS") {
        "See whether the relay speaks TLS at once (smtps://…:465), and whether its certificate is for this name (ca_file for a private authority)."
            .to_owned()
    } else if problem.contains("naming the receivers") || problem.contains("addresses") || problem.contains("sender") {
        "See that the relay lets this host send from smtp.from to these addresses.".to_owned()
    } else {
        format!(
            "See that {name} is right and can be reached from here (name service, firewall, the provider's block of outgoing mail)."
        )
    };
    Found::Wrong(Wrong {
        bad: if others { Bad::Warning } else { Bad::Critical },
        saw: format!("{name}: {problem}"),
        remedy: vec![step],
        next: commands.doctor_for_all(),
    })
}

fn seconds(offset: Span) -> String {
    format!("{} s", offset.as_seconds())
}

/// From this share on the daemon slows down (reference §7).
const NEARLY: f64 = 0.9;
