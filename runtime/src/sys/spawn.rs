//! From the runtime to init without a copy of the runtime in between.

use std::ffi::{c_char, c_void};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions};

use super::clone::{Stack, clone_shared};
use super::network::NetworkThread;
use super::processor::hold_here;
use super::signal::SignalsBlocked;

/// Where a child was on its way to init when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum ChildStep {
    /// The clone itself.
    Clone = 2,
    /// setns(2) into the seed namespace, or unshare(2) there.
    Seed = 3,
    /// Sorting out the descriptors.
    Descriptors = 5,
    /// execveat(2) of init.
    Exec = 6,
}

impl ChildStep {
    /// Where the child itself can fail.
    const FAILURES: [ChildStep; 3] = [ChildStep::Seed, ChildStep::Descriptors, ChildStep::Exec];
}

/// What a child does between clone and exec, in memory that it shares with its waiting parent.
pub struct Child<'a> {
    /// The file that is executed.
    pub init: BorrowedFd<'a>,
    /// argv of init.
    pub arguments: &'a [*const c_char],
    /// The seed mount namespace, to be copied.
    pub seed: Option<BorrowedFd<'a>>,
    /// How many descriptors from 3 on are the container's.
    pub preserve: u32,
    /// What becomes its stdin, stdout and stderr, from numbers above 2, with those numbers.
    pub stdio: &'a [(OwnedFd, u32)],
    /// Descriptors that init inherits.
    pub keep: &'a [RawFd],
    /// The thread that makes its network namespace.
    pub network: Option<&'a NetworkThread>,
    /// The step where it failed, and why.
    failed: [AtomicU32; 2],
}

/// What [`spawn`] made.
pub struct Spawned {
    /// The process that became init.
    pub pid: Pid,
    /// A pidfd for it.
    pub pidfd: OwnedFd,
}

impl Spawned {
    /// Waits for its end, which is about to come: with `__WALL`, for a child that has not executed anything tells nobody of its
    /// end, and whoever embeds this may wait for all that do.
    pub fn reap(&self) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::from_bits_retain(linux_raw_sys::general::__WALL);
        let wait = || rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), options);
        let _ = rustix::io::retry_on_intr(wait);
    }
}

impl<'a> Child<'a> {
    /// A child that executes `init`, with nothing special.
    pub fn new(init: BorrowedFd<'a>, arguments: &'a [*const c_char], keep: &'a [RawFd]) -> Self {
        Child {
            init,
            arguments,
            seed: None,
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

    /// The last steps before init; runs on a stack of its own, in the parent's memory. It only makes system calls.
    fn become_init(&self) -> ! {
        if let Some(network) = self.network {
            network.make_way();
            // The kernel would bring init's clones to the processor of that thread. Init lets itself go before it is ready. Where
            // others want this one as well it is not held: it would wait for them.
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

    /// Everything closes at the exec but stdio, what the caller preserves, and what init needs.
    fn sort_descriptors(&self) -> Result<(), Errno> {
        // SAFETY: the child has a table of descriptors of its own, on its way to another program: what it replaces there is 0, 1
        // and 2, and what it names beside them its parent holds open for it.
        let inherited = unsafe { pillbox_init::sys::Inherited::vouch() };
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

/// clone3(2), and init in the child. Returns when init runs; what the runtime has to do `meanwhile` it does while the
/// child is on its way there.
///
/// The child borrows the parent's memory until it executes (CLONE_VM): no page table is copied. So it stands in no cgroup and
/// in no namespace but the parent's or a copy of the seed: an out-of-memory kill takes every process of a memory, and in a
/// namespace others could look into it. Where it belongs init goes by itself.
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
    // SAFETY: `spawn` passes a `Child` and keeps it until this process has left its memory; what this process
    // writes in it is atomic.
    unsafe { &*child.cast::<Child<'_>>() }.become_init()
}

/// A process in new namespaces that has ended already, and whose number stays its own until it is waited for:
/// /proc/PID leads to its namespaces.
pub fn spawn_ended(namespaces: u32) -> Result<Spawned, Errno> {
    let blocked = SignalsBlocked::new();
    let mut stack = Box::<Stack>::new_uninit();
    let (pid, pidfd) =
        clone_shared(u64::from(namespaces), stack.as_mut_ptr().cast(), end, std::ptr::null(), None)?;
    drop(blocked);
    Ok(Spawned { pid, pidfd })
}

unsafe extern "C" fn end(_: *const c_void) -> ! {
    pillbox_init::sys::exit(0)
}
