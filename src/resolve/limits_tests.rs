//! Tests of the permits.

use super::*;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// As many permits of this machine for a group as there are.
fn take_all(limits: &Limits, group: &Arc<AtomicUsize>) -> Vec<Permit> {
    std::iter::from_fn(|| limits.begin(HERE, Some(group)).ok()).collect()
}

#[test]
fn permits_are_bounded_in_all_and_by_client_and_come_back() {
    let limits = Limits::new(8);
    let far: IpAddr = "192.0.2.1".parse().unwrap();
    let held: Vec<Permit> = std::iter::from_fn(|| limits.begin(far, None).ok()).collect();
    assert_eq!(held.len(), 2, "a quarter for one client");
    assert_eq!(limits.begin(far, None).unwrap_err(), Full::Client);
    let local: Vec<Permit> = std::iter::from_fn(|| limits.begin(HERE, None).ok()).collect();
    assert_eq!(local.len(), 6, "this machine may take what is left");
    assert_eq!(limits.begin(HERE, None).unwrap_err(), Full::All);
    drop(held);
    assert_eq!(limits.in_flight(), 6);
    drop(local);
    assert_eq!(limits.in_flight(), 0);
    assert!(limits.begin(far, None).is_ok());
}

#[test]
fn the_addresses_of_one_64_are_one_client() {
    let limits = Limits::new(4);
    let _one = limits.begin("2001:db8::1".parse().unwrap(), None).unwrap();
    assert!(limits.begin("2001:db8::2".parse().unwrap(), None).is_err());
    assert!(limits.begin("2001:db8:0:1::2".parse().unwrap(), None).is_ok());
}

#[test]
fn a_slow_group_takes_three_quarters_and_no_more() {
    for (most, expected) in [(1, 1), (2, 2), (4, 3), (8, 6), (100, 75), (4096, 3072)] {
        let (limits, slow, other) = (Limits::new(most), Arc::default(), Arc::default());
        let held = take_all(&limits, &slow);
        assert_eq!(held.len(), expected, "of {most}");
        assert_eq!(limits.begin(HERE, Some(&other)).is_ok(), most > 2, "of {most}");
        drop(held);
        assert_eq!((limits.in_flight(), slow.load(Ordering::Relaxed)), (0, 0));
    }
}

#[test]
fn however_many_groups_are_slow_another_one_finds_room() {
    let limits = Limits::new(4096);
    let slow: Vec<Arc<AtomicUsize>> = (0..20).map(|_| Arc::default()).collect();
    let mut held: Vec<Permit> = Vec::new();
    // they grow side by side, as under load
    loop {
        let before = held.len();
        held.extend(slow.iter().filter_map(|group| limits.begin(HERE, Some(group)).ok()));
        if held.len() == before {
            break;
        }
    }
    let (least, most) = slow
        .iter()
        .map(|group| group.load(Ordering::Relaxed))
        .fold((usize::MAX, 0), |(least, most), own| (least.min(own), most.max(own)));
    assert!(most - least <= 3, "they have the same share: {least} to {most}");
    let free = 4096 - held.len();
    assert!(free >= 4096 / 61, "a part for each, and one for the rest: {free}");
    assert!(limits.begin(HERE, Some(&Arc::default())).is_ok());
    assert_eq!(limits.begin(HERE, Some(&slow[0])).unwrap_err(), Full::Group);
}

#[test]
fn whoever_has_a_permit_keeps_it_and_the_newest_is_refused() {
    let (limits, slow) = (Limits::new(8), Arc::default());
    let held = take_all(&limits, &slow);
    for _ in 0..100 {
        assert_eq!(limits.begin(HERE, Some(&slow)).unwrap_err(), Full::Group);
    }
    assert_eq!((limits.in_flight(), slow.load(Ordering::Relaxed)), (held.len(), held.len()));
}

#[test]
fn a_permit_moves_along_a_chain_within_the_share_of_each_group() {
    let (limits, one, two) = (Limits::new(8), Arc::default(), Arc::default());
    let count = |group: &Arc<AtomicUsize>| group.load(Ordering::Relaxed);
    let mut first = limits.begin(HERE, Some(&one)).unwrap();
    first.move_to(Some(&one)).unwrap();
    first.move_to(Some(&two)).unwrap();
    assert_eq!((count(&one), count(&two), limits.in_flight()), (0, 1, 1));
    first.move_to(None).unwrap();
    first.move_to(Some(&one)).unwrap();
    assert_eq!((count(&one), count(&two), limits.in_flight()), (1, 0, 1));
    let slow = take_all(&limits, &two);
    assert_eq!(first.move_to(Some(&two)).unwrap_err(), Full::Group);
    assert_eq!((count(&one), count(&two)), (1, slow.len()), "it stays where it was");
    drop(slow);
    drop(first);
    assert_eq!((count(&one), count(&two), limits.in_flight()), (0, 0, 0));
}
