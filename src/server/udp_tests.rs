//! Tests of the UDP thread: what it answers, what it passes on, and how it ends.

use super::*;
use crate::resolve::fixture::{lines, query, server};
use hickory_proto::rr::RecordType;
use std::net::IpAddr;

const CONFIG: &str = r#"
[upstream]
servers = ["192.0.2.1"]
[[zone]]
name = "corp.example"
[[zone.record]]
rr = "www"
type = "A"
value = "10.0.0.1"
"#;

/// The result for a packet: true with a reply, and the waiting clients.
fn answer(server: &UdpServer, packet: &[u8], peer: &str) -> (bool, Vec<u8>, usize) {
    let mut fast_path = FastPath::new(&server.live, &server.tally, ClientTransport::Udp);
    let (mut reply, mut incoming) = (b"of the packet before".to_vec(), Vec::new());
    let answered = server.answer(
        &mut fast_path,
        packet,
        peer.parse().unwrap(),
        ReplySource::Bound,
        &mut reply,
        &mut incoming,
    );
    (answered, reply, incoming.len())
}

#[tokio::test]
async fn a_packet_is_answered_dropped_or_passed_on() {
    let live = server(CONFIG, &Arc::default());
    let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
    let tally = live.tallies.for_thread(socket.local_addr().unwrap());
    let server = UdpServer { socket, live, stop: None, tally };
    let private = query("www.corp.example", RecordType::A).to_vec().unwrap();
    for _ in 0..2 {
        let (answered, reply, waiting) = answer(&server, &private, "127.0.0.1:4000");
        assert!(answered && waiting == 0);
        assert_eq!(lines(&reply), ["NOERROR aa", "www.corp.example 60 A 10.0.0.1"]);
    }
    assert!(!answer(&server, &private, "127.0.0.1:0").0, "no client can receive there");
    let (answered, reply, waiting) = answer(&server, &[0; 3], "127.0.0.1:4000");
    assert!(!answered && reply.is_empty() && waiting == 0);
    let forwarded = query("www.test", RecordType::A).to_vec().unwrap();
    let (answered, reply, waiting) = answer(&server, &forwarded, "127.0.0.1:4000");
    assert!(!answered && reply.is_empty() && waiting == 1);
    assert_eq!(server.live.counters.panics.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_answers_until_it_is_told_to_stop() {
    for (listen, asked) in [("127.0.0.1:0", "127.0.0.1"), ("0.0.0.0:0", "127.0.0.2")] {
        let live = server(CONFIG, &Arc::default());
        let socket = UdpSocket::bind(listen).unwrap();
        let address = SocketAddr::new(asked.parse::<IpAddr>().unwrap(), socket.local_addr().unwrap().port());
        let stop = Stop::default();
        let thread = serve(socket, live, Handle::current(), Some(stop.clone())).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut buffer = [0; 2048];
        for name in ["www.corp.example", "WWW.corp.example"] {
            client.send_to(&query(name, RecordType::A).to_vec().unwrap(), address).unwrap();
            let (length, from) = client.recv_from(&mut buffer).expect("an answer");
            assert_eq!(lines(&buffer[..length])[1], format!("{name} 60 A 10.0.0.1"));
            assert_eq!(from, address, "it leaves from the address that was asked");
        }
        stop.store(true, Ordering::Release);
        thread.join().unwrap();
    }
}

#[test]
fn peers_of_both_families_are_read_as_they_are() {
    for text in ["192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%3]:53"] {
        let address: SocketAddr = text.parse().unwrap();
        assert_eq!(to_std(&SockaddrStorage::from(address)), Some(address));
    }
    let v4 = SockaddrIn::from("192.0.2.1:53".parse::<std::net::SocketAddrV4>().unwrap());
    assert_eq!(Peer::to_std(v4), "192.0.2.1:53".parse().unwrap());
}
