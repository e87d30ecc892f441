//! Replaces a file that holds nothing but the secret.
//!
//! It keeps the habits of what stands there, the line feed at the end and a byte-order mark, and never writes a file that it could not read.

use std::path::Path;

use zeroize::Zeroizing;

use super::replace::{self, Change};
use super::{Held, Put, SinkError, Swap};
use crate::secret::Secret;

/// What the file holds. One that is not there, or is empty, holds nothing.
///
/// # Errors
/// When it cannot be read.
pub fn held(path: &Path) -> Result<Held, SinkError> {
    Ok(held_in(replace::read(path)?.as_ref().map(|text| text.as_str())))
}

/// Replaces it, makes it where it is missing, or takes it away.
///
/// # Errors
/// When it holds something else, when it cannot be done safely, or when it failed.
pub fn put(path: &Path, swap: Swap<'_>) -> Result<Put, SinkError> {
    replace::edit(path, |text| {
        let stands = held_in(text);
        if stands.is(swap.to) {
            return Ok(Change::None);
        }
        swap.begins_with(&stands)?;
        match swap.to {
            Held::Secret(secret) => Ok(Change::Write(dressed(secret, text.unwrap_or_default()))),
            Held::Nothing => Ok(Change::Remove),
            Held::Unknown => Err(SinkError::Refused("cannot be given back: what it held is not known".to_owned())),
        }
    })
}

fn held_in(text: Option<&str>) -> Held {
    let text = text.map(|text| text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)).unwrap_or_default();
    let secret = Secret::new(Zeroizing::new(text.to_owned()));
    if secret.is_empty() { Held::Nothing } else { Held::Secret(secret) }
}

/// The secret with the beginning and the end of the text that it replaces.
fn dressed(secret: &Secret, before: &str) -> Zeroizing<String> {
    let mark = if before.starts_with(BYTE_ORDER_MARK) { "\u{feff}" } else { "" };
    let end = ["\r\n", "\n"].into_iter().find(|end| before.ends_with(end)).unwrap_or_default();
    let mut text = Zeroizing::new(String::with_capacity(mark.len() + secret.expose().len() + end.len()));
    text.extend([mark, secret.expose(), end]);
    text
}

/// What some editors put at the beginning of a text.
const BYTE_ORDER_MARK: char = '\u{feff}';

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn secret(text: &str) -> Held {
        Held::Secret(Secret::new(Zeroizing::new(text.to_owned())))
    }

    #[test]
    fn the_habits_of_the_file_are_kept() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("token");
        for (before, after) in [
            ("old", "new"),
            ("old\n", "new\n"),
            ("old\r\n", "new\r\n"),
            ("\u{feff}old\n", "\u{feff}new\n"),
            ("  old\n\n", "new\n"),
        ] {
            fs::write(&path, before).expect("a file is written");
            let swap = Swap { from: &secret("old"), to: &secret("new") };
            assert_eq!(put(&path, swap), Ok(Put::Written), "{before:?}");
            assert_eq!(fs::read_to_string(&path).expect("a file"), after);
            assert_eq!(put(&path, swap), Ok(Put::AlreadyThere), "{before:?}");
            assert!(held(&path).is_ok_and(|held| held.is(&secret("new"))));
        }
    }

    #[test]
    fn a_missing_file_is_made_and_taken_away() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("token");
        assert!(matches!(held(&path), Ok(Held::Nothing)));
        assert_eq!(put(&path, Swap { from: &Held::Nothing, to: &secret("new") }), Ok(Put::Written));
        assert_eq!(fs::read_to_string(&path).expect("a file"), "new");
        assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o7777, 0o600);
        assert_eq!(put(&path, Swap { from: &secret("new"), to: &Held::Nothing }), Ok(Put::Written));
        assert!(!path.exists());
        assert_eq!(put(&path, Swap { from: &secret("new"), to: &Held::Nothing }), Ok(Put::AlreadyThere));
        let nowhere = folder.path().join("none/token");
        let error = put(&nowhere, Swap { from: &Held::Nothing, to: &secret("new") }).expect_err("no folder");
        assert!(matches!(error, SinkError::Refused(_)), "{error}");
    }

    #[test]
    fn what_somebody_else_wrote_is_left_alone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("token");
        fs::write(&path, "theirs").expect("a file is written");
        for from in [secret("old"), Held::Nothing] {
            let error = put(&path, Swap { from: &from, to: &secret("new") }).expect_err("it holds something else");
            assert!(matches!(&error, SinkError::Conflict(text) if !text.contains("theirs")), "{error}");
        }
        assert_eq!(fs::read_to_string(&path).expect("a file"), "theirs");
        assert_eq!(put(&path, Swap { from: &Held::Unknown, to: &secret("new") }), Ok(Put::Written));
    }
}
