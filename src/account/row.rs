//! The rows of an account, as stored: plain data. Values without a meaning here keep the product's words. Times are
//! milliseconds since 1970.
//!
//! Fields may be added with `#[serde(default)]`; any other change of a row needs a step in `store`'s migration.

use super::priority::{PriorityForward, ordered_servers};
use super::value::DEFAULT_LINE;
use crate::upstream::ServerAddress;
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

/// Frequent words of the product.
const WORDS: [&str; 6] = ["FAST_ZONE", "NORMAL_ZONE", "AUTH_ZONE", "CLOUD_PRODUCT_ZONE", "STANDARD", "EDS"];

/// A word of the product. A frequent one needs no allocation.
pub type Word = Cow<'static, str>;

/// The word with this text.
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

/// A set of records that answers by weight.
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
    /// The regions of the hosts, each with the account that owns them.
    pub regions: Vec<(String, u64)>,
}

/// A zone without its records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneRow {
    /// 32 lower-case hex digits.
    pub id: String,
    /// The name as sent by the client, without a final dot.
    pub name: String,
    /// The recursion proxy is on (`RECORD` rather than `ZONE`).
    pub proxy: bool,
    /// Free text.
    pub remark: String,
    /// `NORMAL_ZONE` or `FAST_ZONE`.
    #[serde(deserialize_with = "read_word")]
    pub dns_group: Word,
    /// The kind of use, as sent by the client.
    pub zone_tag: String,
    /// `AUTH_ZONE`.
    #[serde(deserialize_with = "read_word")]
    pub zone_type: Word,
    /// The resource group.
    pub resource_group: String,
    /// The creation time.
    pub created: u64,
    /// The time of the last change of it or of a record.
    pub updated: u64,
    /// The serial of the SOA record: it grows with each change.
    pub serial: u32,
    /// The VPCs it is bound to.
    pub bindings: Vec<Binding>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// The sets that answer by weight.
    pub weighted: Vec<Weighted>,
    /// The host-name task, if it was set.
    pub sync: Option<HostSync>,
}

/// A record that owns its texts.
pub type RecordRow = RecordFields<String>;

/// A record with borrowed texts.
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
    /// Value as sent by the client.
    pub value: T,
    /// The TTL, in seconds.
    pub ttl: u32,
    /// The preference of an MX record; stored without effect for other types.
    pub priority: Option<u16>,
    /// The weight, 1 to 100.
    pub weight: u8,
    /// `default` or a custom line's id.
    pub line: T,
    /// Free text.
    pub remark: T,
    /// It is enabled.
    pub enabled: bool,
    /// A host-name task created it.
    pub synced: bool,
    /// The creation time.
    pub created: u64,
    /// The time of the last change.
    pub updated: u64,
}

impl<T: AsRef<str>> RecordFields<T> {
    /// The record with borrowed texts.
    pub fn view(&self) -> Record<'_> {
        self.with_texts(AsRef::as_ref)
    }

    /// The record with owned texts.
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
    /// True if it is enabled and of a custom line.
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
    /// The address, if the client chose one.
    pub ip: String,
}

/// An outbound endpoint. Queries leave by the machine's own addresses; the endpoint is bookkeeping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointRow {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its VPC.
    pub vpc: String,
    /// The VPC's region.
    pub region: String,
    /// The security group.
    pub security_group: String,
    /// Its addresses.
    pub ips: Vec<EndpointIp>,
    /// The creation time.
    pub created: u64,
    /// The time of the last change.
    pub updated: u64,
}

/// A forwarding rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleRow {
    /// Its id.
    pub id: String,
    /// Its display name.
    pub name: String,
    /// The rule is for names at or below this one; without a final dot, the root as `.`.
    pub zone: String,
    /// The outbound endpoint; may be empty.
    pub endpoint: String,
    /// The servers.
    pub targets: Vec<SocketAddr>,
    /// Ordered targets with their protocols; they replace the servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub priorities: Vec<PriorityForward>,
    /// The VPCs it is for.
    pub bindings: Vec<Binding>,
    /// The creation time.
    pub created: u64,
    /// The time of the last change.
    pub updated: u64,
}

impl RuleRow {
    /// The servers to query, in this order: those of enabled priorities, else the targets.
    pub fn servers(&self) -> Vec<ServerAddress> {
        let ordered = ordered_servers(&self.priorities);
        match ordered.is_empty() {
            true => self.targets.iter().copied().map(ServerAddress::from).collect(),
            false => ordered,
        }
    }

    /// True if its servers have an order.
    pub fn is_ordered(&self) -> bool {
        !ordered_servers(&self.priorities).is_empty()
    }
}

/// A custom line: a set of clients, by their addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineRow {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// First and last address of each range.
    pub ranges: Vec<(Ipv4Addr, Ipv4Addr)>,
    /// The product's DnsCategory: `AUTH`, `CACHE`, ….
    pub category: String,
    /// The creation time.
    pub created: u64,
    /// The time of the last change.
    pub updated: u64,
}

/// Another account, which may bind its VPCs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorisationRow {
    /// The other account.
    pub user: u64,
    /// `NORMAL` or `CLOUD_PRODUCT`.
    pub kind: String,
    /// The time of the authorisation.
    pub created: u64,
}

/// A line of the change log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRow {
    /// The number of the line; each has the next one.
    pub id: u64,
    /// The time of the change.
    pub at: u64,
    /// `PV_ZONE`, `PV_RECORD`, `RESOLVER_RULE`, `CUSTOM_LINE`, `RESOLVER_ENDPOINT`.
    pub kind: String,
    /// The operation: `add`, `update`, `del`, `bind`, ….
    pub action: String,
    /// The id of the changed object.
    pub entity: String,
    /// Its name.
    pub name: String,
    /// Its zone, if there is one.
    pub zone: String,
    /// The change, as text.
    pub content: String,
    /// The access key of the caller.
    pub access_key: String,
    /// The address of the caller.
    pub source: String,
}
