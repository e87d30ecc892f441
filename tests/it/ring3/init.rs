//! `init` as people meet it: from the env file of a real application to a configuration that is accepted and that the daemon starts with.
//!
//! Whatever it writes or prints is searched for the secrets of the env file, twelve characters at a time.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use tokenwatch::sim::{AppEvent, Fault, FaultKind, GranularScope, GranularScopes, Lifetime, Match, Page, User};

use crate::support::house::{APP, SECRET};
use crate::support::process::{ADA, Said, Stage, TOKENWATCH, program, unix_now};

#[test]
fn a_healthy_token_becomes_a_configuration_that_runs() {
    let stage = stage();
    let token = machine(&stage, Lifetime::SixtyDays, &SCOPES);
    cover(&stage, &token, &["102290000000001"]);
    env(&stage, &[("WHATSAPP_ACCESS_TOKEN", &token), ("WHATSAPP_PHONE_NUMBER_ID", "521803094347148")]);
    let wishes = ["--email", "sre@example.org", "--relay", "smtp://localhost:2525?tls=none"];
    let said = stage.run(&[&["init", "--env-file", "app.env", "--from", "tw@example.org"], &wishes[..]].concat());
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(said.out, "");
    let text = written(&stage);
    for line in [
        "scopes = [\"whatsapp_business_messaging\", \"whatsapp_business_management\"]",
        "phone_number_id     = \"521803094347148\"",
        "business_account_id = \"102290000000001\" # the only account that the token covers",
        "email = [\"sre@example.org\"]",
        "from   = \"tw@example.org\"",
        "relays = [{ url = \"smtp://localhost:2525?tls=none\" }]",
        "#   kind         system user token",
        "#   data access  never",
        "# [tokens.renew]",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(text.contains("UTC (in 59 days") || text.contains("UTC (in 60 days"), "{text}");
    assert!(!text.contains("EDIT:"), "{text}");
    let path = stage.path("tokenwatch.toml").display().to_string();
    for command in ["config check", "doctor", "run"] {
        assert!(said.err.contains(&format!("tokenwatch --config {path} {command}\n")), "{}", said.err);
    }
    assert!(said.err.contains("app.env") && said.err.contains("must be able to read"), "{}", said.err);
    let mode = fs::metadata(&path).expect("a file").permissions().mode() & 0o7777;
    assert_eq!(mode, 0o640);
    keeps(&stage, &said, &[&token]);
    accepted(&stage);

    let daemon = stage.start_ready();
    daemon.wait_verdict("whatsapp-access-token", "healthy");
    let metrics = daemon.page("/metrics");
    let expiry = "tokenwatch_token_expiry_timestamp_seconds{token=\"whatsapp-access-token\"}";
    assert!(metrics.contains(expiry), "{metrics}");
    assert_eq!(daemon.stop(), 0);

    // Everything that it offers is valid as it stands there.
    stage.write("tokenwatch.toml", &uncommented(&text, "# [tokens.renew]"));
    let said = accepted(&stage);
    assert!(!said.out.contains("warning"), "{}", said.out);
    assert!(stage.run(&["renew", "whatsapp-access-token", "--dry-run"]).out.contains("would be renewed"));
}

#[test]
fn without_words_about_people_it_says_what_to_edit() {
    let stage = stage();
    let token = machine(&stage, Lifetime::Never, &SCOPES);
    env(&stage, &[("META_SYSTEM_USER_TOKEN", &token)]);
    let said = init(&stage);
    let text = written(&stage);
    for value in ["oncall@example.com", "smtp://localhost:25?tls=none", "tokenwatch@example.com"] {
        let (index, line) = text.lines().enumerate().find(|(_, line)| line.contains(value)).expect(value);
        let (_, what) = line.split_once("# EDIT: ").expect("a mark");
        assert!(said.err.contains(&format!("  line {}: {what}\n", index + 1)), "{}", said.err);
    }
    assert!(text.contains("It never ends, so it is never exchanged") && !text.contains("[tokens.renew]\n"), "{text}");
    assert!(text.contains("#   ends         never"), "{text}");
    assert!(
        text.contains("[tokens.whatsapp]") && !text.contains("\nphone_number_id"),
        "its permissions say what it is for"
    );
    keeps(&stage, &said, &[&token]);
    accepted(&stage);
}

#[test]
fn each_fate_has_its_words() {
    let stage = stage();
    let now = unix_now();
    let sixty = machine(&stage, Lifetime::SixtyDays, &SCOPES);
    let (over, revoked, short, gone, page) = stage.sim().with_world(|world| {
        world.add_page(Page::new("777", "Shop", &[ADA]));
        let over = world.issue_system_user(MACHINE, &SCOPES, Lifetime::SixtyDays, now - 90 * 86_400);
        world.set_expiry(&over, Some(now - 30 * 86_400));
        let revoked = world.issue_long_user(ADA, &["ads_read"], now);
        world.revoke(&revoked, now);
        let short = world.issue_api_setup(ADA, &SCOPES, now);
        let parent = world.issue_long_user(ADA, &["pages_messaging"], now);
        let page = world.issue_page(&parent, "777", now).expect("a page token");
        let gone = world.issue_api_setup(ADA, &SCOPES, now - 30 * 86_400);
        (over, revoked, short, gone, page)
    });
    env(
        &stage,
        &[
            ("WHATSAPP_ACCESS_TOKEN", &over),
            ("META_ACCESS_TOKEN", &revoked),
            ("WHATSAPP_API_TOKEN", &short),
            ("PAGE_ACCESS_TOKEN", &page),
            ("FACEBOOK_ACCESS_TOKEN", &gone),
            ("FB_ACCESS_TOKEN", "EAAnonsense-of-a-token"),
            ("WHATSAPP_TOKEN", &sixty),
        ],
    );
    let said = init(&stage);
    let text = written(&stage);
    for (name, words) in [
        (
            "whatsapp-access-token",
            &["it has expired", "a dead token cannot be exchanged", "# [tokens.renew]", "30 days ago"][..],
        ),
        ("meta-access-token", &["it was revoked: the user logged out", "Meta says", "# [tokens.renew]"]),
        ("whatsapp-api-token", &["WARNING", "dies within hours", "API Setup", "system user"]),
        ("facebook-access-token", &["it has expired", "API Setup", "system user", "# [tokens.replace]"]),
        ("page-access-token", &["page token", "# user_token = ", "777"]),
        ("fb-access-token", &["it is no token that Meta can read", "# [tokens.replace]"]),
        ("whatsapp-token", &["it works", "# before  = \"20d\""]),
    ] {
        let part = part(&text, name);
        for word in words {
            assert!(part.contains(word), "{name}: {word}\n{part}");
        }
    }
    for warning in [
        "whatsapp-access-token: it has expired",
        "meta-access-token: it was revoked",
        "whatsapp-api-token lives for hours",
    ] {
        assert!(said.err.contains(&format!("warning: {warning}")), "{}", said.err);
    }
    keeps(&stage, &said, &[&over, &revoked, &short, &gone, &page, "EAAnonsense-of-a-token", &sixty]);
    accepted(&stage);
    let text = uncommented(&uncommented(&text, "# [tokens.replace]"), "# [tokens.renew]");
    assert_eq!(
        (text.matches("\n[tokens.replace]").count(), text.matches("\n[tokens.renew]").count()),
        (2, 4),
        "{text}"
    );
    stage.write("tokenwatch.toml", &text);
    accepted(&stage);
}

#[test]
fn of_several_accounts_a_person_chooses() {
    let stage = stage();
    let token = machine(&stage, Lifetime::SixtyDays, &SCOPES);
    cover(&stage, &token, &["101", "102", "103"]);
    env(&stage, &[("META_ACCESS_TOKEN", &token)]);
    let said = init(&stage);
    let text = written(&stage);
    for id in ["101", "102", "103"] {
        assert!(text.contains(&format!("\n# business_account_id = \"{id}\"\n")), "{text}");
    }
    assert!(!text.contains("\nbusiness_account_id"), "{text}");
    assert!(said.err.contains("101, 102, 103"), "{}", said.err);
    accepted(&stage);

    env(&stage, &[("META_ACCESS_TOKEN", &token), ("WABA_ID", "102"), ("PHONE_NUMBER_ID", "521")]);
    let text = init_anew(&stage).1;
    assert!(
        text.contains("\nbusiness_account_id = \"102\"\n") && text.contains("\nphone_number_id     = \"521\"\n"),
        "{text}"
    );
    accepted(&stage);

    env(&stage, &[("META_ACCESS_TOKEN", &token), ("WABA_ID", "999")]);
    let (said, text) = init_anew(&stage);
    assert!(text.contains("does not cover this account; it covers 101, 102, 103"), "{text}");
    assert!(said.err.contains("does not cover the account 999"), "{}", said.err);
    accepted(&stage);

    // A value of another kind, and be it a token, is no id.
    env(&stage, &[("META_ACCESS_TOKEN", &token), ("WABA_ID", &token), ("PHONE_NUMBER_ID", SECRET)]);
    let (said, text) = init_anew(&stage);
    assert!(text.contains("\n# business_account_id = \"102\"\n"), "{text}");
    keeps(&stage, &said, &[&token]);
    accepted(&stage);
}

#[test]
fn what_cannot_be_learned_is_no_reason_not_to_write() {
    let stage = stage();
    let token = machine(&stage, Lifetime::SixtyDays, &SCOPES);
    let lines = format!("WHATSAPP_ACCESS_TOKEN={token}\n");
    let blocked = || stage.sim().with_world(|world| world.app_event(APP, AppEvent::Blocked, unix_now()));
    let echoes = || {
        let kind = FaultKind::Raw {
            status: 400,
            headers: Vec::new(),
            body: format!("{{\"error\":{{\"message\":\"so {token}\\u2028\\n[daemon] {SECRET}\",\"code\":2}}}}")
                .into_bytes(),
        };
        stage.sim().with_world(|world| world.faults.add(Fault::always(Match::Any, kind)));
    };
    let app = format!("META_APP_ID={APP}\nMETA_APP_SECRET={SECRET}\n");
    let nothing: &dyn Fn() = &|| {};
    for (what, text, before, words) in [
        (
            "no app",
            lines.clone(),
            nothing,
            &["only its validity can be probed", "\n# [apps.app]\n", "it works", "\n# app "][..],
        ),
        (
            "no id",
            format!("{lines}FB_APP_SECRET={SECRET}\n"),
            nothing,
            &["\n# [apps.app]\n", "\n# secret = { env_file = ", "key = \"FB_APP_SECRET\""],
        ),
        (
            "an id that is none",
            format!("{lines}META_APP_ID={SECRET}\nMETA_APP_SECRET={SECRET}\n"),
            nothing,
            &["EDIT: the app's id"],
        ),
        (
            "a wrong secret",
            format!("{lines}META_APP_ID={APP}\nMETA_APP_SECRET=fedcba9876543210fedcba9876543210\n"),
            nothing,
            &["nothing could be learned about it", "app secret does not match the app id"],
        ),
        ("an echo", format!("{lines}{app}"), &echoes, &["nothing could be learned about it", "***"]),
        (
            "a block",
            format!("{lines}{app}"),
            &|| {
                stage.sim().with_world(|world| world.faults.clear());
                blocked();
            },
            &["blocked by its provider"],
        ),
    ] {
        before();
        stage.write("app.env", &text);
        let (said, text) = init_anew(&stage);
        // Lines are broken where they are full.
        let joined = text.replace("\n# ", " ").replace("\n#   ", " ");
        for word in words {
            assert!(text.contains(word) || joined.contains(word), "{what}: {word}\n{text}");
        }
        assert!(said.err.contains("warning: "), "{what}: {}", said.err);
        keeps(&stage, &said, &[&token, "fedcba9876543210fedcba9876543210"]);
        accepted(&stage);
    }

    let mut stage = stage;
    stage.write("app.env", &format!("{lines}{app}"));
    stage.environment.insert(BASE_URL.to_owned(), "http://127.0.0.1:9".to_owned());
    let (said, text) = init_anew(&stage);
    assert!(text.contains("no connection") && said.err.contains("no connection"), "{text}");
    accepted(&stage);
}

#[test]
fn words_from_outside_stay_in_their_place() {
    let stage = stage();
    let token = machine(&stage, Lifetime::SixtyDays, &SCOPES);
    let hidden = format!("whatsapp_{SECRET}");
    let part_of_it = format!("whatsapp_{}", &token[20..60]);
    let hostile = [
        "whatsapp_\"]\n[daemon]\nlisten = \"0.0.0.0:1\"\n",
        "whatsapp_'''\"\"\"\\",
        "whatsapp_\u{202e}\u{2028}# EDIT: x\r\n[tokens.renew]\nbefore = \"1d\"",
        &hidden,
        &part_of_it,
        "whatsapp_business_messaging",
    ];
    stage.sim().with_world(|world| {
        world.set_scopes(&token, &hostile);
        let ids = ["1\"]\n[x]", "102290000000001"];
        let granular = hostile.iter().map(|scope| GranularScope::of(scope, &ids)).collect();
        world.set_granular_scopes(&token, GranularScopes::Listed(granular));
    });
    env(&stage, &[("WHATSAPP_ACCESS_TOKEN", &token)]);
    let said = init(&stage);
    let text = written(&stage);
    assert!(text.contains("\nscopes = [\"whatsapp_business_messaging\"]\n"), "{text}");
    assert!(text.contains("\nbusiness_account_id = \"102290000000001\""), "{text}");
    let tables: Vec<&str> = text.lines().filter(|line| line.starts_with('[')).collect();
    let own = [
        "[daemon]",
        "[schedule]",
        "[policy]",
        "[smtp]",
        "[receivers.default]",
        "[apps.app]",
        "[[tokens]]",
        "[tokens.whatsapp]",
    ];
    assert!(tables.len() == own.len() && tables.iter().zip(own).all(|(line, own)| line.starts_with(own)), "{tables:?}");
    assert_eq!(said.err.matches("  line ").count(), 3, "{}", said.err);
    keeps(&stage, &said, &[&token]);
    accepted(&stage);
}

#[test]
fn nothing_is_written_over() {
    let stage = stage();
    env(&stage, &[("WHATSAPP_ACCESS_TOKEN", &machine(&stage, Lifetime::Never, &SCOPES))]);
    stage.write("tokenwatch.toml", "# mine\n");
    let before = stage.sim().requests().values().sum::<u64>();
    let said = stage.run(&["init", "--env-file", "app.env"]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("tokenwatch.toml is there already") && said.err.contains("--output"), "{}", said.err);
    assert_eq!(written(&stage), "# mine\n");
    assert_eq!(stage.sim().requests().values().sum::<u64>(), before, "it is said before anybody is asked");

    std::os::unix::fs::symlink("nowhere", stage.path("link.toml")).expect("a link");
    assert_eq!(stage.run(&["init", "--env-file", "app.env", "--output", "link.toml"]).code, 1);
    assert!(!stage.path("nowhere").exists());

    let said = stage.run(&["init", "--env-file", "app.env", "--output", "no/such folder/tw.toml"]);
    assert_eq!(said.code, 1);
    let folder = stage.path("no/such folder").display().to_string();
    assert!(said.err.contains(&format!("mkdir -p '{folder}'")), "{}", said.err);

    let said = stage.run(&["--config", "other.toml", "init", "--env-file", "app.env"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(stage.path("other.toml").exists());
    let left: Vec<String> = fs::read_dir(stage.folder.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with('.'))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_file_that_cannot_be_written_as_a_whole_is_not_there() {
    let stage = stage();
    env(&stage, &[("WHATSAPP_ACCESS_TOKEN", &machine(&stage, Lifetime::Never, &SCOPES))]);
    // No file may be longer than nothing, and the signal about it is ignored: as on a full disk the write fails.
    let script = format!("trap '' XFSZ; ulimit -f 0; exec {TOKENWATCH} init --env-file app.env");
    let output = stage.dress(Command::new("/bin/sh").args(["-c", &script])).output().expect("a shell");
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(75), "{err}");
    assert!(err.contains("tokenwatch.toml cannot be written") && err.contains("nothing was written"), "{err}");
    let toml = |name: &str| name.contains("tokenwatch.toml");
    let mut names =
        fs::read_dir(stage.folder.path()).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    assert!(!names.any(|name| toml(&name.to_string_lossy())));
}

#[test]
fn it_can_be_printed_instead() {
    let stage = stage();
    let token = machine(&stage, Lifetime::Never, &SCOPES);
    env(&stage, &[("WHATSAPP_ACCESS_TOKEN", &token)]);
    let said = stage.run(&["init", "--env-file", "app.env", "--output", "-"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(!stage.path("tokenwatch.toml").exists() && !stage.path("-").exists());
    assert!(said.err.contains("nothing was written"), "{}", said.err);
    keeps(&stage, &said, &[&token]);
    stage.write("tokenwatch.toml", &said.out);
    accepted(&stage);
}

#[test]
fn wrong_use_is_told_with_its_reason() {
    let stage = stage();
    env(&stage, &[("WHATSAPP_ACCESS_TOKEN", &machine(&stage, Lifetime::Never, &SCOPES))]);
    stage.write("empty.env", "PORT=5000\n");
    for (arguments, code, word) in [
        (&["init"][..], 64, "--env-file"),
        (&["init", "--env-file", "nowhere.env"], 3, "nowhere.env"),
        (&["init", "--env-file", "empty.env"], 3, "WHATSAPP_ACCESS_TOKEN"),
        (&["init", "--env-file", "app.env", "--email", "nobody"], 64, "--email"),
        (&["init", "--env-file", "app.env", "--unit", "itsm"], 64, "itsm.service"),
        (&["init", "--env-file", "app.env", "--relay", "smtp://u:hunter2hunter2@mail"], 64, "plain text is refused"),
    ] {
        let said = stage.run(arguments);
        assert_eq!(said.code, code, "{arguments:?}: {}", said.err);
        assert!(said.err.contains(word) && !said.err.contains("hunter2"), "{arguments:?}: {}", said.err);
        assert!(!stage.path("tokenwatch.toml").exists(), "{arguments:?}");
    }
    let said = stage.run(&["init", "--env-file", "app.env", "--relay", "smtps://tw@mail.example.org"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(written(&stage).contains("password = { credential = \"smtp-password\" }"), "{}", written(&stage));
    accepted(&stage);
}

#[test]
fn on_a_terminal_it_asks() {
    let stage = stage();
    let token = machine(&stage, Lifetime::SixtyDays, &SCOPES);
    env(&stage, &[("WHATSAPP_ACCESS_TOKEN", &token)]);
    let mut command = Command::new(program(&["script"]));
    command.args(["--quiet", "--return", "--command"]).arg(format!("{TOKENWATCH} init")).arg("/dev/null");
    let mut child =
        stage.dress(&mut command).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script runs");
    let answers =
        "nowhere.env\napp.env\nnobody\nsre@example.org\n\nsmtp://localhost:25?tls=none\nitsm-backend.service\n";
    child.stdin.take().expect("a pipe").write_all(answers.as_bytes()).expect("it listens");
    let output = child.wait_with_output().expect("it ends");
    let screen = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{screen}");
    assert!(screen.contains("nowhere.env: No such file") && screen.contains("is no mail address"), "{screen}");
    let text = written(&stage);
    assert!(text.contains("email = [\"sre@example.org\"]"), "{text}");
    assert!(text.contains("# restart = { systemd = \"itsm-backend.service\" }"), "{text}");
    assert!(text.contains("# EDIT: the sender of the mails"), "{text}");
    keeps(&stage, &Said { code: 0, out: screen, err: String::new() }, &[&token]);
    accepted(&stage);
}

/// A stage whose environment leads every command to its provider, its port and its state, with a machine beside Ada.
fn stage() -> Stage {
    let mut stage = Stage::new();
    let state = stage.path("state").display().to_string();
    let listen = format!("127.0.0.1:{}", stage.port);
    for (name, value) in
        [(BASE_URL, stage.base_url()), ("TOKENWATCH__DAEMON__LISTEN", listen), ("XDG_STATE_HOME", state)]
    {
        stage.environment.insert(name.to_owned(), value);
    }
    stage.sim().with_world(|world| world.add_user(User::new(APP, MACHINE, "Machine")));
    stage
}

fn machine(stage: &Stage, life: Lifetime, scopes: &[&str]) -> String {
    stage.sim().with_world(|world| world.issue_system_user(MACHINE, scopes, life, unix_now()))
}

/// Narrows the token's permissions to these accounts.
fn cover(stage: &Stage, token: &str, accounts: &[&str]) {
    let granular = SCOPES.iter().map(|scope| GranularScope::of(scope, accounts)).collect();
    stage.sim().with_world(|world| world.set_granular_scopes(token, GranularScopes::Listed(granular)));
}

/// Writes `app.env`: the app, and these lines.
fn env(stage: &Stage, lines: &[(&str, &str)]) {
    let lines: String = lines.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    stage.write("app.env", &format!("PORT=5000\nMETA_APP_ID={APP}\nMETA_APP_SECRET={SECRET}\n{lines}"));
}

fn init(stage: &Stage) -> Said {
    let said = stage.run(&["init", "--env-file", "app.env"]);
    assert_eq!(said.code, 0, "{}", said.err);
    said
}

/// The same where an earlier one is gone.
fn init_anew(stage: &Stage) -> (Said, String) {
    let _ = fs::remove_file(stage.path("tokenwatch.toml"));
    (init(stage), written(stage))
}

fn written(stage: &Stage) -> String {
    fs::read_to_string(stage.path("tokenwatch.toml")).expect("a configuration")
}

fn accepted(stage: &Stage) -> Said {
    let said = stage.run(&["config", "check"]);
    assert_eq!(said.code, 0, "{}{}\n{}", said.out, said.err, written(stage));
    said
}

/// No secret is in the file or in what was said.
fn keeps(stage: &Stage, said: &Said, secrets: &[&str]) {
    let file = fs::read_to_string(stage.path("tokenwatch.toml")).unwrap_or_default();
    for secret in secrets.iter().copied().chain([SECRET]) {
        for part in secret.as_bytes().windows(12) {
            let part = std::str::from_utf8(part).expect("ASCII");
            for (place, text) in [("the file", &file), ("standard output", &said.out), ("standard error", &said.err)] {
                assert!(!text.contains(part), "{part} of a secret is in {place}:\n{text}");
            }
        }
    }
}

/// What stands there about one token: from the remarks before it up to the next one's.
fn part(text: &str, name: &str) -> String {
    let key = name.to_uppercase().replace('-', "_");
    let start = text.find(&format!("\n# {key},")).expect(&key);
    let end = text[start..].find(", as it was when").map_or(start, |at| start + at + 1);
    let next = text[end..].find(", as it was when").map_or(text.len(), |at| end + at);
    text[start..next].to_owned()
}

/// The text with every such table in force.
fn uncommented(text: &str, table: &str) -> String {
    let mut inside = false;
    let mut lines = String::new();
    for line in text.lines() {
        inside = line == table || (inside && line.starts_with("# ") && line.contains(" = "));
        lines.push_str(if inside { &line[2..] } else { line });
        lines.push('\n');
    }
    lines
}

const BASE_URL: &str = "TOKENWATCH__PROVIDER__META__BASE_URL";
const MACHINE: &str = "20002";
const SCOPES: [&str; 2] = ["whatsapp_business_messaging", "whatsapp_business_management"];
