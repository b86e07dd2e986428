//! Where a mount goes, and what may lie on the way there.

use pillbox_init::plan::TargetRule;

use super::option::Options;
use crate::error::{Error, Result};
use crate::spec::Mount;

/// Files of procfs that lxcfs and others may replace; nothing else is mounted inside /proc.
const REPLACEABLE_IN_PROC: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/net/dev",
    "/proc/sys/kernel/ns_last_pid",
];

/// An absolute path without doubled or trailing slashes; a relative one is taken from the root.
pub fn normalize(path: &str) -> String {
    let mut normal = String::with_capacity(path.len() + 1);
    for component in path.split('/').filter(|component| !component.is_empty() && *component != ".") {
        normal.push('/');
        normal.push_str(component);
    }
    if normal.is_empty() { "/".to_string() } else { normal }
}

pub(super) fn is_below(path: &str, folder: &str) -> bool {
    folder == "/" || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// Nothing may cover procfs or parts of it: what init and the program write there must arrive.
pub(super) fn target_rule(
    field: &str,
    destination: &str,
    mount: &Mount<'_>,
    options: &Options<'_>,
) -> Result<TargetRule> {
    let kind = mount.kind.as_deref().unwrap_or_default();
    if destination == "/" && options.copy_up {
        return Err(Error::formatted(format_args!(
            "{field}.options: \"tmpcopyup\" is not for \"/\": the whole root would be copied"
        )));
    }
    if REPLACEABLE_IN_PROC.contains(&destination) && options.bind {
        return Ok(TargetRule::InsideProc);
    }
    if is_below(destination, "/proc") || (destination == "/proc" && kind != "proc" && !options.bind) {
        return Err(Error::formatted(format_args!(
            "{field}.destination: {destination:?} lies in /proc: only procfs itself may be mounted there, and single files such as /proc/cpuinfo"
        )));
    }
    if destination == "/proc" && options.bind {
        return Ok(TargetRule::Procfs);
    }
    let kernel_file_system = destination == "/sys" || (!options.bind && matches!(kind, "proc" | "sysfs"));
    Ok(match (kernel_file_system, options.target_nofollow && options.bind) {
        (true, _) => TargetRule::NoSymlinks,
        (_, true) => TargetRule::NoFollow,
        _ => TargetRule::Ordinary,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normal() {
        assert_eq!(normalize("//dev///pts/"), "/dev/pts");
        assert_eq!(normalize("tmp"), "/tmp");
        assert_eq!(normalize("/"), "/");
        assert!(is_below("/dev/pts", "/dev") && !is_below("/device", "/dev") && !is_below("/dev", "/dev"));
    }
}
