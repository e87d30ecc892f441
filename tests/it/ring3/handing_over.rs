//! `renew` and `replace` as a person uses them: with a daemon and without one, on standard input, in words and in JSON.

use std::fs;

use serde_json::Value;

use crate::support::process::{PATIENCE, Said, Stage, quoted, wait_until};

#[test]
fn a_token_is_handed_over_with_a_daemon_and_without() {
    for with_daemon in [false, true] {
        let stage = Stage::new();
        let (old, good) = (stage.issue(-50 * DAY, 9 * DAY), stage.issue_healthy());
        let (ended, soon) = (stage.issue(-60 * DAY, -DAY), stage.issue(-50 * DAY, 2 * DAY));
        let secrets = [&old, &good, &ended, &soon];
        stage.write_env(&[("WA", &old), ("OTHER", "kept")]);
        let before = env(&stage);
        stage.configure(&stage.config("", &(stage.token("wa", "WA") + &replace(&stage))));
        let daemon = with_daemon.then(|| stage.start_ready());

        let long = "x".repeat(70_000);
        for (input, code, why) in [
            ("", 64, "no new token came on standard input"),
            (" \n", 64, "no new token came on standard input"),
            (&*format!("{good} {good}\n"), 64, "white space in the middle"),
            (&*long, 64, "longer than 64 KiB"),
            (&*format!("{ended}\n"), 1, "expired"),
            (&*format!("{soon}\n"), 1, "--anyway"),
            ("no-token-at-all", 1, "refused"),
        ] {
            let said = stage.run_with(&["replace", "wa"], input);
            assert_eq!(said.code, code, "{with_daemon} {why}: {said:?}");
            assert!(said.err.contains(why) && !said.err.contains("xxxx"), "{with_daemon} {why}: {said:?}");
            quiet(&said, &secrets);
            assert_eq!(env(&stage), before, "{with_daemon} {why}");
        }
        let stranger = stage.run_with(&["replace", "nobody"], &good);
        assert_eq!(stranger.code, 1, "{stranger:?}");
        assert!(stranger.err.contains("no token is called") && stranger.err.contains("nobody"), "{stranger:?}");
        assert!(!stage.path("restarted").exists(), "nothing was restarted for what was refused");

        let said = stage.run_with(&["replace", "wa", "--json"], &format!("{good}\n"));
        assert_eq!(said.code, 0, "{with_daemon}: {said:?}");
        let told: Value = serde_json::from_str(&said.out).expect("JSON");
        assert_eq!((told["name"].as_str(), told["outcome"].as_str()), (Some("wa"), Some("renewed")), "{said:?}");
        quiet(&said, &secrets);
        assert_eq!(env(&stage), before.replace(&old, &good));
        assert_eq!(fs::read_to_string(stage.path("restarted")).expect("it was restarted").trim(), good);
        if let Some(daemon) = daemon {
            let page = daemon.page("/api/v1/tokens/wa");
            assert!(page.contains("\"replacement\":true"), "{page}");
            assert_eq!(daemon.stop(), 0);
        }
        let log = stage.log();
        assert!(secrets.iter().all(|secret| !log.contains(&secret[4..20])), "{log}");
    }
}

#[test]
fn a_dry_run_says_what_would_happen_and_renews_nothing() {
    for with_daemon in [false, true] {
        let stage = Stage::new();
        let old = stage.issue(-50 * DAY, 10 * DAY);
        stage.write_env(&[("WA", &old), ("LEFT", &stage.issue_healthy())]);
        let renew = replace(&stage).replace("replace", "renew") + "before = \"20d\"\n";
        stage.configure(&stage.config("", &(stage.token("wa", "WA") + &renew + &stage.token("left-alone", "LEFT"))));
        let before = env(&stage);
        // A token that nobody has seen yet is renewed by nobody.
        let unseen = stage.run(&["renew", "wa", "--dry-run"]);
        assert_eq!(unseen.code, 1, "{unseen:?}");
        assert_eq!(stage.run(&["check"]).code, 1, "it ends soon");
        if with_daemon {
            // The daemon renews by itself, so it is not let.
            stage.write("refusing", "");
        }
        let daemon = with_daemon.then(|| stage.start_ready());

        let left = stage.run(&["renew", "left-alone", "--dry-run"]);
        assert_eq!(left.code, 1, "{left:?}");
        assert!(left.out.contains("would not be renewed now"), "{left:?}");
        assert_eq!(stage.run(&["renew", "nobody", "--dry-run"]).code, 1);
        let mut said = stage.run(&["renew", "wa", "--dry-run", "--json"]);
        if with_daemon {
            wait_until("a plan", PATIENCE, || {
                said = stage.run(&["renew", "wa", "--dry-run", "--json"]);
                said.out.contains("\"lines\"")
            });
        }
        let plan: Value = serde_json::from_str(&said.out).expect("JSON");
        assert_eq!(plan["name"], "wa");
        assert_eq!(said.code, i32::from(!plan["refused"].is_null()), "{said:?}");
        quiet(&said, &[&old]);
        assert_eq!(env(&stage), before);
        drop(daemon);
    }
}

/// `[tokens.replace]` whose restart notes what the file holds.
fn replace(stage: &Stage) -> String {
    let note = format!(
        "[ ! -e {} ] && sed -n s/^WA=//p {} >>{}",
        stage.path("refusing").display(),
        stage.path("config.env").display(),
        stage.path("restarted").display()
    );
    let note = stage.write("note", &note);
    format!("[tokens.replace]\nrestart = {{ run = [\"sh\", {}] }}\nconfirm = {{ run = [\"true\"] }}\n", quoted(&note))
}

fn env(stage: &Stage) -> String {
    fs::read_to_string(stage.path("config.env")).expect("the env file")
}

/// No sixteen signs of a secret are said.
fn quiet(said: &Said, secrets: &[&String]) {
    for secret in secrets {
        for part in secret.as_bytes().windows(16) {
            let part = String::from_utf8_lossy(part);
            assert!(!said.out.contains(&*part) && !said.err.contains(&*part), "a part of a secret was told: {said:?}");
        }
    }
}

const DAY: i64 = 86_400;
