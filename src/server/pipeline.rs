//! A connection that carries messages one after another, each behind its length: TCP and TLS over it (RFC 7766,
//! RFC 7858).
//!
//! One task reads questions, answers them and writes. Answers that are there at once go into one buffer; the rest become
//! tasks, up to a limit for each connection. While answers wait to be sent, nothing is read; what waits is counted in the
//! connection's account ([`crate::base::octets`]).

use super::connection_service::{Guest, MESSAGE_DEADLINE, TLS_BUFFER};
use crate::base::octets::{OctetKind, Reserved, WRITE_DEADLINE};
use crate::engine::message;
use crate::engine::padding;
use crate::resolve::fast_path::{FastPath, Served};
use crate::resolve::query;
use crate::stats::tap::ClientTransport;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// Octets of answers that are gathered into one write. No more are made before these are written.
const WRITE_BUFFER: usize = 16 << 10;

/// Octets that are read at once.
const READ_BUFFER: usize = 16 << 10;

/// Octets of both buffers that a connection need not account for.
const FREE: usize = 4 << 10;

/// What an idle connection keeps of each buffer: a little, or more where few connections are open.
const KEPT: (usize, usize) = (512, 32 << 10);

/// The memory that a task's answers may take of a connection's account: what is left beside its two buffers.
pub(super) const OF_TASKS: usize = 96 << 10;

thread_local! {
    /// Where octets are read to, so that a connection without questions has no buffer of its own.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BUFFER]);
}

/// An answer of a task, the octets it is counted by, and whether it is to be padded.
type PipelineReply = (Vec<u8>, Reserved, bool);

/// A conversation with one client.
struct Conversation<S> {
    stream: S,
    guest: Guest,
    /// What was read and is not answered yet.
    inbox: Vec<u8>,
    /// Answers, and how many of their octets are written.
    outbox: Vec<u8>,
    written: usize,
    /// TLS may hold something back.
    unflushed: bool,
    /// The buffers, while they are counted.
    held: Option<Reserved>,
    /// Questions that tasks are working on, and where their answers come.
    in_flight: usize,
    /// What the place was told of them, and whether octets wait for the peer.
    busy: (usize, bool),
    replies: Option<(mpsc::UnboundedSender<PipelineReply>, mpsc::UnboundedReceiver<PipelineReply>)>,
    /// The client sends no more.
    read_all: bool,
}

/// What has happened.
enum Event {
    /// Octets came, or the end.
    Read(usize),
    /// Some octets were written, but not all.
    Wrote,
    /// Everything was written.
    Sent,
    /// A task has answered.
    Replied,
}

/// Reads queries until the client is done, and lets every answer out before the connection closes.
pub(super) async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, guest: Guest) -> io::Result<()> {
    let conversation = Conversation {
        stream,
        guest,
        inbox: Vec::new(),
        outbox: Vec::new(),
        written: 0,
        unflushed: false,
        held: None,
        in_flight: 0,
        busy: (0, false),
        replies: None,
        read_all: false,
    };
    conversation.run().await
}

impl<S: AsyncRead + AsyncWrite + Unpin> Conversation<S> {
    async fn run(mut self) -> io::Result<()> {
        let bounds = self.guest.service.bounds.clone();
        let patience = bounds.idle.min(WRITE_DEADLINE);
        let mut now = Instant::now();
        // When a message that is not whole yet has to be.
        let mut due: Option<Instant> = None;
        let (mut asked, mut taken) = (now, now);
        loop {
            if self.answer() {
                asked = now;
                self.guest.place.used(now.into_std());
            }
            let waits = message::framed(&self.inbox).is_some();
            due = if self.inbox.is_empty() || waits { None } else { due.or(Some(now + MESSAGE_DEADLINE)) };
            let writing = self.is_writing();
            if self.read_all && !writing && self.in_flight == 0 && !waits {
                self.stream.shutdown().await?;
                return if self.inbox.is_empty() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
            let deadline = match due {
                _ if writing => taken + patience,
                Some(due) => due,
                None if self.in_flight > 0 => now + query::CLIENT_DEADLINE + patience,
                None => asked + bounds.idle,
            };
            let event = timeout_at(deadline, poll_fn(|context| self.poll(context, !waits))).await;
            now = Instant::now();
            match event {
                Ok(Ok(Event::Read(0))) => self.read_all = true,
                Ok(Ok(Event::Wrote | Event::Sent)) => {
                    taken = now;
                    self.guest.place.used(now.into_std());
                    self.guest.account.progress();
                }
                Ok(Ok(Event::Replied)) => {
                    asked = now;
                    taken = if writing { taken } else { now };
                }
                Ok(Ok(Event::Read(_))) => taken = if writing { taken } else { now },
                Ok(Err(error)) => return Err(error),
                Err(_) if writing && !self.is_writing() => {} // it was written, and then nothing came
                Err(_) if !writing && due.is_none() => return Ok(()), // idle for long enough
                Err(elapsed) => return Err(elapsed.into()),
            }
        }
    }

    fn is_writing(&self) -> bool {
        self.written < self.outbox.len() || self.unflushed
    }

    /// True while answers may be added to those that wait.
    fn has_room(&self) -> bool {
        self.outbox.len() - self.written < WRITE_BUFFER
    }

    /// Answers whole messages as long as there is room; true if there was one.
    fn answer(&mut self) -> bool {
        let most = self.guest.service.bounds.pipeline.max(1);
        let mut at = 0;
        if message::framed(&self.inbox).is_none() {
            return false;
        }
        let mut fast_path =
            FastPath::new(&self.guest.service.live, &self.guest.service.tally, ClientTransport::Tcp);
        while self.in_flight < most
            && self.outbox.len() - self.written < WRITE_BUFFER
            && let Some(packet) = message::framed(&self.inbox[at..])
        {
            at += 2 + packet.len();
            let padded = self.guest.service.padding && padding::is_asked_for(packet);
            let served = frame(&mut self.outbox, padded, |replies| {
                fast_path.serve(packet, self.guest.peer, None, replies)
            });
            let Served::Waits(waiting) = served else { continue };
            self.in_flight += 1;
            let (replies, _) = self.replies.get_or_insert_with(mpsc::unbounded_channel);
            let (live, account, replies) =
                (self.guest.service.live.clone(), self.guest.account.clone(), replies.clone());
            tokio::spawn(async move {
                let (reply, held) = query::resolve_in_room(&live, *waiting, &account).await;
                let _ = replies.send((reply, held, padded)); // a client that has gone misses nothing
            });
        }
        self.inbox.drain(..at);
        at > 0
    }

    /// Writes what there is, and reads when nothing waits to be answered (`reads`).
    fn poll(&mut self, context: &mut Context<'_>, reads: bool) -> Poll<io::Result<Event>> {
        let mut waits = false;
        if self.is_writing() {
            match self.poll_write(context) {
                Poll::Ready(Ok(true))
                    if !reads || self.read_all || self.held.is_some() || !self.inbox.is_empty() =>
                {
                    return Poll::Ready(Ok(Event::Sent));
                }
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => return Poll::Ready(Ok(Event::Wrote)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => waits = true,
            }
        }
        let mut replied = false;
        while self.in_flight > 0
            && self.has_room()
            && let Some((_, replies)) = &mut self.replies
            && let Poll::Ready(Some((reply, held, padded))) = replies.poll_recv(context)
        {
            self.in_flight -= 1;
            frame(&mut self.outbox, padded, |outbox| outbox.extend_from_slice(&reply));
            drop(held);
            replied = true;
        }
        if replied {
            return Poll::Ready(Ok(Event::Replied));
        }
        if reads && !self.read_all && self.has_room() {
            let read = SCRATCH.with_borrow_mut(|scratch| {
                let mut buffer = ReadBuf::new(scratch);
                ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
                self.inbox.extend_from_slice(buffer.filled());
                Poll::Ready(Ok(buffer.filled().len()))
            });
            if read.is_ready() {
                return read.map_ok(Event::Read);
            }
        }
        ready!(Poll::Ready(self.settle(waits)))?;
        Poll::Pending
    }

    /// Writes as much as the peer takes: true when that was all.
    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut stream = Pin::new(&mut self.stream);
        if self.written < self.outbox.len() {
            let taken = ready!(stream.as_mut().poll_write(context, &self.outbox[self.written..]))?;
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += taken;
            self.unflushed = true;
            if self.written < self.outbox.len() {
                return Poll::Ready(Ok(false));
            }
            self.outbox.clear();
            self.written = 0;
        }
        ready!(stream.poll_flush(context))?;
        self.unflushed = false;
        Poll::Ready(Ok(true))
    }

    /// Counts the buffers while they wait for the peer, and gives back what they need no more.
    fn settle(&mut self, writing: bool) -> io::Result<()> {
        if self.busy != (self.in_flight, writing) {
            self.busy = (self.in_flight, writing);
            self.guest.place.set_busy(self.in_flight, writing);
        }
        let kept = if self.guest.place.is_among_few() { KEPT.1 } else { KEPT.0 };
        for buffer in [&mut self.inbox, &mut self.outbox] {
            if buffer.is_empty() && buffer.capacity() > kept {
                *buffer = Vec::new();
            }
        }
        let waiting = self.inbox.len() + self.outbox.len() > 0 || writing;
        let tls = if writing && self.guest.service.kind == OctetKind::Tls { TLS_BUFFER } else { 0 };
        let octets = self.inbox.capacity() + self.outbox.capacity() + tls;
        let held = self.held.as_ref().map_or(0, Reserved::octets);
        if !waiting || octets <= FREE {
            self.held = None;
        } else if octets > held || octets < held / 2 {
            self.held = None;
            let held = self.guest.account.hold_beside(octets);
            self.held = Some(held.ok_or(io::ErrorKind::OutOfMemory)?);
        }
        Ok(())
    }
}

/// Appends a message with its length before it, padded if it should be; nothing when `write` appended nothing. What
/// `write` returned.
fn frame<T>(buffer: &mut Vec<u8>, padded: bool, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let start = buffer.len();
    buffer.extend([0, 0]);
    let written = write(buffer);
    if padded {
        padding::pad(buffer, start + 2);
    }
    match u16::try_from(buffer.len() - start - 2) {
        Ok(length) if length > 0 => buffer[start..start + 2].copy_from_slice(&length.to_be_bytes()),
        _ => buffer.truncate(start), // no message is longer than 65535 octets: `finish` sees to it
    }
    written
}
