//! dnstap: each query and each answer as a message of the schema `dnstap.proto`, to a receiver at a Unix socket.
//!
//! The messages are written by hand: they are two, small, and never change. The receiver may come and go; while it
//! is away or too slow, messages are missed and counted.

use super::client_address::ClientAddress;
use super::framestream::Frames;
use super::queue::{Queue, QueueItem};
use crate::base::client_form::ClientForm;
use crate::base::octets::{OctetKind, Octets};
use crate::base::readiness::Readiness;
use crate::stats::tap::{Client, ClientTransport, TapEvent, TapSink};
use std::io::{self, BufWriter, Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What it is called in metrics and status.
const NAME: &str = "dnstap";

/// The type of content.
const CONTENT: &str = "protobuf:dnstap.Dnstap";

/// Octets of a message beside its head and the DNS message.
const FIELDS: usize = 128;

/// How long the receiver may take for anything.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The first pause after a receiver was not there; it doubles to the longest.
const PAUSE: Duration = Duration::from_millis(250);
const MAX_PAUSE: Duration = Duration::from_secs(8);

/// dnstap, as who serves sees it.
#[derive(Debug)]
pub struct Dnstap {
    queue: Queue<Vec<u8>>,
    /// Identity and version, encoded.
    head: Vec<u8>,
    /// The form of clients' addresses.
    client: ClientAddress,
}

impl Dnstap {
    /// Starts to send to the receiver at a socket, which may appear later.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn start(
        socket: &Path,
        identity: &str,
        client: ClientForm,
        octets: &Octets,
        readiness: Arc<Readiness>,
    ) -> io::Result<Self> {
        let mut head = Vec::new();
        bytes(&mut head, 1, identity.as_bytes());
        bytes(&mut head, 2, concat!("pvtzd ", env!("CARGO_PKG_VERSION")).as_bytes());
        let socket = socket.to_path_buf();
        let account = octets.account(OctetKind::Dnstap, OctetKind::Dnstap.total());
        let queue = Queue::start("dnstap", account, move |notes, missed| {
            write(&notes, &missed, &socket, &readiness);
        })?;
        Ok(Self { queue, head, client: ClientAddress::new(client) })
    }
}

impl TapSink for Dnstap {
    fn see(&self, seen: &TapEvent<'_>) {
        let octets = self.head.len() + seen.message.len() + FIELDS;
        self.queue.offer(octets, || encode(&self.head, &self.client, seen));
    }

    fn dropped(&self) -> u64 {
        self.queue.dropped()
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn reopen(&self) {}

    fn end(&self) {
        self.queue.drain();
    }
}

/// The message `Dnstap` with its `Message` inside; numbers are those of `dnstap.proto`.
fn encode(head: &[u8], client: &ClientAddress, seen: &TapEvent<'_>) -> Vec<u8> {
    let Client { peer, local, transport } = seen.caller;
    let (kind, asked) = match &seen.answer {
        None => (5, seen.at), // CLIENT_QUERY
        Some(answered) => (6, seen.at.checked_sub(answered.took).unwrap_or(seen.at)), // CLIENT_RESPONSE
    };
    let mut message = Vec::with_capacity(seen.message.len() + 96);
    number(&mut message, 1, kind);
    number(&mut message, 2, if peer.ip().to_canonical().is_ipv4() { 1 } else { 2 }); // INET, INET6
    number(&mut message, 3, if *transport == ClientTransport::Udp { 1 } else { 2 }); // UDP, TCP
    if let Some((ip, port)) = client.octets(*peer) {
        address(&mut message, (4, 6), ip, port);
    }
    if let Some(local) = local {
        address(&mut message, (5, 7), local.ip(), Some(local.port()));
    }
    time(&mut message, (8, 9), asked);
    if seen.answer.is_some() {
        time(&mut message, (12, 13), seen.at);
        bytes(&mut message, 14, seen.message);
    } else {
        bytes(&mut message, 10, seen.message);
    }
    let mut dnstap = Vec::with_capacity(head.len() + message.len() + 8);
    dnstap.extend(head);
    bytes(&mut dnstap, 14, &message);
    number(&mut dnstap, 15, 1); // MESSAGE
    dnstap
}

fn address(out: &mut Vec<u8>, (ip, port): (u32, u32), address: IpAddr, number_of_port: Option<u16>) {
    match address.to_canonical() {
        IpAddr::V4(v4) => bytes(out, ip, &v4.octets()),
        IpAddr::V6(v6) => bytes(out, ip, &v6.octets()),
    }
    if let Some(number_of_port) = number_of_port {
        number(out, port, u64::from(number_of_port));
    }
}

fn time(out: &mut Vec<u8>, (seconds, nanos): (u32, u32), at: SystemTime) {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    number(out, seconds, since.as_secs());
    varint(out, u64::from(nanos << 3 | 5)); // fixed32
    out.extend(since.subsec_nanos().to_le_bytes());
}

/// A field that is a number.
fn number(out: &mut Vec<u8>, field: u32, value: u64) {
    varint(out, u64::from(field << 3));
    varint(out, value);
}

/// A field that is octets.
fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    varint(out, u64::from(field << 3 | 2));
    varint(out, value.len() as u64);
    out.extend(value);
}

/// Seven bits an octet, the lowest first; the highest bit says that more follow.
fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A stream that gathers what is written; what is read comes as it is.
#[derive(Debug)]
struct Gathered(BufWriter<UnixStream>);

impl Read for Gathered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.get_mut().read(buffer)
    }
}

impl Write for Gathered {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Sends what comes, for as long as a receiver takes it; connects again when it does not.
fn write(notes: &Receiver<QueueItem<Vec<u8>>>, missed: &AtomicU64, socket: &Path, readiness: &Readiness) {
    let (mut pause, at) = (PAUSE, socket.display().to_string());
    loop {
        match connect(socket) {
            Ok(frames) => {
                readiness.auxiliary.works(NAME, &at);
                tracing::info!(socket = %at, "dnstap: connected to the receiver");
                pause = PAUSE;
                match forward(notes, frames) {
                    Ok(()) => return,
                    Err(error) => readiness.auxiliary.failed(
                        NAME,
                        &at,
                        format_args!("dnstap: lost the connection to the receiver: {error}"),
                    ),
                }
            }
            Err(error) => {
                readiness.auxiliary.failed(
                    NAME,
                    &at,
                    format_args!("dnstap: no receiver, messages are lost: {error}"),
                );
            }
        }
        if ends_within(notes, missed, pause) {
            return;
        }
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

/// Waits. What comes meanwhile is missed: it is of no use to a receiver that comes later. True when it is time to
/// end.
fn ends_within(notes: &Receiver<QueueItem<Vec<u8>>>, missed: &AtomicU64, pause: Duration) -> bool {
    let until = Instant::now() + pause;
    loop {
        match notes.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(QueueItem::Drain(done)) => {
                let _ = done.send(());
                return true;
            }
            Ok(QueueItem::Item(..)) => {
                missed.fetch_add(1, Ordering::Relaxed);
            }
            Ok(QueueItem::Renew) => {}
            Err(RecvTimeoutError::Timeout) => return false,
            Err(RecvTimeoutError::Disconnected) => return true,
        }
    }
}

fn connect(socket: &Path) -> io::Result<Frames<Gathered>> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Frames::begin(Gathered(BufWriter::with_capacity(64 << 10, stream)), CONTENT)
}

/// Sends until it is told to end.
fn forward(notes: &Receiver<QueueItem<Vec<u8>>>, mut frames: Frames<Gathered>) -> io::Result<()> {
    loop {
        let note = match notes.try_recv() {
            Ok(note) => note,
            Err(TryRecvError::Disconnected) => return Ok(()),
            Err(TryRecvError::Empty) => {
                frames.flush()?;
                match notes.recv() {
                    Ok(note) => note,
                    Err(_) => return Ok(()),
                }
            }
        };
        match note {
            QueueItem::Item(message, _room) => frames.send(&message)?,
            QueueItem::Renew => {}
            QueueItem::Drain(done) => {
                let finished = frames.finish();
                let _ = done.send(());
                if let Err(error) = finished {
                    tracing::debug!(%error, "dnstap: the receiver did not confirm the end of the stream");
                }
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_encoded_as_the_schema_says() {
        let caller = Client {
            peer: "192.0.2.7:4000".parse().unwrap(),
            local: Some("127.0.0.1:53".parse().unwrap()),
            transport: ClientTransport::Tcp,
        };
        let at = UNIX_EPOCH + Duration::new(300, 5);
        let seen = TapEvent { caller: &caller, at, message: b"Q", answer: None };
        let message = [
            b"\x08\x05\x10\x01\x18\x02".as_slice(),  // CLIENT_QUERY, INET, TCP
            b"\x22\x04\xc0\x00\x02\x07\x30\xa0\x1f", // 192.0.2.7, 4000
            b"\x2a\x04\x7f\x00\x00\x01\x38\x35",     // 127.0.0.1, 53
            b"\x40\xac\x02\x4d\x05\x00\x00\x00",     // 300 s, 5 ns
            b"\x52\x01Q",
        ]
        .concat();
        let wanted = [b"head".as_slice(), &[0x72, message.len() as u8], &message, b"\x78\x01"].concat();
        let encoded = |form| encode(b"head", &ClientAddress::new(form), &seen);
        assert_eq!(encoded(ClientForm::Full), wanted);
        let has =
            |message: &[u8], octets: &[u8]| message.windows(octets.len()).any(|window| window == octets);
        let prefix = encoded(ClientForm::Prefix);
        assert!(has(&prefix, b"\x22\x04\xc0\x00\x02\x00") && !has(&prefix, b"\x30\xa0\x1f"));
        assert!(!has(&encoded(ClientForm::None), b"\xc0\x00\x02"));
    }
}
