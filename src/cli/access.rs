//! What a user of the system may do with a file: by its mode, and by its access list where it has one.

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// A user and its groups.
pub struct User {
    /// Its number.
    pub uid: u32,
    /// The number of its own group.
    pub gid: u32,
    groups: BTreeSet<u32>,
}

impl User {
    /// A user of these numbers.
    #[cfg(test)]
    pub fn new(uid: u32, gid: u32, groups: BTreeSet<u32>) -> Self {
        Self { uid, gid, groups }
    }

    /// The user of that name, by the text of `/etc/passwd` and `/etc/group`.
    pub fn find(name: &str, passwd: &str, group: &str) -> Option<Self> {
        let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
        let entry = passwd.lines().map(fields).find(|entry| entry.first().is_some_and(|found| found == name))?;
        let (uid, gid) = (entry.get(2)?.parse().ok()?, entry.get(3)?.parse().ok()?);
        let is_in =
            |entry: &Vec<String>| entry.get(3).is_some_and(|members| members.split(',').any(|member| member == name));
        let groups = group.lines().map(fields).filter(is_in).filter_map(|entry| entry.get(2)?.parse().ok());
        Some(Self { uid, gid, groups: groups.chain([gid]).collect() })
    }

    /// Whether the user may do what these bits (of `rwx`) say.
    pub fn may(&self, bits: u32, path: &Path, file: &Metadata) -> bool {
        let list = access_list(path);
        self.granted(file.uid(), file.gid(), file.mode(), list.as_deref()) & bits == bits
    }

    /// The bits that are granted, by the order of acl(5): owner, named user, groups, others.
    fn granted(&self, owner: u32, group: u32, mode: u32, list: Option<&[Entry]>) -> u32 {
        if owner == self.uid {
            return (mode >> 6) & 0o7;
        }
        let Some(list) = list else {
            return (mode >> if self.groups.contains(&group) { 3 } else { 0 }) & 0o7;
        };
        let mask = list.iter().find(|entry| entry.tag == MASK).map_or(0o7, |entry| entry.bits);
        if let Some(named) = list.iter().find(|entry| entry.tag == NAMED_USER && entry.id == self.uid) {
            return named.bits & mask;
        }
        let is_ours = |entry: &&Entry| match entry.tag {
            OWNING_GROUP => self.groups.contains(&group),
            NAMED_GROUP => self.groups.contains(&entry.id),
            _ => false,
        };
        let groups: Vec<u32> = list.iter().filter(is_ours).map(|entry| entry.bits & mask).collect();
        // One group must grant all of it; for what is asked here the union says the same, but for lists that nobody writes.
        if groups.is_empty() { mode & 0o7 } else { groups.iter().fold(0, |all, bits| all | bits) }
    }
}

/// A line of an access list.
struct Entry {
    tag: u16,
    bits: u32,
    id: u32,
}

/// The access list of a file, where it has one that says more than its mode.
fn access_list(path: &Path) -> Option<Vec<Entry>> {
    let mut list = vec![0; LONGEST_LIST];
    let length = rustix::fs::getxattr(path, "system.posix_acl_access", &mut list[..]).ok()?;
    parse(list.get(..length)?)
}

/// Its stored form: a version, then entries of eight bytes, all little-endian (linux/posix_acl_xattr.h).
fn parse(stored: &[u8]) -> Option<Vec<Entry>> {
    let (version, entries) = stored.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != 2 {
        return None;
    }
    let entry = |bytes: &[u8; 8]| {
        let [tag, more, bits, high, id @ ..] = *bytes;
        Entry {
            tag: u16::from_le_bytes([tag, more]),
            bits: u32::from(u16::from_le_bytes([bits, high])),
            id: u32::from_le_bytes(id),
        }
    };
    Some(entries.as_chunks::<8>().0.iter().map(entry).collect())
}

/// Tags of entries (linux/posix_acl.h).
const NAMED_USER: u16 = 0x02;
const OWNING_GROUP: u16 = 0x04;
const NAMED_GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
/// Room for some eight thousand entries; no file system stores more.
const LONGEST_LIST: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> User {
        let passwd = "root:x:0:0::/:/bin/sh\ntokenwatch:x:990:991::/:/sbin/nologin\n";
        User::find("tokenwatch", passwd, "app:x:1005:alice,tokenwatch\nother:x:1006:nottokenwatch\n").expect("the user")
    }

    /// An access list as the system stores it.
    fn list(entries: &[(u16, u16, u32)]) -> Vec<Entry> {
        let mut stored = 2_u32.to_le_bytes().to_vec();
        for (tag, bits, id) in entries {
            stored.extend(tag.to_le_bytes());
            stored.extend(bits.to_le_bytes());
            stored.extend(id.to_le_bytes());
        }
        parse(&stored).expect("a list")
    }

    #[test]
    fn users_are_found() {
        assert_eq!((user().uid, user().gid), (990, 991));
        assert_eq!(user().groups, [991, 1005].into());
        assert!(User::find("tokenwatch", "root:x:0:0::/:/bin/sh\n", "").is_none());
    }

    #[test]
    fn the_mode_says_what_the_user_may_do() {
        for (owner, group, mode, granted) in [
            (990, 0, 0o640, 0o6),
            // The owner gets no more than the owner's part.
            (990, 991, 0o047, 0o0),
            (0, 991, 0o640, 0o4),
            (0, 1005, 0o660, 0o6),
            (0, 1006, 0o664, 0o4),
            (0, 0, 0o600, 0o0),
        ] {
            assert_eq!(user().granted(owner, group, mode, None), granted, "{owner}:{group} {mode:o}");
        }
    }

    #[test]
    fn an_access_list_says_more() {
        const NONE: u32 = u32::MAX;
        let base = [(0x01, 0o6, NONE), (OWNING_GROUP, 0, NONE), (0x20, 0, NONE)];
        for (more, granted) in [
            (vec![(NAMED_USER, 0o4, 990), (MASK, 0o4, NONE)], 0o4),
            (vec![(NAMED_USER, 0o6, 990), (MASK, 0o4, NONE)], 0o4),
            (vec![(NAMED_USER, 0o6, 77), (MASK, 0o6, NONE)], 0o0),
            (vec![(NAMED_GROUP, 0o4, 1005), (MASK, 0o7, NONE)], 0o4),
            (vec![(NAMED_GROUP, 0o4, 1006), (MASK, 0o7, NONE)], 0o0),
        ] {
            let list = list(&[&base[..], &more].concat());
            assert_eq!(user().granted(0, 0, 0o640, Some(&list)), granted, "{more:?}");
        }
        assert!(parse(&[3, 0, 0, 0]).is_none() && parse(&[2, 0]).is_none());
    }
}
