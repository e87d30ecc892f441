//! Carries runs out: takes them from the journal, a few at a time, and tells the watch loop how they ended.
//!
//! It decides nothing. A run that was cut off, by a crash or a stop, stands in the journal and is taken up again.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::wiring::Wiring;
use crate::board::Board;
use crate::domain::renewal::{Outcome, Phase, Report};
use crate::domain::time::{Span, Timestamp};
use crate::domain::token::TokenId;
use crate::metrics::Counters;
use crate::ports::{Clock, JournalChange, Journaled, Store, StoreError};
use crate::renewal::keyring::Keyring;
use crate::renewal::run::{Bench, CutOff, End, News, kept};
use crate::renewal::turns::Turns;
use crate::requests::{Declined, Requests};
use crate::secret::FingerprintKey;

/// The parts that runs are carried out with.
pub struct Renewals {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The journal.
    pub store: Arc<dyn Store>,
    /// What everyone may see.
    pub board: Arc<Board>,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// The configuration in force.
    pub wiring: watch::Receiver<Arc<Wiring>>,
    /// The key that seals secrets.
    pub keyring: Arc<Keyring>,
    /// The way to the watch loop.
    pub requests: Requests,
    /// Rung when a run was put into the journal.
    pub nudge: Arc<Notify>,
    /// The end.
    pub stop: CancellationToken,
}

/// What is under way, and what waits for another try.
#[derive(Default)]
struct Desk {
    busy: BTreeSet<TokenId>,
    later: BTreeMap<TokenId, Timestamp>,
    /// When the journal, which could not be read, is read again.
    journal: Option<Timestamp>,
}

impl Renewals {
    /// Carries runs out until told to stop; then lets those under way go on for `grace`.
    pub async fn run(mut self, grace: Span) {
        let turns = Arc::new(Turns::default());
        let mut going: JoinSet<(TokenId, Option<Timestamp>)> = JoinSet::new();
        let mut desk = Desk::default();
        loop {
            if let Err(failure) = self.take_up(&turns, &mut going, &mut desk).await {
                if self.board.vitals.store_is(PART, Some(failure.clone())) {
                    error!(error = failure, "the journal of renewals cannot be read; trying again");
                }
                desk.journal = Some(self.clock.now().plus(RETRY));
            } else {
                desk.journal = None;
                self.board.vitals.store_is(PART, None);
            }
            let now = self.clock.now();
            let next = desk.later.values().chain(&desk.journal).min().map(|at| at.since(now).max(Span::seconds(1)));
            let pause = async {
                match next {
                    Some(span) => self.clock.sleep(span).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = self.nudge.notified() => {}
                Some(done) = going.join_next(), if !going.is_empty() => desk.done(done),
                () = pause => {}
            }
            let now = self.clock.now();
            desk.later.retain(|_, at| *at > now);
        }
        let mut end = std::pin::pin!(self.clock.sleep(grace));
        while !going.is_empty() {
            tokio::select! {
                Some(_) = going.join_next() => {}
                () = &mut end => {
                    warn!(left = going.len(), "stopping with renewals under way; they go on after the next start");
                    going.shutdown().await;
                }
            }
        }
    }

    /// Begins what is in the journal and not under way, as far as there is room.
    async fn take_up(
        &mut self,
        turns: &Arc<Turns>,
        going: &mut JoinSet<(TokenId, Option<Timestamp>)>,
        desk: &mut Desk,
    ) -> Result<(), String> {
        if desk.busy.len() >= AT_ONCE {
            return Ok(());
        }
        let entries = self.store.runs().await.map_err(|failure| failure.to_string())?;
        if entries.is_empty() {
            return Ok(());
        }
        let fingerprints = self.store.fingerprint_key().await.map_err(|failure| failure.to_string())?;
        for entry in entries {
            let token = entry.run.token.clone();
            if desk.busy.len() >= AT_ONCE || desk.busy.contains(&token) || desk.later.contains_key(&token) {
                continue;
            }
            desk.busy.insert(token.clone());
            let wiring = Arc::clone(&self.wiring.borrow_and_update());
            let work = self.work(wiring, Arc::clone(turns), fingerprints.clone());
            going.spawn(async move {
                let carried = AssertUnwindSafe(work.carry(entry)).catch_unwind().await;
                let again = carried.unwrap_or_else(|_| Some(work.clock.now().plus(RETRY)));
                (token, again)
            });
        }
        Ok(())
    }

    fn work(&self, wiring: Arc<Wiring>, turns: Arc<Turns>, fingerprints: FingerprintKey) -> Work {
        let bench = Bench {
            clock: Arc::clone(&self.clock),
            store: Arc::clone(&self.store),
            reader: wiring.reader().clone(),
            keyring: Arc::clone(&self.keyring),
            fingerprints,
            turns,
        };
        Work {
            bench,
            wiring,
            clock: Arc::clone(&self.clock),
            board: Arc::clone(&self.board),
            counters: Arc::clone(&self.counters),
            requests: self.requests.clone(),
        }
    }
}

impl Desk {
    /// A run is off the desk. One that panicked is told of nowhere else, and is taken up again.
    fn done(&mut self, done: Result<(TokenId, Option<Timestamp>), tokio::task::JoinError>) {
        let Ok((token, again)) = done else { return };
        self.busy.remove(&token);
        if let Some(at) = again {
            self.later.insert(token, at);
        }
    }
}

/// One run at work.
struct Work {
    bench: Bench,
    wiring: Arc<Wiring>,
    clock: Arc<dyn Clock>,
    board: Arc<Board>,
    counters: Arc<Counters>,
    requests: Requests,
}

impl Work {
    /// Carries it to its end; when to try again, where that is not now.
    async fn carry(&self, entry: Journaled) -> Option<Timestamp> {
        let (id, number) = (entry.run.token.clone(), entry.run.number);
        let soon = || Some(self.clock.now().plus(RETRY));
        let Some(slot) = self.wiring.slot(&id) else {
            return match self.drop_run(entry).await {
                Ok(()) => None,
                Err(_) => soon(),
            };
        };
        if entry.run.phase == Phase::Revoking {
            let over = self.clock.now().since(entry.run.began_at) >= REVOKE_WITHIN;
            if over {
                error!(token = id.as_str(), "the old token could not be revoked within a day; it lives to its own end");
            }
            if over || self.bench.revoke(slot, &entry).await {
                return match self.bench.store.end_run(id, number).await {
                    Ok(()) => None,
                    Err(_) => soon(),
                };
            }
            return Some(self.clock.now().plus(REVOKE_RETRY));
        }
        self.board.runs.begins(&id, number);
        let stuck: Mutex<Option<String>> = Mutex::default();
        let (told, mut telling) = tokio::sync::mpsc::unbounded_channel();
        let app = slot.token.spec.app.as_ref().map_or("", |app| app.as_str());
        let news = |news: News| match news {
            News::Step(text) => self.board.runs.goes_on(&id, number, text),
            News::Asked(telemetry, error) => {
                self.counters.checked(&slot.token.spec.provider, app, &telemetry, error.as_ref());
            }
            News::Stuck(text) => {
                let mut last = stuck.lock().unwrap_or_else(PoisonError::into_inner);
                if *last != text {
                    last.clone_from(&text);
                    // Nobody listens any more only when this run is over.
                    let _ = told.send(text);
                }
            }
        };
        let mut carried = std::pin::pin!(self.bench.carry_out(slot, entry, PATIENCE, &news));
        let ended = loop {
            tokio::select! {
                ended = &mut carried => break ended,
                Some(text) = telling.recv() => self.tell_stuck(&id, number, text).await,
            }
        };
        match ended {
            Ok(end) => self.hand_in(&id, end).await,
            Err(CutOff::Stuck(why)) => {
                error!(token = id.as_str(), error = why, "a renewal was cut off; it goes on later");
                self.tell_stuck(&id, number, Some(why)).await;
                soon()
            }
            Err(overtaken @ CutOff::Overtaken) => {
                info!(token = id.as_str(), "{overtaken}, with all that it was given");
                Some(self.clock.now())
            }
        }
    }

    /// A run of a token that is gone from the configuration is over; what exists nowhere else stays sealed until the token comes back.
    async fn drop_run(&self, entry: Journaled) -> Result<(), StoreError> {
        let (id, number, only_copy) = (entry.run.token.clone(), entry.run.number, entry.run.only_copy);
        let token = id.as_str();
        if let (true, JournalChange::Go(aside)) = (only_copy, kept(entry)) {
            error!(
                token,
                "a run of a token that is not configured any more holds its only living secret, and keeps it sealed"
            );
            return self.bench.store.journal(aside).await;
        }
        warn!(token, "a run of a token that is not configured any more is dropped");
        self.bench.store.end_run(id, number).await
    }

    /// Tells the watch loop how it ended, until that is stored. Before that nothing is over.
    async fn hand_in(&self, id: &TokenId, End { report, journal }: End) -> Option<Timestamp> {
        loop {
            match self.requests.ended(id.clone(), report.clone(), journal.clone()).await {
                Ok(()) => break,
                Err(Declined::Stopping) => return None,
                Err(Declined::Store(_)) => self.clock.sleep(RETRY).await,
                Err(Declined::Unknown | Declined::Refused(_) | Declined::NotRenewed(_) | Declined::CutOff(_)) => {
                    // The slot is gone from the configuration, or belongs to another run.
                    let _ = match &journal {
                        JournalChange::Go(aside) if report.kept.is_some() => {
                            self.bench.store.journal(aside.clone()).await
                        }
                        _ => self.bench.store.end_run(id.clone(), report.number).await,
                    };
                    break;
                }
            }
        }
        self.counters.renewed(report.outcome);
        self.board.runs.ends(id, &report);
        log_end(id, &report);
        // An old token that is to be revoked is seen to at once.
        matches!(journal, JournalChange::Go(entry) if entry.run.phase == Phase::Revoking)
            .then(|| self.clock.now().plus(Span::seconds(1)))
    }

    async fn tell_stuck(&self, id: &TokenId, number: u32, text: Option<String>) {
        if let Err(declined) = self.requests.stuck(id.clone(), number, text).await {
            warn!(token = id.as_str(), error = %declined, "that a renewal is stuck could not be noted");
        }
    }
}

/// How a run ended is logged once.
pub fn log_end(id: &TokenId, report: &Report) {
    let (token, outcome, text) = (id.as_str(), report.outcome.as_str(), &*report.text);
    match report.outcome {
        Outcome::Renewed => tracing::info!(token, outcome, text, "renewed"),
        Outcome::WithoutGain | Outcome::Refused | Outcome::RolledBack | Outcome::Failed => {
            warn!(token, outcome, text, "not renewed");
        }
    }
}

/// Runs under way at once. An exchange is one call, but a restart may take a minute.
const AT_ONCE: usize = 8;
/// Whose trouble with the store it is.
const PART: &str = "renewals";
/// What cannot be done now is tried so often, about eight minutes in all; then it makes room for others, and is taken up again by the
/// configuration in force then.
const PATIENCE: u32 = 8;
/// What cannot be done now is tried again after this.
const RETRY: Span = Span::seconds(30);
/// An old token that could not be revoked is tried again after this, …
const REVOKE_RETRY: Span = Span::minutes(10);
/// … and for so long.
const REVOKE_WITHIN: Span = Span::days(1);
