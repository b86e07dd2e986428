//! `linux.resources`, as far as it can be checked without a cgroup. `update` checks its document here as
//! well.

use std::fmt;

use super::text::check_text;
use super::text::reject;
use crate::error::Result;
use crate::oci::spec::linux::{BlockIo, Cpu, DeviceRule, HugepageLimit, Rdma, Resources, WeightDevice};

/// Cgroup files that set no limit but move, freeze or kill processes, or change the cgroup's type.
const ACTS_ON_PROCESSES: [&str; 5] =
    ["cgroup.freeze", "cgroup.kill", "cgroup.procs", "cgroup.threads", "cgroup.type"];

/// Checks the form of resource limits; whether their controllers exist is found out later.
///
/// # Errors
/// The first broken rule; the text begins with the field.
pub fn validate_resources(resources: &Resources<'_>) -> Result<()> {
    // Numbers are checked when they are converted for their controllers.
    let Resources { devices, memory: _, cpu, pids: _, block_io, hugepage_limits, network: _, rdma, unified } =
        resources;
    for (index, rule) in devices.iter().enumerate() {
        validate_device_rule(format_args!("linux.resources.devices[{index}]"), rule)?;
    }
    if let Some(cpu) = cpu {
        let Cpu {
            shares: _,
            quota: _,
            burst: _,
            period: _,
            realtime_runtime: _,
            realtime_period: _,
            cpus,
            mems,
            idle: _,
        } = cpu;
        check_text(format_args!("linux.resources.cpu.cpus"), cpus.as_deref().unwrap_or_default())?;
        check_text(format_args!("linux.resources.cpu.mems"), mems.as_deref().unwrap_or_default())?;
    }
    if let Some(block_io) = block_io {
        let BlockIo {
            weight: _,
            leaf_weight: _,
            weight_device,
            throttle_read_bps_device: _,
            throttle_write_bps_device: _,
            throttle_read_iops_device: _,
            throttle_write_iops_device: _,
        } = block_io;
        for (index, WeightDevice { major: _, minor: _, weight, leaf_weight }) in
            weight_device.iter().enumerate()
        {
            if weight.is_none() && leaf_weight.is_none() {
                reject!("linux.resources.blockIO.weightDevice[{index}]: needs weight or leafWeight");
            }
        }
    }
    for (index, HugepageLimit { page_size, limit: _ }) in hugepage_limits.iter().enumerate() {
        if !is_page_size(page_size) {
            reject!(
                "linux.resources.hugepageLimits[{index}].pageSize: {:?} is not a page size such as \"2MB\"",
                &**page_size
            );
        }
    }
    for (device, Rdma { hca_handles, hca_objects }) in rdma.iter() {
        check_text(format_args!("linux.resources.rdma"), device)?;
        if hca_handles.is_none() && hca_objects.is_none() {
            reject!("linux.resources.rdma.{device}: needs hcaHandles or hcaObjects");
        }
    }
    for (file, value) in unified.iter() {
        check_text(format_args!("linux.resources.unified"), file)?;
        check_text(format_args!("linux.resources.unified.{file}"), value)?;
        if file.contains('/') || !file.contains('.') {
            reject!(
                "linux.resources.unified: the specified key has not the form CONTROLLER.VALUE `{file}`, such as memory.high"
            );
        }
        if ACTS_ON_PROCESSES.contains(&&**file) {
            reject!(
                "linux.resources.unified.{file}: not a limit: it moves, freezes or kills processes, which is the runtime's task"
            );
        }
    }
    Ok(())
}

fn validate_device_rule(field: fmt::Arguments<'_>, rule: &DeviceRule<'_>) -> Result<()> {
    let DeviceRule { allow: _, kind, major, minor, access } = rule;
    if !["", "a", "b", "c"].contains(&kind.as_deref().unwrap_or_default()) {
        reject!("{field}.type: {:?} is not one of a, b, c", kind.as_deref().unwrap_or_default());
    }
    for (member, number) in [("major", major), ("minor", minor)] {
        // -1 means "all", for callers that can't leave a number out.
        if let Some(number) = number
            && !(-1..=i64::from(u32::MAX)).contains(number)
        {
            reject!("{field}.{member}: {number} is not a device number: write one, or -1 for all");
        }
    }
    let access = access.as_deref().unwrap_or_default();
    if access.contains(|c| !"rwm".contains(c)) {
        reject!("{field}.access: {access:?} has other letters than r, w, m");
    }
    Ok(())
}

/// `<size><K, M or G>B`, as in the names of the hugetlb controller's files.
fn is_page_size(size: &str) -> bool {
    let number = size.strip_suffix("KB").or(size.strip_suffix("MB")).or(size.strip_suffix("GB"));
    number.is_some_and(|number| {
        number.starts_with(|c| ('1'..='9').contains(&c)) && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}
