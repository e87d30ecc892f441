//! `check`: one pass now, over the same wiring and the same core as the daemon, and an exit code with the worst of it.
//!
//! It keeps nothing: what it saw is judged at once, without waiting for a second answer (contract §10.2).

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use indicatif::{ProgressBar, ProgressStyle};

use super::env_file::Found;
use super::{Context, Exit, io, provider_debug};
use crate::advice;
use crate::board::{AppRow, Row, Table};
use crate::clock::System;
use crate::daemon::wiring::{Wanted, Wiring};
use crate::domain::finding::{Finding, Reason, Severity};
use crate::domain::inspection::Expiry;
use crate::domain::status::{AppStatus, TokenStatus};
use crate::domain::step::{AppObservation, AppReport, Observation, Step, step, step_app};
use crate::domain::time::{Timestamp, relative};
use crate::domain::token::{AppName, AppSpec, TokenId, TokenSpec};
use crate::domain::verdict::Verdict;
use crate::metrics::Counters;
use crate::ports::Clock;
use crate::reader::Reader;
use crate::secret::FingerprintKey;
use crate::settings::source::Sources;
use crate::settings::{self, PerToken, Settings};
use crate::web::exposition::{Exposition, Scene};
use crate::web::json::TokenJson;

use crate::zone::Zone;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only these tokens.
    names: Vec<String>,
    /// Check the tokens in this env file, without any configuration.
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// For machines.
    #[arg(long, conflicts_with = "prometheus")]
    json: bool,
    /// In Prometheus' text format, for a textfile collector.
    #[arg(long)]
    prometheus: bool,
    /// Show one token's question to a described provider in full: what was sent, what came back, how each fact was read; secrets are hidden.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["names", "env_file", "json", "prometheus"])]
    provider_debug: Option<String>,
}

/// Runs the command.
pub async fn run(context: &Context, arguments: &Arguments) -> Exit {
    match pass(context, arguments).await {
        Ok(exit) | Err(exit) => exit,
    }
}

async fn pass(context: &Context, arguments: &Arguments) -> Result<Exit, Exit> {
    if let Some(name) = &arguments.provider_debug {
        return provider_debug::run(context, name).await;
    }
    let settings = match &arguments.env_file {
        Some(file) => of_env_file(file, context)?,
        None => context.load()?.settings,
    };
    let pass = Pass::new(settings, context)?;
    let checked = pass.check(&arguments.names).await?;
    let apps = pass.apps(&checked);
    let exit = worst(&checked, &apps);
    let printed = if arguments.json {
        pass.print_json(&checked, &apps)
    } else if arguments.prometheus {
        pass.print_prometheus(&checked, apps)
    } else {
        io::print(&pass.table(&checked, &apps, io::Paint::new(&context.environment)))
    };
    Ok(if printed == Exit::Fine { exit } else { printed })
}

/// Settings for the tokens in an env file.
fn of_env_file(file: &Path, context: &Context) -> Result<Settings, Exit> {
    let found = Found::read(file)?;
    let settings = found.settings(context)?;
    if let Some(why) = found.shortcoming() {
        let _ = super::fail(Exit::Fine, why);
    }
    Ok(settings)
}

/// The places of the tokens that were named, each once, or of all when none was.
///
/// # Errors
/// When a name is not known.
pub fn named(settings: &Settings, names: &[String]) -> Result<Vec<usize>, Exit> {
    if names.is_empty() {
        return Ok((0..settings.tokens.len()).collect());
    }
    let mut places = Vec::new();
    for name in names {
        let id = TokenId::parse(name)
            .map_err(|fault| super::fail(Exit::Warning, format_args!("no token is called {name:?}: {fault}")))?;
        let place = settings.index(&id).ok_or_else(|| {
            let known = settings.tokens.iter().map(|token| token.spec.id.as_str());
            let hint = settings::check::did_you_mean(id.as_str(), known);
            super::fail(Exit::Warning, format_args!("no token is called {id}{hint}"))
        })?;
        if !places.contains(&place) {
            places.push(place);
        }
    }
    Ok(places)
}

/// One pass over some tokens.
pub struct Pass {
    wiring: Wiring,
    clock: Arc<dyn Clock>,
    counters: Counters,
}

/// A token and what one check says of it.
pub struct CheckedToken {
    /// As it was judged: at once, without a second answer.
    pub spec: TokenSpec,
    /// The decision.
    pub step: Step,
}

impl Pass {
    /// A pass over the tokens of these settings.
    ///
    /// # Errors
    /// When no adapter can be made for them.
    pub fn new(settings: Settings, context: &Context) -> Result<Self, Exit> {
        let clock: Arc<dyn Clock> = Arc::new(System);
        let reader = Reader::new(Sources::new(context.environment.iter().cloned()));
        let wiring =
            Wiring::new(settings, &reader, &clock).map_err(|error| super::fail(Exit::BadConfiguration, error))?;
        let counters = Counters::default();
        wiring.announce(&counters);
        Ok(Self { wiring, clock, counters })
    }

    /// The zone of dates.
    pub fn zone(&self) -> &Zone {
        &self.wiring.settings.daemon.zone
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Checks the named tokens, or all, as many at once as the configuration allows.
    ///
    /// # Errors
    /// When a name is not known.
    pub async fn check(&self, names: &[String]) -> Result<Vec<CheckedToken>, Exit> {
        let tokens = &self.wiring.settings.tokens;
        let wanted = named(&self.wiring.settings, names)?;
        let progress = progress(wanted.len());
        // One pass compares nothing with an earlier one, so any key will do.
        let key = FingerprintKey::new([0; 32]);
        let checks = wanted.iter().enumerate().filter_map(|(place, index)| Some((place, tokens.get(*index)?)));
        let mut checked: Vec<(usize, CheckedToken)> = stream::iter(checks)
            .map(|(place, token)| {
                let key = &key;
                async move { (place, token, self.wiring.check(token, key, ASKED).await) }
            })
            .buffer_unordered(self.wiring.settings.daemon.concurrency)
            .map(|(place, token, seen)| {
                progress.inc(1);
                let app = token.spec.app.as_ref().map_or("", AppName::as_str);
                let error = seen.outcome.answer.as_ref().err();
                self.counters.checked(&token.spec.provider, app, &seen.telemetry, error);
                let now = self.clock.now();
                let spec = TokenSpec { policy: Arc::new(token.spec.policy.at_once()), ..token.spec.clone() };
                let step = step(&spec, TokenStatus::new(now), Observation::Checked(seen.outcome), now);
                (place, CheckedToken { spec, step })
            })
            .collect()
            .await;
        progress.finish_and_clear();
        checked.sort_by_key(|(place, _)| *place);
        Ok(checked.into_iter().map(|(_, token)| token).collect())
    }

    /// What this pass says about the apps.
    fn apps(&self, checked: &[CheckedToken]) -> Vec<AppRow> {
        let mut rows = Vec::new();
        for (name, app) in &self.wiring.settings.apps {
            let spec = AppSpec { policy: Arc::new(app.spec.policy.at_once()), ..app.spec.clone() };
            let reports = checked.iter().filter(|token| token.spec.app.as_ref() == Some(name));
            let fault = reports.filter_map(|token| token.step.app.clone()).find(|report| *report != AppReport::Fine);
            let findings = fault.map(|fault| {
                step_app(&spec, AppStatus::default(), AppObservation::Reported(fault), self.now()).findings
            });
            if let Some(findings) = findings {
                rows.push(AppRow { name: name.clone(), findings });
            }
        }
        rows
    }

    fn table(&self, checked: &[CheckedToken], apps: &[AppRow], paint: io::Paint) -> String {
        let now = self.now();
        let mut rows = vec![["TOKEN", "VERDICT", "KIND", "ENDS", "FINDINGS"].map(str::to_owned).to_vec()];
        for token in checked {
            let row = Row::of(&token.spec, &token.step);
            let findings: Vec<String> =
                token.step.judgement.findings.iter().map(|finding| says(finding, token)).collect();
            let failure = token.step.status.last_error.as_ref().filter(|_| findings.is_empty());
            rows.push(vec![
                row.id.to_string(),
                row.verdict.as_str().to_owned(),
                row.kind.as_str().to_owned(),
                match (row.expires, row.deadline()) {
                    (_, Some(at)) => format!("{} ({})", self.zone().date(at), relative(at, now)),
                    (Expiry::Never, None) => "never".to_owned(),
                    (_, None) => "unknown".to_owned(),
                },
                failure.map_or_else(
                    || if findings.is_empty() { "-".to_owned() } else { findings.join("; ") },
                    ToString::to_string,
                ),
            ]);
        }
        let mut text = io::table(&rows, |y, x, cell| match (y, x) {
            (0, _) => paint.soft(cell),
            (_, 1) => paint.by_word(cell, cell),
            _ => cell.to_owned(),
        });
        for app in apps {
            for finding in &app.findings {
                let line = format!("app {}: {}\n", app.name, advice::reason_in_words(finding.reason));
                text.push_str(&paint.by_word(&line, finding.severity.as_str()));
            }
        }
        text
    }

    fn print_json(&self, checked: &[CheckedToken], apps: &[AppRow]) -> Exit {
        let tokens: Vec<serde_json::Value> = checked
            .iter()
            .map(|token| {
                let mut value =
                    serde_json::to_value(TokenJson::of(&Row::of(&token.spec, &token.step))).unwrap_or_default();
                value["error"] = token.step.status.last_error.as_ref().map(ToString::to_string).into();
                value
            })
            .collect();
        let apps: Vec<serde_json::Value> = apps
            .iter()
            .flat_map(|app| {
                app.findings.iter().map(|finding| {
                    serde_json::json!({"app": app.name.as_str(), "finding": finding.reason.as_str(), "severity": finding.severity.as_str()})
                })
            })
            .collect();
        io::print_json(&serde_json::json!({"now": self.now().unix(), "tokens": tokens, "apps": apps}))
    }

    fn print_prometheus(&self, checked: &[CheckedToken], apps: Vec<AppRow>) -> Exit {
        let table = Table::new(checked.iter().map(|token| Row::of(&token.spec, &token.step)).collect());
        for app in apps {
            table.publish_app(&app.name, app.findings);
        }
        let now = self.now();
        let scene = Scene {
            now,
            counters: self.counters.render(),
            outbox: None,
            last_pass: Some(now),
            reload: None,
            watcher: Vec::new(),
            per_token: PerToken::All,
        };
        let text: Vec<u8> = Exposition::new(Arc::new(table), &scene).flatten().collect();
        io::print(&String::from_utf8_lossy(&text))
    }
}

fn says(finding: &Finding, token: &CheckedToken) -> String {
    use crate::domain::finding::Detail;
    let code = finding.reason.as_str();
    match &finding.detail {
        Detail::Cause(cause) => format!("{code}: {}", cause.in_words()),
        Detail::Missing(names) => format!("{code}: {}", names.join(", ")),
        Detail::Text(text) if !text.is_empty() => format!("{code}: {text}"),
        Detail::App(fault, _) => format!("{code}: {}", fault.in_words()),
        Detail::Obstacles(obstacles) => {
            let words = advice::number::evidence(obstacles).into_iter().map(|(_, words)| words);
            format!("{code}: {}", words.collect::<Vec<_>>().join("; "))
        }
        Detail::None | Detail::Text(_) | Detail::Summary(_) => {
            let words = token.step.status.current_facts().and_then(|facts| facts.message.as_deref());
            words.map_or_else(|| code.to_owned(), |words| format!("{code}: {words}"))
        }
    }
}

/// The worst of all: 2 outranks 3 outranks 1 (contract §10.2).
fn worst(checked: &[CheckedToken], apps: &[AppRow]) -> Exit {
    let tokens = checked.iter().map(|token| exit_of(&token.step));
    let faults = apps.iter().filter(|app| !app.findings.is_empty()).map(|_| Exit::Unknown);
    let rank = |exit: &Exit| match exit {
        Exit::Critical => 3,
        Exit::Unknown => 2,
        Exit::Warning => 1,
        _ => 0,
    };
    tokens.chain(faults).max_by_key(rank).unwrap_or(Exit::Fine)
}

/// What one judgement exits with.
pub fn exit_of(step: &Step) -> Exit {
    let could_not_tell = |reason: Reason| matches!(reason, Reason::AppFault | Reason::SourceUnreadable | Reason::Blind);
    let findings = &step.judgement.findings;
    let critical =
        findings.iter().any(|finding| finding.severity == Severity::Critical && !could_not_tell(finding.reason));
    if critical {
        Exit::Critical
    } else if step.judgement.verdict == Verdict::Unverified
        || findings.iter().any(|finding| could_not_tell(finding.reason))
    {
        Exit::Unknown
    } else if findings.iter().any(|finding| finding.reason != Reason::ExpiryUnknown) {
        Exit::Warning
    } else {
        Exit::Fine
    }
}

/// Shown on a terminal when there is something to wait for.
fn progress(checks: usize) -> ProgressBar {
    if checks < 20 || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(u64::try_from(checks).unwrap_or(u64::MAX));
    let style = ProgressStyle::with_template("checking {bar:30} {pos}/{len}, {eta} left");
    style.map_or_else(|_| bar.clone(), |style| bar.clone().with_style(style))
}

/// A look asks about the number, which costs one call; who gets what arrives is for the daemon and `doctor`.
const ASKED: Wanted = Wanted { number: true, subscription: false };
