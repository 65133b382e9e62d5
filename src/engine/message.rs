//! DNS messages in place (RFC 1035 section 4): the one cursor over header, names, questions, records and EDNS options.
//!
//! Whatever reads a message reads it by this cursor, so that all parts of the program refuse the same messages: those
//! with a field beyond their end, with a label of the types 0x40 and 0x80 (RFC 6891 section 5), with a name of more than
//! 255 octets, or with a pointer that does not lead backwards. Nothing is copied but the names that are expanded.

/// Octets of the header (RFC 1035 section 4.1.1).
pub const HEADER: usize = 12;

/// Octets of the longest message: its length has 16 bits over TCP (RFC 1035 section 4.2.2).
pub const MAX_MESSAGE_BYTES: usize = 65_535;

/// Octets of the longest name (RFC 1035 section 2.3.4).
pub const MAX_NAME_BYTES: usize = 255;

/// The type of the pseudo-record OPT (RFC 6891).
pub const TYPE_OPT: u16 = 41;

/// The code of the EDNS option COOKIE (RFC 7873).
pub const OPTION_COOKIE: u16 = 10;

/// The code of the EDNS option Padding (RFC 7830).
pub const OPTION_PADDING: u16 = 12;

/// The code of the EDNS option Extended DNS Error (RFC 8914).
pub const OPTION_EDE: u16 = 15;

/// Pointers that one name may follow: each leads backwards, and a label of two octets stands between two at least.
const MAX_POINTERS: usize = 127;

/// The counts in a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionCounts {
    /// QDCOUNT.
    pub questions: u16,
    /// ANCOUNT.
    pub answers: u16,
    /// NSCOUNT.
    pub authorities: u16,
    /// ARCOUNT.
    pub additionals: u16,
}

impl SectionCounts {
    /// The counts of a message; nothing where it has no whole header.
    #[inline(always)]
    pub fn of(message: &[u8]) -> Option<Self> {
        message.first_chunk().map(Self::of_header)
    }

    /// The counts in a header.
    #[inline(always)]
    pub fn of_header(header: &[u8; HEADER]) -> Self {
        let &[_, _, _, _, a, b, c, d, e, f, g, h] = header;
        Self {
            questions: u16::from_be_bytes([a, b]),
            answers: u16::from_be_bytes([c, d]),
            authorities: u16::from_be_bytes([e, f]),
            additionals: u16::from_be_bytes([g, h]),
        }
    }

    /// The records of all sections.
    pub fn records(&self) -> usize {
        usize::from(self.answers) + usize::from(self.authorities) + usize::from(self.additionals)
    }
}

/// Reads a message from front to back. Each step returns nothing where the message is malformed or too short.
///
/// Its steps are inlined: they are taken for every query and every reply, and the program is optimised for size.
#[derive(Clone, Copy, Debug)]
pub struct MessageCursor<'m> {
    message: &'m [u8],
    at: usize,
}

/// A record in its message.
#[derive(Clone, Copy, Debug)]
pub struct WireRecord<'m> {
    /// Where it begins.
    pub start: usize,
    /// Where its type stands, behind the owner.
    behind_owner: usize,
    /// The type.
    pub rtype: u16,
    /// The class; the UDP payload size of OPT.
    pub class: u16,
    /// The TTL; the high bits of the RCODE, the version and DO of OPT.
    pub ttl: u32,
    /// The data, as they stand there.
    pub data: &'m [u8],
}

impl<'m> WireRecord<'m> {
    /// Where its TTL stands.
    #[inline]
    pub fn ttl_at(&self) -> usize {
        self.behind_owner + 4
    }

    /// Where its data begin, behind their length.
    #[inline]
    pub fn data_at(&self) -> usize {
        self.behind_owner + 10
    }

    /// How it ends.
    #[inline]
    pub fn end(&self) -> usize {
        self.data_at() + self.data.len()
    }

    /// True where the owner is the root, written as such.
    #[inline]
    pub fn is_of_root(&self) -> bool {
        self.behind_owner == self.start + 1
    }

    /// True for an OPT record (RFC 6891 section 6.1.2: its owner is the root).
    #[inline]
    pub fn is_opt(&self) -> bool {
        self.rtype == TYPE_OPT && self.is_of_root()
    }

    /// The version of EDNS in an OPT record.
    pub fn edns_version(&self) -> u8 {
        (self.ttl >> 16) as u8
    }

    /// DO in an OPT record.
    pub fn dnssec_ok(&self) -> bool {
        self.ttl & 0x8000 != 0
    }

    /// The options of an OPT record.
    pub fn options(&self) -> EdnsOptions<'m> {
        EdnsOptions(MessageCursor::new(self.data, 0))
    }
}

/// The options in the data of an OPT record, up to one that is cut.
#[derive(Clone, Debug)]
pub struct EdnsOptions<'m>(MessageCursor<'m>);

/// An EDNS option in its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireOption<'m> {
    /// Where its code stands in the data of the record.
    pub at: usize,
    /// The code.
    pub code: u16,
    /// The value.
    pub value: &'m [u8],
}

impl EdnsOptions<'_> {
    /// True when nothing follows; false before an option that is cut.
    pub fn is_done(&self) -> bool {
        self.0.is_done()
    }
}

impl<'m> Iterator for EdnsOptions<'m> {
    type Item = WireOption<'m>;

    fn next(&mut self) -> Option<WireOption<'m>> {
        let mut cursor = self.0;
        let (at, code, length) = (cursor.position(), cursor.u16()?, cursor.u16()?);
        let value = cursor.take(usize::from(length))?;
        self.0 = cursor;
        Some(WireOption { at, code, value })
    }
}

impl<'m> MessageCursor<'m> {
    /// A cursor at an octet of a message.
    #[inline]
    pub fn new(message: &'m [u8], at: usize) -> Self {
        Self { message, at }
    }

    /// Where it stands.
    #[inline]
    pub fn position(&self) -> usize {
        self.at
    }

    /// True at the end of the message.
    #[inline]
    pub fn is_done(&self) -> bool {
        self.at == self.message.len()
    }

    /// Takes this many octets.
    #[inline(always)]
    pub fn take(&mut self, count: usize) -> Option<&'m [u8]> {
        let end = self.at.wrapping_add(count); // what wraps ends before it begins
        let octets = self.message.get(self.at..end)?;
        self.at = end;
        Some(octets)
    }

    /// Takes an array of octets.
    #[inline(always)]
    pub fn chunk<const N: usize>(&mut self) -> Option<&'m [u8; N]> {
        self.take(N)?.first_chunk()
    }

    /// Takes all octets that are left.
    pub fn rest(&mut self) -> &'m [u8] {
        let rest = self.message.get(self.at..).unwrap_or_default();
        self.at = self.message.len();
        rest
    }

    /// Takes an octet.
    #[inline]
    pub fn u8(&mut self) -> Option<u8> {
        self.chunk().map(|&[octet]| octet)
    }

    /// Takes a number of 16 bits.
    #[inline(always)]
    pub fn u16(&mut self) -> Option<u16> {
        self.chunk().map(|octets| u16::from_be_bytes(*octets))
    }

    /// Takes a character-string with its length before it (RFC 1035 section 3.3).
    pub fn string(&mut self) -> Option<&'m [u8]> {
        let length = *self.message.get(self.at)?;
        self.take(1 + usize::from(length))
    }

    /// Takes a name without pointers, in wire form.
    #[inline(always)]
    pub fn name(&mut self) -> Option<&'m [u8]> {
        let length = wire_length(self.message.get(self.at..)?)?;
        self.take(length)
    }

    /// Passes over a name; a pointer ends it, wherever it leads.
    #[inline]
    pub fn skip_name(&mut self) -> Option<()> {
        let start = self.at;
        loop {
            match WireLabel::at(self.message, self.at)? {
                WireLabel::Root => {
                    self.at += 1;
                    return Some(());
                }
                WireLabel::Pointer(_) => {
                    self.at += 2;
                    return Some(());
                }
                WireLabel::Octets(length) => self.at += 1 + length,
            }
            if self.at - start >= MAX_NAME_BYTES {
                return None; // the root label comes on top
            }
        }
    }

    /// Takes a name whose pointers are followed, and appends it to `out` in wire form.
    pub fn expand_name(&mut self, out: &mut Vec<u8>, pointers: &mut PointerBudget) -> Option<()> {
        let (start, mut at) = (out.len(), self.at);
        let (mut end, mut followed) = (None, 0);
        loop {
            match WireLabel::at(self.message, at)? {
                WireLabel::Root => {
                    out.push(0);
                    self.at = end.unwrap_or(at + 1);
                    return Some(());
                }
                WireLabel::Octets(length) => {
                    let next = at + 1 + length;
                    out.extend_from_slice(self.message.get(at..next)?);
                    if out.len() - start >= MAX_NAME_BYTES {
                        return None; // the root label comes on top
                    }
                    at = next;
                }
                WireLabel::Pointer(target) => {
                    followed += 1;
                    if !(HEADER..at).contains(&target) || followed > MAX_POINTERS || !pointers.spend() {
                        return None;
                    }
                    end.get_or_insert(at + 2);
                    at = target;
                }
            }
        }
    }

    /// Passes over questions.
    #[inline]
    pub fn skip_questions(&mut self, count: u16) -> Option<()> {
        for _ in 0..count {
            self.skip_name()?;
            self.take(4)?;
        }
        Some(())
    }

    /// Takes a record.
    #[inline]
    pub fn record(&mut self) -> Option<WireRecord<'m>> {
        let start = self.at;
        self.skip_name()?;
        let behind_owner = self.at;
        let &[type_high, type_low, class_high, class_low, a, b, c, d, high, low] = self.chunk()?;
        Some(WireRecord {
            start,
            behind_owner,
            rtype: u16::from_be_bytes([type_high, type_low]),
            class: u16::from_be_bytes([class_high, class_low]),
            ttl: u32::from_be_bytes([a, b, c, d]),
            data: self.take(usize::from(u16::from_be_bytes([high, low])))?,
        })
    }

    /// The OPT record of a message behind whose questions it stands: the first in the additional section.
    pub fn opt(mut self) -> Option<WireRecord<'m>> {
        let counts = SectionCounts::of(self.message).filter(|counts| counts.additionals > 0)?;
        for _ in 0..usize::from(counts.answers) + usize::from(counts.authorities) {
            self.record()?;
        }
        for _ in 0..counts.additionals {
            let record = self.record()?;
            if record.is_opt() {
                return Some(record);
            }
        }
        None
    }
}

/// The OPT record of a message: the first in the additional section. The work is bounded by the message, since a question
/// takes 5 octets and a record 11.
pub fn opt_record(message: &[u8]) -> Option<WireRecord<'_>> {
    let counts = SectionCounts::of(message).filter(|counts| counts.additionals > 0)?;
    let mut cursor = MessageCursor::new(message, HEADER);
    cursor.skip_questions(counts.questions)?;
    cursor.opt()
}

/// The pointers that may still be followed in a message: as many as it has octets, so that the work grows with its length
/// only. Names of usual messages follow one or two, and there is a name in six octets at most.
#[derive(Debug)]
pub struct PointerBudget(usize);

impl PointerBudget {
    /// The pointers of a message.
    pub fn of(message: &[u8]) -> Self {
        Self(message.len())
    }

    /// True when none is left.
    pub fn is_spent(&self) -> bool {
        self.0 == 0
    }

    /// Takes one; false with the last.
    fn spend(&mut self) -> bool {
        self.0 = self.0.saturating_sub(1);
        self.0 > 0
    }
}

/// A label, by its first octets (RFC 1035 sections 3.1 and 4.1.4).
enum WireLabel {
    /// The end of a name.
    Root,
    /// A label of this many octets.
    Octets(usize),
    /// A pointer to this place.
    Pointer(usize),
}

impl WireLabel {
    /// The label at an octet; nothing for the types 0x40 and 0x80.
    #[inline(always)]
    fn at(message: &[u8], at: usize) -> Option<Self> {
        match *message.get(at)? {
            0 => Some(Self::Root),
            length @ 1..=63 => Some(Self::Octets(usize::from(length))),
            high @ 192.. => {
                let low = *message.get(at + 1)?;
                Some(Self::Pointer(usize::from(high & 0x3f) << 8 | usize::from(low)))
            }
            _ => None,
        }
    }
}

/// Octets that the wire-form name at the front of `bytes` takes, its root label counted; nothing when it is cut,
/// compressed or longer than 255 octets.
pub fn wire_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1 + length;
        if length > 63 || at > MAX_NAME_BYTES {
            return None;
        }
        if length == 0 {
            return Some(at);
        }
    }
}

/// True if the name at `at`, after following pointers, equals `name` in wire format.
pub fn is_name_at(message: &[u8], mut at: usize, mut name: &[u8]) -> bool {
    loop {
        match WireLabel::at(message, at) {
            Some(WireLabel::Root) => return name == [0],
            Some(WireLabel::Octets(length)) => {
                let end = 1 + length;
                if message.get(at..at + end).is_none_or(|label| name.get(..end) != Some(label)) {
                    return false;
                }
                (at, name) = (at + end, &name[end..]);
            }
            Some(WireLabel::Pointer(target)) if target < at => at = target,
            _ => return false,
        }
    }
}

/// The complete length-prefixed message at the start of a stream (RFC 1035 section 4.2.2).
#[inline]
pub fn framed(stream: &[u8]) -> Option<&[u8]> {
    let (length, rest) = stream.split_first_chunk()?;
    rest.get(..usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
