//! Reads the configuration's layers and lays them over each other: the main file, `conf.d/*.toml` in name order, the environment.
//!
//! The result is one tree in which every value knows where it came from. What the values mean is not judged here.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use config::{ConfigError, Environment, FileFormat, Source, ValueKind};

use super::Fault;
use super::value::quoted;

/// A value and its origin.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// The file it stands in, or the environment variable that set it.
    pub origin: Arc<str>,
}

/// What was written.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A text, and whether it came from the environment (where everything is text).
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A list.
    List(Vec<Node>),
    /// Several items of a list, still as text.
    Group(Group),
    /// A table.
    Table(BTreeMap<String, Node>),
}

/// A part of a file that holds nothing but entries of `tokens`. A hundred thousand of them as nodes would leave holes in memory that no
/// allocator gives back, so they are read a group at a time, each time that the list is walked.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    file: Arc<str>,
    part: Range<usize>,
    origin: Arc<str>,
}

impl Node {
    /// An empty table.
    pub fn empty(origin: &str) -> Self {
        Self { value: Value::Table(BTreeMap::new()), origin: Arc::from(origin) }
    }

    /// The child of that name, where this is a table.
    pub fn get(&self, name: &str) -> Option<&Self> {
        match &self.value {
            Value::Table(table) => table.get(name),
            _ => None,
        }
    }

    /// Visits the items, where this is a list.
    pub fn each_item(&self, mut visit: impl FnMut(usize, &Self)) {
        let Value::List(items) = &self.value else { return };
        let mut index = 0..;
        let mut visit = |item: &Self| index.next().into_iter().for_each(|index| visit(index, item));
        for item in items {
            match &item.value {
                Value::Group(group) => group.items().iter().for_each(&mut visit),
                _ => visit(item),
            }
        }
    }

    /// The text, where this is one.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Reads the main file, the drop-ins beside it and the environment.
pub fn read(main: &Path, environment: &[(String, String)], faults: &mut Vec<Fault>) -> Node {
    let mut tree = Node::empty(&main.display().to_string());
    for file in std::iter::once(main.to_owned()).chain(drop_ins(main, faults)) {
        let origin: Arc<str> = Arc::from(file.display().to_string());
        match fs::read_to_string(&file) {
            Ok(text) => lay(&mut tree, &text, &origin, faults),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                faults.push(Fault::file(&origin, "is not UTF-8, as TOML is; iconv -t UTF-8 makes it so".to_owned()));
            }
            Err(error) => faults.push(Fault::file(&origin, format!("cannot be read: {error}"))),
        }
    }
    overlay(&mut tree, environment, faults);
    tree
}

/// Lays one file's text over the tree: tables are merged, lists of tables are joined, everything else is replaced.
pub fn lay(tree: &mut Node, text: &str, origin: &Arc<str>, faults: &mut Vec<Fault>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match in_groups(text, origin).map_or_else(|| parse(text, origin), Ok) {
        Ok(node) => merge(tree, node),
        Err(error) => faults.push(Fault::file(origin, syntax(&error.to_string()))),
    }
}

fn parse(text: &str, origin: &Arc<str>) -> Result<Node, ConfigError> {
    let map = config::File::from_str(text, FileFormat::Toml).collect()?;
    let table = map.into_iter().map(|(name, value)| (name, node(value, origin))).collect();
    Ok(Node { value: Value::Table(table), origin: Arc::clone(origin) })
}

/// A file that ends in a long list of tokens and is right in every part. `None` for any other: that is read as a whole, faults and all.
fn in_groups(text: &str, origin: &Arc<str>) -> Option<Node> {
    let at_once = text.starts_with("[[tokens]]").then_some(0);
    let later = text.match_indices("\n[[tokens]]").map(|(at, _)| at + 1);
    let starts: Vec<usize> = at_once.into_iter().chain(later).collect();
    let first = starts.first().filter(|_| starts.len() >= LONG_LIST)?;
    let mut tree = parse(&text[..*first], origin).ok()?;
    let file: Arc<str> = Arc::from(text);
    let bounds: Vec<usize> = starts.iter().copied().step_by(GROUP).chain([text.len()]).collect();
    let group = |bounds: &[usize]| {
        let group = Group { file: Arc::clone(&file), part: bounds[0]..bounds[1], origin: Arc::clone(origin) };
        group.read().map(|_| Node { value: Value::Group(group), origin: Arc::clone(origin) })
    };
    let groups: Option<Vec<Node>> = bounds.windows(2).map(group).collect();
    let list = Node { value: Value::List(groups?), origin: Arc::clone(origin) };
    match &mut tree.value {
        Value::Table(table) if !table.contains_key(TOKENS) => table.insert(TOKENS.to_owned(), list),
        _ => return None,
    };
    Some(tree)
}

impl Group {
    /// The entries, if the text holds these and nothing else.
    fn read(&self) -> Option<Vec<Node>> {
        let Value::Table(mut table) = parse(&self.file[self.part.clone()], &self.origin).ok()?.value else {
            return None;
        };
        let tokens = table.remove(TOKENS).filter(|_| table.is_empty())?;
        if let Value::List(items) = tokens.value { Some(items) } else { None }
    }

    fn items(&self) -> Vec<Node> {
        self.read().expect("it was read before, and text does not change")
    }
}

/// The parser's message quotes the faulty line, which may hold a secret; its position and its last line say enough.
fn syntax(message: &str) -> String {
    let mut lines = message.lines().filter(|line| !line.trim().is_empty() && !line.contains('|'));
    let position = lines.next().unwrap_or("not TOML").to_owned();
    let what = lines.next_back().unwrap_or_default().trim().to_owned();
    if what.is_empty() { position } else { format!("{position}: {what}") }
}

/// The files beside the main one, in the order in which they are laid over it.
pub fn drop_ins(main: &Path, faults: &mut Vec<Fault>) -> Vec<PathBuf> {
    let folder = main.parent().unwrap_or(Path::new(".")).join("conf.d");
    let mut files: Vec<PathBuf> = match fs::read_dir(&folder) {
        Ok(entries) => {
            entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| is_drop_in(path)).collect()
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            faults.push(Fault::file(&folder.display().to_string(), format!("cannot be read: {error}")));
            Vec::new()
        }
    };
    files.sort();
    files
}

fn is_drop_in(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
    !hidden && path.extension().is_some_and(|extension| extension == "toml")
}

fn node(value: config::Value, origin: &Arc<str>) -> Node {
    let value = match value.kind {
        ValueKind::Boolean(flag) => Value::Bool(flag),
        ValueKind::I64(number) => Value::Integer(number),
        ValueKind::I128(number) => Value::Integer(i64::try_from(number).unwrap_or(i64::MAX)),
        ValueKind::U64(number) => Value::Integer(i64::try_from(number).unwrap_or(i64::MAX)),
        ValueKind::U128(number) => Value::Integer(i64::try_from(number).unwrap_or(i64::MAX)),
        ValueKind::Float(number) => Value::Float(number),
        ValueKind::String(text) => Value::Text(text),
        ValueKind::Array(items) => Value::List(items.into_iter().map(|item| node(item, origin)).collect()),
        ValueKind::Table(table) => {
            Value::Table(table.into_iter().map(|(name, value)| (name, node(value, origin))).collect())
        }
        ValueKind::Nil => Value::Text(String::new()),
    };
    Node { value, origin: Arc::clone(origin) }
}

fn merge(base: &mut Node, over: Node) {
    match (&mut base.value, over.value) {
        (Value::Table(base), Value::Table(over)) => {
            for (name, node) in over {
                match base.get_mut(&name) {
                    Some(old) => merge(old, node),
                    None => drop(base.insert(name, node)),
                }
            }
        }
        (Value::List(base), Value::List(over)) if over.iter().chain(base.iter()).all(is_table) => base.extend(over),
        (_, value) => *base = Node { value, origin: over.origin },
    }
}

const fn is_table(node: &Node) -> bool {
    matches!(node.value, Value::Table(_) | Value::Group(_))
}

/// Lays `TOKENWATCH__SMTP__FROM=…` over `smtp.from`. A segment names a key, an index, or an entry by its name written in capitals with
/// `_` for every other character.
pub fn overlay(tree: &mut Node, environment: &[(String, String)], faults: &mut Vec<Fault>) {
    let variables: std::collections::HashMap<String, String> = environment.iter().cloned().collect();
    let source = Environment::with_prefix(PREFIX).prefix_separator("__").separator("__").source(Some(variables));
    let map = match source.collect() {
        Ok(map) => map,
        Err(error) => {
            faults.push(Fault::file("the environment", error.to_string()));
            return;
        }
    };
    let mut paths: Vec<(String, config::Value)> = map.into_iter().collect();
    paths.sort_by(|a, b| a.0.cmp(&b.0));
    for (path, value) in paths {
        let segments: Vec<&str> = path.split('.').collect();
        let variable: Arc<str> =
            Arc::from(format!("environment variable {PREFIX}__{}", segments.join("__").to_uppercase()));
        let leaf = node(value, &variable);
        if let Err(lost) = place(tree, &segments, leaf) {
            faults.push(Fault::file(&variable, format!("sets nothing: there is no {}", quoted(lost))));
        }
    }
}

/// Puts a leaf where the segments lead, and makes the tables on the way. `Err` names the segment that leads nowhere.
fn place<'a>(at: &mut Node, segments: &[&'a str], leaf: Node) -> Result<(), &'a str> {
    let Some((segment, rest)) = segments.split_first() else {
        *at = leaf;
        return Ok(());
    };
    match &mut at.value {
        Value::Table(table) => {
            let name = table.keys().find(|key| written_in_capitals(key) == written_in_capitals(segment));
            let name = name.cloned().unwrap_or_else(|| (*segment).to_owned());
            let child = table.entry(name).or_insert_with(|| Node::empty(&leaf.origin));
            place(child, rest, leaf)
        }
        Value::List(items) => {
            unfold(items);
            let named = |node: &Node| {
                node.get("name")
                    .and_then(Node::text)
                    .is_some_and(|name| written_in_capitals(name) == written_in_capitals(segment))
            };
            let index = segment.parse().ok().or_else(|| items.iter().position(named));
            let child = index.and_then(|index: usize| items.get_mut(index)).ok_or(*segment)?;
            place(child, rest, leaf)
        }
        Value::Text(_) | Value::Integer(_) | Value::Float(_) | Value::Bool(_) | Value::Group(_) => Err(segment),
    }
}

/// Reads the groups of a list, for whoever changes single items.
fn unfold(items: &mut Vec<Node>) {
    let unfolded = std::mem::take(items).into_iter().flat_map(|item| match item.value {
        Value::Group(group) => group.items(),
        _ => vec![item],
    });
    *items = unfolded.collect();
}

fn written_in_capitals(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

const PREFIX: &str = "TOKENWATCH";
const TOKENS: &str = "tokens";
/// Shorter lists are read as a whole.
const LONG_LIST: usize = GROUP;
/// Entries read at a time.
const GROUP: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    /// Enough tokens to be read in groups, after `head`.
    fn many(head: &str) -> String {
        let entry = |index| format!("[[tokens]]\nname = \"t{index}\"\n[tokens.policy]\nrepeat = \"1d\"\n");
        (0..=2 * LONG_LIST).map(entry).fold(head.to_owned(), |text, entry| text + &entry)
    }

    fn tree(texts: &[&str]) -> (Node, Vec<Fault>) {
        let (mut tree, mut faults) = (Node::empty("main"), Vec::new());
        for text in texts {
            lay(&mut tree, text, &Arc::from("file"), &mut faults);
        }
        (tree, faults)
    }

    fn names(tree: &Node) -> Vec<String> {
        let mut names = Vec::new();
        let list = tree.get(TOKENS).expect("a list of tokens");
        list.each_item(|index, item| {
            assert_eq!(index, names.len());
            assert!(item.get("policy").is_some());
            names.extend(item.get("name").and_then(Node::text).map(str::to_owned));
        });
        names
    }

    fn is_in_groups(tree: &Node) -> bool {
        matches!(tree.get(TOKENS).map(|list| &list.value), Some(Value::List(items)) if matches!(items[0].value, Value::Group(_)))
    }

    #[test]
    fn a_long_list_reads_the_same_in_groups() {
        let short = "[[tokens]]\nname = \"last\"\npolicy = {}\n";
        for head in ["", "[policy]\nrepeat = \"1d\"\n"] {
            let (tree, faults) = tree(&[&many(head), short]);
            let names = names(&tree);
            assert!(is_in_groups(&tree) && faults.is_empty(), "{faults:?}");
            assert_eq!((names.len(), names[0].as_str()), (2 * LONG_LIST + 2, "t0"));
            assert_eq!(names.last().map(String::as_str), Some("last"));
        }
    }

    #[test]
    fn a_long_file_of_another_shape_is_read_as_a_whole() {
        let (after, faults) = tree(&[&(many("") + "[policy]\nrepeat = \"1d\"\n")]);
        assert!(!is_in_groups(&after) && faults.is_empty() && after.get("policy").is_some());
        let (_, faults) = tree(&[&many("tokens = []\n")]);
        assert_eq!(faults.len(), 1, "an array of tables cannot extend a list");
        let (_, faults) = tree(&[&(many("") + "name = \n")]);
        assert!(faults[0].what.contains("line"), "{faults:?}");
        let (text, faults) = tree(&[&(many("x = \"\"\"\n") + "\"\"\"\n")]);
        assert!(faults.is_empty() && text.get("x").is_some() && text.get(TOKENS).is_none());
    }

    #[test]
    fn the_environment_reaches_into_groups() {
        let (mut tree, mut faults) = tree(&[&many("")]);
        overlay(&mut tree, &[("TOKENWATCH__TOKENS__T7__NAME".to_owned(), "seven".to_owned())], &mut faults);
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!(names(&tree)[7], "seven");
    }
}
