//! The rows of an account, as they are stored: plain data with the product's words for values that have no other
//! meaning here. Times are milliseconds since 1970.
//!
//! Fields may be added with `#[serde(default)]`; any other change of a row needs a step in `store`'s migration.

use super::priority::{PriorityForward, ordered_servers};
use super::value::DEFAULT_LINE;
use crate::upstream::ServerAddress;
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

/// Words of the product that many rows have.
const WORDS: [&str; 6] = ["FAST_ZONE", "NORMAL_ZONE", "AUTH_ZONE", "CLOUD_PRODUCT_ZONE", "STANDARD", "EDS"];

/// A word of the product: one that many rows have takes no memory of its own.
pub type Word = Cow<'static, str>;

/// A word of this text.
pub fn word(text: String) -> Word {
    match WORDS.iter().find(|word| **word == text) {
        Some(word) => Cow::Borrowed(word),
        None => Cow::Owned(text),
    }
}

fn read_word<'d, D: Deserializer<'d>>(source: D) -> Result<Word, D::Error> {
    String::deserialize(source).map(word)
}

/// A VPC that a zone or a rule is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The VPC's id.
    pub vpc: String,
    /// Its region as the request named it; empty if it did not.
    pub region: String,
    /// `STANDARD` or `EDS`.
    #[serde(deserialize_with = "read_word")]
    pub kind: Word,
}

/// The switch that lets one record set answer by weight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weighted {
    /// Host record.
    pub rr: String,
    /// Record type.
    pub rtype: String,
    /// Line.
    pub line: String,
}

/// A zone's task that keeps the host names of instances in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostSync {
    /// `ON` rather than `OFF`.
    pub on: bool,
    /// Regions whose hosts are meant, with the account that owns them.
    pub regions: Vec<(String, u64)>,
}

/// A zone without its records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneRow {
    /// 32 lower-case hex digits.
    pub id: String,
    /// The name as it was given, without a final dot.
    pub name: String,
    /// The recursion proxy is on (`RECORD` rather than `ZONE`).
    pub proxy: bool,
    /// Free text.
    pub remark: String,
    /// `NORMAL_ZONE` or `FAST_ZONE`.
    #[serde(deserialize_with = "read_word")]
    pub dns_group: Word,
    /// What kind of use the creator named.
    pub zone_tag: String,
    /// `AUTH_ZONE`.
    #[serde(deserialize_with = "read_word")]
    pub zone_type: Word,
    /// The resource group.
    pub resource_group: String,
    /// When it was made.
    pub created: u64,
    /// When it or a record of it was last changed.
    pub updated: u64,
    /// Grows with each change; the SOA's serial.
    pub serial: u32,
    /// Who sees it.
    pub bindings: Vec<Binding>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// The sets that answer by weight.
    pub weighted: Vec<Weighted>,
    /// The host-name task, if one was ever set.
    pub sync: Option<HostSync>,
}

/// A record that owns its texts.
pub type RecordRow = RecordFields<String>;

/// A record as it is read, its texts borrowed.
pub type Record<'r> = RecordFields<&'r str>;

/// The fields of a record, with its texts as `T`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordFields<T> {
    /// A number of at most 15 digits.
    pub id: u64,
    /// Its zone's id.
    pub zone: T,
    /// Host record: `@`, `www`, `*`.
    pub rr: T,
    /// Type, upper case.
    pub rtype: T,
    /// Value as it was given.
    pub value: T,
    /// Seconds.
    pub ttl: u32,
    /// Preference, of an MX record; carried along for others.
    pub priority: Option<u16>,
    /// 1 to 100.
    pub weight: u8,
    /// `default` or a custom line's id.
    pub line: T,
    /// Free text.
    pub remark: T,
    /// It counts.
    pub enabled: bool,
    /// It came from a host-name task.
    pub synced: bool,
    /// When it was made.
    pub created: u64,
    /// When it was last changed.
    pub updated: u64,
}

impl<T: AsRef<str>> RecordFields<T> {
    /// The record as it is read.
    pub fn view(&self) -> Record<'_> {
        self.with_texts(AsRef::as_ref)
    }

    /// The record with texts of its own.
    pub fn to_row(&self) -> RecordRow {
        self.with_texts(|text| text.as_ref().to_string())
    }

    fn with_texts<'r, U>(&'r self, text: impl Fn(&'r T) -> U) -> RecordFields<U> {
        RecordFields {
            id: self.id,
            zone: text(&self.zone),
            rr: text(&self.rr),
            rtype: text(&self.rtype),
            value: text(&self.value),
            ttl: self.ttl,
            priority: self.priority,
            weight: self.weight,
            line: text(&self.line),
            remark: text(&self.remark),
            enabled: self.enabled,
            synced: self.synced,
            created: self.created,
            updated: self.updated,
        }
    }
}

impl Record<'_> {
    /// Whether it counts for a custom line.
    pub(super) fn is_on_a_line(&self) -> bool {
        self.enabled && self.line != DEFAULT_LINE
    }
}

/// A source address of an outbound endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointIp {
    /// Availability zone.
    pub az: String,
    /// The subnet.
    pub cidr: String,
    /// Its id.
    pub vswitch: String,
    /// The address, if one was chosen.
    pub ip: String,
}

/// An outbound endpoint. Queries leave by the machine's own addresses; the endpoint is bookkeeping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointRow {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The VPC it lies in.
    pub vpc: String,
    /// The VPC's region.
    pub region: String,
    /// The security group.
    pub security_group: String,
    /// Its addresses.
    pub ips: Vec<EndpointIp>,
    /// When it was made.
    pub created: u64,
    /// When it was last changed.
    pub updated: u64,
}

/// A forwarding rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleRow {
    /// Its id.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// Names at or below this one are meant; without a final dot, the root as `.`.
    pub zone: String,
    /// The outbound endpoint; may be empty.
    pub endpoint: String,
    /// Whom to ask.
    pub targets: Vec<SocketAddr>,
    /// Ordered targets with their protocols, in their place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub priorities: Vec<PriorityForward>,
    /// For whom.
    pub bindings: Vec<Binding>,
    /// When it was made.
    pub created: u64,
    /// When it was last changed.
    pub updated: u64,
}

impl RuleRow {
    /// The servers that are asked, in this order: those of enabled priorities, else the targets.
    pub fn servers(&self) -> Vec<ServerAddress> {
        let ordered = ordered_servers(&self.priorities);
        match ordered.is_empty() {
            true => self.targets.iter().copied().map(ServerAddress::from).collect(),
            false => ordered,
        }
    }

    /// True where the order of its servers counts.
    pub fn is_ordered(&self) -> bool {
        !ordered_servers(&self.priorities).is_empty()
    }
}

/// A custom line: clients told apart by their address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineRow {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// First and last address of each range.
    pub ranges: Vec<(Ipv4Addr, Ipv4Addr)>,
    /// `AUTH`, `CACHE`, …: what the product calls DnsCategory.
    pub category: String,
    /// When it was made.
    pub created: u64,
    /// When it was last changed.
    pub updated: u64,
}

/// Another account that may bind its VPCs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorisationRow {
    /// The other account.
    pub user: u64,
    /// `NORMAL` or `CLOUD_PRODUCT`.
    pub kind: String,
    /// When it was given.
    pub created: u64,
}

/// A line of the change log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRow {
    /// Grows by one with each.
    pub id: u64,
    /// When.
    pub at: u64,
    /// `PV_ZONE`, `PV_RECORD`, `RESOLVER_RULE`, `CUSTOM_LINE`, `RESOLVER_ENDPOINT`.
    pub kind: String,
    /// What was done: `add`, `update`, `del`, `bind`, ….
    pub action: String,
    /// The id of what was changed.
    pub entity: String,
    /// Its name.
    pub name: String,
    /// The zone concerned, if one is.
    pub zone: String,
    /// What changed, in words.
    pub content: String,
    /// The access key that did it.
    pub access_key: String,
    /// Where the request came from.
    pub source: String,
}
