//! Changing the limits of a container that exists.

use super::processes::{live_cgroup, not_running};
use crate::cgroup::systemd::{Manager, Systemd};
use crate::cgroup::{Cgroup, Hierarchy};
use crate::error::{Context, Error, Kind, Result};
use crate::oci::ContainerId;
use crate::oci::spec::json;
use crate::oci::spec::linux::Resources;
use crate::oci::spec::merge::{merge, without};
use crate::resources::{FileWrite, compile_limits};
use crate::state::resctrl;
use crate::state::{Record, Root, stored_config};
use crate::validate::validate_resources;

/// The changes to make.
#[derive(Debug, Clone, Copy)]
pub struct Changes<'c> {
    /// A JSON document like `linux.resources` in config.json; missing members stay as they are.
    pub resources: &'c str,
    /// `linux.intelRdt.l3CacheSchema`; an empty text changes nothing.
    pub l3_cache_schema: &'c str,
    /// `linux.intelRdt.memBwSchema`; an empty text changes nothing.
    pub mem_bw_schema: &'c str,
}

/// Merges changes into a container's limits and applies the result; the device filter stays as it is. The
/// stored configuration changes, too, in one step.
///
/// # Errors
/// There is no such container, it has ended, or has no cgroup or class of service; or a limit is wrong or
/// refused, and the error names its field. The former limits are restored then.
pub fn update(root: &Root, id: &ContainerId, changes: Changes<'_>) -> Result<()> {
    let Changes { resources, l3_cache_schema, mem_bw_schema } = changes;
    let directory = root.find(id)?;
    directory.lock_patiently()?;
    let (record, document) = directory.load_whole()?;
    let document = String::from_utf8(document)
        .map_err(|_| Error::formatted(format_args!("state.json of container {id}: not UTF-8")))?;
    let mut merged = document.clone();
    let mut former_class = None;
    if !(l3_cache_schema.is_empty() && mem_bw_schema.is_empty()) {
        if !record.is_alive()? {
            return Err(not_running("update", &record.id));
        }
        let changed = resctrl::change(&directory, l3_cache_schema, mem_bw_schema);
        former_class = Some(changed.map_err(|error| error.or_kind(Kind::Limit))?);
        for (name, schema) in [("l3CacheSchema", l3_cache_schema), ("memBwSchema", mem_bw_schema)] {
            if !schema.is_empty() {
                // A schema that the kernel has accepted has no character that JSON would escape.
                merged = change(&merged, "intelRdt", &format!("{{\"{name}\":\"{schema}\"}}"))?;
            }
        }
        if resources == "{}" {
            return directory.replace_document(&merged);
        }
    }
    let merged = update_limits(&record, &document, &merged, resources).inspect_err(|_| {
        // The error that led here is the one to report.
        if let Some(former) = &former_class {
            former.restore();
        }
    })?;
    directory.replace_document(&merged)
}

/// Merges a member into `linux` of the configuration in a state's document.
fn change(document: &str, member: &str, value: &str) -> Result<String> {
    Ok(merge(document, &format!("{{\"config\":{{\"linux\":{{\"{member}\":{value}}}}}}}"))?)
}

/// Merges `resources` into the limits in `merged` and applies them; the result is the new document. After a
/// failure, the limits in `document` apply again.
fn update_limits(record: &Record, document: &str, merged: &str, resources: &str) -> Result<String> {
    let cgroup = live_cgroup(record, "update")?;
    let step = || "resources";
    let invalid = |error: Error| error.or_kind(Kind::Invalid);
    let changes: Resources<'_> =
        json::parse(resources.as_bytes()).map_err(Error::from).context(step).map_err(invalid)?;
    validate_resources(&changes).map_err(invalid)?;
    // The device filter does not change, so state.json keeps its rules.
    let merged = change(merged, "resources", &without(resources, "devices")?)?;

    let (before, after) = (parse(document)?, parse(&merged)?);
    let unit = record.systemd_unit.as_deref();
    apply(&cgroup, unit, &after).map_err(|error| {
        error.besides(compile_limits(&before).and_then(|limits| write(&cgroup, unit, &limits)))
    })?;
    Ok(merged)
}

/// The limits that a state.json stores.
fn parse(document: &str) -> Result<Resources<'_>> {
    let config = stored_config(document.as_bytes())?;
    Ok(config.linux.and_then(|linux| linux.resources).unwrap_or_default())
}

fn apply(cgroup: &Cgroup, unit: Option<&str>, resources: &Resources<'_>) -> Result<()> {
    let invalid = |error: Error| error.or_kind(Kind::Invalid);
    validate_resources(resources).map_err(invalid)?;
    let limits = compile_limits(resources).map_err(invalid)?;
    if let Some(hierarchy) = Hierarchy::find()? {
        cgroup.enable_controllers(&hierarchy, &limits)?;
    }
    write(cgroup, unit, &limits)
}

/// Tells systemd the limits, too: it writes the files of its units again when it reloads.
fn write(cgroup: &Cgroup, unit: Option<&str>, limits: &[FileWrite<'_>]) -> Result<()> {
    if let Some(unit) = unit {
        Systemd::connect(Manager::of_caller())?.set_limits(unit, limits)?;
    }
    cgroup.apply(limits)
}
