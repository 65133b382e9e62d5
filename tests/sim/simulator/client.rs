//! Who asks: random clients in random VPCs, with all that a query can say.

use super::dice::Dice;
use super::plan::NAMES;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::RecordType;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use pvtzd::engine::name::parse;
use std::net::{Ipv4Addr, SocketAddr};

/// A question of a client.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The id.
    pub id: u16,
    /// The name in the client's case.
    pub written: String,
    /// The name in lower case.
    pub name: String,
    /// The type.
    pub rtype: RecordType,
    /// Who asks.
    pub client: SocketAddr,
    /// Its VPC.
    pub vpc: Option<u8>,
    /// It may ask.
    pub allowed: bool,
    /// RD.
    pub recursion: bool,
    /// CD.
    pub checking_disabled: bool,
    /// DO.
    pub dnssec_ok: bool,
    /// AD.
    pub authentic_data: bool,
    /// The payload size in its OPT record, if it has one.
    pub payload: Option<u16>,
    /// It came over TCP.
    pub over_tcp: bool,
    /// When, in milliseconds since the run began.
    pub at: u64,
}

impl Asked {
    /// Draws a question.
    pub fn draw(dice: &mut Dice) -> Self {
        let name = dice.pick(&NAMES);
        let letter = |letter: char, upper: bool| if upper { letter.to_ascii_uppercase() } else { letter };
        let mixed = dice.chance(300);
        let written = name.chars().map(|it| letter(it, mixed && dice.chance(500))).collect();
        let (network, vpc) = dice.pick(&[(0, Some(0)), (1, Some(1)), (2, None), (0, Some(0)), (1, Some(1))]);
        let allowed = !dice.chance(20);
        let first = if allowed { 10 } else { 192 };
        let client = Ipv4Addr::new(first, network, 0, dice.between(1, 3) as u8);
        let types = [RecordType::A, RecordType::A, RecordType::A, RecordType::AAAA, RecordType::TXT];
        Self {
            id: dice.below(65_536) as u16,
            written,
            name: name.to_string(),
            rtype: dice.pick(&types),
            client: (client, 4000).into(),
            vpc: vpc.filter(|_| allowed),
            allowed,
            recursion: !dice.chance(80),
            checking_disabled: dice.chance(20),
            dnssec_ok: dice.chance(40),
            authentic_data: dice.chance(200),
            payload: dice.pick(&[Some(1232), Some(4096), Some(512), Some(100), None]),
            over_tcp: dice.chance(200),
            at: 0,
        }
        .consistent()
    }

    /// The same question by another client: in its own words.
    pub fn repeated(&self, dice: &mut Dice) -> Self {
        let other = Self::draw(dice);
        Self { written: self.name.clone(), name: self.name.clone(), rtype: self.rtype, ..other }
    }

    /// DO is a flag of the OPT record.
    fn consistent(mut self) -> Self {
        self.dnssec_ok &= self.payload.is_some();
        self
    }

    /// The packet.
    pub fn packet(&self) -> Vec<u8> {
        let mut message = Message::new(self.id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = self.recursion;
        message.metadata.checking_disabled = self.checking_disabled;
        message.metadata.authentic_data = self.authentic_data;
        message.add_query(Query::query(parse(&self.written).unwrap(), self.rtype));
        if let Some(size) = self.payload {
            let mut edns = Edns::new();
            edns.set_version(0).set_dnssec_ok(self.dnssec_ok);
            edns.set_max_payload(size);
            message.set_edns(edns);
        }
        message.to_vec().unwrap()
    }

    /// What something that was said then, with this TTL, has left for this question; nothing when it no longer holds.
    /// What came after the question was asked counts from when it came, whatever its TTL.
    pub fn left(&self, said_at: u64, ttl: u32) -> Option<u32> {
        let expires = said_at + u64::from(ttl) * 1000;
        match self.at.max(said_at) {
            _ if said_at >= self.at => Some(ttl),
            now if now < expires => Some((expires - now).div_ceil(1000) as u32),
            _ => None,
        }
    }

    /// The extended error of an answer.
    pub fn extended_error(&self, answer: &Message) -> Option<u16> {
        match answer.edns.as_ref()?.option(EdnsCode::from(15))? {
            EdnsOption::Unknown(_, octets) => Some(u16::from_be_bytes(*octets.first_chunk()?)),
            _ => None,
        }
    }
}
