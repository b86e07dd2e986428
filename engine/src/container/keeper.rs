//! Keeps the terminal of a program of `exec` when its user has let go of it: without a reader the program would wait, and with the
//! terminal closed it would end.
//!
//! It is this program once more. Its stdin is the terminal's master.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::stdio::stdin;

use super::own_cgroup::OwnCgroup;
use crate::error::{Context, Result};

/// The name by which the program is called for it.
const NAME: &str = "box-keeper";

/// Leaves a terminal's master to a process of its own.
///
/// # Errors
/// It cannot be started.
pub fn keep_terminal(master: OwnedFd) -> Result<()> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0(NAME).stdin(Stdio::from(master)).stdout(Stdio::null()).stderr(Stdio::null());
    // Where box leads a session, its end sends a signal to the processes of its group.
    command.process_group(0);
    // It is nobody's to wait for.
    command.current_dir("/").spawn().map(drop).context(|| "start a process that keeps the terminal")
}

/// Whether the program was called for this, by its name.
pub fn is_called(program: Option<&OsStr>) -> bool {
    program.is_some_and(|name| name == NAME)
}

/// What the program does when it was called for this; the result is its exit status.
pub fn main() -> u8 {
    // Whoever has called it may lead a session that ends.
    let _ = rustix::process::setsid();
    let _cgroup = OwnCgroup::enter(None);
    let mut buffer = [0; 4096];
    loop {
        match rustix::io::read(stdin(), &mut buffer) {
            Ok(1..) | Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                if poll(&mut [PollFd::from_borrowed_fd(stdin(), PollFlags::IN)], None).is_err() {
                    return 1;
                }
            }
            // Nobody has it open any more.
            Ok(0) | Err(_) => return 0,
        }
    }
}
