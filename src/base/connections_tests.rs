//! Tests of the places for connections.

use super::*;
use futures_util::FutureExt;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn is_closed(place: &ConnectionPlace) -> bool {
    place.closed().now_or_never().is_some()
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_enough_loses_its_own_connection_that_is_idle_longest() {
    let connections = Connections::new(10, 2);
    let (one, other) = (ip("192.0.2.1"), connections.admit(ip("192.0.2.2"), OctetKind::Tcp).unwrap());
    let first = connections.admit(one, OctetKind::Tcp).unwrap();
    tokio::time::advance(Duration::from_millis(5)).await;
    let second = connections.admit(one, OctetKind::Tcp).unwrap();
    tokio::time::advance(Duration::from_millis(5)).await;
    first.used(instant());
    let third = connections.admit(one, OctetKind::Tcp).unwrap();
    assert!(is_closed(&second) && !is_closed(&first) && !is_closed(&other));
    assert_eq!(connections.count(), 3);
    let _busy = (first.asking(), third.asking());
    assert!(connections.admit(one, OctetKind::Tcp).is_none(), "one with a question keeps its place");
    drop(second);
    assert_eq!(connections.count(), 3, "a place is given back once");
}

#[test]
fn the_addresses_of_one_64_are_one_client() {
    let connections = Connections::new(1024, 64);
    let held: Vec<ConnectionPlace> = (0..1024)
        .filter_map(|n| connections.admit(ip(&format!("2001:db8::{n:x}")), OctetKind::Tcp))
        .filter(|place| place.shared.table().clients.len() == 1)
        .collect();
    assert_eq!((held.len(), connections.count()), (1024, 64));
    assert_eq!(held.iter().filter(|place| is_closed(place)).count(), 1024 - 64);
}

#[tokio::test(start_paused = true)]
async fn this_machine_has_no_bound_of_its_own_but_makes_room() {
    let connections = Connections::new(100, 4);
    let own: Vec<ConnectionPlace> =
        (0..98).map(|n| connections.admit(ip(&format!("127.0.0.{n}")), OctetKind::Tcp).unwrap()).collect();
    let (v6, far) = (
        connections.admit(ip("::1"), OctetKind::Tcp).unwrap(),
        connections.admit(ip("192.0.2.1"), OctetKind::Tcp).unwrap(),
    );
    tokio::time::advance(Duration::from_millis(5)).await;
    own[0].used(instant());
    let newcomers = (
        connections.admit(ip("192.0.2.2"), OctetKind::Tcp).unwrap(),
        connections.admit(ip("127.0.0.1"), OctetKind::Tcp).unwrap(),
    );
    assert_eq!(connections.count(), 100);
    assert!(is_closed(&own[1]) && is_closed(&own[2]), "the first ones that are idle");
    assert!(![&own[0], &own[3], &v6, &far, &newcomers.0, &newcomers.1].into_iter().any(is_closed));
}

#[tokio::test(start_paused = true)]
async fn who_has_a_question_or_takes_octets_keeps_its_place_and_who_stands_still_does_not() {
    let connections = Connections::new(2, 2);
    let (asks, writes) = (
        connections.admit(ip("192.0.2.1"), OctetKind::Tcp).unwrap(),
        connections.admit(ip("192.0.2.2"), OctetKind::Tcp).unwrap(),
    );
    let question = asks.asking();
    writes.set_busy(0, true);
    assert!(connections.admit(ip("192.0.2.3"), OctetKind::Tcp).is_none());
    tokio::time::advance(STALLED).await;
    writes.used(instant());
    assert!(connections.admit(ip("192.0.2.3"), OctetKind::Tcp).is_none());
    assert_eq!((asks.idle(), writes.idle()), (None, None));
    tokio::time::advance(STALLED).await;
    let newcomer = connections.admit(ip("192.0.2.3"), OctetKind::Tcp).unwrap();
    assert!(is_closed(&writes) && !is_closed(&asks));
    drop(question);
    newcomer.used(instant() + Duration::from_millis(5));
    assert!(connections.admit(ip("192.0.2.4"), OctetKind::Tcp).is_some());
    assert!(is_closed(&asks));
}

#[tokio::test(start_paused = true)]
async fn the_client_that_holds_more_than_its_share_makes_room() {
    let connections = Connections::new(10, 9);
    let patient = connections.admit(ip("192.0.2.1"), OctetKind::Tcp).unwrap();
    tokio::time::advance(Duration::from_millis(5)).await;
    let greedy: Vec<ConnectionPlace> =
        (0..9).map(|_| connections.admit(ip("192.0.2.2"), OctetKind::Tcp).unwrap()).collect();
    let _newcomer = connections.admit(ip("192.0.2.3"), OctetKind::Tcp).unwrap();
    assert!(!is_closed(&patient) && is_closed(&greedy[0]));
    drop((greedy, patient));
    assert_eq!(connections.count(), 1);
    let table = connections.shared.table();
    assert_eq!((table.clients.len(), table.sizes.len()), (1, 1), "nothing is left of who has gone");
}

#[test]
fn a_place_in_a_full_table_costs_little() {
    let connections = Connections::new(1 << 16, 64);
    // A walk through the table for each would take minutes.
    let held: Vec<ConnectionPlace> =
        (0..1 << 17).filter_map(|_| connections.admit(ip("127.0.0.1"), OctetKind::Tcp)).collect();
    assert_eq!((held.len(), connections.count()), (1 << 17, 1 << 16));
}

#[tokio::test(start_paused = true)]
async fn among_equals_the_one_that_is_idle_longest_makes_room() {
    let connections = Connections::new(100, 64);
    let mut held = Vec::new();
    for n in 0..100 {
        held.push(connections.admit(ip(&format!("192.0.2.{}", 200 - n)), OctetKind::Tcp).unwrap());
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    let questions: Vec<Asking> = held[..90].iter().map(ConnectionPlace::asking).collect();
    let _newcomer = connections.admit(ip("192.0.2.1"), OctetKind::Tcp).unwrap();
    assert!(is_closed(&held[90]));
    drop(questions);
    let _newcomer = connections.admit(ip("192.0.2.1"), OctetKind::Tcp).unwrap();
    assert!(is_closed(&held[91]));
}

#[test]
fn a_connection_that_takes_more_memory_takes_more_places() {
    let connections = Connections::new(8, 64);
    let tcp: Vec<ConnectionPlace> =
        (0..8).map(|_| connections.admit(ip("127.0.0.1"), OctetKind::Tcp).unwrap()).collect();
    let tls = connections.admit(ip("192.0.2.1"), OctetKind::Tls).unwrap();
    assert_eq!(tcp.iter().filter(|place| is_closed(place)).count(), 4);
    let _question = tls.asking();
    assert!(connections.admit(ip("192.0.2.1"), OctetKind::Https).is_none(), "the rest is too little");
    drop((tcp, tls));
    let small = Connections::new(1, 64);
    assert!(small.admit(ip("192.0.2.1"), OctetKind::Quic).is_some(), "one alone has a place");
}

fn of_requests(most: usize) -> (Connections, impl Fn(&Connections) -> Option<Arc<ConnectionPlace>>) {
    let admit = |connections: &Connections| connections.admit(ip("192.0.2.1"), OctetKind::Api).map(Arc::new);
    (Connections::of_kind(OctetKind::Api, most), admit)
}

#[tokio::test(start_paused = true)]
async fn the_longest_idle_makes_room() {
    let (connections, admit) = of_requests(2);
    let first = admit(&connections).unwrap();
    let second = admit(&connections).unwrap();
    tokio::time::advance(Duration::from_millis(1)).await;
    drop(first.request().unwrap()); // idle since a moment ago, the second for longer
    let third = admit(&connections).unwrap();
    assert!(is_closed(&second) && !is_closed(&first) && !is_closed(&third));
    assert!(second.request().is_none(), "it has lost its place");
}

#[test]
fn busy_ones_keep_their_places() {
    let (connections, admit) = of_requests(2);
    let places: Vec<_> = (0..2).map(|_| admit(&connections).unwrap()).collect();
    let busy: Vec<_> = places.iter().map(|place| place.request().unwrap()).collect();
    assert!(admit(&connections).is_none());
    drop(busy);
    assert!(admit(&connections).is_some());
}

#[test]
fn places_are_given_back() {
    let (connections, admit) = of_requests(1);
    for _ in 0..3 {
        let place = admit(&connections).unwrap();
        let busy = place.request().unwrap();
        assert!(admit(&connections).is_none());
        drop((busy, place));
    }
    let table = connections.shared.table();
    assert!(table.all.is_empty() && table.clients.is_empty(), "{table:?}");
}

#[tokio::test(start_paused = true)]
async fn a_table_without_a_bound_for_each_client_closes_the_one_that_is_idle_longest_of_all() {
    let connections = Connections::of_kind(OctetKind::Operations, 10);
    let patient = connections.admit(ip("192.0.2.1"), OctetKind::Operations).unwrap();
    tokio::time::advance(Duration::from_millis(5)).await;
    let many: Vec<ConnectionPlace> =
        (0..9).map(|_| connections.admit(ip("192.0.2.2"), OctetKind::Operations).unwrap()).collect();
    let _newcomer = connections.admit(ip("192.0.2.3"), OctetKind::Operations).unwrap();
    assert!(is_closed(&patient) && !many.iter().any(is_closed));
}
