//! `config diff`: what a reload would change in the running daemon, asked over its control socket.
//!
//! The daemon itself reads the files, with its own environment and its own rights, so it sees what a reload would see.

use std::time::Duration;

use serde::Deserialize as _;

use super::control::{Daemon, Trouble};
use super::{Context, Exit, io};
use crate::web::config_diff::DifferenceJson;

/// Runs the command.
pub async fn run(context: &Context, json: bool) -> Exit {
    let daemon = match Daemon::find(context) {
        Ok(daemon) => daemon.patient(PATIENCE),
        Err(nobody) => return nobody.fail(),
    };
    let answer = match daemon.get("/control/v1/config-diff").await {
        Ok(answer) => answer,
        Err(Trouble::Declined(faults)) => {
            return super::fail(Exit::BadConfiguration, format_args!("a reload would be refused:\n{faults}"));
        }
        Err(away) => return away.fail(),
    };
    if json {
        return io::print_json(&answer);
    }
    let Ok(difference) = DifferenceJson::deserialize(&answer) else {
        return super::fail(Exit::TryAgain, "the daemon gave an answer that is not understood");
    };
    let lines = difference.entries.iter().map(|entry| &entry.text);
    let lines = lines.chain(difference.waiting.iter().map(|waiting| &waiting.text));
    let mut text = String::new();
    for line in lines.chain([&difference.summary]) {
        text.push_str(line);
        text.push('\n');
    }
    io::print(&text)
}

/// A long configuration takes a while to read.
const PATIENCE: Duration = Duration::from_secs(60);
