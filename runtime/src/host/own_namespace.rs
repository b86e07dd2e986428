//! Finds out whether a namespace that a container joins by path is the runtime's own.

use crate::plan::{Host, hosts_own};
use crate::validate::{NamespaceKind, ValidSpec};

impl Host {
    /// Notes which namespaces that `spec` joins and wants to change are the host's own. If one cannot be
    /// looked at, opening it later gives the error.
    pub fn look_at_joined(&mut self, spec: &ValidSpec<'_>) {
        // Every container changes its mount namespace.
        let changed = hosts_own::changes(spec).map(|(_, kind)| kind).chain([NamespaceKind::Mount]);
        self.joins_own = changed.filter(|kind| is_own(spec, *kind)).collect();
    }
}

fn is_own(spec: &ValidSpec<'_>, kind: NamespaceKind) -> bool {
    let Some(path) = spec.namespace(kind).and_then(|namespace| namespace.path.as_deref()) else {
        return false;
    };
    let name = match kind {
        NamespaceKind::Network => "net",
        NamespaceKind::Mount => "mnt",
        other => other.name(),
    };
    let number = |path: &str| rustix::fs::stat(path).ok().map(|status| (status.st_dev, status.st_ino));
    number(path).is_some_and(|joined| number(&format!("/proc/self/ns/{name}")) == Some(joined))
}
