//! uid_map and gid_map: of a new user namespace (user_namespaces(7)), and for id-mapped mounts.

use std::fmt::Write as _;
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::error::{Context, Error, Kind, Result};
use crate::oci::spec::IdMapping;
use crate::plan::{Mappings, Method, MountIdmap, MountOwners};
use crate::spawn::open_namespace;
use crate::spawn::program;
use crate::sys;
use crate::text::order;
use crate::validate::NamespaceKind;

/// Writes the maps of init's user namespace while init waits. The maps of a joined namespace are compared instead.
///
/// # Errors
/// The kernel or a helper refused a map, or a joined namespace has other maps.
pub fn write(pid: Pid, mappings: &Mappings) -> Result<()> {
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
            run_helper("newuidmap", "/etc/subuid", pid.get(), &mappings.uid)?;
            run_helper("newgidmap", "/etc/subgid", pid.get(), &mappings.gid)
        }
        Method::Joined => {
            check_map(&format!("/proc/{pid}/uid_map"), "linux.uidMappings", &mappings.uid)?;
            check_map(&format!("/proc/{pid}/gid_map"), "linux.gidMappings", &mappings.gid)
        }
    }
}

/// The kernel takes a whole map in one write(2): less than a page, and at most 340 lines.
fn write_map(path: &str, field: &str, map: &[IdMapping]) -> Result<()> {
    const SMALLEST_PAGE: usize = 4096;
    let mut text = String::new();
    for IdMapping { container_id, host_id, size } in map {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{container_id} {host_id} {size}");
    }
    std::fs::write(path, &text).context(|| {
        let length = text.len();
        let hint = match length {
            0..SMALLEST_PAGE => String::new(),
            _ => format!(
                " ({length} bytes, and the kernel takes less than a page: map fewer and longer ranges)"
            ),
        };
        format!("{field}: write {path}{hint}")
    })
}

/// User namespaces that exist only for their maps; each is made once.
#[derive(Default)]
pub struct OwnerNamespaces {
    made: Vec<(MountOwners, OwnedFd)>,
}

impl OwnerNamespaces {
    /// Makes a detached mount id-mapped.
    ///
    /// # Errors
    /// The namespace cannot be made or opened, or a file system (of the mount or of one below) cannot be id-mapped.
    pub fn map_mount(&mut self, tree: &OwnedFd, idmap: &MountIdmap) -> Result<()> {
        let MountIdmap { owners, recursive } = idmap;
        let position = match self.made.iter().position(|(known, _)| known == owners) {
            Some(position) => position,
            None => {
                let namespace = match owners {
                    MountOwners::Maps { uid, gid } => make_namespace(uid, gid)?,
                    MountOwners::Namespace(path) => open_namespace(NamespaceKind::User, path)?,
                };
                self.made.push((owners.clone(), namespace));
                self.made.len() - 1
            }
        };
        pillbox_init::sys::map_mount_owners(tree, &self.made[position].1, *recursive).map_err(|errno| {
            let hint = match errno {
                Errno::INVAL => ": its file system cannot be id-mapped, or is already",
                Errno::PERM => ": it was mounted by another user namespace, which alone may map it, or the maps are the initial ones",
                _ => "",
            };
            Error::formatted(format_args!("map its owners: {}{hint}", crate::error::describe_errno(errno))).or_kind(Kind::Mount)
        })
    }
}

/// Makes a user namespace with these maps and no process: its only process has ended when the maps are written.
fn make_namespace(uid: &[IdMapping], gid: &[IdMapping]) -> Result<OwnedFd> {
    let process = sys::spawn_ended(linux_raw_sys::general::CLONE_NEWUSER)
        .context(|| "make a user namespace for its maps")?;
    let folder = format!("/proc/{}", process.pid.as_raw_nonzero());
    let made = write_map(&format!("{folder}/uid_map"), "uidMappings", uid)
        .and_then(|()| write_map(&format!("{folder}/gid_map"), "gidMappings", gid))
        .and_then(|()| {
            let path = format!("{folder}/ns/user");
            let opened = rustix::fs::openat(CWD, &*path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
            opened.context(|| format!("open {path}"))
        });
    // The paths above begin with its pid, which may pass to another process from here on.
    process.reap();
    made
}

/// Compares the map of a joined namespace, in any order: the kernel may have sorted the lines.
fn check_map(path: &str, field: &str, wanted: &[IdMapping]) -> Result<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    let text = std::fs::read_to_string(path).context(|| format!("{field}: read {path}"))?;
    let mut wanted: Vec<_> = wanted
        .iter()
        .map(|&IdMapping { container_id, host_id, size }| [container_id, host_id, size])
        .collect();
    order::sort(&mut wanted, |left, right| left < right);
    if parse_map(&text).is_some_and(|map| map == wanted) {
        return Ok(());
    }
    let lines: Vec<_> =
        text.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>().join(" ")).collect();
    Err(Error::formatted(format_args!(
        "{field}: the user namespace that is joined has other ones ({}): write these, or leave them out",
        lines.join(", ")
    )))
}

/// The lines of a map, sorted.
fn parse_map(text: &str) -> Option<Vec<[u32; 3]>> {
    let line = |line: &str| {
        let numbers: Vec<u32> =
            line.split_ascii_whitespace().map(|number| number.parse().ok()).collect::<Option<_>>()?;
        numbers.try_into().ok()
    };
    let mut map: Vec<[u32; 3]> = text.lines().map(line).collect::<Option<_>>()?;
    order::sort(&mut map, |left, right| left < right);
    Some(map)
}

fn run_helper(name: &str, granted_in: &str, pid: i32, map: &[IdMapping]) -> Result<()> {
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
    program::run(&path, &arguments, &[]).map(drop).map_err(|error| {
        Error::formatted(format_args!("{name}: {error}: ranges are granted in {granted_in}"))
            .or_kind(Kind::NotPermitted)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_as_the_kernel_writes_them() {
        let text = "      1000     200000          1\n         0     100000       1000\n";
        assert_eq!(parse_map(text), Some(vec![[0, 100_000, 1000], [1000, 200_000, 1]]));
        assert_eq!(parse_map(""), Some(vec![]));
        assert_eq!(parse_map("0 1\n"), None);
    }
}
