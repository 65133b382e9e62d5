//! TLS to etcd: the CA, and the client's certificate where there is one. All of it is read again when a file changes.

use crate::base::file::{self, WatchedFile};
use crate::config::Fleet;
use crate::upstream::roots;
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, crypto::ring};

/// Octets of the largest file that is read.
const LARGEST: u64 = 1 << 20;

/// What sessions are made by, with the files that it was made of.
#[derive(Debug, Default)]
pub(super) struct FleetTls {
    made: Option<(Vec<WatchedFile>, Arc<ClientConfig>)>,
}

impl FleetTls {
    /// What sessions are made by now. Files that cannot be used leave the former in force, which the log tells.
    pub(super) fn config(&mut self, fleet: &Fleet) -> Result<Arc<ClientConfig>, String> {
        if let Some((files, config)) = &self.made
            && !files.iter().any(WatchedFile::has_changed)
        {
            return Ok(config.clone());
        }
        let files = [&fleet.ca, &fleet.certificate, &fleet.key];
        let files = files.into_iter().flatten().map(|path| WatchedFile::now(path)).collect();
        match (make(fleet), &mut self.made) {
            (Ok(config), made) => {
                *made = Some((files, config.clone()));
                Ok(config)
            }
            (Err(fault), None) => Err(fault),
            (Err(fault), Some((_, config))) => {
                tracing::error!(fault, "the former certificates for etcd stay in force");
                Ok(config.clone())
            }
        }
    }
}

fn make(fleet: &Fleet) -> Result<Arc<ClientConfig>, String> {
    let mut store = RootCertStore::empty();
    let (taken, _) = store.add_parsable_certificates(roots(fleet.ca.as_deref())?);
    if taken == 0 {
        return Err("none of the CA certificates for etcd can be used".into());
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(rustls::DEFAULT_VERSIONS)
        .map_err(|error| error.to_string())?
        .with_root_certificates(store);
    let mut config = match (&fleet.certificate, &fleet.key) {
        (Some(certificate), Some(key)) => {
            let (chain, secret) = identity(certificate, key)?;
            builder.with_client_auth_cert(chain, secret).map_err(|error| {
                format!("{} and {} are no client certificate: {error}", certificate.display(), key.display())
            })?
        }
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

fn identity(
    certificate: &Path,
    key: &Path,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let read = |path: &Path| {
        file::read(path, LARGEST).map_err(|error| format!("{} cannot be read: {error}", path.display()))
    };
    let odd = |path: &Path, error: &dyn std::fmt::Display| format!("{} is not PEM: {error}", path.display());
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(certificate)?).collect();
    let chain = chain.map_err(|error| odd(certificate, &error))?;
    let secret = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| odd(key, &error))?;
    Ok((chain, secret))
}
