//! Files in memory that nobody can change: init and its plan.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use rustix::fs::{MemfdFlags, Mode, SealFlags};
use rustix::io::Errno;

use crate::error::{Context, Result};

const MFD_EXEC: u32 = 0x10;
const MFD_NOEXEC_SEAL: u32 = 0x8;
/// `F_SEAL_EXEC`, since Linux 6.3: who may execute it stays as it is.
const SEAL_EXEC: u32 = 0x20;

/// Init's binary, built for this target.
static INIT: &[u8] = include_bytes!(env!("PILLBOX_INIT"));

/// Init's file: made once for each of the two modes, where nothing that a container could do to it would change what the
/// next one gets.
pub(super) enum InitFile {
    Kept(&'static OwnedFd),
    Own(OwnedFd),
}

impl InitFile {
    /// The file. Who executes one that is not `readable` cannot be looked into, from the first instruction on and whatever it
    /// may do in its user namespace: execve(2), "effect on dumpable".
    pub(super) fn open(readable: bool) -> Result<InitFile> {
        static KEPT: [OnceLock<OwnedFd>; 2] = [OnceLock::new(), OnceLock::new()];
        let kept = &KEPT[usize::from(readable)];
        if let Some(file) = kept.get() {
            return Ok(InitFile::Kept(file));
        }
        let file = written("pillbox-init", MFD_EXEC, INIT)?;
        if !readable {
            rustix::fs::fchmod(&file, Mode::XUSR | Mode::XGRP | Mode::XOTH)
                .context(|| "chmod of init's memfd")?;
        }
        match rustix::fs::fcntl_add_seals(&file, SEALS | SealFlags::from_bits_retain(SEAL_EXEC)) {
            Ok(()) => Ok(InitFile::Kept(kept.get_or_init(|| file))),
            Err(Errno::INVAL) => seal(&file, "pillbox-init").map(|()| InitFile::Own(file)),
            Err(errno) => Err(errno).context(|| "seal init's memfd"),
        }
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            InitFile::Kept(file) => file.as_fd(),
            InitFile::Own(file) => file.as_fd(),
        }
    }
}

/// The plan's file.
pub(super) fn plan_file(plan: &[u8]) -> Result<OwnedFd> {
    let file = written("pillbox-plan", MFD_NOEXEC_SEAL, plan)?;
    seal(&file, "pillbox-plan")?;
    Ok(file)
}

const SEALS: SealFlags =
    SealFlags::SEAL.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::WRITE);

fn seal(file: &OwnedFd, name: &str) -> Result<()> {
    rustix::fs::fcntl_add_seals(file, SEALS).context(|| format!("memfd {name}"))
}

fn written(name: &str, executable: u32, content: &[u8]) -> Result<OwnedFd> {
    let step = || format!("memfd {name}");
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = match rustix::fs::memfd_create(name, flags | MemfdFlags::from_bits_retain(executable)) {
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
    Ok(file)
}
