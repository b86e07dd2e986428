//! ptrace(2), as the counted instructions and the injected faults need it: processes that stop at system calls, at
//! instructions, and in which a system call fails that would not. The registers are x86-64's.

mod tracees;

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};

pub use tracees::{Next, Tracees, Tracer};

/// Makes the command's process one that this process traces; it stops when it has been executed (ptrace(2)).
fn trace(command: &mut Command) {
    let trace_me = || {
        // SAFETY: PTRACE_TRACEME takes nothing and touches no memory; it may be called between fork and exec.
        match unsafe { libc::ptrace(libc::PTRACE_TRACEME) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: one system call and no memory taken: nothing that a lock of the parent's could block.
    unsafe { command.pre_exec(trace_me) };
}

/// What a traced process stopped for, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It has executed one instruction, or a part of one that repeats itself; or it has just been executed, where
    /// [`follow`] has not been called.
    Step,
    /// It enters or leaves the system call of this number, on x86-64.
    Call(i64),
    /// It has executed another program.
    Exec,
    /// It has cloned this process, which is traced too and begins with a stop for SIGSTOP.
    Clone(i32),
    /// This signal is about to reach it.
    Signal(i32),
    /// It has ended.
    End(ExitStatus),
}

/// Waits until a traced process stops or any child ends. The result is its pid and why.
pub fn wait_for_stop() -> io::Result<(i32, Stop)> {
    match next_stop(0)? {
        Some(stop) => Ok(stop),
        None => Err(io::Error::other("waitpid: no process")),
    }
}

/// The same if there is something to tell now.
pub fn poll_stop() -> io::Result<Option<(i32, Stop)>> {
    next_stop(libc::WNOHANG)
}

fn next_stop(flags: i32) -> io::Result<Option<(i32, Stop)>> {
    loop {
        let mut status = 0;
        // SAFETY: the pointer is to a live local of the type that waitpid(2) writes.
        let pid = checked(i64::from(unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | flags) }))?;
        let pid = i32::try_from(pid).map_err(io::Error::other)?;
        if pid == 0 {
            return Ok(None);
        }
        match stop(pid, status) {
            // Killed meanwhile: its end is told next.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            stop => return stop.map(|stop| Some((pid, stop))),
        }
    }
}

/// What waitpid(2) has told of a process.
fn stop(pid: i32, status: i32) -> io::Result<Stop> {
    if !libc::WIFSTOPPED(status) {
        return Ok(Stop::End(ExitStatus::from_raw(status)));
    }
    Ok(match (status >> 16, libc::WSTOPSIG(status)) {
        (0, libc::SIGTRAP) => Stop::Step,
        // As PTRACE_O_TRACESYSGOOD has it.
        (0, signal) if signal == libc::SIGTRAP | 0x80 => Stop::Call(word(pid, ORIG_RAX)?),
        (0, signal) => Stop::Signal(signal),
        (libc::PTRACE_EVENT_EXEC, _) => Stop::Exec,
        _ => {
            let mut child: libc::c_ulong = 0;
            // SAFETY: PTRACE_GETEVENTMSG writes an unsigned long to the pointer, which is to a live one.
            let got = unsafe { libc::ptrace(libc::PTRACE_GETEVENTMSG, pid, 0, &raw mut child) };
            checked(got)?;
            Stop::Clone(i32::try_from(child).map_err(io::Error::other)?)
        }
    })
}

/// From now on execve(2) is [`Stop::Exec`], what the stopped process clones is traced as well, and all of them die with
/// the tracer.
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

/// Begins to trace a process that runs already: it stops for SIGSTOP next.
fn attach(pid: i32) -> io::Result<()> {
    // SAFETY: PTRACE_ATTACH takes a pid and no pointer.
    checked(unsafe { libc::ptrace(libc::PTRACE_ATTACH, pid, 0, 0) }).map(drop)
}

/// Keeps a process that enters a system call from making it; when it leaves, it is told what [`set_result`] says.
pub fn skip_call(pid: i32) -> io::Result<()> {
    // A number that no call has.
    set_word(pid, ORIG_RAX, 0xffff)
}

/// What the system call that a stopped process leaves has returned: an errno is negative.
pub fn set_result(pid: i32, result: i64) -> io::Result<()> {
    set_word(pid, RAX, result)
}

/// Lets a stopped process execute one instruction; `signal` reaches it before, unless it is 0.
fn step(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: PTRACE_SINGLESTEP takes a signal's number and no pointer.
    checked(unsafe { libc::ptrace(libc::PTRACE_SINGLESTEP, pid, 0, libc::c_long::from(signal)) }).map(drop)
}

/// Lets a stopped process run to the next begin or end of a system call; `signal` reaches it before, unless it is 0.
fn go_on(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: PTRACE_SYSCALL takes a signal's number and no pointer.
    checked(unsafe { libc::ptrace(libc::PTRACE_SYSCALL, pid, 0, libc::c_long::from(signal)) }).map(drop)
}

/// Lets a stopped process run until it stands before the instruction at `address`, which is a [`Stop::Step`];
/// [`forget_address`] is called then.
fn run_to(pid: i32, address: i64) -> io::Result<()> {
    set_word(pid, DEBUG_REGISTERS, address)?;
    // The first of the four breakpoints is on, for execution.
    set_word(pid, DEBUG_REGISTERS + 7 * 8, 1)?;
    // SAFETY: PTRACE_CONT takes a signal's number, here none, and no pointer.
    checked(unsafe { libc::ptrace(libc::PTRACE_CONT, pid, 0, 0) }).map(drop)
}

/// Takes back what [`run_to`] has set.
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

/// Offsets in `struct user` (sys/user.h) of x86-64.
const RAX: libc::c_long = 10 * 8;
const ORIG_RAX: libc::c_long = 15 * 8;
const RIP: libc::c_long = 16 * 8;
const DEBUG_REGISTERS: libc::c_long = 848;

/// A word of a stopped process's `struct user`.
fn word(pid: i32, offset: libc::c_long) -> io::Result<i64> {
    peek(libc::PTRACE_PEEKUSER.into(), pid, offset)
}

/// A word of a stopped process.
fn peek(request: libc::c_long, pid: i32, address: i64) -> io::Result<i64> {
    let mut word = 0_i64;
    // SAFETY: ptrace(2)'s PEEK requests write one word to the pointer, which is to a live one. The C library's function
    // returns the word, and -1 (ORIG_RAX behind rt_sigreturn(2)) could not be told from an error.
    checked(unsafe { libc::syscall(libc::SYS_ptrace, request, pid, address, &raw mut word) })?;
    Ok(word)
}

fn set_word(pid: i32, offset: libc::c_long, value: i64) -> io::Result<()> {
    // SAFETY: PTRACE_POKEUSER takes an offset and a word; the kernel refuses what would harm it.
    checked(unsafe { libc::ptrace(libc::PTRACE_POKEUSER, pid, offset, value) }).map(drop)
}

fn checked(result: i64) -> io::Result<i64> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
