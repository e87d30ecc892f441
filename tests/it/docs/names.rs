//! Names that the pages give (metrics, keys, findings, alerts, exit codes, words of logs and of refusals) are those of the program, and all of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use tokenwatch::channel::alertmanager::alert_name;
use tokenwatch::doctor::Step;
use tokenwatch::domain::finding::Reason;
use tokenwatch::domain::inspection::CheckError;
use tokenwatch::domain::renewal::Outcome;
use tokenwatch::domain::route::ChannelKind;
use tokenwatch::domain::verdict::Verdict;
use tokenwatch::metrics::{Closed, Refused};
use tokenwatch::settings::show;

use super::{Page, living_pages, planted, report, root};

#[test]
fn every_name_is_one_of_the_program() {
    let pages = living_pages();
    for check in CHECKS {
        report(&check(&pages));
    }
}

#[test]
fn a_name_of_nothing_is_found() {
    for (text, fault) in [
        ("sum(tokenwatch_tokens_total)", "tokenwatch_tokens_total"),
        ("`daemon.listens`", "daemon.listens"),
        ("`schedule.check.often`", "schedule.check.often"),
        ("`AccessTokenGone`", "AccessTokenGone"),
        ("`TokenwatchAsleep`", "TokenwatchAsleep"),
        ("`ring3::secrets::nothing_is_ever_found`", "nothing_is_ever_found"),
        ("`ring3::nowhere`", "ring3::nowhere"),
        ("It exits with 4.", "exits with 4"),
        ("Then it is exit 77.", "exit 77"),
    ] {
        let faults: Vec<String> = CHECKS.iter().flat_map(|check| planted(check, text)).collect();
        assert!(faults.len() == 1 && faults[0].contains(fault), "{text}: {faults:?}");
    }
    let right = "`tidy::every_key_is_documented` `ring3::secrets` `tokenwatch_check_duration_seconds_bucket` `daemon.listen` `tokens.renew.before` `AccessTokenBlind` exit 75";
    for check in CHECKS {
        assert_eq!(planted(check, right), Vec::<String>::new());
    }
}

/// What is wrong with pages.
type Check = fn(&[Page]) -> Vec<String>;

const CHECKS: [Check; 5] = [unknown_metrics, unknown_keys, unknown_alerts, unknown_exits, unknown_places];

/// What a table lists is what there is: no name missing, none too many.
#[test]
fn tables_are_complete() {
    let names = |words: &[&str]| -> BTreeSet<String> { words.iter().map(|word| (*word).to_owned()).collect() };
    let verdicts: Vec<&str> = Verdict::ALL.iter().map(|verdict| verdict.as_str()).collect();
    let outcomes: Vec<&str> = Outcome::ALL.iter().map(|outcome| outcome.as_str()).collect();
    let ours: Vec<&str> = Reason::OF_WATCHER.iter().map(|reason| reason.as_str()).collect();
    let channels: Vec<&str> = ChannelKind::ALL.iter().map(|channel| channel.as_str()).collect();
    let closed: Vec<&str> = Closed::ALL.iter().map(|reason| reason.as_str()).collect();
    let refused: Vec<&str> = Refused::ALL.iter().map(|reason| reason.as_str()).collect();
    for (page, begins, wanted) in [
        ("docs/metrics.md", "| `tokenwatch_listener_closed_total`", &closed),
        ("docs/metrics.md", "| `tokenwatch_listener_refused_logins_total`", &refused),
        ("docs/metrics.md", "| `tokenwatch_token_verdict`", &verdicts),
        ("docs/metrics.md", "| `tokenwatch_renewals_total`", &outcomes),
        ("docs/metrics.md", "| `tokenwatch_watcher_finding`", &ours),
        ("docs/metrics.md", "Channels are ", &channels),
        ("docs/api.md", "| `verdict` |", &verdicts),
    ] {
        let line = line(page, begins);
        let said: BTreeSet<String> = line.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        let said: BTreeSet<String> = said.into_iter().filter(|word| !begins.contains(&format!("`{word}`"))).collect();
        assert_eq!(said, names(wanted), "{page}: {line}");
    }
    let line = line("docs/metrics.md", "| `tokenwatch_check_failures_total`");
    let said = line.split("reasons: ").nth(1).expect("the reasons").trim_end_matches(" |");
    assert_eq!(said.split(", ").collect::<BTreeSet<_>>(), CheckError::REASONS.into_iter().collect());
}

#[test]
fn alert_names_are_those_that_are_posted() {
    let text = fs::read_to_string(root().join("docs/alertmanager.md")).expect("a page");
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let mut told = BTreeSet::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        for pair in cells.chunks(2).filter(|pair| pair.len() == 2) {
            let Some(reason) = Reason::parse(pair[0]) else { continue };
            assert_eq!(alert_name(reason).unwrap_or("not posted"), pair[1], "{row}");
            told.insert(reason.as_str());
        }
    }
    let all: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(told, all, "docs/alertmanager.md");
}

#[test]
fn the_steps_of_the_doctor_are_those_that_it_takes() {
    let text = fs::read_to_string(root().join("docs/doctor.md")).expect("a page");
    let (_, table) = text.split_once("| step | looks at |").expect("the table");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let told: BTreeSet<String> = rows
        .flat_map(|row| row.split('|').nth(1).unwrap_or_default().split(',').map(|step| step.trim().replace(' ', "_")))
        .collect();
    let all: BTreeSet<String> = Step::ALL.iter().map(|step| step.as_str().to_owned()).collect();
    assert_eq!(told, all);
}

/// Words that people search a log or a mail for stand there as the page says.
#[test]
fn words_that_are_promised_are_said() {
    let everything = everything();
    let mut missing = Vec::new();
    for (page, header) in [("docs/logging.md", "| message |"), ("docs/renewal.md", "| text | remedy |")] {
        let text = fs::read_to_string(root().join(page)).expect("a page");
        let (_, table) = text.split_once(header).expect("the table");
        let rows: Vec<&str> = table.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
        assert!(rows.len() > 10, "{page}: the search found too little");
        for row in rows {
            let words = row.split('|').nth(1).unwrap_or_default().trim().trim_matches('`');
            for part in words.split('…').map(str::trim).filter(|part| part.len() > 3) {
                if !everything.contains(part.trim_end_matches([':', ';'])) {
                    missing.push(format!("{page}: nothing says {part:?}"));
                }
            }
        }
    }
    report(&missing);
}

fn unknown_metrics(pages: &[Page]) -> Vec<String> {
    let exported = exported();
    let mut faults = Vec::new();
    for page in pages {
        for (number, line) in page.text.lines().enumerate() {
            for word in line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':' && c != '.') {
                let word = word.trim_end_matches(['.', ':']);
                let plain = word.starts_with("tokenwatch_") && !word.contains(['.', ':']) && !word.ends_with('_');
                let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word);
                if plain && !exported.contains(word) && !exported.contains(base) {
                    faults.push(format!("{}: {word} is exported by nobody", page.at(number + 1)));
                }
            }
        }
    }
    faults
}

/// The names that the exposition and the counters are written with.
fn exported() -> BTreeSet<String> {
    let code: String = ["src/metrics.rs", "src/web/exposition.rs"]
        .map(|file| fs::read_to_string(root().join(file)).expect("a source file"))
        .concat();
    let names: BTreeSet<String> =
        code.split('"').filter(|part| part.starts_with("tokenwatch_")).map(str::to_owned).collect();
    assert!(names.len() >= 25, "the search found too little: {names:?}");
    names
}

fn unknown_keys(pages: &[Page]) -> Vec<String> {
    let entries = show::entries();
    let known: Vec<Vec<&str>> =
        entries.iter().map(|entry| entry.path.split('.').map(|part| part.trim_end_matches("[]")).collect()).collect();
    let tops: BTreeSet<&str> = known.iter().filter_map(|path| path.first().copied()).collect();
    let mut faults = Vec::new();
    for page in pages {
        for (line, words) in &page.code {
            let path: Vec<&str> = words.split('.').map(|part| part.trim_end_matches("[]")).collect();
            let plain =
                words.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '*' | '-' | '[' | ']'));
            let file = ["md", "toml", "rs", "db", "sock", "key", "env", "yml", "yaml", "json"]
                .iter()
                .any(|end| path.last() == Some(end));
            if path.len() < 2 || !plain || file || !path.first().is_some_and(|top| tops.contains(top)) {
                continue;
            }
            // NAME and * stand for any name; a name may also be left out, or be one.
            let fits = |key: &Vec<&str>| {
                let without: Vec<&str> = key.iter().copied().filter(|part| *part != "NAME").collect();
                let same = |key: &[&str]| {
                    key.len() == path.len()
                        && key.iter().zip(&path).all(|(part, said)| part == said || *part == "NAME" || *said == "*")
                };
                same(key) || same(&without)
            };
            if !known.iter().any(fits) {
                faults.push(format!("{}: there is no key {words}", page.at(*line)));
            }
        }
    }
    faults
}

fn unknown_alerts(pages: &[Page]) -> Vec<String> {
    let mut known: BTreeSet<String> =
        Reason::ALL.iter().filter_map(|reason| alert_name(*reason)).map(str::to_owned).collect();
    let rules = root().join("deploy/prometheus/rules");
    for entry in fs::read_dir(rules).expect("the rules") {
        let text = fs::read_to_string(entry.expect("an entry").path()).expect("rules");
        known.extend(text.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).map(str::to_owned));
    }
    let mut faults = Vec::new();
    for page in pages {
        for (line, word) in &page.code {
            let rest =
                ["Tokenwatch", "AccessToken", "WhatsApp", "Token"].iter().find_map(|begin| word.strip_prefix(begin));
            let alert = rest.is_some_and(|rest| {
                rest.starts_with(|c: char| c.is_ascii_uppercase()) && rest.chars().all(|c| c.is_ascii_alphanumeric())
            });
            if alert && !known.contains(word) {
                faults.push(format!("{}: there is no alert {word}", page.at(*line)));
            }
        }
    }
    faults
}

fn unknown_exits(pages: &[Page]) -> Vec<String> {
    let mut faults = Vec::new();
    for page in pages {
        for (number, line) in page.text.lines().enumerate() {
            let said = ["exits with ", "exit code ", "exit ", "Exit "]
                .iter()
                .flat_map(|words| line.match_indices(words).map(move |(at, words)| (words, &line[at + words.len()..])));
            for (words, rest) in said {
                let code: String = rest.chars().take_while(char::is_ascii_digit).collect();
                if code.parse::<u8>().is_ok_and(|code| ![0, 1, 2, 3, 64, 70, 75, 78].contains(&code)) {
                    faults.push(format!("{}: nothing ends like this: {words}{code}", page.at(number + 1)));
                }
            }
        }
    }
    faults
}

/// Modules and functions that a page points to, most of them tests that prove what it says.
fn unknown_places(pages: &[Page]) -> Vec<String> {
    let mut faults = Vec::new();
    for page in pages {
        for (line, words) in &page.code {
            let Some((module, last)) = words.rsplit_once("::") else { continue };
            let plain = words.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | ':'));
            let function = format!("fn {last}(");
            let holds = |text: &String| text.contains(&function);
            let there = || {
                !module_texts(words).is_empty() || module_texts(module.trim_end_matches("::tests")).iter().any(holds)
            };
            if plain && !module.is_empty() && !there() {
                faults.push(format!("{}: there is no {words}", page.at(*line)));
            }
        }
    }
    faults
}

/// The texts of the modules of that name, of the program and of the tests.
fn module_texts(module: &str) -> Vec<String> {
    let path = module.replace("::", "/");
    let files = ["src", "tests/it"].map(|folder| [format!("{folder}/{path}.rs"), format!("{folder}/{path}/mod.rs")]);
    files.iter().flatten().filter_map(|file| fs::read_to_string(root().join(file)).ok()).collect()
}

/// The line of a page that begins so.
fn line(page: &str, begins: &str) -> String {
    let text = fs::read_to_string(root().join(page)).expect("a page");
    let line = text.lines().find(|line| line.starts_with(begins));
    assert!(line.is_some(), "{page} has no line that begins with {begins:?}");
    line.unwrap_or_default().to_owned()
}

/// All source text, with strings over several lines joined as the compiler joins them.
fn everything() -> String {
    let mut text = String::new();
    for line in texts(&root().join("src")).iter().flat_map(|source| source.lines()) {
        text.push_str(line.strip_suffix('\\').unwrap_or(line).trim_start());
        if !line.ends_with('\\') {
            text.push('\n');
        }
    }
    text
}

/// The text of each file of Rust below a folder.
pub(super) fn texts(folder: &Path) -> Vec<String> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            texts.extend(self::texts(&entry));
        } else if entry.extension().is_some_and(|kind| kind == "rs") {
            texts.push(fs::read_to_string(&entry).expect("a source file"));
        }
    }
    texts
}
