//! `forecast`: which mails and renewals will come, when and to whom, if nothing changes but the clock.
//!
//! The running daemon is asked; without one, the state it left behind is read, or where there is none every token is checked once. A daemon
//! that is there and does not tell is no reason to guess.

use std::time::Duration;

use serde_json::Value;

use super::control::{Daemon, Trouble};
use super::{Context, Exit, check, io};
use crate::clock::System;
use crate::daemon::lifecycle::state_path;
use crate::domain::alert::Subject;
use crate::domain::time::{Span, Timestamp, relative};
use crate::forecast::forecast;
use crate::ports::{Clock as _, SlotStatus, Store as _};
use crate::settings::Settings;
use crate::store::Sqlite;
use crate::zone::Zone;

/// Runs the command.
pub async fn run(context: &Context, days: i64, json: bool) -> Exit {
    let (forecast, source) = match known(context, days).await {
        Ok(found) => found,
        Err(exit) => return exit,
    };
    if json {
        return io::print_json(&forecast);
    }
    io::print(&text(&forecast, source, io::Paint::new(&context.environment)))
}

async fn known(context: &Context, days: i64) -> Result<(Value, &'static str), Exit> {
    match Daemon::find(context) {
        Ok(daemon) => {
            let told = daemon.patient(PATIENCE).get(&format!("/control/v1/forecast?days={days}")).await;
            return told.map(|told| (told, "from what the running daemon knows")).map_err(Trouble::fail);
        }
        // One that cannot be asked knows better than we would.
        Err(nobody) if nobody.shut => return Err(nobody.fail()),
        Err(_) => {}
    }
    let settings = context.load()?.settings;
    let now = System.now();
    let (known, source) = match remembered(context, &settings).await {
        Some(known) => (known, "from the state that the daemon left behind"),
        None => (checked(context, settings.clone()).await?, "from one check made now, because no daemon is reachable"),
    };
    let value = serde_json::to_value(forecast(&settings, known, now, Span::days(days)));
    value.map(|value| (value, source)).map_err(|error| super::fail(Exit::Internal, error))
}

/// What the state file says; `None` where there is none yet, or it is in use.
async fn remembered(context: &Context, settings: &Settings) -> Option<Vec<(Subject, SlotStatus)>> {
    let path = state_path(settings, &context.environment).ok().filter(|path| path.exists())?;
    let store = Sqlite::open(&path).ok()?;
    let subjects = settings.tokens.iter().map(|token| Subject::Token(token.spec.id.clone())).collect();
    let known = store.load(subjects).await.ok()?;
    (!known.is_empty()).then_some(known)
}

async fn checked(context: &Context, settings: Settings) -> Result<Vec<(Subject, SlotStatus)>, Exit> {
    let pass = check::Pass::new(settings, context)?;
    let seen = pass.check(&[]).await?;
    Ok(seen
        .into_iter()
        .map(|token| (Subject::Token(token.spec.id.clone()), SlotStatus::Token(Box::new(token.step.status))))
        .collect())
}

fn text(forecast: &Value, source: &str, paint: io::Paint) -> String {
    let moment = |value: &Value| Timestamp::from_unix(value.as_i64().unwrap_or_default());
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let zone = forecast["timezone"].as_str().and_then(|name| Zone::parse(name).ok()).unwrap_or(Zone::UTC);
    let now = moment(&forecast["from"]);
    let mut rows = vec![["WHEN", "IN", "TO", "BY", "SEVERITY", "WHAT"].map(str::to_owned).to_vec()];
    for message in forecast["messages"].as_array().into_iter().flatten() {
        let ways: Vec<&str> = message["ways"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let at = moment(&message["at"]);
        let first = message["notices"].as_array().and_then(|notices| notices.first());
        let why = first.map(|notice| word(&notice["why"])).unwrap_or_default();
        let held = if message["held"] == true { ", after quiet hours" } else { "" };
        rows.push(vec![
            zone.long(at),
            relative(at, now).trim_start_matches("in ").to_owned(),
            word(&message["receiver"]),
            ways.join("+"),
            message["severity"].as_str().unwrap_or("resolved").to_owned(),
            format!("{} ({why}{held})", word(&message["subject"])),
        ]);
    }
    let none = rows.len() == 1;
    let mut text = paint.soft(&format!("({source}; until {})", zone.long(moment(&forecast["to"]))));
    text.push('\n');
    if none {
        text.push_str("nobody will be told anything\n");
    } else {
        text.push_str(&io::table(&rows, |y, x, cell| match (y, x) {
            (0, _) => paint.soft(cell),
            (_, 4) => paint.by_word(cell, cell),
            _ => cell.to_owned(),
        }));
    }
    let renewals = forecast["renewals"].as_array().into_iter().flatten().map(|renewal| {
        let until = renewal["until"].as_i64().map(|at| format!(", then until {}", zone.long(Timestamp::from_unix(at))));
        let at = moment(&renewal["at"]);
        let (when, left) = (zone.long(at), relative(at, now));
        let doubt = renewal["after"]
            .as_str()
            .map(|last| format!("; the last try did not succeed ({}), so do not count on it", last.replace('_', " ")));
        let (until, doubt) = (until.unwrap_or_default(), doubt.unwrap_or_default());
        format!("{} is renewed {when} ({left}){until}{doubt}\n", word(&renewal["name"]))
    });
    text.extend(renewals);
    if forecast["cut"] == true {
        text.push_str("and more; ask for fewer days to see all\n");
    }
    let unknown: Vec<&str> = forecast["unknown"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !unknown.is_empty() {
        let shown = unknown.iter().take(20).copied().collect::<Vec<_>>().join(", ");
        let count = u64::try_from(unknown.len()).unwrap_or(u64::MAX);
        text.push_str(&format!("nothing is known yet of {}: {shown}\n", io::counted(count, "token")));
    }
    text.push_str(&paint.soft(&format!("Assumed: {}.", word(&forecast["assumes"]))));
    text.push('\n');
    text
}

/// A hundred thousand tokens take a while.
const PATIENCE: Duration = Duration::from_secs(60);
