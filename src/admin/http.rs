//! Metrics and health checks over HTTP/1:
//!
//! - `GET /metrics`: all metrics, in the Prometheus text format.
//! - `GET /health`: 200 while the server answers a query over its own socket, else 503.
//! - `GET /ready`: 200 once listeners are bound and the catalog is loaded, 503 before and while stopping. It does not
//!   depend on upstreams: private names are answered without them.

use super::prometheus::CONTENT_TYPE;
use super::{AdminView, metrics};
use crate::base::accept::{AdmittedConnection, accept};
use crate::base::connections::Connections;
use crate::base::octets::{OF_CONNECTION, OctetKind};
use crate::base::task;
use crate::http::browser::{self, ServerNames};
use crate::http::server::{self, HeadBounds};
use crate::http::stream::WaitingOctets;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// Limit of connections; at the limit the one that has been idle longest is closed.
const MAX_CONNECTIONS: usize = 64;

/// The limits of a request's head.
const HEAD_BOUNDS: HeadBounds = HeadBounds { max_bytes: 16 << 10, timeout: Duration::from_secs(15) };

/// Accepts connections until it is dropped. Requests may name the hosts in `served`.
pub async fn serve(listener: TcpListener, subject: Arc<AdminView>, served: Arc<ServerNames>) {
    let connections = Connections::of_kind(OctetKind::Operations, MAX_CONNECTIONS);
    accept(listener, "metrics", |stream, peer| {
        let place = Arc::new(connections.admit(peer.ip(), OctetKind::Operations)?);
        let waiting = WaitingOctets::new(&subject.live.octets, OctetKind::Operations, OF_CONNECTION);
        let account = waiting.account().clone();
        let exchange = AdminExchange { subject: subject.clone(), served: served.clone(), waiting };
        let seat = place.clone();
        let conversation = task::boxed(async move {
            let exchange = &exchange;
            let respond = |request| Box::pin(async move { exchange.respond(&request).await }) as _;
            server::converse(Box::new(stream), &seat, &exchange.waiting, HEAD_BOUNDS, &respond).await;
        });
        Some(AdmittedConnection { place, account, conversation })
    })
    .await;
}

/// The context of a connection.
struct AdminExchange {
    subject: Arc<AdminView>,
    served: Arc<ServerNames>,
    waiting: Arc<WaitingOctets>,
}

impl AdminExchange {
    /// The response to one request. A body, if there is one, is not read: hyper ends the connection then.
    async fn respond(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        self.waiting.head_is_whole();
        if let Err(why) = browser::check(request.headers(), request.uri(), &self.served) {
            return text(StatusCode::FORBIDDEN, format!("{why}\n"));
        }
        let path = request.uri().path();
        if !["/metrics", "/health", "/ready"].contains(&path) {
            return text(StatusCode::NOT_FOUND, "not found: the paths are /metrics, /health and /ready\n");
        }
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let subject = &self.subject;
        match path {
            "/metrics" => {
                // Reserved before the page is rendered: otherwise there could be one page for each connection.
                let mut room = self.waiting.account().reserve(OF_CONNECTION).await;
                let page = metrics::render(subject).into_bytes();
                room.shrink_to(page.len());
                let mut response = text(StatusCode::OK, WaitingOctets::answer(page, room));
                response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
                response
            }
            "/ready" if subject.readiness.is_ready() => text(StatusCode::OK, "ready\n"),
            "/ready" => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
            _ => match subject.selfcheck.silent().await.first() {
                None => text(StatusCode::OK, "ok\n"),
                Some(silent) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{silent}\n")),
            },
        }
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
