//! Looking at secrets, and whether the new one may take the place of the old one.

use std::time::Duration;

use super::sealed::NEW_REFRESH;
use super::{CutOff, End, LOST, News, Walk, end_of};
use crate::domain::inspection::{Basis, CheckError, Expiry, Inspection, Validity};
use crate::domain::proof::{self, Objection};
use crate::domain::renewal::{Outcome, Phase};
use crate::papers::Papers;
use crate::secret::Secret;

impl Walk<'_> {
    pub(super) async fn inspect(&self, papers: &Papers<'_>, token: &Secret) -> Result<Inspection, CheckError> {
        let question = papers.question(token)?;
        let answer = self.slot.provider.inspect(&question).await;
        (self.news)(News::Asked(answer.telemetry, answer.facts.as_ref().err().cloned()));
        answer.facts
    }

    /// The same of what is to be put in place: where its provider does not tell the end again, what it said when it gave it counts.
    pub(super) async fn inspect_given(&self, papers: &Papers<'_>, token: &Secret) -> Result<Inspection, CheckError> {
        let seen = self.inspect(papers, token).await?;
        let given_end = self.entry.run.given_end.filter(|_| !self.entry.run.origin.is_replacement());
        Ok(match (seen.expires, given_end) {
            (Expiry::Unknown, Some(end)) => Inspection { expires: Expiry::At(end), basis: Basis::Learned, ..seen },
            _ => seen,
        })
    }

    pub(super) async fn prove(&mut self) -> Result<Option<End>, CutOff> {
        let Some(new) = self.new_secret().await? else {
            return Ok(Some(self.fail(Outcome::Failed, LOST.to_owned(), None)));
        };
        let papers = Papers::read(&self.bench.reader, self.slot.token, self.slot.app).await;
        let mut tries = 0;
        let seen = loop {
            match self.inspect_given(&papers, &new).await {
                // One such answer may come from a part of the provider that does not know the new one yet.
                Ok(seen) if seen.validity != Validity::Valid && self.no_way_back() => {
                    tries += 1;
                    if tries < PROOF_TRIES {
                        self.wait(Duration::from_secs(1 << tries)).await;
                        continue;
                    }
                    let objection = Objection::NotValid(seen.validity);
                    if self.entry.sealed.contains_key(NEW_REFRESH) {
                        self.say(format!(
                            "{objection}, and it is put in place for the refresh token that came with it"
                        ));
                        self.entry.run.proved = Some(seen);
                        return self.go(Phase::Proved).await;
                    }
                    let text = format!("the provider gave a token, but {objection}; it is kept");
                    return Ok(Some(self.set_aside(Outcome::Failed, text, None)));
                }
                Ok(seen) => break seen,
                Err(CheckError::ForeignToken(text)) => {
                    return Ok(Some(self.refuse(format!("{}: {text}", Objection::OtherApp))));
                }
                Err(failure) => {
                    tries += 1;
                    if tries >= PROOF_TRIES && self.no_way_back() {
                        return self.go_without_proof(&failure).await;
                    }
                    if tries >= PROOF_TRIES {
                        let text = format!("the new token could not be inspected: {failure}");
                        return Ok(Some(self.set_aside(Outcome::Failed, text, Some(failure))));
                    }
                    self.wait(Duration::from_secs(1 << tries)).await;
                }
            }
        };
        let run = &self.entry.run;
        if run.origin.is_replacement() {
            let now = self.bench.clock.now();
            // A date that somebody typed is about the token that they bring.
            let spec = &self.slot.token.spec;
            let known = seen.clone().with_typed_end(spec.expires, now);
            let objections = proof::of_replacement(&spec.required, run.old.as_ref(), &known, now);
            let (hard, soft): (Vec<&Objection>, Vec<&Objection>) =
                objections.iter().partition(|objection| objection.is_hard());
            let listed = |list: &[&Objection]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            if !hard.is_empty() {
                return Ok(Some(self.refuse(listed(&hard))));
            }
            if !soft.is_empty() && !run.anyway {
                return Ok(Some(self.refuse(format!("{} (to insist, give --anyway)", listed(&soft)))));
            }
        } else if let Err(objection) = proof::of_exchange(run.old.as_ref(), &seen, self.rotation()) {
            if self.no_way_back() {
                // The old one is dead already, so a new one that is less than hoped for is better than none.
                self.say(format!("{objection}, and it is put in place all the same: the old one is dead"));
                self.entry.run.proved = Some(seen);
                return self.go(Phase::Proved).await;
            }
            let text = format!("the provider gave a token, but {objection}");
            let outcome = if objection == Objection::NoGain { Outcome::WithoutGain } else { Outcome::Refused };
            return Ok(Some(self.fail(outcome, text, None)));
        }
        self.say(format!("it was inspected: valid, of the kind {}, it ends {}", seen.kind.as_str(), end_of(&seen)));
        self.entry.run.proved = Some(seen);
        self.go(Phase::Proved).await
    }

    /// The new one cannot be looked at, and the old one is dead: what the provider said when it gave it must do.
    async fn go_without_proof(&mut self, failure: &CheckError) -> Result<Option<End>, CutOff> {
        self.say(format!(
            "it could not be inspected ({failure}), and is put in place all the same: the old one is dead"
        ));
        let mut seen = self.entry.run.old.clone().unwrap_or_else(|| Inspection::bare(Validity::Valid));
        (seen.validity, seen.message, seen.issued_at) = (Validity::Valid, None, None);
        (seen.expires, seen.basis) = (self.entry.run.given_end.map_or(Expiry::Unknown, Expiry::At), Basis::Learned);
        self.entry.run.proved = Some(seen);
        self.go(Phase::Proved).await
    }
}

/// A new token that cannot be inspected now is inspected again this often.
const PROOF_TRIES: u32 = 5;
