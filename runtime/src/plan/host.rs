//! What a plan depends on besides the specification: the machine and the caller's rights.

use rustix::process::{Gid, Uid};

use crate::validate::NamespaceKind;

/// The machine and the caller's rights, as far as a plan depends on them.
#[derive(Debug, Clone)]
pub struct Host {
    /// Whether the runtime may mount in its own namespace; if so, it opens all trees itself.
    pub privileged: bool,
    /// Whether the container may start from the seed mount namespace.
    pub seed: bool,
    /// Whether the runtime's user namespace is not the initial one, so that devices cannot be made.
    pub in_user_namespace: bool,
    /// Whether the runtime's user namespace forbids setgroups(2): user_namespaces(7), /proc/PID/setgroups.
    pub groups_fixed: bool,
    /// The capabilities that the runtime could pass on, bit n for capability n.
    pub capabilities: u64,
    /// Whether the configuration has a label for AppArmor, and the kernel certainly does not have that
    /// module.
    pub apparmor_missing: bool,
    /// The same for SELinux.
    pub selinux_missing: bool,
    /// The namespaces that the configuration joins and would change, and that are the runtime's own.
    pub joins_own: Vec<NamespaceKind>,
    /// The runtime's effective ids.
    pub uid: Uid,
    /// See `uid`.
    pub gid: Gid,
}

impl Default for Host {
    fn default() -> Self {
        Host {
            privileged: false,
            seed: false,
            in_user_namespace: false,
            groups_fixed: false,
            capabilities: 0,
            apparmor_missing: false,
            selinux_missing: false,
            joins_own: Vec::new(),
            uid: Uid::ROOT,
            gid: Gid::ROOT,
        }
    }
}
