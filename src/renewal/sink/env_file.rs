//! Replaces one value in a file of `KEY=value` lines and keeps every other byte.
//!
//! It writes nothing that the program which reads the file would read as something else: the new text is read the way that program reads it,
//! and every other key must be as it was.

use std::path::Path;

use zeroize::Zeroizing;

use super::readers::{Entries, Reader};
use super::replace::{self, Change};
use super::{Held, Put, SinkError, Swap};
use crate::secret::Secret;
use crate::settings::delivery::Dialect;
use crate::settings::source::{env_place, env_value};

/// What the key holds. One without a value holds nothing.
///
/// # Errors
/// When the file cannot be read, or has no such key.
pub fn held(path: &Path, key: &str) -> Result<Held, SinkError> {
    let text = replace::read(path)?;
    held_in(text.as_ref().map(|text| text.as_str()), key)
}

/// Replaces the value.
///
/// # Errors
/// When it holds something else, when it cannot be done safely, or when it failed.
pub fn put(path: &Path, key: &str, dialect: Dialect, swap: Swap<'_>) -> Result<Put, SinkError> {
    replace::edit(path, |text| {
        let stands = held_in(text, key)?;
        if stands.is(swap.to) {
            return Ok(Change::None);
        }
        swap.begins_with(&stands)?;
        let new = match swap.to {
            Held::Secret(secret) => secret.expose(),
            Held::Nothing => "",
            Held::Unknown => {
                return Err(SinkError::Refused("cannot be given back: what it held is not known".to_owned()));
            }
        };
        edit(text.unwrap_or_default(), key, new, dialect).map(Change::Write)
    })
}

/// The text with another value for one key.
///
/// # Errors
/// When the readers of that dialect would not read exactly that value, or another key otherwise than before.
pub fn edit(text: &str, key: &str, new: &str, dialect: Dialect) -> Result<Zeroizing<String>, SinkError> {
    let (Some(place), Some(old)) = (env_place(text, key), env_value(text, key)) else { return Err(no_key(text, key)) };
    if new.chars().any(|c| (c.is_control() && c != '\n') || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')) {
        return Err(refused("the new token holds control characters, which no such file can be trusted with"));
    }
    let readers = readers(text, key, &old, new, dialect)?;
    let written = text[place.clone()].chars().next();
    for value in spellings(new, written) {
        let mut edited = Zeroizing::new(String::with_capacity(text.len() + value.len()));
        edited.extend([&text[..place.start], &value, &text[place.end..]]);
        let ours = env_value(&edited, key).is_some_and(|read| *read == new);
        let theirs = readers
            .iter()
            .all(|(reader, before)| reader.read(&edited).is_some_and(|after| differs_in_one(before, &after, key, new)));
        if ours && theirs {
            return Ok(edited);
        }
    }
    Err(refused(match dialect {
        Dialect::Any => {
            "the readers of such files would not agree on the new token there; name who reads this one with dialect = \
             \"dotenv\", \"python\", \"ruby\", \"systemd\", \"docker\" or \"shell\""
        }
        _ => {
            "the new token cannot be written there so that its reader and tokenwatch read exactly it, and nothing else \
             changes; write the line as KEY=value, without white space and comment, below all others"
        }
    }))
}

fn held_in(text: Option<&str>, key: &str) -> Result<Held, SinkError> {
    let Some(text) = text else {
        return Err(SinkError::Refused(format!("is not there; make it with the line {key}= first")));
    };
    let secret = Secret::new(env_value(text, key).ok_or_else(|| no_key(text, key))?);
    Ok(if secret.is_empty() { Held::Nothing } else { Held::Secret(secret) })
}

/// Who may be reading this file, and what they read now. Where nobody knows, whoever reads another value than ours today is out: with that the
/// application would not work.
fn readers(text: &str, key: &str, old: &str, new: &str, dialect: Dialect) -> Result<Vec<(Reader, Entries)>, SinkError> {
    let mut readers = Vec::new();
    for reader in Reader::of(dialect) {
        match reader.read(text) {
            Some(entries) => {
                let value = entries.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value);
                if value.is_some_and(|value| dialect != Dialect::Any || old.is_empty() || **value == old) {
                    readers.push((*reader, entries));
                }
            }
            None if *reader == Reader::Shell && !(dialect == Dialect::Any && new.chars().all(is_plain)) => {
                return Err(refused(
                    "holds more than assignments, so what a shell makes of it cannot be foretold; keep the token in a file of its own \
                     and read it there, or name who reads this one with dialect",
                ));
            }
            None => {}
        }
    }
    if readers.is_empty() {
        return Err(refused(format!(
            "is not read by {} as having {key}; write it as {key}=value on a line of its own",
            if dialect == Dialect::Any { "any program that we know of" } else { dialect.as_str() },
        )));
    }
    Ok(readers)
}

/// Whether two readings differ in nothing but the value that counts of that key.
fn differs_in_one(before: &Entries, after: &Entries, key: &str, new: &str) -> bool {
    let last = before.iter().rposition(|(name, _)| name == key);
    before.len() == after.len()
        && before.iter().zip(after).enumerate().all(|(at, (before, after))| {
            if Some(at) == last { after.0 == key && *after.1 == new } else { before == after }
        })
}

/// How a value may be written, the way that stands there first.
fn spellings(new: &str, written: Option<char>) -> Vec<Zeroizing<String>> {
    let quoted = |quote: char, escaped: &[char]| {
        let mut text = Zeroizing::new(String::with_capacity(new.len() * 2 + 2));
        text.push(quote);
        for c in new.chars() {
            if escaped.contains(&c) {
                text.push('\\');
            }
            text.push(c);
        }
        text.push(quote);
        text
    };
    // A backslash before the closing quote is read in too many ways.
    let may_be_quoted = |quote: char| !new.ends_with('\\') && (quote == '"' || !new.contains(quote));
    let mut spellings = Vec::new();
    let kept = written.filter(|c| matches!(c, '"' | '\'' | '`'));
    for style in kept.into_iter().chain([' ', '"', '\'']) {
        match style {
            // With all escapes or with fewer, for not every reader knows each.
            '"' if may_be_quoted('"') => spellings.extend(ESCAPED.iter().map(|escaped| quoted('"', escaped))),
            '\'' | '`' if may_be_quoted(style) => spellings.push(quoted(style, &[])),
            ' ' => spellings.push(Zeroizing::new(new.to_owned())),
            _ => {}
        }
    }
    spellings
}

fn no_key(text: &str, key: &str) -> SinkError {
    let colon = text.lines().any(|line| line.trim_start().strip_prefix(key).is_some_and(|rest| rest.starts_with(": ")));
    refused(if colon {
        format!("has {key} as \"{key}: value\", which only some programs read; write {key}=value")
    } else {
        format!("has no key {key}; add the line {key}= first")
    })
}

/// What every shell leaves as it is, wherever it stands.
const fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '/' | '@' | '%' | '+' | ',' | '=' | '-')
}

fn refused(what: impl Into<String>) -> SinkError {
    SinkError::Refused(what.into())
}

/// What is written behind a backslash inside double quotes: nothing, or what one reader or another takes.
const ESCAPED: [&[char]; 4] = [&[], &['\\', '"', '$', '`'], &['\\', '"', '$'], &['\\', '"']];
