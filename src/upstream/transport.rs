//! The sockets: how bytes get to a server and back. A new transport goes here.
//!
//! UDP gives one connected socket on a random port per query; only datagrams from the server's own address and port
//! reach it, and ICMP errors come back as errors. What TCP connections carry, and for how long they are kept, is in
//! `stream/`. A test may replace the kernel's network (`network.rs`).

use crate::base::stream::BoxedStream;
use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use nix::errno::Errno;
use tokio::io::Interest;
use tokio::net::{TcpStream, UdpSocket};

use super::network::{Arrivals, Network, Simulated};
use super::{AttemptError, random};

/// Random ports tried before the kernel is asked for one: a busy machine must not spin here (L53).
const PORT_TRIES: usize = 4;
/// The lowest port taken for queries.
const LOWEST_PORT: u16 = 1024;
/// How long a TCP handshake may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Room for any datagram: some servers send more than was asked for (L48).
const DATAGRAM_SIZE: usize = 65_535;

thread_local! {
    /// Where datagrams are received before the few octets they have are copied out: 64 KiB for each query
    /// under way would be too dear.
    static DATAGRAM: RefCell<Box<[u8]>> = RefCell::new(vec![0; DATAGRAM_SIZE].into_boxed_slice());
}

/// A socket that is connected to one server.
pub(super) enum DatagramSocket<'n> {
    /// One of the kernel's.
    Kernel(UdpSocket),
    /// One of a network that was made up: where it is, where it leads, and what came.
    Simulated(&'n dyn Simulated, (u16, SocketAddr), Arrivals),
}

/// A fresh socket on a random port, connected to `server`.
pub(super) fn datagram_socket(network: &Network, server: SocketAddr) -> io::Result<DatagramSocket<'_>> {
    match network {
        Network::Kernel => {
            let socket = connected(server)?;
            socket.set_nonblocking(true)?;
            Ok(DatagramSocket::Kernel(UdpSocket::from_std(socket)?))
        }
        Network::Simulated(network) => {
            let (port, arrivals) = on_random_port(|port| Ok((port, network.open(port, server)?)))?;
            Ok(DatagramSocket::Simulated(network.as_ref(), (port, server), arrivals))
        }
    }
}

impl DatagramSocket<'_> {
    /// Sends a datagram to the server.
    pub(super) async fn send(&self, datagram: &[u8]) -> io::Result<()> {
        match self {
            Self::Kernel(socket) => socket.send(datagram).await.map(drop),
            Self::Simulated(network, (port, server), _) => network.send(*port, *server, datagram),
        }
    }

    /// The next datagram from the server.
    pub(super) async fn receive(&mut self) -> io::Result<Vec<u8>> {
        match self {
            Self::Kernel(socket) => receive(socket).await,
            Self::Simulated(_, _, arrivals) => match arrivals.recv().await {
                Some(arrived) => arrived,
                None => std::future::pending().await, // the network has gone: silence
            },
        }
    }
}

/// A fresh socket of the kernel's on a random port, connected to `server`.
pub(super) fn connected(server: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let local = match server {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = on_random_port(|port| std::net::UdpSocket::bind((local, port)))?;
    socket.connect(server)?;
    Ok(socket)
}

/// Binds to a port of our own choice, since the kernel's range may be small; to the kernel's (0) when that fails.
fn on_random_port<T>(bind: impl Fn(u16) -> io::Result<T>) -> io::Result<T> {
    for _ in 0..PORT_TRIES {
        let port = u16::from_ne_bytes(random::bytes()?);
        if port < LOWEST_PORT {
            continue;
        }
        match bind(port) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            done => return done,
        }
    }
    bind(0)
}

/// The next datagram from the server `socket` is connected to.
async fn receive(socket: &UdpSocket) -> io::Result<Vec<u8>> {
    loop {
        // An ICMP error makes a socket ready for errors only, and is not seen by waiting for data.
        let ready = socket.ready(Interest::READABLE | Interest::ERROR).await?;
        if ready.is_error() {
            if let Some(error) = socket.take_error()? {
                return Err(error);
            }
            // Taken already: forget it, or the wait above would never wait again.
            let _ = socket.try_io(Interest::ERROR, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
        }
        let received = DATAGRAM.with_borrow_mut(|buffer| {
            let len = socket.try_recv(buffer)?;
            Ok::<_, io::Error>(buffer[..len].to_vec())
        });
        match received {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return done,
        }
    }
}

/// A fresh connection to `server`.
pub(super) async fn stream(network: &Network, server: SocketAddr) -> io::Result<BoxedStream> {
    let connecting = async {
        match network {
            Network::Kernel => {
                let stream = TcpStream::connect(server).await?;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream) as BoxedStream)
            }
            Network::Simulated(network) => Ok(Box::new(network.connect(server).await?) as BoxedStream),
        }
    };
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
    connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// Whose fault an error is: this machine's when it has run out of something, else the network's.
pub(super) fn classify(error: &io::Error) -> AttemptError {
    let exhausted =
        [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM, Errno::EADDRINUSE, Errno::EAGAIN];
    match error.raw_os_error().map(Errno::from_raw) {
        Some(errno) if exhausted.contains(&errno) => AttemptError::Local(errno.desc().to_lowercase()),
        Some(errno) => AttemptError::Network(errno.desc().to_lowercase()),
        None if error.kind() == io::ErrorKind::TimedOut => AttemptError::TimedOut,
        None => AttemptError::Network(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_query_has_a_port_of_its_own() {
        let server = "127.0.0.1:53".parse().unwrap();
        let sockets: Vec<_> = (0..50).map(|_| connected(server).unwrap()).collect();
        let ports: Vec<u16> = sockets.iter().map(|s| s.local_addr().unwrap().port()).collect();
        assert!(ports.iter().all(|&port| port >= LOWEST_PORT));
        assert!(ports.windows(2).any(|pair| pair[0].abs_diff(pair[1]) > 1000));
    }

    #[test]
    fn running_out_is_our_fault_and_refusal_is_not() {
        let blame_of = |errno: Errno| classify(&io::Error::from_raw_os_error(errno as i32));
        assert!(matches!(blame_of(Errno::EMFILE), AttemptError::Local(_)));
        assert!(matches!(blame_of(Errno::ENOBUFS), AttemptError::Local(_)));
        assert!(
            matches!(blame_of(Errno::ECONNREFUSED), AttemptError::Network(text) if text == "connection refused")
        );
        assert!(matches!(blame_of(Errno::ENETUNREACH), AttemptError::Network(_)));
        assert_eq!(classify(&io::ErrorKind::TimedOut.into()), AttemptError::TimedOut);
    }
}
