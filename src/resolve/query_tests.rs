//! Tests of the life of a query: what is answered at once, what waits, and what comes of waiting.

use super::*;
use crate::engine::chain::Fetch;
use crate::engine::record::parse_value;
use crate::resolve::fixture::{
    client, immediate, lines, query, server, server_with, take, take_from, waiting,
};
use crate::resolve::guard::Guard;
use crate::resolve::limits::Limits;
use crate::resolve::lookup;
use crate::stats::counters::Sum;
use crate::upstream::network::Network;
use crate::upstream::tests::fake::{Asked, FakeNetwork, Sends, reply_a, reply_rcode};
use hickory_proto::op::{Edns, Message, OpCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{RData, Record, RecordType, rdata::CNAME};
use std::sync::atomic::{AtomicU64, Ordering};

/// Two groups, the default one and that of `rule.test`, and a private zone.
const CONFIG: &str = r#"
[server]
allow = ["127.0.0.0/8", "192.0.2.0/24"]
[upstream]
servers = ["192.0.2.1"]
[[forward]]
zone = "rule.test"
servers = ["192.0.2.2"]
[[zone]]
name = "corp.example"
[[zone.record]]
rr = "www"
type = "A"
value = ["10.0.0.1", "10.0.0.2"]
[[zone.record]]
rr = "out"
type = "CNAME"
value = "far.test"
"#;

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn sum(live: &SharedState) -> Sum {
    live.tallies.sum()
}

/// An alias with the name and address that it leads to, as one server says both.
fn reply_alias(asked: &Asked, target: &str, last: u8) -> Sends {
    let mut message = asked.response();
    let target = crate::engine::name::parse(target).unwrap();
    let alias = Record::from_rdata(asked.name().clone(), 60, RData::CNAME(CNAME(target.clone())));
    message.answers.push(alias);
    let data = parse_value(RecordType::A, &format!("192.0.2.{last}")).unwrap();
    message.answers.push(Record::from_rdata(target, 60, data));
    vec![message.to_vec().unwrap()]
}

/// The extended error of a name that does not come, whichever way it is asked for.
fn failed(name: &str, text: &str) -> String {
    format!("SERVFAIL ede 22: {name}: {text}")
}

#[tokio::test]
async fn a_private_name_is_answered_at_once_and_from_the_packet_cache_afterwards() {
    let live = server(CONFIG, &Arc::default());
    let first = lines(&immediate(&live, &query("www.corp.example", RecordType::A)));
    assert_eq!(first[0], "NOERROR aa");
    assert_eq!(first.len(), 3);
    assert_eq!((live.answers.len(), sum(&live).known), (1, 0));
    let second = lines(&immediate(&live, &query("wWw.corp.example", RecordType::A)));
    assert_eq!(sum(&live).known, 1);
    // the set rotates from one answer to the next, whatever way they take
    assert_eq!((&first[1], &first[2]), (&second[2].replace("wWw", "www"), &second[1].replace("wWw", "www")));
    assert_eq!(sum(&live).answered(), 2);
}

#[tokio::test]
async fn what_is_no_query_gets_no_answer_and_a_malformed_one_a_code() {
    let live = server(CONFIG, &Arc::default());
    let mut response = query("www.corp.example", RecordType::A).to_vec().unwrap();
    response[2] |= 0x80;
    assert!(matches!(take(&live, &response), Immediate::Drop));
    assert!(matches!(take(&live, &response[..11]), Immediate::Drop));
    assert_eq!(read(&live.counters.dropped), 2);
    let mut notify = query("www.corp.example", RecordType::A);
    notify.metadata.op_code = OpCode::Notify;
    assert_eq!(lines(&immediate(&live, &notify)), ["NOTIMP"]);
    let mut cut = query("www.corp.example", RecordType::A).to_vec().unwrap();
    cut.pop();
    let Immediate::Reply(reply, _) = take(&live, &cut) else { panic!("a cut query is answered") };
    assert_eq!(lines(&reply), ["FORMERR"]);
    assert_eq!(sum(&live).answered(), 2);
}

#[tokio::test]
async fn a_client_that_is_not_allowed_is_refused() {
    let live = server(CONFIG, &Arc::default());
    let stranger = Client { peer: "198.51.100.1:4000".parse().unwrap(), ..client() };
    let packet = query("www.corp.example", RecordType::A).to_vec().unwrap();
    let Immediate::Reply(reply, _) = take_from(&live, &packet, stranger, Verdict::Within) else {
        panic!("it gets an answer")
    };
    assert_eq!(lines(&reply), ["REFUSED ede 18: this client is not on the allow-list"]);
    assert!(live.answers.is_empty(), "which is not kept for others");
}

#[tokio::test]
async fn a_client_beyond_its_rate_gets_tc_or_nothing_but_for_one_with_a_cookie() {
    let guard = Guard::new(true, 10).unwrap();
    let live = server_with(CONFIG, Network::Kernel, (Limits::new(9), guard), Duration::ZERO);
    let reply = |query: &Message, pace| match take_from(&live, &query.to_vec().unwrap(), client(), pace) {
        Immediate::Reply(reply, _) => Some(reply),
        Immediate::Drop => None,
        other => panic!("{other:?}"),
    };
    let mut query = query("www.corp.example", RecordType::A);
    assert!(reply(&query, Verdict::Drop).is_none());
    assert_eq!(lines(&reply(&query, Verdict::Slip).unwrap()), ["NOERROR tc"]);
    // a cookie of the client's alone proves nothing; with the server's half it does
    query.edns.as_mut().unwrap().options_mut().insert(EdnsOption::Unknown(10, vec![7; 8]));
    let slipped = reply(&query, Verdict::Slip).unwrap();
    assert_eq!(lines(&slipped), ["NOERROR tc"]);
    let message = Message::from_vec(&slipped).unwrap();
    let cookie =
        message.edns.unwrap().option(hickory_proto::rr::rdata::opt::EdnsCode::Cookie).cloned().unwrap();
    query.set_edns(Edns::new());
    query.edns.as_mut().unwrap().options_mut().insert(cookie);
    assert_eq!(lines(&reply(&query, Verdict::Drop).unwrap())[0], "NOERROR aa");
}

#[tokio::test]
async fn without_recursion_nothing_is_asked_of_upstreams() {
    let network = Arc::new(FakeNetwork::default());
    network.serve(1, |asked| reply_a(asked, 1));
    let live = server(CONFIG, &network);
    let mut without = query("www.test", RecordType::A);
    without.metadata.recursion_desired = false;
    let refused = "REFUSED ede 20: the query has no RD flag, and the answer is neither private nor cached";
    assert_eq!(lines(&immediate(&live, &without)), [refused]);
    assert_eq!(network.queries(1), 0);
    let _ = resolve(&live, waiting(&live, &query("www.test", RecordType::A))).await;
    assert_eq!(lines(&immediate(&live, &without)), ["NOERROR", "www.test 60 A 192.0.2.1"], "it is cached");
    // what a zone says of an alias is an answer
    let mut alias = query("out.corp.example", RecordType::A);
    alias.metadata.recursion_desired = false;
    assert_eq!(lines(&immediate(&live, &alias)), ["NOERROR aa", "out.corp.example 60 CNAME far.test"]);
}

#[tokio::test]
async fn a_forwarded_name_waits_is_fetched_once_and_then_known() {
    let network = Arc::new(FakeNetwork::default());
    network.serve(1, |asked| reply_a(asked, 1));
    let live = server(CONFIG, &network);
    let www = query("www.test", RecordType::A);
    let (first, second) = (waiting(&live, &www), waiting(&live, &www));
    assert!(!first.missing.has_stale && first.missing.fetch.question.key.to_string() == "www.test");
    let (first, second) = tokio::join!(resolve(&live, first), resolve(&live, second));
    assert_eq!(lines(&first), ["NOERROR", "www.test 60 A 192.0.2.1"]);
    assert_eq!(lines(&first), lines(&second));
    assert_eq!(network.queries(1), 1, "two who ask the same at the same time cost one query");
    assert_eq!(lines(&immediate(&live, &www)), lines(&first));
    assert_eq!((live.limits.in_flight(), read(&live.counters.failed)), (0, 0));
}

#[tokio::test]
async fn a_chain_goes_from_group_to_group_and_no_group_speaks_for_another() {
    let network = Arc::new(FakeNetwork::default());
    network.serve(1, |asked| reply_alias(asked, "www.rule.test", 66));
    network.serve(2, |asked| reply_a(asked, 2));
    let live = server(CONFIG, &network);
    let expected = ["NOERROR", "www.test 60 CNAME www.rule.test", "www.rule.test 60 A 192.0.2.2"];
    let www = query("www.test", RecordType::A);
    assert_eq!(lines(&resolve(&live, waiting(&live, &www)).await), expected);
    assert_eq!((network.queries(1), network.queries(2)), (1, 1));
    // within one group the answer has all of the chain
    network.serve(1, |asked| reply_alias(asked, "other.test", 3));
    let far = lines(&resolve(&live, waiting(&live, &query("out.corp.example", RecordType::A))).await);
    let expected = [
        "NOERROR aa",
        "out.corp.example 60 CNAME far.test",
        "far.test 60 CNAME other.test",
        "other.test 60 A 192.0.2.3",
    ];
    assert_eq!(far, expected);
    assert_eq!(network.queries(1), 1, "of the server that was put there last");
}

#[tokio::test(start_paused = true)]
async fn every_client_has_an_answer_within_the_deadline() {
    let network = Arc::new(FakeNetwork::default());
    network.serve(1, |_| Vec::new()); // mute
    let live = server(CONFIG, &network);
    let begun = Instant::now();
    let reply = resolve(&live, waiting(&live, &query("www.test", RecordType::A))).await;
    assert!(begun.elapsed() <= CLIENT_DEADLINE, "{:?}", begun.elapsed());
    assert!(lines(&reply)[0].starts_with("SERVFAIL ede 22: www.test: "), "{:?}", lines(&reply));
    assert_eq!(read(&live.counters.failed), 1);
    // the silence is remembered for a moment
    let again = lines(&immediate(&live, &query("www.test", RecordType::A)));
    assert_eq!(again, ["SERVFAIL ede 13: no upstream could be reached for www.test a moment ago"]);
}

#[tokio::test(start_paused = true)]
async fn a_failing_code_is_told_with_its_name() {
    let network = Arc::new(FakeNetwork::default());
    network.serve(1, |asked| reply_rcode(asked, ResponseCode::Refused));
    let live = server(CONFIG, &network);
    let reply = resolve(&live, waiting(&live, &query("www.test", RecordType::A))).await;
    let head = lines(&reply).remove(0);
    assert!(head.starts_with(&failed("www.test", "the upstream servers answer REFUSED")), "{head}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_beyond_its_life_is_served_while_no_new_one_comes() {
    let network = Arc::new(FakeNetwork::default());
    network.serve(1, |asked| reply_a(asked, 1));
    let live = server(CONFIG, &network);
    let www = query("www.test", RecordType::A);
    let _ = resolve(&live, waiting(&live, &www)).await;
    network.serve(1, |_| Vec::new());
    tokio::time::sleep(Duration::from_secs(61)).await;
    let late = waiting(&live, &www);
    assert!(late.missing.has_stale);
    let begun = Instant::now();
    let reply = lines(&resolve(&live, late).await);
    assert_eq!(begun.elapsed(), live.stale_after, "the client waits no longer than it has to");
    assert!(reply[0].starts_with("NOERROR ede 3: "), "{reply:?}");
    assert_eq!(reply[1], "www.test 30 A 192.0.2.1");
    assert_eq!(read(&live.counters.stale), 1);
    assert!(live.answers.is_empty(), "a stale answer is made anew each time");
}

#[tokio::test]
async fn what_the_pool_brings_completes_a_query() {
    let live = server(CONFIG, &Arc::default());
    let now = || Instant::now();
    let entry = |pending: &PendingQuery, last: u8| {
        let fetch = &pending.missing.fetch;
        let fetch = Fetch::new(fetch.group, fetch.question.clone(), fetch.flags);
        let mut message = query(&fetch.question.key.to_string(), RecordType::A);
        let data = parse_value(RecordType::A, &format!("192.0.2.{last}")).unwrap();
        message.answers.push(Record::from_rdata(fetch.question.key.to_name(), 60, data));
        let published = live.published();
        let view = published.catalog.view(pending.client());
        lookup::cache_put(&live.cache, view, &fetch, &message, live.clock.now()).unwrap()
    };
    let pending = waiting(&live, &query("wWw.test", RecordType::A));
    let group = pending.missing.fetch.group;
    let hops = entry(&pending, 1);
    let brought = Delivered::Answered(group, &hops);
    let reply = complete(&live, &live.tallies.tasks, &pending, &brought, now()).unwrap();
    assert_eq!(lines(&reply), ["NOERROR", "wWw.test 60 A 192.0.2.1"]);
    // after a reload the answer is composed from the start: octet for octet the same
    let published = live.published();
    live.publish(ActiveConfig { generation: 2, ..ActiveConfig::clone(&published) });
    let composed = complete(&live, &live.tallies.tasks, &pending, &brought, now()).unwrap();
    assert_eq!(reply, composed);
    // a failure is told; one of another question is not this one's
    let why = || ExtendedError::new(ExtendedError::NETWORK_ERROR, "why");
    let absent = waiting(&live, &query("absent.test", RecordType::A));
    let key = absent.missing.fetch.cache_key().clone();
    let other = pending.missing.fetch.cache_key().clone();
    let failed = Delivered::Failed(&key, why());
    let reply = complete(&live, &live.tallies.tasks, &absent, &failed, now()).unwrap();
    assert_eq!(lines(&reply), ["SERVFAIL ede 23: absent.test: why"]);
    assert!(
        complete(&live, &live.tallies.tasks, &absent, &Delivered::Failed(&other, why()), now()).is_none()
    );
}

#[tokio::test]
async fn our_own_probe_that_comes_back_is_refused() {
    let live = server(CONFIG, &Arc::default());
    let probe = query("0123456789abcdef.pvtzd-loop", RecordType::A);
    assert_ne!(
        lines(&resolve(&live, waiting(&live, &probe)).await)[0].split(' ').next(),
        Some("REFUSED"),
        "a name that was not sent is an ordinary one"
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_has_its_octets_before_it_is_composed() {
    let network = Arc::new(FakeNetwork::default());
    network.serve(1, |asked| reply_a(asked, 1));
    let live = server(CONFIG, &network);
    let account = live.octets.account(crate::base::octets::OctetKind::Tcp, reply::TCP);
    let all = account.try_reserve(reply::TCP).unwrap();
    let pending = waiting(&live, &query("www.test", RecordType::A));
    let resolving = resolve_in_room(&live, pending, &account);
    tokio::pin!(resolving);
    let early = tokio::time::timeout(Duration::from_secs(1), &mut resolving).await;
    assert!(early.is_err(), "its account is full");
    assert_eq!(live.limits.in_flight(), 0, "what waits for its client holds up no others");
    drop(all);
    let (reply, held) = resolving.await;
    assert_eq!(lines(&reply)[0], "NOERROR");
    assert_eq!(held.octets(), reply.len());
}
