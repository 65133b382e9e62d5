//! An HTTP/2 connection as its client: to servers of DNS over HTTPS, and to etcd.

use super::stream::BoxedStream;
use super::task::TaskExecutor;
use hyper::body::{Body, Bytes, Frame};
use hyper::client::conn::http2::{Builder, Connection, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// What a request has to say: one piece, and then the end, or nothing more for as long as the stream is open.
#[derive(Debug)]
pub struct RequestBody {
    first: Option<Bytes>,
    stays_open: bool,
}

impl RequestBody {
    /// A body of these octets.
    pub fn new(octets: impl Into<Bytes>) -> Self {
        Self { first: Some(octets.into()), stays_open: false }
    }

    /// These octets, and no end while the stream is open.
    pub fn without_end(octets: impl Into<Bytes>) -> Self {
        Self { stays_open: true, ..Self::new(octets) }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match (self.first.take(), self.stays_open) {
            (Some(first), _) => Poll::Ready(Some(Ok(Frame::data(first)))),
            (None, false) => Poll::Ready(None),
            // Until it is dropped with the stream: there is nothing to wake for.
            (None, true) => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && !self.stays_open
    }
}

/// Where requests are sent.
pub type RequestSender = SendRequest<RequestBody>;

/// What makes progress while it is polled.
pub type ClientConnection = Connection<TokioIo<BoxedStream>, RequestBody, TaskExecutor>;

/// How a connection is kept.
#[derive(Clone, Copy, Debug)]
pub struct KeepAlive {
    /// How often the other side is asked whether it is there while something is waited for.
    pub every: Duration,
    /// How long its answer may take.
    pub timeout: Duration,
    /// Octets that it may send ahead, of one request.
    pub window: u32,
}

/// Begins HTTP/2 over a stream.
///
/// # Errors
/// The other side does not speak HTTP/2.
pub async fn handshake(
    stream: BoxedStream,
    keep_alive: Option<KeepAlive>,
) -> hyper::Result<(RequestSender, ClientConnection)> {
    let mut builder = Builder::new(TaskExecutor);
    if let Some(KeepAlive { every, timeout, window }) = keep_alive {
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(every)
            .keep_alive_timeout(timeout)
            .keep_alive_while_idle(false)
            .initial_stream_window_size(window)
            .initial_connection_window_size(2 * window);
    }
    builder.handshake(TokioIo::new(stream)).await
}
