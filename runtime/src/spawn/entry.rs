//! The steps by which init enters its namespaces and its cgroup, and the errors of those that fail.

use std::os::fd::AsRawFd;

use linux_raw_sys::general::{CLONE_NEWCGROUP, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER};
use pillbox_init::plan::EntryStep;
use rustix::io::Errno;

use super::{Opened, SpawnError};
use crate::cgroup::Cgroup;
use crate::error::{Error, Kind, describe_errno};
use crate::plan::Plan;

/// The steps of an init that starts outside the container, in a copy of the seed namespace if `seeded`.
///
/// A privileged runtime can enter every namespace from outside. An ordinary user must enter the user
/// namespace first, to have rights over the others. The cgroup comes before joined user, pid and cgroup
/// namespaces: from inside these it may be out of reach, and processes of a joined pid namespace must not
/// find a descriptor of the host in init.
pub(super) fn steps(plan: &Plan, opened: &Opened, cgroup: Option<&Cgroup>, seeded: bool) -> Vec<EntryStep> {
    let user_first = !rustix::process::geteuid().is_root();
    let is_left = |flags: u32| !(plan.starts_in_user && flags == CLONE_NEWUSER);
    let joined = || {
        let all = opened.joined.iter().map(|(fd, flags)| (fd.as_raw_fd() as u32, *flags));
        all.filter(|(_, flags)| is_left(*flags))
    };
    let is_first = |(_, flags): &(u32, u32)| (*flags == CLONE_NEWUSER) == user_first;
    let enter = joined()
        .filter(is_first)
        .chain(joined().filter(|entry| !is_first(entry)))
        .map(|(descriptor, namespaces)| EntryStep::Enter { descriptor, namespaces });
    let namespaces = plan.namespaces.made_by_clone() & if seeded { !CLONE_NEWNS } else { !0 };
    let entered = joined().fold(0, |all, (_, flags)| all | flags);
    let among_others = plan.starts_in_user
        || entered & (CLONE_NEWUSER | CLONE_NEWPID) != 0
        || (namespaces & CLONE_NEWUSER != 0 && entered != 0);
    let mut cgroup = cgroup.map(|cgroup| cgroup.fd().as_raw_fd() as u32);

    let mut steps = Vec::with_capacity(opened.joined.len() + 3);
    if cgroup.is_some() && entered & (CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWCGROUP) != 0 {
        steps.push(EntryStep::Clone { namespaces: 0, cgroup: cgroup.take() });
    }
    if among_others {
        steps.push(EntryStep::SetUndumpable);
    }
    steps.extend(enter);
    if among_others || namespaces != 0 || cgroup.is_some() {
        steps.push(EntryStep::Clone { namespaces, cgroup });
    }
    steps
}

/// The error of an init that could not take the step with this index.
pub(super) fn word_failure(steps: &[EntryStep], index: u32, errno: Errno) -> SpawnError {
    let cause = describe_errno(errno);
    let (namespaces, cgroup) = match steps.get(index as usize) {
        Some(EntryStep::Clone { namespaces, cgroup }) => (*namespaces, *cgroup),
        _ => {
            return SpawnError::Other(
                Error::formatted(format_args!("join namespaces: {cause}")).caused_by(errno),
            );
        }
    };
    if cgroup.is_some()
        && matches!(errno, Errno::ACCESS | Errno::BUSY | Errno::NODEV | Errno::NOENT | Errno::OPNOTSUPP)
    {
        let hint = match errno {
            Errno::ACCESS => {
                ": no cgroup above both it and this process's own may be written to by this user: start it in \
                 `systemd-run --user --scope`, or below the same delegated cgroup"
            }
            Errno::BUSY => {
                ": it passes controllers on to cgroups below, and can have no processes of its own"
            }
            _ => "",
        };
        return SpawnError::Cgroup {
            errno,
            error: Error::formatted(format_args!("clone into the container's cgroup: {cause}{hint}"))
                .caused_by(errno)
                .or_kind(Kind::Cgroup),
        };
    }
    let hint = match errno {
        Errno::NOSPC => ": a limit below /proc/sys/user is reached (max_user_namespaces and its like)",
        Errno::PERM if namespaces & CLONE_NEWUSER != 0 => {
            ": user namespaces may be disabled (sysctl kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)"
        }
        Errno::NOSYS => ": the kernel needs clone3 (Linux 5.7), or an outer sandbox forbids it",
        Errno::NOMEM
            if steps.iter().any(
                |step| matches!(step, EntryStep::Enter { namespaces, .. } if namespaces & CLONE_NEWPID != 0),
            ) =>
        {
            ": the pid namespace that is joined may have ended"
        }
        Errno::AGAIN => ": too many processes (RLIMIT_NPROC, pids.max)",
        _ => "",
    };
    let error = Error::formatted(format_args!("clone into new namespaces: {cause}{hint}"));
    SpawnError::Other(super::refused_clone(error, errno))
}
