//! Fills the holes of a request. Whatever is secret in it goes into a header, a form or a body that is wiped, never into the address.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::domain::time::Timestamp;
use crate::outgoing::sensitive;
use crate::ports::{Credentials, Parameters, Question};
use crate::secret::Secret;
use crate::settings::description::template::{Hole, JsonTemplate, Part, Template};
use crate::settings::description::{self, Body, LIFETIME, Request};
use crate::settings::value;

/// What a question is asked with.
#[derive(Clone, Copy)]
pub(super) struct Papers<'a> {
    pub(super) token: &'a Secret,
    pub(super) app: Option<Credentials<'a>>,
    pub(super) parameters: &'a Parameters,
    /// What the login gave.
    pub(super) login: Option<&'a Secret>,
    /// The token that takes the place of the other one.
    pub(super) new: Option<&'a Secret>,
}

impl<'a> Papers<'a> {
    pub(super) fn of(question: &'a Question<'a>) -> Self {
        let Question { token, app, parameters } = question;
        Self { token, app: *app, parameters, login: None, new: None }
    }

    /// Everything that must not be seen.
    pub(super) fn secrets(&self) -> Vec<&'a Secret> {
        let app = self.app.iter().map(|app| app.secret);
        let given = self.login.into_iter().chain(self.new);
        std::iter::once(self.token).chain(app).chain(self.parameters.secret.values()).chain(given).collect()
    }
}

/// What fills the holes.
pub(super) struct Filling<'a> {
    pub(super) papers: &'a Papers<'a>,
    pub(super) now: Timestamp,
}

/// A request as it is sent.
pub(super) struct Filled {
    pub(super) method: Method,
    pub(super) url: url::Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Fills a request.
///
/// # Errors
/// What is missing, or cannot be sent.
pub(super) fn fill(request: &Request, filling: &Filling<'_>, base: Option<&url::Url>) -> Result<Filled, String> {
    let mut url = address(&request.url, filling, base)?;
    for (name, template) in filling.given(&request.query) {
        url.query_pairs_mut().append_pair(name, &filling.text(template)?);
    }
    let mut headers = HeaderMap::new();
    if let Some((user, password)) = &request.basic {
        let pair = Zeroizing::new(format!("{}:{}", &*filling.text(user)?, &*filling.text(password)?));
        let coded = Zeroizing::new(format!("Basic {}", &*Zeroizing::new(STANDARD.encode(pair.as_bytes()))));
        headers.insert(AUTHORIZATION, sensitive(&coded).ok_or("the login holds signs that no header can carry")?);
    }
    let (body, kind) = match &request.body {
        Body::None => (Bytes::new(), None),
        Body::Form(form) => (wiped(filling.form(form)?), Some("application/x-www-form-urlencoded")),
        Body::Json(json) => (wiped(Zeroizing::new(filling.json(json)?.to_string())), Some("application/json")),
    };
    if let Some(kind) = kind {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    for (name, template) in filling.given(&request.headers) {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("no header is called {name}"))?;
        let value = filling.text(template)?;
        let value = if filling.is_secret(template) { sensitive(&value) } else { HeaderValue::from_str(&value).ok() };
        headers.insert(name, value.ok_or("the secret holds signs that no header can carry")?);
    }
    Ok(Filled { method: method(request.method), url, headers, body })
}

/// The address: what stands before the first slash as it is, every value behind it as one part of a path, or as several
/// where it is a path itself.
fn address(template: &Template, filling: &Filling<'_>, base: Option<&url::Url>) -> Result<url::Url, String> {
    let mut text = String::new();
    for (place, part) in template.0.iter().enumerate() {
        match part {
            Part::Text(plain) => text.push_str(plain),
            Part::Hole(hole) => {
                let value = filling.hole(hole)?;
                if place == 0 {
                    text.push_str(value.trim_end_matches('/'));
                } else {
                    let set = if matches!(hole, Hole::Path(_)) { SEVERAL } else { PATH };
                    text.extend(utf8_percent_encode(&value, set));
                }
            }
        }
    }
    if text.starts_with('/') {
        let base = base.ok_or("it is not known where it answers: set [provider.…] base_url")?;
        text.insert_str(0, base.as_str().trim_end_matches('/'));
    }
    value::provider_url(&text).map_err(|what| format!("the address {what}"))
}

impl Filling<'_> {
    fn text(&self, template: &Template) -> Result<Zeroizing<String>, String> {
        let mut text = Zeroizing::new(String::new());
        for part in &template.0 {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Hole(hole) => text.push_str(&self.hole(hole)?),
            }
        }
        Ok(text)
    }

    fn form(&self, form: &[(Box<str>, Template)]) -> Result<Zeroizing<String>, String> {
        let mut text = Zeroizing::new(String::new());
        for (name, template) in self.given(form) {
            if !text.is_empty() {
                text.push('&');
            }
            text.extend(utf8_percent_encode(name, FORM));
            text.push('=');
            text.extend(utf8_percent_encode(&self.text(template)?, FORM));
        }
        Ok(text)
    }

    fn json(&self, json: &JsonTemplate) -> Result<Value, String> {
        Ok(match json {
            JsonTemplate::Text(template) => Value::String(self.text(template)?.to_string()),
            JsonTemplate::Scalar(value) => value.clone(),
            JsonTemplate::List(items) => {
                Value::Array(items.iter().map(|item| self.json(item)).collect::<Result<_, _>>()?)
            }
            JsonTemplate::Object(fields) => Value::Object(
                fields
                    .iter()
                    .filter(|(_, field)| !matches!(field, JsonTemplate::Text(text) if !self.is_given(text)))
                    .map(|(name, field)| Ok((name.to_string(), self.json(field)?)))
                    .collect::<Result<_, String>>()?,
            ),
        })
    }

    /// The lines that are sent.
    fn given<'l>(&self, lines: &'l [(Box<str>, Template)]) -> impl Iterator<Item = &'l (Box<str>, Template)> {
        lines.iter().filter(|(_, template)| self.is_given(template))
    }

    /// Whether everything that fills it is there; an optional parameter that nobody gave leaves its line out, be it of
    /// the query, the headers, a form or JSON.
    fn is_given(&self, template: &Template) -> bool {
        let known = |name: &str| {
            self.papers.parameters.open.contains_key(name) || self.papers.parameters.secret.contains_key(name)
        };
        template.holes().all(|hole| hole.parameter().is_none_or(known))
    }

    pub(super) fn is_secret(&self, template: &Template) -> bool {
        let secret = |name: &str| self.papers.parameters.secret.contains_key(name);
        template.holes().any(|hole| hole.is_secret() || hole.parameter().is_some_and(secret))
    }

    /// What fills a template that holds no secret.
    pub(super) fn open(&self, template: &Template) -> Option<String> {
        if self.is_secret(template) { None } else { self.text(template).ok().map(|text| text.to_string()) }
    }

    fn hole(&self, hole: &Hole) -> Result<Zeroizing<String>, String> {
        let secret = |secret: &Secret| Zeroizing::new(secret.expose().to_owned());
        let app = || self.papers.app.as_ref().ok_or_else(|| "the token has no app with a secret".to_owned());
        Ok(match hole {
            Hole::Secret => secret(self.papers.token),
            Hole::New => secret(self.papers.new.ok_or("there is no new token")?),
            Hole::Login => secret(self.papers.login.ok_or("there is no login")?),
            Hole::AppId => Zeroizing::new(app()?.id.to_owned()),
            Hole::AppSecret => secret(app()?.secret),
            Hole::UntilDate => Zeroizing::new(self.until()?.to_string()[..DATE].to_owned()),
            Hole::UntilMoment => Zeroizing::new(self.until()?.to_string()),
            Hole::Parameter(name) | Hole::Path(name) => {
                let open = self.papers.parameters.open.get(name).map(|text| Zeroizing::new(text.to_string()));
                let value = open.or_else(|| self.papers.parameters.secret.get(name).map(secret));
                value.ok_or_else(|| format!("the parameter {name} is not given"))?
            }
        })
    }

    /// When a token that is given now is to end.
    fn until(&self) -> Result<Timestamp, String> {
        let text = self.papers.parameters.open.get(LIFETIME).ok_or("the parameter lifetime is not given")?;
        value::period(text).map(|lifetime| self.now.plus(lifetime))
    }
}

const fn method(method: description::Method) -> Method {
    match method {
        description::Method::Get => Method::GET,
        description::Method::Post => Method::POST,
        description::Method::Put => Method::PUT,
        description::Method::Patch => Method::PATCH,
        description::Method::Delete => Method::DELETE,
    }
}

/// A body that is wiped when it was sent.
fn wiped(text: Zeroizing<String>) -> Bytes {
    struct Wiped(Zeroizing<String>);
    impl AsRef<[u8]> for Wiped {
        fn as_ref(&self) -> &[u8] {
            self.0.as_bytes()
        }
    }
    Bytes::from_owner(Wiped(text))
}

/// Of `2026-12-31T…` the date.
const DATE: usize = 10;
/// Unreserved characters of RFC 3986.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same for values that are paths themselves.
const SEVERAL: &AsciiSet = &PATH.remove(b'/');
/// The same for forms.
const FORM: &AsciiSet = PATH;
