//! What init writes of itself below /proc/self: offsets of clocks, labels for the execve(2) to come.

use core::ffi::CStr;

use heapless::Vec;
use pillbox_init::plan::SecurityModule;
use pillbox_init::plan::operation::{SetExecLabel, SetScheduler};
use pillbox_init::report::Stage;
use pillbox_init::sys;
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::failure::{At, Failure};
use crate::path::Root;
use crate::{mount, path};

/// CLONE_NEWTIME.
const NEW_TIME: u32 = 0x80;

/// The kernel's limit for what is written to an attribute is a page.
const LABEL_MAX: usize = 4096;

pub fn write_time_offsets(mounts: &mut mount::State, root: &Root, offsets: &CStr) -> Result<(), Failure> {
    let file = open_own(mounts, root, c"self/timens_offsets", c"/proc/self/timens_offsets", OFlags::WRONLY)?;
    rustix::io::write(&file, offsets.to_bytes())?;
    Ok(())
}

/// Kernels before 6.3 change the time namespace at a fork, but not at an exec.
pub fn enter_time_namespace(mounts: &mut mount::State, root: &Root) -> Result<(), Failure> {
    let namespace = open_own(
        mounts,
        root,
        c"self/ns/time_for_children",
        c"/proc/self/ns/time_for_children",
        OFlags::RDONLY,
    )?;
    sys::setns_alone(&namespace, NEW_TIME)?;
    Ok(())
}

/// Opens a file of init's own while the container's root is not there yet. In a user namespace a new procfs may be
/// refused: there the one that is mounted is still the runtime's.
fn open_own(
    mounts: &mut mount::State,
    root: &Root,
    path: &CStr,
    mounted: &CStr,
    flags: OFlags,
) -> Result<OwnedFd, Failure> {
    let flags = flags | OFlags::CLOEXEC;
    let file = match mount::procfs(mounts, root) {
        Ok(procfs) => rustix::fs::openat(procfs, path, flags, Mode::empty()),
        Err(_) => rustix::fs::openat(CWD, mounted, flags, Mode::empty()),
    };
    mounts.kernel_text.clear();
    file.at(Stage::Target)
}

pub fn set_scheduler(step: &SetScheduler) -> Result<(), Errno> {
    let SetScheduler { policy, flags, nice, priority, runtime, deadline, period } = *step;
    sys::set_scheduler(policy, flags, nice, priority, [runtime, deadline, period])
}

/// AppArmor's attribute lies in a folder of its own since Linux 5.8; before that, and for SELinux, all share one.
pub fn set_exec_label(
    mounts: &mut mount::State,
    root: &Root,
    SetExecLabel { module, label }: &SetExecLabel<'_>,
) -> Result<(), Failure> {
    let (path, prefix): (&CStr, &[u8]) = match module {
        SecurityModule::AppArmor => (c"thread-self/attr/apparmor/exec", b"exec "),
        SecurityModule::SeLinux => (c"thread-self/attr/exec", b""),
    };
    let shared = c"thread-self/attr/exec";
    let file = match open_attribute(mounts, root, path) {
        Err(failure) if failure.errno() == Errno::NOENT => open_attribute(mounts, root, shared)?,
        file => file?,
    };
    let label = label.to_bytes();
    let mut text = Vec::<u8, LABEL_MAX>::new();
    for part in [prefix, label] {
        text.extend_from_slice(part).map_err(|_| Errno::NAMETOOLONG)?;
    }
    // Where the module is not there its attribute may be, but takes nothing.
    match rustix::io::write(&file, &text) {
        Err(Errno::INVAL) if *module == SecurityModule::AppArmor && label == b"unconfined" => return Ok(()),
        written => written?,
    };
    verify_label(&file, label)
}

/// What came between init and its attribute shows here: reading gives the label, and AppArmor's mode after it. A
/// profile of another namespace, or several stacked, AppArmor words in its own way: there it is set or not.
fn verify_label(file: &OwnedFd, label: &[u8]) -> Result<(), Failure> {
    let mut text = [0u8; LABEL_MAX];
    let length = rustix::io::pread(file, &mut text, 0).at(Stage::Verify)?;
    if length > 0 && (label.starts_with(b":") || label.windows(3).any(|part| part == b"//&")) {
        return Ok(());
    }
    let rest = text[..length].strip_prefix(label);
    let same = rest.is_some_and(|rest| matches!(rest.first(), None | Some(0 | b'\n' | b' ')));
    if same { Ok(()) } else { Err(Errno::PERM).at(Stage::Verify) }
}

/// Nothing may cover the way.
fn open_attribute(mounts: &mut mount::State, root: &Root, path: &CStr) -> Result<OwnedFd, Failure> {
    path::open_with(mount::procfs(mounts, root)?, path, OFlags::RDWR, ResolveFlags::NO_XDEV).at(Stage::Target)
}
