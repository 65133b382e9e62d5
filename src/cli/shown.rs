//! Records and groups as people and programs see them.

use crate::config::{Config, Servers};
use crate::engine::catalog::GroupKey;
use crate::engine::name::show;
use crate::engine::record::{show_type, show_value};
use hickory_proto::rr::Record;
use serde::Serialize;

/// A record for `--json`.
#[derive(Serialize)]
pub(super) struct ShownRecord {
    name: String,
    ttl: u32,
    #[serde(rename = "type")]
    rtype: String,
    value: String,
}

/// A record for `--json`.
pub(super) fn record(record: &Record) -> ShownRecord {
    ShownRecord {
        name: show(&record.name),
        ttl: record.ttl,
        rtype: show_type(record.record_type()),
        value: show_value(&record.data),
    }
}

/// A record for people: `name TTL type value`.
pub(super) fn line(record: &Record) -> String {
    let (name, rtype) = (show(&record.name), show_type(record.record_type()));
    format!("{name}  {}  {rtype}  {}", record.ttl, show_value(&record.data))
}

/// Whom a group asks, as the configuration has it.
pub(super) fn servers(config: &Config, key: GroupKey) -> String {
    let list = |servers: &[crate::upstream::ServerAddress]| {
        servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    if key != GroupKey::DEFAULT {
        return config
            .groups()
            .iter()
            .find(|group| group.key == key)
            .map(|group| list(&group.servers))
            .unwrap_or_default();
    }
    match &config.upstream.servers {
        Servers::System => "the system's servers (/etc/resolv.conf)".into(),
        Servers::Listed(servers) if servers.is_empty() => "nobody: no upstream is configured".into(),
        Servers::Listed(servers) => list(servers),
    }
}

/// Prints a value as JSON on standard output.
pub(super) fn json(value: &impl Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => println!("{text}"),
        Err(error) => eprintln!("error: {error}"), // strings and numbers always serialise
    }
}

/// Rows under a head, in columns as wide as they must be. Numbers in a column do not need to line up to be read.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_string() + "\n"
    };
    let mut out = line(&mut head.iter().copied());
    for row in rows {
        out += &line(&mut row.iter().map(String::as_str));
    }
    out
}
