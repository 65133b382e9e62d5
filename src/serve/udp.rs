//! UDP: one thread for each socket, blocking while there is nothing to do.
//!
//! What can be answered at once is answered on the thread; what has to wait becomes a task. A socket that is
//! bound to one address receives and sends in batches. A wildcard socket goes one by one, because each answer
//! must leave from the address that was asked, and that is said beside each datagram (IP_PKTINFO).

use super::datagram::{BATCH, Local, send, send_batch};
use super::errands::{self, Errands, Visitor};
use super::handle::{self, Outcome, Transport};
use super::lane::Lane;
use crate::engine::reply::PLAIN_UDP;
use crate::state::{Live, count};
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrIn, SockaddrIn6, SockaddrLike,
    SockaddrStorage, recvmmsg, recvmsg, setsockopt,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use tokio::runtime::Handle;

/// Octets of the longest query that is looked at; a longer one is cut and thereby malformed.
const LONGEST_QUERY: usize = 2048;

/// Octets of a thread's stack: it holds no buffers.
const STACK: usize = 512 << 10;

/// Serves a socket on a thread of its own, for the life of the process.
///
/// # Errors
/// The thread cannot be started, or the kernel does not tell the addresses of a wildcard socket's datagrams.
pub fn serve(socket: UdpSocket, live: Arc<Live>, errands: Arc<Errands>, runtime: Handle) -> io::Result<()> {
    let address = socket.local_addr()?;
    let wildcard = address.ip().is_unspecified();
    if wildcard && address.is_ipv4() {
        setsockopt(&socket, Ipv4PacketInfo, &true)?;
    } else if wildcard {
        setsockopt(&socket, Ipv6RecvPacketInfo, &true)?;
    }
    let server = Server { socket: Arc::new(socket), live, errands };
    let thread = thread::Builder::new().name("udp".into()).stack_size(STACK);
    thread.spawn(move || {
        let _within = runtime.enter();
        match (wildcard, address) {
            (true, _) => server.one_by_one(),
            (false, SocketAddr::V4(_)) => server.in_batches::<SockaddrIn>(),
            (false, SocketAddr::V6(_)) => server.in_batches::<SockaddrIn6>(),
        }
    })?;
    Ok(())
}

/// A socket and what answers on it.
struct Server {
    socket: Arc<UdpSocket>,
    live: Arc<Live>,
    errands: Arc<Errands>,
}

impl Server {
    /// Receives and answers up to [`BATCH`] datagrams with a system call each way.
    fn in_batches<A: Peer>(&self) {
        let mut received = MultiHeaders::<A>::preallocate(BATCH, None);
        let mut sent = MultiHeaders::<A>::preallocate(BATCH, None);
        let mut buffers: [Vec<u8>; BATCH] = std::array::from_fn(|_| vec![0; LONGEST_QUERY]);
        let mut replies: [Vec<u8>; BATCH] = std::array::from_fn(|_| Vec::with_capacity(PLAIN_UDP));
        let mut peers: Vec<Option<A>> = Vec::with_capacity(BATCH);
        let mut visitors = Vec::new();
        loop {
            peers.clear();
            let mut slices = buffers.each_mut().map(|buffer| [IoSliceMut::new(buffer)]);
            let fd = self.socket.as_raw_fd();
            match recvmmsg(fd, &mut received, slices.iter_mut(), MsgFlags::MSG_WAITFORONE, None) {
                Ok(messages) => {
                    let mut lane = Lane::new(&self.live);
                    for message in messages {
                        let Some(address) = message.address else { continue };
                        let packet = message.iovs().next().unwrap_or(&[]);
                        let reply = &mut replies[peers.len()];
                        if self.answer(
                            &mut lane,
                            packet,
                            address.to_std(),
                            Local::Bound,
                            reply,
                            &mut visitors,
                        ) {
                            peers.push(Some(address));
                        }
                    }
                }
                Err(error) => self.survive(error),
            }
            if !visitors.is_empty() {
                self.send_out(&mut visitors);
            }
            let slices = replies.each_ref().map(|reply| [IoSlice::new(reply)]);
            send_batch(&self.socket, &mut sent, &slices[..peers.len()], &peers, MsgFlags::empty());
        }
    }

    /// Receives and answers datagrams one by one, each answer from the address that was asked.
    fn one_by_one(&self) {
        let mut buffer = [0u8; LONGEST_QUERY];
        let mut reply = Vec::new();
        let mut visitors = Vec::new();
        let mut space = nix::cmsg_space!(libc::in_pktinfo, libc::in6_pktinfo);
        loop {
            let fd = self.socket.as_raw_fd();
            let mut slices = [IoSliceMut::new(&mut buffer)];
            match recvmsg::<SockaddrStorage>(fd, &mut slices, Some(&mut space), MsgFlags::empty()) {
                Ok(message) => {
                    let local = local_address(&message);
                    let Some(peer) = message.address.as_ref().and_then(to_std) else { continue };
                    let packet = message.iovs().next().unwrap_or(&[]);
                    let mut lane = Lane::new(&self.live);
                    if self.answer(&mut lane, packet, peer, local, &mut reply, &mut visitors) {
                        send(&self.socket, &reply, peer, local);
                    }
                    self.send_out(&mut visitors);
                }
                Err(error) => self.survive(error),
            }
        }
    }

    /// Puts the answer to a packet into `reply`, if it is there at once; whoever has to wait joins `visitors`.
    /// A panic costs the packet, not the thread.
    fn answer(
        &self,
        lane: &mut Lane<'_>,
        packet: &[u8],
        peer: SocketAddr,
        local: Local,
        reply: &mut Vec<u8>,
        visitors: &mut Vec<Visitor>,
    ) -> bool {
        if peer.port() == 0 {
            return false; // nobody can receive there
        }
        reply.clear();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            if lane.answer(packet, peer.ip(), Transport::Udp, reply) {
                return None;
            }
            Some(handle::at_once(&self.live, packet, peer.ip(), Transport::Udp))
        }));
        match outcome {
            Ok(None) => true,
            Ok(Some(Outcome::Reply(bytes))) => {
                *reply = bytes;
                true
            }
            Ok(Some(Outcome::Drop)) => false,
            Ok(Some(Outcome::Wait(waiting))) => {
                visitors.push(Visitor { waiting, socket: self.socket.clone(), peer, local });
                false
            }
            Err(_) => {
                count(&self.live.counters.panics);
                false
            }
        }
    }

    /// Sends out for those who have to wait. A panic costs these, not the thread.
    fn send_out(&self, visitors: &mut Vec<Visitor>) {
        let sent = catch_unwind(AssertUnwindSafe(|| errands::send_out(&self.errands, &self.live, visitors)));
        if sent.is_err() {
            visitors.clear();
            count(&self.live.counters.panics);
        }
    }

    /// No error of a receiving socket ends its service.
    fn survive(&self, error: Errno) {
        if !matches!(error, Errno::EINTR | Errno::EAGAIN) {
            tracing::warn!(%error, "receiving a datagram failed");
            thread::sleep(std::time::Duration::from_millis(10)); // whatever it is, it must not eat a core
        }
    }
}

/// The peers of a socket of one address family: small to copy.
trait Peer: SockaddrLike + Copy {
    fn to_std(self) -> SocketAddr;
}

impl Peer for SockaddrIn {
    fn to_std(self) -> SocketAddr {
        SocketAddr::V4(self.into())
    }
}

impl Peer for SockaddrIn6 {
    fn to_std(self) -> SocketAddr {
        SocketAddr::V6(self.into())
    }
}

fn to_std(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::V4((*v4).into()));
    }
    address.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into()))
}

/// The address that a datagram was sent to.
fn local_address(message: &RecvMsg<'_, '_, SockaddrStorage>) -> Local {
    let Ok(messages) = message.cmsgs() else { return Local::Bound };
    for message in messages {
        match message {
            // the kernel chooses the interface by its routes
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                return Local::V4(libc::in_pktinfo { ipi_ifindex: 0, ..info });
            }
            // a link-local address means nothing without its interface
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                let link_local =
                    info.ipi6_addr.s6_addr[0] == 0xfe && info.ipi6_addr.s6_addr[1] & 0xc0 == 0x80;
                let ipi6_ifindex = if link_local { info.ipi6_ifindex } else { 0 };
                return Local::V6(libc::in6_pktinfo { ipi6_ifindex, ..info });
            }
            _ => {}
        }
    }
    Local::Bound
}
