//! Planted secrets: one in every place where a secret may stand, and in some where none should. Whatever the daemon and its commands then
//! leave behind is searched for any of them, and for any twelve characters in a row of any of them.
//!
//! The environment of the process is left out: whoever puts a secret there has put it there.

use std::collections::HashMap;
use std::fs;

use std::process::Command;

use tokenwatch::secret::hmac_sha256;
use tokenwatch::sim::{App, AppEvent, Fault, FaultKind, Match};

use crate::support::exim::{Exim, Letter, USER};
use crate::support::house::APP;
use crate::support::process::{Daemon, PATIENCE, Stage, get_raw, quoted, unix_now, wait_until};

#[test]
fn no_planted_secret_is_found_anywhere() {
    let mut search = Search::default();
    let scene = Scene::set(&mut search);
    let daemon = scene.stage.start_ready();
    fates(&scene, &daemon, &mut search);
    bad_configurations(&scene, &daemon, &mut search);
    let id = daemon.id();
    for file in ["cmdline", "limits", "status", "comm"] {
        search.within(file, &fs::read(format!("/proc/{id}/{file}")).expect("a file of a child"));
    }
    state(&scene, &mut search);
    assert_eq!(daemon.stop(), 0);
    state(&scene, &mut search);
    alone(&scene, &mut search);
    for mail in scene.exim.mails() {
        search.within("a mail", mail.raw.as_bytes());
        search.within("a mail as it is read", mail.decoded().as_bytes());
    }
    for name in ["stdout", "stderr"] {
        search.within(name, &fs::read(scene.stage.path(name)).expect("a log"));
    }
    let log = scene.stage.log();
    assert!(log.contains("DEBUG") || log.contains("TRACE"), "the search needs a talkative log");
    search.report();
}

#[test]
fn the_search_finds_what_is_there() {
    let mut search = Search::default();
    search.plant("a", "0123456789abcdefghij");
    search.within("nothing", b"0123456789a 3456789abcd");
    assert!(search.found.is_empty());
    search.within("something", b"..456789abcdef..");
    assert_eq!(search.found.len(), 1);
    search.plant("b", "s3cr+t/p?ss");
    search.within("short ones whole", b"... s3cr+t/p?ss ...");
    assert_eq!(search.found.len(), 2);
    assert_eq!(base64(b"any carnal pleas"), "YW55IGNhcm5hbCBwbGVhcw==");
}

/// The daemon's life: every finding that a secret takes part in, and every page while it lasts.
fn fates(scene: &Scene, daemon: &Daemon, search: &mut Search) {
    let stage = &scene.stage;
    let sim = stage.sim();
    look(scene, daemon, search);
    daemon.wait_verdict("odd", "invalid");
    look(scene, daemon, search);

    let echo = |text: &str| FaultKind::Raw {
        status: 400,
        headers: vec![(
            "WWW-Authenticate".to_owned(),
            format!("OAuth \"Facebook Platform\" \"invalid_token\" \"Malformed access token {text}\""),
        )],
        body: format!(
            "{{\"error\":{{\"message\":\"Malformed access token {text}\",\"type\":\"OAuthException\",\"code\":190}}}}"
        )
        .into_bytes(),
    };
    let page = |text: &str| FaultKind::Raw {
        status: 502,
        headers: vec![("X-Debug".to_owned(), text.to_owned())],
        body: format!("<html>upstream said: {text}</html>").into_bytes(),
    };
    let (token, odd) = (scene.tokens["by-env"].as_str(), scene.tokens["odd"].as_str());
    let own = format!("{odd} of {}", scene.app_secret);
    let of_odd = || Match::Token(odd.to_owned());
    for (what, when, kind) in [
        ("an echo", Match::Any, FaultKind::MalformedEcho),
        ("an echo of a token and its app", of_odd(), echo(&own)),
        ("a page that quotes", of_odd(), page(&own)),
        (
            "a redirect",
            of_odd(),
            FaultKind::Redirect { location: format!("{}/x?access_token={odd}&t={odd}", stage.base_url()) },
        ),
        ("a reset", Match::Any, FaultKind::Reset),
        ("half an answer", Match::Any, FaultKind::CutOff { after: 9 }),
        ("no JSON", Match::Any, FaultKind::TruncatedJson { after: 30 }),
        ("an outage page", Match::Any, FaultKind::Html503),
        ("nonsense", Match::Any, FaultKind::NonUtf8),
    ] {
        let asked = || sim.requests().values().sum::<u64>();
        let before = asked();
        sim.with_world(|world| world.faults.add(Fault::always(when, kind)));
        // All five tokens, and some of them twice.
        wait_until(what, PATIENCE, || asked() > before + 8);
        look(scene, daemon, search);
        sim.with_world(|world| world.faults.clear());
    }

    sim.with_world(|world| world.revoke(token, unix_now()));
    daemon.wait_verdict("by-env", "invalid");
    sim.with_world(|world| world.app_event(APP, AppEvent::Blocked, unix_now()));
    wait_until("the app's finding", PATIENCE, || {
        daemon.get("/metrics").is_some_and(|(_, text)| text.contains("app=\"helpdesk\",finding=\"app_fault\""))
    });
    look(scene, daemon, search);
    sim.with_world(|world| world.app_event(APP, AppEvent::Unblocked, unix_now()));

    // A relay that refuses the password is told in the log, on the pages and in the next mail.
    let good = fs::read_to_string(stage.path("smtp")).expect("a password");
    stage.write("smtp", &scene.wrong_password);
    stage.write("by-file", "");
    wait_until("a refused login", PATIENCE, || stage.log().contains("refused the login"));
    look(scene, daemon, search);
    stage.write("smtp", &good);
    stage.write("by-file", &scene.tokens["by-file"]);
    scene.exim.wait_mail("the loss", |mail: &Letter| mail.tells("by-file", "source_unreadable", "first"));
    scene.exim.wait_mail("the return", |mail: &Letter| mail.tells("by-file", "source_unreadable", "resolved"));
    scene.exim.wait_mail("the revocation", |mail: &Letter| mail.tells("by-env", "revoked", "first"));
}

/// Everything that can be asked of a running daemon.
fn look(scene: &Scene, daemon: &Daemon, search: &mut Search) {
    let stage = &scene.stage;
    let mut pages: Vec<String> =
        ["/", "/metrics", "/healthz", "/readyz", "/api/v1/tokens", "/api/v1/status", "/calendar.ics", "/none"]
            .map(str::to_owned)
            .to_vec();
    let mut commands: Vec<Vec<&str>> =
        vec![vec!["status"], vec!["status", "--json"], vec!["config", "show"], vec!["config", "check"]];
    for name in scene.tokens.keys() {
        pages.extend([format!("/tokens/{name}"), format!("/api/v1/tokens/{name}")]);
        pages.extend([format!("/subjects/{name}"), format!("/api/v1/subjects/{name}")]);
        commands.push(vec!["explain", name]);
    }
    // A secret in the path of a request that somebody mistyped.
    pages.push(format!("/tokens/{}", scene.tokens["odd"]));
    for path in pages {
        let answer = wait_page(daemon, stage, &path);
        // The one who asked knows the path; the answer may not repeat it to the log.
        search.within(&path, if path.contains(&scene.tokens["odd"]) { b"" } else { answer.as_bytes() });
    }
    for arguments in commands {
        search.command(stage, &arguments);
    }
}

fn wait_page(daemon: &Daemon, stage: &Stage, path: &str) -> String {
    assert!(daemon.get("/healthz").is_some());
    get_raw(stage.port, path).expect("an answer")
}

/// A secret in plain text in every place where a hurried person may put one: each configuration is refused at the start and at a reload, and
/// none is quoted.
fn bad_configurations(scene: &Scene, daemon: &Daemon, search: &mut Search) {
    let stage = &scene.stage;
    let good = fs::read_to_string(stage.path("tokenwatch.toml")).expect("a configuration");
    let slip = &scene.slip;
    let relay = "{ url = \"smtp://";
    let own = "secret = { env = \"PLANTED\" }";
    for (what, text) in [
        ("a token as a text", good.replace(own, &format!("secret = \"{slip}\""))),
        ("a token in a list", good.replace(own, &format!("secret = [\"{slip}\"]"))),
        ("a token in a table", good.replace(own, &format!("secret = {{ value = \"{slip}\" }}"))),
        ("a token as a file", good.replace(own, &format!("secret = {{ file = \"{slip}\" }}"))),
        ("a token as a key", good.replace(own, &format!("secret = {{ {slip} = 1 }}"))),
        ("a token as a key of the entry", good.replace(own, &format!("{slip} = 1"))),
        ("a token as a credential", good.replace(own, &format!("secret = {{ credential = \"../{slip}\" }}"))),
        ("a token beside its key", good.replace(own, &format!("{own}\ntoken = \"{slip}\""))),
        ("a token without quotes", good.replace(own, &format!("secret = {slip}"))),
        ("a token without its closing quote", good.replace(own, &format!("secret = \"{slip}"))),
        ("a token as the name", good.replace("name = \"by-env\"", &format!("name = \"{slip}\""))),
        ("a password as a text", good.replace(relay, &format!("{{ password = \"{slip}\", url = \"smtp://"))),
        ("a password in the relay's url", good.replace("smtp://user@", &format!("smtp://user:{slip}@"))),
        ("a password with a hash in the url", good.replace("smtp://user@", &format!("smtp://user:#{slip}@"))),
        ("a password with a slash in the url", good.replace("smtp://user@", &format!("smtp://user:x/{slip}@"))),
        ("a password as an option of the url", good.replace("?tls=required", &format!("?{slip}=1"))),
        ("a password as the option tls", good.replace("?tls=required", &format!("?tls={slip}"))),
        ("a token in the base url", good.replace("base_url = \"http://", &format!("base_url = \"http://x:{slip}@"))),
        ("a token in the base url's query", {
            let base = stage.base_url();
            good.replace(&base, &format!("http://10.1.2.3/?access_token={slip}"))
        }),
        ("a token as a duration", good.replace("check = \"1s\"", &format!("check = \"{slip}\""))),
        ("a token as a receiver", good.replace("receivers = [\"by-env\"]", &format!("receivers = [\"{slip}\"]"))),
    ] {
        assert_ne!(text, good, "{what}: nothing was changed");
        let path = stage.write("bad.toml", &text).display().to_string();
        for arguments in [["config", "check"], ["config", "show"]] {
            let code = search.command(stage, &[&arguments[..], &["--config", &path]].concat());
            if code != 78 {
                search.found.push(format!("{what} is not refused by {arguments:?}"));
            }
        }
        stage.configure(&text);
        let heard = || {
            let log = stage.log();
            log.matches("the old one stays in force").count() + log.matches("the new configuration is in force").count()
        };
        let before = heard();
        daemon.hup();
        wait_until("the reload", PATIENCE, || heard() > before);
    }
    // Slips that are no fault of the form: a name that is a secret is found out only when it is looked up.
    for (what, text) in [
        ("a token as a variable's name", good.replace(own, &format!("secret = {{ env = \"{slip}\" }}"))),
        ("a token as a credential's name", good.replace(own, &format!("secret = {{ credential = \"{slip}\" }}"))),
    ] {
        assert_ne!(text, good, "{what}: nothing was changed");
        let path = stage.write("bad.toml", &text).display().to_string();
        for arguments in [&["config", "check"][..], &["config", "show"], &["check", "by-env"], &["explain", "by-env"]] {
            search.command(stage, &[arguments, &["--config", &path]].concat());
        }
        stage.configure(&text);
        daemon.hup();
    }
    stage.configure(&good);
    daemon.hup();
    wait_until("the good one", PATIENCE, || daemon.metric("tokenwatch_config_last_reload_successful") == Some(1.0));

    // The same by the environment, which every variable can overrule.
    for (name, value) in [
        ("TOKENWATCH__SMTP__RELAYS__0__PASSWORD", slip.clone()),
        ("TOKENWATCH__SMTP__RELAYS__0__URL", format!("smtp://user:{slip}@mail.example.com")),
        ("TOKENWATCH__TOKENS__BY_ENV__SECRET", slip.clone()),
        ("TOKENWATCH__TOKENS__BY_ENV__TOKEN", slip.clone()),
        ("TOKENWATCH__APPS__HELPDESK__SECRET", slip.clone()),
    ] {
        let mut command = Command::new(crate::support::process::TOKENWATCH);
        let command = stage.dress(command.args(["config", "check"])).env(name, value);
        let output = command.output().expect("the binary runs");
        assert_eq!(output.status.code(), Some(78), "{name}");
        search.within(name, &output.stderr);
        search.within(name, &output.stdout);
    }
}

/// The commands that work without a daemon, with a provider that is there, one that is not, and one that quotes.
fn alone(scene: &Scene, search: &mut Search) {
    let stage = &scene.stage;
    let again = |search: &mut Search| {
        for arguments in [
            &["check"][..],
            &["check", "--json"],
            &["check", "--prometheus"],
            &["explain", "by-env"],
            &["explain", "odd"],
        ] {
            search.command(stage, arguments);
        }
    };
    again(search);
    stage.sim().with_world(|world| world.faults.add(Fault::always(Match::Any, FaultKind::MalformedEcho)));
    again(search);
    let good = fs::read_to_string(stage.path("tokenwatch.toml")).expect("a configuration");
    for nobody in
        ["http://127.0.0.1:1", "https://127.0.0.1:1", "http://localhost:1/some/path", "https://nowhere.invalid"]
    {
        stage.configure(&good.replace(&stage.base_url(), nobody));
        again(search);
    }
    // The token itself asks where there is no app: its url is the one that failures like to print.
    stage.configure(&good.replace(&stage.base_url(), "http://127.0.0.1:1").replace("app = \"helpdesk\"\n", ""));
    again(search);
    let env = format!("WHATSAPP_ACCESS_TOKEN={}\nNOTE={}\n", scene.tokens["odd"], scene.slip);
    let path = stage.write("app.env", &env).display().to_string();
    search.command(stage, &["check", "--env-file", &path]);
    stage.write("app.env", &format!("TOKEN={}\n", scene.slip));
    search.command(stage, &["check", "--env-file", &path]);
    stage.configure(&good);
}

/// Every byte in the state folder.
fn state(scene: &Scene, search: &mut Search) {
    let files = fs::read_dir(scene.stage.path("state")).expect("the state folder");
    for path in files.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.is_file()) {
        search.within(&path.display().to_string(), &fs::read(&path).expect("a state file"));
    }
}

/// A daemon with a secret in every place.
struct Scene {
    stage: Stage,
    exim: Exim,
    tokens: HashMap<&'static str, String>,
    app_secret: String,
    wrong_password: String,
    /// A secret that somebody writes where none belongs.
    slip: String,
}

impl Scene {
    fn set(search: &mut Search) -> Self {
        let mut stage = Stage::new();
        let app_secret = random(32, b"0123456789abcdef");
        let password = random(24, LETTERS);
        let wrong_password = random(24, LETTERS);
        let slip = random(40, LETTERS);
        let exim = Exim::start(&password);
        stage.sim().with_world(|world| world.add_app(App::new(APP, "Help desk", &app_secret)));
        // The world mints by rule, so its first tokens are those of every other story; one of a shape that nobody knows is among them.
        let mut tokens: HashMap<&'static str, String> =
            ["by-env", "by-file", "by-credential", "by-env-file"].map(|name| (name, stage.issue_healthy())).into();
        tokens.insert("odd", random(40, LETTERS));

        let credentials = stage.path("credentials");
        fs::create_dir(&credentials).expect("a folder");
        stage.environment.insert("CREDENTIALS_DIRECTORY".to_owned(), credentials.display().to_string());
        stage.environment.insert("PLANTED".to_owned(), tokens["by-env"].clone());
        stage.environment.insert("RUST_LOG".to_owned(), "trace".to_owned());
        stage.write("by-file", &tokens["by-file"]);
        stage.write("credentials/token", &tokens["by-credential"]);
        stage.write("credentials/app", &app_secret);
        stage.write("smtp", &password);
        stage.write_env(&[("TOKEN", &tokens["by-env-file"]), ("ODD", &tokens["odd"])]);

        let entry = |name: &str, secret: &str| {
            format!(
                "[[tokens]]\nname = {name:?}\napp = \"helpdesk\"\nsecret = {{ {secret} }}\nreceivers = [{name:?}]\n\
                 policy = {{ blind_after = \"3s\" }}\n"
            )
        };
        let env = quoted(&stage.path("config.env"));
        let entries = [
            entry("by-env", "env = \"PLANTED\""),
            entry("by-file", &format!("file = {}", quoted(&stage.path("by-file")))),
            entry("by-credential", "credential = \"token\""),
            entry("by-env-file", &format!("env_file = {env}, key = \"TOKEN\"")),
            entry("odd", &format!("env_file = {env}, key = \"ODD\"")),
        ];
        let relay = format!(
            "{{ url = \"smtp://{USER}@127.0.0.1:{}?tls=required\", password = {{ file = {} }}, ca_file = {} }}",
            exim.port,
            quoted(&stage.path("smtp")),
            quoted(&exim.ca_file())
        );
        let of_app = format!("{{ env_file = {env}, key = \"META_APP_SECRET\" }}");
        // A receiver for each, so that none waits for the pace of another.
        let receivers = tokens.keys().map(|name| format!("[receivers.{name}]\nemail = [\"{name}@example.com\"]\n"));
        let rest = receivers.chain(entries).collect::<String>();
        let text = stage.config(&relay, &rest).replace(&of_app, "{ credential = \"app\" }");
        stage.configure(&text);

        for (name, token) in &tokens {
            search.plant(name, token);
        }
        let caller = format!("{APP}|{app_secret}");
        search.plant("the app secret", &app_secret);
        search.plant("the app's proof", &hex(&hmac_sha256(app_secret.as_bytes(), caller.as_bytes())));
        search.plant("the slip", &slip);
        for (what, word) in [("the password", &password), ("the wrong password", &wrong_password)] {
            search.plant(what, word);
            search.plant(what, &base64(format!("\0{USER}\0{word}").as_bytes()));
            search.plant(what, &base64(word.as_bytes()));
        }
        Self { stage, exim, tokens, app_secret, wrong_password, slip }
    }
}

/// Looks for secrets, and for any part of one.
#[derive(Default)]
pub(super) struct Search {
    windows: HashMap<Vec<u8>, String>,
    lengths: Vec<usize>,
    found: Vec<String>,
}

impl Search {
    pub(super) fn plant(&mut self, name: &str, secret: &str) {
        let length = WINDOW.min(secret.len());
        if !self.lengths.contains(&length) {
            self.lengths.push(length);
        }
        for window in secret.as_bytes().windows(length) {
            self.windows.insert(window.to_vec(), name.to_owned());
        }
    }

    pub(super) fn within(&mut self, place: &str, bytes: &[u8]) {
        for length in &self.lengths {
            let hit = bytes.windows(*length).enumerate().find_map(|(at, window)| Some((at, self.windows.get(window)?)));
            if let Some((at, name)) = hit {
                let around = &bytes[at.saturating_sub(90)..(at + 50).min(bytes.len())];
                self.found.push(format!("{name} in {place}: …{}…", String::from_utf8_lossy(around)));
            }
        }
    }

    /// Runs a command, searches what it said, and returns its code.
    pub(super) fn command(&mut self, stage: &Stage, arguments: &[&str]) -> i32 {
        let said = stage.run(arguments);
        self.within(&format!("the output of {arguments:?}"), said.out.as_bytes());
        self.within(&format!("the errors of {arguments:?}"), said.err.as_bytes());
        said.code
    }

    pub(super) fn report(self) {
        assert!(self.found.is_empty(), "{} leaks:\n{}", self.found.len(), self.found.join("\n"));
    }
}

/// Random characters: a secret that no other test knows.
pub(super) fn random(length: usize, alphabet: &[u8]) -> String {
    let mut bytes = vec![0; length];
    getrandom::fill(&mut bytes).expect("the system has randomness");
    bytes.iter().map(|byte| char::from(alphabet[usize::from(*byte) % alphabet.len()])).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// RFC 4648 §4: how a login travels, and so how it would be logged.
pub(super) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().chain([0, 0].iter()).take(3).fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
        for place in 0..4 {
            let letter = char::from(ALPHABET[group >> (18 - 6 * place) & 63]);
            text.push(if place <= chunk.len() { letter } else { '=' });
        }
    }
    text
}

const WINDOW: usize = 12;
pub(super) const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
