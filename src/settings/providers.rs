//! The providers that a configuration names: those in Rust, those built in as data, and those of the operator; how each is reached, and what each
//! needs of a token.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::check::did_you_mean;
use super::delivery::{REFRESH_TOKEN, Renewal};
use super::description::template::{Hole, Template};
use super::description::{self, Description, Is, Request, Source, builtin};
use super::resolve::At;
use super::value;
use super::{Declared, Fault, Graph, Provider, Values};
use crate::domain::renewal::{OldSecret, Rotation};
use crate::domain::time::Span;
use crate::domain::token::ProviderName;

/// The providers of one configuration.
pub(super) struct Providers<'a> {
    reach_at: At<'a>,
    ca_file: Option<PathBuf>,
    /// Those of the operator; `None` where the description was refused.
    described: BTreeMap<ProviderName, Option<Arc<Description>>>,
    /// Those that some token comes from.
    pub(super) used: BTreeMap<ProviderName, Provider>,
}

/// Who is asked about a token.
pub(super) enum Asked {
    /// One that is written in Rust.
    Special(ProviderName),
    /// One that is described.
    Declared(Arc<Description>),
    /// Nobody that is known; that is a fault already, and nothing that follows from it is another.
    Unknown,
}

impl<'a> Providers<'a> {
    /// Reads the operator's descriptions, and judges how providers are reached.
    pub(super) fn read(root: &At<'a>, ca_file: Option<&PathBuf>, faults: &mut Vec<Fault>) -> Self {
        let mut described = BTreeMap::new();
        for (name, at) in root.child("providers").entries() {
            let Ok(name) = ProviderName::parse(name) else { continue };
            if builtin::names().any(|known| known == name.as_str()) {
                faults.push(at.fault("", "is built in; give yours another name".to_owned()));
                continue;
            }
            let known = faults.len();
            let description = description::read(&name, &at, faults).filter(|_| faults.len() == known);
            described.insert(name, description.map(Arc::new));
        }
        let providers =
            Self { reach_at: root.child("provider"), ca_file: ca_file.cloned(), described, used: BTreeMap::new() };
        for (name, at) in providers.reach_at.entries() {
            let Some(name) = providers.known(&at, "", name, faults) else { continue };
            for wrong in ["version"].into_iter().filter(|key| !is_special(&name) && at.child(key).node.is_some()) {
                faults.push(at.fault(wrong, "is known of meta, instagram and threads only".to_owned()));
            }
            if is_special(&name) && at.child("parameters").node.is_some() {
                faults.push(at.fault("parameters", format!("has no meaning here: {name} has none")));
            }
        }
        providers
    }

    /// The provider of that name, as an app names it.
    pub(super) fn name(&self, at: &At<'_>, name: &str, faults: &mut Vec<Fault>) -> Option<ProviderName> {
        self.known(at, "provider", name, faults)
    }

    fn known(&self, at: &At<'_>, key: &str, name: &str, faults: &mut Vec<Fault>) -> Option<ProviderName> {
        let found = ProviderName::parse(name).ok()?;
        if self.described.contains_key(&found) || builtin::names().any(|known| known == name) {
            return Some(found);
        }
        let mut known: Vec<&str> = builtin::names().collect();
        known.extend(self.described.keys().map(ProviderName::as_str));
        let hint = did_you_mean(name, known.into_iter());
        let subject = if key.is_empty() { "is" } else { "names" };
        let what = format!(
            "{subject} no provider that is built in or described in [providers]{hint}; docs/providers.md lists them"
        );
        faults.push(at.absence(key, what));
        None
    }

    /// The provider of a token.
    pub(super) fn of(&mut self, at: &At<'_>, faults: &mut Vec<Fault>) -> Asked {
        self.found(at, faults).unwrap_or(Asked::Unknown)
    }

    fn found(&mut self, at: &At<'_>, faults: &mut Vec<Fault>) -> Option<Asked> {
        let name = match at.text("provider") {
            Some(text) => self.known(at, "provider", text, faults)?,
            None if at.child("provider").node.is_some() => return None,
            None => ProviderName::meta(),
        };
        if !self.used.contains_key(&name) {
            let provider = self.reached(&name)?;
            self.used.insert(name.clone(), provider);
        }
        Some(match self.used.get(&name)? {
            Provider::Meta(_) | Provider::Instagram(_) | Provider::Threads(_) => Asked::Special(name),
            Provider::Declared(declared) => Asked::Declared(Arc::clone(&declared.description)),
        })
    }

    fn reached(&self, name: &ProviderName) -> Option<Provider> {
        let at = self.reach_at.child(name.as_str());
        Some(match name.as_str() {
            "meta" => Provider::Meta(graph(&at, META, self.ca_file.as_ref())?),
            "instagram" => Provider::Instagram(graph(&at, INSTAGRAM, self.ca_file.as_ref())?),
            "threads" => Provider::Threads(graph(&at, THREADS, self.ca_file.as_ref())?),
            _ => {
                let described = self.described.get(name).cloned().unwrap_or_else(|| builtin::description(name));
                let description = described?;
                let usual = match &description.source {
                    Source::Http(asking) => asking.base_url.clone(),
                    Source::Jwt | Source::Certificate | Source::Typed => None,
                };
                Provider::Declared(Declared {
                    description,
                    base_url: at.parsed("base_url", value::provider_url).or(usual),
                    timeout: at.parsed("timeout", value::period).unwrap_or(DEFAULT_TIMEOUT),
                    ca_file: at.parsed("ca_file", value::path).or_else(|| self.ca_file.clone()),
                })
            }
        })
    }

    /// The values of a token's parameters: its own, else those of its provider, else the defaults.
    pub(super) fn values(&self, at: &At<'_>, provider: &Asked, faults: &mut Vec<Fault>) -> Values {
        let own = at.child("parameters");
        let shared = self.reach_at.child(provider.name().as_str()).child("parameters");
        let none = BTreeMap::new();
        let known = match provider {
            Asked::Declared(description) => &description.parameters,
            Asked::Special(_) => &none,
            Asked::Unknown => return Values::default(),
        };
        for (at, name) in own.names().map(|name| (&own, name)).chain(shared.names().map(|name| (&shared, name))) {
            if !known.contains_key(name) {
                let hint = did_you_mean(name, known.keys().map(|name| &**name));
                faults.push(at.fault(name, format!("is no parameter of {}{hint}", provider.title())));
            }
        }
        let mut values = Values::default();
        for (name, parameter) in known {
            let given = [&own, &shared].into_iter().find(|at| at.child(name).node.is_some());
            let Some(given) = given else {
                match &parameter.default {
                    Some(default) => drop(values.open.insert(name.clone(), default.clone())),
                    None if parameter.optional => {}
                    None => {
                        let what = format!("is missing: {}", parameter.doc);
                        faults.push(own.absence(name, what).or_at(at));
                    }
                }
                continue;
            };
            if parameter.is == Is::Secret {
                match given.secret(name) {
                    Some(place) => drop(values.secret.insert(name.clone(), place)),
                    None => faults.push(given.fault(
                        name,
                        format!("is a secret: write where it stands, as in {}", super::schema::SECRET_FORMS),
                    )),
                }
            } else if let Some(text) = given.scalar(name) {
                match description::fits(parameter.is, &parameter.begins, &text) {
                    Ok(()) => drop(values.open.insert(name.clone(), text.into())),
                    Err(what) => faults.push(given.fault(name, what)),
                }
            } else {
                faults.push(given.fault(name, "is no secret: write the value itself".to_owned()));
            }
        }
        values
    }
}

impl Asked {
    pub(super) fn name(&self) -> ProviderName {
        match self {
            Self::Special(name) => name.clone(),
            Self::Declared(description) => description.name.clone(),
            Self::Unknown => ProviderName::meta(),
        }
    }

    pub(super) fn title(&self) -> String {
        match self {
            Self::Special(name) => builtin::title(name).unwrap_or(name.as_str()).to_owned(),
            Self::Declared(description) => description.title.to_string(),
            Self::Unknown => String::new(),
        }
    }

    pub(super) fn is_meta(&self) -> bool {
        matches!(self, Self::Special(name) if name.is_meta())
    }

    /// Whether it is Meta, where the kind of a token says how it is renewed and WhatsApp numbers are asked about; or may be.
    pub(super) fn renews_by_kind(&self) -> bool {
        self.is_meta() || matches!(self, Self::Unknown)
    }

    pub(super) fn has_secret(&self) -> bool {
        match self {
            Self::Special(_) | Self::Unknown => true,
            Self::Declared(description) => description.has_secret(),
        }
    }

    pub(super) fn is_typed(&self) -> bool {
        matches!(self, Self::Declared(description) if matches!(description.source, Source::Typed))
    }

    pub(super) fn needs_app(&self) -> bool {
        matches!(self, Self::Declared(description) if description.needs_app)
    }

    pub(super) fn renewal_needs_app(&self) -> bool {
        matches!(self, Self::Declared(description) if description.renewal_needs_app)
    }

    /// The parameters that may be left out of a check, but not of a renewal, and that nobody gave.
    pub(super) fn renewal_lacks(&self, values: &Values) -> BTreeSet<&str> {
        let Self::Declared(description) = self else { return BTreeSet::new() };
        let Some(rotate) = &description.rotate else { return BTreeSet::new() };
        let requests = rotate.prepare.iter().chain([&rotate.request]).chain(&rotate.finish);
        let needed = requests.clone().flat_map(Request::needs);
        // Neither is a request made without the secret that makes it welcome.
        let secret = |name: &&str| description.parameters.get(*name).is_some_and(|it| it.is == Is::Secret);
        let secrets =
            requests.flat_map(Request::templates).flat_map(Template::holes).filter_map(Hole::parameter).filter(secret);
        // A grant is not asked for without its refresh token.
        let by_refresh_token = rotate.request.fills(REFRESH_TOKEN).then_some(REFRESH_TOKEN);
        let lacks = |name: &&str| !values.open.contains_key(*name) && !values.secret.contains_key(*name);
        needed.chain(secrets).chain(by_refresh_token).filter(lacks).collect()
    }

    /// How it gives another secret; `None` where it is Meta, or gives none.
    pub(super) fn renewal<'v>(&self, values: &'v Values) -> Option<Renewal<'v>> {
        match self {
            Self::Unknown => None,
            Self::Special(name) if name.is_meta() => None,
            Self::Special(_) => {
                Some(Renewal { rotation: LONG_LIVED, takes_leave: false, revokes: false, refresh_token: None })
            }
            Self::Declared(description) => {
                let rotate = description.rotate.as_ref()?;
                let refresh_token = values.secret.get(REFRESH_TOKEN);
                let rotation = Rotation {
                    old: rotate.old,
                    by_refresh_token: rotate.request.fills(REFRESH_TOKEN),
                    replayable: rotate.replayable,
                    youngest: rotate.youngest,
                    teaches: false,
                };
                let (takes_leave, revokes) = (rotate.finish.is_some(), description.revoke.is_some());
                Some(Renewal { rotation, takes_leave, revokes, refresh_token })
            }
        }
    }
}

/// Whether that provider is written in Rust.
pub(super) fn is_special(name: &ProviderName) -> bool {
    builtin::SPECIAL.iter().any(|(known, _)| *known == name.as_str())
}

/// How one of Meta's APIs is reached, and where it is by itself.
pub(super) fn graph(at: &At<'_>, (base_url, version): (&str, &str), ca_file: Option<&PathBuf>) -> Option<Graph> {
    Some(Graph {
        base_url: value::provider_url(at.text("base_url").unwrap_or(base_url)).ok()?,
        version: at.owned("version").unwrap_or_else(|| version.to_owned()),
        timeout: at.parsed("timeout", value::period).unwrap_or(DEFAULT_TIMEOUT),
        ca_file: at.parsed("ca_file", value::path).or_else(|| ca_file.cloned()),
    })
}

/// Tokens of Instagram and Threads: 60 days from each refresh, no secret needed, not within their first 24 hours; only the answer to a refresh tells
/// when an Instagram token ends (reference §4).
const LONG_LIVED: Rotation = Rotation {
    old: OldSecret::Lives,
    by_refresh_token: false,
    replayable: true,
    youngest: Span::hours(24),
    teaches: true,
};
/// Place and version (reference §1).
pub(super) const META: (&str, &str) = ("https://graph.facebook.com", "v25.0");
const INSTAGRAM: (&str, &str) = ("https://graph.instagram.com", "v25.0");
const THREADS: (&str, &str) = ("https://graph.threads.net", "v1.0");
const DEFAULT_TIMEOUT: Span = Span::seconds(10);
