//! ptrace(2) for counting instructions and for injecting faults: stops processes at system calls and at
//! instructions, and makes system calls fail. Registers are those of x86-64.

mod tracees;

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};

pub use tracees::{Next, Tracees, Tracer};

/// Lets this process trace the command's process, which stops when it has executed the program (ptrace(2)).
fn trace(command: &mut Command) {
    let trace_me = || {
        // SAFETY: PTRACE_TRACEME takes no argument and touches no memory; it may be called between fork and
        // exec.
        match unsafe { libc::ptrace(libc::PTRACE_TRACEME) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: a single system call that allocates no memory, so that no lock of the parent's can block it.
    unsafe { command.pre_exec(trace_me) };
}

/// Why a traced process stopped, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It has executed one instruction, or one round of an instruction that repeats itself; or, before a call
    /// of [`follow`], it has just executed its program.
    Step,
    /// It enters or leaves the system call with this number, on x86-64.
    Call(i64),
    /// It has executed another program.
    Exec,
    /// It has cloned this process, which is traced as well and begins with a stop for SIGSTOP.
    Clone(i32),
    /// This signal is about to be delivered.
    Signal(i32),
    /// It has ended.
    End(ExitStatus),
}

/// Waits until a traced process stops or any child ends; returns its pid and the reason.
pub fn wait_for_stop() -> io::Result<(i32, Stop)> {
    match next_stop(0)? {
        Some(stop) => Ok(stop),
        None => Err(io::Error::other("waitpid: no process")),
    }
}

/// The same without waiting; `None` if there is nothing to report.
pub fn poll_stop() -> io::Result<Option<(i32, Stop)>> {
    next_stop(libc::WNOHANG)
}

fn next_stop(flags: i32) -> io::Result<Option<(i32, Stop)>> {
    loop {
        let mut status = 0;
        // SAFETY: the pointer leads to a live local variable of the type that waitpid(2) writes.
        let pid = checked(i64::from(unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | flags) }))?;
        let pid = i32::try_from(pid).map_err(io::Error::other)?;
        if pid == 0 {
            return Ok(None);
        }
        match stop(pid, status) {
            // Killed meanwhile: its end is reported next.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            stop => return stop.map(|stop| Some((pid, stop))),
        }
    }
}

/// Interprets a status of waitpid(2).
fn stop(pid: i32, status: i32) -> io::Result<Stop> {
    if !libc::WIFSTOPPED(status) {
        return Ok(Stop::End(ExitStatus::from_raw(status)));
    }
    Ok(match (status >> 16, libc::WSTOPSIG(status)) {
        (0, libc::SIGTRAP) => Stop::Step,
        // PTRACE_O_TRACESYSGOOD marks stops at system calls like this.
        (0, signal) if signal == libc::SIGTRAP | 0x80 => Stop::Call(word(pid, ORIG_RAX)?),
        (0, signal) => Stop::Signal(signal),
        (libc::PTRACE_EVENT_EXEC, _) => Stop::Exec,
        _ => {
            let mut child: libc::c_ulong = 0;
            // SAFETY: PTRACE_GETEVENTMSG writes an unsigned long to the pointer, which leads to a live one.
            let got = unsafe { libc::ptrace(libc::PTRACE_GETEVENTMSG, pid, 0, &raw mut child) };
            checked(got)?;
            Stop::Clone(i32::try_from(child).map_err(io::Error::other)?)
        }
    })
}

/// Reports execve(2) as [`Stop::Exec`] from now on, traces what the stopped process clones, and lets all of
/// them die with the tracer.
pub fn follow(pid: i32) -> io::Result<()> {
    let options = libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_TRACEEXEC
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_EXITKILL;
    // SAFETY: PTRACE_SETOPTIONS takes flags and no pointer.
    checked(unsafe { libc::ptrace(libc::PTRACE_SETOPTIONS, pid, 0, libc::c_long::from(options)) }).map(drop)
}

/// Begins to trace a running process, which next stops for SIGSTOP.
fn attach(pid: i32) -> io::Result<()> {
    // SAFETY: PTRACE_ATTACH takes a pid and no pointer.
    checked(unsafe { libc::ptrace(libc::PTRACE_ATTACH, pid, 0, 0) }).map(drop)
}

/// Keeps a process that enters a system call from making it. When it leaves the call, it gets the result of
/// [`set_result`].
pub fn skip_call(pid: i32) -> io::Result<()> {
    // A number that no call has.
    set_word(pid, ORIG_RAX, 0xffff)
}

/// Sets the result of the system call that a stopped process leaves; an errno is negative.
pub fn set_result(pid: i32, result: i64) -> io::Result<()> {
    set_word(pid, RAX, result)
}

/// Lets a stopped process execute one instruction; first delivers `signal`, unless it is 0.
fn step(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: PTRACE_SINGLESTEP takes a signal's number and no pointer.
    checked(unsafe { libc::ptrace(libc::PTRACE_SINGLESTEP, pid, 0, libc::c_long::from(signal)) }).map(drop)
}

/// Lets a stopped process run to the next beginning or end of a system call; first delivers `signal`, unless
/// it is 0.
fn go_on(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: PTRACE_SYSCALL takes a signal's number and no pointer.
    checked(unsafe { libc::ptrace(libc::PTRACE_SYSCALL, pid, 0, libc::c_long::from(signal)) }).map(drop)
}

/// Lets a stopped process run to the instruction at `address`, where it stops with [`Stop::Step`]; then call
/// [`forget_address`].
fn run_to(pid: i32, address: i64) -> io::Result<()> {
    set_word(pid, DEBUG_REGISTERS, address)?;
    // Turns on the first of the four breakpoints, for execution.
    set_word(pid, DEBUG_REGISTERS + 7 * 8, 1)?;
    // SAFETY: PTRACE_CONT takes a signal's number, here none, and no pointer.
    checked(unsafe { libc::ptrace(libc::PTRACE_CONT, pid, 0, 0) }).map(drop)
}

/// Removes the breakpoint of [`Next::Address`].
pub fn forget_address(pid: i32) -> io::Result<()> {
    set_word(pid, DEBUG_REGISTERS + 7 * 8, 0)
}

/// The first bytes of the instruction at `address` of a stopped process.
pub fn instruction(pid: i32, address: i64) -> io::Result<[u8; 8]> {
    peek(libc::PTRACE_PEEKTEXT.into(), pid, address).map(i64::to_le_bytes)
}

/// Lets a stopped process run on without a tracer.
fn detach(pid: i32) -> io::Result<()> {
    // SAFETY: PTRACE_DETACH takes a signal's number, here none, and no pointer.
    checked(unsafe { libc::ptrace(libc::PTRACE_DETACH, pid, 0, 0) }).map(drop)
}

/// The address of a stopped process's next instruction, on x86-64.
pub fn instruction_pointer(pid: i32) -> io::Result<i64> {
    word(pid, RIP)
}

/// The first argument of the system call that a stopped process enters, on x86-64.
pub fn first_argument(pid: i32) -> io::Result<i64> {
    word(pid, RDI)
}

/// Offsets in `struct user` (sys/user.h) on x86-64.
const RAX: libc::c_long = 10 * 8;
const RDI: libc::c_long = 14 * 8;
const ORIG_RAX: libc::c_long = 15 * 8;
const RIP: libc::c_long = 16 * 8;
const DEBUG_REGISTERS: libc::c_long = 848;

/// Reads a word of a stopped process's `struct user`.
fn word(pid: i32, offset: libc::c_long) -> io::Result<i64> {
    peek(libc::PTRACE_PEEKUSER.into(), pid, offset)
}

/// Reads a word of a stopped process.
fn peek(request: libc::c_long, pid: i32, address: i64) -> io::Result<i64> {
    let mut word = 0_i64;
    // SAFETY: the PEEK requests of ptrace(2) write one word to the pointer, which leads to a live one. The C
    // library's function returns the word instead, and then -1 (ORIG_RAX after rt_sigreturn(2)) looks like an
    // error.
    checked(unsafe { libc::syscall(libc::SYS_ptrace, request, pid, address, &raw mut word) })?;
    Ok(word)
}

fn set_word(pid: i32, offset: libc::c_long, value: i64) -> io::Result<()> {
    // SAFETY: PTRACE_POKEUSER takes an offset and a word; the kernel refuses harmful values.
    checked(unsafe { libc::ptrace(libc::PTRACE_POKEUSER, pid, offset, value) }).map(drop)
}

fn checked(result: i64) -> io::Result<i64> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
