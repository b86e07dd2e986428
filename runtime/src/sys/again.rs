//! Starts this program once more, in a session and a cgroup of its own.

use std::ffi::{CString, c_char, c_void};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::io::Errno;

use super::clone::{Stack, clone_shared};
use super::open_files::restore_open_files;
use super::signal::{SignalsBlocked, set_signal_mask};
use super::spawn::Spawned;

/// clone(2): handlers of the parent's would run in its memory.
const CLONE_CLEAR_SIGHAND: u64 = 1 << 32;

/// What the child needs between clone and exec, in memory that it shares with its waiting parent.
struct Successor<'a> {
    arguments: &'a [*const c_char],
    environment: &'a [*const c_char],
    streams: [BorrowedFd<'a>; 3],
    /// The parent's, before signals were blocked.
    mask: u64,
    /// The errno of what failed.
    failed: AtomicU32,
}

/// clone3(2) and execve(2) of this program, as the leader of a session: `arguments` (with its name) and
/// `environment` are its, and `streams` its stdin, stdout and stderr. It is in `cgroup` (a cgroup's
/// directory) from its first moment on. Moving it there would have every fork of the machine wait until all
/// processors have passed through the scheduler (`cgroup_threadgroup_rwsem`): 15 ms.
///
/// # Errors
/// What failed; no child is left then. `ENODEV`: the cgroup is gone; `EACCES`: the caller may not start
/// anything there; `EBUSY`: it can have no processes.
pub fn spawn_again(
    arguments: &[CString],
    environment: &[CString],
    streams: [BorrowedFd<'_>; 3],
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Spawned, Errno> {
    let table = |texts: &[CString]| -> Vec<*const c_char> {
        texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (arguments, environment) = (table(arguments), table(environment));
    // One that has a number below 3 would be replaced before it is used.
    let above = |stream: BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(stream, 3);
    let [input, output, errors] = streams;
    let [input, output, errors] = [above(input)?, above(output)?, above(errors)?];
    let blocked = SignalsBlocked::new();
    let successor = Successor {
        arguments: &arguments,
        environment: &environment,
        streams: [input.as_fd(), output.as_fd(), errors.as_fd()],
        mask: blocked.before(),
        failed: AtomicU32::new(0),
    };
    let mut stack = Box::<Stack>::new_uninit();
    let argument = std::ptr::from_ref(&successor).cast();
    let (pid, pidfd) =
        clone_shared(CLONE_CLEAR_SIGHAND, cgroup, stack.as_mut_ptr().cast(), begin, argument, None)?;
    drop(blocked);
    let spawned = Spawned { pid, pidfd };
    match successor.failed.load(Ordering::Relaxed) {
        0 => Ok(spawned),
        errno => {
            spawned.reap();
            Err(Errno::from_raw_os_error(errno as i32))
        }
    }
}

impl Successor<'_> {
    /// Only makes system calls; returns what failed.
    fn execute(&self) -> Errno {
        // SAFETY: the child has a descriptor table of its own and is about to execute another program. It replaces
        // only 0, 1 and 2 there, and the streams are above.
        let inherited = unsafe { pillbox_init::sys::Inherited::vouch() };
        for (number, stream) in (0..).zip(self.streams) {
            if let Err(errno) = inherited.replace(number, stream) {
                return errno;
            }
        }
        if let Err(errno) = restore_open_files() {
            return errno;
        }
        // A child that was just cloned leads no group.
        let _ = rustix::process::setsid();
        set_signal_mask(self.mask);
        // SAFETY: both tables end with NULL (`spawn_again`).
        unsafe {
            pillbox_init::sys::execve(c"/proc/self/exe", self.arguments.as_ptr(), self.environment.as_ptr())
        }
    }
}

/// The child's first function.
unsafe extern "C" fn begin(successor: *const c_void) -> ! {
    // SAFETY: `spawn_again` passes a `Successor` and keeps it until this process has left the memory; this process
    // writes only an atomic in it.
    let successor = unsafe { &*successor.cast::<Successor<'_>>() };
    let errno = successor.execute();
    successor.failed.store(errno.raw_os_error() as u32, Ordering::Relaxed);
    pillbox_init::sys::exit(1)
}
