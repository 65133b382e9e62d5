//! Serving: an upstream that is not ours, many clients at once, TCP as clients really use it.

use crate::client::{Ask, receive, receive_framed, send_framed, udp};
use crate::eventually;
use crate::server::Server;
use crate::upstream::{self, Upstream};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{Name, RData, Record};
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneType};
use pvtzd::engine::name::parse;
use pvtzd::engine::record::{parse_type, parse_value};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// A zone with something of everything.
const ZONE: &str = "
    www A 192.0.2.1
    www A 192.0.2.2
    www AAAA 2001:db8::1
    alias CNAME www.test
    two CNAME alias.test
    far CNAME www.app.example
    * TXT any
    mail MX 10 www.test
    _sip._udp SRV 10 20 5060 www.test
";

/// hickory's authoritative server on loopback, with [`ZONE`] as `test` and a set of 60 TXT records in it.
fn authority() -> (tokio::runtime::Runtime, SocketAddr) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let origin = parse("test").unwrap();
    let mut zone: InMemoryZoneHandler =
        InMemoryZoneHandler::empty(origin.clone(), ZoneType::Primary, AxfrPolicy::Deny);
    let soa = SOA::new(parse("ns.test").unwrap(), Name::root(), 1, 3600, 600, 86_400, 120);
    zone.upsert_mut(Record::from_rdata(origin.clone(), 3600, RData::SOA(soa)), 1);
    let lines = ZONE.lines().filter(|line| !line.trim().is_empty()).map(|line| line.trim().to_string());
    let large = (0..60).map(|n| format!("large TXT \"{n:03}{}\"", "x".repeat(100)));
    for line in lines.chain(large) {
        let [owner, rtype, value] = line.splitn(3, ' ').collect::<Vec<_>>().try_into().unwrap();
        let data = parse_value(parse_type(rtype).unwrap(), value).unwrap();
        zone.upsert_mut(Record::from_rdata(parse(&format!("{owner}.test")).unwrap(), 300, data), 1);
    }
    let mut catalog = Catalog::new();
    catalog.upsert(origin.into(), vec![Arc::new(zone)]);
    let address = runtime.block_on(async {
        let mut server = hickory_server::Server::new(catalog);
        let (udp, tcp) = loop {
            let udp = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(tcp) = tokio::net::TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        server.register_socket(udp);
        server.register_listener(tcp, Duration::from_secs(5), 64);
        tokio::spawn(async move { server.block_until_done().await });
        address
    });
    (runtime, address)
}

#[test]
fn an_independent_authority_is_resolved_through() {
    let (_runtime, address) = authority();
    let server = Server::start(&format!(
        "[upstream]\nservers = [\"{address}\"]\n[[zone]]\nname = \"app.example\"\n\
         [[zone.record]]\nname = \"www\"\ntype = \"A\"\nvalue = \"10.0.0.1\"\n\
         [[zone.record]]\nname = \"out\"\ntype = \"CNAME\"\nvalue = \"two.test\"\n"
    ));
    let check = |name: &str, rtype: &str, rcode: ResponseCode, values: &[&str]| {
        for turn in 0..2 {
            // the second time it comes out of the cache
            let reply = server.ask(name, rtype);
            let mut found = reply.values();
            found.sort();
            assert_eq!(
                (reply.rcode(), found),
                (rcode, values.iter().map(|v| v.to_string()).collect()),
                "{name} {rtype} {turn}"
            );
        }
    };
    let ok = ResponseCode::NoError;
    check("www.test", "A", ok, &["192.0.2.1", "192.0.2.2"]);
    check("WWW.test", "AAAA", ok, &["2001:db8::1"]);
    check("www.test", "MX", ok, &[]);
    check("any.test", "TXT", ok, &["\"any\""]);
    check("below.www.test", "A", ResponseCode::NXDomain, &[]);
    check("mail.test", "MX", ok, &["10 www.test"]);
    check("_sip._udp.test", "SRV", ok, &["10 20 5060 www.test"]);
    check("two.test", "A", ok, &["192.0.2.1", "192.0.2.2", "alias.test", "www.test"]);
    check("far.test", "A", ok, &["10.0.0.1", "www.app.example"]);
    check("out.app.example", "A", ok, &["192.0.2.1", "192.0.2.2", "alias.test", "two.test", "www.test"]);
    check("out.app.example", "MX", ok, &["alias.test", "two.test", "www.test"]);
    // hickory refuses what is not its own: that is a failure for us
    check("elsewhere.example", "A", ResponseCode::ServFail, &[]);
}

#[test]
fn an_answer_beyond_a_datagram_is_fetched_over_tcp_and_cut_for_each_client() {
    let (_runtime, address) = authority();
    let server = Server::start(&format!("[upstream]\nservers = [\"{address}\"]\n"));
    let whole = Ask::new("large.test", "TXT").over_tcp(server.address).unwrap();
    assert_eq!(whole.message.answers.len(), 60);
    for edns in [None, Some(0), Some(512), Some(900), Some(1232), Some(4096)] {
        let reply = Ask { edns, ..Ask::new("large.test", "TXT") }.over_udp(server.address).unwrap();
        assert!(reply.message.metadata.truncation, "{edns:?}");
        let limit = usize::from(edns.unwrap_or(512)).clamp(512, 1232);
        assert!(reply.size <= limit, "{edns:?}: {}", reply.size);
        assert!(reply.message.answers.len() >= limit / 130, "{edns:?}: as much as fits");
    }
}

/// Holds an upstream back until the test lets it go.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let open = self.0.0.lock().unwrap();
        let _open = self.0.1.wait_while(open, |open| !*open).unwrap();
    }
}

/// An upstream that holds its answers back.
fn gated() -> (Gate, Upstream) {
    let gate = Gate::default();
    let held = gate.clone();
    let upstream = Upstream::start(move |query| {
        held.pass();
        Some(upstream::address(query, 300, [192, 0, 2, 1]))
    });
    (gate, upstream)
}

/// The most queries that one question costs at one server.
const TRIES: usize = 6;

#[test]
fn two_hundred_clients_cost_one_upstream_question() {
    let (gate, upstream) = gated();
    let server = Server::start(&upstream.config());
    let clients: Vec<_> = (0..200u16)
        .map(|number| {
            let client =
                IpAddr::V4(Ipv4Addr::new(127, 0, 1 + (number / 100) as u8, (number % 100) as u8 + 1));
            let name = if number % 2 == 0 { "www.test" } else { "WwW.Test" };
            let ask = Ask { id: number, client, ..Ask::new(name, "A") };
            let socket = udp(client);
            socket.send_to(&ask.packet(), server.address).unwrap();
            (ask, socket)
        })
        .collect();
    eventually("the first question", || (!upstream.log.all().is_empty()).then_some(()));
    gate.open();
    for (ask, socket) in &clients {
        // each has its own id and its own case back
        let reply = ask.take(&receive(socket, server.address).expect("an answer for everyone")).unwrap();
        assert_eq!(reply.values(), ["192.0.2.1"]);
    }
    // On a slow machine pvtzd takes the question for lost and sends it again, but not for each client.
    let asked = upstream.log.all().len();
    assert!((1..=TRIES).contains(&asked), "{asked} questions");
}

const PRIVATE: &str = "[[zone]]\nname = \"app.example\"\n\
    [[zone.record]]\nname = \"www\"\ntype = \"A\"\nvalue = \"10.0.0.1\"\n";

#[test]
fn pipelined_queries_are_answered_as_they_finish() {
    let (gate, upstream) = gated();
    let server = Server::start(&(upstream.config() + PRIVATE));
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(crate::DEADLINE)).unwrap();
    let slow = Ask { id: 1, ..Ask::new("slow.test", "A") };
    let quick: Vec<Ask> = (2..20).map(|id| Ask { id, ..Ask::new("www.app.example", "A") }).collect();
    send_framed(&mut stream, &slow.packet()).unwrap();
    eventually("the slow question", || (!upstream.log.all().is_empty()).then_some(()));
    for ask in &quick {
        send_framed(&mut stream, &ask.packet()).unwrap();
    }
    for ask in &quick {
        let reply = ask.take(&receive_framed(&mut stream).unwrap()).unwrap();
        assert_eq!(reply.values(), ["10.0.0.1"], "ahead of the slow one");
    }
    gate.open();
    let reply = slow.take(&receive_framed(&mut stream).unwrap()).unwrap();
    assert_eq!(reply.values(), ["192.0.2.1"]);
}

#[test]
fn a_client_that_closes_its_half_still_gets_all_answers() {
    let (gate, upstream) = gated();
    let server = Server::start(&(upstream.config() + PRIVATE));
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(crate::DEADLINE)).unwrap();
    let (slow, quick) = (Ask::new("slow.test", "A"), Ask::new("www.app.example", "A"));
    send_framed(&mut stream, &slow.packet()).unwrap();
    send_framed(&mut stream, &quick.packet()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(quick.take(&receive_framed(&mut stream).unwrap()).unwrap().values(), ["10.0.0.1"]);
    gate.open();
    assert_eq!(slow.take(&receive_framed(&mut stream).unwrap()).unwrap().values(), ["192.0.2.1"]);
    assert!(receive_framed(&mut stream).is_err(), "then the server closes too");
}

#[test]
fn a_query_may_come_octet_by_octet_and_others_do_not_wait_for_it() {
    let server = Server::start(&format!("[upstream]\nservers = []\n{PRIVATE}"));
    let mut slow = TcpStream::connect(server.address).unwrap();
    slow.set_read_timeout(Some(crate::DEADLINE)).unwrap();
    slow.set_nodelay(true).unwrap();
    let ask = Ask::new("www.app.example", "A");
    let packet = ask.packet();
    let framed = [&(packet.len() as u16).to_be_bytes(), packet.as_slice()].concat();
    for octet in &framed {
        slow.write_all(&[*octet]).unwrap();
        assert_eq!(server.ask("www.app.example", "A").values(), ["10.0.0.1"]);
    }
    assert_eq!(ask.take(&receive_framed(&mut slow).unwrap()).unwrap().values(), ["10.0.0.1"]);
}

#[test]
fn a_new_connection_takes_the_place_of_the_one_that_is_idle_longest() {
    let server =
        Server::start(&format!("[server]\nmax_tcp_connections = 3\n[upstream]\nservers = []\n{PRIVATE}"));
    let ask = Ask::new("www.app.example", "A");
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(crate::DEADLINE)).unwrap();
        send_framed(&mut stream, &ask.packet()).unwrap();
        receive_framed(&mut stream).unwrap();
        held.push(stream);
    }
    assert!(ask.over_tcp(server.address).is_ok(), "a fourth is served");
    assert!(receive_framed(&mut held[0]).is_err(), "for the first, which is closed");
    for stream in &mut held[1..] {
        send_framed(stream, &ask.packet()).unwrap();
        receive_framed(stream).unwrap();
    }
}

#[test]
fn an_expired_answer_is_served_while_the_upstream_is_silent_and_a_new_one_once_it_is_back() {
    let silent = Arc::new(AtomicBool::new(false));
    let switch = silent.clone();
    let upstream = Upstream::start(move |query| {
        (!switch.load(Ordering::Relaxed)).then(|| upstream::address(query, 1, [192, 0, 2, 1]))
    });
    let config =
        "[cache]\nstale_answer_after = \"100ms\"\nstale_retry = \"1s\"\n".to_string() + &upstream.config();
    let server = Server::start(&config);
    assert_eq!(server.ask("www.test", "A").ede(), None);
    silent.store(true, Ordering::Relaxed);
    let stale = eventually("the answer to expire", || {
        let reply = server.ask("www.test", "A");
        (reply.ede() == Some(3)).then_some(reply)
    });
    assert_eq!(stale.lines(), ["NOERROR", "www.test 30 A 192.0.2.1", "ede 3"]);
    silent.store(false, Ordering::Relaxed);
    eventually("a fresh answer", || server.ask("www.test", "A").ede().is_none().then_some(()));
}

/// An upstream that swallows questions for names that begin with `mute`, or everything once the switch is on.
fn swallowing() -> (Upstream, Arc<AtomicBool>) {
    let silent = Arc::new(AtomicBool::new(false));
    let switch = silent.clone();
    let upstream = Upstream::start(move |query| {
        let name = query.queries[0].name().to_string().to_ascii_lowercase();
        let mute = name.starts_with("mute") || switch.load(Ordering::Relaxed);
        (!mute).then(|| upstream::address(query, u32::from(name.starts_with("old")), [192, 0, 2, 1]))
    });
    (upstream, silent)
}

/// Three names that are swallowed, one after the other: the server is down then.
fn three_swallowed_names(server: &Server) {
    for name in ["mute1.test", "mute2.test", "mute3.test"] {
        assert_eq!(server.ask(name, "A").lines()[0], "SERVFAIL");
    }
}

#[test]
fn names_whose_authority_is_silent_make_no_server_silent() {
    let (upstream, _) = swallowing();
    let server = Server::start(&("[cache]\nstale_answer_after = \"3s\"\n".to_string() + &upstream.config()));
    assert_eq!(server.ask("old.test", "A").ede(), None);
    three_swallowed_names(&server);
    for _ in 0..3 {
        assert_eq!(server.ask("old.test", "A").ede(), None, "the server is asked, and answers");
    }
}

#[test]
fn a_server_that_is_silent_to_everything_keeps_nobody_waiting_who_can_have_an_old_answer() {
    let (upstream, silent) = swallowing();
    let server = Server::start(&("[cache]\nstale_answer_after = \"3s\"\n".to_string() + &upstream.config()));
    assert_eq!(server.ask("old.test", "A").ede(), None);
    silent.store(true, Ordering::Relaxed);
    three_swallowed_names(&server);
    eventually("the silence to be known", || {
        let begin = Instant::now();
        let reply = server.ask("old.test", "A");
        (reply.ede() == Some(3) && begin.elapsed() < Duration::from_secs(1)).then_some(())
    });
}

#[test]
fn private_names_and_the_cache_are_not_held_up_by_a_silent_upstream() {
    let upstream = Upstream::start(|query| {
        let silent = query.queries[0].name().to_string().to_ascii_lowercase().starts_with("mute");
        (!silent).then(|| upstream::address(query, 300, [192, 0, 2, 1]))
    });
    let server = Server::start(&(upstream.config() + PRIVATE));
    server.ask("cached.test", "A");
    let socket = udp(IpAddr::V4(Ipv4Addr::LOCALHOST));
    for number in 0..300 {
        let ask = Ask { id: number, ..Ask::new(&format!("mute{number}.test"), "A") };
        socket.send_to(&ask.packet(), server.address).unwrap();
    }
    for number in 0..100 {
        // Of three questions the one that the upstream swallows is read first and answered last.
        let socket = udp(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let silent = format!("mute-beside-{number}.test");
        let names = [silent.as_str(), "www.app.example", "cached.test"];
        let asked: Vec<Ask> = (1..).zip(names).map(|(id, name)| Ask { id, ..Ask::new(name, "A") }).collect();
        for ask in &asked {
            socket.send_to(&ask.packet(), server.address).unwrap();
        }
        let mut replies: Vec<Vec<u8>> =
            (0..2).map(|_| receive(&socket, server.address).expect("an answer")).collect();
        replies.sort(); // by id
        assert_eq!(asked[1].take(&replies[0]).expect("the private name").values(), ["10.0.0.1"]);
        assert_eq!(asked[2].take(&replies[1]).expect("the cached name").values(), ["192.0.2.1"]);
    }
}
