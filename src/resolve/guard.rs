//! Defences against spoofed client addresses: DNS cookies, which prove an address, and a rate limit for clients without
//! a valid cookie.

use super::rrl::{RateLimiter, Verdict};
use crate::engine::cache::Timestamp;
use crate::engine::cookie::Secret;
use crate::engine::request::Request;
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

/// The guard. Created once, at start: cookies depend on its secret, and rates on its buckets.
#[derive(Debug, Default)]
pub struct Guard {
    secret: Option<Secret>,
    paces: Option<RateLimiter>,
}

impl Guard {
    /// A guard with or without cookies, and with this many answers per second for a network (0: unlimited).
    ///
    /// # Errors The system's random generator failed.
    pub fn new(cookies: bool, rate: u32) -> Result<Self, getrandom::Error> {
        let (mut octets, mut seed) = ([0; 16], [0; 8]);
        getrandom::fill(&mut octets)?;
        getrandom::fill(&mut seed)?;
        let secret = cookies.then(|| Secret::new(octets));
        Ok(Self { secret, paces: RateLimiter::new(rate, u64::from_ne_bytes(seed)) })
    }

    /// Applies the rate limit to a datagram's sender. Takes a token.
    pub fn pace(&self, client: IpAddr, now: Timestamp) -> Verdict {
        self.paces.as_ref().map_or(Verdict::Within, |paces| paces.take(client, now.0))
    }

    /// Verifies a query's cookie and returns one with the answer; true if the cookie proves the client's address.
    pub fn check_cookie(&self, request: &mut Request, client: IpAddr) -> bool {
        let cookie = request.edns.and_then(|edns| edns.cookie);
        let (Some(secret), Some(cookie)) = (&self.secret, cookie) else { return false };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as u32);
        let checked = secret.check(&cookie, client, now);
        request.give_cookie(&checked.reply);
        checked.proven
    }

    /// Number of rate-limited queries: answered with TC only, or dropped.
    pub fn held_back(&self) -> u64 {
        self.paces.as_ref().map_or(0, RateLimiter::held_back)
    }
}
