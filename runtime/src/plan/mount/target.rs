//! The targets of mounts, and what may lie on the way there.

use pillbox_init::plan::TargetRule;

use super::option::Options;
use crate::error::{Error, Result};
use crate::oci::spec::Mount;
use crate::text::order;

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

/// An absolute path without doubled or trailing slashes; a relative one begins at the root.
pub fn normalize(path: &str) -> String {
    let mut normal = String::with_capacity(path.len() + 1);
    for component in path.split('/').filter(|component| !component.is_empty() && *component != ".") {
        normal.push('/');
        normal.push_str(component);
    }
    if normal.is_empty() { "/".to_string() } else { normal }
}

/// For each of these normalized paths, whether a later one in the list lies below it. In sorted order, the
/// paths below a path come right after it.
pub(super) fn covered_later(destinations: &[String]) -> Vec<bool> {
    let key = |index: usize| destinations[index].bytes().map(|byte| if byte == b'/' { 0 } else { byte });
    let mut order: Vec<usize> = (0..destinations.len()).collect();
    order::sort(&mut order, |left, right| key(*left).lt(key(*right)));
    let mut last_below = vec![0; destinations.len()];
    let mut above: Vec<usize> = Vec::new();
    for index in order.iter().copied().map(Some).chain([None]) {
        while let Some(&top) = above.last()
            && !index.is_some_and(|index| is_below(&destinations[index], &destinations[top]))
        {
            above.pop();
            if let Some(&folder) = above.last() {
                last_below[folder] = last_below[folder].max(last_below[top]).max(top);
            }
        }
        above.extend(index);
    }
    // Of equal paths only the last has been compared with the paths below them.
    for pair in order.windows(2).rev() {
        if destinations[pair[0]] == destinations[pair[1]] {
            last_below[pair[0]] = last_below[pair[0]].max(last_below[pair[1]]);
        }
    }
    last_below.iter().enumerate().map(|(index, last)| *last > index).collect()
}

fn is_below(path: &str, folder: &str) -> bool {
    let rest = if folder == "/" { Some(path) } else { path.strip_prefix(folder) };
    rest.is_some_and(|rest| rest.starts_with('/') && rest != "/")
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
    fn what_is_covered_later_is_known_as_one_by_one() {
        let lists = [
            &["/a", "/a/b/c", "/a/b", "/ab", "/", "/a"][..],
            &["/", "/"],
            &["/x/y", "/x", "/x/y/z", "/x/y"],
            &["/sys", "/sys/fs/cgroup", "/sys"],
            &["/a/b"],
            &[],
        ];
        for list in lists {
            let list: Vec<_> = list.iter().map(ToString::to_string).collect();
            let one_by_one = |(index, folder): (usize, &String)| {
                list[index + 1..].iter().any(|later| is_below(later, folder))
            };
            let expected: Vec<_> = list.iter().enumerate().map(one_by_one).collect();
            assert_eq!(covered_later(&list), expected, "{list:?}");
        }
    }

    #[test]
    fn paths_are_normal() {
        assert_eq!(normalize("//dev///pts/"), "/dev/pts");
        assert_eq!(normalize("tmp"), "/tmp");
        assert_eq!(normalize("/"), "/");
        assert!(is_below("/dev/pts", "/dev") && !is_below("/device", "/dev") && !is_below("/dev", "/dev"));
    }
}
