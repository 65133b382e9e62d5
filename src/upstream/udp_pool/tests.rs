//! The pool against servers on loopback that say what a test lets them say, and a handler that takes notes.
//!
//! Nothing here waits for long: questions are asked at a moment of the test's choice, far ahead where they
//! are not to be overdue, in the past where they are.

mod answers;
mod sockets;
mod trust;

use super::{InFlightKeys as List, OnReply, PoolQuery, PoolReply, ServerPool, UdpPool};
use crate::engine::cache::{CacheKey, QueryFlags};
use crate::engine::catalog::GroupKey;
use crate::engine::name::{NameKey, parse};
use crate::upstream::server::{Server, ServerCounts};
use crate::upstream::tests::fake::{Asked, answer_a};
use hickory_proto::op::Message;
use hickory_proto::rr::{RData, RecordType};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{PipeReader, PipeWriter};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a test waits for what should come at once.
const DEADLINE: Duration = Duration::from_secs(10);

/// No test takes so long that a question asked then becomes overdue.
const AHEAD: Duration = Duration::from_secs(600);

/// Longer than any hedge delay.
const AGO: Duration = Duration::from_millis(900);

/// What waiters are told. They have numbers.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    /// An answer as it came; the last octet of its address.
    Plain(u32, u8),
    /// An answer that had to be read; the last octet of its address, 0 without one.
    Read(u32, u8),
    /// The question takes the slow path.
    LongWay(u32),
}

/// Takes notes. What it does with an answer is in the name: see [`Notes::take`].
#[derive(Default)]
struct Notes(VecDeque<Told>);

impl OnReply<u32> for Notes {
    /// `odd.…` has to be read first, `panic.…` panics with the first waiter served.
    fn take(&mut self, key: &CacheKey, reply: PoolReply<'_>, waiters: &mut Vec<u32>, _: Instant) -> bool {
        let name = key.name().to_string();
        let begins = |with: &str| name.starts_with(with);
        if begins("odd.") && matches!(reply, PoolReply::Unread(..)) {
            return false;
        }
        let tell: Box<dyn Fn(u32) -> Told> = match reply {
            PoolReply::Unread(reply, question_end) => {
                assert!(question_end < reply.len(), "an answer has something behind its question");
                let last = reply[reply.len() - 1];
                Box::new(move |waiter| Told::Plain(waiter, last))
            }
            PoolReply::Read(message) => {
                let last = message.answers.first().map_or(0, |record| match &record.data {
                    RData::A(a) => a.octets()[3],
                    other => panic!("no address: {other:?}"),
                });
                Box::new(move |waiter| Told::Read(waiter, last))
            }
        };
        for waiter in waiters.drain(..) {
            self.0.push_back(tell(waiter));
            assert!(!begins("panic."), "as the name says");
        }
        true
    }

    fn give_up(&mut self, waiter: u32) {
        self.0.push_back(Told::LongWay(waiter));
    }
}

/// A pool, and what its handler noted.
struct World {
    pool: RefCell<UdpPool<u32>>,
    notes: RefCell<Notes>,
    /// Stands for the socket of the clients.
    own: (PipeReader, PipeWriter),
    /// The moment at which it asks: nothing is overdue.
    now: Instant,
}

impl World {
    fn new() -> Self {
        Self::beside(Arc::default())
    }

    /// One whose pool knows what others ask.
    fn beside(asked: Arc<List>) -> Self {
        let own = std::io::pipe().unwrap();
        let pool = RefCell::new(UdpPool::new(asked));
        Self { pool, notes: RefCell::default(), own, now: Instant::now() + AHEAD }
    }

    /// Asks for the addresses of names; the waiters that are refused.
    fn ask(&self, upstream: &Upstream, questions: &[(&str, u32)]) -> Vec<u32> {
        self.ask_at(upstream, questions, self.now)
    }

    fn ask_at(&self, upstream: &Upstream, questions: &[(&str, u32)], now: Instant) -> Vec<u32> {
        let mut queries = questions.iter().map(|&(name, waiter)| pool_query(name, waiter)).collect();
        self.pool.borrow_mut().ask(&upstream.server, &mut queries, &|_, _| false, now)
    }

    /// One turn; true when the clients' socket can be read.
    fn turn(&self) -> bool {
        self.pool.borrow_mut().turn(&self.own.0, &mut *self.notes.borrow_mut())
    }

    /// The next note.
    #[track_caller]
    fn told(&self) -> Told {
        let since = Instant::now();
        loop {
            if let Some(told) = self.notes.borrow_mut().0.pop_front() {
                return told;
            }
            assert!(since.elapsed() < DEADLINE, "the handler is told something");
            self.turn();
        }
    }

    /// The notes are these, in this order.
    #[track_caller]
    fn expect(&self, expected: impl IntoIterator<Item = Told>) {
        for expected in expected {
            assert_eq!(self.told(), expected);
        }
    }

    /// Takes everything that is there now, and looks after the rest; there is no other note then.
    #[track_caller]
    fn settle(&self) {
        self.turn();
        self.pool.borrow_mut().look_after(Instant::now(), &mut *self.notes.borrow_mut());
        assert_eq!(self.notes.borrow_mut().0.pop_front(), None, "no other query is told anything");
    }

    /// Sockets that are listened to.
    fn sockets(&self) -> usize {
        self.pool.borrow().server_pools.iter().map(ServerPool::sockets).sum()
    }
}

/// A question for the address of `name`.
fn pool_query(name: &str, waiter: u32) -> PoolQuery<u32> {
    let (name, flags) = (NameKey::of(&parse(name).unwrap()), QueryFlags::default());
    let key = CacheKey::new(GroupKey(0), &name, RecordType::A, flags);
    PoolQuery { key, waiter }
}

/// A server that speaks when the test says so, and what is known of it.
struct Upstream {
    socket: UdpSocket,
    server: Arc<Server>,
    count: AtomicU32,
}

impl Upstream {
    fn new() -> Self {
        Self::with_limit(1000)
    }

    /// A server that takes this many questions at a time.
    fn with_limit(max_in_flight: usize) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let server = Arc::new(Server::new(socket.local_addr().unwrap().into(), max_in_flight));
        Self { socket, server, count: AtomicU32::new(0) }
    }

    /// The next question.
    #[track_caller]
    fn hear(&self) -> Heard {
        let mut buffer = [0; 2048];
        let (length, from) = self.socket.recv_from(&mut buffer).expect("a question arrives");
        let message = Message::from_vec(&buffer[..length]).unwrap();
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        Heard { asked: Asked { message, over_tcp: false, number }, from }
    }

    /// Asked nothing more: on loopback, what was sent is there.
    #[track_caller]
    fn hears_nothing(&self) {
        self.socket.set_nonblocking(true).unwrap();
        let heard = self.socket.recv_from(&mut [0; 2048]);
        assert_eq!(heard.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        self.socket.set_nonblocking(false).unwrap();
    }

    fn say(&self, bytes: &[u8], to: &Heard) {
        self.socket.send_to(bytes, to.from).unwrap();
    }

    /// Answers with the address 192.0.2.`last`.
    fn answer(&self, heard: &Heard, last: u8) {
        self.say(&answer_a(&heard.asked, last).to_vec().unwrap(), heard);
    }

    fn counts(&self) -> ServerCounts {
        self.server.snapshot().counts
    }
}

/// A question as the server heard it.
struct Heard {
    asked: Asked,
    /// The port it came from.
    from: SocketAddr,
}
