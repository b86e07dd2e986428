//! Moments on the command line: `--since`, `--until`, `--filter until=…`.

use crate::container::size::parse_time;
use crate::error::{Error, Result};
use crate::time::{Moment, parse_date};

/// A smaller number means seconds ago, and not since 1970.
const FIRST: f64 = 1e6;

/// So many seconds since 1970 are the most that a [`Moment`] can tell: the year 2554.
const LAST: f64 = (u64::MAX / 1_000_000_000) as f64;

/// Reads a date, seconds since 1970, or a time ago.
///
/// # Errors
/// It is none of them; `flag`, which ends with what stands before the value, is named.
pub fn parse_moment(flag: &str, text: &str) -> Result<Moment> {
    if let Some(moment) = parse_date(text) {
        return Ok(moment);
    }
    if let Ok(seconds) = text.parse::<f64>()
        && (FIRST..LAST).contains(&seconds)
    {
        return Ok(Moment((seconds * 1e9) as u64));
    }
    let wrong = |_| {
        let right = "must be 2006-01-02, 2006-01-02T15:04:05 or 2006-01-02T15:04:05Z, seconds since 1970, or a time ago such as 10m";
        Error::invalid(format!("{flag}{text}: {right}"))
    };
    let ago = parse_time(flag, text).map_err(wrong)?;
    Ok(Moment(Moment::now().0.saturating_sub(u64::try_from(ago.as_nanos()).unwrap_or(u64::MAX))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_seconds_and_times_ago() {
        let of = |text| parse_moment("--since ", text).map(|moment| moment.0).ok();
        assert_eq!(of("1970-01-01T00:00:01Z"), Some(1_000_000_000));
        assert_eq!(of("2000000000.5"), Some(2_000_000_000_500_000_000));
        let (now, hour) = (Moment::now().0, of("1h").unwrap());
        assert!((3_599_000_000_000..3_601_000_000_000).contains(&(now - hour)));
        for wrong in ["", "BAD", "-1", "-1h", "1e300", "inf", "nan", "101y", "18446744073709551615"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
        let error = parse_moment("--filter until=", "soon").unwrap_err().to_string();
        assert!(error.starts_with("--filter until=soon: must be 2006"), "{error}");
    }
}
