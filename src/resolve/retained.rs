//! The last good answers of retained names ([`RetainRules`]), beside the cache: neither eviction nor expiry nor a denial
//! that is not confirmed takes them away.
//!
//! All of it is on the way of what upstreams say, and of queries that the cache does not answer; a query that it
//! answers comes by no line of this file. Names below a suffix are many: they are bounded in number and octets, and
//! when there is no room, a new one must occur twice before it replaces the least recently queried one.

use crate::engine::cache::{CacheDataOf, CacheKey, Outcome, Timestamp};
use crate::engine::retain::{DenialVerdict, RetainRules};
use crate::resolve::cache_entry::CacheEntry;
use arc_swap::ArcSwap;
use hickory_proto::rr::RecordType;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Octets of all retained answers.
const MAX_BYTES: usize = 16 << 20;

/// Octets that a name takes beside its answers.
const OVERHEAD: usize = 160;

/// Names that were seen once while there was no room.
const CANDIDATES: usize = 4096;

/// The least time between two refreshes of an answer, in milliseconds.
const LEAST_PAUSE: u64 = 5000;

/// How long a refresh that came to nothing keeps the next from being tried, in milliseconds.
const RETRY: u64 = 10_000;

/// How long a name below a suffix is refreshed after it was asked for last, in milliseconds.
const IN_DEMAND: u64 = 86_400_000;

/// The retained answers.
#[derive(Debug)]
pub struct RetainedAnswers {
    is_active: AtomicBool,
    rules: ArcSwap<RetainRules>,
    names: Mutex<RetainedNames>,
    counts: RetainedCounters,
}

/// Numbers that only grow.
#[derive(Debug, Default)]
struct RetainedCounters {
    refreshed: AtomicU64,
    held: AtomicU64,
    confirmed: AtomicU64,
    served: AtomicU64,
}

/// The retained names.
#[derive(Debug, Default)]
struct RetainedNames {
    /// By group, name and CD.
    names: HashMap<CacheKey, RetainedName>,
    /// Where CNAMEs of theirs lead: the rule of the first, and how many there are.
    targets: HashMap<CacheKey, (usize, usize)>,
    /// How many there are of each rule.
    of_rule: Vec<usize>,
    bytes: usize,
    candidates: Vec<u64>,
    hasher: RandomState,
}

/// A retained name.
#[derive(Debug)]
struct RetainedName {
    rule: usize,
    /// By type; 0 for a CNAME, which holds for all.
    sets: Vec<RetainedSet>,
    /// When a client is known to have asked for it last.
    asked: Timestamp,
    /// Where a CNAME leads, which is retained as the name itself is.
    target: Option<CacheKey>,
}

/// A retained answer.
#[derive(Debug)]
struct RetainedSet {
    rtype: u16,
    /// The type that it was asked for by.
    question: RecordType,
    entry: Arc<CacheEntry>,
    /// When to ask again.
    due: Timestamp,
    /// The first of the denials since, and whether it is of the whole name.
    denied: Option<(Timestamp, bool)>,
}

/// What is to be kept of an answer.
#[derive(Debug)]
pub enum RetainReview {
    /// The answer.
    Believe,
    /// The last good answer instead of an unconfirmed negative answer, for this many seconds.
    Hold(Arc<CacheEntry>, u32),
    /// The name has other types, so that its NXDOMAIN denies only this type, for this many seconds.
    NoData(u32),
}

/// An answer that is to be asked for again.
#[derive(Debug)]
pub(super) struct DueAnswer {
    /// Group, name and CD.
    pub(super) key: CacheKey,
    /// The type.
    pub(super) rtype: RecordType,
    /// With its signatures.
    pub(super) dnssec: bool,
}

/// The retained names, as `pvtzd status` shows them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetainedState {
    /// Retained names.
    pub names: usize,
    /// Octets that they take.
    pub bytes: usize,
    /// The first names with a denial that is not confirmed.
    pub denied: Vec<String>,
    /// Answers that were refreshed.
    pub refreshed: u64,
    /// Denials that were held back until they are confirmed.
    pub held: u64,
    /// Denials that were confirmed.
    pub confirmed: u64,
    /// Number of failures replaced by the last good answer.
    pub served: u64,
}

impl Default for RetainedAnswers {
    fn default() -> Self {
        Self {
            is_active: AtomicBool::new(false),
            rules: ArcSwap::default(),
            names: Mutex::default(),
            counts: RetainedCounters::default(),
        }
    }
}

impl RetainedAnswers {
    /// Other rules. Answers that no rule is for are forgotten.
    pub fn configure(&self, rules: RetainRules) {
        let mut names = self.lock();
        names.of_rule = vec![0; rules.rules.len()];
        let kept: Vec<(CacheKey, RetainedName)> = names.names.drain().collect();
        (names.bytes, names.targets) = (0, HashMap::new());
        for (key, mut name) in kept {
            let rtype = name.sets.first().map_or(RecordType::A, |set| set.question);
            let Some(rule) = rules.find(key.wire(), rtype) else { continue }; // targets come back with their CNAME
            name.rule = rule;
            names.of_rule[rule] += 1;
            names.bytes += name.bytes(&key);
            names.add_target(rule, name.target.as_ref());
            names.names.insert(key, name);
        }
        self.is_active.store(!rules.rules.is_empty(), Ordering::Relaxed);
        self.rules.store(Arc::new(rules));
    }

    /// True where there is a rule.
    pub fn is_active(&self) -> bool {
        self.is_active.load(Ordering::Relaxed)
    }

    /// The rules.
    pub fn rules(&self) -> Arc<RetainRules> {
        self.rules.load_full()
    }

    /// Remembers an answer, if it is of a retained name.
    pub(super) fn remember(&self, key: &CacheKey, entry: &Arc<CacheEntry>, outcome: &Outcome) {
        if !matches!(outcome, Outcome::Rrset | Outcome::Alias(_)) {
            return;
        }
        let rules = self.rules.load();
        let mut names = self.lock();
        let place = place(key);
        let rule = rules.find(key.wire(), key.rtype()).or_else(|| names.rule_of_target(&place));
        let Some(rule) = rule else { return };
        names.remember(&rules, rule, key, place, entry, outcome);
    }

    /// What is to be kept of an answer to a question.
    pub(super) fn review(
        &self,
        key: &CacheKey,
        entry: &CacheDataOf<'_>,
        now: Timestamp,
        stale_ttl: u32,
    ) -> RetainReview {
        let is_nxdomain = match entry.outcome {
            Outcome::NxDomain => true,
            Outcome::NoData => false,
            _ => return RetainReview::Believe,
        };
        let rules = self.rules.load();
        let mut names = self.lock();
        let place = place(key);
        let Some(name) = names.names.get_mut(&place) else { return RetainReview::Believe };
        let Some(rule) = rules.rules.get(name.rule) else { return RetainReview::Believe };
        name.sets.retain(|set| set.is_good(rule.stale_ms, now));
        let asked = u16::from(key.rtype());
        let own = name.sets.iter().position(|set| set.rtype == asked || set.rtype == 0);
        if own.is_none() && (!is_nxdomain || name.sets.is_empty()) {
            return RetainReview::Believe;
        }
        let first = name.sets.iter().enumerate().filter(|(at, set)| {
            Some(*at) == own || (is_nxdomain && set.denied.is_some_and(|(_, whole)| whole))
        });
        let first = first.filter_map(|(_, set)| set.denied).map(|(first, _)| first).min().unwrap_or(now);
        if rule.judge(first, now) == DenialVerdict::Confirmed {
            self.counts.confirmed.fetch_add(1, Ordering::Relaxed);
            match (is_nxdomain, own) {
                (false, Some(own)) if name.sets.len() > 1 => _ = name.sets.swap_remove(own),
                _ => names.remove(&place),
            }
            return RetainReview::Believe;
        }
        self.counts.held.fetch_add(1, Ordering::Relaxed);
        let ttl = rule.held_ttl(first, now, stale_ttl);
        let again = Timestamp(first.0.saturating_add(rule.confirm_ms)).min(Timestamp(now.0 + RETRY));
        for (at, set) in name.sets.iter_mut().enumerate() {
            if is_nxdomain || Some(at) == own {
                set.denied.get_or_insert((first, is_nxdomain));
                set.due = again;
            }
        }
        match own {
            Some(own) => RetainReview::Hold(name.sets[own].entry.clone(), ttl),
            None => RetainReview::NoData(ttl),
        }
    }

    /// The last good answer to a question, for the case that nothing better comes.
    pub(super) fn last_good(&self, key: &CacheKey, now: Timestamp) -> Option<Arc<CacheEntry>> {
        let rules = self.rules.load();
        let names = self.lock();
        let name = names.names.get(&place(key))?;
        let rule = rules.rules.get(name.rule)?;
        let asked = u16::from(key.rtype());
        let good = name.sets.iter().find(|set| {
            (set.rtype == asked || set.rtype == 0) && set.serves(key) && set.is_good(rule.stale_ms, now)
        })?;
        self.counts.served.fetch_add(1, Ordering::Relaxed);
        Some(good.entry.clone())
    }

    /// The answers that are to be asked for again, `most` at most, as questions; each is then left alone for a while.
    pub(super) fn due(&self, now: Timestamp, most: usize) -> Vec<DueAnswer> {
        let rules = self.rules.load();
        let mut names = self.lock();
        names.expire(&rules, now);
        let mut found = Vec::new();
        for (key, name) in &mut names.names {
            let Some(rule) = rules.rules.get(name.rule) else { continue };
            for set in &mut name.sets {
                if set.due > now || found.len() >= most {
                    continue;
                }
                if set.entry.was_served() {
                    name.asked = now;
                }
                set.due = Timestamp(now.0 + RETRY);
                if !rule.is_subtree || now.since(name.asked) < IN_DEMAND {
                    let dnssec = set.entry.dnssec();
                    found.push(DueAnswer { key: key.clone(), rtype: set.question, dnssec });
                }
            }
        }
        found
    }

    /// An answer was refreshed.
    pub(super) fn note_refreshed(&self) {
        self.counts.refreshed.fetch_add(1, Ordering::Relaxed);
    }

    /// All retained answers.
    pub(super) fn entries(&self) -> Vec<Arc<CacheEntry>> {
        let names = self.lock();
        names.names.values().flat_map(|name| &name.sets).map(|set| set.entry.clone()).collect()
    }

    /// Forgets what `of` takes.
    pub fn forget(&self, of: impl Fn(&CacheKey) -> bool) {
        let mut names = self.lock();
        let gone: Vec<CacheKey> = names.names.keys().filter(|key| of(key)).cloned().collect();
        gone.iter().for_each(|key| names.remove(key));
    }

    /// How it is doing; of names with a denial, `most` are listed.
    pub fn state(&self, most: usize) -> RetainedState {
        let names = self.lock();
        let denied = names.names.iter().filter(|(_, name)| name.sets.iter().any(|set| set.denied.is_some()));
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RetainedState {
            denied: denied.take(most).map(|(key, _)| key.name().to_string()).collect(),
            names: names.names.len(),
            bytes: names.bytes,
            refreshed: read(&self.counts.refreshed),
            held: read(&self.counts.held),
            confirmed: read(&self.counts.confirmed),
            served: read(&self.counts.served),
        }
    }

    fn lock(&self) -> MutexGuard<'_, RetainedNames> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RetainedNames {
    /// The rule of a name that a retained CNAME leads to.
    fn rule_of_target(&self, place: &CacheKey) -> Option<usize> {
        self.targets.get(place).map(|(rule, _)| *rule)
    }

    /// Counts where a CNAME leads.
    fn add_target(&mut self, rule: usize, target: Option<&CacheKey>) {
        if let Some(target) = target {
            self.targets.entry(target.clone()).or_insert((rule, 0)).1 += 1;
        }
    }

    fn remove_target(&mut self, target: Option<&CacheKey>) {
        let Some(target) = target else { return };
        if let Some((_, count)) = self.targets.get_mut(target) {
            *count -= 1;
            if *count == 0 {
                self.targets.remove(target);
            }
        }
    }

    /// Forgets what may not be served any more.
    fn expire(&mut self, rules: &RetainRules, now: Timestamp) {
        let stale_ms = |name: &RetainedName| rules.rules.get(name.rule).map_or(0, |rule| rule.stale_ms);
        let is_over = |name: &RetainedName| !name.sets.iter().any(|set| set.is_good(stale_ms(name), now));
        let over: Vec<CacheKey> =
            self.names.iter().filter(|(_, name)| is_over(name)).map(|(key, _)| key.clone()).collect();
        over.iter().for_each(|key| self.remove(key));
    }

    fn remember(
        &mut self,
        rules: &RetainRules,
        rule: usize,
        key: &CacheKey,
        place: CacheKey,
        entry: &Arc<CacheEntry>,
        outcome: &Outcome,
    ) {
        let Some(limit) = rules.rules.get(rule) else { return };
        let (now, is_new) = (entry.stored(), !self.names.contains_key(&place));
        let count = self.of_rule.get(rule).copied().unwrap_or_default();
        if is_new && (count >= limit.max_names || self.bytes + entry.size() > MAX_BYTES) {
            let hash = self.hasher.hash_one(&place);
            self.candidates.resize(CANDIDATES, 0);
            let seat = &mut self.candidates[hash as usize % CANDIDATES];
            if std::mem::replace(seat, hash) != hash {
                return; // to be seen again first
            }
            *seat = 0;
            // a name that is listed itself stays
            let is_listed = |key: &CacheKey| !limit.is_subtree && limit.covers(key.wire());
            let of_rule = self.names.iter().filter(|(key, name)| name.rule == rule && !is_listed(key));
            let Some(oldest) = of_rule.min_by_key(|(_, name)| name.asked).map(|(key, _)| key.clone()) else {
                return;
            };
            self.remove(&oldest);
            if self.bytes + entry.size() > MAX_BYTES {
                return;
            }
        }
        let (rtype, target) = match outcome {
            Outcome::Alias(target) => {
                let target = crate::engine::name::NameKey::of(target);
                (0, Some(CacheKey::new(key.group(), &target, RecordType::ZERO, flags(key))))
            }
            _ => (u16::from(key.rtype()), None),
        };
        if is_new && let Some(count) = self.of_rule.get_mut(rule) {
            *count += 1;
        }
        let life = (u64::from(entry.ttl()) * 800).max(LEAST_PAUSE); // four fifths of it
        let set = RetainedSet {
            rtype,
            question: key.rtype(),
            entry: entry.clone(),
            due: Timestamp(now.0 + life),
            denied: None,
        };
        let name = match self.names.entry(place.clone()) {
            Entry::Occupied(name) => {
                let name = name.into_mut();
                self.bytes -= name.bytes(&place);
                name
            }
            Entry::Vacant(free) => {
                free.insert(RetainedName { rule, sets: Vec::new(), asked: now, target: None })
            }
        };
        // A CNAME stands alone; and what is there contradicts that the name is not there.
        name.sets.retain(|set| set.rtype != rtype && (set.rtype == 0) == (rtype == 0));
        name.sets.iter_mut().for_each(|set| set.denied = set.denied.filter(|(_, whole)| !whole));
        name.sets.push(set);
        let former = std::mem::replace(&mut name.target, target.clone());
        self.bytes += name.bytes(&place);
        self.add_target(rule, target.as_ref());
        self.remove_target(former.as_ref());
    }

    fn remove(&mut self, place: &CacheKey) {
        let Some(name) = self.names.remove(place) else { return };
        self.bytes -= name.bytes(place);
        self.remove_target(name.target.as_ref());
        if let Some(count) = self.of_rule.get_mut(name.rule) {
            *count -= 1;
        }
    }
}

impl RetainedName {
    fn bytes(&self, key: &CacheKey) -> usize {
        OVERHEAD + key.bytes().len() + self.sets.iter().map(|set| set.entry.size()).sum::<usize>()
    }
}

impl RetainedSet {
    /// True while it may be served.
    fn is_good(&self, stale_ms: u64, now: Timestamp) -> bool {
        let life = u64::from(self.entry.ttl()) * 1000;
        now.since(self.entry.stored()) < life.saturating_add(stale_ms)
    }

    /// True where it has what a question with these flags wants.
    fn serves(&self, key: &CacheKey) -> bool {
        self.entry.dnssec() || !key.flags().dnssec_ok
    }
}

/// What a name is kept under: group, name and CD.
fn place(key: &CacheKey) -> CacheKey {
    key.clone().of_any_type().without_dnssec()
}

fn flags(key: &CacheKey) -> crate::engine::cache::QueryFlags {
    crate::engine::cache::QueryFlags { dnssec_ok: false, ..key.flags() }
}

#[cfg(test)]
#[path = "retained_tests.rs"]
mod tests;
