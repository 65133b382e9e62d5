//! Plays a scenario over sockets: the real program, upstream servers on loopback, queries from where the
//! scenario says. A step is left out as soon as more time has passed in the scenario than this can wait for.

use super::file::{Scenario, Step};
use super::judge::judge;
use crate::server::Server;
use crate::upstream::{self, Log, Upstream};
use hickory_proto::op::ResponseCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// The latest step that is played, in milliseconds. Time does not really pass before it.
const LATEST: u64 = 1000;

/// Seconds that answers may have aged on a slow machine.
const SLACK: u32 = 3;

/// The steps that can be played.
pub fn playable(scenario: &Scenario) -> impl Iterator<Item = &Step> {
    scenario.steps.iter().take_while(|step| step.at <= LATEST)
}

/// Plays the steps that can be played; what went wrong.
pub fn play(scenario: &Arc<Scenario>) -> Vec<String> {
    let (log, now) = (Log::default(), Arc::new(AtomicU64::new(0)));
    let unscripted = Arc::new(Mutex::new(Vec::new()));
    let servers: Vec<(String, Upstream)> = scenario
        .roles()
        .into_iter()
        .map(|role| {
            let (script, now, unscripted) = (scenario.clone(), now.clone(), unscripted.clone());
            let own = role.clone();
            let answer = move |query: &hickory_proto::op::Message| {
                if upstream::is_silence_check(query) {
                    return None; // who is down in a scenario is silent
                }
                let at = now.load(Ordering::Relaxed);
                script.says(&own, query, at).unwrap_or_else(|()| {
                    let line = upstream::question_line(&own, query);
                    unscripted.lock().unwrap().push(format!("{}: not in the script: {line}", script.name));
                    Some(upstream::empty(query, ResponseCode::Refused))
                })
            };
            let server = Upstream::start_as(&role, log.clone(), Arc::new(answer));
            (role, server)
        })
        .collect();
    let address_of = |role: &str| servers.iter().find(|(name, _)| name == role).unwrap().1.address;
    let server = Server::start(&scenario.config(address_of));
    let mut failures = Vec::new();
    for step in playable(scenario) {
        now.store(step.at, Ordering::Relaxed);
        // Whoever asks nobody gives the same answer to the same question, from whatever lane it comes: the second
        // time a server may well have it ready.
        let times = if step.once || !step.asked.is_empty() { 1 } else { 4 };
        for _ in 0..times {
            let reply = match step.over_tcp {
                true => step.ask.over_tcp(server.address).ok(),
                false => step.ask.over_udp(server.address),
            };
            let found = reply.map_or_else(|| vec!["no answer".into()], |reply| reply.lines());
            let failure = judge(scenario, step, &found, &log.take(), SLACK);
            failures.extend(failure.map(|why| format!("over sockets: {why}")));
        }
    }
    failures.append(&mut unscripted.lock().unwrap());
    failures
}
