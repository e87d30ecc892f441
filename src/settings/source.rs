//! Reads a secret from where the configuration says it stands. Called at each check, so a changed file needs no restart.
//!
//! It never writes, never caches, and never puts what it read into an error.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::value::SecretRef;
use crate::secret::Secret;

/// What a process can read secrets from, captured once at start: the core of the program asks no environment.
#[derive(Clone, Default)]
pub struct Sources {
    variables: BTreeMap<String, String>,
    credentials: Option<PathBuf>,
}

/// Why a secret cannot be read. Names the place, never the content.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SourceError {
    /// The environment has no such variable.
    #[error("the environment has no variable {0}")]
    NoVariable(Box<str>),
    /// Not started by systemd with credentials.
    #[error("there is no $CREDENTIALS_DIRECTORY; the unit needs LoadCredential={0}:…")]
    NoCredentials(Box<str>),
    /// The file cannot be opened or read.
    #[error("{path}: {problem}")]
    File {
        /// Which file.
        path: String,
        /// What the system says.
        problem: String,
    },
    /// The file is larger than any secret.
    #[error("{0}: larger than 1 MiB, which is no file of secrets")]
    TooLarge(String),
    /// The file is not text.
    #[error("{0}: not UTF-8 text")]
    NotText(String),
    /// The env file has no such key.
    #[error("{path}: has no key {key}")]
    NoKey {
        /// Which file.
        path: String,
        /// Which key.
        key: Box<str>,
    },
    /// There is a place, and nothing in it.
    #[error("{0}: is empty")]
    Empty(String),
}

/// Variables may be secrets, so not even a debug print shows them.
impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Sources {
    /// Captures the environment: the variables and the credentials folder.
    pub fn new(environment: impl IntoIterator<Item = (String, String)>) -> Self {
        let variables: BTreeMap<String, String> = environment.into_iter().collect();
        let credentials = variables.get("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        Self { variables, credentials }
    }

    /// Reads one secret.
    ///
    /// # Errors
    /// When it cannot be had; the text says where and what to do.
    pub fn read(&self, reference: &SecretRef) -> Result<Secret, SourceError> {
        let text = match reference {
            SecretRef::Env(name) => self
                .variables
                .get(&**name)
                .map(|text| Zeroizing::new(text.clone()))
                .ok_or_else(|| SourceError::NoVariable(name.clone()))?,
            SecretRef::File(path) => read_text(path)?,
            SecretRef::Credential(name) => {
                let folder = self.credentials.as_ref().ok_or_else(|| SourceError::NoCredentials(name.clone()))?;
                read_text(&folder.join(&**name))?
            }
            // A stand-in, so that whoever handles secrets need not know that there are tokens without one.
            SecretRef::Nowhere => Zeroizing::new(NO_SECRET.to_owned()),
            SecretRef::EnvFile { path, key } => {
                let text = read_text(path)?;
                env_value(&text, key)
                    .ok_or_else(|| SourceError::NoKey { path: path.display().to_string(), key: key.clone() })?
            }
        };
        let secret = Secret::new(text);
        if secret.is_empty() { Err(SourceError::Empty(reference.to_string())) } else { Ok(secret) }
    }
}

const NO_SECRET: &str = "-";

/// The whole of a small text file.
pub fn read_text(path: &Path) -> Result<Zeroizing<String>, SourceError> {
    let shown = || path.display().to_string();
    let problem = |error: std::io::Error| SourceError::File { path: shown(), problem: error.to_string() };
    // Opening a pipe or a device could block the check for ever, and its content is gone once read.
    if !std::fs::metadata(path).map_err(problem)?.is_file() {
        return Err(SourceError::File { path: shown(), problem: "is not a regular file".to_owned() });
    }
    let mut file = File::open(path).map_err(problem)?;
    let mut bytes = Zeroizing::new(Vec::new());
    file.by_ref().take(LARGEST + 1).read_to_end(&mut bytes).map_err(problem)?;
    if bytes.len() as u64 > LARGEST {
        return Err(SourceError::TooLarge(shown()));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| SourceError::NotText(shown()))?;
    Ok(Zeroizing::new(text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text).to_owned()))
}

/// The value of a key in a file of `KEY=value` lines. Of several the last one counts, as in every dialect that we know of.
pub fn env_value(text: &str, key: &str) -> Option<Zeroizing<String>> {
    env_place(text, key).map(|place| unquote(&text[place]))
}

/// Where that value stands, with its quotes and without the white space and the comment around it.
pub fn env_place(text: &str, key: &str) -> Option<Range<usize>> {
    Entries::of(text).filter(|(name, _)| *name == key).last().map(|(_, place)| place)
}

/// The keys of an env file, in order.
pub fn env_keys(text: &str) -> Vec<&str> {
    Entries::of(text).map(|(name, _)| name).collect()
}

/// The keys of an env file and where their values stand. A quoted value may go over several lines; what looks like a key in it is none.
struct Entries<'a> {
    text: &'a str,
    /// Where the next line begins.
    at: usize,
}

impl<'a> Entries<'a> {
    fn of(text: &'a str) -> Self {
        Self { text, at: if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len_utf8() } else { 0 } }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a str, Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        while self.at < self.text.len() {
            let start = self.at;
            let end = line_end(self.text, start);
            self.at = end + 1;
            let line = &self.text[start..end];
            let Some((name, _)) = line.split_once('=') else { continue };
            let value = start + name.len() + 1;
            let name = name.trim();
            let name =
                name.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t'])).unwrap_or(name).trim_start();
            if name.starts_with('#') {
                continue;
            }
            let place = place(self.text, value, end);
            self.at = self.at.max(line_end(self.text, place.end) + 1);
            return Some((name, place));
        }
        None
    }
}

/// Where the value stands that begins behind the equals sign at `from`, on a line that ends at `end`.
fn place(text: &str, from: usize, end: usize) -> Range<usize> {
    let line = &text[from..end];
    let start = from + (line.len() - line.trim_start().len());
    let raw = line.trim();
    if raw.is_empty() || (start > from && raw.starts_with('#')) {
        return from..from;
    }
    match closing_quote(&text[start..]).map(|close| start + close) {
        Some(close) if close < end || ends_cleanly(&text[close + 1..]) => start..close + 1,
        // No closing quote: the quote is part of the value.
        Some(_) | None if raw.starts_with(QUOTES) => start..start + raw.len(),
        Some(_) | None => {
            let comment = raw.match_indices('#').find(|(at, _)| raw[..*at].ends_with([' ', '\t']));
            let bare = raw[..comment.map_or(raw.len(), |(at, _)| at)].trim_end();
            start..start + bare.len()
        }
    }
}

/// Where the quote closes that a text begins with. Inside double quotes a backslash escapes the next character.
fn closing_quote(text: &str) -> Option<usize> {
    let quote = text.chars().next().filter(|c| QUOTES.contains(c))?;
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' if quote == '"' => drop(chars.next()),
            c if c == quote => return Some(at),
            _ => {}
        }
    }
    None
}

/// Whether nothing but white space or a comment follows on the line.
fn ends_cleanly(rest: &str) -> bool {
    let rest = rest[..line_end(rest, 0)].trim_start();
    rest.is_empty() || rest.starts_with('#')
}

fn line_end(text: &str, from: usize) -> usize {
    text[from..].find('\n').map_or(text.len(), |at| from + at)
}

/// Takes the quotes off.
fn unquote(raw: &str) -> Zeroizing<String> {
    let Some(close) = closing_quote(raw) else { return Zeroizing::new(raw.to_owned()) };
    let mut value = Zeroizing::new(String::with_capacity(raw.len()));
    let mut chars = raw[1..close].chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if raw.starts_with('"') => value.extend(chars.next()),
            c => value.push(c),
        }
    }
    value
}

/// What some editors put at the beginning of a text.
const BYTE_ORDER_MARK: char = '\u{feff}';
/// What a value may stand in.
const QUOTES: [char; 3] = ['"', '\'', '`'];
/// Larger files are no secrets, and reading them would let one bad path eat the memory.
const LARGEST: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn env_files_of_every_hand() {
        for (text, value) in [
            ("T=abc", Some("abc")),
            ("T=abc\r\nU=x\r\n", Some("abc")),
            ("export T=abc\n", Some("abc")),
            ("export\tT = abc \n", Some("abc")),
            ("  T = \"a b#c\" # note", Some("a b#c")),
            ("T='a\\nb'", Some("a\\nb")),
            ("T=\"a\\\"b\"", Some("a\"b")),
            ("T=`abc`", Some("abc")),
            ("T=abc # note", Some("abc")),
            ("T=abc#def", Some("abc#def")),
            ("T=\"abc", Some("\"abc")),
            ("T=old\nT=new", Some("new")),
            ("#T=abc", None),
            ("TT=abc", None),
            ("exportT=abc", None),
            ("T", None),
            ("T=", Some("")),
            ("T=a=b==", Some("a=b==")),
            ("T= # note", Some("")),
            ("T=abc\t# note # more", Some("abc")),
            ("\u{feff}T=abc", Some("abc")),
            // Quotes over several lines: what looks like a key in them is none.
            ("T=abc\nNOTE=\"one\nT=no\ntwo\"\n", Some("abc")),
            ("NOTE='one\r\nT=no\r\n' # note\r\nU=x\r\n", None),
            ("T=\"a\n\\\"b\"", Some("a\n\"b")),
            // A quote that closes nothing.
            ("NOTE=\"one\nT=\"abc\"\n", Some("abc")),
            ("NOTE='tis\nT=abc\n", Some("abc")),
        ] {
            assert_eq!(env_value(text, "T").as_deref().map(String::as_str), value, "{text:?}");
        }
    }

    #[test]
    fn faults_name_the_place() {
        let sources = Sources::default();
        let faults = [
            (SecretRef::Env("NOPE".into()), "the environment has no variable NOPE"),
            (
                SecretRef::Credential("x".into()),
                "there is no $CREDENTIALS_DIRECTORY; the unit needs LoadCredential=x:…",
            ),
            (
                SecretRef::File("/nonexistent/secret".into()),
                "/nonexistent/secret: No such file or directory (os error 2)",
            ),
            (SecretRef::File("/dev/null".into()), "/dev/null: is not a regular file"),
        ];
        for (reference, text) in faults {
            assert_eq!(sources.read(&reference).err().map(|error| error.to_string()).as_deref(), Some(text));
        }
    }
}
