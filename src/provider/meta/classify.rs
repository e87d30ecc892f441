//! What a Graph error means: for the token it is about, or for the caller who asked (reference §2.2 and §6).
//!
//! The order is code, subcode, message, and only then HTTP status: the status of code 190 is inconsistent across Meta's hosts. The
//! messages matched here are wire strings of the reference; everything that is kept is redacted by the caller.

use super::session_end;
use super::wire::GraphError;
use crate::domain::inspection::{AppFault, Cause, Validity};
use crate::domain::time::{Span, Timestamp};
use crate::graph::{is_throttle, is_trouble};

/// What an error says about the token that it was answered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fate {
    /// Why it does not work.
    pub validity: Validity,
    /// When its session ended, where the message says so.
    pub ended_at: Option<Timestamp>,
}

/// The error is about the token: it came inside `data`, or the token itself was the caller. `None` when the error is of another kind
/// and says nothing about the token.
pub fn token_fate(error: &GraphError) -> Option<Fate> {
    let validity = match (error.code?, error.error_subcode.or(error.subcode)) {
        (190 | 102, Some(subcode)) => by_subcode(subcode).or_else(|| by_message(&error.message)).unwrap_or(UNSTATED),
        (190 | 102 | 0, None) => by_message(&error.message).unwrap_or(Validity::Unreadable),
        (452, _) => UNSTATED,
        _ => return None,
    };
    let ended_at = (validity == Validity::Expired).then(|| session_end::parse(&error.message)).flatten();
    Some(Fate { validity, ended_at })
}

/// The error was answered to the exchange or the revocation of a token. `Some` only where it surely says that this token is dead.
///
/// A bare 190 does not: its words are the same for a token of another app and for one that is not wanted here (reference §3.5), and what was
/// inspected as valid a moment before is neither buried nor called foreign on such words. The next inspection can tell.
pub fn certain_fate(error: &GraphError) -> Option<Fate> {
    let stated = error.error_subcode.or(error.subcode).is_some();
    let undecoded = || UNDECODED.iter().any(|words| error.message.contains(words));
    token_fate(error).filter(|fate| stated || fate.validity != Validity::Unreadable || undecoded())
}

/// What an error says about the question and who asked it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The app is at fault.
    App(AppFault),
    /// The token belongs to another app.
    ForeignToken,
    /// Slow down.
    Throttled,
    /// The provider is in trouble.
    Unavailable,
    /// Refused for another reason.
    Refused,
}

/// The error was answered to an app's question about a token.
pub fn refusal(error: &GraphError, status: u16) -> Refusal {
    let message = error.message.as_str();
    let says = |words: &str| message.contains(words);
    match error.code {
        _ if says("Application has been deleted") => Refusal::App(AppFault::Deleted),
        _ if says("API access blocked") => Refusal::App(AppFault::Blocked),
        Some(1 | 100) if says("validating client secret") => Refusal::App(AppFault::WrongSecret),
        _ if says("Invalid application ID") || says("Cannot get application info") => {
            Refusal::App(AppFault::UnknownApp)
        }
        Some(101) => Refusal::App(AppFault::UnknownApp),
        Some(100) if says("did not match the Viewing App") => Refusal::ForeignToken,
        Some(100) if says("must provide an app access token") => Refusal::App(AppFault::NotPrivileged),
        Some(100) if says("Invalid appsecret_proof") => Refusal::App(AppFault::WrongSecret),
        Some(100) if says("require an appsecret_proof") => Refusal::App(AppFault::NotPrivileged),
        Some(190 | 102) => Refusal::App(AppFault::WrongSecret),
        Some(code) if is_throttle(code) => Refusal::Throttled,
        Some(code) if is_trouble(code) => Refusal::Unavailable,
        _ if error.is_transient == Some(true) => Refusal::Unavailable,
        Some(_) => Refusal::Refused,
        None => by_status(status),
    }
}

/// The error was answered to the exchange or the revocation of a token, where the app proves itself with its secret: a wrong one has its own
/// words there (reference §3.5), so a bare 190 is no fault of the app.
pub fn exchange_refusal(error: &GraphError, status: u16) -> Refusal {
    match refusal(error, status) {
        Refusal::App(AppFault::WrongSecret) if matches!(error.code, Some(190 | 102)) => Refusal::Refused,
        other => other,
    }
}

/// An answer that is no Graph error at all: only its status is left to go by.
pub const fn by_status(status: u16) -> Refusal {
    match status {
        429 => Refusal::Throttled,
        500..=599 => Refusal::Unavailable,
        _ => Refusal::Refused,
    }
}

/// The label of `tokenwatch_provider_errors_total`: the codes that the reference knows, else `other`.
pub fn code_label(code: i64) -> &'static str {
    KNOWN_CODES.iter().find(|(known, _)| *known == code).map_or("other", |(_, label)| label)
}

const UNSTATED: Validity = Validity::Revoked(Cause::Unstated);

const fn by_subcode(subcode: i64) -> Option<Validity> {
    Some(match subcode {
        458 => Validity::Revoked(Cause::AppRemoved),
        459 => Validity::Revoked(Cause::Checkpointed),
        460 => Validity::Revoked(Cause::PasswordChanged),
        463 => Validity::Expired,
        464 => Validity::Revoked(Cause::Unconfirmed),
        467 => Validity::Revoked(Cause::LoggedOut),
        492 => Validity::Revoked(Cause::RoleLost),
        493 => Validity::Revoked(Cause::Inactive),
        _ => return None,
    })
}

/// Meta drops subcodes in places (reference §6.1), so the message must be able to tell on its own.
fn by_message(message: &str) -> Option<Validity> {
    let found = BY_MESSAGE.iter().find(|(words, _)| message.contains(words));
    found.map(|(_, validity)| *validity)
}

const BY_MESSAGE: [(&str, Validity); 6] = [
    ("Session has expired", Validity::Expired),
    ("changed their password", Validity::Revoked(Cause::PasswordChanged)),
    ("changed the password", Validity::Revoked(Cause::PasswordChanged)),
    ("user logged out", Validity::Revoked(Cause::LoggedOut)),
    ("has not authorized application", Validity::Revoked(Cause::AppRemoved)),
    ("checkpoint", Validity::Revoked(Cause::Checkpointed)),
];

/// Words for a token of which nothing can be read (reference §6.3).
const UNDECODED: [&str; 3] = ["could not be decrypted", "Cannot parse access token", "Malformed access token"];

/// After a throttle without a time named, stay away for this long.
pub const DEFAULT_PAUSE: Span = Span::minutes(5);

/// Every code that has a label of its own.
pub const KNOWN_CODES: [(i64, &str); 38] = [
    (0, "0"),
    (1, "1"),
    (2, "2"),
    (3, "3"),
    (4, "4"),
    (10, "10"),
    (17, "17"),
    (32, "32"),
    (33, "33"),
    (100, "100"),
    (101, "101"),
    (102, "102"),
    (104, "104"),
    (190, "190"),
    (200, "200"),
    (341, "341"),
    (368, "368"),
    (452, "452"),
    (613, "613"),
    (803, "803"),
    (2_500, "2500"),
    (80_007, "80007"),
    (80_008, "80008"),
    (130_429, "130429"),
    (131_000, "131000"),
    (131_005, "131005"),
    (131_016, "131016"),
    (131_030, "131030"),
    (131_031, "131031"),
    (131_042, "131042"),
    (131_047, "131047"),
    (131_048, "131048"),
    (131_056, "131056"),
    (131_057, "131057"),
    (132_001, "132001"),
    (132_015, "132015"),
    (132_016, "132016"),
    (133_010, "133010"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: i64, subcode: Option<i64>, message: &str) -> GraphError {
        GraphError { code: Some(code), subcode, message: message.to_owned(), ..GraphError::default() }
    }

    #[test]
    fn fates_of_tokens() {
        let revoked = |cause| Some(Validity::Revoked(cause));
        for (code, subcode, message, expected) in [
            (190, Some(463), "", Some(Validity::Expired)),
            (190, Some(458), "", revoked(Cause::AppRemoved)),
            (190, Some(459), "", revoked(Cause::Checkpointed)),
            (102, Some(460), "", revoked(Cause::PasswordChanged)),
            (190, Some(464), "", revoked(Cause::Unconfirmed)),
            (190, Some(467), "", revoked(Cause::LoggedOut)),
            (190, Some(492), "", revoked(Cause::RoleLost)),
            (190, Some(493), "", revoked(Cause::Inactive)),
            (190, Some(99), "something new", revoked(Cause::Unstated)),
            (190, Some(99), "Session has expired on", Some(Validity::Expired)),
            (190, None, "Error validating access token: Session has expired at unix time 5.", Some(Validity::Expired)),
            (190, None, "The session is invalid because the user logged out.", revoked(Cause::LoggedOut)),
            (190, None, "The user has not authorized application 1.", revoked(Cause::AppRemoved)),
            (190, None, "The access token could not be decrypted", Some(Validity::Unreadable)),
            (190, None, "Invalid OAuth access token - Cannot parse access token", Some(Validity::Unreadable)),
            (0, None, "AuthException", Some(Validity::Unreadable)),
            (452, None, "Session key invalid", revoked(Cause::Unstated)),
            (10, None, "", None),
            (4, None, "", None),
        ] {
            let fate = token_fate(&error(code, subcode, message)).map(|fate| fate.validity);
            assert_eq!(fate, expected, "{code}/{subcode:?} {message}");
        }
    }

    #[test]
    fn refusals_of_callers() {
        use AppFault::{Blocked, Deleted, NotPrivileged, UnknownApp, WrongSecret};
        for (code, message, status, expected) in [
            (190, "Invalid OAuth access token signature.", 400, Refusal::App(WrongSecret)),
            (1, "Error validating client secret.", 400, Refusal::App(WrongSecret)),
            (1, "An unknown error occurred", 500, Refusal::Unavailable),
            (2, "Service temporarily unavailable", 400, Refusal::Unavailable),
            (101, "Missing client_id parameter.", 400, Refusal::App(UnknownApp)),
            (190, "Error validating application. Invalid application ID.", 400, Refusal::App(UnknownApp)),
            (
                190,
                "Error validating application. Cannot get application info due to a system error.",
                400,
                Refusal::App(UnknownApp),
            ),
            (190, "Error validating application. Application has been deleted.", 400, Refusal::App(Deleted)),
            (200, "API access blocked.", 400, Refusal::App(Blocked)),
            (100, "(#100) The App_id in the input_token did not match the Viewing App", 400, Refusal::ForeignToken),
            (
                100,
                "(#100) You must provide an app access token, or a user access token that is an owner or developer of the app",
                400,
                Refusal::App(NotPrivileged),
            ),
            (100, "Invalid appsecret_proof provided in the API argument", 400, Refusal::App(WrongSecret)),
            (100, "(#100) Missing parameter", 400, Refusal::Refused),
            (104, "An access token is required to request this resource.", 401, Refusal::Refused),
            (4, "Application request limit reached", 400, Refusal::Throttled),
            (80_008, "too many calls", 429, Refusal::Throttled),
            (613, "", 400, Refusal::Throttled),
            (10, "", 500, Refusal::Refused),
        ] {
            assert_eq!(refusal(&error(code, None, message), status), expected, "{code} {message}");
        }
        assert_eq!(by_status(503), Refusal::Unavailable);
        assert_eq!(by_status(429), Refusal::Throttled);
        assert_eq!(by_status(404), Refusal::Refused);
    }
}
