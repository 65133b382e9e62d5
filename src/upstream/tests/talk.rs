//! How one server is talked to: TC, EDNS, letter case.

use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};

use super::last_octet;
use crate::upstream::tests::fake::{
    Asked, FakeNetwork, FakeServer, answer_a, group, outgoing, reply_a, reply_rcode,
};
use crate::upstream::{FailureKind, Strategy};

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
async fn edns_is_dropped_for_a_question_and_after_several_names_for_the_server() {
    for rcode in [ResponseCode::FormErr, ResponseCode::NotImp] {
        let old = FakeServer::start(move |asked| match asked.message.edns {
            Some(_) => reply_rcode(asked, rcode),
            None => reply_a(asked, 1),
        })
        .await;
        let group = group(&[&old], Strategy::Failover);
        for (name, queries) in [("a.", 2), ("a.", 4), ("b.", 6), ("c.", 8), ("a.", 9), ("d.", 10)] {
            let name = format!("{name}example.");
            assert_eq!(last_octet(&group.exchange(&outgoing(&name)).await.unwrap()), 1);
            assert_eq!(server_queries(&old), queries, "{name}");
        }
    }
}

#[tokio::test]
async fn one_name_that_fails_with_edns_costs_no_other_its_edns() {
    let server = FakeServer::start(|asked| {
        let picky = asked.name().to_ascii().to_ascii_lowercase().starts_with("picky");
        match &asked.message.edns {
            Some(_) if picky => reply_rcode(asked, ResponseCode::FormErr),
            Some(edns) => {
                let mut message = answer_a(asked, 1);
                message.set_edns(edns.clone());
                vec![message.to_vec().unwrap()]
            }
            None => reply_a(asked, 2),
        }
    })
    .await;
    let group = group(&[&server], Strategy::Failover);
    for round in 0..4 {
        let picky = group.exchange(&outgoing(&format!("picky{round}.example."))).await.unwrap();
        let plain = group.exchange(&outgoing("www.example.")).await.unwrap();
        assert_eq!((last_octet(&picky), last_octet(&plain)), (2, 1), "round {round}");
    }
}

/// Queries over UDP so far.
fn server_queries(server: &FakeServer) -> u32 {
    server.queries().0
}

/// An error without a question.
fn bare(asked: &Asked, rcode: ResponseCode) -> Vec<Vec<u8>> {
    let mut reply = reply_rcode(asked, rcode).remove(0);
    reply.truncate(12);
    reply[5] = 0; // no question
    vec![reply]
}

#[tokio::test]
async fn a_bare_formerr_header_of_an_old_server_means_no_edns_with_tcp_and_without() {
    let answer = |asked: &Asked| match asked.message.edns {
        Some(_) => bare(asked, ResponseCode::FormErr),
        None => reply_a(asked, 1),
    };
    for old in [FakeServer::start(answer).await, FakeServer::start_udp_only(answer).await] {
        let group = group(&[&old], Strategy::Failover);
        for name in ["a.example.", "b.example.", "c.example."] {
            assert_eq!(last_octet(&group.exchange(&outgoing(name)).await.unwrap()), 1);
        }
        let before = old.queries();
        assert_eq!(last_octet(&group.exchange(&outgoing("d.example.")).await.unwrap()), 1);
        assert_eq!(old.queries(), (before.0 + 1, before.1), "it is known");
    }
}

#[tokio::test]
async fn a_bare_error_is_believed_over_tcp_or_when_it_comes_twice() {
    for rcode in [ResponseCode::ServFail, ResponseCode::Refused, ResponseCode::NotImp, ResponseCode::FormErr]
    {
        let liar = FakeServer::start(move |asked| match asked.over_tcp {
            true => reply_a(asked, 1),
            false => bare(asked, rcode),
        })
        .await;
        let reply = group(&[&liar], Strategy::Failover).exchange(&outgoing("www.example.")).await.unwrap();
        assert_eq!((last_octet(&reply), reply.over_tcp), (1, true), "{rcode}");
        let honest = FakeServer::start_udp_only(move |asked| bare(asked, rcode)).await;
        let group = group(&[&honest], Strategy::Failover);
        let failure = group.exchange(&outgoing("www.example.")).await.unwrap_err();
        assert_eq!((failure.kind, honest.queries().0), (FailureKind::Rcode(rcode), 2));
    }
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

/// How a server changes the name in the question.
type Folding = fn(&Name) -> Name;

/// Servers that give names back in another case than asked: lower, upper, and that of whoever asked first.
const FOLDINGS: [Folding; 3] = [
    |name| name.to_lowercase(),
    |name| Name::from_ascii(name.to_ascii().to_ascii_uppercase()).unwrap(),
    |name| {
        let first = |(at, letter): (usize, char)| {
            if at % 3 == 0 { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() }
        };
        Name::from_ascii(name.to_ascii().chars().enumerate().map(first).collect::<String>()).unwrap()
    },
];

#[tokio::test]
async fn a_server_that_folds_case_is_answered_over_tcp_until_it_is_known() {
    for folding in FOLDINGS {
        let server = FakeServer::start(move |asked| {
            let mut message = answer_a(asked, 1);
            message.queries[0].name = folding(asked.name());
            vec![message.to_vec().unwrap()]
        })
        .await;
        let group = group(&[&server], Strategy::Failover);
        for round in 0..5 {
            let reply = group.exchange(&outgoing("a-name-with-many-letters.example.")).await.unwrap();
            assert_eq!(reply.over_tcp, round < 3, "round {round}");
        }
        assert_eq!(server.queries(), (5, 3));
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_folds_case_and_has_no_tcp_still_serves() {
    for folding in FOLDINGS {
        let network = Arc::new(FakeNetwork::default());
        network.serve(1, move |asked| {
            let mut message = answer_a(asked, 1);
            message.queries[0].name = folding(asked.name());
            vec![message.to_vec().unwrap()]
        });
        let group = network.group(1, Strategy::Failover);
        for round in 0..5 {
            let name = format!("name-{round}-with-many-letters.example.");
            let reply = group.exchange(&outgoing(&name)).await.unwrap();
            assert!(!reply.over_tcp && reply.elapsed < Duration::from_secs(1));
        }
        assert_eq!(network.queries(1), 8); // three lessons of two queries each
    }
}

#[tokio::test]
async fn a_reply_that_is_cut_over_tcp_too_is_no_answer() {
    let cut = FakeServer::start(|asked| {
        let mut message = answer_a(asked, 1);
        message.metadata.truncation = true;
        vec![message.to_vec().unwrap()]
    })
    .await;
    let good = FakeServer::start(|asked| reply_a(asked, 2)).await;
    let both = group(&[&cut, &good], Strategy::Failover);
    assert_eq!(last_octet(&both.exchange(&outgoing("www.example.")).await.unwrap()), 2);
    let alone = group(&[&cut], Strategy::Failover);
    assert!(alone.exchange(&outgoing("www.example.")).await.is_err());
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
