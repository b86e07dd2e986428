//! Files in memory that nobody can change: init and its plan.
//!
//! They are sealed memfds. Where those are missing or may not be executed (vm.memfd_noexec is 2, or an outer
//! sandbox forbids the call), they are nameless files on a tmpfs of their own. Its mount is read-only and in
//! no namespace: no path leads to it, and no call can make it writable, not even for a process that has a
//! file open (/proc/PID/exe).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, fsconfig_create, fsconfig_set_string,
    fsmount, fsopen,
};

use crate::error::{Context, Error, Result, describe_errno};
use crate::sys;

const MFD_EXEC: u32 = 0x10;
const MFD_NOEXEC_SEAL: u32 = 0x8;
/// `F_SEAL_EXEC`, since Linux 6.3: the permissions to execute the file cannot change.
const SEAL_EXEC: u32 = 0x20;

/// Init's binary, built for this target.
static INIT: &[u8] = include_bytes!(env!("PILLBOX_INIT"));

/// Init's file. It is made once for each of the two modes and kept, unless a container could change its
/// permissions for the next one.
pub(super) enum InitFile {
    Kept(&'static OwnedFd),
    Own(OwnedFd),
}

impl InitFile {
    /// Opens the file. If it is not `readable`, a process that executes it cannot be inspected by others,
    /// from its first instruction on and whatever the rights in its user namespace are: execve(2), "effect on
    /// dumpable".
    pub(super) fn open(readable: bool) -> Result<InitFile> {
        static KEPT: [OnceLock<OwnedFd>; 2] = [OnceLock::new(), OnceLock::new()];
        let kept = &KEPT[usize::from(readable)];
        if let Some(file) = kept.get() {
            return Ok(InitFile::Kept(file));
        }
        let mode = if readable { Mode::RWXU } else { Mode::empty() } | Mode::XUSR | Mode::XGRP | Mode::XOTH;
        let (file, is_memfd) = written("pillbox-init", MFD_EXEC, INIT, mode)?;
        if !is_memfd {
            return Ok(InitFile::Kept(kept.get_or_init(|| file)));
        }
        if !readable {
            rustix::fs::fchmod(&file, mode).context(|| "chmod of init's memfd")?;
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
    let (file, is_memfd) = written("pillbox-plan", MFD_NOEXEC_SEAL, plan, Mode::RUSR)?;
    if is_memfd {
        seal(&file, "pillbox-plan")?;
    }
    Ok(file)
}

const SEALS: SealFlags =
    SealFlags::SEAL.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::WRITE);

fn seal(file: &OwnedFd, name: &str) -> Result<()> {
    rustix::fs::fcntl_add_seals(file, SEALS).context(|| format!("memfd {name}"))
}

/// Makes a file with this content. The result says whether it is a memfd, which still has to be sealed.
fn written(name: &str, executable: u32, content: &[u8], mode: Mode) -> Result<(OwnedFd, bool)> {
    let step = || format!("memfd {name}");
    let refused = match memfd(name, executable) {
        Ok(file) => {
            write_all(&file, content).context(step)?;
            return Ok((file, true));
        }
        Err(errno @ (Errno::ACCESS | Errno::PERM | Errno::NOSYS)) => errno,
        Err(errno) => return Err(errno).context(step),
    };
    on_own_tmpfs(content, mode).map(|file| (file, false)).map_err(|errno| {
        let [refused, cause] = [refused, errno].map(describe_errno);
        Error::formatted(format_args!(
            "{}: {refused}: sysctl vm.memfd_noexec=1 allows it, or the sandbox around pillbox must; a tmpfs of its own, for \
             which an ordinary user needs user namespaces, is not to be had either: {cause}",
            step()
        ))
    })
}

fn memfd(name: &str, executable: u32) -> rustix::io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match rustix::fs::memfd_create(name, flags | MemfdFlags::from_bits_retain(executable)) {
        // Linux before 6.3 does not know these flags.
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags),
        file => file,
    }
}

fn write_all(file: &OwnedFd, mut rest: &[u8]) -> rustix::io::Result<()> {
    while !rest.is_empty() {
        let written = rustix::io::write(file, rest)?;
        rest = &rest[written..];
    }
    Ok(())
}

/// A caller that may not mount does so in a user namespace of its own, which no other process ever enters.
fn on_own_tmpfs(content: &[u8], mode: Mode) -> rustix::io::Result<OwnedFd> {
    match on_tmpfs(content, mode) {
        Err(Errno::PERM) => {}
        made => return made,
    }
    let line = |id: u32| format!("{id} {id} 1");
    let uid_map = line(rustix::process::geteuid().as_raw());
    let gid_map = line(rustix::process::getegid().as_raw());
    let files = [
        (c"/proc/self/setgroups", "deny"),
        (c"/proc/self/uid_map", &*uid_map),
        (c"/proc/self/gid_map", &*gid_map),
    ];
    let mut file = None;
    sys::in_user_namespace(&mut || {
        for (path, text) in files {
            let map = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
            rustix::io::write(map, text.as_bytes())?;
        }
        file = Some(on_tmpfs(content, mode)?);
        Ok(())
    })?;
    file.ok_or(Errno::CANCELED)
}

fn on_tmpfs(content: &[u8], mode: Mode) -> rustix::io::Result<OwnedFd> {
    const NAME: &std::ffi::CStr = c"pillbox";
    let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, c"source", NAME)?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    let new = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let writable = rustix::fs::openat(&mount, NAME, new, Mode::RUSR)?;
    write_all(&writable, content)?;
    let file = rustix::fs::openat(&mount, NAME, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::fs::fchmod(&writable, mode)?;
    drop(writable);
    rustix::fs::unlinkat(&mount, NAME, rustix::fs::AtFlags::empty())?;
    let (read_only, none) = (MountAttrFlags::MOUNT_ATTR_RDONLY, MountAttrFlags::empty());
    pillbox_init::sys::mount_setattr(&mount, read_only, none, MountPropagationFlags::empty(), false)?;
    Ok(file)
}

/// How init can be executed from memory.
pub(crate) enum InMemory {
    /// From a memfd.
    Memfd,
    /// From a tmpfs; the errno says why not from a memfd.
    Tmpfs(Errno),
    /// Not at all; the errno says why not from a memfd.
    No(Errno),
}

/// Tries it, for `check`.
pub(crate) fn try_in_memory() -> InMemory {
    match memfd("pillbox-check", MFD_EXEC) {
        Ok(_) => InMemory::Memfd,
        Err(refused) if on_own_tmpfs(b"", Mode::XUSR).is_ok() => InMemory::Tmpfs(refused),
        Err(refused) => InMemory::No(refused),
    }
}
