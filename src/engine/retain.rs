//! Names whose last good answer is kept: which they are, and whether a denial that replaces an answer is believed.

use super::cache::Timestamp;
use super::name::NameKey;
use hickory_proto::rr::RecordType;

/// A rule: a name, or all names at or below one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetainRule {
    /// The name.
    pub name: NameKey,
    /// Names below it are meant too.
    pub is_subtree: bool,
    /// The types that are kept.
    pub types: Vec<RecordType>,
    /// How long after its expiry an answer may still be served, in milliseconds.
    pub stale_ms: u64,
    /// How long a denial has to last until it is believed, in milliseconds.
    pub confirm_ms: u64,
    /// The most names that are kept.
    pub max_names: usize,
}

/// All rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetainRules {
    /// In the order of the configuration.
    pub rules: Vec<RetainRule>,
}

impl RetainRules {
    /// The rule for a name and a type, by its place: one for the very name, else that of the longest name above it.
    pub fn find(&self, name: &[u8], rtype: RecordType) -> Option<usize> {
        let applies = |rule: &RetainRule| rule.covers(name) && rule.types.contains(&rtype);
        let places = self.rules.iter().enumerate().filter(|(_, rule)| applies(rule));
        places
            .max_by_key(|(place, rule)| (!rule.is_subtree, rule.name.wire().len(), usize::MAX - place))
            .map(|it| it.0)
    }
}

impl RetainRule {
    /// True for a name that the rule is for.
    pub fn covers(&self, name: &[u8]) -> bool {
        match self.is_subtree {
            true => super::name::suffixes(name).any(|suffix| suffix == self.name.wire()),
            false => name == self.name.wire(),
        }
    }

    /// What is made of a denial, the first of which came then.
    pub fn judge(&self, first: Timestamp, now: Timestamp) -> DenialVerdict {
        match now.since(first) >= self.confirm_ms {
            true => DenialVerdict::Confirmed,
            false => DenialVerdict::Held,
        }
    }

    /// Seconds for which a good answer is served again while a denial of it is not confirmed; `stale_ttl` at most.
    pub fn held_ttl(&self, first: Timestamp, now: Timestamp, stale_ttl: u32) -> u32 {
        let left = self.confirm_ms.saturating_sub(now.since(first)).div_ceil(1000);
        u32::try_from(left).unwrap_or(u32::MAX).min(stale_ttl).max(1)
    }
}

/// What is made of a denial of a name that had an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenialVerdict {
    /// It is not believed yet.
    Held,
    /// It has lasted.
    Confirmed,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::name::parse;

    fn rule(name: &str, is_subtree: bool, types: &[RecordType]) -> RetainRule {
        RetainRule {
            name: NameKey::of(&parse(name).unwrap()),
            is_subtree,
            types: types.to_vec(),
            stale_ms: 1000,
            confirm_ms: 30_000,
            max_names: 10,
        }
    }

    #[test]
    fn the_very_name_comes_before_the_longest_suffix() {
        use RecordType::{A, TXT};
        let rules = [
            rule("example", true, &[A, TXT]),
            rule("b.example", true, &[A]),
            rule("x.b.example", false, &[A]),
        ];
        let rules = RetainRules { rules: rules.to_vec() };
        for (name, rtype, expected) in [
            ("example", A, Some(0)),
            ("c.example", A, Some(0)),
            ("b.example", A, Some(1)),
            ("y.b.example", A, Some(1)),
            ("y.b.example", TXT, Some(0)),
            ("x.b.example", A, Some(2)),
            ("z.x.b.example", A, Some(1)),
            ("notexample", A, None),
            ("example", RecordType::MX, None),
        ] {
            let name_key = NameKey::of(&parse(name).unwrap());
            assert_eq!(rules.find(name_key.wire(), rtype), expected, "{name} {rtype}");
        }
    }

    #[test]
    fn a_denial_is_believed_once_it_has_lasted() {
        let rule = rule("example", false, &[RecordType::A]);
        let first = Timestamp(1_000_000);
        let after = |ms: u64| Timestamp(first.0 + ms);
        assert_eq!(rule.judge(first, first), DenialVerdict::Held);
        assert_eq!(rule.judge(first, after(29_999)), DenialVerdict::Held);
        assert_eq!(rule.judge(first, after(30_000)), DenialVerdict::Confirmed);
        assert_eq!([0, 10_000, 29_500].map(|ms| rule.held_ttl(first, after(ms), 25)), [25, 20, 1]);
    }
}
