//! One run, from wherever it stands to its end: exchange, prove, publish, restart, confirm; or the way back.
//!
//! A phase is in the journal before the next one begins, and each can be done again, so a run that was cut off goes on after a restart. The new
//! secret is sealed before anything else is done with it; what the sinks held is sealed before the first of them is touched; and until the
//! application has confirmed there is always a way back. It never revokes anything before the commit.
//!
//! Where a provider ends the old secret as soon as it has given the new one there is no way back, so there the run only goes forward: what cannot
//! be done now is tried until it can. And where an answer was lost, what was used up for it is not used again as long as that might do harm.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tracing::{error, info, warn};

use super::keyring::Keyring;
use super::seal::SealingKey;
use super::sink::{self, Held, Put, SinkError, Swap};
use super::turns::{Turn, Turns};
use super::{confirm, restart};
use crate::domain::inspection::{Basis, CheckError, Expiry, Inspection, Validity};
use crate::domain::proof::{self, Objection};
use crate::domain::renewal::{self, Method, OldSecret, Outcome, Phase, Report, Rotation, Run};
use crate::domain::time::Span;
use crate::papers::Papers;
use crate::ports::{
    Clock, Exchange, ExchangeError, Farewell, Given, JournalChange, Journaled, Provider, Sealed, Store, Telemetry,
};
use crate::reader::Reader;
use crate::secret::{FingerprintKey, Secret};
use crate::settings::delivery::{Delivery, REFRESH_TOKEN, Sink};
use crate::settings::value::SecretRef;
use crate::settings::{App, Graph, Token};

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

/// Why a run was cut off. It goes on the next time.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CutOff(String);

impl Bench {
    /// Carries the run to its end. `patience` bounds how often something that cannot be done now is tried again; `None` is for ever.
    ///
    /// # Errors
    /// When patience ran out; the journal knows how far it came.
    pub fn carry_out<'a>(
        &'a self,
        slot: Slot<'a>,
        entry: Journaled,
        patience: Option<u32>,
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

    /// Revokes the old secret of a run that is over. `false`: not now.
    pub async fn revoke(&self, slot: Slot<'_>, entry: &Journaled) -> bool {
        let token = entry.run.token.as_str();
        match self.take_leave(slot, entry).await {
            Ok(()) => {
                info!(token, "the old token was revoked");
                true
            }
            Err(Kept::Unknown(why)) => {
                error!(token, why, "the old token cannot be revoked; it lives to its own end");
                true
            }
            Err(Kept::Unanswered(failure)) => {
                warn!(token, error = %failure, "the old token was not revoked; trying again");
                false
            }
        }
    }

    /// Ends the old secret at the provider, or puts the new one in its place for good.
    async fn take_leave(&self, slot: Slot<'_>, entry: &Journaled) -> Result<(), Kept> {
        let papers = Papers::read(&self.reader, slot.token, slot.app).await;
        let key = self.keyring.key().await.map_err(Kept::Unknown)?;
        let old = opened(&key, &entry.run, &entry.sealed, OLD).map_err(Kept::Unknown)?;
        let old = old.ok_or_else(|| Kept::Unknown("the old token is not known any more".to_owned()))?;
        let app = papers.credentials().map_err(|error| Kept::Unknown(error.to_string()))?;
        let parameters = papers.parameters().map_err(|error| Kept::Unknown(error.to_string()))?;
        let stays = papers.secret.as_ref().ok();
        let farewell = Farewell { token: &old, stays, app, parameters };
        slot.provider.revoke(&farewell).await.map_err(Kept::Unanswered)
    }
}

/// Why an old secret could not be ended.
#[derive(Debug, thiserror::Error)]
enum Kept {
    /// It is not known here, or what it takes to ask is not.
    #[error("{0}")]
    Unknown(String),
    /// The provider did not do it.
    #[error("{0}")]
    Unanswered(CheckError),
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
    patience: Option<u32>,
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
            Phase::Exchanging => {
                if self.entry.sealed.contains_key(USED) {
                    // The request may still be on its way; what it does must be seen by the look that follows.
                    self.wait(IN_FLIGHT).await;
                }
                self.exchange().await
            }
            Phase::Exchanged => self.prove().await,
            Phase::Proved => self.look_into_sinks().await,
            Phase::Publishing => self.publish().await,
            Phase::Published => self.restart().await,
            Phase::Restarted => self.confirm().await,
            Phase::Confirmed => self.commit().await.map(Some),
            Phase::RollingBack(why) => self.roll_back(&why).await.map(Some),
            Phase::Revoking | Phase::SetAside => Err(CutOff("the run is over already".to_owned())),
        }
    }

    async fn exchange(&mut self) -> Result<Option<End>, CutOff> {
        self.begin_anew();
        let papers = Papers::read(&self.bench.reader, self.slot.token, self.slot.app).await;
        if let Ok(old) = &papers.secret {
            self.seal(OLD, old).await?;
        }
        if self.entry.run.origin.is_replacement() {
            // Nobody has looked at it yet, but there must be something to compare the new one with. A dead one, or no answer, stops nobody.
            if let (None, Ok(old)) = (&self.entry.run.old, &papers.secret) {
                self.entry.run.old = self.inspect(&papers, old).await.ok();
            }
            return self.go(Phase::Exchanged).await;
        }
        let old = match &papers.secret {
            Ok(old) => old,
            Err(why) => return Ok(Some(self.fail(Outcome::Failed, format!("the secret cannot be read: {why}"), None))),
        };
        let seen = match self.inspect(&papers, old).await {
            Ok(seen) => seen,
            Err(failure) => {
                let text = format!("the token could not be looked at before it is exchanged: {failure}");
                return Ok(Some(self.fail(Outcome::Failed, text, Some(failure))));
            }
        };
        // The answer of an earlier exchange may have been lost, though it extended this very string.
        if let Some(known) = &self.entry.run.old
            && renewal::gains(known.expires, seen.expires)
            && proof::of_exchange(Some(known), &seen, self.rotation()).is_ok()
        {
            self.say(format!("the token itself now ends {}", end_of(&seen)));
            self.forget_kept();
            self.seal(NEW, old).await?;
            self.entry.run.proved = Some(seen);
            return self.go(Phase::Proved).await;
        }
        if let Some(end) = self.after_a_lost_answer(&papers, old, &seen).await? {
            return Ok(Some(end));
        }
        let seen = self.completed(seen);
        let method = renewal::method(&self.slot.token.spec, &seen, self.bench.clock.now());
        self.entry.run.old = Some(seen);
        if self.entry.sealed.contains_key(NEW) && (method.is_ok() || self.old_is_dead()) {
            // What an earlier run could not put in place is tried once more before another is asked for.
            if let Some(end) = self.take_up(&papers).await? {
                return Ok(end);
            }
        }
        let method = match method {
            Ok(method) => method,
            Err(refusal) => return Ok(Some(self.fail(Outcome::Refused, refusal.to_string(), None))),
        };
        if let Some(used) = self.used_up(&papers, old) {
            self.seal(USED, used).await?;
        }
        self.note(Phase::Exchanging).await?;
        match self.ask_for_another(&papers, method, old).await {
            Ok(given) => self.take(&papers, given).await,
            Err(ExchangeError::Unanswered { error, may_be_done }) => {
                let may_be_lost = may_be_done && self.entry.sealed.contains_key(USED);
                if !may_be_lost {
                    self.entry.sealed.remove(USED);
                }
                let lost = match (may_be_lost, may_be_done) {
                    (true, _) => "; it may have been given and lost on the way",
                    (false, true) => "; it may have been given and lost on the way, which does no harm",
                    (false, false) => "",
                };
                Ok(Some(self.fail(Outcome::Failed, format!("no new token was given: {error}{lost}"), Some(error))))
            }
            Err(dead @ ExchangeError::Dead(..)) => {
                self.entry.sealed.remove(USED);
                Ok(Some(self.fail(Outcome::Failed, format!("no new token was given: {dead}"), None)))
            }
        }
    }

    /// Seals what was given, before anything else is done with it.
    async fn take(&mut self, papers: &Papers<'_>, given: Given) -> Result<Option<End>, CutOff> {
        let ends = given.ends.map(|at| format!(", until {at} as it says")).unwrap_or_default();
        self.say(format!("the provider gave a new token{ends}"));
        self.entry.sealed.remove(USED);
        self.entry.run.given_end = given.ends;
        self.seal(NEW, &given.secret).await?;
        let spent = refresh_token_of(papers);
        // Some give the same one again: then nothing was used up, and there is a way back.
        let another = given.refresh_token.as_ref().filter(|given| !spent.is_some_and(|spent| spent.matches(given)));
        if let Some(another) = another {
            self.seal(NEW_REFRESH, another).await?;
            if let Some(spent) = spent {
                self.seal(SPENT, spent).await?;
            }
        }
        self.entry.run.only_copy = self.old_is_dead();
        self.go(Phase::Exchanged).await
    }

    /// What is seen of the old token, with the end that is known and that its provider does not tell at each look.
    fn completed(&self, seen: Inspection) -> Inspection {
        match &self.entry.run.old {
            Some(Inspection {
                expires: known @ Expiry::At(_), basis: basis @ (Basis::Learned | Basis::Told), ..
            }) if seen.validity == Validity::Valid
                && (seen.expires == Expiry::Unknown || seen.basis == Basis::Typed) =>
            {
                Inspection { expires: *known, basis: *basis, ..seen }
            }
            _ => seen,
        }
    }

    /// What earlier runs left is of no use any more.
    fn forget_kept(&mut self) {
        for name in [NEW, NEW_REFRESH, SPENT] {
            self.entry.sealed.remove(name);
        }
    }

    /// What an earlier run may have used up without an answer: once it is known what became of that, the run goes on. An end, where that is not
    /// known, or where what was given instead is lost.
    async fn after_a_lost_answer(
        &mut self,
        papers: &Papers<'_>,
        old: &Secret,
        seen: &Inspection,
    ) -> Result<Option<End>, CutOff> {
        let Some(used) = self.secret(USED).await? else { return Ok(None) };
        let another = self.used_up(papers, old).is_none_or(|now| !now.matches(&used));
        if another || self.entry.run.anyway {
            self.entry.sealed.remove(USED);
            return Ok(None);
        }
        if self.rotation().is_some_and(|rotation| rotation.by_refresh_token) {
            let text = format!(
                "the answer to the last try was lost on the way, so the refresh token may be used up, and to use it again could end the whole \
                 grant. Have the grant given anew and put the new refresh token in place; or, if you know that it does no harm: \
                 tokenwatch renew {} --anyway",
                self.entry.run.token
            );
            return Ok(Some(self.fail(Outcome::Refused, text, None)));
        }
        if seen.validity == Validity::Valid {
            // It lives, so the provider never carried the request out.
            self.entry.sealed.remove(USED);
            return Ok(None);
        }
        let text = "the provider ended the old token, but the answer that held the new one was lost on the way: nobody has it; a person must issue \
                    a new one";
        Ok(Some(self.fail(Outcome::Failed, text.to_owned(), None)))
    }

    /// The secret that is used up by asking, where the same request must not be made twice.
    fn used_up<'p>(&self, papers: &'p Papers<'_>, old: &'p Secret) -> Option<&'p Secret> {
        let rotation = self.rotation()?;
        if rotation.by_refresh_token {
            return refresh_token_of(papers).filter(|_| !rotation.replayable);
        }
        (rotation.old == OldSecret::DiesAtOnce && !rotation.replayable).then_some(old)
    }

    /// The secret that was set aside, when it is still good, or when nothing better is left; `None` to ask for another.
    async fn take_up(&mut self, papers: &Papers<'_>) -> Result<Option<Option<End>>, CutOff> {
        let Some(new) = self.secret(NEW).await? else { return Ok(None) };
        if let Some(spent) = self.secret(SPENT).await?
            && !refresh_token_of(papers).is_some_and(|now| now.matches(&spent))
        {
            // Somebody put another one in its place, which is of a later grant.
            self.entry.sealed.remove(NEW_REFRESH);
            self.entry.sealed.remove(SPENT);
        }
        let old_works = self.entry.run.old.as_ref().is_some_and(|old| old.validity == Validity::Valid);
        match self.inspect(papers, &new).await {
            Ok(seen) if proof::of_exchange(self.entry.run.old.as_ref(), &seen, self.rotation()).is_ok() => {
                self.say(format!("the token of an earlier run is still good: it ends {}", end_of(&seen)));
                self.takes_up(seen).await.map(Some)
            }
            Ok(seen) if seen.validity == Validity::Valid && !old_works && self.old_is_dead() => {
                self.say("the token of an earlier run works, and the one in its place does not".to_owned());
                self.takes_up(seen).await.map(Some)
            }
            // It has ended meanwhile, but what came with it gives another.
            Ok(seen) if self.entry.sealed.contains_key(NEW_REFRESH) => {
                self.say(
                    "the refresh token of an earlier run is put in place: the one before it is used up".to_owned(),
                );
                self.takes_up(seen).await.map(Some)
            }
            // Whether it is good cannot be told now, and then no other is asked for.
            Err(failure) if !matches!(failure, CheckError::ForeignToken(_)) => {
                let text = format!("the token of an earlier run could not be inspected: {failure}");
                Ok(Some(Some(self.fail(Outcome::Failed, text, Some(failure)))))
            }
            Ok(_) if !old_works && self.old_is_dead() => {
                let text = "neither the token nor the one that an earlier run was given works".to_owned();
                Ok(Some(Some(self.fail(Outcome::Failed, text, None))))
            }
            Ok(_) | Err(_) => {
                self.forget_kept();
                Ok(None)
            }
        }
    }

    async fn takes_up(&mut self, seen: Inspection) -> Result<Option<End>, CutOff> {
        self.entry.run.only_copy = self.old_is_dead();
        self.entry.run.proved = Some(seen);
        self.go(Phase::Proved).await
    }

    async fn ask_for_another(&self, papers: &Papers<'_>, method: Method, old: &Secret) -> Result<Given, ExchangeError> {
        let cannot = |error: CheckError| ExchangeError::Unanswered { error, may_be_done: false };
        let refused = |text: &str| cannot(CheckError::Refused(text.into()));
        let app = papers.credentials().map_err(cannot)?;
        let parameters = papers.parameters().map_err(cannot)?;
        let page = self.entry.run.old.as_ref().and_then(|old| old.profile_id.clone());
        let user = match (method, self.slot.user_token) {
            (Method::Reread, None) => return Err(refused("the user token of the page is not in the configuration")),
            (Method::Reread, Some(place)) => {
                let read = first(self.bench.reader.read(vec![place.clone()]).await);
                Some(read.map_err(|why| refused(&format!("the user token of the page cannot be read: {why}")))?)
            }
            (Method::Exchange | Method::Refresh | Method::Extend | Method::Rotate | Method::RefreshToken, _) => None,
        };
        let token = user.as_ref().unwrap_or(old);
        let request = Exchange { method, token, app, page: page.as_deref(), parameters };
        let exchanged = self.slot.provider.exchange(request).await;
        let error = match &exchanged.given {
            Err(ExchangeError::Unanswered { error, .. }) => Some(error.clone()),
            Ok(_) | Err(ExchangeError::Dead(..)) => None,
        };
        (self.news)(News::Asked(exchanged.telemetry, error));
        exchanged.given
    }

    async fn prove(&mut self) -> Result<Option<End>, CutOff> {
        let Some(new) = self.new_secret().await? else {
            return Ok(Some(self.fail(Outcome::Failed, LOST.to_owned(), None)));
        };
        let papers = Papers::read(&self.bench.reader, self.slot.token, self.slot.app).await;
        let mut tries = 0;
        let seen = loop {
            match self.inspect(&papers, &new).await {
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
            let objections = proof::of_replacement(&self.slot.token.spec.required, run.old.as_ref(), &seen, now);
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

    /// What every sink holds is kept before the first of them is touched.
    async fn look_into_sinks(&mut self) -> Result<Option<End>, CutOff> {
        if self.delivery().is_none() {
            let text =
                "there is no place to publish to: the token has neither [tokens.renew] nor [tokens.replace]".to_owned();
            return Ok(Some(self.set_aside(Outcome::Refused, text, None)));
        }
        // A person may have brought another token meanwhile; that one counts.
        if let (false, Some(old)) = (self.entry.run.origin.is_replacement(), self.secret(OLD).await?)
            && let Ok(now) = first(self.bench.reader.read(vec![self.slot.token.secret.clone()]).await)
            && !now.matches(&old)
            && !self.new_secret().await?.is_some_and(|new| now.matches(&new))
        {
            let text = format!("{} was changed by somebody meanwhile; nothing was touched", self.slot.token.secret);
            return Ok(Some(self.set_aside(Outcome::Failed, text, None)));
        }
        let mut names = Vec::new();
        for (index, (place, _)) in self.places().into_iter().enumerate() {
            let mut tries = 0;
            let held = loop {
                match sink::held(&place, self.bench.reader.sources()).await {
                    Ok(held) => break held,
                    Err(problem) if self.no_way_back() => {
                        tries += 1;
                        self.stuck(&format!("{place} cannot be written: {problem}; {KEPT}"), tries).await?;
                    }
                    Err(problem) => {
                        let text = format!("{place} cannot be written: {problem}; nothing was touched");
                        return Ok(Some(self.set_aside(Outcome::Failed, text, None)));
                    }
                }
            };
            self.goes_on(tries);
            match held {
                Held::Secret(secret) => self.seal(&sink_name(index), &secret).await?,
                Held::Nothing => {
                    self.entry.sealed.insert(sink_name(index), Vec::new());
                }
                Held::Unknown => {}
            }
            names.push(place.to_string().into());
        }
        self.entry.run.sinks = names;
        self.go(Phase::Publishing).await
    }

    async fn publish(&mut self) -> Result<Option<End>, CutOff> {
        let Some(new) = self.new_secret().await? else {
            return self.go_back(LOST).await;
        };
        let sinks = self.sinks().await?;
        if self.no_way_back() && (sinks.len() != self.places().len() || sinks.iter().any(|(place, _)| place.is_none()))
        {
            // Somebody moved a place meanwhile. What exists nowhere else goes to the new one, and the application is told of it.
            self.entry.run.published = true;
            return self.go(Phase::Proved).await;
        }
        let to = Held::Secret(new);
        let refresh_token = self.secret(NEW_REFRESH).await?.map(Held::Secret);
        let mut written = Vec::new();
        for (index, (place, before)) in sinks.into_iter().enumerate() {
            let Some((place, what)) = place else { continue };
            let to = if what == NEW_REFRESH { refresh_token.as_ref() } else { Some(&to) };
            let Some(to) = to else { return self.go_back(LOST).await };
            let tried = u32::try_from(index + 1).unwrap_or(u32::MAX);
            if self.entry.run.tried < tried {
                self.entry.run.tried = tried;
                self.note(Phase::Publishing).await?;
            }
            let mut tries = 0;
            loop {
                match self.put(&place, Swap { from: &before, to }).await {
                    Ok(Put::Written) => written.push(place.to_string()),
                    Ok(Put::AlreadyThere) => {}
                    // Whatever somebody else put there is not ours to overwrite, but neither does the dead one go back anywhere.
                    Err(problem) if self.no_way_back() => {
                        tries += 1;
                        self.stuck(&format!("{place}: {problem}; {KEPT}"), tries).await?;
                        continue;
                    }
                    Err(problem) => return self.go_back(&format!("{place}: {problem}")).await,
                }
                self.goes_on(tries);
                break;
            }
        }
        let Held::Secret(new) = to else { return self.go(Phase::Published).await };
        if let Some(end) = self.read_back(&new).await? {
            return Ok(end);
        }
        if !written.is_empty() {
            self.say(format!("it was written to {}", written.join(", ")));
        }
        if !self.entry.run.published && self.is_in_place(&new).await? {
            self.say("nothing had to be written: the token is the same, so the application was left alone".to_owned());
            return self.go(Phase::Confirmed).await;
        }
        self.entry.run.published = true;
        self.go(Phase::Published).await
    }

    /// What the next check reads must be what was published, wherever a command may have put it; `None`, when it is.
    async fn read_back(&mut self, new: &Secret) -> Result<Option<Option<End>>, CutOff> {
        let place = self.slot.token.secret.clone();
        let mut tries = 0;
        loop {
            let why = match first(self.bench.reader.read(vec![place.clone()]).await) {
                Ok(seen) if seen.matches(new) => break,
                Ok(seen) if self.no_way_back() && !self.secret(OLD).await?.is_some_and(|old| old.matches(&seen)) => {
                    let text = format!("{place} was changed by somebody while it was written");
                    return Ok(Some(Some(self.set_aside(Outcome::Failed, text, None))));
                }
                Ok(_) => format!("{place} still holds another token after the publication"),
                Err(why) => format!("the token cannot be read back: {why}"),
            };
            if !self.no_way_back() {
                return self.go_back(&why).await.map(Some);
            }
            tries += 1;
            self.stuck(&format!("{why}; {KEPT}"), tries).await?;
        }
        self.goes_on(tries);
        Ok(None)
    }

    async fn restart(&mut self) -> Result<Option<End>, CutOff> {
        if let Some(how) = self.delivery().and_then(|delivery| delivery.restart.clone()) {
            let hide = self.secrets().await?;
            let mut tries = 0;
            while let Err(why) = restart::restart(&how, &hide.iter().collect::<Vec<_>>()).await {
                let text = format!("{how} was not restarted: {why}");
                if !self.no_way_back() {
                    return self.go_back(&text).await;
                }
                if let Some(new) = self.new_secret().await?
                    && let Some(end) = self.somebody_else_was_here(&new).await
                {
                    return Ok(Some(end));
                }
                tries += 1;
                self.stuck(&format!("{text}; {NO_WAY_BACK}"), tries).await?;
            }
            self.goes_on(tries);
            self.say(format!("{how} was restarted"));
        }
        self.go(Phase::Restarted).await
    }

    async fn confirm(&mut self) -> Result<Option<End>, CutOff> {
        if let Some(how) = self.delivery().and_then(|delivery| delivery.confirm.clone()) {
            let Some(new) = self.new_secret().await? else {
                return self.go_back(LOST).await;
            };
            let mut tries = 0;
            while let Err(why) = confirm::confirm(&how, &new, self.slot.meta).await {
                let text = format!("{how} did not confirm: {why}");
                if !self.no_way_back() {
                    return self.go_back(&text).await;
                }
                if let Some(end) = self.somebody_else_was_here(&new).await {
                    return Ok(Some(end));
                }
                tries += 1;
                self.stuck(&format!("{text}; {NO_WAY_BACK}"), tries).await?;
            }
            self.goes_on(tries);
            self.say(format!("{how} confirmed"));
        }
        self.go(Phase::Confirmed).await
    }

    /// Who puts another token into the slot has taken the matter into their own hands, and the run is over.
    async fn somebody_else_was_here(&self, new: &Secret) -> Option<End> {
        let place = &self.slot.token.secret;
        let now = first(self.bench.reader.read(vec![place.clone()]).await).ok()?;
        let text = || format!("{place} was changed by somebody while the application did not take up the new token");
        (!now.matches(new)).then(|| {
            let report = self.report(Outcome::Failed, self.story(&text()), None);
            End { report, journal: JournalChange::End }
        })
    }

    /// The end that was hoped for. The store commits it together with the status, and the sealed secrets go with it.
    async fn commit(&mut self) -> Result<End, CutOff> {
        let new = match self.new_secret().await? {
            Some(new) => new,
            // It was read back from the slot when it was published.
            None => first(self.bench.reader.read(vec![self.slot.token.secret.clone()]).await).map_err(CutOff)?,
        };
        let Some(proved) = self.entry.run.proved.clone() else {
            return Err(CutOff("the new token is in place, but what was proved of it is not known".to_owned()));
        };
        let same = self.secret(OLD).await?.is_some_and(|old| old.matches(&new));
        let renews = self.slot.token.renew.as_ref().filter(|_| !same && !self.entry.run.origin.is_replacement());
        if renews.is_some_and(|renew| renew.takes_leave) {
            // What is given is not the token for good before this is done, and the next rotation would end what is in use.
            let mut tries = 0;
            while let Err(why) = self.bench.take_leave(self.slot, &self.entry).await {
                tries += 1;
                self.stuck(&format!("the new token is in use, but not yet in the place of the old one: {why}"), tries)
                    .await?;
            }
            self.goes_on(tries);
            self.say("it took the place of the old one at the provider".to_owned());
        }
        let journal = if renews.is_some_and(|renew| renew.revoke_old && !renew.takes_leave) {
            let mut entry = self.entry.clone();
            entry.run.phase = Phase::Revoking;
            entry.sealed.retain(|name, _| name == OLD);
            JournalChange::Go(entry)
        } else if self.entry.run.origin.is_replacement() {
            // What was given before is replaced; what was used up for nothing still is.
            let mut entry = self.entry.clone();
            entry.sealed.retain(|name, _| name == USED);
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
            kept: false,
        };
        Ok(End { report, journal })
    }

    /// Gives every sink back what it held, the last written first, and restarts the application with it.
    async fn roll_back(&mut self, why: &str) -> Result<End, CutOff> {
        let from = self.new_secret().await?.map_or(Held::Unknown, Held::Secret);
        let from_refresh = self.secret(NEW_REFRESH).await?.map_or(Held::Unknown, Held::Secret);
        let mut restored = Vec::new();
        let mut left = Vec::new();
        let tried = usize::try_from(self.entry.run.tried).unwrap_or(usize::MAX);
        for (place, before) in self.sinks().await?.into_iter().take(tried).rev() {
            let Some((place, what)) = place else {
                left.push("a place that is gone from the configuration keeps the new token".to_owned());
                continue;
            };
            if matches!(before, Held::Unknown) {
                left.push(format!("{place} may hold the new token: what it held before is not known"));
                continue;
            }
            let mut tries = 0;
            loop {
                let from = if what == NEW_REFRESH { &from_refresh } else { &from };
                match self.put(&place, Swap { from, to: &before }).await {
                    Ok(Put::Written) => restored.push(place.to_string()),
                    Ok(Put::AlreadyThere) => {}
                    Err(SinkError::Conflict(text)) => left.push(format!("{place} was left alone: {text}")),
                    Err(problem @ (SinkError::Refused(_) | SinkError::Failed(_))) => {
                        tries += 1;
                        let text = format!("{why}; and {place} could not be given back what it held: {problem}");
                        self.stuck(&text, tries).await?;
                        continue;
                    }
                }
                self.goes_on(tries);
                break;
            }
        }
        let mut told = format!("{why}. Rolled back");
        if !restored.is_empty() {
            let _ = write!(told, ": the old token was put back into {}", restored.join(", "));
        }
        for line in left {
            let _ = write!(told, "; {line}");
        }
        if self.entry.run.published {
            told.push_str(&self.revive().await?);
        }
        Ok(self.set_aside(Outcome::RolledBack, told, None))
    }

    /// The application goes back to the old token, and it is said whether it works with it.
    async fn revive(&mut self) -> Result<String, CutOff> {
        let Some(delivery) = self.delivery().cloned() else { return Ok(String::new()) };
        let Some(how) = &delivery.restart else { return Ok(String::new()) };
        let hide = self.secrets().await?;
        if let Err(why) = restart::restart(how, &hide.iter().collect::<Vec<_>>()).await {
            return Ok(format!(". {how} was not restarted with the old token either: {why}"));
        }
        let (Some(check), Some(old)) = (&delivery.confirm, self.secret(OLD).await?) else {
            return Ok(format!(", and {how} was restarted with it"));
        };
        Ok(match confirm::confirm(check, &old, self.slot.meta).await {
            Ok(()) => format!(", and {how} was restarted with it and works"),
            Err(why) => {
                format!(", and {how} was restarted with it; but it does not confirm with the old token either: {why}")
            }
        })
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

    /// Where what was given is to be written, and which part of it.
    fn places(&self) -> Vec<(Sink, &'static str)> {
        let publish = self.delivery().map(|delivery| delivery.publish.as_slice()).unwrap_or_default();
        let mut places: Vec<(Sink, &'static str)> = publish.iter().map(|sink| (sink.clone(), NEW)).collect();
        let refresh_token = self.slot.token.renew.as_ref().and_then(|renew| renew.refresh_token.clone());
        if self.entry.sealed.contains_key(NEW_REFRESH) {
            places.extend(refresh_token.map(|sink| (sink, NEW_REFRESH)));
        }
        places
    }

    /// What is put in place: given by the provider, or brought by a person.
    async fn new_secret(&self) -> Result<Option<Secret>, CutOff> {
        self.secret(if self.entry.run.origin.is_replacement() { BROUGHT } else { NEW }).await
    }

    fn rotation(&self) -> Option<&Rotation> {
        self.slot.token.spec.renew.as_ref()?.rotation.as_ref().filter(|_| !self.entry.run.origin.is_replacement())
    }

    /// Whether the provider has given what this run asked for.
    const fn is_given(&self) -> bool {
        !matches!(self.entry.run.phase, Phase::Ordered | Phase::Exchanging)
    }

    /// Whether the old secret is dead, so that the new one is all there is.
    const fn no_way_back(&self) -> bool {
        self.entry.run.only_copy && self.is_given()
    }

    /// Whether what was given ended what it was given for.
    fn old_is_dead(&self) -> bool {
        let rotation = self.slot.token.spec.renew.as_ref().and_then(|renew| renew.rotation.as_ref());
        rotation.is_some_and(|it| it.old == OldSecret::DiesAtOnce) || self.entry.sealed.contains_key(NEW_REFRESH)
    }

    /// The sinks whose contents are kept, with what they held; a sink that is gone from the configuration has no place any more.
    async fn sinks(&self) -> Result<Vec<(Option<(Sink, &'static str)>, Held)>, CutOff> {
        let places = self.places();
        let mut sinks = Vec::new();
        for (index, name) in self.entry.run.sinks.iter().enumerate() {
            let same = |(sink, _): &&(Sink, &str)| sink.to_string() == **name;
            // Two statements may change one database: those are told apart by their place in the list.
            let here = places.get(index).filter(same);
            let known = here.or_else(|| places.iter().find(same)).cloned();
            let held = match self.entry.sealed.get(&sink_name(index)) {
                Some(sealed) if sealed.is_empty() => Held::Nothing,
                Some(_) => self.secret(&sink_name(index)).await?.map_or(Held::Unknown, Held::Secret),
                // What cannot be looked into held the old token, as far as anybody knows.
                None => self.secret(OLD).await?.map_or(Held::Unknown, Held::Secret),
            };
            sinks.push((known, held));
        }
        Ok(sinks)
    }

    async fn put(&self, place: &Sink, swap: Swap<'_>) -> Result<Put, SinkError> {
        sink::put(place, swap, self.bench.reader.sources()).await
    }

    /// Whether every sink held the new secret before the run: then nothing was written.
    async fn is_in_place(&self, new: &Secret) -> Result<bool, CutOff> {
        let all = self.sinks().await?;
        let sealed = (0..all.len()).all(|index| self.entry.sealed.contains_key(&sink_name(index)));
        Ok(sealed && all.iter().all(|(_, held)| matches!(held, Held::Secret(held) if held.matches(new))))
    }

    async fn inspect(&self, papers: &Papers<'_>, token: &Secret) -> Result<Inspection, CheckError> {
        let question = papers.question(token)?;
        let answer = self.slot.provider.inspect(&question).await;
        (self.news)(News::Asked(answer.telemetry, answer.facts.as_ref().err().cloned()));
        let mut facts = answer.facts?;
        if let (Expiry::Unknown, Some(end)) = (facts.expires, self.entry.run.given_end.filter(|_| self.is_given())) {
            (facts.expires, facts.basis) = (Expiry::At(end), Basis::Learned);
        }
        // A date that somebody typed is about the token that they know, and not about the one that was just given.
        if !self.is_given() || self.entry.run.origin.is_replacement() {
            self.slot.token.typed_end(&mut facts, self.bench.clock.now());
        }
        Ok(facts)
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
        let key = self.bench.keyring.key().await.map_err(CutOff)?;
        let opened = opened(&key, &self.entry.run, &self.entry.sealed, name);
        Ok(opened.unwrap_or_else(|why| {
            error!(token = self.entry.run.token.as_str(), name, why, "a part of the journal is lost");
            None
        }))
    }

    async fn seal(&mut self, name: &str, secret: &Secret) -> Result<(), CutOff> {
        let key = self.bench.keyring.key().await.map_err(CutOff)?;
        let sealed = key.seal(&context(&self.entry.run, name), secret);
        let sealed = sealed.map_err(|problem| CutOff(format!("a secret {problem}")))?;
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
        if !only_copy && self.patience.is_some_and(|most| tries > most) {
            return Err(CutOff(why.to_owned()));
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
        Report { number: self.entry.run.number, outcome, text: text.into(), proved: None, error, kept: false }
    }

    /// Nothing was touched. What was set aside before is kept where nothing speaks against it.
    fn fail(&self, outcome: Outcome, text: String, error: Option<CheckError>) -> End {
        let holds = |name: &str| self.entry.sealed.contains_key(name);
        if holds(USED) || outcome == Outcome::Failed || self.old_is_dead() || self.entry.run.origin.is_replacement() {
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
        report.kept = self.entry.sealed.contains_key(NEW) && self.old_is_dead();
        End { report, journal: kept(self.entry.clone()) }
    }
}

/// What becomes of the journal of a run that is over: what may be of use to the next one is kept.
pub fn kept(mut entry: Journaled) -> JournalChange {
    entry.run.phase = Phase::SetAside;
    entry.sealed.retain(|name, _| OUTLIVES.contains(&name.as_str()));
    if entry.sealed.is_empty() { JournalChange::End } else { JournalChange::Go(entry) }
}

/// Seals a secret that a person brought, for the run that is to put it in place.
///
/// # Errors
/// When there is no key.
pub async fn sealed_new(keyring: &Keyring, run: &Run, secret: &Secret) -> Result<Sealed, String> {
    let key = keyring.key().await?;
    let sealed = key.seal(&context(run, BROUGHT), secret).map_err(|problem| format!("the new secret {problem}"))?;
    Ok([(BROUGHT.to_owned(), sealed)].into())
}

fn opened(key: &SealingKey, run: &Run, sealed: &Sealed, name: &str) -> Result<Option<Secret>, String> {
    let Some(bytes) = sealed.get(name).filter(|bytes| !bytes.is_empty()) else { return Ok(None) };
    key.open(&context(run, name), bytes).map(Some).map_err(|error| format!("the sealed secret {error}"))
}

/// A sealed secret opens in the place that it was sealed for, and nowhere else.
fn context(run: &Run, name: &str) -> String {
    format!("token/{}/{name}", run.token)
}

fn refresh_token_of<'p>(papers: &'p Papers<'_>) -> Option<&'p Secret> {
    papers.parameters.as_ref().ok()?.secret.get(REFRESH_TOKEN)
}

fn sink_name(index: usize) -> String {
    format!("sink/{index}")
}

fn first(read: Vec<Result<Secret, String>>) -> Result<Secret, String> {
    read.into_iter().next().unwrap_or_else(|| Err("an internal fault of tokenwatch: nothing was read".to_owned()))
}

fn end_of(seen: &Inspection) -> String {
    match seen.expires {
        Expiry::Never => "never".to_owned(),
        Expiry::At(at) => at.to_string(),
        Expiry::Unknown => "at a time that nobody knows".to_owned(),
    }
}

/// The old secret, in the journal.
const OLD: &str = "old";
/// The new one.
const NEW: &str = "new";
/// The refresh token that came with the new one.
const NEW_REFRESH: &str = "new-refresh";
/// The refresh token that was used up for it.
const SPENT: &str = "spent";
/// What was used up by asking, while nobody knows what came of it.
const USED: &str = "used";
/// What a person brought.
const BROUGHT: &str = "brought";
/// What outlives the run that it was sealed for.
const OUTLIVES: [&str; 4] = [NEW, NEW_REFRESH, SPENT, USED];
/// What is said of a new secret that cannot be put in place while the old one is dead.
const KEPT: &str = "the old token is dead; the new one is kept sealed, and goes there as soon as it can";
const NO_WAY_BACK: &str = "the new token is in place, and there is no way back: the old one is dead";
/// A request that was cut off has arrived by then, or never will.
const IN_FLIGHT: Duration = Duration::from_secs(30);
/// What is said where the new one cannot be had from the journal any more.
const LOST: &str = "the new token is lost: its sealed copy cannot be opened";
/// A new token that cannot be inspected now is inspected again this often.
const PROOF_TRIES: u32 = 5;
/// What cannot be done now is tried again this much later, then ever later.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(300);
