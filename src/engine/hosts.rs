//! Hosts files, of the form of /etc/hosts: an address on each line, and its names behind it.
//!
//! Names lead to their addresses of both families, and each address leads back to the first name that the file has for
//! it. A name has nothing else, and nothing is denied but other types of a name that is there.

use super::name::NameKey;
use super::ordered::Ordered;
use super::rrset::{Owner, Rrset};
use super::sort;
use super::text;
use super::zone_build::{OwnerKey, ZoneBuilder, name_of};
use hickory_proto::rr::RecordType;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

/// Octets of the longest line.
pub const MAX_LINE: usize = 64 << 10;

/// Addresses of one name and family, at most: more do not fit into an answer.
pub const MAX_ADDRESSES: usize = 1000;

/// Remarks of a kind that are kept; the rest are counted.
const MAX_REMARKS: usize = 1000;

/// The names of a hosts file.
#[derive(Clone, Debug)]
pub struct Hosts {
    /// The file, for messages.
    pub file: String,
    /// By name, below the root.
    owners: Ordered<Owner>,
    /// Names that have an address.
    names: usize,
}

/// What a hosts file has for a name.
#[derive(Clone, Debug)]
pub enum HostsLookup {
    /// Addresses, or the name of an address.
    Rrset(Rrset),
    /// The name is there, without the type asked for.
    NoType,
    /// Only names below it are there.
    Above,
    /// Nothing.
    Missing,
}

/// How a hosts file is read.
#[derive(Clone, Copy, Debug)]
pub struct HostsOptions {
    /// TTL of all records in seconds.
    pub ttl: u32,
    /// Leave `localhost` and the names below it out, since they are answered otherwise.
    pub without_localhost: bool,
}

/// Something to say about a line, counted from 1.
pub type Remark = (usize, String);

/// Remarks, the first ones in words: a file may have a fault on each of a million lines.
#[derive(Clone, Debug, Default)]
pub struct Remarks {
    /// The first of them.
    pub told: Vec<Remark>,
    /// How many more there are.
    pub more: usize,
}

impl Remarks {
    fn add(&mut self, line: usize, why: String) {
        if self.told.len() < MAX_REMARKS { self.told.push((line, why)) } else { self.more += 1 }
    }
}

/// The result of reading a hosts file.
#[derive(Clone, Debug)]
pub struct HostsRead {
    /// The names; not all of them if there are faults.
    pub hosts: Hosts,
    /// What is wrong.
    pub faults: Remarks,
    /// What is left out, with the reason.
    pub left_out: Remarks,
}

impl Hosts {
    /// Reads a hosts file; `file` is its name in messages.
    pub fn read(file: &str, text: &str, options: HostsOptions) -> HostsRead {
        let mut reading = HostsReader {
            options,
            builder: ZoneBuilder::new(NameKey::of_suffix(&[0])),
            named: HashSet::new(),
            faults: Remarks::default(),
            left_out: Remarks::default(),
        };
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (number, line) in (1..).zip(text.split('\n')) {
            if let Err(why) = reading.line(number, line) {
                reading.faults.add(number, why);
            }
        }
        // A pair of name and address that is there twice is told by the builder, and is no fault here.
        let (owners, _) = reading.builder.finish();
        let mut hosts = Self { file: file.into(), owners, names: 0 };
        let is_too_many = |set: &Rrset| set.len() > MAX_ADDRESSES;
        if hosts.owners.iter().any(|owner| owner.sets().any(|set| is_too_many(&set))) {
            crowded(text, &mut reading.faults);
        }
        let is_address = |set: &Rrset| matches!(set.rtype, RecordType::A | RecordType::AAAA);
        hosts.names = hosts.owners.iter().filter(|owner| owner.sets().any(|set| is_address(&set))).count();
        sort::by_key(&mut reading.faults.told, |(line, _)| *line);
        HostsRead { hosts, faults: reading.faults, left_out: reading.left_out }
    }

    /// How many names have an address.
    pub fn len(&self) -> usize {
        self.names
    }

    /// True where no name has one.
    pub fn is_empty(&self) -> bool {
        self.names == 0
    }

    /// Every RRset with its owner, names in the order of their labels from the right.
    pub fn rrsets(&self) -> impl Iterator<Item = (NameKey, Rrset)> {
        let root = NameKey::of_suffix(&[0]);
        self.owners.iter().flat_map(move |owner| {
            let name = name_of(owner.key(), &root);
            owner.sets().map(move |set| (name.clone(), set))
        })
    }

    /// What there is for a name.
    pub fn lookup(&self, name: &NameKey, rtype: RecordType) -> HostsLookup {
        let key = OwnerKey::of(name, &NameKey::of_suffix(&[0]));
        let key = key.octets();
        match self.owners.around_by(|owner| owner.key().cmp(key)).1 {
            _ if key.is_empty() => HostsLookup::Missing, // the root, which is above everything anyway
            Some(owner) if owner.key() == key => {
                let set = owner.sets().find(|set| set.rtype == rtype);
                set.map_or(HostsLookup::NoType, HostsLookup::Rrset)
            }
            Some(owner) if owner.key().starts_with(key) => HostsLookup::Above,
            _ => HostsLookup::Missing,
        }
    }
}

/// A hosts file that is being read.
struct HostsReader {
    options: HostsOptions,
    builder: ZoneBuilder,
    /// Addresses whose name is known: the first one counts.
    named: HashSet<IpAddr>,
    faults: Remarks,
    left_out: Remarks,
}

impl HostsReader {
    fn line(&mut self, number: usize, line: &str) -> Result<(), String> {
        if line.len() > MAX_LINE {
            return Err(format!("a line of {} octets; at most {MAX_LINE} are read", line.len()));
        }
        let Some((address, names)) = words(line) else { return Ok(()) };
        let Some(address) = read_address(address)? else {
            let shown = text::printable(address);
            let why =
                format!("{shown} is ignored: a DNS answer cannot contain the interface of a scoped address");
            self.left_out.add(number, why);
            return Ok(());
        };
        let mut names = names.peekable();
        if names.peek().is_none() {
            self.left_out.add(number, format!("{address} is ignored: no name follows it"));
        }
        for (at, name) in names.enumerate() {
            let name = read_name(name)?;
            let is_localhost = self.options.without_localhost && is_localhost(&name);
            if !is_localhost {
                let (rtype, data) = match address {
                    IpAddr::V4(address) => (RecordType::A, address.octets().to_vec()),
                    IpAddr::V6(address) => (RecordType::AAAA, address.octets().to_vec()),
                };
                self.builder.add_wire(name.wire(), rtype, self.options.ttl, &data, None);
            }
            // 0.0.0.0 stands for no host at all, and is given to many names.
            if at == 0 && !address.is_unspecified() && self.named.insert(address) && !is_localhost {
                let reverse = reverse_of(address);
                self.builder.add_wire(&reverse, RecordType::PTR, self.options.ttl, name.wire(), None);
            }
        }
        Ok(())
    }
}

/// The address of a line and its names; nothing for a line without any.
fn words(line: &str) -> Option<(&str, impl Iterator<Item = &str>)> {
    let line = line.split('#').next().unwrap_or_default();
    let mut words = line.split([' ', '\t', '\r']).filter(|word| !word.is_empty());
    words.next().map(|address| (address, words))
}

/// An address; nothing for one with an interface.
fn read_address(word: &str) -> Result<Option<IpAddr>, String> {
    let (address, scope) =
        word.split_once('%').map_or((word, None), |(address, scope)| (address, Some(scope)));
    match (address.parse::<IpAddr>(), scope) {
        (Ok(IpAddr::V6(_)), Some(scope)) if !scope.is_empty() => Ok(None),
        (Ok(address), None) => Ok(Some(address.to_canonical())),
        _ => {
            let shown: String = text::printable(word).chars().take(80).collect();
            Err(format!(
                "`{shown}` is not an IP address; a line starts with an address, followed by its names"
            ))
        }
    }
}

/// A name of a line, in lower case.
fn read_name(word: &str) -> Result<NameKey, String> {
    let name = NameKey::of(&text::parse(word)?);
    if name.wire().len() == 1 {
        return Err("`.` is not the name of a host".into());
    }
    Ok(name)
}

fn is_localhost(name: &NameKey) -> bool {
    name.is_within(&NameKey::of_suffix(b"\x09localhost\0"))
}

/// The name below in-addr.arpa or ip6.arpa that an address has, in wire form.
fn reverse_of(address: IpAddr) -> Vec<u8> {
    let mut wire = Vec::with_capacity(74);
    let mut label = |text: &str| {
        wire.push(text.len() as u8); // three octets at most
        wire.extend_from_slice(text.as_bytes());
    };
    match address {
        IpAddr::V4(address) => {
            address.octets().iter().rev().for_each(|octet| label(&octet.to_string()));
            wire.extend_from_slice(b"\x07in-addr\x04arpa\0");
        }
        IpAddr::V6(address) => {
            let nibbles = address.octets().into_iter().rev().flat_map(|octet| [octet & 15, octet >> 4]);
            nibbles.for_each(|nibble| label(&format!("{nibble:x}")));
            wire.extend_from_slice(b"\x03ip6\x04arpa\0");
        }
    }
    wire
}

/// Where names get too many addresses.
fn crowded(text: &str, faults: &mut Remarks) {
    let mut addresses: HashMap<(NameKey, bool), HashSet<IpAddr>> = HashMap::new();
    for (number, line) in (1..).zip(text.split('\n')) {
        let Some((address, names)) = words(line) else { continue };
        let Ok(Some(address)) = read_address(address) else { continue };
        for name in names.filter_map(|name| read_name(name).ok()) {
            let of_name = addresses.entry((name.clone(), address.is_ipv4())).or_default();
            if of_name.insert(address) && of_name.len() == MAX_ADDRESSES + 1 {
                faults.add(number, format!("more than {MAX_ADDRESSES} addresses for `{name}`"));
            }
        }
    }
}

#[cfg(test)]
#[path = "hosts_tests.rs"]
mod tests;
