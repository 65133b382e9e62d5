//! Whether pvtzd resolves names that are not its own, for a machine that resolved them until now.

use super::ask::ask;
use super::mapped::{TIMEOUT, question};
use crate::engine::rcode::show_rcode;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use std::net::SocketAddr;
use std::time::Duration;

/// The queries, until one is answered: every recursive resolver knows the root.
const ASKED: [(&str, RecordType); 2] = [(".", RecordType::NS), ("aliyun.com", RecordType::A)];

/// How long one of the former servers may take.
const FORMER: Duration = Duration::from_millis(1500);

/// How many of the former servers are asked.
const MAX_SERVERS: usize = 3;

/// How many search domains are looked up: glibc has six.
const MAX_DOMAINS: usize = 6;

/// What became of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
enum PublicOutcome {
    /// The name exists.
    Exists,
    /// The name does not exist.
    Denied,
    /// The server answers but does not resolve it.
    Failed(String),
    /// No answer.
    Silent(String),
}

impl PublicOutcome {
    /// True if the server resolved the name.
    fn is_resolved(&self) -> bool {
        matches!(self, Self::Exists | Self::Denied)
    }
}

/// Checks that the server at `server` knows the search domains that a server which was asked until now, one of
/// `former`, knows: short names are looked up below them. Those in pvtzd's own `zones` do not count.
///
/// # Errors
/// It does not know one of them: what it says instead.
pub async fn keeps_search_domains(
    server: SocketAddr,
    former: &[SocketAddr],
    domains: &[String],
    zones: &[String],
) -> Result<(), String> {
    let foreign = |domain: &&String| !zones.iter().any(|zone| is_below(domain, zone));
    for domain in domains.iter().filter(foreign).take(MAX_DOMAINS) {
        let Ok(before) = first_resolved(former, domain).await else { continue };
        if before != Some(PublicOutcome::Exists) {
            continue;
        }
        match outcome(server, domain, RecordType::NS, TIMEOUT).await? {
            PublicOutcome::Exists => {}
            PublicOutcome::Denied => return Err(format!("{domain} gets NXDOMAIN")),
            PublicOutcome::Failed(what) | PublicOutcome::Silent(what) => {
                return Err(format!("{domain} gets {what}"));
            }
        }
    }
    Ok(())
}

/// The outcome at the first of the former servers that resolves a name.
async fn first_resolved(former: &[SocketAddr], name: &str) -> Result<Option<PublicOutcome>, String> {
    for server in former.iter().take(MAX_SERVERS) {
        let outcome = outcome(*server, name, RecordType::NS, FORMER).await?;
        if outcome.is_resolved() {
            return Ok(Some(outcome));
        }
    }
    Ok(None)
}

/// True for a name at or below a zone.
fn is_below(name: &str, zone: &str) -> bool {
    let tidy = |name: &str| name.trim_end_matches('.').to_ascii_lowercase();
    let (name, zone) = (tidy(name), tidy(zone));
    name.strip_suffix(&zone).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// Checks that the server at `server` resolves a public name. It need not do so where a server that was asked until
/// now, one of `former`, answers and does not resolve it either.
///
/// # Errors
/// It does not: what it says instead.
pub async fn resolved(server: SocketAddr, former: &[SocketAddr]) -> Result<(), String> {
    let mut failed = Vec::new();
    for (name, rtype) in ASKED {
        match outcome(server, name, rtype, TIMEOUT).await? {
            PublicOutcome::Exists | PublicOutcome::Denied => return Ok(()),
            PublicOutcome::Failed(what) | PublicOutcome::Silent(what) => failed.push((name, rtype, what)),
        }
    }
    let mut before = Vec::new();
    for (name, rtype, _) in &failed {
        for former in former.iter().take(MAX_SERVERS) {
            before.push(outcome(*former, name, *rtype, FORMER).await?);
            if before.last().is_some_and(PublicOutcome::is_resolved) {
                break;
            }
        }
    }
    let (name, rtype, what) = failed.swap_remove(0);
    match nothing_is_lost(&before) {
        true => Ok(()),
        false => Err(format!("{name} {rtype} gets {what}")),
    }
}

/// True when the machine does not resolve such names now either: its servers say so. Silent ones may come back.
fn nothing_is_lost(before: &[PublicOutcome]) -> bool {
    let refused = before.iter().any(|outcome| matches!(outcome, PublicOutcome::Failed(_)));
    refused && !before.iter().any(PublicOutcome::is_resolved)
}

/// Asks one server.
async fn outcome(
    server: SocketAddr,
    name: &str,
    rtype: RecordType,
    patience: Duration,
) -> Result<PublicOutcome, String> {
    let question = question(name, rtype)?;
    Ok(match ask(server, &question, patience).await {
        Err(error) => PublicOutcome::Silent(format!("no answer ({error})")),
        Ok(told) => match told.rcode() {
            ResponseCode::NoError => PublicOutcome::Exists,
            ResponseCode::NXDomain => PublicOutcome::Denied,
            code => PublicOutcome::Failed(show_rcode(code, true).to_string()),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::UdpSocket;

    /// A server that answers every question with this code.
    async fn server(rcode: u8) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut packet = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut packet).await {
                packet[2] |= 0x80;
                packet[3] = 0x80 | rcode;
                packet[10..12].fill(0); // no OPT
                let end = 12 + packet[12..length].windows(5).position(|w| w[0] == 0).unwrap() + 5;
                socket.send_to(&packet[..end], from).await.unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn a_machine_that_resolved_public_names_must_go_on_doing_so() {
        let (good, denies, fails, refuses) =
            (server(0).await, server(3).await, server(2).await, server(5).await);
        for (ours, former, expected) in [
            (good, vec![refuses], None),
            (denies, vec![good], None),
            (fails, vec![good], Some(". NS gets SERVFAIL")),
            (refuses, vec![denies], Some(". NS gets REFUSED")),
            (refuses, vec![refuses, good], Some("REFUSED")),
            (refuses, vec![refuses], None),
            (refuses, vec![], Some("REFUSED")),
        ] {
            let said = resolved(ours, &former).await;
            assert_eq!(said.is_err(), expected.is_some(), "{said:?}");
            assert!(expected.is_none_or(|words| said.unwrap_err().contains(words)));
        }
    }

    #[tokio::test]
    async fn search_domains_that_a_former_server_knows_must_be_known() {
        let (good, denies, fails) = (server(0).await, server(3).await, server(2).await);
        let domains = ["corp.example".to_string(), "bad name".to_string()];
        for (ours, former, zone, expected) in [
            (good, good, "x.example", None),
            (denies, good, "x.example", Some("corp.example gets NXDOMAIN")),
            (fails, good, "x.example", Some("corp.example gets SERVFAIL")),
            (denies, denies, "x.example", None),
            (denies, fails, "x.example", None),
            (denies, good, "Corp.example.", None),
            (denies, good, "example", None),
            (denies, good, "orp.example", Some("NXDOMAIN")),
        ] {
            let said = keeps_search_domains(ours, &[former], &domains, &[zone.to_string()]).await;
            assert_eq!(said.is_err(), expected.is_some(), "{zone}: {said:?}");
            assert!(expected.is_none_or(|words| said.unwrap_err().contains(words)));
        }
    }

    #[test]
    fn silent_servers_may_come_back() {
        let (failed, silent) =
            (PublicOutcome::Failed("REFUSED".into()), PublicOutcome::Silent("no answer".into()));
        assert!(!nothing_is_lost(&[silent.clone(), silent.clone()]));
        assert!(nothing_is_lost(&[silent, failed.clone()]));
        assert!(!nothing_is_lost(&[failed.clone(), PublicOutcome::Exists]));
        assert!(!nothing_is_lost(&[failed, PublicOutcome::Denied]));
    }
}
