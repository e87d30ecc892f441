//! Putting the new secret where the application reads it: what every place holds is sealed, each is written, the application is restarted and
//! asked whether it works.

use super::super::sink::{self, Held, Put, SinkError, Swap};
use super::super::{confirm, restart};
use super::sealed::{NEW, NEW_REFRESH, OLD, sink_name};
use super::{CutOff, End, LOST, Walk};
use crate::domain::renewal::{Outcome, Phase};
use crate::secret::Secret;
use crate::settings::delivery::Sink;

impl Walk<'_> {
    /// What every sink holds is kept before the first of them is touched.
    pub(super) async fn look_into_sinks(&mut self) -> Result<Option<End>, CutOff> {
        if self.delivery().is_none() {
            let text =
                "there is no place to publish to: the token has neither [tokens.renew] nor [tokens.replace]".to_owned();
            return Ok(Some(self.set_aside(Outcome::Refused, text, None)));
        }
        if let Some(end) = self.overtaken().await? {
            return Ok(Some(end));
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
                        if let Some(end) = self.overtaken().await? {
                            return Ok(Some(end));
                        }
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

    pub(super) async fn publish(&mut self) -> Result<Option<End>, CutOff> {
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
                        if let Some(end) = self.overtaken().await? {
                            return Ok(Some(end));
                        }
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
            let why = match self.bench.reader.read_one(&place).await {
                Ok(seen) if seen.matches(new) => break,
                Ok(_) => format!("{place} still holds another token after the publication"),
                Err(why) => format!("the token cannot be read back: {why}"),
            };
            if !self.no_way_back() {
                return self.go_back(&why).await.map(Some);
            }
            if let Some(end) = self.overtaken().await? {
                return Ok(Some(Some(end)));
            }
            tries += 1;
            self.stuck(&format!("{why}; {KEPT}"), tries).await?;
        }
        self.goes_on(tries);
        Ok(None)
    }

    pub(super) async fn restart(&mut self) -> Result<Option<End>, CutOff> {
        if let Some(how) = self.delivery().and_then(|delivery| delivery.restart.clone()) {
            let hide = self.secrets().await?;
            let mut tries = 0;
            while let Err(why) = restart::restart(&how, &hide.iter().collect::<Vec<_>>()).await {
                let text = format!("{how} was not restarted: {why}");
                if !self.no_way_back() {
                    return self.go_back(&text).await;
                }
                tries += 1;
                self.stuck(&format!("{text}; {NO_WAY_BACK}"), tries).await?;
                if let Some(next) = self.still_in_place().await? {
                    return Ok(next);
                }
            }
            self.goes_on(tries);
            self.say(format!("{how} was restarted"));
        }
        self.go(Phase::Restarted).await
    }

    pub(super) async fn confirm(&mut self) -> Result<Option<End>, CutOff> {
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
                tries += 1;
                self.stuck(&format!("{text}; {NO_WAY_BACK}"), tries).await?;
                if let Some(next) = self.still_in_place().await? {
                    return Ok(next);
                }
            }
            self.goes_on(tries);
            self.say(format!("{how} confirmed"));
        }
        self.go(Phase::Confirmed).await
    }

    /// Who puts another token into the slot than the old one or the new one has taken the matter into their own hands: the run is over.
    async fn overtaken(&self) -> Result<Option<End>, CutOff> {
        // Whoever brings a token may do so because of what stands there.
        if self.entry.run.origin.is_replacement() {
            return Ok(None);
        }
        Ok(match self.in_slot().await? {
            InSlot::Another => {
                let text = format!("{} was changed by somebody meanwhile, and that counts", self.slot.token.secret);
                Some(self.set_aside(Outcome::Failed, text, None))
            }
            InSlot::Old | InSlot::New | InSlot::Unknown => None,
        })
    }

    /// Whether the slot still holds what was published, while the application does not take it up; else what follows. A dead token that came back
    /// is no choice of anybody, and what exists nowhere else is written again.
    async fn still_in_place(&mut self) -> Result<Option<Option<End>>, CutOff> {
        if let InSlot::Old = self.in_slot().await? {
            self.goes_on(1);
            return self.go(Phase::Proved).await.map(Some);
        }
        Ok(self.overtaken().await?.map(Some))
    }

    /// Which token stands in the slot.
    async fn in_slot(&self) -> Result<InSlot, CutOff> {
        let Ok(seen) = self.bench.reader.read_one(&self.slot.token.secret).await else { return Ok(InSlot::Unknown) };
        if self.new_secret().await?.is_some_and(|new| seen.matches(&new)) {
            return Ok(InSlot::New);
        }
        Ok(match self.secret(OLD).await? {
            Some(old) if seen.matches(&old) => InSlot::Old,
            Some(_) => InSlot::Another,
            None => InSlot::Unknown,
        })
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

    /// The sinks whose contents are kept, with what they held; a sink that is gone from the configuration has no place any more.
    pub(super) async fn sinks(&self) -> Result<Vec<(Option<(Sink, &'static str)>, Held)>, CutOff> {
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

    pub(super) async fn put(&self, place: &Sink, swap: Swap<'_>) -> Result<Put, SinkError> {
        sink::put(place, swap, self.bench.reader.sources()).await
    }

    /// Whether every sink held the new secret before the run: then nothing was written.
    async fn is_in_place(&self, new: &Secret) -> Result<bool, CutOff> {
        let all = self.sinks().await?;
        let sealed = (0..all.len()).all(|index| self.entry.sealed.contains_key(&sink_name(index)));
        Ok(sealed && all.iter().all(|(_, held)| matches!(held, Held::Secret(held) if held.matches(new))))
    }
}

/// Which token stands in the slot.
enum InSlot {
    /// The one that was there when the run began.
    Old,
    /// The one that the run is to put there.
    New,
    /// One that somebody else put there.
    Another,
    /// It cannot be read, or there is nothing to compare it with.
    Unknown,
}

/// What is said of a new secret that cannot be put in place while the old one is dead.
const KEPT: &str = "the old token is dead; the new one is kept sealed, and goes there as soon as it can";
/// What is said where the application does not take it up.
const NO_WAY_BACK: &str = "the new token is in place, and there is no way back: the old one is dead";
