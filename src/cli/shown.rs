//! Output of records and groups, as text and JSON.

pub(super) use crate::admin::explain::ShownRecord;
use crate::config::{Config, Servers};
use crate::engine::catalog::GroupKey;
use crate::engine::name::unicode;
use crate::engine::text::{TextRecord, is_hazard, printable};
use serde::Serialize;

/// A record for `--json`.
pub(super) fn record(entry: &TextRecord) -> ShownRecord {
    entry.into()
}

/// A record for people: `name TTL type value`, the name in Unicode behind it, as a comment of zone files.
pub(super) fn line(entry: &TextRecord) -> String {
    let line = format!("{}  {}  {}  {}", entry.owner(), entry.ttl, entry.type_name(), entry.value());
    match unicode(&entry.name) {
        Some(text) => format!("{line}  ; {text}"),
        None => line,
    }
}

/// The servers of a group as configured.
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
        Servers::Listed(servers) if servers.is_empty() => "none: no upstream is configured".into(),
        Servers::Listed(servers) => list(servers),
    }
}

/// Prints a value as JSON on standard output.
pub(super) fn json(value: &impl Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => println!("{}", tame_json(&text)),
        Err(error) => eprintln!("error: {error}"), // strings and numbers always serialise
    }
}

/// JSON whose strings do nothing on a terminal: what would is written as `\u` and its number, which means
/// the same.
pub(super) fn tame_json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        if is_hazard(char) && char != '\n' {
            out.extend(char.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            out.push(char);
        }
    }
    out
}

/// Text of several lines for a terminal; the line breaks are ours.
pub(super) fn lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_says_the_same_without_acting_on_the_terminal() {
        let text = "\u{9b}2J\u{202e}\u{e0041}é\n";
        let json = tame_json(&serde_json::to_string_pretty(&[text]).unwrap());
        assert!(!json.contains(|char| is_hazard(char) && char != '\n'), "{json}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&json).unwrap(), [text]);
    }
}
