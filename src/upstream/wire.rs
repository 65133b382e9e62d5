//! Queries as bytes, and the judgement on what comes back. Pure: randomness is drawn by the caller.
//!
//! A reply is held against the bytes that were sent, not against a parsed message: id, QR, opcode and the
//! question with the exact letter case must be ours before anything else in it is read.

use crate::engine::cache::QueryFlags;
use crate::engine::decode;
use crate::engine::message::{
    HEADER, MessageCursor, OPTION_COOKIE, OPTION_EDE, OPTION_PADDING, SectionCounts, TYPE_OPT, WireOption,
    opt_record,
};
use crate::engine::name::{NameKey, letters};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};

use super::UpstreamQuery;
use super::capabilities::{CLIENT_COOKIE_LEN, OwnCookie, QueryOptions};

/// RD, in the third octet of a header.
const RD: u8 = 0x01;
/// Our EDNS payload size: small enough that no reply is fragmented (RFC 9715).
const PAYLOAD_SIZE: u16 = 1232;
/// What the lengths of padded queries are multiples of (RFC 8467 section 4.1).
const PADDING_BLOCK: usize = 128;
/// An option code for local use (RFC 6891 section 9), which no parser interprets.
const OPTION_UNREAD: u16 = 65_001;
/// Lengths a cookie option with a server cookie may have (RFC 7873 section 4).
const FULL_COOKIE: std::ops::RangeInclusive<usize> = 16..=40;

/// One query as sent, with what is needed to recognise its answer.
pub(super) struct SentQuery {
    /// The message.
    pub(super) bytes: Vec<u8>,
    /// Where its question ends.
    question_end: usize,
    /// The client cookie in it.
    client_cookie: Option<OwnCookie>,
    /// Its letters are in random case, and the reply must have them in the same case.
    mixed_case: bool,
    /// The server is known to send cookies.
    expects_cookie: bool,
}

/// What a query's bytes may not let an outsider guess.
pub(super) struct Entropy {
    /// The message id.
    pub(super) id: [u8; 2],
    /// Which letters are upper case, a bit for each octet of the name; a long name goes through them again.
    pub(super) case: [u8; 8],
}

/// Transport of a reply. Off-path attackers cannot inject into a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    /// UDP: case and cookie must be right, and the reply may be cut.
    Datagram,
    /// TCP or TLS.
    Stream,
}

/// What a reply turned out to be.
#[derive(Debug)]
pub(super) enum ReplyVerdict {
    /// The answer to our query.
    Answer(Box<Message>, ReplyCookie),
    /// The answer, cut: the whole is to be had over TCP.
    Truncated,
    /// Ours but for the case of the letters: a server that folds case, or a guess.
    CaseFolded,
    /// An error without a question: right by id and port alone. A server that could not read the query, or a guess.
    Bare(ResponseCode),
    /// Not an answer to our query: someone else's, late, or forged.
    Mismatch,
    /// Answers our query but cannot be read.
    Malformed,
}

/// The server's half of the cookie in a reply.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReplyCookie {
    /// The reply carries none.
    Absent,
    /// Our client cookie came back with this server cookie.
    Server(Vec<u8>),
}

/// Makes letters of a name upper case, each by its bit of `case`; a long name goes through the bits again. Lengths of
/// labels are no letters. Eight octets at a time: this is done for every query.
fn mix_case(name: &mut [u8], case: [u8; 8]) {
    const LOW_BITS: u64 = u64::from_ne_bytes([0x7f; 8]);
    let mut rest = case.into_iter().cycle();
    let mut mix = |word: u64| {
        let bits = u64::from(rest.next().unwrap_or(0));
        // the octet of each bit has something in it where the bit is set
        let chosen = bits.wrapping_mul(u64::from_ne_bytes([1; 8])) & 0x8040_2010_0804_0201;
        let chosen = ((chosen & LOW_BITS) + LOW_BITS) | chosen;
        word ^ ((letters(word, b'a', b'z') & chosen) >> 2) // 0x20
    };
    let (words, last) = name.as_chunks_mut::<8>();
    for word in words {
        *word = mix(u64::from_le_bytes(*word)).to_le_bytes();
    }
    let mut word = [0; 8];
    word[..last.len()].copy_from_slice(last);
    last.copy_from_slice(&mix(u64::from_le_bytes(word)).to_le_bytes()[..last.len()]);
}

impl SentQuery {
    /// Writes the query: RD and AD set (AD so that the server reports it, RFC 6840 section 5.7).
    pub(super) fn new(query: &UpstreamQuery, options: &QueryOptions, entropy: &Entropy) -> Self {
        let flags = QueryFlags { dnssec_ok: query.dnssec_ok, checking_disabled: query.checking_disabled };
        Self::of_wire(NameKey::of(&query.name).wire(), query.rtype, flags, options, entropy)
    }

    /// Writes the query for a name in lower-case wire form.
    pub(super) fn of_wire(
        name: &[u8],
        rtype: RecordType,
        query: QueryFlags,
        options: &QueryOptions,
        entropy: &Entropy,
    ) -> Self {
        let mut bytes = Vec::with_capacity(HEADER + name.len() + 32);
        let flags = 0x20 | if query.checking_disabled { 0x10 } else { 0 }; // AD, CD
        let [id_high, id_low] = entropy.id;
        let additionals = u8::from(options.edns);
        bytes.extend_from_slice(&[id_high, id_low, RD, flags, 0, 1, 0, 0, 0, 0, 0, additionals]);
        bytes.extend_from_slice(name);
        if options.mix_case {
            mix_case(&mut bytes[HEADER..], entropy.case);
        }
        let [type_high, type_low] = u16::from(rtype).to_be_bytes();
        bytes.extend_from_slice(&[type_high, type_low, 0, 1]); // class IN
        let question_end = bytes.len();
        let client_cookie = options.client_cookie.filter(|_| options.edns);
        if options.edns {
            let [opt_high, opt_low] = TYPE_OPT.to_be_bytes();
            let [payload_high, payload_low] = PAYLOAD_SIZE.to_be_bytes();
            let dnssec_ok = if query.dnssec_ok { 0x80 } else { 0 };
            // the root, and at the end the length of the options, once it is known
            bytes.extend_from_slice(&[
                0,
                opt_high,
                opt_low,
                payload_high,
                payload_low,
                0,
                0,
                dnssec_ok,
                0,
                0,
                0,
            ]);
            let options_at = bytes.len() - 2;
            if let Some(client) = client_cookie {
                let server = options.server_cookie.as_deref().unwrap_or_default();
                let len = (client.len() + server.len()) as u16; // at most 40
                bytes.extend_from_slice(&OPTION_COOKIE.to_be_bytes());
                bytes.extend_from_slice(&len.to_be_bytes());
                bytes.extend_from_slice(&client);
                bytes.extend_from_slice(server);
            }
            if options.padded {
                let unpadded = bytes.len() + 4;
                let padding = unpadded.next_multiple_of(PADDING_BLOCK) - unpadded;
                bytes.extend(OPTION_PADDING.to_be_bytes());
                bytes.extend((padding as u16).to_be_bytes()); // below 128
                bytes.resize(unpadded + padding, 0);
            }
            let len = (bytes.len() - options_at - 2) as u16; // below 256
            bytes[options_at..options_at + 2].copy_from_slice(&len.to_be_bytes());
        }
        let (mixed_case, expects_cookie) = (options.mix_case, options.expects_cookie());
        Self { bytes, question_end, client_cookie, mixed_case, expects_cookie }
    }

    /// Where the question ends.
    pub(super) fn question_end(&self) -> usize {
        self.question_end
    }

    /// True when a reply shows that the server gives letters back in the case in which they were sent.
    pub(super) fn has_mixed_case(&self) -> bool {
        self.mixed_case
    }

    /// True when a reply has the question letter for letter.
    pub(super) fn is_echoed_by(&self, reply: &[u8]) -> bool {
        reply.get(HEADER..self.question_end) == Some(&self.bytes[HEADER..self.question_end])
    }

    /// True when a datagram may be what a server has to say that folds case, or cannot read the query.
    pub(super) fn is_perhaps_answered_by(&self, reply: &[u8]) -> bool {
        match self.compare_header(reply, Carrier::Datagram) {
            Err(ReplyVerdict::CaseFolded) => self.cookie_agrees(reply, self.expects_cookie),
            other => matches!(other, Err(ReplyVerdict::Bare(_))),
        }
    }

    /// True when a datagram has the id and, letter for letter, the question of this query.
    pub(super) fn is_answered_by(&self, reply: &[u8]) -> bool {
        reply.len() >= self.question_end
            && has_one_question(reply)
            && self.compare_header(reply, Carrier::Datagram).is_ok()
    }

    /// False when a datagram carries another client's cookie, or none although one is expected.
    pub(super) fn cookie_agrees(&self, reply: &[u8], expected: bool) -> bool {
        let Some(ours) = self.client_cookie else { return true };
        match self.cookie_in(reply) {
            Some(cookie) => {
                cookie.get(..CLIENT_COOKIE_LEN) == Some(ours.as_slice())
                    && (!expected || FULL_COOKIE.contains(&cookie.len()))
            }
            None => !expected,
        }
    }

    /// The cookie option of a reply that has the question of this query, if there is one.
    fn cookie_in<'r>(&self, reply: &'r [u8]) -> Option<&'r [u8]> {
        let opt = MessageCursor::new(reply, self.question_end).opt()?;
        opt.options().find(|option| option.code == OPTION_COOKIE).map(|option| option.value)
    }

    /// Says what `reply`, which came from the server's address, is to this query.
    pub(super) fn judge(&self, mut reply: Vec<u8>, channel: Carrier) -> ReplyVerdict {
        match self.compare_header(&reply, channel) {
            Ok(()) => {}
            // Who folds case must get the rest right.
            Err(ReplyVerdict::CaseFolded) if !self.cookie_agrees(&reply, self.expects_cookie) => {
                return ReplyVerdict::Mismatch;
            }
            Err(verdict) => return verdict,
        }
        if channel == Carrier::Datagram && reply[2] & 0x02 != 0 {
            return ReplyVerdict::Truncated; // before parsing: some servers cut in the middle of a record
        }
        // Names in the reply point into the question; our random case must not show in them. The lengths of labels
        // are below the letters.
        if has_one_question(&reply) {
            reply[HEADER..self.question_end - 4].make_ascii_lowercase();
        }
        mask_options(&mut reply);
        let Some(mut message) = decode::message(&reply) else { return ReplyVerdict::Malformed };
        let cookie = match self.reply_cookie(&message) {
            Ok(cookie) => cookie,
            Err(()) if channel == Carrier::Datagram => return ReplyVerdict::Mismatch,
            Err(()) => ReplyCookie::Absent,
        };
        if let Some(edns) = &mut message.edns {
            edns.options_mut().remove(EdnsCode::Cookie);
            edns.options_mut().remove(EdnsCode::Unknown(OPTION_UNREAD));
        }
        ReplyVerdict::Answer(Box::new(message), cookie)
    }

    /// Compares id, QR, opcode and question.
    fn compare_header(&self, reply: &[u8], channel: Carrier) -> Result<(), ReplyVerdict> {
        let Some(counts) = SectionCounts::of(reply) else { return Err(ReplyVerdict::Mismatch) };
        if reply[..2] != self.bytes[..2] || reply[2] & 0xF8 != 0x80 {
            return Err(ReplyVerdict::Mismatch);
        }
        match counts.questions {
            1 => {}
            // An error may come as a bare header: a server that could not read us has no question to repeat. Over a
            // stream it is the server's.
            0 if matches!(reply[3] & 0x0F, 1 | 2 | 4 | 5) && counts.answers == 0 => {
                return match channel {
                    Carrier::Stream => Ok(()),
                    Carrier::Datagram => Err(ReplyVerdict::Bare(ResponseCode::from_low(reply[3] & 0x0F))),
                };
            }
            _ => return Err(ReplyVerdict::Mismatch),
        }
        let ours = &self.bytes[HEADER..self.question_end];
        let Some(theirs) = reply.get(HEADER..self.question_end) else {
            return Err(ReplyVerdict::Mismatch);
        };
        if theirs == ours {
            return Ok(());
        }
        // Type and class are compared as they are: among their octets are letters too (HTTPS is 65, `A`).
        let name_len = ours.len() - 4;
        let folded = theirs[..name_len].eq_ignore_ascii_case(&ours[..name_len])
            && theirs[name_len..] == ours[name_len..];
        match (folded, channel) {
            (true, Carrier::Stream) => Ok(()),
            (true, Carrier::Datagram) if !self.mixed_case => Ok(()), // no case was agreed on
            (true, Carrier::Datagram) => Err(ReplyVerdict::CaseFolded),
            (false, _) => Err(ReplyVerdict::Mismatch),
        }
    }

    /// The server cookie of a reply; an error when the client cookie in it is not ours.
    fn reply_cookie(&self, message: &Message) -> Result<ReplyCookie, ()> {
        let option = message.edns.as_ref().and_then(|edns| edns.option(EdnsCode::Cookie));
        let (Some(EdnsOption::Unknown(_, cookie)), Some(ours)) = (option, self.client_cookie) else {
            return Ok(ReplyCookie::Absent);
        };
        if cookie.get(..CLIENT_COOKIE_LEN) != Some(ours.as_slice()) {
            return Err(());
        }
        if !FULL_COOKIE.contains(&cookie.len()) {
            return Ok(ReplyCookie::Absent); // an option echoed by a server that does not know cookies
        }
        Ok(ReplyCookie::Server(cookie[CLIENT_COOKIE_LEN..].to_vec()))
    }
}

/// True for a message with one question.
fn has_one_question(message: &[u8]) -> bool {
    SectionCounts::of(message).is_some_and(|counts| counts.questions == 1)
}

/// Gives every EDNS option but cookies and Extended DNS Errors a code that no parser interprets, in place: an
/// odd option is no reason to lose the answer.
fn mask_options(message: &mut [u8]) {
    let Some(opt) = opt_record(message) else { return }; // two of them, or one of another owner, are refused later
    let data = opt.data_at();
    let odd = |option: &WireOption<'_>| !matches!(option.code, OPTION_COOKIE | OPTION_EDE);
    let places: Vec<usize> = opt.options().filter(odd).map(|option| data + option.at).collect();
    for at in places {
        message[at..at + 2].copy_from_slice(&OPTION_UNREAD.to_be_bytes());
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
