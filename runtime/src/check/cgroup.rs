//! cgroup v2: where it is mounted, what it can limit, and whether the caller may make cgroups.

use super::Availability::{No, Partly};
use super::{Finding, User, read};
use crate::cgroup::Hierarchy;
use crate::text::mountinfo;

/// The controllers that `linux.resources` has fields for.
const CONTROLLERS: [&str; 7] = ["cpu", "cpuset", "memory", "pids", "io", "hugetlb", "rdma"];

pub fn look(user: User, findings: &mut Vec<Finding>) {
    let v1 = count_v1(&mountinfo::read().unwrap_or_default());
    let hierarchy = match Hierarchy::find() {
        Ok(Some(hierarchy)) => hierarchy,
        Ok(None) | Err(_) => {
            findings.push(absent(v1));
            return;
        }
    };
    let mount = hierarchy.mount().display().to_string();
    findings.push(mounted(&mount, v1));
    let file = |cgroup: &str, name: &str| read(&format!("{mount}{cgroup}/{name}"));
    findings.push(controllers(&file("", "cgroup.controllers").unwrap_or_default(), v1));
    findings.push(writable(user, &hierarchy, &mount, hierarchy.own_cgroup().ok().as_deref(), file));
}

/// How many hierarchies of cgroup v1 a mountinfo has.
pub(super) fn count_v1(mountinfo: &[u8]) -> usize {
    mountinfo::parse(mountinfo).filter(|mount| mount.kind == "cgroup").count()
}

fn absent(v1: usize) -> Finding {
    let detail = if v1 > 0 { "not mounted: this machine has cgroup v1 only" } else { "not mounted" };
    Finding::yes("cgroup v2", detail).missing(
        No,
        "Containers run without limits, and those that ask for limits do not run.",
        "Mount it (mount -t cgroup2 none /sys/fs/cgroup), or boot with systemd.unified_cgroup_hierarchy=1.",
    )
}

fn mounted(mount: &str, v1: usize) -> Finding {
    if v1 == 0 {
        return Finding::yes("cgroup v2", format!("mounted at {mount}"));
    }
    Finding::yes("cgroup v2", format!("mounted at {mount}, beside {v1} hierarchies of cgroup v1 (hybrid)"))
        .missing(
            Partly,
            "Controllers that cgroup v1 uses cannot limit containers.",
            "Boot with systemd.unified_cgroup_hierarchy=1 (systemd), or without mounting cgroup v1.",
        )
}

pub(super) fn controllers(available: &str, v1: usize) -> Finding {
    let has = |name: &str| available.split_whitespace().any(|controller| controller == name);
    let missing: Vec<_> = CONTROLLERS.into_iter().filter(|name| !has(name)).collect();
    let list = if available.is_empty() { "none" } else { available };
    if missing.is_empty() {
        return Finding::yes("cgroup controllers", list.to_string());
    }
    let availability = if missing.len() == CONTROLLERS.len() { No } else { Partly };
    let remedy = if v1 > 0 {
        "Boot with systemd.unified_cgroup_hierarchy=1 (systemd), or without mounting cgroup v1, which may use them."
    } else {
        "Use a kernel that has them compiled in, without cgroup_disable= on its command line."
    };
    Finding::yes("cgroup controllers", format!("{list}; missing: {}", missing.join(", "))).missing(
        availability,
        "A configuration whose limits need a missing controller does not run.",
        remedy,
    )
}

/// Root makes cgroups at the top; other users make them beside or below their own cgroup, if it is delegated
/// to them.
fn writable(
    user: User,
    hierarchy: &Hierarchy,
    mount: &str,
    own: Option<&str>,
    file: impl Fn(&str, &str) -> Option<String>,
) -> Finding {
    const WHAT: &str = "making cgroups";
    if hierarchy.is_delegated("") {
        return Finding::yes(WHAT, format!("below {mount}"));
    }
    let parent = own.map(|own| own.rsplit_once('/').unwrap_or_default().0);
    if let Some(place) = parent.into_iter().chain(own).find(|path| hierarchy.is_delegated(path)) {
        let delegated = file(place, "cgroup.controllers").unwrap_or_default();
        let delegated = if delegated.is_empty() { "no controllers".to_string() } else { delegated };
        return Finding::yes(WHAT, format!("below {mount}{place}, with {delegated}"));
    }
    let finding = Finding::yes(WHAT, format!("{mount} is read-only for this user"));
    // Root of a user namespace is an ordinary user here.
    if user.privileged && !crate::sys::user_namespace::is_own() {
        return finding.missing(
            No,
            "Containers need --cgroup-manager=disabled, and have no limits.",
            "Mount it read-write: mount -o remount,rw on its mount point.",
        );
    }
    finding.missing(
        No,
        "Containers of this user run without a cgroup and cannot have limits.",
        "Run in a delegated cgroup, for example: systemd-run --user --scope -p Delegate=yes pillbox ….",
    )
}
