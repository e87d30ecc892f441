//! The three clocks: the system's, one tied to the runtime's own (paused) time, and a lens that makes days pass in seconds.
//!
//! Wall time is for dates. Time-outs belong to the runtime and never come from here.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::domain::time::{Span, Timestamp};
use crate::ports::Clock;

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Clock for System {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's wall clock")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_unix(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
    }

    fn sleep(&self, span: Span) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(duration(span)))
    }
}

/// A clock that starts at a given moment and runs `speed` times as fast as the runtime's own time, for ever or until it has caught up with
/// another. With speed 1 under paused time it is the tests' clock; with 86,400 a day passes in a second.
#[derive(Clone, Copy, Debug)]
pub struct Lens {
    start: Timestamp,
    origin: Instant,
    speed: u32,
    /// How long it runs at that speed; then each second is one.
    hurry: Duration,
}

impl Lens {
    /// A clock that shows `start` now.
    pub fn new(start: Timestamp, speed: u32) -> Self {
        Self { start, origin: Instant::now(), speed: speed.max(1), hurry: Duration::MAX }
    }

    /// A clock that shows `start` now, though it is `now` by the wall, hurries until it has caught up with the wall, and keeps pace with it then.
    pub fn catching_up(start: Timestamp, now: Timestamp, speed: u32) -> Self {
        // After t seconds the wall shows now + t, and this clock start + speed × t.
        let behind = duration(now.since(start));
        Self { hurry: behind / speed.saturating_sub(1).max(1), ..Self::new(start, speed) }
    }

    /// How much of the shown time has passed since the start.
    fn passed(&self) -> Duration {
        let real = self.origin.elapsed();
        real.min(self.hurry).saturating_mul(self.speed).saturating_add(real.saturating_sub(self.hurry))
    }

    /// How much real time has passed when so much of the shown time has.
    fn real(&self, passed: Duration) -> Duration {
        let hurried = self.hurry.saturating_mul(self.speed);
        passed.min(hurried) / self.speed + passed.saturating_sub(hurried)
    }
}

impl Clock for Lens {
    fn now(&self) -> Timestamp {
        self.start.plus(Span::seconds(i64::try_from(self.passed().as_secs()).unwrap_or(i64::MAX)))
    }

    fn keeps_pace(&self) -> bool {
        self.speed == 1 || self.origin.elapsed() > self.hurry
    }

    /// Until the whole second in which the span is over: a sleep that ended a fraction early would find nothing due, and sleep again.
    fn sleep(&self, span: Span) -> BoxFuture<'_, ()> {
        let wanted = Duration::from_secs(self.passed().as_secs()).saturating_add(duration(span));
        Box::pin(tokio::time::sleep_until(self.origin + self.real(wanted)))
    }
}

fn duration(span: Span) -> Duration {
    Duration::from_secs(u64::try_from(span.as_seconds()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_catches_up_keeps_pace_from_then_on() {
        let wall = Timestamp::from_unix(1_000_000_000);
        let began = Instant::now();
        let clock = Lens::catching_up(wall.minus(Span::days(10)), wall, 86_400);
        clock.sleep(Span::days(9)).await;
        assert_eq!((began.elapsed().as_secs(), clock.keeps_pace()), (9, false));
        assert_eq!(clock.now(), wall.minus(Span::days(1)));
        // Across the moment at which it has caught up.
        clock.sleep(Span::seconds(86_400 + 3_600)).await;
        let passed = i64::try_from(began.elapsed().as_secs()).expect("an hour");
        assert!((3_599..=3_601).contains(&passed), "days in seconds, and then an hour in an hour: {passed}");
        assert!((clock.now().since(wall).as_seconds() - passed).abs() <= 1, "both show the same");
        assert!(clock.keeps_pace());
    }
}
