//! What procfs says of a process, and signals through its pidfd.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Signal;

use crate::error::{Context, Error, Kind, Result};

/// What /proc/PID/stat says.
pub struct Process {
    /// Clock ticks after boot.
    pub start_time: u64,
    /// A zombie, or nearly gone.
    pub ended: bool,
}

/// Reads fields 3 and 22 of /proc/PID/stat; `None` when there is no such process. See proc_pid_stat(5).
pub fn process_start(pid: i32) -> Result<Option<Process>> {
    let path = format!("/proc/{pid}/stat");
    let text = match read_small(&path) {
        Ok(text) => text,
        Err(Errno::NOENT | Errno::SRCH) => return Ok(None),
        Err(errno) => return Err(errno).context(|| format!("read {path}")),
    };
    // The second field is the name, in parentheses, and may hold anything: the last one closes it.
    let parsed = text.iter().rposition(|&byte| byte == b')').and_then(|end| {
        let rest = std::str::from_utf8(&text[end + 1..]).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?;
        let start_time = fields.nth(18)?.parse().ok()?;
        Some(Process { start_time, ended: matches!(state, "Z" | "X" | "x") })
    });
    parsed.map(Some).ok_or_else(|| Error::formatted(format_args!("{path}: not what proc_pid_stat(5) says")))
}

/// The exit code, as wait(2) encodes it, of a process that has ended and whose parent has not asked yet: field 52 of
/// /proc/PID/stat. `None` for any other, and where the kernel does not let this user see it.
pub fn exit_code_of_zombie(pid: i32, start_time: u64) -> Result<Option<i32>> {
    match process_start(pid)? {
        Some(Process { start_time: found, ended: true }) if found == start_time => {}
        _ => return Ok(None),
    }
    let Ok(text) = read_small(&format!("/proc/{pid}/stat")) else { return Ok(None) };
    let text = String::from_utf8_lossy(&text);
    let code = text.rsplit(')').next().and_then(|rest| rest.split_ascii_whitespace().nth(49)?.parse().ok());
    // Who may not look sees 0 here: that is an answer only for who may.
    Ok(code.filter(|code| *code != 0 || rustix::process::geteuid().is_root()))
}

/// /proc/sys/kernel/random/boot_id.
pub fn boot_id() -> Result<String> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    let id = read_small(PATH).context(|| format!("read {PATH}"))?;
    Ok(String::from_utf8_lossy(&id).trim_end().to_string())
}

/// A file of the kernel's that fits one read.
fn read_small(path: &str) -> rustix::io::Result<Vec<u8>> {
    let file = rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = Vec::with_capacity(1024);
    rustix::io::read(&file, rustix::buffer::spare_capacity(&mut text))?;
    Ok(text)
}

/// Sends a signal through a pidfd.
pub fn send_signal(process: &OwnedFd, signal: Signal) -> Result<()> {
    match rustix::process::pidfd_send_signal(process.as_fd(), signal) {
        Err(Errno::SRCH) => Err(Error::of(Kind::Status, "process already finished".into())),
        result => result.context(|| format!("send signal {}", signal.as_raw())),
    }
}
