//! The world around the sidecar: what the public DNS and the resolvers of a VPC say.
//!
//! hickory-server with an authority in memory, asked over the network as any upstream is. It is no part of the
//! sidecar's catalog, since a name that no private zone has must really be forwarded, and another VPC must see the public
//! answer. It has the names of the endpoint catalogue and nothing else: all others do not exist.

use super::location;
use crate::config::endpoints;
use crate::engine::name;
use hickory_proto::op::{Edns, Header, HeaderCounts, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, PTR, SOA};
use hickory_proto::rr::{DNSClass, Name, RData, Record};
use hickory_server::Server;
use hickory_server::net::NetError;
use hickory_server::net::runtime::Time;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, MessageResponse, MessageResponseBuilder, ZoneType};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

/// What a public API name leads to: an address for documentation (RFC 5737), where no server answers.
pub const PUBLIC: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);

/// TTL of every answer, in seconds; a denial holds as long.
const TTL: u32 = 120;

/// A TCP connection without a query is closed after this.
const TCP_IDLE: Duration = Duration::from_secs(10);

/// Answers that may wait for the client of one TCP connection.
const TCP_RESPONSES: usize = 64;

/// The zone's serial number; the zone never changes.
const SERIAL: u32 = 1;

/// The label of a public name below each API name of ECS.
pub const BELOW: &str = "sub";

/// One zone, the root, with every name of the endpoint catalogue.
pub struct FakeDns {
    catalog: Catalog,
}

impl FakeDns {
    /// The world in which the names inside a VPC lead to `inside`.
    pub fn new(inside: Ipv4Addr) -> Self {
        Self::with(inside, Vec::new())
    }

    /// The same with an instance: the private names that the resolvers of its VPC have for it, and the reverse of its
    /// address, which leads to the last of them.
    pub fn with_instance(inside: Ipv4Addr, names: &[String], address: Ipv4Addr) -> Self {
        let names: Vec<Name> = names.iter().filter_map(|text| name::parse(text).ok()).collect();
        let reverse =
            names.last().map(|name| (Name::from(IpAddr::V4(address)), RData::PTR(PTR(name.clone()))));
        let forward = names.iter().map(|name| (name.clone(), RData::A(A(address))));
        Self::with(inside, forward.chain(reverse).collect())
    }

    /// The world with more records.
    fn with(inside: Ipv4Addr, records: Vec<(Name, RData)>) -> Self {
        let names = endpoints::api_names();
        // Names below an API name, so that a recursion proxy has something to go through to.
        let below = names.public.iter().filter(|name| name.starts_with("ecs."));
        let below = below.map(|name| format!("{BELOW}.{name}"));
        let more: Vec<String> = below.chain(location::names().map(String::from)).collect();
        let public = names.public.iter().chain(&more).map(String::as_str);
        let all =
            public.map(|name| (name, PUBLIC)).chain(names.inside.iter().map(|name| (name.as_str(), inside)));
        let mut zone: InMemoryZoneHandler =
            InMemoryZoneHandler::empty(Name::root(), ZoneType::Primary, AxfrPolicy::Deny);
        zone.upsert_mut(soa(), SERIAL);
        for (text, address) in all {
            if let Ok(name) = name::parse(text) {
                zone.upsert_mut(Record::from_rdata(name, TTL, RData::A(A(address))), SERIAL);
            }
        }
        for (name, data) in records {
            zone.upsert_mut(Record::from_rdata(name, TTL, data), SERIAL);
        }
        let mut catalog = Catalog::new();
        catalog.upsert(Name::root().into(), vec![Arc::new(zone)]);
        Self { catalog }
    }
}

/// The root's SOA, which denials carry: all names that exist are in this zone.
fn soa() -> Record {
    let server = Name::from_labels(["pvtzd-lab", "invalid"]).unwrap_or_else(|_| Name::root());
    let soa = SOA::new(server.clone(), server, SERIAL, 3600, 600, 86_400, TTL);
    Record::from_rdata(Name::root(), TTL, RData::SOA(soa))
}

#[async_trait::async_trait]
impl RequestHandler for FakeDns {
    async fn handle_request<R: ResponseHandler, T: Time>(&self, request: &Request, to: R) -> ResponseInfo {
        let mut to = AsResolver(to);
        // The catalog would take an update for one, and looks at no class.
        let refusal = match request.request_info() {
            _ if request.metadata.op_code != OpCode::Query => ResponseCode::NotImp,
            Ok(info) if info.query.query_class() != DNSClass::IN => ResponseCode::Refused,
            _ => return self.catalog.handle_request::<_, T>(request, to).await,
        };
        let edns = request.edns.as_ref().map(|_| Edns::new());
        let response = MessageResponseBuilder::new(&request.queries, edns.as_ref())
            .error_msg(&request.metadata, refusal);
        let header = Header { metadata: *response.metadata(), counts: HeaderCounts::default() };
        to.send_response(response).await.unwrap_or_else(|_| header.into())
    }
}

/// Sends answers with the header flags of a resolver: the catalog sets those of an authority.
#[derive(Clone)]
struct AsResolver<R>(R);

#[async_trait::async_trait]
impl<R: ResponseHandler> ResponseHandler for AsResolver<R> {
    async fn send_response<'a>(
        &mut self,
        mut response: MessageResponse<
            '_,
            'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
        >,
    ) -> Result<ResponseInfo, NetError> {
        let flags = response.metadata_mut();
        (flags.authoritative, flags.recursion_available) = (false, true);
        self.0.send_response(response).await
    }
}

/// Begins to answer at an address, over UDP and TCP; returns the address, with the port that port 0 became.
///
/// # Errors
/// The address is not free, or not one of this machine.
pub async fn serve(world: FakeDns, address: SocketAddr, tasks: &mut JoinSet<()>) -> io::Result<SocketAddr> {
    let (udp, tcp) = bind(address).await?;
    let address = tcp.local_addr()?;
    let mut server = Server::new(world);
    server.register_socket(udp);
    server.register_listener(tcp, TCP_IDLE, TCP_RESPONSES);
    tasks.spawn(async move {
        if let Err(error) = server.block_until_done().await {
            tracing::error!(%error, %address, "the lab's DNS server has ended");
        }
    });
    Ok(address)
}

/// UDP and TCP on one port. With port 0 the one that TCP gets may be another's over UDP: then the next is tried.
async fn bind(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut tries = if address.port() == 0 { 20 } else { 1 };
    loop {
        tries -= 1;
        let tcp = TcpListener::bind(address).await?;
        match UdpSocket::bind(tcp.local_addr()?).await {
            Ok(udp) => return Ok((udp, tcp)),
            Err(error) if tries == 0 => return Err(error),
            Err(_) => {}
        }
    }
}

#[cfg(test)]
impl FakeDns {
    /// The answer to one query over UDP, for tests of other modules.
    pub(super) fn answer(self, query: &[u8]) -> Vec<u8> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut tasks = JoinSet::new();
            let at = serve(self, "127.0.0.1:0".parse().unwrap(), &mut tasks).await.unwrap();
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            socket.send_to(query, at).await.unwrap();
            let mut answer = vec![0; 4096];
            let length = socket.recv(&mut answer).await.unwrap();
            answer.truncate(length);
            answer
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::{Message, Query};
    use hickory_proto::rr::RecordType;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    const INSIDE: Ipv4Addr = Ipv4Addr::new(100, 100, 0, 80);

    /// A server, a client of it, and what keeps the server.
    async fn pair() -> (SocketAddr, UdpSocket, JoinSet<()>) {
        let mut tasks = JoinSet::new();
        let at = serve(FakeDns::new(INSIDE), "127.0.0.1:0".parse().unwrap(), &mut tasks).await.unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(at).await.unwrap();
        (at, socket, tasks)
    }

    fn query(text: &str, rtype: RecordType) -> Message {
        let mut message = Message::query();
        message.add_query(Query::query(name::parse(text).unwrap(), rtype));
        message
    }

    async fn send(socket: &UdpSocket, query: &[u8]) -> Vec<u8> {
        socket.send(query).await.unwrap();
        let mut buffer = vec![0; 4096];
        let length = socket.recv(&mut buffer).await.unwrap();
        buffer.truncate(length);
        buffer
    }

    async fn ask(socket: &UdpSocket, query: &Message) -> Message {
        Message::from_vec(&send(socket, &query.to_vec().unwrap()).await).unwrap()
    }

    async fn look_up(socket: &UdpSocket, text: &str, rtype: RecordType) -> (ResponseCode, Vec<String>) {
        let answer = ask(socket, &query(text, rtype)).await;
        (answer.response_code, answer.answers.iter().map(|record| record.data.to_string()).collect())
    }

    #[tokio::test]
    async fn public_names_and_names_inside_a_vpc_are_known_and_no_others() {
        use RecordType::{A, AAAA};
        let (_, socket, _tasks) = pair().await;
        let public = (ResponseCode::NoError, vec![PUBLIC.to_string()]);
        let inside = (ResponseCode::NoError, vec![INSIDE.to_string()]);
        for name in [
            "ecs.cn-hangzhou.aliyuncs.com",
            "sub.ecs.cn-hangzhou.aliyuncs.com",
            "ECS-cn-hangzhou.aliyuncs.com",
            "ecs.aliyuncs.com",
            "location.aliyuncs.com",
        ] {
            assert_eq!(look_up(&socket, name, A).await, public, "{name}");
        }
        for name in ["popunify-vpc.cn-hangzhou", "ecs-vpc.us-east-1", "pvtz.vpc-proxy"] {
            assert_eq!(look_up(&socket, &format!("{name}.aliyuncs.com"), A).await, inside, "{name}");
        }
        assert_eq!(look_up(&socket, "ecs.aliyuncs.com", AAAA).await, (ResponseCode::NoError, vec![]));
        assert_eq!(look_up(&socket, "cn-hangzhou.aliyuncs.com", A).await, (ResponseCode::NoError, vec![]));
        for absent in ["x.ecs.cn-hangzhou.aliyuncs.com", "popunify-vpc.us-east-1.aliyuncs.com", "example.com"]
        {
            assert_eq!(look_up(&socket, absent, A).await.0, ResponseCode::NXDomain, "{absent}");
        }
    }

    #[tokio::test]
    async fn answers_look_like_those_of_a_resolver() {
        let (_, socket, _tasks) = pair().await;
        for (name, found) in [("ecs.aliyuncs.com", 1), ("example.com", 0)] {
            let mut asked = query(name, RecordType::A);
            asked.set_edns(Edns::new());
            asked.metadata.recursion_desired = true;
            let answer = ask(&socket, &asked).await;
            assert!(
                answer.recursion_available && !answer.authoritative && answer.recursion_desired,
                "{name}"
            );
            assert!(answer.edns.is_some() && answer.queries == asked.queries, "{name}");
            assert_eq!((answer.answers.len(), answer.authorities.len()), (found, 1 - found), "{name}");
            let record = answer.answers.iter().chain(&answer.authorities).next().unwrap();
            assert_eq!(record.ttl, TTL, "{name}");
        }
        let denial = ask(&socket, &query("example.com", RecordType::A)).await;
        assert_eq!(denial.authorities[0], soa());
    }

    #[tokio::test]
    async fn other_classes_operations_and_counts_are_refused() {
        let (_, socket, _tasks) = pair().await;
        let mut chaos = query("ecs.aliyuncs.com", RecordType::A);
        chaos.queries[0].set_query_class(DNSClass::CH);
        let mut update = query("ecs.aliyuncs.com", RecordType::SOA);
        update.metadata.op_code = OpCode::Update;
        let mut twice = query("ecs.aliyuncs.com", RecordType::A);
        twice.add_query(twice.queries[0].clone());
        for (message, expected) in
            [(chaos, ResponseCode::Refused), (update, ResponseCode::NotImp), (twice, ResponseCode::FormErr)]
        {
            let answer = ask(&socket, &message).await;
            assert_eq!((answer.response_code, answer.answers.len()), (expected, 0), "{message:?}");
        }
    }

    #[tokio::test]
    async fn what_is_no_query_gets_no_answer() {
        let (_, socket, _tasks) = pair().await;
        socket.send(b"short").await.unwrap();
        let mut response = query("example.com", RecordType::A);
        response.metadata.message_type = hickory_proto::op::MessageType::Response;
        socket.send(&response.to_vec().unwrap()).await.unwrap();
        let asked = query("ecs.aliyuncs.com", RecordType::A);
        assert_eq!(ask(&socket, &asked).await.id, asked.id, "the first answer is that of the first query");
    }

    #[tokio::test]
    async fn it_answers_over_both_transports() {
        let (at, socket, _tasks) = pair().await;
        let query = query("ecs.aliyuncs.com", RecordType::A).to_vec().unwrap();
        let over_udp = send(&socket, &query).await;
        let mut stream = TcpStream::connect(at).await.unwrap();
        for _ in 0..2 {
            stream.write_u16(query.len() as u16).await.unwrap();
            stream.write_all(&query).await.unwrap();
            let mut answer = vec![0; usize::from(stream.read_u16().await.unwrap())];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(answer, over_udp);
        }
    }
}
