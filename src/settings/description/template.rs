//! Texts with holes: `Bearer {secret}`. They are read once, when the configuration is, so that a hole with no such name is a fault of the
//! configuration and not of a check at night.

use std::collections::BTreeMap;

use super::LIFETIME;

/// A text with holes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Template(pub Vec<Part>);

/// A part of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Part {
    /// As it stands.
    Text(Box<str>),
    /// To be filled in.
    Hole(Hole),
}

/// What is filled in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Hole {
    /// `{secret}`: the token.
    Secret,
    /// `{new}`: the token that takes its place.
    New,
    /// `{login}`: what the login gave.
    Login,
    /// `{app.id}`.
    AppId,
    /// `{app.secret}`.
    AppSecret,
    /// `{until.date}`: the day on which a token that is rotated now is to end.
    UntilDate,
    /// `{until.rfc3339}`: that moment.
    UntilMoment,
    /// A parameter.
    Parameter(Box<str>),
    /// A parameter that is a path: its slashes stay.
    Path(Box<str>),
}

/// A JSON document with holes in its texts.
#[derive(Clone, PartialEq, Debug)]
pub enum JsonTemplate {
    /// A text.
    Text(Template),
    /// A number, a flag or null.
    Scalar(serde_json::Value),
    /// A list.
    List(Vec<Self>),
    /// An object.
    Object(BTreeMap<Box<str>, Self>),
}

impl Hole {
    fn of(name: &str) -> Self {
        match name {
            "secret" => Self::Secret,
            "new" => Self::New,
            "login" => Self::Login,
            "app.id" => Self::AppId,
            "app.secret" => Self::AppSecret,
            "until.date" => Self::UntilDate,
            "until.rfc3339" => Self::UntilMoment,
            other => Self::Parameter(other.into()),
        }
    }

    /// Whether a parameter may not have that name.
    pub fn parse_reserved(name: &str) -> bool {
        !matches!(Self::of(name), Self::Parameter(_))
    }

    /// Whether what is filled in is secret by its nature; a parameter may be as well.
    pub const fn is_secret(&self) -> bool {
        matches!(self, Self::Secret | Self::New | Self::Login | Self::AppSecret)
    }

    /// The name of the parameter behind it.
    pub fn parameter(&self) -> Option<&str> {
        match self {
            Self::Parameter(name) | Self::Path(name) => Some(name),
            Self::UntilDate | Self::UntilMoment => Some(LIFETIME),
            Self::Secret | Self::New | Self::Login | Self::AppId | Self::AppSecret => None,
        }
    }
}

impl Template {
    /// Reads a text. `{{` is a brace.
    ///
    /// # Errors
    /// A brace without its other half.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let tail = &rest[at..];
            if tail.starts_with("{{") || tail.starts_with("}}") {
                plain.push_str(&tail[..1]);
                rest = &tail[2..];
                continue;
            }
            let closed = tail.strip_prefix('{').and_then(|inner| inner.split_once('}'));
            let Some((name, after)) = closed.filter(|(name, _)| !name.is_empty() && !name.contains('{')) else {
                return Err("has a brace without its other half; `{{` stands for a brace".to_owned());
            };
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain).into()));
            }
            parts.push(Part::Hole(Hole::of(name)));
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() || parts.is_empty() {
            parts.push(Part::Text(plain.into()));
        }
        Ok(Self(parts))
    }

    /// The same, where these parameters are paths.
    #[must_use]
    pub fn with_paths(self, is_path: impl Fn(&str) -> bool) -> Self {
        let part = |part| match part {
            Part::Hole(Hole::Parameter(name)) if is_path(&name) => Part::Hole(Hole::Path(name)),
            part => part,
        };
        Self(self.0.into_iter().map(part).collect())
    }

    /// The holes in it.
    pub fn holes(&self) -> impl Iterator<Item = &Hole> {
        self.0.iter().filter_map(|part| match part {
            Part::Hole(hole) => Some(hole),
            Part::Text(_) => None,
        })
    }

    /// The text before the first hole.
    pub fn beginning(&self) -> &str {
        match self.0.first() {
            Some(Part::Text(text)) => text,
            Some(Part::Hole(_)) | None => "",
        }
    }
}

impl JsonTemplate {
    /// The templates in it.
    pub fn templates(&self) -> Vec<&Template> {
        match self {
            Self::Text(template) => vec![template],
            Self::Scalar(_) => Vec::new(),
            Self::List(items) => items.iter().flat_map(Self::templates).collect(),
            Self::Object(fields) => fields.values().flat_map(Self::templates).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_found_and_braces_stay() {
        let read = |text: &str| Template::parse(text);
        let parts = |text: &str| read(text).expect("a template").0;
        let text = |text: &str| Part::Text(text.into());
        assert_eq!(parts("Bearer {secret}"), [text("Bearer "), Part::Hole(Hole::Secret)]);
        assert_eq!(
            parts("{url}/x/{app.id}"),
            [Part::Hole(Hole::Parameter("url".into())), text("/x/"), Part::Hole(Hole::AppId)]
        );
        assert_eq!(parts("{{a}} b"), [text("{a} b")]);
        assert_eq!(parts(""), [text("")]);
        for bad in ["{", "a{b", "a}", "{}", "{a{b}"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
