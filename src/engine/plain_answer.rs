//! The answer that one entry of the cache alone makes, written for a plain query out of the entry: a set of addresses, or a
//! denial with the SOA of its zone. Such answers need no packet of their own.

use super::cache::{CacheDataOf, Outcome, Timestamp, seconds_left};
use super::cached_packet::PlainQuery;
use super::records::RecordRef;
use super::wire::{MessageWriter, QUESTION_POINTER};
use hickory_proto::rr::RecordType;

/// Octets of a record of the asked-for name before its data: pointer, type, class, TTL and length.
const OWN_HEAD: usize = 12;

/// Octets of the longest address.
const ADDRESS: usize = 16;

/// Octets of our OPT record.
const OPT_ROOM: usize = 11;

/// Octets of the head of a packed record of the asked-for name.
const PACKED_HEAD: usize = 5;

/// How many records an entry's answer to a question of this type has, where it can be written here: addresses, or none
/// beside the SOA record of a denial.
pub fn records(entry: &CacheDataOf<'_>, rtype: RecordType) -> Option<usize> {
    let (answers, authority) = entry.packed();
    match entry.outcome {
        Outcome::Rrset if authority.is_empty() && matches!(rtype, RecordType::A | RecordType::AAAA) => {
            let (own, stride) = entry.alike()?;
            (own == rtype).then_some(answers.len() / stride)
        }
        Outcome::NoData | Outcome::NxDomain => entry.is_bare_denial().then_some(0),
        _ => None,
    }
}

/// Addresses of one name, as an entry has them.
#[derive(Clone, Copy, Debug)]
pub struct Addresses<'e> {
    /// The records, packed, all of one length.
    pub records: &'e [u8],
    /// When they expire.
    pub expires: Timestamp,
    /// They were validated upstream.
    pub authentic: bool,
}

/// Appends the answer to `out`; `turn` rotates several addresses. False when it does not fit `limit` octets: then `out` is
/// as it was. `own_payload` is the UDP size that our OPT record announces.
pub fn write(
    plain: &PlainQuery<'_>,
    entry: &CacheDataOf<'_>,
    (now, turn): (Timestamp, impl FnOnce() -> u64),
    (limit, own_payload): (usize, u16),
    out: &mut Vec<u8>,
) -> bool {
    let (records, authority) = entry.packed();
    let (expires, authentic) = (entry.expires(), entry.authentic);
    if entry.outcome == Outcome::Rrset {
        let addresses = Addresses { records, expires, authentic };
        return write_addresses(plain, &addresses, (now, turn), (limit, own_payload), out);
    }
    let start = out.len();
    if plain.head().len() + authority.len() + OPT_ROOM + PACKED_HEAD + 2 > limit {
        return false;
    }
    let rcode = if entry.outcome == Outcome::NxDomain { 3 } else { 0 };
    begin(plain, authentic, rcode, (0, 1), out);
    write_soa(entry, seconds_left(expires, now).to_be_bytes(), start, out);
    end(plain, own_payload, out);
    true
}

/// [`write()`] for addresses. Most answers are one address: this is the path of every hit, and takes few steps.
pub fn write_addresses(
    plain: &PlainQuery<'_>,
    addresses: &Addresses<'_>,
    (now, turn): (Timestamp, impl FnOnce() -> u64),
    (limit, own_payload): (usize, u16),
    out: &mut Vec<u8>,
) -> bool {
    let records = addresses.records;
    let &[_, type_high, type_low, high, low, ..] = records else { return false };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let stride = PACKED_HEAD + length;
    let count = if records.len() == stride { 1 } else { records.len() / stride };
    let mut record = [0; OWN_HEAD + ADDRESS];
    if length > ADDRESS || plain.head().len() + count * (OWN_HEAD + length) + OPT_ROOM > limit {
        return false;
    }
    begin(plain, addresses.authentic, 0, (count as u16, 0), out); // more do not fit
    let [pointer, question] = QUESTION_POINTER.to_be_bytes();
    let [a, b, c, d] = seconds_left(addresses.expires, now).to_be_bytes();
    record[..OWN_HEAD]
        .copy_from_slice(&[pointer, question, type_high, type_low, 0, 1, a, b, c, d, high, low]);
    let mut put = |data: &[u8]| {
        record[OWN_HEAD..OWN_HEAD + length].copy_from_slice(data);
        out.extend_from_slice(&record[..OWN_HEAD + length]);
    };
    if count == 1 {
        put(&records[PACKED_HEAD..stride]);
    } else {
        let (before, from) = records.split_at(turn() as usize % count * stride);
        for packed in [from, before].into_iter().flat_map(|part| part.chunks_exact(stride)) {
            put(&packed[PACKED_HEAD..]);
        }
    }
    end(plain, own_payload, out);
    true
}

/// Appends header and question; the counts are of the answer and the authority section.
fn begin(plain: &PlainQuery<'_>, authentic: bool, rcode: u8, counts: (u16, u8), out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(plain.head());
    let Some([_, _, flags, more, _, _, high, low, _, authority, ..]) = out.get_mut(start..) else { return };
    // AD only for clients that set AD or DO (RFC 6840 section 5.8)
    let authentic = authentic && (*more & 0x20 != 0 || plain.dnssec_ok);
    *flags = 0x81; // QR, RD
    *more = 0x80 | *more & 0x10 | u8::from(authentic) << 5 | rcode; // RA, CD
    [*high, *low] = counts.0.to_be_bytes();
    *authority = counts.1;
}

/// Appends our OPT record to an answer for a client that sent one.
fn end(plain: &PlainQuery<'_>, own_payload: u16, out: &mut Vec<u8>) {
    if plain.udp_payload.is_some() {
        let [high, low] = own_payload.to_be_bytes();
        out.extend_from_slice(&[0, 0, 41, high, low, 0, 0, u8::from(plain.dnssec_ok) << 7, 0, 0, 0]);
    }
}

/// Appends the SOA record of a denial.
fn write_soa(entry: &CacheDataOf<'_>, ttl: [u8; 4], start: usize, out: &mut Vec<u8>) {
    let Some(soa) = entry.packed_authority().next() else { return };
    let Some(owner) = soa.owner else { return };
    let [a, b, c, d] = ttl;
    let record = RecordRef { owner, same_owner: false, fixed: &[0, 6, 0, 1, a, b, c, d], data: soa.data };
    if start == 0 {
        return MessageWriter::new(out, &[0]).record(&record);
    }
    // places in a message are counted from its beginning
    let mut message = out.split_off(start);
    MessageWriter::new(&mut message, &[0]).record(&record);
    out.append(&mut message);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::cache::{CacheData, QueryFlags};
    use crate::engine::cached_packet::PacketKey;
    use crate::engine::catalog::{Catalog, CatalogSpec};
    use crate::engine::chain::{Chain, Step};
    use crate::engine::name::{NameKey, parse};
    use crate::engine::record::parse_value;
    use crate::engine::reply::{finish, payload_limit};
    use crate::engine::request::{Admission, Request};
    use hickory_proto::rr::Record;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn record(owner: &str, rtype: RecordType, value: &str) -> Record {
        Record::from_rdata(parse(owner).unwrap(), 60, parse_value(rtype, value).unwrap())
    }

    fn entries() -> Vec<(RecordType, CacheData)> {
        let name = NameKey::of(&parse("www.corp.example").unwrap());
        let of = |outcome, answers: &[Record], authority: &[Record], authentic| {
            CacheData::new(outcome, &name, answers, authority, 300, authentic, NOW)
        };
        let a: Vec<Record> =
            (1..=5).map(|i| record("www.corp.example", RecordType::A, &format!("192.0.2.{i}"))).collect();
        let six = [record("www.corp.example", RecordType::AAAA, "2001:db8::1")];
        let soa = crate::engine::zone::soa_data(7);
        let soa =
            [Record::from_rdata(parse("corp.example").unwrap(), 60, hickory_proto::rr::RData::SOA(soa))];
        vec![
            (RecordType::A, of(Outcome::Rrset, &a[..1], &[], false)),
            (RecordType::A, of(Outcome::Rrset, &a, &[], true)),
            (RecordType::AAAA, of(Outcome::Rrset, &six, &[], true)),
            (RecordType::AAAA, of(Outcome::NoData, &[], &soa, false)),
            (RecordType::TXT, of(Outcome::NxDomain, &[], &soa, true)),
        ]
    }

    #[test]
    fn a_client_cannot_tell_it_from_the_long_way() {
        let catalog = Catalog::build(CatalogSpec::default()).unwrap();
        let view = catalog.view([127, 0, 0, 1].into());
        for (rtype, entry) in entries() {
            assert!(records(&entry, rtype).is_some());
            for (flags, opt) in
                [(0, None), (0x20, None), (0x10, Some(0)), (0x30, Some(0x80)), (0, Some(0x80))]
            {
                for turn in 0..6 {
                    let mut packet = vec![7, 8, 1, flags, 0, 1, 0, 0, 0, 0, 0, u8::from(opt.is_some())];
                    packet.extend(b"\x03wWw\x04corp\x07eXample\0");
                    packet.extend(u16::from(rtype).to_be_bytes());
                    packet.extend([0, 1]);
                    if let Some(dnssec_ok) = opt {
                        packet.extend([0, 0, 41, 4, 208, 0, 0, dnssec_ok, 0, 0, 0]);
                    }
                    let later = Timestamp(NOW.0 + 17_500);
                    let Admission::Accept(request, question) = Request::parse(&packet) else { panic!() };
                    let flags = QueryFlags { dnssec_ok: request.dnssec_ok(), ..QueryFlags::default() };
                    let mut chain = Chain::start(view, &question, flags, turn);
                    let answer = loop {
                        match chain.step() {
                            Step::Done(answer) => break answer,
                            Step::Fetch(_) => {
                                chain.supply(&entry, seconds_left(entry.expires(), later), false)
                            }
                        }
                    };
                    let mut key = PacketKey::default();
                    let plain = PlainQuery::at(&packet, 0, &mut key).unwrap();
                    let limit = payload_limit(plain.udp_payload, 1232);
                    for before in [&b""[..], b"octets of the batch before"] {
                        let mut out = before.to_vec();
                        assert!(write(&plain, &entry, (later, || turn), (limit, 1232), &mut out));
                        assert_eq!(&out[before.len()..], finish(&request, &answer, limit, 1232), "{entry:?}");
                        assert!(!write(&plain, &entry, (later, || turn), (60, 1232), &mut out.clone()));
                    }
                }
            }
        }
    }

    #[test]
    fn what_has_more_to_it_is_not_written_here() {
        let name = NameKey::of(&parse("a.example").unwrap());
        let a = record("a.example", RecordType::A, "192.0.2.1");
        let alias = record("a.example", RecordType::CNAME, "b.example");
        let of = |outcome, answers: &[Record], authority: &[Record]| {
            CacheData::new(outcome, &name, answers, authority, 60, false, NOW)
        };
        for entry in [
            of(Outcome::Rrset, &[a.clone(), alias.clone()], &[]),
            of(Outcome::Rrset, std::slice::from_ref(&a), std::slice::from_ref(&a)),
            of(Outcome::Alias(parse("b.example").unwrap()), &[alias], &[]),
            of(Outcome::NxDomain, &[], &[]),
            of(Outcome::NxDomain, &[], std::slice::from_ref(&a)),
            of(Outcome::YxDomain, &[], &[]),
        ] {
            assert_eq!(records(&entry, RecordType::A), None, "{entry:?}");
        }
        assert_eq!(records(&of(Outcome::Rrset, &[a], &[]), RecordType::AAAA), None);
    }
}
