//! What a server answered, in a form that two servers can be compared by.
//!
//! Names and records are compared without regard to case and to the order within an RRset. TTLs count down in caches,
//! so that only a TTL above ours, where ours is the configured one, tells something.

use crate::engine::rcode::show_rcode;
use crate::engine::sort;
use crate::engine::text::TextSections;
use serde::Serialize;

/// The flag of an answer from authority.
const AA: u16 = 0x400;

/// An RRset of an answer section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ComparedSet {
    /// The owner, in lower case, without the final dot.
    pub(super) name: String,
    /// The type.
    #[serde(rename = "type")]
    pub(super) rtype: String,
    /// Seconds; the lowest of its records.
    pub(super) ttl: u32,
    /// The values, sorted.
    pub(super) values: Vec<String>,
}

/// The SOA record of a denial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Soa {
    /// The zone.
    pub(super) zone: String,
    /// The record's own TTL, in seconds.
    pub(super) ttl: u32,
    /// Its last field: the bound on the TTL of denials, in seconds.
    pub(super) minimum: u32,
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct ComparedAnswer {
    /// The code; NODATA for NOERROR without records.
    pub(super) code: String,
    /// The answer section: the chain in its order.
    pub(super) chain: Vec<ComparedSet>,
    /// The SOA record in the authority section.
    pub(super) soa: Option<Soa>,
    /// It claims authority.
    pub(super) aa: bool,
}

/// In what two answers differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum AnswerDifference {
    /// The code.
    Code,
    /// Names, types or values of the answer section.
    Chain,
    /// A TTL that is longer than ours.
    Ttl,
    /// The SOA record of a denial.
    Soa,
    /// The AA flag.
    Aa,
}

impl AnswerDifference {
    /// True where a client sees other data, and not only another TTL or flag.
    pub(super) fn is_of_data(self) -> bool {
        matches!(self, Self::Code | Self::Chain)
    }

    /// As it is printed.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Chain => "chain",
            Self::Ttl => "ttl",
            Self::Soa => "soa",
            Self::Aa => "aa",
        }
    }
}

impl ComparedAnswer {
    /// Of a message.
    pub(super) fn of(message: &TextSections) -> Self {
        let mut chain: Vec<ComparedSet> = Vec::new();
        for entry in &message.answers {
            let (name, rtype) = (plain(&entry.owner()), entry.type_name());
            let value = match rtype.as_str() {
                "CNAME" | "DNAME" | "NS" | "PTR" | "MX" | "SRV" | "SOA" => plain(&entry.value()),
                _ => entry.value(),
            };
            match chain.last_mut().filter(|set| set.name == name && set.rtype == rtype) {
                Some(set) => {
                    set.ttl = set.ttl.min(entry.ttl);
                    set.values.push(value);
                }
                None => chain.push(ComparedSet { name, rtype, ttl: entry.ttl, values: vec![value] }),
            }
        }
        chain.iter_mut().for_each(|set| sort::ascending(&mut set.values));
        let soa = message.authorities.iter().find(|entry| entry.type_name() == "SOA").map(|entry| Soa {
            zone: plain(&entry.owner()),
            ttl: entry.ttl,
            minimum: entry.value().rsplit(' ').next().and_then(|last| last.parse().ok()).unwrap_or(0),
        });
        Self {
            code: show_rcode(message.rcode.into(), message.answers.is_empty()),
            chain,
            soa,
            aa: message.flags & AA != 0,
        }
    }

    /// In what another server's answer differs from this one. TTL, SOA and AA are compared where this one is from
    /// authority: elsewhere they are the public DNS's and the caches'.
    pub(super) fn differences(&self, other: &Self) -> Vec<AnswerDifference> {
        let mut found = Vec::new();
        if self.code != other.code {
            found.push(AnswerDifference::Code);
        }
        if self.records() != other.records() {
            found.push(AnswerDifference::Chain);
        } else if self.aa && self.chain.iter().zip(&other.chain).any(|(ours, theirs)| theirs.ttl > ours.ttl) {
            found.push(AnswerDifference::Ttl);
        }
        if !self.aa || !found.is_empty() {
            return found;
        }
        let soa = |answer: &Self| answer.soa.as_ref().map(|soa| (soa.zone.clone(), soa.minimum));
        if soa(self) != soa(other) {
            found.push(AnswerDifference::Soa);
        }
        if self.aa != other.aa {
            found.push(AnswerDifference::Aa);
        }
        found
    }

    /// The answer section without its TTLs.
    fn records(&self) -> Vec<(&str, &str, &[String])> {
        self.chain.iter().map(|set| (&*set.name, &*set.rtype, &*set.values)).collect()
    }

    /// The answer in one line: the code, or the chain's ends.
    pub(super) fn brief(&self) -> String {
        let steps = self.chain.iter().map(|set| format!("{} {}", set.rtype, set.values.join(", ")));
        let steps = steps.collect::<Vec<_>>().join(" -> ");
        match self.code.as_str() {
            "NOERROR" => steps,
            code if steps.is_empty() => code.to_string(),
            code => format!("{steps} -> {code}"),
        }
    }
}

/// Lower case, without the final dot.
fn plain(text: &str) -> String {
    text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: &str, aa: bool, chain: &[(&str, &str, u32, &[&str])]) -> ComparedAnswer {
        let set = |&(name, rtype, ttl, values): &(&str, &str, u32, &[&str])| ComparedSet {
            name: name.into(),
            rtype: rtype.into(),
            ttl,
            values: values.iter().map(ToString::to_string).collect(),
        };
        ComparedAnswer { code: code.into(), aa, soa: None, chain: chain.iter().map(set).collect() }
    }

    #[test]
    fn an_answer_that_aged_in_a_cache_is_the_same_and_one_that_lives_longer_is_not() {
        let ours = answer("NOERROR", true, &[("a.test", "A", 60, &["192.0.2.1"])]);
        let at = |ttl| answer("NOERROR", true, &[("a.test", "A", ttl, &["192.0.2.1"])]);
        assert_eq!(ours.differences(&at(7)), []);
        assert_eq!(ours.differences(&at(61)), [AnswerDifference::Ttl]);
        let forwarded = answer("NOERROR", false, &[("a.test", "A", 60, &["192.0.2.1"])]);
        assert_eq!(forwarded.differences(&at(600)), [], "the cache of either may be older");
    }

    #[test]
    fn code_and_chain_are_told_apart() {
        let ours = answer("NODATA", true, &[]);
        assert_eq!(ours.differences(&answer("NXDOMAIN", false, &[])), [AnswerDifference::Code]);
        let other = answer("NOERROR", false, &[("a.test", "A", 60, &["192.0.2.1"])]);
        assert_eq!(ours.differences(&other), [AnswerDifference::Code, AnswerDifference::Chain]);
        assert!(ours.differences(&other).iter().all(|difference| difference.is_of_data()));
    }

    #[test]
    fn soa_and_aa_count_where_ours_is_from_authority() {
        let soa = |zone: &str| Some(Soa { zone: zone.into(), ttl: 60, minimum: 60 });
        let ours = ComparedAnswer { soa: soa("a.test"), ..answer("NXDOMAIN", true, &[]) };
        let theirs = ComparedAnswer { soa: soa("test"), ..answer("NXDOMAIN", false, &[]) };
        assert_eq!(ours.differences(&theirs), [AnswerDifference::Soa, AnswerDifference::Aa]);
        assert_eq!(theirs.differences(&ours), []);
    }
}
