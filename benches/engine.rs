//! What the parts of a query's way cost, one at a time: `cargo bench`, or `cargo bench -- lane` for some of them.
//!
//! No sockets and no threads: `benches/compare.toml` is for the comparison of the whole. Where there are many
//! names they are asked for in a jumbled order, so that each is as cold as a client finds it.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on has nothing to show")]

mod kinds;

use divan::{Bencher, black_box, counter::ItemsCount};
use hickory_proto::op::{Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::{Record, RecordType};
use pvtzd::engine::answer::Answer;
use pvtzd::engine::cache::{CacheData, CacheKey, Outcome, QueryFlags, Timestamp, TtlPolicy};
use pvtzd::engine::cached_packet::{CachedPacket, PacketKey, PacketOrigin, PlainQuery};
use pvtzd::engine::catalog::{Catalog, CatalogSpec, GroupKey, Scope, View};
use pvtzd::engine::chain::{Chain, Step};
use pvtzd::engine::decide::decide;
use pvtzd::engine::name::{NameKey, parse};
use pvtzd::engine::record::parse_value;
use pvtzd::engine::reply::{TCP, finish};
use pvtzd::engine::request::{Admission, Question, Request};
use pvtzd::engine::response;
use pvtzd::engine::zone::{Zone, ZoneMode, ZoneRecord, ZoneSpec};
use pvtzd::resolve::cache::AnswerCache;
use pvtzd::resolve::packet_cache::PacketCache;
use std::sync::Arc;

const NOW: Timestamp = Timestamp(1_000_000);

/// Few names, which the processor's caches hold, and many, which they do not.
const NAMES: [usize; 2] = [1_000, 100_000];

/// Room for all that a bench keeps.
const ROOM: u64 = 256 << 20;

fn main() {
    // One call is not much longer than a look at the clock, and a hundred do not warm anything up.
    divan::Divan::default().sample_size(1000).config_with_args().main();
}

/// One after the other, in a jumbled order, again and again.
struct Jumbled<T> {
    items: Vec<T>,
    at: usize,
}

impl<T> Jumbled<T> {
    fn new(items: Vec<T>) -> Self {
        Self { items, at: 0 }
    }

    fn next(&mut self) -> &T {
        self.at = (self.at + 7919) % self.items.len(); // a prime that divides no number of items here
        &self.items[self.at]
    }
}

fn host(number: usize) -> String {
    format!("host-{number}.some-zone.example")
}

/// A query for an address, with EDNS as most stub resolvers send it.
fn packet(name: &str) -> Vec<u8> {
    let mut bytes = vec![66, 66, 1, 0x20, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.bytes());
    }
    bytes.extend([0, 0, 1, 0, 1]);
    bytes.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    bytes
}

fn accept(packet: &[u8]) -> (Request, Question) {
    match Request::parse(packet) {
        Admission::Accept(request, question) => (request, question),
        other => panic!("{other:?}"),
    }
}

/// Addresses of a name.
fn addresses(name: &str, count: u8) -> Vec<Record> {
    let owner = parse(name).unwrap();
    let a = |i| parse_value(RecordType::A, &format!("192.0.2.{i}")).unwrap();
    (0..count).map(|i| Record::from_rdata(owner.clone(), 60, a(i))).collect()
}

fn entry(name: &str) -> CacheData {
    let key = NameKey::of(&parse(name).unwrap());
    CacheData::new(Outcome::Rrset, &key, &addresses(name, 1), &[], 3600, false, NOW)
}

/// An answer for which only the default upstream is asked.
fn answer(view: &View, question: &Question, entry: &CacheData) -> Answer {
    let mut chain = Chain::start(view, question, QueryFlags::default(), 0);
    loop {
        match chain.step() {
            Step::Done(answer) => return answer,
            Step::Fetch(_) => chain.supply(entry, 3600, false),
        }
    }
}

/// What reading a query costs the long way: a question with names of its own, for the engine to work with.
#[divan::bench]
fn parse_request(bencher: Bencher<'_, '_>) {
    let packet = packet("www.some-zone.example");
    bencher.counter(ItemsCount::new(1u32)).bench(|| Request::parse(black_box(&packet)));
}

/// What it costs the fast way: a look at the header, and the name lowered into a key.
#[divan::bench]
fn glance(bencher: Bencher<'_, '_>) {
    let packet = packet("www.some-zone.example");
    let mut key = PacketKey::default();
    bencher
        .counter(ItemsCount::new(1u32))
        .bench_local(|| black_box(PlainQuery::at(black_box(&packet), 0, &mut key)).is_some());
}

/// The whole fast lane but for the sockets: glance, look-up, patched copy. Between few and many names lies what
/// memory costs.
#[divan::bench(args = NAMES)]
fn lane(bencher: Bencher<'_, '_>, names: usize) {
    let catalog = Catalog::build(CatalogSpec::default()).unwrap();
    let view = catalog.view([127, 0, 0, 1].into());
    let answers = PacketCache::new(ROOM);
    let mut key = PacketKey::default();
    let mut packets = Vec::new();
    for name in (0..names).map(host) {
        let packet = packet(&name);
        let (request, question) = accept(&packet);
        let answer = answer(view, &question, &entry(&name));
        let message = finish(&request, &answer, TCP, 1232);
        PlainQuery::at(&packet, 0, &mut key).unwrap();
        let making = PacketOrigin { turn: 0, limit: TCP, generation: 1, now: NOW, mark: 0 };
        answers.insert(&key, CachedPacket::of(&key, &message, &answer, making).unwrap());
        packets.push(packet);
    }
    assert_eq!(answers.len(), names);
    let (mut packets, mut out) = (Jumbled::new(packets), Vec::with_capacity(512));
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| {
        out.clear();
        let glance = PlainQuery::at(packets.next(), 0, &mut key).unwrap();
        let prepared = answers.get(&key).unwrap();
        assert!(prepared.is_valid(1, NOW));
        assert!(prepared.serves(&glance, 1232));
        prepared.write(&glance, 1232, NOW, 0, &mut out);
        out.len()
    });
}

/// The policy: which zone a name belongs to, and what is there. The steps are those of the name's suffixes,
/// whatever the number of zones; what grows is the way to memory.
#[divan::bench(args = [10, 1_000, 100_000])]
fn decide_in_zones(bencher: Bencher<'_, '_>, zones: usize) {
    let mut spec = CatalogSpec::default();
    let mut names = Vec::new();
    for number in 0..zones {
        let mut zone = ZoneSpec::new(parse(&format!("zone-{number}.example")).unwrap(), ZoneMode::Override);
        let owner = parse(&format!("www.zone-{number}.example")).unwrap();
        names.push(NameKey::of(&owner));
        let data = parse_value(RecordType::A, "10.0.0.1").unwrap();
        zone.records.push(ZoneRecord { owner, ttl: 60, data, weight: None });
        spec.zones.push((Arc::new(Zone::build(zone, 1).unwrap()), Scope::Everyone));
    }
    let catalog = Catalog::build(spec).unwrap();
    let view = catalog.view([127, 0, 0, 1].into());
    let mut names = Jumbled::new(names);
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| {
        black_box(decide(view, names.next(), RecordType::A));
    });
}

/// The look-up alone, of a name in a zone with so many of them.
#[divan::bench(args = [10, 1_000, 100_000])]
fn zone_lookup(bencher: Bencher<'_, '_>, names: usize) {
    let mut spec = ZoneSpec::new(parse("some-zone.example").unwrap(), ZoneMode::Override);
    let mut keys = Vec::new();
    for number in 0..names {
        let owner = parse(&host(number)).unwrap();
        keys.push(NameKey::of(&owner));
        let data = parse_value(RecordType::A, "10.0.0.1").unwrap();
        spec.records.push(ZoneRecord { owner, ttl: 60, data, weight: None });
    }
    let zone = Zone::build(spec, 1).unwrap();
    let mut keys = Jumbled::new(keys);
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| {
        black_box(zone.lookup(keys.next(), RecordType::A));
    });
}

/// The way out: one record, as most answers have, and as many as a large one has.
#[divan::bench(args = [1, 60])]
fn finish_answer(bencher: Bencher<'_, '_>, records: u8) {
    let (request, _) = accept(&packet("www.some-zone.example"));
    let mut answer = Answer::code(ResponseCode::NoError, None);
    answer.answers = addresses("www.some-zone.example", records).into_iter().collect();
    bencher.counter(ItemsCount::new(1u32)).bench(|| finish(&request, black_box(&answer), TCP, 1232));
}

/// An upstream's answer with three addresses, as octets, and the question that it answers.
fn upstream_reply() -> (Vec<u8>, Question) {
    let question = Question::new(parse("www.some-zone.example").unwrap(), RecordType::A);
    let mut message = Message::query();
    message.metadata.message_type = MessageType::Response;
    message.add_query(Query::query(question.name.clone(), question.rtype));
    message.add_answers(addresses("www.some-zone.example", 3));
    (message.to_vec().unwrap(), question)
}

/// An upstream's plain answer, read in place.
#[divan::bench]
fn reading_plain(bencher: Bencher<'_, '_>) {
    let (reply, question) = upstream_reply();
    let (end, lifetimes) = (12 + question.key.wire().len() + 4, TtlPolicy::default());
    assert!(response::parse_plain(&reply, end, question.rtype, &lifetimes, NOW).is_some());
    bencher
        .counter(ItemsCount::new(1u32))
        .bench(|| response::parse_plain(black_box(&reply), end, question.rtype, &lifetimes, NOW));
}

/// The same answer by the message library, as all others are read: what `reading_plain` saves.
#[divan::bench]
fn reading_entries(bencher: Bencher<'_, '_>) {
    let (reply, question) = upstream_reply();
    let lifetimes = TtlPolicy::default();
    bencher.counter(ItemsCount::new(1u32)).bench(|| {
        let message = Message::from_vec(black_box(&reply)).unwrap();
        response::entries(&message, &question, &lifetimes, NOW, |_| true)
    });
}

/// Names and their keys in the cache.
fn cached(names: usize) -> Vec<(CacheKey, CacheData)> {
    let keyed = |name: String| {
        let key = NameKey::of(&parse(&name).unwrap());
        (CacheKey::new(GroupKey::DEFAULT, &key, RecordType::A, QueryFlags::default()), entry(&name))
    };
    (0..names).map(host).map(keyed).collect()
}

/// A hit in the cache, without what is made of it.
#[divan::bench(args = NAMES)]
fn cache_get(bencher: Bencher<'_, '_>, names: usize) {
    let cache = AnswerCache::new(ROOM, TtlPolicy::default());
    let mut keys = Vec::new();
    for (key, entry) in cached(names) {
        cache.insert(key.clone(), entry, NOW);
        keys.push(key);
    }
    let mut keys = Jumbled::new(keys);
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| cache.get(keys.next(), NOW).unwrap());
}

/// Keeping an answer in a cache that is full, so that another has to leave for it.
#[divan::bench(args = NAMES)]
fn cache_insert(bencher: Bencher<'_, '_>, names: usize) {
    let cache = AnswerCache::new(names as u64 * 150, TtlPolicy::default()); // half of what they take
    let mut answers = Jumbled::new(cached(names));
    bencher
        .counter(ItemsCount::new(1u32))
        .with_inputs(|| answers.next().clone())
        .bench_local_values(|(key, entry)| cache.insert(key, entry, NOW));
}
