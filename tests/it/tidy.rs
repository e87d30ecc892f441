//! The house rules that a compiler does not know: which room may know which, where a secret may be exposed, what every file begins with.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each room and the rooms that it may know. The graph has one direction; adapters never know each other.
const ROOMS: [(&str, &[&str]); 32] = [
    ("domain", &[]),
    ("secret", &["domain"]),
    ("redact", &["secret"]),
    ("zone", &["domain"]),
    ("tls", &[]),
    ("graph", &[]),
    ("ports", &["domain", "secret"]),
    ("settings", &["domain", "redact", "secret", "zone"]),
    ("advice", &["domain", "settings", "zone"]),
    ("ids", &[]),
    ("ical", &["advice", "domain", "ids"]),
    ("explain", &["advice", "domain", "settings", "zone"]),
    ("forecast", &["advice", "domain", "ports", "settings", "zone"]),
    ("requests", &["domain", "ports", "secret"]),
    ("board", &["domain"]),
    ("metrics", &["domain", "ports"]),
    ("clock", &["domain", "ports"]),
    ("outgoing", &["domain", "redact", "secret", "settings", "tls"]),
    ("provider", &["domain", "graph", "outgoing", "ports", "redact", "secret", "settings", "tls"]),
    ("reader", &["secret", "settings"]),
    ("papers", &["domain", "ports", "reader", "secret", "settings"]),
    ("renewal", &["domain", "graph", "outgoing", "papers", "ports", "reader", "redact", "secret", "settings", "tls"]),
    ("hygiene", &["redact", "renewal", "secret"]),
    ("store", &["domain", "ports", "secret"]),
    (
        "channel",
        &[
            "advice", "domain", "graph", "ical", "ids", "outgoing", "ports", "reader", "redact", "secret", "settings",
            "tls", "zone",
        ],
    ),
    (
        "web",
        &[
            "advice", "board", "domain", "explain", "forecast", "ical", "ids", "metrics", "ports", "requests",
            "secret", "settings", "zone",
        ],
    ),
    ("sim", &[]),
    (
        "daemon",
        &[
            "board", "channel", "clock", "domain", "hygiene", "metrics", "outgoing", "papers", "ports", "provider",
            "reader", "renewal", "requests", "secret", "settings", "store", "web", "zone",
        ],
    ),
    (
        "doctor",
        &[
            "advice", "channel", "daemon", "domain", "graph", "hygiene", "papers", "ports", "provider", "redact",
            "renewal", "secret", "settings", "zone",
        ],
    ),
    (
        "cli",
        &[
            "advice", "board", "clock", "daemon", "doctor", "domain", "explain", "forecast", "metrics", "papers",
            "ports", "provider", "reader", "redact", "renewal", "requests", "secret", "settings", "sim", "store",
            "tls", "web", "zone",
        ],
    ),
    ("lib", &[]),
    ("main", &["cli"]),
];

/// The only files that may look at a secret: where a request is signed or sent, where it is fingerprinted or searched for.
const EXPOSED_IN: [&str; 19] = [
    "channel/mail.rs",
    "channel/post.rs",
    "channel/webhook.rs",
    "channel/whatsapp.rs",
    // Searches what everybody can see for it.
    "hygiene/exposed.rs",
    "outgoing.rs",
    "provider/declared/jwt.rs",
    "provider/declared/request.rs",
    "provider/meta/exchange.rs",
    "provider/meta/long_lived.rs",
    "provider/meta/mod.rs",
    "redact.rs",
    "renewal/command.rs",
    "renewal/seal.rs",
    "renewal/sink/env_file.rs",
    "renewal/sink/file.rs",
    "renewal/sink/sql.rs",
    "renewal/sink/vault.rs",
    "secret.rs",
];

#[test]
fn rooms_know_only_the_rooms_below_them() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let room = room_of(&path);
        let allowed = ROOMS.iter().find(|(name, _)| *name == room).map(|(_, allowed)| *allowed);
        let allowed = allowed.unwrap_or_else(|| panic!("{} is in no room; add it to the table", path.display()));
        for known in edges(product(&text)) {
            if known != room && !allowed.contains(&known.as_str()) {
                wrong.push(format!("{} knows {known}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Two adapters that share a house do not know each other either: what both need stands between them.
#[test]
fn one_provider_knows_nothing_of_another() {
    let inside =
        |room: &str| sources().into_iter().filter(move |(path, _)| path.to_string_lossy().contains(room)).collect();
    for (room, other) in [("provider/declared/", "meta"), ("provider/meta/", "declared")] {
        let files: Vec<(PathBuf, String)> = inside(room);
        assert!(files.len() > 5, "{room} has moved");
        for (path, text) in files {
            for way in [format!("provider::{other}"), format!("super::{other}")] {
                assert!(!product(&text).contains(&way), "{} knows {way}", path.display());
            }
        }
    }
}

#[test]
fn the_core_is_pure() {
    for (path, text) in sources().into_iter().filter(|(path, _)| room_of(path) == "domain") {
        let code = without_comments(product(&text));
        for word in [
            "async ",
            ".await",
            "HashMap",
            "HashSet",
            "serde",
            "std::fs",
            "std::net",
            "std::env",
            "tokio",
            "jiff",
            "Instant",
            "SystemTime",
        ] {
            assert!(!code.contains(word), "{} holds {word:?}", path.display());
        }
    }
}

#[test]
fn secrets_are_exposed_in_few_places() {
    for (path, text) in sources() {
        let name = path.display().to_string();
        let may = EXPOSED_IN.contains(&name.as_str());
        assert!(may || !product(&text).contains(".expose("), "{name} looks at a secret");
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for (path, text) in sources() {
        assert!(text.starts_with("//! "), "{} has no header", path.display());
        let header = text.lines().take_while(|line| line.starts_with("//!")).count();
        assert!(header >= 1 && text.len() > 40, "{} is empty", path.display());
    }
}

#[test]
fn every_metric_is_documented() {
    let docs = fs::read_to_string(root().join("docs/metrics.md")).expect("docs/metrics.md");
    let mut names = BTreeSet::new();
    for (_, text) in sources() {
        for part in product(&text).split('"').filter(|part| part.starts_with("tokenwatch_")) {
            if part.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
                names.insert(part.to_owned());
            }
        }
    }
    assert!(names.len() >= 25, "the search found too little: {names:?}");
    let missing: Vec<_> = names.iter().filter(|name| !docs.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "docs/metrics.md does not name {missing:?}");
}

#[test]
fn every_key_is_documented() {
    let docs = fs::read_to_string(root().join("docs/configuration.md")).expect("docs/configuration.md");
    let generated = tokenwatch::settings::show::reference();
    assert!(
        docs.contains(&generated),
        "docs/configuration.md is not up to date; paste the output of `tokenwatch config reference`"
    );
}

#[test]
fn the_project_speaks_of_itself_alone() {
    // Whoever tests may not be whom the checkout belongs to.
    let words = ["-c", "safe.directory=*", "ls-files"];
    let listed = std::process::Command::new("git").args(words).current_dir(root()).output().expect("git");
    let files = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.status.success() && files.lines().count() > 300, "git lists too little: {files}");
    for file in files.lines().filter(|file| !["Cargo.lock"].contains(file)) {
        let Ok(text) = fs::read_to_string(root().join(file)) else { continue };
        for word in [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("index.", "crates.io")] {
            assert!(!text.contains(word), "{file} names {word}");
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every source file, its path relative to `src`.
fn sources() -> Vec<(PathBuf, String)> {
    let src = root().join("src");
    let mut folders = vec![src.clone()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&entry).expect("a source file");
                files.push((entry.strip_prefix(&src).expect("below src").to_owned(), text));
            }
        }
    }
    assert!(files.len() > 40, "the search found too little");
    files
}

fn room_of(path: &Path) -> String {
    let first = path.components().next().expect("a name").as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// A file without its unit tests.
fn product(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text)
}

/// The rooms that a text names as `crate::room`.
fn edges(code: &str) -> BTreeSet<String> {
    let code = without_comments(code);
    let mut rooms = BTreeSet::new();
    for part in code.split("crate::").skip(1) {
        if let Some(list) = part.strip_prefix('{') {
            for item in list.split(['}', ';']).next().unwrap_or_default().split(',') {
                rooms.insert(first_word(item.trim()));
            }
        } else {
            rooms.insert(first_word(part));
        }
    }
    rooms.retain(|room| !room.is_empty());
    rooms
}

fn without_comments(code: &str) -> String {
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}
