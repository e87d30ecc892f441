//! The certificate that a server shows: when it ends, and whether clients trust it.
//!
//! The handshake is gone through whatever the certificate is worth, so that its dates are known even of one that is not trusted; trust is judged
//! beside it, by the same library that judges it for our own connections. Nothing is sent over the connection.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use crate::domain::inspection::{Cause, CheckError, Expiry, Inspection, TokenKind, Unreachable, Validity};
use crate::domain::time::{Span, Timestamp};
use crate::ports::Parameters;
use crate::provider::values::word;
use crate::redact::redact;
use crate::tls;

/// Whom clients trust, and how long a server may take.
#[derive(Debug)]
pub(super) struct Trust {
    timeout: Duration,
    ca_file: Option<PathBuf>,
    verifier: OnceLock<Result<Arc<dyn ServerCertVerifier>, String>>,
}

impl Trust {
    pub(super) fn new(timeout: Span, ca_file: Option<PathBuf>) -> Self {
        Self { timeout: timeout.as_limit(), ca_file, verifier: OnceLock::new() }
    }

    /// Looks at the certificate of the server in the parameters.
    pub(super) async fn inspect(&self, parameters: &Parameters, now: Timestamp) -> Result<Inspection, CheckError> {
        let address = parameters.open.get(ADDRESS).ok_or_else(|| CheckError::Refused("it has no address".into()))?;
        let host = address.rsplit_once(':').map_or(&**address, |(host, _)| host).trim_matches(['[', ']']);
        let name = parameters.open.get(SERVER_NAME).map_or(host, |name| &**name);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| CheckError::Refused(format!("{name} is no name of a server").into()))?;
        let verifier = self.verifier().map_err(|problem| CheckError::Refused(problem.into()))?;
        let chain = timeout(self.timeout, shown(address, name.clone()))
            .await
            .map_err(|_| CheckError::Unreachable(Unreachable::Timeout, "the handshake".into()))??;
        read(&chain, &name, &*verifier, now)
    }

    /// Made when it is first needed: reading the system's authorities takes milliseconds, and most providers show no certificates.
    fn verifier(&self) -> Result<Arc<dyn ServerCertVerifier>, String> {
        let made =
            self.verifier.get_or_init(|| tls::verifier(self.ca_file.as_deref()).map_err(|error| error.to_string()));
        made.clone()
    }
}

/// The certificates that the server shows, its own first.
async fn shown(address: &str, name: ServerName<'static>) -> Result<Vec<CertificateDer<'static>>, CheckError> {
    let failed = |how, error: std::io::Error| CheckError::Unreachable(how, redact(&error.to_string(), &[]).into());
    let witness = Arc::new(Witness::default());
    let mut config = tls::nobody();
    config.dangerous().set_certificate_verifier(Arc::clone(&witness) as Arc<dyn ServerCertVerifier>);
    let stream = TcpStream::connect(address).await.map_err(|error| failed(Unreachable::Connect, error))?;
    let ended = TlsConnector::from(Arc::<ClientConfig>::new(config)).connect(name, stream).await;
    let chain = std::mem::take(&mut *witness.0.lock().unwrap_or_else(PoisonError::into_inner));
    match ended {
        // A server that wants a certificate of ours has shown its own before it ends the handshake.
        _ if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(CheckError::Garbled("the server showed no certificate".into())),
        Err(error) if is_no_tls(&error) => {
            Err(CheckError::Unreachable(Unreachable::Tls, format!("{address} speaks no TLS").into()))
        }
        Err(error) => Err(failed(Unreachable::Tls, error)),
    }
}

/// Whether the other side answered with something else than a record of TLS.
fn is_no_tls(error: &std::io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    matches!(cause, Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)))
}

/// Judges a chain. The dates are those of the certificate in it that ends first, for then the whole chain does.
fn read(
    chain: &[CertificateDer<'static>],
    name: &ServerName<'static>,
    verifier: &dyn ServerCertVerifier,
    now: Timestamp,
) -> Result<Inspection, CheckError> {
    let parsed: Vec<Certificate> = chain
        .iter()
        .map(|der| Certificate::from_der(der))
        .collect::<Result<_, _>>()
        .map_err(|_| CheckError::Garbled("the server shows what is no certificate (X.509)".into()))?;
    let (Some((leaf, others)), Some((leaf_der, others_der))) = (parsed.split_first(), chain.split_first()) else {
        return Err(CheckError::Garbled("the server showed no certificate".into()));
    };
    let end =
        |certificate: &Certificate| seconds(certificate.tbs_certificate().validity().not_after.to_unix_duration());
    let own = end(leaf);
    // A root that a server shows beside the chain is not used by clients, and neither is its date.
    let is_root =
        |certificate: &&Certificate| certificate.tbs_certificate().subject() == certificate.tbs_certificate().issuer();
    let first = others.iter().filter(|certificate| !is_root(certificate)).map(end).min();
    let ends = first.map_or(own, |other| other.min(own));
    let facts = Inspection {
        kind: TokenKind::parse(KIND),
        issued_at: Some(seconds(leaf.tbs_certificate().validity().not_before.to_unix_duration())),
        expires: Expiry::At(ends),
        app_id: Some(word(&leaf.tbs_certificate().issuer().to_string().replace(' ', "_"))),
        ..Inspection::bare(Validity::Valid)
    };
    let at = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now.unix()).unwrap_or_default()));
    let why = match verifier.verify_server_cert(leaf_der, others_der, name, &[], at) {
        Ok(_) => return Ok(facts),
        Err(rustls::Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. })) => {
            return Ok(Inspection { validity: Validity::Expired, ..facts });
        }
        Err(error) => error.to_string(),
    };
    let validity = if ends <= now { Validity::Expired } else { Validity::Revoked(Cause::Untrusted) };
    Ok(Inspection { validity, message: Some(redact(&why, &[]).into()), ..facts })
}

fn seconds(since_1970: Duration) -> Timestamp {
    Timestamp::from_unix(i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX))
}

/// Takes every certificate, and writes down which.
#[derive(Debug, Default)]
struct Witness(Mutex<Vec<CertificateDer<'static>>>);

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = std::iter::once(end_entity).chain(intermediates).map(|der| der.clone().into_owned()).collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = shown;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

const ADDRESS: &str = "address";
const SERVER_NAME: &str = "server_name";
const KIND: &str = "certificate";
