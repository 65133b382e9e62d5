//! The self-check: whether the server answers over its own sockets. `/health` and the watchdog share it, so that they
//! never disagree.
//!
//! A timer alone would prove that timers work. Therefore it queries each listening address over UDP, from a new port,
//! like a client on this machine, and detects a hanging thread. The query never leaves the machine: `localhost A`
//! without RD is answered locally or refused, but not forwarded. It does not depend on upstreams, because a restart
//! would not repair them.

use crate::base::local_address::{is_absent, reached_at};
use crate::base::task;
use crate::engine::message::HEADER;
use futures_util::future::join_all;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// Questions to one address before it counts as silent: a busy socket may lose a datagram.
const TRIES: u32 = 3;

/// The longest wait for one answer. All tries together take less than the 5 s that a probe usually waits.
const TIMEOUT: Duration = Duration::from_millis(1500);

/// The result of a check: the addresses that do not answer.
type Silent = Arc<[SilentAddress]>;

/// An address that does not answer, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SilentAddress {
    /// The address.
    pub address: SocketAddr,
    /// The error of the last attempt.
    pub why: String,
}

impl fmt::Display for SilentAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no answer from {}: {}", self.address, self.why)
    }
}

/// The check of all listening addresses.
#[derive(Debug)]
pub struct SelfCheck {
    listening: Vec<SocketAddr>,
    timeout: Duration,
    /// The result of the last check; empty while a check runs.
    last: Mutex<Option<watch::Receiver<Option<Silent>>>>,
}

impl SelfCheck {
    /// A check of these addresses. It takes at most a quarter of the watchdog's timeout.
    pub fn new(listening: Vec<SocketAddr>, watchdog: Option<Duration>) -> Self {
        let timeout = watchdog.map_or(TIMEOUT, |limit| TIMEOUT.min(limit / 4 / TRIES));
        Self { listening, timeout, last: Mutex::default() }
    }

    /// Queries all addresses, and returns those that do not answer. A caller during a check gets the result of that
    /// check.
    pub async fn silent(&self) -> Silent {
        let mut check = {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            let running = last.take().filter(|check| check.borrow().is_none() && check.has_changed().is_ok());
            last.insert(running.unwrap_or_else(|| self.begin())).clone()
        };
        match check.wait_for(Option::is_some).await {
            Ok(silent) => silent.clone().unwrap_or_default(),
            // The task panicked, or the runtime ends.
            Err(_) => self.listening.iter().map(|&address| silent(address, "the check failed")).collect(),
        }
    }

    /// Starts a check in its own task, which continues if its caller is dropped: a later caller gets no old result.
    fn begin(&self) -> watch::Receiver<Option<Silent>> {
        let (tell, told) = watch::channel(None);
        // A query to an address that no interface has would go to another machine.
        let here = self.listening.iter().copied().filter(|address| !is_absent(address.ip()));
        let (here, patience) = (here.collect::<Vec<SocketAddr>>(), self.timeout);
        task::spawn(async move {
            let asked = here.into_iter().map(|address| async move {
                let answer = asked(reached_at(address), patience).await;
                answer.err().map(|error| silent(address, error))
            });
            tell.send_replace(Some(join_all(asked).await.into_iter().flatten().collect()));
        });
        told
    }
}

fn silent(address: SocketAddr, why: impl ToString) -> SilentAddress {
    SilentAddress { address, why: why.to_string() }
}

/// Asks the server at an address until it answers.
///
/// # Errors
/// It does not; the error of the last try.
async fn asked(address: SocketAddr, patience: Duration) -> io::Result<()> {
    let mut last = io::ErrorKind::TimedOut.into();
    for _ in 0..TRIES {
        match timeout(patience, ask(address)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => {
                last = error;
                sleep(patience / 4).await; // for example a refused port: pause before the next attempt
            }
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

/// Asks once and waits for the answer.
async fn ask(address: SocketAddr) -> io::Result<()> {
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(address).await?;
    let id = getrandom::u32().map_err(io::Error::other)? as u16;
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
    packet.len() >= HEADER && packet[..2] == id.to_be_bytes() && packet[2] & 0x80 != 0
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
        let asked = tokio::spawn(asked(address, Duration::from_secs(5)));
        let mut packet = [0; 512];
        let (length, peer) = server.recv_from(&mut packet).await.unwrap();
        server.send_to(&packet[..length], peer).await.unwrap(); // an echo is no answer
        server.send_to(&[packet[0] ^ 1, packet[1], 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0], peer).await.unwrap();
        assert!(!asked.is_finished());
        packet[2] |= 0x80;
        server.send_to(&packet[..length], peer).await.unwrap();
        assert!(asked.await.unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_not_life() {
        let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(asked(silent.local_addr().unwrap(), Duration::from_millis(5)).await.is_err());
    }

    #[tokio::test]
    async fn who_asks_at_a_time_gets_one_answer_and_who_asks_later_another() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let absent: SocketAddr = "192.0.2.77:53".parse().unwrap();
        let check = SelfCheck::new(vec![address, absent], None);
        for _ in 0..2 {
            let answer = async {
                let mut packet = [0; 512];
                let (length, peer) = server.recv_from(&mut packet).await.unwrap();
                packet[2] |= 0x80;
                server.send_to(&packet[..length], peer).await.unwrap();
            };
            let (one, other, ()) = tokio::join!(check.silent(), check.silent(), answer);
            assert_eq!((&*one, &*other), (&[][..], &[][..]));
        }
        drop(server);
        let silent = check.silent().await;
        assert_eq!(silent.len(), 1, "{silent:?}");
        assert!(silent[0].to_string().starts_with(&format!("no answer from {address}: ")), "{silent:?}");
    }

    #[test]
    fn a_check_ends_before_the_watchdog_does() {
        let check = |seconds| SelfCheck::new(Vec::new(), Some(Duration::from_secs(seconds)));
        for seconds in [1, 2, 30, 300] {
            assert!(check(seconds).timeout * TRIES <= Duration::from_secs(seconds) / 4, "{seconds}");
        }
        assert_eq!(check(30).timeout, TIMEOUT);
        assert_eq!(SelfCheck::new(Vec::new(), None).timeout, TIMEOUT);
    }
}
