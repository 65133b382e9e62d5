//! DNS cookies for clients (RFC 7873, in the format of RFC 9018): a client that returns its server cookie has proved
//! that it receives at its address.
//!
//! A server cookie is self-contained: it has a timestamp and a keyed hash over timestamp, client cookie and client
//! address. There is no state for each client.

use siphasher::sip::SipHasher24;
use std::hash::Hasher;
use std::net::IpAddr;

/// Octets of a client cookie.
pub const CLIENT: usize = 8;
/// Octets of a server cookie.
pub const SERVER: usize = 16;
/// Version of the format of RFC 9018.
const VERSION: u8 = 1;
/// A cookie older than this many seconds is invalid (RFC 9018 section 4.3).
const MAX_AGE: u32 = 3600;
/// A cookie may be from this many seconds ahead: clocks of servers that share a secret differ.
const MAX_AHEAD: u32 = 300;
/// From this age on a cookie is replaced by a new one.
const RENEW_AFTER: u32 = 1800;

/// The COOKIE option of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientCookie {
    /// The client cookie.
    pub client: [u8; CLIENT],
    /// The server cookie, if it has the correct length.
    pub server: Option<[u8; SERVER]>,
}

impl ClientCookie {
    /// The data of a COOKIE option (RFC 7873 section 4); None for an invalid length.
    pub fn read(data: &[u8]) -> Option<Self> {
        let (client, server) = data.split_first_chunk::<CLIENT>()?;
        match server.len() {
            0 => Some(Self { client: *client, server: None }),
            8..=32 => Some(Self { client: *client, server: server.try_into().ok() }),
            _ => None,
        }
    }
}

/// The result of a cookie check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The cookie proves the client's address.
    pub proven: bool,
    /// The cookie of the answer: the same, or a new one.
    pub reply: [u8; SERVER],
}

/// The secret by which cookies are made.
#[derive(Clone, Copy)]
pub struct Secret([u8; 16]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Secret {
    /// A secret of random octets.
    pub fn new(octets: [u8; 16]) -> Self {
        Self(octets)
    }

    /// Checks a cookie from `address` at `now`, in seconds since 1970 modulo 2^32.
    pub fn check(&self, cookie: &ClientCookie, address: IpAddr, now: u32) -> Checked {
        let fresh = || self.make(&cookie.client, address, now);
        let Some(server) = cookie.server else { return Checked { proven: false, reply: fresh() } };
        let made = u32::from_be_bytes([server[4], server[5], server[6], server[7]]);
        // Serial number arithmetic (RFC 1982): the time wraps in 2106.
        let age = now.wrapping_sub(made) as i32;
        let in_time = (-(MAX_AHEAD as i32)..=MAX_AGE as i32).contains(&age);
        let proven = in_time && same(&server, &self.make(&cookie.client, address, made));
        let keep = proven && age <= RENEW_AFTER as i32;
        Checked { proven, reply: if keep { server } else { fresh() } }
    }

    /// Version, three reserved octets, the timestamp, and the SipHash-2-4.
    fn make(&self, client: &[u8; CLIENT], address: IpAddr, time: u32) -> [u8; SERVER] {
        let mut cookie = [0; SERVER];
        cookie[0] = VERSION;
        cookie[4..8].copy_from_slice(&time.to_be_bytes());
        let mut hash = SipHasher24::new_with_key(&self.0);
        hash.write(client);
        hash.write(&cookie[..8]);
        match address.to_canonical() {
            IpAddr::V4(ip) => hash.write(&ip.octets()),
            IpAddr::V6(ip) => hash.write(&ip.octets()),
        }
        cookie[8..].copy_from_slice(&hash.finish().to_le_bytes());
        cookie
    }
}

/// Compares in constant time.
fn same(a: &[u8; SERVER], b: &[u8; SERVER]) -> bool {
    a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn octets<const N: usize>(hex: &str) -> [u8; N] {
        std::array::from_fn(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
    }

    /// The examples of RFC 9018 appendix A.
    #[test]
    fn cookies_are_those_of_the_rfcs_examples() {
        let secret = Secret(octets("e5e973e5a6b2a43f48e7dc849e37bfcf"));
        let rows = [
            ("2464c4abcf10c957", "198.51.100.100", 1_559_731_985, "010000005cf79f111f8130c3eee29480"),
            ("fc93fc62807ddb86", "203.0.113.203", 1_559_734_700, "010000005cf7a9acf73a7810aca2381e"),
        ];
        for (client, address, time, expected) in rows {
            let made = secret.make(&octets(client), address.parse().unwrap(), time);
            assert_eq!(made, octets(expected), "{client}");
        }
        let address = "2001:db8:220:1:59de:d0f4:8769:82b8".parse().unwrap();
        let rows = [
            ("dd3bdf9344b678b185a6f5cb60fca715", 0x5cf7_c579, "010000005cf7c57926556bd0934c72f8"),
            ("445536bcd2513298075a5d379663c962", 0x5cf7_c609, "010000005cf7c609a6bb79d16625507a"),
        ];
        for (secret, time, expected) in rows {
            let made = Secret(octets(secret)).make(&octets("22681ab97d52c298"), address, time);
            assert_eq!(made, octets(expected), "{secret}");
        }
    }

    #[test]
    fn a_cookie_proves_itself_for_its_client_and_its_time() {
        let secret = Secret([7; 16]);
        let (here, there) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let first = secret.check(&ClientCookie { client: [1; 8], server: None }, here, 1000);
        assert!(!first.proven);
        let back = ClientCookie { client: [1; 8], server: Some(first.reply) };
        assert_eq!(secret.check(&back, here, 1001), Checked { proven: true, reply: first.reply });
        assert!(!secret.check(&back, there, 1001).proven, "another address");
        assert!(!secret.check(&ClientCookie { client: [2; 8], ..back }, here, 1001).proven, "another client");
        assert!(!Secret([8; 16]).check(&back, here, 1001).proven, "another secret");
        let old = secret.check(&back, here, 1000 + 1801);
        assert!(old.proven && old.reply != first.reply, "renewed");
        assert!(!secret.check(&back, here, 1000 + 3601).proven, "too old");
        assert!(!secret.check(&back, here, 1000 - 301).proven, "from the future");
    }

    #[test]
    fn lengths_are_those_of_the_rfc() {
        for (length, good) in [
            (0, false),
            (7, false),
            (8, true),
            (9, false),
            (15, false),
            (16, true),
            (24, true),
            (40, true),
            (41, false),
        ] {
            assert_eq!(ClientCookie::read(&vec![0; length]).is_some(), good, "{length}");
        }
    }
}
