//! The facts of one answer about a token, or the reason why there was none.
//!
//! A provider's wire format never reaches this file, and a failed check never becomes a fact: `Err(CheckError)` says only that
//! we could not tell.

use std::fmt;

use super::number::Beside;
use super::time::Timestamp;
use super::token::{Fingerprint, TypedEnd};

/// What the provider said about a token, all of it from one authoritative answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inspection {
    /// Whether the token works, and if not, why.
    pub validity: Validity,
    /// What sort of token it is.
    pub kind: TokenKind,
    /// The provider's id of the app that the token belongs to.
    pub app_id: Option<Box<str>>,
    /// The provider's id of the user or system user behind it.
    pub user_id: Option<Box<str>>,
    /// The page it acts as.
    pub profile_id: Option<Box<str>>,
    /// When it was issued; Meta tells this for long-lived tokens only.
    pub issued_at: Option<Timestamp>,
    /// When it stops working.
    pub expires: Expiry,
    /// How that is known.
    pub basis: Basis,
    /// When the app loses access to the user's data, which no renewal cures.
    pub data_access: Expiry,
    /// What it may do; `None` when the provider did not say.
    pub grants: Option<Vec<Grant>>,
    /// What the token may not do, where that kept the provider from telling more: it works, but not for the question that was asked.
    pub lacking: Option<Box<str>>,
    /// The provider's own words about an invalid token, redacted.
    pub message: Option<Box<str>>,
}

impl Inspection {
    /// Whether it was made to live for hours: Meta tells of long-lived user tokens only when they were issued (reference §3.1).
    pub fn was_short_lived(&self) -> bool {
        self.kind == TokenKind::User && self.issued_at.is_none()
    }

    /// The same with the date that somebody wrote, where nobody else tells one. Once it has passed and a provider says that the token works all
    /// the same, it was about another one, and says nothing.
    #[must_use]
    pub fn with_typed_end(self, typed: Option<TypedEnd>, now: Timestamp) -> Self {
        match typed {
            Some(TypedEnd { at, alone })
                if self.expires == Expiry::Unknown && self.validity == Validity::Valid && (alone || at > now) =>
            {
                Self { expires: Expiry::At(at), basis: Basis::Typed, ..self }
            }
            _ => self,
        }
    }

    /// Whether somebody has written another date since these facts were seen, or has taken theirs away.
    pub fn has_another_typed_end(&self, typed: Option<TypedEnd>, now: Timestamp) -> bool {
        let told = if self.basis == Basis::Typed { Expiry::Unknown } else { self.expires };
        let basis = if self.basis == Basis::Typed { Basis::Told } else { self.basis };
        let anew = Self { expires: told, basis, ..self.clone() }.with_typed_end(typed, now);
        (anew.expires, anew.basis) != (self.expires, self.basis)
    }

    /// When the token ends and when data access does, as far as these dates still say when something breaks: of a token that is dead already they
    /// do not.
    pub const fn dates_to_come(&self) -> (Option<Timestamp>, Option<Timestamp>) {
        match self.validity {
            Validity::Valid => (self.expires.date(), self.data_access.date()),
            Validity::Expired | Validity::Revoked(_) | Validity::Unreadable => (None, None),
        }
    }

    /// The facts of a token about which nothing is known but its validity.
    pub const fn bare(validity: Validity) -> Self {
        Self {
            validity,
            kind: TokenKind::Unknown,
            app_id: None,
            user_id: None,
            profile_id: None,
            issued_at: None,
            expires: Expiry::Unknown,
            basis: Basis::Told,
            data_access: Expiry::Unknown,
            grants: None,
            lacking: None,
            message: None,
        }
    }
}

/// Whether a token works.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Validity {
    /// It works.
    Valid,
    /// It ran out.
    Expired,
    /// It was killed before its time.
    Revoked(Cause),
    /// The provider cannot make sense of it: a bad paste, the wrong host, another product's token.
    Unreadable,
}

/// Why a token was killed early. Those with a number are documented subcodes of Meta's error 190; the words of other providers are mapped to
/// these.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// 458: the user removed the app.
    AppRemoved,
    /// 459: the account is held at a checkpoint.
    Checkpointed,
    /// 460: the password changed, or the session was reset for security.
    PasswordChanged,
    /// 464: the account is not confirmed.
    Unconfirmed,
    /// 467: the user logged out, or the token was revoked.
    LoggedOut,
    /// 492: the user behind a page token lost the role on the page.
    RoleLost,
    /// 493: the user did not use the app for over 90 days.
    Inactive,
    /// The account behind it is suspended.
    AccountSuspended,
    /// The account behind it was closed, or is gone.
    AccountClosed,
    /// Somebody switched the token off.
    Disabled,
    /// A certificate that clients do not trust.
    Untrusted,
    /// Invalid, and the provider gave no cause that we know.
    Unstated,
}

impl Cause {
    /// Every cause, for tables and tests.
    pub const ALL: [Self; 12] = [
        Self::AppRemoved,
        Self::Checkpointed,
        Self::PasswordChanged,
        Self::Unconfirmed,
        Self::LoggedOut,
        Self::RoleLost,
        Self::Inactive,
        Self::AccountSuspended,
        Self::AccountClosed,
        Self::Disabled,
        Self::Untrusted,
        Self::Unstated,
    ];

    /// The cause of that code.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == word)
    }

    /// A stable code.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AppRemoved => "app_removed",
            Self::Checkpointed => "checkpointed",
            Self::PasswordChanged => "password_changed",
            Self::Unconfirmed => "unconfirmed",
            Self::LoggedOut => "logged_out",
            Self::RoleLost => "role_lost",
            Self::Inactive => "inactive",
            Self::AccountSuspended => "account_suspended",
            Self::AccountClosed => "account_closed",
            Self::Disabled => "disabled",
            Self::Untrusted => "untrusted",
            Self::Unstated => "unstated",
        }
    }

    /// The cause in words, as the end of "it was revoked: …".
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::AppRemoved => "the user removed the app (190/458)",
            Self::Checkpointed => "the account is held at a checkpoint (190/459)",
            Self::PasswordChanged => "the password changed, or Meta reset the session for security reasons (190/460)",
            Self::Unconfirmed => "the account is not confirmed (190/464)",
            Self::LoggedOut => "the user logged out, or the token was revoked (190/467)",
            Self::RoleLost => "the user behind the page token lost the role on the page (190/492)",
            Self::Inactive => "the user has not used the app for over 90 days (190/493)",
            Self::AccountSuspended => "the account is suspended",
            Self::AccountClosed => "the account was closed, or is gone",
            Self::Disabled => "it was switched off",
            Self::Untrusted => "clients do not trust the certificate",
            Self::Unstated => "the provider gave no cause",
        }
    }
}

/// What sort of token it is. It decides how it can be renewed and what a person must do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TokenKind {
    /// A person's login.
    User,
    /// Acts as a page; follows the fate of its user's login.
    Page,
    /// A business's machine account.
    SystemUser,
    /// The app itself.
    App,
    /// A kind we have no name for, in the provider's own (lower-cased) word.
    Other(Box<str>),
    /// The provider did not say.
    Unknown,
}

impl TokenKind {
    /// The value of the `kind` label.
    pub fn as_str(&self) -> &str {
        match self {
            Self::User => "user",
            Self::Page => "page",
            Self::SystemUser => "system_user",
            Self::App => "app",
            Self::Other(word) => word,
            Self::Unknown => "unknown",
        }
    }

    /// The kind of that name.
    pub fn parse(word: &str) -> Self {
        match word {
            "user" => Self::User,
            "page" => Self::Page,
            "system_user" => Self::SystemUser,
            "app" => Self::App,
            "unknown" | "" => Self::Unknown,
            other => Self::Other(other.into()),
        }
    }
}

/// When something ends. "Never" is a promise by the provider; "unknown" is the lack of one, and they must not be confused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expiry {
    /// The provider says it does not end.
    Never,
    /// It ends at this moment.
    At(Timestamp),
    /// The provider did not say.
    Unknown,
}

impl Expiry {
    /// The date, when there is one.
    pub const fn date(self) -> Option<Timestamp> {
        match self {
            Self::At(at) => Some(at),
            Self::Never | Self::Unknown => None,
        }
    }

    /// This, or `known` where this says nothing: an answer without a date does not erase a date.
    #[must_use]
    pub const fn or(self, known: Self) -> Self {
        match self {
            Self::Unknown => known,
            Self::Never | Self::At(_) => self,
        }
    }
}

/// How the end of a token is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Basis {
    /// The provider says so, at each check.
    #[default]
    Told,
    /// The token says so of itself; nobody was asked.
    Claimed,
    /// Somebody wrote it into the configuration.
    Typed,
    /// The provider said so once, when it gave or renewed the token.
    Learned,
}

impl Basis {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Told, Self::Claimed, Self::Typed, Self::Learned];

    /// A stable code.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Told => "told",
            Self::Claimed => "claimed",
            Self::Typed => "typed",
            Self::Learned => "learned",
        }
    }

    /// The one of that code.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|basis| basis.as_str() == word)
    }

    /// In words, as an addition to a date; empty where the provider tells it at each check.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Told => "",
            Self::Claimed => "a claim of the token itself; nobody was asked",
            Self::Typed => "as written in the configuration; no API tells it",
            Self::Learned => "as the provider said when it last renewed the token",
        }
    }
}

/// One permission and what it covers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// The permission's name.
    pub scope: Box<str>,
    /// The objects it covers; `None` means all that the user can reach, future ones too.
    pub targets: Option<Vec<Box<str>>>,
}

/// Why there is no answer. None of these says anything about the token itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CheckError {
    /// No whole answer came.
    Unreachable(Unreachable, Box<str>),
    /// An answer came that cannot be believed: not JSON, too large, or of a shape nobody documents.
    Garbled(Box<str>),
    /// The provider says that it is in trouble itself.
    Unavailable(Box<str>),
    /// The provider asks us to stop until then.
    Throttled(Timestamp),
    /// The question was refused because of the app, so no token of that app can be judged.
    App(AppFault, Box<str>),
    /// The token belongs to another app than the one configured, which may not ask about it.
    ForeignToken(Box<str>),
    /// The provider refuses the question for a reason that is neither the app nor the token.
    Refused(Box<str>),
    /// The secret cannot be read.
    Source(Box<str>),
}

/// How a provider was out of reach.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unreachable {
    /// No answer in time.
    Timeout,
    /// No connection: refused, no route, name not found.
    Connect,
    /// The certificate or the handshake failed.
    Tls,
    /// The connection broke in the middle.
    Interrupted,
}

/// What is wrong with an app.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AppFault {
    /// The secret does not match the id.
    WrongSecret,
    /// There is no app of that id.
    UnknownApp,
    /// The app was deleted.
    Deleted,
    /// Meta blocked the app's access.
    Blocked,
    /// The app's token is ignored: the app is set to "native", or its secret counts as embedded in a client.
    NotPrivileged,
    /// The app's secret cannot be read here.
    SecretUnreadable,
}

impl AppFault {
    /// Every fault, for tables and tests.
    pub const ALL: [Self; 6] = [
        Self::WrongSecret,
        Self::UnknownApp,
        Self::Deleted,
        Self::Blocked,
        Self::NotPrivileged,
        Self::SecretUnreadable,
    ];

    /// The fault of that code.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.as_str() == word)
    }

    /// A stable code.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WrongSecret => "wrong_secret",
            Self::UnknownApp => "unknown_app",
            Self::Deleted => "deleted",
            Self::Blocked => "blocked",
            Self::NotPrivileged => "not_privileged",
            Self::SecretUnreadable => "secret_unreadable",
        }
    }

    /// The fault in words, as the end of "the app …".
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::WrongSecret => "secret does not match the app id",
            Self::UnknownApp => "id is not known to its provider",
            Self::Deleted => "was deleted at its provider",
            Self::Blocked => "is blocked by its provider",
            Self::NotPrivileged => "may not ask about tokens",
            Self::SecretUnreadable => "secret cannot be read",
        }
    }
}

/// What one check brought.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckOutcome {
    /// Which generation of the secret was looked at; `None` when it could not be read.
    pub fingerprint: Option<Fingerprint>,
    /// The facts, or why there are none.
    pub answer: Result<Inspection, CheckError>,
    /// What was asked beside it; only of a token that works.
    pub beside: Option<Box<Beside>>,
}

impl CheckError {
    /// The label of `tokenwatch_check_failures_total`; a closed set.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable(Unreachable::Timeout, _) => "timeout",
            Self::Unreachable(Unreachable::Connect, _) => "connect",
            Self::Unreachable(Unreachable::Tls, _) => "tls",
            Self::Unreachable(Unreachable::Interrupted, _) => "interrupted",
            Self::Garbled(_) => "garbled",
            Self::Unavailable(_) => "unavailable",
            Self::Throttled(_) => "throttled",
            Self::App(..) => "app_fault",
            Self::ForeignToken(_) => "foreign_token",
            Self::Refused(_) => "refused",
            Self::Source(_) => "source",
        }
    }

    /// Every value that [`Self::reason`] can have, so that each counter exists from the start.
    pub const REASONS: [&'static str; 11] = [
        "timeout",
        "connect",
        "tls",
        "interrupted",
        "garbled",
        "unavailable",
        "throttled",
        "app_fault",
        "foreign_token",
        "refused",
        "source",
    ];
}

/// A fragment that reads well after "the check failed: ".
impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(Unreachable::Timeout, text) => write!(f, "no answer in time: {text}"),
            Self::Unreachable(Unreachable::Connect, text) => write!(f, "no connection: {text}"),
            Self::Unreachable(Unreachable::Tls, text) => write!(f, "TLS failed: {text}"),
            Self::Unreachable(Unreachable::Interrupted, text) => write!(f, "the connection broke: {text}"),
            Self::Garbled(text) => write!(f, "an answer that cannot be believed: {text}"),
            Self::Unavailable(text) => write!(f, "the provider is in trouble: {text}"),
            Self::Throttled(until) => write!(f, "throttled by the provider until {until}"),
            Self::App(fault, text) if text.is_empty() => write!(f, "the app {}", fault.in_words()),
            Self::App(fault, text) => write!(f, "the app {}: {text}", fault.in_words()),
            Self::ForeignToken(text) => write!(f, "the token belongs to another app: {text}"),
            Self::Refused(text) => write!(f, "the provider refused the question: {text}"),
            Self::Source(text) => write!(f, "the secret cannot be read: {text}"),
        }
    }
}
