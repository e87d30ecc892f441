//! Bad days: a full disk, a relay that is down, refuses the password or offers no TLS, a secret that disappears. The daemon says what is
//! wrong and what to do, goes on with everything else, and nothing is lost.

use std::fs;
use std::process::Command;

use rustix::process::getuid;
use tokenwatch::sim::Event;

use crate::support::exim::{Exim, Letter};
use crate::support::process::{ADA, Daemon, PATIENCE, Stage, TOKENWATCH, program, quoted, unix_now, wait_until};

#[test]
fn a_full_disk_is_told_and_survived() {
    let exim = Exim::start("swordfish");
    let stage = Stage::new();
    let (first, second) = (stage.issue_healthy(), stage.issue_healthy());
    stage.write_env(&[("FIRST", &first), ("SECOND", &second)]);
    let tokens = stage.token("first", "FIRST") + &stage.token("second", "SECOND");
    stage.configure(&stage.config(&exim.relay(), &tokens));
    let daemon = start_on_a_disk(&stage, "size=8m");
    daemon.wait_ready();

    stage.write("full", "");
    let full = |daemon: &Daemon| daemon.get("/readyz").filter(|(status, _)| *status == 503).map(|(_, text)| text);
    wait_until("readiness to turn red", PATIENCE, || full(&daemon).is_some());
    let told = full(&daemon).unwrap_or_default();
    assert!(told.contains("disk is full; free some space"), "{told}");
    let place = stage.path("state").display().to_string();
    wait_until("the log to tell", PATIENCE, || stage.log().contains("could not commit; nothing is lost"));
    let line = stage.log().lines().find(|line| line.contains("could not commit")).unwrap_or_default().to_owned();
    assert!(line.contains("the disk is full; free some space") && line.contains(&place), "place and remedy: {line}");

    // What happens now must be told later.
    stage.sim().with_world(|world| world.revoke(&first, unix_now()));
    let text = daemon.page("/metrics");
    for token in ["first", "second"] {
        let series = format!("tokenwatch_token_expiry_timestamp_seconds{{token=\"{token}\"}}");
        assert!(text.contains(&series), "it keeps exporting {series}");
    }
    assert_eq!(daemon.get("/healthz").map(|(status, _)| status), Some(200), "the loop lives");
    let asked = stage.sim().requests()["/debug_token"];
    wait_until("checks to go on", PATIENCE, || stage.sim().requests()["/debug_token"] > asked);
    // That so small a disk is nearly full was told at the start.
    let mails = || exim.mails().into_iter().filter(|mail| mail.header("X-Tokenwatch-Finding") != "state_nearly_full");
    assert_eq!(mails().count(), 0, "nothing is told that is not written down");

    fs::remove_file(stage.path("full")).expect("it was there");
    exim.wait_mail("the revocation", |mail| mail.tells("first", "revoked", "first"));
    wait_until("readiness", PATIENCE, || daemon.get("/readyz").is_some_and(|(status, _)| status == 200));
    assert!(stage.log().contains("the state file works again"), "{}", stage.log());
    daemon.wait_verdict("second", "healthy");
    wait_until("an empty outbox", PATIENCE, || daemon.metric("tokenwatch_outbox_pending") == Some(0.0));
    assert_eq!(mails().count(), 1, "one incident, one mail");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_read_only_state_folder_is_named_with_its_remedy() {
    let stage = Stage::new();
    stage.write_env(&[("FIRST", &stage.issue_healthy())]);
    stage.configure(&stage.config("", &stage.token("first", "FIRST")));
    assert_eq!(start_on_a_disk(&stage, "ro,size=1m").wait(), 75);
    let log = stage.log();
    assert!(log.contains(&stage.state().display().to_string()), "the place: {log}");
    assert!(
        log.contains("Read-only file system") && log.contains("make the folder writable"),
        "reason and remedy: {log}"
    );
}

#[test]
fn mail_waits_for_a_relay_that_is_down() {
    let mut exim = Exim::closed("swordfish");
    let (stage, token) = watching_one(&exim.relay());
    let daemon = stage.start_ready();
    stage.sim().with_world(|world| world.revoke(&token, unix_now()));
    wait_until("the failure to be counted", PATIENCE, || {
        daemon.metric("tokenwatch_notice_failures_total{channel=\"mail\"}").is_some_and(|count| count >= 1.0)
    });
    assert_eq!(daemon.metric("tokenwatch_outbox_pending"), Some(1.0));
    let (status, text) = daemon.get("/readyz").expect("an answer");
    assert_eq!(status, 200, "a daemon that watches is ready");
    assert!(text.contains(&format!("mail to default: relay 127.0.0.1:{}", exim.port)), "{text}");

    // Not even a restart loses it.
    assert_eq!(daemon.stop(), 0);
    let daemon = stage.start_ready();
    exim.open();
    let mail = exim.wait_mail("the revocation", |mail| mail.tells("first", "revoked", "first"));
    assert!(mail.subject().starts_with("[tokenwatch] CRITICAL first "), "{}", mail.subject());
    wait_until("an empty outbox", PATIENCE, || daemon.metric("tokenwatch_outbox_pending") == Some(0.0));
    assert!(daemon.metric("tokenwatch_last_notice_timestamp_seconds{channel=\"mail\"}").is_some());
    wait_until("peace", PATIENCE, || daemon.get("/readyz").is_some_and(|(_, text)| text.contains("notices: ok")));
    assert_eq!(exim.mails().len(), 1);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_refused_password_is_told_and_a_corrected_one_needs_no_restart() {
    let exim = Exim::start("swordfish");
    let (stage, token) = watching_one("");
    let password = stage.write("password", "sturgeon\n");
    let own = quoted(&password);
    let theirs = exim.relay().split("file = ").nth(1).and_then(|rest| rest.split(" }").next()).map(str::to_owned);
    let relay = exim.relay().replace(&theirs.expect("a password file"), &own);
    stage.configure(&stage.config(&relay, &stage.token("first", "FIRST")));
    let daemon = stage.start_ready();
    stage.sim().with_world(|world| world.revoke(&token, unix_now()));
    wait_until("the refusal to be told", PATIENCE, || {
        daemon.get("/readyz").is_some_and(|(_, text)| text.contains("refused the login (535"))
    });
    assert!(stage.log().contains("refused the login (535"), "{}", stage.log());
    assert!(exim.mails().is_empty());

    stage.write("password", "swordfish\n");
    let mail = exim.wait_mail("the revocation", |mail| mail.tells("first", "revoked", "first"));
    assert!(mail.decoded().contains("refused the login (535"), "the next mail reports the failure: {}", mail.decoded());
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn no_mail_leaves_without_the_tls_that_is_required() {
    let exim = Exim::start_without_tls();
    let (stage, token) = watching_one(&format!("{{ url = \"smtp://127.0.0.1:{}?tls=required\" }}", exim.port));
    let daemon = stage.start_ready();
    stage.sim().with_world(|world| world.revoke(&token, unix_now()));
    wait_until("the refusal to be told", PATIENCE, || {
        stage.log().contains("it offers no STARTTLS, and tls=required is set")
    });
    assert_eq!(daemon.metric("tokenwatch_outbox_pending"), Some(1.0));
    assert!(exim.mails().is_empty());

    let text = fs::read_to_string(stage.path("tokenwatch.toml")).expect("a configuration");
    stage.configure(&text.replace("tls=required", "tls=none"));
    daemon.hup();
    exim.wait_mail("the revocation", |mail| mail.tells("first", "revoked", "first"));
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_certificate_is_trusted_by_its_authority_only() {
    let exim = Exim::start("swordfish");
    let ca = format!(", ca_file = {}", quoted(&exim.ca_file()));
    let stranger = exim.relay().replace(&ca, "");
    assert_ne!(stranger, exim.relay());
    let (stage, token) = watching_one(&stranger);
    let daemon = stage.start_ready();
    stage.sim().with_world(|world| world.revoke(&token, unix_now()));
    wait_until("the refusal to be told", PATIENCE, || {
        daemon
            .get("/readyz")
            .is_some_and(|(_, text)| text.contains("mail to default: relay") && !text.contains("notices: ok"))
    });
    let (_, text) = daemon.get("/readyz").expect("an answer");
    assert!(text.contains("certificate"), "{text}");
    assert!(exim.mails().is_empty());

    stage.configure(&stage.config(&exim.relay(), &stage.token("first", "FIRST")));
    daemon.hup();
    exim.wait_mail("the revocation", |mail| mail.tells("first", "revoked", "first"));
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_secret_that_disappears_is_told_and_hurts_no_other() {
    let exim = Exim::start("swordfish");
    let (stage, token) = watching_one("");
    let other = quoted(&stage.write("other", &(stage.issue_healthy() + "\n")));
    let second = format!("[[tokens]]\nname = \"second\"\napp = \"helpdesk\"\nsecret = {{ file = {other} }}\n");
    // An app of its own in a file that stays, so that only the token's secret is lost.
    let app = quoted(&stage.write("app", &format!("{}\n", crate::support::house::SECRET)));
    let text = stage.config(&exim.relay(), &(stage.token("first", "FIRST") + &second));
    let env = format!("{{ env_file = {}, key = \"META_APP_SECRET\" }}", quoted(&stage.path("config.env")));
    stage.configure(&text.replace(&env, &format!("{{ file = {app} }}")));
    let daemon = stage.start_ready();
    daemon.wait_verdict("first", "healthy");

    fs::remove_file(stage.path("config.env")).expect("it was there");
    let mail = exim.wait_mail("the loss", |mail| mail.tells("first", "source_unreadable", "first"));
    assert!(mail.decoded().contains("config.env"), "it names the place: {}", mail.decoded());
    let finding = "tokenwatch_token_finding{token=\"first\",finding=\"source_unreadable\",severity=\"critical\"}";
    assert_eq!(daemon.metric(finding), Some(1.0));
    let answered = "tokenwatch_token_last_answer_timestamp_seconds{token=\"second\"}";
    let before = daemon.metric(answered).expect("answers");
    wait_until("further answers for the other", PATIENCE, || {
        daemon.metric(answered).is_some_and(|at| at > before + 1.0)
    });
    daemon.wait_verdict("second", "healthy");
    let ends = "tokenwatch_token_expiry_timestamp_seconds{token=\"first\"}";
    assert!(daemon.metric(ends).is_some(), "what is known of it stays");

    stage.write_env(&[("FIRST", &token)]);
    let mail = exim.wait_mail("the return", |mail| mail.tells("first", "source_unreadable", "resolved"));
    assert!(mail.subject().contains("RESOLVED"), "{}", mail.subject());
    assert_eq!(daemon.metric(finding), None);
    assert!(
        exim.mails().iter().all(|mail: &Letter| !mail.headers("X-Tokenwatch-Token").contains(&"second".to_owned()))
    );
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn one_event_for_many_tokens_is_few_mails() {
    let exim = Exim::start("swordfish");
    let stage = Stage::new();
    let names: Vec<String> = (0..20).map(|n| format!("many-{n}")).collect();
    let secrets: Vec<(String, String)> =
        names.iter().map(|name| (name.to_uppercase().replace('-', "_"), stage.issue_healthy())).collect();
    let lines: Vec<(&str, &str)> = secrets.iter().map(|(key, secret)| (key.as_str(), secret.as_str())).collect();
    stage.write_env(&lines);
    let tokens: String = names.iter().zip(&secrets).map(|(name, (key, _))| stage.token(name, key)).collect();
    stage.configure(&stage.config(&exim.relay(), &tokens));
    let daemon = stage.start_ready();
    stage.sim().with_world(|world| world.user_event(ADA, Event::PasswordChanged, unix_now()));
    let told = || exim.mails().iter().map(|mail| mail.headers("X-Tokenwatch-Token").len()).sum::<usize>();
    wait_until("all of them to be told", PATIENCE, || told() >= names.len());
    wait_until("an empty outbox", PATIENCE, || daemon.metric("tokenwatch_outbox_pending") == Some(0.0));
    assert_eq!(told(), names.len(), "each is told once");
    // The first one that is seen may be critical and alone, which waits for nobody.
    let mails = exim.mails();
    assert!(mails.len() <= 3, "{:?}", mails.iter().map(Letter::subject).collect::<Vec<_>>());
    assert!(mails.iter().any(|mail| mail.subject().contains(" tokens of the file ")));
    assert_eq!(daemon.stop(), 0);
}

/// A stage that watches one healthy token, `first`.
fn watching_one(relay: &str) -> (Stage, String) {
    let stage = Stage::new();
    let token = stage.issue_healthy();
    stage.write_env(&[("FIRST", &token)]);
    stage.configure(&stage.config(relay, &stage.token("first", "FIRST")));
    (stage, token)
}

/// A small disk under the state folder, in a mount namespace of the daemon's own: nothing outside sees it, and it is gone with the daemon.
/// Whoever is not root gets it by a user namespace.
fn start_on_a_disk(stage: &Stage, options: &str) -> Daemon {
    let mut command = Command::new(program(&["unshare"]));
    command.arg(if getuid().is_root() { "-m" } else { "-Urm" }).args(["/bin/sh", "-c", DISK, TOKENWATCH]);
    stage.start_as(command.arg(stage.path("state")).arg(options).arg(stage.path("full")))
}

/// Mounts the disk, keeps it full for as long as a certain file exists and the daemon lives, and becomes the daemon.
const DISK: &str = r#"
PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t tmpfs -o "$2" none "$1" || exit 99
daemon=$$
while kill -0 "$daemon"; do
    if [ -e "$3" ]; then cat /dev/zero >>"$1/ballast"; else rm -f "$1/ballast"; fi
    sleep 0.1
done >/dev/null 2>&1 &
exec "$0" run
"#;
