//! Checks of one API name: the answer of this server, the connection to the address in it, and the certificate there.

use super::Check;
use super::ask::{over_tcp, over_udp};
use super::mapped::question;
use super::names::{ReachTarget, chain_of};
use super::reach;
use hickory_proto::rr::RecordType;
use std::net::SocketAddr;
use std::time::Duration;
use tokio_rustls::rustls::RootCertStore;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_millis(4500);

/// Queries `server` for the name over UDP and TCP, connects to the address and verifies the certificate against `roots`.
/// Returns the checks, and the address if a connection was made.
pub async fn check(
    server: SocketAddr,
    name: &str,
    port: u16,
    roots: Option<RootCertStore>,
) -> (Vec<Check>, Option<SocketAddr>) {
    const STEP: &str = "chain";
    let question = match question(name, RecordType::A) {
        Ok(question) => question,
        Err(error) => return (vec![Check::fail(STEP, error, "write a host name")], None),
    };
    let answer = match over_udp(server, &question, PATIENCE).await {
        Ok(answer) => answer,
        Err(error) => {
            let found = format!("{name}: no answer from {server}: {error}");
            return (vec![Check::fail(STEP, found, "see the log of pvtzd")], None);
        }
    };
    let mut checks = vec![chain_of(name, &answer)];
    checks.push(match over_tcp(server, &question, PATIENCE).await {
        Ok(over_tcp) if over_tcp.addresses().is_empty() == answer.addresses().is_empty() => {
            Check::pass("dns-tcp", format!("{name}: the same over TCP"))
        }
        Ok(_) => Check::warn("dns-tcp", format!("{name}: another answer over TCP"), "ask again"),
        Err(error) => {
            Check::fail("dns-tcp", format!("{name}: no answer over TCP: {error}"), "look for a packet filter")
        }
    });
    let Some(address) = answer.addresses().first().copied() else { return (checks, None) };
    let target = ReachTarget { name: name.to_string(), address };
    let reached = reach::target(target, port, roots).await;
    let is_there = reached.len() > 1; // else there is no connection
    checks.extend(reached);
    (checks, is_there.then(|| SocketAddr::new(address, port)))
}
