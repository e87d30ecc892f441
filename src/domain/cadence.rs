//! When to look again.
//!
//! There is no randomness: what spreads the checks is a stable hash of the name, so a run can be replayed and two daemons with the
//! same configuration agree.

use super::inspection::CheckError;
use super::time::{Span, Timestamp};
use super::token::{Rhythm, TokenId};

/// The next regular check: once per period, at a moment within it that is the token's own.
pub fn regular(id: &TokenId, rhythm: Rhythm, now: Timestamp) -> Timestamp {
    match rhythm {
        Rhythm::Every(period) => {
            let period = period.as_seconds().max(1);
            let phase = spread(id, period);
            let into = (now.unix() - phase).rem_euclid(period);
            now.plus(Span::seconds(period - into))
        }
        Rhythm::OnBell { .. } => FAR,
    }
}

/// The check after a bell rang at `bell`.
pub fn after_bell(id: &TokenId, rhythm: Rhythm, bell: Timestamp) -> Timestamp {
    match rhythm {
        Rhythm::OnBell { spread: within } => bell.plus(Span::seconds(spread(id, within.as_seconds().max(1)))),
        Rhythm::Every(_) => bell,
    }
}

/// The next check after a failure: soon, then ever later, never later than the rhythm's own bound (contract §10.9), and never while
/// the provider asked us to stay away.
pub fn after_failure(id: &TokenId, rhythm: Rhythm, error: &CheckError, failures: u32, now: Timestamp) -> Timestamp {
    match error {
        CheckError::Throttled(until) => deferred(id, *until, now),
        // The fault is the app's. Asking again for each of its tokens would only burn the app's call budget.
        CheckError::App(..) if failures > 1 => now.plus(rhythm.retry_bound()),
        CheckError::App(..)
        | CheckError::Unreachable(..)
        | CheckError::Garbled(_)
        | CheckError::Unavailable(_)
        | CheckError::ForeignToken(_)
        | CheckError::Refused(_)
        | CheckError::Source(_) => now.plus(backoff(id, rhythm, failures)),
    }
}

/// The check that confirms bad news.
pub fn confirming(rhythm: Rhythm, now: Timestamp) -> Timestamp {
    now.plus(FIRST_RETRY.min(rhythm.retry_bound()))
}

/// The first check after a pause that was asked for, spread so that the pause does not end in a stampede.
pub fn deferred(id: &TokenId, until: Timestamp, now: Timestamp) -> Timestamp {
    until.max(now).plus(Span::seconds(1 + spread(id, STAMPEDE_SPREAD)))
}

/// A stable number in `0..range` that is a name's own.
pub fn spread(id: &TokenId, range: i64) -> i64 {
    let hash = fnv1a(id.as_str().as_bytes());
    i64::try_from(hash % u64::try_from(range.max(1)).unwrap_or(1)).unwrap_or(0)
}

fn backoff(id: &TokenId, rhythm: Rhythm, failures: u32) -> Span {
    let doublings = failures.saturating_sub(1).min(MAX_DOUBLINGS);
    let whole = FIRST_RETRY.as_seconds() << doublings;
    let bounded = whole.min(rhythm.retry_bound().as_seconds()).max(1);
    // Up to a quarter earlier, so that tokens which failed together do not stay together.
    Span::seconds(bounded - spread(id, bounded / 4 + 1))
}

/// FNV-1a, 64 bit: small, stable over platforms and releases, and spread well enough for names.
fn fnv1a(bytes: &[u8]) -> u64 {
    let folded = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    // The low bits of FNV are weak for names that differ in one digit; fold the high ones in.
    folded ^ (folded >> 32)
}

/// The first retry after a failure.
const FIRST_RETRY: Span = Span::seconds(10);
/// 10 s · 2^20 is beyond any period; the shift stays in range.
const MAX_DOUBLINGS: u32 = 20;
/// After a pause the checks are spread over this many seconds.
const STAMPEDE_SPREAD: i64 = 60;
/// "Not before a bell rings."
const FAR: Timestamp = Timestamp::from_unix(i64::MAX);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::inspection::Unreachable;

    fn id(text: &str) -> TokenId {
        TokenId::parse(text).unwrap_or_else(|fault| unreachable!("{fault}"))
    }

    #[test]
    fn each_token_once_per_period_and_spread_over_it() {
        let period = Span::minutes(15);
        let now = Timestamp::from_unix(1_800_000_000);
        let mut per_minute = [0; 15];
        for n in 0..15_000 {
            let id = id(&format!("token-{n}"));
            let first = regular(&id, Rhythm::Every(period), now);
            assert!(first > now && first <= now.plus(period));
            assert_eq!(regular(&id, Rhythm::Every(period), first), first.plus(period));
            per_minute[usize::try_from(first.since(now).as_seconds() - 1).unwrap_or_default() / 60] += 1;
        }
        assert!(per_minute.iter().all(|n| (900..1_100).contains(n)), "{per_minute:?}");
    }

    #[test]
    fn failures_back_off_within_a_period() {
        let rhythm = Rhythm::Every(Span::minutes(15));
        let now = Timestamp::from_unix(0);
        let error = CheckError::Unreachable(Unreachable::Timeout, "".into());
        let waits: Vec<i64> =
            (1..12).map(|n| after_failure(&id("a"), rhythm, &error, n, now).since(now).as_seconds()).collect();
        assert!(waits[0] <= 10 && waits[0] >= 7, "{waits:?}");
        assert!(waits.windows(2).all(|pair| pair[0] <= pair[1] || pair[1] >= 600), "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= 900), "{waits:?}");
    }

    #[test]
    fn a_throttled_token_waits_for_the_time_named() {
        let until = Timestamp::from_unix(5_000);
        let at = after_failure(
            &id("a"),
            Rhythm::Every(Span::seconds(60)),
            &CheckError::Throttled(until),
            1,
            Timestamp::from_unix(0),
        );
        assert!(at > until && at <= until.plus(Span::seconds(61)));
    }
}
