//! Renewals that are killed after each write, each sync and each rename, that meet full disks and broken ones, and that go on afterwards: the
//! env file is the old one or the new one as a whole, what was given once is not lost, and the application ends up with what is in the file.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process};
use tokenwatch::sim::{Fault, FaultKind, Match};

use crate::support::dialects::tool;
use crate::support::house::SECRET;
use crate::support::process::{
    PATIENCE, Said, Stage, TOKENWATCH, free_port, get, program, quoted, unix_now, wait_for, wait_until,
};

#[test]
fn a_run_that_is_killed_anywhere_goes_on() {
    let series = [Ends::Renewed, Ends::Revoked, Ends::RolledBack].into_iter().flat_map(|ends| {
        let durable = (0..2).map(move |first| (ends, DURABLE, first, 2));
        durable.chain([(ends, WRITES, 2, STRIDE)])
    });
    processes_can_be_traced();
    let covered = AtomicUsize::new(0);
    side_by_side(series.collect(), 4, |(ends, calls, first, stride)| {
        for at in (first..).step_by(stride) {
            let trial = Trial::new(ends, "1m");
            let said = trial.killed_after(calls, at);
            let before = trial.judge(&said);
            let again = trial.renew();
            let what = format!("{ends:?}, killed after {at} of {calls}: {before:?}; {said:?}; {again:?}");
            assert!([0, 1].contains(&again.code), "{what}");
            let after = trial.judge(&again);
            assert!(after.phase.as_deref().is_none_or(|phase| phase == "set_aside"), "{what}: {after:?}");
            assert_eq!(after.token == trial.old, ends == Ends::RolledBack, "{what}");
            assert_eq!(trial.restarts().last(), Some(&after.token), "{what}");
            if before.sealed || before.is_over {
                assert_eq!(after.exchanges, before.exchanges, "another was asked for: {what}");
            }
            assert_eq!(trial.lives(&trial.old), ends != Ends::Revoked, "{what}");
            assert_eq!(trial.leftovers(), Vec::<String>::new(), "{what}");
            if said.code != -1 {
                return;
            }
            covered.fetch_add(1, Ordering::Relaxed);
        }
    });
    let covered = covered.into_inner();
    let _ = writeln!(std::io::stderr(), "a renewal was killed at {covered} moments");
    assert!(covered >= LEAST_KILLS, "only {covered} moments were covered: the matrix has lost its aim");
}

#[test]
fn a_disk_that_fails_once_costs_a_try_at_most() {
    let points = [Ends::Renewed, Ends::RolledBack].into_iter().flat_map(|ends| {
        FAILING.iter().flat_map(move |(fault, moments)| moments.iter().map(move |at| (ends, *fault, *at)))
    });
    processes_can_be_traced();
    let struck = AtomicUsize::new(0);
    side_by_side(points.collect(), 8, |(ends, fault, at)| {
        let trial = Trial::new(ends, "1s");
        // With the state made already, the faults meet the run itself.
        trial.stage.run(&["renew", "wa", "--dry-run"]);
        let said = trial.failing(&format!("{fault}:when={at}"));
        let before = trial.judge(&said);
        let what = format!("{ends:?}, {fault} {at}: {before:?}; {said:?}");
        assert!([0, 1, 75].contains(&said.code), "{what}");
        assert!(said.code == 0 || !said.err.trim().is_empty(), "it failed without a word: {what}");
        struck.fetch_add(usize::from(trial.was_struck()), Ordering::Relaxed);
        trial.accept();
        // Where the run came to an end, the next may begin a second later.
        let after = wait_for("a run that ends well", PATIENCE, || {
            let seen = trial.judge(&trial.renew());
            (seen.phase.is_none() && seen.token != trial.old).then_some(seen)
        });
        assert!(after.exchanges == 1 || !before.sealed, "another was asked for: {what}; {after:?}");
        assert_eq!(trial.restarts().last(), Some(&after.token), "{what}");
        assert_eq!(trial.leftovers(), Vec::<String>::new(), "{what}");
    });
    let struck = struck.into_inner();
    let _ = writeln!(std::io::stderr(), "{struck} faults struck a renewal");
    assert!(struck >= LEAST_FAULTS, "only {struck} faults struck: the matrix has lost its aim");
}

#[test]
fn a_daemon_that_is_killed_in_any_phase_goes_on_by_itself() {
    let exchange = || Match::PathPrefix("/oauth/access_token".to_owned());
    let looks = || Match::PathPrefix("/debug_token".to_owned());
    let hang = |trial: &Trial, faults: Vec<Fault>| {
        trial.stage.sim().with_world(|world| faults.into_iter().for_each(|fault| world.faults.add(fault)));
    };
    // Where it hangs, what the journal says then, and how many exchanges it takes in all.
    let stories = vec![("exchange", "exchanging", 2), ("lost", "exchanging", 2), ("proof", "exchanged", 1)];
    let stories = stories.into_iter().chain([("restart", "published", 1), ("confirm", "restarted", 1)]);
    let stories: Vec<_> = stories.chain([("return", "rolling_back", 1)]).collect();
    side_by_side(stories, 6, |(place, phase, exchanges)| {
        let ends = if place == "return" { Ends::RolledBack } else { Ends::Revoked };
        let trial = Trial::new(ends, "1m");
        match place {
            "exchange" => hang(&trial, vec![Fault::always(exchange(), FaultKind::Hang)]),
            "lost" => hang(&trial, vec![Fault::always(exchange(), FaultKind::Hang).carried_out()]),
            // The check and the look before the exchange are answered, the third question is not.
            "proof" => hang(
                &trial,
                vec![
                    Fault::times(2, looks(), FaultKind::ClockSkew { seconds: 0 }),
                    Fault::always(looks(), FaultKind::Hang),
                ],
            ),
            _ => drop(trial.stage.write(&format!("hangs-at-{place}"), "")),
        }
        let daemon = trial.stage.start();
        let (path, count) = if place == "proof" { ("/debug_token", 3) } else { ("/oauth/access_token", 1) };
        let asked = || trial.stage.sim().requests().get(path).is_some_and(|asked| *asked >= count);
        let hanging = || trial.stage.path("hanging").exists();
        let is_hook = ["restart", "confirm", "return"].contains(&place);
        wait_until(place, PATIENCE, || if is_hook { hanging() } else { asked() });
        daemon.kill9();
        if is_hook {
            // What it had started is in nobody's hands any more.
            end(&trial.stage.path("hanging"));
            fs::remove_file(trial.stage.path(&format!("hangs-at-{place}"))).expect("a flag");
        }
        trial.stage.sim().with_world(|world| world.faults.clear());
        let seen = trial.judge(&Said { code: -1, out: String::new(), err: String::new() });
        assert_eq!(seen.phase.as_deref(), Some(phase), "{place}: {seen:?}");

        let daemon = trial.stage.start();
        let outcome = wait_for("the end of the run", PATIENCE, || {
            let (_, page) = daemon.get("/api/v1/tokens/wa")?;
            let page: serde_json::Value = serde_json::from_str(&page).ok()?;
            page["history"]["renewals"][0]["outcome"].as_str().map(str::to_owned)
        });
        let expected = if ends == Ends::RolledBack { "rolled_back" } else { "renewed" };
        assert_eq!(outcome, expected, "{place}");
        wait_until("the revocation", PATIENCE, || trial.lives(&trial.old) == (ends == Ends::RolledBack));
        assert_eq!(daemon.stop(), 0);
        let after = trial.judge(&Said { code: 0, out: String::new(), err: trial.stage.log() });
        assert_eq!(after.token == trial.old, ends == Ends::RolledBack, "{place}");
        assert_eq!(after.exchanges, exchanges, "{place}");
        assert_eq!(trial.restarts().last(), Some(&after.token), "{place}");
    });
}

#[test]
fn an_application_that_reads_its_env_file_at_start_is_renewed_and_taken_back() {
    let stage = Stage::new();
    let old = stage.issue(-50 * DAY, 10 * DAY);
    let text = format!("META_APP_SECRET={SECRET}\nWA=\"{old}\" # the token\nLAST=x\n");
    stage.write("config.env", &text);
    let application = Application::new(&stage);
    let renew = format!(
        "[tokens.renew]\nbefore = \"20d\"\nfloor = \"1s\"\nrestart = {{ run = [{}] }}\n\
         confirm = {{ http = \"http://127.0.0.1:{}/health\", within = \"5s\" }}\n",
        quoted(&application.restart),
        application.port
    );
    stage.configure(&stage.config("", &(stage.token("wa", "WA") + &renew)));
    let started = Command::new(&application.restart).status().expect("the application starts");
    assert!(started.success());
    wait_until("the application", PATIENCE, || application.holds(&old));

    let said = stage.run(&["renew", "wa"]);
    assert_eq!(said.code, 0, "{said:?}");
    let held =
        |text: &str| text.lines().find_map(|line| line.strip_prefix("WA=\"")?.split('"').next().map(str::to_owned));
    let after = fs::read_to_string(stage.path("config.env")).expect("the env file");
    let new = held(&after).expect("the key");
    assert_ne!(new, old);
    assert_eq!(after, text.replace(&old, &new));
    assert!(application.holds(&new), "it works with the new token");

    // It takes no other token from now on, and the next one will live longer than this one does.
    assert!(stage.sim().with_world(|world| world.set_expiry(&new, Some(unix_now() + 10 * DAY))));
    stage.write("only", &new);
    let mut said = stage.run(&["renew", "wa"]);
    wait_until("the next run", PATIENCE, || {
        if said.err.contains("a moment ago") {
            said = stage.run(&["renew", "wa"]);
        }
        !said.err.contains("a moment ago")
    });
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("rolled back") && said.err.contains("503"), "{said:?}");
    assert_eq!(fs::read_to_string(stage.path("config.env")).expect("the env file"), after, "every byte is back");
    assert!(application.holds(&new), "it works with the old token again");
}

/// A program for Node that reads its token with dotenv when it starts.
struct Application {
    restart: PathBuf,
    port: u16,
    pid: PathBuf,
}

impl Application {
    fn new(stage: &Stage) -> Self {
        let (port, node, pid) = (free_port(), tool("node"), stage.path("pid"));
        let program = stage.write("application.js", APPLICATION);
        let text = format!(
            "if [ -e {pid} ]; then\n  kill $(cat {pid})\n  while kill -0 $(cat {pid}) 2>/dev/null; do sleep 0.02; done\nfi\n\
             NODE_PATH={modules} {node} {program} {env} {only} {port} {base} >{log} 2>&1 &\necho $! >{pid}\n",
            pid = pid.display(),
            modules = node.join("node_modules").display(),
            node = node.join("node").display(),
            program = program.display(),
            env = stage.path("config.env").display(),
            only = stage.path("only").display(),
            base = stage.base_url(),
            log = stage.path("application.log").display(),
        );
        Self { restart: script(stage, "restart", &text), port, pid }
    }

    /// Whether it runs, with that token, and is well.
    fn holds(&self, token: &str) -> bool {
        get(self.port, "/health").is_some_and(|(status, body)| status == 200 && body == token[token.len() - 8..])
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        end(&self.pid);
    }
}

/// Ends the process whose number is in that file.
fn end(file: &Path) {
    let number = wait_for("a number", PATIENCE, || fs::read_to_string(file).ok()?.trim().parse().ok());
    let _ = Pid::from_raw(number).map(|pid| kill_process(pid, Signal::KILL));
}

/// Works on all of them, a few at a time.
fn side_by_side<T: Send>(things: Vec<T>, at_once: usize, work: impl Fn(T) + Sync) {
    let things = Mutex::new(things);
    let next = || things.lock().expect("nobody panicked").pop();
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while let Some(thing) = next() {
                    work(thing);
                }
            });
        }
    });
}

/// How a run is meant to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ends {
    Renewed,
    /// And the old token is revoked.
    Revoked,
    RolledBack,
}

/// What can be seen between two runs.
#[derive(Debug)]
struct Seen {
    /// What the env file holds.
    token: String,
    /// How far the journal says it is.
    phase: Option<String>,
    /// Whether the journal holds a new secret.
    sealed: bool,
    /// Whether a run has come to its end.
    is_over: bool,
    exchanges: u64,
}

/// A token, an env file with other things in it, and an application that is restarted and asked by commands.
struct Trial {
    stage: Stage,
    old: String,
    text: String,
}

impl Trial {
    fn new(ends: Ends, floor: &str) -> Self {
        let stage = Stage::new();
        let old = stage.issue(-50 * DAY, 10 * DAY);
        let text = format!("# kept\nMETA_APP_SECRET={SECRET}\r\nexport OTHER='a b' # kept too\nWA={old}\nLAST=x");
        stage.write("config.env", &text);
        let (env, log) = (stage.path("config.env"), stage.path("restarts"));
        let read = format!("$(sed -n 's/^WA=//p' {})", env.display());
        let (refusing, log) = (stage.path("refusing"), log.display());
        let accepts = format!("[ ! -e {} ] || [ \"$token\" = {old} ]", refusing.display());
        let hang = format!(
            "hang() {{ echo $$ >{0}.draft; mv {0}.draft {0}; exec sleep 600; }}\n",
            stage.path("hanging").display()
        );
        let flag = |place: &str| stage.path(&format!("hangs-at-{place}")).display().to_string();
        let restart = format!(
            "{hang}token={read}\n[ ! -e {} ] || hang\n[ ! -e {} ] || [ \"$token\" != {old} ] || hang\n\
             echo \"$token\" >>{log}\n{accepts}\n",
            flag("restart"),
            flag("return"),
        );
        let confirm = format!("{hang}[ ! -e {} ] || hang\n[ \"$(tail -n 1 {log})\" = \"{read}\" ]\n", flag("confirm"));
        let renew = format!(
            "[tokens.renew]\nbefore = \"20d\"\nfloor = \"{floor}\"\nrevoke_old = {}\nrestart = {{ run = [{}] }}\nconfirm = {{ run = [{}] }}\n",
            ends == Ends::Revoked,
            quoted(&script(&stage, "restart", &restart)),
            quoted(&script(&stage, "confirm", &confirm)),
        );
        stage.configure(&stage.config("", &(stage.token("wa", "WA") + "check = \"1h\"\n" + &renew)));
        if ends == Ends::RolledBack {
            stage.write("refusing", "");
        }
        Self { stage, old, text }
    }

    /// The application refuses no token any more.
    fn accept(&self) {
        let _ = fs::remove_file(self.stage.path("refusing"));
    }

    fn renew(&self) -> Said {
        self.stage.run(&["renew", "wa"])
    }

    /// The same with calls that fail. What it starts is not struck.
    fn failing(&self, fault: &str) -> Said {
        let mut strace = self.strace(fault, &self.stage.path("trace"));
        said(&strace.output().expect("strace runs"))
    }

    fn was_struck(&self) -> bool {
        fs::read_to_string(self.stage.path("trace")).is_ok_and(|text| text.contains("(INJECTED)"))
    }

    /// The same, killed when so many of these calls were made. Each call stops the whole process, which goes on when the call has been counted:
    /// nothing happens between the last of them and the end.
    fn killed_after(&self, calls: &str, count: usize) -> Said {
        let pipe = self.stage.path("trace");
        assert!(Command::new(program(&["mkfifo"])).arg(&pipe).status().expect("mkfifo runs").success());
        let mut strace = self.strace(&format!("{calls}:signal=STOP"), &pipe);
        let child = strace.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("strace runs");
        let tracer = Pid::from_child(&child);
        let (seen, last, over) = (AtomicUsize::new(0), AtomicI32::new(0), AtomicBool::new(false));
        let answer = || {
            // It may be gone by itself.
            let signal = if seen.load(Ordering::SeqCst) > count { Signal::KILL } else { Signal::CONT };
            Pid::from_raw(last.load(Ordering::SeqCst)).is_none_or(|pid| kill_process(pid, signal).is_ok())
        };
        thread::scope(|scope| {
            // A process that is told to go on before it has quite stopped stays where it is, so it is told again while nothing is heard of it.
            scope.spawn(|| {
                let (mut heard, mut silent) = (0, 0);
                while !over.load(Ordering::SeqCst) {
                    thread::sleep(SILENCE);
                    let now = seen.load(Ordering::SeqCst);
                    silent = if std::mem::replace(&mut heard, now) == now { silent + 1 } else { 0 };
                    if silent > 0 {
                        answer();
                    }
                    // A tracer that has lost a thread waits for it for ever; without it the process dies of what it was sent.
                    if silent == PATIENT_ROUNDS {
                        let last = Pid::from_raw(last.load(Ordering::SeqCst));
                        let _ = last.map(|pid| kill_process(pid, Signal::KILL));
                        let _ = kill_process(tracer, Signal::KILL);
                    }
                }
            });
            for line in BufReader::new(fs::File::open(&pipe).expect("a pipe")).lines().map_while(Result::ok) {
                let Some((process, what)) = line.split_once(' ') else { continue };
                let is_done = what.contains(" = ") && !what.trim_start().starts_with("---");
                let Some(pid) = process.parse().ok().filter(|_| is_done) else { continue };
                last.store(pid, Ordering::SeqCst);
                seen.fetch_add(1, Ordering::SeqCst);
                answer();
            }
            let said = said(&child.wait_with_output().expect("strace ends"));
            over.store(true, Ordering::SeqCst);
            said
        })
    }

    fn strace(&self, fault: &str, trace: &Path) -> Command {
        let calls = fault.split(':').next().unwrap_or_default();
        let mut strace = Command::new(program(&["strace"]));
        strace.args(["-f", "-qq", "-b", "execve", "-o"]).arg(trace).args(["-e", &format!("trace={calls}")]);
        strace.args(["-e", &format!("inject={fault}"), TOKENWATCH, "renew", "wa"]);
        self.stage.dress(&mut strace);
        strace
    }

    /// What must hold at every moment.
    fn judge(&self, said: &Said) -> Seen {
        let text = fs::read_to_string(self.stage.path("config.env")).expect("the env file is there");
        let token = text.lines().find_map(|line| line.strip_prefix("WA=")).expect("the key is there").to_owned();
        assert_eq!(text, self.text.replace(&self.old, &token), "half of a file: {said:?}");
        assert!(self.lives(&token), "a token that does not live: {said:?}");
        for words in [&said.out, &said.err] {
            assert!(!words.contains(&token) && !words.contains(&self.old), "a token is shown: {said:?}");
        }
        let (phase, sealed, is_over) = self.journal();
        let requests = self.stage.sim().requests();
        let exchanges = requests.get("/oauth/access_token").copied().unwrap_or_default();
        let committed = token != self.old && phase.as_deref().is_none_or(|phase| phase == "revoking");
        assert!(committed || self.lives(&self.old), "revoked before the commit: {phase:?}, {said:?}");
        Seen { token, phase, sealed, is_over, exchanges }
    }

    /// The journal in a copy of the state: how far, whether a new secret is sealed, whether a run has ended.
    fn journal(&self) -> (Option<String>, bool, bool) {
        let copy = tempfile::tempdir().expect("a temporary folder");
        for name in ["tokenwatch.db", "tokenwatch.db-wal"] {
            let from = self.stage.path("state").join(name);
            if from.exists() {
                fs::copy(from, copy.path().join(name)).expect("a copy");
            }
        }
        let Ok(state) = Connection::open(copy.path().join("tokenwatch.db")) else { return (None, false, false) };
        let check: String = state.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("a check");
        assert_eq!(check, "ok");
        let sql = "SELECT run ->> 'phase', sealed ->> 'new' IS NOT NULL FROM runs";
        // Before the first migration there are no tables.
        let row = state.query_row(sql, [], |row| Ok((Some(row.get(0)?), row.get(1)?)));
        let (phase, sealed) = row.unwrap_or_default();
        let ended: i64 = state.query_row("SELECT count(*) FROM renewals", [], |row| row.get(0)).unwrap_or_default();
        (phase, sealed, ended > 0)
    }

    /// The tokens that the application was restarted with.
    fn restarts(&self) -> Vec<String> {
        let text = fs::read_to_string(self.stage.path("restarts")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn lives(&self, token: &str) -> bool {
        self.stage.sim().with_world(|world| world.token(token).is_some_and(|token| token.ended.is_none()))
    }

    /// What stands beside the env file and does not belong there.
    fn leftovers(&self) -> Vec<String> {
        let names = fs::read_dir(self.stage.folder.path()).expect("a folder");
        let names = names.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
        names.filter(|name| name.contains(".tokenwatch-")).collect()
    }
}

/// A container may forbid it, and then it is better said than waited for.
fn processes_can_be_traced() {
    let traced = Command::new(program(&["strace"])).args(["-o", "/dev/null", "true"]).output().expect("strace runs");
    assert!(traced.status.success(), "strace cannot trace here: {}", String::from_utf8_lossy(&traced.stderr));
}

fn said(output: &Output) -> Said {
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn script(stage: &Stage, name: &str, text: &str) -> PathBuf {
    let path = stage.write(name, &format!("#!/bin/sh\n{text}"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
    path
}

/// What makes things last; a run is killed after each of them.
const DURABLE: &str = "fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,link,linkat,ftruncate";
/// What writes, also to the screen and to other threads; a run is killed after some of them.
const WRITES: &str = "write,pwrite64";
const STRIDE: usize = 23;
/// Calls that fail, and the times at which they do, counted in each thread.
const FAILING: [(&str, &[usize]); 5] = [
    ("pwrite64:error=ENOSPC", &[1, 8, 15, 22, 29, 36, 50]),
    ("fsync,fdatasync:error=EIO", &[1, 2, 3, 4, 5, 6, 7, 8]),
    ("rename,renameat,renameat2:error=EIO", &[1, 2]),
    ("unlink,unlinkat:error=EIO", &[1]),
    ("link,linkat:error=ENOSPC", &[1]),
];
/// After so long without a traced call a process is told again to go on.
const SILENCE: Duration = Duration::from_millis(500);
/// A run takes no longer than a few seconds.
const PATIENT_ROUNDS: u32 = 40;
/// A hundred and thirty were seen.
const LEAST_KILLS: usize = 110;
/// Thirty-three were seen.
const LEAST_FAULTS: usize = 28;
const DAY: i64 = 86_400;
/// It answers /health with the end of its token, well if the provider knows the token and it has not been told to take another one only.
const APPLICATION: &str = "
const [env, only, port, base] = process.argv.slice(2);
require('dotenv').config({ path: env, quiet: true });
const fs = require('fs'), token = process.env.WA;
require('http').createServer(async (request, response) => {
  const known = await fetch(base + '/v25.0/me', { headers: { Authorization: 'Bearer ' + token } }).catch(() => ({ ok: false }));
  const taken = !fs.existsSync(only) || fs.readFileSync(only, 'utf8') === token;
  response.statusCode = request.url === '/health' && known.ok && taken ? 200 : 503;
  response.end(token.slice(-8));
}).listen(Number(port), '127.0.0.1');
";
