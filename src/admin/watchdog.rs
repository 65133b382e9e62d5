//! Feeding the supervisor's watchdog: only when a query came back answered through our own sockets.
//!
//! A timer alone would prove that timers work. So at half the interval each address is asked over UDP, from a fresh
//! port, with a question that never leaves the machine: `localhost A` without RD is answered here or refused, but not
//! forwarded. Whether upstreams answer is no business of the watchdog: a restart would not bring them back.

use super::sd_notify::Supervisor;
use crate::base::local_address::is_absent;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Questions to one address before it counts as silent: a busy socket may lose a datagram.
const TRIES: u32 = 3;

/// The longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Feeds the watchdog for the life of the process, if there is one.
pub async fn watch(supervisor: Supervisor, listening: Vec<SocketAddr>) {
    let Some(limit) = supervisor.watchdog else { return };
    let patience = TIMEOUT.min(limit / 2 / (TRIES + 1));
    let mut ticks = interval(limit / 2);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // An address that no interface has would be asked of another machine.
        let here: Vec<SocketAddr> =
            listening.iter().copied().filter(|address| !is_absent(address.ip())).collect();
        let asked: Vec<_> =
            here.iter().map(|address| tokio::spawn(is_answered(*address, patience))).collect();
        let mut silent = Vec::new();
        for (address, answered) in here.iter().zip(asked) {
            if !answered.await.unwrap_or(false) {
                silent.push(address.to_string());
            }
        }
        match silent.is_empty() {
            true => supervisor.alive(),
            false => tracing::error!(
                silent = silent.join(", "),
                "our own sockets do not answer: the watchdog is not fed"
            ),
        }
    }
}

/// True when the server at an address answers.
async fn is_answered(address: SocketAddr, patience: Duration) -> bool {
    for _ in 0..TRIES {
        match timeout(patience, ask(reachable(address))).await {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => {
                tracing::debug!(%address, %error, "asking ourselves failed");
                tokio::time::sleep(patience).await; // such as a port that is refused: the next try needs another moment
            }
            Err(_) => {}
        }
    }
    false
}

/// Asks once and waits for the answer.
async fn ask(address: SocketAddr) -> io::Result<()> {
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(address).await?;
    let id = getrandom::u32().map_err(|error| io::Error::other(error.to_string()))? as u16;
    socket.send(&question(id)).await?;
    let mut reply = [0; 512];
    loop {
        let length = socket.recv(&mut reply).await?;
        if is_answer(&reply[..length], id) {
            return Ok(());
        }
    }
}

/// `localhost A`, without RD.
fn question(id: u16) -> Vec<u8> {
    let mut packet = id.to_be_bytes().to_vec();
    packet.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    packet.extend(b"\x09localhost\0");
    packet.extend([0, 1, 0, 1]);
    packet
}

/// True for a response with this id, whatever it says.
fn is_answer(packet: &[u8], id: u16) -> bool {
    packet.len() >= 12 && packet[..2] == id.to_be_bytes() && packet[2] & 0x80 != 0
}

/// Where a socket that listens everywhere is reached.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_is_one_that_is_not_forwarded() {
        let packet = question(0x1234);
        let message = hickory_proto::op::Message::from_vec(&packet).unwrap();
        assert_eq!(message.queries[0].to_string(), "localhost. IN A");
        assert!(!message.metadata.recursion_desired);
    }

    #[tokio::test]
    async fn only_an_answer_to_our_question_counts() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let asked = tokio::spawn(is_answered(address, Duration::from_secs(5)));
        let mut packet = [0; 512];
        let (length, peer) = server.recv_from(&mut packet).await.unwrap();
        server.send_to(&packet[..length], peer).await.unwrap(); // an echo is no answer
        server.send_to(&[packet[0] ^ 1, packet[1], 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0], peer).await.unwrap();
        assert!(!asked.is_finished());
        packet[2] |= 0x80;
        server.send_to(&packet[..length], peer).await.unwrap();
        assert!(asked.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_not_life() {
        let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(!is_answered(silent.local_addr().unwrap(), Duration::from_millis(5)).await);
    }

    #[test]
    fn a_socket_that_listens_everywhere_is_asked_on_loopback() {
        let shown = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(shown("0.0.0.0:53"), "127.0.0.1:53");
        assert_eq!(shown("[::]:53"), "[::1]:53");
        assert_eq!(shown("192.0.2.1:53"), "192.0.2.1:53");
    }
}
