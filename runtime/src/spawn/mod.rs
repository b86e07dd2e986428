//! From a plan to a running init: open what it needs, clone, talk to it until it is ready.

mod init;
mod memfd;
mod opened;
mod report;

use std::ffi::{CString, c_char};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use linux_raw_sys::general::{CLONE_NEWPID, CLONE_NEWUSER};
use pillbox_init::plan::NEVER_OPEN;
use rustix::io::Errno;

use self::memfd::{InitFile, plan_file};
use self::opened::Channel;
use crate::cgroup::Cgroup;
use crate::error::{Error, describe_errno};
use crate::plan::{Descriptor, Entry, Plan};
use crate::sys::{self, Child, ChildStep};
use crate::{network, oom_score};

pub use init::Init;
pub(crate) use memfd::{InMemory, try_in_memory};
pub(crate) use opened::open_namespace;
pub use opened::{NewNetwork, Opened, open};
pub use report::{Message, receive, word_late_report};

/// Why there is no init.
pub enum SpawnError {
    /// The seed namespace could not be entered: the ordinary copy may serve.
    Seed,
    /// The caller may not start processes in the cgroup from where it is itself: clone(2), `EACCES`.
    Cgroup(Error),
    /// Anything else.
    Other(Error),
}

impl From<Error> for SpawnError {
    fn from(error: Error) -> Self {
        SpawnError::Other(error)
    }
}

/// Clones init into its namespaces and its cgroup. It runs the plan up to the first answer that it waits for.
pub fn spawn(
    plan: &Plan,
    opened: &mut Opened,
    seed: Option<&OwnedFd>,
    listener: Option<&OwnedFd>,
    cgroup: Option<&Cgroup>,
) -> Result<Init, SpawnError> {
    let new = match opened.network.take() {
        // One has been made for an init that there is not.
        None if plan.namespaces.network_meanwhile => Some(NewNetwork::begin()?),
        new => new,
    };
    let (network, channel) = match new {
        Some(NewNetwork { making, channel }) => (Some(making), channel),
        None => (None, Channel::open()?),
    };
    let Channel { ours: channel, theirs } = channel;
    let mut numbers = Vec::with_capacity(opened.descriptors.len());
    for (descriptor, fd) in plan.descriptors.iter().zip(&opened.descriptors) {
        let fd = match descriptor {
            Descriptor::Listener => listener,
            // Init gets the tree, never the place.
            Descriptor::Tree { late: Some(_), .. } => None,
            _ => fd.as_ref(),
        };
        // An optional tree that is not there: init gets a number that is never open.
        numbers.push(fd.map_or(NEVER_OPEN, |fd| fd.as_raw_fd() as u32));
    }
    let entry = entry_of(plan, opened);
    let init = InitFile::open(entry.enter.is_empty() || !rustix::process::geteuid().is_root())?;
    let bytes = plan.encode(theirs.as_raw_fd() as u32, &numbers, &entry);
    let plan_file = plan_file(&bytes)?;

    let mut keep: Vec<i32> = vec![theirs.as_raw_fd(), plan_file.as_raw_fd()];
    keep.extend(numbers.iter().filter(|number| **number != NEVER_OPEN).map(|number| *number as i32));
    keep.extend(opened.joined.iter().map(|(fd, _)| fd.as_raw_fd()));
    keep.extend(listener.map(AsRawFd::as_raw_fd));
    let number = CString::new(plan_file.as_raw_fd().to_string()).unwrap_or_default();
    let arguments: [*const c_char; 3] = [c"pillbox-init".as_ptr(), number.as_ptr(), std::ptr::null()];
    let namespaces = if entry.fork.is_some() { 0 } else { plan.namespaces.made_by_clone() };
    let mut child = Child::new(init.as_fd(), &arguments, &keep);
    child.seed = if plan.from_seed { seed.map(AsFd::as_fd) } else { None };
    // What the child makes from the seed it must not make in the clone as well.
    child.namespaces =
        if child.seed.is_some() { namespaces & !linux_raw_sys::general::CLONE_NEWNS } else { namespaces };
    child.ambient = namespaces & CLONE_NEWUSER != 0;
    child.preserve = plan.preserve_fds;
    child.stdio = &opened.stdio;
    // On its way into a user namespace init is not dumpable, and only root may write to its files in /proc then.
    let joins_user = entry.enter.iter().any(|[_, flags]| flags & CLONE_NEWUSER != 0);
    let inherited = plan.oom_score_adj.filter(|_| joins_user && !rustix::process::geteuid().is_root());
    let held = inherited.map(oom_score::Held::at).transpose()?;
    child.network = network.as_ref().map(network::Making::thread);
    // Until then init and that thread are to have two processors for themselves: both take longer than what is left to do.
    let mut made = Ok(());
    let mut wait = || made = network.as_ref().map_or(Ok(()), network::Making::finish);
    let meanwhile: Option<&mut dyn FnMut()> =
        if plan.namespaces.network_meanwhile { Some(&mut wait) } else { None };
    let spawned = sys::spawn(&child, cgroup.map(Cgroup::fd), meanwhile)
        .map_err(|(step, errno)| word_child_failure(step, errno, child.namespaces))?;
    drop(held);
    drop(network);
    // Init's end must be init's alone: a message that never comes is then an end of file.
    drop(theirs);
    let (has_oom_score, pid, process) = (inherited.is_some(), spawned.pid, spawned.pidfd);
    let (console, notify, forked) = (None, None, None);
    let mut init = Init { pid, process, channel, has_oom_score, console, notify, forked, released: false };
    let forked = if entry.fork.is_some() { init.follow_fork(&entry) } else { Ok(()) };
    if let Err(error) = forked.and(made) {
        // The first error is the one to report.
        let _ = init.kill();
        return Err(error.into());
    }
    Ok(init)
}

/// What init enters. A privileged runtime may enter anything from outside; an ordinary user gets its rights over the
/// other namespaces by entering the user namespace first.
fn entry_of(plan: &Plan, opened: &Opened) -> Entry {
    let user_first = !rustix::process::geteuid().is_root();
    let joined = || opened.joined.iter().map(|(fd, flags)| [fd.as_raw_fd() as u32, *flags]);
    let is_first = |[_, flags]: &[u32; 2]| (*flags == CLONE_NEWUSER) == user_first;
    let enter: Vec<_> = joined().filter(is_first).chain(joined().filter(|entry| !is_first(entry))).collect();
    let joined = enter.iter().fold(0, |all, [_, flags]| all | flags);
    let namespaces = plan.namespaces.made_by_clone();
    let forks =
        joined & (CLONE_NEWUSER | CLONE_NEWPID) != 0 || (namespaces & CLONE_NEWUSER != 0 && joined != 0);
    Entry { enter, fork: forks.then_some(namespaces) }
}

fn word_child_failure(step: ChildStep, errno: Errno, namespaces: u32) -> SpawnError {
    let cause = describe_errno(errno);
    SpawnError::Other(Error::new(match step {
        ChildStep::Seed => return SpawnError::Seed,
        ChildStep::Clone if errno == Errno::ACCESS => {
            return SpawnError::Cgroup(Error::formatted(format_args!(
                "clone into the container's cgroup: {cause}: no cgroup above both it and this process's own may be written \
                 to by this user: start it in `systemd-run --user --scope`, or below the same delegated cgroup"
            )));
        }
        ChildStep::Clone => {
            let hint = match errno {
                Errno::NOSPC => {
                    ": a limit below /proc/sys/user is reached (max_user_namespaces and its like)"
                }
                Errno::PERM if namespaces & CLONE_NEWUSER != 0 => {
                    ": user namespaces may be disabled (sysctl kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)"
                }
                Errno::NOSYS => ": the kernel needs clone3 (Linux 5.7), or an outer sandbox forbids it",
                Errno::AGAIN if namespaces & CLONE_NEWPID != 0 => {
                    ": too many processes (RLIMIT_NPROC, pids.max)"
                }
                _ => "",
            };
            format!("clone into new namespaces: {cause}{hint}")
        }
        ChildStep::Capabilities => format!("keep capabilities over the exec of init: {cause}"),
        ChildStep::Descriptors => format!("sort descriptors for init: {cause}"),
        ChildStep::Exec => format!("execute init from its memfd: {cause}"),
    }))
}
