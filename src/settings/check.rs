//! Holds a tree against the schema and names every fault at once: unknown keys (with the likely one), wrong types, impossible values.
//!
//! It judges single values. What only makes sense together (a receiver that nobody defined) is judged in `resolve`.

use super::Fault;
use super::layers::{Node, Value};
use super::schema::{self, Key, Kind};
use super::value;
use crate::domain::token::TokenId;
use crate::redact::redact;
use crate::zone::Zone;

/// All that is wrong with the tree.
pub fn check(tree: &Node) -> Vec<Fault> {
    check_keys(tree, schema::ROOT)
}

/// All that is wrong with a table that may have these keys.
pub fn check_keys(table: &Node, keys: &[Key]) -> Vec<Fault> {
    let mut report = Report::default();
    report.table(table, "", keys);
    report.faults
}

/// Everything the walk has to say.
#[derive(Debug, Default)]
struct Report {
    faults: Vec<Fault>,
}

impl Report {
    fn fault(&mut self, node: &Node, path: &str, what: String) {
        self.faults.push(Fault { origin: node.origin.to_string(), key: path.to_owned(), what, absence: false });
    }

    fn table(&mut self, node: &Node, path: &str, keys: &[Key]) {
        let Value::Table(table) = &node.value else {
            return self.fault(node, path, "must be a table".to_owned());
        };
        for (name, child) in table {
            let path = join(path, name);
            match keys.iter().find(|key| key.name == name) {
                Some(key) => {
                    self.value(child, &path, key.kind);
                }
                None => self.fault(child, &path, unknown(name, keys)),
            }
        }
        for key in keys.iter().filter(|key| key.required && !table.contains_key(key.name)) {
            let what = format!("is missing: {}", lower_first(key.doc));
            let key = join(path, key.name);
            self.faults.push(Fault { origin: node.origin.to_string(), key, what, absence: true });
        }
    }

    fn value(&mut self, node: &Node, path: &str, kind: Kind) {
        match (kind, &node.value) {
            (Kind::Table(keys), _) => self.table(node, path, keys),
            (Kind::Named(keys), Value::Table(table)) => {
                for (name, child) in table {
                    let path = join(path, name);
                    if let Err(fault) = TokenId::parse(name) {
                        self.fault(child, &path, format!("is not a good name: {fault}"));
                    }
                    self.table(child, &path, keys);
                }
            }
            (Kind::Items(keys), Value::List(_)) => {
                node.each_item(|index, item| self.table(item, &item_path(path, index, item), keys));
            }
            (Kind::List(Kind::Lead), Value::List(items)) if items.is_empty() => {
                self.fault(node, path, "must name at least one rung".to_owned());
            }
            (Kind::List(kind), Value::List(items)) => {
                for (index, item) in items.iter().enumerate() {
                    self.value(item, &format!("{path}[{index}]"), *kind);
                }
            }
            // In the environment everything is text, so a list is written with commas.
            (Kind::List(kind), Value::Text(text)) if is_environment(node) => {
                for item in text.split(',') {
                    self.scalar(node, path, *kind, &Value::Text(item.trim().to_owned()));
                }
            }
            (Kind::Texts, Value::List(items)) => {
                for (index, item) in items.iter().enumerate() {
                    self.scalar(item, &format!("{path}[{index}]"), Kind::Text, &item.value);
                }
            }
            (Kind::Texts, value) => self.scalar(node, path, Kind::Text, value),
            (Kind::Map, Value::Table(table)) => {
                for (name, child) in table {
                    self.plain(child, &join(path, name), true);
                }
            }
            (Kind::Tree, _) => {}
            (Kind::Statuses, Value::List(items)) => {
                for (index, item) in items.iter().enumerate() {
                    self.status(item, &format!("{path}[{index}]"));
                }
            }
            (Kind::Statuses, _) => self.status(node, path),
            (Kind::Values, Value::Table(table)) => {
                for (name, child) in table {
                    let path = join(path, name);
                    match &child.value {
                        Value::Table(_) => self.secret(child, &path),
                        _ => self.plain(child, &path, false),
                    }
                }
            }
            (Kind::Secret, _) => self.secret(node, path),
            (kind, value) => self.scalar(node, path, kind, value),
        }
    }

    /// A text, a number or a flag; perhaps a list of them.
    fn plain(&mut self, node: &Node, path: &str, list: bool) {
        match &node.value {
            Value::Text(_) | Value::Integer(_) | Value::Bool(_) => {}
            Value::List(items) if list => {
                for (index, item) in items.iter().enumerate() {
                    self.plain(item, &format!("{path}[{index}]"), false);
                }
            }
            Value::List(_) | Value::Float(_) | Value::Group(_) | Value::Table(_) => {
                self.fault(node, path, "must be a text, a whole number, true or false".to_owned());
            }
        }
    }

    fn status(&mut self, node: &Node, path: &str) {
        let fine = match &node.value {
            Value::Integer(status) => (100..=599).contains(status),
            Value::Text(class) => value::status_class(class).is_some(),
            _ => false,
        };
        if !fine {
            self.fault(node, path, "must be a status from 100 to 599, or a class such as \"4xx\"".to_owned());
        }
    }

    fn scalar(&mut self, node: &Node, path: &str, kind: Kind, value: &Value) {
        let verdict = match (kind, value) {
            (Kind::Bool, Value::Bool(_)) => Ok(()),
            (Kind::Bool, Value::Text(text)) if is_environment(node) && matches!(text.as_str(), "true" | "false") => {
                Ok(())
            }
            (Kind::Count(most), Value::Integer(number)) => count(*number, most),
            (Kind::Count(most), Value::Text(text)) if is_environment(node) => {
                text.parse().map_err(|_| "must be a whole number".to_owned()).and_then(|number| count(number, most))
            }
            (kind, Value::Text(text)) => text_of(kind, text),
            (Kind::Span | Kind::Period | Kind::Lead | Kind::Plan, Value::Integer(number)) => {
                Err(format!("must say its unit: \"{number}s\", \"{number}m\", \"{number}h\" or \"{number}d\""))
            }
            (kind, _) => Err(format!("must be {}", wanted(kind))),
        };
        if let Err(what) = verdict {
            self.fault(node, path, what);
        }
    }

    fn secret(&mut self, node: &Node, path: &str) {
        let Value::Table(table) = &node.value else {
            let what = format!(
                "a secret in plain text is refused: it would be readable to everyone who may read the configuration; write {}",
                schema::SECRET_FORMS
            );
            return self.fault(node, path, what);
        };
        let mut names: Vec<&str> = table.keys().map(String::as_str).collect();
        names.sort_unstable();
        let known = [&["env"][..], &["file"], &["credential"], &["env_file", "key"]];
        if !known.contains(&names.as_slice()) {
            return self.fault(node, path, format!("must be one of {}", schema::SECRET_FORMS));
        }
        for (name, child) in table {
            let path = join(path, name);
            let verdict = match (name.as_str(), child.text()) {
                (_, None | Some("")) => Err("must be a text".to_owned()),
                ("file" | "env_file", Some(text)) => value::path(text).map(drop),
                ("credential", Some(text)) if text.contains('/') || text.starts_with('.') => {
                    Err("is the name of a credential, not a path".to_owned())
                }
                ("env" | "credential" | "key", Some(text)) if redact(text, &[]) != text => {
                    Err("looks like the secret itself; write the name under which it is found".to_owned())
                }
                (_, Some(_)) => Ok(()),
            };
            if let Err(what) = verdict {
                self.fault(child, &path, what);
            }
        }
    }
}

/// The path of an item in an array of tables, by its name where it has one: `tokens[helpdesk]`.
pub fn item_path(path: &str, index: usize, item: &Node) -> String {
    match item.get("name").and_then(Node::text) {
        Some(name) if TokenId::parse(name).is_ok() => format!("{path}[{name}]"),
        _ => format!("{path}[{index}]"),
    }
}

/// A dotted path. A name that looks like a secret is not repeated: people paste into the wrong place.
pub fn join(path: &str, name: &str) -> String {
    let name = redact(name, &[]);
    if path.is_empty() { name } else { format!("{path}.{name}") }
}

/// Whether a value came from an environment variable.
pub fn is_environment(node: &Node) -> bool {
    node.origin.starts_with("environment variable")
}

fn text_of(kind: Kind, text: &str) -> Result<(), String> {
    match kind {
        Kind::Text if text.is_empty() => Err("must not be empty".to_owned()),
        Kind::Text => Ok(()),
        Kind::Name => TokenId::parse(text).map(drop).map_err(|fault| format!("is not a good name: {fault}")),
        Kind::Span => value::span(text).map(drop),
        Kind::Period => value::period(text).map(drop),
        Kind::Lead => value::lead(text).map(drop),
        Kind::Plan => value::plan(text).map(drop),
        Kind::Cron if text.is_empty() => Ok(()),
        Kind::Cron => value::cron(text),
        Kind::Path => value::path(text).map(drop),
        Kind::HttpUrl => value::http_url(text).map(drop),
        Kind::ProviderUrl => value::provider_url(text).map(drop),
        Kind::RelayUrl => value::relay_url(text).map(drop),
        Kind::StateUrl => value::state(text).map(drop),
        Kind::SqlUrl => value::sql_place(text).map(drop),
        Kind::Listen => value::listen(text).map(drop),
        Kind::Zone => Zone::parse(text)
            .map(drop)
            .map_err(|_| format!("{} is no time zone; names look like Asia/Kolkata or UTC", value::quoted(text))),
        Kind::Email => value::email(text),
        Kind::Json => value::json(text),
        Kind::Phone => value::phone(text),
        Kind::Id => value::id(text),
        Kind::TimeOfDay => value::time_of_day(text).map(drop),
        Kind::Date => value::date(text).map(drop),
        Kind::Word(words) if words.contains(&text) => Ok(()),
        Kind::Word(words) => Err(format!(
            "{} is none of {}{}",
            value::quoted(text),
            words.join(", "),
            did_you_mean(text, words.iter().copied())
        )),
        kind => Err(format!("must be {}", wanted(kind))),
    }
}

fn wanted(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool => "true or false",
        Kind::Count(_) => "a whole number",
        Kind::List(_) => "a list",
        Kind::Table(_) | Kind::Named(_) | Kind::Map | Kind::Values => "a table",
        Kind::Texts => "a text or a list of texts",
        Kind::Items(_) => "an array of tables ([[…]])",
        Kind::Span | Kind::Period => "a duration such as \"15m\"",
        Kind::Lead => "a duration such as \"21d\" or a share such as \"33%\"",
        _ => "a text",
    }
}

fn count(number: i64, most: i64) -> Result<(), String> {
    if (1..=most).contains(&number) { Ok(()) } else { Err(format!("must lie between 1 and {most}")) }
}

fn unknown(name: &str, keys: &[Key]) -> String {
    let known = keys.iter().map(|key| key.name);
    let hint = did_you_mean(name, known.clone());
    if hint.is_empty() {
        format!("is not a known key; known here: {}", known.collect::<Vec<_>>().join(", "))
    } else {
        format!("is not a known key{hint}")
    }
}

/// `; did you mean …?`, when one of the words is near enough to be meant.
pub fn did_you_mean<'w>(written: &str, words: impl Iterator<Item = &'w str>) -> String {
    words
        .map(|word| (strsim::damerau_levenshtein(written, word), word))
        .filter(|(distance, word)| *distance <= 1 + word.len() / 4 || (written.len() >= 4 && word.starts_with(written)))
        .min()
        .map(|(_, word)| format!("; did you mean `{word}`?"))
        .unwrap_or_default()
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}
