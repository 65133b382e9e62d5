//! UDP: one thread for each socket, blocking while there is nothing to do.
//!
//! What can be answered at once is answered on the thread. What an upstream has to be asked for waits there too,
//! in the thread's `PendingQueries`: while any do, the thread waits for clients and replies alike. The rest becomes a
//! task. A socket that is bound to one address receives and sends in batches, but for queries that come alone. A
//! wildcard socket goes one by one, because each answer must leave from the address that was asked, and that is said
//! beside each datagram (IP_PKTINFO).

use super::datagram::{BATCH, ReceiveBatch, ReplySource, send, send_batch};
use super::pending::{Incoming, PendingQueries};
use crate::engine::reply::PLAIN_UDP;
use crate::resolve::fast_path::{FastPath, Served};
use crate::resolve::query::ClientTransport;
use crate::resolve::shared::{SharedState, count};
use crate::stats::counters::ThreadCounters;
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
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::runtime::Handle;

/// Octets of the longest query that is looked at; a longer one is cut and thereby malformed.
const MAX_QUERY: usize = 2048;

/// How far apart the queries of a batch are kept. No power of two: their beginnings would take the same few places in
/// the processor's cache.
const STRIDE: usize = MAX_QUERY + 64;

/// Octets of a thread's stack: it holds no buffers.
const STACK: usize = 512 << 10;

/// How often a thread that waits looks whether it is to stop.
const STOP_CHECK: Duration = Duration::from_millis(100);

/// Tells threads to stop reading, so that what they have not read stays in sockets that others will read.
pub type Stop = Arc<AtomicBool>;

/// Serves a socket on a thread of its own: for the life of the process, or until it is told to stop. Then it answers
/// what it has read and leaves the rest.
///
/// # Errors
/// The thread or its descriptors are not available, or the kernel does not tell the addresses of a wildcard socket's
/// datagrams.
pub fn serve(
    socket: UdpSocket,
    live: Arc<SharedState>,
    runtime: Handle,
    stop: Option<Stop>,
) -> io::Result<JoinHandle<()>> {
    // Nothing else wakes a thread without harming a socket that is shared with another process.
    socket.set_read_timeout(stop.is_some().then_some(STOP_CHECK))?;
    let address = socket.local_addr()?;
    let wildcard = address.ip().is_unspecified();
    if wildcard && address.is_ipv4() {
        setsockopt(&socket, Ipv4PacketInfo, &true)?;
    } else if wildcard {
        setsockopt(&socket, Ipv6RecvPacketInfo, &true)?;
    }
    let tally = live.tallies.for_thread(address);
    let server = UdpServer { socket: Arc::new(socket), tally, live, stop };
    let thread = thread::Builder::new().name("udp".into()).stack_size(STACK);
    thread.spawn(move || {
        let _within = runtime.enter();
        let mut pending =
            PendingQueries::new(server.live.clone(), server.tally.clone(), server.socket.clone());
        match (wildcard, address) {
            (true, _) => server.one_by_one(&mut pending),
            (false, SocketAddr::V4(_)) => server.in_batches::<SockaddrIn>(&mut pending),
            (false, SocketAddr::V6(_)) => server.in_batches::<SockaddrIn6>(&mut pending),
        }
        server.drain(&mut pending);
    })
}

/// A socket and what answers on it.
struct UdpServer {
    socket: Arc<UdpSocket>,
    live: Arc<SharedState>,
    stop: Option<Stop>,
    tally: Arc<ThreadCounters>,
}

impl UdpServer {
    /// True until the thread is told to stop.
    fn goes_on(&self) -> bool {
        !self.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Acquire))
    }

    /// Receives and answers up to [`BATCH`] datagrams with a system call each way.
    fn in_batches<A: Peer>(&self, pending: &mut PendingQueries) {
        let mut received = MultiHeaders::<A>::preallocate(BATCH, None);
        let mut sent = MultiHeaders::<A>::preallocate(BATCH, None);
        // In one piece, of which only what is used becomes resident.
        let mut buffer = vec![0; BATCH * STRIDE];
        let mut replies: [Vec<u8>; BATCH] = std::array::from_fn(|_| Vec::with_capacity(PLAIN_UDP));
        let mut peers: Vec<Option<A>> = Vec::with_capacity(BATCH);
        let mut incoming = Vec::new();
        let mut batch = ReceiveBatch::default();
        while self.goes_on() {
            let Some(flags) = self.clients(pending, MsgFlags::MSG_WAITFORONE) else { continue };
            peers.clear();
            // No query is pending upstream, so a blocking receive is fine.
            if batch.is_one() && !pending.are_open() {
                self.one(&mut buffer[..MAX_QUERY], &mut replies[0], &mut incoming);
                batch.came(1);
                self.send_out(pending, &mut incoming);
                continue;
            }
            let mut places = buffer.chunks_exact_mut(STRIDE).map(|place| &mut place[..MAX_QUERY]);
            let mut slices: [_; BATCH] =
                std::array::from_fn(|_| [IoSliceMut::new(places.next().unwrap_or_default())]);
            let (fd, slices) = (self.socket.as_raw_fd(), &mut slices[..batch.expected()]);
            match recvmmsg(fd, &mut received, slices, flags, None) {
                Ok(messages) => {
                    let mut fast_path = FastPath::new(&self.live, &self.tally, ClientTransport::Udp);
                    let mut taken = 0;
                    for message in messages {
                        taken += 1;
                        let Some(address) = message.address else { continue };
                        let packet = message.iovs().next().unwrap_or(&[]);
                        let reply = &mut replies[peers.len()];
                        if self.answer(
                            &mut fast_path,
                            packet,
                            address.to_std(),
                            ReplySource::Bound,
                            reply,
                            &mut incoming,
                        ) {
                            peers.push(Some(address));
                        }
                    }
                    batch.came(taken);
                }
                Err(error) => self.log_receive_error(&error.into()),
            }
            self.send_out(pending, &mut incoming);
            let slices = replies.each_ref().map(|reply| [IoSlice::new(reply)]);
            send_batch(&self.socket, &mut sent, &slices[..peers.len()], &peers, MsgFlags::empty());
        }
    }

    /// Receives and answers one datagram by the plainest system calls, which are the cheapest.
    fn one(&self, buffer: &mut [u8], reply: &mut Vec<u8>, incoming: &mut Vec<Incoming>) {
        match self.socket.recv_from(buffer) {
            Ok((length, peer)) => {
                // the fast path ends with the statement: sending is not timed, as it is not for a batch
                let answered = self.answer(
                    &mut FastPath::new(&self.live, &self.tally, ClientTransport::Udp),
                    &buffer[..length],
                    peer,
                    ReplySource::Bound,
                    reply,
                    incoming,
                );
                if answered {
                    let _ = self.socket.send_to(reply, peer); // a datagram may be lost
                }
            }
            Err(error) => self.log_receive_error(&error),
        }
    }

    /// Receives and answers datagrams one by one, each answer from the address that was asked.
    fn one_by_one(&self, pending: &mut PendingQueries) {
        let mut buffer = [0u8; MAX_QUERY];
        let mut reply = Vec::new();
        let mut incoming = Vec::new();
        let mut batch = ReceiveBatch::default();
        let mut space = nix::cmsg_space!(libc::in_pktinfo, libc::in6_pktinfo);
        while self.goes_on() {
            let Some(mut flags) = self.clients(pending, MsgFlags::empty()) else { continue };
            // Made once a query has come: the configuration of when the wait began may have been replaced.
            let mut fast_path = None;
            let mut taken = 0;
            for _ in 0..batch.expected() {
                let fd = self.socket.as_raw_fd();
                let mut slices = [IoSliceMut::new(&mut buffer)];
                match recvmsg::<SockaddrStorage>(fd, &mut slices, Some(&mut space), flags) {
                    Ok(message) => {
                        taken += 1;
                        let local = local_address(&message);
                        let Some(peer) = message.address.as_ref().and_then(to_std) else { continue };
                        let packet = message.iovs().next().unwrap_or(&[]);
                        let fast_path = fast_path.get_or_insert_with(|| {
                            FastPath::new(&self.live, &self.tally, ClientTransport::Udp)
                        });
                        if self.answer(fast_path, packet, peer, local, &mut reply, &mut incoming) {
                            send(&self.socket, &reply, peer, local);
                        }
                    }
                    Err(Errno::EAGAIN) => break,
                    Err(error) => self.log_receive_error(&error.into()),
                }
                flags = MsgFlags::MSG_DONTWAIT; // what came with it
            }
            batch.came(taken);
            self.send_out(pending, &mut incoming);
        }
    }

    /// Waits for clients: in a blocking receive while nothing else is awaited. How to receive them, if
    /// there are any.
    fn clients(&self, pending: &mut PendingQueries, idle: MsgFlags) -> Option<MsgFlags> {
        if !pending.are_open() {
            return Some(idle);
        }
        self.turn(pending).then_some(MsgFlags::MSG_DONTWAIT)
    }

    /// Answers the clients that wait for replies. The clients' socket is not looked at: what lies in it is for another
    /// process, and would wake this one again and again. Ends when no client waits: a question without a reply leaves
    /// the pool in less than a second.
    fn drain(&self, pending: &mut PendingQueries) {
        while pending.have_clients() {
            if catch_unwind(AssertUnwindSafe(|| pending.turn_for_replies())).is_err() {
                count(&self.live.counters.panics);
            }
        }
    }

    /// Waits for replies and clients; true if there are clients.
    fn turn(&self, pending: &mut PendingQueries) -> bool {
        let turned = catch_unwind(AssertUnwindSafe(|| pending.turn()));
        if turned.is_err() {
            count(&self.live.counters.panics);
        }
        turned.unwrap_or(false)
    }

    /// Puts the answer to a packet into `reply`, if it is there at once; whoever has to wait joins `incoming`.
    /// A panic costs the packet, not the thread.
    fn answer(
        &self,
        fast_path: &mut FastPath<'_>,
        packet: &[u8],
        peer: SocketAddr,
        local: ReplySource,
        reply: &mut Vec<u8>,
        incoming: &mut Vec<Incoming>,
    ) -> bool {
        if peer.port() == 0 {
            return false; // no client can receive there
        }
        reply.clear();
        let outcome = catch_unwind(AssertUnwindSafe(|| fast_path.serve(packet, peer, local.ip(), reply)));
        match outcome {
            Ok(Served::Answered) => true,
            Ok(Served::Dropped) => false,
            Ok(Served::Waits(waiting)) => {
                incoming.push(Incoming { waiting, peer, local });
                false
            }
            Err(_) => {
                count(&self.live.counters.panics);
                false
            }
        }
    }

    /// Sends out for those who have to wait. A panic costs these, not the thread.
    fn send_out(&self, pending: &mut PendingQueries, incoming: &mut Vec<Incoming>) {
        if incoming.is_empty() {
            return;
        }
        if catch_unwind(AssertUnwindSafe(|| pending.send_out(incoming))).is_err() {
            incoming.clear();
            count(&self.live.counters.panics);
        }
    }

    /// No error of a receiving socket ends its service.
    fn log_receive_error(&self, error: &io::Error) {
        if !matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) {
            tracing::warn!(%error, "receiving a datagram failed");
            thread::sleep(Duration::from_millis(10)); // whatever it is, it must not eat a core
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
fn local_address(message: &RecvMsg<'_, '_, SockaddrStorage>) -> ReplySource {
    let Ok(messages) = message.cmsgs() else { return ReplySource::Bound };
    for message in messages {
        match message {
            // the kernel chooses the interface by its routes
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                return ReplySource::V4(libc::in_pktinfo { ipi_ifindex: 0, ..info });
            }
            // a link-local address means nothing without its interface
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                let link_local =
                    info.ipi6_addr.s6_addr[0] == 0xfe && info.ipi6_addr.s6_addr[1] & 0xc0 == 0x80;
                let ipi6_ifindex = if link_local { info.ipi6_ifindex } else { 0 };
                return ReplySource::V6(libc::in6_pktinfo { ipi6_ifindex, ..info });
            }
            _ => {}
        }
    }
    ReplySource::Bound
}

#[cfg(test)]
#[path = "udp_tests.rs"]
mod tests;
