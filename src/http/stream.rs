//! A connection whose octets are counted and whose peer must read its answers.
//!
//! The head of a request is counted while it arrives, an answer until its last octet is written. A write without
//! progress for [`WRITE_DEADLINE`] fails, which ends the connection.

use crate::base::octets::{OctetAccount, OctetKind, Octets, Reserved, WRITE_DEADLINE};
use hyper::body::Bytes;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Octets of a head without reservation: the size of the first buffer.
pub const FREE: usize = 8 << 10;

/// Octets of a longer head are counted in steps of this size.
const STEP: usize = 16 << 10;

/// The pending octets of a connection.
#[derive(Debug)]
pub struct WaitingOctets {
    account: Arc<OctetAccount>,
    head: Mutex<Head>,
}

/// The received part of a request's head.
#[derive(Debug, Default)]
struct Head {
    octets: usize,
    held: Vec<Reserved>,
    /// The head is complete; a body follows, which its reader counts.
    whole: bool,
}

impl WaitingOctets {
    /// No octets yet, with its own limit.
    pub fn new(octets: &Octets, kind: OctetKind, most: usize) -> Arc<Self> {
        let account = Arc::new(octets.account(kind, most));
        Arc::new(Self { account, head: Mutex::default() })
    }

    /// The account of the octets.
    pub fn account(&self) -> &Arc<OctetAccount> {
        &self.account
    }

    /// Records that a head is complete.
    pub fn head_is_whole(&self) {
        *self.head() = Head { whole: true, ..Head::default() };
    }

    /// Records that the request is answered: another head may come.
    pub fn head_may_come(&self) {
        self.head().whole = false;
    }

    /// Octets of an answer, counted until they are written. `room` is their reservation.
    pub fn answer(body: Vec<u8>, room: impl Send + Sync + 'static) -> Bytes {
        Bytes::from_owner(HeldOctets { body, _room: room })
    }

    fn head(&self) -> MutexGuard<'_, Head> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts octets that were read; false if there is no room for them.
    fn read(&self, octets: usize) -> bool {
        let mut head = self.head();
        if head.whole {
            return true;
        }
        head.octets += octets;
        while head.octets > FREE + head.held.len() * STEP {
            let Some(reserved) = self.account.hold(STEP) else { return false };
            head.held.push(reserved);
        }
        true
    }
}

/// Octets with their reservation.
struct HeldOctets<R> {
    body: Vec<u8>,
    _room: R,
}

impl<R> AsRef<[u8]> for HeldOctets<R> {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

/// The stream of a connection.
#[derive(Debug)]
pub struct CountedStream<T> {
    inner: T,
    waiting: Arc<WaitingOctets>,
    /// The deadline of a write without progress.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<T> CountedStream<T> {
    /// Counts what passes through `inner`.
    pub fn new(inner: T, waiting: Arc<WaitingOctets>) -> Self {
        Self { inner, waiting, deadline: None }
    }

    /// The result of `inner`'s write, or an error after the deadline.
    fn within<R>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if written.is_ready() {
            self.deadline = None;
            self.waiting.account.progress();
            return written;
        }
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(WRITE_DEADLINE)));
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for CountedStream<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
        match this.waiting.read(buf.filled().len() - before) {
            true => Poll::Ready(Ok(())),
            false => Poll::Ready(Err(io::ErrorKind::OutOfMemory.into())),
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for CountedStream<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.inner).poll_write(cx, buf);
        this.within(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.inner).poll_write_vectored(cx, bufs);
        this.within(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.inner).poll_flush(cx);
        if flushed.is_ready() {
            return flushed; // a socket's flush never waits for the peer
        }
        this.within(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shut = Pin::new(&mut this.inner).poll_shutdown(cx);
        this.within(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::Instant;

    fn waiting(octets: &Octets) -> Arc<WaitingOctets> {
        WaitingOctets::new(octets, OctetKind::Api, 1 << 20)
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_of_which_nothing_is_taken_fails_at_the_deadline() {
        let (ours, mut theirs) = duplex(10);
        let mut stream = CountedStream::new(ours, waiting(&Octets::default()));
        stream.write_all(b"0123456789").await.unwrap();
        let begin = Instant::now();
        let error = stream.write_all(b"more").await.unwrap_err();
        assert_eq!((error.kind(), begin.elapsed()), (io::ErrorKind::TimedOut, WRITE_DEADLINE));
        theirs.read_exact(&mut [0; 5]).await.unwrap();
        stream.write_all(b"more").await.unwrap();
    }

    #[tokio::test]
    async fn a_long_head_is_counted_until_it_is_whole() {
        let octets = Octets::with(|_| 64 << 10);
        let (ours, mut theirs) = duplex(1 << 20);
        let waiting = waiting(&octets);
        let mut stream = CountedStream::new(ours, waiting.clone());
        theirs.write_all(&[b'a'; 200 << 10]).await.unwrap();
        stream.read_exact(&mut [0; FREE]).await.unwrap();
        assert_eq!(octets.waiting(OctetKind::Api), 0);
        stream.read_exact(&mut [0; 1]).await.unwrap();
        assert_eq!(octets.waiting(OctetKind::Api), STEP);
        waiting.head_is_whole();
        assert_eq!(octets.waiting(OctetKind::Api), 0);
        stream.read_exact(&mut [0; 64 << 10]).await.unwrap();
        assert_eq!(octets.waiting(OctetKind::Api), 0, "a body is counted by its reader");
        waiting.head_may_come();
        let error = stream.read_exact(&mut [0; 120 << 10]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory, "there is no room for so much");
    }

    #[test]
    fn an_answer_is_counted_until_its_last_octet_goes() {
        let octets = Octets::default();
        let waiting = waiting(&octets);
        let room = waiting.account().try_reserve(100).unwrap();
        let answer = WaitingOctets::answer(vec![0; 100], room);
        let last = answer.slice(99..);
        drop(answer);
        assert_eq!(octets.waiting(OctetKind::Api), 100);
        drop(last);
        assert_eq!(octets.waiting(OctetKind::Api), 0);
    }
}
