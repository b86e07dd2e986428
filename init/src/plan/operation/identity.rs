//! Who the process is and what it may do.

use core::ffi::CStr;

use super::{Fields, operation};
use crate::wire::{Capabilities, Numbers, Reader, Sink, Value, Wire};

operation! {
    /// prctl(PR_SET_DUMPABLE, 0): nothing may look into init before it has become the container's process.
    SetUndumpable {}
    /// prctl(PR_SET_DUMPABLE, 1): who has the same rights may join its namespaces.
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
        /// All others go.
        keep: Capabilities,
    }
    /// setgroups(2).
    SetGroups<'a> {
        /// The supplementary groups.
        groups: Numbers<'a>,
        /// Whether it is no error that the user namespace denies it to everybody.
        if_allowed: bool,
    }
    /// setresgid(2), setresuid(2); permitted capabilities survive.
    SetUser {
        /// All three user ids.
        uid: u32,
        /// All three group ids.
        gid: u32,
    }
    /// capset(2), prctl(PR_CAP_AMBIENT); read back and compared.
    SetCapabilities {
        /// What may be done now.
        effective: Capabilities,
        /// What may become effective.
        permitted: Capabilities,
        /// What a program with file capabilities may get.
        inheritable: Capabilities,
        /// What any program gets.
        ambient: Capabilities,
    }
}
