//! Whether git has a file, or would take it with the next commit.
//!
//! The repository may be hostile: git is asked in a way that runs nothing of it, fetches nothing and changes nothing, and never for long.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use super::tool::{Silence, Told, Tool};
use super::way::Way;

/// What git has of a file. Later ones are worse.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Tracking {
    /// It is in no working tree.
    NoRepository,
    /// It is ignored and in no commit.
    Ignored,
    /// It is in no commit, and nothing keeps it out of the next one.
    NotIgnored,
    /// That cannot be told, and why.
    Unknown(String),
    /// It is no longer tracked, but a commit holds it: whoever has the history has what stood in it.
    InHistory,
    /// It is tracked.
    Tracked,
}

/// Asks `git`, a name or a path, in at most five seconds. The file's real place decides, and every link on the way is looked at
/// too: a commit may have taken the file before a link took its place. A tracked link as such is harmless.
///
/// What only a user's own settings ignore counts as not ignored: another user's `git add` would take it. In a history too long to be searched in
/// time nothing is found.
pub async fn tracking(git: &str, path: &Path) -> Tracking {
    let end = Instant::now() + PATIENCE;
    let way = match Way::to(path) {
        Ok(way) => way,
        Err(text) => return Tracking::Unknown(text),
    };
    let mut worst = match Repository::above(git, &way.file, end) {
        Some(repository) => repository.about_file(&way.file).await.unwrap_or_else(|known| known),
        None => Tracking::NoRepository,
    };
    for link in &way.links {
        if let Some(repository) = Repository::above(git, link, end) {
            worst = worst.max(repository.about_link(link).await.unwrap_or_else(|known| known));
        }
    }
    worst
}

/// A repository, by its working tree.
struct Repository<'a> {
    git: &'a str,
    top: PathBuf,
    user: Option<(u32, u32)>,
    end: Instant,
}

impl<'a> Repository<'a> {
    /// The one that a file is in. Without any `.git` above it there is none, and git need not even be installed.
    fn above(git: &'a str, file: &Path, end: Instant) -> Option<Self> {
        let folders = file.ancestors().skip(1);
        let mut found = folders.filter_map(|folder| Some((folder, folder.join(".git").symlink_metadata().ok()?)));
        let (top, owner) = found.next()?;
        // Root asks as the owner of the repository: if, against all that stands below, it could make git run something, then nothing that its
        // owner could not have run anyway.
        let drops = rustix::process::geteuid().is_root() && owner.uid() != 0;
        Some(Self { git, top: top.to_owned(), user: drops.then(|| (owner.uid(), owner.gid())), end })
    }

    async fn about_file(&self, file: &Path) -> Result<Tracking, Tracking> {
        if !self.index(file).await?.is_empty() {
            return Ok(Tracking::Tracked);
        }
        let told = self.ask(&["check-ignore", "--quiet"], file).await?;
        let now = match told.code {
            Some(0) => Tracking::Ignored,
            Some(1) => Tracking::NotIgnored,
            _ => return Err(self.refused(&told)),
        };
        // Merges that dropped it are looked behind as well.
        let past = self.ask(&[LITERAL, "rev-list", "--all", "--full-history", "--max-count=1"], file).await;
        let is_past = past.is_ok_and(|told| told.code == Some(0) && !told.out.is_empty());
        Ok(if is_past { Tracking::InHistory } else { now })
    }

    /// Only what is more than a link in the index is a file that once stood there.
    async fn about_link(&self, link: &Path) -> Result<Tracking, Tracking> {
        let is_file = self.index(link).await?.starts_with(b"100");
        Ok(if is_file { Tracking::Tracked } else { Tracking::NoRepository })
    }

    /// The entry of the index, which begins with the mode.
    async fn index(&self, file: &Path) -> Result<Vec<u8>, Tracking> {
        let told = self.ask(&[LITERAL, "ls-files", "--stage", "-z"], file).await?;
        if told.code == Some(0) { Ok(told.out.to_vec()) } else { Err(self.refused(&told)) }
    }

    async fn ask(&self, question: &[&str], file: &Path) -> Result<Told, Tracking> {
        let tool = Tool { program: self.git, variables: &VARIABLES, user: self.user, most: MOST };
        // A colon in front would not be part of the name.
        let file = Path::new(".").join(file.strip_prefix(&self.top).unwrap_or(file));
        let mut arguments: Vec<&OsStr> = SAFE.iter().map(OsStr::new).collect();
        arguments.extend([OsStr::new("-C"), self.top.as_os_str()]);
        arguments.extend(question.iter().map(OsStr::new));
        arguments.extend([OsStr::new("--"), file.as_os_str()]);
        tool.ask(&arguments, self.end).await.map_err(|silence| {
            Tracking::Unknown(match silence {
                Silence::Missing => format!("git is not installed, and {} is a repository", self.top.display()),
                Silence::Because(text) => format!("git {text}"),
            })
        })
    }

    fn refused(&self, told: &Told) -> Tracking {
        // An empty folder named .git is no repository.
        if told.err.contains("not a git repository") {
            return Tracking::NoRepository;
        }
        let words = told.err.strip_prefix("fatal: ").unwrap_or(&told.err);
        Tracking::Unknown(format!("git says of {}: {words}", self.top.display()))
    }
}

/// What a repository's own configuration could make git run is turned off; the command line has the last word. Of the three
/// commands that are asked none runs filters, textconv, an editor, a pager or gpg.
const SAFE: [&str; 10] = [
    "--no-pager",
    "--no-optional-locks",
    // A program that is run whenever the index is read.
    "-c",
    "core.fsmonitor=false",
    // Hooks would be run if the index were written, which nothing here does.
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "submodule.recurse=false",
    // git does not look at repositories of other users, for it cannot know that it will only be asked what runs nothing. Here that is known.
    "-c",
    "safe.directory=*",
];

const VARIABLES: [(&str, &str); 10] = [
    // A folder that is not there: no settings of any user.
    ("HOME", "/nonexistent"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_CONFIG_SYSTEM", "/dev/null"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_ATTR_NOSYSTEM", "1"),
    ("GIT_TERMINAL_PROMPT", "0"),
    // A partial clone fetches what it lacks, over a program that its configuration names. New versions of git know the first, old
    // ones the second: a list of the allowed protocols on which none is.
    ("GIT_NO_LAZY_FETCH", "1"),
    ("GIT_ALLOW_PROTOCOL", "none"),
    ("GIT_NO_REPLACE_OBJECTS", "1"),
    // The repository was found there as well.
    ("GIT_DISCOVERY_ACROSS_FILESYSTEM", "1"),
];

/// A file's name is a name and no pattern. `check-ignore` takes names only, and does not know this.
const LITERAL: &str = "--literal-pathspecs";
/// For all questions together.
const PATIENCE: Duration = Duration::from_secs(5);
/// An answer is a line.
const MOST: usize = 16 * 1024;
