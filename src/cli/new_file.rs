//! A file that is there as a whole or not at all, and only where nothing is yet: written under another name first, then given its own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

/// A name beside that file, in the same folder, for what is not whole yet. Hidden, so that it is no drop-in should the folder be `conf.d`.
pub fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.tokenwatch-{}", std::process::id()))
}

/// Gives the file its own name.
///
/// # Errors
/// `AlreadyExists` where something has that name by now; what the system says otherwise.
pub fn give_name(whole: &Path, path: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, whole, CWD, path, RenameFlags::NOREPLACE) {
        // Some file systems know no such rename; a second name is not given to what is there, either.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => fs::hard_link(whole, path),
        moved => Ok(moved?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_given_only_where_nothing_has_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("conf.toml");
        let draft = beside(&path);
        assert!(draft.parent() == path.parent() && draft != path);
        fs::write(&draft, "whole").expect("written");
        give_name(&draft, &path).expect("nothing is there");
        assert_eq!(fs::read_to_string(&path).expect("it is there"), "whole");
        fs::write(&draft, "another").expect("written");
        let refused = give_name(&draft, &path).expect_err("something is there");
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).expect("it is there"), "whole");
    }
}
