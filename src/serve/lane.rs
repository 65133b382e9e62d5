//! The fast lane's place in the shell: looks a packet's answer up and writes it, or says that it takes longer.

use super::handle::Transport;
use crate::engine::cache::Moment;
use crate::engine::lane::{Glance, LaneKey};
use crate::engine::reply;
use crate::state::{Live, Published};
use std::net::IpAddr;
use std::sync::Arc;

/// What a batch of packets is answered by: one state, one moment.
#[derive(Debug)]
pub struct Lane<'l> {
    live: &'l Live,
    published: Arc<Published>,
    now: Moment,
    key: LaneKey,
    /// The last client and its view, since packets of one client come together; no view if it may not ask.
    last: Option<(IpAddr, Option<u32>)>,
}

impl<'l> Lane<'l> {
    /// The lane as it is now.
    pub fn new(live: &'l Live) -> Self {
        Self { live, published: live.published(), now: live.clock.now(), key: LaneKey::default(), last: None }
    }

    /// Appends the answer to `out` if it is at hand; false if the packet has to go the long way.
    pub fn answer(&mut self, packet: &[u8], client: IpAddr, transport: Transport, out: &mut Vec<u8>) -> bool {
        let Some(view) = self.view(client) else { return false };
        let Some(glance) = Glance::at(packet, view, &mut self.key) else { return false };
        let Some(prepared) = self.live.answers.get(&self.key) else { return false };
        let limit = match transport {
            Transport::Tcp => reply::TCP,
            Transport::Udp => reply::payload_limit(glance.udp_payload, self.published.udp_payload),
        };
        if !prepared.holds(self.published.generation, self.now) || prepared.length(&glance) > limit {
            return false;
        }
        let turn = if prepared.rotates() { self.live.turn() } else { 0 };
        prepared.write(&glance, self.now, turn, out);
        true
    }

    fn view(&mut self, client: IpAddr) -> Option<u32> {
        match self.last {
            Some((last, view)) if last == client => view,
            _ => {
                let allowed = self.published.allows(client);
                let view = allowed.then(|| self.published.catalog.view(client).index);
                self.last = Some((client, view));
                view
            }
        }
    }
}
