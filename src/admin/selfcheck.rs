//! The internal question: whether the server answers at all. It goes the way that a client's goes, through a socket
//! of the machine, so that a thread that hangs is noticed; it asks for nothing that an upstream has to be asked for.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Asks for the addresses of the root without recursion: there are none, and no upstream is queried. A packet may be lost,
/// so it is asked twice.
///
/// # Errors
/// No answer came.
pub async fn answers(address: SocketAddr) -> io::Result<()> {
    let target = reachable(address);
    let any: IpAddr =
        if target.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(target).await?;
    let mut id = [0; 2];
    getrandom::fill(&mut id).map_err(io::Error::other)?;
    let query = [&id[..], &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1]].concat();
    for _ in 0..2 {
        socket.send(&query).await?;
        let mut reply = [0; 512];
        // any answer will do: that there is one is what counts
        let answered = async {
            while !matches!(socket.recv(&mut reply).await?, 12.. if reply[..2] == id) {}
            Ok::<_, io::Error>(())
        };
        if let Ok(answered) = timeout(TIMEOUT, answered).await {
            return answered;
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// Where a server that listens on an address is reached from this machine.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    };
    SocketAddr::new(ip, listen.port())
}
