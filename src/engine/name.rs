//! Names as lookup keys, in lower-case wire format, so that a suffix of a name is a suffix of its octets.
//!
//! `hickory_proto::rr::Name` carries names in messages, with their case; [`NameKey`] is the key of maps. Comparison is
//! by label and ignores ASCII case (RFC 4343).

pub use super::message::wire_length;
pub use super::text::{is_absolute, is_plain, parse, parse_below, show, unicode};

use super::message::MAX_NAME_BYTES;
use super::text::show_wire;
use hickory_proto::rr::Name;
use hickory_proto::serialize::binary::BinDecodable;
use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// A domain name in lower-case, uncompressed wire form (RFC 1035 section 3.1), the root label included. Shared, because
/// several parts of a query use its name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NameKey(Arc<[u8]>);

impl NameKey {
    /// The key of a name from a message or a file.
    pub fn of(name: &Name) -> Self {
        Self::of_wire(wire_of(&mut [0; MAX_NAME_BYTES], name.iter()).unwrap_or(&[0])) // no `Name` has no wire form
    }

    /// The key of a name in wire form, of whatever case; `wire` ends with the root label.
    pub fn of_wire(wire: &[u8]) -> Self {
        let mut key: Arc<[u8]> = wire.into();
        lower(Arc::make_mut(&mut key));
        Self(key)
    }

    /// The key of a wire-form suffix taken from [`NameKey::suffixes`]; `wire` ends with the root label.
    pub fn of_suffix(wire: &[u8]) -> Self {
        Self(wire.into())
    }

    /// The bytes of the key.
    pub fn wire(&self) -> &[u8] {
        &self.0
    }

    /// The name itself, its parent, and so on up to the root (a single zero octet).
    pub fn suffixes(&self) -> Suffixes<'_> {
        Suffixes(&self.0)
    }

    /// True if `self` is `zone` or below it.
    pub fn is_within(&self, zone: &NameKey) -> bool {
        self.0.len() >= zone.0.len() && self.suffixes().any(|suffix| suffix == &*zone.0)
    }

    /// The key of `*.<suffix>`.
    pub fn wildcard_of(suffix: &[u8]) -> Self {
        let mut wire = Vec::with_capacity(suffix.len() + 2);
        wire.extend_from_slice(b"\x01*");
        wire.extend_from_slice(suffix);
        Self(wire.into())
    }

    /// The absolute name in lower case, for messages and output.
    pub fn to_name(&self) -> Name {
        Name::from_bytes(&self.0).unwrap_or_else(|_| Name::root())
    }
}

impl Borrow<[u8]> for NameKey {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for NameKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for NameKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show_wire(&self.0))
    }
}

/// Marks letters in eight octets: the highest bit of each octet that is from `first` to `last`, both ASCII.
pub fn letters(word: u64, first: u8, last: u8) -> u64 {
    const LOW_BITS: u64 = u64::from_ne_bytes([0x7f; 8]);
    let low = word & LOW_BITS;
    let from_first = low + u64::from_ne_bytes([0x80 - first; 8]);
    let beyond_last = low + u64::from_ne_bytes([0x7f - last; 8]);
    from_first & !beyond_last & !word & !LOW_BITS
}

/// Converts a name in wire format to lower case. Length octets are below 64 and therefore not letters. Processes eight
/// octets at a time, because it runs for every query.
pub fn lower(wire: &mut [u8]) {
    let lowered = |word: [u8; 8]| {
        let word = u64::from_le_bytes(word);
        (word | letters(word, b'A', b'Z') >> 2).to_le_bytes() // 0x20
    };
    match wire.len().checked_sub(8) {
        Some(last) => {
            wire.as_chunks_mut::<8>().0.iter_mut().for_each(|word| *word = lowered(*word));
            // overlaps some octets, which has no effect
            wire[last..].first_chunk_mut::<8>().into_iter().for_each(|word| *word = lowered(*word));
        }
        None => wire.make_ascii_lowercase(),
    }
}

/// Iterator of [`NameKey::suffixes`].
#[derive(Clone, Debug)]
pub struct Suffixes<'a>(&'a [u8]);

impl<'a> Iterator for Suffixes<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let here = self.0;
        let (&length, rest) = here.split_first()?;
        self.0 = if length == 0 { &[] } else { rest.get(usize::from(length)..).unwrap_or(&[]) };
        Some(here)
    }
}

/// A name in wire form, its parent, and so on down to the root.
pub fn suffixes(wire: &[u8]) -> Suffixes<'_> {
    Suffixes(wire)
}

/// A temporary name in wire format, in its original case.
pub struct NameWire {
    octets: [u8; MAX_NAME_BYTES],
    length: usize,
}

impl NameWire {
    /// The wire form of a name.
    pub fn of(name: &Name) -> Self {
        let mut octets = [0; MAX_NAME_BYTES];
        let length = wire_of(&mut octets, name.iter()).map_or(1, <[u8]>::len); // no `Name` has no wire form
        Self { octets, length }
    }

    /// Its octets.
    pub fn wire(&self) -> &[u8] {
        &self.octets[..self.length]
    }
}

/// An absolute name of unchanged labels; None if a label is empty or has more than 63 octets, or the name more than
/// 255.
pub fn of_labels<'a>(labels: impl Iterator<Item = &'a [u8]>) -> Option<Name> {
    Name::from_bytes(wire_of(&mut [0; MAX_NAME_BYTES], labels)?).ok()
}

/// The wire format of a name, written to `place`; None if [`of_labels`] returns None.
fn wire_of<'w, 'a>(
    place: &'w mut [u8; MAX_NAME_BYTES],
    labels: impl Iterator<Item = &'a [u8]>,
) -> Option<&'w [u8]> {
    let mut at = 0;
    for label in labels {
        let (length, rest) = place.get_mut(at..at + 1 + label.len())?.split_first_mut()?;
        *length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
        rest.copy_from_slice(label);
        at += 1 + label.len();
    }
    *place.get_mut(at)? = 0;
    place.get(..=at)
}

#[cfg(test)]
mod tests {
    use super::*;
    fn key(text: &str) -> NameKey {
        NameKey::of(&parse(text).unwrap())
    }

    #[test]
    fn suffixes_run_from_the_name_to_the_root() {
        let name = key("A.b.Example");
        let all: Vec<String> = name.suffixes().map(|s| NameKey::of_suffix(s).to_string()).collect();
        assert_eq!(all, ["a.b.example", "b.example", "example", "."]);
    }

    #[test]
    fn within_goes_by_label_not_by_text() {
        assert!(key("x.example").is_within(&key("example")));
        assert!(key("example").is_within(&key("example")));
        assert!(!key("notexample").is_within(&key("example")));
        assert!(!key("example").is_within(&key("x.example")));
        assert!(key("anything").is_within(&key(".")));
    }

    #[test]
    fn names_are_lowered_whatever_their_length_and_octets() {
        let octets: Vec<u8> = (0..=255).chain(0..=255).collect();
        for length in 0..40 {
            for at in 0..=255 {
                let mut lowered = octets[at..at + length].to_vec();
                lower(&mut lowered);
                assert_eq!(lowered, octets[at..at + length].to_ascii_lowercase());
            }
        }
    }

    #[test]
    fn a_label_that_contains_a_length_octet_does_not_confuse_suffixes() {
        // the label `\003foo` looks like the wire form of `foo`
        let odd = NameKey::of(&Name::from_labels([b"\x03foo".as_slice()]).unwrap());
        assert!(!odd.is_within(&key("foo")));
    }
}
