//! One renewal or replacement without a running daemon: what the watch loop and the renewals do for it, done once, over the same state.
//!
//! The state file is locked while this works, so no daemon works on the same tokens. What people must be told waits in the outbox for the
//! next daemon.

use std::sync::Arc;

use super::renewals::log_end;
use super::wiring::{Checked, Wanted, Wiring};
use crate::domain::alert::Subject;
use crate::domain::renewal::{Origin, Phase, Report, Run};
use crate::domain::status::TokenStatus;
use crate::domain::step::{Observation, Step, step};
use crate::domain::token::TokenId;
use crate::ports::{Change, Clock, JournalChange, Journaled, Sealed, SlotStatus, Store, StoreError};
use crate::renewal::keyring::Keyring;
use crate::renewal::run::{Bench, News, Slot, sealed_new};
use crate::renewal::turns::Turns;
use crate::requests::Declined;
use crate::secret::Secret;
use crate::settings::Token;

/// The parts that it is done with.
pub struct Single {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The state.
    pub store: Arc<dyn Store>,
    /// The configuration.
    pub wiring: Arc<Wiring>,
    /// The key that seals secrets.
    pub keyring: Arc<Keyring>,
}

/// What is wanted.
#[derive(Debug)]
pub enum Wish {
    /// A renewal; the flag is [`Run::anyway`].
    Renew(bool),
    /// This secret in the place of the old one; the flag is [`Run::anyway`].
    Replace(Secret, bool),
}

impl Single {
    /// Carries a wish out; a run that was cut off is brought to its end instead.
    ///
    /// # Errors
    /// Why it does not begin, or was cut off.
    pub async fn carry(
        &self,
        id: &TokenId,
        wish: Wish,
        by: &str,
        news: &(dyn Fn(News) + Send + Sync),
    ) -> Result<Report, Declined> {
        let token = self.wiring.token(id).ok_or(Declined::Unknown)?;
        let slot = self.wiring.slot(id).ok_or(Declined::Unknown)?;
        let bench = Bench {
            clock: Arc::clone(&self.clock),
            store: Arc::clone(&self.store),
            reader: self.wiring.reader().clone(),
            keyring: Arc::clone(&self.keyring),
            fingerprints: self.store.fingerprint_key().await.map_err(failed)?,
            turns: Arc::new(Turns::default()),
        };
        match self.store.run_of(id.clone()).await.map_err(failed)? {
            Some(entry) if self.status(id).await?.renewal.run.is_some() => {
                news(News::Step(format!("run {} was cut off; it goes on", entry.run.number)));
                let report = self.finish(&bench, slot, entry, news).await?;
                // What a person brings is not done with another token.
                if matches!(wish, Wish::Renew(_)) {
                    return Ok(report);
                }
            }
            // A run that was cut off before its last step takes it now: the next one takes its place in the journal.
            Some(entry) => self.revoke(&bench, slot, &entry).await?,
            None => {}
        }
        let entry = self.begin(token, wish, by).await?;
        self.finish(&bench, slot, entry, news).await
    }

    /// Carries a run to its end and stores how it ended.
    async fn finish(
        &self,
        bench: &Bench,
        slot: Slot<'_>,
        entry: Journaled,
        news: &(dyn Fn(News) + Send + Sync),
    ) -> Result<Report, Declined> {
        let id = &slot.token.spec.id;
        let end = bench.carry_out(slot, entry, PATIENCE, news).await;
        let end = end.map_err(|cut| Declined::CutOff(format!("{cut}; the run goes on the next time")))?;
        let ended = Observation::Ended(end.report.clone());
        let step = step(&slot.token.spec, self.status(id).await?, ended, self.clock.now());
        self.commit(id, step, end.journal.clone()).await?;
        log_end(id, &end.report);
        if let JournalChange::Go(entry) = &end.journal {
            self.revoke(bench, slot, entry).await?;
        }
        Ok(end.report)
    }

    /// Revokes the old token, where the run has come to that.
    async fn revoke(&self, bench: &Bench, slot: Slot<'_>, entry: &Journaled) -> Result<(), Declined> {
        if entry.run.phase == Phase::Revoking && bench.revoke(slot, entry).await {
            self.store.end_run(entry.run.token.clone(), entry.run.number).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn begin(&self, token: &Token, wish: Wish, by: &str) -> Result<Journaled, Declined> {
        let id = &token.spec.id;
        if matches!(wish, Wish::Replace(..)) && token.replace.is_none() {
            return Err(Declined::NotRenewed(super::watch::NO_PLACE.to_owned()));
        }
        let origin = match &wish {
            Wish::Replace(..) => Origin::Replaced(by.into()),
            Wish::Renew(anyway) => {
                // What is known may be old, or nothing.
                let key = self.store.fingerprint_key().await.map_err(failed)?;
                let Checked { outcome, .. } = self.wiring.check(token, &key, Wanted::NOTHING).await;
                let seen = step(&token.spec, self.status(id).await?, Observation::Checked(outcome), self.clock.now());
                let due = seen.run.clone().map(|run| Run { anyway: *anyway, ..run });
                let journal = due.as_ref().map_or(JournalChange::None, |run| begun(run.clone(), Sealed::new()));
                self.commit(id, seen, journal).await?;
                // It was due, and began by that look.
                if let Some(run) = due {
                    return Ok(Journaled { sealed: self.kept(id).await?, run });
                }
                Origin::Asked(by.into())
            }
        };
        let asked = step(&token.spec, self.status(id).await?, Observation::Asked(origin), self.clock.now());
        if let Some(refusal) = &asked.declined {
            return Err(Declined::NotRenewed(refusal.to_string()));
        }
        let Some(run) = asked.run.clone() else { return Err(Declined::Unknown) };
        let (run, sealed) = match wish {
            Wish::Renew(anyway) => (Run { anyway, ..run }, Sealed::new()),
            Wish::Replace(secret, anyway) => {
                let run = Run { anyway, ..run };
                let sealed = sealed_new(&self.keyring, &run, &secret).await.map_err(Declined::NotRenewed)?;
                (run, sealed)
            }
        };
        self.commit(id, asked, begun(run.clone(), sealed)).await?;
        Ok(Journaled { sealed: self.kept(id).await?, run })
    }

    /// What is sealed for the run that has just begun.
    async fn kept(&self, id: &TokenId) -> Result<Sealed, Declined> {
        Ok(self.store.run_of(id.clone()).await.map_err(failed)?.map(|entry| entry.sealed).unwrap_or_default())
    }

    async fn status(&self, id: &TokenId) -> Result<TokenStatus, Declined> {
        let found = self.store.load(vec![Subject::Token(id.clone())]).await.map_err(failed)?;
        Ok(match found.into_iter().next() {
            Some((_, SlotStatus::Token(status))) => *status,
            _ => TokenStatus::new(self.clock.now()),
        })
    }

    async fn commit(&self, id: &TokenId, step: Step, journal: JournalChange) -> Result<(), Declined> {
        let (subject, status) = (Subject::Token(id.clone()), SlotStatus::Token(Box::new(step.status)));
        let change = Change { subject, status, notices: step.notices, entries: step.entries, journal };
        self.store.commit(vec![change]).await.map_err(failed)
    }
}

fn begun(run: Run, sealed: Sealed) -> JournalChange {
    JournalChange::Begin(Journaled { run, sealed })
}

fn failed(failure: StoreError) -> Declined {
    Declined::Store(failure.to_string())
}

/// A person waits: what cannot be done now is tried so often, about a minute in all.
const PATIENCE: u32 = 5;
