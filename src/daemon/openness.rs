//! Says which files of secrets everybody on this machine can read or change: a line in the log for each, at the start and after a reload.
//!
//! It warns and refuses nothing: what a file's mode should be is its owner's to decide, and the watch goes on.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::{debug, warn};

use crate::hygiene::{Readers, privacy};
use crate::settings::Settings;
use crate::settings::value::SecretRef;

/// Looks at every file that holds a secret of a token, of an app or of the listener, once.
pub async fn warn_of_open_files(settings: &Settings, of_listener: &[PathBuf]) {
    let tokens = settings.tokens.iter().map(|token| &token.secret);
    let apps = settings.apps.values().filter_map(|app| app.secret.as_ref());
    let paths = tokens.chain(apps).filter_map(SecretRef::path).map(Path::to_owned);
    let paths: BTreeSet<PathBuf> = paths.chain(of_listener.iter().cloned()).collect();
    let looked = spawn_blocking(move || {
        for path in paths {
            look(&path);
        }
    });
    // A network file system that hangs must not keep the daemon from its work.
    if timeout(PATIENCE, looked).await.is_err() {
        debug!("the modes of the files that hold secrets could not be looked at in time");
    }
}

fn look(path: &Path) {
    // One that is not there is a finding of its own.
    let Ok(seen) = privacy(path) else { return };
    let file = path.display();
    if let Some(open) = &seen.changeable {
        warn!(file = %file, open = %open.display(), "everybody on this machine can put another secret there; chmod o-w");
    }
    if seen.readers == Readers::Everybody {
        warn!(file = %file, mode = format!("{:04o}", seen.mode), "everybody on this machine can read this file of secrets; chmod o=");
    }
}

/// Some hundred files take a millisecond.
const PATIENCE: Duration = Duration::from_secs(2);
