//! `config sandbox`: what this configuration needs from outside of the unit's sandbox, as files ready to be installed.
//!
//! It looks at the files that are to be read and written and changes nothing. What it prints is the least that works, and each line says why.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::access::User;
use crate::daemon::lifecycle;
use crate::settings::delivery::{Command, Confirm, Delivery, Restart, Sink, VaultLogin};
use crate::settings::value::{SecretRef, SqlPlace};
use crate::settings::{Provider, Settings, layers, web_file};

/// The files that are to be installed for these settings, which stand in that file.
pub fn render(settings: &Settings, config: &Path) -> String {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let group = fs::read_to_string("/etc/group").unwrap_or_default();
    let user = User::find(USER, &passwd, &group);
    let mut needs = Needs::of(settings, user.as_ref());
    needs.configuration(config, user.as_ref());
    needs.render()
}

/// What the sandbox must leave open.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Needs {
    /// Folders that are written to, with what is written there.
    folders: BTreeMap<PathBuf, String>,
    /// Folders that are read and that the unit has of its own, with what is read there.
    brought_in: BTreeMap<PathBuf, String>,
    /// The configuration, where it is not the usual one.
    config: Option<PathBuf>,
    /// Credentials by name.
    credentials: BTreeSet<String>,
    /// Variables of the environment.
    variables: BTreeSet<String>,
    /// Addresses that only a capability may listen on.
    low_ports: Vec<SocketAddr>,
    /// How many files are open at once, where the unit allows fewer.
    open_files: Option<u64>,
    /// How many seconds a stop may take, where the unit allows fewer.
    stop: Option<i64>,
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

impl Needs {
    fn of(settings: &Settings, user: Option<&User>) -> Self {
        let mut needs = Self { has_user: user.is_some(), ..Self::default() };
        needs.daemon(settings, user);
        for secret in secrets(settings) {
            match secret {
                SecretRef::Credential(name) => _ = needs.credentials.insert(name.to_string()),
                SecretRef::Env(name) => _ = needs.variables.insert(name.to_string()),
                SecretRef::File(path) | SecretRef::EnvFile { path, .. } => needs.read(path, user),
                SecretRef::Nowhere => {}
            }
        }
        for path in authorities(settings) {
            needs.read(path, user);
        }
        for sink in sinks(settings) {
            match sink {
                Sink::EnvFile { path, .. } | Sink::File(path) => needs.replace(path, user),
                Sink::Sql(sql) => match &sql.place {
                    SqlPlace::Sqlite(path) => needs.write(path, user),
                    // A socket, by its folder.
                    SqlPlace::Postgres { host, .. } => needs.bring_in(Path::new(host), host),
                },
                Sink::Vault(_) => {}
                Sink::Run(command) => needs.command(command),
            }
        }
        for delivery in deliveries(settings) {
            match &delivery.restart {
                Some(Restart::Systemd { unit, .. }) => _ = needs.units.insert(unit.to_string()),
                Some(Restart::Run(command)) => needs.command(command),
                None => {}
            }
            if let Some(Confirm::Run(command)) = &delivery.confirm {
                needs.command(command);
            }
        }
        needs
    }

    /// The process itself: its state, its listener, its end.
    fn daemon(&mut self, settings: &Settings, user: Option<&User>) {
        let daemon = &settings.daemon;
        if let Some(state) = &daemon.state {
            self.folder_of(state, user);
            if let (Ok(file), Some(user)) = (fs::metadata(state), user)
                && !user.may(READ | WRITE, state, &file)
            {
                self.closed.insert(state.clone(), NO_WRITING);
            }
        }
        let addresses = [daemon.listen, daemon.probe_listen].into_iter().flatten();
        self.low_ports = addresses.filter(|address| (1..FIRST_FREE_PORT).contains(&address.port())).collect();
        if let Some(path) = &daemon.web_config {
            self.read(path, user);
            let tls = fs::read_to_string(path).ok().and_then(|text| web_file::parse(&text, path).ok()?.tls);
            if let Some(tls) = &tls {
                for path in [&tls.cert_file, &tls.key_file].into_iter().chain(&tls.client_ca_file) {
                    self.read(path, user);
                }
            }
        }
        self.open_files = lifecycle::open_files(settings).filter(|wanted| *wanted > UNIT_FILES);
        let longest = lifecycle::longest_stop(daemon.grace).as_secs();
        self.stop = i64::try_from(longest).ok().map(|longest| longest + STOP_MARGIN).filter(|stop| *stop > UNIT_STOP);
    }

    /// The files that the settings stand in.
    fn configuration(&mut self, config: &Path, user: Option<&User>) {
        // The unit starts in another folder than whoever asks.
        let whole = std::path::absolute(config).unwrap_or_else(|_| config.to_owned());
        self.config = (whole != Path::new(super::DEFAULT_CONFIG)).then_some(whole);
        self.read(config, user);
        for fragment in layers::drop_ins(config, &mut Vec::new()) {
            self.read(&fragment, user);
        }
    }

    fn command(&mut self, command: &Command) {
        self.runs_commands = true;
        if let Some(program) = command.argv.first().map(Path::new)
            && let Some(folder) = program.parent().filter(|_| program.is_absolute())
        {
            self.bring_in(folder, &program.display().to_string());
        }
    }

    /// A file that is read, again and again: another one may stand there the next time.
    fn read(&mut self, path: &Path, user: Option<&User>) {
        let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        match (fs::metadata(path), user) {
            (Ok(file), Some(user)) if !user.may(READ, path, &file) => _ = self.closed.insert(whole.clone(), NO_READING),
            (Ok(_), Some(_)) => {}
            _ => _ = self.unknown.insert(path.to_owned()),
        }
        for path in [path, &whole] {
            if let Some(folder) = path.parent() {
                self.bring_in(folder, &path.display().to_string());
            }
        }
        if let (Some(folder), Some(user)) = (whole.parent(), user) {
            self.enter(folder, user);
        }
    }

    /// What the unit has of its own hides the real one.
    fn bring_in(&mut self, folder: &Path, what: &str) {
        if is_hidden(folder) {
            self.brought_in.entry(folder.to_owned()).or_insert_with(|| what.to_owned());
        }
    }

    /// A folder and those above it must be open to those who pass.
    fn enter(&mut self, folder: &Path, user: &User) {
        for above in folder.ancestors() {
            if fs::metadata(above).is_ok_and(|found| !user.may(SEARCH, above, &found)) {
                self.closed.entry(above.to_owned()).or_insert(NO_ENTRY);
            }
        }
    }

    /// A file that is replaced: a new one is made beside it, is given what the old one has, and takes its place.
    fn replace(&mut self, path: &Path, user: Option<&User>) {
        self.folder_of(path, user);
        let (Ok(file), Some(user)) = (fs::metadata(path), user) else {
            self.unknown.insert(path.to_owned());
            return;
        };
        if !user.may(READ, path, &file) {
            self.closed.insert(path.to_owned(), NO_READING);
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
            (Ok(file), Some(user)) if !user.may(READ | WRITE, path, &file) => {
                self.closed.insert(path.to_owned(), NO_WRITING);
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
                if !user.may(WRITE | SEARCH, &real, &found) {
                    self.closed.insert(real.clone(), NO_WRITING);
                }
                if let Some(above) = real.parent() {
                    self.enter(above, user);
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
            let condition = self.condition();
            files.push(format!("# {DROP_IN}\n# After it is written: {restart}\n\n{condition}[Service]\n{drop_in}"));
        }
        if !self.units.is_empty() {
            files.push(self.rule());
        }
        if files.is_empty() {
            return "# This configuration needs nothing from outside of the unit's sandbox.\n".to_owned();
        }
        files.join("\n")
    }

    /// The unit of the Debian package starts only where there is a configuration, and looks in the usual place.
    fn condition(&self) -> String {
        let Some(config) = &self.config else { return String::new() };
        // Taken as it stands: a condition knows no quotes. The empty one takes back those before it.
        let place = shown(config).replace('%', "%%");
        format!("[Unit]\nConditionPathExists=\nConditionPathExists={place}\n\n")
    }

    fn drop_in(&self) -> String {
        let mut text = String::new();
        if let Some(config) = &self.config {
            text.push_str("# The configuration is not the usual one.\n");
            text.push_str(&format!("Environment={}\n", word(&format!("TOKENWATCH_CONFIG={}", config.display()))));
        }
        self.folders(&mut text);
        self.rights(&mut text);
        self.limits(&mut text);
        if !self.variables.is_empty() {
            let names: Vec<String> = self.variables.iter().map(|name| plain(name)).collect();
            text.push_str(&format!("# Lines NAME=value, in a file that only root has to read: {}\n", names.join(", ")));
            text.push_str("EnvironmentFile=/etc/tokenwatch/environment\n");
        }
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
            let key = if is_hidden(folder) { "BindPaths" } else { "ReadWritePaths" };
            text.push_str(&format!("{key}={}\n", path(folder)));
        }
        let read = self.brought_in.iter().filter(|(folder, _)| !self.folders.contains_key(*folder));
        for (at, (folder, file)) in read.enumerate() {
            if at == 0 {
                text.push_str("# The unit has a /tmp and a /var/tmp of its own, so what is read there is brought in. It must be there when the unit starts.\n");
            }
            if HIDDEN.iter().any(|hidden| folder == Path::new(hidden)) {
                text.push_str(
                    "# A folder of its own would be better: this shows it everything that anybody puts there.\n",
                );
            }
            text.push_str(&format!("# For {}\nBindReadOnlyPaths={}\n", plain(file), path(folder)));
        }
    }

    /// Numbers of the unit that go with numbers of the configuration.
    fn limits(&self, text: &mut String) {
        if let Some(files) = self.open_files {
            text.push_str(&format!("# For daemon.max_connections, and what else is open.\nLimitNOFILE={files}\n"));
        }
        if let Some(stop) = self.stop {
            text.push_str(&format!("# Three times daemon.grace, and a little.\nTimeoutStopSec={stop}\n"));
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
        if !self.low_ports.is_empty() {
            capabilities.push("CAP_NET_BIND_SERVICE");
        }
        if !self.closed.is_empty() {
            let writes = self.closed.values().any(|why| *why == NO_WRITING);
            let (which, all) = if writes { ("CAP_DAC_OVERRIDE", "opens") } else { ("CAP_DAC_READ_SEARCH", "shows") };
            let note = if capabilities.is_empty() {
                format!("{which} in CapabilityBoundingSet= and AmbientCapabilities=, with PrivateUsers=no")
            } else {
                format!("{which} beside those below")
            };
            text.push_str(&format!("# or, which {all} every file of the machine to it, {note}.\n"));
        }
        if capabilities.is_empty() {
            return;
        }
        for address in &self.low_ports {
            text.push_str(&format!("# A port below {FIRST_FREE_PORT} is listened on: {address}.\n"));
        }
        for foreign in &self.foreign {
            text.push_str(&format!(
                "# {} belongs to another user or group, and so must its replacement.\n",
                shown(foreign)
            ));
        }
        let all = capabilities.join(" ");
        text.push_str("# A capability has no power over what is outside of a user namespace of the unit's own, so it cannot have one.\n");
        text.push_str(&format!("CapabilityBoundingSet={all}\nAmbientCapabilities={all}\nPrivateUsers=no\n"));
        if !self.foreign.is_empty() {
            text.push_str("SystemCallFilter=@chown\n");
        }
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

/// Every place that a secret is written to.
fn sinks(settings: &Settings) -> impl Iterator<Item = &Sink> {
    let published = deliveries(settings).flat_map(|delivery| &delivery.publish);
    let renewals = settings.tokens.iter().filter_map(|token| token.renew.as_ref());
    published.chain(renewals.filter_map(|renew| renew.refresh_token.as_ref()))
}

/// Every place of a secret in the configuration.
fn secrets(settings: &Settings) -> Vec<&SecretRef> {
    use crate::settings::Login;
    let mut all: Vec<&SecretRef> = settings.tokens.iter().map(|token| &token.secret).collect();
    all.extend(settings.tokens.iter().flat_map(|token| token.parameters.secret.values()));
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
    for sink in sinks(settings) {
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

/// Every file with certificate authorities.
fn authorities(settings: &Settings) -> BTreeSet<&Path> {
    let mut all: Vec<Option<&PathBuf>> = vec![settings.meta.ca_file.as_ref()];
    all.extend(settings.smtp.iter().flat_map(|smtp| &smtp.relays).map(|relay| relay.ca_file.as_ref()));
    all.extend(settings.heartbeat.iter().map(|heartbeat| heartbeat.ca_file.as_ref()));
    for receiver in settings.receivers.values() {
        all.extend(receiver.webhook.iter().map(|webhook| webhook.ca_file.as_ref()));
        all.extend(receiver.alertmanager.iter().map(|alertmanager| alertmanager.ca_file.as_ref()));
    }
    all.extend(settings.providers.values().map(|provider| match provider {
        Provider::Meta(graph) | Provider::Instagram(graph) | Provider::Threads(graph) => graph.ca_file.as_ref(),
        Provider::Declared(declared) => declared.ca_file.as_ref(),
    }));
    all.extend(sinks(settings).map(|sink| match sink {
        Sink::Sql(sql) => sql.ca_file.as_ref(),
        Sink::Vault(vault) => vault.ca_file.as_ref(),
        Sink::EnvFile { .. } | Sink::File(_) | Sink::Run(_) => None,
    }));
    all.extend(deliveries(settings).map(|delivery| match &delivery.confirm {
        Some(Confirm::Http { ca_file, .. }) => ca_file.as_ref(),
        Some(Confirm::Run(_) | Confirm::WhatsApp { .. }) | None => None,
    }));
    all.into_iter().flatten().map(PathBuf::as_path).collect()
}

/// Whether the unit has another folder in that place.
fn is_hidden(folder: &Path) -> bool {
    HIDDEN.iter().any(|hidden| folder.starts_with(hidden))
}

/// A path as a unit file writes it: quoted, and with its specifiers escaped.
fn path(path: &Path) -> String {
    word(&path.display().to_string())
}

/// One word of a unit file.
fn word(text: &str) -> String {
    let text = plain(text).replace('%', "%%");
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
const DROP_IN: &str = "/etc/systemd/system/tokenwatch.service.d/sandbox.conf";
const RULE: &str = "/etc/polkit-1/rules.d/50-tokenwatch.rules";
/// The units in the rule as it is shipped.
const TEMPLATE_UNITS: &str = "\"example.service\"";
/// Where the unit may write as it is.
const OPEN: [&str; 2] = ["/var/lib/tokenwatch", "/run/tokenwatch"];
/// Where the unit has folders of its own (`PrivateTmp=yes`).
const HIDDEN: [&str; 2] = ["/tmp", "/var/tmp"];
/// `LimitNOFILE=` of the unit.
const UNIT_FILES: u64 = 65_536;
/// `TimeoutStopSec=` of the unit.
const UNIT_STOP: i64 = 40;
/// What a stop is given beyond the time that it may take.
const STOP_MARGIN: i64 = 9;
/// Ports below it are for those who have a capability (`net.ipv4.ip_unprivileged_port_start`).
const FIRST_FREE_PORT: u16 = 1_024;
const NO_READING: &str = "cannot be read";
const NO_WRITING: &str = "cannot be written to";
const NO_ENTRY: &str = "cannot be entered";
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
            "# /etc/systemd/system/tokenwatch.service.d/sandbox.conf",
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

    /// Whoever adds a key that names a place thinks of the sandbox here.
    #[test]
    fn every_key_with_a_place_is_thought_of() {
        let reference = crate::settings::show::reference();
        let keys = |kind: &str| -> BTreeSet<String> {
            let rows = reference.lines().filter(|row| row.contains(&format!("| {kind} |")));
            rows.filter_map(|row| Some(row.split('`').nth(1)?.to_owned())).collect()
        };
        let known = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<BTreeSet<String>>();
        let sinks = ["renew", "replace"].map(|by| {
            ["publish[].env_file", "publish[].file", "publish[].ca_file", "confirm.ca_file"]
                .map(|key| format!("tokens[].{by}.{key}"))
        });
        let mut paths = known(&[
            "daemon.web_config",
            "smtp.relays[].ca_file",
            "receivers.NAME.webhook.ca_file",
            "receivers.NAME.alertmanager.ca_file",
            "provider.NAME.ca_file",
            "tls.ca_file",
            "heartbeat.ca_file",
            // The doctor's, which runs outside.
            "tokens[].probe.ca_file",
        ]);
        paths.extend(sinks.into_iter().flatten());
        assert_eq!(keys("absolute path"), paths);
        assert_eq!(keys("address:port"), known(&["daemon.listen", "daemon.probe_listen"]));
    }

    #[test]
    fn the_unit_has_the_numbers_that_are_known_here() {
        let unit = include_str!("../../systemd/system/tokenwatch.service");
        for line in
            [format!("LimitNOFILE={UNIT_FILES}"), format!("TimeoutStopSec={UNIT_STOP}"), "PrivateTmp=yes".into()]
        {
            assert!(unit.lines().any(|found| found == line), "{line}");
        }
    }

    #[test]
    fn files_are_looked_at() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (file, link) = (folder.path().join("token"), folder.path().join("link"));
        fs::write(&file, "x").expect("a file");
        std::os::unix::fs::symlink(&file, &link).expect("a link");
        let owner = fs::metadata(&file).expect("a file");
        let user = |uid: u32, gid: u32| User::new(uid, gid, [gid].into());

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
}
