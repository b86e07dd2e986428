//! Refuses fields that would change a namespace of the host, if the configuration joins it by a path.
//! Validation has refused the same for namespaces that are neither made nor joined.

use super::Host;
use crate::error::{Error, Result};
use crate::validate::{NamespaceKind, ValidSpec, sysctl_owner};

/// The fields that change a namespace, each with the kind of namespace.
pub(crate) fn changes<'s>(spec: &'s ValidSpec<'_>) -> impl Iterator<Item = (&'s str, NamespaceKind)> {
    let fields = [
        (spec.hostname.is_some(), "hostname", NamespaceKind::Uts),
        (spec.domainname.is_some(), "domainname", NamespaceKind::Uts),
        (!spec.net_devices.is_empty(), "linux.netDevices", NamespaceKind::Network),
        (!spec.masked_paths.is_empty(), "linux.maskedPaths", NamespaceKind::Mount),
        (!spec.readonly_paths.is_empty(), "linux.readonlyPaths", NamespaceKind::Mount),
    ];
    let fields = fields.into_iter().filter(|(is_set, ..)| *is_set).map(|(_, field, kind)| (field, kind));
    fields.chain(spec.sysctl.iter().filter_map(|(key, _)| Some((&**key, sysctl_owner(key)?))))
}

/// Refuses the first of them that would change the host.
pub(super) fn refuse(spec: &ValidSpec<'_>, host: &Host) -> Result<()> {
    if host.joins_own.is_empty() {
        return Ok(());
    }
    match changes(spec).find(|(_, kind)| host.joins_own.contains(kind)) {
        None => Ok(()),
        Some((field, kind)) => {
            let sysctl =
                if spec.sysctl.iter().any(|(key, _)| &**key == field) { "linux.sysctl: " } else { "" };
            let kind = kind.name();
            Err(Error::formatted(format_args!(
                "{sysctl}{field}: the {kind} namespace that linux.namespaces joins is the host's own, which it would change: \
                 leave it out, or join another"
            )))
        }
    }
}
