//! What an answer claims, name after name, held against one configuration and against what servers said. The walk
//! itself is the invariant that the chain is right and its code that of its last hop (RFC 6604).

use super::book::{Book, Broken, What};
use super::client::Asked;
use super::plan::{Group, Plan, Verdict};
use super::servers::plain_name;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, Record, RecordType};

/// What one record or denial of an answer rests on.
#[derive(Clone, Debug)]
pub struct Claim {
    /// What it is.
    pub what: String,
    /// The TTL it has.
    pub ttl: u32,
    /// What it rests on.
    pub held: Held,
    /// The answer says that it is an earlier one, or has no way to say so.
    pub may_be_stale: bool,
}

/// What something rests on.
#[derive(Clone, Debug)]
pub enum Held {
    /// A zone: it always has this TTL.
    Always(u32),
    /// A server said so, at these moments with these TTLs.
    Said(Vec<(u64, u32)>),
}

/// The name of the invariant.
const INVARIANT: &str = "the code is that of the last hop";

/// A walk along the chain of an answer.
struct Walk<'w> {
    plan: &'w Plan,
    book: &'w Book,
    asked: &'w Asked,
    answer: &'w Message,
    may_be_stale: bool,
    claims: Vec<Claim>,
}

/// Follows an answer's chain from the question to its end.
///
/// # Errors
/// This is not what the configuration and the servers make of the question.
pub fn follow(plan: &Plan, book: &Book, asked: &Asked, answer: &Message) -> Result<Vec<Claim>, Broken> {
    let may_be_stale = match asked.extended_error(answer) {
        Some(code) => matches!(code, 3 | 19),
        None => asked.payload.is_none(),
    };
    let mut walk = Walk { plan, book, asked, answer, may_be_stale, claims: Vec::new() };
    walk.along().map_err(|why| Broken::new(INVARIANT, why))?;
    Ok(walk.claims)
}

impl Walk<'_> {
    fn along(&mut self) -> Result<(), String> {
        let code = self.answer.metadata.response_code;
        let cut = self.answer.metadata.truncation;
        let mut records = self.answer.answers.as_slice();
        match code {
            ResponseCode::NoError | ResponseCode::NXDomain => {}
            ResponseCode::ServFail => return Ok(()), // another invariant's business
            ResponseCode::Refused if !self.asked.allowed => return Ok(()),
            ResponseCode::Refused if !self.asked.recursion && records.is_empty() => return Ok(()),
            other => return Err(format!("{other:?}")),
        }
        if !self.asked.allowed {
            return Err("an answer for somebody who may not ask".into());
        }
        let (mut at, mut seen) = (self.asked.name.clone(), Vec::new());
        loop {
            if seen.contains(&at) {
                // the chain leads back: it ends with what is there
                return self.ends(records, &at, code, ResponseCode::NoError);
            }
            seen.push(at.clone());
            let own = |record: &Record| plain_name(&record.name) == at;
            let rtype = self.asked.rtype;
            let here = records.iter().take_while(|record| own(record)).count();
            let (mine, rest) = records.split_at(here);
            match self.plan.decide(self.asked.vpc, &at, rtype) {
                _ if cut && mine.is_empty() => return Ok(()), // the rest did not fit
                Verdict::Found(values, ttl) => {
                    self.private(mine, values, ttl, cut)?;
                    return self.ends(rest, &at, code, ResponseCode::NoError);
                }
                Verdict::Alias(target, ttl) => {
                    self.private(mine, &[target.to_string()], ttl, cut)?;
                    (at, records) = (target.to_string(), rest);
                }
                Verdict::Apex => {
                    if mine.is_empty() || mine.iter().any(|record| record.record_type() != rtype) {
                        return Err(format!("{at} has no {rtype}"));
                    }
                    return self.ends(rest, &at, code, ResponseCode::NoError);
                }
                Verdict::Denied(zone, whole) => {
                    let expected = if whole { ResponseCode::NXDomain } else { ResponseCode::NoError };
                    let soa = |record: &Record| plain_name(&record.name) == zone.apex;
                    if !cut && !self.answer.authorities.iter().any(soa) {
                        return Err(format!("{at} is denied without the SOA of {}", zone.apex));
                    }
                    return self.ends(records, &at, code, expected);
                }
                Verdict::Forward(group, exists) => {
                    let Some(target) = self.forwarded(group, &at, mine)? else {
                        return match mine {
                            [] => self.denied(group, &at, exists, code),
                            _ => self.ends(rest, &at, code, ResponseCode::NoError),
                        };
                    };
                    (at, records) = (target, rest);
                }
            }
        }
    }

    /// The chain ends here, with this code.
    fn ends(
        &self,
        rest: &[Record],
        at: &str,
        code: ResponseCode,
        expected: ResponseCode,
    ) -> Result<(), String> {
        if let Some(record) = rest.first() {
            return Err(format!("{record} behind the end of the chain at {at}"));
        }
        if code != expected {
            return Err(format!("{code:?} at {at}, which is {expected:?}"));
        }
        Ok(())
    }

    /// Records of a private zone are the zone's.
    fn private(&mut self, mine: &[Record], values: &[String], ttl: u32, cut: bool) -> Result<(), String> {
        for record in mine {
            let value = value_of(&record.data);
            if !values.contains(&value) {
                return Err(format!("{record}, but the zone has {values:?}"));
            }
            let (what, held) = (record.to_string(), Held::Always(ttl));
            self.claims.push(Claim { what, ttl: record.ttl, held, may_be_stale: false });
        }
        if !cut && mine.len() != values.len() {
            return Err(format!("{} records of {values:?}", mine.len()));
        }
        Ok(())
    }

    /// Records that were forwarded are what the universe said; the target where it is an alias.
    fn forwarded(&mut self, group: &Group, at: &str, mine: &[Record]) -> Result<Option<String>, String> {
        let mut target = None;
        for record in mine {
            let rtype = record.record_type();
            if rtype != self.asked.rtype && rtype != RecordType::CNAME {
                return Err(format!("{record} for a question for {}", self.asked.rtype));
            }
            if let RData::CNAME(cname) = &record.data {
                target = Some(plain_name(&cname.0));
            }
            self.claim(group, at, record, &What::Record(lowered(&record.data)))?;
        }
        if target.is_some() && mine.len() > 1 {
            return Err(format!("{at} has an alias and more"));
        }
        Ok(target)
    }

    /// A name that a universe was asked for, and for which nothing came.
    fn denied(&mut self, group: &Group, at: &str, exists: bool, code: ResponseCode) -> Result<(), String> {
        let rtype = self.asked.rtype;
        // an answer for who resolves the rest by itself
        if !self.asked.recursion && code == ResponseCode::NoError && !self.answer.answers.is_empty() {
            return Ok(());
        }
        let said = |what: What| self.book.said(group, at, &what);
        let (no_data, no_name) = (said(What::NoData(rtype)), said(What::NxDomain));
        let said = match code {
            ResponseCode::NXDomain if exists => return Err(format!("{at} exists")),
            ResponseCode::NXDomain => no_name,
            _ if exists => [no_data, no_name].concat(),
            _ => no_data,
        };
        if said.is_empty() {
            return Err(format!("{code:?} for {at} {rtype}, which none of {group:?} said"));
        }
        let ttl = self.answer.authorities.iter().map(|record| record.ttl).max().unwrap_or(0);
        let (what, may_be_stale) = (format!("{code:?} of {at}"), self.may_be_stale);
        self.claims.push(Claim { what, ttl, held: Held::Said(said), may_be_stale });
        Ok(())
    }

    fn claim(&mut self, group: &Group, at: &str, record: &Record, what: &What) -> Result<(), String> {
        let said = self.book.said(group, at, what);
        if said.is_empty() {
            return Err(format!("{record}, which none of {group:?} ever said"));
        }
        let (what, may_be_stale) = (record.to_string(), self.may_be_stale);
        self.claims.push(Claim { what, ttl: record.ttl, held: Held::Said(said), may_be_stale });
        Ok(())
    }
}

/// A value as a configuration would have it.
fn value_of(data: &RData) -> String {
    match data {
        RData::CNAME(target) => plain_name(&target.0),
        RData::TXT(text) => text.to_string().trim_matches('"').to_string(),
        RData::AAAA(address) => address.0.to_string(),
        other => other.to_string(),
    }
}

/// Names in data compare without case.
fn lowered(data: &RData) -> RData {
    match data {
        RData::CNAME(target) => RData::CNAME(hickory_proto::rr::rdata::CNAME(target.0.to_lowercase())),
        other => other.clone(),
    }
}
