//! mount_setattr(2).

use linux_raw_sys::general as raw;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MountPropagationFlags};

use super::{number, syscall};

/// mount_setattr(2) on the mount at `fd`.
pub fn mount_setattr(
    fd: impl AsFd,
    set: MountAttrFlags,
    clear: MountAttrFlags,
    propagation: MountPropagationFlags,
    recursive: bool,
) -> Result<(), Errno> {
    set_attributes(fd.as_fd(), [set, clear].map(|flags| u64::from(flags.bits())), propagation, recursive)
}

fn set_attributes(
    fd: BorrowedFd<'_>,
    [set, mut clear]: [u64; 2],
    propagation: MountPropagationFlags,
    recursive: bool,
) -> Result<(), Errno> {
    let atime = u64::from(raw::MOUNT_ATTR__ATIME);
    // The three access-time modes are one field: to set one, the kernel requires the whole field to be
    // cleared.
    if set & atime != 0 || clear & atime != 0 {
        clear |= atime;
    }
    let attributes = raw::mount_attr {
        attr_set: set,
        attr_clr: clear,
        propagation: u64::from(propagation.bits() & !raw::MS_REC),
        userns_fd: 0,
    };
    set_mount_attributes(&fd, &attributes, recursive)
}

/// mount_setattr(2) with MOUNT_ATTR_IDMAP: owners on the detached mount are mapped as in a user namespace.
pub fn map_mount_owners(fd: impl AsFd, user_namespace: impl AsFd, recursive: bool) -> Result<(), Errno> {
    let attributes = raw::mount_attr {
        attr_set: u64::from(raw::MOUNT_ATTR_IDMAP),
        attr_clr: 0,
        propagation: 0,
        userns_fd: number(&user_namespace) as u64,
    };
    set_mount_attributes(&fd, &attributes, recursive)
}

fn set_mount_attributes(fd: &impl AsFd, attributes: &raw::mount_attr, recursive: bool) -> Result<(), Errno> {
    let flags = raw::AT_EMPTY_PATH | if recursive { raw::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string and the structure has the given size; both outlive the call.
    unsafe {
        syscall(
            raw::__NR_mount_setattr,
            [
                number(fd),
                c"".as_ptr() as usize,
                flags as usize,
                &raw const *attributes as usize,
                size_of::<raw::mount_attr>(),
                0,
            ],
        )?;
    }
    Ok(())
}
