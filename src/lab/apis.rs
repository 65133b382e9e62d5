//! The APIs of the lab behind one gateway, as the cloud's are: the version of a request says whose action it is.

use super::ecs::Stub;
use super::location;
use super::sts::{self, Sts};
use crate::api::actions::PrivateZone;
use crate::api::temporary::TemporaryKeys;
use crate::api::{ActionAnswer, ApiService, Call, Gateway, http};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

/// PrivateZone's API and the stub of the others.
#[derive(Debug)]
pub struct Apis {
    /// PrivateZone.
    pub private_zone: PrivateZone,
    /// ECS.
    pub stub: Stub,
    /// STS, whose temporary access keys count for all.
    pub sts: Sts,
}

impl ApiService for Apis {
    fn serves_version(&self, version: &str) -> bool {
        [sts::VERSION, location::VERSION].contains(&version)
            || self.private_zone.serves_version(version)
            || self.stub.serves_version(version)
    }

    fn temporary_keys(&self) -> Option<&dyn TemporaryKeys> {
        Some(&*self.sts.issuer)
    }

    fn is_unsigned(&self, version: &str, action: &str) -> bool {
        sts::is_unsigned(version, action)
    }

    fn body_limit(&self) -> usize {
        self.private_zone.body_limit()
    }

    async fn call(&self, call: Call) -> ActionAnswer {
        match call.version.as_str() {
            sts::VERSION => self.sts.call(&call),
            location::VERSION => location::call(&call),
            version if self.stub.serves_version(version) => self.stub.call(call).await,
            _ => self.private_zone.call(call).await,
        }
    }
}

/// Begins to serve at an address, over TLS where `tls` is given; returns it with the port that port 0 became.
///
/// # Errors
/// The address cannot be had.
pub async fn serve(
    gateway: &Arc<Gateway<Apis>>,
    limits: &http::HttpLimits,
    address: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    tasks: &mut JoinSet<()>,
) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let (gateway, limits) = (gateway.clone(), limits.clone());
    match tls {
        None => tasks.spawn(http::serve(listener, gateway, limits, http::plain)),
        Some(tls) => {
            let acceptor = TlsAcceptor::from(tls);
            tasks.spawn(http::serve(listener, gateway, limits, move |stream| acceptor.accept(stream)))
        }
    };
    Ok(address)
}
