//! The lab's own client: asks the sidecar a name as a client of a VPC, and calls an API at the address that came
//! back, as an SDK would.

use super::ca::LabCa;
use crate::api::signer;
use crate::api::signer::{SignaturePlace, SigningOrder};
use crate::api::{AccessKey, Params};
use crate::engine::name;
use crate::engine::text::{TextRecord, read_message};
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::RecordType;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Nothing in a lab takes as long.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Octets of the longest answer of an API.
const MAX_RESPONSE_BYTES: usize = 4 << 20;

/// What came back for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedName {
    /// The code of the answer.
    pub rcode: ResponseCode,
    /// The records, as dig shows them.
    pub lines: Vec<String>,
    /// The IPv4 addresses among them.
    pub addresses: Vec<Ipv4Addr>,
}

/// Asks for the IPv4 addresses of a name, as the client at `client`.
///
/// # Errors
/// No answer comes, or what comes is none.
pub async fn resolve(server: SocketAddr, client: IpAddr, text: &str) -> io::Result<ResolvedName> {
    let name = name::parse(text).map_err(io::Error::other)?;
    let mut query = Message::query();
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(name, RecordType::A));
    let socket = UdpSocket::bind(SocketAddr::new(client, 0)).await?;
    socket.connect(server).await?;
    socket.send(&query.to_vec().map_err(io::Error::other)?).await?;
    let mut buffer = vec![0; 65_535];
    let length = timeout(TIMEOUT, socket.recv(&mut buffer)).await??;
    let answer =
        read_message(&buffer[..length]).ok_or_else(|| io::Error::other("the reply is not a DNS message"))?;
    if answer.id != query.id {
        return Err(io::Error::other("the answer is to another question"));
    }
    let line = |entry: &TextRecord| {
        let (name, rtype) = (entry.owner(), entry.type_name());
        let dot = if rtype == "CNAME" { "." } else { "" };
        format!("{name}.  {}  IN  {rtype}  {}{dot}", entry.ttl, entry.value())
    };
    let addresses = answer.answers.iter().filter(|entry| RecordType::from(entry.rtype) == RecordType::A);
    let addresses = addresses.filter_map(|entry| <[u8; 4]>::try_from(entry.data.as_slice()).ok());
    Ok(ResolvedName {
        rcode: answer.rcode.into(),
        addresses: addresses.map(Ipv4Addr::from).collect(),
        lines: answer.answers.iter().map(line).collect(),
    })
}

/// Calls an action of an API, signed, at an address under the name of its host; the body of the answer.
///
/// # Errors
/// No answer, the certificate is not for that host, or the API refuses: its code and message.
pub async fn call(
    address: SocketAddr,
    host: &str,
    tls: Option<&LabCa>,
    key: &AccessKey,
    (version, action): (&str, &str),
) -> io::Result<Value> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let nonce = data_encoding::HEXLOWER.encode(&random);
    let order =
        SigningOrder { action, version, params: &Params::default(), now: SystemTime::now(), nonce: &nonce };
    let signed = signer::acs3(&order, SignaturePlace::PostQuery, key, host);
    let mut request = Request::builder().method(signed.method.as_str()).uri("/");
    for (name, value) in &signed.headers {
        request = request.header(name, value.as_slice());
    }
    let request = request.body(Full::new(Bytes::from(signed.body))).map_err(io::Error::other)?;
    let exchange = async {
        let stream = TcpStream::connect(address).await?;
        match tls {
            None => converse(stream, request).await,
            Some(authority) => {
                let connector = TlsConnector::from(Arc::new(trusting(authority)?));
                let name = ServerName::try_from(host.to_string()).map_err(io::Error::other)?;
                converse(connector.connect(name, stream).await?, request).await
            }
        }
    };
    let body: Value = serde_json::from_slice(&timeout(TIMEOUT, exchange).await??)?;
    match (body["Code"].as_str(), body["Message"].as_str()) {
        (Some(code), message) => Err(io::Error::other(format!("{code}: {}", message.unwrap_or_default()))),
        (None, _) => Ok(body),
    }
}

/// A TLS client that trusts the lab's CA alone.
fn trusting(authority: &LabCa) -> io::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.pem.as_bytes()).map_err(io::Error::other)?;
    roots.add(root).map_err(io::Error::other)?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// One request and the body of its response.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> io::Result<Bytes> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    let body =
        Limited::new(response.into_body(), MAX_RESPONSE_BYTES).collect().await.map_err(io::Error::other)?;
    connection.abort();
    Ok(body.to_bytes())
}
