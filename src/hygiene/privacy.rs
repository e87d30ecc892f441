//! Who may read a file that holds a secret, and whether everybody may put another in its place.
//!
//! It goes by modes alone: the file's, and those of the folders above it. It never opens the file.

use std::fmt;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::way::Way;

/// What modes say about a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Privacy {
    /// The file itself, where every link has been followed.
    pub file: PathBuf,
    /// Its mode, as `chmod` takes it.
    pub mode: u32,
    /// Its owner.
    pub owner: Who,
    /// Its group.
    pub group: Who,
    /// Who may read it, beside root.
    pub readers: Readers,
    /// What everybody may change so that another file is read instead: the file itself, or a folder on the way to it.
    pub changeable: Option<PathBuf>,
}

/// Who may read a file. This is an upper bound: whoever may not enter one of the folders above it is not counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Readers {
    /// Its owner, or the owner of a folder above it.
    Owner,
    /// The members of this group as well, which is the file's or that of a folder above it.
    Group(Who),
    /// Every user of the machine.
    Everybody,
}

/// A user or a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Who {
    /// Its number.
    pub id: u32,
    /// Its name, where the machine itself has one.
    pub name: Option<String>,
}

/// The name, else the number.
impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.id),
        }
    }
}

/// Looks at a file where it really stands: links are followed. It blocks, and a network file system may hang.
///
/// A POSIX access list is not looked at. It cannot open a file beyond what is told here: the group's bits of a mode are then the most that any
/// entry of the list allows. But whom these let in is not the group alone.
///
/// # Errors
/// When it is no file, or may not be seen from here; the text begins with the path.
pub fn privacy(path: &Path) -> Result<Privacy, String> {
    let problem = |error: std::io::Error| format!("{}: {error}", path.display());
    let way = Way::to(path)?;
    let found = fs::metadata(&way.file).map_err(problem)?;
    if !found.is_file() {
        return Err(format!("{}: is not a regular file", path.display()));
    }
    Ok(Privacy {
        readers: readers(&found, &above(&way.file).map_err(problem)?),
        mode: found.mode() & 0o7777,
        owner: Who::user(found.uid()),
        group: Who::group(found.gid()),
        changeable: changeable(&way).map_err(problem)?,
        file: way.file,
    })
}

fn changeable(way: &Way) -> std::io::Result<Option<PathBuf>> {
    if everybody_may(WRITE, &fs::metadata(&way.file)?, &above(&way.file)?) {
        return Ok(Some(way.file.clone()));
    }
    for folder in &way.folders {
        let found = fs::metadata(folder)?;
        // In a sticky folder such as /tmp everybody may make files, but nobody moves those of others away.
        let is_sticky = found.mode() & STICKY != 0;
        if !is_sticky && everybody_may(WRITE | SEARCH, &found, &above(folder)?) {
            return Ok(Some(folder.clone()));
        }
    }
    Ok(None)
}

/// The folders above a path without links, the nearest first.
fn above(path: &Path) -> std::io::Result<Vec<Metadata>> {
    path.ancestors().skip(1).map(fs::metadata).collect()
}

/// Whether any user may do to this what the bits (of `rwx`) say.
fn everybody_may(bits: u32, what: &Metadata, above: &[Metadata]) -> bool {
    what.mode() & bits == bits && above.iter().all(|folder| folder.mode() & SEARCH != 0)
}

/// Whom the file's mode lets in, and of those whom each folder lets through.
fn readers(file: &Metadata, above: &[Metadata]) -> Readers {
    let mut readers = match file.mode() {
        mode if mode & READ != 0 => Readers::Everybody,
        mode if mode & (READ << GROUP) != 0 => Readers::Group(Who::group(file.gid())),
        _ => Readers::Owner,
    };
    for folder in above.iter().filter(|folder| folder.mode() & SEARCH == 0) {
        readers = match readers {
            _ if folder.mode() & (SEARCH << GROUP) == 0 => Readers::Owner,
            Readers::Everybody => Readers::Group(Who::group(folder.gid())),
            // Of two groups it is those who are in both.
            Readers::Group(group) => Readers::Group(group),
            Readers::Owner => Readers::Owner,
        };
    }
    readers
}

impl Who {
    fn user(id: u32) -> Self {
        Self { id, name: name_in("/etc/passwd", id) }
    }

    fn group(id: u32) -> Self {
        Self { id, name: name_in("/etc/group", id) }
    }
}

/// In both files the name comes first and the number third.
fn name_in(file: &str, id: u32) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let entry = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let mut found = entry.filter(|fields| fields.get(2).and_then(|field| field.parse().ok()) == Some(id));
    found.next()?.first().map(|&name| name.to_owned())
}

/// Bits of a mode, for everybody.
const READ: u32 = 4;
const WRITE: u32 = 2;
const SEARCH: u32 = 1;
/// By how much the group's stand higher.
const GROUP: u32 = 3;
const STICKY: u32 = 0o1000;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
    use tempfile::TempDir;

    /// A folder `outer`, `inner` in it and `file` in that, with these modes.
    fn house(outer: u32, inner: u32, file: u32) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        mode(folder.path(), 0o755);
        let path = folder.path().join("outer/inner/file");
        fs::create_dir_all(folder.path().join("outer/inner")).expect("folders");
        fs::write(&path, "x").expect("a file");
        mode(&path, file);
        mode(&folder.path().join("outer/inner"), inner);
        mode(&folder.path().join("outer"), outer);
        (folder, path)
    }

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
    }

    #[test]
    fn modes_of_files_and_folders() {
        for (outer, inner, file, readers) in [
            (0o755, 0o755, 0o600, "owner"),
            (0o755, 0o755, 0o640, "group"),
            (0o755, 0o755, 0o644, "everybody"),
            (0o755, 0o755, 0o604, "everybody"),
            (0o755, 0o755, 0o620, "owner"),
            // A closed folder closes what is in it.
            (0o700, 0o755, 0o644, "owner"),
            (0o755, 0o700, 0o644, "owner"),
            (0o755, 0o750, 0o644, "group"),
            (0o750, 0o700, 0o644, "owner"),
            (0o750, 0o755, 0o640, "group"),
            // Whoever may not list a folder can still name what is in it.
            (0o711, 0o711, 0o644, "everybody"),
            (0o744, 0o755, 0o644, "owner"),
        ] {
            let (_folder, path) = house(outer, inner, file);
            let privacy = privacy(&path).expect("a file");
            let expected = match readers {
                "owner" => Readers::Owner,
                "group" => Readers::Group(privacy.group.clone()),
                _ => Readers::Everybody,
            };
            assert_eq!(privacy.readers, expected, "{outer:o} {inner:o} {file:o}");
            assert_eq!((privacy.mode, privacy.changeable), (file, None), "{outer:o} {inner:o} {file:o}");
        }
    }

    #[test]
    fn what_everybody_may_change() {
        for (outer, inner, file, which) in [
            (0o755, 0o755, 0o666, Some("outer/inner/file")),
            (0o755, 0o755, 0o602, Some("outer/inner/file")),
            (0o700, 0o755, 0o666, None),
            (0o755, 0o777, 0o600, Some("outer/inner")),
            (0o777, 0o755, 0o600, Some("outer")),
            (0o777, 0o700, 0o600, Some("outer")),
            (0o700, 0o777, 0o600, None),
            (0o1777, 0o755, 0o600, None),
            (0o755, 0o1777, 0o600, None),
            (0o776, 0o755, 0o600, None),
            (0o755, 0o775, 0o660, None),
        ] {
            let (folder, path) = house(outer, inner, file);
            let changeable = privacy(&path).expect("a file").changeable;
            let top = folder.path().canonicalize().expect("a folder");
            assert_eq!(changeable, which.map(|which| top.join(which)), "{outer:o} {inner:o} {file:o}");
        }
        // A link in a folder that is open to everybody.
        let (folder, path) = house(0o755, 0o755, 0o600);
        let open = folder.path().join("open");
        fs::create_dir(&open).expect("a folder");
        mode(&open, 0o777);
        symlink(&path, open.join("link")).expect("a link");
        let privacy = privacy(&open.join("link")).expect("a file");
        assert_eq!(privacy.changeable, Some(open.canonicalize().expect("a folder")));
        assert_eq!((privacy.file, privacy.readers), (path.canonicalize().expect("a file"), Readers::Owner));
    }

    #[test]
    fn whose_it_is() {
        let (_folder, path) = house(0o755, 0o755, 0o640);
        let owner = fs::metadata(&path).expect("a file");
        let before = privacy(&path).expect("a file");
        assert_eq!((before.owner.id, before.group.id), (owner.uid(), owner.gid()));
        // Only root may give files away.
        if chown(&path, Some(0), Some(4_000_000_001)).is_ok() {
            let privacy = privacy(&path).expect("a file");
            assert_eq!(privacy.owner, Who { id: 0, name: Some("root".to_owned()) });
            assert_eq!(privacy.readers, Readers::Group(Who { id: 4_000_000_001, name: None }));
            assert_eq!((privacy.owner.to_string(), privacy.group.to_string()), ("root".into(), "4000000001".into()));
        }
    }

    #[test]
    fn only_files_are_told_about() {
        let (folder, path) = house(0o755, 0o755, 0o640);
        for (path, word) in [(folder.path().to_owned(), "regular file"), (path.with_file_name("none"), "No such file")]
        {
            let error = privacy(&path).expect_err("no file");
            assert!(error.starts_with(&path.display().to_string()) && error.contains(word), "{error}");
        }
    }
}
