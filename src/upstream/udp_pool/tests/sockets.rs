//! The life of sockets and pools.

use super::super::server_pool::{EPHEMERAL_MAX, LINGER, POOL, SLICE, SOCKET_LIFETIME};
use super::*;
use crate::upstream::tests::fake::dead_address;

/// Asks one question at a time; the ports they came from.
fn ports(world: &World, upstream: &Upstream, names: std::ops::Range<usize>, now: Instant) -> Vec<Heard> {
    names
        .map(|i| {
            world.ask_at(upstream, &[(&format!("n{i}.example"), i as u32)], now);
            upstream.hear()
        })
        .collect()
}

/// Asks more questions at once than get a fresh socket; the port they all came from, and who asked.
fn crowd(world: &World, upstream: &Upstream, round: usize, now: Instant) -> Vec<Heard> {
    let names: Vec<String> = (0..=EPHEMERAL_MAX).map(|i| format!("n{i}.r{round}.example")).collect();
    let questions: Vec<(&str, u32)> = names.iter().map(String::as_str).zip((round * 100) as u32..).collect();
    world.ask_at(upstream, &questions, now);
    let heard: Vec<Heard> = questions.iter().map(|_| upstream.hear()).collect();
    assert!(heard.iter().all(|one| one.from == heard[0].from), "one socket for the whole batch");
    heard
}

#[test]
fn a_few_questions_get_a_fresh_socket_that_is_closed_with_their_reply() {
    let (world, upstream) = (World::new(), Upstream::new());
    let turn = |i: usize| world.now + SLICE * (i / EPHEMERAL_MAX) as u32;
    let heard: Vec<Heard> = (0..20).flat_map(|i| ports(&world, &upstream, i..i + 1, turn(i))).collect();
    let distinct: std::collections::HashSet<_> = heard.iter().map(|heard| heard.from).collect();
    assert_eq!(distinct.len(), 20);
    assert_eq!(world.sockets(), 20);
    for (waiter, heard) in (0..).zip(&heard) {
        upstream.answer(heard, 7);
        world.expect([Told::Plain(waiter, 7)]);
    }
    world.settle();
    assert_eq!(world.sockets(), 0);
}

#[test]
fn who_waits_for_replies_alone_is_not_woken_by_clients_and_not_kept_by_a_mute_server() {
    let (mut world, upstream) = (World::new(), Upstream::new());
    std::io::Write::write_all(&mut world.own.1, b"a query for another process").unwrap();
    let refused = world.ask_at(&upstream, &[("a.example", 1), ("b.example", 2)], Instant::now());
    assert!(refused.is_empty());
    upstream.hear();
    let mut turns = 0;
    while world.pool.borrow().has_waiters() {
        world.pool.borrow_mut().turn_for_replies(&mut *world.notes.borrow_mut());
        turns += 1;
    }
    assert!(turns < 1000, "{turns} turns: one in 10 ms, until the hedge delay is over");
    let told = world.notes.borrow_mut().0.drain(..).count();
    assert_eq!(told, 2, "both take the slow path");
    assert!(world.pool.borrow().is_open(), "late replies are expected");
}

#[test]
fn one_after_another_too_fast_they_share_a_socket() {
    let (world, upstream) = (World::new(), Upstream::new());
    let heard = ports(&world, &upstream, 0..20, world.now);
    let distinct: std::collections::HashSet<_> = heard.iter().map(|heard| heard.from).collect();
    assert_eq!((distinct.len(), world.sockets()), (EPHEMERAL_MAX + 1, EPHEMERAL_MAX + 1));
    for (waiter, heard) in (0..).zip(&heard) {
        upstream.answer(heard, 7);
        world.expect([Told::Plain(waiter, 7)]);
    }
    world.settle();
    assert_eq!(world.sockets(), 1, "the one of the pool goes on");
}

#[test]
fn crowds_take_turns_at_a_few_sockets() {
    let (world, upstream) = (World::new(), Upstream::new());
    let turn = |round: usize| world.now + SLICE * round as u32;
    let port = |round| crowd(&world, &upstream, round, turn(round))[0].from;
    let first: Vec<_> = (1..=POOL).map(port).collect();
    let second: Vec<_> = (POOL + 1..=2 * POOL).map(port).collect();
    assert_eq!(first, second);
    assert_eq!(first.into_iter().collect::<std::collections::HashSet<_>>().len(), POOL);
    assert_eq!(world.sockets(), POOL);
}

#[test]
fn sockets_are_renewed_and_one_that_rests_is_still_listened_to() {
    let (world, upstream) = (World::new(), Upstream::new());
    let first = crowd(&world, &upstream, 1, world.now);
    let later = crowd(&world, &upstream, 2, world.now + SOCKET_LIFETIME);
    assert_ne!(first[0].from, later[0].from);
    assert_eq!(world.sockets(), 2);
    for (waiter, heard) in (100..).zip(&first).chain((200..).zip(&later)) {
        upstream.answer(heard, 7);
        world.expect([Told::Plain(waiter, 7)]);
    }
}

#[test]
fn a_socket_is_closed_after_its_rest() {
    let (world, upstream) = (World::new(), Upstream::new());
    let long_ago = Instant::now() - SOCKET_LIFETIME - LINGER;
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
    let queries = ["a.example", "b.example", "c.example"].into_iter().zip(1..);
    let mut queries = queries.map(|(name, waiter)| pool_query(name, waiter)).collect();
    // ahead of time: nothing here is overdue
    assert!(world.pool.borrow_mut().ask(&server, &mut queries, &|_, _| false, world.now).is_empty());
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
    let world = World::new();
    let server = Arc::new(Server::new(dead_address(), 1000));
    for waiter in 0..=POOL as u32 {
        let pool_query = pool_query(&format!("n{waiter}.example"), waiter);
        assert!(
            world.pool.borrow_mut().ask(&server, &mut vec![pool_query], &|_, _| false, world.now).is_empty()
        );
    }
    let mut told: Vec<String> = (0..=POOL).map(|_| format!("{:?}", world.told())).collect();
    told.sort();
    assert_eq!(told, (0..=POOL).map(|waiter| format!("LongWay({waiter})")).collect::<Vec<_>>());
}

#[test]
fn the_road_of_a_server_that_no_group_has_any_more_is_forgotten_with_its_sockets() {
    let (world, upstream) = (World::new(), Upstream::new());
    let heard = crowd(&world, &upstream, 0, world.now);
    let Upstream { socket, server, count } = upstream;
    drop(server);
    world.settle();
    assert_eq!(world.sockets(), 1, "questions are open");

    let server = Arc::new(Server::new(socket.local_addr().unwrap().into(), 1000));
    let upstream = Upstream { socket, server, count };
    for (waiter, heard) in (0..).zip(&heard) {
        upstream.answer(heard, 7);
        world.expect([Told::Plain(waiter, 7)]);
    }
    world.settle();
    assert!(world.pool.borrow().server_pools.is_empty());
    assert_eq!(world.sockets(), 0, "a socket that is left open is never closed");
}

#[test]
fn the_octets_of_open_questions_are_bounded_over_all_servers_and_come_back() {
    const MAX_SOCKETS: usize = 4000;
    let list = Arc::new(List::with_most(MAX_SOCKETS));
    let (world, other) = (World::beside(list.clone()), World::beside(list.clone()));
    let (one, two) = (Upstream::new(), Upstream::new());
    let ask = |world: &World, upstream: &Upstream, number: u32| {
        world.ask(upstream, &[(&format!("n{number}.example"), number)]).is_empty()
    };
    let taken = (0..100).take_while(|&number| ask(&world, &one, number)).count() as u32;
    assert!((5..40).contains(&taken), "{taken}");
    let most_of_one = list.held() / taken as usize + 16;
    assert!((MAX_SOCKETS..MAX_SOCKETS + most_of_one).contains(&list.held()), "{}", list.held());
    assert!(!ask(&other, &two, 100), "another server has no room either");
    assert!(world.ask(&one, &[("n0.example", 101)]).is_empty(), "who asks the same may wait for it");
    let heard = one.hear();
    one.answer(&heard, 7);
    world.told();
    assert!(ask(&other, &two, 102), "an answer makes room");
    // overdue, they still take their octets, until no late reply is expected
    let later = world.now + LINGER;
    let mut pool = world.pool.borrow_mut();
    pool.look_after(later, &mut *world.notes.borrow_mut());
    pool.look_after(later + LINGER, &mut *world.notes.borrow_mut());
    drop(pool);
    drop(other);
    assert_eq!(list.held(), 0);
}
