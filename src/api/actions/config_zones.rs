//! The zones of the configuration file as the API shows them: there, and not to be changed. Their ids are made of
//! what they are, so that they stay the same over reloads and restarts.

use crate::account::row::{Binding, RecordRow, ZoneRow};
use crate::account::value::{self, DEFAULT_LINE};
use crate::engine::catalog::{Catalog, Scope};
use crate::engine::name;
use crate::engine::zone::{Zone, ZoneMode, ZoneOrigin};
use data_encoding::HEXLOWER;
use ring::digest::{SHA256, digest};
use std::collections::BTreeMap;

/// What `Creator` says of them.
pub const CREATOR: &str = "configuration-file";

/// Zones of the file, without records.
pub fn zones(catalog: &Catalog) -> impl Iterator<Item = (ZoneRow, &Zone)> {
    zones_after(catalog, 0)
}

/// Zones of the file, but the first `count`.
pub fn zones_after(catalog: &Catalog, count: usize) -> impl Iterator<Item = (ZoneRow, &Zone)> {
    let zones = catalog.zones().iter().filter(|(zone, _)| is_of_file(zone));
    zones.skip(count).map(|(zone, scope)| (row(catalog, zone, scope), &**zone))
}

/// How many zones the file has.
pub fn count(catalog: &Catalog) -> usize {
    catalog.zones().iter().filter(|(zone, _)| is_of_file(zone)).count()
}

fn is_of_file(zone: &Zone) -> bool {
    matches!(zone.origin, ZoneOrigin::File | ZoneOrigin::Secondary)
}

/// The places of the zones of the file among all of the catalog, and their ids.
pub fn ids(catalog: &Catalog) -> impl Iterator<Item = (usize, String)> {
    let zones = catalog.zones().iter().enumerate().filter(|(_, (zone, _))| is_of_file(zone));
    zones.map(|(place, (zone, scope))| (place, id(&name::show(&zone.name), scope)))
}

/// The zone of the file at a place of the catalog.
pub fn at(catalog: &Catalog, place: usize) -> Option<(ZoneRow, &Zone)> {
    let (zone, scope) = catalog.zones().get(place).filter(|(zone, _)| is_of_file(zone))?;
    Some((row(catalog, zone, scope), zone))
}

/// The id of a zone.
fn id(name: &str, scope: &Scope) -> String {
    let ids = match scope {
        Scope::Everyone => String::new(),
        Scope::Vpcs(ids) => ids.join(","),
    };
    HEXLOWER.encode(&hash(&["zone", &name.to_ascii_lowercase(), &ids])[..16])
}

fn row(catalog: &Catalog, zone: &Zone, scope: &Scope) -> ZoneRow {
    let seen_by: Vec<_> = catalog
        .vpcs()
        .filter(|vpc| match scope {
            Scope::Everyone => true,
            Scope::Vpcs(ids) => ids.contains(&vpc.id),
        })
        .map(|vpc| Binding {
            vpc: vpc.id.clone(),
            region: vpc.region.clone().unwrap_or_default(),
            kind: "STANDARD".into(),
        })
        .collect();
    let name = name::show(&zone.name);
    ZoneRow {
        id: id(&name, scope),
        name,
        proxy: zone.mode == ZoneMode::RecursionProxy,
        remark: String::new(),
        dns_group: value::FAST.into(),
        zone_tag: String::new(),
        zone_type: value::AUTH.into(),
        resource_group: String::new(),
        created: 0,
        updated: 0,
        serial: 0,
        bindings: seen_by,
        tags: BTreeMap::new(),
        weighted: Vec::new(),
        sync: None,
    }
}

/// Records in the order of their names without the first `count`; those of one name and type in the order of the file.
/// They are made as they are taken: there may be a million, and a page has a hundred.
pub fn records<'z>(row: &'z ZoneRow, zone: &'z Zone, count: usize) -> impl Iterator<Item = RecordRow> + 'z {
    let below = row.name.to_ascii_lowercase();
    zone.sets_after(count).flat_map(move |(owner, set, skipped)| {
        let full = owner.to_string();
        let rr = match full.strip_suffix(&below) {
            Some("") | None => "@".to_string(),
            Some(below) => below.trim_end_matches('.').to_string(),
        };
        let weights = set.weights().to_vec();
        let values: Vec<_> = set.values().enumerate().skip(skipped).collect();
        values.into_iter().map(move |(place, data)| {
            let (rtype, value, priority) = value::show(&data);
            let bytes = hash(&[&row.id, &rr, &rtype, &value]);
            let number =
                u64::from_be_bytes([0, 0, bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5]]);
            RecordRow {
                id: number % 1_000_000_000_000_000, // 15 digits: longer numbers break JavaScript clients
                zone: row.id.clone(),
                rr: rr.clone(),
                rtype,
                value,
                ttl: set.ttl,
                priority,
                weight: weights.get(place).copied().unwrap_or(1),
                line: DEFAULT_LINE.into(),
                remark: String::new(),
                enabled: true,
                synced: false,
                created: 0,
                updated: 0,
            }
        })
    })
}

fn hash(parts: &[&str]) -> [u8; 32] {
    let text = parts.join("\0");
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    bytes
}
