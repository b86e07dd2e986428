//! Security modules: whether this kernel has those for which a configuration sets labels.
//!
//! A module counts as missing only if that is certain. If the kernel cannot be asked, init tries to set the
//! label and fails.

use crate::plan::Host;
use crate::validate::ValidSpec;

impl Host {
    /// As [`Host::look`], and whether the kernel has the security modules for which `spec` sets labels.
    pub fn look_for(spec: &ValidSpec<'_>) -> Host {
        let is_set = |label: Option<&str>| label.is_some_and(|label| !label.is_empty());
        let selinux = is_set(spec.process.selinux_label.as_deref()) || is_set(spec.mount_label.as_deref());
        Host {
            apparmor_missing: is_set(spec.process.apparmor_profile.as_deref()) && apparmor_missing(),
            selinux_missing: selinux && selinux_missing(),
            ..Host::look()
        }
    }
}

/// A module that the kernel was built without has no folder; one that is turned off says so.
fn apparmor_missing() -> bool {
    match std::fs::read("/sys/module/apparmor/parameters/enabled") {
        Ok(enabled) => enabled.first() == Some(&b'N'),
        // Proves nothing without sysfs.
        Err(error) => {
            error.kind() == std::io::ErrorKind::NotFound && std::fs::metadata("/sys/module").is_ok()
        }
    }
}

/// SELinux registers its file system when it is enabled: filesystems(5).
fn selinux_missing() -> bool {
    std::fs::read_to_string("/proc/filesystems")
        .is_ok_and(|known| !known.lines().any(|line| line.ends_with("\tselinuxfs")))
}
