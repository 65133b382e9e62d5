//! A document in parts, each of which one request holds. Each part is a change of its own.

use crate::api::document::{Document, DocumentRecord, DocumentZone};
use serde::Serialize;
use std::collections::HashSet;

/// Items of a part: enough that a part costs little beside them, few enough that other changes do not wait long.
const MAX_ITEMS: usize = 100_000;

/// Octets of the texts of a part. JSON has escapes and the names of fields beside them.
const MAX_OCTETS: usize = 4 << 20;

/// Octets that JSON has beside the texts of an item, about.
const FIELDS: usize = 40;

/// The parts of a document, in the order in which they must be imported.
///
/// # Errors
/// The name of two zones: they would be taken for one where they are in different parts.
pub(super) fn split(document: Document) -> Result<Vec<Document>, String> {
    let Document { zones, rules, custom_lines } = document;
    let mut names = HashSet::new();
    let twice = zones.iter().map(|zone| zone.zone_name.trim_end_matches('.').to_lowercase());
    if let Some(name) = twice.into_iter().find(|name| !names.insert(name.clone())) {
        return Err(name);
    }
    // Records go by lines, so that these come first.
    let octets = octets_of(&custom_lines);
    let part = Document { custom_lines, ..Document::default() };
    let mut parts = Parts { done: Vec::new(), part, room: ROOM };
    parts.take(octets, parts.part.custom_lines.len());
    for zone in zones {
        parts.add_zone(zone);
    }
    for rule in rules {
        let (octets, items) = (octets_of(&rule), 1 + rule.forward_ips.len() + rule.bind_vpcs.len());
        parts.make_room(octets, items);
        parts.part.rules.push(rule);
    }
    parts.end();
    Ok(parts.done)
}

/// Octets and items that a part has room for.
const ROOM: (usize, usize) = (MAX_OCTETS, MAX_ITEMS);

/// Parts in the making.
struct Parts {
    done: Vec<Document>,
    part: Document,
    room: (usize, usize),
}

impl Parts {
    /// Adds a zone; with its records it may go on over several parts.
    fn add_zone(&mut self, mut zone: DocumentZone) {
        let records = std::mem::take(&mut zone.records);
        let items = 1 + zone.bind_vpcs.len() + zone.tags.len() + zone.lba_status.len();
        self.make_room(octets_of(&zone), items);
        // What a later part says of it: enough to find it.
        let again = DocumentZone {
            zone_name: zone.zone_name.clone(),
            bind_vpcs: zone.bind_vpcs.clone(),
            ..DocumentZone::default()
        };
        for record in records {
            let octets = octets_of_record(&record);
            if !self.has_room(octets, 1) {
                self.part.zones.push(std::mem::replace(&mut zone, again.clone()));
                self.end();
                self.take(octets_of(&again), 1 + again.bind_vpcs.len());
            }
            self.take(octets, 1);
            zone.records.push(record);
        }
        self.part.zones.push(zone);
    }

    /// Begins another part where this one has no room, and takes it.
    fn make_room(&mut self, octets: usize, items: usize) {
        if !self.has_room(octets, items) {
            self.end();
        }
        self.take(octets, items);
    }

    /// Whether there is room for more. An empty part takes anything.
    fn has_room(&self, octets: usize, items: usize) -> bool {
        self.room == ROOM || (octets <= self.room.0 && items <= self.room.1)
    }

    fn take(&mut self, octets: usize, items: usize) {
        self.room = (self.room.0.saturating_sub(octets), self.room.1.saturating_sub(items));
    }

    /// Ends a part.
    fn end(&mut self) {
        let part = std::mem::take(&mut self.part);
        if part != Document::default() {
            self.done.push(part);
        }
        self.room = ROOM;
    }
}

/// Octets of a thing as JSON.
fn octets_of(thing: &impl Serialize) -> usize {
    serde_json::to_string(thing).map_or(0, |text| text.len())
}

/// The same of a record, about; there may be millions.
fn octets_of_record(record: &DocumentRecord) -> usize {
    let DocumentRecord { rr, rtype, value, line, remark, status, .. } = record;
    let rest = [line, remark, status].into_iter().flatten();
    FIELDS + rr.len() + rtype.len() + value.len() + rest.map(|text| 12 + text.len()).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::document::{CustomLine, DocumentRule, DocumentVpc};

    fn zone(name: &str, records: usize, octets: usize) -> DocumentZone {
        let record = |number: usize| DocumentRecord {
            rr: format!("r{number}"),
            rtype: "TXT".into(),
            value: "x".repeat(octets),
            ..DocumentRecord::default()
        };
        DocumentZone {
            zone_name: name.into(),
            remark: Some("once".into()),
            bind_vpcs: vec![DocumentVpc { vpc_id: "v".into(), ..DocumentVpc::default() }],
            records: (0..records).map(record).collect(),
            ..DocumentZone::default()
        }
    }

    #[test]
    fn all_of_a_document_is_in_its_parts_and_each_is_within_bounds() {
        let zones = vec![
            zone("a.example", 10, 10),
            zone("b.example", 250_000, 1),
            zone("c.example", 30_000, 500),
            zone("d.example", 0, 0),
        ];
        let names: Vec<String> = zones.iter().map(|zone| zone.zone_name.clone()).collect();
        let line = CustomLine { name: "l".into(), ..CustomLine::default() };
        let document = Document {
            rules: vec![DocumentRule::default(); 25_000],
            custom_lines: vec![line],
            zones: zones.clone(),
        };
        let parts = split(document.clone()).unwrap();
        assert!(parts.len() > 7, "{}", parts.len());
        assert_eq!(parts[0].custom_lines, document.custom_lines);
        for part in &parts {
            let items: usize = part.zones.iter().map(|zone| 2 + zone.records.len()).sum();
            let octets = serde_json::to_string(part).unwrap().len();
            assert!(items <= MAX_ITEMS && octets <= crate::api::actions::MAX_BODY / 2, "{items} {octets}");
        }
        for (before, name) in zones.iter().zip(names) {
            let found: Vec<&DocumentZone> =
                parts.iter().flat_map(|part| &part.zones).filter(|zone| zone.zone_name == name).collect();
            let records: Vec<&DocumentRecord> = found.iter().flat_map(|zone| &zone.records).collect();
            assert!(records.iter().copied().eq(&before.records));
            assert!(found.iter().all(|zone| zone.bind_vpcs == before.bind_vpcs));
            assert_eq!(found.iter().filter(|zone| zone.remark.is_some()).count(), 1);
        }
        assert_eq!(parts.iter().map(|part| part.rules.len()).sum::<usize>(), 25_000);
    }

    #[test]
    fn two_zones_of_a_name_are_not_put_into_parts() {
        let zones = vec![zone("a.example", 1, 1), zone("A.Example.", 1, 1)];
        assert_eq!(split(Document { zones, ..Document::default() }), Err("a.example".into()));
    }
}
