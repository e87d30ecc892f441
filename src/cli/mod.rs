//! The command line: one file a command, exit codes by the contract, errors that say what to do next.
//!
//! Secrets are never arguments. Nothing is decided here; commands read settings, call the core, and print.

mod access;
mod answer;
mod check;
mod config;
mod config_diff;
mod control;
mod demo;
mod doctor;
mod draft;
mod env_file;
mod explain;
mod forecast;
mod init;
mod io;
mod logging;
mod man;
mod new_file;
mod provider_debug;
mod renew;
mod sandbox;
mod state;
mod status;
mod test_alert;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::daemon::Fatal;
use crate::daemon::lifecycle::{self, Start, variable};
use crate::daemon::unit;
use crate::domain::time::Span;
use crate::ports::StoreError;
use crate::settings::{self, Faults, Loaded};

/// Watches access tokens so that none dies unannounced.
#[derive(Debug, Parser)]
#[command(name = "tokenwatch", version, arg_required_else_help = true)]
struct Arguments {
    /// The configuration file [default: $TOKENWATCH_CONFIG, else /etc/tokenwatch/tokenwatch.toml].
    #[arg(long, global = true, value_name = "PATH")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The daemon: poll, export, alert, renew.
    Run,
    /// One pass now: prints a table and exits with the worst verdict (0 fine, 1 warning, 2 critical, 3 could not tell).
    Check(check::Arguments),
    /// Write a commented configuration for the tokens in an application's env file; it never writes over one, and writes no secret.
    Init(init::Arguments),
    /// The whole troubleshooting guide, run: what is right, what is wrong, and the one thing to do next (exit codes as `check`).
    Doctor(doctor::Arguments),
    /// Why this verdict: each fact, each rule, what happens next and when.
    Explain {
        /// The token.
        name: String,
        /// For machines.
        #[arg(long)]
        json: bool,
    },
    /// What the running daemon knows: of all tokens, or of one token, app or tokenwatch itself with its past.
    Status {
        /// The token, the app, or `tokenwatch`.
        name: Option<String>,
        /// For machines.
        #[arg(long)]
        json: bool,
        /// Only whether the daemon gets on with its work, as `/healthz` says it: for the health check of a container.
        #[arg(long, conflicts_with_all = ["name", "json"])]
        health: bool,
    },
    /// Which messages will come, when and to whom, if nothing changes but the clock.
    Forecast {
        /// How far to look.
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(i64).range(1..=3_650))]
        days: i64,
        /// For machines.
        #[arg(long)]
        json: bool,
    },
    /// Say that you know: what is open is not repeated; what gets worse is still told.
    Ack {
        /// A token, an app or tokenwatch itself; token/NAME or app/NAME where both have one name.
        name: String,
        /// A word to the others.
        #[arg(long, value_name = "TEXT")]
        why: Option<String>,
    },
    /// Hold notices back for a time. It always ends, and never hides the end of a token unless asked to.
    Silence {
        /// A token, an app or tokenwatch itself.
        name: String,
        /// For how long: 30m, 4h, 7d.
        #[arg(long = "for", value_name = "TIME", value_parser = crate::settings::value::period)]
        lasts: Span,
        /// Why; it is shown to everybody who asks.
        #[arg(long, value_name = "TEXT")]
        why: String,
        /// Hold back even the last rung and the end of a token.
        #[arg(long)]
        even_critical: bool,
    },
    /// End a silence; what it held back and is still true is told at once.
    Unsilence {
        /// A token, an app or tokenwatch itself.
        name: String,
    },
    /// Renew a token now: exchange, prove, publish, restart, confirm, or roll back.
    Renew {
        /// The token.
        name: String,
        /// Only say what would happen, and why.
        #[arg(long)]
        dry_run: bool,
        /// Use a refresh token once more although the answer to its last use was lost; that may end the whole grant.
        #[arg(long, conflicts_with = "dry_run")]
        anyway: bool,
        /// For machines.
        #[arg(long)]
        json: bool,
    },
    /// Hand over a new token, on standard input or at a prompt: it is inspected, published, the application restarted and confirmed.
    Replace {
        /// The token.
        name: String,
        /// Take it although it may do less, is of another kind, or ends sooner.
        #[arg(long)]
        anyway: bool,
        /// For machines.
        #[arg(long)]
        json: bool,
    },
    /// Send a real notice through the real channels and say what became of it (exit 2 when it did not arrive).
    TestAlert {
        /// Only this receiver.
        receiver: Option<String>,
        /// With this severity, so that escalation is tried too [default: info].
        #[arg(long, value_parser = ["info", "warning", "critical"])]
        severity: Option<String>,
        /// For machines.
        #[arg(long)]
        json: bool,
    },
    /// Validate, show or describe the configuration.
    Config {
        #[command(subcommand)]
        what: config::What,
    },
    /// Copy the state, or see whether it is whole.
    State {
        #[command(subcommand)]
        what: state::What,
    },
    /// The whole product in a minute, nothing to set up: a simulated provider, captured mail, a day per second.
    Demo(demo::Arguments),
    /// Completions for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Print a manual page, or write all of them, for `man`.
    Man(man::Arguments),
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All fine.
    Fine,
    /// A warning, or a refusal with its reason.
    Warning,
    /// Something is critical.
    Critical,
    /// It could not be told.
    Unknown,
    /// The command was used wrongly (`EX_USAGE` of sysexits.h).
    Usage,
    /// A fault of this program (`EX_SOFTWARE`).
    Internal,
    /// Try again later: no daemon, a second instance, a port in use (`EX_TEMPFAIL`).
    TryAgain,
    /// The configuration is bad (`EX_CONFIG`).
    BadConfiguration,
}

impl Exit {
    const fn code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::Warning => 1,
            Self::Critical => 2,
            Self::Unknown => 3,
            Self::Usage => 64,
            Self::Internal => 70,
            Self::TryAgain => 75,
            Self::BadConfiguration => 78,
        }
    }
}

/// What a command runs in: the arguments that all have, and the environment, captured once. It cannot be printed: the environment may hold secrets.
struct Context {
    config: PathBuf,
    config_was_named: bool,
    environment: Vec<(String, String)>,
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    forbid_core_dumps();
    let exit = match Arguments::try_parse() {
        Ok(arguments) => dispatch(arguments),
        Err(refused) => refuse(&refused),
    };
    ExitCode::from(exit.code())
}

fn dispatch(arguments: Arguments) -> Exit {
    let environment = match environment() {
        Ok(environment) => environment,
        Err(name) => return fail(Exit::BadConfiguration, format_args!("the environment variable {name} is not UTF-8")),
    };
    let named = arguments.config.or_else(|| variable(&environment, "TOKENWATCH_CONFIG").map(PathBuf::from));
    let context = Context {
        config_was_named: named.is_some(),
        config: named.unwrap_or_else(|| PathBuf::from(DEFAULT_CONFIG)),
        environment,
    };
    let daemon_like = matches!(arguments.command, Command::Run);
    logging::start(if daemon_like { "info" } else { "error" }, &context.environment);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(Exit::Internal, format_args!("cannot start: {error}")),
    };
    let exit = runtime.block_on(async {
        match arguments.command {
            Command::Run => run(context).await,
            Command::Check(arguments) => check::run(&context, &arguments).await,
            Command::Init(arguments) => init::run(&context, &arguments).await,
            Command::Doctor(arguments) => doctor::run(&context, &arguments).await,
            Command::Explain { name, json } => explain::run(&context, &name, json).await,
            Command::Status { health: true, .. } => status::health(&context).await,
            Command::Status { name, json, .. } => status::run(&context, name.as_deref(), json).await,
            Command::Forecast { days, json } => forecast::run(&context, days, json).await,
            Command::Ack { name, why } => answer::run(&context, name, why, answer::Said::Ack).await,
            Command::Silence { name, lasts, why, even_critical } => {
                answer::run(&context, name, Some(why), answer::Said::Silence { lasts, even_critical }).await
            }
            Command::Unsilence { name } => answer::run(&context, name, None, answer::Said::Unsilence).await,
            Command::Renew { name, dry_run, anyway, json } => {
                renew::renew(&context, &name, dry_run, anyway, json).await
            }
            Command::Replace { name, anyway, json } => renew::replace(&context, &name, anyway, json).await,
            Command::TestAlert { receiver, severity, json } => {
                test_alert::run(&context, receiver, severity, json).await
            }
            Command::Config { what } => config::run(&context, what).await,
            Command::State { what } => state::run(&context, what).await,
            Command::Demo(arguments) => demo::run(&arguments).await,
            Command::Completions { shell } => completions(shell),
            Command::Man(arguments) => man::run(&arguments),
        }
    });
    // A read that hangs in the file system must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    exit
}

async fn run(context: Context) -> Exit {
    let loaded = match settings::load(&context.config, &context.environment) {
        Ok(loaded) => loaded,
        Err(faults) => {
            unit::cannot_run(&format!("the configuration is refused: {}", in_one_line(&faults)));
            return context.refuse(&faults);
        }
    };
    let start = Start { config: context.config, environment: context.environment };
    match lifecycle::run(start, loaded).await {
        Ok(()) => Exit::Fine,
        Err(fatal) => {
            let exit = exit_of(&fatal);
            // A part that broke off ends a daemon that ran.
            if exit != Exit::Internal {
                unit::cannot_run(&fatal.to_string());
            }
            fail(exit, &fatal)
        }
    }
}

/// The first fault, and how many there are beside it.
fn in_one_line(faults: &Faults) -> String {
    let first = faults.0.first().map(ToString::to_string).unwrap_or_default();
    match faults.0.len() {
        0 | 1 => first,
        more => format!("{first} (and {} more)", more - 1),
    }
}

fn exit_of(fatal: &Fatal) -> Exit {
    match fatal {
        // A full disk, a folder not mounted yet, an address that is not there yet: the same command may work in a minute.
        Fatal::Store(StoreError::InUse(_) | StoreError::Busy(_) | StoreError::Open { .. }) | Fatal::Listen { .. } => {
            Exit::TryAgain
        }
        Fatal::Store(StoreError::Newer { .. } | StoreError::Foreign(_) | StoreError::Damaged { .. })
        | Fatal::Wiring(_)
        | Fatal::Web(_) => Exit::BadConfiguration,
        Fatal::Store(StoreError::Failed(_) | StoreError::Overtaken(_)) | Fatal::Task(_) => Exit::Internal,
    }
}

impl Context {
    /// The configuration; its faults are printed, all of them.
    fn load(&self) -> Result<Loaded, Exit> {
        settings::load(&self.config, &self.environment).map_err(|faults| self.refuse(&faults))
    }

    fn refuse(&self, faults: &Faults) -> Exit {
        let missing = !self.config_was_named && !self.config.exists();
        let hint = if missing {
            "\nName another with --config, make one with `tokenwatch init --env-file FILE`, or try one token with `tokenwatch check --env-file FILE`."
        } else {
            ""
        };
        fail(Exit::BadConfiguration, format_args!("the configuration is refused:\n{faults}{hint}"))
    }
}

/// Prints why, and gives the exit on.
fn fail(exit: Exit, why: impl std::fmt::Display) -> Exit {
    logging::complain(&format!("tokenwatch: {why}"));
    exit
}

/// Help and version are asked for, everything else is wrong usage.
fn refuse(refused: &clap::Error) -> Exit {
    let _ = refused.print();
    match refused.kind() {
        clap::error::ErrorKind::DisplayHelp | clap::error::ErrorKind::DisplayVersion => Exit::Fine,
        _ => Exit::Usage,
    }
}

/// What the command line understands: for the completions, the manual and whoever holds the documentation against it.
pub fn command() -> clap::Command {
    Arguments::command()
}

fn completions(shell: clap_complete::Shell) -> Exit {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command(), "tokenwatch", &mut text);
    io::print(&String::from_utf8_lossy(&text))
}

/// The environment, read once and here only. What is not UTF-8 cannot be meant for us, unless its name says so: then that name is the error.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn environment() -> Result<Vec<(String, String)>, String> {
    let mut environment = Vec::new();
    for (name, value) in std::env::vars_os() {
        match (name.to_str(), value.to_str()) {
            (Some(name), Some(value)) => environment.push((name.to_owned(), value.to_owned())),
            _ if name.as_encoded_bytes().starts_with(OURS) => {
                return Err(name.to_string_lossy().escape_debug().to_string());
            }
            _ => {}
        }
    }
    Ok(environment)
}

/// Memory holds secrets, so it must not reach a disk (contract §9). Where the system refuses, there is nothing better to do than to go on.
fn forbid_core_dumps() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// How the names of our variables begin.
const OURS: &[u8] = b"TOKENWATCH_";
const DEFAULT_CONFIG: &str = "/etc/tokenwatch/tokenwatch.toml";
