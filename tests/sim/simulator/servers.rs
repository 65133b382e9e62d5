//! What a server makes of a query, and what somebody who would like to be it does.

use super::book::{Fact, What};
use super::dice::Dice;
use super::world::{Cookies, Folding, Says, Server, Settings, Tcp, Truth};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use pvtzd::engine::name::{parse, show};

/// A reply, with what it truly says.
pub struct Reply {
    /// The message.
    pub octets: Vec<u8>,
    /// What it says.
    pub facts: Vec<Fact>,
}

/// The server's half of every cookie.
const SERVER_COOKIE: [u8; 8] = *b"upstream";
/// What no DNS software gets wrong: names as the model has them.
pub fn plain_name(name: &Name) -> String {
    show(name).to_ascii_lowercase()
}

/// A server that answers.
pub struct Answering<'w> {
    /// How it is.
    pub server: &'w Server,
    /// What it knows.
    pub truth: Truth,
    /// Whose truth.
    pub universe: u8,
    /// Its number there.
    pub number: u8,
    /// How long we keep things.
    pub settings: &'w Settings,
    /// The moment.
    pub at: u64,
}

impl Answering<'_> {
    /// What it answers; nothing to what it cannot read.
    pub fn reply(&self, octets: &[u8], over_tcp: bool, dice: &mut Dice) -> Option<Reply> {
        let query = Message::from_vec(octets).ok()?;
        let mut message = response(&query, self.server.folding);
        let mut facts = Vec::new();
        if self.server.no_edns && query.edns.is_some() {
            message.metadata.response_code = ResponseCode::FormErr;
            return Some(Reply { octets: message.to_vec().unwrap(), facts });
        }
        let cookie = cookie_of(&query);
        if let (Some(edns), true) = (&query.edns, self.server.cookies != Cookies::None) {
            let mut own = Edns::new();
            own.set_max_payload(edns.max_payload().max(512));
            if let Some(cookie) = &cookie {
                let whole = [&cookie[..8.min(cookie.len())], &SERVER_COOKIE].concat();
                own.options_mut().insert(EdnsOption::Unknown(10, whole));
            }
            let known = cookie.as_ref().is_none_or(|cookie| cookie.len() == 16);
            if self.server.cookies == Cookies::Demands && !known && !over_tcp {
                message.metadata.response_code = ResponseCode::BADCOOKIE;
                own.set_rcode_high(ResponseCode::BADCOOKIE.high());
                message.set_edns(own);
                return Some(Reply { octets: message.to_vec().unwrap(), facts });
            }
            message.set_edns(own);
        } else if query.edns.is_some() {
            message.set_edns(Edns::new());
        }
        if dice.chance(self.server.fails) {
            message.metadata.response_code = dice.pick(&[ResponseCode::ServFail, ResponseCode::Refused]);
        } else {
            self.fill(&mut message, &query.queries[0], &mut facts, dice);
        }
        if over_tcp && self.server.tcp == Tcp::Cuts {
            message.answers.truncate(1);
            message.authorities.clear();
            message.metadata.truncation = !self.server.unmarked;
            return Some(Reply { octets: message.to_vec().unwrap(), facts: Vec::new() });
        }
        let octets = message.to_vec().unwrap();
        let room = query.edns.as_ref().map_or(512, |edns| usize::from(edns.max_payload()));
        if !over_tcp && (self.server.cuts || octets.len() > room) {
            message.answers.clear();
            message.authorities.clear();
            message.metadata.truncation = true;
            return Some(Reply { octets: message.to_vec().unwrap(), facts: Vec::new() });
        }
        Some(Reply { octets, facts })
    }

    /// Follows the name through its universe, as a resolver does.
    fn fill(&self, message: &mut Message, question: &Query, facts: &mut Vec<Fact>, dice: &mut Dice) {
        let rtype = question.query_type();
        let mut owner = question.name().clone();
        let mut seen: Vec<String> = Vec::new();
        loop {
            let name = plain_name(&owner);
            let mut note = |what, ttl| {
                let (universe, server) = (self.universe, self.number);
                facts.push(Fact { universe, server, name: name.clone(), what, ttl, at: 0 });
            };
            let denied = |message: &mut Message, soa: Option<u32>| {
                if let Some(ttl) = soa {
                    let data = SOA::new(Name::root(), Name::root(), 1, 3600, 600, 86_400, ttl);
                    message.authorities.push(Record::from_rdata(Name::root(), ttl, RData::SOA(data)));
                }
                valid(soa.unwrap_or(5)).min(self.settings.negative_max_ttl)
            };
            match self.truth.says(self.universe, &name, rtype, self.at) {
                Says::Set(ttl, count) => {
                    for place in 0..count {
                        let data = self.data(rtype, &name, place);
                        message.answers.push(Record::from_rdata(owner.clone(), ttl, data.clone()));
                        note(What::Record(data), self.kept(ttl));
                    }
                }
                Says::Alias(ttl, target) => {
                    let target = parse(&target).unwrap();
                    let data = RData::CNAME(CNAME(target.clone()));
                    message.answers.push(Record::from_rdata(owner.clone(), ttl, data.clone()));
                    note(What::Record(data), self.kept(ttl));
                    seen.push(name);
                    // now and then a server leaves the rest to who asks
                    if seen.contains(&plain_name(&target)) || dice.chance(100) {
                        return;
                    }
                    owner = target;
                    continue;
                }
                Says::NoData(soa) => {
                    let ttl = denied(message, soa);
                    note(What::NoData(rtype), ttl);
                }
                Says::NxDomain(soa) => {
                    message.metadata.response_code = ResponseCode::NXDomain;
                    let ttl = denied(message, soa);
                    note(What::NxDomain, ttl);
                }
                Says::Fails(rcode) => {
                    message.metadata.response_code = rcode;
                    message.answers.clear();
                    facts.clear();
                }
                Says::Refers if message.answers.is_empty() => {
                    let data = RData::NS(NS(parse("ns.elsewhere.test").unwrap()));
                    message.authorities.push(Record::from_rdata(Name::root(), 60, data));
                }
                Says::Refers => {}
            }
            return;
        }
    }

    /// A value that tells where it comes from: universe, name and version.
    fn data(&self, rtype: RecordType, name: &str, place: u8) -> RData {
        let number = super::plan::NAMES.iter().position(|other| *other == name).unwrap_or(99) as u8;
        let version = self.truth.version(self.at) as u16;
        let last = (version as u8 % 64) * 4 + place;
        let universe = self.universe;
        match rtype {
            RecordType::AAAA => {
                let part = |number: u8| u16::from(number);
                let groups = [0x2001, 0xdb8, part(universe), part(number), version, 0, 0, part(place)];
                RData::AAAA(AAAA(groups.into()))
            }
            RecordType::TXT => {
                // some of them do not fit a datagram
                let length = if number.is_multiple_of(4) { 240 } else { 10 };
                let text = format!("{universe} {number} {version} {place} {}", "x".repeat(length));
                RData::TXT(TXT::new(vec![text; 1 + usize::from(number.is_multiple_of(4)) * 3]))
            }
            _ => RData::A(A::new(192, universe, number, last)),
        }
    }

    /// The TTL as we may keep it (RFC 2181 section 8, and our own bounds).
    fn kept(&self, ttl: u32) -> u32 {
        valid(ttl).clamp(self.settings.min_ttl.min(self.settings.max_ttl), self.settings.max_ttl)
    }
}

/// A TTL with its highest bit set means zero.
fn valid(ttl: u32) -> u32 {
    if ttl > i32::MAX as u32 { 0 } else { ttl }
}

/// An empty response to a query.
fn response(query: &Message, folding: Folding) -> Message {
    let mut message = Message::response(query.metadata.id, query.metadata.op_code);
    message.metadata.recursion_available = true;
    message.queries.clone_from(&query.queries);
    for question in &mut message.queries {
        let name = folding.applied(question.name());
        question.set_name(name);
    }
    message
}

/// The cookie in a query.
pub fn cookie_of(query: &Message) -> Option<Vec<u8>> {
    match query.edns.as_ref()?.option(EdnsCode::Cookie)? {
        EdnsOption::Unknown(_, cookie) => Some(cookie.clone()),
        _ => None,
    }
}

/// What is wrong with a forged datagram: whoever sends it has seen the query, and gets one thing wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgery {
    /// The id.
    Id,
    /// The name.
    Name,
    /// The type.
    Type,
    /// The case of one letter.
    Case,
    /// The cookie, which is another's; or none comes although one is expected.
    Cookie,
    /// It is a query itself.
    Query,
    /// The opcode.
    Opcode,
    /// All but the id.
    Garbage,
    /// The port.
    Port,
    /// The question, which an error need not have.
    Bare,
    /// Nothing: what must never happen, and what the tests of the invariants do.
    Nothing,
}

/// All that can be wrong.
pub const FORGERIES: [Forgery; 10] = [
    Forgery::Id,
    Forgery::Name,
    Forgery::Type,
    Forgery::Case,
    Forgery::Cookie,
    Forgery::Query,
    Forgery::Opcode,
    Forgery::Garbage,
    Forgery::Port,
    Forgery::Bare,
];

/// A forged reply to a query; nothing where that kind of forgery would be none.
pub fn forge(octets: &[u8], forgery: Forgery, dice: &mut Dice) -> Option<Vec<u8>> {
    if forgery == Forgery::Garbage {
        let tail = (0..dice.below(60)).map(|_| dice.below(256) as u8);
        return Some(octets[..2].iter().copied().chain([0x81]).chain(tail).collect());
    }
    if forgery == Forgery::Bare {
        let rcode = dice.pick(&[1, 2, 4, 5]);
        return Some([&octets[..2], &[0x81, 0x80 | rcode], &[0; 8]].concat());
    }
    let query = Message::from_vec(octets).ok()?;
    let mut message = response(&query, Folding::None);
    let question = query.queries.first()?;
    let mut name = question.name().clone();
    let mut rtype = question.query_type();
    let mut cookie = cookie_of(&query);
    // Who is known to fold case is asked in lower case, and answers in any: another case is no mistake then.
    if forgery == Forgery::Case && !name.to_ascii().bytes().any(|octet| octet.is_ascii_uppercase()) {
        return None;
    }
    match forgery {
        Forgery::Id => message.metadata.id ^= 1 + dice.below(65_535) as u16,
        Forgery::Name => name = parse("forged.test").unwrap(),
        Forgery::Type => rtype = if rtype == RecordType::A { RecordType::AAAA } else { RecordType::A },
        Forgery::Cookie => match &mut cookie {
            Some(cookie) if dice.chance(500) => cookie[0] ^= 1,
            // only who has given us one before is expected to
            Some(whole) if whole.len() > 8 => cookie = None,
            Some(cookie) => cookie[0] ^= 1,
            None => return None,
        },
        Forgery::Query => message.metadata.message_type = MessageType::Query,
        Forgery::Opcode => message.metadata.op_code = OpCode::Notify,
        _ => {}
    }
    message.queries = vec![Query::query(name.clone(), rtype)];
    let data = match rtype {
        RecordType::AAAA => RData::AAAA(AAAA::new(0x2001, 0xdb8, 0xbad, 0, 0, 0, 0, 1)),
        RecordType::TXT => RData::TXT(TXT::new(vec!["forged".into()])),
        _ => RData::A(A::new(203, 0, 113, 66)),
    };
    message.answers.push(Record::from_rdata(name, 86_400, data));
    if let Some(mut cookie) = cookie {
        cookie.truncate(8);
        let whole = [&cookie[..], &SERVER_COOKIE].concat();
        let mut edns = Edns::new();
        edns.options_mut().insert(EdnsOption::Unknown(10, whole));
        message.set_edns(edns);
    }
    let mut forged = message.to_vec().ok()?;
    if forgery == Forgery::Case {
        let letter = (12..forged.len()).take_while(|at| forged[*at] != 0).find(|at| {
            // lengths of labels are below the letters
            forged[*at].is_ascii_alphabetic()
        })?;
        forged[letter] ^= 0x20;
    }
    Some(forged)
}
