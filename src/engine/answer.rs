//! An answer before it is put on the wire, and why it is what it is.

use super::cache::Timestamp;
use super::catalog::GroupKey;
use super::name::NameKey;
use super::records::Records;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::Name;
use std::borrow::Cow;

/// An extended DNS error (RFC 8914): a number for programs, words for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtendedError {
    /// INFO-CODE, of the constants below.
    pub code: u16,
    /// EXTRA-TEXT.
    pub text: Cow<'static, str>,
}

impl ExtendedError {
    /// Other error.
    pub const OTHER: u16 = 0;
    /// Stale answer.
    pub const STALE_ANSWER: u16 = 3;
    /// Cached error.
    pub const CACHED_ERROR: u16 = 13;
    /// Not ready: a zone has not come yet.
    pub const NOT_READY: u16 = 14;
    /// Blocked: by a policy of this server's operator.
    pub const BLOCKED: u16 = 15;
    /// Prohibited: this client may not ask.
    pub const PROHIBITED: u16 = 18;
    /// Stale NXDOMAIN answer.
    pub const STALE_NXDOMAIN: u16 = 19;
    /// Not authoritative: RD=0 for a name that would have to be forwarded.
    pub const NOT_AUTHORITATIVE: u16 = 20;
    /// Not supported.
    pub const NOT_SUPPORTED: u16 = 21;
    /// No reachable authority: every upstream failed.
    pub const NO_REACHABLE_AUTHORITY: u16 = 22;
    /// Network error.
    pub const NETWORK_ERROR: u16 = 23;
    /// Invalid data: a zone has expired.
    pub const INVALID_DATA: u16 = 24;

    /// An error with its words.
    pub fn new(code: u16, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, text: text.into() }
    }
}

/// What answered for one name of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A private zone, by its apex.
    Zone(NameKey),
    /// A hosts file.
    Hosts,
    /// A special-use name that is answered here.
    Local(NameKey),
    /// RFC 8482: nothing but a hint, whatever the name.
    Minimal,
    /// An upstream group (by a rule's suffix, or the default), over the cache.
    Forwarded {
        /// The rule's name; nothing for the default group.
        rule: Option<NameKey>,
        /// The group.
        group: GroupKey,
        /// The private zone that forwarded the name (its recursion proxy), if any.
        through: Option<NameKey>,
    },
    /// The name was in the chain before.
    Loop,
}

/// One step of a chain: which name, and what answered for it.
#[derive(Clone, Debug)]
pub struct Hop {
    /// The name.
    pub name: Name,
    /// What answered.
    pub source: Source,
}

/// How long the records of one hop hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionTtl {
    /// How many records of the answer section are meant.
    pub answers: usize,
    /// How many records of the authority section are meant.
    pub authority: usize,
    /// When they expire; nothing where the TTL is what a zone says, always.
    pub expires: Option<Timestamp>,
    /// From when on they should be refreshed rather than served without a thought.
    pub due: Option<Timestamp>,
}

/// A whole answer: the chain in order, and the code of its last hop (RFC 6604).
#[derive(Clone, Debug)]
pub struct Answer {
    /// The response code.
    pub rcode: ResponseCode,
    /// The answer section.
    pub answers: Records,
    /// The authority section.
    pub authority: Records,
    /// Records were left out that no message of the size asked for can hold.
    pub left_out: bool,
    /// The first name was private.
    pub authoritative: bool,
    /// Every hop was authenticated by an upstream.
    pub authentic: bool,
    /// Words for a person.
    pub error: Option<ExtendedError>,
    /// How it came about.
    pub hops: Vec<Hop>,
    /// How long its records hold, in their order; nothing when the next answer may be another (a draw by weight,
    /// a stale answer), so that it must not be kept.
    pub holdings: Option<Vec<SectionTtl>>,
    /// How many records of a private address set rotate, and the first of them in the answer section.
    pub rotation: Option<(usize, usize)>,
}

impl Answer {
    /// An answer that is a code and nothing else.
    pub fn code(rcode: ResponseCode, error: Option<ExtendedError>) -> Self {
        Self {
            rcode,
            answers: Records::default(),
            authority: Records::default(),
            left_out: false,
            authoritative: false,
            authentic: false,
            error,
            hops: Vec::new(),
            holdings: None,
            rotation: None,
        }
    }
}
