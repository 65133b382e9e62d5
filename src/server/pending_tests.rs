//! Tests of queries that wait for the pool: sockets on loopback, a server that is a closure, and the clients' own socket.

use super::*;
use crate::engine::cache::QueryFlags;
use crate::engine::catalog::GroupKey;
use crate::resolve::fixture::{client, lines, query, server_with, waiting_from};
use crate::resolve::guard::Guard;
use crate::resolve::limits::Limits;
use crate::resolve::query::Client;
use crate::upstream::network::Network;
use crate::upstream::tests::fake::{Asked, FakeServer, Sends, reply_a, reply_rcode};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{CNAME, NS};
use hickory_proto::rr::{RData, Record, RecordType};
use std::time::Duration;

/// How long a test waits for what should come at once.
const DEADLINE: Duration = Duration::from_secs(10);

/// Waiting queries of one socket, and a client of it.
struct World {
    live: Arc<SharedState>,
    pending: PendingQueries,
    client: UdpSocket,
    upstream: FakeServer,
}

impl World {
    /// A world whose default server answers so; `more` is added to its configuration.
    async fn new(
        answer: impl Fn(&Asked) -> Sends + Send + Sync + 'static,
        more: &str,
        places: usize,
    ) -> Self {
        let upstream = FakeServer::start(answer).await;
        let text = format!("[upstream]\nservers = [\"{}\"]\n{more}", upstream.address());
        let limits = (Limits::new(places), Guard::default());
        let live = server_with(&text, Network::Kernel, limits, Duration::from_millis(1800));
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(socket.local_addr().unwrap()).unwrap();
        client.set_nonblocking(true).unwrap();
        let pending = PendingQueries::new(live.clone(), live.tallies.tasks.clone(), socket);
        Self { live, pending, client, upstream }
    }

    /// A query of the client that has to wait.
    fn incoming(&self, query: &Message) -> Incoming {
        let peer = self.client.local_addr().unwrap();
        let waiting = Box::new(waiting_from(&self.live, query, Client { peer, ..client() }));
        Incoming { waiting, peer, local: ReplySource::Bound }
    }

    /// Queries for the addresses of names are sent out.
    fn send_out(&mut self, names: &[&str]) {
        let mut incoming =
            names.iter().map(|name| self.incoming(&query(name, RecordType::A))).collect::<Vec<_>>();
        self.pending.send_out(&mut incoming);
        assert!(incoming.is_empty());
    }

    /// The next reply that the client gets.
    #[track_caller]
    fn reply(&mut self) -> Vec<String> {
        let (begun, mut buffer) = (Instant::now(), [0; 2048]);
        loop {
            match self.client.recv(&mut buffer) {
                Ok(length) => return lines(&buffer[..length]),
                Err(_) => assert!(begun.elapsed() < DEADLINE, "a reply comes"),
            }
            match self.pending.are_open() {
                true => drop(self.pending.turn()),
                false => std::thread::yield_now(), // a task answers
            }
        }
    }

    /// What the responder makes of a reply that the pool has not read, or has.
    fn take(&mut self, key: &CacheKey, reply: PoolReply<'_>, waiters: &mut Vec<Incoming>) -> bool {
        self.pending.responder.take(key, reply, waiters, Instant::now())
    }
}

/// The response of a server that answers with this record and nothing else.
fn response(name: &str, authority: bool, data: RData) -> Message {
    let mut message = query(name, RecordType::A);
    message.metadata.message_type = hickory_proto::op::MessageType::Response;
    let owner = message.queries[0].name().clone();
    let section = if authority { &mut message.authorities } else { &mut message.answers };
    section.push(Record::from_rdata(owner, 60, data));
    message
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_query_to_the_server_answers_all_who_asked_for_the_same() {
    let mut world = World::new(|asked| reply_a(asked, 1), "", 100).await;
    world.send_out(&["www.test", "wWw.tESt", "other.test"]);
    assert!(world.pending.are_open() && world.pending.have_clients());
    assert_eq!(world.live.limits.in_flight(), 3);
    let mut replies = [world.reply(), world.reply(), world.reply()];
    replies.sort();
    let expected = ["other.test", "wWw.tESt", "www.test"];
    for (reply, name) in replies.iter().zip(expected) {
        assert_eq!(*reply, ["NOERROR".to_string(), format!("{name} 60 A 192.0.2.1")]);
    }
    assert_eq!(world.upstream.queries(), (2, 0));
    assert!(!world.pending.have_clients());
    assert_eq!((world.live.limits.in_flight(), world.live.cache.len()), (0, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alias_is_followed_within_the_reply_and_beyond_it_by_a_task() {
    let alias = |asked: &Asked| {
        if asked.name().to_lowercase().to_ascii() == "end.test." {
            return reply_a(asked, 2);
        }
        let mut message = asked.response();
        let target = RData::CNAME(CNAME(crate::engine::name::parse("end.test").unwrap()));
        message.answers.push(Record::from_rdata(asked.name().clone(), 60, target));
        vec![message.to_vec().unwrap()]
    };
    let mut world = World::new(alias, "", 100).await;
    world.send_out(&["www.test"]);
    assert_eq!(world.reply(), ["NOERROR", "www.test 60 CNAME end.test", "end.test 60 A 192.0.2.2"]);
    assert_eq!(world.live.limits.in_flight(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_be_served_stale_has_a_deadline_that_a_task_keeps() {
    let mut world = World::new(|asked| reply_a(asked, 1), "", 100).await;
    let mut incoming = vec![world.incoming(&query("www.test", RecordType::A))];
    incoming[0].waiting.missing.has_stale = true;
    world.pending.send_out(&mut incoming);
    assert!(!world.pending.are_open());
    assert_eq!(world.reply(), ["NOERROR", "www.test 60 A 192.0.2.1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_place_the_client_is_told_so() {
    let mut world = World::new(|asked| reply_a(asked, 1), "", 1).await;
    world.send_out(&["www.test", "late.test"]);
    let late = world.reply();
    assert_eq!(late, ["SERVFAIL ede 0: late.test: too many queries are waiting for an upstream"]);
    assert_eq!(world.reply()[1], "www.test 60 A 192.0.2.1");
    assert_eq!(world.live.counters.overload.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_without_servers_needs_no_pool() {
    let live = "[[forward]]\nzone = \"rule.test\"\nservers = [\"127.0.0.1:9\", \"127.0.0.2:9\"]\n\
                strategy = \"fastest\"\n";
    let mut world = World::new(|asked| reply_a(asked, 1), live, 100).await;
    world.send_out(&["www.rule.test"]);
    assert!(!world.pending.are_open(), "the servers of this group are raced");
    assert!(world.reply()[0].starts_with("SERVFAIL ede "));
    assert_eq!(world.upstream.queries(), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_code_is_not_believed_before_a_task_has_asked_again() {
    let refuse_once = |asked: &Asked| match asked.number {
        1 => reply_rcode(asked, ResponseCode::ServFail),
        _ => reply_a(asked, 3),
    };
    let mut world = World::new(refuse_once, "", 100).await;
    world.send_out(&["www.test"]);
    let reply = world.reply();
    assert!(world.upstream.queries().0 >= 2, "{reply:?}");
    assert_eq!(reply, ["NOERROR", "www.test 60 A 192.0.2.3"]);
}

#[tokio::test]
async fn a_reply_is_taken_without_being_read_where_nothing_is_lost() {
    let mut world = World::new(|asked| reply_a(asked, 1), "", 100).await;
    let www = world.incoming(&query("www.test", RecordType::A));
    let key = www.waiting.missing.fetch.cache_key().clone();
    let a = RData::A(hickory_proto::rr::rdata::A::new(192, 0, 2, 9));
    let reply = response("www.test", false, a).to_vec().unwrap();
    let end = 12 + key.wire().len() + 4;
    // with DO there may be proofs
    let flags = QueryFlags { dnssec_ok: true, checking_disabled: false };
    let with_proofs = CacheKey::new(key.group(), &key.name(), RecordType::A, flags);
    let mut waiters = vec![www];
    assert!(!world.take(&with_proofs, PoolReply::Unread(&reply, end), &mut waiters));
    assert!(!world.take(&key, PoolReply::Unread(&reply[..reply.len() - 1], end), &mut waiters), "it is cut");
    assert!(world.live.cache.is_empty() && waiters.len() == 1);
    assert!(world.take(&key, PoolReply::Unread(&reply, end), &mut waiters));
    assert!(waiters.is_empty());
    let [(sent, _, _)] = &world.pending.responder.outbox[..] else { panic!("one answer waits to be sent") };
    assert_eq!(lines(sent), ["NOERROR", "www.test 60 A 192.0.2.9"]);
    // the last who waited has gone: there is nothing to do
    assert!(world.take(&key, PoolReply::Unread(&reply, end), &mut waiters));
    assert_eq!(world.live.cache.len(), 1);
}

#[tokio::test]
async fn a_referral_is_an_answer_only_where_no_other_server_could_be_asked() {
    let ns = || RData::NS(NS(crate::engine::name::parse("ns.test").unwrap()));
    let more = "[[forward]]\nzone = \"two.test\"\nservers = [\"127.0.0.1:9\", \"127.0.0.2:9\"]\n";
    let mut world = World::new(|asked| reply_a(asked, 1), more, 100).await;
    for (name, taken) in [("www.two.test", false), ("www.test", true)] {
        let incoming = world.incoming(&query(name, RecordType::A));
        let key = incoming.waiting.missing.fetch.cache_key().clone();
        let mut waiters = vec![incoming];
        let referral = PoolReply::Read(Box::new(response(name, true, ns())));
        assert_eq!(world.take(&key, referral, &mut waiters), taken, "{name}");
        assert_eq!(waiters.is_empty(), taken);
    }
    let [(sent, _, _)] = &world.pending.responder.outbox[..] else { panic!("one answer waits to be sent") };
    let text = "the upstream server does not offer recursion: it answered with a referral";
    assert_eq!(lines(sent), [format!("SERVFAIL ede 22: www.test: {text}")]);
    assert_ne!(world.live.published().catalog.default_group(), GroupKey(0));
}
