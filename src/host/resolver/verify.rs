//! A real question through the system's own path: what programs get, held against what pvtzd says.

use crate::engine::sort;
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How often the system is asked: whoever was told to read its configuration may need a moment.
const TRIES: usize = 4;

/// The moment.
const PAUSE: Duration = Duration::from_millis(250);

/// The addresses that programs get for a name, by getaddrinfo.
///
/// # Errors
/// There are none, or no answer within `patience`.
pub fn system_addresses(name: &str, patience: Duration) -> io::Result<BTreeSet<IpAddr>> {
    let (tell, told) = mpsc::channel();
    let wanted = name.trim_end_matches('.').to_string();
    // getaddrinfo cannot be interrupted: a thread may stay blocked in it.
    thread::Builder::new().name("getaddrinfo".into()).spawn(move || {
        let found = (wanted.as_str(), 443).to_socket_addrs();
        let _ = tell.send(found.map(|addresses| sort::set(addresses.map(|address| address.ip()))));
    })?;
    told.recv_timeout(patience).map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// Checks that programs get for `name` what pvtzd answers, `expected`.
///
/// # Errors
/// They do not: what they get instead.
pub fn agrees(name: &str, expected: &BTreeSet<IpAddr>, patience: Duration) -> Result<(), String> {
    let begun = Instant::now();
    let mut last = String::new();
    for turn in 0..TRIES {
        thread::sleep(if turn == 0 { Duration::ZERO } else { PAUSE });
        let left = patience.saturating_sub(begun.elapsed());
        if left.is_zero() {
            break;
        }
        last = match system_addresses(name, left) {
            Ok(found) if !found.is_empty() && found.is_subset(expected) => return Ok(()),
            Ok(found) => {
                format!("programs get {} for {name}, pvtzd answers {}", list(&found), list(expected))
            }
            Err(error) => format!("programs get no address for {name}: {error}"),
        };
    }
    Err(last)
}

/// Addresses for people.
fn list(addresses: &BTreeSet<IpAddr>) -> String {
    match addresses.is_empty() {
        true => "nothing".into(),
        false => addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}
