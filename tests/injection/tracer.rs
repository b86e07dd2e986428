//! Traces one command, with every process and thread that descends from it until it executes a program that
//! is neither the command's own nor init, and stops them at each system call; at one of them something goes wrong.

use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use pillbox_ptrace::{self as ptrace, Next, Stop, Tracees};
use rustix::process::{Pid, Signal, kill_process};

use crate::fault::{Fault, plausible};
use crate::watchdog::Watchdog;

/// The role of a traced process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The command's own process.
    Runtime,
    /// A thread of it.
    Thread,
    /// A clone of the runtime, until it executes init.
    Child,
    /// The container's init, or that of an exec or a hook.
    Init,
    /// The runtime's program as a CNI plugin, which the runtime calls.
    Plugin,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Role::Runtime => "runtime",
            Role::Thread => "thread",
            Role::Child => "child",
            Role::Init => "init",
            Role::Plugin => "plugin",
        }
    }
}

/// A place in the command's course: which process makes the call, and the number of this call among all its
/// calls. Processes are named by the order in which they are cloned: `0` is the command, `0.2` the second
/// process that it clones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    pub who: String,
    pub index: usize,
}

/// One system call.
#[derive(Debug, Clone)]
pub struct Call {
    pub spot: Spot,
    pub role: Role,
    pub number: i64,
}

/// The result of tracing a command.
#[derive(Debug)]
pub struct Trace {
    pub status: ExitStatus,
    /// All system calls of all processes, in the order in which they began.
    pub calls: Vec<Call>,
    /// Where the fault was injected, and whether the command had ended by then; `None` if the place was not
    /// reached.
    pub injected: Option<(Call, bool)>,
    /// What all processes were doing when the time was over.
    pub hung: Option<String>,
}

struct Traced {
    who: String,
    role: Role,
    calls: usize,
    clones: usize,
    /// Between the beginning and the end of a system call.
    in_call: bool,
    /// The result to give to the call that is skipped.
    result: Option<i64>,
}

impl Traced {
    fn new(who: String, role: Role) -> Self {
        Traced { who, role, calls: 0, clones: 0, in_call: false, result: None }
    }
}

/// The name of a process that existed before the command.
pub const ATTACHED: &str = "init";

/// Runs the command to its end, and continues until the processes that it leaves behind wait for something.
/// `attached` is an init that is traced as well.
pub fn trace(
    fault: Option<(&Spot, Fault)>,
    command: &mut Command,
    attached: Option<i32>,
    watchdog: &Watchdog,
) -> io::Result<Trace> {
    let program = PathBuf::from(command.get_program());
    let mut injector =
        Injector { program, fault, calls: Vec::new(), injected: None, ended: false, lets_go: false };
    let mut tracees = Tracees::default();
    if let Some(pid) = attached {
        tracees.attach(pid, Traced::new(ATTACHED.into(), Role::Init))?;
    }
    let guard = watchdog.watch();
    let status = tracees.run(command, &mut injector)?;
    injector.ended = true;
    settle(&mut tracees, &mut injector)?;
    let hung = guard.end();
    let_go(&mut tracees, &mut injector)?;
    Ok(Trace { status, calls: injector.calls, injected: injector.injected, hung })
}

/// Follows the remaining processes until all of them sleep.
fn settle(tracees: &mut Tracees<Traced>, injector: &mut Injector<'_>) -> io::Result<()> {
    let begun = Instant::now();
    while !tracees.is_empty() && begun.elapsed() < Duration::from_secs(10) {
        match ptrace::poll_stop() {
            Ok(Some((pid, stop))) => tracees.handle(pid, stop, injector)?,
            Ok(None) if tracees.pids().all(sleeps) => break,
            Ok(None) => std::thread::sleep(Duration::from_micros(200)),
            // There are no children any more.
            Err(_) => *tracees = Tracees::default(),
        }
    }
    Ok(())
}

/// Stops tracing the remaining processes, which is possible only while they are stopped.
fn let_go(tracees: &mut Tracees<Traced>, injector: &mut Injector<'_>) -> io::Result<()> {
    injector.lets_go = true;
    for pid in tracees.pids() {
        signal(pid, Signal::STOP);
    }
    while !tracees.is_empty() {
        let Ok((pid, stop)) = ptrace::wait_for_stop() else { break };
        tracees.handle(pid, stop, injector)?;
    }
    Ok(())
}

/// Records the system calls, and lets one of them go wrong.
struct Injector<'f> {
    /// The command's program, which it may execute once more.
    program: PathBuf,
    fault: Option<(&'f Spot, Fault)>,
    calls: Vec<Call>,
    injected: Option<(Call, bool)>,
    /// Whether the command has ended.
    ended: bool,
    /// Whether a process that stops for SIGSTOP is to be no longer traced.
    lets_go: bool,
}

impl ptrace::Tracer for Injector<'_> {
    type Tracee = Traced;

    fn begin(&mut self, pid: i32, maker: Option<&mut Traced>) -> Traced {
        let Some(maker) = maker else { return Traced::new("0".into(), Role::Runtime) };
        maker.clones += 1;
        let role = match maker.role {
            Role::Init => Role::Init,
            _ if is_thread(pid) => Role::Thread,
            _ => Role::Child,
        };
        Traced::new(format!("{}.{}", maker.who, maker.clones), role)
    }

    fn stopped(&mut self, pid: i32, process: &mut Traced, stop: Stop) -> io::Result<Next> {
        Ok(match stop {
            Stop::Signal(number) if number == Signal::STOP.as_raw() => {
                if self.lets_go {
                    return Ok(Next::Untraced);
                }
                // Every clone begins with this signal, and so does a process that is attached to.
                if process.who == ATTACHED {
                    ptrace::follow(pid)?;
                }
                Next::Call(0)
            }
            Stop::Signal(number) => Next::Call(number),
            _ if self.lets_go => Next::Call(0),
            Stop::Call(_) if process.in_call => {
                process.in_call = false;
                if let Some(result) = process.result.take() {
                    ptrace::set_result(pid, result)?;
                }
                Next::Call(0)
            }
            Stop::Call(number) => {
                process.in_call = true;
                process.calls += 1;
                let spot = Spot { who: process.who.clone(), index: process.calls };
                self.begin_call(pid, process, Call { spot, role: process.role, number })?
            }
            Stop::Exec => match executed(pid, &self.program) {
                Some(Role::Runtime) if process.who != "0" => {
                    process.role = Role::Plugin;
                    Next::Call(0)
                }
                Some(role) => {
                    process.role = role;
                    Next::Call(0)
                }
                None => Next::Untraced,
            },
            Stop::Clone(_) | Stop::Step | Stop::End(_) => Next::Call(0),
        })
    }
}

impl Injector<'_> {
    fn begin_call(&mut self, pid: i32, process: &mut Traced, call: Call) -> io::Result<Next> {
        self.calls.push(call.clone());
        // If it makes another call than it did undisturbed, that call may not be able to fail like this.
        let fits = |fault| match fault {
            Fault::Kill => true,
            Fault::Fails(errno) => plausible(call.number).contains(&errno),
        };
        let Some((_, fault)) = self.fault.filter(|(spot, fault)| **spot == call.spot && fits(*fault)) else {
            return Ok(Next::Call(0));
        };
        self.injected = Some((call, self.ended));
        match fault {
            Fault::Kill => {
                kill(pid);
                Ok(Next::Killed)
            }
            Fault::Fails(errno) => {
                process.result = Some(-i64::from(errno.raw_os_error()));
                ptrace::skip_call(pid)?;
                Ok(Next::Call(0))
            }
        }
    }
}

/// Runs a command to its end without tracing it; meanwhile reaps orphans, as pid 1 must.
pub fn run_untraced(command: &mut Command, watchdog: &Watchdog) -> io::Result<(ExitStatus, Option<String>)> {
    let guard = watchdog.watch();
    let root = i32::try_from(command.spawn()?.id()).map_err(io::Error::other)?;
    loop {
        if let (pid, Stop::End(status)) = ptrace::wait_for_stop()?
            && pid == root
        {
            return Ok((status, guard.end()));
        }
    }
}

/// Reaps the orphans that have ended.
pub fn reap() {
    while let Ok(Some(_)) = ptrace::poll_stop() {}
}

/// The role by the program that a process has executed; `None` if it is not one of pillbox's.
fn executed(pid: i32, own: &Path) -> Option<Role> {
    let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    match program.to_string_lossy().starts_with("/memfd:") {
        true => Some(Role::Init),
        false => (program == own).then_some(Role::Runtime),
    }
}

fn is_thread(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let group = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
    group.is_some_and(|group| group.trim() != pid.to_string())
}

/// Whether a process waits for something, or is gone.
fn sleeps(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_none_or(|rest| rest.starts_with('S') || rest.is_empty())
}

pub fn kill(pid: i32) {
    signal(pid, Signal::KILL);
}

/// A thread's id will do: kill(2) takes the process to which it belongs.
fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        // An error means that it is gone already.
        let _ = kill_process(pid, signal);
    }
}

/// The exit status as in shells, but negative if a signal ended it.
pub fn code(status: ExitStatus) -> i32 {
    status.code().or(status.signal().map(|signal| -signal)).unwrap_or(-1)
}
