//! The unsafe rim: the one system call that has no safe wrapper elsewhere.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;
use syscalls::{Sysno, syscall5};

/// A question about a table of iptables-legacy: linux/netfilter_ipv4/ip_tables.h,
/// linux/netfilter_ipv6/ip6_tables.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableQuestion {
    /// `IPT_SO_GET_INFO`: where its chains begin.
    Info = 64,
    /// `IPT_SO_GET_ENTRIES`: its rules.
    Entries = 65,
}

/// `SOL_IP`, `SOL_IPV6`.
const LEVELS: [usize; 2] = [0, 41];

/// Asks about a table of the network namespace that a socket is in, whose family it has. The buffer begins
/// with what is asked for.
///
/// # Errors
/// ENOENT: there is no such table. EAGAIN: the answer has another length. EPERM.
pub fn ask_table(
    socket: BorrowedFd<'_>,
    is_v4: bool,
    question: TableQuestion,
    buffer: &mut [u8],
) -> Result<(), Errno> {
    let [level_4, level_6] = LEVELS;
    let level = if is_v4 { level_4 } else { level_6 };
    let mut length = u32::try_from(buffer.len()).map_err(|_| Errno::INVAL)?;
    // SAFETY: getsockopt(2) reads and writes `length` bytes at the buffer, which has as many, and the length itself; these two
    // options keep neither pointer.
    let answered = unsafe {
        syscall5(
            Sysno::getsockopt,
            socket.as_raw_fd() as usize,
            level,
            question as usize,
            buffer.as_mut_ptr() as usize,
            &raw mut length as usize,
        )
    };
    answered.map(drop).map_err(|errno| Errno::from_raw_os_error(errno.into_raw()))
}
