//! What systemd is told: ready, reloading, stopping, a status text, and signs of life that come from the watch loop alone.
//!
//! Outside of systemd all of it does nothing.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

use crate::board::Board;
use crate::domain::time::{Span, Timestamp};
use crate::ports::Clock;
use crate::zone::Zone;

/// The longest the watch loop may sleep: half a watchdog period, when systemd set one.
pub fn longest_sleep(otherwise: Span) -> Span {
    match sd_notify::watchdog_enabled() {
        Some(period) => Span::seconds(i64::try_from(period.as_secs() / 3).unwrap_or(1).max(1)).min(otherwise),
        None => otherwise,
    }
}

/// Tells systemd something. Failing to is no reason to stop watching.
pub fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!(%error, "systemd could not be told");
    }
}

/// Passes the watch loop's signs of life on to systemd, and keeps the status text true, for as long as it is polled. A loop that hangs gives
/// no signs, so the watchdog ends it.
pub async fn report(board: Arc<Board>, clock: Arc<dyn Clock>, zone: impl Fn() -> Zone) {
    let period = sd_notify::watchdog_enabled().map_or(STATUS_PERIOD, |watchdog| (watchdog / 3).min(STATUS_PERIOD));
    let mut ticks = interval(period.max(Duration::from_secs(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last_beat = None;
    let mut last_text = String::new();
    loop {
        ticks.tick().await;
        let beat = board.vitals.last_beat();
        if beat.is_some() && beat != last_beat {
            tell(&[NotifyState::Watchdog]);
            last_beat = beat;
        }
        let text = status_text(&board, &zone(), clock.now());
        if text != last_text {
            tell(&[NotifyState::Status(&text)]);
            last_text = text;
        }
    }
}

/// `watching 42 tokens, nearest deadline in 6 days (waba-prod), next check 14:05`.
pub fn status_text(board: &Board, zone: &Zone, now: Timestamp) -> String {
    let table = board.table();
    let rows = table.rows();
    let mut text = format!("watching {} token{}", rows.len(), if rows.len() == 1 { "" } else { "s" });
    let nearest = rows
        .iter()
        .filter_map(|row| row.deadline().filter(|at| *at > now).map(|at| (at, row)))
        .min_by_key(|(at, _)| *at);
    if let Some((at, row)) = nearest {
        text.push_str(&format!(", nearest deadline {} ({})", crate::domain::time::relative(at, now), row.id));
    }
    if let Some(next) = rows.iter().map(|row| row.next_check).min().filter(|at| at.unix() != i64::MAX) {
        text.push_str(&format!(", next check {}", zone.short(next)));
    }
    let troubles = board.vitals.troubles();
    for trouble in troubles.store.values().chain(troubles.ways.values()).chain(&troubles.listener) {
        text.push_str("; trouble: ");
        text.push_str(trouble);
    }
    text
}

const STATUS_PERIOD: Duration = Duration::from_secs(10);
