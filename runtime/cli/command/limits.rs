//! update: other limits for a container that exists.

use std::ffi::OsStr;

use pillbox::container::{self, Changes};
use pillbox::error::{Context, Error, Result};
use pillbox::oci::spec::merge::merge;

use super::flag::valued;
use super::{container_id, read_file, root};
use crate::arguments::{Arguments, Flag, Global};

/// The kind of a flag's value.
#[derive(Clone, Copy)]
enum Kind {
    Number,
    Bytes,
    Text,
}

/// The flags for single limits: name, object in `linux.resources`, member of that object, kind of value.
const LIMITS: [(&str, &str, &str, Kind); 16] = [
    ("blkio-weight", "blockIO", "weight", Kind::Number),
    ("cpu-period", "cpu", "period", Kind::Number),
    ("cpu-quota", "cpu", "quota", Kind::Number),
    ("cpu-burst", "cpu", "burst", Kind::Number),
    ("cpu-rt-period", "cpu", "realtimePeriod", Kind::Number),
    ("cpu-rt-runtime", "cpu", "realtimeRuntime", Kind::Number),
    ("cpu-share", "cpu", "shares", Kind::Number),
    ("cpu-idle", "cpu", "idle", Kind::Number),
    ("cpuset-cpus", "cpu", "cpus", Kind::Text),
    ("cpuset-mems", "cpu", "mems", Kind::Text),
    ("kernel-memory", "memory", "kernel", Kind::Bytes),
    ("kernel-memory-tcp", "memory", "kernelTCP", Kind::Bytes),
    ("memory", "memory", "limit", Kind::Bytes),
    ("memory-reservation", "memory", "reservation", Kind::Bytes),
    ("memory-swap", "memory", "swap", Kind::Bytes),
    ("pids-limit", "pids", "limit", Kind::Number),
];

/// The flags of `update`.
pub const FLAGS: &[Flag] = &[
    valued("resources", Some('r'), "FILE", "a JSON document such as linux.resources; - is stdin"),
    valued("blkio-weight", None, "N", "weight of block devices, from 10 to 1000"),
    valued("cpu-period", None, "MICROSECONDS", "period of the quota"),
    valued("cpu-quota", None, "MICROSECONDS", "processor time in each period; -1 is no limit"),
    valued("cpu-burst", None, "MICROSECONDS", "unused time that may be saved up"),
    valued("cpu-rt-period", None, "MICROSECONDS", "cgroup v1 only: refused"),
    valued("cpu-rt-runtime", None, "MICROSECONDS", "cgroup v1 only: refused"),
    valued("cpu-share", None, "N", "share of processor time beside others, from 2 to 262144"),
    valued("cpu-idle", None, "N", "1: only what nobody else wants"),
    valued("cpuset-cpus", None, "LIST", "processors to run on, such as 0-3,7"),
    valued("cpuset-mems", None, "LIST", "memory nodes to use"),
    valued("kernel-memory", None, "BYTES", "cgroup v1 only: refused"),
    valued("kernel-memory-tcp", None, "BYTES", "cgroup v1 only: refused"),
    valued(
        "l3-cache-schema",
        None,
        "LINES",
        "the schema of its class of service in resctrl (linux.intelRdt)",
    ),
    valued("mem-bw-schema", None, "LINE", "the same for memory bandwidth"),
    valued("memory", None, "BYTES", "memory limit; -1 is none; k, m, g, t multiply"),
    valued("memory-reservation", None, "BYTES", "memory that is kept for the container"),
    valued("memory-swap", None, "BYTES", "memory and swap together; -1 is no limit"),
    valued("pids-limit", None, "N", "number of tasks; -1 is no limit"),
];

pub fn update(global: &Global, arguments: Arguments) -> Result<u8> {
    let id = container_id(&arguments)?;
    let mut resources = match arguments.value("resources") {
        None => "{}".to_string(),
        Some(file) => {
            let name = file.display().to_string();
            read_file(file).context(|| format!("--resources {name}"))?
        }
    };
    for (flag, group, member, kind) in LIMITS {
        if let Some(value) = arguments.value(flag) {
            let value =
                parse(&value.to_string_lossy(), kind).map_err(|error| error.context(format!("--{flag}")))?;
            let change = format!("{{\"{group}\":{{\"{member}\":{value}}}}}");
            resources =
                merge(&resources, &change).map_err(|error| Error::from(error).context("--resources"))?;
        }
    }
    let text = |flag: &str| arguments.value(flag).map_or("".into(), OsStr::to_string_lossy);
    let (l3, bandwidth) = (text("l3-cache-schema"), text("mem-bw-schema"));
    let changes = Changes { resources: &resources, l3_cache_schema: &l3, mem_bw_schema: &bandwidth };
    container::update(&root(global), &id, changes)?;
    Ok(0)
}

/// A flag's value as JSON.
fn parse(text: &str, kind: Kind) -> Result<String> {
    let number = match kind {
        Kind::Number => text.parse::<i64>().ok(),
        Kind::Bytes => parse_bytes(text),
        Kind::Text if text.bytes().all(|byte| byte.is_ascii_digit() || b",-".contains(&byte)) => {
            return Ok(format!("\"{text}\""));
        }
        Kind::Text => return Err(Error::formatted(format_args!("{text:?}: not a list such as 0-3,7"))),
    };
    let right =
        if matches!(kind, Kind::Bytes) { "a number of bytes such as 65536 or 64k" } else { "a whole number" };
    number
        .map(|number| number.to_string())
        .ok_or_else(|| Error::formatted(format_args!("{text:?}: not {right}")))
}

/// `64`, `64k`, `64KiB`, `64kb`: all letters mean powers of 1024, as in runc.
fn parse_bytes(text: &str) -> Option<i64> {
    let lower = text.to_ascii_lowercase();
    let end = lower.find(|character: char| character.is_ascii_alphabetic()).unwrap_or(lower.len());
    let shift = match &lower[end..] {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    lower[..end].trim_end().parse::<i64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_with_and_without_a_letter() {
        for (text, bytes) in
            [("0", 0), ("-1", -1), ("67108864", 1 << 26), ("64m", 1 << 26), ("1GiB", 1 << 30), ("2 kb", 2048)]
        {
            assert_eq!(parse_bytes(text), Some(bytes), "{text}");
        }
        for text in ["", "m", "1.5g", "1x", "9999999999g", "1e3"] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
    }

    #[test]
    fn every_limit_has_its_flag() {
        for (flag, ..) in LIMITS {
            assert!(FLAGS.iter().any(|known| known.long == flag), "{flag}");
        }
        assert_eq!(LIMITS.len() + 3, FLAGS.len());
    }

    #[test]
    fn lists_cannot_leave_their_string() {
        assert_eq!(parse("0-3,7", Kind::Text).unwrap(), "\"0-3,7\"");
        assert!(parse("0\",\"x", Kind::Text).is_err());
    }
}
