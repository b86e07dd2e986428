//! Kernel parameters: only those of a namespace that the container has for itself.

use super::namespace::{NamespaceKind, ValidNamespace, find};
use super::text::check_text;
use super::text::reject;
use crate::error::Result;
use crate::oci::spec::json::{Map, Text};

/// The parameters of the IPC namespace, as in `ipc/ipc_sysctl.c`.
const IPC: [&str; 12] = [
    "kernel/auto_msgmni",
    "kernel/msg_next_id",
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/sem_next_id",
    "kernel/shm_next_id",
    "kernel/shm_rmid_forced",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
];

/// The path of a parameter below `/proc/sys`. The first separator in the key decides which one it uses; the
/// other one then is part of a name (`net.ipv4.conf.eno2/100.rp_filter`). See sysctl.d(5).
pub fn sysctl_path(key: &str) -> String {
    match key.find(['.', '/']) {
        Some(first) if key.as_bytes()[first] == b'.' => {
            let swap = |c| match c {
                '.' => '/',
                '/' => '.',
                other => other,
            };
            key.chars().map(swap).collect()
        }
        _ => key.to_string(),
    }
}

/// The kind of namespace that a parameter belongs to.
pub fn sysctl_owner(key: &str) -> Option<NamespaceKind> {
    let path = sysctl_path(key);
    if IPC.contains(&&*path) || path.starts_with("fs/mqueue/") {
        Some(NamespaceKind::Ipc)
    } else if path.starts_with("net/") {
        Some(NamespaceKind::Network)
    } else if path == "kernel/domainname" || path == "kernel/hostname" {
        Some(NamespaceKind::Uts)
    } else if path.starts_with("user/") {
        Some(NamespaceKind::User)
    } else {
        None
    }
}

pub(super) fn validate_sysctl(
    parameters: &Map<'_, Text<'_>>,
    namespaces: &[ValidNamespace<'_>],
    domainname: Option<&str>,
) -> Result<()> {
    for (key, value) in parameters.iter() {
        check_text(format_args!("linux.sysctl"), key)?;
        check_text(format_args!("linux.sysctl.{key}"), value)?;
        let path = sysctl_path(key);
        if path.split('/').any(|component| ["", ".", ".."].contains(&component)) {
            reject!("linux.sysctl: {:?} is not the name of a kernel parameter", &**key);
        }
        let Some(owner) = sysctl_owner(key) else {
            reject!("linux.sysctl: {:?} belongs to no namespace: it would change the host", &**key);
        };
        if find(namespaces, owner).is_none() {
            let owner = owner.name();
            reject!("linux.sysctl: {:?} needs a namespace: add {owner:?} to linux.namespaces", &**key);
        }
        if path == "kernel/hostname" {
            reject!("linux.sysctl: {:?} has a field of its own: write hostname", &**key);
        }
        if let Some(name) = domainname.filter(|name| path == "kernel/domainname" && name != &&**value) {
            reject!(
                "linux.sysctl: {:?} is {:?}, but domainname is {name:?}: leave one out",
                &**key,
                &**value
            );
        }
    }
    Ok(())
}
