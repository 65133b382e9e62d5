//! Finds servers that forward back to this one, by sending each an unguessable name and seeing whether it comes
//! in at our own door.
//!
//! A loop is a fault of the configuration around us; it must not take the process down with it. The server is
//! set aside, loudly and once, and taken back when it answers a later probe that did not come back. A probe that
//! gets no answer says nothing.
//!
//! A name that resolvers answer by themselves would stay with them, in a loop too. So the name is in no zone, and is
//! asked for rarely: at once for servers that are new, more and more rarely while all is well, soon again after a
//! server ceased to be well or is well again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hickory_proto::rr::{Name, RecordType};

use super::health::ServerHealth;
use super::server::Server;
use super::{Group, UpstreamQuery, now, random, transaction};

/// The label under which probe names lie.
const SUFFIX: &str = "pvtzd-loop";
/// Probe interval of a server in a forwarding loop, and delay after a change.
const INTERVAL: Duration = Duration::from_secs(30);
/// How often a server is probed, at least. The pause doubles up to it.
const MAX_INTERVAL: Duration = Duration::from_secs(3600);
/// How long a probe is waited for.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How long a probe that comes back late is still recognised. Longer than any query lives.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Knows the probes under way. One for the process: every listener asks it about names under its suffix.
#[derive(Debug, Default)]
pub struct LoopDetector {
    /// By the number in their name.
    sent: Mutex<HashMap<u64, Probe>>,
}

/// A probe sent.
#[derive(Debug)]
struct Probe {
    /// To whom.
    server: Arc<Server>,
    /// When.
    at: Instant,
    /// It has come back.
    returned: bool,
}

impl LoopDetector {
    /// No probes under way.
    pub fn new() -> Self {
        Self::default()
    }

    /// To be called for every incoming name: says whether it is one of our own probes, and if so sets aside the
    /// server that it was sent to. Such a query needs no answer; a prompt REFUSED keeps the loop short.
    pub fn seen(&self, name: &Name) -> bool {
        let Some(number) = number(name) else { return false };
        let mut sent = self.sent();
        let Some(probe) = sent.get_mut(&number) else { return false };
        probe.returned = true;
        if probe.server.set_looping(true) {
            tracing::error!(
                server = %probe.server.address(),
                "forwarding loop: this upstream server forwards to pvtzd. It is not used until the loop ends"
            );
        }
        true
    }

    /// Probes each server of `group` once, and waits for the results.
    pub async fn check(&self, group: &Group) {
        join_all(group.shared_servers().iter().map(|server| self.check_server(server))).await;
    }

    /// Probes the servers of `group` now and then, until the group is gone. The listeners should be open.
    pub async fn watch(self: Arc<Self>, group: Weak<Group>) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut paces: Vec<ProbeSchedule> = Vec::new();
        loop {
            ticks.tick().await;
            let Some(group) = group.upgrade() else { return };
            let servers = group.shared_servers();
            paces.resize_with(servers.len(), ProbeSchedule::default);
            let due = servers.iter().zip(&mut paces).filter_map(|(server, pace)| {
                let state = (server.is_looping(), server.view().standing);
                pace.is_due(state, now()).then_some(server)
            });
            join_all(due.map(|server| self.check_server(server))).await;
        }
    }

    /// Probes one server.
    async fn check_server(&self, server: &Arc<Server>) {
        let Ok(number) = random::bytes().map(u64::from_ne_bytes) else { return };
        let Ok(name) = Name::from_ascii(format!("{number:016x}.{SUFFIX}.")) else { return };
        self.remember(number, server);
        let query =
            UpstreamQuery { name, rtype: RecordType::TXT, dnssec_ok: false, checking_disabled: false };
        // What the server says is of no interest, and nothing its health should hear of.
        let until = tokio::time::Instant::now() + TIMEOUT;
        let answered = tokio::time::timeout_at(until, transaction::ask(server, &query)).await;
        if server.is_looping() {
            tokio::time::sleep_until(until).await; // it may ask several, and us among them
        }
        let returned = self.sent().get(&number).is_some_and(|probe| probe.returned);
        if matches!(answered, Ok(Ok(_))) && !returned && server.set_looping(false) {
            tracing::info!(server = %server.address(), "this upstream server is no longer in a forwarding \
                                                        loop");
        }
    }

    /// Adds a probe, and forgets the old ones.
    fn remember(&self, number: u64, server: &Arc<Server>) {
        let at = now();
        let mut sent = self.sent();
        sent.retain(|_, probe| at.saturating_duration_since(probe.at) < REMEMBERED);
        sent.insert(number, Probe { server: Arc::clone(server), at, returned: false });
    }

    /// The probes.
    fn sent(&self) -> MutexGuard<'_, HashMap<u64, Probe>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When a server is probed.
#[derive(Debug, Default)]
struct ProbeSchedule {
    /// The last probe, and the pause after it.
    last: Option<(Instant, Duration)>,
    /// Whether the server led back to us then, and how it was doing.
    state: Option<(bool, ServerHealth)>,
}

impl ProbeSchedule {
    /// Whether to probe a server now that is in this state. If so, the next probe is put off.
    fn is_due(&mut self, state: (bool, ServerHealth), now: Instant) -> bool {
        let is_change = self.state.replace(state) != Some(state);
        let pause = match self.last {
            Some((_, pause)) if !is_change && !state.0 => (pause * 2).min(MAX_INTERVAL),
            _ => INTERVAL,
        };
        let is_due = is_change
            || self.last.is_none_or(|(at, pause)| now.saturating_duration_since(at) >= pause.mul_f64(0.9));
        if is_due {
            self.last = Some((now, pause));
        }
        is_due
    }
}

/// The number in a probe name; none for any other name. Cheap for those: every query passes here.
fn number(name: &Name) -> Option<u64> {
    let mut labels = name.iter();
    let (Some(first), Some(second), None) = (labels.next(), labels.next(), labels.next()) else {
        return None;
    };
    if first.len() != 16 || !second.eq_ignore_ascii_case(SUFFIX.as_bytes()) {
        return None;
    }
    let digits = std::str::from_utf8(first).ok()?;
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::tests::fake::{FakeServer, group, outgoing, reply_a, reply_rcode};
    use crate::upstream::{FailureKind, Strategy};
    use hickory_proto::op::ResponseCode;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn only_probe_names_have_a_number() {
        let number = |name: &str| number(&Name::from_ascii(name).unwrap());
        assert_eq!(number("00000000000000fF.PVTZD-loop."), Some(255));
        for other in
            ["pvtzd-loop.", "ff.pvtzd-loop.", "00000000000000ff.example.", "0.00000000000000ff.pvtzd-loop."]
        {
            assert_eq!(number(other), None, "{other}");
        }
        assert!(!LoopDetector::new().seen(&Name::from_ascii("00000000000000ff.pvtzd-loop.").unwrap()));
    }

    #[tokio::test]
    async fn a_server_that_leads_back_is_set_aside_and_taken_back() {
        let detector = Arc::new(LoopDetector::new());
        let looping = Arc::new(AtomicBool::new(true));
        let (door, closed) = (Arc::clone(&detector), Arc::clone(&looping));
        // While it loops, the server hands every query to our own door.
        let server = FakeServer::start(move |asked| {
            if closed.load(Ordering::Relaxed) && door.seen(asked.name()) {
                return reply_rcode(asked, ResponseCode::Refused);
            }
            reply_a(asked, 1)
        })
        .await;
        let honest = FakeServer::start(|asked| reply_a(asked, 2)).await;

        let both = group(&[&server, &honest], Strategy::Failover);
        detector.check(&both).await;
        assert_eq!(both.servers().map(Server::is_looping).collect::<Vec<_>>(), [true, false]);
        assert_eq!(both.exchange(&outgoing("a.example.")).await.unwrap().server, honest.address());

        let alone = group(&[&server], Strategy::Failover);
        detector.check(&alone).await;
        let failure = alone.exchange(&outgoing("a.example.")).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Looping);

        looping.store(false, Ordering::Relaxed);
        detector.check(&both).await;
        assert_eq!(both.exchange(&outgoing("a.example.")).await.unwrap().server, server.address());
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_without_an_answer_takes_no_server_back() {
        let detector = Arc::new(LoopDetector::new());
        let mute = FakeServer::start(|_| vec![]).await;
        let group = group(&[&mute], Strategy::Failover);
        group.servers().for_each(|server| _ = server.set_looping(true));
        detector.check(&group).await;
        assert!(group.servers().all(Server::is_looping), "no news is no good news");
    }

    #[test]
    fn probes_are_rare_while_all_is_well_and_soon_after_a_change() {
        let start = Instant::now();
        let probes = |pace: &mut ProbeSchedule, state, seconds: std::ops::Range<u64>| -> Vec<u64> {
            let ticks = seconds.step_by(30);
            ticks.filter(|tick| pace.is_due(state, start + Duration::from_secs(*tick))).collect()
        };
        let mut pace = ProbeSchedule::default();
        let well = probes(&mut pace, (false, ServerHealth::Up), 0..86_400);
        assert_eq!(well[..6], [0, 30, 90, 210, 450, 900]);
        assert!(well.len() < 36, "once an hour: {}", well.len());
        assert_eq!(probes(&mut pace, (false, ServerHealth::Down), 86_400..86_500), [86_400, 86_430, 86_490]);
        assert_eq!(probes(&mut pace, (true, ServerHealth::Up), 86_520..86_610), [86_520, 86_550, 86_580]);
    }

    #[tokio::test(start_paused = true)]
    async fn watching_ends_with_the_group() {
        let group = Arc::new(group(&[], Strategy::Failover));
        let watch = Arc::new(LoopDetector::new()).watch(Arc::downgrade(&group));
        drop(group);
        tokio::time::timeout(INTERVAL * 2, watch).await.unwrap();
    }
}
