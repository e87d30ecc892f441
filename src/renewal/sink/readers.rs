//! Who reads env files, and what each makes of one, as far as it can be foretold.
//!
//! No two agree about quotes, escapes and comments. So nothing is written before the file as it would be was read the way its readers do. What a
//! reader looks up elsewhere, in variables or from commands, is left open and equals no text that anybody could want to write.

use zeroize::Zeroizing;

use crate::settings::delivery::Dialect;

/// A program that reads env files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reader {
    /// The package dotenv of Node.
    Dotenv,
    /// `node --env-file` of Node 20 and 22, where a key may begin on the line before.
    NodeLoose,
    /// `node --env-file` since then.
    Node,
    /// python-dotenv.
    Python,
    /// The gem dotenv before 2.8, which reads line by line.
    RubyLines,
    /// The gem dotenv from 2.8 on.
    Ruby,
    /// systemd before 254, where a comment goes on behind a backslash.
    SystemdComments,
    /// systemd from 254 on.
    Systemd,
    /// `docker run --env-file`.
    Docker,
    /// A POSIX shell.
    Shell,
}

/// The keys with their values, in order; of several the last one counts.
pub type Entries = Vec<(String, Zeroizing<String>)>;

impl Reader {
    /// Every reader.
    pub const ALL: [Self; 10] = [
        Self::Dotenv,
        Self::NodeLoose,
        Self::Node,
        Self::Python,
        Self::RubyLines,
        Self::Ruby,
        Self::SystemdComments,
        Self::Systemd,
        Self::Docker,
        Self::Shell,
    ];

    /// The readers of a dialect.
    pub const fn of(dialect: Dialect) -> &'static [Self] {
        match dialect {
            Dialect::Any => &Self::ALL,
            Dialect::Dotenv => &[Self::Dotenv, Self::NodeLoose, Self::Node],
            Dialect::Python => &[Self::Python],
            Dialect::Ruby => &[Self::RubyLines, Self::Ruby],
            Dialect::Systemd => &[Self::SystemdComments, Self::Systemd],
            Dialect::Docker => &[Self::Docker],
            Dialect::Shell => &[Self::Shell],
        }
    }

    /// What it makes of a file; none where it takes no such file, or where nobody could foretell it.
    pub fn read(self, text: &str) -> Option<Entries> {
        match self {
            Self::Dotenv => Some(by_pattern(text.trim_start_matches(BYTE_ORDER_MARK), &JAVASCRIPT)),
            Self::NodeLoose => Some(node(text, &[' '], true)),
            Self::Node => Some(node(text, &[' ', '\t', '\n'], false)),
            Self::Python => Some(python(text)),
            Self::RubyLines => ruby_lines(text),
            Self::Ruby => ruby(text),
            Self::SystemdComments => Some(systemd(text, true)),
            Self::Systemd => Some(systemd(text, false)),
            Self::Docker => docker(text),
            Self::Shell => shell(text),
        }
    }
}

/// What distinguishes the descendants of one regular expression.
struct Pattern {
    key: fn(char) -> bool,
    quotes: &'static [char],
    white: fn(char) -> bool,
    value: fn(&str) -> Zeroizing<String>,
}

const JAVASCRIPT: Pattern = Pattern {
    key: |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'),
    quotes: &['\'', '"', '`'],
    white: |c| (c.is_whitespace() && c != '\u{85}') || c == BYTE_ORDER_MARK,
    value: |raw| {
        let (quote, inner) = without_quotes(raw, &['\'', '"', '`']);
        if raw.starts_with('"') || quote == Some('"') { with_line_feeds(inner) } else { own(inner) }
    },
};

const RUBY: Pattern = Pattern {
    key: |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'),
    quotes: &['\'', '"'],
    white: is_ascii_white,
    value: |raw| match without_quotes(raw, &['\'', '"']) {
        (Some('\''), inner) => own(inner),
        (_, inner) => ruby_variables(&ruby_unescaped(inner)),
    },
};

/// Lines of one regular expression: `(export)? KEY (= | :) ('…' | "…" | `…` | …)? (#…)?`, quotes over several lines.
fn by_pattern(text: &str, pattern: &Pattern) -> Entries {
    let text = Zeroizing::new(text.replace("\r\n", "\n").replace('\r', "\n"));
    let mut entries = Entries::new();
    let mut at = 0;
    while at < text.len() {
        let end = match pattern.entry(&text[at..]) {
            Some((key, value, end)) => {
                entries.push((key, value));
                at + end
            }
            None => at,
        };
        at = text[end..].find('\n').map_or(text.len(), |found| end + found + 1);
    }
    entries
}

impl Pattern {
    /// The entry that a text begins with, and where it ends.
    fn entry(&self, text: &str) -> Option<(String, Zeroizing<String>, usize)> {
        let start = text.trim_start_matches(self.white);
        let exported = start.strip_prefix("export").filter(|rest| rest.starts_with(self.white));
        let named = |from: &str| {
            let from = from.trim_start_matches(self.white);
            let rest = from.trim_start_matches(self.key);
            let key = from[..from.len() - rest.len()].to_owned();
            let assigned = rest.trim_start_matches(self.white).strip_prefix('=').map(str::len);
            let colon = || {
                let rest = rest.strip_prefix(':')?;
                let white = rest.chars().next().filter(|c| (self.white)(*c))?;
                Some(rest.len() - white.len_utf8())
            };
            assigned.or_else(colon).filter(|_| !key.is_empty()).map(|left| (key, text.len() - left))
        };
        let (key, at) = exported.and_then(named).or_else(|| named(start))?;
        let length = self.raw(&text[at..]);
        let raw = text[at..at + length].trim_matches(self.white);
        Some((key, (self.value)(raw), at + length))
    }

    /// How long the value is that a text begins with.
    fn raw(&self, text: &str) -> usize {
        let trimmed = text.trim_start_matches(self.white);
        let start = text.len() - trimmed.len();
        if let Some(quote) = trimmed.chars().next().filter(|c| self.quotes.contains(c)) {
            let inside = &trimmed[1..];
            let ends: Vec<usize> = inside.match_indices(quote).map(|(at, _)| at).collect();
            // The first quote without a backslash before it ends the value, or else one of those before it.
            let first = ends.iter().position(|at| !inside[..*at].ends_with('\\'));
            let ends = &ends[..first.map_or(ends.len(), |first| first + 1)];
            let clean = |at: &&usize| {
                let rest = inside[**at + 1..].trim_start_matches(|c| c != '\n' && (self.white)(c));
                rest.is_empty() || rest.starts_with(['\n', '#'])
            };
            if let Some(end) = ends.iter().rev().find(clean) {
                return start + 1 + end + 1;
            }
        }
        text.find(['#', '\n']).unwrap_or(text.len())
    }
}

/// Node's own parser. It knows no escapes but `\n` inside double quotes, and a quote that closes nothing takes the line.
fn node(text: &str, white: &[char], loose: bool) -> Entries {
    let text = Zeroizing::new(text.replace('\r', ""));
    let mut rest = text.trim_matches(white);
    let mut entries = Entries::new();
    while !rest.is_empty() {
        let line_end = rest.find('\n').unwrap_or(rest.len());
        let after_line = rest.get(line_end + 1..).unwrap_or_default();
        if rest.starts_with(['\n', '#']) && !(loose && line_end == rest.len()) {
            rest = after_line;
            continue;
        }
        let Some(equals) = rest[..if loose { rest.len() } else { line_end }].find('=') else {
            rest = if loose { "" } else { after_line.trim_matches(white) };
            continue;
        };
        let key = rest[..equals].trim_matches(white);
        if loose && key.is_empty() {
            break;
        }
        let bare = match key.strip_prefix("export ") {
            Some(exported) if loose => exported,
            Some(exported) => exported.trim_matches(white),
            None => key,
        };
        rest = &rest[equals + 1..];
        if rest.is_empty() || rest.starts_with('\n') {
            // Since then the word is taken off a key with a value only.
            entries.push((if loose { bare } else { key }.to_owned(), own("")));
            continue;
        }
        if key.is_empty() {
            rest = rest.trim_matches(white);
            continue;
        }
        let key = bare.to_owned();
        rest = rest.trim_matches(white);
        let quote = rest.chars().next().filter(|c| ['"', '\'', '`'].contains(c));
        let line_end = rest.find('\n').unwrap_or(rest.len());
        let (value, end) = match quote.and_then(|quote| Some((quote, rest[1..].find(quote)? + 1))) {
            Some((quote, close)) => {
                let value = &rest[1..close];
                let value = if quote == '"' { Zeroizing::new(value.replace("\\n", "\n")) } else { own(value) };
                (value, rest[close..].find('\n').map_or(rest.len(), |found| close + found))
            }
            // It goes on with the quote as the beginning of a key.
            None if quote.is_some() && loose && line_end == rest.len() => continue,
            None if quote.is_some() => (own(&rest[..line_end]), line_end),
            None => {
                let line = &rest[..line_end];
                (own(line[..line.find('#').unwrap_or(line.len())].trim_matches(white)), line_end)
            }
        };
        entries.push((key, value));
        rest = rest.get(end + 1..).unwrap_or_default();
        if !loose {
            rest = rest.trim_matches(white);
        }
    }
    entries
}

/// python-dotenv. A line that it cannot read is left out; `${NAME}` is looked up, whatever the quotes.
fn python(text: &str) -> Entries {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let text = Zeroizing::new(text.replace("\r\n", "\n").replace('\r', "\n"));
    let mut entries = Entries::new();
    let mut rest = text.as_str();
    loop {
        rest = rest.trim_start_matches(is_python_white);
        if rest.is_empty() {
            return entries;
        }
        let (binding, end) = python_binding(rest);
        if let Some((key, value)) = binding {
            entries.push((key, python_variables(&value)));
        }
        let line_end = rest[end..].find('\n').map_or(rest.len(), |found| end + found + 1);
        rest = &rest[line_end..];
    }
}

/// The binding that a text begins with, where there is one, and how far it was read.
fn python_binding(text: &str) -> (Option<(String, Zeroizing<String>)>, usize) {
    let blank = |c: char| c != '\n' && is_python_white(c);
    let rest = text.strip_prefix("export").filter(|rest| rest.starts_with(blank)).unwrap_or(text);
    let rest = if rest.len() < text.len() { rest.trim_start_matches(blank) } else { rest };
    let at = |rest: &str| text.len() - rest.len();
    let (key, rest) = match rest.strip_prefix('\'') {
        _ if rest.starts_with('#') => return (None, at(rest)),
        Some(quoted) => match quoted.split_once('\'') {
            Some((key, after)) if !key.is_empty() => (key, after),
            _ => return (None, at(rest)),
        },
        None => {
            let after = rest.trim_start_matches(|c| !matches!(c, '=' | '#') && !is_python_white(c));
            (&rest[..rest.len() - after.len()], after)
        }
    };
    let rest = rest.trim_start_matches(blank);
    if key.is_empty() {
        return (None, at(rest));
    }
    let found = |value, rest: &str| (Some((key.to_owned(), value)), at(rest));
    let Some(after) = rest.strip_prefix('=') else {
        // A key without a value takes away the one that it had.
        let clean = rest.is_empty() || rest.starts_with(['\n', '#']);
        return if clean { found(own(OPEN), rest) } else { (None, at(rest)) };
    };
    let value = after.trim_start_matches(blank);
    match value.chars().next() {
        None | Some('\n') => found(own(""), value),
        Some('#') if value.len() < after.len() => found(own(""), value),
        Some(quote @ ('\'' | '"')) => {
            let Some((inside, rest)) = python_quoted(&value[1..], quote) else { return (None, at(value)) };
            let tail = rest.trim_start_matches(blank);
            if tail.is_empty() || tail.starts_with(['\n', '#']) { found(inside, rest) } else { (None, at(rest)) }
        }
        Some(_) => {
            let line = &value[..value.find('\n').unwrap_or(value.len())];
            let comment = line.match_indices('#').find(|(at, _)| line[..*at].ends_with(is_python_white));
            let bare = &line[..comment.map_or(line.len(), |(at, _)| at)];
            found(own(bare.trim_end_matches(is_python_white)), &value[line.len()..])
        }
    }
}

fn python_quoted(text: &str, quote: char) -> Option<(Zeroizing<String>, &str)> {
    let mut value = own("");
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return Some((value, &text[at + 1..])),
            '\\' => {
                let (_, escaped) = chars.next()?;
                match (escaped, quote) {
                    ('\\' | '\'', _) | ('"', '"') => value.push(escaped),
                    ('n', '"') => value.push('\n'),
                    ('r', '"') => value.push('\r'),
                    ('t', '"') => value.push('\t'),
                    ('a', '"') => value.push('\u{7}'),
                    ('b', '"') => value.push('\u{8}'),
                    ('f', '"') => value.push('\u{c}'),
                    ('v', '"') => value.push('\u{b}'),
                    (other, _) => value.extend(['\\', other]),
                }
            }
            c => value.push(c),
        }
    }
    None
}

fn python_variables(value: &str) -> Zeroizing<String> {
    if value.contains("${") { Zeroizing::new(value.replace("${", OPEN)) } else { own(value) }
}

/// The gem dotenv as it was: one line a value.
fn ruby_lines(text: &str) -> Option<Entries> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let mut entries = Entries::new();
    for line in text.split(['\n', '\r']) {
        match ruby_line(line) {
            Some(entry) => entries.push(entry),
            None if exports_what_is_unset(line, &entries) => return None,
            None => {}
        }
    }
    Some(entries)
}

/// The gem dotenv as it is. It refuses a file that exports what it does not set, and so does a reader who cannot tell.
fn ruby(text: &str) -> Option<Entries> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let entries = by_pattern(text, &RUBY);
    let refused =
        text.split(['\n', '\r']).any(|line| RUBY.entry(line).is_none() && exports_what_is_unset(line, &entries));
    (!refused).then_some(entries)
}

fn exports_what_is_unset(line: &str, entries: &Entries) -> bool {
    let mut words = line.split_ascii_whitespace();
    words.next() == Some("export") && !words.all(|word| entries.iter().any(|(key, _)| key == word))
}

fn ruby_line(line: &str) -> Option<(String, Zeroizing<String>)> {
    let (key, at) = {
        let start = line.trim_start_matches(is_ascii_white);
        let exported = start.strip_prefix("export").filter(|rest| rest.starts_with(is_ascii_white));
        let named = |from: &str| {
            let from = from.trim_start_matches(is_ascii_white);
            let rest = from.trim_start_matches(RUBY.key);
            let key = from[..from.len() - rest.len()].to_owned();
            let assigned = rest.trim_start_matches(is_ascii_white).strip_prefix('=');
            let assigned = assigned.map(|rest| rest.trim_start_matches(is_ascii_white));
            let colon =
                || rest.strip_prefix(':').filter(|rest| rest.starts_with(is_ascii_white)).map(|rest| &rest[1..]);
            assigned.or_else(colon).filter(|_| !key.is_empty()).map(|left| (key, line.len() - left.len()))
        };
        exported.and_then(named).or_else(|| named(start))?
    };
    let text = &line[at..];
    let quoted = text.chars().next().filter(|c| matches!(c, '\'' | '"')).and_then(|quote| {
        let clean = |at: &usize| {
            let rest = text[at + 1..].trim_start_matches(is_ascii_white);
            rest.is_empty() || rest.starts_with('#')
        };
        text.match_indices(quote).skip(1).map(|(at, _)| at).filter(clean).last()
    });
    let raw = match quoted {
        Some(end) => &text[..=end],
        None => &text[..text.find('#').unwrap_or(text.len())],
    };
    let value = match without_quotes(raw.trim_matches(is_ascii_white), &['\'', '"']) {
        (Some('\''), inner) => own(inner),
        (Some(_), inner) => {
            let inner = Zeroizing::new(with_line_feeds(inner).to_string());
            ruby_variables(&ruby_unescaped(&inner))
        }
        (None, inner) => ruby_variables(inner),
    };
    Some((key, value))
}

/// `\c` is c, except `\$`.
fn ruby_unescaped(text: &str) -> Zeroizing<String> {
    let mut value = own("");
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match chars.peek() {
            // The expression's dot takes no line feed, but its class without a dollar does.
            Some(next) if c == '\\' && *next != '$' => value.extend(chars.next()),
            _ => value.push(c),
        }
    }
    value
}

/// `$NAME` and `$(command)` are left open; `\$` is a dollar.
fn ruby_variables(text: &str) -> Zeroizing<String> {
    let mut value = own("");
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek().copied()) {
            ('\\', Some('$')) => {
                chars.next();
                // Whether a parenthesis closes decides there what becomes of the backslash.
                value.push_str(if chars.peek() == Some(&'(') { OPEN } else { "$" });
            }
            ('$', Some(next)) if next.is_ascii_alphanumeric() || matches!(next, '_' | '{' | '(') => {
                value.push_str(OPEN);
            }
            _ => value.push(c),
        }
    }
    value
}

/// systemd's `EnvironmentFile=`: one state a character, as its own parser does it.
fn systemd(text: &str, comments_go_on: bool) -> Entries {
    let mut entries = Entries::new();
    let (mut key, mut value) = (String::new(), own(""));
    let mut kept = 0;
    let mut state = State::BeforeKey;
    // The end of the text ends a value like a line feed does, whatever quotes are open.
    for c in text.chars() {
        let line_ends = matches!(c, '\n' | '\r');
        let white = matches!(c, ' ' | '\t') || line_ends;
        state = match state {
            State::BeforeKey if matches!(c, '#' | ';') => State::Comment,
            State::BeforeKey if white => State::BeforeKey,
            State::BeforeKey => {
                key = c.to_string();
                State::Key
            }
            State::Key if line_ends => State::BeforeKey,
            State::Key if c == '=' => {
                (value, kept) = (own(""), 0);
                State::BeforeValue
            }
            State::Key => {
                key.push(c);
                State::Key
            }
            State::BeforeValue | State::Value if line_ends => {
                push(&mut entries, &key, &value[..kept]);
                State::BeforeKey
            }
            State::BeforeValue if c == '\'' => State::Single,
            State::BeforeValue if c == '"' => State::Double,
            State::BeforeValue | State::Value if c == '\\' => {
                kept = value.len();
                State::ValueEscape
            }
            State::BeforeValue if white => State::BeforeValue,
            State::BeforeValue | State::Value => {
                value.push(c);
                if !white {
                    kept = value.len();
                }
                State::Value
            }
            State::ValueEscape => {
                if !line_ends {
                    value.push(c);
                }
                kept = value.len();
                State::Value
            }
            State::Single if c == '\'' => State::BeforeValue,
            State::Double if c == '"' => State::BeforeValue,
            State::Double if c == '\\' => State::DoubleEscape,
            State::Single | State::Double => {
                value.push(c);
                kept = value.len();
                state
            }
            State::DoubleEscape => {
                match c {
                    '"' | '\\' | '`' | '$' => value.push(c),
                    '\n' => {}
                    other => value.extend(['\\', other]),
                }
                kept = value.len();
                State::Double
            }
            State::Comment if c == '\\' && comments_go_on => State::CommentEscape,
            State::Comment if line_ends => State::BeforeKey,
            State::Comment | State::CommentEscape => State::Comment,
        };
    }
    if !matches!(state, State::BeforeKey | State::Key | State::Comment | State::CommentEscape) {
        push(&mut entries, &key, &value[..kept]);
    }
    entries
}

#[derive(Clone, Copy)]
enum State {
    BeforeKey,
    Key,
    BeforeValue,
    Value,
    ValueEscape,
    Single,
    Double,
    DoubleEscape,
    Comment,
    CommentEscape,
}

/// Keys that are no names of variables are left out.
fn push(entries: &mut Entries, key: &str, value: &str) {
    let key = key.trim_end_matches([' ', '\t', '\n', '\r']);
    if is_name(key) {
        entries.push((key.to_owned(), own(value)));
    }
}

/// `docker run --env-file`: what stands behind the equals sign, to the end of the line. One bad line, and the file is refused.
fn docker(text: &str) -> Option<Entries> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let mut entries = Entries::new();
    for line in text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)) {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = line.split_once('=').map_or((line, None), |(key, value)| (key, Some(value)));
        if key.is_empty() || key.contains(char::is_whitespace) {
            return None;
        }
        if let Some(value) = value {
            entries.push((key.to_owned(), own(value)));
        }
    }
    Some(entries)
}

/// A shell, as long as the file holds assignments and nothing else.
fn shell(text: &str) -> Option<Entries> {
    let mut entries = Entries::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (words, after) = shell_line(rest)?;
        rest = after;
        let exported = words.first().is_some_and(|word| word.raw == "export");
        for word in &words[usize::from(exported)..] {
            match word.raw.split_once('=') {
                Some((name, _)) if is_name(name) => {
                    entries.push((name.to_owned(), own(&word.value[name.len() + 1..])));
                }
                None if exported && is_name(word.raw) => {}
                // A command, and what it does to the variables nobody can tell.
                _ => return None,
            }
        }
    }
    Some(entries)
}

struct Word<'a> {
    raw: &'a str,
    value: Zeroizing<String>,
}

/// The words of the line that a text begins with, and what follows it.
fn shell_line(text: &str) -> Option<(Vec<Word<'_>>, &str)> {
    let mut words = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t']);
        if rest.starts_with('#') {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        }
        if let Some(after) = rest.strip_prefix("\\\n") {
            rest = after;
            continue;
        }
        if rest.is_empty() || rest.starts_with('\n') {
            return Some((words, rest.get(1..).unwrap_or_default()));
        }
        let (value, end) = shell_word(rest)?;
        words.push(Word { raw: &rest[..end], value });
        rest = &rest[end..];
    }
}

/// The word that a text begins with, and where it ends.
fn shell_word(text: &str) -> Option<(Zeroizing<String>, usize)> {
    let mut value = own("");
    let mut chars = text.char_indices().peekable();
    let mut double = false;
    while let Some((at, c)) = chars.next() {
        let next = chars.peek().map(|(_, next)| *next);
        match c {
            '"' => double = !double,
            '`' => return None,
            '\\' => match next {
                Some('\n') => drop(chars.next()),
                Some(escaped) if !double || matches!(escaped, '"' | '\\' | '`' | '$') => {
                    chars.next();
                    value.push(escaped);
                }
                _ => value.push('\\'),
            },
            '$' => match next {
                Some('(') => return None,
                Some('\'' | '"') if !double => return None,
                Some('{') => {
                    // Only a plain name: what else stands in braces may hold quotes of its own.
                    let (name, _) = text[at + 2..].split_once('}')?;
                    if !is_name(name) {
                        return None;
                    }
                    value.push_str(OPEN);
                }
                Some(next) if next.is_ascii_alphanumeric() || "_@*#?-$!".contains(next) => value.push_str(OPEN),
                _ => value.push('$'),
            },
            c if double => value.push(c),
            '\'' => loop {
                match chars.next()?.1 {
                    '\'' => break,
                    c => value.push(c),
                }
            },
            ' ' | '\t' | '\n' => return Some((value, at)),
            ';' | '&' | '|' | '(' | ')' | '<' | '>' => return None,
            // A home folder, names of files, lists.
            '~' | '*' | '?' | '[' | '{' => {
                value.push_str(OPEN);
                value.push(c);
            }
            c => value.push(c),
        }
    }
    (!double).then_some((value, text.len()))
}

/// The quote that a value stands in, where it does, and what is inside.
fn without_quotes<'a>(raw: &'a str, quotes: &[char]) -> (Option<char>, &'a str) {
    let quote = raw.chars().next().filter(|c| quotes.contains(c) && raw.len() > 1 && raw.ends_with(*c));
    (quote, if quote.is_some() { &raw[1..raw.len() - 1] } else { raw })
}

fn with_line_feeds(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.replace("\\n", "\n").replace("\\r", "\r"))
}

fn is_name(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !text.is_empty() && text.chars().all(is_word) && !text.starts_with(|c: char| c.is_ascii_digit())
}

const fn is_ascii_white(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}')
}

fn is_python_white(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

fn own(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.to_owned())
}

/// Stands for what is looked up elsewhere.
const OPEN: &str = "\0";
/// What some editors put at the beginning of a text.
const BYTE_ORDER_MARK: char = '\u{feff}';

#[cfg(test)]
mod tests {
    use super::*;

    /// What the readers in the order of [`Reader::ALL`] make of one line.
    #[test]
    fn they_disagree() {
        let all = |value: &'static str| [Some(value); 10];
        let (d, s, k) = (Some("a"), Some("a#b"), Some("a #b"));
        for (text, values) in [
            ("T=a", all("a")),
            ("T=\nU=x", all("")),
            ("T=a#b", [d, d, d, s, d, d, s, s, s, s]),
            ("T=a #b", [d, d, d, d, d, d, k, k, k, d]),
            ("T='a'", [d, d, d, d, d, d, d, d, Some("'a'"), d]),
            ("export T=a", [d, d, d, d, d, d, None, None, None, d]),
            ("T: a", [d, None, None, None, d, d, None, None, None, None]),
            ("# \\\nT=a", [d, d, d, d, d, d, None, d, d, d]),
            ("A='\nT=a\n'", [None, None, None, None, d, None, None, None, d, None]),
            ("T=\"\\\"\"", {
                let (raw, bare, lone) = (Some("\\\""), Some("\""), Some("\\"));
                [raw, lone, lone, bare, bare, bare, bare, bare, Some("\"\\\"\""), bare]
            }),
        ] {
            for (reader, value) in Reader::ALL.into_iter().zip(values) {
                let entries = reader.read(text).unwrap_or_default();
                let read = entries.iter().rev().find(|(key, _)| key == "T").map(|(_, value)| value.as_str());
                assert_eq!(read, value, "{reader:?}: {text:?}");
            }
        }
    }

    #[test]
    fn what_is_looked_up_is_left_open() {
        for (reader, text) in [
            (Reader::Python, "T='${HOME}'"),
            (Reader::Ruby, "T=$HOME"),
            (Reader::RubyLines, "T=\"$(id)\""),
            (Reader::Shell, "T=$HOME"),
            (Reader::Shell, "T=~"),
        ] {
            let entries = reader.read(text).unwrap_or_default();
            assert!(entries.iter().any(|(key, value)| key == "T" && value.contains(OPEN)), "{reader:?}: {text}");
        }
        for text in ["T=$(id)", "T=`id`", "if true; then", "T=a; id", "T = a", "T='a"] {
            assert_eq!(Reader::Shell.read(text), None, "{text}");
        }
    }
}
