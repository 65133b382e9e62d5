//! The parameters of a call by name, and typed access to them.
//!
//! Every value is text. An empty value is the same as none, because clients send empty values for unset parameters.
//! Unknown parameters are ignored, because every client adds some of its own.

use super::ApiError;
use crate::engine::sort;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// Names and values of query and form body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params(BTreeMap<String, String>);

/// The most items of one flattened list (`Vpcs.1.VpcId` …): more than any action accepts.
const MAX_ITEMS: usize = 1000;

impl Params {
    /// The value, if there is one that is not empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// True if the parameter was sent, even an empty one.
    pub fn is_present(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The value.
    ///
    /// # Errors
    /// `Missing<name>`.
    pub fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.text(name).ok_or_else(|| ApiError::missing(name))
    }

    /// A whole number within bounds.
    ///
    /// # Errors
    /// `InvalidParameter` for a text that is not a number, or a number out of bounds.
    pub fn integer(&self, name: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, ApiError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.parse::<u64>() {
            Ok(number) if range.contains(&number) => Ok(Some(number)),
            _ => Err(ApiError::invalid(
                name,
                format!("it must be a whole number from {} to {}", range.start(), range.end()),
            )),
        }
    }

    /// `true` or `false`, in any case.
    ///
    /// # Errors
    /// `InvalidParameter` for anything else.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.text(name) {
            None => Ok(None),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(_) => Err(ApiError::invalid(name, "it must be true or false")),
        }
    }

    /// A flattened list of values: `TagKey.1`, `TagKey.2`, …; it ends at the first gap.
    pub fn values(&self, name: &str) -> Vec<&str> {
        (1..=MAX_ITEMS).map_while(|at| self.text(&format!("{name}.{at}"))).collect()
    }

    /// A flattened list of objects: `Vpcs.1.VpcId`, `Vpcs.1.RegionId`, …; it ends at the first number without
    /// a parameter.
    pub fn items(&self, name: &str) -> Vec<Params> {
        (1..=MAX_ITEMS)
            .map_while(|at| {
                let prefix = format!("{name}.{at}.");
                let fields = self.0.range(prefix.clone()..);
                let fields = fields.map_while(|(key, value)| Some((key.strip_prefix(&prefix)?, value)));
                let item = sort::map(fields.map(|(key, value)| (key.into(), value.clone())));
                (!item.is_empty()).then_some(Params(item))
            })
            .collect()
    }

    /// Adds a parameter that was not sent.
    pub fn insert_absent(&mut self, name: &str, value: String) {
        self.0.entry(name.into()).or_insert(value);
    }

    /// All names and values, in byte order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Params {
    /// The later value of a repeated name is used.
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self(sort::map(pairs.into_iter().map(|(name, value)| (name.into(), value.into()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Params {
        pairs.iter().copied().collect()
    }

    #[test]
    fn an_empty_value_is_none() {
        let params = params(&[("ZoneId", ""), ("Rr", "@")]);
        assert_eq!(params.required("ZoneId").unwrap_err().code, "MissingZoneId");
        assert!(params.is_present("ZoneId"));
        assert_eq!(params.required("Rr"), Ok("@"));
    }

    #[test]
    fn lists_are_flattened_from_one() {
        let params = params(&[
            ("Vpcs.1.VpcId", "a"),
            ("Vpcs.1.RegionId", "r"),
            ("Vpcs.2.VpcId", "b"),
            ("Vpcs.10.VpcId", "after a gap"),
            ("TagKey.1", "x"),
            ("TagKey.2", "y"),
        ]);
        let vpcs: Vec<_> =
            params.items("Vpcs").iter().map(|vpc| vpc.text("VpcId").unwrap().to_string()).collect();
        assert_eq!(vpcs, ["a", "b"]);
        assert_eq!(params.values("TagKey"), ["x", "y"]);
        assert_eq!(params.items("Tag"), []);
    }

    #[test]
    fn numbers_keep_to_their_bounds() {
        let params = params(&[("PageSize", "101"), ("PageNumber", "-1"), ("Ttl", "60"), ("Open", "TRUE")]);
        assert!(params.integer("PageSize", 1..=100).is_err());
        assert!(params.integer("PageNumber", 1..=100).is_err());
        assert_eq!(params.integer("Ttl", 5..=86_400), Ok(Some(60)));
        assert_eq!(params.boolean("Open"), Ok(Some(true)));
    }
}
