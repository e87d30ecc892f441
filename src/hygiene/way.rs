//! The way to a file: every folder and every link that is gone through until it is found.
//!
//! It is only walked. Nothing is opened, and what stands in a file is never read.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path, PathBuf};

/// How a file is found.
pub(super) struct Way {
    /// The file itself, by a path without any link in it.
    pub file: PathBuf,
    /// The folders in which a name was looked up, in order; none of them has a link in its path.
    pub folders: Vec<PathBuf>,
    /// The links that were followed, each in one of the folders.
    pub links: Vec<PathBuf>,
}

impl Way {
    /// The way to what a path names.
    ///
    /// # Errors
    /// When there is nothing, or it may not be seen from here; the text begins with the path.
    pub fn to(path: &Path) -> Result<Self, String> {
        Self::walk(path).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn walk(path: &Path) -> io::Result<Self> {
        let mut way = Self { file: PathBuf::from("/"), folders: Vec::new(), links: Vec::new() };
        // What is still to be gone, the next step last.
        let mut ahead = steps(&std::path::absolute(path)?);
        while let Some(step) = ahead.pop() {
            match Path::new(&step).components().next() {
                Some(Component::RootDir) => way.file = PathBuf::from("/"),
                Some(Component::ParentDir) => _ = way.file.pop(),
                Some(Component::Normal(name)) => {
                    if let Some(target) = way.step(name)? {
                        ahead.extend(steps(&target));
                    }
                }
                Some(Component::CurDir | Component::Prefix(_)) | None => {}
            }
        }
        Ok(way)
    }

    /// Goes on to a name; if that is a link, it stays and returns where the link leads.
    fn step(&mut self, name: &OsStr) -> io::Result<Option<PathBuf>> {
        let place = self.file.join(name);
        let is_link = place.symlink_metadata()?.is_symlink();
        if !self.folders.contains(&self.file) {
            self.folders.push(self.file.clone());
        }
        if !is_link {
            self.file = place;
            return Ok(None);
        }
        if self.links.len() == MOST_LINKS {
            return Err(io::Error::other("too many links follow on each other"));
        }
        let target = place.read_link()?;
        self.links.push(place);
        Ok(Some(target))
    }
}

fn steps(path: &Path) -> Vec<OsString> {
    path.components().rev().map(|step| step.as_os_str().to_owned()).collect()
}

/// As many as Linux follows.
const MOST_LINKS: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn every_link_is_seen_and_followed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let top = folder.path().canonicalize().expect("a folder");
        fs::create_dir_all(top.join("real/deep")).expect("folders");
        fs::write(top.join("real/file"), "x").expect("a file");
        symlink("real/deep/..", top.join("folder")).expect("a link");
        symlink(top.join("folder/file"), top.join("real/deep/link")).expect("a link");
        let way = Way::to(&top.join("./real/deep/link")).expect("a way");
        assert_eq!(way.file, top.join("real/file"));
        assert_eq!(way.links, [top.join("real/deep/link"), top.join("folder")]);
        for passed in [Path::new("/"), &top, &top.join("real"), &top.join("real/deep")] {
            assert!(way.folders.iter().any(|folder| folder == passed), "{}", passed.display());
        }
        assert_eq!(way.file, top.join("real/deep/link").canonicalize().expect("it is there"));
    }

    #[test]
    fn what_is_not_there_is_said_with_its_path() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        symlink("two", folder.path().join("one")).expect("a link");
        symlink("one", folder.path().join("two")).expect("a link");
        for (name, word) in [("none", "No such file"), ("one", "too many links"), ("one/x", "too many links")] {
            let path = folder.path().join(name);
            let error = Way::to(&path).err().expect("no way");
            assert!(error.starts_with(&path.display().to_string()) && error.contains(word), "{error}");
        }
    }
}
