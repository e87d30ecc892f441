//! `config sandbox`: what this configuration needs from outside of the unit's sandbox, as files ready to be installed.
//!
//! It looks at the files that are to be written and changes nothing. What it prints is the least that works, and each line says why.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::settings::Settings;
use crate::settings::delivery::{Confirm, Delivery, Restart, Sink, VaultLogin};
use crate::settings::value::{SecretRef, SqlPlace};

/// The files that are to be installed for these settings.
pub fn render(settings: &Settings) -> String {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let group = fs::read_to_string("/etc/group").unwrap_or_default();
    Needs::of(settings, User::find(&passwd, &group).as_ref()).render()
}

/// What the sandbox must leave open.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Needs {
    /// Folders that are written to, with what is written there.
    folders: BTreeMap<PathBuf, String>,
    /// Credentials by name.
    credentials: BTreeSet<String>,
    /// Units that are restarted.
    units: BTreeSet<String>,
    /// Whether any command is run.
    runs_commands: bool,
    /// Files whose replacement must be given to somebody else.
    foreign: BTreeSet<PathBuf>,
    /// Files of other users: their mode can only be set with a capability.
    owned_by_others: BTreeSet<PathBuf>,
    /// What the user may not read or write, and why.
    closed: BTreeMap<PathBuf, &'static str>,
    /// What could not be looked at.
    unknown: BTreeSet<PathBuf>,
    /// Whether the user is there already.
    has_user: bool,
}

/// The user that the unit runs as.
#[derive(Clone, PartialEq, Eq, Debug)]
struct User {
    uid: u32,
    gid: u32,
    groups: BTreeSet<u32>,
}

impl User {
    fn find(passwd: &str, group: &str) -> Option<Self> {
        let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
        let entry = passwd.lines().map(fields).find(|entry| entry.first().is_some_and(|name| name == USER))?;
        let (uid, gid) = (entry.get(2)?.parse().ok()?, entry.get(3)?.parse().ok()?);
        let is_in =
            |entry: &Vec<String>| entry.get(3).is_some_and(|members| members.split(',').any(|name| name == USER));
        let groups = group.lines().map(fields).filter(is_in).filter_map(|entry| entry.get(2)?.parse().ok());
        Some(Self { uid, gid, groups: groups.chain([gid]).collect() })
    }

    /// Whether the mode lets the user do what these bits (of `rwx`) say.
    fn may(&self, bits: u32, file: &Metadata) -> bool {
        let shift = match () {
            () if file.uid() == self.uid => 6,
            () if self.groups.contains(&file.gid()) => 3,
            () => 0,
        };
        (file.mode() >> shift) & bits == bits
    }
}

impl Needs {
    fn of(settings: &Settings, user: Option<&User>) -> Self {
        let mut needs = Self { has_user: user.is_some(), ..Self::default() };
        for secret in secrets(settings) {
            if let SecretRef::Credential(name) = secret {
                needs.credentials.insert(name.to_string());
            }
        }
        for delivery in deliveries(settings) {
            for sink in &delivery.publish {
                match sink {
                    Sink::EnvFile { path, .. } | Sink::File(path) => needs.replace(path, user),
                    Sink::Sql(sql) => {
                        if let SqlPlace::Sqlite(path) = &sql.place {
                            needs.write(path, user);
                        }
                    }
                    Sink::Vault(_) => {}
                    Sink::Run(_) => needs.runs_commands = true,
                }
            }
            match &delivery.restart {
                Some(Restart::Systemd { unit, .. }) => _ = needs.units.insert(unit.to_string()),
                Some(Restart::Run(_)) => needs.runs_commands = true,
                None => {}
            }
            needs.runs_commands |= matches!(delivery.confirm, Some(Confirm::Run(_)));
        }
        needs
    }

    /// A file that is replaced: a new one is made beside it, is given what the old one has, and takes its place.
    fn replace(&mut self, path: &Path, user: Option<&User>) {
        self.folder_of(path, user);
        let (Ok(file), Some(user)) = (fs::metadata(path), user) else {
            self.unknown.insert(path.to_owned());
            return;
        };
        if !user.may(READ, &file) {
            self.closed.insert(path.to_owned(), "cannot be read");
        }
        if (file.uid(), file.gid()) != (user.uid, user.gid) {
            self.foreign.insert(path.to_owned());
        }
        if file.uid() != user.uid {
            self.owned_by_others.insert(path.to_owned());
        }
    }

    /// A file that is written in its place, with others beside it: a database.
    fn write(&mut self, path: &Path, user: Option<&User>) {
        self.folder_of(path, user);
        match (fs::metadata(path), user) {
            (Ok(file), Some(user)) if !user.may(READ | WRITE, &file) => {
                self.closed.insert(path.to_owned(), "cannot be written to");
            }
            (Ok(_), Some(_)) => {}
            _ => _ = self.unknown.insert(path.to_owned()),
        }
    }

    /// The folder as it is named, and where a link leads.
    fn folder_of(&mut self, path: &Path, user: Option<&User>) {
        let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        for path in [path, &whole] {
            let Some(folder) = path.parent() else { continue };
            let real = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
            if let (Ok(found), Some(user)) = (fs::metadata(&real), user)
                && path == whole
            {
                if !user.may(WRITE | SEARCH, &found) {
                    self.closed.insert(real.clone(), "cannot be written to");
                }
                for above in real.ancestors().skip(1) {
                    if fs::metadata(above).is_ok_and(|above| !user.may(SEARCH, &above)) {
                        self.closed.insert(above.to_owned(), "cannot be entered");
                    }
                }
            }
            if !OPEN.iter().any(|open| folder.starts_with(open)) {
                self.folders.entry(folder.to_owned()).or_insert_with(|| path.display().to_string());
            }
        }
    }

    fn render(&self) -> String {
        let drop_in = self.drop_in();
        let mut files = Vec::new();
        if !drop_in.is_empty() {
            let restart = "systemctl daemon-reload && systemctl restart tokenwatch";
            files.push(format!("# {DROP_IN}\n# After it is written: {restart}\n\n[Service]\n{drop_in}"));
        }
        if !self.units.is_empty() {
            files.push(self.rule());
        }
        if files.is_empty() {
            return "# This configuration needs nothing from outside of the unit's sandbox.\n".to_owned();
        }
        files.join("\n")
    }

    fn drop_in(&self) -> String {
        let mut text = String::new();
        self.folders(&mut text);
        self.rights(&mut text);
        if !self.credentials.is_empty() {
            text.push_str(
                "# Each credential is a file that only root can read, such as: install -m 600 /dev/stdin PATH\n",
            );
            for name in &self.credentials {
                text.push_str(&format!("LoadCredential={}:/etc/tokenwatch/credentials/{}\n", plain(name), plain(name)));
            }
        }
        if self.runs_commands {
            text.push_str(COMMANDS);
        }
        text
    }

    fn folders(&self, text: &mut String) {
        if !self.folders.is_empty() {
            text.push_str("# A file is replaced by a new one beside it, so its folder is written to. It must be there when the unit starts,\n");
            text.push_str("# and where its path has a link, the unit is to be restarted when the link changes.\n");
        }
        for (folder, file) in &self.folders {
            text.push_str(&format!("# For {}\n", plain(file)));
            // The unit has folders of its own in these places, so the real one is brought in.
            let is_private = ["/tmp", "/var/tmp"].iter().any(|private| folder.starts_with(private));
            let key = if is_private { "BindPaths" } else { "ReadWritePaths" };
            text.push_str(&format!("{key}={}\n", path(folder)));
        }
    }

    fn rights(&self, text: &mut String) {
        for unknown in &self.unknown {
            let why = if self.has_user { "is not there yet, or cannot be seen from here" } else { "was not looked at" };
            text.push_str(&format!("# {} {why}: whether it needs more is not known.\n", shown(unknown)));
        }
        if !self.has_user && !self.unknown.is_empty() {
            text.push_str(&format!("# There is no user {USER} yet; run this again when there is.\n"));
        }
        if !self.closed.is_empty() {
            text.push_str(&format!(
                "# The user {USER} has no access here. Give it, by a group or an access list (setfacl -m u:{USER}:…):\n"
            ));
        }
        for (closed, why) in &self.closed {
            text.push_str(&format!("#   {} {why}\n", shown(closed)));
        }
        let mut capabilities = Vec::new();
        if !self.foreign.is_empty() {
            capabilities.push("CAP_CHOWN");
        }
        if !self.owned_by_others.is_empty() {
            capabilities.push("CAP_FOWNER");
        }
        if !self.closed.is_empty() {
            let note = if capabilities.is_empty() { "CAP_DAC_OVERRIDE" } else { "CAP_DAC_OVERRIDE beside those below" };
            text.push_str(&format!("# or, which opens every file of the machine to it, {note}.\n"));
        }
        if capabilities.is_empty() {
            return;
        }
        for foreign in &self.foreign {
            text.push_str(&format!(
                "# {} belongs to another user or group, and so must its replacement.\n",
                shown(foreign)
            ));
        }
        let all = capabilities.join(" ");
        text.push_str("# Capabilities do not reach the files of others from a user namespace of the unit's own, so it cannot have one.\n");
        text.push_str(&format!(
            "CapabilityBoundingSet={all}\nAmbientCapabilities={all}\nPrivateUsers=no\nSystemCallFilter=@chown\n"
        ));
    }

    fn rule(&self) -> String {
        let units: Vec<String> =
            self.units.iter().map(|unit| serde_json::Value::from(unit.as_str()).to_string()).collect();
        let note = "// Takes effect as soon as it is written; polkitd must be able to read it (mode 0644).";
        let template = include_str!("../../systemd/polkit-1/rules.d/50-tokenwatch.rules");
        let rule = template.lines().skip_while(|line| line.starts_with("//")).collect::<Vec<_>>().join("\n");
        format!("// {RULE}\n{note}\n{}\n", rule.replace(TEMPLATE_UNITS, &units.join(", ")))
    }
}

fn deliveries(settings: &Settings) -> impl Iterator<Item = &Delivery> {
    let tokens = settings.tokens.iter();
    tokens.flat_map(|token| {
        let renew = token.renew.as_ref().map(|renew| &*renew.delivery);
        renew.into_iter().chain(token.replace.as_deref())
    })
}

/// Every place of a secret in the configuration.
fn secrets(settings: &Settings) -> Vec<&SecretRef> {
    use crate::settings::Login;
    let mut all: Vec<&SecretRef> = settings.tokens.iter().map(|token| &token.secret).collect();
    all.extend(settings.apps.values().filter_map(|app| app.secret.as_ref()));
    all.extend(settings.smtp.iter().flat_map(|smtp| &smtp.relays).filter_map(|relay| relay.password.as_ref()));
    for receiver in settings.receivers.values() {
        all.extend(receiver.webhook.as_ref().and_then(|webhook| webhook.secret.as_ref()));
        match receiver.alertmanager.as_ref().and_then(|alertmanager| alertmanager.login.as_ref()) {
            Some(Login::Basic { password, .. }) => all.push(password),
            Some(Login::Bearer(token)) => all.push(token),
            None => {}
        }
    }
    for sink in deliveries(settings).flat_map(|delivery| &delivery.publish) {
        match sink {
            Sink::Sql(sql) => all.extend(sql.password.as_ref()),
            Sink::Vault(vault) => all.push(match &vault.login {
                VaultLogin::Token(token) => token,
                VaultLogin::AppRole { secret_id, .. } => secret_id,
            }),
            Sink::EnvFile { .. } | Sink::File(_) | Sink::Run(_) => {}
        }
    }
    all
}

/// A path as a unit file writes it: quoted, and with its specifiers escaped.
fn path(path: &Path) -> String {
    let text = plain(&path.display().to_string()).replace('%', "%%");
    if text.contains([' ', '"', '\'', '\\']) {
        return format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    }
    text
}

fn shown(path: &Path) -> String {
    plain(&path.display().to_string())
}

/// On one line: what is configured must not become a line of its own.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

const USER: &str = "tokenwatch";
const DROP_IN: &str = "/etc/systemd/system/tokenwatch.service.d/renewal.conf";
const RULE: &str = "/etc/polkit-1/rules.d/50-tokenwatch.rules";
/// The units in the rule as it is shipped.
const TEMPLATE_UNITS: &str = "\"example.service\"";
/// Where the unit may write as it is.
const OPEN: [&str; 2] = ["/var/lib/tokenwatch", "/run/tokenwatch"];
const READ: u32 = 4;
const WRITE: u32 = 2;
const SEARCH: u32 = 1;
/// What is inherited by commands.
const COMMANDS: &str = "\
# Commands run inside of the sandbox, as the same user: no sudo, and nothing is written outside of the folders above.
# One that needs memory that is both written and executed, as Node.js does, needs the next line too:
# MemoryDenyWriteExecute=no
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_needed_is_said_so() {
        let text = Needs::default().render();
        assert_eq!(text, "# This configuration needs nothing from outside of the unit's sandbox.\n");
    }

    #[test]
    fn each_need_has_its_line() {
        let needs = Needs {
            folders: [
                ("/srv/app".into(), "/srv/app/.env".into()),
                ("/tmp/app".into(), "/tmp/app/token".into()),
                ("/srv/a b/100%".into(), "/srv/a b/100%/token".into()),
            ]
            .into(),
            credentials: ["smtp-password".to_owned()].into(),
            units: ["app.service".to_owned(), "x\\x2dy.service".to_owned()].into(),
            runs_commands: true,
            has_user: true,
            ..Needs::default()
        };
        let text = needs.render();
        for line in [
            "# /etc/systemd/system/tokenwatch.service.d/renewal.conf",
            "[Service]",
            "ReadWritePaths=/srv/app",
            "BindPaths=/tmp/app",
            "ReadWritePaths=\"/srv/a b/100%%\"",
            "LoadCredential=smtp-password:/etc/tokenwatch/credentials/smtp-password",
            "# MemoryDenyWriteExecute=no",
            "// /etc/polkit-1/rules.d/50-tokenwatch.rules",
            "    var units = [\"app.service\", \"x\\\\x2dy.service\"];",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        for word in ["CAP_", "PrivateUsers", "example.service", "@chown"] {
            assert!(!text.contains(word), "{word} is in\n{text}");
        }
    }

    #[test]
    fn files_are_looked_at() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (file, link) = (folder.path().join("token"), folder.path().join("link"));
        fs::write(&file, "x").expect("a file");
        std::os::unix::fs::symlink(&file, &link).expect("a link");
        let owner = fs::metadata(&file).expect("a file");
        let user = |uid: u32, gid: u32| User { uid, gid, groups: [gid].into() };

        let mut own = Needs { has_user: true, ..Needs::default() };
        own.replace(&link, Some(&user(owner.uid(), owner.gid())));
        assert!(own.foreign.is_empty() && own.closed.is_empty() && own.unknown.is_empty(), "{own:?}");
        assert!(own.folders.contains_key(folder.path()));

        let mut other = Needs { has_user: true, ..Needs::default() };
        other.replace(&file, Some(&user(owner.uid() + 1, owner.gid() + 1)));
        assert_eq!(other.foreign, [file.clone()].into());
        assert_eq!(
            other.closed.get(folder.path()),
            Some(&"cannot be written to"),
            "a temporary folder is its owner's alone"
        );
        let text = other.render();
        for line in ["AmbientCapabilities=CAP_CHOWN CAP_FOWNER", "PrivateUsers=no", "SystemCallFilter=@chown"] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }

        let mut group = Needs { has_user: true, ..Needs::default() };
        group.replace(&file, Some(&user(owner.uid(), owner.gid() + 1)));
        assert!(group.render().contains("AmbientCapabilities=CAP_CHOWN\n"), "{group:?}");

        let mut nobody = Needs::default();
        nobody.replace(&file, None);
        assert!(nobody.render().contains("There is no user tokenwatch yet"), "{nobody:?}");
    }

    #[test]
    fn users_are_found() {
        let passwd = "root:x:0:0::/root:/bin/sh\ntokenwatch:x:990:989::/var/lib/tokenwatch:/usr/sbin/nologin\n";
        let group = "app:x:1000:alice,tokenwatch\nother:x:1001:nottokenwatch\n";
        let user = User { uid: 990, gid: 989, groups: [989, 1000].into() };
        assert_eq!(User::find(passwd, group), Some(user));
        assert_eq!(User::find("root:x:0:0::/:/bin/sh\n", group), None);
    }
}
