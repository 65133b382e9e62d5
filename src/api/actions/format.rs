//! The product's ways of writing: ids, times, remarks.

use crate::api::ApiError;

/// Characters that a remark may have beside letters and digits, with their full-width forms. Blanks pass: the
/// documentation does not say, and people write them.
const IN_REMARK: &str = "_-,. ＿－，。．　";

/// Characters of a remark.
const MAX_REMARK: usize = 50;

/// A remark as it may be.
///
/// # Errors
/// `Zone.Remark`, for zones and records alike.
pub fn remark(text: &str) -> Result<String, ApiError> {
    let allowed = |c: char| c.is_alphanumeric() || IN_REMARK.contains(c);
    if text.chars().count() <= MAX_REMARK && text.chars().all(allowed) {
        return Ok(text.into());
    }
    Err(ApiError::new(
        "Zone.Remark",
        "A remark has at most 50 characters: letters, digits, and _ - , . in half or full width.",
    ))
}

/// True for what can be an id of the product: opaque, but short and plain.
pub fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
}

/// `2018-01-23T03:15Z`: UTC, minutes, no seconds.
pub fn minute(milliseconds: u64) -> String {
    let minutes = milliseconds / 60_000;
    let (year, month, day) = civil(minutes / 1440);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}Z", minutes / 60 % 24, minutes % 60)
}

/// The date of a day since 1970-01-01, in the Gregorian calendar. Years begin with March, so that the odd day of
/// a leap year is its last and months are found by a linear rule.
fn civil(days: u64) -> (u64, u64, u64) {
    let since_0000_03_01 = days + 719_468;
    let (era, day_of_era) = (since_0000_03_01 / 146_097, since_0000_03_01 % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_minutes_of_utc() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00Z"),
            (951_782_399, "2000-02-28T23:59Z"),
            (951_782_400, "2000-02-29T00:00Z"),
            (1_516_677_359, "2018-01-23T03:15Z"),
            (1_709_251_199, "2024-02-29T23:59Z"),
            (1_709_251_200, "2024-03-01T00:00Z"),
            (4_102_444_800, "2100-01-01T00:00Z"),
            (4_107_542_400, "2100-03-01T00:00Z"),
        ] {
            assert_eq!(minute(seconds * 1000), text);
        }
    }

    #[test]
    fn remarks_keep_to_the_products_rule() {
        for good in ["", "abc", "测试，一下", "a b_c-d.e"] {
            assert!(remark(good).is_ok(), "{good}");
        }
        for bad in ["a!", "a;b", "<b>", &"x".repeat(51)] {
            assert_eq!(remark(bad).unwrap_err().code, "Zone.Remark", "{bad}");
        }
    }
}
