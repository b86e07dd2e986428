//! uid_map and gid_map of a new user namespace: user_namespaces(7).

use std::fmt::Write as _;
use std::process::Command;

use rustix::process::Pid;

use crate::error::{Context, Error, Result};
use crate::plan::{Mappings, Method};
use crate::spec::IdMapping;

/// Writes the maps for init, while it waits.
///
/// # Errors
/// The map that the kernel or the helper refused, and what it needs.
pub fn write(pid: Pid, mappings: &Mappings) -> Result<()> {
    let pid = pid.as_raw_nonzero();
    match mappings.method {
        Method::Privileged => {
            write_map(&format!("/proc/{pid}/uid_map"), "linux.uidMappings", &mappings.uid)?;
            write_map(&format!("/proc/{pid}/gid_map"), "linux.gidMappings", &mappings.gid)
        }
        Method::Own => {
            // Only who gives up setgroups may map a group without rights over it.
            let path = format!("/proc/{pid}/setgroups");
            std::fs::write(&path, "deny").context(|| format!("write {path}"))?;
            write_map(&format!("/proc/{pid}/uid_map"), "linux.uidMappings", &mappings.uid)?;
            write_map(&format!("/proc/{pid}/gid_map"), "linux.gidMappings", &mappings.gid)
        }
        Method::Helpers => {
            run_helper("newuidmap", "/etc/subuid", pid.get(), &mappings.uid)?;
            run_helper("newgidmap", "/etc/subgid", pid.get(), &mappings.gid)
        }
    }
}

/// The kernel takes a whole map in one write(2), of at most a page and 340 lines.
fn write_map(path: &str, field: &str, map: &[IdMapping]) -> Result<()> {
    let mut text = String::new();
    for IdMapping { container_id, host_id, size } in map {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{container_id} {host_id} {size}");
    }
    std::fs::write(path, &text).context(|| format!("{field}: write {path}"))
}

fn run_helper(program: &str, granted_in: &str, pid: i32, map: &[IdMapping]) -> Result<()> {
    let mut command = Command::new(program);
    command.arg(pid.to_string());
    for IdMapping { container_id, host_id, size } in map {
        command.args([container_id, host_id, size].map(u32::to_string));
    }
    let output = command.output().map_err(|error| {
        Error::new(format!(
            "{program}: {error}: mapping more than your own id needs it (Debian: package uidmap)"
        ))
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::new(format!(
        "{program}: {}: ranges are granted in {granted_in}",
        said.trim().replace('\n', "; ")
    )))
}
