//! A socket of the pool: the questions that are open on it, and what a datagram is to them.

use super::BATCH;
use crate::engine::cache::CacheKey;
use crate::upstream::capabilities::QueryOptions;
use crate::upstream::random;
use crate::upstream::wire::{Entropy, SentQuery};
use nix::errno::Errno;
use nix::sys::socket::sockopt::UdpGsoSegment;
use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, getsockopt, recv, recvmmsg, send, sendmmsg, sendmsg,
};
use quick_cache::DefaultHashBuilder;
use std::collections::HashMap;
use std::io::{IoSlice, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Instant;

/// After this many unexpected datagrams, the socket's port counts as known to an attacker.
const STRANGERS: u32 = 3;

/// Minimum number of queries of one length that are sent with a separate system call.
const MIN_GSO_BATCH: usize = 4;

/// Octets of a reply that can be received: what was asked for, and some for those who send more (L48). No power of
/// two: the beginnings of a batch's replies would take the same few places in the processor's cache.
const MAX_REPLY: usize = 4096 + 64;

/// A socket, connected to one server.
pub(super) struct Socket<T> {
    socket: UdpSocket,
    /// An ephemeral socket, which is closed when its queries are answered.
    pub(super) ephemeral: bool,
    pub(super) born: Instant,
    /// The kernel splits a long datagram into queries. Kernels before Linux 4.18 would send it unsplit.
    cuts: bool,
    strangers: u32,
    /// The open queries, by id.
    pub(super) open: HashMap<u16, OpenQuery<T>, DefaultHashBuilder>,
}

/// An open query.
pub(super) struct OpenQuery<T> {
    /// The cache key of its answer.
    pub(super) key: CacheKey,
    /// The hash of the key.
    pub(super) hash: u64,
    /// The query.
    pub(super) sent: SentQuery,
    /// The waiters. Empty if all have taken the slow path.
    pub(super) waiters: Vec<T>,
    /// Its start.
    pub(super) at: Instant,
    expects_cookie: bool,
}

/// The classification of a datagram.
pub(super) enum ReceivedReply<T> {
    /// The reply to this query, which is no longer open.
    Answer(OpenQuery<T>),
    /// A matching reply that needs more checks: its waiters take the slow path.
    NeedsFallback(OpenQuery<T>),
    /// Matches except for letter case, or an error without a question: never accepted, but not a sign of guessing. Its
    /// waiters take the slow path.
    Doubtful(OpenQuery<T>),
    /// A reply to a query that is no longer open.
    Late(OpenQuery<T>),
    /// Matches no query.
    Stranger,
}

impl<T> OpenQuery<T> {
    /// Its octets, without the waiters.
    pub(super) fn octets(&self) -> usize {
        size_of::<Self>() + self.key.bytes().len() + self.sent.bytes.capacity()
    }
}

impl<T> Socket<T> {
    /// A new socket.
    pub(super) fn new(socket: UdpSocket, ephemeral: bool, now: Instant) -> Self {
        let cuts = !ephemeral && getsockopt(&socket, UdpGsoSegment).is_ok();
        Self { socket, ephemeral, born: now, cuts, strangers: 0, open: HashMap::default() }
    }

    /// Its file descriptor, to poll.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The same, to receive from it.
    pub(super) fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Opens a query with a free id; returns the id and its octets.
    ///
    /// # Errors
    /// There is no randomness, or no free id: who waits.
    pub(super) fn open(
        &mut self,
        key: CacheKey,
        hash: u64,
        waiter: T,
        options: &QueryOptions,
        now: Instant,
    ) -> Result<(u16, usize), T> {
        let mut id = None;
        for _ in 0..8 {
            let Ok(drawn) = random::bytes::<2>() else { return Err(waiter) };
            if !self.open.contains_key(&u16::from_be_bytes(drawn)) {
                id = Some(drawn);
                break;
            }
        }
        let (Some(id), Ok(case)) = (id, random::bytes()) else { return Err(waiter) };
        let sent = SentQuery::of_wire(key.wire(), key.rtype(), key.flags(), options, &Entropy { id, case });
        let expects_cookie = options.expects_cookie();
        let open = OpenQuery { key, hash, sent, waiters: vec![waiter], at: now, expects_cookie };
        let (id, octets) = (u16::from_be_bytes(id), open.octets());
        self.open.insert(id, open);
        Ok((id, octets))
    }

    /// Classifies a datagram, and removes its query.
    pub(super) fn arrived(&mut self, reply: &[u8]) -> ReceivedReply<T> {
        let id = reply.first_chunk::<2>().map(|id| u16::from_be_bytes(*id));
        let is_answered = |id: &u16| self.open.get(id).is_some_and(|open| open.sent.is_answered_by(reply));
        let Some(open) = id.filter(is_answered).and_then(|id| self.open.remove(&id)) else {
            self.strangers += 1;
            // The server may fold case or not support EDNS: an exchange determines this, without waiting.
            let is_perhaps =
                |id: &u16| self.open.get(id).is_some_and(|open| open.sent.is_perhaps_answered_by(reply));
            let perhaps = id.filter(is_perhaps).and_then(|id| self.open.remove(&id));
            return perhaps.map_or(ReceivedReply::Stranger, ReceivedReply::Doubtful);
        };
        if open.waiters.is_empty() {
            ReceivedReply::Late(open)
        // truncated, or without the cookie of a server that sends cookies
        } else if reply[2] & 0x02 != 0 || !open.sent.cookie_agrees(reply, open.expects_cookie) {
            ReceivedReply::NeedsFallback(open)
        } else {
            ReceivedReply::Answer(open)
        }
    }

    /// An attacker may know its port.
    pub(super) fn is_suspicious(&self) -> bool {
        self.strangers >= STRANGERS
    }

    /// Sends these queries, as many as the kernel accepts; the others time out.
    ///
    /// Queries of one length leave as one long datagram, which the kernel splits (UDP_SEGMENT): most of the cost of a
    /// datagram then occurs once for all of them.
    pub(super) fn send(&self, ids: &[u16], headers: &mut MultiHeaders<()>) {
        let queries =
            ids.iter().filter_map(|id| self.open.get(id)).map(|open| IoSlice::new(&open.sent.bytes));
        if ids.len() == 1 {
            return queries.for_each(|query| self.send_each(&[query], headers)); // without a list
        }
        let mut queries: Vec<IoSlice> = queries.collect();
        if !self.cuts || queries.len() < MIN_GSO_BATCH {
            return self.send_each(&queries, headers);
        }
        queries.sort_unstable_by_key(|query| query.len());
        let mut rest = Vec::with_capacity(queries.len());
        let groups = queries.chunk_by(|one, other| one.len() == other.len());
        for alike in groups.flat_map(|alike| alike.chunks(BATCH)) {
            if alike.len() < MIN_GSO_BATCH || !self.send_as_one(alike) {
                rest.extend_from_slice(alike);
            }
        }
        self.send_each(&rest, headers);
    }

    /// Sends queries of one length, all of them or none; false if none were.
    fn send_as_one(&self, alike: &[IoSlice<'_>]) -> bool {
        let Ok(length) = u16::try_from(alike[0].len()) else { return false };
        let cut = [ControlMessage::UdpGsoSegments(&length)];
        sendmsg::<()>(self.fd(), alike, &cut, MsgFlags::MSG_DONTWAIT, None).is_ok()
    }

    /// Sends queries, each in a separate message.
    fn send_each(&self, queries: &[IoSlice<'_>], headers: &mut MultiHeaders<()>) {
        let no_peers = [const { None }; BATCH]; // the socket is connected
        let mut refused_before = false;
        for queries in queries.chunks(BATCH) {
            let (mut rest, _) = queries.as_chunks::<1>();
            while !rest.is_empty() {
                let (peers, flags) = (&no_peers[..rest.len()], MsgFlags::MSG_DONTWAIT);
                let sent = match rest {
                    [[one]] => send(self.fd(), one, flags).map(|_| 1), // the cheaper call
                    many => sendmmsg(self.fd(), headers, many, peers, [], flags).map(Iterator::count),
                };
                match sent {
                    Ok(done) => rest = &rest[done.max(1)..],
                    // The error is from an ICMP message for an earlier datagram: the port is closed. Sending has
                    // consumed the error, but the receiver needs it to fail the open queries, so that it must be
                    // provoked again.
                    Err(Errno::ECONNREFUSED) if !refused_before => refused_before = true,
                    Err(_) => return,
                }
            }
        }
    }
}

/// The receive buffer of replies.
pub(super) struct ReceiveBuffer {
    headers: MultiHeaders<()>,
    buffer: Vec<u8>,
    failed: bool,
}

impl ReceiveBuffer {
    pub(super) fn new() -> Self {
        let buffer = vec![0; BATCH * MAX_REPLY];
        Self { headers: MultiHeaders::preallocate(BATCH, None), buffer, failed: false }
    }

    /// Returns the available datagrams, at most the expected number, to avoid a failed receive.
    pub(super) fn receive(&mut self, fd: RawFd, expected: usize, mut take: impl FnMut(&[u8])) {
        if expected == 1 {
            let received = recv(fd, &mut self.buffer[..MAX_REPLY], MsgFlags::MSG_DONTWAIT);
            self.failed = received.is_err_and(is_of_network);
            return received.into_iter().for_each(|length| take(&self.buffer[..length]));
        }
        let places = self.buffer.chunks_mut(MAX_REPLY).take(expected);
        let mut slices: Vec<_> = places.map(|place| [IoSliceMut::new(place)]).collect();
        let received = recvmmsg(fd, &mut self.headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None);
        self.failed = received.as_ref().is_err_and(|error| is_of_network(*error));
        for message in received.into_iter().flatten() {
            take(message.iovs().next().unwrap_or(&[]));
        }
    }

    /// True if the last call got a network error.
    pub(super) fn failed(&self) -> bool {
        self.failed
    }
}

/// True for an ICMP error (no server listens), false if there was nothing to receive.
fn is_of_network(error: Errno) -> bool {
    !matches!(error, Errno::EAGAIN | Errno::EINTR)
}
