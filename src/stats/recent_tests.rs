//! Tests of the latest answers and of those who read them.

use super::*;
use crate::stats::answer_filter::NamePart;
use crate::stats::tap::ClientTransport;
use std::convert::Infallible;

fn message(name: &str) -> Vec<u8> {
    let mut octets = vec![0, 1, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0];
    octets.extend(wire(name).wire());
    octets.extend([0, 1, 0, 1]);
    octets
}

fn wire(name: &str) -> crate::engine::name::NameKey {
    crate::engine::name::NameKey::of(&crate::engine::name::parse(name).unwrap())
}

fn offer(recent: &RecentAnswers, reply: &[u8], weight: u32, fast: bool, now: u64) {
    let peer = "127.0.0.9:4000".parse().unwrap();
    let caller = Client { peer, local: None, transport: ClientTransport::Udp };
    let offered = OfferedAnswer { weight, caller: &caller, reply, mark: StatKey::default(), fast };
    recent.offer(offered, Timestamp(now), || (Duration::ZERO, None));
}

/// A reading for answers with a part of a name; all for an empty one.
fn read(recent: &RecentAnswers, reader: &str, part: &str, after: u64, now: u64) -> Option<RecentPage> {
    let filter = || {
        let name = (!part.is_empty()).then(|| NamePart::new(&wire(part), false, false));
        Ok::<_, Infallible>(AnswerFilter { name, ..AnswerFilter::default() })
    };
    recent.read(LogReading { reader, asked: part, after, only: None }, Timestamp(now), filter).unwrap()
}

#[test]
fn a_reader_gets_each_row_once_and_hears_of_all_answers() {
    let recent = RecentAnswers::default();
    let begin = read(&recent, "a", "", 0, 10_000).unwrap();
    assert_eq!(begin.rows.len(), 0);
    offer(&recent, b"one", 3, true, 10_000);
    let page = read(&recent, "a", "", 0, 10_100).unwrap();
    assert_eq!((page.rows.len(), page.began, page.seen, page.matched), (1, begin.began, 3, 3));
    let last = page.rows[0].number;
    assert_eq!(read(&recent, "a", "", last, 10_100).unwrap().rows.len(), 0);
    assert!(recent.is_read(Timestamp(10_099 + LEASE_MS)) && !recent.is_read(Timestamp(10_100 + LEASE_MS)));
    let again = read(&recent, "a", "", 0, 10_100 + LEASE_MS).unwrap();
    assert_eq!((again.rows.len(), again.seen), (0, 0), "old rows are gone");
    assert_ne!(again.began, begin.began);
    offer(&recent, b"two", 1, true, 10_100 + LEASE_MS);
    assert!(read(&recent, "a", "", last, 10_200 + LEASE_MS).unwrap().rows[0].number > last);
}

/// A name that comes once among 100,000 others a second is found, and does not lose its room to them.
#[test]
fn a_filter_finds_one_among_many() {
    let recent = RecentAnswers::default();
    read(&recent, "a", "rare.example", 0, 0);
    read(&recent, "b", "", 0, 0);
    let (many, rare) = (message("www.example.com"), message("very.RARE.example"));
    for number in 0..100_000 {
        offer(&recent, &many, 1, true, number / 100);
        if number == 90_000 {
            offer(&recent, &rare, 0, false, number / 100); // not sampled, and not from the packet cache
        }
    }
    let found = read(&recent, "a", "rare.example", 0, 1000).unwrap();
    assert_eq!((found.rows.len(), found.matched, found.seen), (1, 1, 100_000));
    assert_eq!(*found.rows[0].reply, *rare);
    let all = read(&recent, "b", "", 0, 1000).unwrap();
    assert!(all.rows.len() <= 2 * RATE as usize && all.rows.iter().all(|row| row.reply[..] == many[..]));
    assert!(recent.is_filtered(Timestamp(1000)));
    let other = read(&recent, "a", "", 0, 1000).unwrap();
    assert!(other.began > found.began && other.matched == 0 && other.rows.is_empty(), "another filter");
    assert!(!recent.is_filtered(Timestamp(1000)));
}

/// A request that waits while its page asks for something else ends, and does not bring the old filter back.
#[test]
fn a_reading_that_is_over_does_not_begin_again() {
    let recent = RecentAnswers::default();
    let first = read(&recent, "a", "one.example", 0, 0).unwrap();
    let go_on = |began| {
        let reading = LogReading { reader: "a", asked: "one.example", after: 0, only: Some(began) };
        recent.read(reading, Timestamp(10), || Err(())).unwrap()
    };
    assert_eq!(go_on(first.began).unwrap().began, first.began);
    let second = read(&recent, "a", "two.example", 0, 20).unwrap();
    assert!(go_on(first.began).is_none());
    assert_eq!(go_on(second.began).unwrap().began, second.began);
}

#[test]
fn readers_are_few_and_one_who_is_gone_makes_room() {
    let recent = RecentAnswers::default();
    for reader in 0..READERS {
        assert!(read(&recent, &reader.to_string(), "", 0, 0).is_some());
    }
    for other in 0..1000 {
        assert!(read(&recent, &format!("x{other}"), "", 0, 1000).is_none());
    }
    assert!(read(&recent, "1", "other.filter", 0, 1000).is_some(), "it has its place");
    (0..READERS).filter(|place| *place != 2).for_each(|place| {
        read(&recent, &place.to_string(), "", 0, GONE_MS - 1);
    });
    assert!(read(&recent, "x", "", 0, GONE_MS - 1).is_none());
    assert!(read(&recent, "x", "", 0, GONE_MS).is_some(), "2 has closed its page");
    assert!(read(&recent, "2", "", 0, GONE_MS).is_none());
    assert_eq!(recent.lock().all.len(), READERS);
}

#[test]
fn rows_octets_and_rate_are_bounded() {
    let recent = RecentAnswers::default();
    read(&recent, "a", "", 0, 0);
    (0..10_000).for_each(|_| offer(&recent, &[0; 100], 3, true, 500));
    assert_eq!(read(&recent, "a", "", 0, 500).unwrap().rows.len() as u64, RATE);
    for second in 1..100_u64 {
        (0..RATE).for_each(|_| offer(&recent, &[0; 4000], 3, true, second * 1000));
        read(&recent, "a", "", 0, second * 1000);
    }
    let page = read(&recent, "a", "", 0, 100_000).unwrap();
    assert_eq!(page.seen, 3 * (10_000 + 99 * RATE));
    assert!(page.rows.len() <= ROWS && page.rows.iter().map(|row| row.reply.len()).sum::<usize>() <= OCTETS);
    recent.end_if_unread(Timestamp(100_999));
    assert_eq!(recent.lock().all.len(), 1, "a page reads it");
    recent.end_if_unread(Timestamp(100_000 + LEASE_MS));
    assert!(recent.lock().all.is_empty());
}

#[test]
fn of_a_long_message_the_question_is_kept() {
    let mut long = b"\0\x01\x81\x80\0\x01\0\x09\0\0\0\0\x01a\0\0\x01\0\x01".to_vec();
    long.resize(LONGEST + 1, 0);
    assert_eq!(&*kept(&long), b"\0\x01\x81\x80\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01");
}
