//! What an entry of the cache is found by: the group that was asked, name, type and flags.

use super::catalog::GroupKey;
use super::name::{self, NameKey};
use hickory_proto::rr::RecordType;

/// The cache key of an answer: group, type, flags and name.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
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

    /// The key of what holds for the name, whatever the type.
    pub fn of_any_type(mut self) -> Self {
        self.0[KEY_TYPE..KEY_TYPE + 2].fill(0);
        self
    }

    /// The same without DO.
    pub fn without_dnssec(mut self) -> Self {
        self.0[KEY_FLAGS] &= !1;
        self
    }

    /// Where an entry of this very key is kept.
    pub fn itself(&self) -> KeyRef<'_> {
        let flags = self.0.get(KEY_FLAGS).copied().unwrap_or_default();
        KeyRef { group: self.group(), rtype: u16::from(self.rtype()), flags, name: self.wire() }
    }

    /// Where what holds for this question's type is kept.
    pub fn of_type(&self) -> KeyRef<'_> {
        let KeyRef { flags, .. } = self.itself();
        KeyRef { flags: flags & !1, ..self.itself() }
    }

    /// Where what holds for its name is kept.
    pub fn of_name(&self) -> KeyRef<'_> {
        self.of_suffix(self.wire())
    }

    /// Where what holds for a name above it is kept; `suffix` is of [`NameKey::suffixes`].
    pub fn of_suffix<'k>(&'k self, suffix: &'k [u8]) -> KeyRef<'k> {
        KeyRef { rtype: 0, name: suffix, ..self.of_type() }
    }
}

/// A place in the cache: a key in its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRef<'k> {
    /// The group that was asked.
    pub group: GroupKey,
    /// The type, or 0 for what holds for the name whatever the type.
    pub rtype: u16,
    /// CD (2), and DO (1) of a failure.
    pub flags: u8,
    /// The name in lower-case wire form.
    pub name: &'k [u8],
}

/// The flags of a query that change its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct QueryFlags {
    /// DO: DNSSEC records are wanted.
    pub dnssec_ok: bool,
    /// CD: no validation is wanted.
    pub checking_disabled: bool,
}
