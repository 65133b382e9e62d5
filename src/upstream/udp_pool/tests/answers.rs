//! Tests of results for waiters, and of shared queries.

use super::*;
use crate::upstream::tests::fake::reply_rcode;
use hickory_proto::op::ResponseCode;
use std::io::Write;

#[test]
fn an_answer_reaches_its_waiter() {
    let (world, upstream) = (World::new(), Upstream::new());
    assert!(world.ask(&upstream, &[("www.example", 1)]).is_empty());
    let heard = upstream.hear();
    assert!(heard.asked.message.recursion_desired);
    upstream.answer(&heard, 7);
    world.expect([Told::Plain(1, 7)]);
    world.settle();
    let counts = upstream.counts();
    assert_eq!((counts.queries, counts.successes, counts.mismatches), (1, 1, 0));
}

#[test]
fn what_the_clerk_does_not_take_unread_is_read() {
    let (world, upstream) = (World::new(), Upstream::new());
    world.ask(&upstream, &[("odd.example", 1)]);
    upstream.answer(&upstream.hear(), 7);
    world.expect([Told::Read(1, 7)]);
}

#[test]
fn a_denial_is_an_answer() {
    let (world, upstream) = (World::new(), Upstream::new());
    world.ask(&upstream, &[("www.example", 1)]);
    let heard = upstream.hear();
    upstream.say(&reply_rcode(&heard.asked, ResponseCode::NXDomain)[0], &heard);
    world.expect([Told::Read(1, 0)]);
    assert_eq!(upstream.counts().successes, 1);
}

#[test]
fn a_batch_is_sent_whole_and_each_answer_finds_its_own_waiter() {
    let (world, upstream) = (World::new(), Upstream::new());
    // Of one length there are two, of another more than go at once.
    let name = |i| if i < 2 { format!("n{i}.longer.example") } else { format!("n{i}.example") };
    let names: Vec<String> = (0..150).map(name).collect();
    let questions: Vec<_> = names.iter().zip(0..).map(|(name, waiter)| (name.as_str(), waiter)).collect();
    assert!(world.ask(&upstream, &questions).is_empty());
    let mut heard: Vec<Heard> = questions.iter().map(|_| upstream.hear()).collect();
    upstream.hears_nothing();
    heard.reverse(); // as if the last had been the quickest to resolve
    for heard in &heard {
        let number = heard.asked.name().to_ascii()[1..].split('.').next().unwrap().parse::<u8>().unwrap();
        upstream.answer(heard, number);
    }
    let mut told: Vec<(u32, u8)> = Vec::new();
    for _ in &questions {
        match world.told() {
            Told::Plain(waiter, last) => told.push((waiter, last)),
            other => panic!("{other:?}"),
        }
    }
    told.sort_unstable();
    assert_eq!(told, (0..150).map(|i| (u32::from(i), i)).collect::<Vec<_>>());
}

#[test]
fn identical_questions_in_flight_are_asked_once_and_every_waiter_is_told() {
    let (world, upstream) = (World::new(), Upstream::new());
    world.ask(&upstream, &[("www.example", 1), ("www.example", 2)]);
    world.ask(&upstream, &[("www.example", 3)]);
    let heard = upstream.hear();
    upstream.hears_nothing();
    upstream.answer(&heard, 7);
    world.expect([Told::Plain(1, 7), Told::Plain(2, 7), Told::Plain(3, 7)]);
    assert_eq!(upstream.counts().queries, 1);
}

#[test]
fn other_flags_are_another_question() {
    let (world, upstream) = (World::new(), Upstream::new());
    let flags = QueryFlags { dnssec_ok: true, checking_disabled: true };
    let plain = pool_query("www.example", 1);
    let key = CacheKey::new(GroupKey(0), &plain.key.name(), RecordType::A, flags);
    let flagged = PoolQuery { key, waiter: 2 };
    world.pool.borrow_mut().ask(&upstream.server, &mut vec![plain, flagged], &|_, _| false, world.now);
    let (first, second) = (upstream.hear().asked.message, upstream.hear().asked.message);
    assert!(!first.checking_disabled && second.checking_disabled);
    assert!(second.edns.is_some_and(|edns| edns.flags().dnssec_ok));
}

#[test]
fn waiting_ends_when_the_caller_has_something_to_read() {
    let (world, upstream) = (World::new(), Upstream::new());
    assert!(!world.pool.borrow().is_open());
    world.ask(&upstream, &[("www.example", 1)]);
    assert!(world.pool.borrow().is_open());
    assert!(!world.turn());
    (&world.own.1).write_all(b"!").unwrap();
    assert!(world.turn());
    upstream.answer(&upstream.hear(), 7);
    assert!(world.turn(), "it was not read");
    world.expect([Told::Plain(1, 7)]);
    assert!(!world.pool.borrow().is_open());
}

#[tokio::test]
async fn what_another_relay_asks_is_waited_for_and_not_asked() {
    let (asked, upstream) = (Arc::<List>::default(), Upstream::new());
    let (one, other) = (World::beside(asked.clone()), World::beside(asked.clone()));
    assert!(one.ask(&upstream, &[("www.example", 1)]).is_empty());
    assert_eq!(other.ask(&upstream, &[("www.example", 2)]), [2]);
    let heard = upstream.hear();
    upstream.hears_nothing();

    let key = pool_query("www.example", 0).key;
    let ended = asked.ended(&key);
    tokio::pin!(ended);
    assert!(futures_util::poll!(&mut ended).is_pending());
    upstream.answer(&heard, 7);
    one.expect([Told::Plain(1, 7)]);
    ended.await;

    // silence ends it too, and so does the end of a pool
    one.ask_at(&upstream, &[("www.example", 3)], Instant::now() - AGO);
    one.pool.borrow_mut().look_after(Instant::now(), &mut *one.notes.borrow_mut());
    asked.ended(&key).await;
    assert!(other.ask(&upstream, &[("www.example", 4)]).is_empty());
    drop(other);
    asked.ended(&key).await;
}

#[tokio::test]
async fn what_came_since_the_caller_looked_is_not_asked_again() {
    let (asked, upstream) = (Arc::<List>::default(), Upstream::new());
    let world = World::beside(asked.clone());
    let mut queries = vec![pool_query("www.example", 1), pool_query("new.example", 2)];
    let came = queries[0].key.clone();
    let refused =
        world.pool.borrow_mut().ask(&upstream.server, &mut queries, &|key, _| *key == came, world.now);
    assert_eq!(refused, [1]);
    asked.ended(&came).await; // no query waits for it
    upstream.answer(&upstream.hear(), 7);
    world.expect([Told::Plain(2, 7)]);
    upstream.hears_nothing();
}

#[test]
fn two_relays_keep_to_the_limit_of_their_server_together() {
    let (one, other, upstream) = (World::new(), World::new(), Upstream::with_limit(2));
    assert!(one.ask(&upstream, &[("a.example", 1)]).is_empty());
    assert_eq!(other.ask(&upstream, &[("b.example", 2), ("c.example", 3)]), [3]);
    drop(one);
    assert!(other.ask(&upstream, &[("c.example", 3)]).is_empty(), "what is gone is not under way");
}

#[test]
fn silence_gives_the_waiters_up_and_a_late_reply_is_no_stranger() {
    let (world, upstream) = (World::new(), Upstream::new());
    world.ask_at(&upstream, &[("www.example", 1), ("www.example", 2)], Instant::now() - AGO);
    world.expect([Told::LongWay(1), Told::LongWay(2)]);
    assert_eq!(upstream.counts().timeouts, 1);

    // while its reply may still come, a question is on its slow path, and not asked here as well
    assert_eq!(world.ask(&upstream, &[("www.example", 3)]), [3]);
    let heard = upstream.hear();
    upstream.hears_nothing();
    upstream.answer(&heard, 7);
    world.settle();
    let counts = upstream.counts();
    assert_eq!((counts.mismatches, counts.successes), (0, 1), "it lives, and is only slow");

    // the late reply has ended it
    assert!(world.ask(&upstream, &[("www.example", 4)]).is_empty());
    upstream.answer(&upstream.hear(), 8);
    world.expect([Told::Plain(4, 8)]);
}

#[test]
fn no_question_is_given_up_before_the_hedge_delay() {
    let (world, upstream) = (World::new(), Upstream::new());
    world.ask(&upstream, &[("www.example", 1)]);
    world.settle();
    upstream.answer(&upstream.hear(), 7);
    world.expect([Told::Plain(1, 7)]);
    assert_eq!(upstream.counts().timeouts, 0);
}

#[test]
fn what_never_came_may_be_asked_again_after_a_while() {
    let (world, upstream) = (World::new(), Upstream::new());
    world.ask_at(&upstream, &[("www.example", 1)], Instant::now() - Duration::from_secs(5));
    world.expect([Told::LongWay(1)]);
    world.settle();
    upstream.hear();
    assert!(world.ask(&upstream, &[("www.example", 2)]).is_empty());
    upstream.answer(&upstream.hear(), 7);
    world.expect([Told::Plain(2, 7)]);
}

#[test]
fn at_the_limit_the_rest_is_refused() {
    let (world, upstream) = (World::new(), Upstream::with_limit(2));
    let questions = [("a.example", 1), ("b.example", 2), ("c.example", 3), ("a.example", 4)];
    assert_eq!(world.ask(&upstream, &questions), [3], "joining costs nothing");
    assert_eq!(world.ask(&upstream, &[("d.example", 5)]), [5]);
    assert_eq!((upstream.counts().queries, upstream.counts().at_limit), (2, 2));
    upstream.answer(&upstream.hear(), 7);
    world.expect([Told::Plain(1, 7), Told::Plain(4, 7)]);
    assert!(world.ask(&upstream, &[("e.example", 6)]).is_empty(), "there is room again");
}

#[test]
fn a_clerk_that_panics_costs_only_that_answer() {
    let (world, upstream) = (World::new(), Upstream::new());
    world.ask(&upstream, &[("panic.example", 1), ("www.example", 2)]);
    let heard = [upstream.hear(), upstream.hear()];
    heard.iter().for_each(|heard| upstream.answer(heard, 7));
    world.expect([Told::Plain(1, 7), Told::Plain(2, 7)]);
    world.settle();
    // not even the name is lost
    assert!(world.ask(&upstream, &[("panic.example", 3)]).is_empty());
    upstream.answer(&upstream.hear(), 8);
    world.expect([Told::Plain(3, 8)]);
}
