//! Datagrams of clients, one by one or many with one system call: how many to receive, and how answers are sent, each
//! from the address that was asked.

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrLike, SockaddrStorage, sendmmsg,
    sendmsg, sendto,
};
use std::cell::RefCell;
use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

/// Datagrams of one batch.
pub(super) const BATCH: usize = 64;

/// The most datagrams that are asked for one at a time before a full batch is tried again.
const MAX_SINGLES: u8 = 31;

/// Adaptive receive batch size. When datagrams arrive singly, one is asked for (a larger batch costs a failed extra
/// receive), and a full batch is tried again at growing intervals.
#[derive(Debug, Default)]
pub(super) struct ReceiveBatch {
    /// Datagrams that are asked for one at a time, since the last full batch brought no more than one.
    singles: u8,
    /// How many of them are left.
    left: u8,
}

impl ReceiveBatch {
    /// True while they come one by one.
    pub(super) fn is_one(&self) -> bool {
        self.left > 0
    }

    /// The number of datagrams to ask for.
    pub(super) fn expected(&self) -> usize {
        if self.is_one() { 1 } else { BATCH }
    }

    /// Notes how many came.
    pub(super) fn came(&mut self, count: usize) {
        if self.is_one() {
            self.left -= 1;
            return;
        }
        self.singles = if count > 1 { 0 } else { (2 * self.singles + 1).min(MAX_SINGLES) };
        self.left = self.singles;
    }
}

/// The address that a datagram was sent to, so that its answer leaves from there.
#[derive(Clone, Copy, Debug)]
pub(super) enum ReplySource {
    /// The socket's own.
    Bound,
    V4(libc::in_pktinfo),
    V6(libc::in6_pktinfo),
}

impl ReplySource {
    /// The address, where it is not the socket's own.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Bound => None,
            Self::V4(info) => Some(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)).into()),
            Self::V6(info) => Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into()),
        }
    }
}

/// Sends an answer. A full buffer or an unreachable client costs this answer only: a datagram may be lost.
pub(super) fn send(socket: &UdpSocket, reply: &[u8], peer: SocketAddr, local: ReplySource) {
    let slices = [IoSlice::new(reply)];
    let v4 = |info| [ControlMessage::Ipv4PacketInfo(info)];
    let v6 = |info| [ControlMessage::Ipv6PacketInfo(info)];
    let _ = match (&local, peer) {
        (ReplySource::V4(info), SocketAddr::V4(to)) => {
            send_beside(socket, &slices, &v4(info), &SockaddrIn::from(to))
        }
        (ReplySource::V6(info), SocketAddr::V6(to)) => {
            send_beside(socket, &slices, &v6(info), &SockaddrIn6::from(to))
        }
        // without anything beside it, the plainest call is the cheapest
        (_, to) => sendto(socket.as_raw_fd(), reply, &SockaddrStorage::from(to), MsgFlags::MSG_DONTWAIT),
    };
}

fn send_beside<A: SockaddrLike>(
    socket: &UdpSocket,
    slices: &[IoSlice<'_>],
    beside: &[ControlMessage<'_>],
    to: &A,
) -> nix::Result<usize> {
    sendmsg(socket.as_raw_fd(), slices, beside, MsgFlags::MSG_DONTWAIT, Some(to))
}

thread_local! {
    /// Headers for sending answers of a batch; they cannot move between threads.
    static HEADERS: RefCell<MultiHeaders<SockaddrIn>> = RefCell::new(MultiHeaders::preallocate(BATCH, None));
}

/// Sends many answers by one socket: those to IPv4 clients of a socket of one address together.
pub(super) fn send_all(socket: &UdpSocket, answers: &[(Vec<u8>, SocketAddr, ReplySource)]) {
    if let [(reply, peer, local)] = answers {
        return send(socket, reply, *peer, *local);
    }
    for answers in answers.chunks(BATCH) {
        let mut batch = Vec::with_capacity(answers.len());
        let mut peers = Vec::with_capacity(answers.len());
        for (reply, peer, local) in answers {
            match (peer, local) {
                (SocketAddr::V4(peer), ReplySource::Bound) => {
                    batch.push([IoSlice::new(reply)]);
                    peers.push(Some(SockaddrIn::from(*peer)));
                }
                _ => send(socket, reply, *peer, *local),
            }
        }
        HEADERS.with_borrow_mut(|headers| {
            send_batch(socket, headers, &batch, &peers, MsgFlags::MSG_DONTWAIT);
        });
    }
}

/// Sends a batch; an answer that cannot be sent is lost, as datagrams may be.
pub(super) fn send_batch<'a, A: SockaddrLike + Copy + 'a>(
    socket: &UdpSocket,
    headers: &mut MultiHeaders<A>,
    batch: &[[IoSlice<'_>; 1]],
    peers: &[Option<A>],
    flags: MsgFlags,
) {
    let mut from = 0;
    while from < batch.len() {
        match sendmmsg(socket.as_raw_fd(), headers, batch[from..].iter(), &peers[from..], [], flags) {
            Ok(done) => from += done.count().max(1),
            Err(Errno::EINTR) => {}
            Err(_) => from += 1, // this client cannot be reached; the next may
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many are asked for one by one until a full batch is tried.
    fn singles(batch: &mut ReceiveBatch) -> usize {
        let singles = std::iter::from_fn(|| (batch.expected() == 1).then(|| batch.came(1)));
        singles.count()
    }

    #[test]
    fn one_datagram_is_asked_for_while_they_come_one_by_one() {
        let mut batch = ReceiveBatch::default();
        batch.came(30);
        assert_eq!(batch.expected(), BATCH);
        for expected in [1, 3, 7, 15, 31, 31] {
            batch.came(1);
            assert_eq!(singles(&mut batch), expected);
            assert_eq!(batch.expected(), BATCH, "more may have come than one at a time shows");
        }
        batch.came(2);
        assert_eq!(singles(&mut batch), 0, "they have");
        batch.came(1);
        assert_eq!(singles(&mut batch), 1);
    }
}
