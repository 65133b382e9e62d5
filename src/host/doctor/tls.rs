//! What certificate a server presents, and whether it covers a name. The connection is for looking only: it is
//! made with whatever certificate comes, nothing is sent over it, and it is closed.

use crate::base::file;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use tokio_rustls::rustls::crypto::{
    WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

/// Where distributions keep the roots that programs trust.
const ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// What is to be said about a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CertificateVerdict {
    /// It covers the name; else what it covers.
    pub(super) name: Result<(), String>,
    /// It is trusted by the system's roots; else why not. Nothing where there are no roots to ask.
    pub(super) trust: Option<Result<(), String>>,
}

/// Octets of the largest file of roots that is read.
const LARGEST: u64 = 16 << 20;

/// The roots that programs on this machine trust; nothing if there are none.
pub fn roots() -> Option<RootCertStore> {
    // The variable of OpenSSL and compatible libraries.
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let known = ROOTS.iter().map(PathBuf::from);
    let path = named.into_iter().chain(known).find(|path| path.exists())?;
    let mut store = RootCertStore::empty();
    let octets = file::read(&path, LARGEST).ok()?;
    store.add_parsable_certificates(CertificateDer::pem_slice_iter(&octets).flatten());
    (!store.is_empty()).then_some(store)
}

/// Connects, and looks at the certificate. The caller sets the deadline.
///
/// # Errors
/// No connection, or no TLS on it.
pub(super) async fn look(
    stream: TcpStream,
    name: &str,
    roots: Option<RootCertStore>,
) -> io::Result<CertificateVerdict> {
    let server = ServerName::try_from(name.to_string()).map_err(io::Error::other)?;
    let provider = Arc::new(ring::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let looker = Arc::new(Looker { roots, algorithms, verdict: Mutex::new(None) });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous() // nothing is sent, and the caller evaluates the certificate
        .with_custom_certificate_verifier(looker.clone())
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config)).connect(server, stream).await?;
    let verdict = looker.verdict.lock().unwrap_or_else(PoisonError::into_inner).take();
    verdict.ok_or_else(|| io::Error::other("it presented no certificate"))
}

/// The name in `DnsName("ecs.example")`, as the library writes it.
fn bare(presented: &str) -> &str {
    presented.split('"').nth(1).unwrap_or(presented)
}

/// Connects to a server, over TCP.
///
/// # Errors
/// No server is there.
pub(super) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect(address).await
}

/// A connection to a server that was found good.
pub type TrustedStream = TlsStream<TcpStream>;

/// Connects to a server whose certificate covers the name and is trusted by `roots`.
///
/// # Errors
/// No connection, or another certificate.
pub async fn connect_trusted(
    address: SocketAddr,
    name: &str,
    roots: RootCertStore,
) -> io::Result<TrustedStream> {
    let server = ServerName::try_from(name.to_string()).map_err(io::Error::other)?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config)).connect(server, connect(address).await?).await
}

/// Takes every certificate, and keeps what is to be said about it.
#[derive(Debug)]
struct Looker {
    roots: Option<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
    verdict: Mutex<Option<CertificateVerdict>>,
}

impl ServerCertVerifier for Looker {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let name = verify_server_name(&certificate, server_name).map_err(|error| match error {
            Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. }) => {
                match presented.is_empty() {
                    true => "no name at all".to_string(),
                    false => presented.iter().map(|name| bare(name)).collect::<Vec<_>>().join(", "),
                }
            }
            other => other.to_string(),
        });
        let trust = self.roots.as_ref().map(|roots| {
            let algorithms = self.algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&certificate, roots, intermediates, now, algorithms)
                .map_err(|error| error.to_string())
        });
        *self.verdict.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(CertificateVerdict { name, trust });
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
