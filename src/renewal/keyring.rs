//! The sealing key, opened when it is first needed: who renews nothing has none.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::OnceCell;

use super::seal::SealingKey;

/// Where the key stands, and the key once it was needed.
#[derive(Debug)]
pub struct Keyring {
    credentials: Option<PathBuf>,
    file: PathBuf,
    key: OnceCell<Arc<SealingKey>>,
}

impl Keyring {
    /// A key that is a credential in that folder, if there is one, else stands in that file, which is made when it is needed.
    pub fn new(credentials: Option<PathBuf>, file: PathBuf) -> Self {
        Self { credentials, file, key: OnceCell::new() }
    }

    /// The key.
    ///
    /// # Errors
    /// When it can be neither read nor made; the text names the place and the remedy.
    pub async fn key(&self) -> Result<Arc<SealingKey>, String> {
        let open = || async {
            let (credentials, file) = (self.credentials.clone(), self.file.clone());
            let opened = tokio::task::spawn_blocking(move || {
                let obtained = SealingKey::obtain(credentials.as_deref(), &file);
                obtained.map(Arc::new).map_err(|error| format!("cannot keep secrets: {error}"))
            });
            opened.await.map_err(|broken| format!("an internal fault of tokenwatch: {broken}"))?
        };
        self.key.get_or_try_init(open).await.cloned()
    }
}

/// The file name of the key, beside the state.
pub const KEY_FILE: &str = "renewal.key";
