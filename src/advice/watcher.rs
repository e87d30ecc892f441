//! The words about the watcher itself: what is wrong with it, what a person must do, and the summary that says that nothing is.

use crate::domain::alert::{Notice, WATCHER};
use crate::domain::finding::{Detail, Reason};
use crate::domain::summary::Summary;
use crate::domain::time::{Timestamp, relative};
use crate::domain::verdict::Verdict;
use crate::zone::Zone;

use super::{plain, reason_in_words};

/// What is wrong, in one line.
pub(super) fn headline(notice: &Notice) -> String {
    match notice.reason {
        Reason::Undeliverable => format!("{WATCHER} cannot deliver its notices"),
        Reason::OutboxGrowing => format!("{WATCHER} has notices piling up"),
        Reason::ClockOff => format!("{WATCHER} has a clock that is off"),
        Reason::StateNearlyFull => format!("{WATCHER} has little room left for its state"),
        Reason::VersionRetiring => format!("{WATCHER} asks for an API version that ends"),
        Reason::Digest => match &notice.detail {
            Detail::Summary(summary) => standing(summary),
            _ => "the regular summary".to_owned(),
        },
        _ => "a test: if you can read this, you can be reached".to_owned(),
    }
}

/// It is over, in one line.
pub(super) const fn good_news(reason: Reason) -> &'static str {
    match reason {
        Reason::Undeliverable => "tokenwatch can deliver its notices again",
        Reason::OutboxGrowing => "tokenwatch has delivered what had piled up",
        Reason::ClockOff => "tokenwatch has the right time again",
        Reason::VersionRetiring => "tokenwatch asks for an API version that is alive",
        _ => "tokenwatch has room for its state again",
    }
}

/// What happens.
pub(super) fn what_happens(notice: &Notice, zone: &Zone) -> String {
    let seen = match &notice.detail {
        Detail::Text(text) if !text.is_empty() => format!(" Seen: {}.", plain(text)),
        _ => String::new(),
    };
    match notice.reason {
        Reason::Undeliverable => {
            format!(
                "Notices have not got through by one of the ways to people for over an hour.{seen} They are kept and tried again."
            )
        }
        Reason::OutboxGrowing => format!("Notices are made faster than they leave, or the way out is slow.{seen}"),
        Reason::ClockOff => {
            format!("Deadlines are judged by this machine's clock, and it is more than a minute off.{seen}")
        }
        Reason::StateNearlyFull => {
            format!("When the disk is full, no check can be remembered and no notice made.{seen}")
        }
        Reason::VersionRetiring => {
            format!(
                "A version that has ended does not fail: the provider runs another one in its place, without a word.{seen}"
            )
        }
        Reason::Digest => match &notice.detail {
            Detail::Summary(summary) => format!("{}.", standing(summary)),
            _ => format!("This is the regular summary of {}.", zone.long(notice.at)),
        },
        _ => format!(
            "Somebody tried the way to you on {}. Nothing is wrong, and nothing is to be done.",
            zone.long(notice.at)
        ),
    }
}

/// What stops working.
pub(super) const fn what_breaks(reason: Reason) -> &'static str {
    match reason {
        Reason::Undeliverable => "People who are told that way only hear nothing, whatever happens to their tokens.",
        Reason::OutboxGrowing => "Notices come late.",
        Reason::ClockOff => "Warnings come early or late by as much, and signed requests may be refused.",
        Reason::StateNearlyFull => "Soon: the whole watch.",
        Reason::VersionRetiring => "Perhaps nothing. But nobody has tried whether the other version answers the same.",
        _ => "Nothing.",
    }
}

/// What to do.
pub(super) fn steps(notice: &Notice) -> Vec<String> {
    let steps: &[&str] = match notice.reason {
        Reason::Undeliverable => &[
            "Read the failure above: a relay that refuses, a login that changed, an address that is gone, a firewall.",
            "Try the way with `tokenwatch test-alert`; it says for each channel what the other side answered.",
            "What waits is delivered by itself once the way is open; nothing was lost.",
        ],
        Reason::OutboxGrowing => &[
            "See what there is so much of with `tokenwatch status`; if one cause is behind it, put that right first.",
            "If the relay is slow, add another to smtp.relays.",
        ],
        Reason::ClockOff => &[
            "See whether this machine's time is synchronised: `timedatectl` shows it.",
            "Start its time service (systemd-timesyncd, chrony), or correct the clock.",
        ],
        Reason::StateNearlyFull => &[
            "Free some space on the disk that holds the state, or move it ([daemon] state).",
            "If the state itself is large, keep less of the past ([daemon] history).",
        ],
        Reason::VersionRetiring => &[
            "Choose a newer version at https://developers.facebook.com/docs/graph-api/changelog and try it: `tokenwatch doctor` names the end of each.",
            "Set it as version under [provider.meta], and reload. See to it that the application moves on as well.",
        ],
        _ => &[],
    };
    steps.iter().map(|step| (*step).to_owned()).collect()
}

/// The summary as labels and lines.
pub fn summary_in_words(summary: &Summary, now: Timestamp, zone: &Zone) -> Vec<(&'static str, String)> {
    let mut lines: Vec<(&'static str, String)> = vec![("Tokens", counts(summary))];
    let nearest = summary.nearest.iter().map(|(id, reason, at)| {
        let what = if *reason == Reason::DataAccessExpiring { " (data access)" } else { "" };
        ("Next to end", format!("{id}{what}: {} ({})", zone.long(*at), relative(*at, now)))
    });
    lines.extend(nearest);
    if summary.nearest.is_empty() {
        lines.push(("Next to end", "no token has a known end before it".to_owned()));
    }
    for (name, reason) in &summary.open {
        lines.push(("Open", format!("{}: {} ({})", plain(name), reason.as_str(), reason_in_words(*reason))));
    }
    let unnamed = summary.open_count.saturating_sub(u64::try_from(summary.open.len()).unwrap_or(u64::MAX));
    if unnamed > 0 {
        lines.push(("Open", format!("and {unnamed} more: `tokenwatch status` shows all")));
    }
    let since = summary.since.map(|at| format!(" since {}", zone.long(at))).unwrap_or_default();
    lines.push(("Incidents", format!("{} began and {} ended{since}", summary.opened, summary.ended)));
    lines
}

/// How all stand, in one line: `summary: 42 tokens, 40 healthy, 2 expiring`.
fn standing(summary: &Summary) -> String {
    let all: u64 = summary.verdicts.iter().map(|(_, n)| n).sum();
    format!("summary: {all} token{}, {}", if all == 1 { "" } else { "s" }, counts(summary))
}

fn counts(summary: &Summary) -> String {
    let words: Vec<String> = Verdict::ALL
        .into_iter()
        .filter_map(|verdict| summary.verdicts.iter().find(|(known, n)| *known == verdict && *n > 0))
        .map(|(verdict, n)| format!("{n} {}", verdict.as_str()))
        .collect();
    if words.is_empty() { "none watched".to_owned() } else { words.join(", ") }
}
