//! The seed mount namespace: a single empty read-only tmpfs, from which containers start.
//!
//! A new mount namespace begins as a copy of its parent, which is thrown away. On a server with thousands of
//! mounts this copy is most of a container's cost. The seed is made once, pinned below /run, and checked
//! before use. There is one for the machine, not one for each `--root`: it holds nothing of any container,
//! and a state folder can be removed without unmounting anything.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use linux_raw_sys::general::CLONE_NEWNS;
use rustix::fs::{Access, CWD, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags,
};

use crate::sys;
use crate::text::mountinfo;

const FOLDER: &CStr = c"/run/pillbox";
const PIN: &CStr = c"/run/pillbox/.seed";

/// The pinned namespace, made now if there is none. `None` if that fails; containers then start from an
/// ordinary copy.
pub fn open() -> Option<OwnedFd> {
    open_pinned().or_else(|| make().ok())
}

/// The pinned namespace, if there is one: a mount namespace with the single mount that `empty_namespace`
/// leaves. Only root in this process's namespaces could have put another one there.
pub fn open_pinned() -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let seed = rustix::fs::openat(CWD, PIN, flags, Mode::empty()).ok()?;
    let is_seed = match sys::mount_count(seed.as_fd()) {
        // Before Linux 6.11 the kernel can't tell.
        Err(Errno::NOTTY) => sys::namespace_type(seed.as_fd()) == Ok(CLONE_NEWNS),
        // There are two mounts if the kernel's first root lies below.
        count => matches!(count, Ok(1 | 2)),
    };
    is_seed.then_some(seed)
}

/// Whether [`open`] would succeed. Makes nothing: what [`open`] does is tried in a child.
pub fn can_be_made() -> bool {
    let folder = match rustix::fs::lstat(FOLDER) {
        Err(Errno::NOENT) => rustix::fs::access(c"/run", Access::WRITE_OK),
        status => status.and_then(|status| check_folder(&status)),
    };
    folder.is_ok() && sys::probe(CLONE_NEWNS, || empty_namespace(c"/run").map(drop)).is_ok()
}

/// Checks that only root may write to the folder: whoever can replace the pin decides where containers start.
fn check_folder(folder: &Stat) -> Result<(), Errno> {
    let safe = folder.st_uid == 0
        && folder.st_mode & 0o022 == 0
        && FileType::from_raw_mode(folder.st_mode) == FileType::Directory;
    if safe { Ok(()) } else { Err(Errno::PERM) }
}

/// Makes and pins the namespace.
fn make() -> Result<OwnedFd, Errno> {
    match rustix::fs::mkdir(FOLDER, Mode::from_raw_mode(0o711)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    let folder = rustix::fs::openat(
        CWD,
        FOLDER,
        OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        Mode::empty(),
    )?;
    check_folder(&rustix::fs::fstat(&folder)?)?;
    let pin = rustix::fs::openat(
        &folder,
        c".seed",
        OFlags::CREATE | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        Mode::from_raw_mode(0o600),
    )?;
    rustix::fs::flock(&folder, FlockOperation::LockExclusive)?;
    if let Some(seed) = open_pinned() {
        return Ok(seed);
    }
    match make_and_pin_somewhere(&pin) {
        // Mounts on a shared mount (such as /run under systemd) would also appear on its peers.
        Err(Errno::INVAL) => {
            let place = cover_unbindable(&pin)?;
            make_and_pin_somewhere(&place).inspect_err(|_| {
                // Otherwise the next attempt would cover this cover.
                let _ = rustix::mount::unmount(PIN, UnmountFlags::DETACH);
            })
        }
        made => made,
    }
}

/// Mounts the empty file over itself, so that the place to mount on has no peers. The peers of /run get
/// another copy of the empty file.
fn cover_unbindable(pin: &OwnedFd) -> Result<OwnedFd, Errno> {
    let cover = clone_one(pin)?;
    attach(&cover, pin)?;
    change_propagation(&cover, MountPropagationFlags::UNBINDABLE)?;
    Ok(cover)
}

fn make_and_pin_somewhere(pin: &OwnedFd) -> Result<OwnedFd, Errno> {
    match make_and_pin(pin) {
        Err(Errno::LOOP) => make_on_another_cpu(pin),
        made => made,
    }
}

/// The kernel allows a mount namespace to be pinned only in one with a lower id, so that none can pin itself.
/// Since Linux 6.18 each CPU assigns ids of its own: if those of this CPU are too low, another CPU's may do.
fn make_on_another_cpu(pin: &OwnedFd) -> Result<OwnedFd, Errno> {
    use pillbox_init::sys::{Processors, affinity, set_affinity};
    let before = affinity(None)?;
    let made = (0..Processors::COUNT).find_map(|cpu| {
        let mut only = Processors::none();
        only.add(cpu);
        // Refused for CPUs that do not exist or are not in the cpuset.
        set_affinity(None, &only).and_then(|()| make_and_pin(pin)).ok()
    });
    set_affinity(None, &before)?;
    made.ok_or(Errno::LOOP)
}

fn make_and_pin(pin: &OwnedFd) -> Result<OwnedFd, Errno> {
    let mut seed = Err(Errno::CANCELED);
    sys::in_mount_copy(&mut || {
        seed = empty_namespace(FOLDER);
        Ok(())
    })?;
    let seed = seed?;
    // A namespace lives as long as its file is mounted somewhere.
    let tree = clone_one(&seed)?;
    // Keeps the pin out of trees that are bound: a newer namespace from another CPU could not take it, and no
    // container must keep it.
    change_propagation(&tree, MountPropagationFlags::UNBINDABLE)?;
    attach(&tree, pin)?;
    Ok(seed)
}

/// Turns the copied namespace of the calling process into one with an empty tmpfs and nothing else. `at` is a
/// folder in it.
fn empty_namespace(at: &CStr) -> Result<OwnedFd, Errno> {
    let namespace = open_own_namespace()?;
    rustix::mount::mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let context = rustix::mount::fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(&context, c"source", c"pillbox")?;
    rustix::mount::fsconfig_set_string(&context, c"mode", c"755")?;
    // Room for its root alone.
    rustix::mount::fsconfig_set_string(&context, c"nr_inodes", c"1")?;
    rustix::mount::fsconfig_create(&context)?;
    let tmpfs = rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    let none = MountPropagationFlags::empty();
    pillbox_init::sys::mount_setattr(
        &tmpfs,
        MountAttrFlags::MOUNT_ATTR_RDONLY,
        MountAttrFlags::empty(),
        none,
        false,
    )?;
    rustix::mount::move_mount(&tmpfs, c"", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    rustix::process::fchdir(&tmpfs)?;
    match rustix::process::pivot_root(c".", c".") {
        Err(Errno::INVAL) => cover_initial_root(&tmpfs)?,
        pivoted => {
            pivoted?;
            rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
        }
    }
    Ok(namespace)
}

/// The kernel's first root cannot be left. So everything else is unmounted and the tmpfs mounted over it, as
/// in switch_root(8).
fn cover_initial_root(tmpfs: &OwnedFd) -> Result<(), Errno> {
    let mountinfo = mountinfo::read().map_err(|_| Errno::INVAL)?;
    rustix::mount::move_mount(tmpfs, c"", CWD, c"/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    for mount in mountinfo::parse(&mountinfo).filter(|mount| mount.point != Path::new("/")) {
        // Unmounting one also removes the mounts below it.
        let _ = rustix::mount::unmount(&mount.point, UnmountFlags::DETACH);
    }
    rustix::process::chroot(c".")
}

fn open_own_namespace() -> Result<OwnedFd, Errno> {
    rustix::fs::openat(CWD, c"/proc/thread-self/ns/mnt", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Keeps a pin made by an older pillbox out of trees that are bound from now on.
pub fn hide_pin() {
    if let Some(pin) = open_pinned() {
        // If it cannot be hidden, every tree that contains it has to be opened twice.
        let _ = change_propagation(&pin, MountPropagationFlags::UNBINDABLE);
    }
}

fn clone_one(of: &OwnedFd) -> Result<OwnedFd, Errno> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    rustix::mount::open_tree(of, c"", flags)
}

fn attach(tree: &OwnedFd, place: &OwnedFd) -> Result<(), Errno> {
    let by_descriptor = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(tree, c"", place, c"", by_descriptor)
}

fn change_propagation(mount: &OwnedFd, propagation: MountPropagationFlags) -> Result<(), Errno> {
    let none = MountAttrFlags::empty();
    pillbox_init::sys::mount_setattr(mount, none, none, propagation, false)
}
