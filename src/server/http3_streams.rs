//! The streams of an HTTP/3 connection, with a limit for the octets of a client: `h3` buffers a whole frame of any
//! length. After the first octets a stream is read only while its account has room.

use super::https::REQUEST;
use crate::base::octets::{OctetAccount, Reserved};
use crate::engine::message::MAX_MESSAGE_BYTES;
use h3::error::Code;
use h3::quic::{self, ConnectionErrorIncoming, StreamErrorIncoming, StreamId, WriteBuf};
use hyper::body::{Buf, Bytes};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Octets of a stream that do not count.
const SHORT: usize = 1 << 10;

/// Maximum octets of a stream: a body, headers, and their frames.
const MAX_STREAM_BYTES: usize = MAX_MESSAGE_BYTES + (16 << 10);

/// Counts the octets of a stream.
struct Meter {
    account: Arc<OctetAccount>,
    octets: usize,
    held: Option<Reserved>,
    /// The next reservation, while there is no room for it.
    reserving: Option<Pin<Box<dyn Future<Output = Reserved> + Send + Sync>>>,
}

impl Meter {
    fn new(account: &Arc<OctetAccount>) -> Self {
        Self { account: account.clone(), octets: 0, held: None, reserving: None }
    }

    /// Ready when there is room for more octets; an error beyond the limit.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        let wanted = match self.octets {
            octets if octets < SHORT => return Poll::Ready(Ok(())),
            octets if octets < REQUEST => REQUEST,
            octets if octets < MAX_STREAM_BYTES => MAX_STREAM_BYTES,
            _ => return Poll::Ready(Err(too_much())),
        };
        if wanted <= self.held.as_ref().map_or(0, Reserved::octets) {
            return Poll::Ready(Ok(()));
        }
        let account = self.account.clone();
        let reserving =
            self.reserving.get_or_insert_with(|| Box::pin(async move { account.reserve(wanted).await }));
        self.held = Some(ready!(reserving.as_mut().poll(context)));
        self.reserving = None;
        Poll::Ready(Ok(()))
    }

    fn read(
        &mut self,
        stream: &mut impl quic::RecvStream<Buf = Bytes>,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        ready!(self.poll_room(context))?;
        let data = ready!(stream.poll_data(context))?;
        match &data {
            Some(data) => self.octets += data.len(),
            None => self.held = None, // the whole reservation was read
        }
        Poll::Ready(Ok(data))
    }
}

fn too_much() -> StreamErrorIncoming {
    StreamErrorIncoming::StreamTerminated { error_code: Code::H3_EXCESSIVE_LOAD.value() }
}

/// A connection whose streams count for an account.
pub(super) struct CountedConnection {
    inner: h3_quinn::Connection,
    account: Arc<OctetAccount>,
}

impl CountedConnection {
    pub(super) fn new(connection: quinn::Connection, account: Arc<OctetAccount>) -> Self {
        Self { inner: h3_quinn::Connection::new(connection), account }
    }
}

/// A stream with counted octets.
pub(super) struct MeteredStream<S> {
    inner: S,
    meter: Meter,
}

/// A unidirectional stream of the client.
type RecvStream = MeteredStream<h3_quinn::RecvStream>;

/// A bidirectional stream of a request.
pub(super) type BidiStream<B> = MeteredStream<h3_quinn::BidiStream<B>>;

/// Opens streams.
pub(super) struct OpenStreams {
    inner: h3_quinn::OpenStreams,
    account: Arc<OctetAccount>,
}

impl<B: Buf> quic::Connection<B> for CountedConnection {
    type RecvStream = RecvStream;
    type OpenStreams = OpenStreams;

    fn poll_accept_recv(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<RecvStream, ConnectionErrorIncoming>> {
        let inner = ready!(quic::Connection::<B>::poll_accept_recv(&mut self.inner, context))?;
        Poll::Ready(Ok(RecvStream { inner, meter: Meter::new(&self.account) }))
    }

    fn poll_accept_bidi(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<BidiStream<B>, ConnectionErrorIncoming>> {
        let inner = ready!(quic::Connection::<B>::poll_accept_bidi(&mut self.inner, context))?;
        Poll::Ready(Ok(BidiStream { inner, meter: Meter::new(&self.account) }))
    }

    fn opener(&self) -> OpenStreams {
        let inner = quic::Connection::<B>::opener(&self.inner);
        OpenStreams { inner, account: self.account.clone() }
    }
}

/// Both the connection and its opener open streams.
macro_rules! opens_streams {
    ($type:ty) => {
        impl<B: Buf> quic::OpenStreams<B> for $type {
            type BidiStream = BidiStream<B>;
            type SendStream = h3_quinn::SendStream<B>;

            fn poll_open_bidi(
                &mut self,
                context: &mut Context<'_>,
            ) -> Poll<Result<BidiStream<B>, StreamErrorIncoming>> {
                let inner = ready!(quic::OpenStreams::<B>::poll_open_bidi(&mut self.inner, context))?;
                Poll::Ready(Ok(BidiStream { inner, meter: Meter::new(&self.account) }))
            }

            fn poll_open_send(
                &mut self,
                context: &mut Context<'_>,
            ) -> Poll<Result<h3_quinn::SendStream<B>, StreamErrorIncoming>> {
                quic::OpenStreams::<B>::poll_open_send(&mut self.inner, context)
            }

            fn close(&mut self, code: Code, reason: &[u8]) {
                quic::OpenStreams::<B>::close(&mut self.inner, code, reason);
            }
        }
    };
}

opens_streams!(CountedConnection);
opens_streams!(OpenStreams);

impl<S: quic::RecvStream<Buf = Bytes>> quic::RecvStream for MeteredStream<S> {
    type Buf = Bytes;

    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        self.meter.read(&mut self.inner, context)
    }

    fn stop_sending(&mut self, error_code: u64) {
        self.inner.stop_sending(error_code);
    }

    fn recv_id(&self) -> StreamId {
        self.inner.recv_id()
    }
}

impl<B: Buf> quic::SendStream<B> for BidiStream<B> {
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.inner.poll_ready(context)
    }

    fn send_data<T: Into<WriteBuf<B>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        self.inner.send_data(data)
    }

    fn poll_finish(&mut self, context: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.inner.poll_finish(context)
    }

    fn reset(&mut self, reset_code: u64) {
        self.inner.reset(reset_code);
    }

    fn send_id(&self) -> StreamId {
        self.inner.send_id()
    }
}

impl<B: Buf> quic::BidiStream<B> for BidiStream<B> {
    type SendStream = h3_quinn::SendStream<B>;
    type RecvStream = RecvStream;

    fn split(self) -> (Self::SendStream, Self::RecvStream) {
        let (send, inner) = self.inner.split();
        (send, RecvStream { inner, meter: self.meter })
    }
}
