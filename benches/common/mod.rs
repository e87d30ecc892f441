//! What the benches share: stopwatches, memory as the kernel counts it, medians, and aligned printing.
//!
//! Nothing here judges: an aim that is missed is printed and fails nothing, because a busy machine says little about a program.

pub mod provider;

use std::fmt::Display;
use std::io::Write as _;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Begins with what is measured and how.
pub fn title(what: &str, how: &str) {
    say(format_args!("\n{what}\n  {how}"));
}

/// Prints a figure without an aim.
pub fn plain(what: &str, value: impl Display) {
    say(format_args!("  {what:<58}{value:>16}"));
}

/// Prints a figure in the unit of its aim.
pub fn aim(what: &str, value: f64, aim: f64, unit: &str) {
    let verdict = if value <= aim { "met" } else { "missed" };
    let value = format!("{value:.2} {unit}");
    let aim = format!("{aim} {unit}");
    say(format_args!("  {what:<58}{value:>16}   aim {aim:<10} {verdict}"));
}

fn say(line: std::fmt::Arguments<'_>) {
    // Where standard output is closed there is nobody left to tell.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// A running stopwatch: time on the wall, and processor time of all threads of this process in both modes.
#[derive(Clone, Copy)]
pub struct Stopwatch {
    wall: Duration,
    cpu: Duration,
}

impl Stopwatch {
    /// Starts.
    pub fn start() -> Self {
        Self { wall: clock(ClockId::Monotonic), cpu: clock(ClockId::ProcessCPUTime) }
    }

    /// Seconds on the wall since the start.
    pub fn wall(self) -> f64 {
        clock(ClockId::Monotonic).saturating_sub(self.wall).as_secs_f64()
    }

    /// Seconds of processor time since the start.
    pub fn cpu(self) -> f64 {
        clock(ClockId::ProcessCPUTime).saturating_sub(self.cpu).as_secs_f64()
    }
}

fn clock(id: ClockId) -> Duration {
    Duration::try_from(clock_gettime(id)).expect("a clock that counts up")
}

/// The seconds of processor time that `work` takes.
pub fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let watch = Stopwatch::start();
    let result = work();
    (watch.cpu(), result)
}

/// A count to reckon with.
pub fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).expect("a count of this world"))
}

/// The middle of several figures.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The least of several figures: what is left when the machine was quiet.
pub fn least(figures: &[f64]) -> f64 {
    figures.iter().copied().fold(f64::INFINITY, f64::min)
}

/// A field of `/proc/PID/status` in KiB, such as `VmRSS`.
pub fn kib(process: &str, field: &str) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).expect("the process lives");
    let line = text.lines().find(|line| line.starts_with(field) && line[field.len()..].starts_with(':'));
    let number = line.and_then(|line| line.split_whitespace().nth(1)).and_then(|number| number.parse().ok());
    number.expect("a number of KiB")
}

/// Sets the high-water mark of this process's memory back to what is resident now.
pub fn forget_peak() {
    std::fs::write("/proc/self/clear_refs", "5").expect("the kernel keeps a high-water mark");
}
