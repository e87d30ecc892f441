//! The way back: every place gets what it held, and the application is restarted with it.

use std::fmt::Write as _;

use super::super::sink::{Held, Put, SinkError, Swap};
use super::super::{confirm, restart};
use super::sealed::{NEW_REFRESH, OLD};
use super::{CutOff, End, Walk};
use crate::domain::renewal::Outcome;

impl Walk<'_> {
    /// Gives every sink back what it held, the last written first, and restarts the application with it.
    pub(super) async fn roll_back(&mut self, why: &str) -> Result<End, CutOff> {
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
}
