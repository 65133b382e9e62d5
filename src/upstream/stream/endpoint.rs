//! Where a server is: an address, or a name that the bootstrap servers know the address of. They are asked over plain
//! DNS, and never through ourselves.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_proto::rr::{RData, RecordType};
use tokio::time::Instant;

use crate::base::clock::{is_interrupted, last_wake};
use crate::engine::name;
use crate::upstream::transport::classify;
use crate::upstream::{AttemptError, Group, ServerAddress, Transport, UpstreamQuery};

/// How long an address that was found is used for further connections.
const KNOWN_FOR: Duration = Duration::from_secs(300);

/// Where a server is.
#[derive(Clone, Debug)]
pub(super) enum Endpoint {
    /// There.
    At(ServerAddress),
    /// Where its name leads.
    Named(Arc<Named>),
}

/// A name, and what is known of it.
#[derive(Debug)]
pub(super) struct Named {
    name: String,
    port: u16,
    /// Who is asked for it.
    bootstrap: Option<Arc<Group>>,
    /// What was found, and when.
    known: Mutex<Option<(IpAddr, Instant)>>,
}

impl Endpoint {
    /// Where the server of an address is.
    pub(super) fn new(address: &ServerAddress, bootstrap: Option<Arc<Group>>) -> Self {
        let name = match &address.transport {
            Transport::Tls(name) | Transport::Https(name, _) | Transport::Quic(name)
                if address.is_named() =>
            {
                name
            }
            _ => return Self::At(address.clone()),
        };
        let (name, port) = (name.to_str().into_owned(), address.addr.port());
        Self::Named(Arc::new(Named { name, port, bootstrap, known: Mutex::default() }))
    }

    /// The address to connect to.
    pub(super) async fn address(&self) -> Result<SocketAddr, AttemptError> {
        match self {
            Self::At(address) => address.target().map_err(|error| classify(&error)),
            Self::Named(named) => Ok(SocketAddr::new(named.find().await?, named.port)),
        }
    }

    /// The address was unreachable: the name may lead elsewhere by now.
    pub(super) fn forget(&self) {
        if let Self::Named(named) = self {
            named.note(None);
        }
    }
}

impl Named {
    /// The address of the name: IPv4 first, as every network has it.
    async fn find(&self) -> Result<IpAddr, AttemptError> {
        let known = *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((ip, _)) = known.filter(|(_, found)| is_good(*found, last_wake())) {
            return Ok(ip);
        }
        let unknown =
            |why: &str| AttemptError::Network(format!("the address of {} is not known: {why}", self.name));
        let Some(bootstrap) = &self.bootstrap else {
            return Err(unknown("no `[upstream] bootstrap` is configured"));
        };
        let name = name::parse(&self.name).map_err(|_| unknown("it is not a domain name"))?;
        for rtype in [RecordType::A, RecordType::AAAA] {
            let query =
                UpstreamQuery { name: name.clone(), rtype, dnssec_ok: false, checking_disabled: false };
            let reply = bootstrap.exchange(&query).await.map_err(|failure| unknown(&failure.to_string()))?;
            let found = reply.message.answers.iter().find_map(|record| match &record.data {
                RData::A(ip) => Some(IpAddr::V4(ip.0)),
                RData::AAAA(ip) => Some(IpAddr::V6(ip.0)),
                _ => None,
            });
            if let Some(ip) = found {
                self.note(Some((ip, Instant::now())));
                return Ok(ip);
            }
        }
        Err(unknown("the bootstrap servers have none"))
    }

    fn note(&self, found: Option<(IpAddr, Instant)>) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = found;
    }
}

/// True for an address that may be used without asking again: found lately, and not before a sleep of the machine, whose
/// length the monotonic clock does not count.
fn is_good(found: Instant, last_wake: Option<std::time::Instant>) -> bool {
    found.elapsed() < KNOWN_FOR && !is_interrupted(found.into_std(), last_wake)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_address_found_before_a_sleep_is_looked_up_again() {
        let found = Instant::now();
        assert!(is_good(found, None));
        assert!(!is_good(found, Some(Instant::now().into_std())));
        tokio::time::advance(Duration::from_millis(1)).await;
        let woke = Instant::now().into_std();
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(is_good(Instant::now(), Some(woke)));
        tokio::time::advance(KNOWN_FOR).await;
        assert!(!is_good(found, None));
    }
}
