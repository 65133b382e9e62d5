//! Taps of queries and answers: the query log and dnstap. Mostly there is none; then it costs the look at one
//! flag.

use super::zone_stats::StatKey;
use crate::engine::catalog::View;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

/// What carries a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientTransport {
    /// A datagram.
    Udp,
    /// A message in a stream.
    Tcp,
}

/// The client and the transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The client.
    pub peer: SocketAddr,
    /// The address that was asked, as far as it is known.
    pub local: Option<SocketAddr>,
    /// What carried the query.
    pub transport: ClientTransport,
}

/// A message as it passes.
#[derive(Debug)]
pub struct TapEvent<'s> {
    /// The client.
    pub caller: &'s Client,
    /// The moment by the wall clock.
    pub at: SystemTime,
    /// The octets.
    pub message: &'s [u8],
    /// An answer; nothing for a query.
    pub answer: Option<Answered<'s>>,
}

/// What is known of an answer beside its octets.
#[derive(Debug)]
pub struct Answered<'s> {
    /// What it is counted for.
    pub mark: StatKey,
    /// It came from the packet cache.
    pub fast: bool,
    /// How long it took.
    pub took: Duration,
    /// What the client sees.
    pub view: &'s View,
}

/// Is shown messages. It must not wait: whoever is slower than the server misses some.
pub trait TapSink: Send + Sync + std::fmt::Debug {
    /// Looks at a message.
    fn see(&self, seen: &TapEvent<'_>);

    /// Messages that were missed so far.
    fn dropped(&self) -> u64;

    /// What it is called in metrics.
    fn name(&self) -> &'static str;

    /// A reload: begin anew, such as with a file that was moved away.
    fn reopen(&self);

    /// The server ends: write out what there is.
    fn end(&self);
}

/// The watchers of a server.
#[derive(Debug, Default)]
pub struct QueryTap {
    on: AtomicBool,
    watchers: OnceLock<Vec<Box<dyn TapSink>>>,
}

impl QueryTap {
    /// Lets these watch from now on; once.
    pub fn admit(&self, watchers: Vec<Box<dyn TapSink>>) {
        let some = !watchers.is_empty();
        if self.watchers.set(watchers).is_ok() {
            self.on.store(some, Ordering::Release);
        }
    }

    /// True when anybody watches.
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Acquire)
    }

    /// Shows a query.
    pub fn query(&self, caller: &Client, message: &[u8]) {
        self.show(&TapEvent { caller, at: SystemTime::now(), message, answer: None });
    }

    /// Shows an answer.
    pub fn answer(&self, caller: &Client, message: &[u8], answered: Answered<'_>) {
        self.show(&TapEvent { caller, at: SystemTime::now(), message, answer: Some(answered) });
    }

    /// Those who watch.
    pub fn watchers(&self) -> &[Box<dyn TapSink>] {
        self.watchers.get().map_or(&[], Vec::as_slice)
    }

    fn show(&self, seen: &TapEvent<'_>) {
        self.watchers().iter().for_each(|watcher| watcher.see(seen));
    }
}
