//! The copy of a secondary zone over restarts: a file in the state directory, written whole and believed whole.
//!
//! It begins with when a primary last confirmed the copy, which alone is written again in place; what follows carries a
//! digest.

use super::content::{RecordKey, SoaRecord, ZoneContent};
use super::session::wall_clock;
use crate::base::file;
use crate::engine::message::wire_length;
use crate::engine::name::NameKey;
use ring::digest;
use std::fs::{self, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The folder of these files in the state directory.
const FOLDER: &str = "secondary";

/// What a file begins with; the last octet is the version of its form.
const MAGIC: &[u8; 8] = b"pvtzdxf\x01";

/// Octets of the largest file that is read.
const LARGEST: u64 = 4 << 30;

/// A copy that was read.
#[derive(Debug)]
pub struct SavedCopy {
    /// The records.
    pub content: ZoneContent,
    /// Seconds since a primary confirmed it.
    pub age: u64,
}

/// Where the copy of a zone is kept; `id` tells it from others of its name.
pub fn path(state_dir: &Path, id: &str) -> PathBuf {
    let name: String = id
        .chars()
        .map(|sign| if sign.is_ascii_alphanumeric() || ".-_".contains(sign) { sign } else { '_' })
        .take(80)
        .collect();
    let sum = digest::digest(&digest::SHA256, id.as_bytes());
    let sum = data_encoding::HEXLOWER.encode(&sum.as_ref()[..8]);
    state_dir.join(FOLDER).join(format!("{name}-{sum}"))
}

/// Writes a copy that a primary confirmed `age` seconds ago.
///
/// # Errors
/// The file cannot be written; the former one is then as it was.
pub fn write(path: &Path, apex: &NameKey, content: &ZoneContent, age: u64) -> io::Result<()> {
    let mut body = apex.wire().to_vec();
    body.extend(content.soa.ttl.to_be_bytes());
    put(&mut body, &content.soa.data);
    body.extend((content.len() as u64).to_be_bytes());
    for (record, ttl) in content.records() {
        body.extend(ttl.to_be_bytes());
        put(&mut body, record.octets());
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    if !folder.is_dir() {
        fs::create_dir(folder)?; // not those above: without a state directory there is nothing to keep
    }
    let beside = path.with_extension("new");
    let written =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside).and_then(
            |mut file| {
                file.write_all(MAGIC)?;
                file.write_all(&wall_clock().saturating_sub(age).to_be_bytes())?;
                file.write_all(digest::digest(&digest::SHA256, &body).as_ref())?;
                file.write_all(&body)?;
                file.sync_all()?;
                fs::rename(&beside, path)
            },
        );
    if written.is_err() {
        let _ = fs::remove_file(&beside); // half a file would keep a full disk full
    }
    written
}

/// Notes that a primary confirms the copy now.
///
/// # Errors
/// There is no such file, or it cannot be written.
pub fn confirm(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.seek(SeekFrom::Start(MAGIC.len() as u64))?;
    file.write_all(&wall_clock().to_be_bytes())
}

/// Reads a copy; nothing where there is none.
///
/// # Errors
/// The file cannot be read, or is not what was written.
pub fn read(path: &Path, apex: &NameKey) -> io::Result<Option<SavedCopy>> {
    let octets = match file::read(path, LARGEST) {
        Ok(octets) => octets,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let odd = || io::Error::new(io::ErrorKind::InvalidData, "it is not a saved copy of this zone");
    decode(&octets, apex).map(Some).ok_or_else(odd)
}

fn decode(octets: &[u8], apex: &NameKey) -> Option<SavedCopy> {
    let mut rest = octets.strip_prefix(MAGIC)?;
    let confirmed = u64::from_be_bytes(take(&mut rest)?);
    let sum: [u8; 32] = take(&mut rest)?;
    if digest::digest(&digest::SHA256, rest).as_ref() != sum {
        return None;
    }
    let (name, body) = rest.split_at_checked(wire_length(rest)?)?;
    if name != apex.wire() {
        return None;
    }
    rest = body;
    let ttl = u32::from_be_bytes(take(&mut rest)?);
    let data = take_long(&mut rest)?.to_vec();
    let mut content = ZoneContent::new(SoaRecord { ttl, data });
    let count = u64::from_be_bytes(take(&mut rest)?);
    for _ in 0..count {
        let ttl = u32::from_be_bytes(take(&mut rest)?);
        content.add(RecordKey::from_octets(take_long(&mut rest)?)?, ttl);
    }
    let age = wall_clock().saturating_sub(confirmed);
    rest.is_empty().then_some(SavedCopy { content, age })
}

fn put(body: &mut Vec<u8>, octets: &[u8]) {
    body.extend((octets.len() as u32).to_be_bytes());
    body.extend(octets);
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (octets, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*octets)
}

fn take_long<'r>(rest: &mut &'r [u8]) -> Option<&'r [u8]> {
    let length = u32::from_be_bytes(take(rest)?);
    let (octets, behind) = rest.split_at_checked(length as usize)?;
    *rest = behind;
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::name::parse;
    use hickory_proto::rr::RecordType;

    fn key(text: &str) -> NameKey {
        NameKey::of(&parse(text).unwrap())
    }

    #[test]
    fn a_copy_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let (apex, path) = (key("corp.example"), path(folder.path(), "corp.example vpc/a"));
        assert!(read(&path, &apex).unwrap().is_none());
        let data = [&[0, 0][..], &[0, 0, 0, 7], &[0; 16]].concat();
        let mut content = ZoneContent::new(SoaRecord { ttl: 60, data });
        content.add(RecordKey::new(&key("www.corp.example"), RecordType::A, &[192, 0, 2, 1]), 300);
        write(&path, &apex, &content, 100).unwrap();
        let saved = read(&path, &apex).unwrap().unwrap();
        assert_eq!((saved.content.soa.serial(), saved.content.len()), (7, 1));
        assert!((100..110).contains(&saved.age), "{}", saved.age);
        confirm(&path).unwrap();
        assert!(read(&path, &apex).unwrap().unwrap().age < 10);
        assert!(read(&path, &key("other.example")).is_err(), "of another zone");
        let whole = fs::read(&path).unwrap();
        for at in [0, 20, 60, whole.len() - 1] {
            let mut odd = whole.clone();
            odd[at] ^= 1;
            fs::write(&path, &odd).unwrap();
            assert!(read(&path, &apex).is_err(), "{at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert!(read(&path, &apex).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn no_name_of_a_zone_leads_out_of_the_folder() {
        let odd = path(Path::new("/state"), "../../etc/passwd");
        assert_eq!(odd.parent(), Some(Path::new("/state/secondary")));
        assert_ne!(path(Path::new("/s"), "a/b"), path(Path::new("/s"), "a_b"));
        assert!(path(Path::new("/s"), &"x".repeat(1000)).file_name().unwrap().len() < 128);
    }
}
