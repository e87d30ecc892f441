//! What is shipped beside the program for others to load: judged by the tools of those who will read it, and compared with what the program
//! really says.

use std::fs;
use std::path::PathBuf;

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
    fs::read_to_string(shipped(name)).unwrap_or_else(|problem| panic!("deploy/{name}: {problem}"))
}

/// A shipped file as YAML.
fn yaml(name: &str) -> Value {
    serde_yaml_ng::from_str(&text(name)).unwrap_or_else(|problem| panic!("deploy/{name}: {problem}"))
}

/// A document.
fn docs(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    fs::read_to_string(&path).unwrap_or_else(|problem| panic!("docs/{name}: {problem}"))
}

/// A list in YAML.
fn list(value: &Value) -> Vec<Value> {
    value.as_sequence().cloned().unwrap_or_default()
}

/// A text in YAML; empty where there is none.
fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
