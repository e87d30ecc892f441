//! The end that was hoped for, and what becomes of the old secret then. Nothing is ended at the provider before the application has confirmed.

use thiserror::Error;
use tracing::{error, info, warn};

use super::sealed::{OLD, USED, kept, opened};
use super::{Bench, CutOff, End, Slot, Walk};
use crate::domain::inspection::CheckError;
use crate::domain::renewal::{Outcome, Phase, Report};
use crate::papers::Papers;
use crate::ports::{Farewell, JournalChange, Journaled};

impl Walk<'_> {
    /// The end that was hoped for. The store commits it together with the status, and the sealed secrets go with it.
    pub(super) async fn commit(&mut self) -> Result<End, CutOff> {
        let new = match self.new_secret().await? {
            Some(new) => new,
            // It was read back from the slot when it was published.
            None => self.bench.reader.read_one(&self.slot.token.secret).await.map_err(CutOff::Stuck)?,
        };
        let Some(proved) = self.entry.run.proved.clone() else {
            return Err(CutOff::Stuck("the new token is in place, but what was proved of it is not known".to_owned()));
        };
        let same = self.secret(OLD).await?.is_some_and(|old| old.matches(&new));
        let renews = self.slot.token.renew.as_ref().filter(|_| !same && !self.entry.run.origin.is_replacement());
        if renews.is_some_and(|renew| renew.takes_leave) {
            // What is given is not the token for good before this is done, and the next rotation would end what is in use.
            let mut tries = 0;
            let left = loop {
                match self.bench.take_leave(self.slot, &self.entry).await {
                    Ok(()) => break "it took the place of the old one at the provider".to_owned(),
                    Err(lost @ Stays::Lost) => {
                        break format!(
                            "a person must give it the place of the old one at the provider, which nobody here can do: {lost}"
                        );
                    }
                    Err(Stays::Unanswered(failure)) => {
                        tries += 1;
                        let text = "the new token is in use, but not yet in the place of the old one";
                        self.stuck(&format!("{text}: {failure}"), tries).await?;
                    }
                }
            };
            self.goes_on(tries);
            self.say(left);
        }
        let journal = if renews.is_some_and(|renew| renew.revoke_old && !renew.takes_leave) {
            let mut entry = self.entry.clone();
            entry.run.phase = Phase::Revoking;
            entry.sealed.retain(|name, _| name == OLD);
            (entry.run.only_copy, entry.run.given_end) = (false, None);
            JournalChange::Go(entry)
        } else if self.entry.run.origin.is_replacement() {
            // What was given before is replaced; what was used up for nothing still is.
            let mut entry = self.entry.clone();
            entry.sealed.retain(|name, _| name == USED);
            (entry.run.only_copy, entry.run.given_end) = (false, None);
            kept(entry)
        } else {
            JournalChange::End
        };
        let report = Report {
            number: self.entry.run.number,
            outcome: Outcome::Renewed,
            text: self.story("").into(),
            proved: Some((self.bench.fingerprints.fingerprint(&new), proved)),
            error: None,
            kept: None,
        };
        Ok(End { report, journal })
    }
}

impl Bench {
    /// Revokes the old secret of a run that is over. `false`: not now.
    pub async fn revoke(&self, slot: Slot<'_>, entry: &Journaled) -> bool {
        let token = entry.run.token.as_str();
        match self.take_leave(slot, entry).await {
            Ok(()) => {
                info!(token, "the old token was revoked");
                true
            }
            Err(Stays::Lost) => {
                error!(token, "the old token cannot be revoked: {}; it lives to its own end", Stays::Lost);
                true
            }
            Err(Stays::Unanswered(failure)) => {
                warn!(token, error = %failure, "the old token was not revoked; trying again");
                false
            }
        }
    }

    /// Ends the old secret at the provider, or puts the new one in its place for good.
    async fn take_leave(&self, slot: Slot<'_>, entry: &Journaled) -> Result<(), Stays> {
        let papers = Papers::read(&self.reader, slot.token, slot.app).await;
        let no_key = |why: String| Stays::Unanswered(CheckError::Source(why.into()));
        let key = self.keyring.key().await.map_err(no_key)?;
        let Ok(Some(old)) = opened(&key, &entry.run, &entry.sealed, OLD) else { return Err(Stays::Lost) };
        let app = papers.credentials().map_err(Stays::Unanswered)?;
        let parameters = papers.parameters().map_err(Stays::Unanswered)?;
        let farewell = Farewell { token: &old, stays: papers.secret.as_ref().ok(), app, parameters };
        slot.provider.revoke(&farewell).await.map_err(Stays::Unanswered)
    }
}

/// Why an old secret could not be ended.
#[derive(Debug, Error)]
enum Stays {
    /// It is not known here any more, so nobody can ask for it.
    #[error("its sealed copy cannot be opened any more")]
    Lost,
    /// The provider did not do it, or could not be asked.
    #[error("{0}")]
    Unanswered(CheckError),
}
