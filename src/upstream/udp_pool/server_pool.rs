//! The pool of one server: its sockets, and the questions that are open on them.

use super::busy_poll::BusyPoll;
use super::socket::{OpenQuery, ReceiveBuffer, ReceivedReply, Socket};
use super::{BATCH, InFlightKeys, OnReply, PoolQuery, PoolReply};
use crate::engine::cache::CacheKey;
use crate::engine::response;
use crate::upstream::policy::hedge_delay;
use crate::upstream::server::Server;
use crate::upstream::transport;
use crate::upstream::wire::{Carrier, ReplyVerdict};
use nix::sys::socket::MultiHeaders;
use quick_cache::DefaultHashBuilder;
use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Sockets of the pool that serve at the same time.
pub(super) const POOL: usize = 8;

/// Batches up to this size use fresh sockets, and at most this many are opened in one [`SLICE`]: beyond,
/// it takes too long.
pub(super) const EPHEMERAL_MAX: usize = 4;

/// Fresh sockets that may wait for their replies at the same time: so few that the kernel is told them all each time.
const FRESH: usize = 32;

/// How long a socket has its turn before the next of the pool.
pub(super) const SLICE: Duration = Duration::from_millis(5);

/// How long a socket serves: shorter than it takes to find out its port.
pub(super) const SOCKET_LIFETIME: Duration = Duration::from_secs(3);

/// How long a socket is listened to after its service: no client waits longer.
pub(super) const LINGER: Duration = Duration::from_secs(4);

/// The pool of one server.
pub(super) struct ServerPool<T> {
    /// The server, while a group has it.
    server: Weak<Server>,
    /// All sockets, by number: those of the pool, fresh ones, and those that are only listened to.
    sockets: HashMap<u32, Socket<T>, DefaultHashBuilder>,
    /// The number of the next socket.
    next: u32,
    /// The sockets of the pool.
    pool: Vec<u32>,
    /// Which of them has its turn.
    place: usize,
    /// Its start.
    turn: Instant,
    /// Fresh sockets that were opened since then.
    opened: usize,
    /// Fresh sockets that wait for their replies.
    ephemeral: usize,
    /// Where each question is open, by the hash of its key.
    places: HashMap<u64, (u32, u16), DefaultHashBuilder>,
    /// What all pools ask: every question that is open.
    asked: Arc<InFlightKeys>,
    headers: MultiHeaders<()>,
    /// Room for the ids of a batch.
    ids: Vec<u16>,
    /// Whether replies come so soon that it is worth looking out for them.
    pub(super) busy_poll: BusyPoll,
}

impl<T> ServerPool<T> {
    pub(super) fn new(server: &Arc<Server>, asked: Arc<InFlightKeys>) -> Self {
        Self {
            server: Arc::downgrade(server),
            sockets: HashMap::default(),
            next: 0,
            pool: Vec::new(),
            place: 0,
            turn: Instant::now(),
            opened: 0,
            ephemeral: 0,
            places: HashMap::default(),
            asked,
            headers: MultiHeaders::preallocate(BATCH, None),
            ids: Vec::new(),
            busy_poll: BusyPoll::default(),
        }
    }

    pub(super) fn leads_to(&self, server: &Arc<Server>) -> bool {
        Weak::as_ptr(&self.server) == Arc::as_ptr(server)
    }

    /// True while questions are open.
    pub(super) fn is_open(&self) -> bool {
        !self.places.is_empty()
    }

    /// True while clients wait for one of them. One that has become overdue stays open and has no waiters.
    pub(super) fn has_waiters(&self) -> bool {
        let mut open = self.sockets.values().flat_map(|socket| socket.open.values());
        open.any(|open| !open.waiters.is_empty())
    }

    /// True when no group has the server any more, and nothing is open.
    pub(super) fn is_orphaned(&self) -> bool {
        self.server.strong_count() == 0 && !self.is_open()
    }

    /// The sockets that questions are open on, by number.
    pub(super) fn awaited(&self) -> impl Iterator<Item = (u32, BorrowedFd<'_>)> {
        let open = self.sockets.iter().filter(|(_, socket)| !socket.open.is_empty());
        open.map(|(number, socket)| (*number, socket.as_fd()))
    }

    /// How many sockets it has.
    #[cfg(test)]
    pub(super) fn sockets(&self) -> usize {
        self.sockets.len()
    }

    /// Asks; what cannot be asked comes back.
    pub(super) fn send(
        &mut self,
        server: &Server,
        queries: &mut Vec<PoolQuery<T>>,
        known: &impl Fn(&CacheKey, &T) -> bool,
        now: Instant,
    ) -> Vec<T> {
        let options = server.query_options();
        let mut refused = Vec::new();
        let mut ids = std::mem::take(&mut self.ids);
        ids.clear();
        let number = self.socket(server, queries.len(), now);
        for PoolQuery { key, waiter } in queries.drain(..) {
            let hash = self.asked.hash(&key);
            if let Some((socket, id)) = self.places.get(&hash) {
                let open = self.sockets.get_mut(socket).and_then(|socket| socket.open.get_mut(id));
                match open {
                    Some(open) if open.key == key && !open.waiters.is_empty() => open.waiters.push(waiter),
                    // on its slow path already, or another question of the same hash
                    _ => refused.push(waiter),
                }
                continue;
            }
            let Some((number, socket)) = number.and_then(|n| Some((n, self.sockets.get_mut(&n)?))) else {
                refused.push(waiter);
                continue;
            };
            if !self.asked.begin(hash) {
                refused.push(waiter); // the slow path waits for what another pool brings
                continue;
            }
            if known(&key, &waiter) {
                self.asked.end(hash);
                refused.push(waiter); // another pool has just brought it
                continue;
            }
            if !self.asked.has_room() {
                self.asked.end(hash);
                refused.push(waiter);
                continue;
            }
            if !server.admit_pooled() {
                server.counters().at_limit.bump();
                self.asked.end(hash);
                refused.push(waiter);
                continue;
            }
            match socket.open(key, hash, waiter, &options, now) {
                Ok((id, octets)) => {
                    self.asked.hold(octets);
                    self.places.insert(hash, (number, id));
                    ids.push(id);
                    server.counters().queries.bump();
                }
                Err(waiter) => {
                    server.release_pooled(1);
                    self.asked.end(hash);
                    refused.push(waiter);
                }
            }
        }
        if let Some(socket) = number.and_then(|number| self.sockets.get(&number)) {
            socket.send(&ids, &mut self.headers);
        }
        self.ids = ids;
        refused
    }

    /// A fresh socket for a few questions; for many the one of the pool that has its turn.
    fn socket(&mut self, server: &Server, questions: usize, now: Instant) -> Option<u32> {
        // One socket for some time, so that replies come together and are taken together.
        if now >= self.turn + SLICE {
            (self.turn, self.place, self.opened) = (now, (self.place + 1) % POOL, 0);
        }
        if questions <= EPHEMERAL_MAX && self.opened < EPHEMERAL_MAX && self.ephemeral < FRESH {
            let number = self.open(server, true, now)?;
            self.opened += 1;
            self.ephemeral += 1;
            return Some(number);
        }
        self.place = self.place.min(self.pool.len()); // the pool is filling up
        let present = self.pool.get(self.place).copied();
        let serves = |number: &u32| self.sockets.get(number).is_some_and(|s| now < s.born + SOCKET_LIFETIME);
        if let Some(number) = present.filter(serves) {
            return Some(number);
        }
        let number = self.open(server, false, now)?;
        match self.pool.get_mut(self.place) {
            Some(place) => *place = number, // the old one is only listened to from now on
            None => self.pool.push(number),
        }
        Some(number)
    }

    /// Opens a socket.
    fn open(&mut self, server: &Server, ephemeral: bool, now: Instant) -> Option<u32> {
        let socket = transport::connected(server.address().target().ok()?).ok()?;
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.sockets.insert(number, Socket::new(socket, ephemeral, now));
        Some(number)
    }

    /// Takes the replies that a socket has.
    pub(super) fn listen(
        &mut self,
        number: u32,
        inbox: &mut ReceiveBuffer,
        now: Instant,
        handler: &mut impl OnReply<T>,
    ) {
        let Some(socket) = self.sockets.get_mut(&number) else { return };
        let server = self.server.upgrade();
        inbox.receive(socket.fd(), socket.open.len(), |reply| {
            if socket.is_suspicious() {
                return; // guesses come in bursts: nothing is believed that came with the last of them
            }
            let arrival = socket.arrived(reply);
            if let (ReceivedReply::Stranger | ReceivedReply::Doubtful(_), Some(server)) = (&arrival, &server)
            {
                server.counters().mismatches.bump();
            }
            let is_trusted = matches!(arrival, ReceivedReply::Answer(_) | ReceivedReply::Late(_));
            let is_reply = is_trusted || matches!(arrival, ReceivedReply::NeedsFallback(_));
            let (open, usable) = match arrival {
                ReceivedReply::Answer(open) => (open, true),
                ReceivedReply::NeedsFallback(open)
                | ReceivedReply::Late(open)
                | ReceivedReply::Doubtful(open) => (open, false),
                ReceivedReply::Stranger => return,
            };
            self.places.remove(&open.hash);
            self.asked.release(open.octets());
            if let Some(server) = &server {
                server.release_pooled(1);
                let waited = now.saturating_duration_since(open.at);
                if is_reply {
                    let usable = matches!(reply[3] & 0x0f, 0 | 3 | 6); // YXDOMAIN is about the name
                    server.replied_in(waited, usable, now, |memory| {
                        if is_trusted {
                            memory.confirm(open.sent.has_mixed_case(), reply[10..12] != [0, 0]);
                        }
                    });
                }
            }
            let (hash, waited_for) = (open.hash, !open.waiters.is_empty());
            hand_over(open, reply, usable, now, handler);
            if waited_for {
                self.asked.end(hash); // only now: what came is in the cache
            }
        });
        let suspicious = socket.is_suspicious() || inbox.failed();
        if suspicious || (socket.ephemeral && socket.open.is_empty()) {
            self.close(number).into_iter().for_each(|waiter| handler.give_up(waiter));
        }
        if let Some(server) = server.filter(|_| suspicious) {
            tracing::debug!(server = %server.address(), "a socket was given up");
        }
    }

    /// Closes a socket; those who wait on it.
    fn close(&mut self, number: u32) -> Vec<T> {
        let Some(socket) = self.sockets.remove(&number) else { return Vec::new() };
        self.ephemeral -= usize::from(socket.ephemeral);
        self.pool.retain(|other| *other != number);
        self.release(socket.open.len());
        let mut waiters = Vec::new();
        for open in socket.open.into_values() {
            self.asked.release(open.octets());
            self.places.remove(&open.hash);
            if !open.waiters.is_empty() {
                self.asked.end(open.hash);
            }
            waiters.extend(open.waiters);
        }
        waiters
    }

    /// Closes what has served; those who waited for longer than a reply usually takes.
    pub(super) fn look_after(&mut self, now: Instant) -> Vec<T> {
        let server = self.server.upgrade();
        let patience = hedge_delay(server.as_ref().and_then(|server| server.rtt()));
        let mut overdue = Vec::new();
        let mut forgotten = 0;
        for socket in self.sockets.values_mut() {
            socket.open.retain(|_, open| {
                if !open.waiters.is_empty() && now >= open.at + patience {
                    // it stays open, so that a late reply is no stranger
                    overdue.append(&mut open.waiters);
                    self.asked.end(open.hash);
                    server.iter().for_each(|server| server.missed_since(open.at));
                }
                let stays = !open.waiters.is_empty() || now < open.at + LINGER;
                if !stays {
                    self.asked.release(open.octets());
                    self.places.remove(&open.hash);
                    forgotten += 1;
                }
                stays
            });
        }
        self.release(forgotten);
        let dead = self.sockets.iter().filter(|(_, socket)| now >= socket.born + SOCKET_LIFETIME + LINGER);
        let dead: Vec<u32> = dead.map(|(number, _)| *number).collect();
        for number in dead {
            overdue.extend(self.close(number));
        }
        overdue
    }

    /// Questions are no longer open.
    fn release(&self, questions: usize) {
        if let Some(server) = self.server.upgrade().filter(|_| questions > 0) {
            server.release_pooled(questions);
        }
    }
}

impl<T> Drop for ServerPool<T> {
    fn drop(&mut self) {
        self.release(self.places.len());
        for open in self.sockets.values().flat_map(|socket| socket.open.values()) {
            self.asked.release(open.octets());
            if !open.waiters.is_empty() {
                self.asked.end(open.hash);
            }
        }
    }
}

/// Hands a reply over; who is not served by it takes the slow path. A panic costs this answer only.
fn hand_over<T>(
    mut open: OpenQuery<T>,
    reply: &[u8],
    usable: bool,
    now: Instant,
    handler: &mut impl OnReply<T>,
) {
    let taken =
        usable && catch_unwind(AssertUnwindSafe(|| answer(&mut open, reply, now, handler))).unwrap_or(false);
    if !taken {
        open.waiters.drain(..).for_each(|waiter| handler.give_up(waiter));
    }
}

/// Hands an answer over; false if it has to take the slow path after all.
fn answer<T>(open: &mut OpenQuery<T>, reply: &[u8], now: Instant, handler: &mut impl OnReply<T>) -> bool {
    let plain = reply[3] & 0x0f == 0;
    let unread = PoolReply::Unread(reply, open.sent.question_end());
    if plain && handler.take(&open.key, unread, &mut open.waiters, now) {
        return true;
    }
    match open.sent.judge(reply.to_vec(), Carrier::Datagram) {
        ReplyVerdict::Answer(message, _) => {
            let usable = response::is_verdict(&message);
            usable && handler.take(&open.key, PoolReply::Read(message), &mut open.waiters, now)
        }
        _ => false,
    }
}
