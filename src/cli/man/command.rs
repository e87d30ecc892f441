//! The pages of section 1, one a command: what clap knows, and what `words` adds.

use clap::{Arg, ArgAction, Command};
use clap_mangen::Man;
use roff::{Roff, bold, italic, roman};

use super::words::{self, Words};
use super::{Page, head, paragraphs, section, see_also, term, verbatim};
use crate::cli::{self, Exit};

/// Every command's page, the whole program's first.
pub fn pages() -> Vec<Page> {
    let mut pages = Vec::new();
    add(&mut pages, &built());
    pages
}

fn built() -> Command {
    let mut whole = cli::command().disable_help_subcommand(true);
    whole.build();
    whole
}

fn add(pages: &mut Vec<Page>, command: &Command) {
    pages.push(page(command));
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        add(pages, below);
    }
}

fn page(command: &Command) -> Page {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let words = words::of(name);
    let mut roff = Roff::new();
    head(&mut roff, name, '1', first_sentence(&about));
    section(&mut roff, "SYNOPSIS");
    synopsis(&mut roff, command);
    section(&mut roff, "DESCRIPTION");
    roff.text([roman(format!("{}.", about.trim_end_matches('.')))]);
    for paragraph in words.about {
        roff.control("PP", []);
        roff.text([roman(*paragraph)]);
    }
    let mut text = roff.render();
    text.push_str(&of_clap(command));
    let mut roff = Roff::new();
    rest(&mut roff, name, &words);
    text.push_str(body(&roff.render()));
    Page::new(name, '1', &text)
}

/// What a line can hold; the whole stands in the description.
fn first_sentence(about: &str) -> &str {
    let end = [". ", ": ", "; ", " ("].iter().filter_map(|end| about.find(end)).min();
    end.and_then(|end| about.get(..end)).unwrap_or(about)
}

/// Options and commands, as clap describes them.
fn of_clap(command: &Command) -> String {
    let man = Man::new(command.clone());
    let mut options = Vec::new();
    let mut commands = Vec::new();
    // Writing to memory cannot fail.
    let _ = man.render_options_section(&mut options);
    if command.has_subcommands() {
        let _ = man.render_subcommands_section(&mut commands);
    }
    let [options, commands] = [options, commands].map(|part| String::from_utf8_lossy(&part).into_owned());
    // An empty line between two breaks is a fault of style.
    let options = body(&options).replace(".br\n\n.br\n", ".sp\n");
    format!("{options}{}", body(&commands).replace(".SH SUBCOMMANDS", ".SH COMMANDS"))
}

/// A part of a page without what a whole page begins with.
fn body(rendered: &str) -> &str {
    rendered.find(".SH ").and_then(|begin| rendered.get(begin..)).unwrap_or_default()
}

/// Every option with its value: clap's own one leaves the values out.
fn synopsis(roff: &mut Roff, command: &Command) {
    let mut line = vec![bold(command.get_bin_name().unwrap_or_else(|| command.get_name()))];
    let shown = |arg: &&Arg| !arg.is_hide_set() && !matches!(arg.get_action(), ArgAction::Help | ArgAction::Version);
    for arg in command.get_arguments().filter(shown) {
        let (before, after) = if arg.is_required_set() { (" ", "") } else { (" [", "]") };
        line.push(roman(before));
        if let Some(long) = arg.get_long() {
            line.push(bold(format!("--{long}")));
        }
        if arg.is_positional() || arg.get_action().takes_values() {
            let names = arg.get_value_names().unwrap_or_default().join(" ");
            let more = if matches!(arg.get_action(), ArgAction::Append) { "..." } else { "" };
            line.push(roman(if arg.is_positional() { "" } else { " " }));
            line.push(italic(format!("{names}{more}")));
        }
        line.push(roman(after));
    }
    if command.has_subcommands() {
        line.push(roman(" "));
        line.push(italic("COMMAND"));
    }
    roff.text(line);
}

fn rest(roff: &mut Roff, name: &str, words: &Words) {
    section(roff, "EXIT STATUS");
    for (exit, meaning) in words.ends {
        term(roff, &exit.code().to_string(), meaning);
    }
    if name == WHOLE {
        for (exit, meaning) in EVERYWHERE {
            term(roff, &exit.code().to_string(), meaning);
        }
    } else {
        if !words.ends.is_empty() {
            roff.control("PP", []);
        }
        roff.text([roman("Others are those of every command, see "), bold(WHOLE), roman("(1).")]);
    }
    if name == WHOLE || name == DAEMON {
        for (title, terms) in [("ENVIRONMENT", words::ENVIRONMENT), ("FILES", words::FILES)] {
            section(roff, title);
            for (name, meaning) in terms {
                term(roff, name, meaning);
            }
        }
        section(roff, "SIGNALS");
        paragraphs(roff, &["The daemon, `tokenwatch run`, takes these:"]);
        for (name, meaning) in words::SIGNALS {
            term(roff, name, meaning);
        }
    }
    section(roff, "EXAMPLES");
    for (index, (line, meaning)) in words.examples.iter().enumerate() {
        if index > 0 {
            roff.control("PP", []);
        }
        roff.text([roman(*meaning)]);
        verbatim(roff, line);
    }
    let mut others: Vec<(&str, &str)> = vec![(WHOLE, "1"), ("tokenwatch.toml", "5")];
    others.extend(words.see);
    others.retain(|(other, _)| *other != name);
    see_also(roff, &others);
}

/// What any command may end with.
const EVERYWHERE: [(Exit, &str); 4] = [
    (Exit::Usage, "Wrong usage: an option or a command that does not exist, or an input that is missing."),
    (Exit::Internal, "A fault of tokenwatch itself; please report it."),
    (
        Exit::TryAgain,
        "Try again: the daemon is not reachable, another one holds the state, a port is in use, a place cannot be written.",
    ),
    (Exit::BadConfiguration, "The configuration is refused; all its faults are printed."),
];

const WHOLE: &str = "tokenwatch";
const DAEMON: &str = "tokenwatch-run";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The command's own page, and those of what is below it.
    fn names(command: &Command) -> Vec<String> {
        let own = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
        std::iter::once(own).chain(command.get_subcommands().flat_map(names)).collect()
    }

    #[test]
    fn every_command_has_its_words_and_no_other() {
        let commands: BTreeSet<String> = names(&built()).into_iter().collect();
        let known: BTreeSet<String> = words::ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(known, commands, "src/cli/man/words.rs has one entry for each command");
    }

    #[test]
    fn every_example_is_a_command_line() {
        for (name, words) in words::ALL {
            assert!(!words.examples.is_empty(), "{name} has no example");
            let (mut own, path) = (false, name.replace('-', " ").replace("test alert", "test-alert"));
            for (line, _) in words.examples {
                for line in line.lines().filter(|line| line.starts_with("tokenwatch")) {
                    let words = line.split_whitespace().take_while(|word| !["<", ">", "|"].contains(word));
                    let parsed = cli::command().try_get_matches_from(words);
                    assert!(parsed.is_ok(), "{name}: {line}: {parsed:?}");
                    own |= line.replace(" --config /srv/try/tokenwatch.toml", "").starts_with(&path);
                }
            }
            assert!(own, "{name} has no example of its own");
        }
    }

    #[test]
    fn every_page_that_is_referred_to_is_there() {
        let ours: BTreeSet<String> = names(&built()).into_iter().collect();
        for (name, words) in words::ALL {
            for (other, section) in words.see {
                assert!(
                    !other.starts_with("tokenwatch") || (ours.contains(*other) && *section == "1"),
                    "{name}: {other}"
                );
            }
        }
    }

    #[test]
    fn every_end_is_named_once() {
        for (name, words) in words::ALL {
            let codes: BTreeSet<u8> = words.ends.iter().map(|(exit, _)| exit.code()).collect();
            assert_eq!(codes.len(), words.ends.len(), "{name}");
        }
        let whole = words::of(WHOLE);
        let all: Vec<u8> = whole.ends.iter().chain(&EVERYWHERE).map(|(exit, _)| exit.code()).collect();
        assert_eq!(all, [0, 1, 2, 3, 64, 70, 75, 78]);
    }
}
