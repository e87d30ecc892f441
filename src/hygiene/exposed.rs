//! Finds secrets where every user of the machine can see them: in the settings of units, and on the command lines of processes.
//!
//! Only the exact text of a secret is searched for. What is searched is wiped, and only who shows it is told.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, timeout};
use zeroize::Zeroizing;

use super::tool::{Silence, Tool};
use crate::redact::redact;
use crate::secret::Secret;

/// A secret that everybody can see.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Exposed {
    /// Which of the secrets that were searched for, counted from 0.
    pub secret: usize,
    /// Who shows it: `app.service`, `process 4711 (node)`.
    pub by: String,
    /// Where.
    pub place: Place,
}

/// Where a secret is seen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Place {
    /// In `Environment=` of a unit. That of a process is its owner's alone.
    Environment,
    /// On a command line.
    CommandLine,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Environment => "environment",
            Self::CommandLine => "command line",
        })
    }
}

/// Whether a secret is long enough to be searched for: a short one stands in many places by chance.
pub fn is_searched_for(secret: &Secret) -> bool {
    secret.expose().len() >= SHORTEST
}

/// The services, running or not, whose settings show one of these secrets; `systemctl show` tells them to everybody. `systemctl` is a name or a
/// path. Where there is no systemd nothing is shown. Secrets of less than twelve characters are not searched for.
///
/// # Errors
/// When systemd does not tell.
pub async fn exposed_units(systemctl: &str, secrets: &[&Secret]) -> Result<Vec<Exposed>, String> {
    let tool = Tool { program: systemctl, variables: &[], user: None, most: MOST_OF_UNITS };
    let told = match tool.ask(&QUESTION.map(OsStr::new), Instant::now() + PATIENCE).await {
        Ok(told) => told,
        Err(Silence::Missing) => return Ok(Vec::new()),
        Err(Silence::Because(text)) => return Err(format!("systemctl {text}")),
    };
    if told.code != Some(0) {
        let is_elsewhere = NO_SYSTEMD.iter().any(|words| told.err.contains(words));
        return if is_elsewhere { Ok(Vec::new()) } else { Err(format!("systemctl says: {}", told.err)) };
    }
    Ok(in_units(&told.out, secrets).into_iter().collect())
}

/// The processes on whose command lines one of these secrets stands. `proc` is where the machine shows its processes; those that it hides from us
/// it hides from others.
///
/// # Errors
/// When the processes cannot be listed.
pub async fn exposed_processes(proc: &Path, secrets: &[&Secret]) -> Result<Vec<Exposed>, String> {
    let (proc, secrets) = (proc.to_owned(), secrets.iter().map(|secret| secret.duplicate()).collect::<Vec<_>>());
    // The memory of a process that hangs can make this hang.
    let search = tokio::task::spawn_blocking(move || in_processes(&proc, &secrets.iter().collect::<Vec<_>>()));
    match timeout(PATIENCE, search).await {
        Ok(Ok(found)) => found,
        Ok(Err(_)) | Err(_) => Err("the processes could not be looked through in time".to_owned()),
    }
}

/// Looks through what `systemctl show` printed: lines `KEY=value`, units one after the other, each named by its line `Id=`. That is the last of a
/// unit's lines, or the first. An empty line says nothing: a command line may have some in it.
fn in_units(printed: &[u8], secrets: &[&Secret]) -> BTreeSet<Exposed> {
    let leads = printed.starts_with(ID);
    let (mut found, mut unnamed, mut name) = (BTreeSet::new(), Vec::new(), String::new());
    let mut place = None;
    for line in printed.split(|byte| *byte == b'\n') {
        if let Some(id) = line.strip_prefix(ID) {
            name = redact(&String::from_utf8_lossy(id), secrets);
            place = None;
            let by = |(secret, place)| Exposed { secret, by: name.clone(), place };
            found.extend(unnamed.drain(..).map(by));
            continue;
        }
        place = PLACES.iter().find(|(key, _)| line.starts_with(key)).map(|(_, place)| *place).or(place);
        let Some(place) = place else { continue };
        for secret in seen(line, secrets).into_iter().chain(seen(&unescaped(line), secrets)) {
            if leads {
                found.insert(Exposed { secret, by: name.clone(), place });
            } else {
                unnamed.push((secret, place));
            }
        }
    }
    found
}

/// systemctl writes some characters with a backslash before them.
fn unescaped(line: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut plain = Zeroizing::new(Vec::with_capacity(line.len()));
    let mut bytes = line.iter();
    while let Some(byte) = bytes.next() {
        plain.extend(if *byte == b'\\' { bytes.next() } else { Some(byte) });
    }
    plain
}

fn in_processes(proc: &Path, secrets: &[&Secret]) -> Result<Vec<Exposed>, String> {
    let entries = fs::read_dir(proc).map_err(|error| format!("{}: {error}", proc.display()))?;
    let is_process =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit));
    let mut line = Zeroizing::new(Vec::with_capacity(LONGEST_LINE + SPARE));
    let mut found = BTreeSet::new();
    for process in entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_process) {
        line.clear();
        let Ok(file) = File::open(process.join("cmdline")) else { continue };
        if file.take(LONGEST_LINE as u64).read_to_end(&mut line).is_err() {
            // It has ended.
            continue;
        }
        for secret in seen(&line, secrets) {
            found.insert(Exposed { secret, by: name(&process, secrets), place: Place::CommandLine });
        }
    }
    Ok(found.into_iter().collect())
}

/// `process 4711 (node)`.
fn name(process: &Path, secrets: &[&Secret]) -> String {
    let id = process.file_name().unwrap_or_default().display();
    match fs::read_to_string(process.join("comm")) {
        Ok(name) => format!("process {id} ({})", redact(&name, secrets)),
        Err(_) => format!("process {id}"),
    }
}

/// The secrets that stand in a text.
fn seen(text: &[u8], secrets: &[&Secret]) -> Vec<usize> {
    let stands = |secret: &Secret| {
        let wanted = secret.expose().as_bytes();
        wanted.len() >= SHORTEST && text.windows(wanted.len()).any(|part| part == wanted)
    };
    secrets.iter().enumerate().filter(|(_, secret)| stands(secret)).map(|(which, _)| which).collect()
}

const QUESTION: [&str; 4] = [
    "--no-pager",
    "show",
    "--property=Id,Environment,ExecCondition,ExecStartPre,ExecStart,ExecStartPost,ExecReload,ExecStop,ExecStopPost",
    "*.service",
];
/// How each unit is named.
const ID: &[u8] = b"Id=";
/// How the lines begin that are searched.
const PLACES: [(&[u8], Place); 2] = [(b"Environment=", Place::Environment), (b"Exec", Place::CommandLine)];
/// What systemctl complains of where systemd does not run.
const NO_SYSTEMD: [&str; 2] = ["not been booted with systemd", "Failed to connect to bus"];
/// What is shorter stands in many places by chance.
const SHORTEST: usize = 12;
const PATIENCE: Duration = Duration::from_secs(5);
/// A service takes less than a KiB of it, and a large machine has a thousand.
const MOST_OF_UNITS: usize = 8 << 20;
/// Linux starts no program with more.
const LONGEST_LINE: usize = 6 << 20;
/// Room for a reader to find out that nothing more comes.
const SPARE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(Zeroizing::new(text.to_owned()))
    }

    fn told(found: &BTreeSet<Exposed>) -> Vec<String> {
        found.iter().map(|exposed| format!("{} {} {}", exposed.secret, exposed.by, exposed.place)).collect()
    }

    #[test]
    fn units_are_named_whether_their_name_comes_first_or_last() {
        let (plain, odd, short) = (secret("correct-horse-battery"), secret("a\"b $c\\d staple"), secret("shortsecret"));
        let secrets = [&plain, &odd, &short];
        let lines = |environment: &str, start: &str| format!("ExecStart={start}\nEnvironment={environment}\n");
        let clean = lines("A=correct-horse-batter B=shortsecret", "{ argv[]=/bin/app }");
        let environment = lines("A=1 T=correct-horse-battery \"S=a\\\"b \\$c\\\\d staple\"", "{ argv[]=/bin/app }");
        let command = lines("", "{ argv[]=/bin/sh -c \n\ncurl -H 'Bearer correct-horse-battery' ; ignore_errors=no }");
        for printed in [
            format!(
                "{clean}Id=clean.service\n\n{environment}Id=one.service\n\n{clean}Id=idle.service\n\n{command}Id=two.service\n"
            ),
            format!("Id=clean.service\n{clean}\nId=one.service\n{environment}\nId=two.service\n{command}"),
        ] {
            assert_eq!(
                told(&in_units(printed.as_bytes(), &secrets)),
                ["0 one.service environment", "0 two.service command line", "1 one.service environment"],
                "{printed}"
            );
        }
        assert!(in_units(b"", &secrets).is_empty());
        assert!(in_units(environment.as_bytes(), &[]).is_empty());
        assert!(in_units(b"Description=correct-horse-battery\nId=x.service", &secrets).is_empty());
    }

    #[test]
    fn processes_are_named_and_a_secret_in_their_name_is_not() {
        let proc = tempfile::tempdir().expect("a temporary folder");
        for (id, comm, line) in [
            ("1", "init\n", "/sbin/init\0"),
            ("12", "node\n", "node\0--token=correct-horse-battery\0"),
            ("13", "x correct-horse-battery\n", "correct-horse-battery\0"),
            ("self", "node\n", "node\0correct-horse-battery\0"),
            ("14", "kernel\n", ""),
        ] {
            fs::create_dir(proc.path().join(id)).expect("a folder");
            fs::write(proc.path().join(id).join("comm"), comm).expect("a file");
            fs::write(proc.path().join(id).join("cmdline"), line).expect("a file");
        }
        fs::create_dir(proc.path().join("15")).expect("a process that has ended");
        let found = in_processes(proc.path(), &[&secret("unseen-secret"), &secret("correct-horse-battery")]);
        let found = told(&found.expect("processes").into_iter().collect());
        assert_eq!(found, ["1 process 12 (node) command line", "1 process 13 (x ***) command line"]);
        assert!(in_processes(&proc.path().join("none"), &[]).is_err_and(|text| text.contains("none: No such file")));
    }
}
