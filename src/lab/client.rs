//! The lab's own client: asks the sidecar a name as a client of a VPC, and calls an API at the address that came
//! back, as an SDK would.

use super::ca::LabCa;
use crate::api::client::{ApiClient, CallError};
use crate::api::{AccessKey, ApiError, Params};
use crate::engine::name;
use crate::engine::text::{TextRecord, read_message};
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::RecordType;
use serde_json::Value;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::timeout;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::crypto::ring;

/// Nothing in a lab takes as long.
const TIMEOUT: Duration = Duration::from_secs(5);

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
    let tls = tls.map(trusting).transpose()?.map(Arc::new);
    let client = ApiClient { address, host: host.into(), key: key.clone(), tls, timeout: TIMEOUT };
    client.call(version, action, &Params::default()).await.map(Value::Object).map_err(|error| match error {
        CallError::Unreachable(_, error) => error,
        CallError::Refused(ApiError { code, message, .. }, _) => {
            io::Error::other(format!("{code}: {message}"))
        }
        error @ CallError::NotTheApi(..) => io::Error::other(error),
    })
}

/// A TLS client that trusts the lab's CA alone.
fn trusting(authority: &LabCa) -> io::Result<ClientConfig> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    Ok(config.with_root_certificates(authority.roots()?).with_no_client_auth())
}
