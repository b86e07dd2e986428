//! Files in memory that nobody can change: init and its plan.

use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;

use crate::error::{Context, Result};

pub(super) const MFD_EXEC: u32 = 0x10;
pub(super) const MFD_NOEXEC_SEAL: u32 = 0x8;

/// A file in memory that nobody can change any more.
pub(super) fn memfd(name: &str, executable: MemfdFlags, content: &[u8]) -> Result<OwnedFd> {
    let step = || format!("memfd {name}");
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = match rustix::fs::memfd_create(name, flags | executable) {
        // Before Linux 6.3 there was nothing to say about execution.
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags),
        file => file,
    }
    .context(step)?;
    let mut rest = content;
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest).context(step)?;
        rest = &rest[written..];
    }
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&file, seals).context(step)?;
    Ok(file)
}
