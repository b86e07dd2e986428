//! The flags that limit a container, and the devices that it may use.

use super::Arguments;
use super::mount_flags::parse_device;
use crate::container::size::parse_bytes;
use crate::container::{DeviceLimit, DeviceRule, DeviceUse, Options, processors};
use crate::error::{Error, Result};

/// Limits that can be changed while it runs.
///
/// # Errors
/// A value cannot be; the flag is named.
pub fn limits(arguments: &Arguments, options: &mut Options) -> Result<()> {
    let limits = &mut options.limits;
    // As with Docker, none is none.
    limits.memory = bytes(arguments, "memory")?.filter(|bytes| *bytes > 0);
    limits.memory_reservation = bytes(arguments, "memory-reservation")?.filter(|bytes| *bytes > 0);
    limits.memory_swap = match arguments.text("memory-swap")? {
        Some("-1") => Some(-1),
        Some(text) => Some(parse_bytes("--memory-swap", text)?.cast_signed()).filter(|bytes| *bytes > 0),
        None => None,
    };
    limits.cpu_quota = arguments.number("cpu-quota")?;
    limits.cpu_period = arguments.number("cpu-period")?;
    if let Some(text) = arguments.text("cpus")? {
        if limits.cpu_quota.is_some() || limits.cpu_period.is_some() {
            return Err(Error::invalid(format!(
                "--cpus {text}: --cpu-quota and --cpu-period say the same: leave them out"
            )));
        }
        limits.cpu_quota = processors("--cpus", text)?;
    }
    limits.cpu_shares = arguments.number("cpu-shares")?;
    limits.cpuset_cpus = arguments.text("cpuset-cpus")?.map(str::to_string);
    limits.cpuset_mems = arguments.text("cpuset-mems")?.map(str::to_string);
    // Docker takes 0 for no limit as well.
    limits.pids = arguments.number("pids-limit")?.map(|count: i64| if count == 0 { -1 } else { count });
    limits.blkio_weight = arguments.number("blkio-weight")?;
    limits.ulimits = arguments.texts("ulimit")?;
    limits.oom_score_adj = arguments.number("oom-score-adj")?;
    Ok(())
}

/// Devices that it gets, may use, and may use only so much.
///
/// # Errors
/// As for [`limits`].
pub fn devices(arguments: &Arguments, options: &mut Options) -> Result<()> {
    for device in arguments.texts("device")? {
        options.devices.push(parse_device(&device)?);
    }
    for rule in arguments.texts("device-cgroup-rule")? {
        options.device_rules.push(parse_rule(&rule)?);
    }
    for (flag, what) in DEVICE_LIMITS {
        for text in arguments.texts(flag)? {
            options.device_limits.push(parse_limit(flag, what, &text)?);
        }
    }
    Ok(())
}

const DEVICE_LIMITS: [(&str, DeviceUse); 5] = [
    ("blkio-weight-device", DeviceUse::Weight),
    ("device-read-bps", DeviceUse::ReadBytes),
    ("device-write-bps", DeviceUse::WriteBytes),
    ("device-read-iops", DeviceUse::ReadOperations),
    ("device-write-iops", DeviceUse::WriteOperations),
];

/// A size, if it is asked for.
///
/// # Errors
/// It is none.
pub fn bytes(arguments: &Arguments, flag: &str) -> Result<Option<u64>> {
    arguments.text(flag)?.map(|text| parse_bytes(&format!("--{flag}"), text)).transpose()
}

/// `PATH:NUMBER`.
fn parse_limit(flag: &str, what: DeviceUse, text: &str) -> Result<DeviceLimit> {
    let form = match what {
        DeviceUse::ReadBytes | DeviceUse::WriteBytes => "a rate as 10m",
        DeviceUse::ReadOperations | DeviceUse::WriteOperations => "a number of operations a second",
        DeviceUse::Weight => "a weight from 10 to 1000",
    };
    let wrong = || Error::invalid(format!("--{flag} {text}: must be DEVICE:NUMBER, {form}, as /dev/sda:100"));
    let (device, value) =
        text.rsplit_once(':').filter(|(path, _)| path.starts_with('/')).ok_or_else(wrong)?;
    let value = match what {
        DeviceUse::ReadBytes | DeviceUse::WriteBytes => parse_bytes("", value).ok(),
        DeviceUse::ReadOperations | DeviceUse::WriteOperations => value.parse().ok(),
        DeviceUse::Weight => value.parse().ok().filter(|weight| (10..=1000).contains(weight)),
    };
    let value = value.filter(|value| *value > 0).ok_or_else(wrong)?;
    Ok(DeviceLimit { device: device.into(), what, value })
}

/// `TYPE MAJOR:MINOR ACCESS`, as Docker has it: `c 13:* rw`.
///
/// # Errors
/// It is something else.
pub fn parse_rule(text: &str) -> Result<DeviceRule> {
    let wrong = || {
        Error::invalid(format!(
            "--device-cgroup-rule {text:?}: must be TYPE MAJOR:MINOR ACCESS, as 'c 13:* rwm': the type a, b or c, numbers or *"
        ))
    };
    let mut words = text.split(' ');
    let (Some(kind), Some(numbers), Some(access), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(wrong());
    };
    let (major, minor) = numbers.split_once(':').ok_or_else(wrong)?;
    let number = |text: &str| match text {
        "*" => Ok(None),
        text => text.parse::<u32>().map(Some).map_err(|_| wrong()),
    };
    let is_access = (1..=3).contains(&access.len()) && access.bytes().all(|byte| b"rwm".contains(&byte));
    if !matches!(kind, "a" | "b" | "c") || !is_access {
        return Err(wrong());
    }
    Ok(DeviceRule {
        kind: kind.to_string(),
        major: number(major)?,
        minor: number(minor)?,
        access: access.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_dockers() {
        let of =
            |text: &str| parse_rule(text).map(|rule| (rule.kind, rule.major, rule.minor, rule.access)).ok();
        assert_eq!(of("c 13:* rw"), Some(("c".into(), Some(13), None, "rw".into())));
        assert_eq!(of("a *:* rwm"), Some(("a".into(), None, None, "rwm".into())));
        for wrong in ["", "c 13 rw", "d 1:1 r", "c 1:1", "c 1:1 x", "c -1:1 r", "c  1:1 r", "c 1:1 r "] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn limits_of_devices_have_a_path_and_a_number() {
        let of = |what, text: &str| parse_limit("flag", what, text).map(|limit| limit.value).ok();
        assert_eq!(of(DeviceUse::ReadBytes, "/dev/sda:10mb"), Some(10 << 20));
        assert_eq!(of(DeviceUse::WriteOperations, "/dev/sda:100"), Some(100));
        assert_eq!(of(DeviceUse::Weight, "/dev/sda:500"), Some(500));
        for wrong in ["sda:1", "/dev/sda", "/dev/sda:", "/dev/sda:0", "/dev/sda:x"] {
            for what in [DeviceUse::ReadBytes, DeviceUse::WriteOperations, DeviceUse::Weight] {
                assert_eq!(of(what, wrong), None, "{wrong}");
            }
        }
        assert_eq!(
            (of(DeviceUse::Weight, "/dev/sda:9"), of(DeviceUse::ReadOperations, "/dev/sda:1k")),
            (None, None)
        );
    }
}
