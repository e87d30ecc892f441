//! The words about renewal: what was tried, how it ended, and what is left for a person to do.

use crate::domain::alert::{Notice, Subject};
use crate::domain::finding::{Detail, Reason};
use crate::domain::renewal::{Ended, Origin, Outcome};
use crate::domain::time::relative;
use crate::domain::token::TokenId;
use crate::zone::Zone;

use super::{Links, plain};

/// What an entry in a calendar says about a renewal to come.
pub fn planned(name: &TokenId) -> String {
    format!(
        "tokenwatch renews {name} then, by itself: nothing has to be done.\n`tokenwatch renew {name} --dry-run` says what it will do, and why."
    )
}

/// That nothing has to be done yet, where a renewal is planned before the end and none has failed.
pub(super) fn wait(notice: &Notice) -> Option<String> {
    let note = notice.facts.renewal.as_deref().filter(|_| notice.reason == Reason::Expiring)?;
    let in_time = note.next.zip(notice.deadline).is_some_and(|(next, end)| next < end);
    let in_vain = note.last.as_ref().is_some_and(|last| last.outcome != Outcome::Renewed);
    (in_time && note.refusal.is_none() && !in_vain).then(|| {
        "Nothing yet: tokenwatch is to renew it before that, by itself, and tells you if it cannot. Only then:"
            .to_owned()
    })
}

/// What is wrong, in one line.
pub(super) fn headline(notice: &Notice) -> String {
    let name = notice.subject.name();
    match notice.reason {
        Reason::RenewalOverdue => format!("{name} should have been renewed by now"),
        Reason::RenewalWithoutGain => format!("{name} was renewed without gain: its end did not move"),
        Reason::Renewed => renewed(notice),
        _ => match last(notice).map(|last| last.outcome) {
            Some(Outcome::RolledBack) => format!("{name} was not renewed: the new token was taken back"),
            _ => format!("{name} could not be renewed"),
        },
    }
}

/// It is over, in one line.
pub(super) fn good_news(notice: &Notice) -> String {
    match last(notice).map(|last| last.outcome) {
        Some(Outcome::Renewed) => renewed(notice),
        _ => format!("{} needs no renewal any more", notice.subject.name()),
    }
}

/// Whether an incident ended by a renewal or a replacement, and not by a hand at the file.
pub(super) fn ended_it(notice: &Notice) -> bool {
    last(notice).is_some_and(|last| last.outcome == Outcome::Renewed && last.at == notice.at)
}

/// What happens.
pub(super) fn what_happens(notice: &Notice, zone: &Zone) -> String {
    let text = match &notice.detail {
        Detail::Text(text) if !text.is_empty() => format!(" {}", super::capitalised(&sentence(&plain(text)))),
        _ => String::new(),
    };
    match notice.reason {
        Reason::RenewalOverdue => format!("The renewal is long due, and none could begin.{text}"),
        Reason::RenewalWithoutGain => {
            format!(
                "The provider answered the renewal with success, but the token ends when it would have ended anyway.{text}"
            )
        }
        Reason::Renewed => {
            let end = match notice.facts.expires.date() {
                Some(at) => format!(" It now works until {} ({}).", zone.long(at), relative(at, notice.at)),
                None => String::new(),
            };
            format!("{}.{text}{end}", super::capitalised(&headline(notice)))
        }
        _ => match last(notice).map(|last| last.outcome) {
            Some(Outcome::Failed | Outcome::Refused) => {
                format!("The renewal was tried and did not succeed; nothing was touched.{text}")
            }
            _ => format!("The renewal did not come to a good end.{text}"),
        },
    }
}

/// What stops working because of it.
pub(super) fn what_breaks(notice: &Notice, users: &str) -> String {
    match (notice.reason, notice.facts.expires.date()) {
        (Reason::Renewed, _) => "Nothing.".to_owned(),
        (_, Some(at)) if at > notice.at => {
            format!("Nothing now. When the token ends, {}: {users}.", relative(at, notice.at))
        }
        _ => "Nothing now.".to_owned(),
    }
}

/// What to do; the steps to a new token follow where they help.
pub(super) fn steps(notice: &Notice, links: &Links<'_>) -> Vec<String> {
    let name = notice.subject.name();
    let mut steps = match notice.reason {
        Reason::Renewed => return Vec::new(),
        Reason::RenewalOverdue => vec![
            "Put right what stands in the way: it is named above. The renewal then begins by itself.".to_owned(),
        ],
        Reason::RenewalWithoutGain => vec![
            if notice.provider.is_meta() {
                "A token of this kind may not be extended by Meta again and again: a person must log in, or use a system user."
            } else {
                "Its provider gave a token that ends no later: there may be a limit to how long it lives in all."
            }
            .to_owned(),
        ],
        _ => match last(notice).map(|last| last.outcome) {
            Some(Outcome::RolledBack) => vec![
                "Find out why the application did not work with the new token, or why it could not be put in place: the reason is named \
                 above. The new token is kept, sealed, and tried again."
                    .to_owned(),
            ],
            _ => vec!["Read the reason above; what only a person can change is named there.".to_owned()],
        },
    };
    steps.push(format!("See what would happen now with `tokenwatch renew {name} --dry-run`, then try it with `tokenwatch renew {name}`."));
    if links.replaceable {
        steps.push(format!("Or bring a new token yourself with `tokenwatch replace {name}`:"));
    } else {
        steps.push("Or bring a new token yourself:".to_owned());
    }
    steps
}

/// What was done to renew a token, and what will be.
pub(super) fn already_done(notice: &Notice, zone: &Zone) -> String {
    if !matches!(notice.subject, Subject::Token(_)) {
        return "Nothing: an app is put right by a person only.".to_owned();
    }
    let Some(note) = &notice.facts.renewal else {
        return "tokenwatch does not renew this token: the configuration has no [tokens.renew] for it.".to_owned();
    };
    let mut text = note.last.as_ref().map_or_else(
        || "No renewal was tried yet.".to_owned(),
        |ended| {
            let when = format!("{} ({})", zone.long(ended.at), relative(ended.at, notice.at));
            format!("{} on {when}{}: {}", what(ended), by(ended), sentence(&plain(&ended.text)))
        },
    );
    if let Some(refusal) = &note.refusal {
        text.push_str(&format!(" None can begin now: {}", sentence(&plain(refusal))));
    } else if let Some(at) = note.next {
        let at = at.max(notice.at);
        text.push_str(&format!(" The next begins {} ({}).", zone.long(at), relative(at, notice.at)));
    }
    text
}

fn renewed(notice: &Notice) -> String {
    let name = notice.subject.name();
    let how = match last(notice).map(|last| &last.origin) {
        Some(Origin::Replaced(_)) => "replaced",
        _ => "renewed",
    };
    match notice.facts.expires.date().filter(|at| *at > notice.at) {
        Some(at) => format!("{name} was {how} and now expires {}", relative(at, notice.at)),
        None => format!("{name} was {how}"),
    }
}

fn what(ended: &Ended) -> &'static str {
    match (&ended.origin, ended.outcome) {
        (Origin::Replaced(_), Outcome::Renewed) => "Replaced",
        (Origin::Replaced(_), _) => "A replacement was tried in vain",
        (_, Outcome::Renewed) => "Renewed",
        (_, Outcome::WithoutGain) => "Renewed without gain",
        (_, Outcome::RolledBack) => "Tried and taken back",
        (_, Outcome::Refused | Outcome::Failed) => "Tried in vain",
    }
}

fn by(ended: &Ended) -> String {
    match &ended.origin {
        Origin::Schedule => String::new(),
        Origin::Asked(by) | Origin::Replaced(by) => format!(", by {}", plain(by)),
    }
}

fn last(notice: &Notice) -> Option<&Ended> {
    notice.facts.renewal.as_deref().and_then(|note| note.last.as_ref())
}

/// With a capital letter and a full stop.
fn sentence(text: &str) -> String {
    let text = super::capitalised(text.trim_end_matches('.'));
    if text.is_empty() { text } else { format!("{text}.") }
}
