//! What descriptors stand for: namespaces, processes, what the caller passed on.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;
use syscalls::{Sysno, syscall3};

use super::errno;

/// ioctl(NS_GET_NSTYPE): the CLONE_NEW* bit of the namespace that `fd` stands for. See ioctl_ns(2).
///
/// # Errors
/// `ENOTTY` when it stands for something else.
pub fn namespace_type(fd: BorrowedFd<'_>) -> Result<u32, Errno> {
    const NS_GET_NSTYPE: usize = 0xb703;
    // SAFETY: the request takes no argument.
    let kind = unsafe { syscall3(Sysno::ioctl, fd.as_raw_fd() as usize, NS_GET_NSTYPE, 0) };
    kind.map(|kind| kind as u32).map_err(errno)
}

/// ioctl(PIDFD_GET_USER_NAMESPACE): the user namespace of the process that a pidfd stands for. See
/// `include/uapi/linux/pidfd.h`.
///
/// # Errors
/// `ENOTTY` or `EINVAL` where the kernel lacks the request; Linux 6.11 has it.
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

/// One of the requests of ioctl(2) that take no argument and give a new descriptor.
fn descriptor_for(fd: BorrowedFd<'_>, request: usize) -> Result<OwnedFd, Errno> {
    // SAFETY: the request takes no argument; its result is a new descriptor, which nothing else owns.
    unsafe {
        let new = syscall3(Sysno::ioctl, fd.as_raw_fd() as usize, request, 0).map_err(errno)?;
        Ok(OwnedFd::from_raw_fd(new as i32))
    }
}

/// ioctl(NS_MNT_GET_INFO): how many mounts are in the mount namespace that `fd` stands for. See ioctl_nsfs(2).
///
/// # Errors
/// `EINVAL` for a namespace of another type; `ENOTTY` when it is none, and before Linux 6.11.
pub fn mount_count(fd: BorrowedFd<'_>) -> Result<u32, Errno> {
    /// `struct mnt_ns_info` in its first form.
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
    // SAFETY: the kernel writes no more than the 16 bytes whose size the request carries.
    unsafe { syscall3(Sysno::ioctl, fd.as_raw_fd() as usize, NS_MNT_GET_INFO, argument) }.map_err(errno)?;
    Ok(info.mounts)
}

/// ioctl(PIDFD_GET_INFO) with `PIDFD_INFO_EXIT`: the exit code, as wait(2) encodes it, of the process that a pidfd stands
/// for; `None` while it lives or its parent has not asked. See `include/uapi/linux/pidfd.h`.
///
/// # Errors
/// `ENOTTY` or `EINVAL` where the kernel lacks the request; Linux 6.15 has it all.
pub fn exit_code(process: BorrowedFd<'_>) -> Result<Option<i32>, Errno> {
    /// `struct pidfd_info` in its first form (`PIDFD_INFO_SIZE_VER0`).
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
    // SAFETY: the kernel reads and writes no more than the 64 bytes whose size the request carries.
    unsafe { syscall3(Sysno::ioctl, process.as_raw_fd() as usize, PIDFD_GET_INFO, argument) }
        .map_err(errno)?;
    Ok((info.mask & PIDFD_INFO_EXIT != 0).then_some(info.exit_code))
}

/// Whether the caller of the program passed on a descriptor with this number: it would survive an exec once more.
pub fn is_passed_on(number: u32) -> bool {
    // SAFETY: no memory is passed; asking changes nothing, and an error is an answer.
    let flags =
        unsafe { syscall3(Sysno::fcntl, number as usize, linux_raw_sys::general::F_GETFD as usize, 0) };
    flags.is_ok_and(|flags| flags & linux_raw_sys::general::FD_CLOEXEC as usize == 0)
}
