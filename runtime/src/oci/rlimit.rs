//! The names of resource limits: getrlimit(2).

/// The kernel's names by number, the same on all architectures that pillbox runs on.
pub const NAMES: [&str; 16] = [
    "RLIMIT_CPU",
    "RLIMIT_FSIZE",
    "RLIMIT_DATA",
    "RLIMIT_STACK",
    "RLIMIT_CORE",
    "RLIMIT_RSS",
    "RLIMIT_NPROC",
    "RLIMIT_NOFILE",
    "RLIMIT_MEMLOCK",
    "RLIMIT_AS",
    "RLIMIT_LOCKS",
    "RLIMIT_SIGPENDING",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
];

/// The number of a resource by its name (`RLIMIT_NOFILE`); `None` if the name is unknown.
pub fn number(name: &str) -> Option<u32> {
    (0..).zip(NAMES).find(|(_, known)| *known == name).map(|(number, _)| number)
}

/// The name of a resource by its number.
pub fn name(resource: u32) -> Option<&'static str> {
    NAMES.get(resource as usize).copied()
}

#[cfg(test)]
mod tests {
    use linux_raw_sys::general as kernel;

    use super::*;

    #[test]
    fn numbers_are_the_kernels() {
        for (name, expected) in [
            ("RLIMIT_CPU", kernel::RLIMIT_CPU),
            ("RLIMIT_FSIZE", kernel::RLIMIT_FSIZE),
            ("RLIMIT_DATA", kernel::RLIMIT_DATA),
            ("RLIMIT_STACK", kernel::RLIMIT_STACK),
            ("RLIMIT_CORE", kernel::RLIMIT_CORE),
            ("RLIMIT_RSS", kernel::RLIMIT_RSS),
            ("RLIMIT_NPROC", kernel::RLIMIT_NPROC),
            ("RLIMIT_NOFILE", kernel::RLIMIT_NOFILE),
            ("RLIMIT_MEMLOCK", kernel::RLIMIT_MEMLOCK),
            ("RLIMIT_AS", kernel::RLIMIT_AS),
            ("RLIMIT_LOCKS", kernel::RLIMIT_LOCKS),
            ("RLIMIT_SIGPENDING", kernel::RLIMIT_SIGPENDING),
            ("RLIMIT_MSGQUEUE", kernel::RLIMIT_MSGQUEUE),
            ("RLIMIT_NICE", kernel::RLIMIT_NICE),
            ("RLIMIT_RTPRIO", kernel::RLIMIT_RTPRIO),
            ("RLIMIT_RTTIME", kernel::RLIMIT_RTTIME),
        ] {
            assert_eq!(number(name), Some(expected), "{name}");
        }
        assert_eq!(number("RLIMIT_FOO"), None);
    }
}
