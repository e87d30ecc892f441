//! What the pages show is accepted: every piece of a configuration by `config check`, every command line by the command line's own definition.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use clap::error::ErrorKind;
use serde_json::json;
use tempfile::TempDir;
use tokenwatch::cli;
use toml::{Table, Value};

use super::{Block, Page, living_pages, planted, report};
use crate::support::authority::Authority;
use crate::support::process::program;

/// What a fence may say. `toml` is a configuration of ours, or a piece of one; behind it may stand the header that the lines belong below.
const KINDS: [&str; 10] = ["toml", "sh", "text", "ini", "yaml", "json", "python", "promql", "sql", "hcl"];

#[test]
fn every_configuration_that_is_shown_is_accepted() {
    let pages = living_pages();
    let shown = pages.iter().flat_map(|page| &page.blocks).filter(|block| kind(block) == Some("toml")).count();
    assert!(shown >= 15, "the search found only {shown}");
    report(&refused(&pages));
}

#[test]
fn a_configuration_that_is_refused_is_found() {
    for (text, fault) in [
        ("```toml\n[daemon]\nlisten_on = \"127.0.0.1:1\"\n```", "listen_on"),
        ("```toml\n[tokens.renew]\nbefore = \"often\"\n```", "before"),
        ("```toml [tokens.renew]\nconfirm = { url = \"http://localhost/\" }\n```", "url"),
        ("```toml\n[[tokens]]\nname = \"x\"\nprovider = \"nobody\"\n```", "tokens[x].provider"),
        ("```toml\nthis is no toml\n```", "toml"),
    ] {
        let faults = planted(refused, text);
        assert!(faults.len() == 1 && faults[0].contains(fault), "{text}: {faults:?}");
    }
    assert_eq!(planted(refused, "```toml [tokens.renew]\nbefore = \"20d\"\n```"), Vec::<String>::new());
}

#[test]
fn every_block_says_what_it_is() {
    report(&unnamed(&living_pages()));
}

#[test]
fn a_block_that_does_not_say_what_it_is_is_found() {
    for text in
        ["```\nx\n```", "```rust\nx\n```", "x\n\n    [daemon]\n    listen = \"\"\n", "x\n\n    [Service]\n    User=x\n"]
    {
        assert_eq!(planted(unnamed, text).len(), 1, "{text}");
    }
    assert_eq!(planted(unnamed, "x\n\n    tokenwatch status\n\n```text\nx\n```"), Vec::<String>::new());
}

#[test]
fn every_other_example_can_be_read() {
    report(&unreadable(&living_pages()));
}

#[test]
fn an_example_that_cannot_be_read_is_found() {
    for text in ["```yaml\na: [\n```", "```json\n{\n```", "```promql\nsum(\n```"] {
        assert_eq!(planted(unreadable, text).len(), 1, "{text}");
    }
    let right = "```yaml\na: [b]\n```\n\n```json\n{}\n```\n\n```promql\n# all\nsum(up)\n```";
    assert_eq!(planted(unreadable, right), Vec::<String>::new());
}

#[test]
fn every_command_line_that_is_shown_is_understood() {
    let pages = living_pages();
    let shown: usize = pages.iter().map(|page| command_lines(page).len()).sum();
    assert!(shown >= 100, "the search found only {shown}");
    report(&misunderstood(&pages));
}

#[test]
fn a_command_line_that_is_not_understood_is_found() {
    for text in [
        "`tokenwatch renews NAME`",
        "`sudo tokenwatch renew NAME --dry`",
        "`renew NAME --dry`",
        "`config chekc`",
        "x\n\n    pass show it | tokenwatch replace\n",
        "x\n\n    sudo -u tokenwatch tokenwatch silence NAME --for ages --why x   # a comment\n",
        "```sh\ntokenwatch check \\\n  --nothing\n```",
    ] {
        assert_eq!(planted(misunderstood, text).len(), 1, "{text}");
    }
    for text in [
        "`tokenwatch ack`",
        "`tokenwatch renew NAME`, `--dry-run`",
        "`check = \"15m\"`",
        "`config check`",
        "x\n\n    pass show it | tokenwatch replace NAME   # nothing --is --shown\n",
        "x\n\n    tokenwatch silence NAME --for 4h --why 'it is known'\n",
    ] {
        assert_eq!(planted(misunderstood, text), Vec::<String>::new(), "{text}");
    }
}

fn kind(block: &Block) -> Option<&str> {
    block.info.as_deref().and_then(|info| info.split_whitespace().next())
}

fn unnamed(pages: &[Page]) -> Vec<String> {
    let mut faults = Vec::new();
    for page in pages {
        for block in &page.blocks {
            let first = block.text.lines().find(|line| !line.trim_start().starts_with('#')).unwrap_or_default();
            let settings = first.starts_with('[') || first.starts_with('{') || first.contains(" = ");
            match kind(block) {
                Some(kind) if KINDS.contains(&kind) => {}
                Some(kind) => faults.push(format!("{}: {kind:?} is none of {KINDS:?}", page.at(block.line))),
                None if block.info.is_some() => faults.push(format!("{}: a fence without a name", page.at(block.line))),
                None if settings => {
                    faults.push(format!("{}: a file's content; fence it and name it", page.at(block.line)));
                }
                None => {}
            }
        }
    }
    faults
}

/// What others read: YAML, JSON, and questions to Prometheus, which its own tool judges.
fn unreadable(pages: &[Page]) -> Vec<String> {
    let mut faults = Vec::new();
    for page in pages {
        for block in &page.blocks {
            let read = match kind(block) {
                Some("yaml") => {
                    serde_yaml_ng::from_str::<serde_json::Value>(&block.text).map_err(|error| error.to_string())
                }
                Some("json") => serde_json::from_str(&block.text).map_err(|error| error.to_string()),
                Some("promql") => asked(&block.text),
                _ => continue,
            };
            faults.extend(read.err().map(|why| format!("{}: {why}", page.at(block.line))));
        }
    }
    faults
}

/// One question a line.
fn asked(questions: &str) -> Result<serde_json::Value, String> {
    let questions = questions.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let rules: Vec<serde_json::Value> =
        questions.enumerate().map(|(at, expr)| json!({"record": format!("of_the_docs:{at}"), "expr": expr})).collect();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("rules.yml");
    let text = json!({"groups": [{"name": "docs", "rules": rules}]}).to_string();
    fs::write(&file, text).expect("a file");
    let said =
        Command::new(program(&["promtool"])).args(["check", "rules"]).arg(&file).output().expect("promtool runs");
    let words = || String::from_utf8_lossy(&said.stderr).into_owned();
    if said.status.success() { Ok(serde_json::Value::Null) } else { Err(words()) }
}

fn refused(pages: &[Page]) -> Vec<String> {
    let mut faults = Vec::new();
    for page in pages {
        let folder = tempfile::tempdir().expect("a temporary folder");
        files_beside(page, &folder);
        for block in page.blocks.iter().filter(|block| kind(block) == Some("toml")) {
            let header = block.info.as_deref().unwrap_or_default().strip_prefix("toml").unwrap_or_default();
            let said = completed(&format!("{header}\n{}", block.text)).and_then(|whole| judged(&folder, &whole));
            if let Err(why) = said {
                faults.push(format!("{}: {why}", page.at(block.line)));
            }
        }
    }
    faults
}

/// Blocks that begin with the path of another file of `/etc/tokenwatch` are that file; certificates are made, and all of it stands in the folder.
fn files_beside(page: &Page, folder: &TempDir) {
    for block in &page.blocks {
        let name = block.text.lines().next().and_then(|line| line.strip_prefix("# /etc/tokenwatch/"));
        if let Some(name) = name.filter(|name| *name != "tokenwatch.toml") {
            fs::write(folder.path().join(name), &block.text).expect("a file");
            let authority = Authority::new();
            let (certificate, key) = authority.issue("server", "DNS:tokenwatch.example.com");
            for (from, to) in [(certificate, "server.pem"), (key, "server.key")] {
                fs::copy(from, folder.path().join(to)).expect("a file");
            }
        }
    }
}

/// A piece of a configuration with what it leaves out.
fn completed(piece: &str) -> Result<String, String> {
    let mut whole: Table = toml::from_str(piece).map_err(|error| format!("it is no toml: {error}"))?;
    let base: Table = toml::from_str(BASE).expect("the base is right");
    // Without `[[tokens]]` before it, `[tokens.renew]` and its like are about the one token of the base.
    if let Some(part @ Value::Table(_)) = whole.remove("tokens").inspect(|tokens| {
        if tokens.is_array() {
            whole.insert("tokens".to_owned(), tokens.clone());
        }
    }) {
        whole.insert("tokens".to_owned(), Value::Array(vec![part]));
    }
    let example = base["tokens"][0].as_table().expect("a token");
    for token in whole.get_mut("tokens").and_then(Value::as_array_mut).into_iter().flatten() {
        let token = token.as_table_mut().ok_or("tokens are tables")?;
        if !token.contains_key("name") {
            fill(token, example);
        }
        watched_is_written(token);
    }
    fill(&mut whole, &base);
    toml::to_string(&whole).map_err(|error| error.to_string())
}

/// Puts in what is not there, table by table.
fn fill(table: &mut Table, from: &Table) {
    for (name, value) in from {
        match (table.get_mut(name), value) {
            (Some(Value::Table(own)), Value::Table(other)) => fill(own, other),
            (Some(_), _) => {}
            (None, _) => {
                table.insert(name.clone(), value.clone());
            }
        }
    }
}

/// One sink alone is shown where a configuration must have the watched place beside it.
fn watched_is_written(token: &mut Table) {
    let secret = token.get("secret").cloned();
    for part in ["renew", "replace"] {
        let sinks = token.get_mut(part).and_then(|part| part.get_mut("publish")).and_then(Value::as_array_mut);
        if let (Some(sinks), Some(secret)) = (sinks, &secret) {
            let place = |value: &Value| (value.get("file").cloned(), value.get("env_file").cloned());
            if !sinks.iter().any(|sink| place(sink) == place(secret)) {
                sinks.push(secret.clone());
            }
        }
    }
}

/// By the program itself.
fn judged(folder: &TempDir, text: &str) -> Result<(), String> {
    let file = folder.path().join("tokenwatch.toml");
    let here = format!("{}/", folder.path().display());
    fs::write(&file, text.replace("/etc/tokenwatch/", &here)).expect("a file");
    let said = Command::new(env!("CARGO_BIN_EXE_tokenwatch"))
        .args(["--config".as_ref(), file.as_os_str(), "config".as_ref(), "check".as_ref()])
        .output()
        .expect("the program");
    if said.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&said.stderr).into_owned()) }
}

const BASE: &str = r#"
[smtp]
from   = "tokenwatch@example.com"
relays = [{ url = "smtp://mail.example.com:587" }]

[receivers.default]
email = ["oncall@example.com"]

[apps.helpdesk]
id     = "634900000000001"
secret = { env_file = "/srv/helpdesk/.env", key = "META_APP_SECRET" }

[[tokens]]
name     = "helpdesk-whatsapp"
app      = "helpdesk"
secret   = { env_file = "/srv/helpdesk/.env", key = "WHATSAPP_ACCESS_TOKEN" }
whatsapp = { phone_number_id = "521803094347148" }
renew    = { before = "20d" }
"#;

fn misunderstood(pages: &[Page]) -> Vec<String> {
    let (mut faults, mut command) = (Vec::new(), cli::command());
    for page in pages {
        for (line, words, mention) in command_lines(page) {
            let Err(error) = command.try_get_matches_from_mut(&words) else { continue };
            let incomplete = matches!(
                error.kind(),
                ErrorKind::MissingRequiredArgument
                    | ErrorKind::MissingSubcommand
                    | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            );
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            if !(asked || mention && incomplete) {
                let why = error.to_string();
                let why = why.lines().next().unwrap_or_default();
                faults.push(format!("{}: {}: {why}", page.at(line), words.join(" ")));
            }
        }
    }
    faults
}

/// The command lines of ours on a page: the line, the words, and whether it is only mentioned, so that a name may be missing.
fn command_lines(page: &Page) -> Vec<(usize, Vec<String>, bool)> {
    let mut found = Vec::new();
    for block in page.blocks.iter().filter(|block| matches!(kind(block), None | Some("sh"))) {
        for (offset, line) in block.text.replace("\\\n", "  ").lines().enumerate() {
            let start = block.line + offset + usize::from(block.info.is_some());
            found.extend(commands(line).into_iter().filter_map(ours).map(|words| (start, words, false)));
        }
    }
    let command = cli::command();
    let known: BTreeSet<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
    let parents: BTreeSet<&str> =
        command.get_subcommands().filter(|command| command.has_subcommands()).map(clap::Command::get_name).collect();
    for (line, code) in &page.code {
        for words in commands(code) {
            // A part of a command line, as `renew NAME --dry-run`; what has an equals sign is a setting.
            let [first, second, ..] = &words[..] else { continue };
            let is_word = second.starts_with("--") || second == "NAME";
            let part = known.contains(&**first) && (is_word || parents.contains(&**first));
            if part && !code.contains(" = ") {
                let whole = std::iter::once("tokenwatch".to_owned()).chain(words).collect();
                found.push((*line, whole, true));
            } else if let Some(words) = ours(words) {
                found.push((*line, words, true));
            }
        }
    }
    found
}

/// The words of a command if it is one of ours, from its name on.
fn ours(words: Vec<String>) -> Option<Vec<String>> {
    let mut rest = &words[..];
    loop {
        match rest {
            [sudo, user, _, after @ ..] if sudo == "sudo" && user == "-u" => rest = after,
            [sudo, after @ ..] if sudo == "sudo" => rest = after,
            [docker, exec, _, after @ ..] if docker == "docker" && exec == "exec" => rest = after,
            [variable, after @ ..] if variable.contains('=') => rest = after,
            [cargo, run, dashes, after @ ..] if cargo == "cargo" && run == "run" && dashes == "--" => {
                return Some(std::iter::once("tokenwatch".to_owned()).chain(after.iter().cloned()).collect());
            }
            [program, _, ..] if Path::new(program).file_name().is_some_and(|name| name == "tokenwatch") => {
                return Some(rest.to_vec());
            }
            _ => return None,
        }
    }
}

/// The simple commands of a line of a shell: quotes are understood, comments left out.
fn commands(line: &str) -> Vec<Vec<String>> {
    let (mut commands, mut words, mut word, mut quote) = (Vec::new(), Vec::new(), String::new(), None::<char>);
    let end_word = |word: &mut String, words: &mut Vec<String>| {
        if !word.is_empty() {
            words.push(std::mem::take(word));
        }
    };
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '#') if word.is_empty() => break,
            (None, '|' | '&' | ';' | '<' | '>' | '(' | ')') => {
                end_word(&mut word, &mut words);
                commands.push(std::mem::take(&mut words));
            }
            (None, c) if c.is_whitespace() => end_word(&mut word, &mut words),
            (_, c) => word.push(c),
        }
    }
    end_word(&mut word, &mut words);
    commands.push(words);
    commands.retain(|words| !words.is_empty());
    commands
}
