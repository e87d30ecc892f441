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
