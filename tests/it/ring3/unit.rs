//! The shipped unit under a real systemd: started, refused, reloaded, hung, killed and stopped, with what systemd says of each.
//!
//! One machine for all, in the order of a bad week. Its state is on a disk of its own, because a disk that stops answering is an honest way to
//! make the watch loop hang, and nothing else.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tokenwatch::sim::{Fault, FaultKind, Mailbox, Match, Received};
use tokio::time::Instant;

use super::systemd::install_package;
use crate::support::house::{APP, SECRET};
use crate::support::nspawn::Machine;
use crate::support::process::{ADA, Backstage, PATIENCE, get, program, unix_now, wait_for, wait_until};

#[test]
fn a_bad_week_of_the_unit() {
    let week = Week::new();
    week.a_start_that_cannot_succeed_says_why();
    week.a_port_in_use_is_tried_again();
    week.folders_and_credentials();
    week.the_status_and_the_journal_tell_the_story();
    week.a_reload_that_is_refused_fails();
    week.a_crash_costs_nothing();
    week.a_stopped_process_is_ended_by_the_watchdog();
    week.a_loop_that_hangs_is_ended_by_the_watchdog();
    week.a_stop_does_not_wait_for_a_check();
    week.a_stop_does_not_lose_a_renewal();
    week.exposure_is_as_published();
    week.a_user_of_the_moment();
}

struct Week {
    stage: Backstage,
    mailbox: Mailbox,
    disk: Disk,
    machine: Machine,
}

impl Week {
    fn new() -> Self {
        let machine = Machine::boot();
        let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let (graph, smtp) = machine.in_its_network(|| (bind(), bind()));
        let ports = [&graph, &smtp].map(|listener| listener.local_addr().expect("bound").port());
        let (mailbox, _) = Mailbox::new();
        serve(mailbox.clone(), smtp);
        let stage = Backstage::on(graph);
        install_package(&machine);
        let disk = Disk::in_place(&machine, "/var/lib/tokenwatch");
        let token = |issued: i64, ends: i64| {
            stage.sim.with_world(|world| {
                let token = world.issue_long_user(ADA, &[], unix_now() + issued);
                world.set_expiry(&token, Some(unix_now() + ends));
                token
            })
        };
        let (healthy, dead, renewed) = (token(0, 60 * DAY), token(-60 * DAY, -DAY), token(-50 * DAY, 10 * DAY));
        machine.write("/etc/tokenwatch/credentials/healthy", &healthy);
        machine.write("/etc/tokenwatch/credentials/renewal-key", &"5a".repeat(32));
        machine.done(&["chmod", "-R", "go=", "/etc/tokenwatch/credentials"]);
        machine.write("/srv/app/.env", &format!("SECRET={SECRET}\nDEAD={dead}\n"));
        machine.write("/srv/app/renewed", &renewed);
        machine.done(&["chown", "-R", "tokenwatch:", "/srv/app"]);
        let week = Self { stage, mailbox, disk, machine };
        week.configure(&configuration(ports));
        // Restarts so close together would meet systemd's limit of five starts in ten seconds; those of the unit itself never do.
        let drop_in = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nWatchdogSec=9\nRestartSec=1\n\
                       LoadCredential=renewal-key:/etc/tokenwatch/credentials/renewal-key\n";
        week.machine.drop_in("test.conf", drop_in);
        // What the configuration needs from outside of the sandbox, and the key that a renewal would otherwise make itself.
        let printed = week.machine.done(&["tokenwatch", "config", "sandbox"]);
        week.machine.drop_in("sandbox.conf", &printed);
        week
    }

    fn a_start_that_cannot_succeed_says_why(&self) {
        let right = self.configured();
        self.configure(&right.replace("check = \"1s\"", "check = \"sometimes\"\nchekc = \"1s\""));
        let started = self.machine.run(&["systemctl", "start", "tokenwatch"]);
        assert_ne!(started.code, 0);
        assert_eq!(self.show("ActiveState"), "failed", "what does not get better is not tried again");
        assert_eq!((self.show("ExecMainStatus"), self.show("NRestarts")), ("78".to_owned(), "0".to_owned()));
        let status = self.machine.run(&["systemctl", "status", "--no-pager", "tokenwatch"]).out;
        for words in
            ["status=78/CONFIG", "cannot run: the configuration is refused: ", "schedule.check", "(and 1 more)"]
        {
            assert!(status.contains(words), "{words} is not in:\n{status}");
        }
        let errors = self.machine.journal("err");
        for words in ["schedule.check", "did you mean"] {
            assert!(errors.contains(words), "all faults are errors, {words} among them: {errors}");
        }
        self.configure(&right);
    }

    fn a_port_in_use_is_tried_again(&self) {
        let squatter = self.machine.in_its_network(|| TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).expect("free"));
        self.machine.done(&["systemctl", "start", "--no-block", "tokenwatch"]);
        wait_until("the second try", PATIENCE, || self.show("NRestarts") != "0");
        assert_eq!(self.show("ActiveState"), "activating", "it is not active before it listens");
        self.machine.wait_status("cannot run: cannot listen on 127.0.0.1:9847");
        drop(squatter);
        wait_until("a try that succeeds", PATIENCE, || self.show("ActiveState") == "active");
        assert!(self.get("/healthz").is_some(), "what is active listens");
        assert_eq!(self.show("ExecMainStatus"), "0");
    }

    fn folders_and_credentials(&self) {
        let stat = |path: &str| self.machine.done(&["stat", "--format=%U:%G %a", path]).trim().to_owned();
        for (path, expected) in [
            ("/var/lib/tokenwatch", "tokenwatch:tokenwatch 700"),
            ("/var/lib/tokenwatch/tokenwatch.db", "tokenwatch:tokenwatch 600"),
            ("/run/tokenwatch", "tokenwatch:tokenwatch 750"),
            ("/run/tokenwatch/control.sock", "tokenwatch:tokenwatch 660"),
            ("/etc/tokenwatch", "root:tokenwatch 750"),
        ] {
            assert_eq!(stat(path), expected, "{path}");
        }
        let credential = "/run/credentials/tokenwatch.service/healthy";
        let reads = |user: &str| self.machine.run(&["runuser", "-u", user, "--", "cat", credential]).code == 0;
        assert!(reads("tokenwatch") && !reads("nobody"), "a credential is the daemon's alone");
        self.wait_metric("tokenwatch_token_verdict{token=\"healthy\",verdict=\"healthy\"}", 1.0);
    }

    fn the_status_and_the_journal_tell_the_story(&self) {
        let mail = wait_for("a mail about the dead token", PATIENCE, || self.told_of_the_end().pop());
        assert!(mail.text.contains("expired"), "{}", mail.text);
        self.machine.wait_status("watching 2 tokens, 1 critical: dead (expired), nearest deadline in ");
        let status = self.machine.done(&["systemctl", "status", "--no-pager", "tokenwatch"]);
        assert!(status.contains("Status: \"watching 2 tokens, 1 critical: dead (expired)"), "{status}");

        self.stage.sim.with_world(|world| world.faults.add(Fault::always(Match::Any, FaultKind::Empty500)));
        wait_until("a failure in the journal", PATIENCE, || {
            self.machine.journal("warning").contains("the check failed")
        });
        self.stage.sim.with_world(|world| world.faults.clear());
        let warnings = self.machine.journal("warning");
        assert!(!warnings.contains("\"level\":\"INFO\"") && !warnings.contains("<4>"), "{warnings}");
        assert!(self.machine.journal("info").contains("\"message\":\"watching\""));
    }

    fn a_reload_that_is_refused_fails(&self) {
        let (right, pid) = (self.configured(), self.show("MainPID"));
        let reload = || self.machine.run(&["systemctl", "reload", "tokenwatch"]);
        let more = format!("{right}[[tokens]]\nname = \"more\"\nsecret = {{ credential = \"healthy\" }}\n");
        self.configure(&more);
        let reloaded = reload();
        assert_eq!(reloaded.code, 0, "{}", reloaded.err);
        self.machine.wait_status("watching 3 tokens");

        self.configure(&more.replace("check = \"1s\"", "check = \"never\""));
        let refused = reload();
        assert_ne!(refused.code, 0, "whoever reloads learns that it was in vain");
        wait_until("the fault in the journal", PATIENCE, || {
            self.machine.journal("err").contains("the old one stays in force")
        });
        self.machine.wait_status("watching 3 tokens");
        self.machine.wait_status("; the new configuration was refused, the old one is in force");
        self.wait_metric("tokenwatch_config_last_reload_successful", 0.0);
        assert_eq!((self.show("ActiveState"), self.show("MainPID")), ("active".to_owned(), pid.clone()));

        self.configure(&right);
        assert_eq!(reload().code, 0);
        self.wait_metric("tokenwatch_config_last_reload_successful", 1.0);
        self.machine.wait_status("watching 2 tokens");
        assert_eq!(self.show("MainPID"), pid);
    }

    fn a_crash_costs_nothing(&self) {
        let restarts = || self.machine.journal("info").matches("Scheduled restart job").count();
        let before = restarts();
        self.comes_back(|pid| _ = self.machine.done(&["kill", "-KILL", pid]));
        assert_eq!(restarts(), before + 1);
    }

    fn a_stopped_process_is_ended_by_the_watchdog(&self) {
        let before = self.watchdogs();
        let began = Instant::now();
        self.comes_back(|pid| {
            self.machine.done(&["kill", "-STOP", pid]);
            wait_until("the watchdog", PATIENCE, || self.watchdogs() > before);
        });
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
        assert!(self.machine.journal("info").contains("status=6/ABRT"), "{}", self.machine.journal("info"));
    }

    /// The disk stops answering: the loop waits for its commit, and everything else goes on.
    fn a_loop_that_hangs_is_ended_by_the_watchdog(&self) {
        let before = self.watchdogs();
        self.comes_back(|_| {
            let frozen = self.disk.freeze(&self.machine);
            self.machine.wait_status("the watch loop hangs since ");
            assert!(self.get("/healthz").is_some(), "the process itself answers");
            wait_until("the watchdog", PATIENCE, || self.watchdogs() > before);
            // Nobody can end a process that waits for a disk, before the disk answers.
            drop(frozen);
        });
        assert!(self.machine.journal("err").contains("the watch loop hangs since "));
    }

    /// The provider would be waited for for a minute.
    fn a_stop_does_not_wait_for_a_check(&self) {
        self.stage.sim.with_world(|world| world.faults.add(Fault::always(Match::Any, FaultKind::Hang)));
        let asked = || self.stage.sim.requests().get("/debug_token").copied().unwrap_or_default();
        let before = asked();
        wait_until("a check to hang", PATIENCE, || asked() > before);
        self.stops();
        self.stage.sim.with_world(|world| world.faults.clear());
        self.machine.done(&["systemctl", "start", "tokenwatch"]);
    }

    fn a_stop_does_not_lose_a_renewal(&self) {
        let right = self.configured();
        // The application does not answer yet.
        self.configure(&format!("{right}{}", RENEWED.replace("APPLICATION", &APPLICATION.to_string())));
        let printed = self.machine.done(&["tokenwatch", "config", "sandbox"]);
        assert!(printed.contains("ReadWritePaths=/srv/app\n"), "{printed}");
        self.machine.drop_in("sandbox.conf", &printed);
        let old = self.machine.done(&["cat", "/srv/app/renewed"]);
        self.machine.done(&["systemctl", "restart", "tokenwatch"]);
        wait_until("the new token to be in place", PATIENCE, || self.machine.done(&["cat", "/srv/app/renewed"]) != old);
        self.stops();
        let application =
            self.machine.in_its_network(|| TcpListener::bind((Ipv4Addr::LOCALHOST, APPLICATION)).expect("free"));
        std::thread::spawn(move || {
            use std::io::{Read as _, Write as _};
            for mut stream in application.incoming().flatten() {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
        });
        self.machine.done(&["systemctl", "start", "tokenwatch"]);
        self.wait_metric("tokenwatch_renewals_total{outcome=\"renewed\"}", 1.0);
        assert_ne!(self.machine.done(&["cat", "/srv/app/renewed"]), old);
        let exchanges = self.stage.sim.requests().get("/oauth/access_token").copied().unwrap_or_default();
        assert_eq!(exchanges, 1, "the run went on; another did not begin");
        let files = self.machine.done(&["ls", "/var/lib/tokenwatch"]);
        assert!(!files.contains("renewal.key"), "the key is the credential: {files}");
    }

    /// What the documents say of it.
    fn exposure_is_as_published(&self) {
        let exposure = || {
            let said = self.machine.done(&["systemd-analyze", "security", "--no-pager", "tokenwatch.service"]);
            let line = said.lines().rev().find(|line| line.contains("Overall exposure level")).expect("a verdict");
            let number = line.split_whitespace().find(|word| word.parse::<f64>().is_ok());
            number.expect("a number").to_owned()
        };
        let with = exposure();
        // Files of another user, and a port of the system's: the most that is ever printed.
        let most = "[Service]\nCapabilityBoundingSet=CAP_CHOWN CAP_FOWNER CAP_NET_BIND_SERVICE\n\
                    AmbientCapabilities=CAP_CHOWN CAP_FOWNER CAP_NET_BIND_SERVICE\nPrivateUsers=no\nSystemCallFilter=@chown\n";
        self.machine.drop_in("zz-most.conf", most);
        let most = exposure();
        self.machine.done(&["rm", "/etc/systemd/system/tokenwatch.service.d/zz-most.conf"]);
        self.machine.done(&["rm", "/etc/systemd/system/tokenwatch.service.d/sandbox.conf"]);
        self.machine.done(&["systemctl", "daemon-reload"]);
        let plain = exposure();
        let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/systemd.md")).expect("a page");
        for (what, number) in [
            ("as it is shipped", plain.clone()),
            ("with folders and credentials", with),
            ("with every capability", most),
        ] {
            let row = page.lines().find(|line| line.contains(what)).expect("a row of the table");
            assert!(row.contains(&format!("| {number} |")), "docs/systemd.md says otherwise than {number}: {row}");
        }
        let policy = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("SECURITY.md")).expect("a page");
        assert!(policy.contains(&format!("rates it {plain}")), "SECURITY.md says otherwise than {plain}");
    }

    /// `DynamicUser=yes`, as docs/systemd.md has it.
    fn a_user_of_the_moment(&self) {
        self.stops();
        self.machine.done(&["umount", "/var/lib/tokenwatch"]);
        for words in [
            "userdel tokenwatch",
            "chmod 755 /etc/tokenwatch /etc/tokenwatch/conf.d",
            "rm -rf /var/lib/tokenwatch /run/tokenwatch",
            "chmod 644 /etc/tokenwatch/tokenwatch.toml",
        ] {
            self.machine.done(&words.split(' ').collect::<Vec<_>>());
        }
        let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/systemd.md")).expect("a page");
        let (_, rest) = page.split_once("[Service]\nDynamicUser=yes\n").expect("the drop-in");
        let (lines, _) = rest.split_once("```").expect("its end");
        self.machine.drop_in("dynamic.conf", &format!("[Service]\nDynamicUser=yes\n{lines}"));
        let text = self.configured();
        let (_, graph) = text.split_once("[provider.meta]\n").expect("the provider");
        let graph = graph.lines().next().expect("where it is");
        let token = "[[tokens]]\nname = \"healthy\"\nsecret = { credential = \"healthy\" }\n";
        self.configure_for("root", &format!("[provider.meta]\n{graph}\n[receivers.default]\n{token}"));
        self.machine.drop_in("token.conf", "[Service]\nLoadCredential=healthy:/etc/tokenwatch/credentials/healthy\n");
        let started = self.machine.run(&["systemctl", "start", "tokenwatch"]);
        assert_eq!(started.code, 0, "{}", self.machine.journal("info"));
        let uid: u32 = self
            .machine
            .done(&["stat", "--format=%u", "/var/lib/private/tokenwatch/tokenwatch.db"])
            .trim()
            .parse()
            .expect("a number");
        assert!((61_184..=65_519).contains(&uid), "{uid} is none of those that systemd gives for a moment");
        let status = self.machine.run(&["tokenwatch", "status"]);
        assert_eq!(status.code, 0, "{}", status.err);
        assert!(status.out.contains("healthy"), "{}", status.out);
    }

    /// What happens to the daemon ends it, and systemd starts another; nobody is told twice of what is still so.
    fn comes_back(&self, happens: impl FnOnce(&str)) {
        let (pid, told) = (self.show("MainPID"), self.told_of_the_end().len());
        let answered = self.metric("tokenwatch_token_verdict{token=\"dead\",verdict=\"expired\"}");
        assert_eq!(answered, Some(1.0));
        happens(&pid);
        wait_until("another process", PATIENCE, || {
            self.show("ActiveState") == "active" && ![pid.as_str(), "0"].contains(&self.show("MainPID").as_str())
        });
        // Two passes of the new one.
        self.wait_metric("tokenwatch_token_verdict{token=\"dead\",verdict=\"expired\"}", 1.0);
        let pass = || self.metric("tokenwatch_last_pass_timestamp_seconds");
        let first = wait_for("a pass", PATIENCE, pass);
        wait_until("another pass", PATIENCE, || pass().is_some_and(|at| at > first));
        assert_eq!(self.told_of_the_end().len(), told, "nobody is told twice");
    }

    /// Stops within what the configuration allows, by itself and not by being killed.
    fn stops(&self) {
        let began = Instant::now();
        self.machine.done(&["systemctl", "stop", "tokenwatch"]);
        assert!(began.elapsed() < Duration::from_secs(3 * GRACE + 10), "{:?}", began.elapsed());
        assert_eq!((self.show("ActiveState"), self.show("Result")), ("inactive".to_owned(), "success".to_owned()));
    }

    fn configure(&self, text: &str) {
        self.configure_for("tokenwatch", text);
    }

    fn configure_for(&self, group: &str, text: &str) {
        self.machine.write("/etc/tokenwatch/tokenwatch.toml", text);
        self.machine.done(&["chgrp", group, "/etc/tokenwatch/tokenwatch.toml"]);
    }

    fn configured(&self) -> String {
        self.machine.done(&["cat", "/etc/tokenwatch/tokenwatch.toml"])
    }

    fn show(&self, property: &str) -> String {
        self.machine.show("tokenwatch", property)
    }

    fn watchdogs(&self) -> usize {
        self.machine.journal("info").matches("Watchdog timeout (limit 9s)").count()
    }

    fn get(&self, path: &str) -> Option<(u16, String)> {
        self.machine.in_its_network(|| get(PORT, path))
    }

    fn metric(&self, series: &str) -> Option<f64> {
        let (_, text) = self.get("/metrics")?;
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?.trim().parse().ok()
    }

    fn wait_metric(&self, series: &str, value: f64) {
        wait_until(series, PATIENCE, || self.metric(series) == Some(value));
    }

    fn told_of_the_end(&self) -> Vec<Received> {
        let about = |mail: &Received| mail.header("Subject").is_some_and(|subject| subject.contains("dead"));
        self.mailbox.mails().into_iter().filter(about).collect()
    }
}

/// Two tokens, one of them dead, and a mail for it.
fn configuration([graph, smtp]: [u16; 2]) -> String {
    format!(
        "[daemon]\nlisten = \"127.0.0.1:{PORT}\"\ngrace = \"{GRACE}s\"\n[schedule]\ncheck = \"1s\"\n[policy]\nrepeat = \"0s\"\n\
         [provider.meta]\nbase_url = \"http://127.0.0.1:{graph}\"\ntimeout = \"60s\"\n\
         [smtp]\nfrom = \"tokenwatch@example.com\"\nrelays = [{{ url = \"smtp://127.0.0.1:{smtp}?tls=none\" }}]\n\
         [receivers.default]\nemail = [\"oncall@example.com\"]\n\
         [apps.helpdesk]\nid = \"{APP}\"\nsecret = {{ env_file = \"/srv/app/.env\", key = \"SECRET\" }}\n\
         [[tokens]]\nname = \"healthy\"\napp = \"helpdesk\"\nsecret = {{ credential = \"healthy\" }}\n\
         [[tokens]]\nname = \"dead\"\napp = \"helpdesk\"\nsecret = {{ env_file = \"/srv/app/.env\", key = \"DEAD\" }}\n"
    )
}

fn serve(mailbox: Mailbox, listener: TcpListener) {
    listener.set_nonblocking(true).expect("a socket");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            mailbox.serve(tokio::net::TcpListener::from_std(listener).expect("a listener")).await;
        });
    });
}

/// A disk of its own for one folder of the machine.
struct Disk {
    device: String,
    folder: &'static str,
    _image: TempDir,
}

impl Disk {
    fn in_place(machine: &Machine, folder: &'static str) -> Self {
        let image = tempfile::tempdir().expect("a temporary folder");
        let path = image.path().join("image");
        File::create(&path).and_then(|file| file.set_len(64 << 20)).expect("an empty image");
        run(Command::new(program(&["mkfs.ext4"])).arg("-q").arg(&path));
        let device = run(Command::new(program(&["losetup"])).args(["--find", "--show"]).arg(&path));
        let disk = Self { device: device.trim().to_owned(), folder, _image: image };
        let number = run(Command::new(program(&["stat"])).args(["--format=%Hr %Lr", &disk.device]));
        let (major, minor) = number.trim().split_once(' ').expect("two numbers");
        machine.done(&["mknod", "/dev/disk", "b", major, minor]);
        machine.done(&["mkdir", "-p", folder]);
        machine.done(&["mount", "/dev/disk", folder]);
        machine.done(&["rmdir", &format!("{folder}/lost+found")]);
        disk
    }

    /// It takes nothing more until the answer is dropped.
    fn freeze<'a>(&'a self, machine: &'a Machine) -> Frozen<'a> {
        machine.done(&["fsfreeze", "--freeze", self.folder]);
        Frozen { disk: self, machine }
    }
}

impl Drop for Disk {
    /// The device goes when the machine has let go of it.
    fn drop(&mut self) {
        let _ = Command::new(program(&["losetup"])).args(["--detach", &self.device]).status();
    }
}

struct Frozen<'a> {
    disk: &'a Disk,
    machine: &'a Machine,
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        self.machine.run(&["fsfreeze", "--unfreeze", self.disk.folder]);
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("a program of the system");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const DAY: i64 = 86_400;
const PORT: u16 = 9847;
/// Where the application answers.
const APPLICATION: u16 = 5000;
/// `daemon.grace`, in seconds.
const GRACE: u64 = 2;
const RENEWED: &str = r#"
[[tokens]]
name = "renewed"
app = "helpdesk"
secret = { file = "/srv/app/renewed" }
[tokens.renew]
before = "20d"
publish = [{ file = "/srv/app/renewed" }]
confirm = { http = "http://127.0.0.1:APPLICATION/", within = "10m" }
"#;
