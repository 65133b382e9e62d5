//! Encrypted listeners: DNS over TLS (RFC 7858) on top of TCP, DNS over HTTPS, QUIC and, if built in, HTTP/3. All
//! sockets and the certificate are set up before the first query is served, so that a failing start fails as a whole.

use super::certificate::{Certificate, CertificateError};
use super::connection_service::{ConnectionService, TcpBounds, tally_of};
#[cfg(feature = "http3")]
use super::http3;
use super::listen::{self, BindError};
use super::{https, quic, tcp};
use crate::base::connections::Connections;
use crate::base::octets::OctetKind;
use crate::base::task;
use crate::config::ServerConfig;
use crate::resolve::shared::SharedState;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// The protocol of an encrypted listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// DNS over TLS.
    Tls,
    /// DNS over HTTPS.
    Https,
    /// DNS over QUIC.
    Quic,
    /// DNS over HTTPS, by HTTP/3.
    Http3,
}

impl Protocol {
    /// The kind of the pending octets of its clients.
    fn kind(self) -> OctetKind {
        match self {
            Self::Tls => OctetKind::Tls,
            Self::Https => OctetKind::Https,
            Self::Quic => OctetKind::Quic,
            Self::Http3 => OctetKind::Http3,
        }
    }

    /// Its ALPN name.
    fn alpn(self) -> &'static [u8] {
        match self {
            Self::Tls => b"dot",
            Self::Https => b"h2",
            Self::Quic => b"doq",
            Self::Http3 => b"h3",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls => "DNS over TLS",
            Self::Https => "DNS over HTTPS",
            Self::Quic => "DNS over QUIC",
            Self::Http3 => "DNS over HTTP/3",
        })
    }
}

/// Bound encrypted listeners.
#[derive(Debug)]
pub struct Encrypted {
    certificate: Arc<Certificate>,
    streams: Vec<(Protocol, SocketAddr, TcpListener)>,
    quic: Vec<(Protocol, SocketAddr, std::net::UdpSocket)>,
}

/// Why encrypted listeners are not available.
#[derive(Debug)]
pub enum EncryptedError {
    /// An address.
    Bind(BindError),
    /// The certificate.
    Certificate(CertificateError),
}

impl fmt::Display for EncryptedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(error) => error.fmt(f),
            Self::Certificate(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for EncryptedError {}

impl Encrypted {
    /// Binds the configured listeners; None without any.
    ///
    /// # Errors
    /// An address or the certificate is not available.
    pub fn prepare(server: &ServerConfig) -> Result<Option<Self>, EncryptedError> {
        let (Some(certificate), Some(key)) = (&server.certificate, &server.key) else { return Ok(None) };
        let all = [&server.listen_tls, &server.listen_https, &server.listen_quic, &server.listen_http3];
        if all.iter().all(|addresses| addresses.is_empty()) {
            return Ok(None);
        }
        let certificate = Certificate::load(certificate, key).map_err(EncryptedError::Certificate)?;
        let bind = |protocol, address: &SocketAddr, setting| {
            let (address, listener) = listen::bind_stream(*address, setting).map_err(EncryptedError::Bind)?;
            Ok((protocol, address, listener))
        };
        let tls = server.listen_tls.iter().map(|at| bind(Protocol::Tls, at, "`[server] listen_tls`"));
        let https = server.listen_https.iter().map(|at| bind(Protocol::Https, at, "`[server] listen_https`"));
        let streams = tls.chain(https).collect::<Result<_, _>>()?;
        let bind = |protocol, address: &SocketAddr, setting| {
            let (address, socket) = listen::bind_quic(*address, setting).map_err(EncryptedError::Bind)?;
            Ok((protocol, address, socket))
        };
        let quic = server.listen_quic.iter().map(|at| bind(Protocol::Quic, at, "`[server] listen_quic`"));
        let http3 = server.listen_http3.iter().map(|at| bind(Protocol::Http3, at, "`[server] listen_http3`"));
        let quic = quic.chain(http3).collect::<Result<_, _>>()?;
        Ok(Some(Self { certificate, streams, quic }))
    }

    /// The protocols and addresses.
    pub fn addresses(&self) -> Vec<(Protocol, SocketAddr)> {
        let all = self.streams.iter().map(|(protocol, address, _)| (*protocol, *address));
        let all = all.chain(self.quic.iter().map(|(protocol, address, _)| (*protocol, *address)));
        all.collect()
    }

    /// Starts serving and returns the certificate, which the caller keeps up to date. Must be called within a tokio
    /// runtime.
    ///
    /// # Errors The runtime rejects a socket, or the TLS configuration is invalid.
    pub fn serve(
        self,
        live: &Arc<SharedState>,
        bounds: &TcpBounds,
        connections: &Connections,
    ) -> io::Result<Arc<Certificate>> {
        let config =
            |protocol: Protocol| self.certificate.server_config(protocol.alpn()).map_err(io::Error::other);
        let service = |protocol: Protocol, address: SocketAddr| ConnectionService {
            live: live.clone(),
            tally: tally_of(Ok(address), live),
            kind: protocol.kind(),
            bounds: bounds.clone(),
            padding: true,
        };
        for (protocol, address, listener) in self.streams {
            let acceptor = TlsAcceptor::from(config(protocol)?);
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let (service, connections) = (service(protocol, address), connections.clone());
            match protocol {
                Protocol::Https => {
                    task::spawn(https::serve(listener, acceptor, service, connections));
                }
                _ => {
                    task::spawn(tcp::serve_tls(listener, acceptor, service, connections));
                }
            }
        }
        for (protocol, address, socket) in self.quic {
            let (config, service, connections) =
                (config(protocol)?, service(protocol, address), connections.clone());
            match protocol {
                #[cfg(feature = "http3")]
                Protocol::Http3 => {
                    let endpoint =
                        quic::endpoint(socket, config, bounds, (http3::ONE_WAY_STREAMS, http3::SEND_WINDOW))?;
                    task::spawn(http3::serve(endpoint, service, connections));
                }
                _ => {
                    let endpoint = quic::endpoint(socket, config, bounds, (0, quic::SEND_WINDOW))?;
                    task::spawn(quic::serve(endpoint, service, connections));
                }
            }
        }
        Ok(self.certificate)
    }
}
