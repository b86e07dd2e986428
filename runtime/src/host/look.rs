//! Asks the kernel what a plan depends on.

use crate::plan::Host;
use crate::sys::user_namespace;

impl Host {
    /// Asks the kernel what the plan depends on.
    pub fn look() -> Host {
        let capabilities = rustix::thread::capabilities(None).map_or(0, |sets| sets.permitted.bits());
        let has = |capability: u32| capabilities >> capability & 1 == 1;
        let privileged = has(linux_raw_sys::general::CAP_SYS_ADMIN) && rustix::process::geteuid().is_root();
        let in_user_namespace = privileged && user_namespace::is_own();
        Host {
            privileged,
            in_user_namespace,
            groups_fixed: in_user_namespace
                && std::fs::read("/proc/self/setgroups").is_ok_and(|word| word.starts_with(b"deny")),
            // Whether the seed can be entered shows later, and the ordinary copy remains to fall back on.
            // setns(2) requires CAP_SYS_CHROOT for a mount namespace.
            seed: privileged && !in_user_namespace && has(linux_raw_sys::general::CAP_SYS_CHROOT),
            capabilities,
            apparmor_missing: false,
            selinux_missing: false,
            joins_own: Vec::new(),
            uid: rustix::process::geteuid(),
            gid: rustix::process::getegid(),
        }
    }
}
