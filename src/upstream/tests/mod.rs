//! Exchanges with fake servers on loopback.

mod encrypted;
mod failover;
pub(crate) mod fake;
mod hostile;
mod spoofing;
mod talk;

use std::net::Ipv4Addr;
use std::sync::Arc;

use futures_util::future::join_all;
use hickory_proto::rr::RData;

use self::fake::{FakeServer, group, outgoing, reply_a};
use super::{Inflight, Reply, Strategy};

/// The address in a reply: its last octet says which fake server gave it.
fn last_octet(reply: &Reply) -> u8 {
    match &reply.message.answers[0].data {
        RData::A(a) => Ipv4Addr::from(*a).octets()[3],
        other => panic!("no address: {other:?}"),
    }
}

#[tokio::test]
async fn two_hundred_clients_with_one_question_cost_one_query() {
    let server = FakeServer::start(|asked| reply_a(asked, 1)).await;
    let group = Arc::new(group(&[&server], Strategy::Failover));
    let inflight = Arc::new(Inflight::new());
    let joins = (0..200).map(|_| {
        let (group, query) = (Arc::clone(&group), outgoing("www.example."));
        inflight.join(query.clone(), move || async move {
            group.exchange(&query).await.map(Arc::new).map_err(Arc::new)
        })
    });
    for reply in join_all(joins).await {
        assert_eq!(last_octet(&reply.unwrap().unwrap()), 1);
    }
    assert_eq!(server.queries(), (1, 0));
}
