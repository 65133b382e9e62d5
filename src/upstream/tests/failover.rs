//! Who is asked, in which order, and when the next.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use hickory_proto::op::{Message, ResponseCode};
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::last_octet;
use crate::upstream::tests::fake::{
    Asked, FakeNetwork, FakeServer, answer_a, dead_address, group, group_at, outgoing, reply_a, reply_rcode,
};
use crate::upstream::{AttemptError, FailureKind, Group, GroupOptions, ServerHealth, Strategy};

/// The time from one exchange to the next on a paused clock. Misses of the same instant count once.
const BETWEEN: Duration = Duration::from_millis(1);

#[tokio::test]
async fn a_failing_rcode_moves_on_and_is_counted() {
    use ResponseCode::{FormErr, NotImp, Refused, ServFail, YXRRSet};
    for rcode in [ServFail, Refused, NotImp, FormErr, YXRRSet] {
        let bad = FakeServer::start(move |asked| reply_rcode(asked, rcode)).await;
        let good = FakeServer::start(|asked| reply_a(asked, 2)).await;
        let group = group(&[&bad, &good], Strategy::Failover);
        let reply = group.exchange(&outgoing("www.example.")).await.unwrap();
        assert_eq!((last_octet(&reply), reply.server), (2, good.address()), "{rcode}");
        assert_eq!(group.servers().next().unwrap().snapshot().counts.bad_rcodes, 1, "{rcode}");
    }
}

#[tokio::test]
async fn nxdomain_and_nodata_are_answers() {
    for rcode in [ResponseCode::NXDomain, ResponseCode::NoError] {
        let first = FakeServer::start(move |asked| reply_rcode(asked, rcode)).await;
        let second = FakeServer::start(|asked| reply_a(asked, 2)).await;
        let group = group(&[&first, &second], Strategy::Failover);
        let reply = group.exchange(&outgoing("www.example.")).await.unwrap();
        assert_eq!((reply.message.metadata.response_code, reply.server), (rcode, first.address()));
        assert_eq!(second.queries(), (0, 0));
        assert!(group.last_success().is_some());
    }
}

#[tokio::test]
async fn yxdomain_is_a_verdict_on_the_name() {
    let first = FakeServer::start(|asked| reply_rcode(asked, ResponseCode::YXDomain)).await;
    let second = FakeServer::start(|asked| reply_a(asked, 2)).await;
    let group = group(&[&first, &second], Strategy::Failover);
    for _ in 0..6 {
        let reply = group.exchange(&outgoing("www.example.")).await.unwrap();
        assert_eq!(reply.message.metadata.response_code, ResponseCode::YXDomain);
    }
    assert_eq!(second.queries(), (0, 0));
    assert!(group.servers().next().unwrap().snapshot().standing == ServerHealth::Up);
}

#[tokio::test]
async fn a_refused_connection_moves_on_at_once() {
    let good = FakeServer::start(|asked| reply_a(asked, 2)).await;
    let group = group_at(vec![dead_address(), good.address()], Strategy::Failover);
    let reply = group.exchange(&outgoing("www.example.")).await.unwrap();
    assert_eq!(last_octet(&reply), 2);
    assert_eq!(group.servers().next().unwrap().snapshot().counts.network_errors, 1);
}

#[tokio::test(start_paused = true)]
async fn a_mute_first_server_costs_a_hedge_and_not_the_answer() {
    let network = Arc::new(FakeNetwork::default());
    network.serve(1, |_| vec![]);
    network.serve(2, |asked| reply_a(asked, 2));
    let group = network.group(2, Strategy::Failover);
    for round in 0..3 {
        let reply = group.exchange(&outgoing("www.example.")).await.unwrap();
        assert_eq!(last_octet(&reply), 2);
        assert!(reply.elapsed >= Duration::from_millis(300), "round {round}: {:?}", reply.elapsed);
        tokio::time::advance(BETWEEN).await;
    }
    // Now it is known to be down, and no longer goes first.
    assert_eq!(group.servers().next().unwrap().snapshot().standing, ServerHealth::Down);
    let reply = group.exchange(&outgoing("www.example.")).await.unwrap();
    assert!(reply.elapsed < Duration::from_millis(300), "{:?}", reply.elapsed);
}

#[tokio::test]
async fn the_first_server_is_still_listened_to_after_the_hedge() {
    let slow = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = slow.local_addr().unwrap().into();
    let hedged = Arc::new(Notify::new());
    let tell = Arc::clone(&hedged);
    // The second never answers; that it was asked is the sign for the first to answer.
    let second = FakeServer::start(move |_| {
        tell.notify_one();
        vec![]
    })
    .await;
    let serving = tokio::spawn(async move {
        let mut buffer = [0; 2048];
        let (len, peer) = slow.recv_from(&mut buffer).await.unwrap();
        hedged.notified().await;
        let message = Message::from_vec(&buffer[..len]).unwrap();
        let answer = answer_a(&Asked { message, over_tcp: false, number: 1 }, 1);
        slow.send_to(&answer.to_vec().unwrap(), peer).await.unwrap();
    });
    let group = group_at(vec![address, second.address()], Strategy::Failover);
    assert_eq!(last_octet(&group.exchange(&outgoing("www.example.")).await.unwrap()), 1);
    serving.await.unwrap();
}

#[tokio::test]
async fn a_lost_packet_is_sent_again_to_the_only_server() {
    let lossy = FakeServer::start(|asked| if asked.number == 1 { vec![] } else { reply_a(asked, 1) }).await;
    let group = group(&[&lossy], Strategy::Failover);
    assert_eq!(last_octet(&group.exchange(&outgoing("www.example.")).await.unwrap()), 1);
    assert_eq!(lossy.queries().0, 2);
}

#[tokio::test(start_paused = true)]
async fn all_mute_fails_within_the_deadline_and_with_few_tries() {
    let network = Arc::new(FakeNetwork::default());
    network.serve(1, |_| vec![]);
    network.serve(2, |_| vec![]);
    let group = network.group(2, Strategy::Failover);
    let start = Instant::now();
    let failure = group.exchange(&outgoing("www.example.")).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Timeout);
    let took = start.elapsed();
    assert!((Duration::from_secs(3)..Duration::from_millis(3010)).contains(&took), "{took:?}");
    assert!(
        failure.attempts.iter().all(|attempt| attempt.outcome == AttemptError::TimedOut && attempt.tries > 1)
    );
    assert!(failure.attempts.iter().map(|attempt| attempt.tries).sum::<u32>() <= 6);
    assert!(group.servers().all(|server| server.snapshot().in_flight == 0));
}

#[tokio::test(start_paused = true)]
async fn all_dead_fails_promptly_and_says_why() {
    let group = Arc::new(FakeNetwork::default()).group(2, Strategy::Failover);
    let start = Instant::now();
    let failure = group.exchange(&outgoing("www.example.")).await.unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(failure.kind, FailureKind::Network);
    assert!(failure.to_string().contains("connection refused"), "{failure}");
}

#[tokio::test]
async fn all_servfail_fails_with_that_rcode() {
    let bad = FakeServer::start(|asked| reply_rcode(asked, ResponseCode::ServFail)).await;
    let worse = FakeServer::start(|asked| reply_rcode(asked, ResponseCode::Refused)).await;
    let group = group(&[&bad, &worse], Strategy::Failover);
    let failure = group.exchange(&outgoing("www.example.")).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Rcode(ResponseCode::Refused));
    assert_eq!((bad.queries().0, worse.queries().0), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_no_does_not_wait_long_for_a_server_known_to_be_down() {
    let network = Arc::new(FakeNetwork::default());
    network.serve(1, |_| vec![]);
    network.serve(2, |asked| reply_a(asked, 2));
    let group = network.group(2, Strategy::Failover);
    for _ in 0..3 {
        group.exchange(&outgoing("www.example.")).await.unwrap();
        tokio::time::advance(BETWEEN).await;
    }
    network.serve(2, |asked| reply_rcode(asked, ResponseCode::ServFail));
    let start = Instant::now();
    let failure = group.exchange(&outgoing("www.example.")).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Rcode(ResponseCode::ServFail));
    assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
}

#[tokio::test]
async fn no_servers_fail_at_once() {
    let group = group_at(vec![], Strategy::Failover);
    assert!(group.is_empty());
    let failure = group.exchange(&outgoing("www.example.")).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::NoServers);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_returns_is_noticed_within_two_seconds_under_traffic() {
    let network = Arc::new(FakeNetwork::default());
    network.serve(2, |asked| reply_a(asked, 2));
    let group = network.group(2, Strategy::Failover);
    let ask = async || last_octet(&group.exchange(&outgoing("www.example.")).await.unwrap());
    for _ in 0..60 {
        assert_eq!(ask().await, 2);
    }
    assert_eq!(group.servers().next().unwrap().snapshot().standing, ServerHealth::Down);
    network.serve(1, |asked| reply_a(asked, 1));
    let start = Instant::now();
    while ask().await != 1 {
        assert!(start.elapsed() < Duration::from_secs(2), "not noticed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn when_all_were_down_the_next_query_after_the_return_is_answered() {
    let dead = dead_address();
    let group = group_at(vec![dead.clone()], Strategy::Failover);
    for _ in 0..5 {
        group.exchange(&outgoing("www.example.")).await.unwrap_err();
    }
    assert_eq!(group.servers().next().unwrap().snapshot().standing, ServerHealth::Down);
    let _back = FakeServer::start_at(dead.addr, |asked| reply_a(asked, 1)).await;
    assert_eq!(last_octet(&group.exchange(&outgoing("www.example.")).await.unwrap()), 1);
}

#[tokio::test]
async fn the_limit_of_one_server_moves_queries_to_the_next_and_all_full_is_overload() {
    let mute = FakeServer::start(|_| vec![]).await;
    let other = FakeServer::start(|_| vec![]).await;
    let options = GroupOptions { max_in_flight: 1, ..GroupOptions::default() };
    let group = Group::new("test".to_owned(), vec![mute.address(), other.address()], options);
    let queries: Vec<_> = (0..3).map(|n| outgoing(&format!("{n}.example."))).collect();
    let mut first = Box::pin(group.exchange(&queries[0]));
    let mut second = Box::pin(group.exchange(&queries[1]));
    assert!(futures_util::poll!(&mut first).is_pending());
    assert!(futures_util::poll!(&mut second).is_pending());
    let in_flight: Vec<_> = group.servers().map(|server| server.snapshot().in_flight).collect();
    assert_eq!(in_flight, [1, 1]);
    let failure = group.exchange(&queries[2]).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Overloaded);
    drop((first, second));
    assert!(group.servers().all(|server| server.snapshot().in_flight == 0));
}

#[tokio::test(start_paused = true)]
async fn parallel_takes_the_first_good_answer() {
    let network = Arc::new(FakeNetwork::default());
    network.serve(1, |asked| reply_rcode(asked, ResponseCode::ServFail));
    network.serve(2, |_| vec![]);
    network.serve(3, |asked| reply_a(asked, 3));
    let reply = network.group(3, Strategy::Parallel).exchange(&outgoing("www.example.")).await.unwrap();
    assert_eq!(last_octet(&reply), 3);
    assert!(reply.elapsed < Duration::from_millis(300), "{:?}", reply.elapsed);
    let without_the_second = Arc::new(FakeNetwork::default());
    without_the_second.serve(1, |asked| reply_rcode(asked, ResponseCode::ServFail));
    let failing = without_the_second.group(2, Strategy::Parallel);
    let failure = failing.exchange(&outgoing("www.example.")).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Rcode(ResponseCode::ServFail));
}

#[tokio::test(start_paused = true)]
async fn fastest_settles_on_a_server_that_answers() {
    let network = Arc::new(FakeNetwork::default());
    network.serve(1, |_| vec![]);
    network.serve(2, |asked| reply_a(asked, 2));
    let group = network.group(2, Strategy::Fastest);
    let is_down = || group.servers().next().unwrap().snapshot().standing == ServerHealth::Down;
    let mut rounds = 0;
    while !is_down() {
        assert_eq!(last_octet(&group.exchange(&outgoing("www.example.")).await.unwrap()), 2);
        rounds += 1; // three, and more where chance has another one go first
        assert!(rounds < 20, "the mute server is never given up");
    }
    let reply = group.exchange(&outgoing("www.example.")).await.unwrap();
    assert!(reply.elapsed < Duration::from_millis(300), "{:?}", reply.elapsed);
}

#[tokio::test]
async fn many_questions_at_once_all_get_their_own_answer() {
    let server = FakeServer::start(|asked| {
        let number: u8 =
            asked.name().iter().next().map(|l| String::from_utf8_lossy(l).parse().unwrap()).unwrap();
        vec![answer_a(asked, number).to_vec().unwrap()]
    })
    .await;
    let group = group(&[&server], Strategy::Failover);
    let queries: Vec<_> = (0..200u8).map(|n| outgoing(&format!("{n}.example."))).collect();
    let replies = join_all(queries.iter().map(|query| group.exchange(query))).await;
    for (number, reply) in replies.into_iter().enumerate() {
        assert_eq!(usize::from(last_octet(&reply.unwrap())), number);
    }
}
