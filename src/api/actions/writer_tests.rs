//! A defect in the writer of changes ends neither the writer nor, where it can be helped, changes.

use super::super::zone;
use super::*;
use crate::api::Params;
use crate::base::clock::Clock;
use crate::config::Config;
use crate::publish::build::Environment;
use crate::resolve::cache::AnswerCache;
use crate::resolve::guard::Guard;
use crate::resolve::limits::Limits;
use crate::resolve::packet_cache::PacketCache;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;

/// A ledger whose publishing panics the first this many times.
fn handle(panics: usize) -> Arc<AccountWriter> {
    let (config, around) = (Config::default(), Environment::default());
    let publisher = Publisher::start(config, around, Account::default(), Handle::current(), |published| {
        let cache = AnswerCache::new(1 << 20, Default::default());
        let answers = PacketCache::new(1 << 20);
        let limits = Limits::new(10);
        SharedState::new(published, Clock::start(), cache, answers, limits, Guard::default(), Duration::ZERO)
    });
    let left = AtomicUsize::new(panics);
    let publish = move |_: &Account, _: &Dirty| {
        let left = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        assert!(left.is_err(), "a defect");
    };
    let account = Account::default();
    AccountWriter::start_with(account, Vec::new(), Persistence::InMemory, publisher, Box::new(publish))
        .unwrap()
}

/// Adds a zone; the code of the refusal.
async fn add(handle: &AccountWriter, name: &str) -> Result<(), String> {
    let params: Params = [("ZoneName", name)].into_iter().collect();
    let caller = ApiCaller::ourselves().unwrap();
    let added = handle.write(caller, move |context| zone::add(context, &params)).await;
    added.map(|_| ()).map_err(|error| error.message.into_owned())
}

#[tokio::test]
async fn a_panic_of_a_decision_is_its_callers_alone() {
    let handle = handle(0);
    let caller = ApiCaller::ourselves().unwrap();
    let failed = handle.write(caller, |_| panic!("a defect")).await.unwrap_err();
    assert_eq!(failed.code, "InternalError");
    assert_eq!(add(&handle, "a.example").await, Ok(()));
    assert_eq!(handle.account().zone_count(), 1);
}

#[tokio::test]
async fn a_panic_while_publishing_is_made_good_by_publishing_all() {
    let handle = handle(1);
    assert_eq!(add(&handle, "a.example").await, Ok(()));
    assert_eq!(add(&handle, "b.example").await, Ok(()));
    assert_eq!(handle.account().zone_count(), 2);
}

#[tokio::test]
async fn after_a_defect_that_cannot_be_made_good_changes_are_refused_and_say_why() {
    let handle = handle(2);
    assert_eq!(add(&handle, "a.example").await, Ok(()), "it is stored");
    for _ in 0..3 {
        let why = add(&handle, "b.example").await.unwrap_err();
        assert!(why.contains("failed by a defect of pvtzd") && why.contains("Restart"), "{why}");
    }
    handle.close().await;
    assert!(add(&handle, "c.example").await.unwrap_err().contains("has ended"));
}
