//! What must hold, whatever happens. Each invariant is a function that says what it saw instead; `tests/sim/broken.rs`
//! shows of each that it can.

use super::book::{Book, Broken, Fact, What};
use super::claims::{Claim, Held};
use super::client::Asked;
use super::plan::Verdict;
use super::servers::plain_name;
use super::world::Settings;
use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::{RData, Record};
use pvtzd::engine::name::show;

/// What every client may count on, in milliseconds: glibc gives up after 5 s.
const TIMEOUT: u64 = 4000;
/// For how long what a client asked may still lead to questions: its own 4 s, an exchange that began at their end, and
/// the connection that this exchange opened.
const ECHO: u64 = 15_000;

/// A client matches answers by id and question, letter for letter; a flag that is not echoed is as bad.
pub fn an_answer_belongs_to_its_question(asked: &Asked, answer: &Message) -> Result<(), Broken> {
    let seen = |why: String| Err(Broken::new("an answer belongs to its question", why));
    let head = &answer.metadata;
    if head.id != asked.id || head.message_type != MessageType::Response {
        return seen(format!("id {} for {}", head.id, asked.id));
    }
    let [question] = &answer.queries[..] else {
        return seen(format!("{} questions", answer.queries.len()));
    };
    if show(question.name()) != asked.written || question.query_type() != asked.rtype {
        return seen(format!("{} {} for {}", question.name(), question.query_type(), asked.written));
    }
    if head.recursion_desired != asked.recursion || head.checking_disabled != asked.checking_disabled {
        return seen("RD or CD is not echoed".into());
    }
    if answer.edns.is_some() != asked.payload.is_some() {
        return seen("OPT is answered by OPT, and nothing else is".into());
    }
    Ok(())
}

/// An answer that does not fit its road never comes.
pub fn an_answer_fits(asked: &Asked, octets: &[u8]) -> Result<(), Broken> {
    let room = match asked.payload {
        _ if asked.over_tcp => 65_535,
        None => 512,
        Some(payload) => usize::from(payload.clamp(512, 1232)),
    };
    if octets.len() > room {
        let why = format!("{} octets where {room} may come", octets.len());
        return Err(Broken::new("an answer fits", why));
    }
    Ok(())
}

/// Whoever forges gets something wrong; then nothing of it may be believed.
pub fn nothing_forged_is_believed(answer: &Message) -> Result<(), Broken> {
    let forged = |record: &&Record| match &record.data {
        RData::A(address) => address.0.octets()[..3] == [203, 0, 113],
        RData::AAAA(address) => address.0.segments()[2] == 0xbad,
        RData::TXT(text) => text.to_string().contains("forged"),
        _ => show(&record.name).contains("forged"),
    };
    match answer.answers.iter().chain(&answer.authorities).find(forged) {
        Some(record) => Err(Broken::new("nothing forged is believed", record.to_string())),
        None => Ok(()),
    }
}

/// A zone without recursion proxy is all there is of its names: nobody outside hears of a question for them.
pub fn nothing_leaves_for_private_names(book: &Book, universe: u8, query: &[u8]) -> Result<(), Broken> {
    let seen = |why: String| Err(Broken::new("nothing leaves for private names", why));
    let Ok(message) = Message::from_vec(query) else { return seen("a query that cannot be read".into()) };
    let [question] = &message.queries[..] else { return seen("a query without its question".into()) };
    let (name, rtype) = (plain_name(question.name()), question.query_type());
    if (name.as_str(), rtype) == (".", hickory_proto::rr::RecordType::NS) {
        return Ok(()); // whether a server that is down is silent to everything
    }
    let (now, since) = (book.now(), book.now().saturating_sub(ECHO));
    let mut views: Vec<Option<u8>> = Vec::new();
    for (at, vpc) in book.asked.iter().rev().take_while(|(at, _)| *at >= since) {
        debug_assert!(*at <= now);
        if !views.contains(vpc) {
            views.push(*vpc);
        }
    }
    let may = book.plans_between(since, now).any(|plan| {
        views
            .iter()
            .any(|vpc| matches!(plan.decide(*vpc, &name, rtype), Verdict::Forward(to, _) if to.universe == universe))
    });
    if may { Ok(()) } else { seen(format!("{name} {rtype} to universe {universe}")) }
}

/// What a VPC's zones say is for its own clients.
pub fn no_private_answer_crosses_a_view(asked: &Asked, answer: &Message) -> Result<(), Broken> {
    for record in &answer.answers {
        let of = match &record.data {
            RData::A(address) if address.0.octets()[0] == 172 => u16::from(address.0.octets()[2]),
            RData::AAAA(address) if address.0.segments()[0] == 0xfd00 => address.0.segments()[2],
            RData::TXT(text) => {
                let text = text.to_string();
                let Some(rest) = text.strip_prefix("private ") else { continue };
                rest.split(' ').nth(1).and_then(|vpc| vpc.parse().ok()).unwrap_or(0)
            }
            _ => continue,
        };
        if of != 9 && Some(of) != asked.vpc.map(u16::from) {
            let why = format!("{record} for a client of VPC {:?}", asked.vpc);
            return Err(Broken::new("no private answer crosses a view", why));
        }
    }
    Ok(())
}

/// A TTL counts down from what its server said, and starts anew only when the server says it anew.
pub fn ttls_never_grow(claims: &[Claim], asked: &Asked, settings: &Settings) -> Result<(), Broken> {
    for claim in claims {
        let most = match &claim.held {
            Held::Always(ttl) => Some(*ttl),
            Held::Said(said) => {
                let fresh = said.iter().filter_map(|(at, ttl)| asked.left(*at, *ttl)).max();
                fresh.max(claim.may_be_stale.then_some(settings.stale_ttl))
            }
        };
        if most.is_none_or(|most| claim.ttl > most) {
            let why = format!("{} has TTL {}, not {most:?}; {:?}", claim.what, claim.ttl, claim.held);
            return Err(Broken::new("TTLs never grow", why));
        }
    }
    Ok(())
}

/// An answer beyond its life is served no longer than is configured.
pub fn stale_only_within_its_cap(claims: &[Claim], asked: &Asked, settings: &Settings) -> Result<(), Broken> {
    let cap = |ttl: u32| u64::from(ttl) * 1000 + u64::from(settings.max_stale) * 1000;
    for claim in claims {
        let Held::Said(said) = &claim.held else { continue };
        let fresh = said.iter().any(|(at, ttl)| asked.left(*at, *ttl).is_some());
        let within = settings.max_stale > 0 && said.iter().any(|(at, ttl)| asked.at < at + cap(*ttl));
        if !fresh && !within {
            let why = format!("{} at {} ms, said {:?}", claim.what, asked.at, claim.held);
            return Err(Broken::new("stale only within its cap", why));
        }
    }
    Ok(())
}

/// What holds is answered at once and well: a denial for all types of its name (RFC 2308 section 5), what came with DO
/// for clients without, and nothing of it is lost to a later failure.
pub fn what_holds_is_answered_at_once(book: &Book, asked: &Asked, answer: &Message) -> Result<(), Broken> {
    let code = answer.metadata.response_code;
    let waited = book.now() - asked.at;
    let Some(given) = book.given.iter().rev().find(|given| given.answers(book, asked)) else { return Ok(()) };
    let refused = !asked.recursion && code == ResponseCode::Refused;
    // what was said of this type before the name went holds for its own time
    let older = || {
        let holds = |fact: &Fact| fact.what != What::NxDomain && asked.left(fact.at, fact.ttl).is_some();
        book.facts.iter().any(|fact| fact.name == asked.name && holds(fact))
    };
    let as_denied = !given.denied || code == ResponseCode::NXDomain || refused || older();
    if waited == 0 && code != ResponseCode::ServFail && as_denied {
        return Ok(());
    }
    let why = format!("{code:?} after {waited} ms for {asked:?}, although {given:?}");
    Err(Broken::new("what holds is answered at once", why))
}

/// Nobody waits until glibc gives up.
pub fn nobody_waits_beyond_four_seconds(asked: &Asked, answered_at: u64) -> Result<(), Broken> {
    let waited = answered_at - asked.at;
    if waited > TIMEOUT {
        return Err(Broken::new(
            "nobody waits beyond four seconds",
            format!("{waited} ms for {}", asked.written),
        ));
    }
    Ok(())
}

/// Silence to some names is not the server's: who answers what every server knows is not known to be silent.
pub fn a_server_that_answers_is_not_silent(
    group: &str,
    is_silent: bool,
    some_are_well: bool,
) -> Result<(), Broken> {
    if is_silent && some_are_well {
        let why = format!("{group} has a server that answers `. NS`");
        return Err(Broken::new("a server that answers is not silent", why));
    }
    Ok(())
}

/// Whatever is counted has a bound.
pub fn bounds_hold(what: &str, found: usize, most: usize) -> Result<(), Broken> {
    if found > most {
        return Err(Broken::new("bounds hold", format!("{found} {what}, at most {most}")));
    }
    Ok(())
}

/// What has ended leaves nothing behind: no waiter, no permit, no socket, no connection.
pub fn nothing_is_left_behind(what: &str, found: usize) -> Result<(), Broken> {
    if found > 0 {
        return Err(Broken::new("nothing is left behind", format!("{found} {what}")));
    }
    Ok(())
}

/// A failure has a cause: where nothing goes wrong, nothing fails. And a failure is one: it brings no records.
pub fn nothing_fails_without_cause(answer: &Message, settings: &Settings) -> Result<(), Broken> {
    if answer.metadata.response_code != ResponseCode::ServFail {
        return Ok(());
    }
    let records = answer.answers.len() + answer.authorities.len();
    if settings.calm || records > 0 {
        let why = format!("SERVFAIL with {records} records, calm: {}", settings.calm);
        return Err(Broken::new("nothing fails without cause", why));
    }
    Ok(())
}

/// Only upstreams vouch for anything: AD is never set where a private zone spoke.
pub fn private_answers_are_not_authentic(answer: &Message) -> Result<(), Broken> {
    if answer.metadata.authoritative && answer.metadata.authentic_data {
        return Err(Broken::new("private answers are not authentic", "AA and AD"));
    }
    Ok(())
}
