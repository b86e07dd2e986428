//! The identity of the process and its rights.

use core::ffi::CStr;

use rustix::process::{Gid, Uid};

use super::{Fields, operation};
use crate::wire::{Capabilities, Numbers, Reader, Sink, Value, Wire};

operation! {
    /// prctl(PR_SET_DUMPABLE, 0): no process may look into init before it has become the container's process.
    SetUndumpable {}
    /// prctl(PR_SET_DUMPABLE, 1): processes with the same rights may join its namespaces.
    SetDumpable {}
    /// setsid(2).
    NewSession {}
    /// keyctl(KEYCTL_JOIN_SESSION_KEYRING).
    NewKeyring<'a> {
        /// The keyring's name.
        name: &'a CStr,
    }
    /// prctl(PR_SET_NO_NEW_PRIVS).
    SetNoNewPrivileges {}
    /// seccomp(SECCOMP_SET_MODE_FILTER).
    InstallSeccomp<'a> {
        /// SECCOMP_FILTER_FLAG_* bits.
        flags: u32,
        /// An array of `struct sock_filter`.
        program: &'a [u8],
    }
    /// prctl(PR_CAPBSET_DROP).
    DropBounding {
        /// The capabilities that stay; all others are dropped.
        keep: Capabilities,
    }
    /// setgroups(2).
    SetGroups<'a> {
        /// The supplementary groups.
        groups: Numbers<'a>,
        /// Whether it is ignored that the user namespace denies setgroups(2).
        if_allowed: bool,
    }
    /// setresgid(2), setresuid(2); permitted capabilities survive.
    SetUser {
        /// All three user ids.
        uid: Uid,
        /// All three group ids.
        gid: Gid,
    }
    /// capset(2), prctl(PR_CAP_AMBIENT); read back and compared.
    SetCapabilities {
        /// Those in force.
        effective: Capabilities,
        /// Those that may become effective.
        permitted: Capabilities,
        /// Those that a program with file capabilities may get.
        inheritable: Capabilities,
        /// Those that any program gets.
        ambient: Capabilities,
    }
}
