//! Starts init without a copy of the runtime in between.

use std::ffi::{c_char, c_void};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions};

use super::clone::{Stack, clone_shared};
use super::network::NetworkThread;
use super::open_files::restore_open_files;
use super::processor::hold_here;
use super::signal::SignalsBlocked;

/// The step on the way to init where the child failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum ChildStep {
    /// The clone itself.
    Clone = 2,
    /// setns(2) into the seed namespace, or unshare(2) there.
    Seed = 3,
    /// setns(2) into a user namespace.
    Users = 4,
    /// Replacing and closing descriptors.
    Descriptors = 5,
    /// execveat(2) of init.
    Exec = 6,
}

impl ChildStep {
    /// The steps that fail in the child itself.
    const FAILURES: [ChildStep; 4] =
        [ChildStep::Seed, ChildStep::Users, ChildStep::Descriptors, ChildStep::Exec];
}

/// What a child does between clone and exec, in memory that it shares with its waiting parent.
pub struct Child<'a> {
    /// The file to execute.
    pub init: BorrowedFd<'a>,
    /// Init's argv.
    pub arguments: &'a [*const c_char],
    /// The seed mount namespace, of which the child makes a copy.
    pub seed: Option<BorrowedFd<'a>>,
    /// The user namespace in which init is executed, if not in the parent's: processes with rights there may
    /// then look into init, however closed it is to others.
    pub users: Option<BorrowedFd<'a>>,
    /// How many descriptors, from 3 on, are for the container.
    pub preserve: u32,
    /// Descriptors above 2 that become stdin, stdout and stderr, with the numbers that they get.
    pub stdio: &'a [(OwnedFd, u32)],
    /// Descriptors that init inherits.
    pub keep: &'a [RawFd],
    /// The thread that makes its network namespace.
    pub network: Option<&'a NetworkThread>,
    /// The step that failed, and its errno.
    failed: [AtomicU32; 2],
}

/// The result of a clone.
pub struct Spawned {
    /// The process that became init.
    pub pid: Pid,
    /// A pidfd for it.
    pub pidfd: OwnedFd,
}

impl Spawned {
    /// Whether it has ended, which is collected then.
    pub fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        !matches!(
            rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), options),
            Ok(None) | Err(Errno::INTR)
        )
    }

    /// Waits for its end, which must be near. `__WALL` is needed for a child that has not executed a program:
    /// its end raises no signal. One that has may already have been collected by an embedding program that
    /// waits for any child.
    pub fn reap(&self) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::from_bits_retain(linux_raw_sys::general::__WALL);
        let wait = || rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), options);
        let _ = rustix::io::retry_on_intr(wait);
    }
}

impl<'a> Child<'a> {
    /// A child that executes `init`, without any of the options.
    pub fn new(init: BorrowedFd<'a>, arguments: &'a [*const c_char], keep: &'a [RawFd]) -> Self {
        Child {
            init,
            arguments,
            seed: None,
            users: None,
            preserve: 0,
            stdio: &[],
            keep,
            network: None,
            failed: Default::default(),
        }
    }

    fn fail(&self, step: ChildStep, errno: Errno) -> ! {
        self.failed[1].store(errno.raw_os_error() as u32, Ordering::Relaxed);
        self.failed[0].store(step as u32, Ordering::Relaxed);
        pillbox_init::sys::exit(1)
    }

    /// The last steps before init. Runs on a stack of its own in the parent's memory, and only makes system
    /// calls.
    fn become_init(&self) -> ! {
        if let Some(network) = self.network {
            network.make_way();
            // The kernel would move init's clones to that thread's processor. Init lifts this before it is
            // ready. It is not done if other processes want this processor too, because init would have to
            // wait for them.
            if network.has_processors_to_spare() {
                hold_here(None);
            }
        }
        if let Some(seed) = self.seed {
            const NEWNS: u32 = linux_raw_sys::general::CLONE_NEWNS;
            let entered = pillbox_init::sys::setns(seed, NEWNS);
            if let Err(errno) = entered.and_then(|()| pillbox_init::sys::unshare_namespaces(NEWNS)) {
                self.fail(ChildStep::Seed, errno);
            }
        }
        if let Some(users) = self.users
            && let Err(errno) = pillbox_init::sys::setns(users, linux_raw_sys::general::CLONE_NEWUSER)
        {
            self.fail(ChildStep::Users, errno);
        }
        if let Err(errno) = self.sort_descriptors() {
            self.fail(ChildStep::Descriptors, errno);
        }
        let environment = [std::ptr::null::<c_char>()];
        // SAFETY: `arguments` ends with NULL (checked by `spawn`), and so does the empty environment.
        let errno = unsafe {
            pillbox_init::sys::execveat(self.init.as_raw_fd(), self.arguments.as_ptr(), environment.as_ptr())
        };
        self.fail(ChildStep::Exec, errno)
    }

    /// Marks all descriptors close-on-exec except stdio, those that the caller preserves, and those that init
    /// needs.
    fn sort_descriptors(&self) -> Result<(), Errno> {
        // SAFETY: the child has a descriptor table of its own and is about to execute another program. It
        // replaces only 0, 1 and 2 there, and the parent holds open all others that are named.
        let inherited = unsafe { pillbox_init::sys::Inherited::vouch() };
        restore_open_files()?;
        for (fd, number) in self.stdio {
            inherited.replace(*number, fd.as_fd())?;
        }
        pillbox_init::sys::close_on_exec_from(self.preserve.saturating_add(3))?;
        for &fd in self.keep {
            rustix::io::fcntl_setfd(inherited.fd(fd as u32), rustix::io::FdFlags::empty())?;
        }
        Ok(())
    }
}

/// clone3(2), with init in the child. Returns when init runs; `meanwhile` runs while the child is on its way
/// there.
///
/// The child borrows the parent's memory until it executes init (CLONE_VM), so that no page table is copied.
/// It must therefore stay in the parent's cgroup, and in the parent's namespaces or a copy of the seed: an
/// out-of-memory kill ends every process that shares a memory, and in another namespace processes could look
/// into it. Init itself goes where it belongs.
///
/// # Errors
/// The step that failed and its errno; no child is left then.
pub fn spawn(child: &Child<'_>, meanwhile: Option<&mut dyn FnMut()>) -> Result<Spawned, (ChildStep, Errno)> {
    if child.arguments.last().is_none_or(|last| !last.is_null()) {
        return Err((ChildStep::Exec, Errno::INVAL));
    }
    let blocked = SignalsBlocked::new();
    let mut stack = Box::<Stack>::new_uninit();
    let (pid, pidfd) = clone_shared(
        0,
        None,
        stack.as_mut_ptr().cast(),
        begin,
        std::ptr::from_ref::<Child<'_>>(child).cast(),
        meanwhile,
    )
    .map_err(|errno| (ChildStep::Clone, errno))?;
    drop(blocked);
    let spawned = Spawned { pid, pidfd };
    let [step, errno] = [0, 1].map(|index: usize| child.failed[index].load(Ordering::Relaxed));
    if let Some(step) = ChildStep::FAILURES.into_iter().find(|failure| *failure as u32 == step) {
        spawned.reap();
        return Err((step, Errno::from_raw_os_error(errno as i32)));
    }
    Ok(spawned)
}

/// The child's first function.
unsafe extern "C" fn begin(child: *const c_void) -> ! {
    // SAFETY: `spawn` passes a `Child` and keeps it until this process has left the memory; this process
    // writes only atomics in it.
    unsafe { &*child.cast::<Child<'_>>() }.become_init()
}

/// Makes a process in new namespaces that has already ended. Its pid stays its own until it is waited for,
/// and until then /proc/PID leads to its namespaces.
pub fn spawn_ended(namespaces: u32) -> Result<Spawned, Errno> {
    let blocked = SignalsBlocked::new();
    let mut stack = Box::<Stack>::new_uninit();
    let (pid, pidfd) =
        clone_shared(u64::from(namespaces), None, stack.as_mut_ptr().cast(), end, std::ptr::null(), None)?;
    drop(blocked);
    Ok(Spawned { pid, pidfd })
}

unsafe extern "C" fn end(_: *const c_void) -> ! {
    pillbox_init::sys::exit(0)
}
