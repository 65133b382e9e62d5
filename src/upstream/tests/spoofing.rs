//! Forged, foreign and suspicious replies.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};
use tokio::net::UdpSocket;

use super::last_octet;
use crate::upstream::tests::fake::{
    Asked, FakeServer, answer_a, group, group_at, outgoing, reply_a, with_cookie,
};
use crate::upstream::{FailureKind, Group, GroupOptions, Strategy};

/// A forged answer, wrong in one respect.
fn forged(asked: &Asked, wrong: usize) -> Vec<u8> {
    let mut message = answer_a(asked, 66);
    match wrong {
        0 => message.metadata.id ^= 1,
        1 => message.queries[0].name = Name::from_ascii("www.example.net.").unwrap(),
        2 => message.queries[0].query_type = RecordType::AAAA,
        3 => message.queries[0].name = message.queries[0].name.to_lowercase(),
        4 => message = with_cookie(message, vec![0; 16]),
        _ => return b"no DNS at all".to_vec(),
    }
    message.to_vec().unwrap()
}

#[tokio::test]
async fn one_wrong_datagram_is_ignored_and_the_right_answer_still_arrives() {
    for wrong in 0..6 {
        let server =
            FakeServer::start(move |asked| vec![forged(asked, wrong), answer_a(asked, 1).to_vec().unwrap()])
                .await;
        let group = group(&[&server], Strategy::Failover);
        let reply = group.exchange(&outgoing("a-name-with-many-letters.example.")).await.unwrap();
        assert_eq!((last_octet(&reply), reply.over_tcp), (1, false), "row {wrong}");
        assert_eq!(group.servers().next().unwrap().snapshot().counts.mismatches, 1, "row {wrong}");
    }
}

#[tokio::test]
async fn over_tcp_only_the_right_answer_counts() {
    for wrong in [0, 1, 2, 5] {
        let liar =
            FakeServer::start(move |asked| vec![forged(asked, if asked.over_tcp { wrong } else { 0 })]).await;
        let good = FakeServer::start(|asked| reply_a(asked, 2)).await;
        let group = group(&[&liar, &good], Strategy::Failover);
        let reply = group.exchange(&outgoing("www.example.")).await.unwrap();
        assert_eq!(last_octet(&reply), 2, "row {wrong}");
    }
}

#[tokio::test]
async fn without_tcp_a_wrong_datagram_still_does_not_end_the_wait() {
    let server =
        FakeServer::start_udp_only(|asked| vec![forged(asked, 0), answer_a(asked, 1).to_vec().unwrap()])
            .await;
    let group = group(&[&server], Strategy::Failover);
    let reply = group.exchange(&outgoing("www.example.")).await.unwrap();
    assert_eq!((last_octet(&reply), reply.over_tcp), (1, false));
}

#[tokio::test]
async fn a_flood_of_forgeries_leaves_tcp_alone() {
    let server = FakeServer::start(|asked| {
        if asked.over_tcp {
            return reply_a(asked, 1);
        }
        let mut flood: Vec<_> = (0..20).map(|_| forged(asked, 0)).collect();
        flood.push(answer_a(asked, 66).to_vec().unwrap()); // the one lucky guess
        flood
    })
    .await;
    let group = group(&[&server], Strategy::Failover);
    let reply = group.exchange(&outgoing("www.example.")).await.unwrap();
    assert_eq!((last_octet(&reply), reply.over_tcp), (1, true));
    let counts = group.servers().next().unwrap().snapshot().counts;
    assert_eq!((counts.mismatches, counts.tcp_fallbacks), (8, 1));
}

#[tokio::test]
async fn a_reply_from_another_address_is_never_seen() {
    let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let elsewhere = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap().into();
    let serving = tokio::spawn(async move {
        let mut buffer = [0; 2048];
        loop {
            let (len, peer) = socket.recv_from(&mut buffer).await.unwrap();
            let message = hickory_proto::op::Message::from_vec(&buffer[..len]).unwrap();
            let asked = Asked { message, over_tcp: false, number: 1 };
            elsewhere.send_to(&answer_a(&asked, 66).to_vec().unwrap(), peer).await.unwrap();
            socket.send_to(&answer_a(&asked, 1).to_vec().unwrap(), peer).await.unwrap();
        }
    });
    let group = group_at(vec![address], Strategy::Failover);
    assert_eq!(last_octet(&group.exchange(&outgoing("www.example.")).await.unwrap()), 1);
    assert_eq!(group.servers().next().unwrap().snapshot().counts.mismatches, 0);
    serving.abort();
}

/// An answer with our client cookie and the server cookie `value`.
fn baked(asked: &Asked, value: u8) -> Vec<u8> {
    let client = &asked.cookie().unwrap()[..8];
    with_cookie(answer_a(asked, 1), [client, &[value; 8]].concat()).to_vec().unwrap()
}

#[tokio::test]
async fn a_cookie_is_learned_and_sent_back() {
    let server = FakeServer::start(|asked| {
        let cookie = asked.cookie().unwrap();
        match asked.number {
            1 => assert_eq!(cookie.len(), 8),
            _ => assert_eq!(cookie[8..], [7; 8]),
        }
        vec![baked(asked, 7)]
    })
    .await;
    let group = group(&[&server], Strategy::Failover);
    for _ in 0..3 {
        let reply = group.exchange(&outgoing("www.example.")).await.unwrap();
        assert!(!reply.over_tcp && reply.message.edns.unwrap().options().as_ref().is_empty());
    }
    assert_eq!(server.queries(), (3, 0));
}

#[tokio::test]
async fn a_reply_that_lacks_its_cookie_is_checked_over_tcp() {
    let server = FakeServer::start(|asked| match (asked.over_tcp, asked.number) {
        (false, 1) | (true, _) => vec![baked(asked, 7)],
        (false, _) => reply_a(asked, 66),
    })
    .await;
    let group = group(&[&server], Strategy::Failover);
    assert!(!group.exchange(&outgoing("www.example.")).await.unwrap().over_tcp);
    let reply = group.exchange(&outgoing("www.example.")).await.unwrap();
    assert_eq!((last_octet(&reply), reply.over_tcp), (1, true));
}

#[tokio::test]
async fn a_server_that_gives_up_cookies_is_believed_over_tcp() {
    let server = FakeServer::start(|asked| match (asked.over_tcp, asked.number) {
        (false, 1) => vec![baked(asked, 7)],
        _ => reply_a(asked, 1),
    })
    .await;
    let group = group(&[&server], Strategy::Failover);
    for over_tcp in [false, true, false] {
        assert_eq!(group.exchange(&outgoing("www.example.")).await.unwrap().over_tcp, over_tcp);
    }
}

/// A server that says BADCOOKIE to everything but the server cookie `good`.
async fn picky(good: Option<u8>) -> (FakeServer, Group) {
    let server = FakeServer::start(move |asked| {
        if asked.over_tcp || good.is_some_and(|good| asked.cookie().unwrap()[8..] == [good; 8]) {
            return vec![baked(asked, 9)];
        }
        let client = &asked.cookie().unwrap()[..8];
        let mut message = asked.response();
        message.metadata.response_code = ResponseCode::BADCOOKIE;
        vec![with_cookie(message, [client, &[9; 8]].concat()).to_vec().unwrap()]
    })
    .await;
    let group = group(&[&server], Strategy::Failover);
    (server, group)
}

#[tokio::test]
async fn badcookie_is_answered_with_the_new_cookie() {
    let (server, group) = picky(Some(9)).await;
    assert!(!group.exchange(&outgoing("www.example.")).await.unwrap().over_tcp);
    assert_eq!(server.queries(), (2, 0));
}

#[tokio::test]
async fn badcookie_again_moves_to_tcp() {
    let (server, group) = picky(None).await;
    assert!(group.exchange(&outgoing("www.example.")).await.unwrap().over_tcp);
    assert_eq!(server.queries(), (2, 1));
}

#[tokio::test]
async fn each_try_has_its_own_id_port_and_case() {
    let seen = Arc::new(std::sync::Mutex::new(vec![]));
    let notes = Arc::clone(&seen);
    let server = FakeServer::start(move |asked| {
        let name = asked.name().to_ascii();
        notes.lock().unwrap().push((asked.message.metadata.id, name));
        reply_a(asked, 1)
    })
    .await;
    let group = group(&[&server], Strategy::Failover);
    for _ in 0..20 {
        group.exchange(&outgoing("a-name-with-many-letters.example.")).await.unwrap();
    }
    let distinct: std::collections::HashSet<_> = seen.lock().unwrap().iter().cloned().collect();
    assert!(distinct.len() >= 20);
    let names: std::collections::HashSet<_> = distinct.iter().map(|(_, name)| name).collect();
    assert!(names.len() >= 19);
}

#[tokio::test(start_paused = true)]
async fn only_forgeries_and_no_tcp_end_in_a_failure() {
    let rounds = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&rounds);
    let server = FakeServer::start_udp_only(move |asked| {
        count.fetch_add(1, Ordering::SeqCst);
        (0..20).map(|_| forged(asked, 1)).collect()
    })
    .await;
    let group = Group::new("test".to_owned(), vec![server.address()], GroupOptions::default());
    let failure = group.exchange(&outgoing("www.example.")).await.unwrap_err();
    assert!(matches!(failure.kind, FailureKind::Network | FailureKind::Timeout), "{failure}");
    assert!(rounds.load(Ordering::SeqCst) <= 6);
}
