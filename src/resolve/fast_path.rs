//! Where packets are taken: the fast path looks the answer up and writes it; what it does not know goes through
//! [`query::answer_now`]. What comes of it is counted here, and shown to who watches.

use super::bound;
use super::query;
use super::query::{Immediate, PendingQuery, Received};
use crate::base::clock::instant;
use crate::engine::cache::Timestamp;
use crate::engine::cached_packet::{PacketKey, PlainQuery};
use crate::engine::{plain_answer, reply};
use crate::resolve::rrl::Verdict;
use crate::resolve::shared::{ActiveConfig, SharedState};
use crate::stats::counters::{QueryOrigin, ThreadCounters};
use crate::stats::recent::OfferedAnswer;
use crate::stats::tap::{Answered, Client, ClientTransport};
use crate::stats::zone_stats::StatKey;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The context of a batch of packets: one configuration, one time.
#[derive(Debug)]
pub struct FastPath<'l> {
    live: &'l Arc<SharedState>,
    tally: &'l ThreadCounters,
    transport: ClientTransport,
    published: Arc<ActiveConfig>,
    begun: Instant,
    now: Timestamp,
    key: PacketKey,
    /// The last client and its view, because packets of one client arrive together; no view if it is not allowed.
    last: Option<(IpAddr, Option<u32>, QueryOrigin)>,
    /// The packet cache was searched for the last packet, so that the slow path need not repeat it.
    looked: bool,
    /// A tap is open.
    watched: bool,
    /// The sampling weight of this batch in the top lists; usually 0.
    weight: u32,
    /// Answers are passed on: a tap is open, or the top lists sample them.
    shown: bool,
    /// A reader of the live log has a filter: answers that are not from the packet cache are passed on in any case.
    filtered: bool,
    /// Answers of this batch, and the number of packet cache hits.
    answered: (u64, u64),
}

/// The result for a packet.
#[derive(Debug)]
pub enum Served {
    /// Its answer was written.
    Answered,
    /// No answer.
    Dropped,
    /// Its answer has to wait for an upstream.
    Waits(Box<PendingQuery>),
}

impl<'l> FastPath<'l> {
    /// The fast path as it is now. What it answers is counted in `tally`.
    pub fn new(live: &'l Arc<SharedState>, tally: &'l ThreadCounters, transport: ClientTransport) -> Self {
        let begun = instant();
        let now = live.clock.at(begun);
        let (weight, filtered) = match live.top.is_on() {
            true => (tally.sampler.weight(now), live.top.recent.is_filtered(now)),
            false => (0, false),
        };
        let watched = live.watch.is_on();
        Self {
            live,
            tally,
            transport,
            published: live.published(),
            begun,
            now,
            key: PacketKey::default(),
            last: None,
            looked: false,
            watched,
            weight,
            shown: watched || weight > 0,
            filtered,
            answered: (0, 0),
        }
    }

    /// Handles a packet; appends an immediate answer to `out`. `local` is the destination address, if the socket has
    /// several. Must be called within a tokio runtime.
    pub fn serve(
        &mut self,
        packet: &[u8],
        peer: SocketAddr,
        local: Option<IpAddr>,
        out: &mut Vec<u8>,
    ) -> Served {
        if self.watched {
            self.live.watch.query(&self.caller(peer, local), packet);
        }
        let start = out.len();
        let pace = match self.transport {
            ClientTransport::Udp => self.live.guard.pace(peer.ip(), self.now),
            _ => Verdict::Within, // the cookie proves the address
        };
        if pace == Verdict::Within
            && let Some(mark) = self.answer(packet, peer.ip(), out)
        {
            self.looked = false;
            self.answered.0 += 1;
            self.answered.1 += 1;
            if self.shown {
                self.show(mark, true, peer, local, &out[start..]);
            }
            return Served::Answered;
        }
        let looked = std::mem::take(&mut self.looked);
        let came = Received { caller: self.caller(peer, local), at: self.begun, now: self.now };
        match query::answer_now(self.live, self.tally, packet, came, pace, looked) {
            Immediate::Drop => Served::Dropped,
            Immediate::Wait(waiting) => Served::Waits(waiting),
            Immediate::Reply(reply, mark) => {
                self.answered.0 += 1;
                if self.shown || self.filtered {
                    self.show(mark, false, peer, local, &reply);
                }
                if out.is_empty() {
                    *out = reply
                } else {
                    out.extend_from_slice(&reply)
                }
                Served::Answered
            }
        }
    }

    /// Appends the answer to `out` if it is in the packet cache; returns its statistics key.
    fn answer(&mut self, packet: &[u8], client: IpAddr, out: &mut Vec<u8>) -> Option<StatKey> {
        let (view, arrival) = self.view(client)?;
        let plain = PlainQuery::at(packet, view, &mut self.key)?;
        self.looked = true;
        let own_payload = self.published.udp_payload;
        let limit = match self.transport {
            ClientTransport::Tcp => reply::TCP,
            ClientTransport::Udp => reply::payload_limit(plain.udp_payload, own_payload),
        };
        let group = self.published.catalog.default_group();
        let publication = (self.published.generation, view);
        if let Some(slot) = self.live.cache.answer_to(&self.key, group, publication, self.now) {
            let (at, room) = ((self.now, || self.live.turn()), (limit, own_payload));
            let written = match slot.addresses() {
                Some(addresses) => plain_answer::write_addresses(&plain, &addresses, at, room, out),
                None => plain_answer::write(&plain, &slot.entry(), at, room, out),
            };
            if written {
                let mark = bound::mark(&slot);
                self.tally.asked(self.key.rtype(), arrival);
                self.tally.answered(3 * u8::from(slot.is_nxdomain()), mark);
                return Some(mark);
            }
        }
        let prepared = self.live.answers.get(&self.key)?;
        if !prepared.is_valid(self.published.generation, self.now) || !prepared.serves(&plain, limit) {
            return None;
        }
        let turn = if prepared.rotates() { self.live.turn() } else { 0 };
        prepared.write(&plain, limit, self.now, turn, out);
        let mark = StatKey::from_bits(prepared.mark());
        self.tally.asked(self.key.rtype(), arrival);
        self.tally.answered(prepared.rcode(), mark);
        Some(mark)
    }

    fn view(&mut self, client: IpAddr) -> Option<(u32, QueryOrigin)> {
        match self.last {
            Some((last, view, arrival)) if last == client => view.map(|view| (view, arrival)),
            _ => {
                let allowed = self.published.allows(client);
                let view = allowed.then(|| self.published.catalog.view(client).index);
                let arrival = QueryOrigin::new(self.transport == ClientTransport::Tcp, client);
                self.last = Some((client, view, arrival));
                view.map(|view| (view, arrival))
            }
        }
    }

    /// The duration of the batch so far.
    fn took(&self) -> Duration {
        instant().saturating_duration_since(self.begun)
    }

    fn caller(&self, peer: SocketAddr, local: Option<IpAddr>) -> Client {
        let mut to = self.tally.address;
        if let (Some(to), Some(local)) = (&mut to, local) {
            to.set_ip(local);
        }
        Client { peer, local: to, transport: self.transport }
    }

    /// Passes an answer to taps and top lists.
    #[cold]
    fn show(&self, mark: StatKey, fast: bool, peer: SocketAddr, local: Option<IpAddr>, reply: &[u8]) {
        if self.weight > 0 {
            self.live.top.count(self.weight, peer.ip(), mark, reply, self.now);
        }
        let recent = &self.live.top.recent;
        if self.weight > 0 && recent.is_read(self.now) || self.filtered && !fast {
            let (caller, weight) = (self.caller(peer, local), self.weight);
            let offered = OfferedAnswer { weight, caller: &caller, reply, mark, fast };
            let vpc = || self.published.catalog.view(peer.ip()).vpc.clone();
            recent.offer(offered, self.now, || (self.took(), vpc()));
        }
        if self.watched {
            let view = self.published.catalog.view(peer.ip());
            let answered = Answered { mark, fast, took: self.took(), view };
            self.live.watch.answer(&self.caller(peer, local), reply, answered);
        }
    }
}

impl Drop for FastPath<'_> {
    /// Ends the batch: each answer is counted with the duration of the batch, so that the clock is read once.
    fn drop(&mut self) {
        if self.answered.0 > 0 {
            self.tally.observe(self.took(), self.answered.0);
            self.tally.packet_hits(self.answered.1);
        }
    }
}
