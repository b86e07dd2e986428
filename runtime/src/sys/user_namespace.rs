//! The runtime's user namespace.

use std::os::fd::AsFd;

use linux_raw_sys::general::CLONE_NEWNS;
use pillbox_init::sys::unshare_namespaces;
use rustix::process::PidfdFlags;

use crate::sys;
use crate::sys::process_end::children_may_be_collected;

/// Whether this process is in another user namespace than the initial one, as far as it can be told. Its root
/// is then some user's root (Podman's, for an ordinary user), but not the machine's.
pub fn is_own() -> bool {
    const PROC_USER_INIT_INO: u64 = 0xefff_fffd;
    let process = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty());
    let asked = process.and_then(|process| sys::user_namespace_of(process.as_fd()));
    // /proc takes ten times as long, but works before Linux 6.11 as well.
    let status = match asked {
        Ok(namespace) => rustix::fs::fstat(namespace),
        Err(_) => rustix::fs::stat(c"/proc/self/ns/user"),
    };
    status.is_ok_and(|status| status.st_ino != PROC_USER_INIT_INO)
}

/// Gives the command a mount namespace of its own, if it is root only in a user namespace and its mount
/// namespace belongs to another one above (`unshare -r`): such a root cannot clone mount trees there. A
/// program that embeds the runtime stays where it is.
pub fn leave_mounts_above() -> bool {
    let is_command = !children_may_be_collected();
    is_command && rustix::process::geteuid().is_root() && is_own() && unshare_namespaces(CLONE_NEWNS).is_ok()
}
