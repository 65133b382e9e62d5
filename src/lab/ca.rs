//! The lab's certificate authority, and the certificate that the stub APIs show.
//!
//! The CA is made at the first start and kept, so that it can be trusted once. It is constrained to the names and
//! addresses of the lab (RFC 5280 section 4.2.1.10): whoever trusts it, trusts it for nothing else. The stub's
//! certificate is made at each start and never written.

use super::state::StateDir;
use super::trust;
use crate::config::endpoints;
use crate::engine::sort;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SanType, date_time_ymd,
};
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::ServerCertVerifier;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime,
};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// How long a CA counts.
const LIFE: Duration = Duration::from_secs(10 * 365 * DAY);

/// A CA that has less than this left is replaced, and so no certificate of it ends while it is in use.
const RESERVE: Duration = Duration::from_secs(400 * DAY);

/// How long the stub's certificate counts: less than the CA's reserve.
const LEAF_LIFE: Duration = Duration::from_secs(397 * DAY);

/// Clocks may differ by this.
const SKEW: Duration = Duration::from_secs(DAY);

const DAY: u64 = 86_400;

/// The file with certificate and key, closed to others.
const KEPT: &str = "ca-and-key.pem";

/// The file with the certificate.
const PUBLIC: &str = "ca.pem";

/// The file with the certificate and the system's, for Java.
const JAVA_STORE: &str = "truststore.p12";

/// What comes before the moment at which the CA ends, in the text above its certificate.
const END_MARK: &str = "It ends at (seconds since 1970): ";

/// What all names of the lab end in.
const SUFFIX: &str = "aliyuncs.com";

/// The CA and the certificate that it gave the stub.
#[derive(Clone, Debug)]
pub struct LabCa {
    /// The CA's certificate, in PEM.
    pub pem: String,
    /// Where it is, for those who are to trust it.
    pub path: PathBuf,
    /// A store for Java: the system's CAs and this one.
    pub java_store: PathBuf,
    /// What the stub answers TLS with.
    pub tls: Arc<ServerConfig>,
}

impl LabCa {
    /// The kept CA, or a new one.
    ///
    /// # Errors
    /// The state directory cannot be read or written, or there is no randomness.
    pub fn open(state: &StateDir, now: SystemTime) -> io::Result<Self> {
        let authority = |text: &str| read(text, now);
        let (pem, leaf, key) = state.keep(KEPT, "the lab's CA", authority, || make(now))?;
        let path = state.publish(PUBLIC, pem.as_bytes())?;
        let java_store = state.publish(JAVA_STORE, &trust::java_store(&trust::bundle(&pem)))?;
        let provider = Arc::new(ring::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(vec![leaf], key)
            .map_err(io::Error::other)?;
        Ok(Self { pem, path, java_store, tls: Arc::new(tls) })
    }

    /// The CA as the only root that is trusted.
    ///
    /// # Errors
    /// Its certificate is none.
    pub fn roots(&self) -> io::Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(self.pem.as_bytes()).map_err(io::Error::other)?;
        roots.add(root).map_err(io::Error::other)?;
        Ok(roots)
    }
}

/// A CA, with the text that it is kept as.
fn make(now: SystemTime) -> io::Result<String> {
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let end = now + LIFE;
    let certificate = authority_params(now, end).self_signed(&key).map_err(io::Error::other)?;
    let seconds = end.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let warning = "This is the CA of a pvtzd lab. It is limited to the lab's names.";
    Ok(format!("{warning}\n{END_MARK}{seconds}\n{}{}", certificate.pem(), key.serialize_pem()))
}

/// Of what was kept: the CA's certificate in PEM, a certificate that it gives the stub, and that one's key.
fn read(
    text: &str,
    now: SystemTime,
) -> Result<(String, CertificateDer<'static>, PrivateKeyDer<'static>), String> {
    let end = text.lines().find_map(|line| line.strip_prefix(END_MARK)?.parse().ok());
    let end = UNIX_EPOCH + Duration::from_secs(end.ok_or("it has no expiry date")?);
    if end < now + RESERVE {
        return Err("it has expired or expires soon".into());
    }
    let at = text.find("-----BEGIN PRIVATE KEY-----").ok_or("it has no key")?;
    let (certificate, key) = text.split_at(at);
    let key = KeyPair::from_pem(key).map_err(|error| format!("its key: {error}"))?;
    let issuer = Issuer::new(authority_params(now, end), key);
    let leaf_key = KeyPair::generate().map_err(|error| error.to_string())?;
    let leaf = leaf_params(now).and_then(|params| params.signed_by(&leaf_key, &issuer));
    let leaf = leaf.map_err(|error| error.to_string())?.der().clone();
    let root = CertificateDer::from_pem_slice(certificate.as_bytes());
    let root = root.map_err(|error| format!("its certificate: {error}"))?;
    verify(root, &leaf, now).map_err(|error| format!("its key and its certificate: {error}"))?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
    Ok((certificate.to_string(), leaf, key))
}

/// Makes sure that who trusts `root` believes `leaf`.
fn verify(
    root: CertificateDer<'static>,
    leaf: &CertificateDer<'static>,
    now: SystemTime,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut roots = RootCertStore::empty();
    roots.add(root)?;
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
    let name = ServerName::try_from(format!("ecs.cn-hangzhou.{SUFFIX}"))?;
    let now = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH)?);
    verifier.verify_server_cert(leaf, &[], &name, &[], now)?;
    Ok(())
}

/// What the CA's certificate says.
fn authority_params(now: SystemTime, end: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = called("pvtzd lab CA");
    limit(&mut params, now.checked_sub(SKEW).unwrap_or(UNIX_EPOCH), end);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName(SUFFIX.into()),
            GeneralSubtree::DnsName("localhost".into()),
            GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(IpAddr::V4(Ipv4Addr::LOCALHOST), 8)),
            GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(IpAddr::V6(Ipv6Addr::LOCALHOST), 128)),
        ],
        excluded_subtrees: Vec::new(),
    });
    params
}

/// What the stub's certificate says: it is good for every API name, as a gateway's must be.
fn leaf_params(now: SystemTime) -> Result<CertificateParams, rcgen::Error> {
    let api = endpoints::api_names();
    let parents = api.public.iter().chain(&api.inside).filter_map(|name| Some(name.split_once('.')?.1));
    let mut names: BTreeSet<String> = sort::set(parents.map(|parent| format!("*.{parent}")));
    names.insert("localhost".into());
    let mut params = CertificateParams::new(names.into_iter().collect::<Vec<_>>())?;
    let addresses = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    params.subject_alt_names.extend(addresses.map(SanType::IpAddress));
    params.distinguished_name = called("pvtzd lab stub");
    limit(&mut params, now.checked_sub(SKEW).unwrap_or(UNIX_EPOCH), now + LEAF_LIFE);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn called(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// Sets from when to when a certificate counts.
fn limit(params: &mut CertificateParams, from: SystemTime, to: SystemTime) {
    let since = |at: SystemTime| at.duration_since(UNIX_EPOCH).unwrap_or_default();
    params.not_before = date_time_ymd(1970, 1, 1) + since(from);
    params.not_after = date_time_ymd(1970, 1, 1) + since(to);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn at(days: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs((20_000 + days) * DAY)
    }

    #[test]
    fn the_ca_stays_and_its_key_is_closed() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(Some(folder.path())).unwrap();
        let first = LabCa::open(&state, at(0)).unwrap();
        let later = LabCa::open(&state, at(3000)).unwrap();
        assert_eq!(first.pem, later.pem);
        assert_eq!(fs::read_to_string(&first.path).unwrap(), first.pem);
        assert!(!first.pem.contains("PRIVATE"));
        let mode = fs::metadata(state.path().join(KEPT)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn an_old_or_damaged_ca_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(Some(folder.path())).unwrap();
        let first = LabCa::open(&state, at(0)).unwrap();
        let renewed = LabCa::open(&state, at(3650 - 300)).unwrap();
        assert_ne!(first.pem, renewed.pem);
        let text = fs::read_to_string(state.path().join(KEPT)).unwrap();
        let other = make(at(3350)).unwrap();
        let keys = |text: &str| text.find("-----BEGIN PRIVATE").unwrap();
        for damaged in [
            text[..text.len() / 2].to_string(),
            text.replace("END CERT", "END CARD"),
            format!("{}{}", &text[..keys(&text)], &other[keys(&other)..]),
            String::new(),
        ] {
            fs::write(state.path().join(KEPT), &damaged).unwrap();
            let replaced = LabCa::open(&state, at(3350)).unwrap();
            assert_ne!(replaced.pem, renewed.pem);
            assert_eq!(fs::read_to_string(&replaced.path).unwrap(), replaced.pem);
        }
    }

    #[test]
    fn the_stub_may_show_its_certificate_for_every_api_name_and_the_ca_speaks_for_no_other() {
        let text = make(at(0)).unwrap();
        let (pem, leaf, _) = read(&text, at(0)).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let now = UnixTime::since_unix_epoch(at(1).duration_since(UNIX_EPOCH).unwrap());
        let is_good = |leaf: &CertificateDer<'_>, name: &str| {
            let name = ServerName::try_from(name.to_string()).unwrap();
            verifier.verify_server_cert(leaf, &[], &name, &[], now).is_ok()
        };
        let names = endpoints::api_names();
        for name in names.public.iter().chain(&names.inside) {
            assert!(is_good(&leaf, name), "{name}");
        }
        assert!(is_good(&leaf, "localhost") && is_good(&leaf, "127.0.0.1"));
        assert!(!is_good(&leaf, "example.com"));

        let key = KeyPair::from_pem(&text[text.find("-----BEGIN PRIVATE").unwrap()..]).unwrap();
        let issuer = Issuer::new(authority_params(at(0), at(3650)), key);
        let mut params = leaf_params(at(0)).unwrap();
        params.subject_alt_names = vec![SanType::DnsName("www.example.com".try_into().unwrap())];
        let forged = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        assert!(!is_good(forged.der(), "www.example.com"), "a name outside the lab");
    }
}
