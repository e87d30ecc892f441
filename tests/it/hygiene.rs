//! The places of secrets, really looked at: repositories made by git itself, hostile ones too, and processes that show what they should not.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;
use tokenwatch::hygiene::{Exposed, Place, Tracking, exposed_processes, exposed_units, tracking};
use tokenwatch::secret::Secret;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::support::process::{PATIENCE, program, wait_until, write_program};

#[tokio::test]
async fn git_has_it_or_would_take_it_or_would_not() {
    let repository = Repository::new();
    repository.write(".gitignore", "*.secret\n/build/\n");
    for name in ["config.env", "sub/deep/config.env", "gone.secret", "gone.env", "a.env", "branch.env"] {
        repository.write(name, "T=1\n");
    }
    repository.git(&["add", "--force", "."]);
    repository.git(&["rm", "--quiet", "--cached", "branch.env"]);
    repository.commit();
    repository.git(&["checkout", "--quiet", "-b", "other"]);
    repository.git(&["add", "branch.env"]);
    repository.commit();
    repository.git(&["checkout", "--quiet", "-"]);
    repository.write("branch.env", "T=1\n");
    repository.git(&["rm", "--quiet", "--cached", "gone.env", "gone.secret"]);
    repository.commit();
    repository.write(".git/info/exclude", "excluded.env\n");
    for name in [
        "new.env",
        "x.secret",
        "build/config.env",
        "excluded.env",
        "staged.env",
        "[a].env",
        "*.env",
        ":(top)a.env",
        "-n",
    ] {
        repository.write(name, "T=1\n");
    }
    repository.git(&["add", "staged.env"]);
    for (name, expected) in [
        ("config.env", Tracking::Tracked),
        ("sub/deep/config.env", Tracking::Tracked),
        ("staged.env", Tracking::Tracked),
        ("gone.env", Tracking::InHistory),
        ("gone.secret", Tracking::InHistory),
        ("branch.env", Tracking::InHistory),
        ("new.env", Tracking::NotIgnored),
        ("x.secret", Tracking::Ignored),
        ("build/config.env", Tracking::Ignored),
        ("excluded.env", Tracking::Ignored),
        // A name is a name: these would be patterns for files that are tracked.
        ("[a].env", Tracking::NotIgnored),
        ("*.env", Tracking::NotIgnored),
        (":(top)a.env", Tracking::NotIgnored),
        ("-n", Tracking::NotIgnored),
    ] {
        assert_eq!(tracking("git", &repository.path(name)).await, expected, "{name}");
    }
    let missing = tracking("git", &repository.path("none")).await;
    assert!(matches!(&missing, Tracking::Unknown(text) if text.contains("none: No such file")), "{missing:?}");
}

#[tokio::test]
async fn where_no_repository_is_git_is_not_needed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("token");
    fs::write(&file, "x").expect("a file");
    assert_eq!(tracking("no-such-git", &file).await, Tracking::NoRepository);
    // This looks like one and is none.
    fs::create_dir(folder.path().join(".git")).expect("a folder");
    assert_eq!(tracking("git", &file).await, Tracking::NoRepository);
    let words = format!("git is not installed, and {} is a repository", folder.path().display());
    assert_eq!(tracking("no-such-git", &file).await, Tracking::Unknown(words));

    let new = Repository::new();
    new.write("token", "x");
    assert_eq!(tracking("git", &new.path("token")).await, Tracking::NotIgnored, "there is no commit yet");
}

#[tokio::test]
async fn links_are_followed_and_what_they_replaced_is_seen() {
    let (repository, outside) = (Repository::new(), tempfile::tempdir().expect("a temporary folder"));
    let real = outside.path().join("real");
    fs::write(&real, "T=1\n").expect("a file");
    for name in ["tracked", "replaced"] {
        repository.write(name, "T=1\n");
    }
    symlink(&real, repository.path("link")).expect("a link");
    repository.git(&["add", "."]);
    repository.commit();
    symlink(&real, repository.path("untracked")).expect("a link");
    fs::remove_file(repository.path("replaced")).expect("it goes");
    symlink(&real, repository.path("replaced")).expect("a link");
    symlink(repository.path("tracked"), outside.path().join("inwards")).expect("a link");
    symlink(repository.path("."), outside.path().join("folder")).expect("a link");
    for (path, expected) in [
        (repository.path("link"), Tracking::NoRepository),
        (repository.path("untracked"), Tracking::NoRepository),
        (repository.path("replaced"), Tracking::Tracked),
        (outside.path().join("inwards"), Tracking::Tracked),
        (outside.path().join("folder/tracked"), Tracking::Tracked),
        (outside.path().join("folder/link"), Tracking::NoRepository),
    ] {
        assert_eq!(tracking("git", &path).await, expected, "{}", path.display());
    }
}

#[tokio::test]
async fn working_trees_and_submodules_are_repositories() {
    let (main, inner) = (Repository::new(), Repository::new());
    for repository in [&main, &inner] {
        repository.write("config.env", "T=1\n");
        repository.git(&["add", "."]);
        repository.commit();
    }
    let tree = tempfile::tempdir().expect("a temporary folder");
    let tree = tree.path().join("tree");
    main.git(&["worktree", "add", "--quiet", &tree.display().to_string()]);
    fs::write(tree.join("new.env"), "T=1\n").expect("a file");
    let url = inner.path(".").display().to_string();
    main.git(&["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", &url, "inner"]);
    main.write("inner/new.env", "T=1\n");
    assert!(tree.join(".git").is_file() && main.path("inner/.git").is_file(), "they have no folder of that name");
    for (path, expected) in [
        (tree.join("config.env"), Tracking::Tracked),
        (tree.join("new.env"), Tracking::NotIgnored),
        (main.path("inner/config.env"), Tracking::Tracked),
        (main.path("inner/new.env"), Tracking::NotIgnored),
    ] {
        assert_eq!(tracking("git", &path).await, expected, "{}", path.display());
    }
}

/// git itself refuses to look at the repository of another user.
#[tokio::test]
async fn the_repository_of_somebody_else_is_looked_at_as_that_user() {
    assert!(rustix::process::geteuid().is_root(), "only root can give files away");
    let repository = Repository::new();
    repository.write("config.env", "T=1\n");
    repository.git(&["add", "."]);
    repository.commit();
    repository.write("new.env", "T=1\n");
    give_away(repository.folder.path());
    fs::set_permissions(repository.folder.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
    assert_eq!(tracking("git", &repository.path("config.env")).await, Tracking::Tracked);
    assert_eq!(tracking("git", &repository.path("new.env")).await, Tracking::NotIgnored);
    let who = repository.path("who");
    repository.script("fake", &format!("id -u >{0}; id -G >>{0}", who.display()));
    let fake = repository.path("fake").display().to_string();
    assert_eq!(tracking(&fake, &repository.path("config.env")).await, Tracking::Ignored, "that git agrees to all");
    assert_eq!(fs::read_to_string(&who).expect("it ran"), format!("{OTHER}\n{OTHER}\n"), "no group of root's is left");

    // Its owner cannot get there.
    fs::set_permissions(repository.folder.path(), fs::Permissions::from_mode(0o700)).expect("a mode");
    chown(repository.folder.path(), Some(0), Some(0)).expect("an owner");
    let closed = tracking("git", &repository.path("config.env")).await;
    assert!(matches!(&closed, Tracking::Unknown(text) if text.contains("Permission denied")), "{closed:?}");
}

#[tokio::test]
async fn a_hostile_repository_runs_nothing() {
    let repository = Repository::new();
    repository.write("config.env", "T=1\n");
    repository.write("ignored.env", "T=1\n");
    repository.write(".gitignore", "ignored.env\n");
    repository.write(".gitattributes", "* filter=trap diff=trap\n");
    repository.git(&["add", "config.env", ".gitignore"]);
    repository.commit();
    repository.write("config.env", "T=2\n");
    repository.git(&["add", "config.env"]);
    repository.commit();
    repository.write("new.env", "T=1\n");
    let marker = repository.path("marker");
    repository.script("trap", &format!("echo \"$0 $@\" >>{}", marker.display()));
    fs::create_dir(repository.path("hooks")).expect("a folder");
    for hook in ["post-index-change", "pre-auto-gc", "reference-transaction"] {
        repository.script(&format!("hooks/{hook}"), &format!("echo \"$0 $@\" >>{}", marker.display()));
    }
    let trap = repository.path("trap").display().to_string();
    // The tree of the first commit is not there: whoever walks the history fetches it, by a program that the repository names.
    let tree = repository.git(&["rev-parse", "HEAD~1^{tree}"]);
    let tree = tree.trim();
    fs::remove_file(repository.path(&format!(".git/objects/{}/{}", &tree[..2], &tree[2..]))).expect("it goes");
    for (key, value) in [
        ("core.fsmonitor", trap.as_str()),
        ("core.fsmonitorHookVersion", "1"),
        ("core.hooksPath", &repository.path("hooks").display().to_string()),
        ("core.pager", &trap),
        ("core.editor", &trap),
        ("core.sshCommand", &trap),
        ("core.askPass", &trap),
        ("core.gitProxy", &trap),
        ("core.alternateRefsCommand", &trap),
        ("pager.ls-files", "true"),
        ("pager.rev-list", "true"),
        ("log.showSignature", "true"),
        ("gpg.program", &trap),
        ("filter.trap.clean", &trap),
        ("filter.trap.process", &trap),
        ("filter.trap.required", "true"),
        ("diff.trap.command", &trap),
        ("diff.trap.textconv", &trap),
        ("diff.external", &trap),
        ("credential.helper", &format!("!{trap}")),
        ("alias.ls-files", &format!("!{trap}")),
        ("core.repositoryFormatVersion", "1"),
        ("extensions.partialClone", "origin"),
        ("remote.origin.url", &repository.path(".").display().to_string()),
        ("remote.origin.promisor", "true"),
        ("remote.origin.uploadPack", &trap),
    ] {
        repository.git(&["config", key, value]);
    }
    for (name, expected) in
        [("config.env", Tracking::Tracked), ("ignored.env", Tracking::Ignored), ("new.env", Tracking::NotIgnored)]
    {
        assert_eq!(tracking("git", &repository.path(name)).await, expected, "{name}");
        assert!(!marker.exists(), "{name}: {}", fs::read_to_string(&marker).unwrap_or_default());
    }
    // The traps are no dummies.
    for (arguments, trapped) in [
        (&["status"][..], "trap"),
        (&["rev-list", "--all", "--", "new.env"], "trap"),
        (&["read-tree", "HEAD"], "post-index-change"),
    ] {
        let _ = fs::remove_file(&marker);
        let _ = repository.command(arguments).output().expect("git runs");
        let fallen = fs::read_to_string(&marker).unwrap_or_default();
        assert!(fallen.contains(trapped), "{arguments:?}: {fallen}");
    }
}

#[tokio::test]
async fn a_repository_that_hangs_is_given_up() {
    let repository = Repository::new();
    repository.write("config.env", "T=1\n");
    let pipe = repository.path("pipe").display().to_string();
    assert!(Command::new(program(&["mkfifo"])).arg(&pipe).status().is_ok_and(|status| status.success()));
    repository.git(&["config", "core.excludesFile", &pipe]);
    let begun = Instant::now();
    let known = tracking("git", &repository.path("config.env")).await;
    assert_eq!(known, Tracking::Unknown("git did not answer in time".to_owned()));
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    let noisy = repository.script("noisy", "exec yes");
    let known = tracking(&noisy, &repository.path("config.env")).await;
    assert!(matches!(&known, Tracking::Unknown(text) if text.contains("printed more than")), "{known:?}");
}

#[tokio::test]
async fn git_gets_nothing_of_our_environment() {
    let repository = Repository::new();
    repository.write("config.env", "T=1\n");
    let fake = repository.script("fake", &format!("env >{}; pwd", repository.path("environment").display()));
    tracking(&fake, &repository.path("config.env")).await;
    let environment = fs::read_to_string(repository.path("environment")).expect("it ran");
    let known = ["GIT_", "HOME=/nonexistent", "LC_ALL=C", "PATH=", "PWD=/", "_=", "SHLVL=", "OLDPWD="];
    for line in environment.lines() {
        assert!(known.iter().any(|known| line.starts_with(known)), "{line}");
    }
    let ours = environment.lines().filter(|line| line.starts_with("GIT_")).count();
    assert_eq!(ours, 9, "{environment}");
}

#[tokio::test]
async fn a_secret_on_a_command_line_is_found() {
    let secret = secret("shown-to-everybody-4711");
    let (plain, script) = (show(&["marker", secret.expose()]), show(&["--token=shown-to-everybody-4711"]));
    let others = [self::secret("shown-to-everybody-4712"), self::secret("marker")];
    let secrets = [&others[0], &secret, &others[1]];
    wait_until("both to run", PATIENCE, || [&plain, &script].iter().all(|shown| shown.name() == "sh"));
    let found = exposed_processes(Path::new("/proc"), &secrets).await.expect("processes");
    for shown in [&plain, &script] {
        let by = format!("process {} (sh)", shown.0.id());
        assert!(found.contains(&Exposed { secret: 1, by: by.clone(), place: Place::CommandLine }), "{by}: {found:?}");
    }
    assert!(found.iter().all(|exposed| exposed.secret == 1), "{found:?}");
    assert!(!format!("{found:?}").contains("4711-"), "{found:?}");
    let (ids, words) = ([plain.0.id(), script.0.id()], "process");
    drop((plain, script));
    let found = exposed_processes(Path::new("/proc"), &secrets).await.expect("processes");
    let gone = |exposed: &Exposed| ids.iter().all(|id| !exposed.by.starts_with(&format!("{words} {id} ")));
    assert!(found.iter().all(gone), "{found:?}");
}

/// What the real one prints is looked at on a machine that was booted with it.
#[tokio::test]
async fn a_unit_that_shows_a_secret_is_named() {
    let folder = Repository::new();
    let secret = secret("correct-horse-battery");
    let asked = async |script: &str| exposed_units(&folder.script("systemctl", script), &[&secret]).await;
    let arguments = folder.path("arguments");
    let shown = format!(
        "echo \"$@\" >{}\ncat <<END\nExecStart={{ argv[]=/bin/app }}\nEnvironment=A=1 TOKEN=correct-horse-battery\nId=app.service\n\n\
         ExecStart={{ argv[]=/bin/app }}\nEnvironment=\nId=other.service\nEND",
        arguments.display()
    );
    let app = Exposed { secret: 0, by: "app.service".to_owned(), place: Place::Environment };
    assert_eq!(asked(&shown).await, Ok(vec![app]));
    let arguments = fs::read_to_string(&arguments).expect("it ran");
    assert!(arguments.starts_with("--no-pager show --property=Id,") && !arguments.contains("horse"), "{arguments}");

    let absent = "echo 'System has not been booted with systemd as init system (PID 1).' >&2; exit 1";
    assert_eq!(asked(absent).await, Ok(Vec::new()));
    assert_eq!(asked("echo 'Failed to connect to bus: No such file or directory' >&2; exit 1").await, Ok(Vec::new()));
    let nobody = exposed_units("no-such-systemctl", &[&secret]).await;
    assert_eq!(nobody, Ok(Vec::new()));
    let refused = asked("echo 'Access denied for EAAB0123456789abcdefghijk' >&2; exit 1").await;
    assert_eq!(refused, Err("systemctl says: Access denied for ***".to_owned()));
    let begun = Instant::now();
    assert_eq!(asked("sleep 60").await, Err("systemctl did not answer in time".to_owned()));
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert_eq!(asked("exec yes").await, Err("systemctl printed more than 8192 KiB".to_owned()));
}

/// A repository of its own.
struct Repository {
    folder: TempDir,
}

impl Repository {
    fn new() -> Self {
        let repository = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        repository.git(&["init", "--quiet"]);
        repository
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        fs::write(path, text).expect("a file");
    }

    /// A program that anybody may run.
    fn script(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        write_program(&path, &format!("#!/bin/sh\n{text}\n"));
        path.display().to_string()
    }

    fn commit(&self) {
        self.git(&["commit", "--quiet", "--allow-empty", "--message=x"]);
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().expect("git runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program(&["git"]));
        let who = ["GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"];
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.folder.path())
            .envs(who.map(|name| (name, "ada")))
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }
}

/// A process that shows what it was started with; it is killed in the end.
struct Shown(Child);

fn show(arguments: &[&str]) -> Shown {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "sleep 60; :"]).args(arguments).process_group(0);
    Shown(command.spawn().expect("a shell"))
}

impl Shown {
    fn name(&self) -> String {
        fs::read_to_string(format!("/proc/{}/comm", self.0.id())).unwrap_or_default().trim().to_owned()
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(group) = Pid::from_raw(self.0.id().cast_signed()) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.0.wait();
    }
}

fn give_away(path: &Path) {
    std::os::unix::fs::lchown(path, Some(OTHER), Some(OTHER)).expect("an owner");
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("a folder") {
            give_away(&entry.expect("an entry").path());
        }
    }
}

fn secret(text: &str) -> Secret {
    Secret::new(Zeroizing::new(text.to_owned()))
}

/// A user that is nobody.
const OTHER: u32 = 61_234;
