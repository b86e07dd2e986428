//! A container's cgroup made by systemd: the unit, and the process that holds a scope until init is in it.

use std::time::Duration;

use super::bundle::Prepared;
use crate::cgroup::systemd::{Manager, Systemd, Unit, compile_properties};
use crate::cgroup::{Cgroup, CgroupPath, Hierarchy};
use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::resources::{FileWrite, device_allow};
use crate::spawn::{self, Init, Opened, SpawnError};
use rustix::io::Errno;

/// How long systemd may take to notice that a scope has ended, if it cannot be told.
const NOTICE: Duration = Duration::from_secs(1);

/// A unit that was started. Dropping this ends the process that holds the unit, but not the unit.
pub(super) struct Scope {
    holder: Option<Init>,
    systemd: Systemd,
    name: String,
}

impl Drop for Scope {
    fn drop(&mut self) {
        self.end_holder();
    }
}

impl Scope {
    /// Has systemd start the unit, and opens its cgroup, with the controllers that `limits` need.
    ///
    /// # Errors
    /// Systemd cannot be reached or refuses; nothing is left then.
    pub(super) fn create(
        prepared: &Prepared<'_>,
        unit: &Unit,
        hierarchy: &Hierarchy,
        path: &CgroupPath,
        limits: &[FileWrite<'_>],
    ) -> Result<(Scope, Cgroup)> {
        // First, because nothing has to be undone yet if there is no systemd.
        let systemd = Systemd::connect(Manager::of_caller())?;
        let holder = if unit.is_slice() { None } else { Some(spawn_holder()?) };
        let mut scope = Scope { holder, systemd, name: unit.name.clone() };
        let process = scope.holder.as_ref().map(number);
        // An ordinary user's systemd may not filter devices either.
        let devices = match prepared.is_privileged() {
            true => device_allow(&prepared.spec().resources.devices)?,
            false => None,
        };
        let annotations = &prepared.annotations;
        let properties = compile_properties(unit, process, limits, devices.as_deref(), annotations)?;
        scope.systemd.start(unit, &properties)?;
        let opened = open(unit, hierarchy, path).and_then(|cgroup| {
            cgroup.enable_controllers(hierarchy, limits)?;
            Ok(cgroup)
        });
        match opened {
            Ok(cgroup) => Ok((scope, cgroup)),
            Err(error) => {
                scope.end_holder();
                Err(error.besides(scope.systemd.stop(&unit.name)))
            }
        }
    }

    /// The limits for as long as the holder is in the cgroup: it must not take init's place.
    pub(super) fn make_room<'a>(&self, limits: &[FileWrite<'a>]) -> Vec<FileWrite<'a>> {
        let held = self.holder.is_some();
        limits.iter().map(|limit| if held { with_one_more(limit) } else { limit.clone() }).collect()
    }

    /// Has systemd move init into the unit, if the user may not clone it there. Init still waits for its id
    /// maps, and has done nothing yet.
    pub(super) fn attach(&mut self, init: &Init) -> Result<()> {
        self.systemd.attach(&self.name, "", number(init))
    }

    fn end_holder(&mut self) {
        if let Some(mut holder) = self.holder.take() {
            // If that fails, it ends with the unit: systemd kills all processes in the unit's cgroup.
            let _ = holder.kill();
        }
    }

    /// Ends the holder, and takes away its room, once init is in the cgroup.
    pub(super) fn release(&mut self, cgroup: &Cgroup, limits: &[FileWrite<'_>]) -> Result<()> {
        if self.holder.is_none() {
            return Ok(());
        }
        self.end_holder();
        let limits: Vec<_> = limits.iter().filter(|limit| limit.file == "pids.max").cloned().collect();
        cgroup.apply(&limits)
    }
}

/// Raises pids.max by one; other limits stay as they are.
fn with_one_more<'a>(limit: &FileWrite<'a>) -> FileWrite<'a> {
    match limit.value.parse::<u64>() {
        Ok(number) if limit.file == "pids.max" => {
            FileWrite { value: number.saturating_add(1).to_string().into(), ..limit.clone() }
        }
        _ => limit.clone(),
    }
}

/// Spawns the holder: an init without namespaces of its own that only waits, and ends with the runtime.
fn spawn_holder() -> Result<Init> {
    let plan = Plan::waiting();
    match spawn::spawn(&plan, &mut spawn::open(&plan, None)?, None, None, None) {
        Ok(holder) => Ok(holder),
        Err(SpawnError::Seed) => Err(Error::new("clone the process that holds the scope: refused")),
        Err(SpawnError::Cgroup { error, .. } | SpawnError::Other(error)) => {
            Err(error.context("the process that holds the scope"))
        }
    }
}

fn number(init: &Init) -> u32 {
    init.pid.as_raw_nonzero().get().cast_unsigned()
}

/// Spawns a process into a container's cgroup. If the caller may not do that, the process starts in the
/// caller's cgroup, and systemd moves it into the unit, or into the cgroup `/below` there, before it goes on
/// to its program.
///
/// # Errors
/// As for [`spawn::spawn`]; systemd refuses, or there is no unit.
pub(crate) fn spawn_into(
    plan: &Plan,
    opened: &mut Opened,
    cgroup: Option<&Cgroup>,
    unit: Option<&str>,
    below: &str,
) -> std::result::Result<Init, SpawnError> {
    let unit = match (unit, spawn::spawn(plan, opened, None, None, cgroup)) {
        (Some(unit), Err(SpawnError::Cgroup { errno: Errno::ACCESS, .. })) => unit,
        (_, spawned) => return spawned,
    };
    let mut init = spawn::spawn(plan, opened, None, None, None)?;
    let moved = Systemd::connect(Manager::of_caller())
        .and_then(|mut systemd| systemd.attach(unit, below, number(&init)));
    moved.inspect_err(|_| drop(init.kill()))?;
    Ok(init)
}

fn open(unit: &Unit, hierarchy: &Hierarchy, path: &CgroupPath) -> Result<Cgroup> {
    Cgroup::open(hierarchy, path)?.ok_or_else(|| {
        Error::formatted(format_args!(
            "systemd has started {}, but there is no cgroup {path} below {}: is it the cgroup v2 that systemd uses?",
            unit.name,
            hierarchy.mount().display()
        ))
    })
}

/// Removes a cgroup at once if it has no processes, unless it is systemd's, which must notice that itself.
/// True if it is gone.
pub(super) fn remove_if_empty(cgroup: Option<&Cgroup>, unit: Option<&str>) -> Result<bool> {
    match cgroup {
        Some(cgroup) if unit.is_none() => cgroup.remove_if_empty(),
        _ => Ok(false),
    }
}

/// Kills all processes in a container's cgroup, stops its unit and removes it.
///
/// The unit is stopped before the cgroup is removed: if it vanishes too early, systemd never learns that it
/// is empty, and the unit stays.
///
/// # Errors
/// As for [`Cgroup::end`]; a slice cannot be stopped if systemd cannot be reached. A scope ends by itself.
pub(super) fn end(cgroup: Option<&Cgroup>, unit: Option<&str>) -> Result<()> {
    if unit.is_some() {
        cgroup.map_or(Ok(()), Cgroup::kill)?;
        stop(cgroup, unit)?;
    }
    cgroup.map_or(Ok(()), Cgroup::end)
}

/// Has systemd stop a container's unit, if it has one.
pub(super) fn stop(cgroup: Option<&Cgroup>, unit: Option<&str>) -> Result<()> {
    let Some(unit) = unit else { return Ok(()) };
    match Systemd::connect(Manager::of_caller()).and_then(|mut systemd| systemd.stop(unit)) {
        Err(error) if unit.ends_with(".slice") => return Err(error),
        Err(_) => cgroup.into_iter().for_each(|cgroup| cgroup.await_removal(NOTICE)),
        Ok(()) => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::spec::linux::Resources;
    use crate::resources::compile_limits;

    #[test]
    fn a_limit_of_processes_leaves_room_for_the_holder() {
        let resources: Resources<'_> =
            crate::oci::spec::json::parse(br#"{"pids": {"limit": 1}, "memory": {"limit": 1}}"#).unwrap();
        let limits = compile_limits(&resources).unwrap();
        let values: Vec<_> = limits.iter().map(|limit| with_one_more(limit).value.into_owned()).collect();
        let written: Vec<_> =
            limits.iter().map(|limit| &*limit.file).zip(values.iter().map(String::as_str)).collect();
        assert_eq!(written, [("memory.max", "1"), ("pids.max", "2")]);
        let unlimited: Resources<'_> = crate::oci::spec::json::parse(br#"{"pids": {"limit": -1}}"#).unwrap();
        assert_eq!(with_one_more(&compile_limits(&unlimited).unwrap()[0]).value, "max");
    }
}
