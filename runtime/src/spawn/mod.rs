//! From a plan to a running init: opening what it needs, cloning it, serving it until it is ready. Also
//! programs of the host (hooks, helpers), which are run in the same way.
//!
//! May use `console` and every room below it.

pub mod affinity;
pub mod device_node;
mod entry;
mod follow;
mod idmap;
mod ids;
mod init;
mod memfd;
pub mod names;
mod namespace;
pub mod net_device;
pub mod network;
pub mod notify;
mod oom_score;
mod opened;
mod owners;
pub mod program;
mod report;
pub mod seccomp_agent;

use std::ffi::{CString, c_char};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use linux_raw_sys::general::CLONE_NEWUSER;
use pillbox_init::plan::NEVER_OPEN;
use rustix::io::Errno;

use self::memfd::{InitFile, plan_file};
use self::opened::Channel;
use crate::cgroup::Cgroup;
use crate::error::{Context, Error, Kind, describe_errno};
use crate::plan::{Descriptor, Plan};
use crate::sys::process_end::collect_strays;
use crate::sys::{self, Child, ChildStep};

pub use init::{Init, Stop};
pub(crate) use memfd::{InMemory, try_in_memory};
pub use opened::{ContainerEnds, NewNetwork, Opened, Patience, open};
pub use report::{Message, receive, word_late_report};

/// Why init could not be spawned.
pub enum SpawnError {
    /// The seed namespace could not be entered: an ordinary copy of the mount namespace may work.
    Seed,
    /// Init cannot be cloned into the cgroup: the caller may not do that from its own cgroup (`EACCES`), or
    /// the cgroup cannot have processes (`EBUSY`), or is gone.
    Cgroup {
        /// The errno of clone(2).
        errno: Errno,
        /// The description.
        error: Error,
    },
    /// Anything else.
    Other(Error),
}

impl From<Error> for SpawnError {
    fn from(error: Error) -> Self {
        SpawnError::Other(error)
    }
}

/// For callers that cannot try again without the seed, or with another cgroup.
impl From<SpawnError> for Error {
    fn from(error: SpawnError) -> Self {
        match error {
            SpawnError::Seed => Error::new("enter the seed mount namespace: refused"),
            SpawnError::Cgroup { error, .. } | SpawnError::Other(error) => error,
        }
    }
}

/// Executes init, which clones itself into its namespaces and its cgroup, then runs the plan until it has to
/// wait for the runtime's answer.
pub fn spawn(
    plan: &Plan,
    opened: &mut Opened,
    seed: Option<&OwnedFd>,
    listener: Option<&OwnedFd>,
    cgroup: Option<&Cgroup>,
) -> Result<Init, SpawnError> {
    let new = match opened.network.take() {
        // The first one was used up by a spawn that failed.
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
            // Init gets a clone later, and never the original.
            Descriptor::Tree { late: Some(_), .. } => None,
            _ => fd.as_ref(),
        };
        // If an optional tree is missing, init gets a number that is never open.
        numbers.push(fd.map_or(NEVER_OPEN, |fd| fd.as_raw_fd() as u32));
    }
    let seed = if plan.from_seed { seed.map(AsFd::as_fd) } else { None };
    let users = if plan.starts_in_user { opened.joined_users() } else { None };
    let steps = entry::steps(plan, opened, cgroup, seed.is_some());
    // Processes in an existing namespace must not inspect an init that enters it.
    let readable = opened.joined.is_empty() || !rustix::process::geteuid().is_root();
    let init = InitFile::open(readable)?;
    let bytes = plan.encode(theirs.as_raw_fd() as u32, &numbers, &steps);
    let plan_file = plan_file(&bytes)?;

    let mut keep: Vec<i32> = vec![theirs.as_raw_fd(), plan_file.as_raw_fd()];
    keep.extend(numbers.iter().filter(|number| **number != NEVER_OPEN).map(|number| *number as i32));
    keep.extend(opened.joined.iter().map(|(fd, _)| fd.as_raw_fd()));
    keep.extend(listener.map(AsRawFd::as_raw_fd));
    keep.extend(cgroup.map(|cgroup| cgroup.fd().as_raw_fd()));
    let number = CString::new(plan_file.as_raw_fd().to_string()).unwrap_or_default();
    let arguments: [*const c_char; 3] = [c"pillbox-init".as_ptr(), number.as_ptr(), std::ptr::null()];
    let mut child = Child::new(init.as_fd(), &arguments, &keep);
    child.seed = seed;
    child.users = users;
    child.preserve = plan.preserve_fds;
    child.stdio = &opened.stdio;
    // Init is not dumpable while it enters a user namespace, and only root may write to its files in /proc
    // then.
    let joins_user = opened.joined.iter().any(|(_, flags)| flags & CLONE_NEWUSER != 0);
    let inherited = plan.oom_score_adj.filter(|_| joins_user && !rustix::process::geteuid().is_root());
    let held = inherited.map(oom_score::Held::at).transpose()?;
    child.network = network.as_ref().map(network::Making::thread);
    // Waiting here leaves two processors to init and to that thread: both take longer than what is left to do
    // for the runtime.
    let mut made = Ok(());
    let mut wait = || made = network.as_ref().map_or(Ok(()), network::Making::finish);
    let meanwhile: Option<&mut dyn FnMut()> =
        if plan.namespaces.network_meanwhile { Some(&mut wait) } else { None };
    // Until it executes init the child shares this process's memory.
    let unseen = users.map(|_| sys::Unseen::begin()).transpose().context(|| "prctl(PR_SET_DUMPABLE)")?;
    let spawned = sys::spawn(&child, meanwhile).map_err(|(step, errno)| word_child_failure(step, errno))?;
    drop(unseen);
    drop(held);
    drop(network);
    // Only init may hold its end, so that its death is an end of file.
    drop(theirs);
    let mut init = Init::new(spawned, channel, inherited.is_some());
    init.patience = opened.patience;
    init.container_ends.clone_from(&opened.container_ends);
    let followed = init.follow(&steps).and_then(|()| made.map_err(SpawnError::Other));
    match followed {
        Ok(()) => Ok(init),
        Err(error) => {
            // The first error is the one to report.
            let _ = init.kill();
            // This closes the runtime's end of the channel, which ends clones that nobody knows of.
            drop(init);
            // Any other error was reported by init before it cloned itself.
            if let SpawnError::Other(_) = error {
                collect_strays();
            }
            Err(error)
        }
    }
}

fn word_child_failure(step: ChildStep, errno: Errno) -> SpawnError {
    let cause = describe_errno(errno);
    let error = Error::new(match step {
        ChildStep::Seed => return SpawnError::Seed,
        ChildStep::Clone => {
            let hint = match errno {
                Errno::NOSYS => ": the kernel needs clone3 (Linux 5.7), or an outer sandbox forbids it",
                Errno::AGAIN => ": too many processes (RLIMIT_NPROC, pids.max)",
                _ => "",
            };
            format!("clone init: {cause}{hint}")
        }
        ChildStep::Users => format!("linux.namespaces: enter the user namespace: {cause}"),
        ChildStep::Descriptors => format!("sort descriptors for init: {cause}"),
        ChildStep::Exec => format!("execute init from its memfd: {cause}"),
    });
    SpawnError::Other(refused_clone(error, errno))
}

/// Adds errno and kind: EAGAIN of clone(2) means that there are too many processes.
fn refused_clone(error: Error, errno: Errno) -> Error {
    error.caused_by(errno).or_kind(if errno == Errno::AGAIN { Kind::Exhausted } else { Kind::Host })
}
