//! How one server is talked to: TC, EDNS, letter case.

use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;

use super::last_octet;
use crate::upstream::Strategy;
use crate::upstream::fake::{FakeServer, answer_a, group, outgoing, reply_a, reply_rcode};

#[tokio::test]
async fn a_cut_reply_is_fetched_whole_over_tcp() {
    let server = FakeServer::start(|asked| {
        let mut message = answer_a(asked, 1);
        message.metadata.truncation = !asked.over_tcp;
        vec![message.to_vec().unwrap()]
    })
    .await;
    let group = group(&[&server], Strategy::Failover);
    let reply = group.exchange(&outgoing("www.example.")).await.unwrap();
    assert!(reply.over_tcp && !reply.message.metadata.truncation);
    assert_eq!(last_octet(&reply), 1);
    assert_eq!(server.queries(), (1, 1));
    assert_eq!(group.servers().next().unwrap().snapshot().counts.tcp_fallbacks, 1);
}

#[tokio::test]
async fn a_cut_reply_without_tcp_moves_on() {
    let cut = FakeServer::start_udp_only(|asked| {
        let mut message = answer_a(asked, 1);
        message.metadata.truncation = true;
        vec![message.to_vec().unwrap()]
    })
    .await;
    let good = FakeServer::start(|asked| reply_a(asked, 2)).await;
    let group = group(&[&cut, &good], Strategy::Failover);
    assert_eq!(last_octet(&group.exchange(&outgoing("www.example.")).await.unwrap()), 2);
}

#[tokio::test]
async fn edns_is_dropped_for_a_server_that_rejects_it_and_that_is_remembered() {
    for rcode in [ResponseCode::FormErr, ResponseCode::NotImp] {
        let old = FakeServer::start(move |asked| match asked.message.edns {
            Some(_) => reply_rcode(asked, rcode),
            None => reply_a(asked, 1),
        })
        .await;
        let group = group(&[&old], Strategy::Failover);
        assert_eq!(last_octet(&group.exchange(&outgoing("www.example.")).await.unwrap()), 1);
        assert_eq!(server_queries(&old), 2);
        assert_eq!(last_octet(&group.exchange(&outgoing("www.example.")).await.unwrap()), 1);
        assert_eq!(server_queries(&old), 3);
    }
}

/// Queries over UDP so far.
fn server_queries(server: &FakeServer) -> u32 {
    server.queries().0
}

#[tokio::test]
async fn a_bare_formerr_header_means_no_edns_too() {
    let old = FakeServer::start(|asked| match asked.message.edns {
        Some(_) => {
            let mut reply = reply_rcode(asked, ResponseCode::FormErr).remove(0);
            reply.truncate(12);
            reply[5] = 0; // no question
            vec![reply]
        }
        None => reply_a(asked, 1),
    })
    .await;
    let group = group(&[&old], Strategy::Failover);
    assert_eq!(last_octet(&group.exchange(&outgoing("www.example.")).await.unwrap()), 1);
}

#[tokio::test]
async fn queries_carry_the_flags_asked_for_and_no_foreign_option() {
    let server = FakeServer::start(|asked| {
        let (metadata, edns) = (asked.message.metadata, asked.message.edns.as_ref().unwrap());
        assert!(metadata.recursion_desired && metadata.authentic_data && metadata.checking_disabled);
        assert!(edns.flags().dnssec_ok && edns.max_payload() == 1232);
        assert_eq!(edns.options().as_ref().len(), 1); // the cookie
        assert_eq!(asked.message.queries[0].query_type(), RecordType::AAAA);
        reply_rcode(asked, ResponseCode::NoError)
    })
    .await;
    let group = group(&[&server], Strategy::Failover);
    let mut query = outgoing("www.example.");
    (query.rtype, query.dnssec_ok, query.checking_disabled) = (RecordType::AAAA, true, true);
    let reply = group.exchange(&query).await.unwrap();
    assert_eq!(reply.message.queries[0].name(), &query.name);
}

#[tokio::test]
async fn a_server_that_folds_case_is_answered_over_tcp_until_it_is_known() {
    let folding = FakeServer::start(|asked| {
        let mut message = answer_a(asked, 1);
        message.queries[0].name = message.queries[0].name.to_lowercase();
        vec![message.to_vec().unwrap()]
    })
    .await;
    let group = group(&[&folding], Strategy::Failover);
    for round in 0..5 {
        let reply = group.exchange(&outgoing("a-name-with-many-letters.example.")).await.unwrap();
        assert_eq!(reply.over_tcp, round < 3, "round {round}");
    }
    assert_eq!(folding.queries(), (5, 3));
}

#[tokio::test]
async fn a_server_that_folds_case_and_has_no_tcp_still_serves() {
    let folding = FakeServer::start_udp_only(|asked| {
        let mut message = answer_a(asked, 1);
        message.queries[0].name = message.queries[0].name.to_lowercase();
        vec![message.to_vec().unwrap()]
    })
    .await;
    let group = group(&[&folding], Strategy::Failover);
    for _ in 0..5 {
        let reply = group.exchange(&outgoing("a-name-with-many-letters.example.")).await.unwrap();
        assert!(!reply.over_tcp && reply.elapsed < Duration::from_secs(1));
    }
    assert_eq!(folding.queries().0, 8); // three lessons of two queries each
}

#[tokio::test]
async fn a_reply_larger_than_was_asked_for_is_read_whole() {
    let server = FakeServer::start(|asked| {
        let mut message = answer_a(asked, 1);
        (0..=255).for_each(|last| message.answers.extend(answer_a(asked, last).answers));
        vec![message.to_vec().unwrap()]
    })
    .await;
    let group = group(&[&server], Strategy::Failover);
    assert_eq!(group.exchange(&outgoing("www.example.")).await.unwrap().message.answers.len(), 257);
}

#[tokio::test]
async fn an_unreadable_reply_is_asked_again_over_tcp_and_then_given_up() {
    let garbled = FakeServer::start(|asked| {
        let mut reply = reply_a(asked, 1).remove(0);
        reply.truncate(reply.len() - 2);
        vec![reply]
    })
    .await;
    let good = FakeServer::start(|asked| reply_a(asked, 2)).await;
    let group = group(&[&garbled, &good], Strategy::Failover);
    assert_eq!(last_octet(&group.exchange(&outgoing("www.example.")).await.unwrap()), 2);
    assert_eq!(garbled.queries(), (1, 1));
    assert_eq!(group.servers().next().unwrap().snapshot().counts.garbled, 1);
}
