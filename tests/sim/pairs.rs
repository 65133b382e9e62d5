//! A and AAAA of one name, asked for at the same time: where the server is near, AAAA waits a moment for what comes of A,
//! since NXDOMAIN answers both (RFC 2308 section 5). Nothing else waits, and nothing waits long.

use crate::simulator::program;
use hickory_proto::op::{Edns, Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use pvtzd::config;
use pvtzd::engine::name::parse;
use pvtzd::resolve::query::ClientTransport;
use pvtzd::resolve::shared::SharedState;
use pvtzd::upstream::network::{Arrivals, Connecting, Network, Simulated};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

/// Milliseconds until the server's reply is there.
const ROUND_TRIP: u64 = 5;

/// Milliseconds that AAAA waits for A at most.
const TIMEOUT: u64 = 25;

/// The sockets that are open, and the types that were asked for.
#[derive(Debug, Default)]
struct Wire {
    sockets: BTreeMap<u16, mpsc::UnboundedSender<io::Result<Vec<u8>>>>,
    asked: Vec<RecordType>,
}

/// A network with one server. It denies all names below `gone.test`, and never answers for A below `mute.test`.
#[derive(Clone, Debug, Default)]
struct OneServer(Arc<Mutex<Wire>>);

impl Simulated for OneServer {
    fn open(&self, port: u16, _: SocketAddr) -> io::Result<Arrivals> {
        let (arrivals, socket) = mpsc::unbounded_channel();
        let sockets = &mut self.0.lock().unwrap().sockets;
        if sockets.get(&port).is_some_and(|open| !open.is_closed()) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        sockets.insert(port, arrivals);
        Ok(socket)
    }

    fn send(&self, port: u16, _: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        let mut message = Message::from_vec(datagram).unwrap();
        let (name, rtype) = (message.queries[0].name().to_lowercase(), message.queries[0].query_type());
        let below = |zone: &str| parse(zone).unwrap().zone_of(&name);
        if rtype != RecordType::NS {
            self.0.lock().unwrap().asked.push(rtype); // NS is the check whether the server is silent
        }
        if below("mute.test") && rtype == RecordType::A {
            return Ok(());
        }
        message.metadata.message_type = MessageType::Response;
        message.metadata.recursion_available = true;
        if below("gone.test") {
            message.metadata.response_code = ResponseCode::NXDomain;
        }
        let soa = SOA::new(Name::root(), Name::root(), 1, 3600, 600, 86_400, 300);
        message.authorities.push(Record::from_rdata(Name::root(), 300, RData::SOA(soa)));
        message.edns = Some(Edns::new());
        let (wire, octets) = (self.0.clone(), message.to_vec().unwrap());
        tokio::spawn(async move {
            sleep(Duration::from_millis(ROUND_TRIP)).await;
            if let Some(socket) = wire.lock().unwrap().sockets.get(&port) {
                let _ = socket.send(Ok(octets)); // it may have been closed
            }
        });
        Ok(())
    }

    fn connect(&self, _: SocketAddr) -> Connecting {
        Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) })
    }
}

/// The program, in that network.
fn start() -> (OneServer, Arc<SharedState>) {
    let network = OneServer::default();
    let text = "[endpoints]\nproducts = []\n[upstream]\nservers = [\"192.0.2.53\"]\n";
    let (config, _) = config::parse(text, Path::new("pairs.toml")).unwrap();
    let live = program::start(&config, &Network::Simulated(Arc::new(network.clone())));
    (network, live)
}

/// Asks as a client; the code, and the milliseconds that it took.
async fn ask(live: Arc<SharedState>, number: u8, name: String, rtype: RecordType) -> (ResponseCode, u64) {
    let mut query = Message::query();
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(parse(&name).unwrap(), rtype));
    let client = (Ipv4Addr::new(127, 0, 0, number), 4000).into();
    let begun = Instant::now();
    let answer = program::answer(&live, &query.to_vec().unwrap(), client, ClientTransport::Udp).await;
    let waited = begun.elapsed().as_millis() as u64;
    (Message::from_vec(&answer.unwrap()).unwrap().metadata.response_code, waited)
}

#[tokio::test(start_paused = true)]
async fn both_types_of_a_denied_name_cost_one_question() {
    let (network, live) = start();
    for number in 0..20 {
        let asked = |rtype| ask(live.clone(), 1, format!("n{number}.gone.test"), rtype);
        let (a, aaaa) = tokio::join!(asked(RecordType::A), asked(RecordType::AAAA));
        assert_eq!((a.0, aaaa.0), (ResponseCode::NXDomain, ResponseCode::NXDomain));
    }
    assert_eq!(network.0.lock().unwrap().asked, [RecordType::A; 20]);
}

#[tokio::test(start_paused = true)]
async fn aaaa_alone_does_not_wait() {
    let (network, live) = start();
    for number in 0..20 {
        let (_, waited) = ask(live.clone(), 1, format!("n{number}.test"), RecordType::AAAA).await;
        assert!(waited <= ROUND_TRIP + 1, "{waited} ms");
    }
    assert_eq!(network.0.lock().unwrap().asked, [RecordType::AAAA; 20]);
}

#[tokio::test(start_paused = true)]
async fn aaaa_waits_a_moment_only_for_a_that_is_never_answered() {
    let (_, live) = start();
    let spawned = |rtype| {
        let live = live.clone();
        move |number: u16| {
            let name = format!("n{number}.mute.test");
            tokio::spawn(ask(live.clone(), 1 + (number % 100) as u8, name, rtype))
        }
    };
    let a: Vec<_> = (0..300).map(spawned(RecordType::A)).collect();
    let aaaa: Vec<_> = (0..300).map(spawned(RecordType::AAAA)).collect();
    for aaaa in aaaa {
        let (code, waited) = aaaa.await.unwrap();
        assert_eq!(code, ResponseCode::NoError);
        assert!(waited <= TIMEOUT + ROUND_TRIP + 2, "{waited} ms");
    }
    for a in a {
        assert_eq!(a.await.unwrap().0, ResponseCode::ServFail);
    }
    sleep(Duration::from_secs(25)).await;
    assert_eq!((live.inflight.len(), live.limits.in_flight()), (0, 0), "nothing is held");
}
