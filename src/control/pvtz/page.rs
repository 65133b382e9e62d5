//! Pages of a list.

use crate::control::{ApiError, Params};
use serde_json::{Map, Value, json};

/// Which page is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    number: u64,
    size: u64,
}

impl Page {
    /// By `PageNumber` (from 1) and `PageSize` (1 to 100, default 20).
    ///
    /// # Errors
    /// `InvalidParameter`.
    pub fn of(params: &Params) -> Result<Self, ApiError> {
        let number = params.integer("PageNumber", 1..=u64::from(u32::MAX))?.unwrap_or(1);
        let size = params.integer("PageSize", 1..=100)?.unwrap_or(20);
        Ok(Self { number, size })
    }

    /// The items on this page; none beyond the end.
    pub fn cut<T>(self, items: Vec<T>) -> impl Iterator<Item = T> {
        let skip = usize::try_from((self.number - 1).saturating_mul(self.size)).unwrap_or(usize::MAX);
        items.into_iter().skip(skip).take(self.size as usize)
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
