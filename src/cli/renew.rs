//! `renew NAME` and `replace NAME`: asked of the running daemon; without one, done here over the same state.
//!
//! A new secret comes from standard input or from a prompt without echo, never from an argument.

use std::io::{IsTerminal as _, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use zeroize::Zeroizing;

use super::control::{Daemon, Trouble};
use super::{Context, Exit, answer, io};
use crate::clock::System;
use crate::daemon::lifecycle::{keyring, state_path};
use crate::daemon::single::{Single, Wish};
use crate::daemon::wiring::Wiring;
use crate::domain::alert::Subject;
use crate::domain::renewal::{Outcome, Report};
use crate::domain::status::TokenStatus;
use crate::domain::token::TokenId;
use crate::explain::plan;
use crate::ports::{Clock, SlotStatus, Store, StoreError};
use crate::reader::Reader;
use crate::renewal::run::News;
use crate::requests::Declined;
use crate::secret::Secret;
use crate::settings::source::Sources;
use crate::store::Sqlite;
use crate::web::control::{RenewJson, ReplaceJson};

/// `renew NAME`.
pub async fn renew(context: &Context, name: &str, dry_run: bool, anyway: bool, json: bool) -> Exit {
    let id = match named(name) {
        Ok(id) => id,
        Err(exit) => return exit,
    };
    let daemon = match Daemon::find(context) {
        Ok(daemon) => daemon,
        Err(nobody) if nobody.shut => return nobody.fail(),
        Err(_) if dry_run => return planned_here(context, &id, json).await,
        Err(_) => return carried_here(context, &id, Wish::Renew(anyway), json).await,
    };
    if dry_run {
        return match daemon.get(&format!("/control/v1/plan?name={id}")).await {
            Ok(plan) => print_plan(&plan, json),
            Err(why) => why.fail(),
        };
    }
    let asked = RenewJson { name: id.to_string(), by: answer::who(context), anyway };
    followed(&daemon, &id, daemon.post("/control/v1/renew", &asked).await, json).await
}

/// `replace NAME`.
pub async fn replace(context: &Context, name: &str, anyway: bool, json: bool) -> Exit {
    let id = match named(name) {
        Ok(id) => id,
        Err(exit) => return exit,
    };
    // Whether anybody could take it is learned before it is asked for.
    let daemon = match Daemon::find(context) {
        Ok(daemon) => Some(daemon),
        Err(nobody) if nobody.shut => return nobody.fail(),
        Err(_) => None,
    };
    let secret = match brought(&id) {
        Ok(secret) => secret,
        Err(exit) => return exit,
    };
    let Some(daemon) = daemon else {
        return carried_here(context, &id, Wish::Replace(Secret::new(secret), anyway), json).await;
    };
    let asked = ReplaceJson { name: id.to_string(), by: answer::who(context), anyway, secret };
    followed(&daemon, &id, daemon.post("/control/v1/replace", &asked).await, json).await
}

fn named(name: &str) -> Result<TokenId, Exit> {
    TokenId::parse(name)
        .map_err(|fault| super::fail(Exit::Warning, format_args!("no token is called {name:?}: {fault}")))
}

/// The new secret: typed where there is a terminal, else all of standard input.
fn brought(id: &TokenId) -> Result<Zeroizing<String>, Exit> {
    let text = if std::io::stdin().is_terminal() {
        let typed = rpassword::prompt_password(format!("new token for {id} (it is not shown): "));
        typed.map(Zeroizing::new)
    } else {
        let mut text = Zeroizing::new(String::new());
        std::io::stdin().lock().take(LARGEST + 1).read_to_string(&mut text).map(|_| text)
    };
    match text {
        Err(problem) => Err(super::fail(Exit::Usage, format_args!("the new token cannot be read: {problem}"))),
        Ok(text) if text.len() as u64 > LARGEST => {
            let why =
                format!("the new token is longer than {} KiB, as no token is; nothing was changed", LARGEST / 1024);
            Err(super::fail(Exit::Usage, why))
        }
        Ok(text) if text.trim().is_empty() => {
            Err(super::fail(Exit::Usage, "no new token came on standard input; nothing was changed"))
        }
        Ok(text) if text.trim().contains(char::is_whitespace) => {
            let why =
                "the new token has white space in the middle: more than the token was pasted; nothing was changed";
            Err(super::fail(Exit::Usage, why))
        }
        Ok(text) => Ok(text),
    }
}

/// Follows the run of a daemon to its end, step by step.
async fn followed(daemon: &Daemon, id: &TokenId, begun: Result<Value, Trouble>, json: bool) -> Exit {
    let number = match begun {
        Ok(begun) => begun["number"].as_u64().unwrap_or_default(),
        Err(why) => return why.fail(),
    };
    let mut shown = 0;
    loop {
        let run = match daemon.get(&format!("/control/v1/run?name={id}&number={number}")).await {
            Ok(run) => run,
            Err(why) => return why.fail(),
        };
        let steps: Vec<&str> = run["steps"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for step in steps.iter().skip(shown) {
            show_step(step, json);
        }
        shown = shown.max(steps.len());
        if let Some(outcome) = run["outcome"].as_str().and_then(Outcome::parse) {
            return ended(id, outcome, run["text"].as_str().unwrap_or_default(), json);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Without a daemon: the same run, in this process.
async fn carried_here(context: &Context, id: &TokenId, wish: Wish, json: bool) -> Exit {
    let single = match single(context) {
        Ok(single) => single,
        Err(exit) => return exit,
    };
    let news = |news: News| match news {
        News::Step(step) => show_step(&step, json),
        News::Stuck(Some(why)) => show_step(&format!("{why}; trying again"), json),
        News::Stuck(None) | News::Asked(..) => {}
    };
    let by = answer::who(context).unwrap_or_else(|| "somebody".to_owned());
    match single.carry(id, wish, &by, &news).await {
        Ok(Report { outcome, text, .. }) => ended(id, outcome, &text, json),
        Err(declined @ (Declined::Store(_) | Declined::CutOff(_) | Declined::Stopping)) => {
            super::fail(Exit::TryAgain, declined)
        }
        Err(Declined::Unknown) => super::fail(Exit::Warning, format_args!("no token is called {id}")),
        Err(declined @ (Declined::Refused(_) | Declined::NotRenewed(_))) => {
            super::fail(Exit::Warning, format_args!("{id}: {declined}"))
        }
    }
}

/// Without a daemon, from the state that it left behind; nothing is made where there is none.
async fn planned_here(context: &Context, id: &TokenId, json: bool) -> Exit {
    let settings = match context.load() {
        Ok(loaded) => loaded.settings,
        Err(exit) => return exit,
    };
    let Some(token) = settings.token(id) else {
        return super::fail(Exit::Warning, format_args!("no token is called {id}"));
    };
    let now = System.now();
    let known = match state_path(&settings, &context.environment) {
        Ok(state) if state.exists() => {
            let store = match Sqlite::open(&state) {
                Ok(store) => store,
                Err(failure) => return refused(&failure),
            };
            match store.load(vec![Subject::Token(id.clone())]).await {
                Ok(found) => found.into_iter().next().map(|(_, status)| status),
                Err(failure) => return refused(&failure),
            }
        }
        Ok(_) => None,
        Err(failure) => return refused(&failure),
    };
    let status = match known {
        Some(SlotStatus::Token(status)) => *status,
        _ => TokenStatus::new(now),
    };
    match serde_json::to_value(plan(token, &status, &settings.daemon.zone, now)) {
        Ok(plan) => print_plan(&plan, json),
        Err(error) => super::fail(Exit::Internal, error),
    }
}

fn single(context: &Context) -> Result<Single, Exit> {
    let settings = context.load()?.settings;
    let state = state_path(&settings, &context.environment).map_err(|failure| refused(&failure))?;
    if let Some(owner) = stranger(&state) {
        let why = format!(
            "{} belongs to the user {owner}, and files made here would shut its daemon out; start the daemon, or run this as that user",
            state.display()
        );
        return Err(super::fail(Exit::TryAgain, why));
    }
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(&state).map_err(|failure| refused(&failure))?);
    let clock: Arc<dyn Clock> = Arc::new(System);
    let reader = Reader::new(Sources::new(context.environment.iter().cloned()));
    let wiring = Wiring::new(settings, &reader, &clock).map_err(|error| super::fail(Exit::BadConfiguration, error))?;
    let keyring = Arc::new(keyring(&state, &context.environment));
    Ok(Single { clock, store, wiring: Arc::new(wiring), keyring })
}

/// The owner of the state, or of the folder that it would be made in, when that is somebody else.
fn stranger(state: &Path) -> Option<u32> {
    let place = std::fs::metadata(state).or_else(|_| std::fs::metadata(state.parent().unwrap_or(state))).ok()?;
    (place.uid() != rustix::process::geteuid().as_raw()).then(|| place.uid())
}

fn refused(failure: &StoreError) -> Exit {
    let exit = match failure {
        StoreError::Newer { .. } | StoreError::Foreign(_) | StoreError::Damaged { .. } => Exit::BadConfiguration,
        StoreError::InUse(_)
        | StoreError::Busy(_)
        | StoreError::Open { .. }
        | StoreError::Failed(_)
        | StoreError::Overtaken(_) => Exit::TryAgain,
    };
    super::fail(exit, failure)
}

fn show_step(step: &str, json: bool) {
    if !json {
        // A reader that went away early does not stop the work.
        let _ = io::print(&format!("  {step}\n"));
    }
}

/// Prints how it ended. Whatever is not a success exits with 1 (contract §10.2).
fn ended(id: &TokenId, outcome: Outcome, text: &str, json: bool) -> Exit {
    let exit = if outcome == Outcome::Renewed { Exit::Fine } else { Exit::Warning };
    if json {
        let value = serde_json::json!({"name": id.to_string(), "outcome": outcome.as_str(), "text": text});
        return match io::print_json(&value) {
            Exit::Fine => exit,
            broken => broken,
        };
    }
    match outcome {
        Outcome::Renewed => match io::print(&format!("{id}: done\n")) {
            Exit::Fine => exit,
            broken => broken,
        },
        _ => super::fail(exit, format_args!("{id}: {}: {text}", outcome.as_str().replace('_', " "))),
    }
}

fn print_plan(plan: &Value, json: bool) -> Exit {
    let exit = if plan["refused"].is_null() { Exit::Fine } else { Exit::Warning };
    let printed = if json {
        io::print_json(plan)
    } else {
        let lines = plan["lines"].as_array().into_iter().flatten().filter_map(Value::as_str);
        io::print(&lines.map(|line| format!("{line}\n")).collect::<String>())
    };
    if printed == Exit::Fine { exit } else { printed }
}

/// Tokens are a few hundred characters.
const LARGEST: u64 = 64 * 1024;
const PAUSE: Duration = Duration::from_millis(200);
