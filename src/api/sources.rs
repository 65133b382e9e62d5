//! What an import takes beside documents: zone files, hosts files, and what the product's own DescribeZones,
//! DescribeZoneInfo and DescribeZoneRecords answer, with all pages together.

use super::document::{Document, DocumentRecord, DocumentVpc, DocumentZone, Tag};
use crate::account::value;
use crate::config::data_file::{LoadError, Loaded};
use crate::config::{Fault, hosts_file, zone_file};
use crate::engine::hosts::{Hosts, HostsOptions};
use crate::engine::name::{self, NameKey};
use crate::engine::record;
use crate::engine::rrset::Rrset;
use crate::engine::zone::{PackedZone, Zone as BuiltZone, ZoneMode, ZoneSpec};
use hickory_proto::rr::{Name, RecordType};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::path::Path;

/// TTLs that the product takes.
const TTLS: std::ops::RangeInclusive<u32> = 5..=86_400;

/// What a text is that is imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// A document, TOML or JSON.
    Document,
    /// A zone file (RFC 1035).
    Zone,
    /// A hosts file.
    Hosts,
    /// What the product's DescribeZones, DescribeZoneInfo and DescribeZoneRecords answer.
    Describe,
}

impl SourceKind {
    /// By the name of a file and by what it begins with.
    pub fn of(path: &Path, text: &str) -> Self {
        let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
        let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        match text.trim_start().chars().next() {
            _ if ends(&[".zone", ".db", ".zonefile"]) || name.starts_with("db.") => Self::Zone,
            _ if name == "hosts" || ends(&[".hosts"]) => Self::Hosts,
            Some('{' | '[') if of_answers(text).is_some() => Self::Describe,
            _ if ends(&[".toml", ".json"]) || toml::de::DeTable::parse(text).is_ok() => Self::Document,
            _ if looks_like_hosts(text) => Self::Hosts,
            _ if looks_like_zone(text) => Self::Zone,
            _ => Self::Document,
        }
    }
}

/// Why a text becomes no document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceFault {
    /// A zone file without the name of its zone, which was not told either.
    NoZoneName(String),
    /// It is wrong: a line for each fault.
    Wrong(String),
}

/// A document made of something else, and what was left out or changed on the way.
pub struct ImportedDocument {
    /// The document.
    pub document: Document,
    /// What was left out or changed, a sentence each.
    pub notes: Vec<String>,
}

/// True for text that begins as a hosts file does: with an address.
pub fn looks_like_hosts(text: &str) -> bool {
    first_words(text).is_some_and(|words| {
        let address = words[0].split('%').next().unwrap_or_default();
        words.len() > 1 && address.parse::<IpAddr>().is_ok()
    })
}

/// True for text that begins as a zone file does: with a directive, or with a SOA record.
pub fn looks_like_zone(text: &str) -> bool {
    let is_directive =
        |word: &str| ["$ORIGIN", "$TTL", "$INCLUDE"].iter().any(|known| word.eq_ignore_ascii_case(known));
    first_words(text).is_some_and(|words| {
        is_directive(words[0]) || words.iter().any(|word| word.eq_ignore_ascii_case("SOA"))
    })
}

/// The words of the first line that is no comment.
fn first_words(text: &str) -> Option<Vec<&str>> {
    let lines = text.lines().map(|line| line.split([';', '#']).next().unwrap_or_default());
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>()).find(|words| !words.is_empty())
}

/// A zone file with what it includes as a document; `zone` is its name where it was told.
///
/// # Errors
/// [`SourceFault`]
pub fn of_zone_file(path: &Path, text: &str, zone: Option<&Name>) -> Result<ImportedDocument, SourceFault> {
    let apex = zone_wanted(path, text, zone)?;
    zone_document(&apex, zone_file::load(&path.into(), &apex))
}

/// The same of a text that includes no files: nothing is read but the text. `path` is its name.
///
/// # Errors
/// [`SourceFault`]
pub fn of_zone_text(path: &Path, text: String, zone: Option<&Name>) -> Result<ImportedDocument, SourceFault> {
    let apex = zone_wanted(path, &text, zone)?;
    zone_document(&apex, zone_file::read(path, text, &apex))
}

/// The zone of a zone file.
fn zone_wanted(path: &Path, text: &str, zone: Option<&Name>) -> Result<Name, SourceFault> {
    let no_name = || SourceFault::NoZoneName(format!("{} does not contain its zone name", path.display()));
    zone.cloned().or_else(|| apex_of(path, text)).ok_or_else(no_name)
}

/// The records of a zone as a document.
fn zone_document(apex: &Name, loaded: Loaded<PackedZone>) -> Result<ImportedDocument, SourceFault> {
    let packed = loaded.content.map_err(|error| faulty(&error))?;
    let spec = ZoneSpec { packed: Some(packed), ..ZoneSpec::new(apex.clone(), ZoneMode::Override) };
    let built = BuiltZone::build_leniently(spec, 0);
    let mut making = DocumentBuilder::default();
    making.notes.extend(loaded.warnings.iter().map(noted));
    let key = NameKey::of(apex);
    let mut records = Vec::new();
    for (owner, set) in built.rrsets() {
        // SOA and NS of the zone itself are the server's.
        if !(owner == key && set.rtype == RecordType::NS) {
            records.extend(making.records(&owner, &set, &key));
        }
    }
    let zone = DocumentZone { zone_name: name::show(apex), records, ..DocumentZone::default() };
    Ok(making.made(vec![zone]))
}

/// The zone that a file is of: its first `$ORIGIN`, else the absolute owner of its SOA record, else the file's name.
fn apex_of(path: &Path, text: &str) -> Option<Name> {
    for line in text.lines().take(1000) {
        let words: Vec<&str> = line.split(';').next().unwrap_or_default().split_whitespace().collect();
        match words.as_slice() {
            [directive, origin, ..] if directive.eq_ignore_ascii_case("$ORIGIN") => {
                return name::parse(origin).ok();
            }
            [owner, rest @ ..]
                if owner.ends_with('.') && rest.iter().any(|word| word.eq_ignore_ascii_case("SOA")) =>
            {
                return name::parse(owner).ok();
            }
            _ => {}
        }
    }
    let file = path.file_name()?.to_str()?;
    let by_name = [".zone", ".db", ".zonefile"].iter().find_map(|ending| file.strip_suffix(ending));
    name::parse(by_name.or_else(|| file.strip_prefix("db."))?).ok()
}

/// How names of a hosts file are read.
const HOSTS: HostsOptions = HostsOptions { ttl: 60, without_localhost: true };

/// A hosts file as a document. With a zone, the names in it and those without a dot are its records; without, each name
/// is in a zone of the domain above it, whose other names go on being resolved outside.
///
/// # Errors
/// [`SourceFault`]
pub fn of_hosts_file(path: &Path, zone: Option<&Name>) -> Result<ImportedDocument, SourceFault> {
    hosts_document(hosts_file::load(path, HOSTS), zone)
}

/// The same of a text. `path` is its name.
///
/// # Errors
/// [`SourceFault`]
pub fn of_hosts_text(path: &Path, text: &str, zone: Option<&Name>) -> Result<ImportedDocument, SourceFault> {
    hosts_document(hosts_file::read(path, text, HOSTS), zone)
}

/// The names of a hosts file as a document.
fn hosts_document(loaded: Loaded<Hosts>, zone: Option<&Name>) -> Result<ImportedDocument, SourceFault> {
    let hosts = loaded.content.map_err(|error| faulty(&error))?;
    let mut making = DocumentBuilder::default();
    making.notes.extend(loaded.warnings.iter().map(noted));
    let zone = zone.map(NameKey::of);
    let mut zones: BTreeMap<NameKey, Vec<DocumentRecord>> = BTreeMap::new();
    let mut outside = 0;
    for (owner, set) in hosts.rrsets().filter(|(_, set)| set.rtype != RecordType::PTR) {
        let above = owner.suffixes().nth(1).map(NameKey::of_suffix);
        let is_bare = above.as_ref().is_some_and(|above| above.wire().len() == 1);
        let place = match (&zone, above) {
            (Some(zone), _) if owner.is_within(zone) => Some((owner.clone(), zone.clone())),
            (Some(zone), _) if is_bare => below(&owner, zone).map(|owner| (owner, zone.clone())),
            (None, Some(above)) if !is_bare => Some((owner.clone(), above)),
            _ => None,
        };
        match place {
            Some((owner, zone)) => {
                let records = making.records(&owner, &set, &zone);
                zones.entry(zone).or_default().extend(records);
            }
            None => outside += 1,
        }
    }
    if outside > 0 {
        let what = counted(outside, "address set");
        making.notes.push(match &zone {
            Some(zone) => format!("omitted {what} of names outside {zone}"),
            None => format!("omitted {what} of names without a dot: --zone sets their zone"),
        });
    }
    let pattern = zone.is_none().then(|| "RECORD".to_string());
    let zones = zones.into_iter().map(|(zone, records)| DocumentZone {
        zone_name: zone.to_string(),
        proxy_pattern: pattern.clone(),
        records,
        ..DocumentZone::default()
    });
    let zones = zones.collect();
    Ok(making.made(zones))
}

/// A name of one label, below a zone.
fn below(owner: &NameKey, zone: &NameKey) -> Option<NameKey> {
    let label = owner.wire().len().checked_sub(1)?;
    let wire = [&owner.wire()[..label], zone.wire()].concat();
    (wire.len() <= 255).then(|| NameKey::of_suffix(&wire))
}

/// A warning about a line.
fn noted(fault: &Fault) -> String {
    format!("line {}: {}", fault.line, fault.message)
}

/// What is wrong with a file, fault by fault.
fn faulty(error: &LoadError) -> SourceFault {
    match error {
        LoadError::Unreadable(why) => SourceFault::Wrong(why.clone()),
        LoadError::Faults { told, more } => {
            let mut lines: Vec<String> = told
                .iter()
                .map(|fault| format!("{}:{}: {}", fault.file.display(), fault.line, fault.message))
                .collect();
            if *more > 0 {
                lines.push(format!("and {more} more"));
            }
            SourceFault::Wrong(lines.join("\n"))
        }
    }
}

/// A number with what it counts.
fn counted(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// Records on their way into a document.
#[derive(Default)]
struct DocumentBuilder {
    /// Records of types that the product does not have.
    left_out: BTreeMap<String, u64>,
    /// Records whose TTL was brought into bounds.
    ttls: u64,
    notes: Vec<String>,
}

impl DocumentBuilder {
    fn records(&mut self, owner: &NameKey, set: &Rrset, zone: &NameKey) -> Vec<DocumentRecord> {
        let is_taken = record::row_of(set.rtype).is_some_and(|row| row.private_zone);
        if !is_taken {
            *self.left_out.entry(record::show_type(set.rtype)).or_default() += set.len() as u64;
            return Vec::new();
        }
        let ttl = set.ttl.clamp(*TTLS.start(), *TTLS.end());
        self.ttls += if ttl == set.ttl { 0 } else { set.len() as u64 };
        let rr = relative(owner, zone);
        let record = |data| {
            let (rtype, value, priority) = value::show(&data);
            let (ttl, priority) = (Some(i64::from(ttl)), priority.map(i64::from));
            DocumentRecord { rr: rr.clone(), rtype, value, ttl, priority, ..DocumentRecord::default() }
        };
        set.values().map(record).collect()
    }

    fn made(mut self, zones: Vec<DocumentZone>) -> ImportedDocument {
        for (rtype, count) in &self.left_out {
            let what = counted(*count, "record");
            self.notes
                .push(format!("omitted {what} of type {rtype}: PrivateZone does not support this type"));
        }
        if self.ttls > 0 {
            let what = counted(self.ttls, "TTL");
            self.notes.push(format!("limited {what} to PrivateZone's range, 5 to 86400"));
        }
        ImportedDocument { document: Document { zones, ..Document::default() }, notes: self.notes }
    }
}

/// The host record of a name in a zone.
fn relative(owner: &NameKey, zone: &NameKey) -> String {
    if owner == zone {
        return "@".into();
    }
    let end = owner.wire().len().saturating_sub(zone.wire().len());
    let wire = [&owner.wire()[..end], &[0]].concat();
    crate::engine::text::show_wire(&wire)
}

/// Answers of the product's API, one after another or in lists, as a document; nothing where there is none among them.
/// The inner error says what is missing.
pub fn of_answers(text: &str) -> Option<Result<ImportedDocument, String>> {
    let mut answers = Vec::new();
    for value in serde_json::Deserializer::from_slice(text.as_bytes()).into_iter::<Value>() {
        match value.ok()? {
            Value::Array(all) => answers.extend(all),
            one => answers.push(one),
        }
    }
    let is_answer = |answer: &Value| {
        answer["Zones"]["Zone"].is_array()
            || answer["Records"]["Record"].is_array()
            || answer["ZoneId"].is_string()
    };
    answers.iter().any(is_answer).then(|| Answers::default().read(&answers))
}

/// What the answers tell, by the ids of zones.
#[derive(Default)]
struct Answers {
    zones: Vec<(String, DocumentZone)>,
    records: HashMap<String, Vec<DocumentRecord>>,
    /// The ids of records that were there.
    ids: HashSet<u64>,
    /// How many records a zone has, as far as it was told.
    counts: HashMap<String, u64>,
    total_zones: Option<u64>,
    notes: Vec<String>,
}

impl Answers {
    fn read(mut self, answers: &[Value]) -> Result<ImportedDocument, String> {
        for answer in answers {
            for zone in answer["Zones"]["Zone"].as_array().into_iter().flatten() {
                self.zone(zone);
            }
            if answer["Zones"]["Zone"].is_array() {
                self.total_zones = self.total_zones.max(answer["TotalItems"].as_u64());
            }
            if answer["ZoneName"].is_string() {
                self.zone(answer);
            }
            for record in answer["Records"]["Record"].as_array().into_iter().flatten() {
                self.record(record)?;
            }
        }
        self.made()
    }

    fn zone(&mut self, from: &Value) {
        let text = |field: &str| from[field].as_str().filter(|text| !text.is_empty()).map(String::from);
        let (Some(id), Some(name)) = (text("ZoneId"), text("ZoneName")) else { return };
        if from["ZoneType"].as_str().is_some_and(|kind| kind != "AUTH_ZONE") {
            self.notes.push(format!("omitted zone {name}: its type is {}", from["ZoneType"]));
            return;
        }
        if let Some(count) = from["RecordCount"].as_u64() {
            self.counts.insert(id.clone(), count);
        }
        let list = |outer: &str, inner: &str| from[outer][inner].as_array().cloned().unwrap_or_default();
        let vpcs = list("BindVpcs", "Vpc").into_iter().map(|vpc| DocumentVpc {
            vpc_id: vpc["VpcId"].as_str().unwrap_or_default().into(),
            region_id: vpc["RegionId"].as_str().map(String::from),
            vpc_type: vpc["VpcType"].as_str().map(String::from),
        });
        let tags = list("ResourceTags", "ResourceTag").into_iter().map(|tag| Tag {
            key: tag["Key"].as_str().unwrap_or_default().into(),
            value: tag["Value"].as_str().unwrap_or_default().into(),
        });
        let found = DocumentZone {
            zone_name: name,
            proxy_pattern: text("ProxyPattern"),
            dns_group: text("DnsGroup"),
            remark: text("Remark"),
            zone_tag: text("ZoneTag"),
            resource_group_id: text("ResourceGroupId"),
            bind_vpcs: vpcs.collect(),
            tags: tags.collect(),
            ..DocumentZone::default()
        };
        match self.zones.iter_mut().find(|(known, _)| *known == id) {
            // The list has the tags, the zone by itself its VPCs.
            Some((_, known)) => {
                let tags =
                    if found.tags.is_empty() { std::mem::take(&mut known.tags) } else { found.tags.clone() };
                let bind_vpcs = if found.bind_vpcs.is_empty() {
                    std::mem::take(&mut known.bind_vpcs)
                } else {
                    found.bind_vpcs.clone()
                };
                *known = DocumentZone { tags, bind_vpcs, ..found };
            }
            None => self.zones.push((id, found)),
        }
    }

    fn record(&mut self, from: &Value) -> Result<(), String> {
        let text = |field: &str| from[field].as_str().filter(|text| !text.is_empty()).map(String::from);
        let rtype = text("Type").unwrap_or_default();
        let Some(zone) = text("ZoneId") else {
            return Err(format!("a record ({} {rtype}) without ZoneId", text("Rr").unwrap_or_default()));
        };
        let id = from["RecordId"].as_u64().unwrap_or_default();
        if id != 0 && !self.ids.insert(id) {
            return Ok(()); // a page that is there twice
        }
        let record = DocumentRecord {
            rr: text("Rr").unwrap_or_default(),
            value: text("Value").unwrap_or_default(),
            ttl: from["Ttl"].as_i64(),
            // Some clients send one for all types.
            priority: from["Priority"].as_i64().filter(|_| rtype.eq_ignore_ascii_case("MX")),
            weight: from["Weight"].as_i64().filter(|weight| *weight > 1),
            line: text("Line").filter(|line| line != value::DEFAULT_LINE),
            remark: text("Remark"),
            status: text("Status").filter(|status| status != "ENABLE"),
            rtype,
        };
        self.records.entry(zone).or_default().push(record);
        Ok(())
    }

    fn made(mut self) -> Result<ImportedDocument, String> {
        if let Some(total) = self.total_zones.filter(|total| *total > self.zones.len() as u64) {
            return Err(format!("{} of {total} zones: pages of DescribeZones are missing", self.zones.len()));
        }
        let mut zones = Vec::new();
        for (id, zone) in std::mem::take(&mut self.zones) {
            let records = self.records.remove(&id).unwrap_or_default();
            let found = records.len() as u64;
            match self.counts.get(&id) {
                Some(count) if found > 0 && found < *count => {
                    let name = &zone.zone_name;
                    return Err(format!(
                        "{found} of {count} records of {name}: pages of DescribeZoneRecords are missing"
                    ));
                }
                Some(count) if found == 0 && *count > 0 => {
                    self.notes.push(format!("none of the {count} records of {} are here", zone.zone_name));
                }
                _ => {}
            }
            zones.push(DocumentZone { records, ..zone });
        }
        if let Some(id) = self.records.keys().min() {
            return Err(format!("records of zone {id} without its name: add the output of DescribeZoneInfo"));
        }
        Ok(ImportedDocument { document: Document { zones, ..Document::default() }, notes: self.notes })
    }
}

#[cfg(test)]
#[path = "sources_tests.rs"]
mod tests;
