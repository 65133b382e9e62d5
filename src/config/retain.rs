//! `[[retain]]`: names whose last good answer is kept.

use super::reader::{ConfigReader, Span, Spanned};
use super::section::Section;
use super::value::Value;
use super::zones;
use crate::engine::name::NameKey;
use crate::engine::retain::{RetainRule, RetainRules};
use hickory_proto::rr::RecordType;
use std::time::Duration;

/// Names that all sections may list.
const MAX_LISTED: usize = 10_000;

/// Names that one CNAME chain has at most: what a listed name needs room for.
const CHAIN: usize = 16;

const DAY: Duration = Duration::from_secs(86_400);

/// A section as written.
pub(super) struct RetainEntry {
    rules: Vec<RetainRule>,
    at: Span,
}

/// `[[retain]]`
pub(super) fn retain(section: &mut Section) -> Option<RetainEntry> {
    let has_names = section.has("names") || section.has("suffixes");
    let names = section.take("names", |value| value.list(Value::name)).unwrap_or_default();
    let suffixes = section.take("suffixes", |value| value.list(Value::name)).unwrap_or_default();
    let types = section.take("types", |value| {
        value.some("no type", "leave `types` out for A and AAAA", |item| zones::record_type(item))
    });
    let types = types.map_or(vec![RecordType::A, RecordType::AAAA], |types| {
        types.into_iter().map(|rtype| rtype.value).collect()
    });
    let stale =
        section.take("stale", |value| value.duration(Duration::from_secs(1)..=DAY * 30)).unwrap_or(DAY * 7);
    let confirm = section.take("confirm", |value| value.duration(Duration::from_secs(1)..=DAY));
    let confirm = confirm.unwrap_or(Duration::from_secs(30));
    let max_names = section.take("max_names", |value| Some(value.integer(1..=MAX_LISTED as u64)? as usize));
    let max_names = max_names.unwrap_or(1000);
    if section.reader().is_whole() && (!has_names || (names.is_empty() && suffixes.is_empty())) {
        let hint = "add names = [\"api.example\"], or suffixes = [\"corp.example\"]";
        section.reader().error(&section.at, "[[retain]] names nothing to retain", hint.to_string());
    }
    let millis = |duration: Duration| duration.as_millis() as u64; // 30 days at most
    let rule = |name: Spanned<_>, is_subtree| RetainRule {
        name: NameKey::of(&name.value),
        is_subtree,
        types: types.clone(),
        stale_ms: millis(stale),
        confirm_ms: millis(confirm),
        max_names: if is_subtree { max_names } else { CHAIN },
    };
    let listed = names.into_iter().map(|name| rule(name, false));
    let rules =
        listed.collect::<Vec<_>>().into_iter().chain(suffixes.into_iter().map(|name| rule(name, true)));
    Some(RetainEntry { rules: rules.collect(), at: section.at.clone() })
}

/// All rules. More names than can be kept are a fault.
pub(super) fn join(reader: &ConfigReader, entries: Vec<RetainEntry>) -> RetainRules {
    let mut rules = Vec::new();
    for entry in entries {
        rules.extend(entry.rules);
        let names: usize =
            rules.iter().map(|rule: &RetainRule| if rule.is_subtree { rule.max_names } else { 1 }).sum();
        if names > MAX_LISTED {
            let message =
                format!("the [[retain]] sections up to here name {names} names; at most {MAX_LISTED}");
            reader.error(&entry.at, message, "name fewer, or lower max_names".to_string());
            break;
        }
    }
    RetainRules { rules }
}

#[cfg(test)]
mod tests {
    use crate::config::parse;
    use hickory_proto::rr::RecordType;
    use std::path::Path;

    #[test]
    fn names_and_suffixes_become_rules() {
        let text = "[[retain]]\nnames = [\"API.example\"]\nsuffixes = [\"corp.example\"]\nconfirm = \"1m\"\n\
                    [[retain]]\nsuffixes = [\"b.example\"]\ntypes = [\"TXT\"]\nstale = \"1h\"\nmax_names = 5\n";
        let (config, _) = parse(text, Path::new("test.toml")).unwrap();
        let [api, corp, other] = &config.retain.rules[..] else { panic!("{:?}", config.retain) };
        assert_eq!(
            (api.name.to_string().as_str(), api.is_subtree, api.confirm_ms),
            ("api.example", false, 60_000)
        );
        assert_eq!((corp.is_subtree, corp.max_names, corp.stale_ms), (true, 1000, 7 * 86_400_000));
        assert_eq!(
            (&other.types[..], other.max_names, other.confirm_ms),
            (&[RecordType::TXT][..], 5, 30_000)
        );
    }

    #[test]
    fn what_cannot_be_is_told() {
        for (text, expected) in [
            ("[[retain]]\n", "[[retain]] names nothing to retain"),
            ("[[retain]]\nnames = []\n", "[[retain]] names nothing to retain"),
            ("[[retain]]\nnames = [\"a\"]\nconfirm = \"0s\"\n", "\"0s\" is out of range"),
            ("[[retain]]\nnames = [\"a\"]\ntypes = [\"NOPE\"]\n", "`NOPE`"),
            (
                "[[retain]]\nsuffixes = [\"a\", \"b\"]\nmax_names = 6000\n",
                "the [[retain]] sections up to here name 12000 names; at most 10000",
            ),
        ] {
            let faults = parse(text, Path::new("test.toml")).unwrap_err();
            assert!(faults.iter().any(|fault| fault.message.contains(expected)), "{expected}: {faults:#?}");
        }
    }
}
