//! TLS towards a broker, with and without a certificate of our own. Files are read at each connection, so that renewed ones
//! count from the next. Nothing of a key is ever told.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::catalogue::TlsSettings;

/// Where systems keep their authorities as one PEM file: Debian, Red Hat, openSUSE, Alpine. `SSL_CERT_FILE` goes before.
const SYSTEM_CA: [&str; 4] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"];

/// The settings cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read, or holds nothing of what it should.
    #[error("{path}: {reason}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// There are no authorities to trust.
    #[error("the system's authorities are not at any of the usual places; set `ca_file`")]
    NoAuthorities,
    /// The name is none.
    #[error("`{0}` is no name of a server; set `server_name`")]
    Name(String),
    /// Certificate and key do not go together, or are of a kind that is not known.
    #[error("`certificate_file` and `key_file` cannot be used: {0}")]
    Identity(String),
}

/// The handshake over a connected stream.
///
/// Errors: of the stream; inside, a [`TlsError`] or a [`rustls::Error`], which [`explain`] puts into words.
pub async fn connect(settings: &TlsSettings, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let invalid = |error: TlsError| io::Error::new(io::ErrorKind::InvalidInput, error);
    let name = ServerName::try_from(settings.server_name.clone()).map_err(|_| invalid(TlsError::Name(settings.server_name.clone())))?;
    let config = config(settings).await.map_err(invalid)?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

async fn config(settings: &TlsSettings) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    let authorities = match &settings.ca_file {
        Some(path) => certificates(path).await?,
        None => system_authorities().await?,
    };
    // Some authorities of a system may be of a kind that is not known here; the others count.
    let (added, _) = roots.add_parsable_certificates(authorities);
    if added == 0 {
        return Err(settings.ca_file.as_ref().map_or(TlsError::NoAuthorities, |path| no_certificate(path)));
    }
    let refused = |error: rustls::Error| TlsError::Identity(error.to_string());
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(refused)?
        .with_root_certificates(roots);
    let Some(identity) = &settings.identity else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates(&identity.certificate_file).await?;
    let text = read(&identity.key_file).await?;
    // The library's words may repeat what it read: of a key, nothing is.
    let key = PrivateKeyDer::from_pem_slice(&text)
        .map_err(|_| TlsError::File { path: identity.key_file.clone(), reason: "holds no private key in PEM".into() })?;
    builder.with_client_auth_cert(chain, key).map_err(refused)
}

async fn system_authorities() -> Result<Vec<CertificateDer<'static>>, TlsError> {
    if let Some(path) = std::env::var_os("SSL_CERT_FILE") {
        return certificates(Path::new(&path)).await;
    }
    for path in SYSTEM_CA {
        if tokio::fs::try_exists(path).await.unwrap_or(false) {
            return certificates(Path::new(path)).await;
        }
    }
    Err(TlsError::NoAuthorities)
}

async fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    tokio::fs::read(path).await.map_err(|error| TlsError::File { path: path.to_owned(), reason: error.to_string() })
}

async fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path).await?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| TlsError::File { path: path.to_owned(), reason: error.to_string() })?;
    if found.is_empty() { Err(no_certificate(path)) } else { Ok(found) }
}

fn no_certificate(path: &Path) -> TlsError {
    TlsError::File { path: path.to_owned(), reason: "holds no certificate in PEM".into() }
}

/// What went wrong with TLS and what to do, where `error` is about TLS.
pub fn explain(error: &io::Error) -> Option<String> {
    let inner = error.get_ref()?;
    if let Some(error) = inner.downcast_ref::<TlsError>() {
        return Some(error.to_string());
    }
    let error = inner.downcast_ref::<rustls::Error>()?;
    let help = match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "none of the authorities issued the broker's certificate; set `ca_file` to the certificate of the one that did"
        }
        rustls::Error::InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }) => {
            "the broker's certificate is for another name; set `server_name` to the one it is for"
        }
        rustls::Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => "check the broker's certificate and the clock of this machine",
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "the broker wants a certificate of ours; set `certificate_file` and `key_file`"
        }
        rustls::Error::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::HandshakeFailure
            | AlertDescription::AccessDenied,
        ) => "the broker does not accept us; check `certificate_file` and `key_file`, and what authority it trusts",
        rustls::Error::InvalidMessage(_) => "what answers there speaks no TLS; check the port, or take `tls` away",
        _ => "",
    };
    Some(if help.is_empty() { error.to_string() } else { format!("{error}; {help}") })
}
