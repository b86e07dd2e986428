//! Work that two processors share.

use std::ffi::c_void;
use std::os::fd::AsFd;

use rustix::process::{WaitId, WaitIdOptions};

use super::clone::{Stack, clone_shared};
use super::signal::SignalsBlocked;

/// What is done here and beside.
pub type Work<'a> = dyn Fn() + Sync + 'a;

/// Does `work` here and at the same time in a child, and returns when both are done. The child shares this process's
/// memory, and has copies of its descriptors and its working folder; it has 64 KiB of stack. Where no child is to be
/// had, or somebody kills it, only what is done here is done.
///
/// A thread would do as well, but for the 38 KB that it takes of the standard library.
///
/// # Safety
/// The child shares the thread-local storage, too: the program's heap must have none.
pub unsafe fn work_beside(work: &Work<'_>) {
    let blocked = SignalsBlocked::new();
    let mut stack = Box::<Stack>::new_uninit();
    let (entry, argument) = (begin_work, std::ptr::from_ref(&work).cast());
    match clone_shared(0, None, stack.as_mut_ptr().cast(), entry, argument, Some(&mut || work())) {
        // It has left the memory: the clone returned after that.
        Ok((_, child)) => drop(rustix::process::waitid(WaitId::PidFd(child.as_fd()), WaitIdOptions::EXITED)),
        Err(_) => work(),
    }
    drop(blocked);
}

unsafe extern "C" fn begin_work(work: *const c_void) -> ! {
    // SAFETY: `work_beside` passes a `&Work` and returns when this process has left the memory. `Work` is `Sync`, so that
    // two may do it at once; the caller answers for the heap; the errno that they share nobody relies on.
    let work = unsafe { *work.cast::<&Work<'_>>() };
    work();
    pillbox_init::sys::exit(0)
}
