//! Links lead somewhere, every page can be reached, and what is named as a file of the repository is one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::OnceLock;

use super::{Page, living_pages, pages, planted, report, root};

/// The hosts that pages may lead to. None is asked by a test; whoever adds one has looked at it.
const HOSTS: [&str; 3] = ["prometheus.io", "www.freedesktop.org", "www.standardwebhooks.com"];

#[test]
fn every_link_leads_somewhere() {
    report(&broken(&pages()));
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    for (text, fault) in [
        ("[x](nowhere.md)", "nowhere.md is not there"),
        ("[x](#nowhere)", "#nowhere"),
        ("# Here\n[x](#Here)", "#Here"),
        ("[x](../README.md#no-such-heading)", "#no-such-heading"),
        ("![x](pictures/none.png)", "pictures/none.png is not there"),
        ("[x](../../outside.md)", "leads out"),
        ("[x](/docs/alerts.md)", "leads out"),
        ("<img src=\"pictures/none.png\">", "pictures/none.png is not there"),
        ("[x](http://prometheus.io/)", "https"),
        ("[x](https://unknown.example.org/)", "unknown.example.org"),
    ] {
        let faults = planted(broken, text);
        assert!(faults.len() == 1 && faults[0].contains(fault), "{text}: {faults:?}");
    }
    let right = "# Here\n[x](#here) [y](../README.md#working-on-it) [z](https://prometheus.io/docs/)";
    assert_eq!(planted(broken, right), Vec::<String>::new());
}

#[test]
fn every_page_can_be_reached() {
    report(&unreachable(&pages()));
}

#[test]
fn a_page_that_nobody_leads_to_is_found() {
    let page = |path: &str, text: &str| Page::new(path, text);
    let start = page("README.md", "[map](docs/README.md)");
    let rest = [page("docs/README.md", "[a](a.md)"), page("docs/a.md", "[back](../README.md)"), page("docs/b.md", "")];
    let pages: Vec<Page> = std::iter::once(start).chain(rest).collect();
    let faults = unreachable(&pages);
    assert!(faults.len() == 1 && faults[0].contains("docs/b.md"), "{faults:?}");
}

#[test]
fn every_file_that_is_named_is_there() {
    report(&missing_files(&living_pages()));
}

#[test]
fn a_file_that_is_not_there_is_found() {
    for text in ["`src/nowhere.rs`", "`deploy/nothing/`", "`docs/none.md`", "`domain/none.rs`"] {
        assert_eq!(planted(missing_files, text).len(), 1, "{text}");
    }
    let right = "`src/main.rs` `domain/step.rs` `deploy/prometheus/` `/etc/tokenwatch/tokenwatch.toml` `docs/**/*.md`";
    assert_eq!(planted(missing_files, right), Vec::<String>::new());
}

/// The pages of the repository, read once for all that leads to them.
static READ: OnceLock<Vec<Page>> = OnceLock::new();

fn broken(pages: &[Page]) -> Vec<String> {
    let read = READ.get_or_init(self::pages);
    let known: BTreeMap<&str, &Page> = read.iter().chain(pages).map(|page| (page.path.as_str(), page)).collect();
    let mut faults = Vec::new();
    for page in pages {
        for (line, target) in &page.links {
            if let Some(what) = fault(page, target, &known) {
                faults.push(format!("{}: {what}", page.at(*line)));
            }
        }
    }
    faults
}

fn fault(page: &Page, target: &str, known: &BTreeMap<&str, &Page>) -> Option<String> {
    if target.contains("://") {
        return outside(target);
    }
    if target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let Some(path) = resolve(&page.path, path) else { return Some(format!("{target} leads out of the repository")) };
    if !known.contains_key(path.as_str()) && !root().join(&path).exists() {
        return Some(format!("{target} is not there"));
    }
    let there =
        anchor.is_empty() || known.get(path.as_str()).is_some_and(|page| page.anchors.iter().any(|a| a == anchor));
    (!there).then(|| format!("{path} has no heading #{anchor}"))
}

fn outside(target: &str) -> Option<String> {
    let (scheme, rest) = target.split_once("://")?;
    let host = rest.split(['/', ':', '?', '#']).next().unwrap_or_default();
    match (scheme, host) {
        // Of the reader's own machine, and examples.
        ("http", "127.0.0.1" | "localhost") => None,
        ("https", host) if HOSTS.contains(&host) => None,
        ("https", host) => Some(format!("{host} is not among the hosts that pages lead to (tests/it/docs/links.rs)")),
        _ => Some(format!("{target} is not https")),
    }
}

/// A path as it is seen from a page; `None` when it leads out of the repository.
fn resolve(from: &str, path: &str) -> Option<String> {
    if path.is_empty() {
        return Some(from.to_owned());
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    if path.starts_with('/') {
        return None;
    }
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            parts.pop()?;
        } else {
            parts.push(part);
        }
    }
    Some(parts.join("/"))
}

fn unreachable(pages: &[Page]) -> Vec<String> {
    let mut reached = BTreeSet::new();
    let mut next = vec!["README.md".to_owned()];
    while let Some(path) = next.pop() {
        let Some(page) = pages.iter().find(|page| page.path == path) else { continue };
        if reached.insert(path) {
            let inside = page.links.iter().filter(|(_, target)| !target.contains(':'));
            next.extend(
                inside.filter_map(|(_, target)| resolve(&page.path, target.split('#').next().unwrap_or_default())),
            );
        }
    }
    let lost = pages.iter().filter(|page| !reached.contains(&page.path));
    lost.map(|page| format!("no way leads from README.md to {}", page.path)).collect()
}

/// Words in backticks that begin like a path of this repository, or like one below `src`.
fn missing_files(pages: &[Page]) -> Vec<String> {
    let mut faults = Vec::new();
    for page in pages {
        for (line, words) in &page.code {
            let path = words.trim_end_matches('/');
            let first = path.split('/').next().unwrap_or_default();
            let placeholder = path.contains([' ', '*', '…', '{', '<']) || path.contains("NNNN");
            let ours = path.contains('/') && FOLDERS.contains(&first);
            let rust = Path::new(path).extension().is_some_and(|kind| kind == "rs");
            let source = path.contains('/') && rust && !path.starts_with('/');
            if placeholder || !(ours || source) {
                continue;
            }
            if !root().join(path).exists() && !root().join("src").join(path).exists() {
                faults.push(format!("{}: {words} is not there", page.at(*line)));
            }
        }
    }
    faults
}

const FOLDERS: [&str; 8] = ["benches", "deploy", "docs", "packaging", "src", "systemd", "templates", "tests"];
