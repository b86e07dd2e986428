//! How many files this process may have open, where that is more than what it starts may have.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::OnceLock;

use linux_raw_sys::general::RLIMIT_NOFILE;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What there was before; empty as long as nothing was changed.
static BEFORE: OnceLock<Rlimit> = OnceLock::new();

/// Lets this process have as many files open as its hard limit allows: for one that serves many at a time. What it starts as a runtime
/// (containers, helpers, this program once more) has the soft limit that it had itself before, because programs that use select(2)
/// rely on a low one, and others close every number below it.
///
/// # Errors
/// The kernel refuses it: the hard limit is above `fs.nr_open`, which was lowered since. Then everything is as it was.
#[doc(hidden)]
pub fn raise_open_files() -> Result<(), Errno> {
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: before.maximum, maximum: before.maximum })?;
    BEFORE.get_or_init(|| before);
    Ok(())
}

/// Has a program that the standard library will start get that limit, too; as long as nothing was changed it has it anyway.
#[doc(hidden)]
pub fn leave_open_files(program: &mut Command) {
    if BEFORE.get().is_some() {
        // SAFETY: between fork and exec this makes one system call: it takes no memory and waits for no lock, whatever other threads
        // were at.
        unsafe { program.pre_exec(|| Ok(restore_open_files()?)) };
    }
}

/// Gives a child, before it executes its program, the limit of whoever started its parent. Only makes a system call.
pub(super) fn restore_open_files() -> Result<(), Errno> {
    let Some(Rlimit { current, maximum }) = BEFORE.get() else { return Ok(()) };
    let number = |limit: &Option<u64>| limit.unwrap_or(u64::MAX);
    pillbox_init::sys::set_rlimit(RLIMIT_NOFILE, number(current), number(maximum))
}
