//! Asks a program of the machine: bounded in time and output, with an environment that holds nothing of ours but PATH.
//!
//! It is given no secret. What it prints may hold some, so that is wiped, and its complaints pass through `redact`.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::process::Stdio;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use crate::redact::redact;
use crate::renewal::command::{Group, path};

/// A program that tells something.
pub(super) struct Tool<'a> {
    /// Its name, found by PATH unless it is a path.
    pub program: &'a str,
    /// Its environment, beside PATH and a language that is always the same.
    pub variables: &'a [(&'a str, &'a str)],
    /// The user and the group it runs as, where those are not ours.
    pub user: Option<(u32, u32)>,
    /// The most that it may print.
    pub most: usize,
}

/// What it told.
pub(super) struct Told {
    /// Its exit status; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub out: Zeroizing<Vec<u8>>,
    /// What it complained of, redacted.
    pub err: String,
}

/// Why it told nothing.
pub(super) enum Silence {
    /// It is not installed.
    Missing,
    /// In words that read well after its name.
    Because(String),
}

impl Tool<'_> {
    /// Runs it in `/` until `end` at the latest; then it is killed, with its children.
    pub async fn ask(&self, arguments: &[&OsStr], end: Instant) -> Result<Told, Silence> {
        let because = |error: &std::io::Error| Silence::Because(format!("cannot be asked: {error}"));
        let mut command = Command::new(self.program);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", path())
            .env("LC_ALL", "C")
            .envs(self.variables.iter().copied())
            // A PATH may name the folder that one is in.
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        let mut child = command.spawn().map_err(|error| match error.kind() {
            ErrorKind::NotFound => Silence::Missing,
            _ => because(&error),
        })?;
        // Dropped before the child, so that its number is still ours.
        let group = Group::of(&child);
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let talk = async {
            let (out, err) = tokio::join!(beginning(stdout, self.most), beginning(stderr, COMPLAINTS));
            (out, err, child.wait().await)
        };
        let Ok((out, err, status)) = timeout_at(end, talk).await else {
            return Err(Silence::Because("did not answer in time".to_owned()));
        };
        group.leave();
        let status = status.map_err(|error| because(&error))?;
        if out.len() > self.most {
            return Err(Silence::Because(format!("printed more than {} KiB", self.most / 1024)));
        }
        Ok(Told { code: status.code(), out, err: redact(&String::from_utf8_lossy(&err), &[]) })
    }
}

/// What comes first, and one byte more where there is more. Then the pipe is closed, and whoever writes to it ends. The buffer never grows, so
/// that no copy stays behind in memory.
async fn beginning(pipe: Option<impl AsyncRead + Unpin>, most: usize) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(most + SPARE));
    if let Some(pipe) = pipe {
        // One that breaks has told what it had to tell.
        let _ = pipe.take(most as u64 + 1).read_to_end(&mut bytes).await;
    }
    bytes
}

/// The most that is read of complaints.
const COMPLAINTS: usize = 2_048;
/// Room for a reader to find out that nothing more comes.
const SPARE: usize = 64;
