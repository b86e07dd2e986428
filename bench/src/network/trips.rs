//! Counts what a command sends over netlink: each send is a round trip, for the kernel answers before the call returns.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use pillbox_ptrace::{self as ptrace, Next, Stop, Tracees};
use rustix::io::Errno;
use rustix::net::{AddressFamily, sockopt};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, Signal, pidfd_getfd, pidfd_open};

use crate::error::{Context, Result, error};

/// write(2), writev(2), sendto(2), sendmsg(2) and sendmmsg(2), on x86-64.
const SENDS: [i64; 5] = [1, 20, 44, 46, 307];

/// Runs a command to its end. Returns how often its own process, without threads and children, has sent something over
/// netlink, and how many system calls it has made; `None` where calls cannot be told apart.
///
/// # Errors
/// It failed, or this machine does not allow tracing.
pub fn count(command: &mut Command, errors: &Path) -> Result<Option<(usize, usize)>> {
    if !cfg!(target_arch = "x86_64") {
        return Ok(None);
    }
    let stderr = File::create(errors).context(|| format!("create {}", errors.display()))?;
    command.stdout(Stdio::null()).stderr(stderr);
    let mut counter = Counter::default();
    let ended = Tracees::default().run(command, &mut counter);
    match ended.context(|| format!("trace {command:?} (is ptrace(2) forbidden here?)"))?.success() {
        true => Ok(Some((counter.trips, counter.calls))),
        false => {
            let said = fs::read_to_string(errors).unwrap_or_default();
            Err(error(format!("{command:?} failed: {}", said.trim())))
        }
    }
}

#[derive(Default)]
struct Counter {
    trips: usize,
    calls: usize,
}

/// A traced process.
struct Traced {
    /// Whether it is the command's own.
    is_own: bool,
    /// Between the beginning and the end of a system call.
    in_call: bool,
}

impl ptrace::Tracer for Counter {
    type Tracee = Traced;

    fn begin(&mut self, _: i32, maker: Option<&mut Traced>) -> Traced {
        Traced { is_own: maker.is_none(), in_call: false }
    }

    fn stopped(&mut self, pid: i32, process: &mut Traced, stop: Stop) -> io::Result<Next> {
        if !process.is_own {
            return Ok(Next::Untraced);
        }
        match stop {
            Stop::Call(number) => {
                process.in_call = !process.in_call;
                if process.in_call {
                    self.calls += 1;
                    self.trips += usize::from(SENDS.contains(&number) && is_netlink(pid)?);
                }
                Ok(Next::Call(0))
            }
            Stop::Signal(number) if number != Signal::STOP.as_raw() => Ok(Next::Call(number)),
            _ => Ok(Next::Call(0)),
        }
    }
}

/// Whether the first argument of the call that the process enters is a netlink socket.
fn is_netlink(pid: i32) -> io::Result<bool> {
    let descriptor = i32::try_from(ptrace::first_argument(pid)?).map_err(io::Error::other)?;
    let pid = Pid::from_raw(pid).ok_or_else(|| io::Error::other("no pid"))?;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let socket = match pidfd_getfd(process, descriptor, PidfdGetfdFlags::empty()) {
        // Nothing is open there.
        Err(Errno::BADF) => return Ok(false),
        socket => socket?,
    };
    match sockopt::socket_domain(socket) {
        Err(Errno::NOTSOCK) => Ok(false),
        domain => Ok(domain? == AddressFamily::NETLINK),
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::runtime::find;

    #[test]
    fn sends_over_netlink_are_counted_and_no_others() {
        let Some(busybox) = find("busybox") else {
            eprintln!("SKIP: busybox (busybox-static) is not there, whose `ip` sends something over netlink");
            return;
        };
        let errors = std::env::temp_dir().join(format!("bench-trips-{}", std::process::id()));
        let counted = |arguments: &[&str]| {
            let counted = count(Command::new(&busybox).args(arguments), &errors).expect("counted");
            counted.expect("this is x86-64")
        };
        let (listed, idle) = (counted(&["ip", "link"]), counted(&["true"]));
        // What others send does not count: here a child's.
        let child = counted(&["sh", "-c", "busybox ip link; true"]);
        let failed = count(Command::new(&busybox).arg("false"), &errors).is_err();
        fs::remove_file(&errors).expect("removed");
        assert_eq!((listed.0, idle.0, child.0, failed), (1, 0, 0, true));
        assert!(listed.1 > idle.1 && idle.1 > 0, "{listed:?} {idle:?}");
    }
}
