//! Reads a description from the tree, and judges what only makes sense together: holes that nothing fills, secrets where a log would keep them,
//! a rotation that would lose what it was given.
//!
//! Single values were held against the keys before; what was refused there is passed over here, so one slip is told once.

use std::collections::BTreeMap;

use super::template::{Hole, JsonTemplate, Template};
use super::{
    Asking, Body, Description, Ends, Facts, Format, Is, LIFETIME, Limits, Login, Means, Method, NumberFacts,
    ObstacleFacts, Parameter, Place, Pointer, Read, Request, Rotate, Rule, Select, Source, Statuses, Wanted, Words,
};
use crate::domain::inspection::{AppFault, Cause};
use crate::domain::renewal::OldSecret;
use crate::domain::time::Span;
use crate::domain::token::ProviderName;
use crate::settings::Fault;
use crate::settings::check::did_you_mean;
use crate::settings::delivery::REFRESH_TOKEN;
use crate::settings::layers::{Node, Value};
use crate::settings::resolve::At;
use crate::settings::value;

/// Reads one description; `None` where a part without which there is none was refused, or is missing.
pub(in crate::settings) fn read(name: &ProviderName, at: &At<'_>, faults: &mut Vec<Fault>) -> Option<Description> {
    let parameters = parameters(&at.child("parameters"), faults);
    let has_login = at.child("login").is_a_table();
    let mut reader = Reader { faults, parameters: &parameters, has_login, needs_app: false, rotating: false };
    let source = reader.source(at);
    let number = reader.number(&at.child("number"));
    let needs_app = std::mem::take(&mut reader.needs_app);
    let revoke = reader.request(&at.child("revoke"), "GET");
    let rotate = reader.rotate(&at.child("rotate"));
    let renewal_needs_app = reader.needs_app && !needs_app;
    Some(Description {
        name: name.clone(),
        title: at.text("title")?.into(),
        manage: at.parsed("manage", value::http_url),
        steps: at.list("steps").unwrap_or_default().into_iter().map(Box::from).collect(),
        kind: at.text("kind").map(Box::from),
        prefixes: at.list("prefixes").unwrap_or_default().into_iter().map(Box::from).collect(),
        source: source?,
        needs_app,
        renewal_needs_app,
        limits: limits(&at.child("limits")),
        number,
        rotate,
        revoke,
        parameters,
    })
}

fn parameters(at: &At<'_>, faults: &mut Vec<Fault>) -> BTreeMap<Box<str>, Parameter> {
    let mut parameters = BTreeMap::new();
    for (name, at) in at.entries() {
        if Hole::parse_reserved(name) {
            faults.push(at.fault("", "is a name that every description has already".to_owned()));
        }
        let is = match at.text("is") {
            Some("url") => Is::Url,
            Some("path") => Is::Path,
            Some("duration") => Is::Duration,
            Some("secret") => Is::Secret,
            Some("address") => Is::Address,
            _ => Is::Text,
        };
        let begins: Box<str> = at.text("begins").unwrap_or_default().into();
        let default = at.text("default").map(Box::from);
        if let Some(default) = &default {
            if is == Is::Secret {
                faults.push(at.fault("default", "would stand in the open; a secret has no default".to_owned()));
            } else if let Err(what) = fits(is, &begins, default) {
                faults.push(at.fault("default", what));
            }
        }
        if name == LIFETIME && is != Is::Duration {
            faults.push(
                at.fault("is", "must be \"duration\": `lifetime` says how long a new token is to live".to_owned()),
            );
        }
        if name == REFRESH_TOKEN && is != Is::Secret {
            faults.push(at.fault("is", "must be \"secret\": a refresh token is one".to_owned()));
        }
        let (doc, optional) = (at.text("doc").unwrap_or_default().into(), at.flag("optional").unwrap_or(false));
        parameters.insert(name.as_str().into(), Parameter { doc, is, begins, default, optional });
    }
    parameters
}

/// Whether a value may stand in a parameter.
///
/// # Errors
/// What would be right.
pub fn fits(is: Is, begins: &str, text: &str) -> Result<(), String> {
    if !text.starts_with(begins) {
        return Err(format!("must begin with {begins}"));
    }
    let printable = !text.is_empty() && text.chars().all(|c| !c.is_control());
    match is {
        Is::Text if printable => Ok(()),
        Is::Text => Err("must be a text on one line".to_owned()),
        Is::Url => value::provider_url(text).map(drop),
        Is::Path if printable && text.split('/').all(is_part_of_a_path) => Ok(()),
        Is::Path => Err("must be a path such as channels/1, without a slash at its ends and without dots".to_owned()),
        Is::Duration => value::period(text).map(drop),
        Is::Secret => Err("is a secret: write where it stands, as in { file = \"/path\" }".to_owned()),
        Is::Address => match text.rsplit_once(':') {
            Some((host, port)) if is_host(host) && port.parse::<u16>().is_ok_and(|port| port > 0) => Ok(()),
            // Certificates and the name service have the ASCII form of a name (RFC 5891).
            Some((host, port))
                if !host.is_ascii()
                    && let Ok(url::Host::Domain(name)) = url::Host::parse(host) =>
            {
                Err(format!("must be written in ASCII: {name}:{port}"))
            }
            _ => {
                Err("must be host:port, as shop.example.com:443 or [2001:db8::1]:443, with nothing before or behind it"
                    .to_owned())
            }
        },
    }
}

/// A name or an address; one of IPv6 in brackets, for its colons would be mistaken.
fn is_host(text: &str) -> bool {
    match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')),
    }
}

/// Neither nothing nor dots, which would lead elsewhere.
fn is_part_of_a_path(part: &str) -> bool {
    !matches!(part, "" | "." | "..")
}

struct Reader<'a> {
    faults: &'a mut Vec<Fault>,
    parameters: &'a BTreeMap<Box<str>, Parameter>,
    has_login: bool,
    /// Whether something that was read since this was last looked at is asked with an app.
    needs_app: bool,
    /// Within `rotate`, where `{new}` and `{until…}` have a meaning.
    rotating: bool,
}

impl Reader<'_> {
    fn source(&mut self, at: &At<'_>) -> Option<Source> {
        let offline = match at.text("offline") {
            Some("jwt") => Some(Source::Jwt),
            Some("certificate") => Some(Source::Certificate),
            Some("typed") => Some(Source::Typed),
            _ => None,
        };
        if let Some(source) = offline {
            for name in ["check", "answers", "login", "facts", "rotate", "number"] {
                if at.child(name).node.is_some() {
                    self.faults.push(at.fault(name, "has no meaning beside offline: nobody is asked".to_owned()));
                }
            }
            return Some(source);
        }
        if at.child("check").node.is_none() {
            self.faults.push(at.absence("check", "is missing: the request that tells of a token".to_owned()));
        }
        let login = self.login(&at.child("login"));
        let check = self.request(&at.child("check"), "GET");
        let answers = self.rules(&at.child("answers"));
        if check.is_some() && !answers.iter().any(|rule| rule.means == Means::Valid) {
            let what = "hold none that means \"valid\": no token would ever be healthy".to_owned();
            self.faults.push(at.absence("answers", what));
        }
        let base_url = at.parsed("base_url", value::provider_url);
        let asking = Asking {
            login,
            check: check?,
            answers,
            code: self.pointers(at, "code"),
            message: self.pointers(at, "message"),
            facts: self.facts(&at.child("facts")),
            base_url,
        };
        Some(Source::Http(Box::new(asking)))
    }

    fn login(&mut self, at: &At<'_>) -> Option<Login> {
        at.node?;
        let has_login = std::mem::replace(&mut self.has_login, false);
        let request = self.request(at, "POST");
        self.has_login = has_login;
        let answers = self.rules(&at.child("answers"));
        Some(Login { request: request?, token: self.pointer(at, "token")?, answers })
    }

    fn request(&mut self, at: &At<'_>, method: &str) -> Option<Request> {
        at.node?;
        let url = self.template(at, "url", false)?;
        let rooted = url.beginning().starts_with('/');
        let whole = url.beginning().starts_with("https://") || url.beginning().starts_with("http://");
        let by_parameter = url.beginning().is_empty()
            && url
                .holes()
                .next()
                .and_then(Hole::parameter)
                .and_then(|name| self.parameters.get(name))
                .is_some_and(|it| it.is == Is::Url);
        if !rooted && !whole && !by_parameter {
            let what = "must begin with `/`, with `https://`, or with a parameter that is a url".to_owned();
            self.faults.push(at.fault("url", what));
        }
        if whole && let Err(what) = value::provider_url(url.beginning().trim_end_matches('/')) {
            self.faults.push(at.fault("url", what));
        }
        let basic_at = at.child("basic");
        let user = self.template(&basic_at, "user", true);
        let basic = user.zip(self.template(&basic_at, "password", true));
        let form = self.map(&at.child("form"), true);
        let json = at.child("json").node.and_then(|node| self.tree(at, node));
        let body = match (form.is_empty(), json) {
            (true, None) => Body::None,
            (false, None) => Body::Form(form),
            (true, Some(json)) => Body::Json(json),
            (false, Some(_)) => {
                self.faults.push(at.fault("json", "cannot stand beside form; choose one".to_owned()));
                Body::None
            }
        };
        let headers = self.map(&at.child("headers"), true);
        for (name, _) in &headers {
            if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
                self.faults.push(at.child("headers").fault(name, "is no name that a header can have".to_owned()));
            }
        }
        let method = match at.text("method").unwrap_or(method) {
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "PATCH" => Method::Patch,
            "DELETE" => Method::Delete,
            _ => Method::Get,
        };
        Some(Request { method, url, query: self.map(&at.child("query"), false), headers, basic, body })
    }

    fn map(&mut self, at: &At<'_>, secret: bool) -> Vec<(Box<str>, Template)> {
        let names: Vec<&str> = at.names().collect();
        let entry = |name: &str| Some((name.into(), self.template(at, name, secret)?));
        names.into_iter().filter_map(entry).collect()
    }

    fn tree(&mut self, at: &At<'_>, node: &Node) -> Option<JsonTemplate> {
        Some(match &node.value {
            Value::Text(text) => JsonTemplate::Text(self.parse(at, "json", text, true)?),
            Value::Integer(number) => JsonTemplate::Scalar((*number).into()),
            Value::Float(number) => JsonTemplate::Scalar((*number).into()),
            Value::Bool(flag) => JsonTemplate::Scalar((*flag).into()),
            Value::List(items) => JsonTemplate::List(items.iter().filter_map(|item| self.tree(at, item)).collect()),
            Value::Table(table) => JsonTemplate::Object(
                table.iter().filter_map(|(name, node)| Some((name.as_str().into(), self.tree(at, node)?))).collect(),
            ),
            Value::Group(_) => return None,
        })
    }

    fn template(&mut self, at: &At<'_>, name: &str, secret: bool) -> Option<Template> {
        let text = at.scalar(name)?;
        self.parse(at, name, &text, secret)
    }

    fn parse(&mut self, at: &At<'_>, name: &str, text: &str, secret: bool) -> Option<Template> {
        let template = match Template::parse(text) {
            Ok(template) => template.with_paths(|name| self.parameters.get(name).is_some_and(|it| it.is == Is::Path)),
            Err(what) => {
                self.faults.push(at.fault(name, what));
                return None;
            }
        };
        for hole in template.holes() {
            if let Err(what) = self.hole(hole, secret) {
                self.faults.push(at.fault(name, what));
            }
        }
        Some(template)
    }

    /// Whether something fills that hole, here.
    fn hole(&mut self, hole: &Hole, secret: bool) -> Result<(), String> {
        let parameter = hole.parameter().map(|name| (name, self.parameters.get(name)));
        match (hole, parameter) {
            (Hole::AppId | Hole::AppSecret, _) => self.needs_app = true,
            (Hole::Login, _) if !self.has_login => return Err("holds {login}, and there is no login".to_owned()),
            (Hole::New | Hole::UntilDate | Hole::UntilMoment, _) if !self.rotating => {
                return Err("holds what only a rotation knows".to_owned());
            }
            (_, Some((name, None))) => {
                let known = self.parameters.keys().map(|name| &**name);
                let hint = did_you_mean(name, known.chain(["secret", "login", "app.id", "app.secret"]));
                return Err(format!("holds {{{name}}}, which is no parameter{hint}"));
            }
            _ => {}
        }
        let is_secret = hole.is_secret() || parameter.is_some_and(|(_, it)| it.is_some_and(|it| it.is == Is::Secret));
        if is_secret && !secret {
            return Err("holds a secret, and addresses are logged by every proxy on the way; put it into a header, a form or basic".to_owned());
        }
        Ok(())
    }

    fn rules(&mut self, at: &At<'_>) -> Vec<Rule> {
        let mut rules = Vec::new();
        at.each_item(|at| rules.extend(self.rule(at)));
        rules
    }

    fn rule(&mut self, at: &At<'_>) -> Option<Rule> {
        let means = match at.text("means")? {
            "valid" => Means::Valid,
            "forbidden" => Means::Forbidden,
            "expired" => Means::Expired,
            "revoked" => Means::Revoked(at.text("cause").and_then(Cause::parse).unwrap_or(Cause::Unstated)),
            "unreadable" => Means::Unreadable,
            "throttled" => Means::Throttled,
            "unavailable" => Means::Unavailable,
            "unknown" => Means::Unknown,
            "app_fault" => Means::AppFault(at.text("fault").and_then(AppFault::parse).unwrap_or(AppFault::WrongSecret)),
            "foreign" => Means::Foreign,
            _ => return None,
        };
        for (name, of) in [("cause", "revoked"), ("fault", "app_fault")] {
            if at.child(name).node.is_some() && at.text("means") != Some(of) {
                self.faults.push(at.fault(name, format!("has a meaning only beside means = {of:?}")));
            }
        }
        let rule = Rule {
            statuses: at.child("status").node.map(statuses).unwrap_or_default(),
            json: self.conditions(&at.child("json")),
            headers: conditions(&at.child("header")).collect(),
            body: at.text("body").map(wanted),
            means,
            words: at.text("words").map(Box::from),
        };
        if rule.statuses.is_empty() && rule.json.is_empty() && rule.headers.is_empty() && rule.body.is_none() {
            self.faults.push(at.fault("", "fits every answer; name a status, or what stands in it".to_owned()));
        }
        Some(rule)
    }

    fn conditions(&mut self, at: &At<'_>) -> Vec<(Pointer, Vec<Wanted>)> {
        let mut found = Vec::new();
        for (name, wanted) in conditions(at) {
            match pointer(&name) {
                Ok(pointer) => found.push((pointer, wanted)),
                Err(what) => self.faults.push(at.fault(&name, what)),
            }
        }
        found
    }

    fn pointer(&mut self, at: &At<'_>, name: &str) -> Option<Pointer> {
        match pointer(at.text(name)?) {
            Ok(pointer) => Some(pointer),
            Err(what) => {
                self.faults.push(at.fault(name, what));
                None
            }
        }
    }

    fn pointers(&mut self, at: &At<'_>, name: &str) -> Vec<Pointer> {
        let mut found = Vec::new();
        for text in texts(at, name) {
            match pointer(text) {
                Ok(pointer) => found.push(pointer),
                Err(what) => self.faults.push(at.fault(name, what)),
            }
        }
        found
    }

    fn facts(&mut self, at: &At<'_>) -> Facts {
        let expires_at = at.child("expires");
        let expires = match (expires_at.text("always"), self.read(&expires_at)) {
            (Some("never"), _) => Ends::Never,
            (_, Some(read)) => Ends::Read(read),
            (_, None) => Ends::Unknown,
        };
        Facts {
            select: self.select(&at.child("select")),
            expires,
            issued: self.read(&at.child("issued")),
            scopes: self.words(&at.child("scopes")),
            kind: self.words(&at.child("kind")),
            user: self.words(&at.child("user")),
            app: self.words(&at.child("app")),
        }
    }

    fn select(&mut self, at: &At<'_>) -> Option<Select> {
        at.node?;
        let matching = self.map(&at.child("where"), false);
        let matching = matching.into_iter().filter_map(|(name, template)| match pointer(&name) {
            Ok(pointer) => Some((pointer, template)),
            Err(what) => {
                self.faults.push(at.child("where").fault(&name, what));
                None
            }
        });
        let matching = matching.collect();
        Some(Select { list: self.pointer(at, "list")?, matching })
    }

    fn place(&mut self, at: &At<'_>) -> Option<Place> {
        at.node?;
        match (at.text("json"), at.text("header")) {
            (Some(_), None) => self.pointer(at, "json").map(Place::Json),
            (None, Some(name)) => Some(Place::Header(name.into())),
            (Some(_), Some(_)) => {
                self.faults.push(at.fault("header", "cannot stand beside json; choose one".to_owned()));
                None
            }
            (None, None) if at.text("always").is_some() => None,
            (None, None) => {
                self.faults.push(at.absence("", "needs json (a pointer) or header".to_owned()));
                None
            }
        }
    }

    fn read(&mut self, at: &At<'_>) -> Option<Read> {
        let place = self.place(at)?;
        let formats: Vec<Format> = texts(at, "format").into_iter().filter_map(|text| self.format(at, text)).collect();
        if formats.is_empty() && at.child("format").node.is_none() {
            self.faults.push(at.absence("format", "is missing: how the moment is written".to_owned()));
        }
        let missing_for: Vec<Box<str>> =
            at.list("missing_for").unwrap_or_default().into_iter().map(Box::from).collect();
        let missing_is_never = at.text("missing") == Some("never");
        if !missing_for.is_empty() && !missing_is_never {
            self.faults.push(at.fault("missing_for", "has a meaning only beside missing = \"never\"".to_owned()));
        }
        let or = at.child("or");
        let or = if or.node.is_some() { self.read(&or).map(Box::new) } else { None };
        Some(Read { place, formats, missing_is_never, missing_for, or })
    }

    fn format(&mut self, at: &At<'_>, text: &str) -> Option<Format> {
        Some(match text {
            "unix" => Format::Unix,
            "unix_ms" => Format::UnixMilliseconds,
            "seconds" => Format::Seconds,
            "rfc3339" => Format::Rfc3339,
            "rfc2822" => Format::Rfc2822,
            "date" => Format::Date,
            layout if layout.contains('%') => Format::Layout(layout.into()),
            other => {
                let known = ["unix", "unix_ms", "seconds", "rfc3339", "rfc2822", "date"];
                let hint = did_you_mean(other, known.into_iter());
                let what =
                    format!("{} is none of {}, and no layout with %{hint}", value::quoted(other), known.join(", "));
                self.faults.push(at.fault("format", what));
                return None;
            }
        })
    }

    fn words(&mut self, at: &At<'_>) -> Option<Words> {
        Some(Words { place: self.place(at)?, split: at.text("split").map(Box::from) })
    }

    fn number(&mut self, at: &At<'_>) -> Option<NumberFacts> {
        at.node?;
        let by: Option<Box<str>> = at.text("by").map(Box::from);
        if let Some(name) = by.as_ref().filter(|name| !self.parameters.contains_key(*name)) {
            let hint = did_you_mean(name, self.parameters.keys().map(|name| &**name));
            self.faults.push(at.fault("by", format!("names a parameter that is not described{hint}")));
        }
        let lists = |name: &str| at.list(name).unwrap_or_default().into_iter().map(Box::from).collect();
        let obstacles_at = at.child("obstacles");
        let obstacles = self.pointer(&obstacles_at, "list").map(|list| ObstacleFacts {
            list,
            code: self.pointer(&obstacles_at, "code"),
            words: self.pointer(&obstacles_at, "words"),
        });
        Some(NumberFacts {
            by,
            check: self.request(&at.child("check"), "GET"),
            select: self.select(&at.child("select")),
            sending: self.pointer(at, "sending"),
            words: [lists("available"), lists("limited"), lists("blocked")],
            quality: self.pointer(at, "quality"),
            display: self.pointer(at, "display"),
            account: self.pointer(at, "account"),
            obstacles,
            health: self.pointer(at, "health"),
        })
    }

    fn rotate(&mut self, at: &At<'_>) -> Option<Rotate> {
        at.node?;
        self.rotating = true;
        let request = self.request(at, "POST");
        let prepare = self.request(&at.child("prepare"), "GET");
        let finish = self.request(&at.child("finish"), "POST");
        self.rotating = false;
        let answers = self.rules(&at.child("answers"));
        let secret = self.pointer(at, "secret");
        let refresh_token = self.pointer(at, "refresh_token");
        let old = match at.text("old")? {
            "dies" => OldSecret::DiesAtOnce,
            "same" => OldSecret::StaysTheSame,
            _ => OldSecret::Lives,
        };
        match (old, &secret) {
            (OldSecret::StaysTheSame, Some(_)) => {
                self.faults.push(at.fault("secret", "has no meaning where the secret stays the same".to_owned()));
            }
            (OldSecret::Lives | OldSecret::DiesAtOnce, None) if at.child("secret").node.is_none() => {
                self.faults.push(at.absence("secret", "is missing: where the new secret stands".to_owned()));
            }
            _ => {}
        }
        if refresh_token.is_some() && !self.parameters.contains_key(REFRESH_TOKEN) {
            let what =
                format!("needs a parameter `{REFRESH_TOKEN}` that is a secret: the present one is taken from there");
            self.faults.push(at.fault("refresh_token", what));
        }
        Some(Rotate {
            prepare,
            request: request?,
            answers,
            secret,
            expires: self.read(&at.child("expires")),
            old,
            replayable: at.flag("replayable").unwrap_or(false),
            refresh_token,
            youngest: at.parsed("youngest", value::period).unwrap_or(Span::ZERO),
            finish,
        })
    }
}

fn limits(at: &At<'_>) -> Limits {
    let header = |name: &str| at.text(name).map(|text| text.to_ascii_lowercase().into());
    Limits {
        limit: header("limit"),
        remaining: header("remaining"),
        reset: header("reset"),
        reset_in_seconds: at.text("reset_format") == Some("seconds"),
        structured: at.flag("structured").unwrap_or(false),
    }
}

fn statuses(node: &Node) -> Vec<Statuses> {
    match &node.value {
        Value::List(items) => items.iter().flat_map(statuses).collect(),
        Value::Integer(status) => u16::try_from(*status).ok().map(Statuses::One).into_iter().collect(),
        Value::Text(class) => value::status_class(class).map(Statuses::Class).into_iter().collect(),
        Value::Float(_) | Value::Bool(_) | Value::Group(_) | Value::Table(_) => Vec::new(),
    }
}

fn conditions<'a>(at: &'a At<'_>) -> impl Iterator<Item = (Box<str>, Vec<Wanted>)> + 'a {
    at.names().map(|name| (name.into(), at.scalars(name).iter().map(|text| wanted(text)).collect()))
}

fn wanted(text: &str) -> Wanted {
    match text {
        "{absent}" => Wanted::Absent,
        "{present}" => Wanted::Present,
        text => Wanted::Like(text.into()),
    }
}

/// A JSON pointer begins with a slash; the empty one is the whole document.
fn pointer(text: &str) -> Result<Pointer, String> {
    if text.is_empty() || text.starts_with('/') {
        Ok(Pointer(text.into()))
    } else {
        Err(format!("{} is no JSON pointer; those look like /data/expires_at", value::quoted(text)))
    }
}

/// One text, or several.
fn texts<'a>(at: &At<'a>, name: &str) -> Vec<&'a str> {
    match at.text(name) {
        Some(text) => vec![text],
        None => at.list(name).unwrap_or_default(),
    }
}
