//! The road to one server: its pool of sockets, and the questions that are open on them.

use super::{BATCH, Errand, Relay, lock};
use crate::engine::cache::CacheKey;
use crate::upstream::manner::Manner;
use crate::upstream::policy::hedge_delay;
use crate::upstream::server::Server;
use crate::upstream::wire::{Chance, Sent};
use crate::upstream::{random, transport};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io::{IoSlice, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

/// Sockets of the pool that serve at the same time.
pub(super) const POOL: usize = 8;

/// So few questions at once are worth a fresh socket: there is time for it.
pub(super) const FEW: usize = 4;

/// Fresh sockets that may wait for their replies at the same time; beyond, there is no time for more.
const FRESH: usize = 128;

/// How long a socket has its turn before the next of the pool.
pub(super) const TURN: Duration = Duration::from_millis(5);

/// How long a socket serves: shorter than it takes to find out its port.
pub(super) const SERVICE: Duration = Duration::from_secs(3);

/// How long a socket is listened to after its service: no client waits longer.
pub(super) const REST: Duration = Duration::from_secs(4);

/// So many datagrams that answer nothing, and the socket's port is taken to be known to somebody.
const STRANGERS: u32 = 3;

/// Octets of a reply that can be received: what was asked for, and some for those who send more (L48).
const LONGEST_REPLY: usize = 4096;

/// A socket of the pool.
pub(super) struct Socket<T> {
    /// Names it to the thread.
    pub(super) token: u64,
    pub(super) socket: UdpSocket,
    road: Weak<Road<T>>,
    born: Instant,
    strangers: AtomicU32,
    /// It serves once, and is closed when its questions are answered.
    fresh: bool,
}

impl<T> Socket<T> {
    /// A socket that is connected to the road's server.
    pub(super) fn new(token: u64, socket: UdpSocket, road: Weak<Road<T>>, fresh: bool, now: Instant) -> Self {
        Self { token, socket, road, born: now, strangers: AtomicU32::new(0), fresh }
    }

    /// The road it belongs to, while that is there.
    pub(super) fn road(&self) -> Option<Arc<Road<T>>> {
        self.road.upgrade()
    }

    /// Counts a stranger; true when there were too many.
    pub(super) fn is_suspicious(&self) -> bool {
        self.strangers.fetch_add(1, Ordering::Relaxed) + 1 >= STRANGERS
    }
}

/// A question that is open.
pub(super) struct Open<T> {
    /// What its answer is cached under.
    pub(super) key: CacheKey,
    /// The query.
    pub(super) sent: Sent,
    /// Who waits. Empty when all were sent the long way.
    pub(super) waiters: Vec<T>,
    at: Instant,
    expects_cookie: bool,
}

/// What a datagram is.
pub(super) enum Arrival<T> {
    /// The reply to this question, which is no longer open.
    Answer(Open<T>),
    /// The reply to a question, but not one to believe at once: those who wait go the long way.
    Odd(Vec<T>),
    /// A reply that nobody waits for any more.
    Late,
    /// Nothing we asked for.
    Stranger,
}

/// The road to one server.
pub(super) struct Road<T> {
    server: Arc<Server>,
    state: Mutex<State<T>>,
}

struct State<T> {
    pool: Vec<Arc<Socket<T>>>,
    /// Sockets that are only listened to.
    resting: Vec<Arc<Socket<T>>>,
    next: usize,
    /// Since when the present socket has its turn.
    turn: Instant,
    open: HashMap<(u64, u16), Open<T>>,
    by_key: HashMap<CacheKey, (u64, u16)>,
    /// Who came while the answer was being read.
    joined: Vec<(CacheKey, T)>,
    /// Questions in the order in which they were asked.
    order: VecDeque<(Instant, u64, u16)>,
}

thread_local! {
    /// Headers for sending; they cannot move between threads.
    static HEADERS: RefCell<MultiHeaders<SockaddrIn>> = RefCell::new(MultiHeaders::preallocate(BATCH, None));
}

impl<T> Road<T> {
    pub(super) fn new(server: Arc<Server>) -> Self {
        let state = State {
            pool: Vec::new(),
            resting: Vec::new(),
            next: 0,
            turn: Instant::now(),
            open: HashMap::new(),
            by_key: HashMap::new(),
            joined: Vec::new(),
            order: VecDeque::new(),
        };
        Self { server, state: Mutex::new(state) }
    }

    pub(super) fn leads_to(&self, server: &Arc<Server>) -> bool {
        Arc::ptr_eq(&self.server, server)
    }

    /// True while questions are open.
    pub(super) fn is_open(&self) -> bool {
        !lock(&self.state).open.is_empty()
    }

    /// True when only the road itself knows the server, and nothing is open.
    pub(super) fn is_orphaned(&self) -> bool {
        Arc::strong_count(&self.server) == 1 && !self.is_open()
    }

    /// All its sockets.
    pub(super) fn sockets(&self) -> Vec<u64> {
        let state = lock(&self.state);
        state.pool.iter().chain(&state.resting).map(|socket| socket.token).collect()
    }

    /// Asks; what cannot be asked comes back.
    pub(super) fn send(self: &Arc<Self>, relay: &Relay<T>, errands: Vec<Errand<T>>, now: Instant) -> Vec<T>
    where
        T: Send + 'static,
    {
        let manner = self.server.manner();
        let mut refused = Vec::new();
        let mut state = lock(&self.state);
        let Some(socket) = self.socket(relay, &mut state, errands.len(), now) else {
            return errands.into_iter().map(|errand| errand.waiter).collect();
        };
        let mut queries: Vec<Vec<u8>> = Vec::with_capacity(errands.len());
        for errand in errands {
            if let Some(open) = state.by_key.get(&errand.key).copied() {
                match state.open.get_mut(&open) {
                    Some(open) if !open.waiters.is_empty() => open.waiters.push(errand.waiter),
                    Some(_) => refused.push(errand.waiter), // this question is on its long way already
                    None => state.joined.push((errand.key, errand.waiter)), // its answer is being read
                }
                continue;
            }
            if relay.clerk.is_known(&errand.key) {
                refused.push(errand.waiter); // the answer came between the look into the cache and now
                continue;
            }
            if state.open.len() >= self.server.max_in_flight() {
                self.server.counters().at_limit.bump();
                refused.push(errand.waiter);
                continue;
            }
            match open(&manner, &state, &socket, errand, now) {
                Ok((id, key, open)) => {
                    queries.push(open.sent.bytes.clone());
                    state.by_key.insert(key, (socket.token, id));
                    state.open.insert((socket.token, id), open);
                    state.order.push_back((now, socket.token, id));
                }
                Err(waiter) => refused.push(waiter),
            }
        }
        let sent = queries.len();
        drop(state); // replies may come while the rest is being sent
        send_all(&socket.socket, &queries);
        (0..sent).for_each(|_| self.server.counters().queries.bump());
        refused
    }

    /// A fresh socket for a few questions; for many the one of the pool that has its turn.
    fn socket(
        self: &Arc<Self>,
        relay: &Relay<T>,
        state: &mut State<T>,
        questions: usize,
        now: Instant,
    ) -> Option<Arc<Socket<T>>>
    where
        T: Send + 'static,
    {
        if questions <= FEW && state.resting.iter().filter(|socket| socket.fresh).count() < FRESH {
            let socket = transport::connected(self.server.address().addr).ok()?;
            let socket = relay.open(self, socket, true, now).ok()?;
            state.resting.push(socket.clone());
            return Some(socket);
        }
        // One socket for some time, so that replies come together and are taken together.
        if now >= state.turn + TURN {
            (state.turn, state.next) = (now, (state.next + 1) % POOL);
        }
        state.next = state.next.min(state.pool.len()); // the pool is filling up
        if let Some(socket) = state.pool.get(state.next).filter(|socket| now < socket.born + SERVICE) {
            return Some(socket.clone());
        }
        let socket = transport::connected(self.server.address().addr).ok()?;
        let socket = relay.open(self, socket, false, now).ok()?;
        let place = state.next;
        match state.pool.get_mut(place) {
            Some(old) => {
                let old = std::mem::replace(old, socket.clone());
                state.resting.push(old);
            }
            None => state.pool.push(socket.clone()),
        }
        Some(socket)
    }

    /// Says what a datagram is, and takes its question out.
    pub(super) fn arrived(&self, socket: &Socket<T>, reply: &[u8], now: Instant) -> Arrival<T> {
        let Some(id) = reply.first_chunk::<2>().map(|id| u16::from_be_bytes(*id)) else {
            self.server.counters().mismatches.bump();
            return Arrival::Stranger;
        };
        let place = (socket.token, id);
        let mut state = lock(&self.state);
        let Some(open) = state.open.get(&place).filter(|open| open.sent.is_answered_by(reply)) else {
            drop(state);
            self.server.counters().mismatches.bump();
            return Arrival::Stranger;
        };
        // cut, or without the cookie that a server known to send one would send
        let odd = reply[2] & 0x02 != 0 || !open.sent.cookie_agrees(reply, open.expects_cookie);
        let (late, waited) = (open.waiters.is_empty(), now.saturating_duration_since(open.at));
        let open = state.open.remove(&place);
        if let Some(open) = open.as_ref().filter(|_| late || odd) {
            state.by_key.remove(&open.key);
        }
        drop(state);
        self.server.replied_in(waited, matches!(reply[3] & 0x0f, 0 | 3));
        match open {
            Some(_) if late => Arrival::Late,
            Some(open) if odd => Arrival::Odd(open.waiters),
            Some(open) => Arrival::Answer(open),
            None => Arrival::Late,
        }
    }

    /// An answer has been read: who joined meanwhile.
    pub(super) fn forget(&self, key: &CacheKey) -> Vec<T> {
        let mut state = lock(&self.state);
        state.by_key.remove(key);
        if state.joined.is_empty() {
            return Vec::new();
        }
        state.joined.extract_if(.., |(joined, _)| joined == key).map(|(_, waiter)| waiter).collect()
    }

    /// Leaves a fresh socket that has no open question any more; true if it did.
    pub(super) fn is_done_with(&self, socket: &Socket<T>) -> bool {
        let mut state = lock(&self.state);
        let done = socket.fresh && !state.open.keys().any(|(token, _)| *token == socket.token);
        if done {
            state.resting.retain(|other| other.token != socket.token);
        }
        done
    }

    /// Leaves a socket whose port somebody may know; those who wait on it.
    pub(super) fn abandon(&self, socket: &Socket<T>) -> Vec<T> {
        let mut state = lock(&self.state);
        state.pool.retain(|other| other.token != socket.token);
        state.resting.retain(|other| other.token != socket.token);
        let places: Vec<_> = state.open.keys().filter(|(token, _)| *token == socket.token).copied().collect();
        let mut waiters = Vec::new();
        for place in places {
            if let Some(open) = state.open.remove(&place) {
                state.by_key.remove(&open.key);
                waiters.extend(open.waiters);
            }
        }
        tracing::debug!(server = %self.server.address(), waiting = waiters.len(), "a socket was given up");
        waiters
    }

    /// Those who waited for longer than a reply usually takes; sockets that are not listened to any more.
    pub(super) fn look_after(&self, now: Instant) -> (Vec<T>, Vec<u64>) {
        let patience = hedge_delay(self.server.rtt());
        let mut overdue = Vec::new();
        let mut state = lock(&self.state);
        while let Some(&(at, token, id)) = state.order.front() {
            if now < at + patience {
                break;
            }
            state.order.pop_front();
            if let Some(open) = state.open.get_mut(&(token, id)).filter(|open| open.at == at) {
                // it stays open, so that a late reply is no stranger
                overdue.append(&mut open.waiters);
                self.server.missed_since(at);
            }
        }
        let dead = |socket: &Socket<T>| now >= socket.born + SERVICE + REST;
        let closed: Vec<u64> =
            state.resting.iter().chain(&state.pool).filter(|s| dead(s)).map(|s| s.token).collect();
        if !closed.is_empty() {
            state.resting.retain(|socket| !dead(socket));
            state.pool.retain(|socket| !dead(socket));
            state.open.retain(|(token, _), _| !closed.contains(token));
            let State { by_key, open, .. } = &mut *state;
            by_key.retain(|_, place| open.contains_key(place));
        }
        let forgotten: Vec<_> = state
            .open
            .iter()
            .filter(|(_, o)| o.waiters.is_empty() && now >= o.at + REST)
            .map(|(p, _)| *p)
            .collect();
        for place in forgotten {
            if let Some(open) = state.open.remove(&place) {
                state.by_key.remove(&open.key);
            }
        }
        (overdue, closed)
    }
}

/// Sends as many as the kernel takes; what it does not is given up when it is overdue.
fn send_all(socket: &UdpSocket, queries: &[Vec<u8>]) {
    let nobody = [const { None }; BATCH]; // the socket is connected
    let mut refused_before = false;
    for mut chunk in queries.chunks(BATCH) {
        while !chunk.is_empty() {
            let slices: Vec<[IoSlice<'_>; 1]> = chunk.iter().map(|query| [IoSlice::new(query)]).collect();
            let done = HEADERS.with_borrow_mut(|headers| {
                let flags = MsgFlags::MSG_DONTWAIT;
                let peers = &nobody[..slices.len()];
                sendmmsg(socket.as_raw_fd(), headers, slices.iter(), peers, [], flags).map(Iterator::count)
            });
            match done {
                Ok(done) => chunk = &chunk[done.max(1)..],
                // The port is closed, says an ICMP error to an earlier datagram. Sending has taken it from the
                // thread, which gives up at once what is open here: it has to be provoked again.
                Err(Errno::ECONNREFUSED) if !refused_before => refused_before = true,
                Err(_) => return,
            }
        }
    }
}

/// A question with an id that is free on its socket.
fn open<T>(
    manner: &Manner,
    state: &State<T>,
    socket: &Socket<T>,
    errand: Errand<T>,
    now: Instant,
) -> Result<(u16, CacheKey, Open<T>), T> {
    let mut id = [0; 2];
    for _ in 0..8 {
        let Ok(drawn) = random::bytes::<2>() else { return Err(errand.waiter) };
        id = drawn;
        if !state.open.contains_key(&(socket.token, u16::from_be_bytes(id))) {
            break;
        }
    }
    let number = u16::from_be_bytes(id);
    let Ok(case) = random::bytes() else { return Err(errand.waiter) };
    if state.open.contains_key(&(socket.token, number)) {
        return Err(errand.waiter);
    }
    let sent = Sent::of_wire(errand.name.wire(), errand.rtype, errand.flags, manner, &Chance { id, case });
    let open = Open {
        key: errand.key.clone(),
        sent,
        waiters: vec![errand.waiter],
        at: now,
        expects_cookie: manner.expects_cookie(),
    };
    Ok((number, errand.key, open))
}

/// Where replies are received.
pub(super) struct Inbox {
    headers: MultiHeaders<SockaddrIn>,
    buffers: Vec<Vec<u8>>,
    failed: bool,
}

impl Inbox {
    pub(super) fn new(batch: usize) -> Self {
        let buffers = vec![vec![0; LONGEST_REPLY]; batch];
        Self { headers: MultiHeaders::preallocate(batch, None), buffers, failed: false }
    }

    /// Hands over the datagrams that are there.
    pub(super) fn receive(&mut self, socket: &UdpSocket, mut take: impl FnMut(&[u8])) {
        self.failed = false;
        let mut slices: Vec<[IoSliceMut<'_>; 1]> =
            self.buffers.iter_mut().map(|b| [IoSliceMut::new(b)]).collect();
        match recvmmsg(socket.as_raw_fd(), &mut self.headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None)
        {
            Ok(messages) => {
                for message in messages {
                    take(message.iovs().next().unwrap_or(&[]));
                }
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(_) => self.failed = true, // an ICMP error: nobody listens there
        }
    }

    /// True when the last call met an error of the network.
    pub(super) fn failed(&self) -> bool {
        self.failed
    }
}
