//! `test-alert [RECEIVER]`: a real notice through the real channels, followed to its end.

use std::time::Duration;

use serde_json::Value;

use super::control::Daemon;
use super::{Context, Exit, io};
use crate::web::control::TestJson;

/// Runs the command.
pub async fn run(context: &Context, receiver: Option<String>, severity: Option<String>, json: bool) -> Exit {
    let daemon = match Daemon::find(context) {
        Ok(daemon) => daemon,
        Err(nobody) => return nobody.fail(),
    };
    let sent = match daemon.post("/control/v1/test-alert", &TestJson { receiver, severity }).await {
        Ok(sent) => sent,
        Err(why) => return why.fail(),
    };
    let key: String =
        url::form_urlencoded::byte_serialize(sent["key"].as_str().unwrap_or_default().as_bytes()).collect();
    let path = format!("/control/v1/deliveries?key={key}");
    let mut seen = Vec::new();
    // The daemon tries again by itself for as long as it takes; here the first outcome of each way is what is wanted.
    for _ in 0..LOOKS {
        seen = match daemon.get(&path).await {
            Ok(Value::Array(seen)) => seen,
            Ok(_) => Vec::new(),
            Err(why) => return why.fail(),
        };
        if !seen.is_empty() && seen.iter().all(is_decided) {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    let printed =
        if json { io::print_json(&seen) } else { io::print(&text(&seen, io::Paint::new(&context.environment))) };
    match verdict(&seen) {
        Exit::Fine => printed,
        Exit::Warning => super::fail(Exit::Warning, "nobody is told of this severity: nothing was sent"),
        bad => bad,
    }
}

/// Fine when a channel took it and none failed; a warning when every way ended with nobody to tell.
fn verdict(seen: &[Value]) -> Exit {
    let arrived = |delivery: &Value| delivery["delivered_at"].is_i64();
    let channels = seen.iter().filter_map(|delivery| delivery["channel"].as_str());
    let mut ends = channels.filter(|channel| *channel != HANDED_ON).peekable();
    if !seen.iter().all(arrived) || ends.peek().is_none() {
        Exit::Critical
    } else if ends.all(|channel| channel == NOBODY) {
        Exit::Warning
    } else {
        Exit::Fine
    }
}

/// It arrived, or was tried in vain.
fn is_decided(delivery: &Value) -> bool {
    delivery["delivered_at"].is_i64() || (!delivery["route"].is_null() && delivery["failure"].is_string())
}

fn text(seen: &[Value], paint: io::Paint) -> String {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let rows: Vec<Vec<String>> = seen
        .iter()
        .map(|delivery| {
            let way = format!("{} to {}", delivery["route"].as_str().unwrap_or("notice"), word(&delivery["receiver"]));
            let (mark, went) = match (delivery["channel"].as_str(), delivery["failure"].as_str()) {
                (Some(NOBODY), _) => ("–", "nobody is told of this severity that way".to_owned()),
                (Some(HANDED_ON), _) => ("–", "handed on to other ways".to_owned()),
                (Some(channel), _) => ("✔", format!("taken by {channel}")),
                (None, Some(failure)) => ("✖", format!("{failure}; it is kept and tried again")),
                (None, None) => ("✖", "no outcome yet; it is kept and tried".to_owned()),
            };
            vec![mark.to_owned(), way, went]
        })
        .collect();
    if rows.is_empty() {
        return "nothing is on its way\n".to_owned();
    }
    io::table(&rows, |_, x, cell| match (x, cell) {
        (0, "✖") => paint.by_word(cell, "critical"),
        (0, "✔") => paint.by_word(cell, "healthy"),
        _ => cell.to_owned(),
    })
}

/// What stands in place of a channel where there was nobody to reach.
const NOBODY: &str = "none";
/// What stands in place of a channel where the configuration names other ways by now.
const HANDED_ON: &str = "rerouted";
/// Longer than one relay may take for all its steps.
const LOOKS: u32 = 400;
const PAUSE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_channel_that_took_it_is_a_success() {
        let taken = |channel: &str| serde_json::json!({"delivered_at": 1, "channel": channel});
        let (mail, none, moved) = (taken("mail"), taken("none"), taken("rerouted"));
        let failed = serde_json::json!({"route": "mail", "failure": "refused"});
        for (seen, exit) in [
            (vec![], Exit::Critical),
            (vec![mail.clone()], Exit::Fine),
            (vec![mail.clone(), none.clone()], Exit::Fine),
            (vec![moved.clone(), mail.clone()], Exit::Fine),
            (vec![none.clone()], Exit::Warning),
            (vec![moved.clone(), none.clone()], Exit::Warning),
            (vec![moved], Exit::Critical),
            (vec![mail, failed.clone()], Exit::Critical),
            (vec![none, failed], Exit::Critical),
        ] {
            assert_eq!(verdict(&seen).code(), exit.code(), "{seen:?}");
        }
    }
}
