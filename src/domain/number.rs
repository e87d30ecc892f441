//! What WhatsApp says of a phone number: whether it can send, and what stands in the way.
//!
//! A number may be blocked while its token is fine, so nothing in here says anything about a token. The words are those of the reference, §9.

use super::inspection::CheckError;
use super::time::Timestamp;

/// A number, all of it from one answer. The texts are open: Meta adds words to them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Number {
    /// Its id at Meta.
    pub id: Box<str>,
    /// As people write it.
    pub display: Option<Box<str>>,
    /// The business name that is shown.
    pub name: Option<Box<str>>,
    /// `CONNECTED` can send.
    pub status: Option<Box<str>>,
    /// `GREEN`, `YELLOW`, `RED`, …
    pub quality: Option<Box<str>>,
    /// `LIVE` or `SANDBOX`.
    pub mode: Option<Box<str>>,
    /// Whether messages can be sent from it; `None` when Meta did not say.
    pub sending: Option<Sending>,
    /// What is in the way.
    pub obstacles: Vec<Obstacle>,
    /// The WhatsApp Business Account it belongs to.
    pub account: Option<Box<str>>,
    /// The business that owns the account.
    pub business: Option<Box<str>>,
}

impl Number {
    /// Whether messages can be sent from it. Where Meta says nothing of its health the status must do: only `CONNECTED` can send (§9.1).
    pub fn can_send(&self) -> Option<Sending> {
        self.sending.or_else(|| {
            let status = self.status.as_deref()?;
            Some(if status == CONNECTED { Sending::Available } else { Sending::Blocked })
        })
    }

    /// What is in the way, the worst first; where Meta names nothing, what is known of the number itself.
    pub fn in_the_way(&self) -> Vec<Obstacle> {
        let mut obstacles = self.obstacles.clone();
        obstacles.sort_by_key(|obstacle| std::cmp::Reverse(obstacle.sending));
        if obstacles.is_empty()
            && let Some(sending @ (Sending::Limited | Sending::Blocked)) = self.can_send()
        {
            let status = self.status.as_deref().unwrap_or("not told");
            obstacles.push(Obstacle {
                entity: Entity::Number,
                id: self.id.clone(),
                sending,
                code: None,
                description: format!("the status of the number is {status}").into(),
                solution: Box::default(),
            });
        }
        obstacles
    }
}

/// Whether messages can be sent, from best to worst.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Sending {
    /// Yes.
    Available,
    /// Some.
    Limited,
    /// None.
    Blocked,
}

impl Sending {
    /// From best to worst.
    pub const ALL: [Self; 3] = [Self::Available, Self::Limited, Self::Blocked];

    /// A stable code.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Limited => "limited",
            Self::Blocked => "blocked",
        }
    }

    /// The one of that name, in any case.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sending| sending.as_str().eq_ignore_ascii_case(word))
    }
}

/// Something that keeps messages from being sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Obstacle {
    /// Whose it is.
    pub entity: Entity,
    /// The id of that.
    pub id: Box<str>,
    /// How much it is in the way.
    pub sending: Sending,
    /// Meta's error code.
    pub code: Option<i64>,
    /// Meta's words, redacted.
    pub description: Box<str>,
    /// What Meta says would help, redacted; may be empty.
    pub solution: Box<str>,
}

/// What a message needs to be in order (§9.3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Entity {
    /// The phone number.
    Number,
    /// The WhatsApp Business Account.
    Account,
    /// The business that owns it.
    Business,
    /// The app that sends.
    App,
    /// Something that Meta named only later.
    Other,
}

impl Entity {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Number, Self::Account, Self::Business, Self::App, Self::Other];

    /// A stable code.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Account => "account",
            Self::Business => "business",
            Self::App => "app",
            Self::Other => "other",
        }
    }

    /// The one of that name.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|entity| entity.as_str() == word)
    }

    /// In words, as the subject of a sentence.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Number => "the phone number",
            Self::Account => "the WhatsApp Business Account",
            Self::Business => "the business",
            Self::App => "the app",
            Self::Other => "something else",
        }
    }
}

/// Why WhatsApp did not tell what was asked. The texts are redacted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NumberError {
    /// There is no such thing, or the token may not see it (100/33, 803), or it was deleted (33).
    Missing(Box<str>),
    /// The token lacks a permission (10, 3, 200 to 299, 131005).
    Forbidden(Box<str>),
    /// The token itself is refused (0, 102, 190).
    Token(Box<str>),
    /// No answer that can be believed.
    Unanswered(CheckError),
}

/// A fragment that reads well after "WhatsApp did not tell: ".
impl std::fmt::Display for NumberError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing(text) => write!(f, "no object has this id, or this token may not see it: {text}"),
            Self::Forbidden(text) => write!(f, "the token lacks a permission: {text}"),
            Self::Token(text) => write!(f, "the token is refused: {text}"),
            Self::Unanswered(error) => error.fmt(f),
        }
    }
}

/// Who gets what arrives at an account: messages, and reports of delivery.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Subscription {
    /// The app that the token belongs to.
    Ours,
    /// Other apps only.
    Others,
    /// Some app; it is not known which one is ours.
    Somebody,
    /// Nobody.
    Nobody,
}

impl Subscription {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ours, Self::Others, Self::Somebody, Self::Nobody];

    /// A stable code.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Others => "others",
            Self::Somebody => "somebody",
            Self::Nobody => "nobody",
        }
    }

    /// The one of that name.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|subscription| subscription.as_str() == word)
    }
}

/// What a check brought beside the facts of the token; `None` is what was not asked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Beside {
    /// The number.
    pub number: Option<Result<Number, NumberError>>,
    /// Who gets what arrives.
    pub subscription: Option<Result<Subscription, NumberError>>,
}

/// What was observed of the number that a token sends from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NumberStatus {
    /// Which number it is about.
    pub id: Box<str>,
    /// Which account the subscription is about.
    pub subscribed_to: Option<Box<str>>,
    /// What is known of it.
    pub number: Option<Number>,
    /// Why the last answer was a refusal: that there is no such number for this token.
    pub refused: Option<Box<str>>,
    /// When WhatsApp last answered.
    pub answered: Option<Timestamp>,
    /// Who gets what arrives.
    pub subscription: Option<Subscription>,
    /// Whether our app was among them once.
    pub was_subscribed: bool,
}

impl NumberStatus {
    /// Of that number, about which nothing is known yet.
    pub(super) fn new(id: Box<str>, account: Option<&str>) -> Self {
        Self { id, subscribed_to: account.map(Into::into), ..Self::default() }
    }

    /// What is known of another account's subscription is forgotten.
    pub(super) fn is_about_account(&mut self, account: Option<&str>) {
        if self.subscribed_to.as_deref() != account {
            self.subscribed_to = account.map(Into::into);
            (self.subscription, self.was_subscribed) = (None, false);
        }
    }

    /// Takes in what was seen; what could not be told changes nothing.
    pub(super) fn absorb(&mut self, seen: Beside, manages: bool, now: Timestamp) {
        match seen.number {
            Some(Ok(number)) => {
                (self.number, self.refused, self.answered) = (Some(number), None, Some(now));
            }
            Some(Err(NumberError::Missing(text))) => (self.refused, self.answered) = (Some(text), Some(now)),
            // With the permission granted, what is missing is the account.
            Some(Err(NumberError::Forbidden(text))) if manages => {
                (self.refused, self.answered) = (Some(text), Some(now));
            }
            Some(Err(NumberError::Forbidden(_) | NumberError::Token(_) | NumberError::Unanswered(_))) | None => {}
        }
        if let Some(Ok(subscription)) = seen.subscription {
            self.subscription = Some(subscription);
            self.was_subscribed |= subscription == Subscription::Ours;
        }
    }
}

const CONNECTED: &str = "CONNECTED";
