//! What is shipped beside the program for others to load: judged by the tools of those who will read it, and compared with what the program
//! really says.

use std::fs;
use std::path::{Path, PathBuf};

use serde_yaml_ng::Value;

mod alertmanager;
mod compose;
mod prometheus;

/// A place below `deploy`.
pub fn shipped(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

/// A shipped file as text.
pub fn text(name: &str) -> String {
    read(&shipped(name))
}

/// A shipped file as YAML.
fn yaml(name: &str) -> Value {
    let parsed = serde_yaml_ng::from_str(&text(name));
    assert!(parsed.is_ok(), "deploy/{name}: {parsed:?}");
    parsed.expect("it is YAML")
}

/// A document.
fn docs(name: &str) -> String {
    read(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs").join(name))
}

fn read(path: &Path) -> String {
    let text = fs::read_to_string(path);
    assert!(text.is_ok(), "{}: {text:?}", path.display());
    text.expect("it is text")
}

/// A list in YAML.
fn list(value: &Value) -> Vec<Value> {
    value.as_sequence().cloned().unwrap_or_default()
}

/// A text in YAML; empty where there is none.
fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
