//! The rules for Prometheus: promtool takes them and runs their tests; no alert is without proof, a section in the runbook, or a metric that exists.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use serde_yaml_ng::Value;
use tokenwatch::domain::finding::{Reason, Severity};
use tokenwatch::domain::renewal::Outcome;
use tokenwatch::domain::verdict::Verdict;

use super::{docs, list, shipped, string, text, yaml};
use crate::support::process::program;

const RULES: [&str; 3] = ["tokenwatch-recording", "tokenwatch-tokens", "tokenwatch-watcher"];
const RUNBOOK: &str = "https://runbooks.example.com/tokenwatch.md#";
const PAGES: &str = "https://tokenwatch.example.com/";

/// An alerting rule.
struct Alert {
    name: String,
    severity: String,
    expression: String,
    annotations: Value,
}

/// A moment of a test, in seconds, and the severities that must fire then.
type Look = (u64, Vec<String>);

fn rules() -> Vec<Value> {
    let groups = RULES.iter().flat_map(|file| list(&yaml(&format!("prometheus/rules/{file}.yml"))["groups"]));
    groups.flat_map(|group| list(&group["rules"])).collect()
}

fn alerts() -> Vec<Alert> {
    let alerts = rules().into_iter().filter(|rule| rule["alert"].is_string()).map(|rule| Alert {
        name: string(&rule["alert"]),
        severity: string(&rule["labels"]["severity"]),
        expression: string(&rule["expr"]),
        annotations: rule["annotations"].clone(),
    });
    let alerts: Vec<Alert> = alerts.collect();
    assert!(alerts.len() >= 35, "the search found too little");
    alerts
}

/// The files with tests.
fn tests() -> Vec<String> {
    let entries = fs::read_dir(shipped("prometheus/tests")).expect("a folder").filter_map(Result::ok);
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    assert!(names.len() >= 5, "{names:?}");
    names
}

fn promtool(arguments: &[&str], folder: &Path) {
    let output = Command::new(program(&["promtool"])).args(arguments).current_dir(folder).output();
    let output = output.expect("promtool runs");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {arguments:?}: {said}");
}

#[test]
fn promtool_takes_the_configuration_and_the_rules() {
    promtool(&["check", "config", "prometheus.yml"], &shipped("prometheus"));
    for file in RULES {
        promtool(&["check", "rules", "--lint-fatal", &format!("{file}.yml")], &shipped("prometheus/rules"));
    }
}

#[test]
fn the_rules_do_what_their_tests_say() {
    thread::scope(|scope| {
        for file in tests() {
            scope.spawn(move || promtool(&["test", "rules", &file], &shipped("prometheus/tests")));
        }
    });
}

/// In one and the same test: silent, then firing, then silent again, for each severity of each alert.
#[test]
fn every_alert_is_seen_silent_firing_and_resolved() {
    // By file, number of the test, and alert: when it was looked at, and with which severities it fired.
    let mut stories: BTreeMap<(String, usize, String), Vec<Look>> = BTreeMap::new();
    for file in tests() {
        for (number, test) in list(&yaml(&format!("prometheus/tests/{file}"))["tests"]).iter().enumerate() {
            for look in list(&test["alert_rule_test"]) {
                let name = string(&look["alertname"]);
                let severities = list(&look["exp_alerts"]);
                let severities = severities.iter().map(|alert| string(&alert["exp_labels"]["severity"])).collect();
                let at = seconds(&string(&look["eval_time"]));
                stories.entry((file.clone(), number, name)).or_default().push((at, severities));
            }
        }
    }
    for Alert { name, severity, .. } in alerts() {
        let told = stories.iter().filter(|((_, _, known), _)| *known == name).any(|(_, looks)| {
            let fires = |look: &&Look| look.1.contains(&severity);
            let silent = |look: &Look| !look.1.contains(&severity);
            looks.iter().filter(fires).any(|(at, _)| {
                looks.iter().any(|look| look.0 < *at && silent(look))
                    && looks.iter().any(|look| look.0 > *at && silent(look))
            })
        });
        assert!(told, "no test shows {name} ({severity}) silent, firing and resolved");
    }
}

#[test]
fn every_alert_has_its_section_in_the_runbook() {
    let runbook = docs("runbook.md");
    for alert in alerts() {
        let (link, page) = (string(&alert.annotations["runbook_url"]), string(&alert.annotations["page_url"]));
        assert!(page.starts_with(PAGES), "{}: {page}", alert.name);
        let anchor = link.strip_prefix(RUNBOOK);
        let anchor = anchor.unwrap_or_else(|| panic!("{} has a base of its own: {link}", alert.name));
        let anchors = if anchor == "{{ $labels.finding }}" {
            matched(&alert.expression, "finding")
        } else {
            vec![anchor.to_owned()]
        };
        assert!(!anchors.is_empty(), "{}: no anchor", alert.name);
        for anchor in anchors {
            let section = section(&runbook, &anchor);
            let section = section.unwrap_or_else(|| panic!("{}: docs/runbook.md has no #{anchor}", alert.name));
            assert!(section.contains(&format!("`{}`", alert.name)), "#{anchor} does not name {}", alert.name);
        }
        for text in ["summary", "description"] {
            assert!(!string(&alert.annotations[text]).is_empty(), "{} has no {text}", alert.name);
        }
    }
}

#[test]
fn every_finding_has_its_section_in_the_runbook() {
    let runbook = docs("runbook.md");
    for reason in Reason::ALL.into_iter().filter(|reason| reason.is_a_finding()) {
        let section = section(&runbook, reason.as_str());
        let section = section.unwrap_or_else(|| panic!("docs/runbook.md has no #{}", reason.as_str()));
        for part in ["**Look:**", "**Do:**", "**Over when:**", "**Don't:**"] {
            assert!(section.contains(part), "#{} has no {part}", reason.as_str());
        }
    }
}

/// A rule over a metric, a finding or an outcome that nobody exports is silent for ever.
#[test]
fn the_rules_ask_for_what_is_really_said() {
    let metrics = docs("metrics.md");
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let code: String = ["metrics.rs", "web/exposition.rs"]
        .map(|file| fs::read_to_string(src.join(file)).expect("a source file"))
        .concat();
    let recorded: BTreeSet<String> = rules().iter().map(|rule| string(&rule["record"])).collect();
    let mut seen = BTreeSet::new();
    for rule in rules() {
        let expression = string(&rule["expr"]);
        for word in expression.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | ':')) {
            if word.contains(':') {
                assert!(recorded.contains(word), "{word} is recorded by nobody: {expression}");
            } else if word.starts_with("tokenwatch_") {
                assert!(metrics.contains(&format!("`{word}`")), "docs/metrics.md does not know {word}");
                assert!(code.contains(&format!("\"{word}\"")), "no code exports {word}");
                seen.insert(word.to_owned());
            } else if word.starts_with("process_") {
                assert_eq!(word, "process_start_time_seconds");
            }
        }
        for label in ["finding", "verdict", "outcome", "severity", "within"] {
            for value in matched(&expression, label) {
                let known = match label {
                    "finding" if expression.contains("watcher_finding") => {
                        Reason::OF_WATCHER.iter().any(|reason| reason.as_str() == value)
                    }
                    "finding" => Reason::parse(&value).is_some_and(Reason::is_a_finding),
                    "verdict" => Verdict::ALL.iter().any(|verdict| verdict.as_str() == value),
                    "outcome" if expression.contains("heartbeats") => ["heard", "failed"].contains(&value.as_str()),
                    "outcome" => Outcome::ALL.iter().any(|outcome| outcome.as_str() == value),
                    "severity" => Severity::parse(&value).is_some(),
                    _ => code.contains(&format!("(\"{value}\", Span::")),
                };
                assert!(known, "nobody says {label}={value:?}: {expression}");
            }
        }
        if let Some(finding) = rule["labels"]["finding"].as_str() {
            assert!(Reason::parse(finding).is_some_and(Reason::is_a_finding), "{finding}");
        }
    }
    assert!(seen.len() >= 15, "the search found too little: {seen:?}");
    // Each finding is told by some rule.
    let told: BTreeSet<String> = alerts().iter().flat_map(|alert| matched(&alert.expression, "finding")).collect();
    let silent: Vec<&str> = Reason::ALL
        .iter()
        .filter(|reason| {
            reason.is_a_finding() && **reason != Reason::Expiring && **reason != Reason::DataAccessExpiring
        })
        .map(|reason| reason.as_str())
        .filter(|reason| !told.contains(*reason))
        .collect();
    assert!(silent.is_empty(), "no rule tells of {silent:?}");
}

#[test]
fn the_rules_ask_for_one_job() {
    for file in RULES {
        let rules = text(&format!("prometheus/rules/{file}.yml"));
        assert!(rules.contains("job=\"tokenwatch\"") && !rules.contains("job=~"), "{file}");
    }
    let scraped = list(&yaml("prometheus/prometheus.yml")["scrape_configs"]);
    assert!(scraped.iter().any(|job| job["job_name"] == "tokenwatch"));
}

/// The values that an expression asks for of a label.
fn matched(expression: &str, label: &str) -> Vec<String> {
    let mut values = Vec::new();
    for operator in ["=\"", "=~\""] {
        for part in expression.split(&format!("{label}{operator}")).skip(1) {
            values.extend(part.split('"').next().unwrap_or_default().split('|').map(str::to_owned));
        }
    }
    values.retain(|value| !value.is_empty());
    values
}

/// The section below a heading that has this anchor.
fn section<'a>(document: &'a str, anchor: &str) -> Option<&'a str> {
    let slug = |title: &str| {
        let kept = title.trim().to_lowercase().replace(' ', "-");
        kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect::<String>()
    };
    let heading =
        document.lines().find(|line| line.starts_with('#') && slug(line.trim_start_matches('#')) == anchor)?;
    let rest = &document[document.find(heading)? + heading.len()..];
    Some(rest.split("\n#").next().unwrap_or_default())
}

/// A duration as Prometheus writes it.
fn seconds(text: &str) -> u64 {
    let mut sum = 0;
    let mut digits = String::new();
    for c in text.chars() {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        let unit = match c {
            'd' => 86_400,
            'h' => 3_600,
            'm' => 60,
            _ => {
                assert_eq!(c, 's', "{text}");
                1
            }
        };
        sum += digits.parse::<u64>().expect("a number") * unit;
        digits.clear();
    }
    sum
}
