//! Who and what there is: apps, users, pages, WABAs, numbers and the tokens issued to them, and what befalls them.
//! Must never do I/O, read a clock or draw a random number: the same calls make the same world.

use std::collections::{BTreeMap, BTreeSet};

use super::faults::Faults;
use super::switches::Switches;
use super::token::{self, Event, GranularScopes, Lifetime, Token, TokenKind};
use super::usage::Usage;
use super::waba::{Health, PhoneNumber, SentMessage, Waba};

/// The whole simulated platform.
#[derive(Debug, Default)]
pub struct World {
    /// Behaviours in force.
    pub switches: Switches,
    /// Faults waiting for their request.
    pub faults: Faults,
    pub(super) apps: BTreeMap<String, App>,
    pub(super) users: BTreeMap<String, User>,
    pub(super) pages: BTreeMap<String, Page>,
    pub(super) wabas: BTreeMap<String, Waba>,
    pub(super) numbers: BTreeMap<String, PhoneNumber>,
    pub(super) tokens: BTreeMap<String, Token>,
    pub(super) usage: Usage,
    pub(super) sent: Vec<SentMessage>,
    minted: u64,
    pub(super) answered: u64,
}

/// A Meta app.
#[derive(Debug, Clone)]
pub struct App {
    /// 15 or 16 digits.
    pub id: String,
    /// Display name.
    pub name: String,
    /// 32 hex digits.
    pub secret: String,
    /// Its standing with Meta.
    pub state: AppState,
    /// "Require App Secret" is on: calls need `appsecret_proof` (§5).
    pub require_app_secret: bool,
    /// Configured as Native/Desktop: app tokens are ignored as if none were sent (§2.3).
    pub native: bool,
    /// Calls with an app token allowed in a rolling hour; none = unlimited and no usage header (§7).
    pub calls_per_hour: Option<u32>,
    /// What `health_status` says of it (§9.3).
    pub health: Health,
}

impl App {
    /// A live app in its default settings.
    pub fn new(id: &str, name: &str, secret: &str) -> Self {
        Self {
            id: id.to_owned(),
            name: name.to_owned(),
            secret: secret.to_owned(),
            state: AppState::Live,
            require_app_secret: false,
            native: false,
            calls_per_hour: None,
            health: Health::available(),
        }
    }

    /// The app token in the form anybody can write: `ID|SECRET`.
    pub fn inline_token(&self) -> String {
        format!("{}|{}", self.id, self.secret)
    }

    /// The app token in the form `client_credentials` returns (§11): the id and 27 base64url characters. The same
    /// string until the secret is reset.
    pub fn returned_token(&self) -> String {
        let seed = format!("app token {} {}", self.id, self.secret);
        format!("{}|{}", self.id, token::stretch(&seed, token::BASE64URL, 27))
    }
}

/// Whether Meta lets an app call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AppState {
    /// Yes.
    #[default]
    Live,
    /// 190 `Application has been deleted.`
    Deleted,
    /// 200 `API access blocked.` on every endpoint.
    Blocked,
}

/// What happens to an app (§13).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppEvent {
    /// It is deleted.
    Deleted,
    /// Meta restricts it.
    Blocked,
    /// Meta lifts the restriction; its tokens work again.
    Unblocked,
    /// It gets a new secret: app tokens made with the old one, and all user tokens so far, are dead.
    SecretReset {
        /// The new secret.
        secret: String,
    },
}

/// A person, or a system user, as one app sees them: the id is app-scoped (§2.1), so a user has one app.
#[derive(Debug, Clone)]
pub struct User {
    /// App-scoped id.
    pub id: String,
    /// Display name.
    pub name: String,
    /// The app.
    pub app: String,
    /// Has a developer or administrator role on the app, so that their token may debug others (§2).
    pub developer: bool,
}

impl User {
    /// A user without a role.
    pub fn new(app: &str, id: &str, name: &str) -> Self {
        Self { id: id.to_owned(), name: name.to_owned(), app: app.to_owned(), developer: false }
    }

    /// The same user with a developer role.
    #[must_use]
    pub fn developer(self) -> Self {
        Self { developer: true, ..self }
    }
}

/// A Facebook page.
#[derive(Debug, Clone)]
pub struct Page {
    /// Page id.
    pub id: String,
    /// Display name.
    pub name: String,
    /// Users with a role on it.
    pub managers: BTreeSet<String>,
}

impl Page {
    /// A page with the users who manage it.
    pub fn new(id: &str, name: &str, managers: &[&str]) -> Self {
        Self {
            id: id.to_owned(),
            name: name.to_owned(),
            managers: managers.iter().map(|user| (*user).to_owned()).collect(),
        }
    }
}

/// Families whose tokens core Graph cannot decode (§4, §11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtherFamily {
    /// Instagram Login.
    Instagram,
    /// Threads.
    Threads,
}

/// Founding the world.
impl World {
    /// An empty world with default behaviours.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an app, or replaces the one with its id.
    pub fn add_app(&mut self, app: App) {
        self.apps.insert(app.id.clone(), app);
    }

    /// Adds a user, or replaces the one with their id.
    pub fn add_user(&mut self, user: User) {
        self.users.insert(user.id.clone(), user);
    }

    /// Adds a page, or replaces the one with its id.
    pub fn add_page(&mut self, page: Page) {
        self.pages.insert(page.id.clone(), page);
    }

    /// Adds a WhatsApp Business Account, or replaces the one with its id.
    pub fn add_waba(&mut self, waba: Waba) {
        self.wabas.insert(waba.id.clone(), waba);
    }

    /// Adds a phone number, or replaces the one with its id.
    pub fn add_phone_number(&mut self, number: PhoneNumber) {
        self.numbers.insert(number.id.clone(), number);
    }

    /// An app, to read or to change.
    pub fn app_mut(&mut self, id: &str) -> Option<&mut App> {
        self.apps.get_mut(id)
    }

    /// A WhatsApp Business Account, to read or to change.
    pub fn waba_mut(&mut self, id: &str) -> Option<&mut Waba> {
        self.wabas.get_mut(id)
    }

    /// A phone number, to read or to change.
    pub fn phone_number_mut(&mut self, id: &str) -> Option<&mut PhoneNumber> {
        self.numbers.get_mut(id)
    }

    /// A token issued before, by its string.
    pub fn token(&self, token: &str) -> Option<&Token> {
        self.tokens.get(token)
    }

    /// The WhatsApp messages accepted so far.
    pub fn sent_messages(&self) -> &[SentMessage] {
        &self.sent
    }
}

/// Issuing tokens. `now` is in unix seconds. A user nobody added has no app, and their tokens are refused as such.
impl World {
    /// A person's short-lived token.
    pub fn issue_short_user(&mut self, user: &str, scopes: &[&str], now: i64) -> String {
        self.keep(Token::short_user(&self.app_of(user), user, scopes, now))
    }

    /// A person's 60-day token.
    pub fn issue_long_user(&mut self, user: &str, scopes: &[&str], now: i64) -> String {
        self.keep(Token::long_user(&self.app_of(user), user, scopes, now))
    }

    /// The token of WhatsApp's "API Setup" page.
    pub fn issue_api_setup(&mut self, user: &str, scopes: &[&str], now: i64) -> String {
        self.keep(Token::api_setup(&self.app_of(user), user, scopes, now))
    }

    /// A system user's token.
    pub fn issue_system_user(&mut self, user: &str, scopes: &[&str], life: Lifetime, now: i64) -> String {
        let app = self.app_of(user);
        self.keep(Token::system_user(&app, user, scopes, life, now))
    }

    /// The page token a living user token gives, the same string while that lives; nothing when the parent is dead,
    /// is no user's, or its user has no role on the page.
    pub fn issue_page(&mut self, parent: &str, page: &str, now: i64) -> Option<String> {
        let parent_token = self.tokens.get(parent)?;
        let managed = self.pages.get(page)?.managers.contains(&parent_token.user);
        let usable = parent_token.refusal(&self.switches, now).is_none();
        if !managed || !usable || !parent_token.is_user() {
            return None;
        }
        let made_before = self.tokens.iter().find(|(_, token)| {
            let same = matches!(&token.kind, TokenKind::Page { page: p, parent: q, .. } if p == page && q == parent);
            same && token.defect(&self.switches, now).is_none()
        });
        if let Some((string, _)) = made_before {
            return Some(string.clone());
        }
        let token = parent_token.page(parent, page, now);
        Some(self.keep(token))
    }

    /// A token of another family: a string of its shape that this host cannot decode.
    pub fn issue_other_family(&mut self, family: OtherFamily) -> String {
        let prefix = match family {
            OtherFamily::Instagram => "IGAA",
            OtherFamily::Threads => "THAA",
        };
        let seed = format!("{prefix} {}", self.next_serial());
        format!("{prefix}{}", token::stretch(&seed, token::ALPHANUMERIC, 170))
    }

    pub(super) fn keep(&mut self, token: Token) -> String {
        let string = token::mint(&token.app, self.next_serial());
        self.tokens.insert(string.clone(), token);
        string
    }

    fn next_serial(&mut self) -> u64 {
        self.minted += 1;
        self.minted
    }

    fn app_of(&self, user: &str) -> String {
        let user = self.users.get(user);
        user.map(|user| user.app.clone()).unwrap_or_default()
    }
}

/// What befalls users, apps and tokens.
impl World {
    /// An event in a user's life: it ends the tokens they hold now, not the ones issued later.
    pub fn user_event(&mut self, user: &str, event: Event, now: i64) {
        for token in self.tokens.values_mut().filter(|token| token.user == user) {
            token.end(event, now);
        }
        if event == Event::LostPageRole {
            for page in self.pages.values_mut() {
                page.managers.remove(user);
            }
        }
    }

    /// An event in an app's life.
    pub fn app_event(&mut self, app: &str, event: AppEvent, now: i64) {
        let Some(known) = self.apps.get_mut(app) else {
            return;
        };
        match event {
            AppEvent::Deleted => known.state = AppState::Deleted,
            AppEvent::Blocked => known.state = AppState::Blocked,
            AppEvent::Unblocked => known.state = AppState::Live,
            AppEvent::SecretReset { secret } => {
                known.secret = secret;
                // Meta's words for 460 cover it: "changed the session for security reasons".
                for token in self.tokens.values_mut().filter(|token| token.app == app) {
                    token.end(Event::PasswordChanged, now);
                }
            }
        }
    }

    /// Revokes one token, at once (§3.4). False when the world does not hold it; so for the setters below.
    pub fn revoke(&mut self, token: &str, now: i64) -> bool {
        self.change(token, |token| token.end(Event::LoggedOut, now))
    }

    /// Moves a token's expiry, in unix seconds; none = never.
    pub fn set_expiry(&mut self, token: &str, at: Option<i64>) -> bool {
        self.change(token, |token| token.expires_at = at)
    }

    /// Moves the end of a token's data access, in unix seconds; none = no window.
    pub fn set_data_access(&mut self, token: &str, at: Option<i64>) -> bool {
        self.change(token, |token| token.data_access_expires_at = at)
    }

    /// Replaces a token's scopes; granular scopes stay as they are.
    pub fn set_scopes(&mut self, token: &str, scopes: &[&str]) -> bool {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        self.change(token, |token| token.scopes = scopes)
    }

    /// Replaces a token's granular scopes.
    pub fn set_granular_scopes(&mut self, token: &str, granular_scopes: GranularScopes) -> bool {
        self.change(token, |token| token.granular_scopes = granular_scopes)
    }

    fn change(&mut self, token: &str, apply: impl FnOnce(&mut Token)) -> bool {
        self.tokens.get_mut(token).map(apply).is_some()
    }
}
