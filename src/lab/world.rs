//! The world around the sidecar: what the public DNS and the resolvers of a VPC say.
//!
//! An authority of its own, asked over the network as any upstream is. It is no part of the sidecar's catalog, since
//! a name that no private zone has must really fall through, and another VPC must see the public answer. Knows the
//! names of the catalogue and nothing else: all others do not exist.

use super::location;
use crate::config::endpoints;
use crate::engine::name::{self, NameKey};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, SOA};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// What a public API name leads to: an address for documentation (RFC 5737), where nobody answers.
pub const PUBLIC: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);

/// TTL of every answer, in seconds; a denial holds as long.
const TTL: u32 = 120;

/// Octets of the longest query over UDP, and of the longest answer: all are short.
const LONGEST: usize = 4096;

/// A connection without a query ends after this.
const IDLE: Duration = Duration::from_secs(10);

/// The label of a public name below each API name of ECS.
pub const BELOW: &str = "sub";

/// What there is to be known.
#[derive(Debug)]
pub struct World {
    addresses: HashMap<NameKey, Ipv4Addr>,
    /// Names that exist only because others lie below.
    parents: HashSet<NameKey>,
}

impl World {
    /// The world in which the names inside a VPC lead to `inside`.
    pub fn new(inside: Ipv4Addr) -> Self {
        let names = endpoints::api_names();
        // Names below an API name, so that a recursion proxy has something to go through to.
        let below = names.public.iter().filter(|name| name.starts_with("ecs."));
        let below = below.map(|name| format!("{BELOW}.{name}"));
        let more: Vec<String> = below.chain(location::names().map(String::from)).collect();
        let public = names.public.iter().chain(&more).map(String::as_str);
        let all =
            public.map(|name| (name, PUBLIC)).chain(names.inside.iter().map(|name| (name.as_str(), inside)));
        let addresses: HashMap<NameKey, Ipv4Addr> = all
            .filter_map(|(text, address)| Some((NameKey::of(&name::parse(text).ok()?), address)))
            .collect();
        let parents =
            addresses.keys().flat_map(|name| name.suffixes().skip(1)).map(NameKey::of_suffix).collect();
        Self { addresses, parents }
    }

    /// The answer to a query; nothing to what is none.
    pub fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let query = Message::from_vec(query).ok().filter(|query| query.message_type == MessageType::Query)?;
        let mut answer = Message::response(query.id, query.op_code);
        answer.metadata.recursion_desired = query.recursion_desired;
        answer.metadata.recursion_available = true;
        if query.edns.is_some() {
            let mut edns = Edns::new();
            edns.set_max_payload(1232).set_version(0);
            answer.set_edns(edns);
        }
        answer.metadata.response_code = match query.queries.as_slice() {
            _ if query.op_code != OpCode::Query => ResponseCode::NotImp,
            [question] if question.query_class() == DNSClass::IN => {
                answer.add_query(question.clone());
                let name = NameKey::of(question.name());
                let address = self.addresses.get(&name);
                match address.filter(|_| question.query_type() == RecordType::A) {
                    Some(address) => {
                        let data = RData::A(A(*address));
                        answer.add_answer(Record::from_rdata(question.name().clone(), TTL, data));
                    }
                    None => {
                        answer.add_authority(denial());
                    }
                }
                let exists = address.is_some() || self.parents.contains(&name);
                if exists { ResponseCode::NoError } else { ResponseCode::NXDomain }
            }
            [_] => ResponseCode::Refused,
            _ => ResponseCode::FormErr,
        };
        answer.to_vec().ok()
    }
}

/// The SOA that goes with a denial: the root's, as we know all names there are.
fn denial() -> Record {
    let server = Name::from_labels(["pvtzd-lab", "invalid"]).unwrap_or_else(|_| Name::root());
    let soa = SOA::new(server.clone(), server, 1, 3600, 600, 86_400, TTL);
    Record::from_rdata(Name::root(), TTL, RData::SOA(soa))
}

/// Begins to answer at an address, over UDP and TCP; returns the address, with the port that port 0 became.
///
/// # Errors
/// The address cannot be had.
pub async fn serve(world: World, address: SocketAddr, tasks: &mut JoinSet<()>) -> io::Result<SocketAddr> {
    let (udp, tcp) = bind(address).await?;
    let address = tcp.local_addr()?;
    let world = Arc::new(world);
    tasks.spawn(over_udp(world.clone(), udp));
    tasks.spawn(async move {
        while let Ok((stream, _)) = tcp.accept().await {
            tokio::spawn(over_tcp(world.clone(), stream));
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

async fn over_udp(world: Arc<World>, socket: UdpSocket) {
    let mut buffer = vec![0; LONGEST];
    loop {
        // An error here is about a client that is gone.
        let Ok((length, peer)) = socket.recv_from(&mut buffer).await else { continue };
        if let Some(answer) = world.answer(&buffer[..length]) {
            let _ = socket.send_to(&answer, peer).await;
        }
    }
}

async fn over_tcp(world: Arc<World>, mut stream: TcpStream) {
    while let Ok(Some(())) = timeout(IDLE, one_over_tcp(&world, &mut stream)).await {}
}

/// One query and its answer; nothing when the connection is over.
async fn one_over_tcp(world: &World, stream: &mut TcpStream) -> Option<()> {
    let mut query = vec![0; usize::from(stream.read_u16().await.ok()?)];
    stream.read_exact(&mut query).await.ok()?;
    let answer = world.answer(&query)?;
    stream.write_u16(u16::try_from(answer.len()).ok()?).await.ok()?;
    stream.write_all(&answer).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::Query;

    const INSIDE: Ipv4Addr = Ipv4Addr::new(100, 100, 0, 80);

    fn query(text: &str, rtype: RecordType) -> Vec<u8> {
        let mut message = Message::query();
        message.add_query(Query::query(name::parse(text).unwrap(), rtype));
        message.to_vec().unwrap()
    }

    fn ask(text: &str, rtype: RecordType) -> (ResponseCode, Vec<String>) {
        let answer = World::new(INSIDE).answer(&query(text, rtype)).unwrap();
        let answer = Message::from_vec(&answer).unwrap();
        (answer.response_code, answer.answers.iter().map(|record| record.data.to_string()).collect())
    }

    #[test]
    fn public_names_and_names_inside_a_vpc_are_known_and_no_others() {
        use RecordType::{A, AAAA};
        let public = (ResponseCode::NoError, vec![PUBLIC.to_string()]);
        let inside = (ResponseCode::NoError, vec![INSIDE.to_string()]);
        for name in [
            "ecs.cn-hangzhou.aliyuncs.com",
            "sub.ecs.cn-hangzhou.aliyuncs.com",
            "ECS-cn-hangzhou.aliyuncs.com",
            "ecs.aliyuncs.com",
            "vpc.cn-beijing.aliyuncs.com",
            "location-readonly.aliyuncs.com",
            "resourcemanager.aliyuncs.com",
            "business.aliyuncs.com",
            "alidns.aliyuncs.com",
        ] {
            assert_eq!(ask(name, A), public, "{name}");
        }
        for name in ["popunify-vpc.cn-hangzhou", "ecs-vpc.us-east-1", "pvtz.vpc-proxy"] {
            assert_eq!(ask(&format!("{name}.aliyuncs.com"), A), inside, "{name}");
        }
        assert_eq!(ask("ecs.aliyuncs.com", AAAA), (ResponseCode::NoError, vec![]));
        assert_eq!(ask("cn-hangzhou.aliyuncs.com", A), (ResponseCode::NoError, vec![]));
        assert_eq!(ask("x.ecs.cn-hangzhou.aliyuncs.com", A).0, ResponseCode::NXDomain);
        assert_eq!(ask("popunify-vpc.us-east-1.aliyuncs.com", A).0, ResponseCode::NXDomain, "not documented");
        assert_eq!(ask("example.com", A).0, ResponseCode::NXDomain);
    }

    #[test]
    fn what_is_no_query_gets_no_answer() {
        let world = World::new(INSIDE);
        assert_eq!(world.answer(b"short"), None);
        let answer = world.answer(&query("example.com", RecordType::A)).unwrap();
        assert_eq!(world.answer(&answer), None);
    }

    #[tokio::test]
    async fn it_answers_over_both_transports() {
        let mut tasks = JoinSet::new();
        let at = serve(World::new(INSIDE), "127.0.0.1:0".parse().unwrap(), &mut tasks).await.unwrap();
        let query = query("ecs.aliyuncs.com", RecordType::A);
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(&query, at).await.unwrap();
        let mut buffer = vec![0; LONGEST];
        let length = socket.recv(&mut buffer).await.unwrap();
        let mut stream = TcpStream::connect(at).await.unwrap();
        for _ in 0..2 {
            stream.write_u16(query.len() as u16).await.unwrap();
            stream.write_all(&query).await.unwrap();
            let mut answer = vec![0; usize::from(stream.read_u16().await.unwrap())];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(answer, buffer[..length]);
        }
    }
}
