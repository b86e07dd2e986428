//! The namespaces of a running container, for processes that enter them.

use std::os::fd::OwnedFd;

use crate::error::{Context, Result};
use crate::validate::{NamespaceKind, ValidSpec};

/// CLONE_NEW* bits of the namespaces that init enters before the first operation of its plan: all those of
/// the container except for the time namespace.
pub(super) fn namespace_flags(spec: &ValidSpec<'_>) -> u32 {
    let early = spec.namespaces.iter().filter(|namespace| namespace.kind != NamespaceKind::Time);
    early.fold(0, |flags, namespace| flags | namespace.kind.clone_flag())
}

/// A duplicate of the pidfd, for a plan that enters the container's time namespace; `None` if the container
/// has none.
pub(crate) fn time_namespace_of(spec: &ValidSpec<'_>, process: &OwnedFd) -> Result<Option<OwnedFd>> {
    spec.namespace(NamespaceKind::Time)
        .map(|_| rustix::io::fcntl_dupfd_cloexec(process, 3).context(|| "duplicate a pidfd"))
        .transpose()
}
