//! Taps of queries and answers: the query log and dnstap. Without taps the cost is the check of one flag.

use super::zone_stats::StatKey;
use crate::engine::catalog::View;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

/// The transport of a query.
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
    /// The destination address, if known.
    pub local: Option<SocketAddr>,
    /// The transport.
    pub transport: ClientTransport,
}

/// A message for taps.
#[derive(Debug)]
pub struct TapEvent<'s> {
    /// The client.
    pub caller: &'s Client,
    /// The wall clock time.
    pub at: SystemTime,
    /// The octets.
    pub message: &'s [u8],
    /// An answer; nothing for a query.
    pub answer: Option<Answered<'s>>,
}

/// Properties of an answer beside its octets.
#[derive(Debug)]
pub struct Answered<'s> {
    /// Its statistics key.
    pub mark: StatKey,
    /// It came from the packet cache.
    pub fast: bool,
    /// Its duration.
    pub took: Duration,
    /// The client's view.
    pub view: &'s View,
}

/// Receives messages. It must not wait: a slow tap loses messages.
pub trait TapSink: Send + Sync + std::fmt::Debug {
    /// Receives a message.
    fn see(&self, seen: &TapEvent<'_>);

    /// Number of lost messages.
    fn dropped(&self) -> u64;

    /// Its name in metrics.
    fn name(&self) -> &'static str;

    /// A reload: reopen files, for example after a log rotation.
    fn reopen(&self);

    /// The server stops: write pending messages.
    fn end(&self);
}

/// The watchers of a server.
#[derive(Debug, Default)]
pub struct QueryTap {
    on: AtomicBool,
    watchers: OnceLock<Vec<Box<dyn TapSink>>>,
}

impl QueryTap {
    /// Installs these taps; called once.
    pub fn admit(&self, watchers: Vec<Box<dyn TapSink>>) {
        let some = !watchers.is_empty();
        if self.watchers.set(watchers).is_ok() {
            self.on.store(some, Ordering::Release);
        }
    }

    /// True if there are taps.
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Acquire)
    }

    /// Passes a query to the taps.
    pub fn query(&self, caller: &Client, message: &[u8]) {
        self.show(&TapEvent { caller, at: SystemTime::now(), message, answer: None });
    }

    /// Passes an answer to the taps.
    pub fn answer(&self, caller: &Client, message: &[u8], answered: Answered<'_>) {
        self.show(&TapEvent { caller, at: SystemTime::now(), message, answer: Some(answered) });
    }

    /// The taps.
    pub fn watchers(&self) -> &[Box<dyn TapSink>] {
        self.watchers.get().map_or(&[], Vec::as_slice)
    }

    fn show(&self, seen: &TapEvent<'_>) {
        self.watchers().iter().for_each(|watcher| watcher.see(seen));
    }
}
