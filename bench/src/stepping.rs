//! Counts instructions by single-stepping with ptrace(2), for what valgrind cannot run: it has no clone3(2)
//! into namespaces, no pidfd_open(2), no open_tree(2). A step costs thousands of times as much as the
//! instruction itself, most of all in a virtual machine. So only that part of a command is stepped.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use pillbox_ptrace::{self as ptrace, Next, Stop, Tracees};
use rustix::process::Signal;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::error::{Context, Result, error};

/// Which program a process executes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Program {
    /// The runtime. The child that it clones for init counts as the runtime until it executes init.
    Runtime,
    /// Init, until it executes the container's program.
    Init,
}

/// The first system call that valgrind does not run, or did not for years: pidfd_send_signal(2). From here on
/// the numbers are the same on all machines.
const FIRST_NEW_CALL: i64 = 424;

/// The error if a process did not stop where it should have.
pub const NO_BREAKPOINTS: &str = "the processor's breakpoints (debug registers) do not work";

/// A traced process.
struct Traced {
    program: Program,
    /// Whether its instructions are counted now.
    steps: bool,
    /// Its next instruction after the last step.
    at: i64,
    /// Where it will stop next: after an instruction that repeats itself.
    behind: Option<i64>,
}

/// Counts the instructions of one command after another, and those of the containers' inits, which may go on
/// after a command has ended.
pub struct Counter {
    tracees: Tracees<Traced>,
    /// The number of instructions that all inits have executed so far.
    init: u64,
    errors: PathBuf,
}

impl Counter {
    /// Holds this process, and all that it starts, to one processor, so that the order in which they run does
    /// not depend on the number of processors. What the commands write to stderr goes to the file `errors`.
    ///
    /// # Errors
    /// The machine is not x86-64.
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

    /// Runs a command to its end. Returns how many instructions the runtime executed from the first system
    /// call on that valgrind does not run; without `runtime` they are not counted. Init's instructions are
    /// counted in either case.
    ///
    /// # Errors
    /// It failed, or this machine does not allow tracing.
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

    /// How many instructions all inits have executed since the last call.
    pub fn take_init(&mut self) -> u64 {
        std::mem::take(&mut self.init)
    }

    fn failure(&self, command: &Command) -> crate::error::Error {
        let said = fs::read_to_string(&self.errors).unwrap_or_default();
        error(format!("{command:?} failed: {}", said.trim()))
    }
}

/// Counts the instructions of one command, and those of its inits.
struct Stepper<'c> {
    /// Whether to count the runtime's instructions, from the first new system call on.
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
            // Every clone begins with this signal, and nothing else sends it here.
            Stop::Signal(number) if number == Signal::STOP.as_raw() => {
                process.at = ptrace::instruction_pointer(pid)?;
            }
            Stop::Signal(number) => signal = number,
            Stop::Clone(_) | Stop::End(_) => {}
        }
        Ok(if process.steps { Next::Step(signal) } else { Next::Call(signal) })
    }
}

/// The end of the instruction at `at`, if that repeats itself, as copies and fills do. The processor traps in
/// each round, but not every trap shows as a stop.
fn behind_repeated(pid: i32, at: i64) -> io::Result<Option<i64>> {
    // MOVS, CMPS, STOS, LODS, SCAS. In other instructions REP is a part of the name (ENDBR64, RDPID, PAUSE).
    const STRINGS: [u8; 10] = [0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf];
    Ok(match ptrace::instruction(pid, at)? {
        // REP or REPNE, perhaps with a REX prefix; the instruction itself has one byte.
        [0xf2 | 0xf3, 0x40..=0x4f, opcode, ..] if STRINGS.contains(&opcode) => Some(at + 3),
        [0xf2 | 0xf3, opcode, ..] if STRINGS.contains(&opcode) => Some(at + 2),
        _ => None,
    })
}
