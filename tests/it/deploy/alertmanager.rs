//! The configuration for Alertmanager: amtool takes it, and everyone is told of what is theirs.

use std::process::Command;

use serde_json::{Map, Value, json};

use super::{list, shipped, string, yaml};
use crate::support::alertmanager::Alertmanager;
use crate::support::process::program;

fn amtool(arguments: &[&str]) -> String {
    let output = Command::new(program(&["amtool"])).args(arguments).output().expect("amtool runs");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "amtool {arguments:?}: {said}");
    said.into_owned()
}

#[test]
fn amtool_takes_the_configuration_and_finds_the_templates() {
    let said = amtool(&["check-config", &shipped("alertmanager/alertmanager.yml").display().to_string()]);
    assert!(said.contains("1 templates") && said.contains("SUCCESS"), "{said}");
}

#[test]
fn everyone_is_told_of_what_is_theirs() {
    let config = format!("--config.file={}", shipped("alertmanager/alertmanager.yml").display());
    for (labels, receiver) in [
        // By the rules of Prometheus.
        ("alertname=AccessTokenExpiring component=token severity=info job=tokenwatch token=t", "notes"),
        ("alertname=AccessTokenExpiring component=token severity=warning job=tokenwatch token=t", "team"),
        ("alertname=AccessTokenExpiring component=token severity=critical job=tokenwatch token=t", "oncall"),
        ("alertname=TokenwatchDown component=tokenwatch severity=critical job=tokenwatch", "platform-oncall"),
        ("alertname=TokenwatchReloadFailed component=tokenwatch severity=warning job=tokenwatch", "platform"),
        ("alertname=TokenwatchAllDown component=tokenwatch severity=none job=tokenwatch", "nobody"),
        // Posted by tokenwatch.
        ("alertname=TokenExpired finding=expired severity=critical token=t provider=meta receiver=default", "oncall"),
        ("alertname=TokenScopeMissing finding=scope_missing severity=warning token=t receiver=default", "team"),
        ("alertname=TokenwatchClockOff component=tokenwatch severity=warning receiver=default", "platform"),
        (
            "alertname=TokenwatchUndeliverable component=tokenwatch severity=critical receiver=default",
            "platform-oncall",
        ),
        ("alertname=TokenwatchTest component=tokenwatch severity=info receiver=default", "notes"),
        // By somebody else's rules.
        ("alertname=DiskFull severity=warning", "team"),
    ] {
        let wanted = format!("--verify.receivers={receiver}");
        let mut arguments = vec!["config", "routes", "test", &config, &wanted];
        arguments.extend(labels.split(' '));
        amtool(&arguments);
    }
}

/// What an inhibition names is what a rule is called.
#[test]
fn inhibitions_name_alerts_that_exist() {
    let groups = ["tokens", "watcher"].map(|file| yaml(&format!("prometheus/rules/tokenwatch-{file}.yml")));
    let groups = groups.iter().flat_map(|file| list(&file["groups"]));
    let names: Vec<String> =
        groups.flat_map(|group| list(&group["rules"])).map(|rule| string(&rule["alert"])).collect();
    let mut looked_at = 0;
    for rule in list(&yaml("alertmanager/alertmanager.yml")["inhibit_rules"]) {
        for matcher in list(&rule["source_matchers"]).iter().chain(&list(&rule["target_matchers"])) {
            let matcher = string(matcher);
            let Some(pattern) = matcher.strip_prefix("alertname ") else { continue };
            let pattern = pattern.trim_start_matches(['!', '=', '~', ' ']).trim_matches('"');
            for choice in pattern.replace("(ing|ed)", "").split('|') {
                let start = choice.split([' ', '.', '(']).next().unwrap_or_default();
                let known = names.iter().any(|name| name.starts_with(start));
                assert!(known, "no rule is called {choice}");
                looked_at += 1;
            }
        }
    }
    assert!(looked_at > 10, "the search found too little");
}

/// A real Alertmanager with the shipped inhibitions is given all of these at once; those that begin with `quiet` must be kept quiet, and the others not.
#[test]
fn one_thing_is_told_once() {
    let alerts = [
        // The worst severity speaks.
        "told  AccessTokenExpiring component=token job=a token=t1 provider=meta finding=expiring severity=critical",
        "quiet AccessTokenExpiring component=token job=a token=t1 provider=meta finding=expiring severity=warning",
        "quiet AccessTokenExpiring component=token job=a token=t1 provider=meta finding=expiring severity=info",
        // One token does not speak for another, nor one thing for another.
        "told  AccessTokenExpiring component=token job=a token=t2 provider=meta finding=expiring severity=warning",
        "quiet AccessTokenExpiring component=token job=a token=t2 provider=meta finding=expiring severity=info",
        "told  AccessTokenPermissionMissing component=token job=a token=t1 finding=scope_missing severity=warning",
        // The dead need not be told to die.
        "told  AccessTokenExpired component=token job=a token=t3 provider=meta finding=expired severity=critical",
        "quiet AccessTokenExpiring component=token job=a token=t3 provider=meta finding=expiring severity=critical",
        "quiet AccessTokenRenewalFailed component=token job=a token=t3 finding=renewal_without_gain severity=warning",
        "quiet AccessTokenRenewalOverdue component=token job=a token=t3 finding=renewal_overdue severity=warning",
        "quiet AccessTokenBlind component=token job=a token=t3 finding=blind severity=critical",
        "told  AccessTokenInvalid component=token job=a token=t4 finding=revoked severity=critical",
        "quiet AccessTokenExpiring component=token job=a token=t4 provider=meta finding=expiring severity=warning",
        // But a run that is stuck after the old one died holds the new one: that is what to act on.
        "told  AccessTokenRenewalFailed component=token job=a token=t4 finding=renewal_failed severity=critical",
        "quiet AccessTokenRenewalFailed component=token job=a token=t4 finding=renewal_failed severity=warning",
        // By provider, where tokens have no series.
        "told  AccessTokensEnding component=token job=a provider=meta finding=expiring severity=critical",
        "quiet AccessTokensEnding component=token job=a provider=meta finding=expiring severity=warning",
        "told  AccessTokensEnding component=token job=a provider=x509 finding=expiring severity=warning",
        // An app speaks for its tokens, and for no others.
        "told  AccessTokenAppFault component=token job=a app=x finding=app_fault severity=critical",
        "quiet AccessTokenBlind component=token job=a token=t5 app=x finding=blind severity=warning",
        "told  AccessTokenBlind component=token job=a token=t6 app=y finding=blind severity=warning",
        "quiet AccessTokenRenewalOverdue component=token job=a token=t5 app=x finding=renewal_overdue severity=warning",
        "told  AccessTokenRenewalFailed component=token job=a token=t5 app=x finding=renewal_failed severity=critical",
        // Without tokenwatch dates stay true, and nothing else does.
        "told  TokenwatchDown component=tokenwatch job=b instance=h:1 severity=critical",
        "told  TokenwatchAllDown component=tokenwatch job=b severity=none",
        "told  AccessTokenExpiring component=token job=b token=t7 provider=meta finding=expiring severity=critical",
        "told  AccessTokenExpired component=token job=b token=t8 finding=expired severity=critical",
        "quiet AccessTokenBlind component=token job=b token=t7 finding=blind severity=critical",
        "quiet WhatsAppNumberBlocked component=token job=b token=t7 finding=number_blocked severity=critical",
        "told  AccessTokenRenewalOverdue component=token job=b token=t7 finding=renewal_overdue severity=warning",
        "told  AccessTokensEnding component=token job=b provider=vault finding=expiring severity=critical",
        "told  AccessTokensDead component=token job=b provider=vault finding=expired severity=critical",
        "quiet AccessTokensWithFindings component=token job=b provider=vault severity=critical",
        "quiet TokenwatchUndelivered component=tokenwatch job=b instance=h:1 finding=undeliverable severity=critical",
        "quiet TokenwatchStuck component=tokenwatch job=b instance=h:1 severity=critical",
        "quiet TokenwatchTokensVanished component=tokenwatch job=b severity=warning",
        // One of two is dead: what the other says is true.
        "told  TokenwatchDown component=tokenwatch job=d instance=h:1 severity=critical",
        "quiet TokenwatchUndelivered component=tokenwatch job=d instance=h:1 finding=undeliverable severity=critical",
        "told  TokenwatchUndelivered component=tokenwatch job=d instance=h:2 finding=undeliverable severity=critical",
        "told  AccessTokenInvalid component=token job=d token=t10 finding=revoked severity=critical",
        "told  AccessTokenBlind component=token job=d token=t11 finding=blind severity=warning",
        "told  WhatsAppNumberBlocked component=token job=d token=t10 finding=number_blocked severity=critical",
        // One that is stuck keeps nothing quiet, above all not why.
        "told  TokenwatchStuck component=tokenwatch job=e instance=h:1 severity=critical",
        "told  TokenwatchClockWrong component=tokenwatch job=e instance=h:1 finding=clock_off severity=warning",
        "told  TokenwatchStateFillingUp component=tokenwatch job=e instance=h:1 finding=state_nearly_full severity=warning",
        "told  AccessTokenInvalid component=token job=e token=t12 finding=revoked severity=critical",
        "told  TokenwatchAbsent component=tokenwatch job=c severity=critical",
        "quiet AccessTokenExpired component=token job=c token=t9 finding=expired severity=critical",
        // What tokenwatch has posted itself is not told by the rules as well, unless they find it worse.
        "told  TokenExpiring receiver=default token=p1 provider=meta finding=expiring severity=critical",
        "quiet AccessTokenExpiring component=token job=a token=p1 provider=meta finding=expiring severity=critical",
        "told  TokenExpiring receiver=default token=p2 provider=meta finding=expiring severity=warning",
        "told  AccessTokenExpiring component=token job=a token=p2 provider=meta finding=expiring severity=critical",
        "told  TokenBlind receiver=default token=p3 provider=meta finding=blind severity=warning",
        "quiet AccessTokenBlind component=token job=a token=p3 finding=blind severity=warning",
        "told  TokenAppFault receiver=default app=z provider=meta finding=app_fault severity=critical",
        "quiet AccessTokenAppFault component=token job=a app=z finding=app_fault severity=critical",
        "told  TokenwatchOutboxGrowing receiver=default component=tokenwatch finding=outbox_growing severity=warning",
        "quiet TokenwatchOutboxPilingUp component=tokenwatch job=a finding=outbox_growing severity=warning",
        "told  TokenwatchVersionEnding component=tokenwatch job=a finding=version_retiring severity=warning",
        // Somebody else's.
        "told  DiskFull job=b severity=warning",
    ];
    // Nobody is to be told, so the receivers need no ways.
    let mut config = yaml("alertmanager/alertmanager.yml");
    for receiver in config["receivers"].as_sequence_mut().expect("receivers") {
        receiver.as_mapping_mut().expect("a receiver").retain(|key, _| key == "name");
    }
    for key in ["global", "templates"] {
        assert!(config.as_mapping_mut().expect("a mapping").remove(key).is_some());
    }
    let mut server = Alertmanager::configured(&serde_yaml_ng::to_string(&config).expect("YAML"));
    server.open();
    let given: Vec<(bool, Value)> = alerts.iter().map(|line| parsed(line)).collect();
    server.post(&given.iter().map(|(_, labels)| json!({ "labels": labels })).collect());
    let seen = server.alerts();
    assert_eq!(seen.len(), given.len());
    for (quiet, labels) in given {
        let alert = seen.iter().find(|alert| alert["labels"] == labels).expect("it was given");
        let is_quiet = alert["status"]["state"] == "suppressed";
        assert_eq!(is_quiet, quiet, "{labels} {}", alert["status"]);
    }
}

/// Whether it must be quiet, and its labels.
fn parsed(line: &str) -> (bool, Value) {
    let mut words = line.split_whitespace();
    let quiet = words.next() == Some("quiet");
    let name = words.next().expect("a name");
    let labels = words.map(|word| word.split_once('=').expect("a label"));
    let labels = labels.chain([("alertname", name)]).map(|(label, value)| (label.to_owned(), Value::from(value)));
    (quiet, labels.collect::<Map<String, Value>>().into())
}
