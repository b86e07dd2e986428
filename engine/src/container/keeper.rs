//! Keeps the terminal of a program of `exec` when its user has let go of it: without a reader the program would wait, and with the
//! terminal closed it would end.
//!
//! It is this program once more. Its stdin is the terminal's master.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::stdio::stdin;

use super::own_cgroup::{OwnCgroup, start};
use crate::error::{Context, Result};
use crate::inside::null;

/// The name by which the program is called for it.
const NAME: &str = "box-keeper";

/// Leaves a terminal's master to a process of its own.
///
/// # Errors
/// It cannot be started.
pub fn keep_terminal(master: OwnedFd) -> Result<()> {
    let null = null()?;
    let streams = [master.as_fd(), null.as_fd(), null.as_fd()];
    // It is nobody's to wait for.
    start(&[NAME.as_ref()], streams, None).map(drop).context(|| "start a process that keeps the terminal")
}

/// Whether the program was called for this, by its name.
pub fn is_called(program: Option<&OsStr>) -> bool {
    program.is_some_and(|name| name == NAME)
}

/// What the program does when it was called for this; the result is its exit status.
pub fn main(arguments: impl Iterator<Item = OsString>) -> u8 {
    let cgroup = OwnCgroup::of_arguments(arguments);
    let kept = rustix::process::chdir("/").and_then(|()| keep());
    if let Some(cgroup) = cgroup {
        cgroup.leave();
    }
    u8::from(kept.is_err())
}

/// Reads until nobody has it open any more.
fn keep() -> std::result::Result<(), Errno> {
    let mut buffer = [0; 4096];
    loop {
        match rustix::io::read(stdin(), &mut buffer) {
            Ok(1..) | Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                poll(&mut [PollFd::from_borrowed_fd(stdin(), PollFlags::IN)], None)?;
            }
            Ok(0) | Err(_) => return Ok(()),
        }
    }
}
