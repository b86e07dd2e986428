//! Delegation: gives the container's cgroup to its user, who may then make cgroups below it. Sources:
//! config-linux.md, "Cgroup ownership"; cgroups(7), "Cgroups delegation".

use rustix::fs::{AtFlags, chownat};
use rustix::io::Errno;
use rustix::process::Uid;

use super::Cgroup;
use crate::error::{Context, Result};
use crate::validate::{NamespaceKind, ValidSpec};

/// Lists the files that are to be given to the user, one name per line.
const DELEGATED: &str = "/sys/kernel/cgroup/delegate";

/// The list to use if the kernel has no such file (before Linux 4.15).
const DELEGATED_ALWAYS: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";

/// The user who gets the cgroup, by the uid on the host: the program's user, if the program sees its cgroup
/// as the root of a cgroup namespace of its own and may write to it.
pub fn delegate_of(spec: &ValidSpec<'_>) -> Option<Uid> {
    let is_made = |kind| spec.namespace(kind).is_some_and(|namespace| namespace.path.is_none());
    let writable = spec.mounts.iter().any(|mount| {
        let is_cgroup = matches!(mount.kind.as_deref(), Some("cgroup" | "cgroup2"));
        is_cgroup
            && &*mount.destination == "/sys/fs/cgroup"
            && !mount.options.iter().any(|option| &**option == "ro")
    });
    let uid = spec.process.user.uid;
    let host_uid = match spec.namespace(NamespaceKind::User) {
        None => Some(uid),
        Some(_) => spec.host_uid(uid),
    };
    host_uid.filter(|uid| !uid.is_root() && writable && is_made(NamespaceKind::Cgroup))
}

impl Cgroup {
    /// Gives the cgroup to a user of the host: its directory, and the files that the kernel lists for this
    /// purpose.
    ///
    /// # Errors
    /// The owner of the directory or of a file cannot be changed.
    pub fn delegate(&self, uid: Uid) -> Result<()> {
        let listed = std::fs::read_to_string(DELEGATED).unwrap_or_else(|_| DELEGATED_ALWAYS.to_string());
        for name in listed.lines().chain([""]) {
            match chownat(self.fd(), name, Some(uid), None, AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW) {
                // A missing file belongs to a controller that is off.
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => {
                    return Err(errno)
                        .context(|| format!("give cgroup {} to user {uid}: chown {name:?}", self.path()));
                }
            }
        }
        Ok(())
    }
}
