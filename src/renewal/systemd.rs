//! Restarts a unit of systemd over the system bus, and sees that it stays.
//!
//! One unit, by its name, and only with the verb "restart": whatever else systemd can do is never asked for.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use zbus::fdo;
use zbus::{Connection, OwnedObjectPath, OwnedVariant};

use crate::domain::time::Span;

/// Restarts a unit and waits until it is active as a new invocation. That may take `within`; then it must stay so for [`SETTLED`], because
/// systemd calls a simple service active before its program has read a line. `bus` is the address of another bus than the system's.
///
/// A service of the type oneshot that does its work and ends has done what it should.
///
/// # Errors
/// Why it does not run, with a remedy; reads well after "NAME was not restarted: ".
pub async fn restart(bus: Option<&str>, unit: &str, within: Span) -> Result<(), String> {
    let limit = within.as_limit();
    let attempt = attempt(bus, unit, Instant::now() + limit);
    // A bus that hangs is cut off here; a unit that is slow, in there, where there are better words for it.
    timeout(limit + SETTLED + POLL, attempt)
        .await
        .unwrap_or_else(|_| Err(format!("systemd did not answer in {within}")))
}

async fn attempt(bus: Option<&str>, unit: &str, end: Instant) -> Result<(), String> {
    let systemd = Systemd::connect(bus).await.map_err(|error| no_bus(&error))?;
    let place = systemd.load(unit).await.map_err(|error| refused(&error))?;
    let before = systemd.look(&place).await.map_err(|error| refused(&error))?;
    loadable(&before, unit)?;
    let job = systemd.restart(unit).await.map_err(|error| refused(&error))?;
    let mut steady: Option<(Box<[u8]>, Instant)> = None;
    loop {
        let now = systemd.look(&place).await.map_err(|error| refused(&error))?;
        match (now.since(&before, job.as_str()), &steady) {
            (Progress::Done, _) => return Ok(()),
            (Progress::Runs, None) => steady = Some((now.invocation.clone(), Instant::now())),
            (Progress::Runs, Some((invocation, since))) if *invocation == now.invocation => {
                if since.elapsed() >= SETTLED {
                    return Ok(());
                }
            }
            (Progress::Runs, Some(_)) => {
                return Err(format!("it ended at once, and systemd started it again; see journalctl -u {unit}"));
            }
            (Progress::Underway, _) if Instant::now() < end => {}
            (Progress::Underway, _) => {
                return Err(format!("it takes too long: {}; see journalctl -u {unit}", now.words()));
            }
            (Progress::Over, None) => return Err(format!("{}; see journalctl -u {unit}", now.words())),
            (Progress::Over, Some(_)) => {
                return Err(format!("it ended at once: {}; see journalctl -u {unit}", now.words()));
            }
        }
        sleep(POLL).await;
    }
}

/// systemd, on the other side of a bus.
struct Systemd(Connection);

impl Systemd {
    async fn connect(bus: Option<&str>) -> zbus::Result<Self> {
        let builder = match bus {
            None => zbus::connection::Builder::system(),
            Some(address) => zbus::connection::Builder::address(address),
        };
        builder.build().await.map(Self)
    }

    async fn load(&self, unit: &str) -> zbus::Result<OwnedObjectPath> {
        self.manager("LoadUnit", &(unit,)).await
    }

    async fn restart(&self, unit: &str) -> zbus::Result<OwnedObjectPath> {
        self.manager("RestartUnit", &(unit, "replace")).await
    }

    async fn manager(
        &self,
        method: &str,
        body: &(impl serde::Serialize + zbus::DynamicType + Sync),
    ) -> zbus::Result<OwnedObjectPath> {
        let interface = "org.freedesktop.systemd1.Manager";
        let reply = self.0.call_method(Some(NAME), PLACE, Some(interface), method, body).await?;
        reply.body().deserialize()
    }

    /// Everything about a unit at one moment: single questions could be answered before and after a change.
    async fn look(&self, place: &OwnedObjectPath) -> zbus::Result<State> {
        let mut state = State::of(self.properties(place, "org.freedesktop.systemd1.Unit").await?);
        if let Ok(service) = self.properties(place, "org.freedesktop.systemd1.Service").await {
            state.add_service(service);
        }
        Ok(state)
    }

    async fn properties(&self, place: &OwnedObjectPath, interface: &str) -> zbus::Result<Properties> {
        let properties = "org.freedesktop.DBus.Properties";
        let reply = self.0.call_method(Some(NAME), place.as_str(), Some(properties), "GetAll", &(interface,)).await?;
        reply.body().deserialize()
    }
}

type Properties = HashMap<String, OwnedVariant>;

/// What systemd says of a unit.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct State {
    load: String,
    active: String,
    sub: String,
    /// Each start has its own.
    invocation: Box<[u8]>,
    /// What is to be done with it; empty or `/` is nothing.
    job: String,
    /// What only services have.
    kind: String,
    result: String,
    main_code: i32,
    main_status: i32,
}

/// How far a restart has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Progress {
    Underway,
    Runs,
    /// It has done its work and is not meant to stay.
    Done,
    Over,
}

impl State {
    fn of(mut unit: Properties) -> Self {
        let job = unit.remove("Job").and_then(|job| <(u32, OwnedObjectPath)>::try_from(job).ok());
        Self {
            load: text(&mut unit, "LoadState"),
            active: text(&mut unit, "ActiveState"),
            sub: text(&mut unit, "SubState"),
            invocation: unit
                .remove("InvocationID")
                .and_then(|id| Vec::<u8>::try_from(id).ok())
                .unwrap_or_default()
                .into(),
            job: job.map(|(_, place)| place.as_str().to_owned()).unwrap_or_default(),
            ..Self::default()
        }
    }

    fn add_service(&mut self, mut service: Properties) {
        let mut number =
            |name: &str| service.remove(name).and_then(|value| i32::try_from(value).ok()).unwrap_or_default();
        (self.main_code, self.main_status) = (number("ExecMainCode"), number("ExecMainStatus"));
        self.kind = text(&mut service, "Type");
        self.result = text(&mut service, "Result");
    }

    /// Judges the state after a restart by the one before it. As long as the job is there nothing is decided: in the middle of a restart a
    /// unit is inactive for a moment.
    fn since(&self, before: &Self, job: &str) -> Progress {
        let is_new = self.invocation != before.invocation;
        match (self.active.as_str(), self.sub.as_str()) {
            _ if self.job == job => Progress::Underway,
            ("active" | "reloading", _) if is_new => Progress::Runs,
            ("activating", sub) if !sub.starts_with("auto-restart") => Progress::Underway,
            // systemd soon forgets a unit that has nothing left to do, and its invocation with it.
            ("inactive", _) if self.kind == "oneshot" && self.result == "success" => {
                if is_new || self.invocation.is_empty() { Progress::Done } else { Progress::Over }
            }
            _ => Progress::Over,
        }
    }

    /// `it is failed (failed), result exit-code, its main process ended with exit status 3`.
    fn words(&self) -> String {
        let mut words = format!("it is {} ({})", self.active, self.sub);
        if !matches!(self.result.as_str(), "" | "success") {
            words.push_str(&format!(", result {}", self.result));
        }
        match self.main_code {
            EXITED => words.push_str(&format!(", its main process ended with exit status {}", self.main_status)),
            KILLED | DUMPED => words.push_str(&format!(", its main process was killed by signal {}", self.main_status)),
            _ => {}
        }
        words
    }
}

fn text(properties: &mut Properties, name: &str) -> String {
    properties.remove(name).and_then(|value| String::try_from(value).ok()).unwrap_or_default()
}

fn loadable(state: &State, unit: &str) -> Result<(), String> {
    match state.load.as_str() {
        "not-found" => Err(format!("systemd knows no unit {unit}; correct the name, or run systemctl daemon-reload")),
        "masked" => Err(format!("it is masked; run systemctl unmask {unit}, or name another unit")),
        "error" | "bad-setting" => Err(format!("systemd cannot load it ({}); see systemctl status {unit}", state.load)),
        _ => Ok(()),
    }
}

fn no_bus(error: &zbus::Error) -> String {
    let remedy = "it needs D-Bus and systemd; elsewhere use restart = { run = [\"…\"] }";
    format!("the system bus cannot be reached ({error}); {remedy}")
}

fn refused(error: &zbus::Error) -> String {
    match error {
        zbus::Error::FDO(fault) => match &**fault {
            fdo::Error::AccessDenied(_) | fdo::Error::InteractiveAuthorizationRequired(_) => {
                "polkit does not allow it; install the rule that `tokenwatch config sandbox` prints".to_owned()
            }
            fdo::Error::ServiceUnknown(_) | fdo::Error::NameHasNoOwner(_) => {
                "systemd is not on the system bus; elsewhere use restart = { run = [\"…\"] }".to_owned()
            }
            other => format!("systemd refuses: {other}"),
        },
        zbus::Error::MethodError(_, Some(words), _) => format!("systemd refuses: {words}"),
        other => format!("the talk with systemd broke off: {other}"),
    }
}

/// A program that cannot read its secret, or does not like it, ends about as soon as its interpreter has started, which takes a second.
pub const SETTLED: Duration = Duration::from_secs(2);
/// How often it is looked.
const POLL: Duration = Duration::from_millis(200);
const NAME: &str = "org.freedesktop.systemd1";
const PLACE: &str = "/org/freedesktop/systemd1";
/// How a main process ended: `CLD_EXITED`, `CLD_KILLED` and `CLD_DUMPED` of sigaction(2).
const EXITED: i32 = 1;
const KILLED: i32 = 2;
const DUMPED: i32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn state(active: &str, sub: &str, invocation: u8) -> State {
        State { active: active.to_owned(), sub: sub.to_owned(), invocation: [invocation].into(), ..State::default() }
    }

    #[test]
    fn a_restart_has_come_so_far() {
        let before = state("active", "running", 1);
        let job = |state: State, job: &str| State { job: job.to_owned(), ..state };
        let oneshot = |state: State, result: &str| State { kind: "oneshot".into(), result: result.into(), ..state };
        for (now, progress) in [
            (job(state("deactivating", "stop-sigterm", 1), "/job/7"), Progress::Underway),
            (job(state("inactive", "dead", 1), "/job/7"), Progress::Underway),
            (job(state("activating", "start", 2), "/job/7"), Progress::Underway),
            (state("activating", "start-post", 2), Progress::Underway),
            (state("active", "running", 2), Progress::Runs),
            (job(state("active", "running", 2), "/job/8"), Progress::Runs),
            (state("active", "exited", 2), Progress::Runs),
            (state("active", "listening", 2), Progress::Runs),
            (state("reloading", "reload", 2), Progress::Runs),
            (oneshot(state("inactive", "dead", 2), "success"), Progress::Done),
            (State { invocation: [].into(), ..oneshot(state("inactive", "dead", 0), "success") }, Progress::Done),
            (oneshot(state("failed", "failed", 2), "exit-code"), Progress::Over),
            (oneshot(state("inactive", "dead", 1), "success"), Progress::Over),
            (state("inactive", "dead", 2), Progress::Over),
            (state("failed", "failed", 2), Progress::Over),
            (state("activating", "auto-restart", 2), Progress::Over),
            (state("deactivating", "stop", 2), Progress::Over),
            // The job was cancelled: what runs is what ran.
            (state("active", "running", 1), Progress::Over),
        ] {
            assert_eq!(now.since(&before, "/job/7"), progress, "{now:?}");
        }
    }

    #[test]
    fn states_in_words() {
        let failed = State { result: "exit-code".into(), main_code: 1, main_status: 3, ..state("failed", "failed", 2) };
        let words = "it is failed (failed), result exit-code, its main process ended with exit status 3";
        assert_eq!(failed.words(), words);
        let killed =
            State { result: "signal".into(), main_code: 2, main_status: 9, ..state("activating", "auto-restart", 2) };
        let words = "it is activating (auto-restart), result signal, its main process was killed by signal 9";
        assert_eq!(killed.words(), words);
        assert_eq!(state("inactive", "dead", 2).words(), "it is inactive (dead)");
        for (load, word) in
            [("not-found", "knows no unit a.service"), ("masked", "unmask a.service"), ("error", "cannot load")]
        {
            let fault = loadable(&State { load: load.into(), ..State::default() }, "a.service");
            assert!(fault.is_err_and(|text| text.contains(word)), "{load}");
        }
        assert_eq!(loadable(&State { load: "loaded".into(), ..State::default() }, "a.service"), Ok(()));
    }

    #[tokio::test]
    async fn no_bus_has_its_own_words() {
        let error = restart(Some("unix:path=/nonexistent/bus"), "a.service", Span::seconds(5)).await;
        let error = error.expect_err("nobody is there");
        assert!(error.starts_with("the system bus cannot be reached"), "{error}");
        assert!(error.contains("restart = { run"), "{error}");
    }
}
