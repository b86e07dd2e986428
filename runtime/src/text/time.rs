//! Timestamps as in RFC 3339, and durations as Go writes them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A time in UTC with nanoseconds: `2026-01-31T23:59:59.123456789Z`.
pub fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil_from_days(days as i64);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:09}Z",
        second / 3600,
        second / 60 % 60,
        second % 60,
        since.subsec_nanos()
    )
}

/// The Gregorian date of a day counted from 1970-01-01. Years begin in March here, so that leap days come
/// last.
fn civil_from_days(days: i64) -> (i64, u32, u32) {
    const DAYS_IN_ERA: i64 = 146_097;
    let days = days + 719_468;
    let era = days.div_euclid(DAYS_IN_ERA);
    let day_of_era = days.rem_euclid(DAYS_IN_ERA);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month as u32, day as u32)
}

/// Parses a duration as callers of runc write it: `5s`, `1m30s`, `1.5h`, `250ms`; `None` if it is malformed.
pub fn parse_duration(text: &str) -> Option<Duration> {
    /// In nanoseconds. A unit that begins like another one comes first.
    const UNITS: [(&str, u64); 8] = [
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000),
        ("μs", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    if text.is_empty() {
        return None;
    }
    let mut rest = if text == "0" { "" } else { text };
    let mut nanoseconds = 0u64;
    while !rest.is_empty() {
        let end = rest.find(|character: char| !character.is_ascii_digit() && character != '.')?;
        let (unit, factor) = UNITS.iter().find(|(unit, _)| rest[end..].starts_with(unit))?;
        let (whole, fraction) = rest[..end].split_once('.').unwrap_or((&rest[..end], "0"));
        // Nine digits are nanoseconds of a second; more digits make no difference.
        let digits = &fraction[..fraction.len().min(9)];
        let parts = digits.parse::<u64>().ok()?.checked_mul(factor / 1_000)? / 10u64.pow(digits.len() as u32);
        nanoseconds = whole.parse::<u64>().ok()?.checked_mul(*factor)?.checked_add(nanoseconds)?;
        nanoseconds = nanoseconds.checked_add(parts.checked_mul(1_000)?)?;
        rest = &rest[end + unit.len()..];
    }
    Some(Duration::from_nanos(nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (text, milliseconds) in [
            ("5s", 5000),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("250ms", 250),
            ("2000us", 2),
            ("2000µs", 2),
            ("0", 0),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "5", "s", "5x", "-5s", "5s6", "1..5s", "99999999999h"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn dates_of_the_calendar() {
        let at = |seconds| rfc3339(UNIX_EPOCH + Duration::new(seconds, 5));
        assert_eq!(at(0), "1970-01-01T00:00:00.000000005Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.000000005Z");
        assert_eq!(at(1_767_225_599), "2025-12-31T23:59:59.000000005Z");
        assert_eq!(at(1_772_323_200), "2026-03-01T00:00:00.000000005Z");
    }
}
