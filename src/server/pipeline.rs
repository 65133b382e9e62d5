//! A connection with length-prefixed messages: TCP, and TLS over it (RFC 7766, RFC 7858).
//!
//! One task reads queries, answers them and writes. Immediate answers go into one buffer; other queries become tasks,
//! up to a limit for each connection. While answers wait to be sent, no queries are read; the connection's account
//! counts the pending octets ([`crate::base::octets`]).

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

/// Octets of answers in one write. No further answers are made until these are written.
const WRITE_BUFFER: usize = 16 << 10;

/// Octets of one read.
const READ_BUFFER: usize = 16 << 10;

/// Octets of both buffers that do not count.
const FREE: usize = 4 << 10;

/// Capacity of each buffer that an idle connection keeps: more if few connections are open.
const KEPT: (usize, usize) = (512, 32 << 10);

/// The share of a connection's account for the answers of tasks: the rest beside its two buffers.
pub(super) const OF_TASKS: usize = 96 << 10;

thread_local! {
    /// A shared read buffer, so that an idle connection needs none.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BUFFER]);
}

/// An answer of a task, its reserved octets, and whether to pad it.
type PipelineReply = (Vec<u8>, Reserved, bool);

/// A connection of one client.
struct Conversation<S> {
    stream: S,
    guest: Guest,
    /// Octets that were read and not answered yet.
    inbox: Vec<u8>,
    /// Answers, and the number of written octets.
    outbox: Vec<u8>,
    written: usize,
    /// TLS may have buffered data.
    unflushed: bool,
    /// The reservation for the buffers, while they count.
    held: Option<Reserved>,
    /// Number of running tasks, and the channel of their answers.
    in_flight: usize,
    /// The last state reported to the connection limits.
    busy: (usize, bool),
    replies: Option<(mpsc::UnboundedSender<PipelineReply>, mpsc::UnboundedReceiver<PipelineReply>)>,
    /// The client has closed its direction.
    read_all: bool,
}

/// An event.
enum Event {
    /// Octets were read, or the end.
    Read(usize),
    /// Some octets were written, but not all.
    Wrote,
    /// All octets were written.
    Sent,
    /// A task has answered.
    Replied,
}

/// Reads queries until the client closes its direction, and sends all answers before the connection closes.
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
        // Deadline of an incomplete message.
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
                Err(_) if !writing && due.is_none() => return Ok(()), // idle timeout
                Err(elapsed) => return Err(elapsed.into()),
            }
        }
    }

    fn is_writing(&self) -> bool {
        self.written < self.outbox.len() || self.unflushed
    }

    /// True while more answers may be added.
    fn has_room(&self) -> bool {
        self.outbox.len() - self.written < WRITE_BUFFER
    }

    /// Answers complete messages while there is room; true if there was one.
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
                let _ = replies.send((reply, held, padded)); // the client may be gone
            });
        }
        self.inbox.drain(..at);
        at > 0
    }

    /// Writes pending octets, and reads if `reads`.
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

    /// Writes as much as the peer accepts: true when all was written.
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

    /// Counts the buffers while they wait for the peer, and releases what they no longer need.
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

/// Appends a message with its length prefix, padded if requested; nothing if `write` appends nothing. Returns the
/// result of `write`.
fn frame<T>(buffer: &mut Vec<u8>, padded: bool, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let start = buffer.len();
    buffer.extend([0, 0]);
    let written = write(buffer);
    if padded {
        padding::pad(buffer, start + 2);
    }
    match u16::try_from(buffer.len() - start - 2) {
        Ok(length) if length > 0 => buffer[start..start + 2].copy_from_slice(&length.to_be_bytes()),
        _ => buffer.truncate(start), // `finish` limits messages to 65535 octets
    }
    written
}
