//! One HTTP request over its own connection, for the metadata service and for pvtzd's API.
//!
//! HTTP/1, plain to an address or over a stream of the caller; no redirects, no proxies, no kept connections. The
//! caller sets the timeout.

use crate::base::stream::BoxedStream;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::io;
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// The response, with at most `longest` octets of body.
///
/// # Errors
/// No answer from the address, not HTTP, or a longer body.
pub async fn fetch(
    address: SocketAddr,
    request: Request<Full<Bytes>>,
    longest: usize,
) -> io::Result<Response<Bytes>> {
    exchange(Box::new(TcpStream::connect(address).await?), request, longest).await
}

/// The same over a connected stream, such as one of TLS.
///
/// # Errors
/// As for [`fetch`].
pub async fn exchange(
    stream: BoxedStream,
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
        // The answer is read to its end even if the connection fails after it.
        _ = &mut connection => answer.await,
    }
}
