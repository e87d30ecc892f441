//! The promises of `docs/alerts.md` are numbered without a gap, and above some test stands the number of each.

use std::collections::BTreeSet;
use std::fs;

use super::names::texts;
use super::{pages, root};

#[test]
fn promises_are_counted() {
    let numbers = promised();
    assert!(numbers.len() > 60, "the search found too little: {numbers:?}");
    assert_eq!(numbers, (1..=numbers.len()).collect::<Vec<_>>(), "one number each, in their order");
    for page in pages() {
        for words in page.text.split(" promises").filter_map(|before| before.rsplit(char::is_whitespace).next()) {
            if let Ok(count) = words.parse::<usize>() {
                assert_eq!(count, numbers.len(), "{}", page.path);
            }
        }
    }
}

#[test]
fn every_promise_is_tried() {
    let sources = [texts(&root().join("src")), texts(&root().join("tests/it"))].concat();
    let tried: BTreeSet<usize> = sources.iter().flat_map(|source| tried_in(source)).collect();
    assert_eq!(tried, promised().into_iter().collect());
}

#[test]
fn only_what_stands_above_a_test_counts() {
    let above = |below: &str| tried_in(&format!("// promises 1, 3 to 5 and 9\n{below}\nfn it_is_so() {{}}"));
    for test in ["#[test]", "#[tokio::test(start_paused = true)]", "/// What it does.\n#[test]"] {
        assert_eq!(above(test), [1, 3, 4, 5, 9].into(), "{test}");
    }
    for other in [
        "#[test]\n#[ignore]",
        "#[ignore = \"slow\"]\n#[test]",
        "",
        "\n#[test]",
        "fn another() {}\n#[test]",
        "#[expect(clippy::panic)]",
    ] {
        assert_eq!(above(other), BTreeSet::new(), "{other}");
    }
    assert_eq!(tried_in("    // promise 12\n    #[test]\n    fn beside_the_code() {}"), [12].into());
}

/// The numbers of the promises, in the order of the page.
fn promised() -> Vec<usize> {
    let alerts = fs::read_to_string(root().join("docs/alerts.md")).expect("a page");
    let number = |line: &str| line.split_once(". ").and_then(|(number, _)| number.parse::<usize>().ok());
    alerts.lines().filter_map(number).collect()
}

/// The numbers that stand above the tests of a source text, as `// promise 3` or `// promises 1, 3 to 5`.
fn tried_in(source: &str) -> BTreeSet<usize> {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let mut tried = BTreeSet::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(numbers) = line.strip_prefix("// promises ").or_else(|| line.strip_prefix("// promise ")) else {
            continue;
        };
        let head = || lines[at + 1..].iter().take_while(|line| line.starts_with("///") || line.starts_with("#["));
        let is_test = head().any(|line| *line == "#[test]" || line.starts_with("#[tokio::test"));
        // What is never run tries nothing.
        if is_test && !head().any(|line| line.starts_with("#[ignore")) {
            for range in numbers.replace(" and ", ", ").split(", ") {
                let mut ends = range.split(" to ").map(|number| number.parse::<usize>().expect("a number"));
                let first = ends.next().expect("split gives one");
                tried.extend(first..=ends.next().unwrap_or(first));
            }
        }
    }
    tried
}
