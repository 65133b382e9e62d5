//! The network that queries go out to: the kernel's. A test may bring one that it made up, to decide itself what is
//! lost, late, doubled or forged; no configuration leads there.

use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use tokio::io::DuplexStream;
use tokio::sync::mpsc;

/// Where queries go out.
#[derive(Clone, Debug, Default)]
pub enum Network {
    /// To what the kernel is connected to.
    #[default]
    Kernel,
    /// To what a test made up.
    Simulated(Arc<dyn Simulated>),
}

impl PartialEq for Network {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Kernel, Self::Kernel) => true,
            (Self::Simulated(one), Self::Simulated(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Eq for Network {}

/// What a socket of a made-up network receives: datagrams, or the errors that ICMP brings.
pub type Arrivals = mpsc::UnboundedReceiver<io::Result<Vec<u8>>>;

/// A connection that comes about, or does not.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<DuplexStream>> + Send>>;

/// A network of a test's making, from the side of this machine.
pub trait Simulated: Debug + Send + Sync {
    /// Opens a datagram socket at `port`, connected to `server`. It is closed by dropping its arrivals.
    ///
    /// # Errors
    /// The port is taken, or whatever else the kernel might say.
    fn open(&self, port: u16, server: SocketAddr) -> io::Result<Arrivals>;

    /// Takes a datagram that was sent from the socket at `port`.
    ///
    /// # Errors
    /// What the kernel might say.
    fn send(&self, port: u16, server: SocketAddr, datagram: &[u8]) -> io::Result<()>;

    /// Connects to a server over TCP.
    fn connect(&self, server: SocketAddr) -> Connecting;
}
