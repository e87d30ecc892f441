//! A real mail server for one test: Exim, unprivileged, on a port of its own, with STARTTLS and a login, delivering into a Maildir.
//!
//! Where it is missing the test fails and says what to do; it is never skipped.

use std::fs::{self, File, OpenOptions};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{getgid, getuid};
use tempfile::TempDir;

use super::process::{PATIENCE, free_port, program, quoted, wait_for, wait_until};

/// The user that may send, and nobody else may.
pub const USER: &str = "user";

/// A mail server.
pub struct Exim {
    /// Where it listens, while it is open.
    pub port: u16,
    folder: TempDir,
    owner: Owner,
    running: Option<Child>,
}

/// Who runs the server: the user of the test, or nobody when that is root.
#[derive(Clone, Copy)]
pub(super) struct Owner {
    user: u32,
    group: u32,
    lowered: bool,
}

impl Exim {
    /// A server that is up, and takes mail from `user` with this password over TLS only.
    pub fn start(password: &str) -> Self {
        let mut server = Self::closed(password);
        server.open();
        server
    }

    /// The same server, not started yet.
    pub fn closed(password: &str) -> Self {
        Self::made(password, true)
    }

    /// A server that offers neither STARTTLS nor a login, and takes mail from everyone.
    pub fn start_without_tls() -> Self {
        let mut server = Self::made("", false);
        server.open();
        server
    }

    fn made(password: &str, tls: bool) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let owner = Owner::choose();
        let server = Self { port: free_port(), folder, owner, running: None };
        certify(server.folder.path());
        server.write("e.conf", &server.config(password, tls));
        server.write("password", &format!("{password}\n"));
        owner.give(server.folder.path(), 0o755);
        server
    }

    /// Starts it, and waits until it greets.
    pub fn open(&mut self) {
        let mut command = self.owner.command(&program(&["exim4", "exim"]));
        let log: File =
            OpenOptions::new().create(true).append(true).open(self.folder.path().join("log")).expect("a log file");
        let errors = log.try_clone().expect("a log file");
        let command = command.arg("-C").arg(self.folder.path().join("e.conf")).arg("-bdf");
        let child = command.stdin(Stdio::null()).stdout(log).stderr(errors).current_dir(self.folder.path()).spawn();
        self.running = Some(child.expect("exim starts"));
        wait_until("exim to listen", PATIENCE, || {
            let ended = self.running.as_mut().and_then(|child| child.try_wait().ok().flatten());
            assert!(ended.is_none(), "exim ended at once: {}", self.log());
            TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok()
        });
    }

    /// Stops it; what it delivered stays, and it can be opened again.
    pub fn close(&mut self) {
        if let Some(mut child) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The relay as an inline table of the configuration: TLS required, its own authority trusted, the login by password file.
    pub fn relay(&self) -> String {
        self.relay_at(self.port)
    }

    /// The same, reached by another port.
    pub fn relay_at(&self, port: u16) -> String {
        let (ca, password) = (quoted(&self.ca_file()), quoted(&self.folder.path().join("password")));
        format!(
            "{{ url = \"smtp://{USER}@127.0.0.1:{port}?tls=required\", password = {{ file = {password} }}, ca_file = {ca} }}"
        )
    }

    /// The authority that signed its certificate.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// What it logged.
    pub fn log(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        read("log") + &read("mainlog") + &read("paniclog")
    }

    /// Every mail that arrived, oldest first.
    pub fn mails(&self) -> Vec<Letter> {
        let Ok(entries) = fs::read_dir(self.folder.path().join("Maildir/new")) else { return Vec::new() };
        let mut files: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
        // A name begins with the second, a fraction and the process of the delivery.
        files.sort();
        files.iter().filter_map(|file| fs::read(file).ok()).map(|bytes| Letter::new(&bytes)).collect()
    }

    /// How many mails arrived.
    pub fn count(&self) -> usize {
        fs::read_dir(self.folder.path().join("Maildir/new")).map_or(0, Iterator::count)
    }

    /// Waits for a mail.
    pub fn wait_mail(&self, what: &str, wanted: impl Fn(&Letter) -> bool) -> Letter {
        wait_for(&format!("a mail: {what}"), PATIENCE, || self.mails().into_iter().find(&wanted))
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).expect("a file is written");
    }

    fn config(&self, password: &str, tls: bool) -> String {
        let folder = self.folder.path().display();
        let (port, Owner { user, group, .. }) = (self.port, self.owner);
        let (tls_hosts, must_log_in) = if tls {
            ("*", "deny !authenticated = *\n       message = authentication required")
        } else {
            ("", "accept")
        };
        format!(
            r"keep_environment =
exim_user = {user}
exim_group = {group}
primary_hostname = localhost
spool_directory = {folder}/spool
log_file_path = {folder}/%slog
daemon_smtp_ports = {port}
local_interfaces = 127.0.0.1
smtp_accept_max = 100
unknown_login = test
tls_advertise_hosts = {tls_hosts}
tls_certificate = {folder}/srv.pem
tls_privatekey = {folder}/srv.key
auth_advertise_hosts = ${{if eq{{$tls_in_cipher}}{{}}{{}}{{*}}}}
acl_smtp_rcpt = rcpt
acl_smtp_data = data
begin acl
rcpt:
  {must_log_in}
  deny local_parts = unknown
       message = unknown user
  defer local_parts = tempfail
  accept
data:
  accept
begin routers
all:
  driver = accept
  transport = md
begin transports
md:
  driver = appendfile
  maildir_format
  directory = {folder}/Maildir
  create_directory
  envelope_to_add
  return_path_add
  user = {user}
  group = {group}
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_condition = ${{if and{{{{eq{{$auth2}}{{{USER}}}}}{{eq{{$auth3}}{{{password}}}}}}}}}
  server_set_id = $auth2
"
        )
    }
}

impl Drop for Exim {
    fn drop(&mut self) {
        self.close();
    }
}

impl Owner {
    pub(super) fn choose() -> Self {
        let lowered = getuid().is_root();
        let (user, group) = if lowered { (NOBODY, NOBODY) } else { (getuid().as_raw(), getgid().as_raw()) };
        Self { user, group, lowered }
    }

    /// A program as that user.
    pub(super) fn command(self, program_file: &Path) -> Command {
        if !self.lowered {
            return Command::new(program_file);
        }
        let Self { user, group, .. } = self;
        let mut command = Command::new(program(&["setpriv"]));
        command.args([format!("--reuid={user}"), format!("--regid={group}"), "--clear-groups".to_owned()]);
        command.arg(program_file);
        command
    }

    /// Hands a folder and what is in it to whoever runs the server.
    pub(super) fn give(self, folder: &Path, mode: u32) {
        fs::set_permissions(folder, fs::Permissions::from_mode(mode)).expect("a folder of ours");
        if self.lowered {
            let files =
                fs::read_dir(folder).expect("a folder of ours").filter_map(Result::ok).map(|entry| entry.path());
            for path in files.chain([folder.to_owned()]) {
                chown(&path, Some(self.user), Some(self.group)).expect("root may give files away");
            }
        }
    }
}

/// A mail as it lies in the Maildir.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Every byte of it.
    pub raw: String,
}

impl Letter {
    fn new(bytes: &[u8]) -> Self {
        Self { raw: String::from_utf8_lossy(bytes).replace("\r\n", "\n") }
    }

    /// The values of a header, unfolded.
    pub fn headers(&self, name: &str) -> Vec<String> {
        let head = self.raw.split("\n\n").next().unwrap_or_default().replace("\n ", " ").replace("\n\t", " ");
        let named = head.lines().filter_map(|line| line.split_once(": "));
        named.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).collect()
    }

    /// The first value of a header; empty when there is none.
    pub fn header(&self, name: &str) -> String {
        self.headers(name).into_iter().next().unwrap_or_default()
    }

    /// The subject.
    pub fn subject(&self) -> String {
        self.header("Subject")
    }

    /// Whether it is about this token (or app) and this finding, told for this reason: `first`, `escalated`, `resolved`.
    pub fn tells(&self, subject: &str, finding: &str, why: &str) -> bool {
        let mut subjects = self.headers("X-Tokenwatch-Token");
        subjects.extend(self.headers("X-Tokenwatch-App"));
        let said = |name: &str, value: &str| self.headers(name).iter().any(|known| known == value);
        subjects.iter().any(|known| known == subject)
            && said("X-Tokenwatch-Finding", finding)
            && said("X-Tokenwatch-Notice", why)
    }

    /// The whole with quoted-printable taken off, as a reader sees it.
    pub fn decoded(&self) -> String {
        let mut out = Vec::with_capacity(self.raw.len());
        let mut rest = self.raw.as_bytes();
        while let Some((first, tail)) = rest.split_first() {
            let hex = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok());
            rest = match (first, tail.first(), hex.and_then(|two| u8::from_str_radix(two, 16).ok())) {
                (b'=', Some(b'\n'), _) => &tail[1..],
                (b'=', _, Some(byte)) => {
                    out.push(byte);
                    &tail[2..]
                }
                _ => {
                    out.push(*first);
                    tail
                }
            };
        }
        String::from_utf8_lossy(&out).into_owned()
    }
}

/// Makes an authority of the test's own, and a certificate of it for this machine.
pub(super) fn certify(folder: &Path) {
    let openssl = program(&["openssl"]);
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let names = "subjectAltName=DNS:localhost,IP:127.0.0.1";
    let authority = ["-days", "30", "-subj", "/CN=TestCA", "-keyout", "ca.key", "-out", "ca.pem"];
    let request = ["-subj", "/CN=localhost", "-addext", names, "-keyout", "srv.key", "-out", "srv.csr"];
    let sign = ["-req", "-in", "srv.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "5"];
    let signed = ["-copy_extensions", "copy", "-out", "srv.pem"];
    for arguments in [
        [&["req", "-x509"][..], &curve, &authority].concat(),
        [&["req"][..], &curve, &request].concat(),
        [&["x509"][..], &sign, &signed].concat(),
    ] {
        let output = Command::new(&openssl).args(&arguments).current_dir(folder).output().expect("openssl runs");
        assert!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// The user nobody, everywhere.
const NOBODY: u32 = 65_534;
