//! Looks after the watcher itself, every five minutes: takes its signs of life, has the summary said when it is due, and forgets the old past.
//!
//! It decides nothing: signs go to the watch loop, and the core judges them.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::bells;
use super::wiring::Wiring;
use crate::board::Board;
use crate::domain::alert::Subject;
use crate::domain::finding::{Detail, Reason, Severity};
use crate::domain::step::saying;
use crate::domain::summary::{MOST_NAMED, Summary};
use crate::domain::time::{Span, Timestamp};
use crate::domain::verdict::{Verdict, earliest};
use crate::domain::watcher::{self, Disk, OVERDUE_AFTER, Signs, Stuck, Version, WatcherStatus};
use crate::ports::{Clock, LaneSummary, SlotStatus, Store, StoreError};
use crate::provider::meta::versions;
use crate::requests::Requests;

/// The parts that the caretaker works with.
pub struct Caretaker {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What is durable.
    pub store: Arc<dyn Store>,
    /// What everyone may see.
    pub board: Arc<Board>,
    /// The configuration in force.
    pub wiring: watch::Receiver<Arc<Wiring>>,
    /// The way to the watch loop.
    pub requests: Requests,
    /// The folder that the state is in; `None` where it is not on a disk of ours.
    pub folder: Option<PathBuf>,
    /// The end.
    pub stop: CancellationToken,
}

/// What the caretaker remembers.
struct Round {
    /// Nothing was wrong at the last look.
    was_well: bool,
    /// When the summary is due next, once that was found out.
    next_digest: Option<Timestamp>,
    /// When the old past was last forgotten.
    pruned_at: Option<Timestamp>,
    /// The clock was off when it was last heard of; before that nobody knows.
    clock_off: bool,
    /// The time at the last look.
    last_now: Timestamp,
}

impl Caretaker {
    /// Looks after things until told to stop.
    pub async fn run(mut self) {
        let last_now = self.clock.now();
        let mut round = Round { was_well: false, next_digest: None, pruned_at: None, clock_off: true, last_now };
        loop {
            let wiring = Arc::clone(&self.wiring.borrow_and_update());
            let began = self.clock.now();
            if began < round.last_now {
                // The clock moved back: what was planned by it is planned anew.
                (round.next_digest, round.pruned_at) = (None, None);
            }
            round.last_now = began;
            if let Err(failure) = self.look(&wiring, &mut round).await {
                debug!(error = %failure, "the watcher could not look at itself");
            }
            if let Err(failure) = self.sum_up(&wiring, &mut round).await {
                debug!(error = %failure, "the summary waits for the state");
            }
            self.prune(&wiring, &mut round).await;
            let now = self.clock.now();
            // Before the first pass there is no telling when the summary is due; it must not miss its moment for that.
            let unplanned = wiring.settings.schedule.digest.is_some() && round.next_digest.is_none();
            let next = earliest(Some(now.plus(if unplanned { SOON } else { PERIOD })), round.next_digest);
            let sleep = next.map_or(PERIOD, |at| at.since(now)).max(Span::seconds(1));
            tokio::select! {
                () = self.stop.cancelled() => return,
                changed = self.wiring.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    round.next_digest = None;
                }
                () = self.clock.sleep(sleep) => {}
            }
        }
    }

    /// Takes the signs of life. While all is well, was well at the last look, and nothing is open, nobody is bothered with them.
    async fn look(&self, wiring: &Wiring, round: &mut Round) -> Result<(), StoreError> {
        let now = self.clock.now();
        let lanes = self.store.lanes(now.minus(OVERDUE_AFTER)).await?;
        let signs = Signs {
            stuck: stuck(&lanes),
            // What was never tried is held, patient or paced, and leaves when its time comes.
            overdue: lanes.iter().filter(|summary| summary.tried.is_some()).map(|summary| summary.late).sum(),
            clock_offset: self.board.vitals.take_clock_offset(),
            disk: self.disk().await,
            version: Some(Version {
                asked: wiring.settings.meta.version.as_str().into(),
                served: self.board.vitals.served_version().map(Into::into),
                ends: versions::life(&wiring.settings.meta.version).end(),
            }),
        };
        if signs.clock_offset.is_some() {
            round.clock_off = watcher::is_off(signs.clock_offset);
        }
        // A clock that was off is watched until it is heard to be right: that look ends the row of those at which it was off.
        let well = watcher::is_well(&signs, now) && !round.clock_off;
        let quiet = well && round.was_well && self.board.vitals.findings().is_empty();
        // An incident that is damped ends an hour after the last change, and only a look can say that it is over.
        if !quiet || self.known().await?.is_some_and(|status| !status.ledger.incidents.is_empty()) {
            let noted = self.requests.signs(signs).await;
            round.was_well = well && noted.is_ok();
        }
        Ok(())
    }

    /// The room on the disk that the state is on. A network file system that hangs must not hang the daemon.
    async fn disk(&self) -> Option<Disk> {
        let folder = self.folder.clone()?;
        tokio::task::spawn_blocking(move || disk(&folder)).await.ok().flatten()
    }

    /// Has the summary said when its bell has rung since the last one. Before the first pass there is nothing to sum up.
    async fn sum_up(&self, wiring: &Wiring, round: &mut Round) -> Result<(), StoreError> {
        let now = self.clock.now();
        if round.next_digest.is_some_and(|at| at > now) || !self.board.vitals.first_pass_done() {
            return Ok(());
        }
        let Some(last) = self.known().await?.and_then(|status| status.last_digest) else { return Ok(()) };
        let last = last.min(now);
        if bells::last_digest(&wiring.settings, now).is_some_and(|ring| last < ring) {
            let summary = self.summary(Some(last)).await?;
            let finding = saying(Reason::Digest, Severity::Info, Detail::Summary(Box::new(summary)));
            if let Err(declined) = self.requests.say(finding, Arc::clone(&wiring.settings.watcher_receivers)).await {
                warn!(error = %declined, "the summary could not be made; trying again soon");
                return Ok(());
            }
        }
        round.next_digest = bells::next_digest(&wiring.settings, now);
        Ok(())
    }

    async fn known(&self) -> Result<Option<WatcherStatus>, StoreError> {
        let known = self.store.load(vec![Subject::Watcher]).await?.into_iter().next();
        Ok(known.and_then(|(_, status)| match status {
            SlotStatus::Watcher(status) => Some(status),
            SlotStatus::Token(_) | SlotStatus::App(_) => None,
        }))
    }

    /// How all stand, read off the board.
    async fn summary(&self, since: Option<Timestamp>) -> Result<Summary, StoreError> {
        let now = self.clock.now();
        let (opened, ended) = self.store.activity(since.unwrap_or(now)).await?;
        let table = self.board.table();
        let rows = table.rows();
        let count = |verdict: Verdict| rows.iter().filter(|row| row.verdict == verdict).count();
        let count = |verdict| (verdict, u64::try_from(count(verdict)).unwrap_or(u64::MAX));
        let mut nearest: Vec<_> = rows
            .iter()
            .flat_map(|row| {
                let ends = [(Reason::Expiring, row.expires), (Reason::DataAccessExpiring, row.data_access)];
                ends.into_iter().filter_map(|(reason, end)| Some((row.id.clone(), reason, end.date()?)))
            })
            .filter(|(_, _, at)| *at > now)
            .collect();
        nearest.sort_by_key(|(_, _, at)| *at);
        nearest.truncate(MOST_NAMED);
        let mut open: Vec<(Severity, Box<str>, Reason)> = Vec::new();
        for row in rows.iter() {
            open.extend(row.findings.iter().map(|(reason, severity)| (*severity, row.id.as_str().into(), *reason)));
        }
        for app in table.apps().iter() {
            let name = || format!("app {}", app.name).into();
            open.extend(app.findings.iter().map(|finding| (finding.severity, name(), finding.reason)));
        }
        open.sort_by(|a, b| (b.0, &a.1, a.2).cmp(&(a.0, &b.1, b.2)));
        Ok(Summary {
            verdicts: Verdict::ALL.into_iter().map(count).filter(|(_, n)| *n > 0).collect(),
            nearest,
            open_count: u64::try_from(open.len()).unwrap_or(u64::MAX),
            open: open.into_iter().take(MOST_NAMED).map(|(_, name, reason)| (name, reason)).collect(),
            opened,
            ended,
            since,
        })
    }

    /// Forgets the old past once a day.
    async fn prune(&self, wiring: &Wiring, round: &mut Round) {
        let now = self.clock.now();
        if round.pruned_at.is_some_and(|at| now.since(at) < Span::days(1)) {
            return;
        }
        match self.store.prune(now.minus(wiring.settings.daemon.history)).await {
            Ok(()) => round.pruned_at = Some(now),
            Err(failure) => warn!(error = %failure, "the old past could not be forgotten"),
        }
    }
}

/// The ways over which something was tried in vain, the longest first.
pub fn stuck(lanes: &[LaneSummary]) -> Vec<Stuck> {
    let tried = |summary: &LaneSummary| {
        let (since, failure) = summary.tried.as_ref()?;
        let way = summary.lane.to_string().into();
        Some(Stuck { way, since: *since, failure: failure.as_str().into() })
    };
    let mut stuck: Vec<Stuck> = lanes.iter().filter_map(tried).collect();
    stuck.sort_by(|a, b| (a.since, &a.way).cmp(&(b.since, &b.way)));
    stuck
}

/// The room on the disk that a folder is on.
fn disk(folder: &std::path::Path) -> Option<Disk> {
    let seen = rustix::fs::statvfs(folder).ok()?;
    Some(Disk { free: seen.f_bavail.saturating_mul(seen.f_frsize), total: seen.f_blocks.saturating_mul(seen.f_frsize) })
}

/// How often the watcher looks at itself.
const PERIOD: Span = Span::minutes(5);
/// How soon it looks again when it could not find out yet when the summary is due.
const SOON: Span = Span::seconds(5);
