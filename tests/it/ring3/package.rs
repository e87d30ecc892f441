//! The Debian package from its installation to its end, on a clean Debian: the words that are run are those of the README and of docs/install.md.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use crate::support::exim::{Exim, USER};
use crate::support::nspawn::Machine;
use crate::support::process::{PATIENCE, Stage, TOKENWATCH, get, program, unix_now, wait_for, wait_until};

#[test]
fn from_the_installation_to_the_purge() {
    let journey = Journey::begin();
    let before = journey.files();
    journey.install();
    let mut exim = Exim::start(PASSWORD);
    journey.configure(&exim);
    journey.start();
    journey.expire(&exim);
    journey.upgrade(&mut exim);
    journey.restart(&exim);
    journey.remove_and_install_again(&exim);
    journey.purge(&before);
}

/// Of errors and warnings there are none; what is overridden says why.
#[test]
fn lintian_has_nothing_to_say() {
    let said = Command::new(program(&["lintian"]))
        .args(["--no-cfg", "--allow-root", "--tag-display-limit=0", "--fail-on=error,warning"])
        .arg(package())
        .output()
        .expect("lintian runs");
    let words = String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{words}");
}

#[test]
fn everything_is_where_a_debian_looks_for_it() {
    let listed = done(Command::new(program(&["dpkg-deb"])).arg("--contents").arg(package()));
    let files: BTreeSet<&str> = listed.lines().filter_map(|line| line.split_whitespace().nth(5)).collect();
    for file in [
        "./etc/tokenwatch/tokenwatch.toml.example",
        "./usr/lib/sysusers.d/tokenwatch.conf",
        "./usr/lib/tmpfiles.d/tokenwatch.conf",
        "./usr/share/bash-completion/completions/tokenwatch",
        "./usr/share/zsh/vendor-completions/_tokenwatch",
        "./usr/share/fish/vendor_completions.d/tokenwatch.fish",
        "./usr/share/man/man1/tokenwatch.1.gz",
        "./usr/share/man/man5/tokenwatch.toml.5.gz",
        "./usr/share/tokenwatch/prometheus/rules/tokenwatch-recording.yml",
        "./usr/share/tokenwatch/alertmanager/templates/tokenwatch.tmpl",
        "./usr/share/tokenwatch/grafana/dashboards/tokenwatch.json",
        "./usr/share/doc/tokenwatch/README.md",
        "./usr/share/doc/tokenwatch/docs/install.md",
        "./usr/share/doc/tokenwatch/examples/50-tokenwatch.rules",
    ] {
        assert!(files.contains(file), "{file} is not in {listed}");
    }
    // A rule that is in force would let the daemon restart units that nobody named.
    assert!(!listed.contains("polkit-1"), "{listed}");
    assert!(
        files.contains("./lib/systemd/system/tokenwatch.service")
            || files.contains("./usr/lib/systemd/system/tokenwatch.service")
    );
    assert_eq!(field("Version"), env!("CARGO_PKG_VERSION"));
    let needed = field("Depends");
    for name in ["libc6 (>=", "systemd-sysusers"] {
        assert!(needed.contains(name), "{needed}");
    }
}

/// One machine, its provider, and an application with two tokens.
struct Journey {
    machine: Machine,
    stage: Stage,
    tokens: [String; 2],
}

impl Journey {
    fn begin() -> Self {
        let (stage, machine) = (Stage::new(), Machine::boot_bare());
        let journey = Self { tokens: [stage.issue_healthy(), stage.issue_healthy()], machine, stage };
        journey.write_env(&journey.tokens[0], &journey.tokens[1]);
        journey.machine.done(&["chmod", "600", ENV_FILE]);
        // What is left behind is looked for, and at midnight this writes into /var/backups.
        journey.machine.done(&["systemctl", "disable", "--now", "--quiet", "dpkg-db-backup.timer"]);
        // Nobody is there to press a key.
        journey.machine.write("/etc/apt/apt.conf.d/99test", "APT::Get::Assume-Yes \"true\";\n");
        journey.hand_over(&package());
        journey
    }

    /// Enabled, and neither running nor failed: there is nothing to watch yet.
    fn install(&self) {
        self.say("sudo apt install");
        assert_eq!(self.ask("systemctl is-enabled tokenwatch"), "enabled");
        for _ in 0..2 {
            assert_eq!(self.ask("systemctl is-active tokenwatch"), "inactive");
            assert_eq!(self.ask("systemctl --failed --no-legend"), "");
            self.shell("systemctl start tokenwatch");
        }
        assert_eq!(
            self.ask("stat --format=%a:%U:%G /etc/tokenwatch /etc/tokenwatch/conf.d"),
            "750:root:tokenwatch\n750:root:tokenwatch"
        );
        assert_eq!(self.ask("stat --format=%a:%U:%G /etc/tokenwatch/tokenwatch.toml.example"), "644:root:root");
        assert!(self.ask("getent passwd tokenwatch").ends_with(":/var/lib/tokenwatch:/usr/sbin/nologin"));
    }

    /// By the README's commands; what is edited is what `init` says.
    fn configure(&self, exim: &Exim) {
        let said = self.say("sudo tokenwatch init");
        assert!(said.contains("to edit, each marked with"), "{said}");
        assert_eq!(self.ask("stat --format=%a:%U:%G /etc/tokenwatch/tokenwatch.toml"), "640:root:tokenwatch");
        self.edit(exim);
        self.say("sudo setfacl");
        self.shell(&format!("printf '%s\\n' '{PASSWORD}' | {}", command("sudo install -D")));
        // What is left to an editor.
        command("sudo systemctl edit tokenwatch");
        let line = sentence("LoadCredential=");
        self.machine.write(DROP_IN, &format!("[Service]\n{line}\n"));
        self.shell("systemctl daemon-reload");
        self.say("sudo tokenwatch config check");
    }

    /// Does what the README leaves to an editor.
    fn edit(&self, exim: &Exim) {
        assert_eq!(command("sudoedit"), format!("sudoedit {CONFIG}"));
        self.machine.copy(&exim.ca_file(), "/etc/tokenwatch/relay.pem");
        let relay = format!(
            "relays = [{{ url = \"smtp://{USER}@127.0.0.1:{}?tls=required\", password = {{ credential = \"smtp-password\" }}, \
             ca_file = \"/etc/tokenwatch/relay.pem\" }}]\nretry = \"2s\"",
            exim.port
        );
        let listen = format!("listen = \"127.0.0.1:{}\"", self.stage.port);
        let mut edited = String::new();
        let mut left = vec![
            ("relays", relay.as_str()),
            ("listen", &listen),
            ("check", "check = \"1s\""),
            ("digest", "digest = \"\""),
        ];
        for line in self.machine.read(CONFIG).lines() {
            let key = line.split_whitespace().next().unwrap_or_default();
            let wanted = left.iter().position(|(name, _)| *name == key).map(|at| left.remove(at).1);
            edited.push_str(&format!("{}\n", wanted.unwrap_or(line)));
        }
        assert!(left.is_empty(), "not found: {left:?} in {edited}");
        edited.push_str(&format!("[provider.meta]\nbase_url = \"{}\"\n", self.stage.base_url()));
        self.machine.write(CONFIG, &edited);
    }

    fn start(&self) {
        self.say("sudo systemctl start");
        assert_eq!(self.ask("systemctl is-active tokenwatch"), "active");
        assert_eq!(self.ask("stat --format=%a:%U /var/lib/tokenwatch"), "700:tokenwatch");
        wait_until("the first pass", PATIENCE, || {
            get(self.stage.port, "/readyz").is_some_and(|(status, _)| status == 200)
        });
        let said = self.say("sudo tokenwatch status");
        assert_eq!(said.matches("healthy").count(), 2, "{said}");
        wait_until("the status to tell of the first pass", PATIENCE, || {
            self.machine.show("tokenwatch", "StatusText").starts_with("watching 2 tokens")
        });
    }

    fn expire(&self, exim: &Exim) {
        self.end(&self.tokens[0]);
        let mail = exim.wait_mail("the first has expired", |mail| {
            mail.tells(FIRST, "expired", "first") || mail.tells(FIRST, "expired", "escalated")
        });
        assert!(mail.subject().starts_with("[tokenwatch] CRITICAL"), "{}", mail.subject());
        assert_eq!(told(exim), 1);
    }

    /// While the relay is down and a notice waits. What the administrator changed stays, what was said is not said again, what waits is not lost.
    fn upgrade(&self, exim: &mut Exim) {
        exim.close();
        self.end(&self.tokens[1]);
        wait_until("a notice that waits", PATIENCE, || self.status()["outbox_pending"] == 1);
        let (config, lives, incident) = (self.machine.read(CONFIG), self.invocation(), self.incident(FIRST));
        let example = self.machine.read(EXAMPLE) + "# This is ours.\n";
        self.machine.write(EXAMPLE, &example);
        self.hand_over(&repacked());
        let commands = block(&docs("install.md"), "## Upgrade");
        for command in &commands {
            self.shell(command);
        }
        assert!(commands.len() >= 2, "{commands:?}");
        let installed = self.ask("dpkg-query --show --showformat='${Version} ${Status}' tokenwatch");
        assert_eq!(installed, format!("{NEWER} install ok installed"));
        assert_eq!(self.machine.read(CONFIG), config);
        assert_eq!(self.machine.read(EXAMPLE), example);
        assert!(self.machine.read(&format!("{EXAMPLE}.dpkg-dist")).contains("In the newer version"));
        assert_ne!(self.invocation(), lives, "it was restarted");
        assert_eq!(self.ask("systemctl is-active tokenwatch"), "active");

        assert_eq!(self.incident(FIRST), incident, "it is the same incident");
        exim.open();
        exim.wait_mail("the second has expired", |mail| mail.headers("X-Tokenwatch-Token") == [SECOND]);
        self.passes();
        assert_eq!(told(exim), 2, "each was told once");
    }

    fn restart(&self, exim: &Exim) {
        let (lives, incident) = (self.invocation(), self.incident(FIRST));
        self.shell("systemctl restart tokenwatch");
        assert_ne!(self.invocation(), lives);
        self.passes();
        assert_eq!(self.incident(FIRST), incident);
        // Mails leave in their order, so nothing was said between the last one and this.
        self.write_env(&self.stage.issue_healthy(), &self.tokens[1]);
        exim.wait_mail("the first works again", |mail| mail.tells(FIRST, "expired", "resolved"));
        assert_eq!(told(exim), 3);
    }

    /// Configuration and state outlive a removal, and with them the daemon knows where it was.
    fn remove_and_install_again(&self, exim: &Exim) {
        let incident = self.incident(SECOND);
        let ways = block(&docs("install.md"), "## Remove and purge");
        assert_eq!(ways.len(), 2, "{ways:?}");
        self.shell(&ways[0]);
        assert!(get(self.stage.port, "/healthz").is_none(), "it was stopped");
        assert_eq!(self.ask("command -v tokenwatch || echo gone"), "gone");
        assert_eq!(self.ask("ls /etc/tokenwatch/tokenwatch.toml /var/lib/tokenwatch/tokenwatch.db").lines().count(), 2);
        self.shell(&command("sudo apt install"));
        assert_eq!(self.ask("systemctl is-active tokenwatch"), "active", "it starts where it was configured already");
        self.passes();
        assert_eq!(self.incident(SECOND), incident);
        self.write_env(&self.stage.issue_healthy(), &self.stage.issue_healthy());
        exim.wait_mail("the second works again", |mail| mail.tells(SECOND, "expired", "resolved"));
        assert_eq!(told(exim), 4);
    }

    /// Nothing of ours is left, and nothing of others is gone.
    fn purge(&self, before: &BTreeSet<String>) {
        let env_file = self.machine.read(ENV_FILE);
        let ways = block(&docs("install.md"), "## Remove and purge");
        self.shell(&ways[1]);
        assert_eq!(self.machine.read(ENV_FILE), env_file);
        assert_eq!(self.ask("ls -d /run/tokenwatch 2>/dev/null || echo gone"), "gone");
        assert!(
            self.ask("getent passwd tokenwatch").contains("/var/lib/tokenwatch"),
            "numbers of users are not used again"
        );
        assert!(
            self.ask("getfacl --absolute-names /srv/itsm/backend/config.env").contains("user:tokenwatch:r--"),
            "not ours to take"
        );
        let after = self.files();
        let kept = |file: &&String| !LEFT.iter().any(|place| file.starts_with(place));
        assert_eq!(after.difference(before).filter(kept).collect::<Vec<_>>(), Vec::<&String>::new(), "left behind");
        assert_eq!(before.difference(&after).filter(kept).collect::<Vec<_>>(), Vec::<&String>::new(), "gone");
    }

    /// What `make dist` leaves in the checkout: one package.
    fn hand_over(&self, package: &Path) {
        self.ask("rm -f target/dist/*.deb");
        let name = package.file_name().expect("a name").to_string_lossy();
        self.machine.copy(package, &format!("{CHECKOUT}/target/dist/{name}"));
    }

    /// The README's command that begins with these words, as it stands there.
    fn say(&self, words: &str) -> String {
        self.shell(&command(words))
    }

    /// A line of the documents, run as root in a folder that looks like a checkout; it must succeed.
    fn shell(&self, line: &str) -> String {
        let said = self.machine.run(&["sh", "-c", &self.dressed(line)]);
        assert_eq!(said.code, 0, "{line}: {}{}{}", said.out, said.err, self.machine.journal("info"));
        said.out + &said.err
    }

    /// What a command prints, however it ends.
    fn ask(&self, line: &str) -> String {
        self.machine.run(&["sh", "-c", &self.dressed(line)]).out.trim().to_owned()
    }

    /// The provider is simulated, and root needs no sudo.
    fn dressed(&self, line: &str) -> String {
        format!(
            "cd {CHECKOUT}; sudo() {{ \"$@\"; }}; export TOKENWATCH__PROVIDER__META__BASE_URL={} DEBIAN_FRONTEND=noninteractive; {line}",
            self.stage.base_url()
        )
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.ask("tokenwatch status --json")).unwrap_or_default()
    }

    /// The incident of a token that has expired: its number, and when it began and was told.
    fn incident(&self, token: &str) -> [Value; 3] {
        let found = wait_for(&format!("the incident of {token}"), PATIENCE, || {
            let (_, text) = get(self.stage.port, &format!("/api/v1/subjects/{token}"))?;
            let subject: Value = serde_json::from_str(&text).ok()?;
            let mut incidents = subject["history"]["incidents"].as_array()?.iter();
            incidents.find(|incident| incident["finding"] == "expired" && incident["told_at"].is_i64()).cloned()
        });
        ["number", "began_at", "told_at"].map(|key| found[key].clone())
    }

    fn invocation(&self) -> String {
        self.machine.show("tokenwatch", "InvocationID")
    }

    /// Lets the daemon look at both tokens three times more.
    fn passes(&self) {
        let checks = || {
            let (_, text) = get(self.stage.port, "/metrics")?;
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("tokenwatch_checks_total{provider=\"meta\"} "))?
                .to_owned();
            line.parse::<f64>().ok()
        };
        let from = wait_for("the metrics", PATIENCE, checks);
        wait_until("three passes", PATIENCE, || checks().is_some_and(|now| now >= from + 6.0));
    }

    fn end(&self, token: &str) {
        self.stage.sim().with_world(|world| world.set_expiry(token, Some(unix_now() - 1)));
    }

    fn write_env(&self, first: &str, second: &str) {
        let text = format!(
            "META_APP_ID={}\nMETA_APP_SECRET={}\nWHATSAPP_ACCESS_TOKEN={first}\nMETA_ACCESS_TOKEN={second}\n",
            crate::support::house::APP,
            crate::support::house::SECRET
        );
        self.machine.write(ENV_FILE, &text);
    }

    /// Every file of the machine, but of what lives in memory.
    fn files(&self) -> BTreeSet<String> {
        self.machine.done(&["find", "/", "-xdev"]).lines().map(str::to_owned).collect()
    }
}

/// How many mails about tokens arrived.
fn told(exim: &Exim) -> usize {
    exim.mails().iter().filter(|mail| !mail.headers("X-Tokenwatch-Token").is_empty()).count()
}

/// The package of the binary under test, made once, by the script that `make dist` calls.
fn package() -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("package");
        let _ = fs::remove_dir_all(&out);
        let script = root().join("deploy/dist/package.sh");
        let said = done(Command::new(script).args([Path::new(TOKENWATCH), &out]).envs(QUICKLY));
        PathBuf::from(said.trim())
    });
    made.clone()
}

/// The same package with a higher version and another example, as the next release may have one.
fn repacked() -> PathBuf {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("package");
    let (tree, newer) = (out.join("tree"), out.join(format!("tokenwatch_{NEWER}_amd64.deb")));
    let deb = program(&["dpkg-deb"]);
    done(Command::new(&deb).arg("--raw-extract").args([package(), tree.clone()]));
    let change = |file: &str, from: &str, to: &str| {
        let path = tree.join(file);
        let text = fs::read_to_string(&path).expect("a file of the package");
        assert!(text.contains(from), "{file}: {text}");
        fs::write(&path, text.replacen(from, to, 1)).expect("it is written");
    };
    change("DEBIAN/control", &format!("Version: {}\n", env!("CARGO_PKG_VERSION")), &format!("Version: {NEWER}\n"));
    change(EXAMPLE.trim_start_matches('/'), "# tokenwatch:", "# In the newer version:");
    done(Command::new(&deb).args(["--root-owner-group", "--build"]).args([&tree, &newer]).envs(QUICKLY));
    newer
}

fn field(name: &str) -> String {
    done(Command::new(program(&["dpkg-deb"])).arg("--field").arg(package()).arg(name)).trim().to_owned()
}

fn done(command: &mut Command) -> String {
    let said = command.output().expect("it runs");
    assert!(said.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8_lossy(&said.stdout).into_owned()
}

/// The one command of the README's block that begins with these words, without its comment.
fn command(words: &str) -> String {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    let commands = block(&readme, "Then let the daemon do it");
    let mut found = commands.iter().filter(|command| command.starts_with(words));
    let first = found.next();
    assert!(first.is_some(), "the README has no command {words:?}: {commands:?}");
    assert!(found.next().is_none() || words == "sudo tokenwatch", "{words:?} begins several: {commands:?}");
    first.cloned().unwrap_or_default()
}

/// What stands in the README between backticks and begins with these words.
fn sentence(words: &str) -> String {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md").replace('\n', " ");
    let found = readme.split('`').find(|part| part.starts_with(words)).map(str::to_owned);
    assert!(found.is_some(), "the README does not say {words}");
    found.unwrap_or_default()
}

/// The commands of the first indented block after a line that begins so.
fn block(text: &str, after: &str) -> Vec<String> {
    let lines = text.lines().skip_while(|line| !line.starts_with(after)).skip_while(|line| !line.starts_with("    "));
    let lines = lines.take_while(|line| line.starts_with("    "));
    let commands: Vec<String> =
        lines.map(|line| line.split(" # ").next().unwrap_or_default().trim().to_owned()).collect();
    assert!(!commands.is_empty(), "there is no block after {after:?}");
    commands
}

fn docs(name: &str) -> String {
    fs::read_to_string(root().join("docs").join(name)).expect("a document")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where the README's commands are run.
const CHECKOUT: &str = "/srv/checkout";
const ENV_FILE: &str = "/srv/itsm/backend/config.env";
const CONFIG: &str = "/etc/tokenwatch/tokenwatch.toml";
const EXAMPLE: &str = "/etc/tokenwatch/tokenwatch.toml.example";
const DROP_IN: &str = "/etc/systemd/system/tokenwatch.service.d/relay.conf";
/// What `init` calls the tokens of the env file.
const FIRST: &str = "whatsapp-access-token";
const SECOND: &str = "meta-access-token";
const PASSWORD: &str = "swordfish";
/// A version above ours, whatever ours is.
const NEWER: &str = concat!(env!("CARGO_PKG_VERSION"), "+1");
/// Packing well takes longer than all the rest.
const QUICKLY: [(&str, &str); 2] = [("DPKG_DEB_COMPRESSOR_TYPE", "gzip"), ("DPKG_DEB_COMPRESSOR_LEVEL", "1")];
/// What is not ours: what dpkg, apt and systemd keep for themselves, and what the administrator of this story wrote.
const LEFT: [&str; 6] = [
    "/var/lib/dpkg/",
    "/var/lib/apt/",
    "/var/cache/apt/",
    "/var/log/",
    "/etc/systemd/system/tokenwatch.service.d",
    "/srv/",
];
