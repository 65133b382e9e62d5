//! `[[zone]]` with its records, put together while they are read: what a record says is kept in few octets, and where it
//! is written in a few more, so that a million records take little room.

use super::key_path::KeyPath;
use super::plain::{PlainRecord, PlainValue, PlainZone};
use super::reader::{ConfigReader, Span, Spanned};
use super::section::Section;
use super::sections;
use super::value::Value;
use super::zone_file;
use super::zones::{self, DEFAULT_TTL, PRODUCT_TTLS};
use crate::base::file::WatchedFile;
use crate::base::parallel;
use crate::engine::master;
use crate::engine::name::{self, NameKey};
use crate::engine::record;
use crate::engine::zone::{PackedZone, RecordFaultKind, ZoneMode, ZoneSemantics, ZoneSpec};
use crate::engine::zone_build::{Refused, ZoneBuilder};
use hickory_proto::rr::{Name, RecordType};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;

/// Records of one zone of which is told that they cannot be in it.
const MAX_REFUSED: usize = 1000;

/// A zone as written.
pub(super) struct ZoneDraftEntry {
    /// What it says, its records put together.
    pub spec: Arc<ZoneSpec>,
    /// Where its name is.
    pub at: Span,
    /// Its CNAME records in the order of the file, for chains that lead in a circle.
    pub cnames: Vec<(NameKey, RecordPlace)>,
    /// Its VPCs; None means all clients.
    pub vpcs: Option<Vec<Spanned<String>>>,
    /// Its zone file.
    pub file: Option<DraftFile>,
}

/// The zone file of a zone.
pub(super) struct DraftFile {
    /// Where it is, and where that is written.
    pub path: Spanned<Arc<Path>>,
    /// All files that were read for it, once it was read.
    pub files: Arc<[WatchedFile]>,
}

/// Where the value of a record is, in few octets: there may be a million.
#[derive(Clone, Copy)]
pub(super) struct RecordPlace {
    /// Its section among those of the zone.
    record: u32,
    /// Its place in a list of values.
    item: Option<u32>,
    start: u32,
    end: u32,
    rtype: RecordType,
}

impl RecordPlace {
    /// The same with its path, below that of its zone.
    pub fn at(&self, zone: KeyPath) -> Span {
        let value = zone.key("record").item(self.record as usize).key("value");
        let path = self.item.map_or(value, |item| value.item(item as usize));
        Span { path, span: self.start as usize..self.end as usize }
    }
}

/// `[[zone]]`, and its records as far as they are in the same table.
pub(super) fn zone(section: &mut Section) -> Option<ZoneDraftEntry> {
    let mut draft = ZoneDraft::begin(section);
    draft.records(section);
    draft.finish(section.reader())
}

/// A zone that is being read.
pub(super) struct ZoneDraft {
    /// Of the zone.
    path: KeyPath,
    apex: Option<Spanned<Name>>,
    mode: ZoneMode,
    reading: ZoneSemantics,
    vpcs: Option<Vec<Spanned<String>>>,
    file: Option<Spanned<Arc<Path>>>,
    /// The zone's name as people write it.
    shown: String,
    /// The same as a key; the root for a name at fault.
    key: NameKey,
    builder: ZoneBuilder,
    /// The owner of a plain record.
    owner: Vec<u8>,
    /// For each record given to the builder where it is.
    places: Vec<RecordPlace>,
    cnames: Vec<(NameKey, RecordPlace)>,
    /// Sections of records so far.
    sections: usize,
}

impl ZoneDraft {
    /// Reads all of a zone but its records.
    pub fn begin(section: &mut Section) -> Self {
        let apex = section.require("name", "\"ecs.cn-hangzhou.aliyuncs.com\"", Value::name);
        let mode = zones::zone_mode(section);
        let reading = zones::reading(section);
        let vpcs = section.take("vpcs", sections::vpc_ids);
        let folder = section.reader().folder();
        let file = section.take_located("file", sections::not_empty);
        let file = file.map(|file| Spanned { value: folder.join(file.value).into(), at: file.at });
        Self { mode, reading, vpcs, file, ..Self::new(section.at.path, apex) }
    }

    /// A zone at a path with all else as it is by default.
    fn new(path: KeyPath, apex: Option<Spanned<Name>>) -> Self {
        // Records are read below an apex at fault too: their own faults are worth telling.
        let below = apex.as_ref().map_or_else(Name::root, |apex| apex.value.clone());
        let key = NameKey::of(&below);
        Self {
            path,
            mode: ZoneMode::default(),
            reading: ZoneSemantics::default(),
            vpcs: None,
            file: None,
            shown: name::show(&below),
            builder: ZoneBuilder::new(key.clone()),
            key,
            apex,
            owner: Vec::new(),
            places: Vec::new(),
            cnames: Vec::new(),
            sections: 0,
        }
    }

    /// True once a record was read.
    pub fn has_records(&self) -> bool {
        self.sections > 0
    }

    /// Reads the records of a table, which may be one of several of this zone.
    pub fn records(&mut self, section: &mut Section) {
        let first = self.sections;
        let found = sections::read_each_from(section.reader(), section, "record", first, |section| {
            self.sections += 1;
            self.record(section);
            Some(())
        });
        self.sections = self.sections.max(first + found.len());
    }

    /// `[[zone.record]]`: one record for each value. A disabled one is also checked.
    fn record(&mut self, section: &mut Section) {
        let place = self.sections - 1;
        let root;
        let apex = match &self.apex {
            Some(apex) => &apex.value,
            None => {
                root = Name::root();
                &root
            }
        };
        let Some(record) = zones::record(section, apex, &self.shown) else { return };
        let owner = NameKey::of(&record.owner);
        for (item, value) in record.values.iter().enumerate() {
            let rtype = value.value.record_type();
            let place = RecordPlace {
                record: u32::try_from(place).unwrap_or(u32::MAX),
                item: if record.is_list { u32::try_from(item).ok() } else { None },
                start: value.at.span.start as u32, // a file has fewer than 2^32 bytes
                end: value.at.span.end as u32,
                rtype,
            };
            self.places.push(place);
            if rtype == RecordType::CNAME {
                self.cnames.push((owner.clone(), place));
            }
            self.builder.add_data(owner.wire(), record.ttl, &value.value, record.weight);
        }
    }

    /// The zone of a plain section that begins at a byte of the file; nothing where it is not decided here.
    pub fn plain(reader: &ConfigReader, path: KeyPath, section: &PlainZone, begin: usize) -> Option<Self> {
        let at = |key, value: &PlainValue| Span {
            path: path.key(key),
            span: begin + value.start..begin + value.end,
        };
        let file = match &section.file {
            Some(file) if file.text.is_empty() => return None,
            Some(file) => {
                let value = reader.folder().join(file.text).into();
                Some(Spanned { value, at: at("file", file) })
            }
            None => None,
        };
        let apex = Spanned { value: name::parse(section.name.text).ok()?, at: at("name", &section.name) };
        Some(Self { file, ..Self::new(path, Some(apex)) })
    }

    /// Reads an address record of a plain section that begins at a byte of the file; nothing where it is not decided here
    /// what it means, or what is wrong with it.
    pub fn plain_record(&mut self, section: &PlainRecord, begin: usize) -> Option<()> {
        self.apex.as_ref()?;
        let (v4, v6);
        let (rtype, data) = match section.rtype {
            "A" => {
                v4 = section.value.text.parse::<Ipv4Addr>().ok()?.octets();
                (RecordType::A, &v4[..])
            }
            "AAAA" => {
                v6 = section.value.text.parse::<Ipv6Addr>().ok()?.octets();
                (RecordType::AAAA, &v6[..])
            }
            _ => return None,
        };
        let ttl = match section.ttl {
            None => DEFAULT_TTL,
            Some(ttl) => ttl.parse().ok().filter(|number| {
                PRODUCT_TTLS.contains(number) && !ttl.starts_with('0') // a number in TOML does not begin with 0
            })?,
        };
        self.owner.clear();
        match section.name {
            "@" => self.owner.extend_from_slice(self.key.wire()),
            name if name.ends_with('.') || zones::below(name, &self.shown).is_some() => return None,
            name => master::push_plain(&mut self.owner, name, self.key.wire()).then_some(())?,
        }
        self.places.push(RecordPlace {
            record: u32::try_from(self.sections).unwrap_or(u32::MAX),
            item: None,
            start: (begin + section.value.start) as u32, // a file has fewer than 2^32 bytes
            end: (begin + section.value.end) as u32,
            rtype,
        });
        self.sections += 1;
        self.builder.add_wire(&self.owner, rtype, ttl, data, None);
        Some(())
    }

    /// The zone. What contradicts itself among its records is noted.
    pub fn finish(self, reader: &ConfigReader) -> Option<ZoneDraftEntry> {
        let apex = self.apex?;
        let mut refused = Vec::new();
        let owners = self.builder.finish_with(|record| {
            if refused.len() < MAX_REFUSED {
                refused.push(record);
            }
        });
        for record in &refused {
            let at = |place: usize| self.places.get(place).map(|place| place.at(self.path));
            let kind_of = |place: usize| self.places.get(place).map(|place| place.rtype);
            let line = |place: usize| at(place).map_or(0, |at| reader.line_of(&at));
            let Some(here) = at(record.fault.record) else { continue };
            let (message, hint) = told(record, kind_of, line);
            reader.error(&here, message, hint);
        }
        let mut read = None;
        let packed = match self.file {
            Some(file) if self.sections > 0 => {
                let hint = "keep the file, or write the records here";
                reader.error(&file.at, "the zone has both a file and records", hint.to_string());
                None
            }
            Some(path) => {
                read = Some(DraftFile { path, files: Arc::default() }); // `load_files` reads it
                None
            }
            None => Some(PackedZone::new(owners, None)),
        };
        let ZoneSemantics { on_missing_type, wildcards } = self.reading;
        let spec = ZoneSpec { on_missing_type, wildcards, packed, ..ZoneSpec::new(apex.value, self.mode) };
        Some(ZoneDraftEntry {
            spec: Arc::new(spec),
            at: apex.at,
            cnames: self.cnames,
            vpcs: self.vpcs,
            file: read,
        })
    }
}

/// Zone files that are worth a turn of a thread.
const SHARE: usize = 64;

/// Reads the zone files of zones, on all cores: there may be many.
pub(super) fn load_files(reader: &ConfigReader, zones: &mut [ZoneDraftEntry]) {
    let files = zones.iter().enumerate().filter_map(|(zone, entry)| {
        let file = entry.file.as_ref()?;
        Some((zone, file.path.value.clone(), entry.spec.apex.clone()))
    });
    let loaded =
        parallel::map(files.collect(), SHARE, |(zone, path, apex)| (zone, zone_file::load(&path, &apex)));
    for (zone, loaded) in loaded {
        let entry = &mut zones[zone];
        if let Some(file) = &mut entry.file {
            (Arc::make_mut(&mut entry.spec).packed, file.files) = loaded.or_note(reader, &file.path.at);
        }
    }
}

/// What is told of a record that cannot be in its zone, and what to do.
fn told(
    record: &Refused,
    kind_of: impl Fn(usize) -> Option<RecordType>,
    line: impl Fn(usize) -> usize,
) -> (String, String) {
    let owner = &record.owner;
    match record.fault.kind {
        RecordFaultKind::CnameBesideOther(other) => {
            let message = format!(
                "{} beside {} of `{owner}` on line {}: a CNAME excludes other records at its name",
                record::show_type(record.rtype),
                kind_of(other).map(record::show_type).unwrap_or_default(),
                line(other),
            );
            (message, "keep the CNAME, or keep the other records, or set enabled = false on one".to_string())
        }
        RecordFaultKind::Duplicate(other) => {
            let value = record::from_wire(record.rtype, &record.data);
            let value = value.map(|value| record::show_value(&value)).unwrap_or_default();
            (
                format!("`{owner}` has this value already ({value}), see line {}", line(other)),
                "remove one".into(),
            )
        }
        RecordFaultKind::WeightBesideNone(other) => {
            let message = format!(
                "of the values of `{owner}`, some have a weight and some have none (line {})",
                line(other)
            );
            (message, "give all of them a weight, or none".into())
        }
        ref kind => (format!("`{owner}`: {kind}"), "change or remove this record".into()),
    }
}
