//! Composes an answer: one decision for each hop, from the top, until the answer is complete.
//!
//! The chain does no I/O. [`Chain::step`] returns the [`Answer`], or a [`Fetch`] from an upstream group; the caller
//! gets the result from the cache or the group, passes it to [`Chain::supply`] or [`Chain::fail`], and steps again.
//! Server, `explain`, `check` and the tests use the same chain.

use super::answer::{Answer, ExtendedError, Hop, SectionTtl, Source};
use super::cache::{CacheDataOf, CacheKey, CachedRecord, FailureCause, Outcome, QueryFlags, Timestamp};
use super::catalog::{GroupKey, View};
use super::decide::{Decision, decide};
use super::local::LocalOutcome;
use super::message::HEADER;
use super::name::NameKey;
use super::rcode::show_rcode;
use super::rebinding::is_inner;
use super::record;
use super::request::Question;
use super::sections::{Sections, Wanted};
use super::zone::{NEGATIVE_TTL, Rrset, SetOrder, Zone, ZoneAvailability, soa_data, synthesised};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::HINFO;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

/// Maximum number of names in a chain. Longer chains are errors or attacks.
pub const MAX_HOPS: usize = 16;

/// TTL of an RFC 8482 HINFO, in seconds.
const MINIMAL_TTL: u32 = 3600;

/// A fetch from an upstream group, through the cache.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// The group.
    pub group: GroupKey,
    /// The question for it.
    pub question: Question,
    /// DO and CD of the client.
    pub flags: QueryFlags,
    /// The cache key of the answer.
    key: CacheKey,
}

impl Fetch {
    /// A query for a group.
    pub fn new(group: GroupKey, question: Question, flags: QueryFlags) -> Self {
        let key = CacheKey::new(group, &question.key, question.rtype, flags);
        Self { group, question, flags, key }
    }

    /// The cache key of the answer.
    pub fn cache_key(&self) -> &CacheKey {
        &self.key
    }

    /// Takes the key out: after the lookup only group and question are used.
    pub fn take_key(&mut self) -> CacheKey {
        std::mem::take(&mut self.key)
    }
}

/// The next step.
#[derive(Clone, Debug)]
pub enum Step {
    /// The answer.
    Done(Answer),
    /// A result of this group is needed.
    Fetch(Fetch),
}

/// The state of an answer in progress.
#[derive(Debug)]
pub struct Chain<'v> {
    view: &'v View,
    rtype: RecordType,
    flags: QueryFlags,
    turn: u64,
    name: Name,
    key: NameKey,
    sections: Sections,
    hops: Vec<Hop>,
    /// The previous names.
    earlier: Vec<NameKey>,
    /// The query name exists locally.
    exists: bool,
    /// A private zone led here, so that internal addresses are intended.
    private: bool,
    authentic: bool,
    stale: Option<ExtendedError>,
    holdings: Option<Vec<SectionTtl>>,
    rotation: Option<(usize, usize)>,
    end: Option<(ResponseCode, Option<ExtendedError>)>,
}

impl<'v> Chain<'v> {
    /// Starts with a question. `turn` rotates RRsets and selects weighted values; see [`Rrset::pick`].
    pub fn start(view: &'v View, question: &Question, flags: QueryFlags, turn: u64) -> Self {
        Self {
            view,
            rtype: question.rtype,
            flags,
            turn,
            name: question.name.clone(),
            key: question.key.clone(),
            sections: Sections::new(usize::MAX),
            hops: Vec::with_capacity(2),
            earlier: Vec::new(),
            exists: false,
            private: false,
            authentic: true,
            stale: None,
            holdings: Some(Vec::new()),
            rotation: None,
            end: None,
        }
    }

    /// Limits the records to those that fit into a message of `limit` octets; the answer records whether some were
    /// omitted.
    pub fn within(mut self, limit: usize) -> Self {
        let type_and_class = 4;
        self.sections.set_room(limit.saturating_sub(HEADER + self.key.wire().len() + type_and_class));
        self
    }

    /// Continues until the answer is complete or an upstream group must be queried.
    pub fn step(&mut self) -> Step {
        loop {
            if let Some((rcode, error)) = self.end.take() {
                return Step::Done(self.answer(rcode, error));
            }
            if let Some(fetch) = self.hop() {
                return Step::Fetch(fetch);
            }
        }
    }

    /// Supplies the result of the last [`Fetch`]. `ttl` is the remaining TTL; `stale` marks an expired answer (RFC
    /// 8767).
    pub fn supply(&mut self, entry: &CacheDataOf<'_>, ttl: u32, stale: bool) {
        if stale {
            let code = match entry.outcome {
                Outcome::NxDomain => ExtendedError::STALE_NXDOMAIN,
                _ => ExtendedError::STALE_ANSWER,
            };
            self.stale =
                Some(ExtendedError::new(code, "no upstream answered in time; this is a stale answer"));
            self.holdings = None;
        }
        self.authentic &= entry.authentic && !stale;
        let before = self.sections.lengths();
        let addresses = matches!(self.rtype, RecordType::A | RecordType::AAAA);
        let wanted = Wanted {
            name: &self.name,
            rtype: self.rtype,
            dnssec_ok: self.flags.dnssec_ok,
            ttl,
            all: true,
            turn: (addresses && entry.outcome == Outcome::Rrset).then_some(self.turn),
        };
        let inner = |record: &CachedRecord<'_>| is_inner(record.rtype, record.data);
        // signatures stay with their set
        let cleaned = self.bars_inner_addresses() && entry.packed_answers().any(|record| inner(&record));
        let keep = |record: &CachedRecord<'_>| !cleaned || (record.rtype == wanted.rtype && !inner(record));
        let barred = cleaned && !entry.packed_answers().any(|record| keep(&record));
        self.authentic &= !cleaned;
        let wanted = Wanted { all: !cleaned, ..wanted };
        if let Some(count) = self.sections.take(entry, wanted, keep) {
            self.rotation = Some((before.0, count));
        }
        self.hold(before, Some(entry.expires()), Some(entry.refresh_at()));
        match &entry.outcome {
            Outcome::Rrset if barred => {
                let text = "the upstream resolves this name to an internal address; see rebind_protection";
                self.end =
                    Some((ResponseCode::NoError, Some(ExtendedError::new(ExtendedError::BLOCKED, text))));
            }
            Outcome::Rrset | Outcome::NoData => self.finish(ResponseCode::NoError),
            Outcome::NxDomain if self.exists => self.finish(ResponseCode::NoError),
            Outcome::NxDomain => self.finish(ResponseCode::NXDomain),
            Outcome::YxDomain => self.finish(ResponseCode::YXDomain),
            Outcome::Alias(_) if self.rtype == RecordType::CNAME => self.finish(ResponseCode::NoError),
            Outcome::Alias(target) => self.follow(target.clone()),
            Outcome::Failure(FailureCause::Rcode(rcode)) => {
                let (rcode, name) = (show_rcode(*rcode, false), &self.key);
                let text = format!("the upstream answered {rcode} for {name} a moment ago");
                self.fail(ExtendedError::new(ExtendedError::CACHED_ERROR, text));
            }
            Outcome::Failure(FailureCause::TooManyRecords) => {
                let text =
                    format!("the upstream's answer for {} has an RRset above max_rrset_records", self.key);
                self.fail(ExtendedError::new(ExtendedError::CACHED_ERROR, text));
            }
            Outcome::Failure(FailureCause::Unreachable) => {
                let text = format!("no upstream could be reached for {} a moment ago", self.key);
                self.fail(ExtendedError::new(ExtendedError::CACHED_ERROR, text));
            }
        }
    }

    /// The source for each name so far.
    pub fn hops(&self) -> &[Hop] {
        &self.hops
    }

    /// The last [`Fetch`] failed: the whole answer is a failure, never a partial chain with NOERROR.
    pub fn fail(&mut self, error: ExtendedError) {
        self.sections.clear();
        self.stale = None;
        self.end = Some((ResponseCode::ServFail, Some(error)));
    }

    /// The last [`Fetch`] is not allowed, because the query has no RD flag and nothing is cached: the answer consists
    /// of the private data, as from an authoritative server (RFC 1034 section 4.3.2), or is REFUSED without such data.
    pub fn refuse_recursion(&mut self) {
        if self.sections.answers.is_empty() {
            let text = "the query has no RD flag, and the answer is neither private nor cached";
            let error = ExtendedError::new(ExtendedError::NOT_AUTHORITATIVE, text);
            self.end = Some((ResponseCode::Refused, Some(error)));
        } else {
            self.finish(ResponseCode::NoError);
        }
    }

    /// Resolves one hop; returns a fetch if a group must be queried.
    fn hop(&mut self) -> Option<Fetch> {
        if self.earlier.contains(&self.key) {
            self.note(Source::Loop);
            self.finish(ResponseCode::NoError);
            return None;
        }
        if self.hops.len() == MAX_HOPS {
            let text = format!("the chain of CNAMEs has more than {MAX_HOPS} names");
            self.fail(ExtendedError::new(ExtendedError::OTHER, text));
            return None;
        }
        let view = self.view;
        let decision = decide(view, &self.key, self.rtype);
        self.private |= matches!(
            decision,
            Decision::Hosts(_)
                | Decision::Found(..)
                | Decision::Alias(..)
                | Decision::Forward { through: Some(_), .. }
        );
        match decision {
            Decision::Hosts(found) => {
                self.note(Source::Hosts);
                self.authentic = false;
                match found {
                    Some(set) => {
                        self.add(&set);
                        self.finish(ResponseCode::NoError);
                    }
                    // The denial applies only to this name, so the name itself is the zone of the SOA.
                    None => {
                        let soa = synthesised(&RData::SOA(soa_data(1)));
                        self.deny(&self.name.clone(), &soa, NEGATIVE_TTL, false);
                    }
                }
            }
            Decision::Found(zone, set) => {
                self.note(Source::Zone(zone.apex().clone()));
                self.authentic = false;
                self.add(&set);
                self.finish(ResponseCode::NoError);
            }
            Decision::Alias(zone, set) => {
                self.note(Source::Zone(zone.apex().clone()));
                self.authentic = false;
                match self.add(&set) {
                    Some(target) => self.follow(target),
                    None => self.finish(ResponseCode::NoError), // a CNAME set always has a value
                }
            }
            Decision::Unavailable(zone) => {
                self.note(Source::Zone(zone.apex().clone()));
                self.fail(unavailable(zone));
            }
            Decision::Denied(zone, whole_name) => {
                self.note(Source::Zone(zone.apex().clone()));
                self.deny(&zone.name.clone(), &zone.soa(), zone.negative_ttl(), whole_name);
            }
            Decision::Local(local) => {
                self.note(Source::Local(local.zone.clone()));
                self.authentic = false;
                let apex = local.zone.to_name();
                let soa = synthesised(&RData::SOA(soa_data(1)));
                match local.outcome {
                    LocalOutcome::Rrset(set) => {
                        self.add(&set);
                        self.finish(ResponseCode::NoError);
                    }
                    LocalOutcome::NoData => self.deny(&apex, &soa, soa.ttl, false),
                    LocalOutcome::NxDomain => self.deny(&apex, &soa, soa.ttl, true),
                }
            }
            Decision::MinimalAny(zone) => {
                self.note(zone.map_or(Source::Minimal, |zone| Source::Zone(zone.apex().clone())));
                self.authentic = false;
                let hint = RData::HINFO(HINFO::new("RFC8482".into(), String::new()));
                let before = self.sections.lengths();
                self.sections.answer(&self.name, RecordType::HINFO, MINIMAL_TTL, &record::to_wire(&hint));
                self.hold(before, None, None);
                self.finish(ResponseCode::NoError);
            }
            Decision::Forward { rule, through, exists } => {
                let through = through.map(|zone| zone.apex().clone());
                self.note(Source::Forwarded { rule: rule.suffix, group: rule.group, through });
                self.exists = exists;
                let (name, key) = (self.name.clone(), self.key.clone());
                let question = Question { name, key, rtype: self.rtype, class: DNSClass::IN };
                return Some(Fetch::new(rule.group, question, self.flags));
            }
        }
        None
    }

    /// True if internal addresses are removed from the upstream's answer.
    fn bars_inner_addresses(&self) -> bool {
        let by_default =
            matches!(self.hops.last(), Some(Hop { source: Source::Forwarded { rule: None, .. }, .. }));
        !self.private && by_default && self.view.rebinding.bars(&self.key)
    }

    /// Records the TTL of the records added since `before`.
    fn hold(&mut self, before: (usize, usize), expires: Option<Timestamp>, due: Option<Timestamp>) {
        let after = self.sections.lengths();
        let (answers, authority) = (after.0 - before.0, after.1 - before.1);
        if let Some(holdings) = &mut self.holdings {
            holdings.push(SectionTtl { answers, authority, expires, due });
        }
    }

    /// Appends a set under the current name; the target if it was a CNAME.
    fn add(&mut self, set: &Rrset) -> Option<Name> {
        let mut target = None;
        let before = self.sections.lengths();
        match set.order() {
            SetOrder::Fixed => {}
            SetOrder::Rotating => self.rotation = Some((before.0, set.len())),
            SetOrder::Weighted => self.holdings = None,
        }
        if set.rtype == RecordType::CNAME {
            target = set.pick(self.turn).find_map(|data| match data {
                RData::CNAME(cname) => Some(cname.0),
                _ => None,
            });
        }
        self.sections.answers(&self.name, set.rtype, set.ttl, set.pick_wire(self.turn));
        self.hold(before, None, None);
        target
    }

    /// Ends with a negative answer and its SOA.
    fn deny(&mut self, apex: &Name, soa: &Rrset, ttl: u32, whole_name: bool) {
        self.authentic = false;
        let before = self.sections.lengths();
        soa.wire_values().for_each(|data| self.sections.authority(apex, RecordType::SOA, ttl, data));
        self.hold(before, None, None);
        self.finish(if whole_name { ResponseCode::NXDomain } else { ResponseCode::NoError });
    }

    /// Continues with a CNAME's target, from the top.
    fn follow(&mut self, target: Name) {
        let next = NameKey::of(&target);
        self.earlier.push(std::mem::replace(&mut self.key, next));
        self.name = target;
        self.exists = false;
    }

    fn finish(&mut self, rcode: ResponseCode) {
        self.end = Some((rcode, self.stale.take()));
    }

    fn note(&mut self, source: Source) {
        self.hops.push(Hop { name: self.name.clone(), source });
    }

    fn answer(&mut self, rcode: ResponseCode, error: Option<ExtendedError>) -> Answer {
        let answered =
            matches!(rcode, ResponseCode::NoError | ResponseCode::NXDomain | ResponseCode::YXDomain);
        let first = self.hops.first().map(|hop| &hop.source);
        Answer {
            rcode,
            left_out: self.sections.left_out(),
            answers: std::mem::take(&mut self.sections.answers),
            authority: std::mem::take(&mut self.sections.authority),
            authoritative: answered
                && matches!(first, Some(Source::Zone(_) | Source::Hosts | Source::Local(_))),
            authentic: answered && self.authentic,
            error,
            hops: std::mem::take(&mut self.hops),
            holdings: self.holdings.take().filter(|_| answered),
            rotation: self.rotation.filter(|_| answered),
        }
    }
}

/// A dry run of a question without an upstream query: the answers of private zones and special-use names, and the end.
#[derive(Clone, Debug)]
pub struct DryRun {
    /// The names of the chain and the source for each.
    pub hops: Vec<Hop>,
    /// The records of locally answered hops.
    pub records: Vec<Record>,
    /// How it ends.
    pub end: DryRunEnd,
}

/// How a [`DryRun`] ends.
#[derive(Clone, Debug)]
pub enum DryRunEnd {
    /// Locally, with this code.
    Answered(ResponseCode),
    /// At an upstream group.
    Forwarded(Fetch),
}

/// Performs a dry run: for `explain` and for expectations in the configuration.
pub fn dry_run(view: &View, question: &Question) -> DryRun {
    let mut chain = Chain::start(view, question, QueryFlags::default(), 0);
    match chain.step() {
        Step::Done(answer) => DryRun {
            hops: answer.hops,
            records: answer.answers.iter().collect(),
            end: DryRunEnd::Answered(answer.rcode),
        },
        Step::Fetch(fetch) => DryRun {
            hops: chain.hops,
            records: chain.sections.answers.iter().collect(),
            end: DryRunEnd::Forwarded(fetch),
        },
    }
}

/// The reason why a zone does not answer.
fn unavailable(zone: &Zone) -> ExtendedError {
    let (code, text) = match zone.availability {
        ZoneAvailability::Expired => {
            (ExtendedError::INVALID_DATA, "has expired: no primary has confirmed it in time")
        }
        _ => (ExtendedError::NOT_READY, "has not been transferred from a primary yet"),
    };
    ExtendedError::new(code, format!("the secondary zone {} {text}", zone.apex()))
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
