//! Instructions counted by ptrace(2), one after the other: what valgrind cannot run, because it has no clone3(2) into
//! namespaces, no pidfd_open(2), no open_tree(2). A step costs thousands of times what the instruction does, most of all
//! in a virtual machine: only that part of a command is stepped.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use pillbox_ptrace::{self as ptrace, Next, Stop, Tracees};
use rustix::process::Signal;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::error::{Context, Result, error};

/// Whose program a process executes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Program {
    /// The runtime's. The child that it clones for init is the runtime until it executes init.
    Runtime,
    /// Init's, until it executes the container's program.
    Init,
}

/// The first of the system calls that valgrind does not run, or did not for years: pidfd_send_signal(2). From here on
/// the numbers are the same on all machines.
const FIRST_NEW_CALL: i64 = 424;

/// How it shows that the process did not stop where it should.
const NO_BREAKPOINTS: &str = "the processor's breakpoints (debug registers) do not work";

/// A process that is traced.
struct Traced {
    program: Program,
    /// Whether its instructions are counted now.
    steps: bool,
    /// Where it stood after the last step.
    at: i64,
    /// Where it will stop next: behind an instruction that repeats itself.
    behind: Option<i64>,
}

/// Counts the instructions of one command after the other, and of the containers' inits on the way, which may go on
/// when the command has ended.
pub struct Counter {
    tracees: Tracees<Traced>,
    /// What all inits have executed until now.
    init: u64,
    errors: PathBuf,
}

impl Counter {
    /// Puts this process, and what it starts from now on, on one processor: who runs when then does not depend on how
    /// many there are. What the commands write to stderr goes to the file `errors`.
    ///
    /// # Errors
    /// Another machine than x86-64.
    pub fn new(errors: PathBuf) -> Result<Self> {
        if !cfg!(target_arch = "x86_64") {
            return Err(error("instructions are counted on x86-64 only"));
        }
        let all = sched_getaffinity(None).context(|| "sched_getaffinity")?;
        let last = (0..CpuSet::MAX_CPU).rev().find(|&cpu| all.is_set(cpu)).unwrap_or(0);
        let mut one = CpuSet::new();
        one.set(last);
        sched_setaffinity(None, &one).context(|| "sched_setaffinity")?;
        Ok(Counter { tracees: Tracees::default(), init: 0, errors })
    }

    /// Runs a command to its end. The result is what the runtime executed from the first system call on that valgrind
    /// does not run; without `runtime` that is not counted. What init executes is counted either way.
    ///
    /// # Errors
    /// It failed; or this machine does not allow to trace it.
    pub fn count(&mut self, command: &mut Command, runtime: bool) -> Result<u64> {
        let stderr = File::create(&self.errors).context(|| format!("create {}", self.errors.display()))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        let mut stepper = Stepper { steps_runtime: runtime, runtime: 0, init: &mut self.init };
        let status = self.tracees.run(command, &mut stepper).context(|| {
            format!(
                "step {command:?} (is ptrace(2) forbidden here, by a sandbox or by kernel.yama.ptrace_scope?)"
            )
        })?;
        let count = stepper.runtime;
        if status.success() { Ok(count) } else { Err(self.failure(command)) }
    }

    /// What all inits have executed since the last call.
    pub fn take_init(&mut self) -> u64 {
        std::mem::take(&mut self.init)
    }

    fn failure(&self, command: &Command) -> crate::error::Error {
        let said = fs::read_to_string(&self.errors).unwrap_or_default();
        error(format!("{command:?} failed: {}", said.trim()))
    }
}

/// Counts one command's instructions, and its inits'.
struct Stepper<'c> {
    /// Whether the runtime's are counted, from the first new system call on.
    steps_runtime: bool,
    runtime: u64,
    init: &'c mut u64,
}

impl ptrace::Tracer for Stepper<'_> {
    type Tracee = Traced;

    fn begin(&mut self, _: i32, maker: Option<&mut Traced>) -> Traced {
        let (program, steps) = maker.map_or((Program::Runtime, false), |maker| (maker.program, maker.steps));
        Traced { program, steps, at: 0, behind: None }
    }

    fn stopped(&mut self, pid: i32, process: &mut Traced, stop: Stop) -> io::Result<Next> {
        let mut signal = 0;
        match stop {
            Stop::Step => {
                let at = ptrace::instruction_pointer(pid)?;
                match process.behind.take() {
                    Some(behind) if behind != at => return Err(io::Error::other(NO_BREAKPOINTS)),
                    Some(_) => ptrace::forget_address(pid)?,
                    None => {}
                }
                let count =
                    if process.program == Program::Init { &mut *self.init } else { &mut self.runtime };
                *count += u64::from(at != process.at);
                process.at = at;
                process.behind = behind_repeated(pid, at)?;
                if let Some(behind) = process.behind {
                    return Ok(Next::Address(behind));
                }
            }
            // It has run past the address.
            _ if process.behind.is_some() => return Err(io::Error::other(NO_BREAKPOINTS)),
            Stop::Call(number) => process.steps |= self.steps_runtime && number >= FIRST_NEW_CALL,
            Stop::Exec if process.program == Program::Init => return Ok(Next::Untraced),
            Stop::Exec => (process.program, process.steps) = (Program::Init, true),
            // What every clone begins with; nobody else sends it here.
            Stop::Signal(number) if number == Signal::STOP.as_raw() => {
                process.at = ptrace::instruction_pointer(pid)?;
            }
            Stop::Signal(number) => signal = number,
            Stop::Clone(_) | Stop::End(_) => {}
        }
        Ok(if process.steps { Next::Step(signal) } else { Next::Call(signal) })
    }
}

/// Where the instruction at `at` ends if it is one that repeats itself, as copies and fills do: the processor traps each
/// time, whether that shows as a stop or not.
fn behind_repeated(pid: i32, at: i64) -> io::Result<Option<i64>> {
    // MOVS, CMPS, STOS, LODS, SCAS: of others REP is a part of the name (ENDBR64, RDPID, PAUSE).
    const STRINGS: [u8; 10] = [0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf];
    Ok(match ptrace::instruction(pid, at)? {
        // REP or REPNE; with a REX prefix; the instruction itself has one byte.
        [0xf2 | 0xf3, 0x40..=0x4f, opcode, ..] if STRINGS.contains(&opcode) => Some(at + 3),
        [0xf2 | 0xf3, opcode, ..] if STRINGS.contains(&opcode) => Some(at + 2),
        _ => None,
    })
}
