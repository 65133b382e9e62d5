//! The pool: the cheap way to ask, for questions that go as questions usually go.
//!
//! A thread that serves clients has a pool of its own. It asks a healthy server over a small pool of connected
//! sockets, many questions with one system call, and while questions are open it waits for replies and for its
//! clients alike; so a question crosses no thread and needs no task, timer, lock or socket of its own.
//! Whatever goes otherwise than usual (silence for longer than the hedge delay, a cut answer, a failing code, a
//! missing cookie, anything that looks forged) is given up here and takes the slow path, through
//! [`Group::exchange`](super::Group::exchange), from the start. So the pool needs to know one case only.
//!
//! A few questions now and then get a fresh socket, closed with their replies. Under load they share a small pool.
//! For a blind forger a pooled socket is as good as a fresh one: a question has one random port out of 64,000
//! and one random id out of 65,536, besides its case and cookie, and a datagram is held against the questions of
//! its own socket only. What a pool adds is that a port lives longer; so a socket serves for a few seconds at
//! most, and is given up at the first signs of guessing, its open questions moving to fresh ports.

mod busy_poll;
mod in_flight_keys;
mod server_pool;
mod socket;

use super::server::Server;
use crate::engine::cache::CacheKey;
use hickory_proto::op::Message;
pub use in_flight_keys::InFlightKeys;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use server_pool::ServerPool;
use socket::ReceiveBuffer;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Datagrams of one batch.
const BATCH: usize = 64;

/// How often open questions are looked at while there are any.
const TICK: Duration = Duration::from_millis(10);

/// A question for a server, and who waits for its answer.
#[derive(Debug)]
pub struct PoolQuery<T> {
    /// The cache key of the answer, which identifies the query: one query in flight for each.
    pub key: CacheKey,
    /// Who waits.
    pub waiter: T,
}

/// A reply that matches its question in everything.
#[derive(Debug)]
pub enum PoolReply<'r> {
    /// NOERROR, whole, not read yet: the message, and where its question ends.
    Unread(&'r [u8], usize),
    /// NOERROR or NXDOMAIN.
    Read(Box<Message>),
}

/// Who is told what became of questions.
pub trait OnReply<T> {
    /// An answer that can be used as it is, without being read by the message library. False sends it that way.
    /// It came at `now`.
    fn take(&mut self, key: &CacheKey, reply: PoolReply<'_>, waiters: &mut Vec<T>, now: Instant) -> bool;

    /// The question has to take the slow path for this waiter.
    fn give_up(&mut self, waiter: T);
}

/// Asks servers for those who do not want to wait. See the head of this file.
pub struct UdpPool<T> {
    /// What all pools ask.
    asked: Arc<InFlightKeys>,
    server_pools: Vec<ServerPool<T>>,
    inbox: ReceiveBuffer,
    /// When what is open was last looked at.
    looked: Instant,
}

impl<T> UdpPool<T> {
    /// A pool that asks nothing that another one asks.
    pub fn new(asked: Arc<InFlightKeys>) -> Self {
        Self { asked, server_pools: Vec::new(), inbox: ReceiveBuffer::new(), looked: Instant::now() }
    }

    /// True while questions are open: [`Self::turn`] must be called.
    pub fn is_open(&self) -> bool {
        self.server_pools.iter().any(ServerPool::is_open)
    }

    /// Asks a server many questions, all of `queries`. What cannot be asked this way comes back, to take the slow path.
    ///
    /// `known` is looked at once a question is this pool's to ask: another thread may ask it, or have brought the
    /// answer, since the caller looked for it. Such a question comes back too.
    pub fn ask(
        &mut self,
        server: &Arc<Server>,
        queries: &mut Vec<PoolQuery<T>>,
        known: &impl Fn(&CacheKey, &T) -> bool,
        now: Instant,
    ) -> Vec<T> {
        let place =
            self.server_pools.iter().position(|server_pool| server_pool.leads_to(server)).unwrap_or_else(
                || {
                    self.server_pools.push(ServerPool::new(server, self.asked.clone()));
                    self.server_pools.len() - 1
                },
            );
        self.server_pools[place].send(server, queries, known, now)
    }

    /// Waits until there is something to do, not for long, and takes the replies that are there. True when `own`, a
    /// descriptor of the caller's, can be read.
    ///
    /// The kernel is told anew each time which sockets have open questions. They are few, most often one; to keep a
    /// list of them with it (epoll) costs more system calls than it saves.
    pub fn turn(&mut self, own: &impl AsFd, handler: &mut impl OnReply<T>) -> bool {
        self.step(Some(own.as_fd()), handler)
    }

    /// As [`Self::turn`], for replies alone: a caller that receives nothing more must not be woken by what it could
    /// receive.
    pub fn turn_for_replies(&mut self, handler: &mut impl OnReply<T>) {
        self.step(None, handler);
    }

    /// True while clients wait for open questions. Without, [`Self::is_open`] may be true for some seconds: late
    /// replies are expected.
    pub fn has_waiters(&self) -> bool {
        self.server_pools.iter().any(ServerPool::has_waiters)
    }

    fn step(&mut self, own: Option<BorrowedFd<'_>>, handler: &mut impl OnReply<T>) -> bool {
        let (own, sockets) = self.wait(own);
        let now = Instant::now();
        for (server_pool, socket) in sockets {
            self.server_pools[server_pool].listen(socket, &mut self.inbox, now, handler);
        }
        if now >= self.looked + TICK {
            self.look_after(now, handler);
        }
        own
    }

    /// Waits; whether `own` can be read, and which sockets: the place of their pool, and their number there.
    fn wait(&mut self, own: Option<BorrowedFd<'_>>) -> (bool, Vec<(usize, u32)>) {
        let mut waits = Vec::with_capacity(4);
        waits.extend(own.map(|own| PollFd::new(own, PollFlags::POLLIN)));
        let mut sockets = Vec::new();
        for (place, server_pool) in self.server_pools.iter().enumerate() {
            for (number, socket) in server_pool.awaited() {
                waits.push(PollFd::new(socket, PollFlags::POLLIN));
                sockets.push((place, number));
            }
        }
        let lone =
            if let ([(server_pool, _)], Some(_)) = (&sockets[..], own) { Some(*server_pool) } else { None };
        let mut busy_poll = lone.map(|server_pool| self.server_pools[server_pool].busy_poll);
        let tick = PollTimeout::try_from(TICK).unwrap_or(PollTimeout::ZERO);
        let woken = busy_poll.as_mut().is_some_and(|busy_poll| busy_poll.look(&mut waits))
            || poll(&mut waits, tick).is_ok_and(|ready| ready > 0); // EINTR
        let mut ready = waits.iter().map(|one| woken && one.any().unwrap_or(true));
        let own = own.is_some() && ready.next() == Some(true);
        sockets.retain(|_| ready.next() == Some(true));
        if let (Some(server_pool), Some(busy_poll)) = (lone, busy_poll) {
            self.server_pools[server_pool].busy_poll = busy_poll;
        }
        (own, sockets)
    }

    /// Gives up what took too long, and closes sockets that have served.
    fn look_after(&mut self, now: Instant, handler: &mut impl OnReply<T>) {
        self.looked = now;
        for server_pool in &mut self.server_pools {
            server_pool.look_after(now).into_iter().for_each(|waiter| handler.give_up(waiter));
        }
        // a server that no group has any more leaves with its pool and its sockets
        self.server_pools.retain(|server_pool| !server_pool.is_orphaned());
    }
}

impl<T> std::fmt::Debug for UdpPool<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UdpPool").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
