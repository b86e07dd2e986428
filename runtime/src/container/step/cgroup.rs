//! The container's cgroup, made by mkdir or by systemd.

use std::path::Path;

use super::{Left, Line, Making, Prepared, Step, too_early};
use crate::cgroup::{Cgroup, DeviceControl, Hierarchy, delegate_of, limit_nothing};
use crate::container::scope::{self, Scope};
use crate::error::{Error, Kind, Result, Warning, WarningKind};
use crate::oci::spec::linux::DeviceRule;
use crate::resources;
use crate::state::{NotedCgroup, StateDirectory};

/// Makes it, with its limits, before anything runs in it.
pub struct Make;

impl Step for Make {
    fn is_for(&self, prepared: &Prepared<'_>) -> bool {
        prepared.unit.is_none() && prepared.cgroup.is_some()
    }

    fn apply(&self, making: &mut Making<'_, '_>) -> Result<()> {
        let (prepared, directory) = (making.prepared, making.directory()?);
        let (hierarchy, path) = prepared.cgroup.as_ref().ok_or_else(|| too_early("cgroup"))?;
        let limits = prepared.limits()?;
        directory.note_cgroup(path, false)?;
        let cgroup = match Cgroup::create(hierarchy, path, &limits) {
            Ok(cgroup) => cgroup,
            // A login session owns no part of the hierarchy, and a container without limits needs no cgroup.
            // But if the configuration gives its path, it is an error, as for runc and crun.
            Err(_)
                if !prepared.is_privileged()
                    && limit_nothing(&limits)
                    && prepared.spec().cgroups_path.as_deref().is_none_or(str::is_empty) =>
            {
                return directory.note_no_cgroup();
            }
            Err(error) => return Err(error),
        };
        if cgroup.was_there() {
            directory.take_cgroup_over(path)?;
        }
        let delegate = delegate_of(prepared.spec()).filter(|_| prepared.is_privileged());
        match cgroup.apply(&limits).and_then(|()| delegate.map_or(Ok(()), |uid| cgroup.delegate(uid))) {
            Ok(()) => {
                making.cgroup = Some(cgroup);
                Ok(())
            }
            Err(error) => Err(error.besides(cgroup.remove())),
        }
    }

    fn kind(&self) -> Kind {
        Kind::Cgroup
    }

    fn lines(&self, prepared: &Prepared<'_>, lines: &mut Vec<Line>) -> Result<()> {
        let (hierarchy, path) = prepared.cgroup.as_ref().ok_or_else(|| too_early("cgroup"))?;
        lines.push(("MakeCgroup", format!("{}{path}", hierarchy.mount().display())));
        limit_lines(prepared, lines)
    }
}

/// Has systemd make it. The holder of a scope is in it from the start.
pub struct StartUnit;

impl Step for StartUnit {
    fn is_for(&self, prepared: &Prepared<'_>) -> bool {
        prepared.unit.is_some()
    }

    fn apply(&self, making: &mut Making<'_, '_>) -> Result<()> {
        let (prepared, directory) = (making.prepared, making.directory()?);
        let (Some(unit), Some((hierarchy, path))) = (&prepared.unit, &prepared.cgroup) else {
            return Err(Error::new("no cgroup"));
        };
        let limits = prepared.limits()?;
        directory.note_cgroup(path, true)?;
        let (scope, cgroup) = Scope::create(prepared, unit, hierarchy, path, &limits)?;
        let room = scope.make_room(&limits);
        making.unit = Some(unit.name.clone());
        making.scope = Some(scope);
        making.cgroup.insert(cgroup).apply(&room)
    }

    fn kind(&self) -> Kind {
        Kind::Cgroup
    }

    fn lines(&self, prepared: &Prepared<'_>, lines: &mut Vec<Line>) -> Result<()> {
        let unit = prepared.unit.as_ref().ok_or_else(|| too_early("unit"))?;
        lines.push(("StartTransientUnit", format!("{} in {}", unit.name, unit.slice)));
        limit_lines(prepared, lines)
    }
}

fn limit_lines(prepared: &Prepared<'_>, lines: &mut Vec<Line>) -> Result<()> {
    for limit in prepared.limits()? {
        lines.push(("WriteLimit", format!("{} = {} ({})", limit.file, limit.value.trim_end(), limit.field)));
    }
    Ok(())
}

/// Notes that there is no cgroup.
pub struct DoWithout;

impl Step for DoWithout {
    fn is_for(&self, prepared: &Prepared<'_>) -> bool {
        prepared.unit.is_none() && prepared.cgroup.is_none()
    }

    fn apply(&self, making: &mut Making<'_, '_>) -> Result<()> {
        making.directory()?.note_no_cgroup()
    }
}

/// Attaches the device filter while init waits for the runtime.
pub struct FilterDevices;

impl Step for FilterDevices {
    fn is_for(&self, prepared: &Prepared<'_>) -> bool {
        prepared.cgroup.is_some()
    }

    fn apply(&self, making: &mut Making<'_, '_>) -> Result<()> {
        let Some(cgroup) = &making.cgroup else { return Ok(()) };
        let prepared = making.prepared;
        let control =
            if prepared.is_privileged() { DeviceControl::Required } else { DeviceControl::WhereAllowed };
        cgroup.attach_devices(prepared.devices.as_ref(), control).map(drop)
    }

    fn kind(&self) -> Kind {
        Kind::Cgroup
    }

    fn lines(&self, prepared: &Prepared<'_>, lines: &mut Vec<Line>) -> Result<()> {
        let mut add = |rule| lines.push(("DeviceRule", rule));
        if prepared.devices.is_none() {
            add("allow a *:* rwm".to_string());
            return Ok(());
        }
        prepared.spec().resources.devices.iter().for_each(|rule| add(rule_line(rule)));
        for rule in resources::always_allowed() {
            add(format!("allow {rule}, whatever stands above"));
        }
        add("deny what no rule speaks of".to_string());
        Ok(())
    }
}

fn rule_line(rule: &DeviceRule<'_>) -> String {
    let number = |number: Option<i64>| {
        number.filter(|number| *number >= 0).map_or("*".to_string(), |number| number.to_string())
    };
    let DeviceRule { allow, kind, major, minor, access } = rule;
    let verb = if *allow { "allow" } else { "deny" };
    let (kind, access) = (kind.as_deref().unwrap_or("a"), access.as_deref().unwrap_or("rwm"));
    format!("{verb} {kind} {}:{} {access}", number(*major), number(*minor))
}

/// Moves init into the unit's cgroup if it is not there yet, then ends the holder.
pub struct ReleaseUnit;

impl Step for ReleaseUnit {
    fn is_for(&self, prepared: &Prepared<'_>) -> bool {
        StartUnit.is_for(prepared)
    }

    fn apply(&self, making: &mut Making<'_, '_>) -> Result<()> {
        let Making { prepared, scope, cgroup, init, attach, .. } = making;
        let (Some(scope), Some(cgroup), Some(init)) = (scope, cgroup, init) else {
            return Err(too_early("unit"));
        };
        if *attach {
            scope.attach(init)?;
        }
        scope.release(cgroup, &prepared.limits()?)
    }

    fn kind(&self) -> Kind {
        Kind::Cgroup
    }
}

/// Kills the processes that are left in the noted cgroup, and removes it with its unit.
pub fn undo(
    directory: &StateDirectory,
    note: &Path,
    left: &mut Left<'_>,
    warn: &mut dyn FnMut(Warning),
) -> Result<()> {
    match left {
        Left::Held { cgroup, unit } => match scope::remove_if_empty(cgroup.as_ref(), unit.as_deref()) {
            Ok(true) => Ok(()),
            // Ending what is left takes one more descriptor.
            _ => scope::end(cgroup.as_ref(), unit.as_deref()),
        },
        Left::Ended { cgroup, unit } => scope::end(cgroup.as_ref(), *unit),
        Left::Unknown => match open(directory, note)? {
            Some((cgroup, unit)) => scope::end(cgroup.as_ref(), unit.as_deref()),
            None => Ok(()),
        },
        Left::Unfinished => {
            let Some((cgroup, unit)) = open(directory, note)? else { return Ok(()) };
            // Init ends by itself. A process that is there after that belongs neither to a container nor to a
            // unit of its own: the cgroup is one that `create` was about to refuse.
            let removed = cgroup.as_ref().map_or(Ok(()), Cgroup::remove);
            if let Err(error) = removed.and_then(|()| scope::stop(None, unit.as_deref())) {
                let text = format_args!("clean up container {}: {error}", directory.id());
                warn(Warning::new(WarningKind::LeftBehind, text));
            }
            Ok(())
        }
    }
}

/// The noted cgroup, if it is still there, and its unit.
fn open(directory: &StateDirectory, note: &Path) -> Result<Option<(Option<Cgroup>, Option<String>)>> {
    let NotedCgroup::At { path, of_unit } = directory.parse_cgroup(note)? else { return Ok(None) };
    let cgroup = Cgroup::open(&Hierarchy::of_containers(path.as_str())?, &path)?;
    Ok(Some((cgroup, of_unit.then(|| path.name().to_string()))))
}
