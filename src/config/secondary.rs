//! `[[secondary]]`: zones that other servers are primaries of; and `[[tsig]]`, the keys that transfers are signed with.
//! Secrets in files are not read here, as those of access keys are not.

use super::api;
use super::api::SecretSource;
use super::reader::{ConfigReader, Span, Spanned};
use super::section::Section;
use super::sections;
use super::suggest::suggest;
use super::value::Value;
use super::zone_draft::ZoneDraftEntry;
use super::zones;
use crate::engine::name::{self, NameKey};
use crate::engine::zone::{ZoneAvailability, ZoneOrigin, ZoneSemantics, ZoneSpec};
use crate::upstream::transfer::TsigAlgorithm;
use std::net::SocketAddr;

/// The words for [`TsigAlgorithm`].
const ALGORITHMS: [(&str, TsigAlgorithm); 3] = [
    ("hmac-sha256", TsigAlgorithm::Sha256),
    ("hmac-sha384", TsigAlgorithm::Sha384),
    ("hmac-sha512", TsigAlgorithm::Sha512),
];

/// Octets of memory that the records of a zone may take where nothing is written.
const MAX_SIZE: u64 = 64 << 20;

/// `[[tsig]]`: a key that transfers are signed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TsigSource {
    /// Its name, which both sides know it by.
    pub name: NameKey,
    /// Its algorithm.
    pub algorithm: TsigAlgorithm,
    /// Where its secret is, in base64.
    pub secret: SecretSource,
}

/// `[[secondary]]`: a zone that other servers are primaries of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secondary {
    /// The place of the zone among the configured ones.
    pub zone: usize,
    /// Whom to ask for it, in this order; at least one.
    pub primaries: Vec<SocketAddr>,
    /// The key that both sides sign with.
    pub key: Option<TsigSource>,
    /// Octets of memory that its records may take.
    pub max_size: usize,
}

/// A key as written.
pub(super) struct TsigEntry {
    /// What it says.
    pub source: TsigSource,
    /// Where its name is.
    at: Span,
}

/// A secondary zone as written.
pub(super) struct SecondaryEntry {
    /// The zone without records.
    zone: ZoneDraftEntry,
    /// Whom to ask for it.
    primaries: Vec<Spanned<SocketAddr>>,
    /// The name of its key.
    tsig: Option<Spanned<NameKey>>,
    max_size: usize,
}

/// `[[tsig]]`
pub(super) fn tsig(section: &mut Section) -> Option<TsigEntry> {
    let folder = section.reader().folder();
    let name = section.require("name", "\"transfer.corp.example\"", Value::name);
    let algorithm =
        section.take("algorithm", |value| value.one_of(&ALGORITHMS)).unwrap_or(TsigAlgorithm::Sha256);
    let secret = api::secret(section, "[[tsig]]", &folder)?;
    let Spanned { value, at } = name?;
    if let SecretSource::Written(written) = &secret
        && data_encoding::BASE64.decode(written.as_str().as_bytes()).is_err()
    {
        let hint = "write what `tsig-keygen` or `keymgr -t` prints as secret";
        section.reader().error(&section.at, "the secret is not base64", hint.to_string());
    }
    Some(TsigEntry { source: TsigSource { name: NameKey::of(&value), algorithm, secret }, at })
}

/// `[[secondary]]`
pub(super) fn secondary(section: &mut Section) -> Option<SecondaryEntry> {
    let zone = section.require("zone", "\"corp.example\"", Value::name);
    let primaries = section.require("primaries", "[\"10.1.0.53\"]", |value| {
        let hint = "name at least one: primaries = [\"10.1.0.53\"]";
        value.some("a secondary zone without primaries", hint, primary)
    });
    let tsig = section.take_located("tsig", |value| Some(NameKey::of(&value.name()?)));
    let max_size = section.take("max_size", |value| value.bytes(64 << 10..=4 << 30)).unwrap_or(MAX_SIZE);
    let mode = zones::zone_mode(section);
    let ZoneSemantics { on_missing_type, wildcards } = zones::reading(section);
    let vpcs = section.take("vpcs", sections::vpc_ids);
    let Spanned { value: apex, at } = zone?;
    let availability = ZoneAvailability::NotTransferred;
    let origin = ZoneOrigin::Secondary;
    let spec = ZoneSpec { on_missing_type, wildcards, origin, availability, ..ZoneSpec::new(apex, mode) };
    let zone = ZoneDraftEntry { spec: spec.into(), at, cnames: Vec::new(), vpcs, file: None };
    let max_size = usize::try_from(max_size).unwrap_or(usize::MAX);
    Some(SecondaryEntry { zone, primaries: primaries?.value, tsig, max_size })
}

/// The address of a primary.
fn primary(value: &Value) -> Option<SocketAddr> {
    let address = value.address(53)?;
    if address.port() == 0 || address.ip().is_unspecified() || address.ip().is_multicast() {
        let hint = "use a unicast address and a port from 1";
        return value.wrong(format!("`{address}` is not a usable server address"), hint.to_string());
    }
    Some(address)
}

/// Notes keys that are there twice.
pub(super) fn check_keys(reader: &ConfigReader, keys: &[TsigEntry]) {
    for (place, key) in keys.iter().enumerate() {
        if let Some(first) = keys[..place].iter().find(|first| first.source.name == key.source.name) {
            let name = &key.source.name;
            let line = reader.line_of(&first.at);
            reader.error(
                &key.at,
                format!("key `{name}` is defined already (line {line})"),
                "remove one".to_string(),
            );
        }
    }
}

/// Puts the zones behind those of the file, and finds the keys; what is decided of them, and all primaries with their
/// places.
pub(super) fn join(
    reader: &ConfigReader,
    entries: Vec<SecondaryEntry>,
    keys: &[TsigEntry],
    zones: &mut Vec<ZoneDraftEntry>,
) -> (Vec<Secondary>, Vec<Spanned<SocketAddr>>) {
    let (mut all, mut places) = (Vec::new(), Vec::new());
    for SecondaryEntry { zone, primaries, tsig, max_size } in entries {
        let key = tsig.and_then(|wanted| {
            let found = keys.iter().find(|key| key.source.name == wanted.value);
            if found.is_none() {
                unknown_key(reader, &wanted, keys);
            }
            found.map(|key| key.source.clone())
        });
        places.extend(primaries.iter().cloned());
        let primaries = primaries.into_iter().map(|primary| primary.value).collect();
        all.push(Secondary { zone: zones.len(), primaries, key, max_size });
        zones.push(zone);
    }
    (all, places)
}

fn unknown_key(reader: &ConfigReader, wanted: &Spanned<NameKey>, keys: &[TsigEntry]) {
    let names: Vec<String> = keys.iter().map(|key| name::show(&key.source.name.to_name())).collect();
    let shown = name::show(&wanted.value.to_name());
    let hint = match suggest(&shown, names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("define it: [[tsig]], name = \"{shown}\", secret_file = \"FILE\""),
    };
    reader.error(&wanted.at, format!("no TSIG key `{shown}` is configured"), hint);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, parse};
    use std::path::Path;

    const KEY: &str = "[[tsig]]\nname = \"K.test\"\nsecret = \"c2VjcmV0\"\n";

    fn faults(text: &str) -> Vec<String> {
        let result: Result<(Config, _), _> = parse(text, Path::new("test.toml"));
        result.map_or_else(|faults| faults.into_iter().map(|fault| fault.message).collect(), |_| Vec::new())
    }

    #[test]
    fn the_zone_is_the_last_of_the_zones_and_knows_its_key() {
        let text = format!(
            "{KEY}[[zone]]\nname = \"a.example\"\n[[secondary]]\nzone = \"b.example\"\nprimaries = [\"192.0.2.1\", \
             \"[2001:db8::1]:5353\"]\ntsig = \"k.TEST.\"\n"
        );
        let (config, _) = parse(&text, Path::new("test.toml")).unwrap();
        let secondary = &config.secondaries[0];
        assert_eq!((secondary.zone, secondary.max_size, secondary.primaries[1].port()), (1, 64 << 20, 5353));
        assert_eq!(secondary.key.as_ref().unwrap().algorithm, TsigAlgorithm::Sha256);
        assert_eq!(config.zones[1].0.availability, ZoneAvailability::NotTransferred);
    }

    #[test]
    fn what_cannot_be_is_told() {
        let zone = |more: &str| format!("[[secondary]]\nzone = \"b.example\"\n{more}\n");
        let own = "[server]\nlisten = [\"127.0.0.1:5300\"]\n";
        for (text, expected) in [
            (zone(""), "[[secondary]] needs a `primaries`"),
            (zone("primaries = []"), "a secondary zone without primaries"),
            (zone("primaries = [\"0.0.0.0\"]"), "`0.0.0.0:53` is not a usable server address"),
            (
                zone("primaries = [\"192.0.2.1\"]\ntsig = \"k.tes\"") + KEY,
                "no TSIG key `k.tes` is configured",
            ),
            (zone("primaries = [\"192.0.2.1\"]\nmax_size = 1"), "1 is out of range"),
            (
                format!("{own}{}", zone("primaries = [\"127.0.0.1:5300\"]")),
                "127.0.0.1:5300 is this server itself",
            ),
            (
                format!("{}[[zone]]\nname = \"b.example\"", zone("primaries = [\"192.0.2.1\"]")),
                "zone `b.example`",
            ),
            (format!("{KEY}{KEY}"), "key `k.test` is defined already (line 2)"),
            (KEY.replace("c2VjcmV0", "no base64"), "it contains blanks"),
            (KEY.replace("c2VjcmV0", "%%%%"), "the secret is not base64"),
            ("[[tsig]]\nname = \"k\"\n".into(), "[[tsig]] needs a secret"),
            (
                KEY.replace("secret =", "algorithm = \"hmac-md5\"\nsecret ="),
                "`hmac-md5` is not a known value",
            ),
        ] {
            let told = faults(&text);
            assert!(told.iter().any(|message| message.starts_with(expected)), "{expected}: {told:#?}");
        }
    }
}
