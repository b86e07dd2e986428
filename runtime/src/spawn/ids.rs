//! What only the runtime may write for init: its oom score, and the maps of its user namespace.

use rustix::process::Pid;

use pillbox_init::plan::Turn;

use super::idmap::{check_map, write_map};
use super::program::{self, Running};
use super::{Init, Opened, oom_score};
use crate::error::Context;
use crate::error::{Error, Kind, Result};
use crate::oci::spec::IdMapping;
use crate::plan::{Mappings, Method, Plan};

impl Init {
    /// Does the runtime's part of the set-up, then serves init until it is ready. For plans without other
    /// stops.
    ///
    /// # Errors
    /// Something failed in init, which is gone then.
    pub fn bring_up(&mut self, plan: &Plan) -> Result<()> {
        self.give_ids(plan)?;
        self.await_ready(plan, &Opened::default())
    }

    /// [`Self::bring_up`] of an init that nobody has to record before its program runs. [`Self::release`]
    /// must be called nevertheless.
    pub fn bring_up_unrecorded(&mut self, plan: &Plan) -> Result<()> {
        self.give_ids(plan)?;
        self.await_ready_unrecorded(plan)
    }

    /// Writes init's oom score, and the maps of its user namespace, for which it waits.
    pub fn give_ids(&mut self, plan: &Plan) -> Result<()> {
        if let Some(value) = plan.oom_score_adj.filter(|_| !self.has_oom_score) {
            oom_score::write(self.pid, value)?;
        }
        if let Some(mappings) = &plan.mappings {
            write_maps(self.pid, mappings)?;
            self.answer(Turn::Mappings)?;
        }
        Ok(())
    }
}

/// Writes the maps of init's user namespace while init waits. The maps of a joined namespace are compared
/// instead.
///
/// # Errors
/// The kernel or a helper refused a map, or a joined namespace has other maps.
fn write_maps(pid: Pid, mappings: &Mappings) -> Result<()> {
    let pid = pid.as_raw_nonzero();
    match mappings.method {
        Method::Privileged => {
            write_map(&format!("/proc/{pid}/uid_map"), "linux.uidMappings", &mappings.uid)?;
            write_map(&format!("/proc/{pid}/gid_map"), "linux.gidMappings", &mappings.gid)
        }
        Method::Own => {
            // Without CAP_SETGID, a group can be mapped only after setgroups(2) is given up.
            let path = format!("/proc/{pid}/setgroups");
            std::fs::write(&path, "deny").context(|| format!("write {path}"))?;
            write_map(&format!("/proc/{pid}/uid_map"), "linux.uidMappings", &mappings.uid)?;
            write_map(&format!("/proc/{pid}/gid_map"), "linux.gidMappings", &mappings.gid)
        }
        Method::Helpers => {
            // Both at once: neither needs what the other one writes.
            let users = Helper::start("newuidmap", "/etc/subuid", pid.get(), &mappings.uid)?;
            let groups = Helper::start("newgidmap", "/etc/subgid", pid.get(), &mappings.gid);
            users.finish()?;
            groups?.finish()
        }
        Method::Joined => {
            check_map(&format!("/proc/{pid}/uid_map"), "linux.uidMappings", &mappings.uid)?;
            check_map(&format!("/proc/{pid}/gid_map"), "linux.gidMappings", &mappings.gid)
        }
    }
}

/// newuidmap(1) or newgidmap(1) at work.
struct Helper {
    name: &'static str,
    granted_in: &'static str,
    program: Running,
}

impl Helper {
    fn start(name: &'static str, granted_in: &'static str, pid: i32, map: &[IdMapping]) -> Result<Helper> {
        let path = program::find(name).ok_or_else(|| {
            Error::formatted(format_args!(
                "{name}: not found: mapping more than your own id needs it (Debian: package uidmap)"
            ))
            .or_kind(Kind::Unsupported)
        })?;
        let mut arguments = vec![pid.to_string()];
        for IdMapping { container_id, host_id, size } in map {
            arguments.extend([container_id, host_id, size].map(u32::to_string));
        }
        // The helpers are setuid: they get an empty environment.
        let program = Running::start(&path, &arguments, &[]).map_err(refused(name, granted_in))?;
        Ok(Helper { name, granted_in, program })
    }

    fn finish(self) -> Result<()> {
        let Helper { name, granted_in, program } = self;
        program.finish().map(drop).map_err(refused(name, granted_in))
    }
}

fn refused(name: &str, granted_in: &str) -> impl Fn(Error) -> Error {
    move |error| {
        Error::formatted(format_args!("{name}: {error}: ranges are granted in {granted_in}"))
            .or_kind(Kind::NotPermitted)
    }
}
