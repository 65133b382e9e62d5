//! One conversation with a primary, over TCP: what serial it has, and the zone or what has changed in it. Everything that
//! comes is bounded: each message in time, the whole in time and octets.

use super::assemble::{Assembler, TransferContent, TransferFault, check_head};
use super::content::{Misfit, SoaRecord, is_newer};
use super::limits::TransferRoom;
use super::tsig::{TsigChain, TsigFault, TsigKey};
use super::walk::MessageParts;
use crate::engine::decode;
use crate::engine::name::NameKey;
use crate::engine::record;
use crate::upstream::random;
use hickory_proto::rr::RecordType;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

/// How long a primary has to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// How long each whole message of an answer may take.
const MESSAGE: Duration = Duration::from_secs(15);

/// How long a transfer may take.
const WHOLE: Duration = Duration::from_secs(600);

/// A primary server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Primary {
    /// Its address.
    pub address: SocketAddr,
    /// What both sign with.
    pub key: Option<Arc<TsigKey>>,
}

/// Why a primary did not tell.
#[derive(Debug)]
pub enum TransferError {
    /// The connection failed.
    Io(io::Error),
    /// It did not accept a connection, or a message did not come, in time.
    Timeout,
    /// It closed the connection before the end.
    Closed,
    /// The whole took too long.
    TooLong,
    /// What it sent is not used.
    Fault(TransferFault),
    /// What it sent is not believed.
    Tsig(TsigFault),
    /// It is not authoritative for the zone.
    NotAuthoritative,
    /// Its serial is older than that of the copy.
    Behind(u32),
    /// An incremental transfer does not fit to the copy.
    Misfit(Misfit),
    /// Other transfers take all the room that there is.
    NoRoom,
}

impl fmt::Display for TransferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Timeout => f.write_str("no answer in time"),
            Self::Closed => f.write_str("it closed the connection before the end"),
            Self::TooLong => write!(f, "the transfer took longer than {} s", WHOLE.as_secs()),
            Self::Fault(fault) => fault.fmt(f),
            Self::Tsig(fault) => fault.fmt(f),
            Self::NotAuthoritative => f.write_str("it is not authoritative for the zone"),
            Self::Behind(serial) => write!(f, "its serial {serial} is older than that of the copy"),
            Self::Misfit(misfit) => write!(f, "the incremental transfer does not fit to the copy: {misfit}"),
            Self::NoRoom => f.write_str("other transfers take all the room that there is; tried again later"),
        }
    }
}

impl TransferError {
    /// True where the whole zone may do what an incremental transfer did not.
    pub fn is_worth_a_full_transfer(&self) -> bool {
        match self {
            Self::Fault(fault) => fault.is_worth_a_full_transfer(),
            Self::Misfit(misfit) => *misfit != Misfit::TooLarge,
            Self::Closed | Self::Timeout | Self::Io(_) => true, // a server may reset what it does not know
            _ => false,
        }
    }
}

impl std::error::Error for TransferError {}

impl From<io::Error> for TransferError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

impl From<TransferFault> for TransferError {
    fn from(fault: TransferFault) -> Self {
        Self::Fault(fault)
    }
}

impl From<TsigFault> for TransferError {
    fn from(fault: TsigFault) -> Self {
        Self::Tsig(fault)
    }
}

/// Seconds since 1970.
pub(super) fn wall_clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// What a transfer is asked for.
#[derive(Clone, Copy, Debug)]
pub struct TransferQuestion<'q> {
    /// The zone.
    pub apex: &'q NameKey,
    /// The SOA record of the copy; nothing for the whole zone.
    pub since: Option<&'q SoaRecord>,
    /// Octets that the zone may have.
    pub most: usize,
}

/// What a transfer brought.
#[derive(Debug)]
pub struct Transferred {
    /// The records.
    pub received: TransferContent,
    /// Records that were left out because they are not in the zone.
    pub outside: usize,
}

/// A conversation with a primary.
#[derive(Debug)]
pub struct TransferSession<'p> {
    primary: &'p Primary,
    stream: TcpStream,
    deadline: Instant,
}

impl<'p> TransferSession<'p> {
    /// Connects.
    ///
    /// # Errors
    /// The primary cannot be reached in time.
    pub async fn begin(primary: &'p Primary) -> Result<Self, TransferError> {
        let stream = timeout(CONNECT, TcpStream::connect(primary.address)).await;
        let stream = stream.map_err(|_| TransferError::Timeout)??;
        let _ = stream.set_nodelay(true); // it is faster with it, that is all
        Ok(Self { primary, stream, deadline: Instant::now() + WHOLE })
    }

    /// The SOA record that the primary has.
    ///
    /// # Errors
    /// It did not tell.
    pub async fn soa(&mut self, apex: &NameKey) -> Result<SoaRecord, TransferError> {
        let (id, mut query) = question(apex, RecordType::SOA, None)?;
        let primary = self.primary;
        let mut chain = sign(primary, &mut query);
        self.send(&query).await?;
        let message = self.receive(id).await?;
        let parts = check(&mut chain, &message)?;
        check_head(&message, &parts, apex, RecordType::SOA.into(), true)?;
        let decoded = decode::message(&message).ok_or(TransferFault::Malformed)?;
        if !decoded.metadata.authoritative {
            return Err(TransferError::NotAuthoritative);
        }
        let found = decoded
            .answers
            .iter()
            .find(|record| record.record_type() == RecordType::SOA && NameKey::of(&record.name) == *apex);
        let found = found.ok_or(TransferFault::NoSoa)?;
        Ok(SoaRecord { ttl: found.ttl, data: record::to_wire(&found.data) })
    }

    /// The zone, or what has changed in it.
    ///
    /// # Errors
    /// It did not come, or is not used.
    pub async fn transfer(
        &mut self,
        asked: TransferQuestion<'_>,
        room: &mut TransferRoom<'_>,
    ) -> Result<Transferred, TransferError> {
        let TransferQuestion { apex, since, most } = asked;
        let kind = if since.is_some() { RecordType::IXFR } else { RecordType::AXFR };
        let (id, mut query) = question(apex, kind, since)?;
        let primary = self.primary;
        let mut chain = sign(primary, &mut query);
        self.send(&query).await?;
        let mut assembler = Assembler::new(apex.clone(), since.map(SoaRecord::serial), most);
        loop {
            let message = self.receive(id).await?;
            let parts = check(&mut chain, &message)?;
            let is_last = assembler.take(&message, &parts)?;
            if !room.grow_to(assembler.size()) {
                return Err(TransferError::NoRoom);
            }
            if is_last {
                break;
            }
        }
        if let Some(chain) = &chain {
            chain.end()?;
        }
        let (received, outside) = assembler.finish().ok_or(TransferFault::Malformed)?;
        Ok(Transferred { received, outside })
    }

    async fn send(&mut self, query: &[u8]) -> Result<(), TransferError> {
        let framed = [&(query.len() as u16).to_be_bytes(), query].concat();
        timeout(MESSAGE, self.stream.write_all(&framed)).await.map_err(|_| TransferError::Timeout)??;
        Ok(())
    }

    /// The next message; those that answer something else end the conversation.
    async fn receive(&mut self, id: u16) -> Result<Vec<u8>, TransferError> {
        let by_then = Instant::now() + MESSAGE;
        let read = async {
            let length = self.stream.read_u16().await?;
            let mut message = vec![0; usize::from(length)];
            self.stream.read_exact(&mut message).await?;
            Ok::<_, io::Error>(message)
        };
        let message = timeout_at(by_then.min(self.deadline), read).await;
        let message = message.map_err(|_| match by_then < self.deadline {
            true => TransferError::Timeout,
            false => TransferError::TooLong,
        })??;
        match message.first_chunk() == Some(&id.to_be_bytes()) {
            true => Ok(message),
            false => Err(TransferFault::OtherQuestion.into()),
        }
    }
}

/// Whether a transfer is to be asked for, by the serial that a primary has and that of the copy.
///
/// # Errors
/// The primary is behind the copy.
pub fn compare(theirs: &SoaRecord, ours: Option<&SoaRecord>) -> Result<bool, TransferError> {
    let Some(ours) = ours else { return Ok(true) };
    match (theirs.serial(), ours.serial()) {
        (theirs, ours) if theirs == ours => Ok(false),
        (theirs, ours) if is_newer(theirs, ours) => Ok(true),
        (theirs, _) => Err(TransferError::Behind(theirs)),
    }
}

fn sign<'p>(primary: &'p Primary, query: &mut Vec<u8>) -> Option<TsigChain<'p>> {
    primary.key.as_deref().map(|key| key.sign(query, wall_clock()))
}

/// The parts of a message, once its signature is right.
fn check<'m>(
    chain: &mut Option<TsigChain<'_>>,
    message: &'m [u8],
) -> Result<MessageParts<'m>, TransferError> {
    let parts = MessageParts::of(message).ok_or(TransferFault::Malformed)?;
    if let Some(chain) = chain {
        chain.check(message, &parts, wall_clock())?;
    }
    Ok(parts)
}

/// A question with a fresh id. An incremental transfer carries the SOA record of the copy (RFC 1995 section 3).
fn question(
    apex: &NameKey,
    kind: RecordType,
    since: Option<&SoaRecord>,
) -> Result<(u16, Vec<u8>), TransferError> {
    let id: [u8; 2] = random::bytes()?;
    let mut query = [&id[..], &[0, 0, 0, 1, 0, 0, 0, u8::from(since.is_some()), 0, 0], apex.wire()].concat();
    query.extend(u16::from(kind).to_be_bytes());
    query.extend([0, 1]);
    if let Some(soa) = since {
        query.extend([0xc0, 0x0c, 0, 6, 0, 1, 0, 0, 0, 0]);
        query.extend((soa.data.len() as u16).to_be_bytes());
        query.extend(&soa.data);
    }
    Ok((u16::from_be_bytes(id), query))
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
