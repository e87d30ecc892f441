//! Which tokens share their fate: those of one user, and those that are read from one file.
//!
//! It remembers hashes and places, and decides nothing: whoever is kin to a token in trouble is only looked at sooner, so it does no harm
//! when two hashes are the same by chance. What it does for one token in trouble grows with its kin, not with all tokens.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher as _;

use crate::domain::status::TokenStatus;
use crate::domain::time::{Span, Timestamp};
use crate::settings::Token;

/// What is known of kinship, by the tokens' places in the configuration.
#[derive(Debug, Default)]
pub struct Kin {
    /// A hash of each token's user; zero where it is not known.
    owners: Vec<u64>,
    /// The tokens of each user, by its hash.
    of_owner: Families,
    /// The tokens of each file that more than one is read from; made when it is first asked for.
    of_file: Option<Families>,
    /// When the kin of an owner or of a file were last called.
    alarms: HashMap<u64, Timestamp>,
    /// With so many alarms the old ones are cleared away.
    room: usize,
}

/// Tokens that share something, by a hash of it.
type Families = HashMap<u64, Vec<u32>>;

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
        let Ok(place) = u32::try_from(index) else { return };
        if self.owners.len() <= index {
            self.owners.resize(index + 1, NOBODY);
        }
        let owner = hash(("owner", user));
        let before = std::mem::replace(&mut self.owners[index], owner);
        if before == owner {
            return;
        }
        if let Some(family) = self.of_owner.get_mut(&before) {
            family.retain(|other| *other != place);
            if family.is_empty() {
                self.of_owner.remove(&before);
            }
        }
        self.of_owner.entry(owner).or_default().push(place);
    }

    /// The kin to look at now. The same kin are not called again and again.
    pub fn of(&mut self, suspicion: Suspicion, tokens: &[Token], now: Timestamp) -> Vec<usize> {
        let (own, mark, families) = match suspicion {
            Suspicion::Owner(index) => (index, self.owners.get(index).copied(), &self.of_owner),
            Suspicion::Place(index) => {
                let families = self.of_file.get_or_insert_with(|| families_of_files(tokens));
                (index, tokens.get(index).and_then(mark_of_file), &*families)
            }
        };
        let Some((mark, family)) = mark.and_then(|mark| Some((mark, families.get(&mark)?))) else { return Vec::new() };
        // A call "in the future" was made before the clock moved back.
        let recent = |at: &Timestamp| (Span::ZERO..PAUSE).contains(&now.since(*at));
        if family.len() < 2 || self.alarms.get(&mark).is_some_and(recent) {
            return Vec::new();
        }
        if self.alarms.len() >= self.room {
            self.alarms.retain(|_, at| recent(at));
            self.room = FEW_ALARMS.max(self.alarms.len() * 2);
        }
        self.alarms.insert(mark, now);
        let places = family.iter().filter_map(|place| usize::try_from(*place).ok());
        places.filter(|index| *index != own && *index < tokens.len()).collect()
    }
}

fn families_of_files(tokens: &[Token]) -> Families {
    let mut families = Families::new();
    for (token, place) in tokens.iter().zip(0..) {
        if let Some(mark) = mark_of_file(token) {
            families.entry(mark).or_default().push(place);
        }
    }
    families.retain(|_, family| family.len() > 1);
    families.shrink_to_fit();
    families
}

/// A hash of the file that a token is read from.
fn mark_of_file(token: &Token) -> Option<u64> {
    token.secret.path().map(|path| hash(("file", path)))
}

fn hash<T: std::hash::Hash>(what: T) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish().max(NOBODY + 1)
}

/// No owner is known; no hash is that.
const NOBODY: u64 = 0;
/// Within this time the same kin are called once: the second one in trouble is no news.
const PAUSE: Span = Span::minutes(1);
/// So many alarms are kept without a look at how old they are.
const FEW_ALARMS: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::inspection::{Inspection, Validity};
    use crate::domain::status::Facts;

    const NOW: Timestamp = Timestamp::from_unix(1_752_566_400);

    /// Tokens that are read from these places.
    fn tokens(secrets: &[&str]) -> Vec<Token> {
        let entry = |(n, secret): (usize, &&str)| format!("[[tokens]]\nname = \"t{n}\"\nsecret = {{ {secret} }}\n");
        let text: String = secrets.iter().enumerate().map(entry).collect();
        crate::settings::from_text(&text, "test", &[]).expect("a valid configuration").settings.tokens
    }

    fn owned_by(user: Option<&str>) -> TokenStatus {
        let inspection = Inspection { user_id: user.map(Into::into), ..Inspection::bare(Validity::Valid) };
        TokenStatus { facts: Some(Facts::new(1, inspection, None, NOW)), ..TokenStatus::new(NOW) }
    }

    fn sorted(mut places: Vec<usize>) -> Vec<usize> {
        places.sort_unstable();
        places
    }

    // promise 48
    #[test]
    fn tokens_of_one_user_are_kin() {
        let tokens = tokens(&["env = \"X\""; 6]);
        let mut kin = Kin::default();
        for (index, user) in [(0, "ada"), (1, "bob"), (2, "ada"), (4, "ada"), (5, "eve")] {
            kin.learn(index, &owned_by(Some(user)));
            // Said twice it is the same.
            kin.learn(index, &owned_by(Some(user)));
        }
        // Whose the token is stays known while nobody says so.
        kin.learn(4, &owned_by(None));
        kin.learn(3, &TokenStatus::new(NOW));
        assert_eq!(sorted(kin.of(Suspicion::Owner(2), &tokens, NOW)), [0, 4]);
        for alone in [1, 3, 5, 99] {
            assert!(kin.of(Suspicion::Owner(alone), &tokens, NOW).is_empty(), "{alone}");
        }
        // A slot may get another user's token.
        kin.learn(2, &owned_by(Some("bob")));
        let later = NOW.plus(PAUSE);
        assert_eq!(kin.of(Suspicion::Owner(2), &tokens, later), [1]);
        assert_eq!(kin.of(Suspicion::Owner(0), &tokens, later), [4]);
        assert!(kin.of(Suspicion::Place(0), &tokens, later).is_empty(), "the environment is no file");
    }

    // promise 48
    #[test]
    fn tokens_of_one_file_are_kin() {
        let tokens = tokens(&[
            "file = \"/a\"",
            "env_file = \"/a\", key = \"X\"",
            "env = \"X\"",
            "env_file = \"/b\", key = \"X\"",
            "env_file = \"/a\", key = \"Y\"",
        ]);
        let mut kin = Kin::default();
        assert_eq!(kin.of(Suspicion::Place(1), &tokens, NOW), [0, 4]);
        for alone in [2, 3, 99] {
            assert!(kin.of(Suspicion::Place(alone), &tokens, NOW).is_empty(), "{alone}");
        }
        assert!(kin.of(Suspicion::Owner(1), &tokens, NOW).is_empty(), "of users nothing is known");
    }

    #[test]
    fn the_same_kin_are_called_once_in_a_while() {
        let tokens = tokens(&["file = \"/a\"", "file = \"/a\"", "file = \"/b\"", "file = \"/b\""]);
        let mut kin = Kin::default();
        let mut called = |index, at| !kin.of(Suspicion::Place(index), &tokens, at).is_empty();
        assert!(called(0, NOW));
        assert!(!called(0, NOW) && !called(1, NOW.plus(Span::seconds(59))), "that is no news");
        assert!(called(2, NOW), "another file is");
        assert!(called(1, NOW.plus(PAUSE)));
        // The clock moves back an hour: the last call lies in the future and holds nobody back.
        let back = NOW.minus(Span::hours(1));
        assert!(called(0, back) && !called(1, back));
    }

    #[test]
    fn alarms_do_not_pile_up() {
        let tokens = tokens(&["env = \"X\""; 2]);
        let mut kin = Kin::default();
        let mut now = NOW;
        for user in 0..10 * FEW_ALARMS {
            let user = user.to_string();
            kin.learn(0, &owned_by(Some(&user)));
            kin.learn(1, &owned_by(Some(&user)));
            assert_eq!(kin.of(Suspicion::Owner(0), &tokens, now), [1]);
            now = now.plus(Span::seconds(1));
        }
        assert!(kin.alarms.len() <= FEW_ALARMS, "{}", kin.alarms.len());
        assert_eq!(kin.of_owner.len(), 1);
    }
}
