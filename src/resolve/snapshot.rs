//! The saved cache: a file in the state directory, written and loaded as a whole.
//!
//! It is written to a temporary file and renamed, has a checksum, and is ignored if anything in it is invalid. It
//! contains only upstream answers: private answers are not cached and therefore never written.

use super::cache::AnswerCache;
use crate::base::file;
use crate::engine::cache::{CacheData, CacheDataOf, CacheKey, Outcome, Timestamp};
use crate::engine::name::{self, NameKey};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The name of the file in the state directory.
pub const FILE: &str = "cache.snapshot";

/// The magic number of the file; the last octet is the version of its format.
const MAGIC: &[u8; 8] = b"pvtzdsn\x02";

/// Maximum octets of the file.
const LARGEST: u64 = 1 << 30;

/// Why a snapshot was not loaded.
#[derive(Debug)]
pub enum SnapshotError {
    /// An I/O error.
    Io(io::Error),
    /// It is invalid, with the reason.
    Odd(&'static str),
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Odd(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for SnapshotError {}

impl From<io::Error> for SnapshotError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Writes the entries that are fresh or can be served stale; returns their number.
///
/// # Errors The file cannot be written; the former one is unchanged.
pub fn write(cache: &AnswerCache, directory: &Path, now: Timestamp) -> io::Result<usize> {
    let mut body = Vec::new();
    let mut count = 0;
    for slot in cache.entries() {
        if !slot.is_failure() {
            encode(&mut body, &slot.key(), &slot.entry(), now);
            count += 1;
        }
    }
    let mut bytes = Vec::with_capacity(body.len() + 32);
    bytes.extend(MAGIC);
    bytes.extend(unix_millis().to_be_bytes());
    bytes.extend((body.len() as u64).to_be_bytes());
    bytes.extend(&body);
    bytes.extend(checksum(&bytes).to_be_bytes());
    let (path, beside) = (directory.join(FILE), directory.join(format!("{FILE}.new")));
    let written = File::create(&beside).and_then(|mut file| {
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&beside, &path)
    });
    if written.is_err() {
        let _ = fs::remove_file(&beside); // a partial file would use space on a full disk
    }
    written.map(|()| count)
}

/// Loads a snapshot into an empty cache; returns the number of entries. A missing file is an empty snapshot.
///
/// # Errors The file cannot be read or is invalid; the cache is unchanged.
pub fn read(cache: &AnswerCache, directory: &Path, now: Timestamp) -> Result<usize, SnapshotError> {
    let bytes = match file::read(&directory.join(FILE), LARGEST) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    let entries = decode(&bytes, now, unix_millis())?;
    let count = entries.len();
    for (key, mut entry) in entries {
        // the limits may have changed
        entry.ttl = cache.lifetimes.bound(&entry.outcome, entry.ttl);
        if entry.ttl > 0 {
            cache.insert(key, entry, now);
        }
    }
    Ok(count)
}

/// All entries of the snapshot in `bytes`; none if anything is invalid.
///
/// # Errors The reason why it is invalid.
pub fn decode(
    bytes: &[u8],
    now: Timestamp,
    unix_now: u64,
) -> Result<Vec<(CacheKey, CacheData)>, SnapshotError> {
    let odd = SnapshotError::Odd;
    let (content, sum) = bytes.split_last_chunk::<8>().ok_or(odd("it is truncated"))?;
    if checksum(content) != u64::from_be_bytes(*sum) {
        return Err(odd("its checksum does not match"));
    }
    let mut reader = SnapshotReader(content);
    if reader.take(8) != Some(MAGIC) {
        return Err(odd("it was written by another version"));
    }
    let (Some(written), Some(length)) = (reader.u64(), reader.u64()) else {
        return Err(odd("it is truncated"));
    };
    if length != reader.0.len() as u64 {
        return Err(odd("it is truncated"));
    }
    // A wall clock that was set back would make answers appear too young.
    let off = unix_now.checked_sub(written).ok_or(odd("its timestamp is in the future"))?;
    let mut entries = Vec::new();
    while !reader.0.is_empty() {
        let entry = entry(&mut reader, now, off).ok_or(odd("an entry in it is invalid"))?;
        entries.push(entry);
    }
    Ok(entries)
}

/// One entry: lengths and key, age in milliseconds, TTL, bits (AD, fetched with DO), outcome, packed records.
fn encode(body: &mut Vec<u8>, key: &CacheKey, entry: &CacheDataOf<'_>, now: Timestamp) {
    let (code, target) = match &entry.outcome {
        Outcome::Rrset => (0, None),
        Outcome::Alias(target) => (1, Some(target)),
        Outcome::NoData => (2, None),
        Outcome::NxDomain => (3, None),
        Outcome::YxDomain => (4, None),
        Outcome::Failure(_) => return,
    };
    body.extend((key.bytes().len() as u16).to_be_bytes());
    body.extend(key.bytes());
    body.extend(now.since(entry.stored).to_be_bytes());
    body.extend(entry.ttl.to_be_bytes());
    body.push(u8::from(entry.authentic) | u8::from(entry.dnssec) << 1);
    body.push(code);
    if let Some(target) = target {
        body.extend(NameKey::of(target).wire());
    }
    let (answers, authority) = entry.packed();
    for packed in [answers, authority] {
        body.extend((packed.len() as u32).to_be_bytes());
        body.extend(packed);
    }
}

fn entry(reader: &mut SnapshotReader<'_>, now: Timestamp, off: u64) -> Option<(CacheKey, CacheData)> {
    let length = usize::from(reader.u16()?);
    let key = CacheKey::from_bytes(reader.take(length)?)?;
    let age = reader.u64()?.checked_add(off)?;
    let ttl = reader.u32()?;
    let &[bits @ 0..4] = reader.take(1)? else { return None };
    let outcome = match reader.take(1)? {
        [0] => Outcome::Rrset,
        [1] => {
            let length = name::wire_length(reader.0)?;
            Outcome::Alias(NameKey::of_suffix(reader.take(length)?).to_name())
        }
        [2] => Outcome::NoData,
        [3] => Outcome::NxDomain,
        [4] => Outcome::YxDomain,
        _ => return None,
    };
    let length = reader.u32()? as usize;
    let answers = reader.take(length)?;
    let length = reader.u32()? as usize;
    let authority = reader.take(length)?;
    let stored = Timestamp(now.0.checked_sub(age)?);
    let mut entry =
        CacheData::restore(outcome, stored, ttl, bits & 1 != 0, (answers.to_vec(), authority.to_vec()));
    entry.dnssec = bits & 2 != 0;
    Some((key, entry))
}

/// Takes octets off the front.
struct SnapshotReader<'a>(&'a [u8]);

impl<'a> SnapshotReader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(*self.take(2)?.first_chunk()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(*self.take(4)?.first_chunk()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(*self.take(8)?.first_chunk()?))
    }
}

/// FNV-1a protects against accidental damage only; the state directory belongs to pvtzd.
fn checksum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn unix_millis() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::cache::{FailureCause, Freshness, QueryFlags, TtlPolicy};
    use crate::engine::catalog::GroupKey;
    use crate::engine::name::parse;
    use crate::engine::record::parse_value;
    use hickory_proto::rr::{Record, RecordType};
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp(1 << 42);

    fn key(name: &str) -> CacheKey {
        CacheKey::new(GroupKey(3), &NameKey::of(&parse(name).unwrap()), RecordType::A, QueryFlags::default())
    }

    fn filled() -> AnswerCache {
        let cache = AnswerCache::new(1 << 20, TtlPolicy::default());
        let owner = NameKey::of(&parse("www.example").unwrap());
        let a = Record::from_rdata(
            parse("www.example").unwrap(),
            60,
            parse_value(RecordType::A, "192.0.2.1").unwrap(),
        );
        cache.insert(
            key("www.example"),
            CacheData::new(Outcome::Rrset, &owner, &[a], &[], 60, true, NOW),
            NOW,
        );
        let alias = Outcome::Alias(parse("Target.example").unwrap());
        cache.insert(key("alias.example"), CacheData::new(alias, &owner, &[], &[], 300, false, NOW), NOW);
        cache.insert(
            key("nx.example"),
            CacheData::new(Outcome::NxDomain, &owner, &[], &[], 90, false, NOW),
            NOW,
        );
        cache.insert(key("f.example"), CacheData::failure(FailureCause::Unreachable, 5, NOW), NOW);
        cache
    }

    #[test]
    fn entries_survive_and_have_aged() {
        let directory = tempfile::tempdir().unwrap();
        let later = Timestamp(NOW.0 + 10_000);
        assert_eq!(write(&filled(), directory.path(), later).unwrap(), 3, "failures are not kept");
        let cache = AnswerCache::new(1 << 20, TtlPolicy::default());
        assert_eq!(read(&cache, directory.path(), Timestamp(NOW.0 + 99)).unwrap(), 3);
        let (slot, worth) = cache.get(&key("www.example"), Timestamp(NOW.0 + 99)).unwrap();
        assert!(matches!(worth, Freshness::Fresh(49..=50)), "{worth:?}");
        assert!(slot.entry().authentic);
        assert_eq!(slot.entry().answers(&parse("www.example").unwrap(), 1).len(), 1);
        let (slot, _) = cache.get(&key("alias.example"), Timestamp(NOW.0 + 99)).unwrap();
        assert_eq!(slot.entry().outcome, Outcome::Alias(parse("target.example").unwrap()));
    }

    #[test]
    fn ttls_are_brought_into_the_bounds_of_today() {
        let directory = tempfile::tempdir().unwrap();
        write(&filled(), directory.path(), NOW).unwrap();
        let lifetimes = TtlPolicy { max_ttl: 20, negative_max_ttl: 7, ..TtlPolicy::default() };
        let cache = AnswerCache::new(1 << 20, lifetimes);
        assert_eq!(read(&cache, directory.path(), NOW).unwrap(), 3);
        for (name, most) in [("www.example", 20), ("alias.example", 20), ("nx.example", 7)] {
            let (slot, _) = cache.get(&key(name), NOW).unwrap();
            assert_eq!(slot.ttl(), most, "{name}");
        }
        // expired entries are not loaded
        let cache = AnswerCache::new(1 << 20, TtlPolicy { negative_max_ttl: 0, ..TtlPolicy::default() });
        read(&cache, directory.path(), NOW).unwrap();
        assert!(cache.get(&key("nx.example"), NOW).is_none());
        assert!(cache.get(&key("www.example"), NOW).is_some());
    }

    #[test]
    fn no_file_is_an_empty_snapshot() {
        let directory = tempfile::tempdir().unwrap();
        let cache = AnswerCache::new(1 << 20, TtlPolicy::default());
        assert_eq!(read(&cache, directory.path(), NOW).unwrap(), 0);
    }

    #[test]
    fn an_odd_file_is_dropped_whole() {
        let directory = tempfile::tempdir().unwrap();
        write(&filled(), directory.path(), NOW).unwrap();
        let path = directory.path().join(FILE);
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x20;
            assert!(decode(&bad, NOW, u64::MAX >> 20).is_err(), "a changed octet {at}");
            assert!(decode(&good[..at], NOW, u64::MAX >> 20).is_err(), "cut at {at}");
        }
        assert!(decode(&good, NOW, 0).is_err(), "written in the future");
        fs::write(&path, &good[..good.len() / 2]).unwrap();
        let cache = AnswerCache::new(1 << 20, TtlPolicy::default());
        assert!(read(&cache, directory.path(), NOW).is_err());
        assert!(cache.is_empty());
    }

    #[test]
    fn what_cannot_be_put_in_its_place_is_not_left_behind() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join(FILE).join("taken")).unwrap();
        assert!(write(&filled(), directory.path(), NOW).is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error() {
        assert!(write(&filled(), Path::new("/nonexistent/pvtzd"), NOW).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_content_with_a_good_checksum_never_panics(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut bytes = MAGIC.to_vec();
            bytes.extend(0u64.to_be_bytes());
            bytes.extend((body.len() as u64).to_be_bytes());
            bytes.extend(body);
            bytes.extend(checksum(&bytes).to_be_bytes());
            let _ = decode(&bytes, NOW, 1);
        }
    }
}
