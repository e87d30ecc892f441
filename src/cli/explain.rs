//! `explain NAME`: the running daemon's reasons; without a daemon, those of one check made now.

use serde_json::Value;

use super::control::Daemon;
use super::{Context, Exit, check, io};
use crate::domain::token::TokenId;
use crate::explain::explain;

/// Runs the command.
pub async fn run(context: &Context, name: &str, json: bool) -> Exit {
    let (explanation, source) = match known(context, name).await {
        Ok(found) => found,
        Err(exit) => return exit,
    };
    if json {
        return io::print_json(&explanation);
    }
    io::print(&text(&explanation, source, io::Paint::new(&context.environment)))
}

async fn known(context: &Context, name: &str) -> Result<(Value, &'static str), Exit> {
    let id = TokenId::parse(name)
        .map_err(|fault| super::fail(Exit::Warning, format_args!("no token is called {name:?}: {fault}")))?;
    match Daemon::find(context) {
        Ok(daemon) => {
            if let Ok(token) = daemon.get(&format!("/api/v1/tokens/{id}")).await {
                return Ok((token["explanation"].clone(), "what the running daemon knows"));
            }
        }
        // It may know better, and whoever asks may not be able to read what it reads.
        Err(away) if away.shut => return Err(away.fail()),
        Err(_) => {}
    }
    let loaded = context.load()?;
    let pass = check::Pass::new(loaded.settings, context)?;
    let checked = pass.check(&[name.to_owned()]).await?;
    let Some(token) = checked.into_iter().next() else {
        return Err(super::fail(Exit::Warning, format_args!("no token is called {name:?}")));
    };
    let explanation = explain(&token.spec, &token.step.status, pass.zone(), pass.now());
    let value = serde_json::to_value(&explanation).map_err(|error| super::fail(Exit::Internal, error))?;
    Ok((value, "one check made now, because no daemon is reachable; its memory is not part of this"))
}

fn text(explanation: &Value, source: &str, paint: io::Paint) -> String {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let verdict = word(&explanation["verdict"]);
    let mut text = format!("{}: {}\n", word(&explanation["name"]), paint.by_word(&verdict, &verdict));
    text.push_str(&paint.soft(&format!("({source})")));
    text.push_str("\n\nWhat is known\n");
    let facts: Vec<Vec<String>> = explanation["facts"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|pair| vec![format!("  {}", word(&pair[0])), word(&pair[1])])
        .collect();
    text.push_str(&io::table(&facts, |_, _, cell| cell.to_owned()));
    text.push_str("\nWhat each rule says\n");
    let rules: Vec<&Value> = explanation["rules"].as_array().into_iter().flatten().collect();
    let lines: Vec<Vec<String>> = rules
        .iter()
        .map(|line| {
            let mark = if line["finding"].is_null() { "✔" } else { "✖" };
            vec![format!("  {mark} {}", word(&line["rule"])), word(&line["says"])]
        })
        .collect();
    text.push_str(&io::table(&lines, |y, x, cell| {
        match (x, rules.get(y).and_then(|line| line["severity"].as_str())) {
            (1, Some(severity)) => paint.by_word(cell, severity),
            _ => cell.to_owned(),
        }
    }));
    text.push_str("\nWhat happens next\n");
    for line in explanation["next"].as_array().into_iter().flatten() {
        text.push_str(&format!("  {}\n", word(line)));
    }
    text
}
