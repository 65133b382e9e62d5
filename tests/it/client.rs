//! Who asks: queries as packets, answers as lines of text.

use crate::DEADLINE;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{Name, Record};
use pvtzd::engine::name::{parse, show};
use pvtzd::engine::rcode::show_rcode;
use pvtzd::engine::record::{parse_type, show_type, show_value};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};

/// A query.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The name.
    pub name: String,
    /// The type.
    pub rtype: String,
    /// Message id.
    pub id: u16,
    /// From which address of this machine it comes.
    pub client: IpAddr,
    /// RD.
    pub recursion: bool,
    /// DO.
    pub dnssec_ok: bool,
    /// CD.
    pub checking_disabled: bool,
    /// AD: the client understands that flag.
    pub authentic_data: bool,
    /// The UDP size of its OPT record, if it has one.
    pub edns: Option<u16>,
}

impl Ask {
    /// What an ordinary client asks, with EDNS.
    pub fn new(name: &str, rtype: &str) -> Self {
        Self {
            name: name.into(),
            rtype: rtype.into(),
            id: 0x1234,
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            recursion: true,
            dnssec_ok: false,
            checking_disabled: false,
            authentic_data: false,
            edns: Some(1232),
        }
    }

    /// The packet.
    pub fn packet(&self) -> Vec<u8> {
        let mut message = Message::new(self.id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = self.recursion;
        message.metadata.checking_disabled = self.checking_disabled;
        message.metadata.authentic_data = self.authentic_data;
        message.add_query(Query::query(parse(&self.name).unwrap(), parse_type(&self.rtype).unwrap()));
        if let Some(size) = self.edns {
            let mut edns = Edns::new();
            edns.set_max_payload(size).set_version(0).set_dnssec_ok(self.dnssec_ok);
            message.set_edns(edns);
        }
        message.to_vec().unwrap()
    }

    /// Asks over UDP; nothing if there is no answer in [`DEADLINE`].
    pub fn over_udp(&self, server: SocketAddr) -> Option<Reply> {
        let socket = udp(self.client);
        socket.send_to(&self.packet(), server).unwrap();
        self.take(&receive(&socket, server)?)
    }

    /// Asks over TCP.
    pub fn over_tcp(&self, server: SocketAddr) -> io::Result<Reply> {
        let mut stream = TcpStream::connect(server)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        send_framed(&mut stream, &self.packet())?;
        Ok(self.take(&receive_framed(&mut stream)?).expect("the answer to this query"))
    }

    /// The answer out of its octets, after a look at what every answer must have.
    pub fn take(&self, octets: &[u8]) -> Option<Reply> {
        let message = Message::from_vec(octets).expect("an answer that can be read");
        let head = &message.metadata;
        assert_eq!((head.id, head.message_type), (self.id, MessageType::Response), "{self:?}");
        assert_eq!(head.recursion_desired, self.recursion, "RD is echoed: {self:?}");
        assert_eq!(head.checking_disabled, self.checking_disabled, "CD is echoed: {self:?}");
        assert!(head.recursion_available, "RA is always set: {self:?}");
        assert_eq!(message.edns.is_some(), self.edns.is_some(), "OPT answers OPT: {self:?}");
        assert_eq!(message.queries.len(), 1, "{self:?}");
        let asked: &Name = message.queries[0].name();
        assert!(asked.eq_case(&parse(&self.name).unwrap()), "the question in the client's case: {self:?}");
        Some(Reply { message, size: octets.len() })
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The message.
    pub message: Message,
    /// Its octets.
    pub size: usize,
}

impl Reply {
    /// The answer as the lines that scenarios have: code and flags, records, extended error.
    pub fn lines(&self) -> Vec<String> {
        let head = &self.message.metadata;
        let flags = [("aa", head.authoritative), ("ad", head.authentic_data), ("tc", head.truncation)];
        let flags: String =
            flags.iter().filter(|(_, set)| *set).map(|(flag, _)| format!(" {flag}")).collect();
        let mut lines = vec![format!("{}{flags}", show_rcode(head.response_code, false))];
        lines.extend(self.message.answers.iter().map(|record| show_shortly(record, &["RRSIG"])));
        // of a SOA or a proof the owner counts; what is in it is the zone's business
        lines.extend(
            self.message.authorities.iter().map(|record| {
                format!("authority {}", show_shortly(record, &["SOA", "RRSIG", "NSEC", "NSEC3"]))
            }),
        );
        lines.extend(self.ede().map(|code| format!("ede {code}")));
        lines
    }

    /// The extended error's code, if there is one.
    pub fn ede(&self) -> Option<u16> {
        match self.message.edns.as_ref()?.option(EdnsCode::from(15))? {
            EdnsOption::Unknown(_, bytes) => Some(u16::from_be_bytes(*bytes.first_chunk()?)),
            _ => None,
        }
    }

    /// The extended error's text.
    pub fn ede_text(&self) -> String {
        match self.message.edns.as_ref().and_then(|edns| edns.option(EdnsCode::from(15))) {
            Some(EdnsOption::Unknown(_, bytes)) => String::from_utf8_lossy(&bytes[2..]).into_owned(),
            _ => String::new(),
        }
    }

    /// Values of the answer section, as text.
    pub fn values(&self) -> Vec<String> {
        self.message.answers.iter().map(|record| show_value(&record.data)).collect()
    }

    /// The response code.
    pub fn rcode(&self) -> ResponseCode {
        self.message.metadata.response_code
    }
}

/// A record without its data where the type is one of these.
fn show_shortly(record: &Record, types: &[&str]) -> String {
    let line = show_record(record);
    let words: Vec<&str> = line.splitn(4, ' ').collect();
    if types.contains(&words[2]) { words[..3].join(" ") } else { line }
}

/// `owner ttl type value`.
pub fn show_record(record: &Record) -> String {
    let (owner, rtype) = (show(&record.name), show_type(record.record_type()));
    format!("{owner} {} {rtype} {}", record.ttl, show_value(&record.data))
}

/// A socket of an address of this machine.
pub fn udp(from: IpAddr) -> UdpSocket {
    let socket = UdpSocket::bind((from, 0)).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}

/// The next datagram of the server; nothing if none comes.
pub fn receive(socket: &UdpSocket, server: SocketAddr) -> Option<Vec<u8>> {
    let mut buffer = [0; 65_535];
    let (length, from) = socket.recv_from(&mut buffer).ok()?;
    assert_eq!(from, server, "the answer comes from where the question went");
    Some(buffer[..length].to_vec())
}

/// Sends a message over TCP.
pub fn send_framed(stream: &mut TcpStream, packet: &[u8]) -> io::Result<()> {
    stream.write_all(&[&(packet.len() as u16).to_be_bytes(), packet].concat())
}

/// Receives a message over TCP.
pub fn receive_framed(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message)?;
    Ok(message)
}
