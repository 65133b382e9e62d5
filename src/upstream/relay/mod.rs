//! The relay: the cheap way to ask, for questions that go as questions usually go.
//!
//! A thread that serves clients has a relay of its own. It asks a healthy server over a small pool of connected
//! sockets, many questions with one system call, and while questions are open it waits for replies and for its
//! clients alike; so a question crosses no thread and needs no task, timer, lock or socket of its own.
//! Whatever goes otherwise than usual (silence for longer than the hedge delay, a cut answer, a failing code, a
//! missing cookie, anything that looks forged) is given up here and goes the long way, through
//! [`Group::exchange`](super::Group::exchange), from the start. So the relay needs to know one case only.
//!
//! A few questions now and then get a fresh socket, closed with their replies. Under load they share a small pool.
//! For a blind forger a pooled socket is as good as a fresh one: a question has one random port out of 64,000
//! and one random id out of 65,536, besides its case and cookie, and a datagram is held against the questions of
//! its own socket only. What a pool adds is that a port lives longer; so a socket serves for a few seconds at
//! most, and is given up at the first signs of guessing, its open questions moving to fresh ports.

mod asked;
mod road;
mod socket;

use super::server::Server;
use crate::engine::cache::CacheKey;
pub use asked::Asked;
use hickory_proto::op::Message;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollTimeout};
use road::Road;
use socket::Inbox;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Datagrams of one batch.
const BATCH: usize = 64;

/// How often open questions are looked at while there are any.
const TICK: Duration = Duration::from_millis(10);

/// A question for a server, and who waits for its answer.
#[derive(Debug)]
pub struct Errand<T> {
    /// What the answer is cached under, and thereby what is asked: one question at a time for each.
    pub key: CacheKey,
    /// Who waits.
    pub waiter: T,
}

/// A reply that matches its question in everything.
#[derive(Debug)]
pub enum Replied<'r> {
    /// NOERROR, whole, not read yet: the message, and where its question ends.
    Unread(&'r [u8], usize),
    /// NOERROR or NXDOMAIN.
    Read(Box<Message>),
}

/// Who is told what became of questions.
pub trait Clerk<T> {
    /// An answer that can be used as it is, without being read by the message library. False sends it that way.
    fn take(&mut self, key: &CacheKey, reply: Replied<'_>, waiters: &mut Vec<T>) -> bool;

    /// The question has to go the long way for this waiter.
    fn give_up(&mut self, waiter: T);
}

/// What a relay waits for replies with. Apart from the relay, because that belongs to one thread, and this may fail
/// before the thread is there.
///
/// # Errors
/// The kernel has no descriptors left.
pub fn watch() -> io::Result<Epoll> {
    Ok(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?)
}

/// Asks servers for those who do not want to wait. See the head of this file.
pub struct Relay<T> {
    epoll: Epoll,
    /// What all relays ask.
    asked: Arc<Asked>,
    /// In the order of their numbers.
    roads: Vec<Road<T>>,
    /// The number of the next road.
    number: u32,
    inbox: Inbox,
    /// When what is open was last looked at.
    looked: Instant,
}

impl<T> Relay<T> {
    /// A relay that waits for replies with a [`watch`] and asks nothing that another one asks.
    pub fn new(epoll: Epoll, asked: Arc<Asked>) -> Self {
        Self { epoll, asked, roads: Vec::new(), number: 0, inbox: Inbox::new(), looked: Instant::now() }
    }

    /// True while questions are open: [`Self::turn`] must be called.
    pub fn is_open(&self) -> bool {
        self.roads.iter().any(Road::is_open)
    }

    /// Asks a server many questions, all of `errands`. What cannot be asked this way comes back, to go the long way.
    ///
    /// `known` is looked at once a question is this relay's to ask: somebody else may ask it, or have brought the
    /// answer, since the caller looked for it. Such a question comes back too.
    pub fn ask(
        &mut self,
        server: &Arc<Server>,
        errands: &mut Vec<Errand<T>>,
        known: &impl Fn(&CacheKey) -> bool,
        now: Instant,
    ) -> Vec<T> {
        let place = self.roads.iter().position(|road| road.leads_to(server)).unwrap_or_else(|| {
            self.roads.push(Road::new(self.number, server, self.asked.clone()));
            self.number += 1;
            self.roads.len() - 1
        });
        self.roads[place].send(server, &self.epoll, errands, known, now)
    }

    /// Waits until there is something to do, not for long, and takes the replies that are there. True when `own`, a
    /// descriptor of the caller's, can be read.
    ///
    /// `own` is no part of the epoll: the kernel would tell that of each datagram that comes while nobody waits.
    pub fn turn(&mut self, own: &impl AsFd, clerk: &mut impl Clerk<T>) -> bool {
        let mut waits = [
            PollFd::new(own.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.epoll.0.as_fd(), PollFlags::POLLIN),
        ];
        let tick = PollTimeout::try_from(TICK).unwrap_or(PollTimeout::ZERO);
        let ready = poll(&mut waits, tick).is_ok_and(|ready| ready > 0); // EINTR
        let [own, replies] = waits.map(|one| ready && one.any().unwrap_or(true));
        let now = Instant::now();
        if replies {
            let mut events = [EpollEvent::empty(); 32];
            let count = self.epoll.wait(&mut events, EpollTimeout::ZERO).unwrap_or(0);
            for event in &events[..count] {
                self.listen(event.data(), now, clerk);
            }
        }
        if now >= self.looked + TICK {
            self.look_after(now, clerk);
        }
        own
    }

    /// Takes the replies that a socket has. Its token is the number of its road, and its own there.
    fn listen(&mut self, token: u64, now: Instant, clerk: &mut impl Clerk<T>) {
        let (road, socket) = ((token >> 32) as u32, token as u32);
        if let Ok(place) = self.roads.binary_search_by_key(&road, Road::number) {
            self.roads[place].listen(socket, &mut self.inbox, now, clerk);
        }
    }

    /// Gives up what took too long, and closes sockets that have served.
    fn look_after(&mut self, now: Instant, clerk: &mut impl Clerk<T>) {
        self.looked = now;
        for road in &mut self.roads {
            road.look_after(now).into_iter().for_each(|waiter| clerk.give_up(waiter));
        }
        // a server that no group has any more leaves with its road and its sockets
        self.roads.retain(|road| !road.is_orphaned());
    }
}

impl<T> std::fmt::Debug for Relay<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
