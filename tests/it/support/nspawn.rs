//! A machine of its own with systemd, D-Bus and polkit: a small Debian, booted in namespaces. What is changed in it is gone when it is off.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tempfile::TempDir;
use tokio::time::Instant;

use super::process::{PATIENCE, Said, TOKENWATCH, program, wait_for};

/// Where a person adds to tokenwatch's unit.
const DROP_INS: &str = "/etc/systemd/system/tokenwatch.service.d";

/// It runs until it is dropped.
pub struct Machine {
    nspawn: Child,
    /// The process id that its first process has out here.
    leader: i32,
    /// Keeps what it says while it boots.
    folder: TempDir,
}

impl Machine {
    /// Boots it, with the binary under test in `/usr/bin` and no way out.
    pub fn boot() -> Self {
        Self::boot_with(&[&format!("--bind-ro={TOKENWATCH}:/usr/bin/tokenwatch"), "--private-network"])
    }

    /// Boots it as it comes from Debian, without the binary; it reaches what the test started on this host's loopback.
    pub fn boot_bare() -> Self {
        Self::boot_with(&[])
    }

    fn boot_with(options: &[&str]) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/root");
        assert!(root.join("usr/lib/systemd/systemd").exists(), "{} is not there; run tests/tools.sh", root.display());
        assert!(rustix::process::geteuid().is_root(), "only root can boot a machine with systemd-nspawn");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let log = || File::options().create(true).append(true).open(folder.path().join("log")).expect("a log");
        let name =
            folder.path().file_name().expect("a name").to_string_lossy().replace(|c: char| !c.is_alphanumeric(), "");
        // A session of its own: no terminal, and no signal that is meant for the tests.
        let nspawn = Command::new(program(&["setsid"]))
            .arg(program(&["systemd-nspawn"]))
            .arg(format!("--directory={}", root.display()))
            .arg(format!("--machine=test{name}"))
            .args(options)
            .args(["--register=no", "--keep-unit", "--console=pipe", "--volatile=overlay", "--boot"])
            .stdin(Stdio::null())
            .stdout(log())
            .stderr(log())
            .spawn()
            .expect("setsid runs");
        let mut machine = Self { nspawn, leader: 0, folder };
        // systemd-nspawn has another child before the one that stays, so it is looked again each time.
        wait_for("systemd to have booted", PATIENCE, || {
            let ended = machine.nspawn.try_wait().expect("a child");
            assert!(ended.is_none(), "systemd-nspawn cannot boot here ({ended:?}): {}", machine.log());
            let id = machine.nspawn.id();
            let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?;
            machine.leader = children.split_whitespace().next()?.parse().ok()?;
            let state = machine.run(&["systemctl", "is-system-running"]).out;
            ["running", "degraded"].contains(&state.trim()).then_some(())
        });
        machine
    }

    /// The address of its system bus.
    pub fn bus(&self) -> String {
        format!("unix:path={}", self.path("/run/dbus/system_bus_socket").display())
    }

    /// The words that run the command behind them inside, as root.
    pub fn inside(&self) -> String {
        format!("{} --target {} --all --", program(&["nsenter"]).display(), self.leader)
    }

    /// Runs a command inside, as root.
    pub fn run(&self, words: &[&str]) -> Said {
        let output = Command::new(program(&["nsenter"]))
            .args(["--target", &self.leader.to_string(), "--all", "--"])
            .args(words)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .output()
            .expect("nsenter runs");
        Said {
            code: output.status.code().unwrap_or_else(|| -output.status.signal().unwrap_or(1)),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The same, and it must succeed.
    pub fn done(&self, words: &[&str]) -> String {
        let said = self.run(words);
        assert_eq!(said.code, 0, "{words:?}: {}{}", said.out, said.err);
        said.out
    }

    /// Writes a file inside.
    pub fn write(&self, path: &str, text: &str) {
        let place = self.path(path);
        fs::create_dir_all(place.parent().expect("a folder")).expect("a folder is made");
        fs::write(&place, text).expect("a file is written");
    }

    /// Copies a file into it.
    pub fn copy(&self, from: &Path, path: &str) {
        let place = self.path(path);
        fs::create_dir_all(place.parent().expect("a folder")).expect("a folder is made");
        fs::copy(from, &place).expect("a file is copied");
    }

    /// Reads a file inside.
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).expect("a file inside")
    }

    /// A property of a unit, as `systemctl show` prints it.
    pub fn show(&self, unit: &str, property: &str) -> String {
        self.done(&["systemctl", "show", "--value", "--property", property, unit]).trim().to_owned()
    }

    /// Waits until the status of tokenwatch's unit has these words.
    pub fn wait_status(&self, words: &str) {
        let mut last = String::new();
        let end = Instant::now() + PATIENCE;
        while !last.contains(words) {
            assert!(Instant::now() < end, "{words:?} is not in the status {last:?}\n{}", self.journal("info"));
            std::thread::sleep(Duration::from_millis(50));
            last = self.show("tokenwatch", "StatusText");
        }
    }

    /// What tokenwatch wrote to the journal, from this priority on.
    pub fn journal(&self, priority: &str) -> String {
        self.done(&["journalctl", "--no-pager", "--output=cat", "--unit=tokenwatch", "--priority", priority])
    }

    /// Adds to tokenwatch's unit, or changes what was added.
    pub fn drop_in(&self, name: &str, text: &str) {
        self.write(&format!("{DROP_INS}/{name}"), text);
        self.done(&["systemctl", "daemon-reload"]);
    }

    /// Takes away what was added to tokenwatch's unit.
    pub fn as_shipped(&self) {
        self.done(&["rm", "-rf", DROP_INS]);
        self.done(&["systemctl", "daemon-reload"]);
    }

    /// Does some work in its network: what is bound there is reached from inside, and what listens inside is reached.
    pub fn in_its_network<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let network = File::open(format!("/proc/{}/ns/net", self.leader)).expect("its network");
        // A thread is in one network for good, so it is one that ends.
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                let only = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(network.as_fd(), only).expect("root may enter its network");
                work()
            });
            worker.join().expect("the work is done")
        })
    }

    /// Where a path inside is found from out here.
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.leader))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Machine {
    /// Powers it off. systemd-nspawn itself is never killed: the machine would go on without it.
    fn drop(&mut self) {
        if self.leader != 0 {
            self.run(&["systemctl", "poweroff"]);
        }
        for tenth in 0..300 {
            if self.nspawn.try_wait().is_ok_and(|ended| ended.is_some()) {
                return;
            }
            if tenth == 200
                && let Some(leader) = Pid::from_raw(self.leader)
            {
                let _ = kill_process(leader, Signal::KILL);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}
