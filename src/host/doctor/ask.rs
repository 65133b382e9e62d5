//! One query to one server, over UDP or TCP, within a deadline. It is sent like a query of a client: no upstream group,
//! no statistics.

use crate::engine::request::Question;
use crate::engine::text::{TextRecord, TextSections, read_message};
use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::RecordType;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// The TC flag.
const TRUNCATED: u16 = 0x200;

/// A server's reply.
#[derive(Clone, Debug)]
pub(super) struct DoctorReply {
    /// The message.
    pub(super) message: TextSections,
    /// The time from the query to the reply.
    pub(super) elapsed: Duration,
}

impl DoctorReply {
    /// The addresses in the answer.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        let address = |entry: &TextRecord| match RecordType::from(entry.rtype) {
            RecordType::A => Some(IpAddr::V4(<[u8; 4]>::try_from(entry.data.as_slice()).ok()?.into())),
            RecordType::AAAA => Some(IpAddr::V6(<[u8; 16]>::try_from(entry.data.as_slice()).ok()?.into())),
            _ => None,
        };
        self.message.answers.iter().filter_map(address).collect()
    }

    /// The targets of the CNAME records, in order.
    pub(super) fn aliases(&self) -> Vec<String> {
        self.values(RecordType::CNAME).collect()
    }

    /// The values of a type in the answer, as text.
    pub(super) fn values(&self, rtype: RecordType) -> impl Iterator<Item = String> {
        let records = self.message.answers.iter().filter(move |entry| entry.rtype == u16::from(rtype));
        records.map(TextRecord::value)
    }

    /// The response code.
    pub(super) fn rcode(&self) -> ResponseCode {
        self.message.rcode.into()
    }
}

/// Queries over UDP, and over TCP if the reply has TC.
///
/// # Errors
/// No answer within `patience`.
pub(super) async fn ask(
    server: SocketAddr,
    question: &Question,
    patience: Duration,
) -> io::Result<DoctorReply> {
    let told = over_udp(server, question, patience).await?;
    match told.message.flags & TRUNCATED != 0 {
        true => over_tcp(server, question, patience).await,
        false => Ok(told),
    }
}

/// Queries over UDP; the query is sent a second time after half of `patience`.
///
/// # Errors
/// No answer within `patience`.
pub(super) async fn over_udp(
    server: SocketAddr,
    question: &Question,
    patience: Duration,
) -> io::Result<DoctorReply> {
    let (id, packet) = packet(question)?;
    let begun = Instant::now();
    let exchange = async {
        let any = match server {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
        socket.connect(server).await?;
        socket.send(&packet).await?;
        let mut buffer = vec![0; 65_535];
        let mut again = Some(patience / 2);
        loop {
            let received = match again {
                Some(pause) => match timeout(pause, socket.recv(&mut buffer)).await {
                    Ok(received) => received?,
                    Err(_) => {
                        again = None;
                        socket.send(&packet).await?;
                        continue;
                    }
                },
                None => socket.recv(&mut buffer).await?,
            };
            if let Some(message) = read_message(&buffer[..received])
                && message.id == id
            {
                return Ok(DoctorReply { message, elapsed: begun.elapsed() });
            }
        }
    };
    timeout(patience, exchange).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// Queries over TCP.
///
/// # Errors
/// No answer within `patience`.
pub(super) async fn over_tcp(
    server: SocketAddr,
    question: &Question,
    patience: Duration,
) -> io::Result<DoctorReply> {
    let (_, packet) = packet(question)?;
    let begun = Instant::now();
    let exchange = async {
        let mut stream = TcpStream::connect(server).await?;
        let mut framed = u16::try_from(packet.len()).map_err(io::Error::other)?.to_be_bytes().to_vec();
        framed.extend_from_slice(&packet);
        stream.write_all(&framed).await?;
        let mut answer = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut answer).await?;
        let message =
            read_message(&answer).ok_or_else(|| io::Error::other("the reply is not a DNS message"))?;
        Ok(DoctorReply { message, elapsed: begun.elapsed() })
    };
    timeout(patience, exchange).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// A query with RD and EDNS.
pub fn plain_query(question: &Question) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(question.name.clone(), question.rtype));
    let mut edns = Edns::new();
    edns.set_max_payload(1232).set_version(0);
    message.set_edns(edns);
    message
}

/// The query and its id.
fn packet(question: &Question) -> io::Result<(u16, Vec<u8>)> {
    let message = plain_query(question);
    Ok((message.id, message.to_vec().map_err(io::Error::other)?))
}
