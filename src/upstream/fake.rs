//! Upstream servers for tests: a closure on loopback, over UDP and TCP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{Name, RData, Record, RecordType, rdata::A};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

use super::{Group, GroupOptions, Outgoing, ServerAddress, Strategy};

/// One query as a fake server gets it.
pub(super) struct Asked {
    /// The query.
    pub(super) message: Message,
    /// It came over TCP.
    pub(super) over_tcp: bool,
    /// The how manieth it is, from 1.
    pub(super) number: u32,
}

impl Asked {
    /// The name asked for.
    pub(super) fn name(&self) -> &Name {
        self.message.queries[0].name()
    }

    /// The cookie option, if there is one.
    pub(super) fn cookie(&self) -> Option<Vec<u8>> {
        match self.message.edns.as_ref()?.option(EdnsCode::Cookie)? {
            EdnsOption::Unknown(_, cookie) => Some(cookie.clone()),
            _ => None,
        }
    }

    /// A response to it, empty.
    pub(super) fn response(&self) -> Message {
        let mut message = self.message.clone();
        message.metadata.message_type = MessageType::Response;
        message.edns = None;
        message
    }
}

/// What a fake server sends: datagrams in this order, or the first of them over TCP. Nothing: it is mute.
pub(super) type Sends = Vec<Vec<u8>>;

/// The answer 192.0.2.`last`.
pub(super) fn answer_a(asked: &Asked, last: u8) -> Message {
    let mut message = asked.response();
    message.answers.push(Record::from_rdata(asked.name().clone(), 60, RData::A(A::new(192, 0, 2, last))));
    message
}

/// Sends the answer 192.0.2.`last`.
pub(super) fn reply_a(asked: &Asked, last: u8) -> Sends {
    vec![answer_a(asked, last).to_vec().unwrap()]
}

/// Sends an rcode and nothing else.
pub(super) fn reply_rcode(asked: &Asked, rcode: ResponseCode) -> Sends {
    let mut message = asked.response();
    message.metadata.response_code = rcode;
    vec![message.to_vec().unwrap()]
}

/// `message` with this cookie in it.
pub(super) fn with_cookie(mut message: Message, cookie: Vec<u8>) -> Message {
    let mut edns = Edns::new();
    edns.options_mut().insert(EdnsOption::Unknown(10, cookie));
    if message.metadata.response_code == ResponseCode::BADCOOKIE {
        edns.set_rcode_high(ResponseCode::BADCOOKIE.high());
    }
    message.set_edns(edns);
    message
}

/// A server that runs until it is dropped.
pub(super) struct FakeServer {
    /// Where it listens.
    addr: SocketAddr,
    /// Queries over UDP so far.
    udp: Arc<AtomicU32>,
    /// Queries over TCP so far.
    tcp: Arc<AtomicU32>,
    /// What keeps it going.
    _tasks: JoinSet<()>,
}

impl FakeServer {
    /// Serves `answer` over UDP and TCP on a free port.
    pub(super) async fn start(answer: impl Fn(&Asked) -> Sends + Send + Sync + 'static) -> Self {
        loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                return Self::serve(udp, Some(tcp), answer);
            }
        }
    }

    /// The same without TCP.
    pub(super) async fn start_udp_only(answer: impl Fn(&Asked) -> Sends + Send + Sync + 'static) -> Self {
        Self::serve(UdpSocket::bind("127.0.0.1:0").await.unwrap(), None, answer)
    }

    /// The same at a given address.
    pub(super) async fn start_at(
        addr: SocketAddr,
        answer: impl Fn(&Asked) -> Sends + Send + Sync + 'static,
    ) -> Self {
        Self::serve(UdpSocket::bind(addr).await.unwrap(), None, answer)
    }

    fn serve(
        udp: UdpSocket,
        tcp: Option<TcpListener>,
        answer: impl Fn(&Asked) -> Sends + Send + Sync + 'static,
    ) -> Self {
        let (addr, answer) = (udp.local_addr().unwrap(), Arc::new(answer));
        let counts = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let mut tasks = JoinSet::new();
        let (handler, count) = (Arc::clone(&answer), Arc::clone(&counts.0));
        tasks.spawn(async move {
            let mut buffer = [0; 2048];
            loop {
                let (len, peer) = udp.recv_from(&mut buffer).await.unwrap();
                let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                let message = Message::from_vec(&buffer[..len]).unwrap();
                for datagram in handler(&Asked { message, over_tcp: false, number }) {
                    let _ = udp.send_to(&datagram, peer).await;
                }
            }
        });
        let count = Arc::clone(&counts.1);
        if let Some(tcp) = tcp {
            tasks.spawn(async move {
                loop {
                    let (mut stream, _) = tcp.accept().await.unwrap();
                    let Ok(len) = stream.read_u16().await else { continue };
                    let mut query = vec![0; usize::from(len)];
                    stream.read_exact(&mut query).await.unwrap();
                    let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                    let message = Message::from_vec(&query).unwrap();
                    if let Some(reply) = answer(&Asked { message, over_tcp: true, number }).first() {
                        let framed = [&(reply.len() as u16).to_be_bytes(), reply.as_slice()].concat();
                        let _ = stream.write_all(&framed).await;
                    }
                }
            });
        }
        Self { addr, udp: counts.0, tcp: counts.1, _tasks: tasks }
    }

    /// As the configuration would name it.
    pub(super) fn address(&self) -> ServerAddress {
        self.addr.into()
    }

    /// Queries so far, over UDP and over TCP.
    pub(super) fn queries(&self) -> (u32, u32) {
        (self.udp.load(Ordering::SeqCst), self.tcp.load(Ordering::SeqCst))
    }
}

/// An address where nobody listens.
pub(super) fn dead_address() -> ServerAddress {
    std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().into()
}

/// A group of these servers, with time enough for a busy test machine.
pub(super) fn group(servers: &[&FakeServer], strategy: Strategy) -> Group {
    group_at(servers.iter().map(|server| server.address()).collect(), strategy)
}

/// A group of these addresses.
pub(super) fn group_at(servers: Vec<ServerAddress>, strategy: Strategy) -> Group {
    let options = GroupOptions { strategy, deadline: Duration::from_secs(3), ..GroupOptions::default() };
    Group::new("test".to_owned(), servers, options)
}

/// A question for the address of `name`.
pub(super) fn outgoing(name: &str) -> Outgoing {
    let name = Name::from_ascii(name).unwrap();
    Outgoing { name, rtype: RecordType::A, dnssec_ok: false, checking_disabled: false }
}
