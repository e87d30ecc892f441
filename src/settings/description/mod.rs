//! A provider described as data: what is asked, what the answers mean, where the facts stand, and how it gives another secret.
//!
//! The descriptions that are built in (`builtin`) and those of the operator (`[providers.NAME]`) are read by the same lines (`read`) and judged as
//! strictly. Nothing is asked here: `provider::declared` does what a description says.

pub mod builtin;
mod keys;
mod read;
pub mod template;

use std::collections::BTreeMap;

pub use keys::PROVIDER;
pub use read::fits;
pub(super) use read::read;
use template::{JsonTemplate, Template};

use crate::domain::inspection::{AppFault, Cause};
use crate::domain::renewal::OldSecret;
use crate::domain::time::Span;
use crate::domain::token::ProviderName;

/// A provider.
#[derive(Clone, PartialEq, Debug)]
pub struct Description {
    /// Its name in the configuration.
    pub name: ProviderName,
    /// As people write it.
    pub title: Box<str>,
    /// The page where a person makes and ends its tokens.
    pub manage: Option<url::Url>,
    /// What a person does to get a new token.
    pub steps: Vec<Box<str>>,
    /// What sort of token it is, where the answer does not say.
    pub kind: Option<Box<str>>,
    /// How its tokens begin.
    pub prefixes: Vec<Box<str>>,
    /// How it is known how a token is.
    pub source: Source,
    /// What else is needed.
    pub parameters: BTreeMap<Box<str>, Parameter>,
    /// Whether an app is asked with, in a check or the login before it.
    pub needs_app: bool,
    /// Whether an app is asked with only when another secret is wanted, or the old one is ended.
    pub renewal_needs_app: bool,
    /// The headers that tell of the rate limit.
    pub limits: Limits,
    /// The WhatsApp number behind a token.
    pub number: Option<NumberFacts>,
    /// How it gives another secret.
    pub rotate: Option<Rotate>,
    /// What ends a token.
    pub revoke: Option<Request>,
}

/// How it is known how a token is.
#[derive(Clone, PartialEq, Debug)]
pub enum Source {
    /// By asking over HTTP.
    Http(Box<Asking>),
    /// From the claims in the token itself.
    Jwt,
    /// From the certificate that a server shows.
    Certificate,
    /// From the date that a person wrote.
    Typed,
}

/// What is asked, and how the answer is read.
#[derive(Clone, PartialEq, Debug)]
pub struct Asking {
    /// Where it answers.
    pub base_url: Option<url::Url>,
    /// A request made before each other one.
    pub login: Option<Login>,
    /// The request that tells of a token.
    pub check: Request,
    /// What answers mean; the first that fits counts.
    pub answers: Vec<Rule>,
    /// Where the error code stands.
    pub code: Vec<Pointer>,
    /// Where the words stand.
    pub message: Vec<Pointer>,
    /// Where the facts stand.
    pub facts: Facts,
}

/// A request made before each other one.
#[derive(Clone, PartialEq, Debug)]
pub struct Login {
    /// The request.
    pub request: Request,
    /// Where what it gives stands.
    pub token: Pointer,
    /// What answers without it mean.
    pub answers: Vec<Rule>,
}

/// Something else that is needed.
#[derive(Clone, PartialEq, Debug)]
pub struct Parameter {
    /// What it is.
    pub doc: Box<str>,
    /// What may stand there.
    pub is: Is,
    /// How every value begins.
    pub begins: Box<str>,
    /// What counts where nothing is given.
    pub default: Option<Box<str>>,
    /// Whether it may be left out.
    pub optional: bool,
}

/// What may stand in a parameter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Is {
    /// Any text.
    Text,
    /// An address: `https://`, or `http://` on loopback.
    Url,
    /// The parts of a path, with slashes between them.
    Path,
    /// A duration above zero.
    Duration,
    /// A secret, named by its place.
    Secret,
    /// `host:port`.
    Address,
}

/// One request.
#[derive(Clone, PartialEq, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The address, or what is below the base.
    pub url: Template,
    /// The query.
    pub query: Vec<(Box<str>, Template)>,
    /// The headers.
    pub headers: Vec<(Box<str>, Template)>,
    /// User and password of basic authentication.
    pub basic: Option<(Template, Template)>,
    /// The body.
    pub body: Body,
}

/// A method of HTTP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// GET.
    Get,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// PATCH.
    Patch,
    /// DELETE.
    Delete,
}

impl Request {
    /// All texts of it.
    pub fn templates(&self) -> Vec<&Template> {
        let pairs = self.query.iter().chain(&self.headers).map(|(_, template)| template);
        let basic = self.basic.iter().flat_map(|(user, password)| [user, password]);
        let mut all: Vec<&Template> = std::iter::once(&self.url).chain(pairs).chain(basic).collect();
        match &self.body {
            Body::None => {}
            Body::Form(form) => all.extend(form.iter().map(|(_, template)| template)),
            Body::Json(json) => all.extend(json.templates()),
        }
        all
    }

    /// The parameters without which it cannot be sent. A line of the query, the headers or the body that an optional one fills is left out
    /// without it.
    pub fn needs(&self) -> impl Iterator<Item = &str> {
        let basic = self.basic.iter().flat_map(|(user, password)| [user, password]);
        std::iter::once(&self.url).chain(basic).flat_map(Template::holes).filter_map(template::Hole::parameter)
    }

    /// Whether the parameter of that name is in it.
    pub fn fills(&self, parameter: &str) -> bool {
        self.templates().iter().any(|template| template.holes().any(|hole| hole.parameter() == Some(parameter)))
    }
}

/// The body of a request.
#[derive(Clone, PartialEq, Debug)]
pub enum Body {
    /// None.
    None,
    /// A form.
    Form(Vec<(Box<str>, Template)>),
    /// A JSON document.
    Json(JsonTemplate),
}

/// A JSON pointer (RFC 6901).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Pointer(pub Box<str>);

/// What an answer means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Of which status; empty is any.
    pub statuses: Vec<Statuses>,
    /// What must stand where in the document.
    pub json: Vec<(Pointer, Vec<Wanted>)>,
    /// The same of headers.
    pub headers: Vec<(Box<str>, Vec<Wanted>)>,
    /// The same of the whole body.
    pub body: Option<Wanted>,
    /// What it means.
    pub means: Means,
    /// What is said of it.
    pub words: Option<Box<str>>,
}

/// One status, or a class of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Statuses {
    /// This one.
    One(u16),
    /// These hundred.
    Class(u16),
}

impl Statuses {
    /// Whether that status is among them.
    pub const fn holds(self, status: u16) -> bool {
        match self {
            Self::One(one) => one == status,
            Self::Class(hundreds) => status / 100 == hundreds,
        }
    }
}

/// What must stand somewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// Nothing, or null.
    Absent,
    /// Anything else.
    Present,
    /// A text in which `*` stands for any other.
    Like(Box<str>),
}

/// What an answer can mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Means {
    /// The token works.
    Valid,
    /// It works, but may not ask this.
    Forbidden,
    /// It ran out.
    Expired,
    /// It was ended early.
    Revoked(Cause),
    /// Nobody can make sense of it.
    Unreadable,
    /// Stay away for a while.
    Throttled,
    /// The provider is in trouble itself.
    Unavailable,
    /// It says nothing about the token.
    Unknown,
    /// The app that asks is at fault.
    AppFault(AppFault),
    /// The token belongs to another app.
    Foreign,
}

/// Where the facts stand.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// Of a list, the entry that counts.
    pub select: Option<Select>,
    /// When it ends.
    pub expires: Ends,
    /// When it was issued.
    pub issued: Option<Read>,
    /// What it may do.
    pub scopes: Option<Words>,
    /// What sort of token it is.
    pub kind: Option<Words>,
    /// Whose it is.
    pub user: Option<Words>,
    /// The app that it belongs to.
    pub app: Option<Words>,
}

/// When a token ends.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Ends {
    /// Nobody tells.
    #[default]
    Unknown,
    /// Never, all of them.
    Never,
    /// At a moment that stands somewhere.
    Read(Read),
}

/// The entry of a list that counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Select {
    /// Where the list stands.
    pub list: Pointer,
    /// What must stand where in the entry.
    pub matching: Vec<(Pointer, Template)>,
}

/// Where a word stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// In the document.
    Json(Pointer),
    /// In a header.
    Header(Box<str>),
}

/// Where a moment stands, and how it is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Read {
    /// Where.
    pub place: Place,
    /// How; of several the first that fits.
    pub formats: Vec<Format>,
    /// Whether nothing means never.
    pub missing_is_never: bool,
    /// Of which tokens that is so, by how they begin; empty is of all.
    pub missing_for: Vec<Box<str>>,
    /// Where it stands where nothing stands there.
    pub or: Option<Box<Self>>,
}

/// How a moment is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Format {
    /// Seconds since 1970.
    Unix,
    /// Milliseconds since 1970.
    UnixMilliseconds,
    /// Seconds from now.
    Seconds,
    /// RFC 3339.
    Rfc3339,
    /// RFC 2822.
    Rfc2822,
    /// A date: its first moment in UTC.
    Date,
    /// A layout of its own; without a zone in it, it is UTC.
    Layout(Box<str>),
}

/// Where words stand, and what stands between them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Words {
    /// Where.
    pub place: Place,
    /// Between them.
    pub split: Option<Box<str>>,
}

/// The headers that tell of the rate limit.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// The size of the budget.
    pub limit: Option<Box<str>>,
    /// What is left of it.
    pub remaining: Option<Box<str>>,
    /// When it is full again.
    pub reset: Option<Box<str>>,
    /// Whether that is in seconds from now; else since 1970.
    pub reset_in_seconds: bool,
    /// Whether the headers of the IETF's draft are sent.
    pub structured: bool,
}

/// The WhatsApp number behind a token.
#[derive(Clone, PartialEq, Debug)]
pub struct NumberFacts {
    /// The parameter that names it; `None` where the number is the token's own.
    pub by: Option<Box<str>>,
    /// What is asked; `None` where the answer of the token's check tells.
    pub check: Option<Request>,
    /// Of a list, the entry that counts.
    pub select: Option<Select>,
    /// Whether it can send.
    pub sending: Option<Pointer>,
    /// What stands there when it can, can send some, or cannot.
    pub words: [Vec<Box<str>>; 3],
    /// Its quality.
    pub quality: Option<Pointer>,
    /// The number itself.
    pub display: Option<Pointer>,
    /// Its account.
    pub account: Option<Pointer>,
    /// What is in the way.
    pub obstacles: Option<ObstacleFacts>,
    /// Meta's own `health_status`.
    pub health: Option<Pointer>,
}

/// Where it stands what is in the way of a number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObstacleFacts {
    /// The list.
    pub list: Pointer,
    /// In an entry of it, the code.
    pub code: Option<Pointer>,
    /// In an entry of it, the words.
    pub words: Option<Pointer>,
}

/// How a provider gives another secret.
#[derive(Clone, PartialEq, Debug)]
pub struct Rotate {
    /// What is sent before it.
    pub prepare: Option<Request>,
    /// What is sent.
    pub request: Request,
    /// What answers without a new secret mean.
    pub answers: Vec<Rule>,
    /// Where the new secret stands; `None` where it stays the same.
    pub secret: Option<Pointer>,
    /// When it ends.
    pub expires: Option<Read>,
    /// What becomes of the old one.
    pub old: OldSecret,
    /// Whether the request may be sent again.
    pub replayable: bool,
    /// Where the next refresh token stands.
    pub refresh_token: Option<Pointer>,
    /// How old a token must be.
    pub youngest: Span,
    /// What ends the old one.
    pub finish: Option<Request>,
}

impl Description {
    /// Whether its tokens are secrets that stand somewhere.
    pub const fn has_secret(&self) -> bool {
        !matches!(self.source, Source::Certificate | Source::Typed)
    }

    /// The error codes that its answers are told apart by.
    pub fn codes(&self) -> Vec<&str> {
        let Source::Http(asking) = &self.source else { return Vec::new() };
        let of_login = asking.login.iter().flat_map(|login| &login.answers);
        let of_rotation = self.rotate.iter().flat_map(|rotate| &rotate.answers);
        let rules = asking.answers.iter().chain(of_login).chain(of_rotation);
        let conditions = rules.flat_map(|rule| &rule.json).filter(|(pointer, _)| asking.code.contains(pointer));
        let words = conditions.flat_map(|(_, wanted)| wanted).filter_map(|wanted| match wanted {
            Wanted::Like(text) if !text.contains('*') => Some(&**text),
            Wanted::Like(_) | Wanted::Absent | Wanted::Present => None,
        });
        let mut codes: Vec<&str> = words.filter(|word| is_label(word)).collect();
        codes.sort_unstable();
        codes.dedup();
        codes
    }
}

/// Fit for a label as it stands.
fn is_label(word: &str) -> bool {
    word.len() <= 64 && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

/// The number of a token that stands for one number only.
pub const OWN_NUMBER: &str = "own";
/// The parameter that holds the lifetime that is asked for with a rotation.
pub const LIFETIME: &str = "lifetime";
