//! What one configuration changes in another: which tokens, apps, receivers and providers come, go and change, and in which keys.
//!
//! It compares settings as they are written, with their defaults, so a default that is written out changes nothing; `"1d"` in the place of `"24h"`
//! does. No secret is ever in it: a value is kept as `config show` prints it, and what that hides is told apart by a hash that stays in this process.
//! For the log there are fewer words: addresses and whatever may say something of a person are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};

use super::check::{item_path, join};
use super::layers::{Node, Value};
use super::schema::{self, Key, Kind};
use super::show::{self, HIDDEN_IN};

/// A configuration as it is remembered, to be compared with the next one.
#[derive(Debug)]
pub struct Picture {
    parts: BTreeMap<(Sort, Box<str>), Box<[Line]>>,
    /// Of so many tokens only marks are kept, in the order of their names.
    crowd: Option<Crowd>,
}

/// Names of tokens, each with a mark of all that is said of it.
type Crowd = Box<[(Box<str>, u64)]>;

/// What a part of a configuration is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Sort {
    /// A table that stands once, such as `[daemon]`.
    Table,
    /// A receiver.
    Receiver,
    /// How a provider is reached.
    Provider,
    /// A provider that is described.
    Description,
    /// An app.
    App,
    /// A token.
    Token,
}

/// One part that differs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// What it is.
    pub sort: Sort,
    /// Its name.
    pub name: Box<str>,
    /// What became of it.
    pub what: What,
}

/// What became of a part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// These keys differ; none is named where there are too many tokens to remember their values.
    Changed(Vec<Change>),
}

/// One key that differs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The key, within its part.
    pub key: Box<str>,
    /// What stood there, as people may see it.
    pub from: Option<Box<str>>,
    /// What stands there now.
    pub to: Option<Box<str>>,
    /// Whether only a restart acts on it.
    pub needs_restart: bool,
    /// Whether its values may stand in a log.
    pub may_be_logged: bool,
}

/// All that differs.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Difference {
    /// The parts, tables first and tokens last.
    pub entries: Vec<Entry>,
    /// What only a restart acts on, and does not run as it is written now: perhaps since an earlier reload.
    pub waiting: Vec<Waiting>,
}

/// A setting that waits for a restart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Waiting {
    /// Its dotted key.
    pub key: Box<str>,
    /// What this process runs with.
    pub running: Option<Box<str>>,
}

/// The configuration that a running process has: as it started, and as it was reloaded last.
#[derive(Debug)]
pub struct InForce {
    started: BTreeMap<Box<str>, Box<str>>,
    known: Mutex<Arc<Picture>>,
}

impl InForce {
    /// A process that starts with this.
    pub fn new(picture: Picture) -> Self {
        Self { started: picture.at_start(), known: Mutex::new(Arc::new(picture)) }
    }

    /// What this would change.
    pub fn compare(&self, new: &Picture) -> Difference {
        let known = Arc::clone(&self.known.lock().unwrap_or_else(PoisonError::into_inner));
        Difference { waiting: waiting(&self.started, new), ..difference(&known, new) }
    }

    /// Takes this for what is in force.
    pub fn put(&self, new: Picture) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
    }
}

fn waiting(started: &BTreeMap<Box<str>, Box<str>>, new: &Picture) -> Vec<Waiting> {
    let now = new.at_start();
    let keys: BTreeSet<&Box<str>> = started.keys().chain(now.keys()).collect();
    let differ = keys.into_iter().filter(|key| started.get(*key) != now.get(*key));
    differ.map(|key| Waiting { key: key.clone(), running: started.get(key).cloned() }).collect()
}

/// `daemon.listen needs a restart: until then "127.0.0.1:9847" stays in force`.
impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running = self.running.as_deref().unwrap_or("its default");
        write!(f, "{} needs a restart: until then {running} stays in force", self.key)
    }
}

/// One effective setting as it is remembered.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Line {
    key: Box<str>,
    shown: Box<str>,
    /// Of the value as it was written, for what is not shown may change.
    mark: u64,
    at_start: bool,
    may_be_logged: bool,
}

impl Sort {
    /// What people call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Receiver => "receiver",
            Self::Provider => "provider",
            Self::Description => "description of provider",
            Self::App => "app",
            Self::Token => "token",
        }
    }
}

impl Picture {
    /// What is remembered of this configuration.
    pub fn of(tree: &Node) -> Self {
        Self::with_values_of(tree, MANY)
    }

    /// The same with the values of so many tokens at most.
    fn with_values_of(tree: &Node, many: usize) -> Self {
        let mut parts = BTreeMap::new();
        let mut crowd = None;
        for key in schema::ROOT {
            let child = tree.get(key.name);
            match (key.kind, child.map(|child| &child.value)) {
                (Kind::Named(keys), Some(Value::Table(entries))) => {
                    let sort = match key.name {
                        "receivers" => Sort::Receiver,
                        "apps" => Sort::App,
                        "providers" => Sort::Description,
                        _ => Sort::Provider,
                    };
                    for (name, entry) in entries {
                        let lines = lines(Some(entry), &join(key.name, name), keys, false);
                        parts.insert((sort, Box::from(name.as_str())), lines);
                    }
                }
                (Kind::Items(keys), Some(_)) => {
                    let tokens = child.map(|child| tokens(child, key, (keys, many), &mut parts));
                    crowd = tokens.flatten();
                }
                (Kind::Table(keys), value) if value.is_some() || show::has_defaults(keys) => {
                    let lines = lines(child, key.name, keys, true);
                    parts.insert((Sort::Table, Box::from(key.name)), lines);
                }
                (_, _) => {}
            }
        }
        Self { parts, crowd }
    }

    /// What is read at the start only.
    fn at_start(&self) -> BTreeMap<Box<str>, Box<str>> {
        let tables = self.parts.iter().filter(|((sort, _), _)| *sort == Sort::Table);
        let lines = tables.flat_map(|((_, name), lines)| lines.iter().map(move |line| (name, line)));
        let wanted = lines.filter(|(_, line)| line.at_start);
        wanted.map(|(name, line)| (format!("{name}.{}", line.key).into(), line.shown.clone())).collect()
    }

    fn is_token(&self, name: &str) -> bool {
        let among = |crowd: &[(Box<str>, u64)]| crowd.binary_search_by(|(known, _)| (**known).cmp(name)).is_ok();
        self.crowd.as_deref().map_or_else(|| self.parts.contains_key(&(Sort::Token, Box::from(name))), among)
    }

    /// The tokens with the marks of all that is said of each.
    fn marks(&self) -> BTreeMap<&str, u64> {
        let few = self.parts.iter().filter(|((sort, _), _)| *sort == Sort::Token);
        let few = few.map(|((_, name), lines)| (&**name, mark_of(lines)));
        let many = self.crowd.iter().flat_map(|crowd| crowd.iter()).map(|(name, mark)| (&**name, *mark));
        few.chain(many).collect()
    }
}

/// Notes the tokens: each by its lines while they are few, else all of them by their marks.
fn tokens(
    list: &Node,
    key: &Key,
    (keys, many): (&[Key], usize),
    parts: &mut BTreeMap<(Sort, Box<str>), Box<[Line]>>,
) -> Option<Crowd> {
    let mut count = 0_usize;
    list.each_item(|_, _| count += 1);
    let mut marks = Vec::with_capacity(if count > many { count } else { 0 });
    list.each_item(|index, item| {
        let path = item_path(key.name, index, item);
        let lines = lines(Some(item), &path, keys, false);
        let name: Box<str> = Box::from(item.get("name").and_then(Node::text).unwrap_or(&path));
        if count > many {
            marks.push((name, mark_of(&lines)));
        } else {
            parts.insert((Sort::Token, name), lines);
        }
    });
    marks.sort_unstable();
    (count > many).then(|| marks.into_boxed_slice())
}

/// What the second changes in the first.
pub fn difference(old: &Picture, new: &Picture) -> Difference {
    let in_crowds = old.crowd.is_some() || new.crowd.is_some();
    let skip = |sort: Sort| in_crowds && sort == Sort::Token;
    let mut entries = Vec::new();
    for ((sort, name), before) in old.parts.iter().filter(|((sort, _), _)| !skip(*sort)) {
        let what = match new.parts.get(&(*sort, name.clone())) {
            None => What::Removed,
            Some(now) => match changes(before, now) {
                changes if changes.is_empty() => continue,
                changes => What::Changed(changes),
            },
        };
        entries.push(Entry { sort: *sort, name: name.clone(), what });
    }
    for ((sort, name), _) in new.parts.iter().filter(|((sort, _), _)| !skip(*sort)) {
        if !old.parts.contains_key(&(*sort, name.clone())) {
            entries.push(Entry { sort: *sort, name: name.clone(), what: What::Added });
        }
    }
    if in_crowds {
        let (before, now) = (old.marks(), new.marks());
        let entry = |name: &str, what| Entry { sort: Sort::Token, name: Box::from(name), what };
        for (name, mark) in &before {
            match now.get(name) {
                None => entries.push(entry(name, What::Removed)),
                Some(same) if same == mark => {}
                Some(_) => entries.push(entry(name, What::Changed(Vec::new()))),
            }
        }
        entries.extend(now.keys().filter(|name| !old.is_token(name)).map(|name| entry(name, What::Added)));
    }
    entries.sort_by(|a, b| (a.sort, &a.name).cmp(&(b.sort, &b.name)));
    Difference { entries, waiting: Vec::new() }
}

impl Difference {
    /// The same with what changes in a file that the configuration names.
    #[must_use]
    pub fn with_file(mut self, name: &str, changes: Vec<Change>) -> Self {
        if !changes.is_empty() {
            self.entries.insert(0, Entry { sort: Sort::Table, name: Box::from(name), what: What::Changed(changes) });
        }
        self
    }

    /// How many parts were added, changed, removed.
    pub fn counts(&self) -> [usize; 3] {
        let count = |wanted: fn(&What) -> bool| self.entries.iter().filter(|entry| wanted(&entry.what)).count();
        [
            count(|what| *what == What::Added),
            count(|what| matches!(what, What::Changed(_))),
            count(|what| *what == What::Removed),
        ]
    }

    /// `3 added, 1 changed, 2 removed`.
    pub fn summary(&self) -> String {
        match self.counts() {
            [0, 0, 0] => "nothing changed".to_owned(),
            [added, changed, removed] => format!("{added} added, {changed} changed, {removed} removed"),
        }
    }

    /// The parts to name one by one, at most so many of those that were added, of those that changed and of those that were removed; and what
    /// is left out, in words.
    pub fn shortened(&self, most: usize) -> (Vec<&Entry>, Vec<String>) {
        let mut seen = [0_usize; 3];
        let place = |what: &What| match what {
            What::Added => 0,
            What::Changed(_) => 1,
            What::Removed => 2,
        };
        let named = self.entries.iter().filter(|entry| {
            let seen = &mut seen[place(&entry.what)];
            *seen += 1;
            *seen <= most
        });
        let named = named.collect();
        let words = ["added", "changed", "removed"];
        let left = words.iter().zip(self.counts()).filter(|(_, count)| *count > most);
        (named, left.map(|(word, count)| format!("and {} more {word}", count - most)).collect())
    }
}

impl What {
    /// `added`, or what changed in which key, each said by `say`.
    fn words(&self, say: impl Fn(&Change) -> String) -> String {
        match self {
            Self::Added => "added".to_owned(),
            Self::Removed => "removed".to_owned(),
            Self::Changed(changes) if changes.is_empty() => "changed".to_owned(),
            Self::Changed(changes) => {
                let mut words: Vec<String> = changes.iter().take(MOST_KEYS).map(say).collect();
                if let more @ 1.. = changes.len().saturating_sub(MOST_KEYS) {
                    words.push(format!("and {more} more keys"));
                }
                format!("changed: {}", words.join("; "))
            }
        }
    }
}

impl Change {
    /// `check "6h" → "1h"`.
    fn in_full(&self) -> String {
        let word = |value: &Option<Box<str>>| value.as_deref().map_or_else(|| "unset".to_owned(), short);
        let values = if self.from == self.to {
            format!("{} (what is hidden of it differs)", word(&self.to))
        } else {
            format!("{} → {}", word(&self.from), word(&self.to))
        };
        format!("{} {values}{}", self.key, self.restart())
    }

    /// The same, or the key alone.
    fn for_log(&self) -> String {
        if self.may_be_logged { self.in_full() } else { format!("{}{}", self.key, self.restart()) }
    }

    const fn restart(&self) -> &'static str {
        if self.needs_restart { " (needs a restart)" } else { "" }
    }
}

impl Entry {
    /// `token helpdesk changed: check "6h" → "1h"`, for whoever may read the configuration.
    pub fn in_full(&self) -> String {
        self.titled(&self.what.words(Change::in_full))
    }

    /// The same with the values that may stand in a log; of the others only the keys.
    pub fn for_log(&self) -> String {
        self.titled(&self.what.words(Change::for_log))
    }

    fn titled(&self, words: &str) -> String {
        match self.sort {
            Sort::Table => format!("[{}] {words}", self.name),
            sort => format!("{} {} {words}", sort.as_str(), self.name),
        }
    }
}

fn lines(node: Option<&Node>, path: &str, keys: &[Key], alone: bool) -> Box<[Line]> {
    let mut lines = Vec::new();
    show::table(node, path, keys, alone, &mut |setting| {
        let key = setting.path.strip_prefix(path).unwrap_or(setting.path);
        let mut hasher = DefaultHasher::new();
        match setting.node {
            Some(node) => written(node).hash(&mut hasher),
            None => setting.value.hash(&mut hasher),
        }
        lines.push(Line {
            key: Box::from(key.trim_start_matches('.')),
            shown: Box::from(setting.value.strip_prefix(HIDDEN_IN).unwrap_or(setting.value)),
            mark: hasher.finish(),
            at_start: setting.key.at_start,
            may_be_logged: setting.key.kind.may_be_logged(),
        });
    });
    lines.into_boxed_slice()
}

/// The keys in which two parts differ. Where a value looks the same, what it hides decides; but a default that is written out is no change.
fn changes(before: &[Line], now: &[Line]) -> Vec<Change> {
    let known = |lines: &[Line]| -> BTreeMap<Box<str>, Line> {
        lines.iter().map(|line| (line.key.clone(), line.clone())).collect()
    };
    let (before, mut now) = (known(before), known(now));
    let mut changes = Vec::new();
    for (key, old) in before {
        let new = now.remove(&key);
        if new.as_ref().is_none_or(|new| new.shown != old.shown || new.mark != old.mark) {
            let (from, to) = (Some(old.shown), new.map(|new| new.shown));
            let (needs_restart, may_be_logged) = (old.at_start, old.may_be_logged);
            changes.push(Change { key, from, to, needs_restart, may_be_logged });
        }
    }
    let added = now.into_iter();
    changes.extend(added.map(|(key, new)| Change {
        key,
        from: None,
        to: Some(new.shown),
        needs_restart: new.at_start,
        may_be_logged: new.may_be_logged,
    }));
    changes.sort_by(|a, b| a.key.cmp(&b.key));
    changes
}

/// The value as it would be written again, wherever it stands; as the table of keys writes defaults, so that one that is written out is the same.
fn written(node: &Node) -> String {
    match &node.value {
        Value::Text(text) => format!("{text:?}"),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::List(_) | Value::Group(_) => {
            let mut items = Vec::new();
            node.each_item(|_, item| items.push(written(item)));
            format!("[{}]", items.join(", "))
        }
        Value::Table(table) => {
            let fields: Vec<String> = table.iter().map(|(name, node)| format!("{name} = {}", written(node))).collect();
            format!("{{ {} }}", fields.join(", "))
        }
    }
}

fn mark_of(lines: &[Line]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for line in lines {
        (&line.key, &line.shown, line.mark).hash(&mut hasher);
    }
    hasher.finish()
}

fn short(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Of more tokens than these it is remembered that they changed, not what: the values of a hundred thousand would cost more memory than all else.
const MANY: usize = 5_000;
/// Keys named in one line.
const MOST_KEYS: usize = 12;
/// Characters of a value in a line.
const LONGEST: usize = 80;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::layers;
    use super::*;

    fn picture(text: &str) -> Picture {
        Picture::of(&tree(text))
    }

    fn tree(text: &str) -> Node {
        let (mut tree, mut faults) = (Node::empty("test"), Vec::new());
        layers::lay(&mut tree, text, &Arc::from("test"), &mut faults);
        assert!(faults.is_empty(), "{faults:?}\n{text}");
        tree
    }

    fn lines(old: &str, new: &str) -> Vec<String> {
        difference(&picture(old), &picture(new)).entries.iter().map(Entry::in_full).collect()
    }

    #[test]
    fn what_changed_is_said_in_words() {
        let token = "[[tokens]]\nname = \"a\"\nsecret = { env = \"A\" }\n";
        let hook = |path: &str| format!("[receivers.default.webhook]\nurl = \"https://hooks.example.com/{path}\"\n");
        for (old, new, said) in [
            ("", token, vec!["token a added"]),
            (token, "", vec!["token a removed"]),
            // A default that is written out is no change, nor is another order, another place or another file.
            ("", "[schedule]\ncheck = \"15m\"\n[daemon]\nconcurrency = 32\nopen_probes = false\n", vec![]),
            (
                "[policy]\nalert_before = [\"7d\"]\n",
                "",
                vec!["[policy] changed: alert_before [\"7d\"] → [\"21d\", \"14d\", \"7d\", \"3d\", \"1d\"]"],
            ),
            (
                token,
                "[[tokens]]\nname = \"a\"\nsecret = { file = \"/a\" }\ncheck = \"6h\"\n",
                vec!["token a changed: check unset → \"6h\"; secret { env = \"A\" } → { file = \"/a\" }"],
            ),
            (
                "",
                "[daemon]\nlisten = \"127.0.0.1:1\"\n",
                vec!["[daemon] changed: listen \"127.0.0.1:9847\" → \"127.0.0.1:1\" (needs a restart)"],
            ),
            // What opens a door is hidden, and a change of it is not.
            (
                &hook("one"),
                &hook("two"),
                vec![
                    "receiver default changed: webhook.url \"https://hooks.example.com/***\" (what is hidden of it differs)",
                ],
            ),
            (
                "[provider.meta]\nversion = \"v24.0\"\n[apps.x]\nid = \"1\"\n",
                "[provider.meta]\nversion = \"v25.0\"\n[apps.y]\nid = \"1\"\n",
                vec!["provider meta changed: version \"v24.0\" → \"v25.0\"", "app x removed", "app y added"],
            ),
            (
                "",
                "[smtp]\nfrom = \"a@example.com\"\nrelays = [{ url = \"smtps://a@example.com\" }]\n",
                vec!["[smtp] added"],
            ),
        ] {
            assert_eq!(lines(old, new), said, "{old:?} → {new:?}");
            assert_eq!(lines(new, new), Vec::<String>::new());
        }
    }

    /// Never in a log: a mail address, a number of a phone, an address that opens a door (docs/logging.md).
    #[test]
    fn the_log_is_told_less() {
        let text = |who: &str, number: &str| {
            format!(
                "[smtp]\nfrom = \"{who}@example.com\"\n[receivers.default]\nemail = [\"{who}@example.com\"]\n\
                 [receivers.default.whatsapp]\nto = [\"+4917{number}\"]\nlanguage = \"{who}\"\n\
                 [[tokens]]\nname = \"a\"\ncheck = \"{number}h\"\n\
                 [tokens.renew]\nconfirm = {{ http = \"http://app.example.com/health?key={who}\" }}\n"
            )
        };
        let found = difference(&picture(&text("ann", "1")), &picture(&text("bob", "2")));
        let told: Vec<String> = found.entries.iter().map(Entry::for_log).collect();
        assert_eq!(
            told,
            [
                "[smtp] changed: from",
                "receiver default changed: email; whatsapp.language; whatsapp.to",
                "token a changed: check \"1h\" → \"2h\"; renew.confirm.http",
            ]
        );
    }

    #[test]
    fn a_restart_is_asked_for_until_it_came() {
        let first = "[daemon]\nlisten = \"127.0.0.1:1\"\n";
        let in_force = InForce::new(picture(first));
        let waiting = |text: &str| {
            let difference = in_force.compare(&picture(text));
            in_force.put(picture(text));
            let waiting: Vec<String> = difference.waiting.iter().map(ToString::to_string).collect();
            (difference.entries.len(), waiting)
        };
        let second = "[daemon]\nlisten = \"127.0.0.1:2\"\nstate = \"sqlite:///s.db\"\n";
        let wanted = vec![
            "daemon.listen needs a restart: until then \"127.0.0.1:1\" stays in force".to_owned(),
            "daemon.state needs a restart: until then its default stays in force".to_owned(),
        ];
        assert_eq!(waiting(second), (1, wanted.clone()));
        assert_eq!(waiting(second), (0, wanted), "nothing is new, and it still waits");
        assert_eq!(waiting(first), (1, vec![]), "what runs is what is written again");
    }

    #[test]
    fn many_are_counted_and_few_are_named() {
        let tokens = |range: std::ops::Range<usize>| -> String {
            range.map(|n| format!("[[tokens]]\nname = \"t{n}\"\nsecret = {{ env = \"T\" }}\n")).collect()
        };
        let found = difference(&picture(&tokens(0..10)), &picture(&tokens(5..1_010)));
        assert_eq!((found.counts(), found.summary().as_str()), ([1_000, 0, 5], "1000 added, 0 changed, 5 removed"));
        let (named, left) = found.shortened(20);
        assert_eq!((named.len(), left), (25, vec!["and 980 more added".to_owned()]));
        // Of very many it is known which changed, from and to any number of them.
        let many = 30;
        let picture = |text: &str| Picture::with_values_of(&tree(text), many);
        let crowd = tokens(0..many + 1);
        let changed = crowd.replacen("name = \"t7\"\n", "name = \"t7\"\ncheck = \"1h\"\n", 1);
        let entry = |name: &str, what| Entry { sort: Sort::Token, name: name.into(), what };
        let found = difference(&picture(&crowd), &picture(&changed)).entries;
        assert_eq!(found, [entry("t7", What::Changed(vec![]))]);
        assert!(difference(&picture(&crowd), &picture(&crowd)).entries.is_empty());
        let few = tokens(1..many + 1);
        assert_eq!(difference(&picture(&crowd), &picture(&few)).entries, [entry("t0", What::Removed)]);
        assert_eq!(difference(&picture(&few), &picture(&crowd)).entries, [entry("t0", What::Added)]);
    }

    /// Every key of the whole table, wherever it stands.
    #[test]
    fn no_key_is_forgotten() {
        let mut seen = 0;
        each_leaf(schema::ROOT, &mut Vec::new(), &mut |path, key, kind| {
            let part = |number: u8| {
                let value = match kind {
                    Kind::Secret => format!("{{ env = \"V{number}\" }}"),
                    Kind::Bool => (number == 1).to_string(),
                    Kind::Count(_) => number.to_string(),
                    Kind::List(_) => format!("[\"v{number}\"]"),
                    Kind::Map | Kind::Values => format!("{{ x = \"v{number}\" }}"),
                    _ => format!("\"https://v{number}.example.com/\""),
                };
                if path.first().is_some_and(|first| first == "[[tokens]]") && key == "name" {
                    None
                } else {
                    Some(value)
                }
            };
            let (Some(first), Some(second)) = (part(1), part(2)) else { return };
            let text = |value: &str| write(path, key, value);
            let found = difference(&picture(&text(&first)), &picture(&text(&second)));
            let named = found.entries.iter().any(|entry| match &entry.what {
                What::Changed(changes) => changes.iter().any(|change| change.key.ends_with(key)),
                What::Added | What::Removed => false,
            });
            assert!(named, "{path:?} {key}: {found:?}\n{}", text(&first));
            let told = found.entries.iter().map(Entry::for_log).collect::<Vec<_>>().join("\n");
            assert!(told.contains(key) && (kind.may_be_logged() || !told.contains("v2")), "{path:?}: {told}");
            seen += 1;
        });
        assert!(seen > 150, "{seen}");
    }

    fn each_leaf(keys: &[Key], path: &mut Vec<String>, visit: &mut dyn FnMut(&[String], &str, Kind)) {
        for key in keys {
            let step = match key.kind {
                Kind::Table(below) => (key.name.to_owned(), below),
                Kind::Named(below) => (format!("{}.x", key.name), below),
                Kind::Items(below) if key.name == "tokens" => ("[[tokens]]".to_owned(), below),
                Kind::Items(below) => (format!("{}[]", key.name), below),
                kind => {
                    visit(path, key.name, kind);
                    continue;
                }
            };
            path.push(step.0);
            each_leaf(step.1, path, visit);
            path.pop();
        }
    }

    /// A configuration with that one value.
    fn write(path: &[String], key: &str, value: &str) -> String {
        let (mut head, mut tail) = (String::new(), format!("{key} = {value}"));
        for step in path.iter().rev() {
            match step.strip_suffix("[]") {
                Some(list) => tail = format!("{list} = [{{ {tail} }}]"),
                None if step == "[[tokens]]" => head = format!("[[tokens]]\nname = \"t\"\n{head}"),
                None => tail = format!("{step}.{tail}"),
            }
        }
        head + &tail + "\n"
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// A naive model: tokens as maps of keys. Exactly what differs is named, and a planted secret never is.
        #[test]
        fn what_differs_is_named_and_nothing_else(
            old in tokens(), new in tokens(),
        ) {
            let text = |tokens: &Model| -> String {
                let token = |(name, keys): (&String, &BTreeMap<&str, u8>)| {
                    let keys: String = keys.iter().map(|(key, value)| match *key {
                        "secret" => format!("secret = {{ env = \"V{value}\" }}\n"),
                        "runbook" => format!("runbook = \"https://user:{PLANTED}{value}@wiki.example.com/\"\n"),
                        key => format!("{key} = \"{}h\"\n", value + 1),
                    }).collect();
                    format!("[[tokens]]\nname = \"{name}\"\n{keys}")
                };
                tokens.iter().map(token).collect()
            };
            let found = difference(&picture(&text(&old)), &picture(&text(&new)));
            let mut named = BTreeMap::new();
            for entry in &found.entries {
                let keys: Vec<String> = match &entry.what {
                    What::Added => vec!["added".to_owned()],
                    What::Removed => vec!["removed".to_owned()],
                    What::Changed(changes) => changes.iter().map(|change| change.key.to_string()).collect(),
                };
                named.insert(entry.name.to_string(), keys);
                prop_assert!(!entry.in_full().contains(PLANTED), "{}", entry.in_full());
            }
            let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            let mut wanted = BTreeMap::new();
            for name in names {
                let keys = match (old.get(name), new.get(name)) {
                    (None, _) => vec!["added".to_owned()],
                    (_, None) => vec!["removed".to_owned()],
                    (Some(old), Some(new)) => {
                        let keys: BTreeSet<&&str> = old.keys().chain(new.keys()).collect();
                        let keys = keys.into_iter().filter(|key| old.get(**key) != new.get(**key));
                        keys.map(|key| (*key).to_owned()).collect()
                    }
                };
                if !keys.is_empty() {
                    wanted.insert(name.clone(), keys);
                }
            }
            prop_assert_eq!(named, wanted);
        }
    }

    type Model = BTreeMap<String, BTreeMap<&'static str, u8>>;

    fn tokens() -> impl Strategy<Value = Model> {
        let keys = prop::collection::btree_map(prop::sample::select(vec!["check", "secret", "runbook"]), 0_u8..3, 0..4);
        prop::collection::btree_map("[a-d]", keys, 0..4)
    }

    const PLANTED: &str = "EAAGm0PX4ZCpsBAKZCplanted";
}
