//! Answers that clients were given, and for how long each of them holds. While one holds, whoever asks for no more than it
//! has is answered out of the cache.

use super::book::Book;
use super::client::Asked;
use super::servers::plain_name;
use hickory_proto::op::{Message, ResponseCode};

/// An answer that was given.
#[derive(Clone, Debug)]
pub struct Given {
    /// The question.
    pub asked: Asked,
    /// When it was answered.
    pub at: u64,
    /// Until when it holds, at least.
    pub until: u64,
    /// The name that was asked for does not exist, whatever the type.
    pub denied: bool,
    /// All names in it, in lower case.
    names: Vec<String>,
}

impl Given {
    /// What an answer that is given now promises; nothing for one that may be stale, is cut, or does not end.
    pub fn of(asked: &Asked, answer: &Message, now: u64) -> Option<Self> {
        let denied = match answer.metadata.response_code {
            ResponseCode::NoError => false,
            ResponseCode::NXDomain => answer.answers.is_empty(),
            _ => return None,
        };
        let may_be_stale = asked.payload.is_none() || asked.extended_error(answer).is_some();
        let last = answer.answers.last();
        let ends =
            !answer.authorities.is_empty() || last.is_some_and(|last| last.record_type() == asked.rtype);
        if may_be_stale || answer.metadata.truncation || !ends {
            return None;
        }
        let ttl = answer.answers.iter().chain(&answer.authorities).map(|record| record.ttl).min()?;
        let until = now + u64::from(ttl.saturating_sub(1)) * 1000; // TTLs are rounded up
        let owners = answer.answers.iter().map(|record| plain_name(&record.name));
        let names = owners.chain([asked.name.clone()]).collect();
        Some(Self { asked: asked.clone(), at: now, until, denied, names })
    }

    /// True while it answers another question: of the same name and view, by the same configuration, and with nothing
    /// that a server has said of its names since.
    pub fn answers(&self, book: &Book, other: &Asked) -> bool {
        let mine = &self.asked;
        let same = mine.name == other.name
            && mine.vpc == other.vpc
            && mine.allowed == other.allowed
            && mine.checking_disabled == other.checking_disabled
            && mine.dnssec_ok >= other.dnssec_ok;
        let mut plans = book.plans_between(mine.at, book.now());
        let (Some(plan), None) = (plans.next(), plans.next()) else { return false };
        let verdict = |rtype| plan.decide(mine.vpc, &mine.name, rtype);
        same && (self.at + 1..self.until).contains(&other.at)
            && (mine.rtype == other.rtype || self.denied && verdict(mine.rtype) == verdict(other.rtype))
            && !book.facts.iter().any(|fact| fact.at > self.at && self.names.contains(&fact.name))
    }
}
