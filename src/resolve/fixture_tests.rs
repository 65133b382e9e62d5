//! A server for tests: its configuration is text, its upstream servers are closures on a network without sockets, and its
//! answers are lines of text. Where a test pauses time, all of it is the test's.

use crate::account::Account;
use crate::base::clock::Clock;
use crate::engine::name::parse;
use crate::engine::text::read_message;
use crate::publish::build::{Environment, build};
use crate::resolve::cache::AnswerCache;
use crate::resolve::guard::Guard;
use crate::resolve::limits::Limits;
use crate::resolve::packet_cache::PacketCache;
use crate::resolve::query::{Client, ClientTransport, Immediate, PendingQuery, Received, answer_now};
use crate::resolve::rrl::Verdict;
use crate::resolve::shared::SharedState;
use crate::upstream::network::Network;
use crate::upstream::tests::fake::FakeNetwork;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::RecordType;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Room of each cache.
const ROOM: u64 = 1 << 20;

/// A server with this configuration, on a network without sockets.
pub(crate) fn server(text: &str, network: &Arc<FakeNetwork>) -> Arc<SharedState> {
    let limits = (Limits::new(100), Guard::default());
    server_with(text, Network::Simulated(network.clone()), limits, Duration::from_millis(1800))
}

/// The same with limits and a network of its own; a client waits for `stale_after` while there is a stale answer.
pub(crate) fn server_with(
    text: &str,
    network: Network,
    (limits, guard): (Limits, Guard),
    stale_after: Duration,
) -> Arc<SharedState> {
    let config = crate::config::parse(text, Path::new("test.toml")).unwrap().0;
    let around = Environment { network, ..Environment::default() };
    let published = build(&config, &around, &Account::default(), None, 1);
    let (cache, answers) = (AnswerCache::new(ROOM, Default::default()), PacketCache::new(ROOM));
    SharedState::new(published, Clock::start(), cache, answers, limits, guard, stale_after)
}

/// A query with RD, id 7 and an OPT record.
pub(crate) fn query(name: &str, rtype: RecordType) -> Message {
    let mut query = Message::new(7, MessageType::Query, OpCode::Query);
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(parse(name).unwrap(), rtype));
    query.set_edns(Edns::new());
    query
}

/// A client of this machine, over UDP.
pub(crate) fn client() -> Client {
    Client { peer: "127.0.0.1:4000".parse().unwrap(), local: None, transport: ClientTransport::Udp }
}

/// The result for a packet of [`client`].
pub(crate) fn take(live: &Arc<SharedState>, packet: &[u8]) -> Immediate {
    take_from(live, packet, client(), Verdict::Within)
}

/// The result for a packet of a client at its rate limit.
pub(crate) fn take_from(live: &Arc<SharedState>, packet: &[u8], caller: Client, pace: Verdict) -> Immediate {
    let at = crate::base::clock::instant();
    let came = Received { caller, at, now: live.clock.at(at) };
    answer_now(live, &live.tallies.tasks, packet, came, pace, false)
}

/// The answer to a query that needs no waiting.
#[track_caller]
pub(crate) fn immediate(live: &Arc<SharedState>, query: &Message) -> Vec<u8> {
    match take(live, &query.to_vec().unwrap()) {
        Immediate::Reply(reply, _) => reply,
        other => panic!("{other:?}"),
    }
}

/// A query that has to wait.
#[track_caller]
pub(crate) fn waiting(live: &Arc<SharedState>, query: &Message) -> PendingQuery {
    waiting_from(live, query, client())
}

/// A query of a client that has to wait.
#[track_caller]
pub(crate) fn waiting_from(live: &Arc<SharedState>, query: &Message, caller: Client) -> PendingQuery {
    match take_from(live, &query.to_vec().unwrap(), caller, Verdict::Within) {
        Immediate::Wait(waiting) => *waiting,
        other => panic!("{other:?}"),
    }
}

/// A reply as lines: code, flags and extended error, then the records of answer and authority section.
#[track_caller]
pub(crate) fn lines(reply: &[u8]) -> Vec<String> {
    let sections = read_message(reply).expect("a reply that can be read");
    assert_eq!((sections.id, sections.flags >> 15), (7, 1));
    let mut head = crate::engine::rcode::show_rcode(sections.rcode.into(), false);
    for (bit, name) in [(0x0400, "aa"), (0x0200, "tc")] {
        head += &if sections.flags & bit == 0 { String::new() } else { format!(" {name}") };
    }
    for error in sections.opt.iter().flat_map(|opt| &opt.errors) {
        head += &format!(" ede {}: {}", error.code, error.text);
    }
    let records = sections.answers.iter().chain(&sections.authorities);
    let records = records
        .map(|record| format!("{} {} {} {}", record.owner(), record.ttl, record.type_name(), record.value()));
    std::iter::once(head).chain(records).collect()
}
