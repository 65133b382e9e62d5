//! Packets that are no proper queries: FORMERR, NOTIMP, BADVERS or silence, never a stuck or a dead server.

use crate::client::{Ask, receive, receive_framed, send_framed, udp};
use crate::server::Server;
use std::net::{IpAddr, Ipv4Addr, TcpStream};

const CONFIG: &str = "[upstream]\nservers = []\n[[zone]]\nname = \"app.example\"\n\
    [[zone.record]]\nname = \"www\"\ntype = \"A\"\nvalue = \"10.0.0.1\"\n";

/// `www.app.example A IN`.
const QUESTION: &[u8] = b"\x03www\x03app\x07example\0\0\x01\0\x01";
/// An OPT record of version 0.
const OPT: &[u8] = b"\0\0\x29\x04\xd0\0\0\0\0\0\0";

/// A packet with id 0x4242.
fn packet(flags: u16, counts: [u16; 4], body: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![0x42, 0x42];
    bytes.extend(flags.to_be_bytes());
    bytes.extend(counts.iter().flat_map(|count| count.to_be_bytes()));
    bytes.extend(body.concat());
    bytes
}

/// What, as octets, and the code of the answer; nothing for silence.
fn rows() -> Vec<(&'static str, Vec<u8>, Option<u8>)> {
    let long_label = [&[64u8][..], &[b'a'; 64], b"\0\0\x01\0\x01"].concat();
    let long_name = [[&[63u8][..], &[b'a'; 63]].concat().repeat(4), b"\0\0\x01\0\x01".to_vec()].concat();
    let with_record = b"\xc0\x0c\0\x01\0\x01\0\0\0\0\0\x04\x0a\0\0\x01";
    vec![
        ("nothing", vec![], None),
        ("one octet", vec![0x42], None),
        ("a cut header", packet(0x0100, [1, 0, 0, 0], &[])[..11].to_vec(), None),
        ("an answer", packet(0x8180, [1, 0, 0, 0], &[QUESTION]), None),
        ("an answer without anything", packet(0x8180, [0; 4], &[]), None),
        ("a header alone", packet(0x0100, [1, 0, 0, 0], &[]), Some(1)),
        ("no question", packet(0x0100, [0; 4], &[]), Some(1)),
        ("two questions", packet(0x0100, [2, 0, 0, 0], &[QUESTION, QUESTION]), Some(1)),
        ("a cut name", packet(0x0100, [1, 0, 0, 0], &[b"\x03www\x03a"]), Some(1)),
        ("a cut question", packet(0x0100, [1, 0, 0, 0], &[&QUESTION[..QUESTION.len() - 1]]), Some(1)),
        ("a pointer to itself", packet(0x0100, [1, 0, 0, 0], &[b"\xc0\x0c\0\x01\0\x01"]), Some(1)),
        (
            "a pointer back and forth",
            packet(0x0100, [1, 0, 0, 0], &[b"\xc0\x0e\xc0\x0c\0\x01\0\x01"]),
            Some(1),
        ),
        ("a reserved label type", packet(0x0100, [1, 0, 0, 0], &[b"\x80a\0\0\x01\0\x01"]), Some(1)),
        ("a label of 64 octets", packet(0x0100, [1, 0, 0, 0], &[&long_label]), Some(1)),
        ("a name of 257 octets", packet(0x0100, [1, 0, 0, 0], &[&long_name]), Some(1)),
        ("octets behind the end", packet(0x0100, [1, 0, 0, 0], &[QUESTION, b"x"]), Some(1)),
        ("an answer record in a query", packet(0x0100, [1, 1, 0, 0], &[QUESTION, with_record]), Some(1)),
        ("an authority record in a query", packet(0x0100, [1, 0, 1, 0], &[QUESTION, with_record]), Some(1)),
        ("more records than there are", packet(0x0100, [1, 0, 0, 1], &[QUESTION]), Some(1)),
        ("very many records", packet(0x0100, [1, 0, 0, 0xffff], &[QUESTION, OPT]), Some(1)),
        ("two OPTs", packet(0x0100, [1, 0, 0, 2], &[QUESTION, OPT, OPT]), Some(1)),
        (
            "OPT data longer than the packet",
            packet(0x0100, [1, 0, 0, 1], &[QUESTION, b"\0\0\x29\x04\xd0\0\0\0\0\xff\xff"]),
            Some(1),
        ),
        (
            "EDNS version 1",
            packet(0x0100, [1, 0, 0, 1], &[QUESTION, b"\0\0\x29\x04\xd0\0\x01\0\0\0\0"]),
            Some(0),
        ),
        ("another opcode with OPT", packet(0x2100, [1, 0, 0, 1], &[QUESTION, OPT]), Some(4)),
        ("no question, but OPT", packet(0x0100, [0, 0, 0, 1], &[OPT]), Some(1)),
        ("two questions and OPT", packet(0x0100, [2, 0, 0, 1], &[QUESTION, QUESTION, OPT]), Some(1)),
        ("IQUERY", packet(0x0900, [1, 0, 0, 0], &[QUESTION]), Some(4)),
        ("STATUS", packet(0x1100, [0; 4], &[]), Some(4)),
        ("NOTIFY", packet(0x2100, [1, 0, 0, 0], &[QUESTION]), Some(4)),
        ("UPDATE", packet(0x2900, [1, 0, 0, 0], &[QUESTION]), Some(4)),
        ("opcode 15", packet(0x7900, [1, 0, 0, 0], &[QUESTION]), Some(4)),
        ("class CHAOS", packet(0x0100, [1, 0, 0, 0], &[b"\x07version\x04bind\0\0\x10\0\x03"]), Some(5)),
        ("class 0", packet(0x0100, [1, 0, 0, 0], &[b"\x03www\0\0\x01\0\0"]), Some(5)),
        ("TYPE 0", packet(0x0100, [1, 0, 0, 0], &[b"\x03www\0\0\0\0\x01"]), Some(5)),
        ("an odd but proper flag", packet(0x0140, [1, 0, 0, 0], &[QUESTION]), Some(0)),
    ]
}

/// What every answer has, whatever the question was.
fn check_reply(what: &str, query: &[u8], reply: &[u8], code: u8) {
    assert_eq!(reply[..2], query[..2], "{what}: the id");
    assert!(reply[2] & 0x80 != 0, "{what}: QR");
    assert_eq!(reply[2] & 0x78, query[2] & 0x78, "{what}: the opcode");
    assert_eq!(reply[3] & 0x0f, code, "{what}: the code");
    assert!(reply.len() <= 512, "{what}");
    // an OPT record without options at the end of the query, and nothing else of that look
    if query.len() > 12 && query.ends_with(OPT) {
        assert_eq!(
            (reply[11], reply[reply.len() - 11..][..3].to_vec()),
            (1, b"\0\0\x29".to_vec()),
            "{what}: OPT"
        );
    }
}

#[test]
fn malformed_datagrams_get_a_code_or_silence() {
    let server = Server::start(CONFIG);
    let socket = udp(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let good = Ask { id: 0x7777, ..Ask::new("www.app.example", "A") };
    for (what, query, code) in rows() {
        socket.send_to(&query, server.address).unwrap();
        if let Some(code) = code {
            let reply = receive(&socket, server.address).unwrap_or_else(|| panic!("{what}: no answer"));
            check_reply(what, &query, &reply, code);
        }
        // the same socket of the server handles datagrams in order: an answer too many would come before this one
        socket.send_to(&good.packet(), server.address).unwrap();
        let reply = receive(&socket, server.address).unwrap_or_else(|| panic!("no answer after {what}"));
        assert_eq!(good.take(&reply).unwrap().values(), ["10.0.0.1"], "after {what}");
    }
}

#[test]
fn a_question_for_the_cookie_alone_gets_it() {
    let server = Server::start(CONFIG);
    let socket = udp(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let ask = |cookie: &[u8]| {
        let length = [0, cookie.len() as u8 + 4, 0, 10, 0, cookie.len() as u8];
        let query = packet(0x0100, [0, 0, 0, 1], &[&OPT[..9], &length, cookie]);
        socket.send_to(&query, server.address).unwrap();
        receive(&socket, server.address).expect("an answer")
    };
    let reply = ask(b"8 octets");
    // header, OPT with one option: the client's cookie and ours
    assert_eq!(
        (reply.len(), &reply[2..12], &reply[23..35]),
        (12 + 11 + 4 + 24, &b"\x81\x80\0\0\0\0\0\0\0\x01"[..], &b"\0\x0a\0\x188 octets"[..])
    );
    let mut cookie = reply[27..].to_vec();
    assert_eq!(ask(&cookie)[3] & 0x0f, 0);
    cookie[23] ^= 1;
    let refused = ask(&cookie);
    assert_eq!((refused[3] & 0x0f, refused[17]), (7, 1), "BADCOOKIE is 23");
    assert_eq!(ask(b"7 octet")[3] & 0x0f, 1);
}

#[test]
fn queries_with_options_and_without_rd_get_what_others_get() {
    let server = Server::start(CONFIG);
    let socket = udp(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let nsid: &[u8] = b"\0\x04\0\x03\0\0";
    let cookie: &[u8] = b"\0\x0c\0\x0a\0\x088 octets";
    for _ in 0..2 {
        for (flags, options) in
            [(0x0100, &b"\0\0"[..]), (0x0100, nsid), (0x0100, cookie), (0, nsid), (0, &b"\0\0"[..])]
        {
            let query = packet(flags, [1, 0, 0, 1], &[QUESTION, &OPT[..9], options]);
            socket.send_to(&query, server.address).unwrap();
            let reply = receive(&socket, server.address).expect("an answer");
            assert_eq!(reply[..12], [0x42, 0x42, 0x84 | (flags >> 8) as u8, 0x80, 0, 1, 0, 1, 0, 0, 0, 1]);
            let record = [&b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\0\0\x01"[..], &OPT[..9]].concat();
            assert_eq!(reply[12 + QUESTION.len()..][..record.len()], record);
        }
    }
}

#[test]
fn malformed_messages_do_not_end_a_connection() {
    let server = Server::start(CONFIG);
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(crate::DEADLINE)).unwrap();
    let good = Ask { id: 0x7777, ..Ask::new("www.app.example", "A") };
    for (what, query, code) in rows() {
        send_framed(&mut stream, &query).unwrap();
        if let Some(code) = code {
            check_reply(what, &query, &receive_framed(&mut stream).unwrap(), code);
        }
        send_framed(&mut stream, &good.packet()).unwrap();
        let reply = receive_framed(&mut stream).unwrap_or_else(|error| panic!("after {what}: {error}"));
        assert_eq!(good.take(&reply).unwrap().values(), ["10.0.0.1"], "after {what}");
    }
}

#[test]
fn thousands_of_mutilated_queries_leave_the_server_well() {
    let server = Server::start(CONFIG);
    let socket = udp(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let good = Ask { id: 0x7777, ..Ask::new("www.app.example", "A") };
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let templates: Vec<Vec<u8>> = rows().into_iter().map(|row| row.1).filter(|row| row.len() > 12).collect();
    for _ in 0..40 {
        for _ in 0..100 {
            let mut bytes = templates[random(templates.len())].clone();
            for _ in 0..1 + random(4) {
                let place = random(bytes.len());
                bytes[place] = random(256) as u8;
            }
            bytes.truncate(1 + random(bytes.len() + 20));
            bytes[0] = 0; // an id that no good query has
            socket.send_to(&bytes, server.address).unwrap();
        }
        socket.send_to(&good.packet(), server.address).unwrap();
        loop {
            let reply = receive(&socket, server.address).expect("the server answers");
            if reply[..2] == good.id.to_be_bytes() {
                assert_eq!(good.take(&reply).unwrap().values(), ["10.0.0.1"]);
                break;
            }
        }
    }
    assert_eq!(server.said("a defect of pvtzd"), 0, "no panic");
}
