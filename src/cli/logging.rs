//! Logs: text on a terminal, JSON lines in the journal, always to standard error.
//!
//! Each line of the journal gets its priority, so that `journalctl -p warning` shows what is wrong. Below "warn" only our own messages pass,
//! whatever `RUST_LOG` says: libraries log requests, and requests carry tokens.

use std::io::{IsTerminal as _, Write};
use std::sync::OnceLock;

use tracing::{Level, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::{self, MakeWriter};
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
    let journal = *TO_JOURNAL.get_or_init(|| leads_to_journal(variable(environment, "JOURNAL_STREAM")));
    let layer = if journal {
        // The journal stamps each line itself.
        fmt::layer().json().flatten_event(true).without_time().with_writer(Journal).boxed()
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

/// Says why a command failed. In the journal each of its lines is an error.
pub fn complain(why: &str) {
    let whole = if TO_JOURNAL.get().copied().unwrap_or(false) {
        why.lines().map(|line| format!("<{ERROR}>{line}\n")).collect()
    } else {
        format!("{why}\n")
    };
    // Where standard error is closed there is nobody left to tell.
    let _ = std::io::stderr().lock().write_all(whole.as_bytes());
}

/// Whether standard error is the stream to the journal that the variable names by device and inode. The variable alone says little: whoever
/// is started below a service inherits it, wherever its output goes.
fn leads_to_journal(stream: Option<&str>) -> bool {
    let numbers = stream.and_then(|stream| stream.split_once(':'));
    let Some((device, inode)) = numbers else { return false };
    rustix::fs::fstat(std::io::stderr()).is_ok_and(|found| {
        device.parse().is_ok_and(|device: u64| device == found.st_dev)
            && inode.parse().is_ok_and(|inode: u64| inode == found.st_ino)
    })
}

/// Writes lines with their priority in front, as sd-daemon(3) has it; the journal takes it off again.
struct Journal;

impl<'a> MakeWriter<'a> for Journal {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { priority: INFO }
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Line {
        let priority = match *event.level() {
            Level::ERROR => ERROR,
            Level::WARN => WARNING,
            Level::INFO => INFO,
            Level::DEBUG | Level::TRACE => DEBUG,
        };
        Line { priority }
    }
}

struct Line {
    priority: u8,
}

impl Write for Line {
    /// An event is one line and comes in one piece, so it gets one priority and is never mixed with another.
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        let mut whole = format!("<{}>", self.priority).into_bytes();
        whole.extend_from_slice(text);
        std::io::stderr().lock().write_all(&whole)?;
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

static TO_JOURNAL: OnceLock<bool> = OnceLock::new();
/// The priorities of syslog(3).
const ERROR: u8 = 3;
const WARNING: u8 = 4;
const INFO: u8 = 6;
const DEBUG: u8 = 7;

fn is_harmless(event: &Metadata<'_>) -> bool {
    *event.level() <= Level::WARN || event.target().starts_with("tokenwatch")
}
