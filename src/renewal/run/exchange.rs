//! Asking the provider for a new secret, or taking up the one that an earlier run was given.
//!
//! What is used up by asking is not used again as long as nobody knows what came of it and that might do harm.

use std::time::Duration;

use super::sealed::{NEW, NEW_REFRESH, OLD, SPENT, USED};
use super::{CutOff, End, LOST, News, Walk, end_of};
use crate::domain::inspection::{CheckError, Expiry, Inspection, Validity};
use crate::domain::proof;
use crate::domain::renewal::{self, Method, OldSecret, Outcome, Phase};
use crate::papers::Papers;
use crate::ports::{Exchange, ExchangeError, Given};
use crate::secret::Secret;
use crate::settings::delivery::REFRESH_TOKEN;

impl Walk<'_> {
    /// After an answer that may have been lost.
    pub(super) async fn exchange_again(&mut self) -> Result<Option<End>, CutOff> {
        if self.entry.sealed.contains_key(USED) {
            // The request may still be on its way; what it does must be seen by the look that follows.
            self.wait(IN_FLIGHT).await;
        }
        self.exchange().await
    }

    pub(super) async fn exchange(&mut self) -> Result<Option<End>, CutOff> {
        self.begin_anew();
        let papers = Papers::read(&self.bench.reader, self.slot.token, self.slot.app).await;
        if let Ok(old) = &papers.secret {
            self.seal(OLD, old).await?;
        }
        self.heed_a_later_grant(&papers).await?;
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
        if self.entry.sealed.contains_key(NEW) && (method.is_ok() || self.entry.run.only_copy) {
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
            Some(known) if seen.validity == Validity::Valid && seen.expires == Expiry::Unknown => {
                Inspection { expires: known.expires, basis: known.basis, ..seen }
            }
            _ => seen,
        }
    }

    /// What earlier runs left is of no use any more.
    fn forget_kept(&mut self) {
        for name in [NEW, NEW_REFRESH, SPENT] {
            self.entry.sealed.remove(name);
        }
        (self.entry.run.only_copy, self.entry.run.given_end) = (false, None);
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

    /// Who put another refresh token in the place of the one that was used up has a later grant: what came for the old one is of no use.
    async fn heed_a_later_grant(&mut self, papers: &Papers<'_>) -> Result<(), CutOff> {
        // What cannot be read says nothing.
        let another = |spent: &Secret| refresh_token_of(papers).is_some_and(|now| !now.matches(spent));
        if self.secret(SPENT).await?.is_some_and(|spent| another(&spent)) {
            self.entry.sealed.remove(NEW_REFRESH);
            self.entry.sealed.remove(SPENT);
        }
        Ok(())
    }

    /// The secret that was set aside, when it is still good, or when nothing better is left; `None` to ask for another.
    async fn take_up(&mut self, papers: &Papers<'_>) -> Result<Option<Option<End>>, CutOff> {
        let Some(new) = self.secret(NEW).await? else {
            self.say(LOST.to_owned());
            self.forget_kept();
            return Ok(None);
        };
        let old_works = self.entry.run.old.as_ref().is_some_and(|old| old.validity == Validity::Valid);
        match self.inspect_given(papers, &new).await {
            Ok(seen) if proof::of_exchange(self.entry.run.old.as_ref(), &seen, self.rotation()).is_ok() => {
                self.say(format!("the token of an earlier run is still good: it ends {}", end_of(&seen)));
                self.takes_up(seen).await.map(Some)
            }
            Ok(seen) if seen.validity == Validity::Valid && !old_works && self.entry.run.only_copy => {
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
            Ok(_) | Err(_) if !old_works && self.entry.run.only_copy => {
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
                let read = self.bench.reader.read_one(place).await;
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
}

fn refresh_token_of<'p>(papers: &'p Papers<'_>) -> Option<&'p Secret> {
    papers.parameters.as_ref().ok()?.secret.get(REFRESH_TOKEN)
}

/// A request that was cut off has arrived by then, or never will.
const IN_FLIGHT: Duration = Duration::from_secs(30);
