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

/// A clock that starts at a given moment and runs `speed` times as fast as the runtime's own time. With speed 1 under paused time it is
/// the tests' clock; with 86,400 a day passes in a second.
#[derive(Clone, Copy, Debug)]
pub struct Lens {
    start: Timestamp,
    origin: Instant,
    speed: u32,
}

impl Lens {
    /// A clock that shows `start` now.
    pub fn new(start: Timestamp, speed: u32) -> Self {
        Self { start, origin: Instant::now(), speed: speed.max(1) }
    }
}

impl Clock for Lens {
    fn now(&self) -> Timestamp {
        let passed = self.origin.elapsed().saturating_mul(self.speed);
        self.start.plus(Span::seconds(i64::try_from(passed.as_secs()).unwrap_or(i64::MAX)))
    }

    fn keeps_pace(&self) -> bool {
        self.speed == 1
    }

    /// Until the whole second in which the span is over: a sleep that ended a fraction early would find nothing due, and sleep again.
    fn sleep(&self, span: Span) -> BoxFuture<'_, ()> {
        let passed = self.origin.elapsed().saturating_mul(self.speed);
        let wanted = Duration::from_secs(passed.as_secs()).saturating_add(duration(span));
        let until = self.origin + wanted / self.speed;
        Box::pin(tokio::time::sleep_until(until))
    }
}

fn duration(span: Span) -> Duration {
    Duration::from_secs(u64::try_from(span.as_seconds()).unwrap_or(0))
}
