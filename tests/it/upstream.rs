//! Who is asked: servers on loopback that answer by a closure and remember every question.

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::{RData, Record, RecordType, rdata::A};
use pvtzd::engine::name::show;
use pvtzd::engine::record::show_type;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::client::{receive_framed, send_framed};

/// What a server makes of a query: an answer, or silence.
pub type Answerer = dyn Fn(&Message) -> Option<Message> + Send + Sync;

/// Questions in the order in which they came.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// Notes a question.
    pub fn note(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    /// All questions since the last time, without repetitions: a lost datagram or a slow server makes pvtzd
    /// ask twice, and that is not what these tests are about.
    pub fn take(&self) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for line in self.0.lock().unwrap().drain(..) {
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        lines
    }

    /// All questions so far, repetitions included.
    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// A server that answers until it is dropped.
pub struct Upstream {
    /// Where it listens, UDP and TCP.
    pub address: SocketAddr,
    /// What it was asked.
    pub log: Log,
    ended: Arc<AtomicBool>,
}

impl Upstream {
    /// Starts on a free port.
    pub fn start(answer: impl Fn(&Message) -> Option<Message> + Send + Sync + 'static) -> Self {
        Self::start_as("", Log::default(), Arc::new(answer))
    }

    /// Starts as one of several servers that share a log; each line of it begins with the role.
    pub fn start_as(role: &str, log: Log, answer: Arc<Answerer>) -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let server = Arc::new(Serving { role: role.into(), log: log.clone(), answer });
        udp.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let (over_udp, end) = (server.clone(), ended.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while !end.load(Ordering::Relaxed) {
                let Ok((length, peer)) = udp.recv_from(&mut buffer) else { continue };
                if let Some(reply) = over_udp.reply(&buffer[..length]) {
                    let _ = udp.send_to(&reply, peer);
                }
            }
        });
        let end = ended.clone();
        std::thread::spawn(move || {
            for stream in tcp.incoming() {
                let Ok(mut stream) = stream else { continue };
                if end.load(Ordering::Relaxed) {
                    return;
                }
                let server = server.clone();
                std::thread::spawn(move || {
                    while let Ok(query) = receive_framed(&mut stream) {
                        let Some(reply) = server.reply(&query) else { return };
                        if send_framed(&mut stream, &reply).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, log, ended }
    }

    /// A configuration whose default upstream this is.
    pub fn config(&self) -> String {
        format!("[upstream]\nservers = [\"{}\"]\n", self.address)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let _ = std::net::TcpStream::connect(self.address); // wakes who accepts
    }
}

struct Serving {
    role: String,
    log: Log,
    answer: Arc<Answerer>,
}

impl Serving {
    fn reply(&self, query: &[u8]) -> Option<Vec<u8>> {
        let query = Message::from_vec(query).expect("a query that can be read");
        let line = question_line(&self.role, &query);
        // the server's own search for loops is none of a client's questions
        let mut reply = if line.contains("pvtzd-loop") {
            empty(&query, ResponseCode::NXDomain)
        } else {
            if !is_silence_check(&query) {
                self.log.note(line);
            }
            (self.answer)(&query)?
        };
        reply.metadata.id = query.metadata.id;
        reply.metadata.message_type = MessageType::Response;
        reply.queries = query.queries.clone();
        Some(reply.to_vec().unwrap())
    }
}

/// True for the question by which pvtzd finds out whether a server that is down is silent to everything.
pub fn is_silence_check(query: &Message) -> bool {
    query.queries[0].name().is_root() && query.queries[0].query_type() == RecordType::NS
}

/// `role name type flags`, as scenarios have it.
pub fn question_line(role: &str, query: &Message) -> String {
    let question = &query.queries[0];
    let name = show(question.name()).to_ascii_lowercase();
    let dnssec_ok = query.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok);
    let mut line = format!("{role} {name} {}", show_type(question.query_type()));
    if dnssec_ok {
        line += " +do";
    }
    if query.metadata.checking_disabled {
        line += " +cd";
    }
    line.trim_start().into()
}

/// An answer without anything in it.
pub fn empty(query: &Message, rcode: ResponseCode) -> Message {
    let mut message = Message::response(query.metadata.id, query.metadata.op_code);
    message.queries = query.queries.clone();
    message.metadata.recursion_available = true;
    message.metadata.response_code = rcode;
    message
}

/// An answer of one address.
pub fn address(query: &Message, ttl: u32, address: [u8; 4]) -> Message {
    let mut message = empty(query, ResponseCode::NoError);
    let data = RData::A(A(address.into()));
    message.answers.push(Record::from_rdata(query.queries[0].name().clone(), ttl, data));
    message
}
