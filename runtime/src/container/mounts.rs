//! Changing the mounts of a running container.

use std::path::Path;

use pillbox_init::plan::Turn;

use super::bundle::name_sources;
use super::exec::{Given, Target, enter, explain_end};
use crate::cgroup::Hierarchy;
use crate::error::{Error, Kind, Result, Warning};
use crate::oci::ContainerId;
use crate::oci::spec::json::{self, List};
use crate::plan::{self, Host, Intent};
use crate::state::{Root, stored_config};
use crate::validate::validate;

const VERB: &str = "change the mounts of";

/// What to do with the mounts in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountsChange {
    /// Make them.
    Add,
    /// Unmount what is mounted at their destinations; their other members are ignored.
    Remove,
}

/// Changes the mounts of a created or running container, all or none. `list` is a JSON array as in
/// config.json under `mounts`; relative sources start at the bundle, too. The stored configuration does not
/// change, and mount points that had to be made stay.
///
/// # Errors
/// There is no such container, it has ended or is paused; or a mount is wrong or fails, and the error names
/// its field.
pub fn change_mounts(
    root: &Root,
    id: &ContainerId,
    list: &str,
    change: MountsChange,
    warn: &mut dyn FnMut(Warning),
) -> Result<()> {
    let directory = root.find(id)?;
    directory.lock_patiently()?;
    let (record, document) = directory.load_whole()?;
    let target = Target::open(&record, VERB)?;
    if target.is_paused()? {
        return Err(Error::of(
            Kind::Status,
            format!("cannot change the mounts of container {id}: it is paused: resume it first"),
        ));
    }
    let mut spec = stored_config(&document)?;
    spec.mounts = json::parse::<List<_>>(list.as_bytes())
        .map_err(|error| Error::of(Kind::Invalid, format!("mounts: {error}")))?;
    // The program does not matter here.
    spec.process = None;
    let invalid = |error: Error| error.or_kind(Kind::Invalid);
    let mut spec = validate(spec).map_err(invalid)?;
    name_sources(&mut spec, Path::new(&record.bundle)).map_err(invalid)?;
    let hierarchy = if record.cgroup.is_some() { Hierarchy::find()? } else { None };
    let mount = hierarchy.map(|hierarchy| hierarchy.mount().display().to_string());
    let intent = Intent {
        id: id.to_string(),
        no_new_keyring: true,
        chrooted: record.chrooted,
        cgroup: mount.as_ref().zip(record.cgroup.as_ref()).map(|(mount, path)| format!("{mount}{path}")),
        cgroup_mount: mount,
        ..Intent::default()
    };
    let compile = match change {
        MountsChange::Add => plan::compile_added_mounts,
        MountsChange::Remove => plan::compile_removed_mounts,
    };
    let mut plan = compile(&spec, &Host::look_for(&spec), &intent).map_err(invalid)?;
    plan.warnings.drain(..).for_each(&mut *warn);
    let explain = |error| explain_end(error, &record, VERB);
    let mut init = enter(&record, target, &spec, &plan, None, Given::default()).map_err(explain)?;
    let changed = init.say_unless_ended(Turn::Pidfd).and_then(|_| init.bring_up(&plan));
    // It has done its work.
    match changed {
        Ok(()) => init.kill(),
        Err(error) => Err(explain(init.kill_after(error))),
    }
}
