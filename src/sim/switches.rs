//! Where the field disagrees with itself: one switch for each behaviour that was seen in more than one way.
//! Must never hold state: a switch set back leaves no trace.

/// The behaviours in force. The default is the best-sourced variant of each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a behaviour of its own, set by name")]
pub struct Switches {
    /// What a second exchange of a living long-lived user token does (§3.3).
    pub reexchange: Reexchange,
    /// What the exchange says about the new expiry (§3.2).
    pub expires_in: ExpiresIn,
    /// A re-exchange that extends gives back the string it was given.
    pub same_string: bool,
    /// System-user tokens must expire: leaving out `set_token_expires_in_60_days` is refused (§3.4).
    pub system_tokens_must_expire: bool,
    /// Wording of an expired token (§6.3).
    pub expired_wording: ExpiredWording,
    /// Wording of a token that cannot be decoded (§2.2).
    pub undecodable: Undecodable,
    /// Answer to an app id nobody has (§2.2).
    pub unknown_app: UnknownApp,
    /// A wrong client secret carries subcode 33, as one fixture shows (§3.5).
    pub wrong_secret_subcode: bool,
    /// App, user, page and target ids are numbers, as they once were (§2.1).
    pub ids_as_numbers: bool,
    /// WhatsApp nodes answer 190 with HTTP 400 as core Graph does, not with 401 (§6.1).
    pub whatsapp_auth_as_400: bool,
    /// Throttled calls get HTTP 429, not 400 (§7).
    pub throttled_as_429: bool,
    /// WhatsApp management throttles with 80007, not 80008 (§6.2).
    pub throttled_as_80007: bool,
    /// "Require App Secret" spares calls with an app token (an open point, §15).
    pub proof_spares_app_tokens: bool,
    /// `success` of a revocation is a boolean, not the documented text (§3.4).
    pub revoke_says_true: bool,
    /// The version claimed to have executed the call, whatever was asked (§12).
    pub executed_version: Option<String>,
    /// Seconds added to every `Date` header.
    pub date_skew: i64,
}

/// §3.3.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reexchange {
    /// A fresh 60 days.
    #[default]
    Extends,
    /// Success, the same token and an unchanged expiry.
    Unchanged,
}

/// §3.2.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ExpiresIn {
    /// Remaining seconds.
    #[default]
    Stated,
    /// Absent; the token expires all the same.
    Absent,
    /// Absent, and debug_token then says never, with the data window unchanged.
    AbsentAndNever,
}

/// §6.3, subcode 463.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ExpiredWording {
    /// Both sentences, Pacific time.
    #[default]
    WithCurrentTime,
    /// The first sentence only.
    WithoutCurrentTime,
    /// The older form in unix time.
    UnixTimes,
}

/// §2.2, row "malformed".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Undecodable {
    /// `The access token could not be decrypted`, as captured.
    #[default]
    CouldNotBeDecrypted,
    /// `Invalid OAuth access token - Cannot parse access token`, the newer wording.
    CannotParse,
}

/// §2.2, row "unknown app id": two codes, two wordings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UnknownApp {
    /// 101 `Invalid application ID.`
    #[default]
    InvalidId101,
    /// 190 `Invalid application ID.`
    InvalidId190,
    /// 101 `Cannot get application info due to a system error.`
    SystemError101,
    /// 190 `Cannot get application info due to a system error.`
    SystemError190,
}
