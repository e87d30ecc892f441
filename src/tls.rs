//! Trust for outgoing connections: TLS 1.2 and 1.3 by rustls with the ring provider, certificates always verified.
//!
//! There is deliberately no way to switch verification off; a private authority is named by `ca_file`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// Why trust cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The authority file cannot be used.
    #[error("cannot use the certificate authorities in {path}: {problem}")]
    CaFile {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The system trusts nobody.
    #[error("this system has no certificate authorities; install ca-certificates, or name a ca_file")]
    NoRoots,
}

/// A client configuration that trusts the authorities in `ca_file`, or else those of the system.
///
/// # Errors
/// When there is nobody to trust.
pub fn client_config(ca_file: Option<&Path>) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = match ca_file {
        Some(path) => roots_from(path)?,
        None => system_roots()?,
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports the default protocol versions");
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// What judges the certificates of servers, by the authorities in `ca_file`, or else by those of the system.
///
/// # Errors
/// When there is nobody to trust.
pub fn verifier(ca_file: Option<&Path>) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    let roots = match ca_file {
        Some(path) => roots_from(path)?,
        None => system_roots()?,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    verifier.map(|verifier| verifier as Arc<dyn ServerCertVerifier>).map_err(|_| TlsError::NoRoots)
}

/// A client configuration that trusts nobody, for connections without TLS: a client must be given one that is not the library's default.
pub fn nobody() -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports the default protocol versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth()
}

fn roots_from(path: &Path) -> Result<RootCertStore, TlsError> {
    let problem = |problem: String| TlsError::CaFile { path: path.to_owned(), problem };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| problem(error.to_string()))? {
        let certificate = certificate.map_err(|error| problem(error.to_string()))?;
        roots.add(certificate).map_err(|error| problem(error.to_string()))?;
    }
    if roots.is_empty() { Err(problem("it holds no certificate".to_owned())) } else { Ok(roots) }
}

/// Single certificates that cannot be read are passed over: one odd entry must not cut off the rest.
fn system_roots() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(TlsError::NoRoots) } else { Ok(roots) }
}
