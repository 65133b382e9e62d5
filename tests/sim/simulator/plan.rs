//! A configuration as the simulator knows it: what goes into the file, and, written down a second time and naively,
//! what it means for a name. The engine's own tables and tries are no part of this.

use super::dice::Dice;
use super::world::Settings;
use hickory_proto::rr::RecordType;
use std::net::Ipv6Addr;

/// All names of the simulation, so few that they meet often. The last three nobody has anything for.
pub const NAMES: [&str; 15] = [
    "www.a.test",
    "a.test",
    "x.a.test",
    "z.x.a.test",
    "b.test",
    "x.b.test",
    "y.x.b.test",
    "c.net",
    "x.c.net",
    "y.c.net",
    "d.net",
    "x.d.net",
    "nothing.a.test",
    "q.nothing.b.test",
    "nothing.net",
];

/// Names of zones and rules.
pub const APEXES: [&str; 8] = ["a.test", "test", "b.test", "x.a.test", "x.b.test", "c.net", "d.net", "net"];

/// What a zone has of one name and type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// The owner; it may begin with `*.`.
    pub owner: String,
    /// A, AAAA, TXT or CNAME.
    pub rtype: RecordType,
    /// Seconds.
    pub ttl: u32,
    /// The values, as they are written.
    pub values: Vec<String>,
}

/// A private zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Its name.
    pub apex: &'static str,
    /// The VPC that sees it; nothing for all clients.
    pub vpc: Option<u8>,
    /// The recursion proxy is on.
    pub proxied: bool,
    /// With the proxy on, a missing type is resolved outside.
    pub forwards_types: bool,
    /// With the proxy on, wildcards do not count.
    pub wildcards_off: bool,
    /// What it has.
    pub sets: Vec<Set>,
}

/// A forwarding rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its suffix.
    pub suffix: &'static str,
    /// The VPC that it counts for; nothing for all clients.
    pub vpc: Option<u8>,
    /// Who is asked: a universe, and which of its servers.
    pub group: Group,
}

/// Some servers of a universe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The universe, whose servers all know the same.
    pub universe: u8,
    /// The servers.
    pub servers: Vec<u8>,
    /// How they share the work.
    pub strategy: &'static str,
}

/// A configuration.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The private zones; no two of one name for one VPC.
    pub zones: Vec<Zone>,
    /// The forwarding rules; no two of one name for one VPC.
    pub rules: Vec<Rule>,
    /// The default upstreams, of universe 0.
    pub default: Group,
}

/// What a configuration means for one name and type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<'p> {
    /// A zone has it.
    Found(&'p [String], u32),
    /// A zone has an alias.
    Alias(&'p str, u32),
    /// The zone's own SOA or NS.
    Apex,
    /// A zone denies the type, or (`true`) the name.
    Denied(&'p Zone, bool),
    /// A group is asked; `true` when the name exists whatever it says.
    Forward(&'p Group, bool),
}

impl Plan {
    /// Draws a configuration.
    pub fn draw(dice: &mut Dice, settings: &Settings) -> Self {
        let mut zones: Vec<Zone> = Vec::new();
        for _ in 0..dice.below(5) {
            let number = zones.len() as u8 + 1;
            let zone = Zone::draw(dice, number);
            if !zones.iter().any(|other| other.apex == zone.apex && overlap(other.vpc, zone.vpc)) {
                zones.push(zone);
            }
        }
        let mut rules: Vec<Rule> = Vec::new();
        for _ in 0..dice.below(4) {
            let universe = dice.between(1, 2) as u8;
            let group = Group::draw(dice, universe, settings, 1);
            let rule = Rule { suffix: dice.pick(&APEXES), vpc: draw_scope(dice), group };
            if !rules.iter().any(|other| other.suffix == rule.suffix && overlap(other.vpc, rule.vpc)) {
                rules.push(rule);
            }
        }
        let least = u8::from(settings.calm || !dice.chance(30));
        Self { zones, rules, default: Group::draw(dice, 0, settings, least) }
    }

    /// Who answers for a name, for the clients of a VPC.
    pub fn decide(&self, vpc: Option<u8>, name: &str, rtype: RecordType) -> Verdict<'_> {
        let sees = |scope: Option<u8>| scope.is_none() || scope == vpc;
        let zones = || self.zones.iter().filter(move |zone| sees(zone.vpc));
        let above = zones().any(|zone| is_below(zone.apex, name));
        // of two zones of one name the VPC's own comes first
        let zone = suffixes(name).find_map(|suffix| {
            let mut named: Vec<&Zone> = zones().filter(|zone| zone.apex == suffix).collect();
            named.sort_by_key(|zone| zone.vpc.is_none());
            named.first().copied()
        });
        let outside = |exists| {
            let rule = suffixes(name).find_map(|suffix| {
                let mut rules: Vec<&Rule> =
                    self.rules.iter().filter(|rule| sees(rule.vpc) && rule.suffix == suffix).collect();
                rules.sort_by_key(|rule| rule.vpc.is_none());
                rules.first().copied()
            });
            Verdict::Forward(rule.map_or(&self.default, |rule| &rule.group), exists)
        };
        let Some(zone) = zone else { return outside(above) };
        match zone.look_up(name, rtype) {
            Look::Set(set) if set.rtype == rtype => Verdict::Found(&set.values, set.ttl),
            Look::Set(set) => Verdict::Alias(&set.values[0], set.ttl),
            Look::Apex => Verdict::Apex,
            Look::OtherTypes if zone.proxied && zone.forwards_types => outside(true),
            Look::OtherTypes => Verdict::Denied(zone, false),
            Look::Empty if zone.proxied => outside(true),
            Look::Empty => Verdict::Denied(zone, false),
            Look::Nothing if zone.proxied => outside(above),
            Look::Nothing => Verdict::Denied(zone, !above),
        }
    }
}

/// What a zone has of a name.
enum Look<'z> {
    /// A set of the type, or an alias.
    Set(&'z Set),
    /// What each zone has at its apex.
    Apex,
    /// Sets of other types.
    OtherTypes,
    /// Names below it.
    Empty,
    /// Nothing at or below it.
    Nothing,
}

impl Zone {
    fn draw(dice: &mut Dice, number: u8) -> Self {
        let apex = dice.pick(&APEXES);
        let vpc = draw_scope(dice);
        let mark = vpc.unwrap_or(9);
        let mut sets: Vec<Set> = Vec::new();
        for _ in 0..dice.below(6) {
            let mut owner = dice.pick(&NAMES).to_string();
            if dice.chance(150) {
                let (_, parent) = owner.split_once('.').unwrap();
                owner = format!("*.{parent}");
            }
            let inside = owner == apex || is_below(&owner, apex);
            let rtype = dice.pick(&[RecordType::A, RecordType::AAAA, RecordType::TXT, RecordType::CNAME]);
            let alone = rtype == RecordType::CNAME;
            let beside = sets.iter().any(|set| {
                set.owner == owner && (set.rtype == rtype || alone || set.rtype == RecordType::CNAME)
            });
            let ttl = dice.pick(&[60, 5, 30, 3600]);
            if !inside || beside {
                continue;
            }
            let count = if alone { 1 } else { dice.between(1, 3) };
            let value = |place: u32| match rtype {
                RecordType::A => format!("172.{number}.{mark}.{place}"),
                RecordType::AAAA => {
                    let groups = [0xfd00, u16::from(number), u16::from(mark), 0, 0, 0, 0, place as u16];
                    Ipv6Addr::from(groups).to_string()
                }
                RecordType::TXT => format!("private {number} {mark} {place}"),
                _ => String::new(),
            };
            let mut values: Vec<String> = (1..=count).map(value).collect();
            if alone {
                values = vec![dice.pick(&NAMES).to_string()];
            }
            sets.push(Set { owner, rtype, ttl, values });
        }
        Self {
            apex,
            vpc,
            proxied: dice.chance(500),
            forwards_types: dice.chance(300),
            wildcards_off: dice.chance(200),
            sets,
        }
    }

    fn look_up(&self, name: &str, rtype: RecordType) -> Look<'_> {
        let at = |owner: &str| -> Vec<&Set> { self.sets.iter().filter(|set| set.owner == owner).collect() };
        let exists =
            |owner: &str| self.sets.iter().any(|set| set.owner == owner || is_below(&set.owner, owner));
        let own = at(name);
        if name == self.apex && matches!(rtype, RecordType::SOA | RecordType::NS) {
            return Look::Apex;
        }
        if name == self.apex || exists(name) {
            return match pick(&own, rtype) {
                Some(set) => Look::Set(set),
                None if own.is_empty() => Look::Empty,
                None => Look::OtherTypes,
            };
        }
        if self.proxied && self.wildcards_off {
            return Look::Nothing;
        }
        let encloser = suffixes(name).skip(1).find(|suffix| *suffix == self.apex || exists(suffix));
        let wildcard = format!("*.{}", encloser.unwrap_or_default());
        match pick(&at(&wildcard), rtype) {
            Some(set) => Look::Set(set),
            None if exists(&wildcard) => Look::OtherTypes,
            None => Look::Nothing,
        }
    }
}

impl Group {
    fn draw(dice: &mut Dice, universe: u8, settings: &Settings, least: u8) -> Self {
        let count = dice.between(u32::from(least), 3);
        let mut servers: Vec<u8> = (1..=3).collect();
        servers.rotate_left(dice.below(3) as usize);
        servers.truncate(count as usize);
        let strategy = dice.pick(&["failover", "fastest", "parallel"]);
        let strategy = if settings.calm { "failover" } else { strategy };
        Self { universe, servers, strategy }
    }
}

/// The set that answers a type: its own, or an alias.
fn pick<'s>(sets: &[&'s Set], rtype: RecordType) -> Option<&'s Set> {
    let own = sets.iter().find(|set| set.rtype == rtype);
    own.or_else(|| sets.iter().find(|set| set.rtype == RecordType::CNAME)).copied()
}

fn draw_scope(dice: &mut Dice) -> Option<u8> {
    dice.pick(&[None, None, Some(0), Some(1)])
}

/// Two scopes that no configuration may have one name for: the same one.
fn overlap(one: Option<u8>, other: Option<u8>) -> bool {
    one.is_none() || other.is_none() || one == other
}

/// A name and all that it is below of.
pub fn suffixes(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |name| name.split_once('.').map(|(_, rest)| rest))
}

/// True when a name is below another.
pub fn is_below(name: &str, other: &str) -> bool {
    name.strip_suffix(other).is_some_and(|rest| rest.ends_with('.'))
}
