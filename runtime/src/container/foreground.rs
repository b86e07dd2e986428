//! A container in the foreground: create, start and wait in one process.

use super::bundle::Bundle;
use super::create::{CreateOptions, Created, finish, prepare, set_up, take_back};
use super::delete::run_poststop;
use super::out_of_memory::explain_kill;
use super::scope;
use super::signals::ForwardedSignals;
use super::start::start_hooks;
use super::supervise::supervise;
use crate::container_id::ContainerId;
use crate::error::Result;
use crate::hooks::{self, Place};
use crate::notify;
use crate::state::{Root, Status};

/// How a foreground container ended, and what had to be left out of it.
#[derive(Debug)]
pub struct Ended {
    /// The program's status, or 128 + the signal that ended it.
    pub status: u8,
}

/// Runs a container until its program ends, passing signals on; `keep` leaves it behind, stopped.
///
/// # Errors
/// As for [`super::create`]; the program could not be executed. Nothing is left then.
pub fn run(
    root: &Root,
    id: &ContainerId,
    bundle: &Bundle,
    options: &CreateOptions,
    keep: bool,
    warn: &mut dyn FnMut(&str),
) -> Result<Ended> {
    let mut prepared = prepare(root, bundle, id, options, false)?;
    // From here on: a signal that comes while the container is being made must reach it, not end the runtime.
    let signals = ForwardedSignals::block()?;
    let mut created = set_up(root, id, bundle, &mut prepared, options, warn)?;
    let spec = prepared.spec();
    created.plan.warnings.iter().for_each(|warning| warn(warning));
    let Created { init, plan, record, cgroup, directory } = &mut created;
    let hooks = &spec.hooks;
    let listening = options.notify.as_ref().map_or(Ok(None), |to| notify::listen(directory.folder(), to));
    let ended = listening
        .map(|proxy| init.notify = proxy)
        .and_then(|()| start_hooks(spec, init, record, cgroup.as_ref()))
        .and_then(|()| finish(init, record, options))
        .and_then(|()| {
            let mut started = || {
                let place = Place::outside("poststart", Status::Running, record.pid);
                hooks::run(&hooks.poststart, record, &place)
            };
            supervise(init, plan, &signals, options, warn, &mut started)
        })
        .map_err(|error| explain_kill(error, cgroup.as_ref()));
    let record = created.record.clone();
    let ended = match ended {
        Ok(status) => clean_up(created, keep).map(|()| Ended { status }),
        Err(error) => {
            take_back(created);
            Err(error)
        }
    };
    if !keep || ended.is_err() {
        run_poststop(hooks, &record, warn);
    }
    ended
}

/// Processes that outlived the program (without a pid namespace they can), the cgroup, the state.
fn clean_up(created: Created, keep: bool) -> Result<()> {
    let Created { directory, cgroup, record, .. } = created;
    let unit = record.systemd_unit.as_deref();
    let gone = !keep && scope::remove_if_empty(cgroup.as_ref(), unit)?;
    if let Some(cgroup) = &cgroup
        && !gone
        && cgroup.is_populated()?
    {
        cgroup.kill()?;
    }
    if keep {
        return Ok(());
    }
    if !gone {
        scope::remove(cgroup.as_ref(), unit)?;
    }
    directory.remove()
}
