//! Which tokens share their fate: those of one user, and those that are read from one file.
//!
//! It remembers eight bytes a token and decides nothing: whoever is kin to a token in trouble is only looked at sooner.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher as _;
use std::path::Path;

use crate::domain::status::TokenStatus;
use crate::domain::time::{Span, Timestamp};
use crate::settings::Token;
use crate::settings::value::SecretRef;

/// What is known of kinship, by the tokens' places in the configuration.
#[derive(Debug, Default)]
pub struct Kin {
    /// A hash of each token's user; `None` where it is not known.
    owners: Vec<Option<u64>>,
    /// When the kin of an owner or of a file were last looked for.
    alarms: HashMap<u64, Timestamp>,
}

/// What befell a token, by its place in the configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Suspicion {
    /// It was killed early: its user may have lost all of theirs.
    Owner(usize),
    /// The place it is read from cannot be read, or can be again.
    Place(usize),
}

impl Kin {
    /// Takes in whose token it is.
    pub fn learn(&mut self, index: usize, status: &TokenStatus) {
        let Some(user) = status.facts.as_ref().and_then(|facts| facts.inspection.user_id.as_deref()) else { return };
        if self.owners.len() <= index {
            self.owners.resize(index + 1, None);
        }
        self.owners[index] = Some(hash(("owner", user)));
    }

    /// The kin to look at now. The same kin are not called again and again.
    pub fn of(&mut self, suspicion: Suspicion, tokens: &[Token], now: Timestamp) -> Vec<usize> {
        let (own, mark) = match suspicion {
            Suspicion::Owner(index) => (index, self.owners.get(index).copied().flatten()),
            Suspicion::Place(index) => (index, tokens.get(index).and_then(file).map(|path| hash(("file", path)))),
        };
        let Some(mark) = mark else { return Vec::new() };
        // A call "in the future" was made before the clock moved back.
        if self.alarms.get(&mark).is_some_and(|at| (Span::ZERO..PAUSE).contains(&now.since(*at))) {
            return Vec::new();
        }
        self.alarms.retain(|_, at| (Span::ZERO..PAUSE).contains(&now.since(*at)));
        self.alarms.insert(mark, now);
        let kin = |index: &usize| match suspicion {
            Suspicion::Owner(_) => self.owners.get(*index).copied().flatten() == Some(mark),
            Suspicion::Place(_) => tokens.get(*index).and_then(file) == tokens.get(own).and_then(file),
        };
        (0..tokens.len()).filter(|index| *index != own).filter(kin).collect()
    }
}

/// The file that a token is read from.
fn file(token: &Token) -> Option<&Path> {
    match &token.secret {
        SecretRef::File(path) | SecretRef::EnvFile { path, .. } => Some(path),
        SecretRef::Env(_) | SecretRef::Credential(_) => None,
    }
}

fn hash(what: impl std::hash::Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// Within this time the same kin are called once: the second one in trouble is no news.
const PAUSE: Span = Span::minutes(1);
