//! Tests of asking upstream groups.

use super::*;
use crate::account::Account;
use crate::base::clock::Clock;
use crate::publish::build;
use crate::publish::build::Environment;
use crate::resolve::guard::Guard;
use crate::resolve::limits::Limits;
use crate::resolve::packet_cache::PacketCache;
use crate::resolve::query;
use crate::resolve::query::{Client, ClientTransport, Immediate as Handled, PendingQuery};
use crate::resolve::rrl::Verdict;
use std::path::Path;
use std::sync::atomic::Ordering;

/// A server with `most` places and two groups, neither of which has servers that answer.
fn live(most: usize) -> Arc<SharedState> {
    let text = "[upstream]\nservers = []\n[[forward]]\nzone = \"slow.example\"\nservers = [\"192.0.2.2\"]\n";
    let config = crate::config::parse(text, Path::new("test.toml")).unwrap().0;
    let published = build::build(&config, &Environment::default(), &Account::default(), None, 1);
    let cache = AnswerCache::new(1 << 20, Default::default());
    let answers = PacketCache::new(1 << 20);
    let (limits, guard) = (Limits::new(most), Guard::default());
    SharedState::new(published, Clock::start(), cache, answers, limits, guard, Duration::ZERO)
}

/// A query for the address of a name, which has to wait.
fn waiting(live: &Arc<SharedState>, name: &str) -> PendingQuery {
    let mut query = Message::new(7, hickory_proto::op::MessageType::Query, hickory_proto::op::OpCode::Query);
    query.metadata.recursion_desired = true;
    let name = crate::engine::name::parse(name).unwrap();
    query.queries.push(hickory_proto::op::Query::query(name, RecordType::A));
    query.set_edns(hickory_proto::op::Edns::new());
    let peer = "127.0.0.1:4000".parse().unwrap();
    let caller = Client { peer, local: None, transport: ClientTransport::Udp };
    let packet = query.to_vec().unwrap();
    let at = std::time::Instant::now();
    let came = query::Received { caller, at, now: live.clock.at(at) };
    match query::answer_now(live, &live.tallies.tasks, &packet, came, Verdict::Within, false) {
        Handled::Wait(waiting) => *waiting,
        other => panic!("{other:?}"),
    }
}

/// The text of the extended error in a reply.
fn reason(reply: &[u8]) -> String {
    String::from_utf8_lossy(reply).into_owned()
}

#[tokio::test]
async fn a_query_keeps_its_permit_on_the_long_way() {
    let live = live(1);
    let mut early = waiting(&live, "www.example");
    let group = live.published().catalog.default_group();
    early.permit = live.limits.begin(early.client(), live.published().waiting(group)).ok();
    let late = query::resolve(&live, waiting(&live, "late.example")).await;
    assert!(reason(&late).contains("too many questions are waiting"), "{:?}", reason(&late));
    let early = query::resolve(&live, early).await;
    assert!(reason(&early).contains("no upstream is configured"), "{:?}", reason(&early));
    assert_eq!((live.limits.in_flight(), live.counters.overload.load(Ordering::Relaxed)), (0, 1));
}

#[tokio::test]
async fn a_group_with_its_share_is_refused_and_the_others_are_asked() {
    let live = live(8);
    let published = live.published();
    let slow = waiting(&live, "www.slow.example").missing.fetch.group;
    let client = IpAddr::from([127, 0, 0, 1]);
    let take = || live.limits.begin(client, published.waiting(slow)).ok();
    let held: Vec<_> = std::iter::from_fn(take).collect();
    assert_eq!(held.len(), 6, "three quarters of 8");
    let refused = query::resolve(&live, waiting(&live, "new.slow.example")).await;
    assert!(reason(&refused).contains("for this group of upstream servers"), "{:?}", reason(&refused));
    let other = query::resolve(&live, waiting(&live, "www.example")).await;
    assert!(reason(&other).contains("no upstream is configured"), "{:?}", reason(&other));
}
