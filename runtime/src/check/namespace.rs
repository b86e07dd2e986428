//! Namespaces: whether each kind can be made and used, and what limits them; overlayfs.

use linux_raw_sys::general as raw;
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags};

use super::Availability::{No, Partly};
use super::{Finding, User, read, word};
use crate::sys;
use crate::validate::NamespaceKind;

/// Each kind with the name of its limit below /proc/sys/user, and what follows if containers cannot have one.
const KINDS: [(NamespaceKind, &str, &str); 8] = [
    (
        NamespaceKind::User,
        "user",
        "Containers cannot have a user namespace, without which an ordinary user has none.",
    ),
    (NamespaceKind::Mount, "mnt", "No container can be made: each has a mount namespace of its own."),
    (NamespaceKind::Pid, "pid", "Containers must share the pid namespace with the host."),
    (NamespaceKind::Network, "net", "Containers must share the network with the host."),
    (NamespaceKind::Ipc, "ipc", "Containers must share System V IPC and message queues with the host."),
    (NamespaceKind::Uts, "uts", "Containers cannot have a hostname of their own."),
    (NamespaceKind::Cgroup, "cgroup", "Containers see the paths of the host's cgroups."),
    (NamespaceKind::Time, "time", "Containers cannot have clocks of their own."),
];

pub fn look(user: User, findings: &mut Vec<Finding>) {
    for (kind, limit, consequence) in KINDS {
        findings.push(namespace(user, kind, limit, consequence));
    }
    findings.push(user_namespace_limits());
    if user.privileged {
        findings.push(own_mounts());
    }
    findings.push(overlay(user));
}

fn namespace(user: User, kind: NamespaceKind, limit: &str, consequence: &'static str) -> Finding {
    let what = format!("{} namespace", kind.name());
    // An ordinary user may make the other kinds only from inside a user namespace.
    let outer = if user.privileged { 0 } else { raw::CLONE_NEWUSER };
    let made = match kind {
        NamespaceKind::Mount => sys::probe(outer | kind.clone_flag(), mount_tmpfs),
        // Not in the clone itself: that would change clock pages that the caller shares.
        NamespaceKind::Time => {
            sys::probe(outer, || pillbox_init::sys::unshare_namespaces(raw::CLONE_NEWTIME))
        }
        _ => sys::probe(outer | kind.clone_flag(), || Ok(())),
    };
    let required = kind == NamespaceKind::Mount || kind == NamespaceKind::User && !user.privileged;
    let finding = match made {
        Ok(()) if outer == 0 || kind == NamespaceKind::User => Finding::yes(what, ""),
        Ok(()) => Finding::yes(what, "within a user namespace"),
        Err(errno) => {
            Finding::yes(what, word(errno)).missing(No, consequence, remedy(errno, kind, limit, outer != 0))
        }
    };
    Finding { required, ..finding }
}

/// What every container needs: a file system in a mount namespace of its own.
fn mount_tmpfs() -> Result<(), Errno> {
    let context = rustix::mount::fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_create(&context)?;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).map(drop)
}

fn remedy(errno: Errno, kind: NamespaceKind, limit: &str, in_user_namespace: bool) -> String {
    match errno {
        Errno::NOSPC => format!("Raise the limit: sysctl user.max_{limit}_namespaces=16384."),
        Errno::INVAL => format!("Use a kernel with {}.", config_option(kind)),
        Errno::PERM | Errno::ACCESS if in_user_namespace => {
            "Allow user namespaces: see the row \"limits of user namespaces\"; an outer sandbox may forbid them, too."
                .to_string()
        }
        _ => "Run as root, outside of sandboxes that forbid clone with CLONE_NEW* flags.".to_string(),
    }
}

fn config_option(kind: NamespaceKind) -> &'static str {
    match kind {
        NamespaceKind::User => "CONFIG_USER_NS",
        NamespaceKind::Pid => "CONFIG_PID_NS",
        NamespaceKind::Network => "CONFIG_NET_NS",
        NamespaceKind::Ipc => "CONFIG_IPC_NS",
        NamespaceKind::Uts => "CONFIG_UTS_NS",
        NamespaceKind::Time => "CONFIG_TIME_NS",
        NamespaceKind::Cgroup => "CONFIG_CGROUPS",
        NamespaceKind::Mount => "CONFIG_NAMESPACES",
    }
}

/// Without a user namespace in between, the runtime opens the host's trees in its own mount namespace.
fn own_mounts() -> Finding {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let finding = Finding::yes("mounts of the host", "").required();
    match rustix::mount::open_tree(CWD, c"/", flags) {
        Ok(_) => finding,
        Err(errno) => {
            let remedy = match errno {
                Errno::NOSPC => "Raise the limit: sysctl user.max_mnt_namespaces=16384 (or fs.mount-max).",
                _ => "Enter a mount namespace of your own first: unshare --mount pillbox ….",
            };
            let consequence =
                "Root file systems and bind mounts cannot be opened, and no container can be made.";
            Finding { detail: word(errno).into(), ..finding }.missing(No, consequence, remedy)
        }
    }
}

/// The administrator's limits on user namespaces of ordinary users.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Limits {
    /// user.max_user_namespaces; the kernel's default is half the maximum number of threads.
    pub maximum: Option<String>,
    /// kernel.unprivileged_userns_clone, in the kernels of Debian and Arch.
    pub clone: Option<String>,
    /// kernel.apparmor_restrict_unprivileged_userns, in Ubuntu's kernel.
    pub apparmor: Option<String>,
}

fn user_namespace_limits() -> Finding {
    judge_limits(&Limits {
        maximum: read("/proc/sys/user/max_user_namespaces"),
        clone: read("/proc/sys/kernel/unprivileged_userns_clone"),
        apparmor: read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
    })
}

pub(super) fn judge_limits(limits: &Limits) -> Finding {
    let Limits { maximum, clone, apparmor } = limits;
    let mut details = Vec::new();
    for (name, value) in [
        ("user.max_user_namespaces", maximum),
        ("kernel.unprivileged_userns_clone", clone),
        ("kernel.apparmor_restrict_unprivileged_userns", apparmor),
    ] {
        details.extend(value.as_ref().map(|value| format!("{name} is {value}")));
    }
    let finding = Finding::yes("limits of user namespaces", details.join(", "));
    let is = |value: &Option<String>, word: &str| value.as_deref() == Some(word);
    if is(maximum, "0") {
        let remedy = "Raise it: sysctl user.max_user_namespaces=16384.";
        return finding.missing(
            No,
            "Nobody can make a user namespace, so ordinary users have no containers.",
            remedy,
        );
    }
    if is(clone, "0") {
        let remedy = "Allow it: sysctl kernel.unprivileged_userns_clone=1.";
        return finding.missing(
            Partly,
            "Only root can make user namespaces, so ordinary users have no containers.",
            remedy,
        );
    }
    if is(apparmor, "1") {
        let remedy = "Give pillbox an AppArmor profile with \"userns,\", or sysctl kernel.apparmor_restrict_unprivileged_userns=0.";
        let consequence =
            "User namespaces of ordinary users give no rights, unless an AppArmor profile says so.";
        return finding.missing(Partly, consequence, remedy);
    }
    finding
}

fn overlay(user: User) -> Finding {
    const WHAT: &str = "overlayfs";
    let flags = |user_namespace: bool| raw::CLONE_NEWNS | if user_namespace { raw::CLONE_NEWUSER } else { 0 };
    let (direct, within) = (
        user.privileged.then(|| sys::probe(flags(false), ask_overlay)),
        sys::probe(flags(true), ask_overlay),
    );
    let finding = |detail: &'static str| Finding::yes(WHAT, detail);
    match (direct, within) {
        (Some(Ok(())), Ok(())) => finding("also in a user namespace"),
        (Some(Ok(())), Err(_)) => finding("not in a user namespace").missing(
            Partly,
            "Containers in user namespaces of ordinary users cannot have overlay mounts.",
            "Use Linux 5.11 or later, and allow user namespaces.",
        ),
        (None, Ok(())) => finding("in a user namespace"),
        (None | Some(Err(_)), Err(errno)) | (Some(Err(errno)), Ok(())) => {
            let remedy = match errno {
                Errno::NODEV => "Load the module: modprobe overlay (CONFIG_OVERLAY_FS).",
                _ => "Use Linux 5.11 or later, and allow user namespaces, or run as root.",
            };
            Finding::yes(WHAT, word(errno)).missing(
                No,
                "Mounts of type overlay and `pillbox try` do not work; engines copy whole images instead.",
                remedy,
            )
        }
    }
}

/// Tries an overlay without folders: the kernel checks the caller's rights before it notices that the lower
/// folder is missing.
fn ask_overlay() -> Result<(), Errno> {
    let context = rustix::mount::fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    match rustix::mount::fsconfig_create(&context) {
        Err(Errno::INVAL) => Ok(()),
        answer => answer,
    }
}
