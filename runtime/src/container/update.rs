//! Changing the limits of a container that exists.

use super::processes::live_cgroup;
use crate::cgroup::systemd::{Manager, Systemd};
use crate::cgroup::{Cgroup, FileWrite, Hierarchy, compile_limits};
use crate::container_id::ContainerId;
use crate::error::{Context, Error, Result};
use crate::spec::json;
use crate::spec::linux::Resources;
use crate::spec::merge::{merge, without};
use crate::state::{Root, stored_config};
use crate::validate::validate_resources;

/// Puts `resources`, a document such as config.json has under `linux.resources`, over the container's, and applies the
/// result; members that are absent stay as they are, and so does the device filter. The stored configuration changes
/// with it, in one step.
///
/// # Errors
/// There is no such container, it has ended or has no cgroup; a limit is wrong or cannot be had, by its field. The
/// former limits are put back then.
pub fn update(root: &Root, id: &ContainerId, resources: &str) -> Result<()> {
    let directory = root.find(id)?;
    directory.lock_patiently()?;
    let (record, document) = directory.load_whole()?;
    let cgroup = live_cgroup(&record, "update")?;
    let document = String::from_utf8(document)
        .map_err(|_| Error::formatted(format_args!("state.json of container {id}: not UTF-8")))?;

    let step = || "resources";
    let changes: Resources<'_> = json::parse(resources.as_bytes()).map_err(Error::from).context(step)?;
    validate_resources(&changes)?;
    // The filter that runs stays the one that state.json names.
    let changes = without(resources, "devices")?;
    let merged = merge(&document, &format!("{{\"config\":{{\"linux\":{{\"resources\":{changes}}}}}}}"))?;

    let (before, after) = (parse(&document)?, parse(&merged)?);
    let unit = record.systemd_unit.as_deref();
    apply(&cgroup, unit, &after).inspect_err(|_| {
        // The error that led here is the one to report.
        let _ = compile_limits(&before).and_then(|limits| write(&cgroup, unit, &limits));
    })?;
    directory.replace_document(&merged)
}

/// The limits that a state.json stores.
fn parse(document: &str) -> Result<Resources<'_>> {
    let config = stored_config(document.as_bytes())?;
    Ok(config.linux.and_then(|linux| linux.resources).unwrap_or_default())
}

fn apply(cgroup: &Cgroup, unit: Option<&str>, resources: &Resources<'_>) -> Result<()> {
    validate_resources(resources)?;
    let limits = compile_limits(resources)?;
    if let Some(hierarchy) = Hierarchy::find()? {
        cgroup.enable_controllers(&hierarchy, &limits)?;
    }
    write(cgroup, unit, &limits)
}

/// Systemd has to know as well: it writes the files of its units anew when it reloads.
fn write(cgroup: &Cgroup, unit: Option<&str>, limits: &[FileWrite<'_>]) -> Result<()> {
    if let Some(unit) = unit {
        Systemd::connect(Manager::of_caller())?.set_limits(unit, limits)?;
    }
    cgroup.apply(limits)
}
