//! The caller's rights: capabilities, id ranges and their helpers, the state folder, security modules, the
//! seed namespace.

use std::ffi::CString;
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, access, accessat};
use rustix::process::Uid;

use super::Availability::{No, Partly};
use super::{Finding, User, read};
use crate::host::seed;
use crate::oci::capability;
use crate::state::Root;
use crate::sys::surroundings;

pub fn look(user: User, root: &Root, findings: &mut Vec<Finding>) {
    findings.push(capabilities(user));
    findings.push(helpers(user));
    findings.push(ranges(user));
    findings.push(state_folder(root));
    findings.push(security_modules());
    findings.push(seed_namespace(user));
}

fn capabilities(user: User) -> Finding {
    const WHAT: &str = "capabilities";
    let last = read("/proc/sys/kernel/cap_last_cap").and_then(|text| text.parse().ok()).unwrap_or(40u32);
    let full = u64::MAX >> (63 - last.min(63));
    let missing = full & !user.capabilities;
    if missing == 0 {
        return Finding::yes(WHAT, format!("all {}", full.count_ones()));
    }
    if user.capabilities & full == 0 {
        let detail = "none, as an ordinary user";
        return Finding::yes(WHAT, detail).missing(
            No,
            "Containers get theirs within a user namespace, where they do not reach the host.",
            "Run as root if a container needs rights over the host.",
        );
    }
    Finding::yes(WHAT, format!("missing: {}", name(missing).join(", "))).missing(
        Partly,
        "Containers get those of their capabilities that are here, and setting up some of them may fail.",
        "Run outside of the sandbox that has taken them away (see CapBnd in /proc/self/status).",
    )
}

/// The names of the capabilities in a set.
fn name(set: u64) -> Vec<String> {
    (0..64u32)
        .filter(|number| set >> number & 1 == 1)
        .map(|number| {
            capability::NAMES.get(number as usize).map_or(format!("{number}"), |name| name.to_string())
        })
        .collect()
}

fn helpers(user: User) -> Finding {
    const WHAT: &str = "newuidmap, newgidmap";
    let missing: Vec<_> = ["newuidmap", "newgidmap"].into_iter().filter(|name| !is_in_path(name)).collect();
    if missing.is_empty() {
        return Finding::yes(WHAT, "");
    }
    let finding = Finding::yes(WHAT, format!("not in PATH: {}", missing.join(", ")));
    if user.privileged {
        return finding.missing(
            No,
            "Only ordinary users miss them.",
            "Install them for those users (Debian: package uidmap).",
        );
    }
    finding.missing(
        No,
        "A container can have one id, the caller's own.",
        "Install them (Debian: package uidmap).",
    )
}

fn is_in_path(program: &str) -> bool {
    let path = surroundings::search_path().unwrap_or_default();
    std::env::split_paths(path).any(|folder| is_executable(&folder.join(program)))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt as _;
    CString::new(path.as_os_str().as_bytes()).is_ok_and(|path| access(path, Access::EXEC_OK).is_ok())
}

fn ranges(user: User) -> Finding {
    let passwd = read("/etc/passwd").unwrap_or_default();
    let name = user_name(&passwd, user.uid);
    let describe = |file: &str| {
        let ranges = parse_ranges(&read(file).unwrap_or_default(), user.uid, name);
        let ranges: Vec<_> = ranges.iter().map(|(first, count)| format!("{count} from {first}")).collect();
        (!ranges.is_empty()).then(|| format!("{file}: {}", ranges.join(", ")))
    };
    let (uids, gids) = (describe("/etc/subuid"), describe("/etc/subgid"));
    const WHAT: &str = "id ranges of this user";
    let complete = uids.is_some() && gids.is_some();
    let details: Vec<_> = uids.into_iter().chain(gids).collect();
    if user.privileged && !complete {
        return Finding::yes(WHAT, "root needs none: it may map any ids");
    }
    let detail =
        if details.is_empty() { "none in /etc/subuid, /etc/subgid".to_string() } else { details.join("; ") };
    let finding = Finding::yes(WHAT, detail);
    if complete {
        return finding;
    }
    let User { uid, gid, .. } = user;
    finding.missing(
        if details.is_empty() { No } else { Partly },
        format!("A container of this user has no ids but {uid} and {gid}, so that images with several owners do not unpack."),
        "Let root grant them: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER.",
    )
}

/// The name of a user in the text of /etc/passwd: passwd(5).
pub(super) fn user_name(passwd: &str, uid: Uid) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid.as_raw())).then_some(name)
    })
}

/// The ranges of a user, by name or number, in the text of /etc/subuid, each as first id and count:
/// subuid(5).
pub(super) fn parse_ranges(text: &str, uid: Uid, name: Option<&str>) -> Vec<(u32, u32)> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.trim().split(':');
            let owner = fields.next()?;
            let range = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
            (Some(owner) == name || owner.parse() == Ok(uid.as_raw())).then_some(range)
        })
        .collect()
}

/// The folder of containers; it is made with the first container.
fn state_folder(root: &Root) -> Finding {
    const WHAT: &str = "state folder";
    let place = root.path().ancestors().find(|folder| folder.exists());
    let writable =
        place.is_some_and(|folder| accessat(CWD, folder, Access::WRITE_OK, AtFlags::EACCESS).is_ok());
    let finding = Finding::yes(WHAT, root.path().display().to_string());
    if writable {
        return finding;
    }
    finding.missing(
        No,
        "This user may not make it, so that every command needs --root.",
        "Let XDG_RUNTIME_DIR name a folder of the user's own, as a login does (/run/user/UID).",
    )
}

fn security_modules() -> Finding {
    const WHAT: &str = "security modules";
    let Some(list) = read("/sys/kernel/security/lsm") else {
        return Finding::yes(WHAT, "unknown: /sys/kernel/security/lsm cannot be read").missing(
            Partly,
            "A configuration with process.apparmorProfile or process.selinuxLabel is confined only where that module is active.",
            "Mount it: mount -t securityfs securityfs /sys/kernel/security.",
        );
    };
    Finding::yes(WHAT, list.replace(',', ", "))
}

fn seed_namespace(user: User) -> Finding {
    const WHAT: &str = "seed mount namespace";
    let consequence = "Making a container takes longer the more mounts the host has.";
    if !user.privileged {
        return Finding::yes(WHAT, "only root has one").missing(
            No,
            consequence,
            "Run as root if the host has thousands of mounts.",
        );
    }
    match seed::open_pinned() {
        Some(_) => Finding::yes(WHAT, "pinned at /run/pillbox/.seed"),
        None if seed::can_be_made() => Finding::yes(WHAT, "the first container makes it"),
        None => Finding::yes(WHAT, "it cannot be made or pinned").missing(
            No,
            consequence,
            "Let /run/pillbox be a folder that only root may write to, on a file system that is not read-only.",
        ),
    }
}
