//! The whole chain, nothing of it simulated but the provider: a token ends, tokenwatch sees it, Prometheus scrapes it, the shipped rules judge it, the
//! shipped Alertmanager routes it, and a mail in the shipped words lies in a mailbox.
//!
//! The shipped files are used as they are but for addresses and for time: every `for:` and interval is cut to seconds, by rewriting those lines.

use std::fs;

use crate::deploy::{shipped, text};
use crate::support::alertmanager::Alertmanager;
use crate::support::exim::{Exim, Letter};
use crate::support::process::{PATIENCE, Stage, unix_now, wait_until};
use crate::support::prometheus::Prometheus;

#[test]
fn the_end_of_a_token_arrives_as_a_mail_of_the_alertmanager() {
    let exim = Exim::start_without_tls();
    let mut alertmanager = Alertmanager::configured(&alertmanager_config(exim.port));
    alertmanager.open();
    let stage = Stage::new();
    let mut prometheus = prometheus(stage.port, alertmanager.port);
    // Two days will be little of its life; of a life of two days they are not.
    let token = stage.issue(-58 * DAY, 60 * DAY);
    let narrow = stage.issue_healthy();
    stage.write_env(&[("FIRST", &token), ("SECOND", &narrow)]);
    let scopes = "scopes = [\"whatsapp_business_messaging\"]\n";
    stage.configure(&stage.config("", &(stage.token("first", "FIRST") + &stage.token("second", "SECOND") + scopes)));
    let daemon = stage.start_ready();
    prometheus.open();
    prometheus.wait_query("token:tokenwatch_token_left_seconds:held{token=\"first\", app=\"helpdesk\"} > 59 * 86400");
    // Before its first scrape Prometheus missed tokenwatch; five minutes are allowed for that, but not two seconds.
    // The second token has its fault from the beginning to the end of this story.
    let calm = || prometheus.firing() == ["AccessTokenPermissionMissing"];
    wait_until("calm", PATIENCE, calm);
    let fault = exim.wait_mail("the other's fault", |mail| mail.subject().starts_with("WARNING second "));
    assert_eq!(fault.header("To"), "team@example.com");

    // Two days before its end. All three severities fire; the worst is told.
    stage.sim().with_world(|world| world.set_expiry(&token, Some(unix_now() + 2 * DAY)));
    let near = exim.wait_mail("the end is near", |mail| mail.subject().starts_with("CRITICAL first ends in 1d 23h "));
    assert_eq!(near.header("To"), "oncall@example.com");
    let about_first = || {
        let alerts = prometheus.alerts();
        alerts.iter().filter(|alert| alert["state"] == "firing" && alert["labels"]["token"] == "first").count()
    };
    wait_until("three severities", PATIENCE, || about_first() == 3);

    // The end.
    stage.sim().with_world(|world| world.set_expiry(&token, Some(unix_now() - 1)));
    let ended = exim.wait_mail("the end", |mail| mail.subject() == "CRITICAL first has expired");
    assert_eq!(ended.header("To"), "oncall@example.com");
    let words = ended.decoded();
    for part in [
        "Every call with it is refused",
        "tokenwatch replace first",
        "https://runbooks.example.com/tokenwatch.md#expired",
        "https://tokenwatch.example.com/tokens/first",
        "Content-Type: text/html",
        "What to do</a>",
    ] {
        assert!(words.contains(part), "{part} is not in {words}");
    }

    // A new one is put in its place.
    let fresh = stage.issue_healthy();
    stage.write_env(&[("FIRST", &fresh), ("SECOND", &narrow)]);
    let over = exim.wait_mail("it is over", |mail| mail.subject() == "RESOLVED first has expired");
    assert!(over.decoded().contains("No more:"), "{}", over.decoded());
    wait_until("calm", PATIENCE, calm);
    exim.wait_mail("the other is over, too", |mail| mail.subject() == "RESOLVED first has ended");

    // The daemon dies.
    daemon.kill9();
    let dead = exim.wait_mail("the watcher is dead", |mail| is_about_death(mail, "CRITICAL"));
    assert_eq!(dead.header("To"), "platform-oncall@example.com");
    assert!(dead.decoded().contains("systemctl status tokenwatch"), "{}", dead.decoded());
    let held = prometheus.query("token:tokenwatch_token_left_seconds:held{token=\"first\"}");
    assert_eq!(held.len(), 1, "its end is still known");

    // And is back.
    let daemon = stage.start_ready();
    exim.wait_mail("the watcher is back", |mail| is_about_death(mail, "RESOLVED"));
    wait_until("calm", PATIENCE, calm);
    assert_eq!(daemon.stop(), 0);

    // One message for each thing that happened, none for the milder severities, and none about the second token because of the restart.
    let told: Vec<(String, String)> = exim.mails().iter().map(|mail| (mail.header("To"), mail.subject())).collect();
    let milder: Vec<_> = told.iter().filter(|(to, _)| !to.contains("oncall@")).collect();
    assert!(
        milder.iter().all(|(_, subject)| subject.starts_with("WARNING second ")),
        "inhibited alerts were told: {told:#?}"
    );
    assert_eq!(milder.len(), 1, "it fired anew, or was called over: {told:#?}");
    for start in [
        "CRITICAL first ends in ",
        "CRITICAL first has expired",
        "RESOLVED first has expired",
        "RESOLVED first has ended",
    ] {
        assert_eq!(told.iter().filter(|(_, subject)| subject.starts_with(start)).count(), 1, "{start}: {told:#?}");
    }
}

fn is_about_death(mail: &Letter, word: &str) -> bool {
    mail.subject().starts_with(&format!("{word} tokenwatch on ")) && mail.subject().ends_with(" does not answer")
}

/// The shipped configuration with the relay of the test, and with seconds for minutes.
fn alertmanager_config(relay: u16) -> String {
    let templates = shipped("alertmanager/templates/*.tmpl").display().to_string();
    let config = text("alertmanager/alertmanager.yml");
    let lines = config.lines().filter(|line| !line.trim_start().starts_with("smtp_auth_"));
    let config: String = lines.map(|line| line.to_owned() + "\n").collect();
    replaced(
        config,
        &[
            ("mail.example.com:587", &format!("127.0.0.1:{relay}")),
            ("smtp_require_tls: true", "smtp_require_tls: false"),
            ("templates/*.tmpl", &templates),
            ("group_wait: 30s", "group_wait: 2s"),
            ("group_interval: 5m", "group_interval: 2s"),
        ],
    )
}

/// The shipped configuration and rules with the addresses of the test, and with seconds for minutes.
fn prometheus(tokenwatch: u16, alertmanager: u16) -> Prometheus {
    let prometheus = Prometheus::closed("");
    let config = replaced(
        text("prometheus/prometheus.yml"),
        &[
            ("scrape_interval: 30s", "scrape_interval: 1s"),
            ("evaluation_interval: 30s", "evaluation_interval: 1s"),
            ("tokenwatch:9847", &format!("127.0.0.1:{tokenwatch}")),
            ("alertmanager:9093", &format!("127.0.0.1:{alertmanager}")),
            ("localhost:9090", &format!("127.0.0.1:{}", prometheus.port)),
        ],
    );
    prometheus.write("prometheus.yml", &config);
    let mut cut = 0;
    for entry in fs::read_dir(shipped("prometheus/rules")).expect("a folder").filter_map(Result::ok) {
        let name = format!("rules/{}", entry.file_name().to_string_lossy());
        let rules = text(&format!("prometheus/{name}"));
        let lines = rules.lines().map(|line| {
            let is_delay = line.trim_start().starts_with("for: ");
            cut += usize::from(is_delay);
            if is_delay { "        for: 2s\n".to_owned() } else { line.to_owned() + "\n" }
        });
        let rules: String = lines.collect();
        prometheus.write(&name, &rules);
    }
    assert!(cut > 10, "the durations are written in another way");
    prometheus
}

/// Each of these must be there, or the shipped file has changed and the test with it.
fn replaced(text: String, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(text, |text, (old, new)| {
        assert!(text.contains(old), "{old} is not in the shipped file");
        text.replace(old, new)
    })
}

const DAY: i64 = 86_400;
