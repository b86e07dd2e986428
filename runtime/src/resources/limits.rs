//! `linux.resources` compiled into writes to the files of cgroup v2, in order.
//!
//! Sources: config-linux.md of the runtime specification for the meaning of the fields, the kernel's
//! `Documentation/admin-guide/cgroup-v2.rst` for the files. For `devices` see [`super::devices`].

use std::borrow::Cow;

use super::blockio::compile_block_io;
use super::file_write::{Exception, FileWrite, invalid, without_v2_form};
use crate::error::Result;
use crate::oci::spec::json::{Map, Text};
use crate::oci::spec::linux::{Cpu, HugepageLimit, Memory, Network, Pids, Rdma, Resources};

/// Compiles the limits into writes, in the order in which they must be made.
///
/// Unset fields compile to nothing, so that a configuration without limits costs nothing.
///
/// # Errors
/// A value is out of range, or cgroup v2 can't express a limit; both name the field.
pub fn compile_limits<'a>(resources: &'a Resources<'_>) -> Result<Vec<FileWrite<'a>>> {
    let Resources { devices: _, memory, cpu, pids, block_io, hugepage_limits, network, rdma, unified } =
        resources;
    let mut writes = Vec::new();
    if let Some(cpu) = cpu {
        compile_cpu(cpu, &mut writes)?;
    }
    if let Some(memory) = memory {
        compile_memory(memory, &mut writes)?;
    }
    // Callers write 0 to mean nothing, and crun and runc take it so.
    if let Some(Pids { limit: Some(limit) }) = pids
        && *limit != 0
    {
        let value = count_or_max("pids.limit", *limit)?;
        let write = FileWrite::new("pids", "pids.max", value, "linux.resources.pids.limit");
        writes.push(write.default_if(*limit == -1));
    }
    if let Some(block_io) = block_io {
        compile_block_io(block_io, &mut writes)?;
    }
    compile_hugepages(hugepage_limits, &mut writes)?;
    if let Some(network) = network {
        check_network(network)?;
    }
    compile_rdma(rdma, &mut writes)?;
    // Last, because files named directly override the fields above.
    compile_unified(unified, &mut writes)?;
    Ok(writes)
}

/// -1 means no limit.
fn count_or_max(field: &str, value: i64) -> Result<Cow<'static, str>> {
    match value {
        -1 => Ok("max".into()),
        0.. => Ok(value.to_string().into()),
        _ => Err(invalid(field, value, "a limit (-1 is none)")),
    }
}

/// cpu.weight for cpu.shares: 1, 100 and 10000 for 2, 1024 and 262144, and in between the curve 10^((l² + 125
/// l) / 612 - 7 / 34), rounded up, with l = log2(shares).
// With integers: pow(3) and its tables take 12 KB, and this would be their only use.
fn weight_of_shares(shares: u64) -> u64 {
    // Larger than the rounding errors of the logarithms; only the weight 100 is closer than that to the
    // curve.
    const MARGIN: u128 = 1 << (FRACTION + 13);
    let log = match shares {
        0..=2 => return 1,
        262_144.. => return 10_000,
        _ => log2(shares),
    };
    let curve = ((log * (log + (125 << FRACTION))) >> FRACTION) - (126 << FRACTION);
    // The logarithms of both sides, multiplied by 612.
    let wanted = curve * log2(10);
    let (mut low, mut high) = (1, 10_000);
    while low < high {
        let middle = u64::midpoint(low, high);
        if ((612 * log2(middle)) << FRACTION) + MARGIN >= wanted {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

/// How many binary digits after the point the result of [`log2`] has.
const FRACTION: u32 = 50;

/// The binary logarithm of a number other than 0, in fixed point and rounded down. Each squaring gives one
/// more digit.
fn log2(number: u64) -> u128 {
    let whole = number.ilog2();
    let mut power = number << (63 - whole);
    let mut log = u128::from(whole);
    for _ in 0..FRACTION {
        let square = u128::from(power) * u128::from(power);
        let digit = square >> 127;
        power = (square >> (63 + digit)) as u64;
        log = log << 1 | digit;
    }
    log
}

/// The kernel's default, in microseconds.
const DEFAULT_PERIOD: u64 = 100_000;

fn compile_cpu<'a>(cpu: &'a Cpu<'_>, writes: &mut Vec<FileWrite<'a>>) -> Result<()> {
    let Cpu { shares, quota, burst, period, realtime_runtime, realtime_period, cpus, mems, idle } = cpu;
    if let Some(runtime) = realtime_runtime.filter(|runtime| *runtime != 0) {
        return Err(without_v2_form("cpu.realtimeRuntime", runtime));
    }
    if let Some(period) = realtime_period.filter(|period| *period != 0) {
        return Err(without_v2_form("cpu.realtimePeriod", period));
    }
    if let Some(idle) = *idle {
        if !(0..=1).contains(&idle) {
            return Err(invalid("cpu.idle", idle, "0 or 1"));
        }
        let write = FileWrite::new("cpu", "cpu.idle", idle.to_string(), "linux.resources.cpu.idle");
        writes.push(write.default_if(idle == 0));
    }
    // The kernel refuses a weight for an idle cgroup.
    if let Some(shares) = shares.filter(|shares| *shares != 0 && *idle != Some(1)) {
        let weight = weight_of_shares(shares);
        let write = FileWrite::new("cpu", "cpu.weight", weight.to_string(), "linux.resources.cpu.shares");
        // From 1024 shares, which containerd writes for callers that ask for nothing.
        writes.push(write.default_if(weight == 100));
    }
    compile_cpu_time(quota.unwrap_or(0), *burst, period.unwrap_or(0), writes)?;
    for (file, field, list) in
        [("cpuset.cpus", "linux.resources.cpu.cpus", cpus), ("cpuset.mems", "linux.resources.cpu.mems", mems)]
    {
        if let Some(list) = list.as_deref().filter(|list| !list.is_empty()) {
            writes.push(FileWrite::new("cpuset", file, list, field));
        }
    }
    Ok(())
}

/// cpu.max and cpu.max.burst; 0 means unset, -1 means no quota.
fn compile_cpu_time(quota: i64, burst: Option<u64>, period: u64, writes: &mut Vec<FileWrite>) -> Result<()> {
    let replaces_quota = quota != 0 || period != 0;
    if let Some(burst) = burst {
        let write = FileWrite::new("cpu", "cpu.max.burst", burst.to_string(), "linux.resources.cpu.burst");
        writes.push(match burst {
            0 => write.with(Exception::Default),
            // A larger burst is only accepted after the quota, a smaller one only before it.
            _ if replaces_quota => write.with(Exception::AfterNext),
            _ => write,
        });
    }
    if replaces_quota {
        let period = if period == 0 { DEFAULT_PERIOD } else { period };
        let (value, field) = match quota {
            -1 | 0 => (format!("max {period}"), "linux.resources.cpu.period"),
            1.. => (format!("{quota} {period}"), "linux.resources.cpu.quota"),
            _ => return Err(invalid("cpu.quota", quota, "a quota in microseconds (-1 is none)")),
        };
        // A period without a quota limits nothing.
        writes.push(FileWrite::new("cpu", "cpu.max", value, field).default_if(quota <= 0));
    }
    Ok(())
}

fn compile_memory<'a>(memory: &Memory, writes: &mut Vec<FileWrite<'a>>) -> Result<()> {
    let Memory {
        limit,
        reservation,
        swap,
        kernel,
        kernel_tcp,
        swappiness,
        disable_oom_killer,
        // v2 always counts hierarchically.
        use_hierarchy: _,
        check_before_update,
    } = memory;
    for (field, value) in [("memory.kernel", kernel), ("memory.kernelTCP", kernel_tcp)] {
        if let Some(value) = value.filter(|value| !matches!(value, 0 | -1)) {
            return Err(without_v2_form(field, value));
        }
    }
    if let Some(swappiness) = swappiness {
        return Err(without_v2_form("memory.swappiness", swappiness));
    }
    if *disable_oom_killer == Some(true) {
        return Err(without_v2_form("memory.disableOOMKiller", true));
    }
    let limit = limit.unwrap_or(0);
    if let Some(value) = swap_value(limit, *swap)? {
        // A kernel without swap does not have the file; there neither of these values would change anything.
        let exception = match &*value {
            "max" => Exception::Default,
            "0" => Exception::FileMayBeMissing,
            _ => Exception::None,
        };
        writes.push(
            FileWrite::new("memory", "memory.swap.max", value, "linux.resources.memory.swap").with(exception),
        );
    }
    if limit != 0 {
        let value = count_or_max("memory.limit", limit)?;
        let exception = match limit {
            -1 => Exception::Default,
            _ if *check_before_update == Some(true) => Exception::NotBelow("memory.current"),
            _ => Exception::None,
        };
        writes.push(
            FileWrite::new("memory", "memory.max", value, "linux.resources.memory.limit").with(exception),
        );
    }
    if let Some(reservation) = reservation.filter(|reservation| *reservation != 0) {
        let value = count_or_max("memory.reservation", reservation)?;
        let write = FileWrite::new("memory", "memory.low", value, "linux.resources.memory.reservation");
        writes.push(write.default_if(reservation == -1));
    }
    Ok(())
}

/// memory.swap.max for `swap`, which is memory and swap together (-1 means unlimited, 0 no swap, as in crun).
fn swap_value(limit: i64, swap: Option<i64>) -> Result<Option<Cow<'static, str>>> {
    let Some(swap) = swap else { return Ok(None) };
    match (limit, swap) {
        (_, 0) => Ok(Some("0".into())),
        (_, -1) => Ok(Some("max".into())),
        (_, ..-1) => Err(invalid("memory.swap", swap, "a limit in bytes (-1 is none)")),
        (..=0, _) => Err(invalid(
            "memory.swap",
            swap,
            "possible without memory.limit, which it counts along with swap",
        )),
        (limit, swap) if swap < limit => Err(invalid(
            "memory.swap",
            swap,
            &format!("at least memory.limit ({limit}), which it counts along with swap"),
        )),
        (limit, swap) => Ok(Some((swap - limit).to_string().into())),
    }
}

fn compile_hugepages<'a>(limits: &'a [HugepageLimit<'_>], writes: &mut Vec<FileWrite<'a>>) -> Result<()> {
    for (index, HugepageLimit { page_size, limit }) in limits.iter().enumerate() {
        let number = page_size.strip_suffix("B").and_then(|size| size.strip_suffix(['K', 'M', 'G']));
        if !number.is_some_and(|number| number.parse().is_ok_and(|number: u64| number > 0)) {
            let field = format!("hugepageLimits[{index}].pageSize");
            return Err(invalid(&field, format!("'{page_size}'"), "a size of pages such as 2MB"));
        }
        let field = format!("linux.resources.hugepageLimits[{index}].limit");
        for (file, exception) in [("max", Exception::None), ("rsvd.max", Exception::FileMayBeMissing)] {
            let file = format!("hugetlb.{page_size}.{file}");
            let write = FileWrite::new("hugetlb", file, limit.to_string(), field.clone());
            writes.push(write.with(exception));
        }
    }
    Ok(())
}

fn check_network(network: &Network) -> Result<()> {
    let Network { class_id, priorities } = network;
    if let Some(class) = class_id.filter(|class| *class != 0) {
        return Err(without_v2_form("network.classID", class));
    }
    match priorities.first() {
        Some(priority) => Err(without_v2_form("network.priorities", format!("'{}'", priority.name))),
        None => Ok(()),
    }
}

fn compile_rdma<'a>(devices: &'a Map<'_, Rdma>, writes: &mut Vec<FileWrite<'a>>) -> Result<()> {
    for (device, Rdma { hca_handles, hca_objects }) in devices.iter() {
        let mut value = device.to_string();
        if device.is_empty() || device.contains(char::is_whitespace) {
            return Err(invalid("rdma", format!("{value:?}"), "the name of a device"));
        }
        for (key, limit) in [("hca_handle", hca_handles), ("hca_object", hca_objects)] {
            if let Some(limit) = limit {
                value.push_str(&format!(" {key}={limit}"));
            }
        }
        if value.len() > device.len() {
            writes.push(FileWrite::new("rdma", "rdma.max", value, format!("linux.resources.rdma.{device}")));
        }
    }
    Ok(())
}

fn compile_unified<'a>(files: &'a Map<'_, Text<'_>>, writes: &mut Vec<FileWrite<'a>>) -> Result<()> {
    for (file, value) in files.iter() {
        let controller = match file.split_once('.') {
            Some((controller, rest)) if !controller.is_empty() && !rest.is_empty() => controller,
            _ => return Err(invalid("unified", format!("'{file}'"), "the name of a cgroup file")),
        };
        if file.contains(['/', '\0']) {
            return Err(invalid("unified", format!("{:?}", &**file), "a plain file name"));
        }
        let field = format!("linux.resources.unified.{file}");
        // An empty write does nothing; files such as cpuset.cpus are reset by an empty line.
        let value = if value.is_empty() { "\n" } else { value };
        let write = FileWrite::new(controller, &**file, value, field);
        let of_core = controller == "cgroup";
        writes.push(FileWrite { controller: write.controller.filter(|_| !of_core), ..write });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
