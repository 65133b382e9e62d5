//! One HTTP request over a connection of its own: how the metadata service and our own API are asked.
//!
//! HTTP/1, plain to an address or over a stream that the caller has; no redirects, no proxies, nothing kept. How long to
//! wait is the caller's decision.

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// The response, with at most `longest` octets of body.
///
/// # Errors
/// No answer from the address, or not in HTTP, or at greater length.
pub async fn fetch(
    address: SocketAddr,
    request: Request<Full<Bytes>>,
    longest: usize,
) -> io::Result<Response<Bytes>> {
    exchange(TcpStream::connect(address).await?, request, longest).await
}

/// The same over a stream that is connected, such as one of TLS.
///
/// # Errors
/// As for [`fetch`].
pub async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Full<Bytes>>,
    longest: usize,
) -> io::Result<Response<Bytes>> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // The connection makes progress only while it is polled; it ends with this future.
    let answer = async {
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, longest).collect().await.map_err(io::Error::other)?;
        Ok(Response::from_parts(head, body.to_bytes()))
    };
    tokio::pin!(answer, connection);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        // What came before the end still reaches the answer.
        _ = &mut connection => answer.await,
    }
}
