//! Binding the listen addresses: each UDP and TCP, on one port.

use crate::base::local_address;
use crate::base::port_owner;
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

/// Requested octets of the kernel's receive and send buffers; the kernel applies its limits.
const SOCKET_BUFFER: usize = 4 << 20;

/// Backlog of connections.
const BACKLOG: i32 = 512;

/// The sockets of one listen address.
#[derive(Debug)]
pub struct Listener {
    /// The address; for port 0 with the port chosen by the kernel.
    pub address: SocketAddr,
    /// One UDP socket for each thread that serves it.
    pub udp: Vec<UdpSocket>,
    /// The TCP socket, non-blocking. Only sockets of the service manager may lack it.
    pub tcp: Option<TcpListener>,
    /// The sockets belong to the service manager ([`super::activation`]) and are passed to the next process: unread
    /// queries must stay in them.
    pub handed_over: bool,
}

/// A listen address that is not available.
#[derive(Debug)]
pub struct BindError {
    /// The address as configured.
    pub address: SocketAddr,
    /// UDP or TCP.
    pub protocol: &'static str,
    /// The error of the kernel.
    pub cause: io::Error,
    /// The process that uses the port, if known.
    pub holder: Option<String>,
    /// The setting of the address.
    pub setting: &'static str,
}

impl BindError {
    /// True for an IPv6 loopback or wildcard address if the machine has no IPv6.
    pub fn is_for_want_of_ipv6(&self) -> bool {
        let IpAddr::V6(ip) = self.address.ip() else { return false };
        let no_family = self.cause.raw_os_error() == Some(nix::errno::Errno::EAFNOSUPPORT as i32);
        (ip.is_loopback() || ip.is_unspecified())
            && (no_family || self.cause.kind() == io::ErrorKind::AddrNotAvailable)
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on {} ({}): {}", self.address, self.protocol, self.cause)?;
        let (port, setting) = (self.address.port(), self.setting);
        match (self.cause.kind(), &self.holder) {
            (io::ErrorKind::AddrInUse, Some(holder)) => {
                write!(f, "\nhint: {holder} uses port {port}; stop it, or set another address: {setting}")
            }
            (io::ErrorKind::AddrInUse, None) => write!(
                f,
                "\nhint: another process uses port {port} (`ss -lunp` as root shows it); stop it, or set \
                 another address: {setting}"
            ),
            (io::ErrorKind::PermissionDenied, _) => write!(
                f,
                "\nhint: ports below 1024 require a privilege: run pvtzd as a service with \
                 AmbientCapabilities=CAP_NET_BIND_SERVICE, or `setcap cap_net_bind_service=+ep` the \
                 program, or listen on a higher port"
            ),
            (io::ErrorKind::AddrNotAvailable, _) => {
                write!(f, "\nhint: no interface of this machine has the address {}", self.address.ip())
            }
            _ => Ok(()),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

/// A port that the kernel chose for TCP may be in use for UDP: number of retries.
const PORT_TRIES: u32 = 16;

/// Binds an address, with a UDP socket for each of `threads` threads.
///
/// # Errors The address is not available, with the reason and the process that uses it.
pub fn bind(address: SocketAddr, threads: usize) -> Result<Listener, BindError> {
    let mut tries = if address.port() == 0 { PORT_TRIES } else { 1 };
    loop {
        tries -= 1;
        match bind_once(address, threads) {
            Err(error) if tries > 0 && error.cause.kind() == io::ErrorKind::AddrInUse => {}
            done => return done,
        }
    }
}

fn bind_once(address: SocketAddr, threads: usize) -> Result<Listener, BindError> {
    let failed = |protocol, at, cause| failed(protocol, at, cause, "`[server] listen` or `--listen`");
    let tcp = tcp(address).map_err(|cause| failed("TCP", address, cause))?;
    let address = tcp.local_addr().map_err(|cause| failed("TCP", address, cause))?;
    // SO_REUSEPORT would also share the port with another instance of pvtzd: first check that the port is free.
    drop(udp(address, false).map_err(|cause| failed("UDP", address, cause))?);
    let udp = shared(address, threads).map_err(|cause| failed("UDP", address, cause))?;
    tell_if_absent(address);
    Ok(Listener { address, udp, tcp: Some(tcp), handed_over: false })
}

/// Sockets that share a port, one for each of `threads` threads.
///
/// With several sockets, each receives the queries of one CPU (SO_INCOMING_CPU): a client on this machine is answered
/// on its CPU, and neither query nor answer moves between CPU caches. The kernel distributes the queries of other CPUs
/// as usual, and before Linux 6.2 all queries.
fn shared(address: SocketAddr, threads: usize) -> io::Result<Vec<UdpSocket>> {
    let mut processors = processors();
    let socket = |_| {
        let socket = udp(address, true)?;
        if let Some(processor) = processors.next() {
            let _ = SockRef::from(&socket).set_cpu_affinity(processor); // slower without it
        }
        Ok(socket)
    };
    (0..threads.max(1)).map(socket).collect()
}

/// The CPUs that this process may use.
fn processors() -> impl Iterator<Item = usize> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap_or_default();
    (0..CpuSet::count()).filter(move |processor| allowed.is_set(*processor).unwrap_or(false))
}

/// Binds an address for DNS over TLS or HTTPS; for port 0 the result has the port chosen by the kernel.
///
/// # Errors
/// As for [`bind`].
pub fn bind_stream(
    address: SocketAddr,
    setting: &'static str,
) -> Result<(SocketAddr, TcpListener), BindError> {
    let bound = tcp(address).and_then(|listener| Ok((listener.local_addr()?, listener)));
    tell_if_absent(address);
    bound.map_err(|cause| failed("TCP", address, cause, setting))
}

/// Binds an address for DNS over QUIC or HTTP/3.
///
/// # Errors
/// As for [`bind`].
pub fn bind_quic(address: SocketAddr, setting: &'static str) -> Result<(SocketAddr, UdpSocket), BindError> {
    let bound = udp(address, false).and_then(|socket| Ok((socket.local_addr()?, socket)));
    tell_if_absent(address);
    bound.map_err(|cause| failed("UDP", address, cause, setting))
}

/// The error for an address that is not available.
fn failed(protocol: &'static str, address: SocketAddr, cause: io::Error, setting: &'static str) -> BindError {
    let holder =
        (cause.kind() == io::ErrorKind::AddrInUse).then(|| port_owner::owner(address, protocol)).flatten();
    BindError { address, protocol, cause, holder, setting }
}

fn udp(address: SocketAddr, shared: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    only_v6(&socket, address)?;
    socket.set_reuse_port(shared)?;
    // The kernel's limits may be lower; smaller buffers are sufficient.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    bind_address(&socket, address)?;
    Ok(socket.into())
}

fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    only_v6(&socket, address)?;
    socket.set_reuse_address(true)?; // connections of a former process may be in TIME_WAIT
    bind_address(&socket, address)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Binds an address. If no interface has it yet, binds it with IP_FREEBIND: it is served as soon as an interface has
/// it.
fn bind_address(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    match socket.bind(&address.into()) {
        Err(error) if local_address::is_not_here(&error) && local_address::may_come(address.ip()) => {
            let freely = match address {
                SocketAddr::V4(_) => socket.set_freebind_v4(true),
                SocketAddr::V6(_) => socket.set_freebind_v6(true),
            };
            freely.map_err(|_| error)?;
            socket.bind(&address.into())
        }
        done => done,
    }
}

/// Warns about an address that no interface has, because it may be a mistake in the configuration.
fn tell_if_absent(address: SocketAddr) {
    if local_address::is_absent(address.ip()) {
        tracing::warn!(%address, "no interface of this machine has this address yet: it is served once an \
                                  interface has it");
    }
}

/// `[::]` is IPv6 only, so that `0.0.0.0` can be bound too.
fn only_v6(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if address.is_ipv6() { socket.set_only_v6(true) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_zero_gives_one_port_for_both() {
        let listener = bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        assert_ne!(listener.address.port(), 0);
        for socket in &listener.udp {
            assert_eq!(socket.local_addr().unwrap(), listener.address);
        }
    }

    #[test]
    fn an_address_that_comes_later_is_bound_freely() {
        let listener = bind("192.0.2.77:0".parse().unwrap(), 2).unwrap();
        assert_eq!(listener.address.ip().to_string(), "192.0.2.77");
        assert_eq!(listener.udp.len(), 2);
        let taken = bind(listener.address, 1).unwrap_err();
        assert_eq!(taken.cause.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn each_of_several_sockets_has_a_processor_of_its_own() {
        let listener = bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        let of = |socket| SockRef::from(socket).cpu_affinity().unwrap();
        let expected: Vec<usize> = processors().take(2).collect();
        let got: Vec<usize> = listener.udp.iter().take(expected.len()).map(of).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn a_taken_port_is_an_error_that_says_what_to_do() {
        let first = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let error = bind(first.address, 1).unwrap_err();
        assert_eq!(error.cause.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains("--listen"), "{error}");
        drop(first.tcp);
        let udp_only = bind(first.address, 1).unwrap_err();
        assert_eq!(udp_only.protocol, "UDP", "another instance's shared UDP port is noticed too");
    }
}
