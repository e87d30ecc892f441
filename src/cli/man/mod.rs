//! `man [PAGE]`, `man --to DIR`: the manual pages, made of the command line's own definitions and of the schema.
//!
//! Nothing here repeats what those say. What they cannot say (how a command ends, an example) stands in `words`; a test asks for it. The
//! pages of one version are the same bytes wherever and whenever they are made.

mod command;
mod file;
mod words;

use std::fs;
use std::path::{Path, PathBuf};

use roff::Roff;

use super::{Exit, fail, io};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Which page: a command, or `tokenwatch.toml` [default: tokenwatch].
    page: Vec<String>,
    /// Write every page below this folder, in man1 and man5.
    #[arg(long, value_name = "DIR", conflicts_with = "page")]
    to: Option<PathBuf>,
}

/// One page of the manual.
struct Page {
    name: String,
    section: char,
    text: String,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Exit {
    let pages = pages();
    if let Some(folder) = &arguments.to {
        return match pages.iter().try_for_each(|page| page.write_below(folder)) {
            Ok(()) => Exit::Fine,
            Err(error) => fail(Exit::TryAgain, format_args!("{}: {error}", folder.display())),
        };
    }
    let wanted = arguments.page.join("-");
    match pages.iter().find(|page| page.answers_to(&wanted)) {
        Some(page) => io::print(&page.text),
        None => {
            let names: Vec<&str> = pages.iter().map(|page| page.name.as_str()).collect();
            fail(Exit::Usage, format_args!("there is no page {wanted:?}; there are {}", names.join(", ")))
        }
    }
}

/// All pages, the one of the whole first.
fn pages() -> Vec<Page> {
    let mut pages = command::pages();
    pages.push(file::page());
    pages
}

impl Page {
    fn new(name: &str, section: char, text: &str) -> Self {
        Self { name: name.to_owned(), section, text: code_in_bold(text) }
    }

    /// With or without the name of the program before it and the section behind it.
    fn answers_to(&self, wanted: &str) -> bool {
        let wanted = wanted.strip_suffix(&format!(".{}", self.section)).unwrap_or(wanted);
        let short = self.name.strip_prefix("tokenwatch-");
        wanted == self.name || Some(wanted) == short || (wanted.is_empty() && self.name == "tokenwatch")
    }

    fn write_below(&self, folder: &Path) -> std::io::Result<()> {
        let folder = folder.join(format!("man{}", self.section));
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(format!("{}.{}", self.name, self.section)), &self.text)
    }
}

/// The head of a page, and its name with what it is in one line.
fn head(roff: &mut Roff, name: &str, section: char, about: &str) {
    roff.control(
        "TH",
        [name, &section.to_string(), DATE, concat!("tokenwatch ", env!("CARGO_PKG_VERSION")), "tokenwatch"],
    );
    roff.control("SH", ["NAME"]);
    roff.text([roff::roman(format!("{name} - {}", about.trim_end_matches('.')))]);
}

fn section(roff: &mut Roff, title: &str) {
    roff.control("SH", [title]);
}

/// Paragraphs; the first one follows its heading at once.
fn paragraphs(roff: &mut Roff, paragraphs: &[&str]) {
    for (index, paragraph) in paragraphs.iter().enumerate() {
        if index > 0 {
            roff.control("PP", []);
        }
        roff.text([roff::roman(*paragraph)]);
    }
}

/// A term and what it means.
fn term(roff: &mut Roff, term: &str, meaning: &str) {
    roff.control("TP", []);
    roff.text([roff::bold(term)]);
    roff.text([roff::roman(meaning)]);
}

/// Lines that stay as they are.
fn verbatim(roff: &mut Roff, lines: &str) {
    roff.control("sp", []);
    roff.control("RS", ["4"]);
    roff.control("nf", []);
    for line in lines.lines() {
        // An empty line of text would be a fault of style.
        if line.is_empty() {
            roff.control("sp", []);
        } else {
            roff.text([roff::roman(line)]);
        }
    }
    roff.control("fi", []);
    roff.control("RE", []);
}

/// Other pages, in the usual form.
fn see_also(roff: &mut Roff, pages: &[(&str, &str)]) {
    section(roff, "SEE ALSO");
    let mut line = Vec::new();
    for (index, (name, section)) in pages.iter().enumerate() {
        if index > 0 {
            line.push(roff::roman(", "));
        }
        line.push(roff::bold(*name));
        line.push(roff::roman(format!("({section})")));
    }
    roff.text(line);
}

/// What stands in backticks elsewhere is bold here: on paper a backtick is a quotation mark.
fn code_in_bold(text: &str) -> String {
    let line = |line: &str| {
        let mut parts = line.split('`');
        let mut out = parts.next().unwrap_or_default().to_owned();
        for (index, part) in parts.enumerate() {
            out.push_str(if index % 2 == 0 { "\\fB" } else { "\\fR" });
            out.push_str(part);
        }
        out + "\n"
    };
    text.lines().map(line).collect()
}

/// The day of this version; whoever makes a release sets it to the one in the changelog (CONTRIBUTING.md).
const DATE: &str = "2026-11-26";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_answers_to_its_names() {
        for (wanted, found) in [
            ("", "tokenwatch"),
            ("tokenwatch", "tokenwatch"),
            ("tokenwatch.1", "tokenwatch"),
            ("check", "tokenwatch-check"),
            ("tokenwatch-check", "tokenwatch-check"),
            ("tokenwatch-check.1", "tokenwatch-check"),
            ("config-check", "tokenwatch-config-check"),
            ("tokenwatch.toml", "tokenwatch.toml"),
            ("tokenwatch.toml.5", "tokenwatch.toml"),
        ] {
            let pages = pages();
            let answers: Vec<&str> =
                pages.iter().filter(|page| page.answers_to(wanted)).map(|page| page.name.as_str()).collect();
            assert_eq!(answers, [found], "{wanted:?}");
        }
        assert!(!pages().iter().any(|page| page.answers_to("nothing") || page.answers_to("check.5")));
    }

    #[test]
    fn code_is_bold() {
        assert_eq!(code_in_bold("as `check` and `run`\n.PP\n"), "as \\fBcheck\\fR and \\fBrun\\fR\n.PP\n");
    }
}
