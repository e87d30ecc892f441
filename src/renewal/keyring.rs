//! The sealing key, opened when it is first needed: who renews nothing has none.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::OnceCell;

use super::seal::SealingKey;

/// Where the key stands, and the key once it was needed.
#[derive(Debug)]
pub struct Keyring {
    credential: Option<PathBuf>,
    file: PathBuf,
    key: OnceCell<Arc<SealingKey>>,
}

impl Keyring {
    /// A key that stands in that systemd credential, if there is one, else in that file, which is made when it is needed.
    pub fn new(credentials: Option<PathBuf>, file: PathBuf) -> Self {
        let credential = credentials.map(|folder| folder.join(CREDENTIAL));
        Self { credential, file, key: OnceCell::new() }
    }

    /// The key.
    ///
    /// # Errors
    /// When it can be neither read nor made; the text names the place and the remedy.
    pub async fn key(&self) -> Result<Arc<SealingKey>, String> {
        let open = || async {
            let (credential, file) = (self.credential.clone(), self.file.clone());
            let opened = tokio::task::spawn_blocking(move || {
                let credential = credential.filter(|path| path.exists());
                SealingKey::open_at(credential.as_deref(), &file).map(Arc::new).map_err(|error| error.to_string())
            });
            opened.await.map_err(|broken| format!("an internal fault of tokenwatch: {broken}"))?
        };
        self.key.get_or_try_init(open).await.cloned()
    }
}

/// The file name of the key, beside the state.
pub const KEY_FILE: &str = "renewal.key";
/// The name of the systemd credential that holds the key instead.
const CREDENTIAL: &str = "renewal-key";
