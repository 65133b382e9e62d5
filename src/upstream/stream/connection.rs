//! One connection to a server, from its opening to its end: a task that writes questions as they come and hands
//! replies, by their ids, to who waits for them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::state::{ConnectionState, IDLE, SUSPECT, StreamQuery, TIMEOUT, closed};
use super::target::StreamTarget;
use crate::base::stream::BoxedStream;
use crate::base::{clock, task};
use crate::engine::message::{HEADER, framed};
use crate::upstream::{AttemptError, Transport, tls, transport};

/// How often silence is thought about.
const TICK: Duration = Duration::from_millis(500);
/// After this many replies to nothing, the peer does not speak DNS.
const MAX_STRANGERS: usize = 8;
/// Octets of questions that are gathered into one write.
const WRITE_BUFFER: usize = 16 << 10;
/// Ids of a connection.
const IDS: usize = 1 << 16;

/// A connection as those see it who ask over it.
#[derive(Debug)]
pub(super) struct KeptConnection {
    /// Where its task takes questions from.
    queue: mpsc::UnboundedSender<StreamQuery>,
    /// What its task says of it.
    state: Arc<ConnectionState>,
    /// When it was opened.
    opened: std::time::Instant,
}

impl KeptConnection {
    /// Begins to connect; questions may be put at once.
    pub(super) fn open(target: StreamTarget) -> Arc<Self> {
        let (queue, questions) = mpsc::unbounded_channel();
        let state = Arc::new(ConnectionState::default());
        task::spawn(run(target, questions, state.clone()));
        Arc::new(Self { queue, state, opened: clock::instant() })
    }

    /// Takes new questions. One that was open while the machine slept does not: the server may have closed it, and
    /// middleboxes may have forgotten it, without a word that would have come.
    pub(super) fn is_usable(&self, last_wake: Option<std::time::Instant>) -> bool {
        !self.state.closing.load(Ordering::Acquire) && !clock::is_interrupted(self.opened, last_wake)
    }

    /// Has brought a reply.
    pub(super) fn has_answered(&self) -> bool {
        self.state.answered.load(Ordering::Acquire)
    }

    /// How many wait on it.
    pub(super) fn waiting(&self) -> usize {
        self.state.waiting.load(Ordering::Relaxed)
    }

    /// Sends a message and waits for the reply of its id.
    pub(super) async fn ask(&self, message: &[u8]) -> Result<Vec<u8>, AttemptError> {
        let _waiting = StreamWaiter::begin(&self.state);
        let (reply, arrival) = oneshot::channel();
        // If the task has ended, it drops the sender too.
        let _ = self.queue.send(StreamQuery { message: message.to_vec(), reply });
        let ended = || self.state.ended.get().cloned().unwrap_or_else(closed);
        arrival.await.unwrap_or_else(|_| Err(ended()))
    }
}

/// Counts one who waits.
struct StreamWaiter<'a>(&'a AtomicUsize);

impl<'a> StreamWaiter<'a> {
    fn begin(state: &'a ConnectionState) -> Self {
        state.waiting.fetch_add(1, Ordering::Relaxed);
        Self(&state.waiting)
    }
}

impl Drop for StreamWaiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Connects, talks, and says why it ended.
async fn run(
    target: StreamTarget,
    mut questions: mpsc::UnboundedReceiver<StreamQuery>,
    state: Arc<ConnectionState>,
) {
    let ended = connect_and_talk(&target, &mut questions, &state).await;
    state.closing.store(true, Ordering::Release);
    let _ = state.ended.set(ended); // set here alone; and only then those who wait are let go, by drops
}

async fn connect_and_talk(
    target: &StreamTarget,
    questions: &mut mpsc::UnboundedReceiver<StreamQuery>,
    state: &Arc<ConnectionState>,
) -> AttemptError {
    let address = match target.place.address().await {
        Ok(address) => address,
        Err(outcome) => return outcome,
    };
    let ended = match &target.transport {
        Transport::Quic(name) => match &target.trust {
            Some(trust) => super::quic::talk(address, name, trust, questions, state).await,
            None => untrusted(),
        },
        transport => match transport::stream(&target.network, address).await {
            Ok(stream) => talk_over(stream, transport, target, questions, state).await,
            Err(error) => transport::classify(&error),
        },
    };
    if !state.answered.load(Ordering::Acquire) {
        target.place.forget();
    }
    ended
}

/// Talks over a TCP connection what is spoken there.
async fn talk_over(
    stream: BoxedStream,
    transport: &Transport,
    target: &StreamTarget,
    questions: &mut mpsc::UnboundedReceiver<StreamQuery>,
    state: &Arc<ConnectionState>,
) -> AttemptError {
    let (name, protocol) = match transport {
        Transport::Plain => return talk(stream, questions, state, &transport::classify).await,
        Transport::Tls(name) | Transport::Quic(name) => (name, None),
        Transport::Https(name, _) => (name, Some(b"h2".as_slice())),
    };
    let Some(trust) = &target.trust else { return untrusted() };
    let stream = match trust.connect(stream, name, protocol).await {
        Ok(stream) => stream,
        Err(outcome) => return outcome,
    };
    match transport {
        Transport::Https(name, path) => {
            super::http::talk(Box::new(stream), name, path, questions, state).await
        }
        _ => talk(Box::new(stream), questions, state, &|error| tls::explain(error, name)).await,
    }
}

/// Unreachable in practice: the configuration always has a trust store for TLS servers.
fn untrusted() -> AttemptError {
    AttemptError::Tls("no CA certificates were loaded".to_owned())
}

/// Writes queries and reads replies until one side closes the connection.
async fn talk(
    stream: BoxedStream,
    questions: &mut mpsc::UnboundedReceiver<StreamQuery>,
    state: &ConnectionState,
    blame: &(dyn Fn(&std::io::Error) -> AttemptError + Sync),
) -> AttemptError {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let open = OpenQueries::default();
    let ended = tokio::select! {
        biased; // in a fixed order, so that a simulation can be repeated
        ended = read(&mut reader, &open, state, blame) => ended,
        ended = write(&mut writer, questions, &open, blame) => ended,
    };
    state.closing.store(true, Ordering::Release);
    let _ = timeout(TICK, writer.shutdown()).await; // a courtesy
    ended
}

/// Writes questions as they come, as many with one call as have come.
async fn write(
    writer: &mut WriteHalf<BoxedStream>,
    questions: &mut mpsc::UnboundedReceiver<StreamQuery>,
    open: &OpenQueries,
    blame: &(dyn Fn(&std::io::Error) -> AttemptError + Sync),
) -> AttemptError {
    let mut batch = Vec::new();
    while let Some(question) = questions.recv().await {
        open.append(question, &mut batch);
        while batch.len() < WRITE_BUFFER {
            let Ok(question) = questions.try_recv() else { break };
            open.append(question, &mut batch);
        }
        let written = async {
            writer.write_all(&batch).await?;
            writer.flush().await
        };
        if let Err(error) = written.await {
            return blame(&error);
        }
        batch.clear();
    }
    closed() // the last handle is gone
}

/// Reads replies until the end of the stream, or until there is nothing to wait for.
async fn read(
    reader: &mut ReadHalf<BoxedStream>,
    open: &OpenQueries,
    state: &ConnectionState,
    blame: &(dyn Fn(&std::io::Error) -> AttemptError + Sync),
) -> AttemptError {
    let mut inbox = Vec::new();
    let mut strangers = 0;
    let mut last_reply = Instant::now();
    let mut looked = last_reply;
    loop {
        match timeout(TICK, reader.read_buf(&mut inbox)).await {
            Ok(Ok(0)) => return closed(),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return blame(&error),
            Err(_) => {}
        }
        let now = Instant::now();
        let mut at = 0;
        while let Some(message) = framed(&inbox[at..]) {
            at += 2 + message.len();
            if message.len() < HEADER {
                return AttemptError::Garbled;
            }
            match open.hand_over(message) {
                true => {
                    state.answered.store(true, Ordering::Release);
                    last_reply = now;
                }
                false => strangers += 1,
            }
        }
        inbox.drain(..at);
        if strangers > MAX_STRANGERS {
            return AttemptError::Garbled;
        }
        if now < looked + TICK {
            continue;
        }
        looked = now;
        match open.oldest(now) {
            None if now >= last_reply + IDLE => return closed(),
            None => {}
            Some(oldest) => {
                let silence = now.saturating_duration_since(oldest.max(last_reply));
                if silence >= SUSPECT {
                    state.closing.store(true, Ordering::Release);
                }
                if silence >= TIMEOUT {
                    return AttemptError::TimedOut;
                }
            }
        }
    }
}

/// The questions that wait for their replies, by the ids that they have on this connection.
#[derive(Default)]
struct OpenQueries(Mutex<BTreeMap<u16, SentOnStream>>);

/// One of them.
struct SentOnStream {
    /// Its own id.
    id: [u8; 2],
    /// Who waits.
    reply: oneshot::Sender<Result<Vec<u8>, AttemptError>>,
    /// Its start.
    at: Instant,
}

impl OpenQueries {
    /// Appends a question with its length before it. Another one may have its id: then it gets the next that is free.
    fn append(&self, StreamQuery { mut message, reply }: StreamQuery, batch: &mut Vec<u8>) {
        let (false, Some(id)) = (reply.is_closed(), message.first_chunk().copied()) else { return };
        let Ok(length) = u16::try_from(message.len()) else { return };
        let mut open = self.lock();
        if open.len() >= IDS {
            return; // without a search; whoever asks takes another connection
        }
        let first = u16::from_be_bytes(id);
        let free = (0..=u16::MAX).map(|step| first.wrapping_add(step)).find(|id| !open.contains_key(id));
        let Some(free) = free else { return };
        message[..2].copy_from_slice(&free.to_be_bytes());
        batch.extend(length.to_be_bytes());
        batch.extend(message);
        open.insert(free, SentOnStream { id, reply, at: Instant::now() });
    }

    /// Hands a reply to who waits for it; false when there was no such question.
    fn hand_over(&self, message: &[u8]) -> bool {
        let Some(id) = message.first_chunk() else { return false };
        let Some(asked) = self.lock().remove(&u16::from_be_bytes(*id)) else { return false };
        let mut reply = message.to_vec();
        reply[..2].copy_from_slice(&asked.id);
        let _ = asked.reply.send(Ok(reply)); // who has gone misses nothing
        true
    }

    /// Since when the oldest question waits. Those whose clients have gone are forgotten after a while; until
    /// then a late reply is no stranger.
    fn oldest(&self, now: Instant) -> Option<Instant> {
        let mut open = self.lock();
        open.retain(|_, asked| !asked.reply.is_closed() || now < asked.at + TIMEOUT * 2);
        open.values().map(|asked| asked.at).min()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u16, SentOnStream>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
