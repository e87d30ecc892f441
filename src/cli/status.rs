//! `status`: what the running daemon knows, asked over its control socket: of all, or of one token, one app or itself.

use serde::Deserialize as _;
use serde_json::Value;

use super::control::{Daemon, FetchTrouble};
use super::{Context, Exit, io};
use crate::domain::time::{Span, Timestamp, relative};
use crate::domain::token::TokenId;
use crate::web::json::StandingJson;
use crate::zone::Zone;

/// Runs the command, about one subject or all.
pub async fn run(context: &Context, name: Option<&str>, json: bool) -> Exit {
    let daemon = match Daemon::find(context) {
        Ok(daemon) => daemon,
        Err(nobody) => return nobody.fail(),
    };
    if let Some(name) = name {
        return one(context, &daemon, name, json).await;
    }
    let (status, tokens) = match (daemon.get("/api/v1/status").await, daemon.get("/api/v1/tokens").await) {
        (Ok(status), Ok(tokens)) => (status, tokens),
        (Err(why), _) | (_, Err(why)) => return why.fail(),
    };
    if json {
        let mut whole = status;
        whole["tokens"] = tokens["tokens"].clone();
        return io::print_json(&whole);
    }
    io::print(&text(&status, &tokens, io::Paint::new(&context.environment)))
}

/// Only whether the daemon gets on with its work.
pub async fn health(context: &Context) -> Exit {
    let daemon = match Daemon::find(context) {
        Ok(daemon) => daemon,
        Err(nobody) => return nobody.fail(),
    };
    match daemon.fetch("/healthz", |_| Ok(())).await {
        Ok(()) => io::print("ok\n"),
        Err(FetchTrouble::There(why)) => why.fail(),
        Err(FetchTrouble::Here(error)) => super::fail(Exit::Internal, error),
    }
}

fn text(status: &Value, tokens: &Value, paint: io::Paint) -> String {
    let now = Timestamp::from_unix(status["now"].as_i64().unwrap_or_default());
    let zone = status["timezone"].as_str().and_then(|name| Zone::parse(name).ok()).unwrap_or(Zone::UTC);
    let ago = |key: &str| {
        status[key].as_i64().map_or_else(|| "never".to_owned(), |at| relative(Timestamp::from_unix(at), now))
    };
    let mut rows = vec![["TOKEN", "VERDICT", "ENDS", "FINDINGS", "LAST ANSWER"].map(str::to_owned).to_vec()];
    for token in tokens["tokens"].as_array().into_iter().flatten() {
        let when = |key: &str| token[key].as_i64().map(Timestamp::from_unix);
        // The nearer of both ends, as `check` shows it.
        let nearest = when("expires_at").into_iter().chain(when("data_access_expires_at")).min();
        let ends = match nearest {
            Some(at) => format!("{} ({})", zone.date(at), relative(at, now)),
            None if token["never_expires"] == true => "never".to_owned(),
            None => "unknown".to_owned(),
        };
        let findings: Vec<&str> = token["findings"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|finding| finding["finding"].as_str())
            .collect();
        let mut findings = if findings.is_empty() { "-".to_owned() } else { findings.join(", ") };
        if token["acknowledged"] == true {
            findings.push_str(" (acknowledged)");
        }
        if let Some(at) = when("silenced_until").filter(|at| *at > now) {
            findings.push_str(&format!(" (silenced until {})", zone.short(at)));
        }
        rows.push(vec![
            token["name"].as_str().unwrap_or_default().to_owned(),
            token["verdict"].as_str().unwrap_or_default().to_owned(),
            ends,
            findings,
            when("last_answer").map_or_else(|| "never".to_owned(), |at| relative(at, now)),
        ]);
    }
    let mut text = io::table(&rows, |y, x, cell| match (y, x) {
        (0, _) => paint.soft(cell),
        (_, 1) => paint.by_word(cell, cell),
        _ => cell.to_owned(),
    });
    text.push_str(&format!("\nlast pass {}, last mail {}", ago("last_pass"), ago("last_mail")));
    let waiting = status["outbox_pending"].as_u64().unwrap_or_default();
    text.push_str(&format!(", {} waiting\n", io::counted(waiting, "notice")));
    for trouble in status["troubles"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        text.push_str(&paint.by_word(&format!("trouble: {trouble}\n"), "critical"));
    }
    for subject in status["subjects"].as_array().into_iter().flatten() {
        let name = subject["subject"].as_str().unwrap_or_default();
        text.extend(standing(subject, &zone, now, paint).iter().map(|line| format!("{name}: {line}\n")));
    }
    text
}

/// How a subject stands: a line for everything that is wrong, open or silenced.
fn standing(subject: &Value, zone: &Zone, now: Timestamp, paint: io::Paint) -> Vec<String> {
    let Ok(standing) = StandingJson::deserialize(subject) else {
        return vec!["what the daemon says of it is not understood".to_owned()];
    };
    let word = standing.severity().map_or("", |severity| severity.as_str());
    standing.in_words(zone, now).iter().map(|(_, line)| paint.by_word(line, word)).collect()
}

/// One subject: how it stands, what is open, what was answered, who was told.
async fn one(context: &Context, daemon: &Daemon, name: &str, json: bool) -> Exit {
    // What is no name is not put into a path. Apps are named by the same rules as tokens.
    if name.split('/').any(|part| TokenId::parse(part).is_err()) {
        return super::fail(Exit::Warning, format_args!("nothing is watched by the name {name:?}"));
    }
    let asked = (daemon.get("/api/v1/status").await, daemon.get(&format!("/api/v1/subjects/{name}")).await);
    let (status, subject) = match asked {
        (Ok(status), Ok(subject)) => (status, subject),
        (Err(why), _) | (_, Err(why)) => return why.fail(),
    };
    let token = match subject["subject"].as_str().and_then(|subject| subject.strip_prefix("token/")) {
        None => None,
        Some(id) => match daemon.get(&format!("/api/v1/tokens/{id}")).await {
            Ok(token) => Some(token),
            Err(why) => return why.fail(),
        },
    };
    if json {
        return io::print_json(token.as_ref().unwrap_or(&subject));
    }
    io::print(&past(&status, &subject, token.as_ref(), io::Paint::new(&context.environment)))
}

fn past(status: &Value, subject: &Value, token: Option<&Value>, paint: io::Paint) -> String {
    let now = Timestamp::from_unix(status["now"].as_i64().unwrap_or_default());
    let zone = status["timezone"].as_str().and_then(|name| Zone::parse(name).ok()).unwrap_or(Zone::UTC);
    let when = |value: &Value| {
        let at = value.as_i64().map(Timestamp::from_unix);
        at.map_or_else(|| "-".to_owned(), |at| format!("{} ({})", zone.short(at), relative(at, now)))
    };
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let mut text = match token {
        Some(token) => {
            let verdict = word(&token["verdict"]);
            format!("{}: {}\n", word(&token["name"]), paint.by_word(&verdict, &verdict))
        }
        None => format!("{}\n", word(&subject["subject"])),
    };
    let lines = standing(subject, &zone, now, paint);
    if lines.is_empty() && token.is_none() {
        text.push_str("nothing is wrong, and nothing is silenced\n");
    }
    text.extend(lines.iter().map(|line| format!("{line}\n")));
    let history = &subject["history"];
    let section = |title: &str, head: &[&str], rows: Vec<Vec<String>>| {
        let mut all = vec![head.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>()];
        if rows.is_empty() {
            return format!("\n{title}\n  none\n");
        }
        all.extend(rows);
        let table = io::table(&all, |y, _, cell| if y == 0 { paint.soft(cell) } else { paint.by_word(cell, cell) });
        format!("\n{title}\n{table}")
    };
    let list = |name: &str| history[name].as_array().into_iter().flatten();
    let incidents = list("incidents").map(|incident| {
        let ended = match incident["ended_at"].as_i64() {
            None => "open".to_owned(),
            Some(_) => format!("{} {}", word(&incident["ending"]), when(&incident["ended_at"])),
        };
        let known = match incident["acknowledged"]["by"].as_str() {
            Some(by) => format!("{by}, {}", when(&incident["acknowledged"]["at"])),
            None => "-".to_owned(),
        };
        let told = if incident["told_at"].is_null() { "none".to_owned() } else { when(&incident["told_at"]) };
        vec![when(&incident["began_at"]), word(&incident["finding"]), word(&incident["severity"]), told, known, ended]
    });
    let answers = list("answers").map(|answer| {
        let lasts = answer["seconds"].as_i64().map(|seconds| format!(" for {}", Span::seconds(seconds)));
        let even = if answer["even_critical"] == true { ", even critical" } else { "" };
        let what = format!("{}{}{even}", word(&answer["answer"]), lasts.unwrap_or_default());
        vec![when(&answer["at"]), word(&answer["by"]), what, word(&answer["why"])]
    });
    let deliveries = list("deliveries").map(|delivery| {
        let way = format!("{} to {}", delivery["route"].as_str().unwrap_or("notice"), word(&delivery["receiver"]));
        let went = match (delivery["delivered_at"].as_i64(), delivery["failure"].as_str()) {
            (Some(_), _) => {
                let by = match delivery["channel"].as_str() {
                    Some("none") => "there was nobody to reach".to_owned(),
                    Some("rerouted") => "handed on".to_owned(),
                    _ => word(&delivery["channel"]),
                };
                format!("{by} {}", when(&delivery["delivered_at"]))
            }
            (None, Some(failure)) => format!("waiting, tried {} times: {failure}", delivery["attempts"]),
            (None, None) => "waiting".to_owned(),
        };
        let what = format!("{} ({})", word(&delivery["finding"]), word(&delivery["why"]));
        vec![when(&delivery["made_at"]), what, word(&delivery["severity"]), way, went]
    });
    let renewals = list("renewals").map(|renewal| {
        let who = match (renewal["by"].as_str(), renewal["replacement"] == true) {
            (None, _) => "it was due".to_owned(),
            (Some(by), false) => format!("asked for by {by}"),
            (Some(by), true) => format!("replaced by {by}"),
        };
        vec![when(&renewal["at"]), word(&renewal["outcome"]).replace('_', " "), who, word(&renewal["text"])]
    });
    let head = ["BEGAN", "FINDING", "SEVERITY", "LAST NOTICE", "ACKNOWLEDGED", "ENDED"];
    text.push_str(&section("Incidents", &head, incidents.collect()));
    text.push_str(&section("Answers", &["WHEN", "WHO", "WHAT", "WHY"], answers.collect()));
    if token.is_some() {
        text.push_str(&section("Renewals", &["WHEN", "OUTCOME", "WHO", "WHAT WAS DONE"], renewals.collect()));
    }
    text.push_str(&section("Told", &["MADE", "NOTICE", "SEVERITY", "WAY", "DELIVERED"], deliveries.collect()));
    text
}
