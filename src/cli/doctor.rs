//! `doctor`: the troubleshooting guide, walked for whoever was woken: what is right, what is wrong, and the one thing to do next.
//!
//! It prints and decides nothing. What costs money or reaches a person is done only where an option asks for it.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::check::named;
use super::env_file::Found as EnvFile;
use super::{Context, Exit, io};
use crate::clock::System;
use crate::daemon::wiring::Wiring;
use crate::doctor::{About, Bad, Commands, Doctor, Found, Line, Progress, Report, Wishes, Wrong, phone};
use crate::ports::Clock;
use crate::reader::Reader;
use crate::settings::Settings;
use crate::settings::source::Sources;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only these tokens.
    names: Vec<String>,
    /// Look at the tokens in this env file, without any configuration.
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// For machines.
    #[arg(long)]
    json: bool,
    /// Send a real WhatsApp message to this number, in E.164 form (+919812345678): it costs money and reaches a person.
    #[arg(long, value_name = "NUMBER")]
    send_to: Option<String>,
    /// The approved template of that message; it must have no parameters.
    #[arg(long, value_name = "NAME", default_value = "hello_world", requires = "send_to")]
    template: String,
    /// The language of that template.
    #[arg(long, value_name = "CODE", default_value = "en_US", requires = "send_to")]
    language: String,
    /// Really send a test mail to every receiver.
    #[arg(long)]
    send_mail: bool,
    /// Ask the application also by a POST or a command, which may reach a person.
    #[arg(long)]
    try_application: bool,
}

/// Runs the command.
pub async fn run(context: &Context, arguments: &Arguments) -> Exit {
    match examine(context, arguments).await {
        Ok(exit) | Err(exit) => exit,
    }
}

async fn examine(context: &Context, arguments: &Arguments) -> Result<Exit, Exit> {
    let (settings, commands) = match &arguments.env_file {
        Some(file) => {
            let found = EnvFile::read(file)?;
            if let Some(why) = found.shortcoming() {
                let _ = super::fail(Exit::Fine, why);
            }
            (found.settings(context)?, Commands::over_env_file(&found.file))
        }
        None => (context.load()?.settings, Commands::over(context.config_was_named.then_some(&*context.config))),
    };
    let places = named(&settings, &arguments.names)?;
    let send_to = match &arguments.send_to {
        None => None,
        Some(typed) => {
            let phone = phone::parse(typed)
                .map_err(|why| super::fail(Exit::Usage, format_args!("--send-to: {why}; nothing was sent")))?;
            sends_with_one(&settings, &places)?;
            Some(phone)
        }
    };
    let clock: Arc<dyn Clock> = Arc::new(System);
    let reader = Reader::new(Sources::new(context.environment.iter().cloned()));
    let wiring = Wiring::new(settings, &reader, &clock).map_err(|error| super::fail(Exit::BadConfiguration, error))?;
    let bar = bar();
    let progress = |progress: Progress| match progress {
        Progress::Begins(all) => bar.set_length(u64::try_from(all).unwrap_or(u64::MAX)),
        Progress::Did(what) => {
            bar.set_message(what);
            bar.inc(1);
        }
    };
    let wishes = Wishes {
        send_to,
        template: arguments.template.clone(),
        language: arguments.language.clone(),
        send_mail: arguments.send_mail,
        try_application: arguments.try_application,
    };
    let doctor = Doctor::new(&wiring, &*clock, commands, wishes, &progress);
    let report = doctor.walk(&places).await;
    bar.finish_and_clear();
    let printed = if arguments.json {
        io::print_json(&as_json(&report, clock.now().unix()))
    } else {
        io::print(&as_text(&report, io::Paint::new(&context.environment)))
    };
    Ok(if printed == Exit::Fine { exit_of(&report) } else { printed })
}

/// A message is sent once, so it must be clear with which token.
fn sends_with_one(settings: &Settings, places: &[usize]) -> Result<(), Exit> {
    let has_number = |place: &&usize| {
        let token = settings.tokens.get(**place);
        token.and_then(|token| token.whatsapp.as_ref()).is_some_and(|whatsapp| whatsapp.phone_number_id.is_some())
    };
    let senders: Vec<&str> = places
        .iter()
        .filter(has_number)
        .filter_map(|place| settings.tokens.get(*place))
        .map(|token| token.spec.id.as_str())
        .collect();
    match senders.as_slice() {
        [_] => Ok(()),
        [] => Err(super::fail(Exit::Usage, "--send-to: no token here has a whatsapp.phone_number_id to send from")),
        several => Err(super::fail(
            Exit::Usage,
            format_args!("--send-to: name the one token to send with: {}", several.join(", ")),
        )),
    }
}

/// 2 outranks 3 outranks 1 (contract §10.2).
fn exit_of(report: &Report) -> Exit {
    match report.worst() {
        None => Exit::Fine,
        Some(Bad::Warning) => Exit::Warning,
        Some(Bad::Unknown) => Exit::Unknown,
        Some(Bad::Critical) => Exit::Critical,
    }
}

/// The report for people.
pub fn as_text(report: &Report, paint: io::Paint) -> String {
    let mut text = String::new();
    let is_short = report.lines.iter().filter(|line| matches!(line.about, About::Token(_))).count() > MOST_LINES;
    for lines in report.lines.chunk_by(|a, b| a.about == b.about) {
        let Some(about) = lines.first().map(|line| &line.about) else { continue };
        // Of very many tokens only what is wrong is shown.
        let is_short = is_short && matches!(about, About::Token(_));
        if is_short && lines.iter().all(is_no_trouble) {
            text.push_str(&format!("{} {}\n", paint.by_word("✔", "healthy"), about.title()));
            continue;
        }
        text.push_str(&format!("{}\n", about.title()));
        let told = lines.iter().filter(|line| !(is_short && is_no_trouble(line)));
        text.extend(told.map(|line| shown(line, paint)));
    }
    text.push_str(&ending(report, paint));
    text
}

fn is_no_trouble(line: &Line) -> bool {
    !matches!(line.found, Found::Wrong(_))
}

fn shown(line: &Line, paint: io::Paint) -> String {
    let (mark, word, saw, remedy) = match &line.found {
        Found::Right(saw) => ("✔", "healthy", saw, None),
        Found::Wrong(wrong) => ("✖", word(wrong.bad), &wrong.saw, wrong.remedy.first()),
        Found::NotTried(why) => ("–", "", why, None),
    };
    let step = line.step.as_str().replace('_', " ");
    let mut text = format!("  {} {step:WIDTH$}  {saw}\n", paint.by_word(mark, word));
    if let Some(remedy) = remedy {
        text.push_str(&format!("    {:WIDTH$}  → {remedy}\n", ""));
    }
    text
}

/// What is wrong first, all that is to be done about it, and the one command to run next.
fn ending(report: &Report, paint: io::Paint) -> String {
    let (right, wrong, untried) = report.counts();
    let Some((line, first)) = report.first() else {
        return format!("\nNothing is wrong: {right} steps are in order, {untried} could not be tried.\n");
    };
    let what = format!("{}, {}: {}", line.about.title(), line.step.as_str().replace('_', " "), first.saw);
    let unsure = match report.unsure() {
        0 => String::new(),
        unsure => format!(" ({unsure} of them: no answer)"),
    };
    let mut text = format!(
        "\n{wrong} wrong{unsure}, {right} in order, {untried} not tried.\n\nFirst: {}\n",
        paint.by_word(&what, word(first.bad))
    );
    for (n, step) in first.remedy.iter().enumerate() {
        text.push_str(&format!("  {}. {step}\n", n + 1));
    }
    text.push_str(&format!("Run next: {}\n", first.next));
    text
}

const fn word(bad: Bad) -> &'static str {
    match bad {
        Bad::Warning | Bad::Unknown => "warning",
        Bad::Critical => "critical",
    }
}

fn as_json(report: &Report, now: i64) -> Value {
    let line = |line: &Line| {
        let (status, saw, wrong) = match &line.found {
            Found::Right(saw) => ("right", saw, None),
            Found::Wrong(wrong) => ("wrong", &wrong.saw, Some(wrong)),
            Found::NotTried(why) => ("not_tried", why, None),
        };
        let (kind, name) = match &line.about {
            About::App(name) => ("app", Some(name.as_str())),
            About::Token(id) => ("token", Some(id.as_str())),
            About::Host => ("host", None),
        };
        json!({
            "about": kind,
            "name": name,
            "step": line.step.as_str(),
            "status": status,
            "saw": saw,
            "severity": wrong.map(|wrong| wrong.bad.as_str()),
            "remedy": wrong.map(|wrong| &wrong.remedy),
            "next": wrong.map(|wrong| &wrong.next),
        })
    };
    let first = report.first().map(|(found, _): (&Line, &Wrong)| line(found));
    json!({"now": now, "lines": report.lines.iter().map(line).collect::<Vec<_>>(), "first": first})
}

/// Shown on a terminal while it works.
fn bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("running checks {bar:20} {pos}/{len}  {msg}");
    style.map_or_else(|_| bar.clone(), |style| bar.clone().with_style(style))
}

/// The longest name of a step.
const WIDTH: usize = 11;
/// Lines about tokens that a person reads through; of more, only what is wrong is shown.
const MOST_LINES: usize = 300;
