//! One run, from wherever it stands to its end: exchange, prove, publish, restart, confirm; or the way back.
//!
//! A phase is in the journal before the next one begins, and each can be done again, so a run that was cut off goes on after a restart. The new
//! secret is sealed before anything else is done with it; what the sinks held is sealed before the first of them is touched; and until the
//! application has confirmed there is always a way back. It never revokes anything before the commit.

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
use crate::domain::inspection::{AppFault, CheckError, Expiry, Inspection};
use crate::domain::proof::{self, Objection};
use crate::domain::renewal::{self, Method, Outcome, Phase, Report, Run};
use crate::domain::time::Span;
use crate::ports::{
    Clock, Credentials, Exchange, ExchangeError, Given, JournalChange, Journaled, Provider, Question, Sealed, Store,
    Telemetry,
};
use crate::reader::Reader;
use crate::secret::{FingerprintKey, Secret};
use crate::settings::delivery::{Delivery, Sink};
use crate::settings::value::SecretRef;
use crate::settings::{App, Meta, Token};

/// What runs work with.
pub struct Bench {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The journal.
    pub store: Arc<dyn Store>,
    /// Who gives new tokens.
    pub provider: Arc<dyn Provider>,
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
    /// How Meta is reached.
    pub meta: &'a Meta,
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
        let secrets = async {
            let key = self.keyring.key().await?;
            let old = opened(&key, &entry.run, &entry.sealed, OLD)?.ok_or("the old token is not known any more")?;
            let app = slot.app.ok_or("the app is gone from the configuration")?;
            let place = app.secret.clone().ok_or("the app has no secret any more")?;
            let secret = first(self.reader.read(vec![place]).await)?;
            Ok::<_, String>((old, app, secret))
        };
        let (old, app, secret) = match secrets.await {
            Ok(secrets) => secrets,
            Err(why) => {
                error!(token, why, "the old token cannot be revoked; it lives to its own end");
                return true;
            }
        };
        let credentials = Credentials { id: &app.id, secret: &secret, proof: app.proof };
        match self.provider.revoke(&old, credentials).await {
            Ok(()) => {
                info!(token, "the old token was revoked");
                true
            }
            Err(failure) => {
                warn!(token, error = %failure, "the old token was not revoked; trying again");
                false
            }
        }
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
            Phase::Ordered | Phase::Exchanging => self.exchange().await,
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
        let held = first(self.bench.reader.read(vec![self.slot.token.secret.clone()]).await);
        if let Ok(old) = &held {
            self.seal(OLD, old).await?;
        }
        if self.entry.run.origin.is_replacement() {
            // Nobody has looked at it yet, but there must be something to compare the new one with. A dead one, or no answer, stops nobody.
            if let (None, Ok(old)) = (&self.entry.run.old, &held) {
                self.entry.run.old = self.inspect(old).await.ok();
            }
            return self.go(Phase::Exchanged).await;
        }
        let old = match held {
            Ok(old) => old,
            Err(why) => return Ok(Some(self.fail(Outcome::Failed, format!("the secret cannot be read: {why}"), None))),
        };
        let seen = match self.inspect(&old).await {
            Ok(seen) => seen,
            Err(failure) => {
                let text = format!("the token could not be looked at before it is exchanged: {failure}");
                return Ok(Some(self.fail(Outcome::Failed, text, Some(failure))));
            }
        };
        // The answer of an earlier exchange may have been lost, though it extended this very string.
        if let Some(known) = &self.entry.run.old
            && renewal::gains(known.expires, seen.expires)
            && proof::of_exchange(Some(known), &seen).is_ok()
        {
            self.say(format!("the token itself now ends {}", end_of(&seen)));
            self.seal(NEW, &old).await?;
            self.entry.run.proved = Some(seen);
            return self.go(Phase::Proved).await;
        }
        let method = match renewal::method(&self.slot.token.spec, &seen, self.bench.clock.now()) {
            Ok(method) => method,
            Err(refusal) => return Ok(Some(self.fail(Outcome::Refused, refusal.to_string(), None))),
        };
        self.entry.run.old = Some(seen);
        if self.entry.sealed.contains_key(NEW) {
            // What an earlier run had to take back is tried once more before another is asked for.
            if let Some(end) = self.take_up().await? {
                return Ok(end);
            }
        }
        self.note(Phase::Exchanging).await?;
        match self.ask_for_another(method, &old).await {
            Ok(Given { secret, lasts }) => {
                let lasts = lasts.map(|span| format!(", for {span} as it says")).unwrap_or_default();
                self.say(format!("the provider gave a new token{lasts}"));
                self.seal(NEW, &secret).await?;
                self.go(Phase::Exchanged).await
            }
            Err(ExchangeError::Unanswered { error, may_be_done }) => {
                let lost =
                    if may_be_done { "; it may have been given and lost on the way, which does no harm" } else { "" };
                Ok(Some(self.fail(Outcome::Failed, format!("no new token was given: {error}{lost}"), Some(error))))
            }
            Err(dead @ ExchangeError::Dead(..)) => {
                Ok(Some(self.fail(Outcome::Failed, format!("no new token was given: {dead}"), None)))
            }
        }
    }

    /// The secret that was set aside, when it is still good; `None` to ask for another.
    async fn take_up(&mut self) -> Result<Option<Option<End>>, CutOff> {
        let Some(new) = self.secret(NEW).await? else { return Ok(None) };
        match self.inspect(&new).await {
            Ok(seen) if proof::of_exchange(self.entry.run.old.as_ref(), &seen).is_ok() => {
                self.say(format!("the token of an earlier run is still good: it ends {}", end_of(&seen)));
                self.entry.run.proved = Some(seen);
                self.go(Phase::Proved).await.map(Some)
            }
            // Whether it is good cannot be told now, and then no other is asked for.
            Err(failure) if !matches!(failure, CheckError::ForeignToken(_)) => {
                let text = format!("the token of an earlier run could not be inspected: {failure}");
                Ok(Some(Some(self.fail(Outcome::Failed, text, Some(failure)))))
            }
            Ok(_) | Err(_) => {
                self.entry.sealed.remove(NEW);
                Ok(None)
            }
        }
    }

    async fn ask_for_another(&self, method: Method, old: &Secret) -> Result<Given, ExchangeError> {
        let refused = |text: &str| {
            let error = CheckError::Refused(text.into());
            ExchangeError::Unanswered { error, may_be_done: false }
        };
        let (Some(app), Some(app_secret)) = (self.slot.app, self.app_secret().await) else {
            return Err(refused("the app has no secret here, and an exchange needs it"));
        };
        let app_secret = app_secret.map_err(|why| refused(&why))?;
        let app = Credentials { id: &app.id, secret: &app_secret, proof: app.proof };
        let page = self.entry.run.old.as_ref().and_then(|old| old.profile_id.clone());
        let user = match (method, self.slot.user_token) {
            (Method::Reread, None) => return Err(refused("the user token of the page is not in the configuration")),
            (Method::Reread, Some(place)) => {
                let read = first(self.bench.reader.read(vec![place.clone()]).await);
                Some(read.map_err(|why| refused(&format!("the user token of the page cannot be read: {why}")))?)
            }
            (Method::Exchange | Method::Refresh, _) => None,
        };
        let token = user.as_ref().unwrap_or(old);
        let request = Exchange { method, token, app, page: page.as_deref() };
        let exchanged = self.bench.provider.exchange(request).await;
        let error = match &exchanged.given {
            Err(ExchangeError::Unanswered { error, .. }) => Some(error.clone()),
            Ok(_) | Err(ExchangeError::Dead(..)) => None,
        };
        (self.news)(News::Asked(exchanged.telemetry, error));
        exchanged.given
    }

    async fn prove(&mut self) -> Result<Option<End>, CutOff> {
        let Some(new) = self.secret(NEW).await? else {
            return Ok(Some(self.fail(Outcome::Failed, LOST.to_owned(), None)));
        };
        let mut tries = 0;
        let seen = loop {
            match self.inspect(&new).await {
                Ok(seen) => break seen,
                Err(CheckError::ForeignToken(text)) => {
                    return Ok(Some(self.refuse(format!("{}: {text}", Objection::OtherApp))));
                }
                Err(failure) => {
                    tries += 1;
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
        } else if let Err(objection) = proof::of_exchange(run.old.as_ref(), &seen) {
            let text = format!("the provider gave a token, but {objection}");
            let outcome = if objection == Objection::NoGain { Outcome::WithoutGain } else { Outcome::Refused };
            return Ok(Some(self.fail(outcome, text, None)));
        }
        self.say(format!("it was inspected: valid, of the kind {}, it ends {}", seen.kind.as_str(), end_of(&seen)));
        self.entry.run.proved = Some(seen);
        self.go(Phase::Proved).await
    }

    /// What every sink holds is kept before the first of them is touched.
    async fn look_into_sinks(&mut self) -> Result<Option<End>, CutOff> {
        let Some(delivery) = self.delivery().cloned() else {
            let text =
                "there is no place to publish to: the token has neither [tokens.renew] nor [tokens.replace]".to_owned();
            return Ok(Some(self.set_aside(Outcome::Refused, text, None)));
        };
        // A person may have brought another token meanwhile; that one counts.
        if let (false, Some(old)) = (self.entry.run.origin.is_replacement(), self.secret(OLD).await?)
            && first(self.bench.reader.read(vec![self.slot.token.secret.clone()]).await)
                .is_ok_and(|now| !now.matches(&old))
        {
            let text = format!("{} was changed by somebody meanwhile; nothing was touched", self.slot.token.secret);
            return Ok(Some(self.set_aside(Outcome::Failed, text, None)));
        }
        let mut names = Vec::new();
        for (index, place) in delivery.publish.iter().enumerate() {
            match sink::held(place, self.bench.reader.sources()).await {
                Ok(Held::Secret(secret)) => self.seal(&sink_name(index), &secret).await?,
                Ok(Held::Nothing) => {
                    self.entry.sealed.insert(sink_name(index), Vec::new());
                }
                Ok(Held::Unknown) => {}
                Err(problem) => {
                    let text = format!("{place} cannot be written: {problem}; nothing was touched");
                    return Ok(Some(self.set_aside(Outcome::Failed, text, None)));
                }
            }
            names.push(place.to_string().into());
        }
        self.entry.run.sinks = names;
        self.go(Phase::Publishing).await
    }

    async fn publish(&mut self) -> Result<Option<End>, CutOff> {
        let Some(new) = self.secret(NEW).await? else {
            return self.go_back(LOST).await;
        };
        let to = Held::Secret(new);
        let mut written = Vec::new();
        for (index, (place, before)) in self.sinks().await?.into_iter().enumerate() {
            let Some(place) = place else { continue };
            let tried = u32::try_from(index + 1).unwrap_or(u32::MAX);
            if self.entry.run.tried < tried {
                self.entry.run.tried = tried;
                self.note(Phase::Publishing).await?;
            }
            match self.put(&place, Swap { from: &before, to: &to }).await {
                Ok(Put::Written) => written.push(place.to_string()),
                Ok(Put::AlreadyThere) => {}
                Err(problem) => return self.go_back(&format!("{place}: {problem}")).await,
            }
        }
        let Held::Secret(new) = to else { return self.go(Phase::Published).await };
        // What the next check reads must be what was published, wherever a command may have put it.
        match first(self.bench.reader.read(vec![self.slot.token.secret.clone()]).await) {
            Ok(seen) if seen.matches(&new) => {}
            Ok(_) => {
                let why = format!("{} still holds another token after the publication", self.slot.token.secret);
                return self.go_back(&why).await;
            }
            Err(why) => return self.go_back(&format!("the token cannot be read back: {why}")).await,
        }
        if !written.is_empty() {
            self.say(format!("it was written to {}", written.join(", ")));
        }
        if self.is_in_place(&new).await? {
            self.say("nothing had to be written: the token is the same, so the application was left alone".to_owned());
            return self.go(Phase::Confirmed).await;
        }
        self.entry.run.published = true;
        self.go(Phase::Published).await
    }

    async fn restart(&mut self) -> Result<Option<End>, CutOff> {
        if let Some(how) = self.delivery().and_then(|delivery| delivery.restart.clone()) {
            let hide = self.secrets().await?;
            if let Err(why) = restart::restart(&how, &hide.iter().collect::<Vec<_>>()).await {
                return self.go_back(&format!("{how} was not restarted: {why}")).await;
            }
            self.say(format!("{how} was restarted"));
        }
        self.go(Phase::Restarted).await
    }

    async fn confirm(&mut self) -> Result<Option<End>, CutOff> {
        if let Some(how) = self.delivery().and_then(|delivery| delivery.confirm.clone()) {
            let Some(new) = self.secret(NEW).await? else {
                return self.go_back(LOST).await;
            };
            if let Err(why) = confirm::confirm(&how, &new, self.slot.meta).await {
                return self.go_back(&format!("{how} did not confirm: {why}")).await;
            }
            self.say(format!("{how} confirmed"));
        }
        self.go(Phase::Confirmed).await
    }

    /// The end that was hoped for. The store commits it together with the status, and the sealed secrets go with it.
    async fn commit(&mut self) -> Result<End, CutOff> {
        let new = match self.secret(NEW).await? {
            Some(new) => new,
            // It was read back from the slot when it was published.
            None => first(self.bench.reader.read(vec![self.slot.token.secret.clone()]).await).map_err(CutOff)?,
        };
        let Some(proved) = self.entry.run.proved.clone() else {
            return Err(CutOff("the new token is in place, but what was proved of it is not known".to_owned()));
        };
        let same = self.secret(OLD).await?.is_some_and(|old| old.matches(&new));
        let revokes = self.slot.token.renew.as_ref().is_some_and(|renew| renew.revoke_old);
        let journal = if revokes && !same && !self.entry.run.origin.is_replacement() {
            let mut entry = self.entry.clone();
            entry.run.phase = Phase::Revoking;
            entry.sealed.retain(|name, _| name == OLD);
            JournalChange::Go(entry)
        } else {
            JournalChange::End
        };
        let report = Report {
            number: self.entry.run.number,
            outcome: Outcome::Renewed,
            text: self.story("").into(),
            proved: Some((self.bench.fingerprints.fingerprint(&new), proved)),
            error: None,
        };
        Ok(End { report, journal })
    }

    /// Gives every sink back what it held, the last written first, and restarts the application with it.
    async fn roll_back(&mut self, why: &str) -> Result<End, CutOff> {
        let new = self.secret(NEW).await?;
        let from = new.map_or(Held::Unknown, Held::Secret);
        let mut restored = Vec::new();
        let mut left = Vec::new();
        let tried = usize::try_from(self.entry.run.tried).unwrap_or(usize::MAX);
        for (place, before) in self.sinks().await?.into_iter().take(tried).rev() {
            let Some(place) = place else {
                left.push("a place that is gone from the configuration keeps the new token".to_owned());
                continue;
            };
            if matches!(before, Held::Unknown) {
                left.push(format!("{place} may hold the new token: what it held before is not known"));
                continue;
            }
            let mut tries = 0;
            loop {
                match self.put(&place, Swap { from: &from, to: &before }).await {
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

    /// The sinks whose contents are kept, with what they held; a sink that is gone from the configuration has no place any more.
    async fn sinks(&self) -> Result<Vec<(Option<Sink>, Held)>, CutOff> {
        let mut sinks = Vec::new();
        for (index, name) in self.entry.run.sinks.iter().enumerate() {
            let known = self.delivery().and_then(|delivery| {
                let same = |sink: &&Sink| sink.to_string() == **name;
                // Two statements may change one database: those are told apart by their place in the list.
                let here = delivery.publish.get(index).filter(same);
                here.or_else(|| delivery.publish.iter().find(same)).cloned()
            });
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

    async fn app_secret(&self) -> Option<Result<Secret, String>> {
        let place = self.slot.app?.secret.clone()?;
        Some(first(self.bench.reader.read(vec![place]).await))
    }

    async fn inspect(&self, token: &Secret) -> Result<Inspection, CheckError> {
        let app_secret = self.app_secret().await.transpose();
        let app_secret = app_secret.map_err(|why| CheckError::App(AppFault::SecretUnreadable, why.into()))?;
        let app = self.slot.app.zip(app_secret.as_ref());
        let app = app.map(|(app, secret)| Credentials { id: &app.id, secret, proof: app.proof });
        let answer = self.bench.provider.inspect(&Question { token, app }).await;
        (self.news)(News::Asked(answer.telemetry, answer.facts.as_ref().err().cloned()));
        answer.facts
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

    /// Of a run before this one only the new secret is of use.
    fn begin_anew(&mut self) {
        self.entry.sealed.retain(|name, _| name == NEW);
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
        if self.patience.is_some_and(|most| tries > most) {
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
        Report { number: self.entry.run.number, outcome, text: text.into(), proved: None, error }
    }

    /// Nothing was touched. What was set aside before is kept where nothing speaks against it.
    fn fail(&self, outcome: Outcome, text: String, error: Option<CheckError>) -> End {
        if outcome == Outcome::Failed && self.entry.sealed.contains_key(NEW) {
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
        let report = self.report(outcome, self.story(&text), error);
        if self.entry.run.origin.is_replacement() {
            return End { report, journal: JournalChange::End };
        }
        let mut entry = self.entry.clone();
        entry.run.phase = Phase::SetAside;
        entry.sealed.retain(|name, _| name == NEW);
        End { report, journal: JournalChange::Go(entry) }
    }
}

/// Seals a secret that a person brought, for the run that is to put it in place.
///
/// # Errors
/// When there is no key.
pub async fn sealed_new(keyring: &Keyring, run: &Run, secret: &Secret) -> Result<Sealed, String> {
    let key = keyring.key().await?;
    let sealed = key.seal(&context(run, NEW), secret).map_err(|problem| format!("the new secret {problem}"))?;
    Ok([(NEW.to_owned(), sealed)].into())
}

fn opened(key: &SealingKey, run: &Run, sealed: &Sealed, name: &str) -> Result<Option<Secret>, String> {
    let Some(bytes) = sealed.get(name).filter(|bytes| !bytes.is_empty()) else { return Ok(None) };
    key.open(&context(run, name), bytes).map(Some).map_err(|error| format!("the sealed secret {error}"))
}

/// A sealed secret opens in the place that it was sealed for, and nowhere else.
fn context(run: &Run, name: &str) -> String {
    format!("token/{}/{name}", run.token)
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
/// What is said where the new one cannot be had from the journal any more.
const LOST: &str = "the new token is lost: its sealed copy cannot be opened";
/// A new token that cannot be inspected now is inspected again this often.
const PROOF_TRIES: u32 = 5;
/// What cannot be done now is tried again this much later, then ever later.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(300);
