//! Parses and validates a client's packet.
//!
//! One function for every transport: QR=0, opcode QUERY, one question, no records in sections that are empty in a
//! query, at most one OPT. The parser reads in place and accepts no compression, because the only name in a query has
//! no earlier name to point to.

use super::cookie::{CLIENT, ClientCookie, SERVER};
use super::message::{HEADER, MessageCursor, OPTION_COOKIE, SectionCounts, TYPE_OPT, WireRecord, opt_record};
use super::name::NameKey;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{DNSClass, Name, RecordType};
use hickory_proto::serialize::binary::BinDecodable;

/// The question.
#[derive(Clone, Debug)]
pub struct Question {
    /// The name, in the client's case.
    pub name: Name,
    /// The same as a key.
    pub key: NameKey,
    /// The type.
    pub rtype: RecordType,
    /// The class; only IN is accepted.
    pub class: DNSClass,
}

impl Question {
    /// A question of class IN.
    pub fn new(name: Name, rtype: RecordType) -> Self {
        Self { key: NameKey::of(&name), name, rtype, class: DNSClass::IN }
    }
}

/// The client's OPT record (RFC 6891).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientEdns {
    /// The UDP payload size of the client.
    pub udp_payload: u16,
    /// The EDNS version; only 0 exists.
    pub version: u8,
    /// DNSSEC OK.
    pub dnssec_ok: bool,
    /// The COOKIE option, if there is one.
    pub cookie: Option<ClientCookie>,
}

/// A query, as far as it was parsed.
#[derive(Clone, Debug)]
pub struct Request {
    /// Message id.
    pub id: u16,
    /// Opcode, echoed.
    pub opcode: u8,
    /// Recursion desired.
    pub recursion_desired: bool,
    /// Checking disabled.
    pub checking_disabled: bool,
    /// The client understands the AD bit (RFC 6840 section 5.7).
    pub authentic_data: bool,
    /// The question, if it was parsed.
    pub question: Option<Question>,
    /// The OPT record, if there is one.
    pub edns: Option<ClientEdns>,
    /// The COOKIE option of the answer: client and server cookie.
    pub cookie_back: Option<[u8; CLIENT + SERVER]>,
}

/// The result for a packet.
#[derive(Clone, Debug)]
pub enum Admission {
    /// No answer: not a query, or too short.
    Drop,
    /// Answered with this code only; NOERROR for a query for a cookie only.
    Reject(Request, ResponseCode),
    /// A valid query.
    Accept(Request, Question),
}

impl Request {
    /// Reads a packet.
    pub fn parse(packet: &[u8]) -> Admission {
        let Some(header) = packet.first_chunk::<HEADER>() else { return Admission::Drop };
        let flags = u16::from_be_bytes([header[2], header[3]]);
        if flags & 0x8000 != 0 {
            return Admission::Drop; // an answer is never answered
        }
        let mut request = Self {
            id: u16::from_be_bytes([header[0], header[1]]),
            opcode: ((flags >> 11) & 0xf) as u8,
            recursion_desired: flags & 0x0100 != 0,
            checking_disabled: flags & 0x0010 != 0,
            authentic_data: flags & 0x0020 != 0,
            question: None,
            edns: None,
            cookie_back: None,
        };
        match request.read(packet, header) {
            Ok(question) => Admission::Accept(request, question),
            Err(rcode) => {
                // a query with OPT gets an answer with OPT (RFC 6891 section 6.1.1), also an error
                request.edns = request.edns.or_else(|| opt_record(packet).as_ref().map(without_options));
                Admission::Reject(request, rcode)
            }
        }
    }

    /// Parses the message after the flags.
    fn read(&mut self, packet: &[u8], header: &[u8; HEADER]) -> Result<Question, ResponseCode> {
        if self.opcode != 0 {
            return Err(ResponseCode::NotImp);
        }
        let SectionCounts { questions, answers, authorities, additionals } = SectionCounts::of_header(header);
        let mut cursor = MessageCursor::new(packet, HEADER);
        if questions > 1 {
            return Err(ResponseCode::FormErr);
        }
        if questions == 1 {
            self.question = Some(question(&mut cursor).ok_or(ResponseCode::FormErr)?);
        }
        // IXFR has an SOA in its authority section (RFC 1995); it is refused later.
        let is_ixfr = |question: &Question| question.rtype == RecordType::IXFR;
        let authorities_allowed = u16::from(self.question.as_ref().is_some_and(is_ixfr));
        if answers != 0 || authorities > authorities_allowed || additionals > 2 {
            return Err(ResponseCode::FormErr);
        }
        for _ in 0..authorities + additionals {
            let record = cursor.record().ok_or(ResponseCode::FormErr)?;
            if record.rtype == TYPE_OPT {
                let edns = client_edns(&record).filter(|_| self.edns.is_none()); // there is one at most
                self.edns = Some(edns.ok_or(ResponseCode::FormErr)?);
            }
        }
        if !cursor.is_done() {
            return Err(ResponseCode::FormErr);
        }
        if self.edns.is_some_and(|edns| edns.version > 0) {
            return Err(ResponseCode::BADVERS);
        }
        match &self.question {
            Some(question) => Ok(question.clone()),
            // a query for a cookie only (RFC 7873 section 5.4)
            None if self.edns.is_some_and(|edns| edns.cookie.is_some()) => Err(ResponseCode::NoError),
            None => Err(ResponseCode::FormErr),
        }
    }

    /// Adds a cookie to the answer.
    pub fn give_cookie(&mut self, ours: &[u8; SERVER]) {
        let Some(cookie) = self.edns.and_then(|edns| edns.cookie) else { return };
        let mut both = [0; CLIENT + SERVER];
        both[..CLIENT].copy_from_slice(&cookie.client);
        both[CLIENT..].copy_from_slice(ours);
        self.cookie_back = Some(both);
    }

    /// True if the client requests DNSSEC records.
    pub fn dnssec_ok(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec_ok)
    }
}

/// Parses a question; its name cannot be compressed.
fn question(cursor: &mut MessageCursor<'_>) -> Option<Question> {
    let wire = cursor.name()?;
    let key = NameKey::of_wire(wire);
    let name = Name::from_bytes(wire).ok()?;
    let rtype = RecordType::from(cursor.u16()?);
    let class = DNSClass::from(cursor.u16()?);
    Some(Question { key, name, rtype, class })
}

/// The client's OPT record with decoded fields (RFC 6891 section 6.1.3); None for a malformed one.
fn client_edns(record: &WireRecord<'_>) -> Option<ClientEdns> {
    let mut edns = without_options(record);
    let mut options = record.options();
    for option in options.by_ref() {
        if option.code == OPTION_COOKIE && edns.cookie.is_none() {
            // RFC 7873 section 5.2.2: another length is malformed
            edns.cookie = Some(ClientCookie::read(option.value)?);
        }
    }
    (record.is_of_root() && options.is_done()).then_some(edns)
}

/// The same without its options, which are ignored if the message has another error.
fn without_options(record: &WireRecord<'_>) -> ClientEdns {
    let (udp_payload, version, dnssec_ok) = (record.class, record.edns_version(), record.dnssec_ok());
    ClientEdns { udp_payload, version, dnssec_ok, cookie: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A query for `a.example` A with RD, and what the test adds.
    fn packet(flags: u16, counts: [u16; 4], tail: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x12, 0x34];
        bytes.extend(flags.to_be_bytes());
        counts.iter().for_each(|count| bytes.extend(count.to_be_bytes()));
        bytes.extend(b"\x01A\x07example\x00\x00\x01\x00\x01");
        bytes.extend(tail);
        bytes
    }

    const OPT: &[u8] = b"\0\0\x29\x04\xd0\0\0\x80\0\0\0";

    fn verdict(packet: &[u8]) -> String {
        match Request::parse(packet) {
            Admission::Drop => "drop".into(),
            Admission::Reject(_, code) => code.to_str().to_string(),
            Admission::Accept(request, question) => {
                format!(
                    "{} {} {:?}",
                    question.name,
                    question.rtype,
                    request.edns.map(|e| (e.udp_payload, e.dnssec_ok))
                )
            }
        }
    }

    #[test]
    fn good_queries_are_read() {
        assert_eq!(verdict(&packet(0x0100, [1, 0, 0, 0], b"")), "A.example. A None");
        assert_eq!(verdict(&packet(0x0100, [1, 0, 0, 1], OPT)), "A.example. A Some((1232, true))");
    }

    #[test]
    fn what_is_not_a_query_is_not_answered() {
        assert_eq!(verdict(b""), "drop");
        assert_eq!(verdict(&[0; 11]), "drop");
        assert_eq!(verdict(&packet(0x8180, [1, 0, 0, 0], b"")), "drop");
    }

    #[test]
    fn malformed_queries_are_rejected() {
        let formerr = ResponseCode::FormErr.to_str();
        let two_opts = [OPT, OPT].concat();
        let cut_option = b"\0\0\x29\x04\xd0\0\0\0\0\0\x04\0\x0a\0\x08";
        let mut long = packet(0x0100, [1, 0, 0, 0], b"")[..HEADER].to_vec();
        long.extend([[63u8].as_slice(), &[b'a'; 63]].concat().repeat(4));
        long.extend(b"\0\0\x01\0\x01");
        let mut pointer = packet(0x0100, [1, 0, 0, 0], b"")[..HEADER].to_vec();
        pointer.extend(b"\xc0\x0c\0\x01\0\x01");
        let mut label64 = packet(0x0100, [1, 0, 0, 0], b"")[..HEADER].to_vec();
        label64.extend([[64u8].as_slice(), &[b'a'; 64]].concat());
        label64.extend(b"\0\0\x01\0\x01");
        for (what, bytes) in [
            ("no question", packet(0x0100, [0, 0, 0, 0], b"")[..HEADER].to_vec()),
            ("two questions", packet(0x0100, [2, 0, 0, 0], b"\x01b\0\0\x01\0\x01")),
            ("an answer record", packet(0x0100, [1, 1, 0, 0], OPT)),
            ("an authority record", packet(0x0100, [1, 0, 1, 0], OPT)),
            ("two OPTs", packet(0x0100, [1, 0, 0, 2], &two_opts)),
            ("a missing record", packet(0x0100, [1, 0, 0, 1], b"")),
            ("a cut option", packet(0x0100, [1, 0, 0, 1], cut_option)),
            ("trailing bytes", packet(0x0100, [1, 0, 0, 0], b"\0")),
            ("a cut question", packet(0x0100, [1, 0, 0, 0], b"")[..20].to_vec()),
            ("a name of 257 octets", long),
            ("a pointer to itself", pointer),
            ("a label of 64 octets", label64),
            ("OPT below a name", packet(0x0100, [1, 0, 0, 1], b"\x01a\0\0\x29\x04\xd0\0\0\0\0\0\0")),
        ] {
            assert_eq!(verdict(&bytes), formerr, "{what}");
        }
        assert_eq!(verdict(&packet(0x2100, [1, 0, 0, 0], b"")), ResponseCode::NotImp.to_str());
        assert_eq!(
            verdict(&packet(0x0100, [1, 0, 0, 1], b"\0\0\x29\x04\xd0\0\x01\0\0\0\0")),
            ResponseCode::BADVERS.to_str()
        );
    }

    #[test]
    fn every_rejection_of_a_query_with_opt_keeps_its_opt() {
        let two_opts = [OPT, OPT].concat();
        let long_cookie = b"\0\0\x29\x04\xd0\0\0\0\0\0\x05\0\x0a\0\x01\x07";
        let answer = [b"\xc0\x0c\0\x01\0\x01\0\0\0\0\0\x04\x7f\0\0\x01".as_slice(), OPT].concat();
        let question = [b"\x01b\0\0\x01\0\x01".as_slice(), OPT].concat();
        let none = [&packet(0x0100, [0, 0, 0, 1], b"")[..HEADER], OPT].concat();
        for (what, bytes) in [
            ("another opcode", packet(0x2100, [1, 0, 0, 1], OPT)),
            ("another opcode, without a question", {
                let mut bytes = none.clone();
                bytes[2] = 0x29;
                bytes
            }),
            ("no question", none),
            ("two questions", packet(0x0100, [2, 0, 0, 1], &question)),
            ("an answer", packet(0x0100, [1, 1, 0, 1], &answer)),
            ("an authority", packet(0x0100, [1, 0, 1, 1], &answer)),
            ("two OPTs", packet(0x0100, [1, 0, 0, 2], &two_opts)),
            ("a malformed cookie", packet(0x0100, [1, 0, 0, 1], long_cookie)),
            ("trailing octets", packet(0x0100, [1, 0, 0, 1], &[OPT, &[0]].concat())),
            ("a missing record", packet(0x0100, [1, 0, 0, 2], OPT)),
            ("too many records", packet(0x0100, [1, 0, 0, 3], &[OPT, &answer[..16], &answer[..16]].concat())),
            ("version 1", packet(0x0100, [1, 0, 0, 1], b"\0\0\x29\x04\xd0\0\x01\0\0\0\0")),
        ] {
            let Admission::Reject(request, rcode) = Request::parse(&bytes) else { panic!("{what}") };
            assert_eq!(request.edns.map(|edns| edns.udp_payload), Some(1232), "{what}");
            assert!(rcode != ResponseCode::NoError && request.cookie_back.is_none(), "{what}");
        }
    }

    #[test]
    fn a_question_about_the_cookie_alone_is_no_error() {
        let cookie = b"\0\0\x29\x04\xd0\0\0\0\0\0\x0c\0\x0a\0\x08\x01\x02\x03\x04\x05\x06\x07\x08";
        let bytes = [&packet(0x0100, [0, 0, 0, 1], b"")[..HEADER], cookie].concat();
        let Admission::Reject(request, ResponseCode::NoError) = Request::parse(&bytes) else { panic!() };
        assert!(request.question.is_none());
        assert_eq!(request.edns.and_then(|edns| edns.cookie).map(|cookie| cookie.client[7]), Some(8));
        let short = [&bytes[..bytes.len() - 1]].concat();
        assert_eq!(verdict(&short), ResponseCode::FormErr.to_str());
        assert_eq!(verdict(&[&bytes[..], &[0]].concat()), ResponseCode::FormErr.to_str());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = Request::parse(&bytes);
        }

        #[test]
        fn a_mutated_query_never_panics(at in 0usize..40, value in any::<u8>(), cut in 0usize..40) {
            let mut bytes = packet(0x0100, [1, 0, 0, 1], OPT);
            let place = at % bytes.len();
            bytes[place] = value;
            bytes.truncate(bytes.len() - cut % bytes.len());
            let _ = Request::parse(&bytes);
        }
    }
}
