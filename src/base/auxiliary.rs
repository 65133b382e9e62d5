//! The services beside DNS: metrics, the API, the control socket, the query log, dnstap. None of them stops DNS: a
//! failure is logged, counted, shown in status, and tried again.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;

/// The interval of attempts to start a failed service.
pub const RETRY: Duration = Duration::from_secs(5);

/// The state of the services.
#[derive(Debug, Default)]
pub struct Auxiliary {
    services: Mutex<BTreeMap<(&'static str, String), ServiceHealth>>,
}

/// The state of a service.
#[derive(Debug, Default)]
struct ServiceHealth {
    fault: Option<String>,
    failures: u64,
}

/// The shown state of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuxiliaryService {
    /// Its name: `metrics`, `api`, `control_socket`, `query_log`, `dnstap`.
    pub name: &'static str,
    /// Its address or file.
    pub at: String,
    /// The last error; None while it works.
    pub fault: Option<String>,
    /// The number of failures.
    pub failures: u64,
}

impl Auxiliary {
    /// The service works.
    pub fn works(&self, name: &'static str, at: impl Display) {
        let at = at.to_string();
        if self.services().entry((name, at.clone())).or_default().fault.take().is_some() {
            tracing::info!(service = name, at, "works again");
        }
    }

    /// The service failed. It is logged once, until the service works again.
    pub fn failed(&self, name: &'static str, at: impl Display, fault: impl Display) {
        let (at, fault) = (at.to_string(), fault.to_string());
        let mut services = self.services();
        let health = services.entry((name, at.clone())).or_default();
        health.failures += 1;
        if health.fault.as_ref() != Some(&fault) {
            tracing::error!(service = name, at, "{fault}; pvtzd retries, and DNS is not affected");
            health.fault = Some(fault);
        }
    }

    /// All services.
    pub fn read(&self) -> Vec<AuxiliaryService> {
        let services = self.services();
        let shown = services.iter().map(|((name, at), health)| {
            let ServiceHealth { fault, failures } = health;
            AuxiliaryService { name, at: at.clone(), fault: fault.clone(), failures: *failures }
        });
        shown.collect()
    }

    /// Listens on an address, as soon as it is available.
    pub async fn listen(&self, name: &'static str, address: SocketAddr, hint: &str) -> TcpListener {
        loop {
            match bind(address).and_then(TcpListener::from_std) {
                Ok(listener) => {
                    self.works(name, address);
                    return listener;
                }
                Err(error) => {
                    self.failed(name, address, format_args!("cannot listen on {address}: {error}; {hint}"))
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    fn services(&self) -> MutexGuard<'_, BTreeMap<(&'static str, String), ServiceHealth>> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A listening socket of the runtime.
///
/// # Errors
/// The address is not available.
pub fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_shows_until_the_service_works() {
        let auxiliary = Auxiliary::default();
        auxiliary.failed("query_log", "/x", "no such folder");
        auxiliary.failed("query_log", "/x", "no such folder");
        auxiliary.works("metrics", "127.0.0.1:1");
        let told = auxiliary.read();
        assert_eq!((told[0].name, told[0].fault.is_none()), ("metrics", true));
        assert_eq!((told[1].fault.as_deref(), told[1].failures), (Some("no such folder"), 2));
        auxiliary.works("query_log", "/x");
        assert_eq!((auxiliary.read()[1].fault.as_deref(), auxiliary.read()[1].failures), (None, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_is_taken_is_tried_again() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let auxiliary = std::sync::Arc::new(Auxiliary::default());
        let listening = tokio::spawn({
            let auxiliary = auxiliary.clone();
            async move { auxiliary.listen("api", address, "choose another").await.local_addr().unwrap() }
        });
        tokio::task::yield_now().await;
        assert!(auxiliary.read()[0].fault.as_ref().is_some_and(|fault| fault.contains("choose another")));
        drop(taken);
        assert_eq!(listening.await.unwrap(), address);
        assert_eq!(auxiliary.read()[0].fault, None);
    }
}
