//! The manual pages as the command writes them, read by both programs that render such pages.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::process::program as installed;

#[test]
fn every_page_is_written_and_the_same_each_time() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let pages = written(&first);
    for page in
        ["man1/tokenwatch.1", "man1/tokenwatch-check.1", "man1/tokenwatch-config-sandbox.1", "man5/tokenwatch.toml.5"]
    {
        assert!(pages.contains(&first.join(page)), "{page} is missing: {pages:?}");
    }
    for (page, again) in pages.iter().zip(written(&second)) {
        assert_eq!(fs::read(page).expect("a page"), fs::read(again).expect("a page"), "{}", page.display());
    }
    for (words, file) in [
        (&["man"][..], "man1/tokenwatch.1"),
        (&["man", "config", "sandbox"], "man1/tokenwatch-config-sandbox.1"),
        (&["man", "tokenwatch.toml"], "man5/tokenwatch.toml.5"),
    ] {
        let printed = tokenwatch(words);
        assert_eq!(printed.status.code(), Some(0), "{words:?}");
        assert_eq!(printed.stdout, fs::read(first.join(file)).expect("a page"), "{words:?}");
    }
    let unknown = tokenwatch(&["man", "nothing"]);
    let said = String::from_utf8_lossy(&unknown.stderr);
    assert_eq!(unknown.status.code(), Some(64), "{said}");
    assert!(said.contains("no page \"nothing\"") && said.contains("tokenwatch-check"), "{said}");
    fs::write(folder.path().join("file"), "").expect("a file");
    let nowhere = tokenwatch(&["man", "--to", &folder.path().join("file").to_string_lossy()]);
    assert_eq!(nowhere.status.code(), Some(75));
}

/// A page has what people look for in one, and no reader of it finds a fault.
#[test]
fn groff_and_mandoc_find_nothing_to_say() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for page in written(folder.path()) {
        let text = fs::read_to_string(&page).expect("a page");
        let wanted: &[&str] = if page.extension().is_some_and(|section| section == "1") {
            &["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES", "SEE ALSO"]
        } else {
            &["NAME", "SYNOPSIS", "DESCRIPTION", "KEYS", "EXAMPLES", "FILES", "SEE ALSO"]
        };
        for section in wanted {
            let heading = [format!(".SH {section}\n"), format!(".SH \"{section}\"\n")];
            assert!(heading.iter().any(|heading| text.contains(heading)), "{}: {section} is missing", page.display());
        }
        assert!(!text.contains('`'), "{}: a backtick is a quotation mark on paper", page.display());
        assert_eq!(complaints(&page), "", "{}", page.display());
    }
    let whole = fs::read_to_string(folder.path().join("man1/tokenwatch.1")).expect("a page");
    for section in ["ENVIRONMENT", "FILES", "SIGNALS", "COMMANDS"] {
        assert!(whole.contains(&format!(".SH {section}\n")), "{section} is missing");
    }
}

#[test]
fn a_faulty_page_is_found() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let page = folder.path().join("faulty.1");
    for fault in [".XX unknown macro\n", ".RS 4\nnever ended\n", ".PP\n.PP\ntwice\n"] {
        fs::write(&page, format!(".TH FAULTY 1 2026-01-01 x y\n.SH NAME\nfaulty \\- one\n{fault}")).expect("a page");
        assert_ne!(complaints(&page), "", "{fault:?}");
    }
}

/// What is said of the page by groff with all warnings on, as `man --warnings` asks it, and by mandoc's own lint.
fn complaints(page: &Path) -> String {
    let (page, mut said) = (page.to_string_lossy(), String::new());
    for (program, arguments) in [
        ("groff", &["-man", "-Tutf8", "-Kutf8", "-ww", "-z", "-rCHECKSTYLE=3"][..]),
        ("mandoc", &["-T", "lint", "-W", "warning"]),
    ] {
        let output = Command::new(installed(&[program])).args(arguments).arg(&*page).output().expect("it runs");
        said.push_str(&String::from_utf8_lossy(&output.stdout));
        said.push_str(&String::from_utf8_lossy(&output.stderr));
    }
    said
}

/// Every page, written there by the command itself.
fn written(folder: &Path) -> Vec<PathBuf> {
    let done = tokenwatch(&["man", "--to", &folder.to_string_lossy()]);
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    let pages: BTreeSet<PathBuf> = ["man1", "man5"]
        .iter()
        .flat_map(|section| fs::read_dir(folder.join(section)).expect("a folder of pages"))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    assert!(pages.len() > 20, "{pages:?}");
    pages.into_iter().collect()
}

fn tokenwatch(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tokenwatch")).args(arguments).output().expect("the program")
}
