//! One app: whether Meta lets it ask, how much of its budget is used, and where its secret stands. Tokens of one app share all of this, so it is
//! told once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::about_host::{self, Heard};
use super::about_token::{Asked, Held};
use super::guide::{About, Bad, Found, Line, Step, Wrong};
use super::remedy::{self, Commands};
use super::walk::Files;
use crate::advice::{Links, plain};
use crate::domain::alert::Subject;
use crate::domain::inspection::{AppFault, CheckError};
use crate::domain::status::AppStatus;
use crate::domain::step::{AppObservation, AppReport, step_app};
use crate::domain::time::Timestamp;
use crate::domain::token::{AppName, AppSpec};
use crate::hygiene::Exposed;
use crate::ports::Telemetry;
use crate::settings::{App, Settings};

/// What the answers about its tokens said of one app.
struct Seen<'a> {
    app: &'a App,
    fault: Option<(AppFault, &'a str)>,
    /// Whether some answer shows that the app may ask.
    answered: bool,
    throttled: bool,
    telemetry: Telemetry,
}

/// The apps of these tokens.
pub(super) fn lines(
    settings: &Settings,
    commands: &Commands,
    held: &[Held<'_>],
    asked: &[Option<Asked>],
    now: Timestamp,
) -> Vec<Line> {
    let mut apps: BTreeMap<&AppName, Seen<'_>> = BTreeMap::new();
    for (held, asked) in held.iter().zip(asked) {
        let (Some(name), Some(app), Some(asked)) = (&held.token.spec.app, held.app, asked) else { continue };
        let telemetry = Telemetry::default();
        let seen = apps.entry(name).or_insert(Seen { app, fault: None, answered: false, throttled: false, telemetry });
        match &asked.answer {
            Err(CheckError::App(fault, text)) => seen.fault = Some((*fault, text)),
            Ok(_) | Err(CheckError::ForeignToken(_)) => seen.answered = true,
            Err(CheckError::Throttled(_)) => seen.throttled = true,
            Err(_) => {}
        }
        seen.telemetry.also(asked.telemetry.clone());
    }
    let mut lines = Vec::new();
    for (name, seen) in apps {
        let heard = match (seen.throttled, seen.answered || seen.fault.is_some()) {
            (true, _) => Heard::Enough,
            (false, true) => Heard::Something,
            (false, false) => Heard::Nothing,
        };
        let budget = about_host::budget(&seen.telemetry.usage, heard, commands);
        let may_ask = may_ask(settings, commands, name, &seen, now);
        lines.extend([(Step::App, may_ask), (Step::Budget, budget)].map(|(step, found)| line(name, step, found)));
    }
    lines
}

/// The app's secret, where it stands elsewhere than the tokens, or is shown to everybody. Those of the apps come behind those of the tokens in
/// `exposed`.
pub(super) fn secrets(commands: &Commands, held: &[Held<'_>], files: &Files, exposed: &[Exposed]) -> Vec<Line> {
    let again = commands.doctor_for_all();
    let of_tokens: BTreeSet<&Path> = held.iter().filter_map(|held| held.token.secret.path()).collect();
    let mut lines: BTreeMap<(&AppName, Step), Found> = BTreeMap::new();
    for (place, it) in held.iter().enumerate() {
        let (Some(name), Some(app)) = (&it.token.spec.app, it.app) else { continue };
        let path = app.secret.as_ref().and_then(|secret| secret.path()).filter(|path| !of_tokens.contains(path));
        if let Some((path, look)) = path.and_then(|path| Some((path, files.get(path)?))) {
            lines.insert((name, Step::File), remedy::file(path, look, &again));
        }
        let shown: Vec<&Exposed> = exposed.iter().filter(|exposed| exposed.secret == held.len() + place).collect();
        if !shown.is_empty() {
            lines.insert((name, Step::Exposure), remedy::exposed(&shown, &again));
        }
    }
    lines.into_iter().map(|((name, step), found)| line(name, step, found)).collect()
}

fn line(name: &AppName, step: Step, found: Found) -> Line {
    Line { about: About::App(name.clone()), step, found }
}

fn may_ask(settings: &Settings, commands: &Commands, name: &AppName, seen: &Seen<'_>, now: Timestamp) -> Found {
    let Some((fault, text)) = seen.fault else {
        return match (seen.answered, &seen.app.secret) {
            (true, Some(_)) => Found::Right(format!("the id {} and the secret match", seen.app.id)),
            (_, None) => {
                Found::NotTried("it has no secret in the configuration, so tokens are asked with themselves".to_owned())
            }
            (false, Some(_)) => Found::NotTried("no answer tells; see the tokens below".to_owned()),
        };
    };
    let spec = AppSpec { policy: Arc::new(seen.app.spec.policy.at_once()), ..seen.app.spec.clone() };
    let report = AppObservation::Reported(AppReport::Fault(fault, text.into()));
    let told = step_app(&spec, AppStatus::default(), report, now);
    let links = Links::of(settings, &Subject::App(name.clone()));
    let remedy = told.notices.first().map(|notice| remedy::by_notice(notice, &links)).unwrap_or_default();
    let words = if text.is_empty() { String::new() } else { format!(": {}", plain(text)) };
    let saw = format!("the app {}{words}", fault.in_words());
    Found::Wrong(Wrong { bad: Bad::Unknown, saw, remedy, next: commands.doctor_for_all() })
}
