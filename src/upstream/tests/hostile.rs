//! Bad servers, mixed: the work of one exchange is bounded, and so is its time. The network is made up and the clock
//! paused, so that silence takes no time.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::NS;
use hickory_proto::rr::{Name, RData, Record};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::upstream::network::{Arrivals, Connecting, Network, Simulated};
use crate::upstream::tests::fake::outgoing;
use crate::upstream::{Group, GroupOptions, ServerAddress, Strategy};

/// What is wrong with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bad {
    /// It takes everything and says nothing.
    Silent,
    /// Its host refuses.
    Unreachable,
    /// REFUSED.
    Refuses,
    /// SERVFAIL.
    Fails,
    /// FORMERR to everything, with EDNS and without.
    Formerr,
    /// A bare header, with another code each time.
    Bare,
    /// BADCOOKIE with another cookie each time.
    Cookies,
    /// Replies with another id, by the dozen.
    WrongId,
    /// Replies to another question, by the dozen.
    Lies,
    /// TC over UDP and over TCP.
    Cuts,
    /// The name in lower case over UDP, and no TCP.
    Folds,
    /// The query itself.
    Echoes,
    /// A header, and octets at random.
    Babbles,
    /// A referral to elsewhere.
    Refers,
    /// It closes each connection, and is cut over UDP.
    Closes,
}

const ALL: [Bad; 15] = [
    Bad::Silent,
    Bad::Unreachable,
    Bad::Refuses,
    Bad::Fails,
    Bad::Formerr,
    Bad::Bare,
    Bad::Cookies,
    Bad::WrongId,
    Bad::Lies,
    Bad::Cuts,
    Bad::Folds,
    Bad::Echoes,
    Bad::Babbles,
    Bad::Refers,
    Bad::Closes,
];

/// Queries of one conversation, over UDP and over TCP: at most six rounds, each with one of both, and three connections
/// for what goes over TCP.
const QUERIES_OF_A_TRY: usize = 6 * (1 + 3);

/// How long a datagram takes, there and back.
const WAY: Duration = Duration::from_millis(5);

/// A socket that is open: its port and server.
type Place = (u16, SocketAddr);

/// The network of the bad servers.
#[derive(Debug, Default)]
struct Hostile {
    servers: Vec<Bad>,
    sockets: Mutex<std::collections::BTreeMap<Place, mpsc::UnboundedSender<io::Result<Vec<u8>>>>>,
    /// Questions that came, by either way, without those that every server knows the answer to.
    queries: AtomicUsize,
}

/// The same, as the group has it.
#[derive(Debug)]
struct Line(Arc<Hostile>);

impl Hostile {
    fn bad(&self, server: SocketAddr) -> Bad {
        self.servers[usize::from(server.port()) - 1]
    }

    /// What a server sends.
    fn replies(&self, bad: Bad, query: &[u8], over_tcp: bool) -> Vec<Vec<u8>> {
        let asked = Message::from_vec(query).unwrap();
        if !asked.queries[0].name().is_root() {
            self.queries.fetch_add(1, Ordering::Relaxed);
        }
        let count = self.queries.load(Ordering::Relaxed);
        let mut reply = asked.clone();
        reply.metadata.message_type = MessageType::Response;
        reply.edns = None;
        let code = |rcode| {
            let mut reply = reply.clone();
            reply.metadata.response_code = rcode;
            vec![reply.to_vec().unwrap()]
        };
        match bad {
            Bad::Silent | Bad::Unreachable => Vec::new(),
            Bad::Refuses => code(ResponseCode::Refused),
            Bad::Fails => code(ResponseCode::ServFail),
            Bad::Formerr => code(ResponseCode::FormErr),
            Bad::Bare => {
                let rcode = [1, 2, 4, 5][count % 4];
                vec![[&query[..2], &[0x81, 0x80 | rcode], &[0; 8]].concat()]
            }
            Bad::Cookies => {
                let cookie =
                    crate::upstream::tests::fake::Asked { message: asked, over_tcp, number: 1 }.cookie();
                let mut cookie = cookie.unwrap_or_default();
                cookie.truncate(8);
                cookie.extend((count as u64).to_be_bytes());
                reply.metadata.response_code = ResponseCode::BADCOOKIE;
                vec![crate::upstream::tests::fake::with_cookie(reply, cookie).to_vec().unwrap()]
            }
            Bad::WrongId => {
                reply.metadata.id = !reply.metadata.id;
                vec![reply.to_vec().unwrap(); 12]
            }
            Bad::Lies => {
                reply.queries[0].set_name(Name::from_ascii("other.example.").unwrap());
                vec![reply.to_vec().unwrap(); 12]
            }
            Bad::Cuts | Bad::Closes => {
                reply.metadata.truncation = true;
                vec![reply.to_vec().unwrap()]
            }
            Bad::Folds => {
                let name = reply.queries[0].name().to_lowercase();
                reply.queries[0].set_name(name);
                reply.metadata.response_code = ResponseCode::ServFail;
                vec![reply.to_vec().unwrap()]
            }
            Bad::Echoes => vec![query.to_vec()],
            Bad::Babbles => vec![[&query[..2], &[0x81; 40]].concat()],
            Bad::Refers => {
                let data = RData::NS(NS(Name::from_ascii("ns.elsewhere.").unwrap()));
                reply.authorities.push(Record::from_rdata(Name::root(), 60, data));
                vec![reply.to_vec().unwrap()]
            }
        }
    }
}

impl Simulated for Line {
    fn open(&self, port: u16, server: SocketAddr) -> io::Result<Arrivals> {
        let (arrivals, socket) = mpsc::unbounded_channel();
        self.0.sockets.lock().unwrap().insert((port, server), arrivals);
        Ok(socket)
    }

    fn send(&self, port: u16, server: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        let bad = self.0.bad(server);
        let mut come: Vec<io::Result<Vec<u8>>> =
            self.0.replies(bad, datagram, false).into_iter().map(Ok).collect();
        if bad == Bad::Unreachable {
            come.push(Err(io::ErrorKind::ConnectionRefused.into()));
        }
        let hostile = self.0.clone();
        tokio::spawn(async move {
            sleep(WAY).await;
            let sockets = hostile.sockets.lock().unwrap();
            for one in come {
                let _ = sockets[&(port, server)].send(one); // it may have been closed
            }
        });
        Ok(())
    }

    fn connect(&self, server: SocketAddr) -> Connecting {
        let hostile = self.0.clone();
        Box::pin(async move {
            sleep(WAY).await;
            let bad = hostile.bad(server);
            if matches!(bad, Bad::Unreachable | Bad::Folds) {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (ours, mut theirs) = tokio::io::duplex(1 << 17);
            tokio::spawn(async move {
                while let Ok(length) = theirs.read_u16().await {
                    let mut query = vec![0; usize::from(length)];
                    theirs.read_exact(&mut query).await?;
                    let replies = hostile.replies(bad, &query, true);
                    if bad == Bad::Closes {
                        break;
                    }
                    for reply in replies {
                        theirs.write_u16(reply.len() as u16).await?;
                        theirs.write_all(&reply).await?;
                    }
                }
                Ok::<_, io::Error>(())
            });
            Ok(ours)
        })
    }
}

/// Puts a question to a group of these servers, several times, as health changes from one to the next.
async fn ask(servers: &[Bad], strategy: Strategy) {
    let hostile = Arc::new(Hostile { servers: servers.to_vec(), ..Hostile::default() });
    let place = |port: usize| ServerAddress::from(SocketAddr::from((Ipv4Addr::LOCALHOST, port as u16 + 1)));
    let network = Network::Simulated(Arc::new(Line(hostile.clone())));
    let options = GroupOptions { strategy, network, ..GroupOptions::default() };
    let group = Group::new("test".to_owned(), (0..servers.len()).map(place).collect(), options);
    let queries = || hostile.queries.load(Ordering::Relaxed);
    for round in 0..6 {
        let (begun, before) = (Instant::now(), queries());
        let failure = group.exchange(&outgoing("www.example.")).await.unwrap_err();
        let told = format!("{strategy:?} {servers:?}, round {round}: {failure}");
        assert!(begun.elapsed() <= group.options().deadline + WAY, "{told}: {:?}", begun.elapsed());
        let tries: usize = failure.attempts.iter().map(|attempt| attempt.tries as usize).sum();
        assert!(tries <= servers.len().clamp(6, 16), "{told}: {tries} tries");
        // those that are not up are probed beside it, each once at most in each second of it
        let allowed = (tries + servers.len()) * QUERIES_OF_A_TRY;
        assert!(queries() - before <= allowed, "{told}: {} queries for {tries} tries", queries() - before);
        // what it began ends with it, but for probes and connections
        sleep(Duration::from_secs(12)).await;
        let settled = queries();
        sleep(Duration::from_secs(60)).await;
        assert_eq!(queries(), settled, "{told}: it goes on");
        assert!(group.servers().all(|server| server.snapshot().in_flight == 0), "{told}");
        sleep(Duration::from_millis(300)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_bad_servers_are_mixed_an_exchange_is_bounded_in_tries_and_time() {
    for strategy in [Strategy::Failover, Strategy::Fastest, Strategy::Parallel] {
        for one in ALL {
            ask(&[one], strategy).await;
            for other in ALL {
                ask(&[one, other], strategy).await;
            }
        }
        ask(&ALL, strategy).await;
        let mut reversed = ALL;
        reversed.reverse();
        ask(&reversed, strategy).await;
    }
}

#[tokio::test(start_paused = true)]
async fn more_bad_servers_than_may_be_tried_are_not_all_asked() {
    let many: Vec<Bad> = ALL.into_iter().cycle().take(60).collect();
    ask(&many, Strategy::Failover).await;
    ask(&many, Strategy::Fastest).await;
}
