//! Questions about descriptors: of namespaces, of processes, and those passed on by the caller.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;
use syscalls::{Sysno, syscall3};

use super::errno;

/// ioctl(NS_GET_NSTYPE): the CLONE_NEW* flag of a namespace. See ioctl_ns(2).
///
/// # Errors
/// `ENOTTY` if `fd` is not a namespace.
pub fn namespace_type(fd: BorrowedFd<'_>) -> Result<u32, Errno> {
    const NS_GET_NSTYPE: usize = 0xb703;
    // SAFETY: the request takes no argument.
    let kind = unsafe { syscall3(Sysno::ioctl, fd.as_raw_fd() as usize, NS_GET_NSTYPE, 0) };
    kind.map(|kind| kind as u32).map_err(errno)
}

/// ioctl(PIDFD_GET_USER_NAMESPACE): the user namespace of a pidfd's process. See
/// `include/uapi/linux/pidfd.h`.
///
/// # Errors
/// `ENOTTY` or `EINVAL` if the kernel does not have the request, which is new in Linux 6.11.
pub fn user_namespace_of(process: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    const PIDFD_GET_USER_NAMESPACE: usize = 0xff09;
    descriptor_for(process, PIDFD_GET_USER_NAMESPACE)
}

/// ioctl(SIOCGSKNS): the network namespace of a socket. See netdevice(7) and linux/sockios.h.
///
/// # Errors
/// `EPERM` without CAP_NET_ADMIN there.
pub fn network_of(socket: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    const SIOCGSKNS: usize = 0x894c;
    descriptor_for(socket, SIOCGSKNS)
}

/// Makes a request of ioctl(2) that takes no argument and returns a new descriptor.
fn descriptor_for(fd: BorrowedFd<'_>, request: usize) -> Result<OwnedFd, Errno> {
    // SAFETY: the request takes no argument; its result is a new descriptor, which nothing else owns.
    unsafe {
        let new = syscall3(Sysno::ioctl, fd.as_raw_fd() as usize, request, 0).map_err(errno)?;
        Ok(OwnedFd::from_raw_fd(new as i32))
    }
}

/// ioctl(SIOCOUTQ): how many bytes of memory hold what the other end of a Unix socket has not read; 0 if it has read everything.
/// See unix(7).
///
/// # Errors
/// `ENOTTY` if `socket` is not a socket.
pub fn unread(socket: BorrowedFd<'_>) -> Result<u32, Errno> {
    const SIOCOUTQ: usize = 0x5411;
    let mut length: i32 = 0;
    let argument = (&raw mut length) as usize;
    // SAFETY: the kernel writes an int.
    unsafe { syscall3(Sysno::ioctl, socket.as_raw_fd() as usize, SIOCOUTQ, argument) }.map_err(errno)?;
    Ok(length.unsigned_abs())
}

/// ioctl(NS_MNT_GET_INFO): how many mounts a mount namespace has. See ioctl_nsfs(2).
///
/// # Errors
/// `EINVAL` for a namespace of another type; `ENOTTY` if `fd` is not a namespace, and before Linux 6.11.
pub fn mount_count(fd: BorrowedFd<'_>) -> Result<u32, Errno> {
    /// The first version of `struct mnt_ns_info`.
    #[repr(C)]
    struct MountNamespaceInfo {
        size: u32,
        mounts: u32,
        id: u64,
    }
    /// `_IOR(0xb7, 10, struct mnt_ns_info)`
    const NS_MNT_GET_INFO: usize = 0x8010_b70a;
    let mut info = MountNamespaceInfo { size: 0, mounts: 0, id: 0 };
    let argument = (&raw mut info) as usize;
    // SAFETY: the kernel writes at most 16 bytes; the request contains this size.
    unsafe { syscall3(Sysno::ioctl, fd.as_raw_fd() as usize, NS_MNT_GET_INFO, argument) }.map_err(errno)?;
    Ok(info.mounts)
}

/// ioctl(PIDFD_GET_INFO) with `PIDFD_INFO_EXIT`: the exit code of a pidfd's process, as wait(2) encodes it;
/// `None` while it lives or its parent has not waited for it. See `include/uapi/linux/pidfd.h`.
///
/// # Errors
/// `ENOTTY` or `EINVAL` if the kernel does not have the request; Linux 6.15 has all of it.
pub fn exit_code(process: BorrowedFd<'_>) -> Result<Option<i32>, Errno> {
    /// The first version of `struct pidfd_info` (`PIDFD_INFO_SIZE_VER0`).
    #[repr(C)]
    struct PidfdInfo {
        mask: u64,
        cgroup_id: u64,
        ids: [u32; 11],
        exit_code: i32,
    }
    const { assert!(size_of::<PidfdInfo>() == 64) };
    /// `_IOWR(0xff, 11, struct pidfd_info)`
    const PIDFD_GET_INFO: usize = 0xc040_ff0b;
    const PIDFD_INFO_EXIT: u64 = 1 << 3;
    let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, cgroup_id: 0, ids: [0; 11], exit_code: 0 };
    let argument = (&raw mut info) as usize;
    // SAFETY: the kernel reads and writes at most 64 bytes; the request contains this size.
    unsafe { syscall3(Sysno::ioctl, process.as_raw_fd() as usize, PIDFD_GET_INFO, argument) }
        .map_err(errno)?;
    Ok((info.mask & PIDFD_INFO_EXIT != 0).then_some(info.exit_code))
}

/// Whether the program's caller passed on a descriptor with this number: one that is open and not
/// close-on-exec.
pub fn is_passed_on(number: u32) -> bool {
    // SAFETY: no memory is passed; the request changes nothing, and an error is an answer.
    let flags =
        unsafe { syscall3(Sysno::fcntl, number as usize, linux_raw_sys::general::F_GETFD as usize, 0) };
    flags.is_ok_and(|flags| flags & linux_raw_sys::general::FD_CLOEXEC as usize == 0)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::unread;

    #[test]
    fn nothing_is_unread_when_the_other_end_has_read_everything() {
        let (mut ours, mut theirs) = UnixStream::pair().expect("sockets");
        assert_eq!(unread(ours.as_fd()), Ok(0));
        ours.write_all(b"word").expect("write");
        assert!(unread(ours.as_fd()).expect("a socket") > 0);
        theirs.read_exact(&mut [0; 4]).expect("read");
        assert_eq!(unread(ours.as_fd()), Ok(0));
    }
}
