//! DNS over TLS against a server that behaves, and one that does not.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::future::join_all;
use hickory_proto::op::{Message, MessageType};
use hickory_proto::rr::{RData, Record, rdata::A};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::upstream::tests::fake::{FakeServer, dead_address, outgoing, reply_a};
use crate::upstream::{FailureKind, Group, GroupOptions, Reply, ServerAddress, Strategy, Trust};

/// A certificate authority of the test's own, and the folder its certificate is in.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("authority {}", NUMBER.fetch_add(1, Ordering::SeqCst));
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    fn trust(&self) -> Arc<Trust> {
        Arc::new(Trust::load(Some(&self.file())))
    }

    fn acceptor(&self, name: &str) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let leaf =
            CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .unwrap();
        Arc::new(config).into()
    }
}

/// How a stub treats its clients.
#[derive(Clone, Copy, PartialEq)]
enum Habit {
    /// Answers in order.
    Answers,
    /// Gathers four questions and answers the last first.
    LastFirst,
    /// Closes the connection after one answer.
    ClosesAfterEach,
    /// Reads and says nothing.
    Mute,
    /// Sends octets that are no messages.
    Garbage,
    /// Ends its own direction at once and goes on reading.
    HalfClosed,
    /// Does not even speak TLS.
    NoTls,
}

/// A server over TLS that runs until it is dropped.
struct Stub {
    addr: SocketAddr,
    /// Connections so far.
    connections: Arc<AtomicU32>,
    /// Questions whose length was no multiple of 128, or that had a cookie.
    odd: Arc<AtomicU32>,
    _tasks: JoinSet<()>,
}

impl Stub {
    async fn start(acceptor: TlsAcceptor, habit: Habit) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (connections, odd) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let (count, strange) = (connections.clone(), odd.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let (acceptor, odd) = (acceptor.clone(), strange.clone());
                tokio::spawn(async move {
                    if habit == Habit::NoTls {
                        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
                    } else if let Ok(stream) = acceptor.accept(stream).await {
                        let _ = serve(stream, habit, &odd).await;
                    }
                });
            }
        });
        Self { addr, connections, odd, _tasks: tasks }
    }

    fn address(&self) -> ServerAddress {
        format!("tls://{}#dns.example", self.addr).parse().unwrap()
    }

    fn connections(&self) -> u32 {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    habit: Habit,
    odd: &AtomicU32,
) -> std::io::Result<()> {
    match habit {
        Habit::Garbage => {
            stream.write_all(&[0; 400]).await?;
            stream.flush().await?;
        }
        Habit::HalfClosed => stream.shutdown().await?,
        _ => {}
    }
    let mut held = Vec::new();
    loop {
        let length = stream.read_u16().await?;
        let mut query = vec![0; usize::from(length)];
        stream.read_exact(&mut query).await?;
        let message = Message::from_vec(&query).unwrap();
        let cookie = hickory_proto::rr::rdata::opt::EdnsCode::Cookie;
        if length % 128 != 0 || message.edns.as_ref().unwrap().option(cookie).is_some() {
            odd.fetch_add(1, Ordering::SeqCst);
        }
        let reply = answer(message);
        held.push([&(reply.len() as u16).to_be_bytes(), reply.as_slice()].concat());
        match habit {
            Habit::Mute | Habit::Garbage | Habit::HalfClosed | Habit::NoTls => held.clear(),
            Habit::LastFirst if held.len() < 4 => {}
            _ => {
                held.reverse();
                stream.write_all(&held.concat()).await?;
                stream.flush().await?;
                held.clear();
            }
        }
        if habit == Habit::ClosesAfterEach {
            return stream.shutdown().await;
        }
    }
}

/// The answer: the address ends with the number at the front of the name, or 7.
fn answer(mut message: Message) -> Vec<u8> {
    let name = message.queries[0].name().clone();
    let number =
        name.iter().next().and_then(|label| std::str::from_utf8(label).ok()?.parse().ok()).unwrap_or(7);
    message.metadata.message_type = MessageType::Response;
    message.edns = None;
    message.answers.push(Record::from_rdata(name, 60, RData::A(A::new(192, 0, 2, number))));
    message.to_vec().unwrap()
}

/// The last octet of the address in a reply.
fn number(reply: &Reply) -> u8 {
    match &reply.message.answers[0].data {
        RData::A(address) => address.octets()[3],
        other => panic!("{other:?}"),
    }
}

fn group(authority: &Authority, servers: Vec<ServerAddress>) -> Group {
    let options = GroupOptions { trust: Some(authority.trust()), ..GroupOptions::default() };
    Group::new("test".to_owned(), servers, options)
}

#[tokio::test]
async fn questions_share_a_kept_connection_and_are_padded() {
    let authority = Authority::new();
    let stub = Stub::start(authority.acceptor("dns.example"), Habit::Answers).await;
    let group = group(&authority, vec![stub.address()]);
    for _ in 0..3 {
        let questions: Vec<_> = (0..50).map(|n| outgoing(&format!("{n}.example."))).collect();
        let replies = join_all(questions.iter().map(|query| group.exchange(query))).await;
        for (n, reply) in replies.into_iter().enumerate() {
            assert_eq!(usize::from(number(&reply.unwrap())), n);
        }
    }
    assert_eq!(stub.connections(), 1);
    assert_eq!(stub.odd.load(Ordering::SeqCst), 0);
    assert!(group.all_up().is_none(), "the pool speaks plain DNS");
    assert!(group.servers().next().unwrap().snapshot().srtt.is_some());
}

#[tokio::test]
async fn replies_in_another_order_find_their_questions() {
    let authority = Authority::new();
    let stub = Stub::start(authority.acceptor("dns.example"), Habit::LastFirst).await;
    let group = group(&authority, vec![stub.address()]);
    let questions: Vec<_> = (0..4).map(|n| outgoing(&format!("{n}.example."))).collect();
    let replies = join_all(questions.iter().map(|query| group.exchange(query))).await;
    for (n, reply) in replies.into_iter().enumerate() {
        assert_eq!(usize::from(number(&reply.unwrap())), n);
    }
}

#[tokio::test]
async fn a_server_that_closes_after_each_answer_still_answers_all() {
    let authority = Authority::new();
    let stub = Stub::start(authority.acceptor("dns.example"), Habit::ClosesAfterEach).await;
    let group = group(&authority, vec![stub.address()]);
    let questions: Vec<_> = (0..10).map(|n| outgoing(&format!("{n}.example."))).collect();
    for reply in join_all(questions.iter().map(|query| group.exchange(query))).await {
        reply.unwrap();
    }
    // and the connection that was kept is dead each time
    for query in &questions {
        group.exchange(query).await.unwrap();
    }
}

#[tokio::test]
async fn a_certificate_that_does_not_count_is_told_apart_from_silence() {
    let authority = Authority::new();
    let rows = [
        (authority.acceptor("other.example"), "TLS: certificate not valid for dns.example"),
        (Authority::new().acceptor("dns.example"), "from an issuer that is not trusted"),
    ];
    for (acceptor, text) in rows {
        let stub = Stub::start(acceptor, Habit::Answers).await;
        let group = group(&authority, vec![stub.address()]);
        let failure = group.exchange(&outgoing("a.example.")).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Tls);
        assert!(failure.to_string().contains(text), "{failure}");
        let counts = group.servers().next().unwrap().snapshot().counts;
        assert_eq!((counts.tls_errors, counts.timeouts, counts.network_errors), (1, 0, 0));
    }
}

#[tokio::test]
async fn without_certificates_to_trust_no_server_is_asked() {
    let authority = Authority::new();
    let stub = Stub::start(authority.acceptor("dns.example"), Habit::Answers).await;
    let trust = Some(Arc::new(Trust::load(Some(&authority.file().with_file_name("absent.pem")))));
    let options = GroupOptions { trust, ..GroupOptions::default() };
    let group = Group::new("test".to_owned(), vec![stub.address()], options);
    let failure = group.exchange(&outgoing("a.example.")).await.unwrap_err();
    assert!(failure.to_string().contains("TLS: cannot read CA certificates from"), "{failure}");
}

#[tokio::test]
async fn a_mixed_group_goes_on_to_the_next_whatever_is_wrong_with_the_first() {
    let authority = Authority::new();
    let plain = FakeServer::start(|asked| reply_a(asked, 9)).await;
    for habit in [Habit::Mute, Habit::Garbage, Habit::HalfClosed, Habit::NoTls] {
        let stub = Stub::start(authority.acceptor("dns.example"), habit).await;
        let group = group(&authority, vec![stub.address(), plain.address()]);
        assert_eq!(number(&group.exchange(&outgoing("a.example.")).await.unwrap()), 9);
    }
    let dead: ServerAddress = format!("tls://{}#dns.example", dead_address()).parse().unwrap();
    let reply = group(&authority, vec![dead, plain.address()]).exchange(&outgoing("a.example.")).await;
    assert_eq!(number(&reply.unwrap()), 9);
    // and the other way round
    let stub = Stub::start(authority.acceptor("dns.example"), Habit::Answers).await;
    let reply =
        group(&authority, vec![dead_address(), stub.address()]).exchange(&outgoing("3.example.")).await;
    assert_eq!(number(&reply.unwrap()), 3);
}

#[tokio::test]
async fn what_is_not_tls_is_told() {
    let authority = Authority::new();
    let stub = Stub::start(authority.acceptor("dns.example"), Habit::NoTls).await;
    let failure =
        group(&authority, vec![stub.address()]).exchange(&outgoing("a.example.")).await.unwrap_err();
    assert!(failure.to_string().contains("TLS: the server does not speak TLS"), "{failure}");
}

#[tokio::test]
async fn groups_of_the_same_roots_are_the_same() {
    let authority = Authority::new();
    let options =
        |trust| GroupOptions { trust: Some(trust), strategy: Strategy::Failover, ..Default::default() };
    assert_eq!(options(authority.trust()), options(authority.trust()));
    assert_ne!(options(authority.trust()), options(Authority::new().trust()));
}
