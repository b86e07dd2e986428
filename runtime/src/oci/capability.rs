//! The names of capabilities, and sets of them: capabilities(7).

/// The kernel's names by number, from `linux/capability.h` of Linux 6.18.
pub const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The five sets of a process; bit n is capability n.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CapabilitySets {
    /// What can be gained at all.
    pub bounding: u64,
    /// What is in force.
    pub effective: u64,
    /// What is combined with a file's inheritable set.
    pub inheritable: u64,
    /// What may be made effective.
    pub permitted: u64,
    /// What is kept across execve of an ordinary file.
    pub ambient: u64,
}

/// The number of a capability by its name (`CAP_CHOWN`, in any case); `None` if the name is unknown.
pub fn number(name: &str) -> Option<u32> {
    (0u32..).zip(NAMES).find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(number, _)| number)
}

/// The names in a set, lowest number first.
pub fn names(set: u64) -> impl Iterator<Item = &'static str> {
    NAMES.into_iter().enumerate().filter(move |(number, _)| set >> number & 1 == 1).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_kernels() {
        use linux_raw_sys::general as kernel;
        for (name, expected) in [
            ("CAP_CHOWN", kernel::CAP_CHOWN),
            ("CAP_NET_BIND_SERVICE", kernel::CAP_NET_BIND_SERVICE),
            ("cap_sys_admin", kernel::CAP_SYS_ADMIN),
            ("CAP_MKNOD", kernel::CAP_MKNOD),
            ("CAP_AUDIT_READ", kernel::CAP_AUDIT_READ),
            ("Cap_Checkpoint_Restore", kernel::CAP_CHECKPOINT_RESTORE),
        ] {
            assert_eq!(number(name), Some(expected), "{name}");
        }
        assert_eq!(kernel::CAP_LAST_CAP as usize, NAMES.len() - 1);
        assert_eq!(number("CAP_NONE"), None);
        assert_eq!(number("CHOWN"), None);
    }

    #[test]
    fn names_of_a_set() {
        assert_eq!(names(1 | 1 << 40).collect::<Vec<_>>(), ["CAP_CHOWN", "CAP_CHECKPOINT_RESTORE"]);
    }
}
