//! Values as providers write them, read leniently and cut to what a label, a page or a terminal can hold.

use serde_json::Value;

/// A text, or a number written as one.
pub fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A whole number, or a text or fraction that holds one.
pub fn as_integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| {
            #[expect(clippy::cast_possible_truncation, reason = "a saturating cast is what a hostile date deserves")]
            number.as_f64().map(|fraction| fraction as i64)
        }),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// A name or an id of the provider's, without what could garble a terminal or a page, and not longer than any real one.
pub fn word(text: &str) -> Box<str> {
    text.chars().filter(char::is_ascii_graphic).take(LONGEST_WORD).collect::<String>().into()
}

/// A provider's word as a label: lower case, and nothing that could break a label or grow without bound.
pub fn label(word: &str) -> String {
    word.chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '_')
        .take(LONGEST_LABEL)
        .collect::<String>()
        .to_ascii_lowercase()
}

/// Words for people: printable, on one line, and not longer than a screen is wide.
pub fn short(text: &str) -> Box<str> {
    let printable: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_TEXT).collect();
    printable.split_whitespace().collect::<Vec<_>>().join(" ").into()
}

const LONGEST_WORD: usize = 100;
const LONGEST_LABEL: usize = 32;
const LONGEST_TEXT: usize = 300;
