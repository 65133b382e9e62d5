//! The relay: the cheap way to ask, for questions that go as questions usually go.
//!
//! A healthy server is asked over a small pool of connected sockets, many questions with one system call; one
//! thread waits for the replies, as many with one call. There is no task, timer or socket per question.
//! Whatever goes otherwise than usual (silence for longer than the hedge delay, a cut answer, a failing code, a
//! missing cookie, anything that looks forged) is given up here and goes the long way, through
//! [`Group::exchange`](super::Group::exchange), from the start. So the relay needs to know one case only.
//!
//! A few questions at a time get a fresh socket, closed with their replies. Under load they share a small pool.
//! For a blind forger a pooled socket is as good as a fresh one: a question has one random port out of 64,000
//! and one random id out of 65,536, besides its case and cookie, and a datagram is held against the questions of
//! its own socket only. What a pool adds is that a port lives longer; so a socket serves for a few seconds at
//! most, and is given up at the first signs of guessing, its open questions moving to fresh ports.

mod road;

use super::server::Server;
use super::wire::Verdict;
use crate::engine::cache::{CacheKey, QueryFlags};
use crate::engine::name::NameKey;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use road::{Arrival, Road, Socket};
use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Datagrams of one batch.
const BATCH: usize = 64;

/// How often open questions are looked at while there are any.
const TICK: Duration = Duration::from_millis(10);

/// How long the thread goes on ticking when nothing is open, before it sleeps until it is woken: waking costs a
/// system call for each question.
const LINGER: Duration = Duration::from_millis(500);

/// The token of the descriptor that wakes the thread.
const WAKE: u64 = 0;

/// A question for a server, and who waits for its answer.
#[derive(Debug)]
pub struct Errand<T> {
    /// What the answer is cached under: one question at a time is asked for each.
    pub key: CacheKey,
    /// The name.
    pub name: NameKey,
    /// The type.
    pub rtype: RecordType,
    /// DO and CD.
    pub flags: QueryFlags,
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

/// Who is told what became of questions. Called on the relay's thread.
pub trait Clerk<T>: Send + Sync {
    /// An answer that can be used as it is, without being read by the message library. False sends it that way.
    fn take(&self, key: &CacheKey, reply: Replied<'_>, waiters: &mut Vec<T>) -> bool;

    /// The answer has come meanwhile; asked when a question is about to be sent.
    fn is_known(&self, key: &CacheKey) -> bool;

    /// The question has to go the long way for this waiter.
    fn give_up(&self, waiter: T);

    /// All replies that came together have been taken.
    fn flush(&self);
}

/// Asks servers for those who do not want to wait. See the head of this file.
pub struct Relay<T> {
    epoll: Epoll,
    wake: EventFd,
    /// The thread sleeps until it is woken.
    asleep: AtomicBool,
    tokens: AtomicU64,
    sockets: Mutex<HashMap<u64, Arc<Socket<T>>>>,
    roads: Mutex<Vec<Arc<Road<T>>>>,
    clerk: Box<dyn Clerk<T>>,
}

impl<T: Send + 'static> Relay<T> {
    /// A relay with its thread, which runs for the life of the process.
    ///
    /// # Errors
    /// The thread or its descriptors cannot be had.
    pub fn start(clerk: impl Clerk<T> + 'static) -> io::Result<Arc<Self>> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let wake = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        epoll.add(&wake, EpollEvent::new(EpollFlags::EPOLLIN, WAKE))?;
        let relay = Arc::new(Self {
            epoll,
            wake,
            asleep: AtomicBool::new(false),
            tokens: AtomicU64::new(WAKE + 1),
            sockets: Mutex::default(),
            roads: Mutex::default(),
            clerk: Box::new(clerk),
        });
        let running = relay.clone();
        let runtime = tokio::runtime::Handle::current();
        std::thread::Builder::new().name("relay".into()).spawn(move || {
            let _within = runtime.enter();
            running.run();
        })?;
        Ok(relay)
    }

    /// Asks a server many questions. What cannot be asked this way comes back, to go the long way.
    pub fn ask(&self, server: &Arc<Server>, errands: Vec<Errand<T>>) -> Vec<T> {
        self.ask_at(server, errands, Instant::now())
    }

    /// [`Self::ask`] at a given time.
    fn ask_at(&self, server: &Arc<Server>, errands: Vec<Errand<T>>, now: Instant) -> Vec<T> {
        let refused = self.road(server).send(self, errands, now);
        if self.asleep.swap(false, Ordering::SeqCst) {
            let _ = self.wake.write(1); // full only when it is being woken anyway
        }
        refused
    }

    /// The road to a server.
    fn road(&self, server: &Arc<Server>) -> Arc<Road<T>> {
        let mut roads = lock(&self.roads);
        if let Some(road) = roads.iter().find(|road| road.leads_to(server)) {
            return road.clone();
        }
        let road = Arc::new(Road::new(server.clone()));
        roads.push(road.clone());
        road
    }

    /// Begins to listen on a socket.
    fn open(
        &self,
        road: &Arc<Road<T>>,
        socket: std::net::UdpSocket,
        fresh: bool,
        now: Instant,
    ) -> io::Result<Arc<Socket<T>>> {
        let token = self.tokens.fetch_add(1, Ordering::Relaxed);
        let socket = Arc::new(Socket::new(token, socket, Arc::downgrade(road), fresh, now));
        self.epoll.add(&socket.socket, EpollEvent::new(EpollFlags::EPOLLIN, token))?;
        lock(&self.sockets).insert(token, socket.clone());
        Ok(socket)
    }

    /// Closes a socket: with the last reference to it, the kernel forgets it.
    fn close(&self, token: u64) {
        lock(&self.sockets).remove(&token);
    }

    /// The thread: replies, and questions that took too long.
    fn run(&self) {
        let mut events = [EpollEvent::empty(); 32];
        let mut inbox = road::Inbox::new(BATCH);
        let mut busy = Instant::now();
        loop {
            let open = lock(&self.roads).iter().any(|road| road.is_open());
            let now = Instant::now();
            let timeout = if open || now < busy + LINGER {
                if open {
                    busy = now;
                }
                EpollTimeout::try_from(TICK).unwrap_or(EpollTimeout::ZERO)
            } else {
                self.asleep.store(true, Ordering::SeqCst);
                // a question may have come between the look and the store
                if lock(&self.roads).iter().any(|road| road.is_open()) {
                    EpollTimeout::ZERO
                } else {
                    EpollTimeout::NONE
                }
            };
            let count = self.epoll.wait(&mut events, timeout).unwrap_or(0); // EINTR
            self.asleep.store(false, Ordering::SeqCst);
            // The hook for panics has told of one; here it costs this turn, not the thread.
            let _ = catch_unwind(AssertUnwindSafe(|| self.turn(&events[..count], &mut inbox)));
        }
    }

    /// One turn of the thread.
    fn turn(&self, events: &[EpollEvent], inbox: &mut road::Inbox) {
        let clerk = &*self.clerk;
        for event in events {
            if event.data() == WAKE {
                let _ = self.wake.read();
                continue;
            }
            let socket = lock(&self.sockets).get(&event.data()).cloned();
            if let Some(socket) = socket {
                self.listen(&socket, inbox, clerk);
            }
        }
        clerk.flush();
        self.look_after(clerk);
    }

    /// Takes the replies that a socket has.
    fn listen(&self, socket: &Arc<Socket<T>>, inbox: &mut road::Inbox, clerk: &dyn Clerk<T>) {
        let Some(road) = socket.road() else {
            self.close(socket.token);
            return;
        };
        let now = Instant::now();
        let mut suspicious = false;
        inbox.receive(&socket.socket, |reply| match road.arrived(socket, reply, now) {
            Arrival::Answer(mut open) => {
                if !answer(&mut open, reply, clerk) {
                    open.waiters.drain(..).for_each(|waiter| clerk.give_up(waiter));
                }
                // Who joined while the answer was read finds it in the cache.
                road.forget(&open.key).into_iter().for_each(|waiter| clerk.give_up(waiter));
            }
            Arrival::Odd(waiters) => waiters.into_iter().for_each(|waiter| clerk.give_up(waiter)),
            Arrival::Late => {}
            Arrival::Stranger => suspicious |= socket.is_suspicious(),
        });
        if suspicious || inbox.failed() {
            road.abandon(socket).into_iter().for_each(|waiter| clerk.give_up(waiter));
            self.close(socket.token);
        } else if road.is_done_with(socket) {
            self.close(socket.token);
        }
    }

    /// Gives up what took too long, and closes sockets that have served.
    fn look_after(&self, clerk: &dyn Clerk<T>) {
        let roads = lock(&self.roads).clone();
        let now = Instant::now();
        for road in &roads {
            let (overdue, closed) = road.look_after(now);
            overdue.into_iter().for_each(|waiter| clerk.give_up(waiter));
            closed.into_iter().for_each(|token| self.close(token));
        }
        // a server that no group has any more leaves with its road and its sockets
        for road in lock(&self.roads).extract_if(.., |road| road.is_orphaned()) {
            road.sockets().into_iter().for_each(|token| self.close(token));
        }
    }
}

/// Hands an answer over; false if it has to go the long way after all. A panic costs this answer only.
fn answer<T>(open: &mut road::Open<T>, reply: &[u8], clerk: &dyn Clerk<T>) -> bool {
    let taken = catch_unwind(AssertUnwindSafe(|| {
        let plain = reply[3] & 0x0f == 0;
        if plain && clerk.take(&open.key, Replied::Unread(reply, open.sent.question_end()), &mut open.waiters)
        {
            return true;
        }
        match open.sent.judge(reply.to_vec(), super::wire::Channel::Datagram) {
            Verdict::Answer(message, _) => {
                let usable = matches!(message.response_code, ResponseCode::NoError | ResponseCode::NXDomain);
                usable && clerk.take(&open.key, Replied::Read(message), &mut open.waiters)
            }
            _ => false,
        }
    }));
    taken.unwrap_or(false)
}

fn lock<V>(mutex: &Mutex<V>) -> MutexGuard<'_, V> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> std::fmt::Debug for Relay<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
