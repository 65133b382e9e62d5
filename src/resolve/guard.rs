//! What we hold against clients that lie about their address: cookies, by which a client shows that it does not,
//! and a rate for those that have not shown it.

use super::rrl::{RateLimiter, Verdict};
use crate::engine::cache::Timestamp;
use crate::engine::cookie::Secret;
use crate::engine::request::Request;
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

/// The guard. Made once, at start: cookies die with their secret, and rates with their buckets.
#[derive(Debug, Default)]
pub struct Guard {
    secret: Option<Secret>,
    paces: Option<RateLimiter>,
}

impl Guard {
    /// A guard that gives cookies or not, and answers each network this many times a second (0: as often as asked).
    ///
    /// # Errors
    /// The system has no random octets.
    pub fn new(cookies: bool, rate: u32) -> Result<Self, getrandom::Error> {
        let (mut octets, mut seed) = ([0; 16], [0; 8]);
        getrandom::fill(&mut octets)?;
        getrandom::fill(&mut seed)?;
        let secret = cookies.then(|| Secret::new(octets));
        Ok(Self { secret, paces: RateLimiter::new(rate, u64::from_ne_bytes(seed)) })
    }

    /// How a datagram's sender keeps to its rate. Takes a token.
    pub fn pace(&self, client: IpAddr, now: Timestamp) -> Verdict {
        self.paces.as_ref().map_or(Verdict::Within, |paces| paces.take(client, now.0))
    }

    /// Looks at a query's cookie and has another go back with the answer; true if the client has shown that it
    /// receives at its address.
    pub fn check_cookie(&self, request: &mut Request, client: IpAddr) -> bool {
        let cookie = request.edns.and_then(|edns| edns.cookie);
        let (Some(secret), Some(cookie)) = (&self.secret, cookie) else { return false };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as u32);
        let checked = secret.check(&cookie, client, now);
        request.give_cookie(&checked.reply);
        checked.proven
    }

    /// Queries that were answered with TC alone, or not at all, because their senders were too fast.
    pub fn held_back(&self) -> u64 {
        self.paces.as_ref().map_or(0, RateLimiter::held_back)
    }
}
