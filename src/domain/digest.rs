//! Folds notices into few messages: one receiver, one window, one message.
//!
//! It decides what belongs together, in which order it is read, and how long a notice may wait for company. It writes no text.

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
    /// What could not be delivered before or by other ways, in words; it is told along.
    pub troubles: Vec<String>,
}

impl Bundle {
    /// The bundle of these notices, most urgent first; `None` when there are none.
    pub fn new(receiver: ReceiverName, mut notices: Vec<Notice>) -> Option<Self> {
        notices.sort_by(|a, b| urgency(a).cmp(&urgency(b)));
        (!notices.is_empty()).then_some(Self { receiver, notices, troubles: Vec::new() })
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
/// waited its time. While checks are under way, more of the same may follow at once, so even a critical one waits for company; and of a
/// flood the end is waited for, though not for long.
pub fn send_at<'a>(notices: impl Iterator<Item = &'a Notice> + Clone, checks_under_way: bool) -> Option<Timestamp> {
    let oldest = notices.clone().map(|notice| notice.at).min()?;
    let newest = notices.clone().map(|notice| notice.at).max()?;
    let count = notices.clone().count();
    let critical = notices.clone().any(|notice| notice.severity == Severity::Critical);
    if count == 1 && critical && !checks_under_way {
        return Some(oldest);
    }
    let flood = count >= FLOOD && checks_under_way;
    Some(if flood { newest.plus(FOLD_WINDOW).min(oldest.plus(FLOOD_WINDOW)) } else { oldest.plus(FOLD_WINDOW) })
}

/// When the next message may follow those that were sent at these moments, oldest first: the first few at once, more of them only as time
/// passes. What waits meanwhile is folded into the next. The last of the allowance is kept for what is critical.
pub fn paced(sent: &[Timestamp], critical: bool, now: Timestamp) -> Timestamp {
    let (whole, per_message) = (BURST * REFILL.as_seconds(), REFILL.as_seconds());
    let mut left = whole;
    let mut before = sent.first().copied().unwrap_or(now);
    for at in sent {
        // A message "sent" in the future was sent before the clock moved back.
        let at = (*at).min(now);
        left = whole.min(left + at.since(before).as_seconds().max(0)) - per_message;
        before = at;
    }
    left = whole.min(left + now.since(before).as_seconds().max(0));
    let needed = if critical { per_message } else { per_message * (1 + RESERVE) };
    now.plus(Span::seconds((needed - left).max(0)))
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
/// So many that wait while checks go on are a flood.
pub const FLOOD: usize = 10;
/// The end of a flood is waited for no longer than this.
pub const FLOOD_WINDOW: Span = Span::minutes(1);
/// Messages that one receiver may get by one channel without a pause.
pub const BURST: i64 = 6;
/// One more may be sent after each such time, so no receiver gets more than 18 messages an hour by one channel.
pub const REFILL: Span = Span::minutes(5);
/// Messages of the allowance that only critical news may use up.
const RESERVE: i64 = 2;
/// Messages that [`paced`] needs to know of.
pub const PACE_MEMORY: usize = 24;
const NO_DEADLINE: Timestamp = Timestamp::from_unix(i64::MAX);

#[cfg(test)]
mod tests {
    use super::*;

    // promise 47
    #[test]
    fn messages_are_paced_and_the_urgent_go_first() {
        let at = Timestamp::from_unix;
        let now = at(100_000);
        assert_eq!(paced(&[], false, now), now);
        let burst = vec![now; 4];
        assert_eq!(paced(&burst, false, now), now.plus(REFILL), "the rest is kept for what is critical");
        assert_eq!(paced(&burst, true, now), now);
        let all = vec![now; 6];
        assert_eq!(paced(&all, true, now), now.plus(REFILL));
        assert_eq!(paced(&all, true, at(100_100)), now.plus(REFILL));
        assert_eq!(paced(&all, false, at(100_000 + 900)), at(100_000 + 900));
        assert_eq!(paced(&[at(200_000); 6], true, now), now.plus(REFILL), "a clock moved back");
    }

    // promise 47
    #[test]
    fn no_hour_has_more_than_eighteen_messages() {
        let mut sent: Vec<Timestamp> = Vec::new();
        let mut now = Timestamp::from_unix(0);
        while now < Timestamp::from_unix(4 * 3_600) {
            let known = sent.len().saturating_sub(PACE_MEMORY);
            let at = paced(&sent[known..], true, now);
            if at <= now {
                sent.push(now);
            }
            now = at.max(now.plus(Span::seconds(1)));
        }
        let most =
            sent.iter().map(|end| sent.iter().filter(|at| **at <= *end && end.since(**at) < Span::hours(1)).count());
        assert_eq!(most.max(), Some(17), "six at once, and one after each five minutes but the last");
    }
}
