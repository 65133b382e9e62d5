//! Checks before any lookup of a name, for every transport.

use super::answer::{Answer, ExtendedError};
use super::request::Question;
use super::{name::NameKey, record};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{DNSClass, RData, Record, RecordType};

/// The settings of [`precheck`].
#[derive(Clone, Copy, Debug)]
pub struct Precheck {
    /// The client's address is on the allow-list.
    pub allowed: bool,
    /// `version.bind` and `version.server` in class CHAOS are answered.
    pub version_bind: bool,
}

/// The answer to a rejected question; None if the question is accepted.
pub fn precheck(question: &Question, screening: Precheck) -> Option<Answer> {
    if !screening.allowed {
        return Some(refused(ExtendedError::PROHIBITED, "this client is not on the allow-list"));
    }
    if question.class == DNSClass::CH && screening.version_bind && is_version_question(question) {
        return Some(version(question));
    }
    if question.class != DNSClass::IN {
        return Some(refused(ExtendedError::NOT_SUPPORTED, "only class IN is served"));
    }
    if matches!(question.rtype, RecordType::AXFR | RecordType::IXFR) {
        return Some(refused(ExtendedError::NOT_SUPPORTED, "zone transfers are not supported"));
    }
    if record::is_meta(question.rtype) && question.rtype != RecordType::ANY {
        return Some(refused(ExtendedError::NOT_SUPPORTED, "this type is not valid for a query"));
    }
    None
}

fn refused(code: u16, text: &'static str) -> Answer {
    Answer::code(ResponseCode::Refused, Some(ExtendedError::new(code, text)))
}

/// The names for version queries.
fn is_version_question(question: &Question) -> bool {
    let asked = |name: &[u8]| question.key.wire() == name;
    matches!(question.rtype, RecordType::TXT | RecordType::ANY)
        && (asked(b"\x07version\x04bind\0") || asked(b"\x07version\x06server\0"))
}

fn version(question: &Question) -> Answer {
    let text = RData::TXT(TXT::new(vec![format!("pvtzd {}", env!("CARGO_PKG_VERSION"))]));
    let mut record = Record::from_rdata(question.name.clone(), 0, text);
    record.dns_class = DNSClass::CH;
    let mut answer = Answer::code(ResponseCode::NoError, None);
    answer.answers.push(&record);
    answer.authoritative = true;
    answer
}

/// The suffix of the names of loop probes.
pub fn is_loop_probe(name: &NameKey) -> bool {
    name.wire().ends_with(b"\x0apvtzd-loop\0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::name::parse;

    fn check(name: &str, rtype: RecordType, class: DNSClass, screening: Precheck) -> String {
        let mut question = Question::new(parse(name).unwrap(), rtype);
        question.class = class;
        match precheck(&question, screening) {
            None => "goes on".into(),
            Some(answer) => format!("{:?} {}", answer.rcode, answer.answers.len()),
        }
    }

    #[test]
    fn questions_that_are_not_ours_are_refused() {
        let open = Precheck { allowed: true, version_bind: false };
        for (name, rtype, class, screening, expected) in [
            ("a.example", RecordType::A, DNSClass::IN, open, "goes on"),
            ("a.example", RecordType::ANY, DNSClass::IN, open, "goes on"),
            ("a.example", RecordType::A, DNSClass::IN, Precheck { allowed: false, ..open }, "Refused 0"),
            ("a.example", RecordType::AXFR, DNSClass::IN, open, "Refused 0"),
            ("a.example", RecordType::IXFR, DNSClass::IN, open, "Refused 0"),
            ("a.example", RecordType::from(253), DNSClass::IN, open, "Refused 0"),
            ("a.example", RecordType::OPT, DNSClass::IN, open, "Refused 0"),
            ("a.example", RecordType::A, DNSClass::HS, open, "Refused 0"),
            ("version.bind", RecordType::TXT, DNSClass::CH, open, "Refused 0"),
            (
                "version.bind",
                RecordType::TXT,
                DNSClass::CH,
                Precheck { version_bind: true, ..open },
                "NoError 1",
            ),
            (
                "id.server",
                RecordType::TXT,
                DNSClass::CH,
                Precheck { version_bind: true, ..open },
                "Refused 0",
            ),
        ] {
            assert_eq!(check(name, rtype, class, screening), expected, "{name} {rtype} {class}");
        }
    }
}
