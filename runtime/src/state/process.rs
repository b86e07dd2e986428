//! Identifies a container's init, tells whether it lives, and sends signals through its pidfd.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::error::{Context, Error, Kind, Result};
use crate::sys::process_end::wait_until_gone;

/// A process: its pid, and what distinguishes it from a later process with the same pid in this boot.
#[derive(Debug, Clone, Copy)]
pub struct ProcessId {
    /// The pid in the runtime's pid namespace.
    pub pid: i32,
    /// The inode of its pidfds, which no other process has before the next boot; 0 if all pidfds share one
    /// inode.
    pub pidfd_inode: u64,
    /// When it started, in clock ticks after boot; 0 if the inode is known.
    pub start_time: u64,
}

impl ProcessId {
    /// Identifies a process whose pid cannot have been reused: a child that has not been waited for.
    pub fn of(pid: Pid, pidfd: &OwnedFd) -> Result<ProcessId> {
        let (pid, pidfd_inode) = (pid.as_raw_pid(), pidfd_inode(pidfd)?);
        let start_time = match pidfd_inode {
            0 => read_stat(pid)?.ok_or_else(|| Error::new("init ended during the set-up"))?.start_time,
            _ => 0,
        };
        Ok(ProcessId { pid, pidfd_inode, start_time })
    }

    /// Opens a pidfd for it; `None` if it has ended, even if it has not been waited for yet.
    pub fn open(&self) -> Result<Option<OwnedFd>> {
        let Some(pidfd) = self.open_number()? else { return Ok(None) };
        // Opened first and checked afterwards: from then on the pidfd can't mean another process.
        let lives = match self.pidfd_inode {
            0 => read_stat(self.pid)?.is_some_and(|stat| !stat.ended && stat.start_time == self.start_time),
            inode => pidfd_inode(&pidfd)? == inode && !wait_until_gone(&pidfd, 0)?,
        };
        Ok(lives.then_some(pidfd))
    }

    /// Whether it has ended or is exiting. While it exits, the kernel kills its pid namespace before it is
    /// gone.
    pub fn is_ending(&self) -> Result<bool> {
        let stat = read_stat(self.pid)?;
        // Read first, identified afterwards: if it is the process now, it was so before.
        Ok(self.open()?.is_none() || stat.is_none_or(|stat| stat.exiting))
    }

    /// The exit code, as wait(2) encodes it, if it has ended and its parent has not waited for it yet.
    /// Otherwise `None`, also if the kernel hides it from this user.
    pub fn exit_code_of_zombie(&self) -> Result<Option<i32>> {
        let Some(stat) = read_stat(self.pid)?.filter(|stat| stat.ended) else { return Ok(None) };
        // Read first, identified afterwards: if the pid is still its own, it was so before.
        let is_own = match self.pidfd_inode {
            0 => stat.start_time == self.start_time,
            inode => self.open_number()?.map_or(Ok(0), |pidfd| pidfd_inode(&pidfd))? == inode,
        };
        // Users without permission read 0 here, so that 0 is an answer only for root.
        let may_look = || rustix::process::geteuid().is_root();
        Ok(stat.exit_code.filter(|code| is_own && (*code != 0 || may_look())))
    }

    /// Opens a pidfd for the process that has the pid now.
    fn open_number(&self) -> Result<Option<OwnedFd>> {
        let pid = Pid::from_raw(self.pid).ok_or_else(|| Error::new("state.json: pid 0"))?;
        match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Some(pidfd)),
            // Unused, or the id of a thread, for which older and newer kernels have different errors.
            Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno).context(|| format!("open process {}", self.pid)),
        }
    }
}

/// The inode of a pidfd, unique in this boot (Linux 6.9 on 64-bit machines); 0 if it is not unique.
fn pidfd_inode(pidfd: &OwnedFd) -> Result<u64> {
    let status = rustix::fs::fstat(pidfd).context(|| "stat of a pidfd")?;
    // Inodes of pidfs are executable by their owner. The one that all pidfds shared before is not.
    let is_own = cfg!(target_pointer_width = "64") && status.st_mode & 0o100 != 0;
    Ok(if is_own { status.st_ino } else { 0 })
}

/// From the kernel's `include/linux/sched.h`.
const PF_EXITING: u32 = 4;

/// The content of /proc/PID/stat.
struct Stat {
    /// A zombie, or nearly gone.
    ended: bool,
    /// Exiting, but not there yet.
    exiting: bool,
    start_time: u64,
    exit_code: Option<i32>,
}

/// Reads fields 3, 9, 22 and 52 of /proc/PID/stat (proc_pid_stat(5)); `None` if there is no such process.
fn read_stat(pid: i32) -> Result<Option<Stat>> {
    let path = format!("/proc/{pid}/stat");
    let text = match read_small(&path) {
        Ok(text) => text,
        Err(Errno::NOENT | Errno::SRCH) => return Ok(None),
        Err(errno) => return Err(errno).context(|| format!("read {path}")),
    };
    // The second field is the name in parentheses, which may contain anything: the last parenthesis ends it.
    let parsed = text.iter().rposition(|&byte| byte == b')').and_then(|end| {
        let rest = std::str::from_utf8(&text[end + 1..]).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let ended = matches!(fields.next()?, "Z" | "X" | "x");
        let exiting = fields.nth(5)?.parse::<u32>().ok()? & PF_EXITING != 0;
        let start_time = fields.nth(12)?.parse().ok()?;
        Some(Stat {
            ended,
            exiting,
            start_time,
            exit_code: fields.nth(29).and_then(|code| code.parse().ok()),
        })
    });
    parsed.map(Some).ok_or_else(|| Error::formatted(format_args!("{path}: not what proc_pid_stat(5) says")))
}

/// /proc/sys/kernel/random/boot_id.
pub fn boot_id() -> Result<String> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    // A process sees only one boot.
    static KNOWN: OnceLock<String> = OnceLock::new();
    if let Some(id) = KNOWN.get() {
        return Ok(id.clone());
    }
    let id = read_small(PATH).context(|| format!("read {PATH}"))?;
    Ok(KNOWN.get_or_init(|| String::from_utf8_lossy(&id).trim_end().to_string()).clone())
}

/// Reads a file of the kernel that fits into one read.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// As recorded on this kernel, and as before Linux 6.9.
    fn both(id: ProcessId) -> [ProcessId; 2] {
        let start_time = read_stat(id.pid).expect("stat").expect("a process").start_time;
        [id, ProcessId { pidfd_inode: 0, start_time, ..id }]
    }

    #[test]
    fn a_process_lives_until_it_is_a_zombie_and_tells_its_status_until_it_is_reaped() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().expect("sleep");
        let pid = Pid::from_child(&child);
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).expect("pidfd");
        let ids = both(ProcessId::of(pid, &pidfd).expect("id"));
        for id in ids {
            assert!(id.open().expect("open").is_some() && !id.is_ending().expect("stat"), "{id:?}");
            assert_eq!(id.exit_code_of_zombie().expect("stat"), None);
        }
        child.kill().expect("kill");
        assert!(wait_until_gone(&pidfd, 10_000).expect("poll"));
        for id in ids {
            assert!(id.open().expect("open").is_none() && id.is_ending().expect("stat"), "{id:?}");
            assert_eq!(id.exit_code_of_zombie().expect("stat"), Some(9));
        }
        child.wait().expect("wait");
        for id in ids {
            assert!(id.open().expect("open").is_none(), "{id:?}");
            assert_eq!(id.exit_code_of_zombie().expect("stat"), None);
        }
    }

    #[test]
    fn another_with_the_number_is_another() {
        let own = rustix::process::getpid();
        let pidfd = rustix::process::pidfd_open(own, PidfdFlags::empty()).expect("pidfd");
        let [id, old] = both(ProcessId::of(own, &pidfd).expect("id"));
        assert!(id.open().expect("open").is_some() && old.open().expect("open").is_some());
        let others = [
            ProcessId { pidfd_inode: id.pidfd_inode ^ 1 << 40, start_time: 0, ..id },
            ProcessId { start_time: old.start_time + 1, ..old },
        ];
        for other in others {
            assert!(other.open().expect("open").is_none(), "{other:?}");
        }
    }

    #[test]
    fn a_number_that_is_a_threads_now_is_nobodys() {
        let (answer, answered) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            answer.send(rustix::thread::gettid().as_raw_pid()).expect("send");
            let _ = ended.recv();
        });
        let pid = answered.recv().expect("a number");
        for pidfd_inode in [0, 77] {
            let id = ProcessId { pid, pidfd_inode, start_time: 1 };
            assert!(id.open().expect("open").is_none());
            assert_eq!(id.exit_code_of_zombie().expect("stat"), None);
        }
        drop(end);
        thread.join().expect("join");
    }
}
