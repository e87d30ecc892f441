//! Replaces a file as a whole: whoever reads it sees the old one or the new one, also after a crash.
//!
//! The new file has the mode, the owner, the access lists and the label of the old one, or it is not put in its place. It never writes into
//! the file that stands there.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{self, AtFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags, Stat, XattrFlags};
use rustix::io::Errno;
use zeroize::Zeroizing;

use super::{Put, SinkError};

/// What is to become of a file.
pub enum Change {
    /// Nothing.
    None,
    /// It holds this and nothing else.
    Write(Zeroizing<String>),
    /// It is gone.
    Remove,
}

/// The whole of a small text file; none where there is no file.
///
/// # Errors
/// When it is no such file, or cannot be read.
pub fn read(path: &Path) -> Result<Option<Zeroizing<String>>, SinkError> {
    match fs::open(path, READ, Mode::empty()) {
        Ok(file) => Ok(Some(text_of(File::from(file))?.0)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(unreadable(error)),
    }
}

/// Reads a file, lets `change` say what is to become of it, and does that. Meanwhile no other tokenwatch changes a file in the same folder.
/// Where somebody else changes this one in between, `change` is asked again.
///
/// # Errors
/// When it cannot be done safely, or failed.
pub fn edit(path: &Path, mut change: impl FnMut(Option<&str>) -> Result<Change, SinkError>) -> Result<Put, SinkError> {
    for _ in 0..TRIES {
        let place = Place::find(path)?;
        place.lock()?;
        place.remove_leftovers();
        let standing = place.open()?;
        let wanted = change(standing.as_ref().map(|standing| standing.text.as_str()))?;
        let done = match (wanted, &standing) {
            (Change::None, _) | (Change::Remove, None) => return Ok(Put::AlreadyThere),
            (Change::Write(text), _) => place.replace(&text, standing.as_ref())?,
            (Change::Remove, Some(standing)) => place.remove(standing)?,
        };
        if done {
            fs::fsync(&place.folder).map_err(|error| {
                SinkError::Failed(format!("was written, but it may not outlive a crash: {}", words(error)))
            })?;
            return Ok(Put::Written);
        }
    }
    Err(SinkError::Failed("is changed by somebody else all the time; nothing was written".to_owned()))
}

/// Where a file stands once every link is followed.
struct Place {
    folder: OwnedFd,
    folder_path: PathBuf,
    name: OsString,
}

/// A file that stands there.
struct Standing {
    file: File,
    stat: Stat,
    text: Zeroizing<String>,
}

impl Place {
    fn find(path: &Path) -> Result<Self, SinkError> {
        let whole = match path.canonicalize() {
            Ok(whole) => whole,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && path.is_symlink() => {
                return Err(refused("is a link to a file that is not there; make that file first"));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let (folder, name) = (path.parent().unwrap_or(Path::new("/")), path.file_name().unwrap_or_default());
                let folder = folder.canonicalize().map_err(|error| {
                    refused(format!("cannot be made: its folder {} cannot be used: {error}", folder.display()))
                })?;
                folder.join(name)
            }
            Err(error) => return Err(unreadable(errno(&error))),
        };
        let (Some(folder_path), Some(name)) = (whole.parent(), whole.file_name()) else {
            return Err(refused("is not a regular file"));
        };
        let folder = fs::open(folder_path, FOLDER, Mode::empty()).map_err(|error| {
            refused(format!("its folder {} cannot be read: {}", folder_path.display(), words(error)))
        })?;
        Ok(Self { folder, folder_path: folder_path.to_owned(), name: name.to_owned() })
    }

    /// Waits until nobody else of us works in the folder. The lock ends with the folder's descriptor.
    fn lock(&self) -> Result<(), SinkError> {
        for _ in 0..LOCK_TRIES {
            match fs::flock(&self.folder, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(()),
                Err(Errno::WOULDBLOCK | Errno::INTR) => thread::sleep(LOCK_PAUSE),
                Err(error) => {
                    let what = format!("its folder {} cannot be locked: {}", self.folder_path.display(), words(error));
                    return Err(SinkError::Failed(what));
                }
            }
        }
        let folder = self.folder_path.display();
        Err(SinkError::Failed(format!("its folder {folder} is locked by another process; nothing was written")))
    }

    /// Removes what a crash left here of this very file. Under the lock nobody works with it any more.
    fn remove_leftovers(&self) {
        let Ok(entries) = fs::Dir::read_from(&self.folder) else { return };
        let prefix = self.temporary("");
        // One that was about to take the place belongs to the owner of the file already.
        let owner = fs::statat(&self.folder, &self.name, AtFlags::empty()).map(|stat| stat.st_uid);
        for entry in entries.flatten() {
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if !name.as_bytes().starts_with(prefix.as_bytes()) {
                continue;
            }
            let ours = fs::statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| {
                let known = stat.st_uid == rustix::process::geteuid().as_raw() || owner == Ok(stat.st_uid);
                known && FileType::from_raw_mode(stat.st_mode).is_file()
            });
            if ours {
                // What cannot be removed is in nobody's way: the next temporary file has another name.
                let _ = fs::unlinkat(&self.folder, name, AtFlags::empty());
            }
        }
    }

    /// The file as it stands.
    fn open(&self) -> Result<Option<Standing>, SinkError> {
        let file = match fs::openat(&self.folder, &self.name, READ | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            // It has become one since the links were followed.
            Err(Errno::LOOP) => {
                return Err(SinkError::Failed("has just become a link; nothing was written".to_owned()));
            }
            Err(error) => return Err(unreadable(error)),
        };
        let (text, stat) = text_of(file.try_clone().map_err(|error| unreadable(errno(&error)))?)?;
        if stat.st_nlink > 1 {
            return Err(refused(format!(
                "has {} hard links, and a replacement would leave the others with the old content; remove them, or make them symbolic",
                stat.st_nlink
            )));
        }
        Ok(Some(Standing { file, stat, text }))
    }

    /// Puts a file with that text in the place; false where somebody else was quicker.
    fn replace(&self, text: &str, standing: Option<&Standing>) -> Result<bool, SinkError> {
        let mut temporary = Temporary::create(self)?;
        let file = &mut temporary.file;
        file.write_all(text.as_bytes()).map_err(|error| self.failure(errno(&error)))?;
        if let Some(standing) = standing {
            self.dress(file, standing)?;
        }
        fs::fsync(&*file).map_err(|error| self.failure(error))?;
        if !self.is_still(standing) {
            return Ok(false);
        }
        let flags = if standing.is_none() { RenameFlags::NOREPLACE } else { RenameFlags::empty() };
        match fs::renameat_with(&self.folder, &temporary.name, &self.folder, &self.name, flags) {
            Ok(()) => {
                temporary.moved = true;
                Ok(true)
            }
            Err(Errno::EXIST) => Ok(false),
            Err(error) => Err(self.failure(error)),
        }
    }

    fn remove(&self, standing: &Standing) -> Result<bool, SinkError> {
        if !self.is_still(Some(standing)) {
            return Ok(false);
        }
        fs::unlinkat(&self.folder, &self.name, AtFlags::empty()).map_err(|error| self.failure(error))?;
        Ok(true)
    }

    /// Gives a new file what the old one has: owner, access lists, label and mode, in this order, for each may take away what follows.
    fn dress(&self, new: &File, old: &Standing) -> Result<(), SinkError> {
        let stat = fs::fstat(new).map_err(|error| self.failure(error))?;
        let (user, group) = (old.stat.st_uid, old.stat.st_gid);
        if (stat.st_uid, stat.st_gid) != (user, group) {
            let (uid, gid) = (fs::Uid::from_raw(user), fs::Gid::from_raw(group));
            fs::fchown(new, Some(uid), Some(gid)).map_err(|error| match error {
                Errno::PERM => refused(format!(
                    "belongs to uid {user} and gid {group}, which its replacement cannot be given; give the unit CAP_CHOWN, \
                     or make the file belong to the user and group that tokenwatch runs as"
                )),
                error => self.failure(error),
            })?;
        }
        for name in attributes(&old.file).into_iter().chain(attributes(new)).filter(|name| is_kept(name)) {
            let (wanted, given) = (attribute(&old.file, &name), attribute(new, &name));
            let done = match &wanted {
                wanted if *wanted == given => Ok(()),
                Some(value) => fs::fsetxattr(new, &*name, value, XattrFlags::empty()),
                // A folder may give its own access list to whatever is made in it.
                None => fs::fremovexattr(new, &*name),
            };
            done.map_err(|error| match error {
                Errno::NOSPC | Errno::DQUOT | Errno::IO => self.failure(error),
                error => {
                    let name = name.to_string_lossy();
                    refused(format!(
                        "has the attribute {name}, which its replacement cannot be given: {}",
                        words(error)
                    ))
                }
            })?;
        }
        fs::fchmod(new, Mode::from_raw_mode(old.stat.st_mode & 0o7777)).map_err(|error| self.failure(error))
    }

    /// Whether nobody touched the file since it was read.
    fn is_still(&self, standing: Option<&Standing>) -> bool {
        let mark = |stat: &Stat| {
            let times = (stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec);
            (stat.st_dev, stat.st_ino, stat.st_size, times)
        };
        match (fs::statat(&self.folder, &self.name, AtFlags::SYMLINK_NOFOLLOW), standing) {
            (Ok(now), Some(standing)) => mark(&now) == mark(&standing.stat),
            (Err(Errno::NOENT), None) => true,
            _ => false,
        }
    }

    fn temporary(&self, end: impl Display) -> OsString {
        let mut name = OsString::from(".");
        name.push(&self.name);
        name.push(format!(".tokenwatch-{end}"));
        name
    }

    /// What a failure to write here means, and what helps.
    fn failure(&self, error: Errno) -> SinkError {
        let folder = self.folder_path.display();
        match error {
            Errno::ROFS | Errno::ACCESS | Errno::PERM => refused(format!(
                "its folder {folder} cannot be written to ({}); add ReadWritePaths={folder} to the unit (`tokenwatch config sandbox` \
                 prints it), and let tokenwatch's user write to the folder",
                words(error)
            )),
            Errno::BUSY => refused(
                "is a mount point, and such a file cannot be replaced; mount its folder instead of the file".to_owned(),
            ),
            Errno::NAMETOOLONG => refused("has too long a name for a temporary file beside it".to_owned()),
            error => SinkError::Failed(format!("cannot be written in {folder}: {}; it is as it was", words(error))),
        }
    }
}

/// A file that is not in its place yet; it goes with this value unless it was moved there.
struct Temporary<'a> {
    place: &'a Place,
    name: OsString,
    file: File,
    moved: bool,
}

impl<'a> Temporary<'a> {
    fn create(place: &'a Place) -> Result<Self, SinkError> {
        let process = std::process::id();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut last = Errno::EXIST;
        for n in 0..TRIES {
            let name = place.temporary(format_args!("{process}-{n}"));
            match fs::openat(&place.folder, &name, flags, Mode::RUSR | Mode::WUSR) {
                Ok(file) => return Ok(Self { place, name, file: File::from(file), moved: false }),
                // Somebody else's: ours were removed.
                Err(Errno::EXIST) => {}
                Err(error) => {
                    last = error;
                    break;
                }
            }
        }
        Err(place.failure(last))
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if !self.moved {
            // What stays is removed before the next write.
            let _ = fs::unlinkat(&self.place.folder, &self.name, AtFlags::empty());
        }
    }
}

/// The text of an open file, and what the file is.
fn text_of(file: File) -> Result<(Zeroizing<String>, Stat), SinkError> {
    let stat = fs::fstat(&file).map_err(unreadable)?;
    if !FileType::from_raw_mode(stat.st_mode).is_file() {
        return Err(refused("is not a regular file"));
    }
    let too_large = || refused("is larger than 1 MiB, which is no file of secrets");
    let size = usize::try_from(stat.st_size).ok().filter(|size| *size <= LARGEST).ok_or_else(too_large)?;
    // One allocation, so that no copy of a secret is left behind by a growing buffer.
    let mut bytes = Zeroizing::new(vec![0; size + 1]);
    let mut read = 0;
    while read < bytes.len() {
        match (&file).read(&mut bytes[read..]) {
            Ok(0) => break,
            Ok(n) => read += n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(errno(&error))),
        }
    }
    if read > size {
        return Err(SinkError::Failed("grows while it is read; nothing was written".to_owned()));
    }
    let text = std::str::from_utf8(&bytes[..read]).map_err(|_| refused("is not UTF-8 text"))?;
    Ok((Zeroizing::new(text.to_owned()), stat))
}

/// The names of a file's extended attributes; none where the file system has no such thing.
fn attributes(file: &File) -> Vec<OsString> {
    let mut names = vec![0_u8; LARGEST_ATTRIBUTE];
    let length = fs::flistxattr(file, &mut *names).unwrap_or_default();
    names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()).map(owned).collect()
}

fn attribute(file: &File, name: &OsStr) -> Option<Vec<u8>> {
    let mut value = vec![0_u8; LARGEST_ATTRIBUTE];
    let length = fs::fgetxattr(file, name, &mut *value).ok()?;
    value.truncate(length);
    Some(value)
}

/// Access lists, the label of SELinux, and what people attach to files. The rest belongs to the system and to one file alone.
fn is_kept(name: &OsStr) -> bool {
    name == "system.posix_acl_access" || name == "security.selinux" || name.as_bytes().starts_with(b"user.")
}

fn owned(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}

fn unreadable(error: Errno) -> SinkError {
    match error {
        Errno::ACCESS | Errno::PERM => refused(format!("cannot be read: {}", words(error))),
        Errno::LOOP | Errno::NOTDIR | Errno::NXIO | Errno::NAMETOOLONG => {
            refused(format!("is not a regular file: {}", words(error)))
        }
        error => SinkError::Failed(format!("cannot be read: {}", words(error))),
    }
}

fn refused(what: impl Into<String>) -> SinkError {
    SinkError::Refused(what.into())
}

fn words(error: Errno) -> String {
    std::io::Error::from(error).to_string()
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// A pipe must not hold up whoever opens it.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// Larger files are no secrets.
const LARGEST: usize = 1 << 20;
/// The kernel's own limit for one value, and for the list of names.
const LARGEST_ATTRIBUTE: usize = 1 << 16;
/// How often it is begun anew when somebody else changes the file at the same time.
const TRIES: usize = 5;
/// Ten seconds in all: a write takes milliseconds.
const LOCK_TRIES: usize = 500;
const LOCK_PAUSE: Duration = Duration::from_millis(20);
