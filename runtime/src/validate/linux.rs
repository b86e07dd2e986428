//! Small parts of `linux`.

use std::fmt;

use super::number_list::parse_number_list;
use super::text::{check_name, check_names, check_optional, check_text, reject};
use crate::error::Result;
use crate::oci::spec::json::Text;
use crate::oci::spec::linux::{IntelRdt, MemoryPolicy, Personality, Seccomp};

pub(super) fn validate_cgroups_path(path: &mut Option<Text<'_>>) -> Result<()> {
    check_optional(format_args!("linux.cgroupsPath"), path)?;
    match path.as_deref() {
        Some(path) if path.split('/').any(|component| component == "..") => {
            reject!("linux.cgroupsPath: {path:?} contains \"..\": write the path that is meant")
        }
        _ => Ok(()),
    }
}

/// The profile itself is checked by the seccomp compiler.
pub(super) fn validate_seccomp_listener(seccomp: Option<&Seccomp<'_>>) -> Result<()> {
    let Some(seccomp) = seccomp else { return Ok(()) };
    let Seccomp {
        default_action: _,
        default_errno_ret: _,
        architectures: _,
        flags: _,
        listener_path,
        listener_metadata,
        syscalls: _,
    } = seccomp;
    let path = listener_path.as_deref().unwrap_or_default();
    check_text(format_args!("linux.seccomp.listenerPath"), path)?;
    if path.is_empty() && listener_metadata.as_ref().is_some_and(|metadata| !metadata.is_empty()) {
        reject!("linux.seccomp.listenerMetadata: needs listenerPath");
    }
    Ok(())
}

pub(crate) fn validate_intel_rdt(intel_rdt: Option<&IntelRdt<'_>>) -> Result<()> {
    let Some(IntelRdt { clos_id, l3_cache_schema, mem_bw_schema, schemata, enable_monitoring: _ }) =
        intel_rdt
    else {
        return Ok(());
    };
    let clos_id = clos_id.as_deref().unwrap_or_default();
    check_text(format_args!("linux.intelRdt.closID"), clos_id)?;
    // "/" is the default class; any other value is the name of a folder.
    if clos_id == "." || clos_id == ".." || (clos_id.len() > 1 && clos_id.contains('/')) {
        reject!("linux.intelRdt.closID: {clos_id:?} is neither a file name nor \"/\"");
    }
    let check_line = |field: fmt::Arguments<'_>, line: &str| {
        check_text(field, line)?;
        if line.contains('\n') {
            reject!("{field}: {line:?} contains a newline");
        }
        Ok(())
    };
    check_line(format_args!("linux.intelRdt.l3CacheSchema"), l3_cache_schema.as_deref().unwrap_or_default())?;
    let bandwidth = mem_bw_schema.as_deref().unwrap_or_default();
    check_line(format_args!("linux.intelRdt.memBwSchema"), bandwidth)?;
    if !bandwidth.is_empty() && !bandwidth.starts_with("MB:") {
        reject!("linux.intelRdt.memBwSchema: {bandwidth:?} does not start with \"MB:\"");
    }
    let mut schemata = schemata.iter().enumerate();
    schemata.try_for_each(|(index, line)| check_line(format_args!("linux.intelRdt.schemata[{index}]"), line))
}

pub(super) fn validate_memory_policy(policy: Option<&MemoryPolicy<'_>>) -> Result<()> {
    let Some(MemoryPolicy { mode, nodes, flags }) = policy else { return Ok(()) };
    let field = "linux.memoryPolicy";
    // set_mempolicy(2): whether a mode takes nodes.
    let (may_have_nodes, must_have_nodes) = match &**mode {
        "MPOL_DEFAULT" | "MPOL_LOCAL" => (false, false),
        "MPOL_PREFERRED" => (true, false),
        "MPOL_BIND" | "MPOL_INTERLEAVE" | "MPOL_WEIGHTED_INTERLEAVE" | "MPOL_PREFERRED_MANY" => (true, true),
        other => reject!(
            "{field}.mode: {other:?} is not one of MPOL_DEFAULT, MPOL_BIND, MPOL_INTERLEAVE, \
             MPOL_WEIGHTED_INTERLEAVE, MPOL_PREFERRED, MPOL_PREFERRED_MANY, MPOL_LOCAL"
        ),
    };
    if nodes.is_empty() {
        if must_have_nodes {
            reject!("{field}.nodes: missing: {mode} needs at least one");
        }
    } else if !may_have_nodes {
        reject!("{field}.nodes: {:?} is not possible with {mode}", &**nodes);
    } else if parse_number_list(nodes).is_none() {
        reject!("{field}.nodes: {:?} is not a list such as \"0-3,7\"", &**nodes);
    }
    let known = ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"];
    check_names(format_args!("{field}.flags"), flags, &known)
}

pub(super) fn validate_personality(personality: Option<&Personality<'_>>) -> Result<()> {
    let Some(Personality { domain, flags }) = personality else { return Ok(()) };
    check_name(format_args!("linux.personality.domain"), domain, &["LINUX", "LINUX32"])?;
    if let Some(flag) = flags.first() {
        reject!("linux.personality.flags[0]: {:?} is not known: there are no flags", &**flag);
    }
    Ok(())
}
