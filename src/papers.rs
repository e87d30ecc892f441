//! The papers of a token: everything that is secret about a question to its provider, read from where the configuration says that it stands.
//!
//! They are read again for each question, so a changed file needs no restart, and are dropped with it. What cannot be read is named by its
//! place; nothing is asked here.

use crate::domain::inspection::{AppFault, CheckError};
use crate::ports::{Credentials, Parameters, Question};
use crate::reader::Reader;
use crate::secret::Secret;
use crate::settings::{App, Token};

/// The papers of one token.
#[derive(Debug)]
pub struct Papers<'a> {
    app: Option<&'a App>,
    /// The token itself, or why it cannot be read.
    pub secret: Result<Secret, String>,
    /// The secret of its app; `None` where there is none to be read.
    pub app_secret: Option<Result<Secret, String>>,
    /// The values of its parameters, or why one of them cannot be read.
    pub parameters: Result<Parameters, String>,
}

impl<'a> Papers<'a> {
    /// Reads all of them at once.
    pub async fn read(reader: &Reader, token: &'a Token, app: Option<&'a App>) -> Self {
        let of_app = app.and_then(|app| app.secret.as_ref());
        let of_parameters = token.parameters.secret.values();
        let places = std::iter::once(&token.secret).chain(of_app).chain(of_parameters).cloned().collect();
        let mut read = reader.read(places).await.into_iter();
        let secret = read.next().unwrap_or_else(|| Err("an internal fault of tokenwatch: nothing was read".to_owned()));
        let app_secret = of_app.and_then(|_| read.next());
        let named = token.parameters.secret.keys().zip(read);
        let secrets = named.map(|(name, read)| match read {
            Ok(secret) => Ok((name.clone(), secret)),
            Err(problem) => Err(format!("the parameter {name}: {problem}")),
        });
        let parameters =
            secrets.collect::<Result<_, _>>().map(|secret| Parameters { open: token.parameters.open.clone(), secret });
        Self { app, secret, app_secret, parameters }
    }

    /// Who asks, where an app with a secret is configured.
    ///
    /// # Errors
    /// When the app's secret cannot be read.
    pub fn credentials(&self) -> Result<Option<Credentials<'_>>, CheckError> {
        match (&self.app, &self.app_secret) {
            (Some(app), Some(Ok(secret))) => Ok(Some(Credentials { id: &app.id, secret, proof: app.proof })),
            (_, Some(Err(problem))) => Err(CheckError::App(AppFault::SecretUnreadable, problem.as_str().into())),
            (_, None) | (None, _) => Ok(None),
        }
    }

    /// The values of the parameters.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub fn parameters(&self) -> Result<&Parameters, CheckError> {
        self.parameters.as_ref().map_err(|problem| CheckError::Source(problem.as_str().into()))
    }

    /// The question about `secret`: the token in the slot, or one that is to take its place.
    ///
    /// # Errors
    /// When something that it is asked with cannot be read.
    pub fn question<'q>(&'q self, secret: &'q Secret) -> Result<Question<'q>, CheckError> {
        Ok(Question { token: secret, app: self.credentials()?, parameters: self.parameters()? })
    }
}
