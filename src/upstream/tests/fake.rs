//! Upstream servers for tests: a closure, on loopback over UDP and TCP ([`FakeServer`]) or on a network without sockets
//! ([`FakeNetwork`]), where a test that pauses time has all of it to itself.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{Name, RData, Record, RecordType, rdata::A};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use crate::upstream::network::{Arrivals, Connecting, Network, Simulated};
use crate::upstream::{Group, GroupOptions, ServerAddress, Strategy, UpstreamQuery};

/// One query as a fake server gets it.
pub(crate) struct Asked {
    /// The query.
    pub(crate) message: Message,
    /// It came over TCP.
    pub(crate) over_tcp: bool,
    /// Its place among the queries of the server, from 1.
    pub(crate) number: u32,
}

impl Asked {
    /// The query name.
    pub(crate) fn name(&self) -> &Name {
        self.message.queries[0].name()
    }

    /// The cookie option, if there is one.
    pub(crate) fn cookie(&self) -> Option<Vec<u8>> {
        match self.message.edns.as_ref()?.option(EdnsCode::Cookie)? {
            EdnsOption::Unknown(_, cookie) => Some(cookie.clone()),
            _ => None,
        }
    }

    /// A response to it, empty.
    pub(crate) fn response(&self) -> Message {
        let mut message = self.message.clone();
        message.metadata.message_type = MessageType::Response;
        message.edns = None;
        message
    }
}

/// What a fake server sends: datagrams in this order, or the first of them over TCP. Nothing: it is mute.
pub(crate) type Sends = Vec<Vec<u8>>;

/// The answer 192.0.2.`last`.
pub(crate) fn answer_a(asked: &Asked, last: u8) -> Message {
    let mut message = asked.response();
    message.answers.push(Record::from_rdata(asked.name().clone(), 60, RData::A(A::new(192, 0, 2, last))));
    message
}

/// Sends the answer 192.0.2.`last`.
pub(crate) fn reply_a(asked: &Asked, last: u8) -> Sends {
    vec![answer_a(asked, last).to_vec().unwrap()]
}

/// Sends an rcode and nothing else.
pub(crate) fn reply_rcode(asked: &Asked, rcode: ResponseCode) -> Sends {
    let mut message = asked.response();
    message.metadata.response_code = rcode;
    vec![message.to_vec().unwrap()]
}

/// `message` with this cookie in it.
pub(crate) fn with_cookie(mut message: Message, cookie: Vec<u8>) -> Message {
    let mut edns = Edns::new();
    edns.options_mut().insert(EdnsOption::Unknown(10, cookie));
    if message.metadata.response_code == ResponseCode::BADCOOKIE {
        edns.set_rcode_high(ResponseCode::BADCOOKIE.high());
    }
    message.set_edns(edns);
    message
}

/// A server that runs until it is dropped.
pub(crate) struct FakeServer {
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
    pub(crate) async fn start(answer: impl Fn(&Asked) -> Sends + Send + Sync + 'static) -> Self {
        loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                return Self::serve(udp, Some(tcp), answer);
            }
        }
    }

    /// The same without TCP.
    pub(crate) async fn start_udp_only(answer: impl Fn(&Asked) -> Sends + Send + Sync + 'static) -> Self {
        Self::serve(UdpSocket::bind("127.0.0.1:0").await.unwrap(), None, answer)
    }

    /// The same at a given address.
    pub(crate) async fn start_at(
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
    pub(crate) fn address(&self) -> ServerAddress {
        self.addr.into()
    }

    /// Queries so far, over UDP and over TCP.
    pub(crate) fn queries(&self) -> (u32, u32) {
        (self.udp.load(Ordering::SeqCst), self.tcp.load(Ordering::SeqCst))
    }
}

/// What a server of a [`FakeNetwork`] answers, and how many queries it got.
struct Handler {
    answer: Box<dyn Fn(&Asked) -> Sends + Send>,
    queries: u32,
}

/// Where a socket's replies go.
type Replies = UnboundedSender<io::Result<Vec<u8>>>;

/// A network without sockets. Datagrams to its servers arrive at once, those to other addresses are refused, and so are
/// connections over TCP.
#[derive(Default)]
pub(crate) struct FakeNetwork {
    servers: Mutex<HashMap<SocketAddr, Handler>>,
    sockets: Mutex<HashMap<(u16, SocketAddr), Replies>>,
}

impl fmt::Debug for FakeNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FakeNetwork")
    }
}

impl FakeNetwork {
    /// The address of server `number`, whether it is there or not.
    pub(crate) fn address(number: u8) -> ServerAddress {
        SocketAddr::from((Ipv4Addr::new(192, 0, 2, number), 53)).into()
    }

    /// Puts a server there.
    pub(crate) fn serve(&self, number: u8, answer: impl Fn(&Asked) -> Sends + Send + 'static) {
        let handler = Handler { answer: Box::new(answer), queries: 0 };
        self.servers.lock().unwrap().insert(Self::address(number).addr, handler);
    }

    /// Queries that a server got so far.
    pub(crate) fn queries(&self, number: u8) -> u32 {
        self.servers.lock().unwrap()[&Self::address(number).addr].queries
    }

    /// A group of the servers `1` to `count`.
    pub(crate) fn group(self: &Arc<Self>, count: u8, strategy: Strategy) -> Group {
        let network = Network::Simulated(self.clone());
        let options =
            GroupOptions { strategy, network, deadline: Duration::from_secs(3), ..GroupOptions::default() };
        Group::new("test".to_owned(), (1..=count).map(Self::address).collect(), options)
    }
}

impl Simulated for FakeNetwork {
    fn open(&self, port: u16, server: SocketAddr) -> io::Result<Arrivals> {
        let (sender, arrivals) = unbounded_channel();
        self.sockets.lock().unwrap().insert((port, server), sender);
        Ok(arrivals)
    }

    fn send(&self, port: u16, server: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        let sockets = self.sockets.lock().unwrap();
        let Some(socket) = sockets.get(&(port, server)) else { return Ok(()) };
        let mut servers = self.servers.lock().unwrap();
        let Some(handler) = servers.get_mut(&server) else {
            let _ = socket.send(Err(io::ErrorKind::ConnectionRefused.into()));
            return Ok(());
        };
        handler.queries += 1;
        let message = Message::from_vec(datagram).unwrap();
        for reply in (handler.answer)(&Asked { message, over_tcp: false, number: handler.queries }) {
            let _ = socket.send(Ok(reply)); // the socket may have been closed
        }
        Ok(())
    }

    fn connect(&self, _: SocketAddr) -> Connecting {
        Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) })
    }
}

/// An address where no server listens.
pub(crate) fn dead_address() -> ServerAddress {
    std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().into()
}

/// A group of these servers, with time enough for a busy test machine.
pub(crate) fn group(servers: &[&FakeServer], strategy: Strategy) -> Group {
    group_at(servers.iter().map(|server| server.address()).collect(), strategy)
}

/// A group of these addresses.
pub(crate) fn group_at(servers: Vec<ServerAddress>, strategy: Strategy) -> Group {
    let options = GroupOptions { strategy, deadline: Duration::from_secs(3), ..GroupOptions::default() };
    Group::new("test".to_owned(), servers, options)
}

/// A question for the address of `name`.
pub(crate) fn outgoing(name: &str) -> UpstreamQuery {
    let name = Name::from_ascii(name).unwrap();
    UpstreamQuery { name, rtype: RecordType::A, dnssec_ok: false, checking_disabled: false }
}
