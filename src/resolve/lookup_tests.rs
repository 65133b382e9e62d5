//! Tests of asking upstream groups.

use super::*;
use crate::engine::request::Question;
use crate::resolve::fixture::{immediate, lines, query, server, server_with, waiting};
use crate::resolve::guard::Guard;
use crate::resolve::limits::Limits;
use crate::resolve::query::resolve;
use crate::upstream::network::Network;
use crate::upstream::tests::fake::{FakeNetwork, reply_a, reply_rcode};
use hickory_proto::op::ResponseCode;
use std::sync::atomic::Ordering;

/// A server with `most` places and two groups, neither of which has servers that answer.
fn live(most: usize) -> Arc<SharedState> {
    let text = "[upstream]\nservers = []\n[[forward]]\nzone = \"slow.example\"\nservers = [\"192.0.2.2\"]\n";
    server_with(text, Network::Kernel, (Limits::new(most), Guard::default()), Duration::ZERO)
}

/// A query for the address of a name, which has to wait.
fn address_of(live: &Arc<SharedState>, name: &str) -> crate::resolve::query::PendingQuery {
    waiting(live, &query(name, RecordType::A))
}

/// The text of the extended error in a reply.
fn reason(reply: &[u8]) -> String {
    String::from_utf8_lossy(reply).into_owned()
}

#[tokio::test]
async fn a_query_keeps_its_permit_on_the_long_way() {
    let live = live(1);
    let mut early = address_of(&live, "www.example");
    let group = live.published().catalog.default_group();
    early.permit = live.limits.begin(early.client(), live.published().waiting(group)).ok();
    let late = resolve(&live, address_of(&live, "late.example")).await;
    assert!(reason(&late).contains("too many queries are waiting"), "{:?}", reason(&late));
    let early = resolve(&live, early).await;
    assert!(reason(&early).contains("no upstream is configured"), "{:?}", reason(&early));
    assert_eq!((live.limits.in_flight(), live.counters.overload.load(Ordering::Relaxed)), (0, 1));
}

#[tokio::test]
async fn a_group_with_its_share_is_refused_and_the_others_are_asked() {
    let live = live(8);
    let published = live.published();
    let slow = address_of(&live, "www.slow.example").missing.fetch.group;
    let client = IpAddr::from([127, 0, 0, 1]);
    let take = || live.limits.begin(client, published.waiting(slow)).ok();
    let held: Vec<_> = std::iter::from_fn(take).collect();
    assert_eq!(held.len(), 6, "three quarters of 8");
    let refused = resolve(&live, address_of(&live, "new.slow.example")).await;
    assert!(reason(&refused).contains("for this group of upstream servers"), "{:?}", reason(&refused));
    let other = resolve(&live, address_of(&live, "www.example")).await;
    assert!(reason(&other).contains("no upstream is configured"), "{:?}", reason(&other));
}

/// A server with one group, of one server.
fn forwarder(network: &Arc<FakeNetwork>) -> Arc<SharedState> {
    server("[upstream]\nservers = [\"192.0.2.1\"]\n", network)
}

#[test]
fn what_the_cache_says_depends_on_age_and_on_what_failed_since() {
    let lifetimes = crate::engine::cache::TtlPolicy {
        max_stale: 600,
        stale_retry_ms: 30_000,
        ..crate::engine::cache::TtlPolicy::default()
    };
    let cache = AnswerCache::new(1 << 20, lifetimes);
    let name = crate::engine::name::parse("www.test").unwrap();
    let question = Question::new(name.clone(), RecordType::A);
    let owner = question.key.clone();
    let fetch = Fetch::new(crate::engine::catalog::GroupKey(1), question, QueryFlags::default());
    let at = |seconds: u64| Timestamp(1_000_000 + seconds * 1000);
    let said =
        |seconds: u64, success: Option<u64>| match cache_get(&cache, &fetch, at(seconds), || success.map(at))
        {
            CacheAnswer::Use(_, ttl) => format!("use for {ttl} s"),
            CacheAnswer::UseStale(_) => "use stale".into(),
            CacheAnswer::Ask(Some(_)) => "ask, stale at hand".into(),
            CacheAnswer::Ask(None) => "ask".into(),
        };
    assert_eq!(said(0, None), "ask");
    let data = crate::engine::record::parse_value(RecordType::A, "192.0.2.1").unwrap();
    let record = hickory_proto::rr::Record::from_rdata(name, 60, data);
    let entry =
        CacheData::new(crate::engine::cache::Outcome::Rrset, &owner, &[record], &[], 60, false, at(0));
    cache.insert(fetch.cache_key().clone(), entry, at(0));
    assert_eq!(said(0, None), "use for 60 s");
    assert_eq!(said(59, None), "use for 1 s");
    assert_eq!(said(60, None), "ask, stale at hand");
    cache_failure(&cache, &fetch, FailureKind::Timeout, at(70));
    assert_eq!(said(71, None), "use stale");
    assert_eq!(said(71, Some(69)), "use stale", "the server has not answered since");
    assert_eq!(said(71, Some(71)), "ask, stale at hand", "it has");
    assert_eq!(said(99, None), "use stale");
    assert_eq!(said(100, None), "ask, stale at hand");
    assert_eq!(said(659, None), "ask, stale at hand");
    assert_eq!(said(660, None), "ask");
}

#[tokio::test(start_paused = true)]
async fn a_popular_answer_is_refreshed_before_it_expires_and_no_client_waits() {
    let network = Arc::new(FakeNetwork::default());
    network.serve(1, |asked| reply_a(asked, asked.number as u8));
    let live = forwarder(&network);
    let www = query("www.test", RecordType::A);
    let _ = resolve(&live, waiting(&live, &www)).await;
    let _ = immediate(&live, &www); // it is asked for again: popular
    tokio::time::sleep(Duration::from_secs(53)).await;
    let _ = immediate(&live, &www);
    assert_eq!(live.counters.prefetched.load(Ordering::Relaxed), 0, "more than a tenth of its life is left");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(lines(&immediate(&live, &www)), ["NOERROR", "www.test 5 A 192.0.2.1"]);
    assert_eq!(live.counters.prefetched.load(Ordering::Relaxed), 1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(network.queries(1), 2);
    assert_eq!(lines(&immediate(&live, &www)), ["NOERROR", "www.test 59 A 192.0.2.2"]);
    assert_eq!(live.limits.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn aaaa_waits_for_the_nxdomain_of_a() {
    let network = Arc::new(FakeNetwork::default());
    network.serve(1, |asked| reply_rcode(asked, ResponseCode::NXDomain));
    let live = forwarder(&network);
    let (a, aaaa) =
        (address_of(&live, "absent.test"), waiting(&live, &query("absent.test", RecordType::AAAA)));
    let (a, aaaa) = tokio::join!(resolve(&live, a), resolve(&live, aaaa));
    assert_eq!((lines(&a), lines(&aaaa)), (vec!["NXDOMAIN".into()], vec!["NXDOMAIN".into()]));
    assert_eq!(network.queries(1), 1, "NXDOMAIN is of the name, whatever the type");
}
