//! What can go wrong at a system call: the process is killed there, or the call fails in one of the ways in
//! which it can.

use std::fmt;
use std::str::FromStr;

use rustix::io::Errno;
use syscalls::Sysno;

/// What happens at one system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Its process gets SIGKILL before the call is made.
    Kill,
    /// The call is not made, and fails.
    Fails(Errno),
}

const NAMES: [(&str, Errno); 24] = [
    ("EACCES", Errno::ACCESS),
    ("EADDRINUSE", Errno::ADDRINUSE),
    ("EAGAIN", Errno::AGAIN),
    ("EBUSY", Errno::BUSY),
    ("EDQUOT", Errno::DQUOT),
    ("EINTR", Errno::INTR),
    ("EINVAL", Errno::INVAL),
    ("EIO", Errno::IO),
    ("ELOOP", Errno::LOOP),
    ("EMFILE", Errno::MFILE),
    ("ENFILE", Errno::NFILE),
    ("ENOBUFS", Errno::NOBUFS),
    ("ENOLCK", Errno::NOLCK),
    ("ENOMEM", Errno::NOMEM),
    ("ENOSPC", Errno::NOSPC),
    ("ENOSYS", Errno::NOSYS),
    ("ENXIO", Errno::NXIO),
    ("EOPNOTSUPP", Errno::OPNOTSUPP),
    ("EPERM", Errno::PERM),
    ("EPIPE", Errno::PIPE),
    ("EROFS", Errno::ROFS),
    ("ETOOMANYREFS", Errno::TOOMANYREFS),
    ("EUSERS", Errno::USERS),
    ("EXDEV", Errno::XDEV),
];

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Kill => f.write_str("KILL"),
            Fault::Fails(errno) => {
                let known = NAMES.iter().find(|(_, one)| one == errno);
                f.write_str(known.map_or("?", |(name, _)| name))
            }
        }
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "KILL" {
            return Ok(Fault::Kill);
        }
        let known = NAMES.iter().find(|(name, _)| *name == text);
        known
            .map(|(_, errno)| Fault::Fails(*errno))
            .ok_or_else(|| format!("{text}: neither KILL nor a known errno"))
    }
}

/// The name of a system call, for people.
pub fn call_name(number: i64) -> String {
    sysno(number).map_or_else(|| number.to_string(), |call| call.name().to_string())
}

fn sysno(number: i64) -> Option<Sysno> {
    Sysno::new(usize::try_from(number).ok()?)
}

/// The ways in which this system call can fail if the machine is out of some resource, if the call is
/// interrupted, if the kernel is older, or if a sandbox forbids it. Errors that would be a lie are left out:
/// ESRCH says that a process is gone, EPIPE that the other end is.
pub fn plausible(number: i64) -> &'static [Errno] {
    const NEW_DESCRIPTOR: &[Errno] = &[Errno::MFILE, Errno::NFILE, Errno::NOMEM];
    const NEW_DESCRIPTOR_OF_NEWER_CALL: &[Errno] =
        &[Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOSYS, Errno::PERM];
    const OPENED: &[Errno] =
        &[Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::INTR, Errno::ACCESS, Errno::IO];
    const SENT: &[Errno] = &[Errno::INTR, Errno::NOMEM, Errno::NOBUFS];
    const ENTRY: &[Errno] = &[Errno::NOSPC, Errno::DQUOT, Errno::NOMEM, Errno::IO, Errno::ROFS];
    const LOOKED_UP: &[Errno] = &[Errno::NOMEM, Errno::ACCESS, Errno::IO];
    const FORBIDDEN: &[Errno] = &[Errno::PERM, Errno::NOMEM];
    const FORBIDDEN_NEWER_CALL: &[Errno] = &[Errno::PERM, Errno::NOMEM, Errno::NOSYS];

    let Some(call) = sysno(number) else { return FORBIDDEN_NEWER_CALL };
    match call {
        // These cannot fail; or have done their work if they fail, as close(2); or end the process.
        Sysno::exit
        | Sysno::exit_group
        | Sysno::close
        | Sysno::brk
        | Sysno::munmap
        | Sysno::madvise
        | Sysno::getpid
        | Sysno::getppid
        | Sysno::gettid
        | Sysno::getuid
        | Sysno::geteuid
        | Sysno::getgid
        | Sysno::getegid
        | Sysno::getpgid
        | Sysno::getpgrp
        | Sysno::getsid
        | Sysno::umask
        | Sysno::uname
        | Sysno::rt_sigaction
        | Sysno::rt_sigprocmask
        | Sysno::rt_sigreturn
        | Sysno::sigaltstack
        | Sysno::set_tid_address
        | Sysno::set_robust_list
        | Sysno::arch_prctl
        | Sysno::restart_syscall
        | Sysno::sched_yield
        | Sysno::clock_gettime
        | Sysno::lseek => &[],
        Sysno::open | Sysno::openat => OPENED,
        Sysno::openat2 => {
            &[Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::INTR, Errno::AGAIN, Errno::NOSYS, Errno::PERM]
        }
        Sysno::socket | Sysno::socketpair => {
            &[Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS, Errno::PERM]
        }
        Sysno::accept | Sysno::accept4 => &[Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::INTR],
        Sysno::dup2 | Sysno::dup3 => &[Errno::MFILE, Errno::INTR, Errno::BUSY],
        Sysno::dup | Sysno::fcntl => &[Errno::MFILE],
        Sysno::pipe | Sysno::pipe2 | Sysno::eventfd2 | Sysno::signalfd4 | Sysno::timerfd_create => {
            NEW_DESCRIPTOR
        }
        Sysno::epoll_create1 | Sysno::inotify_init1 => NEW_DESCRIPTOR,
        Sysno::memfd_create | Sysno::pidfd_open | Sysno::fsopen | Sysno::fsmount | Sysno::fspick => {
            NEW_DESCRIPTOR_OF_NEWER_CALL
        }
        Sysno::open_tree | Sysno::bpf => NEW_DESCRIPTOR_OF_NEWER_CALL,
        Sysno::read | Sysno::readv => &[Errno::IO, Errno::INTR, Errno::NOMEM],
        Sysno::pread64 | Sysno::getdents64 | Sysno::readlink | Sysno::readlinkat => {
            &[Errno::IO, Errno::NOMEM]
        }
        Sysno::write | Sysno::writev | Sysno::pwrite64 | Sysno::sendfile | Sysno::copy_file_range => {
            &[Errno::NOSPC, Errno::DQUOT, Errno::IO, Errno::INTR, Errno::NOMEM]
        }
        Sysno::sendto => SENT,
        Sysno::sendmsg => &[Errno::INTR, Errno::NOMEM, Errno::NOBUFS, Errno::TOOMANYREFS],
        Sysno::recvfrom | Sysno::recvmsg => &[Errno::INTR, Errno::NOMEM],
        Sysno::connect => &[Errno::INTR, Errno::NOMEM, Errno::AGAIN, Errno::ACCESS],
        Sysno::bind => &[Errno::ADDRINUSE, Errno::NOMEM, Errno::NOSPC, Errno::ACCESS],
        Sysno::listen | Sysno::setsockopt | Sysno::getsockopt => &[Errno::NOBUFS, Errno::NOMEM],
        Sysno::mkdir | Sysno::mkdirat | Sysno::symlink | Sysno::symlinkat | Sysno::link | Sysno::linkat => {
            ENTRY
        }
        Sysno::mknod | Sysno::mknodat => &[Errno::NOSPC, Errno::DQUOT, Errno::PERM, Errno::ROFS],
        Sysno::rename | Sysno::renameat | Sysno::renameat2 => ENTRY,
        Sysno::ftruncate | Sysno::truncate | Sysno::fallocate => &[Errno::NOSPC, Errno::INTR, Errno::IO],
        Sysno::fsync | Sysno::fdatasync => &[Errno::IO, Errno::NOSPC],
        Sysno::unlink | Sysno::unlinkat | Sysno::rmdir => {
            &[Errno::BUSY, Errno::IO, Errno::NOMEM, Errno::ROFS]
        }
        Sysno::chmod | Sysno::fchmod | Sysno::fchmodat | Sysno::chown | Sysno::fchown | Sysno::fchownat => {
            &[Errno::PERM, Errno::ROFS, Errno::IO]
        }
        Sysno::lchown | Sysno::utimensat => &[Errno::PERM, Errno::ROFS, Errno::IO],
        Sysno::mount | Sysno::move_mount | Sysno::fsconfig => {
            &[Errno::NOMEM, Errno::PERM, Errno::BUSY, Errno::NOSPC, Errno::LOOP]
        }
        Sysno::mount_setattr => &[Errno::NOMEM, Errno::PERM, Errno::INVAL, Errno::NOSYS, Errno::BUSY],
        Sysno::umount2 | Sysno::pivot_root => &[Errno::BUSY, Errno::PERM, Errno::NOMEM],
        Sysno::clone | Sysno::clone3 | Sysno::fork | Sysno::vfork => {
            &[Errno::AGAIN, Errno::NOMEM, Errno::PERM, Errno::NOSPC, Errno::NOSYS]
        }
        Sysno::unshare | Sysno::setns => &[Errno::PERM, Errno::NOMEM, Errno::NOSPC, Errno::USERS],
        Sysno::execve | Sysno::execveat => {
            &[Errno::NOMEM, Errno::ACCESS, Errno::AGAIN, Errno::IO, Errno::MFILE]
        }
        Sysno::mmap | Sysno::mremap | Sysno::mprotect => &[Errno::NOMEM, Errno::AGAIN],
        // The few descriptors that are polled here need no memory.
        Sysno::poll | Sysno::ppoll | Sysno::epoll_wait | Sysno::epoll_pwait => &[Errno::INTR],
        Sysno::epoll_ctl => &[Errno::NOMEM, Errno::NOSPC],
        Sysno::wait4 | Sysno::waitid | Sysno::nanosleep | Sysno::clock_nanosleep | Sysno::futex => {
            &[Errno::INTR]
        }
        Sysno::flock => &[Errno::INTR, Errno::NOLCK],
        Sysno::prctl | Sysno::seccomp => &[Errno::PERM, Errno::INVAL, Errno::NOMEM],
        Sysno::setuid | Sysno::setgid | Sysno::setresuid | Sysno::setresgid | Sysno::setgroups => {
            &[Errno::PERM, Errno::AGAIN, Errno::NOMEM]
        }
        Sysno::capset | Sysno::capget | Sysno::sethostname | Sysno::setdomainname => &[Errno::PERM],
        Sysno::setsid | Sysno::setpgid | Sysno::prlimit64 | Sysno::kill | Sysno::tgkill => &[Errno::PERM],
        Sysno::pidfd_send_signal => &[Errno::PERM, Errno::NOSYS],
        Sysno::keyctl | Sysno::add_key => &[Errno::DQUOT, Errno::NOSYS, Errno::NOMEM, Errno::PERM],
        Sysno::stat | Sysno::fstat | Sysno::lstat | Sysno::newfstatat | Sysno::statfs | Sysno::fstatfs => {
            LOOKED_UP
        }
        Sysno::statx => &[Errno::NOMEM, Errno::ACCESS, Errno::IO, Errno::NOSYS],
        Sysno::access | Sysno::faccessat | Sysno::faccessat2 => LOOKED_UP,
        Sysno::chdir | Sysno::fchdir | Sysno::chroot => LOOKED_UP,
        Sysno::ioctl => &[Errno::IO, Errno::INTR, Errno::PERM],
        Sysno::getrandom => &[Errno::INTR, Errno::NOSYS],
        Sysno::close_range => &[Errno::NOMEM, Errno::NOSYS],
        Sysno::sched_setaffinity | Sysno::sched_getaffinity | Sysno::getcpu => &[Errno::PERM, Errno::INVAL],
        _ => FORBIDDEN,
    }
}
