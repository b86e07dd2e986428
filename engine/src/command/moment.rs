//! Moments on the command line: `--since`, `--until`, `--filter until=…`.

use tz::TimeZone;

use crate::container::size::parse_time;
use crate::error::{Error, Result};
use crate::time::{Moment, parse_rfc3339};

/// A smaller number means seconds ago, and not since 1970.
const FIRST: f64 = 1e6;

/// So many seconds since 1970 are the most that a [`Moment`] can tell: the year 2554.
const LAST: f64 = (u64::MAX / 1_000_000_000) as f64;

/// Reads a date, seconds since 1970, or a time ago.
///
/// # Errors
/// It is none of them; `flag`, which ends with what stands before the value, is named.
pub fn parse_moment(flag: &str, text: &str) -> Result<Moment> {
    if let Some(moment) = parse_date(text, offset_here) {
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

/// Docker's forms of a date: without a time it begins there, without minutes or seconds they are zero, and without a zone it is that of this
/// place, of which `offset` tells by how many seconds it is ahead at a moment.
fn parse_date(text: &str, offset: impl Fn(i64) -> i64) -> Option<Moment> {
    let (date, rest) = text.split_at_checked(10)?;
    let zone = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let (time, zone) = rest.split_at(zone);
    let time = match time.strip_prefix('T') {
        None if time.is_empty() => "00:00:00".to_string(),
        None => return None,
        Some(time) => match time.len() {
            2 => format!("{time}:00:00"),
            5 => format!("{time}:00"),
            _ => time.to_string(),
        },
    };
    if !zone.is_empty() {
        return parse_rfc3339(&format!("{date}T{time}{zone}"));
    }
    let Moment(here) = parse_rfc3339(&format!("{date}T{time}Z"))?;
    let seconds = i64::try_from(here / 1_000_000_000).ok()?;
    // The difference at this moment, and not at the one of that name in another zone.
    let ahead = offset(seconds - offset(seconds));
    let since = i64::try_from(here).ok()?.checked_sub(ahead.checked_mul(1_000_000_000)?)?;
    u64::try_from(since).ok().map(Moment)
}

/// By how many seconds the clocks of this place are ahead, as `TZ` or /etc/localtime tells; nobody's word is UTC.
fn offset_here(seconds: i64) -> i64 {
    let zone = match std::env::var("TZ") {
        Ok(zone) => TimeZone::from_posix_tz(&zone),
        Err(_) => TimeZone::local(),
    };
    let offset = zone.ok().and_then(|zone| Some(zone.find_local_time_type(seconds).ok()?.ut_offset()));
    offset.map_or(0, i64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_have_dockers_forms() {
        let of = |text| parse_date(text, |_| 7200).map(|Moment(moment)| moment / 1_000_000_000);
        assert_eq!(of("2000-01-02"), Some(946_771_200 - 7200));
        assert_eq!(of("2000-01-02Z"), Some(946_771_200));
        assert_eq!(of("2000-01-02+01:00"), Some(946_771_200 - 3600));
        assert_eq!(of("2000-01-02T03"), Some(946_771_200 + 3600));
        assert_eq!(of("2000-01-02T03:04"), Some(946_771_200 + 3840));
        assert_eq!(of("2000-01-02T03:04:05.5"), Some(946_771_200 + 3845));
        assert_eq!(of("2000-01-02T03:04-01:00"), Some(946_771_200 + 4 * 3600 + 240));
        for wrong in
            ["2000-01", "2000-01-02 03:04", "2000-01-02T", "2000-01-02T3", "2000-13-02", "1970-01-01"]
        {
            assert_eq!(of(wrong), None, "{wrong}");
        }
        // Clocks are put forward meanwhile.
        let offset = |seconds: i64| if seconds < 946_771_200 { 0 } else { 3600 };
        let of = |text| parse_date(text, offset).map(|Moment(moment)| moment / 1_000_000_000);
        assert_eq!(of("2000-01-01T23:00"), Some(946_767_600));
        assert_eq!(of("2000-01-02T02:00"), Some(946_774_800));
    }

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
