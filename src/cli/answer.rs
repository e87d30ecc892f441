//! `ack`, `silence`, `unsilence`: on-call's answers, given to the running daemon.

use serde_json::Value;

use super::control::Daemon;
use super::{Context, Exit, io};
use crate::advice::LONGEST_TEXT;
use crate::clock::System;
use crate::daemon::lifecycle::variable;
use crate::domain::time::{Span, Timestamp, relative};
use crate::ports::Clock as _;
use crate::web::control::AnswerJson;
use crate::zone::Zone;

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// I know.
    Ack,
    /// Leave us alone for so long.
    Silence {
        /// For how long.
        lasts: Span,
        /// Whether even the end of a token is held back.
        even_critical: bool,
    },
    /// The silence is over.
    Unsilence,
}

/// Runs the command.
pub async fn run(context: &Context, name: String, why: Option<String>, said: Said) -> Exit {
    if why.as_deref().is_some_and(|why| why.chars().count() > LONGEST_TEXT) {
        return super::fail(
            Exit::Usage,
            format_args!("--why: only {LONGEST_TEXT} characters would be kept; say it in fewer"),
        );
    }
    let daemon = match Daemon::find(context) {
        Ok(daemon) => daemon,
        Err(nobody) => return nobody.fail(),
    };
    let (path, seconds, even_critical) = match &said {
        Said::Ack => ("/control/v1/ack", None, false),
        Said::Silence { lasts, even_critical } => ("/control/v1/silence", Some(lasts.as_seconds()), *even_critical),
        Said::Unsilence => ("/control/v1/unsilence", None, false),
    };
    let asked = AnswerJson { name, by: who(context), why, seconds, even_critical };
    let answered = match daemon.post(path, &asked).await {
        Ok(answered) => answered,
        Err(why) => return why.fail(),
    };
    // It is done by now; only its date is written in the daemon's zone and by its clock, where they can be learned.
    let status = daemon.get("/api/v1/status").await.unwrap_or_default();
    io::print(&text(&said, &answered, &status))
}

/// Who sits at the terminal: `sudo` keeps the name of whoever called it.
pub fn who(context: &Context) -> Option<String> {
    ["SUDO_USER", "USER", "LOGNAME"].iter().find_map(|name| variable(&context.environment, name)).map(str::to_owned)
}

fn text(said: &Said, answered: &Value, status: &Value) -> String {
    let now = status["now"].as_i64().map_or_else(|| System.now(), Timestamp::from_unix);
    let zone = status["timezone"].as_str().and_then(|name| Zone::parse(name).ok()).unwrap_or(Zone::UTC);
    let subject = answered["subject"].as_str().unwrap_or_default();
    let open: Vec<String> = answered["open"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|incident| {
            let word = |name: &str| incident[name].as_str().unwrap_or_default();
            format!("{} ({})", word("finding"), word("severity"))
        })
        .collect();
    let open = if open.is_empty() { "nothing is open".to_owned() } else { format!("open: {}", open.join(", ")) };
    let until = answered["silence"]["until"].as_i64().map(Timestamp::from_unix);
    match (said, until) {
        (Said::Ack, _) => {
            format!("{subject}: acknowledged; {open}. It is not repeated; what gets worse is still told.\n")
        }
        (Said::Silence { even_critical, .. }, Some(until)) => {
            let hides = if *even_critical {
                "everything is held back, the end of the token included"
            } else {
                "the end of a token and its last rung are told all the same"
            };
            let (date, left) = (zone.long(until), relative(until, now));
            format!("{subject}: silenced until {date} ({left}); {open}. Until then {hides}.\n")
        }
        (Said::Silence { .. }, None) => format!("{subject}: silenced; {open}.\n"),
        (Said::Unsilence, _) => format!("{subject}: no longer silenced; {open}.\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_told_even_where_the_zone_is_not_known() {
        let until = System.now().plus(Span::hours(3)).unix();
        let answered = serde_json::json!({"subject": "app/helpdesk", "open": [], "silence": {"until": until}});
        let said = Said::Silence { lasts: Span::hours(3), even_critical: false };
        let text = text(&said, &answered, &Value::Null);
        assert!(text.starts_with("app/helpdesk: silenced until ") && text.contains("UTC (in "), "{text}");
    }
}
