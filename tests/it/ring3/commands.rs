//! The commands as people and scripts meet them: exit codes that can be relied on, env files as real applications keep them, tables that
//! are plain where nobody looks.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::process::Command;

use tokenwatch::sim::{Fault, FaultKind, Match};

use crate::support::house::{APP, SECRET};
use crate::support::process::{Said, Stage, TOKENWATCH, program, unix_now};

/// For the health check of a container: yes or no, as `/healthz` has it, and no is no success.
#[test]
fn status_health_is_what_the_daemon_says_of_its_loop() {
    let mut stage = Stage::new();
    stage.environment.insert("RUNTIME_DIRECTORY".to_owned(), stage.path("run").display().to_string());
    stage.configure(&stage.config("", ""));
    let health = |stage: &Stage| stage.run(&["status", "--health"]);
    let nobody = health(&stage);
    assert_eq!((nobody.code, &*nobody.out), (75, ""), "{}", nobody.err);

    fs::create_dir(stage.path("run")).expect("a folder");
    let socket = stage.path("run/control.sock");
    for (status, body, code) in
        [("503 Service Unavailable", "the watch loop was last seen 7 minutes ago\n", 75), ("200 OK", "ok\n", 0)]
    {
        let _ = fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).expect("a socket");
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut head = [0; 4_096];
                // Whoever only looks whether somebody listens asks nothing.
                let read = stream.read(&mut head).unwrap_or(0);
                if String::from_utf8_lossy(&head[..read]).starts_with("GET /healthz ") {
                    let length = body.len();
                    let _ = write!(
                        stream,
                        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                    );
                }
            }
        });
        let said = health(&stage);
        assert_eq!(said.code, code, "{status}: {}{}", said.out, said.err);
        assert!(if code == 0 { said.out == "ok\n" } else { said.err.contains(body.trim_end()) }, "{}", said.err);
    }
}

#[test]
fn the_exit_code_of_check_is_the_worst_of_what_was_seen() {
    let stage = Stage::new();
    let day = 86_400;
    let healthy = stage.issue_healthy();
    let (warned, urgent, over) =
        (stage.issue(-50 * day, 10 * day), stage.issue(-58 * day, 2 * day), stage.issue(-60 * day, -1));
    let revoked = stage.issue_healthy();
    stage.sim().with_world(|world| world.revoke(&revoked, unix_now()));
    let lines = [
        ("HEALTHY", healthy.as_str()),
        ("WARNED", &warned),
        ("URGENT", &urgent),
        ("OVER", &over),
        ("REVOKED", &revoked),
        ("NONSENSE", "EAAnonsense"),
    ];
    stage.write_env(&lines);
    let mut tokens: String = lines.iter().map(|(key, _)| stage.token(&key.to_ascii_lowercase(), key)).collect();
    tokens.push_str(&stage.token("lost", "LOST"));
    tokens.push_str(&(stage.token("narrow", "HEALTHY") + "scopes = [\"ads_read\"]\n"));
    // Without its app only the validity of a token can be learned, which is no fault of the token's.
    tokens.push_str(&stage.token("dateless", "HEALTHY").replace("app = \"helpdesk\"\n", ""));
    stage.configure(&stage.config("", &tokens));

    for (names, code) in [
        (&["healthy"][..], 0),
        (&["dateless"], 0),
        (&["warned"], 1),
        (&["narrow"], 1),
        (&["healthy", "warned"], 1),
        (&["urgent"], 2),
        (&["over"], 2),
        (&["revoked"], 2),
        (&["nonsense"], 2),
        (&["lost"], 3),
        (&["lost", "warned"], 3),
        (&["over", "lost", "warned", "healthy"], 2),
        (&[], 2),
        (&["unknown"], 1),
        (&["Not a name"], 1),
        (&["--frobnicate"], 64),
        (&["--env-file"], 64),
    ] {
        let said = stage.run(&[&["check"], names].concat());
        assert_eq!(said.code, code, "check {names:?}\n{}{}", said.out, said.err);
    }
    let said = stage.run(&["check", "helthy"]);
    assert!(said.err.contains("no token is called helthy") && said.err.contains("healthy"), "{}", said.err);

    stage.sim().with_world(|world| world.faults.add(Fault::always(Match::Any, FaultKind::Empty500)));
    assert_eq!(stage.run(&["check", "healthy"]).code, 3, "an outage says nothing about a token");
    stage.sim().with_world(|world| world.faults.clear());

    stage.configure(&stage.config("", &tokens).replace("key = \"META_APP_SECRET\"", "key = \"HEALTHY\""));
    let said = stage.run(&["check", "healthy"]);
    assert_eq!(said.code, 3, "with a wrong app secret nothing can be told: {}", said.out);
    assert!(said.out.contains("app helpdesk"), "{}", said.out);

    stage.configure("[tokenz]\n");
    assert_eq!(stage.run(&["check"]).code, 78);
    fs::remove_file(stage.path("tokenwatch.toml")).expect("it was there");
    let said = stage.run(&["check"]);
    assert_eq!(said.code, 78);
    assert!(said.err.contains("tokenwatch.toml"), "{}", said.err);
}

#[test]
fn an_env_file_is_read_as_its_application_reads_it() {
    let stage = Stage::new();
    let token = stage.issue_healthy();
    let dead = stage.issue(-100, -1);
    let app = format!("META_APP_ID={APP}\nMETA_APP_SECRET={SECRET}\n");
    for (what, text) in [
        ("plain", format!("{app}WHATSAPP_ACCESS_TOKEN={token}\n")),
        ("without a line break at its end", format!("{app}WHATSAPP_ACCESS_TOKEN={token}")),
        ("CRLF", format!("{app}PORT=5000\nWHATSAPP_ACCESS_TOKEN={token}\n").replace('\n', "\r\n")),
        ("BOM", format!("\u{feff}META_APP_ID={APP}\nMETA_APP_SECRET={SECRET}\nWHATSAPP_ACCESS_TOKEN={token}\n")),
        ("BOM before the token", format!("\u{feff}WHATSAPP_ACCESS_TOKEN={token}\n{app}")),
        (
            "double quotes",
            format!("META_APP_ID=\"{APP}\"\nMETA_APP_SECRET=\"{SECRET}\"\nWHATSAPP_ACCESS_TOKEN=\"{token}\"\n"),
        ),
        ("single quotes and a comment", format!("{app}WHATSAPP_ACCESS_TOKEN='{token}' # of the help desk\n")),
        ("a comment without quotes", format!("{app}WHATSAPP_ACCESS_TOKEN={token} # of the help desk\n")),
        ("export", format!("{app}export WHATSAPP_ACCESS_TOKEN={token}\n")),
        ("spaces", format!("{app}  WHATSAPP_ACCESS_TOKEN = {token}  \n")),
        ("duplicates", format!("WHATSAPP_ACCESS_TOKEN={dead}\n{app}WHATSAPP_ACCESS_TOKEN={token}\n")),
        (
            "a comment that looks like it",
            format!("{app}WHATSAPP_ACCESS_TOKEN={token}\n#WHATSAPP_ACCESS_TOKEN={dead}\n"),
        ),
        ("quotes, CRLF and export", format!("{app}export WHATSAPP_ACCESS_TOKEN=\"{token}\"\n").replace('\n', "\r\n")),
        (
            "another key that ends alike",
            format!("{app}OLD_WHATSAPP_ACCESS_TOKEN={dead}\nWHATSAPP_ACCESS_TOKEN={token}\n"),
        ),
    ] {
        let said = check_file(&stage, &text);
        assert_eq!(said.code, 0, "{what}: {}{}", said.out, said.err);
        assert!(said.out.contains("whatsapp-access-token  healthy"), "{what}: {}", said.out);
        assert_eq!(said.err, "", "{what}");
    }
    let said = check_file(&stage, &format!("{app}WHATSAPP_ACCESS_TOKEN={token}\nWHATSAPP_ACCESS_TOKEN={dead}\n"));
    assert_eq!(said.code, 2, "of duplicates the last one counts: {}", said.out);
    let said = check_file(&stage, &format!("{app}WHATSAPP_ACCESS_TOKEN={dead}\nMETA_ACCESS_TOKEN={token}\n"));
    assert_eq!((said.code, said.out.lines().count()), (2, 3), "both keys are checked: {}", said.out);
}

#[test]
fn an_env_file_that_says_too_little_is_told_what_is_missing() {
    let stage = Stage::new();
    let token = stage.issue_healthy();
    let said = check_file(&stage, &format!("WHATSAPP_ACCESS_TOKEN={token}\n"));
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.err.contains("META_APP_ID") && said.err.contains("META_APP_SECRET"), "{}", said.err);

    for text in ["", "PORT=5000\nWHATSAPP_ACCESS_TOKEN=\n", "PORT=5000\n"] {
        let said = check_file(&stage, text);
        assert_eq!(said.code, 3, "{text:?}: {}", said.err);
        assert!(said.err.contains("WHATSAPP_ACCESS_TOKEN"), "it names the keys it looks for: {}", said.err);
    }
    let said = stage.run(&["check", "--env-file", "nowhere.env"]);
    assert_eq!(said.code, 3);
    assert!(said.err.contains("nowhere.env"), "{}", said.err);
    assert_eq!(stage.run(&["check", "--env-file", "."]).code, 3, "a folder is no env file");
}

#[test]
fn tables_are_plain_unless_on_a_terminal() {
    let stage = Stage::new();
    let (healthy, over) = (stage.issue_healthy(), stage.issue(-100, -1));
    stage.write_env(&[("HEALTHY", &healthy), ("OVER", &over)]);
    stage.configure(&stage.config("", &(stage.token("healthy", "HEALTHY") + &stage.token("over", "OVER"))));
    let mut stage = stage;
    for (name, value) in [("TERM", "xterm-256color"), ("COLORTERM", "truecolor")] {
        stage.environment.insert(name.to_owned(), value.to_owned());
    }
    let daemon = stage.start_ready();
    for arguments in [
        &["check"][..],
        &["status"],
        &["explain", "over"],
        &["config", "show"],
        &["config", "check"],
        &["check", "nobody"],
        &["--help"],
        &["frobnicate"],
    ] {
        let said = stage.run(arguments);
        assert!(!said.out.contains('\u{1b}') && !said.err.contains('\u{1b}'), "{arguments:?}: {said:?}");
    }
    let said = stage.run(&["check"]);
    let columns: Vec<Option<usize>> = said.out.lines().map(|line| line.find("  ")).collect();
    assert_eq!(columns.len(), 3, "a head and two rows: {}", said.out);
    let verdicts: Vec<Option<usize>> = ["VERDICT", "healthy  meta", "expired"]
        .iter()
        .zip(said.out.lines())
        .map(|(word, line)| line.find(word))
        .collect();
    assert!(verdicts[0].is_some() && verdicts[0] == verdicts[2], "aligned: {}", said.out);

    let coloured = on_a_terminal(&stage);
    assert!(coloured.contains("\u{1b}["), "{coloured:?}");
    stage.environment.insert("NO_COLOR".to_owned(), "1".to_owned());
    let plain = on_a_terminal(&stage);
    assert!(plain.contains("expired") && !plain.contains('\u{1b}'), "{plain:?}");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_reader_that_leaves_early_is_nobodys_fault() {
    let stage = Stage::new();
    let script = format!("{{ {TOKENWATCH} config schema; echo $? >code; }} | /usr/bin/head -n 1");
    let output = stage.dress(Command::new("/bin/sh").args(["-c", &script])).output().expect("a shell");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "{\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(fs::read_to_string(stage.path("code")).expect("a code"), "0\n");
}

#[test]
fn explain_and_status_agree_with_the_daemon() {
    let stage = Stage::new();
    let over = stage.issue(-100, -1);
    stage.write_env(&[("OVER", &over)]);
    stage.configure(&stage.config("", &stage.token("over", "OVER")));
    let alone = stage.run(&["explain", "over"]);
    assert_eq!(alone.code, 0, "{}", alone.err);
    assert!(alone.out.contains("over: expired") && alone.out.contains("no daemon is reachable"), "{}", alone.out);
    assert_eq!(stage.run(&["explain", "nobody"]).code, 1);
    assert_eq!(stage.run(&["status"]).code, 75);

    let daemon = stage.start_ready();
    daemon.wait_verdict("over", "expired");
    let asked = stage.run(&["explain", "over"]);
    assert!(
        asked.out.contains("over: expired") && asked.out.contains("what the running daemon knows"),
        "{}",
        asked.out
    );
    let status = stage.run(&["status"]);
    assert_eq!(status.code, 0, "{}", status.err);
    assert!(status.out.contains("over") && status.out.contains("expired"), "{}", status.out);
    assert_eq!(daemon.stop(), 0);
}

/// `check --env-file` with this file, and no configuration at all.
fn check_file(stage: &Stage, text: &str) -> Said {
    stage.write("app.env", text);
    let mut command = Command::new(TOKENWATCH);
    stage.dress(command.args(["check", "--env-file", "app.env"])).env_remove("TOKENWATCH_CONFIG");
    let output =
        command.env("TOKENWATCH__PROVIDER__META__BASE_URL", stage.base_url()).output().expect("the binary runs");
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// What `check` prints on a terminal.
fn on_a_terminal(stage: &Stage) -> String {
    let mut command = Command::new(program(&["script"]));
    command.args(["--quiet", "--return", "--command"]).arg(format!("{TOKENWATCH} check")).arg("/dev/null");
    let output = stage.dress(&mut command).output().expect("script runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_demo_writes_over_nothing() {
    let stage = Stage::new();
    let precious = stage.write("config.env", "MINE=precious\n");
    let said = stage.run(&["demo", "--folder", "."]);
    assert!(said.code == 64 && said.err.contains("is not empty"), "{said:?}");
    assert_eq!(fs::read_to_string(precious).expect("the file"), "MINE=precious\n");
}
