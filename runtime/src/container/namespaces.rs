//! The namespaces of a container that runs, for those who enter them.

use std::os::fd::OwnedFd;

use crate::error::{Context, Result};
use crate::validate::{NamespaceKind, ValidSpec};

/// CLONE_NEW* bits of the namespaces that init enters before the first operation of its plan: those that the container has
/// of its own, but for the time namespace.
pub(super) fn namespace_flags(spec: &ValidSpec<'_>) -> u32 {
    let early = spec.namespaces.iter().filter(|namespace| namespace.kind != NamespaceKind::Time);
    early.fold(0, |flags, namespace| flags | namespace.kind.clone_flag())
}

/// The pidfd again, for a plan that enters the container's time namespace.
pub(crate) fn time_namespace_of(spec: &ValidSpec<'_>, process: &OwnedFd) -> Result<Option<OwnedFd>> {
    spec.namespace(NamespaceKind::Time)
        .map(|_| rustix::io::fcntl_dupfd_cloexec(process, 3).context(|| "duplicate a pidfd"))
        .transpose()
}
