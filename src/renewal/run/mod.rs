//! One run, from wherever it stands to its end: exchange, prove, publish, restart, confirm; or the way back.
//!
//! A phase is in the journal before the next one begins, and each can be done again, so a run that was cut off goes on after a restart. The new
//! secret is sealed before anything else is done with it; what the sinks held is sealed before the first of them is touched; and until the
//! application has confirmed there is always a way back.
//!
//! Where a provider ends the old secret as soon as it has given the new one there is no way back, so there the run only goes forward: what cannot
//! be done now is tried until it can. And where an answer was lost, what was used up for it is not used again as long as that might do harm.

mod back;
mod commit;
mod deliver;
mod exchange;
mod prove;
mod sealed;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tracing::{error, info, warn};

use super::keyring::Keyring;
use super::turns::{Turn, Turns};
use crate::domain::inspection::{CheckError, Expiry, Inspection};
use crate::domain::renewal::{self, OldSecret, Outcome, Phase, Report, Rotation};
use crate::domain::time::Span;
use crate::ports::{BROUGHT, Clock, JournalChange, Journaled, Provider, Store, StoreError, Telemetry};
use crate::reader::Reader;
use crate::secret::{FingerprintKey, Secret};
use crate::settings::delivery::Delivery;
use crate::settings::value::SecretRef;
use crate::settings::{App, Graph, Token};
use sealed::{NEW, NEW_REFRESH, OUTLIVES, USED, context, opened};
pub use sealed::{kept, sealed_new};

/// What runs work with.
pub struct Bench {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The journal.
    pub store: Arc<dyn Store>,
    /// What reads secrets.
    pub reader: Reader,
    /// The key that seals them.
    pub keyring: Arc<Keyring>,
    /// The key that tells one generation from the next.
    pub fingerprints: FingerprintKey,
    /// Who takes turns.
    pub turns: Arc<Turns>,
}

/// The slot that a run is about.
#[derive(Clone, Copy)]
pub struct Slot<'a> {
    /// The token.
    pub token: &'a Token,
    /// Its app.
    pub app: Option<&'a App>,
    /// Where the user token stands that a page token is read again with.
    pub user_token: Option<&'a SecretRef>,
    /// Who gives new tokens.
    pub provider: &'a dyn Provider,
    /// How Meta is reached.
    pub meta: &'a Graph,
}

/// What is told while a run goes on.
#[derive(Clone, PartialEq, Debug)]
pub enum News {
    /// A step was made; in words.
    Step(String),
    /// It cannot go on at present, and is tried again, for this reason; without one it goes on again.
    Stuck(Option<String>),
    /// The provider was asked something.
    Asked(Telemetry, Option<CheckError>),
}

/// How a run ended, and what becomes of the journal with it.
#[derive(Debug)]
pub struct End {
    /// For the core.
    pub report: Report,
    /// For the store, in the same transaction.
    pub journal: JournalChange,
}

/// Why a run was cut off.
#[derive(Debug, thiserror::Error)]
pub enum CutOff {
    /// Something cannot be done now; it goes on another time.
    #[error("{0}")]
    Stuck(String),
    /// A later run of the token has its place, and what it sealed: it was thought to be over.
    #[error("a later run of the token took its place")]
    Overtaken,
}

impl Bench {
    /// Carries the run to its end. `patience` bounds how often something that cannot be done now is tried again.
    ///
    /// # Errors
    /// When patience ran out; the journal knows how far it came.
    pub fn carry_out<'a>(
        &'a self,
        slot: Slot<'a>,
        entry: Journaled,
        patience: u32,
        news: &'a (dyn Fn(News) + Send + Sync),
    ) -> BoxFuture<'a, Result<End, CutOff>> {
        let mut walk = Walk { bench: self, slot, entry, patience, news, turn: None, done: Vec::new() };
        Box::pin(async move {
            loop {
                if let Some(end) = walk.step().await? {
                    return Ok(end);
                }
            }
        })
    }
}

impl std::fmt::Debug for Bench {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bench")
    }
}

/// A run on its way.
struct Walk<'a> {
    bench: &'a Bench,
    slot: Slot<'a>,
    entry: Journaled,
    patience: u32,
    news: &'a (dyn Fn(News) + Send + Sync),
    /// Held from the first look into the sinks to the end.
    turn: Option<Turn>,
    /// What was done, in words.
    done: Vec<String>,
}

impl Walk<'_> {
    /// Does what the phase asks for, and goes on to the next; the end, when there is none.
    async fn step(&mut self) -> Result<Option<End>, CutOff> {
        if self.turn.is_none() && self.needs_turn() {
            let delivery = self.delivery().cloned();
            if let Some(delivery) = delivery {
                self.turn = Some(self.bench.turns.take(&delivery).await);
            }
        }
        match self.entry.run.phase.clone() {
            // An answer that was lost is asked for again; before that the old token is looked at, which may have been extended itself.
            Phase::Ordered => self.exchange().await,
            Phase::Exchanging => self.exchange_again().await,
            Phase::Exchanged => self.prove().await,
            Phase::Proved => self.look_into_sinks().await,
            Phase::Publishing => self.publish().await,
            Phase::Published => self.restart().await,
            Phase::Restarted => self.confirm().await,
            Phase::Confirmed => self.commit().await.map(Some),
            Phase::RollingBack(why) => self.roll_back(&why).await.map(Some),
            Phase::Revoking | Phase::SetAside => Err(CutOff::Stuck("the run is over already".to_owned())),
        }
    }

    fn delivery(&self) -> Option<&Delivery> {
        let renew = self.slot.token.renew.as_ref().map(|renew| &*renew.delivery);
        if self.entry.run.origin.is_replacement() { self.slot.token.replace.as_deref().or(renew) } else { renew }
    }

    const fn needs_turn(&self) -> bool {
        matches!(
            self.entry.run.phase,
            Phase::Proved | Phase::Publishing | Phase::Published | Phase::Restarted | Phase::RollingBack(_)
        )
    }

    /// What is put in place: given by the provider, or brought by a person.
    async fn new_secret(&self) -> Result<Option<Secret>, CutOff> {
        self.secret(if self.entry.run.origin.is_replacement() { BROUGHT } else { NEW }).await
    }

    fn rotation(&self) -> Option<&Rotation> {
        self.slot.token.spec.renew.as_ref()?.rotation.as_ref().filter(|_| !self.entry.run.origin.is_replacement())
    }

    /// Whether the old secret is dead and what this run puts in place is all there is. A person who brings a secret has it.
    const fn no_way_back(&self) -> bool {
        self.entry.run.only_copy && !self.entry.run.origin.is_replacement()
    }

    /// Whether what was given ended what it was given for.
    fn old_is_dead(&self) -> bool {
        let rotation = self.slot.token.spec.renew.as_ref().and_then(|renew| renew.rotation.as_ref());
        rotation.is_some_and(|it| it.old == OldSecret::DiesAtOnce) || self.entry.sealed.contains_key(NEW_REFRESH)
    }

    /// All secrets in play, to be hidden in what others print.
    async fn secrets(&self) -> Result<Vec<Secret>, CutOff> {
        let mut secrets = Vec::new();
        for name in self.entry.sealed.keys() {
            secrets.extend(self.secret(name).await?);
        }
        Ok(secrets)
    }

    async fn secret(&self, name: &str) -> Result<Option<Secret>, CutOff> {
        let key = self.bench.keyring.key().await.map_err(CutOff::Stuck)?;
        let opened = opened(&key, &self.entry.run, &self.entry.sealed, name);
        Ok(opened.unwrap_or_else(|why| {
            error!(token = self.entry.run.token.as_str(), name, why, "a part of the journal is lost");
            None
        }))
    }

    async fn seal(&mut self, name: &str, secret: &Secret) -> Result<(), CutOff> {
        let key = self.bench.keyring.key().await.map_err(CutOff::Stuck)?;
        let sealed = key.seal(&context(&self.entry.run, name), secret);
        let sealed = sealed.map_err(|problem| CutOff::Stuck(format!("a secret {problem}")))?;
        self.entry.sealed.insert(name.to_owned(), sealed);
        Ok(())
    }

    /// Of a run before this one only what it was given, or used up in vain, is of use.
    fn begin_anew(&mut self) {
        self.entry.sealed.retain(|name, _| name == BROUGHT || OUTLIVES.contains(&name.as_str()));
        let run = &mut self.entry.run;
        run.sinks.clear();
        (run.tried, run.published) = (0, false);
    }

    /// Notes the phase, durably.
    async fn note(&mut self, phase: Phase) -> Result<(), CutOff> {
        self.entry.run.phase = phase;
        let mut tries = 0;
        while let Err(failure) = self.bench.store.journal(self.entry.clone()).await {
            // Trying again would only keep the later one from beginning.
            if matches!(failure, StoreError::Overtaken(_)) {
                return Err(CutOff::Overtaken);
            }
            tries += 1;
            self.stuck(&format!("the journal cannot be written: {failure}"), tries).await?;
        }
        self.goes_on(tries);
        Ok(())
    }

    async fn go(&mut self, phase: Phase) -> Result<Option<End>, CutOff> {
        self.note(phase).await.map(|()| None)
    }

    async fn go_back(&mut self, why: &str) -> Result<Option<End>, CutOff> {
        warn!(token = self.entry.run.token.as_str(), why, "rolling back");
        self.say(format!("{why}: rolling back"));
        self.done.pop();
        self.go(Phase::RollingBack(why.into())).await
    }

    fn say(&mut self, text: String) {
        info!(token = self.entry.run.token.as_str(), step = text, "renewal");
        (self.news)(News::Step(text.clone()));
        self.done.push(text);
    }

    /// Waits before the same is tried again; gives up where patience is bounded.
    async fn stuck(&self, why: &str, tries: u32) -> Result<(), CutOff> {
        // What exists nowhere else is not given up before it is at least in the journal.
        let only_copy = self.no_way_back() && self.entry.run.phase == Phase::Exchanged;
        if !only_copy && tries > self.patience {
            return Err(CutOff::Stuck(why.to_owned()));
        }
        if tries == 1 {
            warn!(token = self.entry.run.token.as_str(), why, "a renewal cannot go on; trying again");
        }
        (self.news)(News::Stuck(Some(why.to_owned())));
        let doubled = FIRST_WAIT.saturating_mul(1 << tries.saturating_sub(1).min(8));
        self.wait(doubled.min(LONGEST_WAIT)).await;
        Ok(())
    }

    /// What was tried in vain worked at last.
    fn goes_on(&self, tries: u32) {
        if tries > 0 {
            (self.news)(News::Stuck(None));
        }
    }

    async fn wait(&self, time: Duration) {
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX).max(1);
        self.bench.clock.sleep(Span::seconds(seconds)).await;
    }

    /// What was done, and then what is said about the end.
    fn story(&self, end: &str) -> String {
        let mut parts: Vec<&str> = self.done.iter().map(String::as_str).collect();
        if !end.is_empty() {
            parts.push(end);
        }
        parts.join("; ")
    }

    fn report(&self, outcome: Outcome, text: String, error: Option<CheckError>) -> Report {
        Report { number: self.entry.run.number, outcome, text: text.into(), proved: None, error, kept: None }
    }

    /// Nothing was touched. What was set aside before is kept where nothing speaks against it.
    fn fail(&self, outcome: Outcome, text: String, error: Option<CheckError>) -> End {
        let run = &self.entry.run;
        let used = self.entry.sealed.contains_key(USED);
        if used || outcome == Outcome::Failed || run.only_copy || self.old_is_dead() || run.origin.is_replacement() {
            return self.set_aside(outcome, text, error);
        }
        let report = self.report(outcome, self.story(&text), error);
        End { report, journal: JournalChange::End }
    }

    fn refuse(&self, text: String) -> End {
        self.fail(Outcome::Refused, format!("the new token was refused: {text}"), None)
    }

    /// It is over; the new secret is kept for the next run. What a person brought is not tried again by itself.
    fn set_aside(&self, outcome: Outcome, text: String, error: Option<CheckError>) -> End {
        let mut report = self.report(outcome, self.story(&text), error);
        let is_kept = self.entry.run.only_copy && self.entry.sealed.contains_key(NEW);
        report.kept = is_kept.then_some(renewal::Kept { ends: self.entry.run.given_end });
        End { report, journal: kept(self.entry.clone()) }
    }
}

fn end_of(seen: &Inspection) -> String {
    match seen.expires {
        Expiry::Never => "never".to_owned(),
        Expiry::At(at) => at.to_string(),
        Expiry::Unknown => "at a time that nobody knows".to_owned(),
    }
}

/// What is said where the new one cannot be had from the journal any more.
const LOST: &str = "the new token is lost: its sealed copy cannot be opened";
/// What cannot be done now is tried again this much later, then ever later.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(300);
