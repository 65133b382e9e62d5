//! What a packet of the packet cache is kept under.

use super::cache::QueryFlags;
use super::name::{lower, wire_length};
use super::request::{ClientEdns, Question, Request};
use hickory_proto::rr::DNSClass;

/// Octets of the longest key: view, flags, type and a name.
const MAX_KEY: usize = NAME + 255;

/// Where the name begins in a key: behind view, flags and type.
const NAME: usize = 7;

/// Flag of a key: the client sent an OPT record.
const EDNS: u8 = 1;
/// Flag of a key: DO.
const DNSSEC_OK: u8 = 2;
/// Flag of a key: CD.
const CHECKING_DISABLED: u8 = 4;
/// Flag of a key: AD, the client understands it.
const AUTHENTIC_DATA: u8 = 8;

/// What an answer is kept under: view, flags, type and the name in lower case. A buffer, to be used again.
#[derive(Clone, Debug)]
pub struct PacketKey {
    bytes: [u8; MAX_KEY],
    length: usize,
}

impl Default for PacketKey {
    fn default() -> Self {
        Self { bytes: [0; MAX_KEY], length: 0 }
    }
}

impl PacketKey {
    /// The bytes of the key.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// The type asked for.
    pub fn rtype(&self) -> u16 {
        u16::from_be_bytes([self.bytes[5], self.bytes[6]])
    }

    /// The name in lower-case wire form.
    pub fn name(&self) -> &[u8] {
        &self.bytes[NAME..self.length]
    }

    /// DO and CD.
    pub fn flags(&self) -> QueryFlags {
        let has = |flag| self.bytes[4] & flag != 0;
        QueryFlags { dnssec_ok: has(DNSSEC_OK), checking_disabled: has(CHECKING_DISABLED) }
    }

    /// The key of a query that took the slow path; nothing for a class other than IN.
    pub fn of(request: &Request, question: &Question, view: u32) -> Option<Self> {
        if question.class != DNSClass::IN {
            return None;
        }
        let mut key = Self::default();
        let flags = flags(request.edns, request.checking_disabled, request.authentic_data);
        key.head(view, flags, u16::from(question.rtype).to_be_bytes());
        let name = question.key.wire();
        key.bytes[NAME..NAME + name.len()].copy_from_slice(name);
        key.length = NAME + name.len();
        Some(key)
    }

    /// Sets what comes before the name.
    pub(super) fn head(&mut self, view: u32, flags: u8, rtype: [u8; 2]) {
        self.bytes[..4].copy_from_slice(&view.to_be_bytes());
        self.bytes[4] = flags;
        self.bytes[5..NAME].copy_from_slice(&rtype);
    }

    /// Takes the name at the front of `wire`; the octets it takes there. Nothing when it is cut, compressed or too
    /// long.
    pub(super) fn take_name(&mut self, wire: &[u8]) -> Option<usize> {
        let length = wire_length(wire)?;
        let name = self.bytes.get_mut(NAME..NAME + length)?;
        name.copy_from_slice(&wire[..length]);
        lower(name);
        self.length = NAME + length;
        Some(length)
    }
}

/// The flags of a key.
pub(super) fn flags(edns: Option<ClientEdns>, checking_disabled: bool, authentic_data: bool) -> u8 {
    let mut flags = 0;
    if let Some(edns) = edns {
        flags |= EDNS | if edns.dnssec_ok { DNSSEC_OK } else { 0 };
    }
    if checking_disabled {
        flags |= CHECKING_DISABLED;
    }
    if authentic_data {
        flags |= AUTHENTIC_DATA;
    }
    flags
}
