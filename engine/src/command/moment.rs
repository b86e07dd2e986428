//! Moments on the command line: `--since`, `--until`, `--filter until=…`.

use std::time::Duration;

use pillbox::text::time::parse_duration;

use super::Arguments;
use crate::container::size::TIME_MAX;
use crate::error::{Error, Result};
use crate::time::{Moment, parse_date};

/// A smaller number but zero means seconds ago, and not since 1970.
const FIRST: f64 = 1e6;

/// So many seconds since 1970 are the most that a [`Moment`] can tell: the year 2554.
const LAST: f64 = (u64::MAX / 1_000_000_000) as f64;

/// The moment that a flag tells; an empty value tells none.
///
/// # Errors
/// As for [`parse_moment`].
pub fn moment_of(arguments: &Arguments, flag: &str) -> Result<Option<Moment>> {
    let text = arguments.text(flag)?.filter(|text| !text.is_empty());
    text.map(|text| parse_moment(&format!("--{flag} "), text)).transpose()
}

/// Reads a date, seconds since 1970, or a time ago.
///
/// # Errors
/// It is none of them; `flag`, which ends with what stands before the value, is named.
pub fn parse_moment(flag: &str, text: &str) -> Result<Moment> {
    if let Some(moment) = parse_date(text) {
        return Ok(moment);
    }
    if let Ok(seconds) = text.parse::<f64>()
        && (seconds == 0.0 || (FIRST..LAST).contains(&seconds))
    {
        return Ok(Moment((seconds * 1e9) as u64));
    }
    // One with a minus would be yet to come: whoever prunes what is older does not mean that.
    let time = match text.strip_prefix('+') {
        Some(time) => parse_duration(time),
        None => text.parse().ok().map(Duration::from_secs).or_else(|| parse_duration(text)),
    };
    let time = time.filter(|time| *time <= TIME_MAX).ok_or_else(|| {
        let right = "must be 2006-01-02, 2006-01-02T15:04:05 or 2006-01-02T15:04:05Z, seconds since 1970, or a time ago such as 10m";
        Error::invalid(format!("{flag}{text}: {right}"))
    })?;
    let (now, time) = (Moment::now().0, u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    Ok(Moment(now.saturating_sub(time)))
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
        assert_eq!((of("0"), of("2300-01-01Z") > of("2200-01-01Z")), (Some(0), true));
        assert!(of("+10us").unwrap() >= now && of("90").unwrap() < now);
        for wrong in [
            "",
            "BAD",
            "-1",
            "-1h",
            "+",
            "2006-02-30",
            "-1x",
            "1e300",
            "inf",
            "nan",
            "101y",
            "18446744073709551615",
        ] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
        let error = parse_moment("--filter until=", "soon").unwrap_err().to_string();
        assert!(error.starts_with("--filter until=soon: must be 2006"), "{error}");
    }
}
