//! TLS of the listening socket: certificate and key from two PEM files, taken anew when the files change.
//!
//! The files are looked at every [`LOOK_EVERY`], by their stamps, so that whatever renews them (certbot, a copy by hand)
//! need tell nobody. New connections get the new certificate. Files that cannot be used are told in the log and in the
//! metrics, and the old certificate stays. Nothing of a key is ever written to the log.

mod expiry;

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use parkgate_collector::clock::Clock;
use parkgate_collector::model::UtcMillis;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// Between two looks at the files.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;
/// Days before its end at which a certificate is called out in the log when it is loaded.
const EXPIRES_SOON_DAYS: i64 = 14;

/// The files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One cannot be read, or holds nothing of what it should.
    #[error("{path}: {reason}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The library refuses them, as when the key is not the certificate's.
    #[error("certificate {certificate} and key {key}: {error}")]
    Refused {
        /// Certificate file.
        certificate: PathBuf,
        /// Key file.
        key: PathBuf,
        /// Why.
        #[source]
        error: rustls::Error,
    },
}

/// Where certificate and key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate of the server, then those that lead to its issuer, as PEM.
    pub certificate: PathBuf,
    /// Its private key, as PEM.
    pub key: PathBuf,
}

/// What tells that a file is another: time of change, length, inode of both.
type Stamps = [Option<(i64, i64, u64, u64)>; 2];

impl TlsFiles {
    fn stamps(&self) -> Stamps {
        let stamp = |path: &Path| std::fs::metadata(path).ok().map(|found| (found.mtime(), found.mtime_nsec(), found.size(), found.ino()));
        [stamp(&self.certificate), stamp(&self.key)]
    }

    fn load(&self, provider: &CryptoProvider) -> Result<(Arc<CertifiedKey>, Option<UtcMillis>), TlsError> {
        let file = |path: &Path, reason: String| TlsError::File { path: path.to_owned(), reason };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect)
            .map_err(|error| file(&self.certificate, error.to_string()))?;
        let Some(expires) = chain.first().map(|certificate| expiry::not_after(certificate)) else {
            return Err(file(&self.certificate, "holds no certificate in PEM".into()));
        };
        // The library's words may repeat what it read: of a key, nothing is.
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|_| file(&self.key, "cannot be read, or holds no private key in PEM".into()))?;
        let refused = |error| TlsError::Refused { certificate: self.certificate.clone(), key: self.key.clone(), error };
        let certified = CertifiedKey::from_der(chain, key, provider).map_err(refused)?;
        Ok((Arc::new(certified), expires))
    }
}

/// Certificate and key in use.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    provider: Arc<CryptoProvider>,
    /// As of the last look, usable or not.
    seen: Mutex<Stamps>,
    certificate: Arc<InUse>,
}

#[derive(Debug)]
struct InUse(RwLock<(Arc<CertifiedKey>, Option<UtcMillis>)>);

impl ResolvesServerCert for InUse {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner).0))
    }
}

impl Tls {
    /// Loads the files. Blocks on file I/O.
    ///
    /// # Errors
    /// When they cannot be used.
    pub fn open(files: TlsFiles) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        // Before they are read: what changes meanwhile is loaded once more.
        let seen = files.stamps();
        let loaded = files.load(&provider)?;
        Ok(Self { files, provider, seen: Mutex::new(seen), certificate: Arc::new(InUse(RwLock::new(loaded))) })
    }

    /// What makes the handshakes: TLS 1.2 and 1.3, HTTP/1.1.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let mut config = rustls::ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .expect("the provider has ciphers for the default versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.certificate) as _);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }

    /// When the certificate in use expires, if it tells.
    fn expires(&self) -> Option<UtcMillis> {
        self.certificate.0.read().unwrap_or_else(PoisonError::into_inner).1
    }

    /// Loads the files again when they changed since the last look: whether they could be used. Blocks on file I/O.
    fn look(&self) -> Option<Result<(), TlsError>> {
        let stamps = self.files.stamps();
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == stamps {
                return None;
            }
            *seen = stamps;
        }
        Some(self.files.load(&self.provider).map(|loaded| {
            *self.certificate.0.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        }))
    }
}

/// Looks at the files until `cancel`; returns at once without TLS.
pub(super) async fn watch((tls, metrics, clock): (Option<Arc<Tls>>, Metrics, Arc<dyn Clock>), cancel: CancellationToken) {
    let Some(tls) = tls else { return };
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    let mut told = true;
    // Both are cancel-safe.
    while tokio::select! { _ = ticks.tick() => true, () = cancel.cancelled() => false } {
        let looked = tokio::task::spawn_blocking({
            let tls = Arc::clone(&tls);
            move || tls.look()
        });
        match looked.await {
            Ok(Some(Ok(()))) => {
                tracing::info!(file = %tls.files.certificate.display(), "new certificate in use");
                metrics.tls_reloads.with_label_values(&["loaded"]).inc();
                told = true;
            }
            Ok(Some(Err(error))) => {
                tracing::error!(error = %error, "new certificate cannot be used; the old one stays");
                metrics.tls_reloads.with_label_values(&["failed"]).inc();
            }
            Ok(None) | Err(_) => {}
        }
        if let Some(expires) = tls.expires() {
            let days = expires.since(clock.now().utc).div_euclid(DAY_MS);
            metrics.tls_expiry_days.with_label_values(&[&tls.files.certificate.display().to_string()]).set(days);
            if std::mem::take(&mut told) && days < EXPIRES_SOON_DAYS {
                tracing::warn!(file = %tls.files.certificate.display(), expires = %expires, "the certificate expires soon or has expired");
            }
        }
    }
}
