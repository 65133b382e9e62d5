//! What an entry of the cache is found by: the group that was asked, name, type and flags.

use super::cache::Outcome;
use super::catalog::GroupKey;
use super::name::{self, NameKey};
use hickory_proto::rr::RecordType;
use std::hash::{Hash, Hasher};

/// What is asked of a group, and what the answer is kept under: group, type, flags and name.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct CacheKey(Box<[u8]>);

/// Octets of a key before its name: group, type, flags.
const KEY_HEAD: usize = 11;

/// The place of the type in a key.
const KEY_TYPE: usize = 8;

/// The place of the flags in a key.
const KEY_FLAGS: usize = 10;

impl CacheKey {
    /// The key of a question to a group.
    pub fn new(group: GroupKey, name: &NameKey, rtype: RecordType, flags: QueryFlags) -> Self {
        let mut key = Vec::with_capacity(name.wire().len() + KEY_HEAD);
        key.extend_from_slice(&group.0.to_be_bytes());
        key.extend_from_slice(&u16::from(rtype).to_be_bytes());
        key.push(u8::from(flags.dnssec_ok) | u8::from(flags.checking_disabled) << 1);
        key.extend_from_slice(name.wire());
        Self(key.into())
    }

    /// The bytes of the key; [`CacheKey::from_bytes`] takes them back.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// A key out of its bytes, if they have the form of one.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let wire = bytes.get(KEY_HEAD..)?;
        (name::wire_length(wire)? == wire.len() && bytes[KEY_FLAGS] < 4).then(|| Self(bytes.into()))
    }

    /// The group that was asked.
    pub fn group(&self) -> GroupKey {
        GroupKey(self.0.first_chunk().map_or(0, |key| u64::from_be_bytes(*key)))
    }

    /// The name.
    pub fn name(&self) -> NameKey {
        NameKey::of_suffix(self.wire())
    }

    /// The name in lower-case wire form.
    pub fn wire(&self) -> &[u8] {
        self.0.get(KEY_HEAD..).unwrap_or_default()
    }

    /// The type.
    pub fn rtype(&self) -> RecordType {
        RecordType::from(u16::from_be_bytes([self.0[KEY_TYPE], self.0[KEY_TYPE + 1]]))
    }

    /// The flags.
    pub fn flags(&self) -> QueryFlags {
        let flags = self.0[KEY_FLAGS];
        QueryFlags { dnssec_ok: flags & 1 != 0, checking_disabled: flags & 2 != 0 }
    }

    /// The same question for another type.
    pub fn with_type(mut self, rtype: RecordType) -> Self {
        self.0[KEY_TYPE..KEY_TYPE + 2].copy_from_slice(&u16::from(rtype).to_be_bytes());
        self
    }

    /// What an entry for this question is kept under: an alias and NXDOMAIN hold for the name whatever the type
    /// (RFC 2308 section 5), and what was fetched with DO serves those without it. A failure is the question's own.
    pub fn of_entry(mut self, outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Failure(_) => return self,
            Outcome::Alias(_) | Outcome::NxDomain => self.0[KEY_TYPE..KEY_TYPE + 2].fill(0),
            Outcome::Rrset | Outcome::NoData | Outcome::YxDomain => {}
        }
        self.0[KEY_FLAGS] &= !1;
        self
    }

    /// Where what holds for this question's type is kept.
    pub fn of_type(&self) -> KeyRef<'_> {
        self.as_ref(|head| head[KEY_FLAGS] &= !1)
    }

    /// Where what holds for its name is kept.
    pub fn of_name(&self) -> KeyRef<'_> {
        self.of_suffix(self.wire())
    }

    /// Where what holds for a name above it is kept; `suffix` is of [`NameKey::suffixes`].
    pub fn of_suffix<'k>(&self, suffix: &'k [u8]) -> KeyRef<'k> {
        let KeyRef { mut head, .. } = self.of_type();
        head[KEY_TYPE..KEY_TYPE + 2].fill(0);
        KeyRef { head, name: suffix }
    }

    fn as_ref(&self, change: impl FnOnce(&mut [u8; KEY_HEAD])) -> KeyRef<'_> {
        let (head, name) = self.0.split_first_chunk().unwrap_or((&[0; KEY_HEAD], &[])); // no key is shorter
        let mut head = *head;
        change(&mut head);
        KeyRef { head, name }
    }
}

impl Hash for CacheKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_ref(|_| ()).hash(state);
    }
}

/// A key to look up, which borrows its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyRef<'k> {
    head: [u8; KEY_HEAD],
    name: &'k [u8],
}

impl KeyRef<'_> {
    /// True when this is the whole key.
    pub fn is(&self, key: &CacheKey) -> bool {
        key.0.split_first_chunk() == Some((&self.head, self.name))
    }
}

/// The flags of a query that change its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct QueryFlags {
    /// DO: DNSSEC records are wanted.
    pub dnssec_ok: bool,
    /// CD: no validation is wanted.
    pub checking_disabled: bool,
}
