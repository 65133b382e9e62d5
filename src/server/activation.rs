//! Sockets passed by the service manager, which opens them before the start and keeps them open after the exit
//! (`sd_listen_fds`(3)).
//!
//! While no process reads, datagrams and connections wait in the kernel's queues, so that a restart loses no query. The
//! service manager also sets the addresses, buffers and options of the sockets; this module sets only the options that
//! the server needs.

use super::listen::Listener;
use super::udp;
use listenfd::ListenFd;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use tokio::task;
use tokio::time::{Instant, sleep};

/// Maximum time until a thread notices a request to stop; it answers its pending queries meanwhile.
const NOTICE: Duration = Duration::from_secs(1);

/// Takes the passed sockets, with at least `threads` descriptors for each UDP address; None if there are none. Must be
/// called once, before other threads start: it clears `$LISTEN_FDS` and `$LISTEN_PID`.
///
/// # Errors The passed sockets are not usable for a DNS server.
pub fn take(threads: usize) -> Result<Vec<Listener>, ActivationError> {
    let mut handed = ListenFd::from_env();
    let (mut udp, mut tcp) = (Vec::new(), Vec::new());
    for index in 0..handed.len() {
        // Tries each kind of socket: a socket of another kind stays in the list.
        if let Ok(Some(socket)) = handed.take_udp_socket(index) {
            udp.push(socket);
        } else if let Ok(Some(socket)) = handed.take_tcp_listener(index) {
            tcp.push(socket);
        } else {
            return Err(ActivationError::Kind { number: index + 1 });
        }
    }
    pair(udp, tcp, threads)
}

/// The readers of the passed sockets.
#[derive(Debug, Default)]
pub struct HandedOver {
    /// Tells the threads to stop.
    pub stop: udp::Stop,
    /// The threads that read datagrams.
    pub threads: Vec<thread::JoinHandle<()>>,
    /// The tasks that accept connections.
    pub accepting: Vec<task::JoinHandle<()>>,
}

impl HandedOver {
    /// Stops reading and waits until it has stopped: later queries are for the next process.
    pub async fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        for accepting in &self.accepting {
            accepting.abort();
        }
        let given_up = Instant::now() + NOTICE;
        while !self.threads.iter().all(thread::JoinHandle::is_finished) && Instant::now() < given_up {
            sleep(Duration::from_millis(2)).await;
        }
    }
}

/// An error in the passed sockets.
#[derive(Debug)]
pub enum ActivationError {
    /// One is neither UDP nor TCP; counted from 1.
    Kind {
        /// Which one.
        number: usize,
    },
    /// There is TCP without UDP for an address.
    OnlyTcp(SocketAddr),
    /// An operating system error.
    System(io::Error),
}

impl fmt::Display for ActivationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind { number } => write!(
                f,
                "socket number {number} of the service manager is neither UDP nor TCP\n\
                 hint: use only `ListenDatagram=` and `ListenStream=` with ADDRESS:PORT in the socket unit"
            ),
            Self::OnlyTcp(address) => write!(
                f,
                "the service manager passed a TCP socket for {address}, but no UDP socket\n\
                 hint: a DNS server needs both: add `ListenDatagram={address}` to the socket unit"
            ),
            Self::System(error) => write!(f, "cannot use the sockets of the service manager: {error}"),
        }
    }
}

impl std::error::Error for ActivationError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System(error) => Some(error),
            Self::Kind { .. } | Self::OnlyTcp(_) => None,
        }
    }
}

impl From<io::Error> for ActivationError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// Groups the sockets by address, in the order of the UDP sockets.
fn pair(
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
    threads: usize,
) -> Result<Vec<Listener>, ActivationError> {
    let mut listeners: Vec<Listener> = Vec::new();
    for socket in udp {
        socket.set_nonblocking(false)?; // a thread blocks on it
        let address = socket.local_addr()?;
        match listeners.iter_mut().find(|listener| listener.address == address) {
            Some(listener) => listener.udp.push(socket), // ReusePort=
            None => listeners.push(Listener { address, udp: vec![socket], tcp: None, handed_over: true }),
        }
    }
    for listener in &mut listeners {
        // Threads may share one socket: the kernel wakes one of them for each datagram.
        for number in listener.udp.len()..threads.max(1) {
            let copy = listener.udp[number % listener.udp.len()].try_clone()?;
            listener.udp.push(copy);
        }
    }
    for socket in tcp {
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        match listeners.iter_mut().find(|listener| listener.address == address) {
            Some(listener) => listener.tcp = Some(socket),
            None => return Err(ActivationError::OnlyTcp(address)),
        }
    }
    Ok(listeners)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn udp() -> UdpSocket {
        UdpSocket::bind("127.0.0.1:0").unwrap()
    }

    #[test]
    fn sockets_of_one_address_become_one_listener() {
        let one = udp();
        let of_both = || {
            let udp = udp();
            let tcp = TcpListener::bind(udp.local_addr().unwrap()).ok()?; // the port may be taken
            Some((udp, tcp))
        };
        let (two, tcp) = (0..100).find_map(|_| of_both()).unwrap();
        let addresses = [one.local_addr().unwrap(), two.local_addr().unwrap()];
        let listeners = pair(vec![one, two], vec![tcp], 3).unwrap();
        assert_eq!(listeners.iter().map(|listener| listener.address).collect::<Vec<_>>(), addresses);
        assert!(listeners.iter().all(|listener| listener.udp.len() == 3 && listener.handed_over));
        assert!(listeners[0].tcp.is_none() && listeners[1].tcp.is_some());
    }

    #[test]
    fn tcp_alone_is_refused() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let error = pair(vec![udp()], vec![tcp], 1).unwrap_err();
        assert!(error.to_string().contains(&format!("ListenDatagram={address}")), "{error}");
    }

    #[test]
    fn nothing_handed_over_is_nothing_to_serve() {
        assert!(pair(Vec::new(), Vec::new(), 2).unwrap().is_empty());
    }
}
