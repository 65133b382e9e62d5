//! Reloading by SIGHUP: under load, with faults, and what it leaves alone.

use crate::client::{Ask, receive_framed, send_framed};
use crate::eventually;
use crate::server::Server;
use crate::upstream::{self, Upstream};
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{RData, Record};
use pvtzd::engine::name::parse;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How often the configuration is changed under load.
const RELOADS: u32 = 1000;

/// A configuration whose every private record carries its number: as TTL, and in its address.
fn numbered(upstream: &str, number: u32) -> String {
    let mut text = upstream.to_string();
    for (zone, records) in [
        (
            "a.example",
            vec![("www", "CNAME", "far.test".to_string()), ("number", "TXT", format!("n{number}"))],
        ),
        ("b.example", vec![("back", "CNAME", "end.c.example".into())]),
        ("c.example", vec![("end", "A", format!("10.0.{}.{}", number / 256, number % 256))]),
    ] {
        text += &format!("[[zone]]\nname = \"{zone}\"\n");
        for (name, rtype, value) in records {
            text += &format!(
                "[[zone.record]]\nname = \"{name}\"\ntype = \"{rtype}\"\nvalue = \"{value}\"\nttl = {number}\n"
            );
        }
    }
    text
}

/// Leads `far.test` back into a private zone, and is never cached: each query waits for it in the middle.
fn halfway() -> Upstream {
    Upstream::start(|query| {
        let mut message = upstream::empty(query, hickory_proto::op::ResponseCode::NoError);
        let data = RData::CNAME(CNAME(parse("back.b.example").unwrap()));
        message.answers.push(Record::from_rdata(query.queries[0].name().clone(), 0, data));
        Some(message)
    })
}

#[test]
fn reloads_under_load_lose_no_query_and_answer_none_half_new() {
    let upstream = halfway();
    let server = Server::start(&numbered(&upstream.config(), 1));
    let (ended, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    let reply =
                        Ask::new("www.a.example", "A").over_udp(server.address).expect("no query is lost");
                    let records = &reply.message.answers;
                    assert_eq!(records.len(), 4, "{:?}", reply.lines());
                    let number = records[0].ttl;
                    assert_eq!([records[2].ttl, records[3].ttl], [number; 2], "{:?}", reply.lines());
                    let address = format!("10.0.{}.{}", number / 256, number % 256);
                    assert_eq!(reply.values()[3], address, "{:?}", reply.lines());
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for number in 2..RELOADS + 2 {
            server.reload(&numbered(&upstream.config(), number));
            let number = format!("\"n{number}\"");
            eventually("the new configuration", || {
                (server.ask("number.a.example", "TXT").values() == [number.as_str()]).then_some(())
            });
        }
        ended.store(true, Ordering::Relaxed);
    });
    assert!(answered.load(Ordering::Relaxed) > u64::from(RELOADS), "there was load");
}

#[test]
fn a_configuration_with_a_fault_changes_nothing_and_says_why() {
    let server = Server::start(&numbered("[upstream]\nservers = []\n", 1));
    server.reload("[upstream]\nservers = []\n[[zone]]\nname = \"a.example\"\nrecursion = true\n[sevrer]\n");
    eventually("the fault to be told", || (server.said("the former one stays in force") > 0).then_some(()));
    assert!(server.said("recursion") > 0 && server.said("sevrer") > 0, "all faults are told");
    assert_eq!(server.ask("number.a.example", "TXT").values(), ["\"n1\""]);
    server.reload(&numbered("[upstream]\nservers = []\n", 2));
    eventually("the next good configuration", || {
        (server.ask("number.a.example", "TXT").values() == ["\"n2\""]).then_some(())
    });
}

#[test]
fn a_reload_keeps_the_cache_and_open_connections_and_hides_what_has_become_private() {
    let upstream = Upstream::start(|query| Some(upstream::address(query, 300, [192, 0, 2, 1])));
    let server = Server::start(&numbered(&upstream.config(), 1));
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(crate::DEADLINE)).unwrap();
    let mut over_stream = |name: &str| {
        let ask = Ask::new(name, "A");
        send_framed(&mut stream, &ask.packet()).unwrap();
        ask.take(&receive_framed(&mut stream).unwrap()).unwrap().values()
    };
    assert_eq!(over_stream("kept.test"), ["192.0.2.1"]);
    assert_eq!(over_stream("www.later.example"), ["192.0.2.1"]);
    let private = "[[zone]]\nname = \"later.example\"\n\
        [[zone.record]]\nname = \"www\"\ntype = \"A\"\nvalue = \"10.9.9.9\"\n";
    server.reload(&(numbered(&upstream.config(), 2) + private));
    eventually("the new configuration", || {
        (server.ask("number.a.example", "TXT").values() == ["\"n2\""]).then_some(())
    });
    assert_eq!(over_stream("www.later.example"), ["10.9.9.9"], "the very next answer is the private one");
    assert_eq!(over_stream("kept.test"), ["192.0.2.1"]);
    assert_eq!(upstream.log.take(), ["kept.test A", "www.later.example A"], "out of the cache");
}
