//! Runs a command of the operator's: bounded in time and output, with a secret on standard input and never among its arguments.
//!
//! There is no shell in between, and nothing of our environment but PATH goes along: variables of the daemon may be secrets. What the command
//! prints is never kept as it is.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin};
use tokio::time::{sleep, timeout};
use zeroize::Zeroizing;

use crate::redact::redact;
use crate::secret::Secret;
use crate::settings::delivery::Command;

/// Runs it in `/`. `input` goes to standard input as it is, without a line feed behind it; without one there is `/dev/null`. `variables` are set
/// beside PATH and LANG, and nothing else of our environment is. What it printed comes back redacted, with `hide` and `input` taken out: the end of
/// standard output, or of standard error where that says nothing.
///
/// It is over when the command itself has ended. What it left running in the background lives on, but is not listened to any more.
///
/// # Errors
/// When it cannot be started, takes too long (then it and its children are killed) or does not exit with 0. The text says which, with what it
/// printed.
pub async fn run(
    command: &Command,
    input: Option<&Secret>,
    variables: &[(&str, &str)],
    hide: &[&Secret],
) -> Result<String, String> {
    let hide: Vec<&Secret> = hide.iter().copied().chain(input).collect();
    let mut child = start(command, input.is_some(), variables).map_err(|text| redact(&text, &hide))?;
    // Dropped before the child, so that its number is still ours.
    let group = Group::of(&child);
    let room = KEPT + hide.iter().map(|secret| secret.expose().len()).max().unwrap_or(0);
    let (mut out, mut err) = (Tail::new(room), Tail::new(room));
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let ended = {
        let mut talk = std::pin::pin!(async {
            tokio::join!(tell(stdin, input), out.listen(stdout), err.listen(stderr));
        });
        let ended = timeout(command.within.as_limit(), until_it_ends(&mut child, &mut talk)).await;
        if ended.is_err() {
            // It is listened to still: a command that cannot print cannot clean up either.
            let _ = tokio::join!(group.end(), timeout(PATIENCE, &mut talk));
            let _ = child.wait().await;
        }
        ended
    };
    group.leave();
    let words = |first: &Tail, second: &Tail| first.words(&hide).or_else(|| second.words(&hide));
    let why = match ended {
        Ok(Ok(status)) if status.success() => return Ok(words(&out, &err).unwrap_or_default()),
        Ok(Ok(status)) => in_words(status),
        Ok(Err(error)) => format!("nobody can tell how it ended: {error}"),
        Err(_) => format!("it took longer than {} and was killed", command.within),
    };
    Err(words(&err, &out).map_or_else(|| why.clone(), |words| format!("{why}: {words}")))
}

fn start(command: &Command, talks: bool, variables: &[(&str, &str)]) -> Result<Child, String> {
    let Some((program, arguments)) = command.argv.split_first() else {
        return Err("it names no program".to_owned());
    };
    let path = path();
    tokio::process::Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", &path)
        .env("LANG", "C.UTF-8")
        .envs(variables.iter().copied())
        .current_dir("/")
        // Its children die with it, and a signal to us is none to them.
        .process_group(0)
        .stdin(if talks { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound if program.contains('/') => {
                format!("{program} is not there, or the interpreter that its first line names is not")
            }
            ErrorKind::NotFound => format!("there is no {program} in PATH ({})", path.display()),
            ErrorKind::PermissionDenied => format!("{program} may not be executed; look at its mode and its folder's"),
            _ => format!("{program} cannot be started: {error}"),
        })
}

/// Our own PATH: a command is found where an operator would find it.
#[expect(clippy::disallowed_methods, reason = "a command is found by PATH, and no other variable is asked for")]
pub fn path() -> OsString {
    std::env::var_os("PATH").filter(|path| !path.is_empty()).unwrap_or_else(|| USUAL_PATH.into())
}

/// Hands over the secret and closes the pipe. A command that does not want to read it is free not to.
async fn tell(stdin: Option<ChildStdin>, input: Option<&Secret>) {
    if let (Some(mut stdin), Some(input)) = (stdin, input) {
        let _ = stdin.write_all(input.expose().as_bytes()).await;
    }
}

/// Talks with the command until it ends, and a little longer for what is still in the pipes. Whoever else holds them open is not waited for.
async fn until_it_ends(child: &mut Child, mut talk: impl Future<Output = ()> + Unpin) -> std::io::Result<ExitStatus> {
    let mut talking = true;
    let status = loop {
        tokio::select! {
            () = &mut talk, if talking => talking = false,
            status = child.wait() => break status?,
        }
    };
    if talking {
        let _ = timeout(LAST_WORDS, &mut talk).await;
    }
    Ok(status)
}

fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it ended with exit status {code}"),
        (None, Some(signal)) => format!("it was killed by signal {signal}"),
        (None, None) => "it did not end in order".to_owned(),
    }
}

/// The command and its children, for as long as the command has not been waited for. When it is dropped early they are killed: nobody asks for
/// them any more.
pub struct Group(Option<Pid>);

impl Group {
    /// Of a command that was started with a group of its own.
    pub fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| Pid::from_raw(id.cast_signed())))
    }

    /// Asks them to end, and makes them. The command is not reaped here: its number is theirs, and must not become another's meanwhile.
    async fn end(&self) {
        let Some(id) = self.0 else { return };
        let _ = kill_process_group(id, Signal::TERM);
        let ended = async {
            let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            while let Ok(None) = waitid(WaitId::Pid(id), look) {
                sleep(GLANCE).await;
            }
        };
        let _ = timeout(PATIENCE, ended).await;
        let _ = kill_process_group(id, Signal::KILL);
    }

    /// The command has ended; what it started may stay.
    pub fn leave(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(id) = self.0 {
            let _ = kill_process_group(id, Signal::KILL);
        }
    }
}

/// The end of what was printed.
struct Tail {
    bytes: Zeroizing<Vec<u8>>,
    room: usize,
    /// Whether something came before.
    cut: bool,
}

impl Tail {
    /// It never grows beyond what it is given here, so that no copy stays behind in memory.
    fn new(room: usize) -> Self {
        Self { bytes: Zeroizing::new(Vec::with_capacity(room + CHUNK)), room, cut: false }
    }

    /// Reads to the end, however long that is: a full pipe would stop the command.
    async fn listen(&mut self, pipe: Option<impl AsyncRead + Unpin>) {
        let Some(mut pipe) = pipe else { return };
        let mut chunk = Zeroizing::new([0; CHUNK]);
        while let Ok(count @ 1..) = pipe.read(chunk.as_mut_slice()).await {
            self.bytes.extend_from_slice(&chunk[..count]);
            let surplus = self.bytes.len().saturating_sub(self.room);
            self.cut |= surplus > 0;
            self.bytes.drain(..surplus);
        }
    }

    /// The end of it on one line, without secrets; `None` when there is nothing to read.
    fn words(&self, hide: &[&Secret]) -> Option<String> {
        let mut text = Zeroizing::new(String::from_utf8_lossy(&self.bytes).into_owned());
        for secret in hide.iter().filter(|secret| !secret.is_empty()) {
            text = Zeroizing::new(text.replace(secret.expose(), "***"));
        }
        // The half of a secret whose beginning is gone is known by nothing but its place.
        let longest = hide.iter().map(|secret| secret.expose().len()).max().unwrap_or(0);
        let half = if self.cut { longest } else { 0 };
        let start = text.len().saturating_sub(SHOWN).max(half);
        let start = (start..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        let end = &text[start..];
        // Nor is the half of a word: other secrets are known by their shape.
        let end = if start > 0 { end.find(char::is_whitespace).map_or("", |at| &end[at..]) } else { end };
        Some(redact(end, hide)).filter(|words| !words.is_empty())
    }
}

/// What systemd gives to a service of its own accord.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How much of an output is kept.
const KEPT: usize = 2_048;
/// How much of it is shown; as much as a redacted text may hold.
const SHOWN: usize = 400;
/// What is read at once.
const CHUNK: usize = 4_096;
/// For what stands in the pipes when the command has ended.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// Between the request to end and the end.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it is looked whether it has ended.
const GLANCE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_half_of_a_secret_is_shown() {
        let secret = Secret::new(Zeroizing::new("correct horse battery staple".to_owned()));
        let shown = |printed: &str, room: usize| {
            let mut tail = Tail::new(room);
            tail.bytes.extend_from_slice(&printed.as_bytes()[printed.len().saturating_sub(room)..]);
            tail.cut = printed.len() > room;
            tail.words(&[&secret])
        };
        assert_eq!(shown("", 100), None);
        assert_eq!(shown(" \n\t", 100), None);
        assert_eq!(shown("saw correct horse battery staple\n", 100).as_deref(), Some("saw ***"));
        for room in 30..120 {
            for filler in ["x", "x y ", "é"] {
                let printed = format!("{}correct horse battery staple{}", filler.repeat(40), " z".repeat(20));
                let words = shown(&printed, room).unwrap_or_default();
                assert!(!["horse", "battery", "staple"].iter().any(|word| words.contains(word)), "{room}: {words}");
            }
        }
        let long = format!("{}EAAB{} the end", "word ".repeat(90), "x9Y".repeat(60));
        assert!(shown(&long, 4_000).is_some_and(|words| words.ends_with("the end") && !words.contains("x9Yx9Y")));
    }
}
