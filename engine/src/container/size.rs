//! Sizes, numbers of processors, and times, as people write them.

use std::time::Duration;

use pillbox::text::time::parse_duration;

use super::options::PERIOD;
use crate::error::{Error, Result};

/// Reads `512m`, `1.5g`, `64MiB`, `128 kilobytes`; a number alone is bytes. A thousand is 1,024 in all of them, as Docker has it.
///
/// # Errors
/// It is not a size; `flag` is named.
pub fn parse_bytes(flag: &str, text: &str) -> Result<u64> {
    let wrong =
        || Error::invalid(format!("{flag} {text}: must be a size such as 512m, 1.5g or 128 kilobytes"));
    let trimmed = text.trim();
    let end = trimmed.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(end);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" | "byte" | "bytes" => 0,
        "k" | "kb" | "kib" | "kilobyte" | "kilobytes" => 10,
        "m" | "mb" | "mib" | "megabyte" | "megabytes" => 20,
        "g" | "gb" | "gib" | "gigabyte" | "gigabytes" => 30,
        "t" | "tb" | "tib" | "terabyte" | "terabytes" => 40,
        _ => return Err(wrong()),
    };
    let factor = 1u64 << shift;
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor).filter(|bytes| *bytes <= i64::MAX as u64).ok_or_else(wrong);
    }
    let value: f64 = number.parse().map_err(|_| wrong())?;
    let bytes = value * factor as f64;
    // Far below what a double cannot tell apart.
    if bytes.is_finite() && bytes < 9e18 { Ok(bytes as u64) } else { Err(wrong()) }
}

/// Reads a number of processors, such as `1.5`, as microseconds in 100 milliseconds.
///
/// # Errors
/// It is not one above zero.
pub fn parse_processors(flag: &str, text: &str) -> Result<u64> {
    let value: Option<f64> = text.parse().ok().filter(|value: &f64| value.is_finite());
    match value {
        // The kernel takes no less than a millisecond.
        Some(value) if (0.01..1e6).contains(&value) => Ok((value * PERIOD as f64).round() as u64),
        _ => Err(Error::invalid(format!(
            "{flag} {text}: must be a number of processors such as 1.5, at least 0.01"
        ))),
    }
}

/// A hundred years: no sum with a time of today overflows, in whatever unit the kernel counts.
pub const TIME_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Reads a time: `90`, `90s`, `1m30s`, `250ms`; at most a hundred years.
///
/// # Errors
/// It is not one.
pub fn parse_time(flag: &str, text: &str) -> Result<Duration> {
    let wrong =
        || Error::invalid(format!("{flag} {text}: must be a time such as 90s or 1m30s, at most 100 years"));
    // Docker takes nothing finer.
    let is_whole = |time: &Duration| time.subsec_nanos().is_multiple_of(1_000_000);
    let time = match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => parse_duration(text),
    };
    time.filter(is_whole).filter(|time| *time <= TIME_MAX).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_docker_and_of_foxbox() {
        let of = |text| parse_bytes("--memory", text).ok();
        assert_eq!(of("512m"), Some(512 << 20));
        assert_eq!(of("1.5g"), Some(3 << 29));
        assert_eq!(of("64MiB"), Some(64 << 20));
        assert_eq!(of("128 kilobytes"), Some(128 << 10));
        assert_eq!(of("4096"), Some(4096));
        for wrong in ["", "m", "1x", "-1", "1e400g", "999999999999t"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn processors_and_times() {
        assert_eq!(parse_processors("--cpus", "1.5").unwrap(), 150_000);
        assert!(parse_processors("--cpus", "0").is_err() && parse_processors("--cpus", "nan").is_err());
        let of = |text| parse_time("--stop-timeout", text).ok().map(|time| time.as_millis());
        assert_eq!((of("90"), of("1m30s"), of("250ms")), (Some(90_000), Some(90_000), Some(250)));
        assert_eq!((of(""), of("1"), of("1x"), of("s")), (None, Some(1000), None, None));
        assert_eq!((of("-1"), of("876000h").is_some(), of("876001h")), (None, true, None));
        assert_eq!((of("18446744073709551615"), of("99999999999h")), (None, None));
    }
}
