//! TLS to servers: whose certificates count, the handshake, and what is said when it fails. What goes through the
//! session is no concern of this file.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, CertificateError, ClientConfig, RootCertStore, crypto::ring};

use super::AttemptError;
use super::transport::classify;
use crate::base::file;

/// How long a handshake may take.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_millis(2500);

/// Where systems keep the certificates that they trust, as one file.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Whose certificates count. Two of the same certificates are the same.
pub struct Trust {
    /// The certificates at the roots.
    roots: Vec<CertificateDer<'static>>,
    /// What sessions are made by, and resumed; or why there can be none.
    config: Result<Arc<ClientConfig>, String>,
}

impl Trust {
    /// Trusts the certificates in a file; without one, those that the system trusts (`$SSL_CERT_FILE`, or the
    /// usual places). What is wrong with them is known by [`Self::problem`], and told to who wants a session.
    pub fn load(file: Option<&Path>) -> Self {
        match read_roots(file) {
            Err(problem) => Self { roots: Vec::new(), config: Err(problem) },
            Ok(roots) => Self { config: config(&roots), roots },
        }
    }

    /// Why no session is possible.
    pub fn problem(&self) -> Option<&str> {
        self.config.as_ref().err().map(String::as_str)
    }

    /// What sessions are made by in which this protocol is spoken; nothing for DNS over TLS, where servers do not
    /// expect to be told.
    pub(super) fn config(&self, protocol: Option<&[u8]>) -> Result<Arc<ClientConfig>, AttemptError> {
        let config = self.config.as_ref().map_err(|problem| AttemptError::Tls(problem.clone()))?;
        let Some(protocol) = protocol else { return Ok(config.clone()) };
        let mut config = ClientConfig::clone(config);
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(Arc::new(config))
    }

    /// A session over `stream` with a server whose certificate is valid for `name`.
    pub(super) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        name: &ServerName<'static>,
        protocol: Option<&[u8]>,
    ) -> Result<TlsStream<S>, AttemptError> {
        let connector = TlsConnector::from(self.config(protocol)?);
        match timeout(HANDSHAKE_TIMEOUT, connector.connect(name.clone(), stream)).await {
            Ok(connected) => connected.map_err(|error| explain(&error, name)),
            Err(_) => Err(AttemptError::Tls("the handshake timed out".to_owned())),
        }
    }
}

impl PartialEq for Trust {
    fn eq(&self, other: &Self) -> bool {
        self.roots == other.roots && self.problem() == other.problem()
    }
}

impl Eq for Trust {}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trust").field("roots", &self.roots.len()).finish_non_exhaustive()
    }
}

/// Octets of the largest file of CA certificates that is read. A system's has about 300,000.
const LARGEST: u64 = 16 << 20;

/// Reads the certificates of a file, or of the system.
///
/// # Errors
/// What is wrong with them, in words.
pub fn read_roots(named: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, String> {
    let path = match named {
        Some(path) => path.to_path_buf(),
        None => system_roots()?,
    };
    let shown = path.display();
    let unreadable =
        |error: &dyn std::fmt::Display| format!("cannot read CA certificates from {shown}: {error}");
    let octets = file::read(&path, LARGEST).map_err(|error| unreadable(&error))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&octets).collect();
    let found = found.map_err(|error| unreadable(&error))?;
    match found.is_empty() {
        true => Err(format!("no CA certificate in {shown}")),
        false => Ok(found),
    }
}

/// The file of the certificates that the system trusts.
fn system_roots() -> Result<PathBuf, String> {
    let named = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()).map(PathBuf::from);
    let usual = || SYSTEM_ROOTS.iter().map(PathBuf::from).find(|path| path.is_file());
    named.or_else(usual).ok_or_else(|| {
        "this machine has no CA certificates: install the package ca-certificates, or set `[upstream] tls_ca`".into()
    })
}

/// Makes sessions by these roots: TLS 1.2 at least.
fn config(roots: &[CertificateDer<'static>]) -> Result<Arc<ClientConfig>, String> {
    let mut store = RootCertStore::empty();
    // Of a system's hundred roots one may be odd; what matters is that there are some.
    let (taken, _) = store.add_parsable_certificates(roots.iter().cloned());
    if taken == 0 {
        return Err("none of the CA certificates is usable".to_owned());
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(rustls::DEFAULT_VERSIONS)
        .map_err(|error| error.to_string())?;
    Ok(Arc::new(builder.with_root_certificates(store).with_no_client_auth()))
}

/// What an error of a TLS session is to a person.
pub(super) fn explain(error: &io::Error, name: &ServerName<'static>) -> AttemptError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let Some(inner) = inner else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => AttemptError::Tls("the server ended the session".to_owned()),
            _ => classify(error),
        };
    };
    let name = name.to_str();
    AttemptError::Tls(match inner {
        rustls::Error::InvalidCertificate(fault) => match fault {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!("certificate not valid for {name}")
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                format!("certificate of {name} has expired")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                format!("certificate of {name} is not valid yet")
            }
            CertificateError::UnknownIssuer => {
                format!("certificate of {name} is from an issuer that is not trusted")
            }
            other => format!("certificate of {name} not accepted: {other}"),
        },
        rustls::Error::AlertReceived(alert) => format!("the server refused: {alert:?}"),
        rustls::Error::InvalidMessage(_) => "the server does not speak TLS".to_owned(),
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_usable_roots_the_reason_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let problem = |path: &Path| Trust::load(Some(path)).problem().unwrap_or_default().to_owned();
        assert!(problem(&path).contains("cannot read CA certificates from"));
        std::fs::write(&path, "").unwrap();
        assert!(problem(&path).starts_with("no CA certificate in"));
        std::fs::write(&path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        assert_eq!(problem(&path), "none of the CA certificates is usable");
    }
}
