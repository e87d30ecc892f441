//! The providers that are built in: descriptions like those of an operator, compiled in. Meta, Instagram and Threads are not among them: they are
//! special, and written in Rust.

use std::sync::{Arc, LazyLock};

use super::{Description, PROVIDER, read};
use crate::domain::token::ProviderName;
use crate::settings::Fault;
use crate::settings::check;
use crate::settings::layers::{self, Node};
use crate::settings::resolve::At;

/// Name and description of each, in the order of the names.
pub const ALL: [(&str, &str); 26] = [
    ("360dialog", include_str!("builtin/360dialog.toml")),
    ("bird", include_str!("builtin/bird.toml")),
    ("bird-bearer", include_str!("builtin/bird-bearer.toml")),
    ("bird-platform", include_str!("builtin/bird-platform.toml")),
    ("cloudflare", include_str!("builtin/cloudflare.toml")),
    ("cloudflare-account", include_str!("builtin/cloudflare-account.toml")),
    ("docker-hub", include_str!("builtin/docker-hub.toml")),
    ("entra", include_str!("builtin/entra.toml")),
    ("github", include_str!("builtin/github.toml")),
    ("gitlab", include_str!("builtin/gitlab.toml")),
    ("google", include_str!("builtin/google.toml")),
    ("google-refresh-token", include_str!("builtin/google-refresh-token.toml")),
    ("hubspot", include_str!("builtin/hubspot.toml")),
    ("hubspot-oauth", include_str!("builtin/hubspot-oauth.toml")),
    ("jwt", include_str!("builtin/jwt.toml")),
    ("linkedin", include_str!("builtin/linkedin.toml")),
    ("manual", include_str!("builtin/manual.toml")),
    ("messagebird", include_str!("builtin/messagebird.toml")),
    ("oauth2", include_str!("builtin/oauth2.toml")),
    ("openbao", include_str!("builtin/vault.toml")),
    ("shopify", include_str!("builtin/shopify.toml")),
    ("slack", include_str!("builtin/slack.toml")),
    ("twilio", include_str!("builtin/twilio.toml")),
    ("twilio-api-key", include_str!("builtin/twilio-api-key.toml")),
    ("vault", include_str!("builtin/vault.toml")),
    ("x509", include_str!("builtin/x509.toml")),
];

/// Those that are written in Rust, with their titles.
pub const SPECIAL: [(&str, &str); 3] = [("instagram", "Instagram"), ("meta", "Meta"), ("threads", "Threads")];

/// The names of all that need no description.
pub fn names() -> impl Iterator<Item = &'static str> + Clone {
    ALL.iter().map(|(name, _)| *name).chain(SPECIAL.iter().map(|(name, _)| *name))
}

/// Its name as people write it; `None` where it is not built in.
pub fn title(name: &ProviderName) -> Option<&'static str> {
    let special = SPECIAL.iter().find(|(known, _)| *known == name.as_str()).map(|(_, title)| *title);
    special.or_else(|| text(name)?.lines().find_map(|line| line.strip_prefix("title = \"")?.strip_suffix('"')))
}

/// The family that a token which begins like this belongs to, where that can be told.
pub fn family(begins: impl Fn(&str) -> bool) -> Option<&'static ProviderName> {
    FAMILIES.iter().find(|(_, prefixes)| prefixes.iter().any(|prefix| begins(prefix))).map(|(name, _)| name)
}

/// How the tokens of each begin.
static FAMILIES: LazyLock<Vec<(ProviderName, Vec<Box<str>>)>> = LazyLock::new(|| {
    let names = ALL.iter().filter_map(|(name, _)| ProviderName::parse(name).ok());
    names.filter_map(|name| description(&name).map(|described| (name, described.prefixes.clone()))).collect()
});

/// The description of that name.
pub fn description(name: &ProviderName) -> Option<Arc<Description>> {
    let (description, faults) = parse(name, text(name)?);
    debug_assert!(faults.is_empty(), "{faults:?}");
    description.map(Arc::new)
}

/// Reads a description as it stands in a file of its own, and judges it as one of the operator's.
pub fn parse(name: &ProviderName, text: &str) -> (Option<Description>, Vec<Fault>) {
    let origin: Arc<str> = Arc::from(format!("the built-in provider {name}"));
    let (mut tree, mut faults) = (Node::empty(&origin), Vec::new());
    layers::lay(&mut tree, text, &origin, &mut faults);
    faults.extend(check::check_keys(&tree, PROVIDER));
    let description = read(name, &At::root(&tree), &mut faults);
    (description, faults)
}

fn text(name: &ProviderName) -> Option<&'static str> {
    ALL.iter().find(|(known, _)| *known == name.as_str()).map(|(_, text)| *text)
}
