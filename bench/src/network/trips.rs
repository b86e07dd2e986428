//! Counts what a command sends over netlink: each send is a round trip, for the kernel answers before the call returns.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use pillbox_ptrace::{self as ptrace, Next, Stop, Tracees};
use rustix::net::{AddressFamily, sockopt};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, Signal, pidfd_getfd, pidfd_open};

use crate::error::{Context, Result, error};

/// sendto(2) and sendmsg(2), on x86-64.
const SENDS: [i64; 2] = [44, 46];

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
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
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
    let socket = pidfd_getfd(process, descriptor, PidfdGetfdFlags::empty())?;
    Ok(sockopt::socket_domain(socket)? == AddressFamily::NETLINK)
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use pillbox_netlink::{LOOPBACK_INDEX, Socket, link};

    /// Set in the process that is counted.
    const COUNTED: &str = "BENCH_TEST_COUNTED";

    #[test]
    fn sends_over_netlink_are_counted_and_no_others() {
        if std::env::var_os(COUNTED).is_some() {
            let mut socket = Socket::open().expect("a socket");
            for _ in 0..3 {
                link::get(&mut socket, LOOPBACK_INDEX).expect("the loopback");
            }
            let (one, _other) = std::os::unix::net::UnixDatagram::pair().expect("a pair");
            one.send(b"no netlink").expect("sent");
            std::process::exit(0);
        }
        let mut command = Command::new(std::env::current_exe().expect("this test"));
        // In the process's own thread, which is the one that is counted.
        command.args(["--exact", "network::trips::tests::sends_over_netlink_are_counted_and_no_others"]);
        command.args(["--test-threads=1", "--nocapture"]).env(COUNTED, "1");
        let errors = std::env::temp_dir().join(format!("bench-trips-{}", std::process::id()));
        let counted = count(&mut command, &errors).expect("counted");
        fs::remove_file(errors).expect("removed");
        let (trips, calls) = counted.expect("x86-64");
        assert_eq!(trips, 3);
        assert!(calls > 20, "{calls}");
    }
}
