//! Seals secrets that must outlive a crash: authenticated encryption (XChaCha20-Poly1305) under a key of this installation.
//!
//! The key is a systemd credential or a file beside the state file. A sealed secret opens only in the place that it was sealed for. The key is
//! never replaced, never shown, and never half there; without it nothing is opened and nothing is guessed.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::secret::{Secret, hmac_sha256};

/// The key that secrets are sealed under.
pub struct SealingKey {
    cipher: XChaCha20Poly1305,
    id: [u8; ID],
}

/// Why there is no key. The text reads well after "cannot keep secrets: ".
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct KeyError {
    /// Which file.
    path: String,
    /// What is wrong with it, and what to do.
    problem: String,
}

/// Why a secret was not sealed or not opened. The texts read well after "the sealed secret of NAME ".
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SealError {
    /// A key that is not the one at hand sealed it.
    #[error(
        "was sealed under another key; give back the former renewal.key or credential, or let a person renew the token"
    )]
    OtherKey,
    /// It was sealed in a form that this program does not know.
    #[error("was sealed by a newer tokenwatch; run that one")]
    Newer,
    /// It was changed or cut, or it was sealed for another place.
    #[error("is damaged, or belongs to another place; it cannot be used, so let a person renew the token")]
    Damaged,
    /// The system has no random numbers to give.
    #[error("cannot be made: the system has no random numbers")]
    NoRandomness,
}

impl SealingKey {
    /// The credential `renewal-key` in that folder of credentials, where there is one; else the key in `file`, which is made at first use.
    ///
    /// # Errors
    /// When the key cannot be read or made, is none, or may be known to others.
    pub fn obtain(credentials: Option<&Path>, file: &Path) -> Result<Self, KeyError> {
        if let Some(path) = credentials.map(|folder| folder.join(CREDENTIAL))
            && let Some(key) = in_credential(&path).map_err(|problem| refused(&path, problem))?
        {
            return Ok(Self::new(&key));
        }
        let key = match in_file(file).map_err(|problem| refused(file, problem))? {
            Some(key) => Some(key),
            None => {
                make(file).map_err(|problem| refused(file, format!("cannot be made: {problem}")))?;
                in_file(file).map_err(|problem| refused(file, problem))?
            }
        };
        key.map(|key| Self::new(&key)).ok_or_else(|| refused(file, "was made, and is gone again".to_owned()))
    }

    fn new(key: &Bytes) -> Self {
        let mut id = [0; ID];
        id.copy_from_slice(&hmac_sha256(&**key, b"id")[..ID]);
        Self { cipher: XChaCha20Poly1305::new((&**key).into()), id }
    }

    /// Seals a secret for one place, such as `token/helpdesk/new`: nowhere else it will open.
    ///
    /// It is filled up to a multiple of 64 bytes first. Each kind of token has lengths of its own, so without that a copy of the state would
    /// tell which is which, and whether a renewal gave another string.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn seal(&self, place: &str, secret: &Secret) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).map_err(|_| SealError::NoRandomness)?;
        let filled = filled(secret.expose().as_bytes());
        let payload = Payload { msg: &filled, aad: &self.bound_to(place) };
        // It fails for more than 256 GiB, which no secret has.
        let encrypted = self.cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| SealError::Damaged)?;
        Ok([&[VERSION][..], &self.id, &nonce, &encrypted].concat())
    }

    /// Opens what was sealed for this place.
    ///
    /// # Errors
    /// When it was sealed under another key or for another place, or is not what was sealed.
    pub fn open(&self, place: &str, sealed: &[u8]) -> Result<Secret, SealError> {
        let (version, rest) = sealed.split_first().ok_or(SealError::Damaged)?;
        if *version != VERSION {
            return Err(SealError::Newer);
        }
        let (id, rest) = rest.split_first_chunk::<ID>().ok_or(SealError::Damaged)?;
        if *id != self.id {
            return Err(SealError::OtherKey);
        }
        let (nonce, encrypted) = rest.split_first_chunk::<NONCE>().ok_or(SealError::Damaged)?;
        let payload = Payload { msg: encrypted, aad: &self.bound_to(place) };
        let filled = self.cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_| SealError::Damaged)?;
        let filled = Zeroizing::new(filled);
        let text = emptied(&filled).and_then(|bytes| std::str::from_utf8(bytes).ok()).ok_or(SealError::Damaged)?;
        Ok(Secret::new(Zeroizing::new(text.to_owned())))
    }

    /// What is proved beside the secret: the form, the key, and the place. The first two have a fixed length, so no two places read alike.
    fn bound_to(&self, place: &str) -> Vec<u8> {
        [&[VERSION][..], &self.id, place.as_bytes()].concat()
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A key, wiped when it is dropped.
type Bytes = Zeroizing<[u8; KEY]>;

/// The key in a credential; `None` where there is no such file.
fn in_credential(path: &Path) -> Result<Option<Bytes>, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let content = content(&file).map_err(|error| error.to_string())?;
    key_in(&content).map(Some).ok_or_else(|| CREDENTIAL_FORMS.to_owned())
}

/// 32 raw bytes, or as many in hexadecimal or base64. Words that somebody made up are no key, however many they are.
fn key_in(content: &[u8]) -> Option<Bytes> {
    let text = content.trim_ascii();
    let mut key = Zeroizing::new([0; KEY]);
    if text.len() == 2 * KEY && text.iter().all(u8::is_ascii_hexdigit) {
        for (byte, digits) in key.iter_mut().zip(text.chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        return Some(key);
    }
    let unpadded = text.strip_suffix(b"=").unwrap_or(text);
    if unpadded.len() == (KEY * 4).div_ceil(3) {
        let decoded = Zeroizing::new(STANDARD_NO_PAD.decode(unpadded).ok()?);
        key.copy_from_slice(&decoded);
        return Some(key);
    }
    if content.len() == KEY && !content.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) {
        key.copy_from_slice(content);
        return Some(key);
    }
    None
}

/// The key in a file of our own; `None` where there is no file.
fn in_file(path: &Path) -> Result<Option<Bytes>, String> {
    // A link could name a file that others write, and a pipe would block for ever.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => return Err(format!("is a symbolic link, which is not followed; {MOVE_AWAY}")),
        Err(error) => return Err(io::Error::from(error).to_string()),
    };
    let seen = file.metadata().map_err(|error| error.to_string())?;
    let us = rustix::process::geteuid().as_raw();
    if !seen.is_file() {
        return Err(format!("is not a regular file; {MOVE_AWAY}"));
    }
    if seen.uid() != us {
        return Err(format!("belongs to user {}, and tokenwatch runs as user {us}; chown it", seen.uid()));
    }
    if seen.mode() & 0o077 != 0 {
        let mode = seen.mode() & 0o7777;
        return Err(format!("is open to others (mode {mode:04o}); chmod 600 it, or {MOVE_AWAY}"));
    }
    let content = content(&file).map_err(|error| error.to_string())?;
    let key = <[u8; KEY]>::try_from(content.as_slice()).map(Zeroizing::new);
    key.map(Some)
        .map_err(|_| format!("is no key: it does not hold {KEY} bytes; put it back from a backup, or {MOVE_AWAY}"))
}

/// As much of a small file as can matter.
fn content(file: &File) -> io::Result<Zeroizing<Vec<u8>>> {
    // With room for all of it the buffer does not grow, and leaves no copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LARGEST));
    file.take(LARGEST as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Makes the key: whole under another name first, then under its own, unless somebody else was quicker. A crash leaves the other name behind
/// at worst, with a key that nothing was sealed under.
fn make(path: &Path) -> io::Result<()> {
    let mut key = Zeroizing::new([0_u8; KEY]);
    getrandom::fill(&mut *key)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let draft = draft_beside(path)?;
    let written = write_new(&draft, &*key).and_then(|()| match std::fs::hard_link(&draft, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    let removed = std::fs::remove_file(&draft);
    written.and(removed)?;
    File::open(folder)?.sync_all()
}

/// A name beside that file which nobody else uses.
fn draft_beside(path: &Path) -> io::Result<PathBuf> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{:016x}", getrandom::u64()?));
    Ok(PathBuf::from(name))
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn refused(path: &Path, problem: String) -> KeyError {
    KeyError { path: path.display().to_string(), problem }
}

/// The bytes, a mark, and zeros up to a multiple of [`BLOCK`].
fn filled(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    let length = (bytes.len() + 1).next_multiple_of(BLOCK);
    let mut filled = Zeroizing::new(Vec::with_capacity(length));
    filled.extend_from_slice(bytes);
    filled.push(MARK);
    filled.resize(length, 0);
    filled
}

/// The bytes in front of the last mark.
fn emptied(filled: &[u8]) -> Option<&[u8]> {
    let end = filled.iter().rposition(|byte| *byte != 0)?;
    (filled[end] == MARK).then(|| &filled[..end])
}

/// The name of the credential.
pub const CREDENTIAL: &str = "renewal-key";
const CREDENTIAL_FORMS: &str =
    "is no key: it must be 32 random bytes, raw or in hexadecimal or base64; `openssl rand -hex 32` makes one";
/// What was sealed under a key is lost with it: renewals that a crash interrupted, nothing else.
const MOVE_AWAY: &str = "move it away to have a new one made; what is sealed under this one is lost then";
/// The form of what is sealed: version, id of the key, nonce, ciphertext with its tag.
const VERSION: u8 = 1;
const KEY: usize = 32;
/// Enough to tell the few keys of an installation apart, and too little to tell anything of them.
const ID: usize = 4;
/// Long enough to be drawn at random without ever meeting itself (draft-irtf-cfrg-xchacha-03, 2.3.1).
const NONCE: usize = 24;
const BLOCK: usize = 64;
const MARK: u8 = 0x80;
/// Every form of a key is shorter.
const LARGEST: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    fn key(byte: u8) -> SealingKey {
        SealingKey::new(&Zeroizing::new([byte; KEY]))
    }

    fn secret(text: &str) -> Secret {
        Secret::new(Zeroizing::new(text.to_owned()))
    }

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary folder")
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").file_name());
        entries.map(|name| name.to_string_lossy().into_owned()).collect()
    }

    /// The keys are the same when one opens what the other sealed.
    fn same(a: &SealingKey, b: &SealingKey) -> bool {
        b.open("x", &a.seal("x", &secret("a word")).expect("sealed")).is_ok()
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_again_and_shows_nothing(text in "\\PC{0,400}", place in "[a-z/0-9]{0,40}") {
            let text = text.trim().to_owned();
            let sealed = key(1).seal(&place, &secret(&text)).expect("sealed");
            let opened = key(1).open(&place, &sealed).expect("opened");
            prop_assert_eq!(opened.expose(), &*text);
            prop_assert!(text.len() < 4 || !sealed.windows(text.len()).any(|window| window == text.as_bytes()));
            prop_assert_eq!((sealed.len() - 1 - ID - NONCE - 16) % BLOCK, 0);
            let elsewhere = format!("{place}x");
            prop_assert!(key(1).open(&elsewhere, &sealed).is_err());
        }
    }

    #[test]
    fn no_byte_of_it_can_be_changed_and_none_be_missing() {
        let sealed = key(1).seal("token/helpdesk/7/new", &secret("EAABsecret")).expect("sealed");
        for at in 0..sealed.len() {
            for change in [1, 0x80, 0xff] {
                let mut changed = sealed.clone();
                changed[at] ^= change;
                let expected = match at {
                    0 => SealError::Newer,
                    1..=ID => SealError::OtherKey,
                    _ => SealError::Damaged,
                };
                assert_eq!(key(1).open("token/helpdesk/7/new", &changed).expect_err("changed"), expected, "byte {at}");
            }
            assert!(key(1).open("token/helpdesk/7/new", &sealed[..at]).is_err(), "cut to {at}");
        }
        let longer = [&sealed[..], &[0]].concat();
        assert_eq!(key(1).open("token/helpdesk/7/new", &longer).expect_err("longer"), SealError::Damaged);
    }

    #[test]
    fn it_opens_in_its_place_under_its_key_and_nowhere_else() {
        let sealed = key(1).seal("token/helpdesk/7/new", &secret("EAABsecret")).expect("sealed");
        for place in ["token/helpdesk/7/old", "token/helpdesk/70/new", "token/helpdesk/7/ne", "", "token/other/7/new"] {
            assert_eq!(key(1).open(place, &sealed).expect_err(place), SealError::Damaged);
        }
        let error = key(2).open("token/helpdesk/7/new", &sealed).expect_err("another key");
        assert_eq!(error, SealError::OtherKey);
        assert!(error.to_string().contains("another key"));
        assert_eq!(key(1).open("", &[]).expect_err("nothing"), SealError::Damaged);
        assert_eq!(format!("{:?}", key(1)), "***");
    }

    #[test]
    fn the_same_secret_never_looks_the_same_and_hides_its_length() {
        let seal = |text: &str| key(1).seal("x", &secret(text)).expect("sealed");
        assert_ne!(seal("EAABsecret"), seal("EAABsecret"));
        for (length, same_as) in [(1, 63), (64, 127), (180, 191)] {
            assert_eq!(seal(&"a".repeat(length)).len(), seal(&"a".repeat(same_as)).len());
        }
        assert_ne!(seal(&"a".repeat(63)).len(), seal(&"a".repeat(64)).len());
    }

    /// draft-irtf-cfrg-xchacha-03, A.3.1: key, nonce, additional data and text; the ciphertext begins and ends so.
    #[test]
    fn the_cipher_is_the_one_of_the_draft() {
        let key: [u8; 32] = std::array::from_fn(|at| 0x80 + u8::try_from(at).expect("below 32"));
        let nonce: [u8; 24] = std::array::from_fn(|at| 0x40 + u8::try_from(at).expect("below 24"));
        let aad = [0x50, 0x51, 0x52, 0x53, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7];
        let msg = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.";
        let cipher = XChaCha20Poly1305::new((&key).into());
        let encrypted = cipher.encrypt(&XNonce::from(nonce), Payload { msg, aad: &aad }).expect("encrypted");
        let hex: String = encrypted.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(hex.starts_with("bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb"), "{hex}");
        assert!(hex.ends_with("c0875924c1c7987947deafd8780acf49"), "{hex}");
    }

    #[test]
    fn the_key_file_is_made_once_private_and_whole() {
        let folder = folder();
        let path = folder.path().join("renewal.key");
        let made = SealingKey::obtain(None, &path).expect("a key");
        let seen = fs::symlink_metadata(&path).expect("the file");
        assert_eq!((seen.mode() & 0o7777, seen.len(), seen.nlink()), (0o600, 32, 1));
        assert_eq!(names(folder.path()), ["renewal.key"], "no draft is left");
        let content = fs::read(&path).expect("the key");
        assert!(same(&made, &SealingKey::obtain(None, &path).expect("the same key")));
        assert_eq!(fs::read(&path).expect("the key"), content);
        let other = folder.path().join("other.key");
        assert!(!same(&made, &SealingKey::obtain(None, &other).expect("another key")), "keys are drawn at random");
        assert!(!format!("{made:?}").contains("cipher"));
    }

    #[test]
    fn many_who_make_it_at_once_get_the_same_key() {
        let folder = folder();
        let path = folder.path().join("renewal.key");
        let obtain = || SealingKey::obtain(None, &path).expect("a key");
        let keys: Vec<SealingKey> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..16).map(|_| scope.spawn(obtain)).collect();
            all.into_iter().map(|one| one.join().expect("no panic")).collect()
        });
        assert!(keys.iter().all(|key| same(key, &keys[0])));
        assert_eq!(names(folder.path()), ["renewal.key"]);
    }

    #[test]
    fn a_draft_that_a_crash_left_behind_is_no_key_and_in_nobodys_way() {
        let folder = folder();
        let path = folder.path().join("renewal.key");
        let draft = draft_beside(&path).expect("a name");
        fs::write(&draft, [7; 5]).expect("half a key");
        SealingKey::obtain(None, &path).expect("a key");
        assert_eq!(fs::read(&path).expect("the key").len(), 32);
        assert_eq!(fs::read(&draft).expect("untouched"), [7; 5]);
    }

    #[test]
    fn a_file_that_is_no_private_key_is_refused_and_left_alone() {
        type Prepare = fn(&Path);
        let rows: [(&str, Prepare, &str); 8] = [
            ("half a key", |path| fs::write(path, [7; 16]).expect("written"), "does not hold 32 bytes"),
            ("nothing", |path| fs::write(path, []).expect("written"), "does not hold 32 bytes"),
            ("too long", |path| fs::write(path, [7; 33]).expect("written"), "does not hold 32 bytes"),
            ("a large file", |path| fs::write(path, vec![7; 1 << 20]).expect("written"), "does not hold 32 bytes"),
            (
                "a link to a key",
                |path| {
                    let real = path.with_extension("real");
                    fs::write(&real, [7; 32]).expect("written");
                    std::os::unix::fs::symlink(real, path).expect("linked");
                },
                "is a symbolic link",
            ),
            (
                "a link to nothing",
                |path| std::os::unix::fs::symlink("/nonexistent/key", path).expect("linked"),
                "is a symbolic link",
            ),
            ("a folder", |path| fs::create_dir(path).expect("made"), "is not a regular file"),
            (
                "a pipe",
                |path| {
                    let mode = Mode::from_raw_mode(0o600);
                    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).expect("made");
                },
                "is not a regular file",
            ),
        ];
        for (name, prepare, problem) in rows {
            let folder = folder();
            let path = folder.path().join("renewal.key");
            prepare(&path);
            if path.symlink_metadata().expect("prepared").is_file() {
                fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("private");
            }
            let before = fs::symlink_metadata(&path).expect("prepared");
            let error = SealingKey::obtain(None, &path).expect_err(name).to_string();
            assert!(error.starts_with(&format!("{}: ", path.display())) && error.contains(problem), "{name}: {error}");
            let after = fs::symlink_metadata(&path).expect("still there");
            assert_eq!(
                (before.ino(), before.len(), before.mtime()),
                (after.ino(), after.len(), after.mtime()),
                "{name}"
            );
        }
    }

    #[test]
    fn a_key_that_others_may_know_is_refused() {
        let folder = folder();
        let path = folder.path().join("renewal.key");
        SealingKey::obtain(None, &path).expect("a key");
        for (mode, good) in
            [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o660, false), (0o610, false)]
        {
            fs::set_permissions(&path, Permissions::from_mode(mode)).expect("changed");
            let obtained = SealingKey::obtain(None, &path);
            assert_eq!(obtained.is_ok(), good, "{mode:o}");
            if let Err(error) = obtained {
                let error = error.to_string();
                assert!(error.contains(&format!("mode {mode:04o}")) && error.contains("chmod 600"), "{error}");
            }
        }
    }

    #[test]
    fn where_no_key_can_be_made_the_place_is_named() {
        let folder = folder();
        let path = folder.path().join("nowhere/renewal.key");
        let error = SealingKey::obtain(None, &path).expect_err("no folder").to_string();
        assert!(error.contains("nowhere/renewal.key: cannot be made: No such file"), "{error}");
    }

    #[test]
    fn a_credential_wins_in_each_of_its_forms() {
        let folder = folder();
        let (credential, file) = (folder.path().join(CREDENTIAL), folder.path().join("renewal.key"));
        let raw: [u8; 32] = std::array::from_fn(|at| u8::try_from(at * 7 % 256).expect("a byte"));
        let hex: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
        let base64 = base64::engine::general_purpose::STANDARD.encode(raw);
        let expected = SealingKey::new(&Zeroizing::new(raw));
        for content in [
            raw.to_vec(),
            hex.clone().into_bytes(),
            format!("{hex}\n").into_bytes(),
            hex.to_ascii_uppercase().into_bytes(),
            base64.clone().into_bytes(),
            format!("{base64}\r\n").into_bytes(),
            base64.trim_end_matches('=').as_bytes().to_vec(),
        ] {
            fs::write(&credential, &content).expect("written");
            let key = SealingKey::obtain(Some(folder.path()), &file).expect("a key");
            assert!(same(&key, &expected), "{}", String::from_utf8_lossy(&content));
            assert!(!file.exists(), "no file is made beside a credential");
        }
        for content in [
            Vec::new(),
            b"\n".to_vec(),
            raw[..31].to_vec(),
            [&raw[..], b"\n"].concat(),
            b"correct horse battery staple 123".to_vec(),
            hex.as_bytes()[..62].to_vec(),
            hex.replace('0', "g").into_bytes(),
            format!("{}!", &base64[..42]).into_bytes(),
            vec![b'a'; 5_000],
        ] {
            fs::write(&credential, &content).expect("written");
            let error = SealingKey::obtain(Some(folder.path()), &file).expect_err("no key").to_string();
            assert!(error.contains(CREDENTIAL) && error.contains("openssl rand -hex 32"), "{error}");
            let shown = String::from_utf8_lossy(&content).into_owned();
            assert!(shown.len() < 8 || !error.contains(&shown), "{error}");
            assert!(!file.exists(), "a broken credential is no reason for another key");
        }
        // Without a credential of that name the file has the key.
        fs::remove_file(&credential).expect("removed");
        assert!(!same(&SealingKey::obtain(Some(folder.path()), &file).expect("a key"), &expected));
        assert!(file.exists());
    }
}
