//! The filters of the live log: which answers a reader gets. A filter is checked on answers that are sampled anyway, and
//! on those that did not come from the packet cache; it allocates nothing.

use super::zone_stats::StatKey;
use crate::engine::message::{HEADER, opt_record, wire_length};
use crate::engine::name::NameKey;
use std::fmt::Debug;
use std::net::IpAddr;

/// Settles which clients are wanted. It must know no more of a client than a reader is shown.
pub trait ClientMatch: Debug + Send + Sync {
    /// True for a client that is wanted.
    fn matches(&self, client: IpAddr) -> bool;
}

/// What an answer must have. What is not set is not looked at.
#[derive(Debug, Default)]
pub struct AnswerFilter {
    /// A part of the name.
    pub name: Option<NamePart>,
    /// The type.
    pub rtype: Option<u16>,
    /// The response code, the bits of EDNS included.
    pub code: Option<u16>,
    /// The client.
    pub client: Option<Box<dyn ClientMatch>>,
    /// The beginning of the name of the module that answered.
    pub module: Option<String>,
}

/// An answer, as far as filters look at it.
#[derive(Clone, Copy, Debug)]
pub struct FilteredAnswer<'r> {
    /// The message.
    pub reply: &'r [u8],
    /// The client.
    pub client: IpAddr,
    /// What it is counted for.
    pub mark: StatKey,
    /// It came from the packet cache.
    pub fast: bool,
}

impl AnswerFilter {
    /// True if every answer is wanted.
    pub fn is_empty(&self) -> bool {
        let Self { name, rtype, code, client, module } = self;
        name.is_none() && rtype.is_none() && code.is_none() && client.is_none() && module.is_none()
    }

    /// True for an answer that is wanted. The cheap checks come first.
    pub fn matches(&self, answer: &FilteredAnswer<'_>) -> bool {
        let FilteredAnswer { reply, client, mark, fast } = *answer;
        let has_module = |module: &String| mark.module(fast).starts_with(module.as_str());
        self.rtype.is_none_or(|wanted| rtype(reply) == Some(wanted))
            && self.code.is_none_or(|wanted| code(reply, wanted) == Some(wanted))
            && self.module.as_ref().is_none_or(has_module)
            && self.name.as_ref().is_none_or(|part| has_name(reply, part))
            && self.client.as_ref().is_none_or(|clients| clients.matches(client))
    }
}

/// A part of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePart {
    /// Labels in lower case with a dot behind each; behind the last one if the name ends there.
    octets: Box<[u8]>,
    begins_label: bool,
    ends_name: bool,
}

impl NamePart {
    /// The labels of `name`. The first one may be the end of a label and the last one the beginning of one, unless
    /// `begins_label` and `ends_name` say otherwise.
    pub fn new(name: &NameKey, begins_label: bool, ends_name: bool) -> Self {
        let mut buffer = [0; 256];
        let text = joined(name.wire(), &mut buffer);
        let octets = if ends_name { text } else { text.strip_suffix(b".").unwrap_or(text) };
        Self { octets: octets.into(), begins_label, ends_name }
    }

    /// True for a name, its labels joined, that has this part.
    fn is_in(&self, text: &[u8]) -> bool {
        let Some(last) = text.len().checked_sub(self.octets.len()) else { return false };
        let first = if self.ends_name { last } else { 0 };
        let is_at = |at: usize| {
            text.get(at..).is_some_and(|rest| rest.starts_with(&self.octets))
                && (!self.begins_label || at == 0 || text.get(at - 1) == Some(&b'.'))
        };
        (first..=last).any(is_at)
    }
}

/// The name in a question, if the message has one.
fn name_of(reply: &[u8]) -> Option<&[u8]> {
    let rest = reply.get(HEADER..)?;
    let length = wire_length(rest).filter(|_| reply.get(5) == Some(&1))?;
    rest.get(..length)
}

/// The type in a question.
fn rtype(reply: &[u8]) -> Option<u16> {
    let at = HEADER + name_of(reply)?.len();
    reply.get(at..)?.first_chunk().map(|octets| u16::from_be_bytes(*octets))
}

/// The response code. The OPT record is looked for only if the header alone could be the wanted code.
fn code(reply: &[u8], wanted: u16) -> Option<u16> {
    let low = u16::from(reply.get(3)? & 15);
    if low != wanted & 15 {
        return Some(low);
    }
    let high = opt_record(reply).map_or(0, |opt| opt.ttl >> 24) as u16;
    Some(high << 4 | low)
}

/// True for an answer about a name that has the part.
fn has_name(reply: &[u8], part: &NamePart) -> bool {
    let mut buffer = [0; 256];
    name_of(reply).is_some_and(|name| part.is_in(joined(name, &mut buffer)))
}

/// The labels of a name in lower case, with a dot behind each.
fn joined<'b>(wire: &[u8], buffer: &'b mut [u8; 256]) -> &'b [u8] {
    let (mut length, mut rest) = (0, wire);
    while let Some((&octets, behind)) = rest.split_first() {
        let Some((label, behind)) = behind.split_at_checked(usize::from(octets)).filter(|_| octets > 0)
        else {
            break;
        };
        let Some(room) = buffer.get_mut(length..=length + label.len()) else { break };
        let (text, dot) = room.split_at_mut(label.len());
        text.copy_from_slice(label);
        text.make_ascii_lowercase();
        dot.fill(b'.');
        (length, rest) = (length + label.len() + 1, behind);
    }
    if length == 0 {
        (buffer[0], length) = (b'.', 1); // the root
    }
    &buffer[..length]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::name::parse;
    use crate::stats::zone_stats::{AnswerSource, CacheResult};

    fn reply(name: &str, rtype: u16, code: u8) -> Vec<u8> {
        let mut packet = vec![0, 1, 0x81, code & 15, 0, 1, 0, 0, 0, 0, 0, 1];
        packet.extend(NameKey::of(&parse(name).unwrap()).wire());
        packet.extend([rtype.to_be_bytes(), [0, 1]].concat());
        packet.extend([0, 0, 41, 4, 208, code >> 4, 0, 0, 0, 0, 0]);
        packet
    }

    fn answer(reply: &[u8]) -> FilteredAnswer<'_> {
        let mark = StatKey::new(0, AnswerSource::Zone, CacheResult::None);
        FilteredAnswer { reply, client: "192.0.2.1".parse().unwrap(), mark, fast: false }
    }

    #[test]
    fn a_part_of_a_name_is_found_at_any_place() {
        let has = |name: &str, part: &str, begins, ends| {
            let part = NamePart::new(&NameKey::of(&parse(part).unwrap()), begins, ends);
            let filter = AnswerFilter { name: Some(part), ..AnswerFilter::default() };
            filter.matches(&answer(&reply(name, 1, 0)))
        };
        assert!(has("www.Example.com", "example", false, false));
        assert!(has("www.example.com", "ample.C", false, false));
        assert!(has("www.example.com", "example.com", true, true));
        assert!(has("example.com", "example.com", true, true), "the name itself");
        assert!(!has("anexample.com", "example.com", true, true));
        assert!(!has("www.example.com.cn", "example.com", true, true));
        assert!(has("www.example.com.cn", "example.com", true, false));
        assert!(!has("www.example.com", "wwwexample", false, false));
        assert!(has(".", ".", false, true));
        let long = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
        assert!(has(&long, &format!("a.{}", "b".repeat(61)), false, true), "the longest name");
    }

    #[test]
    fn all_that_is_set_must_be_there() {
        let matches = |filter: AnswerFilter, reply: &[u8]| filter.matches(&answer(reply));
        let of = |rtype, code| AnswerFilter { rtype, code, ..AnswerFilter::default() };
        let nxdomain = reply("a.example", 28, 3);
        assert!(AnswerFilter::default().is_empty() && matches(AnswerFilter::default(), &nxdomain));
        assert!(matches(of(Some(28), Some(3)), &nxdomain));
        assert!(!matches(of(Some(1), Some(3)), &nxdomain));
        assert!(!matches(of(Some(28), Some(0)), &nxdomain));
        let badvers = reply("a.example", 1, 16);
        assert!(matches(of(None, Some(16)), &badvers) && !matches(of(None, Some(0)), &badvers));
        let module = |word: &str| AnswerFilter { module: Some(word.into()), ..AnswerFilter::default() };
        assert!(matches(module("AUTH"), &nxdomain) && matches(module("AUTH_SLOW"), &nxdomain));
        assert!(!matches(module("AUTH_FAST"), &nxdomain) && !matches(module("CACHE"), &nxdomain));
    }

    #[test]
    fn what_is_no_message_has_no_name_type_or_code() {
        let name = || Some(NamePart::new(&NameKey::of(&parse("a").unwrap()), false, false));
        for octets in [&b""[..], &[0; 3], &[0; 12], &[0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 63]] {
            for filter in [
                AnswerFilter { name: name(), ..AnswerFilter::default() },
                AnswerFilter { rtype: Some(1), ..AnswerFilter::default() },
            ] {
                assert!(!filter.matches(&answer(octets)), "{octets:?}");
            }
        }
    }
}
