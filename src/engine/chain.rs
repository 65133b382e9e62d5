//! Following a name: a decision for each hop, from the top, until there is an answer.
//!
//! The chain does no I/O. [`Chain::step`] either ends with an [`Answer`] or asks for what an upstream group says
//! of a name ([`Fetch`]); the caller looks into the cache or asks the group, tells the chain with
//! [`Chain::supply`] or [`Chain::fail`], and steps again. The same chain thus serves the server, `explain`,
//! `check` and the tests.

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

/// The most names that one chain may have. Longer chains are errors or attacks.
pub const MAX_HOPS: usize = 16;

/// Seconds for which an RFC 8482 hint may be kept.
const MINIMAL_TTL: u32 = 3600;

/// What is wanted of an upstream group, over the cache.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// The group to ask.
    pub group: GroupKey,
    /// The question for it.
    pub question: Question,
    /// DO and CD of the client, carried along.
    pub flags: QueryFlags,
    /// What the answer is cached under.
    key: CacheKey,
}

impl Fetch {
    /// A question for a group.
    pub fn new(group: GroupKey, question: Question, flags: QueryFlags) -> Self {
        let key = CacheKey::new(group, &question.key, question.rtype, flags);
        Self { group, question, flags, key }
    }

    /// What the answer is cached under.
    pub fn cache_key(&self) -> &CacheKey {
        &self.key
    }

    /// Gives the key away: the fetch is carried out, and only group and question are looked at from now on.
    pub fn take_key(&mut self) -> CacheKey {
        std::mem::take(&mut self.key)
    }
}

/// What comes next.
#[derive(Clone, Debug)]
pub enum Step {
    /// The answer.
    Done(Answer),
    /// Tell the chain what this group says.
    Fetch(Fetch),
}

/// A question on its way to its answer.
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
    /// The names before this one.
    earlier: Vec<NameKey>,
    /// The name asked for exists, whatever the upstream says.
    exists: bool,
    /// A private zone led here, so that inner addresses are what is meant.
    private: bool,
    authentic: bool,
    stale: Option<ExtendedError>,
    holdings: Option<Vec<SectionTtl>>,
    rotation: Option<(usize, usize)>,
    end: Option<(ResponseCode, Option<ExtendedError>)>,
}

impl<'v> Chain<'v> {
    /// Begins at a question. `turn` rotates RRsets and draws weighted values; see [`Rrset::pick`].
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

    /// Brings no more records than a message of `limit` octets can hold; the answer says whether some were left out.
    pub fn within(mut self, limit: usize) -> Self {
        let type_and_class = 4;
        self.sections.set_room(limit.saturating_sub(HEADER + self.key.wire().len() + type_and_class));
        self
    }

    /// Goes on until the answer is there or an upstream group must be heard.
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

    /// What the group of the last [`Fetch`] says. `ttl` is what the records have left; `stale` marks an answer
    /// beyond its life (RFC 8767).
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
        // signatures go with the set that they sign
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

    /// What answered for each name so far.
    pub fn hops(&self) -> &[Hop] {
        &self.hops
    }

    /// The group of the last [`Fetch`] could not tell: the whole answer is a failure, never half a chain that
    /// looks like success.
    pub fn fail(&mut self, error: ExtendedError) {
        self.sections.clear();
        self.stale = None;
        self.end = Some((ResponseCode::ServFail, Some(error)));
    }

    /// The last [`Fetch`] may not be carried out, since the client does not want recursion and nothing is
    /// cached: what the private zones said is the answer, as an authoritative server's is (RFC 1034 section
    /// 4.3.2), and where they said nothing it is refused.
    pub fn refuse_recursion(&mut self) {
        if self.sections.answers.is_empty() {
            let text = "the query has no RD flag, and the answer is neither private nor cached";
            let error = ExtendedError::new(ExtendedError::NOT_AUTHORITATIVE, text);
            self.end = Some((ResponseCode::Refused, Some(error)));
        } else {
            self.finish(ResponseCode::NoError);
        }
    }

    /// Decides one name; a fetch if a group must be heard.
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
                    // The denial is of this name alone, so the name itself is the zone that it is in.
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

    /// True when inner addresses are taken out of what the upstreams just said.
    fn bars_inner_addresses(&self) -> bool {
        let by_default =
            matches!(self.hops.last(), Some(Hop { source: Source::Forwarded { rule: None, .. }, .. }));
        !self.private && by_default && self.view.rebinding.bars(&self.key)
    }

    /// Notes how long the records that came since `before` hold.
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

    /// Ends with a denial and the SOA that goes with it.
    fn deny(&mut self, apex: &Name, soa: &Rrset, ttl: u32, whole_name: bool) {
        self.authentic = false;
        let before = self.sections.lengths();
        soa.wire_values().for_each(|data| self.sections.authority(apex, RecordType::SOA, ttl, data));
        self.hold(before, None, None);
        self.finish(if whole_name { ResponseCode::NXDomain } else { ResponseCode::NoError });
    }

    /// Goes on with a CNAME's target, from the top.
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

/// The path of a question without a query: what private zones and special names say, and where it ends.
#[derive(Clone, Debug)]
pub struct DryRun {
    /// The names of the chain and what answers for each.
    pub hops: Vec<Hop>,
    /// The records of the hops that are answered here.
    pub records: Vec<Record>,
    /// Where it ends.
    pub end: DryRunEnd,
}

/// Where an [`DryRun`] ends.
#[derive(Clone, Debug)]
pub enum DryRunEnd {
    /// Here, with this code.
    Answered(ResponseCode),
    /// At an upstream group, which has the last word.
    Forwarded(Fetch),
}

/// Outlines a question: for `explain` and for expectations in the configuration.
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

/// Why a zone does not answer.
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
