//! One command, and every process and thread that comes of it until it executes a program that is not pillbox's, stopped
//! at each of its system calls; at one of them something goes wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use pillbox_ptrace::{self as ptrace, Stop};
use rustix::process::{Pid, Signal, kill_process};

use crate::fault::{Fault, plausible};
use crate::watchdog::Watchdog;

/// What a traced process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The command's own process.
    Runtime,
    /// A thread of it.
    Thread,
    /// What the runtime has cloned, until it executes init.
    Child,
    /// Container's init, or that of an exec or a hook.
    Init,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Role::Runtime => "runtime",
            Role::Thread => "thread",
            Role::Child => "child",
            Role::Init => "init",
        }
    }
}

/// A place in what the command does: who makes the call, and the how many-th of its calls it is. Processes are named by
/// the order in which they are cloned: `0` is the command, `0.2` the second that it clones.
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

/// What became of a traced command.
#[derive(Debug)]
pub struct Trace {
    pub status: ExitStatus,
    /// All system calls of all processes, in the order in which they began.
    pub calls: Vec<Call>,
    /// Where the fault was injected, and whether the command had ended by then; what was reached at all.
    pub injected: Option<(Call, bool)>,
    /// What everybody was doing when the time was over.
    pub hung: Option<String>,
}

struct Traced {
    who: String,
    role: Role,
    calls: usize,
    clones: usize,
    /// Between the begin and the end of a system call.
    in_call: bool,
    /// What the call that is skipped shall return.
    result: Option<i64>,
}

/// Follows one command.
pub struct Tracer<'f> {
    fault: Option<(&'f Spot, Fault)>,
    traced: BTreeMap<i32, Traced>,
    /// Clones that have stopped before their makers told of them.
    early: BTreeSet<i32>,
    calls: Vec<Call>,
    injected: Option<(Call, bool)>,
    ended: Option<ExitStatus>,
}

/// The name of a process that was there before the command.
pub const ATTACHED: &str = "init";

impl<'f> Tracer<'f> {
    pub fn new(fault: Option<(&'f Spot, Fault)>) -> Self {
        Tracer {
            fault,
            traced: BTreeMap::new(),
            early: BTreeSet::new(),
            calls: Vec::new(),
            injected: None,
            ended: None,
        }
    }

    /// Runs the command to its end, and goes on until those that it leaves behind wait for something. `attached` is an init
    /// that is traced as well.
    pub fn run(
        mut self,
        command: &mut Command,
        attached: Option<i32>,
        watchdog: &Watchdog,
    ) -> io::Result<Trace> {
        if let Some(pid) = attached {
            ptrace::attach(pid)?;
            self.begin(pid, ATTACHED.into(), Role::Init);
        }
        let guard = watchdog.watch();
        ptrace::trace(command);
        let child = command.spawn()?;
        let root = i32::try_from(child.id()).map_err(io::Error::other)?;
        let status = loop {
            let (pid, stop) = ptrace::wait_for_stop()?;
            match stop {
                Stop::End(status) if pid == root => break status,
                Stop::Step if pid == root && !self.traced.contains_key(&root) => {
                    ptrace::follow(root)?;
                    self.begin(root, "0".into(), Role::Runtime);
                    lenient(ptrace::go_on(root, 0))?;
                }
                stop => self.handle(pid, stop)?,
            }
        };
        self.traced.remove(&root);
        self.ended = Some(status);
        self.settle()?;
        let hung = guard.end();
        self.let_go()?;
        Ok(Trace { status, calls: self.calls, injected: self.injected, hung })
    }

    fn begin(&mut self, pid: i32, who: String, role: Role) {
        self.traced.insert(pid, Traced { who, role, calls: 0, clones: 0, in_call: false, result: None });
    }

    fn handle(&mut self, pid: i32, stop: Stop) -> io::Result<()> {
        let Some(process) = self.traced.get_mut(&pid) else {
            // A clone whose maker has not told of it; or an orphan's end.
            if !matches!(stop, Stop::End(_)) {
                self.early.insert(pid);
            }
            return Ok(());
        };
        let mut signal = 0;
        match stop {
            Stop::Call(_) if process.in_call => {
                process.in_call = false;
                if let Some(result) = process.result.take() {
                    lenient(ptrace::set_result(pid, result))?;
                }
            }
            Stop::Call(number) => {
                process.in_call = true;
                process.calls += 1;
                let spot = Spot { who: process.who.clone(), index: process.calls };
                let call = Call { spot, role: process.role, number };
                // Where it makes another call than it did undisturbed, that one may not be able to fail so.
                let fits = |fault| match fault {
                    Fault::Kill => true,
                    Fault::Fails(errno) => plausible(number).contains(&errno),
                };
                if let Some((_, fault)) =
                    self.fault.filter(|(spot, fault)| **spot == call.spot && fits(*fault))
                {
                    self.injected = Some((call.clone(), self.ended.is_some()));
                    match fault {
                        Fault::Kill => {
                            kill(pid);
                            return Ok(());
                        }
                        Fault::Fails(errno) => {
                            process.result = Some(-i64::from(errno.raw_os_error()));
                            lenient(ptrace::skip_call(pid))?;
                        }
                    }
                }
                self.calls.push(call);
            }
            Stop::Exec => match executed(pid) {
                Some(role) => process.role = role,
                None => {
                    self.traced.remove(&pid);
                    return lenient(ptrace::detach(pid));
                }
            },
            Stop::Clone(child) => {
                process.clones += 1;
                let who = format!("{}.{}", process.who, process.clones);
                let role = match process.role {
                    Role::Init => Role::Init,
                    _ if is_thread(child) => Role::Thread,
                    _ => Role::Child,
                };
                self.begin(child, who, role);
                if self.early.remove(&child) {
                    lenient(ptrace::go_on(child, 0))?;
                }
            }
            // What every clone begins with, and who is attached to.
            Stop::Signal(number) if number == Signal::STOP.as_raw() => {
                if process.who == ATTACHED {
                    lenient(ptrace::follow(pid))?;
                }
            }
            Stop::Signal(number) => signal = number,
            Stop::Step => {}
            Stop::End(_) => {
                self.traced.remove(&pid);
                return Ok(());
            }
        }
        lenient(ptrace::go_on(pid, signal))
    }

    /// Follows those who are left until all of them sleep.
    fn settle(&mut self) -> io::Result<()> {
        let begun = Instant::now();
        while !self.traced.is_empty() && begun.elapsed() < Duration::from_secs(10) {
            match ptrace::poll_stop() {
                Ok(Some((pid, stop))) => self.handle(pid, stop)?,
                Ok(None) if self.traced.keys().all(|pid| sleeps(*pid)) => break,
                Ok(None) => std::thread::sleep(Duration::from_micros(200)),
                Err(_) => self.traced.clear(),
            }
        }
        Ok(())
    }

    /// Ends the tracing of those who are left: that can be done only while they are stopped.
    fn let_go(&mut self) -> io::Result<()> {
        for pid in self.traced.keys() {
            signal(*pid, Signal::STOP);
        }
        while !self.traced.is_empty() {
            let Ok((pid, stop)) = ptrace::wait_for_stop() else { break };
            match stop {
                Stop::End(_) => _ = self.traced.remove(&pid),
                Stop::Signal(number) if number == Signal::STOP.as_raw() => {
                    self.traced.remove(&pid);
                    lenient(ptrace::detach(pid))?;
                }
                Stop::Signal(number) => lenient(ptrace::go_on(pid, number))?,
                _ => lenient(ptrace::go_on(pid, 0))?,
            }
        }
        Ok(())
    }
}

/// Runs a command to its end without tracing it; orphans are reaped meanwhile, as pid 1 has to.
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

/// What a process has executed; `None` where that is no program of pillbox's.
fn executed(pid: i32) -> Option<Role> {
    let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let program = program.to_string_lossy();
    program.starts_with("/memfd:").then_some(Role::Init)
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

/// A thread's number will do: kill(2) takes the process that it belongs to.
fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        // Gone already, then.
        let _ = kill_process(pid, signal);
    }
}

/// Who was killed meanwhile cannot be told anything; its end comes next.
fn lenient(result: io::Result<()>) -> io::Result<()> {
    const ESRCH: i32 = 3;
    match result {
        Err(error) if error.raw_os_error() == Some(ESRCH) => Ok(()),
        result => result,
    }
}

/// The exit status as shells have it, negative where a signal ended it.
pub fn code(status: ExitStatus) -> i32 {
    status.code().or(status.signal().map(|signal| -signal)).unwrap_or(-1)
}
