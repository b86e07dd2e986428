//! Attributes of the process: scheduling, and what is written below /proc/self: clock offsets, and the
//! security label for the coming execve(2).

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

/// The kernel accepts at most a page for an attribute.
const LABEL_MAX: usize = 4096;

pub fn write_time_offsets(mounts: &mut mount::State, root: &Root, offsets: &CStr) -> Result<(), Failure> {
    let file = open_own(mounts, root, c"self/timens_offsets", c"/proc/self/timens_offsets", OFlags::WRONLY)?;
    rustix::io::write(&file, offsets.to_bytes())?;
    Ok(())
}

/// Enters the namespace for children: before Linux 6.3 the kernel changes the time namespace at a fork, but
/// not at an exec.
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

/// Opens a file about init itself, before the container's root is there. In a user namespace the kernel may
/// refuse a new procfs; then the mounted one serves, which is still the runtime's.
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

/// Since Linux 5.8 AppArmor's attribute has a folder of its own; before that, and for SELinux, all modules
/// share one attribute.
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
    // Without the module its attribute may still be there, but accepts nothing.
    match rustix::io::write(&file, &text) {
        Err(Errno::INVAL) if *module == SecurityModule::AppArmor && label == b"unconfined" => return Ok(()),
        written => written?,
    };
    verify_label(&file, label)
}

/// Reads the attribute back, in case another file was in its place. It has the label, and after it AppArmor's
/// mode. AppArmor rewrites a profile of another namespace and several that are stacked: those are only
/// checked to be set.
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

/// Opens an attribute in procfs; a mount on the way is refused.
fn open_attribute(mounts: &mut mount::State, root: &Root, path: &CStr) -> Result<OwnedFd, Failure> {
    path::open_with(mount::procfs(mounts, root)?, path, OFlags::RDWR, ResolveFlags::NO_XDEV).at(Stage::Target)
}
