//! Moments, and how they are written.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tz::TimeZone;

/// Nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(pub u64);

impl Moment {
    /// This one.
    pub fn now() -> Moment {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Moment(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Its second.
    pub fn whole_second(self) -> Moment {
        Moment(self.0 / 1_000_000_000 * 1_000_000_000)
    }

    /// So many seconds after 1970; before that there is none.
    pub fn of_seconds(seconds: i64) -> Moment {
        Moment(u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000_000))
    }
}

/// RFC 3339, in UTC, with nanoseconds.
pub fn rfc3339(moment: Moment) -> String {
    pillbox::text::time::rfc3339(UNIX_EPOCH + Duration::from_nanos(moment.0))
}

/// As Docker's lists show moments, in UTC: `2006-01-02 15:04:05.123 +0000 UTC`, without zeros at the end.
pub fn spoken(moment: Moment) -> String {
    let text = rfc3339(moment);
    let (day, time) = text.trim_end_matches('Z').split_once('T').unwrap_or_default();
    let time = if time.contains('.') { time.trim_end_matches('0').trim_end_matches('.') } else { time };
    format!("{day} {time} +0000 UTC")
}

/// As HTTP has dates: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn http_date(moment: Moment) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = rfc3339(moment);
    let day = DAYS[(moment.0 / 86_400_000_000_000 % 7) as usize];
    let month = text[5..7].parse::<usize>().unwrap_or(1);
    format!("{day}, {} {} {} {} GMT", &text[8..10], MONTHS[(month - 1) % 12], &text[..4], &text[11..19])
}

/// The moment that RFC 3339 text names; `None` if it is none since 1970.
pub fn parse_rfc3339(text: &str) -> Option<Moment> {
    let (seconds, nanoseconds) = parse_instant(text)?;
    u64::try_from(seconds).ok()?.checked_mul(1_000_000_000)?.checked_add(nanoseconds).map(Moment)
}

/// The same as seconds since 1970, or before, and nanoseconds.
fn parse_instant(text: &str) -> Option<(i64, u64)> {
    // Seconds since 1970 have as many digits as a date.
    let marks = [(4, "-"), (7, "-"), (10, "Tt "), (13, ":"), (16, ":")];
    let stands = |(index, marks): (usize, &str)| marks.as_bytes().contains(&text.as_bytes()[index]);
    if text.len() < 20 || !marks.into_iter().all(stands) {
        return None;
    }
    let number = |range: std::ops::Range<usize>| number(text.get(range)?);
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let rest = text.get(19..)?;
    let digits: String =
        rest.strip_prefix('.').unwrap_or_default().chars().take_while(char::is_ascii_digit).collect();
    let nanoseconds = format!("{digits:0<9}").get(..9)?.parse::<u64>().ok()?;
    let zone = if digits.is_empty() { rest } else { &rest[digits.len() + 1..] };
    // The zone's difference, in minutes.
    let ahead = match zone {
        "Z" | "z" => 0,
        zone => {
            let (sign, numbers) = zone.split_at_checked(1)?;
            let (hours, minutes) = numbers.split_once(':').filter(|(hours, _)| hours.len() == 2)?;
            let (hours, minutes) = (self::number(hours)?, self::number(minutes)?);
            let minutes = (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)?.cast_signed();
            match sign {
                "+" => minutes,
                "-" => -minutes,
                _ => return None,
            }
        }
    };
    let is_possible =
        (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    let since = is_possible.then(|| days(year, month, day))?;
    // The next month's first day is none of this one.
    let is_there = day <= 28 || since < days(year + month / 12, month % 12 + 1, 1);
    let time = i64::try_from(hour * 3600 + minute * 60 + second).ok()?;
    is_there.then_some((since * 86_400 + time - ahead * 60, nanoseconds))
}

/// Digits, and no sign.
fn number(digits: &str) -> Option<u64> {
    digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The moment of a date in one of Docker's forms; `None` if it is no date. Without a time it begins there, without minutes or seconds
/// they are zero, and without a zone it is that of this place. One before the first moment is that one, and one after the last that.
pub fn parse_date(text: &str) -> Option<Moment> {
    parse_date_at(text, offset_here)
}

/// The same where clocks are ahead by so many seconds at a moment as `offset` tells.
fn parse_date_at(text: &str, offset: impl Fn(i64) -> i64) -> Option<Moment> {
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
    let zone_or_utc = if zone.is_empty() { "Z" } else { zone };
    let (seconds, nanoseconds) = parse_instant(&format!("{date}T{time}{zone_or_utc}"))?;
    // The difference at this moment, and not at the one of that name in another zone.
    let ahead = if zone.is_empty() { offset(seconds - offset(seconds)) } else { 0 };
    Some(match u64::try_from(seconds - ahead) {
        Ok(seconds) => Moment(seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)),
        Err(_) => Moment(0),
    })
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

/// The moment that HTTP writes as `Wed, 21 Oct 2015 07:28:00 GMT`; `None` if it is none since 1970.
pub fn parse_http(text: &str) -> Option<SystemTime> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<&str> = text.split_whitespace().collect();
    let [_, day, month, year, time, "GMT"] = words[..] else { return None };
    let month = MONTHS.iter().position(|known| *known == month)? + 1;
    let moment = parse_rfc3339(&format!("{year}-{month:02}-{day:0>2}T{time}Z"))?;
    Some(UNIX_EPOCH + Duration::from_nanos(moment.0))
}

/// The number of days from 1970 to a day in the Gregorian calendar. Years begin in March meanwhile, so that the day that may be missing
/// is the last one.
fn days(year: u64, month: u64, day: u64) -> i64 {
    let (year, month, day) = (year.cast_signed(), month.cast_signed(), day.cast_signed());
    let year = if month <= 2 { year - 1 } else { year };
    let month = if month > 2 { month - 3 } else { month + 9 };
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    365 * year + leaps + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_lists() {
        assert_eq!(spoken(Moment(0)), "1970-01-01 00:00:00 +0000 UTC");
        assert_eq!(spoken(Moment(946_782_245_000_000_000)), "2000-01-02 03:04:05 +0000 UTC");
        assert_eq!(spoken(Moment(946_782_240_120_000_000)), "2000-01-02 03:04:00.12 +0000 UTC");
    }

    #[test]
    fn dates_have_dockers_forms() {
        let of = |text| parse_date_at(text, |_| 7200).map(|Moment(moment)| moment / 1_000_000_000);
        assert_eq!(of("2000-01-02"), Some(946_771_200 - 7200));
        assert_eq!(of("2000-01-02Z"), Some(946_771_200));
        assert_eq!(of("2000-01-02+01:00"), Some(946_771_200 - 3600));
        assert_eq!(of("2000-01-02T03"), Some(946_771_200 + 3600));
        assert_eq!(of("2000-01-02T03:04"), Some(946_771_200 + 3840));
        assert_eq!(of("2000-01-02T03:04:05.5"), Some(946_771_200 + 3845));
        assert_eq!(of("2000-01-02T03:04-01:00"), Some(946_771_200 + 4 * 3600 + 240));
        for wrong in
            ["2000-01", "2000-01-02 03:04", "2000-01-02T", "2000-01-02T3", "2000-13-02", "2000-02-30"]
        {
            assert_eq!(of(wrong), None, "{wrong}");
        }
        // Seconds since 1970 are no date, whatever their digits are.
        for wrong in [
            "1796102002",
            "2000101010",
            "2000-01-0+",
            "2000-01-02T03:04:05*01:00",
            "2000-01-02T03:04:05+1:000",
        ] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
        for wrong in ["2001-02-29", "2000-04-31", "2000-12-32", "2000-01-02T03:04:05+24:00"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
        assert_eq!(of("2000-02-29Z"), Some(951_782_400));
        // What lies beyond.
        assert_eq!(
            (of("1970-01-01"), of("0000-01-01"), of("9999-12-31")),
            (Some(0), Some(0), Some(u64::MAX / 1_000_000_000))
        );
        // Clocks are put forward meanwhile.
        let offset = |seconds: i64| if seconds < 946_771_200 { 0 } else { 3600 };
        let of = |text| parse_date_at(text, offset).map(|Moment(moment)| moment / 1_000_000_000);
        assert_eq!(of("2000-01-01T23:00"), Some(946_767_600));
        assert_eq!(of("2000-01-02T02:00"), Some(946_774_800));
    }

    #[test]
    fn http_has_its_own_form() {
        let moment = parse_http("Wed, 21 Oct 2015 07:28:00 GMT").unwrap();
        assert_eq!(moment, UNIX_EPOCH + Duration::from_secs(1_445_412_480));
        assert_eq!(parse_http("yesterday"), None);
    }

    #[test]
    fn dates_of_http() {
        assert_eq!(http_date(Moment(784_111_777_000_000_000)), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(Moment(0)), "Thu, 01 Jan 1970 00:00:00 GMT");
    }

    #[test]
    fn moments_are_rfc_3339() {
        assert_eq!(rfc3339(Moment(0)), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(rfc3339(Moment(951_782_400_000_000_001)), "2000-02-29T00:00:00.000000001Z");
        for moment in [0, 951_782_400_000_000_001, 1_735_689_599_000_000_000] {
            assert_eq!(parse_rfc3339(&rfc3339(Moment(moment))), Some(Moment(moment)));
        }
        assert_eq!(parse_rfc3339("1970-01-01T02:00:00.5+01:30"), Some(Moment(1_800_500_000_000)));
        assert_eq!(parse_rfc3339("1970-01-01T02:00:00Z"), Some(Moment(7_200_000_000_000)));
        assert_eq!(parse_rfc3339("0001-01-01T00:00:00Z"), None);
        assert_eq!(parse_rfc3339("yesterday"), None);
        assert_eq!(rfc3339(Moment(1_735_689_599_000_000_000)), "2024-12-31T23:59:59.000000000Z");
    }
}
