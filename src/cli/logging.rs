//! Logs: text on a terminal, JSON lines under systemd, always to standard error.
//!
//! Below "warn" only our own messages pass, whatever `RUST_LOG` says: libraries log requests, and requests carry tokens.

use std::io::IsTerminal as _;

use tracing::{Level, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::daemon::lifecycle::variable;

/// Starts logging at this level, unless `RUST_LOG` names another.
pub fn start(level: &str, environment: &[(String, String)]) {
    let asked = variable(environment, "RUST_LOG").unwrap_or(level);
    let filter = EnvFilter::try_new(asked).unwrap_or_else(|_| EnvFilter::new(level));
    let terminal = std::io::stderr().is_terminal();
    let colour = terminal && variable(environment, "NO_COLOR").is_none();
    let journal = variable(environment, "JOURNAL_STREAM").is_some() && !terminal;
    let layer = if journal {
        // The journal stamps each line itself.
        fmt::layer().json().flatten_event(true).without_time().with_writer(std::io::stderr).boxed()
    } else {
        fmt::layer().with_ansi(colour).with_target(false).with_writer(std::io::stderr).boxed()
    };
    // Only a second start in one process could fail, and then the first one's logs serve.
    let _ =
        tracing_subscriber::registry().with(layer.with_filter(filter_fn(is_harmless)).with_filter(filter)).try_init();
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        // The payload may quote a value, so it is redacted like any text from outside.
        let payload = panic.payload();
        let text =
            payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
        tracing::error!(
            place,
            what = crate::redact::redact(text.unwrap_or("unknown"), &[]),
            "internal fault; please report it"
        );
    }));
}

fn is_harmless(event: &Metadata<'_>) -> bool {
    *event.level() <= Level::WARN || event.target().starts_with("tokenwatch")
}
