//! The machine, as far as a plan depends on it.

use crate::validate::NamespaceKind;

/// What the plan depends on besides the specification.
#[derive(Debug, Clone, Default)]
pub struct Host {
    /// Whether the runtime may mount in its own namespace: then it opens all trees itself.
    pub privileged: bool,
    /// Whether the container may start from the seed mount namespace.
    pub seed: bool,
    /// Whether the runtime's own user namespace is not the first one: as there, devices cannot be made.
    pub in_user_namespace: bool,
    /// Whether nobody in the runtime's user namespace may set groups: user_namespaces(7), /proc/PID/setgroups.
    pub groups_fixed: bool,
    /// The capabilities that the runtime could pass on, bit n for capability n.
    pub capabilities: u64,
    /// Whether a label is wanted of a security module that the kernel certainly does not have.
    pub lacks_apparmor: bool,
    /// See `lacks_apparmor`.
    pub lacks_selinux: bool,
    /// The namespaces to join that are the runtime's own, of those that the configuration would change.
    pub joins_own: Vec<NamespaceKind>,
    /// The runtime's effective ids.
    pub uid: u32,
    /// See `uid`.
    pub gid: u32,
}
