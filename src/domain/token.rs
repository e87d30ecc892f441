//! What is wanted of a token: its name, whom it belongs to, and the policy it is judged by.
//!
//! Nothing observed lives here (that is `step::TokenStatus`), and no secret: a secret is read, used and dropped elsewhere.

use std::fmt;
use std::sync::Arc;

use super::renewal::RenewPolicy;
use super::time::{Span, Timestamp};

macro_rules! slug {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Accepts `[a-z0-9][a-z0-9._-]*` of at most 63 characters: safe as a metric label, a URL segment and a file name.
            ///
            /// # Errors
            /// Says which part of the rule the text breaks.
            pub fn parse(text: &str) -> Result<Self, BadName> {
                check_name(text).map(|()| Self(Arc::from(text)))
            }

            /// The name as written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

slug! {
    /// The operator's name for a token slot. The secret in the slot changes; the name does not.
    TokenId
}
slug! {
    /// The operator's name for a provider-side app; its faults alert once, not per token.
    AppName
}
slug! {
    /// Who issued a token: a provider that is built in, or one that the operator described.
    ProviderName
}
slug! {
    /// The operator's name for a group of people and the channels that reach them.
    ReceiverName
}

/// Why a text is no name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadName {
    /// Nothing was written.
    Empty,
    /// More than 63 characters.
    TooLong,
    /// The first character is not `a-z` or `0-9`.
    Start,
    /// This character is not `a-z`, `0-9`, `.`, `_` or `-`.
    Character(char),
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a name cannot be empty"),
            Self::TooLong => write!(f, "a name has at most {NAME_LIMIT} characters"),
            Self::Start => f.write_str("a name starts with a-z or 0-9"),
            Self::Character(c) => write!(f, "a name has only a-z, 0-9, '.', '_' and '-', not {c:?}"),
        }
    }
}

impl ProviderName {
    /// Facebook Login, pages, system users and WhatsApp: graph.facebook.com. Where nothing else is said it is this one.
    pub fn meta() -> Self {
        Self(Arc::from(META))
    }

    /// Whether it is that one.
    pub fn is_meta(&self) -> bool {
        &*self.0 == META
    }
}

/// A keyed hash of a secret. It tells one generation from the next and is useless without the key of this installation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Fingerprint(pub [u8; 16]);

/// How long before a deadline a rung stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lead {
    /// A fixed time before the deadline.
    Before(Span),
    /// A share of the lifetime, in basis points: `33%` is 3300.
    Share(u32),
}

impl Lead {
    /// The rung's distance from the deadline, for a token that lives `lifetime` in all.
    pub fn resolve(self, lifetime: Span) -> Span {
        match self {
            Self::Before(span) => span,
            Self::Share(basis_points) => lifetime.share(basis_points),
        }
    }
}

/// The times before a deadline at which people are told, farthest first. Never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ladder(Vec<Lead>);

impl Ladder {
    /// A ladder of these rungs, or `None` when there are none.
    pub fn new(rungs: Vec<Lead>) -> Option<Self> {
        (!rungs.is_empty()).then_some(Self(rungs))
    }

    /// The rungs as configured.
    pub fn leads(&self) -> &[Lead] {
        &self.0
    }

    /// The distances that apply to a token of this lifetime: strictly descending, positive, never empty.
    ///
    /// Rungs longer than the lifetime are skipped. When none is left, or the lifetime is under seven days, the rungs stand at
    /// 33%, 10% and 3% of it: a one-hour token has no use for "21 days before".
    pub fn rungs(&self, lifetime: Span) -> Vec<Span> {
        let short = lifetime < SHORT_LIFETIME;
        let mut rungs: Vec<Span> = self
            .0
            .iter()
            .filter(|_| !short)
            .map(|lead| lead.resolve(lifetime))
            .filter(|rung| *rung <= lifetime && *rung > Span::ZERO)
            .collect();
        if rungs.is_empty() {
            rungs.extend(SHORT_RUNGS.map(|share| Span::seconds(lifetime.share(share).as_seconds().max(1))));
        }
        rungs.sort_unstable_by(|a, b| b.cmp(a));
        rungs.dedup();
        rungs
    }
}

impl Default for Ladder {
    /// 21, 14, 7, 3 and 1 days.
    fn default() -> Self {
        Self([21, 14, 7, 3, 1].map(|days| Lead::Before(Span::days(days))).to_vec())
    }
}

/// How a token's findings become incidents and notices.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// When before a deadline people are told.
    pub ladder: Ladder,
    /// After this long an unacknowledged critical incident is told again; zero means never.
    pub repeat: Span,
    /// After this long without an authoritative answer the token is `blind`.
    pub blind_after: Span,
    /// Consecutive authoritative answers needed before "invalid" is believed. At least one.
    pub confirm_invalid: u32,
}

impl Policy {
    /// The same where one answer is enough, for whoever looks only once (contract §10.2).
    #[must_use]
    pub fn at_once(&self) -> Self {
        Self { confirm_invalid: 1, ..self.clone() }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self { ladder: Ladder::default(), repeat: Span::hours(24), blind_after: Span::hours(6), confirm_invalid: 2 }
    }
}

/// What the token must be able to do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Required {
    /// Permissions that must be granted.
    pub scopes: Vec<Box<str>>,
    /// Objects (WhatsApp Business Account ids) that the `whatsapp_*` permissions must cover.
    pub targets: Vec<Box<str>>,
    /// The id of the WhatsApp number that it must be able to send from.
    pub number: Option<Box<str>>,
    /// Whether what arrives at that number must reach the app; `None` where that is told only when it ends.
    pub webhooks: Option<bool>,
}

/// When a token is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rhythm {
    /// Once in every such span, at a moment of the token's own within it.
    Every(Span),
    /// When the bell of a cron expression rings. The span bounds how far the checks of one ring are spread.
    OnBell {
        /// Each token is checked within this long after the bell.
        spread: Span,
    },
}

impl Rhythm {
    /// The time within which a failed check must have been tried again.
    pub const fn retry_bound(self) -> Span {
        match self {
            Self::Every(period) => period,
            Self::OnBell { .. } => BELL_RETRY_BOUND,
        }
    }
}

/// One watched slot, as the operator wants it. The parts that many tokens share are shared in memory too.
#[derive(Clone, PartialEq, Debug)]
pub struct TokenSpec {
    /// The slot's name.
    pub id: TokenId,
    /// Who issued the token.
    pub provider: ProviderName,
    /// The app it belongs to, when one is configured.
    pub app: Option<AppName>,
    /// Who is told.
    pub receivers: Arc<[ReceiverName]>,
    /// By which rules.
    pub policy: Arc<Policy>,
    /// What it must be able to do.
    pub required: Arc<Required>,
    /// When it is looked at.
    pub rhythm: Rhythm,
    /// When it is renewed; `None` is never.
    pub renew: Option<Arc<RenewPolicy>>,
    /// When it ends, as somebody wrote.
    pub expires: Option<TypedEnd>,
}

/// A date that somebody wrote.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TypedEnd {
    /// The date.
    pub at: Timestamp,
    /// Whether nobody but who wrote it knows how the token is.
    pub alone: bool,
}

/// One app, as the operator wants it.
#[derive(Clone, PartialEq, Debug)]
pub struct AppSpec {
    /// The app's name in the configuration.
    pub name: AppName,
    /// At which provider it is registered.
    pub provider: ProviderName,
    /// Who is told: everyone who is told of one of its tokens.
    pub receivers: Arc<[ReceiverName]>,
    /// By which rules.
    pub policy: Arc<Policy>,
}

const META: &str = "meta";
const NAME_LIMIT: usize = 63;
/// Below this a lifetime is "short" and the ladder becomes relative (contract §10.1).
pub const SHORT_LIFETIME: Span = Span::days(7);
/// 33%, 10% and 3% in basis points (contract §10.1).
const SHORT_RUNGS: [u32; 3] = [3_300, 1_000, 300];
/// Between bells a failed check is tried again at least this often.
const BELL_RETRY_BOUND: Span = Span::minutes(15);

fn check_name(text: &str) -> Result<(), BadName> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
    let first = text.chars().next().ok_or(BadName::Empty)?;
    if let Some(bad) = text.chars().find(|c| !inner(*c)) {
        return Err(BadName::Character(bad));
    }
    if matches!(first, '.' | '_' | '-') {
        return Err(BadName::Start);
    }
    if text.len() > NAME_LIMIT { Err(BadName::TooLong) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rule() {
        assert!(TokenId::parse("helpdesk-whatsapp").is_ok());
        assert!(TokenId::parse(&"a".repeat(63)).is_ok());
        for (text, fault) in [
            ("", BadName::Empty),
            ("-a", BadName::Start),
            ("A", BadName::Character('A')),
            ("a b", BadName::Character(' ')),
            ("é", BadName::Character('é')),
        ] {
            assert_eq!(TokenId::parse(text), Err(fault), "{text:?}");
        }
        assert_eq!(TokenId::parse(&"a".repeat(64)), Err(BadName::TooLong));
    }

    #[test]
    fn a_ladder_never_ends_up_empty() {
        let days = |list: &[i64]| list.iter().map(|d| Span::days(*d)).collect::<Vec<_>>();
        let default = Ladder::default();
        assert_eq!(default.rungs(Span::days(60)), days(&[21, 14, 7, 3, 1]));
        assert_eq!(default.rungs(Span::days(10)), days(&[7, 3, 1]));
        let hour = default.rungs(Span::hours(1));
        assert_eq!(hour, [1_188, 360, 108].map(Span::seconds));
        let far = Ladder::new(vec![Lead::Before(Span::days(30))]).unwrap_or_default();
        assert_eq!(far.rungs(Span::days(20)).len(), 3);
        assert_eq!(default.rungs(Span::ZERO), [Span::seconds(1)]);
        let mixed = Ladder::new(vec![Lead::Share(3_300), Lead::Before(Span::days(1))]).unwrap_or_default();
        assert_eq!(mixed.rungs(Span::days(60)), [Span::seconds(1_710_720), Span::days(1)]);
    }
}
