//! The kernel's first root, into which an initramfs is unpacked. pivot_root(2) cannot leave it, and it cannot
//! be unmounted.

use std::path::Path;

use rustix::fs::statfs;

use crate::text::mountinfo;

const RAMFS_MAGIC: u64 = 0x8584_58f6;
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// Whether the root of the calling process is the kernel's first root.
pub fn is_root() -> bool {
    let in_memory =
        statfs(c"/").is_ok_and(|status| matches!(status.f_type as u64, RAMFS_MAGIC | TMPFS_MAGIC));
    in_memory && mountinfo::read().is_ok_and(|text| has_no_parent(&text))
}

/// In a mountinfo, a mount without a parent has itself as its parent.
fn has_no_parent(mountinfo: &[u8]) -> bool {
    mountinfo::parse(mountinfo).any(|mount| mount.id == mount.parent && mount.point == Path::new("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_root_is_its_own_parent() {
        assert!(has_no_parent(b"1 1 0:2 / / rw - rootfs rootfs rw\n20 1 0:18 / /sys rw - sysfs sysfs rw\n"));
        assert!(!has_no_parent(b"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"));
        assert!(!has_no_parent(b"22 1 0:2 /covered / rw - rootfs rootfs rw\n"));
    }
}
