//! The identity of the process and its rights: ids, groups, capabilities, session, keyring.

use core::ffi::CStr;

use pillbox_init::plan::operation::{OwnStdio, SetCapabilities, SetGroups, SetUser};
use pillbox_init::report::Stage;
use pillbox_init::sys;
use pillbox_init::wire::Capabilities;
use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Signal};
use rustix::thread::{CapabilitiesSecureBits, CapabilitySet, CapabilitySets};

use crate::failure::{At, Failure};

pub fn die_with_parent(enabled: bool) -> Result<(), Errno> {
    rustix::process::set_parent_process_death_signal(enabled.then_some(Signal::KILL))
}

pub fn set_undumpable() -> Result<(), Errno> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
}

pub fn set_dumpable() -> Result<(), Errno> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)
}

pub fn new_session() -> Result<(), Errno> {
    rustix::process::setsid().map(drop)
}

/// Joins a new session keyring. If the kernel has no keyrings or an outer sandbox forbids them, there is
/// nothing to separate.
pub fn new_keyring(name: &CStr) -> Result<(), Errno> {
    match sys::join_session_keyring(name) {
        Err(Errno::NOSYS | Errno::PERM) => Ok(()),
        result => result,
    }
}

pub fn set_groups(step: &SetGroups<'_>) -> Result<(), Errno> {
    match sys::set_groups(step.groups) {
        Err(Errno::PERM) if step.if_allowed => Ok(()),
        set => set,
    }
}

/// Permitted capabilities survive the change, so that `set_capabilities` can choose from them. The caller's
/// securebits must not affect the container: init replaces them all if it may.
pub fn set_user(step: &SetUser) -> Result<(), Errno> {
    match rustix::thread::set_capabilities_secure_bits(CapabilitiesSecureBits::KEEP_CAPS) {
        Err(Errno::PERM) => rustix::thread::set_keep_capabilities(true)?,
        result => result?,
    }
    let SetUser { uid, gid } = *step;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
}

pub fn drop_bounding(keep: Capabilities) -> Result<(), Errno> {
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if keep.0 & capability.bits() != 0 {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // Past the last capability that this kernel knows.
            Err(Errno::INVAL) => return Ok(()),
            // Init has no right to drop it, which does not matter if it is not in the set.
            Err(Errno::PERM) if !rustix::thread::capability_is_in_bounding_set(capability)? => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// The runtime has left out what cannot be granted, so any difference afterwards is an error. So is any
/// remaining securebit: it would change which capabilities the program has after an exec or setuid of its
/// own.
pub fn set_capabilities(step: &SetCapabilities) -> Result<(), Failure> {
    let SetCapabilities { effective, permitted, inheritable, ambient } = *step;
    let wanted = CapabilitySets {
        effective: CapabilitySet::from_bits_retain(effective.0),
        permitted: CapabilitySet::from_bits_retain(permitted.0),
        inheritable: CapabilitySet::from_bits_retain(inheritable.0),
    };
    rustix::thread::clear_ambient_capability_set()?;
    rustix::thread::set_capabilities(None, wanted)?;
    rustix::thread::set_keep_capabilities(false)?;
    for number in (0..u64::BITS).filter(|number| ambient.0 & (1 << number) != 0) {
        rustix::thread::configure_capability_in_ambient_set(
            CapabilitySet::from_bits_retain(1 << number),
            true,
        )?;
    }
    if rustix::thread::capabilities(None)? == wanted && rustix::thread::capabilities_secure_bits()?.is_empty()
    {
        Ok(())
    } else {
        Err(Errno::PERM).at(Stage::Verify)
    }
}

/// Gives stdio to the program's user. A pipe belongs to the user that made it, but a program can only reopen
/// /dev/stdout if it is its own.
pub fn own_stdio(inherited: sys::Inherited, step: &OwnStdio) -> Result<(), Errno> {
    let OwnStdio { uid, gid } = *step;
    const NULL_DEVICE: (u32, u32) = (1, 3);
    for number in 0..3 {
        let fd = inherited.fd(number);
        let Ok(status) = rustix::fs::fstat(fd) else { continue };
        let device = (rustix::fs::major(status.st_rdev as _), rustix::fs::minor(status.st_rdev as _));
        let is_null =
            FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice && device == NULL_DEVICE;
        if (status.st_uid, status.st_gid) == (uid.as_raw(), gid.as_raw()) || is_null {
            continue;
        }
        // If the group is not mapped, the user still becomes the owner.
        for gid in [Some(gid), None] {
            match rustix::fs::fchown(fd, Some(uid), gid) {
                Ok(()) => break,
                Err(Errno::INVAL | Errno::PERM | Errno::ROFS | Errno::NOSYS) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
    Ok(())
}
