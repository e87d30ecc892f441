//! Whether a new secret may take the place of the old one: what the provider says about it, held against what was and what is wanted.
//!
//! "Success" of an exchange proves nothing. What comes back is inspected, and only the inspection is believed.

use std::fmt;

use super::inspection::{Basis, Expiry, Grant, Inspection, TokenKind, Validity};
use super::renewal::{self, OldSecret, Rotation};
use super::time::{Span, Timestamp};
use super::token::Required;
use super::verdict;

/// What speaks against a new secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Objection {
    /// The provider does not call it valid.
    NotValid(Validity),
    /// It belongs to another app.
    OtherApp,
    /// It belongs to another user.
    OtherUser,
    /// It acts as another page.
    OtherPage,
    /// It is of another kind.
    OtherKind(TokenKind, TokenKind),
    /// It may do less.
    Missing(Vec<Box<str>>),
    /// It does not cover these.
    NotCovered(Vec<Box<str>>),
    /// It ends when the old one would have ended, or sooner.
    NoGain,
    /// Nobody knows when it ends.
    UnknownEnd,
    /// It ends within days.
    Short(Span),
}

impl Objection {
    /// Whether somebody who brings a secret may insist on it all the same.
    pub const fn is_hard(&self) -> bool {
        matches!(self, Self::NotValid(_) | Self::OtherApp)
    }
}

/// A fragment that reads well after "the new token was refused: ".
impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotValid(Validity::Expired) => f.write_str("it has expired already"),
            Self::NotValid(Validity::Revoked(cause)) => write!(f, "it is not valid: {}", cause.in_words()),
            Self::NotValid(Validity::Unreadable) => {
                f.write_str(
                    "the provider cannot make sense of it; a paste often loses its end, and tokens of Instagram or Threads belong to \
                     other hosts",
                )
            }
            Self::NotValid(Validity::Valid) => f.write_str("it is not valid"),
            Self::OtherApp => f.write_str("it belongs to another app than the one configured"),
            Self::OtherUser => f.write_str("it belongs to another user than the old one"),
            Self::OtherPage => f.write_str("it acts as another page than the old one"),
            Self::OtherKind(old, new) => {
                write!(f, "it is of the kind {}, and the old one was of the kind {}", new.as_str(), old.as_str())
            }
            Self::Missing(scopes) => write!(f, "it lacks the permissions {}", scopes.join(", ")),
            Self::NotCovered(targets) => write!(f, "it does not cover the accounts {}", targets.join(", ")),
            Self::NoGain => f.write_str("it ends no later than the old one"),
            Self::UnknownEnd => f.write_str("nobody knows when it ends"),
            Self::Short(left) => {
                write!(f, "it ends in {left}: a token of the dashboard, it seems, and no token for a server")
            }
        }
    }
}

/// What speaks against a token that an exchange gave: it must be the same in everything but its end. `rotation` says how the provider gives
/// another secret; without one it is Meta.
pub fn of_exchange(old: Option<&Inspection>, new: &Inspection, rotation: Option<&Rotation>) -> Result<(), Objection> {
    valid(new)?;
    let Some(old) = old else { return Ok(()) };
    same(old.app_id.as_deref(), new.app_id.as_deref()).map_err(|()| Objection::OtherApp)?;
    same(old.user_id.as_deref(), new.user_id.as_deref()).map_err(|()| Objection::OtherUser)?;
    same(old.profile_id.as_deref(), new.profile_id.as_deref()).map_err(|()| Objection::OtherPage)?;
    if new.kind != TokenKind::Unknown && old.kind != TokenKind::Unknown && new.kind != old.kind {
        return Err(Objection::OtherKind(old.kind.clone(), new.kind.clone()));
    }
    fewer(old, new)?;
    if new.kind == TokenKind::Page && old.validity != Validity::Valid {
        // A page token that lives again gained its life.
        return Ok(());
    }
    if new.kind == TokenKind::Page && (old.expires, new.expires) == (Expiry::Never, Expiry::Never) {
        // Read again on time: a token without an end cannot gain one.
        return Ok(());
    }
    if let Some(rotation) = rotation {
        let ended = old.validity != Validity::Valid;
        let another = rotation.old != OldSecret::StaysTheSame && !rotation.teaches;
        // A token that lives again gained its life; where there was no end to move, another secret was what was wanted.
        let no_end = old.expires.date().is_none() || old.basis == Basis::Typed;
        if (ended && rotation.by_refresh_token) || (another && no_end) {
            return Ok(());
        }
    }
    if new.expires == Expiry::Unknown {
        return Err(Objection::UnknownEnd);
    }
    if renewal::gains(old.expires, new.expires) { Ok(()) } else { Err(Objection::NoGain) }
}

/// What speaks against a token that a person brings: it must be able to do what is wanted, and be no worse than the one it replaces. All of it
/// is named at once, what is hard first.
pub fn of_replacement(
    required: &Required,
    old: Option<&Inspection>,
    new: &Inspection,
    now: Timestamp,
) -> Vec<Objection> {
    if let Err(hard) = valid(new) {
        return vec![hard];
    }
    let mut objections = Vec::new();
    if let Some(old) = old {
        if same(old.app_id.as_deref(), new.app_id.as_deref()).is_err() {
            return vec![Objection::OtherApp];
        }
        if same(old.profile_id.as_deref(), new.profile_id.as_deref()).is_err() {
            objections.push(Objection::OtherPage);
        }
        // A system user in a person's place is what everybody advises; the other way round is a slip.
        let worse = match (&old.kind, &new.kind) {
            (TokenKind::Unknown, _) | (_, TokenKind::Unknown | TokenKind::SystemUser) => false,
            (old, new) => old != new,
        };
        if worse {
            objections.push(Objection::OtherKind(old.kind.clone(), new.kind.clone()));
        }
    }
    let scopes = verdict::missing_scopes(required, new);
    if !scopes.is_empty() {
        objections.push(Objection::Missing(scopes));
    }
    let targets = verdict::missing_targets(required, new);
    if !targets.is_empty() {
        objections.push(Objection::NotCovered(targets));
    }
    match new.expires {
        Expiry::Never => {}
        Expiry::Unknown => objections.push(Objection::UnknownEnd),
        Expiry::At(at) if at.since(now) < SHORT_LIVED => objections.push(Objection::Short(at.since(now))),
        Expiry::At(at) => {
            let alive = |old: &&Inspection| old.validity == Validity::Valid;
            let sooner = match old.filter(alive).map(|old| old.expires) {
                Some(Expiry::Never) => true,
                Some(Expiry::At(end)) => at < end,
                Some(Expiry::Unknown) | None => false,
            };
            if sooner {
                objections.push(Objection::NoGain);
            }
        }
    }
    objections
}

fn valid(new: &Inspection) -> Result<(), Objection> {
    if new.validity == Validity::Valid { Ok(()) } else { Err(Objection::NotValid(new.validity)) }
}

/// Where one of the two is not known nothing can be held against it.
fn same(old: Option<&str>, new: Option<&str>) -> Result<(), ()> {
    match (old, new) {
        (Some(old), Some(new)) if old != new => Err(()),
        _ => Ok(()),
    }
}

/// Scopes no fewer, and none of them narrower.
fn fewer(old: &Inspection, new: &Inspection) -> Result<(), Objection> {
    let (Some(had), Some(has)) = (&old.grants, &new.grants) else { return Ok(()) };
    let of = |scope: &str| has.iter().find(|grant| *grant.scope == *scope);
    let missing: Vec<Box<str>> =
        had.iter().filter(|grant| of(&grant.scope).is_none()).map(|grant| grant.scope.clone()).collect();
    if !missing.is_empty() {
        return Err(Objection::Missing(missing));
    }
    let lost = |grant: &Grant| match (&grant.targets, of(&grant.scope).and_then(|now| now.targets.as_ref())) {
        (_, None) => Vec::new(),
        (None, Some(_)) => vec![grant.scope.clone()],
        (Some(had), Some(has)) => had.iter().filter(|target| !has.contains(target)).cloned().collect(),
    };
    let lost: Vec<Box<str>> = had.iter().flat_map(lost).collect();
    if lost.is_empty() { Ok(()) } else { Err(Objection::NotCovered(lost)) }
}

/// A token with less than this ahead of it is none for a server.
const SHORT_LIVED: Span = Span::days(2);
