//! Timestamps of the API: `2026-11-22T23:11:38Z`, UTC, in whole seconds.
//!
//! No other form is accepted. Reads no clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};
use time::{Date, Month, Time, UtcDateTime};

/// The last second of the year 9999, the last year of the form.
const LAST: u64 = 253_402_300_799;

/// Parses a timestamp; None for any other form, an impossible date, or a year before 1970.
pub fn parse(text: &str) -> Option<SystemTime> {
    let bytes: &[u8; 20] = text.as_bytes().try_into().ok()?;
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'Z')];
    if separators.iter().any(|&(at, separator)| bytes[at] != separator) {
        return None;
    }
    let number = |from: usize, to: usize| {
        bytes[from..to].iter().try_fold(0, |number: u16, digit| {
            digit.is_ascii_digit().then(|| number * 10 + u16::from(digit - b'0'))
        })
    };
    let pair = |from: usize| u8::try_from(number(from, from + 2)?).ok();
    let date =
        Date::from_calendar_date(number(0, 4)?.into(), Month::try_from(pair(5)?).ok()?, pair(8)?).ok()?;
    let time = Time::from_hms(pair(11)?, pair(14)?, pair(17)?).ok()?;
    let seconds = u64::try_from(UtcDateTime::new(date, time).unix_timestamp()).ok()?;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// Formats a time. Times before 1970 become its first second, times after 9999 its last one; fractions are dropped.
pub fn format(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().min(LAST);
    let utc = i64::try_from(seconds).ok().and_then(|seconds| UtcDateTime::from_unix_timestamp(seconds).ok());
    let utc = utc.unwrap_or(UtcDateTime::UNIX_EPOCH);
    let (year, month, day) = (utc.year(), u8::from(utc.month()), utc.day());
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", utc.hour(), utc.minute(), utc.second())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_moments() {
        // date -u -d TEXT +%s
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59Z", 951_868_799),
            ("2016-02-23T12:46:24Z", 1_456_231_584),
            ("2026-11-22T23:11:38Z", 1_795_389_098),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ] {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(parse(text), Some(time), "{text}");
            assert_eq!(format(time), text);
        }
    }

    #[test]
    fn times_beyond_the_form_are_written_as_its_ends() {
        assert_eq!(format(UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00Z");
        assert_eq!(format(UNIX_EPOCH + Duration::from_secs(LAST + 1)), "9999-12-31T23:59:59Z");
        assert_eq!(format(UNIX_EPOCH + Duration::from_secs(u64::MAX >> 2)), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn any_other_form_is_refused() {
        for text in [
            "",
            "2026-11-22",
            "2026-11-22 23:11:38Z",
            "2026-11-22T23:11:38",
            "2026-11-22T23:11:38+00:00",
            "2026-11-22T23:11:38.000Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:60Z",
            "+026-01-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "2026-1-01T00:00:00Zé",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(seconds in 0u64..253_402_300_800) {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            prop_assert_eq!(parse(&format(time)), Some(time));
        }
    }
}
