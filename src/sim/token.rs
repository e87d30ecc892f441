//! One access token: its kind, its dates, what it covers, and the error it has earned (§3.1, §6.3, §13).
//! Must never decide who may use a token for what: that is for the endpoints.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::answers::GraphError;
use super::dates;
use super::switches::{ExpiredWording, Switches};

/// 60 days in seconds: the life of a long-lived token (§13).
pub const LONG_LIFE: i64 = 5_184_000;
/// 90 days in seconds: the data access window (§2.4, §13).
pub const DATA_ACCESS_WINDOW: i64 = 7_776_000;

const HOUR: i64 = 3600;

/// What sort of token it is (§3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenKind {
    /// A person's token of one to two hours.
    ShortUser,
    /// A person's token of 60 days.
    LongUser,
    /// The token of the "API Setup" page of WhatsApp: a person's, under 24 hours.
    ApiSetup,
    /// A page's token, made from a person's.
    Page {
        /// The page it acts for.
        page: String,
        /// The token it was made from.
        parent: String,
        /// Whether the parent was long-lived: then the page token has no expiry date.
        long_lived: bool,
    },
    /// A system user's token.
    SystemUser,
}

/// How long a system-user token lives (§3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// No expiry date.
    Never,
    /// 60 days from generation or refresh.
    SixtyDays,
}

/// What happens to a person and ends the tokens given to them so far (§6.2, §13).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// 190/460.
    PasswordChanged,
    /// 190/467; a revoked token answers the same.
    LoggedOut,
    /// 190/458.
    Deauthorized,
    /// 190/459.
    Checkpoint,
    /// 190/464.
    Unconfirmed,
    /// 190/492; ends only page tokens.
    LostPageRole,
    /// 190/493.
    Inactive90Days,
}

/// `granular_scopes` of a token (§2.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum GranularScopes {
    /// The field is absent.
    #[default]
    Absent,
    /// The field is null.
    Null,
    /// One entry for each scope.
    Listed(Vec<GranularScope>),
}

/// One entry of `granular_scopes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GranularScope {
    /// The permission.
    pub scope: String,
    /// The objects it covers.
    pub targets: Targets,
}

/// `target_ids` of an entry (§2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Targets {
    /// The field is absent: everything.
    All,
    /// The field is null: everything.
    Null,
    /// Exactly these.
    Ids(Vec<String>),
}

impl GranularScope {
    /// A scope that covers everything.
    pub fn all(scope: &str) -> Self {
        Self { scope: scope.to_owned(), targets: Targets::All }
    }

    /// A scope that covers these objects.
    pub fn of(scope: &str, ids: &[&str]) -> Self {
        Self { scope: scope.to_owned(), targets: Targets::Ids(owned(ids)) }
    }
}

/// A token the world has issued.
#[derive(Debug, Clone)]
pub struct Token {
    /// Its kind.
    pub kind: TokenKind,
    /// The app it was issued for.
    pub app: String,
    /// The app-scoped user or the system user it belongs to.
    pub user: String,
    /// Unix seconds.
    pub issued_at: i64,
    /// Unix seconds; none = never.
    pub expires_at: Option<i64>,
    /// Unix seconds; none = no window (system users).
    pub data_access_expires_at: Option<i64>,
    /// Permissions, fixed at issue (§10).
    pub scopes: Vec<String>,
    /// Permissions by object.
    pub granular_scopes: GranularScopes,
    /// What ended it before its time.
    pub ended: Option<Event>,
}

impl Token {
    pub(super) fn short_user(app: &str, user: &str, scopes: &[&str], now: i64) -> Self {
        Self {
            // On a full hour, one to two hours away.
            expires_at: Some((now.div_euclid(HOUR) + 2) * HOUR),
            ..Self::fresh(TokenKind::ShortUser, app, user, scopes, now)
        }
    }

    pub(super) fn long_user(app: &str, user: &str, scopes: &[&str], now: i64) -> Self {
        Self { expires_at: Some(now + LONG_LIFE), ..Self::fresh(TokenKind::LongUser, app, user, scopes, now) }
    }

    pub(super) fn api_setup(app: &str, user: &str, scopes: &[&str], now: i64) -> Self {
        Self {
            // Under 24 hours, on a full hour as every short-lived sample.
            expires_at: Some((now.div_euclid(HOUR) + 23) * HOUR),
            ..Self::fresh(TokenKind::ApiSetup, app, user, scopes, now)
        }
    }

    pub(super) fn system_user(app: &str, user: &str, scopes: &[&str], life: Lifetime, now: i64) -> Self {
        let granted = scopes.iter().map(|scope| GranularScope::all(scope));
        Self {
            expires_at: (life == Lifetime::SixtyDays).then_some(now + LONG_LIFE),
            data_access_expires_at: None,
            granular_scopes: GranularScopes::Listed(granted.collect()),
            ..Self::fresh(TokenKind::SystemUser, app, user, scopes, now)
        }
    }

    /// The page's token follows its parent's person, not its parent's expiry (§13); only one made from a short-lived
    /// token keeps that date.
    pub(super) fn page(&self, parent: &str, page: &str, now: i64) -> Self {
        let long_lived = self.is_long_lived();
        Self {
            kind: TokenKind::Page { page: page.to_owned(), parent: parent.to_owned(), long_lived },
            issued_at: now,
            expires_at: self.expires_at.filter(|_| !long_lived),
            ..self.clone()
        }
    }

    fn fresh(kind: TokenKind, app: &str, user: &str, scopes: &[&str], now: i64) -> Self {
        Self {
            kind,
            app: app.to_owned(),
            user: user.to_owned(),
            issued_at: now,
            expires_at: None,
            data_access_expires_at: Some(now + DATA_ACCESS_WINDOW),
            scopes: owned(scopes),
            granular_scopes: GranularScopes::Absent,
            ended: None,
        }
    }

    /// Whether a person stands behind it directly, so that it may act for pages.
    pub(super) fn is_user(&self) -> bool {
        !matches!(self.kind, TokenKind::Page { .. })
    }

    /// Long-lived tokens show `issued_at`, short-lived ones do not (§2.1).
    pub(super) fn is_long_lived(&self) -> bool {
        match self.kind {
            TokenKind::ShortUser | TokenKind::ApiSetup => false,
            TokenKind::LongUser | TokenKind::SystemUser => true,
            TokenKind::Page { long_lived, .. } => long_lived,
        }
    }

    /// `type` of debug_token (§2.1).
    pub(super) fn type_name(&self) -> &'static str {
        match self.kind {
            TokenKind::ShortUser | TokenKind::LongUser | TokenKind::ApiSetup => "USER",
            TokenKind::Page { .. } => "PAGE",
            TokenKind::SystemUser => "SYSTEM_USER",
        }
    }

    /// Ends the token, unless it was dead already: the first cause stays.
    pub(super) fn end(&mut self, event: Event, now: i64) {
        let spares = event == Event::LostPageRole && self.is_user();
        if !spares && self.ended.is_none() && !self.is_expired(now) {
            self.ended = Some(event);
        }
    }

    pub(super) fn is_expired(&self, now: i64) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// Why the token is dead: what debug_token reports, and every call answers.
    pub(super) fn defect(&self, switches: &Switches, now: i64) -> Option<GraphError> {
        if let Some(event) = self.ended {
            return Some(ended(event, &self.app));
        }
        let at = self.expires_at.filter(|at| *at <= now)?;
        Some(expired(switches.expired_wording, at, now))
    }

    /// Why the token cannot be used. A lapsed data window refuses the use of a token that debug_token still calls
    /// valid (§2.3, §2.4).
    pub(super) fn refusal(&self, switches: &Switches, now: i64) -> Option<GraphError> {
        let lapsed = self.data_access_expires_at.is_some_and(|at| at <= now);
        self.defect(switches, now).or_else(|| lapsed.then(|| ended(Event::Inactive90Days, &self.app)))
    }

    /// Whether a scope was granted, for any object at all.
    pub(super) fn has_scope(&self, scope: &str) -> bool {
        self.scopes.iter().any(|granted| granted == scope)
    }

    /// Whether a granted scope reaches an object (§10).
    pub(super) fn covers(&self, scope: &str, target: &str) -> bool {
        let GranularScopes::Listed(entries) = &self.granular_scopes else {
            return self.has_scope(scope);
        };
        let mut limits = entries.iter().filter(|entry| entry.scope == scope);
        self.has_scope(scope)
            && limits.all(|entry| match &entry.targets {
                Targets::All | Targets::Null => true,
                Targets::Ids(ids) => ids.iter().any(|id| id == target),
            })
    }
}

impl GranularScopes {
    /// The wire form; nothing when the field is absent.
    pub(super) fn to_wire(&self, id: impl Fn(&str) -> Value) -> Option<Value> {
        let entry = |entry: &GranularScope| match &entry.targets {
            Targets::All => json!({"scope": entry.scope}),
            Targets::Null => json!({"scope": entry.scope, "target_ids": null}),
            Targets::Ids(ids) => {
                let ids: Vec<Value> = ids.iter().map(|target| id(target)).collect();
                json!({"scope": entry.scope, "target_ids": ids})
            }
        };
        match self {
            Self::Absent => None,
            Self::Null => Some(Value::Null),
            Self::Listed(entries) => Some(entries.iter().map(entry).collect()),
        }
    }
}

/// A token string of the shape of §11: `EAA`, four characters that vary with the app, then alphanumerics up to
/// `ZD`; 180 to 239 long.
pub(super) fn mint(app: &str, serial: u64) -> String {
    let length = 174 + usize::try_from(serial * 7 % 60).unwrap_or_default();
    format!(
        "EAA{}{}ZD",
        stretch(&format!("app {app}"), ALPHANUMERIC, 4),
        stretch(&format!("token {app} {serial}"), ALPHANUMERIC, length - 3)
    )
}

/// Text of a wanted length out of a hash: the world has no other randomness.
pub(super) fn stretch(seed: &str, alphabet: &[u8], length: usize) -> String {
    let mut text = String::with_capacity(length + 32);
    for block in 0_u32.. {
        if text.len() >= length {
            break;
        }
        let digest = Sha256::digest(format!("{seed} {block}"));
        let character = |byte: &u8| char::from(alphabet[usize::from(*byte) % alphabet.len()]);
        text.extend(digest.iter().map(character));
    }
    text.truncate(length);
    text
}

pub(super) const ALPHANUMERIC: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
pub(super) const BASE64URL: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The wire strings of §6.3. Those of 459, 464, 492 and 493 are not recorded there: the words follow §6.2.
fn ended(event: Event, app: &str) -> GraphError {
    let (subcode, text) = match event {
        Event::PasswordChanged => (
            460,
            "The session has been invalidated because the user changed their password or Facebook has changed the session for security reasons.".to_owned(),
        ),
        Event::LoggedOut => (
            467,
            "The session is invalid because the user logged out.".to_owned(),
        ),
        Event::Deauthorized => (
            458,
            format!("The user has not authorized application {app}."),
        ),
        Event::Checkpoint => (
            459,
            "You cannot access the app till you log in to www.facebook.com and follow the instructions given.".to_owned(),
        ),
        Event::Unconfirmed => (
            464,
            "Sessions for the user are not allowed because the user is not a confirmed user.".to_owned(),
        ),
        Event::LostPageRole => (
            492,
            "The user associated with the Page access token does not have an appropriate role on the Page.".to_owned(),
        ),
        Event::Inactive90Days => (
            493,
            "The user has not engaged the app for longer than 90 days.".to_owned(),
        ),
    };
    GraphError::new(190, format!("Error validating access token: {text}")).subcode(subcode)
}

fn expired(wording: ExpiredWording, at: i64, now: i64) -> GraphError {
    let text = match wording {
        ExpiredWording::WithCurrentTime => {
            format!("Session has expired on {}. The current time is {}.", dates::pacific(at), dates::pacific(now))
        }
        ExpiredWording::WithoutCurrentTime => {
            format!("Session has expired on {}.", dates::pacific(at))
        }
        ExpiredWording::UnixTimes => {
            format!("Session has expired at unix time {at}. The current unix time is {now}.")
        }
    };
    GraphError::new(190, format!("Error validating access token: {text}")).subcode(463)
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::{
        Event, ExpiredWording, GranularScope, GranularScopes, GraphError, HOUR, LONG_LIFE, Lifetime, Switches, Token,
        expired, mint,
    };

    const NOW: i64 = 1_772_368_496;

    #[test]
    fn token_strings_have_the_shape_of_the_field() {
        for serial in 0..200 {
            let token = mint("634900000000001", serial);
            assert!(token.starts_with("EAA") && token.ends_with("ZD"));
            assert!((180..=290).contains(&token.len()), "{}", token.len());
            assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            assert_ne!(token, mint("634900000000001", serial + 1));
            assert_eq!(token, mint("634900000000001", serial));
        }
    }

    #[test]
    fn dates_follow_the_kind() {
        let short = Token::short_user("1", "2", &[], NOW);
        let left = short.expires_at.unwrap_or_default() - NOW;
        assert_eq!(short.expires_at.unwrap_or_default() % HOUR, 0);
        assert!((HOUR..=2 * HOUR).contains(&left));

        let setup = Token::api_setup("1", "2", &[], NOW);
        assert!(setup.expires_at.is_some_and(|at| at - NOW < 24 * HOUR));

        let long = Token::long_user("1", "2", &[], NOW);
        assert_eq!(long.expires_at, Some(NOW + 5_184_000));
        assert_eq!(long.data_access_expires_at, Some(NOW + 7_776_000));

        let never = Token::system_user("1", "2", &[], Lifetime::Never, NOW);
        assert_eq!((never.expires_at, never.data_access_expires_at), (None, None));
        let sixty = Token::system_user("1", "2", &[], Lifetime::SixtyDays, NOW);
        assert_eq!(sixty.expires_at, Some(NOW + 5_184_000));

        assert_eq!(long.page("p", "9", NOW).expires_at, None);
        assert_eq!(short.page("p", "9", NOW).expires_at, short.expires_at);
    }

    #[test]
    fn each_event_has_its_subcode_and_its_words() {
        let prefix = "Error validating access token: ";
        for (event, subcode, words) in [
            (
                Event::PasswordChanged,
                460,
                "The session has been invalidated because the user changed their password or Facebook has changed the session for security reasons.",
            ),
            (Event::LoggedOut, 467, "The session is invalid because the user logged out."),
            (Event::Deauthorized, 458, "The user has not authorized application 1."),
            (Event::Checkpoint, 459, "You cannot access the app"),
            (Event::Unconfirmed, 464, "Sessions for the user are not allowed"),
            (Event::Inactive90Days, 493, "The user has not engaged the app"),
        ] {
            let mut token = Token::long_user("1", "2", &[], NOW);
            token.end(event, NOW);
            let error = token.defect(&Switches::default(), NOW + 1);
            let error = error.unwrap_or_else(GraphError::no_token);
            assert_eq!((error.code, error.subcode), (190, Some(subcode)));
            assert!(error.message.starts_with(&format!("{prefix}{words}")), "{}", error.message);
        }
    }

    #[test]
    fn expired_tokens_speak_in_three_wordings() {
        let at = 1_639_227_600;
        let now = at + 18_810;
        for (wording, text) in [
            (
                ExpiredWording::WithCurrentTime,
                "Error validating access token: Session has expired on Saturday, 11-Dec-21 05:00:00 PST. The current time is Saturday, 11-Dec-21 10:13:30 PST.",
            ),
            (
                ExpiredWording::WithoutCurrentTime,
                "Error validating access token: Session has expired on Saturday, 11-Dec-21 05:00:00 PST.",
            ),
            (
                ExpiredWording::UnixTimes,
                "Error validating access token: Session has expired at unix time 1639227600. The current unix time is 1639246410.",
            ),
        ] {
            let error = expired(wording, at, now);
            assert_eq!((error.subcode, error.message.as_str()), (Some(463), text));
        }
    }

    #[test]
    fn the_first_cause_of_death_stays() {
        let switches = Switches::default();
        let mut token = Token::long_user("1", "2", &[], NOW);
        token.end(Event::LostPageRole, NOW);
        assert!(token.defect(&switches, NOW).is_none(), "only pages have roles");
        token.end(Event::Checkpoint, NOW);
        token.end(Event::LoggedOut, NOW);
        let subcode = |token: &Token, now| token.defect(&switches, now).and_then(|e| e.subcode);
        assert_eq!(subcode(&token, NOW + 2 * LONG_LIFE), Some(459));

        let mut late = Token::long_user("1", "2", &[], NOW);
        late.end(Event::LoggedOut, NOW + LONG_LIFE);
        assert_eq!(subcode(&late, NOW + LONG_LIFE), Some(463));
    }

    #[test]
    fn a_lapsed_data_window_refuses_use_only() {
        let switches = Switches::default();
        let mut page = Token::long_user("1", "2", &[], NOW).page("p", "9", NOW);
        page.data_access_expires_at = Some(NOW + 5);
        assert!(page.refusal(&switches, NOW + 4).is_none());
        assert!(page.defect(&switches, NOW + 5).is_none());
        let subcode = page.refusal(&switches, NOW + 5).and_then(|error| error.subcode);
        assert_eq!(subcode, Some(493));
    }

    #[test]
    fn missing_targets_cover_everything() {
        let mut token = Token::system_user("1", "2", &["a", "b"], Lifetime::Never, NOW);
        assert!(token.covers("a", "7") && !token.covers("c", "7"));
        token.granular_scopes = GranularScopes::Listed(vec![GranularScope::of("a", &["7"]), GranularScope::all("b")]);
        assert!(token.covers("a", "7") && !token.covers("a", "8") && token.covers("b", "8"));
        token.granular_scopes = GranularScopes::Null;
        assert!(token.covers("a", "8"));
    }
}
