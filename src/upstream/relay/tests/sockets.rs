//! The life of sockets and roads.

use super::super::road::{POOL, REST, SERVICE};
use super::*;
use crate::upstream::fake::dead_address;

/// Asks one question at a time; the ports they came from.
fn ports(world: &World, upstream: &Upstream, names: std::ops::Range<usize>, now: Instant) -> Vec<Heard> {
    names
        .map(|i| {
            world.ask_at(upstream, &[(&format!("n{i}.example"), i as u32)], now);
            upstream.hear()
        })
        .collect()
}

#[test]
fn batches_take_turns_at_a_few_sockets() {
    let (world, upstream) = (World::new(), Upstream::new());
    let first = ports(&world, &upstream, 0..POOL, world.now);
    let second = ports(&world, &upstream, POOL..2 * POOL, world.now);
    let of = |heard: &[Heard]| heard.iter().map(|heard| heard.from).collect::<Vec<_>>();
    assert_eq!(of(&first), of(&second));
    assert_eq!(of(&first).into_iter().collect::<std::collections::HashSet<_>>().len(), POOL);
    assert_eq!(world.sockets(), POOL);
}

#[test]
fn sockets_are_renewed_and_one_that_rests_is_still_listened_to() {
    let (world, upstream) = (World::new(), Upstream::new());
    let first = ports(&world, &upstream, 0..POOL, world.now);
    let later = ports(&world, &upstream, POOL..2 * POOL, world.now + SERVICE);
    assert!(later.iter().all(|later| first.iter().all(|first| first.from != later.from)));
    assert_eq!(world.sockets(), 2 * POOL);
    for (waiter, heard) in (0..).zip(first.iter().chain(&later)) {
        upstream.answer(heard, 7);
        world.expect([Told::Plain(waiter, 7)]);
    }
}

#[test]
fn a_socket_is_closed_after_its_rest() {
    let (world, upstream) = (World::new(), Upstream::new());
    let long_ago = Instant::now() - SERVICE - REST;
    world.ask_at(&upstream, &[("a.example", 1)], long_ago);
    world.expect([Told::LongWay(1)]);
    world.settle();
    assert_eq!(world.sockets(), 0);
    let first = upstream.hear();
    // nothing of it is left: the question is asked anew, from another port
    world.ask(&upstream, &[("a.example", 2)]);
    let second = upstream.hear();
    assert_ne!(first.from, second.from);
    upstream.answer(&second, 7);
    world.expect([Told::Plain(2, 7)]);
}

#[test]
fn a_server_that_is_dead_gives_its_waiters_up_at_once() {
    let world = World::new();
    let server = Arc::new(Server::new(dead_address(), 1000));
    let errands = ["a.example", "b.example", "c.example"].into_iter().zip(1..);
    let errands = errands.map(|(name, waiter)| errand(name, waiter)).collect();
    // ahead of time: nothing here is overdue
    assert!(world.relay.ask_at(&server, errands, world.now).is_empty());
    let mut told: Vec<u32> = Vec::new();
    for _ in 0..3 {
        match world.told() {
            Told::LongWay(waiter) => told.push(waiter),
            other => panic!("{other:?}"),
        }
    }
    told.sort_unstable();
    assert_eq!(told, [1, 2, 3]);
    world.settle();
    assert_eq!(world.sockets(), 0);
}

#[test]
fn the_news_of_a_closed_port_is_not_lost_when_a_sender_gets_it() {
    let (world, upstream) = (World::new(), Upstream::new());
    let server = Arc::new(Server::new(dead_address(), 1000));
    // keeps the thread from hearing it first
    world.ask(&upstream, &[("slow.example", 99)]);
    upstream.answer(&upstream.hear(), 7);
    world.expect([Told::Reading]);
    for waiter in 0..=POOL as u32 {
        let errand = errand(&format!("n{waiter}.example"), waiter);
        assert!(world.relay.ask_at(&server, vec![errand], world.now).is_empty());
    }
    world.go_on.send(()).unwrap();
    world.expect([Told::Plain(99, 7)]);
    let mut told: Vec<String> = (0..=POOL).map(|_| format!("{:?}", world.told())).collect();
    told.sort();
    assert_eq!(told, (0..=POOL).map(|waiter| format!("LongWay({waiter})")).collect::<Vec<_>>());
}

#[test]
fn the_road_of_a_server_that_no_group_has_any_more_is_forgotten_with_its_sockets() {
    let (world, upstream) = (World::new(), Upstream::new());
    world.ask(&upstream, &[("a.example", 1)]);
    world.ask(&upstream, &[("b.example", 2)]);
    let heard = [upstream.hear(), upstream.hear()];
    let Upstream { socket, server, count } = upstream;
    let known = Arc::downgrade(&server);
    drop(server);
    world.settle();
    assert_eq!((world.sockets(), known.strong_count()), (2, 1), "questions are open");

    let upstream = Upstream { socket, server: known.upgrade().unwrap(), count };
    heard.iter().for_each(|heard| upstream.answer(heard, 7));
    world.expect([Told::Plain(1, 7), Told::Plain(2, 7)]);
    world.settle();
    assert_eq!(world.sockets(), 2, "a group has the server");
    drop(upstream);
    world.settle();
    assert!(known.upgrade().is_none());
    assert!(lock(&world.relay.roads).is_empty());
    assert_eq!(world.sockets(), 0, "a socket that is left open is never closed");
}
