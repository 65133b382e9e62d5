//! DNS over TLS, both ways: the real program asked over TLS, asking another of its kind over TLS.

use crate::client::{Ask, Reply};
use crate::eventually;
use crate::server::Server;
use crate::upstream::{self, Upstream};
use hickory_proto::op::{Edns, Message, ResponseCode};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// A certificate authority, in a folder with its certificate and those it made.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        let authority = Self { issuer, folder };
        authority.certify("dns.example");
        authority
    }

    /// Writes a certificate for a name, and its key, in the place of the former.
    fn certify(&self, name: &str) {
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec![name.to_string()]).unwrap().signed_by(&key, &self.issuer);
        std::fs::write(self.path("cert.pem"), leaf.unwrap().pem()).unwrap();
        std::fs::write(self.path("key.pem"), key.serialize_pem()).unwrap();
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// The configuration of a server over TLS on a free port, without what comes before `listen_tls`.
    fn listener(&self) -> String {
        let shown = |path: &Path| path.display().to_string();
        format!(
            "[server]\nlisten_tls = [\"127.0.0.1:0\"]\ncertificate = \"{}\"\nkey = \"{}\"\n",
            shown(&self.path("cert.pem")),
            shown(&self.path("key.pem"))
        )
    }

    /// A session with a server whose certificate must be for `name`.
    fn connect(&self, server: SocketAddr, name: &str, protocols: &[&str]) -> std::io::Result<Session> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.issuer.der().to_vec())).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let connection =
            ClientConnection::new(Arc::new(config), name.to_string().try_into().unwrap()).unwrap();
        let stream = TcpStream::connect(server)?;
        stream.set_read_timeout(Some(crate::DEADLINE))?;
        let mut session = StreamOwned::new(connection, stream);
        while session.conn.is_handshaking() {
            session.conn.complete_io(&mut session.sock)?;
        }
        Ok(session)
    }
}

type Session = StreamOwned<ClientConnection, TcpStream>;

fn send(session: &mut Session, packet: &[u8]) {
    session.write_all(&[&(packet.len() as u16).to_be_bytes(), packet].concat()).unwrap();
}

fn receive(session: &mut Session) -> Vec<u8> {
    let mut length = [0; 2];
    session.read_exact(&mut length).unwrap();
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    session.read_exact(&mut message).unwrap();
    message
}

fn ask(session: &mut Session, ask: &Ask) -> Reply {
    send(session, &ask.packet());
    ask.take(&receive(session)).unwrap()
}

/// Where a server serves DNS over TLS.
fn tls_address(server: &Server) -> SocketAddr {
    let line = eventually("the TLS listener", || server.last_line("DNS over TLS is served"));
    line.split("listen=").nth(1).unwrap().trim().parse().unwrap()
}

/// Answers every question with an address.
fn upstream() -> Upstream {
    Upstream::start(|query| Some(upstream::address(query, 60, [192, 0, 2, 1])))
}

#[test]
fn clients_ask_over_tls_in_one_session() {
    let (authority, upstream) = (Authority::new(), upstream());
    let server = Server::start(&(authority.listener() + &upstream.config()));
    let mut session = authority.connect(tls_address(&server), "dns.example", &["dot"]).unwrap();
    for n in 0..20 {
        let reply = ask(&mut session, &Ask::new(&format!("n{}.example", n % 10), "A"));
        assert_eq!(reply.values(), ["192.0.2.1"]);
    }
    // pipelined, and all answered
    for n in 0..50 {
        send(&mut session, &Ask { id: n, ..Ask::new(&format!("m{n}.example"), "A") }.packet());
    }
    let mut ids: Vec<u16> =
        (0..50).map(|_| Message::from_vec(&receive(&mut session)).unwrap().metadata.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..50).collect::<Vec<_>>());
}

#[test]
fn answers_are_padded_for_who_pads() {
    let (authority, upstream) = (Authority::new(), upstream());
    let server = Server::start(&(authority.listener() + &upstream.config()));
    let mut session = authority.connect(tls_address(&server), "dns.example", &[]).unwrap();
    let asked = Ask::new("www.example", "A");
    let mut query = Message::from_vec(&asked.packet()).unwrap();
    let mut edns = Edns::new();
    edns.set_max_payload(1232);
    edns.options_mut().insert(EdnsOption::Unknown(12, vec![0; 20]));
    query.set_edns(edns);
    for _ in 0..2 {
        send(&mut session, &query.to_vec().unwrap());
        let reply = asked.take(&receive(&mut session)).unwrap();
        assert_eq!(reply.size, 468);
        assert_eq!(reply.values(), ["192.0.2.1"]);
        let bare = ask(&mut session, &asked);
        assert!(bare.size < 128 && bare.message.edns.unwrap().option(EdnsCode::Padding).is_none());
    }
    let mut plain = TcpStream::connect(server.address).unwrap();
    crate::client::send_framed(&mut plain, &query.to_vec().unwrap()).unwrap();
    let reply = crate::client::receive_framed(&mut plain).unwrap();
    assert!(reply.len() < 128, "lengths hide nothing where all can be read");
}

#[test]
fn another_protocol_than_dns_gets_no_session() {
    let authority = Authority::new();
    let server = Server::start(&(authority.listener() + "[upstream]\nservers = []\n"));
    assert!(authority.connect(tls_address(&server), "dns.example", &["h2"]).is_err());
}

#[test]
fn hostile_clients_cost_only_their_own_connections() {
    let (authority, upstream) = (Authority::new(), upstream());
    let server = Server::start(&(authority.listener() + &upstream.config()));
    let address = tls_address(&server);
    // some say nothing, some begin a handshake and stop, some speak something else
    let silent: Vec<_> = (0..10).map(|_| TcpStream::connect(address).unwrap()).collect();
    for octets in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x16, 3, 1, 0, 200, 1], &[0xff; 600]] {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(octets).unwrap();
        let mut session = authority.connect(address, "dns.example", &["dot"]).unwrap();
        assert_eq!(ask(&mut session, &Ask::new("www.example", "A")).values(), ["192.0.2.1"]);
    }
    // rubbish inside a session ends it without an answer
    let mut session = authority.connect(address, "dns.example", &[]).unwrap();
    session.write_all(&[0, 3, 1, 2, 3]).unwrap();
    assert_eq!(ask(&mut session, &Ask::new("www.example", "A")).rcode(), ResponseCode::NoError);
    // who is slow is cut off in the end
    for mut stream in silent {
        stream.set_read_timeout(Some(crate::DEADLINE)).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0, "closed");
    }
}

#[test]
fn another_certificate_is_served_after_a_reload_and_a_bad_one_is_not() {
    let authority = Authority::new();
    let text = authority.listener() + "[upstream]\nservers = []\n";
    let server = Server::start(&text);
    let address = tls_address(&server);
    let mut before = authority.connect(address, "dns.example", &[]).unwrap();
    authority.certify("new.example");
    server.signal("HUP");
    eventually("the new certificate", || authority.connect(address, "new.example", &[]).ok());
    std::fs::write(authority.path("key.pem"), "nothing").unwrap();
    server.signal("HUP");
    eventually("the complaint", || server.last_line("the former certificate stays in force"));
    authority.connect(address, "new.example", &[]).unwrap();
    // sessions live on
    assert_eq!(ask(&mut before, &Ask::new("localhost", "A")).values(), ["127.0.0.1"]);
}

#[test]
fn one_server_asks_another_over_tls() {
    assert_asked_over("tls", "listen_tls", "DNS over TLS is served");
}

#[test]
fn a_listener_without_a_usable_certificate_does_not_start() {
    let authority = Authority::new();
    std::fs::write(authority.path("cert.pem"), "nothing").unwrap();
    let file = authority.path("pvtzd.toml");
    std::fs::write(&file, authority.listener() + "[upstream]\nservers = []\n").unwrap();
    let run = ["run", "--metadata", "off", "--listen", "127.0.0.1:0", "--config"];
    let ended = crate::server::command().args(run).arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(78), "{said}");
    assert!(said.contains("no certificate in"), "{said}");
}

/// Another server over `scheme` asks the one with this listener; it must say the same as its upstream.
fn assert_asked_over(scheme: &str, listener: &str, greeting: &str) {
    let (authority, upstream) = (Authority::new(), upstream());
    let text = authority.listener().replace("listen_tls", listener);
    let far = Server::start(&(text + &upstream.config()));
    let line = eventually("the listener", || far.last_line(greeting));
    let address = line.split("listen=").nth(1).unwrap().trim().to_string();
    let near = |name: &str| {
        let server = format!("{scheme}://{address}#{name}");
        let ca = authority.path("ca.pem").display().to_string();
        Server::start(&format!("[upstream]\nservers = [\"{server}\"]\ntls_ca = \"{ca}\"\n"))
    };
    let good = near("dns.example");
    for n in 0..30 {
        assert_eq!(good.ask(&format!("n{n}.example"), "A").values(), ["192.0.2.1"], "{scheme}");
    }
    let bad = near("other.example").ask("www.example", "A");
    assert_eq!((bad.rcode(), bad.ede()), (ResponseCode::ServFail, Some(23)), "{scheme}");
    assert!(bad.ede_text().contains("TLS: "), "{scheme}: {}", bad.ede_text());
}

#[test]
fn one_server_asks_another_over_https() {
    assert_asked_over("https", "listen_https", "DNS over HTTPS is served");
}

#[test]
fn one_server_asks_another_over_quic() {
    assert_asked_over("quic", "listen_quic", "DNS over QUIC is served");
}

#[test]
fn a_server_known_by_name_is_found_by_the_bootstrap_servers() {
    let (authority, upstream) = (Authority::new(), upstream());
    let far = Server::start(&(authority.listener() + &upstream.config()));
    let guide = Upstream::start(|query| Some(upstream::address(query, 60, [127, 0, 0, 1])));
    let near = Server::start(&format!(
        "[upstream]\nservers = [\"tls://dns.example:{}\"]\nbootstrap = [\"{}\"]\ntls_ca = \"{}\"\n",
        tls_address(&far).port(),
        guide.address,
        authority.path("ca.pem").display()
    ));
    for n in 0..5 {
        assert_eq!(near.ask(&format!("n{n}.example"), "A").values(), ["192.0.2.1"]);
    }
    assert_eq!(guide.log.take(), ["dns.example A"]);
}

/// Passes connections on to where `target` says, once it says so.
fn pass_on(target: Arc<std::sync::OnceLock<SocketAddr>>) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for near in listener.incoming() {
            let target = eventually("somebody to pass on to", || target.get().copied());
            let (near, far) = (near.unwrap(), TcpStream::connect(target).unwrap());
            for (mut from, mut to) in [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)] {
                std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            }
        }
    });
    address
}

#[test]
fn a_loop_over_tls_is_found() {
    let authority = Authority::new();
    let target = Arc::new(std::sync::OnceLock::new());
    let door = pass_on(target.clone());
    let server = Server::start(&format!(
        "{}[upstream]\nservers = [\"tls://{door}#dns.example\"]\ntls_ca = \"{}\"\n",
        authority.listener(),
        authority.path("ca.pem").display()
    ));
    target.set(tls_address(&server)).unwrap();
    eventually("the loop to be found", || server.last_line("forwarding loop: this upstream server"));
    assert_eq!(server.ask("www.example", "A").rcode(), ResponseCode::ServFail);
}
