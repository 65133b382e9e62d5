//! What stays the same over a run: the settings, the servers with their weaknesses, and what each universe of them
//! holds to be true.

use super::dice::{Dice, hash};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};

/// The servers of each universe, by number from 1.
pub const SERVERS: u8 = 3;
/// How many universes there are: the default upstreams', and two for rules.
pub const UNIVERSES: u8 = 3;

/// What is configured once and for all.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Nothing goes wrong: no faults, no failing servers. Then nothing may fail.
    pub calm: bool,
    /// The lowest TTL.
    pub min_ttl: u32,
    /// The highest TTL.
    pub max_ttl: u32,
    /// The highest TTL of a denial.
    pub negative_max_ttl: u32,
    /// For how long answers may be served beyond their life, in seconds; 0 for not at all.
    pub max_stale: u32,
    /// The TTL that they have then.
    pub stale_ttl: u32,
    /// Names in demand are asked again before they expire.
    pub prefetch: bool,
    /// Queries that may wait at a time.
    pub in_flight: usize,
    /// Queries that one server may be asked at a time.
    pub per_server: usize,
    /// Octets of the cache.
    pub cache: usize,
}

impl Settings {
    /// Draws them.
    pub fn draw(dice: &mut Dice) -> Self {
        let calm = dice.chance(200);
        let tight = !calm && dice.chance(150);
        Self {
            calm,
            min_ttl: dice.pick(&[0, 0, 5]),
            max_ttl: dice.pick(&[86_400, 86_400, 120]),
            negative_max_ttl: dice.pick(&[900, 30]),
            max_stale: dice.pick(&[86_400, 0, 60, 3600]),
            stale_ttl: dice.pick(&[30, 7]),
            prefetch: !dice.chance(200),
            in_flight: if tight { 4 } else { 4096 },
            per_server: if tight { 2 } else { 1000 },
            cache: dice.pick(&[1 << 20, 1 << 18]),
        }
    }
}

/// A server and the road to it.
#[derive(Clone, Debug, Default)]
pub struct Server {
    /// Milliseconds of one way, at least.
    pub latency: u32,
    /// Milliseconds more, at most.
    pub jitter: u32,
    /// Datagrams that are lost, in a thousand.
    pub loss: u32,
    /// Datagrams that come twice, in a thousand.
    pub doubles: u32,
    /// Replies that come seconds late, in a thousand.
    pub late: u32,
    /// Replies of which a bit or the end is lost, in a thousand.
    pub damage: u32,
    /// How many forged datagrams a query draws at most.
    pub forger: u32,
    /// Replies of a failing code, in a thousand.
    pub fails: u32,
    /// While it is down: from when to when, in milliseconds, and whether the host then says so.
    pub down: Vec<(u64, u64, bool)>,
    /// What becomes of the case of letters there.
    pub folding: Folding,
    /// How many forged errors without a question a query draws at most, beside what else is forged.
    pub bare: u32,
    /// It knows no EDNS and says FORMERR.
    pub no_edns: bool,
    /// Cookies.
    pub cookies: Cookies,
    /// Everything over UDP is cut.
    pub cuts: bool,
    /// What it does over TCP.
    pub tcp: Tcp,
    /// Names, in a thousand, whose authorities are silent: it never answers questions for them.
    pub swallows: u32,
    /// It does not answer what every server knows either: what only the tests of the invariants do.
    pub deaf: bool,
    /// What it cuts over TCP has no TC: what only the tests of the invariants do.
    pub unmarked: bool,
}

/// What becomes of the case of a question's letters in a server's reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Folding {
    /// It is as it was sent.
    #[default]
    None,
    /// Lower.
    Lower,
    /// Upper.
    Upper,
    /// That of whoever asked first.
    First,
}

impl Folding {
    /// A name as it comes back.
    pub fn applied(self, name: &Name) -> Name {
        let text = name.to_ascii();
        let text = match self {
            Self::None => return name.clone(),
            Self::Lower => text.to_ascii_lowercase(),
            Self::Upper => text.to_ascii_uppercase(),
            Self::First => {
                let case = hash(&[], &text.to_ascii_lowercase());
                let letter = |(at, letter): (usize, char)| match case >> (at % 64) & 1 {
                    0 => letter.to_ascii_lowercase(),
                    _ => letter.to_ascii_uppercase(),
                };
                text.chars().enumerate().map(letter).collect()
            }
        };
        Name::from_ascii(text).unwrap()
    }
}

/// What a server does with cookies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cookies {
    /// It does not know them.
    #[default]
    None,
    /// It gives them.
    Gives,
    /// It answers BADCOOKIE to who has none of its own.
    Demands,
}

/// What a server does over TCP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tcp {
    /// It answers.
    #[default]
    Serves,
    /// Nobody listens.
    Refuses,
    /// Nothing comes back, not even of the handshake.
    Silent,
    /// It takes the question and closes its side.
    HalfCloses,
    /// It takes the question and says nothing.
    Mute,
    /// It closes after each answer.
    ClosesAfterOne,
    /// It sends part of an answer and closes.
    Breaks,
    /// It sends what is no DNS.
    Babbles,
    /// It collects two questions and answers the later one first.
    Reorders,
    /// It sends one record and TC.
    Cuts,
}

impl Server {
    /// Draws a server for a run of so many milliseconds.
    pub fn draw(dice: &mut Dice, settings: &Settings, span: u64) -> Self {
        let mut server = Self { latency: dice.between(1, 40), jitter: dice.below(20), ..Self::default() };
        server.no_edns = dice.chance(100);
        server.cookies = dice.pick(&[Cookies::None, Cookies::None, Cookies::Gives, Cookies::Demands]);
        server.cuts = dice.chance(80);
        server.folding =
            dice.pick(&[Folding::None, Folding::None, Folding::Lower, Folding::Upper, Folding::First]);
        server.bare = dice.pick(&[0, 0, 3]);
        if settings.calm {
            return server;
        }
        if dice.chance(150) {
            // nothing is wrong with it but its names
            return Self { swallows: dice.pick(&[300, 700, 1000]), cuts: false, bare: 0, ..server };
        }
        server.loss = dice.pick(&[0, 0, 50, 400]);
        server.doubles = dice.pick(&[0, 100]);
        server.late = dice.pick(&[0, 0, 50]);
        server.damage = dice.pick(&[0, 0, 30, 200]);
        server.forger = dice.pick(&[0, 0, 3, 12]);
        server.fails = dice.pick(&[0, 0, 0, 100, 1000]);
        server.jitter = dice.pick(&[5, 50, 900]);
        for _ in 0..dice.below(3) {
            let from = u64::from(dice.below(1000)) * span / 1000;
            let length = dice.pick(&[2_000, 500, 20_000, 4_000_000]);
            server.down.push((from, from + length, dice.chance(500)));
        }
        use Tcp::{
            Babbles, Breaks, ClosesAfterOne, Cuts, HalfCloses, Mute, Refuses, Reorders, Serves, Silent,
        };
        server.tcp = dice.pick(&[
            Serves,
            Serves,
            Serves,
            Refuses,
            Silent,
            HalfCloses,
            Mute,
            ClosesAfterOne,
            Breaks,
            Babbles,
            Reorders,
            Cuts,
        ]);
        server
    }

    /// Whether it never answers questions for a name.
    pub fn swallows_name(&self, name: &str) -> bool {
        match name {
            "." => self.deaf,
            name => hash(&[], name) % 1000 < u64::from(self.swallows),
        }
    }

    /// Whether it surely answers, in good time, what every server knows.
    pub fn is_well(&self) -> bool {
        let loses = self.loss + self.late + self.damage + self.forger + self.bare > 0;
        !loses && self.jitter <= 50 && !self.cuts && self.down.is_empty()
    }

    /// Whether it is down, and whether its host says so.
    pub fn is_down(&self, at: u64) -> Option<bool> {
        self.down.iter().find(|(from, to, _)| (*from..*to).contains(&at)).map(|(.., says)| *says)
    }
}

/// What the universes know. It follows from a seed and may change with time.
#[derive(Clone, Copy, Debug)]
pub struct Truth {
    /// What it follows from.
    pub seed: u64,
    /// Milliseconds after which it changes.
    pub period: u64,
    /// No name fails on purpose.
    pub calm: bool,
}

/// What a universe says of one name and type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Says {
    /// A set of so many records; with a TTL.
    Set(u32, u8),
    /// An alias to a name, with a TTL.
    Alias(u32, String),
    /// Nothing of the type, with the SOA's TTL if there is one.
    NoData(Option<u32>),
    /// No such name, with the SOA's TTL if there is one.
    NxDomain(Option<u32>),
    /// A code that is no answer.
    Fails(ResponseCode),
    /// Ask elsewhere.
    Refers,
}

impl Truth {
    /// Which of its versions holds at a moment.
    pub fn version(&self, at: u64) -> u64 {
        at / self.period
    }

    /// What a universe says at a moment.
    pub fn says(&self, universe: u8, name: &str, rtype: RecordType, at: u64) -> Says {
        const TTLS: [u32; 10] = [60, 60, 12, 300, 0, 1, 5, 3600, 200_000, 0x8000_0005];
        let numbers = [self.seed, u64::from(universe), self.version(at)];
        let drawn = hash(&numbers, name);
        let ttl = TTLS[(drawn >> 8) as usize % TTLS.len()];
        let soa = (!(drawn >> 16).is_multiple_of(4)).then_some(ttl);
        let of_type = hash(&[drawn, u64::from(u16::from(rtype))], "");
        match drawn % 100 {
            90..94 if !self.calm => Says::Fails(ResponseCode::ServFail),
            94..96 if !self.calm => Says::Fails(ResponseCode::Refused),
            96..98 if !self.calm => Says::Refers,
            60..76 => Says::Alias(ttl, super::plan::NAMES[(drawn >> 24) as usize % 12].to_string()),
            76..86 => Says::NxDomain(soa),
            86..90 => Says::NoData(soa),
            _ if rtype != RecordType::A && of_type.is_multiple_of(2) => Says::NoData(soa),
            _ => Says::Set(ttl, 1 + (of_type >> 8) as u8 % 3),
        }
    }
}
