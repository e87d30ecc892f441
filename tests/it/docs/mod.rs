//! The documentation is held against the product: what it links to is there, what it shows is accepted, what it names exists.
//!
//! Pages are read by a Markdown parser, not by eye. Every check takes pages and gives back what is wrong with them, so that beside each
//! of them stands a page with a planted fault that it must find.

mod examples;
mod links;
mod manual;
mod names;
mod promises;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// One page, taken apart.
struct Page {
    /// Its path in the repository.
    path: String,
    text: String,
    /// Where its headings can be linked to, as GitHub names them.
    anchors: Vec<String>,
    /// Its links and pictures: the line, and where it leads.
    links: Vec<(usize, String)>,
    blocks: Vec<Block>,
    /// What stands between backticks in its text: the line, and the words.
    code: Vec<(usize, String)>,
}

/// A block of code.
struct Block {
    line: usize,
    /// What stands behind the fence; `None` for a block that is only indented.
    info: Option<String>,
    text: String,
}

impl Page {
    fn new(path: &str, text: &str) -> Self {
        let mut page = Self {
            path: path.to_owned(),
            text: text.to_owned(),
            anchors: Vec::new(),
            links: Vec::new(),
            blocks: Vec::new(),
            code: Vec::new(),
        };
        let (mut heading, mut block, mut seen) = (None::<String>, None::<Block>, BTreeMap::<String, usize>::new());
        let breaks: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
        let line_of = |at: usize| breaks.partition_point(|line_break| *line_break < at) + 1;
        for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
            let line = line_of(range.start);
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let name = anchor(&heading.take().unwrap_or_default());
                    let count = seen.entry(name.clone()).and_modify(|count| *count += 1).or_insert(0);
                    page.anchors.push(if *count == 0 { name } else { format!("{name}-{count}") });
                }
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push((line, dest_url.to_string()));
                }
                Event::Start(Tag::CodeBlock(kind)) => {
                    let info = match kind {
                        CodeBlockKind::Fenced(info) => Some(info.to_string()),
                        CodeBlockKind::Indented => None,
                    };
                    block = Some(Block { line, info, text: String::new() });
                }
                Event::End(TagEnd::CodeBlock) => page.blocks.extend(block.take()),
                Event::Text(words) => {
                    if let Some(block) = &mut block {
                        block.text.push_str(&words);
                    } else if let Some(heading) = &mut heading {
                        heading.push_str(&words);
                    }
                }
                Event::Code(words) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&words);
                    }
                    page.code.push((line, words.to_string()));
                }
                // Pictures that follow the reader's colours are written in HTML.
                Event::Html(html) | Event::InlineHtml(html) => {
                    for attribute in ["src=\"", "srcset=\"", "href=\""] {
                        let found = html.split(attribute).skip(1).filter_map(|rest| rest.split('"').next());
                        page.links.extend(found.map(|target| (line, target.to_owned())));
                    }
                }
                _ => {}
            }
        }
        page
    }

    fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.path)
    }
}

/// The anchor that GitHub gives a heading: small letters, no marks, spaces as hyphens.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Every page of the repository.
fn pages() -> Vec<Page> {
    let mut folders = vec![root()];
    let mut pages = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if entry.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(entry);
            } else if Path::new(&name).extension().is_some_and(|kind| kind == "md") {
                let path = entry.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
                pages.push(Page::new(&path, &fs::read_to_string(&entry).expect("a page")));
            }
        }
    }
    pages.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(pages.len() > 40, "the search found too little");
    pages
}

/// The same without the records: decisions and the changelog say what was so when they were written.
fn living_pages() -> Vec<Page> {
    let record = |page: &Page| page.path.starts_with("docs/decisions/0") || page.path == "CHANGELOG.md";
    pages().into_iter().filter(|page| !record(page)).collect()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn report(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// What is found on a page with this text.
fn planted(check: impl Fn(&[Page]) -> Vec<String>, text: &str) -> Vec<String> {
    check(&[Page::new("docs/planted.md", text)])
}

#[test]
fn anchors_are_those_of_github() {
    for (heading, name) in [
        ("TLS and users", "tls-and-users"),
        ("`tokenwatch replace NAME`", "tokenwatch-replace-name"),
        ("What was tried, and what was not", "what-was-tried-and-what-was-not"),
        ("number_blocked", "number_blocked"),
        ("Ways – to people", "ways--to-people"),
    ] {
        assert_eq!(Page::new("x.md", &format!("# {heading}\n")).anchors, [name]);
    }
    assert_eq!(Page::new("x.md", "# Look\n\n## Look\n").anchors, ["look", "look-1"]);
}
