//! Files are replaced on real file systems: full ones, read-only ones, with other owners, access lists and many writers.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use tokenwatch::renewal::sink::{Held, Put, SinkError, Swap, env_file, file};
use tokenwatch::secret::Secret;
use tokenwatch::settings::delivery::Dialect;

use crate::support::process::program;

#[test]
fn what_belongs_to_the_file_is_kept() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = write(folder.path(), "old\n");
    run("setfacl", &["-m", "u:daemon:r,g:games:r", &shown(&path)]);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("a mode");
    std::os::unix::fs::chown(&path, Some(1234), Some(2345)).expect("an owner");
    // The folder hands down an access list of its own, which the file has not.
    run("setfacl", &["-d", "-m", "u:nobody:rw", &shown(folder.path())]);
    let (before, list) = (fs::metadata(&path).expect("a file"), access(&path));
    assert!(list.contains("user:daemon:r"), "{list}");

    assert_eq!(put(&path, "old", "new"), Ok(Put::Written));
    let after = fs::metadata(&path).expect("a file");
    assert_eq!(fs::read_to_string(&path).expect("a file"), "new\n");
    assert_ne!(after.ino(), before.ino(), "it was replaced, not written into");
    assert_eq!((after.mode(), after.uid(), after.gid()), (before.mode(), 1234, 2345));
    assert_eq!(access(&path), list);

    let plain = write(folder.path(), "old\n");
    run("setfacl", &["-b", &shown(&plain)]);
    let list = access(&plain);
    assert_eq!(put(&plain, "old", "new"), Ok(Put::Written));
    assert_eq!(access(&plain), list, "the folder's list was not handed down");
    alone(folder.path());
}

#[test]
fn a_link_is_followed_and_kept() {
    let (folder, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let path = write(other.path(), "old");
    let link = folder.path().join("link");
    symlink(&path, &link).expect("a link");
    assert_eq!(put(&link, "old", "new"), Ok(Put::Written));
    assert_eq!(fs::read_link(&link).expect("a link"), path);
    assert_eq!(fs::read_to_string(&path).expect("a file"), "new");

    fs::remove_file(&path).expect("it goes");
    refused(put(&link, "old", "new"), "a link to a file that is not there");
}

#[test]
fn what_cannot_be_replaced_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = write(folder.path(), "old");
    fs::hard_link(&path, folder.path().join("second")).expect("a hard link");
    refused(put(&path, "old", "new"), "has 2 hard links");
    fs::remove_file(folder.path().join("second")).expect("it goes");

    refused(put(folder.path(), "old", "new"), "is not a regular file");
    refused(put(Path::new("/dev/null"), "old", "new"), "is not a regular file");
    run("mkfifo", &[&shown(&folder.path().join("pipe"))]);
    refused(put(&folder.path().join("pipe"), "old", "new"), "is not a regular file");
    let large = folder.path().join("large");
    fs::write(&large, vec![b'x'; (1 << 20) + 1]).expect("a large file");
    refused(put(&large, "old", "new"), "larger than 1 MiB");
    fs::write(&large, [0xff, 0xfe]).expect("no text");
    refused(put(&large, "old", "new"), "is not UTF-8 text");

    let mount = Mount::bind(&path);
    refused(put(&path, "old", "new"), "is a mount point");
    drop(mount);
    assert_eq!(fs::read_to_string(&path).expect("a file"), "old");
}

#[test]
fn a_read_only_folder_is_refused_with_the_remedy() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = write(folder.path(), "old");
    let mount = Mount::bind(folder.path());
    run("mount", &["-o", "remount,bind,ro", &shown(folder.path())]);
    refused(put(&path, "old", "new"), &format!("ReadWritePaths={}", folder.path().display()));
    drop(mount);
    assert_eq!(put(&path, "old", "new"), Ok(Put::Written));
}

#[test]
fn on_a_full_disk_the_old_file_is_whole() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mount = Mount::small(folder.path());
    let path = write(folder.path(), &format!("A={}\nT=old\n", "x".repeat(20_000)));
    let filling = folder.path().join("filling");
    let _ = fs::write(&filling, vec![0; 1 << 20]);
    let before = fs::read(&path).expect("a file");
    let error = put_key(&path, "T", "old", "new").expect_err("the disk is full");
    assert!(matches!(&error, SinkError::Failed(text) if text.contains("No space left")), "{error}");
    assert_eq!(fs::read(&path).expect("a file"), before);
    fs::remove_file(&filling).expect("it goes");
    alone(folder.path());
    assert_eq!(put_key(&path, "T", "old", "new"), Ok(Put::Written));
    drop(mount);
}

#[test]
fn what_a_crash_left_is_removed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = write(folder.path(), "old");
    let left = folder.path().join(".token.tokenwatch-99-0");
    let (others, kin) = (folder.path().join(".token2.tokenwatch-99-0"), folder.path().join(".token.tokenwatch-77-0"));
    for file in [&left, &others, &kin] {
        fs::write(file, "half").expect("a file");
    }
    std::os::unix::fs::chown(&kin, Some(1234), None).expect("an owner");
    assert_eq!(put(&path, "old", "new"), Ok(Put::Written));
    assert!(!left.exists() && others.exists() && kin.exists(), "only ours, and only of this file");
}

#[test]
fn writers_of_one_file_lose_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = write(folder.path(), "A=0\nB=0\nC=0\nD=0\n");
    thread::scope(|scope| {
        for key in ["A", "B", "C", "D"] {
            let path = &path;
            scope.spawn(move || {
                for n in 0..50_u32 {
                    let done = put_key(path, key, &n.to_string(), &(n + 1).to_string());
                    assert_eq!(done, Ok(Put::Written), "{key} {n}");
                }
            });
        }
    });
    assert_eq!(fs::read_to_string(&path).expect("a file"), "A=50\nB=50\nC=50\nD=50\n");
    alone(folder.path());
}

#[test]
fn keys_are_held_swapped_and_given_back() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = write(folder.path(), "A=1\nT=\n");
    assert!(matches!(env_file::held(&path, "T"), Ok(Held::Nothing)));
    let there = |from: &Held, to: &Held| env_file::put(&path, "T", Dialect::Any, Swap { from, to });
    let (old, new) = (secret("old"), secret("new"));
    assert_eq!(there(&Held::Nothing, &old), Ok(Put::Written));
    assert_eq!(there(&Held::Nothing, &old), Ok(Put::AlreadyThere));
    assert!(matches!(there(&new, &Held::Nothing), Err(SinkError::Conflict(_))));
    assert_eq!(there(&Held::Unknown, &new), Ok(Put::Written));
    assert!(env_file::held(&path, "T").is_ok_and(|held| held.is(&new)));
    assert_eq!(there(&new, &Held::Nothing), Ok(Put::Written));
    assert_eq!(fs::read_to_string(&path).expect("a file"), "A=1\nT=\n");
    let none = env_file::held(&path, "NONE").expect_err("no such key");
    assert_eq!(none, SinkError::Refused("has no key NONE; add the line NONE= first".to_owned()));
    let missing = env_file::held(&folder.path().join("missing"), "T").expect_err("no such file");
    assert!(matches!(missing, SinkError::Refused(_)), "{missing}");
}

fn write(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("token");
    fs::write(&path, text).expect("a file is written");
    path
}

fn secret(text: &str) -> Held {
    Held::Secret(Secret::new(text.to_owned().into()))
}

fn put(path: &Path, from: &str, to: &str) -> Result<Put, SinkError> {
    file::put(path, Swap { from: &secret(from), to: &secret(to) })
}

fn put_key(path: &Path, key: &str, from: &str, to: &str) -> Result<Put, SinkError> {
    env_file::put(path, key, Dialect::Any, Swap { from: &secret(from), to: &secret(to) })
}

fn refused(done: Result<Put, SinkError>, words: &str) {
    assert!(matches!(&done, Err(SinkError::Refused(text)) if text.contains(words)), "{words}: {done:?}");
}

/// There is the file and nothing beside it.
fn alone(folder: &Path) {
    let names: Vec<_> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(names, ["token"]);
}

fn access(path: &Path) -> String {
    run("getfacl", &["-c", "-p", &shown(path)])
}

fn run(name: &str, arguments: &[&str]) -> String {
    let output = Command::new(program(&[name])).args(arguments).output().expect("it runs");
    assert!(output.status.success(), "{name} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// A mount that ends with this value.
struct Mount(PathBuf);

impl Mount {
    fn bind(path: &Path) -> Self {
        run("mount", &["--bind", &shown(path), &shown(path)]);
        Self(path.to_owned())
    }

    fn small(path: &Path) -> Self {
        run("mount", &["-t", "tmpfs", "-o", "size=64k", "tmpfs", &shown(path)]);
        Self(path.to_owned())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        run("umount", &[&shown(&self.0)]);
    }
}
