//! The configuration as text: effective values with their origins, and the schema as JSON Schema.
//!
//! Both are read from the schema table. A place where a secret stands is shown; a secret is not, because it was never read.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use super::check::{is_environment, item_path};
use super::layers::{Node, Value};
use super::schema::{self, Key, Kind};

/// One effective setting.
#[derive(Debug)]
pub struct Setting<'a> {
    /// Its dotted key.
    pub path: &'a str,
    /// The value as people may see it.
    pub value: &'a str,
    /// The value as written; `None` for a default.
    pub node: Option<&'a Node>,
    /// What the schema says of its key.
    pub key: &'a Key,
}

/// Every effective setting, one a line: value, and where it came from.
pub fn effective(tree: &Node) -> String {
    let mut out = String::new();
    table(Some(tree), "", schema::ROOT, true, &mut |setting| {
        let Setting { path, value, node, .. } = setting;
        let origin = node.map_or("default", |node| &*node.origin);
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{path} = {value}  # {origin}");
    });
    out
}

/// The JSON Schema (draft 2020-12) of the configuration, for editors.
pub fn json_schema() -> Json {
    let mut root = object(schema::ROOT);
    root.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    root.insert("title".to_owned(), json!("tokenwatch configuration"));
    Json::Object(root)
}

/// One key as a reference tells of it.
#[derive(Debug)]
pub struct Entry {
    /// The dotted path; `NAME` stands for a name of the operator's, `[]` for each item of a list.
    pub path: String,
    /// What may stand there; `None` where it is a table, whose keys follow.
    pub holds: Option<String>,
    /// Its default as TOML writes it, or empty.
    pub default: &'static str,
    /// Whether it must be given.
    pub required: bool,
    /// What it means.
    pub doc: String,
}

/// Every key, each table before what is in it.
pub fn entries() -> Vec<Entry> {
    let mut entries = Vec::new();
    enter(&mut entries, "", schema::ROOT);
    entries
}

/// The reference of every key in Markdown, for `docs/configuration.md`.
pub fn reference() -> String {
    let mut out = String::from("| key | what stands there | default | meaning |\n|---|---|---|---|\n");
    for Entry { path, holds, default, required, doc } in entries() {
        let Some(holds) = holds else { continue };
        let default = match (default, required) {
            ("", true) => "required".to_owned(),
            ("", false) => String::new(),
            (default, _) => format!("`{default}`"),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(out, "| `{path}` | {holds} | {default} | {} |", doc.replace('|', "\\|"));
    }
    out
}

fn enter(entries: &mut Vec<Entry>, path: &str, keys: &[Key]) {
    for key in keys {
        let path = super::check::join(path, key.name);
        let (path, below) = match key.kind {
            Kind::Table(keys) => (path, Some(keys)),
            Kind::Named(keys) => (format!("{path}.NAME"), Some(keys)),
            Kind::Items(keys) => (format!("{path}[]"), Some(keys)),
            _ => (path, None),
        };
        let holds = below.is_none().then(|| in_words(key.kind));
        let doc = key.doc.to_owned() + if key.at_start { " A change needs a restart." } else { "" };
        entries.push(Entry { path: path.clone(), holds, default: key.default, required: key.required, doc });
        if let Some(below) = below {
            enter(entries, &path, below);
        }
    }
}

fn in_words(kind: Kind) -> String {
    match kind {
        Kind::Text => "text".to_owned(),
        Kind::Name => "name".to_owned(),
        Kind::Span => "duration".to_owned(),
        Kind::Period => "duration above zero".to_owned(),
        Kind::Lead => "duration or share".to_owned(),
        Kind::Plan => "duration or cron expression".to_owned(),
        Kind::Cron => "cron expression".to_owned(),
        Kind::Bool => "true or false".to_owned(),
        Kind::Count(most) => format!("1 to {most}"),
        Kind::Path => "absolute path".to_owned(),
        Kind::HttpUrl | Kind::ProviderUrl | Kind::RelayUrl | Kind::StateUrl | Kind::SqlUrl => "url".to_owned(),
        Kind::Listen => "address:port".to_owned(),
        Kind::Zone => "time zone".to_owned(),
        Kind::Email => "mail address".to_owned(),
        Kind::Phone => "phone number".to_owned(),
        Kind::Id => "digits".to_owned(),
        Kind::TimeOfDay => "time of day".to_owned(),
        Kind::Date => "date or moment".to_owned(),
        Kind::Texts => "text or list of texts".to_owned(),
        Kind::Map => "table of values".to_owned(),
        Kind::Tree => "anything".to_owned(),
        Kind::Statuses => "status, class, or list".to_owned(),
        Kind::Values => "table of values, and of secret references".to_owned(),
        Kind::Json => "JSON".to_owned(),
        Kind::Word(words) => words.join(", "),
        Kind::Secret => "secret reference".to_owned(),
        Kind::List(item) => format!("list of: {}", in_words(*item)),
        Kind::Table(_) | Kind::Named(_) | Kind::Items(_) => "table".to_owned(),
    }
}

/// Visits one table. `alone` is false inside entries of a list or map: there an absent table means that the general one applies, so its defaults
/// are not shown again.
pub(super) fn table(node: Option<&Node>, path: &str, keys: &[Key], alone: bool, visit: &mut dyn FnMut(&Setting<'_>)) {
    for key in keys {
        let child = node.and_then(|node| node.get(key.name));
        let path = super::check::join(path, key.name);
        let mut show = |value: &str, node| visit(&Setting { path: &path, value, node, key });
        match (key.kind, child) {
            (Kind::Table(keys), child) => {
                if child.is_some() || (alone && has_defaults(keys)) {
                    table(child, &path, keys, alone, visit);
                }
            }
            (Kind::Named(keys), Some(child)) => {
                if let Value::Table(entries) = &child.value {
                    for (name, entry) in entries {
                        table(Some(entry), &super::check::join(&path, name), keys, false, visit);
                    }
                }
            }
            (Kind::Items(keys), Some(child)) => {
                child.each_item(|index, item| table(Some(item), &item_path(&path, index, item), keys, false, visit));
            }
            (Kind::Secret, Some(child)) => show(&format!("{HIDDEN_IN}{}", plain(child)), Some(child)),
            (Kind::HttpUrl, Some(child)) if opens_a_door(&path) => {
                show(&format!("{:?}", host(child.text().unwrap_or_default())), Some(child));
            }
            (Kind::List(_), Some(child)) if is_environment(child) => show(&from_commas(child), Some(child)),
            (_, Some(child)) => show(&plain(child), Some(child)),
            (_, None) if !key.default.is_empty() && (alone || !is_policy(&path)) => show(key.default, None),
            (_, None) => {}
        }
    }
}

/// Whether a table that is not written has settings all the same.
pub(super) fn has_defaults(keys: &[Key]) -> bool {
    let below = |key: &Key| matches!(key.kind, Kind::Table(keys) if has_defaults(keys));
    !keys.iter().any(|key| key.required) && keys.iter().any(|key| !key.default.is_empty() || below(key))
}

/// A token's own policy takes what it leaves out from `[policy]`, not from the defaults.
fn is_policy(path: &str) -> bool {
    path.contains("].policy.")
}

/// A list of the environment, which writes it as a text with commas.
fn from_commas(node: &Node) -> String {
    let Some(text) = node.text() else { return plain(node) };
    let item = |text: &str| plain(&Node { value: Value::Text(text.to_owned()), origin: Arc::clone(&node.origin) });
    format!("[{}]", text.split(',').map(|text| item(text.trim())).collect::<Vec<_>>().join(", "))
}

/// A value as TOML writes it. Whatever looks like a secret is hidden even here.
fn plain(node: &Node) -> String {
    match &node.value {
        Value::Text(text) => format!("{:?}", crate::redact::redact(&without_password(text), &[])),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::List(_) => {
            let mut items = Vec::new();
            node.each_item(|_, item| items.push(plain(item)));
            format!("[{}]", items.join(", "))
        }
        Value::Group(_) => "…".to_owned(),
        Value::Table(table) => {
            let fields: Vec<String> =
                table.iter().map(|(name, node)| format!("{name} = {}", field(name, node))).collect();
            format!("{{ {} }}", fields.join(", "))
        }
    }
}

/// A part that this version does not act on is not checked either, so its secrets may stand there in plain text.
fn field(name: &str, node: &Node) -> String {
    let names_a_secret = ["secret", "password", "token"].iter().any(|word| name.contains(word));
    if names_a_secret && node.text().is_some() { "\"***\"".to_owned() } else { plain(node) }
}

/// Whether whoever knows that whole address may use it: its path or query is then as good as a password.
fn opens_a_door(path: &str) -> bool {
    path == "heartbeat.url" || (path.starts_with("receivers.") && path.ends_with(".webhook.url"))
}

/// `https://host:port/***`.
fn host(text: &str) -> String {
    match url::Url::parse(text) {
        Ok(url) if url.has_host() => format!("{}/***", url.origin().ascii_serialization()),
        _ => "***".to_owned(),
    }
}

/// `https://user:***@host`.
fn without_password(text: &str) -> String {
    match url::Url::parse(text) {
        Ok(mut url) if url.password().is_some() => {
            // Fails only for urls that cannot have one, and this one has.
            let _ = url.set_password(Some("***"));
            url.to_string()
        }
        _ => text.to_owned(),
    }
}

fn object(keys: &[Key]) -> Map<String, Json> {
    let properties: Map<String, Json> = keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let required: Vec<&str> = keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut object = Map::new();
    object.insert("type".to_owned(), json!("object"));
    object.insert("additionalProperties".to_owned(), json!(false));
    object.insert("properties".to_owned(), Json::Object(properties));
    if !required.is_empty() {
        object.insert("required".to_owned(), json!(required));
    }
    object
}

fn property(key: &Key) -> Json {
    let mut described = kind(key.kind);
    described.insert("description".to_owned(), json!(key.doc));
    if let Some(default) = default_json(key.default) {
        described.insert("default".to_owned(), default);
    }
    Json::Object(described)
}

/// A default as written in TOML is also JSON: texts, numbers, flags and lists of texts look the same in both.
fn default_json(default: &str) -> Option<Json> {
    serde_json::from_str(default).ok()
}

fn kind(kind: Kind) -> Map<String, Json> {
    let described = match kind {
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Count(most) => json!({"type": "integer", "minimum": 1, "maximum": most}),
        Kind::Name => json!({"type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,62}$"}),
        Kind::Span | Kind::Period => json!({"type": "string", "pattern": SPAN_PATTERN}),
        Kind::Lead => json!({"type": "string", "pattern": format!("({SPAN_PATTERN})|(^[0-9.]+%$)")}),
        Kind::Word(words) => json!({"type": "string", "enum": words}),
        Kind::HttpUrl | Kind::ProviderUrl | Kind::RelayUrl | Kind::StateUrl | Kind::SqlUrl => {
            json!({"type": "string", "format": "uri"})
        }
        Kind::Text
        | Kind::Plan
        | Kind::Cron
        | Kind::Path
        | Kind::Listen
        | Kind::Zone
        | Kind::Email
        | Kind::Phone
        | Kind::Id
        | Kind::TimeOfDay
        | Kind::Date => {
            json!({"type": "string"})
        }
        Kind::Texts => json!({"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
        Kind::Map => json!({"type": "object", "additionalProperties": {"type": SCALARS}}),
        Kind::Tree => json!({}),
        Kind::Statuses => json!({"type": ["integer", "string", "array"]}),
        Kind::Values => json!({"type": "object", "additionalProperties": {"oneOf": [{"type": SCALARS}, secret()]}}),
        Kind::Json => json!({"type": "string", "contentMediaType": "application/json"}),
        Kind::Secret => secret(),
        Kind::List(item) => json!({"type": "array", "items": self::kind(*item)}),
        Kind::Table(keys) => return object(keys),
        Kind::Named(keys) => json!({"type": "object", "additionalProperties": object(keys)}),
        Kind::Items(keys) => json!({"type": "array", "items": object(keys)}),
    };
    match described {
        Json::Object(map) => map,
        _ => Map::new(),
    }
}

fn secret() -> Json {
    let form = |names: &[&str]| {
        let properties: Map<String, Json> =
            names.iter().map(|name| ((*name).to_owned(), json!({"type": "string"}))).collect();
        json!({"type": "object", "additionalProperties": false, "required": names, "properties": properties})
    };
    json!({"oneOf": [form(&["env"]), form(&["file"]), form(&["credential"]), form(&["env_file", "key"])]})
}

/// Before the place of a secret.
pub(super) const HIDDEN_IN: &str = "\"***\" from ";
const SCALARS: [&str; 4] = ["string", "integer", "boolean", "array"];
const SPAN_PATTERN: &str = "^([0-9]+[smhdw])+$";
