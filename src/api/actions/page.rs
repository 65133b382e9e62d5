//! Pages of a list.

use crate::api::{ApiError, Params};
use serde_json::{Map, Value, json};

/// Which page is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResultPage {
    number: u64,
    size: u64,
}

impl ResultPage {
    /// By `PageNumber` (from 1) and `PageSize` (1 to 100, default 20).
    ///
    /// # Errors
    /// `InvalidParameter`.
    pub fn of(params: &Params) -> Result<Self, ApiError> {
        let number = params.integer("PageNumber", 1..=u64::from(u32::MAX))?.unwrap_or(1);
        let size = params.integer("PageSize", 1..=100)?.unwrap_or(20);
        Ok(Self { number, size })
    }

    /// How many items are on the pages before this one.
    pub fn skipped(self) -> usize {
        usize::try_from((self.number - 1).saturating_mul(self.size)).unwrap_or(usize::MAX)
    }

    /// How many items are on a page, at most 100.
    pub fn size(self) -> usize {
        self.size as usize
    }

    /// The items on this page; none beyond the end.
    pub fn cut<T>(self, items: Vec<T>) -> impl Iterator<Item = T> {
        items.into_iter().skip(self.skipped()).take(self.size())
    }

    /// How many items match, and those on this page in the form in which they are shown.
    pub fn filtered<T, R>(
        self,
        items: impl Iterator<Item = T>,
        matches: impl Fn(&T) -> bool,
        show: impl Fn(T) -> R,
    ) -> (usize, Vec<R>) {
        let (mut total, mut shown) = (0, Vec::new());
        for item in items.filter(|item| matches(item)) {
            if total >= self.skipped() && shown.len() < self.size() {
                shown.push(show(item));
            }
            total += 1;
        }
        (total, shown)
    }

    /// The fields that go with a page of a list of `total` items.
    pub fn fields(self, total: usize) -> Map<String, Value> {
        let pages = (total as u64).div_ceil(self.size);
        let fields = json!({
            "PageNumber": self.number, "PageSize": self.size, "TotalItems": total, "TotalPages": pages,
        });
        object(fields)
    }

    /// The same under the names that some newer actions use.
    pub fn other_fields(self, total: usize) -> Map<String, Value> {
        let pages = (total as u64).div_ceil(self.size);
        object(
            json!({ "CurPage": self.number, "PageSize": self.size, "TotalSize": total, "TotalPage": pages }),
        )
    }
}

/// The fields of a JSON object written in place.
pub fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(), // `json!({…})` makes nothing else
    }
}
