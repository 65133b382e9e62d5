//! One connection of an HTTP/1 listener, from its first request to its end.

use super::stream::{CountedStream, WaitingOctets};
use crate::base::connections::ConnectionPlace;
use crate::base::stream::BoxedStream;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// The bounds of a request's head.
#[derive(Clone, Copy, Debug)]
pub struct HeadBounds {
    /// Its limit in octets.
    pub max_bytes: usize,
    /// The timeout of an idle connection, and of a head.
    pub timeout: Duration,
}

/// How a request is answered.
pub type Respond<'r> = &'r (
        dyn Fn(Request<Incoming>) -> Pin<Box<dyn Future<Output = Response<Full<Bytes>>> + Send + 'r>> + Sync
    );

/// Answers the requests of one connection by `respond`, one after the other. The connection keeps its place during a
/// request. `respond` calls [`WaitingOctets::head_is_whole`] when it has taken the head.
pub async fn converse(
    stream: BoxedStream,
    place: &ConnectionPlace,
    waiting: &Arc<WaitingOctets>,
    bounds: HeadBounds,
    respond: Respond<'_>,
) {
    let respond = service_fn(|request| {
        let response = respond(request);
        async move {
            let busy = place.request();
            let mut response = response.await;
            if busy.is_none() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            waiting.head_may_come();
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.timeout)
        .max_buf_size(bounds.max_bytes)
        .serve_connection(TokioIo::new(CountedStream::new(stream, waiting.clone())), respond);
    let _ = connection.await; // errors of the client are not logged
}
