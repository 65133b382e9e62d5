//! Scrubs an upstream's answer: selects the accepted records.
//!
//! A forwarder accepts the chain for the question and the SOA of a negative answer, and nothing else. The chain is read
//! hop by hop, one entry each; it ends at a name that belongs to another source, so that an upstream cannot supply data
//! for a private name or a name of another rule.

use super::cache::{CacheData, Outcome, Timestamp, TtlPolicy, pack_own};
use super::decode;
use super::message::{MessageCursor, SectionCounts};
use super::name::{self, NameKey};
use super::request::Question;
use super::sort;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::BinDecodable;

/// Seconds for which a negative answer without an SOA is cached, because it has no TTL (RFC 2308 section 5 would not
/// cache it, but then each query would go to the upstream).
const NO_SOA_TTL: u32 = 5;

/// The longest chain that is read from one message.
const MAX_HOPS: usize = 16;

/// RRSIG (RFC 4034); without validation the message library keeps it as opaque octets.
const RRSIG: u16 = 46;
/// NSEC (RFC 4034).
const NSEC: u16 = 47;
/// NSEC3 (RFC 5155).
const NSEC3: u16 = 50;
/// DNAME (RFC 6672).
const DNAME: u16 = 39;

/// Reads the entries of a message that [`is_verdict`]. `in_bailiwick` returns for each CNAME target whether it belongs
/// to the same group; records after the first target that does not are ignored.
///
/// # Errors The message is unusable: a referral, or too many records.
pub fn entries(
    message: &Message,
    question: &Question,
    lifetimes: &TtlPolicy,
    now: Timestamp,
    mut in_bailiwick: impl FnMut(&NameKey) -> bool,
) -> Result<Vec<(NameKey, CacheData)>, Unusable> {
    let reader = MessageReader { message, lifetimes, now };
    let mut hops: Vec<(NameKey, CacheData)> = Vec::new();
    let mut name = question.key.clone();
    while hops.len() < MAX_HOPS {
        // the alias itself answers a CNAME question, with its DNAME if any
        let is_alias = question.rtype == RecordType::CNAME;
        if !is_alias && let Some(entry) = reader.rrset(&name, question.rtype)? {
            hops.push((name, entry));
            break;
        }
        if let Some((entry, target)) = reader.alias(&name)? {
            hops.push((name, entry));
            if is_alias || hops.iter().any(|(seen, _)| *seen == target) || !in_bailiwick(&target) {
                break;
            }
            name = target;
            continue;
        }
        if let Some(entry) = reader.too_long(&name)? {
            hops.push((name, entry));
        } else if let Some(entry) = reader.denial(&name, hops.is_empty())? {
            hops.push((name, entry));
        }
        break;
    }
    Ok(hops)
}

/// The entry of a plain answer, read in place: NOERROR, all answers of the query type at the query name, of a type
/// whose data are copied unchanged. None for other answers, which [`entries`] reads. The caller has compared id and
/// question.
pub fn parse_plain(
    reply: &[u8],
    question_end: usize,
    rtype: RecordType,
    lifetimes: &TtlPolicy,
    now: Timestamp,
) -> Option<CacheData> {
    let addresses = matches!(rtype, RecordType::A | RecordType::AAAA);
    if !(addresses || decode::is_opaque(rtype)) || reply.get(3)? & 0x0f != 0 {
        return None;
    }
    let counts = SectionCounts::of(reply)?;
    let count = counts.answers;
    if usize::from(count) > lifetimes.max_rrset_records {
        return None;
    }
    let mut packed = Vec::with_capacity(usize::from(count.min(64)) * 9);
    let mut ttl = u32::MAX;
    let mut cursor = MessageCursor::new(reply, question_end);
    for _ in 0..count {
        // the question's name, as a pointer to it, and class IN
        let &[0xc0, 12, type_high, type_low, 0, 1, a, b, c, d, high, low] = cursor.chunk()? else {
            return None;
        };
        if u16::from_be_bytes([type_high, type_low]) != u16::from(rtype) {
            return None;
        }
        ttl = ttl.min(valid(u32::from_be_bytes([a, b, c, d])));
        let data = cursor.take(usize::from(u16::from_be_bytes([high, low])))?;
        match rtype {
            RecordType::A if data.len() != 4 => return None,
            RecordType::AAAA if data.len() != 16 => return None,
            _ => {}
        }
        pack_own(&mut packed, rtype, data);
    }
    // no part of a truncated message is accepted
    let others = u32::from(counts.authorities) + u32::from(counts.additionals);
    if count == 0 || !ends_with_records(cursor, others) {
        return None;
    }
    let ttl = ttl.clamp(lifetimes.min_ttl.min(lifetimes.max_ttl), lifetimes.max_ttl);
    let addresses = packed.len() / usize::from(count); // of one length
    let apart = match (count, rtype) {
        (1, _) => true,
        (2..=8, RecordType::A | RecordType::AAAA) => {
            let mut rest = packed.chunks_exact(addresses);
            std::iter::from_fn(|| rest.next().map(|one| !rest.clone().any(|other| one == other)))
                .all(|apart| apart)
        }
        _ => false,
    };
    let entry = CacheData::restore(Outcome::Rrset, now, ttl, reply[3] & 0x20 != 0, (packed, &[][..]));
    (apart || !entry.repeats_itself()).then_some(entry)
}

/// True when this many records follow, and nothing behind them. It takes the cursor by value: that of its caller stays in
/// registers.
fn ends_with_records(mut cursor: MessageCursor<'_>, count: u32) -> bool {
    (0..count).all(|_| cursor.record().is_some()) && cursor.is_done()
}

/// True for a referral: its server does not offer recursion.
pub fn is_referral(message: &Message) -> bool {
    let has = |rtype| message.authorities.iter().any(|record| record.record_type() == rtype);
    message.response_code == ResponseCode::NoError
        && message.answers.is_empty()
        && !message.authoritative
        && has(RecordType::NS)
        && !has(RecordType::SOA)
}

/// True for a message about the query name: NOERROR, NXDOMAIN, and YXDOMAIN, which answers a name that a DNAME makes
/// too long (RFC 6672 section 2.2).
pub fn is_verdict(message: &Message) -> bool {
    let rcode = message.response_code;
    matches!(rcode, ResponseCode::NoError | ResponseCode::NXDomain | ResponseCode::YXDomain)
}

/// Why a message does not answer its question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It has answers, but not for the query name.
    Unrelated,
    /// It is a referral: the server does not offer recursion.
    Referral,
    /// An RRset, or all proofs together, exceed the limit of records.
    TooManyRecords,
}

/// The parts of a message that the scrubber uses.
struct MessageReader<'a> {
    message: &'a Message,
    lifetimes: &'a TtlPolicy,
    now: Timestamp,
}

impl MessageReader<'_> {
    /// Records of the answer section at a name, selected by `pick`, with the signatures over `covered`.
    fn answers_at(&self, name: &NameKey, rtype: RecordType) -> Vec<Record> {
        let mut records: Vec<Record> = Vec::new();
        for record in &self.message.answers {
            let wanted = record.record_type() == rtype || covers(record, rtype);
            if wanted && record.dns_class == DNSClass::IN && NameKey::of(&record.name) == *name {
                records.push(record.clone());
            }
        }
        if records.iter().any(|record| record.record_type() == rtype) { records } else { Vec::new() }
    }

    /// DNSSEC records of the authority section at or above a name's zone: proofs of wildcard and negative answers.
    fn proofs(&self, with_soa: bool, name: &NameKey) -> Vec<Record> {
        let is_soa = |record: &Record| {
            record.record_type() == RecordType::SOA && name.is_within(&NameKey::of(&record.name))
        };
        let soa = self.message.authorities.iter().find(|record| is_soa(record));
        let zone = soa.map(|record| NameKey::of(&record.name));
        let mut kept = Vec::new();
        for record in &self.message.authorities {
            let inside = zone.as_ref().is_none_or(|zone| NameKey::of(&record.name).is_within(zone));
            // a signature is kept only with its records: one over omitted NS records cannot be validated
            let signs = |rtype: u16| covers(record, RecordType::from(rtype));
            let proof =
                matches!(u16::from(record.record_type()), NSEC | NSEC3) || signs(NSEC) || signs(NSEC3);
            let denial = with_soa && (is_soa(record) || covers(record, RecordType::SOA));
            if (proof || denial) && inside && record.dns_class == DNSClass::IN {
                kept.push(record.clone());
            }
        }
        kept
    }

    /// Checks records of one name, or all proofs, against the limit for each type.
    fn bounded(&self, records: &[Record]) -> Result<(), Unusable> {
        let most = self.lifetimes.max_rrset_records;
        if records.len() <= most {
            return Ok(());
        }
        let of = |rtype| records.iter().filter(|record| record.record_type() == rtype).count();
        let mut types: Vec<RecordType> = records.iter().map(Record::record_type).collect();
        sort::ascending(&mut types);
        types.dedup();
        match types.into_iter().all(|rtype| of(rtype) <= most) {
            true => Ok(()),
            false => Err(Unusable::TooManyRecords),
        }
    }

    fn rrset(&self, name: &NameKey, rtype: RecordType) -> Result<Option<CacheData>, Unusable> {
        let records = self.answers_at(name, rtype);
        let Some(ttl) = lowest_ttl(&records) else { return Ok(None) };
        let (ttl, proofs) = (self.clamp(ttl), self.proofs(false, name));
        self.bounded(&records).and_then(|()| self.bounded(&proofs))?;
        Ok(Some(CacheData::new(Outcome::Rrset, name, &records, &proofs, ttl, self.authentic(), self.now)))
    }

    /// The alias of a name: a CNAME, or one synthesised from a DNAME above it (RFC 6672 section 3.1). The entry
    /// includes the DNAME.
    fn alias(&self, name: &NameKey) -> Result<Option<(CacheData, NameKey)>, Unusable> {
        let mut records = self.answers_at(name, RecordType::CNAME);
        let mut all = self.dnames_above(name);
        let led = |dname: &Record| Some((substitute(name, dname)?.ok()?, dname.ttl));
        let target = match (records.iter().find_map(target_of), all.iter().find_map(led)) {
            (Some(target), _) => target,
            (None, Some((target, ttl))) => {
                let cname = RData::CNAME(CNAME(target.clone()));
                records = vec![Record::from_rdata(name.to_name(), ttl, cname)];
                target
            }
            (None, None) => return Ok(None),
        };
        // more than one CNAME is an error of the zone (RFC 2181 section 10.1): the first is used
        let mut seen = false;
        records.retain(|record| {
            record.record_type() != RecordType::CNAME || !std::mem::replace(&mut seen, true)
        });
        all.append(&mut records);
        let Some(ttl) = lowest_ttl(&all) else { return Ok(None) };
        let (ttl, proofs) = (self.clamp(ttl), self.proofs(false, name));
        self.bounded(&all).and_then(|()| self.bounded(&proofs))?;
        let outcome = Outcome::Alias(target.clone());
        let entry = CacheData::new(outcome, name, &all, &proofs, ttl, self.authentic(), self.now);
        Ok(Some((entry, NameKey::of(&target))))
    }

    /// A name that a DNAME makes too long: reported by the server, or detected here.
    fn too_long(&self, name: &NameKey) -> Result<Option<CacheData>, Unusable> {
        let dnames = self.dnames_above(name);
        let found = dnames.iter().any(|dname| substitute(name, dname) == Some(Err(TooLong)));
        if !found && self.message.response_code != ResponseCode::YXDomain {
            return Ok(None);
        }
        let ttl = lowest_ttl(&dnames).map_or(NO_SOA_TTL, |ttl| self.clamp(ttl));
        let proofs = self.proofs(false, name);
        self.bounded(&dnames).and_then(|()| self.bounded(&proofs))?;
        Ok(Some(CacheData::new(Outcome::YxDomain, name, &dnames, &proofs, ttl, self.authentic(), self.now)))
    }

    /// The DNAMEs above a name in the answer section, with their signatures.
    fn dnames_above(&self, name: &NameKey) -> Vec<Record> {
        let dname = RecordType::from(DNAME);
        let above = self.message.answers.iter().filter(|record| {
            let dname = record.record_type() == dname || covers(record, dname);
            let owner = NameKey::of(&record.name);
            dname && record.dns_class == DNSClass::IN && owner != *name && name.is_within(&owner)
        });
        above.cloned().collect()
    }

    /// The negative entry for a name without (further) records; None if the chain only ends here.
    fn denial(&self, name: &NameKey, first: bool) -> Result<Option<CacheData>, Unusable> {
        let authority = self.proofs(true, name);
        self.bounded(&authority)?;
        let soa = authority.iter().find_map(|record| match &record.data {
            RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
            _ => None,
        });
        let nxdomain = self.message.response_code == ResponseCode::NXDomain;
        if soa.is_none() && !nxdomain {
            if !first {
                return Ok(None);
            }
            if is_referral(self.message) {
                return Err(Unusable::Referral);
            }
            if !self.message.answers.is_empty() {
                return Err(Unusable::Unrelated);
            }
        }
        let outcome = if nxdomain { Outcome::NxDomain } else { Outcome::NoData };
        let ttl = valid(soa.unwrap_or(NO_SOA_TTL)).min(self.lifetimes.negative_max_ttl);
        Ok(Some(CacheData::new(outcome, name, &[], &authority, ttl, self.authentic(), self.now)))
    }

    fn authentic(&self) -> bool {
        self.message.authentic_data
    }

    fn clamp(&self, ttl: u32) -> u32 {
        ttl.clamp(self.lifetimes.min_ttl.min(self.lifetimes.max_ttl), self.lifetimes.max_ttl)
    }
}

/// True for a signature over records of this type.
fn covers(record: &Record, rtype: RecordType) -> bool {
    octets(record, RRSIG).is_some_and(|data| data.first_chunk() == Some(&u16::from(rtype).to_be_bytes()))
}

/// The data of a record of this type, if stored as octets.
fn octets(record: &Record, rtype: u16) -> Option<&[u8]> {
    match &record.data {
        RData::Unknown { code, rdata } if u16::from(*code) == rtype => Some(&rdata.anything),
        _ => None,
    }
}

fn target_of(record: &Record) -> Option<Name> {
    match &record.data {
        RData::CNAME(cname) => Some(cname.0.clone()),
        _ => None,
    }
}

/// A name would have more than 255 octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TooLong;

/// The target of a name below a DNAME (RFC 6672 section 2.2); None for another record.
fn substitute(name: &NameKey, record: &Record) -> Option<Result<Name, TooLong>> {
    let target = octets(record, DNAME)?;
    if name::wire_length(target)? != target.len() {
        return None;
    }
    let kept = name.wire().len().checked_sub(NameKey::of(&record.name).wire().len())?;
    let wire = [&name.wire()[..kept], target].concat();
    Some(if wire.len() > 255 { Err(TooLong) } else { Name::from_bytes(&wire).map_err(|_| TooLong) })
}

/// RFC 2181 section 8: a TTL with its highest bit set means zero.
fn valid(ttl: u32) -> u32 {
    if ttl > i32::MAX as u32 { 0 } else { ttl }
}

fn lowest_ttl(records: &[Record]) -> Option<u32> {
    records.iter().map(|record| valid(record.ttl)).min()
}

#[cfg(test)]
#[path = "response_tests.rs"]
mod tests;
