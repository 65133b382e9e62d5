//! Whom programs trust in the lab: the CAs of the system and the lab's own, as a PEM bundle and as a store for Java.

use super::pkcs12;
use crate::base::file;
use std::path::Path;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

/// The bundles of trusted CAs, by distribution; the first that is there is the system's.
pub const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Octets of the largest bundle that is read.
const LARGEST: u64 = 16 << 20;

/// The CAs of the system and one more, in PEM.
pub fn bundle(ca: &str) -> String {
    let system =
        BUNDLES.iter().find_map(|path| file::read_text(Path::new(path), LARGEST).ok()).unwrap_or_default();
    format!("{system}\n{ca}")
}

/// The certificates of a bundle as a PKCS #12 store; what is none is left out.
pub fn java_store(bundle: &str) -> Vec<u8> {
    let certificates: Vec<CertificateDer<'_>> =
        CertificateDer::pem_slice_iter(bundle.as_bytes()).filter_map(Result::ok).collect();
    pkcs12::store(certificates.iter().map(|certificate| &certificate[..]))
}
