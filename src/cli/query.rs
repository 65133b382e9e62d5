//! `pvtzd query NAME [TYPE]`: queries a server and shows its answer.

use super::{CommonArgs, QueryArgs, exit, shown};
use crate::admin::explain::question;
use crate::base::local_address::reached_at;
use crate::engine::name::unicode;
use crate::engine::rcode::show_rcode;
use crate::engine::request::Question;
use crate::engine::text::{TextSections, read_message};
use crate::host::doctor::ask::plain_query;
use crate::upstream::ServerAddress;
use hickory_proto::op::Message;
use serde::Serialize;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// Timeout of an answer: pvtzd answers within 4 s.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The TC flag.
const TRUNCATED: u16 = 0x200;

/// What `--json` prints.
#[derive(Serialize)]
struct ShownAnswer {
    server: String,
    /// The query name in Unicode, if it has A-labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    unicode: Option<String>,
    transport: &'static str,
    elapsed_ms: f64,
    result: String,
    flags: Vec<&'static str>,
    answers: Vec<shown::ShownRecord>,
    authority: Vec<shown::ShownRecord>,
    extended_error: Option<String>,
}

/// Runs the command.
pub(super) fn run(common: &CommonArgs, args: &QueryArgs) -> u8 {
    let question = match question(&args.name, &args.rtype) {
        Ok(question) => question,
        Err(error) => {
            eprintln!("error: {error}");
            return 2;
        }
    };
    let server = match &args.server {
        Some(server) => server.clone(),
        None => match common.load_or_tell() {
            Ok(config) => config
                .server
                .listen
                .first()
                .map_or(IpAddr::V4(Ipv4Addr::LOCALHOST).into(), |listen| reached_at(*listen).into()),
            Err(code) => return code,
        },
    };
    if !server.is_plain() {
        eprintln!("error: `query` supports plain DNS only: {server} is encrypted");
        eprintln!("hint: name the server by its address, `--server {}:53`", server.addr.ip());
        return 2;
    }
    let begun = Instant::now();
    match ask(server.target().unwrap_or(server.addr), &message(args, &question), args.tcp) {
        Ok((answer, transport)) => {
            let shown = show(&server, transport, begun.elapsed(), &question, &answer);
            if common.json {
                shown::json(&shown)
            } else {
                print(&shown, &answer)
            }
            if matches!(shown.result.as_str(), "NOERROR" | "NODATA") { exit::OK } else { exit::FINDINGS }
        }
        Err(error) => {
            eprintln!("error: no answer from {server}: {error}");
            eprintln!("hint: is pvtzd running there? `--server ADDRESS:PORT` selects another address");
            exit::UNREACHABLE
        }
    }
}

fn message(args: &QueryArgs, question: &Question) -> Message {
    let mut message = plain_query(question);
    message.metadata.recursion_desired = !args.no_recursion;
    if let Some(edns) = &mut message.edns {
        edns.set_dnssec_ok(args.dnssec);
    }
    message
}

/// Queries over UDP, and over TCP if the answer was truncated or TCP was requested.
pub(super) fn ask(
    server: SocketAddr,
    query: &Message,
    tcp: bool,
) -> io::Result<(TextSections, &'static str)> {
    let bytes = query.to_vec().map_err(io::Error::other)?;
    if !tcp {
        let answer = over_udp(server, &bytes, query.id)?;
        if answer.flags & TRUNCATED == 0 {
            return Ok((answer, "UDP"));
        }
    }
    Ok((over_tcp(server, &bytes)?, "TCP"))
}

fn over_udp(server: SocketAddr, query: &[u8], id: u16) -> io::Result<TextSections> {
    let any =
        if server.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.send(query)?;
    let mut buffer = vec![0; 65_535];
    loop {
        let length = socket.recv(&mut buffer).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => io::Error::from(io::ErrorKind::TimedOut),
            _ => error,
        })?;
        if let Some(answer) = read_message(&buffer[..length])
            && answer.id == id
        {
            return Ok(answer);
        }
    }
}

fn over_tcp(server: SocketAddr, query: &[u8]) -> io::Result<TextSections> {
    let mut stream = TcpStream::connect_timeout(&server, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let mut framed = u16::try_from(query.len()).map_err(io::Error::other)?.to_be_bytes().to_vec();
    framed.extend_from_slice(query);
    stream.write_all(&framed)?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer)?;
    read_message(&answer).ok_or_else(|| io::Error::other("the reply is not a DNS message"))
}

fn show(
    server: &ServerAddress,
    transport: &'static str,
    elapsed: Duration,
    question: &Question,
    answer: &TextSections,
) -> ShownAnswer {
    let flags = [("aa", 0x400), ("tc", TRUNCATED), ("rd", 0x100), ("ra", 0x80), ("ad", 0x20), ("cd", 0x10)];
    ShownAnswer {
        server: server.to_string(),
        unicode: unicode(&question.name),
        transport,
        elapsed_ms: (elapsed.as_secs_f64() * 1e6).round() / 1e3,
        result: show_rcode(answer.rcode.into(), answer.answers.is_empty()),
        flags: flags.into_iter().filter(|(_, bit)| answer.flags & bit != 0).map(|(name, _)| name).collect(),
        answers: answer.answers.iter().map(shown::record).collect(),
        authority: answer.authorities.iter().map(shown::record).collect(),
        extended_error: extended_error(answer),
    }
}

/// The extended DNS errors (RFC 8914).
fn extended_error(answer: &TextSections) -> Option<String> {
    let errors = answer.opt.iter().flat_map(|opt| &opt.errors);
    let shown: Vec<String> = errors.map(|error| format!("{}: {}", error.code, error.text)).collect();
    (!shown.is_empty()).then(|| shown.join("; "))
}

fn print(shown: &ShownAnswer, answer: &TextSections) {
    for record in &answer.answers {
        println!("{}", shown::line(record));
    }
    eprintln!(
        "{} from {} over {} in {} ms, flags {}",
        shown.result,
        shown.server,
        shown.transport,
        shown.elapsed_ms,
        shown.flags.join(" ")
    );
    if let Some(error) = &shown.extended_error {
        eprintln!("extended error {error}");
    }
}
