//! Plays a scenario on the engine: no sockets, no threads, and time is a number.
//!
//! The loop is that of `resolve::query`; everything it decides by is the library's own.

use super::file::{Scenario, Step};
use super::judge::judge;
use crate::client::Ask;
use crate::server::assert_confined;
use crate::upstream::question_line;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use pvtzd::account::Account;
use pvtzd::config;
use pvtzd::daemon::lifetimes;
use pvtzd::engine::answer::{Answer, ExtendedError};
use pvtzd::engine::cache::{QueryFlags, Timestamp};
use pvtzd::engine::catalog::GroupKey;
use pvtzd::engine::chain::{Chain, Fetch, Step as Next};
use pvtzd::engine::name::NameKey;
use pvtzd::engine::precheck::{Precheck, precheck};
use pvtzd::engine::reply;
use pvtzd::engine::request::{Admission, Question, Request};
use pvtzd::engine::response;
use pvtzd::publish::build;
use pvtzd::publish::build::Environment;
use pvtzd::resolve::cache::AnswerCache;
use pvtzd::resolve::cache_entry::CacheEntry;
use pvtzd::resolve::lookup;
use pvtzd::resolve::lookup::{CacheAnswer, CachedChain};
use pvtzd::resolve::shared::ActiveConfig;
use pvtzd::upstream::FailureKind;
use std::collections::{BTreeSet, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

/// The clock's zero.
const START: u64 = 1 << 42;

/// Plays all steps; what went wrong.
pub fn play(scenario: &Scenario) -> Vec<String> {
    let roles: Vec<String> = scenario.roles().into_iter().collect();
    let port_of = |role: &str| 2000 + roles.iter().position(|other| other == role).unwrap() as u16;
    let text = scenario.config(|role| SocketAddr::from((Ipv4Addr::LOCALHOST, port_of(role))));
    assert_confined(&text);
    let (config, _) = config::parse(&text, Path::new(&scenario.name)).unwrap();
    let mut world = World {
        scenario,
        published: build::build(&config, &Environment::default(), &Account::default(), None, 1),
        cache: AnswerCache::new(config.cache.size, lifetimes(&config.cache)),
        stale_ttl: config.cache.stale_ttl,
        last_success: HashMap::new(),
        asked: Vec::new(),
        unscripted: BTreeSet::new(),
        roles,
        turn: 0,
        now: Timestamp(START),
    };
    world.cache.retained.configure(config.retain.clone());
    let mut failures: Vec<String> = scenario.steps.iter().filter_map(|step| world.play(step)).collect();
    failures
        .extend(world.unscripted.iter().map(|line| format!("{}: not in the script: {line}", scenario.name)));
    failures
}

/// The server's state, and who it asks.
struct World<'s> {
    scenario: &'s Scenario,
    published: ActiveConfig,
    cache: AnswerCache,
    stale_ttl: u32,
    last_success: HashMap<GroupKey, Timestamp>,
    asked: Vec<String>,
    unscripted: BTreeSet<String>,
    roles: Vec<String>,
    turn: u64,
    now: Timestamp,
}

impl World<'_> {
    fn play(&mut self, step: &Step) -> Option<String> {
        self.now = Timestamp(START + step.at);
        let found = match self.serve(&step.ask, step.over_tcp) {
            Some(octets) => step.ask.take(&octets).unwrap().lines(),
            None => vec!["no answer".into()],
        };
        let asked = std::mem::take(&mut self.asked);
        judge(self.scenario, step, &found, &asked, 0)
    }

    /// From packet to packet, as `resolve::query` does it.
    fn serve(&mut self, ask: &Ask, over_tcp: bool) -> Option<Vec<u8>> {
        let finish = |request: &Request, answer: &Answer, own: u16| {
            let limit = if over_tcp { reply::TCP } else { reply::udp_limit(request, own) };
            Some(reply::finish(request, answer, limit, own))
        };
        let own = self.published.udp_payload;
        let (request, question) = match Request::parse(&ask.packet()) {
            Admission::Drop => return None,
            Admission::Reject(request, rcode) => return finish(&request, &Answer::code(rcode, None), own),
            Admission::Accept(request, question) => (request, question),
        };
        let allowed = self.published.allows(ask.client);
        let screening = Precheck { allowed, version_bind: self.published.version_bind };
        let turn = self.turn;
        self.turn += 1;
        let answer = precheck(&question, screening)
            .unwrap_or_else(|| self.resolve(&request, &question, ask, turn, over_tcp));
        finish(&request, &answer, own)
    }

    fn resolve(
        &mut self,
        request: &Request,
        question: &Question,
        ask: &Ask,
        turn: u64,
        over_tcp: bool,
    ) -> Answer {
        let flags =
            QueryFlags { dnssec_ok: request.dnssec_ok(), checking_disabled: request.checking_disabled };
        let view = self.published.catalog.view(ask.client).clone();
        let limit = reply::udp_limit(request, self.published.udp_payload);
        let limit = if over_tcp { reply::TCP } else { limit };
        let mut chain = Chain::start(&view, question, flags, turn).within(limit);
        let mut heard: Vec<(GroupKey, NameKey, Arc<CacheEntry>)> = Vec::new();
        loop {
            let fetch = match chain.step() {
                Next::Done(answer) => return answer,
                Next::Fetch(fetch) => fetch,
            };
            let known = |(group, name, _): &(GroupKey, NameKey, Arc<CacheEntry>)| {
                *group == fetch.group && *name == fetch.question.key
            };
            if let Some(place) = heard.iter().position(known) {
                let slot = heard.swap_remove(place).2;
                chain.supply(&slot.entry(), slot.ttl(), false);
                continue;
            }
            let last_success = || self.last_success.get(&fetch.group).copied();
            let stale = match lookup::cache_get(&self.cache, &fetch, self.now, last_success) {
                CacheAnswer::Use(slot, ttl) => {
                    chain.supply(&slot.entry(), ttl, false);
                    if slot.hit_wants_refresh(self.now, &self.cache.lifetimes) {
                        let _ = self.ask(&view, &fetch); // for the next who asks
                    }
                    continue;
                }
                CacheAnswer::UseStale(slot) => {
                    chain.supply(&slot.entry(), self.stale_ttl, true);
                    continue;
                }
                CacheAnswer::Ask(stale) => stale,
            };
            if !request.recursion_desired {
                chain.refuse_recursion();
                continue;
            }
            match (self.ask(&view, &fetch), stale) {
                (Ok(entries), _) => {
                    let (_, slot) = &entries[0];
                    chain.supply(&slot.entry(), slot.ttl(), false);
                    heard.extend(
                        entries[1..].iter().map(|(name, slot)| (fetch.group, name.clone(), slot.clone())),
                    );
                }
                (Err(_), Some(slot)) => chain.supply(&slot.entry(), self.stale_ttl, true),
                (Err(code), None) => chain.fail(ExtendedError::new(code, "the script")),
            }
        }
    }

    /// Asks a group by the script, one server after the other, and keeps what it says.
    fn ask(&mut self, view: &pvtzd::engine::catalog::View, fetch: &Fetch) -> Result<CachedChain, u16> {
        let query = outgoing(fetch);
        let group = self.published.groups[&fetch.group].clone();
        let mut kind = FailureKind::NoServers;
        for server in group.servers() {
            let role = &self.roles[usize::from(server.address().addr.port() - 2000)];
            self.asked.push(question_line(role, &query));
            let said = self.scenario.says(role, &query, self.now.0 - START).unwrap_or_else(|()| {
                self.unscripted.insert(question_line(role, &query));
                None
            });
            match said.map(|message| (message.metadata.response_code, message)) {
                Some((_, message)) if response::is_verdict(&message) => {
                    self.last_success.insert(fetch.group, self.now);
                    return lookup::cache_put(&self.cache, view, fetch, &message, self.now)
                        .map_err(|why| lookup::unusable(why).code);
                }
                Some((rcode, _)) => kind = FailureKind::Rcode(rcode),
                None if !matches!(kind, FailureKind::Rcode(_)) => kind = FailureKind::Timeout,
                None => {}
            }
        }
        lookup::cache_failure(&self.cache, fetch, kind, self.now);
        Err(kind.extended_error())
    }
}

/// What goes upstream.
fn outgoing(fetch: &Fetch) -> Message {
    let mut message = Message::new(0, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(fetch.question.name.clone(), fetch.question.rtype));
    message.metadata.checking_disabled = fetch.flags.checking_disabled;
    let mut edns = Edns::new();
    edns.set_dnssec_ok(fetch.flags.dnssec_ok);
    message.set_edns(edns);
    message
}
