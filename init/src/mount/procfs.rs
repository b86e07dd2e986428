//! A procfs for init itself, whatever the container has at /proc.

use pillbox_init::plan::operation::WriteSysctl;
use pillbox_init::report::Stage;
use rustix::fd::OwnedFd;
use rustix::fs::{OFlags, ResolveFlags};
use rustix::io::Errno;

use super::file_system::NewFileSystem;
use super::state::State;
use crate::failure::{At, Failure};
use crate::path::{self, Root};

/// A real procfs, whatever the container has at /proc: the one that init mounted there, or a new one. In a
/// user namespace the kernel may refuse a new one (always in the host's pid namespace); then the one at the
/// container's /proc serves, if it is the root of a procfs.
pub fn procfs<'m>(mounts: &'m mut State, root: &Root) -> Result<&'m OwnedFd, Failure> {
    if mounts.procfs.is_none() {
        let procfs = match NewFileSystem::of(c"proc").make(&mut mounts.kernel_text) {
            Err(refused) => open_mounted_procfs(root).map_err(|verified| verified.unwrap_or(refused))?,
            made => made?,
        };
        mounts.kernel_text.clear();
        mounts.procfs = Some(procfs);
    }
    Ok(mounts.procfs.as_ref().ok_or(Errno::BADF)?)
}

/// Opens the container's /proc if it is the root of a procfs. Parts of it may be covered: code that opens
/// files in it has to check that, as with every procfs here. The error is `None` if there is no /proc.
fn open_mounted_procfs(root: &Root) -> Result<OwnedFd, Option<Failure>> {
    const PROC_SUPER_MAGIC: u32 = 0x9fa0;
    const PROC_ROOT_INO: u64 = 1;
    let mounted = root.get().and_then(|root| path::open(root, c"/proc")).map_err(|_| None)?;
    let [kind, inode] = [
        rustix::fs::fstatfs(&mounted).map(|status| status.f_type as u64),
        rustix::fs::fstat(&mounted).map(|status| status.st_ino),
    ];
    match (kind, inode) {
        (Ok(kind), Ok(PROC_ROOT_INO)) if kind as u32 == PROC_SUPER_MAGIC => Ok(mounted),
        _ => Err(Some(Failure::new(Errno::PERM, Stage::Verify, 0))),
    }
}

pub fn write_sysctl(mounts: &mut State, root: &Root, step: &WriteSysctl<'_>) -> Result<(), Failure> {
    let procfs = procfs(mounts, root)?;
    let only_here = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    let file = path::open_with(procfs, step.path, OFlags::WRONLY, only_here).at(Stage::Target)?;
    rustix::io::write(&file, step.value.to_bytes())?;
    Ok(())
}
