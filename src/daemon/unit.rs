//! What systemd is told: ready, reloading, stopping, a status text, and signs of life that come from the watch loop alone.
//!
//! Outside of systemd all of it does nothing.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Instant, sleep};
use tracing::{debug, error};

use crate::board::Board;
use crate::domain::finding::{Reason, Severity};
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

/// Leaves behind why the daemon does not run: `systemctl status` shows it beside the exit code until the next start.
pub fn cannot_run(why: &str) {
    tell(&[NotifyState::Status(&fit(&format!("cannot run: {why}")))]);
}

/// Passes the watch loop's signs of life on to systemd, and keeps the status text true, for as long as it is polled. A loop that hangs gives
/// no signs, so the watchdog ends it; what is polled here goes on, and says so before.
pub async fn report(board: Arc<Board>, clock: Arc<dyn Clock>, zone: impl Fn() -> Zone) {
    let watchdog = sd_notify::watchdog_enabled();
    let period =
        watchdog.map_or(STATUS_PERIOD, |watchdog| (watchdog / 3).min(STATUS_PERIOD)).max(Duration::from_secs(1));
    let mut last_beat = None;
    let mut beaten_at = Instant::now();
    let mut last_text = String::new();
    loop {
        // Asked before the text is made: what comes between the two must not wait for a whole period.
        let first_pass_done = board.vitals.first_pass_done();
        let beat = board.vitals.last_beat();
        if beat.is_some() && beat != last_beat {
            tell(&[NotifyState::Watchdog]);
            last_beat = beat;
            beaten_at = Instant::now();
        }
        // Longer than the loop ever sleeps.
        let hangs = watchdog.is_some_and(|watchdog| beaten_at.elapsed() > watchdog / 2);
        let text = match (hangs, last_beat) {
            (true, Some(beat)) => {
                format!("the watch loop hangs since {}, so the watchdog is about to end it", zone().long(beat))
            }
            (true, None) => "the watch loop cannot begin, so the watchdog is about to end it".to_owned(),
            (false, None) => "starting: reading what is known".to_owned(),
            (false, Some(_)) => status_text(&board, &zone(), clock.now()),
        };
        if text != last_text {
            if hangs {
                error!("{text}");
            }
            tell(&[NotifyState::Status(&text)]);
            last_text = text;
        }
        // Whoever has just started it looks at once.
        sleep(if first_pass_done { period } else { FIRST_PERIOD }).await;
    }
}

/// `watching 42 tokens, 1 critical: helpdesk (expired), nearest deadline in 6 days (waba-prod), next check 14:05`; the worst first, and then what
/// is wrong with tokenwatch itself.
pub fn status_text(board: &Board, zone: &Zone, now: Timestamp) -> String {
    let table = board.table();
    let rows = table.rows();
    let mut text = format!("watching {} token{}", rows.len(), if rows.len() == 1 { "" } else { "s" });
    let (apps, watcher) = (table.apps(), board.vitals.findings());
    let worst = |findings: &mut dyn Iterator<Item = (Severity, Reason)>| findings.max_by_key(|(severity, _)| *severity);
    let wrong = || {
        let of_rows = rows.iter().filter_map(|row| {
            let found = worst(&mut row.findings.iter().map(|(reason, severity)| (*severity, *reason)))?;
            Some((row.id.as_str(), found))
        });
        let of_apps = apps.iter().filter_map(|app| {
            let found = worst(&mut app.findings.iter().map(|finding| (finding.severity, finding.reason)))?;
            Some((app.name.as_str(), found))
        });
        let of_watcher = worst(&mut watcher.iter().map(|finding| (finding.severity, finding.reason)));
        of_watcher.map(|found| (WATCHER, found)).into_iter().chain(of_apps).chain(of_rows)
    };
    for severity in [Severity::Critical, Severity::Warning] {
        let such = || wrong().filter(|(_, (found, _))| *found == severity);
        let count = such().count();
        if count > 0 {
            let named = such().take(NAMED).map(|(name, (_, reason))| format!("{name} ({})", reason.as_str()));
            let named = named.collect::<Vec<_>>().join(", ");
            let more = if count > NAMED { ", …" } else { "" };
            let plural = if severity == Severity::Warning && count > 1 { "s" } else { "" };
            text.push_str(&format!(", {count} {}{plural}: {named}{more}", severity.as_str()));
        }
    }
    let ends = rows.iter().filter_map(|row| Some((row.next_end(now)?, row)));
    if let Some((at, row)) = ends.min_by_key(|(at, _)| *at) {
        text.push_str(&format!(", nearest deadline {} ({})", crate::domain::time::relative(at, now), row.id));
    }
    if let Some(next) = rows.iter().map(|row| row.next_check).min().filter(|at| at.unix() != i64::MAX) {
        text.push_str(&format!(", next check {}", zone.short(next)));
    }
    let troubles = board.vitals.troubles();
    if let Some(refused) = troubles.configuration {
        text.push_str("; ");
        text.push_str(refused);
    }
    let ways = troubles.ways.iter().map(|(way, trouble)| format!("{way}: {trouble}"));
    for trouble in troubles.store.values().cloned().chain(ways).chain(troubles.listener.clone()) {
        text.push_str("; trouble: ");
        text.push_str(&trouble);
    }
    fit(&text)
}

/// On one line, for a line end would begin another word to systemd, and no longer than it takes: of a message of more than 4096 bytes it takes
/// nothing.
fn fit(text: &str) -> String {
    let whole: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if whole.len() <= LONGEST_STATUS {
        return whole;
    }
    let end = whole.char_indices().map(|(at, _)| at).take_while(|at| *at <= LONGEST_STATUS).last().unwrap_or(0);
    format!("{}…", &whole[..end])
}

const STATUS_PERIOD: Duration = Duration::from_secs(10);
/// Until every token was looked at once.
const FIRST_PERIOD: Duration = Duration::from_millis(250);
/// Of each severity so many are named.
const NAMED: usize = 3;
/// What is wrong with tokenwatch itself goes by this name.
const WATCHER: &str = "tokenwatch";
/// In bytes; it is read on a terminal.
const LONGEST_STATUS: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_line_and_not_too_long() {
        assert_eq!(fit("a relay said\nMAINPID=1\r"), "a relay said MAINPID=1 ");
        let long = fit(&"ä".repeat(5_000));
        assert!(long.len() <= LONGEST_STATUS + 5 && long.ends_with("ä…"), "{}", long.len());
    }
}
