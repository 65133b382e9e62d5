//! The end of the way: whether the API can be reached where the names lead, and whether its certificate covers the
//! names that clients ask for.

use super::Check;
use super::names::ReachTarget;
use super::servers::millis;
use super::tls::{self, CertificateVerdict};
use futures_util::future::join_all;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::time::timeout;
use tokio_rustls::rustls::RootCertStore;

/// How long connection and handshake may take, each.
const TIMEOUT: Duration = Duration::from_millis(2500);

/// How many names are tried.
const MAX_NAMES: usize = 8;

/// Tries each API name where it leads.
pub(super) async fn targets(targets: Vec<ReachTarget>, port: u16) -> Vec<Check> {
    const STEP: &str = "api";
    if targets.is_empty() {
        return vec![Check::skip(STEP, "no API name resolves to an address")];
    }
    let left_out = targets.len().saturating_sub(MAX_NAMES);
    let mut checks: Vec<Check> =
        join_all(targets.into_iter().take(MAX_NAMES).map(|one| target(one, port, tls::roots())))
            .await
            .into_iter()
            .flatten()
            .collect();
    if left_out > 0 {
        checks.push(Check::skip(STEP, format!("{left_out} more names were not checked")));
    }
    checks
}

/// Tries one: the connection, then the certificate.
pub(super) async fn target(target: ReachTarget, port: u16, roots: Option<RootCertStore>) -> Vec<Check> {
    let ReachTarget { name, address } = target;
    let address = SocketAddr::new(address, port);
    let begun = Instant::now();
    let connected = timeout(TIMEOUT, tls::connect(address)).await;
    let stream = match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(stream) => stream,
        Err(error) => {
            return vec![Check::fail(
                "api",
                format!("{name}: TCP to {address}: {error}"),
                "is this instance in the region of that name, and does its security group allow outbound \
                 port 443?",
            )];
        }
    };
    let reached = Check::pass("api", format!("{name}: TCP to {address} in {}", millis(begun.elapsed())));
    let looked = timeout(TIMEOUT, tls::look(stream, &name, roots)).await;
    let looked = looked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    vec![reached, certificate(&name, looked)]
}

/// What is to be said about the certificate.
fn certificate(name: &str, looked: io::Result<CertificateVerdict>) -> Check {
    const STEP: &str = "certificate";
    match looked {
        Err(error) => Check::fail(
            STEP,
            format!("{name}: no TLS: {error}"),
            "another server answers there, or closes the connection: use another `target` in [endpoints]",
        ),
        Ok(CertificateVerdict { name: Err(presented), .. }) => Check::fail(
            STEP,
            format!("{name}: the certificate is for {presented}"),
            "clients reject it: use another `target` in [endpoints], or the product's own VPC endpoint in the client",
        ),
        Ok(CertificateVerdict { trust: Some(Err(why)), .. }) => Check::fail(
            STEP,
            format!("{name}: the certificate covers the name, but its chain is invalid: {why}"),
            "install the ca-certificates of the distribution; if they are installed, another server uses \
             this address",
        ),
        Ok(CertificateVerdict { trust: None, .. }) => Check::warn(
            STEP,
            format!("{name}: the certificate covers the name; its chain was not verified"),
            "this system has no root certificates in the usual directories: install ca-certificates",
        ),
        Ok(CertificateVerdict { trust: Some(Ok(())), .. }) => {
            Check::pass(STEP, format!("{name}: the certificate covers the name and is valid"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::CheckOutcome;
    use super::*;
    use std::net::IpAddr;
    use std::sync::Arc;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use tokio_rustls::rustls::{ServerConfig, crypto::ring};

    /// A server with a certificate of its own for these names, and that certificate.
    async fn server(names: &[&str]) -> (SocketAddr, CertificateDer<'static>) {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move { acceptor.accept(stream).await.map(drop) });
            }
        });
        (address, certificate)
    }

    async fn looked(address: SocketAddr, name: &str, roots: Option<RootCertStore>) -> Check {
        let stream = tls::connect(address).await.unwrap();
        certificate(name, tls::look(stream, name, roots).await)
    }

    #[tokio::test]
    async fn a_certificate_is_judged_by_name_and_by_trust() {
        let (address, own) = server(&["ecs.cn-hangzhou.aliyuncs.com", "*.sts.example"]).await;
        let mut trusted = RootCertStore::empty();
        trusted.add(own).unwrap();
        let good = looked(address, "ecs.cn-hangzhou.aliyuncs.com", Some(trusted.clone())).await;
        assert_eq!(good.outcome, CheckOutcome::Pass, "{good:?}");
        let wildcard = looked(address, "a.sts.example", Some(trusted.clone())).await;
        assert_eq!(wildcard.outcome, CheckOutcome::Pass);
        let other = looked(address, "ecs.cn-beijing.aliyuncs.com", Some(trusted)).await;
        assert_eq!(other.outcome, CheckOutcome::Fail);
        assert!(other.found.contains("ecs.cn-hangzhou.aliyuncs.com"), "{other:?}");
        let unknown = looked(address, "ecs.cn-hangzhou.aliyuncs.com", Some(RootCertStore::empty())).await;
        assert_eq!(unknown.outcome, CheckOutcome::Fail);
        assert!(unknown.found.contains("its chain is invalid"), "{unknown:?}");
        let no_roots = looked(address, "ecs.cn-hangzhou.aliyuncs.com", None).await;
        assert_eq!(no_roots.outcome, CheckOutcome::Warn, "{no_roots:?}");
    }

    #[tokio::test]
    async fn a_port_without_tls_and_a_closed_one_fail() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { listener.accept().await.map(drop) });
        let stream = tls::connect(address).await.unwrap();
        task.await.unwrap().unwrap();
        let check = certificate("a.example", tls::look(stream, "a.example", None).await);
        assert_eq!(check.outcome, CheckOutcome::Fail);
        assert!(check.found.contains("no TLS"), "{check:?}");
        let one = ReachTarget { name: "a.example".into(), address: IpAddr::from([127, 0, 0, 1]) };
        let closed = targets(vec![one], address.port()).await;
        assert_eq!((closed.len(), closed[0].outcome), (1, CheckOutcome::Fail), "{closed:?}");
        assert_eq!(targets(Vec::new(), 443).await[0].outcome, CheckOutcome::Skip);
    }
}
