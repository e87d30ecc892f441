//! What on-call says back: acknowledgements and silences, signed.
//!
//! An acknowledgement belongs to an incident and ends with it. A silence belongs to a subject and always ends by itself. Neither can hide the
//! end of a token, unless that was asked for by name.

use super::alert::NotifyReason;
use super::finding::Finding;
use super::time::{Span, Timestamp};
use super::token::Ladder;

/// Who said it, when, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signed {
    /// Who: the name that was given and the user id that the system vouches for.
    pub by: Box<str>,
    /// When.
    pub at: Timestamp,
    /// Why, in their words.
    pub why: Option<Box<str>>,
}

/// An answer to what was told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// I know: do not repeat what is open. What gets worse is still told.
    Acknowledge(Signed),
    /// Leave us alone for so long.
    Silence {
        /// Who and why.
        signed: Signed,
        /// For how long.
        lasts: Span,
        /// Whether even the last rung and the end of a token are held back.
        even_critical: bool,
    },
    /// The silence is over.
    Unsilence(Signed),
}

impl Answer {
    /// Who gave it, when and why.
    pub const fn signed(&self) -> &Signed {
        match self {
            Self::Acknowledge(signed) | Self::Silence { signed, .. } | Self::Unsilence(signed) => signed,
        }
    }
}

/// A time in which people are not told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Silence {
    /// Who asked for it, when it began, and why.
    pub signed: Signed,
    /// When it ends.
    pub until: Timestamp,
    /// Whether even the last rung and the end of a token are held back.
    pub even_critical: bool,
    /// Whether it was said that it ends soon.
    pub reminded: bool,
}

/// Why an answer is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// Nothing is open that could be acknowledged.
    NothingOpen,
    /// There is no silence that could be ended.
    NotSilenced,
    /// A silence lasts some time, and at most [`LONGEST_SILENCE`].
    Length,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NothingOpen => f.write_str("there is no open incident to acknowledge"),
            Self::NotSilenced => f.write_str("there is no silence to end"),
            Self::Length => write!(f, "a silence lasts at least a minute and at most {LONGEST_SILENCE}"),
        }
    }
}

impl Silence {
    /// A silence from now on.
    ///
    /// # Errors
    /// When it would last no time, or too long.
    pub fn new(signed: Signed, lasts: Span, even_critical: bool) -> Result<Self, Refused> {
        if lasts < SHORTEST_SILENCE || lasts > LONGEST_SILENCE {
            return Err(Refused::Length);
        }
        let until = signed.at.plus(lasts);
        Ok(Self { signed, until, even_critical, reminded: false })
    }

    /// Whether it holds now.
    pub fn holds(&self, now: Timestamp) -> bool {
        now < self.until
    }

    /// Whether it keeps that word about a finding from people. What was said once may be left unsaid; that a token has ended, or stands on the
    /// last rung before its end, may not.
    pub fn hides(&self, finding: &Finding, why: NotifyReason, now: Timestamp) -> bool {
        self.holds(now) && (self.even_critical || why == NotifyReason::Repeated || !finding.last_call)
    }

    /// When it is said that it ends soon: one rung before, on the ladder of deadlines measured against its own length, and in time for people.
    pub fn remind_at(&self, ladder: &Ladder) -> Timestamp {
        let rungs = ladder.rungs(self.until.since(self.signed.at));
        self.until.minus(rungs.last().copied().unwrap_or(Span::ZERO).max(SHORTEST_WARNING))
    }

    /// After the clock moved back it lasts no longer than it was meant to.
    pub(super) fn draw_back(&mut self, now: Timestamp) {
        if self.signed.at > now {
            self.until = now.plus(self.until.since(self.signed.at));
            self.signed.at = now;
        }
    }
}

const SHORTEST_SILENCE: Span = Span::minutes(1);
/// A look at the token takes a moment, too: a word a second before the end would often come after it.
const SHORTEST_WARNING: Span = Span::seconds(10);
/// A silence of half a year is forgotten by everyone who knew of it.
pub const LONGEST_SILENCE: Span = Span::days(90);
