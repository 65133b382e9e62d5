//! The server certificate of encrypted listeners: loaded from two files, and reloaded when they change.

use crate::base::file;
use arc_swap::ArcSwap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, InconsistentKeys, ServerConfig};

/// A certificate with its key, which can be replaced at run time.
#[derive(Debug)]
pub struct Certificate {
    current: ArcSwap<CertifiedKey>,
    files: Mutex<CertificateFiles>,
}

/// The source of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
struct CertificateFiles {
    /// The chain in PEM, the server's own certificate first.
    certificate: PathBuf,
    /// The key in PEM.
    key: PathBuf,
    /// State of both files at the last read, successful or not.
    looks: [Option<CertificateCheck>; 2],
}

/// Detects a changed file: modification time and length.
type CertificateCheck = (SystemTime, u64);

/// An invalid certificate or key file.
#[derive(Debug)]
pub struct CertificateError(String);

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CertificateError {}

impl Certificate {
    /// Reads a certificate chain and its key.
    ///
    /// # Errors
    /// One of the files cannot be read, or they do not belong together.
    pub fn load(certificate: &Path, key: &Path) -> Result<Arc<Self>, CertificateError> {
        let files = CertificateFiles::at(certificate, key);
        let current = ArcSwap::from_pointee(files.read()?);
        Ok(Arc::new(Self { current, files: Mutex::new(files) }))
    }

    /// Loads it from these files, which may differ from the former ones. On an error the former certificate stays in
    /// force.
    ///
    /// # Errors
    /// As for [`Self::load`].
    pub fn reload(&self, certificate: &Path, key: &Path) -> Result<(), CertificateError> {
        let fresh = CertificateFiles::at(certificate, key);
        let read = fresh.read();
        *self.files.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        self.current.store(Arc::new(read?));
        Ok(())
    }

    /// Reloads it if a file has changed; returns whether one has.
    ///
    /// # Errors
    /// As for [`Self::load`].
    pub fn reload_if_changed(&self) -> Result<bool, CertificateError> {
        let former = self.files.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let changed = CertificateFiles::at(&former.certificate, &former.key) != former;
        if changed {
            self.reload(&former.certificate, &former.key)?;
        }
        Ok(changed)
    }

    /// The TLS configuration, TLS 1.2 or newer; clients that use ALPN must offer this protocol.
    ///
    /// # Errors The library cannot generate keys for session tickets.
    pub fn server_config(self: &Arc<Self>, protocol: &[u8]) -> Result<Arc<ServerConfig>, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(rustls::DEFAULT_VERSIONS)?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![protocol.to_vec()];
        // Sessions are resumed by tickets, which use no server memory.
        config.ticketer = ring::Ticketer::new()?;
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

/// Maximum octets of a certificate chain or key.
const LARGEST: u64 = 1 << 20;

impl CertificateFiles {
    /// The current state of the files.
    fn at(certificate: &Path, key: &Path) -> Self {
        let look = |path: &Path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        Self { certificate: certificate.into(), key: key.into(), looks: [look(certificate), look(key)] }
    }

    /// Their content.
    fn read(&self) -> Result<CertifiedKey, CertificateError> {
        let Self { certificate, key, .. } = self;
        let fault = |path: &Path, what: &str, error: &dyn fmt::Display| {
            CertificateError(format!("cannot read the {what} from {}: {error}", path.display()))
        };
        let octets =
            file::read(certificate, LARGEST).map_err(|error| fault(certificate, "certificate", &error))?;
        let chain: Result<Vec<CertificateDer<'static>>, _> =
            CertificateDer::pem_slice_iter(&octets).collect();
        let chain = chain.map_err(|error| fault(certificate, "certificate", &error))?;
        if chain.is_empty() {
            let text =
                format!("no certificate in {} (PEM, the server's certificate first)", certificate.display());
            return Err(CertificateError(text));
        }
        let octets = file::read(key, LARGEST).map_err(|error| fault(key, "key", &error))?;
        let private = PrivateKeyDer::from_pem_slice(&octets).map_err(|error| fault(key, "key", &error))?;
        CertifiedKey::from_der(chain, private, &ring::default_provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => CertificateError(format!(
                "the key in {} does not belong to the certificate in {}",
                key.display(),
                certificate.display()
            )),
            error => CertificateError(format!(
                "cannot use the certificate in {} and the key in {}: {error}",
                certificate.display(),
                key.display()
            )),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::generate_simple_self_signed;

    /// Writes another certificate and its key; the certificate.
    fn write(folder: &Path) -> Vec<u8> {
        let made = generate_simple_self_signed(vec!["dns.example".to_owned()]).unwrap();
        std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        made.cert.der().to_vec()
    }

    #[test]
    fn a_changed_pair_takes_the_place_of_the_former_and_a_bad_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let first = write(folder.path());
        let certificate = Certificate::load(&cert, &key).unwrap();
        let served = || certificate.current.load().cert[0].to_vec();
        assert_eq!(served(), first);
        assert!(!certificate.reload_if_changed().unwrap());

        let second = write(folder.path());
        certificate.reload(&cert, &key).unwrap();
        assert_eq!(served(), second);

        // the certificate without its key, as when a renewal is half done
        let former_key = std::fs::read(&key).unwrap();
        write(folder.path());
        std::fs::write(&key, [&former_key[..], b"\n"].concat()).unwrap();
        let error = certificate.reload_if_changed().unwrap_err().to_string();
        assert!(error.contains("does not belong to"), "{error}");
        assert_eq!(served(), second);
        assert!(!certificate.reload_if_changed().unwrap(), "told once");
    }

    #[test]
    fn files_that_hold_nothing_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let error = || Certificate::load(&cert, &key).unwrap_err().to_string();
        assert!(error().contains("cannot read the certificate from"));
        std::fs::write(&cert, "").unwrap();
        assert!(error().starts_with("no certificate in"));
        write(folder.path());
        std::fs::write(&key, "").unwrap();
        assert!(error().contains("cannot read the key from"), "{}", error());
    }
}
