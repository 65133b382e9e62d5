//! Validates the text of a file: as a whole, or in pieces if it is long.

use super::again::Seen;
use super::data_file::{HostsFile, ZoneFile};
use super::fault::{Fault, Severity};
use super::pieces::Pieces;
use super::reader::{ConfigReader, Origin};
use super::zone_pieces::ZonesInPieces;
use super::{Config, Forward, file, lints, validate};
use std::path::Path;
use std::sync::Arc;
use toml::de::DeTable;

/// Minimum octets of a text that is read in pieces.
const LONG: usize = 128 << 10;

/// Octets of a text that is never read as a whole for the sake of its faults: that takes 20 times its length.
const VERY_LONG: usize = 4 << 20;

/// Configuration and warnings, or faults.
type Decided = Result<(Config, Vec<Fault>), Vec<Fault>>;

/// Decides the configuration in the text of a file that others may read, or may not.
pub(super) fn parse_as(text: &str, file: &Path, open_to_others: bool) -> Decided {
    let mut reader = ConfigReader::new(text, file);
    reader.set_open_to_others(open_to_others);
    let pieces = if text.len() >= LONG { Pieces::of(text) } else { None };
    if let Some(pieces) = pieces
        && let Some(decided) = decide_in_pieces(reader, text, pieces, text.len() >= VERY_LONG)
    {
        return decided;
    }
    let mut reader = ConfigReader::new(text, file);
    reader.set_open_to_others(open_to_others);
    decide(reader, text)
}

/// Decides a text as a whole.
pub(super) fn decide(reader: ConfigReader, text: &str) -> Decided {
    let (table, errors) = DeTable::parse_recoverable(text);
    let whole = Origin::At(0);
    if !errors.is_empty() {
        reader.syntax(&errors, whole);
    }
    let spec = file::read(&reader, table.get_ref(), whole, None);
    conclude(reader, spec)
}

/// Decides a text piece by piece; nothing where only the whole tells what it means. Faults of syntax are told best with
/// all that surrounds them, but of a text that is `very_long` they are told piece by piece.
pub(super) fn decide_in_pieces(
    mut reader: ConfigReader,
    text: &str,
    pieces: Pieces,
    very_long: bool,
) -> Option<Decided> {
    reader.set_parts(pieces.parts.clone());
    let (table, errors) = DeTable::parse_recoverable(&pieces.rest);
    if table.get_ref().contains_key("zone") || !(errors.is_empty() || very_long) {
        return None;
    }
    if !errors.is_empty() {
        reader.syntax(&errors, Origin::Parts);
    }
    let mut zones = ZonesInPieces::new(&reader);
    let on_syntax = |errors: &[_], origin| very_long.then(|| reader.syntax(errors, origin));
    for piece in &pieces.zones {
        zones.read_piece(text, piece, pieces.has_long_strings, on_syntax)?;
    }
    let zones = zones.finish();
    let spec = file::read(&reader, table.get_ref(), Origin::Parts, Some(zones));
    let mut decided = conclude(reader, spec);
    if let Ok((config, warnings)) = &mut decided
        && warnings.is_empty()
    {
        config.seen = Seen::of(text, &pieces);
    }
    Some(decided)
}

/// The decided values of what a file says, or all faults.
fn conclude(reader: ConfigReader, spec: file::Spec) -> Decided {
    let config = if reader.is_whole() { Some(join(&reader, spec)) } else { None };
    let faults = reader.finish();
    match config {
        Some(config) if faults.iter().all(|fault| fault.severity == Severity::Warning) => {
            Ok((config, faults))
        }
        _ => Err(faults),
    }
}

/// The decided values of what the file says, with what contradicts itself noted as faults.
fn join(reader: &ConfigReader, spec: file::Spec) -> Config {
    let scopes = validate::contradictions(reader, &spec);
    let zones = spec.zones.iter().map(|entry| entry.spec.clone()).zip(scopes.zones);
    let zone_files = spec.zones.iter().enumerate().filter_map(|(zone, entry)| {
        let file = entry.file.as_ref()?;
        Some(ZoneFile { zone, path: file.path.value.clone(), files: file.files.clone() })
    });
    let hosts = spec.hosts.iter().zip(scopes.hosts).map(|(entry, scope)| HostsFile {
        path: entry.path.clone(),
        options: entry.options,
        scope,
        hosts: Arc::new(entry.hosts.clone()),
        files: entry.files.clone(),
    });
    let config = Config {
        server: spec.server.clone(),
        endpoints: spec.endpoints.clone(),
        upstream: spec.upstream.clone(),
        cache: spec.cache.clone(),
        control: spec.control.clone(),
        fleet: spec.fleet.clone(),
        ops: spec.ops.clone(),
        log: spec.log.clone(),
        top: spec.top,
        forwards: spec
            .forwards
            .iter()
            .zip(scopes.forwards)
            .map(|(entry, scope)| Forward {
                zone: entry.zone.value.clone(),
                servers: entry.servers.iter().map(|server| server.value.clone()).collect(),
                strategy: entry.strategy,
                scope,
            })
            .collect(),
        vpcs: spec.vpcs.iter().map(|entry| entry.vpc.clone()).collect(),
        zones: zones.collect(),
        zone_files: zone_files.collect(),
        secondaries: spec.secondaries.clone(),
        retain: spec.retain.clone(),
        hosts: hosts.collect(),
        expects: spec.expects.clone(),
        file: None,
        seen: Seen::default(),
    };
    if !reader.has_errors() {
        lints::note(reader, &spec, &config);
    }
    config
}
