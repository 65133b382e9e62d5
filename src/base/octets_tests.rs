//! Tests of the account of waiting octets.

use super::*;
use futures_util::FutureExt;

fn small() -> Octets {
    Octets::with(|_| 1000)
}

fn has_ended(account: &OctetAccount) -> bool {
    account.ended().now_or_never().is_some()
}

#[test]
fn an_account_has_a_bound_and_a_kind_has_a_total() {
    let octets = small();
    let (one, two) = (octets.account(OctetKind::Tcp, 600), octets.account(OctetKind::Tcp, 600));
    let held = one.try_reserve(600).unwrap();
    assert!(one.try_reserve(1).is_none(), "the account's bound");
    let more = two.try_reserve(400).unwrap();
    assert!(two.try_reserve(1).is_none(), "the kind's total");
    assert!(octets.account(OctetKind::Tls, 600).try_reserve(600).is_some(), "another kind has its own");
    assert_eq!(octets.waiting(OctetKind::Tcp), 1000);
    drop((held, more));
    assert_eq!((octets.waiting(OctetKind::Tcp), one.held()), (0, 0));
    assert!(two.try_reserve(600).is_some());
}

#[test]
fn a_reservation_shrinks_to_what_is_used() {
    let octets = small();
    let account = octets.account(OctetKind::Quic, 1000);
    let mut held = account.try_reserve(1000).unwrap();
    held.shrink_to(10);
    assert_eq!((held.octets(), account.held(), octets.waiting(OctetKind::Quic)), (10, 10, 10));
    held.shrink_to(500);
    assert_eq!(held.octets(), 10, "it never grows");
    assert!(account.try_reserve(990).is_some());
}

#[tokio::test(start_paused = true)]
async fn who_waits_gets_room_when_it_is_given_back() {
    let octets = small();
    let account = Arc::new(octets.account(OctetKind::Api, 100));
    let held = account.reserve(100).await;
    let waiting = tokio::spawn({
        let account = account.clone();
        async move { account.reserve(50).await.octets() }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    drop(held);
    assert_eq!(waiting.await.unwrap(), 50);
}

#[tokio::test(start_paused = true)]
async fn the_account_that_is_stalled_longest_makes_room() {
    let octets = small();
    let make = || octets.account(OctetKind::Https, 1000);
    let (reads, stands, later, newcomer) = (make(), make(), make(), make());
    let _held = (reads.try_reserve(300).unwrap(), later.try_reserve(300).unwrap());
    let stalled = stands.try_reserve(400).unwrap();
    tokio::time::advance(Duration::from_millis(300)).await;
    later.progress();
    tokio::time::advance(Duration::from_millis(300)).await;
    reads.progress();
    let waiting = newcomer.reserve(200);
    let mut waiting = std::pin::pin!(waiting);
    assert!(waiting.as_mut().now_or_never().is_none());
    assert!(has_ended(&stands) && !has_ended(&reads) && !has_ended(&later));
    drop(stalled);
    assert_eq!(waiting.await.octets(), 200);
}

#[tokio::test(start_paused = true)]
async fn what_is_there_already_is_counted_beyond_the_total_or_refused() {
    let octets = small();
    let (one, two) = (octets.account(OctetKind::Tcp, 10), octets.account(OctetKind::Tcp, 10));
    let first = one.hold_beside(1000).unwrap();
    let beyond = two.hold_beside(500).unwrap();
    assert_eq!(octets.waiting(OctetKind::Tcp), 1500);
    assert!(two.hold_beside(1).is_none(), "half as much again, and no more");
    drop(beyond);
    assert_eq!(octets.waiting(OctetKind::Tcp), 1000);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(two.hold_beside(800).is_some(), "a stalled one makes room");
    assert!(has_ended(&one));
    drop(first);
    assert_eq!(octets.waiting(OctetKind::Tcp), 0);
}

#[test]
fn what_comes_unasked_keeps_to_the_bound_of_the_account() {
    let account = small().account(OctetKind::Https, 100);
    let held = account.hold(100).unwrap();
    assert!(account.hold(1).is_none());
    drop(held);
    assert!(account.hold(1).is_some());
}

#[tokio::test(start_paused = true)]
async fn an_account_that_holds_nothing_is_not_stalled() {
    let octets = small();
    let account = octets.account(OctetKind::Tcp, 100);
    tokio::time::advance(WRITE_DEADLINE).await;
    assert_eq!(account.stalled(), Duration::ZERO);
    let _held = account.try_reserve(1).unwrap();
    assert_eq!(account.stalled(), Duration::ZERO, "time counts from the first octet");
    tokio::time::advance(WRITE_DEADLINE).await;
    assert_eq!(account.stalled(), WRITE_DEADLINE);
}

/// The promise of docs/reliability.md: the default configuration stays below 64 MiB resident.
#[test]
fn the_sum_of_all_bounds_keeps_the_promise() {
    const PROMISE: usize = 64 << 20;
    /// Resident memory of a server that does nothing.
    const AT_REST: usize = 8 << 20;
    let config = crate::config::Config::default();
    let cache = usize::try_from(config.cache.size).unwrap();
    let places = config.server.max_tcp_connections * OctetKind::Tcp.connection();
    let waiting: usize = OctetKind::ALL.into_iter().map(|kind| kind.total() + kind.debt()).sum();
    let sum = AT_REST + cache + places + waiting;
    assert!(sum <= PROMISE, "{} KiB", sum >> 10);
    for kind in OctetKind::ALL {
        assert!(kind.total() >= OF_CONNECTION, "{kind:?} has no room for one connection");
    }
}
