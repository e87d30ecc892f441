//! Folds notices into few messages: one receiver, one window, one message.
//!
//! It decides what belongs together, in which order it is read, and how long a notice may wait for company. It writes no text.

use std::collections::BTreeMap;

use super::alert::{Notice, NotifyReason};
use super::finding::{Reason, Severity};
use super::time::{Span, Timestamp};
use super::token::ReceiverName;

/// What one receiver is told in one message. Never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bundle {
    /// Who is told.
    pub receiver: ReceiverName,
    /// Of what, the most urgent first.
    pub notices: Vec<Notice>,
}

impl Bundle {
    /// The bundle of these notices, most urgent first; `None` when there are none.
    pub fn new(receiver: ReceiverName, mut notices: Vec<Notice>) -> Option<Self> {
        notices.sort_by(|a, b| urgency(a).cmp(&urgency(b)));
        (!notices.is_empty()).then_some(Self { receiver, notices })
    }

    /// The most urgent notice.
    pub fn lead(&self) -> Option<&Notice> {
        self.notices.first()
    }

    /// The worst severity that is not resolved; `None` when everything in it is good news.
    pub fn severity(&self) -> Option<Severity> {
        let open = self.notices.iter().filter(|notice| notice.why != NotifyReason::Resolved);
        open.map(|notice| notice.severity).max()
    }

    /// The keys of all notices, sorted: the identity of the message (contract §10.3).
    pub fn keys(&self) -> Vec<&str> {
        let mut keys: Vec<&str> = self.notices.iter().map(|notice| notice.key.as_str()).collect();
        keys.sort_unstable();
        keys
    }

    /// The reason that all notices share, when there are several and they do.
    pub fn common_reason(&self) -> Option<Reason> {
        let first = self.notices.first()?.reason;
        let shared = self.notices.len() > 1 && self.notices.iter().all(|notice| notice.reason == first);
        shared.then_some(first)
    }
}

/// When the notices that wait for one receiver should go out: at once when there is one and it is critical, else when the oldest has
/// waited its time. While checks are under way, more of the same may follow at once, so even a critical one waits for company.
pub fn send_at<'a>(notices: impl Iterator<Item = &'a Notice> + Clone, checks_under_way: bool) -> Option<Timestamp> {
    let oldest = notices.clone().map(|notice| notice.at).min()?;
    let alone = notices.clone().count() == 1;
    let critical = notices.clone().any(|notice| notice.severity == Severity::Critical);
    Some(if alone && critical && !checks_under_way { oldest } else { oldest.plus(FOLD_WINDOW) })
}

/// Sorts waiting notices by receiver.
pub fn by_receiver<T>(
    rows: impl IntoIterator<Item = T>,
    receiver: impl Fn(&T) -> &ReceiverName,
) -> BTreeMap<ReceiverName, Vec<T>> {
    let mut groups: BTreeMap<ReceiverName, Vec<T>> = BTreeMap::new();
    for row in rows {
        groups.entry(receiver(&row).clone()).or_default().push(row);
    }
    groups
}

/// Open before resolved, worse before milder, nearer deadline before farther; then by name and by time, so the order is total.
fn urgency(notice: &Notice) -> (bool, std::cmp::Reverse<Severity>, Timestamp, &str, Timestamp, &str) {
    (
        notice.why == NotifyReason::Resolved,
        std::cmp::Reverse(notice.severity),
        notice.deadline.unwrap_or(NO_DEADLINE),
        notice.subject.name(),
        notice.at,
        notice.key.as_str(),
    )
}

/// A notice waits at most this long to be folded with others (contract §10.3).
pub const FOLD_WINDOW: Span = Span::seconds(5);
const NO_DEADLINE: Timestamp = Timestamp::from_unix(i64::MAX);
