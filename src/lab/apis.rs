//! The APIs of the lab behind one gateway, as the cloud's are: the version of a request says whose action it is.

use super::products::{self, Backends};
use super::sts;
use crate::api::actions::{self, PrivateZone};
use crate::api::calls::OTHER;
use crate::api::http::StreamWrap;
use crate::api::temporary::TemporaryKeys;
use crate::api::{ActionAnswer, ApiError, ApiService, Call, Gateway, http};
use crate::base::address_set::AddressSet;
use crate::base::stream::BoxedStream;
use crate::base::task;
use async_trait::async_trait;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

/// Characters of an action's name that a refusal repeats.
const MAX_ACTION: usize = 64;

/// PrivateZone's API and those of the other products.
#[derive(Debug)]
pub struct Apis(pub(super) Backends);

#[async_trait]
impl ApiService for Apis {
    fn serves_version(&self, version: &str) -> bool {
        self.0.private_zone.serves_version(version) || products::product(version).is_some()
    }

    fn known_action(&self, action: &str) -> &'static str {
        let own = self.0.private_zone.known_action(action);
        let mut others = products::PRODUCTS.iter().filter_map(|product| product.action(action));
        if own == OTHER { others.next().map_or(OTHER, |(name, _)| name) } else { own }
    }

    fn temporary_keys(&self) -> Option<&dyn TemporaryKeys> {
        Some(&*self.0.sts.issuer)
    }

    fn is_unsigned(&self, version: &str, action: &str) -> bool {
        sts::is_unsigned(version, action)
    }

    fn is_change(&self, version: &str, action: &str) -> bool {
        products::product(version).is_some() || self.0.private_zone.is_change(version, action)
    }

    fn body_limit(&self) -> usize {
        self.0.private_zone.body_limit()
    }

    async fn call(&self, call: Call) -> ActionAnswer {
        let Some(product) = products::product(&call.version) else {
            let is_known = PrivateZone::actions().any(|known| known.eq_ignore_ascii_case(&call.action));
            return match is_known {
                true => self.0.private_zone.call(call).await,
                false => Err(unknown_action("pvtz", actions::VERSION, &call.action)),
            };
        };
        match product.action(&call.action) {
            Some((name, handler)) => self.0.carry_out(name, handler, call).await,
            None => Err(unknown_action(product.name, product.version, &call.action)),
        }
    }
}

/// An action that a product does not have here.
fn unknown_action(product: &str, version: &str, action: &str) -> ApiError {
    let ApiError { status, code, message } = ApiError::unknown_action();
    let action: String = action.chars().take(MAX_ACTION).collect();
    let message = format!("{message} The lab has no action {action} of {product} {version}.");
    ApiError { status, code, message: message.into() }
}

/// Who may call the APIs: clients on this machine, and those of these networks; all where there is no list.
#[derive(Clone, Debug, Default)]
pub struct ApiClients(pub(super) Option<AddressSet>);

impl ApiClients {
    /// Passes the connections of clients that may call.
    async fn admit(self, stream: TcpStream) -> io::Result<TcpStream> {
        let (peer, own) = (stream.peer_addr()?.ip(), stream.local_addr()?.ip());
        match self.has(peer, own) {
            true => Ok(stream),
            false => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }

    /// True for a client that may call; `own` is the address that it called.
    fn has(&self, peer: IpAddr, own: IpAddr) -> bool {
        let peer = peer.to_canonical();
        let Some(clients) = &self.0 else { return true };
        peer.is_loopback() || peer == own.to_canonical() || clients.contains(peer)
    }
}

/// Begins to serve at an address, over TLS where `tls` is given; returns it with the port that port 0 became.
///
/// # Errors
/// The address is not available.
pub async fn serve(
    gateway: &Arc<Gateway>,
    limits: &http::HttpLimits,
    clients: &ApiClients,
    address: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    tasks: &mut JoinSet<()>,
) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let (gateway, limits, clients) = (gateway.clone(), limits.clone(), clients.clone());
    let wrap: StreamWrap = match tls {
        None => Box::new(move |stream| {
            let clients = clients.clone();
            task::boxed(async move { Ok(Box::new(clients.admit(stream).await?) as BoxedStream) })
        }),
        Some(tls) => {
            let acceptor = TlsAcceptor::from(tls);
            Box::new(move |stream| {
                let (clients, acceptor) = (clients.clone(), acceptor.clone());
                task::boxed(async move {
                    let session = acceptor.accept(clients.admit(stream).await?).await?;
                    Ok(Box::new(session) as BoxedStream)
                })
            })
        }
    };
    tasks.spawn(task::boxed(http::serve(listener, gateway, limits, wrap)));
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_of_no_named_network_may_not_call() {
        let clients = ApiClients(Some(AddressSet::from(&["172.18.0.0/16".parse().unwrap()][..])));
        let may = |peer: &str| clients.has(peer.parse().unwrap(), "192.0.2.1".parse().unwrap());
        for peer in ["127.0.0.1", "127.9.0.1", "::1", "172.18.0.7", "::ffff:172.18.0.7", "192.0.2.1"] {
            assert!(may(peer), "{peer}");
        }
        for peer in ["172.19.0.1", "192.0.2.2", "::ffff:10.0.0.1", "2001:db8::1"] {
            assert!(!may(peer), "{peer}");
        }
        assert!(ApiClients::default().has("2001:db8::1".parse().unwrap(), "::1".parse().unwrap()));
    }
}
