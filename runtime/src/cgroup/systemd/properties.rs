//! The properties of a unit, compiled from limits and from annotations.
//!
//! Sources: systemd.resource-control(5), org.freedesktop.systemd1(5), and for `org.systemd.property.*` runc's
//! docs/systemd.md. Every limit is also written to its file, since some have no property and systemd rounds
//! others.

use pillbox_dbus::Value;

use super::unit::Unit;
use super::variant;
use crate::error::{Error, Result};
use crate::resources::{Exception, FileWrite};
use crate::validate::number_list::parse_number_list;

/// A property with its value.
pub type Property = (String, Value);

/// systemd's value for no limit.
const UNLIMITED: u64 = u64::MAX;

const MICROSECONDS: u64 = 1_000_000;

/// The properties that a unit is started with. `process` is the one that a scope begins with; `devices` are
/// the only nodes that may be opened, each with its access.
///
/// # Errors
/// An annotation that is not a property.
pub fn compile(
    unit: &Unit,
    process: Option<u32>,
    limits: &[FileWrite<'_>],
    devices: Option<&[(String, &str)]>,
    annotations: &[(String, String)],
) -> Result<Vec<Property>> {
    let mut properties =
        vec![property("Description", Value::text(format!("pillbox container {}", unit.name)))];
    if unit.is_slice() {
        properties.push(property("Wants", texts(&[&unit.slice])));
    } else {
        properties.push(property("Slice", Value::text(&unit.slice)));
        properties.push(property("Delegate", Value::Boolean(true)));
        let process = process.map(Value::Uint32).into_iter().collect();
        properties.push(property("PIDs", Value::Array("u".into(), process)));
        // Otherwise a failed unit would hold its name, which the next container may need.
        properties.push(property("CollectMode", Value::text("inactive-or-failed")));
    }
    for accounting in ["CPUAccounting", "MemoryAccounting", "IOAccounting", "TasksAccounting"] {
        properties.push(property(accounting, Value::Boolean(true)));
    }
    // The unit ends with its container: startup and shutdown of the host must not order it.
    properties.push(property("DefaultDependencies", Value::Boolean(false)));
    properties.extend(of_limits(limits));
    if let Some(nodes) = devices {
        let entry =
            |(node, access): &(String, &str)| Value::Structure(vec![Value::text(node), Value::text(*access)]);
        properties.push(property("DevicePolicy", Value::text("strict")));
        let entries = nodes.iter().map(entry).collect();
        properties.push(property("DeviceAllow", Value::Array("(ss)".into(), entries)));
    }
    for (key, text) in annotations {
        if let Some(name) = key.strip_prefix("org.systemd.property.") {
            properties.push(of_annotation(key, name, text)?);
        }
    }
    Ok(properties)
}

fn property(name: &str, value: Value) -> Property {
    (name.to_string(), value)
}

fn texts(texts: &[&str]) -> Value {
    Value::Array("s".into(), texts.iter().map(|text| Value::text(*text)).collect())
}

/// The limits that systemd has properties for. It must know them, because it writes the files anew when it
/// reloads.
pub fn of_limits(limits: &[FileWrite<'_>]) -> Vec<Property> {
    let mut properties: Vec<Property> = Vec::new();
    for limit in limits {
        let (file, value) = match &limit.exception {
            Exception::Instead { file, value } => (*file, value.as_str()),
            _ => (&*limit.file, &*limit.value),
        };
        for (name, value) in of_file(file, value.trim()) {
            // A later limit, from `unified`, replaces an earlier one.
            properties.retain(|(known, _)| known != name);
            properties.push(property(name, value));
        }
    }
    properties
}

fn of_file(file: &str, value: &str) -> Vec<(&'static str, Value)> {
    let name = match file {
        "memory.max" => "MemoryMax",
        "memory.high" => "MemoryHigh",
        "memory.low" => "MemoryLow",
        "memory.min" => "MemoryMin",
        "memory.swap.max" => "MemorySwapMax",
        "pids.max" => "TasksMax",
        "cpu.weight" => "CPUWeight",
        // Not the weights of single devices: systemd wants their paths, and here there are only numbers.
        "io.weight" => "IOWeight",
        "cpu.max" => return cpu_quota(value),
        "cpuset.cpus" => return number_list("AllowedCPUs", value),
        "cpuset.mems" => return number_list("AllowedMemoryNodes", value),
        _ => return Vec::new(),
    };
    let number = if value == "max" { Some(UNLIMITED) } else { value.parse().ok() };
    number.map(|number| (name, Value::Uint64(number))).into_iter().collect()
}

/// `QUOTA PERIOD` from cpu.max. systemd wants the quota per second, in whole hundredths of a processor.
fn cpu_quota(value: &str) -> Vec<(&'static str, Value)> {
    const HUNDREDTH: u64 = MICROSECONDS / 100;
    let mut words = value.split_ascii_whitespace();
    let (quota, period) = (words.next(), words.next().map_or(Ok(100_000), str::parse::<u64>));
    let Some((quota, period)) = quota.zip(period.ok().filter(|period| *period > 0)) else {
        return Vec::new();
    };
    let per_second = match quota {
        "max" => UNLIMITED,
        quota => match quota.parse::<u64>() {
            Ok(quota) => {
                let exact = u128::from(quota) * u128::from(MICROSECONDS) / u128::from(period);
                u64::try_from(exact).unwrap_or(UNLIMITED).div_ceil(HUNDREDTH).saturating_mul(HUNDREDTH)
            }
            Err(_) => return Vec::new(),
        },
    };
    vec![("CPUQuotaPerSecUSec", Value::Uint64(per_second)), ("CPUQuotaPeriodUSec", Value::Uint64(period))]
}

/// A list such as `0-3,7` as bytes with one bit per number, lowest first. Invalid lists are left for the
/// kernel to refuse.
fn number_list(name: &'static str, list: &str) -> Vec<(&'static str, Value)> {
    let ranges = match list.trim() {
        "" => Some(Vec::new()),
        list => parse_number_list(list),
    };
    let Some(ranges) = ranges else { return Vec::new() };
    let mut bytes: Vec<u8> = Vec::new();
    for number in ranges.into_iter().flatten() {
        let byte = number as usize / 8;
        bytes.resize(bytes.len().max(byte + 1), 0);
        bytes[byte] |= 1 << (number % 8);
    }
    vec![(name, Value::Array("y".into(), bytes.into_iter().map(Value::Byte).collect()))]
}

/// The property of `org.systemd.property.NAME`. One in seconds (`…Sec`) is `…USec` on the bus, in
/// microseconds.
fn of_annotation(key: &str, name: &str, text: &str) -> Result<Property> {
    let named = |error: Error| error.context(format!("annotations: {key}"));
    if name.len() < 3 || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Err(named(Error::new("the name of a property has letters only, at least three")));
    }
    let value = variant::parse(text).map_err(named)?;
    let Some(stem) =
        name.strip_suffix("Sec").filter(|stem| stem.ends_with(|last: char| last.is_ascii_lowercase()))
    else {
        return Ok(property(name, value));
    };
    let microseconds = match value {
        Value::Byte(number) => u64::from(number).checked_mul(MICROSECONDS),
        Value::Uint16(number) => u64::from(number).checked_mul(MICROSECONDS),
        Value::Uint32(number) => u64::from(number).checked_mul(MICROSECONDS),
        Value::Uint64(number) => number.checked_mul(MICROSECONDS),
        Value::Int16(number) => {
            u64::try_from(number).ok().and_then(|number| number.checked_mul(MICROSECONDS))
        }
        Value::Int32(number) => {
            u64::try_from(number).ok().and_then(|number| number.checked_mul(MICROSECONDS))
        }
        Value::Int64(number) => {
            u64::try_from(number).ok().and_then(|number| number.checked_mul(MICROSECONDS))
        }
        // Above 2^53 microseconds a double is no longer exact.
        Value::Double(number) if (0.0..9e9).contains(&number) => Some((number * MICROSECONDS as f64) as u64),
        _ => None,
    };
    let microseconds = microseconds
        .ok_or_else(|| named(Error::formatted(format_args!("{text:?} is not a number of seconds"))))?;
    Ok(property(&format!("{stem}USec"), Value::Uint64(microseconds)))
}
