//! Init stays the container's first process: the program is its child. It passes signals on, collects orphans
//! that have ended, and ends as the program does.

use pillbox_init::sys::{self, Inherited};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus};

/// As Docker calls it.
const NAME: &core::ffi::CStr = c"docker-init";

/// Clones the process that is to execute the program; only that one returns.
pub fn stand_before(inherited: Inherited) -> Result<(), Errno> {
    // First of all, so that no signal for the program is lost.
    sys::block_signals();
    match sys::fork()? {
        Some(program) => reap(program, inherited),
        None => {
            lead_terminal(inherited);
            sys::reset_signals();
            Ok(())
        }
    }
}

/// Keys that send signals reach the program and its children alone, not the first process as well, which
/// would pass them on once more. Signals are blocked still, so that the terminal does not stop a process in
/// its background.
fn lead_terminal(inherited: Inherited) {
    if let Ok(()) = rustix::process::setpgid(None, None) {
        // Without a terminal there is nothing to lead.
        let _ = rustix::termios::tcsetpgrp(inherited.fd(0), rustix::process::getpid());
    }
}

fn reap(program: Pid, inherited: Inherited) -> ! {
    // Others see in /proc/1/fd where the output goes; everything else is the program's.
    inherited.close(0);
    inherited.close_from(3);
    // It is as open to others with the same rights as any program is: what it has of the host is closed.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable);
    // In somebody else's pid namespace as well orphans are its children.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    let _ = rustix::thread::set_name(NAME);
    sys::release_stack();
    loop {
        match sys::next_signal() {
            Ok(signal) if signal != linux_raw_sys::general::SIGCHLD => {
                // The program may have ended: its SIGCHLD is on the way.
                let _ = sys::send_signal(program, signal);
            }
            Ok(_) => collect(program, WaitOptions::NOHANG),
            Err(Errno::INTR | Errno::AGAIN) => {}
            // A filter forbids to wait for signals.
            Err(_) => collect(program, WaitOptions::empty()),
        }
    }
}

/// Collects the processes that have ended, and ends with the program.
fn collect(program: Pid, options: WaitOptions) {
    let mut ended = None;
    loop {
        match rustix::process::wait(options) {
            Ok(Some((pid, status))) if pid == program => ended = exit_status(status),
            Ok(Some(_)) | Err(Errno::INTR) => {}
            // Nobody else has ended, or nobody is left.
            Ok(None) => break,
            Err(_) => {
                ended = ended.or(Some(crate::failure::NOT_STARTED));
                break;
            }
        }
        if options.is_empty() && ended.is_some() {
            break;
        }
    }
    if let Some(status) = ended {
        sys::exit(status);
    }
}

/// As a shell shows it.
fn exit_status(status: WaitStatus) -> Option<i32> {
    status.exit_status().or(status.terminating_signal().map(|signal| 128 + signal))
}
